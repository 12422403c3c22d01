/* SHOW DNS_HOSTS, DNS_ZONES, PEERS, PEER_POOLS. */
#include "proxy/admin_show.h"

#include <string.h>

#include "base/ns.h"
#include "net/resolve.h"
#include "proxy/cancel.h"
#include "proxy/peers.h"
#include "proxy/worker.h"

/* ---- SHOW DNS_HOSTS, DNS_ZONES ---- */

static const struct admin_column dns_hosts_columns[] = {
    {"hostname", ADMIN_TEXT}, {"ttl", ADMIN_INT8}, {"addrs", ADMIN_TEXT}, {NULL, 0}};
static const struct admin_column dns_zones_columns[] = {
    {"zonename", ADMIN_TEXT}, {"serial", ADMIN_INT8}, {"count", ADMIN_INT4}, {NULL, 0}};

/* With commas, as PgBouncer has it. */
static void addresses_text(const struct resolve_seen *seen, char *out, size_t size)
{
    char text[PEER_TEXT_SIZE];
    struct buffer list;
    buffer_init(&list, out, size - 1);
    for (uint32_t i = 0; i < seen->count; i++) {
        struct peer peer = peer_from_address(&seen->addresses[i]);
        (void)!buffer_append(&list, sv_from_cstr(i > 0 ? "," : ""));
        (void)!buffer_append(&list, sv_from_cstr(peer_text(&peer, text)));
    }
    out[list.end] = '\0';
}

static bool finish_dns_hosts(struct gather *gather, struct worker *worker)
{
    struct resolve_seen seen;
    for (; resolve_look(worker->proxy->resolver, (uint32_t)gather->cursor, &seen);
         gather->cursor++) {
        char addresses[RESOLVE_ADDRESSES * (PEER_TEXT_SIZE + 1)];
        struct cells cells;
        if (gather_is_full(gather))
            return false;
        addresses_text(&seen, addresses, sizeof addresses);
        cells_begin(&cells);
        cell_text(&cells, seen.host);
        cell_number(&cells, seen.ttl_ns / HF_SEC(1));
        cell_text(&cells, addresses);
        gather_add(gather, worker, &cells);
    }
    return true;
}

/* ---- SHOW PEERS ---- */

static const struct admin_column peers_columns[] = {{"peer_id", ADMIN_INT4},
                                                    {"host", ADMIN_TEXT},
                                                    {"port", ADMIN_INT4},
                                                    {"pool_size", ADMIN_INT4},
                                                    {NULL, 0}};

static bool finish_peers(struct gather *gather, struct worker *worker)
{
    const struct proxy_config *config = worker->config;
    for (uint32_t i = 0; i < config->peer_count; i++) {
        struct cells cells;
        cells_begin(&cells);
        cell_number(&cells, config->peers[i].id);
        cell_text(&cells, config->peers[i].host.name);
        cell_number(&cells, config->peers[i].host.port);
        cell_number(&cells, 0); /* no connection is kept */
        gather_add(gather, worker, &cells);
    }
    return true;
}

/* ---- SHOW PEER_POOLS ---- */

static const struct admin_column peer_pools_columns[] = {{"peer_id", ADMIN_INT4},
                                                         {"cl_active_cancel_req", ADMIN_INT4},
                                                         {"cl_waiting_cancel_req", ADMIN_INT4},
                                                         {"sv_active_cancel", ADMIN_INT4},
                                                         {"sv_login", ADMIN_INT4},
                                                         {NULL, 0}};

/* Cancel requests on their way to one peer, by the number of its instance. */
struct peer_sum {
    uint32_t sent;       /* it has them, and has not answered by closing */
    uint32_t connecting; /* a connection for each is being made */
    uint32_t named;      /* the peer's name is being looked up */
};

static bool begin_peer_pools(struct gather *gather, struct worker *worker)
{
    gather->state =
        mem_alloc_array(worker->proxy->mem, PROXY_INSTANCES_MAX + 1, sizeof(struct peer_sum));
    return gather->state != NULL;
}

static bool visit_peer_pools(struct gather *gather, struct worker *worker)
{
    struct peer_sum *sums = gather->state;
    list_for_each(node, &worker->cancelling) {
        const struct cancel *cancel = container_of(node, struct cancel, link);
        struct peer_sum *sum = &sums[worker_pid_instance(cancel->pid)];
        if (cancel->is_for_peer && cancel->is_sent)
            sum->sent++;
        else if (cancel->is_for_peer)
            sum->connecting++;
    }
    list_for_each(node, &worker->errands)
        sums[worker_pid_instance(peers_errand_pid(node))].named++;
    return true;
}

static bool finish_peer_pools(struct gather *gather, struct worker *worker)
{
    const struct proxy_config *config = worker->config;
    const struct peer_sum *sums = gather->state;
    for (uint32_t i = 0; i < config->peer_count; i++) {
        const struct peer_sum *sum = &sums[config->peers[i].id];
        struct cells cells;
        cells_begin(&cells);
        cell_number(&cells, config->peers[i].id);
        cell_number(&cells, sum->sent);
        cell_number(&cells, (int64_t)sum->connecting + sum->named);
        cell_number(&cells, sum->sent);
        cell_number(&cells, sum->connecting);
        gather_add(gather, worker, &cells);
    }
    return true;
}

/* ---- rows ---- */

ADMIN_SHOW(admin_show_dns_hosts, .name = "DNS_HOSTS",
           .sentence = "Names of servers and peers that were looked up, what was found, and for "
                       "how many seconds that counts.",
           .columns = dns_hosts_columns, .finish = finish_dns_hosts)
ADMIN_SHOW(
    admin_show_dns_zones, .name = "DNS_ZONES",
    .sentence = "Nothing: a name is looked up again when its time is over, whatever its zone says.",
    .columns = dns_zones_columns)
ADMIN_SHOW(admin_show_peers, .name = "PEERS",
           .sentence = "Other instances that cancel requests are passed on to.",
           .columns = peers_columns, .finish = finish_peers)
ADMIN_SHOW(admin_show_peer_pools, .name = "PEER_POOLS",
           .sentence = "Cancel requests that are on their way to each of them.",
           .columns = peer_pools_columns, .begin = begin_peer_pools, .visit = visit_peer_pools,
           .finish = finish_peer_pools)
