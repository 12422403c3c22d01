#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/service.h"
#include "os/file.h"

static const char text[] = "# servers\n"
                           "[first]\n"
                           "host=db1\r\n"
                           "  user=bob  \n"
                           "password=a=b c\n"
                           "application_name=x\n"
                           "\n"
                           "[app]\n"
                           "host=db1,db2\n"
                           "port=5433\n"
                           "dbname=shop\n"
                           "sslmode=verify-full\n"
                           "[ports]\nhost=db1,db2\nport=1,2\n"
                           "[short]\nhost=db1,db2,db3\nport=1,2\n"
                           "[v6]\nhost=x\nhostaddr=::1\nport=5434\n"
                           "[bad]\nnonsense\n"
                           "[other]\nsslrootcert=/x\n"
                           "[first]\nhost=never\n";

static void service__the_first_of_its_name_is_read(void **state)
{
    (void)state;
    struct service service = {0};
    struct hf_err err;
    assert_int_equal(service_search(sv_from_cstr(text), SV("first"), &service, &err), HF_OK);
    assert_string_equal(service.host, "db1");
    assert_string_equal(service.user, "bob");
    assert_string_equal(secret_reveal(&service.password).data, "a=b c");
    service_wipe(&service);
    assert_false(secret_is_set(&service.password));
}

static void service__what_is_wrong_names_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *name, *message;
    } cases[] = {
        {"none", "there is no service \"none\""},
        {"", "there is no service \"\""},
        {"firs", "there is no service \"firs\""},
        {"bad", "line 24: this is neither [NAME] nor key=value"},
        {"other", "line 26: \"sslrootcert\" is not supported here"},
    };
    struct service service = {0};
    struct hf_err err;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_not_equal(
            service_search(sv_from_cstr(text), sv_from_cstr(cases[i].name), &service, &err), HF_OK);
        assert_string_equal(err.message, cases[i].message);
    }
}

/* With the text above as PGSERVICEFILE. */
static enum hf_rc apply(struct proxy_database *database, bool has_sslmode, struct hf_err *err)
{
    char path[] = "/tmp/test_service.XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(file_write(path, text, 0600, err), HF_OK);
    setenv("PGSERVICEFILE", path, 1);
    const enum hf_rc rc = service_apply(database, has_sslmode, err);
    unlink(path);
    return rc;
}

static void service__a_database_takes_what_it_lacks(void **state)
{
    (void)state;
    static const struct {
        const char *service, *hosts, *dbname, *user; /* hosts to user: what it has */
        const char *hosts_after, *dbname_after, *user_after, *password_after;
    } cases[] = {
        {"first", "", "", "", "db1", "", "bob", "a=b c"},
        {"first", "", "", "eve", "db1", "", "eve", ""},
        {"first", "mine", "", "bob", "mine", "", "bob", "a=b c"},
        {"app", "", "", "", "db1:5433,db2:5433", "shop", "", ""},
        {"app", "", "own", "", "db1:5433,db2:5433", "own", "", ""},
        {"ports", "", "", "", "db1:1,db2:2", "", "", ""},
        {"v6", "", "", "", "[::1]:5434", "", "", ""},
    };
    struct hf_err err;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct proxy_database database = {.sslmode = PROXY_SSL_PREFER};
        sv_copy(sv_from_cstr(cases[i].service), database.service, sizeof database.service);
        sv_copy(sv_from_cstr(cases[i].hosts), database.hosts_text, sizeof database.hosts_text);
        sv_copy(sv_from_cstr(cases[i].dbname), database.dbname, sizeof database.dbname);
        sv_copy(sv_from_cstr(cases[i].user), database.user, sizeof database.user);
        assert_int_equal(apply(&database, i == 4, &err), HF_OK);
        assert_string_equal(database.hosts_text, cases[i].hosts_after);
        assert_string_equal(database.dbname, cases[i].dbname_after);
        assert_string_equal(database.user, cases[i].user_after);
        assert_string_equal(secret_reveal(&database.password).data, cases[i].password_after);
        assert_int_equal(database.sslmode, i == 3 ? PROXY_SSL_VERIFY_FULL : PROXY_SSL_PREFER);
        secret_wipe(&database.password);
    }
}

static void service__what_a_database_cannot_take_is_refused(void **state)
{
    (void)state;
    struct proxy_database database = {.service = "short"};
    struct hf_err err;
    assert_int_equal(apply(&database, false, &err), HF_RC_INVALID);
    assert_string_equal(err.message, "the service has more hosts than ports");
    sv_copy(SV("bad"), database.service, sizeof database.service);
    assert_int_equal(apply(&database, false, &err), HF_RC_INVALID);
    assert_non_null(strstr(err.message, ": line 24: "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(service__the_first_of_its_name_is_read),
        cmocka_unit_test(service__what_is_wrong_names_its_line),
        cmocka_unit_test(service__a_database_takes_what_it_lacks),
        cmocka_unit_test(service__what_a_database_cannot_take_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
