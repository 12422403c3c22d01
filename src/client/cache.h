/*
 * The result cache: the last good result of a statement, kept for a while, for two uses.
 *
 *     fallback   no server answers: the last good result is better than none (stale-if-error)
 *     first      a result that is fresh is served without asking anybody
 *
 *     bytes of the key: who asks (role, database, settings), the text, the parameters, the format
 *
 *        put                       fresh for ttl          then stale               gone
 *     -----------> [ entry: value, asked_ns ]----------> still there for a ----> at stale_ns
 *                        ^                               fallback
 *                        '-- lead: who finds it missing or stale asks a server; others who want
 *                            the same meanwhile follow: they wait for that one answer
 *
 * The cache knows neither statements nor rows: a key is bytes, a value is a pointer with a size and
 * a pair of functions that count who holds it. Values must be immutable, since several threads may
 * hold one.
 *
 * Invariants
 *  1. What is found was put under exactly these key bytes: hashes choose a place, bytes decide. The
 *     identity of the asker is part of the key, so nobody sees what another role was given.
 *  2. The bytes of keys and values are at most bytes_max, the cache's own table apart, which is
 *     allocated when it is made. What is used longest ago goes first. A value bigger than an eighth
 *     of all is not kept: it would push out too much for one.
 *  3. An entry's age counts from when the server was asked, not from when it answered: the result
 *     cannot be younger than that.
 *  4. Nobody is served as fresh what may miss a write of his own session: an entry says until when
 *     everything that was committed is in it (`as_of_ns`: of a primary's answer the time of asking,
 *     of a replica's what the snapshot knows), an asker from when on he needs it (`newer_ns`). As a
 *     fallback it is served all the same: then an old truth is what was asked for.
 *  5. Each lead ends by cache_put() or cache_leave(); one that has not ended after CACHE_LEAD_NS is
 *     taken over by the next asker, so a lost leader delays nobody for long.
 *  6. A result that was asked for before cache_clear() is not kept after it.
 *
 * Threads: any; one lock inside, held for a look-up and a few links, never while a value is freed
 * or anybody is called.
 */
#ifndef HF_CLIENT_CACHE_H
#define HF_CLIENT_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ns.h"
#include "base/sv.h"
#include "os/mem.h"

#define CACHE_KEY_MAX 65536 /* a longer one is not cached */
#define CACHE_LEAD_NS HF_SEC(30)

/* Somebody's immutable value. `hold` adds a holder, `drop` takes one away and frees with the last.
 */
struct cache_value {
    void *what;
    size_t size; /* bytes that it takes */
    void (*hold)(void *what);
    void (*drop)(void *what);
};

struct cache_config {
    size_t bytes_max;
    uint64_t seed; /* of the hashes; from the system's randomness */
};

struct cache_stats {
    uint64_t hits;   /* fresh ones served */
    uint64_t misses; /* nothing fresh was there */
    uint64_t stale;  /* served as a fallback */
    uint64_t followed;
    uint64_t evicted;
    uint64_t entries, bytes;
};

struct cache;

enum hf_rc cache_new(struct cache **cache, const struct cache_config *config, struct mem *mem,
                     struct hf_err *err) HF_MUST_USE;
/* Drops everything. Nobody may be using it. NULL is allowed. */
void cache_free(struct cache *cache);
/* The same in a child after fork(), where followers may seem to wait whose threads are the
 * parent's: to destroy what they wait on would be to wait for them. */
void cache_forget(struct cache *cache);

/* One asker's way through the cache. Zeroed and filled in, then cache_ask() or cache_begin(). */
struct cache_ask {
    struct sv key;       /* must live until the ask ends */
    struct sv operation; /* for cache_clear(); at most 63 bytes of it are kept */
    int64_t asked_ns;    /* when the asker came */
    int64_t ttl_ns;
    int64_t stale_ns;
    int64_t newer_ns; /* 0: any */
    /* The cache's. */
    uint64_t hash;
    uint64_t clears; /* cache_clear() calls before this one */
    uint64_t lead;   /* 0: it does not lead */
};

enum cache_answer {
    CACHE_HIT,    /* `found` is held for the asker: fresh */
    CACHE_LEAD,   /* ask a server, then cache_put() or cache_leave() */
    CACHE_FOLLOW, /* somebody asks already: cache_follow(), or go on alone */
};

struct cache_found {
    struct cache_value value; /* the asker's to drop */
    int64_t age_ns;
    bool is_stale; /* past its time to live */
};

/* For HF_CACHE_FIRST. */
enum cache_answer cache_ask(struct cache *cache, struct cache_ask *ask, struct cache_found *found);

/* Waits on this thread until the leader is done, or until the deadline: CACHE_HIT; CACHE_LEAD if it
 * failed or is overdue, and the asker leads now; CACHE_FOLLOW if the deadline came. Who can be
 * cancelled asks with a near deadline, again and again. */
enum cache_answer cache_follow(struct cache *cache, struct cache_ask *ask, int64_t deadline_ns,
                               struct cache_found *found);

/* Keeps a result, and ends the lead if the asker had it. The cache holds the value by itself: the
 * caller's own hold stays his. `as_of_ns` 0: it is not known what is in it. */
void cache_put(struct cache *cache, struct cache_ask *ask, const struct cache_value *value,
               int64_t as_of_ns);
/* Ends a lead without a result; harmless without one. */
void cache_leave(struct cache *cache, struct cache_ask *ask);

/* For HF_CACHE_FALLBACK: nothing is looked up, but what is put later is put as of now. */
void cache_begin(struct cache *cache, struct cache_ask *ask);

/* No server can be asked: whatever is there and not older than ttl_ns + stale_ns. */
bool cache_fallback(struct cache *cache, const struct cache_ask *ask, int64_t now_ns,
                    struct cache_found *found);

/* Forgets the entries of an operation; an empty one means all. */
void cache_clear(struct cache *cache, struct sv operation);

void cache_stats(struct cache *cache, struct cache_stats *out);

#endif
