#include "proxy/admin_gather.h"

#include <stdio.h>
#include <string.h>

#include "os/clock.h"
#include "proxy/admin.h"
#include "proxy/client.h"
#include "proxy/server.h"
#include "proxy/worker.h"
#include "wire/build.h"
#include "wire/prepared.h"

#define TEXT_MAX  ((size_t)256 << 20)
#define ROW_MAX   2048
#define CELL_SIZE 64
#define CELLS_MAX 14

static const char *const modes[] = {"session", "transaction", "statement"};

const char *const *gather_columns(enum gather_kind kind)
{
    static const char *const pools[] = {
        "database",    "user",      "cl_active", "cl_waiting", "sv_active", "sv_idle", "sv_login",
        "sv_cleaning", "pool_size", "maxwait",   "maxwait_us", "pool_mode", NULL};
    static const char *const stats[] = {"database",         "user",
                                        "total_xact_count", "total_query_count",
                                        "total_received",   "total_sent",
                                        "total_xact_time",  "total_query_time",
                                        "total_wait_time",  "total_login_count",
                                        "total_refused",    NULL};
    static const char *const clients[] = {"type", "user", "database",    "state",  "addr",
                                          "port", "tls",  "connect_age", "wait",   "wait_us",
                                          "pid",  "link", "prepared",    "worker", NULL};
    static const char *const servers[] = {"type", "user",     "database",    "state",     "addr",
                                          "port", "tls",      "connect_age", "state_age", "pid",
                                          "link", "prepared", "worker",      NULL};
    switch (kind) {
    case GATHER_POOLS:
        return pools;
    case GATHER_STATS:
        return stats;
    case GATHER_CLIENTS:
        return clients;
    case GATHER_SERVERS:
    default:
        return servers;
    }
}

/* ---- rows ---- */

static bool make_room(struct gather *gather, struct mem *mem)
{
    struct buffer *text = &gather->text;
    if (text->block != NULL && buffer_free(text) >= ROW_MAX)
        return true;
    size_t size = text->block != NULL ? 2 * text->size : (size_t)16 * ROW_MAX;
    char *block = size <= TEXT_MAX ? mem_alloc(mem, size) : NULL;
    if (block == NULL) {
        gather->is_cut = true;
        return false;
    }
    size_t held = text->block != NULL ? buffer_held(text) : 0;
    if (held > 0)
        memcpy(block, buffer_view(text).data, held);
    mem_free(mem, text->block);
    buffer_init(text, block, size);
    text->end = held;
    return true;
}

void gather_row(struct gather *gather, struct mem *mem, const char *const *values, size_t count)
{
    if (!make_room(gather, mem))
        return;
    struct build row = build_begin(&gather->text, 'D');
    build_u16(&row, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        struct sv value = sv_take(sv_from_cstr(values[i]), ROW_MAX / CELLS_MAX - 8);
        build_u32(&row, (uint32_t)value.size);
        build_bytes(&row, value);
    }
    if (build_end(&row) == HF_OK)
        gather->rows++;
}

/* The cells of a row, each made of text or of a number. */
struct cells {
    char text[CELLS_MAX][CELL_SIZE];
    const char *values[CELLS_MAX];
    size_t count;
};

static void cell_text(struct cells *cells, const char *text)
{
    cells->values[cells->count++] = text;
}

static void cell_number(struct cells *cells, int64_t number)
{
    char *text = cells->text[cells->count];
    snprintf(text, CELL_SIZE, "%lld", (long long)number);
    cells->values[cells->count++] = text;
}

static void cell_wait(struct cells *cells, int64_t wait_ns)
{
    wait_ns = ns_max(wait_ns, 0);
    cell_number(cells, wait_ns / HF_SEC(1));
    cell_number(cells, wait_ns % HF_SEC(1) / HF_US(1));
}

static const char *client_state(const struct client *client)
{
    switch ((enum client_state)client->state) {
    case CLIENT_IDLE:
        return "idle";
    case CLIENT_WAITING:
    case CLIENT_ENTERING:
        return "waiting";
    case CLIENT_ACTIVE:
        return client->request_ns != 0 ? "active" : "idle in transaction";
    case CLIENT_ADMIN:
        return "console";
    case CLIENT_REFUSED:
        return "refused";
    case CLIENT_CLOSING:
        return "closing";
    case CLIENT_STARTUP:
    case CLIENT_SECURING:
    case CLIENT_AUTHENTICATING:
    case CLIENT_DELAYED:
    default:
        return "login";
    }
}

