#include "proxy/admission.h"

#include <stdio.h>
#include <string.h>

#include "os/entropy.h"
#include "proxy/admin.h"
#include "proxy/application_name.h"
#include "proxy/auth_query.h"
#include "proxy/cancel.h"
#include "proxy/client.h"
#include "proxy/door.h"
#include "proxy/pool.h"
#include "proxy/query_log.h"
#include "proxy/secure.h"
#include "proxy/server.h"
#include "proxy/slow.h"
#include "proxy/worker.h"
#include "wire/build.h"

void admission_begin(struct client *client)
{
    struct admission *admission = client->admission;
    memset(admission, 0, sizeof *admission);
    admission->client = client;
    startup_init(&admission->startup);
    frame_init(&client->frame, FRAME_FRONTEND, FRAME_SESSION);
}

void admission_end(struct client *client)
{
    struct worker *worker = client->worker;
    struct admission *admission = client->admission;
    client->admission = NULL;
    if (list_is_linked(&admission->work))
        list_remove(&admission->work);
    if (admission->is_authenticating)
        authenticate_wipe(&admission->authenticate);
    auth_query_end(admission);
    if (admission->access != NULL)
        access_drop(admission->access);
    mem_free(worker->proxy->mem, admission->packet);
    bufpool_return(&worker->admissions, admission);
}

static struct buffer *out_of(struct client *client, size_t room)
{
    return stream_out(client->worker->loop, &client->stream, room);
}

/* ---- in ---- */

/* The pool has a greeting, and the client wants nothing that a server would have to agree to: then
 * it need not wait for one. */
static bool can_greet_alone(const struct client *client)
{
    return client->part->told != 0 && client->part->pool->mode != PROXY_POOL_SESSION &&
           proxy_settings_harmless(client->worker->proxy, client->settings);
}

/* Authenticated: to its pool. */
static void enter(struct client *client)
{
    struct admission *admission = client->admission;
    struct worker *worker = client->worker;
    struct hf_err err;
    struct sv name = sv_from_cstr(admission->database);
    const struct proxy_database *database = proxy_database_find(worker->config, name);
    if (database == NULL) {
        err_set(&err, HF_RC_MISSING, "3D000", "database \"%s\" does not exist",
                admission->database);
        client_fail(client, &err);
        return;
    }
    if (proxy_is_disabled(worker->proxy, name)) {
        err_set(&err, HF_RC_DENIED, "57P03", "database \"%s\" is disabled", admission->database);
        err_hint(&err, "ENABLE on the console lets clients in again.");
        client_fail(client, &err);
        return;
    }
    struct pool_key key = {.name = name,
                           .role = sv_from_cstr(admission->role),
                           .is_replication = client->is_replication,
                           .wish = door_mode(client)};
    struct pool *pool = pool_get(worker->proxy, &key, &err);
    if (pool == NULL) {
        client_fail(client, &err);
        return;
    }
    client->part = &pool->parts[worker->index];
    worker_use(worker, client->part);
    client_enter(client, CLIENT_ENTERING);
    if (!client_tally(client, &err)) {
        client_fail(client, &err);
        return;
    }
    if (client->part->config.application_name_add_host)
        application_name_add_host(client);
    if (can_greet_alone(client)) {
        admission_greet(client, NULL);
        return;
    }
    int64_t until_ns = ns_add(worker_now(worker), client->part->config.query_wait_timeout_ns);
    switch (pool_want(client, until_ns, &err)) {
    case POOL_ATTACHED:
        client_attached(client);
        break;
    case POOL_QUEUED:
        break;
    case POOL_REFUSED:
    default:
        client_fail(client, &err);
        break;
    }
}

/* What SHOW and logs call a session, and what cancels it: our own number, but in session mode the
 * server's. The number says where the client is, the key that it is the client. */
static void make_key(struct client *client, const struct server *server)
{
    bool is_session = server != NULL && server->part->pool->mode == PROXY_POOL_SESSION;
    bool is_alone = client->worker->proxy->instance_id == 0; /* else peers have to find it */
    client->pid = is_session && is_alone ? server->pid : worker_pid(client);
    client->key_size = client->admission->version >= STARTUP_VERSION(3, 2) ? CLIENT_KEY_SIZE : 4;
    entropy_fill(client->key, client->key_size);
}

