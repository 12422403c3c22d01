/*
 * The life of a stream, the same over both backends.
 *
 * Received bytes lie in a chain of blocks at stream->in. The first is the view. Blocks behind it
 * are what io_uring had received before it could be told to stop; they become the view, or part of
 * it, as the owner consumes. Bytes to be sent lie in stream->out while it is filled, and in
 * stream->sending while the kernel has them.
 *
 *     state        entered by                        left by
 *     CONNECTING   stream_connect                    stream_on_connected
 *     OPEN         stream_start, stream_on_connected stream_leave, stream_close
 *     LEAVING      stream_leave                      settle, to NONE or back to OPEN
 *     CLOSING      stream_close                      settle, to NONE
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bug.h"
#include "net/loop.h"
#include "net/loop_int.h"
#include "net/tls.h"

/* Before a socket is closed after last words, so much of what the peer had sent is thrown away: to
 * close a TCP socket with unread bytes resets the connection, and takes the last words with it. */
#define LAST_BYTES_MAX ((size_t)1 << 20)

static void set(struct stream *stream, enum stream_flag flag)
{
    stream->flags |= (uint32_t)flag;
}

static void unset(struct stream *stream, enum stream_flag flag)
{
    stream->flags &= ~(uint32_t)flag;
}

static bool has(const struct stream *stream, uint32_t flags)
{
    return (stream->flags & flags) != 0;
}

/* ---- beginning ---- */

static void begin(struct loop *loop, struct stream *stream, int fd, uint8_t kind,
                  enum stream_state state)
{
    *stream = (struct stream){.fd = fd, .kind = kind, .state = (uint8_t)state};
    loop->streams++;
}

void stream_start(struct loop *loop, struct stream *stream, int fd, uint8_t kind)
{
    begin(loop, stream, fd, kind, STREAM_OPEN);
    int error = loop->backend->watch(loop, stream);
    if (error != 0)
        stream_on_end(loop, stream, error);
}

void stream_join(struct loop *loop, struct stream *stream, int fd, uint8_t kind)
{
    struct tls *tls = stream->tls;
    begin(loop, stream, fd, kind, STREAM_OPEN);
    stream->tls = tls;
    int error = loop->backend->watch(loop, stream);
    if (error != 0)
        stream_on_end(loop, stream, error);
}

