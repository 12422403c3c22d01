#include "client/drive.h"

#include <poll.h>
#include <sys/eventfd.h>

#include "base/ns.h"
#include "client/db.h"
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

static bool is_going(const struct call *call)
{
    return call->state == CALL_IS_GOING;
}

void call_drive(struct call *call)
{
    while (is_going(call)) {
        struct call_wants wants;
        call_wants(call, &wants);
        struct pollfd files[4] = {{.fd = call->wake_fd, .events = POLLIN}};
        for (int i = 0; i < 3; i++)
            files[i + 1] = (struct pollfd){.fd = wants.fd[i], .events = wants.events[i]};
        wait_until(files, 4, wants.deadline_ns);
        if (files[0].revents != 0) {
            eventfd_t count;
            eventfd_read(call->wake_fd, &count);
        }
        call_turn(call, files[1].revents);
    }
}

void drive_release(struct call *call)
{
    if (call->state == CALL_IS_DONE || call->state == CALL_IS_OVER)
        db_call_free(call);
    else
        reaper_take(call->db->reaper, call);
}