/* With the client's own application_name instead of the one of the connection that told us. */
static uint32_t told_alone(struct client *client, uint32_t told)
{
    struct proxy *proxy = client->worker->proxy;
    struct settings *store = &proxy->settings;
    uint32_t cursor = 0;
    struct sv name, value;
    settings_keep(store, told);
    while (settings_each(store, client->settings, &cursor, &name, &value)) {
        char copy_name[SETTINGS_NAME_MAX + 1], copy_value[64];
        uint32_t next;
        if (!sv_copy(name, copy_name, sizeof copy_name) ||
            !sv_copy(value, copy_value, sizeof copy_value))
            continue;
        if (settings_told(store, told, sv_from_cstr(copy_name), sv_from_cstr(copy_value), &next) ==
            HF_OK) {
            settings_drop(store, told);
            told = next;
        }
    }
    return told;
}

bool admission_greet(struct client *client, const struct server *server)
{
    struct proxy *proxy = client->worker->proxy;
    struct buffer *out = out_of(client, 8192);
    enum hf_rc rc = HF_RC_LIMIT;
    uint32_t told = client->part != NULL ? client->part->told : proxy->console_told;
    if (out != NULL && server != NULL && server->notices != NULL)
        buffer_append(out, sv_from(server->notices->bytes, server->notices->size));
    if (out != NULL) {
        pthread_mutex_lock(&proxy->lock);
        settings_drop(&proxy->settings, client->told);
        if (server != NULL)
            settings_keep(&proxy->settings, server->reported);
        client->told = server != NULL ? server->reported : told_alone(client, told);
        client->greeted = client->told;
        settings_keep(&proxy->settings, client->greeted);
        rc = settings_status(&proxy->settings, 0, client->told, out);
        pthread_mutex_unlock(&proxy->lock);
    }
    make_key(client, server);
    if (rc == HF_OK)
        rc = build_backend_key(out, client->pid, sv_from(client->key, client->key_size));
    if (rc == HF_OK)
        rc = build_ready(out, 'I');
    if (rc != HF_OK) {
        struct hf_err err;
        err_set(&err, HF_RC_LIMIT, "53200", "could not greet the client: out of memory");
        client_fail(client, &err);
        return false;
    }
    admission_end(client);
    if (client->part == NULL)
        return true;
    client->is_logged_in = true;
    query_log_update(client);
    client->part->clients++;
    client->part->stats.logins++;
    client_enter(client, client->server != NULL ? CLIENT_ACTIVE : CLIENT_IDLE);
    client->rested_ns = client->since_ns;
    client_log_begin(client);
    return true;
}

/* ---- who it is ---- */

static void deny(struct client *client, const struct hf_err *err, const char *log)
{
    struct worker *worker = client->worker;
    struct admission *admission = client->admission;
    admission->err = *err;
    log_emit(worker->proxy->log, LOG_AT_WARNING, "login refused",
             log_text("address", admission->address), log_text("database", admission->database),
             log_text("role", admission->role), log_text("reason", err->message),
             log_text("detail", log));
    client->rested_ns =
        ns_add(worker_now(worker), slow_failed(&worker->slow, &client->peer, worker_now(worker)));
    stream_pause(worker->loop, &client->stream);
    client_enter(client, CLIENT_DELAYED);
}

void admission_denied(struct client *client)
{
    struct hf_err err = client->admission->err;
    client_fail(client, &err);
}

/* Keys that the client has shown are what a server can be entered with. */
static void authenticated(struct client *client)
{
    struct admission *admission = client->admission;
    const struct scram_verifier *verifier;
    const struct scram_keys *keys = authenticate_keys(&admission->authenticate, &verifier);
    if (keys != NULL && admission->user != NULL)
        user_set_pass(admission->user, keys, verifier);
    slow_succeeded(&client->worker->slow, &client->peer);
    if (admin_is_console(sv_from_cstr(admission->database)))
        admin_enter(client);
    else
        enter(client);
}

/* For the log: what the client is not told. */
static const char *why_denied(const struct admission *admission)
{
    const bool has_nothing = admission->was_looked_up && admission->secret == NULL;
    if (has_nothing && admission->nothing == AUTH_NO_SECRET)
        return "auth_query says: no password, or one that has expired.";
    return has_nothing ? "auth_query knows no such user." : admission->authenticate.log;
}

