#include "unit.h"

#include "core/topology.h"

#include "topology_rig.h"

#define A 0
#define B 1
#define C 2

static void topology__a_first_answer_is_enough_to_be_up(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 2);
    assert_int_equal(rig_shown(&rig, A)->health, ENDPOINT_DOWN);
    assert_int_equal(topology_why_not(&rig.t.endpoints[A]), TOPOLOGY_WHY_UNASKED);
    rig_settle(&rig);
    assert_int_equal(rig_shown(&rig, A)->health, ENDPOINT_UP);
    assert_int_equal(rig.view.writer, A);
    assert_int_equal(rig.view.replicas, 2);
    assert_int_equal(rig_shown(&rig, A)->returned_at_ns, 0); /* not back: it was never gone */
    assert_int_equal(rig.told[TOPOLOGY_NEWS_UP], 2);
    assert_int_equal(rig.told[TOPOLOGY_NEWS_ROLE], 2);
}

static void topology__a_failed_question_says_what_its_outcome_says(void **state)
{
    (void)state;
    static const struct {
        enum outcome_code code;
        const char *sqlstate;
        enum endpoint_health health;
        enum topology_why why;
    } cases[] = {
        {OUTCOME_CONN_LOST, NULL, ENDPOINT_SUSPECT, TOPOLOGY_WHY_SILENT},
        {OUTCOME_TIMEOUT, NULL, ENDPOINT_SUSPECT, TOPOLOGY_WHY_SILENT},
        {OUTCOME_CONNECT_TIMEOUT, NULL, ENDPOINT_SUSPECT, TOPOLOGY_WHY_SILENT},
        {OUTCOME_RESOLVE_FAILED, NULL, ENDPOINT_SUSPECT, TOPOLOGY_WHY_SILENT},
        {OUTCOME_UNREACHABLE, NULL, ENDPOINT_SUSPECT, TOPOLOGY_WHY_SILENT},
        {OUTCOME_CONNECT_REFUSED, NULL, ENDPOINT_DOWN, TOPOLOGY_WHY_REFUSED},
        {OUTCOME_TLS_FAILED, NULL, ENDPOINT_SUSPECT, TOPOLOGY_WHY_BLIND},
        {OUTCOME_SQLSTATE, "57P03", ENDPOINT_DOWN, TOPOLOGY_WHY_REFUSED}, /* starting up */
        {OUTCOME_SQLSTATE, "57P02", ENDPOINT_DOWN, TOPOLOGY_WHY_REFUSED}, /* crashed */
        {OUTCOME_SQLSTATE, "57P01", ENDPOINT_SUSPECT, TOPOLOGY_WHY_SILENT},
        {OUTCOME_SQLSTATE, "28P01", ENDPOINT_SUSPECT, TOPOLOGY_WHY_BLIND}, /* wrong password */
        {OUTCOME_SQLSTATE, "53300", ENDPOINT_SUSPECT, TOPOLOGY_WHY_BLIND}, /* no slot left */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig rig;
        rig_init(&rig, NULL, 2);
        rig_settle(&rig);
        if (cases[i].sqlstate != NULL)
            rig_sqlstate(&rig, B, cases[i].sqlstate);
        else
            rig_silence(&rig, B, cases[i].code);
        assert_int_equal(rig_shown(&rig, B)->health, cases[i].health);
        assert_int_equal(topology_why_not(&rig.t.endpoints[B]), cases[i].why);
        assert_int_equal(rig_shown(&rig, B)->role, ENDPOINT_REPLICA); /* it keeps its role */
        assert_int_equal(rig_shown(&rig, A)->health, ENDPOINT_UP);
    }
}

static void topology__silence_for_long_enough_is_down_and_time_alone_tells(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 2);
    rig_settle(&rig);
    rig.now += HF_MS(600);
    rig_silence(&rig, B, OUTCOME_TIMEOUT);
    assert_int_equal(rig_shown(&rig, B)->health, ENDPOINT_SUSPECT);
    const int64_t due_ns = topology_deadline(&rig.t);
    assert_true(due_ns <= rig.now + HF_MS(400));
    rig_answer(&rig, A, rig_primary(1, 1000)); /* a ladder's deadline is no longer in the way */
    rig_tick(&rig, HF_MS(399));
    assert_int_equal(rig_shown(&rig, B)->health, ENDPOINT_SUSPECT);
    rig_tick(&rig, HF_MS(1));
    assert_int_equal(rig_shown(&rig, B)->health, ENDPOINT_DOWN);
    assert_int_equal(rig.told[TOPOLOGY_NEWS_DOWN], 1);
    /* The one that was not asked for all that time has left no question unanswered. */
    assert_int_equal(rig_shown(&rig, A)->health, ENDPOINT_UP);
}

