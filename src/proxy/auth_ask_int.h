/* The two halves of asking auth_query: auth_ask.c has questions, connecting and time, auth_wire.c
 * what is said over the connection. */
#ifndef HF_PROXY_AUTH_ASK_INT_H
#define HF_PROXY_AUTH_ASK_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "net/loop.h"
#include "proxy/auth_cache.h"
#include "proxy/dial.h"
#include "proxy/hosts.h"

struct access;
struct worker;

#define ASKER_PARAMETERS 4

enum asker_state {
    ASKER_RESTING, /* no connection; the timer, if set, makes one */
    ASKER_CONNECTING,
    ASKER_LOGIN,
    ASKER_READY,
    ASKER_CLOSING,
};

/* A question on its way, and what came in answer so far. */
struct asked {
    struct list_node link; /* of queue or sent */
    struct auth_question question;
    int64_t since_ns;
    bool has_row;
    bool has_failed;
    bool has_secret;
    int64_t valid_ns;
    struct secret secret;
    struct hf_err err;
};

struct auth_asker {
    struct stream stream; /* kind STREAM_ASKER */
    struct timer timer;
    struct list_node link; /* of worker->askers */
    struct worker *worker;
    struct access *access;          /* held */
    const struct auth_place *place; /* of its cache */
    enum asker_state state;
    bool is_started;   /* its stream was: it ends with LOOP_GONE */
    struct list queue; /* struct asked: to be sent */
    struct list sent;
    uint32_t sent_count;
    int64_t pause_ns; /* before the next attempt */
    struct hosts hosts;
    uint32_t next_address;
    struct dial dial; /* CONNECTING and LOGIN; its host, whose connection it is */
    struct build_parameter parameters[ASKER_PARAMETERS];
    char timeout_text[24];
    struct frame frame;
};

/* ---- auth_ask.c ---- */

/* READY: it has come to nothing. */
void asker_lost(struct auth_asker *asker, const struct hf_err *err);
void asker_question_failed(struct auth_asker *asker, struct asked *asked, const struct hf_err *err);
void asker_close(struct auth_asker *asker);
void asker_gone(struct auth_asker *asker);
/* To the cache: `secret` has NULL data if there is none. */
void asker_answered(struct auth_asker *asker, struct asked *asked, struct sv secret);
/* READY: the timer that belongs to what is owed. */
void asker_limit(struct auth_asker *asker);

/* ---- auth_wire.c ---- */

/* Sends questions, as many as may be. */
void asker_send(struct auth_asker *asker);
/* READY: something has come, or there is room again. */
void asker_heard(struct auth_asker *asker);
/* READY: its stream has ended. */
void asker_ended(struct auth_asker *asker);

#endif
