/*
 * Is this the process that made it? One word in a page that the kernel gives to a child of fork()
 * as zeros (MADV_WIPEONFORK), so that asking costs a load and no system call: getpid() before each
 * call would cost as much as all that a guarded call costs besides.
 *
 *     alive = alive_new(&err);
 *     if (!alive_here(alive)) ... a child of fork() ...
 *     alive_free(alive);
 */
#ifndef HF_CLIENT_ALIVE_H
#define HF_CLIENT_ALIVE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* NULL: no memory. */
const _Atomic uint32_t *alive_new(struct hf_err *err);

/* In whichever process. NULL is allowed. */
void alive_free(const _Atomic uint32_t *alive);

static inline bool alive_here(const _Atomic uint32_t *alive)
{
    return atomic_load_explicit(alive, memory_order_relaxed) != 0;
}

#endif
