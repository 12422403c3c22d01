#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ns.h"
#include "config/config.h"
#include "os/file.h"

#define DATABASE "databases: {app: {hosts: db1}}\n"

struct fixture {
    struct mem mem;
    struct proxy_config *config;
    struct config_faults faults;
    char dir[64];
    struct hf_err err;
};

static int setup(void **state)
{
    static struct fixture fixture;
    memset(&fixture, 0, sizeof fixture);
    mem_init(&fixture.mem, 0);
    snprintf(fixture.dir, sizeof fixture.dir, "/tmp/test_config.XXXXXX");
    assert_non_null(mkdtemp(fixture.dir));
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    struct hf_err err;
    proxy_config_free(fixture->config);
    mem_deinit(&fixture->mem);
    assert_int_equal(file_remove_tree(fixture->dir, &err), HF_OK);
    return 0;
}

static enum hf_rc read_text(struct fixture *fixture, const char *text)
{
    proxy_config_free(fixture->config);
    return config_read_text(&fixture->config, sv_from_cstr(text), NULL, &fixture->mem,
                            &fixture->faults);
}

static const struct proxy_config *read_well(struct fixture *fixture, const char *text)
{
    char line[FAULTS_TEXT_MAX];
    if (read_text(fixture, text) != HF_OK)
        fail_msg("%s", faults_text(&fixture->faults.list[0], text, line));
    return fixture->config;
}

/* ---- good files ---- */

static void config__a_file_fills_every_section(void **state)
{
    struct fixture *fixture = *state;
    const struct proxy_config *config = read_well(
        fixture, "# all of it\n"
                 "---\n"
                 "proxy:\n"
                 "  listen: [127.0.0.1, '[::1]:7000']\n"
                 "  port: 6433\n"
                 "  log_slow: 1s\n"
                 "  client_tls:\n"
                 "    sslmode: require\n"
                 "    cert_file: /c\n"
                 "    key_file: /k\n"
                 "  server_tls: {sslmode: verify-full}\n"
                 "limits: {clients_max: 500, clients_per_role_max: 7}\n"
                 "pools:\n"
                 "  pool_size: 5\n"
                 "databases:\n"
                 "  app:\n"
                 "    hosts: db1:5432, db2\n"
                 "    pool_mode: transaction\n"
                 "    query_timeout: 1.5s\n"
                 "  \"*\":\n"
                 "    hosts: [/run/postgresql, \"[::1]\"]\n"
                 "    sslmode: disable\n"
                 "    user: web\n"
                 "    password: 'it''s: #1'\n"
                 "roles:\n"
                 "  web: {password: \"md5 is not this\", pool_mode: session, clients_max: 3}\n"
                 "  other:\n");
    assert_int_equal(config->proxy.listener_count, 2);
    assert_int_equal(config->proxy.listeners[0].port, 6433);
    assert_int_equal(config->proxy.log_slow_ns, HF_SEC(1));
    assert_int_equal(config->client_tls.sslmode, PROXY_SSL_REQUIRE);
    assert_int_equal(config->limits.clients_max, 500);
    assert_int_equal(config->database_count, 2);
    const struct proxy_database *app = proxy_database_find(config, SV("app"));
    const struct proxy_database *any = proxy_database_find(config, SV("else"));
    assert_int_equal(app->pool.pool_mode, PROXY_POOL_TRANSACTION);
    assert_int_equal(app->pool.pool_size, 5);
    assert_int_equal(app->pool.query_timeout_ns, HF_MS(1500));
    assert_int_equal(app->sslmode, PROXY_SSL_VERIFY_FULL);
    assert_int_equal(app->host_count, 2);
    assert_string_equal(any->name, "*");
    assert_int_equal(any->pool.pool_mode, PROXY_POOL_SESSION);
    assert_int_equal(any->sslmode, PROXY_SSL_DISABLE);
    assert_true(any->hosts[0].is_unix);
    assert_string_equal(any->hosts[1].name, "::1");
    assert_true(sv_eq(secret_reveal(&any->password), SV("it's: #1")));
    assert_int_equal(config->role_count, 3);
    assert_int_equal(proxy_role_get(config, SV("web"))->clients_max, 3);
    assert_int_equal(proxy_role_get(config, SV("other"))->clients_max, 7);
    assert_int_equal(proxy_role_get(config, SV("nobody"))->clients_max, 7);
}

