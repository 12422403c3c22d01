/*
 * The retry policy: what it refuses, when it lets a retry start, and the comparison of jitters that
 * made full jitter the default.
 */
#include "unit.h"

#include <stdbool.h>
#include <string.h>

#include "base/ns.h"
#include "base/rng.h"
#include "core/retry.h"
#include "dies.h"

static struct hf_err err;

static struct retry_ask ask_of(enum outcome_kind kind)
{
    return (struct retry_ask){
        .now_ns = HF_SEC(1000),
        .deadline_ns = HF_NEVER,
        .kind = kind,
        .may = OUTCOME_MAY_ATTEMPT,
        .server_delay_ns = -1,
    };
}

/* A policy that retries transient failures for ever, nearly. */
static struct retry_config patient(enum retry_jitter jitter)
{
    struct retry_config config = retry_config_default();
    config.attempts_max = RETRY_ATTEMPTS_MAX;
    config.jitter = jitter;
    config.initial_ns = HF_MS(100);
    config.cap_ns = HF_SEC(10);
    config.rules[OUTCOME_KIND_TRANSIENT] = (struct retry_rule){.retries_max = RETRY_ATTEMPTS_MAX};
    return config;
}

/* ---- configuration ---- */

static void retry__the_ready_policies_pass_the_check(void **state)
{
    (void)state;
    const struct {
        struct retry_config config;
        uint32_t attempts;
        int64_t initial_ns, cap_ns;
    } policies[] = {
        {retry_config_default(), 3, HF_MS(100), HF_SEC(30)},
        {retry_config_database(), 5, HF_MS(100), HF_SEC(10)},
        {retry_config_transaction(), 3, HF_MS(50), HF_SEC(1)},
        {retry_config_connect(), 30, HF_MS(50), HF_SEC(2)},
    };
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
        const struct retry_config *config = &policies[i].config;
        assert_int_equal(retry_config_check(config, &err), HF_OK);
        assert_int_equal(config->attempts_max, policies[i].attempts);
        assert_int_equal(config->initial_ns, policies[i].initial_ns);
        assert_int_equal(config->cap_ns, policies[i].cap_ns);
        assert_int_equal(config->jitter, RETRY_JITTER_FULL);
        assert_int_equal(config->factor_ppm, 2000000);
        assert_int_equal(config->rules[OUTCOME_KIND_LOCAL].retries_max, 0);
        assert_int_equal(config->rules[OUTCOME_KIND_NONE].retries_max, 0);
        assert_true(config->rules[OUTCOME_KIND_TRANSIENT].retries_max == config->attempts_max - 1);
    }
}

static void retry__the_smallest_and_the_largest_values_are_accepted(void **state)
{
    (void)state;
    struct retry_config config = retry_config_default();
    config.attempts_max = 1;
    config.cap_ns = config.initial_ns = 1;
    config.factor_ppm = 1000000;
    config.rules[OUTCOME_KIND_OVERLOAD].initial_ns = 1;
    assert_int_equal(retry_config_check(&config, &err), HF_OK);
    config.attempts_max = RETRY_ATTEMPTS_MAX;
    config.cap_ns = config.initial_ns = HF_SEC(86400);
    config.factor_ppm = 100000000;
    config.rules[OUTCOME_KIND_OVERLOAD].initial_ns = HF_SEC(86400);
    assert_int_equal(retry_config_check(&config, &err), HF_OK);
}

static void retry__a_configuration_out_of_range_is_refused(void **state)
{
    (void)state;
    struct retry_config good = retry_config_default(), bad[11];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        bad[i] = good;
    bad[0].attempts_max = 0;
    bad[1].attempts_max = RETRY_ATTEMPTS_MAX + 1;
    bad[2].jitter = RETRY_JITTERS;
    bad[3].initial_ns = 0;
    bad[4].initial_ns = good.cap_ns + 1;
    bad[5].cap_ns = HF_SEC(86400) + 1;
    bad[6].cap_ns = 0;
    bad[7].factor_ppm = 999999;
    bad[8].factor_ppm = 100000001;
    bad[9].rules[OUTCOME_KIND_ROLE].initial_ns = good.cap_ns + 1;
    bad[10].rules[OUTCOME_KIND_ROLE].retries_at_once = 3;
    static const char *const says[] = {"attempts", "attempts", "jitter",  "first",
                                       "first",    "a day",    "a day",   "growth",
                                       "growth",   "\"role\"", "\"role\""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(retry_config_check(&bad[i], &err), HF_RC_INVALID);
        assert_non_null(strstr(err.message, says[i]));
    }
    bad[9].rules[OUTCOME_KIND_ROLE].initial_ns = -1;
    assert_int_equal(retry_config_check(&bad[9], &err), HF_RC_INVALID);
}

