#include "proxy/server.h"

#include <string.h>

#include "base/bug.h"
#include "proxy/cancel.h"
#include "proxy/client.h"
#include "proxy/listen_hub.h"
#include "proxy/pool.h"
#include "proxy/prepare.h"
#include "proxy/relay.h"
#include "proxy/server_login.h"
#include "proxy/session_state.h"
#include "proxy/worker.h"
#include "wire/build.h"
#include "wire/question.h"
#include "wire/settings.h"

#define TRIES_MAX     3   /* of asking, when it is cancelled */
#define QUESTION_SIZE 352 /* room for a short one, and what stands around it */

static struct worker *worker_of(const struct server *server)
{
    return server->part->worker;
}

static struct loop *loop_of(const struct server *server)
{
    return server->part->worker->loop;
}

void server_enter(struct server *server, enum server_state state)
{
    struct pool_part *part = server->part;
    server->state = (uint8_t)state;
    server->since_ns = worker_now(part->worker);
    if (list_is_linked(&server->link))
        list_remove(&server->link);
    if (state != SERVER_IDLE)
        list_push_back(&part->servers, &server->link);
    else if (part->config.server_round_robin)
        list_push_back(&part->idle, &server->link);
    else
        list_push_front(&part->idle, &server->link);
}

void server_note_error(struct server *server, const struct message_error *error)
{
    struct hf_err *last = &server->last_error;
    char sqlstate[6] = "XX000";
    sv_copy(error->sqlstate, sqlstate, sizeof sqlstate);
    err_set(last, HF_RC_PEER, sqlstate, SV_FMT, SV_ARG(error->message));
}

/* A report that no client is told, as its transaction is rolled back without it: what was set there
 * is not set any more. */
static void unset(struct server *server, struct settings *store, struct sv name, struct sv value)
{
    uint32_t now;
    struct sv known = settings_find(store, server->settings, name);
    if (server->client != NULL || known.data == NULL || sv_eq(known, value))
        return;
    if (settings_told(store, server->settings, name, value, &now) != HF_OK) {
        server->is_tainted = true; /* what it has is not known: nobody else gets it */
        return;
    }
    settings_drop(store, server->settings);
    server->settings = now;
}

void server_report(struct server *server, struct sv name, struct sv value)
{
    struct proxy *proxy = worker_of(server)->proxy;
    uint32_t now;
    if (sv_eq(name, SV("client_encoding")))
        server->rules.is_unreadable = !lex_encoding_is_safe(value);
    else if (sv_eq(name, SV("standard_conforming_strings")))
        server->rules.backslash_escapes = sv_eq(value, SV("off"));
    pthread_mutex_lock(&proxy->lock);
    if (settings_told(&proxy->settings, server->reported, name, value, &now) == HF_OK) {
        settings_drop(&proxy->settings, server->reported);
        server->reported = now;
    }
    unset(server, &proxy->settings, name, value);
    pthread_mutex_unlock(&proxy->lock);
}

/* ---- asking in our own name ---- */

/* By a Query, of a connection that is being cleaned. */
static bool ask(struct server *server, struct sv text)
{
    struct replies_request request = {.type = 'Q', .whose = REPLIES_OURS};
    struct buffer *out = stream_out(loop_of(server), &server->stream, text.size + 16);
    if (out == NULL || replies_room(&server->replies) == 0 || build_query(out, text) != HF_OK)
        return false;
    server->is_answered = false;
    server->is_failed = false;
    prepare_synced(server);
    return replies_send(&server->replies, request) == REPLIES_OWED;
}

