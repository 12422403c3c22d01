#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "config/pgbouncer_import.h"
#include "os/mem.h"

static struct pgbouncer_ini ini;
static struct pgbouncer_import import;
static struct mem mem;
static char *made;

static enum hf_rc make(const char *text, struct hf_err *err)
{
    size_t size = 0;
    mem_init(&mem, 0);
    pgbouncer_ini_init(&ini, &mem);
    FILE *out = open_memstream(&made, &size);
    assert_non_null(out);
    enum hf_rc rc = pgbouncer_ini_read_text(&ini, sv_from_cstr(text), "x.ini", err);
    if (rc == HF_OK)
        rc = pgbouncer_import_write(&import, &ini, out, err);
    fclose(out);
    pgbouncer_ini_free(&ini);
    mem_deinit(&mem);
    return rc;
}

static void check_has(const char *line)
{
    if (strstr(made, line) == NULL)
        fail_msg("there is no\n%s\nin\n%s", line, made);
}

static void check_has_not(const char *words)
{
    if (strstr(made, words) != NULL)
        fail_msg("there is\n%s\nin\n%s", words, made);
}

/* Whether the proxy takes it. */
static void check_is_taken(void)
{
    struct config_faults faults;
    struct proxy_config *config = NULL;
    mem_init(&mem, 0);
    if (config_read_text(&config, sv_from_cstr(made), NULL, &mem, &faults) != HF_OK)
        fail_msg("%s: %s\n%s", faults.list[0].key, faults.list[0].err.message, made);
    proxy_config_free(config);
    mem_deinit(&mem);
}

static void pgbouncer_import__each_value_is_converted(void **state)
{
    (void)state;
    static const struct {
        const char *setting, *expected;
    } cases[] = {
        {"listen_addr = *", "\n  listen: \"*\"\n"},
        {"listen_addr = 127.0.0.1,::1", "\n  listen: \"127.0.0.1, [::1]\"\n"},
        {"listen_addr = db.example", "  # names cannot be listened on: write the address of"},
        {"listen_port = 7000", "\n  port: 7000\n"},
        {"unix_socket_dir =",
         "\nproxy:\n  listen: \"\"  # PgBouncer's default\n  port: 1\n  auth_type"},
        {"unix_socket_mode = 0770", "\n  unix_socket_mode: 0770\n"},
        {"unix_socket_mode = 504", "\n  unix_socket_mode: 0770\n"},
        {"auth_type = scram-sha-256", "\n  auth_type: scram-sha-256\n"},
        {"auth_type = TRUST", "\n  auth_type: trust\n"},
        {"auth_type = plain", "\n  auth_type: password  # PgBouncer's plain;"},
        {"auth_type = ldap", "\n  auth_type: reject  # LDAP is not spoken"},
        {"log_connections = 0", "\n  log_connections: off\n"},
        {"client_tls_sslmode = Require\nclient_tls_cert_file = /c\nclient_tls_key_file = /k",
         "\n  client_tls:\n    sslmode: require\n    cert_file: /c\n    key_file: /k\n"},
        {"server_tls_protocols = secure", "\n  server_tls:\n    min_protocol: TLSv1.2\n"},
        {"server_tls_protocols = tlsv1.3", "    min_protocol: TLSv1.3\n"},
        {"server_tls_protocols = all",
         "    min_protocol: TLSv1.2  # older versions are not spoken"},
        {"max_client_conn = 2000", "\n  clients_max: 2000\n"},
        {"max_db_connections = 50", "\n  server_connections_per_database_max: 50\n"},
        {"query_wait_timeout = 0", "\n  query_wait_timeout: never\n"},
        {"query_wait_timeout = 1.5",
         "\n  query_wait_timeout: 1500ms\n  server_down_timeout: 1500ms  # no longer than"},
        {"query_timeout = 90", "\n  query_timeout: 90s\n"},
        {"server_lifetime = 0", "\n  server_lifetime: 1s  # PgBouncer has 0; the least here is 1s"},
        {"default_pool_size = 0x10", "\n  pool_size: 16\n"},
        {"default_pool_size = 20000",
         "\n  pool_size: 10000  # PgBouncer has 20000; the most here is 10000"},
        {"server_reset_query =", "\n  server_reset_query: \"\"\n"},
        {"application_name_add_host = 1", "\n  application_name_add_host: on\n"},
        {"admin_users = a, b", "\n  admin_users: \"a, b\"\n"},
        {"auth_query = SELECT '${x}', \"a\\b\" FROM f($1)",
         "\n  auth_query: \"SELECT '$${x}', \\\"a\\\\b\\\" FROM f($1)\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512];
        struct hf_err err;
        snprintf(text, sizeof text, "[databases]\n* = host=db1\n[pgbouncer]\n%s\n%s\n",
                 strstr(cases[i].setting, "unix_socket_dir") ? "listen_port = 1" : "",
                 cases[i].setting);
        if (make(text, &err) != HF_OK)
            fail_msg("%s: %s", cases[i].setting, err.message);
        check_has(cases[i].expected);
        if (strstr(cases[i].setting, "unix_socket_dir") == NULL)
            check_is_taken();
        free(made);
    }
}

static void pgbouncer_import__what_pgbouncer_refuses_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"[pgbouncer]\nlisten_port = many", "x.ini:2: listen_port: \"many\" is no number"},
        {"[pgbouncer]\nquery_timeout = 5s",
         "x.ini:2: query_timeout: \"5s\" is no number of seconds"},
        {"[pgbouncer]\nquery_timeout = .", "x.ini:2: query_timeout: \".\" is no number of seconds"},
        {"[pgbouncer]\npool_mode = swimming",
         "x.ini:2: pool_mode: \"swimming\" is no word that is known here"},
        {"[pgbouncer]\nauth_type = x",
         "x.ini:2: auth_type: \"x\" is no way of logging in that PgBouncer knows"},
        {"[pgbouncer]\nunix_socket_mode = rwx",
         "x.ini:2: unix_socket_mode: \"rwx\" is no set of permissions"},
        {"[pgbouncer]\nclient_tls_protocols = ssl",
         "x.ini:2: client_tls_protocols: \"ssl\" is no list of TLS versions"},
        {"[databases]\na = host", "x.ini:2: a: this is no list of key=value: a key has no ="},
        {"[users]\na = pool_size=x", "x.ini:2: pool_size: \"x\" is no number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hf_err err;
        assert_int_equal(make(cases[i].text, &err), HF_RC_INVALID);
        assert_string_equal(err.message, cases[i].message);
        free(made);
    }
}

