#include "unit.h"

#include "cli/demo_config.h"

#include <string.h>

#include "cli/demo_folder.h"

static void demo_config__a_primary_follows_nobody(void **state)
{
    (void)state;
    char text[DEMO_CONFIG_SIZE];
    const struct demo_config_values values = {
        .name = "primary", .port = 17432, .socket_path = "/d/socket"};
    demo_config_server(&values, text);
    assert_non_null(strstr(text, "\nport = 17432\n"));
    assert_non_null(strstr(text, "\nlisten_addresses = '127.0.0.1'\n"));
    assert_non_null(strstr(text, "\nunix_socket_directories = '/d/socket'\n"));
    assert_non_null(strstr(text, "\nunix_socket_permissions = 0700\n"));
    assert_null(strstr(text, "primary_conninfo"));
    assert_null(strstr(text, "primary_slot_name"));
    assert_null(strstr(text, "fsync")); /* the default is on, and stays */
}

static void demo_config__a_replica_follows_by_name_and_slot(void **state)
{
    (void)state;
    char text[DEMO_CONFIG_SIZE];
    const struct demo_config_values values = {
        .name = "replica1", .port = 17433, .upstream_port = 17432, .socket_path = "/a b/socket"};
    demo_config_server(&values, text);
    assert_non_null(strstr(text, "\nprimary_conninfo = 'host=''/a b/socket'' port=17432 "
                                 "user=replicator application_name=replica1 connect_timeout=5'\n"));
    assert_non_null(strstr(text, "\nprimary_slot_name = 'replica1'\n"));
}

static void demo_config__the_longest_folder_fits(void **state)
{
    (void)state;
    char text[DEMO_CONFIG_SIZE];
    char path[DEMO_FOLDER_SIZE + sizeof "/socket"];
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    const struct demo_config_values values = {
        .name = "replica1", .port = 32767, .upstream_port = 32767, .socket_path = path};
    demo_config_server(&values, text); /* asserts that it fits */
    assert_int_equal(text[strlen(text) - 1], '\n');
}

static void demo_config__over_tcp_nobody_gets_in_without_a_password(void **state)
{
    (void)state;
    const char *at = demo_config_access();
    for (; (at = strstr(at, "\nhost")) != NULL; at++)
        assert_non_null(strstr(at, "127.0.0.1/32  scram-sha-256\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(demo_config__a_primary_follows_nobody),
        cmocka_unit_test(demo_config__a_replica_follows_by_name_and_slot),
        cmocka_unit_test(demo_config__the_longest_folder_fits),
        cmocka_unit_test(demo_config__over_tcp_nobody_gets_in_without_a_password),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
