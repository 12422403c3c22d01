/*
 * What one server connection still owes, and why: the accounting that tells for each message of a
 * server whose it is. On it stands the first invariant of the product: no row can reach a client
 * that did not ask for it.
 *
 *     replies_send()      before a message goes to the server: what it will owe
 *     replies_receive()   when a message came from the server: whom it is for
 *     then, until they say no:
 *     replies_next_local()     replies that are due now and that we must make ourselves
 *     replies_next_dropped()   requests that the server skipped after an error
 *
 * It sees message types only (and the status in ReadyForQuery, and whether an error is fatal), so
 * bodies stream past it. It is a queue of requests in the order in which they were sent, which is
 * the order in which they are answered; the first one has a state, and a table says which messages
 * are legal in it and what they lead to.
 *
 *     request                    is answered by                                          ends with
 *     Query                      results, any number: T D* C, C, I, or a COPY            Z
 *     FunctionCall               V                                                       Z
 *     Parse, Bind, Close         1, 2, 3                                                 that
 *     Describe                   t and T or n (statement); T or n (portal)               T, n
 *     Execute                    D* or a COPY                                            C, I, s
 *     Sync                                                                               Z
 *     COPY in                    G, then the client sends d* and c or f                  C
 *     COPY out, both ways        H or W, then d* c                                       C
 *
 * E may come in place of any. In answer to a Query or a FunctionCall, Z follows. In answer to the
 * others the server skips everything up to the next Sync, and so nothing else is dropped here: not
 * the Sync, and not what follows it. Notices, parameter changes and notifications (N, S, A) come at
 * any moment and change nothing.
 *
 * Whose
 *     REPLIES_CLIENT     the client asked: it gets the replies.
 *     REPLIES_OURS       we asked (reset, probes, settings): nobody else sees anything of it.
 *     REPLIES_STANDIN    we asked so that a request of the client works (a Parse on a server that
 *                        does not have the statement yet): success is ours, an error the client's.
 *     REPLIES_LOCAL      the client asked, but nothing was sent (a Parse of a statement that the
 *                        server has): the reply is ours to make, in its turn and not before, and
 *                        not at all if the server skips that far.
 *
 * COPY in and Sync. In copy-in mode a server ignores Sync and Flush, for the sake of drivers that
 * send them behind every Execute. So a Sync that was sent between an Execute (or Query) and the end
 * of its copy owes nothing once the copy has ended well. If it ended in an error, nobody can know
 * whether the server had read that Sync before: another ReadyForQuery may come, or not. Such
 * replies *in doubt* are the client's when they come. The doubt ends when a reply comes to anything
 * that was sent later; until then the connection is not idle, and cannot go to another client. If
 * none comes by itself, a Query of ours settles it (REPLIES_DOUBTFUL). Requests that a client
 * pipelined behind such a copy might be executed or skipped: that cannot be told apart, and ends
 * the connection.
 *
 * Full. The queue has a fixed capacity; equal requests in a row take one place. If there is none,
 * replies_send() says REPLIES_FULL: the message is not sent, and no more is read from that client.
 * A server may sit on up to 8 kB of replies until somebody asks for them, so a Flush (which owes
 * nothing) must be sent then, or both sides wait.
 *
 * Invariants
 *  1. A message gets a verdict other than REPLIES_VIOLATION only if the request at the front of the
 *     queue, or the doubt described above, owes it.
 *  2. A DataRow is forwarded only as an answer to a client's Query or Execute that has not ended.
 *  3. A client is attached only to a connection that is idle, which is said only if nothing can
 * come but N, S, A and a fatal E.
 *  4. What comes while no client is attached is forwarded to nobody.
 *  5. The first violation is the last word.
 *
 * One owner, no locking, no allocation.
 */
#ifndef HF_WIRE_REPLIES_H
#define HF_WIRE_REPLIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum replies_kind {
    REPLIES_NONE, /* not an answer to anything */
    REPLIES_QUERY,
    REPLIES_FUNCTION,
    REPLIES_PARSE,
    REPLIES_BIND,
    REPLIES_DESCRIBE_STATEMENT,
    REPLIES_DESCRIBE_PORTAL,
    REPLIES_EXECUTE,
    REPLIES_CLOSE,
    REPLIES_SYNC,
    REPLIES_COPY_END, /* private: a CopyDone or CopyFail was sent here */
    REPLIES_PAST,     /* private: a Sync that owes nothing any more */
};

enum replies_whose {
    REPLIES_CLIENT,
    REPLIES_OURS,
    REPLIES_STANDIN,
    REPLIES_LOCAL,
};

/* Private: a run of equal requests. */
struct replies_run {
    uint8_t kind;
    uint8_t whose;
    uint16_t count;
    uint32_t tag;
};

struct replies {
    struct replies_run *runs; /* borrowed: a ring */
    uint32_t capacity;
    uint32_t first;
    uint32_t used;
    uint32_t dropped; /* of the first runs, how many the server skips */
    uint32_t done;    /* requests of clients that have ended, modulo 2^32 */
    uint16_t doubt;   /* ReadyForQuery that may come or not */
    uint8_t state;    /* of the first request */
    uint8_t end;      /* not 0: closed or violated */
    char status;      /* of the last ReadyForQuery: I, T or E */
    char offender;    /* the message that violated the protocol */
    uint8_t offended; /* the kind of request that was first when it came */
    bool is_open; /* extended messages were sent, and no Sync, Query or FunctionCall after them */
    bool is_skipping; /* the server skips up to a Sync that was not sent yet */
    bool is_attached; /* a client has the connection */
};

