#include "core/adapt.h"

#include <stddef.h>

#include "base/bug.h"
#include "base/ns.h"

/* What the header argues for, in one place. */
#define SAMPLES_EVER        10 /* fewer say nothing, however small the limit is */
#define SAMPLES_PER_PERMIT  5
#define OVERLOAD_WEIGHT     10 /* samples that one overload counts for when a window is filled */
#define OVERLOAD_SHARE      32 /* one in so many is bad luck: a statement too long, a lost packet */
#define MEANS_PER_WINDOW    4  /* a window sees operations of up to four times the mean duration */
#define DIP_INTERVAL_MIN    4
#define DIP_INTERVAL_MAX    32
#define NEWS                (65536 / 2) /* of a measurement: half an octave, 41 % */
#define LIMIT_MIN_DEFAULT   5
#define LIMIT_MAX_DEFAULT   200
#define SAMPLES_MIN_DEFAULT 200
#define SAMPLES_MIN_MAX     10000

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

uint64_t adapt_step_sample(uint64_t word, int64_t ran_ns, bool is_overload)
{
    if ((word & ADAPT_CLAIMED) != 0)
        return word;
    if (is_overload)
        return adapt_word_overloads(word) < ADAPT_OVERLOADS_MAX
                   ? word + (UINT64_C(1) << ADAPT_OVER_AT)
                   : word;
    if (adapt_word_count(word) == ADAPT_SAMPLES_MAX)
        return word;
    uint64_t log2 = adapt_log2(ran_ns) >> (16 - ADAPT_SUM_PLACES);
    return word + (UINT64_C(1) << ADAPT_COUNT_AT) + log2;
}

struct adapt_window adapt_window_open(const struct adapt_config *config, uint32_t limit,
                                      int64_t now_ns)
{
    uint32_t enough = SAMPLES_EVER + SAMPLES_PER_PERMIT * limit;
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
    int64_t mean_ns = adapt_exp2_ns(adapt_word_mean(word));
    return (now_ns - window->begun_ns) / MEANS_PER_WINDOW >= mean_ns;
}

/* ---- the limit ---- */

/* The crowd that is wanted, so that a server never idles, and the one that is too much. */
static uint32_t alpha(uint32_t ran)
{
    return 1 + ran / 8;
}

static uint32_t beta(uint32_t ran)
{
    return 2 + ran / 4;
}

void adapt_init(struct adapt *adapt, const struct adapt_config *config, uint32_t limit)
{
    *adapt = (struct adapt){
        .limit = limit == 0 ? 0 : adapt_clamp(config, limit),
        .dip_interval = DIP_INTERVAL_MIN,
    };
}

static uint32_t crowd_of(const struct adapt *adapt, uint64_t unloaded)
{
    if (unloaded == 0 || adapt->recent <= unloaded)
        return 0;
    uint64_t useful = exp2_negative(adapt->recent - unloaded);
    return (uint32_t)(adapt->ran * (65536 - useful) >> 16);
}

static bool is_crowded(const struct adapt *adapt)
{
    return adapt->crowd > beta(adapt->ran);
}

/* What was measured is something new, and may soon be again. */
static void adopt(struct adapt *adapt, uint64_t unloaded)
{
    adapt->unloaded = unloaded;
    adapt->dip_interval = DIP_INTERVAL_MIN;
    adapt->age = 0;
}

/* It agrees with what was known, and is averaged with it, against noise. */
static void confirm(struct adapt *adapt, uint64_t unloaded)
{
    adapt->unloaded = (adapt->unloaded + unloaded) / 2;
    if (adapt->dip_interval < DIP_INTERVAL_MAX)
        adapt->dip_interval *= 2;
    adapt->age = 0;
}

static void measured(struct adapt *adapt, uint64_t unloaded)
{
    uint64_t before = adapt->unloaded;
    if (before == 0 || (before > unloaded ? before - unloaded : unloaded - before) > NEWS)
        adopt(adapt, unloaded);
    else
        confirm(adapt, unloaded);
}

/* From what ran half of the way to a crowd of alpha: the estimate is noisy, and the next window
 * brings another. */
