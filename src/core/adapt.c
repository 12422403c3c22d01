#include "core/adapt.h"

#include <stddef.h>

#include "base/bug.h"
#include "base/ns.h"

/* What the header argues for, in one place. */
#define SAMPLES_EVER        10 /* fewer say nothing, however small the limit is */
#define OVERLOAD_WEIGHT     10 /* samples that one overload counts for when a window is filled */
#define OVERLOAD_SHARE      32 /* one in so many is bad luck: a statement too long, a lost packet */
#define MEANS_PER_WINDOW    4  /* a window sees operations of up to four times the mean duration */
#define DIP_INTERVAL_MIN    4
#define DIP_INTERVAL_MAX    32
#define NEWS                (65536 / 4) /* of a measurement: a quarter of an octave, 19 % */
#define LIMIT_MIN_DEFAULT   5
#define LIMIT_MAX_DEFAULT   200
#define SAMPLES_MIN_DEFAULT 100
#define SAMPLES_MIN_MAX     1000

struct adapt_config adapt_config_default(void)
{
    return (struct adapt_config){
        .limit_min = LIMIT_MIN_DEFAULT,
        .limit_max = LIMIT_MAX_DEFAULT,
        .samples_min = SAMPLES_MIN_DEFAULT,
        .window_ns = HF_MS(250),
    };
}

enum hf_rc adapt_config_check(const struct adapt_config *config, struct hf_err *err)
{
    if (config->limit_min < 1 || config->limit_max > ADAPT_LIMIT_MAX ||
        config->limit_min > config->limit_max) {
        err_set(err, HF_RC_INVALID, "22023", "bounds of the adaptive limit are out of range");
        return err_detail(err, "They are %u and %u, and must be 1 to %d, the lower one first.",
                          config->limit_min, config->limit_max, ADAPT_LIMIT_MAX);
    }
    if (config->samples_min < SAMPLES_EVER || config->samples_min > SAMPLES_MIN_MAX) {
        err_set(err, HF_RC_INVALID, "22023", "samples of an adaptive limit are out of range");
        return err_detail(err, "A window of %u samples was asked for; %d to %d are possible.",
                          config->samples_min, SAMPLES_EVER, SAMPLES_MIN_MAX);
    }
    if (config->window_ns < HF_MS(1) || config->window_ns > HF_SEC(3600))
        return err_set(err, HF_RC_INVALID, "22023",
                       "the window of an adaptive limit must be 1 ms to 1 h long");
    return HF_OK;
}

uint32_t adapt_clamp(const struct adapt_config *config, uint64_t limit)
{
    if (limit < config->limit_min)
        return config->limit_min;
    return limit > config->limit_max ? config->limit_max : (uint32_t)limit;
}

/* ---- logarithms ---- */

/* 2^m for m in [0, 1] with 16 binary places; exact at both ends, within 0.3 % between. */
static uint64_t exp2_fraction(uint64_t m)
{
    return 65536 + m - ((m * (65536 - m) >> 16) * 22512 >> 16);
}

int64_t adapt_exp2_ns(uint64_t log2)
{
    uint64_t whole = log2 >> 16;
    uint64_t v = exp2_fraction(log2 & 0xffff);
    if (whole >= 62)
        return HF_NEVER;
    return (int64_t)(whole >= 16 ? v << (whole - 16) : v >> (16 - whole));
}

/* 2^-d with 16 binary places. */
static uint64_t exp2_negative(uint64_t d)
{
    uint64_t whole = d >> 16;
    if (whole >= 16)
        return 0;
    return exp2_fraction(65536 - (d & 0xffff)) >> (whole + 1);
}

/* ---- samples ---- */

uint64_t adapt_step_sample(uint64_t word, const struct adapt_sample *sample)
{
    if ((word & ADAPT_CLAIMED) != 0)
        return word;
    if (sample->is_overload) {
        if (adapt_word_overloads(word) < ADAPT_SAMPLES_MAX)
            word += UINT64_C(1) << ADAPT_OVER_AT;
    } else if (adapt_word_count(word) < ADAPT_SAMPLES_MAX) {
        word += (UINT64_C(1) << ADAPT_COUNT_AT) + adapt_log2(sample->ran_ns);
    }
    if (2 * (uint64_t)sample->in_use >= sample->limit)
        word |= ADAPT_HALF;
    if (sample->in_use >= sample->limit)
        word |= ADAPT_FULL;
    return word;
}

struct adapt_window adapt_window_open(const struct adapt_config *config, uint32_t limit,
                                      int64_t now_ns)
{
    uint32_t enough = SAMPLES_EVER + limit;
    return (struct adapt_window){
        .begun_ns = now_ns,
        .due_ns = ns_add(now_ns, config->window_ns),
        .samples = config->samples_min < enough ? config->samples_min : enough,
    };
}

bool adapt_window_is_due(const struct adapt_window *window, uint64_t word, int64_t now_ns)
{
    uint32_t count = adapt_word_count(word);
    if (count + OVERLOAD_WEIGHT * adapt_word_overloads(word) < window->samples)
        return false;
    if (now_ns < window->due_ns || (word & ADAPT_CLAIMED) != 0)
        return false;
    if (count == 0)
        return true;
    int64_t mean_ns = adapt_exp2_ns(adapt_word_sum(word) / count);
    return (now_ns - window->begun_ns) / MEANS_PER_WINDOW >= mean_ns;
}

/* ---- the limit ---- */

/* The crowd that is wanted, so that a server never idles, and the one that is too much. */
static uint32_t alpha(uint32_t limit)
{
    return 1 + limit / 16;
}

