/*
 * Any bytes as a stream of messages. The first byte chooses side and phase, the second how the rest
 * is cut into pieces.
 *
 * Checked beside the absence of crashes: the pieces give the same messages and the same end as the
 * whole; parts in a row are the stream; every message is one that the table allows; an error is the
 * last word.
 */
#include <string.h>

#include "base/rng.h"
#include "fuzz.h"
#include "wire/frame.h"

struct outcome {
    uint64_t messages; /* a hash over types and sizes */
    size_t taken;
    bool is_bad;
    char error[256];
};

static void check_part(const struct frame *frame, struct sv view, const struct frame_part *part)
{
    const struct frame_type *row = frame_type_find(frame->side, part->type);
    FUZZ_CHECK(row != NULL && (row->phases & frame->phase) != 0);
    FUZZ_CHECK(part->size - 1 >= row->length_min && part->size - 1 <= row->length_max);
    FUZZ_CHECK(part->bytes.data == view.data);
    FUZZ_CHECK(part->bytes.size > 0 && part->bytes.size <= view.size);
    FUZZ_CHECK(!part->is_first || part->bytes.size >= FRAME_HEADER_SIZE);
    FUZZ_CHECK(!part->is_first || part->bytes.data[0] == part->type);
}

/* Takes what is in view; returns how much that was. */
static size_t take(struct frame *frame, struct sv view, struct outcome *outcome)
{
    struct frame_part part;
    enum frame_status status;
    size_t taken = 0;
    bool was_looked_at = frame->left > 0;
    size_t whole = frame_whole(frame, view);
    while ((status = frame_look(frame, view, &part)) == FRAME_PART) {
        bool is_whole = part.is_first && part.is_last && !was_looked_at;
        FUZZ_CHECK(whole == (is_whole ? part.size : 0));
        check_part(frame, view, &part);
        if (part.is_first)
            outcome->messages =
                rng_mix(outcome->messages ^ ((uint64_t)part.size << 8 | (unsigned char)part.type));
        frame_take(frame, part.bytes.size);
        FUZZ_CHECK(part.is_last == frame_is_between(frame));
        view = sv_drop(view, part.bytes.size);
        taken += part.bytes.size;
        was_looked_at = frame->left > 0;
        whole = frame_whole(frame, view);
    }
    FUZZ_CHECK(whole == 0);
    outcome->is_bad = status == FRAME_BAD;
    FUZZ_CHECK(outcome->is_bad || view.size < FRAME_HEADER_SIZE);
    return taken;
}

static struct outcome read_stream(enum frame_side side, enum frame_phase phase, struct sv stream,
                                  struct rng *cuts)
{
    struct outcome outcome = {0};
    struct frame frame;
    struct hf_err err = {0};
    size_t end = 0;
    frame_init(&frame, side, phase);
    while (end < stream.size && !outcome.is_bad) {
        end = cuts != NULL ? end + 1 + (size_t)rng_below(cuts, 9) : stream.size;
        end = end < stream.size ? end : stream.size;
        struct sv view = sv_drop(sv_take(stream, end), outcome.taken);
        outcome.taken += take(&frame, view, &outcome);
    }
    FUZZ_CHECK((frame_error(&frame, &err) == HF_OK) == !outcome.is_bad);
    snprintf(outcome.error, sizeof outcome.error, "%s", err.message);
    struct frame_part part;
    FUZZ_CHECK(!outcome.is_bad || frame_look(&frame, SV("Z\0\0\0\5I"), &part) == FRAME_BAD);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    enum frame_side side = (data[0] & 1) != 0 ? FRAME_BACKEND : FRAME_FRONTEND;
    enum frame_phase phase = (data[0] & 2) != 0 ? FRAME_SESSION : FRAME_LOGIN;
    struct sv stream = sv_from((const char *)data + 2, size - 2);
    struct rng cuts;
    rng_init(&cuts, data[1]);
    struct outcome whole = read_stream(side, phase, stream, NULL);
    struct outcome pieces = read_stream(side, phase, stream, &cuts);
    FUZZ_CHECK(whole.messages == pieces.messages && whole.taken == pieces.taken);
    FUZZ_CHECK(whole.is_bad == pieces.is_bad && strcmp(whole.error, pieces.error) == 0);
    return 0;
}
