/*
 * Pool of equal buffers in one block of the caller's memory: lent while bytes are in flight, then
 * returned, so that an idle connection holds none.
 *
 * Lending and returning are O(1). What was returned last is lent next, while it is still in the
 * processor's cache; a buffer that was never lent was never touched, so a large pool costs memory
 * only as far as it was used. When all are lent the pool refuses, and counts it.
 *
 * Invariants
 *  1. A buffer is lent to one borrower at a time. Returning what is not lent (twice, or a pointer
 *     into another place) is a bug and stops the program.
 *  2. lent <= count, and lent_max is the most that lent has been.
 *
 * Buffers are aligned to BUFPOOL_ALIGN if their size and the block are. Their content is not
 * cleared. One owner, no locking.
 */
#ifndef HF_BASE_BUFPOOL_H
#define HF_BASE_BUFPOOL_H

#include <stddef.h>
#include <stdint.h>

#define BUFPOOL_ALIGN     64 /* a cache line */
#define BUFPOOL_COUNT_MAX (UINT32_C(1) << 24)

struct bufpool {
    char *buffers;  /* borrowed: the front of the caller's block */
    uint32_t *next; /* behind them: for a free buffer the next free one, for a lent one a mark */
    size_t buffer_size;
    uint32_t count;
    uint32_t free; /* the first free buffer, or a mark if there is none */
    uint32_t lent;
    uint32_t lent_max;
    uint64_t refused; /* how often there was none to lend */
};

/* Bytes that a pool of `count` (1 .. BUFPOOL_COUNT_MAX) buffers needs; `buffer_size` is a multiple
 * of 8. */
size_t bufpool_size(uint32_t count, size_t buffer_size);

/* A pool in `memory`, which must hold bufpool_size() bytes, be aligned for a uint64_t at least, and
 * outlive the pool. */
void bufpool_init(struct bufpool *pool, void *memory, uint32_t count, size_t buffer_size);

/* A buffer of pool->buffer_size bytes, or NULL if all are lent. */
void *bufpool_lend(struct bufpool *pool);

void bufpool_return(struct bufpool *pool, void *buffer);

#endif
