#include "unit.h"

#include <pthread.h>
#include <stdlib.h>

#include "client/tx_stack.h"

/* Transactions and databases are only addresses here. */
static char databases[2];
static char transactions[4];

static struct hf_db *db(size_t i)
{
    return (struct hf_db *)(void *)&databases[i];
}

static struct hf_tx *tx(size_t i)
{
    return (struct hf_tx *)(void *)&transactions[i];
}

static struct hf_tx *lefts[8];
static size_t left_count;

static void left(struct hf_tx *which, uint32_t level)
{
    assert_int_equal(level, 3);
    lefts[left_count++] = which;
}

static int setup(void **state)
{
    (void)state;
    left_count = 0;
    return 0;
}

/* What a work does is told by its argument. */
struct step {
    int (*act)(struct step *step);
    struct step *inner;
    size_t db, tx;
    jmp_buf *jump;
    enum tx_stack_place place;
    struct hf_tx *found;
    int answer;
};

static int work(struct hf_tx *which, void *arg, struct hf_error *err)
{
    struct step *step = arg;
    assert_ptr_equal(which, tx(step->tx));
    assert_null(err);
    return step->act(step);
}

static int run(struct step *step)
{
    int result = -1;
    struct tx_stack_entry entry = {db(step->db), tx(step->tx), left, 3};
    assert_true(tx_stack_call(&entry, work, step, NULL, &result));
    return result;
}

static int look(struct step *step)
{
    step->place = tx_stack_sweep();
    step->found = tx_stack_find(db(0));
    return step->answer;
}

static int go_in(struct step *step)
{
    run(step->inner);
    return look(step);
}

static int jump(struct step *step)
{
    longjmp(*step->jump, 1);
}

/* As deep as one likes below the frames that were jumped out of. */
static __attribute__((noinline)) enum tx_stack_place look_from(volatile char *above, size_t depth)
{
    volatile char space[4096];
    space[0] = above[0];
    if (depth > 0) {
        enum tx_stack_place place = look_from(space, depth - 1);
        space[1] = space[0];
        return place;
    }
    return tx_stack_sweep();
}

static void tx_stack__a_work_finds_its_transaction_and_nobody_does_afterwards(void **state)
{
    (void)state;
    struct step step = {.act = look, .answer = 7};
    assert_int_equal(run(&step), 7);
    assert_ptr_equal(step.found, tx(0));
    assert_int_equal(step.place, TX_STACK_STANDS);
    assert_null(tx_stack_find(db(0)));
    assert_int_equal(left_count, 0);
}

static void tx_stack__the_innermost_of_each_database_is_found(void **state)
{
    (void)state;
    struct step inner = {.act = look, .db = 1, .tx = 1};
    struct step outer = {.act = go_in, .inner = &inner};
    run(&outer);
    assert_ptr_equal(inner.found, tx(0));
    struct step nested = {.act = look, .tx = 2};
    outer.inner = &nested;
    run(&outer);
    assert_ptr_equal(nested.found, tx(2));
    assert_ptr_equal(outer.found, tx(0));
}

static void tx_stack__a_work_that_calls_from_deep_below_still_stands(void **state)
{
    (void)state;
    struct step step = {.act = look};
    volatile char here = 0;
    run(&step);
    assert_int_equal(look_from(&here, 20), TX_STACK_STANDS);
    assert_int_equal(left_count, 0);
}

static __attribute__((noinline)) void jump_out_of(struct step *step, jmp_buf *where)
{
    step->jump = where;
    run(step);
}

static void tx_stack__a_work_left_by_longjmp_is_noticed_from_above(void **state)
{
    (void)state;
    jmp_buf where;
    struct step step = {.act = jump};
    if (setjmp(where) == 0)
        jump_out_of(&step, &where);
    assert_int_equal(tx_stack_sweep(), TX_STACK_STANDS);
    assert_int_equal(left_count, 1);
    assert_ptr_equal(lefts[0], tx(0));
    assert_null(tx_stack_find(db(0)));
}

static void tx_stack__a_work_left_by_longjmp_is_noticed_from_below(void **state)
{
    (void)state;
    jmp_buf where;
    volatile char here = 0;
    struct step step = {.act = jump};
    if (setjmp(where) == 0)
        jump_out_of(&step, &where);
    assert_int_equal(look_from(&here, 20), TX_STACK_STANDS);
    assert_int_equal(left_count, 1);
}

