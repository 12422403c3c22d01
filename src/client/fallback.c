#include "client/fallback.h"

#include <string.h>

#include "client/errors.h"

void fallbacks_init(struct fallbacks *fallbacks, struct mem *mem)
{
    *fallbacks = (struct fallbacks){.mem = mem};
    pthread_mutex_init(&fallbacks->lock, NULL);
}

void fallbacks_deinit(struct fallbacks *fallbacks)
{
    mem_free(fallbacks->mem, fallbacks->list);
    pthread_mutex_destroy(&fallbacks->lock);
}

static struct fallback *find(struct fallbacks *fallbacks, const char *operation)
{
    for (size_t i = 0; i < fallbacks->count; i++)
        if (strcmp(fallbacks->list[i].operation, operation) == 0)
            return &fallbacks->list[i];
    return NULL;
}

/* Room for one more. */
static bool grow(struct fallbacks *fallbacks)
{
    if (fallbacks->count < fallbacks->room)
        return true;
    const size_t room = fallbacks->room == 0 ? 8 : fallbacks->room * 2;
    struct fallback *list = room <= FALLBACK_OPERATIONS_MAX
                                ? mem_alloc_array(fallbacks->mem, room, sizeof *list)
                                : NULL;
    if (list == NULL)
        return false;
    if (fallbacks->count > 0)
        memcpy(list, fallbacks->list, fallbacks->count * sizeof *list);
    mem_free(fallbacks->mem, fallbacks->list);
    fallbacks->list = list;
    fallbacks->room = room;
    return true;
}

static bool set_locked(struct fallbacks *fallbacks, const char *operation, hf_rows_fallback *call,
                       void *arg)
{
    struct fallback *known = find(fallbacks, operation);
    if (call == NULL) {
        if (known != NULL)
            *known = fallbacks->list[--fallbacks->count];
        return true;
    }
    if (known == NULL) {
        if (!grow(fallbacks))
            return false;
        known = &fallbacks->list[fallbacks->count++];
        memcpy(known->operation, operation, strlen(operation) + 1);
    }
    known->call = call;
    known->arg = arg;
    return true;
}

int fallbacks_set(struct fallbacks *fallbacks, const char *operation, hf_rows_fallback *call,
                  void *arg, struct hf_error *err)
{
    if (operation == NULL || operation[0] == '\0' || strlen(operation) >= FALLBACK_NAME_BYTES)
        return error_set(err, HF_E_USAGE,
                         "the name of an operation must have 1 to %d characters, or be \"*\"",
                         FALLBACK_NAME_BYTES - 1);
    pthread_mutex_lock(&fallbacks->lock);
    const bool is_set = set_locked(fallbacks, operation, call, arg);
    pthread_mutex_unlock(&fallbacks->lock);
    if (!is_set)
        return error_set(err, HF_E_MEMORY, "no room for another fallback: at most %d have one",
                         FALLBACK_OPERATIONS_MAX);
    return HF_SUCCESS;
}

bool fallbacks_find(struct fallbacks *fallbacks, const char *operation, struct fallback *out)
{
    pthread_mutex_lock(&fallbacks->lock);
    const struct fallback *known =
        operation != NULL && operation[0] != '\0' ? find(fallbacks, operation) : NULL;
    if (known == NULL)
        known = find(fallbacks, "*");
    if (known != NULL)
        *out = *known;
    pthread_mutex_unlock(&fallbacks->lock);
    return known != NULL;
}

bool fallbacks_may_answer(int code)
{
    switch (code) {
    case HF_E_CONNECT:
    case HF_E_LOST:
    case HF_E_OPEN:
    case HF_E_BUSY:
    case HF_E_NOBODY:
    case HF_E_LEVEL:
    case HF_E_DEADLINE:
        return true;
    default:
        return false;
    }
}
