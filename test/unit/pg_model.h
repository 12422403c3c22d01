/*
 * A PostgreSQL server as its protocol goes, without the database: for tests of reply accounting and
 * for their fuzz target. It follows PostgresMain(), SocketBackend() and CopyGetData() of PostgreSQL
 * 15: it reads frontend messages one after the other, and answers as chance decides within what
 * they allow. Each answer carries the id of the request that it truly belongs to, which no real
 * server would tell.
 *
 * model_send() puts a message in, model_step() lets the server do one thing (it returns false when
 * there is nothing to do), model_receive() takes an answer out. Chance comes from a function of the
 * caller's, so that a fuzzer can decide.
 */
#ifndef HF_TEST_UNIT_PG_MODEL_H
#define HF_TEST_UNIT_PG_MODEL_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define MODEL_PIPE_MAX 256

struct model_message {
    char type;
    char detail; /* to the server: the target of a Describe, or n for a Query or Execute that is no
                    copy; from it: status, or F for fatal */
    uint32_t id; /* 0: nobody's */
};

struct model_pipe {
    struct model_message messages[MODEL_PIPE_MAX];
    uint32_t first, count;
};

/* What the request at hand still does. */
enum model_work {
    MODEL_READS, /* none at hand: reads the next message */
    MODEL_ROWS,
    MODEL_COPIES_IN,
    MODEL_COPIES_OUT,
    MODEL_COPY_ENDS,
    MODEL_BETWEEN, /* statements of a Query */
};

struct model {
    uint32_t (*chance)(void *context, uint32_t n); /* one of 0 .. n - 1 */
    void *context;
    struct model_pipe in, out;
    enum model_work work;
    struct model_message request; /* at hand */
    bool is_extended;             /* doing_extended_query_message */
    bool is_skipping;             /* ignore_till_sync */
    bool is_dead;
    bool with_timeouts; /* errors may strike between extended messages */
    bool is_batch;      /* extended messages have worked, and no Sync came after them */
};

static inline void model_init(struct model *model, uint32_t (*chance)(void *, uint32_t),
                              void *context)
{
    memset(model, 0, sizeof *model);
    model->chance = chance;
    model->context = context;
}

static inline bool model_one_in(struct model *model, uint32_t n)
{
    return model->chance(model->context, n) == 0;
}

static inline void model_put(struct model_pipe *pipe, struct model_message message)
{
    assert(pipe->count < MODEL_PIPE_MAX);
    pipe->messages[(pipe->first + pipe->count++) % MODEL_PIPE_MAX] = message;
}

static inline bool model_take(struct model_pipe *pipe, struct model_message *message)
{
    if (pipe->count == 0)
        return false;
    *message = pipe->messages[pipe->first];
    pipe->first = (pipe->first + 1) % MODEL_PIPE_MAX;
    pipe->count--;
    return true;
}

static inline void model_send(struct model *model, struct model_message message)
{
    if (!model->is_dead)
        model_put(&model->in, message);
}

static inline bool model_receive(struct model *model, struct model_message *message)
{
    return model_take(&model->out, message);
}

/* Neither side has anything under way. */
static inline bool model_rests(const struct model *model)
{
    return model->in.count == 0 && model->out.count == 0 && model->work == MODEL_READS &&
           !model->is_skipping && !model->is_batch;
}

static inline void model_say(struct model *model, char type)
{
    model_put(&model->out, (struct model_message){type, 0, model->request.id});
}

static inline void model_ready(struct model *model)
{
    static const char statuses[] = "ITE";
    char status = statuses[model->chance(model->context, 3)];
    model->work = MODEL_READS;
    model_put(&model->out, (struct model_message){'Z', status, model->request.id});
}

/* What the error handler of PostgresMain() does. */
static inline void model_fail(struct model *model)
{
    bool is_query = model->request.type == 'Q' || model->request.type == 'F';
    model_say(model, 'E');
    if (model_one_in(model, 20))
        model_say(model, 'E'); /* undoing failed too */
    model->work = MODEL_READS;
    model->is_batch = false;
    if (model->is_extended && !is_query)
        model->is_skipping = true;
    else
        model_ready(model);
}

static inline void model_die(struct model *model)
{
    model_put(&model->out, (struct model_message){'E', 'F', model->request.id});
    model->is_dead = true;
    model->in.count = 0;
    model->work = MODEL_READS;
}

/* A statement of the request at hand begins. */
static inline void model_begin_statement(struct model *model)
{
    bool is_query = model->request.type == 'Q';
    switch (model->chance(model->context, 8)) {
    case 0:
        model_fail(model);
        return;
    case 1:
    case 2:
        model->work = MODEL_COPY_ENDS; /* a command without rows */
        if (model->request.detail == 'n')
            return;
        model_say(model, 'G');
        model->work = MODEL_COPIES_IN;
        return;
    case 3:
        model_say(model, 'H');
        model->work = MODEL_COPIES_OUT;
        return;
    default:
        if (is_query)
            model_say(model, 'T');
        model->work = MODEL_ROWS;
        return;
    }
}

