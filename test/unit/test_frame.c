#include "unit.h"

#include <string.h>

#include "dies.h"
#include "wire/bytes.h"
#include "wire/frame.h"

/* Appends a message with a body of `body_size` bytes; returns where the next one goes. */
static char *put_message(char *at, char type, uint32_t body_size)
{
    at[0] = type;
    bytes_put_u32(at + 1, body_size + 4);
    memset(at + FRAME_HEADER_SIZE, type, body_size);
    return at + FRAME_HEADER_SIZE + body_size;
}

/* What a stream was taken apart into: messages, and the bytes of all parts in a row. */
struct seen {
    struct {
        char type;
        uint32_t size;
    } messages[16];
    size_t count;
    char bytes[512];
    size_t size;
};

/* Takes what is in view the way a proxy does, and returns what is left of the view. */
static struct sv take_all(struct frame *frame, struct sv view, struct seen *seen)
{
    struct frame_part part;
    enum frame_status status;
    bool was_looked_at = frame->left > 0;
    size_t whole = frame_whole(frame, view);
    while ((status = frame_look(frame, view, &part)) == FRAME_PART) {
        struct frame_part again;
        bool is_whole = part.is_first && part.is_last && !was_looked_at;
        assert_int_equal(whole, is_whole ? part.size : 0);
        assert_int_equal(frame_look(frame, view, &again), FRAME_PART);
        assert_memory_equal(&again.bytes, &part.bytes, sizeof part.bytes);
        assert_int_equal(again.is_first, part.is_first);
        assert_true(part.bytes.size > 0 && part.bytes.data == view.data);
        if (part.is_first) {
            assert_true(part.bytes.size >= FRAME_HEADER_SIZE);
            seen->messages[seen->count].type = part.type;
            seen->messages[seen->count++].size = part.size;
        }
        memcpy(seen->bytes + seen->size, part.bytes.data, part.bytes.size);
        seen->size += part.bytes.size;
        frame_take(frame, part.bytes.size);
        assert_int_equal(part.is_last, frame_is_between(frame));
        view = sv_drop(view, part.bytes.size);
        was_looked_at = frame->left > 0;
        whole = frame_whole(frame, view);
    }
    assert_int_equal(status, FRAME_MORE);
    assert_int_equal(whole, 0);
    return view;
}

/* The stream comes in three pieces; what was not taken waits in front of the next one. */
static void take_in_three(struct frame *frame, struct sv stream, size_t first, size_t second,
                          struct seen *seen)
{
    size_t ends[] = {first, second, stream.size}, taken = 0;
    for (size_t i = 0; i < 3; i++) {
        struct sv view = sv_from(stream.data + taken, ends[i] - taken);
        struct sv left = take_all(frame, view, seen);
        assert_true(left.size < FRAME_HEADER_SIZE);
        taken = ends[i] - left.size;
    }
    assert_int_equal(taken, stream.size);
}

static void frame__every_split_gives_the_same_messages(void **state)
{
    (void)state;
    char block[512], *end = block;
    end = put_message(end, 'T', 30);
    end = put_message(end, 'D', 2);
    end = put_message(end, 'D', 41);
    end = put_message(end, '1', 0);
    end = put_message(end, 'C', 9);
    end = put_message(end, 'Z', 1);
    struct sv stream = sv_from(block, (size_t)(end - block));
    struct seen whole = {0};
    struct frame frame;
    frame_init(&frame, FRAME_BACKEND, FRAME_SESSION);
    assert_int_equal(take_all(&frame, stream, &whole).size, 0);
    assert_int_equal(whole.count, 6);
    for (size_t first = 0; first <= stream.size; first++)
        for (size_t second = first; second <= stream.size; second++) {
            struct seen seen = {0};
            take_in_three(&frame, stream, first, second, &seen);
            assert_memory_equal(&seen, &whole, sizeof seen);
            assert_true(frame_is_between(&frame));
        }
    assert_memory_equal(whole.bytes, block, stream.size);
}

