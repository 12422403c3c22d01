/*
 * The watcher: one thread that asks every server of a cluster what it is, ten times a second, and
 * tells everybody who places calls. It owns the samplers (pg/sampler.h), which ask, and the
 * topology (core/topology.h), which decides; here is no policy.
 *
 *      servers <--questions-- sampler, sampler ...        the watcher's thread
 *                                  | answers, silences
 *      name service --addresses--> topology --snapshot--> watcher_refresh() --> any thread
 *      Patroni, the primary's        ^ ^ '------news----> watcher_news() -----> any thread
 *      list of replicas --members----' |
 *                                      '-- evidence, drains, pins <-- watcher_tell() ...
 *
 * A caller keeps a snapshot of its own and brings it up to date before it decides:
 *
 *     watcher_refresh(w, &lane->seen, &lane->view);     one load if there is nothing new
 *
 * Who must wait for news (a call held in the guard) either blocks in watcher_wait(), or has an
 * *ear*: a descriptor that becomes readable once something was published after watcher_listen().
 *
 * Where the endpoints come from. The hosts of the connection string are asked for by name again
 * every `resolve_ns`, by a thread of its own, as a lookup may block. A name stands for one
 * endpoint, whose address may change, unless `expand_names` is set: then each address is an
 * endpoint, added and removed as the name service says. With `patroni_url` the members of GET
 * /cluster are added and removed; with `follow_replicas` those that the primary names in
 * pg_stat_replication, as far as their addresses lead somewhere. Endpoints of the connection string
 * always stay.
 *
 * Connections. watcher_target() says how to reach an endpoint: host, address, port. A caller adds
 * user, password and whatever else from its own parameters, and so never waits for a name.
 *
 * Fork. A child has no watcher thread: watcher_is_alive() is false there, its snapshot stays as it
 * was, and the only thing to do is watcher_free(), which then closes the child's copies of the
 * descriptors and says nothing to the servers. (What libpq had allocated is left behind.)
 *
 * Any thread may call anything between watcher_new() and watcher_free(). Signals: the thread blocks
 * all of them.
 */
#ifndef HF_PG_WATCHER_H
#define HF_PG_WATCHER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/snapshot.h"
#include "core/topology.h"
#include "os/log.h"
#include "os/mem.h"
#include "pg/sampler.h"

#define WATCHER_NEWS      64 /* kept for watcher_news() */
#define WATCHER_TEXT_SIZE 256

struct watcher;

/* A piece of news, for callbacks, logs and dashboards. */
struct watcher_news {
    struct topology_action what;
    char name[SNAPSHOT_NAME_BYTES]; /* of what.endpoint, "" if none is meant */
    char text[WATCHER_TEXT_SIZE];   /* for a person */
};

/* A configured endpoint; what its name resolves to is the watcher's business. */
struct watcher_endpoint {
    const char *name;     /* in snapshots and news; NULL: "host:port" */
    const char *host;     /* name, address, or "/" and the folder of a unix socket */
    const char *hostaddr; /* NULL: looked up */
    uint16_t port;        /* 0: 5432 */
    uint16_t weight;      /* 0: 1 */
    uint8_t tier, zone;
    bool refuses_reads, refuses_writes;
};

/* All zero but for the endpoints and `conninfo`: the defaults. */
struct watcher_config {
    /* How the samplers connect, beside host, hostaddr and port: a connection string of libpq. Its
     * hosts are the endpoints if `endpoints` is NULL. */
    const char *conninfo;
    const struct watcher_endpoint *endpoints;
    size_t endpoint_count;

    struct topology_config topology;
    struct sampler_config sampler;
    int64_t resolve_ns;      /* between lookups of a name: 15 s; HF_NEVER: once */
    bool expand_names;       /* each address of a name is an endpoint */
    const char *patroni_url; /* "http://10.0.0.1:8008", several with commas; NULL: off */
    int64_t patroni_ns;      /* between two looks: 2 s */
    bool follow_replicas;    /* members from pg_stat_replication of the primary */
    struct log *log;         /* news as lines; NULL: none */

    /* Called in the watcher's thread for each piece of news, with no lock held; NULL: nobody. It
     * may call everything here but watcher_free(), and should return soon: nobody is asked
     * meanwhile.
     */
    void (*on_news)(const struct watcher_news *news, void *arg);
    void *on_news_arg;
};

/* Starts the thread. What the configuration points to is copied. */
enum hf_rc HF_MUST_USE watcher_new(struct watcher **watcher, const struct watcher_config *config,
                                   struct mem *mem, struct hf_err *err);

/* Stops and joins the thread; prompt, also while servers or names do not answer. NULL is fine. */
void watcher_free(struct watcher *watcher);

/* False in a child after fork(). */
bool watcher_is_alive(const struct watcher *watcher);

/* ---- what is known ---- */

/* Brings a snapshot up to date; true if it changed. `*seen` is 0 at first and belongs to `view`.
 * Before the first publication (every server asked once, or its time passed) it is false, and view
 * is not touched. No lock, any thread. */
bool watcher_refresh(const struct watcher *watcher, uint64_t *seen, struct snapshot *view);

/* Waits until there is something newer than `seen`, at most until the deadline. True if so. */
bool watcher_wait(struct watcher *watcher, uint64_t seen, int64_t deadline_ns);

/* How to reach an endpoint. */
struct watcher_target {
    char name[SNAPSHOT_NAME_BYTES];
    char host[256];    /* for "host": the name that certificates are checked against */
    char hostaddr[48]; /* for "hostaddr"; "" for a unix socket, or if no lookup has succeeded yet */
    char port[8];
    uint32_t incarnation; /* of the place; another one: another server, begin anew */
};

/* False if the place is empty. Takes a short lock: for connecting, not for each query. */
bool watcher_target(struct watcher *watcher, uint32_t endpoint, struct watcher_target *target);

/* What is known of an endpoint, for dashboards and explain. The same lock. */
bool watcher_describe(struct watcher *watcher, uint32_t endpoint, struct topology_endpoint *out);

/* ---- ears: to be told without waiting ---- */

struct watcher_ear {
    int fd;            /* becomes readable; the watcher's to close */
    _Atomic int armed; /* private */
    struct watcher_ear *next;
};

enum hf_rc HF_MUST_USE watcher_ear_open(struct watcher *watcher, struct watcher_ear *ear,
                                        struct hf_err *err);
void watcher_ear_close(struct watcher *watcher, struct watcher_ear *ear);

/* From now on the next publication, or piece of news, makes ear->fd readable, once. Look at the
 * snapshot after this call, not before. Reads the descriptor empty. */
void watcher_listen(struct watcher_ear *ear);

/* ---- what others know ---- */

/* An attempt of a caller's ended: GUARD_ACT_TELL. No lock; cheap enough for each call. */
void watcher_tell(struct watcher *watcher, uint32_t endpoint, enum outcome_endpoint evidence);

/* By hand. */
void watcher_drain(struct watcher *watcher, uint32_t endpoint, bool is_on);
void watcher_pin(struct watcher *watcher, enum degrade_level level, int64_t until_ns);
void watcher_unpin(struct watcher *watcher);

/* ---- news ---- */

/* The next piece of news after `*cursor` (0 at first). False if there is none. Who falls more than
 * WATCHER_NEWS behind misses the oldest; `*missed` counts them (may be NULL). */
bool watcher_news(struct watcher *watcher, uint64_t *cursor, struct watcher_news *news,
                  uint64_t *missed);

#endif
