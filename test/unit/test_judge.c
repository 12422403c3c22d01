#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/judge.h"

static const struct lex_rules standard = {0};

static struct judge *new_judge(const struct catalog *catalog)
{
    void *memory = malloc(judge_size(32));
    assert_non_null(memory);
    return judge_init(memory, 32, 99, catalog, NULL);
}

static const struct verdict *judged(struct judge *judge, const char *sql)
{
    return judge_statement(judge, sv_from_cstr(sql), &standard);
}

static void judge__a_shape_is_parsed_once(void **state)
{
    (void)state;
    struct judge *judge = new_judge(NULL);
    assert_int_equal(judged(judge, "SELECT 1")->is, VERDICT_READ);
    assert_int_equal(judge->verdicts.counts.misses, 1);
    assert_int_equal(judged(judge, "select 2 -- again")->is, VERDICT_READ);
    assert_int_equal(judge->verdicts.counts.hits, 1);
    assert_string_equal(judge->shape.text.data, "select 1");
    assert_int_equal(judged(judge, "DELETE FROM t")->is, VERDICT_WRITE);
    assert_int_equal(judged(judge, "")->is, VERDICT_NOTHING);
    free(judge);
}

static void judge__what_cannot_be_judged_is_a_write(void **state)
{
    (void)state;
    struct judge *judge = new_judge(NULL);
    static char text[100000];
    assert_int_equal(judged(judge, "SELECT '")->reason, VERDICT_BY_SHAPE);
    assert_int_equal(judged(judge, "SELECT FROM FROM")->reason, VERDICT_BY_PARSER);
    memset(text, '(', sizeof text - 1);
    assert_int_equal(judged(judge, text)->is, VERDICT_WRITE);
    assert_string_equal(judged(judge, text)->subject, "too deep");
    memset(text, 'a', sizeof text - 1);
    assert_string_equal(judged(judge, text)->subject, "too long");
    assert_int_equal(judged(judge, "SELECT 'a\\'' --")->is, VERDICT_WRITE);
    static const struct lex_rules old = {.backslash_escapes = true};
    assert_int_equal(judge_statement(judge, SV("SELECT 'a\\'' --'"), &old)->is, VERDICT_READ);
    free(judge);
}

static void judge__a_text_in_an_unsafe_encoding_is_not_read(void **state)
{
    (void)state;
    const struct lex_rules rules = lex_rules_of(SV("SJIS"), SV("on"));
    struct judge *judge = new_judge(NULL);
    const struct verdict *verdict = judge_statement(judge, SV("SELECT 1"), &rules);
    assert_int_equal(verdict->is, VERDICT_WRITE);
    assert_int_equal(verdict->reason, VERDICT_BY_ENCODING);
    assert_int_equal(judge_afresh(judge, SV("SELECT 1"), &rules)->is, VERDICT_WRITE);
    judge_learn(judge, SV("SELECT 1"), &rules);
    assert_int_equal(judge->verdicts.count, 0);
    assert_int_equal(judged(judge, "SELECT 1")->is, VERDICT_READ);
    free(judge);
}

static void judge__learns_from_a_server(void **state)
{
    (void)state;
    struct judge *judge = new_judge(NULL);
    assert_int_equal(judged(judge, "SELECT * FROM v WHERE a = 1")->is, VERDICT_READ);
    judge_learn(judge, SV("SELECT * FROM v WHERE a = 2"), &standard);
    assert_int_equal(judged(judge, "SELECT * FROM v WHERE a = 3")->is, VERDICT_WRITE);
    assert_int_equal(judged(judge, "SELECT * FROM v")->is, VERDICT_READ);
    judge_renew(judge, NULL);
    assert_int_equal(judged(judge, "SELECT * FROM v WHERE a = 3")->is, VERDICT_WRITE);
    free(judge);
}

static void judge__another_catalogue_judges_anew(void **state)
{
    (void)state;
    static _Alignas(16) char memory[8192];
    struct catalog catalog;
    struct hf_err err;
    struct judge *judge = new_judge(NULL);
    assert_int_equal(judged(judge, "SELECT f(1)")->is, VERDICT_WRITE);
    assert_true(catalog_size(8, 256) <= sizeof memory);
    catalog_init(&catalog, memory, 8, 256, 5, (struct hash_key){1, 2});
    const struct catalog_row row = {USES_FUNCTION, SV("public"), SV("f"), SV("s"), SV("")};
    assert_int_equal(catalog_feed(&catalog, &row, &err), HF_OK);
    catalog_seal(&catalog);
    judge_renew(judge, &catalog);
    const struct verdict *verdict = judged(judge, "SELECT f(2)");
    assert_int_equal(verdict->is, VERDICT_READ);
    assert_int_equal(verdict->catalog, 5);
    assert_int_equal(judged(judge, "SELECT g(2)")->is, VERDICT_WRITE);
    free(judge);
}

/* The text with `literal` in the place of each "%". */
static const char *filled(const char *text, const char *literal, char *out, size_t size)
{
    size_t used = 0;
    for (; *text != '\0'; text++) {
        const int n = snprintf(out + used, size - used, "%.*s", *text == '%' ? 100 : 1,
                               *text == '%' ? literal : text);
        used += (size_t)n;
    }
    return out;
}

/* Two statements that differ in literals only have one verdict, whatever the literals are. */
static void judge__literals_decide_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "SELECT %",
        "SELECT * FROM t WHERE a = %",
        "SELECT set_config(%, 'a', false)",
        "SELECT nextval(%)",
        "SELECT a IN (%, 1)",
        "INSERT INTO t VALUES (%)",
        "DO %",
        "EXPLAIN (ANALYZE %) DELETE FROM t",
        "SELECT pg_catalog.set_config('search_path', %, %)",
        "COPY t TO %",
    };
    static const char *const literals[] = {"'x'", "'it''s; delete from t'", "$$ off $$", "E'\\''",
                                           "'on'"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct judge *judge = new_judge(NULL);
        for (size_t j = 0; j < sizeof literals / sizeof literals[0]; j++) {
            char sql[512];
            judged(judge, filled(texts[i], literals[j], sql, sizeof sql));
        }
        assert_int_equal(judge->verdicts.counts.misses, 1);
        free(judge);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judge__a_shape_is_parsed_once),
        cmocka_unit_test(judge__what_cannot_be_judged_is_a_write),
        cmocka_unit_test(judge__a_text_in_an_unsafe_encoding_is_not_read),
        cmocka_unit_test(judge__learns_from_a_server),
        cmocka_unit_test(judge__another_catalogue_judges_anew),
        cmocka_unit_test(judge__literals_decide_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
