/*
 * A whole breaker on one thread: what trips it, how it recovers, and each trap that others have
 * fallen into. The random comparison with a model is in test_breaker_model.c, hands and history in
 * test_breaker_hands.c, threads in test_breaker_mt.c.
 */
#include "unit.h"

#include "breaker_rig.h"

#define S HF_SEC(1)

static void open_at(int64_t now_ns)
{
    for (int i = 0; i < 4 && breaker_state(b) == BREAKER_CLOSED; i++)
        call_at(now_ns, BAD);
    assert_int_equal(breaker_state(b), BREAKER_OPEN);
}

/* To HALF_OPEN with one probe out, at the end of the open time. */
static struct breaker_permit probe_after_open_at(int64_t now_ns)
{
    open_at(now_ns);
    struct breaker_permit probe = admit_at(breaker_retry_at(b));
    assert_true(breaker_permit_is_probe(&probe));
    assert_int_equal(breaker_state(b), BREAKER_HALF_OPEN);
    return probe;
}

/* ---- the defaults ---- */

static void breaker_shell__its_defaults_are_valid_and_small(void **state)
{
    (void)state;
    struct breaker_config config = breaker_config_default();
    struct hf_err err;
    assert_int_equal(breaker_config_check(&config, &err), HF_OK);
    assert_true(BREAKER_STATE_BYTES <= 256);
    assert_true(breaker_size(&config) < 5000);
    rig_make(&config, 0);
    /* Gone altogether: five calls are enough. */
    calls_at(S, 4, BAD);
    assert_int_equal(breaker_state(b), BREAKER_CLOSED);
    call_at(S, BAD);
    assert_int_equal(breaker_state(b), BREAKER_OPEN);
    assert_int_equal(view_at(S).cause, BREAKER_CAUSE_CONSECUTIVE);
    assert_in_range(breaker_retry_at(b), 31 * S, 34 * S + HF_MS(2));
    refused_at(breaker_retry_at(b) - 1);
    /* Three probes at once, three successes. */
    int64_t now_ns = breaker_retry_at(b);
    struct breaker_permit probes[3] = {admit_at(now_ns), admit_at(now_ns), admit_at(now_ns)};
    refused_at(now_ns);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(breaker_state(b), BREAKER_HALF_OPEN);
        breaker_record(b, &probes[i], GOOD, now_ns);
    }
    assert_int_equal(breaker_state(b), BREAKER_CLOSED);
    assert_int_equal(view_at(now_ns).window.calls, 0);
}

/* ---- what trips ---- */

static void breaker_shell__the_call_that_fills_the_minimum_may_be_a_good_one(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    for (int kind = WINDOW_COUNT; kind <= WINDOW_TIME; kind++) {
        config.window_kind = (enum window_kind)kind;
        rig_make(&config, 0);
        call_at(S, GOOD);
        calls_at(S, 2, BAD);
        assert_int_equal(breaker_state(b), BREAKER_CLOSED);
        call_at(S, GOOD);
        assert_int_equal(breaker_state(b), BREAKER_OPEN);
        assert_int_equal(view_at(S).cause, BREAKER_CAUSE_FAILURE_RATE);
    }
}

static void breaker_shell__a_rate_below_its_threshold_does_not_trip(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    for (int kind = WINDOW_COUNT; kind <= WINDOW_TIME; kind++) {
        config.window_kind = (enum window_kind)kind;
        rig_make(&config, 0);
        for (int i = 0; i < 1000; i++) {
            calls_at(S + i * HF_MS(1), 2, GOOD);
            call_at(S + i * HF_MS(1), BAD);
        }
        assert_int_equal(breaker_state(b), BREAKER_CLOSED);
    }
}

/* 6 good ones, then 4 bad ones: 40 %. When the good ones drop out of the window it is 100 %. */
static void breaker_shell__good_calls_that_drop_out_are_missed(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    for (int how = 0; how < 4; how++) {
        config.slow_rate_ppm = how == 3 ? 750000 : 0;
        rig_make(&config, 0);
        calls_at(0, 6, GOOD);
        calls_at(5 * S, 4, BAD);
        calls_at(6 * S, 1, GOOD);
        assert_int_equal(breaker_state(b), BREAKER_CLOSED);
        struct breaker_permit permit;
        if (how == 0)
            breaker_tick(b, 11 * S);
        else if (how == 1)
            call_at(11 * S, GOOD);
        else if (how == 2)
            call_at(11 * S, BAD);
        else
            assert_false(breaker_admit(b, 11 * S, &permit));
        assert_int_equal(breaker_state(b), BREAKER_OPEN);
    }
}

