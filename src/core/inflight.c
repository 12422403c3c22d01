/*
 * What core/inflight_mt.h leaves out: sweeping, and the cases in which a slot changes hands.
 *
 * A slot that was never used is 0. Slices in stamps have 19 bits and generations 8; they are only
 * ever compared with near ones, because a sweep closes every slot that is overdue.
 */
#include "core/inflight_mt.h"

#include "base/bits.h"
#include "base/bug.h"
#include "base/ns.h"

#define SLICE_MASK UINT32_C(0x7ffff)
#define SLICE_HALF UINT32_C(0x40000)
/* Generation, shape and USED: what must be equal for two calls to belong together. */
#define KIND_MASK (((UINT32_C(1) << INFLIGHT_STAMP_SLICE_AT) - 1) & ~INFLIGHT_OPEN)

static uint64_t load_turn(struct inflight *f)
{
    return atomic_load_explicit(&f->turn, memory_order_relaxed);
}

static bool swap(_Atomic uint64_t *word, uint64_t *was, uint64_t next)
{
    return atomic_compare_exchange_strong_explicit(word, was, next, memory_order_relaxed,
                                                   memory_order_relaxed);
}

static uint32_t stamp_slice(uint32_t stamp)
{
    return stamp >> INFLIGHT_STAMP_SLICE_AT;
}

static bool is_kind(uint32_t a, uint32_t b)
{
    return ((a ^ b) & KIND_MASK) == 0;
}

/* Modulo 2^19: is a slice before another, or the same? */
static bool is_until(uint32_t slice, uint32_t other)
{
    return ((other - slice) & SLICE_MASK) < SLICE_HALF;
}

/* Modulo 2^8: does a stamp's generation come after another's? */
static bool is_newer(uint32_t stamp, uint32_t other)
{
    return (int8_t)((stamp >> INFLIGHT_STAMP_GEN_AT) - (other >> INFLIGHT_STAMP_GEN_AT)) > 0;
}

static uint32_t calls_in(uint64_t slot)
{
    return (uint32_t)(slot >> 32);
}

static uint64_t turn_for(int64_t slow_ns, uint64_t shape, int64_t now_ns)
{
    if (slow_ns == HF_NEVER)
        return (shape & 7) << INFLIGHT_SHAPE_AT;
    unsigned shift = bits_log2((uint64_t)slow_ns / 4);
    uint64_t slice = now_ns > slow_ns ? (uint64_t)(now_ns - slow_ns) >> shift : 0;
    return slice << INFLIGHT_SLICE_AT | (shape & 7) << INFLIGHT_SHAPE_AT | shift;
}

void inflight_init(struct inflight *f, int64_t slow_ns, int64_t now_ns)
{
    hf_assert(slow_ns >= INFLIGHT_SLOW_NS_MIN);
    atomic_init(&f->turn, turn_for(slow_ns, 0, now_ns));
    atomic_init(&f->slow_ns, slow_ns);
    for (int i = 0; i < INFLIGHT_SLOTS; i++)
        atomic_init(&f->slots[i], 0);
}

void inflight_configure(struct inflight *f, int64_t slow_ns, int64_t now_ns)
{
    hf_assert(slow_ns >= INFLIGHT_SLOW_NS_MIN);
    /* The limit before the shape: who sees the new limit with the old slices takes out what is
     * older than the new limit, which is right. */
    atomic_store_explicit(&f->slow_ns, slow_ns, memory_order_relaxed);
    uint64_t turn = load_turn(f), next;
    do {
        next = turn_for(slow_ns, (turn >> INFLIGHT_SHAPE_AT) + 1, now_ns);
        if (inflight_turn_shift(next) == inflight_turn_shift(turn))
            return;
    } while (!swap(&f->turn, &turn, next));
}

/* ---- sweeping ---- */

/* Closes a slot whose slice lies before `end`, and returns how many calls of this kind it held.
 * Calls of a newer generation are left: this thread has slept through a change of state, and the
 * next sweep will be one of theirs. */
static uint32_t take_overdue(_Atomic uint64_t *slot, uint32_t kind, uint32_t end, bool is_all)
{
    uint64_t was = atomic_load_explicit(slot, memory_order_relaxed);
    uint32_t stamp;
    do {
        stamp = (uint32_t)was;
        if ((stamp & INFLIGHT_OPEN) == 0 || is_newer(stamp, kind))
            return 0;
        if (!is_all && !is_until(stamp_slice(stamp), end - 1))
            return 0;
    } while (!swap(slot, &was, stamp & ~INFLIGHT_OPEN));
    return is_kind(stamp, kind) ? calls_in(was) : 0;
}

