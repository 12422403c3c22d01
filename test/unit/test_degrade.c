/*
 * The ladder: what moves it, when, and that it always comes back.
 */
#include "unit.h"

#include <stdbool.h>
#include <string.h>

#include "base/ns.h"
#include "base/rng.h"
#include "core/degrade.h"
#include "dies.h"

static struct hf_err err;
static struct degrade ladder;

#define HOLD_DOWN HF_SEC(1)
#define STABLE    HF_MS(500)

/* ---- configuration ---- */

static void degrade__the_default_configuration_passes_its_check(void **state)
{
    (void)state;
    struct degrade_config config = degrade_config_default();
    assert_int_equal(degrade_config_check(&config, &err), HF_OK);
    assert_int_equal(config.hold_down_ns, HOLD_DOWN);
    assert_int_equal(config.stable_ns, STABLE);
    assert_int_equal(config.pin_ns_max, HF_NEVER);
}

static void degrade__each_level_allows_what_its_name_says(void **state)
{
    (void)state;
    static const struct {
        enum degrade_level level;
        bool read, write, cached_read, admin, health;
    } rows[] = {
        {DEGRADE_FULL, true, true, true, true, true},
        {DEGRADE_READ_ONLY, true, false, true, false, true},
        {DEGRADE_CACHED_ONLY, false, false, true, false, true},
        {DEGRADE_HEALTH_ONLY, false, false, false, false, true},
        {DEGRADE_MAINTENANCE, false, false, false, true, true},
    };
    struct degrade_config config = degrade_config_default();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum degrade_level level = rows[i].level;
        assert_int_equal(degrade_config_allows(&config, level, DEGRADE_READ), rows[i].read);
        assert_int_equal(degrade_config_allows(&config, level, DEGRADE_WRITE), rows[i].write);
        assert_int_equal(degrade_config_allows(&config, level, DEGRADE_CACHED_READ),
                         rows[i].cached_read);
        assert_int_equal(degrade_config_allows(&config, level, DEGRADE_ADMIN), rows[i].admin);
        assert_int_equal(degrade_config_allows(&config, level, DEGRADE_HEALTH), rows[i].health);
    }
}

static void degrade__what_may_come_back_waits_and_what_a_person_stopped_is_refused(void **state)
{
    (void)state;
    static const struct {
        enum degrade_level level;
        enum degrade_operation operation;
        enum degrade_fallback fallback;
    } rows[] = {
        {DEGRADE_READ_ONLY, DEGRADE_WRITE, DEGRADE_FALLBACK_WAIT},
        {DEGRADE_READ_ONLY, DEGRADE_ADMIN, DEGRADE_FALLBACK_REFUSE},
        {DEGRADE_CACHED_ONLY, DEGRADE_READ, DEGRADE_FALLBACK_CACHE},
        {DEGRADE_CACHED_ONLY, DEGRADE_WRITE, DEGRADE_FALLBACK_WAIT},
        {DEGRADE_HEALTH_ONLY, DEGRADE_READ, DEGRADE_FALLBACK_REFUSE},
        {DEGRADE_HEALTH_ONLY, DEGRADE_WRITE, DEGRADE_FALLBACK_REFUSE},
        {DEGRADE_MAINTENANCE, DEGRADE_READ, DEGRADE_FALLBACK_REFUSE},
        {DEGRADE_MAINTENANCE, DEGRADE_WRITE, DEGRADE_FALLBACK_REFUSE},
    };
    struct degrade_config config = degrade_config_default();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(degrade_config_fallback(&config, rows[i].level, rows[i].operation),
                         rows[i].fallback);
}

