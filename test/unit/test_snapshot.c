#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "core/snapshot.h"
#include "dies.h"

#define NONE SNAPSHOT_NO_ENDPOINT

/* A primary and two replicas, all well, made at 10 s. */
static void three(struct snapshot *view)
{
    static const char *const names[] = {"a", "b", "c"};
    snapshot_init(view);
    view->made_at_ns = HF_SEC(10);
    for (uint32_t i = 0; i < 3; i++) {
        struct snapshot_endpoint *endpoint = snapshot_add(view, names[i]);
        endpoint->role = i == 0 ? ENDPOINT_PRIMARY : ENDPOINT_REPLICA;
        endpoint->health = ENDPOINT_UP;
        endpoint->accepts_reads = true;
        endpoint->accepts_writes = i == 0;
        endpoint->lag_ns = i * HF_MS(10);
        endpoint->replayed_lsn = 100 - i;
        endpoint->sampled_at_ns = HF_SEC(9) + i;
    }
}

static void snapshot__an_empty_one_has_nobody(void **state)
{
    (void)state;
    struct snapshot view;
    memset(&view, 0x5a, sizeof view);
    snapshot_init(&view);
    assert_false(view.is_sealed);
    assert_int_equal(snapshot_check(&view, NULL), HF_OK);
    snapshot_seal(&view);
    assert_true(view.is_sealed);
    assert_int_equal(view.primary, NONE);
    assert_int_equal(view.writer, NONE);
    assert_int_equal(view.reading_primary | view.replicas | view.up, 0);
    assert_int_equal(view.tier_count, 0);
    assert_int_equal(snapshot_lsn_after(&view, 0), 0);
    assert_int_equal(snapshot_find(&view, "a"), NONE);
}

static void snapshot__a_new_endpoint_serves_nobody(void **state)
{
    (void)state;
    struct snapshot view;
    snapshot_init(&view);
    struct snapshot_endpoint *endpoint = snapshot_add(&view, "db1");
    endpoint->accepts_reads = endpoint->accepts_writes = true;
    snapshot_seal(&view);
    assert_int_equal(view.writer, NONE);
    assert_int_equal(view.replicas | view.reading_primary, 0);
    assert_int_equal(view.as_of_ns[0], INT64_MIN);
}

static void snapshot__there_is_room_for_32_and_no_more(void **state)
{
    (void)state;
    struct snapshot view;
    char name[100];
    snapshot_init(&view);
    for (unsigned i = 0; i < SNAPSHOT_ENDPOINTS_MAX; i++) {
        snprintf(name, sizeof name, "db%u", i);
        struct snapshot_endpoint *endpoint = snapshot_add(&view, name);
        endpoint->role = ENDPOINT_REPLICA;
        endpoint->health = ENDPOINT_UP;
        endpoint->accepts_reads = true;
        endpoint->tier = (uint8_t)(31 - i);
    }
    assert_null(snapshot_add(&view, "one more"));
    assert_int_equal(snapshot_find(&view, "db31"), 31);
    assert_int_equal(snapshot_check(&view, NULL), HF_OK);
    snapshot_seal(&view);
    assert_int_equal(view.replicas, UINT32_MAX);
    assert_int_equal(view.tier_count, 32);
    for (uint32_t t = 0; t < 32; t++)
        assert_int_equal(view.tiers[t].ready, UINT32_C(1) << (31 - t));
}

static void snapshot__a_long_name_is_cut_and_terminated(void **state)
{
    (void)state;
    struct snapshot view;
    char name[100];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    snapshot_init(&view);
    assert_int_equal(strlen(snapshot_add(&view, name)->name), SNAPSHOT_NAME_BYTES - 1);
}

