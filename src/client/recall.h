/*
 * What a statement asks of the result cache (client/cache.h): its key, its times, its turn.
 *
 *     recall_new(): NULL where the call did not ask for the cache, or is none that it may have
 *     HF_CACHE_FIRST:    recall_first() -> a fresh result, or: go and ask a server
 *     no server answers: recall_fallback() -> the last good result, marked stale if it is
 *     a server answered: recall_keep()
 *     always:            recall_free()
 *
 * The key is the statement as text, the format of its result and every parameter with its type,
 * all bytes of them. Whose rows they are need not be in it: a cache belongs to one struct hf_db,
 * all of whose connections are one role in one database.
 *
 * Only reads are kept. What is served as fresh keeps what the call asks of consistency: the writes
 * of its session are in it (client/cache.h), it is not older than a bounded read allows, and a read
 * of the primary is never answered so.
 */
#ifndef HF_CLIENT_RECALL_H
#define HF_CLIENT_RECALL_H

#include <stdbool.h>
#include <stdint.h>

#include "client/cache.h"
#include "client/operations.h"
#include "client/rows.h"
#include "core/route.h"
#include "holdfast.h"

struct hf_db;
struct snapshot;
struct guard_call;

struct recall {
    struct hf_db *db;
    struct cache_ask ask;
    struct cache_found found; /* held until recall_free(), from has_found on */
    bool has_found;
    bool is_first;
    int64_t as_of_ns; /* what is surely in the answer of the attempt that was begun last */
    char operation
        [OPERATIONS_NAME_BYTES]; /* a copy: the answer may come when the caller's is gone */
    size_t key_size;
    char key[];
};

/* `route` is what the call asks of servers, and so of the cache as well. */
struct recall *recall_new(struct hf_db *db, const char *sql, const struct hf_params *params,
                          const struct hf_call_options *options, const struct route_request *route);
void recall_free(struct recall *recall);

/* A fresh result is there. `may_wait`: on this thread, for somebody else's answer to the same
 * question, at most until the deadline, or until `cancel` fires. NULL is allowed: false. */
bool recall_first(struct recall *recall, bool may_wait, int64_t deadline_ns,
                  struct hf_cancel *cancel);
/* Any result is there that the call takes while no server answers. NULL is allowed: false. */
bool recall_fallback(struct recall *recall);

/* The rows of what was found; NULL: no memory. */
struct hf_rows *recall_rows(struct recall *recall);

/* A server is asked now, and no view that is younger tells what its answer will hold: while it is
 * at work a replica replays on, but its snapshot has been taken. */
void recall_asks(struct recall *recall, const struct guard_call *call, const struct snapshot *view);

/* A server has answered: keeps the result. */
void recall_keep(struct recall *recall, struct rows_body *body);

#endif
