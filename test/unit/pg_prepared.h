/*
 * A PostgreSQL server as far as prepared statements go, for tests of wire/prepared.h: it reads real
 * frontend messages and writes real replies, as PostgresMain() and exec_parse_message() to
 * exec_execute_message() of PostgreSQL 15 do, in their order of checks. What a text does is told by
 * its first word:
 *
 *     select ...   one row, which holds the text        begin, commit, rollback
 *     bad ...      a syntax error (42601)               discard      as DISCARD ALL
 *     gone ...     a missing table (42P01)              all others   a command without rows
 *     fail ...     can be prepared, but not executed
 *
 * What it says can be seen only after a Flush, a Sync, a Query or an error, as with a real one: so
 * a relay that waits for what is not flushed waits for ever.
 *
 * Whoever includes this defines RIG_CHECK(condition) first.
 */
#ifndef HF_TEST_UNIT_PG_PREPARED_H
#define HF_TEST_UNIT_PG_PREPARED_H

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "wire/build.h"
#include "wire/frame.h"
#include "wire/message.h"

#define PG_PIPE_SIZE 65536
#define PG_NAMES_MAX 64
#define PG_NAME_SIZE 320
#define PG_TEXT_SIZE 64

struct pg_named {
    bool is_there;
    bool is_stale; /* its table has changed */
    char name[PG_NAME_SIZE];
    char text[PG_TEXT_SIZE];
    char types[16];
    uint16_t types_size;
};

struct pg {
    char memory[3][PG_PIPE_SIZE];
    struct buffer in, unflushed, out;
    struct frame frame;
    struct pg_named statements[PG_NAMES_MAX];
    struct pg_named portals[PG_NAMES_MAX];
    char status;
    bool is_skipping;
    bool must_fail; /* the next extended message: a timeout strikes */
    unsigned parses;
};

static inline void pg_init(struct pg *pg)
{
    memset(pg, 0, sizeof *pg);
    buffer_init(&pg->in, pg->memory[0], PG_PIPE_SIZE);
    buffer_init(&pg->unflushed, pg->memory[1], PG_PIPE_SIZE);
    buffer_init(&pg->out, pg->memory[2], PG_PIPE_SIZE);
    frame_init(&pg->frame, FRAME_FRONTEND, FRAME_SESSION);
    pg->status = 'I';
}

/* ---- Names ---- */

static inline struct pg_named *pg_find(struct pg_named *table, struct sv name)
{
    for (int i = 0; i < PG_NAMES_MAX; i++) {
        struct sv there = sv_take(sv_from_cstr(table[i].name), 63);
        if (table[i].is_there && sv_eq(there, sv_take(name, 63)))
            return &table[i];
    }
    return NULL;
}

static inline struct pg_named *pg_put(struct pg_named *table, struct sv name)
{
    int i = 0;
    while (i < PG_NAMES_MAX && table[i].is_there)
        i++;
    RIG_CHECK(i < PG_NAMES_MAX);
    memset(&table[i], 0, sizeof table[i]);
    table[i].is_there = sv_copy(name, table[i].name, sizeof table[i].name);
    RIG_CHECK(table[i].is_there);
    return &table[i];
}

static inline void pg_drop(struct pg_named *table, struct sv name)
{
    struct pg_named *there = pg_find(table, name);
    if (there != NULL)
        there->is_there = false;
}

static inline void pg_drop_all(struct pg_named *table)
{
    for (int i = 0; i < PG_NAMES_MAX; i++)
        table[i].is_there = false;
}

/* ---- Replies ---- */

static inline void pg_say(struct pg *pg, char type, const char *text)
{
    struct build build = build_begin(&pg->unflushed, type);
    if (text != NULL)
        build_cstr(&build, sv_from_cstr(text));
    RIG_CHECK(build_end(&build) == HF_OK);
}

static inline void pg_flush(struct pg *pg)
{
    RIG_CHECK(buffer_append(&pg->out, buffer_view(&pg->unflushed)));
    buffer_clear(&pg->unflushed);
}

static inline void pg_ready(struct pg *pg)
{
    RIG_CHECK(build_ready(&pg->unflushed, pg->status) == HF_OK);
    pg_flush(pg);
}

/* What stands before and behind the name that an error speaks of. */
struct pg_error {
    const char *sqlstate;
    const char *before;
    const char *behind;
};

static inline void pg_fail(struct pg *pg, struct pg_error error, struct sv name)
{
    struct hf_err err;
    err_set(&err, HF_RC_PEER, error.sqlstate, "%s%.*s%s", error.before, (int)name.size,
            sv_print_data(name), error.behind);
    RIG_CHECK(build_error(&pg->unflushed, BUILD_ERROR, &err) == HF_OK);
    pg_flush(pg);
    if (pg->status == 'T')
        pg->status = 'E';
}

