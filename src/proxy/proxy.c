#include "proxy/proxy.h"

#include <stdio.h>
#include <unistd.h>

#include "base/bug.h"
#include "core/breaker_mt.h"
#include "core/bulkhead_mt.h"
#include "net/resolve.h"
#include "os/clock.h"
#include "os/entropy.h"
#include "os/sys.h"
#include "proxy/access.h"
#include "proxy/admin.h"
#include "proxy/kernel.h"
#include "proxy/listen_hub.h"
#include "proxy/peers.h"
#include "proxy/pool.h"
#include "proxy/secure.h"
#include "proxy/share.h"
#include "proxy/sockets.h"
#include "proxy/worker.h"

#define SETTINGS_ENTRIES 20000
#define SETTINGS_BYTES   (8 << 20)

/* ---- shared by workers ---- */

/* Connections of all pools with the same database (or role); under the lock. */
static uint32_t count_same(const struct proxy *proxy, const struct pool *like, bool by_role)
{
    uint32_t count = 0;
    for (const struct pool *pool = proxy->pools; pool != NULL; pool = pool->next) {
        struct sv name = sv_from_cstr(by_role ? pool->role : pool->name);
        if (sv_eq(name, sv_from_cstr(by_role ? like->role : like->name)))
            count += pool->server_count;
    }
    return count;
}

static bool share_takes(struct proxy *proxy, const struct proxy_config *config)
{
    share_resize(proxy->share, (uint32_t)config->budget.connections);
    return share_try(proxy->share);
}

bool proxy_budget_try(struct proxy *proxy, struct pool *pool, const struct proxy_config *config,
                      struct hf_err *err)
{
    const struct proxy_database *database = proxy_database_find(config, sv_from_cstr(pool->name));
    const struct proxy_role *role = proxy_role_get(config, sv_from_cstr(pool->role));
    int64_t of_all = config->limits.server_connections_max;
    int64_t of_database = database != NULL ? database->server_connections_max : 0;
    int64_t of_role = role->server_connections_max;
    const char *what = NULL;
    pthread_mutex_lock(&proxy->lock);
    if (of_all > 0 && atomic_load(&proxy->server_count) >= (uint32_t)of_all)
        what = "limits.server_connections_max";
    else if (of_database > 0 && count_same(proxy, pool, false) >= (uint32_t)of_database)
        what = "server_connections_max of the database";
    else if (of_role > 0 && count_same(proxy, pool, true) >= (uint32_t)of_role)
        what = "server_connections_max of the role";
    if (what == NULL && proxy->share != NULL && !share_takes(proxy, config))
        what = "server_budget.connections, of all processes together,";
    if (what == NULL) {
        atomic_fetch_add(&proxy->server_count, 1);
        pool->server_count++;
    }
    pthread_mutex_unlock(&proxy->lock);
    if (what == NULL)
        return true;
    atomic_store(&proxy->wanted, 1);
    err_set(err, HF_RC_LIMIT, "53300", "too many server connections");
    err_detail(err, "%s is reached, and none of them is idle.", what);
    return false;
}

void proxy_budget_return(struct proxy *proxy, struct pool *pool)
{
    pthread_mutex_lock(&proxy->lock);
    if (proxy->share != NULL)
        share_return(proxy->share);
    atomic_fetch_sub(&proxy->server_count, 1);
    pool->server_count--;
    pthread_mutex_unlock(&proxy->lock);
}

static uint64_t tally_hash(const struct proxy *proxy, enum proxy_tally kind, struct sv name)
{
    return rng_mix(hash_bytes(&proxy->hash_key, name) + (uint64_t)kind);
}

bool proxy_tally_try(struct proxy *proxy, enum proxy_tally kind, struct sv name, int64_t limit)
{
    uint64_t hash = tally_hash(proxy, kind, name);
    pthread_mutex_lock(&proxy->lock);
    bool is_in = tally_try(&proxy->clients, hash, (uint32_t)limit);
    pthread_mutex_unlock(&proxy->lock);
    return is_in;
}

