#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "sql/verdicts.h"

struct fixture {
    struct verdicts verdicts;
    void *memory;
};

static struct fixture setup(uint32_t capacity)
{
    struct fixture f = {.memory = malloc(verdicts_size(capacity))};
    assert_non_null(f.memory);
    verdicts_init(&f.verdicts, f.memory, capacity);
    return f;
}

static void teardown(struct fixture *f)
{
    free(f->memory);
}

static struct shape shape_of(const char *text, uint64_t hash)
{
    return (struct shape){.text = sv_from_cstr(text), .hash = {hash, 0}};
}

static struct verdict verdict_of(enum verdict_class is)
{
    return (struct verdict){.is = (uint8_t)is};
}

static void put(struct fixture *f, const char *text, uint64_t hash, enum verdict_class is)
{
    const struct shape shape = shape_of(text, hash);
    const struct verdict verdict = verdict_of(is);
    verdicts_put(&f->verdicts, &shape, &verdict);
}

/* The class, or -1 if it is not known. */
static int find(struct fixture *f, const char *text, uint64_t hash)
{
    const struct shape shape = shape_of(text, hash);
    const struct verdict *verdict = verdicts_find(&f->verdicts, &shape);
    return verdict != NULL ? verdict->is : -1;
}

static void verdicts__what_was_put_is_found(void **state)
{
    (void)state;
    struct fixture f = setup(4);
    assert_int_equal(find(&f, "a", 1), -1);
    put(&f, "a", 1, VERDICT_READ);
    put(&f, "", 2, VERDICT_NOTHING);
    assert_int_equal(find(&f, "a", 1), VERDICT_READ);
    assert_int_equal(find(&f, "", 2), VERDICT_NOTHING);
    put(&f, "a", 1, VERDICT_WRITE);
    assert_int_equal(find(&f, "a", 1), VERDICT_WRITE);
    assert_int_equal(f.verdicts.count, 2);
    assert_int_equal(f.verdicts.counts.hits, 3);
    assert_int_equal(f.verdicts.counts.misses, 1);
    teardown(&f);
}

/* Two shapes of one hash are two shapes. */
static void verdicts__a_collision_misleads_nobody(void **state)
{
    (void)state;
    struct fixture f = setup(8);
    char long_a[200], long_b[200];
    memset(long_a, 'x', sizeof long_a);
    memset(long_b, 'x', sizeof long_b);
    long_a[199] = long_b[199] = '\0';
    long_b[198] = 'y';
    put(&f, "a", 7, VERDICT_READ);
    put(&f, long_a, 7, VERDICT_READ);
    assert_int_equal(find(&f, "b", 7), -1);
    assert_int_equal(find(&f, "aa", 7), -1);
    assert_int_equal(find(&f, long_b, 7), -1);
    put(&f, "b", 7, VERDICT_WRITE);
    put(&f, long_b, 7, VERDICT_DDL);
    assert_int_equal(find(&f, "a", 7), VERDICT_READ);
    assert_int_equal(find(&f, "b", 7), VERDICT_WRITE);
    assert_int_equal(find(&f, long_a, 7), VERDICT_READ);
    assert_int_equal(find(&f, long_b, 7), VERDICT_DDL);
    teardown(&f);
}

static void verdicts__who_is_used_stays(void **state)
{
    (void)state;
    struct fixture f = setup(8);
    char text[16];
    put(&f, "kept", 1000, VERDICT_READ);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "t%u", i);
        assert_int_equal(find(&f, "kept", 1000), VERDICT_READ);
        put(&f, text, i, VERDICT_WRITE);
    }
    assert_int_equal(f.verdicts.count, 8);
    assert_int_equal(find(&f, "t0", 0), -1);
    assert_int_equal(find(&f, "t99", 99), VERDICT_WRITE);
    assert_int_equal(f.verdicts.counts.evicted, 93);
    teardown(&f);
}

static void verdicts__long_texts_drive_others_out_and_too_long_ones_are_not_kept(void **state)
{
    (void)state;
    struct fixture f = setup(4);
    static char text[VERDICTS_TEXT_MAX + 2];
    memset(text, 'x', sizeof text - 1);
    put(&f, text, 1, VERDICT_READ);
    assert_int_equal(find(&f, text, 1), -1);
    assert_int_equal(f.verdicts.counts.too_long, 1);
    put(&f, "a", 2, VERDICT_READ);
    put(&f, "b", 3, VERDICT_READ);
    text[(VERDICTS_BLOCKS_EACH * 4 - 1) * VERDICTS_BLOCK_TEXT] = '\0';
    put(&f, text, 4, VERDICT_READ);
    assert_int_equal(find(&f, text, 4), VERDICT_READ);
    assert_int_equal(f.verdicts.count, 2);
    text[0] = '\0';
    put(&f, "c", 5, VERDICT_READ);
    put(&f, "d", 6, VERDICT_READ);
    assert_int_equal(find(&f, "d", 6), VERDICT_READ);
    teardown(&f);
}

