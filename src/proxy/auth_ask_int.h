/* The two halves of asking auth_query: auth_ask.c has questions, hosts and time, auth_wire.c what
 * is said over the connection. */
#ifndef HF_PROXY_AUTH_ASK_INT_H
#define HF_PROXY_AUTH_ASK_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/breaker_mt.h"
#include "core/bulkhead_mt.h"
#include "core/outcome.h"
#include "net/loop.h"
#include "net/resolve.h"
#include "proxy/auth_cache.h"
#include "proxy/hosts.h"
#include "wire/login.h"

struct access;
struct endpoint;
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

/* A name that is being looked up. Lives until its answer is here. */
struct asker_lookup {
    struct resolve_request request;
    struct worker *worker;
    struct auth_asker *asker; /* NULL: nobody waits for it any more */
    bool is_posted;           /* by us: the answer was there at once */
};

struct auth_asker {
    struct stream stream; /* kind STREAM_ASKER */
    struct timer timer;
    struct list_node link; /* of worker->askers */
    struct worker *worker;
    struct access *access;          /* held */
    const struct auth_place *place; /* of its cache */
    enum asker_state state;
    bool is_started;    /* its stream was: it ends with LOOP_GONE */
    bool is_working;    /* a slice of hashing is due, by the timer */
    bool is_admitted;   /* `attempt` is to be recorded */
    bool holds_connect; /* a permit of endpoint->connects */
    bool is_second;     /* with or without TLS, after the other way was refused */
    bool is_between;    /* the first connection is being closed, the second follows */
    struct list queue;  /* struct asked: to be sent */
    struct list sent;
    uint32_t sent_count;
    int64_t pause_ns; /* before the next attempt */
    int64_t due_ns;   /* the limit that the timer is set to */
    struct hosts hosts;
    struct proxy_host host; /* a copy: a reload may come before it is looked at again */
    uint32_t host_index;
    uint32_t next_address;
    struct endpoint *endpoint;
    struct breaker_permit attempt;
    struct bulkhead_permit connect;
    struct asker_lookup *lookup;
    struct address address;
    struct login_config config;
    struct login login;
    struct user_pass pass;
    struct secret secret;
    struct build_parameter parameters[ASKER_PARAMETERS];
    char timeout_text[24];
    struct frame frame;
};

/* ---- auth_ask.c ---- */

void asker_ready(struct auth_asker *asker);
void asker_failed(struct auth_asker *asker, struct outcome outcome, const struct hf_err *err);
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
/* A slice of hashing. */
void asker_work(struct auth_asker *asker);

#endif
