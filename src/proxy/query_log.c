#include "proxy/query_log.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "proxy/application_name.h"
#include "proxy/client.h"
#include "proxy/limits.h"
#include "proxy/pool.h"
#include "proxy/server.h"
#include "proxy/worker.h"
#include "wire/message.h"

/* ---- who is watched ---- */

static bool is_wanted(const struct proxy_pool *config)
{
    return config->query_log != PROXY_QUERY_LOG_OFF || config->query_log_slow_ns != HF_NEVER ||
           config->query_log_sample_ppm > 0;
}

/* False: no memory. */
static bool set_watch(struct client *client, bool is_logged, bool is_traced)
{
    struct mem *mem = client->worker->proxy->mem;
    if (!is_logged && !is_traced) {
        mem_free(mem, client->watch);
        client->watch = NULL;
        return true;
    }
    if (client->watch == NULL)
        client->watch = mem_alloc(mem, sizeof *client->watch);
    if (client->watch == NULL)
        return false;
    client->watch->is_logged = is_logged;
    client->watch->is_traced = is_traced;
    return true;
}

void query_log_update(struct client *client)
{
    bool is_traced = client->watch != NULL && client->watch->is_traced;
    if (client->part != NULL && client->is_logged_in)
        (void)set_watch(client, is_wanted(&client->part->config), is_traced);
}

void query_log_reload(struct worker *worker)
{
    list_for_each(node, &worker->sessions)
        query_log_update(container_of(node, struct client, link));
}

void query_log_end(struct client *client)
{
    mem_free(client->worker->proxy->mem, client->watch);
    client->watch = NULL;
}

bool query_log_trace(struct client *client, bool is_on)
{
    bool is_logged = client->watch != NULL && client->watch->is_logged;
    log_emit(client->worker->proxy->log, LOG_AT_INFO, is_on ? "trace begins" : "trace ends",
             log_int("pid", client->pid));
    return set_watch(client, is_logged, is_on);
}

/* ---- lines ---- */

static void trace(struct client *client, const char *from, char type, uint32_t size)
{
    struct query_watch *watch = client->watch;
    int64_t now_ns = worker_now(client->worker);
    int64_t since_ns = watch->traced_ns != 0 ? now_ns - watch->traced_ns : 0;
    watch->traced_ns = now_ns;
    log_emit_each(client->worker->proxy->log, LOG_AT_INFO, "trace", log_int("pid", client->pid),
                  log_text("from", from), log_view("type", sv_from(&type, 1)),
                  log_int("bytes", size), log_duration("since", since_ns - since_ns % HF_US(1)),
                  log_int("server_pid", client->server != NULL ? client->server->pid : 0));
}

/* Where a request's time went. */
struct spent {
    int64_t took_ns;
    int64_t wait_ns;
    int64_t client_ns;
};

static bool is_chosen(const struct client *client, const struct spent *spent)
{
    const struct proxy_pool *config = &client->part->config;
    if (!client->watch->is_logged)
        return false;
    if (config->query_log == PROXY_QUERY_LOG_ALL || spent->took_ns >= config->query_log_slow_ns)
        return true;
    if (config->query_log == PROXY_QUERY_LOG_ERRORS && client->watch->sqlstate[0] != '\0')
        return true;
    return config->query_log_sample_ppm > 0 &&
           rng_below(&client->worker->rng, 1000000) < config->query_log_sample_ppm;
}

static int64_t in_us(int64_t duration_ns)
{
    return duration_ns - duration_ns % HF_US(1);
}

static void write_line(const struct client *client, const struct server *server,
                       const struct spent *spent)
{
    const struct query_watch *watch = client->watch;
    enum proxy_query_text how = client->part->config.query_log_text;
    struct statement_shown shown;
    char address[PEER_TEXT_SIZE], application[APPLICATION_NAME_SIZE], transaction[48],
        shape[33] = "", host[300] = "";
    statement_note_show(client, &watch->note, watch->bytes,
                        how == PROXY_QUERY_TEXT_FULL ? STATEMENT_FULL : STATEMENT_SHAPE, &shown);
    snprintf(transaction, sizeof transaction, "%u.%llu", client->pid,
             (unsigned long long)watch->transactions);
    if (shown.is_known)
        snprintf(shape, sizeof shape, "%016llx%016llx", (unsigned long long)shown.shape[0],
                 (unsigned long long)shown.shape[1]);
    if (server != NULL)
        snprintf(host, sizeof host, "%s:%u", server->endpoint->host, server->endpoint->port);
    struct sv text =
        how == PROXY_QUERY_TEXT_NONE ? sv_from(NULL, 0) : sv_from(shown.text, shown.size);
    log_emit_each(
        client->worker->proxy->log, LOG_AT_INFO, "query", log_int("pid", client->pid),
        log_text("database", client->part->pool->name), log_text("role", client->part->pool->role),
        log_text("application", application_name_of(client, application)),
        log_text("address", peer_text(&client->peer, address)), log_int("port", client->peer.port),
        log_int("server_pid", server != NULL ? server->pid : 0), log_text("host", host),
        log_text("transaction", transaction), log_int("statements", watch->statements),
        log_duration("took", in_us(spent->took_ns)), log_duration("wait", in_us(spent->wait_ns)),
        log_duration("server", in_us(spent->took_ns - spent->wait_ns - spent->client_ns)),
        log_duration("client", in_us(spent->client_ns)), log_int("rows", (int64_t)watch->rows),
        log_int("received", (int64_t)watch->received), log_int("sent", (int64_t)watch->sent),
        log_text("sqlstate", watch->sqlstate), log_text("shape", shape),
        log_bool("cut", shown.is_cut), log_view("text", text));
}

