#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/ns.h"
#include "base/opt_check.h"
#include "proxy/proxy_config.h"

/* ---- a configuration to break ---- */

struct fixture {
    struct mem mem;
    struct proxy_config *config;
    struct proxy_fault fault;
    struct hf_err err;
};

static void set_hosts(struct proxy_database *database, const char *text)
{
    snprintf(database->hosts_text, sizeof database->hosts_text, "%s", text);
}

/* One database "app" on db1, and nothing else. */
static int setup(void **state)
{
    static struct fixture fixture;
    struct proxy_database *database = NULL;
    memset(&fixture, 0, sizeof fixture);
    mem_init(&fixture.mem, 0);
    fixture.config = proxy_config_new(&fixture.mem, 4, 4);
    assert_non_null(fixture.config);
    assert_int_equal(proxy_config_add_database(fixture.config, SV("app"), &database, &fixture.err),
                     HF_OK);
    set_hosts(database, "db1");
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    proxy_config_free(fixture->config);
    mem_deinit(&fixture->mem);
    return 0;
}

static void set(struct fixture *fixture, const char *section_path, const char *key,
                const char *value)
{
    const struct proxy_section *section = proxy_section_find(sv_from_cstr(section_path));
    assert_non_null(section);
    char *base = (char *)fixture->config + section->offset;
    if (section->kind == PROXY_SECTION_DATABASES)
        base = (char *)&fixture->config->databases[fixture->config->database_count - 1];
    if (section->kind == PROXY_SECTION_ROLES)
        base = (char *)&fixture->config->roles[fixture->config->role_count - 1];
    for (size_t i = 0; i < 2; i++) {
        const struct opt_row *row = opt_find(&section->tables[i], sv_from_cstr(key));
        if (row == NULL)
            continue;
        if (opt_set_row(row, base, sv_from_cstr(value), &fixture->err) != HF_OK)
            fail_msg("%s.%s: %s", section_path, key, fixture->err.message);
        return;
    }
    fail_msg("no row %s.%s", section_path, key);
}

static enum hf_rc finish(struct fixture *fixture)
{
    return proxy_config_finish(fixture->config, &fixture->fault, &fixture->err);
}

static void finish_well(struct fixture *fixture)
{
    if (finish(fixture) != HF_OK)
        fail_msg("%s.%s: %s", fixture->fault.section, fixture->fault.key, fixture->err.message);
}

/* ---- rows ---- */

static void proxy_config__rows_are_sound(void **state)
{
    (void)state;
    static const size_t sizes[] = {
        sizeof(struct proxy_settings), sizeof(struct proxy_tls),    sizeof(struct proxy_tls),
        sizeof(struct proxy_limits),   sizeof(struct proxy_budget), sizeof(struct proxy_pool),
        sizeof(struct proxy_database), sizeof(struct proxy_role),   sizeof(struct group),
        sizeof(struct proxy_listener), sizeof(struct proxy_peer)};
    struct hf_err err;
    assert_int_equal(proxy_section_count(), sizeof sizes / sizeof sizes[0]);
    for (size_t i = 0; i < proxy_section_count(); i++) {
        const struct proxy_section *section = proxy_section_at(i);
        if (opt_check(&section->tables[0], sizes[i], &err) != HF_OK)
            fail_msg("%s: %s", section->path, err.message);
        assert_ptr_equal(proxy_section_find(sv_from_cstr(section->path)), section);
    }
    assert_null(proxy_section_find(SV("proxy.pools")));
}

/* A database has two tables over one struct: a key or a byte in both would be set twice. */
static void proxy_config__a_database_has_no_key_twice(void **state)
{
    (void)state;
    const struct proxy_section *section = proxy_section_find(SV("databases"));
    for (size_t i = 0; i < section->tables[0].count; i++) {
        const struct opt_row *row = &section->tables[0].rows[i];
        assert_null(opt_find(&section->tables[1], sv_from_cstr(row->key)));
        assert_true(row->offset >= sizeof(struct proxy_pool));
    }
}

