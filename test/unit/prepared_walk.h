/*
 * Clients that say what chance makes them say, through the few server connections of
 * prepared_rig.h. For the unit test, which brings seeds, and for the fuzz target, which brings
 * bytes.
 */
#ifndef HF_TEST_UNIT_PREPARED_WALK_H
#define HF_TEST_UNIT_PREPARED_WALK_H

#include "prepared_rig.h"

/* What goes wrong in a run. */
struct walk_weather {
    bool timeouts, losses, departures, alters;
};

struct walk {
    uint32_t (*chance)(void *context, uint32_t n); /* one of 0 .. n - 1 */
    void *context;
    struct rig rig;
    struct walk_weather weather;
    uint32_t names, texts; /* how many there are to choose from: few meet more often */
    bool is_after_discard[RIG_CLIENTS_MAX];
};

static inline uint32_t walk_draw(struct walk *walk, uint32_t n)
{
    return walk->chance(walk->context, n);
}

static inline const char *walk_any_text(struct walk *walk)
{
    static const char *const texts[] = {
        "select 1", "fail", "insert",   "begin",    "rollback", "select 2", "bad",
        "commit",   "gone", "select 3", "select 4", "select 5", "select 6", "fail 2",
    };
    return texts[walk_draw(walk, walk->texts)];
}

/* Now and then one that looks like a name of ours, or that PostgreSQL cannot tell from another. */
static inline struct sv walk_any_name(struct walk *walk)
{
    static const char *const names[] = {"a", "hf_0", "b", "c", "hf_1", "d", "e", "f", "hf_2"};
    static const char longs[] =
        "123456789.123456789.123456789.123456789.123456789.123456789.123 and";
    uint32_t n = walk_draw(walk, walk->names);
    return n < 9 ? sv_from_cstr(names[n]) : sv_from(longs, sizeof longs - n % 2 - 2);
}

static inline void walk_say(struct walk *walk, int index, char type, struct sv name,
                            const char *text)
{
    struct rig_words words = {.type = type, .target = 'S', .name = name, .text = text};
    words.is_typed = walk_draw(walk, 4) == 0;
    rig_say_words(&walk->rig.clients[index], words);
}

static inline void walk_say_unnamed(struct walk *walk, int index, const char *text)
{
    walk_say(walk, index, 'P', SV(""), text);
    walk_say(walk, index, 'B', SV(""), NULL);
    walk_say(walk, index, 'E', SV(""), NULL);
}

/* DISCARD ALL, in one way or the other. What uses a name behind it, before it is answered, fails
 * here with our name in the error: so no client does. */
static inline void walk_say_discard(struct walk *walk, int index)
{
    if (walk_draw(walk, 2) == 0) {
        walk_say(walk, index, 'Q', SV(""), "discard");
    } else {
        walk_say(walk, index, 'S', SV(""), NULL);
        walk_say_unnamed(walk, index, "discard");
        walk_say(walk, index, 'S', SV(""), NULL);
    }
    walk->is_after_discard[index] = true;
}

static inline void walk_say_anything(struct walk *walk, int index)
{
    static const char types[] = "PPPPPBBBBBBEEEEDDCCSSSSSSQHxu";
    struct rig_client *client = &walk->rig.clients[index];
    char type = types[walk_draw(walk, sizeof types - 1)];
    struct sv name = walk_any_name(walk);
    const char *text = walk_any_text(walk);
    if (client->asked - client->answered > 40)
        return;
    if (client->answered == client->asked)
        walk->is_after_discard[index] = false;
    if (walk->is_after_discard[index] && strchr("PCSH", type) == NULL)
        return;
    if (type == 'x')
        walk_say_discard(walk, index);
    else if (type == 'u')
        walk_say_unnamed(walk, index, text);
    else
        walk_say(walk, index, type, name, text);
}

static inline void walk_meet_weather(struct walk *walk)
{
    struct rig *rig = &walk->rig;
    struct rig_server *server = &rig->servers[walk_draw(walk, (uint32_t)rig->server_count)];
    struct rig_client *client = &rig->clients[walk_draw(walk, (uint32_t)rig->client_count)];
    switch (walk_draw(walk, 100)) {
    case 0:
        if (walk->weather.timeouts && server->client >= 0 && buffer_held(&server->pg.in) > 0) {
            server->pg.must_fail = true;
            rig->clients[server->client].is_disturbed = true;
        }
        break;
    case 1:
        if (walk->weather.losses)
            rig_lose(rig, server);
        break;
    case 2:
        if (walk->weather.departures)
            rig_leave(rig, client);
        break;
    case 3:
        if (walk->weather.alters)
            rig_alter(rig, server, walk_any_text(walk));
        break;
    default:
        break;
    }
}

static inline void walk_go(struct walk *walk, int steps)
{
    struct rig *rig = &walk->rig;
    for (int step = 0; step < steps; step++) {
        int client = (int)walk_draw(walk, (uint32_t)rig->client_count);
        int server = (int)walk_draw(walk, (uint32_t)rig->server_count);
        switch (walk_draw(walk, 4)) {
        case 0:
            walk_say_anything(walk, client);
            break;
        case 1:
            rig_from_client(rig, client, server);
            break;
        case 2:
            pg_step(&rig->servers[server].pg);
            break;
        default:
            rig_from_server(rig, &rig->servers[server]);
            rig_tidy(&rig->servers[server]);
            break;
        }
        walk_meet_weather(walk);
    }
}

/* All say goodbye, and everything that was asked is answered: nothing waits for ever. */
static inline void walk_come_to_rest(struct walk *walk)
{
    struct rig *rig = &walk->rig;
    for (int i = 0; i < rig->client_count; i++) {
        walk_say(walk, i, 'S', SV(""), NULL);
        walk_say(walk, i, 'Q', SV(""), "rollback");
    }
    rig_run(rig);
    for (int i = 0; i < rig->client_count; i++) {
        struct rig_client *client = &rig->clients[i];
        RIG_CHECK(buffer_held(&client->pending) == 0);
        RIG_CHECK(client->answered == client->asked);
        if (!client->is_disturbed)
            RIG_CHECK(buffer_held(&client->own.out) == 0);
    }
    for (int i = 0; i < rig->server_count; i++)
        RIG_CHECK(replies_is_clean(&rig->servers[i].replies));
}

/* From beginning to end. `rounds` times everything comes to rest. */
static inline void walk_through(struct walk *walk, struct walk_weather weather, int rounds)
{
    /* One after the other, as compilers order initialisers differently. */
    struct rig_config config = {.bytes_max = SIZE_MAX};
    config.is_limited = walk_draw(walk, 5) == 0;
    config.names_max = config.is_limited ? 3 : 100;
    config.clients = 1 + (int)walk_draw(walk, RIG_CLIENTS_MAX);
    config.servers = 1 + (int)walk_draw(walk, RIG_SERVERS_MAX);
    config.statements_max = (uint16_t)(1 + walk_draw(walk, 6));
    config.runs = walk_draw(walk, 2) == 0 ? 4 : RIG_RUNS_MAX;
    config.ahead_size = walk_draw(walk, 2) == 0 ? 0 : 1024;
    rig_init(&walk->rig, config);
    walk->weather = weather;
    walk->names = 1 + walk_draw(walk, 11);
    walk->texts = 1 + walk_draw(walk, 14);
    memset(walk->is_after_discard, 0, sizeof walk->is_after_discard);
    for (int round = 0; round < rounds; round++) {
        walk_go(walk, 300);
        walk_come_to_rest(walk);
    }
    rig_deinit(&walk->rig);
}

#endif
