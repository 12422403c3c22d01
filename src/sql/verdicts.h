/*
 * Verdicts: a bounded cache from shapes to what was judged of them.
 *
 * A shape that was seen costs a look at one map slot and a comparison of its text. It is found by
 * 64 bits of the shape's keyed hash and then COMPARED IN FULL: no collision, found by chance or by
 * somebody who learned the key, can give a statement the verdict of another. The comparison costs
 * some 10 ns for a typical shape, and the text is what explain and the console show.
 *
 *     entry: verdict, links, hash          texts: blocks of 64 bytes, chained
 *     [ ][ ][ ][ ] ... capacity            [####][##  ][####] ... blocks
 *
 * Memory is given once; nothing is allocated afterwards. When entries or blocks run out, the
 * clock's hand goes round: an entry that was used since it last passed stays, another one goes. A
 * shape longer than VERDICTS_TEXT_MAX is not kept, and nothing is learned of it.
 *
 * Generations. Verdicts were made with a catalogue; after verdicts_renew() those of an older one
 * are not found any more, and leave when the hand comes or their shape is put in again. What was
 * LEARNED from a server stays: verdicts_learn() marks a shape as a write because a server answered
 * 25006 to it, which no reading of the catalogue can outweigh. A learned entry may be forgotten
 * like any other when room is needed; the server will say it again.
 *
 * Thread: one for each lane or worker, without locks. Lanes learn each for itself: the price is one
 * refused statement in each, and that nothing on a query's path is shared.
 */
#ifndef HF_SQL_VERDICTS_H
#define HF_SQL_VERDICTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "sql/shape.h"
#include "sql/verdict.h"

#define VERDICTS_BLOCK_TEXT   60
#define VERDICTS_TEXT_MAX     8192
#define VERDICTS_CAPACITY_MAX (UINT32_C(1) << 20)
#define VERDICTS_BLOCKS_EACH  8 /* blocks for each entry: texts of 480 bytes on average */

struct verdicts_entry {
    struct verdict verdict;
    uint64_t hash;
    uint32_t text_size;
    uint32_t first_block;
    uint32_t generation;
    bool is_used;   /* holds something */
    bool is_recent; /* was found since the hand passed */
    bool is_learned;
};

struct verdicts_block {
    uint32_t next;
    char text[VERDICTS_BLOCK_TEXT];
};

struct verdicts_counts {
    uint64_t hits;
    uint64_t misses;
    uint64_t evicted;
    uint64_t learned;
    uint64_t too_long;
};

struct verdicts {
    uint32_t capacity;
    uint32_t count;
    uint32_t hand;
    uint32_t generation;
    uint32_t free_block; /* the first of the free ones */
    uint32_t free_blocks;
    struct verdicts_entry *entries;
    struct verdicts_block *blocks;
    struct map map;
    struct verdicts_counts counts;
};

/* Bytes for `capacity` shapes: 650 to 700 each. */
size_t verdicts_size(uint32_t capacity);
void verdicts_init(struct verdicts *verdicts, void *memory, uint32_t capacity);

/* The verdict, valid until the next call that changes the cache; NULL if it is not known. */
const struct verdict *verdicts_find(struct verdicts *verdicts, const struct shape *shape);

/* Puts a verdict in, in the place of an older one of this shape. Over a learned one it does not. */
void verdicts_put(struct verdicts *verdicts, const struct shape *shape,
                  const struct verdict *verdict);

/* A server said that this shape writes: that is added to what was judged of it. */
void verdicts_learn(struct verdicts *verdicts, const struct shape *shape);

/* There is another catalogue: what was judged by an older one is forgotten. */
void verdicts_renew(struct verdicts *verdicts, uint32_t generation);

/* For the console: every entry that is valid, once. `*cursor` starts at 0. `text` gets the shape,
 * cut to `size`, with a NUL. */
bool verdicts_each(const struct verdicts *verdicts, uint32_t *cursor,
                   const struct verdict **verdict, char *text, size_t size);

#endif