static void topology__calls_that_are_answered_keep_a_silent_one_from_being_down(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 2);
    rig_settle(&rig);
    rig_silence(&rig, B, OUTCOME_TIMEOUT);
    for (int i = 0; i < 30; i++) {
        rig_tick(&rig, HF_MS(100));
        rig_tell(&rig, B, OUTCOME_EP_ALIVE);
        assert_int_equal(rig_shown(&rig, B)->health, ENDPOINT_SUSPECT);
    }
    rig_tick(&rig, HF_SEC(1));
    assert_int_equal(rig_shown(&rig, B)->health, ENDPOINT_DOWN);
    /* Nobody rises from the dead by a call's word. */
    rig_tell(&rig, B, OUTCOME_EP_ALIVE);
    assert_int_equal(rig_shown(&rig, B)->health, ENDPOINT_DOWN);
}

/* Answers every 100 ms until it is up; how long that took. */
static int64_t time_to_up(struct rig *rig, uint32_t at)
{
    const int64_t began = rig->now;
    while (rig_shown(rig, at)->health != ENDPOINT_UP) {
        assert_true(rig->now - began < HF_SEC(60));
        rig->now += HF_MS(100);
        rig_answer(rig, A, rig_primary(1, 1000));
        rig_answer(rig, at, rig_replica(1, 1000));
    }
    return rig->now - began - HF_MS(100); /* from its first answer on */
}

static void topology__coming_back_is_suspect_first_and_flapping_makes_it_longer(void **state)
{
    (void)state;
    static const int64_t steady_ms[] = {200, 400, 800, 1600, 3200, 6400, 10000, 10000};
    struct rig rig;
    rig_init(&rig, NULL, 2);
    rig_settle(&rig);
    for (size_t i = 0; i < sizeof steady_ms / sizeof steady_ms[0]; i++) {
        rig_silence(&rig, B, OUTCOME_CONNECT_REFUSED);
        assert_int_equal(time_to_up(&rig, B), HF_MS(steady_ms[i]));
        assert_int_equal(rig_shown(&rig, B)->returned_at_ns, rig.now - HF_MS(steady_ms[i]));
    }
    /* After a quiet minute it is as at first. */
    for (int i = 0; i < 650; i++) {
        rig.now += HF_MS(100);
        rig_answer(&rig, A, rig_primary(1, 1000));
        rig_answer(&rig, B, rig_replica(1, 1000));
    }
    rig_silence(&rig, B, OUTCOME_CONNECT_REFUSED);
    assert_int_equal(time_to_up(&rig, B), HF_MS(200));
}

static void topology__an_only_primary_that_is_back_is_written_to_at_once(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 1);
    rig_settle(&rig);
    rig_silence(&rig, A, OUTCOME_CONNECT_REFUSED);
    assert_int_equal(rig.view.writer, SNAPSHOT_NO_ENDPOINT);
    assert_int_equal(rig.view.primary, A);
    rig.now += HF_SEC(3);
    rig_answer(&rig, A, rig_primary(1, 1000));
    assert_int_equal(rig_shown(&rig, A)->health, ENDPOINT_SUSPECT);
    assert_int_equal(rig.view.writer, A);
}