/* ---- verdicts ---- */

static void retry__the_first_reason_in_order_is_the_verdict(void **state)
{
    (void)state;
    const struct retry_config config = retry_config_default();
    struct retry_ask ask = ask_of(OUTCOME_KIND_LOCAL);
    struct retry used = {.retries = 2};
    int64_t at_ns = 0;
    /* Everything is wrong; one thing after the other is put right. */
    ask.is_cancelled = true;
    ask.may = OUTCOME_MAY_RESOLVE;
    ask.deadline_ns = ask.now_ns;
    used.of_kind[OUTCOME_KIND_TRANSIENT] = 2;
    assert_int_equal(retry_next(&config, &used, &ask, &at_ns), RETRY_CANCELLED);
    assert_int_equal(at_ns, HF_NEVER);
    ask.is_cancelled = false;
    assert_int_equal(retry_next(&config, &used, &ask, &at_ns), RETRY_NOT_REPEATABLE);
    ask.may = OUTCOME_MAY_NOTHING;
    assert_int_equal(retry_next(&config, &used, &ask, &at_ns), RETRY_NOT_REPEATABLE);
    ask.may = OUTCOME_MAY_TRANSACTION;
    assert_int_equal(retry_next(&config, &used, &ask, &at_ns), RETRY_KIND_EXCLUDED);
    ask.kind = OUTCOME_KIND_TRANSIENT;
    assert_int_equal(retry_next(&config, &used, &ask, &at_ns), RETRY_KIND_SPENT);
    used.of_kind[OUTCOME_KIND_TRANSIENT] = 1;
    assert_int_equal(retry_next(&config, &used, &ask, &at_ns), RETRY_ATTEMPTS_SPENT);
    used.retries = 1;
    assert_int_equal(retry_next(&config, &used, &ask, &at_ns), RETRY_PAST_DEADLINE);
    assert_int_equal(at_ns, HF_NEVER);
    assert_int_equal(used.retries, 1);
    ask.deadline_ns = ask.now_ns + 1; /* the random number 0 waits for nothing */
    assert_int_equal(retry_next(&config, &used, &ask, &at_ns), RETRY_AGAIN);
    assert_int_equal(at_ns, ask.now_ns);
    assert_int_equal(used.retries, 2);
}

static void retry__a_call_makes_no_more_attempts_than_its_policy_says(void **state)
{
    (void)state;
    const struct retry_config policies[] = {retry_config_default(), retry_config_database(),
                                            retry_config_transaction(), retry_config_connect()};
    static const enum outcome_kind kinds[] = {OUTCOME_KIND_QUERY,      OUTCOME_KIND_TRANSIENT,
                                              OUTCOME_KIND_PERSISTENT, OUTCOME_KIND_SYSTEM,
                                              OUTCOME_KIND_CONTENTION, OUTCOME_KIND_OVERLOAD,
                                              OUTCOME_KIND_ROLE};
    struct rng rng;
    rng_init(&rng, 3);
    for (int call = 0; call < 2000; call++) {
        const struct retry_config *config = &policies[call % 4];
        struct retry retry = {0};
        uint32_t attempts = 1, of_kind[OUTCOME_KINDS] = {0};
        for (int i = 0; i < 100; i++) {
            struct retry_ask ask = ask_of(kinds[rng_below(&rng, 7)]);
            ask.random = rng_u64(&rng);
            int64_t at_ns;
            if (retry_next(config, &retry, &ask, &at_ns) != RETRY_AGAIN)
                continue;
            ++attempts;
            ++of_kind[ask.kind];
        }
        assert_true(attempts <= config->attempts_max);
        for (int i = 0; i < OUTCOME_KINDS; i++)
            assert_true(of_kind[i] <= config->rules[i].retries_max);
    }
}

static void retry__one_attempt_means_no_retry(void **state)
{
    (void)state;
    struct retry_config config = retry_config_default();
    config.attempts_max = 1;
    struct retry retry = {0};
    struct retry_ask ask = ask_of(OUTCOME_KIND_TRANSIENT);
    int64_t at_ns;
    assert_int_equal(retry_next(&config, &retry, &ask, &at_ns), RETRY_ATTEMPTS_SPENT);
}

