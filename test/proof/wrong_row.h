/*
 * The wrong-row checker: hundreds of clients of a pooler, each of which knows what it has asked.
 *
 * A client works in turns. A turn is a batch of messages sent at once and the list of replies that
 * are owed for it, in order (struct owed). Every item of a turn has a token of its own, by which
 *
 *     each row          repeats the token, and its number among the rows of the item
 *     each tag          says how many rows they were
 *     each error        quotes it, where the item is one that must fail
 *     ReadyForQuery     comes once for each Sync and each simple query, with the right status
 *
 * Some of what is asked is what the client has set before (SET app.token): it must come back, and
 * not another client's, whatever connection the question runs on.
 *
 * So a reply that belongs to another client, to another turn or to another place in the pipeline is
 * found at once, and so is one that is lost or comes twice. Meanwhile clients do what clients do:
 * they leave results half-read, send half a message, cancel at any moment, set timeouts, and
 * vanish; and whoever runs this kills and restarts the servers. Errors that such things bring are
 * counted; anything else ends the run with the evidence.
 *
 *     wrong_row.c        sockets, time, the end of the run
 *     wrong_row_turn.c   what a client asks
 *     wrong_row_check.c  whether an answer is the one
 */
#ifndef HF_WRONG_ROW_H
#define HF_WRONG_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ns.h"
#include "base/rng.h"

#define OWED_MAX    96
#define OUT_SIZE    (128 * 1024)
#define IN_SIZE     (128 * 1024)
#define TOKEN_SIZE  64
#define NAMES_MAX   6
#define HISTORY_MAX 24
/* How long after a cancel was sent it may still arrive: at the client's own next query, that is. */
#define CANCEL_LATE_NS HF_SEC(3)

/* What is owed for one item of a turn. */
struct owed {
    /* The types of its messages in order. D and d stand for as many as `rows` says, none included;
     * E is an error that quotes the token; Z is ReadyForQuery. */
    const char *script;
    uint32_t item; /* of its token */
    uint32_t rows;
    const char *tag;  /* the word of its CommandComplete; static */
    uint32_t padding; /* letters that follow the token in each row */
    int8_t name;      /* of the statement that is prepared by it, -1: none */
    bool has_count;   /* the tag ends in the number of rows */
    bool sets;        /* with its tag, the token is what app.token is for this session */
    bool is_set;      /* its rows repeat that, in place of a token of their own */
    bool may_time_out;
};

enum phase {
    PHASE_AWAY, /* not connected; until wake_ns */
    PHASE_CONNECTING,
    PHASE_LOGIN,
    PHASE_READY, /* between turns; until wake_ns */
    PHASE_TURN,
};

struct client {
    uint32_t id;
    int fd;
    enum phase phase;
    struct rng rng;
    int64_t wake_ns;
    uint32_t events; /* asked of epoll */

    /* The turn. */
    uint32_t turn;
    uint64_t salt; /* of its tokens */
    const char *turn_name;
    struct owed owed[OWED_MAX];
    uint32_t owed_count;
    uint32_t at;          /* owed[at] is the next to be answered */
    uint32_t script_at;   /* in its script */
    uint32_t rows_seen;   /* of it */
    bool is_skipping;     /* an error came: nothing but ReadyForQuery until the next Z */
    bool has_failed;      /* an error came in this turn */
    bool is_dying;        /* a FATAL came: the connection is to be closed by the other side */
    int64_t turn_ns;      /* when it began */
    int64_t pause_ns;     /* nothing is read before */
    size_t pause_after;   /* bytes received in this turn, before reading pauses; 0: does not */
    size_t drop_after;    /* bytes received, before the client vanishes; 0: does not */
    size_t hold_at;       /* bytes sent, before it stops sending; 0: does not */
    int64_t hold_ns;      /* until then */
    int64_t cancel_ns;    /* when to cancel; HF_NEVER: not */
    int64_t cancelled_ns; /* until when a cancel of ours may hit us */
    uint32_t turns_left;  /* of this connection */

    bool is_prepared[NAMES_MAX]; /* the server has said so */
    char setting[TOKEN_SIZE];    /* what it has set app.token to; "": nothing yet */
    uint32_t pid;
    char key[256];
    size_t key_size;

    char history[HISTORY_MAX][400]; /* the last messages, for the evidence */
    uint32_t history_count;

    size_t received; /* in this turn */
    size_t in_size, out_size, out_sent;
    char in[IN_SIZE], out[OUT_SIZE];
};

struct counts {
    uint64_t turns, rows, logins, refused_logins, lost, drops, pauses, holds;
    uint64_t cancels, cancelled, timeouts, server_errors, expected_errors;
};

struct options {
    const char *host, *user, *database;
    uint16_t port;
    uint32_t clients, turns_per_session;
    double seconds, hang_seconds;
    uint64_t least;
    uint64_t seed;
    bool is_calm;    /* servers stay: an error that nobody asked for is a finding */
    bool is_session; /* sessions last: what would leave something behind is left out */
};

struct run {
    struct options options;
    struct client *clients;
    struct counts counts;
    bool has_found; /* a wrong answer; the evidence is printed */
};

/* The token of an item of the client's present turn. */
void turn_token(const struct client *client, uint32_t item, char out[TOKEN_SIZE]);

/* Fills `out` and `owed` for the next turn. */
void turn_make(struct run *run, struct client *client, int64_t now_ns);

/* A message of the server in a turn. False: it is not what is owed, and the evidence is printed. */
bool check_message(struct run *run, struct client *client, char type, const char *body, size_t size,
                   int64_t now_ns);

/* Whether everything of the turn is answered. */
bool check_is_done(const struct client *client);

/* Prints what a client knows about a wrong answer; false. */
bool check_evidence(struct run *run, const struct client *client, const char *what);

#endif
