/*
 * "cached plan must not change result type": a table was changed under a prepared statement.
 * Outside of a transaction the client need not see that: the statement is prepared once more, and
 * what the client asked is done again (wire/prepared.h says when that is right).
 *
 *     cure_note     each message of a client, before it is sent: those of a pipeline that begins
 *                   with a Bind while nothing is open or owed are kept, up to its Sync
 *     cure_begin    the Bind was refused so, and the client has seen nothing of the pipeline: the
 *                   error and the ReadyForQuery behind it are swallowed
 *     cure_replay   the kept messages are sent as if they came now; once
 *
 * A pipeline that is longer than CURE_MAX, or followed by more before it is answered, is not kept;
 * then the client gets the error, and its next attempt succeeds.
 */
#ifndef HF_PROXY_CURE_H
#define HF_PROXY_CURE_H

#include <stdbool.h>

#include "wire/frame.h"
#include "wire/replies.h"

struct client;
struct server;

#define CURE_MAX 4096

void cure_note(struct client *client, const struct frame_part *part);
/* The message that was noted last is not sent yet: it will come again. */
void cure_unnote(struct server *server);

/* Something of the pipeline is shown to the client. */
void cure_shown(struct server *server);

bool cure_begin(struct server *server, const struct replies_verdict *verdict);
/* The ReadyForQuery was swallowed. False: the client is gone. */
bool cure_replay(struct server *server);

void cure_end(struct server *server);

#endif