/* A socket that is connecting, or -errno. */
static int start_connecting(const struct address *address)
{
    const struct sockaddr *sa = address_sockaddr(address);
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int on = 1;
    if (sa->sa_family != AF_UNIX) {
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    if (connect(fd, sa, address->size) == 0 || errno == EINPROGRESS)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

void stream_connect(struct loop *loop, struct stream *stream, const struct address *address,
                    uint8_t kind)
{
    int fd = start_connecting(address);
    begin(loop, stream, fd < 0 ? -1 : fd, kind, STREAM_CONNECTING);
    int error = fd < 0 ? -fd : loop->backend->watch(loop, stream);
    if (error != 0)
        stream_on_end(loop, stream, error);
}

void stream_on_connected(struct loop *loop, struct stream *stream, int error)
{
    if (stream->state != STREAM_CONNECTING)
        return;
    if (error != 0) {
        stream_on_end(loop, stream, error);
        return;
    }
    stream->state = STREAM_OPEN;
    set(stream, STREAM_NEW);
    loop_mark_news(loop, stream);
    loop_mark_dirty(loop, stream);
}

/* ---- receiving ---- */

static size_t view_size(const struct stream *stream)
{
    return stream->in == NULL ? 0 : buffer_held(&stream->in->buffer);
}

bool stream_is_landing(const struct stream *stream)
{
    return (stream->flags & (STREAM_RECEIVING | STREAM_MULTISHOT)) == STREAM_RECEIVING;
}

bool stream_wants_bytes(const struct stream *stream)
{
    return stream->state == STREAM_OPEN && !has(stream, STREAM_PAUSED | STREAM_ENDED) &&
           stream->wire == NULL &&
           (stream->in == NULL ||
            (stream->in->next == NULL && view_size(stream) < LOOP_BLOCK_SIZE));
}

bool stream_is_stuck(const struct stream *stream)
{
    if (!has(stream, STREAM_BROKEN) || stream->state != STREAM_OPEN || stream_wants_bytes(stream))
        return false;
    if (has(stream, STREAM_PAUSED) || stream->in == NULL)
        return true;
    /* Bytes that are only waiting for their turn to be told do not count: more may follow them. */
    const struct loop_block *next = stream->in->next;
    size_t more = next != NULL ? buffer_held(&next->buffer) : 1;
    return !has(stream, STREAM_FRESH) && view_size(stream) + more > LOOP_BLOCK_SIZE;
}

bool stream_holds_bytes(const struct stream *stream)
{
    return stream->in != NULL || stream->wire != NULL;
}

struct sv stream_view(const struct stream *stream)
{
    return stream->in == NULL ? sv_from(NULL, 0) : buffer_view(&stream->in->buffer);
}

static void drop_first(struct loop *loop, struct stream *stream)
{
    struct loop_block *block = stream->in;
    stream->in = block->next;
    loop_return(loop, block);
}

void stream_consume(struct loop *loop, struct stream *stream, size_t size)
{
    if (size == 0)
        return;
    hf_assert(size <= view_size(stream));
    buffer_consume(&stream->in->buffer, size);
    if (view_size(stream) == 0) {
        unset(stream, STREAM_FRESH);
        if (!stream_is_landing(stream) || stream->tls != NULL)
            drop_first(loop, stream);
        if (stream->in != NULL && view_size(stream) > 0)
            set(stream, STREAM_FRESH);
    }
    if (has(stream, STREAM_FRESH) || (stream->in != NULL && stream->in->next != NULL) ||
        stream_has_cipher(stream))
        loop_mark_news(loop, stream);
    if (has(stream, STREAM_STALLED))
        loop_mark_dirty(loop, stream);
}

void stream_pause(struct loop *loop, struct stream *stream)
{
    (void)loop;
    set(stream, STREAM_PAUSED);
}

void stream_resume(struct loop *loop, struct stream *stream)
{
    if (!has(stream, STREAM_PAUSED))
        return;
    unset(stream, STREAM_PAUSED);
    if (stream->in != NULL || stream_has_cipher(stream))
        loop_mark_news(loop, stream);
    if (has(stream, STREAM_STALLED))
        loop_mark_dirty(loop, stream);
}

/* Makes the first block one of our own, with the same bytes. */
static bool own_first(struct loop *loop, struct stream *stream)
{
    struct loop_block *first = stream->in;
    if (!first->is_provided)
        return true;
    struct loop_block *own = loop_lend(loop, LOOP_FOR_RECEIVING);
    if (own == NULL)
        return false;
    bool fits = buffer_append(&own->buffer, buffer_view(&first->buffer));
    hf_assert(fits);
    own->next = first->next;
    stream->in = own;
    loop_return(loop, first);
    return true;
}

/* Appends the blocks behind the view to it, as far as there is room. */
static void absorb(struct loop *loop, struct stream *stream)
{
    if (!own_first(loop, stream)) {
        loop_mark_dirty(loop, stream); /* which becomes starved */
        return;
    }
    struct loop_block *first = stream->in;
    while (first->next != NULL && buffer_free(&first->buffer) > 0) {
        struct loop_block *next = first->next;
        struct sv bytes = sv_take(buffer_view(&next->buffer), buffer_free(&first->buffer));
        bool fits = buffer_append(&first->buffer, bytes);
        hf_assert(fits);
        buffer_consume(&next->buffer, bytes.size);
        if (buffer_held(&next->buffer) == 0) {
            first->next = next->next;
            loop_return(loop, next);
        }
        set(stream, STREAM_FRESH);
    }
}

/* What is encrypted lands in a block of its own, which is empty then: see stream_wants_bytes(). */
static struct loop_block *landing_of_cipher(struct loop *loop, struct stream *stream)
{
    stream->wire = loop_lend(loop, LOOP_FOR_RECEIVING);
    if (stream->wire == NULL)
        loop_mark_starved(loop, stream);
    else
        stream->wire->landing = 0;
    return stream->wire;
}

struct loop_block *stream_landing(struct loop *loop, struct stream *stream)
{
    if (stream->tls != NULL)
        return landing_of_cipher(loop, stream);
    if (stream->in == NULL)
        stream->in = loop_lend(loop, LOOP_FOR_RECEIVING);
    if (stream->in == NULL || !own_first(loop, stream)) {
        loop_mark_starved(loop, stream);
        return NULL;
    }
    struct buffer *buffer = &stream->in->buffer;
    if (buffer->end == buffer->size || buffer->start > buffer->size / 2)
        (void)buffer_reserve(buffer, buffer_free(buffer)); /* moves what is held to the front */
    stream->in->landing = (uint32_t)buffer->end;
    return stream->in;
}

void stream_on_landed(struct loop *loop, struct stream *stream, size_t size)
{
    struct loop_block **slot = stream->tls == NULL ? &stream->in : &stream->wire;
    struct loop_block *block = *slot;
    if (size > 0) {
        /* What was held may have been consumed meanwhile: the view then begins where the kernel
         * was writing. */
        if (buffer_held(&block->buffer) == 0)
            block->buffer.start = block->buffer.end = block->landing;
        buffer_commit(&block->buffer, size);
        if (stream->tls == NULL)
            set(stream, STREAM_FRESH);
        loop_mark_news(loop, stream);
    } else if (buffer_held(&block->buffer) == 0) {
        *slot = block->next;
        loop_return(loop, block);
    }
}

void stream_on_provided(struct loop *loop, struct stream *stream, struct loop_block *block)
{
    if (stream->state == STREAM_CLOSING) {
        loop_return(loop, block);
        return;
    }
    block->next = NULL;
    struct loop_block **end = stream->tls == NULL ? &stream->in : &stream->wire;
    bool is_first = *end == NULL;
    while (*end != NULL)
        end = &(*end)->next;
    *end = block;
    if (!is_first)
        loop_mark_dirty(loop, stream); /* the owner does not keep up: perhaps no more */
    else if (stream->tls == NULL)
        set(stream, STREAM_FRESH);
    loop_mark_news(loop, stream);
}

void stream_recheck(struct loop *loop, struct stream *stream)
{
    if (stream->state != STREAM_OPEN || has(stream, STREAM_ENDED))
        return;
    set(stream, STREAM_RECHECK);
    loop_mark_dirty(loop, stream);
}

void stream_on_end(struct loop *loop, struct stream *stream, int error)
{
    if (stream->state == STREAM_CLOSING || has(stream, STREAM_ENDED))
        return;
    set(stream, STREAM_ENDED);
    if (stream->error == 0)
        stream->error = error;
    loop_mark_news(loop, stream);
}

/* ---- sending ---- */

static bool has_put(const struct stream *stream)
{
    return stream->out != NULL && buffer_held(&stream->out->buffer) > 0;
}

static void return_out(struct loop *loop, struct stream *stream)
{
    if (stream->out != NULL)
        loop_return(loop, stream->out);
    stream->out = NULL;
}

void stream_kick(struct loop *loop, struct stream *stream)
{
    if (stream->sending != NULL || stream->state == STREAM_CONNECTING)
        return;
    if (has(stream, STREAM_BROKEN) || (stream->out != NULL && !has_put(stream)))
        return_out(loop, stream);
    if (stream->tls != NULL && !has(stream, STREAM_BROKEN | STREAM_CLEAR_OUT)) {
        stream_encrypt(loop, stream);
    } else {
        stream->sending = stream->out;
        stream->out = NULL;
        unset(stream, STREAM_CLEAR_OUT);
    }
    if (stream->sending != NULL)
        loop->backend->send(loop, stream);
    if (has(stream, STREAM_SHORT))
        loop_mark_news(loop, stream);
}

/* The block to put into, or NULL if all are lent. */
static struct loop_block *out_block(struct loop *loop, struct stream *stream)
{
    if (stream->out == NULL)
        stream->out = loop_lend(loop, LOOP_FOR_SENDING);
    return stream->out;
}

static void put_was_short(struct loop *loop, struct stream *stream)
{
    set(stream, STREAM_SHORT);
    loop_mark_dirty(loop, stream);
}

static bool takes_puts(const struct stream *stream)
{
    return stream->state == STREAM_OPEN || stream->state == STREAM_CONNECTING;
}

/* Bytes from before TLS are still to be sent: nothing may get between them. */
static bool is_sealed(const struct stream *stream)
{
    return has(stream, STREAM_CLEAR_OUT);
}

struct buffer *stream_out(struct loop *loop, struct stream *stream, size_t room)
{
    hf_assert(room <= LOOP_BLOCK_SIZE);
    if (!takes_puts(stream))
        return NULL;
    if (stream->out != NULL && buffer_free(&stream->out->buffer) < room)
        stream_kick(loop, stream);
    struct loop_block *block = is_sealed(stream) ? NULL : out_block(loop, stream);
    if (block == NULL || buffer_free(&block->buffer) < room) {
        put_was_short(loop, stream);
        return NULL;
    }
    loop_mark_dirty(loop, stream);
    return &block->buffer;
}

size_t stream_room(struct loop *loop, struct stream *stream)
{
    if (!takes_puts(stream))
        return 0;
    size_t room = 0;
    if (stream->out != NULL)
        room = buffer_free(&stream->out->buffer);
    if (room == 0 && (stream->out == NULL || stream->sending == NULL) &&
        loop_can_lend(loop, LOOP_FOR_SENDING))
        room = LOOP_BLOCK_SIZE;
    if (is_sealed(stream))
        room = 0;
    if (room == 0)
        put_was_short(loop, stream);
    return room;
}

/* As mostly: it fits into the block at hand. */
static bool send_at_once(struct loop *loop, struct stream *stream, struct sv bytes)
{
    if (!takes_puts(stream) || is_sealed(stream))
        return false;
    struct loop_block *block = out_block(loop, stream);
    if (block == NULL || !buffer_append(&block->buffer, bytes))
        return false;
    loop_mark_dirty(loop, stream);
    return true;
}

size_t stream_send(struct loop *loop, struct stream *stream, struct sv bytes)
{
    size_t done = 0;
    if (bytes.size > 0 && send_at_once(loop, stream, bytes))
        return bytes.size;
    while (done < bytes.size && takes_puts(stream)) {
        struct loop_block *block = is_sealed(stream) ? NULL : out_block(loop, stream);
        if (block != NULL && buffer_free(&block->buffer) == 0) {
            stream_kick(loop, stream);
            block = out_block(loop, stream);
        }
        if (block == NULL || buffer_free(&block->buffer) == 0) {
            put_was_short(loop, stream);
            break;
        }
        struct sv part = sv_take(sv_drop(bytes, done), buffer_free(&block->buffer));
        bool fits = buffer_append(&block->buffer, part);
        hf_assert(fits);
        done += part.size;
    }
    if (done > 0)
        loop_mark_dirty(loop, stream);
    return done;
}

bool stream_is_flushed(const struct stream *stream)
{
    return stream->sending == NULL && !has_put(stream) &&
           (stream->tls == NULL || !tls_has_output(stream->tls));
}

/* Sending has failed. What the peer had sent before may still be there to be received (a server's
 * last words), so the end is told by receiving, if that goes on. */
static void on_broken(struct loop *loop, struct stream *stream, int error)
{
    set(stream, STREAM_BROKEN);
    if (stream->error == 0 && !has(stream, STREAM_ENDED))
        stream->error = error;
    if (has(stream, STREAM_PAUSED))
        stream_on_end(loop, stream, error);
    set(stream, STREAM_RECHECK);
    loop_mark_dirty(loop, stream);
}

void stream_on_sent(struct loop *loop, struct stream *stream, int result)
{
    struct loop_block *block = stream->sending;
    if (result < 0)
        on_broken(loop, stream, -result);
    else
        buffer_consume(&block->buffer, (size_t)result);
    if (!has(stream, STREAM_BROKEN) && buffer_held(&block->buffer) > 0 &&
        !has(stream, STREAM_FORGOTTEN)) {
        loop->backend->send(loop, stream);
        return;
    }
    stream->sending = NULL;
    loop_return(loop, block);
    if (has(stream, STREAM_FORGOTTEN))
        return;
    /* More was put meanwhile: it goes at the end of the turn with what else comes, unless its owner
     * waits for room. */
    if (has(stream, STREAM_SHORT))
        stream_kick(loop, stream);
    else if (stream->out != NULL || stream->state == STREAM_CLOSING)
        loop_mark_dirty(loop, stream);
    if (has(stream, STREAM_SHORT))
        loop_mark_news(loop, stream);
}

/* ---- ending ---- */

static void return_blocks(struct loop *loop, struct stream *stream)
{
    while (stream->in != NULL)
        drop_first(loop, stream);
    return_out(loop, stream);
    if (stream->sending != NULL)
        loop_return(loop, stream->sending);
    stream->sending = NULL;
    while (stream->wire != NULL) {
        struct loop_block *next = stream->wire->next;
        loop_return(loop, stream->wire);
        stream->wire = next;
    }
}

/* See LAST_BYTES_MAX. Only TCP resets, and only TCP drops bytes without copying them. */
static void drop_last_bytes(int fd)
{
    size_t dropped = 0;
    while (dropped < LAST_BYTES_MAX) {
        ssize_t count = recv(fd, NULL, LAST_BYTES_MAX, MSG_TRUNC | MSG_DONTWAIT);
        if (count <= 0)
            return;
        dropped += (size_t)count;
    }
}

/* The kernel has nothing more of a stream that ends, nor has any list: what it ends with is told.
 */
static void settle(struct loop *loop, struct stream *stream)
{
    if (stream->state == STREAM_CLOSING) {
        return_blocks(loop, stream);
        tls_free(stream->tls);
        stream->tls = NULL;
        if (stream->fd >= 0) {
            if (has(stream, STREAM_LINGERS))
                drop_last_bytes(stream->fd);
            close(stream->fd);
        }
        set(stream, STREAM_GONE);
    } else if (stream->in != NULL || stream_has_cipher(stream) || has(stream, STREAM_ENDED)) {
        stream->state = STREAM_OPEN;
        unset(stream, STREAM_FORGOTTEN);
        int error = loop->backend->watch(loop, stream);
        if (error != 0)
            stream_on_end(loop, stream, error);
    } else {
        return_blocks(loop, stream); /* TLS may have an empty one */
        set(stream, STREAM_LEFT);
    }
    loop_mark_news(loop, stream);
}

void stream_on_quiet(struct loop *loop, struct stream *stream)
{
    if (has(stream, STREAM_FORGOTTEN) && stream->tokens == 0 && !has(stream, STREAM_DIRTY))
        settle(loop, stream);
}

void stream_close(struct loop *loop, struct stream *stream, bool after_sending)
{
    if (has(stream, STREAM_GONE))
        return;
    if (stream->state == STREAM_CLOSING) {
        if (!after_sending)
            unset(stream, STREAM_LINGERS);
    } else {
        bool lingers = after_sending && stream->state == STREAM_OPEN;
        stream->state = STREAM_CLOSING;
        unset(stream, STREAM_LEFT);
        if (lingers)
            set(stream, STREAM_LINGERS);
    }
    loop_mark_dirty(loop, stream);
}

void stream_leave(struct loop *loop, struct stream *stream)
{
    hf_assert(stream->state == STREAM_OPEN);
    hf_assert(view_size(stream) == 0 && stream_is_flushed(stream));
    stream->state = STREAM_LEAVING;
    loop_mark_dirty(loop, stream);
}

/* ---- the end of a turn ---- */

/* What was put goes first, if that is wished and can be. */
static bool is_lingering(const struct stream *stream)
{
    return has(stream, STREAM_LINGERS) && !has(stream, STREAM_BROKEN) && !stream_is_flushed(stream);
}

/* Sends what there is to send, and then TLS's own goodbye. False: that goes on. */
static bool send_last(struct loop *loop, struct stream *stream)
{
    if (is_lingering(stream))
        stream_kick(loop, stream);
    if (stream->tls != NULL && has(stream, STREAM_LINGERS) && !has(stream, STREAM_SAID_BYE) &&
        stream_is_flushed(stream)) {
        set(stream, STREAM_SAID_BYE);
        tls_close(stream->tls);
        stream_kick(loop, stream);
    }
    return !is_lingering(stream);
}

static void flush_ending(struct loop *loop, struct stream *stream)
{
    if (has(stream, STREAM_GONE | STREAM_LEFT))
        return;
    if (stream->state == STREAM_CLOSING && !send_last(loop, stream)) {
        loop->backend->receive(loop, stream);
        return;
    }
    if (!has(stream, STREAM_FORGOTTEN)) {
        set(stream, STREAM_FORGOTTEN);
        loop->backend->forget(loop, stream);
    }
    stream_on_quiet(loop, stream);
}

void stream_flush(struct loop *loop, struct stream *stream)
{
    if (stream->state == STREAM_CLOSING || stream->state == STREAM_LEAVING) {
        flush_ending(loop, stream);
        return;
    }
    stream_kick(loop, stream);
    if (stream->state == STREAM_OPEN && !has(stream, STREAM_ENDED))
        loop->backend->receive(loop, stream);
    bool wants_block = has(stream, STREAM_SHORT) && stream->out == NULL;
    bool wants_view = stream->tls != NULL ? stream->in == NULL && stream_has_cipher(stream)
                                          : stream->in != NULL && stream->in->next != NULL &&
                                                stream->in->is_provided;
    if ((wants_block && loop_can_lend(loop, LOOP_FOR_SENDING)) ||
        (wants_view && loop_can_lend(loop, LOOP_FOR_RECEIVING)))
        loop_mark_news(loop, stream);
    else if (wants_block || wants_view)
        loop_mark_starved(loop, stream);
}

/* ---- telling ---- */

static void tell_gone(struct loop *loop, struct stream *stream, struct loop_event *event)
{
    bool is_gone = has(stream, STREAM_GONE);
    event->kind = is_gone ? LOOP_GONE : LOOP_LEFT;
    event->fd = stream->fd;
    stream->state = STREAM_NONE;
    stream->flags = 0;
    loop->streams--;
}

/* The bytes that came are told before the end. */
static bool tell_received(struct loop *loop, struct stream *stream)
{
    if (has(stream, STREAM_PAUSED | STREAM_TOLD_END))
        return false;
    if (stream->tls != NULL && !has(stream, STREAM_FRESH))
        stream_decrypt(loop, stream);
    if (has(stream, STREAM_SECURED))
        return false; /* which is told first */
    if (!has(stream, STREAM_FRESH) && stream->in != NULL && stream->in->next != NULL)
        absorb(loop, stream);
    if (!has(stream, STREAM_FRESH))
        return false;
    unset(stream, STREAM_FRESH);
    return true;
}

/* What is behind the view is told first. But who does not consume, and found out by sending that
 * the peer is gone, is told now: the view is full, so nothing else would ever tell. */
static bool can_tell_end(const struct stream *stream)
{
    if (!has(stream, STREAM_ENDED) || has(stream, STREAM_TOLD_END | STREAM_FRESH))
        return false;
    bool has_more = (stream->in != NULL && stream->in->next != NULL) || stream_has_cipher(stream);
    return !has_more || (has(stream, STREAM_BROKEN) && view_size(stream) == LOOP_BLOCK_SIZE);
}

static bool tell_open(struct loop *loop, struct stream *stream, struct loop_event *event)
{
    if (has(stream, STREAM_NEW)) {
        unset(stream, STREAM_NEW);
        event->kind = LOOP_CONNECTED;
    } else if (tell_received(loop, stream)) {
        event->kind = LOOP_RECEIVED;
    } else if (has(stream, STREAM_SECURED)) {
        unset(stream, STREAM_SECURED);
        event->kind = LOOP_SECURED;
        loop_mark_news(loop, stream);
    } else if (has(stream, STREAM_SHORT) && stream->out == NULL &&
               loop_can_lend(loop, LOOP_FOR_SENDING)) {
        unset(stream, STREAM_SHORT);
        event->kind = LOOP_DRAINED;
    } else if (can_tell_end(stream)) {
        set(stream, STREAM_TOLD_END);
        stream_cut_tls(stream);
        event->kind = LOOP_ENDED;
        event->error = stream->error;
    } else {
        return false;
    }
    if (has(stream, STREAM_SHORT | STREAM_ENDED | STREAM_FRESH))
        loop_mark_news(loop, stream);
    return true;
}

bool stream_tell(struct loop *loop, struct stream *stream, struct loop_event *event)
{
    event->stream = stream;
    if (has(stream, STREAM_GONE | STREAM_LEFT)) {
        tell_gone(loop, stream, event);
        return true;
    }
    if (stream->state == STREAM_OPEN || stream->state == STREAM_CONNECTING)
        return tell_open(loop, stream, event);
    return false;
}

const char *stream_error(const struct stream *stream)
{
    const struct hf_err *err = stream->tls == NULL ? NULL : tls_error(stream->tls);
    if (err != NULL)
        return err->message;
    if (stream->error == 0)
        return "";
    return strerrordesc_np(stream->error);
}
