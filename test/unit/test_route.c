#include "unit.h"

#include <string.h>

#include "core/route.h"
#include "dies.h"
#include "route_four.h"

static enum route_reason choose(struct snapshot *view, const struct route_request *request,
                                struct route_decision *decision)
{
    struct route_state state;
    route_state_init(&state, 1);
    assert_int_equal(snapshot_check(view, NULL), HF_OK);
    snapshot_seal(view);
    memset(decision, 0x5a, sizeof *decision);
    bool is_chosen = route_choose(view, request, &state, decision);
    assert_int_equal(is_chosen, decision->endpoint != NONE);
    assert_int_equal(is_chosen, decision->candidates != 0);
    return decision->reason;
}

/* ---- a table of cases ---- */

/* What happens to the four before the call. */
enum news {
    ALL_WELL,
    PRIMARY_GONE, /* its role is not known any more */
    PRIMARY_DOWN,
    PRIMARY_SUSPECT,
    PRIMARY_READ_ONLY,
    PRIMARY_DRAINED,
    PRIMARY_NO_READS,
    TWO_PRIMARIES,
    REPLICAS_DOWN,
    REPLICAS_SUSPECT,
    REPLICAS_UNSAMPLED, /* nothing was heard of them for 6 s */
    REPLICAS_ELSEWHERE, /* on another timeline */
    REPLICAS_FAR_BEHIND,
    A_DOWN,
    A_SUSPECT,
    A_DRAINED,
    A_FIRST_TIER, /* and b and c in later ones */
    NEAR_B_C,     /* b and c are in zone 1 */
    PRIMARY_DOWN_REPLICAS_FAR_BEHIND,
};

static void happen(struct snapshot *view, enum news news)
{
    struct snapshot_endpoint *p = &view->endpoints[0];
    struct snapshot_endpoint *a = &view->endpoints[1];
    struct snapshot_endpoint *b = &view->endpoints[2];
    struct snapshot_endpoint *c = &view->endpoints[3];
    switch (news) {
    case ALL_WELL:
        return;
    case PRIMARY_GONE:
        p->role = ENDPOINT_UNKNOWN;
        return;
    case PRIMARY_DOWN:
        p->health = ENDPOINT_DOWN;
        return;
    case PRIMARY_SUSPECT:
        p->health = ENDPOINT_SUSPECT;
        return;
    case PRIMARY_READ_ONLY:
        p->accepts_writes = false;
        return;
    case PRIMARY_DRAINED:
        p->is_drained = true;
        return;
    case PRIMARY_NO_READS:
        p->accepts_reads = false;
        return;
    case TWO_PRIMARIES:
        c->role = ENDPOINT_PRIMARY;
        c->accepts_writes = true;
        return;
    case REPLICAS_DOWN:
        a->health = b->health = c->health = ENDPOINT_DOWN;
        return;
    case REPLICAS_SUSPECT:
        a->health = b->health = c->health = ENDPOINT_SUSPECT;
        return;
    case REPLICAS_UNSAMPLED:
        a->sampled_at_ns = b->sampled_at_ns = c->sampled_at_ns = NOW_NS - HF_SEC(6);
        return;
    case REPLICAS_ELSEWHERE:
        a->timeline = b->timeline = c->timeline = 9;
        return;
    case REPLICAS_FAR_BEHIND:
    case PRIMARY_DOWN_REPLICAS_FAR_BEHIND:
        a->lag_ns = b->lag_ns = c->lag_ns = HF_SEC(20);
        a->replayed_lsn = b->replayed_lsn = c->replayed_lsn = 79995;
        p->health = news == REPLICAS_FAR_BEHIND ? ENDPOINT_UP : ENDPOINT_DOWN;
        return;
    case A_DOWN:
        a->health = ENDPOINT_DOWN;
        return;
    case A_SUSPECT:
        a->health = ENDPOINT_SUSPECT;
        return;
    case A_DRAINED:
        a->is_drained = true;
        return;
    case A_FIRST_TIER:
        b->tier = 1;
        c->tier = 2;
        return;
    case NEAR_B_C:
        b->zone = c->zone = 1;
        return;
    }
}

static const struct route_policy never = {ROUTE_LEAST_OF_TWO, ROUTE_PRIMARY_NEVER, HF_NEVER,
                                          HF_SEC(5)};
