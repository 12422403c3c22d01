#include "unit.h"

#include <string.h>

#include "base/list.h"
#include "base/rng.h"

struct item {
    int value;
    struct list_node link;
};

/* The list, read forwards and backwards, holds exactly these values. */
static void expect(const struct list *list, const int *values, int count)
{
    int i = 0;
    const struct list_node *node;
    for (node = list->head.next; node != &list->head; node = node->next, i++) {
        assert_true(i < count);
        assert_int_equal(container_of_const(node, struct item, link)->value, values[i]);
    }
    assert_int_equal(i, count);
    for (node = list->head.prev; node != &list->head; node = node->prev)
        assert_int_equal(container_of_const(node, struct item, link)->value, values[--i]);
    assert_int_equal(i, 0);
}

static void list__nodes_stand_where_they_were_put(void **state)
{
    (void)state;
    struct item items[4] = {{.value = 0}, {.value = 1}, {.value = 2}, {.value = 3}};
    struct list list;
    list_init(&list);
    assert_true(list_is_empty(&list));
    assert_null(list_first(&list));
    assert_null(list_last(&list));
    list_push_back(&list, &items[1].link);
    list_push_back(&list, &items[3].link);
    list_push_front(&list, &items[0].link);
    list_insert_before(&items[3].link, &items[2].link);
    assert_false(list_is_empty(&list));
    assert_ptr_equal(list_first(&list), &items[0].link);
    assert_ptr_equal(list_last(&list), &items[3].link);
    expect(&list, (const int[]){0, 1, 2, 3}, 4);
}

static void list__removed_nodes_are_unlinked_and_may_come_back(void **state)
{
    (void)state;
    struct item items[3] = {{.value = 0}, {.value = 1}, {.value = 2}};
    struct list list;
    list_init(&list);
    for (int i = 0; i < 3; i++) {
        assert_false(list_is_linked(&items[i].link));
        list_push_back(&list, &items[i].link);
        assert_true(list_is_linked(&items[i].link));
    }
    list_remove(&items[1].link);
    assert_false(list_is_linked(&items[1].link));
    expect(&list, (const int[]){0, 2}, 2);
    list_push_front(&list, &items[1].link);
    expect(&list, (const int[]){1, 0, 2}, 3);
    assert_ptr_equal(list_pop_front(&list), &items[1].link);
    assert_ptr_equal(list_pop_front(&list), &items[0].link);
    assert_ptr_equal(list_pop_front(&list), &items[2].link);
    assert_null(list_pop_front(&list));
    assert_true(list_is_empty(&list));
}

static void list__the_loop_body_may_remove_the_current_node(void **state)
{
    (void)state;
    struct item items[6];
    struct list list;
    memset(items, 0, sizeof items);
    list_init(&list);
    for (int i = 0; i < 6; i++) {
        items[i].value = i;
        list_push_back(&list, &items[i].link);
    }
    int visited = 0;
    list_for_each(node, &list) {
        struct item *item = container_of(node, struct item, link);
        assert_int_equal(item->value, visited++);
        if (item->value % 2 == 0) {
            list_remove(node);
            memset(item, 0x5a, sizeof *item); /* as if it were freed */
        }
    }
    assert_int_equal(visited, 6);
    expect(&list, (const int[]){1, 3, 5}, 3);
    list_for_each(node, &list)
        list_remove(node);
    assert_true(list_is_empty(&list));
    list_for_each(node, &list)
        fail();
}

/* The same random operations on the list and on a plain array always leave the same order. */
static void list__random_operations_agree_with_an_array(void **state)
{
    (void)state;
    enum {
        N = 12
    };
    struct item items[N];
    int model[N], count = 0;
    struct list list;
    struct rng rng;
    memset(items, 0, sizeof items);
    list_init(&list);
    rng_init(&rng, 1);
    for (int i = 0; i < N; i++)
        items[i].value = i;
    for (int step = 0; step < 20000; step++) {
        int i = (int)rng_below(&rng, N);
        int at = 0;
        while (at < count && model[at] != i)
            at++;
        assert_int_equal(list_is_linked(&items[i].link), at < count);
        if (at < count) {
            list_remove(&items[i].link);
            memmove(model + at, model + at + 1, (size_t)(--count - at) * sizeof model[0]);
        } else {
            at = (int)rng_below(&rng, (uint64_t)count + 1);
            struct list_node *before = at < count ? &items[model[at]].link : &list.head;
            list_insert_before(before, &items[i].link);
            memmove(model + at + 1, model + at, (size_t)(count++ - at) * sizeof model[0]);
            model[at] = i;
        }
        expect(&list, model, count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list__nodes_stand_where_they_were_put),
        cmocka_unit_test(list__removed_nodes_are_unlinked_and_may_come_back),
        cmocka_unit_test(list__the_loop_body_may_remove_the_current_node),
        cmocka_unit_test(list__random_operations_agree_with_an_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
