/*
 * Prepared statements over pooled connections: what becomes of a client's Parse, Bind, Describe and
 * Close, so that it finds its statements on whatever server connection it has, and sees the replies
 * that PostgreSQL itself would give.
 *
 * A client's name leads to a statement (prepared_client.h), a statement is one copy of a text
 * (statements.h), and each server connection has some statements under names of ours, "hf_" and the
 * id in base 36 (prepared_server.h). This file decides. For each message of a client:
 *
 *     struct prepared prepared = {.names = &client->prepared, .server = ..., ...};
 *     switch (prepared_bind(&prepared, &bind, &plan)) {
 *     case PREPARED_PASS:        as it is
 *     case PREPARED_RENAME:      with plan.name in place of its name: message_rename()
 *     case PREPARED_LOCAL:       not sent: answered here, when replies_next_local() says so
 *     case PREPARED_INSTEAD:     not sent: what lies in `ahead` stands for it
 *                                these four: replies_send() each of plan.requests, in order; send
 *                                what was put into `ahead`; then the message
 *     case PREPARED_WAIT:        not now: send a Flush if replies_rest() says REPLIES_OPEN, and ask
 *                                again when the server has said more
 *     case PREPARED_ROOM:        ask again when `ahead` has room for plan.size bytes
 *     case PREPARED_STORE:       ask again with the store, its mutex held
 *     case PREPARED_GROW_STORE:  give the store what it wants (statements_want()), ask again
 *     case PREPARED_GROW_NAMES:  give the client a map of plan.names, plan.size bytes; ask again
 *     }                          from PREPARED_WAIT on, nothing has changed
 *
 * and for what the accounting of replies (replies.h) says of requests that have a tag:
 *
 *     it has ended well, or its local reply was made        prepared_done()
 *     it has ended with an error                            prepared_failed()
 *     it was dropped (replies_next_dropped)                 prepared_undone()
 *
 * Tags. prepared_is_change(tag): something hangs on its outcome, and the calls above are due, with
 * the mutex held. prepared_is_use(tag): a Bind or Describe of a statement that was there; nothing
 * is due. A Parse of the unnamed statement, a Query, which ends that, and our own Close of it have
 * PREPARED_TAG_UNNAMED, and are the relay's own business. All its other requests have tag 0.
 *
 * What is sent ahead is a Close of ours for a statement that must go, then a Parse of ours for one
 * that the server lacks. Both are REPLIES_STANDIN: the client sees nothing of them but an error, as
 * what it asked for fails with them.
 *
 * Confirmed or not. What stands in the maps is what will be once everything that was sent is done,
 * so that later messages of a pipeline find what earlier ones prepare. Each change waits in a ring
 * until the server has confirmed it. If it fails or is skipped, it is taken back, with all later
 * changes of the same name or statement: these lie behind it, before the same Sync, and are skipped
 * too. That they never lie behind another Sync is what PREPARED_WAIT is for: whether a name or a
 * statement is there that a part of the pipeline before a Sync has changed cannot be known before
 * that change is settled. The server answers what lies before a Sync without being asked, so the
 * wait ends.
 *
 * What PostgreSQL would say
 *  - A Parse of a text that the server has is answered here. Not so if the transaction may have
 *    failed before: in a failed one, and behind a Sync or Query that was not answered. There the
 *    statement is closed and the Parse sent, so that the server judges it.
 *  - A Parse of a name that the client has: PostgreSQL analyses the text first, and says 42P05
 * then. So a Parse of ours makes sure that the server has the text, or tells its error; and the
 *    client's own goes to the same server name, where it must fail with 42P05, in which
 *    prepared_failed() puts the client's name.
 *  - A Bind or Describe of a name that the client does not have goes through under that name, and
 *    the server says 26000 in its own words. Should the server have a statement of ours under just
 *    that name, it is closed before.
 *  - A Close always succeeds, so it is answered here; the server keeps the statement for the next
 *    client. Portals are none of our business, nor is the unnamed statement.
 *  - In a failed transaction a Parse of ours fails as the client's Bind would, with 25P02. Only a
 *    Describe of a statement that gives no rows would succeed there, and does not if the server
 *    lacks the statement.
 *  - Limits. A Parse beyond names_max or the store's memory must fail in its turn: a Describe of
 *    "hf_", which never exists, is sent in its place, and prepared_failed() says why.
 *  - DISCARD ALL and DEALLOCATE ALL are seen by their command tags: prepared_discarded(). Behind
 *    one that was executed in the same pipeline, with no Sync in between, a Parse that is answered
 *    here cannot know of it: the Bind that follows fails with 26000, and the next one succeeds.
 *  - What SQL does to single statements (PREPARE, EXECUTE, DEALLOCATE) is not seen here. Who sees
 *    it sends such texts with our names in place of the client's, while nothing is unconfirmed, and
 *    tells what came of them: prepared_define(), prepared_undefine(). Names of the server that
 *    begin with "hf_" belong to us, and who takes one spoils that connection only.
 *
 * "cached plan must not change result type" is an error of a Bind or Describe whose table was
 * changed. prepared_is_stale() recognises it; prepared_forget() makes the next Bind close and
 * prepare the statement anew. The relay can hide it from the client if it
 *  - kept what the client sent from that request to its Sync, and the Sync was sent;
 *  - knew when the pipeline began that no transaction was open (status I, nothing unanswered), and
 *    nothing before that request in the same pipeline was executed, since the Sync rolls it back;
 *  - has shown the client nothing of that request (an error to a Describe may follow its 't').
 * Then it swallows the error and the ReadyForQuery, takes the requests that were dropped as
 * dropped, calls prepared_forget(), and handles the kept messages as if they came now: once. If it
 * cannot, it forwards the error and calls prepared_forget() all the same, and the client's next
 * attempt succeeds.
 *
 * Invariants
 *  1. When nothing is unconfirmed, the maps say what the server has, and what the client would have
 *     on a connection of its own.
 *  2. An id in a map is held in the store: once for each name, each server connection, and each
 *     change that may have to be taken back.
 *  3. A statement with an unconfirmed change is never closed to make room. One that was used in the
 *     pipeline now under way is the last to be.
 *  4. Calls of one client and its server connection come from one thread. The store is shared: it
 *     is touched only where its mutex is said to be held.
 */
