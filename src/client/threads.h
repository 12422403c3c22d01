/*
 * The library's own threads: all signals blocked, so that the program's handlers run on its own.
 */
#ifndef HF_CLIENT_THREADS_H
#define HF_CLIENT_THREADS_H

#include <pthread.h>

#include "base/err.h"

enum hf_rc HF_MUST_USE threads_start(pthread_t *thread, void *(*run)(void *), void *arg,
                                     struct hf_err *err);

#endif
