/*
 * PREPARE, EXECUTE and DEALLOCATE as SQL, of clients that have a server connection for one
 * transaction only. PostgreSQL has one set of names for these and for the protocol's Parse, Bind
 * and Close; so has a client here (wire/prepared_client.h): what one gives, the other finds.
 *
 *     EXECUTE a(1)         the statement that `a` means is prepared on the connection, if it is not
 *                          there, and the text goes out as EXECUTE hf_7(1) (wire/retext.h)
 *     DEALLOCATE a         a name without a meaning, hf__0, is prepared and deallocated in its
 *                          place; once the server has said DEALLOCATE, the client's name is gone.
 *                          The connection keeps the statement for the next one who has its text
 *     PREPARE a (int) AS   prepared as hf__0; when the server has said PREPARE, it is asked for the
 *                          types of the parameters, and the client's name stands for the text and
 *                          these types, as after a Parse. hf__0 is closed again
 *     DEALLOCATE ALL       goes as it is: wire/prepared.h sees by its tag what it does
 *
 * What the server says decides, and in its own words: what fails is named as the client named it,
 * and the place in the text is the place in the client's text. A name that the client does not
 * have goes out unchanged, for the server to refuse; one that it has twice is sent as one that is
 * there, to be refused too.
 *
 *     IDLE --Query--> QUERY --its ReadyForQuery--> ASKING --all answered--> IDLE
 *       |                                            ^
 *       `--Parse--> IDLE, armed --Execute--> EXECUTING    (types, and what is to be closed)
 *
 * One text is under way at a time: it waits until the server owes nothing, and what the client says
 * behind it waits until it is settled, save for what ends or hurries a pipeline (Sync, Flush). So
 * whatever a text finds in the maps is certain. Only its own statements depend on each other, and
 * those are told apart while it is read: EXECUTE behind a PREPARE in the same string.
 *
 * An EXECUTE that a client has prepared by a Parse with a name ("EXECUTE a(1)" as s1, as psycopg
 * does with what it runs often) is an alias: before each Bind of s1, `a` is prepared.
 *
 * Memory: none for a client that never does this; from its first text on, one struct.
 */
#ifndef HF_PROXY_SQL_PREPARED_H
#define HF_PROXY_SQL_PREPARED_H

#include "proxy/relay_int.h"
#include "wire/replies.h"

struct client;
struct server;

/* A Query or a Parse, in a pool that is not in session mode. RELAY_PASS: there is nothing of this
 * in it, and it goes on like any other. */
enum relay_step sql_prepared_from_client(struct client *client, struct relay_run *run,
                                         const struct frame_part *part);

/* The same of one that had to be put together: client->assembly. */
enum relay_step sql_prepared_assembled(struct client *client, struct relay_run *run);

/* A client that has a struct sql_prepared says something. RELAY_PASS: it may. */
enum relay_step sql_prepared_before(struct client *client, struct relay_run *run,
                                    const struct frame_part *part);

/* It was sent. */
void sql_prepared_sent(struct client *client, char type);
/* Another text takes the place of the unnamed statement. */
void sql_prepared_disarm(struct client *client);

/* A client without a server connection asks for what takes none: to forget a name. True: it was
 * answered, and the message taken. */
bool sql_prepared_alone(struct client *client, const struct frame_part *part);

/* A message of the server for a client that has a struct sql_prepared, accounted for. True: it is
 * not forwarded, as something else was put in its place. */
bool sql_prepared_from_server(struct server *server, struct relay_run *run,
                              const struct frame_part *part, const struct replies_verdict *verdict);
void sql_prepared_dropped(struct server *server, const struct replies_dropped *dropped);
/* All that was dropped has been told, and the client was told what was said. False: the pair is no
 * more. */
bool sql_prepared_after(struct server *server);

/* The server connection is lost; the client is. */
void sql_prepared_lost(struct client *client);
void sql_prepared_left(struct client *client);

#endif
