#include "proxy/server_login.h"

#include <string.h>

#include "base/bug.h"
#include "core/outcome.h"
#include "proxy/admission.h"
#include "proxy/auth_query.h"
#include "proxy/client.h"
#include "proxy/dial.h"
#include "proxy/hosts.h"
#include "proxy/pool.h"
#include "proxy/prepare.h"
#include "proxy/server.h"
#include "proxy/worker.h"

#define PARAMETERS_MAX 130 /* of a StartupMessage, user and database not counted */

/* What is needed until a connection is logged in. */
struct login_task {
    struct dial dial;
    struct server *server;
    struct access *access;     /* held */
    struct auth_secret *found; /* whom the dial enters as, held; NULL: of auth_file, or none */
    struct build_parameter parameters[PARAMETERS_MAX];
    char packet[STARTUP_SIZE_MAX]; /* what `parameters` borrow */
    char application_name[64];     /* the same */
    char user_name[PROXY_NAME_SIZE];
    char database[PROXY_NAME_SIZE];
    char connect_query[PROXY_LIST_SIZE];
};

static struct worker *worker_of(const struct server *server)
{
    return server->part->worker;
}

static struct server *server_of(struct dial *dial)
{
    return container_of(dial, struct login_task, dial)->server;
}

/* ---- the end of an attempt ---- */

/* Gives back what logging in has needed. */
static void end_login(struct server *server)
{
    struct login_task *task = server->login;
    server->login = NULL;
    dial_end(&task->dial);
    auth_secret_drop(task->found);
    access_drop(task->access);
    mem_free(worker_of(server)->proxy->mem, task);
}

static void log_failure(const struct server *server, const struct dial_failure *failure)
{
    struct worker *worker = worker_of(server);
    char text[ADDRESS_TEXT_SIZE];
    /* That a server has another role is found out again and again, and no news. Nor is that a
     * proxy which shuts down wants no connection any more. */
    const bool is_news = failure->outcome.code != OUTCOME_WRONG_ROLE && !worker->is_draining;
    log_emit(worker->proxy->log, is_news ? LOG_AT_WARNING : LOG_AT_DEBUG,
             "could not connect to server", log_text("database", server->part->pool->name),
             log_text("role", server->login->user_name),
             log_text("address", address_text(&server->address, text)),
             log_text("reason", failure->err.message), log_text("sqlstate", failure->err.sqlstate));
}

static void failed(struct dial *dial, const struct dial_failure *failure)
{
    struct server *server = server_of(dial);
    struct login_task *task = server->login;
    struct pool_part *part = server->part;
    struct pool_failure told = {.err = failure->err,
                                .words = dial->login.is_in_query ? SV("") : failure->words,
                                .is_final = failure->is_final,
                                .opener = server->opener};
    log_failure(server, failure);
    if (task->found != NULL && failure->err.rc == HF_RC_DENIED) /* a new password, perhaps */
        auth_query_refused(worker_of(server), task->access, sv_from_cstr(part->pool->name),
                           dial->config.user);
    if (!failure->is_final && failure->outcome.code != OUTCOME_CANCELLED && part->database != NULL)
        told.has_others = hosts_failed(&part->hosts, part->database, dial->host_index);
    pool_connect_failed(part, &told);
    end_login(server);
    server_close(server, &failure->err);
}

/* Our own wish: it says nothing about the server. */
void server_login_fail(struct server *server, const struct hf_err *err)
{
    const struct outcome outcome = {.code = OUTCOME_CANCELLED};
    dial_fail(&server->login->dial, outcome, err);
}

void server_login_timeout(struct server *server)
{
    struct dial *dial = &server->login->dial;
    const struct outcome no_address = {.code = OUTCOME_RESOLVE_FAILED};
    const struct outcome too_late = {.code = OUTCOME_CONNECT_TIMEOUT};
    struct hf_err err;
    if (!server->is_started && dial->login.err.rc != HF_OK) {
        dial_fail(dial, no_address, &dial->login.err);
        return;
    }
    err_set(&err, HF_RC_AGAIN, "08001", "could not connect to server \"%s\" port %u: timeout",
            server->endpoint->host, server->endpoint->port);
    dial_fail(dial, too_late, &err);
}

