/*
 * The event loop of one worker thread, and the byte streams that it moves. One narrow seam over
 * io_uring and epoll: which of them runs is chosen when the loop is made; nobody above can tell.
 *
 * The loop tells what happened as events that its owner takes one by one; it never calls out.
 *
 *     while (is_running) {
 *         loop_wait(loop, timerq_deadline(&timers));      hands out what is to be sent, then waits
 *         while (loop_next(loop, &event))
 *             handle(event);
 *         run the timers that are due
 *     }
 *
 * A stream is a member of what uses it (a client, a server connection); the loop holds a pointer to
 * it from its start until LOOP_GONE, the last event of every stream.
 *
 *     stream_start ---------------------> open --stream_close--> closing --LOOP_GONE-->
 *     stream_connect --LOOP_CONNECTED----^  |         the memory is the owner's again
 *                                           |--stream_leave --LOOP_LEFT-->
 *                                           |         the fd too, for a stream of another loop
 *                                           `--stream_secure --LOOP_SECURED--> encrypted
 *
 * Receiving. LOOP_RECEIVED says that stream_view() has grown. The owner consumes what it is done
 * with; what it leaves is there at the next LOOP_RECEIVED, with more behind it. The view's room is
 * bounded (LOOP_BLOCK_SIZE): when it is full, nothing more is read until something was consumed.
 * So whoever does not consume holds its peer back. LOOP_RECEIVED comes for news only: who left
 * bytes because of something else (no room in another stream) must look again by itself when that
 * changes.
 *
 * Sending. stream_out() is a buffer with room for bytes, up to LOOP_BLOCK_SIZE; everything put into
 * it during one turn is sent together when the turn ends. stream_send() puts as much as fits and
 * says how much that was. When a put was short and there is room again, LOOP_DRAINED comes, once.
 *
 * Buffers are lent: an idle stream holds none, neither for receiving nor for sending. What an owner
 * leaves in its view is copied to a block that fits (a small one for up to 512 bytes), because ten
 * thousand clients may wait in a queue, each with its query of a hundred bytes.
 *
 * Invariants
 *  1. Bytes arrive in order, each once; bytes are sent in order, each once, or the stream ends.
 *  2. Every stream that was started gets exactly one LOOP_GONE (or LOOP_LEFT), and no event after
 *     it; only then may its memory be used for something else.
 *  3. After stream_close() no event but LOOP_GONE comes.
 *  4. No more than two blocks for sending and one for receiving (two, with TLS) are lent to a
 *     stream.
 *  5. Nothing blocks but loop_wait(). Steady state allocates nothing.
 *
 * One thread owns a loop and its streams; only loop_post() may be called from other threads.
 */
#ifndef HF_NET_LOOP_H
#define HF_NET_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/sv.h"
#include "net/address.h"
#include "os/mem.h"

#define LOOP_BLOCK_SIZE 16384 /* of a lent buffer */

enum loop_io {
    LOOP_IO_AUTO, /* io_uring where the kernel allows it, else epoll */
    LOOP_IO_URING,
    LOOP_IO_EPOLL,
};

struct loop_config {
    enum loop_io io;
    uint32_t blocks; /* most that may be lent at a time, of LOOP_BLOCK_SIZE bytes each */
};

struct loop;
struct tls;

enum loop_event_kind {
    LOOP_ACCEPTED,  /* .listener, .fd (the owner's now), .peer */
    LOOP_CONNECTED, /* .stream: connecting has ended well */
    LOOP_SECURED,   /* .stream: the TLS handshake is done */
    LOOP_RECEIVED,  /* .stream: there is more in its view */
    LOOP_DRAINED,   /* .stream: there is room again, after a put that was short */
    LOOP_ENDED,     /* .stream: the peer has closed (.error 0), or the connection has failed (.error
                     * an errno; stream_error() in words). Bytes that came before stay in the view.
                     * The owner calls stream_close(). */
    LOOP_LEFT,      /* .stream, .fd: the loop has forgotten it */
    LOOP_GONE,      /* .stream: closed, and its memory is the owner's */
    LOOP_POSTED,    /* .message */
};

