#include "proxy/client.h"

#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "proxy/admin.h"
#include "proxy/admission.h"
#include "proxy/cancel.h"
#include "proxy/limits.h"
#include "proxy/listen.h"
#include "proxy/pool.h"
#include "proxy/prepare.h"
#include "proxy/query_log.h"
#include "proxy/refusals.h"
#include "proxy/relay.h"
#include "proxy/server.h"
#include "proxy/session_state.h"
#include "proxy/worker.h"
#include "wire/build.h"

#define LINGER_NS HF_SEC(5) /* for the last words of a connection to be sent */

/* WAITING: what it asked is answered with an error. False: the client is gone. */
static bool refuse(struct client *client, const struct hf_err *err);

/* ---- time ---- */

/* Since when nothing is under way: the answer to its last request; or, if it has a connection for
 * one that it has not sent whole yet, since it has that. */
static int64_t rests_since(const struct client *client)
{
    return client->server != NULL ? ns_max(client->rested_ns, client->server->since_ns)
                                  : client->rested_ns;
}

/* It waits for an answer, or for what is done before its request goes. */
static bool is_served(const struct client *client)
{
    return client->request_ns != 0 ||
           (client->server != NULL && client->server->listen != SERVER_LISTEN_REST);
}

/* It has a connection that it does not keep, and has sent a part of a message. */
static bool is_half_said(const struct client *client)
{
    return client->state == CLIENT_ACTIVE && client->part->pool->mode != PROXY_POOL_SESSION &&
           client->transaction_ns == 0 && client->pins == 0;
}

/* When the state that the client is in has lasted too long. */
static int64_t deadline_of(const struct client *client)
{
    const struct pool_part *part = client->part;
    switch ((enum client_state)client->state) {
    case CLIENT_STARTUP:
    case CLIENT_SECURING:
    case CLIENT_AUTHENTICATING:
        return ns_add(client->connected_ns, client->worker->config->limits.client_login_timeout_ns);
    case CLIENT_IDLE:
    case CLIENT_REFUSED:
        return ns_add(client->since_ns, part->config.client_idle_timeout_ns);
    case CLIENT_ACTIVE: {
        if (client->server != NULL && (client->server->is_syncing || client->server->is_asking))
            return HF_NEVER; /* the server has a limit for these */
        int64_t idle_ns = is_served(client) ? part->config.query_timeout_ns
                                            : part->config.idle_transaction_timeout_ns;
        int64_t from_ns = client->request_ns == 0 ? rests_since(client) : client->request_ns;
        if (part->pool->mode == PROXY_POOL_SESSION && client->server != NULL &&
            client->request_ns == 0 && client->server->replies.status == 'I')
            idle_ns = part->config.client_idle_timeout_ns;
        if (client->pins != 0 && client->transaction_ns == 0)
            idle_ns =
                ns_min(part->config.client_idle_timeout_ns, part->config.pinned_idle_timeout_ns);
        int64_t at_ns = ns_add(from_ns, idle_ns);
        if (client->transaction_ns != 0)
            at_ns =
                ns_min(at_ns, ns_add(client->transaction_ns, part->config.transaction_timeout_ns));
        return at_ns;
    }
    case CLIENT_DELAYED:
        return client->rested_ns;
    case CLIENT_CLOSING:
        return ns_add(client->since_ns, LINGER_NS);
    case CLIENT_ADMIN:
        return admin_deadline(client);
    case CLIENT_WAITING:
        return limits_deadline(client);
    case CLIENT_ENTERING: /* the pool's limits count */
    default:
        return HF_NEVER;
    }
}

/* Timers are set to an earlier time only; one that fires too early is set anew. So a query does not
 * touch the queue of timers, however many limits there are. */
void client_watch(struct client *client)
{
    int64_t at_ns = deadline_of(client);
    if (at_ns != HF_NEVER && (!timerq_is_linked(&client->timer) || at_ns < client->timer.at_ns))
        worker_timer(client->worker, &client->timer, at_ns);
}

void client_enter(struct client *client, enum client_state state)
{
    client->state = (uint8_t)state;
    client->since_ns = worker_now(client->worker);
    client_watch(client);
}

void client_begin_request(struct client *client)
{
    client->request_ns = worker_now(client->worker);
    if (client->transaction_ns == 0)
        client->transaction_ns = client->request_ns;
    client_watch(client);
}