/* What an event of authenticating leads to. True: feed on. */
static bool step(struct client *client, const struct authenticate_event *event)
{
    struct admission *admission = client->admission;
    struct worker *worker = client->worker;
    const struct scram_verifier *made = authenticate_made(&admission->authenticate);
    if (made != NULL && admission->user != NULL)
        user_set_verifier(admission->user, made);
    stream_consume(worker->loop, &client->stream, event->consumed);
    switch (event->kind) {
    case AUTHENTICATE_WORK:
        if (!list_is_linked(&admission->work))
            list_push_back(&worker->working, &admission->work);
        return false;
    case AUTHENTICATE_OK:
        authenticated(client);
        return false;
    case AUTHENTICATE_DENIED:
        auth_query_doubt(admission);
        deny(client, &admission->authenticate.err, why_denied(admission));
        return false;
    case AUTHENTICATE_GONE:
        client_close(client, "client left before it said who it is");
        return false;
    case AUTHENTICATE_MORE:
    default:
        return event->consumed > 0;
    }
}

static void feed(struct client *client)
{
    struct admission *admission = client->admission;
    struct authenticate_event event;
    struct buffer *out;
    if (list_is_linked(&admission->work) || !admission->is_authenticating)
        return;
    do {
        out = out_of(client, 1024);
        if (out == NULL)
            return;
        authenticate_feed(&admission->authenticate, stream_view(&client->stream), out, &event);
    } while (step(client, &event));
}

void admission_work(struct admission *admission)
{
    struct client *client = admission->client;
    struct authenticate_event event;
    struct buffer *out = out_of(client, 1024);
    list_remove(&admission->work);
    if (out == NULL) {
        list_push_back(&client->worker->working, &admission->work);
        return;
    }
    authenticate_work(&admission->authenticate, out, &event);
    step(client, &event);
    if (client->state == CLIENT_AUTHENTICATING)
        feed(client); /* what it has said meanwhile */
}

static enum authenticate_method method_of(const struct hba_rule *rule)
{
    static const enum authenticate_method methods[] = {
        [PROXY_AUTH_TRUST] = AUTHENTICATE_TRUST,       [PROXY_AUTH_REJECT] = AUTHENTICATE_REJECT,
        [PROXY_AUTH_PASSWORD] = AUTHENTICATE_PASSWORD, [PROXY_AUTH_MD5] = AUTHENTICATE_MD5,
        [PROXY_AUTH_SCRAM] = AUTHENTICATE_SCRAM,       [PROXY_AUTH_CERT] = AUTHENTICATE_CERT,
        [PROXY_AUTH_PEER] = AUTHENTICATE_PEER,
    };
    return rule != NULL ? methods[rule->method] : AUTHENTICATE_NO_RULE;
}

/* Who it is by its certificate or its socket, and whether that may be the user. */
static void identify(struct client *client, struct authenticate_config *config)
{
    struct admission *admission = client->admission;
    const struct hba_rule *rule = admission->rule;
    const bool is_peer = rule->method == PROXY_AUTH_PEER;
    config->clientcert = (enum authenticate_clientcert)rule->clientcert;
    if (!is_peer && rule->method != PROXY_AUTH_CERT && rule->clientcert == HBA_CLIENTCERT_NO)
        return;
    if (is_peer)
        secure_socket_name(client->stream.fd, admission->identity);
    else
        config->has_certificate =
            secure_certificate(&client->stream, rule->is_by_subject, admission->identity);
    config->identity = sv_from_cstr(admission->identity);
    config->is_identified =
        ident_match(admission->access->ident, rule->map, config->identity, config->user);
}

static void begin_authenticating(struct client *client)
{
    struct admission *admission = client->admission;
    struct worker *worker = client->worker;
    struct authenticate_config *config = &admission->config;
    struct authenticate_event event;
    *config = (struct authenticate_config){
        .method = method_of(admission->rule),
        .user = sv_from_cstr(admission->role),
        .database = sv_from_cstr(admission->database),
        .address = sv_from_cstr(client->peer.family == AF_UNIX ? "" : admission->address),
        .is_replication = admission->replication == STARTUP_REPLICATION_PHYSICAL,
        .is_local = client->peer.family == AF_UNIX,
        .is_encrypted = client->stream.tls != NULL,
        .mock = PASSWORD_SCRAM,
        .iterations = SCRAM_ITERATIONS_DEFAULT,
        .mock_seed = sv_from(worker->proxy->mock_seed, sizeof worker->proxy->mock_seed),
    };
    if (admission->rule != NULL)
        identify(client, config);
    if (admin_is_console(config->database) && admin_is_owner(client, config->user))
        config->method = AUTHENTICATE_TRUST;
    if (admission->user != NULL) {
        config->secret = user_secret(admission->user);
        config->verifier = user_verifier(admission->user);
    }
    secure_binding(&client->stream, &config->binding);
    if (config->method != AUTHENTICATE_TRUST) { /* who is trusted is asked nothing */
        entropy_fill(config->random, sizeof config->random);
        entropy_fill(config->salt, sizeof config->salt);
        entropy_fill(config->md5_salt, sizeof config->md5_salt);
    }
    struct buffer *out = out_of(client, 1024);
    if (out == NULL) {
        client_close(client, "out of buffers");
        return;
    }
    admission->is_authenticating = true;
    authenticate_begin(&admission->authenticate, config, out, &event);
    event.consumed = 0;
    if (step(client, &event))
        feed(client);
}