static void config__the_order_of_sections_means_nothing(void **state)
{
    struct fixture *fixture = *state;
    const struct proxy_config *config =
        read_well(fixture, DATABASE "roles: {a: {}}\npools: {pool_size: 3}\n"
                                    "limits: {clients_per_database_max: 4}\n");
    assert_int_equal(config->databases[0].pool.pool_size, 3);
    assert_int_equal(config->databases[0].clients_max, 4);
}

static void config__values_are_text_whatever_yaml_thinks(void **state)
{
    struct fixture *fixture = *state;
    const struct proxy_config *config = read_well(
        fixture, "proxy: {unix_socket_dir: /x, unix_socket_mode: 0770, "
                 "log_connections: no}\n"
                 "databases: {on: {hosts: db1, dbname: null}, 1e3: {hosts: '1.2.3.4'}}\n");
    assert_int_equal(config->proxy.unix_socket_mode, 0770);
    assert_false(config->proxy.log_connections);
    assert_string_equal(proxy_database_find(config, SV("on"))->dbname, "null");
    assert_non_null(proxy_database_find(config, SV("1e3")));
}

/* ---- environment and files ---- */

static void config__variables_are_put_in(void **state)
{
    struct fixture *fixture = *state;
    setenv("HF_TEST_HOST", "db9", 1);
    setenv("HF_TEST_EMPTY", "", 1);
    setenv("HF_TEST_SECRET", "p${HF_TEST_HOST}", 1);
    const struct proxy_config *config =
        read_well(fixture, "databases:\n"
                           "  app:\n"
                           "    hosts: ['${HF_TEST_HOST}:1', 'x${HF_TEST_EMPTY}y']\n"
                           "    user: $a$$b${HF_TEST_EMPTY}$\n"
                           "    password: \"$${x}${HF_TEST_SECRET}\"\n"
                           "    dbname: ${HF_TEST_HOST}${HF_TEST_HOST}\n");
    const struct proxy_database *app = &config->databases[0];
    assert_string_equal(app->hosts_text, "db9:1, xy");
    assert_string_equal(app->user, "$a$$b$");
    assert_true(sv_eq(secret_reveal(&app->password), SV("${x}p${HF_TEST_HOST}")));
    assert_string_equal(app->dbname, "db9db9");
}

static void config__secrets_may_stand_in_files(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/secret", fixture->dir);
    assert_int_equal(file_write(path, "from a file\n", 0600, &fixture->err), HF_OK);
    snprintf(path, sizeof path, "%s/holdfast.yml", fixture->dir);
    assert_int_equal(file_write(path,
                                "proxy: {auth_file: users, auth_hba_file: /abs, "
                                "unix_socket_dir: run}\n"
                                "databases: {app: {hosts: a, user: b, password_file: secret}}\n",
                                0600, &fixture->err),
                     HF_OK);
    assert_int_equal(config_read_file(&fixture->config, path, &fixture->mem, &fixture->faults),
                     HF_OK);
    assert_true(sv_eq(secret_reveal(&fixture->config->databases[0].password), SV("from a file")));
    snprintf(path, sizeof path, "%s/users", fixture->dir);
    assert_string_equal(fixture->config->proxy.auth_file, path);
    assert_string_equal(fixture->config->proxy.auth_hba_file, "/abs");
    snprintf(path, sizeof path, "%s/run", fixture->dir);
    assert_string_equal(fixture->config->proxy.unix_socket_dir, path);
}

static void config__a_file_that_cannot_be_read_is_a_fault(void **state)
{
    struct fixture *fixture = *state;
    char path[128], line[FAULTS_TEXT_MAX], expected[512];
    snprintf(path, sizeof path, "%s/none.yml", fixture->dir);
    assert_int_equal(config_read_file(&fixture->config, path, &fixture->mem, &fixture->faults),
                     HF_RC_MISSING);
    snprintf(expected, sizeof expected, "%s: could not open \"%s\": no such file or directory",
             path, path);
    assert_string_equal(faults_text(&fixture->faults.list[0], path, line), expected);
    assert_null(fixture->config);
}

