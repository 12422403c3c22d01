/*
 * Circuit breaker for many threads: the shell around the pure step of core/breaker.h, with the
 * windows it judges by, its counters and its history. This is what callers use.
 *
 *     struct breaker_permit permit;
 *     if (!breaker_admit(b, now_ns, &permit))
 *         refuse, or ask again at breaker_retry_at(b);
 *     ... run the call ...
 *     breaker_record(b, &permit, verdict, now_ns);     exactly once for each admitted permit
 *
 * Nothing here locks, waits or allocates. Admitting and recording a success while CLOSED only reads
 * the word; what they write are counters: a compare-and-swap when the call begins and one when it
 * ends, to know it in flight (none of them when slow calls are not watched), and one addition to
 * the window. Every other path may cost more.
 *
 * WHAT OPENS IT, each rule by itself
 *   failures in a row    failure_threshold of them, with no success between
 *   failure rate         of the window's calls, once it holds min_calls
 *   slow rate            the same with calls of slow_ns and more. Calls IN FLIGHT for so long count
 *                        as slow without waiting for their end (core/inflight_mt.h)
 *   an order             breaker_trip(), for a server that says when to come back
 * Rates are judged when something bad is recorded; by each success while something bad is in the
 * window that does not hold its minimum yet, so that the call that fills it counts; by the first
 * success of each slice, since others have dropped out; on slice turns of calls in flight; and by
 * ticks. Other successes could only lower a rate, and are not judged.
 *
 * Invariants, besides those of the step
 *  1. Permits are conserved: a lease is out from the admission that granted it until its result or
 *     its time. Recording a permit that was not admitted does nothing.
 *  2. One winner for each transition, who alone writes the history of its generation.
 *  3. Totals count each call once, when it ends, whatever state it meets then. Only results of
 *     NORMAL calls of the current generation, and evidence of calls in flight, enter the window.
 *  4. A call that hung, was counted as slow in flight, and then fails has given two pieces of
 *     evidence and stands twice in the window, slow and failed; in the totals once. If it succeeds,
 *     nothing is added to the window.
 *  5. The window is empty when the breaker becomes CLOSED.
 *
 * Races, and how they end
 *  - The time at which a lease expires is stored before the compare-and-swap that grants it. When
 *    two threads want the same lease, the later time stays: they differ by what their clocks do.
 *  - What the window holds may change between being judged and the compare-and-swap. A trip
 *    carries the generation it judged and is void in another one.
 *  - A result whose thread was stopped between looking at the generation and adding to the window
 *    is added to the window of a later life. One that is added while the window is emptied may go
 *    with it. Of two threads that record at the same time, the later judges by both results.
 *
 * CONFIGURATION may change while threads run: breaker_configure(). Fields are read one by one, so
 * for an instant a decision may see some old and some new. State, leases, counters and history
 * stay; a window of another shape starts empty. Memory does not move, so what needs more than there
 * is (another kind of window, durations, history, slices or calls far beyond those at first) is
 * refused.
 *
 * HISTORY is the event stream. breaker_changes_next() gives every change since a cursor to any
 * number of consumers, outside of any lock and long after the commit, and says how many they
 * missed.
 *
 * Time that runs backwards counts as standing still; more than a millisecond of it is counted.
 */
#ifndef HF_CORE_BREAKER_MT_H
#define HF_CORE_BREAKER_MT_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ns.h"
#include "core/breaker.h"
#include "core/inflight_mt.h"
#include "core/outcome.h"
#include "core/window_mt.h"

#define BREAKER_ALIGN 64 /* of the memory */

/* The defaults, and why.
 *
 * Rates over a minimum of calls come first, because a row of failures says little under load: half
 * of at least 20 calls in 10 s, as Hystrix had it, is an endpoint in trouble and not bad luck.
 * Five failures in a row are for what is gone altogether: at 1000 calls a second the rate would
 * need five seconds of failures to outweigh the good ones of before, the row needs five calls. Only
 * endings that speak against the endpoint count (core/outcome.h), never a query's own mistake.
 *
 * Slow calls count from 5 s, and four of five must be slow: a report that takes a minute opens
 * nothing, a server that hangs does. Others ship with a slow rate that cannot fire (100 % of calls
 * over 60 s, judged when they end). An endpoint for long queries needs a longer slow_ns.
 *
 * 3 probes at once and 3 successes to close; a probe has 10 s, because one that has not answered
 * by then is no good news. 30 s open, not growing, up to 10 % longer so that many instances do not
 * probe in step. */
