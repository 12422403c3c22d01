#include "proxy/auth_ask.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "core/outcome.h"
#include "net/resolve.h"
#include "os/entropy.h"
#include "proxy/access.h"
#include "proxy/auth_ask_int.h"
#include "proxy/auth_cache.h"
#include "proxy/auth_query.h"
#include "proxy/secure.h"
#include "proxy/worker.h"
#include "wire/build.h"

#define PAUSE_FIRST_NS HF_MS(50)
#define PAUSE_MOST_NS  HF_SEC(1)
#define IDLE_NS        HF_SEC(60)

/* ---- questions ---- */

static void wake(struct proxy *proxy, uint64_t workers)
{
    for (uint32_t i = 0; i < proxy->worker_count; i++) {
        struct worker *worker = &proxy->workers[i];
        if ((workers >> i & 1) == 0 || atomic_exchange(&worker->answered_is_posted, true))
            continue;
        worker->answered.kind = WORKER_ANSWERED;
        loop_post(worker->loop, &worker->answered);
    }
}

/* Clients are told no more than this: who is not logged in has no business with the reasons. */
static void fail_question(struct auth_asker *asker, struct asked *asked)
{
    struct hf_err err;
    err_set(&err, HF_RC_AGAIN, "57P03", "could not look up user \"%s\"", asked->question.user);
    err_hint(&err, "auth_query could not be asked; the log of the proxy says why.");
    list_remove(&asked->link);
    wake(asker->worker->proxy,
         auth_cache_fail(asker->access->cache, &asked->question, &err, worker_now(asker->worker)));
    mem_free(asker->worker->proxy->mem, asked);
}

static void log_trouble(struct auth_asker *asker, const char *what, const struct hf_err *err)
{
    log_emit(asker->worker->proxy->log, LOG_AT_WARNING, what,
             log_text("database", asker->place->dbname), log_text("role", asker->place->user),
             log_text("servers_of", asker->place->entry), log_text("reason", err->message),
             log_text("sqlstate", err->sqlstate));
}

void asker_question_failed(struct auth_asker *asker, struct asked *asked, const struct hf_err *err)
{
    log_trouble(asker, "auth_query failed", err);
    fail_question(asker, asked);
}

void asker_answered(struct auth_asker *asker, struct asked *asked, struct sv secret)
{
    const enum auth_nothing nothing = asked->has_row ? AUTH_NO_SECRET : AUTH_NO_USER;
    const uint64_t workers = auth_cache_answer(asker->access->cache, &asked->question, secret,
                                               nothing, asked->valid_ns, worker_now(asker->worker));
    list_remove(&asked->link);
    secret_wipe(&asked->secret);
    mem_free(asker->worker->proxy->mem, asked);
    wake(asker->worker->proxy, workers);
}

/* What was sent is asked again, before the rest. */
static void take_back(struct auth_asker *asker)
{
    struct list_node *node;
    while ((node = list_last(&asker->sent)) != NULL) {
        struct asked *asked = container_of(node, struct asked, link);
        list_remove(node);
        asked->has_row = false;
        asked->has_failed = false;
        secret_wipe(&asked->secret);
        asked->has_secret = false;
        list_push_front(&asker->queue, node);
    }
    asker->sent_count = 0;
}

static const struct proxy_database *asker_database(const struct auth_asker *asker)
{
    return proxy_database_find(asker->worker->config, sv_from_cstr(asker->place->entry));
}

/* Those who need not, or cannot, wait for the next attempt. */
static void give_up(struct auth_asker *asker, bool is_final)
{
    const int64_t now_ns = worker_now(asker->worker);
    const struct proxy_database *database = asker_database(asker);
    const int64_t patience_ns = database != NULL ? database->pool.server_down_timeout_ns : 0;
    list_for_each(node, &asker->queue) {
        struct asked *asked = container_of(node, struct asked, link);
        if (is_final || ns_add(asked->since_ns, patience_ns) <= now_ns ||
            auth_cache_has_stale(asker->access->cache, &asked->question, now_ns))
            fail_question(asker, asked);
    }
}

/* ---- beginning and end of a connection ---- */