void proxy_tally_return(struct proxy *proxy, enum proxy_tally kind, struct sv name)
{
    uint64_t hash = tally_hash(proxy, kind, name);
    pthread_mutex_lock(&proxy->lock);
    tally_return(&proxy->clients, hash);
    pthread_mutex_unlock(&proxy->lock);
}

uint32_t proxy_tally_count(struct proxy *proxy, enum proxy_tally kind, struct sv name)
{
    uint64_t hash = tally_hash(proxy, kind, name);
    pthread_mutex_lock(&proxy->lock);
    uint32_t count = tally_count(&proxy->clients, hash);
    pthread_mutex_unlock(&proxy->lock);
    return count;
}

static struct endpoint *endpoint_new(struct proxy *proxy, const struct proxy_host *host)
{
    struct breaker_config breaker = breaker_config_default();
    struct bulkhead_config connects = bulkhead_config_default();
    breaker.open_ns =
        HF_MS(250); /* connecting is cheap to try, and one try at a time is no storm */
    breaker.open_ns_max = HF_SEC(5);
    breaker.open_growth_ppm = 2000000;
    breaker.half_open_calls = 1;
    breaker.success_threshold = 1;
    connects.limit = (uint32_t)proxy->config->limits.server_connects_max;
    connects.queue_max = 0;
    connects.exec_ns_max = HF_NEVER;
    connects.has_histograms = false;
    size_t size = sizeof(struct endpoint) + breaker_size(&breaker) + bulkhead_size(&connects) +
                  (size_t)2 * BREAKER_ALIGN;
    char *memory = mem_alloc(proxy->mem, size);
    struct endpoint *endpoint = (struct endpoint *)(void *)memory;
    if (endpoint == NULL)
        return NULL;
    uintptr_t at = (uintptr_t)memory + sizeof *endpoint;
    at = (at + BREAKER_ALIGN - 1) / BREAKER_ALIGN * BREAKER_ALIGN;
    endpoint->breaker = breaker_init((void *)at, &breaker, entropy_seed(), clock_now());
    at += breaker_size(&breaker);
    at = (at + BULKHEAD_ALIGN - 1) / BULKHEAD_ALIGN * BULKHEAD_ALIGN;
    endpoint->connects = bulkhead_init((void *)at, &connects, clock_now());
    sv_copy(sv_from_cstr(host->name), endpoint->host, sizeof endpoint->host);
    endpoint->port = host->port;
    return endpoint;
}

static bool is_host(const struct endpoint *endpoint, const struct proxy_host *host)
{
    return endpoint->port == host->port &&
           sv_eq(sv_from_cstr(endpoint->host), sv_from_cstr(host->name));
}

static bool is_configured(const struct proxy_config *config, const struct endpoint *endpoint)
{
    for (uint32_t i = 0; i < config->database_count; i++)
        for (uint32_t j = 0; j < config->databases[i].host_count; j++)
            if (is_host(endpoint, &config->databases[i].hosts[j]))
                return true;
    return false;
}

/* Forgets those that reloads have removed. */
static void sweep_endpoints(struct proxy *proxy)
{
    const struct proxy_config *config = atomic_load(&proxy->config);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < proxy->endpoint_count; i++) {
        struct endpoint *endpoint = proxy->endpoints[i];
        if (atomic_load(&endpoint->holders) > 0 || is_configured(config, endpoint))
            proxy->endpoints[kept++] = endpoint;
        else
            mem_free(proxy->mem, endpoint);
    }
    proxy->endpoint_count = kept;
}

void proxy_configure(struct proxy *proxy)
{
    const struct proxy_limits *limits = &atomic_load(&proxy->config)->limits;
    pthread_mutex_lock(&proxy->lock);
    sweep_endpoints(proxy);
    /* Nobody waits in these bulkheads, so only who resizes them needs a lock. */
    for (uint32_t i = 0; i < proxy->endpoint_count; i++)
        bulkhead_resize(proxy->endpoints[i]->connects, (uint32_t)limits->server_connects_max,
                        clock_now());
    statements_set_max(&proxy->statements, (size_t)limits->prepared_memory);
    pthread_mutex_unlock(&proxy->lock);
}

