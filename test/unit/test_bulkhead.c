#include "unit.h"

#include <stdalign.h>
#include <string.h>

#include "base/ns.h"
#include "core/bulkhead.h"
#include "core/bulkhead_mt.h"
#include "dies.h"

#define WAITERS 8

/* One bulkhead and what its callers hold, made anew for each case. */
static alignas(BULKHEAD_ALIGN) char memory[sizeof(struct bulkhead) + sizeof(struct hist_mt) +
                                           sizeof(struct hist)];
static struct bulkhead_permit permit[WAITERS];
static struct bulkhead_waiter waiter[WAITERS];
static struct hist hist;

static struct bulkhead_config config_of(uint32_t limit, uint32_t queue_max)
{
    struct bulkhead_config config = bulkhead_config_default();
    config.limit = limit;
    config.queue_max = queue_max;
    return config;
}

static struct bulkhead *make(const struct bulkhead_config *config)
{
    memset(permit, 0, sizeof permit);
    memset(waiter, 0, sizeof waiter);
    assert_true(bulkhead_size(config) <= sizeof memory);
    return bulkhead_init(memory, config, 0);
}

static struct bulkhead *make_of(uint32_t limit, uint32_t queue_max)
{
    struct bulkhead_config config = config_of(limit, queue_max);
    return make(&config);
}

static void take(struct bulkhead *b, size_t n, int64_t now_ns)
{
    for (size_t i = 0; i < n; i++)
        assert_true(bulkhead_try(b, now_ns, &permit[i]));
}

/* Gives a permit back after a run, as drivers do. Returns who got it. */
static struct bulkhead_waiter *give(struct bulkhead *b, struct bulkhead_permit *out, int64_t now_ns)
{
    out->ending = BULKHEAD_RAN;
    return bulkhead_release(b, out, now_ns) ? NULL : bulkhead_hand_over(b, out, now_ns);
}

static enum bulkhead_answer enter(struct bulkhead *b, size_t i, int64_t now_ns, uint8_t priority)
{
    return bulkhead_enter(b, &waiter[i], now_ns, priority, HF_NEVER);
}

static struct bulkhead_view view_of(struct bulkhead *b)
{
    struct bulkhead_view view;
    bulkhead_view(b, 0, &view);
    return view;
}

/* ---- configuration ---- */

static void bulkhead__the_default_configuration_is_valid(void **state)
{
    (void)state;
    struct bulkhead_config config = bulkhead_config_default();
    struct hf_err err;
    assert_int_equal(bulkhead_config_check(&config, &err), HF_OK);
    config.is_adaptive = true;
    assert_int_equal(bulkhead_config_check(&config, &err), HF_OK);
}

static void bulkhead__a_configuration_out_of_range_is_refused(void **state)
{
    (void)state;
    struct bulkhead_config bad[8];
    for (size_t i = 0; i < 8; i++)
        bad[i] = bulkhead_config_default();
    bad[0].limit = BULKHEAD_LIMIT_MAX + 1;
    bad[1].queue_max = BULKHEAD_QUEUE_MAX + 1;
    bad[2].wait_ns_max = -1;
    bad[3].wait_ns_max = HF_NEVER;
    bad[4].exec_ns_max = 0;
    bad[5].exec_ns_max = -1;
    bad[6].is_adaptive = true;
    bad[6].adapt.limit_min = 0;
    bad[7].is_adaptive = true;
    bad[7].adapt.window_ns = 0;
    for (size_t i = 0; i < 8; i++) {
        struct hf_err err;
        assert_int_equal(bulkhead_config_check(&bad[i], &err), HF_RC_INVALID);
        assert_string_equal(err.sqlstate, "22023");
        assert_int_equal(bulkhead_config_check(&bad[i], NULL), HF_RC_INVALID);
    }
    bad[6].is_adaptive = false; /* what is not used is not judged */
    assert_int_equal(bulkhead_config_check(&bad[6], NULL), HF_OK);
}

static void bulkhead__histograms_are_paid_for_only_if_wanted(void **state)
{
    (void)state;
    struct bulkhead_config config = bulkhead_config_default();
    size_t with = bulkhead_size(&config);
    config.has_histograms = false;
    assert_true(bulkhead_size(&config) <= 1024);
    assert_true(with - bulkhead_size(&config) == sizeof(struct hist_mt) + sizeof(struct hist));
}

/* ---- the word ---- */

static uint64_t word_of(uint32_t in_use, uint32_t limit, uint32_t high, bool has_waiters)
{
    return in_use | (uint64_t)limit << BULKHEAD_LIMIT_AT | (uint64_t)high << BULKHEAD_HIGH_AT |
           (has_waiters ? BULKHEAD_WAITERS : 0);
}

