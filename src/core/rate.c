#include "core/rate.h"

#include "base/ns.h"

enum hf_rc rate_config_check(const struct rate_config *config, struct hf_err *err)
{
    if (config->per_second > RATE_PER_SECOND_MAX) {
        err_set(err, HF_RC_INVALID, "22023", "the rate is out of range");
        return err_detail(err, "It is %u a second; 0 (no limit) to %d are possible.",
                          config->per_second, RATE_PER_SECOND_MAX);
    }
    if (config->burst < 1 || config->burst > RATE_BURST_MAX) {
        err_set(err, HF_RC_INVALID, "22023", "the burst of a rate is out of range");
        return err_detail(err, "It is %u; 1 to %d are possible.", config->burst, RATE_BURST_MAX);
    }
    return HF_OK;
}

struct rate_pace rate_pace_of(const struct rate_config *config)
{
    if (config->per_second == 0)
        return (struct rate_pace){0};
    int64_t interval_ns = HF_SEC(1) / config->per_second;
    return (struct rate_pace){.interval_ns = interval_ns,
                              .tolerance_ns = (int64_t)(config->burst - 1) * interval_ns};
}

bool rate_step_take(const struct rate_pace *pace, int64_t word, int64_t now_ns, int64_t wait_ns_max,
                    int64_t *next, int64_t *wait_ns)
{
    *next = word;
    *wait_ns = 0;
    if (pace->interval_ns == 0)
        return true;
    int64_t from_ns = ns_max(word, now_ns);
    *wait_ns = ns_max(from_ns - now_ns - pace->tolerance_ns, 0);
    if (*wait_ns > wait_ns_max)
        return false;
    *next = ns_add(from_ns, pace->interval_ns);
    return true;
}

int64_t rate_step_refund(const struct rate_pace *pace, int64_t word)
{
    return word - pace->interval_ns;
}
