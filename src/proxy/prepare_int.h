/*
 * What the two files that prepare statements share: prepare.c for the protocol's messages,
 * sql_prepared.c for those of SQL.
 */
#ifndef HF_PROXY_PREPARE_INT_H
#define HF_PROXY_PREPARE_INT_H

#include "proxy/prepare.h"
#include "sql/lex.h"
#include "wire/prepared.h"

struct worker;

/* A message that is longer than a view, put together: its text has to be known as a whole. */
struct assembly {
    size_t size;
    size_t filled;
    bool is_sql; /* a text for sql_prepared.c, to be read by these rules */
    struct lex_rules rules;
    char bytes[];
};

/* Takes what is in view of such a message, which nothing stands before. */
enum relay_step prepare_begin_assembly(struct client *client, struct relay_run *run,
                                       const struct frame_part *part);
/* One of so many bytes, for the caller to fill, in place of what there is; NULL: no memory. */
struct assembly *prepare_new_assembly(struct client *client, size_t size);
/* It is gone: dealt with. */
void prepare_drop_assembly(struct client *client);

/* A client's map, its server connection's (NULL: it has none), and the store. */
struct prepared prepare_meet(struct server *server, struct client *client);

/* Sends, or keeps what finds no room. False: no memory. */
bool prepare_emit(struct server *server, struct sv bytes);

/* The worker's scratch, empty and with so much room; NULL: no memory. */
struct buffer *prepare_scratch(struct worker *worker, size_t size);

/* The server is asked for what it owes, so that there is room again, or certainty. */
enum relay_step prepare_wait(struct server *server, struct relay_run *run);

/* The client's session ends for want of memory. */
enum relay_step prepare_out_of_memory(struct client *client);

/* The server connection will have the statement that a name of its client means. `whose`: what is
 * sent for it; REPLIES_STANDIN if something of the client fails with it, else REPLIES_OURS. */
enum prepare_found {
    PREPARE_FOUND,   /* plan: prepared_plan_name(); what was sent, and behind that a use of it */
    PREPARE_UNKNOWN, /* the client has none of this name */
    PREPARE_NO_ROOM, /* the connection has others that it needs at the same time */
    PREPARE_FAILED,  /* no memory, or the connection is over */
};

enum prepare_found prepare_provide(struct client *client, struct sv name, enum replies_whose whose,
                                   struct prepared_plan *plan);

/* The statement of this text and these types, held; STATEMENTS_NONE: there is no room for it. */
uint32_t prepare_text(struct client *client, struct sv text, struct sv types);

/* The client has room for this name too. */
enum prepare_room {
    PREPARE_HAS_ROOM,
    PREPARE_TOO_MANY,
    PREPARE_NO_MEMORY,
};

enum prepare_room prepare_name(struct client *client, struct sv name);

#endif
