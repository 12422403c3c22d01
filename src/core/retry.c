/*
 * The wait is computed from the number of waits so far, not kept as a growing value: kinds begin
 * with different ones, and a call may meet several kinds.
 */
#include "core/retry.h"

#include "base/bug.h"
#include "base/ns.h"

enum {
    RETRY_FACTOR_MAX = 100,
};

#define PPM        INT64_C(1000000)
#define CAP_NS_MAX HF_SEC(86400)

/* ---- ready policies ---- */

/* `retries` for what heals by itself; the rest as the header says. */
static struct retry_config policy(uint32_t retries, int64_t initial_ns, int64_t cap_ns)
{
    return (struct retry_config){
        .attempts_max = retries + 1,
        .jitter = RETRY_JITTER_FULL,
        .initial_ns = initial_ns,
        .cap_ns = cap_ns,
        .factor_ppm = 2 * PPM,
        .rules =
            {
                /* Repeatable only if a prepared statement was stale: prepared anew, it runs. */
                [OUTCOME_KIND_QUERY] = {.retries_max = 1, .retries_at_once = 1},
                /* Repeatable only if no session came about: another endpoint may let us in. */
                [OUTCOME_KIND_PERSISTENT] = {.retries_max = 1, .retries_at_once = 1},
                [OUTCOME_KIND_TRANSIENT] = {.retries_max = retries},
                [OUTCOME_KIND_SYSTEM] = {.retries_max = 1},
                [OUTCOME_KIND_CONTENTION] = {.retries_max = retries},
                [OUTCOME_KIND_OVERLOAD] = {.retries_max = 1, .initial_ns = HF_SEC(1)},
                [OUTCOME_KIND_ROLE] = {.retries_max = retries},
            },
    };
}

struct retry_config retry_config_default(void)
{
    return policy(2, HF_MS(100), HF_SEC(30));
}

struct retry_config retry_config_database(void)
{
    struct retry_config config = policy(4, HF_MS(100), HF_SEC(10));
    config.rules[OUTCOME_KIND_SYSTEM].retries_max = 2; /* two more endpoints may be well */
    return config;
}

struct retry_config retry_config_transaction(void)
{
    return policy(2, HF_MS(50), HF_SEC(1));
}

struct retry_config retry_config_connect(void)
{
    struct retry_config config = policy(29, HF_MS(50), HF_SEC(2));
    config.rules[OUTCOME_KIND_SYSTEM].retries_max = 29;
    config.rules[OUTCOME_KIND_OVERLOAD].retries_max = 29;
    return config;
}

enum hf_rc retry_config_check(const struct retry_config *config, struct hf_err *err)
{
    if (config->attempts_max < 1 || config->attempts_max > RETRY_ATTEMPTS_MAX)
        return err_set(err, HF_RC_INVALID, "22023", "attempts must be between 1 and %d",
                       RETRY_ATTEMPTS_MAX);
    if ((unsigned)config->jitter >= RETRY_JITTERS)
        return err_set(err, HF_RC_INVALID, "22023", "unknown kind of jitter %d",
                       (int)config->jitter);
    if (config->cap_ns < 1 || config->cap_ns > CAP_NS_MAX)
        return err_set(err, HF_RC_INVALID, "22023",
                       "the longest wait must be above zero and at most a day");
    if (config->initial_ns < 1 || config->initial_ns > config->cap_ns)
        return err_set(err, HF_RC_INVALID, "22023",
                       "the first wait must be above zero and at most the longest wait");
    if (config->factor_ppm < PPM || config->factor_ppm > RETRY_FACTOR_MAX * PPM)
        return err_set(err, HF_RC_INVALID, "22023", "the growth of waits must be between 1 and %d",
                       RETRY_FACTOR_MAX);
    for (unsigned kind = 0; kind < OUTCOME_KINDS; kind++) {
        const struct retry_rule *rule = &config->rules[kind];
        if (rule->initial_ns < 0 || rule->initial_ns > config->cap_ns)
            return err_set(err, HF_RC_INVALID, "22023",
                           "the first wait of kind \"%s\" must be at most the longest wait",
                           outcome_kind_name((enum outcome_kind)kind));
        if (rule->retries_at_once > rule->retries_max)
            return err_set(err, HF_RC_INVALID, "22023",
                           "kind \"%s\" has more retries at once than retries",
                           outcome_kind_name((enum outcome_kind)kind));
    }
    return HF_OK;
}

/* ---- the wait ---- */

