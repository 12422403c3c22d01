#include "unit.h"

#include <string.h>

#include "base/buffer.h"
#include "wire/build.h"
#include "wire/frame.h"
#include "wire/question.h"

static void question__is_asked_by_a_name_that_is_closed_before_and_after(void **state)
{
    (void)state;
    char memory[512];
    struct buffer out;
    struct frame frame;
    struct frame_part part;
    buffer_init(&out, memory, sizeof memory);
    assert_int_equal(question_put(&out, SV("SELECT 1")), HF_OK);
    assert_int_equal(build_empty(&out, 'S'), HF_OK);
    struct sv rest = buffer_view(&out);
    frame_init(&frame, FRAME_FRONTEND, FRAME_SESSION);
    for (const char *type = QUESTION_REQUESTS "S"; *type != '\0'; type++) {
        assert_int_equal(frame_look(&frame, rest, &part), FRAME_PART);
        assert_true(part.is_first && part.is_last);
        assert_int_equal(part.type, *type);
        if (*type == 'C')
            assert_memory_equal(part.bytes.data + 5, "Shf__question", 14);
        if (*type == 'P')
            assert_memory_equal(part.bytes.data + 5, "hf__question\0SELECT 1\0\0", 24);
        if (*type == 'B')
            assert_memory_equal(part.bytes.data + 5, "\0hf__question\0\0\0\0\0\0", 20);
        if (*type == 'E')
            assert_memory_equal(part.bytes.data + 5, "\0\0\0\0", 5);
        frame_take(&frame, part.bytes.size);
        rest = sv_drop(rest, part.bytes.size);
    }
    assert_int_equal(rest.size, 0);
}

static void question__all_of_it_is_written_and_a_sync_or_nothing(void **state)
{
    (void)state;
    char memory[512];
    struct buffer out;
    size_t written = 0;
    for (size_t room = 0; room < sizeof memory; room++) {
        buffer_init(&out, memory, room);
        if (question_put(&out, SV("SELECT 1")) == HF_OK) {
            assert_int_equal(build_empty(&out, 'S'), HF_OK);
            written++;
        } else {
            assert_int_equal(buffer_held(&out), 0);
            assert_int_equal(written, 0);
        }
    }
    assert_in_range(written, 300, 450);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(question__is_asked_by_a_name_that_is_closed_before_and_after),
        cmocka_unit_test(question__all_of_it_is_written_and_a_sync_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
