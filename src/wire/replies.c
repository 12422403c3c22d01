#include "wire/replies.h"

#include "base/bug.h"
#include "wire/frame.h"

enum {
    NOT_OVER,
    CLOSED,    /* the server said a fatal error */
    VIOLATED,  /* what it said is not owed */
    AMBIGUOUS, /* it cannot be known what is owed */
};

/* What a message of a server is to the table below. */
enum reply {
    R_NONE, /* no answer in a session */
    R_ASYNC,
    R_PARSED,
    R_BOUND,
    R_CLOSED,
    R_PARAMETERS,
    R_COLUMNS,
    R_NO_DATA,
    R_ROW,
    R_COMPLETE,
    R_EMPTY,
    R_SUSPENDED,
    R_COPY_IN,
    R_COPY_OUT,
    R_COPY_BOTH,
    R_COPY_DATA,
    R_COPY_DONE,
    R_VALUE,
    R_READY, /* this one and the next are no plain answers: replies_pass() */
    R_ERROR,
    REPLIES
};

static const uint8_t replies_of[128] = {
    ['1'] = R_PARSED,     ['2'] = R_BOUND,     ['3'] = R_CLOSED,    ['A'] = R_ASYNC,
    ['C'] = R_COMPLETE,   ['D'] = R_ROW,       ['E'] = R_ERROR,     ['G'] = R_COPY_IN,
    ['H'] = R_COPY_OUT,   ['I'] = R_EMPTY,     ['N'] = R_ASYNC,     ['S'] = R_ASYNC,
    ['T'] = R_COLUMNS,    ['V'] = R_VALUE,     ['W'] = R_COPY_BOTH, ['Z'] = R_READY,
    ['c'] = R_COPY_DONE,  ['d'] = R_COPY_DATA, ['n'] = R_NO_DATA,   ['s'] = R_SUSPENDED,
    ['t'] = R_PARAMETERS,
};

/* How far the answer to the first request has come, and what a message can do to it. */
enum state {
    REFUSE, /* as a result: this message is not owed */
    LEAVE,  /* as a result: the request has ended */
    SKIP,   /* as a result: the request has failed, and the server skips up to a Sync */
    PARSE,
    BIND,
    CLOSE,
    DESCRIBE_STATEMENT,
    DESCRIBE_PORTAL, /* or a statement whose parameters were told */
    EXECUTE,
    EXECUTE_COPY_IN,
    EXECUTE_COPY_OUT,
    EXECUTE_COPY_END,
    QUERY,      /* nothing yet */
    QUERY_MORE, /* a result is complete, another may follow */
    QUERY_ROWS,
    QUERY_COPY_IN,
    QUERY_COPY_OUT,
    QUERY_COPY_BOTH,
    QUERY_COPY_END,
    QUERY_FAILED,
    FUNCTION,
    FUNCTION_END,
    SYNC,
    SYNC_FAILED,
    LOCAL, /* nothing comes for it */
    EMPTY, /* there is no request */
    STATES
};

/*
 * Results that a Query of a replication connection has beyond SQL's: START_REPLICATION copies both
 * ways, and may tell a result (the next timeline) after the copy; BASE_BACKUP has results before
 * and after one or more copies out. A walsender that shuts down says CommandComplete in the middle
 * of the copy.
 *
 * An error may follow an error before ReadyForQuery: when undoing failed too. An error in answer to
 * a Sync is that of the commit which the Sync asks for.
 */
