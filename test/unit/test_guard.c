#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/ns.h"
#include "core/guard.h"

/* A cluster of one primary (0) and two replicas (1, 2), and one guard over it. Time stands where
 * `now` says. */
struct bench {
    struct guard guard;
    struct guard_lane lane;
    struct budget budget;
    struct snapshot view;
    struct degrade_config ladder;
    void *breakers[3], *bulkheads[3];
    int64_t now;
    struct guard_call call, other;
};

static void *aligned(size_t size)
{
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    assert_non_null(memory);
    return memory;
}

static void make_view(struct snapshot *view)
{
    static const char *const names[] = {"db1", "db2", "db3"};
    snapshot_init(view);
    view->timeline = 1;
    for (uint32_t i = 0; i < 3; i++) {
        struct snapshot_endpoint *endpoint = snapshot_add(view, names[i]);
        endpoint->role = i == 0 ? ENDPOINT_PRIMARY : ENDPOINT_REPLICA;
        endpoint->health = ENDPOINT_UP;
        endpoint->accepts_reads = true;
        endpoint->accepts_writes = i == 0;
        endpoint->timeline = 1;
        endpoint->lag_ns = 0;
        endpoint->replayed_lsn = 100;
    }
    snapshot_seal(view);
}

static int setup(void **state)
{
    struct bench *bench = aligned(sizeof *bench);
    memset(bench, 0, sizeof *bench);
    bench->now = HF_SEC(100);
    make_view(&bench->view);
    struct guard_config config = guard_config_default();
    config.retry = retry_config_default();
    config.attempt_ns_max = HF_SEC(2);
    guard_init(&bench->guard, &config);
    struct breaker_config breaker = breaker_config_default();
    struct bulkhead_config bulkhead = bulkhead_config_default();
    bulkhead.limit = 1;
    bulkhead.queue_max = 1;
    for (uint32_t i = 0; i < 3; i++) {
        bench->breakers[i] = aligned(breaker_size(&breaker));
        bench->bulkheads[i] = aligned(bulkhead_size(&bulkhead));
        bench->guard.endpoints[i] = (struct guard_endpoint){
            .breaker = breaker_init(bench->breakers[i], &breaker, i, bench->now),
            .bulkhead = bulkhead_init(bench->bulkheads[i], &bulkhead, bench->now),
        };
    }
    struct budget_config budget = budget_config_default();
    budget_init(&bench->budget, &budget, bench->now);
    bench->guard.budget = &bench->budget;
    route_state_init(&bench->lane.route, 1);
    guard_call_init(&bench->call, &bench->guard, &bench->lane);
    guard_call_init(&bench->other, &bench->guard, &bench->lane);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    for (uint32_t i = 0; i < 3; i++) {
        free(bench->breakers[i]);
        free(bench->bulkheads[i]);
    }
    free(bench);
    return 0;
}

static struct guard_event event(const struct bench *bench, enum guard_event_kind kind)
{
    return (struct guard_event){
        .kind = kind, .now_ns = bench->now, .random = UINT64_MAX / 2, .view = &bench->view};
}

static void feed(struct bench *bench, struct guard_call *call, enum guard_event_kind kind)
{
    struct guard_event fed = event(bench, kind);
    guard_feed(call, &fed);
}

static struct guard_request write_request(void)
{
    return (struct guard_request){
        .route = {.intent = ROUTE_WRITE},
        .operation = DEGRADE_WRITE,
    };
}

static struct guard_request read_request(void)
{
    return (struct guard_request){
        .route = {.intent = ROUTE_READ, .consistency = ROUTE_ANY_AGE},
        .operation = DEGRADE_READ,
    };
}

static void start(struct bench *bench, struct guard_call *call, struct guard_request request)
{
    struct guard_event fed = event(bench, GUARD_EV_START);
    fed.request = &request;
    guard_feed(call, &fed);
}

static void ended(struct bench *bench, struct guard_call *call, struct outcome outcome,
                  struct outcome_facts facts)
{
    struct guard_event fed = event(bench, GUARD_EV_ENDED);
    fed.outcome = outcome;
    fed.facts = facts;
    guard_feed(call, &fed);
}

