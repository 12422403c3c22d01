/*
 * struct hf_loop and its calls: the asynchronous interface, a face of client/call_loop.h.
 *
 *     hf_call   what a caller has started and will be called back for, once or for each chunk
 *     engine    the struct call that does it
 *
 * A callback comes from hf_turn() only, never from the function that started the call: what has
 * ended meanwhile waits in `ended`. So who starts calls in a callback is not called back while
 * still inside of it, and stacks do not grow.
 *
 * An engine call may live through several hf_calls: a transaction is one, parked between its
 * statements, each of which is an hf_call of its own. While it has no owner nobody is told of its
 * steps but its work (struct call_ops).
 */
#ifndef HF_CLIENT_ASYNC_H
#define HF_CLIENT_ASYNC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "client/call_loop.h"
#include "holdfast.h"

struct hf_loop {
    struct loop loop;
    struct list ended; /* hf_calls whose engine has made a step that they must hear of */
    struct list calls; /* all hf_calls */
    struct list transactions;
    size_t pending;
    int told; /* ends in this turn */
    bool is_turning;
    bool is_ending; /* in hf_loop_free(): nothing is begun any more */
};

/* `step` is called in hf_turn() when the engine is parked, done or left: look at engine->state. */
typedef void async_step(struct hf_call *call);

struct hf_call {
    struct hf_loop *loop;
    struct call *engine; /* NULL: it has been answered */
    async_step *step;
    hf_done *done;
    void *arg;
    struct hf_tx *tx; /* for hf_call_tx() */
    struct hf_decision *decision;
    bool wants_rows, is_stream;
    struct list_node link;  /* in loop->calls */
    struct list_node ended; /* in loop->ended */
};

/* Why nothing is begun in this loop; HF_SUCCESS if something can be. */
int async_check(const struct hf_loop *loop, struct hf_error *err);
/* A new one; NULL: no memory. */
struct hf_call *async_new(struct hf_loop *loop, async_step *step, hf_done *done, void *arg);
/* Frees one that was never called back, and never will be. */
void async_drop(struct hf_call *call);
/* Its engine is `engine` from now on, which is in the loop or will be (loop_add()). */
void async_attach(struct hf_call *call, struct call *engine);
/* The engine has answered: it leaves the loop, and goes back, or to the reaper with what is still
 * out, so that nobody need turn a loop in which nothing is pending. */
void async_release(struct hf_loop *loop, struct call *engine);
/* It has changed by our hand: call_resume(), call_stop(). */
void async_touch(struct hf_call *call);
/* From `step`: calls back for the last time, and frees it. Its engine has no owner afterwards. */
void async_end(struct hf_call *call, int code, struct hf_rows *rows, const struct hf_error *err);

#endif
