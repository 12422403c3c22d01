#include "unit.h"

#include <string.h>

#include "base/hash.h"
#include "base/map.h"
#include "base/rng.h"

enum {
    CAPACITY_MAX = 100
};

static uint64_t memory[CAPACITY_MAX * (size_t)64 / sizeof(uint64_t)];

static void make(struct map *map, uint32_t capacity)
{
    assert_true(map_size(capacity) <= sizeof memory);
    memset(memory, 0x5a, sizeof memory);
    map_init(map, memory, capacity);
}

/* How often the pair is offered. */
static int offers(const struct map *map, uint64_t hash, uint32_t index)
{
    int n = 0;
    for (struct map_find f = map_find(map, hash); map_find_next(map, &f);)
        n += f.index == index;
    return n;
}

static void map__what_was_inserted_is_found_by_its_key(void **state)
{
    (void)state;
    static const char *const names[] = {"primary", "replica1", "replica2", "", "primary "};
    enum {
        N = sizeof names / sizeof names[0]
    };
    struct hash_key key = hash_key_from_seed(1);
    struct map map;
    make(&map, N);
    for (uint32_t i = 0; i < N; i++)
        assert_true(map_insert(&map, hash_bytes(&key, sv_from_cstr(names[i])), i));
    for (uint32_t i = 0; i < N; i++)
        assert_int_equal(offers(&map, hash_bytes(&key, sv_from_cstr(names[i])), i), 1);
    struct map_find f = map_find(&map, hash_bytes(&key, SV("replica3")));
    assert_false(map_find_next(&map, &f));
}

static void map__equal_hashes_are_all_offered(void **state)
{
    (void)state;
    struct map map;
    make(&map, 10);
    for (uint32_t i = 0; i < 10; i++)
        assert_true(map_insert(&map, 42, i));
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(offers(&map, 42, i), 1);
    assert_true(map_remove(&map, 42, 4));
    assert_false(map_remove(&map, 42, 4));
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(offers(&map, 42, i), i != 4);
}

static void map__a_full_one_refuses_and_stays_as_it_is(void **state)
{
    (void)state;
    for (uint32_t capacity = 1; capacity <= CAPACITY_MAX; capacity++) {
        struct map map;
        make(&map, capacity);
        for (uint32_t i = 0; i < capacity; i++)
            assert_true(map_insert(&map, i * UINT64_C(0x9e3779b97f4a7c15), i));
        assert_false(map_insert(&map, 7, 7777));
        assert_int_equal(map.count, capacity);
        assert_int_equal(offers(&map, 7, 7777), 0);
        /* Searching a full map for what is not there ends. */
        struct map_find f = map_find(&map, 1);
        assert_false(map_find_next(&map, &f));
        assert_true(map_remove(&map, 0, 0));
        assert_true(map_insert(&map, 7, 7777));
        assert_int_equal(offers(&map, 7, 7777), 1);
    }
}

static void map__the_size_is_two_to_four_slots_an_entry(void **state)
{
    (void)state;
    for (uint32_t capacity = 1; capacity < 5000; capacity++) {
        size_t slots = map_size(capacity) / sizeof(struct map_slot);
        assert_true(slots >= 2 * (size_t)capacity && slots < 4 * (size_t)capacity);
        assert_int_equal(slots & (slots - 1), 0);
    }
    assert_true(map_size(MAP_CAPACITY_MAX) ==
                2 * (size_t)MAP_CAPACITY_MAX * sizeof(struct map_slot));
}

static void map__iteration_visits_every_pair_once_in_a_repeatable_order(void **state)
{
    (void)state;
    struct hash_key key = hash_key_from_seed(5);
    uint32_t first[50];
    for (int round = 0; round < 2; round++) {
        struct map map;
        bool seen[50] = {false};
        make(&map, 50);
        for (uint32_t i = 0; i < 50; i++)
            map_insert(&map, hash_u64(&key, i), i);
        uint32_t cursor = 0, index = 0, n = 0;
        while (map_each(&map, &cursor, &index)) {
            assert_in_range(index, 0, 49);
            assert_false(seen[index]);
            seen[index] = true;
            if (round == 0)
                first[n] = index;
            assert_int_equal(index, first[n]);
            n++;
        }
        assert_int_equal(n, 50);
        assert_false(map_each(&map, &cursor, &index));
    }
}

enum {
    HASHES = 24,
    INDEXES = 6
};

/* So few homes that probing runs collide, wrap around and close holes all the time; hashes of one
 * home differ in their high bits only. */
static uint64_t poor_hash(uint64_t n)
{
    return n % 8 | n / 8 << 40;
}

/* Random insertions and removals against a plain table of what must be there. */
static void map__random_operations_agree_with_a_plain_table(void **state)
{
    (void)state;
    struct rng rng;
    for (uint64_t seed = 0; seed < 40; seed++) {
        rng_init(&rng, seed);
        uint32_t capacity = (uint32_t)rng_range_ns(&rng, 1, 40);
        bool model[HASHES][INDEXES] = {{false}};
        uint32_t count = 0;
        struct map map;
        make(&map, capacity);
        for (int step = 0; step < 2000; step++) {
            uint64_t h = rng_below(&rng, HASHES);
            uint32_t i = (uint32_t)rng_below(&rng, INDEXES);
            if (model[h][i]) {
                assert_true(map_remove(&map, poor_hash(h), i));
                model[h][i] = false;
                count--;
            } else {
                assert_false(map_remove(&map, poor_hash(h), i));
                model[h][i] = map_insert(&map, poor_hash(h), i);
                assert_int_equal(model[h][i], count < capacity);
                count += model[h][i];
            }
            assert_int_equal(map.count, count);
            for (h = 0; h < HASHES; h++)
                for (i = 0; i < INDEXES; i++)
                    assert_int_equal(offers(&map, poor_hash(h), i), model[h][i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map__what_was_inserted_is_found_by_its_key),
        cmocka_unit_test(map__equal_hashes_are_all_offered),
        cmocka_unit_test(map__a_full_one_refuses_and_stays_as_it_is),
        cmocka_unit_test(map__the_size_is_two_to_four_slots_an_entry),
        cmocka_unit_test(map__iteration_visits_every_pair_once_in_a_repeatable_order),
        cmocka_unit_test(map__random_operations_agree_with_a_plain_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
