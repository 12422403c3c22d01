/*
 * Pools: the server connections of one database and role, and who may use them.
 *
 * A pool has one part for each worker, and each part a bulkhead of the core whose limit is the
 * part's share of the pool's size. A permit of it is the right to use a server connection of this
 * part; its queue is the queue of the clients. So the path of a query touches nothing that another
 * worker writes, and there is no second mechanism beside the bulkhead.
 *
 *     pool_size 20 =   12 (part of worker 0)   +   8 (part of worker 1)     always, in sum
 *                      |  9 in use, 3 idle          8 in use, 5 clients wait: hungry
 *                      |                                  |
 *                      |  <------- POOL_BEG --------------'    who must wait asks those with spare
 *                      '---------- POOL_GIVE (a share, and the idle connection) ------> part 1: 9
 *
 * Beyond its size a pool has a reserve: a part whose first client has waited for
 * reserve_pool_timeout takes shares out of it, and gives them back when it has no use for them.
 *
 * A part that has nothing to spare remembers nothing: it looks at pool->hungry whenever a
 * connection becomes free, and passes share and connection on if somebody there has waited longer
 * than anybody here. So order is fair among workers within POOL_FAIR_NS, and
 * no client waits beside another worker's idle connection.
 *
 * Where groups of clients are configured (groups.h) those who wait have ranks, from one clock for
 * all parts, and the lowest rank is served first; between workers too, within POOL_FAIR_RANK.
 *
 * Life of a client's wish for a connection:
 *
 *     pool_want --permit at once, a connection idle--> attached
 *         |  `--permit, none idle--> AWAITING a connection --ready--> attached
 *         `--no permit--> WAITING in the bulkhead's queue --granted--> as above
 *                                     `--too long--> refused
 *
 * Invariants
 *  1. The limits of a pool's parts add up to its size and what was taken of its reserve, shares
 *     under way between workers included.
 *  2. A part never has more server connections than its limit, but while a lowered limit is paid
 *     off.
 *  3. A client that is attached or AWAITING holds exactly one permit; one that WAITS holds none.
 *
 * A part belongs to its worker's thread. `hungry`, `oldest_ns` and the numbers in bulkheads are
 * read by others; pools are made under proxy->lock and live as long as the proxy.
 */
#ifndef HF_PROXY_POOL_H
#define HF_PROXY_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/hist.h"
#include "base/list.h"
#include "core/bulkhead_mt.h"
#include "core/fair_mt.h"
#include "net/loop.h"
#include "proxy/hosts.h"
#include "proxy/proxy_config.h"

struct client;
struct listen_hub;
struct proxy;
struct server;
struct worker;

#define POOL_WORKERS_MAX 64
/* How much longer a client must have waited at another worker for a connection to go there. Moving
 * one costs some 20 us, so it should not be for nothing; measured with 64 clients on a pool of 20
 * and two workers, 1 ms moved four times as many connections as 10 ms. */
#define POOL_FAIR_NS HF_MS(10)
/* The same in ranks: so many services of an ordinary weight. */
#define POOL_FAIR_RANK (4 * FAIR_UNIT / GROUPS_WEIGHT_DEFAULT)

/* What a client waits with: lent to it while it waits, so that idle clients stay small. */
struct wait {
    struct bulkhead_waiter waiter; /* its place in the queue, and the permit it was granted */
    struct list_node link;         /* of part->awaiting */
    struct client *client;
    int64_t since_ns;
};

/* Counters that SHOW STATS reads; written by the part's worker only. */
struct pool_stats {
    uint64_t transactions;
    uint64_t queries;
    uint64_t received; /* bytes of clients */
    uint64_t sent;     /* bytes to clients */
    int64_t transaction_ns;
    int64_t query_ns;
    int64_t wait_ns;
    uint64_t parses;
    uint64_t binds;
    uint64_t server_parses;
    uint64_t assignments; /* how often a client got a connection */
    uint64_t logins;
    uint64_t refused;
};

/* Counters as they were: see pool_average.h. */
struct pool_average {
    struct pool_stats older, newer;
    int64_t older_ns, newer_ns;
};

/* Between workers. */
struct pool_message {
    struct loop_message message; /* first: WORKER_BEG or WORKER_GIVE */
    struct pool_part *part;      /* whose: the receiver's */
    uint32_t from;               /* BEG: the worker that asks */
    uint32_t shares;             /* GIVE */
    bool is_answer;              /* GIVE: to a BEG, and in the message of it */
    struct server *server;       /* GIVE: NULL, or a connection that has left its loop */
    int fd;
};

