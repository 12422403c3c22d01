#include "unit.h"

#include <string.h>

#include "base/rng.h"
#include "base/timerq.h"

static void timerq__an_empty_one_waits_for_nothing(void **state)
{
    (void)state;
    struct timerq queue;
    timerq_init(&queue);
    assert_int_equal(timerq_deadline(&queue), HF_NEVER);
    assert_null(timerq_pop_due(&queue, HF_NEVER));
    assert_int_equal(queue.count, 0);
}

static void timerq__timers_come_out_by_time_and_only_when_due(void **state)
{
    (void)state;
    struct timer timers[4] = {{0}};
    static const int64_t at[] = {30, 10, 40, 20};
    struct timerq queue;
    timerq_init(&queue);
    for (int i = 0; i < 4; i++) {
        assert_false(timerq_is_linked(&timers[i]));
        timerq_add(&queue, &timers[i], at[i]);
        assert_true(timerq_is_linked(&timers[i]));
    }
    assert_int_equal(timerq_deadline(&queue), 10);
    assert_null(timerq_pop_due(&queue, 9));
    assert_ptr_equal(timerq_pop_due(&queue, 10), &timers[1]);
    assert_false(timerq_is_linked(&timers[1]));
    assert_null(timerq_pop_due(&queue, 19));
    assert_ptr_equal(timerq_pop_due(&queue, 30), &timers[3]);
    assert_ptr_equal(timerq_pop_due(&queue, 30), &timers[0]);
    assert_null(timerq_pop_due(&queue, 30));
    assert_int_equal(timerq_deadline(&queue), 40);
    timerq_remove(&queue, &timers[2]);
    assert_int_equal(timerq_deadline(&queue), HF_NEVER);
}

static void timerq__equal_times_keep_the_order_of_insertion(void **state)
{
    (void)state;
    enum {
        N = 50
    };
    struct timer timers[N] = {{0}};
    struct timerq queue;
    timerq_init(&queue);
    for (int i = 0; i < N; i++)
        timerq_add(&queue, &timers[i], 5);
    timerq_move(&queue, &timers[7], 5); /* goes to the end of its time */
    for (int i = 0; i < N; i++)
        if (i != 7)
            assert_ptr_equal(timerq_pop_due(&queue, 5), &timers[i]);
    assert_ptr_equal(timerq_pop_due(&queue, 5), &timers[7]);
}

static void timerq__a_timer_that_never_comes_stands_last(void **state)
{
    (void)state;
    struct timer never = {0}, late = {0};
    struct timerq queue;
    timerq_init(&queue);
    timerq_add(&queue, &never, HF_NEVER);
    assert_int_equal(timerq_deadline(&queue), HF_NEVER);
    timerq_add(&queue, &late, HF_NEVER - 1);
    assert_int_equal(timerq_deadline(&queue), HF_NEVER - 1);
    assert_ptr_equal(timerq_pop_due(&queue, HF_NEVER), &late);
    assert_null(timerq_pop_due(&queue, HF_NEVER - 1));
    assert_ptr_equal(timerq_pop_due(&queue, HF_NEVER), &never);
}

/* A queue beside its model: for every timer its time and when it was set, searched from end to end.
 */
enum {
    TIMERS = 60
};

struct pair {
    struct timerq queue;
    struct timer timers[TIMERS];
    bool is_set[TIMERS];
    int64_t at_ns[TIMERS];
    int order[TIMERS];
    int orders;
    size_t count;
};

/* Index of the timer that must come next, or -1. */
static int model_first(const struct pair *pair)
{
    int first = -1;
    for (int i = 0; i < TIMERS; i++) {
        if (!pair->is_set[i])
            continue;
        if (first < 0 || pair->at_ns[i] < pair->at_ns[first] ||
            (pair->at_ns[i] == pair->at_ns[first] && pair->order[i] < pair->order[first]))
            first = i;
    }
    return first;
}

static void pair_set(struct pair *pair, int i, int64_t at_ns)
{
    if (pair->is_set[i])
        timerq_move(&pair->queue, &pair->timers[i], at_ns);
    else
        timerq_add(&pair->queue, &pair->timers[i], at_ns);
    pair->count += !pair->is_set[i];
    pair->is_set[i] = true;
    pair->at_ns[i] = at_ns;
    pair->order[i] = pair->orders++;
}

static void pair_remove(struct pair *pair, int i)
{
    if (!pair->is_set[i])
        return;
    timerq_remove(&pair->queue, &pair->timers[i]);
    pair->is_set[i] = false;
    pair->count--;
}

static void pair_pop(struct pair *pair, int64_t now_ns)
{
    int i = model_first(pair);
    struct timer *due = timerq_pop_due(&pair->queue, now_ns);
    if (i < 0 || pair->at_ns[i] > now_ns) {
        assert_null(due);
        return;
    }
    assert_ptr_equal(due, &pair->timers[i]);
    pair->is_set[i] = false;
    pair->count--;
}

static void pair_compare(const struct pair *pair)
{
    int first = model_first(pair);
    assert_int_equal(timerq_deadline(&pair->queue), first < 0 ? HF_NEVER : pair->at_ns[first]);
    assert_int_equal(pair->queue.count, pair->count);
    for (int i = 0; i < TIMERS; i++)
        assert_int_equal(timerq_is_linked(&pair->timers[i]), pair->is_set[i]);
}

static void timerq__random_operations_agree_with_a_plain_table(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct pair pair = {0};
        struct rng rng;
        int64_t now_ns = 0;
        timerq_init(&pair.queue);
        rng_init(&rng, seed);
        for (int step = 0; step < 3000; step++) {
            int i = (int)rng_below(&rng, TIMERS);
            uint64_t what = rng_below(&rng, 5);
            if (what <= 1) /* few distinct times, so that many are equal */
                pair_set(&pair, i, now_ns + rng_range_ns(&rng, 0, 20));
            else if (what == 2)
                pair_remove(&pair, i);
            else
                pair_pop(&pair, now_ns += rng_range_ns(&rng, 0, 1));
            pair_compare(&pair);
        }
    }
}

static void timerq__a_long_row_of_siblings_needs_no_deep_stack(void **state)
{
    (void)state;
    enum {
        N = 200000
    };
    static struct timer timers[N];
    struct timerq queue;
    timerq_init(&queue);
    for (int i = 0; i < N; i++)
        timerq_add(&queue, &timers[i], i == 0 ? 0 : N - i);
    assert_ptr_equal(timerq_pop_due(&queue, 0), &timers[0]);
    for (int i = N - 1; i > 0; i--)
        assert_ptr_equal(timerq_pop_due(&queue, HF_NEVER), &timers[i]);
    assert_int_equal(queue.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timerq__an_empty_one_waits_for_nothing),
        cmocka_unit_test(timerq__timers_come_out_by_time_and_only_when_due),
        cmocka_unit_test(timerq__equal_times_keep_the_order_of_insertion),
        cmocka_unit_test(timerq__a_timer_that_never_comes_stands_last),
        cmocka_unit_test(timerq__random_operations_agree_with_a_plain_table),
        cmocka_unit_test(timerq__a_long_row_of_siblings_needs_no_deep_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
