/*
 * What the console shows, gathered from worker to worker; and written as rows.
 */
#ifndef HF_PROXY_ADMIN_GATHER_H
#define HF_PROXY_ADMIN_GATHER_H

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "net/loop.h"
#include "proxy/pool.h"

struct client;
struct worker;

enum gather_kind {
    GATHER_POOLS,
    GATHER_STATS,
    GATHER_CLIENTS,
    GATHER_SERVERS,
};

/* A pool over all workers. */
struct gather_pool {
    const struct pool *pool;
    uint32_t clients_active, clients_waiting, servers_active, servers_idle, servers_login,
        servers_cleaning, size;
    int64_t oldest_ns; /* HF_NEVER: nobody waits */
    struct pool_stats stats;
};

struct gather {
    struct loop_message message; /* WORKER_GATHER on its way, WORKER_GATHERED at its end */
    struct worker *asker;
    enum gather_kind kind;
    uint32_t client_pid; /* whom it is for, if that is still the same client */
    uint64_t client_sequence;
    uint32_t next; /* worker */
    uint32_t rows;
    bool is_cut; /* no memory for all of it */
    struct gather_pool *pools;
    uint32_t pool_count;
    struct buffer text; /* DataRow messages; the block is owned */
};

/* Sends it on its way. False: no memory. */
bool gather_begin(struct client *client, enum gather_kind kind);
/* A worker's turn. */
void gather_visit(struct worker *worker, struct gather *gather);
/* It is back with its asker. */
void gather_finish(struct worker *worker, struct gather *gather);

/* The columns of what a kind shows, ended by NULL. */
const char *const *gather_columns(enum gather_kind kind);

/* A DataRow of so many texts; grows the buffer. */
void gather_row(struct gather *gather, struct mem *mem, const char *const *values, size_t count);
void gather_free(struct gather *gather, struct mem *mem);

#endif
