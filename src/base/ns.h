/*
 * Time as every folder knows it: int64 nanoseconds on a monotonic clock whose origin means nothing.
 *
 * Pure code never reads a clock. `now_ns` comes in with each event; durations are counted in the
 * same unit. HF_NEVER is a deadline that does not come.
 */
#ifndef HF_BASE_NS_H
#define HF_BASE_NS_H

#include <stdint.h>

#define HF_NEVER INT64_MAX

#define HF_US(n)  ((int64_t)(n)*INT64_C(1000))
#define HF_MS(n)  ((int64_t)(n)*INT64_C(1000000))
#define HF_SEC(n) ((int64_t)(n)*INT64_C(1000000000))

/* a + b for a >= 0, b >= 0, where HF_NEVER plus anything stays HF_NEVER. */
static inline int64_t ns_add(int64_t a, int64_t b)
{
    return a > HF_NEVER - b ? HF_NEVER : a + b;
}

static inline int64_t ns_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t ns_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

#endif