bool server_ask_questions(struct server *server, struct sv questions, uint32_t count)
{
    size_t requests = count * (sizeof QUESTION_REQUESTS - 1) + 1;
    struct buffer *out = stream_out(loop_of(server), &server->stream, questions.size + 8);
    if (out == NULL || replies_room(&server->replies) < requests)
        return false;
    if (!buffer_append(out, questions) || build_empty(out, 'S') != HF_OK)
        return false;
    for (size_t i = 0; i < requests; i++) {
        bool is_sync = i + 1 == requests;
        char type = is_sync ? 'S' : QUESTION_REQUESTS[i % (sizeof QUESTION_REQUESTS - 1)];
        struct replies_request request = {.type = type, .target = 'S', .whose = REPLIES_OURS};
        enum replies_sent sent = replies_send(&server->replies, request);
        hf_assert(sent == REPLIES_OWED);
    }
    server->is_answered = false;
    server->is_failed = false;
    prepare_synced(server);
    return true;
}

bool server_ask_question(struct server *server, struct sv text)
{
    char bytes[QUESTION_SIZE];
    struct buffer question;
    buffer_init(&question, bytes, sizeof bytes);
    enum hf_rc rc = question_put(&question, text);
    hf_assert(rc == HF_OK);
    return server_ask_questions(server, buffer_view(&question), 1);
}

bool server_was_cancelled(struct server *server)
{
    return strcmp(server->last_error.sqlstate, "57014") == 0 && ++server->tries < TRIES_MAX;
}

void server_settle(struct server *server)
{
    struct replies_request close = {.type = 'C', .target = 'S', .whose = REPLIES_OURS};
    struct replies_request sync = {.type = 'S', .whose = REPLIES_OURS};
    struct buffer *out = stream_out(loop_of(server), &server->stream, 32);
    if (out == NULL)
        return; /* what the client says next settles it, too */
    bool is_asked = build_close_statement(out, SV("hf_")) == HF_OK &&
                    build_empty(out, 'S') == HF_OK &&
                    replies_send(&server->replies, close) == REPLIES_OWED &&
                    replies_send(&server->replies, sync) == REPLIES_OWED;
    hf_assert(is_asked); /* nothing is owed, so there is room */
    prepare_synced(server);
}

/* ---- with a client ---- */

/* The settings of the client are not those of the connection: asks for them. False: no room. */
static bool ask_settings(struct server *server, uint32_t want)
{
    struct proxy *proxy = worker_of(server)->proxy;
    struct buffer *out = stream_out(loop_of(server), &server->stream, LOOP_BLOCK_SIZE);
    struct replies_request request = {.type = 'Q', .whose = REPLIES_OURS};
    if (out == NULL)
        return false;
    pthread_mutex_lock(&proxy->lock);
    enum hf_rc rc = settings_diff(&proxy->settings, server->settings, want, out);
    pthread_mutex_unlock(&proxy->lock);
    server->is_answered = false;
    server->is_failed = false;
    prepare_synced(server);
    return rc == HF_OK && replies_send(&server->replies, request) == REPLIES_OWED;
}

void server_attach(struct server *server, struct client *client)
{
    struct pool_part *part = server->part;
    bool is_clean = replies_attach(&server->replies);
    hf_assert(is_clean && server->client == NULL && client->server == NULL);
    server->client = client;
    client->server = server;
    server_enter(server, SERVER_ACTIVE);
    server->is_syncing = false;
    server->is_spanning = false;
    server->note.type = 0;
    if (part->pool->mode == PROXY_POOL_SESSION)
        return;
    if (client->settings != server->settings)
        server_sync(server);
    else if (client->told != server->reported)
        client_tell(client, server->reported);
}

bool server_sync(struct server *server)
{
    struct client *client = server->client;
    struct hf_err err;
    server->is_syncing = client->settings != server->settings;
    if (!server->is_syncing)
        return true;
    if (ask_settings(server, client->settings)) {
        int64_t now_ns = worker_now(worker_of(server));
        worker_timer(worker_of(server), &server->timer,
                     ns_add(now_ns, server->part->config.server_clean_timeout_ns));
        return true;
    }
    err_set(&err, HF_RC_LIMIT, "53200", "could not set up the session: too many settings");
    server_detach(server); /* nothing was asked of it: it is as good as before */
    client_fail(client, &err);
    return false;
}

