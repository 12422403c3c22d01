/*
 * What the files of the relay share.
 */
#ifndef HF_PROXY_RELAY_INT_H
#define HF_PROXY_RELAY_INT_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/relay.h"
#include "proxy/relay_run.h"
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

/* A message that goes to the server as it is: accounted for. `target` of a Describe: S or P. */
enum relay_step relay_send_plain(struct client *client, struct relay_run *run,
                                 const struct frame_part *part, char target, uint32_t tag);

/* The server is asked for what it owes, since otherwise it may sit on it. RELAY_STOP. */
enum relay_step relay_send_flush(struct server *server, struct relay_run *run);

/* Its client gets the ReadyForQuery that was held back (listen.h); and the pair goes on. */
void relay_release(struct server *server);

#endif
