#include "client/call_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/container_of.h"
#include "base/ns.h"
#include "client/db.h"
#include "os/clock.h"
#include "os/sys.h"

/* ---- life ---- */

static bool watch_own(struct loop *loop, int fd, void *which)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = which};
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

enum hf_rc loop_init(struct loop *loop, struct hf_db *db, struct hf_err *err)
{
    *loop = (struct loop){.db = db};
    list_init(&loop->calls);
    timerq_init(&loop->timers);
    call_view_init(&loop->view);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->epoll_fd >= 0 && loop->wake_fd >= 0 && watch_own(loop, loop->wake_fd, &loop->wake_fd))
        return HF_OK;
    int why = errno;
    loop_forget(loop);
    return sys_fail(err, why, "could not make an event loop");
}

void loop_forget(struct loop *loop)
{
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    loop->epoll_fd = -1;
    loop->wake_fd = -1;
}

void loop_deinit(struct loop *loop)
{
    hf_assert(loop->count == 0);
    db_fence(loop->db);
    loop_forget(loop);
}

/* ---- what a call waits for, as the kernel is told ---- */

/* What the kernel said of it in this turn is void: the call may be another thread's before its
 * turn comes, or the watch another file's. */
static void forget_events(struct loop *loop, const struct call_watch *watch)
{
    for (int i = loop->event_at; i < loop->event_count; i++)
        if (loop->events[i].data.ptr == watch)
            loop->events[i].data.ptr = NULL;
}

static void unwatch(struct loop *loop, struct call_watch *watch, bool is_copy)
{
    if (watch->fd < 0)
        return;
    forget_events(loop, watch);
    /* libpq may have closed it by itself; then the kernel has forgotten it. */
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    if (is_copy)
        close(watch->fd);
    watch->fd = -1;
}

static void watch(struct loop *loop, struct call *call, struct call_watch *watch, int fd,
                  short events)
{
    struct epoll_event event = {
        .events =
            ((events & POLLIN) != 0 ? EPOLLIN : 0U) | ((events & POLLOUT) != 0 ? EPOLLOUT : 0U),
        .data.ptr = watch,
    };
    int how = watch->fd == fd ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    watch->call = call;
    watch->fd = fd;
    watch->events = events;
    epoll_ctl(loop->epoll_fd, how, fd, &event);
}

void loop_watch(struct loop *loop, struct loop_extra *extra, int fd, short events)
{
    loop_unwatch(loop, extra);
    watch(loop, NULL, &extra->watch, fd, events);
}

void loop_unwatch(struct loop *loop, struct loop_extra *extra)
{
    if (extra->watch.events != 0)
        unwatch(loop, &extra->watch, false);
    extra->watch.events = 0;
}

/* The caller's hf_cancel may be that of many calls, and an epoll takes a file once under each
 * number: so each call has a number of its own for it. */
