/*
 * Script: several statements on one open connection in one round trip, without waiting and without
 * judging. What a transaction does with everything of its own (BEGIN in front of its first
 * statement, savepoints, the probe and COMMIT), and what hf_pipeline is made of.
 *
 *     script_init(&script, conn, items, count, &error)
 *     while ((step = script_turn(&script, &wait)) == SCRIPT_WAITS)
 *         poll wait.fd for wait.events
 *     items[i].result                       each item's own; NULL: it failed or was skipped
 *     script.failed, script.outcome         which one failed first, and how
 *     script_end(&script)                   frees the results that were not taken
 *
 * It is libpq's pipeline mode. Two things are worth knowing about it.
 *
 * No deadlock. A server that answers while it is still being written to stops reading once its
 * answers fill the line. So nothing here blocks in a write: while there is more to send the answers
 * are read as they come. What waits to be sent is at most SCRIPT_QUEUED_MAX bytes and one
 * statement; answers are kept, each with its item.
 *
 * What an error means. The server skips everything behind it up to the end of the script. In a
 * transaction block nothing of it stays; the statements in front of it have run and are undone
 * with the rest of the transaction.
 *
 * An item whose `is_flushed` is set is answered before the next one is begun: the server sends off
 * what it has. So the probe's answer is on its way when COMMIT begins.
 *
 * Statements with parameters are prepared on the connection once they come for the second time
 * (client/client_statements.h), in the same round trip.
 *
 * The texts and parameters are used until `script.sent` has reached their item, never after.
 */
#ifndef HF_CLIENT_SCRIPT_H
#define HF_CLIENT_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/call.h"
#include "client/client_pool.h"
#include "holdfast.h"

struct pg_result;

#define SCRIPT_QUEUED_MAX 65536
#define SCRIPT_NONE       SIZE_MAX

struct script_item {
    const char *sql;                /* one statement */
    const struct hf_params *params; /* NULL: none */
    int32_t format;                 /* of its result: enum hf_format */
    bool is_kept;                   /* to be prepared when it comes again */
    bool is_flushed;
    struct pg_result *result; /* the taker's once taken (set it NULL) */
    uint32_t slot;            /* among the prepared; STATEMENTS_NONE: it is not one of them */
    uint8_t answers;   /* libpq's that are still to come for it: DEALLOCATE, PREPARE, itself */
    bool was_prepared; /* its answer is preceded by that of PREPARE */
};

enum script_step {
    SCRIPT_WAITS,
    SCRIPT_DONE,
};

struct script {
    struct pconn *conn;
    struct script_item *items; /* borrowed */
    size_t count;
    size_t sent, answered; /* items */
    size_t failed;         /* SCRIPT_NONE: none */
    size_t queued;         /* bytes given to libpq since it was last empty */
    bool is_begun;
    bool is_closed; /* the end of the script has been given to libpq */
    bool is_over;
    struct outcome outcome;     /* once it is over */
    struct outcome_facts facts; /* is_fatal, is_stale_statement */
    struct hf_error *error;     /* borrowed; filled by the first failure */
};

/* Sends nothing yet. `items` and `error` must live until script_end(). */
void script_init(struct script *script, struct pconn *conn, struct script_item *items, size_t count,
                 struct hf_error *error);

/* `wait` also carries in what poll() said of the descriptor (`ready`). DONE: all answers are there
 * and the connection is out of pipeline mode, or it is lost (conn->is_broken). */
enum script_step script_turn(struct script *script, struct call_wait *wait);

/* Harmless if it is over. */
void script_end(struct script *script);

#endif