static void degrade__a_configuration_that_cannot_work_is_refused(void **state)
{
    (void)state;
    struct degrade_config bad[11];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        bad[i] = degrade_config_default();
    bad[0].hold_down_ns = -1;
    bad[1].hold_down_ns = HF_SEC(3601);
    bad[2].stable_ns = -1;
    bad[3].stable_ns = HF_NEVER;
    bad[4].pin_ns_max = 0;
    bad[5].allowed[DEGRADE_FULL] &= ~DEGRADE_BIT(DEGRADE_WRITE);
    bad[6].allowed[DEGRADE_READ_ONLY] |= DEGRADE_BIT(DEGRADE_OPERATIONS);
    bad[7].allowed[DEGRADE_MAINTENANCE] &= ~DEGRADE_BIT(DEGRADE_HEALTH);
    bad[8].fallback[DEGRADE_READ_ONLY][DEGRADE_WRITE] = DEGRADE_FALLBACK_CACHE;
    bad[9].fallback[DEGRADE_MAINTENANCE][DEGRADE_READ] = DEGRADE_FALLBACK_CACHE;
    bad[10].fallback[DEGRADE_HEALTH_ONLY][DEGRADE_ADMIN] = DEGRADE_FALLBACKS;
    static const char *const says[] = {"hold-down", "hold-down", "hold-down",      "hold-down",
                                       "pinned",    "\"full\"",  "\"read_only\"",  "health checks",
                                       "\"write\"", "a cache",   "\"health_only\""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(degrade_config_check(&bad[i], &err), HF_RC_INVALID);
        assert_non_null(strstr(err.message, says[i]));
    }
    struct degrade_config extreme = degrade_config_default();
    extreme.hold_down_ns = extreme.stable_ns = 0;
    assert_int_equal(degrade_config_check(&extreme, &err), HF_OK);
    extreme.hold_down_ns = extreme.stable_ns = HF_SEC(3600);
    assert_int_equal(degrade_config_check(&extreme, &err), HF_OK);
}

/* ---- feeding ---- */

static void begin_with(const struct degrade_config *config)
{
    degrade_init(&ladder, config, 0);
}

static void begin(void)
{
    struct degrade_config config = degrade_config_default();
    begin_with(&config);
}

static void health(int64_t at_ns, bool primary, bool readers)
{
    degrade_feed(&ladder, &(struct degrade_event){.kind = DEGRADE_EV_HEALTH,
                                                  .now_ns = at_ns,
                                                  .primary_usable = primary,
                                                  .readers_usable = readers});
}

static void tick(int64_t at_ns)
{
    degrade_feed(&ladder, &(struct degrade_event){.kind = DEGRADE_EV_TICK, .now_ns = at_ns});
}

static void pin(int64_t at_ns, enum degrade_level level, int64_t until_ns)
{
    degrade_feed(&ladder, &(struct degrade_event){.kind = DEGRADE_EV_PIN,
                                                  .now_ns = at_ns,
                                                  .level = level,
                                                  .until_ns = until_ns});
}

static void unpin(int64_t at_ns)
{
    degrade_feed(&ladder, &(struct degrade_event){.kind = DEGRADE_EV_UNPIN, .now_ns = at_ns});
}

static void assert_level(enum degrade_level level)
{
    assert_string_equal(degrade_level_name(degrade_level(&ladder)), degrade_level_name(level));
    assert_int_equal(degrade_reason(&ladder)->level, level);
}

static void assert_last(int64_t at_ns, enum degrade_level from, enum degrade_level to,
                        enum degrade_cause cause)
{
    const struct degrade_change *last = degrade_history(&ladder, 0);
    assert_non_null(last);
    assert_int_equal(last->at_ns, at_ns);
    assert_int_equal(last->from, from);
    assert_int_equal(last->to, to);
    assert_string_equal(degrade_cause_name(last->cause), degrade_cause_name(cause));
    assert_memory_equal(last, &degrade_reason(&ladder)->last, sizeof *last);
}

static void degrade__begins_full_with_nothing_to_tell(void **state)
{
    (void)state;
    begin();
    assert_level(DEGRADE_FULL);
    assert_int_equal(degrade_deadline(&ladder), HF_NEVER);
    assert_null(degrade_history(&ladder, 0));
    struct degrade_change change;
    assert_false(degrade_next(&ladder, &change));
    assert_int_equal(degrade_reason(&ladder)->last.cause, DEGRADE_CAUSE_NONE);
    assert_false(degrade_reason(&ladder)->is_pinned);
}

