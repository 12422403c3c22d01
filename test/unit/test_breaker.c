/*
 * The pure step: a table of transitions, the open time, and a walk over every word that a small set
 * of rules can reach, with every event, in which the invariants of core/breaker.h are demanded at
 * each step. The shell is tested in test_breaker_shell.c and its neighbours.
 */
#include "unit.h"

#include <stdbool.h>
#include <string.h>

#include "base/ns.h"
#include "core/breaker.h"

static const struct breaker_rules rules = {
    .failure_threshold = 3,
    .success_threshold = 2,
    .half_open_calls = 2,
    .open_growth_ppm = 2000000,
    .open_ns = HF_SEC(1),
    .open_ns_max = HF_SEC(10),
    .seed = 7,
};

/* ---- words by hand ---- */

static uint64_t word_of(enum breaker_state state, uint32_t reopened, uint32_t generation,
                        uint32_t aux)
{
    return (uint64_t)state | (uint64_t)reopened << BREAKER_REOPENED_AT |
           (uint64_t)generation << BREAKER_GENERATION_AT | (uint64_t)aux << BREAKER_AUX_AT;
}

static uint32_t probing(uint32_t leases, uint32_t successes)
{
    return leases | successes << BREAKER_LEASES;
}

static struct breaker_event result_of(enum breaker_role role, enum breaker_result result,
                                      uint64_t word, uint8_t lease)
{
    return (struct breaker_event){
        .kind = BREAKER_EV_RESULT,
        .role = role,
        .result = result,
        .generation = breaker_word_generation(word),
        .lease = lease,
        .now_ns = HF_SEC(100),
    };
}

static struct breaker_step step_of(uint64_t word, struct breaker_event event)
{
    return breaker_step(word, &rules, &event);
}

/* ---- transitions, one by one ---- */

static void breaker__failures_in_a_row_open_and_a_success_starts_anew(void **state)
{
    (void)state;
    uint64_t word = breaker_word_first(false);
    struct breaker_event failure = result_of(BREAKER_ROLE_NORMAL, BREAKER_FAILED, word, 0);
    struct breaker_event slow = result_of(BREAKER_ROLE_NORMAL, BREAKER_SLOW, word, 0);
    word = step_of(step_of(word, failure).word, failure).word;
    assert_int_equal(breaker_word_aux(word), 2);
    word = step_of(word, slow).word; /* an answer, if a slow one */
    assert_int_equal(breaker_word_aux(word), 0);
    word = step_of(step_of(word, failure).word, failure).word;
    struct breaker_step step = step_of(word, failure);
    assert_int_equal(breaker_word_state(step.word), BREAKER_OPEN);
    assert_int_equal(step.cause, BREAKER_CAUSE_CONSECUTIVE);
    assert_int_equal(breaker_word_generation(step.word), 1);
    int64_t until = breaker_word_open_until(step.word, HF_SEC(100));
    assert_true(until >= HF_SEC(101) && until < HF_SEC(101) + HF_MS(2));
}

static void breaker__without_the_rule_a_row_of_failures_is_forgotten(void **state)
{
    (void)state;
    struct breaker_rules off = rules;
    off.failure_threshold = 0;
    uint64_t word = word_of(BREAKER_CLOSED, 0, 0, 2); /* counted before it was switched off */
    struct breaker_event failure = result_of(BREAKER_ROLE_NORMAL, BREAKER_FAILED, word, 0);
    struct breaker_step step = breaker_step(word, &off, &failure);
    assert_int_equal(step.word, breaker_word_first(false));
    assert_int_equal(breaker_step(step.word, &off, &failure).word, step.word);
}