static const char *server_state(const struct server *server)
{
    static const char *const names[] = {
        [SERVER_CONNECTING] = "connecting",
        [SERVER_LOGIN] = "login",
        [SERVER_IDLE] = "idle",
        [SERVER_ACTIVE] = "active",
        [SERVER_CLEANING] = "cleaning",
        [SERVER_LEAVING] = "leaving",
        [SERVER_CLOSING] = "closing",
    };
    return names[server->state];
}

static void show_client(struct gather *gather, struct worker *worker, const struct client *client)
{
    struct cells cells = {.count = 0};
    char address[PEER_TEXT_SIZE];
    const struct pool *pool = client->part != NULL ? client->part->pool : NULL;
    int64_t now_ns = worker_now(worker);
    cell_text(&cells, "C");
    cell_text(&cells, pool != NULL ? pool->role : "");
    cell_text(&cells, pool != NULL ? pool->name : "");
    cell_text(&cells, client_state(client));
    cell_text(&cells, peer_text(&client->peer, address));
    cell_number(&cells, client->peer.port);
    cell_text(&cells, client->stream.tls != NULL ? "on" : "off");
    cell_number(&cells, (now_ns - client->connected_ns) / HF_SEC(1));
    cell_wait(&cells, client->wait != NULL ? now_ns - client->wait->since_ns : 0);
    cell_number(&cells, client->pid);
    cell_number(&cells, client->server != NULL ? client->server->pid : 0);
    cell_number(&cells, client->prepared != NULL ? client->prepared->count : 0);
    cell_number(&cells, worker->index);
    gather_row(gather, worker->proxy->mem, cells.values, cells.count);
}

static void show_server(struct gather *gather, struct worker *worker, const struct server *server)
{
    struct cells cells = {.count = 0};
    const struct pool *pool = server->part->pool;
    int64_t now_ns = worker_now(worker);
    cell_text(&cells, "S");
    cell_text(&cells, pool->role);
    cell_text(&cells, pool->name);
    cell_text(&cells, server_state(server));
    cell_text(&cells, server->endpoint->host);
    cell_number(&cells, server->endpoint->port);
    cell_text(&cells, server->stream.tls != NULL ? "on" : "off");
    cell_number(&cells, server->connected_ns > 0 ? (now_ns - server->connected_ns) / HF_SEC(1) : 0);
    cell_number(&cells, (now_ns - server->since_ns) / HF_SEC(1));
    cell_number(&cells, server->pid);
    cell_number(&cells, server->client != NULL ? server->client->pid : 0);
    cell_number(&cells, server->prepared != NULL ? server->prepared->count : 0);
    cell_number(&cells, worker->index);
    gather_row(gather, worker->proxy->mem, cells.values, cells.count);
}

/* ---- pools ---- */

static void count_servers(struct gather_pool *sum, const struct list *list)
{
    list_for_each(node, list) {
        const struct server *server = container_of(node, struct server, link);
        sum->servers_active += server->state == SERVER_ACTIVE;
        sum->servers_idle += server->state == SERVER_IDLE;
        sum->servers_login += server->state <= SERVER_LOGIN;
        sum->servers_cleaning += server->state == SERVER_CLEANING;
    }
}

static void add_part(struct gather_pool *sum, const struct pool_part *part)
{
    const struct pool_stats *stats = &part->stats;
    uint32_t waiting = bulkhead_waiting(part->bulkhead);
    list_for_each(node, &part->awaiting)
        waiting++;
    uint32_t active = sum->servers_active;
    count_servers(sum, &part->idle);
    count_servers(sum, &part->servers);
    sum->clients_waiting += waiting;
    /* PgBouncer calls a client active unless it waits. */
    sum->clients_active += part->clients > waiting ? part->clients - waiting : 0;
    (void)active;
    sum->size = part->size;
    sum->oldest_ns = ns_min(sum->oldest_ns, atomic_load(&part->oldest_ns));
    sum->stats.transactions += stats->transactions;
    sum->stats.queries += stats->queries;
    sum->stats.received += stats->received;
    sum->stats.sent += stats->sent;
    sum->stats.transaction_ns += stats->transaction_ns;
    sum->stats.query_ns += stats->query_ns;
    sum->stats.wait_ns += stats->wait_ns;
    sum->stats.logins += stats->logins;
    sum->stats.refused += stats->refused;
}

static void visit_pools(struct worker *worker, struct gather *gather)
{
    list_for_each(node, &worker->parts) {
        const struct pool_part *part = container_of(node, struct pool_part, link);
        for (uint32_t i = 0; i < gather->pool_count; i++) {
            if (gather->pools[i].pool == part->pool)
                add_part(&gather->pools[i], part);
        }
    }
}