/* What another thread hands over: a member of something of the sender's. */
struct loop_message {
    struct loop_message *next; /* private */
    uint32_t kind;             /* the owners' business */
};

struct listener {
    int fd;
    uint32_t kind; /* the owner's */
    struct address address;
    bool keeps_path; /* somebody else goes on with the socket: the file of a unix socket stays */
    uint8_t flags;   /* private */
};

struct loop_event {
    enum loop_event_kind kind;
    int fd;
    int error;
    struct stream *stream;
    struct listener *listener;
    struct loop_message *message;
    struct address peer;
};

/* A block of bytes on loan. */
struct loop_block;

/* All of it but `kind`, which is the owner's, is private to the loop; read it through the functions
 * below. */
struct stream {
    int fd;
    uint32_t flags;
    uint8_t kind; /* the owner's: what the stream is a member of */
    uint8_t state;
    uint16_t tokens;            /* operations under way in the kernel */
    int32_t error;              /* errno of the first failure */
    struct loop_block *in;      /* received: the view, and behind it what did not fit into it */
    struct loop_block *wire;    /* received, and still encrypted */
    struct loop_block *out;     /* being filled */
    struct loop_block *sending; /* on its way */
    struct stream *next_dirty;  /* in the list of those to look at when the turn ends */
    struct stream *next_news;   /* in the list of those with something to tell */
    struct tls *tls;            /* NULL: plain */
};

/* ---- the loop ---- */

enum hf_rc loop_new(struct loop **loop, const struct loop_config *config, struct mem *mem,
                    struct hf_err *err) HF_MUST_USE;
/* Every stream is gone and every listener removed. */
void loop_free(struct loop *loop);

/* Which one it is: LOOP_IO_URING or LOOP_IO_EPOLL; and why not io_uring, or "" . */
enum loop_io loop_io(const struct loop *loop);
const char *loop_io_reason(const struct loop *loop);

/* Sends what was put, and waits until something happens or `until_ns` (os/clock.h) has come. It may
 * end for nothing where an earlier wait had an earlier limit: once for each such limit. */
enum hf_rc loop_wait(struct loop *loop, int64_t until_ns, struct hf_err *err) HF_MUST_USE;
/* The next thing that happened, in the order in which it did; false: nothing more, wait. */
bool loop_next(struct loop *loop, struct loop_event *event);
/* The time of the current turn, read once after each wait. */
int64_t loop_now(const struct loop *loop);

/* From any thread: `message` comes out of loop_next() as LOOP_POSTED. */
void loop_post(struct loop *loop, struct loop_message *message);
/* Its thread has ended: the next message that loop_next() has not given out, NULL if there is none.
 */
struct loop_message *loop_unheard(struct loop *loop);

/* ---- listening: the address is in listener->address ---- */

/* A socket that listens, for TCP with SO_REUSEPORT if several workers each open one. */
enum hf_rc listener_open(struct listener *listener, const struct address *address, bool shares_port,
                         struct hf_err *err) HF_MUST_USE;
/* Whether a TCP address is free, as it is for who does not share its port: with SO_REUSEPORT
 * somebody else's would be found by nobody. */
enum hf_rc listener_find_free(const struct address *address, struct hf_err *err) HF_MUST_USE;
/* A socket that listens already, from a process before us or from systemd: looks at what it is and
 * takes it over. On failure it is the caller's still. */
enum hf_rc listener_adopt(struct listener *listener, int fd, struct hf_err *err) HF_MUST_USE;
void listener_close(struct listener *listener);
/* From now on LOOP_ACCEPTED comes; a listening socket may be in several loops, each with its own
 * struct listener of the same fd. */
enum hf_rc loop_listen(struct loop *loop, struct listener *listener,
                       struct hf_err *err) HF_MUST_USE;
