#include "proxy/reload.h"

#include <string.h>

#include "proxy/access.h"
#include "proxy/auth_ask.h"
#include "proxy/client.h"
#include "proxy/limits.h"
#include "proxy/pool.h"
#include "proxy/pool_gate.h"
#include "proxy/query_log.h"
#include "proxy/secure.h"
#include "proxy/server.h"
#include "proxy/worker.h"

/* ---- the main thread ---- */

enum hf_rc reload_begin(struct proxy *proxy, const struct proxy_config *config, struct hf_err *err)
{
    struct access *access = NULL;
    struct secure secure;
    enum hf_rc rc = access_new(&access, config, proxy->access, proxy->mem, err);
    if (rc == HF_OK)
        rc = secure_new(&secure, config, proxy->mem, err);
    if (rc != HF_OK) {
        if (access != NULL)
            access_drop(access);
        return rc;
    }
    pthread_mutex_lock(&proxy->lock);
    struct access *old_access = proxy->access;
    struct secure old_secure = proxy->secure;
    proxy->access = access;
    proxy->secure = secure;
    pthread_mutex_unlock(&proxy->lock);
    access_drop(old_access);
    secure_drop(&old_secure);
    atomic_store(&proxy->config, config);
    limits_configure(proxy);
    proxy_configure(proxy);
    atomic_store(&proxy->reloads_left, proxy->worker_count);
    for (uint32_t i = 0; i < proxy->worker_count; i++) {
        struct worker *worker = &proxy->workers[i];
        worker->reload.kind = WORKER_RELOAD;
        loop_post(worker->loop, &worker->reload);
    }
    return HF_OK;
}

bool reload_is_done(struct proxy *proxy)
{
    return atomic_load(&proxy->reloads_left) == 0;
}

/* ---- workers ---- */

/* Its database is no longer in the configuration. */
static void retire(struct pool_part *part)
{
    struct hf_err err;
    err_set(&err, HF_RC_MISSING, "3D000", "database \"%s\" was removed from the configuration",
            part->pool->name);
    list_for_each(node, &part->worker->sessions) {
        struct client *client = container_of(node, struct client, link);
        if (client->part == part)
            client_fail(client, &err);
    }
    list_for_each(node, &part->servers) {
        struct server *server = container_of(node, struct server, link);
        if (server->login != NULL)
            server_close(server, &err);
    }
    pool_taint(part, NULL);
    part->database = NULL;
}

/* Connections of the one are not what those of the other would be. */
static bool connects_otherwise(const struct proxy_database *one, const struct proxy_database *other)
{
    return strcmp(one->dbname, other->dbname) != 0 || strcmp(one->user, other->user) != 0 ||
           strcmp(one->connect_query, other->connect_query) != 0 ||
           one->sslmode != other->sslmode ||
           one->target_session_attrs != other->target_session_attrs;
}

/* New clients come into a pool of the mode that holds now (pool_get). */
static bool is_of_another_mode(const struct pool_part *part)
{
    const struct pool *pool = part->pool;
    bool has_its_own =
        pool->is_replication || pool->hub != NULL || pool->wish != PROXY_ROLE_AS_DATABASE;
    return !has_its_own && pool->mode != part->config.pool_mode;
}

/* Connections that are there already get lifetimes by the new limit. */
static void change_lifetimes(struct pool_part *part)
{
    struct list *lists[] = {&part->idle, &part->servers};
    for (size_t i = 0; i < 2; i++) {
        list_for_each(node, lists[i]) {
            struct server *server = container_of(node, struct server, link);
            server->expires_ns = worker_lifetime(part->worker, &part->config, server->connected_ns);
        }
    }
}

static void change_part(struct worker *worker, struct pool_part *part)
{
    struct pool *pool = part->pool;
    struct sv name = sv_from_cstr(pool->name);
    const struct proxy_database *database = proxy_database_find(worker->config, name);
    const struct proxy_database *old_database = part->database;
    const struct proxy_pool old = part->config;
    if (database == NULL) { /* what ends now still looks at the old one */
        if (part->database != NULL)
            retire(part);
        return;
    }
    part->database = database;
    proxy_pool_of(part->database, proxy_role_get(worker->config, sv_from_cstr(pool->role)),
                  &part->config);
    bool is_old = is_of_another_mode(part);
    if (is_old)
        part->config.min_pool_size = 0; /* nobody new comes here */
    bool is_other = old_database != NULL && connects_otherwise(old_database, database);
    if (is_old || is_other || old.max_prepared_statements != part->config.max_prepared_statements)
        pool_reconnect(part);
    else
        pool_taint(part, part->database);
    if (old.server_lifetime_ns != part->config.server_lifetime_ns ||
        old.server_lifetime_jitter_ppm != part->config.server_lifetime_jitter_ppm)
        change_lifetimes(part);
    pool_resize(part);
}

void reload_worker(struct worker *worker)
{
    worker->config = atomic_load(&worker->proxy->config);
    auth_ask_reload(worker);
    /* All of them, and not only those that were used here: the parts' shares add up to the size. */
    pthread_mutex_lock(&worker->proxy->lock);
    struct pool *pool = worker->proxy->pools;
    pthread_mutex_unlock(&worker->proxy->lock);
    for (; pool != NULL; pool = pool->next)
        change_part(worker, &pool->parts[worker->index]);
    list_for_each(node, &worker->sessions)
        client_watch(container_of(node, struct client, link));
    limits_reload(worker);
    query_log_reload(worker);
    atomic_fetch_sub(&worker->proxy->reloads_left, 1);
}