/* The next action must be of this kind. */
static struct guard_action expect(struct guard_call *call, enum guard_action_kind kind)
{
    struct guard_action action = {0};
    assert_true(guard_next(call, &action));
    assert_int_equal(action.kind, kind);
    return action;
}

static void expect_nothing(struct guard_call *call)
{
    struct guard_action action;
    assert_false(guard_next(call, &action));
}

static struct guard_action expect_done(struct guard_call *call, enum guard_result result,
                                       enum guard_why why)
{
    struct guard_action done = expect(call, GUARD_ACT_DONE);
    assert_int_equal(done.result, result);
    assert_string_equal(guard_why_name(guard_reason(call)->why), guard_why_name(why));
    return done;
}

static const struct outcome success = {.code = OUTCOME_SUCCESS};
static const struct outcome lost = {.code = OUTCOME_CONN_LOST};
static const struct outcome refused = {.code = OUTCOME_CONNECT_REFUSED};
static const struct outcome_facts unsent;
static const struct outcome_facts commit_sent = {
    .sent = true, .commit_sent = true, .may_write = true};

static struct outcome sqlstate(const char *code)
{
    return (struct outcome){.code = OUTCOME_SQLSTATE, .sqlstate = sqlstate_pack(code)};
}

/* Lets the backoff pass. */
static struct guard_action expect_retry(struct bench *bench, struct guard_call *call)
{
    assert_int_equal(call->state, GUARD_BACKOFF);
    bench->now = guard_deadline(call);
    feed(bench, call, GUARD_EV_TICK);
    return expect(call, GUARD_ACT_RUN);
}

static void guard__a_write_runs_on_the_primary_and_is_served(void **state)
{
    struct bench *bench = *state;
    start(bench, &bench->call, write_request());
    struct guard_action run = expect(&bench->call, GUARD_ACT_RUN);
    assert_int_equal(run.endpoint, 0);
    assert_int_equal(run.attempt, 1);
    assert_true(run.deadline_ns == bench->now + HF_SEC(2));
    expect_nothing(&bench->call);
    ended(bench, &bench->call, success, commit_sent);
    assert_true(expect_done(&bench->call, GUARD_SERVED, GUARD_WHY_SUCCEEDED).last);
    assert_true(guard_deadline(&bench->call) == HF_NEVER);
    assert_int_equal(bulkhead_in_use(bench->guard.endpoints[0].bulkhead), 0);
}

static void guard__a_read_that_was_never_sent_runs_again_elsewhere(void **state)
{
    struct bench *bench = *state;
    start(bench, &bench->call, read_request());
    uint32_t first = expect(&bench->call, GUARD_ACT_RUN).endpoint;
    ended(bench, &bench->call, refused, unsent);
    assert_int_equal(expect(&bench->call, GUARD_ACT_TELL).endpoint, first);
    struct guard_action run = expect_retry(bench, &bench->call);
    assert_int_not_equal(run.endpoint, first);
    assert_int_equal(run.attempt, 2);
}

static void guard__a_write_with_a_lost_answer_is_resolved_never_repeated(void **state)
{
    struct bench *bench = *state;
    start(bench, &bench->call, write_request());
    expect(&bench->call, GUARD_ACT_RUN);
    ended(bench, &bench->call, lost, commit_sent);
    expect(&bench->call, GUARD_ACT_TELL);
    expect(&bench->call, GUARD_ACT_RESOLVE);
    expect_nothing(&bench->call);
    struct guard_event found = event(bench, GUARD_EV_RESOLVED);
    found.resolution = GUARD_COMMITTED;
    guard_feed(&bench->call, &found);
    expect_done(&bench->call, GUARD_SERVED, GUARD_WHY_COMMIT_PROVED);
}

