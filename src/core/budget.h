/*
 * Budget: retries may add a share to the load and no more, whatever the policies say.
 *
 * A token bucket that a group of calls shares. Each first attempt puts a share of a token in; each
 * second adds a small reserve, so that a client with few calls may retry too; a retry takes a whole
 * token out, at the moment it is decided, so that retries that wait in their backoff count (Envoy
 * counts active ones only, and they flood when the backoff is over: envoy#30205). An empty bucket
 * means that many calls fail at once: then retries add to the load that makes them fail.
 *
 *      first attempt: + share                 retry decided: - 1, or refused
 *                    \                       /
 *      each second: + reserve -> [ tokens ] <- refund: + 1, a retry that never ran
 *                                at most burst; full at the start
 *
 * This file is the pure part: configuration and the steps on one 64-bit word. What callers use is
 * core/budget_mt.h, the shell for threads.
 *
 * THE BOUND. At every moment, for every interleaving and whatever times the callers bring:
 *
 *     retries that ran <= share * first attempts + reserve * seconds + burst
 *
 * Proof. Let a step be a successful exchange of the word; steps are totally ordered, and each
 * starts from the word that the step before it left.
 *  a. A step never leaves more than it found, plus at most one of: a share (a deposit), one token
 *     that was taken before and not used (a refund); plus the reserve of the time credited. The cap
 *     only takes away.
 *  b. The word holds the time up to which the reserve was credited. A step credits from there to
 *     its own time, never a negative span, and moves it there. So credited spans are disjoint and
 *     lie between the start and the latest time brought, and a thread whose time is old credits
 *     nothing.
 *  c. A withdrawal takes a whole token and refuses if there is none, so the sum of tokens never
 *     falls below 0. Sum a. over all steps from the full bucket.
 * While the bucket is full no step is made: nothing could be added. The time of that span is not
 * lost but credited by the next withdrawal, up to the cap, which it already is at.
 *
 * The word: 40 bits of milliseconds (35 years) above 24 bits of tokens in thousandths. With these
 * units the reserve is milliseconds times tokens a second, without any rounding.
 */
#ifndef HF_CORE_BUDGET_H
#define HF_CORE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define BUDGET_BURST_MAX   10000
#define BUDGET_RESERVE_MAX 10000

struct budget_config {
    int64_t share_ppm;           /* of first attempts, up to 100 %, in steps of 0.1 % */
    uint32_t reserve_per_second; /* retries that are free of the share */
    uint32_t burst;              /* tokens that fit, at least 1 */
};

/*
 * Share 20 %, reserve 3 a second, burst 100.
 *
 * 20 % is what Finagle, Envoy and failsafe-go chose: a fifth more load is bearable, and faults that
 * hit more than a fifth of the calls are not cured by repeating them. A burst of 100 is the default
 * limit of a bulkhead: when a server dies, each call that was running there may retry once. The
 * reserve serves clients with little traffic once the burst is used, and there are many of them:
 * Finagle's 10 a second in each of 100 processes would be a thousand retries a second against a
 * server that is down, so 3, as in Envoy and failsafe-go.
 */
struct budget_config budget_config_default(void);
enum hf_rc budget_config_check(const struct budget_config *config, struct hf_err *err) HF_MUST_USE;

/* The word at the start: full. The configuration has passed its check. */
uint64_t budget_word_init(const struct budget_config *config, int64_t now_ns);

/* Each step says whether it changes the word, and leaves the new one in `*next`, which is `word` if
 * it does not. For budget_step_withdraw() "changes" means that a token was taken. */
bool budget_step_deposit(const struct budget_config *config, uint64_t word, int64_t now_ns,
                         uint64_t *next);
bool budget_step_withdraw(const struct budget_config *config, uint64_t word, int64_t now_ns,
                          uint64_t *next);
bool budget_step_refund(const struct budget_config *config, uint64_t word, uint64_t *next);

/* Tokens in thousandths, the reserve up to `now_ns` included. */
uint32_t budget_word_tokens(const struct budget_config *config, uint64_t word, int64_t now_ns);

/* As high as a word goes: no step can add anything. */
static inline bool budget_word_is_full(uint64_t word, uint32_t burst)
{
    return (word & ((UINT64_C(1) << 24) - 1)) >= (uint64_t)burst * 1000;
}

#endif