static void set_timer(struct auth_asker *asker, int64_t after_ns)
{
    struct worker *worker = asker->worker;
    asker->due_ns = ns_add(worker_now(worker), after_ns);
    worker_timer(worker, &asker->timer, asker->due_ns);
}

/* Gives back what connecting and logging in has needed. */
static void end_login(struct auth_asker *asker)
{
    const int64_t now_ns = worker_now(asker->worker);
    struct proxy *proxy = asker->worker->proxy;
    struct asker_lookup *lookup = asker->lookup;
    asker->lookup = NULL;
    if (lookup != NULL) {
        lookup->asker = NULL;
        if (!lookup->is_posted && resolve_cancel(proxy->resolver, &lookup->request))
            mem_free(proxy->mem, lookup);
    }
    if (asker->is_admitted)
        breaker_abandon(asker->endpoint->breaker, &asker->attempt, now_ns);
    if (asker->holds_connect)
        bulkhead_release(asker->endpoint->connects, &asker->connect, now_ns);
    asker->is_admitted = asker->holds_connect = asker->is_working = false;
    login_wipe(&asker->login);
    user_pass_wipe(&asker->pass);
    secret_wipe(&asker->secret);
}

/* Without a connection: the next one, when there is a reason for one. */
static void rest(struct auth_asker *asker)
{
    asker->state = ASKER_RESTING;
    asker->is_started = false;
    if (list_is_empty(&asker->queue))
        worker_timer(asker->worker, &asker->timer, HF_NEVER);
    else
        set_timer(asker, asker->pause_ns);
}

void asker_close(struct auth_asker *asker)
{
    end_login(asker);
    take_back(asker);
    if (!asker->is_started) {
        rest(asker);
        return;
    }
    asker->state = ASKER_CLOSING;
    worker_timer(asker->worker, &asker->timer, HF_NEVER);
    stream_close(asker->worker->loop, &asker->stream, false);
}

/* The attempt, or the connection, has come to nothing. */
void asker_failed(struct auth_asker *asker, struct outcome outcome, const struct hf_err *err)
{
    const struct proxy_database *database = asker_database(asker);
    const struct outcome_rule *rule = outcome_rule(outcome);
    const struct outcome_facts facts = {0};
    const bool is_said = outcome.code == OUTCOME_SQLSTATE;
    const bool is_final =
        err->rc == HF_RC_DENIED ||
        (is_said && (rule->kind == OUTCOME_KIND_QUERY || rule->kind == OUTCOME_KIND_PERSISTENT));
    if (asker->is_admitted)
        breaker_record(asker->endpoint->breaker, &asker->attempt, outcome_verdict_of(rule, &facts),
                       worker_now(asker->worker));
    asker->is_admitted = false;
    if (!asker->worker->is_draining)
        log_trouble(asker, "could not connect for auth_query", err);
    take_back(asker);
    give_up(asker, is_final);
    const bool has_others =
        database != NULL && !is_final && hosts_failed(&asker->hosts, database, asker->host_index);
    asker->pause_ns =
        has_others ? 0 : ns_min(ns_max(2 * asker->pause_ns, PAUSE_FIRST_NS), PAUSE_MOST_NS);
    asker_close(asker);
}

/* ---- connecting ---- */

/* The host whose turn it is and whose breaker and bulkhead admit an attempt. */
static bool pick_host(struct auth_asker *asker, const struct proxy_database *database)
{
    struct worker *worker = asker->worker;
    const int64_t now_ns = worker_now(worker);
    for (uint32_t i = 0; i < database->host_count; i++) {
        asker->host_index = hosts_turn(&asker->hosts, database, now_ns);
        const struct proxy_host *host = &database->hosts[asker->host_index];
        asker->endpoint = proxy_endpoint(worker->proxy, host);
        if (asker->endpoint == NULL)
            return false;
        if (!bulkhead_try(asker->endpoint->connects, now_ns, &asker->connect))
            return false; /* connects are under way: soon there is room */
        asker->holds_connect = true;
        asker->is_admitted = breaker_admit(asker->endpoint->breaker, now_ns, &asker->attempt);
        if (asker->is_admitted) {
            asker->host = *host;
            return true;
        }
        bulkhead_release(asker->endpoint->connects, &asker->connect, now_ns);
        asker->holds_connect = false;
        hosts_failed(&asker->hosts, database, asker->host_index);
    }
    return false;
}

