#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "proxy/auth_cache.h"

#define SECOND HF_SEC(1)
#define TTL    (9 * SECOND)
#define STALE  (60 * SECOND)
#define START  (1000 * SECOND)

static const struct auth_place place = {
    .entry = "app", .dbname = "postgres", .user = "asker", .query = "SELECT $1"};
static const struct auth_place elsewhere = {
    .entry = "app", .dbname = "other", .user = "asker", .query = "SELECT $1"};

struct fixture {
    struct mem mem;
    struct auth_cache *cache;
    struct auth_found found;
    struct hf_err err;
    int64_t now_ns;
};

static int setup(void **state)
{
    static struct fixture fixture;
    static const struct auth_times times = {.ttl_ns = TTL, .stale_ns = STALE};
    memset(&fixture, 0, sizeof fixture);
    mem_init(&fixture.mem, 0);
    fixture.now_ns = START;
    assert_int_equal(auth_cache_new(&fixture.cache, &times, 1, &fixture.mem, &fixture.err), HF_OK);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    auth_secret_drop(fixture->found.secret);
    auth_cache_free(fixture->cache);
    mem_deinit(&fixture->mem);
    return 0;
}

static enum auth_answer get_at(struct fixture *fixture, const struct auth_place *at,
                               const char *user, int64_t seen_ns)
{
    auth_secret_drop(fixture->found.secret);
    const struct auth_wish wish = {
        .place = at, .user = sv_from_cstr(user), .worker = 3, .asked_ns = seen_ns};
    return auth_cache_get(fixture->cache, &wish, fixture->now_ns, &fixture->found, &fixture->err);
}

static enum auth_answer get(struct fixture *fixture, const char *user)
{
    return get_at(fixture, &place, user, 0);
}

/* The next question is for this user. */
static struct auth_question next(struct fixture *fixture, const char *user)
{
    struct auth_question question;
    assert_true(auth_cache_next(fixture->cache, &question));
    assert_string_equal(question.user, user);
    return question;
}

/* NULL: there is none. */
static uint64_t answer(struct fixture *fixture, const struct auth_question *question,
                       const char *secret, int64_t valid_ns)
{
    const struct sv none = {0};
    return auth_cache_answer(fixture->cache, question, secret != NULL ? sv_from_cstr(secret) : none,
                             AUTH_NO_USER, valid_ns, fixture->now_ns);
}

static uint64_t failed(struct fixture *fixture, const struct auth_question *question)
{
    struct hf_err err;
    err_set(&err, HF_RC_AGAIN, "57P03", "nobody can be asked");
    return auth_cache_fail(fixture->cache, question, &err, fixture->now_ns);
}

/* Asks and answers, for a test that needs somebody known. */
static void learn(struct fixture *fixture, const char *user, const char *secret)
{
    assert_int_equal(get(fixture, user), AUTH_WAIT);
    const struct auth_question question = next(fixture, user);
    answer(fixture, &question, secret, HF_NEVER);
}

static void assert_secret(struct fixture *fixture, const char *secret)
{
    assert_non_null(fixture->found.secret);
    assert_true(user_has_secret(auth_secret_user(fixture->found.secret), sv_from_cstr(secret)));
}

static void auth_cache__a_burst_asks_once_and_wakes_every_worker(void **state)
{
    struct fixture *fixture = *state;
    struct auth_question question;
    for (uint32_t worker = 0; worker < 64; worker++) {
        const struct auth_wish wish = {.place = &place, .user = SV("bob"), .worker = worker};
        assert_int_equal(
            auth_cache_get(fixture->cache, &wish, fixture->now_ns, &fixture->found, &fixture->err),
            AUTH_WAIT);
        assert_int_equal(fixture->found.must_ask, worker == 0);
    }
    question = next(fixture, "bob");
    assert_ptr_not_equal(question.place, &place); /* a copy: the asker's may go */
    assert_string_equal(question.place->query, place.query);
    assert_false(auth_cache_next(fixture->cache, &question));
    assert_true(answer(fixture, &question, "secret", HF_NEVER) == UINT64_MAX);
    assert_int_equal(get(fixture, "bob"), AUTH_KNOWN);
    assert_secret(fixture, "secret");
}

