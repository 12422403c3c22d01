/*
 * What the files of the watcher share: watcher.c is the thread, what it publishes and what others
 * call; watcher_members.c is where the endpoints come from and where they are.
 */
#ifndef HF_PG_WATCHER_INT_H
#define HF_PG_WATCHER_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "core/publish_mt.h"
#include "pg/errand.h"
#include "pg/watcher.h"

#define WATCHER_ADDRESSES_MAX 8
#define WATCHER_CONNINFO_SIZE 4096

/* Who named an endpoint: each may only take back its own. */
enum watcher_source {
    WATCHER_BY_CONFIG,
    WATCHER_BY_NAME, /* an address of a configured name, with expand_names */
    WATCHER_BY_PATRONI,
    WATCHER_BY_PRIMARY,
};

/* A host that the configuration names. */
struct watcher_seed {
    char name[SNAPSHOT_NAME_BYTES]; /* "": made of host and port */
    char host[256];
    char hostaddr[48];
    char port[8];
    uint16_t weight;
    uint8_t tier, zone;
    bool refuses_reads, refuses_writes;
};

/* A place of the topology and its sampler. */
struct watcher_slot {
    bool is_used;
    struct sampler sampler;
    enum watcher_source source;
    uint32_t seed; /* with BY_NAME */
    bool is_seen;  /* while a list of members is gone through */
    /* Where it is; read by watcher_target() under the lock, changed by the thread under it. */
    char host[256];
    char hostaddr[48]; /* "": not known yet, or not needed */
    char port[8];
    /* Looking the name up. */
    bool is_named; /* host is a name */
    int64_t resolve_at_ns;
    uint32_t address_count;
    char addresses[WATCHER_ADDRESSES_MAX][48];
};

struct watcher {
    struct mem *mem;
    struct watcher_config config;         /* texts in it are copies */
    char conninfo[WATCHER_CONNINFO_SIZE]; /* without hosts */
    uint32_t seed_count;
    struct watcher_seed seeds[SNAPSHOT_ENDPOINTS_MAX];
    pid_t pid; /* whose thread it is */
    pthread_t thread;
    _Atomic bool is_stopping;
    int wake_fd; /* others wake the thread */
    struct errands *errands;
    struct rng rng;

    pthread_mutex_t lock; /* over topology, where slots are, news */
    pthread_cond_t published;
    struct topology topology;
    struct watcher_slot slots[SNAPSHOT_ENDPOINTS_MAX]; /* index as in the topology */
    uint64_t news_count;
    struct watcher_news news[WATCHER_NEWS]; /* number n stands in news[n % WATCHER_NEWS] */
    uint64_t told;                          /* of them, to config.on_news */

    pthread_mutex_t ears_lock;
    struct watcher_ear *ears;

    _Atomic uint32_t evidence[SNAPSHOT_ENDPOINTS_MAX]; /* masks of enum outcome_endpoint */
    struct publish *publish;
    void *publish_block; /* what it stands in */
    struct snapshot fresh;

    /* The thread's own. */
    int64_t patroni_at_ns;
    int64_t resolve_at_ns[SNAPSHOT_ENDPOINTS_MAX]; /* of seeds, with expand_names */
};

/* Reads the connection string or the endpoints into the seeds. */
enum hf_rc watcher_members_read(struct watcher *w, struct hf_err *err) HF_MUST_USE;

/* The first members. */
void watcher_members_begin(struct watcher *w, int64_t now_ns);

/* Asks and takes what is due: names, Patroni, the primary's list. With the lock held. */
void watcher_members_turn(struct watcher *w, int64_t now_ns);

/* A question to a slot failed: another address of its name may do. With the lock held. */
void watcher_members_failed(struct watcher *w, uint32_t at, struct outcome outcome, int64_t now_ns);

/* When there is something to do next. */
int64_t watcher_members_deadline(const struct watcher *w);

#endif
