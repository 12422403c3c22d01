/*
 * The library's part of holdfast.yml: what it fills, what goes before what, and where mistakes are.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ns.h"
#include "config/library_file.h"
#include "holdfast.h"
#include "os/file.h"

static struct mem mem;
static char dir[64], path[96];
static struct hf_err err;
static struct client_config config;

static int setup(void **state)
{
    (void)state;
    mem_init(&mem, 0);
    snprintf(dir, sizeof dir, "/tmp/test_library_file.XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/holdfast.yml", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mem_deinit(&mem);
    assert_int_equal(file_remove_tree(dir, &err), HF_OK);
    return 0;
}

static enum hf_rc read_as(const char *text, const char *database, int profile)
{
    assert_int_equal(file_write(path, text, 0600, &err), HF_OK);
    return library_file_read(&config, path, database, profile, &mem, &err);
}

static void read_well(const char *text, const char *database)
{
    if (read_as(text, database, 0) != HF_OK)
        fail_msg("%s (%s)", err.message, err.hint);
}

#define SHOP "databases: {shop: {hosts: \"db1, db2:5433\"}}\n"

/* ---- good files ---- */

static void library_file__every_section_reaches_its_options(void **state)
{
    (void)state;
    read_well("library:\n"
              "  deadline: 7s\n"
              "  memory_max: 64MB\n"
              "  pool: {size_max: 10, lifetime: never}\n"
              "  breaker:\n"
              "    failure_rate: 30%\n"
              "    trip: rate\n"
              "    monitor: on\n"
              "  retry: {attempts_max: 2}\n"
              "  tx_retry: {cap: 3s}\n"
              "  cache: {bytes_max: 1MB}\n"
              "  route: {consistency: bounded, zone: a}\n"
              "  endpoints:\n"
              "    \"db1:5432\": {zone: a, weight: 3}\n"
              "    \"db2:5433\":\n" SHOP,
              NULL);
    assert_int_equal(config.deadline_ns, HF_SEC(7));
    assert_int_equal(config.memory_max, 64 << 20);
    assert_int_equal(config.pool.size_max, 10);
    assert_int_equal(config.pool.lifetime_ns, HF_NEVER);
    assert_int_equal(config.breaker.failure_rate_ppm, 300000);
    assert_int_equal(config.breaker.trip, CLIENT_TRIP_RATE);
    assert_true(config.breaker.is_monitor);
    assert_int_equal(config.retry.attempts_max, 2);
    assert_int_equal(config.tx_retry.cap_ns, HF_SEC(3));
    assert_int_equal(config.cache.bytes_max, 1 << 20);
    assert_int_equal(config.route.consistency, ROUTE_BOUNDED);
    assert_int_equal(config.endpoint_count, 2);
    assert_int_equal(config.endpoints[0].weight, 3);
    assert_int_equal(config.endpoints[1].weight, 1);
    assert_int_equal(config.bulkhead.queue_max, 50); /* a default */
    assert_string_equal(config.conninfo, " host='db1,db2' port='5432,5433' dbname='shop'");
}

static void library_file__a_database_becomes_a_connection_string(void **state)
{
    (void)state;
    char secret[128];
    snprintf(secret, sizeof secret, "%s/secret", dir);
    assert_int_equal(file_write(secret, "it's \\ hard\n", 0600, &err), HF_OK);
    read_well("databases:\n"
              "  shop:\n"
              "    hosts: [\"db1\", \"[2001:db8::1]:5433\", /run/postgresql]\n"
              "    dbname: store\n"
              "    user: app\n"
              "    password_file: secret\n"
              "    sslmode: require\n"
              "    pool_size: 7\n" /* the proxy's */
              "library: {conninfo: \"application_name=shop\"}\n",
              "shop");
    assert_string_equal(config.conninfo,
                        "application_name=shop host='db1,2001:db8::1,/run/postgresql' "
                        "port='5432,5433,5432' dbname='store' user='app' "
                        "password='it\\'s \\\\ hard' sslmode='require'");
}

static void library_file__the_entry_for_any_database_takes_the_name_asked_for(void **state)
{
    (void)state;
    read_well("databases: {\"*\": {hosts: db1}, shop: {hosts: db2}}", "other");
    assert_string_equal(config.conninfo, " host='db1' port='5432' dbname='other'");
    read_well("databases: {\"*\": {hosts: db1}, shop: {hosts: db2}}", "shop");
    assert_string_equal(config.conninfo, " host='db2' port='5432' dbname='shop'");
}

static void library_file__without_databases_a_connection_string_is_enough(void **state)
{
    (void)state;
    setenv("TEST_LIBRARY_HOST", "db7", 1);
    read_well("library: {conninfo: \"postgresql://${TEST_LIBRARY_HOST}/shop\"}", NULL);
    assert_string_equal(config.conninfo, "postgresql://db7/shop");
}

