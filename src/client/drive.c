#include "client/drive.h"

#include <poll.h>
#include <sys/eventfd.h>

#include "base/ns.h"
#include "client/db.h"
#include "client/nudge.h"
#include "client/reaper.h"
#include "os/clock.h"

/* ppoll() takes nanoseconds, so a wait of 300 us is one of 300 us. */
static void wait_until(struct pollfd *files, nfds_t count, int64_t deadline_ns)
{
    struct timespec left;
    const struct timespec *limit = NULL;
    if (deadline_ns != HF_NEVER) {
        int64_t left_ns = ns_max(deadline_ns - clock_now(), 0);
        left = (struct timespec){.tv_sec = left_ns / HF_SEC(1), .tv_nsec = left_ns % HF_SEC(1)};
        limit = &left;
    }
    ppoll(files, count, limit, NULL);
}

/* The descriptors that the call waits for, its own eventfd first. Returns how many. */
static nfds_t gather(const struct call *call, const struct call_wants *wants,
                     struct pollfd files[CALL_POLLS_MAX])
{
    nfds_t count = 0;
    files[count++] = (struct pollfd){.fd = call->wake_fd, .events = POLLIN};
    for (int i = 0; i < 3; i++) {
        if (wants->fd[i] >= 0)
            files[count++] = (struct pollfd){.fd = wants->fd[i], .events = wants->events[i]};
    }
    return count;
}

/* Waits once. Returns what is ready of the call's first descriptor. */
static short wait_once(struct call *call, int64_t now_ns)
{
    struct call_wants wants;
    struct pollfd files[CALL_POLLS_MAX];
    call_wants(call, &wants);
    nfds_t count = gather(call, &wants, files);
    if (wants.deadline_ns > ns_add(now_ns, NUDGE_FAR_NS)) {
        atomic_store_explicit(&call->sleeps_until_ns, wants.deadline_ns, memory_order_relaxed);
        poll(files, count, -1);
        atomic_store_explicit(&call->sleeps_until_ns, HF_NEVER, memory_order_relaxed);
    } else {
        wait_until(files, count, wants.deadline_ns);
    }
    if (files[0].revents != 0) {
        eventfd_t unused;
        eventfd_read(call->wake_fd, &unused);
    }
    return wants.fd[0] >= 0 ? files[1].revents : 0;
}

void call_drive(struct call *call)
{
    int64_t now_ns = call->guard.now_ns; /* the guard has just been told */
    if (call->state == CALL_IS_GOING && db_is_closing(call->db))
        call_stop(call); /* hf_close() may have woken it before it was a call */
    while (call->state == CALL_IS_GOING) {
        short ready = wait_once(call, now_ns);
        call_turn(call, ready);
        if (call->state == CALL_IS_GOING)
            now_ns = clock_now();
    }
}

void drive_release(struct call *call)
{
    if (call->state == CALL_IS_DONE || call->state == CALL_IS_OVER)
        db_call_free(call);
    else
        reaper_take(call->db->reaper, call);
}
