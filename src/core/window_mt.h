/*
 * Window: what became of the last calls. Two kinds.
 *
 *     COUNT  the last N outcomes, whenever they came
 *     TIME   the outcomes of the last span of time, in slices
 *
 * Any number of threads record and read at the same time; nobody waits, and memory is fixed when
 * the window is made. There is one implementation, with C11 atomics: the simulator, which has one
 * thread, is content with it, and the plain sequential model it must agree with lives in the test.
 *
 * THE IDEA. Four counters only ever grow: calls, failures, slow, duration. A success is one
 * addition to one of them and nothing else: one locked instruction.
 *
 *   TIME. When a slice of time begins, whoever comes first notes the four counters in a ring of
 *   marks. What the window holds is the difference between now and the mark where it begins, so
 *   a sum costs two reads of four counters however many slices there are, and recycling a mark
 *   loses nothing.
 *
 *        calls   0 ....... 17 ......... 40 ........... 58 ...... 61 = now
 *        marks   |          |            |              |
 *        slice   s-3        s-2          s-1            s              window of 2: 61 - 17
 *
 *   COUNT. The growing count of calls says which cell of a ring is mine. A cell is one byte, failed
 *   and slow; only if it changes, it is exchanged, and the difference is booked. A healthy
 *   endpoint overwrites successes with successes.
 *
 * Invariants
 *  1. Nothing is lost from the totals and nothing is counted twice, whatever threads do.
 *  2. When recorders are at rest, COUNT holds exactly the last N outcomes since the last reset.
 *  3. TIME holds every outcome of its span, and none that is older than the span and two slices.
 *     A slice is the smallest power of two nanoseconds that is at least span / slices, so that
 *     finding it is a shift: 10 s in 10 slices are 10 slices of 1.07 s, and the window covers 10.7
 *     to 11.8 s. The configured span is always covered; resolution is between `slices` and half.
 *  4. While others record, a sum may miss what is being recorded. It never shows more failures, or
 *     more slow calls, than calls.
 *  5. Time that runs backwards is counted as standing still; more than a slice of it is counted.
 *
 * A thread that stops between finding its slice and adding one adds it to a later slice. The thread
 * that turns the slice is alone in doing so; the others go on recording into the slice before, and
 * if it is stopped in the middle, their outcomes leave the window earlier by as much.
 *
 * EVIDENCE AND ASIDES. A breaker counts calls that hang as slow before they end
 * (core/inflight_mt.h): window_evidence() puts them into the window but not into the totals, into
 * which they go when they end. window_aside() is the opposite: totals only.
 */
#ifndef HF_CORE_WINDOW_MT_H
#define HF_CORE_WINDOW_MT_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ns.h"

#define WINDOW_ALIGN       64 /* of the memory: what calls write shares no line with the rest */
#define WINDOW_CALLS_MAX   65536
#define WINDOW_CALLS_ROOM  512
#define WINDOW_SLICES_MIN  2
#define WINDOW_SLICES_MAX  60
#define WINDOW_SPAN_NS_MIN HF_MS(10)
#define WINDOW_SPAN_NS_MAX HF_SEC(86400)

enum window_kind {
    WINDOW_COUNT,
    WINDOW_TIME,
};

struct window_config {
    enum window_kind kind;
    uint32_t calls;     /* COUNT: how many outcomes */
    int64_t span_ns;    /* TIME: how long */
    uint32_t slices;    /* TIME: in how many steps it moves */
    bool has_durations; /* sum durations too: one locked addition more for each call */
};

/* duration_ns is 0 without has_durations. */
struct window_sum {
    uint64_t calls;
    uint64_t failures;
    uint64_t slow;
    uint64_t duration_ns;
};

/* The four growing counters, or what they were at some time. */
struct window_mark {
    _Atomic uint64_t calls;
    _Atomic uint64_t failures;
    _Atomic uint64_t slow;
    _Atomic uint64_t duration_ns;
};

struct window {
    /* Read by each call, seldom written. */
    alignas(WINDOW_ALIGN) _Atomic uint64_t turn; /* TIME: which slice, and the shape; see below */
    _Atomic int64_t
        bad_until_ns;           /* TIME: the last failure or slow call is out of the window then */
    _Atomic uint32_t calls_max; /* COUNT: N */
    uint32_t room;              /* cells, or marks (a power of two), in the memory behind */
    bool is_time;
    bool has_durations;
    struct window_mark floor; /* what was before the last reset */
    /* Written by each call. */
    alignas(WINDOW_ALIGN) struct window_mark grown;
    /* COUNT: what the cells hold. Signed, because of two threads that change the same cell, the
     * second may book first. */
    _Atomic int32_t failures_held;
    _Atomic int32_t slow_held;
    _Atomic int64_t duration_ns_held;
    /* Seldom used. */
    alignas(WINDOW_ALIGN) struct window_mark aside;
    _Atomic uint64_t evidence;    /* calls in `grown` that are none of the totals */
    _Atomic uint64_t calls_shown; /* the highest totals that window_total() has given out */
    _Atomic uint64_t slow_shown;
    _Atomic uint64_t time_backwards;
};

