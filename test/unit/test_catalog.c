#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "sql/catalog.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct row {
    enum uses_kind kind;
    const char *schema, *name, *volatility, *note;
};

static const struct row rows[] = {
    {USES_FUNCTION, "pg_catalog", "lower", "i", ""},
    {USES_FUNCTION, "pg_catalog", "now", "s", ""},
    {USES_FUNCTION, "pg_catalog", "random", "v", ""},
    {USES_FUNCTION, "pg_catalog", "nextval", "v", ""},
    {USES_FUNCTION, "public", "now", "s", ""},
    {USES_FUNCTION, "public", "lower", "v", ""},
    {USES_FUNCTION, "public", "f", "v", ""},
    {USES_FUNCTION, "app", "f", "s", ""},
    {USES_FUNCTION, "app", "random", "v", ""},
    {USES_FUNCTION, "app", "g", "v", ""},
    {USES_RELATION, "public", "w", "v", "nextval"},
    {USES_OPERATOR, "public", "@@@", "v", "f"},
    {USES_TYPE, "public", "d", "v", "f"},
};

static struct catalog catalog;
static void *memory;

static int setup(void **state)
{
    (void)state;
    struct hf_err err;
    memory = malloc(catalog_size(64, 1024));
    assert_non_null(memory);
    catalog_init(&catalog, memory, 64, 1024, 3, (struct hash_key){1, 2});
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct catalog_row row = {
            rows[i].kind, sv_from_cstr(rows[i].schema), sv_from_cstr(rows[i].name),
            sv_from_cstr(rows[i].volatility), sv_from_cstr(rows[i].note)};
        assert_int_equal(catalog_feed(&catalog, &row, &err), HF_OK);
    }
    catalog_seal(&catalog);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(memory);
    return 0;
}

struct found {
    enum uses_kind kind;
    const char *schema, *name;
    enum catalog_volatility volatility;
};

static void check(const struct catalog *in, const struct catalog_lists *lists,
                  const struct found *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const enum catalog_volatility is =
            catalog_find(in, lists, cases[i].kind, sv_from_cstr(cases[i].schema),
                         sv_from_cstr(cases[i].name), NULL);
        if (is != cases[i].volatility)
            fail_msg("%s.%s is %s", cases[i].schema, cases[i].name, catalog_volatility_name(is));
    }
}

static void catalog__without_a_schema_the_most_volatile_counts(void **state)
{
    (void)state;
    static const struct found cases[] = {
        {USES_FUNCTION, "", "lower", CATALOG_VOLATILE},
        {USES_FUNCTION, "pg_catalog", "lower", CATALOG_IMMUTABLE},
        {USES_FUNCTION, "public", "lower", CATALOG_VOLATILE},
        {USES_FUNCTION, "", "now", CATALOG_STABLE},
        {USES_FUNCTION, "", "f", CATALOG_VOLATILE},
        {USES_FUNCTION, "app", "f", CATALOG_STABLE},
        {USES_FUNCTION, "", "nextval", CATALOG_VOLATILE},
        {USES_FUNCTION, "pg_catalog", "random", CATALOG_HARMLESS},
        {USES_FUNCTION, "", "random", CATALOG_VOLATILE}, /* there is one of the application's */
        {USES_FUNCTION, "", "h", CATALOG_UNKNOWN},
        {USES_FUNCTION, "app", "lower", CATALOG_UNKNOWN},
        {USES_RELATION, "", "w", CATALOG_VOLATILE},
        {USES_RELATION, "app", "w", CATALOG_IMMUTABLE},
        {USES_RELATION, "", "f", CATALOG_IMMUTABLE},
        {USES_OPERATOR, "", "@@@", CATALOG_VOLATILE},
        {USES_OPERATOR, "", "=", CATALOG_IMMUTABLE},
        {USES_TYPE, "", "d", CATALOG_VOLATILE},
        {USES_TYPE, "pg_catalog", "int4", CATALOG_IMMUTABLE},
    };
    check(&catalog, NULL, cases, COUNT(cases));
    const char *note;
    catalog_find(&catalog, NULL, USES_RELATION, SV(""), SV("w"), &note);
    assert_string_equal(note, "nextval");
    catalog_find(&catalog, NULL, USES_RELATION, SV(""), SV("t"), &note);
    assert_string_equal(note, "");
}