static void degrade__a_lost_primary_is_read_only_after_the_hold_down(void **state)
{
    (void)state;
    begin();
    health(HF_SEC(10), false, true);
    assert_level(DEGRADE_FULL);
    assert_int_equal(degrade_deadline(&ladder), HF_SEC(10) + HOLD_DOWN);
    tick(HF_SEC(10) + HOLD_DOWN - 1);
    assert_level(DEGRADE_FULL);
    tick(HF_SEC(10) + HOLD_DOWN);
    assert_level(DEGRADE_READ_ONLY);
    assert_last(HF_SEC(10) + HOLD_DOWN, DEGRADE_FULL, DEGRADE_READ_ONLY, DEGRADE_CAUSE_LOST);
    assert_int_equal(degrade_deadline(&ladder), HF_NEVER);
}

static void degrade__all_lost_is_cached_only_without_a_stop_between(void **state)
{
    (void)state;
    begin();
    health(0, false, false);
    tick(HOLD_DOWN);
    assert_level(DEGRADE_CACHED_ONLY);
    assert_last(HOLD_DOWN, DEGRADE_FULL, DEGRADE_CACHED_ONLY, DEGRADE_CAUSE_LOST);
    assert_null(degrade_history(&ladder, 1));
}

static void degrade__readers_lost_later_have_a_hold_down_of_their_own(void **state)
{
    (void)state;
    begin();
    health(0, false, true);
    health(HF_MS(900), false, false);
    tick(HOLD_DOWN);
    assert_level(DEGRADE_READ_ONLY);
    assert_int_equal(degrade_deadline(&ladder), HF_MS(900) + HOLD_DOWN);
    tick(HF_MS(900) + HOLD_DOWN);
    assert_level(DEGRADE_CACHED_ONLY);
}

static void degrade__a_primary_without_readers_serves_all(void **state)
{
    (void)state;
    begin();
    health(0, true, false);
    tick(HF_SEC(100));
    assert_level(DEGRADE_FULL);
}

static void degrade__a_blink_is_not_shown(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 100; i++) {
        health(HF_SEC(i), false, true);
        health(HF_SEC(i) + HF_MS(999), true, true);
    }
    assert_level(DEGRADE_FULL);
    assert_null(degrade_history(&ladder, 0));
}

static void degrade__what_comes_back_must_stay(void **state)
{
    (void)state;
    begin();
    health(0, false, true);
    tick(HOLD_DOWN);
    /* It comes and goes, never for as long as it takes. */
    for (int i = 2; i < 50; i++) {
        health(HF_SEC(i), true, true);
        assert_int_equal(degrade_deadline(&ladder), HF_SEC(i) + STABLE);
        health(HF_SEC(i) + STABLE - 1, false, true);
        assert_level(DEGRADE_READ_ONLY);
        assert_int_equal(degrade_deadline(&ladder), HF_NEVER);
    }
    health(HF_SEC(60), true, true);
    tick(HF_SEC(60) + STABLE - 1);
    assert_level(DEGRADE_READ_ONLY);
    tick(HF_SEC(60) + STABLE);
    assert_level(DEGRADE_FULL);
    assert_last(HF_SEC(60) + STABLE, DEGRADE_READ_ONLY, DEGRADE_FULL, DEGRADE_CAUSE_RECOVERED);
}

static void degrade__it_climbs_to_the_best_proved_level_at_once(void **state)
{
    (void)state;
    begin();
    health(0, false, false);
    tick(HOLD_DOWN);
    health(HF_SEC(5), true, true);
    tick(HF_SEC(5) + STABLE);
    assert_level(DEGRADE_FULL);
    assert_last(HF_SEC(5) + STABLE, DEGRADE_CACHED_ONLY, DEGRADE_FULL, DEGRADE_CAUSE_RECOVERED);
    assert_int_equal(degrade_history(&ladder, 1)->to, DEGRADE_CACHED_ONLY);
}

static void degrade__readers_that_come_back_first_are_used_first(void **state)
{
    (void)state;
    begin();
    health(0, false, false);
    tick(HOLD_DOWN);
    health(HF_SEC(5), false, true);
    health(HF_SEC(5) + HF_MS(100), true, true);
    tick(HF_SEC(5) + STABLE);
    assert_level(DEGRADE_READ_ONLY);
    tick(HF_SEC(5) + HF_MS(100) + STABLE);
    assert_level(DEGRADE_FULL);
}