static void frame__a_message_may_be_waited_for_untaken(void **state)
{
    (void)state;
    char block[64];
    struct frame frame;
    struct frame_part part;
    put_message(block, 'E', 20);
    frame_init(&frame, FRAME_BACKEND, FRAME_LOGIN);
    for (size_t size = FRAME_HEADER_SIZE; size <= 40; size++) {
        assert_int_equal(frame_look(&frame, sv_from(block, size), &part), FRAME_PART);
        assert_true(part.is_first);
        assert_int_equal(part.is_last, size >= 25);
        assert_int_equal(part.bytes.size, size < 25 ? size : 25);
        assert_int_equal(part.size, 25);
        assert_true(frame_is_between(&frame));
    }
    /* A view that shrank below the header is not taken for a body. */
    assert_int_equal(frame_look(&frame, sv_from(block, 4), &part), FRAME_MORE);
    frame_take(&frame, 7);
    assert_false(frame_is_between(&frame));
    assert_int_equal(frame_look(&frame, sv_from(NULL, 0), &part), FRAME_MORE);
    assert_int_equal(frame_look(&frame, sv_from(block + 7, 1), &part), FRAME_PART);
    assert_false(part.is_first || part.is_last);
}

static void frame__a_gigabyte_passes_in_parts(void **state)
{
    (void)state;
    static char chunk[65600];
    struct frame frame;
    struct frame_part part;
    uint32_t length = FRAME_LARGE_MAX;
    uint64_t taken = 0;
    frame_init(&frame, FRAME_FRONTEND, FRAME_SESSION);
    chunk[0] = 'd';
    bytes_put_u32(chunk + 1, length);
    do {
        assert_int_equal(frame_look(&frame, sv_from(chunk, sizeof chunk), &part), FRAME_PART);
        assert_int_equal(part.is_first, taken == 0);
        taken += part.bytes.size;
        frame_take(&frame, part.bytes.size);
    } while (!part.is_last);
    assert_int_equal(taken, (uint64_t)length + 1);
    /* What followed in the last chunk is the next message. */
    chunk[part.bytes.size] = 'S';
    bytes_put_u32(chunk + part.bytes.size + 1, 4);
    struct sv view = sv_from(chunk + part.bytes.size, 5);
    assert_int_equal(frame_look(&frame, view, &part), FRAME_PART);
    assert_int_equal(part.type, 'S');
}

/* Which types are legal where, written down a second time. */
static const struct {
    enum frame_side side;
    enum frame_phase phase;
    const char *types;
} legal[] = {
    {FRAME_FRONTEND, FRAME_LOGIN, "Xp"},
    {FRAME_FRONTEND, FRAME_SESSION, "BCDEFHPQSXcdf"},
    {FRAME_BACKEND, FRAME_LOGIN, "EKNRSZv"},
    {FRAME_BACKEND, FRAME_SESSION, "123ACDEGHINSTVWZcdnst"},
};

static void frame__a_type_is_judged_by_its_first_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof legal / sizeof legal[0]; i++)
        for (int byte = 0; byte < 256; byte++) {
            char type = (char)byte;
            bool is_legal = byte != 0 && strchr(legal[i].types, byte) != NULL;
            struct frame frame;
            struct frame_part part;
            struct hf_err err;
            frame_init(&frame, legal[i].side, legal[i].phase);
            assert_int_equal(frame_look(&frame, sv_from(&type, 1), &part),
                             is_legal ? FRAME_MORE : FRAME_BAD);
            assert_int_equal(frame_error(&frame, &err), is_legal ? HF_OK : HF_RC_PEER);
            if (!is_legal) {
                assert_string_equal(err.sqlstate, "08P01");
                assert_int_equal(strncmp(err.message, "unexpected", 10) == 0,
                                 frame_type_find(legal[i].side, type) != NULL);
            }
        }
}

static enum frame_status look_at_header(const struct frame_type *row, enum frame_side side,
                                        char type, uint32_t length)
{
    char header[FRAME_HEADER_SIZE] = {type};
    struct frame frame;
    struct frame_part part;
    bytes_put_u32(header + 1, length);
    frame_init(&frame, side, row->phases & FRAME_LOGIN ? FRAME_LOGIN : FRAME_SESSION);
    enum frame_status status = frame_look(&frame, sv_from(header, sizeof header), &part);
    if (status == FRAME_PART)
        assert_int_equal(part.size, (uint64_t)length + 1);
    return status;
}