static bool needs_secret(const struct hba_rule *rule)
{
    return rule != NULL && (rule->method == PROXY_AUTH_PASSWORD || rule->method == PROXY_AUTH_MD5 ||
                            rule->method == PROXY_AUTH_SCRAM);
}

void admission_asked(struct admission *admission)
{
    struct client *client = admission->client;
    struct hf_err err;
    if (admission->user == NULL && needs_secret(admission->rule)) {
        switch (auth_query_begin(admission, &err)) {
        case AUTH_QUERY_DONE:
            break;
        case AUTH_QUERY_WAITS:
            return;
        case AUTH_QUERY_FAILED:
        default:
            client_fail(client, &err);
            return;
        }
    }
    begin_authenticating(client);
}

static void authenticate(struct client *client)
{
    struct admission *admission = client->admission;
    admission->access = proxy_access(client->worker->proxy);
    admission->user = users_find(admission->access->users, sv_from_cstr(admission->role));
    struct hba_request request = {
        .peer = &client->peer,
        .is_tls = client->stream.tls != NULL,
        .is_replication = admission->replication == STARTUP_REPLICATION_PHYSICAL,
        .database = sv_from_cstr(admission->database),
        .user = sv_from_cstr(admission->role),
    };
    admission->rule = door_rule(client, hba_match(admission->access->hba, &request));
    client_enter(client, CLIENT_AUTHENTICATING);
    admission_asked(admission);
}

/* ---- what it speaks ---- */

/* A name as PostgreSQL takes it: cut to 63 bytes. */
static void copy_name(struct sv name, char out[PROXY_NAME_SIZE])
{
    name = sv_take(name, PROXY_NAME_SIZE - 1);
    memcpy(out, name.data, name.size);
    out[name.size] = '\0';
}

/* In session mode the server gets every parameter as the client has written it. */
static bool keep_packet(struct admission *admission, struct sv parameters)
{
    admission->packet = mem_alloc(admission->client->worker->proxy->mem, parameters.size + 1);
    if (admission->packet == NULL)
        return false;
    memcpy(admission->packet, parameters.data, parameters.size);
    admission->packet_size = parameters.size;
    return true;
}

/* Everything of the packet that is needed later. False: the client is gone. */
static bool take_session(struct client *client, const struct startup_session *session)
{
    struct admission *admission = client->admission;
    struct proxy *proxy = client->worker->proxy;
    struct settings_startup settings = {0};
    struct hf_err err;
    copy_name(session->user, admission->role);
    copy_name(session->database, admission->database);
    peer_text(&client->peer, admission->address);
    if (!admin_has_place(client, sv_from_cstr(admission->database), &err)) {
        client_fail(client, &err);
        return false;
    }
    admission->version = session->version;
    admission->replication = session->replication;
    client->is_replication = session->replication != STARTUP_REPLICATION_NONE;
    struct buffer *out = out_of(client, 2048);
    enum hf_rc rc =
        out != NULL && keep_packet(admission, session->parameters) ? HF_OK : HF_RC_LIMIT;
    if (rc == HF_OK && startup_must_negotiate(session))
        rc = build_negotiate(out, session->version, session->parameters);
    if (rc != HF_OK) {
        client_close(client, "out of memory");
        return false;
    }
    pthread_mutex_lock(&proxy->lock);
    rc = settings_startup(&proxy->settings, session, &settings, &err);
    pthread_mutex_unlock(&proxy->lock);
    if (rc != HF_OK) {
        client_fail(client, &err);
        return false;
    }
    client->settings = settings.set;
    client->startup = settings.set;
    proxy_settings_keep(proxy, settings.set);
    client->is_special = settings.fixed > 0 || client->is_replication;
    return true;
}

