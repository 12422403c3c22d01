/*
 * The connection that listens for everybody, one for each database and client encoding; and the
 * channels that somebody wants.
 *
 *     worker 0   clients a, b --+                           +--> subscribers of worker 0
 *                               |-- channel --- hub <== one |
 *     worker 1   clients c    --+    wanted by   connection +--> subscribers of worker 1
 *                                    workers
 *
 * A hub lives at one worker, its home, whose loop has the connection. Others tell it by a wake
 * that there is something to do (listen_join, listen_leave); the home tells workers what came
 * (WORKER_NEWS), one message for each worker that has somebody who listens to the channel.
 *
 * The connection is opened when the first client listens, as the role of that client: PostgreSQL
 * asks for no permission on channels, so one that may connect can listen for all. If that role is
 * not let in any more, the next one of those who have listened is tried. It is lost: it is opened
 * again, with pauses that grow; when it listens to everything again, the gap is told. It is looked
 * at every LISTEN_CHECK_NS, so that one whose end nobody tells is found out.
 *
 *     nobody listens --join--> opening --pool_ready--> asking (LISTEN, UNLISTEN) <--> resting
 *           ^                     ^                                                     |
 *           |                     `---------------- lost: a gap begins -----------------|
 *           `--- nobody wants a channel for LISTEN_KEEP_NS -----------------------------'
 *
 * A round is a query of ours and its answer. Before the answer the server sends all notifications
 * that were committed before the query. So a client that begins to listen waits for a round that
 * begins after that, even to a channel that is listened to already: only what comes after the round
 * is for it, as PostgreSQL tells nobody what was notified before his LISTEN.
 *
 * `lock` of struct listens is over the channels and what the home is to do. Held for a moment, on
 * LISTEN, UNLISTEN and for each notification; never on the path of a query.
 */
#ifndef HF_PROXY_LISTEN_HUB_H
#define HF_PROXY_LISTEN_HUB_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/list.h"
#include "net/loop.h"
#include "proxy/pool.h"
#include "proxy/proxy_config.h"

struct listening;
struct proxy;
struct server;
struct worker;

#define LISTEN_NAME     "holdfast listen" /* application_name of its connections */
#define LISTEN_CHECK_NS HF_SEC(10)
#define LISTEN_KEEP_NS  HF_SEC(60)
#define LISTEN_ROLES    4    /* that are remembered, to log in as */
#define LISTEN_NEWS_MAX 8192 /* on their way to workers; beyond that the server is held back */

/* A channel of a hub that somebody wants, or that the server has not been told to leave yet. */
struct listen_channel {
    struct listen_channel *next; /* of its bucket */
    struct listen_hub *hub;
    uint64_t hash;
    struct list_node change; /* of hub->changes, or of hub->asked */
    uint64_t workers;        /* a bit for each that has subscribers */
    uint32_t news;           /* of it, on their way */
    bool is_on;              /* the connection listens to it */
    bool is_asked;           /* it was asked to change that, and has not answered */
    _Atomic uint32_t listeners;
    _Atomic uint64_t delivered;
    _Atomic uint64_t lost;
    char name[PROXY_NAME_SIZE];
    struct list subscribers[]; /* one for each worker, who alone looks at it: struct listen_place */
};

/* A client that listens to a channel. */
struct listen_place {
    struct list_node of_channel;
    struct list_node of_client;
    struct listen_channel *channel;
    struct listening *listening;
    struct listen_place *next; /* of its bucket of `listening` */
    uint64_t round;            /* of the hub, in which it begins */
    bool is_seen;
    bool is_live;    /* news are for it */
    bool is_leaving; /* until the round that the client waits for */
};

enum listen_news_kind {
    LISTEN_NEWS_CAME, /* a notification */
    LISTEN_NEWS_ON,   /* a round is done, which somebody waits for */
    LISTEN_NEWS_GAP,
};

/* What the home tells a worker. */
struct listen_news {
    struct loop_message message; /* first: WORKER_NEWS */
    enum listen_news_kind kind;
    struct listen_hub *hub;
    struct listen_channel *channel; /* CAME */
    uint64_t round;                 /* ON */
    int64_t from_ns;                /* GAP: wall time */
    int64_t to_ns;
    uint32_t holders; /* at the worker: clients' queues that have it */
    uint32_t size;
    char bytes[]; /* CAME: the NotificationResponse */
};