static void frame__a_length_outside_its_bounds_is_refused_at_once(void **state)
{
    (void)state;
    static const enum frame_side sides[] = {FRAME_FRONTEND, FRAME_BACKEND};
    unsigned rows = 0;
    for (size_t s = 0; s < 2; s++)
        for (int byte = 0; byte < 256; byte++) {
            char type = (char)byte;
            const struct frame_type *row = frame_type_find(sides[s], type);
            if (row == NULL)
                continue;
            rows++;
            assert_true(row->length_min >= 4 && row->length_min <= row->length_max);
            assert_int_equal(look_at_header(row, sides[s], type, row->length_min), FRAME_PART);
            assert_int_equal(look_at_header(row, sides[s], type, row->length_max), FRAME_PART);
            assert_int_equal(look_at_header(row, sides[s], type, row->length_min - 1), FRAME_BAD);
            assert_int_equal(look_at_header(row, sides[s], type, row->length_max + 1), FRAME_BAD);
            assert_int_equal(look_at_header(row, sides[s], type, 0), FRAME_BAD);
            assert_int_equal(look_at_header(row, sides[s], type, UINT32_MAX), FRAME_BAD);
        }
    assert_int_equal(rows, 14 + 24);
}

static void frame__an_error_is_sticky_and_explained(void **state)
{
    (void)state;
    struct frame frame;
    struct frame_part part;
    struct hf_err err;
    frame_init(&frame, FRAME_FRONTEND, FRAME_SESSION);
    assert_int_equal(frame_error(&frame, &err), HF_OK);
    assert_int_equal(frame_look(&frame, SV("S\0\0\0\5x"), &part), FRAME_BAD);
    assert_int_equal(frame_look(&frame, SV("S\0\0\0\4"), &part), FRAME_BAD);
    assert_int_equal(frame_error(&frame, &err), HF_RC_PEER);
    assert_string_equal(err.message, "invalid length of client message Sync");
    assert_string_equal(err.detail, "The length is 5; from 4 to 4 is allowed.");
    frame_init(&frame, FRAME_BACKEND, FRAME_SESSION);
    assert_int_equal(frame_look(&frame, SV("R"), &part), FRAME_BAD);
    assert_int_equal(frame_error(&frame, &err), HF_RC_PEER);
    assert_string_equal(err.message, "unexpected server message AuthenticationRequest after the "
                                     "end of the login");
    frame_init(&frame, FRAME_FRONTEND, FRAME_LOGIN);
    assert_int_equal(frame_look(&frame, SV("Q"), &part), FRAME_BAD);
    assert_int_equal(frame_error(&frame, &err), HF_RC_PEER);
    assert_string_equal(err.message, "unexpected client message Query before the end of the login");
    frame_init(&frame, FRAME_BACKEND, FRAME_SESSION);
    assert_int_equal(frame_look(&frame, SV("\x16\x03"), &part), FRAME_BAD);
    assert_int_equal(frame_error(&frame, &err), HF_RC_PEER);
    assert_string_equal(err.message, "invalid server message type 0x16");
}

static void frame__the_end_of_the_login_changes_what_is_legal(void **state)
{
    (void)state;
    struct frame frame;
    struct frame_part part;
    struct sv view = SV("Z\0\0\0\5I1\0\0\0\4");
    frame_init(&frame, FRAME_BACKEND, FRAME_LOGIN);
    assert_int_equal(frame_look(&frame, view, &part), FRAME_PART);
    frame_take(&frame, 6);
    frame_enter(&frame, FRAME_SESSION);
    assert_int_equal(frame_look(&frame, sv_drop(view, 6), &part), FRAME_PART);
    /* What was only looked at is judged again. */
    frame_enter(&frame, FRAME_LOGIN);
    assert_int_equal(frame_look(&frame, sv_drop(view, 6), &part), FRAME_BAD);
}

static void enter_in_the_middle(void *argument)
{
    frame_enter(argument, FRAME_LOGIN);
}

static void take_too_much(void *argument)
{
    frame_take(argument, 9);
}

static void frame__misuse_stops_the_program(void **state)
{
    (void)state;
    struct frame frame;
    struct frame_part part;
    frame_init(&frame, FRAME_FRONTEND, FRAME_SESSION);
    assert_int_equal(frame_look(&frame, SV("Q\0\0\0\x0aselect"), &part), FRAME_PART);
    frame_take(&frame, 3);
    assert_true(dies(enter_in_the_middle, &frame));
    assert_true(dies(take_too_much, &frame));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame__every_split_gives_the_same_messages),
        cmocka_unit_test(frame__a_message_may_be_waited_for_untaken),
        cmocka_unit_test(frame__a_gigabyte_passes_in_parts),
        cmocka_unit_test(frame__a_type_is_judged_by_its_first_byte),
        cmocka_unit_test(frame__a_length_outside_its_bounds_is_refused_at_once),
        cmocka_unit_test(frame__an_error_is_sticky_and_explained),
        cmocka_unit_test(frame__the_end_of_the_login_changes_what_is_legal),
        cmocka_unit_test(frame__misuse_stops_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