static void breaker__a_probe_goes_out_when_the_open_time_is_over(void **state)
{
    (void)state;
    uint64_t word = step_of(breaker_word_first(false),
                            (struct breaker_event){.kind = BREAKER_EV_TRIP,
                                                   .cause = BREAKER_CAUSE_FAILURE_RATE,
                                                   .now_ns = HF_SEC(100)})
                        .word;
    int64_t until = breaker_word_open_until(word, HF_SEC(100));
    struct breaker_event event = {.kind = BREAKER_EV_ADMIT, .now_ns = until - 1};
    struct breaker_step step = step_of(word, event);
    assert_int_equal(step.role, BREAKER_ROLE_NONE);
    assert_int_equal(step.word, word);
    event.now_ns = until;
    step = step_of(word, event);
    assert_int_equal(step.role, BREAKER_ROLE_PROBE);
    assert_int_equal(breaker_word_state(step.word), BREAKER_HALF_OPEN);
    assert_int_equal(breaker_word_leases(step.word), 1);
    /* A tick alone does not: somebody must be there to probe. */
    event.kind = BREAKER_EV_TICK;
    assert_int_equal(step_of(word, event).word, word);
}

static void breaker__probes_close_it_fail_it_or_say_nothing(void **state)
{
    (void)state;
    static const struct {
        enum breaker_result result;
        uint32_t successes_before, leases_after, successes_after;
        enum breaker_state state;
        enum breaker_cause cause;
    } cases[] = {
        {BREAKER_SUCCEEDED, 0, 1, 1, BREAKER_HALF_OPEN, BREAKER_CAUSE_NONE},
        {BREAKER_SUCCEEDED, 1, 0, 0, BREAKER_CLOSED, BREAKER_CAUSE_PROBES_SUCCEEDED},
        {BREAKER_NEUTRAL, 1, 1, 1, BREAKER_HALF_OPEN, BREAKER_CAUSE_NONE},
        {BREAKER_FAILED, 1, 0, 0, BREAKER_OPEN, BREAKER_CAUSE_PROBE_FAILED},
        {BREAKER_SLOW, 1, 0, 0, BREAKER_OPEN, BREAKER_CAUSE_PROBE_SLOW},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t word = word_of(BREAKER_HALF_OPEN, 4, 9, probing(3, cases[i].successes_before));
        struct breaker_step step =
            step_of(word, result_of(BREAKER_ROLE_PROBE, cases[i].result, word, 1));
        assert_int_equal(breaker_word_state(step.word), cases[i].state);
        assert_int_equal(step.cause, cases[i].cause);
        if (cases[i].state == BREAKER_HALF_OPEN) {
            assert_int_equal(breaker_word_leases(step.word), cases[i].leases_after);
            assert_int_equal(breaker_word_successes(step.word), cases[i].successes_after);
        }
        if (cases[i].state != BREAKER_HALF_OPEN)
            assert_int_equal(breaker_word_generation(step.word), 10);
        if (cases[i].state == BREAKER_OPEN)
            assert_int_equal(breaker_word_reopened(step.word), 5);
        if (cases[i].state == BREAKER_CLOSED)
            assert_int_equal(breaker_word_reopened(step.word), 0);
    }
}

static void breaker__an_expired_lease_reopens_whoever_notices(void **state)
{
    (void)state;
    uint64_t word = word_of(BREAKER_HALF_OPEN, 0, 9, probing(2, 1));
    struct breaker_event events[] = {
        {.kind = BREAKER_EV_ADMIT},
        {.kind = BREAKER_EV_TICK},
        result_of(BREAKER_ROLE_PROBE, BREAKER_SUCCEEDED, word, 1),
        result_of(BREAKER_ROLE_PROBE, BREAKER_NEUTRAL, word, 1),
    };
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        events[i].expired = 1; /* not out: says nothing */
        assert_int_not_equal(breaker_word_state(step_of(word, events[i]).word), BREAKER_OPEN);
        events[i].expired = 2;
        struct breaker_step step = step_of(word, events[i]);
        assert_int_equal(breaker_word_state(step.word), BREAKER_OPEN);
        assert_int_equal(step.cause, BREAKER_CAUSE_PROBE_EXPIRED);
        assert_int_equal(step.role, BREAKER_ROLE_NONE);
    }
}

