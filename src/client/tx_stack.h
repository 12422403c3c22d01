/*
 * The works of transactions that this thread is in the middle of: what makes a nested hf_tx() a
 * savepoint, and what notices a work that was left by longjmp().
 *
 *     tx_stack_call(&entry, work, arg, err, &n)     calls the work
 *       `-- meanwhile: tx_stack_find(db)               the innermost transaction of that db
 *
 * It knows nothing of transactions: they are pointers here.
 *
 * A return or a C++ exception that leaves the work takes it off the stack; so does the end of the
 * thread by pthread_exit() or cancellation, which unwind as well. After an exception, `left` is
 * called on the way out.
 *
 * A longjmp() out of a work runs no code of ours, so the stack still names it. Each call of the
 * library looks (tx_stack_sweep): does the frame that called the work still stand? It has gone for
 * certain when the caller's own frame lies further out. Where it lies further in, both can be: the
 * work calls us, or somebody jumped out and then called something deep. Then the frames of the call
 * stack are walked by their unwind tables: a walk that passes the place where the frame would be
 * and does not meet it proves that it is gone. A walk that ends before (at code without tables, as
 * made at run time) or a thread that is on a stack of its own making (coroutines) proves nothing:
 * TX_STACK_UNSURE, and what would have to know is refused instead of guessed.
 *
 * Works are left in the order of their depth: one that is gone takes all inside of it with it, of
 * whatever db. They are told so from the innermost out, by `left`; so they are when a thread ends
 * that has jumped out of some and never called again.
 *
 * The state is the thread's own; no function here is for another thread's.
 */
#ifndef HF_CLIENT_TX_STACK_H
#define HF_CLIENT_TX_STACK_H

#include <stdint.h>

#include "holdfast.h"

#define TX_STACK_MAX 32 /* works within works */

enum tx_stack_place {
    TX_STACK_STANDS, /* the innermost work goes on; or there is none */
    TX_STACK_GONE,
    TX_STACK_UNSURE,
};

/* Called when a work was left otherwise than by its return, with the level of savepoints that it
 * began at. It may not throw. */
typedef void tx_stack_left(struct hf_tx *tx, uint32_t level);

/* Whose work it is. */
struct tx_stack_entry {
    const struct hf_db *db;
    struct hf_tx *tx;
    tx_stack_left *left;
    uint32_t level;
};

/* Runs `work` and puts what it returned into `*result`. False: too deep, it was not called. */
bool tx_stack_call(const struct tx_stack_entry *entry, hf_tx_work *work, void *arg,
                   struct hf_error *err, int *result);

/* Takes off what is gone. A few instructions while no work is under way. */
enum tx_stack_place tx_stack_sweep(void);

/* The innermost transaction of this db among those whose works are under way; NULL: none. Sweep
 * first. */
struct hf_tx *tx_stack_find(const struct hf_db *db);

#endif