static void breaker_shell__neutral_results_are_no_calls(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    config.failure_threshold = 4;
    rig_make(&config, 0);
    for (int i = 0; i < 3; i++) {
        call_at(S, BAD);
        calls_at(S, 10, NEUTRAL);
    }
    assert_int_equal(breaker_state(b), BREAKER_CLOSED);
    struct breaker_view view = view_at(S);
    assert_int_equal(view.window.calls, 3);
    assert_int_equal(view.total.calls, 3);
    assert_int_equal(view.neutral, 30);
    assert_int_equal(view.consecutive, 3);
    assert_int_equal(view.in_flight, 0);
    call_at(S, BAD);
    assert_int_equal(breaker_state(b), BREAKER_OPEN);
}

static void breaker_shell__slow_calls_trip_at_their_own_rate(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    rig_make(&config, 0);
    struct breaker_permit permits[4];
    for (int i = 0; i < 4; i++)
        permits[i] = admit_at(S);
    breaker_record(b, &permits[0], GOOD, 2 * S - 1);
    for (int i = 1; i < 3; i++)
        breaker_record(b, &permits[i], GOOD, 2 * S);
    assert_int_equal(breaker_state(b), BREAKER_CLOSED);
    breaker_record(b, &permits[3], GOOD, 2 * S);
    assert_int_equal(breaker_state(b), BREAKER_OPEN);
    assert_int_equal(view_at(2 * S).cause, BREAKER_CAUSE_SLOW_RATE);
    assert_int_equal(view_at(2 * S).total.slow, 3);
    assert_int_equal(view_at(2 * S).total.failures, 0);
}

static void breaker_shell__without_a_slow_rate_nothing_is_slow(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    config.slow_rate_ppm = 0;
    config.slow_ns = 0; /* not looked at */
    rig_make(&config, 0);
    for (int i = 0; i < 10; i++) {
        struct breaker_permit permit = admit_at(i * S);
        breaker_record(b, &permit, GOOD, (i + 100) * S);
    }
    assert_int_equal(breaker_state(b), BREAKER_CLOSED);
    assert_int_equal(view_at(200 * S).total.slow, 0);
    assert_true(breaker_deadline(b) == HF_NEVER);
}

/* ---- calls that hang ---- */

static void breaker_shell__calls_that_hang_trip_without_ending(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    for (int how = 0; how < 3; how++) {
        rig_make(&config, 0);
        struct breaker_permit quick = admit_at(S), permit;
        for (int i = 0; i < 4; i++)
            admit_at(S);
        assert_int_equal(view_at(S).in_flight, 5);
        int64_t due_ns = breaker_deadline(b);
        assert_in_range(due_ns, 2 * S, 2 * S + S / 4);
        breaker_record(b, &quick, GOOD, 2 * S - 1);
        assert_int_equal(breaker_state(b), BREAKER_CLOSED);
        if (how == 0) {
            breaker_tick(b, due_ns);
        } else if (how == 1) {
            /* The very call that notices is refused. */
            assert_false(breaker_admit(b, due_ns, &permit));
        } else {
            permit = admit_at(due_ns - 1);
            breaker_record(b, &permit, GOOD, due_ns);
            /* 4 of 6 are slow: not enough. */
            assert_int_equal(breaker_state(b), BREAKER_CLOSED);
            assert_int_equal(view_at(due_ns).window.slow, 4);
            continue;
        }
        assert_int_equal(breaker_state(b), BREAKER_OPEN);
        assert_int_equal(view_at(due_ns).cause, BREAKER_CAUSE_SLOW_RATE);
        assert_int_equal(view_at(due_ns).in_flight, 0);
    }
}

static void breaker_shell__a_tick_at_the_deadline_always_moves_the_deadline(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    config.min_calls = 1000;
    rig_make(&config, 0);
    int admitted = 0;
    for (int64_t now_ns = 0; now_ns < 3 * S; now_ns += HF_MS(37), admitted++)
        admit_at(now_ns);
    int64_t last_ns = 0;
    for (int64_t due_ns; (due_ns = breaker_deadline(b)) != HF_NEVER; last_ns = due_ns) {
        assert_true(due_ns > last_ns);
        breaker_tick(b, due_ns);
    }
    assert_int_equal(view_at(last_ns).window.slow, admitted);
    assert_int_equal(view_at(last_ns).total.calls, 0); /* none has ended */
}

