/*
 * A loop of libholdfast in a libevent base. Copy this file into your program.
 *
 *     hf_event_start(&bridge, base, loop);    calls may now be started; they call back
 *     hf_event_kick(&bridge);                 after starting some, outside of callbacks
 *     hf_event_stop(&bridge);                 before hf_loop_free()
 */
#ifndef HF_EXAMPLES_HOLDFAST_EVENT_H
#define HF_EXAMPLES_HOLDFAST_EVENT_H

#include <event2/event.h>
#include <holdfast.h>

struct hf_event_bridge {
    struct hf_loop *loop;
    struct event *event; /* readable, or the time of the next turn */
};

/* Sets the time of the next turn. */
static inline void hf_event_kick(struct hf_event_bridge *bridge)
{
    int64_t due_ms = hf_loop_timeout_ms(bridge->loop);
    struct timeval due = {due_ms / 1000, due_ms % 1000 * 1000};

    /* Adding it again without a time leaves the old time in place: away with it first. */
    event_del(bridge->event);
    event_add(bridge->event, due_ms < 0 ? NULL : &due);
}

static void hf_event_turn(evutil_socket_t fd, short what, void *arg)
{
    struct hf_event_bridge *bridge = (struct hf_event_bridge *)arg;

    (void)fd;
    (void)what;
    hf_turn(bridge->loop);
    if (bridge->event != NULL) /* a callback may have stopped us */
        hf_event_kick(bridge);
}

static inline int hf_event_start(struct hf_event_bridge *bridge, struct event_base *base,
                                 struct hf_loop *loop)
{
    bridge->loop = loop;
    bridge->event = event_new(base, hf_loop_fd(loop), EV_READ | EV_PERSIST, hf_event_turn, bridge);
    if (bridge->event == NULL)
        return -1;
    hf_event_kick(bridge);
    return 0;
}

static inline void hf_event_stop(struct hf_event_bridge *bridge)
{
    event_free(bridge->event);
    bridge->event = NULL;
}

#endif
