#include "client/async.h"

#include <sys/eventfd.h>

#include "base/bug.h"
#include "base/container_of.h"
#include "base/ns.h"
#include "client/db.h"
#include "client/errors.h"
#include "client/query.h"
#include "client/reaper.h"
#include "client/statement_copy.h"
#include "client/tx.h"
#include "os/clock.h"

/* ---- hf_calls ---- */

int async_check(const struct hf_loop *loop, struct hf_error *err)
{
    return loop->is_ending ? error_set(err, HF_E_CANCELLED, "its loop is being freed") : HF_SUCCESS;
}

struct hf_call *async_new(struct hf_loop *loop, async_step *step, hf_done *done, void *arg)
{
    struct hf_call *call = mem_alloc(&loop->loop.db->mem, sizeof *call);
    if (call == NULL)
        return NULL;
    call->loop = loop;
    call->step = step;
    call->done = done;
    call->arg = arg;
    list_push_back(&loop->calls, &call->link);
    ++loop->pending;
    return call;
}

void async_drop(struct hf_call *call)
{
    struct hf_loop *loop = call->loop;
    if (list_is_linked(&call->ended))
        list_remove(&call->ended);
    list_remove(&call->link);
    --loop->pending;
    mem_free(&loop->loop.db->mem, call);
}

void async_attach(struct hf_call *call, struct call *engine)
{
    call->engine = engine;
    engine->owner = call;
}

void async_touch(struct hf_call *call)
{
    loop_touch(&call->loop->loop, call->engine);
}

static void tell(struct hf_call *call, int code, struct hf_rows *rows, const struct hf_error *err)
{
    if (call->done != NULL)
        call->done(call, code, rows, err, call->arg);
    else
        hf_rows_free(rows);
}

void async_end(struct hf_call *call, int code, struct hf_rows *rows, const struct hf_error *err)
{
    struct call *engine = call->engine;
    if (engine != NULL)
        engine->owner = NULL;
    call->engine = NULL;
    ++call->loop->told;
    tell(call, code, rows, err);
    async_drop(call);
}

/* ---- the loop ---- */

void async_release(struct hf_loop *loop, struct call *engine)
{
    engine->owner = NULL;
    loop_remove(&loop->loop, engine);
    if (engine->state == CALL_IS_LEFT)
        reaper_take(loop->loop.db->reaper, engine);
    else
        db_call_free(engine);
}

static void turned(struct loop *base, struct call *engine)
{
    struct hf_loop *loop = base->arg;
    struct hf_call *call = engine->owner;
    if (call == NULL) {
        if (engine->state == CALL_IS_DONE || engine->state == CALL_IS_OVER)
            async_release(loop, engine);
        return;
    }
    if (list_is_linked(&call->ended))
        return;
    list_push_back(&loop->ended, &call->ended);
    if (!loop->is_turning)
        eventfd_write(base->wake_fd, 1); /* whoever polls comes and turns */
}

int hf_loop_new(struct hf_db *db, struct hf_loop **loop, struct hf_error *err)
{
    struct hf_err why;
    if (loop == NULL)
        return error_set(err, HF_E_USAGE, "hf_loop_new() needs a place for the loop");
    *loop = NULL;
    int code = db_enter(db, err);
    if (code != HF_SUCCESS)
        return code;
    struct hf_loop *made = mem_alloc(&db->mem, sizeof *made);
    if (made == NULL) {
        code = error_set(err, HF_E_MEMORY, "out of memory for a loop");
    } else if (loop_init(&made->loop, db, &why) != HF_OK) {
        code = error_from_err(err, HF_E_MEMORY, &why);
        mem_free(&db->mem, made);
    } else {
        made->loop.turned = turned;
        made->loop.arg = made;
        list_init(&made->ended);
        list_init(&made->calls);
        list_init(&made->transactions);
        *loop = made;
    }
    db_leave(db);
    return code;
}

/* Nobody waits for it any more: the answer is that it was cancelled, whatever becomes of it. */
static void give_up(struct hf_loop *loop, struct call *engine)
{
    struct hf_call *call = engine->owner;
    struct hf_error err;
    call_stop(engine);
    if (call != NULL) {
        error_set(&err, HF_E_CANCELLED, "its loop was freed");
        async_end(call, HF_E_CANCELLED, NULL, &err);
    }
    loop_remove(&loop->loop, engine);
    reaper_take(loop->loop.db->reaper, engine);
}

void hf_loop_free(struct hf_loop *loop)
{
    if (loop == NULL)
        return;
    struct hf_db *db = loop->loop.db;
    if (db_is_forked(db)) {
        loop_forget(&loop->loop);
        return; /* its memory goes with hf_close() */
    }
    struct list_node *node;
    loop->is_ending = true;
    while ((node = list_first(&loop->loop.calls)) != NULL)
        give_up(loop, container_of(node, struct call, link));
    while ((node = list_first(&loop->calls)) != NULL) {
        struct hf_error err;
        error_set(&err, HF_E_CANCELLED, "its loop was freed");
        async_end(container_of(node, struct hf_call, link), HF_E_CANCELLED, NULL, &err);
    }
    tx_loop_forget(loop); /* not before: callbacks may ask for them */
    loop_deinit(&loop->loop);
    mem_free(&db->mem, loop);
}

int hf_loop_fd(const struct hf_loop *loop)
{
    return loop == NULL ? -1 : loop->loop.epoll_fd;
}

