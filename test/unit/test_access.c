#include "unit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/file.h"
#include "proxy/access.h"

struct fixture {
    struct mem mem;
    struct proxy_config *config;
    struct access *access;
    char dir[64];
    struct hf_err err;
};

static int setup(void **state)
{
    static struct fixture fixture;
    struct proxy_database *database = NULL;
    memset(&fixture, 0, sizeof fixture);
    mem_init(&fixture.mem, 0);
    fixture.config = proxy_config_new(&fixture.mem, 1, 1);
    assert_non_null(fixture.config);
    assert_int_equal(proxy_config_add_database(fixture.config, SV("*"), &database, &fixture.err),
                     HF_OK);
    snprintf(fixture.dir, sizeof fixture.dir, "/tmp/test_access.XXXXXX");
    assert_non_null(mkdtemp(fixture.dir));
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    struct hf_err err;
    if (fixture->access != NULL)
        access_drop(fixture->access);
    proxy_config_free(fixture->config);
    mem_deinit(&fixture->mem);
    assert_int_equal(file_remove_tree(fixture->dir, &err), HF_OK);
    return 0;
}

/* Writes a file into the fixture's folder and its path to `path`. */
static void give_file(struct fixture *fixture, char path[PROXY_PATH_SIZE], const char *name,
                      const char *text)
{
    snprintf(path, PROXY_PATH_SIZE, "%s/%s", fixture->dir, name);
    assert_int_equal(file_write(path, text, 0600, &fixture->err), HF_OK);
}

static enum hf_rc make(struct fixture *fixture)
{
    return access_new(&fixture->access, fixture->config, NULL, &fixture->mem, &fixture->err);
}

/* The method that decides about an address ("" for a unix socket), or -1 for none. */
static int method_for(const struct access *access, const char *ip, bool is_tls, bool is_replication)
{
    struct peer peer = {.family = AF_UNIX};
    if (ip[0] != '\0') {
        peer.family = strchr(ip, ':') != NULL ? AF_INET6 : AF_INET;
        assert_int_equal(inet_pton(peer.family, ip, peer.ip), 1);
    }
    const struct hba_request request = {.peer = &peer,
                                        .is_tls = is_tls,
                                        .is_replication = is_replication,
                                        .database = SV("db"),
                                        .user = SV("bob")};
    const struct hba_rule *rule = hba_match(access->hba, &request);
    return rule != NULL ? (int)rule->method : -1;
}

static void access__auth_type_stands_for_rules(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        enum proxy_auth type;
        int unix_socket, loopback, outside, with_tls;
    } cases[] = {
        {PROXY_AUTH_SCRAM, PROXY_AUTH_SCRAM, PROXY_AUTH_SCRAM, PROXY_AUTH_SCRAM, PROXY_AUTH_SCRAM},
        {PROXY_AUTH_REJECT, PROXY_AUTH_REJECT, PROXY_AUTH_REJECT, PROXY_AUTH_REJECT,
         PROXY_AUTH_REJECT},
        {PROXY_AUTH_TRUST, PROXY_AUTH_TRUST, PROXY_AUTH_TRUST, -1, -1},
        {PROXY_AUTH_CERT, -1, -1, -1, PROXY_AUTH_CERT},
        {PROXY_AUTH_PEER, PROXY_AUTH_PEER, -1, -1, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture->config->proxy.auth_type = cases[i].type;
        assert_int_equal(make(fixture), HF_OK);
        for (int is_replication = 0; is_replication < 2; is_replication++) {
            const bool is = is_replication != 0;
            const struct access *access = fixture->access;
            assert_int_equal(method_for(access, "", false, is), cases[i].unix_socket);
            assert_int_equal(method_for(access, "127.0.0.9", false, is), cases[i].loopback);
            assert_int_equal(method_for(access, "::1", false, is), cases[i].loopback);
            assert_int_equal(method_for(access, "192.0.2.1", false, is), cases[i].outside);
            assert_int_equal(method_for(access, "2001:db8::1", true, is), cases[i].with_tls);
        }
        access_drop(fixture->access);
        fixture->access = NULL;
    }
}

