#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "sql/acts.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct lex_rules standard = {0};

static uint32_t mask_of(const char *text)
{
    return acts_mask(sv_from_cstr(text), &standard);
}

struct masked {
    const char *text;
    uint32_t mask;
};

static void check_masks(const struct masked *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t mask = mask_of(cases[i].text);
        if (mask != cases[i].mask)
            fail_msg("%s\n  has acts %#x and not %#x", cases[i].text, mask, cases[i].mask);
    }
}

static void acts__ordinary_statements_have_none(void **state)
{
    (void)state;
    static const struct masked cases[] = {
        {"", 0},
        {" ;; -- nothing\n", 0},
        {"SELECT 1", 0},
        {"select * from t where a = 'set_config' || b -- SET x = 1", 0},
        {"SELECT offset_x, dataset_config, reset_config(1) FROM pg_tables;  ", 0},
        {"SELECT 'a; SET x = 1'", 0},
        {"SELECT $$; SET x = 1$$, $q$;$$ DISCARD ALL$q$", 0},
        {"SELECT \"; SET x = 1\"", 0},
        {"SELECT /* ; /* SET x = 1 */ ; */ 1", 0},
        {"INSERT INTO temp VALUES (1)", 0},
        {"UPDATE t SET a = 1, temp = 2, attempt = 3", 0},
        {"DELETE FROM template WHERE system", 0},
        {"SELECT pg_advisory_xact_lock(1), pg_try_advisory_xact_lock(2)", 0},
        {"SELECT set_config", 0},
        {"with a as (select 1) select * from a", 0},
        {"values (1)", 0},
        {"TABLE t", 0},
        {"(SELECT 1)", 0},
        {"COPY t FROM STDIN", 0},
        {"CREATE TABLE t (a int)", 0},
        {"CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'SET x = 1; DISCARD ALL'", 0},
        {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; "
         "SELECT 2; END",
         0},
        {"CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM a; DELETE FROM b)", 0},
        {"SHOW search_path", 0},
        {"ALTER ROLE r SET search_path = x", 0},
        {"settle", 0},
        {"selected", 0},
    };
    check_masks(cases, COUNT(cases));
}