/* No LOOP_ACCEPTED comes any more. The fd stays open. */
void loop_unlisten(struct loop *loop, struct listener *listener);
/* The same, but nobody is turned away: what the kernel had accepted for us already still comes as
 * LOOP_ACCEPTED, soon. Everybody else stays in the queue of the socket, for who shares it. */
void loop_retire(struct loop *loop, struct listener *listener);
/* A listener is there, or may still have something to tell after loop_retire(). */
bool loop_is_listening(const struct loop *loop);

/* ---- streams ---- */

/* Takes over a connected socket: an accepted one, or one that left another loop. */
void stream_start(struct loop *loop, struct stream *stream, int fd, uint8_t kind);
/* Begins to connect. LOOP_CONNECTED or LOOP_ENDED comes, always later; the owner has the deadline.
 * A failure to even begin comes as LOOP_ENDED too. */
void stream_connect(struct loop *loop, struct stream *stream, const struct address *address,
                    uint8_t kind);

/* What was received and not consumed. Valid until the next consume or loop_next(). */
struct sv stream_view(const struct stream *stream);
void stream_consume(struct loop *loop, struct stream *stream, size_t size);

/* The peer is held back from now on, whatever room there is; for login floods and waiting clients.
 * What is on its way already is kept, and told after stream_resume(). That the peer has closed or
 * failed (LOOP_ENDED) is told during a pause too, where it is known and nothing untold precedes it.
 */
void stream_pause(struct loop *loop, struct stream *stream);
void stream_resume(struct loop *loop, struct stream *stream);

/* Nothing can be put into a stream that was told to close or to leave: there is no room, ever. */

/* A buffer to put messages into, with `room` bytes free in a row; NULL if there is not so much room
 * now (LOOP_DRAINED follows). What is put is sent at the end of the turn. */
struct buffer *stream_out(struct loop *loop, struct stream *stream, size_t room);
/* How much may be put now: stream_send() takes that much. 0 while every block is lent or full; then
 * LOOP_DRAINED follows when there is room again. A stream that has nothing to send has room for
 * LOOP_BLOCK_SIZE at least, unless the loop has run out of blocks. */
size_t stream_room(struct loop *loop, struct stream *stream);
/* As much as fits now; returns how much that was. */
size_t stream_send(struct loop *loop, struct stream *stream, struct sv bytes) HF_MUST_USE;
/* All that was put has been given to the kernel. */
bool stream_is_flushed(const struct stream *stream);

/* After LOOP_ENDED, in the system's words: "Connection reset by peer"; "" if the peer has closed in
 * order. */
const char *stream_error(const struct stream *stream);

/* Looks whether the connection still stands: LOOP_ENDED comes if not. For who has waited long:
 * io_uring may not tell of a reset that comes in the same moment as bytes (seen on Linux 6.18),
 * and without this nothing would ever come again. */
void stream_recheck(struct loop *loop, struct stream *stream);

/* Begins TLS on an open stream, as a server or as a client. Bytes that were received and not
 * consumed belong to the handshake. LOOP_SECURED or LOOP_ENDED comes. `tls` was made by tls_new()
 * and is the stream's from now on; freed with it. */
void stream_secure(struct loop *loop, struct stream *stream, struct tls *tls);

/* Ends it: at once, or after what was put has been sent (the owner has the deadline, and may call
 * again without the wish). LOOP_GONE comes, always later. */
void stream_close(struct loop *loop, struct stream *stream, bool after_sending);
/* Hands the socket back: only for a stream that has nothing in its view and nothing to send.
 * LOOP_LEFT comes; or, if the connection ended or bytes came meanwhile, LOOP_RECEIVED or
 * LOOP_ENDED, and it has not left. Its TLS stays with it, for stream_join(). */
void stream_leave(struct loop *loop, struct stream *stream);
/* As stream_start(), for a stream that has left another loop: it goes on with the TLS it has. */
void stream_join(struct loop *loop, struct stream *stream, int fd, uint8_t kind);

#endif