static void access__files_are_read(void **state)
{
    struct fixture *fixture = *state;
    struct proxy_settings *proxy = &fixture->config->proxy;
    give_file(fixture, proxy->auth_hba_file, "hba.conf", "host all all 192.0.2.0/24 md5\n");
    give_file(fixture, proxy->auth_file, "userlist.txt", "\"bob\" \"secret\"\n");
    assert_int_equal(make(fixture), HF_OK);
    assert_int_equal(method_for(fixture->access, "192.0.2.1", false, false), PROXY_AUTH_MD5);
    assert_int_equal(method_for(fixture->access, "", false, false), -1);
    assert_non_null(users_find(fixture->access->users, SV("bob")));
}

static void access__what_is_wrong_names_file_and_line(void **state)
{
    struct fixture *fixture = *state;
    struct proxy_settings *proxy = &fixture->config->proxy;
    char expected[512];
    give_file(fixture, proxy->auth_hba_file, "hba.conf", "\nlocal all all pam\n");
    assert_int_equal(make(fixture), HF_RC_INVALID);
    snprintf(expected, sizeof expected, "%s: line 2: \"pam\" is no method that is supported",
             proxy->auth_hba_file);
    assert_string_equal(fixture->err.message, expected);

    give_file(fixture, proxy->auth_hba_file, "hba.conf", "local all all md5\n");
    give_file(fixture, proxy->auth_file, "userlist.txt", "bob secret\n");
    assert_int_equal(make(fixture), HF_RC_INVALID);
    snprintf(expected, sizeof expected, "%s: line 1: this is not a name and a secret",
             proxy->auth_file);
    assert_string_equal(fixture->err.message, expected);

    snprintf(proxy->auth_file, sizeof proxy->auth_file, "%s/none", fixture->dir);
    assert_int_equal(make(fixture), HF_RC_MISSING);
    assert_non_null(strstr(fixture->err.message, proxy->auth_file));
}

/* A rule behind a zero byte may be the one that rejects. */
static void access__a_zero_byte_does_not_hide_the_rest(void **state)
{
    struct fixture *fixture = *state;
    char *path = fixture->config->proxy.auth_hba_file;
    static const char text[] = "local all all trust\n\0local all all reject\n";
    give_file(fixture, path, "hba.conf", "");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, sizeof text - 1, file), sizeof text - 1);
    fclose(file);
    assert_int_equal(make(fixture), HF_RC_INVALID);
    assert_non_null(strstr(fixture->err.message, "zero byte"));
}

static void access__a_reload_keeps_what_was_learned(void **state)
{
    struct fixture *fixture = *state;
    struct access *after = NULL;
    struct scram_keys keys = {.client = "c", .server = "s"};
    struct user_pass pass;
    scram_verifier_init(&pass.verifier, &keys, SV("salt"), 4096);
    give_file(fixture, fixture->config->proxy.auth_file, "userlist.txt", "\"bob\" \"secret\"\n");
    assert_int_equal(make(fixture), HF_OK);
    user_set_pass(users_find(fixture->access->users, SV("bob")), &keys, &pass.verifier);
    assert_int_equal(
        access_new(&after, fixture->config, fixture->access, &fixture->mem, &fixture->err), HF_OK);
    assert_true(user_get_pass(users_find(after->users, SV("bob")), &pass));
    access_drop(after);
}

static void access__it_lives_as_long_as_somebody_holds_it(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(make(fixture), HF_OK);
    struct access *held = access_hold(fixture->access);
    access_drop(fixture->access);
    fixture->access = NULL;
    assert_int_equal(method_for(held, "", false, false), PROXY_AUTH_SCRAM);
    access_drop(held);
}

