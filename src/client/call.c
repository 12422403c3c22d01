/*
 * The engine: carries out what the guard orders, and feeds it what happened.
 *
 * Each entry point feeds something and then pursues: takes the guard's actions one by one until
 * there are none. Carrying one out may end an attempt at once, which is fed and gives further
 * actions; so pursue() is a loop, and nothing here calls itself.
 */
#include "client/call.h"

#include <libpq-fe.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bug.h"
#include "client/attempt.h"
#include "client/cancel_token.h"
#include "client/db.h"
#include "client/errors.h"
#include "core/bulkhead_mt.h"
#include "os/clock.h"
#include "pg/watcher.h"

const struct snapshot *call_view(struct call *call)
{
    watcher_refresh(call->db->watcher, &call->view->seen, &call->view->snapshot);
    return &call->view->snapshot;
}

void call_view_init(struct call_view *view)
{
    view->seen = 0;
    snapshot_init(&view->snapshot);
    snapshot_seal(&view->snapshot);
}

/* Without chance: only the end of an attempt or of a search is followed by a backoff. */
static struct guard_event event_of(struct call *call, enum guard_event_kind kind, int64_t now_ns)
{
    return (struct guard_event){
        .kind = kind,
        .now_ns = now_ns,
        .view = call_view(call),
    };
}

static void feed(struct call *call, enum guard_event_kind kind, int64_t now_ns)
{
    struct guard_event event = event_of(call, kind, now_ns);
    guard_feed(&call->guard, &event);
}

void call_tell_facts(struct call *call)
{
    struct guard_event event = event_of(call, GUARD_EV_PROGRESS, clock_now());
    event.facts = call->facts;
    guard_feed(&call->guard, &event);
}

void call_wake(struct call *call, enum call_news news)
{
    /* Whoever hands a call to another driver first stores the new descriptor, then looks for news;
     * here the order is the other way round, so one of both sees the other. */
    atomic_fetch_or(&call->news, (uint32_t)news);
    eventfd_write(atomic_load(&call->wake_at), 1);
}

/* ---- what the guard orders ---- */

static void run(struct call *call, const struct guard_action *action)
{
    call->endpoint = action->endpoint;
    call->is_stopping = false;
    attempt_begin(call);
}

/* ENTER, WITHDRAW, HAND_OVER. Whoever gets a permit is told while the lock is held: then nobody who
 * has had the lock since can meet a wake-up that is still on its way (see loop_free()). */
HF_COLD static void at_queue(struct call *call, const struct guard_action *action)
{
    struct db_endpoint *endpoint = &call->db->endpoints[action->endpoint];
    int64_t now_ns = clock_now();
    struct guard_event event = event_of(call, GUARD_EV_TICK, now_ns);
    pthread_mutex_lock(&endpoint->queue_lock);
    struct guard_call *granted = guard_apply_locked(&call->guard, action, &event);
    if (granted == NULL && action->kind == GUARD_ACT_HAND_OVER)
        granted = guard_next_granted(call->guard.guard, action->endpoint, now_ns);
    while (granted != NULL) {
        call_wake(container_of(granted, struct call, guard), CALL_NEWS_GRANTED);
        granted = guard_next_granted(call->guard.guard, action->endpoint, now_ns);
    }
    pthread_mutex_unlock(&endpoint->queue_lock);
}

static void done(struct call *call, const struct guard_action *action)
{
    call->is_answered = true;
    call->result = action->result;
    call->outcome = action->outcome;
    call->state = action->last ? CALL_IS_DONE : CALL_IS_LEFT;
    db_count(call);
    if (call->ops->answered != NULL)
        call->ops->answered(call);
}

HF_COLD static void look_into_cache(struct call *call)
{
    bool was_hit = call->ops->find_cached != NULL && call->ops->find_cached(call, true);
    struct guard_event event = event_of(call, GUARD_EV_CACHED, clock_now());
    event.was_hit = was_hit;
    guard_feed(&call->guard, &event);
}

