#include "unit.h"

#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "dies.h"

static _Alignas(64) char block[4096];

static void arena__allocations_are_aligned_and_apart(void **state)
{
    (void)state;
    struct arena arena;
    struct rng rng;
    rng_init(&rng, 1);
    /* Also from a block that is itself not aligned. */
    for (size_t skew = 0; skew < 3; skew++) {
        arena_init(&arena, block + skew, sizeof block - skew);
        char *end = block + skew;
        for (;;) {
            size_t align = (size_t)1 << rng_below(&rng, 7), size = rng_below(&rng, 50);
            char *start = arena_alloc(&arena, size, align);
            if (start == NULL)
                break;
            assert_int_equal((uintptr_t)start % align, 0);
            assert_true(start >= end && start + size <= block + sizeof block);
            end = start + size;
        }
        assert_true(arena.used_max <= sizeof block - skew);
        assert_int_equal(arena.refused, 1);
    }
}

static void arena__an_exhausted_one_refuses_and_counts_the_need(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, block, 16);
    assert_non_null(arena_alloc(&arena, 16, 1));
    assert_non_null(arena_alloc(&arena, 0, 1));
    assert_null(arena_alloc(&arena, 1, 1));
    assert_int_equal(arena_need(&arena), 17);
    assert_null(arena_alloc(&arena, 8, 8));
    assert_int_equal(arena.refused, 2);
    assert_int_equal(arena_need(&arena), 17 + 15);
    arena_release(&arena, 0);
    assert_non_null(arena_alloc(&arena, 1, 1));
    assert_null(arena_alloc(&arena, 9, 8));  /* the padding fits, the rest does not */
    assert_null(arena_alloc(&arena, 0, 64)); /* not even the padding fits */
    assert_int_equal(arena.used_max, 16);
}

static void arena__requests_beyond_all_memory_are_refused(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, block, 64);
    assert_null(arena_alloc(&arena, SIZE_MAX, 8));
    assert_null(arena_alloc_zeroed(&arena, SIZE_MAX / 4 + 2, 4, 4));
    assert_null(arena_svdup(&arena, sv_from("", SIZE_MAX)));
    assert_int_equal(arena_need(&arena), SIZE_MAX);
    assert_int_equal(arena.used, 0);
}

/* The stated need is enough: what was refused in a small block fits into one of that size. */
static void arena__the_counted_need_is_enough(void **state)
{
    (void)state;
    struct rng rng;
    for (uint64_t seed = 0; seed < 200; seed++) {
        size_t size = 100;
        for (int round = 0; round < 2; round++) {
            struct arena arena;
            size_t mark = 0;
            arena_init(&arena, block, size);
            rng_init(&rng, seed);
            for (int i = 0; i < 40; i++) {
                arena_alloc(&arena, rng_below(&rng, 30), (size_t)1 << rng_below(&rng, 5));
                if (i == 10)
                    mark = arena_mark(&arena);
                if (i == 20)
                    arena_release(&arena, mark);
            }
            size = arena_need(&arena);
            assert_true(size <= sizeof block);
            if (round == 1)
                assert_int_equal(arena.refused, 0);
        }
    }
}

static void arena__release_returns_to_the_mark(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, block, sizeof block);
    arena_alloc(&arena, 10, 1);
    size_t mark = arena_mark(&arena);
    void *first = arena_alloc(&arena, 100, 8);
    arena_release(&arena, mark);
    assert_ptr_equal(arena_alloc(&arena, 50, 8), first);
    assert_int_equal(arena.used_max, 116);
    arena_release(&arena, 0);
    assert_int_equal(arena.used, 0);
}

static void arena__copies_end_in_nul(void **state)
{
    (void)state;
    struct arena arena;
    memset(block, 'x', sizeof block);
    arena_init(&arena, block, 14);
    assert_string_equal(arena_strdup(&arena, "abc"), "abc");
    assert_string_equal(arena_svdup(&arena, sv_from("defgh", 2)), "de");
    assert_string_equal(arena_svdup(&arena, sv_from_cstr(NULL)), "");
    assert_null(arena_strdup(&arena, "123456"));
    assert_string_equal(arena_strdup(&arena, "12345"), "12345");
    assert_int_equal(block[14], 'x');
}

static void arena__new_objects_are_full_of_zero_bytes(void **state)
{
    (void)state;
    struct arena arena;
    memset(block, 'x', sizeof block);
    arena_init(&arena, block, sizeof block);
    uint64_t *numbers = ARENA_NEW(&arena, uint64_t, 10);
    for (int i = 0; i < 10; i++)
        assert_int_equal(numbers[i], 0);
    assert_int_equal(arena.used, 80);
}

static void release_too_much(void *arena)
{
    arena_release(arena, 11);
}

static void arena__releasing_what_is_not_in_use_is_a_bug(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, block, sizeof block);
    arena_alloc(&arena, 10, 1);
    assert_true(dies(release_too_much, &arena));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena__allocations_are_aligned_and_apart),
        cmocka_unit_test(arena__an_exhausted_one_refuses_and_counts_the_need),
        cmocka_unit_test(arena__requests_beyond_all_memory_are_refused),
        cmocka_unit_test(arena__the_counted_need_is_enough),
        cmocka_unit_test(arena__release_returns_to_the_mark),
        cmocka_unit_test(arena__copies_end_in_nul),
        cmocka_unit_test(arena__new_objects_are_full_of_zero_bytes),
        cmocka_unit_test(arena__releasing_what_is_not_in_use_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
