/*
 * The judge: a statement's text in, its verdict out. What the other files of this folder do, in
 * order, for a lane.
 *
 *     text -- hint_read --> hint
 *          -- shape_make --> shape -- verdicts_find --> verdict
 *                              '-- not seen: parse_run, classify_tree, catalog_judge, verdicts_put
 *
 * A shape that is in the cache costs no allocation and about a microsecond. One that is not is
 * parsed: 10 to 100 us, and memory of libpg_query for that time.
 *
 * One judge for each lane or worker; catalogue and lists are shared and only read. The owner hands
 * in a newer catalogue with judge_renew() at a moment of its own choice; the old one must live
 * until all judges have.
 */
#ifndef HF_SQL_JUDGE_H
#define HF_SQL_JUDGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/sv.h"
#include "sql/catalog.h"
#include "sql/hint.h"
#include "sql/shape.h"
#include "sql/uses.h"
#include "sql/verdict.h"
#include "sql/verdicts.h"

struct judge {
    struct shape_key key;
    const struct catalog *catalog;     /* borrowed; NULL: what is built in */
    const struct catalog_lists *lists; /* borrowed; NULL: none */
    struct verdicts verdicts;
    struct shape shape;     /* of the last statement, in `buffer` */
    struct uses uses;       /* of the last statement that was parsed */
    struct verdict verdict; /* the same */
    char buffer[SHAPE_SIZE_MAX + 1];
};

/* Bytes for a judge that remembers `capacity` shapes. */
size_t judge_size(uint32_t capacity);

/* In memory of judge_size() bytes. `seed` is of the system's randomness. */
struct judge *judge_init(void *memory, uint32_t capacity, uint64_t seed,
                         const struct catalog *catalog, const struct catalog_lists *lists);

/* The verdict, valid until the next call. judge->shape is the statement's shape afterwards. The
 * hint is another matter: hint_read(). */
const struct verdict *judge_statement(struct judge *judge, struct sv sql,
                                      const struct lex_rules *rules);

/* The same without looking into the cache, so that judge->uses is this statement's: for explain. */
const struct verdict *judge_afresh(struct judge *judge, struct sv sql,
                                   const struct lex_rules *rules);

/* A replica answered 25006 to this statement outside of a transaction block: it writes. */
void judge_learn(struct judge *judge, struct sv sql, const struct lex_rules *rules);

/* Another catalogue, or NULL. */
void judge_renew(struct judge *judge, const struct catalog *catalog);

#endif