/* Bytes for a queue of so many runs. */
size_t replies_size(uint32_t capacity);

/* Of a connection that has just logged in, whose first ReadyForQuery had this status, and which
 * nobody has. `memory` has replies_size(capacity) bytes, is aligned for a uint32_t and outlives the
 * queue. */
void replies_init(struct replies *replies, void *memory, uint32_t capacity, char status);

/* A client gets the connection. False, and it does not, if another one has it or if it is not
 * clean: idle and outside a transaction. */
bool replies_attach(struct replies *replies);

/* The client gives it back, or is gone. Nothing of what is still to come is shown to anybody, and
 * only requests of ours are taken. */
void replies_detach(struct replies *replies);

struct replies_request {
    char type;   /* of the message */
    char target; /* of a Describe: S or P */
    enum replies_whose whose;
    uint32_t tag; /* the caller's, given back with verdicts; runs have one tag */
};

enum replies_sent {
    REPLIES_OWED,
    REPLIES_FREE,    /* owes nothing: Flush, CopyData, Terminate ... */
    REPLIES_SKIPPED, /* the server will skip it: sent or not, nothing comes of it */
    REPLIES_FULL,    /* nothing changed; not now */
    REPLIES_REFUSED, /* the connection is over; or a client's, and no client has it */
};

/* Any message of a client (frame.h) but those of a login. A LOCAL one is not sent. */
enum replies_sent replies_send(struct replies *replies, struct replies_request request);

/* How many more requests fit, in the worst case. */
static inline uint32_t replies_room(const struct replies *replies)
{
    return replies->capacity - replies->used;
}

enum replies_action {
    REPLIES_FORWARD,  /* to the client */
    REPLIES_SWALLOW,  /* ours: look at it, and let nobody see it */
    REPLIES_VIOLATION /* close the connection; replies_error() says why */
};

struct replies_verdict {
    uint8_t action; /* enum replies_action */
    uint8_t kind;   /* enum replies_kind: what is answered, or NONE for what comes by itself */
    uint8_t whose;  /* enum replies_whose */
    bool is_last;   /* with this message the request has ended */
    uint32_t tag;
    uint32_t request; /* which one of the clients' requests, from 0: with OURS, STANDIN: the next */
};

/* The short way for most messages: an answer of any kind but ReadyForQuery and an error to a
 * request of a client's, unless it copies into the server. True: it is accounted for as by
 * replies_receive(), and goes to the client; nothing is dropped by it. `*tag`: of the request, if
 * it has ended, else 0. False: nothing was done. */
bool replies_pass(struct replies *replies, char type, uint32_t *tag);

/* What replies_receive() must know of an ErrorResponse that is fatal (message_error_is_fatal). */
#define REPLIES_FATAL 'F'

/* `detail`: of ReadyForQuery its status, of an ErrorResponse REPLIES_FATAL or 0, else 0. */
struct replies_verdict replies_receive(struct replies *replies, char type, char detail);

/* The reply to a LOCAL request is due: it has come to the front of the queue, and leaves it. To be
 * asked after each send of a LOCAL request, and after each receive: until then no message of the
 * server is owed. */
bool replies_has_local(const struct replies *replies);
bool replies_next_local(struct replies *replies, struct replies_request *request);

struct replies_dropped {
    enum replies_kind kind;
    enum replies_whose whose;
    uint32_t count;
    uint32_t tag;
};

/* What the server skips because of the error received last. Whoever does not ask before the next
 * send or receive is not told. */
bool replies_next_dropped(struct replies *replies, struct replies_dropped *dropped);

/* What it takes until the connection rests. */
enum replies_rest {
    REPLIES_IDLE,     /* it does */
    REPLIES_BUSY,     /* waiting */
    REPLIES_OPEN,     /* a Sync */
    REPLIES_COPYING,  /* the server waits for data: a CopyFail, and then to ask again */
    REPLIES_DOUBTFUL, /* a Query of ours, an empty one will do */
    REPLIES_OVER,     /* it never will: close it */
};

enum replies_rest replies_rest(const struct replies *replies);

/* COPYING for an Execute: what is no part of a copy makes it fail, and is skipped. */
bool replies_is_breaking(const struct replies *replies);

/* REPLIES_OVER, as it cannot be known any more what is owed. No message of the server needs to
 * follow that would tell. */
bool replies_is_ambiguous(const struct replies *replies);

/* Idle, and outside a transaction: it may serve another client. */
static inline bool replies_is_clean(const struct replies *replies)
{
    return replies->used == 0 && replies->status == 'I' && replies->end == 0 && !replies->is_open &&
           !replies->is_skipping && replies->doubt == 0;
}

/* Why the connection is over: 08P01 if the server's messages make no sense, 08006 after a fatal
 * error; HF_OK if it is not. */
enum hf_rc replies_error(const struct replies *replies, struct hf_err *err);

#endif
