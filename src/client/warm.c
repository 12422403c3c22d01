#include "client/warm.h"

#include "base/container_of.h"
#include "base/ns.h"
#include "client/db.h"
#include "os/clock.h"

static void take_step(struct warm *warm, struct loop *loop, enum conn_step step);

static void ready(struct loop *loop, struct loop_extra *extra)
{
    struct warm *warm = container_of(extra, struct warm, extra);
    struct hf_err err;
    take_step(warm, loop, conn_connect(&warm->conn->conn, clock_now(), &err));
}

/* The next one, if more are wanted. */
static enum conn_step begin(struct warm *warm, struct loop *loop)
{
    struct hf_db *db = loop->db;
    struct hf_err err;
    int64_t now_ns = clock_now();
    warm->conn = pool_make(&db->endpoints[warm->endpoint].pool, warm->role_generation, now_ns);
    if (warm->conn == NULL)
        return CONN_FAILED;
    --warm->wanted;
    atomic_fetch_add_explicit(&warm->conn->pool->stats.connects, 1, memory_order_relaxed);
    return db_connect(db, warm->endpoint, &warm->conn->conn,
                      ns_add(now_ns, db->config.pool.connect_timeout_ns), &err);
}

static void failed(struct warm *warm)
{
    if (warm->conn != NULL) {
        struct pool *pool = warm->conn->pool;
        atomic_fetch_add_explicit(&pool->stats.connects_failed, 1, memory_order_relaxed);
        pool_drop(pool, warm->conn);
    }
    warm->conn = NULL;
    warm->wanted = 0;
}

static void take_step(struct warm *warm, struct loop *loop, enum conn_step step)
{
    for (;;) {
        loop_unwatch(loop, &warm->extra);
        if (step == CONN_WAITS) {
            loop_watch(loop, &warm->extra, conn_fd(&warm->conn->conn), warm->conn->conn.wants);
            return;
        }
        if (step == CONN_FAILED) {
            failed(warm);
            return;
        }
        pool_give(warm->conn->pool, warm->conn, clock_now());
        warm->conn = NULL;
        if (warm->wanted == 0)
            return;
        step = begin(warm, loop);
    }
}

void warm_keep(struct warm *warm, struct loop *loop, uint32_t endpoint, uint32_t wanted,
               uint64_t role_generation)
{
    if (warm->conn != NULL) {
        /* Still at it: is it late? */
        if (clock_now() >= warm->conn->conn.deadline_ns)
            ready(loop, &warm->extra);
        return;
    }
    if (wanted == 0)
        return;
    warm->extra.ready = ready;
    warm->endpoint = endpoint;
    warm->wanted = wanted;
    warm->role_generation = role_generation;
    take_step(warm, loop, begin(warm, loop));
}

void warm_end(struct warm *warm, struct loop *loop)
{
    if (warm->conn == NULL)
        return;
    loop_unwatch(loop, &warm->extra);
    pool_drop(warm->conn->pool, warm->conn);
    warm->conn = NULL;
}