int64_t hf_loop_timeout_ms(const struct hf_loop *loop)
{
    if (loop == NULL)
        return -1;
    if (!list_is_empty(&loop->ended))
        return 0;
    int64_t deadline_ns = loop_deadline(&loop->loop);
    if (deadline_ns == HF_NEVER)
        return -1;
    int64_t left_ns = deadline_ns - clock_now();
    return left_ns <= 0 ? 0 : (left_ns + HF_MS(1) - 1) / HF_MS(1);
}

size_t hf_loop_pending(const struct hf_loop *loop)
{
    return loop == NULL ? 0 : loop->pending;
}

/* What ends because of what a callback has started is for the next turn: a callback that starts
 * what ends at once (an old result, a refusal) would keep the caller's loop here for ever. */
static void tell_ended(struct hf_loop *loop)
{
    const struct list_node *last = list_last(&loop->ended);
    struct list_node *node = NULL;
    while (node != last && (node = list_pop_front(&loop->ended)) != NULL) {
        struct hf_call *call = container_of(node, struct hf_call, ended);
        call->step(call);
    }
    if (!list_is_empty(&loop->ended))
        eventfd_write(loop->loop.wake_fd, 1);
}

int hf_turn(struct hf_loop *loop)
{
    if (loop == NULL || loop->is_turning)
        return 0;
    int entered = db_enter(loop->loop.db, NULL);
    if (entered == HF_E_FORKED)
        return 0;
    loop->is_turning = true;
    loop->told = 0;
    loop_turn(&loop->loop, 0);
    tell_ended(loop);
    loop->is_turning = false;
    if (entered == HF_SUCCESS)
        db_leave(loop->loop.db);
    return loop->told;
}

/* ---- statements ---- */

static void answer(struct hf_call *call)
{
    struct call *engine = call->engine;
    struct hf_error err;
    struct hf_rows *rows = NULL;
    int code = call_answer(engine, &err);
    if (code != HF_SUCCESS && query_has_fallback(engine, code))
        code = HF_SUCCESS;
    if (call->decision != NULL)
        db_decision(engine, call->decision);
    if (code == HF_SUCCESS) {
        error_clear(&err);
        if (query_has_rows(engine) && (rows = query_rows(engine)) == NULL)
            code = error_set(&err, HF_E_MEMORY, "out of memory for the rows of the result");
    }
    if (call->is_stream && rows != NULL) {
        /* The last chunk comes like the others, and the end without rows. */
        tell(call, HF_SUCCESS, rows, &err);
        rows = NULL;
    }
    call->engine = NULL;
    async_release(call->loop, engine);
    async_end(call, code, rows, &err);
}

static void show_chunk(struct hf_call *call)
{
    struct call *engine = call->engine;
    struct hf_error err;
    struct hf_rows *rows = query_chunk(engine);
    error_clear(&err);
    if (rows == NULL)
        call_stop(engine);
    else
        tell(call, HF_SUCCESS, rows, &err);
    if (engine->state == CALL_IS_PARKED)
        call_resume(engine);
    async_touch(call);
}

static void step(struct hf_call *call)
{
    if (call->engine->state == CALL_IS_PARKED)
        show_chunk(call);
    else if (call->engine->state != CALL_IS_GOING)
        answer(call);
}

/* The parts of a statement's start, each of which can fail. */
static int start_query(struct hf_loop *loop, struct hf_call *call, const char *sql,
                       const struct hf_params *params, const struct hf_call_options *options,
                       struct hf_error *err)
{
    struct hf_db *db = loop->loop.db;
    struct statement_copy *copy = statement_copy_new(&db->mem, sql, params);
    struct call *engine = copy != NULL ? db_call_bare(db) : NULL;
    if (engine == NULL) {
        mem_free(&db->mem, copy);
        return error_set(err, HF_E_MEMORY, "out of memory for a call");
    }
    loop_own(&loop->loop, engine);
    int code = query_start(engine, copy->sql, params != NULL ? &copy->params : NULL, options, err);
    if (code != HF_SUCCESS) {
        db_call_free(engine);
        mem_free(&db->mem, copy);
        return code;
    }
    query_of(engine)->copy = copy;
    async_attach(call, engine);
    loop_add(&loop->loop, engine);
    return HF_SUCCESS;
}

/* NOLINTNEXTLINE(readability-function-size): the public header's, which names each of them */
int hf_loop_query(struct hf_loop *loop, const char *sql, const struct hf_params *params,
                  const struct hf_call_options *options, hf_done *done, void *arg,
                  struct hf_call **call, struct hf_error *err)
{
    if (call != NULL)
        *call = NULL;
    if (loop == NULL || sql == NULL)
        return error_set(err, HF_E_USAGE, "hf_loop_query() needs a loop and a statement");
    int code = async_check(loop, err);
    if (code == HF_SUCCESS)
        code = db_enter(loop->loop.db, err);
    if (code != HF_SUCCESS)
        return code;
    struct hf_call *made = async_new(loop, step, done, arg);
    if (made == NULL) {
        code = error_set(err, HF_E_MEMORY, "out of memory for a call");
    } else {
        made->decision = options != NULL ? options->decision : NULL;
        made->is_stream = options != NULL && options->chunk_rows > 0;
        code = start_query(loop, made, sql, params, options, err);
        if (code != HF_SUCCESS)
            async_drop(made);
        else if (call != NULL)
            *call = made;
    }
    db_leave(loop->loop.db);
    return code;
}

void hf_call_cancel(struct hf_call *call)
{
    if (call == NULL || call->engine == NULL || db_is_forked(call->loop->loop.db))
        return;
    call_stop(call->engine);
    async_touch(call);
}

struct hf_tx *hf_call_tx(struct hf_call *call)
{
    return call != NULL ? call->tx : NULL;
}