static void guard__a_proved_abort_makes_an_autocommit_write_repeatable(void **state)
{
    struct bench *bench = *state;
    start(bench, &bench->call, write_request());
    expect(&bench->call, GUARD_ACT_RUN);
    ended(bench, &bench->call, lost, commit_sent);
    expect(&bench->call, GUARD_ACT_TELL);
    expect(&bench->call, GUARD_ACT_RESOLVE);
    struct guard_event found = event(bench, GUARD_EV_RESOLVED);
    found.resolution = GUARD_ABORTED;
    guard_feed(&bench->call, &found);
    assert_int_equal(expect_retry(bench, &bench->call).attempt, 2);
}

static void guard__a_transaction_is_repeated_only_by_who_holds_its_logic(void **state)
{
    struct bench *bench = *state;
    for (int can_replay = 0; can_replay < 2; can_replay++) {
        struct guard_request request = write_request();
        request.in_transaction = true;
        request.can_replay = can_replay;
        start(bench, &bench->call, request);
        expect(&bench->call, GUARD_ACT_RUN);
        struct outcome_facts facts = {.sent = true, .in_transaction = true, .may_write = true};
        ended(bench, &bench->call, sqlstate("40001"), facts);
        if (can_replay) {
            expect_retry(bench, &bench->call);
            ended(bench, &bench->call, success, facts);
            expect_done(&bench->call, GUARD_SERVED, GUARD_WHY_SUCCEEDED);
        } else {
            expect_done(&bench->call, GUARD_FAILED, GUARD_WHY_NOT_REPEATABLE);
        }
    }
}

static void guard__a_shown_row_forbids_every_repeat(void **state)
{
    struct bench *bench = *state;
    struct guard_request request = read_request();
    request.idempotent = true;
    start(bench, &bench->call, request);
    expect(&bench->call, GUARD_ACT_RUN);
    ended(bench, &bench->call, lost, (struct outcome_facts){.sent = true, .rows_shown = true});
    expect(&bench->call, GUARD_ACT_TELL);
    expect_done(&bench->call, GUARD_FAILED, GUARD_WHY_NOT_REPEATABLE);
}

static void guard__a_full_bulkhead_queues_and_the_grant_runs(void **state)
{
    struct bench *bench = *state;
    start(bench, &bench->other, write_request());
    expect(&bench->other, GUARD_ACT_RUN);
    start(bench, &bench->call, write_request());
    struct guard_action enter = expect(&bench->call, GUARD_ACT_ENTER);
    struct guard_event now = event(bench, GUARD_EV_TICK);
    assert_null(guard_apply_locked(&bench->call, &enter, &now));
    assert_int_equal(bench->call.state, GUARD_QUEUED);
    assert_int_equal(guard_reason(&bench->call)->why, GUARD_WHY_QUEUED);

    bench->now += HF_MS(3);
    ended(bench, &bench->other, success, commit_sent);
    struct guard_action give = expect(&bench->other, GUARD_ACT_HAND_OVER);
    assert_true(expect_done(&bench->other, GUARD_SERVED, GUARD_WHY_SUCCEEDED).last);
    now.now_ns = bench->now;
    assert_ptr_equal(guard_apply_locked(&bench->other, &give, &now), &bench->call);
    feed(bench, &bench->call, GUARD_EV_GRANTED);
    assert_int_equal(expect(&bench->call, GUARD_ACT_RUN).endpoint, 0);
    ended(bench, &bench->call, success, commit_sent);
    expect_done(&bench->call, GUARD_SERVED, GUARD_WHY_SUCCEEDED);
    assert_int_equal(bulkhead_in_use(bench->guard.endpoints[0].bulkhead), 0);
}

