/*
 * What people do to a breaker, and what they see of it: modes, forced states, orders, live changes
 * of the configuration, the history and the stream of changes.
 */
#include "unit.h"

#include <stdlib.h>

#include "breaker_rig.h"
#include "dies.h"

#define S HF_SEC(1)

static void trip_now(int64_t now_ns)
{
    calls_at(now_ns, 4, BAD);
}

/* ---- monitor ---- */

static void breaker_hands__monitor_decides_and_refuses_nothing(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    config.is_monitor = true;
    rig_make(&config, 0);
    trip_now(0);
    assert_int_equal(breaker_state(b), BREAKER_OPEN);
    for (int i = 0; i < 5; i++) {
        struct breaker_permit permit = admit_at(S);
        assert_int_equal(permit.role, BREAKER_ROLE_OBSERVER);
        breaker_record(b, &permit, i < 2 ? BAD : GOOD, S);
    }
    struct breaker_view view = view_at(S);
    assert_int_equal(view.state, BREAKER_OPEN);
    assert_int_equal(view.would_reject, 5);
    assert_int_equal(view.rejected, 0);
    assert_int_equal(view.stale, 0);
    assert_int_equal(view.total.calls, 9);
    assert_int_equal(view.total.failures, 6);
    assert_int_equal(breaker_retry_at(b), 0);
    /* It probes as if it had refused, and those beyond the leases only watch. */
    int64_t now_ns = 11 * S;
    struct breaker_permit first = admit_at(now_ns), second = admit_at(now_ns),
                          third = admit_at(now_ns);
    assert_int_equal(second.role, BREAKER_ROLE_PROBE);
    assert_int_equal(third.role, BREAKER_ROLE_OBSERVER);
    breaker_record(b, &third, BAD, now_ns);
    breaker_record(b, &first, GOOD, now_ns);
    breaker_record(b, &second, GOOD, now_ns);
    assert_int_equal(breaker_state(b), BREAKER_CLOSED);
    breaker_force(b, BREAKER_FORCED_OPEN, now_ns);
    call_at(now_ns, GOOD);
}

static void breaker_hands__the_mode_changes_without_changing_the_state(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    rig_make(&config, 0);
    struct breaker_permit permit = admit_at(0);
    breaker_set_mode(b, true);
    breaker_set_mode(b, true);
    breaker_record(b, &permit, BAD, 0); /* not stale */
    assert_int_equal(view_at(0).window.failures, 1);
    assert_int_equal(breaker_generation(b), 0);
    trip_now(0);
    call_at(S, GOOD);
    breaker_set_mode(b, false);
    refused_at(S);
    assert_false(view_at(S).is_monitor);
}

/* ---- forced ---- */

static void breaker_hands__forced_open_stays_until_a_hand_moves_it(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    rig_make(&config, 0);
    struct breaker_permit permit = admit_at(0);
    breaker_force(b, BREAKER_FORCED_OPEN, 0);
    breaker_force(b, BREAKER_FORCED_OPEN, 0);
    assert_int_equal(breaker_generation(b), 1);
    refused_at(86400 * S);
    assert_true(breaker_retry_at(b) == HF_NEVER);
    breaker_record(b, &permit, GOOD, S);
    breaker_tick(b, 2 * 86400 * S);
    assert_false(breaker_trip(b, S, 86400 * S));
    assert_int_equal(breaker_state(b), BREAKER_FORCED_OPEN);
    breaker_reset(b, 86400 * S);
    call_at(86400 * S, GOOD);
}

static void breaker_hands__disabled_admits_all_and_counts_totals_only(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    config.failure_threshold = 2;
    rig_make(&config, 0);
    breaker_force(b, BREAKER_DISABLED, 0);
    calls_at(S, 100, BAD);
    call_at(S, NEUTRAL);
    struct breaker_view view = view_at(S);
    assert_int_equal(view.state, BREAKER_DISABLED);
    assert_int_equal(view.window.calls, 0);
    assert_int_equal(view.total.calls, 100);
    assert_int_equal(view.total.failures, 100);
    assert_int_equal(view.neutral, 1);
    assert_int_equal(view.stale, 0);
    assert_int_equal(breaker_retry_at(b), 0);
    assert_false(breaker_trip(b, S, S));
}

