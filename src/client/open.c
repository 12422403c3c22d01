#include "client/open.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/container_of.h"
#include "base/ns.h"
#include "client/alive.h"
#include "client/cache.h"
#include "client/errors.h"
#include "client/events.h"
#include "client/intents.h"
#include "client/nudge.h"
#include "client/reaper.h"
#include "client/record.h"
#include "client/start.h"
#include "client/tx_stack.h"
#include "client/where.h"
#include "core/budget_mt.h"
#include "os/clock.h"
#include "os/entropy.h"
#include "pg/watcher.h"

#define ALIGN 64 /* of what threads share: breakers, bulkheads, budgets */

/* ---- the parts, in the order in which they are made ---- */

/* Blocks of the allocator are aligned for any type, not for a cache line of their own. */
static void *alloc_aligned(struct hf_db *db, size_t size, struct hf_err *err)
{
    char *block = mem_alloc(&db->mem, size + ALIGN);
    if (block == NULL) {
        mem_refused(&db->mem, size, err);
        return NULL;
    }
    size_t shift = ALIGN - (uintptr_t)block % ALIGN;
    /* What stands before the aligned address remembers by how much it was moved. */
    block[shift - 1] = (char)shift;
    return block + shift;
}

static void free_aligned(struct hf_db *db, void *memory)
{
    if (memory == NULL)
        return;
    char *block = memory;
    mem_free(&db->mem, block - block[-1]);
}

static struct budget *make_budget(struct hf_db *db, const struct client_retry_config *retry,
                                  enum hf_rc *rc, struct hf_err *err)
{
    struct budget_config config;
    if (!options_budget(retry, &config))
        return NULL;
    struct budget *budget = alloc_aligned(db, sizeof *budget, err);
    if (budget == NULL)
        *rc = err->rc;
    else
        budget_init(budget, &config, clock_now());
    return budget;
}

/* At most so many calls wait for a server that fits: as many as could run and queue in all. */
static enum hf_rc make_hold(struct hf_db *db, struct hf_err *err)
{
    struct bulkhead_config config = bulkhead_config_default();
    options_bulkhead(&db->config, 0, &config);
    config.limit = (uint32_t)ns_min(config.limit + config.queue_max, BULKHEAD_LIMIT_MAX);
    config.queue_max = 0;
    config.is_adaptive = false;
    config.has_histograms = false;
    config.exec_ns_max = HF_NEVER;
    void *memory = alloc_aligned(db, bulkhead_size(&config), err);
    if (memory == NULL)
        return err->rc;
    db->hold = bulkhead_init(memory, &config, clock_now());
    return HF_OK;
}

static enum hf_rc make_guards(struct hf_db *db, struct hf_err *err)
{
    enum hf_rc rc = HF_OK;
    struct guard_config config;
    db->ladder = degrade_config_default();
    db->patient = db->ladder;
    db->patient.fallback[DEGRADE_CACHED_ONLY][DEGRADE_READ] = DEGRADE_FALLBACK_WAIT;
    options_policy(&db->config, &db->policy);
    options_guard(&db->config, &db->config.retry, &config);
    config.ladder = &db->patient;
    guard_init(&db->guard, &config);
    options_guard(&db->config, &db->config.tx_retry, &config);
    config.ladder = &db->patient;
    guard_init(&db->tx_guard, &config);
    db->budget = make_budget(db, &db->config.retry, &rc, err);
    if (rc == HF_OK)
        db->tx_budget = make_budget(db, &db->config.tx_retry, &rc, err);
    if (rc == HF_OK)
        rc = make_hold(db, err);
    db->guard.budget = db->budget;
    db->guard.hold = db->hold;
    db->tx_guard.budget = db->tx_budget;
    db->tx_guard.hold = db->hold;
    db->lease_guard = db->guard;
    db->cached_guard = db->guard;
    db->cached_guard.config.ladder = &db->ladder;
    return rc;
}

/* What is said of a host, by its name; NULL: nothing. */
static const struct client_endpoint_config *said_of(const struct hf_db *db, const char *name)
{
    for (size_t i = 0; i < db->config.endpoint_count; i++) {
        if (strcmp(db->config.endpoints[i].name, name) == 0)
            return &db->config.endpoints[i];
    }
    return NULL;
}