static const uint8_t steps[STATES][REPLIES] = {
    [PARSE] = {[R_PARSED] = LEAVE, [R_ERROR] = SKIP},
    [BIND] = {[R_BOUND] = LEAVE, [R_ERROR] = SKIP},
    [CLOSE] = {[R_CLOSED] = LEAVE, [R_ERROR] = SKIP},
    [DESCRIBE_STATEMENT] = {[R_PARAMETERS] = DESCRIBE_PORTAL, [R_ERROR] = SKIP},
    [DESCRIBE_PORTAL] = {[R_COLUMNS] = LEAVE, [R_NO_DATA] = LEAVE, [R_ERROR] = SKIP},
    [EXECUTE] = {[R_ROW] = EXECUTE,
                 [R_COMPLETE] = LEAVE,
                 [R_EMPTY] = LEAVE,
                 [R_SUSPENDED] = LEAVE,
                 [R_COPY_IN] = EXECUTE_COPY_IN,
                 [R_COPY_OUT] = EXECUTE_COPY_OUT,
                 [R_ERROR] = SKIP},
    [EXECUTE_COPY_IN] = {[R_COMPLETE] = LEAVE, [R_ERROR] = SKIP},
    [EXECUTE_COPY_OUT] =
        {[R_COPY_DATA] = EXECUTE_COPY_OUT, [R_COPY_DONE] = EXECUTE_COPY_END, [R_ERROR] = SKIP},
    [EXECUTE_COPY_END] = {[R_COMPLETE] = LEAVE, [R_ERROR] = SKIP},
    [QUERY] = {[R_COLUMNS] = QUERY_ROWS,
               [R_COMPLETE] = QUERY_MORE,
               [R_EMPTY] = QUERY_MORE,
               [R_COPY_IN] = QUERY_COPY_IN,
               [R_COPY_OUT] = QUERY_COPY_OUT,
               [R_COPY_BOTH] = QUERY_COPY_BOTH,
               [R_ERROR] = QUERY_FAILED},
    [QUERY_MORE] = {[R_COLUMNS] = QUERY_ROWS,
                    [R_COMPLETE] = QUERY_MORE,
                    [R_COPY_IN] = QUERY_COPY_IN,
                    [R_COPY_OUT] = QUERY_COPY_OUT,
                    [R_COPY_BOTH] = QUERY_COPY_BOTH,
                    [R_ERROR] = QUERY_FAILED,
                    [R_READY] = LEAVE},
    [QUERY_ROWS] = {[R_ROW] = QUERY_ROWS, [R_COMPLETE] = QUERY_MORE, [R_ERROR] = QUERY_FAILED},
    [QUERY_COPY_IN] = {[R_COMPLETE] = QUERY_MORE, [R_ERROR] = QUERY_FAILED},
    [QUERY_COPY_OUT] =
        {[R_COPY_DATA] = QUERY_COPY_OUT, [R_COPY_DONE] = QUERY_COPY_END, [R_ERROR] = QUERY_FAILED},
    [QUERY_COPY_BOTH] = {[R_COPY_DATA] = QUERY_COPY_BOTH,
                         [R_COPY_DONE] = QUERY_COPY_END,
                         [R_COMPLETE] = QUERY_MORE,
                         [R_ERROR] = QUERY_FAILED},
    [QUERY_COPY_END] = {[R_COLUMNS] = QUERY_ROWS,
                        [R_COMPLETE] = QUERY_MORE,
                        [R_COPY_OUT] = QUERY_COPY_OUT,
                        [R_ERROR] = QUERY_FAILED},
    [QUERY_FAILED] = {[R_ERROR] = QUERY_FAILED, [R_READY] = LEAVE},
    [FUNCTION] = {[R_VALUE] = FUNCTION_END, [R_ERROR] = FUNCTION_END},
    [FUNCTION_END] = {[R_ERROR] = FUNCTION_END, [R_READY] = LEAVE},
    [SYNC] = {[R_ERROR] = SYNC_FAILED, [R_READY] = LEAVE},
    [SYNC_FAILED] = {[R_ERROR] = SYNC_FAILED, [R_READY] = LEAVE},
};

static const uint8_t first_states[] = {
    [REPLIES_QUERY] = QUERY,
    [REPLIES_FUNCTION] = FUNCTION,
    [REPLIES_PARSE] = PARSE,
    [REPLIES_BIND] = BIND,
    [REPLIES_DESCRIBE_STATEMENT] = DESCRIBE_STATEMENT,
    [REPLIES_DESCRIBE_PORTAL] = DESCRIBE_PORTAL,
    [REPLIES_EXECUTE] = EXECUTE,
    [REPLIES_CLOSE] = CLOSE,
    [REPLIES_SYNC] = SYNC,
};

size_t replies_size(uint32_t capacity)
{
    return capacity * sizeof(struct replies_run);
}

void replies_init(struct replies *replies, void *memory, uint32_t capacity, char status)
{
    hf_assert(capacity > 0);
    *replies =
        (struct replies){.runs = memory, .capacity = capacity, .state = EMPTY, .status = status};
}

/* The run at a place counted from the first one. */
static struct replies_run *run_at(const struct replies *replies, uint32_t place)
{
    uint32_t index = replies->first + place;
    return &replies->runs[index < replies->capacity ? index : index - replies->capacity];
}

static void leave_run(struct replies *replies)
{
    replies->first = replies->first + 1 < replies->capacity ? replies->first + 1 : 0;
    replies->used--;
}

static bool is_of_client(uint8_t whose)
{
    return whose == REPLIES_CLIENT || whose == REPLIES_LOCAL;
}

