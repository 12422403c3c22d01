#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "wire/statements.h"

/* A store whose memory comes from malloc, so that the sanitizer sees what goes over an edge. */
static void begin(struct statements *store, size_t bytes_max)
{
    statements_init(store, hash_key_from_seed(1), bytes_max);
}

static void end(struct statements *store)
{
    void *memory;
    while ((memory = statements_deinit(store)) != NULL)
        free(memory);
}

static enum statements_rc add(struct statements *store, struct sv text, struct sv types,
                              uint32_t *id)
{
    enum statements_rc rc;
    while ((rc = statements_add(store, text, types, id)) == STATEMENTS_WANT) {
        struct statements_want want = statements_want(store);
        void *memory = malloc(want.size);
        assert_non_null(memory);
        free(statements_give(store, memory, want));
        assert_true(store->bytes <= store->bytes_max);
    }
    return rc;
}

static uint32_t add_text(struct statements *store, const char *text)
{
    uint32_t id;
    assert_int_equal(add(store, sv_from_cstr(text), SV(""), &id), STATEMENTS_OK);
    return id;
}

static void statements__a_lower_limit_stops_what_is_new_and_keeps_what_is_held(void **state)
{
    (void)state;
    struct statements store;
    static char text[STATEMENTS_CHUNK_SIZE];
    uint32_t id, one;
    begin(&store, SIZE_MAX);
    one = add_text(&store, "select 1");
    memset(text, 'x', sizeof text);
    statements_set_max(&store, 100);
    assert_int_equal(add(&store, sv_from(text, 50), SV(""), &id), STATEMENTS_OK); /* has a place */
    assert_int_equal(add(&store, sv_from(text, 100), SV(""), &id), STATEMENTS_FULL);
    statements_set_max(&store, store.bytes);
    assert_int_equal(add(&store, sv_from(text, sizeof text), SV(""), &id), STATEMENTS_FULL);
    statements_set_max(&store, store.bytes - 1);
    assert_int_equal(add(&store, sv_from(text, sizeof text), SV(""), &id), STATEMENTS_FULL);
    assert_true(sv_eq(statements_get(&store, one).text, SV("select 1")));
    statements_set_max(&store, SIZE_MAX);
    assert_int_equal(add(&store, sv_from(text, sizeof text), SV(""), &id), STATEMENTS_OK);
    end(&store);
}

static void free_spares(struct statements *store)
{
    void *memory;
    while ((memory = statements_spare(store)) != NULL)
        free(memory);
}

static void statements__a_text_has_one_id_while_it_is_held(void **state)
{
    (void)state;
    struct statements store;
    begin(&store, SIZE_MAX);
    uint32_t one = add_text(&store, "select 1"), two = add_text(&store, "select 2");
    assert_int_not_equal(one, two);
    assert_int_equal(add_text(&store, "select 1"), one);
    assert_int_equal(store.count, 2);
    statements_release(&store, one);
    assert_int_equal(store.count, 2);
    assert_true(sv_eq(statements_get(&store, one).text, SV("select 1")));
    statements_hold(&store, one);
    statements_release(&store, one);
    statements_release(&store, one);
    assert_int_equal(store.count, 1);
    /* Now the id is another's. */
    assert_int_equal(add_text(&store, "select 3"), one);
    assert_true(sv_eq(statements_get(&store, two).text, SV("select 2")));
    end(&store);
}

static void statements__types_and_texts_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        struct sv text, types;
    } cases[] = {
        {SV_INIT(""), SV_INIT("")},          {SV_INIT(""), SV_INIT("\0\0\0\1")},
        {SV_INIT("a"), SV_INIT("")},         {SV_INIT("a"), SV_INIT("\0\0\0\1")},
        {SV_INIT("a"), SV_INIT("\0\0\0\2")}, {SV_INIT("a"), SV_INIT("\0\0\0\1\0\0\0\2")},
        {SV_INIT("ab"), SV_INIT("")},        {SV_INIT("abc"), SV_INIT("\0\0\0\1")},
    };
    enum {
        N = sizeof cases / sizeof cases[0]
    };
    struct statements store;
    uint32_t ids[N], again;
    begin(&store, SIZE_MAX);
    for (uint32_t i = 0; i < N; i++) {
        assert_int_equal(add(&store, cases[i].text, cases[i].types, &ids[i]), STATEMENTS_OK);
        assert_int_equal(store.count, i + 1);
    }
    for (uint32_t i = 0; i < N; i++) {
        struct statement statement = statements_get(&store, ids[i]);
        assert_true(sv_eq(statement.text, cases[i].text));
        assert_true(sv_eq(statement.types, cases[i].types));
        assert_int_equal(add(&store, cases[i].text, cases[i].types, &again), STATEMENTS_OK);
        assert_int_equal(again, ids[i]);
    }
    end(&store);
}