static enum hf_rc make_endpoint(struct hf_db *db, uint32_t index, const char *name,
                                struct hf_err *err)
{
    struct db_endpoint *endpoint = &db->endpoints[index];
    const struct client_endpoint_config *said = said_of(db, name);
    struct breaker_config breaker;
    struct bulkhead_config bulkhead;
    memcpy(endpoint->name, name, sizeof endpoint->name);
    pthread_mutex_init(&endpoint->queue_lock, NULL);
    pool_init(&endpoint->pool, &db->config.pool, &db->mem, db->secret);
    options_breaker(&db->config, &breaker);
    options_bulkhead(&db->config, said != NULL ? said->concurrent_max : 0, &bulkhead);
    db->endpoint_count = index + 1;
    void *memory = alloc_aligned(db, breaker_size(&breaker), err);
    if (memory == NULL)
        return err->rc;
    endpoint->breaker =
        breaker_init(memory, &breaker, rng_hash(db->seed, 100 + index), clock_now());
    if (db->config.breaker.is_disabled)
        breaker_force(endpoint->breaker, BREAKER_DISABLED, clock_now());
    memory = alloc_aligned(db, bulkhead_size(&bulkhead), err);
    if (memory == NULL)
        return err->rc;
    endpoint->bulkhead = bulkhead_init(memory, &bulkhead, clock_now());
    struct guard_endpoint use = {.breaker = endpoint->breaker, .bulkhead = endpoint->bulkhead};
    db->guard.endpoints[index] = use;
    db->cached_guard.endpoints[index] = use;
    db->tx_guard.endpoints[index] = use;
    use.breaker = NULL;
    db->lease_guard.endpoints[index] = use;
    return HF_OK;
}

/* Servers that are learnt later take places that are ready for them. */
static enum hf_rc make_endpoints(struct hf_db *db, const struct where *where, struct hf_err *err)
{
    bool learns = db->config.route.follow_replicas || db->config.route.patroni[0] != '\0';
    size_t count = learns ? SNAPSHOT_ENDPOINTS_MAX : where->count;
    static const char unknown[SNAPSHOT_NAME_BYTES];
    for (uint32_t i = 0; i < count; i++) {
        const char *name = i < where->count ? where->hosts[i].name : unknown;
        if (make_endpoint(db, i, name, err) != HF_OK)
            return err->rc;
    }
    return HF_OK;
}

/* Zones are numbers in a snapshot: those of the endpoints in the order in which they are named. */
static uint8_t zone_number(const struct hf_db *db, const char *zone)
{
    if (zone[0] == '\0')
        return 0;
    for (uint8_t i = 0; i < db->config.endpoint_count; i++) {
        if (strcmp(db->config.endpoints[i].zone, zone) == 0)
            return (uint8_t)(i + 1 < SNAPSHOT_ZONES_MAX ? i + 1 : 0);
    }
    return 0;
}

static enum hf_rc make_watcher(struct hf_db *db, const struct where *where, struct hf_err *err)
{
    struct watcher_endpoint endpoints[SNAPSHOT_ENDPOINTS_MAX];
    for (size_t i = 0; i < where->count; i++) {
        const struct where_host *host = &where->hosts[i];
        const struct client_endpoint_config *said = said_of(db, host->name);
        endpoints[i] = (struct watcher_endpoint){
            .host = host->host,
            .hostaddr = host->hostaddr[0] != '\0' ? host->hostaddr : NULL,
            .port = host->port,
        };
        if (said != NULL) {
            endpoints[i].weight = (uint16_t)said->weight;
            endpoints[i].tier = (uint8_t)said->priority;
            endpoints[i].zone = zone_number(db, said->zone);
        }
    }
    db->zone = zone_number(db, db->config.route.zone);
    struct watcher_config config = {
        .conninfo = db->conninfo,
        .endpoints = endpoints,
        .endpoint_count = where->count,
        .topology = {.interval_ns = db->config.route.interval_ns},
        .sampler = {.interval_ns = db->config.route.interval_ns},
        .patroni_url = db->config.route.patroni[0] != '\0' ? db->config.route.patroni : NULL,
        .follow_replicas = db->config.route.follow_replicas,
    };
    return watcher_new(&db->watcher, &config, &db->mem, err);
}

static enum hf_rc make_rest(struct hf_db *db, const struct hf_hooks *hooks, struct hf_err *err)
{
    enum hf_rc rc = events_new(&db->events, hooks, &db->mem, err);
    if (rc == HF_OK)
        rc = record_new(&db->record, db, err);
    if (rc == HF_OK)
        rc = intents_new(&db->intents, &db->mem, db->secret, err);
    if (rc == HF_OK && db->config.cache.bytes_max > 0) {
        struct cache_config config = {.bytes_max = (size_t)db->config.cache.bytes_max,
                                      .seed = rng_hash(db->seed, 1000)};
        rc = cache_new(&db->cache, &config, &db->mem, err);
    }
    return rc;
}

/* ---- life ---- */

static void free_calls(struct hf_db *db)
{
    struct list_node *node;
    while ((node = list_pop_front(&db->calls)) != NULL) {
        struct call *call = container_of(node, struct call, all);
        if (call->wake_fd >= 0)
            close(call->wake_fd);
        mem_free(&db->mem, call->own_view);
        mem_free(&db->mem, call);
    }
}

static void free_memory(struct hf_db *db)
{
    free_calls(db);
    for (uint32_t i = 0; i < db->endpoint_count; i++) {
        free_aligned(db, db->endpoints[i].breaker);
        free_aligned(db, db->endpoints[i].bulkhead);
    }
    intents_free(db->intents, &db->mem);
    free_aligned(db, db->hold);
    free_aligned(db, db->budget);
    free_aligned(db, db->tx_budget);
    cache_free(db->cache);
    record_free(db->record, db);
    events_free(db->events);
    alive_free(db->alive);
}

