#include "proxy/pool_gate.h"

#include "proxy/client.h"
#include "proxy/pool.h"
#include "proxy/server.h"
#include "proxy/worker.h"

uint32_t pool_share(const struct pool_part *part)
{
    return part->is_held ? part->held : bulkhead_limit(part->bulkhead);
}

void pool_set_share(struct pool_part *part, uint32_t share)
{
    if (part->is_held)
        part->held = share;
    else
        bulkhead_resize(part->bulkhead, share, worker_now(part->worker));
}

static void close_idle(struct pool_part *part)
{
    list_for_each(node, &part->idle)
        server_close(container_of(node, struct server, link), NULL);
}

void pool_hold(struct pool_part *part)
{
    if (part->is_held)
        return;
    part->held = bulkhead_limit(part->bulkhead);
    part->is_held = true;
    struct bulkhead_config config = pool_bulkhead_config(part, 0);
    bulkhead_configure(part->bulkhead, &config, worker_now(part->worker));
    close_idle(part);
    pool_touch(part);
}

void pool_let_go(struct pool_part *part)
{
    if (!part->is_held)
        return;
    part->is_held = false;
    struct bulkhead_config config = pool_bulkhead_config(part, part->held);
    part->held = 0;
    bulkhead_configure(part->bulkhead, &config, worker_now(part->worker));
    pool_touch(part);
}

void pool_reconnect(struct pool_part *part)
{
    pool_taint(part, NULL);
}

void pool_kill(struct pool_part *part, const struct hf_err *reason)
{
    struct hf_err err = *reason;
    list_for_each(node, &part->worker->sessions) {
        struct client *client = container_of(node, struct client, link);
        if (client->part == part)
            client_fail(client, &err);
    }
    close_idle(part);
    list_for_each(node, &part->servers)
        server_close(container_of(node, struct server, link), &err);
    pool_touch(part);
}

void pool_taint(struct pool_part *part, const struct proxy_database *database)
{
    struct list *lists[] = {&part->idle, &part->servers};
    for (size_t i = 0; i < 2; i++) {
        list_for_each(node, lists[i]) {
            struct server *server = container_of(node, struct server, link);
            bool is_named = false;
            for (uint32_t h = 0; database != NULL && h < database->host_count; h++)
                is_named = is_named || (database->hosts[h].port == server->endpoint->port &&
                                        sv_eq(sv_from_cstr(database->hosts[h].name),
                                              sv_from_cstr(server->endpoint->host)));
            server->is_tainted = server->is_tainted || !is_named;
            if (server->is_tainted && i == 0)
                server_close(server, NULL); /* before the next client gets it */
        }
    }
    pool_touch(part);
}

uint32_t pool_tainted(const struct pool_part *part)
{
    uint32_t count = 0;
    list_for_each(node, &part->idle)
        count += container_of(node, struct server, link)->is_tainted;
    list_for_each(node, &part->servers)
        count += container_of(node, struct server, link)->is_tainted;
    return count;
}

void pool_make_room(struct worker *worker)
{
    struct server *coldest = NULL;
    list_for_each(part_node, &worker->parts) {
        const struct pool_part *part = container_of(part_node, struct pool_part, link);
        struct list_node *node = list_last(&part->idle);
        struct server *server = node != NULL ? container_of(node, struct server, link) : NULL;
        if (server != NULL && (coldest == NULL || server->since_ns < coldest->since_ns))
            coldest = server;
    }
    if (coldest != NULL)
        server_close(coldest, NULL);
}
