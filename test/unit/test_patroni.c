#include "unit.h"

#include "pg/patroni.h"

#include "base/ns.h"
#include "fake_server.h"
#include "os/clock.h"

#define BYTES(text) (text), sizeof(text) - 1

#define CLUSTER                                                                                    \
    "{\"members\": [{\"name\": \"a\", \"role\": \"leader\", \"state\": \"running\", "              \
    "\"api_url\": \"http://10.0.0.1:8008/patroni\", \"host\": \"10.0.0.1\", \"port\": 5432, "      \
    "\"timeline\": 3, \"tags\": {\"nofailover\": true, \"odd\": [1, {}]}}, "                       \
    "{\"host\":\"db2.example\",\"port\":5433,\"lag\":0}], \"scope\": \"demo\"}"

static struct errand_answer answer;

static enum hf_rc read_text(const char *text)
{
    return patroni_read(text, strlen(text), &answer);
}

static void patroni__the_members_are_taken_and_the_rest_is_walked_over(void **state)
{
    (void)state;
    assert_int_equal(read_text(CLUSTER), HF_OK);
    assert_int_equal(answer.count, 2);
    assert_string_equal(answer.places[0].host, "10.0.0.1");
    assert_int_equal(answer.places[0].port, 5432);
    assert_string_equal(answer.places[1].host, "db2.example");
    assert_int_equal(answer.places[1].port, 5433);
}

static void patroni__what_is_no_list_of_members_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "{}",
        "null",
        "{\"members\": 5}",
        "{\"members\": [}",
        "{\"members\": [{]}",
        "{\"members\": [{\"host\": \"a\"",
        "{\"members\": [{\"host\": \"a\", \"port\": 1}",
        "{\"members\": [{\"host\": [\"a\"}]}",
        "{\"members\": [{\"x\": }",
        "{\"other\": []}",
        "{\"members\": [{\"t\": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        "{\"members\": [{\"t\": [}]}]}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(read_text(bad[i]), HF_RC_PEER);
    /* A document that is cut short anywhere is none. */
    char text[sizeof CLUSTER];
    for (size_t size = 0; size < sizeof CLUSTER - 1; size++) {
        memcpy(text, CLUSTER, size);
        assert_int_equal(patroni_read(text, size, &answer), HF_RC_PEER);
    }
}

static void patroni__members_without_a_place_and_those_beyond_the_room_are_left_out(void **state)
{
    (void)state;
    assert_int_equal(read_text("{\"members\": []}"), HF_OK);
    assert_int_equal(answer.count, 0);
    assert_int_equal(read_text("{\"members\": [{}, {\"host\": \"a\"}, {\"port\": 5}, "
                               "{\"host\": \"b\", \"port\": 99999}, {\"host\": \"c\\\"d\", "
                               "\"port\": \"7\"}]}"),
                     HF_OK);
    assert_int_equal(answer.count, 1);
    assert_string_equal(answer.places[0].host, "c\"d");
    char text[64 * (ERRAND_PLACES_MAX + 1)] = "{\"members\": [";
    size_t used = strlen(text);
    for (int i = 0; i <= ERRAND_PLACES_MAX; i++)
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "%s{\"host\": \"h\", \"port\": %d}", i > 0 ? ", " : "", i + 1);
    snprintf(text + used, sizeof text - used, "]}");
    assert_int_equal(read_text(text), HF_OK);
    assert_int_equal(answer.count, ERRAND_PLACES_MAX);
}

static enum hf_rc ask(const char *urls)
{
    _Atomic bool is_stopping = false;
    patroni_ask(urls, &is_stopping, &answer);
    return answer.rc;
}

static void patroni__the_first_url_that_answers_counts(void **state)
{
    (void)state;
    static const struct fake_line good[] = {
        {.step = FAKE_READ},
        {FAKE_SEND, BYTES("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" CLUSTER)},
        {.step = FAKE_END}};
    struct fake_server fake;
    char urls[128];
    assert_true(fake_start(&fake, good));
    snprintf(urls, sizeof urls, "http://127.0.0.1:1,http://127.0.0.1:%s/api/", fake.port);
    assert_int_equal(ask(urls), HF_OK);
    assert_int_equal(answer.count, 2);
    fake_stop(&fake);
    assert_non_null(memmem(fake.got, fake.got_size, BYTES("GET /api/cluster HTTP/1.0\r\n")));
}

static void patroni__each_way_of_failing_says_where_and_why(void **state)
{
    (void)state;
    static const struct fake_line unwell[] = {
        {.step = FAKE_READ},
        {FAKE_SEND, BYTES("HTTP/1.0 503 Service Unavailable\r\n\r\n{}")},
        {.step = FAKE_END}};
    static const struct fake_line hangs[] = {{.step = FAKE_HANG}};
    struct fake_server fake;
    char url[64];
    assert_true(fake_start(&fake, unwell));
    snprintf(url, sizeof url, "http://127.0.0.1:%s", fake.port);
    assert_int_equal(ask(url), HF_RC_PEER);
    assert_non_null(strstr(answer.err.message, "could not ask Patroni at 127.0.0.1:"));
    fake_stop(&fake);

    static const char *const bad[] = {"https://a", "http://", "db1", "http://[::1", "ftp://x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(ask(bad[i]), HF_RC_INVALID);
    assert_int_equal(ask("http://[::1]:1/") == HF_OK, false);

    /* A stop is noticed soon, whoever is waited for. */
    _Atomic bool is_stopping = true;
    assert_true(fake_start(&fake, hangs));
    snprintf(url, sizeof url, "http://127.0.0.1:%s", fake.port);
    const int64_t began_ns = clock_now();
    patroni_ask(url, &is_stopping, &answer);
    assert_int_equal(answer.rc, HF_RC_AGAIN);
    assert_true(clock_now() - began_ns < HF_SEC(4));
    fake_stop(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patroni__the_members_are_taken_and_the_rest_is_walked_over),
        cmocka_unit_test(patroni__what_is_no_list_of_members_is_refused),
        cmocka_unit_test(patroni__members_without_a_place_and_those_beyond_the_room_are_left_out),
        cmocka_unit_test(patroni__the_first_url_that_answers_counts),
        cmocka_unit_test(patroni__each_way_of_failing_says_where_and_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