static void count_done(struct replies *replies, uint8_t whose, uint32_t count)
{
    if (is_of_client(whose))
        replies->done += count;
}

/* Whatever is first now: passes over what owes nothing, and sets the state. An end of a copy that
 * comes to the front belongs to no copy: the server ignores it. */
static void settle(struct replies *replies)
{
    while (replies->used > 0) {
        const struct replies_run *run = run_at(replies, 0);
        if (run->kind == REPLIES_PAST)
            count_done(replies, run->whose, run->count);
        else if (run->kind != REPLIES_COPY_END)
            break;
        leave_run(replies);
    }
    if (replies->used == 0) {
        replies->state = EMPTY;
        return;
    }
    const struct replies_run *run = run_at(replies, 0);
    replies->state = run->whose == REPLIES_LOCAL ? LOCAL : first_states[run->kind];
}

static void leave_request(struct replies *replies)
{
    struct replies_run *run = run_at(replies, 0);
    count_done(replies, run->whose, 1);
    if (--run->count == 0)
        leave_run(replies);
    settle(replies);
}

bool replies_next_dropped(struct replies *replies, struct replies_dropped *dropped)
{
    while (replies->dropped > 0) {
        const struct replies_run run = *run_at(replies, 0);
        replies->dropped--;
        leave_run(replies);
        if (replies->dropped == 0)
            settle(replies);
        if (run.kind == REPLIES_COPY_END)
            continue;
        count_done(replies, run.whose, run.count);
        if (run.kind == REPLIES_PAST)
            continue;
        *dropped = (struct replies_dropped){run.kind, run.whose, run.count, run.tag};
        return true;
    }
    return false;
}

/* Nobody asked for what was dropped. */
static void forget_dropped(struct replies *replies)
{
    struct replies_dropped dropped;
    while (replies_next_dropped(replies, &dropped))
        continue;
}

static enum replies_kind kind_of(struct replies_request request)
{
    switch (request.type) {
    case 'Q':
        return REPLIES_QUERY;
    case 'F':
        return REPLIES_FUNCTION;
    case 'P':
        return REPLIES_PARSE;
    case 'B':
        return REPLIES_BIND;
    case 'D':
        return request.target == 'S' ? REPLIES_DESCRIBE_STATEMENT : REPLIES_DESCRIBE_PORTAL;
    case 'E':
        return REPLIES_EXECUTE;
    case 'C':
        return REPLIES_CLOSE;
    case 'S':
        return REPLIES_SYNC;
    case 'c':
    case 'f':
        return REPLIES_COPY_END;
    default:
        return REPLIES_NONE;
    }
}

/* Puts it behind the others; false if there is no place. */
static bool push(struct replies *replies, enum replies_kind kind, struct replies_request request)
{
    if (replies->used > 0) {
        struct replies_run *last = run_at(replies, replies->used - 1);
        bool is_same = last->kind == kind && last->whose == (uint8_t)request.whose &&
                       last->tag == request.tag && last->count < UINT16_MAX;
        if (is_same) {
            last->count++;
            return true;
        }
    }
    if (replies->used == replies->capacity)
        return false;
    *run_at(replies, replies->used++) =
        (struct replies_run){(uint8_t)kind, (uint8_t)request.whose, 1, request.tag};
    if (replies->used == 1)
        settle(replies);
    return true;
}

/* The server has read on to a place where extended messages begin, go on, or are over. */
static void mark_open(struct replies *replies, enum replies_kind kind)
{
    switch (kind) {
    case REPLIES_QUERY:
    case REPLIES_FUNCTION:
    case REPLIES_SYNC:
        replies->is_open = false;
        break;
    case REPLIES_PARSE:
    case REPLIES_BIND:
    case REPLIES_DESCRIBE_STATEMENT:
    case REPLIES_DESCRIBE_PORTAL:
    case REPLIES_EXECUTE:
    case REPLIES_CLOSE:
        replies->is_open = true;
        break;
    case REPLIES_NONE:
    case REPLIES_COPY_END:
    case REPLIES_PAST:
        break;
    }
}

static void end(struct replies *replies, uint8_t how, char offender)
{
    replies->end = how;
    replies->offender = offender;
    replies->offended = replies->used > 0 ? run_at(replies, 0)->kind : REPLIES_NONE;
}

