#include "base/arena.h"

#include <string.h>

#include "base/bug.h"

void arena_init(struct arena *arena, void *block, size_t size)
{
    *arena = (struct arena){.block = block, .size = size};
}

/* Sums that stand still at the largest number: a request for nearly everything must not come back
 * as a small one. */
static size_t add(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

void *arena_alloc(struct arena *arena, size_t size, size_t align)
{
    hf_assert(align > 0 && (align & (align - 1)) == 0);
    size_t free = arena->size - arena->used;
    size_t padding = (size_t)(0 - (uintptr_t)(arena->block + arena->used)) & (align - 1);
    if (padding > free || size > free - padding) {
        arena->refused++;
        arena->refused_bytes = add(arena->refused_bytes, add(size, align - 1));
        return NULL;
    }
    char *start = arena->block + arena->used + padding;
    arena->used += padding + size;
    if (arena->used > arena->used_max)
        arena->used_max = arena->used;
    return start;
}

void *arena_alloc_zeroed(struct arena *arena, size_t count, size_t size, size_t align)
{
    hf_assert(size > 0);
    size_t total = count > SIZE_MAX / size ? SIZE_MAX : count * size;
    void *start = arena_alloc(arena, total, align);
    if (start != NULL)
        memset(start, 0, total);
    return start;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_svdup(arena, sv_from_cstr(text));
}

char *arena_svdup(struct arena *arena, struct sv view)
{
    char *copy = arena_alloc(arena, add(view.size, 1), 1);
    if (copy == NULL)
        return NULL;
    if (view.size > 0)
        memcpy(copy, view.data, view.size);
    copy[view.size] = '\0';
    return copy;
}

void arena_release(struct arena *arena, size_t mark)
{
    hf_assert(mark <= arena->used);
    arena->used = mark;
}

size_t arena_need(const struct arena *arena)
{
    return add(arena->used_max, arena->refused_bytes);
}
