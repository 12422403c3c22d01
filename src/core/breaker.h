/*
 * Circuit breaker: the pure step. Threads, windows, counters and history stand in
 * core/breaker_mt.h, which is what callers use.
 *
 * All that decides is one 64-bit word. A step takes the word, the rules and one event, and gives
 * the next word and a verdict. It reads no clock and no other memory, so the shell can apply it by
 * compare-and-swap, the simulator runs it as it is, and a test walks every word that a small set of
 * rules can reach.
 *
 *            TRIP (rates), enough failures in a row          ADMIT after the open time
 *   CLOSED ----------------------------------------> OPEN ---------------------------> HALF_OPEN
 *      ^                                              ^                                  |    |
 *      |                                              +--- a probe failed, or its lease -+    |
 *      |                                                   ended                              |
 *      +---------------------------- enough probes succeeded --------------------------------+
 *
 *   FORCED_OPEN and DISABLED are entered from anywhere and left by hand only (FORCE_OPEN, DISABLE,
 *   RESET). MONITOR is a mode beside the state: everything is decided, counted and reported, and
 *   nothing is refused.
 *
 * The word: 3 state | 1 monitor | 5 reopened | 24 generation | 31 bits by state:
 *   CLOSED      failures in a row
 *   OPEN        the end of the open time, in units of 2^20 ns, modulo 2^31
 *   HALF_OPEN   8 leases | 8 successes
 *
 * Invariants
 *  1. Total: every event in every word has a defined answer.
 *  2. Each change of state adds one to the generation. A result whose generation is not the word's
 *     changes nothing; so a late answer to a call admitted while CLOSED is no probe's verdict.
 *  3. In HALF_OPEN at most half_open_calls leases are out. A result counts only if its lease is.
 *  4. HALF_OPEN always ends, or grants: each lease ends by a result or by its time (EXPIRED), and
 *     an expired lease is a failure, whoever notices.
 *  5. FORCED_OPEN and DISABLED are left only by FORCE_OPEN, DISABLE and RESET.
 *  6. A neutral result changes nothing but gives a lease back: neither closes nor opens.
 *
 * Rules that are not obvious, and why
 *  - Rates with a minimum of calls come first; failures in a row are the rule for an endpoint that
 *    is gone, or so little used that a rate never has its minimum. A success in between starts the
 *    row anew, even one that began before the failures. Where single failures at random are normal,
 *    rely on the rate: with one call in ten failing, five in a row come every hundred thousand
 *    calls.
 *  - A probe that succeeds, but slowly, is a failed probe when slow calls are watched: closing on
 *    what opened the breaker would only let it flap.
 *  - A step is told by its event which leases have expired, and whether the state is so old that
 *    31 bits of time have turned: times that do not fit into the word are kept by the shell.
 */
#ifndef HF_CORE_BREAKER_H
#define HF_CORE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ns.h"

enum breaker_state {
    BREAKER_CLOSED,
    BREAKER_OPEN,
    BREAKER_HALF_OPEN,
    BREAKER_FORCED_OPEN,
    BREAKER_DISABLED,
    BREAKER_STATES
};

/* Why the state changed. */
enum breaker_cause {
    BREAKER_CAUSE_NONE, /* it did not */
    BREAKER_CAUSE_CONSECUTIVE,
    BREAKER_CAUSE_FAILURE_RATE,
    BREAKER_CAUSE_SLOW_RATE,
    BREAKER_CAUSE_ORDER, /* breaker_trip() */
    BREAKER_CAUSE_OPEN_TIME_OVER,
    BREAKER_CAUSE_PROBE_FAILED,
    BREAKER_CAUSE_PROBE_SLOW,
    BREAKER_CAUSE_PROBE_EXPIRED,
    BREAKER_CAUSE_PROBES_SUCCEEDED,
    BREAKER_CAUSE_FORCED_OPEN,
    BREAKER_CAUSE_DISABLED,
    BREAKER_CAUSE_RESET,
    BREAKER_CAUSES
};