static void guard__a_wait_in_the_queue_ends_by_its_limit(void **state)
{
    struct bench *bench = *state;
    bench->guard.config.queue_ns_max = HF_MS(40);
    start(bench, &bench->other, write_request());
    expect(&bench->other, GUARD_ACT_RUN);
    start(bench, &bench->call, write_request());
    struct guard_action enter = expect(&bench->call, GUARD_ACT_ENTER);
    struct guard_event now = event(bench, GUARD_EV_TICK);
    guard_apply_locked(&bench->call, &enter, &now);
    assert_true(guard_deadline(&bench->call) == bench->now + HF_MS(40));
    bench->now = guard_deadline(&bench->call);
    feed(bench, &bench->call, GUARD_EV_TICK);
    struct guard_action leave = expect(&bench->call, GUARD_ACT_WITHDRAW);
    now.now_ns = bench->now;
    guard_apply_locked(&bench->call, &leave, &now);
    struct guard_action done = expect_done(&bench->call, GUARD_REFUSED, GUARD_WHY_QUEUE_TIMEOUT);
    assert_int_equal(done.outcome.code, OUTCOME_QUEUE_TIMEOUT);
    assert_true(done.last);
}

/* The grant is on its way while the deadline passes: the caller is answered, the permit comes back
 * after. */
static void guard__a_grant_after_the_answer_gives_the_permit_back(void **state)
{
    struct bench *bench = *state;
    start(bench, &bench->other, write_request());
    expect(&bench->other, GUARD_ACT_RUN);
    struct guard_request request = write_request();
    request.deadline_ns = bench->now + HF_MS(10);
    start(bench, &bench->call, request);
    struct guard_action enter = expect(&bench->call, GUARD_ACT_ENTER);
    struct guard_event now = event(bench, GUARD_EV_TICK);
    guard_apply_locked(&bench->call, &enter, &now);
    ended(bench, &bench->other, success, commit_sent);
    struct guard_action give = expect(&bench->other, GUARD_ACT_HAND_OVER);
    guard_apply_locked(&bench->other, &give, &now);

    bench->now += HF_MS(10);
    feed(bench, &bench->call, GUARD_EV_TICK);
    struct guard_action leave = expect(&bench->call, GUARD_ACT_WITHDRAW);
    now.now_ns = bench->now;
    guard_apply_locked(&bench->call, &leave, &now);
    feed(bench, &bench->call, GUARD_EV_TICK);
    assert_false(expect_done(&bench->call, GUARD_REFUSED, GUARD_WHY_DEADLINE).last);
    feed(bench, &bench->call, GUARD_EV_GRANTED);
    assert_true(expect(&bench->call, GUARD_ACT_FREE).last);
    assert_int_equal(bulkhead_in_use(bench->guard.endpoints[0].bulkhead), 0);
}

static void guard__the_deadline_answers_while_the_attempt_is_still_out(void **state)
{
    struct bench *bench = *state;
    struct guard_request request = write_request();
    request.in_transaction = true;
    request.deadline_ns = bench->now + HF_SEC(1);
    start(bench, &bench->call, request);
    expect(&bench->call, GUARD_ACT_RUN);
    bench->now += HF_SEC(1);
    feed(bench, &bench->call, GUARD_EV_TICK);
    expect(&bench->call, GUARD_ACT_STOP);
    assert_false(expect_done(&bench->call, GUARD_FAILED, GUARD_WHY_DEADLINE).last);
    assert_int_equal(bulkhead_in_use(bench->guard.endpoints[0].bulkhead), 1);
    bench->now += HF_SEC(1);
    ended(bench, &bench->call, lost, unsent);
    expect(&bench->call, GUARD_ACT_TELL);
    assert_true(expect(&bench->call, GUARD_ACT_FREE).last);
    assert_int_equal(bulkhead_in_use(bench->guard.endpoints[0].bulkhead), 0);
}

static void guard__a_commit_cut_off_by_the_deadline_is_called_unknown(void **state)
{
    struct bench *bench = *state;
    struct guard_request request = write_request();
    request.deadline_ns = bench->now + HF_SEC(1);
    start(bench, &bench->call, request);
    expect(&bench->call, GUARD_ACT_RUN);
    bench->now += HF_SEC(1);
    feed(bench, &bench->call, GUARD_EV_TICK);
    expect(&bench->call, GUARD_ACT_STOP);
    expect_done(&bench->call, GUARD_UNKNOWN, GUARD_WHY_DEADLINE);
}

