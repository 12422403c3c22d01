#include "unit.h"

#include <string.h>

#include "base/bufpool.h"
#include "base/rng.h"
#include "dies.h"

enum {
    COUNT = 10,
    SIZE = 64
};

static _Alignas(BUFPOOL_ALIGN) char memory[COUNT * (SIZE + 4)];

static void make(struct bufpool *pool, uint32_t count)
{
    assert_true(bufpool_size(count, SIZE) <= sizeof memory);
    bufpool_init(pool, memory, count, SIZE);
}

static void bufpool__lends_as_many_as_it_has_and_then_refuses(void **state)
{
    (void)state;
    for (uint32_t count = 1; count <= COUNT; count++) {
        struct bufpool pool;
        char *lent[COUNT];
        make(&pool, count);
        for (uint32_t i = 0; i < count; i++) {
            lent[i] = bufpool_lend(&pool);
            assert_non_null(lent[i]);
            assert_int_equal((uintptr_t)lent[i] % BUFPOOL_ALIGN, 0);
            memset(lent[i], (int)i, SIZE); /* writing all of it harms neither pool nor others */
        }
        assert_null(bufpool_lend(&pool));
        assert_null(bufpool_lend(&pool));
        assert_int_equal(pool.refused, 2);
        assert_int_equal(pool.lent, count);
        for (uint32_t i = 0; i < count; i++) {
            for (int at = 0; at < SIZE; at++)
                assert_int_equal(lent[i][at], i);
            bufpool_return(&pool, lent[i]);
        }
        assert_int_equal(pool.lent, 0);
        assert_int_equal(pool.lent_max, count);
    }
}

static void bufpool__the_buffer_returned_last_is_lent_first(void **state)
{
    (void)state;
    struct bufpool pool;
    make(&pool, 3);
    void *a = bufpool_lend(&pool), *b = bufpool_lend(&pool);
    bufpool_return(&pool, a);
    bufpool_return(&pool, b);
    assert_ptr_equal(bufpool_lend(&pool), b);
    assert_ptr_equal(bufpool_lend(&pool), a);
    assert_int_equal(pool.lent_max, 2);
}

static void bufpool__no_buffer_is_lent_to_two(void **state)
{
    (void)state;
    struct bufpool pool;
    struct rng rng;
    char *lent[COUNT];
    uint32_t count = 0;
    make(&pool, COUNT);
    rng_init(&rng, 1);
    for (int step = 0; step < 20000; step++) {
        if (rng_below(&rng, 2) == 0) {
            char *buffer = bufpool_lend(&pool);
            assert_int_equal(buffer != NULL, count < COUNT);
            for (uint32_t i = 0; i < count; i++)
                assert_ptr_not_equal(lent[i], buffer);
            if (buffer != NULL)
                lent[count++] = buffer;
        } else if (count > 0) {
            uint32_t i = (uint32_t)rng_below(&rng, count);
            bufpool_return(&pool, lent[i]);
            lent[i] = lent[--count];
        }
        assert_int_equal(pool.lent, count);
    }
}

struct wrong_return {
    struct bufpool *pool;
    char *buffer;
};

static void give_back(void *argument)
{
    struct wrong_return *wrong = argument;
    bufpool_return(wrong->pool, wrong->buffer);
}

static void bufpool__returning_what_is_not_lent_is_a_bug(void **state)
{
    (void)state;
    struct bufpool pool;
    make(&pool, 3);
    char *lent = bufpool_lend(&pool), *returned = bufpool_lend(&pool);
    bufpool_return(&pool, returned);
    char *below = (char *)((uintptr_t)memory - SIZE);
    char *wrong[] = {returned, lent + 8, lent + (size_t)3 * SIZE, below, NULL};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct wrong_return argument = {&pool, wrong[i]};
        assert_true(dies(give_back, &argument));
    }
    struct wrong_return right = {&pool, lent};
    assert_false(dies(give_back, &right));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bufpool__lends_as_many_as_it_has_and_then_refuses),
        cmocka_unit_test(bufpool__the_buffer_returned_last_is_lent_first),
        cmocka_unit_test(bufpool__no_buffer_is_lent_to_two),
        cmocka_unit_test(bufpool__returning_what_is_not_lent_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
