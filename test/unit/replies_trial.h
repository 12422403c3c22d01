/*
 * A trial of reply accounting: a client that sends what chance makes it send, the model of a server
 * that answers, and between them struct replies, whose verdicts are held against what the model
 * knows. For the unit test, which brings seeds, and for the fuzz target, which brings bytes.
 *
 * Whoever includes this defines TRIAL_CHECK(condition) first.
 *
 * What is checked
 *  1. Every answer gets the verdict of the request that it truly belongs to; of a request that was
 *     reported as dropped, skipped, or ended, nothing comes.
 *  2. Once a client is gone nothing is forwarded.
 *  3. A local reply is due when everything before it has ended.
 *  4. Idle is said only when the server has nothing more to say; and whoever does what
 * replies_rest() asks for comes to rest.
 *  5. The connection is over only after a fatal error, or where the answers truly cannot be told
 *     apart: a copy that failed, with a Sync before its end and requests pipelined behind it.
 */
#ifndef HF_TEST_UNIT_REPLIES_TRIAL_H
#define HF_TEST_UNIT_REPLIES_TRIAL_H

#include "pg_model.h"
#include "replies_both.h"
#include "wire/replies.h"

#define TRIAL_REQUESTS_MAX 1024
#define TRIAL_RUNS_MAX     24

struct trial_request {
    struct replies_request request;
    bool has_failed;
    bool is_ended; /* or dropped, or skipped */
};

struct trial {
    struct model model;
    struct replies replies;
    struct replies_run runs[TRIAL_RUNS_MAX];
    struct trial_request requests[TRIAL_REQUESTS_MAX];
    uint32_t count;       /* of requests; ids start at 1 */
    bool has_tags;        /* each request its own; else all in a row are one run */
    bool is_wild;         /* pipelines behind everything, copies included */
    bool is_disowned;     /* the client is gone */
    bool is_over;         /* the connection is */
    bool may_be_doubtful; /* a Sync was sent where a copy may be */
    bool is_waiting;      /* a client that is not wild has asked for something that may be a copy */
    unsigned ambiguous;   /* how often it ended for that */
};

static inline uint32_t trial_chance(struct trial *trial, uint32_t n)
{
    return trial->model.chance(trial->model.context, n);
}

static inline enum replies_kind trial_kind(struct replies_request request)
{
    static const enum replies_kind kinds[128] = {
        ['Q'] = REPLIES_QUERY, ['F'] = REPLIES_FUNCTION, ['P'] = REPLIES_PARSE,
        ['B'] = REPLIES_BIND,  ['E'] = REPLIES_EXECUTE,  ['C'] = REPLIES_CLOSE,
        ['S'] = REPLIES_SYNC,
    };
    if (request.type == 'D')
        return request.target == 'S' ? REPLIES_DESCRIBE_STATEMENT : REPLIES_DESCRIBE_PORTAL;
    return kinds[(unsigned char)request.type];
}

/* The end is allowed to be one. */
static inline void trial_notice_end(struct trial *trial)
{
    struct hf_err err;
    if (trial->is_over || replies_rest(&trial->replies) != REPLIES_OVER)
        return;
    trial->is_over = true;
    TRIAL_CHECK(replies_error(&trial->replies, &err) == HF_RC_PEER);
    bool is_ambiguous = strstr(err.detail, "COPY") != NULL;
    trial->ambiguous += is_ambiguous;
    TRIAL_CHECK(is_ambiguous ? trial->is_wild && trial->may_be_doubtful
                             : strcmp(err.sqlstate, "08006") == 0 && trial->model.is_dead);
}

/* What was reported is true: nothing has come of it, and, see trial_judge(), nothing will. */
static inline void trial_take_dropped(struct trial *trial)
{
    struct replies_dropped dropped;
    while (replies_next_dropped(&trial->replies, &dropped)) {
        TRIAL_CHECK(dropped.count > 0);
        if (!trial->has_tags)
            continue;
        TRIAL_CHECK(dropped.count == 1 && dropped.tag >= 1 && dropped.tag <= trial->count);
        struct trial_request *request = &trial->requests[dropped.tag - 1];
        TRIAL_CHECK(!request->is_ended && !request->has_failed);
        TRIAL_CHECK(dropped.kind == trial_kind(request->request));
        request->is_ended = true;
    }
}

static inline void trial_take_local(struct trial *trial)
{
    struct replies_request local;
    while (replies_next_local(&trial->replies, &local)) {
        TRIAL_CHECK(!trial->is_disowned);
        if (!trial->has_tags)
            continue;
        TRIAL_CHECK(local.tag >= 1 && local.tag <= trial->count);
        struct trial_request *request = &trial->requests[local.tag - 1];
        TRIAL_CHECK(!request->is_ended && request->request.whose == REPLIES_LOCAL);
        TRIAL_CHECK(request->request.type == local.type);
        request->is_ended = true;
        for (uint32_t i = 0; i + 1 < local.tag; i++)
            TRIAL_CHECK(trial->requests[i].is_ended || trial->requests[i].request.type == 'S');
    }
}

