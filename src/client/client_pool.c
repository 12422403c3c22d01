#include "client/client_pool.h"

#include <libpq-fe.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/container_of.h"
#include "base/ns.h"
#include "base/rng.h"
#include "client/client_statements.h"
#include "client/threads.h"

/* More idle connections than idle_max are kept for so long: a burst that comes again within it does
 * not connect again. */
#define SURPLUS_NS HF_SEC(10)

/* So many of the idle ones, from the one used last, are looked at for one's own. */
#define OWN_LOOKS 8

/* Connections made together part by a tenth of their lifetime. */
#define JITTER_PART 10

void pool_init(struct pool *pool, const struct client_pool_config *config, struct mem *mem,
               uint64_t seed)
{
    *pool = (struct pool){.config = *config, .mem = mem, .seed = seed};
    pthread_mutex_init(&pool->lock, NULL);
    list_init(&pool->idle);
    list_init(&pool->all);
}

static struct pconn *of_link(struct list_node *node)
{
    return node == NULL ? NULL : container_of(node, struct pconn, link);
}

static void free_conn(struct pool *pool, struct pconn *conn)
{
    conn_close(&conn->conn);
    statements_free(conn->statements, pool->mem);
    mem_free(pool->mem, conn);
}

/* Out of the pool's books, under the lock. */
static void strike(struct pool *pool, struct pconn *conn)
{
    list_remove(&conn->all);
    --pool->open_count;
}

static void take_out(struct pool *pool, struct pconn *conn)
{
    list_remove(&conn->link);
    --pool->idle_count;
}

static bool is_outdated(const struct pconn *conn, uint64_t role_generation, int64_t now_ns)
{
    return conn->role_generation != role_generation || now_ns >= conn->expires_ns;
}

void pool_drop(struct pool *pool, struct pconn *conn)
{
    pthread_mutex_lock(&pool->lock);
    strike(pool, conn);
    pthread_mutex_unlock(&pool->lock);
    free_conn(pool, conn);
}

static void recycle(struct pool *pool, struct pconn *conn)
{
    atomic_fetch_add_explicit(&pool->stats.recycled, 1, memory_order_relaxed);
    pool_drop(pool, conn);
}

/* Among the few that were used last, the one that this thread had. Under the lock. */
static struct pconn *find_own(struct pool *pool, uint32_t thread)
{
    int looks = 0;
    list_for_each(node, &pool->idle) {
        struct pconn *conn = of_link(node);
        if (conn->thread == thread)
            return conn;
        if (++looks == OWN_LOOKS)
            break;
    }
    return of_link(list_first(&pool->idle));
}

static struct pconn *pop(struct pool *pool, uint32_t thread)
{
    pthread_mutex_lock(&pool->lock);
    struct pconn *conn = find_own(pool, thread);
    if (conn != NULL)
        take_out(pool, conn);
    pthread_mutex_unlock(&pool->lock);
    return conn;
}

struct pconn *pool_take(struct pool *pool, uint64_t role_generation, int64_t now_ns)
{
    const uint32_t thread = threads_number();
    struct pconn *conn;
    while ((conn = pop(pool, thread)) != NULL) {
        if (is_outdated(conn, role_generation, now_ns))
            recycle(pool, conn);
        else if (now_ns - conn->used_ns < pool->config.check_after_ns ||
                 conn_is_usable(&conn->conn))
            return conn;
        else
            recycle(pool, conn);
    }
    return NULL;
}

static int64_t lifetime_of_next(struct pool *pool)
{
    int64_t lifetime_ns = pool->config.lifetime_ns;
    if (lifetime_ns == HF_NEVER)
        return HF_NEVER;
    struct rng rng;
    rng_init(&rng, rng_hash(pool->seed ^ (uintptr_t)pool, ++pool->draws));
    return lifetime_ns - rng_range_ns(&rng, 0, lifetime_ns / JITTER_PART);
}

