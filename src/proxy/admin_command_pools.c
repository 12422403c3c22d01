/* Commands that open and close: PAUSE, RESUME, SUSPEND, KILL, RECONNECT, DISABLE and their kind. */
#include "proxy/admin_command.h"

#include "proxy/admin.h"
#include "proxy/admin_gather.h"
#include "proxy/admin_say.h"
#include "proxy/client.h"
#include "proxy/gate.h"
#include "proxy/pool.h"
#include "proxy/pool_gate.h"
#include "proxy/server.h"
#include "proxy/worker.h"

#define POLL_NS    HF_MS(10)
#define SUSPEND_NS HF_SEC(10) /* PgBouncer's suspend_timeout: who takes nothing that long goes */

/* ---- going round ---- */

/* Sends `visit` to every worker, for the database that the command names; then `done`. */
static void go_round(struct client *client, const char *database,
                     bool (*visit)(struct gather *gather, struct worker *worker),
                     void (*done)(struct client *client, struct gather *gather))
{
    struct gather *gather = gather_new(client);
    if (gather == NULL) {
        client_close(client, "out of memory for the console");
        return;
    }
    sv_copy(sv_from_cstr(database), gather->argument, sizeof gather->argument);
    gather->visit = visit;
    gather->done = done;
    gather_begin(gather);
}

/* Calls it for this worker's part of every pool of the gather's database, or of all. */
static void for_parts(struct gather *gather, struct worker *worker,
                      void (*call)(struct pool_part *part, struct gather *gather))
{
    struct proxy *proxy = worker->proxy;
    pthread_mutex_lock(&proxy->lock);
    struct pool *pool = proxy->pools;
    pthread_mutex_unlock(&proxy->lock);
    struct sv name = sv_from_cstr(gather->argument);
    for (; pool != NULL; pool = pool->next) {
        if (name.size == 0 || sv_eq(sv_from_cstr(pool->name), name))
            call(&pool->parts[worker->index], gather);
    }
}

/* Is the database closed now? It may have been opened again while the gather was going round, or
 * there may be two reasons for it. */
static bool is_gate_closed(struct proxy *proxy, struct sv name)
{
    pthread_mutex_lock(&proxy->lock);
    bool is_paused = gates_is_paused(&proxy->gates, name);
    pthread_mutex_unlock(&proxy->lock);
    return is_paused;
}

static void apply_part(struct pool_part *part, struct gather *gather)
{
    (void)gather;
    if (is_gate_closed(part->pool->proxy, sv_from_cstr(part->pool->name)))
        pool_hold(part);
    else
        pool_let_go(part);
}

/* Every part becomes what its gate says. */
static bool visit_apply(struct gather *gather, struct worker *worker)
{
    for_parts(gather, worker, apply_part);
    return true;
}

static void refuse(struct client *client, const char *sqlstate, const char *format,
                   const char *name)
{
    struct hf_err err;
    err_set(&err, HF_RC_INVALID, sqlstate, "%s%s", format, name);
    say_error(client, &err);
}

/* ---- waiting ---- */

static void wait_for(struct client *client, enum admin_wait wait, const char *tag,
                     const char *database)
{
    struct admin_session *session = client->console;
    session->wait = wait;
    session->tag = tag;
    sv_copy(sv_from_cstr(database), session->target, sizeof session->target);
    session->until_ns = ns_add(worker_now(client->worker), SUSPEND_NS);
    session->poll_at_ns = worker_now(client->worker);
}

static uint32_t count_servers(struct proxy *proxy, struct sv name)
{
    uint32_t count = 0;
    pthread_mutex_lock(&proxy->lock);
    for (const struct pool *pool = proxy->pools; pool != NULL; pool = pool->next) {
        if (name.size == 0 || sv_eq(sv_from_cstr(pool->name), name))
            count += pool->server_count;
    }
    pthread_mutex_unlock(&proxy->lock);
    return count;
}

static void count_tainted(struct pool_part *part, struct gather *gather)
{
    gather->sums[0] += pool_tainted(part);
}

