#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "config/config_diff.h"

static struct proxy_config *read_text(struct mem *mem, const char *text)
{
    struct config_faults faults;
    struct proxy_config *config = NULL;
    char line[FAULTS_TEXT_MAX];
    if (config_read_text(&config, sv_from_cstr(text), NULL, mem, &faults) != HF_OK)
        fail_msg("%s", faults_text(&faults.list[0], "file", line));
    return config;
}

/* Every change as "key: before -> after", a line each; a ! behind what needs a restart. */
static void diff_text(const char *before_text, const char *after_text, char *out, size_t size)
{
    struct mem mem;
    struct config_diff diff;
    struct config_change change;
    size_t used = 0;
    mem_init(&mem, 0);
    struct proxy_config *before = read_text(&mem, before_text);
    struct proxy_config *after = read_text(&mem, after_text);
    out[0] = '\0';
    config_diff_begin(&diff, before, after);
    while (config_diff_next(&diff, &change))
        used += (size_t)snprintf(out + used, size - used, "%s: %s -> %s%s\n", change.key,
                                 change.before, change.after, change.needs_restart ? " !" : "");
    assert_false(config_diff_next(&diff, &change));
    proxy_config_free(before);
    proxy_config_free(after);
    mem_deinit(&mem);
}

static void config_diff__only_what_differs_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after, *changes;
    } cases[] = {
        {"", "", ""},
        {"pools: {pool_size: 20}", "", ""},
        {"proxy: {port: 6432}", "proxy: {port: 6433, log_connections: off}",
         "proxy.port: 6432 -> 6433 !\nproxy.log_connections: on -> off\n"},
        {"pools: {query_timeout: 5s}", "pools: {query_timeout: 90s, pool_mode: statement}",
         "pools.pool_mode: session -> statement\n"
         "pools.query_timeout: 5s -> 90s\n"
         "databases.app.pool_mode: session -> statement\n"
         "databases.app.query_timeout: 5s -> 90s\n"},
        {"roles: {bob: {password: a}}", "roles: {bob: {password: b}}",
         "roles.bob.password: *** -> ***\n"},
        {"roles: {bob: {}}", "roles: {bob: {password: b}}", "roles.bob.password: (none) -> ***\n"},
        {"roles: {bob: {}, eve: {}}", "roles: {abe: {}, eve: {pool_size: 1}, zoe: {}}",
         "roles.abe: (none) -> there\n"
         "roles.bob: there -> (none)\n"
         "roles.eve.pool_size: 0 -> 1\n"
         "roles.zoe: (none) -> there\n"},
        {"roles: {'*': {pool_size: 2}}", "roles: {a: {}, zoo: {}}",
         "roles.a: (none) -> there\n"
         "roles.zoo: (none) -> there\n"
         "roles.*.pool_size: 2 -> 0\n"},
        {"proxy: {auth_file: /a}", "", "proxy.auth_file: /a -> \"\"\n"},
        {"proxy: {client_tls: {min_protocol: TLSv1.2}}",
         "proxy: {client_tls: {min_protocol: TLSv1.3}}",
         "proxy.client_tls.min_protocol: TLSv1.2 -> TLSv1.3\n"},
        {"limits: {drain_timeout: 1s, clients_max: 5}", "limits: {drain_timeout: 2s}",
         "limits.clients_max: 5 -> 10000 !\nlimits.drain_timeout: 1s -> 2s\n"},
    };
    char before[512], after[512], out[2048];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(before, sizeof before, "%s\ndatabases: {app: {hosts: db1}}\n", cases[i].before);
        snprintf(after, sizeof after, "%s\ndatabases: {app: {hosts: db1}}\n", cases[i].after);
        diff_text(before, after, out, sizeof out);
        assert_string_equal(out, cases[i].changes);
    }
}

static void config_diff__databases_are_told_apart_by_name(void **state)
{
    (void)state;
    char out[2048];
    diff_text("databases: {a: {hosts: x}, b: {hosts: x}, '*': {hosts: x}}",
              "databases: {b: {hosts: y, user: u, password: p}, c: {hosts: x}}", out, sizeof out);
    assert_string_equal(out, "databases.a: there -> (none)\n"
                             "databases.b.hosts: x -> y\n"
                             "databases.b.user: \"\" -> u\n"
                             "databases.b.password: (none) -> ***\n"
                             "databases.c: (none) -> there\n"
                             "databases.*: there -> (none)\n");
}

static void config_diff__long_values_are_cut(void **state)
{
    (void)state;
    char after[1200], out[2048];
    snprintf(after, sizeof after, "proxy: {admin_users: %0200d}\ndatabases: {a: {hosts: x}}", 0);
    diff_text("databases: {a: {hosts: x}}", after, out, sizeof out);
    assert_int_equal(strlen(out), strlen("proxy.admin_users: \"\" -> \n") + 127);
    assert_non_null(strstr(out, "000...\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_diff__only_what_differs_is_told),
        cmocka_unit_test(config_diff__databases_are_told_apart_by_name),
        cmocka_unit_test(config_diff__long_values_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
