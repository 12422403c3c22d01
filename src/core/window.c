/*
 * What core/window_mt.h leaves out: the shape of a window, the turning of slices, changes of cells,
 * sums.
 *
 * Orders. A call is added to `calls` before it is added to `failures` or `slow`; sums and marks
 * read them the other way round. So whoever sees a failure sees its call. Of two threads that
 * record and then judge, one must see both results: additions, and the looks that follow them, are
 * sequentially consistent, which on x86 costs nothing here.
 *
 * Marks are read without a lock. Who turns moves `turn` forward by one slice at a time, and writes
 * only the mark behind it, which no window of that slice can begin with: the ring has two marks
 * more than the window has slices. A reader looks at `turn` before and after; if it has moved so
 * far that the reader's mark was about to be written, the reader starts again. Stores of marks are
 * releases and loads acquires, so that one who read a mark too new also sees the turn that made it.
 */
#include "core/window_mt.h"

#include <string.h>

#include "base/bits.h"
#include "base/bug.h"

#define SLICE_ONE  (UINT64_C(1) << WINDOW_TURN_SLICE_AT) /* in `turn` */
#define SHAPE_MASK (SLICE_ONE - 1 - WINDOW_TURN_BUSY)

enum {
    CELL_FAILED = 1,
    CELL_SLOW = 2,
};

/* ---- shape ---- */

/* The smallest power of two of nanoseconds that is at least span / slices, as its exponent. */
static unsigned shift_for(const struct window_config *config)
{
    hf_assert(config->slices >= WINDOW_SLICES_MIN);
    int64_t width_ns = (config->span_ns + config->slices - 1) / config->slices;
    return bits_log2((uint64_t)width_ns - 1) + 1;
}

/* How many slices cover the span, the one under way not counted: at most config->slices. */
static uint64_t slices_for(const struct window_config *config, unsigned shift)
{
    return (uint64_t)((config->span_ns + (INT64_C(1) << shift) - 1) >> shift);
}

static uint64_t turn_at(const struct window_config *config, int64_t now_ns)
{
    unsigned shift = shift_for(config);
    return (uint64_t)(now_ns >> shift) << WINDOW_TURN_SLICE_AT |
           slices_for(config, shift) << WINDOW_TURN_SLICES_AT |
           (uint64_t)shift << WINDOW_TURN_SHIFT_AT;
}

static int64_t turn_slices(uint64_t turn)
{
    return (int64_t)(turn >> WINDOW_TURN_SLICES_AT & 127);
}

/* Cells, with some to grow into; or marks, two more than slices, as many as make their index a
 * mask. */
static uint32_t room_for(const struct window_config *config)
{
    if (config->kind == WINDOW_TIME)
        return 2U << bits_log2(config->slices + 1);
    return config->calls > WINDOW_CALLS_ROOM ? config->calls : WINDOW_CALLS_ROOM;
}

/* Duration cells come after the byte cells, at the next multiple of eight. */
static size_t byte_cells_size(uint32_t room)
{
    return ((size_t)room + 7) / 8 * 8;
}

size_t window_size(const struct window_config *config)
{
    uint32_t room = room_for(config);
    if (config->kind == WINDOW_TIME)
        return sizeof(struct window) + room * sizeof(struct window_mark);
    return sizeof(struct window) + byte_cells_size(room) +
           (config->has_durations ? room * sizeof(_Atomic uint64_t) : 0);
}

enum hf_rc window_config_check(const struct window_config *config, struct hf_err *err)
{
    if (config->kind == WINDOW_COUNT) {
        if (config->calls >= 1 && config->calls <= WINDOW_CALLS_MAX)
            return HF_OK;
        err_set(err, HF_RC_INVALID, "22023", "the number of calls in a window is out of range");
        return err_detail(err, "It is %u; 1 to %d are possible.", config->calls, WINDOW_CALLS_MAX);
    }
    if (config->span_ns < WINDOW_SPAN_NS_MIN || config->span_ns > WINDOW_SPAN_NS_MAX) {
        err_set(err, HF_RC_INVALID, "22023", "the length of a window is out of range");
        return err_detail(err, "10ms to 1d are possible.");
    }
    if (config->slices < WINDOW_SLICES_MIN || config->slices > WINDOW_SLICES_MAX) {
        err_set(err, HF_RC_INVALID, "22023", "the number of slices in a window is out of range");
        return err_detail(err, "It is %u; %d to %d are possible.", config->slices,
                          WINDOW_SLICES_MIN, WINDOW_SLICES_MAX);
    }
    return HF_OK;
}

