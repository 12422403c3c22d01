#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "sql/classify.h"
#include "sql/judge.h"
#include "sql/parse.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct lex_rules standard = {0};
static _Alignas(16) char memory[1 << 20];

static struct judge *new_judge(void)
{
    assert_true(judge_size(16) <= sizeof memory);
    return judge_init(memory, 16, 1, NULL, NULL);
}

static struct verdict judged(const char *sql)
{
    return *judge_afresh(new_judge(), sv_from_cstr(sql), &standard);
}

/* The classes of data/statements.txt: one statement a line. */
static void classify__statements_have_their_class(void **state)
{
    (void)state;
    char line[1024];
    int count = 0;
    FILE *file = fopen(HF_TEST_DATA "/statements.txt", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        struct sv rest = sv_trim(sv_from_cstr(line)), name;
        if (rest.size == 0 || rest.data[0] == '#')
            continue;
        sv_split(&rest, '|', &name);
        const struct verdict *verdict = judge_afresh(new_judge(), rest, &standard);
        const char *is = verdict_class_name(verdict->is);
        if (!sv_eq(sv_trim(name), sv_from_cstr(is)))
            fail_msg("%.*s is called %s (%s: %s)", (int)rest.size, rest.data, is,
                     verdict_reason_name(verdict->reason), verdict->subject);
        count++;
    }
    fclose(file);
    assert_in_range(count, 200, 10000);
}