static void topology__accusations_make_suspect_and_quiet_answers_clear(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 2);
    rig_settle(&rig);
    rig_tell(&rig, B, OUTCOME_EP_SUSPECT);
    assert_int_equal(rig_shown(&rig, B)->health, ENDPOINT_UP);
    assert_int_equal(rig.asked, 1 << B); /* but it is asked at once */
    rig_tell(&rig, B, OUTCOME_EP_SUSPECT);
    assert_int_equal(rig_shown(&rig, B)->health, ENDPOINT_SUSPECT);
    assert_int_equal(topology_why_not(&rig.t.endpoints[B]), TOPOLOGY_WHY_ACCUSED);
    rig.now += HF_MS(50);
    rig_answer(&rig, B, rig_replica(1, 1000)); /* asked too soon to clear it */
    assert_int_equal(rig_shown(&rig, B)->health, ENDPOINT_SUSPECT);
    rig.now += HF_MS(100);
    rig_answer(&rig, B, rig_replica(1, 1000));
    assert_int_equal(rig_shown(&rig, B)->health, ENDPOINT_UP);
    /* Old accusations do not add up. */
    rig_tell(&rig, B, OUTCOME_EP_SUSPECT);
    rig.now += HF_MS(1100);
    rig_tell(&rig, B, OUTCOME_EP_SUSPECT);
    assert_int_equal(rig_shown(&rig, B)->health, ENDPOINT_UP);
}

static void topology__a_refused_write_costs_the_primary_its_role_until_it_is_asked(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 2);
    rig_settle(&rig);
    rig.now += HF_MS(10);
    rig_tell(&rig, A, OUTCOME_EP_NOT_PRIMARY);
    assert_int_equal(rig.view.writer, SNAPSHOT_NO_ENDPOINT);
    assert_int_equal(rig.view.reading_primary, 0);
    assert_int_equal(topology_why_not(&rig.t.endpoints[A]), TOPOLOGY_WHY_DENIED);
    assert_int_equal(rig.asked, 1 << A);
    struct topology_answer early = rig_primary(1, 1000);
    early.asked_at_ns = rig.now; /* not after the refusal */
    rig_answer(&rig, A, early);
    assert_int_equal(rig.view.writer, SNAPSHOT_NO_ENDPOINT);
    rig.now += HF_MS(5);
    rig_answer(&rig, A, rig_primary(1, 1000));
    assert_int_equal(rig.view.writer, A);
    /* Of a replica it says nothing. */
    rig_tell(&rig, B, OUTCOME_EP_NOT_PRIMARY);
    assert_int_equal(rig.view.replicas, 1 << B);
}

static void topology__what_other_evidence_does(void **state)
{
    (void)state;
    static const struct {
        enum outcome_endpoint evidence;
        enum endpoint_health health;
        bool is_asked;
    } cases[] = {
        {OUTCOME_EP_NOTHING, ENDPOINT_UP, false}, {OUTCOME_EP_ALIVE, ENDPOINT_UP, false},
        {OUTCOME_EP_PROBE, ENDPOINT_UP, true},    {OUTCOME_EP_OVERLOADED, ENDPOINT_UP, false},
        {OUTCOME_EP_DOWN, ENDPOINT_DOWN, true},   {OUTCOME_EP_CORRUPT, ENDPOINT_SUSPECT, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig rig;
        rig_init(&rig, NULL, 2);
        rig_settle(&rig);
        rig_tell(&rig, B, cases[i].evidence);
        assert_int_equal(rig_shown(&rig, B)->health, cases[i].health);
        assert_int_equal(rig.asked, cases[i].is_asked ? 1 << B : 0);
    }
}

static void topology__corrupt_data_wake_somebody_once_and_are_not_forgotten_soon(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 2);
    rig_settle(&rig);
    rig_tell(&rig, B, OUTCOME_EP_CORRUPT);
    rig_tell(&rig, B, OUTCOME_EP_CORRUPT);
    assert_int_equal(rig.told[TOPOLOGY_NEWS_CORRUPT], 1);
    rig.now += HF_SEC(299);
    rig_answer(&rig, B, rig_replica(1, 1000));
    assert_int_equal(rig_shown(&rig, B)->health, ENDPOINT_SUSPECT);
    rig.now += HF_SEC(2);
    rig_answer(&rig, B, rig_replica(1, 1000));
    assert_int_equal(rig_shown(&rig, B)->health, ENDPOINT_UP);
}

static void topology__an_overloaded_one_gets_less_where_there_is_a_warm_up(void **state)
{
    (void)state;
    const struct topology_config config = {.warm_up_ns = HF_SEC(10)};
    struct rig rig;
    rig_init(&rig, &config, 2);
    rig_settle(&rig);
    rig.now += HF_SEC(20);
    rig_answer(&rig, B, rig_replica(1, 1000));
    assert_int_equal(rig.view.share[B], SNAPSHOT_SHARE);
    rig_tell(&rig, B, OUTCOME_EP_OVERLOADED);
    assert_int_equal(rig.view.share[B], SNAPSHOT_SHARE / 10);
}

