/*
 * Adaptive limit: how many operations a server can usefully run at once, found from their
 * durations. Pure. The bulkhead feeds it and applies what it says; nothing here refuses anything.
 *
 * The rule is TCP Vegas', as Netflix's concurrency-limits uses it. Of the n operations that ran at
 * once, those above what the server really works on only make all of them slower. With `unloaded`
 * the duration while the server was not crowded and `recent` the one seen now,
 *
 *     crowd = n * (1 - unloaded / recent)
 *
 * operations stood in a line inside the server. Fewer than alpha = 1 + n/8: room for more. More
 * than beta = 2 + n/4: too many. So the limit settles an eighth to a third above what the server
 * can do at once, and the rest of the line stands in our queue, where it is bounded and answered.
 * (Vegas' own 3 and 6 log10 n vanish in the noise of a few hundred samples when n is large.)
 *
 * Why not the others
 *  - AIMD hears only failures: before it gives in, the server has to be so late that calls time
 *    out. It is kept for what it is good at: when more than one operation in 32 fails by overload
 *    (53300, timeouts) the limit is cut by a tenth, whatever the durations say. Fewer are bad luck;
 *    cutting for each would bring a healthy limit down to the floor.
 *  - Gradient2 compares with a long average of the same durations. Under sustained overload the
 *    average follows, and the overload becomes the new normal: the limit runs away slowly.
 *  - A limit that only watches can never tell a slower server from a crowd of its own making: both
 *    look the same until the number of operations changes. So every Vegas probes. Envoy probes at 3
 *    operations, which costs throughput each time, contradicts its own floor and has stuck under
 *    overload (envoy#38338, #46532); concurrency-limits takes whatever it measures next, crowd
 *    included. Here a probe is a *dip*: for one window the limit is half of what ran. If there was
 *    a crowd, durations fall with it, even when half is still too much; if the server was slower,
 *    they stay, and the limit goes back to where it was. So overload by any factor is found in a
 *    few halvings, and a slow but uncrowded server keeps its limit.
 *  - Dips cost, so they are rare: at first, when a crowd is seen twice in a row (it may be the
 *    server, or another mix of queries), and otherwise only while the limit is in force, after 4
 *    windows, then 8 ... 32 while they bring no news: 1.5 % of the throughput of a server that is
 *    asked for more than it can do. Where operations have room and take as long as ever, none.
 *  - At limit_min there is nothing lower to compare with, so what is seen there counts as
 *    unloaded: the limit grows, and comes back if that was wrong. It cannot stick at the floor.
 *
 * What is measured is the mean of the logarithms of the durations. One query of 10 s among a
 * thousand of 1 ms changes the mean of durations by a factor of eleven and this one by 1 %: mixed
 * loads are the rule for a database, and a window has few samples (concurrency-limits asks for 10,
 * failsafe-go for 50; here 200, or 10 + 5 for each permit if those are fewer, since the bounds of a
 * small limit are wider in proportion).
 *
 * A window's life: it is opened, samples of operations *granted since then* are collected (so none
 * that ran before the last change of the limit, nor while a debt was paid), and it ends with the
 * first sample that finds enough of them, window_ns gone by, and four mean durations gone by.
 *
 *             window over: the unloaded duration is unknown,
 *             or the limit was in force and it is old, or a crowd was seen again
 *     STEADY -------------------------------------------------------------> DIP
 *      |  ^                                                                  |
 *      |  +----- window over: this was the unloaded duration; back ----------+
 *      |  +----- overload: limit * 0.9 --------------------------------------+
 *      +-- otherwise: grow, keep or shrink
 *
 * Measured in virtual time (test_adapt.c prints it; capacity 4 to 200, operations of 5 to 200 ms,
 * even, exponential and mixed, more calls than the server can do): the limit is on average 1.1 to
 * 1.5 times the capacity (2.2 times at 4, where the two of beta weigh), the throughput 0.95 to 1.0
 * of what the server can do. A capacity that falls to a quarter or comes back is followed within
 * 10 s, a server 20 times slower keeps its limit, a limit on its own side (53300) is found.
 * Slow work is followed slowly: 50 operations a second fill a window in some seconds.
 *
 * Invariants
 *  1. limit_min <= limit <= limit_max, in a dip too.
 *  2. The limit grows only after a window in which it was reached: what nobody needs is not stored
 *     up for the next burst.
 *  3. Deterministic: integers only, equal samples in equal order give equal limits.
 *  4. One update per window, by whoever closes it; the samples between are one word.
 *
 * Threads: the steps over the sample word are for any thread, by compare-and-swap. A struct adapt
 * belongs to the one thread that has claimed the word: see bulkhead_mt.h.
 */
#ifndef HF_CORE_ADAPT_H
#define HF_CORE_ADAPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bits.h"
#include "base/err.h"

#define ADAPT_LIMIT_MAX 1000000 /* also what a bulkhead can count */

struct adapt_config {
    uint32_t limit_min; /* 1 .. limit_max */
    uint32_t limit_max;
    uint32_t samples_min; /* of a window of a large limit, 10 .. 10000 */
    int64_t window_ns;    /* and lasts at least so long */
};

