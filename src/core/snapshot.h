/*
 * Snapshot: the cluster as those see it who decide where a call runs.
 *
 * Whoever watches the servers (the sampler of pg/, the simulator) fills a snapshot, seals it, and
 * publishes it whole; every guard and router that reads it afterwards sees one consistent picture.
 * A snapshot is never changed after it was published: news is a new snapshot with a higher epoch.
 * How it is published and when its memory may be used again is the driver's business, not ours.
 *
 *     driver:    fill endpoints, snapshot_sample(), snapshot_check(), snapshot_seal(), publish
 *     readers:   route_choose(view, ...), guard_feed(.view = view), explain, dashboard
 *
 * Warm-up. A server that comes back has cold caches and, with least-outstanding balance, an empty
 * queue that would draw every call at once. So its weight grows from a tenth to its full value over
 * `warm_up_ns`, counted from `returned_at_ns`. It is computed here, once for each snapshot, and
 * costs the path of a query nothing.
 *
 * What it is not: it holds no breaker, no bulkhead and no load. These change with every call and
 * are asked for when a call is placed; a snapshot changes when somebody learned something about a
 * server.
 *
 * Positions. A WAL position (LSN) means something only together with its timeline. `timeline` is
 * that of the newest primary known, also while there is none; positions of an endpoint on another
 * timeline are not compared with anything: what it has replayed may belong to a branch that the
 * cluster has left.
 *
 * The primary's samples answer one question: which position, once replayed, surely contains a write
 * that was acknowledged at time t? Any position that the primary was ASKED for after t: the write
 * was already in its WAL then. snapshot_sample() keeps few of them, dense near now and thinner
 * towards the past, so that they reach far back in little memory; the price is that an old promise
 * is judged by a somewhat later position than it needs, never by an earlier one.
 *
 * Invariants (snapshot_check tells who broke which)
 *  1. Names are unique, not empty and terminated; weights are 1 .. SNAPSHOT_WEIGHT_MAX, zones below
 *     SNAPSHOT_ZONES_MAX, enumerators are among their kind, durations and times are not negative.
 *  2. No endpoint was sampled, and nothing was asked for, after the snapshot was made.
 *  3. Samples of the primary grow in time, and their positions never fall.
 *  4. After sealing, `primary` is one endpoint or none. A claim to be the primary that is not on
 *     `timeline` does not count; of the others the higher generation wins, and of equal ones those
 *     that are not down. Between two that even this does not tell apart there is none: a refused
 *     write can be tried again, and a write on the wrong side of a split cannot be taken back.
 *
 * One owner until it is published; then any number of readers, no locking.
 */
#ifndef HF_CORE_SNAPSHOT_H
#define HF_CORE_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ns.h"

#define SNAPSHOT_ENDPOINTS_MAX 32
#define SNAPSHOT_NAME_BYTES    64 /* with the NUL */
#define SNAPSHOT_SAMPLES_MAX   24
#define SNAPSHOT_ZONES_MAX     32
#define SNAPSHOT_WEIGHT_MAX    1000
#define SNAPSHOT_SHARE         1024 /* the share of weight 1, warmed up */
#define SNAPSHOT_NO_ENDPOINT   UINT32_MAX
#define SNAPSHOT_INTERVAL_NS   HF_MS(100)    /* taken for `interval_ns` where that is 0 */
#define SNAPSHOT_WARM_UP_MAX   HF_SEC(86400) /* for `warm_up_ns` */
#define SNAPSHOT_REACH_NS      HF_SEC(600)   /* samples of the primary reach back that far */

/* An endpoint whose role is not known serves nobody. */
enum endpoint_role {
    ENDPOINT_UNKNOWN,
    ENDPOINT_PRIMARY,
    ENDPOINT_REPLICA,
};

/* Down takes nothing; suspect is used where nobody better is left. Zeroed memory is down. */
enum endpoint_health {
    ENDPOINT_DOWN,
    ENDPOINT_SUSPECT,
    ENDPOINT_UP,
};

struct snapshot_endpoint {
    char name[SNAPSHOT_NAME_BYTES];
    enum endpoint_role role;
    enum endpoint_health health;
    bool accepts_reads;
    bool accepts_writes;
    bool is_drained;   /* by hand: it keeps what it has and gets nothing new */
    uint8_t tier;      /* 0 is used first; a higher one only while no lower one fits */
    uint8_t zone;      /* 0: not known, in nobody's zone */
    uint16_t weight;   /* share among its equals, 1 .. SNAPSHOT_WEIGHT_MAX */
    uint32_t timeline; /* of its positions; 0: not read */

    /* A replica: the age of the newest commit of the primary's that it may be missing, 0 only if it
     * is known to miss none; HF_NEVER: not known. Never from the replay timestamp alone, which
     * looks late on an idle primary and fresh on a cut link. */
    int64_t lag_ns;
    uint64_t replayed_lsn;    /* a primary: its own position. 0: not known */
    int64_t sampled_at_ns;    /* when the answer that all this comes from was ASKED for */
    int64_t returned_at_ns;   /* when it last came back from down or drained; 0: long ago */
    uint64_t role_generation; /* in the order in which roles were taken, over the whole cluster */

    /* A primary whose promotion the watcher's own connection has lived through: which timeline it
     * left then, and exactly where. What was written on that timeline before `left_lsn` is part of
     * the cluster's history, and nothing after it is. 0: not seen. */
    uint32_t left_timeline;
    uint64_t left_lsn;
};

