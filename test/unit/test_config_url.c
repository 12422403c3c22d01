#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ns.h"
#include "config/config_url.h"
#include "os/file.h"

struct fixture {
    struct mem mem;
    struct proxy_config *config;
    char home[64];
    struct hf_err err;
};

/* No variable of the machine that runs the test has a say. */
static int setup(void **state)
{
    static const char *const names[] = {"PGHOST",     "PGPORT",    "PGUSER",     "PGPASSWORD",
                                        "PGDATABASE", "PGSSLMODE", "PGPASSFILE", "PGHOSTADDR"};
    static struct fixture fixture;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unsetenv(names[i]);
    memset(&fixture, 0, sizeof fixture);
    mem_init(&fixture.mem, 0);
    snprintf(fixture.home, sizeof fixture.home, "/tmp/test_config_url.XXXXXX");
    assert_non_null(mkdtemp(fixture.home));
    assert_int_equal(setenv("HOME", fixture.home, 1), 0);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    struct hf_err err;
    proxy_config_free(fixture->config);
    mem_deinit(&fixture->mem);
    assert_int_equal(file_remove_tree(fixture->home, &err), HF_OK);
    return 0;
}

static enum hf_rc read_url(struct fixture *fixture, const char *text)
{
    proxy_config_free(fixture->config);
    return config_from_url(&fixture->config, text, &fixture->mem, &fixture->err);
}

static const struct proxy_config *read_well(struct fixture *fixture, const char *text)
{
    if (read_url(fixture, text) != HF_OK)
        fail_msg("%s: %s", text, fixture->err.message);
    return fixture->config;
}

static void give_passfile(struct fixture *fixture, const char *text, unsigned mode)
{
    char path[128];
    snprintf(path, sizeof path, "%s/.pgpass", fixture->home);
    assert_int_equal(file_write(path, text, mode, &fixture->err), HF_OK);
}

static const struct proxy_role *role_of(const struct proxy_config *config, const char *name)
{
    const struct proxy_role *role = proxy_role_get(config, sv_from_cstr(name));
    assert_string_equal(role->name, name);
    return role;
}

static bool is_secret(const struct secret *secret, const char *text)
{
    return sv_eq(secret_reveal(secret), sv_from_cstr(text));
}

/* ---- servers and settings ---- */

static void config_url__servers_are_read_as_libpq_reads_them(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *text, *hosts;
    } cases[] = {
        {"postgresql://a/", "a:5432"},
        {"postgres://a:5433", "a:5433"},
        {"postgresql://a:1,b:2,c/db", "a:1,b:2,c:5432"},
        {"postgresql://[2001:db8::1]:6000/db", "[2001:db8::1]:6000"},
        {"postgresql://%2Frun%2Fpg:5433/db?auth_type=trust", "/run/pg:5433"},
        {"postgresql:///db?host=/run/pg&port=5433&auth_type=trust", "/run/pg:5433"},
        {"postgresql:///?auth_type=trust", "/var/run/postgresql:5432"},
        {"host=a,b port=5433", "a:5433,b:5433"},
        {"host=a,b port=1,2", "a:1,b:2"},
        {"host=name hostaddr=192.0.2.7 port=1", "192.0.2.7:1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct proxy_config *config = read_well(fixture, cases[i].text);
        assert_int_equal(config->database_count, 1);
        assert_string_equal(config->databases[0].name, "*");
        assert_string_equal(config->databases[0].hosts_text, cases[i].hosts);
        assert_string_equal(config->databases[0].dbname, "");
    }
}