/* 5 to 200, windows of 250 ms and 200 samples. */
struct adapt_config adapt_config_default(void);
enum hf_rc adapt_config_check(const struct adapt_config *config, struct hf_err *err) HF_MUST_USE;

/* The limit, put between the bounds. */
uint32_t adapt_clamp(const struct adapt_config *config, uint64_t limit);

/*
 * The samples of a window in one word, lowest bits first:
 *
 *     33 sum of log2(duration in ns), 10 binary places | 17 count | 13 overloads | 1 claimed
 *
 * A logarithm has 16 bits, so the sum of all that the count can count fits. A full word takes no
 * more samples; that is a window of half a million operations a second.
 */
#define ADAPT_SAMPLES_MAX   ((1 << 17) - 1)
#define ADAPT_OVERLOADS_MAX ((1 << 13) - 1)

#define ADAPT_SUM_BITS   33
#define ADAPT_SUM_PLACES 10
#define ADAPT_COUNT_AT   ADAPT_SUM_BITS
#define ADAPT_OVER_AT    (ADAPT_COUNT_AT + 17)
#define ADAPT_CLAIMED    (UINT64_C(1) << 63)

static inline uint32_t adapt_word_count(uint64_t word)
{
    return (uint32_t)(word >> ADAPT_COUNT_AT) & ADAPT_SAMPLES_MAX;
}

static inline uint32_t adapt_word_overloads(uint64_t word)
{
    return (uint32_t)(word >> ADAPT_OVER_AT) & ADAPT_OVERLOADS_MAX;
}

/* The mean logarithm, with 16 binary places as adapt_log2() has them. There must be a sample. */
static inline uint64_t adapt_word_mean(uint64_t word)
{
    uint64_t sum = word & ((UINT64_C(1) << ADAPT_SUM_BITS) - 1);
    return (sum << (16 - ADAPT_SUM_PLACES)) / adapt_word_count(word);
}

/* log2(ns) with 16 binary places, for ns >= 1; the error stays below 0.01. The mantissa m in
 * [0, 1) is taken as m + 0.344 m (1 - m). */
static inline uint64_t adapt_log2(int64_t ns)
{
    uint64_t v = ns > 0 ? (uint64_t)ns : 1;
    unsigned whole = bits_log2(v);
    uint64_t m = (v << (63 - whole) << 1) >> 48;
    return ((uint64_t)whole << 16) + m + ((m * (65536 - m) >> 16) * 22544 >> 16);
}

/* The word with an operation added: how long it ran, or that it failed because the server had too
 * much to do, whose duration says nothing. Unchanged if it is full or claimed. */
uint64_t adapt_step_sample(uint64_t word, int64_t ran_ns, bool is_overload);

/* When a window may be closed. */
struct adapt_window {
    int64_t begun_ns;
    int64_t due_ns;   /* not before */
    uint32_t samples; /* not with fewer */
};

struct adapt_window adapt_window_open(const struct adapt_config *config, uint32_t limit,
                                      int64_t now_ns);
bool adapt_window_is_due(const struct adapt_window *window, uint64_t word, int64_t now_ns);

enum adapt_phase {
    ADAPT_STEADY,
    ADAPT_DIP,
};

/* Why the limit is what it is; adapt_verdict_name() says it in a word. */
enum adapt_verdict {
    ADAPT_BEGUN,    /* nothing is known yet, or it was set by hand */
    ADAPT_IDLE,     /* the limit was not reached, and there was no crowd: unchanged */
    ADAPT_KEPT,     /* a crowd between alpha and beta: unchanged */
    ADAPT_GREW,     /* smaller than alpha */
    ADAPT_SHRANK,   /* larger than beta */
    ADAPT_CUT,      /* operations failed by overload */
    ADAPT_DIPPED,   /* halved for a window, to learn the unloaded duration */
    ADAPT_MEASURED, /* the dip is over: back at the limit before it */
    ADAPT_VERDICTS
};

/* Of whoever claimed the window. All durations as adapt_log2() gives them; 0 is unknown. */
struct adapt {
    enum adapt_phase phase;
    enum adapt_verdict verdict;
    uint32_t limit;        /* the one found, not halved by a dip */
    uint32_t ran;          /* at once, at most, in the last window that was no dip */
    uint32_t age;          /* windows since `unloaded` was measured */
    uint32_t dip_interval; /* the age at which a dip is due without other cause */
    uint64_t unloaded;     /* mean logarithm of the duration while not crowded */
    uint64_t recent;       /* of the last window */
    uint32_t crowd;        /* the estimate behind the last verdict */
    uint64_t windows;      /* closed since adapt_init() */
};

/* Starts anew from `limit`, put between the bounds. */
void adapt_init(struct adapt *adapt, const struct adapt_config *config, uint32_t limit);

/* Takes the samples of a window that is over, and how many operations ran at once in it at most;
 * returns the limit for the next one. */
uint32_t adapt_close(struct adapt *adapt, const struct adapt_config *config, uint64_t word,
                     uint32_t peak);

/* The duration that a logarithm stands for. */
int64_t adapt_exp2_ns(uint64_t log2);

const char *adapt_verdict_name(enum adapt_verdict verdict);

#endif
