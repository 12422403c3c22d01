#include "unit.h"

#include "core/topology.h"

#include "base/rng.h"
#include "topology_rig.h"

#define A 0
#define B 1
#define C 2

static uint64_t generation(const struct rig *rig, uint32_t at)
{
    return rig_shown(rig, at)->role_generation;
}

static void topology_role__the_higher_timeline_wins_at_once_and_the_other_is_fenced(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 3);
    rig_settle(&rig);
    const uint64_t before = generation(&rig, A);
    rig.now += HF_MS(100);
    rig_answer(&rig, B, rig_primary(2, 2000));
    assert_int_equal(rig.view.writer, B);
    assert_int_equal(rig.view.timeline, 2);
    assert_true(generation(&rig, B) > before);
    assert_int_equal(rig.told[TOPOLOGY_NEWS_FENCED], 1);
    assert_false(rig_shown(&rig, A)->accepts_writes);
    assert_false(rig_shown(&rig, A)->accepts_reads);
    assert_int_equal(topology_why_not(&rig.t.endpoints[A]), TOPOLOGY_WHY_FENCED);
    /* It stays fenced also when the new one is gone: what it takes would be lost. */
    rig_silence(&rig, B, OUTCOME_CONNECT_REFUSED);
    rig_answer(&rig, A, rig_primary(1, 1500));
    assert_int_equal(rig.view.writer, SNAPSHOT_NO_ENDPOINT);
    assert_int_equal(rig.view.primary, B);
    /* Rejoined as a replica it serves again, by a role of its own. */
    const uint64_t fenced = generation(&rig, A);
    rig.now += HF_SEC(5);
    rig_answer(&rig, B, rig_primary(2, 2500));
    rig_answer(&rig, A, rig_replica(2, 2500));
    assert_true(generation(&rig, A) > fenced);
    assert_true((rig.view.replicas & 1 << A) != 0);
}

static void topology_role__a_frozen_primary_that_wakes_up_after_a_promotion_is_fenced(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 2);
    rig_settle(&rig);
    rig.now += HF_SEC(2);
    rig_silence(&rig, A, OUTCOME_TIMEOUT);
    rig_answer(&rig, B, rig_primary(2, 2000));
    assert_int_equal(rig.view.writer, B);
    rig.now += HF_SEC(60);
    rig_answer(&rig, B, rig_primary(2, 2000));
    rig_answer(&rig, A, rig_primary(1, 1000));
    assert_int_equal(rig.view.writer, B);
    assert_int_equal(rig.told[TOPOLOGY_NEWS_FENCED], 1);
}

static void topology_role__a_primary_that_falls_back_to_an_older_timeline_is_fenced(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 1);
    rig_answer(&rig, A, rig_primary(3, 1000));
    assert_int_equal(rig.view.writer, A);
    rig.now += HF_MS(100);
    rig_answer(&rig, A, rig_primary(2, 900)); /* somebody put an old backup in its place */
    assert_int_equal(rig.view.writer, SNAPSHOT_NO_ENDPOINT);
    assert_int_equal(rig.view.timeline, 3);
    assert_int_equal(rig.last.kind, TOPOLOGY_NEWS_FENCED);
}

static void topology_role__two_living_claims_on_one_timeline_are_both_left_alone(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 3);
    rig_settle(&rig);
    rig_answer(&rig, B, rig_primary(1, 1000));
    assert_true(rig.view.has_rivals);
    assert_int_equal(rig.view.primary, SNAPSHOT_NO_ENDPOINT);
    assert_int_equal(rig.view.writer, SNAPSHOT_NO_ENDPOINT);
    assert_int_equal(generation(&rig, A), generation(&rig, B));
    assert_int_equal(rig.told[TOPOLOGY_NEWS_RIVALS], 2);
    assert_int_equal(rig.t.endpoints[A].other, B);
    assert_int_equal(rig.t.endpoints[B].other, A);
    /* A third one joins; nobody's number tells. */
    rig_answer(&rig, C, rig_primary(1, 1000));
    assert_int_equal(generation(&rig, A), generation(&rig, C));
    assert_int_equal(rig.view.writer, SNAPSHOT_NO_ENDPOINT);
    rig_answer(&rig, C, rig_replica(1, 1000));
    /* One is gone: the other is the primary, with a number that nobody has seen. */
    const uint64_t shared = generation(&rig, B);
    rig_silence(&rig, B, OUTCOME_CONNECT_REFUSED);
    assert_int_equal(rig.view.writer, A);
    assert_true(generation(&rig, A) > shared);
    /* It is back, and still claims it. */
    rig.now += HF_SEC(1);
    rig_answer(&rig, B, rig_primary(1, 1000));
    assert_int_equal(rig.view.writer, SNAPSHOT_NO_ENDPOINT);
    /* It was told to follow. */
    rig.now += HF_SEC(1);
    rig_answer(&rig, B, rig_replica(1, 1000));
    assert_int_equal(rig.view.writer, A);
}