static void library_file__a_profile_goes_before_the_defaults_and_a_key_before_it(void **state)
{
    (void)state;
    read_well("library: {deadline: 9s, profile: api}\n" SHOP, NULL);
    assert_int_equal(config.deadline_ns, HF_SEC(9));
    assert_int_equal(config.hold_ns, HF_SEC(3));
    /* The caller's own profile replaces the file's, and still goes before no key. */
    assert_int_equal(
        read_as("library: {deadline: 9s, profile: api}\n" SHOP, NULL, HF_PROFILE_BATCH), HF_OK);
    assert_int_equal(config.deadline_ns, HF_SEC(9));
    assert_int_equal(config.hold_ns, HF_SEC(60));
}

/* ---- mistakes ---- */

static void library_file__a_mistake_is_told_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"library:\n  deadlin: 3s\n" SHOP, "2:3: library.deadlin: unknown option \"deadlin\""},
        {"library: {pool: {size: 3}}\n" SHOP, "1:18: library.pool.size: unknown option \"size\""},
        {"library: {pool: 3}\n" SHOP,
         "1:17: library.pool: a map of settings was expected, and this is a text"},
        {"library: {deadline: {a: b}}\n" SHOP,
         "1:21: library.deadline: a value was expected, and this is a map"},
        {"library: {profile: fast}\n" SHOP,
         "1:20: library.profile: default, conservative, aggressive, api or batch was expected"},
        {"library: 7\n" SHOP, "1:10: library: a map of settings was expected, and this is a text"},
        {"library: {endpoints: {\"\": {zone: a}}}\n" SHOP, "1:23: library.endpoints.: the name of"},
        {"library: {endpoints: {db1: {zon: a}}}\n" SHOP,
         "1:29: library.endpoints.db1.zon: unknown option \"zon\""},
        {"library: {pool: {size_max: 2, size_min: 3}}\n" SHOP,
         "1:1: library: options.pool.size_min (3) is above options.pool.size_max (2)"},
        {"databases: {a: {hosts: x}, b: {hosts: y}}",
         "1:1: databases: there are 2 databases in it, and none was asked for by name"},
        {"databases: {a: {user: x}}", "1:13: databases.a.hosts: its hosts are missing"},
        {"databases: {a: {hosts: x}}\nlibrary: {conninfo: \"postgresql://x\"}",
         "databases.a: conninfo is a URL"},
        {"library: [\n", ""},
        {"library: {conninfo: \"${NO_SUCH_NAME_HERE}\"}\n",
         "the environment variable NO_SUCH_NAME_HERE is not set"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_not_equal(read_as(rows[i].text, NULL, 0), HF_OK);
        if (strstr(err.message, rows[i].message) == NULL)
            fail_msg("number %zu: \"%s\" is not in \"%s\"", i, rows[i].message, err.message);
        if (strncmp(err.message, path, strlen(path)) != 0)
            fail_msg("number %zu: the file is not in \"%s\"", i, err.message);
    }
}

static void library_file__a_database_that_is_not_there_is_named(void **state)
{
    (void)state;
    assert_int_equal(read_as(SHOP, "stop", 0), HF_RC_MISSING);
    assert_non_null(strstr(err.message, "there is no database \"stop\" in it"));
    assert_string_equal(err.hint, "Say which in options.database.");
}

static void library_file__a_file_that_cannot_be_read_is_said_so(void **state)
{
    (void)state;
    assert_int_equal(library_file_read(&config, "/tmp/no/such/file.yml", NULL, 0, &mem, &err),
                     HF_RC_MISSING);
    assert_int_equal(read_as(SHOP, NULL, 99), HF_RC_INVALID);
}

static void library_file__a_secret_is_in_no_message(void **state)
{
    (void)state;
    char text[600];
    char secret[301];
    memset(secret, 's', sizeof secret);
    memcpy(secret, "s3cret", 6);
    secret[300] = '\0'; /* longer than one may be */
    snprintf(text, sizeof text, "databases: {a: {hosts: x, password: \"%s\"}}", secret);
    assert_int_not_equal(read_as(text, NULL, 0), HF_OK);
    assert_null(strstr(err.message, "s3cret"));
    assert_null(strstr(err.detail, "s3cret"));
}

static void library_file__without_memory_it_says_so(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 3; nth++) {
        mem_fail_nth(&mem, nth);
        assert_int_not_equal(read_as(SHOP, NULL, 0), HF_OK);
    }
    mem_fail_nth(&mem, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(library_file__every_section_reaches_its_options),
        cmocka_unit_test(library_file__a_database_becomes_a_connection_string),
        cmocka_unit_test(library_file__the_entry_for_any_database_takes_the_name_asked_for),
        cmocka_unit_test(library_file__without_databases_a_connection_string_is_enough),
        cmocka_unit_test(library_file__a_profile_goes_before_the_defaults_and_a_key_before_it),
        cmocka_unit_test(library_file__a_mistake_is_told_with_its_place),
        cmocka_unit_test(library_file__a_database_that_is_not_there_is_named),
        cmocka_unit_test(library_file__a_file_that_cannot_be_read_is_said_so),
        cmocka_unit_test(library_file__a_secret_is_in_no_message),
        cmocka_unit_test(library_file__without_memory_it_says_so),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
