/*
 * Threads that call, wait and run through one bulkhead, as a blocking driver does: one mutex for
 * the queue, and a condition variable for each thread to sleep on.
 *
 * What must never happen is watched by a counter that knows nothing of the bulkhead: how many are
 * inside. A lost hand-over shows as a thread that sleeps until its patience is over.
 */
#include "unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/container_of.h"
#include "base/ns.h"
#include "base/rng.h"
#include "core/bulkhead_mt.h"

#define THREADS 6
#define FOREVER HF_SEC(200) /* longer than any test that goes well */

struct caller {
    struct bulkhead_waiter waiter;
    pthread_cond_t wake;
    bool is_granted; /* under the lock */
    struct rng rng;
    pthread_t thread;
    uint64_t attempts, executions, refused, timed_out;
};

static alignas(BULKHEAD_ALIGN) char memory[sizeof(struct bulkhead) + sizeof(struct hist_mt) +
                                           sizeof(struct hist)];
static struct bulkhead *bulkhead;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct caller caller[THREADS];
static pthread_barrier_t start; /* nobody is done before the last one has begun */
static _Atomic uint32_t inside;
static _Atomic uint32_t inside_max;
static _Atomic bool is_over;
static struct {
    uint32_t calls;
    int64_t patience_ns_max; /* FOREVER, or a random one up to this */
    bool has_priorities;
} plan;
static struct hist hist;

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return HF_SEC(time.tv_sec) + time.tv_nsec;
}

/* ---- a driver ---- */

static void wake(struct bulkhead_waiter *waiter)
{
    struct caller *granted = container_of(waiter, struct caller, waiter);
    granted->is_granted = true;
    pthread_cond_signal(&granted->wake);
}

static void serve_waiters(void)
{
    struct bulkhead_waiter *waiter;
    while ((waiter = bulkhead_pop_granted(bulkhead, now())) != NULL)
        wake(waiter);
}

/* A driver that happens to hold the lock may hand over at once; here it makes such calls meet
 * others on the fast path. */
static void give_back(struct caller *me, struct bulkhead_permit *permit)
{
    permit->ending = BULKHEAD_RAN;
    if (rng_below(&me->rng, 4) != 0 && bulkhead_release(bulkhead, permit, now()))
        return;
    pthread_mutex_lock(&lock);
    struct bulkhead_waiter *waiter = bulkhead_hand_over(bulkhead, permit, now());
    if (waiter != NULL)
        wake(waiter);
    serve_waiters();
    pthread_mutex_unlock(&lock);
}

/* Under the lock: sleeps until granted or out of patience. False: out of patience. */
static bool sleep_until_granted(struct caller *me, int64_t until_ns)
{
    while (!me->is_granted && now() < until_ns) {
        struct timespec until = {
            .tv_sec = until_ns / HF_SEC(1),
            .tv_nsec = until_ns % HF_SEC(1),
        };
        pthread_cond_timedwait(&me->wake, &lock, &until);
    }
    return !bulkhead_withdraw(bulkhead, &me->waiter, now());
}

static bool get_permit(struct caller *me, struct bulkhead_permit *permit)
{
    if (bulkhead_try(bulkhead, now(), permit))
        return true;
    int64_t patience_ns =
        plan.patience_ns_max == FOREVER ? FOREVER : rng_range_ns(&me->rng, 0, plan.patience_ns_max);
    uint8_t priority = plan.has_priorities ? (uint8_t)rng_below(&me->rng, 4) : 0;
    pthread_mutex_lock(&lock);
    int64_t until_ns = now() + patience_ns;
    me->is_granted = false;
    enum bulkhead_answer answer = bulkhead_enter(bulkhead, &me->waiter, now(), priority, until_ns);
    bool has_permit = answer == BULKHEAD_GRANTED;
    if (answer == BULKHEAD_QUEUED) {
        has_permit = sleep_until_granted(me, until_ns);
        me->timed_out += !has_permit;
    } else if (answer != BULKHEAD_GRANTED) {
        ++me->refused;
    }
    pthread_mutex_unlock(&lock);
    *permit = me->waiter.permit;
    return has_permit;
}

static void run(struct caller *me)
{
    uint32_t here = atomic_fetch_add(&inside, 1) + 1, most = atomic_load(&inside_max);
    while (here > most && !atomic_compare_exchange_weak(&inside_max, &most, here))
        ;
    /* Sometimes long enough for others to line up, sometimes not. */
    for (uint64_t i = rng_below(&me->rng, 4); i > 0; i--)
        sched_yield();
    atomic_fetch_sub(&inside, 1);
}

