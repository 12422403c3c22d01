#include "proxy/auth_ask.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "core/outcome.h"
#include "proxy/access.h"
#include "proxy/auth_ask_int.h"
#include "proxy/auth_cache.h"
#include "proxy/auth_query.h"
#include "proxy/worker.h"

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
    worker_timer(worker, &asker->timer, ns_add(worker_now(worker), after_ns));
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
    dial_end(&asker->dial);
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
static void come_to_nothing(struct auth_asker *asker, bool is_final, const struct hf_err *err)
{
    const struct proxy_database *database = asker_database(asker);
    if (!asker->worker->is_draining)
        log_trouble(asker, "could not connect for auth_query", err);
    take_back(asker);
    give_up(asker, is_final);
    const bool has_others = database != NULL && !is_final &&
                            hosts_failed(&asker->hosts, database, asker->dial.host_index);
    asker->pause_ns =
        has_others ? 0 : ns_min(ns_max(2 * asker->pause_ns, PAUSE_FIRST_NS), PAUSE_MOST_NS);
    asker_close(asker);
}

void asker_lost(struct auth_asker *asker, const struct hf_err *err)
{
    come_to_nothing(asker, false, err);
}

/* ---- connecting ---- */

static struct auth_asker *asker_of_dial(struct dial *dial)
{
    return container_of(dial, struct auth_asker, dial);
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
    asker->dial.config = (struct login_config){
        .user = sv_from_cstr(asker->place->user),
        .database = sv_from_cstr(asker->place->dbname),
        .version = STARTUP_VERSION(3, 0),
        .parameters = asker->parameters,
        .parameter_count = ASKER_PARAMETERS,
        .sslmode = (enum login_sslmode)database->sslmode,
        .is_local = asker->dial.host.is_unix,
        .methods = LOGIN_METHODS_ALL,
    };
}

/* Who asks: by his own password, or as any user of ours. */
static void prove(struct auth_asker *asker)
{
    const struct proxy_settings *settings = &asker->worker->config->proxy;
    const struct sv user = asker->dial.config.user;
    const struct secret none = {0};
    const bool is_own = sv_eq(user, sv_from_cstr(settings->lookup.user));
    dial_prove(&asker->dial, is_own ? &settings->lookup_password : &none,
               users_find(asker->access->users, user), asker->access);
}

/* An attempt has so much time, from now on, to be accepted or, if it was, to be let in. */
static void set_limit(struct auth_asker *asker, bool is_accepted)
{
    const struct proxy_database *database = asker_database(asker);
    const int64_t limit_ns =
        database != NULL ? database->pool.server_connect_timeout_ns : PAUSE_MOST_NS;
    set_timer(asker, database != NULL
                         ? hosts_patience(&asker->hosts, database, is_accepted, limit_ns)
                         : limit_ns);
}

static void connecting(struct dial *dial)
{
    struct auth_asker *asker = asker_of_dial(dial);
    asker->state = ASKER_CONNECTING;
    asker->is_started = true;
    set_limit(asker, false);
}

static void accepted(struct dial *dial)
{
    struct auth_asker *asker = asker_of_dial(dial);
    asker->state = ASKER_LOGIN;
    set_limit(asker, true);
}

/* Logged in: what was waiting is asked. */
static void ready(struct dial *dial)
{
    struct auth_asker *asker = asker_of_dial(dial);
    dial_succeeded(dial, &asker->hosts, asker_database(asker));
    dial_end(dial);
    asker->state = ASKER_READY;
    asker->pause_ns = 0;
    frame_init(&asker->frame, FRAME_BACKEND, FRAME_SESSION);
    asker_send(asker);
}

static void failed(struct dial *dial, const struct dial_failure *failure)
{
    come_to_nothing(asker_of_dial(dial), failure->is_final, &failure->err);
}

static void begin(struct auth_asker *asker)
{
    const struct proxy_database *database = asker_database(asker);
    const struct outcome no_address = {.code = OUTCOME_RESOLVE_FAILED};
    int64_t retry_at_ns;
    if (database == NULL ||
        dial_pick(&asker->dial, &asker->hosts, database, &retry_at_ns) != DIAL_PICKED) {
        give_up(asker, database == NULL || asker->worker->is_draining);
        asker->pause_ns = PAUSE_FIRST_NS;
        rest(asker);
        return;
    }
    take_config(asker, database);
    prove(asker);
    asker->state = ASKER_CONNECTING;
    set_limit(asker, false);
    if (dial_begin(&asker->dial) != HF_OK)
        dial_fail(&asker->dial, no_address, &asker->dial.login.err);
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
    const struct outcome too_late = {.code = OUTCOME_CONNECT_TIMEOUT};
    struct hf_err err;
    const bool is_asking = asker->state == ASKER_READY;
    err_set(&err, HF_RC_AGAIN, "08001", "%s \"%s\" port %u: timeout",
            is_asking ? "no answer from server" : "could not connect to server",
            asker->dial.host.name, (unsigned)asker->dial.host.port);
    if (is_asking)
        asker_lost(asker, &err);
    else
        dial_fail(&asker->dial, too_late, &err);
}

void auth_ask_timeout(struct stream *stream)
{
    struct auth_asker *asker = container_of(stream, struct auth_asker, stream);
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
static void gone(struct auth_asker *asker)
{
    struct worker *worker = asker->worker;
    if (dial_gone(&asker->dial))
        return;
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

void auth_ask_event(struct stream *stream, const struct loop_event *event)
{
    struct auth_asker *asker = container_of(stream, struct auth_asker, stream);
    if (event->kind == LOOP_GONE)
        gone(asker);
    else if (asker->state == ASKER_CONNECTING || asker->state == ASKER_LOGIN)
        dial_event(&asker->dial, event);
    else if (asker->state == ASKER_READY && event->kind == LOOP_ENDED)
        asker_ended(asker);
    else if (asker->state == ASKER_READY)
        asker_heard(asker);
}

/* ---- from outside ---- */

static struct auth_asker *asker_of(struct worker *worker, struct access *access,
                                   const struct auth_place *place)
{
    static const struct dial_calls calls = {
        .connecting = connecting,
        .accepted = accepted,
        .ready = ready,
        .failed = failed,
    };
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
    asker->dial = (struct dial){
        .calls = &calls,
        .worker = worker,
        .stream = &asker->stream,
        .next_address = &asker->next_address,
    };
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
        gone(asker);
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