static void breaker_hands__a_reset_starts_a_new_life(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    rig_make(&config, 0);
    struct breaker_permit old = admit_at(0);
    calls_at(0, 3, BAD);
    breaker_reset(b, S);
    assert_int_equal(view_at(S).window.calls, 0);
    assert_int_equal(view_at(S).total.calls, 3);
    breaker_record(b, &old, BAD, S);
    assert_int_equal(view_at(S).window.calls, 0);
    assert_int_equal(view_at(S).stale, 1);
    trip_now(S);
    breaker_reset(b, 2 * S);
    call_at(2 * S, GOOD);
    assert_int_equal(view_at(S).cause, BREAKER_CAUSE_RESET);
}

static void force_closed(void *unused)
{
    (void)unused;
    breaker_force(b, BREAKER_CLOSED, 0);
}

static void breaker_hands__nothing_is_forced_closed(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    rig_make(&config, 0);
    assert_true(dies(force_closed, NULL));
}

/* ---- orders ---- */

static void breaker_hands__one_result_can_open_it_for_a_given_time(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    rig_make(&config, 0);
    assert_true(breaker_trip(b, 5 * S, S));
    assert_in_range(breaker_retry_at(b), 6 * S, 6 * S + HF_MS(2));
    assert_false(breaker_trip(b, 2 * S, S));
    assert_true(breaker_trip(b, 50 * S, 2 * S));
    assert_in_range(breaker_retry_at(b), 52 * S, 52 * S + HF_MS(2));
    refused_at(51 * S);
    assert_int_equal(view_at(S).cause, BREAKER_CAUSE_ORDER);
}

/* ---- looking ---- */

static void breaker_hands__a_look_changes_nothing(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    static unsigned char before[RIG_BYTES];
    for (int turn = 0; turn < 5; turn++) {
        rig_make(&config, 0);
        if (turn > 0)
            trip_now(0);
        if (turn > 1)
            admit_at(11 * S);
        if (turn > 2)
            admit_at(11 * S);
        if (turn > 3)
            breaker_force(b, BREAKER_DISABLED, 11 * S);
        view_at(0); /* the window notes what totals it has shown */
        memcpy(before, rig_memory, sizeof before);
        for (int64_t now_ns = 0; now_ns < 30 * S; now_ns += S / 2) {
            breaker_would_admit(b, now_ns);
            breaker_retry_at(b);
            breaker_deadline(b);
            view_at(now_ns);
        }
        assert_memory_equal(before, rig_memory, sizeof before);
    }
}

static void breaker_hands__a_view_has_it_all(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    config.failure_threshold = 9;
    config.has_durations = true;
    rig_make(&config, 3 * S);
    struct breaker_view view = view_at(3 * S);
    assert_int_equal(view.changed_at_ns, 3 * S);
    assert_true(view.last_failure_ns == HF_NEVER);
    assert_int_equal(view.cause, BREAKER_CAUSE_NONE);
    struct breaker_permit permit = admit_at(4 * S), other = admit_at(4 * S);
    breaker_record(b, &permit, BAD, 4 * S + 5);
    view = view_at(5 * S);
    assert_int_equal(view.last_failure_ns, 4 * S + 5);
    assert_int_equal(view.consecutive, 1);
    assert_int_equal(view.in_flight, 1);
    breaker_record(b, &other, GOOD, 4 * S + 8);
    view = view_at(5 * S);
    assert_int_equal(view.consecutive, 0);
    assert_int_equal(view.window.duration_ns, 13);
    assert_int_equal(view.total.duration_ns, 13);
    assert_int_equal(view.successes_total, 1);
    calls_at(6 * S, 2, BAD);
    view = view_at(7 * S);
    assert_int_equal(view.state, BREAKER_OPEN);
    assert_int_equal(view.changed_at_ns, 6 * S);
    assert_int_equal(view.retry_at_ns, breaker_retry_at(b));
}

