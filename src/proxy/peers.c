#include "proxy/peers.h"

#include <string.h>

#include "base/container_of.h"
#include "net/resolve.h"
#include "proxy/cancel.h"
#include "proxy/client.h"
#include "proxy/worker.h"

_Static_assert(CLIENT_KEY_SIZE < STARTUP_CANCEL_KEY_MAX, "with a mark behind it");

/* A request whose peer's name is being looked up. */
struct errand {
    struct list_node link; /* of worker->errands */
    struct resolve_request request;
    uint32_t pid;
    uint16_t key_size;
    char key[CLIENT_KEY_SIZE + 1];
};

uint32_t peers_errand_pid(struct list_node *errand)
{
    return container_of(errand, struct errand, link)->pid;
}

void peers_begin(const struct proxy *proxy)
{
    if (proxy->instance_id == 0 && atomic_load(&proxy->config)->peer_count > 0)
        log_emit(proxy->log, LOG_AT_WARNING,
                 "peers are configured, and this instance has no number",
                 log_text("hint", "Set proxy.instance_id, different in each instance."));
}

struct sv peers_key(struct sv key, bool *is_passed)
{
    *is_passed = (key.size == STARTUP_CANCEL_KEY_MIN + 1 || key.size == CLIENT_KEY_SIZE + 1) &&
                 key.data[key.size - 1] == PEERS_MARK;
    return *is_passed ? sv_take(key, key.size - 1) : key;
}

/* To the first of its addresses: a peer has one. */
static void go(struct worker *worker, struct errand *errand)
{
    const struct resolve_request *request = &errand->request;
    if (request->rc == HF_OK)
        cancel_pass_on(worker, &request->addresses[0], errand->pid,
                       sv_from(errand->key, errand->key_size));
    else
        log_emit(worker->proxy->log, LOG_AT_WARNING, "cancel request dropped: no such peer",
                 log_text("host", request->host), log_text("reason", request->err.message));
    list_remove(&errand->link);
    worker->peer_cancels--;
    mem_free(worker->proxy->mem, errand);
}

void peers_resolved(struct worker *worker, struct loop_message *message)
{
    struct resolve_request *request = container_of(message, struct resolve_request, message);
    go(worker, container_of(request, struct errand, request));
}

static void look_up(struct worker *worker, const struct proxy_host *host, uint32_t pid,
                    struct sv key)
{
    struct proxy *proxy = worker->proxy;
    struct errand *errand = mem_alloc(proxy->mem, sizeof *errand);
    if (errand == NULL)
        return;
    errand->pid = pid;
    errand->key_size = (uint16_t)key.size;
    memcpy(errand->key, key.data, key.size);
    if (!resolve_request_init(&errand->request, worker->loop, WORKER_PEER, sv_from_cstr(host->name),
                              host->port)) {
        mem_free(proxy->mem, errand);
        return;
    }
    list_push_back(&worker->errands, &errand->link);
    worker->peer_cancels++;
    if (resolve_ask(proxy->resolver, &errand->request) == RESOLVE_DONE)
        go(worker, errand);
}

void peers_end(struct worker *worker)
{
    struct list_node *node;
    while ((node = list_first(&worker->errands)) != NULL) {
        struct errand *errand = container_of(node, struct errand, link);
        list_remove(node);
        /* Posted or not: nobody takes the message any more. */
        (void)!resolve_cancel(worker->proxy->resolver, &errand->request);
        mem_free(worker->proxy->mem, errand);
    }
}

static void send_to(struct worker *worker, const struct proxy_host *host, uint32_t pid,
                    struct sv key)
{
    struct address address;
    struct hf_err err;
    if (host->is_unix) {
        if (address_unix(&address, sv_from_cstr(host->name), host->port, &err) == HF_OK)
            cancel_pass_on(worker, &address, pid, key);
    } else if (address_literal(&address, sv_from_cstr(host->name), host->port)) {
        cancel_pass_on(worker, &address, pid, key);
    } else {
        look_up(worker, host, pid, key);
    }
}

bool peers_cancel(struct worker *worker, uint32_t pid, struct sv key)
{
    const struct proxy *proxy = worker->proxy;
    uint32_t instance = worker_pid_instance(pid);
    char marked[CLIENT_KEY_SIZE + 1];
    if (proxy->instance_id == 0 || instance == 0 || instance == proxy->instance_id)
        return false;
    const struct proxy_peer *peer = proxy_peer_find(worker->config, instance);
    if (peer == NULL)
        return false;
    if (key.size >= sizeof marked) /* nobody's */
        return true;
    if (worker->peer_cancels >= (uint32_t)worker->config->limits.cancels_max / 2 + 1) {
        log_emit(proxy->log, LOG_AT_WARNING,
                 "cancel request dropped: too many are under way to peers",
                 log_int("peer", instance), log_int("limit", worker->peer_cancels));
        return true;
    }
    memcpy(marked, key.data, key.size);
    marked[key.size] = PEERS_MARK;
    send_to(worker, &peer->host, pid, sv_from(marked, key.size + 1));
    return true;
}