static inline void trial_send(struct trial *trial, struct replies_request request)
{
    bool owes = trial_kind(request) != REPLIES_NONE;
    if (trial->is_over || trial->count == TRIAL_REQUESTS_MAX ||
        trial->model.in.count > MODEL_PIPE_MAX - 8)
        return;
    request.tag = trial->has_tags ? trial->count + 1 : 0;
    enum replies_sent sent = replies_send(&trial->replies, request);
    trial_notice_end(trial);
    if (sent == REPLIES_FULL || sent == REPLIES_REFUSED) {
        TRIAL_CHECK(sent == REPLIES_FULL ? owes || request.type == 'c' || request.type == 'f'
                                         : trial->is_over);
        return;
    }
    if (owes) {
        TRIAL_CHECK(sent == REPLIES_OWED || sent == REPLIES_SKIPPED);
        trial->requests[trial->count++] =
            (struct trial_request){.request = request, .is_ended = sent == REPLIES_SKIPPED};
    }
    trial_take_local(trial);
    if (request.whose != REPLIES_LOCAL)
        model_send(&trial->model,
                   (struct model_message){request.type, request.target, owes ? trial->count : 0});
}

/* The verdict over an answer, held against the request that it answers. */
static inline void trial_judge(struct trial *trial, struct model_message answer,
                               struct replies_verdict verdict)
{
    struct trial_request *asked = &trial->requests[answer.id - 1];
    bool is_second = answer.type == 'E' && asked->has_failed;
    bool is_sync = asked->request.type == 'S';
    enum replies_action action = REPLIES_FORWARD;
    TRIAL_CHECK(is_second || !asked->is_ended || is_sync);
    if (answer.type == 'E')
        asked->has_failed = true;
    /* An error after an error may be taken for one of the next Sync, or of nobody. */
    if (is_second && verdict.kind != trial_kind(asked->request)) {
        TRIAL_CHECK(verdict.kind == REPLIES_SYNC || verdict.kind == REPLIES_NONE);
        return;
    }
    TRIAL_CHECK(verdict.kind == trial_kind(asked->request));
    /* Of Syncs in doubt it is not known which one is answered; all are the same client's. */
    TRIAL_CHECK(!trial->has_tags || is_sync || verdict.tag == answer.id);
    if (asked->request.whose == REPLIES_OURS || trial->is_disowned ||
        (asked->request.whose == REPLIES_STANDIN && answer.type != 'E'))
        action = REPLIES_SWALLOW;
    TRIAL_CHECK(verdict.action == action);
    if (verdict.is_last)
        asked->is_ended = true;
}

/* An answer arrives; false if there was none. */
static inline bool trial_receive(struct trial *trial)
{
    struct model_message answer;
    if (trial->is_over || !model_receive(&trial->model, &answer))
        return false;
    struct replies_verdict verdict = both_receive(&trial->replies, answer.type, answer.detail);
    TRIAL_CHECK(verdict.action != REPLIES_VIOLATION);
    TRIAL_CHECK(!trial->is_disowned || verdict.action == REPLIES_SWALLOW || answer.id == 0);
    if (answer.id != 0)
        trial_judge(trial, answer, verdict);
    else if (answer.type == 'E' && verdict.is_last && trial->has_tags)
        trial->requests[verdict.tag - 1].is_ended = true; /* a timeout struck before its turn */
    else
        TRIAL_CHECK(verdict.kind == REPLIES_NONE || answer.type == 'E');
    if (answer.type == 'Z')
        TRIAL_CHECK(trial->replies.status == answer.detail);
    trial_notice_end(trial);
    if (!trial->is_over) {
        trial_take_dropped(trial);
        trial_take_local(trial);
    }
    return true;
}