/* ---- making ---- */

static void proxy_config__defaults_make_a_whole_configuration(void **state)
{
    struct fixture *fixture = *state;
    finish_well(fixture);
    const struct proxy_config *config = fixture->config;
    assert_int_equal(config->proxy.listener_count, 1);
    assert_string_equal(config->proxy.listeners[0].name, "127.0.0.1");
    assert_int_equal(config->proxy.listeners[0].port, 6432);
    assert_int_equal(config->proxy.unix_socket_mode, 0777);
    assert_int_equal(config->proxy.auth_type, PROXY_AUTH_SCRAM);
    assert_string_equal(proxy_auth_name(config->proxy.auth_type), "scram-sha-256");
    assert_int_equal(config->role_count, 1);
    assert_string_equal(config->roles[0].name, "*");
    assert_int_equal(config->databases[0].host_count, 1);
    assert_string_equal(config->databases[0].hosts[0].name, "db1");
    assert_int_equal(config->databases[0].hosts[0].port, 5432);
}

static void proxy_config__a_database_begins_as_the_defaults_of_all(void **state)
{
    struct fixture *fixture = *state;
    struct proxy_database *database = NULL;
    set(fixture, "pools", "pool_size", "7");
    set(fixture, "limits", "clients_per_database_max", "30");
    set(fixture, "proxy.server_tls", "sslmode", "require");
    assert_int_equal(
        proxy_config_add_database(fixture->config, SV("other"), &database, &fixture->err), HF_OK);
    assert_int_equal(database->pool.pool_size, 7);
    assert_int_equal(database->clients_max, 30);
    assert_int_equal(database->sslmode, PROXY_SSL_REQUIRE);
    assert_int_equal(fixture->config->databases[0].pool.pool_size, 20);
}

static void proxy_config__names_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    struct proxy_role *role = NULL;
    char name[65];
    memset(name, 'n', sizeof name);
    assert_int_equal(
        proxy_config_add_role(fixture->config, sv_from(name, 64), &role, &fixture->err),
        HF_RC_LIMIT);
    assert_int_equal(proxy_config_add_role(fixture->config, SV(""), &role, &fixture->err),
                     HF_RC_INVALID);
    assert_int_equal(
        proxy_config_add_role(fixture->config, sv_from("a\0b", 3), &role, &fixture->err),
        HF_RC_INVALID);
    assert_int_equal(fixture->config->role_count, 0);
    assert_int_equal(
        proxy_config_add_role(fixture->config, sv_from(name, 63), &role, &fixture->err), HF_OK);
}

static void proxy_config__without_memory_nothing_is_made(void **state)
{
    (void)state;
    struct mem mem;
    mem_init(&mem, 0);
    for (uint64_t nth = 1; nth <= 3; nth++) {
        mem_fail_nth(&mem, nth);
        assert_null(proxy_config_new(&mem, 1, 1));
    }
    mem_deinit(&mem);
}

/* ---- finding ---- */

