/*
 * Guarded functions: how often they run, when they do not, what the caller is told; by one thread
 * and by many.
 */
#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/ns.h"
#include "client/guard_run.h"
#include "holdfast.h"
#include "os/clock.h"

static struct hf_guard *guard;
static struct hf_error error;

/* Waits are short here, and every failure is retried at once, nearly. */
static struct hf_guard_options quick(void)
{
    return (struct hf_guard_options){.name = "thing",
                                     .retry = {.initial_ms = 1, .cap_ms = 1},
                                     .breaker = {.open_ms = 30, .success_threshold = 1}};
}

static void make(const struct hf_guard_options *options)
{
    if (hf_guard_new(&guard, options, &error) != HF_SUCCESS)
        fail_msg("%s", error.message);
}

/* ---- functions ---- */

struct plan {
    int fail_first; /* so many runs fail */
    int refuse_at;  /* the run that says REFUSED; 0: none */
    int runs;
    int64_t remaining_ms;
    const char *message;
    int64_t takes_ns;
};

static int work(const struct hf_work *told, void *arg, struct hf_error *err)
{
    struct plan *plan = arg;
    ++plan->runs;
    assert_int_equal(told->attempt, plan->runs);
    plan->remaining_ms = told->remaining_ms;
    if (plan->takes_ns > 0)
        clock_sleep_until(clock_now() + plan->takes_ns);
    if (plan->message != NULL)
        snprintf(err->message, sizeof err->message, "%s", plan->message);
    if (plan->runs == plan->refuse_at)
        return HF_WORK_REFUSED;
    return plan->runs <= plan->fail_first ? HF_WORK_FAILED : HF_WORK_DONE;
}

static int run(struct plan *plan)
{
    plan->runs = 0;
    return hf_guard_run(guard, work, plan, &error);
}

/* ---- one thread ---- */

static void guard_run__a_function_that_works_is_run_once(void **state)
{
    (void)state;
    struct plan plan = {0};
    make(NULL);
    assert_int_equal(run(&plan), HF_SUCCESS);
    assert_int_equal(plan.runs, 1);
    assert_in_range(plan.remaining_ms, 29000, 30000);
    hf_guard_free(guard);
}

static void guard_run__failures_are_repeated_while_attempts_are_left(void **state)
{
    (void)state;
    struct plan plan = {.fail_first = 2};
    const struct hf_guard_options options = quick();
    make(&options);
    assert_int_equal(run(&plan), HF_SUCCESS);
    assert_int_equal(plan.runs, 3);
    plan = (struct plan){.fail_first = 3, .message = "no answer from the thing"};
    assert_int_equal(run(&plan), HF_E_CALLBACK);
    assert_int_equal(plan.runs, 3);
    assert_int_equal(error.attempts, 3);
    assert_int_equal(error.callback, HF_WORK_FAILED);
    assert_true(error.may_repeat);
    assert_string_equal(error.message, "no answer from the thing");
    assert_string_equal(error.endpoint, "thing");
    hf_guard_free(guard);
}

static void guard_run__a_refusal_is_neither_repeated_nor_counted(void **state)
{
    (void)state;
    struct guard_run_view view;
    const struct hf_guard_options options = quick();
    make(&options);
    for (int i = 0; i < 20; i++) {
        struct plan plan = {.refuse_at = 1};
        assert_int_equal(run(&plan), HF_E_CALLBACK);
        assert_int_equal(plan.runs, 1);
        assert_int_equal(error.callback, HF_WORK_REFUSED);
        assert_false(error.may_repeat);
        assert_string_equal(error.message, "the guarded function has failed");
    }
    guard_run_view(guard, &view);
    assert_int_equal(view.breaker.state, BREAKER_CLOSED);
    assert_int_equal(view.breaker.total.failures, 0);
    hf_guard_free(guard);
}

static void guard_run__failures_in_a_row_open_the_breaker_and_success_closes_it(void **state)
{
    (void)state;
    struct plan bad = {.fail_first = 100}, good = {0};
    struct hf_guard_options options = quick();
    options.retry.attempts_max = 1;
    options.breaker.open_ms = 500;
    make(&options);
    for (int i = 0; i < 5; i++)
        assert_int_equal(run(&bad), HF_E_CALLBACK);
    assert_int_equal(run(&bad), HF_E_OPEN);
    assert_int_equal(bad.runs, 0);
    assert_true(error.may_repeat);
    assert_string_equal(error.sqlstate, "57P03");
    assert_int_equal(error.attempts, 0);
    /* Open for half a second and up to a tenth more: then one success is enough. */
    const int64_t until_ns = clock_now() + HF_SEC(30);
    while (run(&good) != HF_SUCCESS && clock_now() < until_ns)
        usleep(1000);
    assert_int_equal(run(&good), HF_SUCCESS);
    hf_guard_free(guard);
}

