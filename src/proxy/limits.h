/*
 * Limits of groups of clients (groups.h), kept while the proxy runs: how many clients, how many
 * server connections in use, how many transactions a second; and whose turn it is where groups
 * wait for one pool.
 *
 *     login --limits_login: counted, or refused--> idle
 *     idle --limits_begin--> PACED: too early for the rate; goes on by its timer
 *                  |            v
 *                  '--------> QUEUED: the group's bulkhead is full; goes on by WORKER_LIMIT
 *                               v
 *                             has its permits --> the pool --> ... released --limits_end--> idle
 *
 * What a group (or each role of it, if it counts per role) has in use is a bucket: a bulkhead of
 * the core and a rate of the core, shared by all workers. Taking and giving back are one
 * compare-and-swap each while there is room. A client holds the permits of all its groups, taken in
 * the order of groups, which is the same for everybody, so nobody waits in a circle. It holds them
 * while it waits for the pool: concurrency is what a group asks of servers, not what it gets.
 *
 * In session mode a client holds its permits from login to end, and is refused at login if there
 * are none.
 *
 * Who is in no group has client->limited NULL, and costs a look at it. Where no group is configured
 * nothing is ranked and queues are first in, first out.
 *
 * A reload keeps buckets whose group has kept its name: what is in use stays counted and what was
 * spent stays spent. Clients are put into the new groups when they hold nothing.
 *
 * Buckets are found, made and dropped under proxy->lock, at logins and reloads; the queue of each
 * has a lock of its own. At most LIMITS_BUCKETS_MAX exist. One that nobody is in any more is kept
 * until its rate has forgotten everything, so that coming anew gains nothing.
 */
#ifndef HF_PROXY_LIMITS_H
#define HF_PROXY_LIMITS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "core/bulkhead_mt.h"
#include "core/fair_mt.h"
#include "core/rate_mt.h"
#include "net/loop.h"
#include "proxy/groups.h"

struct client;
struct proxy;
struct proxy_config;
struct worker;

#define LIMITS_BUCKETS_MAX 20000
#define LIMITS_CHAINS      1024
#define LIMITS_EACH_MAX    8 /* groups that one client is in; of more the first ones count */

struct limit_bucket {
    struct limit_bucket *next; /* of its chain */
    uint64_t hash;             /* of the group's name and the value */
    char group[GROUPS_NAME_SIZE];
    char value[GROUPS_NAME_SIZE]; /* of what it counts per; "": all of the group */
    uint32_t flow;                /* a slot of core/fair_mt.h */
    uint32_t clients;             /* under proxy->lock, as all that follow to `refs` */
    int64_t clients_max;
    uint32_t weight;
    uint32_t refs;
    struct rate rate;
    _Atomic int64_t wait_ns_max;
    _Atomic int64_t rate_a_second; /* for texts */
    _Atomic uint64_t waited;
    _Atomic uint64_t refused;
    pthread_mutex_t lock; /* over the bulkhead's queue */
    struct bulkhead *bulkhead;
    void *memory;
};

/* What a proxy has of them: part of struct proxy. Zero bytes are ready. */
struct limits {
    struct limit_bucket *chains[LIMITS_CHAINS];
    uint32_t count;
    uint32_t flows[FAIR_SLOTS]; /* how many buckets share each; 0 is of who is in none */
};

/* What a client has in its groups. Allocated at login, if it is in any. */
struct limited {
    struct loop_message message; /* first: WORKER_LIMIT, "your turn" */
    struct worker *worker;
    struct client *client; /* NULL: it does not want it any more, and the message is under way */
    struct bulkhead_waiter waiter;
    struct limit_bucket *buckets[LIMITS_EACH_MAX];
    struct bulkhead_permit permits[LIMITS_EACH_MAX];
    uint32_t count;
    uint32_t held; /* the first so many permits are held */
    uint32_t weight;
    uint32_t reloads; /* of the worker, when it was put into its groups */
    uint32_t flow;    /* whose turn it is */
    int64_t since_ns; /* it has waited, for its last request, since then; 0: it has not */
    int64_t ready_ns; /* PACED: until then; 0: it is not */
    int64_t until_ns; /* QUEUED: at most */
    bool is_queued;
};

/* ---- sessions, in their worker's thread ---- */

/* Logs a client in to its groups. False: one of them is full, `err` says which. */
bool limits_login(struct client *client, struct hf_err *err);
/* It is gone for good. */
void limits_logout(struct client *client);

enum limits_answer {
    LIMITS_GO,
    LIMITS_WAIT, /* client_admitted() or client_not_served() comes later */
    LIMITS_REFUSED,
};

/* A request begins, of a client that is in a group. */
enum limits_answer limits_begin(struct client *client, struct hf_err *err);
/* What it holds is given back, and what it waits for not waited for any more. Any time. */
void limits_end(struct client *client);

/* WAITING here: when client_timeout() is due; HF_NEVER if it does not wait here. */
int64_t limits_deadline(const struct client *client);
void limits_timeout(struct client *client);

/* WORKER_LIMIT. */
void limits_granted(struct loop_message *message);

/* The rank of a client that is about to wait for its pool; 0: first in, first out. */
uint64_t limits_rank(const struct client *client);

/* ---- reloads ---- */

/* The main thread: proxy->config is another one. */
void limits_configure(struct proxy *proxy);
/* A worker has changed to it. */
void limits_reload(struct worker *worker);

/* When the workers have ended. */
void limits_free_all(struct proxy *proxy);

#endif
