/*
 * The shape of a statement: its text with everything taken out that does not say what it does.
 *
 *     SELECT  a -- note                          select a from t
 *       FROM t WHERE id IN (1, 2,3)      ->      where id in($1) and x = ''
 *        and x='it''s'                           (one line)
 *
 * - Literals become an empty or small one of their kind: 1, 1.0, '', b'', x'', n''. A shape is
 *   therefore SQL again: it can be parsed, and shape(shape(s)) is shape(s).
 * - Parameters lose their number: $1. Comments go, blanks become one space or none, unquoted words
 *   become lower case. Quoted names stay as they are.
 * - In lists, that is IN (...), ARRAY[...] and the rows of VALUES, each plain value (literal, NULL,
 *   TRUE, FALSE, parameter, a number with its sign) becomes $1, and an element or a row that looks
 *   like the one before it is dropped: lists of any length have one shape.
 * - Trailing semicolons go.
 *
 * WHAT A STATEMENT DOES IS A FUNCTION OF ITS SHAPE. classify.h looks at nothing else: it parses the
 * shape, so two statements of one shape cannot be told apart there, and a literal can never decide.
 * Where a literal would matter to the server it counts as the strongest it could be: EXPLAIN
 * (ANALYZE 'off') runs the statement as far as we know, set_config() changes the session whatever
 * its arguments are, nextval('s') writes whichever sequence it is, DO and CREATE FUNCTION are
 * judged without looking into their bodies. Dropping equal neighbours in a list drops a subtree of
 * the parse tree that is there once more: the same functions and relations remain.
 *
 * The shape holds no literal, so it can be logged, and no secret but in names. What is left out
 * within function arguments is the value only: f(1) and f(1, 2) differ, for a function is chosen by
 * its arguments' number.
 *
 * The hash has 128 bits under a secret key (two SipHash of different keys): a name for the shape in
 * logs, metrics and breakers. Whoever decides by it (verdicts.h) compares the text as well.
 *
 * Cost: one pass, about a microsecond for a typical statement (test/bench/run core: shape_ns).
 *
 * Thread: none of its own; one struct and buffer for each lane.
 */
#ifndef HF_SQL_SHAPE_H
#define HF_SQL_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/sv.h"
#include "sql/lex.h"

/* A longer shape is SHAPE_TOO_LONG. Literals and the rows of a long VALUES do not count. */
#define SHAPE_SIZE_MAX 32768

/* Brackets (and CASE) within each other; above it a shape is SHAPE_TOO_DEEP. */
#define SHAPE_NESTING_MAX 200

/* How deep a parse tree of it may become, a bound from the tokens alone: brackets plus operators in
 * a chain. PostgreSQL's parser and what prints its tree call themselves once or more for each
 * level. Measured with libpg_query 15-4.0.0: at most 450 bytes of stack for a level. */
#define SHAPE_DEPTH_MAX 400

enum shape_state {
    SHAPE_OK,
    SHAPE_BROKEN,   /* an unfinished string, name or comment, or a byte that begins no token */
    SHAPE_TOO_LONG, /* the text is the beginning only, and no statement */
    SHAPE_TOO_DEEP, /* the same */
};

struct shape {
    enum shape_state state;
    bool is_empty;  /* no token but semicolons */
    struct sv text; /* in the caller's buffer, followed by a NUL */
    uint64_t hash[2];
};

struct shape_key {
    struct hash_key keys[2];
};

struct shape_key shape_key_from_seed(uint64_t seed);

/* The shape of `sql`, written to `buffer`, which has SHAPE_SIZE_MAX + 1 bytes. */
void shape_make(struct shape *shape, struct sv sql, const struct lex_rules *rules,
                const struct shape_key *key, char *buffer);

const char *shape_state_name(enum shape_state state);

#endif
