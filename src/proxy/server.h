/*
 * A server connection: from connecting to its end.
 *
 *     server_open --> CONNECTING --> LOGIN --READY--> (IDLE) <---> ACTIVE with a client
 *                          |           |                ^            |
 *                          `-----------+--> failed      |            | the client left
 *                                                       `- CLEANING <-'   rollback, reset, drain;
 *                                                            |            under a deadline
 *                                                            v
 *     CLOSING <--- server_close, from anywhere --------------'
 *
 * IDLE means: replies_is_clean(), nobody is attached, and no cancel of it is on its way. Only then
 * may another client have it. What it sends while IDLE is looked at: news of a parameter is kept,
 * anything else ends the connection.
 *
 * The first ReadyForQuery, and the accounting of replies (wire/replies.h) from there on, decide
 * whose every message is. proxy/relay.h moves the bytes while a client is attached or a connection
 * is being cleaned.
 *
 * Belongs to one worker's thread; moves to another one only while IDLE (pool.h).
 */
#ifndef HF_PROXY_SERVER_H
#define HF_PROXY_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/timerq.h"
#include "core/bulkhead_mt.h"
#include "net/loop.h"
#include "proxy/statement_note.h"
#include "sql/lex.h"
#include "wire/frame.h"
#include "wire/message.h"
#include "wire/replies.h"

struct client;
struct endpoint;
struct cure;
struct login_task;
struct pending;
struct prepared_server;
struct pool_part;

#define SERVER_RUNS        256 /* runs of requests that may be owed */
#define SERVER_KEY_MAX     256
#define SERVER_NOTICES_MAX 4096 /* bytes of a login's notices; what is beyond is not told */

enum server_state {
    SERVER_CONNECTING, /* also: looking up its name, being secured */
    SERVER_LOGIN,
    SERVER_IDLE,
    SERVER_ACTIVE,   /* a client has it */
    SERVER_CLEANING, /* the client left something behind, or a cancel is still on its way */
    SERVER_LEAVING,  /* on the way to another worker */
    SERVER_CLOSING,
};

/* What is done about channels before its client goes on: see listen.h. */
enum server_listen {
    SERVER_LISTEN_REST,
    SERVER_LISTEN_PRIMING, /* it was told to listen to what its client listens to */
    SERVER_LISTEN_DUE,     /* it is to be asked what it listens to; a ReadyForQuery is held back */
    SERVER_LISTEN_ASKED,
    SERVER_LISTEN_WAITING, /* for the hub to listen to that too */
};

enum server_primed {
    SERVER_PRIMED_NO,
    SERVER_PRIMED,        /* what it listens to is what its client listens to */
    SERVER_PRIMED_FAILED, /* it would not */
};

/* Whether messages wait so that a ReadyForQuery can be held back. */
enum server_expects {
    SERVER_EXPECTS_NOT,
    SERVER_EXPECTS_SYNC, /* those behind the next Sync will */
    SERVER_EXPECTS,
};

/* NoticeResponses of a login, whole. */
struct server_notices {
    size_t size;
    char bytes[SERVER_NOTICES_MAX];
};