static void acts__each_sort_is_told(void **state)
{
    (void)state;
    static const struct masked cases[] = {
        {"SET search_path TO a, b", ACTS_SET},
        {"/* c */ set\n\tx=1", ACTS_SET},
        {"SET TimeZone = 'UTC'", ACTS_SET_REPORTED},
        {"SET TIME ZONE 'UTC'", ACTS_SET_REPORTED},
        {"SET NAMES 'UTF8'", ACTS_SET_REPORTED},
        {"SET NAMES", ACTS_RESET},
        {"SET TIME ZONE LOCAL", ACTS_RESET},
        {"SET ROLE r", ACTS_SET},
        {"SET ROLE NONE", ACTS_SET},
        {"SET SESSION AUTHORIZATION DEFAULT", ACTS_RESET},
        {"SET x TO DEFAULT", ACTS_RESET},
        {"SET LOCAL x = 1", ACTS_SET_LOCAL},
        {"SET LOCAL x TO DEFAULT", ACTS_SET_LOCAL},
        {"SET TRANSACTION READ ONLY", ACTS_SET_LOCAL},
        {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", ACTS_SET},
        {"RESET ALL", ACTS_RESET},
        {"RESET x", ACTS_RESET},
        {"DISCARD ALL", ACTS_DISCARD},
        {"SELECT set_config('a.b', 'x', false)", ACTS_SET},
        {"SELECT pg_catalog.\"set_config\" /* x */ ('a.b', f(1, true), false)", ACTS_SET},
        {"SELECT set_config('a.b', 'x', true)", ACTS_SET_LOCAL},
        {"SELECT set_config($1, $2, $3)", ACTS_SET},
        {"SELECT set_config('a', set_config('b', 'c', false), true)", ACTS_SET | ACTS_SET_LOCAL},
        {"UPDATE t SET a = set_config('b', 'c', false)", ACTS_SET},
        {"PREPARE p AS SELECT 1", ACTS_PREPARED},
        {"EXECUTE p", ACTS_PREPARED},
        {"DEALLOCATE p", ACTS_PREPARED},
        {"EXPLAIN (ANALYZE, VERBOSE) EXECUTE p", ACTS_PREPARED},
        {"EXPLAIN ANALYZE VERBOSE EXECUTE p(1)", ACTS_PREPARED},
        {"CREATE TABLE t (a, b) AS EXECUTE p(1)", ACTS_PREPARED},
        {"CREATE TEMP TABLE t AS EXECUTE p", ACTS_PREPARED | ACTS_TEMPORARY},
        {"LISTEN c", ACTS_LISTEN},
        {"UNLISTEN *", ACTS_LISTEN},
        {"NOTIFY c, 'x'", ACTS_NOTIFY},
        {"BEGIN", ACTS_TRANSACTION},
        {"END", ACTS_TRANSACTION},
        {"PREPARE TRANSACTION 'x'", ACTS_TRANSACTION},
        {"DECLARE c CURSOR FOR SELECT 1", 0},
        {"DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT 1", ACTS_CURSOR},
        {"DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1", 0},
        {"CLOSE c", ACTS_DROP},
        {"CREATE TEMP TABLE t (a int)", ACTS_TEMPORARY},
        {"CREATE LOCAL TEMPORARY TABLE t (a int)", ACTS_TEMPORARY},
        {"CREATE OR REPLACE TEMP VIEW v AS SELECT 1", ACTS_TEMPORARY},
        {"SELECT 1 INTO TEMP t", ACTS_TEMPORARY},
        {"SELECT 1 INTO TEMPORARY TABLE t", ACTS_TEMPORARY},
        {"CREATE TABLE pg_temp.t (a int)", ACTS_TEMPORARY},
        {"INSERT INTO pg_temp_3.t VALUES (1)", ACTS_TEMPORARY},
        {"DROP TABLE t", ACTS_DROP},
        {"SELECT pg_advisory_lock(1)", ACTS_ADVISORY},
        {"SELECT PG_TRY_ADVISORY_LOCK_SHARED(1)", ACTS_ADVISORY},
        {"SELECT pg_advisory_unlock_all()", ACTS_ADVISORY},
        {"SELECT U&\"set\\005fconfig\"('x', 'y', false)", ACTS_UNKNOWN},
        {"LOAD 'x'", ACTS_LOAD},
        {"DO $$ BEGIN END $$", ACTS_UNKNOWN},
        {"CALL p()", ACTS_UNKNOWN},
        {"SELECT 1; SELECT 2", ACTS_MANY},
        {"SELECT 1;; ; -- x", 0},
        {"BEGIN; SET x = 1; COMMIT", ACTS_TRANSACTION | ACTS_SET | ACTS_MANY},
        {"SELECT 1; SET TIME ZONE 'UTC'; RESET x", ACTS_SET_REPORTED | ACTS_RESET | ACTS_MANY},
        {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; RESET x",
         ACTS_RESET | ACTS_MANY},
    };
    check_masks(cases, COUNT(cases));
}

struct read {
    const char *text;
    enum acts_kind kind;
    const char *name;
    const char *value;
    const char *inner;
};

static bool is_text(struct sv part, const char *text)
{
    return sv_eq(part, sv_from_cstr(text != NULL ? text : ""));
}

static const struct read reads[] = {
    {"SET x.y TO 1, 'b'", ACTS_IS_SET, "x.y", "1, 'b'", NULL},
    {"SET SESSION x = 'a;b'", ACTS_IS_SET, "x", "'a;b'", NULL},
    {"SET role TO r", ACTS_IS_SET, "role", "r", NULL},
    {"SET ROLE \"R\"", ACTS_IS_SET, "role", "\"R\"", NULL},
    {"SET SESSION AUTHORIZATION r", ACTS_IS_SET, "session_authorization", "r", NULL},
    {"SET SESSION SESSION AUTHORIZATION r", ACTS_IS_SET, "session_authorization", "r", NULL},
    {"SET TIME ZONE INTERVAL '1' HOUR", ACTS_IS_SET, "TimeZone", "INTERVAL '1' HOUR", NULL},
    {"SET TIME ZONE DEFAULT", ACTS_IS_SET_DEFAULT, "TimeZone", "DEFAULT", NULL},
    {"SET SCHEMA 's'", ACTS_IS_SET, "search_path", "'s'", NULL},
    {"SET XML OPTION CONTENT", ACTS_IS_SET, "xmloption", "CONTENT", NULL},
    {"SET LOCAL x = 1", ACTS_IS_SET_LOCAL, "x", "1", NULL},
    {"SET LOCAL ROLE r", ACTS_IS_SET_LOCAL, "role", "r", NULL},
    {"SET x TO DEFAULT", ACTS_IS_SET_DEFAULT, "x", "DEFAULT", NULL},
    {"SET TRANSACTION READ ONLY", ACTS_IS_SET_TRANSACTION, NULL, NULL, NULL},
    {"SET CONSTRAINTS ALL DEFERRED", ACTS_IS_SET_TRANSACTION, NULL, NULL, NULL},
    {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", ACTS_IS_CHARACTERISTICS, NULL,
     "AS TRANSACTION READ ONLY", NULL},
    {"RESET x.y", ACTS_IS_RESET, "x.y", NULL, NULL},
    {"RESET SESSION AUTHORIZATION", ACTS_IS_RESET, "session_authorization", NULL, NULL},
    {"RESET ALL", ACTS_IS_RESET_ALL, NULL, NULL, NULL},
    {"DISCARD ALL", ACTS_IS_DISCARD_ALL, NULL, NULL, NULL},
    {"DISCARD PLANS", ACTS_IS_DISCARD_PLANS, NULL, NULL, NULL},
    {"DISCARD SEQUENCES", ACTS_IS_DISCARD_SEQUENCES, NULL, NULL, NULL},
    {"DISCARD TEMPORARY", ACTS_IS_DISCARD_TEMP, NULL, NULL, NULL},
    {"PREPARE p AS SELECT $1", ACTS_IS_PREPARE, "p", NULL, "SELECT $1"},
    {"PREPARE \"P q\" (int, numeric(3, 2)) AS\nSELECT $1 -- x", ACTS_IS_PREPARE, "\"P q\"",
     "(int, numeric(3, 2))", "SELECT $1"},
    {"EXECUTE p ( 1, f(2) )", ACTS_IS_EXECUTE, "p", "( 1, f(2) )", NULL},
    {"EXECUTE p", ACTS_IS_EXECUTE, "p", NULL, NULL},
    {"EXPLAIN (COSTS OFF) EXECUTE p(1)", ACTS_IS_EXECUTE_INSIDE, "p", "(1)", "EXECUTE p(1)"},
    {"CREATE TABLE t AS EXECUTE p WITH NO DATA", ACTS_IS_EXECUTE_INSIDE, "p", "WITH NO DATA",
     "EXECUTE p WITH NO DATA"},
    {"EXPLAIN CREATE TABLE t AS EXECUTE p", ACTS_IS_EXECUTE_INSIDE, "p", NULL, "EXECUTE p"},
    {"DEALLOCATE PREPARE p", ACTS_IS_DEALLOCATE, "p", NULL, NULL},
    {"DEALLOCATE ALL", ACTS_IS_DEALLOCATE_ALL, NULL, NULL, NULL},
    {"LISTEN \"a b\"", ACTS_IS_LISTEN, "\"a b\"", NULL, NULL},
    {"UNLISTEN c", ACTS_IS_UNLISTEN, "c", NULL, NULL},
    {"UNLISTEN *", ACTS_IS_UNLISTEN_ALL, NULL, NULL, NULL},
    {"NOTIFY c", ACTS_IS_NOTIFY, "c", NULL, NULL},
    {"NOTIFY c , 'p''q'", ACTS_IS_NOTIFY, "c", "'p''q'", NULL},
    {"BEGIN ISOLATION LEVEL SERIALIZABLE", ACTS_IS_BEGIN, NULL, "ISOLATION LEVEL SERIALIZABLE",
     NULL},
    {"START TRANSACTION", ACTS_IS_BEGIN, NULL, "TRANSACTION", NULL},
    {"COMMIT WORK", ACTS_IS_COMMIT, NULL, NULL, NULL},
    {"ABORT", ACTS_IS_ROLLBACK, NULL, NULL, NULL},
    {"ROLLBACK TRANSACTION TO SAVEPOINT s", ACTS_IS_ROLLBACK_TO, "s", NULL, NULL},
    {"ROLLBACK TO s", ACTS_IS_ROLLBACK_TO, "s", NULL, NULL},
    {"SAVEPOINT s", ACTS_IS_SAVEPOINT, "s", NULL, NULL},
    {"RELEASE SAVEPOINT s", ACTS_IS_RELEASE, "s", NULL, NULL},
    {"PREPARE TRANSACTION 'x'", ACTS_IS_PREPARE_TRANSACTION, "'x'", NULL, NULL},
    {"COMMIT PREPARED 'x'", ACTS_IS_COMMIT_PREPARED, "'x'", NULL, NULL},
    {"ROLLBACK PREPARED 'x'", ACTS_IS_ROLLBACK_PREPARED, "'x'", NULL, NULL},
    {"DECLARE c CURSOR WITH HOLD FOR SELECT 1", ACTS_IS_DECLARE, "c", NULL, NULL},
    {"CLOSE c", ACTS_IS_CLOSE, "c", NULL, NULL},
    {"CLOSE ALL", ACTS_IS_CLOSE, NULL, NULL, NULL},
    {"LOAD 'x'", ACTS_IS_LOAD, NULL, "'x'", NULL},
    {"DO LANGUAGE plpgsql $$x$$", ACTS_IS_DO, NULL, "LANGUAGE plpgsql $$x$$", NULL},
    {"CALL s.p(1)", ACTS_IS_CALL, "s.p", NULL, NULL},
};

static void acts__each_statement_shows_its_parts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(reads); i++) {
        struct acts_walk walk;
        struct acts_statement statement;
        acts_begin(&walk, sv_from_cstr(reads[i].text), &standard);
        assert_true(acts_next(&walk, &statement));
        if (statement.kind != reads[i].kind || !is_text(statement.name, reads[i].name) ||
            !is_text(statement.value, reads[i].value) || !is_text(statement.inner, reads[i].inner))
            fail_msg("%s\n  is %d [%.*s] [%.*s] [%.*s]", reads[i].text, statement.kind,
                     (int)statement.name.size, statement.name.data, (int)statement.value.size,
                     statement.value.data, (int)statement.inner.size, statement.inner.data);
        assert_false(acts_next(&walk, &statement));
        assert_false(acts_next(&walk, &statement));
    }
}

