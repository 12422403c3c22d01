/*
 * Threads whose steps are chosen: for tests that run code with atomics through many interleavings,
 * each of which can be replayed from its seed.
 *
 *     #include "weave.h"              before any header with atomics: it takes their place
 *     #include "core/x.c"             the code under test, compiled with them
 *
 *     weave_run(fibers, count, seed)  runs all to their end
 *
 * The threads are fibers on one thread of the machine. Before each atomic operation another fiber
 * may be chosen to go on; between two of them nothing else can happen. That covers every order that
 * sequential consistency allows, and not what weaker orders allow besides: those are argued in the
 * code, and what a compiler makes of them runs in the tests with real threads.
 *
 * Who goes on is chosen by rank: the fiber of the highest rank runs, and with a chance of one in
 * `patience` loses its rank. Small patience mixes steps finely; with a large one a fiber is stopped
 * between two steps while others run for long, as happens when the system takes its CPU away. The
 * seed chooses the patience too.
 */
#ifndef HF_TEST_UNIT_WEAVE_H
#define HF_TEST_UNIT_WEAVE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

#include "base/rng.h"

#define WEAVE_FIBERS_MAX 4
#define WEAVE_STACK      (256 * 1024)

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEAVE_ADDRESS_SANITIZER
#elif __has_feature(thread_sanitizer)
#define WEAVE_THREAD_SANITIZER
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define WEAVE_ADDRESS_SANITIZER
#endif
#ifdef WEAVE_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif
#ifdef WEAVE_THREAD_SANITIZER
#include <sanitizer/tsan_interface.h>
#endif

struct weave_fiber {
    void (*work)(struct weave_fiber *self);
    struct rng rng;
    unsigned index;
    uint64_t counts[8]; /* what the work counts, for the test to look at */
    /* of the weave */
    ucontext_t context;
    unsigned char *stack;
    uint64_t rank;
    bool is_over;
    void *sanitizer;
};

static struct {
    struct weave_fiber *fibers, *running; /* running NULL: the test itself */
    unsigned count;
    ucontext_t home;
    struct rng rng;
    uint64_t patience, next_rank;
    void *home_sanitizer, *home_stack;
    size_t home_stack_size;
} weave;

static _Alignas(64) unsigned char weave_stacks[WEAVE_FIBERS_MAX][WEAVE_STACK];

/* Tells a sanitizer, if there is one, that the stack changes. */
static inline void weave_leave(struct weave_fiber *to, void **save)
{
#ifdef WEAVE_ADDRESS_SANITIZER
    __sanitizer_start_switch_fiber(save, to != NULL ? to->stack : weave.home_stack,
                                   to != NULL ? WEAVE_STACK : weave.home_stack_size);
#elif defined(WEAVE_THREAD_SANITIZER)
    __tsan_switch_to_fiber(to != NULL ? to->sanitizer : weave.home_sanitizer, 0);
    (void)save;
#else
    (void)to, (void)save;
#endif
}

static inline void weave_arrive(void *saved, bool is_from_home)
{
#ifdef WEAVE_ADDRESS_SANITIZER
    const void *stack;
    size_t size;
    __sanitizer_finish_switch_fiber(saved, &stack, &size);
    if (is_from_home) {
        weave.home_stack = (void *)(uintptr_t)stack;
        weave.home_stack_size = size;
    }
#else
    (void)saved, (void)is_from_home;
#endif
}

static inline void weave_switch(struct weave_fiber *to)
{
    struct weave_fiber *from = weave.running;
    ucontext_t *here = from != NULL ? &from->context : &weave.home;
    void *save = NULL;
    weave.running = to;
    /* A fiber that is over leaves nothing to come back to. */
    weave_leave(to, from != NULL && from->is_over ? NULL : &save);
    swapcontext(here, to != NULL ? &to->context : &weave.home);
    weave_arrive(save, false);
}

static inline struct weave_fiber *weave_best(void)
{
    struct weave_fiber *best = NULL;
    for (unsigned i = 0; i < weave.count; i++)
        if (!weave.fibers[i].is_over && (best == NULL || weave.fibers[i].rank > best->rank))
            best = &weave.fibers[i];
    return best;
}

/* Before each atomic operation. */
static inline void weave_step(void)
{
    if (weave.running == NULL || rng_below(&weave.rng, weave.patience) != 0)
        return;
    weave.running->rank = --weave.next_rank;
    struct weave_fiber *best = weave_best();
    if (best != weave.running)
        weave_switch(best);
}