static void breaker__an_order_lengthens_and_never_shortens(void **state)
{
    (void)state;
    struct breaker_event order = {
        .kind = BREAKER_EV_ORDER, .open_ns = HF_SEC(60), .now_ns = HF_SEC(100)};
    struct breaker_step step = step_of(breaker_word_first(false), order);
    assert_int_equal(step.cause, BREAKER_CAUSE_ORDER);
    assert_true(breaker_word_open_until(step.word, HF_SEC(100)) >= HF_SEC(160));
    uint64_t word = step.word;
    order.open_ns = HF_SEC(30);
    assert_int_equal(step_of(word, order).word, word);
    order.open_ns = HF_SEC(90);
    step = step_of(word, order);
    assert_int_equal(breaker_word_generation(step.word), 2);
    assert_true(breaker_word_open_until(step.word, HF_SEC(100)) >= HF_SEC(190));
    /* Not for ever, and not for nothing. */
    order.open_ns = INT64_MAX;
    step = step_of(breaker_word_first(false), order);
    assert_true(breaker_word_open_until(step.word, HF_SEC(100)) < HF_SEC(86400 + 101));
    order.open_ns = -5;
    step = step_of(breaker_word_first(false), order);
    assert_true(breaker_word_open_until(step.word, HF_SEC(100)) > HF_SEC(100));
    /* From HALF_OPEN it keeps the reopenings. */
    word = word_of(BREAKER_HALF_OPEN, 3, 9, probing(1, 0));
    assert_int_equal(breaker_word_reopened(step_of(word, order).word), 3);
}

static void breaker__a_breaker_open_for_weeks_does_not_refuse_again(void **state)
{
    (void)state;
    struct breaker_event order = {
        .kind = BREAKER_EV_ORDER, .open_ns = HF_SEC(86400), .now_ns = HF_SEC(100)};
    uint64_t word = step_of(breaker_word_first(false), order).word;
    /* The 31 bits turn after 26 days. Told that the state is old, the step does not look at them.
     */
    for (int64_t days = 2; days < 400; days++) {
        struct breaker_event admit = {.kind = BREAKER_EV_ADMIT,
                                      .now_ns = HF_SEC(100) + days * HF_SEC(86400),
                                      .is_state_old = days > 6};
        assert_int_equal(step_of(word, admit).role, BREAKER_ROLE_PROBE);
    }
}

/* ---- the open time ---- */

static void breaker__the_open_time_grows_to_its_maximum(void **state)
{
    (void)state;
    static const int64_t seconds[] = {1, 2, 4, 8, 10, 10};
    for (uint32_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++)
        assert_int_equal(breaker_open_for(&rules, i, 1), HF_SEC(seconds[i]));
    assert_int_equal(breaker_open_for(&rules, BREAKER_REOPENED_MAX, 1), HF_SEC(10));
    struct breaker_rules most = rules;
    most.open_ns = most.open_ns_max = BREAKER_OPEN_NS_LIMIT;
    most.open_growth_ppm = BREAKER_OPEN_GROWTH_PPM_MAX;
    most.open_jitter_ppm = BREAKER_PPM;
    for (uint32_t i = 0; i <= BREAKER_REOPENED_MAX; i++) {
        int64_t open_ns = breaker_open_for(&most, i, i);
        assert_true(open_ns >= BREAKER_OPEN_NS_LIMIT && open_ns <= 2 * BREAKER_OPEN_NS_LIMIT);
    }
}

static void breaker__jitter_is_added_evenly_and_can_be_replayed(void **state)
{
    (void)state;
    struct breaker_rules some = rules;
    some.open_ns_max = HF_SEC(100);
    some.open_jitter_ppm = 500000;
    int buckets[5] = {0};
    for (uint32_t generation = 0; generation < 5000; generation++) {
        int64_t open_ns = breaker_open_for(&some, 0, generation);
        assert_true(open_ns >= HF_SEC(1) && open_ns < HF_MS(1500));
        assert_int_equal(open_ns, breaker_open_for(&some, 0, generation));
        ++buckets[(open_ns - HF_SEC(1)) / HF_MS(100)];
    }
    for (int i = 0; i < 5; i++)
        assert_in_range(buckets[i], 900, 1100);
    struct breaker_rules other = some;
    other.seed = 8;
    assert_int_not_equal(breaker_open_for(&some, 0, 1), breaker_open_for(&other, 0, 1));
}