/* ---- bad files ---- */

static const struct {
    const char *text, *fault, *hint;
} bad_files[] = {
    /* settings */
    {"pools:\n  pool_size: 0\n" DATABASE, "f:2:14: pools.pool_size: 0 is too small",
     "Choose a value from 1 to 10000."},
    {"pools: {query_timeout: 5}\n" DATABASE,
     "f:1:24: pools.query_timeout: \"5\" is not a duration: the unit is missing", "such as"},
    {"pools: {query_timeout: 0}\n" DATABASE, "f:1:24: pools.query_timeout: 0 is too small",
     "1ms to never"},
    {"pools: {pool_mode: transactions}\n" DATABASE,
     "f:1:20: pools.pool_mode: \"transactions\" is not known here", "\"transaction\""},
    {"pools:\n  pool_siez: 3\n" DATABASE, "f:2:3: pools.pool_siez: there is no such setting here",
     "\"pool_size\""},
    {"proxy: {clienttls: {}}\n" DATABASE, "f:1:9: proxy.clienttls: there is no such setting here",
     "\"client_tls\""},
    {"proxy: {client_tls: {sslmodes: x}}\n" DATABASE,
     "f:1:22: proxy.client_tls.sslmodes: there is no such setting here", "\"sslmode\""},
    {"proxy: {pool_size: 3}\n" DATABASE, "f:1:9: proxy.pool_size: there is no such setting here",
     "section \"pools\""},
    {"pools: {xyzzy: 3}\n" DATABASE, "f:1:9: pools.xyzzy: there is no such setting here",
     "config reference"},
    {"pools: {proxy.listen: 3}\n" DATABASE,
     "f:1:9: pools.proxy.listen: there is no such setting here", ""},
    {"database: {}\n" DATABASE, "f:1:1: database: there is no such section", "\"databases\""},
    {"port: 6432\n" DATABASE, "f:1:1: port: there is no such section", "section \"proxy\""},
    {"client_tls: {}\n" DATABASE, "f:1:1: client_tls: there is no such section", ""},
    {"databases: {app: {hosts: a, pool_siz: 3}}\n",
     "f:1:29: databases.app.pool_siz: there is no such setting here", "\"pool_size\""},
    {"databases: {app: {hosts: a, port: 3}}\n",
     "f:1:29: databases.app.port: there is no such setting here", ""},
    {"roles: {bob: {passwort: x}}\n" DATABASE,
     "f:1:15: roles.bob.passwort: there is no such setting here", "\"password\""},
    {"roles: {bob: {pool_size: x}}\n" DATABASE,
     "f:1:26: roles.bob.pool_size: \"x\" is not an integer", ""},
    /* kinds */
    {"pools: 3\n" DATABASE, "f:1:8: pools: a map of settings was expected, and this is a text", ""},
    {"pools: []\n" DATABASE, "f:1:8: pools: a map of settings was expected, and this is a list",
     ""},
    {"proxy: {client_tls: require}\n" DATABASE,
     "f:1:21: proxy.client_tls: a map of settings was expected, and this is a text", ""},
    {"roles: {bob: ''}\n" DATABASE,
     "f:1:14: roles.bob: a map of settings was expected, and this is a text", ""},
    {"pools: {pool_size: [3]}\n" DATABASE,
     "f:1:20: pools.pool_size: an integer was expected, and this is a list", ""},
    {"pools: {server_reset_query: [x]}\n" DATABASE,
     "f:1:29: pools.server_reset_query: a text was expected, and this is a list", ""},
    {"proxy: {listen: {a: b}}\n" DATABASE,
     "f:1:17: proxy.listen: a text was expected, and this is a map", ""},
    {"proxy: {listen: [a, [b]]}\n" DATABASE,
     "f:1:21: proxy.listen: a text was expected, and this is a list", ""},
    {"[]", "f:1:1: a map of settings was expected, and this is a list", ""},
    {"just text", "f:1:1: a map of settings was expected, and this is a text", ""},
    /* together */
    {"", "f: databases: there is no database", "Name one"},
    {"databases: {}\n", "f:1:1: databases: there is no database", ""},
    {"proxy: {}\ndatabases: {app: {}}\n",
     "f:2:13: databases.app.hosts: the database has no servers", "Give it hosts"},
    {"databases:\n  app:\n    hosts: a:http\n", "f:3:12: databases.app.hosts: \"http\" is no port",
     ""},
    {"databases:\n  app: {hosts: a, password: hunter2}\n",
     "f:2:29: databases.app.password: a password needs the user it is for", ""},
    {"databases: {holdfast: {hosts: a}}\n",
     "f:1:13: databases.holdfast: this name belongs to the admin console", ""},
    {"proxy:\n  listen: '*'\n  auth_type: trust\n" DATABASE,
     "f:3:14: proxy.auth_type: trust would let in whoever reaches \"*\"", ""},
    {"proxy:\n  client_tls:\n    sslmode: require\n" DATABASE,
     "f:2:3: proxy.client_tls.cert_file: TLS needs a certificate of the proxy", ""},
    /* names */
    {"databases: {'': {hosts: a}}\n", "f:1:13: databases: a name must not be empty", ""},
    {"roles: {0123456789012345678901234567890123456789012345678901234567890123: {}}\n" DATABASE,
     "f:1:9: roles.0123456789012345678901234567890123456789012345678901234567890123: the name "
     "has 64 bytes, at most 63 are allowed",
     ""},
    /* twice */
    {DATABASE "databases: {b: {hosts: c}}\n", "f:2:1: \"databases\" comes twice", "line 1"},
    {"pools:\n  pool_size: 1\n  queue_max: 1\n  pool_size: 2\n" DATABASE,
     "f:4:3: \"pool_size\" comes twice", "line 2"},
    {"roles: {b: {}, a: {}, 'b': {}}\n", "f:1:23: \"b\" comes twice", "line 1"},
    {"databases: {a: {hosts: x, user: u, password: p, password_file: /p}}\n",
     "f:1:49: databases.a.password_file: \"password\" is here, too", ""},
    /* environment and files */
    {"databases: {a: {hosts: '${HF_TEST_NOT_THERE}'}}\n",
     "f:1:24: databases.a.hosts: the environment variable HF_TEST_NOT_THERE is not set", ""},
    {"databases: {a: {hosts: [b, '${HF_TEST_NOT_THERE}']}}\n",
     "f:1:28: databases.a.hosts: the environment variable HF_TEST_NOT_THERE is not set", ""},
    {"databases: {a: {hosts: '${'}}\n",
     "f:1:24: databases.a.hosts: ${ is not followed by a name and }", "$${"},
    {"databases: {a: {hosts: '${1A}'}}\n",
     "f:1:24: databases.a.hosts: ${ is not followed by a name and }", ""},
    {"databases: {a: {hosts: '${A-B}'}}\n",
     "f:1:24: databases.a.hosts: ${ is not followed by a name and }", ""},
    {"databases: {a: {hosts: b, user: u, password_file: /dev/null}}\n",
     "f:1:51: databases.a.password_file: \"/dev/null\" is empty", ""},
    {"roles: {a: {password_file: [x]}}\n" DATABASE,
     "f:1:28: roles.a.password_file: a secret was expected, and this is a list", ""},
    /* YAML */
    {"pools: {a: &x 1, b: *x}\n", "f:1:12: anchors and aliases are not supported", "pools"},
    {"pools: *x\n", "f:1:8: anchors and aliases are not supported", ""},
    {"pools: &x {}\n", "f:1:8: anchors and aliases are not supported", ""},
    {"pools: &x []\n", "f:1:8: anchors and aliases are not supported", ""},
    {"pools: !!map {}\n", "f:1:8: tags are not supported", ""},
    {"pools: {pool_size: !!int 3}\n", "f:1:20: tags are not supported", ""},
    {DATABASE "---\n" DATABASE, "f:2:1: there is more than one document", ""},
    {"? [a, b]\n: c\n", "f:1:3: a key must be a text", ""},
    {"a: [[[[[[[[x]]]]]]]]\n", "f:1:11: this is nested too deeply", ""},
    {"pools: {pool_size: 3\n", "f:2:1: this is not YAML: ", "line 1"},
    {"pools:\n\tpool_size: 3\n", "f:2:1: this is not YAML: ", "A tab stands there"},
    {"a: b: c\n", "f:1:5: this is not YAML: ", ""},
    {"pools: \"x\n", "f:2:1: this is not YAML: ", ""},
    {"pools: \xff\n", "f: byte 8: ", ""},
    {"pools: \x01\n", "f: byte 8: ", ""},
    {"pools: \"\\0\"\n", "f:1:8: there is a zero byte", ""},
};

