/*
 * Also of the table of prepared statements, whose keys intents go by.
 */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "client/client_statements.h"
#include "client/intents.h"
#include "os/mem.h"
#include "sql/verdict.h"

#define SECRET UINT64_C(0x1234567890abcdef)

static struct mem mem;
static struct intents *intents;

static struct intent of(const char *sql)
{
    return intents_of(intents, statement_key_of(SECRET, sql, NULL), sql);
}

static int begin(void **state)
{
    (void)state;
    struct hf_err err;
    mem_init(&mem, 0);
    return intents_new(&intents, &mem, 7, &err) == HF_OK ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    intents_free(intents, &mem);
    intents_free(NULL, &mem);
    mem_deinit(&mem);
    return 0;
}

static void intents__are_by_the_grammar(void **state)
{
    (void)state;
    static const struct {
        const char *sql;
        enum route_intent route;
        bool leaves_traces, commits_inside;
    } cases[] = {
        {"SELECT 1", ROUTE_READ, false, false},
        {"SELECT * FROM t WHERE a = $1 FOR UPDATE", ROUTE_WRITE, false, false},
        {"INSERT INTO t VALUES (1)", ROUTE_WRITE, false, false},
        {"WITH x AS (DELETE FROM t RETURNING 1) SELECT * FROM x", ROUTE_WRITE, false, false},
        {"SELECT unknown_function(1)", ROUTE_WRITE, false, false},
        {"SHOW application_name", ROUTE_ANY, false, false},
        {"SET application_name = 'x'", ROUTE_ANY, true, false},
        {"LISTEN news", ROUTE_WRITE, true, false},
        {"CREATE TEMP TABLE t (i int)", ROUTE_WRITE, true, false},
        {"CALL p()", ROUTE_WRITE, false, true},
        {"VACUUM t", ROUTE_WRITE, false, true},
        {"not SQL at all", ROUTE_WRITE, false, false},
    };
    for (int round = 0; round < 2; round++) { /* judged, then remembered */
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            struct intent intent = of(cases[i].sql);
            if (intent.route != cases[i].route ||
                intent_leaves_traces(&intent) != cases[i].leaves_traces ||
                ((intent.traits & VERDICT_COMMITS_INSIDE) != 0) != cases[i].commits_inside)
                fail_msg("%s: route %d, traits %x", cases[i].sql, (int)intent.route, intent.traits);
        }
    }
}

static void intents__more_statements_than_places_are_all_judged_right(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 5000; i++) {
            char sql[80];
            snprintf(sql, sizeof sql,
                     i % 2 == 0 ? "SELECT a%d FROM t" : "DELETE FROM t WHERE a%d = 1", i);
            assert_int_equal(of(sql).route, i % 2 == 0 ? ROUTE_READ : ROUTE_WRITE);
        }
    }
}

static void intents__what_a_server_refused_is_learned(void **state)
{
    (void)state;
    static const char sql[] = "SELECT * FROM a_view_that_writes";
    assert_int_equal(of(sql).route, ROUTE_READ);
    intents_learn(intents, statement_key_of(SECRET, sql, NULL), sql);
    assert_int_equal(of(sql).route, ROUTE_WRITE);
    intents_renew(intents, NULL);
    assert_int_equal(of(sql).route, ROUTE_WRITE);
}

static void intents__an_unknown_name_is_a_wish_for_the_catalogue(void **state)
{
    (void)state;
    of("SELECT 1");
    intents_take_wish(intents);
    of("SELECT count(*) FROM t");
    assert_false(intents_take_wish(intents));
    of("SELECT who_knows(1)");
    assert_true(intents_take_wish(intents));
    assert_false(intents_take_wish(intents));
}

/* ---- prepared statements ---- */

static struct statement_key key_of(int number)
{
    char sql[32];
    snprintf(sql, sizeof sql, "SELECT %d", number);
    return statement_key_of(SECRET, sql, NULL);
}

static void intents__statements_are_prepared_when_they_come_again(void **state)
{
    (void)state;
    struct statements *s = statements_new(&mem);
    enum statements_verdict verdict;
    char evicted[STATEMENTS_NAME_BYTES];
    statements_use(s, key_of(1), &verdict, evicted);
    assert_int_equal(verdict, STATEMENTS_PLAIN);
    uint32_t slot = statements_use(s, key_of(1), &verdict, evicted);
    assert_int_equal(verdict, STATEMENTS_PREPARE);
    assert_string_equal(evicted, "");
    assert_string_equal(statements_name(s, slot), "hf_1");
    statements_prepared(s, slot);
    assert_int_equal(statements_use(s, key_of(1), &verdict, evicted), slot);
    assert_int_equal(verdict, STATEMENTS_READY);
    /* Stale: prepared anew under another name, and the old one is deallocated. */
    statements_forget(s, slot, false);
    statements_use(s, key_of(1), &verdict, evicted);
    assert_int_equal(verdict, STATEMENTS_PREPARE);
    assert_string_equal(evicted, "hf_1");
    assert_string_equal(statements_name(s, slot), "hf_2");
    statements_prepared(s, slot);
    /* Gone from the server: nothing is to be deallocated. */
    statements_forget(s, slot, true);
    statements_use(s, key_of(1), &verdict, evicted);
    assert_string_equal(evicted, "");
    statements_free(s, &mem);
    statements_free(NULL, &mem);
}