struct pconn *pool_make(struct pool *pool, uint64_t role_generation, int64_t now_ns)
{
    struct pconn *conn = mem_alloc(pool->mem, sizeof *conn);
    if (conn == NULL)
        return NULL;
    conn->pool = pool;
    conn->role_generation = role_generation;
    conn->conn.interrupt_fd = -1;
    pthread_mutex_lock(&pool->lock);
    conn->expires_ns = ns_add(now_ns, lifetime_of_next(pool));
    list_push_back(&pool->all, &conn->all);
    ++pool->open_count;
    pthread_mutex_unlock(&pool->lock);
    return conn;
}

void pool_give(struct pool *pool, struct pconn *conn, int64_t now_ns)
{
    conn->used_ns = now_ns;
    conn->thread = threads_number();
    bool is_kept = !conn->is_broken && now_ns < conn->expires_ns;
    if (is_kept) {
        pthread_mutex_lock(&pool->lock);
        is_kept = !pool->is_closing;
        if (is_kept) {
            list_push_front(&pool->idle, &conn->link);
            ++pool->idle_count;
        }
        pthread_mutex_unlock(&pool->lock);
    }
    if (!is_kept)
        recycle(pool, conn);
}

/* The oldest idle connection goes first; NULL if it may stay. It is out of the books then. */
static struct pconn *take_unneeded(struct pool *pool, uint64_t role_generation, int64_t now_ns)
{
    const struct client_pool_config *config = &pool->config;
    struct pconn *found = NULL;
    pthread_mutex_lock(&pool->lock);
    list_for_each(node, &pool->idle) {
        struct pconn *conn = of_link(node);
        int64_t idle_ns = now_ns - conn->used_ns;
        bool is_last = node == list_last(&pool->idle);
        bool is_surplus = is_last && pool->idle_count > config->idle_max && idle_ns >= SURPLUS_NS;
        bool is_stale = idle_ns >= config->idle_ns && pool->open_count > config->size_min;
        if (is_outdated(conn, role_generation, now_ns) || is_surplus || is_stale) {
            found = conn;
            break;
        }
    }
    if (found != NULL) {
        take_out(pool, found);
        strike(pool, found);
    }
    pthread_mutex_unlock(&pool->lock);
    return found;
}

uint32_t pool_sweep(struct pool *pool, uint64_t role_generation, int64_t now_ns)
{
    struct pconn *conn;
    while ((conn = take_unneeded(pool, role_generation, now_ns)) != NULL) {
        atomic_fetch_add_explicit(&pool->stats.recycled, 1, memory_order_relaxed);
        free_conn(pool, conn);
    }
    pthread_mutex_lock(&pool->lock);
    uint32_t open = pool->open_count;
    pthread_mutex_unlock(&pool->lock);
    return open < pool->config.size_min ? pool->config.size_min - open : 0;
}

/* No connection is kept from now on, and those that are idle are closed. */
static void close_idle(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->is_closing = true;
    pthread_mutex_unlock(&pool->lock);
    struct pconn *conn;
    while ((conn = pop(pool, 0)) != NULL)
        pool_drop(pool, conn);
}

void pool_deinit(struct pool *pool)
{
    close_idle(pool);
    hf_assert(pool->open_count == 0);
    pthread_mutex_destroy(&pool->lock);
}

/* The descriptor is shared with the parent, and libpq says good-bye on it when it closes: so what
 * it closes is another file in the same place. */
static void make_mute(struct conn *conn, int null_fd)
{
    int fd = conn_fd(conn);
    if (fd >= 0 && null_fd >= 0)
        dup2(null_fd, fd);
}

void pool_forget(struct pool *pool, int null_fd)
{
    /* Whether the lock was held when the process forked is not known, and nobody else is here. */
    list_for_each(node, &pool->all) {
        struct pconn *conn = container_of(node, struct pconn, all);
        make_mute(&conn->conn, null_fd);
        list_remove(node);
        free_conn(pool, conn);
    }
}

void pool_view(struct pool *pool, struct pool_view *view)
{
    pthread_mutex_lock(&pool->lock);
    view->open = pool->open_count;
    view->idle = pool->idle_count;
    pthread_mutex_unlock(&pool->lock);
    view->connects = atomic_load_explicit(&pool->stats.connects, memory_order_relaxed);
    view->connects_failed =
        atomic_load_explicit(&pool->stats.connects_failed, memory_order_relaxed);
    view->recycled = atomic_load_explicit(&pool->stats.recycled, memory_order_relaxed);
}
