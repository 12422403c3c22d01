#include "unit.h"

#include "config/connstr.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ns.h"
#include "os/child.h"
#include "os/clock.h"

/* What a shell makes of a printed line: its first argument. */
static const char *through_a_shell(const char *line)
{
    static char out[2048];
    static char script[4096];
    struct hf_err err;
    snprintf(script, sizeof script, "psql() { printf %%s \"$1\"; }; %s", line);
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    struct child_run run = {
        .spec = {.argv = argv},
        .deadline_ns = clock_now() + HF_SEC(20),
        .interrupt_fd = -1,
        .out = out,
        .size = sizeof out,
    };
    assert_int_equal(child_run(&run, &err), HF_OK);
    assert_true(child_succeeded(&run.child));
    return out;
}

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword != NULL; options++) {
        if (strcmp(options->keyword, keyword) == 0)
            return options->val != NULL ? options->val : "";
    }
    return "";
}

/* Whatever goes in, the printed line means the same to a shell and to libpq, but for the secret. */
static void connstr__the_psql_line_means_the_same_without_the_password(void **state)
{
    (void)state;
    const char *const cases[] = {
        "postgresql://bob:hunter2@db1:5433/app",
        "postgresql://bob:hunter2@db1,db2:5433,5434/app?application_name=x%20y",
        "postgres:///app?host=/run/postgresql&password=hunter2",
        "host=db1 user=bob password=hunter2",
        "host=db1 user='it\\'s' dbname='a \\\\ b' password='hunter2' options='-c a=$HOME'",
        "dbname='' host=h user='\"quoted\"' sslpassword=hunter2",
        "user='' dbname='tab\there'",
        "",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct connstr shown;
        struct hf_err err;
        assert_int_equal(connstr_read(&shown, cases[i], &err), HF_OK);
        assert_null(strstr(shown.psql, "hunter2"));
        assert_int_equal(shown.has_password, strstr(cases[i], "hunter2") != NULL);
        PQconninfoOption *before = PQconninfoParse(cases[i], NULL);
        PQconninfoOption *after = PQconninfoParse(through_a_shell(shown.psql), NULL);
        assert_non_null(before);
        assert_non_null(after);
        for (const PQconninfoOption *option = before; option->keyword != NULL; option++) {
            if (strstr(option->keyword, "password") == NULL)
                assert_string_equal(value_of(after, option->keyword),
                                    option->val != NULL ? option->val : "");
        }
        PQconninfoFree(before);
        PQconninfoFree(after);
    }
}

static void connstr__the_server_is_named_for_people(void **state)
{
    (void)state;
    struct connstr shown;
    struct hf_err err;
    assert_int_equal(connstr_read(&shown, "postgresql://bob:x@db1:5433/app", &err), HF_OK);
    assert_string_equal(shown.endpoint, "db1:5433");
    assert_string_equal(shown.psql, "psql 'host=db1 port=5433 user=bob dbname=app'");
    assert_int_equal(connstr_read(&shown, "hostaddr=10.0.0.1", &err), HF_OK);
    assert_string_equal(shown.endpoint, "10.0.0.1");
    assert_int_equal(connstr_read(&shown, "dbname=x", &err), HF_OK);
    assert_string_equal(shown.endpoint, "the default host");
    assert_false(shown.has_password);
}

static void connstr__errors_quote_nothing_of_the_string(void **state)
{
    (void)state;
    const char *const cases[] = {
        "postgresql://bob:hunter2 more@db1/app?x=y",
        "postgresql://bob:%zzhunter2@db1/app",
        "postgresql://bob@db1:hunter2/app",
        "postgresql://[hunter2/app",
        "postgresql://db1/app?hunter2=x",
        "password=a hunter2",
        "hunter2",
        "hunter2=x",
        "user='hunter2",
        "port='5 \"hunter2\" \"x\"'",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct connstr shown;
        struct hf_err err;
        assert_int_equal(connstr_read(&shown, cases[i], &err), HF_RC_INVALID);
        assert_non_null(strstr(err.message, "this is no connection string: "));
        assert_null(strstr(err.message, "hunter2"));
        assert_null(strstr(err.detail, "hunter2"));
        assert_true(err.hint[0] != '\0');
    }
}

static void connstr__a_hidden_argument_holds_nothing_any_more(void **state)
{
    (void)state;
    char longer[] = "postgresql://bob:hunter2@db1/application-name";
    const size_t size = sizeof longer;
    connstr_hide(longer);
    assert_string_equal(longer, "(connection string)");
    for (size_t i = strlen(longer); i < size; i++)
        assert_int_equal(longer[i], '\0');
    char shorter[] = "a=b";
    connstr_hide(shorter);
    assert_string_equal(shorter, "(co");
}

static void connstr__arguments_that_are_one_are_recognised(void **state)
{
    (void)state;
    assert_true(connstr_is_one("postgresql://h/d"));
    assert_true(connstr_is_one("postgres://"));
    assert_true(connstr_is_one("host=x"));
    assert_false(connstr_is_one("h/d"));
    assert_false(connstr_is_one("mysql://h/d"));
}

static void connstr__values_are_encoded_for_a_url(void **state)
{
    (void)state;
    char out[32];
    assert_string_equal(connstr_encode("/a b/c&d%", out, sizeof out), "/a%20b/c%26d%25");
    assert_string_equal(connstr_encode("\xc3\xbc", out, sizeof out), "%C3%BC");
    char small[6];
    assert_string_equal(connstr_encode("abcdef", small, sizeof small), "abc");
    assert_string_equal(connstr_encode("a  ", small, sizeof small), "a%20");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connstr__the_psql_line_means_the_same_without_the_password),
        cmocka_unit_test(connstr__the_server_is_named_for_people),
        cmocka_unit_test(connstr__errors_quote_nothing_of_the_string),
        cmocka_unit_test(connstr__a_hidden_argument_holds_nothing_any_more),
        cmocka_unit_test(connstr__arguments_that_are_one_are_recognised),
        cmocka_unit_test(connstr__values_are_encoded_for_a_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
