/*
 * What loop.c, stream.c and the two backends share; nobody outside of src/net includes it.
 *
 * The seam. A backend is a table of functions over a loop. It moves bytes between sockets and
 * blocks and reports what became of them through the stream_on_... calls below; what a stream is
 * told, and when, is decided in stream.c alone, so both backends behave the same.
 *
 *     loop.c      the turn, the lists, posts                 knows no bytes
 *     stream.c    the life of a stream, what its owner sees   knows no system call for bytes
 *     loop_*.c    system calls                                know no owner
 *
 * Three lists hold streams, each by its own mark in stream->flags: the dirty ones are looked at
 * when the turn ends (stream_flush), those with news are told about by loop_next(), the starved
 * ones wait for a block to be given back. The starved list uses the link of the dirty list, so a
 * stream is in one of the two at most.
 */
#ifndef HF_NET_LOOP_INT_H
#define HF_NET_LOOP_INT_H

#include <stdatomic.h>

#include "base/bufpool.h"
#include "net/loop.h"

#define LOOP_LISTENERS_MAX 64
#define LOOP_REASON_SIZE   256

/* A block of bytes, lent from the loop's pool, or one that the kernel fills (io_uring). */
struct loop_block {
    struct buffer buffer;
    struct loop_block *next; /* of the same stream: received, and not yet part of its view */
    uint32_t landing;        /* where in the buffer the kernel is writing, while it does */
    uint16_t id;             /* a provided buffer's number */
    bool is_provided;        /* goes back to the kernel, not to the pool */
};

#define LOOP_BLOCK_HEAD 64 /* a cache line for the struct, so that the bytes start on one */

_Static_assert(sizeof(struct loop_block) <= LOOP_BLOCK_HEAD, "the head of a block is one line");

enum stream_state {
    STREAM_NONE, /* not the loop's */
    STREAM_CONNECTING,
    STREAM_OPEN,
    STREAM_LEAVING,
    STREAM_CLOSING,
};

enum stream_flag {
    STREAM_DIRTY = 1 << 0,   /* in the dirty list */
    STREAM_NEWS = 1 << 1,    /* in the list of news */
    STREAM_STARVED = 1 << 2, /* in the starved list */

    STREAM_PAUSED = 1 << 3,
    STREAM_SHORT = 1 << 4,      /* a put was short: LOOP_DRAINED is owed */
    STREAM_FRESH = 1 << 5,      /* the view holds bytes that LOOP_RECEIVED has not told of */
    STREAM_ENDED = 1 << 6,      /* nothing more will be received: LOOP_ENDED is owed, or was told */
    STREAM_TOLD_END = 1 << 7,   /* it was told */
    STREAM_BROKEN = 1 << 8,     /* sending has failed: what is put is dropped */
    STREAM_LINGERS = 1 << 9,    /* closing: what was put is sent first */
    STREAM_NEW = 1 << 10,       /* LOOP_CONNECTED is owed */
    STREAM_GONE = 1 << 11,      /* LOOP_GONE is owed */
    STREAM_LEFT = 1 << 12,      /* LOOP_LEFT is owed */
    STREAM_FORGOTTEN = 1 << 13, /* leaving or closing: the backend was told to stop */
    STREAM_STALLED = 1 << 14,   /* receiving is to be looked at when view or pause change */
    STREAM_RECHECK = 1 << 15,   /* the connection is known to have failed: receiving must see it */

    STREAM_SECURED = 1 << 16,   /* TLS: LOOP_SECURED is owed */
    STREAM_CLEAR_OUT = 1 << 17, /* TLS: stream->out is from before it: it goes as it is */
    STREAM_SAID_BYE = 1 << 18,  /* TLS: close_notify was put */

