/*
 * TLS between the socket and a stream's owner: src/net/tls.h does it, here the bytes are carried.
 *
 *     socket --> stream->wire --tls_receive--> stream->in --> the view
 *     socket <-- stream->sending <--tls_send-- stream->out <-- what is put
 *
 * Decrypting happens when there is news to be told, encrypting when what was put is given to the
 * backend; neither waits for the other. A handshake needs no block but the one that its answer is
 * sent in.
 */
#include <errno.h>

#include "base/bug.h"
#include "net/loop.h"
#include "net/loop_int.h"
#include "net/tls.h"

/* Nothing more will be made of ciphertext. */
static bool is_over(enum tls_state state)
{
    return state == TLS_FAILED || state == TLS_ENDED;
}

bool stream_has_cipher(const struct stream *stream)
{
    if (stream->tls == NULL)
        return false;
    if (tls_has_input(stream->tls))
        return true;
    return stream->wire != NULL && buffer_held(&stream->wire->buffer) > 0 &&
           !is_over(tls_state(stream->tls));
}

static void drop_wire(struct loop *loop, struct stream *stream)
{
    struct loop_block *block = stream->wire;
    stream->wire = block->next;
    loop_return(loop, block);
}

/* Nothing more will be decrypted. A block that the kernel is writing into stays until it has. */
static void drop_all_wire(struct loop *loop, struct stream *stream)
{
    while (stream->wire != NULL && !stream_is_landing(stream))
        drop_wire(loop, stream);
}

/* The view's block, lent if need be, with all its room behind what it holds; NULL: starved. */
static struct buffer *plain_buffer(struct loop *loop, struct stream *stream)
{
    if (stream->in == NULL)
        stream->in = loop_lend(loop, LOOP_FOR_RECEIVING);
    if (stream->in == NULL) {
        loop_mark_dirty(loop, stream); /* which becomes starved */
        return NULL;
    }
    return &stream->in->buffer;
}

/* Decrypts from the first block of ciphertext; returns whether anything has moved. */
static bool decrypt_some(struct loop *loop, struct stream *stream)
{
    struct sv wire = {0};
    if (stream->wire != NULL)
        wire = buffer_view(&stream->wire->buffer);
    char *plain = NULL;
    size_t room = 0;
    if (tls_state(stream->tls) != TLS_HANDSHAKE) {
        struct buffer *buffer = plain_buffer(loop, stream);
        if (buffer == NULL)
            return false;
        room = buffer_free(buffer);
        plain = buffer_reserve(buffer, room);
    }
    size_t size = wire.size;
    size_t count = tls_receive(stream->tls, &wire, plain, room);
    if (count > 0) {
        buffer_commit(&stream->in->buffer, count);
        stream->flags |= STREAM_FRESH;
    }
    size_t taken = size - wire.size;
    if (taken > 0)
        buffer_consume(&stream->wire->buffer, taken);
    if (stream->wire != NULL && wire.size == 0 && !stream_is_landing(stream))
        drop_wire(loop, stream);
    return count > 0 || taken > 0;
}

/* What TLS has come to, other than bytes. */
static void look_at_state(struct loop *loop, struct stream *stream, enum tls_state before)
{
    enum tls_state state = tls_state(stream->tls);
    if (before == TLS_HANDSHAKE && (state == TLS_OPEN || state == TLS_ENDED)) {
        stream->flags |= STREAM_SECURED;
        loop_mark_news(loop, stream);
    }
    if (is_over(state)) {
        drop_all_wire(loop, stream);
        stream_on_end(loop, stream, state == TLS_FAILED ? EPROTO : 0);
    }
    if (tls_has_output(stream->tls) || (state == TLS_OPEN && before == TLS_HANDSHAKE))
        loop_mark_dirty(loop, stream);
}

void stream_decrypt(struct loop *loop, struct stream *stream)
{
    if (is_over(tls_state(stream->tls)))
        drop_all_wire(loop, stream);
    while (stream_has_cipher(stream)) {
        enum tls_state before = tls_state(stream->tls);
        if (!decrypt_some(loop, stream))
            break;
        look_at_state(loop, stream, before);
    }
    if (stream->in != NULL && buffer_held(&stream->in->buffer) == 0) {
        loop_return(loop, stream->in);
        stream->in = NULL;
    }
    /* With the ciphertext gone there may be room for more of it. */
    if (stream->wire == NULL && (stream->flags & STREAM_STALLED))
        loop_mark_dirty(loop, stream);
}

void stream_encrypt(struct loop *loop, struct stream *stream)
{
    if (stream->out != NULL && tls_state(stream->tls) == TLS_FAILED) {
        loop_return(loop, stream->out); /* only the alert is sent */
        stream->out = NULL;
    }
    if (stream->out == NULL && !tls_has_output(stream->tls))
        return;
    struct loop_block *block = loop_lend(loop, LOOP_FOR_SENDING);
    if (block == NULL) {
        loop_mark_starved(loop, stream);
        return;
    }
    struct sv plain = {0};
    if (stream->out != NULL)
        plain = buffer_view(&stream->out->buffer);
    size_t size = plain.size;
    size_t count = tls_send(stream->tls, &plain, block->buffer.block, LOOP_BLOCK_SIZE);
    if (stream->out != NULL)
        buffer_consume(&stream->out->buffer, size - plain.size);
    if (stream->out != NULL && plain.size == 0) {
        loop_return(loop, stream->out);
        stream->out = NULL;
    }
    if (count == 0) {
        loop_return(loop, block);
        return;
    }
    buffer_commit(&block->buffer, count);
    stream->sending = block;
}

void stream_cut_tls(struct stream *stream)
{
    if (stream->tls == NULL)
        return;
    tls_cut(stream->tls);
    if (stream->error == 0 && tls_state(stream->tls) == TLS_FAILED)
        stream->error = EPROTO;
}

void stream_secure(struct loop *loop, struct stream *stream, struct tls *tls)
{
    hf_assert(stream->state == STREAM_OPEN && stream->tls == NULL);
    /* What was put goes before, as it is. If the backend has still something older, it waits. */
    stream_kick(loop, stream);
    if (stream->out != NULL)
        stream->flags |= STREAM_CLEAR_OUT;
    stream->tls = tls;
    stream->wire = stream->in;
    stream->in = NULL;
    stream->flags &= ~(uint32_t)STREAM_FRESH;
    loop_mark_news(loop, stream);
    loop_mark_dirty(loop, stream);
}