static void topology_role__a_claim_on_the_timeline_of_one_that_is_down_counts(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 2);
    rig_settle(&rig);
    rig_silence(&rig, A, OUTCOME_CONNECT_REFUSED);
    rig_answer(&rig, B, rig_primary(1, 1000));
    assert_int_equal(rig.view.writer, B);
    /* Two such claims are rivals, and neither the one that is down is the primary meanwhile. */
    struct rig three;
    rig_init(&three, NULL, 3);
    rig_settle(&three);
    rig_silence(&three, A, OUTCOME_CONNECT_REFUSED);
    rig_answer(&three, B, rig_primary(1, 1000));
    rig_answer(&three, C, rig_primary(1, 1000));
    assert_int_equal(three.t.primary, TOPOLOGY_NO_ENDPOINT);
    assert_true(three.view.has_rivals);
    /* Then that one falls and the first is back, alone: its number must be the higher one. */
    rig_silence(&rig, B, OUTCOME_CONNECT_REFUSED);
    rig.now += HF_SEC(1);
    rig_answer(&rig, A, rig_primary(1, 1000));
    assert_int_equal(rig.view.writer, A);
    assert_true(generation(&rig, A) > generation(&rig, B));
}

static void topology_role__two_names_of_one_server_are_no_rivals(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 3);
    struct topology_answer answer = rig_primary(1, 1000);
    answer.instance = 77;
    rig_answer(&rig, A, answer);
    rig_answer(&rig, B, answer);
    rig_answer(&rig, C, rig_replica(1, 1000));
    assert_int_equal(rig.view.writer, A);
    assert_int_equal(rig.told[TOPOLOGY_NEWS_ALIAS], 1);
    assert_int_equal(topology_why_not(&rig.t.endpoints[B]), TOPOLOGY_WHY_ALIAS);
    assert_false(rig_shown(&rig, B)->accepts_reads);
    /* Where the first name leads nowhere the second one serves. */
    rig_silence(&rig, A, OUTCOME_CONNECT_REFUSED);
    assert_int_equal(rig.view.writer, B);
    rig.now += HF_SEC(1);
    answer.asked_at_ns = 0;
    rig_answer(&rig, A, answer);
    assert_int_equal(rig.view.writer, A);
}

static void topology_role__a_demoted_primary_is_a_replica_with_a_new_number(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 1);
    rig_settle(&rig);
    const uint64_t before = generation(&rig, A);
    rig.now += HF_MS(100);
    rig_answer(&rig, A, rig_replica(1, 1000));
    assert_true(generation(&rig, A) > before);
    assert_int_equal(rig.view.primary, SNAPSHOT_NO_ENDPOINT);
    assert_int_equal(rig.last.kind, TOPOLOGY_NEWS_ROLE);
    assert_int_equal(rig.last.old_role, ENDPOINT_PRIMARY);
    /* Promoted again: a timeline of its own, and a number of its own. */
    const uint64_t replica = generation(&rig, A);
    rig_answer(&rig, A, rig_primary(2, 1000));
    assert_true(generation(&rig, A) > replica);
    /* A restart in the same role changes nothing, a new timeline does. */
    const uint64_t again = generation(&rig, A);
    rig_answer(&rig, A, rig_primary(2, 1100));
    assert_int_equal(generation(&rig, A), again);
    rig_answer(&rig, A, rig_primary(3, 1100));
    assert_true(generation(&rig, A) > again);
}