static void acts__the_walk_gives_the_texts_of_statements(void **state)
{
    (void)state;
    static const char *const parts[] = {"SELECT ';'", "SET x = 1", "ROLLBACK AND CHAIN"};
    struct acts_walk walk;
    struct acts_statement statement;
    acts_begin(&walk, SV("/* a */ SELECT ';' ;; SET x = 1 -- b;\n; ROLLBACK AND CHAIN; "),
               &standard);
    for (size_t i = 0; i < COUNT(parts); i++) {
        assert_true(acts_next(&walk, &statement));
        assert_true(is_text(statement.text, parts[i]));
    }
    assert_int_equal(statement.kind, ACTS_IS_ROLLBACK);
    assert_true(statement.has_chain);
    assert_false(acts_next(&walk, &statement));
}

static void acts__rules_of_the_session_are_heeded(void **state)
{
    (void)state;
    const struct lex_rules escaping = {.backslash_escapes = true};
    const struct lex_rules unreadable = {.is_unreadable = true};
    struct sv text = SV("SELECT 'a\\'; SET x = 1 --'");
    assert_int_equal(acts_mask(text, &standard), ACTS_SET | ACTS_MANY);
    assert_int_equal(acts_mask(text, &escaping), 0);
    assert_int_equal(acts_mask(SV("SELECT 1"), &unreadable), ACTS_UNKNOWN);
    assert_int_equal(acts_mask(SV(""), &unreadable), 0);
}

