/*
 * A run of bytes that pass unchanged from one stream to another, whatever messages they are parts
 * of: they gather while they are looked at, and are put into the other stream at once.
 *
 *     view  [ gathered | looked at | still to be looked at ]     cut to the room of the other one
 */
#ifndef HF_PROXY_RELAY_RUN_H
#define HF_PROXY_RELAY_RUN_H

#include <stdbool.h>
#include <stddef.h>

#include "net/loop.h"

struct relay_run {
    struct loop *loop;
    struct stream *from;
    struct stream *to; /* NULL: nobody gets them */
    struct sv view;    /* cut to the room there is */
    size_t size;       /* gathered at its front, and not put into the other stream yet */
    size_t offered;    /* how much of the view there was room for at first */
    size_t taken;      /* of it, dealt with */
    bool is_cut;
};

/* All that is in the view and finds room; false: nothing. */
bool relay_run_begin(struct relay_run *run, struct loop *loop, struct stream *from,
                     struct stream *to);

/* Puts what is left. True: there was more than there was room for, and now there is room, so it
 * must be gone on with; if there is none, LOOP_DRAINED of `to` follows. */
bool relay_run_end(struct relay_run *run);

/* Puts what has gathered. What stands behind it is the front of the view afterwards. */
void relay_run_put(struct relay_run *run);

/* The front of the view, before which nothing has gathered, is dealt with. */
void relay_run_drop(struct relay_run *run, size_t size);

/* Cuts the view to the room that there is now; false: nothing is left. To be called again, with
 * nothing gathered, whenever something else was put into the stream. */
bool relay_run_fit(struct relay_run *run);

#endif
