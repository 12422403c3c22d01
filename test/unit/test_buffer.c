#include "unit.h"

#include <string.h>

#include "base/buffer.h"
#include "base/rng.h"
#include "dies.h"

static void assert_holds(const struct buffer *buffer, const char *expected)
{
    struct sv view = buffer_view(buffer);
    assert_int_equal(view.size, strlen(expected));
    assert_int_equal(buffer_held(buffer), strlen(expected));
    assert_memory_equal(view.data, expected, view.size);
}

static void buffer__bytes_come_out_as_they_went_in(void **state)
{
    (void)state;
    char block[8];
    struct buffer buffer;
    buffer_init(&buffer, block, sizeof block);
    assert_holds(&buffer, "");
    assert_true(buffer_append(&buffer, SV("abc")));
    assert_true(buffer_append(&buffer, sv_from_cstr(NULL)));
    assert_true(buffer_append(&buffer, SV("de")));
    assert_holds(&buffer, "abcde");
    assert_int_equal(buffer_free(&buffer), 3);
    buffer_consume(&buffer, 2);
    assert_holds(&buffer, "cde");
    assert_int_equal(buffer_free(&buffer), 5);
    buffer_clear(&buffer);
    assert_holds(&buffer, "");
    assert_int_equal(buffer_free(&buffer), 8);
}

static void buffer__what_does_not_fit_is_refused_whole(void **state)
{
    (void)state;
    char block[5] = "....";
    struct buffer buffer;
    buffer_init(&buffer, block, 4);
    assert_true(buffer_append(&buffer, SV("abc")));
    assert_false(buffer_append(&buffer, SV("de")));
    assert_null(buffer_reserve(&buffer, 2));
    assert_holds(&buffer, "abc");
    assert_true(buffer_append(&buffer, SV("d")));
    assert_false(buffer_append(&buffer, SV("e")));
    assert_holds(&buffer, "abcd");
    assert_int_equal(block[4], '\0');
    assert_null(buffer_reserve(&buffer, SIZE_MAX));
}

static void buffer__consumed_room_is_used_again(void **state)
{
    (void)state;
    char block[8];
    struct buffer buffer;
    buffer_init(&buffer, block, sizeof block);
    assert_true(buffer_append(&buffer, SV("abcdefgh")));
    buffer_consume(&buffer, 6);
    assert_true(buffer_append(&buffer, SV("123456")));
    assert_holds(&buffer, "gh123456");
    buffer_consume(&buffer, 8);
    /* An empty buffer starts at the front again without a move. */
    assert_ptr_equal(buffer_reserve(&buffer, 8), block);
}

static void buffer__reserved_room_is_filled_in_place(void **state)
{
    (void)state;
    char block[8];
    struct buffer buffer;
    buffer_init(&buffer, block, sizeof block);
    char *room = buffer_reserve(&buffer, 8);
    for (size_t i = 0; i < 8; i++)
        room[i] = (char)('a' + i);
    assert_holds(&buffer, "");
    buffer_commit(&buffer, 3);
    assert_holds(&buffer, "abc");
    assert_ptr_equal(buffer_reserve(&buffer, 5), block + 3);
}

static void buffer__a_long_stream_passes_through_a_small_block(void **state)
{
    (void)state;
    char block[37];
    struct buffer buffer;
    struct rng rng;
    unsigned char in = 0, out = 0;
    buffer_init(&buffer, block, sizeof block);
    rng_init(&rng, 1);
    for (int step = 0; step < 20000; step++) {
        size_t count = rng_below(&rng, sizeof block + 1);
        char *room = buffer_reserve(&buffer, count);
        assert_int_equal(room != NULL, count <= buffer_free(&buffer));
        if (room != NULL) {
            for (size_t i = 0; i < count; i++)
                room[i] = (char)in++;
            buffer_commit(&buffer, count);
        }
        struct sv view = buffer_view(&buffer);
        count = rng_below(&rng, view.size + 1);
        for (size_t i = 0; i < count; i++)
            assert_int_equal((unsigned char)view.data[i], out++);
        buffer_consume(&buffer, count);
    }
}

static void consume_too_much(void *buffer)
{
    buffer_consume(buffer, 4);
}

static void commit_too_much(void *buffer)
{
    buffer_commit(buffer, 6);
}

static void buffer__consuming_or_committing_too_much_is_a_bug(void **state)
{
    (void)state;
    char block[8];
    struct buffer buffer;
    buffer_init(&buffer, block, sizeof block);
    assert_true(buffer_append(&buffer, SV("abc")));
    assert_true(dies(consume_too_much, &buffer));
    assert_true(dies(commit_too_much, &buffer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer__bytes_come_out_as_they_went_in),
        cmocka_unit_test(buffer__what_does_not_fit_is_refused_whole),
        cmocka_unit_test(buffer__consumed_room_is_used_again),
        cmocka_unit_test(buffer__reserved_room_is_filled_in_place),
        cmocka_unit_test(buffer__a_long_stream_passes_through_a_small_block),
        cmocka_unit_test(buffer__consuming_or_committing_too_much_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