static int copy_of(int fd)
{
    return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static void update(struct loop *loop, struct call *call)
{
    struct call_wants wants;
    call_wants(call, &wants);
    if (call->watched_serial != call->wait_serial || call->watches[0].fd != wants.fd[0])
        unwatch(loop, &call->watches[0], false);
    call->watched_serial = call->wait_serial;
    if (wants.fd[0] >= 0 && (call->watches[0].fd < 0 || call->watches[0].events != wants.events[0]))
        watch(loop, call, &call->watches[0], wants.fd[0], wants.events[0]);

    if (call->watches[1].fd != wants.fd[1])
        unwatch(loop, &call->watches[1], false);
    if (wants.fd[1] >= 0 && (call->watches[1].fd < 0 || call->watches[1].events != wants.events[1]))
        watch(loop, call, &call->watches[1], wants.fd[1], wants.events[1]);

    if (wants.fd[2] < 0)
        unwatch(loop, &call->watches[2], true);
    else if (call->watches[2].fd < 0)
        watch(loop, call, &call->watches[2], copy_of(wants.fd[2]), wants.events[2]);

    if (!timerq_is_linked(&call->timer))
        timerq_add(&loop->timers, &call->timer, wants.deadline_ns);
    else if (call->timer.at_ns != wants.deadline_ns)
        timerq_move(&loop->timers, &call->timer, wants.deadline_ns);
}

void loop_has_gone(struct call *call, int which)
{
    forget_events(call->loop, &call->watches[which]);
    call->watches[which].fd = -1; /* with the file the kernel has forgotten the registration */
}

void loop_let_go(struct call *call, int which)
{
    if (call->loop != NULL)
        unwatch(call->loop, &call->watches[which], false);
}

/* ---- calls ---- */

void loop_own(struct loop *loop, struct call *call)
{
    call->loop = loop;
    call->view = &loop->view;
    for (int i = 0; i < 3; i++)
        call->watches[i].fd = -1;
    atomic_store(&call->wake_at, loop->wake_fd);
}

void loop_touch(struct loop *loop, struct call *call)
{
    update(loop, call);
    if (call->state != CALL_IS_GOING)
        loop->turned(loop, call);
}

void loop_add(struct loop *loop, struct call *call)
{
    if (call->loop != loop)
        loop_own(loop, call);
    list_push_back(&loop->calls, &call->link);
    ++loop->count;
    call_turn(call, 0); /* news that came while nobody drove it */
    loop_touch(loop, call);
}

void loop_remove(struct loop *loop, struct call *call)
{
    hf_assert(call->loop == loop);
    unwatch(loop, &call->watches[0], false);
    unwatch(loop, &call->watches[1], false);
    unwatch(loop, &call->watches[2], true);
    if (timerq_is_linked(&call->timer))
        timerq_remove(&loop->timers, &call->timer);
    list_remove(&call->link);
    --loop->count;
    call->loop = NULL;
    /* hf_close() wakes all calls there are: not by a number that is another file's by then. */
    atomic_store_explicit(&call->wake_at, call->wake_fd, memory_order_release);
}

/* ---- turning ---- */

int64_t loop_deadline(const struct loop *loop)
{
    return timerq_deadline(&loop->timers);
}

static void turn_call(struct loop *loop, struct call *call, short ready)
{
    call_turn(call, ready);
    loop_touch(loop, call);
}

/* Whoever has news for a call wrote the descriptor after it. */
static void turn_woken(struct loop *loop)
{
    eventfd_t count;
    eventfd_read(loop->wake_fd, &count);
    list_for_each(node, &loop->calls) {
        struct call *call = container_of(node, struct call, link);
        if (atomic_load_explicit(&call->news, memory_order_relaxed) != 0)
            turn_call(loop, call, 0);
    }
}

static short poll_events(uint32_t events)
{
    return (
        short)(((events & EPOLLIN) != 0 ? POLLIN : 0) | ((events & EPOLLOUT) != 0 ? POLLOUT : 0) |
               ((events & EPOLLERR) != 0 ? POLLERR : 0) | ((events & EPOLLHUP) != 0 ? POLLHUP : 0));
}

static void turn_event(struct loop *loop, const struct epoll_event *event)
{
    if (event->data.ptr == &loop->wake_fd) {
        turn_woken(loop);
        return;
    }
    struct call_watch *watch = event->data.ptr;
    if (watch == NULL)
        return;
    if (watch->call == NULL) {
        struct loop_extra *extra = container_of(watch, struct loop_extra, watch);
        extra->ready(loop, extra);
        return;
    }
    bool is_first = watch == &watch->call->watches[0];
    turn_call(loop, watch->call, is_first ? poll_events(event->events) : 0);
}

static int timeout_until(int64_t until_ns)
{
    if (until_ns == HF_NEVER)
        return -1;
    int64_t left_ns = until_ns - clock_now();
    if (left_ns <= 0)
        return 0;
    return (int)ns_min((left_ns + HF_MS(1) - 1) / HF_MS(1), 60000);
}

void loop_turn(struct loop *loop, int64_t until_ns)
{
    int64_t wait_ns = until_ns == 0 ? 0 : ns_min(until_ns, loop_deadline(loop));
    loop->event_at = 0;
    loop->event_count =
        epoll_wait(loop->epoll_fd, loop->events, LOOP_EVENTS_AT_ONCE, timeout_until(wait_ns));
    while (loop->event_at < loop->event_count)
        turn_event(loop, &loop->events[loop->event_at++]);
    struct timer *timer;
    int64_t now_ns = clock_now();
    while ((timer = timerq_pop_due(&loop->timers, now_ns)) != NULL)
        turn_call(loop, container_of(timer, struct call, timer), 0);
}
