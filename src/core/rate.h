/*
 * Rate: so many a second, with bursts, for whoever shares one word.
 *
 * A token bucket told as one time (the generic cell rate algorithm): the word is the theoretical
 * time at which the next one would come if all had kept their distance. Who comes
 * earlier than the burst allows is told how long to wait, and his place is taken at once, so those
 * who wait go in the order in which they asked, and each has a time of its own.
 *
 *     interval = 1 s / per_second                   tolerance = (burst - 1) * interval
 *
 *     may go at  max(now, word - tolerance)         word' = max(now, word) + interval
 *
 * Invariants
 *  1. In any span of time t at most burst + t / interval go, whatever the interleaving: each one
 *     moves the word by an interval, and goes no earlier than the word less the tolerance.
 *  2. A refusal changes nothing. A refund takes back one interval; after a refund nobody goes
 *     earlier than he would have gone had the refunded one never asked.
 *  3. Total: times that run backwards count as they are; they only make the wait longer.
 *
 * This file is the pure part, steps on one word; core/rate_mt.h is the shell for threads.
 */
#ifndef HF_CORE_RATE_H
#define HF_CORE_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define RATE_PER_SECOND_MAX 1000000
#define RATE_BURST_MAX      1000000

struct rate_config {
    uint32_t per_second; /* 0: no limit */
    uint32_t burst;      /* at least 1: as many may come at once */
};

enum hf_rc rate_config_check(const struct rate_config *config, struct hf_err *err) HF_MUST_USE;

/* What the configuration comes to: distances on the word. interval_ns 0: no limit. */
struct rate_pace {
    int64_t interval_ns;
    int64_t tolerance_ns;
};

struct rate_pace rate_pace_of(const struct rate_config *config);

/* One more, which would wait `wait_ns_max` at most. True: it may go after `*wait_ns`, and `*next`
 * is the word. False: it would have to wait `*wait_ns`, and the word stays. */
bool rate_step_take(const struct rate_pace *pace, int64_t word, int64_t now_ns, int64_t wait_ns_max,
                    int64_t *next, int64_t *wait_ns);

/* One that was taken does not go after all. */
int64_t rate_step_refund(const struct rate_pace *pace, int64_t word);

/* Nothing that is remembered makes a difference any more. */
static inline bool rate_word_is_idle(int64_t word, int64_t now_ns)
{
    return word <= now_ns;
}

#endif
