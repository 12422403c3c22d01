#include "client/reaper.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "base/bug.h"
#include "base/container_of.h"
#include "client/call_loop.h"
#include "client/db.h"
#include "client/learning.h"
#include "client/record.h"
#include "client/threads.h"
#include "client/warm.h"
#include "os/clock.h"
#include "pg/watcher.h"

struct reaper {
    struct hf_db *db;
    struct loop loop;
    struct watcher_ear ear;
    struct loop_extra hearing;
    struct warm warm[SNAPSHOT_ENDPOINTS_MAX];
    struct learning learning;
    bool was_down[SNAPSHOT_ENDPOINTS_MAX];
    pthread_t thread;
    _Atomic bool is_stopping;
    pthread_mutex_t lock; /* over incoming */
    struct list incoming;
    int64_t sweep_at_ns;
};

/* ---- calls that were left behind ---- */

static void turned(struct loop *loop, struct call *call)
{
    if (call->state == CALL_IS_PARKED) {
        call_stop(call);
        loop_touch(loop, call);
        return;
    }
    if (call->state != CALL_IS_DONE && call->state != CALL_IS_OVER)
        return;
    loop_remove(loop, call);
    db_call_free(call);
    db_leave(loop->db);
}

static struct call *take_incoming(struct reaper *reaper)
{
    pthread_mutex_lock(&reaper->lock);
    struct list_node *node = list_pop_front(&reaper->incoming);
    pthread_mutex_unlock(&reaper->lock);
    return node == NULL ? NULL : container_of(node, struct call, link);
}

static void adopt(struct reaper *reaper)
{
    struct call *call;
    while ((call = take_incoming(reaper)) != NULL)
        loop_add(&reaper->loop, call);
}

void reaper_take(struct reaper *reaper, struct call *call)
{
    db_stay(reaper->db);      /* until it is over */
    call->user_cancel = NULL; /* the caller may free it now, and its session */
    call->is_abandoned = true;
    pthread_mutex_lock(&reaper->lock);
    list_push_back(&reaper->incoming, &call->link);
    pthread_mutex_unlock(&reaper->lock);
    eventfd_write(reaper->loop.wake_fd, 1);
}

/* ---- what comes round ---- */

/* A breaker opened because its server was gone has nothing to say of the server that is back: it
 * has answered the watcher. Calls that have waited for it would be refused otherwise, in the moment
 * in which they could be served. What was forced by hand stays. */
static void forgive(struct db_endpoint *endpoint, int64_t now_ns)
{
    enum breaker_state state = breaker_state(endpoint->breaker);
    if (state == BREAKER_OPEN || state == BREAKER_HALF_OPEN)
        breaker_reset(endpoint->breaker, now_ns);
}

/* Before those who wait look at the new snapshot. */
static void look_around(struct reaper *reaper)
{
    struct hf_db *db = reaper->db;
    struct call_view *view = &reaper->loop.view;
    watcher_refresh(db->watcher, &view->seen, &view->snapshot);
    for (uint32_t i = 0; i < view->snapshot.count && i < db->endpoint_count; i++) {
        bool is_down = view->snapshot.endpoints[i].health == ENDPOINT_DOWN;
        if (reaper->was_down[i] && !is_down)
            forgive(&db->endpoints[i], clock_now());
        reaper->was_down[i] = is_down;
    }
}

static void hear(struct loop *loop, struct loop_extra *unused)
{
    (void)unused;
    struct reaper *reaper = loop->arg;
    watcher_listen(&reaper->ear);
    look_around(reaper);
    db_wake_watching(reaper->db);
    record_news(reaper->db);
}

/* What is there too long goes, and what is to be there at least is made, if the server is up. */
static void keep_pool(struct reaper *reaper, uint32_t index, int64_t now_ns)
{
    const struct snapshot_endpoint *endpoint = &reaper->loop.view.snapshot.endpoints[index];
    struct pool *pool = &reaper->db->endpoints[index].pool;
    uint32_t wanted = pool_sweep(pool, endpoint->role_generation, now_ns);
    bool is_up = endpoint->health == ENDPOINT_UP && endpoint->role != ENDPOINT_UNKNOWN;
    warm_keep(&reaper->warm[index], &reaper->loop, index, is_up ? wanted : 0,
              endpoint->role_generation);
}

static void sweep(struct reaper *reaper)
{
    struct hf_db *db = reaper->db;
    int64_t now_ns = clock_now();
    if (now_ns < reaper->sweep_at_ns)
        return;
    reaper->sweep_at_ns = now_ns + REAPER_SWEEP_NS;
    look_around(reaper);
    const struct snapshot *view = &reaper->loop.view.snapshot;
    for (uint32_t i = 0; i < view->count && i < db->endpoint_count; i++)
        keep_pool(reaper, i, now_ns);
    learning_turn(&reaper->learning, view, now_ns);
    txs_reap(db, now_ns, false);
    record_news(db);
}

static void *run(void *arg)
{
    struct reaper *reaper = arg;
    while (!atomic_load(&reaper->is_stopping)) {
        loop_turn(&reaper->loop, reaper->sweep_at_ns);
        adopt(reaper);
        sweep(reaper);
    }
    return NULL;
}

/* ---- life ---- */

enum hf_rc reaper_new(struct reaper **out, struct hf_db *db, struct hf_err *err)
{
    *out = NULL;
    struct reaper *reaper = mem_alloc(&db->mem, sizeof *reaper);
    if (reaper == NULL)
        return mem_refused(&db->mem, sizeof *reaper, err);
    reaper->db = db;
    pthread_mutex_init(&reaper->lock, NULL);
    list_init(&reaper->incoming);
    learning_init(&reaper->learning, db);
    enum hf_rc rc = loop_init(&reaper->loop, db, err);
    if (rc != HF_OK)
        goto no_loop;
    reaper->loop.turned = turned;
    reaper->loop.arg = reaper;
    rc = watcher_ear_open(db->watcher, &reaper->ear, err);
    if (rc != HF_OK)
        goto no_ear;
    reaper->hearing.ready = hear;
    loop_watch(&reaper->loop, &reaper->hearing, reaper->ear.fd, POLLIN);
    watcher_listen(&reaper->ear);
    *out = reaper;
    rc = threads_start(&reaper->thread, run, reaper, err);
    if (rc == HF_OK)
        return HF_OK;
    *out = NULL;
    watcher_ear_close(db->watcher, &reaper->ear);
no_ear:
    loop_deinit(&reaper->loop);
no_loop:
    pthread_mutex_destroy(&reaper->lock);
    mem_free(&db->mem, reaper);
    return rc;
}

void reaper_free(struct reaper *reaper)
{
    if (reaper == NULL)
        return;
    struct hf_db *db = reaper->db;
    atomic_store(&reaper->is_stopping, true);
    eventfd_write(reaper->loop.wake_fd, 1);
    pthread_join(reaper->thread, NULL);
    learning_end(&reaper->learning);
    for (uint32_t i = 0; i < db->endpoint_count; i++)
        warm_end(&reaper->warm[i], &reaper->loop);
    loop_unwatch(&reaper->loop, &reaper->hearing);
    watcher_ear_close(db->watcher, &reaper->ear);
    loop_deinit(&reaper->loop);
    pthread_mutex_destroy(&reaper->lock);
    mem_free(&db->mem, reaper);
}

void reaper_forget(struct reaper *reaper)
{
    if (reaper == NULL)
        return;
    learning_forget(&reaper->learning);
    loop_forget(&reaper->loop);
    mem_free(&reaper->db->mem, reaper);
}