static void config__every_fault_has_its_place_and_key(void **state)
{
    struct fixture *fixture = *state;
    char line[FAULTS_TEXT_MAX];
    unsetenv("HF_TEST_NOT_THERE");
    for (size_t i = 0; i < sizeof bad_files / sizeof bad_files[0]; i++) {
        if (read_text(fixture, bad_files[i].text) == HF_OK)
            fail_msg("taken: %s", bad_files[i].text);
        assert_null(fixture->config);
        const struct config_fault *fault = &fixture->faults.list[0];
        faults_text(fault, "f", line);
        /* libpq's and libyaml's own words are not ours to test. */
        const size_t size = strlen(bad_files[i].fault);
        const bool is_open = bad_files[i].fault[size - 1] == ' ';
        if (is_open ? strncmp(line, bad_files[i].fault, size) != 0
                    : strcmp(line, bad_files[i].fault) != 0)
            fail_msg("%s\nsays %s\nnot  %s", bad_files[i].text, line, bad_files[i].fault);
        if (strstr(fault->err.hint, bad_files[i].hint) == NULL)
            fail_msg("%s\nhints %s\nnot   %s", bad_files[i].text, fault->err.hint,
                     bad_files[i].hint);
        assert_null(strstr(line, "hunter2"));
        assert_null(strstr(fault->err.hint, "hunter2"));
    }
}