static const struct route_policy always = {ROUTE_LEAST_OF_TWO, ROUTE_PRIMARY_ALWAYS, HF_NEVER,
                                           HF_SEC(5)};
static const struct route_policy lag_20 = {ROUTE_LEAST_OF_TWO, ROUTE_PRIMARY_FALLBACK, HF_MS(26),
                                           HF_SEC(5)};

enum {
    P = 1,
    A = 2,
    B = 4,
    C = 8,
    ALL = 15
};

struct route_case {
    enum news news;
    struct route_request request;
    uint32_t candidates;
    enum route_reason reason;
};

#define WRITE         .intent = ROUTE_WRITE
#define ANY           .intent = ROUTE_ANY
#define PRIMARY       .consistency = ROUTE_PRIMARY
#define ANY_AGE       .consistency = ROUTE_ANY_AGE
#define BOUNDED(ms)   .consistency = ROUTE_BOUNDED, .staleness_ns_max = HF_MS(ms)
#define WROTE_AGO(ms) .promise.written_at_ns = (NOW_NS - HF_MS(ms))
#define WROTE_LSN(n)  .promise.lsn = (n)

static const struct route_case cases[] = {
    /* Writes. */
    {ALL_WELL, {WRITE}, P, ROUTE_TO_WRITER},
    {ALL_WELL, {WRITE, .avoid = P}, P, ROUTE_TO_WRITER},
    {ALL_WELL, {WRITE, ANY_AGE, .policy = &never}, P, ROUTE_TO_WRITER},
    {ALL_WELL, {WRITE, .exclude = A | B | C}, P, ROUTE_TO_WRITER},
    {PRIMARY_SUSPECT, {WRITE}, P, ROUTE_TO_WRITER},
    {PRIMARY_NO_READS, {WRITE}, P, ROUTE_TO_WRITER},
    {ALL_WELL, {WRITE, .exclude = P}, 0, ROUTE_PRIMARY_EXCLUDED},
    {PRIMARY_GONE, {WRITE}, 0, ROUTE_NO_PRIMARY},
    {PRIMARY_DOWN, {WRITE}, 0, ROUTE_PRIMARY_DOWN},
    {PRIMARY_DRAINED, {WRITE}, 0, ROUTE_PRIMARY_DRAINED},
    {PRIMARY_READ_ONLY, {WRITE}, 0, ROUTE_PRIMARY_CLOSED},
    {TWO_PRIMARIES, {WRITE}, 0, ROUTE_RIVAL_PRIMARIES},

    /* Reads that the primary alone may answer. */
    {ALL_WELL, {PRIMARY}, P, ROUTE_TO_PRIMARY_ASKED},
    {ALL_WELL, {PRIMARY, .policy = &never}, P, ROUTE_TO_PRIMARY_ASKED},
    {PRIMARY_READ_ONLY, {PRIMARY}, P, ROUTE_TO_PRIMARY_ASKED},
    {PRIMARY_SUSPECT, {PRIMARY, .avoid = P}, P, ROUTE_TO_PRIMARY_ASKED},
    {ALL_WELL, {PRIMARY, .exclude = P}, 0, ROUTE_PRIMARY_EXCLUDED},
    {PRIMARY_GONE, {PRIMARY}, 0, ROUTE_NO_PRIMARY},
    {PRIMARY_DOWN, {PRIMARY}, 0, ROUTE_PRIMARY_DOWN},
    {PRIMARY_NO_READS, {PRIMARY}, 0, ROUTE_PRIMARY_CLOSED},
    {TWO_PRIMARIES, {PRIMARY}, 0, ROUTE_RIVAL_PRIMARIES},

    /* Any server. */
    {ALL_WELL, {ANY}, P, ROUTE_TO_PRIMARY_ASKED},
    {PRIMARY_SUSPECT, {ANY}, A | B | C, ROUTE_TO_REPLICA},
    {PRIMARY_DOWN, {ANY, PRIMARY}, A | B | C, ROUTE_TO_REPLICA},
    {PRIMARY_DOWN_REPLICAS_FAR_BEHIND, {ANY, WROTE_AGO(9)}, A | B | C, ROUTE_TO_REPLICA},
    {PRIMARY_DOWN, {ANY, .exclude = ALL}, 0, ROUTE_READERS_EXCLUDED},
    {ALL_WELL, {ANY, .avoid = P}, A | B | C, ROUTE_TO_REPLICA},
    {ALL_WELL, {ANY, .avoid = ALL, .policy = &always}, P, ROUTE_TO_PRIMARY_ASKED},

    /* A session that has written nothing. */
    {ALL_WELL, {.zone = 0}, A | B | C, ROUTE_TO_REPLICA},
    {ALL_WELL, {.policy = &never}, A | B | C, ROUTE_TO_REPLICA},
    {ALL_WELL, {.policy = &always}, ALL, ROUTE_TO_READER},
    {REPLICAS_FAR_BEHIND, {.zone = 0}, A | B | C, ROUTE_TO_REPLICA},
    {REPLICAS_ELSEWHERE, {.zone = 0}, A | B | C, ROUTE_TO_REPLICA},
    {A_DOWN, {.zone = 0}, B | C, ROUTE_TO_REPLICA},
    {A_DRAINED, {.zone = 0}, B | C, ROUTE_TO_REPLICA},
    {REPLICAS_DOWN, {.zone = 0}, P, ROUTE_TO_PRIMARY_ALONE},
    {REPLICAS_DOWN, {.policy = &never}, 0, ROUTE_NO_READER},
    {REPLICAS_DOWN, {.exclude = P}, 0, ROUTE_READERS_EXCLUDED},

    /* Preferences. */
    {REPLICAS_SUSPECT, {.zone = 0}, P, ROUTE_TO_PRIMARY_ALONE},
    {REPLICAS_SUSPECT, {.exclude = P}, A | B | C, ROUTE_TO_SUSPECT},
    {REPLICAS_SUSPECT, {.policy = &never}, A | B | C, ROUTE_TO_SUSPECT},
    {PRIMARY_SUSPECT, {.exclude = A | B | C}, P, ROUTE_TO_SUSPECT},
    {PRIMARY_SUSPECT, {.policy = &always}, A | B | C, ROUTE_TO_READER},
    {ALL_WELL, {.exclude = A}, B | C, ROUTE_TO_REPLICA},
    {ALL_WELL, {.avoid = A}, B | C, ROUTE_TO_REPLICA},
    {ALL_WELL, {.exclude = A, .avoid = B | C}, P, ROUTE_TO_PRIMARY_ALONE},
    {ALL_WELL, {.exclude = P | A, .avoid = B | C}, B | C, ROUTE_TO_AVOIDED},
    {ALL_WELL, {.avoid = ALL}, A | B | C, ROUTE_TO_AVOIDED},
    {REPLICAS_SUSPECT, {.avoid = ALL}, P, ROUTE_TO_AVOIDED},
    {ALL_WELL, {.exclude = ALL}, 0, ROUTE_READERS_EXCLUDED},
    {A_FIRST_TIER, {.zone = 0}, A, ROUTE_TO_REPLICA},
    {A_FIRST_TIER, {.exclude = A}, B, ROUTE_TO_REPLICA},
    {A_FIRST_TIER, {.exclude = A | B}, C, ROUTE_TO_REPLICA},
    {A_FIRST_TIER, {.policy = &always}, P | A, ROUTE_TO_READER},
    {NEAR_B_C, {.zone = 1}, B | C, ROUTE_TO_REPLICA},
    {NEAR_B_C, {.zone = 1, .exclude = B}, C, ROUTE_TO_REPLICA},
    {NEAR_B_C, {.zone = 1, .exclude = B | C}, A, ROUTE_TO_REPLICA},
    {NEAR_B_C, {.zone = 2}, A | B | C, ROUTE_TO_REPLICA},
    {NEAR_B_C, {.zone = 0}, A | B | C, ROUTE_TO_REPLICA},
    {NEAR_B_C, {.zone = 255}, A | B | C, ROUTE_TO_REPLICA},

    /* Bounds: at the time of the call the replicas show what was there 15, 25 and 35 ms ago. */
    {ALL_WELL, {BOUNDED(36)}, A | B | C, ROUTE_TO_REPLICA},
    {ALL_WELL, {BOUNDED(35)}, A | B | C, ROUTE_TO_REPLICA},
    {ALL_WELL, {BOUNDED(34)}, A | B, ROUTE_TO_REPLICA},
    {ALL_WELL, {BOUNDED(34), .now_ns = NOW_NS + HF_MS(10)}, A, ROUTE_TO_REPLICA},
    {ALL_WELL, {BOUNDED(34), .now_ns = NOW_NS - HF_MS(10)}, A | B, ROUTE_TO_REPLICA},
    {ALL_WELL, {BOUNDED(14)}, P, ROUTE_TO_PRIMARY_STALE},
    {ALL_WELL, {BOUNDED(0)}, P, ROUTE_TO_PRIMARY_STALE},
    {ALL_WELL, {BOUNDED(14), .policy = &never}, 0, ROUTE_TOO_STALE},
    {ALL_WELL, {BOUNDED(14), .exclude = P}, 0, ROUTE_TOO_STALE},
    {PRIMARY_DOWN, {BOUNDED(34)}, A | B, ROUTE_TO_REPLICA},
    {PRIMARY_DOWN, {BOUNDED(14)}, 0, ROUTE_TOO_STALE},
    {PRIMARY_DOWN, {ANY_AGE}, A | B | C, ROUTE_TO_REPLICA},
    {ALL_WELL, {ANY_AGE, .policy = &lag_20}, A | B, ROUTE_TO_REPLICA},
    {ALL_WELL, {.policy = &lag_20}, A | B, ROUTE_TO_REPLICA},
    {ALL_WELL, {BOUNDED(20), .policy = &lag_20}, A, ROUTE_TO_REPLICA},
    {ALL_WELL, {BOUNDED(90), .policy = &lag_20}, A | B, ROUTE_TO_REPLICA},
    {REPLICAS_UNSAMPLED, {BOUNDED(60000)}, P, ROUTE_TO_PRIMARY_STALE},
    {REPLICAS_UNSAMPLED, {ANY_AGE}, A | B | C, ROUTE_TO_REPLICA},
    {REPLICAS_ELSEWHERE, {BOUNDED(60000)}, P, ROUTE_TO_PRIMARY_STALE},
    {REPLICAS_ELSEWHERE, {ANY_AGE}, A | B | C, ROUTE_TO_REPLICA},

    /* Promises: replayed are 99985, 99975 and 99965; the primary was asked at ... 99850, 99950. */
    {ALL_WELL, {WROTE_LSN(99965)}, A | B | C, ROUTE_TO_REPLICA},
    {ALL_WELL, {WROTE_LSN(99966)}, A | B, ROUTE_TO_REPLICA},
    {ALL_WELL, {WROTE_LSN(99985)}, A, ROUTE_TO_REPLICA},
    {ALL_WELL, {WROTE_LSN(99986)}, P, ROUTE_TO_PRIMARY_PROMISE},
    {ALL_WELL, {WROTE_LSN(99986), .policy = &always}, P, ROUTE_TO_READER},
    {ALL_WELL, {WROTE_LSN(99986), .policy = &never}, 0, ROUTE_PROMISE_UNMET},
    {ALL_WELL, {WROTE_LSN(99986), .exclude = P}, 0, ROUTE_PROMISE_UNMET},
    {ALL_WELL, {WROTE_LSN(99985), .avoid = A}, P, ROUTE_TO_PRIMARY_PROMISE},
    {A_SUSPECT, {WROTE_LSN(99985)}, P, ROUTE_TO_PRIMARY_PROMISE},
    {A_SUSPECT, {WROTE_LSN(99985), .exclude = P}, A, ROUTE_TO_SUSPECT},
    {PRIMARY_DOWN, {WROTE_LSN(99986)}, 0, ROUTE_PROMISE_UNMET},
    {PRIMARY_DOWN, {WROTE_LSN(99985)}, A, ROUTE_TO_REPLICA},
    {ALL_WELL, {WROTE_LSN(99985), .exclude = A}, P, ROUTE_TO_PRIMARY_PROMISE},
    {ALL_WELL, {WROTE_LSN(99986), ANY_AGE}, A | B | C, ROUTE_TO_REPLICA},
    {ALL_WELL, {WROTE_LSN(99986), BOUNDED(99)}, A | B | C, ROUTE_TO_REPLICA},
    {ALL_WELL, {WROTE_AGO(51)}, A | B | C, ROUTE_TO_REPLICA},
    {ALL_WELL, {WROTE_AGO(50)}, P, ROUTE_TO_PRIMARY_PROMISE},
    {ALL_WELL, {WROTE_AGO(50), WROTE_LSN(99975)}, A | B, ROUTE_TO_REPLICA},
    {ALL_WELL, {WROTE_AGO(150), WROTE_LSN(99999)}, A | B | C, ROUTE_TO_REPLICA},
    {PRIMARY_DOWN, {WROTE_AGO(51)}, A | B | C, ROUTE_TO_REPLICA},
    {PRIMARY_DOWN, {WROTE_AGO(50)}, 0, ROUTE_PROMISE_UNMET},
    {ALL_WELL, {WROTE_LSN(99966), .promise.timeline = 1}, P, ROUTE_TO_PRIMARY_PROMISE},
    {REPLICAS_ELSEWHERE, {WROTE_LSN(1)}, P, ROUTE_TO_PRIMARY_PROMISE},
    {REPLICAS_UNSAMPLED, {WROTE_LSN(1)}, P, ROUTE_TO_PRIMARY_PROMISE},
    {ALL_WELL, {WROTE_LSN(99976), .policy = &lag_20}, A, ROUTE_TO_REPLICA},
    {ALL_WELL, {WROTE_LSN(99986), .policy = &lag_20}, P, ROUTE_TO_PRIMARY_PROMISE},
    {REPLICAS_FAR_BEHIND, {WROTE_LSN(99), .policy = &lag_20}, P, ROUTE_TO_PRIMARY_STALE},
};