/* The new work may stand at the very place of the one that is gone. */
static void tx_stack__a_new_work_in_the_place_of_one_that_is_gone_is_not_taken_for_it(void **state)
{
    (void)state;
    jmp_buf where;
    struct step gone = {.act = jump};
    struct step next = {.act = look, .tx = 1};
    if (setjmp(where) == 0)
        jump_out_of(&gone, &where);
    assert_int_equal(tx_stack_sweep(), TX_STACK_STANDS);
    run(&next);
    assert_ptr_equal(next.found, tx(1));
    assert_int_equal(left_count, 1);
}

static void tx_stack__who_jumps_over_several_leaves_the_innermost_first(void **state)
{
    (void)state;
    jmp_buf where;
    struct step inner = {.act = jump, .tx = 1, .jump = &where};
    struct step outer = {.act = go_in, .inner = &inner};
    if (setjmp(where) == 0)
        jump_out_of(&outer, &where);
    assert_int_equal(tx_stack_sweep(), TX_STACK_STANDS);
    assert_int_equal(left_count, 2);
    assert_ptr_equal(lefts[0], tx(1));
    assert_ptr_equal(lefts[1], tx(0));
}

static int catch_inside(struct step *step)
{
    jmp_buf where;
    step->inner->jump = &where;
    if (setjmp(where) == 0)
        run(step->inner);
    return look(step);
}

static void tx_stack__a_jump_within_the_outer_work_leaves_that_one_alone(void **state)
{
    (void)state;
    struct step inner = {.act = jump, .tx = 1};
    struct step outer = {.act = catch_inside, .inner = &inner};
    run(&outer);
    assert_int_equal(outer.place, TX_STACK_STANDS);
    assert_ptr_equal(outer.found, tx(0));
    assert_int_equal(left_count, 1);
    assert_ptr_equal(lefts[0], tx(1));
}

static int nest(struct step *step)
{
    int result;
    size_t depth = step->db;
    step->db = depth + 1;
    struct tx_stack_entry entry = {db(0), tx(0), left, 3};
    if (!tx_stack_call(&entry, work, step, NULL, &result))
        step->answer = (int)depth;
    return 0;
}

static void tx_stack__too_many_works_within_works_are_refused(void **state)
{
    (void)state;
    struct step step = {.act = nest, .db = 1};
    int result;
    struct tx_stack_entry entry = {db(0), tx(0), left, 3};
    assert_true(tx_stack_call(&entry, work, &step, NULL, &result));
    assert_int_equal(step.answer, TX_STACK_MAX);
}

static void *leave_thread(void *arg)
{
    jmp_buf where;
    if (setjmp(where) == 0)
        jump_out_of(arg, &where);
    return NULL;
}

static void tx_stack__a_thread_that_ends_leaves_what_it_jumped_out_of(void **state)
{
    (void)state;
    pthread_t thread;
    struct step step = {.act = jump};
    assert_int_equal(pthread_create(&thread, NULL, leave_thread, &step), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(left_count, 1);
}

static int exit_thread(struct step *step)
{
    (void)step;
    pthread_exit(NULL);
}

static void *run_in_thread(void *arg)
{
    run(arg);
    return NULL;
}

static void tx_stack__pthread_exit_within_a_work_leaves_it(void **state)
{
    (void)state;
    pthread_t thread;
    struct step step = {.act = exit_thread};
    assert_int_equal(pthread_create(&thread, NULL, run_in_thread, &step), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(left_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(tx_stack__a_work_finds_its_transaction_and_nobody_does_afterwards,
                               setup),
        cmocka_unit_test_setup(tx_stack__the_innermost_of_each_database_is_found, setup),
        cmocka_unit_test_setup(tx_stack__a_work_that_calls_from_deep_below_still_stands, setup),
        cmocka_unit_test_setup(tx_stack__a_work_left_by_longjmp_is_noticed_from_above, setup),
        cmocka_unit_test_setup(tx_stack__a_work_left_by_longjmp_is_noticed_from_below, setup),
        cmocka_unit_test_setup(
            tx_stack__a_new_work_in_the_place_of_one_that_is_gone_is_not_taken_for_it, setup),
        cmocka_unit_test_setup(tx_stack__who_jumps_over_several_leaves_the_innermost_first, setup),
        cmocka_unit_test_setup(tx_stack__a_jump_within_the_outer_work_leaves_that_one_alone, setup),
        cmocka_unit_test_setup(tx_stack__too_many_works_within_works_are_refused, setup),
        cmocka_unit_test_setup(tx_stack__a_thread_that_ends_leaves_what_it_jumped_out_of, setup),
        cmocka_unit_test_setup(tx_stack__pthread_exit_within_a_work_leaves_it, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