/* A statement has ended well. */
static inline void model_end_statement(struct model *model, char how)
{
    model_say(model, how);
    model->work = model->request.type == 'Q' ? MODEL_BETWEEN : MODEL_READS;
}

/* CopyGetData(). */
static inline void model_copy_in(struct model *model)
{
    struct model_message message;
    if (model_one_in(model, 15)) {
        model_fail(model); /* cancelled while it waits */
        return;
    }
    if (!model_take(&model->in, &message))
        return;
    switch (message.type) {
    case 'd':
        if (model_one_in(model, 8))
            model_fail(model); /* bad data */
        return;
    case 'c':
        if (model_one_in(model, 8))
            model_fail(model); /* a constraint */
        else
            model_end_statement(model, 'C');
        return;
    case 'f':
        model_fail(model);
        return;
    case 'H':
    case 'S':
        return;
    default:
        model_say(model, 'E');
        model_die(model);
    }
}

/* One more answer of the request at hand. */
static inline void model_work(struct model *model)
{
    bool is_query = model->request.type == 'Q';
    if (model_one_in(model, 25) && model->work != MODEL_COPIES_IN) {
        model_fail(model);
        return;
    }
    switch (model->work) {
    case MODEL_READS:
        return;
    case MODEL_ROWS:
        if (!model_one_in(model, 3))
            model_say(model, 'D');
        else
            model_end_statement(model, !is_query && model_one_in(model, 3) ? 's' : 'C');
        return;
    case MODEL_COPIES_IN:
        model_copy_in(model);
        return;
    case MODEL_COPIES_OUT:
        if (!model_one_in(model, 3)) {
            model_say(model, 'd');
        } else {
            model_say(model, 'c');
            model->work = MODEL_COPY_ENDS;
        }
        return;
    case MODEL_COPY_ENDS:
        model_end_statement(model, 'C');
        return;
    case MODEL_BETWEEN:
        if (model_one_in(model, 2))
            model_ready(model);
        else
            model_begin_statement(model);
        return;
    }
}

/* Parse, Bind, Describe, Close: one answer, or an error. */
static inline void model_answer(struct model *model)
{
    bool tells_columns = model_one_in(model, 2);
    if (model_one_in(model, 8)) {
        model_fail(model);
        return;
    }
    switch (model->request.type) {
    case 'P':
        model_say(model, '1');
        return;
    case 'B':
        model_say(model, '2');
        return;
    case 'C':
        model_say(model, '3');
        return;
    default:
        if (model->request.detail == 'S')
            model_say(model, 't');
        model_say(model, tells_columns ? 'T' : 'n');
    }
}

/* The switch of PostgresMain() over a message that was read. */
static inline void model_dispatch(struct model *model)
{
    switch (model->request.type) {
    case 'Q':
    case 'E':
        if (!model_one_in(model, 12)) {
            model_begin_statement(model);
            return;
        }
        model_say(model, 'I');
        if (model->request.type == 'Q')
            model_ready(model);
        return;
    case 'F':
        if (model_one_in(model, 4)) {
            model_fail(model);
            return;
        }
        model_say(model, 'V');
        model_ready(model);
        return;
    case 'S':
        if (model->is_batch && model_one_in(model, 12))
            model_say(model, 'E'); /* there was something to commit, and that failed */
        model->is_batch = false;
        model_ready(model);
        return;
    case 'd':
    case 'c':
    case 'f':
    case 'H':
        return;
    default:
        model_answer(model);
    }
}

/* SocketBackend(), and what follows. */
static inline void model_read(struct model *model)
{
    struct model_message message;
    if (!model_take(&model->in, &message))
        return;
    if (strchr("PBDECH", message.type) != NULL) {
        model->is_extended = true;
        model->is_batch = model->is_batch || message.type != 'H';
    } else {
        model->is_extended = false;
    }
    if (message.type == 'Q' || message.type == 'F')
        model->is_batch = false;
    if (message.type == 'S')
        model->is_skipping = false;
    if (model->is_skipping)
        return;
    model->request = message;
    model_dispatch(model);
}

/* One thing of its own; false if the server waits for a message. */
static inline bool model_step(struct model *model)
{
    if (model->is_dead || model->out.count > MODEL_PIPE_MAX - 8)
        return false;
    if (model_one_in(model, 40)) {
        static const char asynchronous[] = "NSA";
        char type = asynchronous[model->chance(model->context, 3)];
        model_put(&model->out, (struct model_message){type, 0, 0});
        return true;
    }
    if (model->work != MODEL_READS) {
        model_work(model);
        return true;
    }
    bool strikes = model->with_timeouts && model->is_batch && model->is_extended &&
                   !model->is_skipping && model->in.count == 0 && model_one_in(model, 10);
    if (strikes) {
        model_put(&model->out, (struct model_message){'E', 0, 0});
        model->is_skipping = true;
        return true;
    }
    if (model->in.count == 0)
        return false;
    model_read(model);
    return true;
}

#endif