#ifndef HF_WIRE_PREPARED_H
#define HF_WIRE_PREPARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/hash.h"
#include "wire/message.h"
#include "wire/prepared_client.h"
#include "wire/prepared_server.h"
#include "wire/replies.h"
#include "wire/statements.h"

/* Who meets: put together for a call. */
struct prepared {
    struct prepared_client *client; /* NULL: it has prepared nothing, or is gone */
    struct prepared_server *server; /* of the connection it has; NULL where the call says so */
    struct statements *store;       /* its mutex is held; NULL: it is not */
    const struct replies *replies;  /* of the connection */
    struct buffer *ahead;           /* empty; what is to be sent first is put there */
    const struct hash_key *key;     /* of the process, for clients' names */
    uint16_t names_max;             /* for a client; at most PREPARED_NAMES_MAX */
    bool is_noted;                  /* of a Parse: its text is to be noted */
};

enum prepared_do {
    PREPARED_PASS,
    PREPARED_RENAME,
    PREPARED_LOCAL,
    PREPARED_INSTEAD,
    PREPARED_WAIT,
    PREPARED_ROOM,
    PREPARED_STORE,
    PREPARED_GROW_STORE,
    PREPARED_GROW_NAMES,
};

#define PREPARED_SERVER_NAME_SIZE 12

struct prepared_plan {
    struct replies_request requests[3]; /* the client's is the last one */
    uint8_t count;
    char server_name[PREPARED_SERVER_NAME_SIZE]; /* for RENAME: see prepared_plan_name() */
    uint8_t server_name_size;
    bool is_noted;              /* of a Bind: its statement's text was noted */
    size_t size;                /* for ROOM and GROW_NAMES */
    struct prepared_room names; /* for GROW_NAMES */
};