static void shrink(struct adapt *adapt, const struct adapt_config *config)
{
    uint32_t excess = adapt->crowd - alpha(adapt->ran);
    adapt->limit = adapt_clamp(config, adapt->ran - (excess + 1) / 2);
    adapt->verdict = ADAPT_SHRANK;
}

static void end_dip(struct adapt *adapt, const struct adapt_config *config, uint64_t unloaded)
{
    adapt->phase = ADAPT_STEADY;
    adapt->verdict = ADAPT_MEASURED;
    /* `recent` is of the window before the dip. What it proves need not be suffered again. */
    adapt->crowd = crowd_of(adapt, unloaded);
    if (is_crowded(adapt)) {
        adopt(adapt, unloaded);
        shrink(adapt, config);
    } else {
        measured(adapt, unloaded);
    }
}

/* Whether to compare before going on. A crowd that is seen a second time, though the limit shrank
 * for it, may be none; unless that was measured just before. */
static bool wants_dip(const struct adapt *adapt, bool was_reached)
{
    if (adapt->unloaded == 0)
        return true;
    if (was_reached && adapt->age >= adapt->dip_interval)
        return true;
    return is_crowded(adapt) && adapt->verdict == ADAPT_SHRANK && adapt->age > 0;
}

static void judge(struct adapt *adapt, const struct adapt_config *config, bool was_reached)
{
    /* Where no more than limit_min ran, there is nothing lower to compare with: what is seen there
     * is by definition not our crowd. So the limit leaves the floor by itself, and comes back if
     * that was wrong; and quiet times are measurements for nothing. */
    if (adapt->ran <= config->limit_min)
        measured(adapt, adapt->recent);
    /* Clearly faster than measured: the server, or the load, has changed for the better. */
    if (adapt->recent + NEWS < adapt->unloaded)
        adopt(adapt, adapt->recent);
    adapt->crowd = crowd_of(adapt, adapt->unloaded);
    if (wants_dip(adapt, was_reached)) {
        adapt->phase = ADAPT_DIP;
        adapt->verdict = ADAPT_DIPPED;
        return;
    }
    ++adapt->age;
    if (is_crowded(adapt)) {
        shrink(adapt, config);
    } else if (!was_reached) {
        adapt->verdict = ADAPT_IDLE;
    } else if (adapt->crowd < alpha(adapt->ran)) {
        adapt->limit = adapt_clamp(config, (uint64_t)adapt->limit + alpha(adapt->limit));
        adapt->verdict = ADAPT_GREW;
    } else {
        adapt->verdict = ADAPT_KEPT;
    }
}

/* Half of what ran, less two: the two that beta allows even the smallest limit, so that a crowd
 * shows at any size. */
static uint32_t dip_of(const struct adapt *adapt, const struct adapt_config *config)
{
    return adapt_clamp(config, adapt->ran < 4 ? 0 : adapt->ran / 2 - 2);
}

/* A tenth less than what ran. */
static void cut(struct adapt *adapt, const struct adapt_config *config)
{
    adapt->limit = adapt_clamp(config, adapt->ran - (adapt->ran + 9) / 10);
    adapt->phase = ADAPT_STEADY;
    adapt->verdict = ADAPT_CUT;
}

uint32_t adapt_close(struct adapt *adapt, const struct adapt_config *config, uint64_t word,
                     uint32_t peak)
{
    if (adapt->limit == 0)
        return 0;
    uint32_t count = adapt_word_count(word), overloads = adapt_word_overloads(word);
    hf_assert(count + overloads > 0);
    adapt->limit = adapt_clamp(config, adapt->limit);
    ++adapt->windows;
    bool is_dip = adapt->phase == ADAPT_DIP;
    if (!is_dip)
        adapt->ran = peak < adapt->limit ? peak : adapt->limit;
    if (overloads * OVERLOAD_SHARE > count + overloads) {
        cut(adapt, config);
        return adapt->limit;
    }
    /* 0 is "unknown", and no operation takes a nanosecond but in tests. */
    uint64_t mean = adapt_word_mean(word) | 1;
    if (is_dip) {
        end_dip(adapt, config, mean);
        return adapt->limit;
    }
    adapt->recent = mean;
    judge(adapt, config, peak >= adapt->limit);
    return adapt->phase == ADAPT_DIP ? dip_of(adapt, config) : adapt->limit;
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
