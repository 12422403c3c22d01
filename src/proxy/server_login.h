/*
 * Opening server connections of a pool: who connects, as whom and with what; the calling itself is
 * dial.h's. Where a pool has several hosts, the next attempt goes to the next one (hosts.h).
 */
#ifndef HF_PROXY_SERVER_LOGIN_H
#define HF_PROXY_SERVER_LOGIN_H

#include <stdbool.h>

#include "net/loop.h"

struct client;
struct pool_part;
struct server;

/* Connects, for the next connection of this part; `client` is whom it is for in session mode.
 * False: not now, part->retry_at_ns says when. */
bool server_open(struct pool_part *part, struct client *client);

/* Events of a connection that is not logged in yet. */
void server_login_event(struct server *server, const struct loop_event *event);
/* Its stream is gone. True: it was the first of two attempts, and the second one is under way. */
bool server_login_gone(struct server *server);
/* Its timer. */
void server_login_timeout(struct server *server);
/* It is not wanted any more: `err` says why. */
void server_login_fail(struct server *server, const struct hf_err *err);

#endif