static void topology_role__a_foreign_server_is_refused_by_what_most_say(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 3);
    struct topology_answer foreign = rig_primary(9, 9999);
    foreign.system_identifier = 1;
    rig_answer(&rig, A, foreign); /* the first to answer is not always right */
    rig_answer(&rig, B, rig_primary(1, 1000));
    rig_answer(&rig, C, rig_replica(1, 1000));
    assert_int_equal(rig.view.writer, B);
    assert_int_equal(rig_shown(&rig, A)->role, ENDPOINT_UNKNOWN);
    assert_int_equal(rig_shown(&rig, A)->health, ENDPOINT_DOWN);
    assert_int_equal(rig.told[TOPOLOGY_NEWS_FOREIGN], 1);
    assert_int_equal(topology_why_not(&rig.t.endpoints[A]), TOPOLOGY_WHY_FOREIGN);
    /* Where none has the most it is who is named first. */
    struct rig pair;
    rig_init(&pair, NULL, 2);
    rig_answer(&pair, B, foreign);
    rig_answer(&pair, A, rig_primary(1, 1000));
    assert_int_equal(pair.view.writer, A);
    assert_int_equal(topology_why_not(&pair.t.endpoints[B]), TOPOLOGY_WHY_FOREIGN);
    /* Later a majority changes nothing any more. */
    rig.now += HF_SEC(1);
    rig_answer(&rig, C, foreign);
    assert_int_equal(rig.view.writer, B);
    assert_int_equal(rig.told[TOPOLOGY_NEWS_FOREIGN], 2);
    /* Replaced by one of ours it is welcome. */
    rig_answer(&rig, A, rig_replica(1, 1000));
    assert_true((rig.view.replicas & 1 << A) != 0);
}

static void topology_role__the_configured_identifier_goes_before_what_most_say(void **state)
{
    (void)state;
    const struct topology_config config = {.system_identifier = RIG_CLUSTER};
    struct rig rig;
    rig_init(&rig, &config, 3);
    struct topology_answer foreign = rig_primary(9, 9999);
    foreign.system_identifier = 1;
    rig_answer(&rig, A, foreign);
    rig_answer(&rig, B, foreign);
    rig_answer(&rig, C, rig_primary(1, 1000));
    assert_int_equal(rig.view.writer, C);
    /* Who cannot tell is believed. */
    struct topology_answer silent = rig_replica(1, 1000);
    silent.system_identifier = 0;
    rig.now += HF_MS(1);
    rig_answer(&rig, B, silent);
    assert_int_equal(rig.view.replicas, 1 << B);
}

static void topology_role__a_claim_without_a_timeline_is_none(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 2);
    rig_answer(&rig, A, rig_primary(0, 1000));
    rig_answer(&rig, B, rig_replica(2, 1000));
    assert_int_equal(rig.view.writer, SNAPSHOT_NO_ENDPOINT);
    assert_int_equal(rig_shown(&rig, A)->role, ENDPOINT_UNKNOWN);
}

static void topology_role__settings_and_configuration_can_forbid(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 1);
    struct topology_answer answer = rig_primary(1, 1000);
    answer.is_read_only = true;
    rig_answer(&rig, A, answer);
    assert_int_equal(rig.view.writer, SNAPSHOT_NO_ENDPOINT);
    assert_int_equal(rig.view.reading_primary, 1 << A);
    assert_int_equal(topology_why_not(&rig.t.endpoints[A]), TOPOLOGY_WHY_READ_ONLY);

    rig_init(&rig, NULL, 0);
    struct topology_member member = {.name = "a", .refuses_writes = true};
    rig_feed(&rig, (struct topology_event){.kind = TOPOLOGY_EV_ADD, .member = &member});
    member = (struct topology_member){.name = "b", .refuses_reads = true};
    rig_feed(&rig, (struct topology_event){.kind = TOPOLOGY_EV_ADD, .member = &member});
    rig_settle(&rig);
    assert_int_equal(rig.view.writer, SNAPSHOT_NO_ENDPOINT);
    assert_int_equal(rig.view.replicas, 0);
}

/* ---- a walk ---- */

struct server {
    bool is_in_recovery, is_foreign;
    uint32_t timeline;
    uint64_t lsn;
};

static void check_walk(const struct rig *rig, uint64_t *generations, uint32_t *timeline)
{
    uint32_t writers = 0;
    for (uint32_t i = 0; i < rig->t.count; i++) {
        const struct topology_endpoint *e = &rig->t.endpoints[i];
        const struct snapshot_endpoint *shown = rig_shown(rig, i);
        if (shown->accepts_writes) {
            ++writers;
            assert_int_equal(shown->role, ENDPOINT_PRIMARY);
            assert_int_equal(shown->timeline, rig->view.timeline);
            assert_false(e->answer.is_in_recovery);
        }
        if (e->is_fenced || e->is_foreign || !e->is_member || shown->role == ENDPOINT_UNKNOWN)
            assert_false(shown->accepts_writes || shown->accepts_reads);
        assert_true(shown->role_generation >= generations[i] || !e->is_member);
        generations[i] = shown->role_generation;
        if (e->health == ENDPOINT_UP)
            assert_int_equal(e->silences, 0);
        if (e->silences > 0 && e->is_member)
            assert_true(e->health == ENDPOINT_DOWN ||
                        rig->t.now_ns - e->alive_at_ns < rig->t.config.down_ns);
    }
    assert_true(writers <= 1);
    assert_true(rig->view.timeline >= *timeline || rig->t.timeline == 0);
    *timeline = rig->t.timeline;
    if (rig->view.writer != SNAPSHOT_NO_ENDPOINT)
        assert_true(rig_shown(rig, rig->view.writer)->accepts_writes);
}