static void guard_run__a_disabled_breaker_refuses_nothing_and_a_monitor_only_says_so(void **state)
{
    (void)state;
    struct guard_run_view view;
    struct plan bad = {.fail_first = 100};
    struct hf_guard_options options = quick();
    options.retry.attempts_max = 1;
    options.breaker.is_disabled = true;
    make(&options);
    for (int i = 0; i < 20; i++)
        assert_int_equal(run(&bad), HF_E_CALLBACK);
    guard_run_view(guard, &view);
    assert_int_equal(view.breaker.state, BREAKER_DISABLED);
    hf_guard_free(guard);
    options.breaker.is_disabled = false;
    options.breaker.is_monitor = true;
    make(&options);
    for (int i = 0; i < 20; i++)
        assert_int_equal(run(&bad), HF_E_CALLBACK);
    guard_run_view(guard, &view);
    assert_true(view.breaker.would_reject > 0);
    hf_guard_free(guard);
}

static void guard_run__no_attempt_begins_after_the_deadline(void **state)
{
    (void)state;
    struct plan plan = {.fail_first = 100, .takes_ns = HF_MS(550)};
    struct hf_guard_options options = quick();
    options.deadline_ms = 500;
    make(&options);
    const int64_t began_ns = clock_now();
    assert_int_equal(run(&plan), HF_E_CALLBACK);
    assert_int_equal(plan.runs, 1);
    assert_true(clock_now() - began_ns < HF_SEC(20));
    assert_in_range(plan.remaining_ms, 0, 500);
    /* One that works is a success, late as it is; it counts as slow. */
    struct guard_run_view view;
    plan.fail_first = 0;
    assert_int_equal(run(&plan), HF_SUCCESS);
    guard_run_view(guard, &view);
    assert_int_equal(view.breaker.total.slow, 2);
    hf_guard_free(guard);
}

/* ---- fallbacks ---- */

static int last_resort(const struct hf_error *why, void *arg, struct hf_error *err)
{
    struct plan *plan = arg;
    (void)err;
    assert_int_equal(why->code, HF_E_CALLBACK);
    assert_string_equal(why->message, "broken");
    plan->runs += 100;
    return plan->refuse_at == 1 ? 1 : 0;
}

static void guard_run__a_fallback_answers_or_declines(void **state)
{
    (void)state;
    struct plan plan = {.fail_first = 100, .message = "broken"};
    struct guard_run_view view;
    struct hf_guard_options options = quick();
    options.fallback = last_resort;
    make(&options);
    assert_int_equal(run(&plan), HF_SUCCESS);
    assert_int_equal(plan.runs, 103);
    plan.refuse_at = 1;
    assert_int_equal(run(&plan), HF_E_CALLBACK);
    assert_string_equal(error.message, "broken");
    guard_run_view(guard, &view);
    assert_int_equal(view.fallbacks, 1);
    plan = (struct plan){0};
    assert_int_equal(run(&plan), HF_SUCCESS);
    assert_int_equal(plan.runs, 1);
    hf_guard_free(guard);
}

/* ---- by hand ---- */

static void guard_run__by_hand_permit_and_result(void **state)
{
    (void)state;
    struct hf_permit permit, second;
    struct guard_run_view view;
    struct hf_guard_options options = quick();
    options.bulkhead = (struct hf_bulkhead_options){.concurrent_max = 1, .queue_max = -1};
    make(&options);
    assert_int_equal(hf_guard_enter(guard, &permit, &error), HF_SUCCESS);
    assert_int_equal(hf_guard_enter(guard, &second, &error), HF_E_BUSY);
    assert_string_equal(error.message, "too many calls are running and waiting on \"thing\"");
    hf_guard_leave(guard, &second, HF_WORK_DONE); /* was not admitted: nothing happens */
    hf_guard_leave(guard, &permit, HF_WORK_DONE);
    hf_guard_leave(guard, &permit, HF_WORK_DONE); /* a second time: nothing happens */
    guard_run_view(guard, &view);
    assert_int_equal(view.bulkhead.in_use, 0);
    assert_int_equal(view.results[GUARD_SERVED], 1);
    assert_int_equal(view.results[GUARD_REFUSED], 1);
    hf_guard_free(guard);
}

static bool expression(bool value, int *runs)
{
    ++*runs;
    return value;
}