/* A call that was counted as slow while it hung, and ends. */
static void breaker_shell__a_call_counted_in_flight_is_not_slow_again(void **state)
{
    (void)state;
    static const struct {
        enum outcome_verdict verdict;
        struct window_sum window, total;
    } cases[] = {
        {GOOD, {1, 0, 1, 0}, {1, 0, 1, 0}},
        {BAD, {2, 1, 1, 0}, {1, 1, 1, 0}},
        {NEUTRAL, {1, 0, 1, 0}, {0, 0, 0, 0}},
    };
    struct breaker_config config = rig_config();
    for (int kind = WINDOW_COUNT; kind <= WINDOW_TIME; kind++)
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            config.window_kind = (enum window_kind)kind;
            rig_make(&config, 0);
            struct breaker_permit permit = admit_at(S);
            breaker_tick(b, 3 * S);
            struct breaker_view view = view_at(3 * S);
            assert_int_equal(view.window.slow, 1);
            assert_int_equal(view.total.calls, 0);
            breaker_record(b, &permit, cases[i].verdict, 4 * S);
            view = view_at(4 * S);
            assert_memory_equal(&view.window, &cases[i].window, sizeof view.window);
            assert_memory_equal(&view.total, &cases[i].total, sizeof view.total);
            assert_int_equal(view.in_flight, 0);
        }
}

static void breaker_shell__calls_that_began_in_an_earlier_life_do_not_hang_in_this_one(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    rig_make(&config, 0);
    for (int i = 0; i < 10; i++)
        admit_at(S);
    breaker_reset(b, S);
    assert_int_equal(view_at(S).in_flight, 0);
    assert_true(breaker_deadline(b) == HF_NEVER);
    breaker_tick(b, 10 * S);
    assert_int_equal(breaker_state(b), BREAKER_CLOSED);
    assert_int_equal(view_at(10 * S).window.calls, 0);
}

/* ---- stale results ---- */

static void breaker_shell__a_stale_result_is_inert(void **state)
{
    (void)state;
    static const enum outcome_verdict verdicts[] = {GOOD, BAD, NEUTRAL};
    struct breaker_config config = rig_config();
    config.failure_threshold = 3;
    for (size_t i = 0; i < 3; i++) {
        rig_make(&config, 0);
        struct breaker_permit late[8];
        for (int k = 0; k < 8; k++)
            late[k] = admit_at(0);
        struct breaker_permit probe = probe_after_open_at(0);
        int64_t now_ns = breaker_retry_at(b) + 10 * S;
        /* Neither settles the probing nor gives a lease back. */
        for (int k = 0; k < 4; k++)
            breaker_record(b, &late[k], verdicts[i], now_ns);
        struct breaker_view view = view_at(now_ns);
        assert_int_equal(view.state, BREAKER_HALF_OPEN);
        assert_int_equal(view.leases, 1);
        assert_int_equal(view.successes, 0);
        assert_int_equal(view.stale, 4);
        assert_int_equal(view.total.calls, verdicts[i] == NEUTRAL ? 3 : 7);
        breaker_record(b, &probe, GOOD, now_ns);
        call_at(now_ns, GOOD);
        assert_int_equal(breaker_state(b), BREAKER_CLOSED);
        for (int k = 4; k < 8; k++)
            breaker_record(b, &late[k], verdicts[i], now_ns);
        assert_int_equal(breaker_state(b), BREAKER_CLOSED);
        assert_int_equal(view_at(now_ns).window.calls, 0);
        assert_int_equal(view_at(now_ns).consecutive, 0);
        assert_int_equal(view_at(now_ns).stale, 8);
    }
}

static void breaker_shell__recording_twice_or_without_admission_does_nothing(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    rig_make(&config, 0);
    struct breaker_permit probe = probe_after_open_at(0);
    int64_t now_ns = 10 * S + HF_MS(2);
    struct breaker_permit none = {0}, other = admit_at(now_ns);
    breaker_record(b, &none, BAD, now_ns);
    breaker_record(b, &probe, GOOD, now_ns);
    breaker_record(b, &probe, GOOD, now_ns);
    breaker_record(b, &probe, BAD, now_ns);
    struct breaker_view view = view_at(now_ns);
    assert_int_equal(view.state, BREAKER_HALF_OPEN);
    assert_int_equal(view.successes, 1);
    assert_int_equal(view.leases, 1);
    breaker_record(b, &other, GOOD, now_ns);
    assert_int_equal(breaker_state(b), BREAKER_CLOSED);
}

