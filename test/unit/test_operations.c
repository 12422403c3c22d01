/*
 * Operations by name: each counted for itself, bounded, and found by many threads at once.
 */
#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "client/operations.h"

static struct mem mem;
static struct operations operations;

static void begin(void)
{
    mem_init(&mem, 0);
    operations_init(&operations, &mem);
}

static void end(void)
{
    operations_deinit(&operations);
    mem_deinit(&mem);
}

static void operations__a_name_is_one_operation(void **state)
{
    (void)state;
    begin();
    struct operation *list = operations_find(&operations, "list");
    assert_non_null(list);
    assert_ptr_equal(operations_find(&operations, "list"), list);
    assert_ptr_not_equal(operations_find(&operations, "item"), list);
    assert_null(operations_find(&operations, ""));
    assert_null(operations_find(&operations, NULL));
    operations_count(list, GUARD_SERVED, 100);
    operations_count(list, GUARD_FAILED, -5);
    operations_count(NULL, GUARD_SERVED, 100);
    assert_int_equal(list->results[GUARD_SERVED], 1);
    assert_int_equal(list->results[GUARD_FAILED], 1);
    assert_int_equal(list->spent_ns, 100);
    uint32_t cursor = 0, count = 0;
    while (operations_each(&operations, &cursor) != NULL)
        count++;
    assert_int_equal(count, 2);
    end();
}

static void operations__names_without_end_are_counted_together(void **state)
{
    (void)state;
    char name[100];
    begin();
    for (int i = 0; i < OPERATIONS_MAX + 50; i++) {
        snprintf(name, sizeof name, "made up %d", i);
        operations_count(operations_find(&operations, name), GUARD_SERVED, 1);
    }
    uint32_t cursor = 0, count = 0;
    uint64_t sum = 0, others = 0;
    for (struct operation *o; (o = operations_each(&operations, &cursor)) != NULL; count++) {
        sum += o->results[GUARD_SERVED];
        if (strcmp(o->name, "(others)") == 0)
            others = o->results[GUARD_SERVED];
    }
    assert_int_equal(count, OPERATIONS_MAX + 1);
    assert_int_equal(sum, OPERATIONS_MAX + 50);
    assert_int_equal(others, 50);
    end();
}

static void operations__a_long_name_is_cut_and_an_ugly_one_cleaned(void **state)
{
    (void)state;
    char name[200];
    begin();
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    assert_int_equal(strlen(operations_find(&operations, name)->name), OPERATIONS_NAME_BYTES - 1);
    assert_string_equal(operations_find(&operations, "a\nb")->name, "a b");
    end();
}

static void operations__without_memory_it_is_one_of_the_others(void **state)
{
    (void)state;
    begin();
    mem_fail_nth(&mem, 1);
    assert_ptr_equal(operations_find(&operations, "list"), &operations.others);
    assert_ptr_not_equal(operations_find(&operations, "list"), &operations.others);
    end();
}

#define THREADS 4
#define ROUNDS  20000

static void *count_many(void *arg)
{
    char name[16];
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(name, sizeof name, "o%d", i % 37);
        operations_count(operations_find(&operations, name), GUARD_SERVED, 1);
    }
    return NULL;
}

static void operations__threads_find_the_same_ones(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    begin();
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_many, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    uint32_t cursor = 0, count = 0;
    uint64_t sum = 0;
    for (struct operation *o; (o = operations_each(&operations, &cursor)) != NULL; count++)
        sum += o->results[GUARD_SERVED];
    assert_int_equal(count, 37);
    assert_int_equal(sum, THREADS * ROUNDS);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations__a_name_is_one_operation),
        cmocka_unit_test(operations__names_without_end_are_counted_together),
        cmocka_unit_test(operations__a_long_name_is_cut_and_an_ugly_one_cleaned),
        cmocka_unit_test(operations__without_memory_it_is_one_of_the_others),
        cmocka_unit_test(operations__threads_find_the_same_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