struct endpoint *proxy_endpoint(struct proxy *proxy, const struct proxy_host *host)
{
    struct endpoint *found = NULL;
    pthread_mutex_lock(&proxy->lock);
    for (uint32_t i = 0; i < proxy->endpoint_count && found == NULL; i++) {
        if (is_host(proxy->endpoints[i], host))
            found = proxy->endpoints[i];
    }
    if (found == NULL && proxy->endpoint_count == PROXY_ENDPOINTS_MAX)
        sweep_endpoints(proxy); /* that were held when the reload came */
    if (found == NULL && proxy->endpoint_count < PROXY_ENDPOINTS_MAX) {
        found = endpoint_new(proxy, host);
        if (found != NULL)
            proxy->endpoints[proxy->endpoint_count++] = found;
    }
    if (found != NULL)
        proxy_endpoint_keep(found);
    pthread_mutex_unlock(&proxy->lock);
    return found;
}

void proxy_endpoint_keep(struct endpoint *endpoint)
{
    atomic_fetch_add(&endpoint->holders, 1);
}

void proxy_endpoint_drop(struct endpoint *endpoint)
{
    const uint32_t before = atomic_fetch_sub(&endpoint->holders, 1);
    hf_assert(before > 0);
}

bool proxy_is_disabled(struct proxy *proxy, struct sv database)
{
    pthread_mutex_lock(&proxy->lock);
    bool is_disabled = (gates_find(&proxy->gates, database) & GATE_DISABLED) != 0;
    pthread_mutex_unlock(&proxy->lock);
    return is_disabled;
}

struct access *proxy_access(struct proxy *proxy)
{
    pthread_mutex_lock(&proxy->lock);
    struct access *access = access_hold(proxy->access);
    pthread_mutex_unlock(&proxy->lock);
    return access;
}

void proxy_settings_keep(struct proxy *proxy, uint32_t set)
{
    if (set == 0)
        return;
    pthread_mutex_lock(&proxy->lock);
    settings_keep(&proxy->settings, set);
    pthread_mutex_unlock(&proxy->lock);
}

void proxy_settings_drop(struct proxy *proxy, uint32_t set)
{
    if (set == 0)
        return;
    pthread_mutex_lock(&proxy->lock);
    settings_drop(&proxy->settings, set);
    pthread_mutex_unlock(&proxy->lock);
}

bool proxy_settings_harmless(struct proxy *proxy, uint32_t set)
{
    bool is_harmless = true;
    uint32_t cursor = 0;
    struct sv name, value;
    if (set == 0)
        return true;
    pthread_mutex_lock(&proxy->lock);
    while (is_harmless && settings_each(&proxy->settings, set, &cursor, &name, &value))
        is_harmless = sv_eq(name, SV("application_name")) && value.size < 64;
    pthread_mutex_unlock(&proxy->lock);
    return is_harmless;
}

/* ---- begin and end ---- */

/* What the console reports to drivers. Some decide by server_version what they may ask, and give up
 * on PgBouncer's, which is no version of PostgreSQL; the first number is all they look at. */
static bool tell_console(struct proxy *proxy)
{
    char version[80];
    struct settings_edit edit = settings_edit_begin(&proxy->settings, 0);
    snprintf(version, sizeof version, "15.0 (Holdfast %s)", proxy->version);
    settings_edit_put(&edit, SV("server_version"), sv_from_cstr(version));
    settings_edit_put(&edit, SV("client_encoding"), SV("UTF8"));
    settings_edit_put(&edit, SV("server_encoding"), SV("UTF8"));
    settings_edit_put(&edit, SV("DateStyle"), SV("ISO"));
    settings_edit_put(&edit, SV("TimeZone"), SV("GMT"));
    settings_edit_put(&edit, SV("standard_conforming_strings"), SV("on"));
    settings_edit_put(&edit, SV("is_superuser"), SV("on"));
    return settings_edit_end(&edit, &proxy->console_told) == HF_OK;
}

