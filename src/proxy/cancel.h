/*
 * Cancel requests, both ways.
 *
 *     a client's     pid and key -> the worker and client that they name -> its query: withdrawn
 *                    from the queue, or cancelled at the server that runs it
 *     to a server    a connection of its own with the server's pid and key, up to its end
 *
 * The right query or none: a request names a client, never a server connection, and what reaches a
 * server is for the client that has it at that moment. The server connection is not given to
 * anybody else (server->cancels) until the request has been dealt with: PostgreSQL closes the
 * connection of a cancel request after it has sent its signal.
 *
 * How many are under way is bounded, and how long each takes. One too many is dropped and logged,
 * as a lost packet would be: who pressed Ctrl-C presses it again.
 */
#ifndef HF_PROXY_CANCEL_H
#define HF_PROXY_CANCEL_H

#include <stdint.h>

#include "base/list.h"
#include "base/sv.h"
#include "base/timerq.h"
#include "net/loop.h"
#include "wire/startup.h"

struct proxy;
struct server;
struct worker;

struct cancel {
    struct stream stream; /* kind STREAM_CANCEL */
    struct timer timer;
    struct worker *worker;
    struct server *server; /* NULL: it is gone */
    struct list_node link; /* of worker->cancelling */
    uint32_t pid;
    uint16_t key_size;
    bool is_for_peer; /* another instance: see peers.h */
    bool is_sent;
    char key[STARTUP_CANCEL_KEY_MAX];
};

/* From one worker to the one that the client belongs to. */
struct cancel_message {
    struct loop_message message;
    uint32_t pid;
    uint16_t key_size;
    char key[STARTUP_CANCEL_KEY_MAX];
};

/* A CancelRequest has come. */
void cancel_asked(struct worker *worker, uint32_t pid, struct sv key);
/* One that has come to the process that took over from us: see takeover.h. In the main thread. */
void cancel_handed(struct proxy *proxy, uint32_t pid, struct sv key);
/* From another worker. */
void cancel_passed(struct worker *worker, struct cancel_message *message);
/* What was passed on to a worker whose thread has ended. */
void cancel_drop(struct worker *worker, struct loop_message *message);

/* Cancels what the server connection is doing. */
void cancel_send(struct server *server);

/* To another instance, as it is. */
void cancel_pass_on(struct worker *worker, const struct address *address, uint32_t pid,
                    struct sv key);

void cancel_event(struct cancel *cancel, const struct loop_event *event);
void cancel_timeout(struct cancel *cancel);

/* The server connection is gone: those that are on their way to it have nothing to settle. */
void cancel_forget(struct server *server);

#endif