/* turn: 1 bit BUSY (somebody writes marks) | 6 shift | 7 slices | 50 slice */
#define WINDOW_TURN_BUSY      UINT64_C(1)
#define WINDOW_TURN_SHIFT_AT  1
#define WINDOW_TURN_SLICES_AT 7
#define WINDOW_TURN_SLICE_AT  14

static inline unsigned window_turn_shift(uint64_t turn)
{
    return (unsigned)(turn >> WINDOW_TURN_SHIFT_AT & 63);
}

static inline int64_t window_turn_slice(uint64_t turn)
{
    return (int64_t)(turn >> WINDOW_TURN_SLICE_AT);
}

/* ---- life ---- */

enum hf_rc window_config_check(const struct window_config *config, struct hf_err *err) HF_MUST_USE;

/* Bytes for a window of a checked configuration: struct window and the ring behind it. */
size_t window_size(const struct window_config *config);
/* In memory of that size, aligned to WINDOW_ALIGN. */
struct window *window_init(void *memory, const struct window_config *config, int64_t now_ns);

/* Another shape in the same memory: what the window held is gone, the totals stay. Nothing happens
 * if the shape is the same. False, and nothing done, if the kind or has_durations differ or the
 * memory is too small; a COUNT window always has room for WINDOW_CALLS_ROOM calls. Threads may
 * record meanwhile; one thread at a time calls this. */
bool window_reshape(struct window *w, const struct window_config *config, int64_t now_ns);

/* ---- any thread ---- */

/* Of the functions below, for those that find more to do than count a success. */
void window_turn(struct window *w, int64_t now_ns);
void window_put(struct window *w, uint64_t nth, bool is_failed, bool is_slow, int64_t duration_ns);
void window_note_bad(struct window *w, bool is_failed, bool is_slow, int64_t now_ns);

/* The cells of COUNT. */
static inline _Atomic uint8_t *window_cells(struct window *w)
{
    return (_Atomic uint8_t *)(w + 1);
}

/* TIME: does `now_ns` lie in another slice than the last record? */
static inline bool window_is_turned(struct window *w, int64_t now_ns)
{
    uint64_t turn = atomic_load_explicit(&w->turn, memory_order_relaxed);
    /* A time before 0 lies in a slice before 0: gcc and clang shift with the sign. */
    /* cppcheck-suppress shiftNegativeLHS */
    return now_ns >> window_turn_shift(turn) != window_turn_slice(turn);
}

/* TIME: changes whenever something drops out of the window. COUNT: 0. */
static inline uint64_t window_slice(struct window *w)
{
    return atomic_load_explicit(&w->turn, memory_order_relaxed) >> WINDOW_TURN_SLICE_AT;
}

/* One call. duration_ns >= 0. */
static inline void window_record(struct window *w, bool is_failed, bool is_slow,
                                 int64_t duration_ns, int64_t now_ns)
{
    if (w->is_time && window_is_turned(w, now_ns))
        window_turn(w, now_ns);
    uint64_t nth = atomic_fetch_add(&w->grown.calls, 1);
    if (!w->is_time) {
        uint32_t calls_max = atomic_load_explicit(&w->calls_max, memory_order_relaxed);
        uint8_t held =
            atomic_load_explicit(&window_cells(w)[nth % calls_max], memory_order_relaxed);
        if (held != 0 || is_failed || is_slow || w->has_durations)
            window_put(w, nth, is_failed, is_slow, duration_ns);
    }
    if (w->has_durations)
        atomic_fetch_add_explicit(&w->grown.duration_ns, (uint64_t)duration_ns,
                                  memory_order_relaxed);
    if (is_failed || is_slow)
        window_note_bad(w, is_failed, is_slow, now_ns);
}

/* False: the window holds neither failures nor slow calls for certain; of those that are being
 * recorded now, their threads will find what the asking one has recorded. */
static inline bool window_may_hold_bad(struct window *w, int64_t now_ns)
{
    if (w->is_time)
        return now_ns < atomic_load(&w->bad_until_ns);
    return atomic_load(&w->failures_held) != 0 || atomic_load(&w->slow_held) != 0;
}

/* `slow` calls that have not ended: in the window, not in the totals. */
void window_evidence(struct window *w, uint32_t slow, int64_t now_ns);
/* In the totals, not in the window. */
void window_aside(struct window *w, const struct window_sum *counts);

/* What the window holds. */
void window_sum(struct window *w, int64_t now_ns, struct window_sum *out);
/* What was recorded and put aside since the window was made. No number ever falls. */
void window_total(struct window *w, struct window_sum *out);

/* Empties it; the totals stay. What is being recorded meanwhile may go with it. */
void window_reset(struct window *w);

/* How often time ran backwards by more than a slice. */
uint64_t window_time_backwards(struct window *w);

#endif