static void classify__reasons_name_what_decided(void **state)
{
    (void)state;
    static const struct {
        const char *sql;
        enum verdict_reason reason;
        const char *subject;
    } cases[] = {
        {"SELECT 1", VERDICT_BY_STATEMENT, "SELECT"},
        {"VALUES (1)", VERDICT_BY_STATEMENT, "VALUES"},
        {"DELETE FROM t", VERDICT_BY_STATEMENT, "DELETE"},
        {"WITH x AS (DELETE FROM t RETURNING 1) SELECT 1", VERDICT_BY_WITH, "DELETE"},
        {"SELECT 1 FROM t FOR SHARE", VERDICT_BY_ROW_LOCKS, "FOR SHARE"},
        {"SELECT 1 INTO x", VERDICT_BY_INTO, "x"},
        {"EXPLAIN ANALYZE UPDATE t SET a = 1", VERDICT_BY_ANALYZE, "UPDATE"},
        {"SELECT nextval('s')", VERDICT_BY_VOLATILE, "nextval"},
        {"SELECT f(1), nextval('s')", VERDICT_BY_UNKNOWN, "f"},
        {"SELECT 1 <~> 2", VERDICT_BY_OPERATOR, "<~>"},
        {"SELECT pg_advisory_lock(1)", VERDICT_BY_FUNCTION, "pg_advisory_lock"},
        {"TABLE pg_temp.x", VERDICT_BY_RELATION, "x"},
        {"SELEC 1", VERDICT_BY_PARSER, "syntax error at or near \"selec\""},
        {"SELECT '", VERDICT_BY_SHAPE, "unfinished"},
        {"ALTER DOMAIN d SET NOT NULL", VERDICT_BY_STATEMENT, "AlterDomainStmt"},
        {"SELECT 1; CREATE TABLE t (a int); SELECT 2", VERDICT_BY_STATEMENT, "CREATE TABLE"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct verdict verdict = judged(cases[i].sql);
        assert_string_equal(verdict.subject, cases[i].subject);
        assert_int_equal(verdict.reason, cases[i].reason);
    }
}

static void classify__traits_are_all_that_is_true(void **state)
{
    (void)state;
    static const struct {
        const char *sql;
        uint32_t traits;
    } cases[] = {
        {"SELECT 1", 0},
        {"INSERT INTO t VALUES (1)", VERDICT_HAS_WRITES},
        {"SELECT 1; SELECT 2", VERDICT_HAS_SEVERAL},
        {"COPY t FROM STDIN", VERDICT_HAS_WRITES | VERDICT_COPIES_IN},
        {"COPY t FROM '/x'", VERDICT_HAS_WRITES},
        {"COPY t TO STDOUT", VERDICT_COPIES_OUT},
        {"COPY t TO PROGRAM 'x'", 0},
        {"SET a = 1", VERDICT_SETS},
        {"SET LOCAL a = 1", VERDICT_SETS_LOCAL},
        {"RESET a", VERDICT_SETS},
        {"SET ROLE x", VERDICT_SETS | VERDICT_SETS_ROLE},
        {"RESET ROLE", VERDICT_SETS | VERDICT_SETS_ROLE},
        {"SET LOCAL SESSION AUTHORIZATION x", VERDICT_SETS_LOCAL | VERDICT_SETS_ROLE},
        {"SELECT set_config('a', 'b', true)", VERDICT_SETS},
        {"PREPARE p AS SELECT 1", VERDICT_PREPARES},
        {"EXECUTE p", VERDICT_PREPARES},
        {"LISTEN x", VERDICT_LISTENS},
        {"NOTIFY x", VERDICT_NOTIFIES},
        {"SELECT pg_notify('a', 'b')", VERDICT_NOTIFIES},
        {"SELECT pg_catalog.pg_try_advisory_lock(1)", VERDICT_ADVISORY},
        {"SELECT pg_advisory_xact_lock(1)", 0},
        {"SELECT s.pg_advisory_lock(1)", VERDICT_IS_UNSEEN},
        {"DECLARE c CURSOR FOR SELECT 1", VERDICT_USES_CURSOR},
        {"DECLARE c CURSOR WITH HOLD FOR SELECT 1", VERDICT_USES_CURSOR | VERDICT_HOLDS_CURSOR},
        {"FETCH 1 FROM c", VERDICT_USES_CURSOR},
        {"DISCARD ALL", VERDICT_DISCARDS | VERDICT_NO_BLOCK},
        {"DISCARD TEMP", VERDICT_DISCARDS},
        {"BEGIN", VERDICT_BEGINS},
        {"COMMIT", VERDICT_ENDS},
        {"ROLLBACK TO x", 0},
        {"BEGIN; COMMIT",
         VERDICT_BEGINS | VERDICT_ENDS | VERDICT_HAS_SEVERAL | VERDICT_COMMITS_INSIDE},
        {"CALL p()", VERDICT_COMMITS_INSIDE | VERDICT_IS_UNSEEN},
        {"VACUUM", VERDICT_COMMITS_INSIDE | VERDICT_NO_BLOCK},
        {"CREATE INDEX i ON t (a)", 0},
        {"DROP INDEX CONCURRENTLY i", VERDICT_COMMITS_INSIDE | VERDICT_NO_BLOCK},
        {"CREATE TEMP TABLE x (a int)", VERDICT_HAS_TEMPORARY},
        {"SELECT 1 FOR UPDATE; SELECT currval('s')",
         VERDICT_HAS_SEVERAL | VERDICT_HAS_ROW_LOCKS | VERDICT_READS_SESSION},
        {"SELECT f(1)", VERDICT_IS_UNSEEN},
        {"SELECT * FROM pg_stat_activity", VERDICT_ASKS_SERVER},
        {"SELECT * FROM t, pg_catalog.pg_locks", VERDICT_ASKS_SERVER},
        {"SELECT * FROM pg_stats, s.pg_locks", 0},
        {"SELECT pg_backend_pid()", 0},
        {"SELECT pg_temp.f(1)", VERDICT_IS_UNSEEN | VERDICT_READS_SESSION},
        {"CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS '1'",
         VERDICT_HAS_TEMPORARY | VERDICT_IS_UNSEEN | VERDICT_READS_SESSION},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        if (judged(cases[i].sql).traits != cases[i].traits)
            fail_msg("%s: traits %x", cases[i].sql, (unsigned)judged(cases[i].sql).traits);
    }
}

static void classify__transactions_say_what_they_ask_for(void **state)
{
    (void)state;
    static const struct {
        const char *sql;
        struct verdict_tx tx;
    } cases[] = {
        {"BEGIN", {VERDICT_TX_BEGIN, 0, 0, 0, false}},
        {"START TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
         {VERDICT_TX_BEGIN, VERDICT_SERIALIZABLE, VERDICT_YES, VERDICT_YES, false}},
        {"BEGIN READ WRITE, NOT DEFERRABLE, ISOLATION LEVEL READ UNCOMMITTED",
         {VERDICT_TX_BEGIN, VERDICT_READ_UNCOMMITTED, VERDICT_NO, VERDICT_NO, false}},
        {"COMMIT AND CHAIN", {VERDICT_TX_COMMIT, 0, 0, 0, true}},
        {"END", {VERDICT_TX_COMMIT, 0, 0, 0, false}},
        {"ABORT", {VERDICT_TX_ROLLBACK, 0, 0, 0, false}},
        {"SAVEPOINT a", {VERDICT_TX_SAVEPOINT, 0, 0, 0, false}},
        {"RELEASE a", {VERDICT_TX_RELEASE, 0, 0, 0, false}},
        {"ROLLBACK TO a", {VERDICT_TX_ROLLBACK_TO, 0, 0, 0, false}},
        {"PREPARE TRANSACTION 'a'", {VERDICT_TX_PREPARE, 0, 0, 0, false}},
        {"COMMIT PREPARED 'a'", {VERDICT_TX_COMMIT_PREPARED, 0, 0, 0, false}},
        {"ROLLBACK PREPARED 'a'", {VERDICT_TX_ROLLBACK_PREPARED, 0, 0, 0, false}},
        {"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
         {VERDICT_TX_SET, VERDICT_REPEATABLE_READ, 0, 0, false}},
        {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
         {VERDICT_TX_SET, 0, VERDICT_YES, 0, false}},
        {"BEGIN; SELECT 1; ROLLBACK", {VERDICT_TX_ROLLBACK, 0, 0, 0, false}},
        {"SELECT 1", {VERDICT_TX_NONE, 0, 0, 0, false}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct verdict_tx tx = judged(cases[i].sql).tx;
        assert_memory_equal(&tx, &cases[i].tx, sizeof tx);
    }
}

/* "function:s.f relation:t ..." */
static const char *uses_of(const char *sql, char *out, size_t size)
{
    struct judge *judge = new_judge();
    size_t used = 0;
    out[0] = '\0';
    judge_afresh(judge, sv_from_cstr(sql), &standard);
    for (uint32_t i = 0; i < judge->uses.count; i++) {
        const struct sv schema = uses_schema(&judge->uses, i), name = uses_name(&judge->uses, i);
        used += (size_t)snprintf(out + used, size - used, "%s%c:%.*s%s%.*s", i > 0 ? " " : "",
                                 "frotw"[judge->uses.names[i].kind], (int)schema.size, schema.data,
                                 schema.size > 0 ? "." : "", (int)name.size, name.data);
    }
    return out;
}

static void classify__lists_what_is_used(void **state)
{
    (void)state;
    static const struct {
        const char *sql;
        const char *uses;
    } cases[] = {
        {"SELECT f(g(1)), s.h(2), db.s.i(3) FROM t, s.u", "f:f f:g f:s.h f:s.i r:t r:s.u"},
        {"WITH x AS (SELECT 1) SELECT * FROM x", "r:x w:x"},
        {"SELECT a + b = c FROM t ORDER BY a USING <", "o:= o:+ r:t o:<"},
        {"SELECT a BETWEEN 1 AND 2", "o:>= o:<="},
        {"SELECT a NOT BETWEEN SYMMETRIC 1 AND 2", "o:>= o:<="},
        {"SELECT a OPERATOR(s.@) b", "o:s.@"},
        {"SELECT a::s.d, b::int", "t:s.d t:pg_catalog.int4"},
        {"SELECT 1 WHERE a IN (SELECT 2)", "o:="},
        {"SELECT 1 FROM t JOIN u USING (a)", "r:t r:u o:="},
        {"SELECT 1 FROM t NATURAL JOIN u", "o:= r:t r:u"},
        {"SELECT CASE a WHEN b THEN c END", "o:="},
        {"SELECT a LIKE 'x', a ~ 'y', a SIMILAR TO 'z'", "o:~~ o:~ f:pg_catalog.similar_to_escape"},
        {"SELECT extract(year FROM a)", "f:pg_catalog.extract"},
        {"SELECT \"F\"(1) FROM \"T\".\"U\"", "f:F r:T.U"},
        {"SELECT \"a\"\"b\\\"(1)", "f:a\"b\\"},
        {"INSERT INTO t VALUES (f(1)) RETURNING g(a)", "r:t f:f f:g"},
        {"EXPLAIN SELECT f(1) FROM t", ""},
        {"EXPLAIN ANALYZE SELECT f(1) FROM t", "f:f r:t"},
        {"SELECT f(1) FROM t LIMIT g(2)", "f:f r:t f:g"},
        {"SELECT * FROM ROWS FROM (f(1), g(2)) AS x", "f:f f:g"},
        {"SELECT sum(a) FILTER (WHERE g(c)) OVER (ORDER BY f(b))", "f:sum f:g f:f"},
    };
    char out[512];
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_string_equal(uses_of(cases[i].sql, out, sizeof out), cases[i].uses);
}

/* A tree that nobody makes gives a verdict, and never one that is weaker than it may be. */
static void classify__strange_trees_are_writes_or_more(void **state)
{
    (void)state;
    static const struct {
        const char *tree;
        enum verdict_class is;
    } cases[] = {
        {"", VERDICT_NOTHING},
        {"{\"stmts\":[]}", VERDICT_NOTHING},
        {"{\"stmts\":[{\"stmt\":{\"NewStmt\":{}}}]}", VERDICT_DDL},
        {"{\"stmts\":[{}]}", VERDICT_WRITE},
        {"{\"stmts\":[{\"stmt\":{\"TransactionStmt\":{\"kind\":\"TRANS_STMT_NEW\"}}}]}",
         VERDICT_WRITE},
        {"{\"stmts\":[{\"stmt\":{\"SelectStmt\":{\"lockingClause\":[{}]}}}]}", VERDICT_LOCKS},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        static struct uses uses;
        struct verdict verdict;
        classify_tree(&verdict, &uses, sv_from_cstr(cases[i].tree));
        assert_int_equal(verdict.is, cases[i].is);
    }
}

/* The deepest shapes that are let through, on a stack of 512 KB of which the judge and the parser
 * may use half. */
static void *judge_deep(void *unused)
{
    (void)unused;
    static const struct {
        const char *before, *middle, *after;
    } cases[] = {
        {"(SELECT ", "1", ")"},
        {"f(", "1", ")"},
        {"NOT ", "a", ""},
        {"a + ", "b", ""},
        {"", "a", "::int"},
        {"SELECT 1 UNION ", "SELECT 1", ""},
        {"", "SELECT * FROM a", " JOIN b ON c"},
        {"CASE WHEN ", "a", " THEN b END"},
        {"a IN (SELECT 1 FROM t WHERE ", "b", ")"},
        {"- ", "1", ""},
        {"(WITH x AS ", "(SELECT 1)", " SELECT 2)"},
        {"ARRAY[", "1", "]"},
        {"SELECT * FROM (", "SELECT 1", ") x"},
        {"(a AND NOT ", "b", ")"},
        {"", "a", " NOT LIKE b ESCAPE c"},
        {"", "a", " IS NOT NULL"},
    };
    static char sql[65536];
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int n = 500; n > 0; n -= 7) {
            size_t used = (size_t)snprintf(sql, sizeof sql, "SELECT ");
            if (strncmp(cases[i].middle, "SELECT", 6) == 0 || cases[i].before[0] == 'S')
                used = 0;
            for (int k = 0; k < n; k++)
                used += (size_t)snprintf(sql + used, sizeof sql - used, "%s", cases[i].before);
            used += (size_t)snprintf(sql + used, sizeof sql - used, "%s", cases[i].middle);
            for (int k = 0; k < n; k++)
                used += (size_t)snprintf(sql + used, sizeof sql - used, "%s", cases[i].after);
            judge_afresh(new_judge(), sv_from(sql, used), &standard);
        }
    }
    return NULL;
}

