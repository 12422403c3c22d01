/*
 * A transaction as the library runs it: a call of the engine whose attempt is the whole
 * transaction, parked whenever the next step is its owner's.
 *
 *              begin                 statement                  commit
 *     UNBEGUN --------> (parked) --------------> OPEN (parked) --------> answered
 *        ^                                        |  ^
 *        |                             an error   v  | ROLLBACK TO
 *        '-- the guard runs it again            FAILED --------> rolled back --> answered
 *            (a new attempt: the logic           |                   '--> or again from UNBEGUN
 *            starts from the top)                v the connection is lost
 *                                               DEAD
 *
 * WHAT IS SENT, AND WHEN. Taking a connection sends nothing. BEGIN, SAVEPOINT and RELEASE wait
 * (`pending`) until there is a statement to send them with, in one packet (client/script.h): a
 * transaction of one statement costs two round trips, a nested work none of its own. COMMIT goes
 * alone, or with the probe in front of it. A transaction without a statement sends nothing at all.
 * So the transaction's time (now()) is that of its first statement. Only text that may be several
 * statements needs the simple protocol, and what is pending goes ahead of it in a round trip of
 * its own.
 *
 * THE PROBE (core/commit.h) is asked once, in the packet of the first INSERT, UPDATE, DELETE or
 * MERGE that has parameters or is certainly one statement; its answer comes back with that
 * statement's own. Where no such statement came, and something may have been written, it goes in
 * COMMIT's packet and is answered before COMMIT begins. It never costs a round trip. Read-only
 * transactions have none. Whether this role may ask it is found out along with the first
 * transaction.
 *
 * WHAT ENDS IT. An error does not end the attempt: the owner's logic gets it, and decides. When the
 * logic has returned, the first error that was not undone by a savepoint is what the guard hears,
 * and so decides whether the whole is run again. What ends it from outside (deadline, cancel,
 * hf_close) ends the call at once; the logic learns it from its next call.
 *
 * WHO OWNS IT. While the owner's logic runs nobody drives the call, and it may never come back (see
 * tx_stack.h). So others may take the call away: `owner` is OUTSIDE then, and whoever makes it GONE
 * by compare-and-swap ends the call; the transaction itself is the owner's to free. While a
 * function of the library is in it, it is INSIDE and nobody takes anything.
 */
#ifndef HF_CLIENT_TX_H
#define HF_CLIENT_TX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/call.h"
#include "client/commit_search.h"
#include "client/exec.h"
#include "client/script.h"
#include "client/tx_text.h"
#include "core/commit.h"
#include "holdfast.h"

struct hf_db;

#define TX_PENDING_MAX 16
#define TX_ITEMS_MAX   (TX_PENDING_MAX + 4)

enum tx_owner {
    TX_OUTSIDE, /* in the owner's own code */
    TX_INSIDE,  /* in a function of the library */
    TX_TAKING,  /* for an instant: it is being taken away */
    TX_GONE,    /* the call was taken away: tx->gone says why */
};

enum tx_place {
    TX_UNBEGUN, /* nothing was sent */
    TX_OPEN,
    TX_FAILED, /* the server wants ROLLBACK, or ROLLBACK TO */
    TX_DEAD,   /* nothing can be done in it any more: the connection is lost, or the block is not
                * there */
};

enum tx_todo {
    TX_NOTHING,
    TX_STATEMENT,   /* tx->statement; without a text only what is pending is sent */
    TX_NEXT_ROWS,   /* of a statement that gives them in chunks */
    TX_ROLLBACK_TO, /* the innermost level */
    TX_COMMIT,
    TX_ROLLBACK,
    TX_TASK, /* of tx->task: COPY, a pipeline */
};

/* How far the step is. */
enum tx_stage {
    TX_STAGE_NEW,
    TX_STAGE_SCRIPT,
    TX_STAGE_EXEC,
    TX_STAGE_TASK,
    TX_STAGE_CANCELLING, /* the statement has ended, the request to cancel it is still out */
};

