/*
 * The two ways of libholdfast to do a thing, behind one face: blocking (asker_blocking.c) and
 * asynchronous in a loop of one's own (asker_loop.c). One of them is linked.
 */
#ifndef HF_CHAOS_ASKER_H
#define HF_CHAOS_ASKER_H

#include <holdfast.h>

#include "store.h"

#define INSERT_ROW  "INSERT INTO chaos_row VALUES ($1, $2)"
#define INSERT_TWIN "INSERT INTO chaos_twin VALUES ($1, $2)"

struct asker;

/* For one thread. */
struct asker *asker_new(struct hf_db *db);
void asker_free(struct asker *asker);

/* One statement, and its rows. */
int asker_query(struct asker *asker, const char *sql, const struct hf_params *params,
                const struct hf_call_options *options, struct hf_rows **rows, struct hf_error *err);
/* A row and its twin, in a transaction. */
int asker_insert_both(struct asker *asker, struct row row, const struct hf_tx_options *options,
                      struct hf_error *err);

#endif
