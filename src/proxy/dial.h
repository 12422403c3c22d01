/*
 * Calling a server: a connection of our own, from the choice of a host to the server's first
 * ReadyForQuery. Alike for the connections of pools (server_login.c) and for those that ask
 * auth_query (auth_ask.c); what differs is what they are called back for.
 *
 *     dial_pick()     the host whose turn it is, if its breaker and the number of connects admit it
 *     dial_prove()    what shows who we are
 *     dial_begin()    its address, looked up first where it is a name
 *         |               connecting()   from here on the stream ends with LOOP_GONE
 *         v               accepted()     logging in; before it TLS, if that is wanted
 *     dial_event()        heard()        each ParameterStatus and NoticeResponse
 *         |
 *         '---> failed(), or ready(), where the owner says dial_succeeded() or dial_fail()
 *
 * Where the sslmode allows it a refused connection is followed by a second one, with TLS instead of
 * without or the other way round: the owner hears of its LOOP_GONE first, and asks dial_gone().
 *
 * Each host has a breaker of the core for connecting, shared by all pools and workers, and a
 * bulkhead for how many connects may be under way at once: a server that comes back is not stormed.
 *
 * Invariants
 *  1. Whatever dial_pick() has taken is given back by dial_end(), which may come at any time and
 *     more than once.
 *  2. failed() comes at most once, and nothing after it or after ready().
 *  3. Limits of time are the owner's, who calls dial_fail() when they are over.
 *
 * Belongs to one worker's thread.
 */
#ifndef HF_PROXY_DIAL_H
#define HF_PROXY_DIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "core/breaker_mt.h"
#include "core/bulkhead_mt.h"
#include "core/outcome.h"
#include "net/loop.h"
#include "proxy/proxy_config.h"
#include "proxy/users.h"
#include "wire/login.h"

struct access;
struct dial;
struct dial_lookup;
struct endpoint;
struct hosts;
struct worker;

struct dial_failure {
    struct outcome outcome;
    struct hf_err err;
    struct sv words; /* the server's own ErrorResponse, or empty */
    bool is_final;   /* waiting would not help */
};

/* The dial may be ended, and freed, within failed() and ready(), and there only. */
struct dial_calls {
    void (*connecting)(struct dial *dial);
    void (*accepted)(struct dial *dial);
    void (*heard)(struct dial *dial, const struct login_event *event); /* NULL: no interest */
    void (*ready)(struct dial *dial);
    void (*failed)(struct dial *dial, const struct dial_failure *failure);
};

struct dial {
    const struct dial_calls *calls;
    struct worker *worker;
    struct stream *stream;  /* of the owner, with its kind */
    uint32_t *next_address; /* which of a name's addresses is next; outlives it */
    struct list_node work;  /* of worker->working_servers: a slice of hashing is to be done */
    struct proxy_host host; /* a copy: a reload may come before it is looked at again */
    uint32_t host_index;
    struct endpoint *endpoint; /* held, from dial_pick() to dial_end() */
    struct address address;
    struct login_config config; /* the owner's to fill in, but for random and what proves it */
    struct login login;
    struct user *user; /* who learns what logging in finds out; NULL: nobody */
    struct user_pass pass;
    struct secret secret;
    struct dial_lookup *lookup; /* NULL: nothing is being looked up */
    struct breaker_permit attempt;
    struct bulkhead_permit connect;
    bool is_admitted;   /* `attempt` is to be recorded */
    bool holds_connect; /* a permit of endpoint->connects */
    bool is_accepted;   /* logging in */
    bool is_second;     /* with or without TLS, after the other way was refused */
    bool is_between;    /* the first connection is being closed, the second follows */
};

/* The dial is all zero but for what its owner sets: calls, worker, stream, next_address. */

enum dial_pick {
    DIAL_PICKED,
    DIAL_BUSY,   /* as many connects are under way as may be */
    DIAL_OPEN,   /* no breaker admits an attempt before *retry_at_ns; dial->host is the last */
    DIAL_MEMORY, /* there is none for an endpoint */
};

enum dial_pick dial_pick(struct dial *dial, struct hosts *hosts,
                         const struct proxy_database *database, int64_t *retry_at_ns);

/* Who config.user is is proved by a secret of our own, if it is set; else by what is known of the
 * user, or by the passfile. `user` may be NULL. */
void dial_prove(struct dial *dial, const struct secret *own, struct user *user,
                const struct access *access);

/* Not HF_OK: there is no address to be had, dial->login.err says why; failed() is not called. */
enum hf_rc dial_begin(struct dial *dial) HF_MUST_USE;

/* Events of the stream, but LOOP_GONE, until it is logged in. */
void dial_event(struct dial *dial, const struct loop_event *event);
/* LOOP_GONE. True: it was the first of two attempts, and the second one is under way. */
bool dial_gone(struct dial *dial);
/* WORKER_RESOLVED */
void dial_resolved(struct loop_message *message);
/* A slice of hashing, for one in worker->working_servers. */
void dial_work(struct list_node *work);

/* It took too long, or what answers is not what was wanted: records that, and calls failed(). */
void dial_fail(struct dial *dial, struct outcome outcome, const struct hf_err *err);

/* Within ready(): records it, for the hosts too unless `database` is NULL. */
void dial_succeeded(struct dial *dial, struct hosts *hosts, const struct proxy_database *database);

/* Gives back what connecting and logging in has needed. Not the stream. */
void dial_end(struct dial *dial);

#endif