void client_end_request(struct client *client, bool is_transaction_over)
{
    client->request_ns = 0;
    client->rested_ns = worker_now(client->worker);
    if (is_transaction_over)
        client->transaction_ns = 0;
    client_watch(client);
}

/* Which limit was it that passed. */
static void explain_timeout(const struct client *client, struct hf_err *err)
{
    const struct proxy_pool *config = &client->part->config;
    int64_t now_ns = worker_now(client->worker), from_ns = rests_since(client), limit_ns;
    if (client->pins != 0 && client->transaction_ns == 0 &&
        config->pinned_idle_timeout_ns <= config->client_idle_timeout_ns) {
        err_set(err, HF_RC_LIMIT, "57P05", "terminating connection due to pinned_idle_timeout");
        limit_ns = config->pinned_idle_timeout_ns;
    } else if (client->transaction_ns == 0 && !is_half_said(client)) {
        err_set(err, HF_RC_LIMIT, "57P05", "terminating connection due to client_idle_timeout");
        limit_ns = config->client_idle_timeout_ns;
    } else if (client->transaction_ns != 0 &&
               ns_add(client->transaction_ns, config->transaction_timeout_ns) <= now_ns) {
        err_set(err, HF_RC_LIMIT, "25P04", "terminating connection due to transaction_timeout");
        from_ns = client->transaction_ns;
        limit_ns = config->transaction_timeout_ns;
    } else if (is_served(client)) {
        err_set(err, HF_RC_LIMIT, "57014", "terminating connection due to query_timeout");
        from_ns = client->request_ns != 0 ? client->request_ns : from_ns;
        limit_ns = config->query_timeout_ns;
    } else {
        err_set(err, HF_RC_LIMIT, "25P03",
                "terminating connection due to idle_transaction_timeout");
        limit_ns = config->idle_transaction_timeout_ns;
    }
    err_detail(err, "It took %lld ms; %lld ms are allowed, by the database or the role.",
               (long long)((now_ns - from_ns) / HF_MS(1)), (long long)(limit_ns / HF_MS(1)));
    err_hint(err, "Connect again; if it has to take so long, raise this timeout and reload.");
}

/* Who has not said what he wants yet is told nothing, as by PostgreSQL: it may be no client. */
static void give_up_login(struct client *client)
{
    char text[PEER_TEXT_SIZE];
    struct hf_err err;
    if (client->state != CLIENT_AUTHENTICATING) {
        log_emit(client->worker->proxy->log, LOG_AT_WARNING, "login took too long",
                 log_text("address", peer_text(&client->peer, text)));
        client_close(client, "login took too long");
        return;
    }
    err_set(&err, HF_RC_LIMIT, "57014", "canceling authentication due to timeout");
    err_detail(&err, "It took longer than limits.client_login_timeout = %lld ms.",
               (long long)(client->worker->config->limits.client_login_timeout_ns / HF_MS(1)));
    err_hint(&err, "Send the password at once, or raise that limit.");
    client_fail(client, &err);
}

void client_timeout(struct client *client)
{
    struct hf_err err;
    if (deadline_of(client) > worker_now(client->worker)) {
        client_watch(client);
        return;
    }
    switch ((enum client_state)client->state) {
    case CLIENT_STARTUP:
    case CLIENT_SECURING:
    case CLIENT_AUTHENTICATING:
        give_up_login(client);
        return;
    case CLIENT_DELAYED:
        admission_denied(client);
        return;
    case CLIENT_CLOSING:
        stream_close(client->worker->loop, &client->stream, false);
        return;
    case CLIENT_IDLE:
    case CLIENT_REFUSED:
    case CLIENT_ACTIVE:
        explain_timeout(client, &err);
        client_fail(client, &err);
        return;
    case CLIENT_WAITING:
        limits_timeout(client);
        return;
    case CLIENT_ADMIN:
        admin_timeout(client);
        return;
    case CLIENT_ENTERING:
    default:
        return;
    }
}

/* ---- begin and end ---- */

