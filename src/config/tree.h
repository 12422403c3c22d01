/*
 * A YAML text as a tree of scalars, lists and maps, each with the line and column where it stands.
 *
 * A part of YAML that a person can read without surprises: one document; no anchors and aliases (a
 * text of a kilobyte can mean a gigabyte with them), no tags, keys that are scalars and come once.
 * A scalar is its text: what it means is for the option row to say, so "on", "0777" and "1e3" are
 * never anything else on the way.
 *
 * Invariants
 *  1. No tree is deeper than TREE_DEPTH_MAX or has more than TREE_NODES_MAX nodes.
 *  2. Children of a map have a key each, and no two of them the same.
 *  3. tree_free() overwrites every byte that was kept: a text may hold secrets. (What libyaml keeps
 *     meanwhile in the heap is freed, but not overwritten.)
 */
#ifndef HF_CONFIG_TREE_H
#define HF_CONFIG_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sv.h"
#include "os/mem.h"

#define TREE_TEXT_MAX  ((size_t)4 << 20) /* bytes */
#define TREE_DEPTH_MAX 8
#define TREE_NODES_MAX 200000

enum tree_kind {
    TREE_SCALAR,
    TREE_LIST,
    TREE_MAP,
};

/* Counted from 1, as editors do; 0: nowhere. */
struct tree_place {
    uint32_t line;
    uint32_t column;
};

struct tree_node {
    enum tree_kind kind;
    struct tree_place place;
    struct sv text; /* of a scalar */
    bool is_plain;  /* a scalar without quotes */
    struct sv key;  /* of a child of a map */
    struct tree_place key_place;
    struct tree_node *first; /* child */
    struct tree_node *next;  /* sibling */
    uint32_t count;          /* of children */
};

struct tree {
    struct tree_node *root; /* NULL: the text says nothing */
    uint32_t nodes;
    struct tree_chunk *chunks; /* private: the memory of all this */
    struct mem *mem;           /* borrowed */
};

/* Reads a text. A failure says where in `place`. In both cases tree_free() belongs to the end. */
enum hf_rc tree_read(struct tree *tree, struct sv text, struct mem *mem, struct tree_place *place,
                     struct hf_err *err) HF_MUST_USE;

void tree_free(struct tree *tree);

/* A child of a map by its key; NULL if there is none, or the node is no map, or NULL. */
const struct tree_node *tree_find(const struct tree_node *map, struct sv key);

/* "a text", "a list", "a map". */
const char *tree_kind_name(enum tree_kind kind);

#endif
