#include "proxy/server_login.h"

#include <errno.h>
#include <string.h>

#include "base/bug.h"
#include "core/breaker_mt.h"
#include "core/outcome.h"
#include "os/entropy.h"
#include "proxy/admission.h"
#include "proxy/auth_query.h"
#include "proxy/client.h"
#include "proxy/hosts.h"
#include "proxy/pool.h"
#include "proxy/prepare.h"
#include "proxy/secure.h"
#include "proxy/server.h"
#include "proxy/worker.h"
#include "wire/login.h"

#define PARAMETERS_MAX 130 /* of a StartupMessage, user and database not counted */

/* What is needed until a connection is logged in. */
struct login_task {
    struct list_node work; /* of worker->working_servers: a slice of hashing is to be done */
    struct server *server;
    struct proxy_host host; /* a copy: a reload may come before it is looked at again */
    uint32_t host_index;
    struct lookup *lookup;     /* NULL: nothing is being looked up */
    struct access *access;     /* held */
    struct user *user;         /* whose pass and secret it is; NULL: the database's own */
    struct auth_secret *found; /* that `user` is of, held; NULL: of auth_file, or none */
    struct login_config config;
    struct login login;
    struct user_pass pass;
    struct build_parameter parameters[PARAMETERS_MAX];
    char packet[STARTUP_SIZE_MAX]; /* what `parameters` borrow */
    char application_name[64];     /* the same */
    char user_name[PROXY_NAME_SIZE];
    char database[PROXY_NAME_SIZE];
    struct secret secret;
    bool holds_connect; /* a permit of endpoint->connects */
    bool is_admitted;   /* `attempt` of the server is to be recorded */
    bool is_second;     /* with or without TLS, after the other way was refused */
    bool is_between;    /* the first connection is being closed, the second follows */
    struct bulkhead_permit connect;
};

/* A name that is being looked up. Lives until its answer is here, which may be longer than the
 * connection that asked. */
struct lookup {
    struct resolve_request request;
    struct worker *worker;
    struct server *server; /* NULL: nobody waits for it any more */
    bool is_posted;        /* by us: the answer was there at once */
};

static struct worker *worker_of(const struct server *server)
{
    return server->part->worker;
}

/* ---- the end of an attempt ---- */

/* The answer is not waited for; if it is on its way already, whoever gets it throws it away. */
static void forget_lookup(struct server *server, struct login_task *task)
{
    struct proxy *proxy = worker_of(server)->proxy;
    struct lookup *lookup = task->lookup;
    task->lookup = NULL;
    if (lookup == NULL)
        return;
    lookup->server = NULL;
    if (!lookup->is_posted && resolve_cancel(proxy->resolver, &lookup->request))
        mem_free(proxy->mem, lookup);
}

/* Gives back what logging in has needed. */
static void end_login(struct server *server)
{
    struct login_task *task = server->login;
    struct proxy *proxy = worker_of(server)->proxy;
    int64_t now_ns = worker_now(worker_of(server));
    if (task == NULL)
        return;
    server->login = NULL;
    forget_lookup(server, task);
    if (list_is_linked(&task->work))
        list_remove(&task->work);
    if (task->is_admitted)
        breaker_abandon(server->endpoint->breaker, &server->attempt, now_ns);
    if (task->holds_connect)
        bulkhead_release(server->endpoint->connects, &task->connect, now_ns);
    login_wipe(&task->login);
    user_pass_wipe(&task->pass);
    secret_wipe(&task->secret);
    auth_secret_drop(task->found);
    access_drop(task->access);
    mem_free(proxy->mem, task);
}

/* What the ending says of the endpoint; true if waiting would not help. */
static bool record(struct server *server, struct outcome outcome)
{
    struct login_task *task = server->login;
    struct outcome_facts facts = {0};
    const struct outcome_rule *rule = outcome_rule(outcome);
    if (task->is_admitted)
        breaker_record(server->endpoint->breaker, &server->attempt,
                       outcome_verdict_of(rule, &facts), worker_now(worker_of(server)));
    task->is_admitted = false;
    return outcome.code == OUTCOME_SQLSTATE &&
           (rule->kind == OUTCOME_KIND_QUERY || rule->kind == OUTCOME_KIND_PERSISTENT);
}

