/*
 * `holdfast proxy`: what its workers share, and its life.
 *
 *     proxy_start --> running --reload_begin--> running with another configuration
 *                        |  proxy_leave: no new clients; those that are there go when they like
 *                        v  proxy_drain: no new clients; idle ones go, others when they are done
 *                        v  proxy_stop: at once
 *                     proxy_join
 *
 * The path of a query touches nothing here but the configuration. What else is shared:
 *
 *     pools, endpoints     found and made at logins                             proxy->lock
 *     settings             sets of settings, see wire/settings.h                proxy->lock
 *     statements           texts of prepared statements                         proxy->lock
 *     budget, share        how many server connections there may be             proxy->lock
 *     users                secrets, and keys that clients have shown            proxy->lock
 *
 * A configuration is immutable. Workers change to a new one when they hear of it; the old one is
 * kept until all of them have.
 */
#ifndef HF_PROXY_PROXY_H
#define HF_PROXY_PROXY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "os/log.h"
#include "os/mem.h"
#include "proxy/gate.h"
#include "proxy/limits.h"
#include "proxy/order.h"
#include "proxy/proxy_config.h"
#include "proxy/secure.h"
#include "proxy/tally.h"
#include "wire/settings.h"
#include "wire/statements.h"

#define PROXY_POOLS_MAX     10000
#define PROXY_ENDPOINTS_MAX 256
#define PROXY_BEFORE_MAX    16

struct breaker;
struct bulkhead;
struct pool;
struct resolver;
struct access;
struct listens;
struct share;
struct sockets;
struct worker;

/* A server as an address in the configuration: shared by all pools that have it. One that is in no
 * configuration any more, and that nobody holds, is forgotten. */
struct endpoint {
    char host[PROXY_HOST_SIZE];
    uint16_t port;
    struct breaker *breaker;   /* of connecting */
    struct bulkhead *connects; /* how many connects may be under way at once */
    _Atomic uint32_t holders;  /* dials and server connections; the first one under proxy->lock */
};

struct proxy {
    struct mem *mem;
    struct log *log;
    struct resolver *resolver;
    struct worker *workers;
    uint32_t worker_count;
    uint32_t instance_id; /* among its peers; 0: it has none */
    int64_t started_wall_ns;
    const struct proxy_config *_Atomic config;
    _Atomic uint32_t reloads_left; /* workers that have not changed to it yet */

    _Atomic uint32_t client_count;  /* of all workers */
    _Atomic uint32_t console_count; /* of these, on the console */
    _Atomic uint32_t server_count;  /* the budget of server connections; changed under the lock */
    _Atomic uint32_t wanted; /* connections that found none of it left: idle ones make room */
    _Atomic uint32_t state;  /* enum proxy_state */
    _Atomic uint32_t workers_empty; /* drained, with nothing left */
    _Atomic uint32_t workers_ended;
    _Atomic uint32_t wish; /* enum proxy_wish: of the console, for the main thread */
    const char *version;

    pthread_mutex_t lock;
    struct pool *pools;
    uint32_t pool_count;
    struct endpoint *endpoints[PROXY_ENDPOINTS_MAX];
    uint32_t endpoint_count;
    struct tally clients; /* of databases, roles and addresses */
    void *clients_memory;
    struct limits limits; /* of groups of clients */
    struct settings settings;
    void *settings_memory;
    uint32_t console_told; /* settings_set: what the console reports */
    struct gates gates;    /* what the console has closed */
    struct order order;    /* what it asks of the main thread */
    struct statements statements;
    struct hash_key hash_key; /* of names that come from clients */
    struct secure secure;
    char mock_seed[32];
    struct access *access; /* hba rules and users */
    struct share *share;   /* of the budget, with other processes; NULL: none */
    struct sockets *sockets;
    struct listens *listens;      /* channels, and the connections that listen; a lock of its own */
    int before[PROXY_BEFORE_MAX]; /* to processes before us, whose clients may be there yet */
    _Atomic uint32_t before_count;
};

