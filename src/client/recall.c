#include "client/recall.h"

#include <string.h>

#include "base/bug.h"
#include "base/ns.h"
#include "client/arrays.h"
#include "client/cancel_token.h"
#include "client/db.h"
#include "os/clock.h"

/* A caller that may be cancelled looks up from its waiting so often. */
#define FOLLOW_NS HF_MS(20)

/* ---- the key ---- */

static size_t value_size(const struct arrays *arrays, int i)
{
    if (arrays->values[i] == NULL)
        return 0;
    return arrays->formats[i] == HF_BINARY ? (size_t)arrays->lengths[i] : strlen(arrays->values[i]);
}

/* Before each value stand its type, its format and its size, so that no two lists of parameters
 * give the same bytes. */
struct value_head {
    uint32_t type;
    int32_t format;
    int64_t size; /* -1: NULL */
};

static size_t key_size(const char *sql, const struct arrays *arrays)
{
    size_t size = sizeof(int32_t) + strlen(sql) + 1;
    for (int i = 0; i < arrays->count; i++)
        size += sizeof(struct value_head) + value_size(arrays, i);
    return size;
}

static char *put(char *at, const void *bytes, size_t size)
{
    if (size > 0)
        memcpy(at, bytes, size);
    return at + size;
}

static void write_key(char *at, const char *sql, const struct arrays *arrays, int32_t format)
{
    at = put(at, &format, sizeof format);
    at = put(at, sql, strlen(sql) + 1);
    for (int i = 0; i < arrays->count; i++) {
        const size_t size = value_size(arrays, i);
        const struct value_head head = {.type = arrays->types[i],
                                        .format = arrays->formats[i],
                                        .size = arrays->values[i] != NULL ? (int64_t)size : -1};
        at = put(at, &head, sizeof head);
        at = put(at, arrays->values[i], size);
    }
}

/* ---- life ---- */

static int64_t time_of(int64_t own_ms, int64_t default_ns)
{
    return own_ms > 0 ? HF_MS(own_ms) : default_ns;
}

static struct recall *make(struct hf_db *db, const char *sql, const struct arrays *arrays,
                           const struct hf_call_options *options)
{
    const size_t size = key_size(sql, arrays);
    struct recall *recall =
        size <= CACHE_KEY_MAX ? mem_alloc(&db->mem, sizeof *recall + size) : NULL;
    if (recall == NULL)
        return NULL;
    write_key(recall->key, sql, arrays, options->format);
    recall->key_size = size;
    return recall;
}

/* From when on everything that was committed must be in a fresh result. */
static int64_t newer_than(const struct route_request *route)
{
    switch (route->consistency) {
    case ROUTE_SESSION:
        /* A position alone cannot be held against an entry. */
        return route->promise.lsn != 0 ? HF_NEVER : route->promise.written_at_ns;
    case ROUTE_PRIMARY:
        return HF_NEVER;
    case ROUTE_BOUNDED:
    case ROUTE_ANY_AGE:
    case ROUTE_CONSISTENCIES:
        break;
    }
    return 0;
}

struct recall *recall_new(struct hf_db *db, const char *sql, const struct hf_params *params,
                          const struct hf_call_options *options, const struct route_request *route)
{
    struct arrays arrays;
    /* Rows that come in chunks are not kept: nobody has all of them at once. */
    if (options->cache == HF_CACHE_OFF || db->cache == NULL || options->chunk_rows != 0 ||
        route->intent != ROUTE_READ || !arrays_make(&arrays, params, &db->mem))
        return NULL;
    struct recall *recall = make(db, sql, &arrays, options);
    arrays_free(&arrays);
    if (recall == NULL)
        return NULL;
    recall->db = db;
    recall->is_first = options->cache == HF_CACHE_FIRST;
    sv_copy(sv_take(sv_from_cstr(options->operation), sizeof recall->operation - 1),
            recall->operation, sizeof recall->operation);
    recall->ask = (struct cache_ask){
        .key = sv_from(recall->key, recall->key_size),
        .operation = sv_from_cstr(recall->operation),
        .asked_ns = clock_now(),
        .ttl_ns = time_of(options->cache_ttl_ms, db->config.cache.ttl_ns),
        .stale_ns = time_of(options->cache_stale_ms, db->config.cache.stale_ns),
        .newer_ns = newer_than(route),
    };
    if (route->consistency == ROUTE_BOUNDED)
        recall->ask.ttl_ns = ns_min(recall->ask.ttl_ns, route->staleness_ns_max);
    if (!recall->is_first)
        cache_begin(db->cache, &recall->ask);
    return recall;
}

void recall_free(struct recall *recall)
{
    if (recall == NULL)
        return;
    cache_leave(recall->db->cache, &recall->ask);
    if (recall->has_found)
        recall->found.value.drop(recall->found.value.what);
    mem_free(&recall->db->mem, recall);
}

/* ---- asking and keeping ---- */

bool recall_first(struct recall *recall, bool may_wait, int64_t deadline_ns,
                  struct hf_cancel *cancel)
{
    if (recall == NULL || !recall->is_first)
        return false;
    struct cache *cache = recall->db->cache;
    enum cache_answer answer = cache_ask(cache, &recall->ask, &recall->found);
    while (answer == CACHE_FOLLOW && may_wait && clock_now() < deadline_ns &&
           !db_is_closing(recall->db) && (cancel == NULL || !cancel_token_is_fired(cancel)))
        answer = cache_follow(cache, &recall->ask, ns_min(deadline_ns, clock_now() + FOLLOW_NS),
                              &recall->found);
    recall->has_found = answer == CACHE_HIT;
    return recall->has_found;
}

bool recall_fallback(struct recall *recall)
{
    if (recall == NULL || recall->has_found)
        return recall != NULL;
    recall->has_found =
        cache_fallback(recall->db->cache, &recall->ask, clock_now(), &recall->found);
    /* Whatever its age: a server would have been asked, had there been one. */
    recall->found.is_stale = true;
    return recall->has_found;
}

struct hf_rows *recall_rows(struct recall *recall)
{
    hf_assert(recall->has_found);
    return rows_share(recall->found.value.what, recall->found.age_ns / HF_MS(1),
                      recall->found.is_stale);
}

/* Everything that was committed until then is in it; 0: not known. */
static int64_t as_of(const struct guard_call *call, const struct snapshot *view)
{
    if (call->endpoint >= view->count)
        return 0;
    if (view->endpoints[call->endpoint].role == ENDPOINT_PRIMARY)
        return call->attempt_started_ns;
    return ns_max(0, view->as_of_ns[call->endpoint]);
}

void recall_asks(struct recall *recall, const struct guard_call *call, const struct snapshot *view)
{
    recall->as_of_ns = as_of(call, view);
}

void recall_keep(struct recall *recall, struct rows_body *body)
{
    const struct cache_value value = {
        .what = body, .size = rows_body_size(body), .hold = rows_body_hold, .drop = rows_body_drop};
    if (recall != NULL)
        cache_put(recall->db->cache, &recall->ask, &value, recall->as_of_ns);
}
