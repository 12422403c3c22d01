/*
 * The loop over epoll: for kernels and containers without io_uring.
 *
 * Every stream is registered once, edge-triggered, for both directions, so that epoll_ctl is never
 * called again: not to stop reading, not to wait for room to write. What the edges said is kept in
 * the stream (READABLE, HUNG, BLOCKED); a paused or full stream whose peer goes on sending, or has
 * half closed, causes no event at all. Listeners and the eventfd are level-triggered.
 *
 * Reading lends a block, and gives it back when the owner has consumed everything. As the pool
 * lends last what was returned last, that is the same block, hot in the cache, for one stream after
 * the other; only what an owner leaves stays lent.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/ns.h"
#include "net/loop.h"
#include "net/loop_int.h"
#include "os/sys.h"

#define BATCH 256 /* events taken from the kernel at a time */

/* Connections accepted on one listener before others get their turn. */
#define ACCEPTS_MAX 64

/* What an event is about is told by the low bits of its data; streams are aligned. */
enum mark {
    MARK_STREAM = 0,
    MARK_LISTENER = 1, /* the slot in the bits above */
    MARK_WAKE = 2,
    MARK_TIMER = 3,
};

#define MARK_BITS 3
#define MARK_MASK ((UINT64_C(1) << MARK_BITS) - 1)

struct epoll {
    int fd;
    int timer_fd;
    uint32_t next; /* the event to look at next */
    uint32_t count;
    uint32_t accepts; /* on the listener of the event to look at next */
    struct epoll_event events[BATCH];
};

static struct epoll *epoll_of(struct loop *loop)
{
    return loop->backend_state;
}

static uint64_t mark_stream(struct stream *stream)
{
    return (uint64_t)(uintptr_t)stream | MARK_STREAM;
}

static uint64_t mark_slot(uint32_t slot)
{
    return (uint64_t)slot << MARK_BITS | MARK_LISTENER;
}

/* ---- making ---- */

static void epoll_deinit(struct loop *loop)
{
    struct epoll *epoll = epoll_of(loop);
    if (epoll->fd >= 0)
        close(epoll->fd);
    if (epoll->timer_fd >= 0)
        close(epoll->timer_fd);
    mem_free(loop->mem, epoll);
}

static enum hf_rc epoll_init(struct loop *loop, struct hf_err *err)
{
    struct epoll *epoll = mem_alloc(loop->mem, sizeof *epoll);
    if (epoll == NULL)
        return mem_refused(loop->mem, sizeof *epoll, err);
    loop->backend_state = epoll;
    epoll->fd = epoll_create1(EPOLL_CLOEXEC);
    epoll->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct epoll_event wake = {.events = EPOLLIN, .data.u64 = MARK_WAKE};
    /* By its edge, so that nobody has to read from it. */
    struct epoll_event timer = {.events = EPOLLIN | EPOLLET, .data.u64 = MARK_TIMER};
    if (epoll->fd < 0 || epoll->timer_fd < 0 ||
        epoll_ctl(epoll->fd, EPOLL_CTL_ADD, loop->wake_fd, &wake) != 0 ||
        epoll_ctl(epoll->fd, EPOLL_CTL_ADD, epoll->timer_fd, &timer) != 0) {
        enum hf_rc rc = sys_fail(err, errno, "could not make an epoll set");
        epoll_deinit(loop);
        return rc;
    }
    return HF_OK;
}

/* ---- streams ---- */

static int epoll_watch(struct loop *loop, struct stream *stream)
{
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
        .data.u64 = mark_stream(stream),
    };
    return epoll_ctl(epoll_of(loop)->fd, EPOLL_CTL_ADD, stream->fd, &event) == 0 ? 0 : errno;
}

static void epoll_send(struct loop *loop, struct stream *stream)
{
    struct buffer *buffer = &stream->sending->buffer;
    while (buffer_held(buffer) > 0) {
        if (stream->flags & STREAM_BLOCKED)
            return;
        struct sv bytes = buffer_view(buffer);
        ssize_t count = send(stream->fd, bytes.data, bytes.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count >= 0) {
            buffer_consume(buffer, (size_t)count);
        } else if (errno == EAGAIN) {
            stream->flags |= STREAM_BLOCKED;
        } else if (errno != EINTR) {
            stream_on_sent(loop, stream, -errno);
            return;
        }
    }
    stream_on_sent(loop, stream, 0);
}

