#include "proxy/dial.h"

#include <errno.h>
#include <string.h>

#include "net/keepalive.h"
#include "net/resolve.h"
#include "os/entropy.h"
#include "proxy/access.h"
#include "proxy/hosts.h"
#include "proxy/secure.h"
#include "proxy/worker.h"
#include "wire/password.h"

/* A name that is being looked up. Lives until its answer is here, which may be longer than the
 * dial that asked. */
struct dial_lookup {
    struct resolve_request request;
    struct worker *worker;
    struct dial *dial; /* NULL: nobody waits for it any more */
    bool is_posted;    /* by us: the answer was there at once */
};

/* What an event of the login leads to. */
enum step {
    STEP_ON,   /* feed on */
    STEP_WAIT, /* for bytes, TLS or hashing */
    STEP_OVER, /* this connection has come to its end, and the dial may be no more */
};

static struct buffer *out_of(struct dial *dial, size_t room)
{
    return stream_out(dial->worker->loop, dial->stream, room);
}

/* ---- the end of an attempt ---- */

/* The answer is not waited for; if it is on its way already, whoever gets it throws it away. */
static void forget_lookup(struct dial *dial)
{
    struct proxy *proxy = dial->worker->proxy;
    struct dial_lookup *lookup = dial->lookup;
    dial->lookup = NULL;
    if (lookup == NULL)
        return;
    lookup->dial = NULL;
    if (!lookup->is_posted && resolve_cancel(proxy->resolver, &lookup->request))
        mem_free(proxy->mem, lookup);
}

static void let_endpoint_go(struct dial *dial)
{
    if (dial->endpoint != NULL)
        proxy_endpoint_drop(dial->endpoint);
    dial->endpoint = NULL;
}

void dial_end(struct dial *dial)
{
    const int64_t now_ns = worker_now(dial->worker);
    forget_lookup(dial);
    if (list_is_linked(&dial->work))
        list_remove(&dial->work);
    if (dial->is_admitted)
        breaker_abandon(dial->endpoint->breaker, &dial->attempt, now_ns);
    if (dial->holds_connect)
        bulkhead_release(dial->endpoint->connects, &dial->connect, now_ns);
    let_endpoint_go(dial);
    dial->is_admitted = dial->holds_connect = false;
    dial->is_accepted = dial->is_second = dial->is_between = false;
    dial->user = NULL;
    login_wipe(&dial->login);
    user_pass_wipe(&dial->pass);
    secret_wipe(&dial->secret);
}

/* What the ending says of the endpoint. */
static void record(struct dial *dial, struct outcome outcome)
{
    const struct outcome_facts facts = {0};
    if (dial->is_admitted)
        breaker_record(dial->endpoint->breaker, &dial->attempt,
                       outcome_verdict_of(outcome_rule(outcome), &facts), worker_now(dial->worker));
    dial->is_admitted = false;
}

static void fail_with(struct dial *dial, struct outcome outcome, const struct hf_err *err,
                      struct sv words)
{
    const enum outcome_kind kind = outcome_rule(outcome)->kind;
    const bool is_refused = outcome.code == OUTCOME_SQLSTATE &&
                            (kind == OUTCOME_KIND_QUERY || kind == OUTCOME_KIND_PERSISTENT);
    /* A copy: what it stands in is wiped with the login. */
    const struct dial_failure failure = {.outcome = outcome,
                                         .err = *err,
                                         .words = words,
                                         .is_final = is_refused || err->rc == HF_RC_DENIED};
    record(dial, outcome);
    dial->calls->failed(dial, &failure);
}

void dial_fail(struct dial *dial, struct outcome outcome, const struct hf_err *err)
{
    fail_with(dial, outcome, err, sv_from(NULL, 0));
}