/* The name to put in, in the plan. */
static inline struct sv prepared_plan_name(const struct prepared_plan *plan)
{
    return sv_from(plan->server_name, plan->server_name_size);
}

/* ---- Messages of the client, in the order in which they are sent ---- */

/* With the store; without it only an unnamed statement is dealt with. */
enum prepared_do prepared_parse(const struct prepared *prepared, const struct message_parse *parse,
                                struct prepared_plan *plan);

/* The store is needed only if they say PREPARED_STORE. */
enum prepared_do prepared_bind(const struct prepared *prepared, const struct message_bind *bind,
                               struct prepared_plan *plan);
enum prepared_do prepared_describe(const struct prepared *prepared,
                                   const struct message_target *target, struct prepared_plan *plan);

/* Without the store. */
enum prepared_do prepared_close(const struct prepared *prepared,
                                const struct message_target *target, struct prepared_plan *plan);

/* A Sync, Query or FunctionCall was sent, anybody's; it will be answered by a ReadyForQuery. */
static inline void prepared_sync(struct prepared_server *server)
{
    server->segment++;
    server->behind++;
}

/* A ReadyForQuery has come, and was accounted for. Of Syncs in a COPY not each one is answered, so
 * what is behind is counted anew when nothing is owed. */
static inline void prepared_ready(struct prepared_server *server, const struct replies *replies)
{
    if (replies_room(replies) == replies->capacity || server->behind == 0)
        server->behind = 0;
    else
        server->behind--;
}

/* ---- What became of them ---- */

#define PREPARED_TAG_USE     (UINT32_C(1) << 31)
#define PREPARED_TAG_UNNAMED UINT32_MAX

static inline bool prepared_is_change(uint32_t tag)
{
    return tag != 0 && tag < PREPARED_TAG_USE;
}

static inline bool prepared_is_use(uint32_t tag)
{
    return tag >= PREPARED_TAG_USE && tag != PREPARED_TAG_UNNAMED;
}

/* The request with this tag, a change, has ended well. With the store. */
void prepared_done(const struct prepared *prepared, uint32_t tag);

/* It was dropped. With the store. */
void prepared_undone(const struct prepared *prepared, uint32_t tag);

/* It has ended with an error. True: the client gets `err` in place of the error. With the store. */
bool prepared_failed(const struct prepared *prepared, uint32_t tag,
                     const struct message_error *error, struct hf_err *err);

/* The client's command had this tag; true and done if it was one that drops all statements. With
 * the store. */
bool prepared_is_discard(struct sv command);
void prepared_discarded(const struct prepared *prepared);

/* See above. `tag`: of the Bind or Describe that failed; with any other one nothing happens. */
bool prepared_is_stale(const struct message_error *error);
void prepared_forget(struct prepared_server *server, uint32_t tag);

/* ---- Names given and taken by SQL, once the server has said so ---- */

/* While no change is unconfirmed. The client has a statement of this name. */
bool prepared_is_defined(const struct prepared *prepared, struct sv name);

/* The name means this statement from now on, whose hold the name takes over. There is room for it
 * in the client's map (prepared_client_fits). With the store. */
void prepared_define(const struct prepared *prepared, struct sv name, uint32_t id);

/* It means nothing any more. With the store. */
void prepared_undefine(const struct prepared *prepared, struct sv name);

/* ---- Ends ---- */

/* We have reset the connection by DISCARD ALL, and nothing is unanswered; or the connection is
 * gone, and what was not answered never will be: it is taken back for the client too, unless it is
 * gone (NULL). The server's map is empty afterwards. With the store. */
void prepared_reset(const struct prepared *prepared);

/* The client leaves; after replies_detach(). Its map is of no use afterwards, and can be freed.
 * `server` is the connection it had, if it had one. With the store. */
void prepared_leave(const struct prepared *prepared);

#endif
