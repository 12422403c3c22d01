#include "cli/guarded.h"

#include <libpq-fe.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/ns.h"
#include "cli/demo_screen.h"
#include "core/guard.h"
#include "os/clock.h"
#include "os/entropy.h"
#include "os/mem.h"
#include "pg/watcher.h"

#define SERVERS_MAX       (1 + DEMO_REPLICAS_MAX)
#define PACE_NS           HF_MS(100) /* between two writes */
#define CONNECT_NS_MAX    HF_SEC(1)
#define FIRST_LOOK_NS_MAX HF_SEC(10)
#define SLOW_STORY_NS     HF_MS(500) /* a served write that took longer is worth a line */

/* One of the two calls that are always under way, and what was told of it last. */
struct guarded_call {
    struct guard_call call;
    struct guard_request request;
    bool is_busy, is_write;
    int64_t number; /* of the row, for writes */
    int64_t began_ns;
    uint64_t refused_in_a_row;
    uint64_t served, refused, resolved;
};

struct guarded_server {
    struct demo_server server; /* a copy: the demo's own belongs to its thread */
    struct conn probe, work;
    uint64_t role_generation; /* that `work` was made under */
    void *breaker_memory, *bulkhead_memory;
    uint32_t breaker_cursor;
};

struct guarded {
    struct demo_place place;
    pthread_t thread;
    _Atomic bool is_stopping;
    size_t count;
    struct guarded_server servers[SERVERS_MAX];
    struct snapshot view;
    uint64_t view_seen, news_seen;
    struct mem mem;
    struct watcher *watcher;
    struct degrade_config ladder_config;
    struct budget budget;
    struct guard guard;
    struct guard_lane lane;
    struct rng rng;
    struct guarded_call write, read;
    int64_t next_number;
    int64_t acknowledged; /* writes */
    int64_t last_count;   /* of a read */
};

/* ---- looking at the servers ---- */

static void tell_changes(struct guarded *guarded)
{
    struct watcher_news news;
    while (watcher_news(guarded->watcher, &guarded->news_seen, &news, NULL))
        if (news.what.kind == TOPOLOGY_NEWS_LEVEL)
            screen_event("guard: level %s -> %s (%s)", degrade_level_name(news.what.change.from),
                         degrade_level_name(news.what.change.to),
                         degrade_cause_name(news.what.change.cause));
    for (size_t i = 0; i < guarded->count; i++) {
        struct breaker_change change;
        while (breaker_changes_next(guarded->guard.endpoints[i].breaker,
                                    &guarded->servers[i].breaker_cursor, &change))
            screen_event("guard: breaker of %s: %s -> %s, %s", guarded->servers[i].server.name,
                         breaker_state_name(change.from), breaker_state_name(change.to),
                         breaker_cause_text(change.cause));
    }
}

/* What the watcher knows by now. A connection that was made under another role is closed. */
static void look(struct guarded *guarded)
{
    watcher_refresh(guarded->watcher, &guarded->view_seen, &guarded->view);
    for (size_t i = 0; i < guarded->count; i++) {
        struct guarded_server *server = &guarded->servers[i];
        const uint64_t generation = guarded->view.endpoints[i].role_generation;
        if (server->role_generation != generation)
            conn_close(&server->work);
        server->role_generation = generation;
    }
    tell_changes(guarded);
}

/* ---- attempts ---- */

/* The statement itself: a row with a number of its own, or a count of the rows. */
static enum hf_rc run_statement(struct guarded *guarded, struct guarded_call *call,
                                struct conn *conn, int64_t until_ns, struct hf_err *err)
{
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)call->number);
    if (call->is_write)
        return conn_run(conn, "INSERT INTO guarded (number) VALUES ($1)",
                        (const char *const[]){number, NULL}, until_ns, err);
    PGresult *rows = NULL;
    enum hf_rc rc = conn_query(conn, "SELECT count(*) FROM guarded", NULL, until_ns, &rows, err);
    if (rc == HF_OK)
        guarded->last_count = strtoll(PQgetvalue(rows, 0, 0), NULL, 10);
    PQclear(rows);
    return rc;
}

