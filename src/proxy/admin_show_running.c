/* SHOW STATEMENTS and SHOW GROUPS; and TRACE, which follows one client in the log. */
#include "proxy/admin_show.h"

#include <stdio.h>
#include <string.h>

#include "proxy/admin.h"
#include "proxy/admin_command.h"
#include "proxy/admin_say.h"
#include "proxy/application_name.h"
#include "proxy/client.h"
#include "proxy/limits.h"
#include "proxy/pool.h"
#include "proxy/query_log.h"
#include "proxy/server.h"
#include "proxy/statement_note.h"
#include "proxy/worker.h"

#define CLIENTS_AT_ONCE 4096 /* that a visit looks at */

/* ---- SHOW STATEMENTS ---- */

static const struct admin_column statements_columns[] = {
    {"id", ADMIN_INT8},
    {"pid", ADMIN_INT4},
    {"database", ADMIN_TEXT},
    {"user", ADMIN_TEXT},
    {"application_name", ADMIN_TEXT},
    {"addr", ADMIN_TEXT},
    {"port", ADMIN_INT4},
    {"state", ADMIN_TEXT},
    {"age_us", ADMIN_INT8},
    {"wait_us", ADMIN_INT8},
    {"remote_pid", ADMIN_INT4},
    {"shape", ADMIN_TEXT},
    {"query", ADMIN_TEXT},
    {NULL, 0},
};

/* NULL: the client asks nothing. */
static const char *state_of(const struct client *client)
{
    if (client->state == CLIENT_WAITING)
        return client->wait != NULL ? "waits for a connection" : "waits for its group";
    if (client->state != CLIENT_ACTIVE || client->server == NULL)
        return NULL;
    if (client->request_ns != 0)
        return "running";
    return client->transaction_ns != 0 ? "idle in transaction" : NULL;
}

/* Since when its statement was asked for, and how long of that it has waited for a connection. */
static int64_t asked_at(const struct client *client, int64_t now_ns, int64_t *wait_ns)
{
    *wait_ns = 0;
    if (client->state == CLIENT_WAITING) {
        *wait_ns = now_ns - client->since_ns;
        return client->since_ns;
    }
    if (client->request_ns == 0)
        return client->rested_ns;
    if (client->server->wanted_ns == 0)
        return client->request_ns;
    *wait_ns = client->server->since_ns - client->server->wanted_ns;
    return client->server->wanted_ns;
}

static void show_statement(struct gather *gather, struct worker *worker,
                           const struct client *client, const char *state)
{
    struct cells cells;
    struct statement_shown shown = {.is_known = false};
    char address[PEER_TEXT_SIZE], application[APPLICATION_NAME_SIZE], shape[33];
    int64_t now_ns = worker_now(worker), wait_ns;
    int64_t since_ns = asked_at(client, now_ns, &wait_ns);
    const struct server *server = client->server;
    if (server != NULL)
        statement_note_show(client, &server->note, server->note_bytes, STATEMENT_SHAPE, &shown);
    else
        statement_note_waiting(client, &shown);
    snprintf(shape, sizeof shape, "%016llx%016llx", (unsigned long long)shown.shape[0],
             (unsigned long long)shown.shape[1]);
    cells_begin(&cells);
    cell_number(&cells, (int64_t)admin_id(client->sequence));
    cell_number(&cells, client->pid);
    cell_text(&cells, client->part->pool->name);
    cell_text(&cells, client->part->pool->role);
    cell_text(&cells, application_name_of(client, application));
    cell_text(&cells, peer_text(&client->peer, address));
    cell_number(&cells, client->peer.port);
    cell_text(&cells, state);
    cell_number(&cells, (now_ns - since_ns) / HF_US(1));
    cell_number(&cells, wait_ns / HF_US(1));
    cell_number(&cells, server != NULL ? server->pid : 0);
    cell_text(&cells, shown.is_known ? shape : NULL);
    cell_text(&cells, shown.is_known ? shown.text : NULL);
    gather_add(gather, worker, &cells);
}

static bool visit_statements(struct gather *gather, struct worker *worker)
{
    uint64_t end = gather->cursor + CLIENTS_AT_ONCE;
    for (; gather->cursor < worker->clients.count; gather->cursor++) {
        if (gather->cursor == end || gather_is_full(gather))
            return false;
        const struct client *client = worker_client_at(worker, (uint32_t)gather->cursor);
        const char *state = client != NULL && client->part != NULL ? state_of(client) : NULL;
        if (state != NULL)
            show_statement(gather, worker, client, state);
    }
    return true;
}

ADMIN_SHOW(admin_show_statements, .name = "STATEMENTS",
           .sentence = "What runs and what waits now, without its literals; see track_statements.",
           .columns = statements_columns, .is_ours = true, .visit = visit_statements)