static void auth_cache__answers_count_for_their_time(void **state)
{
    struct fixture *fixture = *state;
    learn(fixture, "bob", "secret");
    learn(fixture, "eve", NULL);
    fixture->now_ns += TTL / 3 - 1;
    assert_int_equal(get(fixture, "eve"), AUTH_KNOWN);
    assert_null(fixture->found.secret);
    fixture->now_ns++;
    assert_int_equal(get(fixture, "eve"), AUTH_WAIT);
    fixture->now_ns = START + TTL - 1;
    assert_int_equal(get(fixture, "bob"), AUTH_KNOWN);
    fixture->now_ns++;
    assert_int_equal(get(fixture, "bob"), AUTH_WAIT);
    assert_true(fixture->found.must_ask);
}

static void auth_cache__an_answer_counts_for_who_waited_for_it(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(get(fixture, "bob"), AUTH_WAIT);
    const int64_t seen_ns = fixture->now_ns;
    const struct auth_question question = next(fixture, "bob");
    fixture->now_ns += SECOND;
    answer(fixture, &question, "secret", HF_NEVER);
    fixture->now_ns += TTL; /* its time is over before anybody was woken */
    assert_int_equal(get_at(fixture, &place, "bob", seen_ns), AUTH_KNOWN);
    assert_int_equal(get(fixture, "bob"), AUTH_WAIT);
}

static void auth_cache__valid_until_ends_everything(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(get(fixture, "bob"), AUTH_WAIT);
    struct auth_question question = next(fixture, "bob");
    answer(fixture, &question, "secret", START + 2 * SECOND);
    fixture->now_ns += 2 * SECOND - 1;
    assert_int_equal(get(fixture, "bob"), AUTH_KNOWN);
    fixture->now_ns++;
    assert_int_equal(get(fixture, "bob"), AUTH_WAIT);
    question = next(fixture, "bob");
    assert_false(auth_cache_has_stale(fixture->cache, &question, fixture->now_ns));
    failed(fixture, &question);
    assert_int_equal(get(fixture, "bob"), AUTH_FAILED);
    /* One that has expired before it is answered is none. */
    fixture->now_ns += AUTH_PAUSE_NS;
    assert_int_equal(get(fixture, "bob"), AUTH_WAIT);
    question = next(fixture, "bob");
    answer(fixture, &question, "secret", fixture->now_ns);
    assert_int_equal(get(fixture, "bob"), AUTH_KNOWN);
    assert_null(fixture->found.secret);
}

static void auth_cache__an_old_answer_stands_in_while_nobody_can_be_asked(void **state)
{
    struct fixture *fixture = *state;
    learn(fixture, "bob", "secret");
    fixture->now_ns += TTL;
    assert_int_equal(get(fixture, "bob"), AUTH_WAIT);
    struct auth_question question = next(fixture, "bob");
    assert_true(auth_cache_has_stale(fixture->cache, &question, fixture->now_ns));
    assert_true(failed(fixture, &question) == UINT64_C(1) << 3);
    assert_int_equal(get(fixture, "bob"), AUTH_KNOWN);
    assert_true(fixture->found.is_stale);
    assert_secret(fixture, "secret");
    fixture->now_ns += AUTH_PAUSE_NS; /* and is asked again after a pause */
    assert_int_equal(get(fixture, "bob"), AUTH_WAIT);
    question = next(fixture, "bob");
    fixture->now_ns = START + TTL + STALE;
    assert_false(auth_cache_has_stale(fixture->cache, &question, fixture->now_ns));
    failed(fixture, &question);
    assert_int_equal(get(fixture, "bob"), AUTH_FAILED);
    assert_string_equal(fixture->err.message, "nobody can be asked");
}