static void proxy_config__a_name_finds_its_own_entry_or_the_star(void **state)
{
    struct fixture *fixture = *state;
    struct proxy_database *database = NULL;
    struct proxy_role *role = NULL;
    /* "*" sorts before letters and behind "!", were it a name like any other. */
    static const char *const names[] = {"*", "!first", "zoo"};
    for (size_t i = 0; i < 3; i++) {
        const struct sv name = sv_from_cstr(names[i]);
        assert_int_equal(proxy_config_add_database(fixture->config, name, &database, &fixture->err),
                         HF_OK);
        set_hosts(database, "db2");
        assert_int_equal(proxy_config_add_role(fixture->config, name, &role, &fixture->err), HF_OK);
    }
    finish_well(fixture);
    static const struct {
        const char *name, *database, *role;
    } cases[] = {
        {"app", "app", "*"}, {"!first", "!first", "!first"}, {"zoo", "zoo", "zoo"},
        {"*", "*", "*"},     {"nobody", "*", "*"},           {"", "*", "*"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct sv name = sv_from_cstr(cases[i].name);
        assert_string_equal(proxy_database_find(fixture->config, name)->name, cases[i].database);
        assert_string_equal(proxy_role_get(fixture->config, name)->name, cases[i].role);
    }
}

static void proxy_config__without_a_star_an_unknown_database_is_none(void **state)
{
    struct fixture *fixture = *state;
    assert_null(proxy_database_find(fixture->config, SV("no")));
    finish_well(fixture);
    assert_null(proxy_database_find(fixture->config, SV("no")));
    assert_non_null(proxy_database_find(fixture->config, SV("app")));
}

static void proxy_config__a_role_overrides_its_database(void **state)
{
    struct fixture *fixture = *state;
    struct proxy_role *role = NULL;
    struct proxy_pool pool;
    assert_int_equal(proxy_config_add_role(fixture->config, SV("bob"), &role, &fixture->err),
                     HF_OK);
    set(fixture, "databases", "pool_mode", "transaction");
    set(fixture, "databases", "min_pool_size", "9");
    set(fixture, "databases", "query_timeout", "10s");
    proxy_pool_of(&fixture->config->databases[0], role, &pool);
    assert_int_equal(pool.pool_mode, PROXY_POOL_TRANSACTION);
    assert_int_equal(pool.pool_size, 20);
    assert_int_equal(pool.query_timeout_ns, HF_SEC(10));

    set(fixture, "roles", "pool_mode", "statement");
    set(fixture, "roles", "pool_size", "3");
    set(fixture, "roles", "query_timeout", "20s");
    set(fixture, "roles", "client_idle_timeout", "1min");
    proxy_pool_of(&fixture->config->databases[0], role, &pool);
    assert_int_equal(pool.pool_mode, PROXY_POOL_STATEMENT);
    assert_int_equal(pool.pool_size, 3);
    assert_int_equal(pool.min_pool_size, 3);
    assert_int_equal(pool.query_timeout_ns, HF_SEC(10));
    assert_int_equal(pool.client_idle_timeout_ns, HF_SEC(60));
    set(fixture, "roles", "pool_mode", "session");
    proxy_pool_of(&fixture->config->databases[0], role, &pool);
    assert_int_equal(pool.pool_mode, PROXY_POOL_SESSION);
}

static void proxy_config__lists_have_what_stands_between_commas(void **state)
{
    (void)state;
    assert_true(proxy_list_has("bob, eve", SV("eve")));
    assert_true(proxy_list_has("bob", SV("bob")));
    assert_false(proxy_list_has("bob, eve", SV("ev")));
    assert_false(proxy_list_has("", SV("")));
    assert_false(proxy_list_has("a,,b", SV("")));
}

/* ---- hosts ---- */

static void proxy_config__hosts_are_read_in_every_form(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *text, *name;
        int port;
        bool is_unix;
    } cases[] = {
        {"db1", "db1", 5432, false},
        {" db1 : 5433 ", NULL, 0, false},
        {"db1:5433", "db1", 5433, false},
        {"192.0.2.1:6000", "192.0.2.1", 6000, false},
        {"2001:db8::1", "2001:db8::1", 5432, false},
        {"[2001:db8::1]", "2001:db8::1", 5432, false},
        {"[2001:db8::1]:6000", "2001:db8::1", 6000, false},
        {"/run/postgresql", "/run/postgresql", 5432, true},
        {"/run/postgresql:5433", "/run/postgresql", 5433, true},
        {"@abstract", "@abstract", 5432, true},
        {"db1:", NULL, 0, false},
        {"db1:0", NULL, 0, false},
        {"db1:65536", NULL, 0, false},
        {"db1:http", NULL, 0, false},
        {":5432", NULL, 0, false},
        {"[::1", NULL, 0, false},
        {"[::1]5432", NULL, 0, false},
        {"[]:5432", NULL, 0, false},
        {"db1,,db2", NULL, 0, false},
        {"db1,", NULL, 0, false},
        {"", NULL, 0, false},
        {"/a-folder-that-is-longer-than-what-the-kernel-takes-as-the-path-of-a-unix-socket-"
         "with-its-name",
         NULL, 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        set_hosts(&fixture->config->databases[0], cases[i].text);
        const enum hf_rc rc = finish(fixture);
        const struct proxy_host *host = &fixture->config->databases[0].hosts[0];
        if ((rc == HF_OK) != (cases[i].name != NULL))
            fail_msg("\"%s\": %d", cases[i].text, (int)rc);
        if (rc != HF_OK) {
            assert_string_equal(fixture->fault.section, "databases");
            assert_string_equal(fixture->fault.entry, "app");
            assert_string_equal(fixture->fault.key, "hosts");
            continue;
        }
        assert_string_equal(host->name, cases[i].name);
        assert_int_equal(host->port, cases[i].port);
        assert_int_equal(host->is_unix, cases[i].is_unix);
    }
}

static void proxy_config__hosts_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    char text[2 * PROXY_HOSTS_MAX + 2];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 2 == 0 ? 'x' : ',';
    text[sizeof text - 1] = '\0';
    set_hosts(&fixture->config->databases[0], text);
    assert_int_equal(finish(fixture), HF_RC_LIMIT);
    set_hosts(&fixture->config->databases[0], text + 2);
    finish_well(fixture);
    assert_int_equal(fixture->config->databases[0].host_count, PROXY_HOSTS_MAX);
}

