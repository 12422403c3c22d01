/*
 * A look at a database is gathered into one struct and then written in one form or the other. The
 * struct is allocated: with its histogram it is too big for a caller's stack.
 */
#include "client/metrics.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/ns.h"
#include "client/cache.h"
#include "client/db.h"
#include "client/errors.h"
#include "client/events.h"
#include "client/record.h"
#include "os/clock.h"
#include "pg/watcher.h"

struct look {
    struct snapshot view;
    struct hist latency;
    struct cache_stats cache;
    struct hf_stats stats;
    struct hf_endpoint endpoints[SNAPSHOT_ENDPOINTS_MAX];
    struct pool_view pools[SNAPSHOT_ENDPOINTS_MAX];
    struct metrics_part parts[SNAPSHOT_ENDPOINTS_MAX];
    size_t count;
};

#ifndef HF_VERSION
#error "the build names the version"
#endif

const char *hf_version(void)
{
    return HF_VERSION;
}

/* ---- gathering ---- */

static uint64_t get(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Milliseconds of a lag; -1: not known. */
static int64_t lag_ms(const struct snapshot_endpoint *endpoint)
{
    if (endpoint->role == ENDPOINT_PRIMARY)
        return 0;
    return endpoint->lag_ns == HF_NEVER ? -1 : endpoint->lag_ns / HF_MS(1);
}

static int64_t lag_bytes(struct hf_db *db, uint32_t index, const struct snapshot_endpoint *endpoint)
{
    struct topology_endpoint known;
    if (endpoint->role == ENDPOINT_PRIMARY)
        return 0;
    if (!watcher_describe(db->watcher, index, &known) || known.lag_bytes > INT64_MAX)
        return -1;
    return (int64_t)known.lag_bytes;
}

static void look_at_endpoint(struct hf_db *db, uint32_t index, int64_t now_ns, struct look *look)
{
    const struct snapshot_endpoint *seen = &look->view.endpoints[index];
    struct db_endpoint *mine = &db->endpoints[index];
    struct metrics_part *part = &look->parts[look->count];
    struct pool_view *pool = &look->pools[look->count];
    struct hf_endpoint *endpoint = &look->endpoints[look->count];
    breaker_view(mine->breaker, now_ns, &part->breaker);
    pthread_mutex_lock(&mine->queue_lock);
    bulkhead_view(mine->bulkhead, now_ns, &part->bulkhead);
    pthread_mutex_unlock(&mine->queue_lock);
    pool_view(&mine->pool, pool);
    *endpoint = (struct hf_endpoint){
        .role = endpoint_role_name(seen->role),
        .health = endpoint_health_name(seen->health),
        .breaker = metrics_breaker_word(&part->breaker),
        .timeline = seen->timeline,
        .lsn = seen->replayed_lsn,
        .lag_bytes = lag_bytes(db, index, seen),
        .lag_ms = lag_ms(seen),
        .open = (int32_t)pool->open,
        .busy = (int32_t)(pool->open - pool->idle),
        .idle = (int32_t)pool->idle,
        .waiting = (int32_t)part->bulkhead.waiting,
        .is_drained = seen->is_drained,
    };
    snprintf(endpoint->name, sizeof endpoint->name, "%s", seen->name);
    part->name = endpoint->name;
    ++look->count;
}

static void look_at_calls(struct hf_db *db, struct hf_stats *stats)
{
    struct db_counts *counts = &db->counts;
    struct record *record = db->record;
    uint64_t calls = 0;
    for (size_t i = 0; i < GUARD_RESULTS; i++)
        calls += get(&counts->results[i]);
    const uint64_t from_cache = get(&record->from_cache);
    stats->attempts = calls - get(&counts->unattempted) + get(&counts->more_attempts);
    stats->calls = calls + from_cache;
    stats->from_cache = get(&counts->results[GUARD_SERVED_CACHED]) + from_cache;
    stats->succeeded = get(&counts->results[GUARD_SERVED]) + stats->from_cache;
    stats->failed = get(&counts->results[GUARD_FAILED]);
    stats->refused = get(&counts->results[GUARD_REFUSED]);
    stats->unknown = get(&counts->results[GUARD_UNKNOWN]);
    stats->fallbacks = get(&record->from_fallback);
    stats->retries = get(&counts->more_attempts);
    stats->held = get(&counts->held);
    stats->queued = get(&counts->queued);
    stats->cancelled = get(&counts->cancelled);
    stats->transactions = get(&record->transactions);
    stats->committed = get(&record->committed);
    stats->rolled_back = get(&record->rolled_back);
    stats->tx_retries = get(&record->tx_retries);
    stats->resolved_committed = get(&record->resolved_committed);
    stats->resolved_aborted = get(&record->resolved_aborted);
}

static void look_at_rest(struct hf_db *db, struct look *look)
{
    struct hf_stats *stats = &look->stats;
    for (size_t i = 0; i < look->count; i++) {
        stats->connects += look->pools[i].connects;
        stats->connects_failed += look->pools[i].connects_failed;
        stats->connections_recycled += look->pools[i].recycled;
    }
    if (db->cache != NULL)
        cache_stats(db->cache, &look->cache);
    stats->cache_hits = look->cache.hits;
    stats->cache_misses = look->cache.misses;
    stats->cache_stale = look->cache.stale;
    stats->cache_entries = look->cache.entries;
    stats->cache_bytes = look->cache.bytes;
    hist_mt_snapshot(&db->record->latency, &look->latency);
    stats->latency_p50_us = hist_quantile_ns(&look->latency, 0.5) / HF_US(1);
    stats->latency_p95_us = hist_quantile_ns(&look->latency, 0.95) / HF_US(1);
    stats->latency_p99_us = hist_quantile_ns(&look->latency, 0.99) / HF_US(1);
    stats->latency_max_us = hist_max_ns(&look->latency) / HF_US(1);
    /* Results that are kept lie in libpq's memory, and are counted by the cache. */
    stats->memory_bytes = mem_stats(&db->mem).bytes - sizeof *look + look->cache.bytes;
    stats->level = look->view.level;
}

/* Everything; NULL: no memory. The caller frees it. */
static struct look *look_at(struct hf_db *db)
{
    uint64_t seen = 0;
    struct look *look = mem_alloc(&db->mem, sizeof *look);
    if (look == NULL)
        return NULL;
    snapshot_init(&look->view);
    watcher_refresh(db->watcher, &seen, &look->view);
    const int64_t now_ns = clock_now();
    for (uint32_t i = 0; i < look->view.count && i < db->endpoint_count; i++)
        if (look->view.endpoints[i].name[0] != '\0')
            look_at_endpoint(db, i, now_ns, look);
    look_at_calls(db, &look->stats);
    look_at_rest(db, look);
    return look;
}

/* ---- as structs ---- */

void hf_stats(struct hf_db *db, struct hf_stats *stats)
{
    if (stats == NULL)
        return;
    memset(stats, 0, sizeof *stats);
    if (db_enter(db, NULL) != HF_SUCCESS)
        return;
    struct look *look = look_at(db);
    if (look != NULL)
        *stats = look->stats;
    mem_free(&db->mem, look);
    db_leave(db);
}

size_t hf_endpoints(struct hf_db *db, struct hf_endpoint *list, size_t max)
{
    size_t count = 0;
    if (db_enter(db, NULL) != HF_SUCCESS)
        return 0;
    struct look *look = look_at(db);
    if (look != NULL) {
        count = look->count;
        for (size_t i = 0; i < count && i < max && list != NULL; i++)
            list[i] = look->endpoints[i];
    }
    mem_free(&db->mem, look);
    db_leave(db);
    return count;
}

/* ---- as text ---- */

/* A number of struct hf_stats as a family of one sample. */
static const struct {
    const char *name;
    const char *help;
    enum promtext_type type;
    size_t offset;
} numbers[] = {
#define NUMBER(name, type, field, help)                                                            \
    {                                                                                              \
        "holdfast_" name, help, PROMTEXT_##type, offsetof(struct hf_stats, field)                  \
    }
    NUMBER("attempts_total", COUNTER, attempts, "Attempts of calls on servers."),
    NUMBER("retries_total", COUNTER, retries, "Attempts after the first one of a call."),
    NUMBER("held_total", COUNTER, held, "Calls that waited for a server that fits."),
    NUMBER("queued_total", COUNTER, queued, "Calls that waited for a place on a server."),
    NUMBER("cancelled_total", COUNTER, cancelled, "Calls that the program cancelled."),
    NUMBER("fallbacks_total", COUNTER, fallbacks, "Calls that a fallback answered."),
    NUMBER("transactions_total", COUNTER, transactions, "Transactions that were begun."),
    NUMBER("transactions_committed_total", COUNTER, committed, "Transactions that took effect."),
    NUMBER("transactions_rolled_back_total", COUNTER, rolled_back,
           "Transactions that took no effect."),
    NUMBER("transaction_retries_total", COUNTER, tx_retries, "Transactions that were run again."),
    NUMBER("resolved_committed_total", COUNTER, resolved_committed,
           "Lost COMMITs that were found to have taken effect."),
    NUMBER("resolved_aborted_total", COUNTER, resolved_aborted,
           "Lost COMMITs that were proved to have taken none."),
    NUMBER("cache_hits_total", COUNTER, cache_hits, "Calls that a fresh result answered."),
    NUMBER("cache_misses_total", COUNTER, cache_misses, "Calls for which there was none."),
    NUMBER("cache_stale_total", COUNTER, cache_stale,
           "Calls that an old result answered, since no server did."),
    NUMBER("cache_entries", GAUGE, cache_entries, "Results kept."),
    NUMBER("cache_bytes", GAUGE, cache_bytes, "Bytes of them."),
    NUMBER("memory_bytes", GAUGE, memory_bytes, "Bytes that the library keeps for the database."),
#undef NUMBER
};

static void write_calls(struct promtext *p, const struct hf_stats *stats)
{
    const struct {
        const char *result;
        uint64_t value;
    } rows[] = {
        {"served", stats->succeeded - stats->from_cache},
        {"from_cache", stats->from_cache},
        {"failed", stats->failed},
        {"refused", stats->refused},
        {"unknown", stats->unknown},
    };
    promtext_family(p, "holdfast_calls_total", PROMTEXT_COUNTER, "Calls by their end.");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct promtext_label labels[] = {{"result", rows[i].result}, {NULL, NULL}};
        promtext_u64(p, labels, rows[i].value);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        uint64_t value;
        memcpy(&value, (const char *)stats + numbers[i].offset, sizeof value);
        promtext_family(p, numbers[i].name, numbers[i].type, numbers[i].help);
        promtext_u64(p, NULL, value);
    }
}

