/*
 * Another configuration for a running proxy.
 *
 *     main thread: reads everything that the new one names (hba rules, users, certificates); a
 *                  failure leaves the old one in force, whole
 *                  puts it in force and tells the workers
 *     worker:      changes over between two events: limits of its parts of pools, their sizes,
 *                  connections that would not be made like that any more (another host, dbname,
 *                  user, TLS), databases that are gone; clients that were idle get new timers
 *     main thread: reload_is_done(): all have changed over, the old one can be freed
 *
 * A pool keeps its mode. Where another one is wanted, who logs in comes into another pool beside it
 * (pool_get), and the old one ends with its clients.
 *
 * What a reload cannot change (addresses, workers, memory: not is_reloadable in its row) stays as
 * it was until a restart.
 */
#ifndef HF_PROXY_RELOAD_H
#define HF_PROXY_RELOAD_H

#include <stdbool.h>

#include "base/err.h"

struct proxy;
struct proxy_config;
struct worker;

/* Not while an earlier one is under way. */
enum hf_rc reload_begin(struct proxy *proxy, const struct proxy_config *config,
                        struct hf_err *err) HF_MUST_USE;
bool reload_is_done(struct proxy *proxy);

/* In a worker's thread. */
void reload_worker(struct worker *worker);

#endif
