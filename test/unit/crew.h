/* Threads that start together at the same work, for tests of what threads share. */
#ifndef HF_TEST_UNIT_CREW_H
#define HF_TEST_UNIT_CREW_H

#include <pthread.h>
#include <stdint.h>

#include "base/rng.h"

#define CREW_MAX 4

struct crew_member {
    unsigned index;
    struct rng rng;
    void (*work)(struct crew_member *self);
    pthread_barrier_t *start;
    uint64_t counts[8]; /* what the work counts, for the test to add up */
};

static inline void *crew_begin(void *argument)
{
    struct crew_member *self = argument;
    pthread_barrier_wait(self->start);
    self->work(self);
    return NULL;
}

/* Runs works[0 .. count - 1], a thread each, and returns when all are done. */
static inline void crew_run(struct crew_member *crew, unsigned count, uint64_t seed,
                            void (*const works[])(struct crew_member *self))
{
    pthread_t threads[CREW_MAX];
    pthread_barrier_t start;
    assert_true(count <= CREW_MAX);
    pthread_barrier_init(&start, NULL, count);
    for (unsigned i = 0; i < count; i++) {
        crew[i] = (struct crew_member){.index = i, .work = works[i], .start = &start};
        rng_init(&crew[i].rng, seed + i);
        assert_int_equal(pthread_create(&threads[i], NULL, crew_begin, &crew[i]), 0);
    }
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&start);
}

static inline uint64_t crew_sum(const struct crew_member *crew, unsigned count, unsigned which)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < count; i++)
        sum += crew[i].counts[which];
    return sum;
}

#endif