/* The primary's position `lsn` was asked for at `asked_at_ns`. */
struct snapshot_sample {
    int64_t asked_at_ns;
    uint64_t lsn;
};

/* Made by snapshot_seal(). `ready` are its replicas that are up and take reads; what all of these
 * have in common stands beside it, so that choosing among them needs no look at each. */
struct snapshot_tier {
    uint32_t all; /* everybody of this tier, whatever the role */
    uint32_t ready;
    uint32_t first, count;  /* the places of the ready ones in `pick` */
    uint64_t position_min;  /* the one that replayed least */
    int64_t as_of_ns_min;   /* the stalest of them */
    int64_t sampled_ns_min; /* the one that was sampled longest ago */
};

/* One place of a tier's alias table (Walker 1977): the table's places are equally likely, and a
 * place is its own endpoint's for fractions (in 2^-32) below `below`, and that of place `other` of
 * the same tier from there on. So a draw by weight costs one look, however many there are. */
struct snapshot_pick {
    uint32_t below;
    uint8_t endpoint, other;
};

struct snapshot {
    /* Filled by the driver. */
    uint64_t epoch; /* higher for each one published */
    int64_t made_at_ns;
    int level;           /* enum degrade_level */
    int64_t interval_ns; /* how often the watcher looks; 0: SNAPSHOT_INTERVAL_NS */
    int64_t warm_up_ns;  /* how long a returned endpoint takes to reach its weight; 0: at once */
    uint32_t timeline;   /* of the newest primary known */
    uint32_t sample_count;
    struct snapshot_sample samples[SNAPSHOT_SAMPLES_MAX]; /* oldest first */
    uint32_t count;
    struct snapshot_endpoint endpoints[SNAPSHOT_ENDPOINTS_MAX];

    /* Made by snapshot_seal(). A mask has a bit for each endpoint. */
    bool is_sealed;
    bool has_rivals;          /* two claim to be the primary and nothing tells them apart */
    uint32_t primary;         /* the one that counts, in any health; SNAPSHOT_NO_ENDPOINT: none */
    uint32_t writer;          /* the primary, if it takes writes now; or SNAPSHOT_NO_ENDPOINT */
    uint32_t reading_primary; /* mask of one or none: the primary, if it takes reads now */
    uint32_t replicas;        /* replicas that take reads now: up or suspect */
    uint32_t up;              /* endpoints in full health */
    uint32_t comparable;      /* endpoints whose positions are on `timeline` */
    uint32_t tier_count;
    struct snapshot_tier tiers[SNAPSHOT_ENDPOINTS_MAX]; /* in the order of their use */
    struct snapshot_pick pick[SNAPSHOT_ENDPOINTS_MAX];
    uint32_t in_zone[SNAPSHOT_ZONES_MAX];

    /* What each shows. The primary shows everything at any time: the largest values. */
    uint64_t position[SNAPSHOT_ENDPOINTS_MAX];  /* replayed; 0 if not known or not comparable */
    int64_t as_of_ns[SNAPSHOT_ENDPOINTS_MAX];   /* all committed by then; INT64_MIN: not known */
    int64_t sampled_ns[SNAPSHOT_ENDPOINTS_MAX]; /* when that was asked for */
    uint32_t share[SNAPSHOT_ENDPOINTS_MAX];     /* weight after warm-up, in 1/SNAPSHOT_SHARE */
};

/* Empty: no endpoints, no samples. */
void snapshot_init(struct snapshot *snapshot);

/* Adds an endpoint: unknown, down, weight 1, lag not known. NULL if there is no room. A longer name
 * is cut. The driver fills in the rest. */
struct snapshot_endpoint *snapshot_add(struct snapshot *snapshot, const char *name);

/* Notes that the primary answered `lsn` to a question asked at `asked_at_ns`: the endpoint that
 * this snapshot holds for the primary, nobody else. Call it for each answer, in the order of
 * asking; an answer that contradicts the order of the others, or is 0, is ignored. Samples are
 * carried over from one snapshot to the next. */
void snapshot_sample(struct snapshot *snapshot, int64_t asked_at_ns, uint64_t lsn);

/* Another primary, on this timeline: what the last one was asked for counts no longer. */
void snapshot_new_primary(struct snapshot *snapshot, uint32_t timeline);

/* Invariants 1 to 3; the failure names the endpoint. */
HF_MUST_USE enum hf_rc snapshot_check(const struct snapshot *snapshot, struct hf_err *err);

/* Computes all that stands below "Made by". Call it last, and again after any change. The snapshot
 * must pass snapshot_check(). */
void snapshot_seal(struct snapshot *snapshot);

/* A position that contains every write acknowledged before `t_ns`: the first one asked for after
 * it. 0 if none was asked for since. */
uint64_t snapshot_lsn_after(const struct snapshot *snapshot, int64_t t_ns);

/* When a newer snapshot can be expected: always after `now_ns`. */
int64_t snapshot_next_ns(const struct snapshot *snapshot, int64_t now_ns);

/* The index of the endpoint of this name, SNAPSHOT_NO_ENDPOINT if there is none. */
uint32_t snapshot_find(const struct snapshot *snapshot, const char *name);

const char *endpoint_role_name(enum endpoint_role role);
const char *endpoint_health_name(enum endpoint_health health);

#endif
