/*
 * The families that servers and guarded functions have in common, and those of a guarded function.
 * A family's name is put together from a prefix, so that both have names of their own and can stand
 * on one page.
 */
#include "client/metrics.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/ns.h"
#include "client/guard_run.h"
#include "holdfast.h"
#include "os/mem.h"

#define NAME_BYTES 96

const char *metrics_breaker_word(const struct breaker_view *breaker)
{
    const bool is_plain = breaker->state <= BREAKER_HALF_OPEN;
    return breaker->is_monitor && is_plain ? "monitor" : breaker_state_name(breaker->state);
}

/* One number of a part. */
enum number {
    OF_BREAKER_CALLS,
    OF_BREAKER_FAILURES,
    OF_BREAKER_SLOW,
    OF_BREAKER_REJECTED,
    OF_BREAKER_PROBES,
    OF_BULKHEAD_IN_USE,
    OF_BULKHEAD_LIMIT,
    OF_BULKHEAD_WAITING,
    OF_BULKHEAD_REFUSED,
    OF_BULKHEAD_TIMED_OUT,
    OF_BULKHEAD_OVERRUNS,
};

static const struct {
    const char *name;
    const char *help;
    enum promtext_type type;
    enum number number;
} families[] = {
    {"breaker_calls_total", "Calls that the breaker has judged.", PROMTEXT_COUNTER,
     OF_BREAKER_CALLS},
    {"breaker_failures_total", "Calls that counted against it.", PROMTEXT_COUNTER,
     OF_BREAKER_FAILURES},
    {"breaker_slow_total", "Calls that counted as slow.", PROMTEXT_COUNTER, OF_BREAKER_SLOW},
    {"breaker_rejected_total", "Calls that the breaker has refused.", PROMTEXT_COUNTER,
     OF_BREAKER_REJECTED},
    {"breaker_probes_total", "Calls that it was tried with while half-open.", PROMTEXT_COUNTER,
     OF_BREAKER_PROBES},
    {"bulkhead_in_use", "Calls that run.", PROMTEXT_GAUGE, OF_BULKHEAD_IN_USE},
    {"bulkhead_limit", "Most calls at a time.", PROMTEXT_GAUGE, OF_BULKHEAD_LIMIT},
    {"bulkhead_waiting", "Calls that wait for a place.", PROMTEXT_GAUGE, OF_BULKHEAD_WAITING},
    {"bulkhead_refused_total", "Calls for which there was no place, nor one in the queue.",
     PROMTEXT_COUNTER, OF_BULKHEAD_REFUSED},
    {"bulkhead_timed_out_total", "Calls that waited for a place in vain.", PROMTEXT_COUNTER,
     OF_BULKHEAD_TIMED_OUT},
    {"bulkhead_overruns_total", "Calls that took longer than an execution may.", PROMTEXT_COUNTER,
     OF_BULKHEAD_OVERRUNS},
};

static uint64_t refused(const struct bulkhead_view *bulkhead)
{
    uint64_t sum = 0;
    for (size_t i = BULKHEAD_REFUSED_FULL; i < BULKHEAD_ANSWERS; i++)
        sum += bulkhead->refused[i];
    return sum;
}

static uint64_t number_of(const struct metrics_part *part, enum number number)
{
    switch (number) {
    case OF_BREAKER_CALLS:
        return part->breaker.total.calls;
    case OF_BREAKER_FAILURES:
        return part->breaker.total.failures;
    case OF_BREAKER_SLOW:
        return part->breaker.total.slow;
    case OF_BREAKER_REJECTED:
        return part->breaker.rejected;
    case OF_BREAKER_PROBES:
        return part->breaker.probes;
    case OF_BULKHEAD_IN_USE:
        return part->bulkhead.in_use;
    case OF_BULKHEAD_LIMIT:
        return part->bulkhead.limit;
    case OF_BULKHEAD_WAITING:
        return part->bulkhead.waiting;
    case OF_BULKHEAD_REFUSED:
        return refused(&part->bulkhead);
    case OF_BULKHEAD_TIMED_OUT:
        return part->bulkhead.timed_out;
    case OF_BULKHEAD_OVERRUNS:
        return part->bulkhead.overruns;
    }
    return 0;
}

/* 1 for the state it is in, 0 for all others: what alerts can be written on. */
static void write_states(struct promtext *p, const char *prefix, const char *label,
                         const struct metrics_part *parts, size_t count)
{
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s_breaker_state", prefix);
    promtext_family(p, name, PROMTEXT_GAUGE, "1 for the state that the breaker is in.");
    for (size_t i = 0; i < count; i++) {
        for (int state = 0; state < BREAKER_STATES; state++) {
            const struct promtext_label labels[] = {
                {label, parts[i].name},
                {"state", breaker_state_name((enum breaker_state)state)},
                {NULL, NULL}};
            promtext_u64(p, labels, (int)parts[i].breaker.state == state);
        }
    }
}

