/*
 * The proxy in front of the demo's cluster: a second holdfast, as a child, with a configuration of
 * its own in the demo's folder; and a pgbench run through it.
 */
#ifndef HF_CLI_DEMO_PROXY_H
#define HF_CLI_DEMO_PROXY_H

#include <stdbool.h>

#include "base/err.h"
#include "cli/demo_cluster.h"
#include "os/child.h"

struct demo_proxy {
    struct child child;
    int port;
    bool is_measured;
    double tps;        /* of pgbench through it */
    double latency_ms; /* the average */
};

/* Starts it and waits until it answers; then lets pgbench run for a moment. A failure leaves
 * nothing running; without pgbench it is just not measured. */
enum hf_rc HF_MUST_USE demo_proxy_start(struct demo_proxy *proxy,
                                        const struct demo_cluster *cluster, struct hf_err *err);

/* How to connect, and what pgbench has measured. */
void demo_proxy_print(const struct demo_proxy *proxy, const struct demo_cluster *cluster);

void demo_proxy_stop(struct demo_proxy *proxy);

#endif
