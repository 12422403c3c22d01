/*
 * Asking auth_query: connections of worker 0 of their own, apart from all pools, so that a login
 * never waits for a connection that only other logins could free.
 *
 *     WORKER_ASK --> auth_cache_next() --> the place's connection, made if there is none
 *                                             CONNECTING -> LOGIN -> READY: Parse, Bind, Execute,
 *                                             Sync for each question, up to AUTH_PIPELINE at a time
 *     answer --> auth_cache_answer() --> WORKER_ANSWERED to every worker where somebody waits
 *
 * One connection for each place. search_path is pg_catalog from its startup on, whatever the role
 * or database say, and what the user's name is can only ever be a value: it is a parameter. The
 * answer's name has to be the one that was asked for, letter by letter.
 *
 * A server that cannot be reached is tried again, at any of the database's hosts, as long as
 * somebody waits and for server_down_timeout; who has an old answer that may still count is given
 * that at once. A question that takes longer than server_connect_timeout ends its connection.
 * Hosts, breakers and the number of connects at a time are those of pools (dial.h).
 *
 * Belongs to worker 0's thread.
 */
#ifndef HF_PROXY_AUTH_ASK_H
#define HF_PROXY_AUTH_ASK_H

#include <stdbool.h>

#include "net/loop.h"

struct access;
struct worker;

#define AUTH_PIPELINE 32 /* questions that are sent and not answered */

/* There are questions in the cache of this access, which the message holds: WORKER_ASK. */
struct auth_ask_message {
    struct loop_message message;
    struct access *access;
};

/* Takes the message, and the questions. */
void auth_ask(struct worker *worker, struct loop_message *message);

/* Its stream and its timer. */
void auth_ask_event(struct stream *stream, const struct loop_event *event);
void auth_ask_timeout(struct stream *stream);

/* Another configuration is in force: connections for the old one end when they are done. */
void auth_ask_reload(struct worker *worker);

/* The worker ends: ends them all. True: nothing is left. */
bool auth_ask_end(struct worker *worker);

#endif
