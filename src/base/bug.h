/*
 * hf_assert: for what cannot happen unless the code is wrong. On in release too; it prints the
 * place and aborts. What input, peers or the system can cause is never asserted: that is an outcome
 * or a failure.
 */
#ifndef HF_BASE_BUG_H
#define HF_BASE_BUG_H

#include <assert.h>

#ifdef NDEBUG
#error "Holdfast keeps its assertions in release builds: do not define NDEBUG"
#endif

#define hf_assert(condition) assert(condition)

#endif