static void snapshot__sealing_sorts_the_endpoints_into_masks(void **state)
{
    (void)state;
    struct snapshot view;
    three(&view);
    view.endpoints[1].health = ENDPOINT_SUSPECT;
    view.endpoints[1].zone = 3;
    view.endpoints[2].zone = 3;
    snapshot_seal(&view);
    assert_int_equal(view.primary, 0);
    assert_int_equal(view.writer, 0);
    assert_int_equal(view.reading_primary, 1);
    assert_int_equal(view.replicas, 6);
    assert_int_equal(view.up, 5);
    assert_int_equal(view.comparable, 7);
    assert_int_equal(view.in_zone[3], 6);
    assert_int_equal(view.tier_count, 1);
    assert_int_equal(view.tiers[0].all, 7);
    assert_int_equal(view.tiers[0].ready, 4);
    assert_int_equal(view.tiers[0].position_min, 98);
    assert_int_equal(view.tiers[0].as_of_ns_min, HF_SEC(9) + 2 - HF_MS(20));
    assert_int_equal(view.tiers[0].sampled_ns_min, HF_SEC(9) + 2);
    assert_true(view.position[0] == UINT64_MAX && view.as_of_ns[0] == INT64_MAX);
    assert_int_equal(view.position[1], 99);
    assert_int_equal(view.as_of_ns[1], HF_SEC(9) + 1 - HF_MS(10));
}

static void snapshot__sealing_again_forgets_what_was(void **state)
{
    (void)state;
    struct snapshot once, twice;
    three(&once);
    memcpy(&twice, &once, sizeof twice);
    twice.endpoints[1].zone = 5;
    twice.endpoints[2].role = ENDPOINT_PRIMARY;
    twice.endpoints[2].tier = 4;
    snapshot_seal(&twice);
    memcpy(twice.endpoints, once.endpoints, sizeof twice.endpoints);
    snapshot_seal(&twice);
    snapshot_seal(&once);
    assert_int_equal(once.has_rivals, twice.has_rivals);
    assert_int_equal(once.primary, twice.primary);
    assert_int_equal(once.replicas, twice.replicas);
    assert_int_equal(once.up, twice.up);
    assert_int_equal(once.comparable, twice.comparable);
    assert_int_equal(once.tier_count, twice.tier_count);
    assert_memory_equal(once.in_zone, twice.in_zone, sizeof once.in_zone);
    assert_memory_equal(once.position, twice.position, sizeof once.position);
}

