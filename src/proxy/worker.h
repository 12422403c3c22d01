/*
 * A worker: one thread with a loop, its clients, its server connections and its part of each pool.
 *
 * What workers share is in proxy.h. They talk to each other by messages (loop_post) and never wait
 * for each other; proxy->lock is for what happens at logins, at changes of settings and at reloads,
 * not for queries.
 */
#ifndef HF_PROXY_WORKER_H
#define HF_PROXY_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bufpool.h"
#include "base/list.h"
#include "base/rng.h"
#include "base/timerq.h"
#include "net/loop.h"
#include "proxy/proxy.h"
#include "proxy/slow.h"

struct cancel;
struct client;
struct pool;
struct pool_part;

/* What a stream is a member of. */
enum worker_stream {
    STREAM_CLIENT,
    STREAM_SERVER,
    STREAM_CANCEL,
    STREAM_ASKER, /* of auth_query (auth_ask.h) */
};

/* What one worker, or the proxy's main thread, tells another. */
enum worker_message {
    WORKER_STOP,     /* struct loop_message: at once */
    WORKER_DRAIN,    /* struct loop_message: let idle clients go, others when they are done */
    WORKER_LEAVE,    /* struct loop_message: accept no more; clients go when they like */
    WORKER_RELOAD,   /* struct loop_message: another configuration is in force */
    WORKER_BEG,      /* struct pool_message */
    WORKER_GIVE,     /* struct pool_message */
    WORKER_CANCEL,   /* struct cancel_message */
    WORKER_GATHER,   /* struct gather: what the console shows */
    WORKER_GATHERED, /* the same, back with its asker */
    WORKER_LIMIT,    /* struct limited: a client of this worker may go on */
    WORKER_RESOLVED, /* a name was looked up for a login */
    WORKER_ASK,      /* struct auth_ask_message: users are to be looked up */
    WORKER_ANSWERED, /* struct loop_message: users were */
    WORKER_PEER,     /* the same, for a cancel request of another instance */
    WORKER_LISTEN,   /* struct listen_hub: its home has something to do */
    WORKER_NEWS,     /* struct listen_news */
    WORKER_OVER,     /* struct loop_message: nothing is left at any worker */
};

#define WORKER_LISTENERS_MAX 64 /* as many as a loop can have */

struct worker {
    struct proxy *proxy;
    uint32_t index;
    pthread_t thread;
    struct loop *loop;
    struct timerq timers; /* of clients, servers and cancels */
    struct rng rng;
    const struct proxy_config *config; /* in force here */
    struct list parts;                 /* that were used here */
    struct list dirty;                 /* of them, for which pool_serve() is due */
    struct list working;               /* struct admission: a slice of hashing is due */
    struct list working_servers;       /* struct dial: the same */
    struct list cancelling;            /* struct cancel */
    struct list asking;                /* struct admission: its user is being looked up */
    struct list askers;                /* struct auth_asker: who look them up, at worker 0 */
    struct loop_message answered;
    atomic_bool answered_is_posted;
    struct list errands; /* of peers.c: names of peers are being looked up */
    struct slow slow;
    struct buffer ahead; /* scratch: what goes to a server before a message of its client */
    struct listener listeners[WORKER_LISTENERS_MAX];
    uint32_t entries[WORKER_LISTENERS_MAX]; /* of proxy->sockets: which ones they are */
    uint32_t listener_count;
    struct bufpool clients;    /* struct client */
    struct bufpool admissions; /* struct admission */
    struct bufpool waits;      /* struct wait */
    struct bufpool cancels;    /* struct cancel */
    struct list sessions;      /* all clients */
    struct list listening;     /* struct listening: of those that listen */
    _Atomic uint32_t client_count;
    uint32_t server_count;
    uint32_t peer_cancels;     /* cancel requests on their way to other instances */
    uint64_t client_sequence;  /* the last one that was given to a client; one for all workers */
    uint32_t reload_count;     /* configurations that it has changed to */
    int64_t tick_ns;           /* when pool_tick() is due */
    int64_t wake_ns;           /* when a part of a pool has to be looked at */
    _Atomic int64_t turned_ns; /* when its last turn began: whether it still turns */
    uint32_t share_seen;       /* wishes of other processes that were looked at */
    bool is_running;
    bool is_leaving; /* or draining, or stopping */
    bool is_draining;
    bool is_stopping;
    bool is_suspended; /* no client is listened to (SUSPEND) */
    bool is_empty;     /* it has said so */
    bool has_left;     /* it listens no more */
    struct loop_message leave, drain, stop, reload, over;
};

/* All of them are made before the first one is started, since they talk to each other. */
enum hf_rc worker_make(struct worker *worker, struct proxy *proxy, uint32_t index,
                       struct hf_err *err) HF_MUST_USE;
enum hf_rc worker_start(struct worker *worker, struct hf_err *err) HF_MUST_USE;
/* After WORKER_STOP or a drain: waits for its thread, and gives everything back. */
void worker_end(struct worker *worker);

/* A part of a pool has its first client here. */
void worker_use(struct worker *worker, struct pool_part *part);

static inline int64_t worker_now(const struct worker *worker)
{
    return loop_now(worker->loop);
}

/* Sets, moves or (HF_NEVER) removes a timer. */
void worker_timer(struct worker *worker, struct timer *timer, int64_t at_ns);

/* Parts of pools are looked at not later than this. */
static inline void worker_wake(struct worker *worker, int64_t at_ns)
{
    worker->wake_ns = ns_min(worker->wake_ns, at_ns);
}

/* When a server connection that began then has lived long enough. */
int64_t worker_lifetime(struct worker *worker, const struct proxy_pool *config, int64_t since_ns);

/* The number by which a client's cancel requests find it: says worker and place. */
uint32_t worker_pid(const struct client *client);
bool worker_pid_is_ours(uint32_t pid);
/* Of the instance that gave it to its client; 0: none. */
uint32_t worker_pid_instance(uint32_t pid);
uint32_t worker_pid_index(const struct proxy *proxy, uint32_t pid);
/* The client in that place; NULL if nobody is there. */
struct client *worker_client(struct worker *worker, uint32_t pid);
/* The same by the place itself, of which there are worker->clients.count. */
struct client *worker_client_at(struct worker *worker, uint32_t slot);

#endif
