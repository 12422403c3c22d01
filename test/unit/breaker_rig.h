/* What the tests of a whole breaker share: one in static memory, and calls at given times. */
#ifndef HF_TEST_UNIT_BREAKER_RIG_H
#define HF_TEST_UNIT_BREAKER_RIG_H

#include <stdalign.h>
#include <stdbool.h>
#include <string.h>

#include "base/ns.h"
#include "core/breaker_mt.h"

#define RIG_BYTES 65536

static alignas(BREAKER_ALIGN) unsigned char rig_memory[RIG_BYTES];
static struct breaker *b;

/* Small numbers, no chance: 2 in a row or half of 4 fail, or 3 of 4 are slow (1 s), in 8 s; open
 * for 10 s, doubling to 60 s; 2 probes of 3 s at once, 2 to close. */
static inline struct breaker_config rig_config(void)
{
    struct breaker_config config = breaker_config_default();
    config.failure_threshold = 0;
    config.failure_rate_ppm = 500000;
    config.slow_rate_ppm = 750000;
    config.slow_ns = HF_SEC(1);
    config.min_calls = 4;
    config.window_ns = HF_SEC(8);
    config.window_slices = 8;
    config.open_ns = HF_SEC(10);
    config.open_ns_max = HF_SEC(60);
    config.open_growth_ppm = 2000000;
    config.open_jitter_ppm = 0;
    config.half_open_calls = 2;
    config.success_threshold = 2;
    config.probe_ns = HF_SEC(3);
    config.history = 8;
    return config;
}

static inline void rig_make(const struct breaker_config *config, int64_t now_ns)
{
    assert_true(breaker_size(config) <= RIG_BYTES);
    memset(rig_memory, 0xa5, sizeof rig_memory);
    b = breaker_init(rig_memory, config, 1, now_ns);
}

static inline struct breaker_permit admit_at(int64_t now_ns)
{
    struct breaker_permit permit;
    assert_true(breaker_would_admit(b, now_ns));
    assert_true(breaker_admit(b, now_ns, &permit));
    return permit;
}

static inline void refused_at(int64_t now_ns)
{
    struct breaker_permit permit;
    assert_false(breaker_would_admit(b, now_ns));
    assert_false(breaker_admit(b, now_ns, &permit));
    assert_int_equal(permit.role, BREAKER_ROLE_NONE);
}

/* A call without length. */
static inline void call_at(int64_t now_ns, enum outcome_verdict verdict)
{
    struct breaker_permit permit = admit_at(now_ns);
    breaker_record(b, &permit, verdict, now_ns);
}

static inline void calls_at(int64_t now_ns, int times, enum outcome_verdict verdict)
{
    for (int i = 0; i < times; i++)
        call_at(now_ns, verdict);
}

static inline struct breaker_view view_at(int64_t now_ns)
{
    struct breaker_view view;
    breaker_view(b, now_ns, &view);
    return view;
}

#define GOOD    OUTCOME_VERDICT_SUCCESS
#define BAD     OUTCOME_VERDICT_FAILURE
#define NEUTRAL OUTCOME_VERDICT_NEUTRAL

#endif