static void pgbouncer_import__databases_and_users_become_entries(void **state)
{
    (void)state;
    struct hf_err err;
    assert_int_equal(
        make("[databases]\n"
             "shop = host=db1,db2,::1 port=5433 dbname=live user=app password='a''b c'\n"
             "\"o \"\"x\"\"\" = pool_size=7 pool_mode=Statement connect_query='SELECT 1'\n"
             "* = host=/run/postgresql pool_size=1 pool_size=2\n"
             "shop2 = host=old\n"
             "shop2 = host=new query_wait_timeout=-1 timezone=UTC\n"
             "[pgbouncer]\n"
             "query_timeout = 10\n"
             "unix_socket_dir = /var/run/pg\n"
             "[users]\n"
             "bob = pool_mode=session max_user_connections=3 query_timeout=20\n"
             "eve = reserve_pool_size=1\n",
             &err),
        HF_OK);
    check_has("\n  shop:\n    hosts: \"db1:5433, db2:5433, [::1]:5433\"\n"
              "    load_balance_hosts: round-robin  # PgBouncer's default\n"
              "    dbname: live\n    user: app\n    password: \"a'b c\"\n");
    check_has("\n  \"o \\\"x\\\"\":\n    hosts: /var/run/pg\n    pool_size: 7\n"
              "    pool_mode: statement\n");
    check_has("\n    connect_query: \"SELECT 1\"\n");
    check_has("\n  \"*\":\n    hosts: /run/postgresql\n    pool_size: 2\n");
    check_has("\n  shop2:\n    hosts: new\n");
    check_has("\n    # timezone: Set it for the role");
    check_has_not("hosts: old");
    check_has("\nroles:\n  bob:\n    pool_mode: session\n    server_connections_max: 3\n"
              "    query_timeout: 20s  # PgBouncer lets this replace the general one");
    check_has_not("  eve:");
    assert_true(import.has_secrets);
    assert_int_equal(import.lost, 2);
    check_is_taken();
    free(made);
}