static void bulkhead__steps_change_the_word_only_where_they_may(void **state)
{
    (void)state;
    const struct {
        uint64_t word;
        bool may_try, may_grant, may_release, may_free, may_wait;
    } cases[] = {
        {word_of(0, 2, 0, false), true, true, true, true, false},
        {word_of(1, 2, 2, false), true, true, true, true, false},
        {word_of(2, 2, 2, false), false, false, true, true, true},
        {word_of(3, 2, 3, false), false, false, true, true, true},
        {word_of(1, 2, 2, true), false, true, false, false, true},
        {word_of(2, 2, 2, true), false, false, false, false, true},
        {word_of(3, 2, 3, true), false, false, false, true, true},
        {word_of(0, 0, 0, false), false, false, true, true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t word = cases[i].word, next;
        assert_int_equal(bulkhead_step_try(word, &next), cases[i].may_try);
        assert_int_equal(bulkhead_step_grant(word, &next), cases[i].may_grant);
        assert_int_equal(bulkhead_step_release(word, &next), cases[i].may_release);
        assert_int_equal(bulkhead_step_free(word, &next), cases[i].may_free);
        assert_int_equal(bulkhead_step_wait(word, &next), cases[i].may_wait);
        assert_true(bulkhead_step_empty(word) == (word & ~BULKHEAD_WAITERS));
    }
    uint64_t next, word = word_of(BULKHEAD_LIMIT_MAX - 1, BULKHEAD_LIMIT_MAX, 7, false);
    assert_true(bulkhead_step_limit(word, 3, false, &next));
    assert_true(next == word_of(BULKHEAD_LIMIT_MAX - 1, 3, 7, false));
    assert_true(bulkhead_step_grant(word_of(6, 9, 7, false), &next));
    assert_true(next == word_of(7, 9, 7, false));
    assert_true(bulkhead_step_grant(word_of(7, 9, 7, true), &next));
    assert_true(next == word_of(8, 9, 8, true));
    assert_true(bulkhead_step_free(word_of(7, 9, 7, false), &next));
    assert_true(next == word_of(6, 9, 7, false));
    assert_true(bulkhead_step_wait(word_of(9, 9, 9, false), &next));
    assert_true(next == word_of(9, 9, 9, true));
    assert_true(bulkhead_step_low(word_of(3, 9, 7, true)) == word_of(3, 9, 3, true));
}

static void bulkhead__the_limit_is_not_raised_past_waiters_without_the_lock(void **state)
{
    (void)state;
    uint64_t next;
    assert_true(bulkhead_step_limit(word_of(4, 2, 4, true), 4, false, &next)); /* still no room */
    assert_false(bulkhead_step_limit(word_of(4, 2, 4, true), 5, false, &next));
    assert_true(bulkhead_step_limit(word_of(4, 2, 4, true), 5, true, &next));
    assert_true(bulkhead_step_limit(word_of(4, 2, 4, false), 5, false, &next));
}

/* ---- permits ---- */

static void bulkhead__permits_are_granted_up_to_the_limit_and_come_back(void **state)
{
    (void)state;
    struct bulkhead *b = make_of(3, 0);
    take(b, 3, 10);
    assert_false(bulkhead_try(b, 10, &permit[3]));
    assert_false(permit[3].is_held);
    assert_null(give(b, &permit[1], 20));
    assert_false(permit[1].is_held);
    assert_int_equal(bulkhead_in_use(b), 2);
    assert_true(bulkhead_try(b, 20, &permit[1]));
    assert_int_equal(permit[1].granted_ns, 20);
    for (size_t i = 0; i < 3; i++)
        assert_null(give(b, &permit[i], 30));
    struct bulkhead_view view = view_of(b);
    assert_int_equal(view.in_use, 0);
    assert_int_equal(view.high_water, 3);
    assert_int_equal(view.accepted, 4);
    assert_int_equal(view.completed, 4);
}

static void give_twice(void *b)
{
    struct bulkhead_permit copy = permit[0];
    give(b, &permit[0], 1);
    give(b, &permit[0], 2);
    (void)copy;
}

static void hand_over_twice(void *b)
{
    bulkhead_hand_over(b, &permit[0], 1);
    bulkhead_hand_over(b, &permit[0], 1);
}

static void give_two_copies(void *b)
{
    struct bulkhead_permit copy = permit[0];
    give(b, &permit[0], 1);
    give(b, &copy, 2);
}

static void hand_over_two_copies(void *b)
{
    struct bulkhead_permit copy = permit[0];
    bulkhead_hand_over(b, &permit[0], 1);
    bulkhead_hand_over(b, &copy, 1);
}

static void enter_twice(void *b)
{
    enter(b, 0, 0, 0);
    enter(b, 0, 0, 0);
}

static void bulkhead__misuse_stops_the_program(void **state)
{
    (void)state;
    void (*const calls[])(void *) = {give_twice, hand_over_twice, give_two_copies,
                                     hand_over_two_copies, enter_twice};
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        struct bulkhead *b = make_of(1, 3);
        take(b, 1, 0);
        assert_true(dies(calls[i], b));
    }
}