static void guard__a_lost_primary_is_waited_for_and_the_new_one_serves(void **state)
{
    struct bench *bench = *state;
    bench->view.endpoints[0].health = ENDPOINT_DOWN;
    snapshot_seal(&bench->view);
    start(bench, &bench->call, write_request());
    expect_nothing(&bench->call);
    assert_int_equal(bench->call.state, GUARD_HOLDING);
    assert_int_equal(guard_reason(&bench->call)->why, GUARD_WHY_HELD);

    bench->now += HF_SEC(3);
    bench->view.endpoints[1].role = ENDPOINT_PRIMARY;
    bench->view.endpoints[1].accepts_writes = true;
    bench->view.endpoints[1].role_generation = 1;
    bench->view.endpoints[1].timeline = 2;
    bench->view.timeline = 2;
    snapshot_seal(&bench->view);
    feed(bench, &bench->call, GUARD_EV_VIEW);
    assert_int_equal(expect(&bench->call, GUARD_ACT_RUN).endpoint, 1);
}

static void guard__holding_is_bounded_in_time(void **state)
{
    struct bench *bench = *state;
    bench->view.endpoints[0].health = ENDPOINT_DOWN;
    snapshot_seal(&bench->view);
    start(bench, &bench->call, write_request());
    int64_t began = bench->now;
    for (int i = 0; i < 1000 && bench->call.state == GUARD_HOLDING; i++) {
        bench->now = guard_deadline(&bench->call);
        feed(bench, &bench->call, GUARD_EV_TICK);
    }
    struct guard_action done = expect_done(&bench->call, GUARD_REFUSED, GUARD_WHY_NO_ENDPOINT);
    assert_int_equal(done.outcome.code, OUTCOME_NO_ENDPOINT);
    assert_true(bench->now - began == HF_SEC(10));
}

static void guard__an_open_breaker_refuses_soon_and_says_when_to_come_back(void **state)
{
    struct bench *bench = *state;
    breaker_force(bench->guard.endpoints[0].breaker, BREAKER_FORCED_OPEN, bench->now);
    bench->guard.config.open_hold_ns_max = 0;
    start(bench, &bench->call, write_request());
    struct guard_action done = expect_done(&bench->call, GUARD_REFUSED, GUARD_WHY_BREAKER_OPEN);
    assert_int_equal(done.outcome.code, OUTCOME_BREAKER_OPEN);
    assert_int_equal(bulkhead_in_use(bench->guard.endpoints[0].bulkhead), 0);
}

static void guard__who_was_held_for_a_primary_waits_for_its_breaker_too(void **state)
{
    struct bench *bench = *state;
    bench->view.endpoints[0].health = ENDPOINT_DOWN;
    snapshot_seal(&bench->view);
    breaker_force(bench->guard.endpoints[0].breaker, BREAKER_FORCED_OPEN, bench->now);
    start(bench, &bench->call, write_request());
    bench->now += HF_SEC(5); /* longer than anybody waits for a breaker */
    bench->view.endpoints[0].health = ENDPOINT_UP;
    snapshot_seal(&bench->view);
    feed(bench, &bench->call, GUARD_EV_VIEW);
    assert_int_equal(bench->call.state, GUARD_HOLDING);
    assert_true(guard_deadline(&bench->call) <= bench->now + HF_MS(250));

    breaker_reset(bench->guard.endpoints[0].breaker, bench->now);
    feed(bench, &bench->call, GUARD_EV_VIEW);
    expect(&bench->call, GUARD_ACT_RUN);
}

static void guard__primaries_that_come_and_go_hold_nobody_for_ever(void **state)
{
    struct bench *bench = *state;
    breaker_force(bench->guard.endpoints[0].breaker, BREAKER_FORCED_OPEN, bench->now);
    start(bench, &bench->call, write_request());
    int64_t began = bench->now;
    for (int i = 0; bench->call.state == GUARD_HOLDING; i++) {
        assert_true(i < 200);
        bench->now += HF_MS(100);
        bench->view.endpoints[0].health = i % 2 == 0 ? ENDPOINT_DOWN : ENDPOINT_UP;
        snapshot_seal(&bench->view);
        feed(bench, &bench->call, GUARD_EV_VIEW);
    }
    assert_true(bench->now - began <= HF_SEC(10) + HF_MS(250));
    expect(&bench->call, GUARD_ACT_DONE);
}

