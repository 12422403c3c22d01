/*
 * The library's options: rows that are sound, public fields that reach their place and nobody
 * else's, profiles, and messages that help.
 */
#include "unit.h"

#include <stdbool.h>
#include <string.h>

#include "base/ns.h"
#include "base/opt_check.h"
#include "client/options.h"
#include "holdfast.h"

static struct hf_err err;
static struct client_config config;

/* ---- the tables ---- */

static size_t size_of_section(const struct options_section *section)
{
    return section->is_endpoint ? sizeof(struct client_endpoint_config)
                                : sizeof(struct client_config) - section->offset;
}

static void options__every_row_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < options_section_count(); i++) {
        const struct options_section *section = options_section_at(i);
        if (opt_check(&section->table, size_of_section(section), &err) != HF_OK)
            fail_msg("section \"%s\": %s", section->name, err.message);
        assert_ptr_equal(options_section_find(sv_from_cstr(section->name)), section);
    }
    assert_null(options_section_find(SV("pools")));
}

static enum opt_type type_of(enum option_unit unit, bool is_size)
{
    switch (unit) {
    case OPTION_MS:
        return OPT_DURATION;
    case OPTION_PERCENT:
        return OPT_PERCENT;
    case OPTION_ENUM:
        return OPT_ENUM;
    case OPTION_BOOL:
        return OPT_BOOL;
    case OPTION_TEXT:
        return OPT_STRING;
    case OPTION_COUNT:
        break;
    }
    return is_size ? OPT_SIZE : OPT_INT;
}

static void options__every_row_has_a_public_field_of_its_kind(void **state)
{
    (void)state;
    for (size_t i = 0; i < options_section_count(); i++) {
        const struct options_section *section = options_section_at(i);
        for (size_t n = 0; n < section->table.count; n++) {
            const struct opt_row *row = &section->table.rows[n];
            const struct option_mate *mate = &section->mates[n];
            assert_int_equal(row->type, type_of(mate->unit, row->type == OPT_SIZE));
            /* "none" lies where the row lets values lie, or is the row's own "never". */
            if (mate->has_none)
                assert_in_range(mate->none, row->min, row->max);
        }
    }
}

/* Sets one public field to a value that is not its default, and looks which rows have changed. */
static void check_reach(const struct options_section *section, size_t n)
{
    const struct opt_row *row = &section->table.rows[n];
    const struct option_mate *mate = &section->mates[n];
    struct hf_options options = {0};
    struct client_config before, after;
    char *field = (char *)&options + section->public_offset + mate->offset;
    const int32_t narrow = mate->unit == OPTION_ENUM ? mate->enum_first + 1 : 7;
    /* 2.5 s is within the range of each duration. */
    const int64_t wide = mate->unit == OPTION_MS ? 2500 : 7;
    const char *text = "text";
    if (mate->unit == OPTION_TEXT)
        *(const char **)(void *)field = text;
    else if (mate->unit == OPTION_BOOL)
        *(bool *)field = true;
    else
        memcpy(field, mate->size == 8 ? (const void *)&wide : (const void *)&narrow, mate->size);
    options_defaults(&before, OPTIONS_DATABASE);
    options_defaults(&after, OPTIONS_DATABASE);
    if (options_apply(&after, &options, &err) != HF_OK)
        fail_msg("%s.%s: %s", section->name, row->key, err.message);
    for (size_t s = 0; s < options_section_count(); s++) {
        const struct options_section *other = options_section_at(s);
        size_t cursor = 0;
        const struct opt_row *changed;
        if (other->is_endpoint)
            continue;
        while ((changed = opt_diff(&other->table, (char *)&before + other->offset,
                                   (char *)&after + other->offset, &cursor)) != NULL)
            if (changed != row)
                fail_msg("%s.%s changed %s.%s", section->name, row->key, other->name, changed->key);
    }
    size_t cursor = 0;
    assert_ptr_equal(opt_diff(&section->table, (char *)&before + section->offset,
                              (char *)&after + section->offset, &cursor),
                     row);
}

static void options__every_public_field_reaches_its_option_and_no_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < options_section_count(); i++) {
        const struct options_section *section = options_section_at(i);
        for (size_t n = 0; n < section->table.count && !section->is_endpoint; n++)
            check_reach(section, n);
    }
}

/* ---- defaults, as the issue asks for them ---- */