static void write_level(struct promtext *p, int level)
{
    promtext_family(p, "holdfast_level", PROMTEXT_GAUGE,
                    "1 for the level of degradation that holds.");
    for (int i = 0; i < DEGRADE_LEVELS; i++) {
        const struct promtext_label labels[] = {{"level", hf_level_name(i)}, {NULL, NULL}};
        promtext_u64(p, labels, i == level);
    }
}

/* A number of an endpoint, negative where it is not known and then left out. */
static int64_t endpoint_number(const struct look *look, size_t i, int which)
{
    const struct hf_endpoint *endpoint = &look->endpoints[i];
    switch (which) {
    case 0:
        return strcmp(endpoint->health, "up") == 0;
    case 1:
        return strcmp(endpoint->role, "primary") == 0;
    case 2:
        return endpoint->is_drained;
    case 3:
        return endpoint->lag_bytes;
    case 4:
        return (int64_t)look->pools[i].connects;
    case 5:
        return (int64_t)look->pools[i].connects_failed;
    default:
        return (int64_t)look->pools[i].recycled;
    }
}

static void write_endpoints(struct promtext *p, const struct look *look)
{
    static const struct {
        const char *name, *help;
        enum promtext_type type;
    } families[] = {
        {"holdfast_endpoint_up", "Whether the server is well.", PROMTEXT_GAUGE},
        {"holdfast_endpoint_primary", "Whether it is the primary.", PROMTEXT_GAUGE},
        {"holdfast_endpoint_drained", "Whether it was drained by hand.", PROMTEXT_GAUGE},
        {"holdfast_endpoint_lag_bytes", "WAL that a replica has not replayed, if known.",
         PROMTEXT_GAUGE},
        {"holdfast_endpoint_connects_total", "Connections that were made.", PROMTEXT_COUNTER},
        {"holdfast_endpoint_connects_failed_total", "Connections that could not be made.",
         PROMTEXT_COUNTER},
        {"holdfast_endpoint_recycled_total",
         "Connections closed for their age, their idleness or a change of role.", PROMTEXT_COUNTER},
    };
    for (int n = 0; n < (int)(sizeof families / sizeof families[0]); n++) {
        promtext_family(p, families[n].name, families[n].type, families[n].help);
        for (size_t i = 0; i < look->count; i++) {
            const struct promtext_label labels[] = {{"endpoint", look->endpoints[i].name},
                                                    {NULL, NULL}};
            const int64_t value = endpoint_number(look, i, n);
            if (value >= 0)
                promtext_i64(p, labels, value);
        }
    }
    promtext_family(p, "holdfast_endpoint_lag_seconds", PROMTEXT_GAUGE,
                    "How old a replica's data is, if known.");
    for (size_t i = 0; i < look->count; i++) {
        const struct promtext_label labels[] = {{"endpoint", look->endpoints[i].name},
                                                {NULL, NULL}};
        if (look->endpoints[i].lag_ms >= 0)
            promtext_seconds(p, labels, HF_MS(look->endpoints[i].lag_ms));
    }
    promtext_family(p, "holdfast_endpoint_connections", PROMTEXT_GAUGE, "Open connections.");
    for (size_t i = 0; i < look->count; i++) {
        const struct promtext_label busy[] = {
            {"endpoint", look->endpoints[i].name}, {"state", "busy"}, {NULL, NULL}};
        const struct promtext_label idle[] = {
            {"endpoint", look->endpoints[i].name}, {"state", "idle"}, {NULL, NULL}};
        promtext_i64(p, busy, look->endpoints[i].busy);
        promtext_i64(p, idle, look->endpoints[i].idle);
    }
}