static void config_url__settings_of_ours_may_stand_in_it(void **state)
{
    struct fixture *fixture = *state;
    static const char *const texts[] = {
        "postgresql://a/db?pool_mode=transaction&sslmode=require&listen=%5B::1%5D:7000"
        "&server_reset_query=SELECT%201+1&connect_timeout=7&load_balance_hosts=round-robin"
        "&target_session_attrs=primary&query_timeout=5s",
        "host=a pool_mode=transaction dbname = 'db' sslmode=require listen=[::1]:7000 "
        "server_reset_query = 'SELECT 1\\+1' connect_timeout=7 load_balance_hosts=round-robin "
        "target_session_attrs=primary query_timeout=5s",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const struct proxy_config *config = read_well(fixture, texts[i]);
        const struct proxy_database *database = &config->databases[0];
        assert_int_equal(database->pool.pool_mode, PROXY_POOL_TRANSACTION);
        assert_int_equal(database->sslmode, PROXY_SSL_REQUIRE);
        assert_int_equal(config->proxy.listeners[0].port, 7000);
        assert_string_equal(database->pool.server_reset_query, "SELECT 1+1");
        assert_int_equal(database->pool.server_connect_timeout_ns, HF_SEC(7));
        assert_int_equal(database->pool.query_timeout_ns, HF_SEC(5));
        assert_int_equal(database->load_balance_hosts, PROXY_BALANCE_ROUND_ROBIN);
        assert_int_equal(database->target_session_attrs, PROXY_TARGET_PRIMARY);
    }
}

static void config_url__certificates_are_those_of_libpq(void **state)
{
    struct fixture *fixture = *state;
    const struct proxy_config *config =
        read_well(fixture, "postgresql://bob:pw@a/db?sslmode=verify-full&sslcert=/c&sslkey=/k"
                           "&sslrootcert=/r&connect_timeout=0&gssencmode=disable");
    assert_int_equal(config->databases[0].sslmode, PROXY_SSL_VERIFY_FULL);
    assert_string_equal(config->server_tls.cert_file, "/c");
    assert_string_equal(config->server_tls.key_file, "/k");
    assert_string_equal(config->server_tls.ca_file, "/r");
    assert_int_equal(config->pools.server_connect_timeout_ns, HF_SEC(3600));
}

static void config_url__the_environment_fills_what_is_not_said(void **state)
{
    struct fixture *fixture = *state;
    setenv("PGHOST", "envhost", 1);
    setenv("PGPORT", "6001", 1);
    setenv("PGUSER", "envuser", 1);
    setenv("PGPASSWORD", "envpass", 1);
    const struct proxy_config *config = read_well(fixture, "postgresql://");
    assert_string_equal(config->databases[0].hosts_text, "envhost:6001");
    assert_true(is_secret(&role_of(config, "envuser")->password, "envpass"));
    config = read_well(fixture, "postgresql://bob:pw@a:1/");
    assert_string_equal(config->databases[0].hosts_text, "a:1");
    assert_true(is_secret(&role_of(config, "bob")->password, "pw"));
}

/* ---- who may come in ---- */

static void config_url__with_a_password_clients_must_know_it(void **state)
{
    struct fixture *fixture = *state;
    static const char *const texts[] = {
        "postgresql://bob:s%40cr%3Fet@a/db",
        "postgresql://bob:s%40cr?et@a/db", /* libpq takes it, so we must cut behind it */
        "user=bob password='s@cr?et' host=a",
        "user=bob password = s@cr\\?et host=/run/pg",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const struct proxy_config *config = read_well(fixture, texts[i]);
        assert_int_equal(config->proxy.auth_type, PROXY_AUTH_SCRAM);
        assert_true(is_secret(&role_of(config, "bob")->password, "s@cr?et"));
        assert_string_equal(config->databases[0].user, "");
        assert_false(secret_is_set(&config->databases[0].password));
        assert_string_equal(config->proxy.admin_users, "bob");
    }
}

static void config_url__the_passfile_has_passwords_too(void **state)
{
    struct fixture *fixture = *state;
    give_passfile(fixture, "# host:port:db:user:password\nb:5432:app:bob:from file\n", 0600);
    const struct proxy_config *config = read_well(fixture, "postgresql://bob@a,b/app");
    assert_true(is_secret(&role_of(config, "bob")->password, "from file"));
    config = read_well(fixture, "postgresql://bob@a/app");
    assert_int_equal(config->proxy.auth_type, PROXY_AUTH_TRUST);

    give_passfile(fixture, "localhost:5432:*:bob:socket\n", 0600);
    config = read_well(fixture, "postgresql://bob@/app");
    assert_true(is_secret(&role_of(config, "bob")->password, "socket"));

    give_passfile(fixture, "*:*:*:*:x\n", 0640);
    assert_int_equal(read_url(fixture, "postgresql://bob@a/app"), HF_RC_DENIED);
    assert_non_null(strstr(fixture->err.message, "others may read"));
}