static void config__all_faults_are_told_in_the_order_of_the_file(void **state)
{
    struct fixture *fixture = *state;
    char line[FAULTS_TEXT_MAX];
    struct hf_err err;
    static const char *const faults[] = {
        "f:2:14: roles.a.pool_size: -1 is too small",
        "f:3:8: pools: a map of settings was expected, and this is a text",
        "f:5:3: proxy.x: there is no such setting here",
        "f:6:9: proxy.port: 0 is too small",
    };
    assert_int_equal(read_text(fixture, "roles: {a: {\n  pool_size: -1}}\npools: 3\n"
                                        "proxy:\n  x: 1\n  port: 0\n"),
                     HF_RC_INVALID);
    assert_int_equal(fixture->faults.count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(faults_text(&fixture->faults.list[i], "f", line), faults[i]);
    assert_int_equal(config_fault_as_err(&fixture->faults, "f", &err), HF_RC_INVALID);
    assert_string_equal(err.message, faults[0]);
    assert_string_equal(err.detail, "3 more settings are wrong.");
}

static void config__more_faults_than_are_kept_are_counted(void **state)
{
    struct fixture *fixture = *state;
    static char text[4096];
    size_t used = (size_t)snprintf(text, sizeof text, "pools:\n");
    for (int i = 0; i < FAULTS_MAX + 5; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "  wrong_%d: 1\n", i);
    assert_int_equal(read_text(fixture, text), HF_RC_INVALID);
    assert_int_equal(fixture->faults.count, FAULTS_MAX);
    assert_int_equal(fixture->faults.total, FAULTS_MAX + 5);
}

/* ---- bounds ---- */

static void config__sizes_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    static char text[TREE_TEXT_MAX + 2];
    char line[FAULTS_TEXT_MAX];
    memset(text, ' ', sizeof text - 1);
    assert_int_equal(read_text(fixture, text), HF_RC_LIMIT);

    size_t used = (size_t)snprintf(text, sizeof text, "roles:\n");
    for (int i = 0; i <= PROXY_ROLES_MAX; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, " r%d:\n", i);
    assert_int_equal(read_text(fixture, text), HF_RC_LIMIT);
    assert_string_equal(faults_text(&fixture->faults.list[0], "f", line),
                        "f:1:1: roles: there are 10001, at most 10000 are allowed");

    used = (size_t)snprintf(text, sizeof text, "databases:\n");
    for (int i = 0; i <= PROXY_DATABASES_MAX; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, " d%d: {hosts: a}\n", i);
    assert_int_equal(read_text(fixture, text), HF_RC_LIMIT);

    used = (size_t)snprintf(text, sizeof text, "a: [");
    for (int i = 0; i <= TREE_NODES_MAX; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "x,\n");
    assert_int_equal(read_text(fixture, text), HF_RC_LIMIT);

    snprintf(text, sizeof text, "proxy: {admin_users: %05000d}\n" DATABASE, 0);
    assert_int_equal(read_text(fixture, text), HF_RC_LIMIT);
    assert_string_equal(faults_text(&fixture->faults.list[0], "f", line),
                        "f:1:22: proxy.admin_users: the value has more than 4095 bytes");
    snprintf(text, sizeof text, "proxy: {admin_users: %01024d}\n" DATABASE, 0);
    assert_int_equal(read_text(fixture, text), HF_RC_LIMIT);
}

