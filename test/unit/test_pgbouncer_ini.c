#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/pgbouncer_ini.h"
#include "os/mem.h"

static struct pgbouncer_ini ini;
static struct mem mem;

static enum hf_rc read_text(const char *text, struct hf_err *err)
{
    mem_init(&mem, 0);
    pgbouncer_ini_init(&ini, &mem);
    return pgbouncer_ini_read_text(&ini, sv_from_cstr(text), "x.ini", err);
}

static void forget(void)
{
    pgbouncer_ini_free(&ini);
    mem_deinit(&mem);
}

static const struct ini_entry *find(enum ini_section section, const char *key)
{
    return pgbouncer_ini_find(&ini, section, sv_from_cstr(key));
}

static void check_text(struct sv found, const char *expected)
{
    if (!sv_eq(found, sv_from_cstr(expected)))
        fail_msg("\"" SV_FMT "\" is not \"%s\"", SV_ARG(found), expected);
}

static void pgbouncer_ini__lines_are_read_as_pgbouncer_reads_them(void **state)
{
    (void)state;
    struct hf_err err;
    assert_int_equal(read_text("; comment\n"
                               "  # comment\r\n"
                               "[databases]\n"
                               "* = \n"
                               "shop=host=db1 ; not a comment\n"
                               "  \"my \"\"own\"\"\" = dbname=x  \n"
                               "[pgbouncer]\n"
                               "pool_mode = session\n"
                               "\n"
                               "pool_mode\t=\ttransaction\r\n"
                               "[users]\n"
                               "bob.x-y_z = pool_mode=session",
                               &err),
                     HF_OK);
    assert_int_equal(ini.count, 6);
    check_text(find(INI_DATABASES, "*")->value, "");
    check_text(find(INI_DATABASES, "shop")->value, "host=db1 ; not a comment");
    check_text(find(INI_DATABASES, "my \"own\"")->value, "dbname=x");
    check_text(find(INI_PGBOUNCER, "pool_mode")->value, "transaction");
    assert_int_equal(find(INI_PGBOUNCER, "pool_mode")->line, 10);
    check_text(find(INI_USERS, "bob.x-y_z")->value, "pool_mode=session");
    assert_null(find(INI_PGBOUNCER, "shop"));
    forget();
}

static void pgbouncer_ini__what_is_wrong_is_told_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"a = 1", "x.ini:1: this setting stands before the first section"},
        {"\n[pgbouncer\n", "x.ini:2: this is no section"},
        {"[pgbouncer] x\n", "x.ini:1: this is no section"},
        {"[Pgbouncer]\n", "x.ini:1: PgBouncer knows no such section"},
        {"[]\n", "x.ini:1: PgBouncer knows no such section"},
        {"[pgbouncer]\nsecret\n", "x.ini:2: this is no setting, no section and no comment"},
        {"[pgbouncer]\n= x\n", "x.ini:2: this is no setting, no section and no comment"},
        {"[databases]\n\"a = x\n", "x.ini:2: a quote does not end"},
        {"[databases]\na = \x01\n", "x.ini:2: this has bytes that are no text in UTF-8"},
        {"[databases]\na = \xC3(\n", "x.ini:2: this has bytes that are no text in UTF-8"},
        {"[databases]\na = \xED\xA0\x80\n", "x.ini:2: this has bytes that are no text in UTF-8"},
        {"[databases]\na = \xC2\x85\n", "x.ini:2: this has bytes that are no text in UTF-8"},
        {"%include \n[x]", "x.ini:1: this is no setting, no section and no comment"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hf_err err;
        assert_int_not_equal(read_text(cases[i].text, &err), HF_OK);
        assert_string_equal(err.message, cases[i].message);
        forget();
    }
}

static void pgbouncer_ini__a_file_that_is_included_continues_the_section(void **state)
{
    (void)state;
    struct hf_err err;
    char folder[] = "/tmp/holdfast-ini-XXXXXX", path[64], text[128];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/more.ini", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("shop = host=db1\n[users]\n", file);
    fclose(file);
    snprintf(text, sizeof text, "[databases]\n%%include %s\nbob = pool_size=1\n", path);
    assert_int_equal(read_text(text, &err), HF_OK);
    assert_int_equal(find(INI_DATABASES, "shop")->file, 1);
    assert_int_equal(find(INI_USERS, "bob")->file, 0);
    forget();

    file = fopen(path, "w");
    assert_non_null(file);
    fputs("%include more.ini\n", file); /* found beside itself */
    fclose(file);
    snprintf(text, sizeof text, "%%include %s\n", path);
    assert_int_not_equal(read_text(text, &err), HF_OK);
    assert_non_null(strstr(err.message, "files include each other too deeply"));
    forget();
    remove(path);
    remove(folder);
    assert_int_equal(read_text("%include /nowhere/x.ini\n", &err), HF_RC_MISSING);
    assert_ptr_equal(strstr(err.message, "x.ini:1: "), err.message);
    forget();
}

static void pgbouncer_ini__pairs_are_taken_one_by_one(void **state)
{
    (void)state;
    static const struct {
        const char *list, *expected; /* key=value; of each, or ! where it is broken */
    } cases[] = {
        {"", ""},
        {"  ", ""},
        {"host=db1 port=5432", "host=db1;port=5432;"},
        {"host = db1   port= 5432 ", "host=db1;port=5432;"},
        {"password='o''b c' user=a", "password=o'b c;user=a;"},
        {"a=b'c", "a=b'c;"},
        {"a='b'c=d", "a=b;c=d;"},
        {"a='b", "!"},
        {"a=", "!"},
        {"a=''", "!"},
        {"a", "!"},
        {"=a", "!"},
        {"a=b c", "a=b;!"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char found[256] = "";
        size_t used = 0;
        struct ini_pair pair;
        struct hf_err err;
        struct sv rest = sv_from_cstr(cases[i].list);
        while (ini_pair_next(&rest, &pair, &err))
            used += (size_t)snprintf(found + used, sizeof found - used, SV_FMT "=%s;",
                                     SV_ARG(pair.key), pair.value);
        if (err.rc != HF_OK)
            snprintf(found + used, sizeof found - used, "!");
        assert_string_equal(found, cases[i].expected);
    }
}

static void pgbouncer_ini__a_value_has_an_end(void **state)
{
    (void)state;
    static char list[INI_VALUE_SIZE + 8];
    struct ini_pair pair;
    struct hf_err err;
    memset(list, 'x', sizeof list - 1);
    list[1] = '=';
    struct sv rest = sv_from(list, INI_VALUE_SIZE + 1);
    assert_true(ini_pair_next(&rest, &pair, &err));
    rest = sv_from(list, INI_VALUE_SIZE + 2);
    assert_false(ini_pair_next(&rest, &pair, &err));
    assert_int_equal(err.rc, HF_RC_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pgbouncer_ini__lines_are_read_as_pgbouncer_reads_them),
        cmocka_unit_test(pgbouncer_ini__what_is_wrong_is_told_with_its_line),
        cmocka_unit_test(pgbouncer_ini__a_file_that_is_included_continues_the_section),
        cmocka_unit_test(pgbouncer_ini__pairs_are_taken_one_by_one),
        cmocka_unit_test(pgbouncer_ini__a_value_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