static void route__each_case_of_the_table_comes_out_as_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct snapshot view;
        struct route_decision decision;
        four(&view);
        happen(&view, cases[i].news);
        choose(&view, &cases[i].request, &decision);
        if (decision.candidates != cases[i].candidates || decision.reason != cases[i].reason)
            fail_msg("case %zu: candidates %x, %s; expected %x, %s", i, decision.candidates,
                     route_reason_name(decision.reason), cases[i].candidates,
                     route_reason_name(cases[i].reason));
    }
}

/* ---- refusals say what to wait for ---- */

static void route__an_unmet_promise_is_asked_again_when_it_may_be_met(void **state)
{
    (void)state;
    struct snapshot view;
    struct route_decision decision;
    four(&view);
    happen(&view, PRIMARY_DOWN);
    struct route_request request = {.now_ns = NOW_NS, WROTE_AGO(3), WROTE_LSN(99997)};

    choose(&view, &request, &decision);
    assert_int_equal(decision.ask_again_ns, NOW_NS + SNAPSHOT_INTERVAL_NS);
    assert_int_equal(decision.promise_lsn, 99997);

    view.endpoints[1].lag_ns = HF_SEC(2); /* the least of the lags decides */
    view.endpoints[2].lag_ns = HF_SEC(3);
    view.endpoints[3].lag_ns = HF_NEVER;
    choose(&view, &request, &decision);
    assert_int_equal(decision.ask_again_ns, NOW_NS - HF_MS(3) + HF_SEC(2));

    view.endpoints[1].lag_ns = view.endpoints[2].lag_ns = HF_NEVER;
    choose(&view, &request, &decision);
    assert_int_equal(decision.ask_again_ns, NOW_NS + SNAPSHOT_INTERVAL_NS);

    /* The watcher is late itself: still ahead of now. */
    request.now_ns = NOW_NS + HF_SEC(1);
    choose(&view, &request, &decision);
    assert_int_equal(decision.ask_again_ns, NOW_NS + HF_SEC(1) + SNAPSHOT_INTERVAL_NS);
}