static bool visit_tainted(struct gather *gather, struct worker *worker)
{
    for_parts(gather, worker, count_tainted);
    return true;
}

/* Who still has something on its way to him; after SUSPEND_NS he goes. */
static bool visit_unflushed(struct gather *gather, struct worker *worker)
{
    struct hf_err err;
    err_set(&err, HF_RC_LIMIT, "57P01", "suspended, and the client does not take its answer");
    list_for_each(node, &worker->sessions) {
        struct client *client = container_of(node, struct client, link);
        if (client->state == CLIENT_ADMIN || stream_is_flushed(&client->stream))
            continue;
        gather->sums[0]++;
        if (gather->number != 0)
            client_fail(client, &err);
    }
    return true;
}

static void polled(struct client *client, struct gather *gather)
{
    struct admin_session *session = client->console;
    if (session->wait != ADMIN_WAIT_CLOSE && session->wait != ADMIN_WAIT_FLUSH)
        return; /* given up */
    if (gather->sums[0] == 0)
        say_end(client, session->tag);
    else
        session->poll_at_ns = ns_add(worker_now(client->worker), POLL_NS);
}

static void poll_release(struct client *client)
{
    struct admin_session *session = client->console;
    struct proxy *proxy = client->worker->proxy;
    struct sv name = sv_from_cstr(session->target);
    if (!is_gate_closed(proxy, name))
        refuse(client, "57014", "RESUME has ended the PAUSE", "");
    else if (count_servers(proxy, name) == 0)
        say_end(client, session->tag);
    else
        session->poll_at_ns = ns_add(worker_now(client->worker), POLL_NS);
}

void admin_pools_poll(struct client *client)
{
    struct admin_session *session = client->console;
    struct worker *worker = client->worker;
    if (session->wait == ADMIN_WAIT_CLOSE) {
        go_round(client, session->target, visit_tainted, polled);
    } else if (session->wait == ADMIN_WAIT_FLUSH) {
        struct gather *gather = gather_new(client);
        if (gather == NULL) {
            session->poll_at_ns = ns_add(worker_now(worker), POLL_NS);
            return;
        }
        gather->number = worker_now(worker) >= session->until_ns;
        gather->visit = visit_unflushed;
        gather->done = polled;
        gather_begin(gather);
    } else if (session->wait == ADMIN_WAIT_RELEASE) {
        poll_release(client);
    }
}

/* ---- PAUSE, KILL ---- */

/* The gate of the database, or of all, is closed. False: it could not, and the client is told. */
static bool close_gate(struct client *client, const char *database)
{
    struct proxy *proxy = client->worker->proxy;
    bool is_set = true;
    pthread_mutex_lock(&proxy->lock);
    bool was_closed = proxy->gates.all != GATE_ALL_OPEN;
    if (!was_closed && database[0] != '\0')
        is_set = gates_set(&proxy->gates, sv_from_cstr(database), GATE_PAUSED);
    else if (!was_closed)
        proxy->gates.all = GATE_ALL_PAUSED;
    pthread_mutex_unlock(&proxy->lock);
    if (was_closed)
        refuse(client, "55000", "already suspended/paused", "");
    else if (!is_set)
        refuse(client, "53400", "too many databases are paused", "");
    return !was_closed && is_set;
}

static void paused(struct client *client, struct gather *gather)
{
    wait_for(client, ADMIN_WAIT_RELEASE, "PAUSE", gather->argument);
    admin_command_poll(client);
}

void admin_pause(struct client *client, const struct admin_words *words)
{
    if (close_gate(client, words->argument))
        go_round(client, words->argument, visit_apply, paused);
}

static void kill_part(struct pool_part *part, struct gather *gather)
{
    struct hf_err err;
    (void)gather;
    err_set(&err, HF_RC_AGAIN, "57P01", "terminating connection due to administrator command");
    err_detail(&err, "KILL was said on the console for database \"%s\".", part->pool->name);
    pool_hold(part);
    pool_kill(part, &err);
}

static bool visit_kill(struct gather *gather, struct worker *worker)
{
    for_parts(gather, worker, kill_part);
    return true;
}