static void classify__deep_statements_need_little_stack(void **state)
{
    (void)state;
    pthread_attr_t attributes;
    pthread_t thread;
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstacksize(&attributes, 512 * 1024), 0);
    assert_int_equal(pthread_create(&thread, &attributes, judge_deep, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attributes);
}

/* What the grammar says of a statement it says of its shape, but for literals that it would
 * believe. */
static void classify__a_shape_is_judged_as_its_statement(void **state)
{
    (void)state;
    char line[1024];
    FILE *file = fopen(HF_TEST_DATA "/statements.txt", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        static struct uses uses;
        struct verdict own;
        struct parse parse;
        char *sql = strchr(line, '|');
        if (line[0] == '#' || sql == NULL || strstr(sql, "'off'") != NULL)
            continue;
        sql[strcspn(sql, "\n")] = '\0';
        const struct verdict by_shape = judged(sql + 1);
        parse_run(&parse, sv_from_cstr(sql + 1));
        if (parse.is_ok) {
            classify_tree(&own, &uses, parse.tree);
            catalog_judge(NULL, NULL, &uses, &own);
            assert_memory_equal(&own, &by_shape, sizeof own);
        }
        parse_free(&parse);
    }
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classify__statements_have_their_class),
        cmocka_unit_test(classify__reasons_name_what_decided),
        cmocka_unit_test(classify__traits_are_all_that_is_true),
        cmocka_unit_test(classify__transactions_say_what_they_ask_for),
        cmocka_unit_test(classify__lists_what_is_used),
        cmocka_unit_test(classify__strange_trees_are_writes_or_more),
        cmocka_unit_test(classify__deep_statements_need_little_stack),
        cmocka_unit_test(classify__a_shape_is_judged_as_its_statement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