static void auth_cache__who_was_never_known_is_refused_while_nobody_can_be_asked(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(get(fixture, "bob"), AUTH_WAIT);
    const int64_t seen_ns = fixture->now_ns;
    struct auth_question question = next(fixture, "bob");
    fixture->now_ns += SECOND;
    failed(fixture, &question);
    fixture->now_ns += AUTH_PAUSE_NS;
    assert_int_equal(get_at(fixture, &place, "bob", seen_ns), AUTH_FAILED); /* it is told */
    assert_int_equal(get(fixture, "bob"), AUTH_WAIT);                       /* the next one asks */
}

static void auth_cache__a_doubt_asks_again_and_not_too_often(void **state)
{
    struct fixture *fixture = *state;
    learn(fixture, "bob", "old");
    auth_cache_doubt(fixture->cache, &place, SV("bob"), fixture->now_ns);
    assert_int_equal(get(fixture, "bob"), AUTH_KNOWN); /* it was answered just now */
    fixture->now_ns += AUTH_DOUBT_NS;
    auth_cache_doubt(fixture->cache, &place, SV("bob"), fixture->now_ns);
    auth_cache_doubt(fixture->cache, &place, SV("nobody"), fixture->now_ns);
    assert_int_equal(get(fixture, "bob"), AUTH_WAIT);
    const struct auth_question question = next(fixture, "bob");
    answer(fixture, &question, "new", HF_NEVER);
    assert_int_equal(get(fixture, "bob"), AUTH_KNOWN);
    assert_secret(fixture, "new");
}

static void auth_cache__what_was_learned_stays_with_a_secret_that_stays(void **state)
{
    struct fixture *fixture = *state;
    struct scram_keys keys = {.client = "c", .server = "s"};
    struct user_pass pass;
    scram_verifier_init(&pass.verifier, &keys, SV("salt"), 4096);
    learn(fixture, "bob", "secret");
    struct auth_secret *held = auth_cache_peek(fixture->cache, &place, SV("bob"));
    user_set_pass(auth_secret_user(held), &keys, &pass.verifier);
    static const char *const secrets[] = {"secret", "another"};
    for (int i = 0; i < 2; i++) {
        fixture->now_ns += TTL;
        learn(fixture, "bob", secrets[i]);
        assert_int_equal(get(fixture, "bob"), AUTH_KNOWN);
        assert_int_equal(user_get_pass(auth_secret_user(fixture->found.secret), &pass), i == 0);
    }
    assert_true(user_get_pass(auth_secret_user(held), &pass)); /* for whoever has held it */
    auth_secret_drop(held);
}

static void auth_cache__places_are_kept_apart(void **state)
{
    struct fixture *fixture = *state;
    learn(fixture, "bob", "here");
    assert_int_equal(get_at(fixture, &elsewhere, "bob", 0), AUTH_WAIT);
    const struct auth_question question = next(fixture, "bob");
    assert_string_equal(question.place->dbname, "other");
    answer(fixture, &question, "there", HF_NEVER);
    assert_int_equal(get(fixture, "bob"), AUTH_KNOWN);
    assert_secret(fixture, "here");
    assert_null(auth_cache_peek(fixture->cache, &elsewhere, SV("eve")));
}

static void auth_cache__made_up_names_do_not_drive_out_real_ones(void **state)
{
    struct fixture *fixture = *state;
    char name[32];
    learn(fixture, "bob", "secret");
    for (int i = 0; i < AUTH_USERS_MAX + 10; i++) {
        snprintf(name, sizeof name, "u%d", i);
        learn(fixture, name, NULL);
    }
    assert_int_equal(get(fixture, "bob"), AUTH_KNOWN);
    assert_secret(fixture, "secret");
    assert_int_equal(get(fixture, "u0"), AUTH_WAIT); /* it made room */
    snprintf(name, sizeof name, "u%d", AUTH_USERS_MAX);
    assert_int_equal(get(fixture, name), AUTH_KNOWN);
}