/* In place of a session: there is no place for one. */
static void turn_away(int fd, const char *limit, int64_t most)
{
    char bytes[512];
    struct buffer out;
    struct hf_err err;
    err_set(&err, HF_RC_LIMIT, "53300", "sorry, too many clients already");
    err_detail(&err, "The limit is limits.%s = %lld.", limit, (long long)most);
    err_hint(&err, "Close connections that are not needed, or raise the limit.");
    buffer_init(&out, bytes, sizeof bytes);
    if (build_error(&out, BUILD_FATAL, &err) == HF_OK)
        (void)!send(fd, bytes, buffer_held(&out), MSG_DONTWAIT | MSG_NOSIGNAL);
    close(fd);
}

void client_accept(struct worker *worker, int fd, const struct peer *peer, uint32_t listener)
{
    struct client *client = NULL;
    struct admission *admission = NULL;
    const struct proxy_limits *limits = &worker->config->limits;
    struct peer source = peer_source(peer);
    struct sv address = sv_from((const char *)source.ip, sizeof source.ip);
    if (peer->family != AF_UNIX && !proxy_tally_try(worker->proxy, PROXY_TALLY_ADDRESS, address,
                                                    limits->clients_per_address_max)) {
        atomic_fetch_sub(&worker->proxy->client_count, 1);
        turn_away(fd, "clients_per_address_max", limits->clients_per_address_max);
        return;
    }
    /* Places beyond the limit are for the console: see admission.c. */
    if (atomic_load(&worker->proxy->client_count) <= (uint32_t)limits->clients_max + ADMIN_PLACES) {
        client = bufpool_lend(&worker->clients);
        admission = bufpool_lend(&worker->admissions);
    }
    if (client == NULL || admission == NULL) {
        if (client != NULL)
            bufpool_return(&worker->clients, client);
        atomic_fetch_sub(&worker->proxy->client_count, 1);
        if (peer->family != AF_UNIX)
            proxy_tally_return(worker->proxy, PROXY_TALLY_ADDRESS, address);
        turn_away(fd, "clients_max", limits->clients_max);
        return;
    }
    memset(client, 0, sizeof *client);
    client->worker = worker;
    client->peer = *peer;
    client->listener = (uint8_t)listener;
    client->admission = admission;
    client->connected_ns = worker_now(worker);
    client->sequence = ++worker->client_sequence;
    list_push_back(&worker->sessions, &client->link);
    atomic_fetch_add_explicit(&worker->client_count, 1, memory_order_relaxed);
    stream_start(worker->loop, &client->stream, fd, STREAM_CLIENT);
    if (worker->is_suspended)
        stream_pause(worker->loop, &client->stream);
    admission_begin(client);
    client_enter(client, CLIENT_STARTUP);
}

bool client_tally(struct client *client, struct hf_err *err)
{
    struct proxy *proxy = client->worker->proxy;
    const struct proxy_config *config = client->worker->config;
    struct sv name = sv_from_cstr(client->part->pool->name);
    struct sv role = sv_from_cstr(client->part->pool->role);
    int64_t of_database = client->part->database->clients_max;
    int64_t of_role = proxy_role_get(config, role)->clients_max;
    const char *what = NULL;
    if (!proxy_tally_try(proxy, PROXY_TALLY_DATABASE, name, of_database)) {
        what = "database";
    } else if (!proxy_tally_try(proxy, PROXY_TALLY_ROLE, role, of_role)) {
        proxy_tally_return(proxy, PROXY_TALLY_DATABASE, name);
        what = "role";
    }
    client->is_tallied = what == NULL;
    if (what == NULL)
        return limits_login(client, err);
    bool is_database = what[0] == 'd';
    err_set(err, HF_RC_LIMIT, "53300", "too many connections for %s \"%s\"", what,
            is_database ? client->part->pool->name : client->part->pool->role);
    err_detail(err, "Its clients_max is %lld.", (long long)(is_database ? of_database : of_role));
    return false;
}

static void untally(struct client *client)
{
    struct proxy *proxy = client->worker->proxy;
    struct peer source = peer_source(&client->peer);
    if (client->peer.family != AF_UNIX)
        proxy_tally_return(proxy, PROXY_TALLY_ADDRESS,
                           sv_from((const char *)source.ip, sizeof source.ip));
    if (!client->is_tallied)
        return;
    limits_logout(client);
    proxy_tally_return(proxy, PROXY_TALLY_DATABASE, sv_from_cstr(client->part->pool->name));
    proxy_tally_return(proxy, PROXY_TALLY_ROLE, sv_from_cstr(client->part->pool->role));
}