void dial_succeeded(struct dial *dial, struct hosts *hosts, const struct proxy_database *database)
{
    const struct outcome outcome = {.code = OUTCOME_SUCCESS};
    struct user_pass made;
    if (database != NULL)
        hosts_worked(hosts, database, dial->host_index, worker_now(dial->worker));
    record(dial, outcome);
    if (dial->user != NULL && login_made(&dial->login, &made.keys, &made.verifier)) {
        user_set_pass(dial->user, &made.keys, &made.verifier);
        user_pass_wipe(&made);
    }
}

/* Another connection to the same server, with TLS instead of without or the other way round, where
 * the sslmode allows both. False: there is nothing else to try. */
static bool try_again(struct dial *dial)
{
    const enum login_again again = login_again(&dial->login);
    if (again == LOGIN_AGAIN_NO || dial->is_second)
        return false;
    dial->config.sslmode = again == LOGIN_AGAIN_PLAIN ? LOGIN_SSL_DISABLE : LOGIN_SSL_REQUIRE;
    dial->is_second = true;
    dial->is_between = true;
    stream_close(dial->worker->loop, dial->stream, false);
    return true;
}

/* ---- whereto, and as whom ---- */

enum dial_pick dial_pick(struct dial *dial, struct hosts *hosts,
                         const struct proxy_database *database, int64_t *retry_at_ns)
{
    struct worker *worker = dial->worker;
    const int64_t now_ns = worker_now(worker);
    *retry_at_ns = ns_add(now_ns, HF_SEC(1));
    for (uint32_t i = 0; i < database->host_count; i++) {
        dial->host_index = hosts_turn(hosts, database, now_ns);
        dial->host = database->hosts[dial->host_index];
        dial->endpoint = proxy_endpoint(worker->proxy, &dial->host);
        if (dial->endpoint == NULL)
            return DIAL_MEMORY;
        if (breaker_admit(dial->endpoint->breaker, now_ns, &dial->attempt)) {
            dial->holds_connect = bulkhead_try(dial->endpoint->connects, now_ns, &dial->connect);
            dial->is_admitted = dial->holds_connect;
            if (dial->is_admitted)
                return DIAL_PICKED;
            breaker_abandon(dial->endpoint->breaker, &dial->attempt, now_ns);
            let_endpoint_go(dial);
            return DIAL_BUSY;
        }
        *retry_at_ns = ns_min(*retry_at_ns, breaker_retry_at(dial->endpoint->breaker));
        let_endpoint_go(dial);
        hosts_failed(hosts, database, dial->host_index);
    }
    return DIAL_OPEN;
}

/* What is known of the user proves it to a server: a password, or keys that a client has shown. */
static bool can_enter(struct user *user)
{
    struct user_pass pass;
    const bool has_pass = user_get_pass(user, &pass);
    user_pass_wipe(&pass);
    return has_pass ||
           (user_secret(user).size > 0 && password_kind(user_secret(user)) != PASSWORD_SCRAM);
}

void dial_prove(struct dial *dial, const struct secret *own, struct user *user,
                const struct access *access)
{
    struct login_config *config = &dial->config;
    struct hf_err err;
    dial->user = user;
    if (secret_is_set(own)) {
        dial->secret = *own;
        dial->user = NULL; /* what is found out is of another secret than its own */
    } else if (user == NULL || !can_enter(user)) {
        /* A line that is too long is no password; logging in says that there is none. */
        (void)!access_password(access, &dial->host, config->database, config->user, &dial->secret,
                               &err);
    }
    config->secret = secret_reveal(&dial->secret);
    if (user == NULL || secret_is_set(&dial->secret))
        return;
    config->secret = user_secret(user);
    if (user_get_pass(user, &dial->pass)) {
        config->keys = &dial->pass.keys;
        config->verifier = &dial->pass.verifier;
    }
}

/* ---- connecting ---- */

static void connect_to(struct dial *dial, const struct address *address)
{
    dial->address = *address;
    entropy_fill(dial->config.random, sizeof dial->config.random);
    stream_connect(dial->worker->loop, dial->stream, &dial->address, (uint8_t)dial->stream->kind);
    keepalive_apply(dial->stream->fd, &dial->worker->config->proxy.keepalive);
    dial->calls->connecting(dial);
}