static void intents__the_statement_least_recently_used_makes_room(void **state)
{
    (void)state;
    struct statements *s = statements_new(&mem);
    enum statements_verdict verdict;
    char evicted[STATEMENTS_NAME_BYTES];
    for (int i = 0; i < STATEMENTS_MAX; i++) {
        statements_use(s, key_of(i), &verdict, evicted);
        statements_prepared(s, statements_use(s, key_of(i), &verdict, evicted));
    }
    statements_use(s, key_of(0), &verdict, evicted);
    assert_int_equal(verdict, STATEMENTS_READY);
    /* Who comes once evicts nobody's name yet; who comes again does. */
    statements_use(s, key_of(1000), &verdict, evicted);
    assert_int_equal(verdict, STATEMENTS_PLAIN);
    assert_string_equal(evicted, "");
    statements_use(s, key_of(1000), &verdict, evicted);
    assert_int_equal(verdict, STATEMENTS_PREPARE);
    assert_string_equal(evicted, "hf_2"); /* of number 1, the oldest */
    statements_use(s, key_of(0), &verdict, evicted);
    assert_int_equal(verdict, STATEMENTS_READY);
    statements_use(s, key_of(1), &verdict, evicted);
    assert_int_equal(verdict, STATEMENTS_PLAIN);
    statements_clear(s);
    statements_use(s, key_of(0), &verdict, evicted);
    assert_int_equal(verdict, STATEMENTS_PLAIN);
    statements_free(s, &mem);
}

static void intents__keys_tell_types_and_texts_apart(void **state)
{
    (void)state;
    struct hf_param list[2] = {{.type = 23}, {.type = 25}}, other[2] = {{.type = 25}, {.type = 23}};
    struct hf_params params = {list, 2}, swapped = {other, 2}, first = {list, 1};
    const struct statement_key keys[] = {
        statement_key_of(SECRET, "SELECT $1, $2", &params),
        statement_key_of(SECRET, "SELECT $1, $2", &swapped),
        statement_key_of(SECRET, "SELECT $1, $2", &first),
        statement_key_of(SECRET, "SELECT $1, $2", NULL),
        statement_key_of(SECRET, "SELECT $1,  $2", &params),
        statement_key_of(SECRET + 1, "SELECT $1, $2", &params),
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        for (size_t k = 0; k < i; k++)
            assert_true(keys[i].a != keys[k].a && keys[i].b != keys[k].b);
    }
    struct statement_key again = statement_key_of(SECRET, "SELECT $1, $2", &params);
    assert_true(again.a == keys[0].a && again.b == keys[0].b);
}

/* Whatever was asked before, also in a text as long as another, or too long to be kept. */
static void intents__a_memo_never_changes_a_key(void **state)
{
    (void)state;
    static char texts[8][STATEMENT_MEMO_BYTES + 2];
    struct hf_param typed = {.type = 23};
    struct hf_params params = {&typed, 1};
    struct statement_memo memo = {.size = 0};
    for (size_t i = 0; i < 8; i++)
        memset(texts[i], 'a' + (int)i, STATEMENT_MEMO_BYTES - 2 + i / 2);
    texts[2][0] = '\0';
    memcpy(texts[3], "SELECT", sizeof "SELECT");
    for (uint64_t i = 0; i < 1000; i++) {
        const char *text = texts[rng_hash(SECRET, i) % 8];
        const struct hf_params *given = i % 3 == 0 ? &params : NULL;
        struct statement_key key = statement_key_of(SECRET, text, given);
        struct statement_key again = statement_key_again(&memo, SECRET, text, given);
        assert_true(key.a == again.a && key.b == again.b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intents__are_by_the_grammar),
        cmocka_unit_test(intents__more_statements_than_places_are_all_judged_right),
        cmocka_unit_test(intents__what_a_server_refused_is_learned),
        cmocka_unit_test(intents__an_unknown_name_is_a_wish_for_the_catalogue),
        cmocka_unit_test(intents__statements_are_prepared_when_they_come_again),
        cmocka_unit_test(intents__the_statement_least_recently_used_makes_room),
        cmocka_unit_test(intents__keys_tell_types_and_texts_apart),
        cmocka_unit_test(intents__a_memo_never_changes_a_key),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
