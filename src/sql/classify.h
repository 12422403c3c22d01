/*
 * Classify: what a statement is, by the grammar alone.
 *
 * It reads the parse tree (JSON of libpg_query, see parse.h) and gives the verdict as far as the
 * grammar goes, and the names that the statement uses. Whether a function writes is not grammar:
 * catalog_judge() sharpens the verdict after this.
 *
 *     parse_run(&parse, shape.text)
 *     classify_tree(&verdict, &uses, parse.tree)
 *     catalog_judge(catalog, &uses, &verdict)
 *
 * How it decides. Each statement of the string has a kind, and a table says the class and traits of
 * the kind; those that depend on what is inside (SELECT, EXPLAIN, COPY, SET, DECLARE, PREPARE,
 * transaction statements ...) have a function. A kind that is not in the table is DDL. Then the
 * whole tree is gone through once: an INSERT, UPDATE, DELETE or MERGE anywhere within a SELECT
 * makes it a write, a locking clause makes it lock, and names are collected. The string's class is
 * the strongest of its statements', its traits are all of theirs, its reason is the strongest
 * one's.
 *
 * A literal never makes a class weaker: EXPLAIN (ANALYZE 'off') counts as if it ran.
 *
 * Functions that are known by name and not by volatility are here too: set_config(), advisory
 * locks, pg_notify(), currval() ... leave or need something in the session.
 *
 * Invariants
 *  1. Total: any tree, also one of statements that nobody has heard of, gives a verdict; what is
 *     not known is DDL, and without a tree it is a write.
 *  2. It looks at nothing but the tree: the verdict is a function of the shape that was parsed.
 */
#ifndef HF_SQL_CLASSIFY_H
#define HF_SQL_CLASSIFY_H

#include "base/sv.h"
#include "sql/uses.h"
#include "sql/verdict.h"

void classify_tree(struct verdict *verdict, struct uses *uses, struct sv tree);

#endif