static void killed(struct client *client, struct gather *gather)
{
    (void)gather;
    say_end(client, "KILL");
}

void admin_kill(struct client *client, const struct admin_words *words)
{
    if (close_gate(client, words->argument))
        go_round(client, words->argument, visit_kill, killed);
}

/* ---- SUSPEND ---- */

static bool visit_suspend(struct gather *gather, struct worker *worker)
{
    (void)gather;
    worker->is_suspended = true;
    list_for_each(node, &worker->sessions) {
        struct client *client = container_of(node, struct client, link);
        if (client->state != CLIENT_ADMIN && client->state != CLIENT_CLOSING)
            stream_pause(worker->loop, &client->stream);
    }
    return true;
}

static bool visit_wake(struct gather *gather, struct worker *worker)
{
    (void)gather;
    if (!worker->is_suspended)
        return true;
    worker->is_suspended = false;
    list_for_each(node, &worker->sessions) {
        struct client *client = container_of(node, struct client, link);
        if (client->state != CLIENT_DELAYED && client->state != CLIENT_CLOSING)
            stream_resume(worker->loop, &client->stream);
    }
    return true;
}

static void suspended(struct client *client, struct gather *gather)
{
    (void)gather;
    wait_for(client, ADMIN_WAIT_FLUSH, "SUSPEND", "");
    admin_command_poll(client);
}

void admin_suspend(struct client *client, const struct admin_words *words)
{
    struct proxy *proxy = client->worker->proxy;
    (void)words;
    pthread_mutex_lock(&proxy->lock);
    bool was_closed = proxy->gates.all != GATE_ALL_OPEN;
    bool has_paused = gates_count(&proxy->gates, GATE_PAUSED) > 0;
    if (!was_closed && !has_paused)
        proxy->gates.all = GATE_ALL_SUSPENDED;
    pthread_mutex_unlock(&proxy->lock);
    if (was_closed) {
        refuse(client, "55000", "already suspended/paused", "");
    } else if (has_paused) {
        refuse(client, "55000", "cannot suspend with paused databases", "");
    } else {
        client->console->has_suspended = true;
        go_round(client, "", visit_suspend, suspended);
    }
}

/* ---- RESUME ---- */

static bool visit_resume(struct gather *gather, struct worker *worker)
{
    visit_wake(gather, worker);
    return visit_apply(gather, worker);
}

static void resumed(struct client *client, struct gather *gather)
{
    (void)gather;
    say_end(client, "RESUME");
}

/* Opens the gate. False: it was not closed. */
static bool open_gate(struct proxy *proxy, const char *database)
{
    struct sv name = sv_from_cstr(database);
    pthread_mutex_lock(&proxy->lock);
    bool was_closed = name.size > 0 ? (gates_find(&proxy->gates, name) & GATE_PAUSED) != 0
                                    : proxy->gates.all != GATE_ALL_OPEN;
    if (name.size > 0)
        gates_clear(&proxy->gates, name, GATE_PAUSED);
    else
        proxy->gates.all = GATE_ALL_OPEN;
    pthread_mutex_unlock(&proxy->lock);
    return was_closed;
}

void admin_resume(struct client *client, const struct admin_words *words)
{
    struct hf_err err;
    if (open_gate(client->worker->proxy, words->argument)) {
        client->console->has_suspended = false;
        go_round(client, words->argument, visit_resume, resumed);
        return;
    }
    if (words->argument[0] != '\0')
        err_set(&err, HF_RC_INVALID, "55000", "database %s is not paused", words->argument);
    else
        err_set(&err, HF_RC_INVALID, "55000", "pooler is not paused/suspended");
    say_error(client, &err);
}

void admin_pools_undo(struct client *client)
{
    struct admin_session *session = client->console;
    const char *database = session->has_suspended ? "" : session->target;
    session->has_suspended = false;
    if (open_gate(client->worker->proxy, database))
        go_round(client, database, visit_resume, NULL);
}

/* ---- SHUTDOWN WAIT_FOR_SERVERS ---- */

