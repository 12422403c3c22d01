/*
 * Route: which endpoint a call should run on, given a snapshot. A pure function of the snapshot,
 * the request and the random numbers in the state; it waits for nothing and remembers next to
 * nothing.
 *
 * Rules that never bend ("hard"). Who breaks one is not a candidate:
 *   role       a write goes to the snapshot's writer, whatever else the request says
 *   health     nothing goes to an endpoint that is down, drained by hand, or of unknown role
 *   exclude    nothing goes to an endpoint that refused in this round (breaker, bulkhead)
 *   promise    ROUTE_SESSION: a replica must have replayed what the session was promised
 *   staleness  ROUTE_BOUNDED and policy.lag_ns_max: the replica's data must be young enough NOW,
 *              the age of its sample included; one older than policy.sample_ns_max tells nothing
 *   timeline   where a position or bound is asked for, the replica is on the cluster's timeline
 *
 * The primary meets every promise and bound, also when it was not sampled lately: whether it still
 * is the primary is a question of role and health, and a watcher that hangs must not stop the
 * service.
 *
 * Preferences ("soft"). Each splits the candidates, and the better part is taken if it is not
 * empty:
 *   1. the kind, in this order: a replica that is up; the primary if it is up (policy: fallback); a
 *      suspect replica; a suspect primary; and last whoever failed this call already (`avoid`)
 *   2. the lowest tier
 *   3. the caller's zone
 *   4. among the rest, the policy's balance: least outstanding of two, weighted random, or smooth
 *      weighted round robin
 *
 * The primary before a suspect replica, since an answer is worth more than the primary's rest; its
 * bulkhead limits what it takes, and what that refuses comes back with `exclude` and goes to the
 * suspects. There is no list of bans here, and hence no lifting of all bans: when all are down the
 * answer is none, with the reason. Coming and going is damped by whoever judges health; coming back
 * is damped by the snapshot's warm-up weights.
 *
 * What a refusal waits for. Time alone makes no endpoint fit (data only gets older): a newer
 * snapshot does. `ask_again_ns` says when one that may help is to be expected; HF_NEVER where only
 * a change of role or health can help, for which nobody can name a time: look again when a snapshot
 * is published.
 *
 * Cost: a write is one load and one test; a read among replicas of a tier that all fit is O(1):
 * their common minimum is compared, two of them are drawn from an alias table. Where some do not
 * fit, it is one pass over the bits that are left.
 *
 * One state belongs to one thread; snapshot, request and policy are only read.
 */
#ifndef HF_CORE_ROUTE_H
#define HF_CORE_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"
#include "core/snapshot.h"

enum route_intent {
    ROUTE_READ,
    ROUTE_WRITE,
    ROUTE_ANY, /* wants a server, no data: the primary first, any usable replica next */
};

/* What a read may see. Writes see the primary. */
enum route_consistency {
    ROUTE_SESSION, /* its own session's writes */
    ROUTE_BOUNDED, /* data not older than request.staleness_ns_max */
    ROUTE_ANY_AGE, /* whatever there is */
    ROUTE_PRIMARY, /* only what the primary shows */
    ROUTE_CONSISTENCIES
};

enum route_balance {
    ROUTE_LEAST_OF_TWO, /* of two drawn by weight, the one with less outstanding for its weight */
    ROUTE_RANDOM,       /* by weight */
    ROUTE_ROUND_ROBIN,  /* by weight, evenly spread; each lane has a round of its own */
    ROUTE_BALANCES
};

enum route_primary_reads {
    ROUTE_PRIMARY_FALLBACK, /* when no healthy replica fits */
    ROUTE_PRIMARY_ALWAYS,   /* as one of the readers, with its own tier, zone and weight */
    ROUTE_PRIMARY_NEVER,    /* but for ROUTE_PRIMARY, which asks for it by name */
};

/* What a database, role or lane has in common; constant while a call uses it. */
struct route_policy {
    enum route_balance balance;
    enum route_primary_reads primary_reads;
    int64_t lag_ns_max;    /* a replica further behind serves no read; HF_NEVER: no limit */
    int64_t sample_ns_max; /* an older sample tells neither lag nor position */
};

/* Least of two, fallback, no limit on lag, samples good for 5 s. */
struct route_policy route_policy_default(void);
HF_MUST_USE enum hf_rc route_policy_check(const struct route_policy *policy, struct hf_err *err);

/*
 * What a session may rely on after its last write. All zero: it has written nothing.
 *
 * `written_at_ns` must be read from the clock when the acknowledgement was in hand, or later: an
 * older, cached time could lie before a sample that was asked for before the commit. `lsn`, where
 * known, is a position at or after the END of the commit record (the insert position asked for
 * ahead of a COMMIT is not). Either is enough; both together admit replicas soonest.
 *
 * A session does well to copy decision.promise_lsn into its promise: the position is then fixed and
 * no longer depends on how far back the snapshot's samples reach.
 */
struct route_promise {
    uint64_t lsn;          /* 0: not known */
    int64_t written_at_ns; /* 0: not known */
    uint32_t timeline;     /* on which `lsn` lies; 0: not known */
};

struct route_request {
    enum route_intent intent;
    enum route_consistency consistency;
    int64_t now_ns;               /* a time before the snapshot's own is taken for that */
    int64_t staleness_ns_max;     /* ROUTE_BOUNDED */
    struct route_promise promise; /* ROUTE_SESSION */
    uint8_t zone;                 /* preferred; 0: none */
    uint32_t exclude;             /* bits: must not be chosen in this round */
    uint32_t avoid;               /* bits: failed this call already, only if nobody else is left */
    const uint32_t *load;         /* borrowed: outstanding calls by endpoint; NULL: all alike */
    const struct route_policy *policy; /* borrowed; NULL: the default */
};