static void set_readable(struct stream *stream, bool is_readable)
{
    uint32_t flags = STREAM_READABLE | STREAM_STALLED;
    stream->flags = is_readable ? stream->flags | flags : stream->flags & ~flags;
}

/* During a pause nothing is read, but a peer that has gone and left nothing behind is told of. */
static void look_for_end(struct loop *loop, struct stream *stream)
{
    char byte;
    ssize_t count = recv(stream->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (count <= 0 && (count == 0 || errno != EAGAIN))
        stream_on_end(loop, stream, count == 0 ? 0 : errno);
}

static void epoll_receive(struct loop *loop, struct stream *stream)
{
    if (stream_is_stuck(stream))
        stream_on_end(loop, stream, stream->error);
    if (!(stream->flags & STREAM_READABLE))
        return;
    if (!stream_wants_bytes(stream)) {
        if ((stream->flags & STREAM_PAUSED) && (stream->flags & STREAM_HUNG) &&
            !stream_holds_bytes(stream))
            look_for_end(loop, stream);
        return;
    }
    struct loop_block *block = stream_landing(loop, stream);
    if (block == NULL)
        return;
    size_t room = block->buffer.size - block->buffer.end;
    ssize_t count = recv(stream->fd, block->buffer.block + block->buffer.end, room, MSG_DONTWAIT);
    int error = errno;
    stream_on_landed(loop, stream, count > 0 ? (size_t)count : 0);
    if (count > 0) {
        /* Less than there was room for: that was all, and what comes later causes another edge.
         * But the end may be there already, with its edge behind us. */
        if ((size_t)count < room && !(stream->flags & STREAM_HUNG))
            set_readable(stream, false);
        else
            loop_mark_dirty(loop, stream);
    } else if (count == 0 || error != EINTR) {
        set_readable(stream, false);
        if (count == 0 || error != EAGAIN)
            stream_on_end(loop, stream, count == 0 ? 0 : error);
    } else {
        loop_mark_dirty(loop, stream);
    }
}

static void epoll_forget(struct loop *loop, struct stream *stream)
{
    struct epoll *epoll = epoll_of(loop);
    /* A stream that closes is forgotten by the kernel with its last descriptor. */
    if (stream->state == STREAM_LEAVING)
        (void)epoll_ctl(epoll->fd, EPOLL_CTL_DEL, stream->fd, NULL);
    stream->flags &= ~(uint32_t)(STREAM_READABLE | STREAM_STALLED | STREAM_HUNG | STREAM_BLOCKED);
    for (uint32_t i = epoll->next; i < epoll->count; i++) {
        if (epoll->events[i].data.u64 == mark_stream(stream))
            epoll->events[i].events = 0;
    }
}

/* ---- listeners ---- */

static enum hf_rc epoll_listen(struct loop *loop, uint32_t slot, struct hf_err *err)
{
    /* Exclusive: where several loops listen on one socket, a connection wakes one of them. */
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLEXCLUSIVE,
        .data.u64 = mark_slot(slot),
    };
    if (epoll_ctl(epoll_of(loop)->fd, EPOLL_CTL_ADD, loop->slots[slot].fd, &event) != 0)
        return sys_fail(err, errno, "could not watch a listening socket");
    loop->slots[slot].is_armed = true;
    return HF_OK;
}

static void epoll_unlisten(struct loop *loop, uint32_t slot)
{
    (void)epoll_ctl(epoll_of(loop)->fd, EPOLL_CTL_DEL, loop->slots[slot].fd, NULL);
    loop->slots[slot].is_armed = false;
}

static bool is_passing(int error)
{
    return error == EINTR || error == ECONNABORTED || error == EPROTO || error == EPERM ||
           error == ENETDOWN || error == EHOSTDOWN || error == EHOSTUNREACH ||
           error == ENETUNREACH || error == ENOPROTOOPT || error == EOPNOTSUPP || error == ENONET;
}