static void topology__one_that_cannot_be_asked_is_alive(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 2);
    rig_settle(&rig);
    for (int i = 0; i < 100; i++) {
        rig.now += HF_SEC(1);
        rig_sqlstate(&rig, A, "53300");
    }
    assert_int_equal(rig_shown(&rig, A)->health, ENDPOINT_SUSPECT);
    assert_int_equal(rig.view.writer, A);
    /* One of which nothing is known serves nobody, however alive. */
    struct rig unknown;
    rig_init(&unknown, NULL, 1);
    rig_sqlstate(&unknown, A, "28P01");
    assert_int_equal(rig_shown(&unknown, A)->health, ENDPOINT_DOWN);
    assert_int_equal(topology_why_not(&unknown.t.endpoints[A]), TOPOLOGY_WHY_BLIND);
}

static void topology__the_first_snapshot_waits_for_all_but_not_for_long(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 3);
    assert_int_equal(rig.published, 0);
    rig_answer(&rig, A, rig_primary(1, 1000));
    rig_answer(&rig, B, rig_replica(1, 1000));
    assert_int_equal(rig.published, 0);
    assert_int_equal(topology_deadline(&rig.t), HF_SEC(10) + HF_MS(300));
    rig_tick(&rig, HF_MS(300));
    assert_int_equal(rig.published, 1);
    /* With everybody asked there is nothing to wait for. */
    rig_init(&rig, NULL, 2);
    rig_silence(&rig, A, OUTCOME_CONNECT_TIMEOUT);
    rig_silence(&rig, B, OUTCOME_CONNECT_TIMEOUT);
    assert_int_equal(rig.published, 1);
    /* And while nobody has answered there is nothing to say. */
    rig_init(&rig, NULL, 2);
    rig_tick(&rig, HF_SEC(5));
    assert_int_equal(rig.published, 0);
}

static void topology__a_change_is_published_at_once_and_positions_in_a_moment(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 2);
    rig_settle(&rig);
    uint32_t before = rig.published;
    rig.now += HF_MS(5);
    rig_answer(&rig, A, rig_primary(1, 1100));
    assert_int_equal(rig.published, before);
    assert_int_equal(topology_deadline(&rig.t), rig.now + HF_MS(20));
    rig_tick(&rig, HF_MS(20));
    assert_int_equal(rig.published, before + 1);
    rig.now += HF_MS(1);
    rig_silence(&rig, B, OUTCOME_CONN_LOST);
    assert_int_equal(rig.published, before + 2);
    const uint64_t epoch = rig.view.epoch;
    rig_tick(&rig, 0);
    assert_true(rig.view.epoch == epoch + 1); /* each fill is a new one */
    assert_int_equal(rig.published, before + 2);
}

static void topology__a_place_is_kept_and_given_away_only_after_long(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 2);
    rig_settle(&rig);
    rig_feed(&rig, (struct topology_event){.kind = TOPOLOGY_EV_REMOVE, .endpoint = B});
    assert_int_equal(topology_find(&rig.t, "b"), TOPOLOGY_NO_ENDPOINT);
    assert_int_equal(rig.view.count, 2);
    assert_string_equal(rig_shown(&rig, B)->name, "b");
    assert_int_equal(rig_shown(&rig, B)->role, ENDPOINT_UNKNOWN);
    assert_true(rig_shown(&rig, B)->is_drained);
    assert_int_equal(topology_why_not(&rig.t.endpoints[B]), TOPOLOGY_WHY_REMOVED);
    rig_answer(&rig, B, rig_replica(1, 1000)); /* a late one */
    assert_int_equal(rig_shown(&rig, B)->role, ENDPOINT_UNKNOWN);
    assert_true(rig.t.ignored > 0);
    rig_add(&rig, "b");
    assert_int_equal(topology_find(&rig.t, "b"), B);
    assert_int_equal(rig.t.endpoints[B].incarnation, 2);

    char name[2] = "B";
    while (rig.t.count < SNAPSHOT_ENDPOINTS_MAX) {
        rig_add(&rig, name);
        name[0]++;
    }
    rig_add(&rig, "late");
    assert_int_equal(topology_find(&rig.t, "late"), TOPOLOGY_NO_ENDPOINT);
    rig_feed(&rig, (struct topology_event){.kind = TOPOLOGY_EV_REMOVE, .endpoint = 7});
    rig_add(&rig, "late");
    assert_int_equal(topology_find(&rig.t, "late"), TOPOLOGY_NO_ENDPOINT);
    rig.now += TOPOLOGY_REUSE_NS;
    rig_add(&rig, "late");
    assert_int_equal(topology_find(&rig.t, "late"), 7);
    assert_int_equal(rig.t.endpoints[7].incarnation, 2);
}