static void guard__the_cache_is_asked_last_and_only_if_welcome(void **state)
{
    struct bench *bench = *state;
    bench->guard.config.hold_ns_max = 0;
    for (uint32_t i = 0; i < 3; i++)
        bench->view.endpoints[i].health = ENDPOINT_DOWN;
    snapshot_seal(&bench->view);
    for (int was_hit = 0; was_hit < 2; was_hit++) {
        struct guard_request request = read_request();
        request.cache_ok = true;
        start(bench, &bench->call, request);
        expect(&bench->call, GUARD_ACT_CACHE);
        struct guard_event looked = event(bench, GUARD_EV_CACHED);
        looked.was_hit = was_hit;
        guard_feed(&bench->call, &looked);
        if (was_hit)
            expect_done(&bench->call, GUARD_SERVED_CACHED, GUARD_WHY_FROM_CACHE);
        else
            expect_done(&bench->call, GUARD_REFUSED, GUARD_WHY_NO_ENDPOINT);
    }
    start(bench, &bench->call, read_request());
    expect_done(&bench->call, GUARD_REFUSED, GUARD_WHY_NO_ENDPOINT);
}

static void guard__a_spent_budget_ends_the_retries(void **state)
{
    struct bench *bench = *state;
    while (budget_try_withdraw(&bench->budget, bench->now))
        ;
    start(bench, &bench->call, read_request());
    expect(&bench->call, GUARD_ACT_RUN);
    ended(bench, &bench->call, refused, unsent);
    expect(&bench->call, GUARD_ACT_TELL);
    struct guard_action done = expect_done(&bench->call, GUARD_FAILED, GUARD_WHY_BUDGET_SPENT);
    assert_int_equal(done.outcome.code, OUTCOME_CONNECT_REFUSED);
}

static void guard__a_cancelled_backoff_gives_its_token_back(void **state)
{
    struct bench *bench = *state;
    start(bench, &bench->call, read_request());
    expect(&bench->call, GUARD_ACT_RUN);
    ended(bench, &bench->call, refused, unsent);
    expect(&bench->call, GUARD_ACT_TELL);
    assert_true(bench->call.has_token);
    feed(bench, &bench->call, GUARD_EV_CANCEL);
    expect_done(&bench->call, GUARD_FAILED, GUARD_WHY_CANCELLED);
    assert_false(bench->call.has_token);
}

static void guard__a_level_that_forbids_writes_refuses_them_and_serves_reads(void **state)
{
    struct bench *bench = *state;
    bench->ladder = degrade_config_default();
    bench->guard.config.ladder = &bench->ladder;
    bench->guard.config.hold_ns_max = 0;
    bench->view.level = DEGRADE_READ_ONLY;
    start(bench, &bench->call, write_request());
    struct guard_action done = expect_done(&bench->call, GUARD_REFUSED, GUARD_WHY_LEVEL);
    assert_int_equal(done.outcome.code, OUTCOME_DEGRADED);
    start(bench, &bench->call, read_request());
    expect(&bench->call, GUARD_ACT_RUN);
}

static void guard__every_event_in_every_state_is_survived(void **state)
{
    struct bench *bench = *state;
    struct guard_request request = read_request();
    for (int kind = GUARD_EV_START; kind <= GUARD_EV_CANCEL; kind++) {
        guard_call_init(&bench->call, &bench->guard, &bench->lane);
        if (kind == GUARD_EV_START)
            continue;
        feed(bench, &bench->call, (enum guard_event_kind)kind);
        expect_nothing(&bench->call);
        start(bench, &bench->call, request);
        expect(&bench->call, GUARD_ACT_RUN);
        ended(bench, &bench->call, success, unsent);
        expect_done(&bench->call, GUARD_SERVED, GUARD_WHY_SUCCEEDED);
        feed(bench, &bench->call, (enum guard_event_kind)kind);
        expect_nothing(&bench->call);
    }
}

