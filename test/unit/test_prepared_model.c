#include "unit.h"

#include "base/rng.h"

#define RIG_CHECK(condition) assert_true(condition)
#include "prepared_rig.h"

/*
 * Clients that say what chance makes them say, through few server connections, against what a
 * PostgreSQL of their own would answer. See prepared_rig.h for what is checked.
 */

/* What goes wrong in a run. */
struct weather {
    bool timeouts, losses, departures, alters;
};

struct walk {
    struct rig rig;
    struct rng rng;
    struct weather weather;
    uint32_t names, texts; /* how many there are to choose from: few meet more often */
    bool is_after_discard[RIG_CLIENTS_MAX];
};

static uint32_t draw(struct walk *walk, uint32_t n)
{
    return (uint32_t)rng_below(&walk->rng, n);
}

static const char *any_text(struct walk *walk)
{
    static const char *const texts[] = {
        "select 1", "fail", "insert",   "begin",    "rollback", "select 2", "bad",
        "commit",   "gone", "select 3", "select 4", "select 5", "select 6", "fail 2",
    };
    return texts[draw(walk, walk->texts)];
}

/* Now and then one that looks like a name of ours, or that PostgreSQL cannot tell from another. */
static struct sv any_name(struct walk *walk)
{
    static const char *const names[] = {"a", "hf_0", "b", "c", "hf_1", "d", "e", "f", "hf_2"};
    static const char longs[] =
        "123456789.123456789.123456789.123456789.123456789.123456789.123 and";
    uint32_t n = draw(walk, walk->names);
    return n < 9 ? sv_from_cstr(names[n]) : sv_from(longs, sizeof longs - n % 2 - 2);
}

static void say(struct walk *walk, int index, char type, struct sv name, const char *text)
{
    struct rig_words words = {.type = type, .target = 'S', .name = name, .text = text};
    words.is_typed = draw(walk, 4) == 0;
    rig_say_words(&walk->rig.clients[index], words);
}

static void say_unnamed(struct walk *walk, int index, const char *text)
{
    say(walk, index, 'P', SV(""), text);
    say(walk, index, 'B', SV(""), NULL);
    say(walk, index, 'E', SV(""), NULL);
}

/* DISCARD ALL, in one way or the other. What uses a name behind it, before it is answered, fails
 * here with our name in the error: so no client does. */
static void say_discard(struct walk *walk, int index)
{
    if (draw(walk, 2) == 0) {
        say(walk, index, 'Q', SV(""), "discard");
    } else {
        say(walk, index, 'S', SV(""), NULL);
        say_unnamed(walk, index, "discard");
        say(walk, index, 'S', SV(""), NULL);
    }
    walk->is_after_discard[index] = true;
}

static void say_anything(struct walk *walk, int index)
{
    static const char types[] = "PPPPPBBBBBBEEEEDDCCSSSSSSQHxu";
    struct rig_client *client = &walk->rig.clients[index];
    char type = types[draw(walk, sizeof types - 1)];
    if (client->asked - client->answered > 40)
        return;
    if (client->answered == client->asked)
        walk->is_after_discard[index] = false;
    if (walk->is_after_discard[index] && strchr("PCSH", type) == NULL)
        return;
    if (type == 'x')
        say_discard(walk, index);
    else if (type == 'u')
        say_unnamed(walk, index, any_text(walk));
    else
        say(walk, index, type, any_name(walk), any_text(walk));
}

static void meet_weather(struct walk *walk)
{
    struct rig *rig = &walk->rig;
    struct rig_server *server = &rig->servers[draw(walk, (uint32_t)rig->server_count)];
    struct rig_client *client = &rig->clients[draw(walk, (uint32_t)rig->client_count)];
    switch (draw(walk, 100)) {
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
        for (int i = 0; walk->weather.alters && i < rig->client_count; i++)
            rig->clients[i].is_disturbed = true;
        if (walk->weather.alters)
            pg_alter(&server->pg, any_text(walk));
        break;
    default:
        break;
    }
}

static void go(struct walk *walk, int steps)
{
    struct rig *rig = &walk->rig;
    for (int step = 0; step < steps; step++) {
        int client = (int)draw(walk, (uint32_t)rig->client_count);
        int server = (int)draw(walk, (uint32_t)rig->server_count);
        switch (draw(walk, 4)) {
        case 0:
            say_anything(walk, client);
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
        meet_weather(walk);
    }
}

/* All say goodbye, and everything that was asked is answered: nothing waits for ever. */
static void come_to_rest(struct walk *walk)
{
    struct rig *rig = &walk->rig;
    for (int i = 0; i < rig->client_count; i++) {
        say(walk, i, 'S', SV(""), NULL);
        say(walk, i, 'Q', SV(""), "rollback");
    }
    rig_run(rig);
    for (int i = 0; i < rig->client_count; i++) {
        struct rig_client *client = &rig->clients[i];
        assert_int_equal(buffer_held(&client->pending), 0);
        assert_int_equal(client->answered, client->asked);
        if (!client->is_disturbed)
            assert_int_equal(buffer_held(&client->own.out), 0);
    }
    for (int i = 0; i < rig->server_count; i++)
        assert_true(replies_is_clean(&rig->servers[i].replies));
}

static struct walk walk;

static void walk_with(struct weather weather, uint64_t seeds)
{
    for (uint64_t seed = 0; seed < seeds; seed++) {
        rng_init(&walk.rng, seed);
        walk.weather = weather;
        memset(walk.is_after_discard, 0, sizeof walk.is_after_discard);
        walk.names = 1 + draw(&walk, 11);
        walk.texts = 1 + draw(&walk, 14);
        bool is_limited = draw(&walk, 5) == 0;
        rig_init(&walk.rig, (struct rig_config){
                                .clients = 1 + (int)draw(&walk, RIG_CLIENTS_MAX),
                                .servers = 1 + (int)draw(&walk, RIG_SERVERS_MAX),
                                .statements_max = (uint16_t)(1 + draw(&walk, 6)),
                                .names_max = is_limited ? 3 : 100,
                                .is_limited = is_limited,
                                .runs = draw(&walk, 2) == 0 ? 4 : RIG_RUNS_MAX,
                                .ahead_size = draw(&walk, 2) == 0 ? 0 : 1024,
                                .bytes_max = SIZE_MAX,
                            });
        for (int round = 0; round < 4; round++) {
            go(&walk, 300);
            come_to_rest(&walk);
        }
        rig_deinit(&walk.rig);
    }
}

static void prepared__clients_get_what_a_server_of_their_own_would_say(void **state)
{
    (void)state;
    walk_with((struct weather){0}, 300);
}

static void prepared__errors_at_any_place_leave_the_maps_true(void **state)
{
    (void)state;
    walk_with((struct weather){.timeouts = true}, 300);
}

static void prepared__clients_and_servers_may_go_at_any_time(void **state)
{
    (void)state;
    walk_with((struct weather){.departures = true}, 150);
    walk_with((struct weather){.losses = true, .departures = true}, 150);
}

static void prepared__changed_tables_are_prepared_anew(void **state)
{
    (void)state;
    walk_with((struct weather){.alters = true}, 150);
    walk_with((struct weather){true, true, true, true}, 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prepared__errors_at_any_place_leave_the_maps_true),
        cmocka_unit_test(prepared__clients_and_servers_may_go_at_any_time),
        cmocka_unit_test(prepared__changed_tables_are_prepared_anew),
        cmocka_unit_test(prepared__clients_get_what_a_server_of_their_own_would_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