static void options__zero_means_the_documented_defaults(void **state)
{
    (void)state;
    const struct hf_options zero = {0};
    assert_int_equal(options_for_database(&config, &zero, &err), HF_OK);
    struct breaker_config breaker;
    struct bulkhead_config bulkhead;
    struct guard_config guard, tx;
    struct budget_config budget;
    struct route_policy policy;
    options_breaker(&config, &breaker);
    options_bulkhead(&config, 0, &bulkhead);
    options_guard(&config, &config.retry, &guard);
    options_guard(&config, &config.tx_retry, &tx);
    options_policy(&config, &policy);
    assert_int_equal(breaker.failure_threshold, 5);
    assert_int_equal(breaker.success_threshold, 3);
    assert_int_equal(breaker.half_open_calls, 3);
    assert_int_equal(breaker.failure_rate_ppm, 500000);
    assert_int_equal(breaker.slow_ns, HF_SEC(5));
    assert_int_equal(breaker.open_ns, HF_SEC(1));
    assert_int_equal(bulkhead.limit, 25); /* the pool's */
    assert_int_equal(bulkhead.queue_max, 50);
    assert_int_equal(bulkhead.wait_ns_max, HF_SEC(5));
    assert_int_equal(guard.attempt_ns_max, HF_SEC(30));
    assert_int_equal(guard.call_ns, HF_SEC(30));
    assert_int_equal(guard.retry.attempts_max, 5);
    assert_int_equal(guard.retry.initial_ns, HF_MS(100));
    assert_int_equal(guard.retry.cap_ns, HF_SEC(10));
    assert_int_equal(tx.retry.attempts_max, 3);
    assert_int_equal(tx.retry.initial_ns, HF_MS(50));
    assert_int_equal(tx.retry.cap_ns, HF_SEC(1));
    assert_true(options_budget(&config.retry, &budget));
    assert_int_equal(budget.share_ppm, 200000);
    assert_int_equal(config.cache.ttl_ns, HF_SEC(60));
    assert_int_equal(config.pool.size_max, 25);
    assert_int_equal(config.pool.idle_max, 5);
    assert_int_equal(config.pool.lifetime_ns, HF_SEC(300));
    assert_int_equal(config.pool.idle_ns, HF_SEC(600));
    assert_int_equal(policy.lag_ns_max, HF_NEVER);
    assert_int_equal(guard_config_check(&tx, &err), HF_OK);
    assert_int_equal(budget_config_check(&budget, &err), HF_OK);
    assert_int_equal(bulkhead_config_check(&bulkhead, &err), HF_OK);
}

static void options__a_guard_has_the_defaults_of_other_libraries(void **state)
{
    (void)state;
    struct breaker_config breaker;
    struct bulkhead_config bulkhead;
    assert_int_equal(options_for_guard(&config, NULL, &err), HF_OK);
    options_breaker(&config, &breaker);
    options_bulkhead(&config, 0, &bulkhead);
    assert_int_equal(breaker.open_ns, HF_SEC(30));
    assert_int_equal(breaker.open_ns_max, HF_SEC(60));
    assert_int_equal(bulkhead.limit, 100);
    assert_int_equal(config.retry.attempts_max, 3);
    assert_int_equal(config.retry.cap_ns, HF_SEC(30));
}

static void options__a_guarded_call_past_its_deadline_is_slow(void **state)
{
    (void)state;
    const struct hf_guard_options options = {.deadline_ms = 200};
    assert_int_equal(options_for_guard(&config, &options, &err), HF_OK);
    assert_int_equal(config.breaker.slow_ns, HF_MS(200));
}

/* ---- none, and no limit ---- */

static void options__a_negative_number_is_none_where_that_makes_sense(void **state)
{
    (void)state;
    const struct hf_options options = {
        .start_ms = -1,
        .hold_ms = -1,
        .memory_max = -1,
        .pool = {.lifetime_ms = -1, .idle_ms = -1, .idle_max = -1, .check_after_ms = -1},
        .breaker.slow_percent = -1,
        .bulkhead = {.queue_max = -1, .execution_ms = -1},
        .retry = {.attempts_max = -1, .budget_percent = -1},
        .cache.bytes_max = -1,
        .route.lag_ms_max = -1,
        .hooks.slow_ms = -1,
    };
    struct budget_config budget;
    struct guard_config guard;
    assert_int_equal(options_for_database(&config, &options, &err), HF_OK);
    options_guard(&config, &config.retry, &guard);
    assert_int_equal(config.start_ns, 0);
    assert_int_equal(config.hold_ns, 0);
    assert_int_equal(config.pool.lifetime_ns, HF_NEVER);
    assert_int_equal(config.pool.idle_max, 0);
    assert_int_equal(config.breaker.slow_rate_ppm, 0);
    assert_int_equal(config.bulkhead.queue_max, 0);
    assert_int_equal(guard.attempt_ns_max, HF_NEVER);
    assert_int_equal(guard.retry.attempts_max, 1);
    assert_false(options_budget(&config.retry, &budget));
    assert_int_equal(config.cache.bytes_max, 0);
    assert_int_equal(config.slow_ns, HF_NEVER);
}

