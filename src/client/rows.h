/*
 * Rows: the result of a statement, without copying a value.
 *
 *     body   the result itself, immutable, counted: held by struct hf_rows and by the cache
 *     rows   one reader's place in a body
 *
 * Both live in memory of libpq's PGresult (PQresultAlloc()), so a query allocates nothing besides
 * what libpq does, and complete rows may outlive the database they came from. Every result is a
 * PGresult, also one that hf_rows_make() built.
 *
 * Rows that stream (chunk_rows) hold the call that brings them, parked between two chunks; each
 * chunk is a body of its own.
 *
 * Threads: rows belong to one at a time, bodies to any number.
 */
#ifndef HF_CLIENT_ROWS_H
#define HF_CLIENT_ROWS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/snapshot.h"
#include "holdfast.h"

struct call;
struct hf_tx;
struct pg_result;

struct rows_body {
    struct pg_result *result;
    _Atomic uint32_t holders;
    char endpoint[SNAPSHOT_NAME_BYTES];
};

struct hf_rows {
    struct rows_body *body;
    struct pg_result *home; /* its memory where that is not the body's; NULL: it is */
    int row, count;         /* current row, -1 before the first; rows of this body */
    int64_t age_ms;
    bool is_stale;
    struct call *stream; /* brings the next chunk; NULL: nothing follows */
    bool is_stream;      /* has come, or comes, in chunks */
    struct hf_tx *tx;    /* brings the next chunk where they are of a transaction (client/tx.h) */
    bool is_cut;         /* the transaction ended before the rows did */
    uint64_t gone;       /* rows of the chunks before this one */
};

/* Rows over a result, which they take, also on failure. `endpoint` is a whole array of
 * SNAPSHOT_NAME_BYTES, as names of endpoints are, or NULL. NULL: no memory. */
struct hf_rows *rows_take(struct pg_result *result, const char *endpoint);

/* One more reader of a body: a result from the cache. NULL: no memory. */
struct hf_rows *rows_share(struct rows_body *body, int64_t age_ms, bool is_stale);

/* Rows whose first chunk `result` is, and `stream` brings the next. Takes `result`, not the call.
 */
struct hf_rows *rows_stream(struct pg_result *result, const char *endpoint, struct call *stream);

/* The next chunk of rows that stream. False: no memory; `result` is gone in any case. */
bool rows_go_on(struct hf_rows *rows, struct pg_result *result);

/* For struct cache_value. */
void rows_body_hold(void *body);
void rows_body_drop(void *body);
size_t rows_body_size(const struct rows_body *body);

/* The number in the command tag ("INSERT 0 5"), 0 if there is none. */
uint64_t rows_affected_of(const struct pg_result *result);

#endif