static const struct pg_error pg_aborted = {
    "25P02", "current transaction is aborted, commands ignored until end of transaction block", ""};
static const struct pg_error pg_no_statement = {"26000", "prepared statement \"",
                                                "\" does not exist"};
static const struct pg_error pg_no_unnamed = {"26000", "unnamed prepared statement does not exist",
                                              ""};

/* ---- What texts do ---- */

static inline bool pg_is(const char *text, const char *word)
{
    return strncmp(text, word, strlen(word)) == 0;
}

/* It works in a failed transaction too. */
static inline bool pg_is_exit(const char *text)
{
    return pg_is(text, "commit") || pg_is(text, "rollback");
}

/* PostgreSQL's order: the grammar, the failed transaction, the tables. */
static inline bool pg_analyze(struct pg *pg, const char *text)
{
    if (pg_is(text, "bad"))
        pg_fail(pg, (struct pg_error){"42601", "syntax error", ""}, SV(""));
    else if (pg->status == 'E' && !pg_is_exit(text))
        pg_fail(pg, pg_aborted, SV(""));
    else if (pg_is(text, "gone"))
        pg_fail(pg, (struct pg_error){"42P01", "relation does not exist", ""}, SV(""));
    else
        return true;
    return false;
}

static inline bool pg_discard(struct pg *pg)
{
    if (pg->status != 'I') {
        pg_fail(pg, (struct pg_error){"25001", "cannot run inside a transaction block", ""},
                SV(""));
        return false;
    }
    pg_drop_all(pg->statements);
    pg_drop_all(pg->portals);
    pg_say(pg, 'C', "DISCARD ALL");
    return true;
}

static inline bool pg_run(struct pg *pg, const char *text)
{
    if (pg->status == 'E' && !pg_is_exit(text)) {
        pg_fail(pg, pg_aborted, SV(""));
        return false;
    }
    if (pg_is(text, "fail")) {
        pg_fail(pg, (struct pg_error){"22012", "division by zero", ""}, SV(""));
        return false;
    }
    if (pg_is(text, "discard"))
        return pg_discard(pg);
    if (pg_is(text, "select")) {
        pg_say(pg, 'D', text);
        pg_say(pg, 'C', "SELECT 1");
    } else if (pg_is_exit(text)) {
        bool is_commit = pg_is(text, "commit") && pg->status != 'E';
        pg->status = 'I';
        pg_drop_all(pg->portals);
        pg_say(pg, 'C', is_commit ? "COMMIT" : "ROLLBACK");
    } else {
        if (pg_is(text, "begin"))
            pg->status = 'T';
        pg_say(pg, 'C', "DONE");
    }
    return true;
}

/* ---- Messages: false if it failed ---- */

static inline bool pg_parse(struct pg *pg, struct message message)
{
    struct message_parse parse;
    char text[PG_TEXT_SIZE];
    RIG_CHECK(message_parse(message, &parse) == MESSAGE_OK);
    RIG_CHECK(sv_copy(parse.text, text, sizeof text) && parse.types.size <= 16);
    if (parse.name.size == 0)
        pg_drop(pg->statements, parse.name);
    if (!pg_analyze(pg, text))
        return false;
    if (pg_find(pg->statements, parse.name) != NULL) {
        pg_fail(pg, (struct pg_error){"42P05", "prepared statement \"", "\" already exists"},
                parse.name);
        return false;
    }
    struct pg_named *statement = pg_put(pg->statements, parse.name);
    memcpy(statement->text, text, sizeof text);
    memcpy(statement->types, parse.types.data, parse.types.size);
    statement->types_size = (uint16_t)parse.types.size;
    pg->parses++;
    pg_say(pg, '1', NULL);
    return true;
}

static inline struct pg_named *pg_statement(struct pg *pg, struct sv name)
{
    struct pg_named *statement = pg_find(pg->statements, name);
    if (statement == NULL)
        pg_fail(pg, name.size > 0 ? pg_no_statement : pg_no_unnamed, name);
    return statement;
}

static inline bool pg_is_revalidated(struct pg *pg, const struct pg_named *statement)
{
    static const struct pg_error changed = {"0A000", "cached plan must not change result type", ""};
    if (statement->is_stale)
        pg_fail(pg, changed, SV(""));
    return !statement->is_stale;
}

static inline bool pg_bind(struct pg *pg, struct message message)
{
    struct message_bind bind;
    RIG_CHECK(message_bind(message, &bind) == MESSAGE_OK);
    const struct pg_named *statement = pg_statement(pg, bind.statement);
    if (statement == NULL)
        return false;
    if (pg->status == 'E' && !pg_is_exit(statement->text)) {
        pg_fail(pg, pg_aborted, SV(""));
        return false;
    }
    if (!pg_is_revalidated(pg, statement))
        return false;
    pg_drop(pg->portals, bind.portal);
    struct pg_named *portal = pg_put(pg->portals, bind.portal);
    memcpy(portal->text, statement->text, sizeof portal->text);
    pg_say(pg, '2', NULL);
    return true;
}

