/*
 * Retry: whether a failed attempt is followed by another one, and when.
 *
 * Pure policy, one function. It sleeps nowhere and holds no time: retry_next() is asked after each
 * attempt that failed, and answers "again, at this time" or why not. Whether a repetition is safe
 * is not decided here: outcome_repeat() did, and its answer comes in as `may`. Whether the load
 * allows it is not decided here either: that is core/budget, asked after this says yes.
 *
 *     struct retry retry = {0};                           one for each call
 *     ...the attempt failed...
 *     if (retry_next(&config, &retry, &ask, &at_ns) == RETRY_AGAIN)
 *         wait until at_ns, attempt
 *
 * The wait before retry n (n = 1, 2 ...) is drawn anew each time below a ceiling that grows:
 *
 *     ceiling(n) = min(cap, initial * factor^(n - 1))
 *     full           U(0, ceiling)                        least work for a crowd; the default
 *     equal          ceiling/2 + U(0, ceiling/2)          never too soon
 *     decorrelated   min(cap, U(initial, 3 * last wait))  a little faster than full, more calls
 *     none           ceiling                              for tests and for a single caller
 *
 * A crowd of clients that failed together retries together unless chance parts it, and goes on
 * together if the chance is drawn only once; hence full jitter, redrawn. A unit test repeats the
 * comparison that made it the default.
 *
 * Invariants
 *  1. A call makes at most attempts_max attempts, and at most rules[kind].retries_max retries after
 *     failures of one kind.
 *  2. No retry starts at or after the deadline, and none earlier than the server asked for. A wait
 *     that would pass the deadline is not shortened: the error now is worth more than the same
 *     error later.
 *  3. No wait is longer than cap_ns, plus server_delay_ns.
 *  4. Total and without overflow for every configuration that retry_config_check() accepts.
 *
 * Threads: a struct retry belongs to one call; a configuration is constant and may be shared.
 */
#ifndef HF_CORE_RETRY_H
#define HF_CORE_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/outcome.h"

#define RETRY_ATTEMPTS_MAX 1000

enum retry_jitter {
    RETRY_JITTER_FULL,
    RETRY_JITTER_EQUAL,
    RETRY_JITTER_DECORRELATED,
    RETRY_JITTER_NONE,
    RETRY_JITTERS
};

/* What one kind of failure deserves. */
struct retry_rule {
    uint32_t retries_max;     /* 0: this kind is not retried */
    uint32_t retries_at_once; /* so many of them, the first ones, start without a wait */
    int64_t initial_ns;       /* instead of the policy's; 0: the policy's */
};

struct retry_config {
    uint32_t attempts_max; /* the first one included, 1 .. RETRY_ATTEMPTS_MAX */
    enum retry_jitter jitter;
    int64_t initial_ns; /* ceiling of the first wait, above 0 */
    int64_t cap_ns;     /* ceiling of every wait, at most a day */
    int64_t factor_ppm; /* growth of the ceiling, 1 to 100: 2000000 doubles it */
    struct retry_rule rules[OUTCOME_KINDS];
};

/*
 * Ready policies. In all of them failures that cannot heal by waiting are not retried (persistent,
 * our own refusals, the application's errors), a stale prepared statement runs again once and at
 * once, and overload gets few retries that begin with a wait of a second: the AWS SDKs arrived at
 * the same split, 50 ms for faults and 1 s for throttling.
 *
 * default      3 attempts, 100 ms, cap 30 s: for a call that nothing is known of.
 * database     5 attempts, 100 ms, cap 10 s: statements outside a block. Full jitter makes them
 *              last 0.75 s on average and 1.5 s at most: beyond a restart or a promotion. What
 *              takes longer than that is the guard's hold to bridge, not a fifth attempt.
 * transaction  3 attempts, 50 ms, cap 1 s: most failures are contention, which is over when the
 *              other transaction is, in milliseconds; but each repetition is the whole transaction
 *              again, so few.
 * connect      30 attempts, 50 ms, cap 2 s. Repeating a connect is always safe and costs next to
 *              nothing, so the deadline should end it and not the count: 25 s on average, 49 s at
 *              most, the length of a slow failover. The low cap finds a returned server within a
 *              second on average. Overload is retried too: a server out of connections is waited
 *              for.
 */
struct retry_config retry_config_default(void);
struct retry_config retry_config_database(void);
struct retry_config retry_config_transaction(void);
struct retry_config retry_config_connect(void);
enum hf_rc retry_config_check(const struct retry_config *config, struct hf_err *err) HF_MUST_USE;

/* What a call has used up. All zero: its first attempt is under way. */
struct retry {
    uint32_t retries;
    uint32_t waits;    /* retries that were not at once: the exponent of the ceiling */
    int64_t waited_ns; /* the last wait, for the decorrelated jitter */
    uint32_t of_kind[OUTCOME_KINDS];
};

struct retry_ask {
    int64_t now_ns;
    int64_t deadline_ns; /* HF_NEVER for none */
    enum outcome_kind kind;
    enum outcome_may may;
    int64_t server_delay_ns; /* "not before so much time", from whoever knows: a server that is
                                starting, an open breaker, the caller. 0 or less: nothing said */
    uint64_t random;         /* any 64 bits, new ones each time */
    bool is_cancelled;       /* the caller does not want it any more */
};

/* If several are true, the first one in this order is the answer. */
enum retry_verdict {
    RETRY_AGAIN,
    RETRY_CANCELLED,
    RETRY_NOT_REPEATABLE, /* `may` forbids it, or wants the outcome resolved first */
    RETRY_KIND_EXCLUDED,  /* the policy does not retry this kind */
    RETRY_KIND_SPENT,     /* its retries_max is used up */
    RETRY_ATTEMPTS_SPENT,
    RETRY_PAST_DEADLINE, /* the wait would end at the deadline or later */
    RETRY_VERDICTS
};

/* With RETRY_AGAIN the retry is counted as taken and `*at_ns` says when it starts, now or later;
 * with any other verdict nothing changes, and `*at_ns` is HF_NEVER. */
enum retry_verdict retry_next(const struct retry_config *config, struct retry *retry,
                              const struct retry_ask *ask, int64_t *at_ns);

const char *retry_verdict_name(enum retry_verdict verdict);
const char *retry_jitter_name(enum retry_jitter jitter);

#endif