enum replies_sent replies_send(struct replies *replies, struct replies_request request)
{
    enum replies_kind kind = kind_of(request);
    forget_dropped(replies);
    if (replies->end != NOT_OVER || (!replies->is_attached && request.whose != REPLIES_OURS))
        return REPLIES_REFUSED;
    if (kind == REPLIES_NONE)
        return REPLIES_FREE;
    /* The end of a copy matters only behind a request that may turn out to be a copy. */
    if (kind == REPLIES_COPY_END && replies->used == 0)
        return REPLIES_FREE;
    if (replies->is_skipping && kind != REPLIES_SYNC) {
        if (replies->doubt == 0)
            return REPLIES_SKIPPED;
        /* Or it does not skip, because a Sync in doubt was read. */
        end(replies, AMBIGUOUS, request.type);
        return REPLIES_REFUSED;
    }
    if (!push(replies, kind, request))
        return REPLIES_FULL;
    replies->is_skipping = false;
    if (request.whose != REPLIES_LOCAL)
        mark_open(replies, kind);
    return kind == REPLIES_COPY_END ? REPLIES_FREE : REPLIES_OWED;
}

/* Where, from a place on, the first run stands that is not a Sync in a copy, not past, and not one
 * that the server never saw; the Syncs on the way owe nothing any more. `*syncs` counts them. */
static uint32_t pass_syncs(struct replies *replies, uint32_t place, uint32_t *syncs)
{
    for (; place < replies->used; place++) {
        struct replies_run *run = run_at(replies, place);
        bool is_used_up = run->kind == REPLIES_COPY_END && run->count == 0;
        if (run->whose == REPLIES_LOCAL || run->kind == REPLIES_PAST || is_used_up)
            continue;
        if (run->kind != REPLIES_SYNC)
            break;
        run->kind = REPLIES_PAST;
        *syncs += run->count;
    }
    return place;
}

/* The copy into the server, which the first request is in, has ended well: the server has read on
 * to the end of the copy, and ignored the Syncs before it. False if no end was sent. */
static bool end_copy_in(struct replies *replies)
{
    uint32_t syncs = 0;
    if (run_at(replies, 0)->count > 1)
        return false;
    uint32_t place = pass_syncs(replies, 1, &syncs);
    if (place == replies->used || run_at(replies, place)->kind != REPLIES_COPY_END)
        return false;
    run_at(replies, place)->count--;
    return true;
}

/* After the copy of an Execute: Syncs that were to end the extended messages were ignored, so these
 * may be open again. What was sent last decides, and if nothing was, the Execute itself. */
static void open_again(struct replies *replies)
{
    replies->is_open = true;
    for (uint32_t place = 1; place < replies->used; place++) {
        const struct replies_run *run = run_at(replies, place);
        if (run->whose != REPLIES_LOCAL)
            mark_open(replies, run->kind);
    }
}

/* It has failed: the Syncs before the end of the copy were read and ignored, or will be answered.
 */
static void fail_copy_in(struct replies *replies)
{
    uint32_t syncs = 0;
    if (run_at(replies, 0)->count == 1)
        pass_syncs(replies, 1, &syncs);
    uint32_t doubt = replies->doubt + syncs;
    replies->doubt = doubt < UINT16_MAX ? (uint16_t)doubt : UINT16_MAX;
}

/* The first request has failed, and with it everything up to the next Sync. */
static void skip(struct replies *replies)
{
    uint32_t place = 0;
    leave_request(replies);
    while (place < replies->used && run_at(replies, place)->kind != REPLIES_SYNC)
        place++;
    if (replies->doubt > 0 && place > 0) {
        end(replies, AMBIGUOUS, 'E');
        return;
    }
    replies->dropped = place;
    replies->is_skipping = place == replies->used;
}

static struct replies_verdict refuse(struct replies *replies, char type)
{
    if (replies->end == NOT_OVER)
        end(replies, VIOLATED, type);
    return (struct replies_verdict){.action = REPLIES_VIOLATION, .request = replies->done};
}

/* What answers no request: the client sees it, if there is one. */
static struct replies_verdict by_itself(const struct replies *replies)
{
    if (replies->is_attached)
        return (struct replies_verdict){
            .action = REPLIES_FORWARD, .whose = REPLIES_CLIENT, .request = replies->done};
    return (struct replies_verdict){
        .action = REPLIES_SWALLOW, .whose = REPLIES_OURS, .request = replies->done};
}