/* The answer comes later even if it is there already: whoever has called us must not be called
 * back. */
static enum hf_rc look_up(struct dial *dial)
{
    struct worker *worker = dial->worker;
    struct dial_lookup *lookup = mem_alloc(worker->proxy->mem, sizeof *lookup);
    if (lookup == NULL || !resolve_request_init(&lookup->request, worker->loop, WORKER_RESOLVED,
                                                sv_from_cstr(dial->host.name), dial->host.port)) {
        mem_free(worker->proxy->mem, lookup);
        return err_set(&dial->login.err, HF_RC_INVALID, "08001", "could not look up \"%s\"",
                       dial->host.name);
    }
    lookup->worker = worker;
    lookup->dial = dial;
    dial->lookup = lookup;
    lookup->is_posted = resolve_ask(worker->proxy->resolver, &lookup->request) == RESOLVE_DONE;
    if (lookup->is_posted)
        loop_post(worker->loop, &lookup->request.message);
    return HF_OK;
}

void dial_resolved(struct loop_message *message)
{
    struct resolve_request *request = container_of(message, struct resolve_request, message);
    struct dial_lookup *lookup = container_of(request, struct dial_lookup, request);
    struct worker *worker = lookup->worker;
    struct dial *dial = lookup->dial;
    const struct outcome outcome = {.code = OUTCOME_RESOLVE_FAILED};
    if (dial != NULL) {
        dial->lookup = NULL;
        if (request->rc != HF_OK)
            dial_fail(dial, outcome, &request->err);
        else /* the one that the turn falls on */
            connect_to(dial, &request->addresses[(*dial->next_address)++ % request->count]);
    }
    mem_free(worker->proxy->mem, lookup);
}

enum hf_rc dial_begin(struct dial *dial)
{
    struct address address;
    const struct sv name = sv_from_cstr(dial->host.name);
    if (address_host_is_unix(name)) {
        const enum hf_rc rc = address_unix(&address, name, dial->host.port, &dial->login.err);
        if (rc != HF_OK)
            return rc;
    } else if (!address_literal(&address, name, dial->host.port)) {
        return look_up(dial);
    }
    connect_to(dial, &address);
    return HF_OK;
}

/* ---- logging in ---- */

static enum step secure(struct dial *dial)
{
    const struct outcome outcome = {.code = OUTCOME_TLS_FAILED};
    if (secure_server(dial->worker, dial->stream, &dial->host,
                      (enum proxy_sslmode)dial->config.sslmode, &dial->login.err))
        return STEP_WAIT;
    dial_fail(dial, outcome, &dial->login.err);
    return STEP_OVER;
}

static void failed(struct dial *dial, const struct login_event *event)
{
    const struct hf_err *err = &dial->login.err;
    struct outcome outcome = {.code = OUTCOME_PROTOCOL};
    if (try_again(dial))
        return;
    if (event->message.size > 0)
        outcome =
            (struct outcome){.code = OUTCOME_SQLSTATE, .sqlstate = sqlstate_pack(err->sqlstate)};
    fail_with(dial, outcome, err, event->message); /* which is in the view still */
}

static enum step step(struct dial *dial, const struct login_event *event)
{
    if (event->kind == LOGIN_FAILED) {
        failed(dial, event);
        return STEP_OVER;
    }
    if ((event->kind == LOGIN_PARAMETER || event->kind == LOGIN_NOTICE) &&
        dial->calls->heard != NULL)
        dial->calls->heard(dial, event);
    stream_consume(dial->worker->loop, dial->stream, event->consumed);
    switch (event->kind) {
    case LOGIN_START_TLS:
        return secure(dial);
    case LOGIN_WORK:
        list_push_back(&dial->worker->working_servers, &dial->work);
        return STEP_WAIT;
    case LOGIN_READY:
        dial->calls->ready(dial);
        return STEP_OVER;
    case LOGIN_MORE:
        return STEP_WAIT;
    case LOGIN_NO_TLS:
    case LOGIN_NEGOTIATED:
    case LOGIN_NOTICE:
    case LOGIN_PARAMETER:
    case LOGIN_KEY:
    case LOGIN_FAILED:
    default:
        return STEP_ON;
    }
}

