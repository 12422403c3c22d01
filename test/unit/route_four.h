/*
 * The little cluster that the tests of routing start from.
 */
#ifndef HF_TEST_UNIT_ROUTE_FOUR_H
#define HF_TEST_UNIT_ROUTE_FOUR_H

#include "core/route.h"

#define NONE   SNAPSHOT_NO_ENDPOINT
#define NOW_NS HF_SEC(100)
#define BIT(n) (UINT32_C(1) << (n))

/* A primary `p` and replicas `a`, `b` and `c`, all well, lagging 10, 20 and 30 ms behind, sampled 5
 * ms ago; positions are milliseconds: the primary was asked every 100 ms until 50 ms ago. */
static inline void four(struct snapshot *view)
{
    static const char *const names[] = {"p", "a", "b", "c"};
    snapshot_init(view);
    view->made_at_ns = NOW_NS;
    for (int64_t ago_ns = HF_MS(950); ago_ns > 0; ago_ns -= HF_MS(100))
        snapshot_sample(view, NOW_NS - ago_ns, (uint64_t)((NOW_NS - ago_ns) / HF_MS(1)));
    for (uint32_t i = 0; i < 4; i++) {
        struct snapshot_endpoint *endpoint = snapshot_add(view, names[i]);
        endpoint->role = i == 0 ? ENDPOINT_PRIMARY : ENDPOINT_REPLICA;
        endpoint->health = ENDPOINT_UP;
        endpoint->accepts_reads = true;
        endpoint->accepts_writes = i == 0;
        endpoint->lag_ns = HF_MS(10) * i;
        endpoint->sampled_at_ns = NOW_NS - HF_MS(5);
        endpoint->replayed_lsn = (uint64_t)((NOW_NS - HF_MS(5) - endpoint->lag_ns) / HF_MS(1));
    }
}

#endif