/* Who asks: by his own password, or as any user of ours. */
static void take_secret(struct auth_asker *asker)
{
    struct login_config *config = &asker->config;
    const struct secret *own = &asker->worker->config->proxy.lookup_password;
    struct hf_err err;
    config->user = sv_from_cstr(asker->place->user);
    if (secret_is_set(own) &&
        sv_eq(config->user, sv_from_cstr(asker->worker->config->proxy.lookup.user))) {
        asker->secret = *own;
        config->secret = secret_reveal(&asker->secret);
        return;
    }
    struct user *user = users_find(asker->access->users, config->user);
    if (user == NULL) {
        /* One that does not fit is none; logging in without says what is missing. */
        (void)!access_password(asker->access, &asker->host, sv_from_cstr(asker->place->dbname),
                               config->user, &asker->secret, &err);
        config->secret = secret_reveal(&asker->secret);
        return;
    }
    config->secret = user_secret(user);
    if (user_get_pass(user, &asker->pass)) {
        config->keys = &asker->pass.keys;
        config->verifier = &asker->pass.verifier;
    }
}

/* What a session of ours is begun with, so that nothing of role or database can change what the
 * query means or how long it takes. */
static void take_config(struct auth_asker *asker, const struct proxy_database *database)
{
    /* The server's own limit comes first: then one question has failed, and not the connection. */
    snprintf(asker->timeout_text, sizeof asker->timeout_text, "%lld",
             (long long)(database->pool.server_connect_timeout_ns * 3 / 4 / HF_MS(1)));
    const struct build_parameter parameters[ASKER_PARAMETERS] = {
        {SV("search_path"), SV("pg_catalog")},
        {SV("client_encoding"), SV("UTF8")},
        {SV("application_name"), SV("holdfast auth_query")},
        {SV("statement_timeout"), sv_from_cstr(asker->timeout_text)},
    };
    memcpy(asker->parameters, parameters, sizeof parameters);
    asker->config = (struct login_config){
        .database = sv_from_cstr(asker->place->dbname),
        .version = STARTUP_VERSION(3, 0),
        .parameters = asker->parameters,
        .parameter_count = ASKER_PARAMETERS,
        .sslmode = (enum login_sslmode)database->sslmode,
        .is_local = asker->host.is_unix,
        .methods = LOGIN_METHODS_ALL,
    };
    take_secret(asker);
    entropy_fill(asker->config.random, sizeof asker->config.random);
}

static void connect_to(struct auth_asker *asker, const struct address *address)
{
    asker->address = *address;
    stream_connect(asker->worker->loop, &asker->stream, address, STREAM_ASKER);
    asker->is_started = true;
}

static void look_up(struct auth_asker *asker)
{
    struct worker *worker = asker->worker;
    struct asker_lookup *lookup = mem_alloc(worker->proxy->mem, sizeof *lookup);
    const struct outcome outcome = {.code = OUTCOME_RESOLVE_FAILED};
    struct hf_err err;
    if (lookup == NULL || !resolve_request_init(&lookup->request, worker->loop, WORKER_ASK_RESOLVED,
                                                sv_from_cstr(asker->host.name), asker->host.port)) {
        mem_free(worker->proxy->mem, lookup);
        err_set(&err, HF_RC_INVALID, "08001", "could not look up \"%s\"", asker->host.name);
        asker_failed(asker, outcome, &err);
        return;
    }
    lookup->worker = worker;
    lookup->asker = asker;
    asker->lookup = lookup;
    lookup->is_posted = resolve_ask(worker->proxy->resolver, &lookup->request) == RESOLVE_DONE;
    if (lookup->is_posted)
        loop_post(worker->loop, &lookup->request.message);
}

