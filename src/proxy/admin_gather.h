/*
 * The way round: what the console asks goes from worker to worker, each adds what it knows or does
 * what is wanted, and the last one brings it back. Nobody's memory is read by another thread, and
 * nobody waits.
 *
 *     asker --gather_begin--> worker 0: visit --> worker 1: visit ... --> asker: finish, done
 *                                 ^    | rows for GATHER_CHUNK, and more to come
 *                                 |    v
 *                                asker: sends them to its client, and the gather on again when the
 *                                       client has taken them
 *
 * SHOWs and commands go the same way (admin_show.h, admin_command.h); a command's visits make no
 * rows. If the client is gone when its gather comes back, the gather ends there.
 *
 * Owned by whoever has it: a worker in its visit, a message on its way, the asker's session while
 * its client reads.
 */
#ifndef HF_PROXY_ADMIN_GATHER_H
#define HF_PROXY_ADMIN_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/err.h"
#include "net/loop.h"
#include "proxy/proxy_config.h"

struct client;
struct mem;
struct worker;

#define GATHER_CHUNK ((size_t)64 << 10) /* bytes of rows that are sent at a time */
#define GATHER_SUMS  16

struct gather {
    struct loop_message message; /* WORKER_GATHER on its way, WORKER_GATHERED back at its asker */
    struct worker *asker;
    uint32_t client_pid; /* whom it is for, if that is still the same client */
    uint64_t client_sequence;

    bool (*visit)(struct gather *gather, struct worker *worker);
    bool (*finish)(struct gather *gather, struct worker *worker);
    /* In the asker's thread, at the very end, if its client is still there. */
    void (*done)(struct client *client, struct gather *gather);

    uint32_t next;      /* the worker that is visited now; worker_count: the asker finishes */
    uint64_t cursor;    /* of visit or finish, where it goes on; 0 at first */
    bool is_over;       /* finish has said so */
    bool is_cut;        /* no memory for a row */
    struct buffer text; /* DataRow messages; the block is owned */

    /* For visits and finish. */
    char argument[PROXY_NAME_SIZE];
    uint64_t number;
    int64_t sums[GATHER_SUMS];
    void *state; /* owned, by mem_alloc(); may be NULL */
    uint32_t state_count;
};

/* A new one for a client. NULL: no memory. */
struct gather *gather_new(struct client *client);
/* Sends it on its way. */
void gather_begin(struct gather *gather);
/* Its client has taken what came back: for the rest. */
void gather_go_on(struct gather *gather);
void gather_free(struct gather *gather, struct mem *mem);

/* A worker's turn, and back with its asker. */
void gather_visit(struct worker *worker, struct gather *gather);
void gather_back(struct worker *worker, struct gather *gather);

/* There are enough rows for now. */
static inline bool gather_is_full(const struct gather *gather)
{
    return buffer_held(&gather->text) >= GATHER_CHUNK;
}

/* A DataRow of so many texts (NULL: null); grows the buffer. */
void gather_row(struct gather *gather, struct mem *mem, const char *const *values, size_t count);

#endif