static void degrade__a_primary_that_replaces_the_readers_keeps_reads_alive(void **state)
{
    (void)state;
    /* Reads were possible all the time, by one or the other: no need to prove them anew. */
    begin();
    health(0, false, true);
    tick(HOLD_DOWN);
    health(HF_SEC(5), true, false);
    assert_level(DEGRADE_READ_ONLY);
    health(HF_SEC(5) + 1, false, true);
    tick(HF_SEC(50));
    assert_level(DEGRADE_READ_ONLY);
}

static void degrade__without_hold_down_and_stable_time_it_follows_at_once(void **state)
{
    (void)state;
    struct degrade_config config = degrade_config_default();
    config.hold_down_ns = config.stable_ns = 0;
    begin_with(&config);
    static const struct {
        bool primary, readers;
        enum degrade_level level;
    } facts[] = {
        {false, true, DEGRADE_READ_ONLY}, {false, false, DEGRADE_CACHED_ONLY},
        {true, false, DEGRADE_FULL},      {false, false, DEGRADE_CACHED_ONLY},
        {false, true, DEGRADE_READ_ONLY}, {true, true, DEGRADE_FULL},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        health(HF_SEC(1), facts[i].primary, facts[i].readers);
        assert_level(facts[i].level);
        assert_int_equal(degrade_deadline(&ladder), HF_NEVER);
    }
}

static void degrade__the_same_facts_again_change_nothing(void **state)
{
    (void)state;
    begin();
    health(0, false, true);
    for (int64_t at = 0; at < HOLD_DOWN; at += HF_MS(100)) {
        health(at, false, true);
        assert_int_equal(degrade_deadline(&ladder), HOLD_DOWN);
    }
    health(HOLD_DOWN, false, true);
    assert_level(DEGRADE_READ_ONLY);
}

static void degrade__time_that_runs_backwards_stands_still_and_is_counted(void **state)
{
    (void)state;
    begin();
    health(HF_SEC(10), false, true);
    tick(HF_SEC(10));
    assert_int_equal(ladder.time_backwards, 0);
    tick(HF_SEC(5));
    assert_int_equal(ladder.time_backwards, 1);
    health(HF_SEC(5), true, true);
    health(HF_SEC(5), false, true);
    assert_int_equal(degrade_deadline(&ladder), HF_SEC(10) + HOLD_DOWN);
    assert_int_equal(ladder.time_backwards, 3);
}

/* ---- pins ---- */

static void degrade__a_pin_holds_whatever_the_health_is(void **state)
{
    (void)state;
    begin();
    pin(HF_SEC(1), DEGRADE_MAINTENANCE, HF_NEVER);
    assert_level(DEGRADE_MAINTENANCE);
    assert_last(HF_SEC(1), DEGRADE_FULL, DEGRADE_MAINTENANCE, DEGRADE_CAUSE_PINNED);
    assert_true(degrade_reason(&ladder)->is_pinned);
    health(HF_SEC(2), false, false);
    tick(HF_SEC(100));
    assert_level(DEGRADE_MAINTENANCE);
    assert_int_equal(degrade_reason(&ladder)->by_health, DEGRADE_CACHED_ONLY);
    assert_int_equal(degrade_deadline(&ladder), HF_NEVER);
}

static void degrade__unpinned_it_stands_where_health_has_brought_it(void **state)
{
    (void)state;
    begin();
    pin(0, DEGRADE_HEALTH_ONLY, HF_NEVER);
    health(HF_SEC(1), false, true);
    tick(HF_SEC(1) + HOLD_DOWN);
    unpin(HF_SEC(3));
    assert_level(DEGRADE_READ_ONLY);
    assert_last(HF_SEC(3), DEGRADE_HEALTH_ONLY, DEGRADE_READ_ONLY, DEGRADE_CAUSE_UNPINNED);
    assert_false(degrade_reason(&ladder)->is_pinned);
}