static void snapshot__what_is_down_drained_or_closed_is_left_out(void **state)
{
    (void)state;
    static const struct {
        enum endpoint_health health;
        bool is_drained, accepts_reads, accepts_writes;
        uint32_t writer, reading;
    } cases[] = {
        {ENDPOINT_UP, false, true, true, 0, 1},      {ENDPOINT_SUSPECT, false, true, true, 0, 1},
        {ENDPOINT_DOWN, false, true, true, NONE, 0}, {ENDPOINT_UP, true, true, true, NONE, 0},
        {ENDPOINT_UP, false, false, true, 0, 0},     {ENDPOINT_UP, false, true, false, NONE, 1},
        {ENDPOINT_UP, false, false, false, NONE, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct snapshot view;
        three(&view);
        for (int at = 0; at < 2; at++) {
            view.endpoints[at].health = cases[i].health;
            view.endpoints[at].is_drained = cases[i].is_drained;
            view.endpoints[at].accepts_reads = cases[i].accepts_reads;
            view.endpoints[at].accepts_writes = cases[i].accepts_writes;
        }
        snapshot_seal(&view);
        assert_int_equal(view.primary, 0);
        assert_int_equal(view.writer, cases[i].writer);
        assert_int_equal(view.reading_primary, cases[i].reading);
        assert_int_equal(view.replicas, 4 + 2 * cases[i].reading);
    }
}

static void snapshot__of_two_claims_the_newer_and_living_one_counts(void **state)
{
    (void)state;
    static const struct {
        uint32_t timeline; /* of the cluster */
        uint32_t timelines[2];
        uint64_t generations[2];
        enum endpoint_health healths[2];
        uint32_t primary;
        bool has_rivals;
    } cases[] = {
        {0, {0, 0}, {1, 2}, {ENDPOINT_UP, ENDPOINT_UP}, 1, false},
        {0, {0, 0}, {2, 1}, {ENDPOINT_UP, ENDPOINT_UP}, 0, false},
        {0, {0, 0}, {2, 1}, {ENDPOINT_DOWN, ENDPOINT_UP}, 0, false},
        {0, {0, 0}, {1, 1}, {ENDPOINT_DOWN, ENDPOINT_UP}, 1, false},
        {0, {0, 0}, {1, 1}, {ENDPOINT_SUSPECT, ENDPOINT_DOWN}, 0, false},
        {0, {0, 0}, {1, 1}, {ENDPOINT_SUSPECT, ENDPOINT_UP}, NONE, true},
        {0, {0, 0}, {1, 1}, {ENDPOINT_DOWN, ENDPOINT_DOWN}, NONE, true},
        {3, {3, 2}, {1, 9}, {ENDPOINT_UP, ENDPOINT_UP}, 0, false},
        {3, {3, 2}, {1, 9}, {ENDPOINT_DOWN, ENDPOINT_UP}, 0, false},
        {3, {2, 3}, {1, 1}, {ENDPOINT_UP, ENDPOINT_UP}, 1, false},
        {3, {2, 2}, {1, 2}, {ENDPOINT_UP, ENDPOINT_UP}, NONE, false},
        {3, {0, 0}, {1, 2}, {ENDPOINT_UP, ENDPOINT_UP}, NONE, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct snapshot view;
        three(&view);
        view.timeline = cases[i].timeline;
        for (int at = 0; at < 2; at++) {
            view.endpoints[at].role = ENDPOINT_PRIMARY;
            view.endpoints[at].timeline = cases[i].timelines[at];
            view.endpoints[at].role_generation = cases[i].generations[at];
            view.endpoints[at].health = cases[i].healths[at];
        }
        assert_int_equal(snapshot_check(&view, NULL), HF_OK);
        snapshot_seal(&view);
        assert_int_equal(view.primary, cases[i].primary);
        assert_int_equal(view.has_rivals, cases[i].has_rivals);
        assert_int_equal(view.replicas, 4);
    }
}

static void snapshot__a_third_claim_can_settle_the_rivalry_of_two(void **state)
{
    (void)state;
    for (uint32_t newest = 0; newest < 3; newest++) {
        struct snapshot view;
        three(&view);
        for (uint32_t at = 0; at < 3; at++) {
            view.endpoints[at].role = ENDPOINT_PRIMARY;
            view.endpoints[at].role_generation = at == newest ? 2 : 1;
        }
        snapshot_seal(&view);
        assert_int_equal(view.primary, newest);
        assert_false(view.has_rivals);
    }
}

static void snapshot__positions_of_another_timeline_are_not_compared(void **state)
{
    (void)state;
    struct snapshot view;
    three(&view);
    view.timeline = 4;
    view.endpoints[0].timeline = 4;
    view.endpoints[1].timeline = 4;
    view.endpoints[2].timeline = 5; /* it has heard of a primary that we have not */
    snapshot_seal(&view);
    assert_int_equal(view.comparable, 3);
    assert_int_equal(view.position[1], 99);
    assert_int_equal(view.position[2], 0);
    assert_int_equal(view.as_of_ns[2], INT64_MIN);
    assert_int_equal(view.replicas, 6);
}

static void snapshot__an_unknown_lag_is_older_than_any_bound(void **state)
{
    (void)state;
    struct snapshot view;
    three(&view);
    view.endpoints[1].lag_ns = HF_NEVER;
    snapshot_seal(&view);
    assert_int_equal(view.as_of_ns[1], INT64_MIN);
    assert_int_equal(view.tiers[0].as_of_ns_min, INT64_MIN);
    assert_int_equal(view.position[1], 99);
}

static void snapshot__a_returned_endpoint_warms_up_to_its_weight(void **state)
{
    (void)state;
    static const struct {
        int64_t warm_up_ns, returned_at_ns;
        uint32_t share; /* of weight 10 */
    } cases[] = {
        {0, HF_SEC(10), 10240},          {HF_SEC(4), 0, 10240},
        {HF_SEC(4), HF_SEC(10), 1020},   {HF_SEC(4), HF_MS(9700), 1020},
        {HF_SEC(4), HF_SEC(9), 2560},    {HF_SEC(4), HF_SEC(8), 5120},
        {HF_SEC(4), HF_SEC(6), 10240},   {HF_SEC(4), HF_SEC(1), 10240},
        {SNAPSHOT_WARM_UP_MAX, 1, 1020},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct snapshot view;
        three(&view);
        view.warm_up_ns = cases[i].warm_up_ns;
        view.endpoints[1].weight = 10;
        view.endpoints[1].returned_at_ns = cases[i].returned_at_ns;
        assert_int_equal(snapshot_check(&view, NULL), HF_OK);
        snapshot_seal(&view);
        assert_int_equal(view.share[1], cases[i].share);
        assert_int_equal(view.share[2], 1024);
    }
}

static void snapshot__the_alias_tables_give_everybody_its_share(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 11);
    for (int run = 0; run < 500; run++) {
        struct snapshot view;
        snapshot_init(&view);
        uint32_t count = 1 + (uint32_t)rng_below(&rng, SNAPSHOT_ENDPOINTS_MAX);
        for (uint32_t i = 0; i < count; i++) {
            char name[16];
            snprintf(name, sizeof name, "%u", i);
            struct snapshot_endpoint *endpoint = snapshot_add(&view, name);
            endpoint->role = ENDPOINT_REPLICA;
            endpoint->health = rng_below(&rng, 5) == 0 ? ENDPOINT_SUSPECT : ENDPOINT_UP;
            endpoint->accepts_reads = true;
            endpoint->tier = (uint8_t)(rng_below(&rng, 3) * 100);
            endpoint->weight = (uint16_t)(1 + rng_below(&rng, run % 2 ? 1000 : 3));
        }
        snapshot_seal(&view);
        for (uint32_t t = 0; t < view.tier_count; t++) {
            const struct snapshot_tier *tier = &view.tiers[t];
            uint64_t got[SNAPSHOT_ENDPOINTS_MAX] = {0}, total = 0;
            for (uint32_t k = 0; k < tier->count; k++) {
                const struct snapshot_pick *pick = &view.pick[tier->first + k];
                assert_in_range(pick->other, 0, tier->count - 1);
                got[pick->endpoint] += pick->below;
                got[view.pick[tier->first + pick->other].endpoint] +=
                    (UINT64_C(1) << 32) - pick->below;
                total += view.share[pick->endpoint];
            }
            for (uint32_t i = 0; i < count; i++) {
                bool is_ready = (tier->ready >> i & 1) != 0;
                double want = is_ready ? (double)view.share[i] / (double)total : 0;
                double have = (double)got[i] / 0x1p32 / (tier->count ? tier->count : 1);
                assert_true(have - want < 1e-8 && want - have < 1e-8);
            }
        }
    }
}

/* ---- the primary's samples ---- */

static void snapshot__a_position_is_good_for_writes_before_it_was_asked_for(void **state)
{
    (void)state;
    struct snapshot view;
    snapshot_init(&view);
    snapshot_sample(&view, 100, 1000);
    snapshot_sample(&view, 200, 2000);
    snapshot_sample(&view, 300, 2000);
    static const struct {
        int64_t t_ns;
        uint64_t lsn;
    } cases[] = {{0, 1000},   {99, 1000},  {100, 2000}, {199, 2000},
                 {200, 2000}, {299, 2000}, {300, 0},    {301, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(snapshot_lsn_after(&view, cases[i].t_ns), cases[i].lsn);
}

static void snapshot__answers_out_of_order_are_ignored(void **state)
{
    (void)state;
    struct snapshot view;
    snapshot_init(&view);
    snapshot_sample(&view, 50, 0);
    snapshot_sample(&view, 100, 1000);
    snapshot_sample(&view, 100, 1100);
    snapshot_sample(&view, 99, 1100);
    snapshot_sample(&view, 200, 999);
    snapshot_sample(&view, 200, 0);
    assert_int_equal(view.sample_count, 1);
    snapshot_sample(&view, 101, 1000);
    assert_int_equal(view.sample_count, 2);
}

static void snapshot__another_primary_starts_without_samples(void **state)
{
    (void)state;
    struct snapshot view;
    three(&view);
    snapshot_sample(&view, 100, 1000);
    snapshot_seal(&view);
    snapshot_new_primary(&view, 7);
    assert_false(view.is_sealed);
    assert_int_equal(view.timeline, 7);
    assert_int_equal(snapshot_lsn_after(&view, 0), 0);
    snapshot_sample(&view, 50, 10); /* its clock is ours, its positions are its own */
    assert_int_equal(snapshot_lsn_after(&view, 0), 10);
}

/* A few samples must serve promises of any age within the reach: never with an earlier position
 * than they need, and with one that was asked for when the promise had at most half its present
 * age. */
static void sample_every(int64_t interval_ns)
{
    struct snapshot view;
    snapshot_init(&view);
    struct rng rng;
    rng_init(&rng, 5);
    int64_t now_ns = HF_SEC(1), start_ns = now_ns;
    for (int i = 0; i < 20000; i++) {
        now_ns += rng_range_ns(&rng, interval_ns / 2, interval_ns + interval_ns / 2);
        snapshot_sample(&view, now_ns, (uint64_t)now_ns);
        view.made_at_ns = now_ns;
        if (i < 100 || i % 50 != 0)
            continue;
        assert_int_equal(snapshot_check(&view, NULL), HF_OK);
        assert_true(now_ns - view.samples[1].asked_at_ns < SNAPSHOT_REACH_NS + 2 * interval_ns);
        for (int64_t age_ns = 4 * interval_ns; age_ns < SNAPSHOT_REACH_NS; age_ns += age_ns / 9) {
            if (now_ns - age_ns < start_ns)
                break;
            uint64_t lsn = snapshot_lsn_after(&view, now_ns - age_ns);
            assert_true(lsn > (uint64_t)(now_ns - age_ns));
            assert_true(now_ns - (int64_t)lsn >= age_ns / 2);
        }
    }
}

static void snapshot__few_samples_reach_far_back(void **state)
{
    (void)state;
    sample_every(HF_MS(100));
    sample_every(HF_SEC(1));
}

static void snapshot__a_long_pause_leaves_room_for_what_comes_after_it(void **state)
{
    (void)state;
    struct snapshot view;
    snapshot_init(&view);
    for (uint32_t i = 1; i <= 100; i++)
        snapshot_sample(&view, i, i);
    int64_t later_ns = INT64_MAX / 2;
    for (uint32_t i = 1; i <= 100; i++)
        snapshot_sample(&view, later_ns + i, 1000 + i);
    assert_int_equal(view.sample_count, SNAPSHOT_SAMPLES_MAX);
    assert_true(view.samples[2].asked_at_ns > later_ns);
    assert_int_equal(snapshot_lsn_after(&view, later_ns + 99), 1100);
}

/* ---- checks ---- */

static void spoil_endpoint(struct snapshot *view, struct snapshot_endpoint *endpoint, int how)
{
    switch (how) {
    case 0:
        endpoint->name[0] = '\0';
        return;
    case 1:
        memset(endpoint->name, 'x', SNAPSHOT_NAME_BYTES);
        return;
    case 2:
        memcpy(endpoint->name, "a", 2);
        return;
    case 3:
        endpoint->role = (enum endpoint_role)3;
        return;
    case 4:
        endpoint->health = (enum endpoint_health)3;
        return;
    case 5:
        endpoint->weight = 0;
        return;
    case 6:
        endpoint->weight = SNAPSHOT_WEIGHT_MAX + 1;
        return;
    case 7:
        endpoint->zone = SNAPSHOT_ZONES_MAX;
        return;
    case 8:
        endpoint->lag_ns = -1;
        return;
    case 9:
        endpoint->sampled_at_ns = -1;
        return;
    case 10:
        endpoint->sampled_at_ns = view->made_at_ns + 1;
        return;
    case 11:
        endpoint->returned_at_ns = view->made_at_ns + 1;
        return;
    case 12:
        endpoint->returned_at_ns = -1;
        return;
    case 13:
        view->endpoints[0].timeline = 1;
        return;
    }
}

static void spoil(struct snapshot *view, int how)
{
    spoil_endpoint(view, &view->endpoints[1], how);
    switch (how) {
    case 14:
        view->count = SNAPSHOT_ENDPOINTS_MAX + 1;
        return;
    case 15:
        view->sample_count = SNAPSHOT_SAMPLES_MAX + 1;
        return;
    case 16:
        view->made_at_ns = -1;
        return;
    case 17:
        view->interval_ns = -1;
        return;
    case 18:
        view->warm_up_ns = -1;
        return;
    case 19:
        view->warm_up_ns = SNAPSHOT_WARM_UP_MAX + 1;
        return;
    case 20:
        view->samples[0].asked_at_ns = -1;
        return;
    case 21:
        view->samples[1].asked_at_ns = view->made_at_ns + 1;
        return;
    case 22:
        view->samples[1].asked_at_ns = view->samples[0].asked_at_ns;
        return;
    case 23:
        view->samples[1].lsn = 0;
        return;
    case 24:
        view->samples[0].lsn = 0;
        return;
    }
}

static void snapshot__the_check_finds_what_cannot_be(void **state)
{
    (void)state;
    for (int how = -1; how < 25; how++) {
        struct snapshot view;
        struct hf_err err;
        three(&view);
        snapshot_sample(&view, 1, 1);
        snapshot_sample(&view, 2, 2);
        spoil(&view, how);
        enum hf_rc rc = snapshot_check(&view, &err);
        assert_int_equal(rc, how < 0 ? HF_OK : HF_RC_INVALID);
        if (how >= 2 && how <= 13)
            assert_non_null(strchr(err.message, '"'));
    }
}

static void seal_too_many(void *argument)
{
    snapshot_seal(argument);
}

static void snapshot__sealing_more_than_fits_is_a_bug(void **state)
{
    (void)state;
    struct snapshot view;
    snapshot_init(&view);
    view.count = SNAPSHOT_ENDPOINTS_MAX + 1;
    assert_true(dies(seal_too_many, &view));
}

static void snapshot__the_next_one_is_always_ahead(void **state)
{
    (void)state;
    static const struct {
        int64_t interval_ns, now_ns, next_ns;
    } cases[] = {
        {0, HF_SEC(10), HF_SEC(10) + SNAPSHOT_INTERVAL_NS},
        {0, 0, HF_SEC(10) + SNAPSHOT_INTERVAL_NS},
        {5, HF_SEC(10) + 4, HF_SEC(10) + 5},
        {5, HF_SEC(10) + 5, HF_SEC(10) + 10},
        {5, HF_SEC(99), HF_SEC(99) + 5},
        {HF_NEVER, HF_SEC(99), HF_NEVER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct snapshot view;
        three(&view);
        view.interval_ns = cases[i].interval_ns;
        assert_int_equal(snapshot_next_ns(&view, cases[i].now_ns), cases[i].next_ns);
    }
}

static void snapshot__roles_and_healths_have_names(void **state)
{
    (void)state;
    assert_string_equal(endpoint_role_name(ENDPOINT_UNKNOWN), "unknown");
    assert_string_equal(endpoint_role_name(ENDPOINT_PRIMARY), "primary");
    assert_string_equal(endpoint_role_name(ENDPOINT_REPLICA), "replica");
    assert_string_equal(endpoint_health_name(ENDPOINT_DOWN), "down");
    assert_string_equal(endpoint_health_name(ENDPOINT_SUSPECT), "suspect");
    assert_string_equal(endpoint_health_name(ENDPOINT_UP), "up");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(snapshot__an_empty_one_has_nobody),
        cmocka_unit_test(snapshot__a_new_endpoint_serves_nobody),
        cmocka_unit_test(snapshot__there_is_room_for_32_and_no_more),
        cmocka_unit_test(snapshot__a_long_name_is_cut_and_terminated),
        cmocka_unit_test(snapshot__sealing_sorts_the_endpoints_into_masks),
        cmocka_unit_test(snapshot__sealing_again_forgets_what_was),
        cmocka_unit_test(snapshot__what_is_down_drained_or_closed_is_left_out),
        cmocka_unit_test(snapshot__of_two_claims_the_newer_and_living_one_counts),
        cmocka_unit_test(snapshot__a_third_claim_can_settle_the_rivalry_of_two),
        cmocka_unit_test(snapshot__positions_of_another_timeline_are_not_compared),
        cmocka_unit_test(snapshot__an_unknown_lag_is_older_than_any_bound),
        cmocka_unit_test(snapshot__a_returned_endpoint_warms_up_to_its_weight),
        cmocka_unit_test(snapshot__the_alias_tables_give_everybody_its_share),
        cmocka_unit_test(snapshot__a_position_is_good_for_writes_before_it_was_asked_for),
        cmocka_unit_test(snapshot__answers_out_of_order_are_ignored),
        cmocka_unit_test(snapshot__another_primary_starts_without_samples),
        cmocka_unit_test(snapshot__few_samples_reach_far_back),
        cmocka_unit_test(snapshot__a_long_pause_leaves_room_for_what_comes_after_it),
        cmocka_unit_test(snapshot__the_check_finds_what_cannot_be),
        cmocka_unit_test(snapshot__sealing_more_than_fits_is_a_bug),
        cmocka_unit_test(snapshot__the_next_one_is_always_ahead),
        cmocka_unit_test(snapshot__roles_and_healths_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
