/*
 * The search for the outcome of a COMMIT whose answer was lost: what carries out the orders of
 * core/commit.h. That header says what is asked, whom, and what an answer proves; nothing is
 * decided here.
 *
 *     commit_search_begin(&search, call, &begin)      core/commit: BEGIN
 *     while (commit_search_turn(&search) == CALL_WAITS)
 *         the engine waits for call->wait
 *     call->resolution                                core/commit: DONE
 *     commit_search_stop(&search)                     at any time: nothing remains
 *
 * One question is out at a time, on a connection of the search's own: not one of the pool, since
 * those may be of a server that has gone, and permits are not needed to find out a truth. The
 * connection is kept for the next question to the same endpoint.
 *
 * Used by functions of call_ops: it waits through call->wait and looks at the servers through the
 * call's view, every COMMIT_SEARCH_LOOK_NS at the latest, so that a new primary is asked soon.
 */
#ifndef HF_CLIENT_COMMIT_SEARCH_H
#define HF_CLIENT_COMMIT_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ns.h"
#include "client/call.h"
#include "core/commit.h"
#include "pg/conn.h"

struct pg_result;

#define COMMIT_SEARCH_LOOK_NS HF_MS(20)

struct commit_search {
    struct call *call; /* NULL: none is under way */
    struct commit machine;
    struct commit_action question; /* the one that is out */
    enum {
        COMMIT_SEARCH_IDLE,
        COMMIT_SEARCH_CONNECTING,
        COMMIT_SEARCH_ASKING,
    } state;
    struct conn conn;
    uint32_t endpoint; /* of conn */
    struct pg_result *answer;
};

/* `begin` without system_id, which is looked up here. */
enum call_step commit_search_begin(struct commit_search *search, struct call *call,
                                   const struct commit_begin *begin);
enum call_step commit_search_turn(struct commit_search *search);

/* Harmless when none is under way. */
void commit_search_stop(struct commit_search *search);

#endif
