#include "proxy/reload.h"

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

static void change_part(struct worker *worker, struct pool_part *part)
{
    struct pool *pool = part->pool;
    struct sv name = sv_from_cstr(pool->name);
    const struct proxy_database *database = proxy_database_find(worker->config, name);
    if (database == NULL) { /* what ends now still looks at the old one */
        if (part->database != NULL)
            retire(part);
        return;
    }
    part->database = database;
    proxy_pool_of(part->database, proxy_role_get(worker->config, sv_from_cstr(pool->role)),
                  &part->config);
    pool_taint(part, part->database);
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
    limits_reload(worker);
    query_log_reload(worker);
    atomic_fetch_sub(&worker->proxy->reloads_left, 1);
}