static void proxy_config__a_host_is_local_if_only_this_machine_reaches_it(void **state)
{
    (void)state;
    static const struct {
        struct proxy_host host;
        bool is_local;
    } cases[] = {
        {{.name = "/run", .is_unix = true}, true},
        {{.name = "localhost"}, true},
        {{.name = "127.0.0.1"}, true},
        {{.name = "127.9.9.9"}, true},
        {{.name = "::1"}, true},
        {{.name = "*"}, false},
        {{.name = "0.0.0.0"}, false},
        {{.name = "::"}, false},
        {{.name = "192.0.2.1"}, false},
        {{.name = "localhost.example"}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(proxy_host_is_local(&cases[i].host), cases[i].is_local);
}

static void proxy_config__listening_takes_addresses_and_a_folder(void **state)
{
    struct fixture *fixture = *state;
    set(fixture, "proxy", "listen", "*, [::1]:7000");
    set(fixture, "proxy", "unix_socket_dir", "/run/holdfast");
    set(fixture, "proxy", "unix_socket_mode", "0770");
    finish_well(fixture);
    const struct proxy_settings *proxy = &fixture->config->proxy;
    assert_int_equal(proxy->listener_count, 3);
    assert_string_equal(proxy->listeners[0].name, "*");
    assert_int_equal(proxy->listeners[1].port, 7000);
    assert_string_equal(proxy->listeners[2].name, "/run/holdfast");
    assert_true(proxy->listeners[2].is_unix);
    assert_int_equal(proxy->unix_socket_mode, 0770);
    set(fixture, "proxy", "listen", "");
    finish_well(fixture);
    assert_int_equal(proxy->listener_count, 1);
}

/* ---- what is wrong only together ---- */

static void proxy_config__what_cannot_be_together_is_blamed(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        struct {
            const char *section, *key, *value;
        } set[3];
        const char *blamed, *key;
    } cases[] = {
        {{{"proxy", "listen", ""}}, "proxy", "listen"},
        {{{"proxy", "listen", "/tmp"}}, "proxy", "listen"},
        {{{"proxy", "unix_socket_dir", "tmp"}}, "proxy", "unix_socket_dir"},
        {{{"proxy", "unix_socket_mode", "0888"}}, "proxy", "unix_socket_mode"},
        {{{"proxy", "unix_socket_mode", "7"}}, "proxy", "unix_socket_mode"},
        {{{"proxy", "unix_socket_mode", "4777"}}, "proxy", "unix_socket_mode"},
        {{{"proxy", "auth_type", "trust"}, {"proxy", "listen", "0.0.0.0"}}, "proxy", "auth_type"},
        {{{"proxy", "auth_type", "trust"}, {"proxy", "listen", "::1, *"}}, "proxy", "auth_type"},
        {{{"proxy", "auth_type", "cert"}}, "proxy", "auth_type"},
        {{{"proxy.client_tls", "sslmode", "allow"}}, "proxy.client_tls", "cert_file"},
        {{{"proxy.client_tls", "cert_file", "c"}}, "proxy.client_tls", "key_file"},
        {{{"proxy.server_tls", "key_file", "k"}}, "proxy.server_tls", "cert_file"},
        {{{"proxy.client_tls", "sslmode", "verify-ca"},
          {"proxy.client_tls", "cert_file", "c"},
          {"proxy.client_tls", "key_file", "k"}},
         "proxy.client_tls",
         "ca_file"},
        {{{"pools", "min_pool_size", "21"}}, "pools", "min_pool_size"},
        {{{"databases", "min_pool_size", "21"}}, "databases", "min_pool_size"},
        {{{"databases", "password", "x"}}, "databases", "password"},
        {{{"databases", "user", "u"}, {"databases", "password", "SCRAM-SHA-256$4096:a$b:c"}},
         "databases",
         "password"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t j = 0; j < 3 && cases[i].set[j].key != NULL; j++)
            set(fixture, cases[i].set[j].section, cases[i].set[j].key, cases[i].set[j].value);
        if (finish(fixture) == HF_OK)
            fail_msg("case %zu is taken", i);
        assert_string_equal(fixture->fault.section, cases[i].blamed);
        assert_string_equal(fixture->fault.key, cases[i].key);
        teardown(state);
        setup(state);
    }
}

static void proxy_config__trust_is_for_this_machine_or_in_an_hba_file(void **state)
{
    struct fixture *fixture = *state;
    set(fixture, "proxy", "auth_type", "trust");
    finish_well(fixture);
    set(fixture, "proxy", "listen", "*");
    assert_int_equal(finish(fixture), HF_RC_INVALID);
    set(fixture, "proxy", "auth_hba_file", "/etc/holdfast/hba.conf");
    finish_well(fixture);
}

static void proxy_config__a_reload_keeps_what_takes_a_restart(void **state)
{
    struct fixture *fixture = *state;
    struct proxy_database *database = NULL;
    set(fixture, "proxy", "port", "7000");
    set(fixture, "limits", "clients_max", "5");
    finish_well(fixture);
    struct proxy_config *before = fixture->config;
    fixture->config = proxy_config_new(&fixture->mem, 1, 1);
    assert_int_equal(
        proxy_config_add_database(fixture->config, SV("app"), &database, &fixture->err), HF_OK);
    set_hosts(database, "db2");
    set(fixture, "proxy", "listen", "127.0.0.1,127.0.0.2");
    set(fixture, "proxy", "log_slow", "1s");
    finish_well(fixture);
    proxy_config_keep(fixture->config, before);
    const struct proxy_settings *proxy = &fixture->config->proxy;
    assert_int_equal(proxy->port, 7000);
    assert_string_equal(proxy->listen_text, "127.0.0.1");
    assert_int_equal(proxy->listener_count, 1);
    assert_int_equal(proxy->listeners[0].port, 7000);
    assert_int_equal(fixture->config->limits.clients_max, 5);
    assert_int_equal(proxy->log_slow_ns, HF_SEC(1));
    assert_string_equal(fixture->config->databases[0].hosts_text, "db2");
    proxy_config_free(before);
}

/* Rows of databases and roles are not kept: they all may change. (Of listeners the sockets stay,
 * and with them proxy.listeners and proxy.places.) */
static void proxy_config__databases_and_roles_take_no_restart(void **state)
{
    (void)state;
    for (size_t i = 0; i < proxy_section_count(); i++) {
        const struct proxy_section *section = proxy_section_at(i);
        if (section->kind == PROXY_SECTION_ONE || section->kind == PROXY_SECTION_LISTENERS)
            continue;
        for (size_t t = 0; t < 2; t++)
            for (size_t j = 0; j < section->tables[t].count; j++)
                assert_true(section->tables[t].rows[j].is_reloadable);
    }
}

static void proxy_config__the_console_is_no_database(void **state)
{
    struct fixture *fixture = *state;
    memcpy(fixture->config->databases[0].name, PROXY_CONSOLE, sizeof PROXY_CONSOLE);
    assert_int_equal(finish(fixture), HF_RC_INVALID);
    assert_string_equal(fixture->fault.entry, PROXY_CONSOLE);
    assert_null(fixture->fault.key);
}

static void proxy_config__there_is_a_database(void **state)
{
    struct fixture *fixture = *state;
    fixture->config->database_count = 0;
    assert_int_equal(finish(fixture), HF_RC_INVALID);
    assert_string_equal(fixture->fault.section, "databases");
    assert_null(fixture->fault.key);
    assert_null(proxy_database_find(fixture->config, SV("app")));
}

static void proxy_config__all_roles_have_no_password(void **state)
{
    struct fixture *fixture = *state;
    struct proxy_role *role = NULL;
    assert_int_equal(proxy_config_add_role(fixture->config, SV("*"), &role, &fixture->err), HF_OK);
    set(fixture, "roles", "password", "x");
    assert_int_equal(finish(fixture), HF_RC_INVALID);
    assert_string_equal(fixture->fault.section, "roles");
    assert_string_equal(fixture->fault.entry, "*");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proxy_config__rows_are_sound),
        cmocka_unit_test(proxy_config__a_database_has_no_key_twice),
        cmocka_unit_test_setup_teardown(proxy_config__defaults_make_a_whole_configuration, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(proxy_config__a_database_begins_as_the_defaults_of_all,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(proxy_config__names_are_bounded, setup, teardown),
        cmocka_unit_test(proxy_config__without_memory_nothing_is_made),
        cmocka_unit_test_setup_teardown(proxy_config__a_name_finds_its_own_entry_or_the_star, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(proxy_config__without_a_star_an_unknown_database_is_none,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(proxy_config__a_role_overrides_its_database, setup,
                                        teardown),
        cmocka_unit_test(proxy_config__lists_have_what_stands_between_commas),
        cmocka_unit_test_setup_teardown(proxy_config__hosts_are_read_in_every_form, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(proxy_config__hosts_are_bounded, setup, teardown),
        cmocka_unit_test(proxy_config__a_host_is_local_if_only_this_machine_reaches_it),
        cmocka_unit_test_setup_teardown(proxy_config__listening_takes_addresses_and_a_folder, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(proxy_config__what_cannot_be_together_is_blamed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(proxy_config__trust_is_for_this_machine_or_in_an_hba_file,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(proxy_config__a_reload_keeps_what_takes_a_restart, setup,
                                        teardown),
        cmocka_unit_test(proxy_config__databases_and_roles_take_no_restart),
        cmocka_unit_test_setup_teardown(proxy_config__the_console_is_no_database, setup, teardown),
        cmocka_unit_test_setup_teardown(proxy_config__there_is_a_database, setup, teardown),
        cmocka_unit_test_setup_teardown(proxy_config__all_roles_have_no_password, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