static void destroy(struct hf_db *db)
{
    nudge_free(db->nudge);
    reaper_free(db->reaper);
    for (uint32_t i = 0; i < db->endpoint_count; i++) {
        pool_deinit(&db->endpoints[i].pool);
        pthread_mutex_destroy(&db->endpoints[i].queue_lock);
    }
    watcher_free(db->watcher);
    session_deinit(&db->session);
    txs_deinit(&db->txs);
    pthread_cond_destroy(&db->quiet);
    pthread_mutex_destroy(&db->lock);
    free_memory(db);
    mem_deinit(&db->mem);
    explicit_bzero(db, sizeof *db);
    free(db);
}

/* The root of everything else: the allocator lives inside it, so it comes from the C library. */
static struct hf_db *new_root(const struct client_config *config)
{
    struct hf_db *db = calloc(1, sizeof *db);
    if (db == NULL)
        return NULL;
    mem_init(&db->mem, config->memory_max > 0 ? (size_t)config->memory_max : 0);
    db->config = *config;
    db->seed = entropy_seed();
    db->secret = entropy_seed();
    pthread_mutex_init(&db->lock, NULL);
    pthread_cond_init(&db->quiet, NULL);
    list_init(&db->free_calls);
    list_init(&db->calls);
    list_init(&db->watching);
    txs_init(&db->txs);
    session_init(&db->session, db);
    return db;
}

static enum hf_rc build(struct hf_db *db, const struct hf_hooks *hooks, struct where *where,
                        struct hf_err *err)
{
    db->alive = alive_new(err);
    if (db->alive == NULL)
        return err->rc;
    enum hf_rc rc = make_guards(db, err);
    if (rc == HF_OK)
        rc = make_endpoints(db, where, err);
    if (rc == HF_OK)
        rc = make_rest(db, hooks, err);
    if (rc == HF_OK)
        rc = make_watcher(db, where, err);
    if (rc == HF_OK)
        rc = reaper_new(&db->reaper, db, err);
    if (rc == HF_OK)
        rc = nudge_new(&db->nudge, db, err);
    return rc;
}

static int open_where(struct hf_db **out, const struct client_config *config,
                      const struct hf_hooks *hooks, struct where *where, struct hf_error *err)
{
    struct hf_err why;
    if (where_parse(where, config->conninfo, &why) != HF_OK)
        return error_from_err(err, HF_E_CONFIG, &why);
    struct hf_db *db = new_root(config);
    if (db == NULL)
        return error_set(err, HF_E_MEMORY, "out of memory for a database");
    memcpy(db->conninfo, where->conninfo, sizeof db->conninfo);
    options_wipe(&db->config);
    int code = HF_SUCCESS;
    enum hf_rc rc = build(db, hooks, where, &why);
    if (rc != HF_OK)
        code = error_from_err(err, rc == HF_RC_LIMIT ? HF_E_MEMORY : HF_E_CONFIG, &why);
    if (code == HF_SUCCESS && config->start_ns > 0)
        code = start_wait(db, config->start_ns, hooks, err);
    if (code != HF_SUCCESS) {
        destroy(db);
        return code;
    }
    *out = db;
    return HF_SUCCESS;
}

int db_open(struct hf_db **db, const struct client_config *config, const struct hf_hooks *hooks,
            struct hf_error *err)
{
    struct where where;
    int code = open_where(db, config, hooks, &where, err);
    explicit_bzero(&where, sizeof where);
    return code;
}

/* ---- closing ---- */

/* In a child after fork(): the threads are not there, the locks are in whatever state they were,
 * and the connections are the parent's. */
static void forget(struct hf_db *db)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (uint32_t i = 0; i < db->endpoint_count; i++)
        pool_forget(&db->endpoints[i].pool, null_fd);
    if (null_fd >= 0)
        close(null_fd);
    reaper_forget(db->reaper);
    nudge_forget(db->nudge);
    watcher_free(db->watcher);
    cache_forget(db->cache);
    db->cache = NULL;
    free_memory(db);
    /* What else was allocated belonged to calls of the parent's other threads. */
    explicit_bzero(db, sizeof *db);
    free(db);
}

void hf_close(struct hf_db *db)
{
    if (db == NULL)
        return;
    if (db_is_forked(db)) {
        forget(db);
        return;
    }
    tx_stack_sweep();
    bool is_quiet = atomic_fetch_or(&db->inside, DB_CLOSING) == 0;
    txs_reap(db, clock_now(), true);
    pthread_mutex_lock(&db->lock);
    list_for_each(node, &db->calls)
        call_wake(container_of(node, struct call, all), CALL_NEWS_CLOSING);
    while (!is_quiet && !db->is_quiet)
        pthread_cond_wait(&db->quiet, &db->lock);
    pthread_mutex_unlock(&db->lock);
    destroy(db);
}