static void bulkhead__a_permit_carries_its_execution_deadline(void **state)
{
    (void)state;
    struct bulkhead_config config = config_of(2, 0);
    config.exec_ns_max = 100;
    struct bulkhead *b = make(&config);
    take(b, 2, 50);
    assert_int_equal(permit[0].exec_deadline_ns, 150);
    give(b, &permit[0], 150);
    assert_int_equal(view_of(b).overruns, 0);
    give(b, &permit[1], 151);
    assert_int_equal(view_of(b).overruns, 1);

    config.exec_ns_max = HF_NEVER;
    b = make(&config);
    take(b, 1, 50);
    assert_int_equal(permit[0].exec_deadline_ns, HF_NEVER);
}

static void bulkhead__an_unused_permit_is_no_execution(void **state)
{
    (void)state;
    struct bulkhead *b = make_of(2, 0);
    take(b, 2, 0);
    assert_true(bulkhead_release(b, &permit[0], HF_SEC(100)));
    permit[1].ending = BULKHEAD_OVERLOADED;
    assert_true(bulkhead_release(b, &permit[1], HF_SEC(1)));
    struct bulkhead_view view = view_of(b);
    assert_int_equal(view.unused, 1);
    assert_int_equal(view.overruns, 0);
    assert_int_equal(view.completed, 1);
    assert_int_equal(view.overloaded, 1);
    assert_int_equal(view.accepted, 2);
    assert_int_equal(view.mean_exec_ns, HF_SEC(1));
}

static void bulkhead__time_that_runs_backwards_stands_still_and_is_counted(void **state)
{
    (void)state;
    struct bulkhead *b = make_of(1, 2);
    take(b, 1, 1000);
    assert_int_equal(bulkhead_enter(b, &waiter[0], 1000, 0, 2000), BULKHEAD_QUEUED);
    assert_int_equal(bulkhead_enter(b, &waiter[1], 400, 0, 3000), BULKHEAD_QUEUED);
    assert_int_equal(waiter[1].entered_ns, 1000);
    assert_int_equal(view_of(b).time_backwards, 1);
    permit[0].ending = BULKHEAD_RAN;
    assert_ptr_equal(bulkhead_hand_over(b, &permit[0], 900), &waiter[0]);
    assert_int_equal(waiter[0].permit.granted_ns, 1000);
    bulkhead_executions(b, &hist);
    assert_int_equal(hist_max_ns(&hist), 0);
    assert_int_equal(view_of(b).time_backwards, 3); /* the queue's time, and the execution's */
}

/* ---- the queue ---- */