void auth_ask_resolved(struct loop_message *message)
{
    struct resolve_request *request = container_of(message, struct resolve_request, message);
    struct asker_lookup *lookup = container_of(request, struct asker_lookup, request);
    struct mem *mem = lookup->worker->proxy->mem;
    struct auth_asker *asker = lookup->asker;
    const struct outcome outcome = {.code = OUTCOME_RESOLVE_FAILED};
    if (asker != NULL) {
        asker->lookup = NULL;
        if (request->rc != HF_OK)
            asker_failed(asker, outcome, &request->err);
        else
            connect_to(asker, &request->addresses[asker->next_address++ % request->count]);
    }
    mem_free(mem, lookup);
}

static void begin(struct auth_asker *asker)
{
    const struct proxy_database *database = asker_database(asker);
    struct address address;
    struct hf_err err;
    if (database == NULL || !pick_host(asker, database)) {
        give_up(asker, database == NULL || asker->worker->is_draining);
        asker->pause_ns = PAUSE_FIRST_NS;
        rest(asker);
        return;
    }
    take_config(asker, database);
    asker->state = ASKER_CONNECTING;
    asker->is_second = asker->is_between = false;
    set_timer(asker, hosts_patience(&asker->hosts, database, false,
                                    database->pool.server_connect_timeout_ns));
    const struct sv name = sv_from_cstr(asker->host.name);
    if (!address_host_is_unix(name) && !address_literal(&address, name, asker->host.port)) {
        look_up(asker);
    } else if (address_host_is_unix(name) &&
               address_unix(&address, name, asker->host.port, &err) != HF_OK) {
        asker_failed(asker, (struct outcome){.code = OUTCOME_RESOLVE_FAILED}, &err);
    } else {
        connect_to(asker, &address);
    }
}

/* Logged in: what was waiting is asked. */
void asker_ready(struct auth_asker *asker)
{
    struct scram_keys keys;
    struct scram_verifier verifier;
    struct worker *worker = asker->worker;
    const struct proxy_database *database = asker_database(asker);
    struct user *user = users_find(asker->access->users, asker->config.user);
    const struct outcome outcome = {.code = OUTCOME_SUCCESS};
    const struct outcome_facts facts = {0};
    breaker_record(asker->endpoint->breaker, &asker->attempt,
                   outcome_verdict_of(outcome_rule(outcome), &facts), worker_now(worker));
    asker->is_admitted = false;
    if (database != NULL)
        hosts_worked(&asker->hosts, database, asker->host_index, worker_now(worker));
    if (user != NULL && login_made(&asker->login, &keys, &verifier)) {
        user_set_pass(user, &keys, &verifier);
        explicit_bzero(&keys, sizeof keys);
    }
    end_login(asker);
    asker->state = ASKER_READY;
    asker->pause_ns = 0;
    frame_init(&asker->frame, FRAME_BACKEND, FRAME_SESSION);
    asker_send(asker);
}

/* ---- events ---- */

void asker_limit(struct auth_asker *asker)
{
    const struct proxy_database *database = asker_database(asker);
    const bool is_idle = list_is_empty(&asker->sent);
    set_timer(asker,
              is_idle || database == NULL ? IDLE_NS : database->pool.server_connect_timeout_ns);
}

static void timed_out(struct auth_asker *asker)
{
    struct hf_err err;
    const bool is_asking = asker->state == ASKER_READY;
    err_set(&err, HF_RC_AGAIN, "08001", "%s \"%s\" port %u: timeout",
            is_asking ? "no answer from server" : "could not connect to server", asker->host.name,
            (unsigned)asker->host.port);
    asker_failed(asker, (struct outcome){.code = OUTCOME_CONNECT_TIMEOUT}, &err);
}

void auth_ask_timeout(struct stream *stream)
{
    struct auth_asker *asker = container_of(stream, struct auth_asker, stream);
    if (asker->is_working) {
        asker_work(asker);
        return;
    }
    switch (asker->state) {
    case ASKER_RESTING:
        if (!list_is_empty(&asker->queue))
            begin(asker);
        return;
    case ASKER_READY:
        if (list_is_empty(&asker->sent))
            asker_close(asker); /* it was idle for long */
        else
            timed_out(asker);
        return;
    case ASKER_CONNECTING:
    case ASKER_LOGIN:
        timed_out(asker);
        return;
    case ASKER_CLOSING:
    default:
        return;
    }
}

