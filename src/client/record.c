#include "client/record.h"

#include <stdio.h>
#include <string.h>

#include "base/ns.h"
#include "client/db.h"
#include "client/events.h"
#include "core/breaker_mt.h"
#include "core/bulkhead_mt.h"
#include "core/degrade.h"
#include "os/clock.h"
#include "pg/watcher.h"

enum hf_rc record_new(struct record **out, struct hf_db *db, struct hf_err *err)
{
    struct record *record = mem_alloc(&db->mem, sizeof *record);
    *out = NULL;
    if (record == NULL)
        return mem_refused(&db->mem, sizeof *record, err);
    hist_mt_init(&record->latency);
    pthread_mutex_init(&record->news_lock, NULL);
    fallbacks_init(&record->fallbacks, &db->mem);
    operations_init(&record->operations, &db->mem);
    *out = record;
    return HF_OK;
}

void record_free(struct record *record, struct hf_db *db)
{
    if (record == NULL)
        return;
    fallbacks_deinit(&record->fallbacks);
    operations_deinit(&record->operations);
    pthread_mutex_destroy(&record->news_lock);
    mem_free(&db->mem, record);
}

/* ---- breakers ---- */

/* Under news_lock. */
HF_COLD static void tell_breaker_locked(struct hf_db *db, uint32_t index)
{
    struct record_endpoint *told = &db->record->endpoints[index];
    const struct db_endpoint *endpoint = &db->endpoints[index];
    struct breaker_change change;
    struct watcher_target target; /* has a name if it was learnt later, too */
    const bool is_there = watcher_target(db->watcher, index, &target);
    atomic_store(&told->breaker_changes, breaker_generation(endpoint->breaker));
    while (breaker_changes_next(endpoint->breaker, &told->breaker_cursor, &change))
        events_tell(db->events, change.at_ns,
                    &(struct hf_event){.kind = HF_EVENT_BREAKER,
                                       .name = is_there ? target.name : endpoint->name,
                                       .from = breaker_state_name(change.from),
                                       .to = breaker_state_name(change.to),
                                       .detail = breaker_cause_text(change.cause)});
}

static bool has_changed(const struct hf_db *db, uint32_t index)
{
    return breaker_generation(db->endpoints[index].breaker) !=
           atomic_load_explicit(&db->record->endpoints[index].breaker_changes,
                                memory_order_relaxed);
}

/* ---- a call ---- */

static const char *name_of(const struct call *call, uint32_t endpoint)
{
    const struct snapshot *view = &call->view->snapshot;
    return endpoint < view->count ? view->endpoints[endpoint].name : "";
}

/* Full when calls are refused there, free again when a call is served and leaves room. */
static bool tell_bulkhead(struct hf_db *db, const struct call *call, uint32_t index)
{
    struct record_endpoint *told = &db->record->endpoints[index];
    struct bulkhead *bulkhead = db->endpoints[index].bulkhead;
    const enum guard_why why = call->guard.reason.why;
    struct hf_event event = {.kind = HF_EVENT_BULKHEAD, .name = name_of(call, index)};
    if (why == GUARD_WHY_BULKHEAD_FULL || why == GUARD_WHY_QUEUE_TIMEOUT) {
        if (atomic_exchange(&told->was_full, true))
            return false;
        event.to = "full";
        event.detail = "calls are refused, or wait in vain for a place";
    } else {
        if (!atomic_load_explicit(&told->was_full, memory_order_relaxed) ||
            bulkhead_in_use(bulkhead) >= bulkhead_limit(bulkhead) ||
            !atomic_exchange(&told->was_full, false))
            return false;
        event.to = "free";
        event.detail = "there are places again";
    }
    events_tell(db->events, call->guard.now_ns, &event);
    return true;
}

HF_COLD static bool tell_slow(struct hf_db *db, const struct call *call, int64_t took_ns)
{
    char detail[160];
    if (took_ns < db->config.slow_ns)
        return false;
    snprintf(detail, sizeof detail,
             "%u attempts; waited %lld ms, connecting %lld ms, server %lld ms, backoff %lld ms",
             call->guard.attempts, (long long)(call->spent_ns[CALL_SPEND_QUEUED] / HF_MS(1)),
             (long long)(call->spent_ns[CALL_SPEND_CONNECTING] / HF_MS(1)),
             (long long)(call->spent_ns[CALL_SPEND_SERVER] / HF_MS(1)),
             (long long)(call->spent_ns[CALL_SPEND_BACKOFF] / HF_MS(1)));
    events_tell(db->events, call->guard.now_ns,
                &(struct hf_event){.kind = HF_EVENT_SLOW,
                                   .name = name_of(call, call->guard.reason.endpoint),
                                   .detail = detail,
                                   .duration_ms = took_ns / HF_MS(1)});
    return true;
}

