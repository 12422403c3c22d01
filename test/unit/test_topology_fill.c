#include "unit.h"

#include "core/topology.h"

#include "base/rng.h"
#include "topology_rig.h"

#define A 0
#define B 1

static int64_t lag(const struct rig *rig)
{
    return rig_shown(rig, B)->lag_ns;
}

/* The first round is over: nothing more waits for B. */
static void open_rig(struct rig *rig)
{
    rig_init(rig, NULL, 2);
    rig_silence(rig, A, OUTCOME_CONNECT_REFUSED);
    rig_silence(rig, B, OUTCOME_CONNECT_REFUSED);
}

static void answer_at(struct rig *rig, uint32_t at, struct topology_answer answer, int64_t asked_ms)
{
    answer.asked_at_ns = HF_SEC(10) + HF_MS(asked_ms);
    rig->now = answer.asked_at_ns + HF_MS(2);
    rig_answer(rig, at, answer);
}

static void topology_fill__an_idle_primary_makes_no_lag(void **state)
{
    (void)state;
    struct rig rig;
    open_rig(&rig);
    for (int64_t ms = 100; ms < 60000; ms += 100) {
        struct topology_answer replica = rig_replica(1, 1000);
        replica.replay_age_ns = HF_MS(ms); /* what the usual formula would say */
        answer_at(&rig, B, replica, ms);
        answer_at(&rig, A, rig_primary(1, 1000), ms + 50);
        assert_int_equal(lag(&rig), 0);
        assert_int_equal(rig.t.endpoints[B].lag_bytes, 0);
    }
}

static void topology_fill__a_replica_that_has_all_but_the_last_is_as_late_as_that(void **state)
{
    (void)state;
    struct rig rig;
    open_rig(&rig);
    answer_at(&rig, A, rig_primary(1, 1000), 100);
    answer_at(&rig, A, rig_primary(1, 2000), 200);
    answer_at(&rig, A, rig_primary(1, 3000), 300);
    static const struct {
        uint64_t replayed;
        int64_t lag_ms;
        uint64_t bytes;
    } cases[] = {
        {3000, 50, 0}, /* asked at 350; what was written after 300 is not known */
        {2999, 150, 1}, {2000, 150, 1000}, {1999, 250, 1001}, {1000, 250, 2000}, {999, -1, 2001},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        answer_at(&rig, B, rig_replica(1, cases[i].replayed), 350);
        assert_int_equal(lag(&rig), cases[i].lag_ms < 0 ? HF_NEVER : HF_MS(cases[i].lag_ms));
        assert_int_equal(rig.t.endpoints[B].lag_bytes, cases[i].bytes);
    }
}

static void topology_fill__lag_grows_while_the_primary_cannot_be_asked(void **state)
{
    (void)state;
    struct rig rig;
    open_rig(&rig);
    answer_at(&rig, A, rig_primary(1, 1000), 100);
    for (int64_t ms = 200; ms < 5000; ms += 100) {
        rig_silence(&rig, A, OUTCOME_TIMEOUT);
        answer_at(&rig, B, rig_replica(1, 1000), ms);
        assert_int_equal(lag(&rig), HF_MS(ms - 100));
    }
    assert_int_equal(rig.view.as_of_ns[B], HF_SEC(10) + HF_MS(100));
}

static void topology_fill__another_timeline_cannot_be_compared(void **state)
{
    (void)state;
    struct rig rig;
    open_rig(&rig);
    answer_at(&rig, A, rig_primary(2, 1000), 100);
    answer_at(&rig, B, rig_replica(1, 5000), 150);
    assert_int_equal(lag(&rig), HF_NEVER);
    assert_int_equal(rig.t.endpoints[B].lag_bytes, UINT64_MAX);
    assert_int_equal(rig.view.position[B], 0);
    answer_at(&rig, B, rig_replica(2, 1000), 200);
    answer_at(&rig, A, rig_primary(2, 1000), 220);
    assert_int_equal(lag(&rig), 0);
}