static bool is_current(const struct auth_asker *asker)
{
    struct proxy *proxy = asker->worker->proxy;
    pthread_mutex_lock(&proxy->lock);
    const bool is = proxy->access == asker->access;
    pthread_mutex_unlock(&proxy->lock);
    return is;
}

/* Its connection is gone. Of an old configuration, with nothing to ask: so is the asker. */
void asker_gone(struct auth_asker *asker)
{
    struct worker *worker = asker->worker;
    if (asker->is_between) {
        asker->is_between = false;
        login_wipe(&asker->login);
        entropy_fill(asker->config.random, sizeof asker->config.random);
        asker->state = ASKER_CONNECTING;
        connect_to(asker, &asker->address);
        return;
    }
    rest(asker);
    if (worker->is_draining)
        give_up(asker, true);
    if (!list_is_empty(&asker->queue) || (!worker->is_draining && is_current(asker)))
        return;
    worker_timer(worker, &asker->timer, HF_NEVER);
    list_remove(&asker->link);
    access_drop(asker->access);
    mem_free(worker->proxy->mem, asker);
}

/* ---- from outside ---- */

static struct auth_asker *asker_of(struct worker *worker, struct access *access,
                                   const struct auth_place *place)
{
    struct mem *mem = worker->proxy->mem;
    list_for_each(node, &worker->askers) {
        struct auth_asker *asker = container_of(node, struct auth_asker, link);
        if (asker->place == place)
            return asker;
    }
    struct auth_asker *asker = mem_alloc(mem, sizeof *asker);
    if (asker == NULL)
        return NULL;
    asker->stream.kind = STREAM_ASKER; /* its timer runs before the stream does */
    asker->worker = worker;
    asker->access = access_hold(access);
    asker->place = place;
    list_init(&asker->queue);
    list_init(&asker->sent);
    list_push_back(&worker->askers, &asker->link);
    return asker;
}

static void take_question(struct worker *worker, struct access *access,
                          const struct auth_question *question)
{
    struct proxy *proxy = worker->proxy;
    struct auth_asker *asker =
        worker->is_draining ? NULL : asker_of(worker, access, question->place);
    struct asked *asked = asker != NULL ? mem_alloc(proxy->mem, sizeof *asked) : NULL;
    if (asked == NULL) {
        struct hf_err err;
        err_set(&err, HF_RC_LIMIT, "53200", "could not look up user \"%s\": %s", question->user,
                worker->is_draining ? "the proxy shuts down" : "out of memory");
        wake(proxy, auth_cache_fail(access->cache, question, &err, worker_now(worker)));
        return;
    }
    asked->question = *question;
    asked->since_ns = worker_now(worker);
    list_push_back(&asker->queue, &asked->link);
    if (asker->state == ASKER_READY)
        asker_send(asker);
    else if (asker->state == ASKER_RESTING && !timerq_is_linked(&asker->timer))
        set_timer(asker, 0);
}

void auth_ask(struct worker *worker, struct loop_message *message)
{
    struct auth_ask_message *ask = container_of(message, struct auth_ask_message, message);
    struct access *access = ask->access;
    struct auth_question question;
    mem_free(worker->proxy->mem, ask);
    while (auth_cache_next(access->cache, &question))
        take_question(worker, access, &question);
    access_drop(access);
}

static void end_idle(struct auth_asker *asker)
{
    const bool has_work = !list_is_empty(&asker->queue) || !list_is_empty(&asker->sent);
    if (asker->state == ASKER_CLOSING || (has_work && !asker->worker->is_draining))
        return;
    if (asker->state != ASKER_RESTING)
        asker_close(asker);
    if (asker->state == ASKER_RESTING) /* there was no stream that would tell */
        asker_gone(asker);
}

void auth_ask_reload(struct worker *worker)
{
    list_for_each(node, &worker->askers) {
        struct auth_asker *asker = container_of(node, struct auth_asker, link);
        if (!is_current(asker))
            end_idle(asker);
    }
}

bool auth_ask_end(struct worker *worker)
{
    list_for_each(node, &worker->askers)
        end_idle(container_of(node, struct auth_asker, link));
    return list_is_empty(&worker->askers);
}