static void forget(struct client *client)
{
    struct worker *worker = client->worker;
    worker_timer(worker, &client->timer, HF_NEVER);
    list_remove(&client->link);
    untally(client);
    query_log_end(client);
    proxy_settings_drop(worker->proxy, client->settings);
    proxy_settings_drop(worker->proxy, client->startup);
    proxy_settings_drop(worker->proxy, client->greeted);
    proxy_settings_drop(worker->proxy, client->told);
    atomic_fetch_sub_explicit(&worker->client_count, 1, memory_order_relaxed);
    atomic_fetch_sub(&worker->proxy->client_count, 1);
    memset(client->key, 0, sizeof client->key);
    client->sequence = 0;
    bufpool_return(&worker->clients, client);
}

void client_log_begin(const struct client *client)
{
    char text[PEER_TEXT_SIZE];
    if (client->worker->config->proxy.log_connections)
        log_emit(client->worker->proxy->log, LOG_AT_INFO, "client connected",
                 log_text("address", peer_text(&client->peer, text)),
                 log_int("port", client->peer.port), log_text("database", client->part->pool->name),
                 log_text("role", client->part->pool->role), log_int("pid", client->pid));
}

static void log_end(const struct client *client, const char *reason)
{
    char text[PEER_TEXT_SIZE];
    int64_t age_ns = worker_now(client->worker) - client->connected_ns;
    age_ns -= age_ns % HF_MS(1);
    if (client->worker->config->proxy.log_disconnections)
        log_emit(client->worker->proxy->log, LOG_AT_INFO, "client disconnected",
                 log_text("address", peer_text(&client->peer, text)),
                 log_int("port", client->peer.port), log_text("database", client->part->pool->name),
                 log_text("role", client->part->pool->role), log_int("pid", client->pid),
                 log_text("reason", reason), log_duration("age", age_ns));
}

/* A login that comes to nothing. Of a wrong secret the log has heard already, and more than the
 * client is told (admission.c); it is no warning, since the client knows as much. */
static void log_refusal(const struct client *client, const struct hf_err *err)
{
    char text[PEER_TEXT_SIZE];
    struct admin_place place;
    if (client->admission == NULL || client->state == CLIENT_DELAYED)
        return;
    admin_place_of(client, &place);
    log_emit(client->worker->proxy->log, LOG_AT_INFO, "login refused",
             log_text("address", peer_text(&client->peer, text)),
             log_text("database", place.database), log_text("role", place.role),
             log_text("reason", err->message), log_text("detail", err->detail));
}

void client_close(struct client *client, const char *reason)
{
    if (client->state == CLIENT_CLOSING)
        return;
    bool was_in = client->part != NULL && client->is_logged_in;
    client_enter(client, CLIENT_CLOSING);
    if (client->server != NULL)
        server_detach(client->server);
    pool_withdraw(client);
    limits_end(client);
    if (client->admission != NULL)
        admission_end(client);
    prepare_left(NULL, client);
    session_end(client);
    listen_left(client);
    admin_end(client);
    if (was_in) {
        client->part->clients--;
        log_end(client, reason);
    }
    stream_close(client->worker->loop, &client->stream, true);
}

void client_fail(struct client *client, const struct hf_err *err)
{
    if (client->state == CLIENT_CLOSING)
        return;
    /* Between the parts of a message there is no place for words: they would be taken for the rest
     * of a row. */
    bool is_cut = client->server != NULL && server_is_speaking(client->server);
    log_refusal(client, err);
    struct hf_err told = refusal_of(client, err);
    if (client->watch != NULL)
        query_log_refused(client, err);
    struct buffer *out = is_cut ? NULL : stream_out(client->worker->loop, &client->stream, 1024);
    if (out != NULL && build_error(out, BUILD_FATAL, &told) != HF_OK)
        out = NULL;
    client_close(client, err->message);
}

/* ---- with and without a server connection ---- */

/* What it has waited for its groups is a part of its wait for the connection. */
static void note_wait(struct client *client)
{
    if (client->limited != NULL && client->limited->since_ns != 0)
        client->server->wanted_ns = client->limited->since_ns;
}