static void pgbouncer_import__what_is_not_carried_is_named_and_its_value_is_not(void **state)
{
    (void)state;
    struct hf_err err;
    assert_int_equal(make("[databases]\n* = host=db1\n"
                          "[pgbouncer]\n"
                          "auth_ldap_options = ldapbindpasswd=hunter2\n"
                          "pidfile = /run/p.pid\n"
                          "tcp_keepalive = 1\n"
                          "pol_mode = session\n"
                          "[peers]\n1 = host=/tmp/p1\n",
                          &err),
                     HF_OK);
    check_has("\n#   1 (x.ini:9): PgBouncer has no peers without a peer_id of its own.\n");
    check_has_not("peers:");
    check_has("\n#   auth_ldap_options (x.ini:4): LDAP is not spoken.\n");
    check_has("\n#   pol_mode (x.ini:7): PgBouncer 1.25 has no such setting. Did it mean "
              "pool_mode?\n");
    check_has("\n#   pidfile (x.ini:5): ");
    check_has_not("hunter2");
    check_has_not("tcp_keepalive");
    assert_int_equal(import.unknown, 1);
    check_is_taken();
    free(made);
}

static void pgbouncer_import__peers_are_carried_where_pgbouncer_has_some(void **state)
{
    (void)state;
    struct hf_err err;
    assert_int_equal(make("[databases]\n* = host=db1\n[pgbouncer]\npeer_id = 2\n"
                          "tcp_keepidle = 60\ntcp_keepcnt = 200\ntcp_user_timeout = 12345\n"
                          "server_round_robin = 1\nserver_reset_query_always = 1\n"
                          "[peers]\n1 = host=/tmp/p1\n2 = host=::1 port=6433 pool_size=3\n",
                          &err),
                     HF_OK);
    check_has("\n  instance_id: 2  # its peers");
    check_has("\n  tcp_keepidle: 1min\n  tcp_keepcnt: 127  # PgBouncer has 200; ");
    check_has("\n  tcp_user_timeout: 12345ms\n");
    check_has("\n  server_round_robin: on\n");
    check_has("\n#   server_reset_query_always (x.ini:9): In transaction mode what a client sets");
    check_has("\npeers:\n  1:\n    id: 1\n    host: /tmp/p1\n  2:\n    id: 2\n    host: \"[::1]\"\n"
              "    port: 6433\n    # pool_size: limits.cancels_max");
    check_is_taken();
    free(made);
}

static void pgbouncer_import__trust_for_other_machines_is_not_carried(void **state)
{
    (void)state;
    static const struct {
        const char *listen, *type;
    } cases[] = {
        {"", "trust"},          {"127.0.0.1, ::1", "trust"},    {"localhost", "trust"},
        {"*", "scram-sha-256"}, {"192.0.2.1", "scram-sha-256"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128], expected[64];
        struct hf_err err;
        snprintf(text, sizeof text,
                 "[databases]\n*=host=db1\n[pgbouncer]\nauth_type=trust\nlisten_addr=%s",
                 cases[i].listen);
        snprintf(expected, sizeof expected, "\n  auth_type: %s", cases[i].type);
        assert_int_equal(make(text, &err), HF_OK);
        check_has(expected);
        check_is_taken();
        free(made);
    }
}

static void pgbouncer_import__an_hba_file_counts_only_for_its_auth_type(void **state)
{
    (void)state;
    struct hf_err err;
    for (int is_hba = 0; is_hba < 2; is_hba++) {
        const char *text = is_hba ? "[pgbouncer]\nauth_hba_file=/h\nauth_type=hba"
                                  : "[pgbouncer]\nauth_hba_file=/h\nauth_type=md5";
        assert_int_equal(make(text, &err), HF_OK);
        if (is_hba)
            check_has("\n  auth_hba_file: /h\n");
        else
            check_has_not("auth_hba_file");
        free(made);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pgbouncer_import__each_value_is_converted),
        cmocka_unit_test(pgbouncer_import__what_pgbouncer_refuses_is_refused),
        cmocka_unit_test(pgbouncer_import__databases_and_users_become_entries),
        cmocka_unit_test(pgbouncer_import__what_is_not_carried_is_named_and_its_value_is_not),
        cmocka_unit_test(pgbouncer_import__peers_are_carried_where_pgbouncer_has_some),
        cmocka_unit_test(pgbouncer_import__trust_for_other_machines_is_not_carried),
        cmocka_unit_test(pgbouncer_import__an_hba_file_counts_only_for_its_auth_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