enum tx_task_step {
    TX_TASK_WAITS,  /* for call->wait */
    TX_TASK_PARKED, /* for its owner */
    TX_TASK_DONE,   /* well, or tx_fail() was called */
};

/* Something other than a statement that is done on the transaction's connection. What is pending
 * has been sent before, unless `is_script`: then the task takes it with its own. */
struct tx_task {
    enum tx_task_step (*turn)(struct tx_task *task, struct hf_tx *tx);
    void (*cut)(struct tx_task *task); /* the attempt is over: free what belongs to it */
    bool is_script;
    bool ends_tx; /* it commits by itself */
};

/* A word that waits to be sent. */
struct tx_pending {
    enum {
        TX_SEND_BEGIN,
        TX_SEND_SAVEPOINT,
        TX_SEND_RELEASE,
    } what;
    uint32_t level;
};

struct hf_tx {
    _Atomic int owner;      /* enum tx_owner */
    _Atomic int gone;       /* enum hf_code, with TX_GONE */
    _Atomic bool is_wanted; /* somebody came to take it while it was INSIDE */
    struct hf_db *db;       /* this and `call` are not touched any more when it is GONE */
    struct call *call;
    struct hf_session *session;
    struct hf_decision *decision; /* the owner's, to be filled at the end; NULL: none */
    struct list_node link;        /* in db->txs.open, or in loop->transactions */
    struct hf_loop *loop;         /* asynchronous: whose it is; NULL: it blocks */
    _Atomic int holders; /* asynchronous: its owner and its call, the last of which frees it */
    void *copy;          /* asynchronous: text and parameters of the step */
    struct guard_request request;
    int64_t deadline_ns;
    int32_t isolation;
    bool is_read_only, is_deferrable;
    bool is_by_hand; /* hf_tx_begin(), hf_loop_begin(): the logic cannot be run again */

    /* The attempt. */
    uint32_t attempt;       /* of the call */
    uint32_t logic_attempt; /* that the owner's logic belongs to */
    uint32_t runs;          /* of that logic */
    enum tx_place place;
    bool is_recorded; /* parked, and the breaker has heard how the last step went */
    uint32_t level;   /* savepoints, sent or pending */
    uint32_t pending_count;
    struct tx_pending pending[TX_PENDING_MAX];
    bool may_write;
    bool has_failure;
    struct call_ending failure; /* the first that no savepoint undid */
    struct hf_error failure_error;
    struct commit_probe probe;
    bool has_probe;
    struct commit_search search;

    /* The step under way, and how the last one went. */
    enum tx_todo todo;
    enum tx_stage stage;
    struct exec_statement statement;
    int64_t step_deadline_ns;
    bool is_overdue;          /* it has passed, and the statement was cancelled */
    struct pg_result *result; /* of the statement: the taker's */
    struct hf_rows *rows;     /* that stream; NULL: none do */
    bool is_discarding;       /* nobody wants the rest of them */
    struct tx_task *task;
    struct exec exec;
    struct script script;
    struct script_item items[TX_ITEMS_MAX];
    char texts[TX_PENDING_MAX][TX_TEXT_SIZE];
    size_t item_count, own_item, probe_item, check_item; /* SCRIPT_NONE: not in it */
    bool has_step_failed;
    struct hf_error error; /* of the last step, if it has failed */
};

const struct call_ops *tx_ops(void);

/* What the call knows of its transaction; in its own room, since it may outlive that. */
struct tx_seat {
    struct hf_tx *tx;        /* NULL: its owner has been told, and may free it */
    bool owns_tx;            /* its owner has done with it, the call has not yet */
    struct guard *own_guard; /* with a retry policy of its own; NULL: the db's */
};

static inline struct hf_tx *tx_of(const struct call *call)
{
    const struct tx_seat *seat = call->work;
    return seat->tx;
}

/* ---- steps, by whoever drives the call: of a transaction that is parked ---- */

/* Says what call_resume() shall do. */
void tx_begin_step(struct hf_tx *tx, enum tx_todo todo);

/* One level more or less, without a word to the server yet. False: there is no room for another
 * pending word, and a step without a statement has to send them first. */