/* Two texts with one hash: among 200,000 there are a few pairs, as a hash has 32 bits. */
static void statements__a_hash_is_never_trusted(void **state)
{
    (void)state;
    enum {
        N = 200000
    };
    static uint32_t seen[1 << 20];
    struct hash_key key = hash_key_from_seed(1);
    struct statements store;
    char text[16], other[16];
    unsigned pairs = 0;
    memset(seen, 0xff, sizeof seen);
    begin(&store, SIZE_MAX);
    for (uint32_t i = 0; i < N; i++) {
        snprintf(text, sizeof text, "%u", i);
        uint32_t hash = (uint32_t)hash_bytes(&key, sv_from_cstr(text)), at = hash & 0xfffff;
        if (seen[at] == UINT32_MAX) {
            seen[at] = i;
            continue;
        }
        snprintf(other, sizeof other, "%u", seen[at]);
        if ((uint32_t)hash_bytes(&key, sv_from_cstr(other)) != hash)
            continue;
        pairs++;
        uint32_t first = add_text(&store, text), second = add_text(&store, other);
        assert_int_not_equal(first, second);
        assert_true(sv_eq(statements_get(&store, first).text, sv_from_cstr(text)));
        statements_release(&store, first);
        assert_int_equal(add_text(&store, other), second);
    }
    assert_true(pairs > 0);
    end(&store);
    /* The same with types. */
    begin(&store, SIZE_MAX);
    for (uint32_t i = 0, id; i < N; i++) {
        struct sv types = sv_from((const char *)&i, sizeof i);
        assert_int_equal(add(&store, SV("a"), types, &id), STATEMENTS_OK);
        assert_int_equal(store.count, i + 1);
    }
    end(&store);
}

static void statements__memory_has_a_limit(void **state)
{
    (void)state;
    static char large[100000];
    struct statements store;
    uint32_t id;
    memset(large, 'x', sizeof large);
    begin(&store, 200);
    assert_int_equal(add(&store, SV("a"), SV(""), &id), STATEMENTS_FULL);
    assert_int_equal(add(&store, sv_from(large, 300), SV(""), &id), STATEMENTS_FULL);
    end(&store);

    begin(&store, 80000);
    uint32_t first = add_text(&store, "a");
    assert_int_equal(add(&store, sv_from(large, 70000), SV(""), &id), STATEMENTS_FULL);
    assert_int_equal(add(&store, sv_from(large, 20000), SV(""), &id), STATEMENTS_OK);
    /* What is there is found even when nothing more fits. */
    assert_int_equal(add_text(&store, "a"), first);
    end(&store);
}

static void statements__a_large_one_stands_alone_and_leaves_its_memory(void **state)
{
    (void)state;
    static char large[300000];
    struct statements store;
    uint32_t small, id, other;
    memset(large, 'x', sizeof large);
    begin(&store, SIZE_MAX);
    small = add_text(&store, "a");
    size_t before = store.bytes;
    assert_int_equal(add(&store, sv_from(large, sizeof large), SV("\0\0\0\1"), &id), STATEMENTS_OK);
    assert_true(store.bytes - before < sizeof large + 100);
    assert_true(sv_eq(statements_get(&store, id).text, sv_from(large, sizeof large)));
    /* Small ones do not go there. */
    assert_int_equal(add(&store, sv_from(large, 5000), SV(""), &other), STATEMENTS_OK);
    assert_null(statements_spare(&store));
    statements_release(&store, id);
    void *memory = statements_spare(&store);
    assert_non_null(memory);
    free(memory);
    assert_null(statements_spare(&store));
    assert_int_equal(store.bytes, before);
    assert_true(sv_eq(statements_get(&store, small).text, SV("a")));
    /* The place of the chunk is used again. */
    assert_int_equal(add(&store, sv_from(large, 250000), SV(""), &id), STATEMENTS_OK);
    assert_int_equal(store.chunk_count, 2);
    end(&store);
}

