/*
 * Settings as the console names and changes them.
 */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/ns.h"
#include "proxy/admin_setting.h"

struct fixture {
    struct mem mem;
    struct proxy_config *config;
    struct hf_err err;
};

/* "app" is as `pools` says, "own" has a size of its own. */
static int setup(void **state)
{
    static struct fixture f;
    struct proxy_database *database;
    struct proxy_fault fault;
    memset(&f, 0, sizeof f);
    mem_init(&f.mem, 0);
    f.config = proxy_config_new(&f.mem, 2, 0);
    const char *const names[] = {"app", "own"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            proxy_config_add_database(f.config, sv_from_cstr(names[i]), &database, &f.err), HF_OK);
        snprintf(database->hosts_text, sizeof database->hosts_text, "db1");
        database->pool.pool_size += i;
    }
    assert_int_equal(proxy_config_finish(f.config, &fault, &f.err), HF_OK);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    proxy_config_free(f->config);
    mem_deinit(&f->mem);
    return 0;
}

static struct proxy_config *change(struct fixture *f, const char *name, const char *value)
{
    struct admin_setting setting;
    assert_true(admin_setting_find(sv_from_cstr(name), &setting, &f->err));
    return admin_setting_change(f->config, &setting, sv_from_cstr(value), &f->err);
}

static void admin_setting__names_of_ours_and_of_pgbouncers_are_found(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name, *section, *key;
    } cases[] = {
        {"pools.pool_size", "pools", "pool_size"},
        {"pool_size", "pools", "pool_size"},
        {"POOL_SIZE", "pools", "pool_size"},
        {"default_pool_size", "pools", "pool_size"},
        {"max_client_conn", "limits", "clients_max"},
        {"client_tls_sslmode", "proxy.client_tls", "sslmode"},
        {"proxy.server_tls.sslmode", "proxy.server_tls", "sslmode"},
        {"listen_port", "proxy", "port"},
    };
    struct admin_setting setting;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(admin_setting_find(sv_from_cstr(cases[i].name), &setting, &f->err));
        assert_string_equal(setting.section->path, cases[i].section);
        assert_string_equal(setting.row->key, cases[i].key);
    }
    for (const char *const *name =
             (const char *const[]){"", ".", "pools.", "nonsense", "databases.hosts", "hosts", NULL};
         *name != NULL; name++)
        assert_false(admin_setting_find(sv_from_cstr(*name), &setting, &f->err));
    assert_string_equal(f->err.sqlstate, "42704");
}

static void admin_setting__every_alias_names_a_setting_and_prints(void **state)
{
    struct fixture *f = *state;
    struct admin_setting setting;
    const char *name, *before = "";
    char text[PROXY_LIST_SIZE];
    size_t count = 0;
    for (; admin_setting_alias(count, &name, &setting); count++) {
        assert_true(strcmp(before, name) < 0);
        before = name;
        admin_setting_print(&setting, f->config, text, sizeof text);
        if (setting.row->type == OPT_DURATION) /* whole seconds, as PgBouncer has them */
            assert_int_equal(strspn(text, "0123456789"), strlen(text));
    }
    assert_true(count > 30);
}

static void admin_setting__who_took_a_default_follows_it(void **state)
{
    struct fixture *f = *state;
    struct proxy_config *after = change(f, "pool_size", "7");
    assert_non_null(after);
    assert_int_equal(after->pools.pool_size, 7);
    assert_int_equal(after->databases[0].pool.pool_size, 7);
    assert_int_equal(after->databases[1].pool.pool_size, 21);
    assert_int_equal(f->config->databases[0].pool.pool_size, 20);
    proxy_config_free(after);
    after = change(f, "max_user_connections", "5");
    assert_non_null(after);
    assert_int_equal(after->roles[0].server_connections_max, 5);
    proxy_config_free(after);
    after = change(f, "max_db_client_connections", "6");
    assert_non_null(after);
    assert_int_equal(after->databases[1].clients_max, 6);
    proxy_config_free(after);
}

static void admin_setting__a_number_alone_is_seconds_and_zero_is_never(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name, *value;
        int64_t ns;
    } cases[] = {
        {"query_timeout", "4", HF_SEC(4)},
        {"query_timeout", "0", HF_NEVER},
        {"query_timeout", "250ms", HF_MS(250)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct proxy_config *after = change(f, cases[i].name, cases[i].value);
        assert_non_null(after);
        assert_true(after->pools.query_timeout_ns == cases[i].ns);
        proxy_config_free(after);
    }
}

static void admin_setting__what_cannot_be_is_refused_with_its_reason(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name, *value, *sqlstate;
    } cases[] = {
        {"pool_size", "0", "22023"},      {"pool_size", "many", "22023"},
        {"min_pool_size", "21", "22023"}, {"port", "1", "55P02"},
        {"pool_mode", "best", "22023"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_null(change(f, cases[i].name, cases[i].value));
        assert_string_equal(f->err.sqlstate, cases[i].sqlstate);
    }
}

static void admin_setting__every_allocation_may_fail(void **state)
{
    struct fixture *f = *state;
    struct proxy_config *after = NULL;
    for (uint64_t n = 1; after == NULL; n++) {
        assert_true(n < 20);
        mem_fail_nth(&f->mem, n);
        after = change(f, "pool_size", "7");
    }
    mem_fail_nth(&f->mem, 0);
    proxy_config_free(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(admin_setting__names_of_ours_and_of_pgbouncers_are_found,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(admin_setting__every_alias_names_a_setting_and_prints,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(admin_setting__who_took_a_default_follows_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(admin_setting__a_number_alone_is_seconds_and_zero_is_never,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(admin_setting__what_cannot_be_is_refused_with_its_reason,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(admin_setting__every_allocation_may_fail, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
