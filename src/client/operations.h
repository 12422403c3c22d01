/*
 * Operations: what callers call their calls, counted by name.
 *
 * A name comes with each call, from the program's code, so there are few of them; should a program
 * make them up without end, those beyond OPERATIONS_MAX are counted together as "(others)". Nothing
 * is forgotten and nothing moves: who found an operation may count in it as long as the database
 * lives.
 *
 * Threads: any. Finding one that is known takes no lock.
 */
#ifndef HF_CLIENT_OPERATIONS_H
#define HF_CLIENT_OPERATIONS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "core/guard.h"
#include "os/mem.h"

#define OPERATIONS_MAX        256
#define OPERATIONS_PLACES     512 /* a power of two */
#define OPERATIONS_NAME_BYTES 64  /* a longer name is cut */

struct operation {
    char name[OPERATIONS_NAME_BYTES];
    _Atomic uint64_t results[GUARD_RESULTS];
    _Atomic uint64_t spent_ns; /* of all its calls together */
};

struct operations {
    struct mem *mem;      /* borrowed */
    pthread_mutex_t lock; /* of who adds one */
    uint32_t count;
    struct operation *_Atomic places[OPERATIONS_PLACES]; /* open addressing by the name's hash */
    struct operation others;
};

void operations_init(struct operations *operations, struct mem *mem);
void operations_deinit(struct operations *operations);

/* The operation of that name, added if it is new; NULL for NULL and "". */
struct operation *operations_find(struct operations *operations, const char *name);

/* A call of it was answered. `operation` NULL: nothing. */
void operations_count(struct operation *operation, enum guard_result result, int64_t took_ns);

/* All of them, in no order; `*cursor` starts at 0; NULL at the end. */
struct operation *operations_each(struct operations *operations, uint32_t *cursor);

#endif