static void catalog__without_one_the_built_in_names_are_known(void **state)
{
    (void)state;
    static const struct found cases[] = {
        {USES_FUNCTION, "", "lower", CATALOG_IMMUTABLE},
        {USES_FUNCTION, "pg_catalog", "now", CATALOG_STABLE},
        {USES_FUNCTION, "", "nextval", CATALOG_VOLATILE},
        {USES_FUNCTION, "", "random", CATALOG_HARMLESS},
        {USES_FUNCTION, "public", "lower", CATALOG_UNKNOWN},
        {USES_FUNCTION, "", "f", CATALOG_UNKNOWN},
        {USES_OPERATOR, "", "=", CATALOG_STABLE}, /* of dates with time zones */
        {USES_OPERATOR, "", "~~", CATALOG_IMMUTABLE},
        {USES_OPERATOR, "", "@@@@", CATALOG_UNKNOWN},
        {USES_OPERATOR, "public", "=", CATALOG_UNKNOWN},
        {USES_RELATION, "", "w", CATALOG_IMMUTABLE},
        {USES_TYPE, "", "d", CATALOG_IMMUTABLE},
    };
    check(NULL, NULL, cases, COUNT(cases));
}

static void catalog__lists_overrule_it_and_deny_wins(void **state)
{
    (void)state;
    static const char *const allow[] = {"g", "public.f", "h", "other.k", "now", NULL};
    static const char *const deny[] = {"now", "app.f", NULL};
    static const struct catalog_lists lists = {allow, deny};
    static const struct found cases[] = {
        {USES_FUNCTION, "", "g", CATALOG_HARMLESS},
        {USES_FUNCTION, "app", "g", CATALOG_HARMLESS},
        {USES_FUNCTION, "public", "f", CATALOG_HARMLESS},
        {USES_FUNCTION, "app", "f", CATALOG_DENIED},
        {USES_FUNCTION, "", "f", CATALOG_DENIED}, /* it may be app's */
        {USES_FUNCTION, "", "h", CATALOG_HARMLESS},
        {USES_FUNCTION, "other", "k", CATALOG_HARMLESS},
        {USES_FUNCTION, "third", "k", CATALOG_UNKNOWN},
        {USES_FUNCTION, "", "now", CATALOG_DENIED},
        {USES_FUNCTION, "pg_catalog", "now", CATALOG_DENIED},
        {USES_FUNCTION, "", "lower", CATALOG_VOLATILE},
    };
    static const struct found builtin[] = {
        {USES_FUNCTION, "", "now", CATALOG_DENIED},
        {USES_FUNCTION, "", "h", CATALOG_HARMLESS},
        {USES_FUNCTION, "", "nextval", CATALOG_VOLATILE},
    };
    check(&catalog, &lists, cases, COUNT(cases));
    check(NULL, &lists, builtin, COUNT(builtin));
}

static void judge_one(enum uses_kind kind, const char *name, struct verdict *verdict)
{
    static struct uses uses;
    uses_init(&uses);
    uses_add(&uses, kind, SV(""), sv_from_cstr(name));
    *verdict = (struct verdict){.is = VERDICT_READ};
    catalog_judge(&catalog, NULL, &uses, verdict);
}