/* `words`: the server's own ErrorResponse, or empty. */
static void fail_with(struct server *server, struct outcome outcome, const struct hf_err *err,
                      struct sv words)
{
    struct login_task *task = server->login;
    struct pool_part *part = server->part;
    char text[ADDRESS_TEXT_SIZE];
    /* That a server has another role is found out again and again, and no news. Nor is that a
     * proxy which shuts down wants no connection any more. */
    bool is_news = outcome.code != OUTCOME_WRONG_ROLE && !worker_of(server)->is_draining;
    enum log_level level = is_news ? LOG_AT_WARNING : LOG_AT_DEBUG;
    bool is_final = record(server, outcome) || err->rc == HF_RC_DENIED;
    log_emit(worker_of(server)->proxy->log, level, "could not connect to server",
             log_text("database", part->pool->name), log_text("role", task->user_name),
             log_text("address", address_text(&server->address, text)),
             log_text("reason", err->message), log_text("sqlstate", err->sqlstate));
    struct pool_failure failure = {
        .err = *err, .words = words, .is_final = is_final, .opener = server->opener};
    if (!is_final && part->database != NULL)
        failure.has_others = hosts_failed(&part->hosts, part->database, task->host_index);
    pool_connect_failed(part, &failure);
    end_login(server);
    server_close(server, err);
}

static void fail(struct server *server, struct outcome outcome, const struct hf_err *err)
{
    fail_with(server, outcome, err, sv_from(NULL, 0));
}

/* Another connection to the same server, with TLS instead of without or the other way round, where
 * the sslmode allows both. False: there is nothing else to try. */
static bool try_again(struct server *server)
{
    struct login_task *task = server->login;
    enum login_again again = login_again(&task->login);
    if (again == LOGIN_AGAIN_NO || task->is_second)
        return false;
    task->config.sslmode = again == LOGIN_AGAIN_PLAIN ? LOGIN_SSL_DISABLE : LOGIN_SSL_REQUIRE;
    task->is_second = true;
    task->is_between = true;
    stream_close(worker_of(server)->loop, &server->stream, false);
    return true;
}

