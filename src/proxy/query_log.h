/*
 * The query log: who ran what, where, and what it waited for; and the trace of one client.
 *
 *     msg=query pid=1077936130 database=shop role=web application=till address=10.0.0.7 port=40222
 *     server_pid=8123 server=db1:5432 transaction=71.12 statements=1 took=18ms wait=11ms server=6ms
 *     client=1ms rows=20 received=64 sent=1312 shape=5d0e... text="select * from t where id=$1"
 *
 * A line for each request, that is from the first message to ReadyForQuery. Its time is split: wait
 * is until the client had a server connection, client is how long answers were held up since the
 * client did not read, server is the rest. `transaction` is the same for all requests of one
 * transaction, and nobody else's. Which requests are logged is a setting of database and role: all,
 * those with errors, those that took longer, or a share by chance; and so is whether the text is
 * there, with literals stripped or in full.
 *
 * A trace, switched on from the console for one client, logs each message that passes: its type,
 * its size, when. Never its bytes.
 *
 * Who is neither logged nor traced has client->watch NULL, and costs a look at it for each message.
 * What it takes is allocated when a client logs in, when a reload switches it on, or a trace: never
 * for a query. These lines are not limited in number, as others are.
 */
#ifndef HF_PROXY_QUERY_LOG_H
#define HF_PROXY_QUERY_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "proxy/statement_note.h"

struct client;
struct server;
struct worker;

struct query_watch {
    bool is_logged;
    bool is_traced;
    struct statement_note note;
    char sqlstate[6]; /* of the request; "": no error */
    uint32_t statements;
    uint64_t transactions; /* of this client so far */
    uint64_t rows;
    uint64_t received;
    uint64_t sent;
    int64_t blocked_since_ns; /* the client does not read since then; 0: it does */
    int64_t blocked_ns;       /* of the request */
    int64_t traced_ns;        /* when its last message was */
    char bytes[STATEMENT_TEXT_SIZE];
};

/* A client has logged in, or the configuration of its pool is another one. */
void query_log_update(struct client *client);
/* All of a worker that has changed to another configuration. */
void query_log_reload(struct worker *worker);
/* It is gone. */
void query_log_end(struct client *client);

/* Switches the trace of a client on or off. False: no memory. */
bool query_log_trace(struct client *client, bool is_on);

/* ---- on the path of a request, where client->watch is not NULL ---- */

/* The first part of a message of the client, before anything becomes of it; may come twice. */
void query_log_look(struct client *client, const struct frame_part *part);
/* A message of this type and size has gone to the server, or was dealt with. */
void query_log_asked(struct client *client, char type, uint32_t size);
/* The first part of a message that goes to the client. */
void query_log_answered(struct client *client, const struct frame_part *part);
/* Whether there is room for more of the answer. */
void query_log_room(struct client *client, bool has_room);
/* The request is answered. */
void query_log_ready(struct client *client, const struct server *server, int64_t now_ns);
/* It is refused by us, or ends with the connection. */
void query_log_refused(struct client *client, const struct hf_err *err);

#endif