static void walk_step(struct rig *rig, struct rng *rng, struct server *servers, uint32_t *newest)
{
    const uint32_t at = (uint32_t)rng_below(rng, 6); /* two of them are nobody now and then */
    struct server *server = &servers[at];
    struct topology_answer answer;
    switch (rng_below(rng, 12)) {
    case 0:
        server->is_in_recovery = false; /* promoted */
        server->timeline = ++*newest;
        break;
    case 1:
        server->is_in_recovery = true; /* demoted */
        server->timeline = *newest;
        break;
    case 2:
        server->is_in_recovery = false; /* started without its signal file */
        break;
    case 3:
        server->is_foreign = rng_below(rng, 4) == 0;
        break;
    case 4:
        rig_tell(rig, at, (enum outcome_endpoint)rng_below(rng, OUTCOME_EP_CORRUPT + 1));
        return;
    case 5:
        rig_silence(rig, at,
                    (enum outcome_code)(OUTCOME_RESOLVE_FAILED +
                                        rng_below(rng, OUTCOME_PROTOCOL - OUTCOME_RESOLVE_FAILED)));
        return;
    case 6:
        rig_tick(rig, (int64_t)rng_below(rng, HF_SEC(2)));
        return;
    case 7:
        rig_feed(rig, (struct topology_event){.kind = rng_below(rng, 8) == 0 ? TOPOLOGY_EV_REMOVE
                                                                             : TOPOLOGY_EV_DRAIN,
                                              .endpoint = at,
                                              .is_on = rng_below(rng, 2) == 0});
        return;
    case 8:
        rig_add(rig, (const char[]){(char)('a' + at), '\0'});
        return;
    default:
        break;
    }
    server->lsn += rng_below(rng, 1000);
    answer = server->is_in_recovery ? rig_replica(server->timeline, server->lsn)
                                    : rig_primary(server->timeline, server->lsn);
    answer.system_identifier = server->is_foreign ? 1 : RIG_CLUSTER;
    answer.instance = rng_below(rng, 20) == 0 ? 5 : 0;
    rig_answer(rig, at, answer);
}

static void topology_role__a_random_walk_keeps_the_invariants(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct rig rig;
        struct rng rng;
        struct server servers[6];
        uint64_t generations[SNAPSHOT_ENDPOINTS_MAX] = {0};
        uint32_t newest = 1, timeline = 0;
        rig_init(&rig, NULL, 4);
        rng_init(&rng, seed);
        for (int i = 0; i < 6; i++)
            servers[i] = (struct server){.is_in_recovery = i > 0, .timeline = 1, .lsn = 1000};
        for (int step = 0; step < 2000; step++) {
            rig.now += (int64_t)rng_below(&rng, HF_MS(60));
            walk_step(&rig, &rng, servers, &newest);
            check_walk(&rig, generations, &timeline); /* filling has checked the snapshot */
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topology_role__the_higher_timeline_wins_at_once_and_the_other_is_fenced),
        cmocka_unit_test(topology_role__a_frozen_primary_that_wakes_up_after_a_promotion_is_fenced),
        cmocka_unit_test(topology_role__a_primary_that_falls_back_to_an_older_timeline_is_fenced),
        cmocka_unit_test(topology_role__two_living_claims_on_one_timeline_are_both_left_alone),
        cmocka_unit_test(topology_role__a_claim_on_the_timeline_of_one_that_is_down_counts),
        cmocka_unit_test(topology_role__two_names_of_one_server_are_no_rivals),
        cmocka_unit_test(topology_role__a_demoted_primary_is_a_replica_with_a_new_number),
        cmocka_unit_test(topology_role__a_foreign_server_is_refused_by_what_most_say),
        cmocka_unit_test(topology_role__the_configured_identifier_goes_before_what_most_say),
        cmocka_unit_test(topology_role__a_claim_without_a_timeline_is_none),
        cmocka_unit_test(topology_role__settings_and_configuration_can_forbid),
        cmocka_unit_test(topology_role__a_random_walk_keeps_the_invariants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
