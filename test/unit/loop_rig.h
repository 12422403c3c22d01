/*
 * A loop with a listener, one accepted stream that does as it is told, and a raw socket at its
 * other end: for the tests of loop and stream. Everything runs in the test's own thread: rig_turn()
 * is one turn of the loop, in between the raw socket is used without blocking.
 *
 * Each case runs over both backends: BOTH(case) in the list of cases.
 */
#ifndef HF_TEST_UNIT_LOOP_RIG_H
#define HF_TEST_UNIT_LOOP_RIG_H

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ns.h"
#include "base/rng.h"
#include "net/loop.h"
#include "net/loop_int.h"
#include "os/clock.h"

/* What a stream does with what it receives. */
enum manner {
    ECHO,  /* sends it back */
    SINK,  /* consumes and counts it */
    HOARD, /* leaves it in the view */
};

struct actor {
    struct stream stream; /* first: an actor's stream is the actor */
    enum manner manner;
    bool closes_at_end; /* answers LOOP_ENDED with a close after sending */
    int connected;
    int received;
    int drained;
    int ended;
    int error; /* of LOOP_ENDED */
    int left;
    int fd; /* of LOOP_LEFT */
    int gone;
    uint64_t bytes; /* consumed */
    uint64_t sum;   /* of the bytes consumed, with their place: see fold() */
};

struct rig {
    struct mem mem;
    struct loop *loop;
    struct listener listener;
    struct actor *next; /* becomes the next stream that is accepted; NULL: the fd is kept */
    int accepted_fd;
    int accepted;
    int posted;
    uint32_t turns;
    struct loop_message *last_message;
    void (*on_posted)(struct rig *rig, struct loop_message *message);
};

/* A sum that notices bytes that are missing, doubled or in another order. */
static inline uint64_t fold(uint64_t sum, struct sv bytes)
{
    for (size_t i = 0; i < bytes.size; i++)
        sum = (sum ^ (uint8_t)bytes.data[i]) * UINT64_C(0x100000001b3);
    return sum;
}

/* A stream of bytes that never repeats for long: byte `at` of it. */
static inline char pattern(uint64_t at)
{
    return (char)(rng_mix(at / 8 + 1) >> (at % 8 * 8));
}

static inline void actor_serve(struct rig *rig, struct actor *actor)
{
    struct sv view = stream_view(&actor->stream);
    size_t done = view.size;
    if (actor->manner == ECHO)
        done = stream_send(rig->loop, &actor->stream, view);
    if (actor->manner == HOARD)
        return;
    actor->sum = fold(actor->sum, sv_take(view, done));
    actor->bytes += done;
    stream_consume(rig->loop, &actor->stream, done);
    if (actor->ended > 0 && actor->closes_at_end && stream_view(&actor->stream).size == 0)
        stream_close(rig->loop, &actor->stream, true);
}

static inline void rig_on_event(struct rig *rig, const struct loop_event *event)
{
    struct actor *actor = (struct actor *)(void *)event->stream;
    switch (event->kind) {
    case LOOP_ACCEPTED:
        rig->accepted++;
        rig->accepted_fd = event->fd;
        if (rig->next != NULL)
            stream_start(rig->loop, &rig->next->stream, event->fd, 7);
        rig->next = NULL;
        break;
    case LOOP_CONNECTED:
        actor->connected++;
        break;
    case LOOP_RECEIVED:
        assert_true(stream_view(event->stream).size > 0);
        actor->received++;
        actor_serve(rig, actor);
        break;
    case LOOP_DRAINED:
        actor->drained++;
        actor_serve(rig, actor);
        break;
    case LOOP_ENDED:
        actor->ended++;
        actor->error = event->error;
        /* What is still to be echoed is, before the end. */
        if (actor->closes_at_end && (actor->manner != ECHO || stream_view(event->stream).size == 0))
            stream_close(rig->loop, event->stream, true);
        break;
    case LOOP_LEFT:
        actor->left++;
        actor->fd = event->fd;
        break;
    case LOOP_GONE:
        actor->gone++;
        break;
    case LOOP_POSTED:
        rig->posted++;
        rig->last_message = event->message;
        if (rig->on_posted != NULL)
            rig->on_posted(rig, event->message);
        break;
    case LOOP_SECURED:
        break;
    }
}

/* One turn that waits for `wait_ns` at most. */
static inline void rig_turn(struct rig *rig, int64_t wait_ns)
{
    struct hf_err err;
    struct loop_event event;
    rig->turns++;
    assert_int_equal(loop_wait(rig->loop, clock_now() + wait_ns, &err), HF_OK);
    while (loop_next(rig->loop, &event))
        rig_on_event(rig, &event);
}

/* Turns until the condition holds; half a minute at most, on a machine with other work. */
#define rig_until(rig, condition)                                                                  \
    do {                                                                                           \
        int64_t limit_ns = clock_now() + HF_SEC(30);                                               \
        while (!(condition) && clock_now() < limit_ns)                                             \
            rig_turn(rig, HF_MS(50));                                                              \
        assert_true(condition);                                                                    \
    } while (0)