static void retry__a_stale_statement_runs_again_once_and_at_once(void **state)
{
    (void)state;
    const struct retry_config config = retry_config_database();
    struct retry retry = {0};
    struct retry_ask ask = ask_of(OUTCOME_KIND_QUERY);
    ask.random = UINT64_MAX;
    int64_t at_ns;
    assert_int_equal(retry_next(&config, &retry, &ask, &at_ns), RETRY_AGAIN);
    assert_int_equal(at_ns, ask.now_ns);
    assert_int_equal(retry_next(&config, &retry, &ask, &at_ns), RETRY_KIND_SPENT);
    /* It was no wait: the next one has the first ceiling. */
    ask.kind = OUTCOME_KIND_TRANSIENT;
    ask.random = HF_MS(100);
    assert_int_equal(retry_next(&config, &retry, &ask, &at_ns), RETRY_AGAIN);
    assert_int_equal(at_ns, ask.now_ns + HF_MS(100));
}

/* ---- times ---- */

static void retry__no_retry_starts_at_the_deadline_or_later(void **state)
{
    (void)state;
    const struct retry_config config = patient(RETRY_JITTER_FULL);
    struct rng rng;
    rng_init(&rng, 4);
    int again = 0, past = 0;
    for (int i = 0; i < 20000; i++) {
        struct retry retry = {.waits = (uint32_t)rng_below(&rng, 12)};
        struct retry_ask ask = ask_of(OUTCOME_KIND_TRANSIENT);
        ask.deadline_ns = ask.now_ns + rng_range_ns(&rng, 0, HF_SEC(10));
        ask.server_delay_ns = rng_below(&rng, 2) ? rng_range_ns(&rng, 0, HF_SEC(3)) : 0;
        ask.random = rng_u64(&rng);
        int64_t at_ns;
        if (retry_next(&config, &retry, &ask, &at_ns) == RETRY_AGAIN) {
            ++again;
            assert_true(at_ns < ask.deadline_ns);
            assert_true(at_ns >= ask.now_ns + ask.server_delay_ns);
        } else {
            ++past;
        }
    }
    assert_true(again > 1000 && past > 1000);
}

static void retry__the_server_is_never_asked_before_it_said(void **state)
{
    (void)state;
    const struct retry_config config = patient(RETRY_JITTER_NONE);
    struct retry retry = {0};
    struct retry_ask ask = ask_of(OUTCOME_KIND_TRANSIENT);
    ask.server_delay_ns = HF_SEC(7);
    int64_t at_ns;
    retry_next(&config, &retry, &ask, &at_ns);
    assert_int_equal(at_ns, ask.now_ns + HF_SEC(7) + HF_MS(100)); /* jitter stands on top */
    ask.server_delay_ns = HF_NEVER;
    assert_int_equal(retry_next(&config, &retry, &ask, &at_ns), RETRY_PAST_DEADLINE);
}

static void retry__overload_begins_with_a_longer_wait(void **state)
{
    (void)state;
    struct retry_config config = retry_config_database();
    config.jitter = RETRY_JITTER_NONE;
    struct retry retry = {0};
    struct retry_ask ask = ask_of(OUTCOME_KIND_OVERLOAD);
    int64_t at_ns;
    retry_next(&config, &retry, &ask, &at_ns);
    assert_int_equal(at_ns - ask.now_ns, HF_SEC(1));
    ask.kind = OUTCOME_KIND_TRANSIENT; /* another kind goes on growing from its own beginning */
    retry_next(&config, &retry, &ask, &at_ns);
    assert_int_equal(at_ns - ask.now_ns, HF_MS(200));
}

static void retry__the_ceiling_doubles_up_to_the_cap(void **state)
{
    (void)state;
    const struct retry_config config = patient(RETRY_JITTER_NONE);
    static const int64_t ms[] = {100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000, 10000};
    struct retry retry = {0};
    for (size_t i = 0; i < sizeof ms / sizeof ms[0]; i++) {
        struct retry_ask ask = ask_of(OUTCOME_KIND_TRANSIENT);
        int64_t at_ns;
        assert_int_equal(retry_next(&config, &retry, &ask, &at_ns), RETRY_AGAIN);
        assert_int_equal(at_ns - ask.now_ns, HF_MS(ms[i]));
    }
}