/* The view, always a little old, calls it the primary; the server itself says that it is in
 * recovery. */
static bool is_former_primary(const struct guarded *guarded, uint32_t endpoint)
{
    const char *standby = PQparameterStatus(guarded->servers[endpoint].work.pg, "in_hot_standby");
    return guarded->view.endpoints[endpoint].role == ENDPOINT_PRIMARY && standby != NULL &&
           strcmp(standby, "on") == 0;
}

static void attempt(struct guarded *guarded, struct guarded_call *call,
                    const struct guard_action *run, struct guard_event *ended)
{
    struct guarded_server *server = &guarded->servers[run->endpoint];
    struct hf_err err;
    int64_t connect_ns = ns_min(run->deadline_ns, clock_now() + CONNECT_NS_MAX);
    enum hf_rc rc = HF_OK;
    if (!conn_is_open(&server->work))
        rc = demo_server_connect(&guarded->place, &server->server, DEMO_DATABASE, connect_ns,
                                 &server->work, &err);
    bool was_open = rc == HF_OK;
    ended->kind = GUARD_EV_ENDED;
    if (was_open && is_former_primary(guarded, run->endpoint)) {
        conn_close(&server->work);
        ended->outcome = (struct outcome){.code = OUTCOME_WRONG_ROLE};
        return;
    }
    if (was_open) {
        ended->facts = (struct outcome_facts){
            .sent = true, .may_write = call->is_write, .commit_sent = call->is_write};
        rc = run_statement(guarded, call, &server->work, run->deadline_ns, &err);
    }
    ended->outcome = (struct outcome){.code = OUTCOME_SUCCESS};
    if (rc != HF_OK)
        ended->outcome = server->work.outcome;
}

/* Was the row committed? Asked of whoever is the primary now; nobody there: not known yet. The
 * session that wrote it is gone, and a server that has restarted has rolled back what was not
 * committed, so a row that is missing stays missing. */
static enum guard_resolution find_row(struct guarded *guarded, int64_t wanted)
{
    if (guarded->view.writer == SNAPSHOT_NO_ENDPOINT)
        return GUARD_UNRESOLVED;
    struct guarded_server *server = &guarded->servers[guarded->view.writer];
    struct hf_err err;
    PGresult *rows = NULL;
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)wanted);
    const int64_t until_ns = clock_now() + CONNECT_NS_MAX;
    if ((!conn_is_open(&server->probe) &&
         demo_server_connect(&guarded->place, &server->server, DEMO_DATABASE, until_ns,
                             &server->probe, &err) != HF_OK) ||
        conn_query(&server->probe, "SELECT 1 FROM guarded WHERE number = $1",
                   (const char *const[]){number, NULL}, until_ns, &rows, &err) != HF_OK) {
        conn_close(&server->probe);
        return GUARD_UNRESOLVED;
    }
    bool is_there = PQntuples(rows) == 1;
    PQclear(rows);
    return is_there ? GUARD_COMMITTED : GUARD_ABORTED;
}

/* ---- calls ---- */

static struct guard_event event_of(struct guarded *guarded, enum guard_event_kind kind)
{
    return (struct guard_event){.kind = kind,
                                .now_ns = clock_now(),
                                .random = rng_u64(&guarded->rng),
                                .view = &guarded->view};
}

static void tell_refusal(struct guarded *guarded, struct guarded_call *call)
{
    struct hf_err err;
    guard_reason_error(guard_reason(&call->call), &guarded->view, &err);
    screen_event("guard: a %s got an answer after %.1f s: ERROR %s: %s",
                 call->is_write ? "write" : "read", (double)(clock_now() - call->began_ns) / 1e9,
                 err.sqlstate, err.message);
    screen_more("%s", err.detail);
}

