#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "core/token.h"

#define SYSTEM UINT64_C(0x6b01c3a5d1f0a2c1)
#define NOW_NS HF_SEC(50)

static enum hf_rc read_text(const char *text, uint64_t system_id, struct route_promise *promise)
{
    return token_read(sv_from_cstr(text), system_id, NOW_NS, promise, NULL);
}

static void token__a_promise_survives_the_journey(void **state)
{
    (void)state;
    static const struct route_promise promises[] = {
        {.lsn = 0x3000148, .timeline = 2},
        {.lsn = 1, .timeline = 1, .written_at_ns = HF_SEC(7)},
        {.lsn = UINT64_MAX, .timeline = UINT32_MAX},
        {.lsn = 0x10, .timeline = 0},
    };
    for (size_t i = 0; i < sizeof promises / sizeof promises[0]; i++) {
        char text[TOKEN_BYTES], again[TOKEN_BYTES];
        struct route_promise promise;
        assert_int_equal(token_write(&promises[i], SYSTEM, text, NULL), HF_OK);
        assert_int_equal(read_text(text, SYSTEM, &promise), HF_OK);
        assert_int_equal(promise.lsn, promises[i].lsn);
        assert_int_equal(promise.timeline, promises[i].timeline);
        assert_int_equal(promise.written_at_ns, NOW_NS);
        assert_int_equal(token_write(&promise, SYSTEM, again, NULL), HF_OK);
        assert_string_equal(text, again);
    }
}

static void token__the_longest_fits(void **state)
{
    (void)state;
    struct route_promise promise = {.lsn = UINT64_MAX, .timeline = UINT32_MAX};
    char text[TOKEN_BYTES];
    assert_int_equal(token_write(&promise, UINT64_MAX, text, NULL), HF_OK);
    assert_int_equal(strlen(text), TOKEN_BYTES - 1);
}

/* Tokens are kept in cookies and databases: this spelling is for ever. */
static void token__the_text_is_what_it_always_was(void **state)
{
    (void)state;
    struct route_promise promise = {.lsn = 0x3000148, .timeline = 2};
    char text[TOKEN_BYTES];
    assert_int_equal(token_write(&promise, SYSTEM, text, NULL), HF_OK);
    assert_string_equal(text, "h1.6b01c3a5d1f0a2c1.2.3000148.c8d69d40");
}

static void token__nothing_promised_is_a_token_too(void **state)
{
    (void)state;
    struct route_promise promise = {0};
    char text[TOKEN_BYTES];
    assert_int_equal(token_write(&promise, 0, text, NULL), HF_OK);
    promise.lsn = 9;
    assert_int_equal(read_text(text, SYSTEM, &promise), HF_OK);
    assert_int_equal(promise.lsn, 0);
    assert_int_equal(promise.written_at_ns, 0);
}

static void token__a_mere_time_is_no_token_yet(void **state)
{
    (void)state;
    struct route_promise promise = {.written_at_ns = HF_SEC(5)};
    char text[TOKEN_BYTES];
    struct hf_err err;
    assert_int_equal(token_write(&promise, SYSTEM, text, &err), HF_RC_AGAIN);
    assert_string_equal(text, "");
    assert_true(strlen(err.hint) > 0);
}

static void token__a_time_is_settled_by_what_was_asked_for_later(void **state)
{
    (void)state;
    struct snapshot view;
    snapshot_init(&view);
    snapshot_new_primary(&view, 3);
    snapshot_sample(&view, HF_SEC(10), 100);
    struct route_promise promise = {.written_at_ns = HF_SEC(10) + 1};
    assert_false(token_settle(&promise, &view));
    assert_int_equal(promise.lsn, 0);
    snapshot_sample(&view, HF_SEC(11), 200);
    assert_true(token_settle(&promise, &view));
    assert_int_equal(promise.lsn, 200);
    assert_int_equal(promise.timeline, 3);
    snapshot_sample(&view, HF_SEC(12), 300);
    assert_true(token_settle(&promise, &view));
    assert_int_equal(promise.lsn, 200); /* once is enough */
    struct route_promise nothing = {0};
    assert_true(token_settle(&nothing, &view));
    assert_int_equal(nothing.lsn, 0);
}

static void token__of_another_cluster_it_is_refused(void **state)
{
    (void)state;
    struct route_promise promise = {.lsn = 5, .timeline = 1}, out = {.lsn = 77};
    char text[TOKEN_BYTES];
    struct hf_err err;
    assert_int_equal(token_write(&promise, SYSTEM, text, NULL), HF_OK);
    assert_int_equal(token_read(sv_from_cstr(text), SYSTEM + 1, NOW_NS, &out, &err), HF_RC_INVALID);
    assert_non_null(strstr(err.message, "another cluster"));
    assert_int_equal(out.lsn, 77);
    assert_int_equal(read_text(text, 0, &out), HF_OK);
    assert_int_equal(token_write(&promise, 0, text, NULL), HF_OK);
    assert_int_equal(read_text(text, SYSTEM, &out), HF_OK);
}