static void retry__the_ceiling_grows_by_any_factor_to_the_nanosecond(void **state)
{
    (void)state;
    struct retry_config config = patient(RETRY_JITTER_NONE);
    config.initial_ns = 1234568;
    config.factor_ppm = 1500000;
    struct retry retry = {.waits = 2};
    struct retry_ask ask = ask_of(OUTCOME_KIND_TRANSIENT);
    int64_t at_ns;
    retry_next(&config, &retry, &ask, &at_ns);
    assert_int_equal(at_ns - ask.now_ns, 1234568 / 2 * 3 / 2 * 3);
}

static void retry__nothing_overflows_at_the_edges(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 6);
    for (int i = 0; i < 4000; i++) {
        struct retry_config config = patient((enum retry_jitter)(i % RETRY_JITTERS));
        config.cap_ns = HF_SEC(86400);
        config.initial_ns = i % 3 == 0 ? 1 : config.cap_ns - (int64_t)rng_below(&rng, 5);
        config.factor_ppm = i % 2 == 0 ? 100000000 : 1000000 + (int64_t)rng_below(&rng, 3);
        assert_int_equal(retry_config_check(&config, &err), HF_OK);
        struct retry retry = {.waits = (uint32_t)rng_below(&rng, 1000),
                              .waited_ns = (int64_t)rng_below(&rng, (uint64_t)config.cap_ns)};
        struct retry_ask ask = ask_of(OUTCOME_KIND_TRANSIENT);
        ask.now_ns = HF_NEVER - HF_SEC(86400 * (int64_t)rng_below(&rng, 3)) - 1;
        ask.random = rng_u64(&rng);
        int64_t at_ns;
        enum retry_verdict verdict = retry_next(&config, &retry, &ask, &at_ns);
        if (verdict == RETRY_AGAIN)
            assert_true(at_ns >= ask.now_ns && at_ns - ask.now_ns <= config.cap_ns);
        else
            assert_int_equal(verdict, RETRY_PAST_DEADLINE);
    }
}

/* ---- distributions ---- */

struct spread {
    double least, mean, most; /* in shares of the ceiling */
};

static struct spread spread_of(enum retry_jitter jitter, uint32_t waits, int64_t waited_ns,
                               int64_t ceiling_ns)
{
    const struct retry_config config = patient(jitter);
    struct rng rng;
    rng_init(&rng, 7);
    enum {
        DRAWS = 40000
    };
    struct spread spread = {.least = 1e9};
    for (int i = 0; i < DRAWS; i++) {
        struct retry retry = {.waits = waits, .waited_ns = waited_ns};
        struct retry_ask ask = ask_of(OUTCOME_KIND_TRANSIENT);
        ask.random = rng_u64(&rng);
        int64_t at_ns;
        retry_next(&config, &retry, &ask, &at_ns);
        double share = (double)(at_ns - ask.now_ns) / (double)ceiling_ns;
        spread.least = share < spread.least ? share : spread.least;
        spread.most = share > spread.most ? share : spread.most;
        spread.mean += share / DRAWS;
    }
    return spread;
}

static bool is_near(double value, double expected)
{
    return value > expected - 0.01 && value < expected + 0.01;
}