/* ---- SHOW GROUPS ---- */

static const struct admin_column groups_columns[] = {
    {"group", ADMIN_TEXT},       {"of", ADMIN_TEXT},      {"clients", ADMIN_INT4},
    {"clients_max", ADMIN_INT8}, {"in_use", ADMIN_INT4},  {"concurrency_max", ADMIN_INT8},
    {"waiting", ADMIN_INT4},     {"rate", ADMIN_INT8},    {"weight", ADMIN_INT4},
    {"waited", ADMIN_INT8},      {"refused", ADMIN_INT8}, {NULL, 0},
};

/* Under proxy->lock. */
static void show_bucket(struct gather *gather, struct worker *worker, struct limit_bucket *bucket)
{
    struct cells cells;
    uint32_t limit = bulkhead_limit(bucket->bulkhead);
    pthread_mutex_lock(&bucket->lock);
    uint32_t waiting = bulkhead_waiting(bucket->bulkhead);
    pthread_mutex_unlock(&bucket->lock);
    cells_begin(&cells);
    cell_text(&cells, bucket->group);
    cell_text(&cells, bucket->value[0] != '\0' ? bucket->value : NULL);
    cell_number(&cells, bucket->clients);
    cell_number(&cells, bucket->clients_max);
    cell_number(&cells, bulkhead_in_use(bucket->bulkhead));
    cell_number(&cells, limit < BULKHEAD_LIMIT_MAX ? limit : 0);
    cell_number(&cells, waiting);
    cell_number(&cells, atomic_load_explicit(&bucket->rate_a_second, memory_order_relaxed));
    cell_number(&cells, bucket->weight);
    cell_number(&cells, (int64_t)atomic_load_explicit(&bucket->waited, memory_order_relaxed));
    cell_number(&cells, (int64_t)atomic_load_explicit(&bucket->refused, memory_order_relaxed));
    gather_add(gather, worker, &cells);
}

/* A chain at a time, so that the lock is held for moments. */
static bool finish_groups(struct gather *gather, struct worker *worker)
{
    struct proxy *proxy = worker->proxy;
    for (; gather->cursor < LIMITS_CHAINS; gather->cursor++) {
        if (gather_is_full(gather))
            return false;
        pthread_mutex_lock(&proxy->lock);
        for (struct limit_bucket *bucket = proxy->limits.chains[gather->cursor]; bucket != NULL;
             bucket = bucket->next)
            show_bucket(gather, worker, bucket);
        pthread_mutex_unlock(&proxy->lock);
    }
    return true;
}

ADMIN_SHOW(admin_show_groups, .name = "GROUPS",
           .sentence = "What each group of clients has in use of its limits.",
           .columns = groups_columns, .is_ours = true, .finish = finish_groups)

/* ---- TRACE, UNTRACE ---- */

static bool visit_trace(struct gather *gather, struct worker *worker)
{
    bool is_on = gather->sums[1] != 0;
    list_for_each(node, &worker->sessions) {
        struct client *client = container_of(node, struct client, link);
        bool is_it = admin_id(client->sequence) == gather->number && client->is_logged_in;
        if (is_it && client->state != CLIENT_CLOSING && query_log_trace(client, is_on))
            gather->sums[0]++;
    }
    return true;
}

static void traced(struct client *client, struct gather *gather)
{
    struct hf_err err;
    if (gather->sums[0] > 0) {
        say_end(client, gather->sums[1] != 0 ? "TRACE" : "UNTRACE");
        return;
    }
    err_set(&err, HF_RC_MISSING, "02000", "client not found");
    err_detail(&err, "No client has the id %llu.", (unsigned long long)gather->number);
    err_hint(&err, "SHOW CLIENTS has it in its column id.");
    say_error(client, &err);
}

static void switch_trace(struct client *client, const struct admin_words *words, bool is_on)
{
    struct hf_err err;
    int64_t id;
    if (sv_to_int(sv_from_cstr(words->argument), 1, INT64_MAX, &id) != SV_NUMBER_OK) {
        err_set(&err, HF_RC_INVALID, "22023", "\"%s\" is no id of a client", words->argument);
        err_hint(&err, "SHOW CLIENTS has it in its column id.");
        say_error(client, &err);
        return;
    }
    struct gather *gather = gather_new(client);
    if (gather == NULL) {
        client_close(client, "out of memory for the console");
        return;
    }
    gather->number = (uint64_t)id;
    gather->sums[1] = is_on;
    gather->visit = visit_trace;
    gather->done = traced;
    gather_begin(gather);
}

void admin_trace(struct client *client, const struct admin_words *words)
{
    switch_trace(client, words, true);
}

void admin_untrace(struct client *client, const struct admin_words *words)
{
    switch_trace(client, words, false);
}