/* ---- what is refused, and how it is said ---- */

static void refused(const struct hf_options *options, const char *message)
{
    assert_int_equal(options_for_database(&config, options, &err), HF_RC_INVALID);
    assert_string_equal(err.message, message);
}

static void options__a_refusal_names_field_value_and_range(void **state)
{
    (void)state;
    refused(&(struct hf_options){.pool.size_max = 20000},
            "options.pool.size_max is 20000, and 1 to 10000 connections was expected");
    refused(&(struct hf_options){.pool.size_max = -1},
            "options.pool.size_max is -1, and 1 to 10000 connections was expected");
    refused(&(struct hf_options){.pool.lifetime_ms = 5},
            "options.pool.lifetime_ms is 5, and 1s to never was expected");
    refused(&(struct hf_options){.deadline_ms = INT64_MAX},
            "options.deadline_ms is 9223372036854775807, and 1ms to 1d was expected");
    refused(&(struct hf_options){.retry.budget_percent = 101},
            "options.retry.budget_percent is 101, and 0% to 100% was expected");
    refused(&(struct hf_options){.route.balance = 3},
            "options.route.balance is 3, and 0 to 2 was expected");
    refused(&(struct hf_options){.route.consistency = -1},
            "options.route.consistency is -1, and 0 to 4 was expected");
    refused(&(struct hf_options){.breaker.trip = 3},
            "options.breaker.trip is 3, and 0 to 2 was expected");
    refused(&(struct hf_options){.profile = 9}, "options.profile is 9, which is no profile");
    refused(&(struct hf_options){.endpoint_count = 1},
            "options.endpoint_count is 1, and options.endpoints is NULL");
    refused(&(struct hf_options){.pool.size_max = 3, .pool.size_min = 4},
            "options.pool.size_min (4) is above options.pool.size_max (3)");
    refused(&(struct hf_options){.retry.cap_ms = 50},
            "options.retry.initial (100ms) is above options.retry.cap (50ms)");
    const struct hf_endpoint_options endpoints[] = {{.name = "db1:5432"},
                                                    {.name = "db2:5432", .weight = 1001}};
    refused(&(struct hf_options){.endpoints = endpoints, .endpoint_count = 2},
            "options.endpoints[1].weight is 1001, and 1 to 1000 was expected");
}

static void options__texts_that_do_not_fit_are_refused_by_name(void **state)
{
    (void)state;
    char text[300];
    memset(text, 'z', sizeof text);
    text[sizeof text - 1] = '\0';
    const struct hf_options zone = {.route.zone = text};
    assert_int_equal(options_for_database(&config, &zone, &err), HF_RC_INVALID);
    assert_non_null(strstr(err.message, "options.route.zone"));
    const struct hf_endpoint_options endpoint = {.name = text};
    const struct hf_options named = {.endpoints = &endpoint, .endpoint_count = 1};
    assert_int_equal(options_for_database(&config, &named, &err), HF_RC_INVALID);
    assert_non_null(strstr(err.message, "options.endpoints[0].name"));
}

static void options__a_guards_refusal_names_its_own_field(void **state)
{
    (void)state;
    const struct hf_guard_options options = {.bulkhead.queue_max = 1000001};
    assert_int_equal(options_for_guard(&config, &options, &err), HF_RC_INVALID);
    assert_string_equal(err.message, "options.bulkhead.queue_max is 1000001, and 0 to 1000000 "
                                     "calls was expected");
}