static void config_url__without_a_password_this_machine_is_trusted(void **state)
{
    struct fixture *fixture = *state;
    const struct proxy_config *config = read_well(fixture, "postgresql://a/db");
    assert_int_equal(config->proxy.auth_type, PROXY_AUTH_TRUST);
    assert_string_equal(config->databases[0].user, "");
    assert_string_equal(config->proxy.admin_users, "");
    config = read_well(fixture, "postgresql://bob@a/db");
    assert_string_equal(config->databases[0].user, "bob");
    assert_int_not_equal(read_url(fixture, "postgresql://a/db?listen=0.0.0.0"), HF_OK);
    assert_non_null(strstr(fixture->err.message, "auth_type: trust would let in"));
}

static void config_url__the_identity_of_this_process_is_not_lent_unasked(void **state)
{
    struct fixture *fixture = *state;
    static const char *const texts[] = {
        "postgresql://bob@/db?host=/run/pg",    "host=/run/pg", "host=a,/run/pg", "postgresql:///",
        "postgresql://a/?sslcert=/c&sslkey=/k",
    };
    char explicit_text[128];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(read_url(fixture, texts[i]), HF_RC_INVALID);
        assert_non_null(strstr(fixture->err.hint, "auth_type=trust"));
        const char *joint = strchr(texts[i], '=') == NULL               ? "?"
                            : strncmp(texts[i], "postgresql:", 11) == 0 ? "&"
                                                                        : " ";
        snprintf(explicit_text, sizeof explicit_text, "%s%sauth_type=trust", texts[i], joint);
        read_well(fixture, explicit_text);
    }
}

static void config_url__trust_with_a_password_enters_servers_as_the_user(void **state)
{
    struct fixture *fixture = *state;
    const struct proxy_config *config =
        read_well(fixture, "postgresql://bob:pw@a/db?auth_type=trust");
    assert_string_equal(config->databases[0].user, "bob");
    assert_true(is_secret(&config->databases[0].password, "pw"));
    assert_int_equal(config->role_count, 1); /* "*": clients need no password */
}

static void config_url__a_users_file_says_who_comes_in(void **state)
{
    struct fixture *fixture = *state;
    const struct proxy_config *config =
        read_well(fixture, "postgresql://bob:pw@a/db?auth_file=/users");
    assert_int_equal(config->proxy.auth_type, PROXY_AUTH_SCRAM);
    assert_string_equal(config->databases[0].user, "bob");
    /* An empty name is no file: found by fuzzing, as a proxy that let nobody in. */
    config = read_well(fixture, "postgresql://bob@a/db?auth_file=");
    assert_int_equal(config->proxy.auth_type, PROXY_AUTH_TRUST);
    config = read_well(fixture, "postgresql://bob@a/db?auth_file=/users");
    assert_string_equal(config->databases[0].user, "");
}

/* libpq takes a question mark in a password: nothing of ours is looked for in it. */
static void config_url__a_password_is_not_taken_for_settings(void **state)
{
    struct fixture *fixture = *state;
    const struct proxy_config *config =
        read_well(fixture, "postgresql://bob:x?pool_size=3&y@a/db?pool_size=4");
    assert_int_equal(config->pools.pool_size, 4);
    assert_true(is_secret(&role_of(config, "bob")->password, "x?pool_size=3&y"));
    config = read_well(fixture, "user=bob host=a password='pool_size=3 x' pool_size=4");
    assert_int_equal(config->pools.pool_size, 4);
    assert_true(is_secret(&role_of(config, "bob")->password, "pool_size=3 x"));
}

/* ---- what is wrong ---- */