static void bulkhead__waiters_are_served_in_order_of_arrival(void **state)
{
    (void)state;
    struct bulkhead *b = make_of(1, 3);
    take(b, 1, 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(enter(b, i, 1, 0), BULKHEAD_QUEUED);
    struct bulkhead_permit *out = &permit[0];
    for (size_t i = 0; i < 3; i++) {
        assert_ptr_equal(give(b, out, 2), &waiter[i]);
        assert_false(out->is_held);
        assert_int_equal(bulkhead_in_use(b), 1);
        assert_int_equal(waiter[i].state, BULKHEAD_WAITER_GRANTED);
        assert_true(waiter[i].permit.is_held);
        out = &waiter[i].permit;
    }
    assert_null(give(b, out, 3));
    assert_int_equal(view_of(b).granted_late, 3);
}

static void bulkhead__lower_numbers_go_first_and_unknown_ones_last(void **state)
{
    (void)state;
    struct bulkhead *b = make_of(1, 8);
    take(b, 1, 0);
    const uint8_t priority[] = {3, 1, 200, 0, 2, 1, 0};
    const size_t order[] = {3, 6, 1, 5, 4, 0, 2};
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(enter(b, i, 1, priority[i]), BULKHEAD_QUEUED);
    struct bulkhead_permit *out = &permit[0];
    for (size_t i = 0; i < 7; i++) {
        assert_ptr_equal(give(b, out, 2), &waiter[order[i]]);
        out = &waiter[order[i]].permit;
    }
}

static void bulkhead__a_newcomer_does_not_overtake(void **state)
{
    (void)state;
    struct bulkhead *b = make_of(1, 8);
    take(b, 1, 0);
    enter(b, 0, 1, 2);
    assert_false(bulkhead_release(b, &permit[0], 2));
    assert_true(permit[0].is_held);
    /* Room appears, and the driver has not yet asked who may have it. */
    bulkhead_resize(b, 3, 2);
    assert_false(bulkhead_try(b, 2, &permit[1]));
    assert_int_equal(enter(b, 1, 2, 2), BULKHEAD_QUEUED);
    assert_int_equal(enter(b, 2, 2, 3), BULKHEAD_QUEUED);
    assert_int_equal(waiter[2].reason.ahead, 2);
    /* The one that is first in any case need not wait. */
    assert_int_equal(enter(b, 3, 2, 1), BULKHEAD_GRANTED);
    assert_ptr_equal(bulkhead_pop_granted(b, 2), &waiter[0]);
    assert_null(bulkhead_pop_granted(b, 2));
    assert_int_equal(bulkhead_in_use(b), 3);
}

static void bulkhead__entering_where_there_is_room_needs_no_wait(void **state)
{
    (void)state;
    struct bulkhead *b = make_of(2, 0);
    assert_int_equal(bulkhead_enter(b, &waiter[0], 5, 0, 5), BULKHEAD_GRANTED);
    assert_int_equal(waiter[0].permit.granted_ns, 5);
    assert_int_equal(bulkhead_reason(b)->answer, BULKHEAD_GRANTED);
    assert_false(bulkhead_withdraw(b, &waiter[0], 5));
    assert_null(give(b, &waiter[0].permit, 6));
    /* And the waiter can be used again. */
    assert_int_equal(bulkhead_enter(b, &waiter[0], 7, 0, 7), BULKHEAD_GRANTED);
}

static void bulkhead__who_waited_too_long_is_never_granted(void **state)
{
    (void)state;
    struct bulkhead *b = make_of(1, 4);
    take(b, 1, 0);
    assert_int_equal(bulkhead_deadline(b), HF_NEVER);
    bulkhead_enter(b, &waiter[0], 0, 0, 300);
    bulkhead_enter(b, &waiter[1], 0, 0, 100);
    bulkhead_enter(b, &waiter[2], 0, 0, 200);
    assert_int_equal(bulkhead_deadline(b), 100);
    assert_null(bulkhead_pop_expired(b, 99));
    /* Two are late at 200, though nobody has asked for them yet: the third gets the permit. */
    assert_ptr_equal(give(b, &permit[0], 200), &waiter[0]);
    assert_int_equal(bulkhead_waiting(b), 0);
    assert_int_equal(bulkhead_deadline(b), 200);
    assert_ptr_equal(bulkhead_pop_expired(b, 200), &waiter[1]);
    assert_ptr_equal(bulkhead_pop_expired(b, 200), &waiter[2]);
    assert_null(bulkhead_pop_expired(b, 200));
    assert_int_equal(bulkhead_deadline(b), HF_NEVER);
    assert_int_equal(view_of(b).timed_out, 2);
    assert_true(bulkhead_withdraw(b, &waiter[1], 200)); /* harmless */
    assert_null(give(b, &waiter[0].permit, 300));
    assert_true(bulkhead_try(b, 300, &permit[0]));
}

static void bulkhead__the_last_waiter_to_expire_opens_the_fast_path(void **state)
{
    (void)state;
    struct bulkhead *b = make_of(1, 4);
    take(b, 1, 0);
    bulkhead_enter(b, &waiter[0], 0, 0, 100);
    assert_false(bulkhead_release(b, &permit[0], 1));
    assert_ptr_equal(bulkhead_pop_expired(b, 100), &waiter[0]);
    assert_true(bulkhead_release(b, &permit[0], 101));
}

static void bulkhead__no_wait_is_longer_than_configured(void **state)
{
    (void)state;
    struct bulkhead_config config = config_of(1, 4);
    config.wait_ns_max = 70;
    struct bulkhead *b = make(&config);
    take(b, 1, 0);
    enter(b, 0, 10, 0);
    assert_int_equal(bulkhead_deadline(b), 80);
    assert_int_equal(waiter[0].reason.wait_left_ns, 70);
}

static void bulkhead__withdrawing_is_defined_in_every_state(void **state)
{
    (void)state;
    struct bulkhead *b = make_of(1, 4);
    take(b, 1, 0);
    assert_true(bulkhead_withdraw(b, &waiter[0], 0)); /* never entered */
    enter(b, 0, 0, 0);
    bulkhead_enter(b, &waiter[1], 0, 0, 50);
    enter(b, 2, 0, 0);
    assert_true(bulkhead_withdraw(b, &waiter[0], 1));  /* waiting */
    assert_true(bulkhead_withdraw(b, &waiter[1], 60)); /* expired, not popped */
    assert_null(bulkhead_pop_expired(b, 60));
    assert_ptr_equal(give(b, &permit[0], 61), &waiter[2]);
    assert_false(bulkhead_withdraw(b, &waiter[2], 62)); /* granted meanwhile */
    assert_null(give(b, &waiter[2].permit, 63));
    struct bulkhead_view view = view_of(b);
    assert_int_equal(view.queued, 3);
    assert_int_equal(view.cancelled, 1);
    assert_int_equal(view.timed_out, 1);
    assert_int_equal(view.granted_late, 1);
    assert_int_equal(view.waiting, 0);
}

static void bulkhead__the_last_waiter_to_leave_opens_the_fast_path(void **state)
{
    (void)state;
    struct bulkhead *b = make_of(1, 4);
    take(b, 1, 0);
    enter(b, 0, 0, 0);
    /* The release came while somebody waited, and the hand-over when nobody did any more. */
    assert_false(bulkhead_release(b, &permit[0], 1));
    assert_true(bulkhead_withdraw(b, &waiter[0], 1));
    assert_null(bulkhead_hand_over(b, &permit[0], 1));
    assert_int_equal(bulkhead_in_use(b), 0);
    assert_true(bulkhead_try(b, 2, &permit[0]));
}

static void bulkhead__an_empty_queue_has_nobody_to_serve(void **state)
{
    (void)state;
    struct bulkhead_queue queue;
    bulkhead_queue_init(&queue);
    assert_null(bulkhead_queue_pop(&queue));
    assert_null(bulkhead_queue_pop_expired(&queue));
    assert_int_equal(bulkhead_queue_ahead(&queue, BULKHEAD_PRIORITIES - 1), 0);
    struct bulkhead *b = make_of(1, 1);
    assert_null(bulkhead_pop_granted(b, 0));
    assert_null(bulkhead_pop_expired(b, 0));
}

/* ---- refusals ---- */

static void bulkhead__a_full_queue_refuses(void **state)
{
    (void)state;
    struct bulkhead *b = make_of(1, 2);
    take(b, 1, 0);
    enter(b, 0, 0, 1);
    enter(b, 1, 0, 1);
    assert_int_equal(enter(b, 2, 0, 0), BULKHEAD_REFUSED_FULL);
    assert_int_equal(waiter[2].state, BULKHEAD_WAITER_IDLE);
    assert_int_equal(waiter[2].reason.answer, BULKHEAD_REFUSED_FULL);
    assert_int_equal(bulkhead_reason(b)->in_use, 1);
    assert_int_equal(bulkhead_reason(b)->limit, 1);
    assert_int_equal(view_of(b).refused[BULKHEAD_REFUSED_FULL], 1);
    bulkhead_withdraw(b, &waiter[0], 0);
    assert_int_equal(enter(b, 2, 0, 0), BULKHEAD_QUEUED);
}

static void bulkhead__expired_waiters_make_room_in_the_queue(void **state)
{
    (void)state;
    struct bulkhead *b = make_of(1, 1);
    take(b, 1, 0);
    bulkhead_enter(b, &waiter[0], 0, 0, 10);
    assert_int_equal(enter(b, 1, 9, 0), BULKHEAD_REFUSED_FULL);
    assert_int_equal(enter(b, 1, 10, 0), BULKHEAD_QUEUED);
}

static void bulkhead__who_has_no_time_left_is_refused_at_once(void **state)
{
    (void)state;
    struct bulkhead_config config = config_of(1, 4);
    config.refuses_hopeless = false;
    struct bulkhead *b = make(&config);
    take(b, 1, 0);
    assert_int_equal(bulkhead_enter(b, &waiter[0], 5, 0, 5), BULKHEAD_REFUSED_HOPELESS);
    assert_int_equal(bulkhead_enter(b, &waiter[0], 5, 0, 6), BULKHEAD_QUEUED);
}

static void bulkhead__a_wait_is_hopeless_two_deviations_below_its_average(void **state)
{
    (void)state;
    /* n-th in line, limit, mean, and the longest wait that is still hopeless. */
    const struct {
        uint32_t nth, limit;
        int64_t mean_ns, hopeless_ns;
    } cases[] = {
        {1, 1, HF_SEC(1), -1},
        {5, 1, HF_SEC(1), -1},
        {6, 1, HF_SEC(1), HF_SEC(1) - 1},
        {9, 1, HF_SEC(1), HF_SEC(3) - 1},
        {9, 3, HF_SEC(1), HF_SEC(1) - 1},
        {100, 100, HF_MS(10), HF_MS(8) - 1},
        {10000, 10, HF_MS(1), HF_MS(980) - 1},
        {100, 1, 0, -1},
        {BULKHEAD_QUEUE_MAX + BULKHEAD_LIMIT_MAX, 1, HF_NEVER, HF_NEVER / 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool is_hopeless = cases[i].hopeless_ns >= 0;
        int64_t left_ns = is_hopeless ? cases[i].hopeless_ns : 0;
        assert_int_equal(
            bulkhead_is_hopeless(cases[i].nth, cases[i].limit, cases[i].mean_ns, left_ns),
            is_hopeless);
        if (is_hopeless && i + 1 < sizeof cases / sizeof cases[0])
            assert_false(
                bulkhead_is_hopeless(cases[i].nth, cases[i].limit, cases[i].mean_ns, left_ns + 1));
    }
    assert_int_equal(bulkhead_expected_ns(9, 3, HF_SEC(1)), HF_SEC(3));
}

/* A bulkhead whose operations took 1 s so far, one of them running, seven calls in line. */
static struct bulkhead *make_slow(bool refuses_hopeless)
{
    struct bulkhead_config config = config_of(1, 20);
    config.refuses_hopeless = refuses_hopeless;
    struct bulkhead *b = make(&config);
    take(b, 1, 0);
    give(b, &permit[0], HF_SEC(1));
    take(b, 1, HF_SEC(1));
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(enter(b, i, HF_SEC(1), 1), BULKHEAD_QUEUED);
    return b;
}

static void bulkhead__a_hopeless_wait_is_refused_at_once(void **state)
{
    (void)state;
    struct bulkhead *b = make_slow(true);
    /* The eighth waits 8 s on average; 2 s are two deviations less. */
    int64_t now = HF_SEC(1);
    assert_int_equal(bulkhead_enter(b, &waiter[7], now, 1, now + HF_SEC(2) - 1),
                     BULKHEAD_REFUSED_HOPELESS);
    assert_int_equal(waiter[7].reason.ahead, 7);
    assert_int_equal(waiter[7].reason.expected_ns, HF_SEC(8));
    assert_int_equal(waiter[7].reason.wait_left_ns, HF_SEC(2) - 1);
    assert_int_equal(view_of(b).refused[BULKHEAD_REFUSED_HOPELESS], 1);
    assert_int_equal(bulkhead_enter(b, &waiter[7], now, 1, now + HF_SEC(2)), BULKHEAD_QUEUED);
    bulkhead_withdraw(b, &waiter[7], now);
    /* Whom only higher priorities stand before has hope. */
    assert_int_equal(bulkhead_enter(b, &waiter[7], now, 0, now + HF_MS(1)), BULKHEAD_QUEUED);

    b = make_slow(false);
    assert_int_equal(bulkhead_enter(b, &waiter[7], now, 1, now + 1), BULKHEAD_QUEUED);
}

static void bulkhead__a_debt_counts_as_waiters_ahead(void **state)
{
    (void)state;
    struct bulkhead *b = make_of(8, 20);
    take(b, 8, 0);
    give(b, &permit[0], HF_SEC(1));
    take(b, 1, HF_SEC(1));
    bulkhead_resize(b, 1, HF_SEC(1));
    assert_int_equal(bulkhead_enter(b, &waiter[0], HF_SEC(1), 0, HF_SEC(3) - 1),
                     BULKHEAD_REFUSED_HOPELESS);
    assert_int_equal(waiter[0].reason.expected_ns, HF_SEC(8));
}

static void bulkhead__hope_returns_as_operations_become_quick_again(void **state)
{
    (void)state;
    struct bulkhead *b = make_slow(true);
    int64_t now = HF_SEC(1);
    struct bulkhead_permit *out = &permit[0];
    unsigned ended = 0;
    /* Those in line are served in 1 ms each, and line up again. */
    while (bulkhead_enter(b, &waiter[7], now, 1, now + HF_MS(100)) == BULKHEAD_REFUSED_HOPELESS) {
        now += HF_MS(1);
        struct bulkhead_waiter *next = give(b, out, now);
        if (next == NULL)
            fail_msg("nobody was served");
        else
            *out = next->permit;
        assert_int_equal(bulkhead_enter(b, next, now, 1, HF_NEVER), BULKHEAD_QUEUED);
        assert_true(++ended < 60);
    }
    assert_true(ended > 16); /* an average of many is not moved by one */
}

/* ---- another limit ---- */

static void bulkhead__a_lower_limit_is_paid_by_releases(void **state)
{
    (void)state;
    struct bulkhead *b = make_of(4, 4);
    take(b, 4, 0);
    bulkhead_resize(b, 2, 1);
    assert_int_equal(bulkhead_in_use(b), 4);
    assert_int_equal(enter(b, 0, 1, 0), BULKHEAD_QUEUED);
    assert_null(give(b, &permit[0], 2));
    assert_null(give(b, &permit[1], 2));
    assert_int_equal(bulkhead_in_use(b), 2);
    assert_null(bulkhead_pop_granted(b, 2));
    assert_ptr_equal(give(b, &permit[2], 2), &waiter[0]);
    assert_int_equal(bulkhead_in_use(b), 2);
}

static void bulkhead__a_higher_limit_serves_those_who_wait(void **state)
{
    (void)state;
    struct bulkhead *b = make_of(1, 4);
    take(b, 1, 0);
    for (size_t i = 0; i < 4; i++)
        enter(b, i, 0, 0);
    bulkhead_resize(b, 4, 7);
    for (size_t i = 0; i < 3; i++)
        assert_ptr_equal(bulkhead_pop_granted(b, 7), &waiter[i]);
    assert_null(bulkhead_pop_granted(b, 7));
    assert_int_equal(waiter[2].permit.granted_ns, 7);
    assert_int_equal(bulkhead_in_use(b), 4);
    assert_int_equal(view_of(b).high_water, 4);
}

static void bulkhead__a_limit_of_zero_closes_and_another_opens_again(void **state)
{
    (void)state;
    struct bulkhead *b = make_of(1, 4);
    take(b, 1, 0);
    enter(b, 0, 0, 0);
    bulkhead_resize(b, 0, 1);
    assert_false(bulkhead_try(b, 1, &permit[1]));
    assert_int_equal(enter(b, 1, 1, 0), BULKHEAD_REFUSED_LIMIT);
    assert_int_equal(view_of(b).refused[BULKHEAD_REFUSED_LIMIT], 1);
    assert_null(give(b, &permit[0], 2)); /* who waited before waits on */
    assert_int_equal(bulkhead_waiting(b), 1);
    bulkhead_resize(b, 1, 3);
    assert_ptr_equal(bulkhead_pop_granted(b, 3), &waiter[0]);
}

/* A share of 0 of something that is given to whoever waits: nothing is held, and still there is
 * somebody to serve once the limit rises. */
static void bulkhead__at_a_limit_of_zero_one_may_wait(void **state)
{
    (void)state;
    struct bulkhead_config config = config_of(0, 2);
    config.waits_at_zero = true;
    struct bulkhead *b = make(&config);
    assert_null(bulkhead_first(b));
    assert_false(bulkhead_try(b, 0, &permit[0]));
    assert_int_equal(enter(b, 0, 0, 1), BULKHEAD_QUEUED);
    assert_int_equal(enter(b, 1, 0, 0), BULKHEAD_QUEUED);
    assert_ptr_equal(bulkhead_first(b), &waiter[1]);
    assert_int_equal(enter(b, 2, 0, 0), BULKHEAD_REFUSED_FULL);
    assert_null(bulkhead_pop_granted(b, 1));
    bulkhead_resize(b, 1, 2);
    assert_ptr_equal(bulkhead_pop_granted(b, 2), &waiter[1]);
    bulkhead_resize(b, 0, 3); /* a debt, which its release pays */
    assert_null(give(b, &waiter[1].permit, 4));
    assert_ptr_equal(bulkhead_first(b), &waiter[0]);
    bulkhead_resize(b, 1, 5);
    assert_ptr_equal(bulkhead_pop_granted(b, 5), &waiter[0]);
}

static void bulkhead__a_new_configuration_keeps_everything_else(void **state)
{
    (void)state;
    struct bulkhead_config config = config_of(1, 2);
    struct bulkhead *b = make(&config);
    take(b, 1, 0);
    give(b, &permit[0], 5);
    take(b, 1, 5);
    enter(b, 0, 5, 0);
    config.limit = 3;
    config.queue_max = 1;
    config.wait_ns_max = 30;
    config.exec_ns_max = 40;
    config.has_histograms = false;
    bulkhead_configure(b, &config, 10);
    assert_ptr_equal(bulkhead_pop_granted(b, 10), &waiter[0]);
    assert_int_equal(waiter[0].permit.exec_deadline_ns, 50);
    assert_int_equal(permit[0].exec_deadline_ns, 5 + HF_SEC(30));
    assert_int_equal(enter(b, 1, 10, 0), BULKHEAD_GRANTED);
    assert_int_equal(enter(b, 2, 10, 0), BULKHEAD_QUEUED);
    assert_int_equal(bulkhead_deadline(b), 40);
    assert_int_equal(enter(b, 3, 10, 0), BULKHEAD_REFUSED_FULL);
    struct bulkhead_view view = view_of(b);
    assert_int_equal(view.accepted, 4);
    assert_int_equal(view.completed, 1);
    bulkhead_executions(b, &hist); /* the memory is there, and so are the numbers */
    assert_int_equal(hist.count, 1);
}

/* ---- what is measured ---- */

static void bulkhead__waits_and_executions_are_recorded(void **state)
{
    (void)state;
    struct bulkhead *b = make_of(1, 4);
    bulkhead_waits(b, &hist);
    assert_int_equal(hist.count, 0);
    take(b, 1, 0);
    enter(b, 0, 20, 0);
    enter(b, 1, 30, 0);
    bulkhead_withdraw(b, &waiter[1], 99); /* waited for nothing: not a wait before an execution */
    give(b, &permit[0], 100);
    give(b, &waiter[0].permit, 150);
    take(b, 1, 200);

    bulkhead_executions(b, &hist);
    assert_int_equal(hist.count, 2);
    assert_int_equal(hist_min_ns(&hist), 50);
    assert_int_equal(hist_max_ns(&hist), 100);
    bulkhead_waits(b, &hist);
    assert_int_equal(hist.count, 3);
    assert_int_equal(hist_quantile_ns(&hist, 0.6), 0); /* two of three came in at once */
    assert_int_equal(hist_max_ns(&hist), 80);
}

static void bulkhead__without_histograms_everything_is_counted_still(void **state)
{
    (void)state;
    struct bulkhead_config config = config_of(1, 4);
    config.has_histograms = false;
    struct bulkhead *b = make(&config);
    take(b, 1, 0);
    enter(b, 0, 20, 0);
    give(b, &permit[0], 100);
    give(b, &waiter[0].permit, 150);
    assert_int_equal(view_of(b).completed, 2);
    assert_int_equal(view_of(b).accepted, 2);
    bulkhead_executions(b, &hist);
    assert_int_equal(hist.count, 0);
    bulkhead_waits(b, &hist);
    assert_int_equal(hist.count, 0);
}

static void bulkhead__answers_have_names(void **state)
{
    (void)state;
    for (int i = 0; i < BULKHEAD_ANSWERS; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(bulkhead_answer_name((enum bulkhead_answer)i),
                                    bulkhead_answer_name((enum bulkhead_answer)j));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bulkhead__the_default_configuration_is_valid),
        cmocka_unit_test(bulkhead__a_configuration_out_of_range_is_refused),
        cmocka_unit_test(bulkhead__histograms_are_paid_for_only_if_wanted),
        cmocka_unit_test(bulkhead__steps_change_the_word_only_where_they_may),
        cmocka_unit_test(bulkhead__the_limit_is_not_raised_past_waiters_without_the_lock),
        cmocka_unit_test(bulkhead__permits_are_granted_up_to_the_limit_and_come_back),
        cmocka_unit_test(bulkhead__misuse_stops_the_program),
        cmocka_unit_test(bulkhead__a_permit_carries_its_execution_deadline),
        cmocka_unit_test(bulkhead__an_unused_permit_is_no_execution),
        cmocka_unit_test(bulkhead__time_that_runs_backwards_stands_still_and_is_counted),
        cmocka_unit_test(bulkhead__waiters_are_served_in_order_of_arrival),
        cmocka_unit_test(bulkhead__lower_numbers_go_first_and_unknown_ones_last),
        cmocka_unit_test(bulkhead__a_newcomer_does_not_overtake),
        cmocka_unit_test(bulkhead__entering_where_there_is_room_needs_no_wait),
        cmocka_unit_test(bulkhead__who_waited_too_long_is_never_granted),
        cmocka_unit_test(bulkhead__the_last_waiter_to_expire_opens_the_fast_path),
        cmocka_unit_test(bulkhead__no_wait_is_longer_than_configured),
        cmocka_unit_test(bulkhead__withdrawing_is_defined_in_every_state),
        cmocka_unit_test(bulkhead__the_last_waiter_to_leave_opens_the_fast_path),
        cmocka_unit_test(bulkhead__an_empty_queue_has_nobody_to_serve),
        cmocka_unit_test(bulkhead__a_full_queue_refuses),
        cmocka_unit_test(bulkhead__expired_waiters_make_room_in_the_queue),
        cmocka_unit_test(bulkhead__who_has_no_time_left_is_refused_at_once),
        cmocka_unit_test(bulkhead__a_wait_is_hopeless_two_deviations_below_its_average),
        cmocka_unit_test(bulkhead__a_hopeless_wait_is_refused_at_once),
        cmocka_unit_test(bulkhead__a_debt_counts_as_waiters_ahead),
        cmocka_unit_test(bulkhead__hope_returns_as_operations_become_quick_again),
        cmocka_unit_test(bulkhead__a_lower_limit_is_paid_by_releases),
        cmocka_unit_test(bulkhead__a_higher_limit_serves_those_who_wait),
        cmocka_unit_test(bulkhead__a_limit_of_zero_closes_and_another_opens_again),
        cmocka_unit_test(bulkhead__at_a_limit_of_zero_one_may_wait),
        cmocka_unit_test(bulkhead__a_new_configuration_keeps_everything_else),
        cmocka_unit_test(bulkhead__waits_and_executions_are_recorded),
        cmocka_unit_test(bulkhead__without_histograms_everything_is_counted_still),
        cmocka_unit_test(bulkhead__answers_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