static void options__a_call_says_what_is_wrong_with_it(void **state)
{
    (void)state;
    assert_int_equal(options_check_call(NULL, &err), HF_OK);
    assert_int_equal(options_check_call(&(struct hf_call_options){.priority = 3}, &err), HF_OK);
    assert_int_equal(options_check_call(&(struct hf_call_options){.priority = 4}, &err),
                     HF_RC_INVALID);
    assert_string_equal(err.message, "options.priority is 4, and 0 to 3 was expected");
    assert_int_equal(options_check_call(&(struct hf_call_options){.deadline_ms = -5}, &err),
                     HF_RC_INVALID);
    assert_int_equal(options_check_call(&(struct hf_call_options){.intent = 3}, &err),
                     HF_RC_INVALID);
}

/* ---- profiles ---- */

static void options__every_profile_passes_the_checks_for_both_uses(void **state)
{
    (void)state;
    int count = 0;
    for (; options_profile_name(count) != NULL; count++) {
        const struct hf_options database = {.profile = count};
        const struct hf_guard_options guard = {.profile = count};
        assert_int_equal(options_for_database(&config, &database, &err), HF_OK);
        assert_int_equal(options_for_guard(&config, &guard, &err), HF_OK);
        assert_int_equal(options_profile_find(sv_from_cstr(options_profile_name(count))), count);
    }
    assert_int_equal(count, HF_PROFILE_BATCH + 1);
    assert_int_equal(options_profile_find(SV("fast")), -1);
}

static void options__a_field_goes_before_its_profile(void **state)
{
    (void)state;
    const struct hf_options options = {.profile = HF_PROFILE_API, .deadline_ms = 7000};
    assert_int_equal(options_for_database(&config, &options, &err), HF_OK);
    assert_int_equal(config.deadline_ns, HF_SEC(7));
    assert_int_equal(config.hold_ns, HF_SEC(3)); /* the profile's */
}

static void options__the_table_shows_what_a_profile_sets(void **state)
{
    (void)state;
    const struct options_section *breaker = options_section_find(SV("breaker"));
    const struct opt_row *open = opt_find(&breaker->table, SV("open"));
    assert_string_equal(options_text(OPTIONS_DATABASE, breaker, open, HF_PROFILE_DEFAULT), "1s");
    assert_string_equal(options_text(OPTIONS_GUARD, breaker, open, HF_PROFILE_DEFAULT), "30s");
    assert_string_equal(options_text(OPTIONS_GUARD, breaker, open, HF_PROFILE_AGGRESSIVE), "500ms");
}

/* ---- endpoints ---- */

static void options__endpoints_are_told_apart_by_name(void **state)
{
    (void)state;
    const struct hf_endpoint_options endpoints[] = {
        {.name = "db1:5432", .zone = "a", .priority = 1},
        {.name = "db2:5432", .weight = 10, .concurrent_max = 7},
        {.name = "db1:5432", .weight = 3},
    };
    const struct hf_options options = {.endpoints = endpoints, .endpoint_count = 3};
    struct bulkhead_config bulkhead;
    assert_int_equal(options_for_database(&config, &options, &err), HF_OK);
    assert_int_equal(config.endpoint_count, 2);
    assert_string_equal(config.endpoints[0].zone, "a");
    assert_int_equal(config.endpoints[0].priority, 1);
    assert_int_equal(config.endpoints[0].weight, 3);
    assert_int_equal(config.endpoints[1].weight, 10);
    options_bulkhead(&config, config.endpoints[1].concurrent_max, &bulkhead);
    assert_int_equal(bulkhead.limit, 7);
    options_bulkhead(&config, 1000, &bulkhead);
    assert_int_equal(bulkhead.limit, 25); /* never more than there are connections */
}

static void options__only_so_many_servers_fit(void **state)
{
    (void)state;
    options_defaults(&config, OPTIONS_DATABASE);
    char name[8] = "db_";
    for (int i = 0; i < SNAPSHOT_ENDPOINTS_MAX; i++) {
        name[2] = (char)('0' + i);
        assert_non_null(options_endpoint(&config, sv_from_cstr(name), &err));
    }
    assert_null(options_endpoint(&config, SV("one more"), &err));
    assert_int_equal(err.rc, HF_RC_LIMIT);
}

/* ---- the deciders' view ---- */

