/*
 * Prepared statements in the relay: carries out what wire/prepared.h decides, for a client and the
 * server connection it has. In session mode nothing here does anything, as then both sides' names
 * are the same.
 */
#ifndef HF_PROXY_PREPARE_H
#define HF_PROXY_PREPARE_H

#include "proxy/relay_int.h"
#include "wire/replies.h"

struct client;
struct server;

/* A Parse, Bind, Describe or Close of the client. */
enum relay_step prepare_from_client(struct client *client, struct relay_run *run,
                                    const struct frame_part *part);

/* A request with this tag has ended well; one about the unnamed statement, well or not. */
void prepare_ended(struct server *server, uint32_t tag);

/* A message of the server that was accounted for: it may settle what was prepared. True: it is not
 * forwarded, as something else was put in its place. */
bool prepare_from_server(struct server *server, struct relay_run *run,
                         const struct frame_part *part, const struct replies_verdict *verdict);
void prepare_dropped(struct server *server, const struct replies_dropped *dropped);
/* Replies that we owe the client ourselves and that are due: made as far as there is room. False:
 * there are more of them; LOOP_DRAINED of the client follows, and before that nothing of the server
 * may be looked at. */
bool prepare_answer(struct server *server);

/* A message of the client that was kept is sent once more. False: no memory. */
bool prepare_again(struct client *client, const struct frame_part *part);

/* A Parse of the unnamed statement, or a Query, goes to the server (PREPARED_TAG_UNNAMED). Each has
 * a number of its own: a client may have left older statements on other connections. */
void prepare_note_unnamed(struct client *client);

/* A Sync, Query or FunctionCall was sent. */
void prepare_synced(struct server *server);

/* What goes to the server ahead of everything else is sent as far as there is room. False: there is
 * more of it, and nothing may pass it. */
bool prepare_flush(struct server *server);

/* The client is in the middle of a Parse that has to be put together; `run` is empty. */
enum relay_step prepare_assemble(struct client *client, struct relay_run *run);

/* Lives of maps: of a connection that is ready, and lost; of a client that ends, after
 * replies_detach() of the connection that it had (NULL: none). */
void prepare_begin(struct server *server);
void prepare_lost(struct server *server);
void prepare_left(struct server *server, struct client *client);

#endif