static int64_t grow(int64_t ns, int64_t factor_ppm)
{
    /* Whole and broken part apart: a day times 100 million would not fit. */
    return ns / PPM * factor_ppm + ns % PPM * factor_ppm / PPM;
}

static int64_t ceiling_ns(const struct retry_config *config, int64_t initial_ns, uint32_t waits)
{
    int64_t ceiling = initial_ns;
    for (uint32_t i = 0; i < waits && ceiling < config->cap_ns; i++)
        ceiling = ns_min(config->cap_ns, grow(ceiling, config->factor_ppm));
    return ceiling;
}

/* lo .. hi, both included. The remainder favours small values by one in 2^17 at worst, for waits of
 * a day: nothing that a crowd would notice. */
static int64_t draw(uint64_t random, int64_t lo, int64_t hi)
{
    return lo + (int64_t)(random % ((uint64_t)(hi - lo) + 1));
}

static int64_t wait_ns(const struct retry_config *config, const struct retry *retry,
                       const struct retry_ask *ask)
{
    const struct retry_rule *rule = &config->rules[ask->kind];
    int64_t initial = rule->initial_ns > 0 ? rule->initial_ns : config->initial_ns;
    int64_t ceiling = ceiling_ns(config, initial, retry->waits);
    switch (config->jitter) {
    case RETRY_JITTER_FULL:
        return draw(ask->random, 0, ceiling);
    case RETRY_JITTER_EQUAL:
        return draw(ask->random, ceiling / 2, ceiling);
    case RETRY_JITTER_DECORRELATED: {
        int64_t last = ns_max(initial, retry->waited_ns);
        return ns_min(config->cap_ns, draw(ask->random, initial, 3 * last));
    }
    case RETRY_JITTER_NONE:
    case RETRY_JITTERS:
        break;
    }
    return ceiling;
}

/* ---- the decision ---- */

static enum retry_verdict judge(const struct retry_config *config, const struct retry *retry,
                                const struct retry_ask *ask)
{
    const struct retry_rule *rule = &config->rules[ask->kind];
    if (ask->is_cancelled)
        return RETRY_CANCELLED;
    if (ask->may != OUTCOME_MAY_ATTEMPT && ask->may != OUTCOME_MAY_TRANSACTION)
        return RETRY_NOT_REPEATABLE;
    if (rule->retries_max == 0)
        return RETRY_KIND_EXCLUDED;
    if (retry->of_kind[ask->kind] >= rule->retries_max)
        return RETRY_KIND_SPENT;
    if (retry->retries + 1 >= config->attempts_max)
        return RETRY_ATTEMPTS_SPENT;
    return RETRY_AGAIN;
}

enum retry_verdict retry_next(const struct retry_config *config, struct retry *retry,
                              const struct retry_ask *ask, int64_t *at_ns)
{
    hf_assert((unsigned)ask->kind < OUTCOME_KINDS);
    *at_ns = HF_NEVER;
    enum retry_verdict verdict = judge(config, retry, ask);
    if (verdict != RETRY_AGAIN)
        return verdict;
    bool is_at_once = retry->of_kind[ask->kind] < config->rules[ask->kind].retries_at_once;
    int64_t wait = is_at_once ? 0 : wait_ns(config, retry, ask);
    int64_t at = ns_add(ns_add(ask->now_ns, ns_max(0, ask->server_delay_ns)), wait);
    if (at >= ask->deadline_ns)
        return RETRY_PAST_DEADLINE;
    ++retry->retries;
    ++retry->of_kind[ask->kind];
    if (!is_at_once) {
        ++retry->waits;
        retry->waited_ns = wait;
    }
    *at_ns = at;
    return RETRY_AGAIN;
}

/* ---- names ---- */

const char *retry_verdict_name(enum retry_verdict verdict)
{
    static const char *const names[] = {"again",         "cancelled",  "not_repeatable",
                                        "kind_excluded", "kind_spent", "attempts_spent",
                                        "past_deadline"};
    _Static_assert(sizeof names / sizeof names[0] == RETRY_VERDICTS, "a name for each verdict");
    hf_assert((unsigned)verdict < RETRY_VERDICTS);
    return names[verdict];
}

const char *retry_jitter_name(enum retry_jitter jitter)
{
    static const char *const names[] = {"full", "equal", "decorrelated", "none"};
    _Static_assert(sizeof names / sizeof names[0] == RETRY_JITTERS, "a name for each jitter");
    hf_assert((unsigned)jitter < RETRY_JITTERS);
    return names[jitter];
}