/* One connection in each step, and the same event again until there is no more. */
static enum loop_step step_accept(struct loop *loop, uint32_t slot, struct loop_event *event)
{
    struct epoll *epoll = epoll_of(loop);
    int fd = -1;
    int error = EAGAIN;
    if (loop->slots[slot].is_armed && epoll->accepts < ACCEPTS_MAX) {
        fd = accept4(loop->slots[slot].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        error = errno;
    }
    epoll->accepts++;
    if (fd >= 0)
        return loop_on_accepted(loop, slot, fd, event) ? LOOP_STEP_EVENT : LOOP_STEP_DONE;
    if (is_passing(error)) /* of one connection; the next may be whole */
        return LOOP_STEP_DONE;
    epoll->next++;
    epoll->accepts = 0;
    if (error != EAGAIN) {
        epoll_unlisten(loop, slot);
        loop_hold_off(loop, slot);
    }
    return LOOP_STEP_DONE;
}

/* ---- the turn ---- */

static void epoll_set_timer(struct loop *loop, int64_t at_ns)
{
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(at_ns / HF_SEC(1)), .tv_nsec = (long)(at_ns % HF_SEC(1))}};
    int rc = timerfd_settime(epoll_of(loop)->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    hf_assert(rc == 0);
}

static enum hf_rc epoll_await(struct loop *loop, bool may_wait, struct hf_err *err)
{
    struct epoll *epoll = epoll_of(loop);
    if (epoll->next < epoll->count) /* an edge comes once: none may be lost */
        return HF_OK;
    epoll->next = 0;
    epoll->count = 0;
    int count = epoll_wait(epoll->fd, epoll->events, BATCH, may_wait ? -1 : 0);
    if (count < 0 && errno != EINTR)
        return sys_fail(err, errno, "could not wait for sockets");
    epoll->count = count < 0 ? 0 : (uint32_t)count;
    return HF_OK;
}

static void on_connecting(struct loop *loop, struct stream *stream, uint32_t events)
{
    if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
        return;
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    stream_on_connected(loop, stream, error);
}

static void step_stream(struct loop *loop, struct stream *stream, uint32_t events)
{
    if (stream->state == STREAM_CONNECTING)
        on_connecting(loop, stream, events);
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        set_readable(stream, true);
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        stream->flags |= STREAM_HUNG;
    if ((events & (EPOLLOUT | EPOLLERR)) && (stream->flags & STREAM_BLOCKED)) {
        stream->flags &= ~(uint32_t)STREAM_BLOCKED;
        if (stream->sending != NULL)
            epoll_send(loop, stream);
    }
    epoll_receive(loop, stream);
}

static enum loop_step epoll_step(struct loop *loop, struct loop_event *event)
{
    struct epoll *epoll = epoll_of(loop);
    if (epoll->next == epoll->count)
        return LOOP_STEP_IDLE;
    struct epoll_event *next = &epoll->events[epoll->next];
    uint64_t data = next->data.u64;
    if ((data & MARK_MASK) == MARK_LISTENER)
        return step_accept(loop, (uint32_t)(data >> MARK_BITS), event);
    epoll->next++;
    if (data == MARK_WAKE)
        loop_on_wake(loop);
    else if (data == MARK_TIMER)
        loop_on_timer(loop);
    else if (next->events != 0)
        step_stream(loop, (struct stream *)(uintptr_t)data, next->events);
    return LOOP_STEP_DONE;
}

static void epoll_recycle(struct loop *loop, struct loop_block *block)
{
    (void)loop;
    (void)block;
    hf_assert(false); /* epoll provides no buffers */
}

const struct loop_backend *loop_epoll(void)
{
    static const struct loop_backend backend = {
        .io = LOOP_IO_EPOLL,
        .init = epoll_init,
        .deinit = epoll_deinit,
        .wait = epoll_await,
        .set_timer = epoll_set_timer,
        .step = epoll_step,
        .listen = epoll_listen,
        .unlisten = epoll_unlisten,
        .watch = epoll_watch,
        .send = epoll_send,
        .receive = epoll_receive,
        .forget = epoll_forget,
        .recycle = epoll_recycle,
    };
    return &backend;
}