static void answered(struct guarded *guarded, struct guarded_call *call,
                     const struct guard_action *done)
{
    const char *what = call->is_write ? "write" : "read";
    int64_t took_ns = clock_now() - call->began_ns;
    if (done->result != GUARD_SERVED && done->result != GUARD_SERVED_CACHED) {
        ++call->refused;
        if (++call->refused_in_a_row == 1)
            tell_refusal(guarded, call);
        return;
    }
    ++call->served;
    guarded->acknowledged += call->is_write;
    if (call->refused_in_a_row > 0)
        screen_event("guard: %ss are served again, after %llu that were not", what,
                     (unsigned long long)call->refused_in_a_row);
    else if (guard_reason(&call->call)->why == GUARD_WHY_COMMIT_PROVED)
        screen_event("guard: a %s lost its answer; its commit was found after %.1f s", what,
                     (double)took_ns / 1e9);
    else if (took_ns > SLOW_STORY_NS)
        screen_event("guard: a %s waited %.1f s, then it was served by attempt %u; no error", what,
                     (double)took_ns / 1e9, done->attempt);
    call->refused_in_a_row = 0;
}

static void carry_out(struct guarded *guarded, struct guarded_call *call,
                      const struct guard_action *action)
{
    struct guard_event event = event_of(guarded, GUARD_EV_TICK);
    switch (action->kind) {
    case GUARD_ACT_RUN:
        attempt(guarded, call, action, &event);
        event.now_ns = clock_now();
        guard_feed(&call->call, &event);
        break;
    case GUARD_ACT_ENTER:
    case GUARD_ACT_WITHDRAW:
    case GUARD_ACT_HAND_OVER:
        guard_apply_locked(&call->call, action, &event); /* one thread, and never two waiting */
        break;
    case GUARD_ACT_RESOLVE:
        ++call->resolved; /* answered by step(), which asks until somebody knows */
        break;
    case GUARD_ACT_CACHE:
        event.kind = GUARD_EV_CACHED;
        event.was_hit = guarded->last_count >= 0;
        guard_feed(&call->call, &event);
        break;
    case GUARD_ACT_DONE:
        answered(guarded, call, action);
        break;
    case GUARD_ACT_TELL:
        watcher_tell(guarded->watcher, action->endpoint, action->evidence);
        break;
    case GUARD_ACT_STOP: /* attempts end by their own deadline here */
    case GUARD_ACT_FREE:
        break;
    }
    if (action->last)
        call->is_busy = false;
}

static void drain(struct guarded *guarded, struct guarded_call *call)
{
    struct guard_action action;
    while (guard_next(&call->call, &action))
        carry_out(guarded, call, &action);
}

static void begin(struct guarded *guarded, struct guarded_call *call)
{
    call->is_busy = true;
    call->began_ns = clock_now();
    call->number = guarded->next_number;
    guarded->next_number += call->is_write;
    struct guard_event start = event_of(guarded, GUARD_EV_START);
    start.request = &call->request;
    guard_feed(&call->call, &start);
}

/* What has become of a call since the last look; a new one if it is over. */
static void step(struct guarded *guarded, struct guarded_call *call)
{
    if (!call->is_busy) {
        begin(guarded, call);
        drain(guarded, call);
        return;
    }
    struct guard_event event = event_of(guarded, GUARD_EV_VIEW);
    if (call->call.state == GUARD_RESOLVING) {
        event.resolution = find_row(guarded, call->number);
        if (event.resolution != GUARD_UNRESOLVED)
            event.kind = GUARD_EV_RESOLVED;
    }
    guard_feed(&call->call, &event);
    drain(guarded, call);
    if (guard_deadline(&call->call) <= clock_now()) {
        event = event_of(guarded, GUARD_EV_TICK);
        guard_feed(&call->call, &event);
        drain(guarded, call);
    }
}

static void *run(void *argument)
{
    struct guarded *guarded = argument;
    while (!atomic_load(&guarded->is_stopping)) {
        const int64_t next_ns = clock_now() + PACE_NS;
        look(guarded);
        step(guarded, &guarded->write);
        step(guarded, &guarded->read);
        /* A call that is held goes on with the news that it waits for. */
        if (guarded->write.is_busy || guarded->read.is_busy)
            watcher_wait(guarded->watcher, guarded->view_seen, next_ns);
        else
            clock_sleep_until(next_ns);
    }
    return NULL;
}

/* ---- life ---- */