static void carry_out(struct call *call, const struct guard_action *action)
{
    switch (action->kind) {
    case GUARD_ACT_RUN:
        run(call, action);
        return;
    case GUARD_ACT_STOP:
        attempt_stop(call);
        return;
    case GUARD_ACT_ENTER:
    case GUARD_ACT_WITHDRAW:
    case GUARD_ACT_HAND_OVER:
        at_queue(call, action);
        return;
    case GUARD_ACT_TELL:
        watcher_tell(call->db->watcher, action->endpoint, action->evidence);
        return;
    case GUARD_ACT_RESOLVE:
        resolve_begin(call, action->deadline_ns);
        return;
    case GUARD_ACT_CACHE:
        look_into_cache(call);
        return;
    case GUARD_ACT_DONE:
        done(call, action);
        return;
    case GUARD_ACT_FREE:
        call->state = CALL_IS_OVER;
    }
}

/* ---- waiting for news ---- */

static bool hears_of_views(const struct call *call)
{
    return call->guard.state == GUARD_HOLDING || call->guard.state == GUARD_QUEUED;
}

static void watch(struct call *call, bool wants)
{
    struct hf_db *db = call->db;
    if (call->is_watching == wants)
        return;
    call->is_watching = wants;
    pthread_mutex_lock(&db->lock);
    if (wants)
        list_push_back(&db->watching, &call->watching);
    else
        list_remove(&call->watching);
    pthread_mutex_unlock(&db->lock);
    /* What was published between the decision to wait and now told nobody. */
    if (wants && watcher_refresh(db->watcher, &call->view->seen, &call->view->snapshot))
        call_wake(call, CALL_NEWS_VIEW);
}

static enum call_spend spend_of(const struct call *call)
{
    switch (call->phase) {
    case CALL_WORKING:
        return CALL_SPEND_SERVER;
    case CALL_CONNECTING:
    case CALL_PROVING:
    case CALL_CLEANING:
        return CALL_SPEND_CONNECTING;
    case CALL_RESOLVING:
    case CALL_RESOLVED:
        return CALL_SPEND_BACKOFF;
    case CALL_NO_ATTEMPT:
        break;
    }
    return call->guard.state == GUARD_BACKOFF ? CALL_SPEND_BACKOFF : CALL_SPEND_QUEUED;
}

/* By the guard's own time, so that it costs no look at the clock. */
static void account(struct call *call)
{
    enum call_spend spend = spend_of(call);
    if (spend == call->spending)
        return;
    call->spent_ns[call->spending] += call->guard.now_ns - call->mark_ns;
    call->mark_ns = call->guard.now_ns;
    call->spending = spend;
}

static void pursue(struct call *call)
{
    for (;;) {
        struct guard_action action;
        while (guard_next(&call->guard, &action))
            carry_out(call, &action);
        if (call->has_ended && !call->is_cancelling)
            attempt_report(call);
        else if (call->phase == CALL_RESOLVED ||
                 (call->phase == CALL_RESOLVING && call->is_answered))
            resolve_report(call);
        else
            break;
    }
    watch(call, hears_of_views(call));
    account(call);
}

/* ---- its owner ---- */

void call_start(struct call *call, struct guard *guard, const struct call_ops *ops, void *work,
                const struct guard_request *request)
{
    call->ops = ops;
    call->work = work;
    if (call->guard.guard != guard)
        guard_call_init(&call->guard, guard, &call->lane);
    int64_t now_ns = clock_now();
    call->started_ns = now_ns;
    call->mark_ns = now_ns;
    struct guard_event event = event_of(call, GUARD_EV_START, now_ns);
    event.request = request;
    guard_feed(&call->guard, &event);
    pursue(call);
}

void call_resume(struct call *call)
{
    if (call->state != CALL_IS_PARKED)
        return; /* it was ended meanwhile: its state says so */
    call->state = CALL_IS_GOING;
    call->wait = (struct call_wait){.fd = -1, .deadline_ns = HF_NEVER};
    attempt_turn(call, 0);
    pursue(call);
}