/* One for each thread that chooses. */
struct route_state {
    struct rng rng;
    int64_t round[SNAPSHOT_ENDPOINTS_MAX]; /* ROUTE_ROUND_ROBIN: what each is owed, in shares */
};

void route_state_init(struct route_state *state, uint64_t seed);

/* Why there, or why nowhere. */
enum route_reason {
    ROUTE_UNDECIDED,

    ROUTE_TO_WRITER,          /* a write, to the primary */
    ROUTE_TO_PRIMARY_ASKED,   /* the request's consistency names it, or its intent prefers it */
    ROUTE_TO_REPLICA,         /* balanced over what fits */
    ROUTE_TO_READER,          /* the same, with the primary as one of the readers */
    ROUTE_TO_PRIMARY_PROMISE, /* no healthy replica has replayed what the session wrote */
    ROUTE_TO_PRIMARY_STALE,   /* no healthy replica is within the bound */
    ROUTE_TO_PRIMARY_ALONE,   /* no healthy replica is there to be used */
    ROUTE_TO_SUSPECT,         /* fits, but is suspect, and nobody better is left */
    ROUTE_TO_AVOIDED,         /* failed this call already, and nobody else is left */

    ROUTE_NO_PRIMARY,       /* nobody is known to be the primary */
    ROUTE_RIVAL_PRIMARIES,  /* two claim to be it and nothing tells them apart */
    ROUTE_PRIMARY_DOWN,     /* known, but down */
    ROUTE_PRIMARY_DRAINED,  /* by hand */
    ROUTE_PRIMARY_CLOSED,   /* it does not accept what was asked: writes (read-only) or reads */
    ROUTE_PRIMARY_EXCLUDED, /* it refused in this round */
    ROUTE_PROMISE_UNMET, /* no replica has replayed the session's write, and the primary cannot help
                          */
    ROUTE_TOO_STALE,     /* no replica is within the bound, and the primary cannot help */
    ROUTE_NO_READER,     /* nobody who takes reads */
    ROUTE_READERS_EXCLUDED, /* all who fit refused in this round */
    ROUTE_REASONS
};

struct route_decision {
    uint32_t endpoint; /* SNAPSHOT_NO_ENDPOINT: none */
    enum route_reason reason;
    uint32_t candidates;  /* bits: among whom the balance chose; the endpoint is one of them */
    int64_t ask_again_ns; /* none chosen: when another snapshot may help; HF_NEVER: cannot tell */
    uint64_t promise_lsn; /* the position that meets the request's promise; 0: not known, or none */
};

/* True: `decision->endpoint` is to be tried. False: there is none, `reason` says why. The snapshot
 * must be sealed. */
bool route_choose(const struct snapshot *view, const struct route_request *request,
                  struct route_state *state, struct route_decision *decision);

/* Whether the endpoint keeps the hard rules but `exclude`: for a call that waited for it and got
 * its turn, perhaps under a newer snapshot. */
bool route_allows(const struct snapshot *view, const struct route_request *request,
                  uint32_t endpoint);

/* Why an endpoint is not among the candidates: the first rule that left it out, in this order. */
enum route_out {
    ROUTE_OUT_NOT, /* it is a candidate */

    ROUTE_OUT_UNKNOWN, /* its role is not known */
    ROUTE_OUT_RIVAL,   /* claims to be the primary, and is not the one that counts */
    ROUTE_OUT_ROLE,    /* a replica where the primary is needed, or the primary that may not read */
    ROUTE_OUT_DOWN,    /* its health */
    ROUTE_OUT_DRAINED, /* by hand */
    ROUTE_OUT_CLOSED,  /* accepts no reads, or no writes */
    ROUTE_OUT_TIMELINE,  /* its positions are on another timeline; `number`: which */
    ROUTE_OUT_UNSAMPLED, /* its last sample is too old to tell; `number`: its age in ns */
    ROUTE_OUT_LAG,       /* `number`: its staleness in ns, HF_NEVER if not known */
    ROUTE_OUT_PROMISE,   /* `number`: bytes of WAL still to be replayed, HF_NEVER if not known */
    ROUTE_OUT_EXCLUDED,  /* it refused in this round */

    ROUTE_OUT_AVOIDED, /* failed this call already, while others can serve */
    ROUTE_OUT_SUSPECT, /* while healthier ones can serve */
    ROUTE_OUT_KIND,    /* the primary while replicas can serve, or the other way round */
    ROUTE_OUT_TIER,    /* `number`: its own tier, a lower one serves */
    ROUTE_OUT_ZONE,    /* others are in the caller's zone */
    ROUTE_OUTS
};

struct route_left_out {
    enum route_out why;
    int64_t number; /* as said above, else 0 */
};

/* For `explain`: why each endpoint of the view is or is not a candidate of route_choose() for the
 * same view and request. Not for the path of a query. */
void route_explain(const struct snapshot *view, const struct route_request *request,
                   struct route_left_out out[SNAPSHOT_ENDPOINTS_MAX]);

const char *route_intent_name(enum route_intent intent);
const char *route_consistency_name(enum route_consistency consistency);
const char *route_balance_name(enum route_balance balance);
/* In whole words, for error DETAILs and explain: "no healthy replica has replayed ...". */
const char *route_reason_name(enum route_reason reason);
const char *route_out_name(enum route_out out);

#endif
