#include "unit.h"

#include <string.h>

#include "proxy/handover.h"

static struct sv written(const struct handover *message, char out[HANDOVER_PACKET_MAX])
{
    struct buffer buffer;
    buffer_init(&buffer, out, HANDOVER_PACKET_MAX);
    assert_true(handover_write(message, &buffer));
    return buffer_view(&buffer);
}

static const struct handover messages[] = {
    {.kind = HANDOVER_HELLO, .version_oldest = 1, .version = 513, .pid = 0x80000001},
    {.kind = HANDOVER_SOCKETS, .version = 1, .count = 64, .activated = 1ull << 63, .is_last = true},
    {.kind = HANDOVER_SOCKETS, .version = 1, .count = 0, .is_last = false},
    {.kind = HANDOVER_READY},
    {.kind = HANDOVER_YIELDED, .count = 3},
    {.kind = HANDOVER_CANCEL, .pid = 77, .text_size = 4, .text = {1, 0, 2, 3}},
    {.kind = HANDOVER_CANCEL, .pid = 78, .text_size = STARTUP_CANCEL_KEY_MAX, .text = "key"},
    {.kind = HANDOVER_REFUSED, .text_size = 6, .text = "reason"},
    {.kind = HANDOVER_REFUSED},
};
#define MESSAGES (sizeof messages / sizeof messages[0])

static void handover__what_was_written_is_read(void **state)
{
    (void)state;
    char bytes[HANDOVER_PACKET_MAX];
    struct handover again;
    for (size_t i = 0; i < MESSAGES; i++) {
        const struct handover *message = &messages[i];
        assert_true(handover_read(written(message, bytes), &again));
        assert_int_equal(again.kind, message->kind);
        assert_int_equal(again.version_oldest, message->version_oldest);
        assert_int_equal(again.version, message->version);
        assert_int_equal(again.pid, message->pid);
        assert_int_equal(again.count, message->count);
        assert_true(again.activated == message->activated);
        assert_int_equal(again.is_last, message->is_last);
        assert_int_equal(again.text_size, message->text_size);
        assert_memory_equal(again.text, message->text, message->text_size);
    }
}

static void handover__a_part_of_a_packet_is_none_and_neither_is_more(void **state)
{
    (void)state;
    char bytes[HANDOVER_PACKET_MAX + 1] = {0};
    struct handover again;
    for (size_t i = 0; i < MESSAGES; i++) {
        struct sv packet = written(&messages[i], bytes);
        for (size_t size = 0; size < packet.size; size++)
            assert_false(handover_read(sv_take(packet, size), &again));
        assert_false(handover_read(sv_from(bytes, packet.size + 1), &again));
    }
}

static void handover__what_is_beyond_a_limit_is_no_packet(void **state)
{
    (void)state;
    static const struct handover wrong[] = {
        {.kind = HANDOVER_SOCKETS, .count = HANDOVER_SOCKETS_MAX + 1},
        {.kind = HANDOVER_YIELDED, .count = HANDOVER_SOCKETS_MAX + 1},
        {.kind = HANDOVER_CANCEL, .text_size = STARTUP_CANCEL_KEY_MIN - 1},
        {.kind = (enum handover_kind)0},
        {.kind = HANDOVER_REFUSED + 1},
    };
    char bytes[HANDOVER_PACKET_MAX];
    struct handover again;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(handover_read(written(&wrong[i], bytes), &again));
    assert_false(handover_read(SV("HFTP\x03"), &again));
    /* A key that says it is longer than any. */
    assert_false(handover_read(sv_from("HFTO\x05\0\0\0\x01\x01\x01", 11), &again));
}

static void handover__a_long_reason_is_cut_to_what_is_read(void **state)
{
    (void)state;
    struct handover message = {.kind = HANDOVER_REFUSED, .text_size = STARTUP_CANCEL_KEY_MAX};
    char bytes[HANDOVER_PACKET_MAX];
    struct handover again;
    memset(message.text, 'x', sizeof message.text);
    assert_true(handover_read(written(&message, bytes), &again));
    assert_int_equal(again.text_size, HANDOVER_REASON_MAX);
}

static void handover__a_buffer_that_is_too_small_is_said(void **state)
{
    (void)state;
    char bytes[HANDOVER_PACKET_MAX];
    for (size_t i = 0; i < MESSAGES; i++) {
        size_t size = written(&messages[i], bytes).size;
        for (size_t room = 0; room < size; room++) {
            struct buffer buffer;
            buffer_init(&buffer, bytes, room);
            assert_false(handover_write(&messages[i], &buffer));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handover__what_was_written_is_read),
        cmocka_unit_test(handover__a_part_of_a_packet_is_none_and_neither_is_more),
        cmocka_unit_test(handover__what_is_beyond_a_limit_is_no_packet),
        cmocka_unit_test(handover__a_long_reason_is_cut_to_what_is_read),
        cmocka_unit_test(handover__a_buffer_that_is_too_small_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