    STREAM_RECEIVING = 1 << 19,  /* io_uring: a receive is under way in the kernel */
    STREAM_MULTISHOT = 1 << 20,  /* io_uring: ... into the kernel's own choice of buffers */
    STREAM_CANCELLING = 1 << 21, /* io_uring: ... and was told to stop */
    STREAM_DIRECT = 1 << 22,     /* io_uring: the next receive goes into a lent block */
    STREAM_SENDS = 1 << 23,      /* io_uring: a send was asked for */
    STREAM_FELL_SHORT = 1 << 24, /* io_uring: ... and its report says that it did not send all */
    STREAM_POLLS = 1 << 25,      /* io_uring: room for sending is watched for */
    STREAM_DIALS = 1 << 26,      /* io_uring: the end of connecting is watched for */

    STREAM_READABLE = 1 << 27, /* epoll: the socket may hold more */
    STREAM_HUNG = 1 << 28,     /* epoll: the end is behind what the socket holds */
    STREAM_BLOCKED = 1 << 29,  /* epoll: the socket takes no more until it says so */
};

struct stream_list {
    struct stream *head;
    struct stream *tail;
};

/* What is listened on, by number: what the kernel reports late for a listener that was removed
 * finds an empty place, never freed memory. */
struct listener_slot {
    struct listener *listener; /* borrowed; NULL: removed, or never used */
    int fd;
    bool is_armed;    /* the kernel knows of it */
    bool is_held_off; /* accepting failed for want of descriptors or memory: later again */
    bool is_retired;  /* only what is on its way is still told */
};

/* What one step of a backend came to. */
enum loop_step {
    LOOP_STEP_IDLE,  /* nothing more in this turn */
    LOOP_STEP_DONE,  /* something was seen to; the owner hears of it through the news, if at all */
    LOOP_STEP_EVENT, /* the event is filled */
};

struct loop_backend {
    enum loop_io io;
    /* Makes loop->backend_state, or says why it cannot. */
    enum hf_rc (*init)(struct loop *loop, struct hf_err *err);
    void (*deinit)(struct loop *loop);
    /* Hands over what was prepared; if it may wait, until something happens, be it the timer. */
    enum hf_rc (*wait)(struct loop *loop, bool may_wait, struct hf_err *err);
    /* Sets the one timer, earlier than it was set; when it fires, loop_on_timer(). */
    void (*set_timer)(struct loop *loop, int64_t at_ns);
    enum loop_step (*step)(struct loop *loop, struct loop_event *event);
    enum hf_rc (*listen)(struct loop *loop, uint32_t slot, struct hf_err *err);
    void (*unlisten)(struct loop *loop, uint32_t slot);
    /* Watches a new stream; returns 0 or an errno. In state CONNECTING it reports that connecting
     * has ended by stream_on_connected(). */
    int (*watch)(struct loop *loop, struct stream *stream);
    /* Sends stream->sending, and reports by stream_on_sent(), at once or later. */
    void (*send)(struct loop *loop, struct stream *stream);
    /* Sees to it that bytes are received if stream_wants_bytes(), and else not. */
    void (*receive)(struct loop *loop, struct stream *stream);
    /* Stops all that is under way in the kernel; stream->tokens is 0 when it has. */
    void (*forget)(struct loop *loop, struct stream *stream);
    /* Takes a provided buffer back. */
    void (*recycle)(struct loop *loop, struct loop_block *block);
};

struct loop {
    const struct loop_backend *backend;
    void *backend_state; /* owned by the backend */
    struct mem *mem;
    struct bufpool pool;
    void *pool_memory;
    int64_t now_ns;
    int64_t timer_ns; /* when the backend's timer fires; HF_NEVER: it is not set */
    struct stream_list dirty;
    struct stream_list news;
    struct stream_list starved;
    bool has_returned; /* a block, since the starved ones were looked at last */
    uint32_t reserve;  /* blocks that are for sending only */
    uint32_t streams;  /* that were started and are not gone */
    uint32_t held_off; /* listeners that wait for accept_again_ns */
    int64_t accept_again_ns;
    int wake_fd;
    struct loop_message *taken;            /* in the order in which they were posted */
    _Atomic(struct loop_message *) posted; /* newest first */
    struct listener_slot slots[LOOP_LISTENERS_MAX];
    char reason[LOOP_REASON_SIZE];
};