#define BREAKER_FAILURE_THRESHOLD 5
#define BREAKER_FAILURE_RATE_PPM  500000
#define BREAKER_SLOW_RATE_PPM     800000
#define BREAKER_SLOW_NS           HF_SEC(5)
#define BREAKER_MIN_CALLS         20
#define BREAKER_WINDOW_KIND       WINDOW_TIME
#define BREAKER_WINDOW_NS         HF_SEC(10)
#define BREAKER_WINDOW_SLICES     10
#define BREAKER_WINDOW_CALLS      100
#define BREAKER_OPEN_NS           HF_SEC(30)
#define BREAKER_OPEN_NS_MAX       HF_SEC(300)
#define BREAKER_OPEN_GROWTH_PPM   1000000
#define BREAKER_OPEN_JITTER_PPM   100000
#define BREAKER_HALF_OPEN_CALLS   3
#define BREAKER_SUCCESS_THRESHOLD 3
#define BREAKER_PROBE_NS          HF_SEC(10)
#define BREAKER_HISTORY           100

#define BREAKER_HISTORY_MAX 10000
#define BREAKER_SKEW_NS     HF_MS(1) /* clocks of threads may differ by less without a mention */

struct breaker_config {
    uint32_t failure_threshold; /* failures in a row; 0: off */
    uint32_t failure_rate_ppm;  /* of a million; 0: off; opens at or above */
    uint32_t slow_rate_ppm;     /* the same; 0: slow calls are not watched at all */
    int64_t slow_ns;            /* a call of this length is slow */
    uint32_t min_calls;         /* rates are not judged below */

    enum window_kind window_kind;
    int64_t window_ns;      /* WINDOW_TIME */
    uint32_t window_slices; /* WINDOW_TIME */
    uint32_t window_calls;  /* WINDOW_COUNT */
    bool has_durations;     /* the window sums durations too */

    int64_t open_ns;          /* at least; then the next call is a probe */
    int64_t open_ns_max;      /* the most it grows to */
    uint32_t open_growth_ppm; /* each reopening multiplies open_ns: 2000000 doubles, 1000000 not */
    uint32_t open_jitter_ppm; /* up to this share is added, drawn anew for each opening */

    uint32_t half_open_calls;   /* probes at once, at most BREAKER_LEASES */
    uint32_t success_threshold; /* probes that must succeed to close */
    int64_t probe_ns;           /* a probe without a result by then has failed */

    uint32_t history; /* changes that are remembered */
    bool is_monitor;  /* decides and reports, refuses nothing */
};

struct breaker_config breaker_config_default(void);
enum hf_rc breaker_config_check(const struct breaker_config *config,
                                struct hf_err *err) HF_MUST_USE;

/* Leave to run one call. Plain data; belongs to the call. Zeroed, it was not admitted. */
struct breaker_permit {
    int64_t start_ns;
    uint32_t generation;
    uint32_t stamp; /* where it is counted in flight, 0 if nowhere */
    uint8_t role;   /* enum breaker_role */
    uint8_t lease;  /* of a probe */
};

/* A change of state, as remembered. Counts are of the window when it was left CLOSED; leaving
 * HALF_OPEN, of the probes that ended; else 0. */
struct breaker_change {
    int64_t at_ns;
    uint32_t generation; /* the one that began with it */
    enum breaker_state from;
    enum breaker_state to;
    enum breaker_cause cause;
    uint32_t calls;
    uint32_t failures;
    uint32_t slow;
    uint32_t missed; /* changes between the last one this consumer saw and this one */
};

struct breaker_slot {
    _Atomic uint64_t tag; /* generation and a mark whether it is whole; see breaker_mt.c */
    _Atomic int64_t at_ns;
    _Atomic uint64_t what;   /* from, to, cause, slow */
    _Atomic uint64_t counts; /* calls, failures */
};

struct breaker {
    /* Read by each call, seldom written. */
    alignas(BREAKER_ALIGN) _Atomic uint64_t word;
    _Atomic int64_t slow_ns; /* HF_NEVER: not watched */
    _Atomic uint64_t
        settled; /* while it stands, successes need no judging: see breaker_settled_at() */
    _Atomic int64_t changed_at_ns;
    _Atomic uint32_t failure_threshold;
    _Atomic uint32_t failure_rate_ppm;
    _Atomic uint32_t slow_rate_ppm;
    _Atomic uint32_t min_calls;
    uint64_t seed;
    uint32_t history;
    uint32_t history_at; /* bytes from the breaker to its slots */
    /* When it changes. */
    _Atomic int64_t open_ns;
    _Atomic int64_t open_ns_max;
    _Atomic int64_t probe_ns;
    _Atomic uint32_t open_growth_ppm;
    _Atomic uint32_t open_jitter_ppm;
    _Atomic uint32_t half_open_calls;
    _Atomic uint32_t success_threshold;
    _Atomic int64_t lease_until_ns[BREAKER_LEASES];
    /* Counted by what is no success while CLOSED. */
    alignas(BREAKER_ALIGN) _Atomic uint64_t rejected;
    _Atomic uint64_t would_reject;
    _Atomic uint64_t neutral;
    _Atomic uint64_t stale;
    _Atomic uint64_t probes;
    _Atomic uint64_t time_backwards;
    _Atomic int64_t last_failure_ns; /* below 0: none */
    /* What it judges by. */
    struct inflight in_flight;
    struct window window; /* its ring, and then the history, lie behind */
};