/* ---- probing ---- */

static void breaker_shell__a_neutral_probe_gives_its_lease_back_and_says_nothing(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    rig_make(&config, 0);
    struct breaker_permit probe = probe_after_open_at(0);
    int64_t now_ns = 10 * S + HF_MS(2);
    /* However many: it neither closes nor opens nor runs out of leases. */
    for (int i = 0; i < 1000; i++) {
        breaker_abandon(b, &probe, now_ns);
        assert_int_equal(view_at(now_ns).leases, 0);
        assert_int_equal(view_at(now_ns).successes, 0);
        probe = admit_at(now_ns);
        assert_true(breaker_permit_is_probe(&probe));
    }
    assert_int_equal(view_at(now_ns).probes, 1001);
}

static void breaker_shell__probes_are_bounded_and_say_when_to_ask_again(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    rig_make(&config, 0);
    probe_after_open_at(0);
    int64_t now_ns = 10 * S + HF_MS(2);
    assert_int_equal(breaker_retry_at(b), 0);
    admit_at(now_ns + S);
    for (int i = 0; i < 100; i++)
        refused_at(now_ns + S);
    assert_int_equal(view_at(now_ns).rejected, 100);
    assert_in_range(breaker_retry_at(b), 13 * S, now_ns + 3 * S);
    assert_int_equal(breaker_deadline(b), breaker_retry_at(b));
}

static void breaker_shell__a_probe_that_never_answers_reopens(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    for (int how = 0; how < 3; how++) {
        rig_make(&config, 0);
        struct breaker_permit probe = probe_after_open_at(0);
        int64_t due_ns = breaker_deadline(b);
        breaker_tick(b, due_ns - 1);
        assert_int_equal(breaker_state(b), BREAKER_HALF_OPEN);
        if (how == 0)
            breaker_tick(b, due_ns);
        else if (how == 1)
            refused_at(due_ns);
        else
            breaker_record(b, &probe, GOOD, due_ns);
        struct breaker_view view = view_at(due_ns);
        assert_int_equal(view.state, BREAKER_OPEN);
        assert_int_equal(view.cause, BREAKER_CAUSE_PROBE_EXPIRED);
        assert_int_equal(view.reopened, 1);
        /* A whole open time, and a longer one: not what was left of the old. */
        assert_in_range(view.retry_at_ns, due_ns + 20 * S, due_ns + 20 * S + HF_MS(2));
        breaker_record(b, &probe, GOOD, due_ns);
        assert_int_equal(breaker_state(b), BREAKER_OPEN);
    }
}

static void breaker_shell__a_lease_granted_again_has_its_whole_time(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    rig_make(&config, 0);
    struct breaker_permit probe = probe_after_open_at(0);
    int64_t now_ns = 10 * S + HF_MS(2);
    for (int i = 0; i < 10; i++) {
        now_ns += 2 * S;
        breaker_abandon(b, &probe, now_ns);
        probe = admit_at(now_ns);
    }
    breaker_tick(b, now_ns + 3 * S - 1);
    assert_int_equal(breaker_state(b), BREAKER_HALF_OPEN);
    breaker_tick(b, now_ns + 3 * S);
    assert_int_equal(breaker_state(b), BREAKER_OPEN);
}

static void breaker_shell__a_slow_probe_is_a_failed_one_if_slow_calls_are_watched(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    for (int is_watched = 0; is_watched < 2; is_watched++) {
        config.slow_rate_ppm = is_watched ? 750000 : 0;
        rig_make(&config, 0);
        struct breaker_permit probe = probe_after_open_at(0);
        breaker_record(b, &probe, GOOD, probe.start_ns + S);
        assert_int_equal(breaker_state(b), is_watched ? BREAKER_OPEN : BREAKER_HALF_OPEN);
        assert_int_equal(view_at(20 * S).cause,
                         is_watched ? BREAKER_CAUSE_PROBE_SLOW : BREAKER_CAUSE_OPEN_TIME_OVER);
    }
}