static void topology_fill__samples_are_dropped_where_positions_fall(void **state)
{
    (void)state;
    struct rig rig;
    open_rig(&rig);
    answer_at(&rig, A, rig_primary(1, 5000), 100);
    answer_at(&rig, B, rig_replica(1, 4000), 150);
    rig_silence(&rig, A, OUTCOME_CONNECT_REFUSED);
    /* It crashed, and what it had not flushed is gone: the replica has all there is. */
    answer_at(&rig, A, rig_primary(1, 4000), 900);
    assert_int_equal(rig.view.sample_count, 1);
    assert_int_equal(lag(&rig), 0);
    /* Also where the new life of the primary is beyond the old one's positions. */
    struct topology_answer restarted = rig_primary(1, 6000);
    restarted.instance = 3;
    answer_at(&rig, A, restarted, 1000);
    assert_int_equal(rig.view.sample_count, 1);
}

static void topology_fill__samples_of_one_primary_say_nothing_of_another(void **state)
{
    (void)state;
    struct rig rig;
    open_rig(&rig);
    answer_at(&rig, A, rig_primary(1, 5000), 100);
    answer_at(&rig, A, rig_primary(1, 6000), 200);
    answer_at(&rig, B, rig_primary(2, 5500), 300);
    assert_int_equal(rig.view.writer, B);
    assert_int_equal(rig.view.sample_count, 1);
    assert_int_equal(rig.view.samples[0].lsn, 5500);
    /* A claim that was just refused a write gives none. */
    rig_tell(&rig, B, OUTCOME_EP_NOT_PRIMARY);
    struct topology_answer early = rig_primary(2, 7000);
    early.asked_at_ns = rig.now;
    rig_answer(&rig, B, early);
    assert_int_equal(rig.view.sample_count, 1);
}

static void topology_fill__without_any_primary_the_servers_own_words_are_used(void **state)
{
    (void)state;
    static const struct {
        uint64_t received, replayed;
        enum topology_receiver receiver;
        int64_t message_ns, replay_ns, lag_ns;
    } cases[] = {
        {1000, 1000, TOPOLOGY_RECEIVER_STREAMING, HF_MS(40), HF_SEC(900), HF_MS(40)},
        {1000, 1000, TOPOLOGY_RECEIVER_ABSENT, HF_MS(40), HF_SEC(900), HF_SEC(900)},
        {1000, 1000, TOPOLOGY_RECEIVER_UNKNOWN, HF_NEVER, HF_SEC(900), HF_SEC(900)},
        {1000, 1000, TOPOLOGY_RECEIVER_STREAMING, HF_NEVER, HF_SEC(2), HF_SEC(2)},
        {2000, 1000, TOPOLOGY_RECEIVER_STREAMING, HF_MS(40), HF_SEC(3), HF_SEC(3)},
        {0, 1000, TOPOLOGY_RECEIVER_ABSENT, HF_NEVER, HF_NEVER, HF_NEVER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig rig;
        open_rig(&rig);
        struct topology_answer replica = rig_replica(3, cases[i].replayed);
        replica.received_lsn = cases[i].received;
        replica.receiver = cases[i].receiver;
        replica.message_age_ns = cases[i].message_ns;
        replica.replay_age_ns = cases[i].replay_ns;
        answer_at(&rig, B, replica, 100);
        assert_int_equal(lag(&rig), cases[i].lag_ns);
        assert_int_equal(rig.view.timeline, 3);
        assert_int_equal(rig.view.position[B], cases[i].replayed);
    }
}

/* ---- a small world: the lag against the truth ---- */

#define WORLD_MS 20000
#define INTERVAL 100
#define TRIP_MS  3

struct world {
    uint64_t written[WORLD_MS]; /* the primary's position at each millisecond */
    uint64_t replayed[WORLD_MS];
};

/* Writes come in bursts; the replica is some way behind, and stops replaying now and then. */
static void make_world(struct world *world, struct rng *rng)
{
    uint64_t position = 1000;
    int delay = 5, paused_until = 0;
    bool is_writing = true;
    for (int ms = 0; ms < WORLD_MS; ms++) {
        if (rng_below(rng, 1500) == 0)
            is_writing = !is_writing;
        if (is_writing && rng_below(rng, 3) == 0)
            position += 1 + rng_below(rng, 500);
        if (rng_below(rng, 2000) == 0)
            paused_until = ms + (int)rng_below(rng, 1500);
        if (rng_below(rng, 500) == 0)
            delay = 1 + (int)rng_below(rng, 300);
        world->written[ms] = position;
        const uint64_t before = ms > 0 ? world->replayed[ms - 1] : 1000;
        const uint64_t reached = ms >= delay ? world->written[ms - delay] : 1000;
        world->replayed[ms] = ms < paused_until || reached < before ? before : reached;
    }
}

/* The age, at `ms`, of the oldest commit that one who has replayed so far misses. */
static int64_t true_lag(const struct world *world, int ms, uint64_t replayed)
{
    int since = ms;
    while (since > 0 && world->written[since - 1] > replayed)
        since--;
    return world->written[ms] > replayed ? HF_MS(ms - since) : 0;
}

static void topology_fill__the_lag_is_never_less_than_the_truth_and_not_much_more(void **state)
{
    (void)state;
    static struct world world;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rig rig;
        struct rng rng;
        int ask_a = 1, ask_b = 40;
        rng_init(&rng, seed);
        make_world(&world, &rng);
        open_rig(&rig);
        for (int ms = 1; ms + TRIP_MS < WORLD_MS; ms++) {
            const int at = ms + (int)rng_below(&rng, TRIP_MS); /* when the server looked */
            if (ms == ask_a) {
                answer_at(&rig, A, rig_primary(1, world.written[at]), ms);
                ask_a += INTERVAL - 10 + (int)rng_below(&rng, 20);
            }
            if (ms != ask_b)
                continue;
            ask_b += INTERVAL - 10 + (int)rng_below(&rng, 20);
            answer_at(&rig, B, rig_replica(1, world.replayed[at]), ms);
            const int64_t truth = true_lag(&world, ms, world.replayed[at]);
            if (lag(&rig) == HF_NEVER)
                continue; /* behind all that is known, at the start */
            assert_true(lag(&rig) >= truth);
            assert_true(lag(&rig) <= truth + HF_MS(INTERVAL + 15 + TRIP_MS) + truth / 2);
        }
    }
}

