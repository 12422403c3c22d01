/*
 * Bump arena over one block of the caller's memory: many small allocations that end together.
 *
 *     block  [ in use                     | free           ]
 *                        ^mark            ^used            ^size
 *
 * Nothing is freed by itself. arena_mark() remembers a place and arena_release() gives back
 * everything allocated since; a whole arena is emptied by releasing to 0.
 *
 * When the block is exhausted the answer is NULL, the arena stays usable, and the missing bytes are
 * counted: arena_need() is a block size with which nothing would have been refused, for the message
 * that tells a person what to configure, and for tests. The block is borrowed and must outlive
 * everything in it. One owner, no locking.
 */
#ifndef HF_BASE_ARENA_H
#define HF_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "base/sv.h"

struct arena {
    char *block;
    size_t size;
    size_t used;
    size_t used_max;      /* the most that was in use at a time */
    size_t refused_bytes; /* the sum of all that was refused, padding included */
    uint64_t refused;     /* how many requests that were */
};

void arena_init(struct arena *arena, void *block, size_t size);

/* `size` bytes aligned to `align`, a power of two; their content is undefined. NULL if exhausted.
 * Nothing (size 0) is a valid pointer too. */
void *arena_alloc(struct arena *arena, size_t size, size_t align);

/* `count` objects of a type, full of zero bytes; NULL if exhausted. */
#define ARENA_NEW(arena, type, count)                                                              \
    ((type *)arena_alloc_zeroed(arena, count, sizeof(type), _Alignof(type)))
void *arena_alloc_zeroed(struct arena *arena, size_t count, size_t size, size_t align);

/* Copies that end in NUL; NULL if exhausted. */
char *arena_strdup(struct arena *arena, const char *text);
char *arena_svdup(struct arena *arena, struct sv view);

/* A place to return to. */
static inline size_t arena_mark(const struct arena *arena)
{
    return arena->used;
}

/* Gives back everything that was allocated since the mark was taken. */
void arena_release(struct arena *arena, size_t mark);

/* A block of this size, aligned as well as this one, would have been large enough so far. */
size_t arena_need(const struct arena *arena);

#endif