static void degrade__pinned_to_full_it_does_not_degrade(void **state)
{
    (void)state;
    begin();
    pin(0, DEGRADE_FULL, HF_NEVER);
    assert_null(degrade_history(&ladder, 0)); /* it stood there already */
    health(0, false, false);
    tick(HF_SEC(100));
    assert_level(DEGRADE_FULL);
    unpin(HF_SEC(100));
    assert_level(DEGRADE_CACHED_ONLY);
}

static void degrade__a_pin_ends_by_itself_at_its_time(void **state)
{
    (void)state;
    begin();
    pin(0, DEGRADE_MAINTENANCE, HF_SEC(60));
    assert_int_equal(degrade_deadline(&ladder), HF_SEC(60));
    tick(HF_SEC(60) - 1);
    assert_level(DEGRADE_MAINTENANCE);
    tick(HF_SEC(60));
    assert_level(DEGRADE_FULL);
    assert_last(HF_SEC(60), DEGRADE_MAINTENANCE, DEGRADE_FULL, DEGRADE_CAUSE_PIN_ENDED);
    assert_int_equal(degrade_reason(&ladder)->pinned_until_ns, HF_NEVER);
}

static void degrade__a_forgotten_pin_ends_if_so_configured(void **state)
{
    (void)state;
    struct degrade_config config = degrade_config_default();
    config.pin_ns_max = HF_SEC(3600);
    begin_with(&config);
    pin(HF_SEC(10), DEGRADE_READ_ONLY, HF_NEVER);
    assert_int_equal(degrade_deadline(&ladder), HF_SEC(3610));
    pin(HF_SEC(20), DEGRADE_READ_ONLY, HF_NEVER); /* pinned again: the time begins again */
    assert_int_equal(degrade_deadline(&ladder), HF_SEC(3620));
    pin(HF_SEC(30), DEGRADE_READ_ONLY, HF_SEC(40)); /* a nearer end counts */
    tick(HF_SEC(40));
    assert_level(DEGRADE_FULL);
}

static void degrade__a_pin_that_is_over_already_ends_the_one_before(void **state)
{
    (void)state;
    begin();
    pin(0, DEGRADE_MAINTENANCE, HF_NEVER);
    pin(HF_SEC(10), DEGRADE_HEALTH_ONLY, HF_SEC(9));
    assert_level(DEGRADE_FULL);
    assert_last(HF_SEC(10), DEGRADE_MAINTENANCE, DEGRADE_FULL, DEGRADE_CAUSE_PIN_ENDED);
}

static void degrade__unpinning_what_is_not_pinned_does_nothing(void **state)
{
    (void)state;
    begin();
    unpin(HF_SEC(1));
    assert_level(DEGRADE_FULL);
    assert_null(degrade_history(&ladder, 0));
}

static void pin_nowhere(void *argument)
{
    (void)argument;
    pin(0, DEGRADE_LEVELS, HF_NEVER);
}

static void degrade__a_pin_to_no_level_is_a_bug(void **state)
{
    (void)state;
    begin();
    assert_true(dies(pin_nowhere, NULL));
}

/* ---- history ---- */

static void degrade__changes_are_given_out_once_and_in_order(void **state)
{
    (void)state;
    begin();
    pin(1, DEGRADE_READ_ONLY, HF_NEVER);
    pin(2, DEGRADE_CACHED_ONLY, HF_NEVER);
    struct degrade_change change;
    assert_true(degrade_next(&ladder, &change));
    assert_int_equal(change.to, DEGRADE_READ_ONLY);
    assert_true(degrade_next(&ladder, &change));
    assert_int_equal(change.to, DEGRADE_CACHED_ONLY);
    assert_false(degrade_next(&ladder, &change));
    unpin(3);
    assert_true(degrade_next(&ladder, &change));
    assert_int_equal(change.cause, DEGRADE_CAUSE_UNPINNED);
    assert_false(degrade_next(&ladder, &change));
}