static void breaker__the_open_time_survives_the_turning_of_its_bits(void **state)
{
    (void)state;
    const int64_t turn = INT64_C(1) << (BREAKER_AUX_BITS + BREAKER_TIME_UNIT_BITS);
    static const int64_t ahead[] = {0, HF_MS(1), HF_SEC(1), HF_SEC(86400), HF_SEC(2 * 86400)};
    for (int64_t k = 0; k < 3; k++)
        for (int64_t off = -HF_SEC(2); off <= HF_SEC(2); off += HF_MS(777))
            for (size_t i = 0; i < sizeof ahead / sizeof ahead[0]; i++) {
                int64_t now = k * turn + off;
                if (now < 0)
                    continue;
                struct breaker_event order = {
                    .kind = BREAKER_EV_ORDER, .open_ns = ahead[i], .now_ns = now};
                uint64_t word = step_of(breaker_word_first(false), order).word;
                int64_t until = breaker_word_open_until(word, now);
                int64_t asked = now + ns_min(ns_max(ahead[i], HF_MS(1)), HF_SEC(86400));
                assert_true(until >= asked && until - asked < HF_MS(2));
                assert_false(breaker_word_is_due(word, until - 1));
                assert_true(breaker_word_is_due(word, until));
                assert_true(breaker_word_is_due(word, until + HF_SEC(86400)));
                assert_int_equal(breaker_word_open_until(word, until + HF_SEC(86400)), until);
            }
}

/* ---- judging ---- */

