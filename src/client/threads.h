/*
 * Threads: the library's own, with all signals blocked so that the program's handlers run on its
 * own; and which of the program's threads somebody is.
 */
#ifndef HF_CLIENT_THREADS_H
#define HF_CLIENT_THREADS_H

#include <pthread.h>
#include <stdint.h>

#include "base/err.h"

enum hf_rc HF_MUST_USE threads_start(pthread_t *thread, void *(*run)(void *), void *arg,
                                     struct hf_err *err);

/* This thread's number, the kernel's: never 0, and no two that live have the same. For keeping
 * things near to who used them last, never for deciding anything. */
uint32_t threads_number(void);

#endif
