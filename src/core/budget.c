/*
 * The steps on the word. Time is credited by every step that changes anything, so that the bucket
 * becomes full, and deposits cheap again, as soon as it can.
 */
#include "core/budget.h"

#include "base/ns.h"

enum {
    TOKEN = 1000, /* units of the word */
    TOKENS_BITS = 24,
    MS_BITS = 40,
    SHARE_STEP_PPM = 1000, /* one unit for each call */
};

#define TOKENS_MASK ((UINT64_C(1) << TOKENS_BITS) - 1)
#define MS_MASK     ((UINT64_C(1) << MS_BITS) - 1)

_Static_assert(BUDGET_BURST_MAX *(int64_t)TOKEN <= (int64_t)TOKENS_MASK, "a full bucket fits");

struct budget_config budget_config_default(void)
{
    return (struct budget_config){.share_ppm = 200000, .reserve_per_second = 3, .burst = 100};
}

enum hf_rc budget_config_check(const struct budget_config *config, struct hf_err *err)
{
    if (config->share_ppm < 0 || config->share_ppm > INT64_C(1000) * SHARE_STEP_PPM ||
        config->share_ppm % SHARE_STEP_PPM != 0)
        return err_set(err, HF_RC_INVALID, "22023",
                       "the share of retries must be between 0 and 100%%, in steps of 0.1%%");
    if (config->reserve_per_second > BUDGET_RESERVE_MAX)
        return err_set(err, HF_RC_INVALID, "22023",
                       "the reserve of retries a second must be at most %d", BUDGET_RESERVE_MAX);
    if (config->burst < 1 || config->burst > BUDGET_BURST_MAX)
        return err_set(err, HF_RC_INVALID, "22023", "the burst of retries must be between 1 and %d",
                       BUDGET_BURST_MAX);
    return HF_OK;
}

static uint64_t capacity(const struct budget_config *config)
{
    return (uint64_t)config->burst * TOKEN;
}

static uint64_t make_word(uint64_t ms, uint64_t tokens)
{
    return (ms & MS_MASK) << TOKENS_BITS | tokens;
}

static uint64_t tokens_of(uint64_t word)
{
    return word & TOKENS_MASK;
}

static uint64_t add_tokens(const struct budget_config *config, uint64_t word, uint64_t units)
{
    uint64_t tokens = tokens_of(word) + units;
    if (tokens > capacity(config))
        tokens = capacity(config);
    return (word & ~TOKENS_MASK) | tokens;
}

/* Adds the reserve of the time since the word was credited last. A time before that one (another
 * thread read its clock earlier) is a distance in the upper half of the circle, and changes
 * nothing. */
static uint64_t credit(const struct budget_config *config, uint64_t word, int64_t now_ns)
{
    uint64_t ms = (uint64_t)(now_ns / HF_MS(1)) & MS_MASK;
    uint64_t elapsed = (ms - (word >> TOKENS_BITS)) & MS_MASK;
    if (elapsed > MS_MASK / 2)
        return word;
    return add_tokens(config, make_word(ms, tokens_of(word)), elapsed * config->reserve_per_second);
}

uint64_t budget_word_init(const struct budget_config *config, int64_t now_ns)
{
    /* Rounded up, whereas credit() rounds down: the sum of whole milliseconds is then never more
     * than the time that passed. */
    uint64_t ms = (uint64_t)((now_ns + HF_MS(1) - 1) / HF_MS(1));
    return make_word(ms, capacity(config));
}

bool budget_step_deposit(const struct budget_config *config, uint64_t word, int64_t now_ns,
                         uint64_t *next)
{
    *next = word;
    if (budget_word_is_full(word, config->burst))
        return false;
    *next = add_tokens(config, credit(config, word, now_ns),
                       (uint64_t)(config->share_ppm / SHARE_STEP_PPM));
    return *next != word;
}

bool budget_step_withdraw(const struct budget_config *config, uint64_t word, int64_t now_ns,
                          uint64_t *next)
{
    *next = word;
    uint64_t credited = credit(config, word, now_ns);
    if (tokens_of(credited) < TOKEN)
        return false;
    *next = credited - TOKEN;
    return true;
}

bool budget_step_refund(const struct budget_config *config, uint64_t word, uint64_t *next)
{
    *next = add_tokens(config, word, TOKEN);
    return *next != word;
}

uint32_t budget_word_tokens(const struct budget_config *config, uint64_t word, int64_t now_ns)
{
    return (uint32_t)tokens_of(credit(config, word, now_ns));
}