static void breaker__rates_are_reached_at_their_threshold(void **state)
{
    (void)state;
    static const struct breaker_rates both = {500000, 800000, 10};
    static const struct breaker_rates slow_only = {0, 800000, 10};
    static const struct breaker_rates none = {0, 0, 1};
    static const struct {
        const struct breaker_rates *rates;
        uint64_t calls, failures, slow;
        enum breaker_cause cause;
    } cases[] = {
        {&both, 9, 9, 9, BREAKER_CAUSE_NONE},
        {&both, 10, 5, 0, BREAKER_CAUSE_FAILURE_RATE},
        {&both, 11, 5, 0, BREAKER_CAUSE_NONE},
        {&both, 10, 0, 8, BREAKER_CAUSE_SLOW_RATE},
        {&both, 10, 0, 7, BREAKER_CAUSE_NONE},
        {&both, 10, 5, 8, BREAKER_CAUSE_FAILURE_RATE},
        {&both, UINT64_C(1) << 40, UINT64_C(1) << 39, 0, BREAKER_CAUSE_FAILURE_RATE},
        {&both, UINT64_C(1) << 40, (UINT64_C(1) << 39) - 1, 0, BREAKER_CAUSE_NONE},
        {&slow_only, 10, 10, 7, BREAKER_CAUSE_NONE},
        {&slow_only, 10, 0, 8, BREAKER_CAUSE_SLOW_RATE},
        {&none, 10, 10, 10, BREAKER_CAUSE_NONE},
        {&both, 0, 0, 0, BREAKER_CAUSE_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(
            breaker_judge(cases[i].rates, cases[i].calls, cases[i].failures, cases[i].slow),
            cases[i].cause);
}

/* ---- every word, every event ---- */

/* A fixed time at which everything happens. The end of an open time is either ahead or behind. */
#define WALK_NOW  HF_SEC(1000)
#define WALK_GEN  41
#define WORDS_MAX 4000

static uint64_t words[WORDS_MAX];
static size_t word_count;

/* What is not finite is cut to what matters: the generation to one value, the end of the open time
 * to "a second ahead" or "now". */
static uint64_t normal(uint64_t word)
{
    uint32_t aux = breaker_word_aux(word);
    if (breaker_word_state(word) == BREAKER_OPEN)
        aux = (uint32_t)((breaker_word_is_due(word, WALK_NOW) ? WALK_NOW : WALK_NOW + HF_SEC(1)) >>
                         BREAKER_TIME_UNIT_BITS);
    return word_of(breaker_word_state(word), breaker_word_reopened(word), WALK_GEN, aux) |
           (word & BREAKER_MONITOR);
}

static void reach(uint64_t word)
{
    word = normal(word);
    for (size_t i = 0; i < word_count; i++)
        if (words[i] == word)
            return;
    assert_true(word_count < WORDS_MAX);
    words[word_count++] = word;
}

static uint32_t bits_in(uint32_t bits)
{
    uint32_t count = 0;
    for (; bits != 0; bits &= bits - 1)
        ++count;
    return count;
}

static void check_admit(uint64_t word, const struct breaker_event *event, struct breaker_step step)
{
    enum breaker_state state = breaker_word_state(word);
    bool is_monitor = breaker_word_is_monitor(word);
    bool is_lapsed = (breaker_word_leases(word) & event->expired) != 0;
    bool is_waiting =
        state == BREAKER_OPEN && !event->is_state_old && !breaker_word_is_due(word, event->now_ns);
    bool is_full = state == BREAKER_HALF_OPEN && (is_lapsed || breaker_word_leases(word) == 3);
    bool is_refusal = is_waiting || is_full || state == BREAKER_FORCED_OPEN;
    assert_int_equal(step.would_refuse, is_refusal && is_monitor);
    enum breaker_role role = BREAKER_ROLE_PROBE;
    if (is_refusal)
        role = is_monitor ? BREAKER_ROLE_OBSERVER : BREAKER_ROLE_NONE;
    else if (state == BREAKER_CLOSED)
        role = BREAKER_ROLE_NORMAL;
    else if (state == BREAKER_DISABLED)
        role = BREAKER_ROLE_OBSERVER;
    assert_int_equal(step.role, role);
    if (role != BREAKER_ROLE_PROBE)
        return;
    /* The lease is new, and it is the only one that is. */
    uint32_t before = state == BREAKER_HALF_OPEN ? breaker_word_leases(word) : 0;
    assert_int_equal(breaker_word_leases(step.word), before | 1U << step.lease);
    assert_int_equal(before >> step.lease & 1, 0);
}

static void check_result(uint64_t word, const struct breaker_event *event, struct breaker_step step)
{
    enum breaker_state state = breaker_word_state(word);
    bool is_owner = (event->role == BREAKER_ROLE_NORMAL && state == BREAKER_CLOSED) ||
                    (event->role == BREAKER_ROLE_PROBE && state == BREAKER_HALF_OPEN &&
                     event->lease < 8 && (breaker_word_leases(word) >> event->lease & 1) != 0);
    bool decides = event->role == BREAKER_ROLE_NORMAL || event->role == BREAKER_ROLE_PROBE;
    bool is_current = event->generation == WALK_GEN;
    assert_int_equal(step.was_stale, decides && !(is_owner && is_current));
    if (!is_owner || !is_current) {
        assert_int_equal(step.word, word);
        return;
    }
    if (event->result == BREAKER_NEUTRAL && (breaker_word_leases(word) & event->expired) == 0) {
        assert_int_equal(step.cause, BREAKER_CAUSE_NONE);
        uint64_t freed =
            state == BREAKER_CLOSED ? 0 : UINT64_C(1) << (BREAKER_AUX_AT + event->lease);
        assert_int_equal(step.word, word ^ freed);
    }
}

static void check_step(uint64_t word, const struct breaker_event *event, struct breaker_step step)
{
    enum breaker_state from = breaker_word_state(word), to = breaker_word_state(step.word);
    bool has_changed = step.cause != BREAKER_CAUSE_NONE;
    /* One generation for each change of state, and for nothing else. */
    assert_int_equal(breaker_word_generation(step.word), WALK_GEN + has_changed);
    assert_true(has_changed || from == to);
    assert_true(has_changed || breaker_word_reopened(step.word) == breaker_word_reopened(word));
    /* The mode is changed by its own events alone. */
    if (event->kind != BREAKER_EV_ENFORCE && event->kind != BREAKER_EV_MONITOR)
        assert_int_equal(step.word & BREAKER_MONITOR, word & BREAKER_MONITOR);
    /* Bounds. */
    if (to == BREAKER_HALF_OPEN) {
        assert_true(bits_in(breaker_word_leases(step.word)) <= rules.half_open_calls);
        assert_true(breaker_word_leases(step.word) >> rules.half_open_calls == 0);
        assert_true(breaker_word_successes(step.word) < rules.success_threshold);
    }
    if (to == BREAKER_CLOSED)
        assert_true(breaker_word_aux(step.word) < rules.failure_threshold);
    /* By hand only. */
    bool is_by_hand = event->kind == BREAKER_EV_FORCE_OPEN || event->kind == BREAKER_EV_DISABLE ||
                      event->kind == BREAKER_EV_RESET;
    if (from == BREAKER_FORCED_OPEN || from == BREAKER_DISABLED)
        assert_true(from == to || is_by_hand);
    if (to == BREAKER_FORCED_OPEN || to == BREAKER_DISABLED)
        assert_true(from == to || is_by_hand);
    /* Who gives no admission gives no role. */
    if (event->kind == BREAKER_EV_ADMIT)
        check_admit(word, event, step);
    else
        assert_int_equal(step.role, BREAKER_ROLE_NONE);
    if (event->kind == BREAKER_EV_RESULT)
        check_result(word, event, step);
    else
        assert_false(step.was_stale);
    if (event->kind == BREAKER_EV_TRIP && (from != BREAKER_CLOSED || event->generation != WALK_GEN))
        assert_int_equal(step.word, word);
    /* To HALF_OPEN with a probe, to CLOSED by probes or by hand. */
    if (to == BREAKER_HALF_OPEN && has_changed)
        assert_int_equal(breaker_word_aux(step.word), probing(1, 0));
    if (to == BREAKER_CLOSED && has_changed)
        assert_true(event->kind == BREAKER_EV_RESET ||
                    (from == BREAKER_HALF_OPEN && event->result == BREAKER_SUCCEEDED));
}

static void take(uint64_t word, struct breaker_event event)
{
    event.now_ns = WALK_NOW;
    struct breaker_step step = step_of(word, event);
    check_step(word, &event, step);
    reach(step.word);
}

static void take_results(uint64_t word, uint8_t expired)
{
    for (int role = BREAKER_ROLE_NONE; role <= BREAKER_ROLE_OBSERVER; role++)
        for (int result = BREAKER_SUCCEEDED; result <= BREAKER_NEUTRAL; result++)
            for (uint32_t generation = WALK_GEN - 1; generation <= WALK_GEN + 1; generation++)
                for (uint8_t lease = 0; lease <= 8; lease++)
                    take(word, (struct breaker_event){.kind = BREAKER_EV_RESULT,
                                                      .role = (enum breaker_role)role,
                                                      .result = (enum breaker_result)result,
                                                      .generation = generation,
                                                      .lease = lease,
                                                      .expired = expired});
}

static void take_all(uint64_t word)
{
    for (uint8_t expired = 0; expired < 4; expired++) {
        take_results(word, expired);
        for (int is_old = 0; is_old < 2; is_old++)
            for (int kind = 0; kind <= BREAKER_EVENTS; kind++)
                for (uint32_t generation = WALK_GEN - 1; generation <= WALK_GEN; generation++)
                    if (kind != BREAKER_EV_RESULT)
                        take(word, (struct breaker_event){.kind = (enum breaker_event_kind)kind,
                                                          .generation = generation,
                                                          .cause = BREAKER_CAUSE_SLOW_RATE,
                                                          .open_ns = HF_MS(500),
                                                          .expired = expired,
                                                          .is_state_old = is_old != 0});
    }
    if (breaker_word_state(word) == BREAKER_OPEN) /* time passes */
        reach(word_of(BREAKER_OPEN, breaker_word_reopened(word), WALK_GEN,
                      (uint32_t)(WALK_NOW >> BREAKER_TIME_UNIT_BITS)) |
              (word & BREAKER_MONITOR));
}

static void breaker__no_event_in_any_reachable_word_breaks_an_invariant(void **state)
{
    (void)state;
    word_count = 0;
    reach(breaker_word_first(false));
    for (size_t i = 0; i < word_count; i++)
        take_all(words[i]);
    /* In each of two modes: CLOSED with 0 to 2 failures; OPEN, due or not, and HALF_OPEN, with 4
     * sets of leases and 0 or 1 success, each with 0 to 31 reopenings; the two by hand. */
    assert_int_equal(word_count, 2 * (3 + (2 + 4 * 2) * 32 + 2));
}

/* From every reachable word that is not there by hand, time and good probes lead to CLOSED: no word
 * is a trap. Leases that are out and never come back must run out first. */
static void breaker__every_reachable_word_leads_back_to_closed(void **state)
{
    (void)state;
    assert_int_not_equal(word_count, 0);
    for (size_t i = 0; i < word_count; i++) {
        uint64_t word = words[i];
        if (breaker_word_state(word) >= BREAKER_FORCED_OPEN)
            continue;
        struct breaker_event tick = {.kind = BREAKER_EV_TICK, .expired = 255, .now_ns = WALK_NOW};
        word = step_of(word, tick).word;
        int64_t now = WALK_NOW;
        for (int calls = 0; breaker_word_state(word) != BREAKER_CLOSED; calls++) {
            assert_true(calls < 3);
            now += HF_SEC(11);
            struct breaker_event admit = {.kind = BREAKER_EV_ADMIT, .now_ns = now};
            struct breaker_step step = step_of(word, admit);
            assert_int_equal(step.role, BREAKER_ROLE_PROBE);
            word = step_of(step.word,
                           result_of(BREAKER_ROLE_PROBE, BREAKER_SUCCEEDED, step.word, step.lease))
                       .word;
        }
    }
}

static void breaker__words_that_nobody_makes_are_answered_too(void **state)
{
    (void)state;
    for (uint64_t word = 5; word < 8; word++)
        for (int kind = 0; kind <= BREAKER_EVENTS; kind++) {
            struct breaker_event event = {.kind = (enum breaker_event_kind)kind};
            struct breaker_step step = step_of(word, event);
            if (kind == BREAKER_EV_ADMIT)
                assert_int_equal(step.role, BREAKER_ROLE_OBSERVER);
        }
}

static void breaker__everything_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < BREAKER_STATES; i++)
        assert_string_not_equal(breaker_state_name((enum breaker_state)i), "unknown");
    for (int i = 0; i < BREAKER_CAUSES; i++) {
        assert_string_not_equal(breaker_cause_name((enum breaker_cause)i), "unknown");
        assert_string_not_equal(breaker_cause_text((enum breaker_cause)i), "unknown");
    }
    assert_string_equal(breaker_state_name(BREAKER_HALF_OPEN), "half_open");
    assert_string_equal(breaker_state_name(BREAKER_STATES), "unknown");
    assert_string_equal(breaker_cause_name(BREAKER_CAUSES), "unknown");
    assert_string_equal(breaker_cause_text(BREAKER_CAUSES), "unknown");
    assert_string_equal(breaker_role_name(BREAKER_ROLE_PROBE), "probe");
    assert_string_equal(breaker_role_name((enum breaker_role)9), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(breaker__failures_in_a_row_open_and_a_success_starts_anew),
        cmocka_unit_test(breaker__without_the_rule_a_row_of_failures_is_forgotten),
        cmocka_unit_test(breaker__a_probe_goes_out_when_the_open_time_is_over),
        cmocka_unit_test(breaker__probes_close_it_fail_it_or_say_nothing),
        cmocka_unit_test(breaker__an_expired_lease_reopens_whoever_notices),
        cmocka_unit_test(breaker__an_order_lengthens_and_never_shortens),
        cmocka_unit_test(breaker__a_breaker_open_for_weeks_does_not_refuse_again),
        cmocka_unit_test(breaker__the_open_time_grows_to_its_maximum),
        cmocka_unit_test(breaker__jitter_is_added_evenly_and_can_be_replayed),
        cmocka_unit_test(breaker__the_open_time_survives_the_turning_of_its_bits),
        cmocka_unit_test(breaker__rates_are_reached_at_their_threshold),
        cmocka_unit_test(breaker__no_event_in_any_reachable_word_breaks_an_invariant),
        cmocka_unit_test(breaker__every_reachable_word_leads_back_to_closed),
        cmocka_unit_test(breaker__words_that_nobody_makes_are_answered_too),
        cmocka_unit_test(breaker__everything_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
