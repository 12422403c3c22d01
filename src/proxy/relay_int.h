/*
 * What the files of the relay share: a run of bytes that pass unchanged.
 */
#ifndef HF_PROXY_RELAY_INT_H
#define HF_PROXY_RELAY_INT_H

#include <stdbool.h>
#include <stddef.h>

#include "net/loop.h"
#include "proxy/relay.h"
#include "wire/frame.h"

struct client;
struct server;

/* What becomes of the message at the front of a view. */
enum relay_step {
    RELAY_PASS, /* it goes over as it is */
    RELAY_DROP, /* it goes nowhere */
    RELAY_DONE, /* it was dealt with, and taken from the view */
    RELAY_STOP, /* not now */
    RELAY_OVER, /* the pair is no more: touch nothing */
};

/* Bytes at the front of a view that pass, and are not put into the other stream yet. */
struct relay_run {
    struct loop *loop;
    struct stream *from;
    struct stream *to; /* NULL: nobody gets them */
    struct sv view;    /* cut to the room there is */
    size_t size;
    size_t offered; /* how much of the view there was room for at first */
    size_t taken;   /* of it, dealt with */
    bool is_cut;
};

/* Puts what has gathered. What stands behind it is the front of the view afterwards. */
void relay_run_put(struct relay_run *run);

/* The front of the view, before which nothing has gathered, is dealt with. */
void relay_run_drop(struct relay_run *run, size_t size);

/* Cuts the view to the room that there is now; false: nothing is left. To be called again, with
 * nothing gathered, whenever something else was put into the stream. */
bool relay_run_fit(struct relay_run *run);

/* A message that goes to the server as it is: accounted for. `target` of a Describe: S or P. */
enum relay_step relay_send_plain(struct client *client, struct relay_run *run,
                                 const struct frame_part *part, char target, uint32_t tag);

/* The server is asked for what it owes, since otherwise it may sit on it. RELAY_STOP. */
enum relay_step relay_send_flush(struct server *server, struct relay_run *run);

/* Its client gets the ReadyForQuery that was held back (listen.h); and the pair goes on. */
void relay_release(struct server *server);

#endif