static void write_operations(struct promtext *p, struct operations *operations)
{
    static const char *const results[] = {"served", "from_cache", "failed", "refused", "unknown"};
    struct operation *operation;
    promtext_family(p, "holdfast_operation_calls_total", PROMTEXT_COUNTER,
                    "Calls of each operation by their end.");
    for (uint32_t cursor = 0; (operation = operations_each(operations, &cursor)) != NULL;) {
        for (size_t i = 0; i < GUARD_RESULTS; i++) {
            const struct promtext_label labels[] = {
                {"operation", operation->name}, {"result", results[i]}, {NULL, NULL}};
            promtext_u64(p, labels, get(&operation->results[i]));
        }
    }
    promtext_family(p, "holdfast_operation_seconds_total", PROMTEXT_COUNTER,
                    "Time that the calls of each operation took.");
    for (uint32_t cursor = 0; (operation = operations_each(operations, &cursor)) != NULL;) {
        const struct promtext_label labels[] = {{"operation", operation->name}, {NULL, NULL}};
        promtext_seconds(p, labels, (int64_t)get(&operation->spent_ns));
    }
}

static void write_all(struct promtext *p, const struct look *look, uint64_t dropped)
{
    const struct promtext_label version[] = {{"version", hf_version()}, {NULL, NULL}};
    promtext_family(p, "holdfast_info", PROMTEXT_GAUGE, "The library's version.");
    promtext_u64(p, version, 1);
    write_calls(p, &look->stats);
    promtext_family(p, "holdfast_call_seconds", PROMTEXT_SUMMARY, "How long calls took.");
    metrics_write_summary(p, NULL, &look->latency);
    write_level(p, look->stats.level);
    promtext_family(p, "holdfast_events_dropped_total", PROMTEXT_COUNTER,
                    "Events lost because hooks were slower than the news.");
    promtext_u64(p, NULL, dropped);
    write_endpoints(p, look);
    metrics_write_parts(p, "holdfast_endpoint", "endpoint", look->parts, look->count);
}

