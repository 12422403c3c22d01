/*
 * A loop of libholdfast in a libuv loop. Copy this file into your program.
 *
 *     hf_uv_start(&bridge, uv_default_loop(), loop);    calls may now be started; they call back
 *     hf_uv_kick(&bridge);                              after starting some, outside of callbacks
 *     hf_uv_stop(&bridge);                              before hf_loop_free(); closes its handles
 *
 * The bridge keeps the libuv loop running only while calls are under way, so that uv_run() returns
 * when there is nothing left to do. It must live until the loop has run once more after hf_uv_stop.
 */
#ifndef HF_EXAMPLES_HOLDFAST_UV_H
#define HF_EXAMPLES_HOLDFAST_UV_H

#include <holdfast.h>
#include <uv.h>

struct hf_uv {
    struct hf_loop *loop;
    uv_poll_t poll;
    uv_timer_t timer;
};

static void hf_uv_turn(struct hf_uv *bridge);

static void hf_uv_on_timer(uv_timer_t *timer)
{
    hf_uv_turn((struct hf_uv *)timer->data);
}

static void hf_uv_on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    hf_uv_turn((struct hf_uv *)poll->data);
}

/* Looks at what is pending and when the next turn is due. */
static inline void hf_uv_kick(struct hf_uv *bridge)
{
    int64_t due_ms = hf_loop_timeout_ms(bridge->loop);

    if (due_ms >= 0)
        uv_timer_start(&bridge->timer, hf_uv_on_timer, (uint64_t)due_ms, 0);
    else
        uv_timer_stop(&bridge->timer);
    if (hf_loop_pending(bridge->loop) > 0)
        uv_ref((uv_handle_t *)&bridge->poll);
    else
        uv_unref((uv_handle_t *)&bridge->poll);
}

static void hf_uv_turn(struct hf_uv *bridge)
{
    hf_turn(bridge->loop);
    hf_uv_kick(bridge);
}

static inline int hf_uv_start(struct hf_uv *bridge, uv_loop_t *uv, struct hf_loop *loop)
{
    int failed;

    bridge->loop = loop;
    failed = uv_poll_init(uv, &bridge->poll, hf_loop_fd(loop));
    if (failed != 0)
        return failed;
    uv_timer_init(uv, &bridge->timer);
    uv_unref((uv_handle_t *)&bridge->timer);
    bridge->poll.data = bridge;
    bridge->timer.data = bridge;
    failed = uv_poll_start(&bridge->poll, UV_READABLE, hf_uv_on_poll);
    hf_uv_kick(bridge);
    return failed;
}

static inline void hf_uv_stop(struct hf_uv *bridge)
{
    uv_close((uv_handle_t *)&bridge->poll, NULL);
    uv_close((uv_handle_t *)&bridge->timer, NULL);
}

#endif
