/*
 * Conversations with the pooler of prepared_rig.h as text, word by word:
 *
 *     P:a=select1   Parse of a name (or none) and a text       S  Sync      H  Flush
 *     B:a  D:a      Bind, Describe of a statement              E  Execute
 *     C:a  Cp:a     Close of a statement, of a portal          Q=begin  Query
 *     @1            from here on another client speaks
 *     .             everything is answered before it goes on
 *     ,             everything is sent before it goes on
 *     !select1      the table of this text is changed
 *     gone          the client hangs up, and another one comes
 *     lost          the server connection breaks, and another one comes
 *
 * A row says which words the first server is sent, with our names, and what the client that spoke
 * last gets: types of replies, errors as their SQLSTATE.
 */
#ifndef HF_TEST_UNIT_PREPARED_SCRIPT_H
#define HF_TEST_UNIT_PREPARED_SCRIPT_H

#include "prepared_rig.h"

struct script {
    const char *words;
    const char *sent;
    const char *seen;
    struct rig_config config; /* what is 0 is plenty */
};

static inline void script_say(struct rig_client *client, struct sv word)
{
    struct rig_words words = {.type = word.data[0], .target = 'S'};
    char text[PG_TEXT_SIZE];
    struct sv rest = sv_drop(word, 1), name;
    if (sv_starts_with(rest, SV("p"))) {
        words.target = 'P';
        rest = sv_drop(rest, 1);
    }
    sv_split(&rest, '=', &name);
    words.name = sv_drop(name, 1); /* the colon */
    RIG_CHECK(sv_copy(rest, text, sizeof text));
    words.text = text;
    rig_say_words(client, words);
}

static inline void script_do(struct rig *rig, int *speaker, struct sv word)
{
    char text[PG_TEXT_SIZE];
    RIG_CHECK(sv_copy(word, text, sizeof text));
    if (text[0] == '@') {
        *speaker = text[1] - '0';
    } else if (sv_eq(word, SV("."))) {
        rig_run(rig);
    } else if (sv_eq(word, SV(","))) {
        while (rig_from_client(rig, *speaker, 0))
            continue;
    } else if (text[0] == '!') {
        rig_alter(rig, &rig->servers[0], text + 1);
    } else if (sv_eq(word, SV("gone"))) {
        rig_leave(rig, &rig->clients[*speaker]);
    } else if (sv_eq(word, SV("lost"))) {
        rig_lose(rig, &rig->servers[0]);
    } else {
        script_say(&rig->clients[*speaker], word);
    }
}

static inline struct rig_config script_config(struct rig_config config)
{
    config.clients = 2;
    config.servers = 1;
    config.runs = config.runs > 0 ? config.runs : RIG_RUNS_MAX;
    config.statements_max = config.statements_max > 0 ? config.statements_max : 100;
    config.names_max = config.names_max > 0 ? config.names_max : 100;
    config.bytes_max = config.bytes_max > 0 ? config.bytes_max : SIZE_MAX;
    return config;
}

static inline void script_run(const struct script *script)
{
    static struct rig rig;
    struct sv rest = sv_from_cstr(script->words), word;
    int speaker = 0;
    rig_init(&rig, script_config(script->config));
    while (sv_split(&rest, ' ', &word))
        script_do(&rig, &speaker, word);
    rig_run(&rig);
    if (strcmp(rig.servers[0].sent, script->sent) != 0 ||
        strcmp(rig.clients[speaker].seen, script->seen) != 0)
        fail_msg("\"%s\" sent \"%s\" and gave \"%s\"", script->words, rig.servers[0].sent,
                 rig.clients[speaker].seen);
    rig_deinit(&rig);
}

#define SCRIPT_RUN_ALL(scripts)                                                                    \
    for (size_t i_ = 0; i_ < sizeof(scripts) / sizeof(scripts)[0]; i_++)                           \
    script_run(&(scripts)[i_])

#endif