static void degrade__the_last_hundred_changes_are_kept(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 250; i++)
        pin(i, i % 2 == 0 ? DEGRADE_MAINTENANCE : DEGRADE_FULL, HF_NEVER);
    for (uint32_t back = 0; back < DEGRADE_HISTORY; back++)
        assert_int_equal(degrade_history(&ladder, back)->at_ns, 249 - (int)back);
    assert_null(degrade_history(&ladder, DEGRADE_HISTORY));
    struct degrade_change change;
    for (int i = 150; i < 250; i++) {
        assert_true(degrade_next(&ladder, &change)); /* the oldest that is left comes first */
        assert_int_equal(change.at_ns, i);
    }
    assert_false(degrade_next(&ladder, &change));
}

/* ---- always ---- */

static bool is_by_health(enum degrade_level level)
{
    return level == DEGRADE_FULL || level == DEGRADE_READ_ONLY || level == DEGRADE_CACHED_ONLY;
}

/* The rules told a second time, from all that was ever fed: which levels have the facts borne, and
 * refused, without a break for how long. */
struct model {
    int64_t good_since_ns[2], bad_since_ns[2]; /* HF_NEVER: not now */
    enum degrade_level level;
};

static void model_facts(struct model *model, int64_t now_ns, bool primary, bool readers)
{
    const bool good[2] = {primary, primary || readers};
    for (int i = 0; i < 2; i++) {
        if (good[i] && model->good_since_ns[i] == HF_NEVER)
            model->good_since_ns[i] = now_ns;
        if (!good[i] && model->bad_since_ns[i] == HF_NEVER)
            model->bad_since_ns[i] = now_ns;
        if (good[i])
            model->bad_since_ns[i] = HF_NEVER;
        else
            model->good_since_ns[i] = HF_NEVER;
    }
}

static void model_step(struct model *model, int64_t now_ns)
{
    for (int i = 0; i < 2; i++)
        if (model->level == (enum degrade_level)i && model->bad_since_ns[i] != HF_NEVER &&
            now_ns - model->bad_since_ns[i] >= HOLD_DOWN)
            model->level = (enum degrade_level)(i + 1);
    for (int i = 1; i >= 0; i--)
        if (model->level > (enum degrade_level)i && model->good_since_ns[i] != HF_NEVER &&
            now_ns - model->good_since_ns[i] >= STABLE)
            model->level = (enum degrade_level)i;
}

static void degrade__any_sequence_of_facts_leads_where_the_rules_say(void **state)
{
    (void)state;
    struct rng rng;
    for (uint64_t seed = 0; seed < 200; seed++) {
        rng_init(&rng, seed);
        begin();
        struct model model = {{0, 0}, {HF_NEVER, HF_NEVER}, DEGRADE_FULL};
        int64_t now_ns = 0;
        bool primary = true, readers = true;
        for (int i = 0; i < 500; i++) {
            now_ns += rng_range_ns(&rng, 0, HF_MS(700));
            if (rng_below(&rng, 3) == 0)
                primary = !primary;
            if (rng_below(&rng, 3) == 0)
                readers = !readers;
            model_facts(&model, now_ns, primary, readers);
            model_step(&model, now_ns);
            health(now_ns, primary, readers);
            assert_level(model.level);
        }
    }
}

static void degrade__healthy_and_unpinned_it_is_full_within_the_stable_time(void **state)
{
    (void)state;
    struct rng rng;
    for (uint64_t seed = 0; seed < 500; seed++) {
        rng_init(&rng, seed);
        struct degrade_config config = degrade_config_default();
        config.hold_down_ns = rng_range_ns(&rng, 0, HF_SEC(2));
        config.stable_ns = rng_range_ns(&rng, 0, HF_SEC(2));
        begin_with(&config);
        int64_t now_ns = 0;
        for (int i = 0; i < 40; i++) {
            now_ns += rng_range_ns(&rng, 0, HF_SEC(1));
            uint64_t choice = rng_below(&rng, 6);
            if (choice < 4)
                health(now_ns, rng_below(&rng, 2), rng_below(&rng, 2));
            else if (choice == 4)
                pin(now_ns, (enum degrade_level)rng_below(&rng, DEGRADE_LEVELS),
                    now_ns + rng_range_ns(&rng, 0, HF_SEC(3)));
            else
                unpin(now_ns);
            if (!degrade_reason(&ladder)->is_pinned)
                assert_true(is_by_health(degrade_level(&ladder)));
            assert_true(degrade_deadline(&ladder) > now_ns); /* nothing due is left behind */
            assert_int_equal(degrade_deadline(&ladder), degrade_reason(&ladder)->due_ns);
        }
        health(now_ns, true, true);
        unpin(now_ns);
        const int64_t healed_ns = now_ns;
        for (int i = 0; degrade_deadline(&ladder) != HF_NEVER; i++) {
            assert_true(i < 4);
            now_ns = degrade_deadline(&ladder);
            tick(now_ns);
        }
        assert_level(DEGRADE_FULL);
        assert_true(now_ns - healed_ns <= config.stable_ns);
    }
}