static void catalog__judges_by_the_strongest_name(void **state)
{
    (void)state;
    static const struct {
        enum uses_kind kind;
        const char *name;
        enum verdict_class is;
        enum verdict_reason reason;
        uint32_t traits;
    } cases[] = {
        {USES_FUNCTION, "now", VERDICT_READ, VERDICT_BY_STATEMENT, 0},
        {USES_FUNCTION, "f", VERDICT_WRITE, VERDICT_BY_VOLATILE, 0},
        {USES_FUNCTION, "h", VERDICT_WRITE, VERDICT_BY_UNKNOWN, VERDICT_IS_UNSEEN},
        {USES_RELATION, "w", VERDICT_WRITE, VERDICT_BY_VIEW, 0},
        {USES_RELATION, "t", VERDICT_READ, VERDICT_BY_STATEMENT, 0},
        {USES_OPERATOR, "@@@", VERDICT_WRITE, VERDICT_BY_OPERATOR, 0},
        {USES_TYPE, "d", VERDICT_WRITE, VERDICT_BY_TYPE, 0},
        {USES_WITH, "w", VERDICT_READ, VERDICT_BY_STATEMENT, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct verdict verdict;
        judge_one(cases[i].kind, cases[i].name, &verdict);
        assert_int_equal(verdict.is, cases[i].is);
        assert_int_equal(verdict.reason, cases[i].reason);
        assert_int_equal(verdict.traits, cases[i].traits);
        assert_int_equal(verdict.catalog, 3);
    }
}

static void catalog__a_denied_function_makes_a_write(void **state)
{
    (void)state;
    static const char *const deny[] = {"now", NULL};
    static const struct catalog_lists lists = {NULL, deny};
    static struct uses uses;
    struct verdict verdict = {.is = VERDICT_READ};
    uses_init(&uses);
    uses_add(&uses, USES_FUNCTION, SV(""), SV("now"));
    catalog_judge(&catalog, &lists, &uses, &verdict);
    assert_int_equal(verdict.is, VERDICT_WRITE);
    assert_int_equal(verdict.reason, VERDICT_BY_DENY);
    for (int i = CATALOG_IMMUTABLE; i <= CATALOG_DENIED; i++)
        assert_non_null(catalog_volatility_name((enum catalog_volatility)i));
}

static void catalog__names_that_were_not_looked_at_make_a_write(void **state)
{
    (void)state;
    static struct uses uses;
    struct verdict verdict = {.is = VERDICT_READ};
    uses_init(&uses);
    uses.left_out = 1;
    catalog_judge(NULL, NULL, &uses, &verdict);
    assert_int_equal(verdict.is, VERDICT_WRITE);
    assert_int_equal(verdict.reason, VERDICT_BY_NUMBER);
    assert_int_equal(verdict.catalog, 0);
}

static void catalog__is_bounded_and_says_when_it_is_full(void **state)
{
    (void)state;
    static _Alignas(16) char small[4096];
    struct catalog few;
    struct hf_err err;
    assert_true(catalog_size(2, 16) <= sizeof small);
    catalog_init(&few, small, 2, 16, 1, (struct hash_key){1, 2});
    static const struct {
        const char *name, *volatility;
        enum hf_rc rc;
    } fed[] = {
        {"f", "x", HF_RC_INVALID}, {"f", "", HF_RC_INVALID}, {"toolongforit", "v", HF_RC_LIMIT},
        {"f", "v", HF_OK},         {"g", "i", HF_OK},        {"h", "i", HF_RC_LIMIT},
    };
    for (size_t i = 0; i < COUNT(fed); i++) {
        const struct catalog_row row = {USES_FUNCTION, SV("s"), sv_from_cstr(fed[i].name),
                                        sv_from_cstr(fed[i].volatility), SV("")};
        assert_int_equal(catalog_feed(&few, &row, &err), fed[i].rc);
    }
    catalog_seal(&few);
    assert_int_equal(catalog_find(&few, NULL, USES_FUNCTION, SV(""), SV("f"), NULL),
                     CATALOG_VOLATILE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(catalog__without_a_schema_the_most_volatile_counts),
        cmocka_unit_test(catalog__without_one_the_built_in_names_are_known),
        cmocka_unit_test(catalog__lists_overrule_it_and_deny_wins),
        cmocka_unit_test(catalog__judges_by_the_strongest_name),
        cmocka_unit_test(catalog__a_denied_function_makes_a_write),
        cmocka_unit_test(catalog__names_that_were_not_looked_at_make_a_write),
        cmocka_unit_test(catalog__is_bounded_and_says_when_it_is_full),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