static void config__many_roles_and_databases_are_read(void **state)
{
    struct fixture *fixture = *state;
    static char text[400000];
    size_t used = (size_t)snprintf(text, sizeof text, "databases:\n");
    for (int i = 0; i < PROXY_DATABASES_MAX; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, " d%d: {hosts: a}\n", i);
    used += (size_t)snprintf(text + used, sizeof text - used, "roles:\n");
    for (int i = 0; i < PROXY_ROLES_MAX; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, " r%d: {pool_size: 2}\n", i);
    const struct proxy_config *config = read_well(fixture, text);
    assert_string_equal(proxy_role_get(config, SV("r7777"))->name, "r7777");
    assert_string_equal(proxy_database_find(config, SV("d777"))->name, "d777");
}

static void config__every_allocation_may_fail(void **state)
{
    struct fixture *fixture = *state;
    uint64_t nth = 1;
    for (; nth < 100; nth++) {
        mem_fail_nth(&fixture->mem, nth);
        if (read_text(fixture, "pools: {pool_size: 1, queue_max: 2}\n" DATABASE) == HF_OK)
            break;
        assert_null(fixture->config);
    }
    mem_fail_nth(&fixture->mem, 0);
    assert_in_range(nth, 4, 20);
}

/* ---- the library's section ---- */

static void config__the_librarys_section_is_judged_too(void **state)
{
    struct fixture *fixture = *state;
    read_well(fixture, "library: {deadline: 3s, pool: {size_max: 7}}\n" DATABASE);
    assert_int_not_equal(read_text(fixture, "library: {deadline: 3}\n" DATABASE), HF_OK);
    assert_string_equal(fixture->faults.list[0].key, "library.deadline");
    assert_int_equal(fixture->faults.list[0].place.line, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(config__a_file_fills_every_section, setup, teardown),
        cmocka_unit_test_setup_teardown(config__the_order_of_sections_means_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(config__values_are_text_whatever_yaml_thinks, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(config__variables_are_put_in, setup, teardown),
        cmocka_unit_test_setup_teardown(config__secrets_may_stand_in_files, setup, teardown),
        cmocka_unit_test_setup_teardown(config__a_file_that_cannot_be_read_is_a_fault, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(config__every_fault_has_its_place_and_key, setup, teardown),
        cmocka_unit_test_setup_teardown(config__all_faults_are_told_in_the_order_of_the_file, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(config__more_faults_than_are_kept_are_counted, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(config__sizes_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(config__many_roles_and_databases_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(config__every_allocation_may_fail, setup, teardown),
        cmocka_unit_test_setup_teardown(config__the_librarys_section_is_judged_too, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