static void show_pool(struct gather *gather, struct worker *worker, const struct gather_pool *sum)
{
    struct cells cells = {.count = 0};
    const struct pool_stats *stats = &sum->stats;
    cell_text(&cells, sum->pool->name);
    cell_text(&cells, sum->pool->role);
    if (gather->kind == GATHER_STATS) {
        cell_number(&cells, (int64_t)stats->transactions);
        cell_number(&cells, (int64_t)stats->queries);
        cell_number(&cells, (int64_t)stats->received);
        cell_number(&cells, (int64_t)stats->sent);
        cell_number(&cells, stats->transaction_ns / HF_US(1));
        cell_number(&cells, stats->query_ns / HF_US(1));
        cell_number(&cells, stats->wait_ns / HF_US(1));
        cell_number(&cells, (int64_t)stats->logins);
        cell_number(&cells, (int64_t)stats->refused);
    } else {
        cell_number(&cells, sum->clients_active);
        cell_number(&cells, sum->clients_waiting);
        cell_number(&cells, sum->servers_active);
        cell_number(&cells, sum->servers_idle);
        cell_number(&cells, sum->servers_login);
        cell_number(&cells, sum->servers_cleaning);
        cell_number(&cells, sum->size);
        cell_wait(&cells, sum->oldest_ns != HF_NEVER ? worker_now(worker) - sum->oldest_ns : 0);
        cell_text(&cells, modes[sum->pool->mode]);
    }
    gather_row(gather, worker->proxy->mem, cells.values, cells.count);
}

/* ---- the way round ---- */

static bool list_pools(struct gather *gather, struct proxy *proxy)
{
    pthread_mutex_lock(&proxy->lock);
    gather->pools = mem_alloc_array(proxy->mem, proxy->pool_count + 1, sizeof *gather->pools);
    for (struct pool *pool = proxy->pools; gather->pools != NULL && pool != NULL; pool = pool->next)
        gather->pools[gather->pool_count++] =
            (struct gather_pool){.pool = pool, .oldest_ns = HF_NEVER};
    pthread_mutex_unlock(&proxy->lock);
    return gather->pools != NULL;
}

static void send_on(struct proxy *proxy, struct gather *gather)
{
    bool is_over = gather->next == proxy->worker_count;
    struct worker *to = is_over ? gather->asker : &proxy->workers[gather->next++];
    gather->message.kind = is_over ? WORKER_GATHERED : WORKER_GATHER;
    loop_post(to->loop, &gather->message);
}

bool gather_begin(struct client *client, enum gather_kind kind)
{
    struct proxy *proxy = client->worker->proxy;
    struct gather *gather = mem_alloc(proxy->mem, sizeof *gather);
    if (gather == NULL)
        return false;
    gather->asker = client->worker;
    gather->kind = kind;
    gather->client_pid = client->pid;
    gather->client_sequence = client->sequence;
    if (!list_pools(gather, proxy)) {
        mem_free(proxy->mem, gather);
        return false;
    }
    send_on(proxy, gather);
    return true;
}

static void visit_servers(struct worker *worker, struct gather *gather)
{
    list_for_each(part_node, &worker->parts) {
        const struct pool_part *part = container_of(part_node, struct pool_part, link);
        list_for_each(node, &part->idle)
            show_server(gather, worker, container_of(node, struct server, link));
        list_for_each(node, &part->servers)
            show_server(gather, worker, container_of(node, struct server, link));
    }
}

void gather_visit(struct worker *worker, struct gather *gather)
{
    if (gather->kind == GATHER_POOLS || gather->kind == GATHER_STATS) {
        visit_pools(worker, gather);
    } else if (gather->kind == GATHER_CLIENTS) {
        list_for_each(node, &worker->sessions)
            show_client(gather, worker, container_of(node, struct client, link));
    } else {
        visit_servers(worker, gather);
    }
    send_on(worker->proxy, gather);
}

void gather_finish(struct worker *worker, struct gather *gather)
{
    struct client *client = worker_client(worker, gather->client_pid);
    if (gather->kind == GATHER_POOLS || gather->kind == GATHER_STATS) {
        for (uint32_t i = gather->pool_count; i > 0; i--)
            show_pool(gather, worker, &gather->pools[i - 1]);
    }
    if (client != NULL && client->sequence == gather->client_sequence)
        admin_gathered(client, gather);
    gather_free(gather, worker->proxy->mem);
}

void gather_free(struct gather *gather, struct mem *mem)
{
    mem_free(mem, gather->text.block);
    mem_free(mem, gather->pools);
    mem_free(mem, gather);
}
