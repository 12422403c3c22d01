/*
 * Calls in flight by age, so that a call that hangs counts as slow before it ends.
 *
 * A breaker that hears of slow calls when they end hears nothing from a server that hangs: the
 * calls do not end. So the calls that are under way are counted in a ring, by the slice of time in
 * which they began:
 *
 *              now - slow_ns                         now
 *                   :                                 :
 *      |   2   |   3   |   0   |   1   |   9   |  12   |   7 |      calls that began then
 *       overdue  not as a whole
 *
 * When a slice has passed the limit as a whole, its calls are taken out and are evidence of
 * slowness; a call that ends later is told that it was counted. A slice is a power of two of
 * nanoseconds and at most slow_ns / 4, so a hanging call is noticed at 1 to 1.25 times slow_ns,
 * never too early.
 *
 * One slot is one word: 32 bits of calls over a stamp of 32 bits, which names the slice, the
 * breaker's generation and the shape of the ring. A sweep closes the slot and leaves the stamp: a
 * call that is late in being counted must not open the same slice again, or the end of one that was
 * swept would take it for its own. The word only changes by compare-and-swap of the whole: an
 * addition would be half a nanosecond cheaper, and could hit a slot that has changed hands.
 *
 * Invariants
 *  1. Each call that was counted at its begin is taken out exactly once: by its own end, or by a
 *     sweep, which then counts it as slow. Whoever takes it out is told.
 *  2. Calls of another generation or shape are never evidence, and never subtract.
 *  3. A call that could not be counted (detection off, its thread's clock far behind the others')
 *     has stamp 0, is never evidence, and is judged by its duration when it ends.
 */
#ifndef HF_CORE_INFLIGHT_MT_H
#define HF_CORE_INFLIGHT_MT_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* slow_ns holds 4 to 8 slices; one under way and one half over are two more. */
#define INFLIGHT_SLOTS       16
#define INFLIGHT_SLOW_NS_MIN INT64_C(1000000)

struct inflight {
    /* 6 bits shift (0: off) | 3 shape | 55 the first slice that was not swept */
    alignas(64) _Atomic uint64_t turn;
    _Atomic int64_t slow_ns;
    alignas(64) _Atomic uint64_t slots[INFLIGHT_SLOTS];
};

#define INFLIGHT_SHAPE_AT 6
#define INFLIGHT_SLICE_AT 9
#define INFLIGHT_ONE      (UINT64_C(1) << 32) /* call, in a slot */

/* Stamp: 1 bit OPEN | 1 USED, always set | 3 shape | 8 generation | 19 slice. */
#define INFLIGHT_OPEN           UINT32_C(1)
#define INFLIGHT_USED           UINT32_C(2)
#define INFLIGHT_STAMP_SHAPE_AT 2
#define INFLIGHT_STAMP_GEN_AT   5
#define INFLIGHT_STAMP_SLICE_AT 13

static inline unsigned inflight_turn_shift(uint64_t turn)
{
    return (unsigned)(turn & 63);
}

static inline int64_t inflight_turn_slice(uint64_t turn)
{
    return (int64_t)(turn >> INFLIGHT_SLICE_AT);
}

static inline uint32_t inflight_stamp(uint64_t turn, uint32_t generation, int64_t slice)
{
    return (uint32_t)slice << INFLIGHT_STAMP_SLICE_AT |
           (generation & 255) << INFLIGHT_STAMP_GEN_AT |
           (uint32_t)(turn >> INFLIGHT_SHAPE_AT & 7) << INFLIGHT_STAMP_SHAPE_AT | INFLIGHT_USED |
           INFLIGHT_OPEN;
}

/* slow_ns >= INFLIGHT_SLOW_NS_MIN, or HF_NEVER for off. */
void inflight_init(struct inflight *f, int64_t slow_ns, int64_t now_ns);
/* Another limit; calls under way that were counted by another slice width are forgotten here and
 * judged when they end. One thread at a time. */
void inflight_configure(struct inflight *f, int64_t slow_ns, int64_t now_ns);

/* Is there something to sweep, perhaps? Cheap. Always false when off. */
static inline bool inflight_is_due(struct inflight *f, int64_t now_ns)
{
    uint64_t turn = atomic_load_explicit(&f->turn, memory_order_relaxed);
    int64_t slow_ns = atomic_load_explicit(&f->slow_ns, memory_order_relaxed);
    return (now_ns - slow_ns) >> inflight_turn_shift(turn) > inflight_turn_slice(turn);
}

/* Takes out what is overdue and returns how many calls of `generation` that were. */
uint32_t inflight_sweep(struct inflight *f, uint32_t generation, int64_t now_ns);

static inline _Atomic uint64_t *inflight_slot(struct inflight *f, uint32_t stamp)
{
    return &f->slots[(stamp >> INFLIGHT_STAMP_SLICE_AT) % INFLIGHT_SLOTS];
}

/* Of inflight_begin(), for a slot that is not, or not easily, this stamp's. */
uint32_t inflight_begin_slot(struct inflight *f, uint32_t stamp, uint32_t *overdue);

/* Counts a call that begins, returns its stamp. `*overdue` is increased by the calls that had to be
 * taken out of its slot: evidence, as from a sweep. */
static inline uint32_t inflight_begin(struct inflight *f, uint32_t generation, int64_t now_ns,
                                      uint32_t *overdue)
{
    uint64_t turn = atomic_load_explicit(&f->turn, memory_order_relaxed);
    unsigned shift = inflight_turn_shift(turn);
    int64_t slice = now_ns >> shift;
    if (shift == 0 || slice < inflight_turn_slice(turn))
        return 0;
    uint32_t stamp = inflight_stamp(turn, generation, slice);
    _Atomic uint64_t *slot = inflight_slot(f, stamp);
    uint64_t was = atomic_load_explicit(slot, memory_order_relaxed);
    if ((uint32_t)was == stamp &&
        atomic_compare_exchange_weak_explicit(slot, &was, was + INFLIGHT_ONE, memory_order_relaxed,
                                              memory_order_relaxed))
        return stamp;
    return inflight_begin_slot(f, stamp, overdue);
}

/* Of inflight_end(), for a call that is not where it was counted. */
bool inflight_end_lost(struct inflight *f, uint32_t stamp);

/* Takes out a call that ends. True: it was swept, and counted as slow already. */
static inline bool inflight_end(struct inflight *f, uint32_t stamp)
{
    if (stamp == 0)
        return false;
    /* Not a subtraction, which would take from whoever had the slot by then. */
    _Atomic uint64_t *slot = inflight_slot(f, stamp);
    uint64_t was = atomic_load_explicit(slot, memory_order_relaxed);
    do {
        if ((uint32_t)was != stamp)
            return inflight_end_lost(f, stamp);
    } while (!atomic_compare_exchange_weak_explicit(slot, &was, was - INFLIGHT_ONE,
                                                    memory_order_relaxed, memory_order_relaxed));
    return false;
}

/* Calls of this generation that are counted now. */
uint32_t inflight_count(struct inflight *f, uint32_t generation);
/* When the next of them is overdue; HF_NEVER if none. */
int64_t inflight_deadline(struct inflight *f, uint32_t generation);

#endif