static void *call_often(void *argument)
{
    struct caller *me = argument;
    pthread_barrier_wait(&start);
    for (uint32_t i = 0; i < plan.calls; i++) {
        struct bulkhead_permit permit;
        ++me->attempts;
        if (!get_permit(me, &permit))
            continue;
        run(me);
        ++me->executions;
        give_back(me, &permit);
    }
    return NULL;
}

/* ---- the frame of each case ---- */

static void begin(const struct bulkhead_config *config)
{
    atomic_store(&inside_max, 0);
    atomic_store(&is_over, false);
    bulkhead = bulkhead_init(memory, config, now());
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    memset(caller, 0, sizeof caller);
    for (size_t i = 0; i < THREADS; i++) {
        rng_init(&caller[i].rng, i);
        pthread_cond_init(&caller[i].wake, &attributes);
    }
    pthread_condattr_destroy(&attributes);
    pthread_barrier_init(&start, NULL, THREADS);
    for (size_t i = 0; i < THREADS; i++)
        pthread_create(&caller[i].thread, NULL, call_often, &caller[i]);
}

/* Everybody ends, and the books agree with what the callers saw. */
static void end(void)
{
    uint64_t attempts = 0, executions = 0, refused = 0, timed_out = 0;
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(caller[i].thread, NULL);
        pthread_cond_destroy(&caller[i].wake);
        attempts += caller[i].attempts;
        executions += caller[i].executions;
        refused += caller[i].refused;
        timed_out += caller[i].timed_out;
    }
    pthread_barrier_destroy(&start);
    struct bulkhead_view view;
    bulkhead_view(bulkhead, now(), &view);
    assert_int_equal(attempts, THREADS * plan.calls);
    assert_int_equal(attempts, executions + refused + timed_out);
    assert_int_equal(view.in_use, 0);
    assert_int_equal(view.waiting, 0);
    assert_int_equal(view.accepted, executions);
    assert_int_equal(view.completed, executions);
    assert_int_equal(view.timed_out + view.cancelled, timed_out);
    assert_int_equal(view.queued, view.granted_late + timed_out);
    assert_int_equal(view.refused[BULKHEAD_REFUSED_FULL] + view.refused[BULKHEAD_REFUSED_HOPELESS] +
                         view.refused[BULKHEAD_REFUSED_LIMIT],
                     refused);
    bulkhead_executions(bulkhead, &hist);
    assert_int_equal(hist.count, executions);
    bulkhead_waits(bulkhead, &hist);
    assert_int_equal(hist.count, executions);
}

static struct bulkhead_config patient_config(uint32_t limit)
{
    struct bulkhead_config config = bulkhead_config_default();
    config.limit = limit;
    config.wait_ns_max = 2 * FOREVER;
    return config;
}

/* ---- cases ---- */

static void bulkhead_mt__never_more_than_the_limit_run_and_nobody_is_forgotten(void **state)
{
    (void)state;
    plan.calls = 4000;
    plan.patience_ns_max = FOREVER;
    for (uint32_t limit = 1; limit <= 3; limit++) {
        struct bulkhead_config config = patient_config(limit);
        begin(&config);
        end();
        assert_true(atomic_load(&inside_max) <= limit);
        struct bulkhead_view view;
        bulkhead_view(bulkhead, now(), &view);
        assert_int_equal(view.timed_out, 0);
        assert_int_equal(view.accepted, THREADS * plan.calls);
        assert_true(view.queued > 0);
    }
}

static void bulkhead_mt__impatient_callers_get_a_permit_or_an_answer(void **state)
{
    (void)state;
    plan.calls = 8000;
    plan.patience_ns_max = HF_US(20);
    plan.has_priorities = true;
    struct bulkhead_config config = patient_config(2);
    config.queue_max = 3;
    begin(&config);
    end();
    plan.has_priorities = false;
    assert_true(atomic_load(&inside_max) <= 2);
}