/* Its groups let it go on. */
static bool ask_pool(struct client *client)
{
    struct hf_err err;
    int64_t until_ns =
        ns_add(worker_now(client->worker), client->part->config.query_wait_timeout_ns);
    switch (pool_want(client, until_ns, &err)) {
    case POOL_ATTACHED:
        if (client->server == NULL) /* it has lost it again, and is told why */
            return false;
        note_wait(client);
        client->state = CLIENT_ACTIVE;
        return true;
    case POOL_QUEUED:
        client_enter(client, CLIENT_WAITING);
        return false;
    case POOL_REFUSED:
    default:
        return refuse(client, &err);
    }
}

bool client_ask(struct client *client)
{
    struct hf_err err;
    client->state = CLIENT_WAITING;
    if (client->limited == NULL)
        return ask_pool(client);
    switch (limits_begin(client, &err)) {
    case LIMITS_GO:
        return ask_pool(client);
    case LIMITS_WAIT:
        client_enter(client, CLIENT_WAITING);
        return false;
    case LIMITS_REFUSED:
    default:
        return refuse(client, &err);
    }
}

void client_admitted(struct client *client)
{
    if (!ask_pool(client))
        return;
    if (client->state == CLIENT_ACTIVE)
        client_enter(client, CLIENT_ACTIVE); /* for its timer */
    relay_from_client(client);
}

void client_attached(struct client *client)
{
    if (client->server == NULL) /* it has lost it again, and is told why */
        return;
    if (client->state == CLIENT_ENTERING) {
        if (!client->server->is_syncing)
            client_ready(client);
        return;
    }
    note_wait(client);
    client_enter(client, CLIENT_ACTIVE);
    relay_from_client(client);
}

void client_ready(struct client *client)
{
    if (client->state != CLIENT_ENTERING)
        return;
    if (client->part->pool->mode == PROXY_POOL_SESSION) {
        admission_greet(client, client->server);
        return;
    }
    struct server *server = client->server;
    if (admission_greet(client, server))
        server_detach(server);
}

void client_released(struct client *client)
{
    if (client->state == CLIENT_ACTIVE)
        client_enter(client, CLIENT_IDLE);
    if (client->limited != NULL)
        limits_end(client);
    if (client->listening != NULL)
        listen_flush(client);
}

void client_not_served(struct client *client, const struct hf_err *err, struct sv words)
{
    if (client->state == CLIENT_ENTERING) {
        struct loop *loop = client->worker->loop;
        if (words.size > 0 && words.size <= stream_room(loop, &client->stream) &&
            stream_send(loop, &client->stream, words) > 0) {
            log_refusal(client, err);
            client_close(client, err->message);
        } else {
            client_fail(client, err);
        }
        return;
    }
    if (refuse(client, err))
        relay_from_client(client);
}

void client_server_lost(struct client *client, const struct hf_err *err, bool is_mute)
{
    if (is_mute)
        client_close(client, "its server connection has ended");
    else
        client_fail(client, err);
}

/* ---- what is answered here ---- */

static bool refuse(struct client *client, const struct hf_err *err)
{
    struct frame_part part;
    struct buffer *out = stream_out(client->worker->loop, &client->stream, 1024);
    struct hf_err told = refusal_of(client, err);
    if (out == NULL || build_error(out, BUILD_ERROR, &told) != HF_OK) {
        client_fail(client, err);
        return false;
    }
    enum frame_status status = frame_look(&client->frame, stream_view(&client->stream), &part);
    hf_assert(status == FRAME_PART && part.is_first);
    if (client->watch != NULL) {
        query_log_look(client, &part);
        query_log_refused(client, err);
    }
    client->skips = part.type != 'Q' && part.type != 'F';
    limits_end(client);
    client_enter(client, CLIENT_REFUSED);
    return true;
}

bool client_skip(struct client *client)
{
    struct loop *loop = client->worker->loop;
    struct frame_part part;
    struct hf_err err;
    switch (frame_look(&client->frame, stream_view(&client->stream), &part)) {
    case FRAME_MORE:
        return false;
    case FRAME_PART:
        break;
    case FRAME_BAD:
    default:
        frame_error(&client->frame, &err);
        client_fail(client, &err);
        return false;
    }
    if (part.type == 'X') {
        client_close(client, "client said goodbye");
        return false;
    }
    if (part.is_last && (!client->skips || part.type == 'S')) {
        struct buffer *out = stream_out(loop, &client->stream, 16);
        if (out == NULL || build_ready(out, 'I') != HF_OK)
            return false;
        client_enter(client, CLIENT_IDLE);
    }
    frame_take(&client->frame, part.bytes.size);
    stream_consume(loop, &client->stream, part.bytes.size);
    return true;
}

