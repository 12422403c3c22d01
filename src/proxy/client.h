/*
 * A client's session, from its first byte to its last.
 *
 *     STARTUP --SSLRequest--> SECURING --> STARTUP        what is spoken, and who it is
 *        |  `--CancelRequest--> gone
 *        v
 *     AUTHENTICATING --> ENTERING --> IDLE <----> WAITING --> ACTIVE (has a server connection)
 *                          waits for a    \                      |
 *                          connection, for `- REFUSED: what it asked is answered with an error,
 *                          its greeting       what it pipelined behind is skipped to the next Sync
 *
 *     CLOSING: from anywhere; what is to be said is sent first
 *
 * An idle client is this struct and nothing else: no buffers, no place in a queue. Logging in and
 * waiting borrow what they need.
 *
 * Belongs to one worker's thread.
 */
#ifndef HF_PROXY_CLIENT_H
#define HF_PROXY_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/timerq.h"
#include "net/loop.h"
#include "wire/frame.h"

struct admin_session;
struct admission;
struct assembly;
struct limited;
struct session;
struct listening;
struct pool_part;
struct prepared_client;
struct query_watch;
struct server;
struct sql_prepared;
struct wait;
struct worker;

#define CLIENT_KEY_SIZE 32 /* of protocol 3.2; 3.0 uses the first four bytes */

enum client_state {
    CLIENT_STARTUP,
    CLIENT_SECURING,
    CLIENT_AUTHENTICATING,
    CLIENT_DELAYED, /* its login was refused, and it is not told yet */
    CLIENT_ENTERING,
    CLIENT_IDLE,
    CLIENT_WAITING,
    CLIENT_ACTIVE,
    CLIENT_REFUSED,
    CLIENT_ADMIN, /* talks to the console (admin.h) */
    CLIENT_CLOSING,
};

struct client {
    struct stream stream; /* kind STREAM_CLIENT */
    struct timer timer;
    struct list_node link; /* of worker->sessions */
    struct worker *worker;
    struct pool_part *part;           /* from ENTERING on */
    struct server *server;            /* ACTIVE */
    struct wait *wait;                /* WAITING, or AWAITING a connection */
    struct admission *admission;      /* until IDLE */
    struct prepared_client *prepared; /* NULL: has none */
    struct admin_session *console;    /* ADMIN (admin_say.h) */
    struct assembly *assembly;        /* NULL: no message is being put together */
    struct limited *limited;          /* NULL: is in no group that has limits */
    struct query_watch *watch;        /* NULL: its queries are not logged */
    struct session *session;          /* see session_state.h; NULL: it has changed nothing */
    struct sql_prepared *sql;         /* NULL: has never prepared by SQL */
    struct listening *listening;      /* NULL: it listens to nothing, or in session mode */
    int64_t connected_ns;
    int64_t since_ns;   /* in this state */
    int64_t request_ns; /* when its request came; 0: it has none under way */
    int64_t transaction_ns;
    int64_t rested_ns;     /* when its last request was answered */
    uint64_t sequence;     /* tells it from who has its memory later; 0: nobody has */
    uint64_t unnamed;      /* its last Parse of the unnamed statement, or Query, which ends it */
    uint64_t unnamed_kept; /* the same, as far as it is answered */
    struct frame frame;
    uint32_t pid;          /* of its BackendKeyData */
    uint32_t settings;     /* settings_set that it wants */
    uint32_t startup;      /* settings_set that it came with: what RESET goes back to */
    uint32_t greeted;      /* settings_set that it was told when it came */
    uint32_t told;         /* settings_set that it was told by ParameterStatus */
    uint32_t unnamed_acts; /* of its last Parse of the unnamed statement */
    uint32_t pins;         /* enum session_pin: why it keeps its connection */
    struct peer peer;
    uint8_t state;
    uint8_t key_size;
    uint8_t listener;  /* of proxy.listeners, by which it came: see door.h */
    uint8_t skips : 1; /* REFUSED: to the next Sync */
    uint8_t is_logged_in : 1;
    uint8_t is_special : 1; /* session mode: begun with switches that no other session has */
    uint8_t is_replication : 1;
    uint8_t is_tallied : 1; /* counted for its database and role */
    uint8_t is_leaving : 1; /* has said Terminate: what runs, runs on */
    char key[CLIENT_KEY_SIZE];
};

/* A connection was accepted, by that one of proxy.listeners. */
void client_accept(struct worker *worker, int fd, const struct peer *peer, uint32_t listener);

/* Events of its stream, and its timer. */
void client_event(struct client *client, const struct loop_event *event);
void client_timeout(struct client *client);

/* WAITING: its groups let it go on, to its pool. */
void client_admitted(struct client *client);
/* It got a server connection: see pool_want(). */
void client_attached(struct client *client);
/* It will get none. `words`: the ErrorResponse of the server that refused, or empty. */
void client_not_served(struct client *client, const struct hf_err *err, struct sv words);
/* The server connection that it had is gone. `is_mute`: nothing is said of it, as the server has
 * said it itself, or was in the middle of a message. */
void client_server_lost(struct client *client, const struct hf_err *err, bool is_mute);

/* IDLE: a request begins. False: it waits, or the client is gone. */
bool client_ask(struct client *client);

/* REFUSED: passes over what it asked. False: nothing more is in view, or the client is gone. */
bool client_skip(struct client *client);

/* It was told by the server itself what a parameter is now; and wants it so from now on. */
void client_told(struct client *client, struct sv name, struct sv value);

/* Its server connection has the settings that it wants. */
void client_ready(struct client *client);
/* Its server connection serves somebody else now. */
void client_released(struct client *client);

/* What the server reports now: tells the client what is new to it. */
void client_tell(struct client *client, uint32_t reported);

/* Counts it for its database and role; false: there are too many of one. */
bool client_tally(struct client *client, struct hf_err *err);

/* To the log: it is in. */
void client_log_begin(const struct client *client);

/* A request, or a whole transaction, begins and ends: for the limits of time. */
void client_begin_request(struct client *client);
void client_end_request(struct client *client, bool is_transaction_over);

/* It has said DISCARD ALL: its settings are those it came with. */
void client_discarded(struct client *client);

/* Another state, with the timer that belongs to it. */
void client_enter(struct client *client, enum client_state state);
/* That timer again: limits have changed. */
void client_watch(struct client *client);

/* A CancelRequest for it, whose key has been compared. */
void client_cancel(struct client *client);

/* Says the error and ends the connection. */
void client_fail(struct client *client, const struct hf_err *err);
/* Ends it without a word; `reason` is for the log. */
void client_close(struct client *client, const char *reason);

#endif
