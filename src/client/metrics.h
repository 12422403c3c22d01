/*
 * What can be seen of a database from outside: hf_stats(), hf_endpoints(), hf_metrics(), and for a
 * guarded function hf_guard_metrics(). Also what people do by hand to one server.
 *
 * Everything is read when it is asked for, from counters that calls only add to; nobody who looks
 * delays a call. Numbers of one look belong to about the same moment, not to exactly the same.
 *
 * Names of metrics are stable: they are part of the public interface. The list of them, with their
 * types and meanings, stands in metrics.c only, once.
 */
#ifndef HF_CLIENT_METRICS_H
#define HF_CLIENT_METRICS_H

#include "base/promtext.h"
#include "core/breaker_mt.h"
#include "core/bulkhead_mt.h"

/* A breaker and a bulkhead, of a server or of a guarded function. */
struct metrics_part {
    const char *name;
    struct breaker_view breaker;
    struct bulkhead_view bulkhead;
};

/* Their families, named `prefix` and more; `label` is "endpoint" or "guard". */
void metrics_write_parts(struct promtext *p, const char *prefix, const char *label,
                         const struct metrics_part *parts, size_t count);

/* Quantiles, sum and count of a family, which has been begun. */
void metrics_write_summary(struct promtext *p, const struct promtext_label *label,
                           const struct hist *hist);

/* "closed", "open", "half_open", "forced_open", "disabled", or "monitor". */
const char *metrics_breaker_word(const struct breaker_view *breaker);

#endif
