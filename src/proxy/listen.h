/*
 * LISTEN in transaction and statement mode, seen from a client.
 *
 * A client that listens has no connection of its own, so one connection for each database listens
 * for all (listen_hub.h). What a client listens to is found out without reading its statements: the
 * server connection that it has at the moment really runs its LISTEN and UNLISTEN, in whatever
 * transaction, savepoint, function or pipeline, and is asked afterwards what it has come to.
 *
 *     client      server connection                        hub
 *     LISTEN a -> LISTEN a
 *              <- CommandComplete "LISTEN"
 *                 ReadyForQuery (idle)   is held back
 *                 pg_listening_channels()
 *                                                     ->   LISTEN a, for the first who wants it
 *     ReadyForQuery is let go  <------------------------   it listens
 *                 UNLISTEN *, before anybody else has the connection
 *
 * So a LISTEN is acknowledged when the hub listens: nothing is lost that is notified after that.
 * An UNLISTEN can have an effect on the server only if the connection listens to what the client
 * listens to. So before a transaction in which one may come (channels_may_matter()), the connection
 * is *primed*: it listens to the client's channels. Only clients that listen pay for that.
 *
 * Notifications are told while the client is idle or waits in a queue, or else before the
 * ReadyForQuery that ends a transaction, as PostgreSQL does; until then they wait in a queue of the
 * client, whose size is limited (listen_queue). What finds no room in it is a gap, as the time is
 * in which the hub was not connected. After a gap the client is told so by a NoticeResponse, or is
 * disconnected, where it resynchronises only then (listen_gap).
 *
 * Invariants
 *  1. Between a client's ReadyForQuery behind a LISTEN and its UNLISTEN it gets each notification
 *     once, in order, or is told of a gap.
 *  2. Notifications come between messages, and never inside of a transaction block.
 *  3. No server connection listens when another client gets it.
 *
 * Belongs to one worker's thread.
 */
#ifndef HF_PROXY_LISTEN_H
#define HF_PROXY_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "proxy/relay_int.h"
#include "proxy/server.h"
#include "wire/message.h"

struct client;
struct listen_channel;
struct listen_hub;
struct listen_news;
struct listen_place;
struct worker;

#define LISTEN_FEW 8 /* channels that take no table of their own; a power of two */

#define LISTEN_GAP_SQLSTATE "01N01" /* of the warning that notifications may be lost; our own */

/* What a client that listens has. */
struct listening {
    struct list_node link; /* of worker->listening */
    struct client *client;
    struct listen_hub *hub;
    struct list channels; /* struct listen_place */
    uint32_t count;
    uint32_t bucket_count;         /* a power of two */
    struct listen_place **buckets; /* the same places, by their names; `few`, or larger */
    struct listen_place *few[LISTEN_FEW];
    size_t queued;        /* bytes that the news in the queue take */
    struct list queue;    /* struct listen_told: what is still to be told, in order */
    uint64_t leave_round; /* of the hub, after which channels are left; 0: none are */
    bool has_gap;         /* in the queue */
    bool is_lossy;        /* news are dropped until the gap is told */
    bool is_over;         /* it wants more channels than it may, or than there is memory for */
    int64_t gap_from_ns;  /* wall time, of the gap that is in the queue */
    int64_t gap_to_ns;
    uint64_t gap_lost; /* how many were dropped; 0: nobody knows */
    int64_t waits_ns;  /* its ReadyForQuery is held back since; 0: it is not */
};

/* ---- the relay asks ---- */

/* In from_client(): what the client says comes behind what this does; RELAY_PASS: it may go. */
enum relay_step listen_prime(struct client *client, struct relay_run *run,
                             const struct frame_part *part);

/* Its client says a Query, a Parse or a Bind with LISTEN or UNLISTEN in it: what comes behind it,
 * or behind the Sync of the others, waits for its answer, so that the end can be held back. */
void listen_expect(struct server *server, char type);
/* Whether a message waits for that. */
bool listen_waits(struct server *server, char type);

/* Few tags begin as LISTEN, UNLISTEN and DISCARD do: the others are not looked at any further. */
static inline bool listen_is_tag(struct sv message)
{
    struct sv tag = sv_drop(message, FRAME_HEADER_SIZE);
    return tag.size > 2 && ((tag.data[0] == 'L' && tag.data[1] == 'I') ||
                            (tag.data[0] == 'U' && tag.data[1] == 'N') ||
                            (tag.data[0] == 'D' && tag.data[1] == 'I'));
}

/* A CommandComplete for the client. */
void listen_completed(struct server *server, const struct frame_part *part);
/* A DataRow that is not for the client. */
void listen_row(struct server *server, const struct frame_part *part);

/* A ReadyForQuery for the client: true: it is held back. */
bool listen_holds(struct server *server);
/* A census says that the session listens: by what a function did, it may be. */
void listen_found(struct server *server);
/* A ReadyForQuery of a transaction that is over: what waits is told before it. */
void listen_tell_before(struct client *client, const struct relay_run *run);

/* The server's messages are dealt with so far: goes on with what was begun here. False: there may
 * be nothing more to be done with the pair. */
bool listen_settle(struct server *server);

/* ---- the client ---- */

/* It is idle, or there is room for more. */
void listen_flush(struct client *client);
/* It is gone, or has said DISCARD ALL. */
void listen_left(struct client *client);

/* ---- the worker ---- */

/* WORKER_NEWS: from the hub. */
void listen_news(struct worker *worker, struct listen_news *news);
/* Once a second. */
void listen_tick(struct worker *worker, int64_t now_ns);

#endif