bool server_is_speaking(const struct server *server)
{
    return server->passes && !frame_is_between(&server->frame);
}

/* The settings could not be set: the server has said why. */
static bool refuse_settings(struct server *server, struct client *client)
{
    struct hf_err err = server->last_error;
    server_detach(server);
    client_fail(client, &err);
    return false;
}

bool server_synced(struct server *server)
{
    struct client *client = server->client;
    struct proxy *proxy = worker_of(server)->proxy;
    server->is_syncing = false;
    worker_timer(worker_of(server), &server->timer, HF_NEVER);
    if (server->is_failed && server_was_cancelled(server))
        return server_sync(server);
    server->tries = 0;
    if (server->is_failed)
        return refuse_settings(server, client);
    pthread_mutex_lock(&proxy->lock);
    settings_keep(&proxy->settings, client->settings);
    settings_drop(&proxy->settings, server->settings);
    pthread_mutex_unlock(&proxy->lock);
    server->settings = client->settings;
    if (client->told != server->reported)
        client_tell(client, server->reported);
    client_ready(client);
    return true;
}

void server_detach(struct server *server)
{
    struct client *client = server->client;
    /* Of a message that is being put together, nothing was sent yet. */
    bool is_said = frame_is_between(&client->frame) || client->assembly != NULL;
    bool is_between = is_said && server->pending == NULL;
    replies_detach(&server->replies);
    server->is_curing = false;
    server->has_listened = false;
    server->is_held = false;
    server->tries = 0;
    server->listen = SERVER_LISTEN_REST;
    server->primed = SERVER_PRIMED_NO;
    server->expects = SERVER_EXPECTS_NOT;
    server->client = NULL;
    client->server = NULL;
    if (client->state == CLIENT_CLOSING)
        prepare_left(server, client);
    server->permit.ending = BULKHEAD_RAN;
    server->asked_reset = false;
    server->has_cancelled = client->is_leaving || server->is_asking; /* a census ends by itself */
    session_left(server, client);
    if (server->is_blind)
        is_between = false;
    if (!is_between) {
        struct hf_err err;
        err_set(&err, HF_RC_PEER, "08006", "the client left in the middle of a message");
        server_close(server, &err);
        return;
    }
    client_released(client);
    if (server->part->pool->mode != PROXY_POOL_SESSION && server->cancels == 0 &&
        !server->is_tainted && !session_is_left(server) && !server->is_listening &&
        replies_is_clean(&server->replies)) {
        pool_release(server);
        return;
    }
    server_enter(server, SERVER_CLEANING);
    worker_timer(worker_of(server), &server->timer,
                 ns_add(server->since_ns, server->part->config.server_clean_timeout_ns));
    server_clean(server);
}

/* ---- cleaning ---- */

/* A message of ours that ends what is open. */
static bool send_to_rest(struct server *server, char type)
{
    struct buffer *out = stream_out(loop_of(server), &server->stream, 64);
    struct replies_request request = {.type = type, .whose = REPLIES_OURS};
    if (out == NULL || replies_send(&server->replies, request) == REPLIES_REFUSED)
        return false;
    if (type == 'f')
        return build_copy_fail(out, SV("the client is gone")) == HF_OK;
    prepare_synced(server);
    return build_empty(out, type) == HF_OK;
}

/* Whether what a session has left behind is still there, which the next one must not find. */
static bool needs_reset(const struct server *server)
{
    bool is_session = server->part->pool->mode == PROXY_POOL_SESSION;
    return (is_session || session_is_left(server)) && !server->asked_reset;
}

/* False: nothing is to be asked. */
static bool ask_reset(struct server *server)
{
    struct sv text = SV("DISCARD ALL");
    if (server->part->pool->mode == PROXY_POOL_SESSION)
        text = sv_from_cstr(server->part->config.server_reset_query);
    server->asked_reset = text.size == 0 || ask(server, text);
    return text.size > 0 && server->asked_reset;
}