#define BREAKER_LEASES              8 /* the most that half_open_calls may be */
#define BREAKER_SUCCESSES_MAX       255
#define BREAKER_TIME_UNIT_BITS      20 /* open times end at a multiple of 1.05 ms */
#define BREAKER_OPEN_NS_LIMIT       HF_SEC(86400)
#define BREAKER_OPEN_NS_LEAST       HF_MS(1)
#define BREAKER_OPEN_GROWTH_PPM_MAX 10000000
#define BREAKER_PPM                 1000000 /* the whole */

/* ---- the word ---- */

#define BREAKER_STATE_BITS      3
#define BREAKER_MONITOR         (UINT64_C(1) << 3)
#define BREAKER_REOPENED_AT     4
#define BREAKER_REOPENED_MAX    31
#define BREAKER_GENERATION_AT   9
#define BREAKER_GENERATION_MASK UINT32_C(0xffffff)
#define BREAKER_AUX_AT          33
#define BREAKER_AUX_BITS        31
#define BREAKER_AUX_MASK        UINT32_C(0x7fffffff)

static inline enum breaker_state breaker_word_state(uint64_t word)
{
    return (enum breaker_state)(word & ((1U << BREAKER_STATE_BITS) - 1));
}

static inline bool breaker_word_is_monitor(uint64_t word)
{
    return (word & BREAKER_MONITOR) != 0;
}

static inline uint32_t breaker_word_reopened(uint64_t word)
{
    return (uint32_t)(word >> BREAKER_REOPENED_AT) & BREAKER_REOPENED_MAX;
}

static inline uint32_t breaker_word_generation(uint64_t word)
{
    return (uint32_t)(word >> BREAKER_GENERATION_AT) & BREAKER_GENERATION_MASK;
}

static inline uint32_t breaker_word_aux(uint64_t word)
{
    return (uint32_t)(word >> BREAKER_AUX_AT);
}

/* HALF_OPEN: one bit for each lease that is out; successes so far. */
static inline uint8_t breaker_word_leases(uint64_t word)
{
    return (uint8_t)breaker_word_aux(word);
}

static inline uint32_t breaker_word_successes(uint64_t word)
{
    return breaker_word_aux(word) >> BREAKER_LEASES & BREAKER_SUCCESSES_MAX;
}

/* A closed breaker that has seen nothing. */
static inline uint64_t breaker_word_first(bool is_monitor)
{
    return BREAKER_CLOSED | (is_monitor ? BREAKER_MONITOR : 0);
}

/* OPEN: the time in nanoseconds when the open time ends, given any time less than 13 days away. */
int64_t breaker_word_open_until(uint64_t word, int64_t near_ns);

/* ---- the step ---- */

/* What a step needs of the configuration: plain values. */
struct breaker_rules {
    uint32_t failure_threshold; /* failures in a row that trip; 0: off */
    uint32_t success_threshold; /* probes that close */
    uint32_t half_open_calls;   /* leases */
    uint32_t open_growth_ppm;   /* of the open time with each reopening */
    uint32_t open_jitter_ppm;   /* of the open time, at most, added */
    int64_t open_ns;
    int64_t open_ns_max; /* after growth, before jitter */
    uint64_t seed;       /* of the jitter */
};

enum breaker_event_kind {
    BREAKER_EV_ADMIT,  /* a call asks to run */
    BREAKER_EV_RESULT, /* a call has ended: generation, role, lease, result */
    BREAKER_EV_TRIP,   /* the window says: open; generation of what was judged, cause */
    BREAKER_EV_ORDER,  /* somebody says: open; open_ns */
    BREAKER_EV_TICK,   /* time has passed */
    BREAKER_EV_FORCE_OPEN,
    BREAKER_EV_DISABLE,
    BREAKER_EV_RESET,
    BREAKER_EV_ENFORCE, /* mode */
    BREAKER_EV_MONITOR, /* mode */
    BREAKER_EVENTS
};

enum breaker_result {
    BREAKER_SUCCEEDED,
    BREAKER_FAILED,
    BREAKER_SLOW, /* succeeded, slowly */
    BREAKER_NEUTRAL,
};

