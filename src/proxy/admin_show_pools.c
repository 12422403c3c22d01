/* SHOW POOLS, and what PgBouncer has for peers. */
#include "proxy/admin_show.h"

#include <stdio.h>

#include "proxy/cancel.h"
#include "proxy/pool.h"
#include "proxy/server.h"
#include "proxy/worker.h"

/* A pool over all workers. */
struct pool_sum {
    const struct pool *pool;
    uint32_t clients_active, clients_waiting;
    uint32_t servers_active, servers_idle, servers_login, servers_cleaning, servers_cancelled;
    uint32_t cancels, size;
    int64_t oldest_ns; /* HF_NEVER: nobody waits */
    bool is_balanced, is_held;
};

static const struct admin_column pools_columns[] = {
    {"database", ADMIN_TEXT},
    {"user", ADMIN_TEXT},
    {"cl_active", ADMIN_INT4},
    {"cl_waiting", ADMIN_INT4},
    {"cl_active_cancel_req", ADMIN_INT4},
    {"cl_waiting_cancel_req", ADMIN_INT4},
    {"sv_active", ADMIN_INT4},
    {"sv_active_cancel", ADMIN_INT4},
    {"sv_being_canceled", ADMIN_INT4},
    {"sv_idle", ADMIN_INT4},
    {"sv_used", ADMIN_INT4},
    {"sv_tested", ADMIN_INT4},
    {"sv_login", ADMIN_INT4},
    {"maxwait", ADMIN_INT4},
    {"maxwait_us", ADMIN_INT4},
    {"pool_mode", ADMIN_TEXT},
    {"load_balance_hosts", ADMIN_TEXT},
    {"pool_size", ADMIN_INT4},
    {"sv_cleaning", ADMIN_INT4},
    {"replication", ADMIN_INT4},
    {"paused", ADMIN_INT4},
    {NULL, 0},
};

/* All pools that there are now, each in the place of its number. */
static bool begin(struct gather *gather, struct worker *worker)
{
    struct proxy *proxy = worker->proxy;
    pthread_mutex_lock(&proxy->lock);
    struct pool_sum *sums = mem_alloc_array(proxy->mem, proxy->pool_count + 1, sizeof *sums);
    gather->state = sums;
    for (struct pool *pool = proxy->pools; sums != NULL && pool != NULL; pool = pool->next) {
        sums[pool->number] = (struct pool_sum){.pool = pool, .oldest_ns = HF_NEVER};
        gather->state_count++;
    }
    pthread_mutex_unlock(&proxy->lock);
    return sums != NULL;
}

static void count_servers(struct pool_sum *sum, const struct list *list)
{
    list_for_each(node, list) {
        const struct server *server = container_of(node, struct server, link);
        sum->servers_active += server->state == SERVER_ACTIVE;
        sum->servers_idle += server->state == SERVER_IDLE;
        sum->servers_login += server->state <= SERVER_LOGIN;
        sum->servers_cleaning += server->state == SERVER_CLEANING;
        sum->servers_cancelled += server->cancels > 0;
    }
}

static void add_part(struct pool_sum *sum, struct pool_part *part)
{
    uint32_t waiting = bulkhead_waiting(part->bulkhead);
    list_for_each(node, &part->awaiting)
        waiting++;
    count_servers(sum, &part->idle);
    count_servers(sum, &part->servers);
    sum->clients_waiting += waiting;
    /* PgBouncer calls a client active unless it waits. */
    sum->clients_active += part->clients > waiting ? part->clients - waiting : 0;
    sum->size = part->size;
    sum->oldest_ns = ns_min(sum->oldest_ns, atomic_load(&part->oldest_ns));
    sum->is_held = sum->is_held || part->is_held;
    sum->is_balanced = part->database != NULL && part->database->host_count > 1;
}

static bool visit(struct gather *gather, struct worker *worker)
{
    struct pool_sum *sums = gather->state;
    list_for_each(node, &worker->parts) {
        struct pool_part *part = container_of(node, struct pool_part, link);
        if (part->pool->number < gather->state_count)
            add_part(&sums[part->pool->number], part);
    }
    list_for_each(node, &worker->cancelling) {
        const struct cancel *cancel = container_of(node, struct cancel, link);
        const struct server *server = cancel->server;
        if (server != NULL && server->part->pool->number < gather->state_count)
            sums[server->part->pool->number].cancels++;
    }
    return true;
}

static const char *balance_name(const struct worker *worker, const struct pool_sum *sum)
{
    const struct proxy_database *database =
        proxy_database_find(worker->config, sv_from_cstr(sum->pool->name));
    if (!sum->is_balanced || database == NULL)
        return NULL;
    return database->load_balance_hosts == PROXY_BALANCE_ROUND_ROBIN ? "round-robin" : "disable";
}

static void show_sum(struct gather *gather, struct worker *worker, const struct pool_sum *sum)
{
    struct cells cells;
    cells_begin(&cells);
    cell_text(&cells, sum->pool->name);
    cell_text(&cells, sum->pool->role);
    cell_number(&cells, sum->clients_active);
    cell_number(&cells, sum->clients_waiting);
    cell_number(&cells, sum->cancels); /* a cancel request is on its way, or it is refused */
    cell_number(&cells, 0);
    cell_number(&cells, sum->servers_active);
    cell_number(&cells, sum->cancels);
    cell_number(&cells, sum->servers_cancelled);
    cell_number(&cells, sum->servers_idle);
    cell_number(&cells,
                0); /* an idle connection is looked at all the time: none has to be tested */
    cell_number(&cells, sum->servers_cleaning);
    cell_number(&cells, sum->servers_login);
    cell_wait(&cells, sum->oldest_ns != HF_NEVER ? worker_now(worker) - sum->oldest_ns : 0);
    cell_text(&cells, pool_mode_name(sum->pool->mode));
    cell_text(&cells, balance_name(worker, sum));
    cell_number(&cells, sum->size);
    cell_number(&cells, sum->servers_cleaning);
    cell_number(&cells, sum->pool->is_replication);
    cell_number(&cells, sum->is_held);
    gather_add(gather, worker, &cells);
}

static bool finish(struct gather *gather, struct worker *worker)
{
    const struct pool_sum *sums = gather->state;
    for (; gather->cursor < gather->state_count; gather->cursor++) {
        if (gather_is_full(gather))
            return false;
        if (sums[gather->cursor].pool->hub == NULL) /* SHOW CHANNELS has those */
            show_sum(gather, worker, &sums[gather->cursor]);
    }
    return true;
}

ADMIN_SHOW(admin_show_pools, .name = "POOLS",
           .sentence = "Clients and server connections of each database and role.",
           .columns = pools_columns, .begin = begin, .visit = visit, .finish = finish)
