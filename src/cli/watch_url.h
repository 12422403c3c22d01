/*
 * holdfast demo URL: looks after a server that exists already. Asks what it is, shows it, puts a
 * proxy in front of it (url_proxy.h), and then keeps asking and tells what changes. It only reads.
 *
 * The loop is made of three parts that know nothing of each other: probe() asks once and
 * returns what came of it, watch_step() is told and decides what is worth a line, and watch_url()
 * waits, calls both and prints.
 */
#ifndef HF_CLI_WATCH_URL_H
#define HF_CLI_WATCH_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "pg/conn.h"

/* What one look at the server came to. */
enum watch_state {
    WATCH_UNKNOWN, /* not looked yet */
    WATCH_PRIMARY,
    WATCH_REPLICA,
    WATCH_DOWN, /* the err says why */
};

struct watch_outcome {
    enum watch_state state;
    int64_t at_ns;
    struct hf_err err; /* with WATCH_DOWN */
};

/* A connection that is kept open between looks, and made anew when it was lost. */
struct watch_target {
    const char *url; /* borrowed */
    struct conn conn;
    int stop_fd;
};

/* What is known so far. */
struct watch {
    enum watch_state state;   /* last seen */
    enum watch_state last_up; /* last seen of those that are up */
    int64_t down_since_ns;
};

#define WATCH_TEXT_SIZE 400

/* Takes one outcome; true if there is something to tell, which is then in `text`. */
bool watch_step(struct watch *watch, const struct watch_outcome *outcome,
                char text[WATCH_TEXT_SIZE]);

/* All of it, until the user stops it. Returns an exit status. `url` is the working copy of the
 * argument; nobody else may see it. */
int watch_url(const char *url);

#endif