size_t hf_metrics(struct hf_db *db, char *text, size_t size)
{
    struct promtext p;
    promtext_init(&p, text, text != NULL ? size : 0);
    if (db_enter(db, NULL) != HF_SUCCESS)
        return 0;
    struct look *look = look_at(db);
    if (look != NULL) {
        write_all(&p, look, events_dropped(db->events));
        write_operations(&p, &db->record->operations);
    }
    mem_free(&db->mem, look);
    db_leave(db);
    return promtext_end(&p);
}

/* ---- by hand ---- */

/* The place of a server by its name; false, and `err` filled, if there is none. */
static bool find(struct hf_db *db, const char *name, uint32_t *index, struct hf_error *err)
{
    uint64_t seen = 0;
    struct snapshot view;
    snapshot_init(&view);
    watcher_refresh(db->watcher, &seen, &view);
    *index = name != NULL ? snapshot_find(&view, name) : SNAPSHOT_NO_ENDPOINT;
    if (*index < db->endpoint_count)
        return true;
    error_set(err, HF_E_USAGE, "there is no server \"%s\"", name != NULL ? name : "");
    error_hint(err, "hf_endpoints() tells the names of all.");
    return false;
}

/* Does something to a server's breaker. */
static int on_breaker(struct hf_db *db, const char *name, struct hf_error *err,
                      void (*act)(struct breaker *breaker, int64_t now_ns))
{
    uint32_t index;
    int code = db_enter(db, err);
    if (code != HF_SUCCESS)
        return code;
    if (find(db, name, &index, err))
        act(db->endpoints[index].breaker, clock_now());
    else
        code = HF_E_USAGE;
    record_news(db);
    db_leave(db);
    return code;
}

static void force_open(struct breaker *breaker, int64_t now_ns)
{
    breaker_force(breaker, BREAKER_FORCED_OPEN, now_ns);
}

static void force_closed(struct breaker *breaker, int64_t now_ns)
{
    breaker_force(breaker, BREAKER_DISABLED, now_ns);
}

int hf_breaker_force(struct hf_db *db, const char *endpoint, bool open, struct hf_error *err)
{
    return on_breaker(db, endpoint, err, open ? force_open : force_closed);
}

int hf_breaker_reset(struct hf_db *db, const char *endpoint, struct hf_error *err)
{
    return on_breaker(db, endpoint, err, breaker_reset);
}

int hf_endpoint_drain(struct hf_db *db, const char *endpoint, bool drain, struct hf_error *err)
{
    uint32_t index;
    int code = db_enter(db, err);
    if (code != HF_SUCCESS)
        return code;
    if (find(db, endpoint, &index, err))
        watcher_drain(db->watcher, index, drain);
    else
        code = HF_E_USAGE;
    db_leave(db);
    return code;
}