/* Clients that wait for a connection will get none. */
static void dismiss(struct pool_part *part, struct gather *gather)
{
    struct hf_err err;
    err_set(&err, HF_RC_AGAIN, "57P01", "server shutting down");
    apply_part(part, gather);
    list_for_each(node, &part->worker->sessions) {
        struct client *client = container_of(node, struct client, link);
        if (client->part == part && client->wait != NULL)
            client_fail(client, &err);
    }
}

static bool visit_dismiss(struct gather *gather, struct worker *worker)
{
    for_parts(gather, worker, dismiss);
    return true;
}

static void dismissed(struct client *client, struct gather *gather)
{
    (void)gather;
    admin_shutdown_closed(client);
}

void admin_pools_close(struct client *client)
{
    struct proxy *proxy = client->worker->proxy;
    pthread_mutex_lock(&proxy->lock);
    proxy->gates.all = GATE_ALL_PAUSED;
    pthread_mutex_unlock(&proxy->lock);
    go_round(client, "", visit_dismiss, dismissed);
}

/* ---- RECONNECT, WAIT_CLOSE ---- */

static void reconnect_part(struct pool_part *part, struct gather *gather)
{
    (void)gather;
    pool_reconnect(part);
}

static bool visit_reconnect(struct gather *gather, struct worker *worker)
{
    for_parts(gather, worker, reconnect_part);
    return true;
}

static void reconnected(struct client *client, struct gather *gather)
{
    (void)gather;
    say_end(client, "RECONNECT");
}

void admin_reconnect(struct client *client, const struct admin_words *words)
{
    go_round(client, words->argument, visit_reconnect, reconnected);
}

void admin_wait_close(struct client *client, const struct admin_words *words)
{
    wait_for(client, ADMIN_WAIT_CLOSE, "WAIT_CLOSE", words->argument);
    admin_command_poll(client);
}

/* ---- KILL_CLIENT ---- */

static bool visit_kill_client(struct gather *gather, struct worker *worker)
{
    struct hf_err err;
    err_set(&err, HF_RC_AGAIN, "57P01", "admin forced disconnect");
    list_for_each(node, &worker->sessions) {
        struct client *client = container_of(node, struct client, link);
        bool is_asker = client->sequence == gather->client_sequence;
        if (admin_id(client->sequence) != gather->number || client->state == CLIENT_CLOSING)
            continue;
        gather->sums[0]++;
        if (!is_asker) /* who asks to be killed hears of it, and may go by himself */
            client_fail(client, &err);
    }
    return true;
}

static void killed_client(struct client *client, struct gather *gather)
{
    if (gather->sums[0] > 0)
        say_end(client, "KILL_CLIENT");
    else
        refuse(client, "02000", "client not found", "");
}

void admin_kill_client(struct client *client, const struct admin_words *words)
{
    int64_t id;
    if (sv_to_int(sv_from_cstr(words->argument), 1, INT64_MAX, &id) != SV_NUMBER_OK) {
        refuse(client, "22023", "invalid client pointer supplied", "");
        return;
    }
    struct gather *gather = gather_new(client);
    if (gather == NULL) {
        client_close(client, "out of memory for the console");
        return;
    }
    gather->number = (uint64_t)id;
    gather->visit = visit_kill_client;
    gather->done = killed_client;
    gather_begin(gather);
}

/* ---- DISABLE, ENABLE ---- */

void admin_disable(struct client *client, const struct admin_words *words)
{
    struct proxy *proxy = client->worker->proxy;
    pthread_mutex_lock(&proxy->lock);
    bool is_set = gates_set(&proxy->gates, sv_from_cstr(words->argument), GATE_DISABLED);
    pthread_mutex_unlock(&proxy->lock);
    if (is_set)
        say_end(client, "DISABLE");
    else
        refuse(client, "53400", "too many databases are disabled", "");
}

void admin_enable(struct client *client, const struct admin_words *words)
{
    struct proxy *proxy = client->worker->proxy;
    pthread_mutex_lock(&proxy->lock);
    gates_clear(&proxy->gates, sv_from_cstr(words->argument), GATE_DISABLED);
    pthread_mutex_unlock(&proxy->lock);
    say_end(client, "ENABLE");
}