/* ---- live configuration ---- */

static void breaker_hands__rules_change_under_way_and_nothing_is_forgotten(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    struct hf_err err;
    rig_make(&config, 0);
    struct breaker_permit permit = admit_at(0);
    calls_at(0, 3, BAD);
    config.min_calls = 5;
    config.open_ns = 20 * S;
    assert_int_equal(breaker_configure(b, &config, 0, &err), HF_OK);
    breaker_record(b, &permit, BAD, 0);
    assert_int_equal(breaker_state(b), BREAKER_CLOSED);
    assert_int_equal(view_at(0).window.failures, 4);
    call_at(0, BAD);
    assert_int_equal(breaker_state(b), BREAKER_OPEN);
    assert_in_range(breaker_retry_at(b), 20 * S, 20 * S + HF_MS(2));
    /* The opening that has begun keeps its end; leases and successes stay. */
    config.open_ns = S;
    config.half_open_calls = 1;
    config.success_threshold = 3;
    config.is_monitor = true;
    assert_int_equal(breaker_configure(b, &config, 0, &err), HF_OK);
    assert_true(view_at(0).is_monitor);
    config.is_monitor = false;
    assert_int_equal(breaker_configure(b, &config, 0, &err), HF_OK);
    refused_at(19 * S);
    struct breaker_permit probe = admit_at(21 * S);
    refused_at(21 * S);
    breaker_record(b, &probe, GOOD, 21 * S);
    calls_at(21 * S, 2, GOOD);
    assert_int_equal(breaker_state(b), BREAKER_CLOSED);
    assert_int_equal(view_at(21 * S).total.calls, 8);
}

/* A rule that has become stricter is applied by the next call, whatever was settled before. */
static void breaker_hands__a_stricter_rule_holds_at_once(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    rig_make(&config, 0);
    calls_at(0, 8, GOOD);
    calls_at(0, 2, BAD);
    call_at(0, GOOD);
    assert_int_equal(breaker_state(b), BREAKER_CLOSED);
    config.failure_rate_ppm = 100000;
    assert_int_equal(breaker_configure(b, &config, 0, NULL), HF_OK);
    call_at(0, GOOD);
    assert_int_equal(breaker_state(b), BREAKER_OPEN);
}

static void breaker_hands__slow_calls_can_be_watched_from_now_on_or_no_more(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    rig_make(&config, 0);
    struct breaker_permit watched = admit_at(0);
    config.slow_rate_ppm = 0;
    assert_int_equal(breaker_configure(b, &config, 0, NULL), HF_OK);
    struct breaker_permit unwatched = admit_at(0);
    assert_true(breaker_deadline(b) == HF_NEVER);
    breaker_record(b, &watched, GOOD, 5 * S);
    assert_int_equal(view_at(5 * S).total.slow, 0);
    config.slow_rate_ppm = 500000;
    assert_int_equal(breaker_configure(b, &config, 5 * S, NULL), HF_OK);
    breaker_record(b, &unwatched, GOOD, 6 * S);
    struct breaker_view view = view_at(6 * S);
    assert_int_equal(view.total.slow, 1);
    assert_int_equal(view.total.calls, 2);
    assert_int_equal(view.window.calls, 2);
    admit_at(6 * S);
    assert_true(breaker_deadline(b) < 8 * S);
}

static void breaker_hands__another_window_starts_empty_and_keeps_the_state(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    rig_make(&config, 0);
    calls_at(0, 3, BAD);
    config.window_ns = 60 * S;
    assert_int_equal(breaker_configure(b, &config, 0, NULL), HF_OK);
    struct breaker_view view = view_at(0);
    assert_int_equal(view.window.calls, 0);
    assert_int_equal(view.total.calls, 3);
    assert_int_equal(view.generation, 0);
    calls_at(0, 3, BAD);
    assert_int_equal(breaker_state(b), BREAKER_CLOSED);
    call_at(59 * S, BAD);
    assert_int_equal(breaker_state(b), BREAKER_OPEN);
}

