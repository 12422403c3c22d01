/*
 * The demo's application: one thread that writes and reads all the time, each call under the guard,
 * so that whoever kills a server sees what an application behind Holdfast would see. It prints a
 * line only when something changes.
 *
 * A small driver of core/guard.h: a watcher (pg/watcher.h) tells it what the servers are, it runs
 * what the guard says, and finds the outcome of a write whose answer was lost by looking for its
 * row. It holds no policy.
 *
 * Writes carry numbers. When it ends it counts: every acknowledged number must be in the table, and
 * none twice.
 */
#ifndef HF_CLI_GUARDED_H
#define HF_CLI_GUARDED_H

#include "base/err.h"
#include "cli/demo_cluster.h"

struct guarded;

/* Starts the thread. The servers must be up. */
enum hf_rc HF_MUST_USE guarded_start(struct guarded **out, const struct demo_cluster *cluster,
                                     struct hf_err *err);

/* Ends it, counts, prints what came of it, and frees it. Call it while the servers still run; NULL
 * is fine. */
void guarded_stop(struct guarded *guarded);

#endif