/* Whoever asks for a lost COMMIT needs it, perhaps long after the connection that saw it. */
static void topology_fill__a_promotion_that_was_seen_is_remembered(void **state)
{
    (void)state;
    struct rig rig;
    open_rig(&rig);
    answer_at(&rig, A, rig_primary(1, 1000), 100);
    answer_at(&rig, B, rig_replica(1, 1000), 110);
    assert_int_equal(rig_shown(&rig, B)->left_timeline, 0);
    struct topology_answer promoted = rig_primary(2, 1100);
    promoted.left_timeline = 1;
    promoted.left_lsn = 1050;
    answer_at(&rig, B, promoted, 200);
    assert_int_equal(rig_shown(&rig, B)->left_timeline, 1);
    assert_int_equal(rig_shown(&rig, B)->left_lsn, 1050);
    answer_at(&rig, B, rig_primary(2, 1200), 300); /* by another connection */
    assert_int_equal(rig_shown(&rig, B)->left_timeline, 1);
    assert_int_equal(rig_shown(&rig, B)->left_lsn, 1050);
    answer_at(&rig, B, rig_primary(3, 1300), 400); /* promoted once more, unseen */
    assert_int_equal(rig_shown(&rig, B)->left_timeline, 0);
    answer_at(&rig, B, rig_replica(3, 1300), 500);
    assert_int_equal(rig_shown(&rig, B)->left_timeline, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topology_fill__a_promotion_that_was_seen_is_remembered),
        cmocka_unit_test(topology_fill__an_idle_primary_makes_no_lag),
        cmocka_unit_test(topology_fill__a_replica_that_has_all_but_the_last_is_as_late_as_that),
        cmocka_unit_test(topology_fill__lag_grows_while_the_primary_cannot_be_asked),
        cmocka_unit_test(topology_fill__another_timeline_cannot_be_compared),
        cmocka_unit_test(topology_fill__samples_are_dropped_where_positions_fall),
        cmocka_unit_test(topology_fill__samples_of_one_primary_say_nothing_of_another),
        cmocka_unit_test(topology_fill__without_any_primary_the_servers_own_words_are_used),
        cmocka_unit_test(topology_fill__the_lag_is_never_less_than_the_truth_and_not_much_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
