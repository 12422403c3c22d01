/*
 * Adaptive limit: how many operations a server can usefully run at once, found from their
 * durations. Pure. The bulkhead feeds it and applies what it says; nothing here refuses anything.
 *
 * The rule is TCP Vegas', as Netflix's concurrency-limits uses it: of `limit` operations that run
 * at once, those above what the server really works on only make all of them slower. With
 * `unloaded` the duration while the server was not crowded and `recent` the one seen now,
 *
 *     crowd = limit * (1 - unloaded / recent)
 *
 * operations stand in a line inside the server. Fewer than alpha = 1 + limit/16: room for more.
 * More than beta = 2 + limit/8: too many. So the limit settles some percent above what the server
 * can do at once, and the line stands in our queue, where it is bounded and answered.
 *
 * Why not the others
 *  - AIMD hears only failures: before it gives in, the server has to be so late that calls time
 *    out. It is kept for what it is good at: when operations fail by overload (53300, timeouts) the
 *    limit is cut by a tenth, whatever the durations say.
 *  - Gradient2 compares with a long average of the same durations. Under sustained overload the
 *    average follows, and the overload becomes the new normal: the limit runs away slowly.
 *  - A limit that only watches can never tell a slower server from a crowd of its own making; both
 *    look the same until the number of operations changes. So every Vegas probes. Envoy probes at 3
 *    operations, which costs throughput each time, contradicts its own floor and has stuck under
 *    overload (envoy#38338, #46532); concurrency-limits takes whatever it measures next, crowd
 *    included. Here a probe is a *dip*: the limit is halved (never below limit_min) for one window.
 *    Was there a crowd, durations fall with it, even when half the limit is still too much; was the
 *    server slower, they stay, and the limit returns to where it was. Overload by any factor is
 *    thus found in a few halvings, and steady load is never taken for one.
 *  - Dips cost, so they are made only while the limit is in force: if fewer than half of the limit
 *    ran during a window, that window itself was a dip, for nothing. Without news they become rare
 *    (every 4th window, then every 8th ... 32nd: 1.5 % of the throughput of a server that has more
 *    to do than it can).
 *
 * What is measured is the mean of the logarithms of the durations, not of the durations. One query
 * of 10 s among a thousand of 1 ms moves a mean by a factor of ten and this one by 1 %: mixed loads
 * are the rule for a database, and a window has few samples (concurrency-limits asks for 10,
 * failsafe-go for 50; here 100 unless configured).
 *
 * A window's life: it is opened, samples of operations *granted since then* are collected (so none
 * that ran before the last change of the limit, nor while a debt was paid), and it ends with the
 * first sample that finds enough of them, window_ns gone by, and four mean durations gone by.
 *
 *             window over, limit was reached, and
 *             the unloaded duration is unknown, old, or doubted
 *     STEADY --------------------------------------------------> DIP   (limit / 2)
 *        ^                                                        |
 *        +--------- window over: this was the unloaded duration --+
 *                   overload: limit * 0.9
 *
 * Invariants
 *  1. limit_min <= limit <= limit_max, in a dip too.
 *  2. The limit grows only after a window in which it was reached: what nobody needs is not stored
 *     up for the next burst. If fewer than the limit ran, it does not change (overload apart).
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
    uint32_t samples_min; /* a window has so many, or 10 + limit if that is less; 10 .. 1000 */
    int64_t window_ns;    /* and lasts at least so long */
};

/* 5 to 200, windows of 250 ms and 100 samples. */
struct adapt_config adapt_config_default(void);
enum hf_rc adapt_config_check(const struct adapt_config *config, struct hf_err *err) HF_MUST_USE;

/* The limit, put between the bounds. */
uint32_t adapt_clamp(const struct adapt_config *config, uint64_t limit);

/*
 * The samples of a window in one word, lowest bits first:
 *
 *     36 sum of log2(duration in ns), 16 binary places | 10 count | 10 overloads | half | full |
 * claimed
 *
 * A sum of 1023 logarithms below 64 has 32 bits. After 1023 samples no more are taken: a busy
 * server pays for one load per operation until the window's time is over.
 */
#define ADAPT_SAMPLES_MAX 1023

#define ADAPT_SUM_BITS   36
#define ADAPT_COUNT_BITS 10
#define ADAPT_COUNT_AT   ADAPT_SUM_BITS
#define ADAPT_OVER_AT    (ADAPT_COUNT_AT + ADAPT_COUNT_BITS)
#define ADAPT_HALF       (UINT64_C(1) << (ADAPT_OVER_AT + ADAPT_COUNT_BITS))
#define ADAPT_FULL       (ADAPT_HALF << 1)
#define ADAPT_CLAIMED    (ADAPT_HALF << 2)

static inline uint32_t adapt_word_count(uint64_t word)
{
    return (uint32_t)(word >> ADAPT_COUNT_AT) & ADAPT_SAMPLES_MAX;
}

static inline uint32_t adapt_word_overloads(uint64_t word)
{
    return (uint32_t)(word >> ADAPT_OVER_AT) & ADAPT_SAMPLES_MAX;
}

static inline uint64_t adapt_word_sum(uint64_t word)
{
    return word & ((UINT64_C(1) << ADAPT_SUM_BITS) - 1);
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

/* What one operation tells. */
struct adapt_sample {
    int64_t ran_ns;
    uint32_t in_use;  /* when it ended, itself included */
    uint32_t limit;   /* then */
    bool is_overload; /* it failed because the server had too much to do; its duration says nothing
                       */
};

/* The word with the sample added; unchanged if it is full or claimed. */
uint64_t adapt_step_sample(uint64_t word, const struct adapt_sample *sample);

/* When a window may be closed. */
struct adapt_window {
    int64_t begun_ns;
    int64_t due_ns;
    uint32_t samples; /* a small limit needs fewer: its bounds are wider in proportion */
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
    ADAPT_IDLE,     /* the limit was not reached: unchanged */
    ADAPT_KEPT,     /* between alpha and beta */
    ADAPT_GREW,     /* the crowd is smaller than alpha */
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
    uint32_t limit; /* the one found, not halved by a dip */
    uint32_t age;   /* windows in which the limit was reached since `unloaded` was measured */
    uint32_t dip_interval; /* the age at which a dip is due without other cause */
    uint64_t unloaded;     /* mean logarithm of the duration while not crowded */
    uint64_t recent;       /* of the last window */
    uint32_t crowd;        /* the estimate behind the last verdict */
    uint64_t windows;      /* closed so far */
};

/* Starts anew from `limit`, put between the bounds. */
void adapt_init(struct adapt *adapt, const struct adapt_config *config, uint32_t limit);

/* Takes the samples of a window that is over; returns the limit for the next one. */
uint32_t adapt_close(struct adapt *adapt, const struct adapt_config *config, uint64_t word);

/* The duration that a logarithm stands for. */
int64_t adapt_exp2_ns(uint64_t log2);

const char *adapt_verdict_name(enum adapt_verdict verdict);

#endif