static void guard_run__the_macro_runs_its_expression_only_if_it_was_let_in(void **state)
{
    (void)state;
    struct hf_permit permit;
    int runs = 0;
    const struct hf_guard_options options = quick();
    make(&options);
    assert_true(HF_GUARDED(guard, &permit, &error, expression(true, &runs)));
    for (int i = 0; i < 5; i++)
        assert_false(HF_GUARDED(guard, &permit, &error, expression(false, &runs)));
    assert_int_equal(runs, 6);
    assert_false(HF_GUARDED(guard, &permit, &error, expression(true, &runs)));
    assert_int_equal(runs, 6);
    assert_int_equal(error.code, HF_E_OPEN);
    hf_guard_free(guard);
}

/* ---- usage ---- */

static void guard_run__wrong_calls_are_told_so(void **state)
{
    (void)state;
    const struct hf_guard_options bad = {.deadline_ms = -1};
    struct plan plan = {0};
    struct hf_permit permit;
    assert_int_equal(hf_guard_new(NULL, NULL, &error), HF_E_USAGE);
    guard = (void *)&plan;
    assert_int_equal(hf_guard_new(&guard, &bad, &error), HF_E_CONFIG);
    assert_null(guard);
    assert_string_equal(error.message, "options.deadline_ms is -1, and 1ms to 1d was expected");
    assert_int_equal(hf_guard_run(NULL, work, &plan, &error), HF_E_USAGE);
    assert_int_equal(hf_guard_enter(NULL, &permit, &error), HF_E_USAGE);
    hf_guard_free(NULL);
    make(NULL);
    assert_int_equal(hf_guard_run(guard, NULL, NULL, &error), HF_E_USAGE);
    assert_int_equal(hf_guard_enter(guard, NULL, &error), HF_E_USAGE);
    hf_guard_leave(guard, NULL, HF_WORK_DONE);
    assert_int_equal(hf_guard_run(guard, work, &plan, NULL), HF_SUCCESS);
    hf_guard_free(guard);
}