static void auth_cache__questions_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    char name[32];
    for (int i = 0; i < AUTH_ASKED_MAX; i++) {
        snprintf(name, sizeof name, "u%d", i);
        assert_int_equal(get(fixture, name), AUTH_WAIT);
    }
    assert_int_equal(get(fixture, "more"), AUTH_FAILED);
    assert_string_equal(fixture->err.sqlstate, "53300");
    assert_int_equal(get(fixture, "u0"), AUTH_WAIT);
    const struct auth_question question = next(fixture, "u0");
    failed(fixture, &question);
    assert_int_equal(get(fixture, "more"), AUTH_WAIT);
}

static void auth_cache__a_reload_keeps_answers_and_what_was_learned(void **state)
{
    struct fixture *fixture = *state;
    static const struct auth_times shorter = {.ttl_ns = SECOND, .stale_ns = STALE};
    struct auth_cache *after = NULL;
    learn(fixture, "bob", "secret");
    learn(fixture, "eve", NULL);
    assert_int_equal(get(fixture, "asked"), AUTH_WAIT);
    assert_int_equal(auth_cache_new(&after, &shorter, 2, &fixture->mem, &fixture->err), HF_OK);
    auth_cache_adopt(after, fixture->cache, fixture->now_ns);
    auth_cache_free(fixture->cache);
    fixture->cache = after;
    assert_int_equal(get(fixture, "bob"), AUTH_KNOWN);
    assert_secret(fixture, "secret");
    assert_int_equal(get(fixture, "eve"), AUTH_WAIT);
    fixture->now_ns += SECOND;
    assert_int_equal(get(fixture, "bob"), AUTH_WAIT);
}

static void auth_cache__every_allocation_may_fail(void **state)
{
    struct fixture *fixture = *state;
    static const struct auth_times times = {.ttl_ns = TTL, .stale_ns = STALE};
    struct auth_cache *cache = NULL;
    for (uint64_t nth = 1; nth <= 3; nth++) {
        mem_fail_nth(&fixture->mem, nth);
        assert_int_equal(auth_cache_new(&cache, &times, 1, &fixture->mem, &fixture->err),
                         HF_RC_LIMIT);
    }
    mem_fail_nth(&fixture->mem, 1); /* no memory for its place */
    assert_int_equal(get(fixture, "bob"), AUTH_FAILED);
    for (uint64_t nth = 1; nth <= 4; nth++) { /* none for its secret: as if it could not be asked */
        assert_int_equal(get(fixture, "bob"), AUTH_WAIT);
        const struct auth_question question = next(fixture, "bob");
        mem_fail_nth(&fixture->mem, nth);
        answer(fixture, &question, "secret", HF_NEVER);
        assert_int_equal(get(fixture, "bob"), AUTH_FAILED);
        fixture->now_ns += AUTH_PAUSE_NS;
    }
    mem_fail_nth(&fixture->mem, 0);
    learn(fixture, "bob", "secret");
    assert_int_equal(get(fixture, "bob"), AUTH_KNOWN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(auth_cache__a_burst_asks_once_and_wakes_every_worker),
        TEST(auth_cache__answers_count_for_their_time),
        TEST(auth_cache__an_answer_counts_for_who_waited_for_it),
        TEST(auth_cache__valid_until_ends_everything),
        TEST(auth_cache__an_old_answer_stands_in_while_nobody_can_be_asked),
        TEST(auth_cache__who_was_never_known_is_refused_while_nobody_can_be_asked),
        TEST(auth_cache__a_doubt_asks_again_and_not_too_often),
        TEST(auth_cache__what_was_learned_stays_with_a_secret_that_stays),
        TEST(auth_cache__places_are_kept_apart),
        TEST(auth_cache__made_up_names_do_not_drive_out_real_ones),
        TEST(auth_cache__questions_are_bounded),
        TEST(auth_cache__a_reload_keeps_answers_and_what_was_learned),
        TEST(auth_cache__every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