uint32_t inflight_sweep(struct inflight *f, uint32_t generation, int64_t now_ns)
{
    if (!inflight_is_due(f, now_ns))
        return 0;
    uint64_t turn = load_turn(f);
    unsigned shift = inflight_turn_shift(turn);
    int64_t slow_ns = atomic_load_explicit(&f->slow_ns, memory_order_relaxed);
    int64_t was = inflight_turn_slice(turn), end = (now_ns - slow_ns) >> shift;
    if (end <= was)
        return 0; /* the limit has just changed */
    uint64_t next = turn + ((uint64_t)(end - was) << INFLIGHT_SLICE_AT);
    if (!swap(&f->turn, &turn, next))
        return 0; /* somebody else sweeps */
    /* After so long that slices come round in 19 bits, nothing there is young. */
    bool is_all = end - was >= (int64_t)SLICE_HALF;
    uint32_t calls = 0, kind = inflight_stamp(turn, generation, 0);
    for (int i = 0; i < INFLIGHT_SLOTS; i++)
        calls += take_overdue(&f->slots[i], kind, (uint32_t)end, is_all);
    return calls;
}

/* ---- slots that change hands ---- */

static bool is_current_shape(struct inflight *f, uint32_t stamp)
{
    uint32_t shape = inflight_stamp(load_turn(f), 0, 0);
    return ((shape ^ stamp) >> INFLIGHT_STAMP_SHAPE_AT & 7) == 0;
}

uint32_t inflight_begin_slot(struct inflight *f, uint32_t stamp, uint32_t *overdue)
{
    if (!is_current_shape(f, stamp))
        return 0;
    _Atomic uint64_t *slot = inflight_slot(f, stamp);
    uint64_t was = atomic_load_explicit(slot, memory_order_relaxed), next;
    do {
        uint32_t there = (uint32_t)was;
        next = INFLIGHT_ONE | stamp;
        if (there == stamp)
            next = was + INFLIGHT_ONE;
        else if (is_kind(there, stamp) && is_until(stamp_slice(stamp), stamp_slice(there)))
            return 0; /* swept meanwhile, or the others' clocks are a whole ring ahead */
        else if (there != 0 && is_newer(there, stamp))
            return 0; /* this thread has slept through a change of state */
    } while (!swap(slot, &was, next));
    if ((uint32_t)was != stamp && is_kind((uint32_t)was, stamp))
        *overdue += calls_in(was);
    return stamp;
}

/* The call is not where it was counted: a sweep took it, or a newcomer, who says so as a sweep
 * does. Unless the ring got another shape and forgot it. */
bool inflight_end_lost(struct inflight *f, uint32_t stamp)
{
    return is_current_shape(f, stamp);
}

/* ---- what can be seen ---- */

uint32_t inflight_count(struct inflight *f, uint32_t generation)
{
    uint32_t calls = 0, kind = inflight_stamp(load_turn(f), generation, 0);
    for (int i = 0; i < INFLIGHT_SLOTS; i++) {
        uint64_t slot = atomic_load_explicit(&f->slots[i], memory_order_relaxed);
        if (is_kind((uint32_t)slot, kind))
            calls += calls_in(slot);
    }
    return calls;
}

int64_t inflight_deadline(struct inflight *f, uint32_t generation)
{
    uint64_t turn = load_turn(f);
    int64_t slow_ns = atomic_load_explicit(&f->slow_ns, memory_order_relaxed);
    uint32_t kind = inflight_stamp(turn, generation, 0);
    int64_t next = HF_NEVER;
    for (int i = 0; i < INFLIGHT_SLOTS; i++) {
        uint64_t slot = atomic_load_explicit(&f->slots[i], memory_order_relaxed);
        if (!is_kind((uint32_t)slot, kind) || calls_in(slot) == 0)
            continue;
        /* A slice that was swept already, because its call was late in being counted, is taken by
         * the next sweep. */
        uint32_t ahead =
            (stamp_slice((uint32_t)slot) - (uint32_t)inflight_turn_slice(turn)) & SLICE_MASK;
        next = ns_min(next, inflight_turn_slice(turn) + (ahead < SLICE_HALF ? ahead : 0));
    }
    return next == HF_NEVER ? next : ns_add((next + 1) << inflight_turn_shift(turn), slow_ns);
}