static void make_guard(struct guarded *guarded)
{
    guarded->ladder_config = degrade_config_default();
    struct guard_config config = guard_config_default();
    config.ladder = &guarded->ladder_config;
    config.call_ns = HF_SEC(30);
    config.attempt_ns_max = HF_SEC(2);
    config.hold_ns_max = HF_SEC(20); /* the demo starts a killed server again after 10 s */
    config.resolve_ns_max = HF_SEC(20);
    guard_init(&guarded->guard, &config);
    struct budget_config budget = budget_config_default();
    budget_init(&guarded->budget, &budget, clock_now());
    guarded->guard.budget = &guarded->budget;
    route_state_init(&guarded->lane.route, rng_u64(&guarded->rng));
    guard_call_init(&guarded->write.call, &guarded->guard, &guarded->lane);
    guard_call_init(&guarded->read.call, &guarded->guard, &guarded->lane);
    guarded->write.is_write = true;
    guarded->write.request =
        (struct guard_request){.route = {.intent = ROUTE_WRITE}, .operation = DEGRADE_WRITE};
    guarded->read.request =
        (struct guard_request){.route = {.intent = ROUTE_READ, .consistency = ROUTE_ANY_AGE},
                               .operation = DEGRADE_READ,
                               .cache_ok = true};
}

static bool add_server(struct guarded *guarded, const struct demo_server *server)
{
    /* Sooner closed again than production would want it: whoever kills a server here is watching.
     */
    struct breaker_config breaker = breaker_config_default();
    breaker.failure_threshold = 3;
    breaker.open_ns = HF_SEC(1);
    struct bulkhead_config bulkhead = bulkhead_config_default();
    bulkhead.has_histograms = false;
    struct guarded_server *added = &guarded->servers[guarded->count];
    added->server = *server;
    added->breaker_memory = aligned_alloc(BREAKER_ALIGN, breaker_size(&breaker));
    added->bulkhead_memory = aligned_alloc(BULKHEAD_ALIGN, bulkhead_size(&bulkhead));
    if (added->breaker_memory == NULL || added->bulkhead_memory == NULL)
        return false;
    int64_t now_ns = clock_now();
    guarded->guard.endpoints[guarded->count] = (struct guard_endpoint){
        .breaker = breaker_init(added->breaker_memory, &breaker, rng_u64(&guarded->rng), now_ns),
        .bulkhead = bulkhead_init(added->bulkhead_memory, &bulkhead, now_ns),
    };
    ++guarded->count;
    return true;
}

static enum hf_rc make_table(struct guarded *guarded, struct hf_err *err)
{
    struct conn conn;
    int64_t until_ns = clock_now() + HF_SEC(10);
    enum hf_rc rc = demo_server_connect(&guarded->place, &guarded->servers[0].server, DEMO_DATABASE,
                                        until_ns, &conn, err);
    if (rc == HF_OK)
        rc = conn_run(&conn,
                      "CREATE TABLE IF NOT EXISTS guarded (number bigint PRIMARY KEY, "
                      "at timestamptz NOT NULL DEFAULT clock_timestamp())",
                      NULL, until_ns, err);
    if (rc == HF_OK)
        rc = conn_run(&conn, "TRUNCATE guarded", NULL, until_ns, err);
    conn_close(&conn);
    return rc;
}

static enum hf_rc start_watching(struct guarded *guarded, struct hf_err *err)
{
    char sockets[PATH_MAX];
    struct watcher_endpoint endpoints[SERVERS_MAX] = {0};
    demo_folder_path(guarded->place.folder, "socket", sockets);
    for (size_t i = 0; i < guarded->count; i++)
        endpoints[i] = (struct watcher_endpoint){.name = guarded->servers[i].server.name,
                                                 .host = sockets,
                                                 .port = (uint16_t)guarded->servers[i].server.port};
    const struct watcher_config config = {
        .conninfo = "user=" DEMO_SUPERUSER " dbname=" DEMO_DATABASE,
        .endpoints = endpoints,
        .endpoint_count = guarded->count,
    };
    enum hf_rc rc = watcher_new(&guarded->watcher, &config, &guarded->mem, err);
    if (rc == HF_OK && !watcher_wait(guarded->watcher, 0, clock_now() + FIRST_LOOK_NS_MAX))
        rc = err_set(err, HF_RC_AGAIN, "57P03", "no server has answered");
    if (rc == HF_OK)
        look(guarded);
    return rc;
}