static enum hf_rc make_shared(struct proxy *proxy, struct hf_err *err)
{
    struct settings_config config = {.entries_max = SETTINGS_ENTRIES,
                                     .bytes_max = SETTINGS_BYTES,
                                     .key = hash_key_from_seed(entropy_seed())};
    proxy->settings_memory = mem_alloc(proxy->mem, settings_size(&config));
    if (proxy->settings_memory == NULL)
        return mem_refused(proxy->mem, settings_size(&config), err);
    settings_init(&proxy->settings, proxy->settings_memory, &config);
    if (!tell_console(proxy))
        return mem_refused(proxy->mem, settings_size(&config), err);
    proxy->hash_key = hash_key_from_seed(entropy_seed());
    uint32_t names = 3 * ((uint32_t)proxy->config->limits.clients_max + ADMIN_PLACES + 1);
    proxy->clients_memory = mem_alloc(proxy->mem, tally_size(names));
    if (proxy->clients_memory == NULL)
        return mem_refused(proxy->mem, tally_size(names), err);
    tally_init(&proxy->clients, proxy->clients_memory, names);
    proxy->listens = listens_new(proxy);
    if (proxy->listens == NULL)
        return mem_refused(proxy->mem, sizeof *proxy->listens, err);
    statements_init(&proxy->statements, hash_key_from_seed(entropy_seed()),
                    (size_t)proxy->config->limits.prepared_memory);
    return HF_OK;
}

static uint32_t count_workers(const struct proxy_config *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t count = config->proxy.workers > 0 ? config->proxy.workers : cores;
    return count < 1 ? 1 : count > PROXY_WORKERS_MAX ? PROXY_WORKERS_MAX : (uint32_t)count;
}

static enum hf_rc start_workers(struct proxy *proxy, struct hf_err *err)
{
    uint32_t count = count_workers(proxy->config);
    enum hf_rc rc = sockets_open(proxy->sockets, proxy->config, count, err);
    if (rc != HF_OK)
        return rc;
    proxy->workers = mem_alloc_array(proxy->mem, count, sizeof *proxy->workers);
    if (proxy->workers == NULL)
        return mem_refused(proxy->mem, count * sizeof *proxy->workers, err);
    proxy->worker_count = count;
    for (uint32_t i = 0; rc == HF_OK && i < count; i++)
        rc = worker_make(&proxy->workers[i], proxy, i, err);
    for (uint32_t i = 0; rc == HF_OK && i < count; i++)
        rc = worker_start(&proxy->workers[i], err);
    return rc;
}

static enum hf_rc join_budget(struct proxy *proxy, struct hf_err *err)
{
    const struct proxy_budget *budget = &atomic_load(&proxy->config)->budget;
    struct share *share = mem_alloc(proxy->mem, sizeof *share);
    if (share == NULL)
        return mem_refused(proxy->mem, sizeof *share, err);
    enum hf_rc rc = share_open(share, budget->file, (uint32_t)budget->connections, proxy->mem, err);
    if (rc == HF_OK)
        proxy->share = share;
    else
        mem_free(proxy->mem, share);
    return rc;
}

