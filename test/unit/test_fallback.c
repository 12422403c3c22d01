/*
 * Fallbacks by operation: which one is found, and which failures may be answered by one.
 */
#include "unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "client/fallback.h"

static struct mem mem;
static struct fallbacks fallbacks;
static struct hf_error error;

static void begin(void)
{
    mem_init(&mem, 0);
    fallbacks_init(&fallbacks, &mem);
}

static void end(void)
{
    fallbacks_deinit(&fallbacks);
    mem_deinit(&mem);
}

static int first(const char *sql, const struct hf_error *why, void *arg, struct hf_rows **rows,
                 struct hf_error *err)
{
    (void)sql;
    (void)why;
    (void)arg;
    (void)rows;
    (void)err;
    return 0;
}

static int second(const char *sql, const struct hf_error *why, void *arg, struct hf_rows **rows,
                  struct hf_error *err)
{
    return first(sql, why, arg, rows, err) + 1;
}

static hf_rows_fallback *found(const char *operation)
{
    struct fallback fallback;
    return fallbacks_find(&fallbacks, operation, &fallback) ? fallback.call : NULL;
}

static void fallback__an_operation_has_its_own_or_that_of_all(void **state)
{
    (void)state;
    begin();
    assert_null(found("list"));
    assert_int_equal(fallbacks_set(&fallbacks, "list", first, &mem, &error), HF_SUCCESS);
    assert_ptr_equal(found("list"), first);
    assert_null(found("item"));
    assert_null(found(NULL));
    assert_int_equal(fallbacks_set(&fallbacks, "*", second, NULL, &error), HF_SUCCESS);
    assert_ptr_equal(found("list"), first);
    assert_ptr_equal(found("item"), second);
    assert_ptr_equal(found(NULL), second);
    assert_ptr_equal(found(""), second);
    end();
}

static void fallback__it_can_be_replaced_and_removed(void **state)
{
    (void)state;
    begin();
    assert_int_equal(fallbacks_set(&fallbacks, "list", first, NULL, &error), HF_SUCCESS);
    assert_int_equal(fallbacks_set(&fallbacks, "item", first, NULL, &error), HF_SUCCESS);
    assert_int_equal(fallbacks_set(&fallbacks, "list", second, NULL, &error), HF_SUCCESS);
    assert_ptr_equal(found("list"), second);
    assert_int_equal(fallbacks_set(&fallbacks, "list", NULL, NULL, &error), HF_SUCCESS);
    assert_int_equal(fallbacks_set(&fallbacks, "list", NULL, NULL, &error), HF_SUCCESS);
    assert_null(found("list"));
    assert_ptr_equal(found("item"), first);
    end();
}

static void fallback__names_and_numbers_are_bounded(void **state)
{
    (void)state;
    char name[FALLBACK_NAME_BYTES + 1];
    begin();
    memset(name, 'x', sizeof name);
    name[FALLBACK_NAME_BYTES] = '\0';
    assert_int_equal(fallbacks_set(&fallbacks, name, first, NULL, &error), HF_E_USAGE);
    name[FALLBACK_NAME_BYTES - 1] = '\0';
    assert_int_equal(fallbacks_set(&fallbacks, name, first, NULL, &error), HF_SUCCESS);
    assert_int_equal(fallbacks_set(&fallbacks, NULL, first, NULL, &error), HF_E_USAGE);
    for (int i = 1; i < FALLBACK_OPERATIONS_MAX; i++) {
        snprintf(name, sizeof name, "operation %d", i);
        assert_int_equal(fallbacks_set(&fallbacks, name, first, NULL, &error), HF_SUCCESS);
    }
    assert_int_equal(fallbacks_set(&fallbacks, "one more", first, NULL, &error), HF_E_MEMORY);
    assert_ptr_equal(found("operation 1"), first);
    end();
}

static void fallback__without_memory_the_old_ones_stay(void **state)
{
    (void)state;
    begin();
    mem_fail_nth(&mem, 1);
    assert_int_equal(fallbacks_set(&fallbacks, "list", first, NULL, &error), HF_E_MEMORY);
    assert_null(found("list"));
    assert_int_equal(fallbacks_set(&fallbacks, "list", first, NULL, &error), HF_SUCCESS);
    end();
}

static void fallback__only_what_no_server_answered_may_be_made_up(void **state)
{
    (void)state;
    static const int may[] = {HF_E_CONNECT, HF_E_LOST,  HF_E_OPEN,    HF_E_BUSY,
                              HF_E_NOBODY,  HF_E_LEVEL, HF_E_DEADLINE};
    for (int code = HF_SUCCESS; code <= HF_E_CLOSED; code++) {
        bool is_listed = false;
        for (size_t i = 0; i < sizeof may / sizeof may[0]; i++)
            is_listed |= may[i] == code;
        assert_int_equal(fallbacks_may_answer(code), is_listed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fallback__an_operation_has_its_own_or_that_of_all),
        cmocka_unit_test(fallback__it_can_be_replaced_and_removed),
        cmocka_unit_test(fallback__names_and_numbers_are_bounded),
        cmocka_unit_test(fallback__without_memory_the_old_ones_stay),
        cmocka_unit_test(fallback__only_what_no_server_answered_may_be_made_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