static void retry__each_jitter_is_spread_as_its_formula_says(void **state)
{
    (void)state;
    static const struct {
        enum retry_jitter jitter;
        uint32_t waits;
        int64_t waited_ns;
        int64_t ceiling_ns;
        struct spread expected;
    } cases[] = {
        {RETRY_JITTER_FULL, 0, 0, HF_MS(100), {0, 0.5, 1}},
        {RETRY_JITTER_FULL, 3, 0, HF_MS(800), {0, 0.5, 1}},
        {RETRY_JITTER_FULL, 30, 0, HF_SEC(10), {0, 0.5, 1}},
        {RETRY_JITTER_EQUAL, 3, 0, HF_MS(800), {0.5, 0.75, 1}},
        {RETRY_JITTER_EQUAL, 30, 0, HF_SEC(10), {0.5, 0.75, 1}},
        {RETRY_JITTER_NONE, 3, 0, HF_MS(800), {1, 1, 1}},
        /* U(100 ms, 3 * last): after nothing, after 200 ms, and cut at the cap of 10 s. */
        {RETRY_JITTER_DECORRELATED, 0, 0, HF_MS(300), {0.333, 0.667, 1}},
        {RETRY_JITTER_DECORRELATED, 1, HF_MS(200), HF_MS(600), {0.167, 0.583, 1}},
        {RETRY_JITTER_DECORRELATED, 9, HF_SEC(5), HF_SEC(10), {0.01, 0.671, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct spread got =
            spread_of(cases[i].jitter, cases[i].waits, cases[i].waited_ns, cases[i].ceiling_ns);
        assert_true(is_near(got.least, cases[i].expected.least));
        assert_true(is_near(got.mean, cases[i].expected.mean));
        assert_true(is_near(got.most, cases[i].expected.most));
        assert_true(got.most <= 1);
    }
}

static void retry__equal_chances_give_equal_waits(void **state)
{
    (void)state;
    const struct retry_config config = patient(RETRY_JITTER_FULL);
    struct retry_ask ask = ask_of(OUTCOME_KIND_TRANSIENT);
    int64_t first, second;
    struct retry a = {0}, b = {0};
    ask.random = 12345678901234567;
    retry_next(&config, &a, &ask, &first);
    retry_next(&config, &b, &ask, &second);
    assert_int_equal(first, second);
    assert_memory_equal(&a, &b, sizeof a);
}

static void retry__the_database_policy_lasts_as_long_as_its_header_says(void **state)
{
    (void)state;
    const struct retry_config config = retry_config_database();
    struct rng rng;
    rng_init(&rng, 8);
    double mean_s = 0, most_s = 0;
    for (int call = 0; call < 5000; call++) {
        struct retry retry = {0};
        struct retry_ask ask = ask_of(OUTCOME_KIND_TRANSIENT);
        const int64_t began_ns = ask.now_ns;
        int64_t at_ns;
        for (;;) {
            ask.random = rng_u64(&rng);
            if (retry_next(&config, &retry, &ask, &at_ns) != RETRY_AGAIN)
                break;
            ask.now_ns = at_ns;
        }
        double lasted_s = (double)(ask.now_ns - began_ns) / 1e9;
        mean_s += lasted_s / 5000;
        most_s = lasted_s > most_s ? lasted_s : most_s;
    }
    assert_true(mean_s > 0.73 && mean_s < 0.77);
    assert_true(most_s <= 1.5);
}

/* ---- a crowd ---- */

/*
 * The model behind "Exponential Backoff And Jitter" (AWS, 2015): a hundred clients each want to
 * write one row under optimistic locking. A client reads, then writes; the write is refused if
 * another one was made since its read. The network takes 10 ms, 2 ms more or less. Refused writers
 * wait by the policy. What counts is how long until all are done, and how many writes it took.
 */
enum {
    CROWD = 100,
    RUNS = 20,
};

struct crowd_client {
    struct retry retry;
    int64_t at_ns;
    uint32_t version; /* read, when it waits to write */
    bool is_writing, is_done;
};

struct work {
    double ms, calls;
};

static int64_t network_ns(struct rng *rng)
{
    /* Roughly normal, by the sum of four: the tails of the real one do not matter here. */
    int64_t sum = 0;
    for (int i = 0; i < 4; i++)
        sum += rng_range_ns(rng, 0, HF_US(3464)) - HF_US(1732);
    return HF_MS(10) + sum;
}

static struct crowd_client *first_of(struct crowd_client *crowd)
{
    struct crowd_client *first = NULL;
    for (int i = 0; i < CROWD; i++)
        if (!crowd[i].is_done && (first == NULL || crowd[i].at_ns < first->at_ns))
            first = &crowd[i];
    return first;
}

static struct work crowd_run(const struct retry_config *config, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed);
    static struct crowd_client crowd[CROWD];
    memset(crowd, 0, sizeof crowd);
    for (int i = 0; i < CROWD; i++)
        crowd[i].at_ns = network_ns(&rng);
    struct crowd_client *client;
    struct work work = {0};
    uint32_t version = 0;
    int64_t now_ns = 0;
    while ((client = first_of(crowd)) != NULL) {
        now_ns = client->at_ns;
        if (!client->is_writing) {
            client->version = version;
            client->is_writing = true;
            client->at_ns = now_ns + network_ns(&rng);
            continue;
        }
        ++work.calls;
        if (client->version == version) {
            ++version;
            client->is_done = true;
            continue;
        }
        struct retry_ask ask = ask_of(OUTCOME_KIND_TRANSIENT);
        ask.now_ns = now_ns;
        ask.random = rng_u64(&rng);
        int64_t at_ns;
        assert_int_equal(retry_next(config, &client->retry, &ask, &at_ns), RETRY_AGAIN);
        client->is_writing = false;
        client->at_ns = at_ns + network_ns(&rng);
    }
    work.ms = (double)now_ns / 1e6;
    return work;
}

static struct work crowd_mean(enum retry_jitter jitter, int64_t factor_ppm)
{
    struct retry_config config = patient(jitter);
    config.initial_ns = HF_MS(5);
    config.cap_ns = HF_SEC(2);
    config.factor_ppm = factor_ppm;
    struct work mean = {0};
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        struct work work = crowd_run(&config, seed);
        mean.ms += work.ms / RUNS;
        mean.calls += work.calls / RUNS;
    }
    return mean;
}