static void verdicts__another_catalogue_makes_old_ones_unknown(void **state)
{
    (void)state;
    struct fixture f = setup(4);
    put(&f, "a", 1, VERDICT_READ);
    verdicts_renew(&f.verdicts, 2);
    assert_int_equal(find(&f, "a", 1), -1);
    put(&f, "a", 1, VERDICT_WRITE);
    assert_int_equal(find(&f, "a", 1), VERDICT_WRITE);
    assert_int_equal(f.verdicts.count, 1);
    teardown(&f);
}

static void verdicts__what_a_server_taught_stays(void **state)
{
    (void)state;
    struct fixture f = setup(4);
    const struct shape a = shape_of("a", 1), b = shape_of("b", 2);
    put(&f, "a", 1, VERDICT_READ);
    verdicts_learn(&f.verdicts, &a);
    verdicts_learn(&f.verdicts, &a);
    verdicts_learn(&f.verdicts, &b);
    const struct verdict *verdict = verdicts_find(&f.verdicts, &a);
    assert_int_equal(verdict->is, VERDICT_WRITE);
    assert_int_equal(verdict->reason, VERDICT_BY_LEARNING);
    assert_true((verdict->traits & VERDICT_IS_LEARNED) != 0);
    put(&f, "a", 1, VERDICT_READ);
    verdicts_renew(&f.verdicts, 2);
    assert_int_equal(find(&f, "a", 1), VERDICT_WRITE);
    assert_int_equal(find(&f, "b", 2), VERDICT_WRITE);
    assert_int_equal(f.verdicts.counts.learned, 2);
    teardown(&f);
}

static void verdicts__all_can_be_seen(void **state)
{
    (void)state;
    struct fixture f = setup(4);
    const struct verdict *verdict;
    char text[128];
    uint32_t cursor = 0;
    put(&f, "old", 1, VERDICT_READ);
    verdicts_renew(&f.verdicts, 2);
    put(&f, "a text of more than one block, which is sixty bytes, and one", 2, VERDICT_DDL);
    assert_true(verdicts_each(&f.verdicts, &cursor, &verdict, text, sizeof text));
    assert_string_equal(text, "a text of more than one block, which is sixty bytes, and one");
    assert_int_equal(verdict->is, VERDICT_DDL);
    assert_false(verdicts_each(&f.verdicts, &cursor, &verdict, text, sizeof text));
    cursor = 0;
    assert_true(verdicts_each(&f.verdicts, &cursor, &verdict, text, 7));
    assert_string_equal(text, "a text");
    teardown(&f);
}

/* Beside a table that forgets nothing: what is found is what was put last, nothing is made up, and
 * no block is lost. */
static void verdicts__agrees_with_a_model(void **state)
{
    (void)state;
    enum {
        SHAPES = 64
    };
    struct fixture f = setup(16);
    struct rng rng;
    int last[SHAPES];
    static char texts[SHAPES][800];
    rng_init(&rng, 5);
    for (int i = 0; i < SHAPES; i++) {
        memset(texts[i], 'a' + i % 26, (size_t)rng_below(&rng, 700));
        snprintf(texts[i] + strlen(texts[i]), 8, "%d", i);
        last[i] = -1;
    }
    for (int round = 0; round < 100000; round++) {
        const size_t i = (size_t)rng_below(&rng, SHAPES);
        const uint64_t hash = i / 3;
        if (rng_below(&rng, 2) == 0) {
            last[i] = (int)rng_below(&rng, VERDICT_CLASSES);
            put(&f, texts[i], hash, (enum verdict_class)last[i]);
            assert_int_equal(find(&f, texts[i], hash), last[i]);
        } else {
            const int found = find(&f, texts[i], hash);
            assert_true(found == -1 || found == last[i]);
        }
    }
    uint32_t used = 0;
    for (uint32_t i = 0; i < f.verdicts.capacity; i++) {
        if (f.verdicts.entries[i].is_used)
            used +=
                (f.verdicts.entries[i].text_size + VERDICTS_BLOCK_TEXT - 1) / VERDICTS_BLOCK_TEXT;
    }
    assert_int_equal(used + f.verdicts.free_blocks, 16 * VERDICTS_BLOCKS_EACH);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts__what_was_put_is_found),
        cmocka_unit_test(verdicts__a_collision_misleads_nobody),
        cmocka_unit_test(verdicts__who_is_used_stays),
        cmocka_unit_test(verdicts__long_texts_drive_others_out_and_too_long_ones_are_not_kept),
        cmocka_unit_test(verdicts__another_catalogue_makes_old_ones_unknown),
        cmocka_unit_test(verdicts__what_a_server_taught_stays),
        cmocka_unit_test(verdicts__all_can_be_seen),
        cmocka_unit_test(verdicts__agrees_with_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