void client_cancel(struct client *client)
{
    struct hf_err err;
    bool is_waiting = client->wait != NULL || limits_deadline(client) != HF_NEVER;
    if (client->state == CLIENT_ADMIN) {
        admin_cancel(client);
    } else if (client->state == CLIENT_WAITING && is_waiting) {
        pool_withdraw(client);
        err_set(&err, HF_RC_PEER, "57014", "canceling statement due to user request");
        if (refuse(client, &err))
            relay_from_client(client);
    } else if (client->server != NULL && client->server->state == SERVER_ACTIVE) {
        cancel_send(client->server);
    }
}

/* ---- settings ---- */

void client_tell(struct client *client, uint32_t reported)
{
    struct proxy *proxy = client->worker->proxy;
    enum hf_rc rc = HF_RC_LIMIT;
    if (client->state == CLIENT_ENTERING)
        return; /* the greeting tells all */
    struct buffer *out = stream_out(client->worker->loop, &client->stream, 4096);
    pthread_mutex_lock(&proxy->lock);
    if (out != NULL)
        rc = settings_status(&proxy->settings, client->told, reported, out);
    if (rc == HF_OK) {
        settings_keep(&proxy->settings, reported);
        settings_drop(&proxy->settings, client->told);
        client->told = reported;
    }
    pthread_mutex_unlock(&proxy->lock);
}

void client_told(struct client *client, struct sv name, struct sv value)
{
    struct proxy *proxy = client->worker->proxy;
    struct server *server = client->server;
    struct settings *store = &proxy->settings;
    uint32_t told, wanted;
    pthread_mutex_lock(&proxy->lock);
    if (settings_told(store, client->told, name, value, &told) == HF_OK) {
        settings_drop(store, client->told);
        client->told = told;
    }
    if (client->part->pool->mode != PROXY_POOL_SESSION && settings_can_follow(name) &&
        settings_told(store, client->settings, name, value, &wanted) == HF_OK) {
        settings_drop(store, client->settings);
        settings_keep(store, wanted);
        settings_drop(store, server->settings);
        client->settings = wanted;
        server->settings = wanted;
    }
    pthread_mutex_unlock(&proxy->lock);
}

/* The server connection is back at its own startup values, which are not the client's: what differs
 * is brought there when it is attached the next time. */
void client_discarded(struct client *client)
{
    struct proxy *proxy = client->worker->proxy;
    struct settings *store = &proxy->settings;
    pthread_mutex_lock(&proxy->lock);
    settings_keep(store, client->startup);
    settings_drop(store, client->settings);
    client->settings = client->startup;
    settings_drop(store, client->server->settings);
    client->server->settings = 0;
    pthread_mutex_unlock(&proxy->lock);
}

/* ---- events ---- */

void client_event(struct client *client, const struct loop_event *event)
{
    if (event->kind == LOOP_GONE) {
        forget(client);
        return;
    }
    if (client->state == CLIENT_CLOSING)
        return;
    if (event->kind == LOOP_ENDED) {
        client_close(client, event->error == 0 ? "client closed the connection"
                                               : "connection to the client was lost");
        return;
    }
    switch ((enum client_state)client->state) {
    case CLIENT_STARTUP:
    case CLIENT_SECURING:
    case CLIENT_AUTHENTICATING:
        admission_event(client, event);
        return;
    case CLIENT_IDLE:
    case CLIENT_ACTIVE:
    case CLIENT_REFUSED:
        if (event->kind == LOOP_DRAINED && client->server != NULL)
            relay_from_server(client->server);
        else
            relay_from_client(client);
        if (event->kind == LOOP_DRAINED && client->listening != NULL)
            listen_flush(client);
        return;
    case CLIENT_ADMIN:
        admin_event(client);
        return;
    case CLIENT_WAITING:
        if (event->kind == LOOP_DRAINED)
            listen_flush(client);
        return;
    case CLIENT_ENTERING: /* what it says waits in its view */
    case CLIENT_DELAYED:
    case CLIENT_CLOSING:
    default:
        return;
    }
}