void server_login_fail(struct server *server, const struct hf_err *err)
{
    struct outcome outcome = {.code = OUTCOME_CONNECT_TIMEOUT};
    fail(server, outcome, err);
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
    task->config.version = admission->version;
    task->config.parameter_count = count;
    if (admission->replication == STARTUP_REPLICATION_PHYSICAL)
        task->database[0] = '\0';
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

/* Who we are for the server: the role of the pool with what is known of its secret, or the user
 * that the configuration sets for this database. */
static void take_secret(struct login_task *task, const struct pool *pool,
                        const struct proxy_database *database)
{
    struct worker *worker = worker_of(task->server);
    struct login_config *config = &task->config;
    struct hf_err err;
    const char *name = database->user[0] != '\0' ? database->user : pool->role;
    sv_copy(sv_from_cstr(name), task->user_name, sizeof task->user_name);
    config->user = sv_from_cstr(task->user_name);
    if (database->user[0] != '\0' && secret_is_set(&database->password)) {
        task->secret = database->password;
        config->secret = secret_reveal(&task->secret);
        return;
    }
    task->user = users_find(task->access->users, config->user);
    if (task->user == NULL) {
        task->found =
            auth_query_secret(worker, task->access, sv_from_cstr(pool->name), config->user);
        task->user = task->found != NULL ? auth_secret_user(task->found) : NULL;
    }
    if (task->user == NULL || !can_enter(task->user)) {
        /* A line that is too long is no password; logging in says that there is none. */
        (void)!access_password(task->access, &task->host, sv_from_cstr(task->database),
                               config->user, &task->secret, &err);
        config->secret = secret_reveal(&task->secret);
    }
    if (task->user == NULL || secret_is_set(&task->secret))
        return;
    config->secret = user_secret(task->user);
    if (user_get_pass(task->user, &task->pass)) {
        config->keys = &task->pass.keys;
        config->verifier = &task->pass.verifier;
    }
}

static struct login_task *task_new(struct server *server, uint32_t host_index,
                                   const struct client *client)
{
    struct proxy *proxy = worker_of(server)->proxy;
    const struct pool *pool = server->part->pool;
    const struct proxy_database *database = server->part->database;
    const struct proxy_host *host = &database->hosts[host_index];
    struct login_task *task = mem_alloc(proxy->mem, sizeof *task);
    if (task == NULL)
        return NULL;
    task->server = server;
    task->host = *host;
    task->host_index = host_index;
    task->is_admitted = true;
    task->access = proxy_access(proxy);
    const char *name = database->dbname[0] != '\0' ? database->dbname : pool->name;
    sv_copy(sv_from_cstr(name), task->database, sizeof task->database);
    task->config.version = STARTUP_VERSION(3, 0);
    take_secret(task, pool, database);
    if (pool->mode == PROXY_POOL_SESSION)
        take_parameters(task, client);
    task->config.parameters = task->parameters;
    task->config.database = sv_from_cstr(task->database);
    task->config.sslmode = (enum login_sslmode)database->sslmode;
    task->config.is_local = host->is_unix;
    task->config.methods = LOGIN_METHODS_ALL;
    entropy_fill(task->config.random, sizeof task->config.random);
    return task;
}

/* ---- beginning ---- */

/* The host whose turn it is and whose breaker admits an attempt, which is under way then. False:
 * there is none now, and part->retry_at_ns says when. */
static bool pick_host(struct server *server, uint32_t *index)
{
    struct pool_part *part = server->part;
    const struct proxy_database *database = part->database;
    struct worker *worker = part->worker;
    int64_t now_ns = worker_now(worker);
    int64_t retry_at_ns = ns_add(now_ns, HF_SEC(1));
    for (uint32_t i = 0; i < database->host_count; i++) {
        *index = hosts_turn(&part->hosts, database, now_ns);
        server->endpoint = proxy_endpoint(worker->proxy, &database->hosts[*index]);
        if (server->endpoint == NULL)
            return false;
        if (breaker_admit(server->endpoint->breaker, now_ns, &server->attempt))
            return true;
        retry_at_ns = ns_min(retry_at_ns, breaker_retry_at(server->endpoint->breaker));
        hosts_failed(&part->hosts, database, *index);
        err_set(&part->failure, HF_RC_AGAIN, "08001", "server \"%s\" port %u cannot be reached",
                server->endpoint->host, server->endpoint->port);
        err_detail(&part->failure, "Connecting has failed too often; it is tried again soon.");
    }
    part->retry_at_ns = ns_max(retry_at_ns, now_ns + HF_MS(10));
    return false;
}

/* Leave to connect: of the number of connects at a time, and of the budget. */
static bool admit(struct server *server)
{
    struct pool_part *part = server->part;
    struct login_task *task = server->login;
    struct worker *worker = part->worker;
    int64_t now_ns = worker_now(worker);
    if (!bulkhead_try(server->endpoint->connects, now_ns, &task->connect)) {
        part->retry_at_ns = now_ns + HF_MS(5);
        return false;
    }
    task->holds_connect = true;
    server->in_budget = proxy_budget_try(worker->proxy, part->pool, worker->config, &part->failure);
    if (!server->in_budget) {
        part->retry_at_ns = now_ns + HF_MS(20);
        return false;
    }
    return true;
}

/* An attempt has so much time, from now on, to be accepted or, if it was, to be let in. */
static void set_limit(struct server *server, bool is_accepted)
{
    struct pool_part *part = server->part;
    int64_t limit_ns = part->config.server_connect_timeout_ns;
    if (part->database != NULL)
        limit_ns = hosts_patience(&part->hosts, part->database, is_accepted, limit_ns);
    worker_timer(part->worker, &server->timer, ns_add(worker_now(part->worker), limit_ns));
}

/* The server's address is known. */
static void connect_to(struct server *server, const struct address *address)
{
    server->address = *address;
    stream_connect(worker_of(server)->loop, &server->stream, address, STREAM_SERVER);
    server->is_started = true;
    set_limit(server, false);
}

/* The name's addresses are here: the one that the turn falls on. */
static void looked_up(struct server *server, const struct resolve_request *request)
{
    struct outcome outcome = {.code = OUTCOME_RESOLVE_FAILED};
    if (request->rc != HF_OK)
        fail(server, outcome, &request->err);
    else
        connect_to(server, &request->addresses[server->part->next_address++ % request->count]);
}

void server_login_resolved(struct loop_message *message)
{
    struct resolve_request *request = container_of(message, struct resolve_request, message);
    struct lookup *lookup = container_of(request, struct lookup, request);
    struct worker *worker = lookup->worker;
    if (lookup->server != NULL) {
        lookup->server->login->lookup = NULL;
        looked_up(lookup->server, request);
    }
    mem_free(worker->proxy->mem, lookup);
}

/* The answer comes later even if it is there already: whoever has called us must not be called
 * back. */
static void look_up(struct server *server, const struct proxy_host *host)
{
    struct worker *worker = worker_of(server);
    struct lookup *lookup = mem_alloc(worker->proxy->mem, sizeof *lookup);
    struct hf_err *err = &server->login->login.err;
    if (lookup == NULL || !resolve_request_init(&lookup->request, worker->loop, WORKER_RESOLVED,
                                                sv_from_cstr(host->name), host->port)) {
        mem_free(worker->proxy->mem, lookup);
        err_set(err, HF_RC_INVALID, "08001", "could not look up \"%s\"", host->name);
        worker_timer(worker, &server->timer, server->since_ns);
        return;
    }
    lookup->worker = worker;
    lookup->server = server;
    server->login->lookup = lookup;
    lookup->is_posted = resolve_ask(worker->proxy->resolver, &lookup->request) == RESOLVE_DONE;
    if (lookup->is_posted)
        loop_post(worker->loop, &lookup->request.message);
}

static void begin(struct server *server, const struct proxy_host *host)
{
    struct address address;
    struct sv name = sv_from_cstr(host->name);
    if (address_host_is_unix(name)) {
        /* A path that is too long fails by the time limit, at once: whoever has called us must not
         * be called back. */
        if (address_unix(&address, name, host->port, &server->login->login.err) != HF_OK)
            worker_timer(worker_of(server), &server->timer, server->since_ns);
        else
            connect_to(server, &address);
    } else if (address_literal(&address, name, host->port)) {
        connect_to(server, &address);
    } else {
        look_up(server, host);
    }
}

bool server_open(struct pool_part *part, struct client *client)
{
    struct worker *worker = part->worker;
    struct mem *mem = worker->proxy->mem;
    if (part->database == NULL)
        return false;
    uint32_t index;
    struct server *server = mem_alloc(mem, sizeof *server);
    if (server == NULL)
        return false;
    server->part = part;
    server->stream.kind = STREAM_SERVER; /* its timer runs before the stream does */
    server->sequence = ++worker->client_sequence;
    if (!pick_host(server, &index)) {
        mem_free(mem, server);
        return false;
    }
    server->login = task_new(server, index, client);
    if (server->login == NULL || !admit(server)) {
        if (server->login != NULL)
            end_login(server);
        else
            breaker_abandon(server->endpoint->breaker, &server->attempt, worker_now(worker));
        mem_free(mem, server);
        return false;
    }
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
    begin(server, &server->login->host);
    return true;
}

/* ---- logging in ---- */

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

static void ready(struct server *server)
{
    struct login_task *task = server->login;
    struct pool_part *part = server->part;
    struct worker *worker = worker_of(server);
    struct outcome outcome = {.code = OUTCOME_SUCCESS};
    struct scram_keys keys;
    struct scram_verifier verifier;
    struct sv key = login_key(&task->login);
    struct hf_err err;
    if (!has_role(server, &err)) {
        outcome.code = OUTCOME_WRONG_ROLE;
        fail(server, outcome, &err);
        return;
    }
    if (part->database != NULL)
        hosts_worked(&part->hosts, part->database, task->host_index, worker_now(worker));
    record(server, outcome);
    if (task->user != NULL && login_made(&task->login, &keys, &verifier))
        user_set_pass(task->user, &keys, &verifier);
    server->pid = task->login.pid;
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

static void failed(struct server *server, const struct login_event *event)
{
    struct login_task *task = server->login;
    struct hf_err err = task->login.err;
    struct outcome outcome = {.code = OUTCOME_PROTOCOL};
    if (try_again(server))
        return;
    if (event->message.size > 0)
        outcome =
            (struct outcome){.code = OUTCOME_SQLSTATE, .sqlstate = sqlstate_pack(err.sqlstate)};
    if (task->found != NULL && err.rc == HF_RC_DENIED) /* its password was changed, perhaps */
        auth_query_refused(worker_of(server), task->access, sv_from_cstr(server->part->pool->name),
                           task->config.user);
    fail_with(server, outcome, &err, event->message); /* which is in the view still */
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

static void secure(struct server *server)
{
    struct login_task *task = server->login;
    struct outcome outcome = {.code = OUTCOME_TLS_FAILED};
    if (!secure_server(worker_of(server), &server->stream, &task->host,
                       (enum proxy_sslmode)task->config.sslmode, &task->login.err))
        fail(server, outcome, &task->login.err);
}

/* What an event leads to. True: feed on. */
static bool step(struct server *server, const struct login_event *event)
{
    struct login_task *task = server->login;
    struct worker *worker = worker_of(server);
    bool goes_on = true;
    if (event->kind == LOGIN_PARAMETER)
        server_report(server, event->name, event->value);
    if (event->kind == LOGIN_NOTICE)
        keep_notice(server, event->message);
    if (event->kind == LOGIN_FAILED) {
        failed(server, event);
        return false;
    }
    stream_consume(worker->loop, &server->stream, event->consumed);
    switch (event->kind) {
    case LOGIN_START_TLS:
        secure(server);
        return false;
    case LOGIN_WORK:
        list_push_back(&worker->working_servers, &task->work);
        return false;
    case LOGIN_READY:
        ready(server);
        return false;
    case LOGIN_MORE:
        goes_on = false;
        break;
    case LOGIN_NO_TLS:
    case LOGIN_NEGOTIATED:
    case LOGIN_NOTICE:
    case LOGIN_PARAMETER:
    case LOGIN_KEY:
    case LOGIN_FAILED:
    default:
        break;
    }
    return goes_on;
}

static void feed(struct server *server)
{
    struct login_event event;
    struct buffer *out;
    if (list_is_linked(&server->login->work))
        return;
    do {
        out = stream_out(worker_of(server)->loop, &server->stream, STARTUP_SIZE_MAX);
        if (out == NULL)
            return;
        login_feed(&server->login->login, stream_view(&server->stream), out, &event);
    } while (step(server, &event));
}

void server_login_work(struct list_node *work)
{
    struct login_task *task = container_of(work, struct login_task, work);
    struct server *server = task->server;
    struct login_event event;
    struct buffer *out = stream_out(worker_of(server)->loop, &server->stream, 1024);
    list_remove(&task->work);
    if (out == NULL) {
        list_push_back(&worker_of(server)->working_servers, &task->work);
        return;
    }
    login_work(&task->login, out, &event);
    step(server, &event);
    if (server->login == task && server->state == SERVER_LOGIN)
        feed(server); /* what it has said meanwhile */
}

static void begin_login(struct server *server)
{
    struct login_task *task = server->login;
    struct outcome outcome = {.code = OUTCOME_PROTOCOL};
    struct buffer *out = stream_out(worker_of(server)->loop, &server->stream, STARTUP_SIZE_MAX);
    server_enter(server, SERVER_LOGIN);
    set_limit(server, true);
    if (out == NULL || login_begin(&task->login, &task->config, out) != HF_OK) {
        if (out == NULL)
            err_set(&task->login.err, HF_RC_LIMIT, "53200", "out of buffers");
        fail(server, outcome, &task->login.err);
    }
}

static void encrypted(struct server *server)
{
    struct login_task *task = server->login;
    struct outcome outcome = {.code = OUTCOME_TLS_FAILED};
    struct scram_binding binding = {0};
    struct buffer *out = stream_out(worker_of(server)->loop, &server->stream, STARTUP_SIZE_MAX);
    secure_binding(&server->stream, &binding);
    if (out == NULL || login_encrypted(&task->login, &binding, out) != HF_OK)
        fail(server, outcome, &task->login.err);
}

static void ended(struct server *server, const struct loop_event *event)
{
    struct hf_err err;
    struct outcome outcome = {.code = OUTCOME_CONN_LOST};
    if (server->state == SERVER_LOGIN && try_again(server))
        return;
    if (server->state == SERVER_CONNECTING)
        outcome.code = event->error == ECONNREFUSED ? OUTCOME_CONNECT_REFUSED : OUTCOME_UNREACHABLE;
    const char *why = stream_error(&server->stream);
    err_set(&err, HF_RC_AGAIN, "08001", "could not connect to server \"%s\" port %u: %s",
            server->endpoint->host, server->endpoint->port,
            why[0] != '\0' ? why : "the server closed the connection");
    fail(server, outcome, &err);
}

bool server_login_gone(struct server *server)
{
    struct login_task *task = server->login;
    if (task == NULL || !task->is_between)
        return false;
    task->is_between = false;
    login_wipe(&task->login);
    entropy_fill(task->config.random, sizeof task->config.random);
    server_enter(server, SERVER_CONNECTING);
    connect_to(server, &server->address);
    return true;
}

void server_login_event(struct server *server, const struct loop_event *event)
{
    if (server->login->is_between)
        return;
    switch (event->kind) {
    case LOOP_CONNECTED:
        begin_login(server);
        return;
    case LOOP_SECURED:
        encrypted(server);
        return;
    case LOOP_RECEIVED:
    case LOOP_DRAINED:
        if (server->state == SERVER_LOGIN)
            feed(server);
        return;
    case LOOP_ENDED:
        if (server->state == SERVER_LOGIN && stream_view(&server->stream).size > 0) {
            feed(server);
            if (server->login == NULL || server->state != SERVER_LOGIN)
                return;
        }
        ended(server, event);
        return;
    case LOOP_ACCEPTED:
    case LOOP_LEFT:
    case LOOP_GONE:
    case LOOP_POSTED:
    default:
        return;
    }
}
