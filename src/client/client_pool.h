/*
 * Pool: the connections to one server, open and not in use.
 *
 * It limits nothing and nobody waits here: how many connections may be in use, and who comes next
 * when that is reached, is the endpoint's bulkhead (core/bulkhead_mt.h), whose permit a call holds
 * before it asks for a connection. Idle connections are taken before new ones are made, so the open
 * ones are never more than the bulkhead's limit.
 *
 *            pool_take: the one used last (LIFO)
 *     idle ------------------------------------------> taken --pool_give--> idle, or closed:
 *       |                                                ^                  too old, of a former
 *       role, | pool_sweep: too old, idle for too long,        |                  not clean,
 *       closing v             more than idle_max, former role    |
 *     closed <--pool_drop------------------------------ new: pool_make, then conn_start() ...
 *
 * LIFO keeps the few that are needed warm and lets the rest grow old. Among these few a thread gets
 * the one that it had last: then the same two processes wake each other again, and the kernel can
 * leave them on one core. A lifetime is drawn for each connection from the last tenth of what is
 * configured, so that connections made together do not end together.
 *
 * A connection that has idled for longer than check_after_ns is looked at before it is given out:
 * has the server closed it, has it said something that nobody asked for (FATAL on its way out)? A
 * busy one is not: that look costs a system call. What is lost within check_after_ns is found out
 * by the attempt itself.
 *
 * Threads: any. The lock is held for a few instructions, never while something is closed, looked at
 * or connected.
 */
#ifndef HF_CLIENT_CLIENT_POOL_H
#define HF_CLIENT_CLIENT_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "client/options.h"
#include "os/mem.h"
#include "pg/conn.h"

struct pool;
struct statements;

/* A connection of a pool. Belongs to whoever took it. */
struct pconn {
    struct conn conn;
    struct pool *pool;
    struct list_node link; /* while idle */
    struct list_node all;
    struct statements *statements; /* prepared on it (client/client_statements.h); NULL: none yet */
    uint64_t role_generation;      /* snapshot_endpoint.role_generation when it was made */
    int64_t used_ns;               /* when it came back last */
    int64_t expires_ns;
    uint32_t thread; /* that had it last (client/threads.h) */
    bool is_proved;  /* it has shown the role that is expected of it */
    bool is_dirty;   /* session state was changed: DISCARD ALL before anybody else has it */
    bool is_broken;  /* not to be used again */
};

/* Counters, any thread reads them. */
struct pool_stats {
    _Atomic uint64_t connects, connects_failed, recycled;
};

struct pool {
    pthread_mutex_t lock; /* over idle, all and the counts */
    struct list idle;     /* the one used last comes first */
    struct list all;
    uint32_t idle_count, open_count;
    bool is_closing;
    struct client_pool_config config;
    struct pool_stats stats;
    struct mem *mem; /* borrowed */
    uint64_t seed;   /* the database's secret: of statements' keys */
    uint64_t draws;  /* of the lifetimes' jitter */
};

/* `seed` is the same for all pools of a database: a statement has one key for all of them. */
void pool_init(struct pool *pool, const struct client_pool_config *config, struct mem *mem,
               uint64_t seed);

/* Closes what is idle; none may be taken. */
void pool_deinit(struct pool *pool);

/* An idle connection that is usable now and was made under `role_generation`; NULL: none, make one.
 */
struct pconn *pool_take(struct pool *pool, uint64_t role_generation, int64_t now_ns);

/* A closed one, to be connected by the caller. NULL: no memory. */
struct pconn *pool_make(struct pool *pool, uint64_t role_generation, int64_t now_ns);

/* Back, to be used again if it is fit for that; else closed. */
void pool_give(struct pool *pool, struct pconn *conn, int64_t now_ns);

/* Closes and frees one that was taken or made. */
void pool_drop(struct pool *pool, struct pconn *conn);

/* Closes what has idled or lived too long, is more than is to be kept, or was made before
 * `role_generation`. Returns how many new ones are wanted for size_min. */
uint32_t pool_sweep(struct pool *pool, uint64_t role_generation, int64_t now_ns);

/* In a child after fork(): frees all connections without a word to their servers. `null_fd` is
 * /dev/null. */
void pool_forget(struct pool *pool, int null_fd);

struct pool_view {
    uint32_t open, idle;
    uint64_t connects, connects_failed, recycled;
};
void pool_view(struct pool *pool, struct pool_view *view);

#endif