static void topology__what_names_nobody_is_ignored_and_counted(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 1);
    const uint64_t before = rig.t.ignored;
    rig_add(&rig, "a");
    rig_add(&rig, "");
    struct topology_member odd = {.name = "odd", .weight = SNAPSHOT_WEIGHT_MAX + 1};
    rig_feed(&rig, (struct topology_event){.kind = TOPOLOGY_EV_ADD, .member = &odd});
    odd = (struct topology_member){.name = "odd", .zone = SNAPSHOT_ZONES_MAX};
    rig_feed(&rig, (struct topology_event){.kind = TOPOLOGY_EV_ADD, .member = &odd});
    rig_answer(&rig, 5, rig_primary(1, 1));
    rig_silence(&rig, UINT32_MAX, OUTCOME_TIMEOUT);
    assert_int_equal(rig.t.ignored, before + 6);
    assert_int_equal(rig.t.count, 1);
}

static void topology__time_does_not_go_back_and_answers_neither(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 2);
    rig_settle(&rig);
    rig.now -= HF_SEC(1);
    rig_tick(&rig, 0);
    assert_int_equal(rig.t.time_backwards, 1);
    assert_int_equal(rig.t.now_ns, rig.now + HF_SEC(1));
    rig.now += HF_SEC(2);
    struct topology_answer late = rig_primary(1, 5);
    late.asked_at_ns = HF_SEC(1);
    const uint64_t ignored = rig.t.ignored;
    rig_answer(&rig, A, late);
    assert_int_equal(rig.t.ignored, ignored + 1);
    assert_int_equal(rig_shown(&rig, A)->replayed_lsn, 1000);
}

static void topology__news_that_nobody_takes_are_counted_and_orders_are_kept(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 2);
    rig_settle(&rig);
    const struct topology_answer answer = rig_replica(1, 1000);
    for (int i = 0; i < TOPOLOGY_NEWS; i++) {
        struct topology_event event = {.kind = TOPOLOGY_EV_SILENCE,
                                       .now_ns = rig.now,
                                       .endpoint = B,
                                       .outcome = {.code = OUTCOME_CONN_LOST}};
        topology_feed(&rig.t, &event);
        event = (struct topology_event){
            .kind = TOPOLOGY_EV_ANSWER, .now_ns = rig.now, .endpoint = B, .answer = &answer};
        rig.t.endpoints[B].answer.asked_at_ns = 0;
        topology_feed(&rig.t, &event);
    }
    rig_tell(&rig, B, OUTCOME_EP_PROBE);
    assert_int_equal(rig.told[TOPOLOGY_NEWS_LOST], 1);
    assert_int_equal(rig.asked, 1 << B);
    assert_true(rig.told[TOPOLOGY_NEWS_SUSPECT] + rig.told[TOPOLOGY_NEWS_UP] <= TOPOLOGY_NEWS + 2);
}

static void topology__the_ladder_follows_the_servers_and_a_pin(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 2);
    rig_settle(&rig);
    assert_int_equal(rig.view.level, DEGRADE_FULL);
    rig_silence(&rig, A, OUTCOME_CONNECT_REFUSED);
    assert_int_equal(rig.view.level, DEGRADE_FULL); /* a failover may be quick */
    rig.now = topology_deadline(&rig.t);
    rig_tick(&rig, 0);
    assert_int_equal(rig.view.level, DEGRADE_READ_ONLY);
    assert_int_equal(rig.told[TOPOLOGY_NEWS_LEVEL], 1);
    rig_feed(&rig,
             (struct topology_event){.kind = TOPOLOGY_EV_DRAIN, .endpoint = B, .is_on = true});
    rig_tick(&rig, HF_SEC(2));
    assert_int_equal(rig.view.level, DEGRADE_CACHED_ONLY);
    rig_feed(&rig, (struct topology_event){.kind = TOPOLOGY_EV_PIN,
                                           .level = DEGRADE_MAINTENANCE,
                                           .until_ns = HF_NEVER});
    assert_int_equal(rig.view.level, DEGRADE_MAINTENANCE);
    rig_feed(&rig, (struct topology_event){.kind = TOPOLOGY_EV_UNPIN});
    assert_int_equal(rig.view.level, DEGRADE_CACHED_ONLY);
    rig_answer(&rig, A, rig_primary(1, 1000));
    rig_tick(&rig, HF_SEC(1));
    assert_int_equal(rig.view.level, DEGRADE_FULL);
}

