#include "client/nudge.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/container_of.h"
#include "client/db.h"
#include "client/threads.h"
#include "os/clock.h"

struct nudge {
    struct hf_db *db;
    pthread_t thread;
    int stop_fd; /* readable: end */
};

static void look(struct hf_db *db)
{
    int64_t near_ns = clock_now() + NUDGE_NEAR_NS;
    pthread_mutex_lock(&db->lock);
    list_for_each(node, &db->calls) {
        struct call *call = container_of(node, struct call, all);
        if (atomic_load_explicit(&call->sleeps_until_ns, memory_order_relaxed) < near_ns)
            eventfd_write(atomic_load(&call->wake_at), 1);
    }
    pthread_mutex_unlock(&db->lock);
}

static void *run(void *arg)
{
    struct nudge *nudge = arg;
    struct pollfd file = {.fd = nudge->stop_fd, .events = POLLIN};
    while (poll(&file, 1, (int)(NUDGE_LOOK_NS / HF_MS(1))) <= 0)
        look(nudge->db);
    return NULL;
}

enum hf_rc nudge_new(struct nudge **out, struct hf_db *db, struct hf_err *err)
{
    *out = NULL;
    struct nudge *nudge = mem_alloc(&db->mem, sizeof *nudge);
    if (nudge == NULL)
        return mem_refused(&db->mem, sizeof *nudge, err);
    nudge->db = db;
    nudge->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    enum hf_rc rc = nudge->stop_fd < 0
                        ? err_set(err, HF_RC_IO, "53000", "could not make an event descriptor")
                        : threads_start(&nudge->thread, run, nudge, err);
    if (rc == HF_OK)
        *out = nudge;
    else
        nudge_forget(nudge);
    return rc;
}

void nudge_forget(struct nudge *nudge)
{
    if (nudge == NULL)
        return;
    if (nudge->stop_fd >= 0)
        close(nudge->stop_fd);
    mem_free(&nudge->db->mem, nudge);
}

void nudge_free(struct nudge *nudge)
{
    if (nudge == NULL)
        return;
    eventfd_write(nudge->stop_fd, 1);
    pthread_join(nudge->thread, NULL);
    nudge_forget(nudge);
}