static void options__each_way_to_trip_switches_the_other_off(void **state)
{
    (void)state;
    struct breaker_config breaker;
    struct hf_options options = {.breaker.trip = HF_TRIP_RATE};
    assert_int_equal(options_for_database(&config, &options, &err), HF_OK);
    options_breaker(&config, &breaker);
    assert_int_equal(breaker.failure_threshold, 0);
    assert_int_equal(breaker.failure_rate_ppm, 500000);
    options.breaker.trip = HF_TRIP_CONSECUTIVE;
    assert_int_equal(options_for_database(&config, &options, &err), HF_OK);
    options_breaker(&config, &breaker);
    assert_int_equal(breaker.failure_threshold, 5);
    assert_int_equal(breaker.failure_rate_ppm, 0);
}

static void options__more_attempts_mean_more_retries_of_what_heals(void **state)
{
    (void)state;
    const struct hf_options options = {.retry.attempts_max = 9, .retry.cap_ms = 500};
    struct guard_config guard;
    assert_int_equal(options_for_database(&config, &options, &err), HF_OK);
    options_guard(&config, &config.retry, &guard);
    assert_int_equal(guard.retry.rules[OUTCOME_KIND_TRANSIENT].retries_max, 8);
    assert_int_equal(guard.retry.rules[OUTCOME_KIND_OVERLOAD].retries_max, 1);
    assert_int_equal(guard.retry.rules[OUTCOME_KIND_OVERLOAD].initial_ns, HF_MS(500));
    assert_int_equal(guard_config_check(&guard, &err), HF_OK);
}

static void options__an_adaptive_limit_stays_below_the_configured_one(void **state)
{
    (void)state;
    const struct hf_options options = {.bulkhead = {.concurrent_max = 3, .is_adaptive = true}};
    struct bulkhead_config bulkhead;
    assert_int_equal(options_for_database(&config, &options, &err), HF_OK);
    options_bulkhead(&config, 0, &bulkhead);
    assert_int_equal(bulkhead.adapt.limit_max, 3);
    assert_int_equal(bulkhead_config_check(&bulkhead, &err), HF_OK);
}

static void options__samples_taken_seldom_are_good_for_longer(void **state)
{
    (void)state;
    const struct hf_options options = {.route.interval_ms = 2000};
    struct route_policy policy;
    assert_int_equal(options_for_database(&config, &options, &err), HF_OK);
    options_policy(&config, &policy);
    assert_int_equal(policy.sample_ns_max, HF_SEC(20));
}

static void options__wiping_leaves_nothing_of_the_connection_string(void **state)
{
    (void)state;
    const struct hf_options options = {.conninfo = "host=db1 password=s3cret"};
    assert_int_equal(options_for_database(&config, &options, &err), HF_OK);
    assert_string_equal(config.conninfo, options.conninfo);
    options_wipe(&config);
    for (size_t i = 0; i < sizeof config.conninfo; i++)
        assert_int_equal(config.conninfo[i], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options__every_row_is_sound),
        cmocka_unit_test(options__every_row_has_a_public_field_of_its_kind),
        cmocka_unit_test(options__every_public_field_reaches_its_option_and_no_other),
        cmocka_unit_test(options__zero_means_the_documented_defaults),
        cmocka_unit_test(options__a_guard_has_the_defaults_of_other_libraries),
        cmocka_unit_test(options__a_guarded_call_past_its_deadline_is_slow),
        cmocka_unit_test(options__a_negative_number_is_none_where_that_makes_sense),
        cmocka_unit_test(options__a_refusal_names_field_value_and_range),
        cmocka_unit_test(options__texts_that_do_not_fit_are_refused_by_name),
        cmocka_unit_test(options__a_guards_refusal_names_its_own_field),
        cmocka_unit_test(options__a_call_says_what_is_wrong_with_it),
        cmocka_unit_test(options__every_profile_passes_the_checks_for_both_uses),
        cmocka_unit_test(options__a_field_goes_before_its_profile),
        cmocka_unit_test(options__the_table_shows_what_a_profile_sets),
        cmocka_unit_test(options__endpoints_are_told_apart_by_name),
        cmocka_unit_test(options__only_so_many_servers_fit),
        cmocka_unit_test(options__each_way_to_trip_switches_the_other_off),
        cmocka_unit_test(options__more_attempts_mean_more_retries_of_what_heals),
        cmocka_unit_test(options__an_adaptive_limit_stays_below_the_configured_one),
        cmocka_unit_test(options__samples_taken_seldom_are_good_for_longer),
        cmocka_unit_test(options__wiping_leaves_nothing_of_the_connection_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
