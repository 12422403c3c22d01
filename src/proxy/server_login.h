/*
 * Opening server connections: which host, its name looked up, connecting, TLS, logging in; and what
 * a failure means for the next attempt.
 *
 * Each host has a breaker of the core for connecting, shared by all pools and workers, and a
 * bulkhead for how many connects may be under way at once: a server that comes back is not stormed.
 * Where a pool has several hosts, the next attempt goes to the next one (hosts.h).
 */
#ifndef HF_PROXY_SERVER_LOGIN_H
#define HF_PROXY_SERVER_LOGIN_H

#include <stdbool.h>

#include "base/list.h"
#include "net/loop.h"
#include "net/resolve.h"

struct client;
struct endpoint;
struct login_task;
struct pool_part;
struct server;

/* Connects, for the next connection of this part; `client` is whom it is for in session mode.
 * False: not now, part->retry_at_ns says when. */
bool server_open(struct pool_part *part, struct client *client);

/* Events of a connection that is not logged in yet. */
void server_login_event(struct server *server, const struct loop_event *event);
/* Its stream is gone. True: it was the first of two attempts, and the second one is under way. */
bool server_login_gone(struct server *server);
/* Its name was looked up. */
void server_login_resolved(struct loop_message *message);
/* A slice of hashing, for one in worker->working_servers. */
void server_login_work(struct list_node *work);
/* It took too long, or is not wanted any more: `err` says why. */
void server_login_fail(struct server *server, const struct hf_err *err);
#endif