static void guard__time_that_runs_backwards_is_clamped_and_counted(void **state)
{
    struct bench *bench = *state;
    start(bench, &bench->call, read_request());
    expect(&bench->call, GUARD_ACT_RUN);
    bench->now -= HF_SEC(50);
    ended(bench, &bench->call, success, unsent);
    expect_done(&bench->call, GUARD_SERVED, GUARD_WHY_SUCCEEDED);
    assert_int_equal(bench->lane.stats.time_backwards, 1);
    assert_true(guard_reason(&bench->call)->at_ns == bench->now + HF_SEC(50));
}

static void guard__a_configuration_that_cannot_work_is_named(void **state)
{
    (void)state;
    struct hf_err err;
    struct guard_config config = guard_config_default();
    assert_int_equal(guard_config_check(&config, &err), HF_OK);
    config.call_ns = 0;
    assert_int_equal(guard_config_check(&config, &err), HF_RC_INVALID);
    config = guard_config_default();
    config.hold_ns_max = -1;
    assert_int_equal(guard_config_check(&config, &err), HF_RC_INVALID);
    config = guard_config_default();
    config.retry.attempts_max = 0;
    assert_int_equal(guard_config_check(&config, &err), HF_RC_INVALID);
    assert_non_null(strstr(err.message, "in the guard's retry policy"));
}

/* VACUUM and its like commit parts of themselves: a proof that "it" was aborted proves nothing. */
static void guard__what_commits_inside_is_not_run_again(void **state)
{
    struct bench *bench = *state;
    start(bench, &bench->call, write_request());
    expect(&bench->call, GUARD_ACT_RUN);
    struct outcome_facts facts = commit_sent;
    facts.commits_inside = true;
    ended(bench, &bench->call, lost, facts);
    expect(&bench->call, GUARD_ACT_TELL);
    expect(&bench->call, GUARD_ACT_RESOLVE);
    struct guard_event found = event(bench, GUARD_EV_RESOLVED);
    found.resolution = GUARD_ABORTED;
    guard_feed(&bench->call, &found);
    assert_true(expect(&bench->call, GUARD_ACT_DONE).result == GUARD_FAILED);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(guard__a_write_runs_on_the_primary_and_is_served),
        CASE(guard__a_read_that_was_never_sent_runs_again_elsewhere),
        CASE(guard__a_write_with_a_lost_answer_is_resolved_never_repeated),
        CASE(guard__a_proved_abort_makes_an_autocommit_write_repeatable),
        CASE(guard__a_transaction_is_repeated_only_by_who_holds_its_logic),
        CASE(guard__a_shown_row_forbids_every_repeat),
        CASE(guard__a_full_bulkhead_queues_and_the_grant_runs),
        CASE(guard__a_wait_in_the_queue_ends_by_its_limit),
        CASE(guard__a_grant_after_the_answer_gives_the_permit_back),
        CASE(guard__the_deadline_answers_while_the_attempt_is_still_out),
        CASE(guard__a_commit_cut_off_by_the_deadline_is_called_unknown),
        CASE(guard__a_lost_primary_is_waited_for_and_the_new_one_serves),
        CASE(guard__holding_is_bounded_in_time),
        CASE(guard__an_open_breaker_refuses_soon_and_says_when_to_come_back),
        CASE(guard__who_was_held_for_a_primary_waits_for_its_breaker_too),
        CASE(guard__primaries_that_come_and_go_hold_nobody_for_ever),
        CASE(guard__the_cache_is_asked_last_and_only_if_welcome),
        CASE(guard__a_spent_budget_ends_the_retries),
        CASE(guard__a_cancelled_backoff_gives_its_token_back),
        CASE(guard__a_level_that_forbids_writes_refuses_them_and_serves_reads),
        CASE(guard__every_event_in_every_state_is_survived),
        CASE(guard__a_configuration_that_cannot_work_is_named),
        CASE(guard__what_commits_inside_is_not_run_again),
        CASE(guard__time_that_runs_backwards_is_clamped_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
