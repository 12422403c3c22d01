/*
 * What the console has of a client that talks to it, and what it says: rows, tags, errors, in the
 * simple and in the extended protocol.
 *
 * An answer may be longer than there is room for in the client's stream; the rest is kept, and
 * flushed when there is room. So that this stays small, rows come in chunks, and the next one is
 * made when the last one has been taken (admin_gather.h).
 */
#ifndef HF_PROXY_ADMIN_SAY_H
#define HF_PROXY_ADMIN_SAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "proxy/admin_words.h"

struct admin_column;
struct client;
struct gather;

#define ADMIN_NAMED_MAX 256 /* prepared statements and portals of one console */

/* A prepared statement or a portal: both are a text, and what it says. */
struct admin_named {
    struct list_node link; /* of session->named */
    char kind;             /* S or P */
    bool is_binary;        /* P: rows are wanted in binary form */
    char name[64];
    struct admin_words words;
};

/* What a command waits for that takes long. */
enum admin_wait {
    ADMIN_WAIT_NONE,
    ADMIN_WAIT_RELEASE, /* PAUSE: until no server connection is left */
    ADMIN_WAIT_FLUSH,   /* SUSPEND: until nothing is on its way to clients */
    ADMIN_WAIT_CLOSE,   /* WAIT_CLOSE: until the tainted ones are gone */
    ADMIN_WAIT_ORDER,   /* RELOAD, SET: until the main thread has done it */
};

struct admin_session {
    char *output; /* owned; what is still to be sent */
    size_t output_size, output_sent;
    struct list named; /* struct admin_named */
    uint32_t named_count;
    struct gather *parked;              /* owned; goes on when the output has been sent */
    const struct admin_column *columns; /* of the rows that are being shown */
    char role[64], database[64];
    bool is_admin;      /* may change things */
    bool is_pgbouncer;  /* has come by PgBouncer's name */
    bool is_extended;   /* the message at hand is of the extended protocol */
    bool is_asking;     /* an answer is being made */
    bool skips;         /* to the next Sync, after an error */
    bool is_in_block;   /* has said BEGIN; nothing depends on it but ReadyForQuery */
    bool is_binary;     /* rows are wanted in binary form */
    bool has_suspended; /* all clients: to be undone if it goes */
    enum admin_wait wait;
    const char *tag;    /* what ends the wait is told with it */
    char target[64];    /* the database that is waited for; "": all */
    int64_t poll_at_ns; /* when to look again */
    int64_t until_ns;   /* when the wait has been long enough */
    uint64_t order;     /* ORDER: its number */
    char said[ADMIN_ARGUMENT_SIZE + ADMIN_VALUE_SIZE + 8]; /* the tag of a SET */
};

/* Sends what was kept. False: there is more. */
bool say_flush(struct client *client);

void say_columns(struct client *client, const struct admin_column *columns);
/* DataRow messages, whose cells are texts; made binary where that was asked for. */
void say_rows(struct client *client, struct gather *gather);
/* Ends the answer: CommandComplete (a tag of "" is the answer to an empty query), and with the
 * simple protocol ReadyForQuery. */
void say_end(struct client *client, const char *tag);
void say_error(struct client *client, const struct hf_err *err);
void say_notice(struct client *client, const char *text);
/* A message that is nothing but its type, or (Z) ReadyForQuery. */
void say_empty(struct client *client, char type);
/* ParameterDescription of none. */
void say_no_parameters(struct client *client);

#endif
