#include "client/start.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/ns.h"
#include "client/errors.h"
#include "os/clock.h"
#include "pg/watcher.h"

/* How often on_start is told, and how long finding out the reason of a failure may take. */
#define TELL_NS      HF_MS(500)
#define WHY_NS_MAX   HF_SEC(2)
#define FIRST_ASKING HF_MS(50)

static bool is_there(const struct snapshot *view)
{
    for (uint32_t i = 0; i < view->count; i++) {
        const struct snapshot_endpoint *endpoint = &view->endpoints[i];
        if (endpoint->health != ENDPOINT_DOWN && endpoint->role != ENDPOINT_UNKNOWN)
            return true;
    }
    return false;
}

/* Every server refuses us for a reason that time does not heal. The last one is in `*which`. */
static bool is_hopeless(struct hf_db *db, uint32_t count, uint32_t *which)
{
    uint32_t refusing = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct topology_endpoint endpoint;
        if (!watcher_describe(db->watcher, i, &endpoint))
            continue;
        /* A server that refuses us is no silence: it answers, if only to that. */
        if (!endpoint.was_asked || endpoint.has_answer ||
            outcome_rule(endpoint.outcome)->kind != OUTCOME_KIND_PERSISTENT)
            return false;
        *which = i;
        ++refusing;
    }
    return refusing > 0;
}

/* The reason in the server's own words: the watcher keeps only its kind, so it is asked for once
 * more, by a connection of our own. */
static int explain(struct hf_db *db, uint32_t which, struct hf_error *err)
{
    struct hf_err why;
    struct conn conn;
    enum conn_step step = db_connect(db, which, &conn, clock_now() + WHY_NS_MAX, &why);
    while (step == CONN_WAITS) {
        struct pollfd file = {.fd = conn_fd(&conn), .events = conn.wants};
        poll(&file, 1, (int)ns_max((conn.deadline_ns - clock_now()) / HF_MS(1) + 1, 0));
        step = conn_connect(&conn, clock_now(), &why);
    }
    if (step == CONN_DONE) {
        conn_close(&conn);
        return error_set(err, HF_E_CONNECT, "%s answers, but not in time for hf_open()",
                         db->endpoints[which].name);
    }
    int code = error_from_err(err, HF_E_CONNECT, &why);
    if (err != NULL) {
        err->may_repeat = outcome_rule(conn.outcome)->kind != OUTCOME_KIND_PERSISTENT;
        snprintf(err->endpoint, sizeof err->endpoint, "%s", db->endpoints[which].name);
    }
    return code;
}

static int tell(struct hf_db *db, int64_t waited_ns, const struct hf_hooks *hooks,
                struct hf_error *err)
{
    struct topology_endpoint endpoint;
    char why[160] = "the servers have not answered yet";
    if (hooks == NULL || hooks->on_start == NULL)
        return HF_SUCCESS;
    if (watcher_describe(db->watcher, 0, &endpoint) && endpoint.was_asked && !endpoint.has_answer)
        snprintf(why, sizeof why, "%s: %s", db->endpoints[0].name,
                 outcome_rule(endpoint.outcome)->sentence);
    if (hooks->on_start(why, waited_ns / HF_MS(1), hooks->arg) == 0)
        return HF_SUCCESS;
    error_set(err, HF_E_CANCELLED, "on_start gave up waiting for a server");
    error_detail(err, "%s", why);
    return HF_E_CANCELLED;
}

int start_wait(struct hf_db *db, int64_t start_ns, const struct hf_hooks *hooks,
               struct hf_error *err)
{
    int64_t begun_ns = clock_now();
    int64_t deadline_ns = ns_add(begun_ns, start_ns);
    int64_t told_ns = begun_ns;
    struct call_view view;
    uint32_t which = 0;
    call_view_init(&view);
    for (;;) {
        int64_t now_ns = clock_now();
        watcher_wait(db->watcher, view.seen, ns_min(deadline_ns, now_ns + FIRST_ASKING));
        watcher_refresh(db->watcher, &view.seen, &view.snapshot);
        if (is_there(&view.snapshot))
            return HF_SUCCESS;
        now_ns = clock_now();
        if (is_hopeless(db, db->endpoint_count, &which) || now_ns >= deadline_ns)
            return explain(db, which, err);
        if (now_ns - told_ns >= TELL_NS) {
            told_ns = now_ns;
            int code = tell(db, now_ns - begun_ns, hooks, err);
            if (code != HF_SUCCESS)
                return code;
        }
    }
}