static void acts__names_are_read_as_the_server_reads_them(void **state)
{
    (void)state;
    static const struct {
        const char *written;
        const char *name;
    } cases[] = {
        {"Abc", "abc"},
        {"\"Abc\"", "Abc"},
        {"\"a\"\"b\"", "a\"b"},
        {"\"\"", ""},
        {"", ""},
        {"A_1\xc3\x84", "a_1\xc3\x84"},
        {"U&\"x\"", ""},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
    };
    char out[64];
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t size = acts_name(sv_from_cstr(cases[i].written), out, sizeof out);
        assert_true(is_text(sv_from(out, size), cases[i].name));
    }
    assert_int_equal(acts_name(SV("abcd"), out, 3), 0);
}

static void acts__custom_names_are_found_wherever_they_stand(void **state)
{
    (void)state;
    static const char *const names[] = {"app.tenant", "pg_catalog.set_config", "a.b", "x.y.z",
                                        "k.l"};
    struct sv text = SV("SET app.tenant = 1.5; SELECT pg_catalog.set_config('a.b', '.c d. 1.x'), "
                        "$$ SET x.y.z TO e. $$, a..b, f.1, \"k.l\"");
    struct sv name;
    size_t at = 0;
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_true(acts_custom_name(text, &at, &name));
        assert_true(is_text(name, names[i]));
    }
    assert_false(acts_custom_name(text, &at, &name));
    assert_false(acts_custom_name(text, &at, &name));
}