static inline bool pg_describe(struct pg *pg, struct message message)
{
    struct message_target target;
    RIG_CHECK(message_target(message, &target) == MESSAGE_OK && target.kind == 'S');
    const struct pg_named *statement = pg_statement(pg, target.name);
    if (statement == NULL)
        return false;
    bool has_rows = pg_is(statement->text, "select");
    /* Here the model is stricter than PostgreSQL, which tells of statements without rows: see what
     * prepared.h says of failed transactions. */
    if (pg->status == 'E') {
        pg_fail(pg, pg_aborted, SV(""));
        return false;
    }
    if (!pg_is_revalidated(pg, statement))
        return false;
    struct build build = build_begin(&pg->unflushed, 't');
    build_u16(&build, statement->types_size / 4);
    build_bytes(&build, sv_from(statement->types, statement->types_size));
    RIG_CHECK(build_end(&build) == HF_OK);
    pg_say(pg, has_rows ? 'T' : 'n', has_rows ? statement->text : NULL);
    return true;
}

static inline bool pg_execute(struct pg *pg, struct message message)
{
    struct message_execute execute;
    RIG_CHECK(message_execute(message, &execute) == MESSAGE_OK);
    const struct pg_named *portal = pg_find(pg->portals, execute.portal);
    if (portal != NULL)
        return pg_run(pg, portal->text);
    pg_fail(pg, (struct pg_error){"34000", "portal \"", "\" does not exist"}, execute.portal);
    return false;
}

static inline bool pg_close(struct pg *pg, struct message message)
{
    struct message_target target;
    RIG_CHECK(message_target(message, &target) == MESSAGE_OK);
    pg_drop(target.kind == 'S' ? pg->statements : pg->portals, target.name);
    pg_say(pg, '3', NULL);
    return true;
}

static inline void pg_query(struct pg *pg, struct message message)
{
    struct sv text;
    char copy[PG_TEXT_SIZE];
    RIG_CHECK(message_query(message, &text) == MESSAGE_OK && sv_copy(text, copy, sizeof copy));
    pg_drop(pg->statements, SV(""));
    if (pg_analyze(pg, copy)) {
        if (pg_is(copy, "select"))
            pg_say(pg, 'T', copy);
        pg_run(pg, copy);
    }
    if (pg->status == 'I')
        pg_drop_all(pg->portals);
    pg_ready(pg);
}

static inline bool pg_extended(struct pg *pg, char type, struct message message)
{
    if (pg->must_fail) {
        pg->must_fail = false;
        pg_fail(pg, (struct pg_error){"57014", "canceling statement due to statement timeout", ""},
                SV(""));
        return false;
    }
    switch (type) {
    case 'P':
        return pg_parse(pg, message);
    case 'B':
        return pg_bind(pg, message);
    case 'D':
        return pg_describe(pg, message);
    case 'E':
        return pg_execute(pg, message);
    default:
        RIG_CHECK(type == 'C');
        return pg_close(pg, message);
    }
}

static inline void pg_do(struct pg *pg, char type, struct message message)
{
    if (type == 'S') {
        pg->is_skipping = false;
        if (pg->status == 'I')
            pg_drop_all(pg->portals);
        pg_ready(pg);
    } else if (pg->is_skipping) {
        return;
    } else if (type == 'H') {
        pg_flush(pg);
    } else if (type == 'Q') {
        pg_query(pg, message);
    } else {
        pg->is_skipping = !pg_extended(pg, type, message);
    }
}

/* Does one message, all of which must be there; false if there is none. */
static inline bool pg_step(struct pg *pg)
{
    struct frame_part part;
    enum frame_status status = frame_look(&pg->frame, buffer_view(&pg->in), &part);
    if (status == FRAME_MORE)
        return false;
    RIG_CHECK(status == FRAME_PART && part.is_first && part.is_last);
    pg_do(pg, part.type, message_of(&part));
    frame_take(&pg->frame, part.bytes.size);
    buffer_consume(&pg->in, part.bytes.size);
    return true;
}

/* The table of all statements with this text is changed. */
static inline void pg_alter(struct pg *pg, const char *text)
{
    for (int i = 0; i < PG_NAMES_MAX; i++)
        if (strcmp(pg->statements[i].text, text) == 0)
            pg->statements[i].is_stale = true;
}

/* Nothing is under way. */
static inline bool pg_rests(const struct pg *pg)
{
    return buffer_held(&pg->in) == 0 && buffer_held(&pg->unflushed) == 0 &&
           buffer_held(&pg->out) == 0;
}

#endif