/* As what a call was admitted. */
enum breaker_role {
    BREAKER_ROLE_NONE,     /* not admitted */
    BREAKER_ROLE_NORMAL,   /* while CLOSED: its result goes into the window */
    BREAKER_ROLE_PROBE,    /* while HALF_OPEN: its result decides; it holds a lease */
    BREAKER_ROLE_OBSERVER, /* DISABLED, or let through by MONITOR: its result decides nothing */
};

struct breaker_event {
    enum breaker_event_kind kind;
    enum breaker_result result; /* RESULT */
    enum breaker_role role;     /* RESULT */
    enum breaker_cause cause;   /* TRIP */
    uint32_t generation;        /* RESULT, TRIP */
    uint8_t lease;              /* RESULT, of a probe: 0 .. 7 */
    uint8_t expired;            /* leases whose time is over, as bits, whether out or not */
    bool is_state_old;          /* the state has lasted for more than 13 days */
    int64_t now_ns;
    int64_t open_ns; /* ORDER: for how long from now */
};

struct breaker_step {
    uint64_t word;
    enum breaker_role role;   /* ADMIT: BREAKER_ROLE_NONE is a refusal */
    uint8_t lease;            /* ADMIT as a probe */
    bool was_stale;           /* RESULT of another generation, or of a lease that is not out */
    bool would_refuse;        /* ADMIT: let through only because of MONITOR */
    enum breaker_cause cause; /* not NONE: the state changed */
};

/* Half of 31 bits of time lies ahead and half behind: 13 days each. */
static inline bool breaker_word_is_due(uint64_t word, int64_t now_ns)
{
    uint32_t left = breaker_word_aux(word) - (uint32_t)(now_ns >> BREAKER_TIME_UNIT_BITS);
    left &= BREAKER_AUX_MASK;
    return left == 0 || left > BREAKER_AUX_MASK / 2;
}

/* The answer to ADMIT where it needs no rules and leaves the word as it is: everywhere but in
 * HALF_OPEN and on the way there. A part of breaker_step(), apart for the sake of speed. */
static inline bool breaker_step_plain(uint64_t word, int64_t now_ns, bool is_state_old,
                                      struct breaker_step *out)
{
    enum breaker_state state = breaker_word_state(word);
    if (state == BREAKER_HALF_OPEN ||
        (state == BREAKER_OPEN && (is_state_old || breaker_word_is_due(word, now_ns))))
        return false;
    bool is_refusal = state == BREAKER_OPEN || state == BREAKER_FORCED_OPEN;
    *out = (struct breaker_step){
        .word = word,
        .role = BREAKER_ROLE_OBSERVER,
        .would_refuse = is_refusal && breaker_word_is_monitor(word),
    };
    if (state == BREAKER_CLOSED)
        out->role = BREAKER_ROLE_NORMAL;
    else if (is_refusal && !out->would_refuse)
        out->role = BREAKER_ROLE_NONE;
    return true;
}

struct breaker_step breaker_step(uint64_t word, const struct breaker_rules *rules,
                                 const struct breaker_event *event);

/* How long an opening lasts: grown by the reopenings, cut to the maximum, then jitter added. */
int64_t breaker_open_for(const struct breaker_rules *rules, uint32_t reopened, uint32_t generation);

/* What the shell judges its window by. */
struct breaker_rates {
    uint32_t failure_rate_ppm; /* 0: off */
    uint32_t slow_rate_ppm;    /* 0: off */
    uint32_t min_calls;        /* at least 1 */
};

/* The cause of a trip, or BREAKER_CAUSE_NONE. A rate is reached at its threshold, not above it. */
enum breaker_cause breaker_judge(const struct breaker_rates *rates, uint64_t calls,
                                 uint64_t failures, uint64_t slow);

/* ---- names ---- */

const char *breaker_state_name(enum breaker_state state);
const char *breaker_role_name(enum breaker_role role);
/* A word for metrics and logs; a sentence for people: "too many calls failed". */
const char *breaker_cause_name(enum breaker_cause cause);
const char *breaker_cause_text(enum breaker_cause cause);

#endif