static void access__every_allocation_may_fail(void **state)
{
    struct fixture *fixture = *state;
    struct proxy_settings *proxy = &fixture->config->proxy;
    give_file(fixture, proxy->auth_hba_file, "hba.conf", "local all all md5\n");
    give_file(fixture, proxy->auth_file, "userlist.txt", "\"bob\" \"secret\"\n");
    give_file(fixture, proxy->passfile, "pgpass", "*:*:*:*:x\n");
    uint64_t nth = 1;
    for (; nth < 100; nth++) {
        mem_fail_nth(&fixture->mem, nth);
        if (make(fixture) == HF_OK)
            break;
    }
    mem_fail_nth(&fixture->mem, 0);
    assert_int_equal(nth, 16);
}

static void access__rules_speak_of_what_is_there(void **state)
{
    struct fixture *fixture = *state;
    struct proxy_config *config = fixture->config;
    struct proxy_settings *proxy = &config->proxy;
    static const char rules[] = "local all all peer map=os\nhostssl all all all cert\n";
    char expected[512];
    give_file(fixture, proxy->auth_hba_file, "hba.conf", rules);
    assert_int_equal(make(fixture), HF_RC_INVALID);
    snprintf(expected, sizeof expected, "%s: line 1: there is no map \"os\" in auth_ident_file",
             proxy->auth_hba_file);
    assert_string_equal(fixture->err.message, expected);

    give_file(fixture, proxy->auth_ident_file, "ident.conf", "os root all\nos /(a bob\n");
    assert_int_equal(make(fixture), HF_RC_INVALID);
    assert_non_null(strstr(fixture->err.message, "ident.conf: line 2: \"(a\" is no regular"));

    give_file(fixture, proxy->auth_ident_file, "ident.conf", "os root all\n");
    assert_int_equal(make(fixture), HF_RC_INVALID);
    snprintf(expected, sizeof expected,
             "%s: line 2: there is no authority for certificates of clients", proxy->auth_hba_file);
    assert_string_equal(fixture->err.message, expected);

    snprintf(config->client_tls.ca_file, sizeof config->client_tls.ca_file, "ca.crt");
    assert_int_equal(make(fixture), HF_OK);
    assert_true(ident_match(fixture->access->ident, SV("os"), SV("root"), SV("bob")));
}

static void access__a_passfile_is_read_by_host_database_and_user(void **state)
{
    struct fixture *fixture = *state;
    struct proxy_settings *proxy = &fixture->config->proxy;
    const struct proxy_host host = {.name = "db1", .port = 5432};
    struct secret password = {0};
    give_file(fixture, proxy->passfile, "pgpass", "db1:5432:app:bob:first\n*:*:*:eve:second\n");
    assert_int_equal(chmod(proxy->passfile, 0644), 0);
    assert_int_equal(make(fixture), HF_RC_DENIED);
    assert_non_null(strstr(fixture->err.message, "others may read"));
    assert_int_equal(chmod(proxy->passfile, 0600), 0);
    assert_int_equal(make(fixture), HF_OK);
    static const struct {
        const char *database, *user, *password;
    } cases[] = {
        {"app", "bob", "first"}, {"db", "bob", ""}, {"db", "eve", "second"}, {"app", "ann", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        secret_wipe(&password);
        assert_int_equal(access_password(fixture->access, &host, sv_from_cstr(cases[i].database),
                                         sv_from_cstr(cases[i].user), &password, &fixture->err),
                         HF_OK);
        assert_string_equal(secret_reveal(&password).data, cases[i].password);
    }
    access_drop(fixture->access);
    snprintf(proxy->passfile, sizeof proxy->passfile, "%s/none", fixture->dir);
    assert_int_equal(make(fixture), HF_RC_MISSING);
    fixture->access = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(access__auth_type_stands_for_rules, setup, teardown),
        cmocka_unit_test_setup_teardown(access__files_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(access__what_is_wrong_names_file_and_line, setup, teardown),
        cmocka_unit_test_setup_teardown(access__a_zero_byte_does_not_hide_the_rest, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(access__a_reload_keeps_what_was_learned, setup, teardown),
        cmocka_unit_test_setup_teardown(access__it_lives_as_long_as_somebody_holds_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(access__every_allocation_may_fail, setup, teardown),
        cmocka_unit_test_setup_teardown(access__rules_speak_of_what_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(access__a_passfile_is_read_by_host_database_and_user, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