static void retry__jitter_spares_a_crowd_most_of_its_work(void **state)
{
    (void)state;
    struct work constant = crowd_mean(RETRY_JITTER_NONE, 1000000);
    struct work none = crowd_mean(RETRY_JITTER_NONE, 2000000);
    struct work equal = crowd_mean(RETRY_JITTER_EQUAL, 2000000);
    struct work full = crowd_mean(RETRY_JITTER_FULL, 2000000);
    struct work decorrelated = crowd_mean(RETRY_JITTER_DECORRELATED, 2000000);
    print_message("100 clients, ms and calls: constant %.0f %.0f, exponential %.0f %.0f, "
                  "equal %.0f %.0f, full %.0f %.0f, decorrelated %.0f %.0f\n",
                  constant.ms, constant.calls, none.ms, none.calls, equal.ms, equal.calls, full.ms,
                  full.calls, decorrelated.ms, decorrelated.calls);
    /* The order of the article, with room for another seed. */
    assert_true(full.calls < constant.calls / 2);
    assert_true(full.calls < none.calls / 1.5);
    assert_true(full.ms < none.ms / 2);
    assert_true(full.ms < equal.ms);
    assert_true(full.calls < decorrelated.calls);
}

/* ---- names ---- */

static void retry__verdicts_and_jitters_have_names(void **state)
{
    (void)state;
    assert_string_equal(retry_verdict_name(RETRY_AGAIN), "again");
    assert_string_equal(retry_verdict_name(RETRY_PAST_DEADLINE), "past_deadline");
    assert_string_equal(retry_jitter_name(RETRY_JITTER_FULL), "full");
    assert_string_equal(retry_jitter_name(RETRY_JITTER_NONE), "none");
}

static void ask_unknown_kind(void *argument)
{
    const struct retry_config *config = argument;
    struct retry retry = {0};
    struct retry_ask ask = ask_of(OUTCOME_KINDS);
    int64_t at_ns;
    retry_next(config, &retry, &ask, &at_ns);
}

static void retry__a_kind_outside_of_the_enumeration_is_a_bug(void **state)
{
    (void)state;
    struct retry_config config = retry_config_default();
    assert_true(dies(ask_unknown_kind, &config));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retry__the_ready_policies_pass_the_check),
        cmocka_unit_test(retry__the_smallest_and_the_largest_values_are_accepted),
        cmocka_unit_test(retry__a_configuration_out_of_range_is_refused),
        cmocka_unit_test(retry__the_first_reason_in_order_is_the_verdict),
        cmocka_unit_test(retry__a_call_makes_no_more_attempts_than_its_policy_says),
        cmocka_unit_test(retry__one_attempt_means_no_retry),
        cmocka_unit_test(retry__a_stale_statement_runs_again_once_and_at_once),
        cmocka_unit_test(retry__no_retry_starts_at_the_deadline_or_later),
        cmocka_unit_test(retry__the_server_is_never_asked_before_it_said),
        cmocka_unit_test(retry__overload_begins_with_a_longer_wait),
        cmocka_unit_test(retry__the_ceiling_doubles_up_to_the_cap),
        cmocka_unit_test(retry__the_ceiling_grows_by_any_factor_to_the_nanosecond),
        cmocka_unit_test(retry__nothing_overflows_at_the_edges),
        cmocka_unit_test(retry__each_jitter_is_spread_as_its_formula_says),
        cmocka_unit_test(retry__equal_chances_give_equal_waits),
        cmocka_unit_test(retry__the_database_policy_lasts_as_long_as_its_header_says),
        cmocka_unit_test(retry__jitter_spares_a_crowd_most_of_its_work),
        cmocka_unit_test(retry__verdicts_and_jitters_have_names),
        cmocka_unit_test(retry__a_kind_outside_of_the_enumeration_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
