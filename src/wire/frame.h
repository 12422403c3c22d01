/*
 * Framing: where one message of a byte stream ends and the next begins, in one direction of one
 * connection. Nothing is copied, kept or assembled: a DataRow of a gigabyte passes through in
 * whatever pieces it arrives, and the state is sixteen bytes.
 *
 *     while (frame_look(&frame, view, &part) == FRAME_PART) {
 *         ... part.bytes: the header and the body as far as they are in view ...
 *         frame_take(&frame, part.bytes.size);
 *         view = sv_drop(view, part.bytes.size);
 *     }
 *
 * `view` starts with the first byte that was not taken yet. Looking twice changes nothing, so who
 * wants more of a message than is in view (a whole ErrorResponse, the names in a Bind) leaves it
 * untaken, reads on, and looks again at the longer view; one byte taken decides that the rest comes
 * in parts. A header is given only as a whole: up to four bytes of one wait in the caller's buffer,
 * and nothing unclassified is ever passed on.
 *
 * Startup packets have no type byte and are not framed here: startup.h reads them.
 *
 * Invariants
 *  1. The parts of a stream, put together, are the stream, and they are the same messages however
 *     the stream was split.
 *  2. A message is refused as soon as its type, or its type and length, are in view: an illegal
 *     type, a type out of place, or a length outside its bounds is never waited for.
 *  3. The first error is the last word: from then on every look says FRAME_BAD.
 *
 * One owner, no locking.
 */
#ifndef HF_WIRE_FRAME_H
#define HF_WIRE_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sv.h"

#define FRAME_HEADER_SIZE 5 /* the type, and the length of everything behind the type */

/* What PostgreSQL itself accepts (libpq.h: PQ_SMALL_MESSAGE_LIMIT, PQ_LARGE_MESSAGE_LIMIT). */
#define FRAME_SMALL_MAX 10000
#define FRAME_LARGE_MAX 0x3ffffffe

/* What a server may send of messages that are short by nature; libpq takes longer ones for a lost
 * synchronisation (VALID_LONG_MESSAGE_TYPE in fe-protocol3.c). */
#define FRAME_REPLY_MAX 30000

/* Who speaks. */
enum frame_side {
    FRAME_FRONTEND,
    FRAME_BACKEND
};

/* When: from the startup packet to the first ReadyForQuery, or after it. Bits of a set. The owner
 * says when it changes, since only the owner knows whether a login succeeded; the ReadyForQuery
 * that ends a login is a message of the login. */
enum frame_phase {
    FRAME_LOGIN = 1,
    FRAME_SESSION = 2
};

/* One row of the table of messages. Lengths count as on the wire: with themselves, without the
 * type. */
struct frame_type {
    const char *name; /* static: as the protocol's documentation calls it */
    uint32_t length_min;
    uint32_t length_max;
    uint8_t phases; /* a set of enum frame_phase */
};

/* The row of a type, or NULL if that side has no such message. */
const struct frame_type *frame_type_find(enum frame_side side, char type);

struct frame {
    uint32_t size; /* of the message at hand, header included; of a refused one: its length word */
    uint32_t left; /* of it, how much is not taken; 0 between messages */
    char type;
    uint8_t side;
    uint8_t phase;
    uint8_t error; /* enum frame_error, private */
};

void frame_init(struct frame *frame, enum frame_side side, enum frame_phase phase);

/* From here on another phase; only between messages. */
void frame_enter(struct frame *frame, enum frame_phase phase);

enum frame_status {
    FRAME_MORE, /* nothing to give: the view is empty, or holds a part of a header only */
    FRAME_PART,
    FRAME_BAD, /* sticky; frame_error() says why */
};

struct frame_part {
    char type;
    bool is_first;   /* the header stands at the front of `bytes` */
    bool is_last;    /* with these bytes the message is complete */
    uint32_t size;   /* of the whole message, header included */
    struct sv bytes; /* borrowed from the view; never empty */
};

/* What stands at the front of the view. */
enum frame_status frame_look(struct frame *frame, struct sv view, struct frame_part *part);

/* The size of the message at the front of the view if all of it is there, it may be there, and no
 * other one is half taken: then it may be dealt with and the frame told nothing of it. Else 0, and
 * frame_look() says what there is. */
size_t frame_whole(const struct frame *frame, struct sv view);

/* The first `count` bytes of what frame_look() gave last are done with. */
void frame_take(struct frame *frame, size_t count);

/* No message is half taken. */
static inline bool frame_is_between(const struct frame *frame)
{
    return frame->left == 0 || frame->left == frame->size;
}

/* Why the stream was refused (08P01), or HF_OK. The peer is at fault: HF_RC_PEER. */
enum hf_rc frame_error(const struct frame *frame, struct hf_err *err);

#endif
