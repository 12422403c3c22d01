/*
 * Intrusive doubly linked list: the node is a member of what is listed, so linking allocates
 * nothing and removing needs no search.
 *
 *        +----------------------------------------------+
 *        v                                              |
 *     [head] <-> [node of a] <-> [node of b] <-> ... <--+
 *
 * The list is a ring through its head, so no operation has a case for the ends. A node belongs to
 * at most one list at a time; a node full of zero bytes is unlinked. The list owns nothing: what
 * holds the nodes must outlive their being linked. A linked list or node must not be moved or
 * copied. One owner, no locking.
 *
 *     struct waiter { struct list_node link; ... };
 *     list_for_each(node, &queue) {
 *         struct waiter *waiter = container_of(node, struct waiter, link);
 *         if (waiter->is_done)
 *             list_remove(node);
 *     }
 */
#ifndef HF_BASE_LIST_H
#define HF_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bug.h"
#include "base/container_of.h"

struct list_node {
    struct list_node *prev; /* both NULL while unlinked */
    struct list_node *next;
};

struct list {
    struct list_node head; /* head.next is the first node, head.prev the last */
};

static inline void list_init(struct list *list)
{
    list->head.prev = &list->head;
    list->head.next = &list->head;
}

static inline bool list_is_empty(const struct list *list)
{
    return list->head.next == &list->head;
}

static inline bool list_is_linked(const struct list_node *node)
{
    return node->next != NULL;
}

/* Puts an unlinked node in front of a linked one. */
static inline void list_insert_before(struct list_node *linked, struct list_node *node)
{
    hf_assert(!list_is_linked(node));
    node->prev = linked->prev;
    node->next = linked;
    linked->prev->next = node;
    linked->prev = node;
}

static inline void list_push_back(struct list *list, struct list_node *node)
{
    list_insert_before(&list->head, node);
}

static inline void list_push_front(struct list *list, struct list_node *node)
{
    list_insert_before(list->head.next, node);
}

/* Takes a linked node out of whichever list it is in. */
static inline void list_remove(struct list_node *node)
{
    hf_assert(list_is_linked(node));
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->prev = NULL;
    node->next = NULL;
}

/* The first or the last node, which stays linked; NULL if the list is empty. */
static inline struct list_node *list_first(const struct list *list)
{
    return list_is_empty(list) ? NULL : list->head.next;
}

static inline struct list_node *list_last(const struct list *list)
{
    return list_is_empty(list) ? NULL : list->head.prev;
}

/* Takes the first node out; NULL if the list is empty. */
static inline struct list_node *list_pop_front(struct list *list)
{
    struct list_node *first = list_first(list);
    if (first != NULL)
        list_remove(first);
    return first;
}

/* Visits every node from first to last. The body may remove, free or relink the current node, and
 * may add nodes anywhere; it must not remove the node after the current one. A node added right
 * after the current one is not visited. */
/* NOLINTBEGIN(bugprone-macro-parentheses): a declared name cannot stand in parentheses */
#define list_for_each(node, list)                                                                  \
    for (struct list_node *node = (list)->head.next, *node##_after = node->next;                   \
         node != &(list)->head; node = node##_after, node##_after = node->next)
/* NOLINTEND(bugprone-macro-parentheses) */

#endif
