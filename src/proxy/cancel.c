#include "proxy/cancel.h"

#include <string.h>

#include "proxy/client.h"
#include "proxy/peers.h"
#include "proxy/pool.h"
#include "proxy/server.h"
#include "proxy/takeover.h"
#include "proxy/worker.h"
#include "wire/build.h"
#include "wire/bytes.h"

/* ---- of clients ---- */

static bool is_key_of(const struct client *client, uint32_t pid, struct sv key)
{
    return client->is_logged_in && client->pid == pid && client->key_size == key.size &&
           bytes_eq_secret(client->key, key.data, key.size);
}

/* A client of this worker. Our own numbers tell the slot; in session mode they are the server's. */
static void find_here(struct worker *worker, uint32_t pid, struct sv key)
{
    if (worker_pid_is_ours(pid)) {
        struct client *client = worker_client(worker, pid);
        if (client != NULL && is_key_of(client, pid, key))
            client_cancel(client);
        return;
    }
    list_for_each(node, &worker->sessions) {
        struct client *client = container_of(node, struct client, link);
        if (is_key_of(client, pid, key)) {
            client_cancel(client);
            return;
        }
    }
}

static void pass_to(struct worker *worker, uint32_t pid, struct sv key)
{
    struct cancel_message *message = mem_alloc(worker->proxy->mem, sizeof *message);
    if (message == NULL)
        return;
    message->message.kind = WORKER_CANCEL;
    message->pid = pid;
    message->key_size = (uint16_t)key.size;
    memcpy(message->key, key.data, key.size);
    loop_post(worker->loop, &message->message);
}

/* To the worker that the number names, or to all. `self`: the caller's; NULL: it is no worker. */
static void find_anywhere(struct proxy *proxy, struct worker *self, uint32_t pid, struct sv key)
{
    for (uint32_t i = 0; i < proxy->worker_count; i++) {
        if (worker_pid_is_ours(pid) && worker_pid_index(proxy, pid) != i)
            continue;
        if (&proxy->workers[i] == self)
            find_here(self, pid, key);
        else
            pass_to(&proxy->workers[i], pid, key);
    }
}

void cancel_asked(struct worker *worker, uint32_t pid, struct sv key)
{
    bool is_passed;
    key = peers_key(key, &is_passed);
    if (key.size > STARTUP_CANCEL_KEY_MAX || (!is_passed && peers_cancel(worker, pid, key)))
        return;
    find_anywhere(worker->proxy, worker, pid, key);
    takeover_cancel(worker->proxy, pid, key);
}

void cancel_handed(struct proxy *proxy, uint32_t pid, struct sv key)
{
    find_anywhere(proxy, NULL, pid, key);
}

void cancel_drop(struct worker *worker, struct loop_message *message)
{
    mem_free(worker->proxy->mem, container_of(message, struct cancel_message, message));
}

void cancel_passed(struct worker *worker, struct cancel_message *message)
{
    find_here(worker, message->pid, sv_from(message->key, message->key_size));
    mem_free(worker->proxy->mem, message);
}

/* ---- to servers ---- */

/* On its way; NULL: too many are. */
static struct cancel *begin(struct worker *worker, const struct address *address, uint32_t pid,
                            struct sv key)
{
    struct cancel *cancel = bufpool_lend(&worker->cancels);
    if (cancel == NULL) {
        log_emit(worker->proxy->log, LOG_AT_WARNING, "cancel request dropped: too many under way",
                 log_int("limit", worker->config->limits.cancels_max));
        return NULL;
    }
    memset(cancel, 0, sizeof *cancel);
    cancel->worker = worker;
    cancel->pid = pid;
    cancel->key_size = (uint16_t)key.size;
    memcpy(cancel->key, key.data, key.size);
    list_push_back(&worker->cancelling, &cancel->link);
    stream_connect(worker->loop, &cancel->stream, address, STREAM_CANCEL);
    worker_timer(worker, &cancel->timer,
                 ns_add(worker_now(worker), worker->config->limits.cancel_wait_timeout_ns));
    return cancel;
}

void cancel_send(struct server *server)
{
    struct cancel *cancel = begin(server->part->worker, &server->address, server->pid,
                                  sv_from(server->key, server->key_size));
    if (cancel == NULL)
        return;
    cancel->server = server;
    server->cancels++;
}

void cancel_pass_on(struct worker *worker, const struct address *address, uint32_t pid,
                    struct sv key)
{
    struct cancel *cancel = begin(worker, address, pid, key);
    if (cancel == NULL)
        return;
    cancel->is_for_peer = true;
    worker->peer_cancels++;
}

/* The request was dealt with, or is given up: the server connection may go on. */
static void settle(struct cancel *cancel)
{
    struct server *server = cancel->server;
    cancel->server = NULL;
    if (server == NULL)
        return;
    server->cancels--;
    if (server->cancels == 0)
        server_clean(server);
}

void cancel_forget(struct server *server)
{
    struct worker *worker = server->part->worker;
    if (server->cancels == 0)
        return;
    list_for_each(node, &worker->cancelling) {
        struct cancel *cancel = container_of(node, struct cancel, link);
        if (cancel->server == server)
            cancel->server = NULL;
    }
    server->cancels = 0;
}

void cancel_event(struct cancel *cancel, const struct loop_event *event)
{
    struct worker *worker = cancel->worker;
    struct buffer *out;
    switch (event->kind) {
    case LOOP_CONNECTED:
        out = stream_out(worker->loop, &cancel->stream, 512);
        if (out == NULL ||
            build_cancel(out, cancel->pid, sv_from(cancel->key, cancel->key_size)) != HF_OK)
            stream_close(worker->loop, &cancel->stream, false);
        cancel->is_sent = true;
        return;
    case LOOP_ENDED:
        settle(cancel);
        stream_close(worker->loop, &cancel->stream, false);
        return;
    case LOOP_GONE:
        settle(cancel);
        worker_timer(worker, &cancel->timer, HF_NEVER);
        list_remove(&cancel->link);
        worker->peer_cancels -= cancel->is_for_peer;
        bytes_wipe(cancel->key, sizeof cancel->key);
        bufpool_return(&worker->cancels, cancel);
        return;
    case LOOP_RECEIVED:
        stream_consume(worker->loop, &cancel->stream, stream_view(&cancel->stream).size);
        return;
    case LOOP_ACCEPTED:
    case LOOP_SECURED:
    case LOOP_DRAINED:
    case LOOP_LEFT:
    case LOOP_POSTED:
    default:
        return;
    }
}

void cancel_timeout(struct cancel *cancel)
{
    stream_close(cancel->worker->loop, &cancel->stream, false);
}