enum hf_rc proxy_start(struct proxy *proxy, const struct proxy_config *config,
                       const struct proxy_given *given, struct hf_err *err)
{
    const struct resolver_config names = {0};
    struct mem *mem = given->mem;
    *proxy = (struct proxy){
        .mem = mem, .log = given->log, .version = given->version, .sockets = given->sockets};
    proxy->before[0] = given->before_fd;
    atomic_init(&proxy->before_count, given->before_fd >= 0);
    atomic_init(&proxy->config, config);
    proxy->instance_id = (uint32_t)config->proxy.instance_id;
    pthread_mutex_init(&proxy->lock, NULL);
    proxy->started_wall_ns = clock_wall_now();
    entropy_fill(proxy->mock_seed, sizeof proxy->mock_seed);
    kernel_prepare(proxy);
    enum hf_rc rc = order_init(&proxy->order, err);
    if (rc == HF_OK)
        rc = make_shared(proxy, err);
    if (rc == HF_OK)
        rc = access_new(&proxy->access, config, NULL, mem, err);
    if (rc == HF_OK)
        rc = secure_new(&proxy->secure, config, mem, err);
    if (rc == HF_OK)
        rc = resolver_new(&proxy->resolver, &names, mem, err);
    if (rc == HF_OK && config->budget.file[0] != '\0')
        rc = join_budget(proxy, err);
    if (rc == HF_OK)
        rc = start_workers(proxy, err);
    if (rc == HF_OK) {
        kernel_tell(proxy);
        peers_begin(proxy);
    }
    if (rc != HF_OK) {
        proxy_stop(proxy);
        proxy_join(proxy);
    }
    return rc;
}

static struct loop_message *message_of(struct worker *worker, enum worker_message kind)
{
    if (kind == WORKER_LEAVE)
        return &worker->leave;
    return kind == WORKER_STOP ? &worker->stop : &worker->drain;
}

static void tell_workers(struct proxy *proxy, enum worker_message kind)
{
    for (uint32_t i = 0; i < proxy->worker_count; i++) {
        struct worker *worker = &proxy->workers[i];
        struct loop_message *message = message_of(worker, kind);
        if (!worker->is_running)
            continue;
        message->kind = kind;
        loop_post(worker->loop, message);
    }
}

void proxy_leave(struct proxy *proxy)
{
    uint32_t state = PROXY_RUNNING;
    if (atomic_compare_exchange_strong(&proxy->state, &state, PROXY_LEAVING))
        tell_workers(proxy, WORKER_LEAVE);
}

void proxy_drain(struct proxy *proxy)
{
    uint32_t state = atomic_load(&proxy->state);
    while (state < PROXY_DRAINING)
        if (atomic_compare_exchange_weak(&proxy->state, &state, PROXY_DRAINING)) {
            tell_workers(proxy, WORKER_DRAIN);
            return;
        }
}

void proxy_stop(struct proxy *proxy)
{
    if (atomic_exchange(&proxy->state, PROXY_STOPPING) != PROXY_STOPPING)
        tell_workers(proxy, WORKER_STOP);
}

bool proxy_is_over(struct proxy *proxy)
{
    return atomic_load(&proxy->workers_ended) == proxy->worker_count;
}

void proxy_join(struct proxy *proxy)
{
    for (uint32_t i = 0; i < proxy->worker_count; i++)
        worker_end(&proxy->workers[i]);
    sockets_close(proxy->sockets);
    for (uint32_t i = 0; i < atomic_load(&proxy->before_count); i++)
        close(proxy->before[i]);
    if (proxy->share != NULL)
        share_close(proxy->share);
    mem_free(proxy->mem, proxy->share);
    resolver_free(proxy->resolver);
    listens_free(proxy->listens);
    pool_free_all(proxy);
    limits_free_all(proxy);
    for (uint32_t i = 0; i < proxy->endpoint_count; i++)
        mem_free(proxy->mem, proxy->endpoints[i]);
    secure_drop(&proxy->secure);
    if (proxy->access != NULL)
        access_drop(proxy->access);
    mem_free(proxy->mem, proxy->settings_memory);
    mem_free(proxy->mem, proxy->clients_memory);
    for (void *block; (block = statements_deinit(&proxy->statements)) != NULL;)
        mem_free(proxy->mem, block);
    mem_free(proxy->mem, proxy->workers);
    order_deinit(&proxy->order);
    pthread_mutex_destroy(&proxy->lock);
}