static uint32_t beta(uint32_t limit)
{
    return 2 + limit / 8;
}

void adapt_init(struct adapt *adapt, const struct adapt_config *config, uint32_t limit)
{
    *adapt = (struct adapt){
        .limit = limit == 0 ? 0 : adapt_clamp(config, limit),
        .dip_interval = DIP_INTERVAL_MIN,
    };
}

static void estimate_crowd(struct adapt *adapt)
{
    adapt->crowd = 0;
    if (adapt->unloaded != 0 && adapt->recent > adapt->unloaded) {
        uint64_t useful = exp2_negative(adapt->recent - adapt->unloaded);
        adapt->crowd = (uint32_t)(adapt->limit * (65536 - useful) >> 16);
    }
}

static void measured(struct adapt *adapt, uint64_t unloaded)
{
    uint64_t before = adapt->unloaded;
    uint64_t change = before > unloaded ? before - unloaded : unloaded - before;
    if (change > NEWS)
        adapt->dip_interval = DIP_INTERVAL_MIN;
    else if (adapt->dip_interval < DIP_INTERVAL_MAX)
        adapt->dip_interval *= 2;
    adapt->unloaded = unloaded;
    adapt->age = 0;
}

/* Half of the way to a crowd of alpha: the estimate is noisy, and the next window brings another.
 */
static void shrink(struct adapt *adapt, const struct adapt_config *config)
{
    uint32_t excess = adapt->crowd - alpha(adapt->limit);
    adapt->limit = adapt_clamp(config, adapt->limit - (excess + 1) / 2);
    adapt->verdict = ADAPT_SHRANK;
}

static void end_dip(struct adapt *adapt, const struct adapt_config *config, uint64_t unloaded)
{
    adapt->phase = ADAPT_STEADY;
    adapt->verdict = ADAPT_MEASURED;
    measured(adapt, unloaded);
    /* `recent` is of the window before the dip. What it proves need not be suffered again. */
    estimate_crowd(adapt);
    if (adapt->crowd > beta(adapt->limit))
        shrink(adapt, config);
}

/* A window in which the limit was in force. */
static void judge(struct adapt *adapt, const struct adapt_config *config)
{
    /* At the floor there is nothing lower to compare with: what is seen there is by definition not
     * our crowd. So the limit leaves the floor by itself, and comes back if that was wrong. */
    if (adapt->limit == config->limit_min)
        measured(adapt, adapt->recent);
    estimate_crowd(adapt);
    bool is_doubted = adapt->crowd > beta(adapt->limit) && adapt->verdict == ADAPT_SHRANK &&
                      adapt->age >= DIP_INTERVAL_MIN;
    if (adapt->unloaded == 0 || adapt->age >= adapt->dip_interval || is_doubted) {
        adapt->phase = ADAPT_DIP;
        adapt->verdict = ADAPT_DIPPED;
        return;
    }
    ++adapt->age;
    /* Faster than ever measured: the server, or the load, has changed for the better. Followed by
     * quarters, since the lowest of many noisy windows is too low. */
    if (adapt->recent < adapt->unloaded)
        adapt->unloaded -= (adapt->unloaded - adapt->recent) / 4;
    if (adapt->crowd > beta(adapt->limit)) {
        shrink(adapt, config);
    } else if (adapt->crowd < alpha(adapt->limit)) {
        adapt->limit = adapt_clamp(config, (uint64_t)adapt->limit + alpha(adapt->limit));
        adapt->verdict = ADAPT_GREW;
    } else {
        adapt->verdict = ADAPT_KEPT;
    }
}

uint32_t adapt_close(struct adapt *adapt, const struct adapt_config *config, uint64_t word)
{
    if (adapt->limit == 0)
        return 0;
    uint32_t count = adapt_word_count(word), overloads = adapt_word_overloads(word);
    adapt->limit = adapt_clamp(config, adapt->limit);
    ++adapt->windows;
    if (overloads * OVERLOAD_SHARE > count + overloads) {
        adapt->limit = adapt_clamp(config, adapt->limit - (adapt->limit + 9) / 10);
        adapt->phase = ADAPT_STEADY;
        adapt->verdict = ADAPT_CUT;
        return adapt->limit;
    }
    hf_assert(count > 0);
    uint64_t mean = adapt_word_sum(word) / count;
    if (adapt->phase == ADAPT_DIP) {
        end_dip(adapt, config, mean);
        return adapt->limit;
    }
    adapt->recent = mean;
    if ((word & ADAPT_FULL) == 0) {
        if ((word & ADAPT_HALF) == 0)
            measured(adapt, mean);
        estimate_crowd(adapt);
        adapt->verdict = ADAPT_IDLE;
        return adapt->limit;
    }
    judge(adapt, config);
    return adapt->phase == ADAPT_DIP ? adapt_clamp(config, adapt->limit / 2) : adapt->limit;
}

const char *adapt_verdict_name(enum adapt_verdict verdict)
{
    static const char *const names[ADAPT_VERDICTS] = {
        [ADAPT_BEGUN] = "begun",   [ADAPT_IDLE] = "idle",         [ADAPT_KEPT] = "kept",
        [ADAPT_GREW] = "grew",     [ADAPT_SHRANK] = "shrank",     [ADAPT_CUT] = "cut",
        [ADAPT_DIPPED] = "dipped", [ADAPT_MEASURED] = "measured",
    };
    hf_assert((unsigned)verdict < ADAPT_VERDICTS);
    return names[verdict];
}