/* What a breaker is, without the windows it judges by and without its history. */
#define BREAKER_STATE_BYTES offsetof(struct breaker, in_flight)
_Static_assert(BREAKER_STATE_BYTES <= 256, "a breaker's state is at most four cache lines");
_Static_assert(offsetof(struct breaker, window) + sizeof(struct window) == sizeof(struct breaker),
               "the ring of the window lies right behind it");

/* ---- life ---- */

/* Bytes for one breaker of a checked configuration, aligned to BREAKER_ALIGN. */
size_t breaker_size(const struct breaker_config *config);
/* In memory of that size, which stays the caller's. The seed makes its jitter its own. */
struct breaker *breaker_init(void *memory, const struct breaker_config *config, uint64_t seed,
                             int64_t now_ns);

/* Another configuration for a breaker in use. Fails, and changes nothing, if it is not valid or
 * needs more memory than there is. One thread at a time. */
enum hf_rc breaker_configure(struct breaker *b, const struct breaker_config *config, int64_t now_ns,
                             struct hf_err *err) HF_MUST_USE;

/* ---- calls ---- */

/* Of the functions below, for all but the usual case. */
bool breaker_admit_rest(struct breaker *b, int64_t now_ns, struct breaker_permit *out);
void breaker_record_rest(struct breaker *b, const struct breaker_permit *permit,
                         enum outcome_verdict verdict, int64_t now_ns);
bool breaker_would_admit_rest(const struct breaker *b, int64_t now_ns);
void breaker_judge_window(struct breaker *b, int64_t now_ns);

static inline void breaker_admit_closed(struct breaker *b, uint64_t word, int64_t now_ns,
                                        struct breaker_permit *out)
{
    uint32_t generation = breaker_word_generation(word), overdue = 0;
    *out = (struct breaker_permit){
        .start_ns = now_ns,
        .generation = generation,
        .stamp = inflight_begin(&b->in_flight, generation, now_ns, &overdue),
        .role = BREAKER_ROLE_NORMAL,
    };
    if (overdue != 0)
        window_evidence(&b->window, overdue, now_ns);
}

/* May a call run now? True: `*out` is to be recorded exactly once. */
static inline bool breaker_admit(struct breaker *b, int64_t now_ns, struct breaker_permit *out)
{
    /* Acquire, as in all that reads the word: who sees a generation sees its window emptied. */
    uint64_t word = atomic_load_explicit(&b->word, memory_order_acquire);
    if (breaker_word_state(word) != BREAKER_CLOSED || inflight_is_due(&b->in_flight, now_ns))
        return breaker_admit_rest(b, now_ns, out);
    breaker_admit_closed(b, word, now_ns, out);
    return true;
}

/* Once the window holds its minimum of calls and has been judged, a further success only lowers the
 * rates, until a slice drops out of the window or it is emptied, which changes the generation. */
static inline uint64_t breaker_settled_at(struct breaker *b, uint64_t word)
{
    return (uint64_t)breaker_word_generation(word) << 40 |
           (window_slice(&b->window) & 0xffffffffff);
}

static inline bool breaker_is_settled(struct breaker *b, uint64_t word)
{
    return atomic_load_explicit(&b->settled, memory_order_relaxed) == breaker_settled_at(b, word);
}