/* False: STEP_OVER. */
static bool feed(struct dial *dial)
{
    struct login_event event;
    enum step next = STEP_ON;
    while (next == STEP_ON && !list_is_linked(&dial->work)) {
        struct buffer *out = out_of(dial, STARTUP_SIZE_MAX);
        if (out == NULL)
            break;
        login_feed(&dial->login, stream_view(dial->stream), out, &event);
        next = step(dial, &event);
    }
    return next != STEP_OVER;
}

void dial_work(struct list_node *work)
{
    struct dial *dial = container_of(work, struct dial, work);
    struct login_event event;
    struct buffer *out = out_of(dial, 1024);
    list_remove(&dial->work);
    if (out == NULL) {
        list_push_back(&dial->worker->working_servers, &dial->work);
        return;
    }
    login_work(&dial->login, out, &event);
    event.consumed = 0;
    if (step(dial, &event) != STEP_OVER)
        feed(dial); /* what it has said meanwhile */
}

static void accepted(struct dial *dial)
{
    const struct outcome outcome = {.code = OUTCOME_PROTOCOL};
    struct buffer *out = out_of(dial, STARTUP_SIZE_MAX);
    dial->is_accepted = true;
    dial->calls->accepted(dial);
    if (out != NULL && login_begin(&dial->login, &dial->config, out) == HF_OK)
        return;
    if (out == NULL)
        err_set(&dial->login.err, HF_RC_LIMIT, "53200", "out of buffers");
    dial_fail(dial, outcome, &dial->login.err);
}

static void encrypted(struct dial *dial)
{
    const struct outcome outcome = {.code = OUTCOME_TLS_FAILED};
    struct scram_binding binding = {0};
    struct buffer *out = out_of(dial, STARTUP_SIZE_MAX);
    secure_binding(dial->stream, &binding);
    if (out != NULL && login_encrypted(&dial->login, &binding, out) == HF_OK)
        return;
    if (out == NULL)
        err_set(&dial->login.err, HF_RC_LIMIT, "53200", "out of buffers");
    dial_fail(dial, outcome, &dial->login.err);
}

/* ---- events ---- */

static void ended(struct dial *dial, const struct loop_event *event)
{
    struct hf_err err;
    struct outcome outcome = {.code = OUTCOME_CONN_LOST};
    const char *why = stream_error(dial->stream);
    if (dial->is_accepted && try_again(dial))
        return;
    if (!dial->is_accepted)
        outcome.code = event->error == ECONNREFUSED ? OUTCOME_CONNECT_REFUSED : OUTCOME_UNREACHABLE;
    err_set(&err, HF_RC_AGAIN, "08001", "could not connect to server \"%s\" port %u: %s",
            dial->host.name, (unsigned)dial->host.port,
            why[0] != '\0' ? why : "the server closed the connection");
    dial_fail(dial, outcome, &err);
}

bool dial_gone(struct dial *dial)
{
    if (!dial->is_between)
        return false;
    dial->is_between = dial->is_accepted = false;
    login_wipe(&dial->login);
    connect_to(dial, &dial->address);
    return true;
}

void dial_event(struct dial *dial, const struct loop_event *event)
{
    if (dial->is_between)
        return;
    switch (event->kind) {
    case LOOP_CONNECTED:
        accepted(dial);
        return;
    case LOOP_SECURED:
        encrypted(dial);
        return;
    case LOOP_RECEIVED:
    case LOOP_DRAINED:
        if (dial->is_accepted)
            feed(dial);
        return;
    case LOOP_ENDED:
        if (!dial->is_accepted || stream_view(dial->stream).size == 0 || feed(dial))
            ended(dial, event);
        return;
    case LOOP_ACCEPTED:
    case LOOP_LEFT:
    case LOOP_GONE:
    case LOOP_POSTED:
    default:
        return;
    }
}