struct listen_hub {
    struct listen_hub *next; /* of listens->hubs; set once */
    struct proxy *proxy;
    struct worker *home;
    char database[PROXY_NAME_SIZE];
    char encoding[PROXY_NAME_SIZE]; /* of the clients and the connection; "" the server's own */

    /* Under the lock. */
    struct list changes; /* channels that are wanted and not listened to, or the reverse */
    uint32_t channels;
    char roles[LISTEN_ROLES][PROXY_NAME_SIZE];
    uint32_t role_count;
    uint64_t round_wanted; /* that somebody waits for, */
    uint64_t round_sent;   /* that was begun last */
    uint64_t waiting;      /* a bit for each worker that waits for one that has not begun; */
    uint64_t waiting_sent; /* or for the one that has */
    bool is_woken;         /* the message is on its way */
    uint32_t pid;          /* of the server's process; 0: not connected */

    struct loop_message wake; /* WORKER_LISTEN */

    /* The home's. */
    struct list asked; /* channels of the query under way */
    struct pool_part *part;
    struct server *server;
    uint32_t role; /* in use */
    bool is_opening;
    bool is_busy;          /* a query of ours is under way */
    bool has_failed;       /* by an error */
    bool has_gap;          /* the connection was lost while channels were on */
    int64_t gap_from_ns;   /* wall time */
    int64_t heard_wall_ns; /* when the server said something last */
    int64_t heard_ns;
    int64_t asked_ns;
    int64_t unwanted_ns; /* since when nobody wants a channel; 0: somebody does */
    int64_t retry_ns;
};

struct listens {
    pthread_mutex_t lock;
    struct proxy *proxy;
    struct listen_hub *hubs;
    uint32_t hub_count;
    struct listen_channel **buckets;
    uint32_t bucket_count; /* a power of two */
    uint32_t channel_count;
    struct hash_key key;
    _Atomic uint32_t news; /* on their way to workers */
};

/* With the proxy; freed when its workers have ended. NULL: no memory. */
struct listens *listens_new(struct proxy *proxy);
void listens_free(struct listens *listens);

/* The hub for a database and an encoding, made if there is none. NULL: no memory. */
struct listen_hub *listen_hub_get(struct listens *listens, struct sv database, struct sv encoding);

/* ---- for workers ---- */

/* Sets channel and round of a client's new place, which is to be linked and counted by the caller.
 * `role`: may be logged in as. False: too many channels, or no memory. */
bool listen_join(struct listen_hub *hub, struct worker *worker, struct listen_place *place,
                 struct sv name, struct sv role);
/* The round that begins next, for who waits for one; 0: there is none, as no server is there. */
uint64_t listen_round(struct listen_hub *hub, struct worker *worker);
/* A place less; it is unlinked already. */
void listen_leave(struct listen_channel *channel, struct worker *worker);
/* The round is done: what of a client begins with it, begins. True: all does. */
bool listen_begin(struct listening *listening, uint64_t round);
/* The worker has told its clients of the news, or put them into their queues: they are no longer on
 * their way. Queues have limits of their own; one that is full holds nobody else back. */
void listen_news_came(struct listens *listens, struct listen_news *news);
/* The news, which have come, are not needed any more. */
void listen_news_drop(struct listens *listens, struct listen_news *news);

/* ---- the home ---- */

/* WORKER_LISTEN: there is something to do. */
void listen_hub_woken(struct loop_message *message);
/* Of its pool: a connection is ready, could not be made, is gone. */
void listen_hub_ready(struct listen_hub *hub, struct server *server);
void listen_hub_failed(struct listen_hub *hub, const struct pool_failure *failure);
void listen_hub_gone(struct listen_hub *hub, struct server *server);
/* Bytes came, or there is room to send. */
void listen_hub_event(struct listen_hub *hub);
/* Time has passed: see run_timers(). */
void listen_hub_turn(struct listen_hub *hub, int64_t now_ns);

/* ---- the console ---- */

/* A row of SHOW LISTENERS: a copy. */
struct listen_row {
    char database[PROXY_NAME_SIZE];
    char channel[PROXY_NAME_SIZE];
    uint32_t listeners;
    uint64_t delivered; /* to clients, or to the queue of one */
    uint64_t lost;      /* that found no room in the queue of a client */
    bool is_on;
    uint32_t server_pid; /* of the connection that listens; 0: none does */
};
/* The channel behind those that were given, in an order that stands still as long as no channel
 * comes or goes. `*cursor` starts at 0. False: there are no more. */
bool listen_each(struct listens *listens, uint64_t *cursor, struct listen_row *row);

#endif