/* Texts put together of pieces that matter: the two depths agree, slices lie in their texts, and
 * nothing is read beyond. */
static void acts__the_mask_is_the_union_of_the_walk(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "SELECT ",  "SET ",    "x",        " = ",      "1",          ";",           "'",
        "$$",       "/*",      "*/",       "--",       "\n",         "(",           ")",
        "BEGIN ",   "ATOMIC ", "END ",     "CREATE ",  "FUNCTION ",  "TEMP ",       "INTO ",
        "PREPARE ", "p ",      "AS ",      "EXECUTE ", "set_config", "pg_temp.t ",  "\"",
        "U&\"",     "RESET ",  "SESSION ", "LOCAL ",   "EXPLAIN ",   "DECLARE ",    "WITH HOLD ",
        "TIME ",    "ZONE ",   ",",        "true",     "TO ",        "ALL ",        "ROLLBACK ",
        "DISCARD ", "LISTEN ", "*",        ".",        "CASE ",      "OR REPLACE ",
    };
    struct rng rng;
    rng_init(&rng, 7);
    for (int round = 0; round < 20000; round++) {
        char text[256];
        size_t size = 0;
        for (int i = 0; i < 12; i++) {
            const char *piece = pieces[rng_below(&rng, COUNT(pieces))];
            size += (size_t)snprintf(text + size, sizeof text - size, "%s", piece);
        }
        struct acts_walk walk;
        struct acts_statement statement;
        uint32_t mask = 0, count = 0;
        acts_begin(&walk, sv_from(text, size), &standard);
        while (acts_next(&walk, &statement)) {
            assert_in_range(statement.text.data - text, 0, size - 1);
            assert_in_range(statement.text.size, 1, size);
            assert_true(statement.inner.size <= statement.text.size);
            mask |= statement.mask;
            count++;
        }
        if (count > 1)
            mask |= ACTS_MANY;
        if (acts_mask(sv_from(text, size), &standard) != mask)
            fail_msg("%.*s", (int)size, text);
    }
}

/* What is suspicious is found wherever it stands among bytes that are not. */
static void acts__nothing_hides_by_where_it_stands(void **state)
{
    (void)state;
    static const struct masked cases[] = {
        {"set_config('a.b',$1,false)", ACTS_SET},  {"pg_advisory_lock(1)", ACTS_ADVISORY},
        {"SET_CONFIG ('a.b',$1,false)", ACTS_SET}, {"pg_try_advisory_lock(1)", ACTS_ADVISORY},
        {"pg_temp.f()", ACTS_TEMPORARY},           {"1 INTO TEMP t", ACTS_TEMPORARY},
        {"1;reset x", ACTS_RESET | ACTS_MANY},     {"u&\"x\"", ACTS_UNKNOWN},
        {"a_template._m, t_x, g_y, \"tempx\"", 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int before = 0; before < 40; before++) {
            for (int behind = 0; behind < 20; behind++) {
                char text[160];
                snprintf(text, sizeof text, "SELECT %.*s %s %.*s", before,
                         "1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6,", cases[i].text, behind,
                         "                    ");
                if ((mask_of(text) & cases[i].mask) != cases[i].mask ||
                    (cases[i].mask == 0 && mask_of(text) != 0))
                    fail_msg("%s: %#x", text, mask_of(text));
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acts__ordinary_statements_have_none),
        cmocka_unit_test(acts__each_sort_is_told),
        cmocka_unit_test(acts__each_statement_shows_its_parts),
        cmocka_unit_test(acts__the_walk_gives_the_texts_of_statements),
        cmocka_unit_test(acts__rules_of_the_session_are_heeded),
        cmocka_unit_test(acts__names_are_read_as_the_server_reads_them),
        cmocka_unit_test(acts__custom_names_are_found_wherever_they_stand),
        cmocka_unit_test(acts__the_mask_is_the_union_of_the_walk),
        cmocka_unit_test(acts__nothing_hides_by_where_it_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