/* ---- what it takes to log in ---- */

/* In place of the client's own application_name the one that has its address; returns how many
 * parameters there are. */
static size_t take_application_name(struct login_task *task, const struct client *client,
                                    size_t count)
{
    struct proxy *proxy = client->worker->proxy;
    size_t at = 0;
    pthread_mutex_lock(&proxy->lock);
    struct sv name = settings_find(&proxy->settings, client->settings, SV("application_name"));
    name = sv_take(name, sizeof task->application_name);
    if (name.size > 0)
        memcpy(task->application_name, name.data, name.size);
    pthread_mutex_unlock(&proxy->lock);
    while (at < count && !sv_eq(task->parameters[at].name, SV("application_name")))
        at++;
    if (at == PARAMETERS_MAX)
        return count;
    task->parameters[at] = (struct build_parameter){
        .name = SV("application_name"), .value = sv_from(task->application_name, name.size)};
    return at < count ? count : count + 1;
}

/* In session mode, what the client has said, word for word; else what is the same for all. */
static void take_parameters(struct login_task *task, const struct client *client)
{
    size_t count = 0;
    struct sv rest;
    struct startup_parameter parameter;
    const struct admission *admission = client != NULL ? client->admission : NULL;
    if (admission == NULL)
        return;
    memcpy(task->packet, admission->packet, admission->packet_size);
    rest = sv_from(task->packet, admission->packet_size);
    while (count < PARAMETERS_MAX && startup_parameter_next(&rest, &parameter)) {
        if (parameter.kind == STARTUP_SETTING || parameter.kind == STARTUP_OPTIONS ||
            parameter.kind == STARTUP_REPLICATION)
            task->parameters[count++] =
                (struct build_parameter){.name = parameter.name, .value = parameter.value};
    }
    if (client->part->config.application_name_add_host)
        count = take_application_name(task, client, count);
    task->dial.config.version = admission->version;
    task->dial.config.parameter_count = count;
    if (admission->replication == STARTUP_REPLICATION_PHYSICAL)
        task->dial.config.database = SV(""); /* it has none */
}

/* Who we are for the server: the role of the pool with what is known of its secret, or the user
 * that the configuration sets for this database. */
static void take_user(struct login_task *task, const struct pool *pool,
                      const struct proxy_database *database)
{
    struct worker *worker = task->dial.worker;
    struct login_config *config = &task->dial.config;
    const bool is_set = database->user[0] != '\0';
    const struct secret none = {0};
    struct user *user = NULL;
    sv_copy(sv_from_cstr(is_set ? database->user : pool->role), task->user_name,
            sizeof task->user_name);
    config->user = sv_from_cstr(task->user_name);
    if (is_set && secret_is_set(&database->password)) {
        dial_prove(&task->dial, &database->password, NULL, task->access);
        return;
    }
    user = users_find(task->access->users, config->user);
    if (user == NULL) {
        task->found =
            auth_query_secret(worker, task->access, sv_from_cstr(pool->name), config->user);
        user = task->found != NULL ? auth_secret_user(task->found) : NULL;
    }
    dial_prove(&task->dial, &none, user, task->access);
}

/* For a host that was picked. */
static void fill_task(struct login_task *task, const struct client *client)
{
    const struct pool_part *part = task->server->part;
    const struct pool *pool = part->pool;
    const struct proxy_database *database = part->database;
    struct login_config *config = &task->dial.config;
    const char *name = database->dbname[0] != '\0' ? database->dbname : pool->name;
    task->access = proxy_access(part->worker->proxy);
    sv_copy(sv_from_cstr(name), task->database, sizeof task->database);
    config->version = STARTUP_VERSION(3, 0);
    config->parameters = task->parameters;
    config->database = sv_from_cstr(task->database);
    config->sslmode = (enum login_sslmode)database->sslmode;
    config->is_local = task->dial.host.is_unix;
    config->methods = LOGIN_METHODS_ALL;
    if (!pool->is_replication) { /* which may know no SQL */
        memcpy(task->connect_query, database->connect_query, sizeof task->connect_query);
        config->query = sv_from_cstr(task->connect_query);
    }
    take_user(task, pool, database);
    if (pool->mode == PROXY_POOL_SESSION)
        take_parameters(task, client);
}