const struct loop_backend *loop_uring(void);
const struct loop_backend *loop_epoll(void);

/* ---- lists ---- */

void loop_mark_dirty(struct loop *loop, struct stream *stream);
void loop_mark_news(struct loop *loop, struct stream *stream);
/* It wants a block and there is none: it is looked at again when one was given back. */
void loop_mark_starved(struct loop *loop, struct stream *stream);

/* ---- blocks ---- */

/* What a block is wanted for. The last eighth of them is kept for sending: else a loop whose blocks
 * are all full of what was received had none left to send it in, and stood still for ever. */
enum loop_use {
    LOOP_FOR_RECEIVING,
    LOOP_FOR_SENDING,
};

bool loop_can_lend(const struct loop *loop, enum loop_use use);
/* An empty block of LOOP_BLOCK_SIZE, or NULL. */
struct loop_block *loop_lend(struct loop *loop, enum loop_use use);
/* Takes back a block of either sort. */
void loop_return(struct loop *loop, struct loop_block *block);

/* ---- posts and listeners, for the backends ---- */

/* The wake descriptor is readable: what was posted will be told. */
void loop_on_wake(struct loop *loop);
/* The timer has fired: it is not set any more. */
void loop_on_timer(struct loop *loop);
/* A connection was accepted. True: `event` is filled; false: the listener was removed meanwhile,
 * and the connection is closed. */
bool loop_on_accepted(struct loop *loop, uint32_t slot, int fd, struct loop_event *event);
/* Accepting failed for want of something: the listener, which is not armed, is armed again later.
 */
void loop_hold_off(struct loop *loop, uint32_t slot);

/* ---- streams, for loop.c ---- */

/* Looks after a dirty stream when the turn ends. */
void stream_flush(struct loop *loop, struct stream *stream);
/* Fills the event with one thing that the stream's owner has to know; false: there is none. */
bool stream_tell(struct loop *loop, struct stream *stream, struct loop_event *event);

/* ---- streams, between stream.c and stream_tls.c ---- */

/* Decrypts what was received, into the view. */
void stream_decrypt(struct loop *loop, struct stream *stream);
/* Fills stream->sending, if there is something to say. */
void stream_encrypt(struct loop *loop, struct stream *stream);
/* The connection has ended: in the middle of a handshake, that is a failure. */
void stream_cut_tls(struct stream *stream);
/* Something was received that is not part of the view yet, be it for want of room. */
bool stream_has_cipher(const struct stream *stream);
/* Gives what was put to the backend, if that has nothing of this stream. */
void stream_kick(struct loop *loop, struct stream *stream);
/* The kernel is writing into the block of stream_landing(), which has to stay where it is. */
bool stream_is_landing(const struct stream *stream);

/* ---- streams, for the backends ---- */

/* Bytes are held that were received, told of or not. */
bool stream_holds_bytes(const struct stream *stream);

/* May bytes be received now? */
bool stream_wants_bytes(const struct stream *stream);
/* Sending has failed, and receiving, which would tell of the end, does not go on: the backend tells
 * by stream_on_end(). */
bool stream_is_stuck(const struct stream *stream);
/* A block with room for bytes behind those of the view, which it becomes part of (only between
 * turns: it may move the view); NULL: starved. */
struct loop_block *stream_landing(struct loop *loop, struct stream *stream);
/* The kernel has put `size` bytes into the block of stream_landing(). */
void stream_on_landed(struct loop *loop, struct stream *stream, size_t size);
/* The kernel has handed over a provided buffer full of news. */
void stream_on_provided(struct loop *loop, struct stream *stream, struct loop_block *block);
/* Nothing more comes: 0, or an errno. */
void stream_on_end(struct loop *loop, struct stream *stream, int error);
/* `result` bytes of stream->sending were sent, or -errno. */
void stream_on_sent(struct loop *loop, struct stream *stream, int result);
void stream_on_connected(struct loop *loop, struct stream *stream, int error);
/* Something that was under way in the kernel of a leaving or closing stream has ended. */
void stream_on_quiet(struct loop *loop, struct stream *stream);

#endif
