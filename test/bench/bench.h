/*
 * A small harness for micro-benchmarks: how many nanoseconds does one operation take, with one
 * thread and with two at the same object?
 *
 *     static void bench_x(void *object, uint64_t times, unsigned thread) { ... times operations }
 *
 *     bench_run(&bench, &(struct bench_case){.name = "x", .bytes = size, .object = x,
 *                                            .run = bench_x, .threads_max = 2});
 *
 * An operation is called in a loop of the case itself, so that no call by pointer is measured. The
 * length of a round is found by doubling; then rounds are run until the time is used up, and the
 * median of them is reported, because the machine may be shared. With two threads both do the same
 * number of operations, and a round ends with the slower; what is reported is the time that one
 * thread needs for one operation.
 *
 * Output: a line for each case and number of threads, "name<TAB>threads<TAB>ns<TAB>bytes", or
 * with --json an object with these keys.
 */
#ifndef HF_TEST_BENCH_BENCH_H
#define HF_TEST_BENCH_BENCH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BENCH_THREADS_MAX 2
#define BENCH_ROUNDS_MAX  1000

struct bench {
    double seconds; /* for each line of output */
    bool is_json;
    const char *only; /* run cases whose name contains this; NULL: all */
};

struct bench_case {
    const char *name;
    size_t bytes; /* of the object; 0: says nothing */
    void *object;
    void (*run)(void *object, uint64_t times, unsigned thread);
    unsigned threads_max;
};

struct bench_worker {
    const struct bench_case *what;
    uint64_t times;
    unsigned thread;
    pthread_barrier_t *start;
};

/* [--json] [--seconds S] [--only TEXT]. False if there is anything else, which is then told. */
static inline bool bench_arguments(struct bench *bench, int argc, char **argv)
{
    *bench = (struct bench){.seconds = 0.5};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            bench->is_json = true;
        } else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
            bench->seconds = strtod(argv[++i], NULL);
        } else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
            bench->only = argv[++i];
        } else {
            fprintf(stderr, "usage: %s [--json] [--seconds S] [--only TEXT]\n", argv[0]);
            return false;
        }
    }
    return true;
}

static inline int64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* What this thread has used of its processor: while others use it, this stands still. */
static inline int64_t bench_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The compiler must not conclude anything about what `p` points to. */
static inline void bench_keep(void *p)
{
    __asm__ volatile("" : : "g"(p) : "memory");
}

static inline void *bench_work(void *argument)
{
    struct bench_worker *worker = argument;
    pthread_barrier_wait(worker->start);
    worker->what->run(worker->what->object, worker->times, worker->thread);
    return NULL;
}

/* Nanoseconds that `threads` threads need for `times` operations each. */
static inline int64_t bench_round(const struct bench_case *what, uint64_t times, unsigned threads)
{
    if (threads == 1) {
        int64_t begun_ns = bench_cpu_ns();
        what->run(what->object, times, 0);
        return bench_cpu_ns() - begun_ns;
    }
    pthread_barrier_t start;
    pthread_t ids[BENCH_THREADS_MAX];
    struct bench_worker workers[BENCH_THREADS_MAX];
    pthread_barrier_init(&start, NULL, threads + 1);
    for (unsigned i = 0; i < threads; i++) {
        workers[i] = (struct bench_worker){what, times, i, &start};
        if (pthread_create(&ids[i], NULL, bench_work, &workers[i]) != 0) {
            fprintf(stderr, "bench: could not start a thread\n");
            exit(1);
        }
    }
    int64_t begun_ns = bench_now_ns();
    pthread_barrier_wait(&start);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    int64_t took_ns = bench_now_ns() - begun_ns;
    pthread_barrier_destroy(&start);
    return took_ns;
}

static inline int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double bench_median_ns(const struct bench *bench, const struct bench_case *what,
                                     unsigned threads)
{
    static double rounds[BENCH_ROUNDS_MAX];
    int64_t round_ns = (int64_t)(bench->seconds * 1e9 / 30);
    uint64_t times = 1000;
    while (bench_round(what, times, threads) < round_ns && times < UINT64_C(1) << 40)
        times *= 2;
    int64_t end_ns = bench_now_ns() + (int64_t)(bench->seconds * 1e9);
    size_t count = 0;
    while (count < 3 || (count < BENCH_ROUNDS_MAX && bench_now_ns() < end_ns))
        rounds[count++] = (double)bench_round(what, times, threads) / (double)times;
    qsort(rounds, count, sizeof *rounds, bench_compare);
    return rounds[count / 2];
}

static inline void bench_run(const struct bench *bench, const struct bench_case *what)
{
    if (bench->only != NULL && strstr(what->name, bench->only) == NULL)
        return;
    for (unsigned threads = 1; threads <= what->threads_max; threads++) {
        double ns = bench_median_ns(bench, what, threads);
        if (bench->is_json)
            printf("{\"name\": \"%s\", \"threads\": %u, \"ns\": %.2f, \"bytes\": %zu}\n",
                   what->name, threads, ns, what->bytes);
        else
            printf("%s\t%u\t%.2f\t%zu\n", what->name, threads, ns, what->bytes);
        fflush(stdout);
    }
}

#endif