/* The next request begins with nothing; its text stays: a Bind may come without a Parse. */
static void begin_anew(struct query_watch *watch)
{
    watch->sqlstate[0] = '\0';
    watch->statements = 0;
    watch->rows = 0;
    watch->received = 0;
    watch->sent = 0;
    watch->blocked_since_ns = 0;
    watch->blocked_ns = 0;
}

/* ---- on the path ---- */

void query_log_look(struct client *client, const struct frame_part *part)
{
    struct query_watch *watch = client->watch;
    statement_note_take(&watch->note, watch->bytes, sizeof watch->bytes, part);
}

void query_log_asked(struct client *client, char type, uint32_t size)
{
    struct query_watch *watch = client->watch;
    watch->received += size;
    watch->statements += type == 'Q' || type == 'E' || type == 'F';
    if (watch->is_traced)
        trace(client, "client", type, size);
}

void query_log_answered(struct client *client, const struct frame_part *part)
{
    struct query_watch *watch = client->watch;
    struct message_error error;
    uint64_t rows;
    watch->sent += part->size;
    if (part->type == 'C') {
        struct sv tag = sv_drop(part->bytes, FRAME_HEADER_SIZE);
        if (message_tag_rows(sv_take(tag, sv_find(tag, '\0')), &rows))
            watch->rows += rows;
    } else if (part->type == 'E') {
        enum message_rc rc = message_error_fields(message_of(part), &error);
        if ((rc == MESSAGE_OK || rc == MESSAGE_MORE) && watch->sqlstate[0] == '\0' &&
            !sv_copy(error.sqlstate, watch->sqlstate, sizeof watch->sqlstate))
            memcpy(watch->sqlstate, "?????", sizeof watch->sqlstate);
    }
    if (watch->is_traced)
        trace(client, "server", part->type, part->size);
}

void query_log_room(struct client *client, bool has_room)
{
    struct query_watch *watch = client->watch;
    int64_t now_ns = worker_now(client->worker);
    if (!has_room && watch->blocked_since_ns == 0) {
        watch->blocked_since_ns = now_ns;
    } else if (has_room && watch->blocked_since_ns != 0) {
        watch->blocked_ns += now_ns - watch->blocked_since_ns;
        watch->blocked_since_ns = 0;
    }
}

void query_log_ready(struct client *client, const struct server *server, int64_t now_ns)
{
    struct query_watch *watch = client->watch;
    bool has_waited = server->wanted_ns != 0;
    int64_t from_ns = has_waited ? server->wanted_ns : client->request_ns;
    struct spent spent = {.took_ns = now_ns - from_ns,
                          .wait_ns = has_waited ? server->since_ns - server->wanted_ns : 0};
    spent.client_ns = ns_min(watch->blocked_ns, spent.took_ns - spent.wait_ns);
    if (is_chosen(client, &spent))
        write_line(client, server, &spent);
    begin_anew(watch);
    watch->transactions += server->replies.status == 'I';
}

void query_log_refused(struct client *client, const struct hf_err *err)
{
    struct query_watch *watch = client->watch;
    int64_t now_ns = worker_now(client->worker), since_ns = client->request_ns;
    bool is_waiting = client->state == CLIENT_WAITING;
    if (is_waiting)
        since_ns = client->since_ns;
    if (since_ns == 0)
        return; /* it has asked nothing */
    struct spent spent = {.took_ns = now_ns - since_ns,
                          .wait_ns = is_waiting ? now_ns - since_ns : 0};
    snprintf(watch->sqlstate, sizeof watch->sqlstate, "%s", err->sqlstate);
    if (is_chosen(client, &spent))
        write_line(client, client->server, &spent);
    begin_anew(watch);
    watch->transactions++;
}