static void statements__many_cost_little_more_than_their_texts(void **state)
{
    (void)state;
    enum {
        N = 5000
    };
    struct statements store;
    size_t bytes = 0;
    begin(&store, SIZE_MAX);
    for (int i = 0; i < N; i++) {
        char text[1024];
        uint32_t id;
        size_t size = 200 + (size_t)(i * 7 % 801);
        memset(text, 'a', sizeof text);
        snprintf(text, sizeof text, "select %d", i);
        assert_int_equal(add(&store, sv_from(text, size), SV(""), &id), STATEMENTS_OK);
        bytes += size;
    }
    /* About 32 bytes for each, and what is free in the index and in the last chunk. */
    assert_true(store.bytes < bytes + N * 36 + STATEMENTS_CHUNK_SIZE);
    end(&store);
}

static void statements__holes_are_used_again(void **state)
{
    (void)state;
    enum {
        N = 400,
        ROUNDS = 50
    };
    struct statements store;
    uint32_t ids[N];
    char text[512];
    size_t bytes = 0;
    begin(&store, SIZE_MAX);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < N; i++) {
            memset(text, 'a', sizeof text);
            snprintf(text, sizeof text, "select %d, %d", round, i);
            if (round > 0 && i % 3 != round % 3)
                continue;
            if (round > 0)
                statements_release(&store, ids[i]);
            assert_int_equal(add(&store, sv_from(text, sizeof text), SV(""), &ids[i]),
                             STATEMENTS_OK);
        }
        bytes = round == 0 ? store.bytes : bytes;
    }
    assert_int_equal(store.count, N);
    assert_true(store.bytes <= bytes * 3 / 2);
    for (int i = 0; i < N; i++)
        statements_release(&store, ids[i]);
    free_spares(&store);
    /* The chunk in use is kept. */
    assert_true(store.bytes > STATEMENTS_CHUNK_SIZE);
    assert_true(store.bytes < STATEMENTS_CHUNK_SIZE + 20000);
    end(&store);
}

/* Against an array of texts and counts. */
static void statements__chance_finds_nothing_wrong(void **state)
{
    (void)state;
    enum {
        TEXTS = 300
    };
    static uint32_t held[TEXTS], ids[TEXTS];
    static char text[20000];
    struct statements store;
    struct rng rng;
    memset(held, 0, sizeof held);
    rng_init(&rng, 1);
    begin(&store, SIZE_MAX);
    for (int step = 0; step < 60000; step++) {
        uint32_t i = (uint32_t)rng_below(&rng, TEXTS), id;
        size_t size = i % 50 == 0 ? 6000 + 40 * (size_t)i : 100 + 3 * (size_t)i;
        memset(text, 'y', size);
        snprintf(text, size, "select %u", i);
        if (held[i] > 0 && rng_below(&rng, 5) < 3) {
            assert_true(sv_eq(statements_get(&store, ids[i]).text, sv_from(text, size)));
            statements_release(&store, ids[i]);
            held[i]--;
            continue;
        }
        assert_int_equal(add(&store, sv_from(text, size), SV(""), &id), STATEMENTS_OK);
        assert_true(held[i] == 0 || id == ids[i]);
        ids[i] = id;
        held[i]++;
        if (rng_below(&rng, 100) == 0)
            free_spares(&store);
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < TEXTS; i++)
        count += held[i] > 0;
    assert_int_equal(store.count, count);
    end(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements__a_text_has_one_id_while_it_is_held),
        cmocka_unit_test(statements__types_and_texts_are_told_apart),
        cmocka_unit_test(statements__a_hash_is_never_trusted),
        cmocka_unit_test(statements__a_lower_limit_stops_what_is_new_and_keeps_what_is_held),
        cmocka_unit_test(statements__memory_has_a_limit),
        cmocka_unit_test(statements__a_large_one_stands_alone_and_leaves_its_memory),
        cmocka_unit_test(statements__many_cost_little_more_than_their_texts),
        cmocka_unit_test(statements__holes_are_used_again),
        cmocka_unit_test(statements__chance_finds_nothing_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