/* Who sees a message that belongs to the first request, or comes while it is first. */
static struct replies_verdict judge(const struct replies *replies, enum reply reply)
{
    struct replies_verdict verdict = by_itself(replies);
    if (replies->used == 0)
        return verdict;
    const struct replies_run *run = run_at(replies, 0);
    verdict.whose = run->whose;
    verdict.tag = run->tag;
    if (reply != R_ASYNC)
        verdict.kind = run->kind;
    if (run->whose == REPLIES_OURS || (run->whose == REPLIES_STANDIN && reply != R_ERROR))
        verdict.action = REPLIES_SWALLOW;
    return verdict;
}

/* A ReadyForQuery that the first request does not owe: one in doubt, or a violation. */
static struct replies_verdict settle_doubt(struct replies *replies)
{
    if (replies->doubt == 0)
        return refuse(replies, 'Z');
    struct replies_verdict verdict = by_itself(replies);
    verdict.kind = REPLIES_SYNC;
    verdict.is_last = true;
    replies->doubt--;
    replies->is_skipping = false;
    return verdict;
}

/* An error that no request owes. In between extended messages a timeout may strike, and an error
 * may follow an error; both make the server skip. */
static struct replies_verdict take_error_alone(struct replies *replies)
{
    if (!replies->is_open && !replies->is_skipping)
        return refuse(replies, 'E');
    replies->is_skipping = true;
    return by_itself(replies);
}

static struct replies_verdict close_down(struct replies *replies)
{
    struct replies_verdict verdict = judge(replies, R_ERROR);
    verdict.is_last = replies->used > 0;
    end(replies, CLOSED, 'E');
    return verdict;
}

/* An answer to the first request; `next` is what the table says. */
static struct replies_verdict answer(struct replies *replies, char type, enum reply reply,
                                     enum state next)
{
    struct replies_verdict verdict = judge(replies, reply);
    enum state state = replies->state;
    bool is_copy_in = state == EXECUTE_COPY_IN || state == QUERY_COPY_IN;
    if (is_copy_in && reply == R_COMPLETE && !end_copy_in(replies))
        return refuse(replies, type);
    if (state == EXECUTE_COPY_IN && reply == R_COMPLETE)
        open_again(replies);
    /* Whatever answers a request that was sent later ends the doubt. But what answers a Sync may be
     * what was in doubt, and a Query that has failed as a copy was sent before. */
    if (state != SYNC && state != SYNC_FAILED && state != QUERY_FAILED)
        replies->doubt = 0;
    if (is_copy_in && reply == R_ERROR)
        fail_copy_in(replies);
    verdict.is_last = next == LEAVE || next == SKIP;
    if (next == SKIP)
        skip(replies);
    else if (next == LEAVE)
        leave_request(replies);
    else
        replies->state = (uint8_t)next;
    return verdict;
}

bool replies_pass(struct replies *replies, char type, uint32_t *tag)
{
    unsigned char index = (unsigned char)type;
    enum reply reply = index < sizeof replies_of ? replies_of[index] : R_NONE;
    enum state state = replies->state;
    enum state next = steps[state][reply];
    if (next == REFUSE || reply >= R_READY || state == EXECUTE_COPY_IN || state == QUERY_COPY_IN)
        return false;
    const struct replies_run *run = run_at(replies, 0);
    if (run->whose != REPLIES_CLIENT || replies->dropped > 0 || replies->doubt > 0 ||
        replies->end != NOT_OVER)
        return false;
    *tag = next == LEAVE ? run->tag : 0;
    if (next == LEAVE)
        leave_request(replies);
    else
        replies->state = (uint8_t)next;
    return true;
}

struct replies_verdict replies_receive(struct replies *replies, char type, char detail)
{
    unsigned char index = (unsigned char)type;
    enum reply reply = index < sizeof replies_of ? replies_of[index] : R_NONE;
    if (replies->dropped > 0)
        forget_dropped(replies);
    if (replies->end != NOT_OVER)
        return refuse(replies, type);
    /* A notice or a changed parameter comes of what the server does, a notification does not. */
    if (reply == R_ASYNC)
        return type == 'A' ? by_itself(replies) : judge(replies, reply);
    if (reply == R_ERROR && detail == REPLIES_FATAL)
        return close_down(replies);
    if (reply == R_READY)
        replies->status = detail;
    enum state next = steps[replies->state][reply];
    if (next != REFUSE)
        return answer(replies, type, reply, next);
    if (reply == R_READY)
        return settle_doubt(replies);
    if (reply == R_ERROR)
        return take_error_alone(replies);
    return refuse(replies, type);
}

bool replies_has_local(const struct replies *replies)
{
    return replies->state == LOCAL && replies->dropped == 0 && replies->end == NOT_OVER;
}