/* How an admitted call ended. */
static inline void breaker_record(struct breaker *b, const struct breaker_permit *permit,
                                  enum outcome_verdict verdict, int64_t now_ns)
{
    uint64_t word = atomic_load_explicit(&b->word, memory_order_acquire);
    int64_t duration_ns = now_ns - permit->start_ns;
    int64_t slow_ns = atomic_load_explicit(&b->slow_ns, memory_order_relaxed);
    /* Compared as unsigned: a negative duration is an unusual case too. A NORMAL permit of the
     * word's generation was admitted while CLOSED, so the breaker still is. What takes the call out
     * of those in flight stands last. */
    if (verdict != OUTCOME_VERDICT_SUCCESS || permit->role != BREAKER_ROLE_NORMAL ||
        permit->generation != breaker_word_generation(word) || breaker_word_aux(word) != 0 ||
        (uint64_t)duration_ns >= (uint64_t)slow_ns || inflight_end(&b->in_flight, permit->stamp)) {
        breaker_record_rest(b, permit, verdict, now_ns);
        return;
    }
    window_record(&b->window, false, false, duration_ns, now_ns);
    if ((window_may_hold_bad(&b->window, now_ns) && !breaker_is_settled(b, word)) ||
        inflight_is_due(&b->in_flight, now_ns))
        breaker_judge_window(b, now_ns);
}

/* The call did not run, or nobody will know how it ended: a neutral result. */
static inline void breaker_abandon(struct breaker *b, const struct breaker_permit *permit,
                                   int64_t now_ns)
{
    breaker_record(b, permit, OUTCOME_VERDICT_NEUTRAL, now_ns);
}

static inline bool breaker_permit_is_probe(const struct breaker_permit *permit)
{
    return permit->role == BREAKER_ROLE_PROBE;
}

/* Would breaker_admit() say yes? Changes nothing. */
static inline bool breaker_would_admit(const struct breaker *b, int64_t now_ns)
{
    uint64_t word = atomic_load_explicit(&b->word, memory_order_acquire);
    return breaker_word_state(word) == BREAKER_CLOSED || breaker_would_admit_rest(b, now_ns);
}

/* When asking again makes sense, as far as time decides: the end of the open time; with all leases
 * out, the end of the first; HF_NEVER while forced open; 0 when it need not be waited for. */
int64_t breaker_retry_at(const struct breaker *b);

/* Notices what time alone changes: calls in flight that became slow, leases that expired. */
void breaker_tick(struct breaker *b, int64_t now_ns);
/* When a tick is next of use; HF_NEVER if only calls matter. */
int64_t breaker_deadline(struct breaker *b);

/* ---- by hand ---- */

/* To FORCED_OPEN or DISABLED, until another force or a reset. */
void breaker_force(struct breaker *b, enum breaker_state state, int64_t now_ns);
/* To CLOSED from anywhere, with an empty window. Calls under way become stale. */
void breaker_reset(struct breaker *b, int64_t now_ns);
void breaker_set_mode(struct breaker *b, bool is_monitor);
/* Opens for at least open_for_ns: on a single result that says so. An open breaker stays open for
 * longer, never for less. False: forced or disabled, or open for longer already. */
bool breaker_trip(struct breaker *b, int64_t open_for_ns, int64_t now_ns);

/* ---- what can be seen from outside ---- */

struct breaker_view {
    enum breaker_state state;
    bool is_monitor;
    uint32_t generation;
    uint32_t reopened;        /* times in a row that probing failed */
    uint32_t consecutive;     /* CLOSED: failures in a row */
    uint32_t leases;          /* HALF_OPEN: probes out */
    uint32_t successes;       /* HALF_OPEN: of probes */
    uint32_t in_flight;       /* admitted while CLOSED, not ended, not slow yet; 0 if not watched */
    enum breaker_cause cause; /* of the last change that is remembered */
    int64_t changed_at_ns;    /* when made, until the first change */
    int64_t last_failure_ns;  /* HF_NEVER: none yet */
    int64_t retry_at_ns;      /* breaker_retry_at() */
    struct window_sum window; /* what the rates are judged on */
    struct window_sum total;  /* since it was made, each call once, neutral ones not */
    uint64_t successes_total; /* total.calls - total.failures */
    uint64_t rejected;
    uint64_t would_reject; /* let through by MONITOR only */
    uint64_t neutral;
    uint64_t stale; /* results of an earlier generation */
    uint64_t probes;
    uint64_t time_backwards;
};

void breaker_view(struct breaker *b, int64_t now_ns, struct breaker_view *out);

static inline enum breaker_state breaker_state(const struct breaker *b)
{
    return breaker_word_state(atomic_load_explicit(&b->word, memory_order_acquire));
}

static inline uint32_t breaker_generation(const struct breaker *b)
{
    return breaker_word_generation(atomic_load_explicit(&b->word, memory_order_acquire));
}

/* The next change after the one `*cursor` stands for, and moves the cursor to it. A cursor starts
 * at 0: every change that is remembered. False: none yet. */
bool breaker_changes_next(struct breaker *b, uint32_t *cursor, struct breaker_change *out);

#endif
