#include "client/learning.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/db.h"
#include "client/events.h"
#include "client/intents.h"
#include "os/clock.h"
#include "pg/watcher.h"

#define LOAD_NS_MAX HF_SEC(10)

/* ---- the thread ---- */

static enum hf_rc load(struct learning *learning, struct conn *conn, int64_t deadline_ns,
                       struct hf_err *err)
{
    struct hf_db *db = learning->db;
    struct catalog *catalog;
    char state[CATALOG_STATE_SIZE];
    if (catalog_state(state, conn, deadline_ns, err) != HF_OK)
        return err->rc;
    if (learning->catalog != NULL && strcmp(state, learning->state) == 0)
        return HF_OK;
    if (catalog_load(&catalog, conn, learning->generation + 1, deadline_ns, &db->mem, err) != HF_OK)
        return err->rc;
    ++learning->generation;
    memcpy(learning->state, state, sizeof state);
    intents_renew(db->intents, catalog);
    catalog_drop(learning->catalog, &db->mem); /* nobody judges by it any more */
    learning->catalog = catalog;
    return HF_OK;
}

static void *run(void *arg)
{
    struct learning *learning = arg;
    struct hf_err err;
    struct conn conn;
    int64_t deadline_ns = clock_now() + LOAD_NS_MAX;
    if (db_connect_catalog(learning->db, learning->endpoint, &conn, deadline_ns,
                           learning->interrupt_fd, &err) == HF_OK) {
        enum hf_rc rc = load(learning, &conn, deadline_ns, &err);
        if (rc != HF_OK)
            events_log(learning->db->events, clock_now(), HF_LOG_WARNING,
                       "could not load the catalogue of %s: %s",
                       learning->db->endpoints[learning->endpoint].name, err.message);
        conn_close(&conn);
    }
    atomic_store(&learning->has_ended, true);
    return NULL;
}

/* ---- the reaper's side ---- */

void learning_init(struct learning *learning, struct hf_db *db)
{
    *learning = (struct learning){.db = db, .interrupt_fd = -1, .next_ns = HF_NEVER};
}

static void join(struct learning *learning)
{
    pthread_join(learning->thread, NULL);
    learning->is_running = false;
}

/* Reading needs no primary, and a replica has less to do. */
static bool choose(const struct snapshot *view, uint32_t *endpoint)
{
    for (uint32_t i = 0; i < view->count; i++) {
        const struct snapshot_endpoint *e = &view->endpoints[i];
        if (e->health == ENDPOINT_UP && e->accepts_reads && e->role != ENDPOINT_UNKNOWN) {
            *endpoint = i;
            if (e->role == ENDPOINT_REPLICA)
                return true;
        }
    }
    return *endpoint != SNAPSHOT_NO_ENDPOINT;
}

static void start(struct learning *learning, const struct snapshot *view, int64_t now_ns)
{
    learning->next_ns = ns_add(now_ns, LEARNING_AGAIN_NS);
    learning->soon_ns = ns_add(now_ns, LEARNING_SOON_NS);
    learning->endpoint = SNAPSHOT_NO_ENDPOINT;
    if (learning->interrupt_fd < 0)
        learning->interrupt_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (learning->interrupt_fd < 0 || !choose(view, &learning->endpoint))
        return;
    atomic_store(&learning->has_ended, false);
    learning->is_running = pthread_create(&learning->thread, NULL, run, learning) == 0;
}

void learning_turn(struct learning *learning, const struct snapshot *view, int64_t now_ns)
{
    if (learning->is_running) {
        if (!atomic_load(&learning->has_ended))
            return;
        join(learning);
    }
    bool is_wanted = now_ns >= learning->soon_ns && intents_take_wish(learning->db->intents);
    if (is_wanted || now_ns >= learning->next_ns)
        start(learning, view, now_ns);
}

void learning_end(struct learning *learning)
{
    if (learning->is_running) {
        eventfd_write(learning->interrupt_fd, 1);
        join(learning);
    }
    if (learning->interrupt_fd >= 0)
        close(learning->interrupt_fd);
    intents_renew(learning->db->intents, NULL);
    catalog_drop(learning->catalog, &learning->db->mem);
    learning->catalog = NULL;
}

void learning_forget(struct learning *learning)
{
    if (learning->interrupt_fd >= 0)
        close(learning->interrupt_fd);
    catalog_drop(learning->catalog, &learning->db->mem);
}