static void guard_run__a_child_may_only_free_it(void **state)
{
    (void)state;
    struct plan plan = {0};
    struct hf_permit permit, other;
    int status = 0;
    make(NULL);
    assert_int_equal(hf_guard_enter(guard, &permit, &error), HF_SUCCESS);
    const pid_t child = fork();
    if (child == 0) {
        const bool is_right = hf_guard_run(guard, work, &plan, &error) == HF_E_FORKED &&
                              hf_guard_enter(guard, &other, &error) == HF_E_FORKED;
        hf_guard_leave(guard, &permit, HF_WORK_DONE);
        hf_guard_free(guard);
        _exit(is_right ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    hf_guard_leave(guard, &permit, HF_WORK_DONE);
    assert_int_equal(run(&plan), HF_SUCCESS);
    hf_guard_free(guard);
}

/* ---- events ---- */

static struct {
    int kinds[HF_EVENT_BULKHEAD + 1];
    char breaker[64], bulkhead[32];
} heard;

static void on_event(const struct hf_event *event, void *arg)
{
    (void)arg;
    ++heard.kinds[event->kind];
    assert_string_equal(event->name, "thing");
    if (event->kind == HF_EVENT_BREAKER)
        snprintf(heard.breaker, sizeof heard.breaker, "%s -> %s", event->from, event->to);
    if (event->kind == HF_EVENT_BULKHEAD)
        snprintf(heard.bulkhead, sizeof heard.bulkhead, "%s", event->to);
}

static void guard_run__what_happens_is_told(void **state)
{
    (void)state;
    struct plan bad = {.fail_first = 100}, good = {0};
    struct hf_permit permit;
    struct hf_guard_options options = quick();
    memset(&heard, 0, sizeof heard);
    options.hooks = (struct hf_hooks){.on_event = on_event, .slow_ms = 1};
    options.bulkhead = (struct hf_bulkhead_options){.concurrent_max = 1, .queue_max = -1};
    make(&options);
    assert_int_equal(run(&bad), HF_E_CALLBACK);
    assert_int_equal(heard.kinds[HF_EVENT_RETRY], 2);
    assert_int_equal(heard.kinds[HF_EVENT_BREAKER], 0);
    good.takes_ns = HF_MS(3);
    assert_int_equal(run(&good), HF_SUCCESS);
    assert_true(heard.kinds[HF_EVENT_SLOW] >= 1);
    assert_int_equal(hf_guard_enter(guard, &permit, &error), HF_SUCCESS);
    assert_int_equal(run(&good), HF_E_BUSY);
    assert_int_equal(run(&good), HF_E_BUSY);
    assert_int_equal(heard.kinds[HF_EVENT_BULKHEAD], 1);
    assert_string_equal(heard.bulkhead, "full");
    hf_guard_leave(guard, &permit, HF_WORK_DONE);
    assert_string_equal(heard.bulkhead, "free");
    run(&bad);
    run(&bad);
    assert_string_equal(heard.breaker, "closed -> open");
    hf_guard_free(guard);
}

/* ---- many threads ---- */

#define THREADS 8
#define CALLS   3000

static struct {
    _Atomic int inside, most, runs;
} crowd;

static int crowded(const struct hf_work *told, void *arg, struct hf_error *err)
{
    (void)told;
    (void)arg;
    (void)err;
    const int inside = atomic_fetch_add(&crowd.inside, 1) + 1;
    int most = atomic_load(&crowd.most);
    while (inside > most && !atomic_compare_exchange_weak(&crowd.most, &most, inside)) {
    }
    if (atomic_fetch_add(&crowd.runs, 1) % 16 == 0)
        sched_yield();
    atomic_fetch_sub(&crowd.inside, 1);
    return HF_WORK_DONE;
}

static void *run_many(void *arg)
{
    _Atomic int *failed = arg;
    for (int i = 0; i < CALLS; i++)
        if (hf_guard_run(guard, crowded, NULL, NULL) != HF_SUCCESS)
            atomic_fetch_add(failed, 1);
    return NULL;
}

static void guard_run__never_more_run_than_the_bulkhead_allows_and_all_come_to_their_turn(
    void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    _Atomic int failed = 0;
    struct guard_run_view view;
    struct hf_guard_options options = quick();
    options.bulkhead = (struct hf_bulkhead_options){.concurrent_max = 2, .queue_max = THREADS};
    memset(&crowd, 0, sizeof crowd);
    make(&options);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_many, &failed), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(failed, 0);
    assert_int_equal(crowd.runs, THREADS * CALLS);
    assert_in_range(crowd.most, 1, 2);
    guard_run_view(guard, &view);
    assert_int_equal(view.calls, THREADS * CALLS);
    assert_int_equal(view.results[GUARD_SERVED], THREADS * CALLS);
    assert_int_equal(view.bulkhead.in_use, 0);
    assert_int_equal(view.bulkhead.waiting, 0);
    hf_guard_free(guard);
}

static void *run_one(void *arg)
{
    struct plan *plan = arg;
    return (void *)(intptr_t)hf_guard_run(guard, work, plan, NULL);
}

static void guard_run__a_place_is_waited_for_so_long_and_no_longer(void **state)
{
    (void)state;
    struct hf_permit permit;
    struct plan plan = {0};
    pthread_t thread;
    void *code;
    struct hf_guard_options options = quick();
    options.bulkhead = (struct hf_bulkhead_options){.concurrent_max = 1, .wait_ms = 40};
    make(&options);
    assert_int_equal(hf_guard_enter(guard, &permit, &error), HF_SUCCESS);
    const int64_t began_ns = clock_now();
    assert_int_equal(run(&plan), HF_E_BUSY);
    assert_true(clock_now() - began_ns >= HF_MS(40));
    assert_int_equal(plan.runs, 0);
    assert_string_equal(error.message, "no place became free in time on \"thing\"");
    hf_guard_leave(guard, &permit, HF_WORK_DONE);
    hf_guard_free(guard);

    options.bulkhead.wait_ms = 20000;
    make(&options);
    assert_int_equal(hf_guard_enter(guard, &permit, &error), HF_SUCCESS);
    assert_int_equal(pthread_create(&thread, NULL, run_one, &plan), 0);
    struct guard_run_view view = {0};
    while (view.bulkhead.waiting == 0)
        guard_run_view(guard, &view);
    hf_guard_leave(guard, &permit, HF_WORK_DONE);
    pthread_join(thread, &code);
    assert_int_equal((intptr_t)code, HF_SUCCESS);
    hf_guard_free(guard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guard_run__a_function_that_works_is_run_once),
        cmocka_unit_test(guard_run__failures_are_repeated_while_attempts_are_left),
        cmocka_unit_test(guard_run__a_refusal_is_neither_repeated_nor_counted),
        cmocka_unit_test(guard_run__failures_in_a_row_open_the_breaker_and_success_closes_it),
        cmocka_unit_test(guard_run__a_disabled_breaker_refuses_nothing_and_a_monitor_only_says_so),
        cmocka_unit_test(guard_run__no_attempt_begins_after_the_deadline),
        cmocka_unit_test(guard_run__a_fallback_answers_or_declines),
        cmocka_unit_test(guard_run__by_hand_permit_and_result),
        cmocka_unit_test(guard_run__the_macro_runs_its_expression_only_if_it_was_let_in),
        cmocka_unit_test(guard_run__wrong_calls_are_told_so),
        cmocka_unit_test(guard_run__a_child_may_only_free_it),
        cmocka_unit_test(guard_run__what_happens_is_told),
        cmocka_unit_test(
            guard_run__never_more_run_than_the_bulkhead_allows_and_all_come_to_their_turn),
        cmocka_unit_test(guard_run__a_place_is_waited_for_so_long_and_no_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