struct window *window_init(void *memory, const struct window_config *config, int64_t now_ns)
{
    hf_assert((uintptr_t)memory % WINDOW_ALIGN == 0);
    hf_assert(window_config_check(config, NULL) == HF_OK);
    struct window *w = memory;
    memset(memory, 0, window_size(config));
    w->is_time = config->kind == WINDOW_TIME;
    w->has_durations = config->has_durations;
    w->room = room_for(config);
    atomic_init(&w->calls_max, config->calls);
    if (w->is_time)
        atomic_init(&w->turn, turn_at(config, ns_max(now_ns, 0)));
    return w;
}

/* ---- counters and marks ---- */

static uint64_t relaxed(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Calls last: see the head of the file. */
static struct window_sum read_mark(struct window_mark *mark)
{
    struct window_sum sum;
    sum.failures = atomic_load(&mark->failures);
    sum.slow = atomic_load(&mark->slow);
    sum.duration_ns = atomic_load(&mark->duration_ns);
    sum.calls = atomic_load(&mark->calls);
    return sum;
}

static void write_mark(struct window_mark *mark, const struct window_sum *sum)
{
    atomic_store_explicit(&mark->failures, sum->failures, memory_order_release);
    atomic_store_explicit(&mark->slow, sum->slow, memory_order_release);
    atomic_store_explicit(&mark->duration_ns, sum->duration_ns, memory_order_release);
    atomic_store_explicit(&mark->calls, sum->calls, memory_order_release);
}

static struct window_mark *mark_of(struct window *w, int64_t slice)
{
    return (struct window_mark *)(w + 1) + ((uint64_t)slice & (w->room - 1));
}

/* Growth since the later of two times. What was grown is read after both, so it is no less. */
static uint64_t grown_since(uint64_t mark, uint64_t floor, uint64_t now)
{
    return now - (mark > floor ? mark : floor);
}

/* ---- slices ---- */

static bool store_if(struct window *w, uint64_t *turn, uint64_t next)
{
    return atomic_compare_exchange_strong_explicit(&w->turn, turn, next, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

/* Whoever sets BUSY moves the window. The others record into the slice before meanwhile: nobody
 * waits, and nothing is lost. */
void window_turn(struct window *w, int64_t now_ns)
{
    uint64_t turn = relaxed(&w->turn);
    int64_t slice = now_ns >> window_turn_shift(turn), last = window_turn_slice(turn);
    if (slice < last) {
        /* Threads that meet at the edge of a slice may be behind by one. */
        if (slice + 1 < last)
            atomic_fetch_add_explicit(&w->time_backwards, 1, memory_order_relaxed);
        return;
    }
    if (slice == last || (turn & WINDOW_TURN_BUSY) != 0 ||
        !store_if(w, &turn, turn | WINDOW_TURN_BUSY))
        return;
    struct window_sum now = read_mark(&w->grown);
    int64_t steps = slice - last < w->room ? slice - last : w->room;
    for (int64_t i = 1; i <= steps; i++) {
        write_mark(mark_of(w, last + i), &now);
        atomic_store_explicit(&w->turn, (turn | WINDOW_TURN_BUSY) + (uint64_t)i * SLICE_ONE,
                              memory_order_release);
    }
    /* After as many steps as there are marks, all marks are the same, and any slice will do. */
    atomic_store_explicit(&w->turn, turn + (uint64_t)(slice - last) * SLICE_ONE,
                          memory_order_release);
}

void window_note_bad(struct window *w, bool is_failed, bool is_slow, int64_t now_ns)
{
    if (is_failed)
        atomic_fetch_add(&w->grown.failures, 1);
    if (is_slow)
        atomic_fetch_add(&w->grown.slow, 1);
    if (!w->is_time)
        return;
    /* It was added to the slice of the turn, or to an earlier one: the turn is read after that. */
    uint64_t turn = atomic_load_explicit(&w->turn, memory_order_acquire);
    int64_t slice = ns_max(now_ns >> window_turn_shift(turn), window_turn_slice(turn));
    int64_t until_ns = (slice + turn_slices(turn) + 1) << window_turn_shift(turn);
    int64_t was_ns = atomic_load(&w->bad_until_ns);
    while (was_ns < until_ns &&
           !atomic_compare_exchange_weak_explicit(&w->bad_until_ns, &was_ns, until_ns,
                                                  memory_order_seq_cst, memory_order_seq_cst)) {
    }
}

/* ---- cells ---- */

static _Atomic uint64_t *duration_cells(struct window *w)
{
    return (_Atomic uint64_t *)(void *)((unsigned char *)(w + 1) + byte_cells_size(w->room));
}

/* The cell is exchanged, so that of two threads at the same cell each books the change it made. */
static void put_cell(struct window *w, uint64_t i, uint8_t cell, uint64_t duration_ns)
{
    uint8_t was = atomic_exchange(&window_cells(w)[i], cell);
    int32_t failures = (cell & CELL_FAILED) - (was & CELL_FAILED);
    int32_t slow = (cell & CELL_SLOW) / CELL_SLOW - (was & CELL_SLOW) / CELL_SLOW;
    if (failures != 0)
        atomic_fetch_add(&w->failures_held, failures);
    if (slow != 0)
        atomic_fetch_add(&w->slow_held, slow);
    if (w->has_durations) {
        uint64_t before = atomic_exchange(&duration_cells(w)[i], duration_ns);
        atomic_fetch_add_explicit(&w->duration_ns_held, (int64_t)(duration_ns - before),
                                  memory_order_relaxed);
    }
}

void window_put(struct window *w, uint64_t nth, bool is_failed, bool is_slow, int64_t duration_ns)
{
    uint32_t calls_max = atomic_load(&w->calls_max);
    uint8_t cell = (uint8_t)((is_failed ? CELL_FAILED : 0) | (is_slow ? CELL_SLOW : 0));
    put_cell(w, nth % calls_max, cell, (uint64_t)duration_ns);
    /* Who shrinks the window first says so and then empties every cell. If it emptied this one
     * before it was written, the new size is seen here, and the cell, to which perhaps no call
     * would come again, is emptied once more. */
    if (atomic_load(&w->calls_max) != calls_max)
        put_cell(w, nth % calls_max, 0, 0);
}

/* ---- evidence, asides ---- */

void window_evidence(struct window *w, uint32_t slow, int64_t now_ns)
{
    /* First, so that what is read as total is too low meanwhile and never too high. */
    atomic_fetch_add(&w->evidence, slow);
    for (uint32_t i = 0; i < slow; i++) {
        if (w->is_time && window_is_turned(w, now_ns))
            window_turn(w, now_ns);
        uint64_t nth = atomic_fetch_add(&w->grown.calls, 1);
        if (!w->is_time)
            window_put(w, nth, false, true, 0);
        window_note_bad(w, false, true, now_ns);
    }
}

void window_aside(struct window *w, const struct window_sum *counts)
{
    atomic_fetch_add(&w->aside.calls, counts->calls);
    if (counts->failures != 0)
        atomic_fetch_add(&w->aside.failures, counts->failures);
    if (counts->slow != 0)
        atomic_fetch_add(&w->aside.slow, counts->slow);
    if (w->has_durations)
        atomic_fetch_add_explicit(&w->aside.duration_ns, counts->duration_ns, memory_order_relaxed);
}

/* ---- sums ---- */

static void clamp_to_calls(struct window_sum *sum)
{
    if (sum->failures > sum->calls)
        sum->failures = sum->calls;
    if (sum->slow > sum->calls)
        sum->slow = sum->calls;
}

static void sum_time(struct window *w, int64_t now_ns, struct window_sum *out)
{
    for (;;) {
        uint64_t turn = atomic_load_explicit(&w->turn, memory_order_acquire);
        int64_t last = window_turn_slice(turn);
        int64_t first = ns_max(now_ns >> window_turn_shift(turn), last) - turn_slices(turn);
        /* While somebody turns, the others record into the slice before. */
        if ((turn & WINDOW_TURN_BUSY) != 0)
            first = ns_min(first, last);
        struct window_sum from = {0};
        if (first <= last)
            from = read_mark(mark_of(w, first));
        struct window_sum floor = read_mark(&w->floor);
        struct window_sum now = read_mark(&w->grown);
        uint64_t after = atomic_load_explicit(&w->turn, memory_order_relaxed);
        if (((turn ^ after) & SHAPE_MASK) != 0 || window_turn_slice(after) + 1 - first >= w->room)
            continue;
        if (first > last)
            from = now; /* nothing was recorded since the window began */
        out->failures = grown_since(from.failures, floor.failures, now.failures);
        out->slow = grown_since(from.slow, floor.slow, now.slow);
        out->duration_ns = grown_since(from.duration_ns, floor.duration_ns, now.duration_ns);
        out->calls = grown_since(from.calls, floor.calls, now.calls);
        return;
    }
}

static uint64_t held(_Atomic int32_t *counter)
{
    int32_t n = atomic_load(counter);
    return n > 0 ? (uint64_t)n : 0;
}

static void sum_count(struct window *w, struct window_sum *out)
{
    uint32_t calls_max = atomic_load_explicit(&w->calls_max, memory_order_relaxed);
    int64_t duration_ns = atomic_load_explicit(&w->duration_ns_held, memory_order_relaxed);
    out->failures = held(&w->failures_held);
    out->slow = held(&w->slow_held);
    out->duration_ns = duration_ns > 0 ? (uint64_t)duration_ns : 0;
    uint64_t floor = atomic_load(&w->floor.calls);
    out->calls = grown_since(0, floor, atomic_load(&w->grown.calls));
    if (out->calls > calls_max)
        out->calls = calls_max;
}

void window_sum(struct window *w, int64_t now_ns, struct window_sum *out)
{
    if (w->is_time)
        sum_time(w, now_ns, out);
    else
        sum_count(w, out);
    clamp_to_calls(out);
}

/* The highest that was ever shown, this number included. */
static uint64_t show(_Atomic uint64_t *shown, uint64_t value)
{
    uint64_t was = relaxed(shown);
    while (was < value && !atomic_compare_exchange_weak_explicit(
                              shown, &was, value, memory_order_relaxed, memory_order_relaxed)) {
    }
    return was < value ? value : was;
}

static uint64_t less(uint64_t sum, uint64_t evidence)
{
    return sum > evidence ? sum - evidence : 0;
}

void window_total(struct window *w, struct window_sum *out)
{
    struct window_sum aside = read_mark(&w->aside);
    struct window_sum sum = read_mark(&w->grown);
    /* After the sums, while it is raised before them: they hold no more evidence than this, but
     * perhaps less, and then they seem to be lower than what was shown before. */
    uint64_t evidence = atomic_load(&w->evidence);
    out->failures = sum.failures + aside.failures;
    out->duration_ns = sum.duration_ns + aside.duration_ns;
    out->slow = show(&w->slow_shown, less(sum.slow, evidence) + aside.slow);
    out->calls = less(sum.calls, evidence) + aside.calls;
    if (out->calls < out->failures)
        out->calls = out->failures;
    out->calls = show(&w->calls_shown, out->calls);
}

/* ---- reset, reshape ---- */

void window_reset(struct window *w)
{
    struct window_sum now = read_mark(&w->grown);
    write_mark(&w->floor, &now);
    for (uint32_t i = 0; !w->is_time && i < w->room; i++)
        put_cell(w, i, 0, 0);
}

bool window_reshape(struct window *w, const struct window_config *config, int64_t now_ns)
{
    if ((config->kind == WINDOW_TIME) != w->is_time || config->has_durations != w->has_durations ||
        room_for(config) > w->room)
        return false;
    if (!w->is_time) {
        if (atomic_exchange(&w->calls_max, config->calls) != config->calls)
            window_reset(w);
        return true;
    }
    /* Slices are numbered anew, so nobody may be turning the old ones. */
    uint64_t next = turn_at(config, ns_max(now_ns, 0)), turn = relaxed(&w->turn);
    do {
        if (((turn ^ next) & SHAPE_MASK) == 0)
            return true;
        turn &= ~WINDOW_TURN_BUSY;
    } while (!store_if(w, &turn, turn | WINDOW_TURN_BUSY));
    window_reset(w);
    atomic_store_explicit(&w->turn, next, memory_order_release);
    return true;
}

uint64_t window_time_backwards(struct window *w)
{
    return relaxed(&w->time_backwards);
}