static void breaker_shell__the_open_time_grows_until_it_closes(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    rig_make(&config, 0);
    open_at(0);
    int64_t since_ns = 0;
    static const int64_t seconds[] = {10, 20, 40, 60, 60};
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        int64_t until_ns = breaker_retry_at(b);
        assert_in_range(until_ns - since_ns, seconds[i] * S, seconds[i] * S + HF_MS(2));
        since_ns = until_ns;
        call_at(until_ns, BAD);
    }
    calls_at(breaker_retry_at(b), 2, GOOD);
    assert_int_equal(breaker_state(b), BREAKER_CLOSED);
    int64_t now_ns = view_at(0).changed_at_ns;
    open_at(now_ns);
    assert_in_range(breaker_retry_at(b) - now_ns, 10 * S, 10 * S + HF_MS(2));
}

/* ---- time ---- */

static void breaker_shell__an_idle_open_breaker_lets_a_probe_out_after_any_time(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    for (int64_t days = 1; days < 100; days++) {
        rig_make(&config, 0);
        open_at(S);
        struct breaker_permit probe = admit_at(S + days * 86400 * S);
        assert_true(breaker_permit_is_probe(&probe));
        /* And a probe that was forgotten for as long is expired. */
        assert_true(breaker_deadline(b) < S + (days * 86400 + 4) * S);
        refused_at(S + 2 * days * 86400 * S);
    }
}

static void breaker_shell__time_that_runs_backwards_stands_still(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    rig_make(&config, 100 * S);
    struct breaker_permit permit = admit_at(100 * S);
    breaker_record(b, &permit, GOOD, 50 * S);
    assert_int_equal(view_at(100 * S).time_backwards, 1);
    assert_int_equal(view_at(100 * S).total.slow, 0);
    open_at(100 * S);
    int64_t until_ns = breaker_retry_at(b);
    refused_at(5 * S);
    assert_int_equal(view_at(100 * S).time_backwards, 2);
    assert_int_equal(breaker_retry_at(b), until_ns);
    /* What the clocks of threads differ by is no mention worth. */
    refused_at(100 * S - HF_US(10));
    assert_int_equal(view_at(100 * S).time_backwards, 2);
    struct breaker_permit probe = admit_at(until_ns);
    breaker_record(b, &probe, GOOD, 7 * S);
    assert_int_equal(view_at(until_ns).successes, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(breaker_shell__its_defaults_are_valid_and_small),
        cmocka_unit_test(breaker_shell__the_call_that_fills_the_minimum_may_be_a_good_one),
        cmocka_unit_test(breaker_shell__a_rate_below_its_threshold_does_not_trip),
        cmocka_unit_test(breaker_shell__good_calls_that_drop_out_are_missed),
        cmocka_unit_test(breaker_shell__neutral_results_are_no_calls),
        cmocka_unit_test(breaker_shell__slow_calls_trip_at_their_own_rate),
        cmocka_unit_test(breaker_shell__without_a_slow_rate_nothing_is_slow),
        cmocka_unit_test(breaker_shell__calls_that_hang_trip_without_ending),
        cmocka_unit_test(breaker_shell__a_tick_at_the_deadline_always_moves_the_deadline),
        cmocka_unit_test(breaker_shell__a_call_counted_in_flight_is_not_slow_again),
        cmocka_unit_test(
            breaker_shell__calls_that_began_in_an_earlier_life_do_not_hang_in_this_one),
        cmocka_unit_test(breaker_shell__a_stale_result_is_inert),
        cmocka_unit_test(breaker_shell__recording_twice_or_without_admission_does_nothing),
        cmocka_unit_test(breaker_shell__a_neutral_probe_gives_its_lease_back_and_says_nothing),
        cmocka_unit_test(breaker_shell__probes_are_bounded_and_say_when_to_ask_again),
        cmocka_unit_test(breaker_shell__a_probe_that_never_answers_reopens),
        cmocka_unit_test(breaker_shell__a_lease_granted_again_has_its_whole_time),
        cmocka_unit_test(breaker_shell__a_slow_probe_is_a_failed_one_if_slow_calls_are_watched),
        cmocka_unit_test(breaker_shell__the_open_time_grows_until_it_closes),
        cmocka_unit_test(breaker_shell__an_idle_open_breaker_lets_a_probe_out_after_any_time),
        cmocka_unit_test(breaker_shell__time_that_runs_backwards_stands_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
