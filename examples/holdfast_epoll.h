/*
 * A loop of libholdfast in a program's own epoll. Copy this file into your program.
 *
 *     hf_epoll_add(epoll, loop);                    once
 *     timeout = hf_epoll_timeout(loop, timeout);    before epoll_wait: not longer than that
 *     hf_turn(loop);                                after it, each time
 *
 * hf_turn() is cheap when nothing has happened, so nothing is gained by asking first.
 */
#ifndef HF_EXAMPLES_HOLDFAST_EPOLL_H
#define HF_EXAMPLES_HOLDFAST_EPOLL_H

#include <holdfast.h>
#include <sys/epoll.h>

/* In event.data.ptr comes the loop, so that it can be told from what else is waited for. */
static inline int hf_epoll_add(int epoll, struct hf_loop *loop)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = loop};

    return epoll_ctl(epoll, EPOLL_CTL_ADD, hf_loop_fd(loop), &event);
}

/* The shorter of what the program would wait (-1: for ever) and what the loop allows. */
static inline int hf_epoll_timeout(const struct hf_loop *loop, int timeout_ms)
{
    int64_t ours_ms = hf_loop_timeout_ms(loop);

    if (ours_ms < 0 || (timeout_ms >= 0 && timeout_ms < ours_ms))
        return timeout_ms;
    return ours_ms > 1000000 ? 1000000 : (int)ours_ms;
}

#endif
