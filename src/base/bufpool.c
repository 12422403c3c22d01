#include "base/bufpool.h"

#include "base/bug.h"

/* Marks among the indexes of pool->next. */
#define END  UINT32_MAX       /* no further free buffer */
#define LENT (UINT32_MAX - 1) /* this one is lent */

size_t bufpool_size(uint32_t count, size_t buffer_size)
{
    hf_assert(count > 0 && count <= BUFPOOL_COUNT_MAX);
    hf_assert(buffer_size > 0 && buffer_size % 8 == 0);
    hf_assert(buffer_size <= SIZE_MAX / count - sizeof(uint32_t));
    return count * (buffer_size + sizeof(uint32_t));
}

void bufpool_init(struct bufpool *pool, void *memory, uint32_t count, size_t buffer_size)
{
    size_t next_at = bufpool_size(count, buffer_size) - count * sizeof(uint32_t);
    *pool = (struct bufpool){
        .buffers = memory,
        .next = (uint32_t *)(void *)((char *)memory + next_at),
        .buffer_size = buffer_size,
        .count = count,
    };
    for (uint32_t i = 0; i < count; i++)
        pool->next[i] = i + 1 < count ? i + 1 : END;
}

void *bufpool_lend(struct bufpool *pool)
{
    uint32_t index = pool->free;
    if (index == END) {
        pool->refused++;
        return NULL;
    }
    pool->free = pool->next[index];
    pool->next[index] = LENT;
    pool->lent++;
    if (pool->lent > pool->lent_max)
        pool->lent_max = pool->lent;
    return pool->buffers + index * pool->buffer_size;
}

void bufpool_return(struct bufpool *pool, void *buffer)
{
    /* As integers: comparing pointers into different objects is undefined, and this is about
     * pointers that may be wrong. One below the pool wraps around to a large offset. */
    size_t offset = (size_t)((uintptr_t)buffer - (uintptr_t)pool->buffers);
    size_t index = offset / pool->buffer_size;
    hf_assert(offset % pool->buffer_size == 0 && index < pool->count);
    hf_assert(pool->next[index] == LENT);
    pool->next[index] = pool->free;
    pool->free = (uint32_t)index;
    pool->lent--;
}