/* What the configuration demands of every client, and of those of a database and of a role. */
static enum proxy_demand demand_of(const struct client *client)
{
    const struct proxy_config *config = client->worker->config;
    const struct admission *admission = client->admission;
    const struct proxy_database *database =
        proxy_database_find(config, sv_from_cstr(admission->database));
    enum proxy_demand demand = proxy_role_get(config, sv_from_cstr(admission->role))->demand;
    if (database != NULL && database->demand > demand)
        demand = database->demand;
    if (demand == PROXY_DEMAND_NONE && door_sslmode(client) >= PROXY_SSL_REQUIRE)
        demand = PROXY_DEMAND_TLS;
    return demand;
}

/* False: it should have come over TLS, or with a certificate, and is told so. */
static bool has_come_well(struct client *client)
{
    struct hf_err err;
    char name[TLS_NAME_SIZE];
    if (!door_admits(client, &err)) {
        client_fail(client, &err);
        return false;
    }
    if (client->peer.family == AF_UNIX)
        return true;
    const enum proxy_demand demand = demand_of(client);
    if (demand == PROXY_DEMAND_NONE)
        return true;
    if (client->stream.tls == NULL) {
        err_set(&err, HF_RC_DENIED, "28000", "TLS is required");
        err_detail(&err, "For database \"%s\" and role \"%s\", the configuration demands it.",
                   client->admission->database, client->admission->role);
        err_hint(&err, "Connect with sslmode=require.");
    } else if (demand == PROXY_DEMAND_CERTIFICATE &&
               !secure_certificate(&client->stream, true, name)) {
        err_set(&err, HF_RC_DENIED, "28000", "a client certificate is required");
        err_detail(&err, "For database \"%s\" and role \"%s\", the configuration demands it.",
                   client->admission->database, client->admission->role);
        err_hint(&err, "Connect with sslcert and sslkey.");
    } else {
        return true;
    }
    client_fail(client, &err);
    return false;
}

static void answer_request(struct client *client, char answer)
{
    struct buffer *out = out_of(client, 1);
    if (out == NULL || !buffer_append(out, sv_from(&answer, 1)))
        client_close(client, "out of buffers");
}

static void begin_tls(struct client *client, bool is_direct)
{
    if (!secure_client(client, is_direct)) {
        client_close(client, "TLS is not available here");
        return;
    }
    client_enter(client, CLIENT_SECURING);
}

/* One packet. True: look for another one. */
static bool read_packet(struct client *client)
{
    struct admission *admission = client->admission;
    struct startup_packet packet;
    struct hf_err err;
    bool has_tls = client->peer.family != AF_UNIX && door_sslmode(client) != PROXY_SSL_DISABLE &&
                   secure_is_offered(client->worker->proxy);
    enum startup_kind kind =
        startup_read(&admission->startup, stream_view(&client->stream), &packet);
    switch (kind) {
    case STARTUP_BAD:
        startup_error(&admission->startup, &err);
        client_fail(client, &err);
        return false;
    case STARTUP_DIRECT_TLS:
        if (has_tls)
            begin_tls(client, true);
        else
            client_close(client, "TLS is not available here");
        return false;
    case STARTUP_SSL:
    case STARTUP_GSSENC:
        stream_consume(client->worker->loop, &client->stream, packet.size);
        answer_request(client, kind == STARTUP_SSL && has_tls ? 'S' : 'N');
        if (kind != STARTUP_SSL || !has_tls)
            return client->state == CLIENT_STARTUP;
        begin_tls(client, false);
        return false;
    case STARTUP_CANCEL:
        cancel_asked(client->worker, packet.pid, packet.key);
        client_close(client, "cancel request");
        return false;
    case STARTUP_SESSION:
        if (!take_session(client, &packet.session) || !has_come_well(client))
            return false;
        stream_consume(client->worker->loop, &client->stream, packet.size);
        authenticate(client);
        return false;
    case STARTUP_MORE:
    default:
        return false;
    }
}

void admission_event(struct client *client, const struct loop_event *event)
{
    if (event->kind == LOOP_SECURED && client->state == CLIENT_SECURING) {
        startup_encrypted(&client->admission->startup);
        client_enter(client, CLIENT_STARTUP);
    }
    if (client->state == CLIENT_STARTUP)
        while (read_packet(client))
            ;
    else if (client->state == CLIENT_AUTHENTICATING)
        feed(client);
}
