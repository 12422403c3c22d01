/*
 * Fallbacks by operation: what the program answers itself where no server can.
 *
 * Set before the calls that need them; looked up when a call has failed, so a lock costs nothing
 * that matters. They are asked only where the failure is ours: no server could be asked, or none in
 * time. What a server answered, a usage error, a cancellation, and above all an unknown outcome are
 * told to the caller as they are.
 */
#ifndef HF_CLIENT_FALLBACK_H
#define HF_CLIENT_FALLBACK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "holdfast.h"
#include "os/mem.h"

#define FALLBACK_OPERATIONS_MAX 256
#define FALLBACK_NAME_BYTES     64

struct fallback {
    char operation[FALLBACK_NAME_BYTES];
    hf_rows_fallback *call;
    void *arg;
};

struct fallbacks {
    pthread_mutex_t lock;
    struct mem *mem; /* borrowed */
    struct fallback *list;
    size_t count, room;
};

void fallbacks_init(struct fallbacks *fallbacks, struct mem *mem);
void fallbacks_deinit(struct fallbacks *fallbacks);

/* `call` NULL removes it. HF_SUCCESS, HF_E_USAGE (a name too long) or HF_E_MEMORY. */
int fallbacks_set(struct fallbacks *fallbacks, const char *operation, hf_rows_fallback *call,
                  void *arg, struct hf_error *err);

/* That of the operation, or else that of "*"; false: there is none. */
bool fallbacks_find(struct fallbacks *fallbacks, const char *operation, struct fallback *out);

/* A failure that a fallback may answer. */
bool fallbacks_may_answer(int code);

#endif