static void config_url__what_is_wrong_is_said_without_the_string(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *text, *message, *hint;
    } cases[] = {
        {"postgresql://bob:hunter2@a/db?pool_mod=x", "no connection string", "\"pool_mode\""},
        {"host=a password=hunter2 pol_size=3", "no connection string", "\"pool_size\""},
        {"postgresql://bob:hunter2@a/db?pool_mode=x", "option \"pool_mode\": \"x\" is not", ""},
        {"postgresql://bob:hunter2@a/db?pool_size=0", "option \"pool_size\": 0 is too small", ""},
        {"postgresql://bob:hunter2@a/db?listen=%zz", "a % in the connection string", ""},
        {"postgresql://bob:hunter2@a/db?listen=%00", "a % in the connection string", ""},
        {"postgresql://bob:hunter2@a/db?listen=%4", "a % in the connection string", ""},
        {"postgresql://bob:hunter2", "its port is not a number", ""},
        {"postgresql://:hunter2@a/db", "no user that it is for", ""},
        {"postgresql://:hunter2@a/db?auth_type=trust", "no user that it is for", ""},
        {"postgresql://bob:hunter2@a/db?options=-cx%3D1", "the parameter options has no", ""},
        {"postgresql://bob:hunter2@a/db?application_name=x", "application_name has no", ""},
        {"postgresql://bob:hunter2@a/db?gssencmode=require", "gssencmode has no", ""},
        {"postgresql://bob:hunter2@a/db?sslmode=on", "\"sslmode\": \"on\" is not known", ""},
        {"postgresql://bob:hunter2@a/db?connect_timeout=x", "connect_timeout is no number", ""},
        {"postgresql://bob:hunter2@a,b/db?port=1,2,3", "as many ports as hosts", ""},
        {"host=a password=hunter2", "no user that it is for", ""},
        {"postgresql://bob@a/?auth_type=md5", "nobody has one", "PGPASSWORD"},
        {"postgresql://bob:hunter2@a b/db", "hosts: \"a b:5432\" is no host", ""},
        {"hunter2", "no connection string", ""},
        {"host=a hunter2 = ", "no connection string", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (read_url(fixture, cases[i].text) == HF_OK)
            fail_msg("taken: %s", cases[i].text);
        assert_null(fixture->config);
        if (strstr(fixture->err.message, cases[i].message) == NULL ||
            strstr(fixture->err.hint, cases[i].hint) == NULL)
            fail_msg("%s: %s (%s)", cases[i].text, fixture->err.message, fixture->err.hint);
        assert_null(strstr(fixture->err.message, "hunter2"));
        assert_null(strstr(fixture->err.hint, "hunter2"));
    }
}

static void config_url__it_is_bounded(void **state)
{
    struct fixture *fixture = *state;
    static char text[8192];
    size_t used = (size_t)snprintf(text, sizeof text, "postgresql://a/?x=1");
    for (int i = 0; i < 65; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "&pool_size=5");
    assert_int_equal(read_url(fixture, text), HF_RC_LIMIT);
    snprintf(text, sizeof text, "host=%05000d", 0);
    assert_int_equal(read_url(fixture, text), HF_RC_LIMIT);
    snprintf(text, sizeof text, "host=%04000d", 0);
    assert_int_not_equal(read_url(fixture, text), HF_OK);
}

static void config_url__every_allocation_may_fail(void **state)
{
    struct fixture *fixture = *state;
    for (uint64_t nth = 1; nth <= 3; nth++) {
        mem_fail_nth(&fixture->mem, nth);
        assert_int_not_equal(read_url(fixture, "postgresql://a"), HF_OK);
    }
    mem_fail_nth(&fixture->mem, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(config_url__servers_are_read_as_libpq_reads_them, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(config_url__settings_of_ours_may_stand_in_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(config_url__certificates_are_those_of_libpq, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(config_url__the_environment_fills_what_is_not_said, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(config_url__with_a_password_clients_must_know_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(config_url__the_passfile_has_passwords_too, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(config_url__without_a_password_this_machine_is_trusted,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            config_url__the_identity_of_this_process_is_not_lent_unasked, setup, teardown),
        cmocka_unit_test_setup_teardown(
            config_url__trust_with_a_password_enters_servers_as_the_user, setup, teardown),
        cmocka_unit_test_setup_teardown(config_url__a_users_file_says_who_comes_in, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(config_url__a_password_is_not_taken_for_settings, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(config_url__what_is_wrong_is_said_without_the_string, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(config_url__it_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(config_url__every_allocation_may_fail, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