static void breaker_hands__what_does_not_fit_its_memory_changes_nothing(void **state)
{
    (void)state;
    struct breaker_config good = rig_config();
    struct hf_err err;
    rig_make(&good, 0);
    calls_at(0, 3, BAD);
    for (int i = 0; i < 5; i++) {
        struct breaker_config config = good;
        config.min_calls = 1;
        config.window_kind = i == 0 ? WINDOW_COUNT : WINDOW_TIME;
        config.window_slices = i == 1 ? 60 : 8;
        config.has_durations = i == 2;
        config.history = i == 3 ? 9 : 8;
        config.half_open_calls = i == 4 ? 99 : 2;
        enum hf_rc rc = breaker_configure(b, &config, 0, &err);
        assert_int_equal(rc, i == 4 ? HF_RC_INVALID : HF_RC_LIMIT);
        assert_int_equal(err.rc, rc);
        call_at(0, NEUTRAL);
        assert_int_equal(breaker_state(b), BREAKER_CLOSED);
        assert_int_equal(view_at(0).window.calls, 3);
    }
}

static void breaker_hands__impossible_configurations_are_refused(void **state)
{
    (void)state;
    static const struct {
        size_t offset;
        int64_t value;
        bool is_long;
        const char *says;
    } cases[] = {
#define FIELD32(field, value) offsetof(struct breaker_config, field), value, false
#define FIELD64(field, value) offsetof(struct breaker_config, field), value, true
        {FIELD32(failure_threshold, 1000001), "the failure threshold of a breaker"},
        {FIELD32(failure_rate_ppm, 1000001), "the failure rate of a breaker"},
        {FIELD32(slow_rate_ppm, 1000001), "the slow call rate of a breaker"},
        {FIELD64(slow_ns, HF_US(999)), "the slow call time of a breaker"},
        {FIELD32(min_calls, 0), "the minimum of calls of a breaker"},
        {FIELD64(window_ns, 1), "the length of a window"},
        {FIELD32(window_slices, 1), "the number of slices in a window"},
        {FIELD64(open_ns, 0), "the open time of a breaker"},
        {FIELD64(open_ns_max, HF_SEC(1)), "the longest open time of a breaker"},
        {FIELD64(open_ns_max, HF_SEC(86401)), "the longest open time of a breaker"},
        {FIELD32(open_growth_ppm, 999999), "the growth of the open time of a breaker"},
        {FIELD32(open_growth_ppm, 10000001), "the growth of the open time of a breaker"},
        {FIELD32(open_jitter_ppm, 1000001), "the jitter of the open time of a breaker"},
        {FIELD32(half_open_calls, 0), "the number of probes at once of a breaker"},
        {FIELD32(half_open_calls, 9), "the number of probes at once of a breaker"},
        {FIELD32(success_threshold, 0), "the success threshold of a breaker"},
        {FIELD32(success_threshold, 256), "the success threshold of a breaker"},
        {FIELD64(probe_ns, 0), "the time of a probe of a breaker"},
        {FIELD32(history, 0), "the history of a breaker"},
        {FIELD32(history, 10001), "the history of a breaker"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct breaker_config config = breaker_config_default();
        struct hf_err err;
        uint32_t value32 = (uint32_t)cases[i].value;
        unsigned char *field = (unsigned char *)&config + cases[i].offset;
        if (cases[i].is_long)
            memcpy(field, &cases[i].value, sizeof cases[i].value);
        else
            memcpy(field, &value32, sizeof value32);
        assert_int_equal(breaker_config_check(&config, &err), HF_RC_INVALID);
        if (strstr(err.message, cases[i].says) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
        assert_string_not_equal(err.detail, "");
    }
    /* A minimum that the window cannot hold. */
    struct breaker_config config = breaker_config_default();
    config.window_kind = WINDOW_COUNT;
    config.window_calls = 10;
    assert_int_equal(breaker_config_check(&config, NULL), HF_RC_INVALID);
    config.min_calls = 10;
    assert_int_equal(breaker_config_check(&config, NULL), HF_OK);
}

/* ---- history ---- */

static void breaker_hands__every_change_is_told_with_its_cause_and_counts(void **state)
{
    (void)state;
    static const struct {
        enum breaker_state from, to;
        enum breaker_cause cause;
        uint32_t calls, failures, slow;
    } expected[] = {
        {BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_FAILURE_RATE, 4, 3, 0},
        {BREAKER_OPEN, BREAKER_HALF_OPEN, BREAKER_CAUSE_OPEN_TIME_OVER, 0, 0, 0},
        {BREAKER_HALF_OPEN, BREAKER_OPEN, BREAKER_CAUSE_PROBE_FAILED, 2, 1, 0},
        {BREAKER_OPEN, BREAKER_HALF_OPEN, BREAKER_CAUSE_OPEN_TIME_OVER, 0, 0, 0},
        {BREAKER_HALF_OPEN, BREAKER_CLOSED, BREAKER_CAUSE_PROBES_SUCCEEDED, 2, 0, 0},
        {BREAKER_CLOSED, BREAKER_FORCED_OPEN, BREAKER_CAUSE_FORCED_OPEN, 1, 0, 0},
        {BREAKER_FORCED_OPEN, BREAKER_CLOSED, BREAKER_CAUSE_RESET, 0, 0, 0},
    };
    struct breaker_config config = rig_config();
    rig_make(&config, 0);
    struct breaker_change change;
    uint32_t cursor = 0;
    assert_false(breaker_changes_next(b, &cursor, &change));
    call_at(S, GOOD);
    calls_at(S, 3, BAD);
    call_at(12 * S, GOOD);
    call_at(12 * S, BAD);
    calls_at(33 * S, 2, GOOD);
    call_at(34 * S, GOOD);
    breaker_force(b, BREAKER_FORCED_OPEN, 35 * S);
    breaker_reset(b, 36 * S);
    int64_t last_ns = 0;
    for (uint32_t i = 0; i < 7; i++) {
        assert_true(breaker_changes_next(b, &cursor, &change));
        assert_int_equal(cursor, i + 1);
        assert_int_equal(change.generation, i + 1);
        assert_int_equal(change.missed, 0);
        assert_int_equal(change.from, expected[i].from);
        assert_int_equal(change.to, expected[i].to);
        assert_int_equal(change.cause, expected[i].cause);
        assert_int_equal(change.calls, expected[i].calls);
        assert_int_equal(change.failures, expected[i].failures);
        assert_int_equal(change.slow, expected[i].slow);
        assert_true(change.at_ns >= last_ns && change.at_ns <= 36 * S);
        last_ns = change.at_ns;
    }
    assert_false(breaker_changes_next(b, &cursor, &change));
}

static void breaker_hands__who_reads_too_late_is_told_how_much_was_missed(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    rig_make(&config, 0);
    uint32_t slow_reader = 0, reader = 0;
    struct breaker_change change;
    for (int i = 0; i < 20; i++) {
        breaker_reset(b, i * S);
        assert_true(breaker_changes_next(b, &reader, &change));
        assert_int_equal(change.at_ns, i * S);
        assert_int_equal(change.missed, 0);
    }
    for (int i = 12; i < 20; i++) {
        assert_true(breaker_changes_next(b, &slow_reader, &change));
        assert_int_equal(change.at_ns, i * S);
        assert_int_equal(change.missed, i == 12 ? 12 : 0);
    }
    assert_false(breaker_changes_next(b, &slow_reader, &change));
}

/* 24 bits of generation turn after 16 million changes; a little before, by hand. */
static void breaker_hands__the_history_goes_on_where_generations_turn(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    rig_make(&config, 0);
    uint32_t start = BREAKER_GENERATION_MASK - 20, cursor = start, seen = 0, missed = 0;
    atomic_store(&b->word, (uint64_t)start << BREAKER_GENERATION_AT);
    struct breaker_change change;
    struct breaker_permit old = admit_at(0);
    for (int i = 0; i < 40; i++) {
        breaker_reset(b, i * S);
        while (breaker_changes_next(b, &cursor, &change)) {
            assert_int_equal(change.at_ns, i * S);
            ++seen;
            missed += change.missed;
        }
    }
    assert_int_equal(seen, 40);
    assert_int_equal(missed, 0);
    assert_int_equal(breaker_generation(b), 40 - 21);
    breaker_record(b, &old, BAD, 40 * S);
    assert_int_equal(view_at(40 * S).stale, 1);
}

/* What only a thread that stops in the middle can leave behind, made by hand. */
static void breaker_hands__a_slot_in_the_hands_of_a_stopped_thread_is_left_to_it(void **state)
{
    (void)state;
    struct breaker_config config = rig_config();
    rig_make(&config, 0);
    struct breaker_change change;
    struct breaker_slot *slots = (void *)(rig_memory + b->history_at);
    uint32_t cursor = 0;
    atomic_store(&slots[1].tag, 1 << 2 | 1); /* generation 1, being written */
    breaker_reset(b, S);
    assert_false(breaker_changes_next(b, &cursor, &change)); /* wait for it */
    breaker_reset(b, 2 * S);
    assert_true(breaker_changes_next(b, &cursor, &change)); /* no more: a later one is there */
    assert_int_equal(change.generation, 2);
    assert_int_equal(change.missed, 1);
    /* A change that is newer than the writer's own is not written over. */
    atomic_store(&slots[3].tag, 11 << 2 | 2);
    breaker_reset(b, 3 * S);
    assert_int_equal(atomic_load(&slots[3].tag), 11 << 2 | 2);
    assert_int_equal(view_at(3 * S).cause, BREAKER_CAUSE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(breaker_hands__monitor_decides_and_refuses_nothing),
        cmocka_unit_test(breaker_hands__the_mode_changes_without_changing_the_state),
        cmocka_unit_test(breaker_hands__forced_open_stays_until_a_hand_moves_it),
        cmocka_unit_test(breaker_hands__disabled_admits_all_and_counts_totals_only),
        cmocka_unit_test(breaker_hands__a_reset_starts_a_new_life),
        cmocka_unit_test(breaker_hands__nothing_is_forced_closed),
        cmocka_unit_test(breaker_hands__one_result_can_open_it_for_a_given_time),
        cmocka_unit_test(breaker_hands__a_look_changes_nothing),
        cmocka_unit_test(breaker_hands__a_view_has_it_all),
        cmocka_unit_test(breaker_hands__rules_change_under_way_and_nothing_is_forgotten),
        cmocka_unit_test(breaker_hands__a_stricter_rule_holds_at_once),
        cmocka_unit_test(breaker_hands__slow_calls_can_be_watched_from_now_on_or_no_more),
        cmocka_unit_test(breaker_hands__another_window_starts_empty_and_keeps_the_state),
        cmocka_unit_test(breaker_hands__what_does_not_fit_its_memory_changes_nothing),
        cmocka_unit_test(breaker_hands__impossible_configurations_are_refused),
        cmocka_unit_test(breaker_hands__every_change_is_told_with_its_cause_and_counts),
        cmocka_unit_test(breaker_hands__who_reads_too_late_is_told_how_much_was_missed),
        cmocka_unit_test(breaker_hands__the_history_goes_on_where_generations_turn),
        cmocka_unit_test(breaker_hands__a_slot_in_the_hands_of_a_stopped_thread_is_left_to_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