/* Turns for so long, whatever happens: to see that something does not. */
static inline void rig_idle(struct rig *rig, int64_t time_ns)
{
    int64_t end_ns = clock_now() + time_ns;
    for (int64_t now_ns = clock_now(); now_ns < end_ns; now_ns = clock_now())
        rig_turn(rig, end_ns - now_ns);
}

static inline void rig_set_buffers(int fd, int size)
{
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
}

/* A raw socket, connected to the rig's listener, that does not block. */
static inline int rig_dial(struct rig *rig)
{
    const struct address *address = &rig->listener.address;
    int fd = socket(address_family(address), SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (!address_is_unix(address))
        rig_set_buffers(fd, 65536);
    assert_int_equal(connect(fd, address_sockaddr(address), address->size), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

/* The same, with the actor at the other end. */
static inline int rig_meet(struct rig *rig, struct actor *actor, enum manner manner)
{
    *actor = (struct actor){.manner = manner, .closes_at_end = true};
    rig->next = actor;
    int accepted = rig->accepted;
    int fd = rig_dial(rig);
    rig_until(rig, rig->accepted > accepted);
    return fd;
}

/* Closes an actor's stream at once and waits until it is gone. */
static inline void rig_part(struct rig *rig, struct actor *actor)
{
    stream_close(rig->loop, &actor->stream, false);
    rig_until(rig, actor->gone == 1);
}

static inline void rig_open(struct rig *rig, enum loop_io io, uint32_t blocks)
{
    struct hf_err err;
    struct address address;
    struct loop_config config = {.io = io, .blocks = blocks};
    *rig = (struct rig){.accepted_fd = -1};
    mem_init(&rig->mem, 0);
    enum hf_rc rc = loop_new(&rig->loop, &config, &rig->mem, &err);
    if (rc != HF_OK && io == LOOP_IO_URING) {
        print_message("no io_uring here: %s\n", err.message);
        skip();
    }
    assert_int_equal(rc, HF_OK);
    assert_true(address_literal(&address, SV("127.0.0.1"), 0));
    assert_int_equal(listener_open(&rig->listener, &address, false, &err), HF_OK);
    rig_set_buffers(rig->listener.fd, 65536);
    assert_int_equal(loop_listen(rig->loop, &rig->listener, &err), HF_OK);
}

static inline void rig_close(struct rig *rig)
{
    loop_unlisten(rig->loop, &rig->listener);
    listener_close(&rig->listener);
    assert_int_equal(rig->loop->pool.lent, 0);
    loop_free(rig->loop);
    mem_deinit(&rig->mem);
}

/* Writes a part of the pattern, as much as goes; returns how much that was. */
static inline size_t raw_write(int fd, uint64_t at, size_t size)
{
    char bytes[32768];
    if (size > sizeof bytes)
        size = sizeof bytes;
    for (size_t i = 0; i < size; i++)
        bytes[i] = pattern(at + i);
    ssize_t count = send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    return count < 0 ? 0 : (size_t)count;
}

/* Reads what is there and compares it with the pattern; returns how much that was. */
static inline size_t raw_read(int fd, uint64_t at)
{
    char bytes[32768];
    ssize_t count = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    for (ssize_t i = 0; i < count; i++) {
        if (bytes[i] != pattern(at + (uint64_t)i))
            fail_msg("byte %llu is not what was sent", (unsigned long long)(at + (uint64_t)i));
    }
    return count < 0 ? 0 : (size_t)count;
}

/* The raw socket is at its end: 0, an errno, or -1 if there is more. */
static inline int raw_end(int fd)
{
    char byte;
    ssize_t count = recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    if (count > 0 || (count < 0 && errno == EAGAIN))
        return -1;
    return count == 0 ? 0 : errno;
}

/* Sends `total` bytes of the pattern through an echoing actor and reads them back. */
static inline void echo_through(struct rig *rig, int fd, uint64_t total)
{
    uint64_t sent = 0;
    uint64_t got = 0;
    int64_t limit_ns = clock_now() + HF_SEC(50);
    while (got < total && clock_now() < limit_ns) {
        sent += raw_write(fd, sent, total - sent < 100000 ? total - sent : 100000);
        rig_turn(rig, 0);
        for (size_t count = raw_read(fd, got); count > 0; count = raw_read(fd, got))
            got += count;
    }
    assert_int_equal(got, total);
}

static const enum loop_io rig_uring = LOOP_IO_URING;
static const enum loop_io rig_epoll = LOOP_IO_EPOLL;

static inline enum loop_io rig_io(void **state)
{
    return *(const enum loop_io *)*state;
}

#define BOTH(case)                                                                                 \
    {#case " (io_uring)", case, NULL, NULL, (void *)(uintptr_t)&rig_uring},                        \
    {                                                                                              \
#case " (epoll)", case, NULL, NULL, (void *)(uintptr_t)&rig_epoll                          \
    }

#endif