/* ---- on the way ---- */

/* An attempt has so much time, from now on, to be accepted or, if it was, to be let in. */
static void set_limit(struct server *server, bool is_accepted)
{
    struct pool_part *part = server->part;
    int64_t limit_ns = part->config.server_connect_timeout_ns;
    if (part->database != NULL)
        limit_ns = hosts_patience(&part->hosts, part->database, is_accepted, limit_ns);
    worker_timer(part->worker, &server->timer, ns_add(worker_now(part->worker), limit_ns));
}

static void connecting(struct dial *dial)
{
    struct server *server = server_of(dial);
    if (server->state != SERVER_CONNECTING) /* the second attempt */
        server_enter(server, SERVER_CONNECTING);
    server->address = dial->address;
    server->is_started = true;
    set_limit(server, false);
}

static void accepted(struct dial *dial)
{
    struct server *server = server_of(dial);
    server_enter(server, SERVER_LOGIN);
    set_limit(server, true);
}

/* Is it what target_session_attrs asks for? By what it has reported. */
static bool has_role(struct server *server, struct hf_err *err)
{
    struct pool_part *part = server->part;
    struct proxy *proxy = worker_of(server)->proxy;
    if (part->database == NULL)
        return true;
    pthread_mutex_lock(&proxy->lock);
    struct sv standby = settings_find(&proxy->settings, server->reported, SV("in_hot_standby"));
    struct sv read_only =
        settings_find(&proxy->settings, server->reported, SV("default_transaction_read_only"));
    bool fits = hosts_fits(&part->hosts, part->database, standby, read_only, err);
    pthread_mutex_unlock(&proxy->lock);
    return fits;
}

static void ready(struct dial *dial)
{
    struct server *server = server_of(dial);
    struct pool_part *part = server->part;
    struct worker *worker = worker_of(server);
    const struct outcome wrong_role = {.code = OUTCOME_WRONG_ROLE};
    const struct sv key = login_key(&dial->login);
    struct hf_err err;
    if (!has_role(server, &err)) {
        dial_fail(dial, wrong_role, &err);
        return;
    }
    dial_succeeded(dial, &part->hosts, part->database);
    server->pid = dial->login.pid;
    server->key_size = (uint16_t)key.size;
    memcpy(server->key, key.data, key.size);
    end_login(server);
    worker_timer(worker, &server->timer, HF_NEVER);
    frame_init(&server->frame, FRAME_BACKEND, FRAME_SESSION);
    replies_init(&server->replies, server->runs, SERVER_RUNS, 'I');
    server->connected_ns = worker_now(worker);
    server->expires_ns = worker_lifetime(worker, &part->config, server->connected_ns);
    prepare_begin(server);
    proxy_settings_keep(worker->proxy, server->reported);
    proxy_settings_drop(worker->proxy, part->told);
    part->told = server->reported;
    pool_ready(server);
}

/* In session mode the client shall hear what the server said. */
static void keep_notice(struct server *server, struct sv message)
{
    struct server_notices *notices = server->notices;
    if (server->part->pool->mode != PROXY_POOL_SESSION)
        return;
    if (notices == NULL)
        notices = mem_alloc(worker_of(server)->proxy->mem, sizeof *notices);
    server->notices = notices;
    if (notices == NULL || message.size > SERVER_NOTICES_MAX - notices->size)
        return;
    memcpy(notices->bytes + notices->size, message.data, message.size);
    notices->size += message.size;
}

static void heard(struct dial *dial, const struct login_event *event)
{
    struct server *server = server_of(dial);
    if (event->kind == LOGIN_PARAMETER)
        server_report(server, event->name, event->value);
    else
        keep_notice(server, event->message);
}

/* ---- beginning ---- */