static void destroy(struct guarded *guarded)
{
    watcher_free(guarded->watcher);
    for (size_t i = 0; i < SERVERS_MAX; i++) {
        conn_close(&guarded->servers[i].probe);
        conn_close(&guarded->servers[i].work);
        free(guarded->servers[i].breaker_memory);
        free(guarded->servers[i].bulkhead_memory);
    }
    mem_deinit(&guarded->mem);
    free(guarded);
}

enum hf_rc guarded_start(struct guarded **out, const struct demo_cluster *cluster,
                         struct hf_err *err)
{
    struct guarded *guarded = calloc(1, sizeof *guarded);
    *out = NULL;
    if (guarded == NULL)
        return err_set(err, HF_RC_LIMIT, "53200", "out of memory");
    guarded->place = cluster->place;
    guarded->last_count = -1;
    guarded->next_number = 1;
    rng_init(&guarded->rng, entropy_seed());
    mem_init(&guarded->mem, 0);
    snapshot_init(&guarded->view);
    make_guard(guarded);
    enum hf_rc rc = HF_OK;
    for (size_t i = 0; i < cluster->count && rc == HF_OK; i++)
        if (!add_server(guarded, &cluster->servers[i]))
            rc = err_set(err, HF_RC_LIMIT, "53200", "out of memory");
    if (rc == HF_OK)
        rc = make_table(guarded, err);
    if (rc == HF_OK)
        rc = start_watching(guarded, err);
    if (rc == HF_OK && pthread_create(&guarded->thread, NULL, run, guarded) != 0)
        rc = err_set(err, HF_RC_LIMIT, "53000", "could not start a thread");
    if (rc != HF_OK) {
        destroy(guarded);
        return err_while(err, "starting the demo's application");
    }
    *out = guarded;
    return HF_OK;
}

/* How many of the acknowledged rows are there; -1 if nobody can be asked. The user has asked to
 * stop, and that must not interrupt the counting. */
static int64_t count_rows(const struct guarded *guarded)
{
    struct demo_place place = guarded->place;
    place.stop_fd = -1;
    int64_t found = -1;
    for (size_t i = 0; i < guarded->count && found < 0; i++) {
        struct conn conn = {0};
        struct hf_err err;
        PGresult *rows = NULL;
        int64_t until_ns = clock_now() + HF_SEC(2);
        if (guarded->view.endpoints[i].role == ENDPOINT_PRIMARY &&
            demo_server_connect(&place, &guarded->servers[i].server, DEMO_DATABASE, until_ns, &conn,
                                &err) == HF_OK &&
            conn_query(&conn, "SELECT count(*) FROM guarded", NULL, until_ns, &rows, &err) == HF_OK)
            found = strtoll(PQgetvalue(rows, 0, 0), NULL, 10);
        PQclear(rows);
        conn_close(&conn);
    }
    return found;
}

void guarded_stop(struct guarded *guarded)
{
    if (guarded == NULL)
        return;
    atomic_store(&guarded->is_stopping, true);
    pthread_join(guarded->thread, NULL);
    int64_t found = count_rows(guarded);
    printf("\nUnder the guard: %lld writes acknowledged, %llu refused; %llu reads served, %llu "
           "refused; %llu retries, %llu lost answers looked up\n",
           (long long)guarded->acknowledged, (unsigned long long)guarded->write.refused,
           (unsigned long long)guarded->read.served, (unsigned long long)guarded->read.refused,
           (unsigned long long)guarded->lane.stats.retries,
           (unsigned long long)(guarded->write.resolved + guarded->read.resolved));
    if (found >= guarded->acknowledged)
        printf("Every acknowledged write is there: %lld rows\n", (long long)found);
    else if (found >= 0)
        printf("Acknowledged writes are MISSING: %lld rows\n", (long long)found);
    fflush(stdout);
    destroy(guarded);
}