static void weave_main(void)
{
    weave_arrive(NULL, true);
    weave.running->work(weave.running);
    weave.running->is_over = true;
    weave_switch(NULL);
}

static inline void weave_begin(struct weave_fiber *fiber, unsigned index, uint64_t seed)
{
    fiber->index = index;
    fiber->is_over = false;
    fiber->rank = rng_u64(&weave.rng) >> 1 | UINT64_C(1) << 63;
    rng_init(&fiber->rng, seed * WEAVE_FIBERS_MAX + index);
    fiber->stack = weave_stacks[index];
#ifdef WEAVE_ADDRESS_SANITIZER
    __asan_unpoison_memory_region(fiber->stack, WEAVE_STACK); /* of the fiber before */
#endif
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = WEAVE_STACK;
    fiber->context.uc_link = NULL;
    makecontext(&fiber->context, weave_main, 0);
#ifdef WEAVE_THREAD_SANITIZER
    fiber->sanitizer = __tsan_create_fiber(0);
#endif
}

/* Runs fibers[0 .. count - 1], whose `work` is set. */
static inline void weave_run(struct weave_fiber *fibers, unsigned count, uint64_t seed)
{
    rng_init(&weave.rng, seed);
    weave.fibers = fibers;
    weave.count = count;
    weave.patience = UINT64_C(2) << rng_below(&weave.rng, 7);
    weave.next_rank = UINT64_C(1) << 63;
#ifdef WEAVE_THREAD_SANITIZER
    weave.home_sanitizer = __tsan_get_current_fiber();
#endif
    for (unsigned i = 0; i < count; i++)
        weave_begin(&fibers[i], i, seed);
    for (struct weave_fiber *best; (best = weave_best()) != NULL;)
        weave_switch(best);
#ifdef WEAVE_THREAD_SANITIZER
    for (unsigned i = 0; i < count; i++)
        __tsan_destroy_fiber(fibers[i].sanitizer);
#endif
}

/* ---- the atomics: a chance to switch, then the plain operation ---- */

#undef atomic_load
#undef atomic_load_explicit
#undef atomic_store
#undef atomic_store_explicit
#undef atomic_exchange
#undef atomic_fetch_add
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub
#undef atomic_compare_exchange_strong_explicit
#undef atomic_compare_exchange_weak_explicit

/* The comma makes a plain value's type of an atomic one. */
#define weave_value(p) __typeof__((void)0, *(p))

#define atomic_load_explicit(p, order) (weave_step(), *(p))
#define atomic_load(p)                 (weave_step(), *(p))
#define atomic_store_explicit(p, value, order)                                                     \
    do {                                                                                           \
        weave_step();                                                                              \
        *(p) = (value);                                                                            \
    } while (0)
#define atomic_store(p, value) atomic_store_explicit(p, value, 0)
#define atomic_exchange(p, value)                                                                  \
    __extension__({                                                                                \
        weave_step();                                                                              \
        weave_value(p) weave_was = *(p);                                                           \
        *(p) = (value);                                                                            \
        weave_was;                                                                                 \
    })
#define atomic_fetch_add_explicit(p, value, order)                                                 \
    __extension__({                                                                                \
        weave_step();                                                                              \
        weave_value(p) weave_was = *(p);                                                           \
        *(p) = weave_was + (weave_value(p))(value);                                                \
        weave_was;                                                                                 \
    })
#define atomic_fetch_add(p, value) atomic_fetch_add_explicit(p, value, 0)
#define atomic_fetch_sub(p, value) atomic_fetch_add_explicit(p, -(value), 0)
#define atomic_compare_exchange_strong_explicit(p, expected, value, order, or_else)                \
    __extension__({                                                                                \
        weave_step();                                                                              \
        weave_value(p) *weave_expected = (expected);                                               \
        weave_value(p) weave_was = *(p);                                                           \
        bool weave_is_equal = weave_was == *weave_expected;                                        \
        if (weave_is_equal)                                                                        \
            *(p) = (value);                                                                        \
        else                                                                                       \
            *weave_expected = weave_was;                                                           \
        weave_is_equal;                                                                            \
    })
/* Which may fail for no reason. */
#define atomic_compare_exchange_weak_explicit(p, expected, value, order, or_else)                  \
    (rng_below(&weave.rng, 8) != 0 &&                                                              \
     atomic_compare_exchange_strong_explicit(p, expected, value, order, or_else))

#endif
