/*
 * The demo's servers together: made, started and stopped in the right order.
 *
 *     demo_cluster_init -> _stop_leftovers -> (the folder may be emptied) -> _start -> ... -> _stop
 *
 * Making and starting are one: every step looks whether it is done already, so that a start which
 * was interrupted anywhere is simply repeated. A data folder is made under another name and gets
 * its own when it is whole.
 *
 * What is going on is shown as it happens (cli/demo_screen.h).
 */
#ifndef HF_CLI_DEMO_CLUSTER_H
#define HF_CLI_DEMO_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/secret.h"
#include "cli/demo_server.h"

#define DEMO_REPLICAS_MAX 8

struct demo_cluster {
    struct demo_place place;
    int port_base;
    size_t count;                                      /* of servers, at least 1 */
    struct demo_server servers[1 + DEMO_REPLICAS_MAX]; /* the first is the primary */
};

struct demo_cluster_config {
    int port_base;
    size_t replicas;
};

void demo_cluster_init(struct demo_cluster *cluster, const struct demo_place *place,
                       const struct demo_cluster_config *config);

/* Stops what an earlier demo left running in this folder. */
enum hf_rc HF_MUST_USE demo_cluster_stop_leftovers(const struct demo_cluster *cluster,
                                                   struct hf_err *err);

/* The major version that made the data; 0 if there is none. */
int demo_cluster_data_major(const struct demo_cluster *cluster);

/* Makes what is missing and starts everything; afterwards the replicas stream. On failure, or with
 * HF_RC_AGAIN when the user wants to stop, some servers may run: stop the cluster. */
enum hf_rc HF_MUST_USE demo_cluster_start(struct demo_cluster *cluster,
                                          const struct secret *password, bool is_new_password,
                                          struct hf_err *err);

/* Starts one server again that has ended, and waits until it answers. */
enum hf_rc HF_MUST_USE demo_cluster_restart(struct demo_cluster *cluster,
                                            struct demo_server *server, struct hf_err *err);

/* Stops all of them, replicas first, and shows it. */
void demo_cluster_stop(struct demo_cluster *cluster);

/* True if any server runs. */
bool demo_cluster_is_up(const struct demo_cluster *cluster);

#endif
