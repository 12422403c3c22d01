#include "client/operations.h"

#include <string.h>

#include "base/hash.h"
#include "client/errors.h"

void operations_init(struct operations *operations, struct mem *mem)
{
    memset(operations, 0, sizeof *operations);
    operations->mem = mem;
    pthread_mutex_init(&operations->lock, NULL);
    memcpy(operations->others.name, "(others)", sizeof "(others)");
}

void operations_deinit(struct operations *operations)
{
    for (size_t i = 0; i < OPERATIONS_PLACES; i++)
        mem_free(operations->mem, atomic_load(&operations->places[i]));
    pthread_mutex_destroy(&operations->lock);
}

/* Where a name is, or would be. There are twice as many places as names, so one is always free. */
static struct operation *_Atomic *place_of(struct operations *operations, const char *name)
{
    /* Names are the program's own: nobody outside can choose them so that they fall together. */
    static const struct hash_key key = {0x5bd1e995, 0x27d4eb2f};
    uint64_t at = hash_bytes(&key, sv_from_cstr(name));
    for (;; at++) {
        struct operation *_Atomic *place = &operations->places[at % OPERATIONS_PLACES];
        const struct operation *found = atomic_load_explicit(place, memory_order_acquire);
        if (found == NULL || strcmp(found->name, name) == 0)
            return place;
    }
}

static struct operation *add(struct operations *operations, const char *name)
{
    pthread_mutex_lock(&operations->lock);
    struct operation *_Atomic *place = place_of(operations, name);
    struct operation *operation = atomic_load(place);
    if (operation == NULL && operations->count < OPERATIONS_MAX) {
        operation = mem_alloc(operations->mem, sizeof *operation);
        if (operation != NULL) {
            memcpy(operation->name, name, OPERATIONS_NAME_BYTES);
            atomic_store_explicit(place, operation, memory_order_release);
            ++operations->count;
        }
    }
    pthread_mutex_unlock(&operations->lock);
    return operation != NULL ? operation : &operations->others;
}

struct operation *operations_find(struct operations *operations, const char *name)
{
    char cut[OPERATIONS_NAME_BYTES] = {0};
    if (name == NULL || name[0] == '\0')
        return NULL;
    error_scrub(cut, sizeof cut, name);
    struct operation *operation = atomic_load(place_of(operations, cut));
    return operation != NULL ? operation : add(operations, cut);
}

void operations_count(struct operation *operation, enum guard_result result, int64_t took_ns)
{
    if (operation == NULL)
        return;
    atomic_fetch_add_explicit(&operation->results[result], 1, memory_order_relaxed);
    if (took_ns > 0)
        atomic_fetch_add_explicit(&operation->spent_ns, (uint64_t)took_ns, memory_order_relaxed);
}

struct operation *operations_each(struct operations *operations, uint32_t *cursor)
{
    while (*cursor < OPERATIONS_PLACES) {
        struct operation *operation = atomic_load(&operations->places[(*cursor)++]);
        if (operation != NULL)
            return operation;
    }
    if ((*cursor)++ > OPERATIONS_PLACES)
        return NULL;
    for (size_t i = 0; i < GUARD_RESULTS; i++)
        if (atomic_load(&operations->others.results[i]) > 0)
            return &operations->others;
    return NULL;
}