static void token__blanks_around_it_do_not_matter(void **state)
{
    (void)state;
    struct route_promise promise = {.lsn = 5, .timeline = 1};
    char text[TOKEN_BYTES], padded[TOKEN_BYTES + 8];
    assert_int_equal(token_write(&promise, SYSTEM, text, NULL), HF_OK);
    snprintf(padded, sizeof padded, " \t%s\r\n", text);
    assert_int_equal(read_text(padded, SYSTEM, &promise), HF_OK);
}

static void token__no_other_text_is_one(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "h1",
        "h1.",
        "h2.0.0.0.00000000",
        "h1.0.0.0",
        "h1.0.0.0.",
        "h1.0.0.0.0.0",
        "h1.0.0.0.00000000",
        "H1.6b01c3a5d1f0a2c1.2.3000148.c8d69d40",
        "h1.6B01C3A5D1F0A2C1.2.3000148.c8d69d40",
        "h1.6b01c3a5d1f0a2c1.02.3000148.c8d69d40",
        "h1.6b01c3a5d1f0a2c1.2.3000148.C8D69D40",
        "h1.6b01c3a5d1f0a2c1.2.3000149.c8d69d40",
        "h1.6b01c3a5d1f0a2c1.2.3000148.c8d69d40.",
        "h1.6b01c3a5d1f0a2c1.2.3000148.c8d69d4",
        "h1.6b01c3a5d1f0a2c1..3000148.c8d69d40",
        "h1.6b01c3a5d1f0a2c1.2.30g0148.c8d69d40",
        "h1.16b01c3a5d1f0a2c1.2.3000148.c8d69d40",
        "h1.6b01c3a5d1f0a2c1.123456789.3.c8d69d40",
        "h1.6b01c3a5d1f0a2c1.2.3000148.c8d69d40 and more, much more than fits",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct route_promise promise = {.lsn = 77};
        struct hf_err err;
        assert_int_equal(token_read(sv_from_cstr(texts[i]), SYSTEM, NOW_NS, &promise, &err),
                         HF_RC_INVALID);
        assert_int_equal(promise.lsn, 77);
        assert_string_equal(err.sqlstate, "22023");
    }
}

/* Every damage to one character is noticed, for a great many tokens. */
static void token__damage_is_noticed(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 7);
    for (int i = 0; i < 200; i++) {
        struct route_promise promise = {.lsn = rng_u64(&rng) >> rng_below(&rng, 63),
                                        .timeline = 1 + (uint32_t)rng_below(&rng, 40)};
        char text[TOKEN_BYTES];
        if (promise.lsn == 0 || token_write(&promise, rng_u64(&rng), text, NULL) != HF_OK)
            continue;
        for (size_t at = 0; text[at] != '\0'; at++) {
            char was = text[at];
            text[at] = "0123456789abcdef.~"[rng_below(&rng, 18)];
            if (text[at] != was)
                assert_int_equal(read_text(text, 0, &promise), HF_RC_INVALID);
            text[at] = was;
        }
    }
}

static void token__two_promises_make_one_that_keeps_both(void **state)
{
    (void)state;
    const struct route_promise none = {0};
    const struct route_promise both = {.lsn = 50, .written_at_ns = 5, .timeline = 2};
    const struct route_promise later = {.lsn = 40, .written_at_ns = 9, .timeline = 3};
    const struct route_promise time_only = {.written_at_ns = 3};
    const struct route_promise lsn_only = {.lsn = 60, .timeline = 1};
    struct route_promise joined = token_join(&none, &both, NOW_NS);
    assert_memory_equal(&joined, &both, sizeof joined);
    joined = token_join(&both, &none, NOW_NS);
    assert_memory_equal(&joined, &both, sizeof joined);
    joined = token_join(&both, &later, NOW_NS);
    assert_int_equal(joined.lsn, 50);
    assert_int_equal(joined.timeline, 3);
    assert_int_equal(joined.written_at_ns, 9);
    joined = token_join(&later, &both, NOW_NS);
    assert_int_equal(joined.lsn, 50);
    assert_int_equal(joined.timeline, 3);
    joined = token_join(&both, &time_only, NOW_NS);
    assert_int_equal(joined.lsn, 0);
    assert_int_equal(joined.written_at_ns, 5);
    joined = token_join(&time_only, &lsn_only, NOW_NS);
    assert_int_equal(joined.lsn, 0);
    assert_int_equal(joined.written_at_ns, NOW_NS);
    joined = token_join(&lsn_only, &both, NOW_NS);
    assert_int_equal(joined.lsn, 60);
    assert_int_equal(joined.written_at_ns, NOW_NS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token__a_promise_survives_the_journey),
        cmocka_unit_test(token__the_longest_fits),
        cmocka_unit_test(token__the_text_is_what_it_always_was),
        cmocka_unit_test(token__nothing_promised_is_a_token_too),
        cmocka_unit_test(token__a_mere_time_is_no_token_yet),
        cmocka_unit_test(token__a_time_is_settled_by_what_was_asked_for_later),
        cmocka_unit_test(token__of_another_cluster_it_is_refused),
        cmocka_unit_test(token__blanks_around_it_do_not_matter),
        cmocka_unit_test(token__no_other_text_is_one),
        cmocka_unit_test(token__damage_is_noticed),
        cmocka_unit_test(token__two_promises_make_one_that_keeps_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
