/* SHOW HELP, VERSION, STATE, LISTS, MEM. */
#include "proxy/admin_show.h"

#include <stdio.h>
#include <string.h>

#include "net/resolve.h"
#include "proxy/access.h"
#include "proxy/admin_command.h"
#include "proxy/admin_say.h"
#include "proxy/client.h"
#include "proxy/gate.h"
#include "proxy/server.h"
#include "proxy/users.h"
#include "proxy/worker.h"

/* ---- SHOW HELP ---- */

static const struct admin_column help_columns[] = {
    {"command", ADMIN_TEXT}, {"meaning", ADMIN_TEXT}, {"for", ADMIN_TEXT}, {NULL, 0}};

static void help_row(struct gather *gather, struct worker *worker, const char *verb,
                     const char *rest, const char *sentence, bool for_admins)
{
    struct cells cells;
    char text[96];
    snprintf(text, sizeof text, "%s%s%s", verb, rest[0] != '\0' ? " " : "", rest);
    cells_begin(&cells);
    cell_text(&cells, text);
    cell_text(&cells, sentence);
    cell_text(&cells, for_admins ? "admin_users" : "all");
    gather_add(gather, worker, &cells);
}

static bool finish_help(struct gather *gather, struct worker *worker)
{
    const struct admin_show *show;
    const struct admin_command *command;
    for (size_t i = 0; (show = admin_show_at(i)) != NULL; i++)
        help_row(gather, worker, "SHOW", show->name, show->sentence, show->is_sensitive);
    for (size_t i = 0; (command = admin_command_at(i)) != NULL; i++) {
        bool for_all = command->is_for_all && command->is_ours;
        if (command->sentence != NULL)
            help_row(gather, worker, command->verb, command->usage, command->sentence, !for_all);
    }
    return true;
}

/* ---- SHOW VERSION, STATE ---- */

static const struct admin_column version_columns[] = {{"version", ADMIN_TEXT}, {NULL, 0}};
static const struct admin_column state_columns[] = {
    {"key", ADMIN_TEXT}, {"value", ADMIN_TEXT}, {NULL, 0}};

/* Exporters look for "PgBouncer" and a number where they think to be talking to it. */
static bool finish_version(struct gather *gather, struct worker *worker)
{
    struct cells cells;
    char text[96];
    const struct client *client = worker_client(worker, gather->client_pid);
    bool is_pgbouncer = client != NULL && client->console->is_pgbouncer;
    snprintf(text, sizeof text, "%sHoldfast %s%s", is_pgbouncer ? "PgBouncer 1.25.0 (" : "",
             worker->proxy->version, is_pgbouncer ? ")" : "");
    cells_begin(&cells);
    cell_text(&cells, text);
    gather_add(gather, worker, &cells);
    return true;
}

static bool finish_state(struct gather *gather, struct worker *worker)
{
    static const char *const names[] = {"active", "paused", "suspended"};
    struct proxy *proxy = worker->proxy;
    pthread_mutex_lock(&proxy->lock);
    enum gate_all all = proxy->gates.all;
    pthread_mutex_unlock(&proxy->lock);
    for (int i = 0; i < 3; i++) {
        struct cells cells;
        cells_begin(&cells);
        cell_text(&cells, names[i]);
        cell_text(&cells, (int)all == i ? "yes" : "no");
        gather_add(gather, worker, &cells);
    }
    return true;
}

/* ---- SHOW LISTS ---- */

static const struct admin_column lists_columns[] = {
    {"list", ADMIN_TEXT}, {"items", ADMIN_INT4}, {NULL, 0}};

enum list_sum {
    SUM_LOGINS,
    SUM_SERVERS,
    SUM_WAITING
};

static bool visit_lists(struct gather *gather, struct worker *worker)
{
    uint64_t end = gather->cursor + 4096;
    if (gather->cursor == 0)
        gather->sums[SUM_SERVERS] += worker->server_count;
    for (; gather->cursor < worker->clients.count; gather->cursor++) {
        if (gather->cursor == end)
            return false;
        const struct client *client = worker_client_at(worker, (uint32_t)gather->cursor);
        gather->sums[SUM_LOGINS] += client != NULL && client->admission != NULL;
        gather->sums[SUM_WAITING] += client != NULL && client->wait != NULL;
    }
    return true;
}

static void list_row(struct gather *gather, struct worker *worker, const char *name, int64_t count)
{
    struct cells cells;
    cells_begin(&cells);
    cell_text(&cells, name);
    cell_number(&cells, count);
    gather_add(gather, worker, &cells);
}

/* The system's own resolver is asked, one name at a time, which tells nothing of zones. */
static void list_names(struct gather *gather, struct worker *worker)
{
    struct resolve_seen seen;
    uint32_t names = 0, pending = 0;
    for (; resolve_look(worker->proxy->resolver, names, &seen); names++)
        pending += seen.is_pending;
    list_row(gather, worker, "dns_names", names);
    list_row(gather, worker, "dns_zones", 0);
    list_row(gather, worker, "dns_queries", pending > 0);
    list_row(gather, worker, "dns_pending", pending);
}