/* A host to connect to, and leave to do so. False: not now, and part->retry_at_ns says when. */
static bool pick_host(struct pool_part *part, struct dial *dial)
{
    const int64_t now_ns = worker_now(part->worker);
    int64_t retry_at_ns = HF_NEVER;
    switch (dial_pick(dial, &part->hosts, part->database, &retry_at_ns)) {
    case DIAL_PICKED:
        return true;
    case DIAL_BUSY:
        part->retry_at_ns = now_ns + HF_MS(5);
        return false;
    case DIAL_OPEN:
        if (part->failure.rc == HF_OK) { /* else the last attempt has said why */
            err_set(&part->failure, HF_RC_AGAIN, "08001", "server \"%s\" port %u cannot be reached",
                    dial->host.name, dial->host.port);
            err_detail(&part->failure, "Connecting has failed too often; it is tried again soon.");
        }
        part->retry_at_ns = ns_max(retry_at_ns, now_ns + HF_MS(10));
        return false;
    case DIAL_MEMORY:
    default:
        part->retry_at_ns = now_ns + HF_MS(20);
        return false;
    }
}

static const struct dial_calls dial_calls = {
    .connecting = connecting,
    .accepted = accepted,
    .heard = heard,
    .ready = ready,
    .failed = failed,
};

/* Server and task are all zero. */
static struct dial *prepare_dial(struct login_task *task, struct server *server,
                                 struct pool_part *part)
{
    server->part = part;
    server->stream.kind = STREAM_SERVER; /* its timer runs before the stream does */
    task->server = server;
    task->dial = (struct dial){
        .calls = &dial_calls,
        .worker = part->worker,
        .stream = &server->stream,
        .next_address = &part->next_address,
    };
    return &task->dial;
}

/* A place in the budget of server connections. */
static bool take_place(struct server *server)
{
    struct pool_part *part = server->part;
    struct worker *worker = part->worker;
    server->in_budget = proxy_budget_try(worker->proxy, part->pool, worker->config, &part->failure);
    if (!server->in_budget)
        part->retry_at_ns = worker_now(worker) + HF_MS(20);
    return server->in_budget;
}

/* With all that it takes to connect. NULL: not now, part->retry_at_ns says when. */
static struct server *server_new(struct pool_part *part, const struct client *client)
{
    struct mem *mem = part->worker->proxy->mem;
    struct server *server = mem_alloc(mem, sizeof *server);
    struct login_task *task = mem_alloc(mem, sizeof *task);
    if (server == NULL || task == NULL)
        part->retry_at_ns = worker_now(part->worker) + HF_MS(20);
    if (server == NULL || task == NULL || !pick_host(part, prepare_dial(task, server, part))) {
        mem_free(mem, task);
        mem_free(mem, server);
        return NULL;
    }
    server->endpoint = task->dial.endpoint;
    server->login = task;
    fill_task(task, client);
    if (!take_place(server)) {
        end_login(server);
        mem_free(mem, server);
        return NULL;
    }
    proxy_endpoint_keep(server->endpoint); /* the login's own ends with it */
    return server;
}

bool server_open(struct pool_part *part, struct client *client)
{
    struct worker *worker = part->worker;
    struct server *server = part->database != NULL ? server_new(part, client) : NULL;
    if (server == NULL)
        return false;
    server->sequence = ++worker->client_sequence;
    if (part->pool->mode == PROXY_POOL_SESSION && client != NULL) {
        server->opener = client->sequence;
        server->is_special = client->is_special;
        server->startup = client->settings;
        proxy_settings_keep(worker->proxy, server->startup);
    }
    part->server_count++;
    part->connecting++;
    worker->server_count++;
    server_enter(server, SERVER_CONNECTING);
    worker_timer(worker, &server->timer,
                 ns_add(server->since_ns, part->config.server_connect_timeout_ns));
    /* Without an address it fails by the timer, at once: whoever has called us must not be called
     * back. */
    if (dial_begin(&server->login->dial) != HF_OK)
        worker_timer(worker, &server->timer, server->since_ns);
    return true;
}

/* ---- events ---- */

void server_login_event(struct server *server, const struct loop_event *event)
{
    dial_event(&server->login->dial, event);
}

bool server_login_gone(struct server *server)
{
    return server->login != NULL && dial_gone(&server->login->dial);
}