/* The channels of the client that had it are no longer its own. */
static bool ask_to_unlisten(struct server *server)
{
    if (!server_ask_question(server, SV("UNLISTEN *")))
        return false;
    server->is_listening = false;
    return true;
}

/* What the connection needs before another client may have it. False: nothing could be sent now, or
 * nothing has to. */
static bool ask_to_rest(struct server *server)
{
    switch (replies_rest(&server->replies)) {
    case REPLIES_OPEN:
        return send_to_rest(server, 'S');
    case REPLIES_COPYING:
        return send_to_rest(server, 'f');
    case REPLIES_DOUBTFUL:
        return ask(server, SV(""));
    case REPLIES_IDLE:
        if (server->replies.status != 'I')
            return ask(server, SV("ROLLBACK"));
        if (server->is_listening)
            return ask_to_unlisten(server);
        return needs_reset(server) && ask_reset(server);
    case REPLIES_BUSY:
    case REPLIES_OVER:
    default:
        return false;
    }
}

/* An idle connection has said something that is no news: it serves nobody any more. */
static void leave_idle(struct server *server)
{
    struct hf_err err;
    if (server->state != SERVER_IDLE || replies_is_clean(&server->replies))
        return;
    if (replies_error(&server->replies, &err) == HF_OK)
        err_set(&err, HF_RC_PEER, "08P01", "an idle server spoke without being asked");
    server_close(server, &err);
}

void server_clean(struct server *server)
{
    struct hf_err err;
    leave_idle(server);
    if (server->state != SERVER_CLEANING)
        return;
    if (server->is_failed || replies_rest(&server->replies) == REPLIES_OVER) {
        err_set(&err, HF_RC_PEER, "08006", "the connection could not be cleaned up");
        server_close(server, &err);
        return;
    }
    if (replies_rest(&server->replies) == REPLIES_BUSY) {
        if (!server->has_cancelled)
            cancel_send(server);
        server->has_cancelled = true;
        return;
    }
    while (ask_to_rest(server))
        ;
    if (replies_is_clean(&server->replies) && server->cancels == 0 && !needs_reset(server) &&
        !server->is_listening) {
        worker_timer(worker_of(server), &server->timer, HF_NEVER);
        session_reset(server);
        pool_release(server);
    }
}

/* ---- life ---- */

static void forget(struct server *server)
{
    struct worker *worker = worker_of(server);
    struct proxy *proxy = worker->proxy;
    worker_timer(worker, &server->timer, HF_NEVER);
    cancel_forget(server);
    proxy_settings_drop(proxy, server->settings);
    proxy_settings_drop(proxy, server->reported);
    proxy_settings_drop(proxy, server->startup);
    mem_free(proxy->mem, server->notices);
    if (server->in_budget)
        proxy_budget_return(proxy, server->part->pool);
    pool_forget(server);
    proxy_endpoint_drop(server->endpoint);
    memset(server->key, 0, sizeof server->key);
    mem_free(proxy->mem, server);
}

/* Leaving is not possible: the connection has ended, or says something, or is to be closed. The
 * share that it was to go with goes alone. */
static void stay(struct server *server)
{
    struct pool_part *to = server->to;
    server->to = NULL;
    server_enter(server, SERVER_IDLE);
    pool_left(server, to, -1);
}

