/*
 * From a member to the struct around it, for intrusive containers: a list or a queue links nodes,
 * and the node's owner is found by subtracting the member's offset.
 *
 *     struct waiter *waiter = container_of(node, struct waiter, link);
 *
 * The branch that is never taken makes the compiler compare the pointer's type with the member's.
 * A pointer to const needs container_of_const(), which gives a pointer to const.
 */
#ifndef HF_BASE_CONTAINER_OF_H
#define HF_BASE_CONTAINER_OF_H

#include <stddef.h>

#define container_of(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(1 ? (pointer) : &((type *)0)->member) - offsetof(type, member)))

#define container_of_const(pointer, type, member)                                                  \
    ((const type *)(const void *)((const char *)(1 ? (pointer) : &((const type *)0)->member) -     \
                                  offsetof(type, member)))

#endif
