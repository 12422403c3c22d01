#include "cli/watch_url.h"

#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/ns.h"
#include "cli/demo_screen.h"
#include "cli/report.h"
#include "cli/server_facts.h"
#include "cli/url_proxy.h"
#include "config/connstr.h"
#include "os/clock.h"
#include "os/signals.h"

#define CONNECT_NS_MAX HF_SEC(5)
#define QUERY_NS_MAX   HF_SEC(2)
#define INTERVAL_NS    HF_SEC(1)

/* ---- Ask once ---- */

static enum hf_rc ensure_open(struct watch_target *target, struct hf_err *err)
{
    /* In front of the URL, so that what it says itself wins. Of several hosts, one that does not
     * answer shall not use up the time of the others: TCP gives up on it first. */
    const struct conn_param params[] = {
        {"application_name", "holdfast"},
        {"tcp_user_timeout", "2000"},
        {"dbname", target->url},
        {NULL, NULL},
    };
    if (conn_is_open(&target->conn))
        return HF_OK;
    return conn_open(&target->conn, params, ns_add(clock_now(), CONNECT_NS_MAX), target->stop_fd,
                     err);
}

static struct watch_outcome probe(struct watch_target *target)
{
    struct watch_outcome outcome = {.state = WATCH_DOWN};
    PGresult *rows = NULL;
    enum hf_rc rc = ensure_open(target, &outcome.err);
    if (rc == HF_OK)
        rc = conn_query(&target->conn, "SELECT pg_is_in_recovery()", NULL,
                        ns_add(clock_now(), QUERY_NS_MAX), &rows, &outcome.err);
    if (rc == HF_OK)
        outcome.state = PQgetvalue(rows, 0, 0)[0] == 't' ? WATCH_REPLICA : WATCH_PRIMARY;
    else
        conn_close(&target->conn); /* whatever it was, the next look begins anew */
    PQclear(rows);
    outcome.at_ns = clock_now();
    return outcome;
}

/* ---- What is worth a line ---- */

static const char *role_name(enum watch_state state)
{
    return state == WATCH_PRIMARY ? "primary" : "replica";
}

bool watch_step(struct watch *watch, const struct watch_outcome *outcome,
                char text[WATCH_TEXT_SIZE])
{
    const enum watch_state before = watch->state;
    const enum watch_state now = outcome->state;
    watch->state = now;
    if (now == before)
        return false;
    if (now == WATCH_DOWN) {
        watch->down_since_ns = outcome->at_ns;
        snprintf(text, WATCH_TEXT_SIZE, "down: %s", outcome->err.message);
        return true;
    }
    const enum watch_state role_before = watch->last_up;
    watch->last_up = now;
    if (before == WATCH_DOWN) {
        const double away_s = (double)(outcome->at_ns - watch->down_since_ns) / 1e9;
        const bool is_changed = role_before != WATCH_UNKNOWN && role_before != now;
        snprintf(text, WATCH_TEXT_SIZE, "up again after %.1f s: %s%s", away_s, role_name(now),
                 is_changed ? ", which it was not before" : "");
    } else if (before == WATCH_UNKNOWN) {
        snprintf(text, WATCH_TEXT_SIZE, "up: %s", role_name(now));
    } else {
        snprintf(text, WATCH_TEXT_SIZE, "changed its role: %s, was %s", role_name(now),
                 role_name(before));
    }
    return true;
}

/* ---- The loop ---- */

/* True if the user wants to stop, which ends the wait. */
static bool wait_until(int stop_fd, int64_t until_ns)
{
    struct pollfd file = {.fd = stop_fd, .events = POLLIN};
    int64_t left_ns;
    do {
        left_ns = until_ns - clock_now();
        if (poll(&file, 1, left_ns <= 0 ? 0 : (int)(left_ns / HF_MS(1) + 1)) > 0)
            return true;
    } while (left_ns > 0);
    return false;
}

static void keep_watching(struct watch_target *target, struct watch *watch, struct url_proxy *proxy)
{
    char text[WATCH_TEXT_SIZE];
    int64_t next_ns = ns_add(clock_now(), INTERVAL_NS);
    while (!wait_until(target->stop_fd, next_ns)) {
        next_ns = ns_add(clock_now(), INTERVAL_NS);
        const struct watch_outcome outcome = probe(target);
        if (wait_until(target->stop_fd, 0))
            return; /* an interrupted look says nothing of the server */
        if (watch_step(watch, &outcome, text))
            screen_event("%s", text);
        if (url_proxy_is_lost(proxy))
            screen_event("the proxy has ended; begin anew to have one");
    }
}

/* Without a proxy it is only watched, and said why. */
static void protect(const struct watch_target *target, const struct connstr *shown,
                    struct url_proxy *proxy)
{
    struct hf_err err;
    fflush(stdout); /* before the child's first words */
    if (url_proxy_start(proxy, target->url, target->stop_fd, &err) == HF_OK)
        url_proxy_print(proxy, shown);
    else
        printf("\nNo proxy stands in front of it: %s.\n", err.message);
}

static int watch_server(struct watch_target *target, const struct connstr *shown,
                        struct url_proxy *proxy)
{
    struct watch watch = {.state = WATCH_UNKNOWN};
    char text[WATCH_TEXT_SIZE];
    printf("Looking at %s ...\n", shown->endpoint);
    fflush(stdout);
    struct watch_outcome outcome = probe(target);
    if (wait_until(target->stop_fd, 0))
        return CLI_OK;
    if (outcome.state == WATCH_DOWN) {
        err_while(&outcome.err, "could not look at %s", shown->endpoint);
        return report_failure(&outcome.err);
    }
    struct hf_err err;
    if (server_facts_print(&target->conn, &err) != HF_OK)
        return wait_until(target->stop_fd, 0) ? CLI_OK : report_failure(&err);
    printf("\nConnect\n  %s\n", shown->psql);
    if (shown->has_password)
        printf("  The password of your connection string is not shown; psql will ask for it.\n");
    protect(target, shown, proxy);
    printf("\nWatching: from here on a line for each change. Ctrl-C ends this and the proxy; the "
           "server is not touched.\n\n");
    fflush(stdout);
    if (watch_step(&watch, &outcome, text))
        screen_event("%s", text);
    keep_watching(target, &watch, proxy);
    return CLI_OK;
}

int watch_url(const char *url)
{
    static const int stop_signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct connstr shown;
    struct signals stop;
    struct hf_err err;
    if (connstr_read(&shown, url, &err) != HF_OK)
        return report_usage(&err);
    if (signals_open(&stop, stop_signals, 3, &err) != HF_OK)
        return report_failure(&err);
    struct watch_target target = {.url = url, .stop_fd = stop.fd};
    struct url_proxy proxy = {0};
    const int status = watch_server(&target, &shown, &proxy);
    url_proxy_stop(&proxy);
    if (status == CLI_OK)
        printf("\nNo longer watching.\n");
    conn_close(&target.conn);
    signals_close(&stop);
    return status;
}