static void degrade__names_are_the_words_of_the_manual(void **state)
{
    (void)state;
    assert_string_equal(degrade_level_name(DEGRADE_FULL), "full");
    assert_string_equal(degrade_level_name(DEGRADE_MAINTENANCE), "maintenance");
    assert_string_equal(degrade_operation_name(DEGRADE_READ), "read");
    assert_string_equal(degrade_operation_name(DEGRADE_HEALTH), "health");
    assert_string_equal(degrade_fallback_name(DEGRADE_FALLBACK_REFUSE), "refuse");
    assert_string_equal(degrade_fallback_name(DEGRADE_FALLBACK_WAIT), "wait");
    assert_string_equal(degrade_cause_name(DEGRADE_CAUSE_NONE), "none");
    assert_string_equal(degrade_cause_name(DEGRADE_CAUSE_PIN_ENDED), "pin_ended");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(degrade__the_default_configuration_passes_its_check),
        cmocka_unit_test(degrade__each_level_allows_what_its_name_says),
        cmocka_unit_test(degrade__what_may_come_back_waits_and_what_a_person_stopped_is_refused),
        cmocka_unit_test(degrade__a_configuration_that_cannot_work_is_refused),
        cmocka_unit_test(degrade__begins_full_with_nothing_to_tell),
        cmocka_unit_test(degrade__a_lost_primary_is_read_only_after_the_hold_down),
        cmocka_unit_test(degrade__all_lost_is_cached_only_without_a_stop_between),
        cmocka_unit_test(degrade__readers_lost_later_have_a_hold_down_of_their_own),
        cmocka_unit_test(degrade__a_primary_without_readers_serves_all),
        cmocka_unit_test(degrade__a_blink_is_not_shown),
        cmocka_unit_test(degrade__what_comes_back_must_stay),
        cmocka_unit_test(degrade__it_climbs_to_the_best_proved_level_at_once),
        cmocka_unit_test(degrade__readers_that_come_back_first_are_used_first),
        cmocka_unit_test(degrade__a_primary_that_replaces_the_readers_keeps_reads_alive),
        cmocka_unit_test(degrade__without_hold_down_and_stable_time_it_follows_at_once),
        cmocka_unit_test(degrade__the_same_facts_again_change_nothing),
        cmocka_unit_test(degrade__time_that_runs_backwards_stands_still_and_is_counted),
        cmocka_unit_test(degrade__a_pin_holds_whatever_the_health_is),
        cmocka_unit_test(degrade__unpinned_it_stands_where_health_has_brought_it),
        cmocka_unit_test(degrade__pinned_to_full_it_does_not_degrade),
        cmocka_unit_test(degrade__a_pin_ends_by_itself_at_its_time),
        cmocka_unit_test(degrade__a_forgotten_pin_ends_if_so_configured),
        cmocka_unit_test(degrade__a_pin_that_is_over_already_ends_the_one_before),
        cmocka_unit_test(degrade__unpinning_what_is_not_pinned_does_nothing),
        cmocka_unit_test(degrade__a_pin_to_no_level_is_a_bug),
        cmocka_unit_test(degrade__changes_are_given_out_once_and_in_order),
        cmocka_unit_test(degrade__the_last_hundred_changes_are_kept),
        cmocka_unit_test(degrade__any_sequence_of_facts_leads_where_the_rules_say),
        cmocka_unit_test(degrade__healthy_and_unpinned_it_is_full_within_the_stable_time),
        cmocka_unit_test(degrade__names_are_the_words_of_the_manual),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