struct pool_part {
    struct pool *pool;
    struct worker *worker;
    struct list_node link;                 /* of worker->parts, once it is used there */
    struct list_node dirty;                /* of worker->dirty */
    const struct proxy_database *database; /* of worker->config */
    struct proxy_pool config;              /* of the same: database and role together */
    void *memory;
    struct bulkhead *bulkhead;
    struct list idle;     /* servers, in the order in which clients get them: the warmest first, or
                           * with server_round_robin the coldest */
    struct list servers;  /* all others: connecting, active, draining */
    struct list awaiting; /* struct wait: with a permit, without a connection; the oldest first */
    uint32_t server_count;
    uint32_t connecting;
    uint32_t leaving;          /* on their way to other workers, their shares gone already */
    uint32_t clients;          /* logged in */
    uint32_t size;             /* of the pool, as this part knows it */
    uint32_t debt;             /* shares to be paid: the size was lowered by more than was here */
    uint32_t borrowed;         /* shares of the reserve */
    bool has_begged;           /* a WORKER_BEG is under way */
    uint32_t told;             /* settings_set: what servers here report; 0 before the first one */
    uint32_t next_address;     /* of a host that has several */
    struct hosts hosts;        /* where the next connection is tried */
    int64_t retry_at_ns;       /* no connection is tried before */
    int64_t pause_ns;          /* between the last two tries */
    struct hf_err failure;     /* the last one of connecting */
    _Atomic int64_t oldest_ns; /* since when the first in the queue waits; HF_NEVER: nobody */
    _Atomic uint64_t rank;     /* of that one; 0: none */
    struct pool_stats stats;
    struct pool_average average;
    bool is_held;  /* paused: the limit is 0 (pool_gate.h) ... */
    uint32_t held; /* ... and would be this */
    struct pool_message beg;
};

struct pool {
    struct pool *next; /* of proxy->pools; set once */
    struct proxy *proxy;
    char name[PROXY_NAME_SIZE]; /* of the database, as clients call it */
    char role[PROXY_NAME_SIZE];
    enum proxy_pool_mode mode; /* for ever: see reload.h */
    enum proxy_role_mode wish; /* of its key */
    bool is_replication;
    bool is_namesake;        /* an older pool has the same database */
    uint32_t number;         /* counted up from 0, in the order they were made */
    struct listen_hub *hub;  /* whose connection it is of: clients have none of it; NULL: a pool */
    uint32_t server_count;   /* in the budget; under proxy->lock */
    _Atomic uint64_t hungry; /* a bit for each worker where clients wait */
    _Atomic uint32_t lent;   /* shares of the reserve that parts have */
    struct fair fair;        /* whose turn it is, where groups of clients wait */
    struct pool_part *parts; /* proxy->worker_count of them */
};

/* A Parse or Bind of a client's, for SHOW STATS. What servers get is counted where it is sent. */
static inline void pool_count_asked(struct pool_part *part, char type)
{
    part->stats.parses += type == 'P';
    part->stats.binds += type == 'B';
}

/* The pool of a database and role, made if there is none; NULL with `err` if there are too many. */
struct pool_key {
    struct sv name; /* of the database, as clients call it */
    struct sv role;
    bool is_replication;       /* walsender sessions have a pool of their own, in session mode */
    enum proxy_role_mode wish; /* of a listener: clients that come by it have a pool of their own */
    struct listen_hub *hub;    /* and so has the connection of a hub; else NULL */
};
struct pool *pool_get(struct proxy *proxy, const struct pool_key *key, struct hf_err *err);
/* All of them, when the workers have ended. */
void pool_free_all(struct proxy *proxy);

enum pool_answer {
    POOL_ATTACHED,
    POOL_QUEUED,  /* client_attached() or client_not_served() comes later */
    POOL_REFUSED, /* `err` says why */
};

/* A client wants a connection, and would wait until `until_ns`. */
enum pool_answer pool_want(struct client *client, int64_t until_ns, struct hf_err *err);

/* The client that waits does not want it any more; gives back what it holds. */
void pool_withdraw(struct client *client);

/* Something has changed: pool_serve() is due at the end of this event, and not inside of it, so
 * that nobody is called back by what he has just called. */
void pool_touch(struct pool_part *part);
void pool_serve(struct pool_part *part);

/* A connection rests, clean: to the next client, to another worker, or into the pool. */
void pool_release(struct server *server);
/* A connection is gone. */
void pool_forget(struct server *server);
/* A new connection is ready. */
void pool_ready(struct server *server);
/* Connecting failed. */
struct pool_failure {
    struct hf_err err;
    struct sv words; /* the server's own ErrorResponse; or empty */
    bool is_final;   /* waiting would not help: wrong password, no such database */
    bool has_others; /* hosts that are still to be tried, and may work at once */
    uint64_t opener; /* sequence of the client that it was for alone; 0: for all */
};
void pool_connect_failed(struct pool_part *part, const struct pool_failure *failure);

/* A worker asks for a share; a connection has left its loop (fd -1: it has not, and the share goes
 * alone); a share came. */
void pool_begged(struct pool_part *part, uint32_t from);
void pool_left(struct server *server, struct pool_part *to, int fd);
void pool_given(struct pool_part *part, struct pool_message *message);

/* Its bulkhead's configuration, with this limit. */
struct bulkhead_config pool_bulkhead_config(const struct pool_part *part, uint32_t limit);

const char *pool_mode_name(enum proxy_pool_mode mode);

/* part->config has another size: the part's share changes with it. */
void pool_resize(struct pool_part *part);

/* Once a second: idle and lifetime limits, minimum size, retries; and those who waited in vain. */
void pool_tick(struct pool_part *part, int64_t now_ns);
void pool_expire(struct pool_part *part);

/* Asks other workers again for those who have waited notably long: a connection that became idle
 * there before that was kept there. */
void pool_seek(struct pool_part *part, int64_t now_ns);

/* Those who have waited long enough may use the reserve; and when that is to be looked at. */
void pool_borrow(struct pool_part *part, int64_t now_ns);
int64_t pool_borrow_at(const struct pool_part *part);

#endif
