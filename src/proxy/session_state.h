/*
 * Session state by SQL, of clients that have a server connection for one transaction or statement:
 * what a client sets it finds again, wherever its next transaction runs; and nobody else does.
 *
 *     text --acts_mask--> 0: nothing is done            (almost every text)
 *        `--> ACTS_CHANGE: the connection is noted as changed
 *                 |
 *     the transaction is over, and nothing is owed
 *                 |
 *             census (wire/census.h): the server says what the session has
 *                 |
 *        settings  --> of client and connection: from there on they follow, as a difference
 *        holds     --> none: the connection is given back
 *                      some: the client is pinned, and keeps it
 *
 * So a SET is judged by the server when it is issued; what is rolled back is gone; SET LOCAL leaves
 * nothing; and who does none of this pays one look at the text. RESET and DEFAULT go back to what
 * the client began with: what the connection began with is taken for "not set", and the client's
 * own value is brought there before its next statement.
 *
 * Pins. What cannot move holds the client on its connection: temporary objects, advisory locks of
 * the session, cursors WITH HOLD, channels, a library that was loaded. Each text that could end
 * one is followed by a census again, and with the last hold the pin ends. The pool's permit is the
 * client's meanwhile. A pinned client that leaves has the connection reset or closed. Settings say
 * whether such texts are pinned, refused, or let through as if they left nothing
 * (session_features).
 *
 * Why prepared statements may be shared by clients whose settings differ. PostgreSQL keeps the text
 * with the plan, and analyses it again when the search_path, the role under row security, or an
 * object has changed (RevalidateCachedQuery), so names mean what they mean to whoever executes; if
 * the result has other columns then, that is the error that prepared.h cures.
 * Types of parameters that a Parse leaves open are settled once, by whoever prepares the text first
 * on a connection: schemas of one application in which the same column has different types want the
 * types in the Parse, or a role for each schema.
 *
 * What is not known. State that a function leaves behind which an ordinary statement calls;
 * currval() of sequences; connections of dblink. Settings of the application's own that are never
 * named in a text or parameter that says set_config, SET, DO or CALL.
 *
 * Belongs to the worker of client and server.
 */
#ifndef HF_PROXY_SESSION_STATE_H
#define HF_PROXY_SESSION_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sv.h"
#include "proxy/relay_int.h"
#include "sql/acts.h"

struct client;
struct server;

/* Why a client keeps its connection: bits of client->pins. The first ones are those of a census. */
enum session_pin {
    SESSION_PIN_TEMPORARY = 1,
    SESSION_PIN_LOCK = 2,
    SESSION_PIN_CURSOR = 4,
    SESSION_PIN_CHANNEL = 8,
    SESSION_PIN_LIBRARY = 16,
};

/* The pins as words, separated by commas; empty if there are none. For logs and SHOW. */
#define SESSION_PINS_SIZE 80
const char *session_pins_text(uint32_t pins, char out[SESSION_PINS_SIZE]);

/* ---- what the client says ---- */

/* The acts of a text by the rules of the client's connection; a text that is not whole may have
 * any. In session mode there are none. */
uint32_t session_acts(const struct client *client, struct sv text, bool is_whole);

/* A Query or Parse with this text, which has acts, is about to be sent: they are noted, or refused.
 * RELAY_PASS: it may go. */
enum relay_step session_from_client(struct client *client, struct relay_run *run,
                                    const struct frame_part *part, struct sv text, uint32_t acts);

/* A text that has acts is executed, as by a Bind of what was prepared before. `body`: of that
 * message, in which values may be names of settings; or empty. */
void session_note(struct client *client, struct sv text, uint32_t acts, struct sv body);

/* ---- what the server says ---- */

/* A message that was accounted for. True: it is not forwarded, as something else was put in its
 * place. */
struct replies_verdict;
bool session_from_server(struct server *server, struct relay_run *run,
                         const struct frame_part *part, const struct replies_verdict *verdict);

/* A row of a census, which must be seen whole, is not yet. */
bool session_needs_more(const struct server *server, const struct frame_part *part);

/* Nothing is owed and no transaction is open: whether the connection may be given back. False: it
 * is asked first, or its client is pinned, or gone. */
bool session_lets_go(struct server *server);

/* The census was answered. False: the pair is no more, or the census is asked for again. */
bool session_answered(struct server *server);

/* ---- lives ---- */

/* The client, which has gone already, gives its connection up: sees to it that what it has left
 * there is cleaned up, if there is anything. */
void session_left(struct server *server, struct client *client);
/* Whether it has to be reset before another client may have it; and it was. */
bool session_is_left(const struct server *server);
void session_reset(struct server *server);
void session_end(struct client *client);

#endif