/* What a client may want next. */
static inline void trial_ask(struct trial *trial)
{
    static const char types[] = "PPBBDEESSSQQFCHdcf";
    struct replies_request request = {.type = types[trial_chance(trial, sizeof types - 1)]};
    enum replies_rest rest = replies_rest(&trial->replies);
    bool is_copy_message = strchr("dcf", request.type) != NULL;
    request.target = trial_chance(trial, 2) == 0 ? 'S' : 'P';
    /* A client that is not wild waits until what may be a copy has come to its end, and sends only
     * data and Syncs in the meantime. */
    if (rest == REPLIES_IDLE)
        trial->is_waiting = false;
    if (!trial->is_wild && trial->is_waiting && request.type != 'S' && !is_copy_message)
        return;
    /* See take_error_alone() in replies.c: that moment is not for a Query. */
    if (trial->model.with_timeouts && strchr("QF", request.type) != NULL)
        return;
    trial->is_waiting = trial->is_waiting || strchr("EQ", request.type) != NULL;
    trial->may_be_doubtful = trial->may_be_doubtful || request.type == 'S';
    if (strchr("PCD", request.type) != NULL && trial_chance(trial, 4) == 0)
        request.whose = REPLIES_LOCAL;
    else if (strchr("PC", request.type) != NULL && trial_chance(trial, 3) == 0)
        request.whose = trial_chance(trial, 2) == 0 ? REPLIES_STANDIN : REPLIES_OURS;
    trial_send(trial, request);
}

/* Something of our own, where it may stand: at rest, or to end a doubt. */
static inline void trial_ask_ourselves(struct trial *trial)
{
    static const char *const batches[] = {"Q", "PS", "CCS", "PBES"};
    enum replies_rest rest = replies_rest(&trial->replies);
    const char *types = batches[rest == REPLIES_IDLE ? trial_chance(trial, 4) : 0];
    if (rest != REPLIES_IDLE && rest != REPLIES_DOUBTFUL)
        return;
    for (; *types != '\0'; types++)
        trial_send(trial, (struct replies_request){*types, 'n', REPLIES_OURS, 0});
}

/* Does what the accounting asks for until the connection rests. */
static inline void trial_come_to_rest(struct trial *trial)
{
    enum replies_whose whose = trial->is_disowned ? REPLIES_OURS : REPLIES_CLIENT;
    for (int turn = 0; !trial->is_over; turn++) {
        TRIAL_CHECK(turn < 100000);
        if (trial->count == TRIAL_REQUESTS_MAX)
            return;
        if (trial_receive(trial) || model_step(&trial->model))
            continue;
        switch (replies_rest(&trial->replies)) {
        case REPLIES_IDLE:
            TRIAL_CHECK(trial->replies.used == 0 && model_rests(&trial->model));
            return;
        case REPLIES_BUSY:
            TRIAL_CHECK(false); /* nothing will come */
            return;
        case REPLIES_OPEN:
            trial_send(trial, (struct replies_request){.type = 'S', .whose = whose});
            break;
        case REPLIES_COPYING:
            trial_send(trial, (struct replies_request){.type = 'f', .whose = whose});
            break;
        case REPLIES_DOUBTFUL:
            trial_ask_ourselves(trial);
            break;
        case REPLIES_OVER:
            break;
        }
    }
}

/* The next client comes, as soon as the connection is outside of a transaction. */
static inline void trial_attach(struct trial *trial)
{
    while (!trial->is_over && !replies_attach(&trial->replies)) {
        TRIAL_CHECK(trial->replies.status != 'I');
        trial_ask_ourselves(trial);
        trial_come_to_rest(trial);
        if (trial->count == TRIAL_REQUESTS_MAX)
            return;
    }
    trial->is_disowned = trial->is_waiting = false;
}

static inline void trial_init(struct trial *trial, uint32_t (*chance)(void *, uint32_t),
                              void *context)
{
    memset(trial, 0, sizeof *trial);
    model_init(&trial->model, chance, context);
    trial->has_tags = trial_chance(trial, 2) == 0;
    trial->is_wild = trial_chance(trial, 2) == 0;
    trial->model.with_timeouts = !trial->is_wild && trial_chance(trial, 2) == 0;
    replies_init(&trial->replies, trial->runs, 2 + trial_chance(trial, TRIAL_RUNS_MAX - 1), 'I');
    trial_attach(trial);
}

/* So many things happen, in any order; then it comes to rest. */
static inline void trial_go(struct trial *trial, uint32_t turns)
{
    for (; turns > 0 && !trial->is_over && trial->count < TRIAL_REQUESTS_MAX; turns--) {
        uint32_t what = trial_chance(trial, 128);
        if (what < 50)
            trial_ask(trial);
        else if (what < 80)
            model_step(&trial->model);
        else if (what < 122)
            trial_receive(trial);
        else if (what < 126)
            trial_ask_ourselves(trial);
        else if (what == 126)
            trial_come_to_rest(trial);
        else {
            /* This client vanishes; when the connection rests, the next one comes. */
            replies_detach(&trial->replies);
            trial->is_disowned = true;
            for (uint32_t i = 0; i < trial->count; i++)
                if (trial->requests[i].request.whose == REPLIES_LOCAL)
                    trial->requests[i].is_ended = true; /* nobody waits for it */
            trial_come_to_rest(trial);
            trial_attach(trial);
        }
    }
    trial_come_to_rest(trial);
}

#endif