void metrics_write_parts(struct promtext *p, const char *prefix, const char *label,
                         const struct metrics_part *parts, size_t count)
{
    write_states(p, prefix, label, parts, count);
    for (size_t n = 0; n < sizeof families / sizeof families[0]; n++) {
        char name[NAME_BYTES];
        snprintf(name, sizeof name, "%s_%s", prefix, families[n].name);
        promtext_family(p, name, families[n].type, families[n].help);
        for (size_t i = 0; i < count; i++) {
            const struct promtext_label labels[] = {{label, parts[i].name}, {NULL, NULL}};
            promtext_u64(p, labels, number_of(&parts[i], families[n].number));
        }
    }
}

void metrics_write_summary(struct promtext *p, const struct promtext_label *label,
                           const struct hist *hist)
{
    static const struct {
        const char *text;
        double q;
    } quantiles[] = {{"0.5", 0.5}, {"0.95", 0.95}, {"0.99", 0.99}, {"1", 1.0}};
    for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++) {
        struct promtext_label labels[] = {
            {"quantile", quantiles[i].text}, {NULL, NULL}, {NULL, NULL}};
        if (label != NULL)
            labels[1] = *label;
        promtext_seconds(p, labels, hist_quantile_ns(hist, quantiles[i].q));
    }
    const struct promtext_label only[] = {
        {label != NULL ? label->name : NULL, label != NULL ? label->value : NULL}, {NULL, NULL}};
    promtext_part_seconds(p, "_sum", only, hist_mean_ns(hist) * (int64_t)hist->count);
    promtext_part_u64(p, "_count", only, hist->count);
}

/* ---- a guarded function ---- */

static void write_counter(struct promtext *p, const char *name, const char *help,
                          const struct promtext_label *label, uint64_t value)
{
    const struct promtext_label labels[] = {*label, {NULL, NULL}};
    promtext_family(p, name, PROMTEXT_COUNTER, help);
    promtext_u64(p, labels, value);
}

static void write_guard(struct promtext *p, const struct guard_run_view *view,
                        const struct hist *executions)
{
    static const char *const results[] = {"served", "served_cached", "failed", "refused",
                                          "unknown"};
    const struct promtext_label label = {"guard", view->name};
    promtext_family(p, "holdfast_guard_calls_total", PROMTEXT_COUNTER, "Calls by their end.");
    for (size_t i = 0; i < GUARD_RESULTS; i++) {
        const struct promtext_label labels[] = {label, {"result", results[i]}, {NULL, NULL}};
        if (i == GUARD_SERVED || i == GUARD_FAILED || i == GUARD_REFUSED)
            promtext_u64(p, labels, view->results[i]);
    }
    write_counter(p, "holdfast_guard_attempts_total", "Times that the function was run.", &label,
                  view->attempts);
    write_counter(p, "holdfast_guard_retries_total", "Times that it was run again.", &label,
                  view->retries);
    write_counter(p, "holdfast_guard_queued_total", "Calls that waited for a place.", &label,
                  view->queued);
    write_counter(p, "holdfast_guard_fallbacks_total", "Calls that the fallback answered.", &label,
                  view->fallbacks);
    write_counter(p, "holdfast_guard_events_dropped_total",
                  "Events lost because hooks were slower than the news.", &label,
                  view->events_dropped);
    promtext_family(p, "holdfast_guard_execution_seconds", PROMTEXT_SUMMARY,
                    "How long the function took.");
    metrics_write_summary(p, &label, executions);
    const struct metrics_part part = {
        .name = view->name, .breaker = view->breaker, .bulkhead = view->bulkhead};
    metrics_write_parts(p, "holdfast_guard", "guard", &part, 1);
}

size_t hf_guard_metrics(struct hf_guard *guard, char *text, size_t size)
{
    struct promtext p;
    struct guard_run_view view;
    promtext_init(&p, text, text != NULL ? size : 0);
    if (guard == NULL || !guard_run_is_here(guard))
        return 0;
    struct hist *executions = mem_alloc(guard_run_mem(guard), sizeof *executions);
    if (executions == NULL)
        return 0;
    guard_run_view(guard, &view);
    guard_run_executions(guard, executions);
    write_guard(&p, &view, executions);
    mem_free(guard_run_mem(guard), executions);
    return promtext_end(&p);
}