enum proxy_wish {
    PROXY_WISH_NONE,
    PROXY_WISH_RELOAD,
    PROXY_WISH_SHUTDOWN, /* as SIGTERM: drain, and stop after limits.drain_timeout */
    PROXY_WISH_LEAVE,    /* SHUTDOWN WAIT_FOR_CLIENTS: no new ones, and an end when all are gone */
    PROXY_WISH_END_WITH_SERVERS, /* SHUTDOWN WAIT_FOR_SERVERS: all is paused; ends with the last */
    PROXY_WISH_STOP,             /* as SIGINT: at once */
    PROXY_WISH_UPGRADE,          /* as SIGUSR2: a new process takes over */
};

enum proxy_state {
    PROXY_RUNNING,
    PROXY_LEAVING, /* as PgBouncer's SHUTDOWN WAIT_FOR_CLIENTS */
    PROXY_DRAINING,
    PROXY_STOPPING,
};

/* What it starts with; borrowed. */
struct proxy_given {
    struct mem *mem;
    struct log *log;
    const char *version;     /* what SHOW VERSION says */
    struct sockets *sockets; /* those that were inherited; the proxy's until it is joined */
    int before_fd;           /* to the process that they are from, taken over; -1: none */
};
enum hf_rc proxy_start(struct proxy *proxy, const struct proxy_config *config,
                       const struct proxy_given *given, struct hf_err *err) HF_MUST_USE;
/* Each of the next three may follow the ones before it. */
void proxy_leave(struct proxy *proxy);
void proxy_drain(struct proxy *proxy);
void proxy_stop(struct proxy *proxy);
/* All workers have ended. */
bool proxy_is_over(struct proxy *proxy);
/* Waits for that, after drain or stop; then everything is given back. */
void proxy_join(struct proxy *proxy);

/* A place in the budget of server connections, for a pool whose database and role may have limits
 * of their own; false: none left, `err` says of what. */
bool proxy_budget_try(struct proxy *proxy, struct pool *pool, const struct proxy_config *config,
                      struct hf_err *err);
void proxy_budget_return(struct proxy *proxy, struct pool *pool);

/* A client more of something; false: there are `limit` (0: any number). `kind` keeps the names of
 * databases, roles and addresses apart. */
enum proxy_tally {
    PROXY_TALLY_DATABASE,
    PROXY_TALLY_ROLE,
    PROXY_TALLY_ADDRESS,
};
bool proxy_tally_try(struct proxy *proxy, enum proxy_tally kind, struct sv name, int64_t limit);
void proxy_tally_return(struct proxy *proxy, enum proxy_tally kind, struct sv name);
uint32_t proxy_tally_count(struct proxy *proxy, enum proxy_tally kind, struct sv name);

/* The endpoint of a host and port, held, made if there is none. NULL: too many, or no memory. */
struct endpoint *proxy_endpoint(struct proxy *proxy, const struct proxy_host *host);
/* It is held once more, by who holds it already; and once less. */
void proxy_endpoint_keep(struct endpoint *endpoint);
void proxy_endpoint_drop(struct endpoint *endpoint);

/* Another configuration is in force: the limits of what all workers share. */
void proxy_configure(struct proxy *proxy);

/* Who may come in, held: access_drop() when it is no longer looked at. */
struct access *proxy_access(struct proxy *proxy);

/* The console lets nobody into the database (DISABLE). */
bool proxy_is_disabled(struct proxy *proxy, struct sv database);

/* References of sets of settings, under the lock. 0 needs none, and takes none. */
void proxy_settings_keep(struct proxy *proxy, uint32_t set);
void proxy_settings_drop(struct proxy *proxy, uint32_t set);
/* Nothing in it could be refused by a server: at most an application_name. */
bool proxy_settings_harmless(struct proxy *proxy, uint32_t set);

#endif
