#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "wire/message.h"
#include "wire/prepared_client.h"

static const struct hash_key key = {1, 2};

/* Adds a name, in a larger map if it must be. */
static uint16_t add(struct prepared_client **client, struct sv name, uint32_t id)
{
    if (!prepared_client_fits(*client, name)) {
        struct prepared_room room = prepared_client_want(*client, name);
        struct prepared_client *larger = malloc(prepared_client_size(room));
        assert_non_null(larger);
        prepared_client_init(larger, room, &key, *client);
        free(*client);
        *client = larger;
    }
    return prepared_client_add(*client, &key, name, id);
}

static void prepared_client__without_a_map_there_are_no_names(void **state)
{
    (void)state;
    assert_int_equal(prepared_client_find(NULL, &key, SV("a")), PREPARED_NO_NAME);
    assert_false(prepared_client_fits(NULL, SV("a")));
}

static void prepared_client__names_lead_to_ids(void **state)
{
    (void)state;
    struct prepared_client *client = NULL;
    uint16_t a = add(&client, SV("a"), 7), b = add(&client, SV("b"), 8);
    uint16_t c = add(&client, SV("c"), 7);
    assert_int_equal(prepared_client_find(client, &key, SV("a")), a);
    assert_int_equal(prepared_client_find(client, &key, SV("b")), b);
    assert_int_equal(prepared_client_find(client, &key, SV("d")), PREPARED_NO_NAME);
    assert_int_equal(client->names[c].id, 7);
    prepared_client_remove(client, &key, a);
    assert_int_equal(prepared_client_find(client, &key, SV("a")), PREPARED_NO_NAME);
    assert_int_equal(prepared_client_find(client, &key, SV("c")), c);
    /* The index is free again, and the others stay what they are. */
    assert_int_equal(add(&client, SV("d"), 9), a);
    assert_int_equal(prepared_client_find(client, &key, SV("b")), b);
    assert_true(sv_eq(prepared_client_name(client, a), SV("d")));
    free(client);
}

static void prepared_client__names_are_told_apart_as_postgresql_does(void **state)
{
    (void)state;
    char long_name[MESSAGE_NAME_MAX];
    struct prepared_client *client = NULL;
    memset(long_name, 'n', sizeof long_name);
    struct sv whole = sv_from(long_name, sizeof long_name);
    uint16_t index = add(&client, whole, 1);
    assert_int_equal(prepared_client_find(client, &key, sv_take(whole, 63)), index);
    assert_int_equal(prepared_client_find(client, &key, sv_take(whole, 100)), index);
    assert_int_equal(prepared_client_find(client, &key, sv_take(whole, 62)), PREPARED_NO_NAME);
    assert_true(sv_eq(prepared_client_name(client, index), whole));
    free(client);
}

static void prepared_client__a_map_costs_little_more_than_its_names(void **state)
{
    (void)state;
    enum {
        N = 5000
    };
    struct prepared_client *client = NULL;
    size_t bytes = 0;
    for (uint32_t i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof name, "s_%u", i);
        add(&client, sv_from_cstr(name), i);
        bytes += strlen(name);
    }
    struct prepared_room room = {client->capacity, client->bytes_capacity};
    assert_int_equal(client->count, N);
    assert_true(prepared_client_size(room) < (bytes + 13 * N) * 9 / 8 + 100);
    free(client);
}

static void prepared_client__it_holds_as_many_as_it_says(void **state)
{
    (void)state;
    struct prepared_client *client = NULL;
    char name[16];
    for (uint32_t i = 0; i < PREPARED_NAMES_MAX; i++) {
        snprintf(name, sizeof name, "%u", i);
        assert_int_equal(add(&client, sv_from_cstr(name), i), i);
    }
    assert_false(prepared_client_fits(client, SV("a")));
    assert_int_equal(prepared_client_find(client, &key, sv_from_cstr(name)),
                     PREPARED_NAMES_MAX - 1);
    free(client);
}

/* Against an array of the same names. */
static void prepared_client__chance_finds_nothing_wrong(void **state)
{
    (void)state;
    enum {
        NAMES = 200
    };
    struct prepared_client *client = NULL;
    uint16_t indexes[NAMES];
    uint32_t count = 0;
    struct rng rng;
    memset(indexes, 0xff, sizeof indexes);
    rng_init(&rng, 1);
    for (uint32_t step = 0; step < 50000; step++) {
        uint32_t i = (uint32_t)rng_below(&rng, step % 3000 < 1500 ? NAMES : 10);
        char text[64];
        snprintf(text, sizeof text, "%.*s%u", (int)(i % 40),
                 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn", i);
        struct sv name = sv_from_cstr(text);
        assert_int_equal(prepared_client_find(client, &key, name), indexes[i]);
        if (indexes[i] == PREPARED_NO_NAME) {
            indexes[i] = add(&client, name, i);
            count++;
        } else {
            assert_int_equal(client->names[indexes[i]].id, i);
            prepared_client_remove(client, &key, indexes[i]);
            indexes[i] = PREPARED_NO_NAME;
            count--;
        }
        assert_non_null(client);
        assert_int_equal(client->count, count);
    }
    uint32_t seen = 0;
    for (uint16_t i = PREPARED_NO_NAME; (i = prepared_client_next(client, i)) != PREPARED_NO_NAME;
         seen++)
        assert_int_equal(indexes[client->names[i].id], i);
    assert_int_equal(seen, count);
    free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prepared_client__without_a_map_there_are_no_names),
        cmocka_unit_test(prepared_client__names_lead_to_ids),
        cmocka_unit_test(prepared_client__names_are_told_apart_as_postgresql_does),
        cmocka_unit_test(prepared_client__a_map_costs_little_more_than_its_names),
        cmocka_unit_test(prepared_client__it_holds_as_many_as_it_says),
        cmocka_unit_test(prepared_client__chance_finds_nothing_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
