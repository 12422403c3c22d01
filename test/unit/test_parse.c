#include "unit.h"

#include <pthread.h>
#include <string.h>

#include "sql/parse.h"

static void parse__gives_the_tree_of_what_it_understands(void **state)
{
    (void)state;
    struct parse parse;
    parse_run(&parse, SV("select 1"));
    assert_true(parse.is_ok);
    assert_string_equal(parse.error, "");
    assert_non_null(strstr(parse.tree.data, "\"SelectStmt\""));
    assert_int_equal(strlen(parse.tree.data), parse.tree.size);
    parse_free(&parse);
    assert_null(parse.tree.data);
}

static void parse__says_why_it_does_not(void **state)
{
    (void)state;
    struct parse parse;
    parse_run(&parse, SV("selec 1"));
    assert_false(parse.is_ok);
    assert_int_equal(parse.tree.size, 0);
    assert_string_equal(parse.error, "syntax error at or near \"selec\"");
    parse_free(&parse);
}

static void parse__knows_what_is_the_same_but_for_literals(void **state)
{
    (void)state;
    const uint64_t one = parse_fingerprint("select 1 from t where a in (1, 2)");
    assert_int_not_equal(one, 0);
    assert_int_equal(parse_fingerprint("SELECT 7 FROM t WHERE a IN (3)"), one);
    assert_int_not_equal(parse_fingerprint("SELECT 7 FROM u WHERE a IN (3)"), one);
    assert_int_equal(parse_fingerprint("selec"), 0);
}

/* libpg_query has a hash_bytes() of its own, with other arguments: if the dynamic linker gave it
 * ours, this would crash. */
static void parse__keeps_its_own_functions_apart_from_ours(void **state)
{
    (void)state;
    assert_int_not_equal(parse_fingerprint("select true, a - b"), 0);
}

static void *parse_often(void *unused)
{
    (void)unused;
    for (int i = 0; i < 2000; i++) {
        struct parse parse;
        parse_run(&parse, i % 2 == 0 ? SV("select a from t where b = $1") : SV("select ("));
        assert_int_equal(parse.is_ok, i % 2 == 0);
        parse_free(&parse);
    }
    return NULL;
}

static void parse__threads_do_not_meet(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, parse_often, NULL), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse__gives_the_tree_of_what_it_understands),
        cmocka_unit_test(parse__says_why_it_does_not),
        cmocka_unit_test(parse__knows_what_is_the_same_but_for_literals),
        cmocka_unit_test(parse__keeps_its_own_functions_apart_from_ours),
        cmocka_unit_test(parse__threads_do_not_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