void record_call(const struct call *call)
{
    struct hf_db *db = call->db;
    const int64_t took_ns = call->guard.now_ns - call->started_ns;
    hist_mt_record(&db->record->latency, took_ns);
    operations_count(call->operation, call->result, took_ns);
    if (!events_wants(db->events))
        return;
    bool is_told = tell_slow(db, call, took_ns);
    const uint32_t endpoint = call->guard.reason.endpoint;
    if (endpoint < db->endpoint_count) {
        is_told |= tell_bulkhead(db, call, endpoint);
        if (has_changed(db, endpoint)) {
            pthread_mutex_lock(&db->record->news_lock);
            tell_breaker_locked(db, endpoint);
            pthread_mutex_unlock(&db->record->news_lock);
            is_told = true;
        }
    }
    if (is_told)
        events_deliver(db->events);
}

void record_retry(const struct call *call)
{
    struct hf_db *db = call->db;
    const struct guard_reason *reason = &call->guard.reason;
    struct hf_err told;
    char detail[320];
    if (call->guard.state != GUARD_BACKOFF || reason->why != GUARD_WHY_RETRY ||
        !events_wants(db->events))
        return;
    guard_reason_error(reason, &call->view->snapshot, &told);
    snprintf(detail, sizeof detail, "%s: attempt %u, the next one in %lld ms", told.message,
             reason->attempts, (long long)(ns_max(0, reason->until_ns - reason->at_ns) / HF_MS(1)));
    events_tell(db->events, reason->at_ns,
                &(struct hf_event){.kind = HF_EVENT_RETRY,
                                   .name = name_of(call, reason->endpoint),
                                   .detail = detail});
    events_deliver(db->events);
}

void record_transaction(const struct call *call, bool was_commit)
{
    struct record *record = call->db->record;
    const uint32_t attempts = call->guard.attempts;
    if (attempts == 0)
        return; /* it was never begun */
    record_count(&record->transactions);
    atomic_fetch_add_explicit(&record->tx_retries, attempts - 1, memory_order_relaxed);
    if (call->result == GUARD_SERVED && was_commit)
        record_count(&record->committed);
    else if (call->result != GUARD_UNKNOWN)
        record_count(&record->rolled_back);
}

void record_resolved(const struct call *call, enum guard_resolution resolution)
{
    static const char *const words[] = {"committed", "aborted", "unknown"};
    struct hf_db *db = call->db;
    struct record *record = db->record;
    record_count(resolution == GUARD_COMMITTED ? &record->resolved_committed
                 : resolution == GUARD_ABORTED ? &record->resolved_aborted
                                               : &record->resolved_unknown);
    events_tell(db->events, call->guard.now_ns,
                &(struct hf_event){.kind = HF_EVENT_RESOLVED,
                                   .name = name_of(call, call->guard.endpoint),
                                   .to = words[resolution],
                                   .detail = "the answer to a COMMIT was lost"});
    events_deliver(db->events);
}

/* ---- the cluster ---- */

/* How a piece of the watcher's news is told; `to` NULL: it concerns nobody outside. */
static void describe(const struct watcher_news *news, struct hf_event *event)
{
    const struct topology_action *what = &news->what;
    *event = (struct hf_event){.name = news->name, .detail = news->text};
    switch (what->kind) {
    case TOPOLOGY_NEWS_UP:
    case TOPOLOGY_NEWS_SUSPECT:
    case TOPOLOGY_NEWS_DOWN:
        event->kind = HF_EVENT_ENDPOINT;
        event->from = endpoint_health_name(what->was);
        event->to = endpoint_health_name(what->health);
        break;
    case TOPOLOGY_NEWS_ADDED:
    case TOPOLOGY_NEWS_REMOVED:
        event->kind = HF_EVENT_ENDPOINT;
        event->to = what->kind == TOPOLOGY_NEWS_ADDED ? "added" : "removed";
        break;
    case TOPOLOGY_NEWS_ROLE:
        event->kind = HF_EVENT_ROLE;
        event->from = endpoint_role_name(what->old_role);
        event->to = endpoint_role_name(what->role);
        break;
    case TOPOLOGY_NEWS_FENCED:
    case TOPOLOGY_NEWS_RIVALS:
        event->kind = HF_EVENT_ROLE;
        event->to = "fenced";
        break;
    case TOPOLOGY_NEWS_FOREIGN:
    case TOPOLOGY_NEWS_ALIAS:
    case TOPOLOGY_NEWS_CORRUPT:
        event->kind = HF_EVENT_ROLE;
        event->to = "refused";
        break;
    case TOPOLOGY_NEWS_LEVEL:
        event->kind = HF_EVENT_LEVEL;
        event->from = degrade_level_name(what->change.from);
        event->to = degrade_level_name(what->change.to);
        break;
    case TOPOLOGY_ACT_PUBLISH:
    case TOPOLOGY_ACT_ASK:
    case TOPOLOGY_NEWS_LOST:
        break;
    }
}

void record_news(struct hf_db *db)
{
    struct watcher_news news;
    struct hf_event event;
    if (!events_wants(db->events))
        return;
    pthread_mutex_lock(&db->record->news_lock);
    while (watcher_news(db->watcher, &db->record->watcher_cursor, &news, NULL)) {
        describe(&news, &event);
        if (event.to != NULL)
            events_tell(db->events, news.what.at_ns, &event);
    }
    for (uint32_t i = 0; i < db->endpoint_count; i++)
        if (has_changed(db, i))
            tell_breaker_locked(db, i);
    pthread_mutex_unlock(&db->record->news_lock);
    events_deliver(db->events);
}
