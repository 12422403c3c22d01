/*
 * The demo while it runs: waits for something to happen, says so, and starts again what has ended.
 */
#ifndef HF_CLI_DEMO_WATCH_H
#define HF_CLI_DEMO_WATCH_H

#include <stdint.h>

#include "cli/demo_cluster.h"
#include "os/signals.h"

struct demo_watch_config {
    int64_t restart_ns;    /* from a server's end to its new start; HF_NEVER: only when asked to */
    int stop_fd;           /* readable: return */
    struct signals *nudge; /* SIGUSR1: start what is down now */
};

/* Returns when the user wants to stop. */
void demo_watch(struct demo_cluster *cluster, const struct demo_watch_config *config);

#endif