static void topology__draining_is_by_hand_and_ends_with_a_warm_up(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 2);
    rig_settle(&rig);
    struct topology_event drain = {.kind = TOPOLOGY_EV_DRAIN, .endpoint = B, .is_on = true};
    const uint32_t published = rig.published;
    rig_feed(&rig, drain);
    assert_true(rig_shown(&rig, B)->is_drained);
    assert_int_equal(rig.view.replicas, 0);
    assert_int_equal(topology_why_not(&rig.t.endpoints[B]), TOPOLOGY_WHY_DRAINED);
    rig_feed(&rig, drain); /* the same again is nothing new */
    assert_int_equal(rig.published, published + 1);
    drain.is_on = false;
    rig.now += HF_SEC(1);
    rig_feed(&rig, drain);
    assert_int_equal(rig.view.replicas, 1 << B);
    assert_int_equal(rig_shown(&rig, B)->returned_at_ns, rig.now);
}

static void topology__an_impossible_configuration_is_refused(void **state)
{
    (void)state;
    struct hf_err err;
    struct topology_config config = {.interval_ns = 0};
    assert_int_equal(topology_config_check(&config, &err), HF_OK);
    config.down_ns = -1;
    assert_int_equal(topology_config_check(&config, &err), HF_RC_INVALID);
    assert_non_null(strstr(err.message, "\"down\""));
    config.down_ns = HF_SEC(90000);
    assert_int_equal(topology_config_check(&config, &err), HF_RC_INVALID);
    config.down_ns = 0;
    config.degrade = degrade_config_default();
    assert_int_equal(topology_config_check(&config, &err), HF_OK);
    config.degrade.stable_ns = -1;
    assert_int_equal(topology_config_check(&config, &err), HF_RC_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topology__a_first_answer_is_enough_to_be_up),
        cmocka_unit_test(topology__a_failed_question_says_what_its_outcome_says),
        cmocka_unit_test(topology__silence_for_long_enough_is_down_and_time_alone_tells),
        cmocka_unit_test(topology__calls_that_are_answered_keep_a_silent_one_from_being_down),
        cmocka_unit_test(topology__coming_back_is_suspect_first_and_flapping_makes_it_longer),
        cmocka_unit_test(topology__an_only_primary_that_is_back_is_written_to_at_once),
        cmocka_unit_test(topology__accusations_make_suspect_and_quiet_answers_clear),
        cmocka_unit_test(topology__a_refused_write_costs_the_primary_its_role_until_it_is_asked),
        cmocka_unit_test(topology__what_other_evidence_does),
        cmocka_unit_test(topology__corrupt_data_wake_somebody_once_and_are_not_forgotten_soon),
        cmocka_unit_test(topology__an_overloaded_one_gets_less_where_there_is_a_warm_up),
        cmocka_unit_test(topology__one_that_cannot_be_asked_is_alive),
        cmocka_unit_test(topology__the_first_snapshot_waits_for_all_but_not_for_long),
        cmocka_unit_test(topology__a_change_is_published_at_once_and_positions_in_a_moment),
        cmocka_unit_test(topology__a_place_is_kept_and_given_away_only_after_long),
        cmocka_unit_test(topology__what_names_nobody_is_ignored_and_counted),
        cmocka_unit_test(topology__time_does_not_go_back_and_answers_neither),
        cmocka_unit_test(topology__news_that_nobody_takes_are_counted_and_orders_are_kept),
        cmocka_unit_test(topology__the_ladder_follows_the_servers_and_a_pin),
        cmocka_unit_test(topology__draining_is_by_hand_and_ends_with_a_warm_up),
        cmocka_unit_test(topology__an_impossible_configuration_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