HF_COLD static void cancel(struct call *call)
{
    if (call->was_cancelled)
        return;
    call->was_cancelled = true;
    if (call->phase == CALL_WORKING)
        call_tell_facts(call);
    feed(call, GUARD_EV_CANCEL, clock_now());
}

void call_stop(struct call *call)
{
    cancel(call);
    pursue(call);
}

/* ---- its driver ---- */

void call_wants(const struct call *call, struct call_wants *wants)
{
    bool has_wait =
        call->phase != CALL_NO_ATTEMPT && call->state != CALL_IS_PARKED && !call->has_ended;
    wants->fd[0] = has_wait ? call->wait.fd : -1;
    wants->events[0] = call->wait.events;
    wants->fd[1] = call->is_cancelling ? call->cancel.fd : -1;
    wants->events[1] = call->cancel.wants;
    wants->fd[2] =
        call->user_cancel != NULL && !call->was_cancelled ? cancel_token_fd(call->user_cancel) : -1;
    wants->events[2] = POLLIN;
    wants->deadline_ns = guard_deadline(&call->guard);
    if (has_wait)
        wants->deadline_ns = ns_min(wants->deadline_ns, call->wait.deadline_ns);
    if (call->is_stopping && call->phase != CALL_NO_ATTEMPT)
        wants->deadline_ns =
            ns_min(wants->deadline_ns, ns_min(call->stop_by_ns, call->cancel_again_ns));
}

static void hear(struct call *call)
{
    uint32_t news = atomic_load_explicit(&call->news, memory_order_relaxed);
    if (news != 0) {
        news = atomic_exchange(&call->news, 0);
        int64_t now_ns = clock_now();
        if ((news & CALL_NEWS_GRANTED) != 0) {
            feed(call, GUARD_EV_GRANTED, now_ns);
            pursue(call);
        }
        if ((news & CALL_NEWS_VIEW) != 0) {
            feed(call, GUARD_EV_VIEW, now_ns);
            pursue(call);
        }
    }
    bool is_closing = (news & CALL_NEWS_CLOSING) != 0;
    bool is_fired = call->user_cancel != NULL && cancel_token_is_fired(call->user_cancel);
    if (is_closing || is_fired)
        call_stop(call);
    if (is_closing && call->is_answered) {
        attempt_cut(call); /* nobody waits for the answer, and hf_close() waits for us */
        pursue(call);
    }
}

void call_turn(struct call *call, short ready)
{
    hear(call);
    if (call->is_cancelling)
        attempt_turn_cancel(call);
    if (call->phase != CALL_NO_ATTEMPT && call->state != CALL_IS_PARKED && !call->has_ended)
        attempt_turn(call, ready);
    pursue(call);
    if (call->state == CALL_IS_DONE || call->state == CALL_IS_OVER)
        return;
    int64_t now_ns = clock_now();
    if (now_ns >= guard_deadline(&call->guard)) {
        if (call->phase == CALL_WORKING)
            call_tell_facts(call);
        feed(call, GUARD_EV_TICK, now_ns);
        pursue(call);
    }
    if (call->is_stopping && now_ns >= call->stop_by_ns) {
        attempt_cut(call);
        pursue(call);
    } else if (call->is_stopping && now_ns >= call->cancel_again_ns) {
        attempt_cancel_again(call);
    }
}

int call_answer(const struct call *call, struct hf_error *err)
{
    if (call->result == GUARD_SERVED || call->result == GUARD_SERVED_CACHED)
        return HF_SUCCESS;
    if (call->result == GUARD_FAILED && call->error.code == HF_E_USAGE) {
        if (err != NULL)
            *err = call->error; /* the caller's own mistake, seen when it was tried */
        return HF_E_USAGE;
    }
    int code = error_from_guard(err, call->result, &call->guard.reason, &call->view->snapshot,
                                &call->error);
    if (call->guard.reason.why == GUARD_WHY_CANCELLED && db_is_closing(call->db))
        code = error_set(err, HF_E_CLOSED, "the database is being closed by hf_close()");
    return code;
}