static void *resize_often(void *argument)
{
    struct rng *rng = argument;
    while (!atomic_load(&is_over)) {
        pthread_mutex_lock(&lock);
        bulkhead_resize(bulkhead, (uint32_t)rng_below(rng, 5), now());
        serve_waiters();
        pthread_mutex_unlock(&lock);
        sched_yield();
    }
    pthread_mutex_lock(&lock);
    bulkhead_resize(bulkhead, 4, now());
    serve_waiters();
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Changes the limit all the time until every caller has ended. */
static void end_while_resizing(void)
{
    struct rng rng;
    rng_init(&rng, 99);
    pthread_t resizer;
    pthread_create(&resizer, NULL, resize_often, &rng);
    struct timespec a_while = {.tv_nsec = 100000000};
    nanosleep(&a_while, NULL);
    atomic_store(&is_over, true);
    pthread_join(resizer, NULL);
    end();
}

static void bulkhead_mt__the_limit_may_change_at_any_time(void **state)
{
    (void)state;
    plan.calls = 8000;
    plan.patience_ns_max = FOREVER;
    struct bulkhead_config config = patient_config(4);
    begin(&config);
    end_while_resizing();
    assert_true(atomic_load(&inside_max) <= 4);
}

static void bulkhead_mt__an_adaptive_limit_moves_under_threads(void **state)
{
    (void)state;
    plan.calls = 8000;
    plan.patience_ns_max = FOREVER;
    struct bulkhead_config config = patient_config(2);
    config.is_adaptive = true;
    config.adapt.limit_min = 1;
    config.adapt.limit_max = 5;
    config.adapt.samples_min = 10;
    config.adapt.window_ns = 1; /* less than may be configured: all that matters is the races */
    begin(&config);
    end();
    assert_true(atomic_load(&inside_max) <= 5);
    struct bulkhead_view view;
    bulkhead_view(bulkhead, now(), &view);
    assert_true(view.windows > 100);
    assert_in_range(view.limit, 1, 5);
    assert_int_equal(view.timed_out, 0);

    begin(&config);
    end_while_resizing();
    assert_true(atomic_load(&inside_max) <= 5);
}

/* Nobody waits, and nothing is done between coming and going. The clock is a counter. */
static _Atomic int64_t ticks;

static void *run_often(void *argument)
{
    const uint32_t *times = argument;
    for (uint32_t i = 0; i < *times; i++) {
        struct bulkhead_permit permit;
        if (!bulkhead_try(bulkhead, atomic_fetch_add(&ticks, 10), &permit))
            continue;
        permit.ending = BULKHEAD_RAN;
        bool is_free = bulkhead_release(bulkhead, &permit, atomic_fetch_add(&ticks, 10));
        assert_true(is_free);
    }
    return NULL;
}

static void bulkhead_mt__hand_overs_meet_the_fast_path(void **state)
{
    (void)state;
    uint32_t times = 1000000;
    struct bulkhead_config config = patient_config(10);
    bulkhead = bulkhead_init(memory, &config, 0);
    pthread_t thread;
    pthread_create(&thread, NULL, run_often, &times);
    for (uint32_t i = 0; i < times; i++) {
        struct bulkhead_permit permit; /* without the lock: nobody else makes such calls */
        assert_true(bulkhead_try(bulkhead, 0, &permit));
        assert_null(bulkhead_hand_over(bulkhead, &permit, 0));
    }
    pthread_join(thread, NULL);
    assert_int_equal(bulkhead_in_use(bulkhead), 0);
}

/* A window that ends at every operation: threads close it at once, and limits are ordered
 * meanwhile. */
static void bulkhead_mt__a_window_is_closed_by_one_thread_at_a_time(void **state)
{
    (void)state;
    struct bulkhead_config config = patient_config(10);
    config.is_adaptive = true;
    config.adapt.limit_min = 8;
    config.adapt.samples_min = 1;
    config.adapt.window_ns = 1;
    bulkhead = bulkhead_init(memory, &config, 0);
    pthread_t threads[3];
    uint32_t times = 20000;
    for (size_t i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, run_often, &times);
    for (uint32_t i = 0; i < 5000; i++)
        bulkhead_resize(bulkhead, 8 + i % 8, atomic_load(&ticks));
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(bulkhead_in_use(bulkhead), 0);
    assert_int_equal(atomic_load(&bulkhead->order), 0);
    assert_in_range(bulkhead_limit(bulkhead), 8, config.adapt.limit_max);
    bulkhead_resize(bulkhead, 11, atomic_load(&ticks));
    assert_int_equal(bulkhead_limit(bulkhead), 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bulkhead_mt__never_more_than_the_limit_run_and_nobody_is_forgotten),
        cmocka_unit_test(bulkhead_mt__impatient_callers_get_a_permit_or_an_answer),
        cmocka_unit_test(bulkhead_mt__the_limit_may_change_at_any_time),
        cmocka_unit_test(bulkhead_mt__an_adaptive_limit_moves_under_threads),
        cmocka_unit_test(bulkhead_mt__hand_overs_meet_the_fast_path),
        cmocka_unit_test(bulkhead_mt__a_window_is_closed_by_one_thread_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