void server_close(struct server *server, const struct hf_err *reason)
{
    struct worker *worker = worker_of(server);
    struct client *client = server->client;
    struct buffer *out;
    if (server->state == SERVER_CLOSING)
        return;
    if (server->state == SERVER_LEAVING)
        stay(server);
    bool was_login = server->login != NULL;
    bool is_over =
        !was_login && server->is_started && replies_rest(&server->replies) == REPLIES_OVER;
    bool was_heard = (is_over || server->is_blind) && server->was_told;
    bool is_mute = was_heard || server_is_speaking(server);
    if (was_login) {
        struct hf_err err = *reason;
        server_login_fail(server, &err);
        return;
    }
    server_enter(server, SERVER_CLOSING);
    prepare_lost(server);
    if (reason != NULL && server->connected_ns != 0) /* of a failed login the log has heard */
        log_emit(worker->proxy->log, LOG_AT_INFO, "server connection closed",
                 log_text("database", server->part->pool->name),
                 log_text("role", server->part->pool->role), log_int("pid", server->pid),
                 log_text("reason", reason->message));
    if (client != NULL) {
        replies_detach(&server->replies);
        server->client = NULL;
        client->server = NULL;
        client_server_lost(client, reason, is_mute);
    }
    if (!server->is_started) {
        forget(server);
        return;
    }
    out = stream_out(worker->loop, &server->stream, 8);
    if (out != NULL && build_empty(out, 'X') != HF_OK)
        out = NULL;
    worker_timer(worker, &server->timer, ns_add(server->since_ns, HF_SEC(2)));
    stream_close(worker->loop, &server->stream, out != NULL);
}

void server_leave(struct server *server, struct pool_part *to, bool for_beg)
{
    server->part->leaving++;
    server->leaves_for_beg = for_beg;
    server->to = to;
    server_enter(server, SERVER_LEAVING);
    /* The beginning of a notice or of last words may be here already, or something without an
     * answer may not be sent yet: it stays, where that goes on. */
    if (stream_view(&server->stream).size > 0 || !stream_is_flushed(&server->stream))
        stay(server);
    else
        stream_leave(loop_of(server), &server->stream);
}

void server_adopt(struct server *server, struct pool_part *part, int fd)
{
    server->part = part;
    server->to = NULL;
    stream_join(part->worker->loop, &server->stream, fd, STREAM_SERVER);
    server_enter(server, SERVER_IDLE);
}

static void ended(struct server *server, const struct loop_event *event)
{
    struct hf_err err;
    if (server->client != NULL)
        relay_from_server(server); /* its last words */
    if (server->state == SERVER_CLOSING)
        return;
    err_set(&err, HF_RC_PEER, "08006", "server closed the connection unexpectedly");
    if (event->error != 0)
        err_detail(&err, "%s", stream_error(&server->stream));
    server_close(server, &err);
}

void server_timeout(struct server *server)
{
    struct hf_err err;
    if (server->state == SERVER_CLOSING) {
        stream_close(loop_of(server), &server->stream, false);
    } else if (server->login != NULL) {
        server_login_timeout(server);
    } else if (server->state == SERVER_CLEANING) {
        err_set(&err, HF_RC_LIMIT, "08006", "what a client left behind did not end in time");
        server_close(server, &err);
    } else if (server->state == SERVER_ACTIVE && (server->is_syncing || server->is_asking)) {
        err_set(&err, HF_RC_LIMIT, "53200", "could not set up the session");
        server_close(server, &err);
    }
}

void server_event(struct server *server, const struct loop_event *event)
{
    if (event->kind == LOOP_GONE) {
        if (!server_login_gone(server))
            forget(server);
        return;
    }
    if (server->state == SERVER_CLOSING)
        return;
    if (event->kind == LOOP_LEFT) {
        pool_left(server, server->to, event->fd);
        return;
    }
    if (server->state == SERVER_LEAVING)
        stay(server);
    if (server->login != NULL) {
        server_login_event(server, event);
        return;
    }
    if (server->part->pool->hub != NULL)
        listen_hub_event(server->part->pool->hub);
    if (event->kind == LOOP_ENDED)
        ended(server, event);
    else if (event->kind == LOOP_DRAINED && server->client != NULL)
        relay_from_client(server->client);
    else if (event->kind == LOOP_DRAINED)
        server_clean(server); /* there is room to ask for what is missing */
    else if (server->part->pool->hub == NULL)
        relay_from_server(server);
}