struct server {
    struct stream stream; /* kind STREAM_SERVER */
    struct timer timer;   /* of connecting, logging in, cleaning */
    struct list_node link;
    struct pool_part *part;
    struct client *client;         /* attached; or, in session mode, whom the login is for */
    struct endpoint *endpoint;     /* held */
    struct login_task *login;      /* while LOGIN */
    struct bulkhead_permit permit; /* of the client, or of the one that left */
    struct frame frame;
    struct replies replies;
    struct prepared_server *prepared; /* NULL: has none */
    struct server_notices *notices;   /* of the login, for the greeting; NULL: none */
    struct cure *cure;                /* see cure.h; NULL: nothing was ever kept */
    struct pending *pending;          /* bytes to be sent before all others; NULL: none */
    uint32_t settings;                /* settings_set that were applied */
    uint32_t reported;                /* settings_set that it reports */
    uint32_t startup;                 /* settings_set that it was started with */
    uint32_t acts;          /* what was sent since its session was known (session_state.h) */
    uint32_t refused;       /* acts: the next error is put in our words */
    struct lex_rules rules; /* of its session's texts */
    uint32_t cancels;       /* of it that are on their way */
    uint32_t pid;
    uint16_t key_size;
    uint8_t state;
    bool passes; /* the message at hand goes to the client */
    /* What makes the path of bytes another one than usual, to be seen by one look: mostly none. */
    union {
        uint64_t unusual;
        struct {
            bool is_syncing;    /* ACTIVE: the settings of its client are on their way */
            bool is_asking;     /* ACTIVE: a census of its session is under way */
            bool is_blind;      /* ACTIVE in session mode: messages pass without being accounted */
            bool is_discarding; /* what it reports now is not its client's: see relay.c */
            bool is_curing;     /* a pipeline will be sent again; its first answer is swallowed */
            bool is_spanning;   /* statement mode: its client has begun a transaction block */
            uint8_t listen;     /* enum server_listen */
            uint8_t expects;    /* enum server_expects */
        };
    };
    bool is_answered;    /* a query of ours has been */
    bool is_tainted;     /* not to be used again: lifetime over, RECONNECT, its host has changed */
    bool in_budget;      /* counted by the budget of server connections */
    bool asked_reset;    /* CLEANING: the reset has been sent */
    bool is_failed;      /* an error came in answer to something of ours */
    bool is_started;     /* its stream was: it ends with LOOP_GONE */
    bool is_special;     /* started with what no other session has: for one client alone */
    bool leaves_for_beg; /* LEAVING: as the answer to a WORKER_BEG */
    bool was_told;       /* the client got the server's last words */
    bool has_cancelled;  /* CLEANING: its query was cancelled */
    bool is_listening;   /* it listens, or may: UNLISTEN before another client has it */
    bool has_listened;   /* in the running transaction, or UNLISTEN */
    bool is_held;        /* a ReadyForQuery for its client is held back */
    uint8_t tries;       /* of a question of ours, as a cancel may hit that */
    uint8_t primed;      /* enum server_primed */
    struct list_node *primes; /* PRIMING: the first of its client's channels not asked for yet */
    uint64_t unnamed;         /* what was done last to its unnamed statement: client->unnamed */
    uint64_t unnamed_kept;    /* the same, as far as it is answered */
    uint32_t unnamed_owed;    /* sent and not answered: what changes the unnamed statement */
    bool is_synced_since;     /* a Sync follows one of them */
    uint64_t sequence;        /* tells it from all others, and from clients: see admin_id() */
    uint64_t opener;          /* sequence of the client that it was opened for; 0: for all */
    struct pool_part *to;     /* LEAVING: where to */
    struct hf_err last_error; /* that the server said in answer to us */
    int64_t connected_ns;
    int64_t wanted_ns;  /* ACTIVE: since when its client has waited for it; 0: it has not, or that
                         * was an earlier request */
    int64_t since_ns;   /* in this state */
    int64_t expires_ns; /* its lifetime ends */
    struct address address;
    struct statement_note note; /* the last statement of its client, in note_bytes */
    char note_bytes[STATEMENT_NOTE_SIZE];
    char key[SERVER_KEY_MAX];
    struct replies_run runs[SERVER_RUNS];
};

/* Another state, and the list that belongs to it. */
void server_enter(struct server *server, enum server_state state);

/* Events of its stream. */
void server_event(struct server *server, const struct loop_event *event);
/* Its timer. */
void server_timeout(struct server *server);

/* Attaches a client to an idle connection. */
void server_attach(struct server *server, struct client *client);
/* The client is gone, or done: makes the connection idle again, now or after cleaning it. */
void server_detach(struct server *server);

/* CLEANING: looks whether it rests now, and asks for what is missing. */
void server_clean(struct server *server);

/* Ends it. `reason` is for the log, and for the client that is attached. */
void server_close(struct server *server, const struct hf_err *reason);

/* Asks in our own name, by questions (wire/question.h), which leave the client's unnamed statement
 * as it is: one, up to 200 bytes long; or so many, behind which the Sync is put. Nobody sees the
 * answers, after which is_answered is set, and is_failed if there was an error. False: no room now.
 */
bool server_ask_question(struct server *server, struct sv text);
bool server_ask_questions(struct server *server, struct sv questions, uint32_t count);

/* An error was the answer to a question of ours: whether it was a cancel of the client, which came
 * too late for what it was meant for, and the question is to be put again. */
bool server_was_cancelled(struct server *server);

/* ACTIVE, REPLIES_DOUBTFUL: finds out whether the doubtful reply comes. */
void server_settle(struct server *server);

/* ACTIVE: its client has a part of a message, and the rest is still to come. */
bool server_is_speaking(const struct server *server);

/* ACTIVE: brings its client's settings there, if they are not; and our query for that was answered.
 * False: the pair is no more. */
bool server_sync(struct server *server);
bool server_synced(struct server *server);

/* An error that it said: the last one is remembered for the log. */
void server_note_error(struct server *server, const struct message_error *error);

/* IDLE: to another worker's part; and from one. */
void server_leave(struct server *server, struct pool_part *to, bool for_beg);
void server_adopt(struct server *server, struct pool_part *part, int fd);

/* What it reports changes: kept; under proxy->lock. */
void server_report(struct server *server, struct sv name, struct sv value);

#endif