bool tx_push_level(struct hf_tx *tx);
bool tx_pop_level(struct hf_tx *tx);
/* True: the innermost savepoint was never sent, and is forgotten. */
bool tx_drop_unsent(struct hf_tx *tx);

/* ---- for tasks ---- */

/* The step has failed; tx->error was filled. */
void tx_fail(struct hf_tx *tx, struct outcome outcome, const struct outcome_facts *facts);
/* What is pending, as items of a script; returns how many. They are taken as sent. */
size_t tx_take_pending(struct hf_tx *tx, struct script_item *items);
/* The probe and COMMIT as items; returns how many. `probe` is the index of the probe, or
 * SCRIPT_NONE. COMMIT is taken as sent. */
size_t tx_take_commit(struct hf_tx *tx, struct script_item *items, size_t *probe);
void tx_take_probe(struct hf_tx *tx, const struct pg_result *answer);

/* ---- its life (tx_life.c) ---- */

/* Takes a connection and gives the transaction, parked. `is_by_hand` as in hf_tx. On failure NULL.
 */
int tx_open(struct hf_db *db, const struct hf_tx_options *options, bool is_by_hand,
            struct hf_tx **tx, struct hf_error *err);

/* The same in two parts, for whoever drives the call himself: `tx_new` makes it and does not start
 * it, and holds the db open until tx_close(). */
int tx_new(struct hf_db *db, const struct hf_tx_options *options, bool is_by_hand,
           struct call *call, struct hf_tx **tx, struct hf_error *err);
void tx_start(struct hf_tx *tx);

/* Takes it for a function of the library. Not HF_SUCCESS: it is gone, or in use; `err` says why. */
int tx_enter(struct hf_tx *tx, struct hf_error *err);
void tx_leave(struct hf_tx *tx);

/* Between enter and leave: its hf_cancel, or that of its step, was fired. A step would say so. */
bool tx_is_cancelled(const struct hf_tx *tx);

/* Runs a step on this thread, between enter and leave. HF_SUCCESS, or the step's error in `err`. */
int tx_do(struct hf_tx *tx, enum tx_todo todo, struct hf_error *err);

/* Makes tx->statement. HF_SUCCESS, or what is wrong with it. */
int tx_set_statement(struct hf_tx *tx, const char *sql, const struct hf_params *params,
                     const struct hf_call_options *options, struct hf_error *err);

/* Why nothing can be done in it now; HF_SUCCESS if something can. */
int tx_check(struct hf_tx *tx, struct hf_error *err);

/* Ends the call, whatever it is at, and frees the transaction; after enter, instead of leave. */
void tx_close(struct hf_tx *tx);
/* COMMIT if it `is_good`, else ROLLBACK. Afterwards the call has been answered, or is parked in
 * another attempt (tx->attempt). */
int tx_conclude(struct hf_tx *tx, bool is_good, struct hf_error *err);
/* COMMIT if it `is_good`, else ROLLBACK, and tx_close(). Returns what came of it; of a rollback
 * `code`. */
int tx_end(struct hf_tx *tx, bool is_good, int code, struct hf_error *err);
/* Frees one that is GONE. */
void tx_free(struct hf_tx *tx);

/* ---- rows that stream (tx_rows.c), for client/rows.c ---- */

/* The first chunk, which is in tx->result; between enter and leave. NULL: no memory. */
struct hf_rows *tx_rows_begin(struct hf_tx *tx);
/* The next chunk into `rows`; at the end rows->tx is NULL. */
int tx_rows_next(struct hf_rows *rows, struct hf_error *err);
/* hf_rows_free(): the rest is read away, so that the transaction can go on. */
void tx_rows_end(struct hf_rows *rows);
/* The transaction ends first. */
void tx_rows_cut(struct hf_tx *tx);

/* Asynchronous: one holder less. */
void tx_drop(struct hf_tx *tx);
/* hf_loop_free(): the loop's transactions end with it. */
void tx_loop_forget(struct hf_loop *loop);

#endif