static bool finish_lists(struct gather *gather, struct worker *worker)
{
    struct proxy *proxy = worker->proxy;
    const struct proxy_config *config = worker->config;
    struct access *access = proxy_access(proxy);
    int64_t users = users_count(access->users);
    int64_t clients = atomic_load(&proxy->client_count), servers = gather->sums[SUM_SERVERS];
    int64_t servers_max = config->limits.server_connections_max;
    access_drop(access);
    pthread_mutex_lock(&proxy->lock);
    int64_t pools = proxy->pool_count;
    pthread_mutex_unlock(&proxy->lock);
    list_row(gather, worker, "databases", config->database_count);
    list_row(gather, worker, "users", users);
    list_row(gather, worker, "peers", config->peer_count);
    list_row(gather, worker, "pools", pools);
    list_row(gather, worker, "peer_pools", config->peer_count);
    list_row(gather, worker, "free_clients", config->limits.clients_max - clients);
    list_row(gather, worker, "used_clients", clients);
    list_row(gather, worker, "login_clients", gather->sums[SUM_LOGINS]);
    list_row(gather, worker, "free_servers", servers_max > servers ? servers_max - servers : 0);
    list_row(gather, worker, "used_servers", servers);
    list_names(gather, worker);
    list_row(gather, worker, "waiting_clients", gather->sums[SUM_WAITING]);
    list_row(gather, worker, "workers", proxy->worker_count);
    return true;
}

/* ---- SHOW MEM ---- */

static const struct admin_column mem_columns[] = {{"name", ADMIN_TEXT},     {"size", ADMIN_INT4},
                                                  {"used", ADMIN_INT4},     {"free", ADMIN_INT4},
                                                  {"memtotal", ADMIN_INT8}, {NULL, 0}};

enum mem_sum {
    SUM_CLIENTS,
    SUM_ADMISSIONS,
    SUM_WAITS,
    SUM_CANCELS
};

static bool visit_mem(struct gather *gather, struct worker *worker)
{
    gather->sums[SUM_CLIENTS] += worker->clients.lent;
    gather->sums[SUM_ADMISSIONS] += worker->admissions.lent;
    gather->sums[SUM_WAITS] += worker->waits.lent;
    gather->sums[SUM_CANCELS] += worker->cancels.lent;
    return true;
}

static void mem_row(struct gather *gather, struct worker *worker, const char *name, int64_t size,
                    int64_t used, int64_t count)
{
    struct cells cells;
    cells_begin(&cells);
    cell_text(&cells, name);
    cell_number(&cells, size);
    cell_number(&cells, used);
    cell_number(&cells, count - used);
    cell_number(&cells, size * count);
    gather_add(gather, worker, &cells);
}

/* All workers have pools of the same size. */
static bool finish_mem(struct gather *gather, struct worker *worker)
{
    static const char *const names[] = {"client_cache", "login_cache", "wait_cache",
                                        "cancel_cache"};
    const struct bufpool *pools[] = {&worker->clients, &worker->admissions, &worker->waits,
                                     &worker->cancels};
    struct mem_stats stats = mem_stats(worker->proxy->mem);
    for (size_t i = 0; i < 4; i++)
        mem_row(gather, worker, names[i], (int64_t)pools[i]->buffer_size, gather->sums[i],
                (int64_t)pools[i]->count * worker->proxy->worker_count);
    mem_row(gather, worker, "server_cache", (int64_t)sizeof(struct server),
            atomic_load(&worker->proxy->server_count), atomic_load(&worker->proxy->server_count));
    mem_row(gather, worker, "all_bytes", 1, (int64_t)stats.bytes, (int64_t)stats.bytes_peak);
    return true;
}

/* ---- rows ---- */

ADMIN_SHOW(admin_show_help, .name = "HELP", .sentence = "Every SHOW and command, and what it does.",
           .columns = help_columns, .finish = finish_help)
ADMIN_SHOW(admin_show_version, .name = "VERSION", .sentence = "The version of this program.",
           .columns = version_columns, .finish = finish_version)
ADMIN_SHOW(admin_show_state, .name = "STATE",
           .sentence = "Whether all databases together are paused or suspended.",
           .columns = state_columns, .finish = finish_state)
ADMIN_SHOW(admin_show_lists, .name = "LISTS", .sentence = "How many there are of each.",
           .columns = lists_columns, .visit = visit_lists, .finish = finish_lists)
ADMIN_SHOW(admin_show_mem, .name = "MEM",
           .sentence = "What memory is used for; all_bytes counts bytes, now and at most.",
           .columns = mem_columns, .visit = visit_mem, .finish = finish_mem)