static void route__a_bound_that_is_not_met_waits_for_the_next_snapshot(void **state)
{
    (void)state;
    struct snapshot view;
    struct route_decision decision;
    four(&view);
    happen(&view, PRIMARY_DOWN);
    const struct route_request request = {.now_ns = NOW_NS, BOUNDED(1)};
    choose(&view, &request, &decision);
    assert_int_equal(decision.ask_again_ns, NOW_NS + SNAPSHOT_INTERVAL_NS);
}

static void route__nobody_can_say_when_a_role_or_health_comes_back(void **state)
{
    (void)state;
    struct snapshot view;
    struct route_decision decision;
    four(&view);
    happen(&view, PRIMARY_DOWN);
    const struct route_request request = {.now_ns = NOW_NS, WRITE};
    choose(&view, &request, &decision);
    assert_true(decision.ask_again_ns == HF_NEVER);
}

static void route__the_position_of_a_promise_is_told_as_soon_as_it_is_known(void **state)
{
    (void)state;
    static const struct {
        struct route_request request;
        uint64_t lsn;
    } table[] = {
        {{.now_ns = NOW_NS}, 0},
        {{.now_ns = NOW_NS, WROTE_AGO(50)}, 0},
        {{.now_ns = NOW_NS, WROTE_AGO(51)}, 99950},
        {{.now_ns = NOW_NS, WROTE_AGO(151)}, 99850},
        {{.now_ns = NOW_NS, WROTE_AGO(151), WROTE_LSN(7)}, 7},
        {{.now_ns = NOW_NS, WROTE_AGO(151), WROTE_LSN(99999)}, 99850},
        {{.now_ns = NOW_NS, WROTE_AGO(151), WRITE}, 0},
        {{.now_ns = NOW_NS, WROTE_AGO(151), ANY_AGE}, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct snapshot view;
        struct route_decision decision;
        four(&view);
        choose(&view, &table[i].request, &decision);
        assert_int_equal(decision.promise_lsn, table[i].lsn);
    }
}

/* ---- explaining ---- */

static void route__explain_gives_each_rule_with_its_number(void **state)
{
    (void)state;
    struct snapshot view;
    struct route_left_out out[SNAPSHOT_ENDPOINTS_MAX];
    four(&view);
    view.endpoints[3].lag_ns = HF_NEVER;
    struct route_request request = {.now_ns = NOW_NS + HF_MS(1), BOUNDED(20)};
    snapshot_seal(&view);
    route_explain(&view, &request, out);
    assert_int_equal(out[0].why, ROUTE_OUT_KIND);
    assert_int_equal(out[1].why, ROUTE_OUT_NOT);
    assert_int_equal(out[2].why, ROUTE_OUT_LAG);
    assert_int_equal(out[2].number, HF_MS(26));
    assert_int_equal(out[3].why, ROUTE_OUT_LAG);
    assert_true(out[3].number == HF_NEVER);

    request = (struct route_request){.now_ns = NOW_NS, WROTE_LSN(99980)};
    view.endpoints[3].sampled_at_ns = NOW_NS - HF_SEC(7);
    snapshot_seal(&view);
    route_explain(&view, &request, out);
    assert_int_equal(out[2].why, ROUTE_OUT_PROMISE);
    assert_int_equal(out[2].number, 5);
    assert_int_equal(out[3].why, ROUTE_OUT_UNSAMPLED);
    assert_int_equal(out[3].number, HF_SEC(7));

    request = (struct route_request){.now_ns = NOW_NS, WROTE_AGO(1)};
    view.endpoints[3].timeline = 8;
    view.endpoints[1].tier = 3;
    snapshot_seal(&view);
    route_explain(&view, &request, out);
    assert_int_equal(out[0].why, ROUTE_OUT_NOT);
    assert_int_equal(out[1].why, ROUTE_OUT_PROMISE);
    assert_true(out[1].number == HF_NEVER);
    assert_int_equal(out[3].why, ROUTE_OUT_TIMELINE);
    assert_int_equal(out[3].number, 8);

    request = (struct route_request){.now_ns = NOW_NS, WROTE_LSN(UINT64_MAX - 1)};
    route_explain(&view, &request, out);
    assert_true(out[1].number == HF_NEVER);

    request = (struct route_request){.now_ns = NOW_NS, ANY_AGE, .exclude = BIT(3)};
    route_explain(&view, &request, out);
    assert_int_equal(out[1].why, ROUTE_OUT_TIER);
    assert_int_equal(out[1].number, 3);
    assert_int_equal(out[2].why, ROUTE_OUT_NOT);
    assert_int_equal(out[3].why, ROUTE_OUT_EXCLUDED);
}

static void route__a_grant_is_used_only_if_the_hard_rules_still_hold(void **state)
{
    (void)state;
    struct snapshot view;
    four(&view);
    snapshot_seal(&view);
    /* Preferences and the exclusions of a round that is over do not matter any more. */
    const struct route_request read = {
        .now_ns = NOW_NS, BOUNDED(26), .exclude = ALL, .avoid = ALL, .zone = 3};
    static const bool allowed[] = {true, true, true, false};
    for (uint32_t at = 0; at < 4; at++)
        assert_int_equal(route_allows(&view, &read, at), allowed[at]);
    assert_false(route_allows(&view, &read, 4));
    assert_false(route_allows(&view, &read, NONE));
    const struct route_request write = {WRITE};
    for (uint32_t at = 0; at < 4; at++)
        assert_int_equal(route_allows(&view, &write, at), at == 0);
}

static void route__names_tell_all_reasons_apart(void **state)
{
    (void)state;
    for (int i = 0; i < ROUTE_REASONS; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(route_reason_name((enum route_reason)i),
                                    route_reason_name((enum route_reason)j));
    for (int i = 0; i < ROUTE_OUTS; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(route_out_name((enum route_out)i),
                                    route_out_name((enum route_out)j));
    assert_string_equal(route_intent_name(ROUTE_READ), "read");
    assert_string_equal(route_intent_name(ROUTE_WRITE), "write");
    assert_string_equal(route_intent_name(ROUTE_ANY), "any");
    assert_string_equal(route_consistency_name(ROUTE_SESSION), "session");
    assert_string_equal(route_consistency_name(ROUTE_BOUNDED), "bounded");
    assert_string_equal(route_consistency_name(ROUTE_ANY_AGE), "any");
    assert_string_equal(route_consistency_name(ROUTE_PRIMARY), "primary");
    assert_string_equal(route_balance_name(ROUTE_LEAST_OF_TWO), "least_of_two");
    assert_string_equal(route_balance_name(ROUTE_RANDOM), "random");
    assert_string_equal(route_balance_name(ROUTE_ROUND_ROBIN), "round_robin");
}

static void route__a_policy_is_checked(void **state)
{
    (void)state;
    struct route_policy policy = route_policy_default();
    assert_int_equal(route_policy_check(&policy, NULL), HF_OK);
    policy.balance = ROUTE_BALANCES;
    assert_int_equal(route_policy_check(&policy, NULL), HF_RC_INVALID);
    policy = route_policy_default();
    policy.primary_reads = (enum route_primary_reads)(ROUTE_PRIMARY_NEVER + 1);
    assert_int_equal(route_policy_check(&policy, NULL), HF_RC_INVALID);
    policy = route_policy_default();
    policy.lag_ns_max = 0;
    assert_int_equal(route_policy_check(&policy, NULL), HF_RC_INVALID);
    policy = route_policy_default();
    policy.sample_ns_max = 0;
    assert_int_equal(route_policy_check(&policy, NULL), HF_RC_INVALID);
}

static void choose_unsealed(void *view)
{
    struct route_state state;
    struct route_decision decision;
    const struct route_request request = {WRITE};
    route_state_init(&state, 1);
    route_choose(view, &request, &state, &decision);
}

static void choose_writer_that_is_none(void *argument)
{
    struct snapshot *view = argument;
    view->writer = 1; /* a replica: somebody wrote into a sealed snapshot */
    choose_unsealed(view);
}

static void route__a_write_to_a_replica_stops_the_program(void **state)
{
    (void)state;
    struct snapshot view;
    four(&view);
    assert_true(dies(choose_unsealed, &view));
    snapshot_seal(&view);
    assert_false(dies(choose_unsealed, &view));
    assert_true(dies(choose_writer_that_is_none, &view));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(route__each_case_of_the_table_comes_out_as_written),
        cmocka_unit_test(route__an_unmet_promise_is_asked_again_when_it_may_be_met),
        cmocka_unit_test(route__a_bound_that_is_not_met_waits_for_the_next_snapshot),
        cmocka_unit_test(route__nobody_can_say_when_a_role_or_health_comes_back),
        cmocka_unit_test(route__the_position_of_a_promise_is_told_as_soon_as_it_is_known),
        cmocka_unit_test(route__explain_gives_each_rule_with_its_number),
        cmocka_unit_test(route__a_grant_is_used_only_if_the_hard_rules_still_hold),
        cmocka_unit_test(route__names_tell_all_reasons_apart),
        cmocka_unit_test(route__a_policy_is_checked),
        cmocka_unit_test(route__a_write_to_a_replica_stops_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