bool replies_next_local(struct replies *replies, struct replies_request *request)
{
    static const char types[] = {
        [REPLIES_QUERY] = 'Q',
        [REPLIES_FUNCTION] = 'F',
        [REPLIES_PARSE] = 'P',
        [REPLIES_BIND] = 'B',
        [REPLIES_DESCRIBE_STATEMENT] = 'D',
        [REPLIES_DESCRIBE_PORTAL] = 'D',
        [REPLIES_EXECUTE] = 'E',
        [REPLIES_CLOSE] = 'C',
        [REPLIES_SYNC] = 'S',
    };
    if (!replies_has_local(replies))
        return false;
    const struct replies_run *run = run_at(replies, 0);
    *request =
        (struct replies_request){.type = types[run->kind], .whose = REPLIES_LOCAL, .tag = run->tag};
    if (run->kind == REPLIES_DESCRIBE_STATEMENT)
        request->target = 'S';
    else if (run->kind == REPLIES_DESCRIBE_PORTAL)
        request->target = 'P';
    leave_request(replies);
    return true;
}

bool replies_attach(struct replies *replies)
{
    if (replies->is_attached || !replies_is_clean(replies))
        return false;
    replies->is_attached = true;
    return true;
}

void replies_detach(struct replies *replies)
{
    for (uint32_t place = 0; place < replies->used; place++) {
        struct replies_run *run = run_at(replies, place);
        if (run->whose == REPLIES_LOCAL)
            run->kind = REPLIES_PAST;
        run->whose = REPLIES_OURS;
    }
    replies->is_attached = false;
    if (replies->state == LOCAL && replies->dropped == 0)
        settle(replies);
}

/* The server is in copy-in mode, and no end of the copy was sent. */
static bool is_copying(const struct replies *replies)
{
    if (replies->state != EXECUTE_COPY_IN && replies->state != QUERY_COPY_IN)
        return false;
    for (uint32_t place = 1; place < replies->used; place++) {
        const struct replies_run *run = run_at(replies, place);
        if (run->kind == REPLIES_COPY_END && run->count > 0)
            return false;
    }
    return true;
}

enum replies_rest replies_rest(const struct replies *replies)
{
    if (replies->end != NOT_OVER)
        return REPLIES_OVER;
    if (is_copying(replies))
        return REPLIES_COPYING;
    if (replies->is_open || replies->is_skipping)
        return REPLIES_OPEN;
    if (replies->used > 0)
        return REPLIES_BUSY;
    return replies->doubt > 0 ? REPLIES_DOUBTFUL : REPLIES_IDLE;
}

bool replies_is_breaking(const struct replies *replies)
{
    return replies->state == EXECUTE_COPY_IN && is_copying(replies);
}

bool replies_is_ambiguous(const struct replies *replies)
{
    return replies->end == AMBIGUOUS;
}

enum hf_rc replies_error(const struct replies *replies, struct hf_err *err)
{
    static const char *const names[] = {
        [REPLIES_NONE] = "nothing",
        [REPLIES_QUERY] = "a Query",
        [REPLIES_FUNCTION] = "a FunctionCall",
        [REPLIES_PARSE] = "a Parse",
        [REPLIES_BIND] = "a Bind",
        [REPLIES_DESCRIBE_STATEMENT] = "a Describe",
        [REPLIES_DESCRIBE_PORTAL] = "a Describe",
        [REPLIES_EXECUTE] = "an Execute",
        [REPLIES_CLOSE] = "a Close",
        [REPLIES_SYNC] = "a Sync",
        [REPLIES_COPY_END] = "nothing",
        [REPLIES_PAST] = "nothing",
    };
    const struct frame_type *row = frame_type_find(FRAME_BACKEND, replies->offender);
    switch (replies->end) {
    case NOT_OVER:
        return HF_OK;
    case CLOSED:
        return err_set(err, HF_RC_PEER, "08006", "the server closed the connection");
    case AMBIGUOUS:
        err_set(err, HF_RC_PEER, "08P01",
                "terminating connection because protocol synchronization was lost");
        err_detail(err, "Requests behind a failed COPY cannot be told apart.");
        return err_hint(err, "Send what follows a COPY when its end was answered, or use a pool in "
                             "session mode.");
    default:
        return err_set(err, HF_RC_PEER, "08P01", "unexpected server message %s in answer to %s",
                       row != NULL ? row->name : "of unknown type", names[replies->offended]);
    }
}
