#include "cli/explain_cluster.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/ns.h"
#include "base/units.h"
#include "os/clock.h"
#include "os/entropy.h"
#include "pg/catalog_load.h"
#include "pg/conn.h"
#include "pg/watcher.h"

#define CONNECT_NS_MAX HF_SEC(5)
#define LOAD_NS_MAX    HF_SEC(20)
#define WATCH_NS_MAX   HF_SEC(5)
/* Replicas that the primary names are known one look later than the primary. */
#define FOLLOW_NS HF_MS(500)

enum hf_rc explain_load_catalog(struct catalog **catalog, const char *url, struct mem *mem,
                                struct hf_err *err)
{
    /* Of several hosts, one that does not answer shall not use up the time of the others. */
    const struct conn_param params[] = {
        {"application_name", "holdfast"},
        {"tcp_user_timeout", "2000"},
        {"dbname", url},
        {"options", CATALOG_LOAD_OPTIONS},
        {NULL, NULL},
    };
    struct conn conn = {0};
    enum hf_rc rc = conn_open(&conn, params, ns_add(clock_now(), CONNECT_NS_MAX), -1, err);
    if (rc == HF_OK)
        rc = catalog_load(catalog, &conn, 1, ns_add(clock_now(), LOAD_NS_MAX), mem, err);
    conn_close(&conn);
    return rc;
}

/* Until every server was asked once and the primary's replicas too, or the time has passed. */
static bool look_around(struct watcher *watcher, struct snapshot *view)
{
    const int64_t until_ns = ns_add(clock_now(), WATCH_NS_MAX);
    uint64_t seen = 0;
    bool is_seen = false;
    int64_t enough_ns = until_ns;
    while (clock_now() < enough_ns) {
        if (watcher_refresh(watcher, &seen, view) && !is_seen) {
            is_seen = true;
            enough_ns = ns_min(until_ns, ns_add(clock_now(), FOLLOW_NS));
        }
        watcher_wait(watcher, seen, enough_ns);
    }
    return is_seen;
}

static void print_endpoint(const struct snapshot_endpoint *endpoint,
                           const struct route_left_out *out, bool is_chosen)
{
    char lag[UNITS_TEXT_MAX] = "";
    const bool has_lag = endpoint->role == ENDPOINT_REPLICA && endpoint->lag_ns != HF_NEVER;
    if (has_lag)
        units_print_duration(endpoint->lag_ns / HF_MS(1) * HF_MS(1), lag);
    printf("  %-24s %-8s %-8s %s%s%s%s\n", endpoint->name, endpoint_role_name(endpoint->role),
           endpoint_health_name(endpoint->health), is_chosen ? "chosen" : route_out_name(out->why),
           has_lag ? ", " : "", lag, has_lag ? " behind" : "");
}

static void print_choice(const struct snapshot *view, const struct route_request *request)
{
    struct route_left_out out[SNAPSHOT_ENDPOINTS_MAX];
    struct route_decision decision;
    struct route_state state;
    route_state_init(&state, entropy_seed());
    const bool is_chosen = route_choose(view, request, &state, &decision);
    route_explain(view, request, out);
    printf("\nRoute        %s: %s\n", is_chosen ? view->endpoints[decision.endpoint].name : "none",
           route_reason_name(decision.reason));
    for (uint32_t i = 0; i < view->count; i++)
        print_endpoint(&view->endpoints[i], &out[i], is_chosen && i == decision.endpoint);
}

enum hf_rc explain_print_cluster(const char *url, const struct route_request *request,
                                 struct mem *mem, struct hf_err *err)
{
    static struct snapshot view; /* only main's thread uses it; too large for comfort on a stack */
    struct watcher *watcher = NULL;
    const struct watcher_config config = {.conninfo = url, .follow_replicas = true};
    const enum hf_rc rc = watcher_new(&watcher, &config, mem, err);
    if (rc != HF_OK)
        return rc;
    const bool is_seen = look_around(watcher, &view);
    watcher_free(watcher);
    if (!is_seen)
        return err_set(err, HF_RC_AGAIN, "08006", "no server has said what it is within 5 s");
    struct route_request now = *request;
    now.now_ns = clock_now();
    print_choice(&view, &now);
    return HF_OK;
}
