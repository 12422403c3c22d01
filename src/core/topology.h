/*
 * Topology: what the servers are, decided from what they answer. Which one is the primary, which
 * are its replicas and how far behind, who is down, who is back, who must not be used at all.
 *
 * It asks nobody itself. A driver (pg/watcher.h, the simulator) asks each server every interval and
 * feeds the answers and the silences; callers' attempts feed evidence; people feed drains and pins.
 * From it come snapshots for routers and guards, and news for people.
 *
 *     feed ANSWER, SILENCE, EVIDENCE, DRAIN, ADD ...  -->  topology  -->  next: news and orders
 *                                                              '------->  topology_fill()
 *
 * Health. One silence makes an endpoint suspect: it is used where nobody better is left. It is down
 * when the system itself says that nothing listens there, when the server says that it is stopping
 * or starting, or when it has proved no life for `down_ns`. Coming back is damped: the first answer
 * makes it suspect, so that an only server serves at once, and it is up after `steady_ns` of
 * answers, twice as long for each time it went down lately.
 *
 *             silence                     refused, going down, silent for down_ns
 *      UP ------------> SUSPECT ------------------------------------------------> DOWN
 *       ^                 | ^                                                       |
 *       '--- answers -----' '------------------- an answer -------------------------'
 *            (for steady_ns, if it was down; else one)
 *
 * A server that answers but cannot be asked (our login refused, its slots full) is alive: it keeps
 * what was known of it, suspect.
 *
 * Roles. A claim to be the primary counts if it is on the newest timeline that any primary had.
 *   - A higher timeline wins at once: that is a promotion. Samples of the one before count no more.
 *   - A claim on an older one is *fenced*: nothing is sent there, and it is reported. It is a
 *     former primary that nobody stopped.
 *   - Two living claims on the same timeline: nobody is the primary until one of them is gone.
 *     Nothing here can tell which is right, and a write on the wrong side cannot be taken back.
 *     (Two names of one and the same server are told apart from that by when it was started.)
 * Every role that is taken gets the next number of the cluster (role_generation), so a connection
 * from before is recognised, whatever the endpoint was meanwhile.
 *
 * Another cluster. The system identifier says which cluster a server belongs to. The one that most
 * of the first answers have is ours, unless the configuration names it; a server with another one
 * is refused and reported, whatever it says of itself.
 *
 * Lag. How old is the newest commit of the primary's that a replica may be missing? It is measured
 * on one clock, ours: the primary's positions are known with the time of asking for each, so a
 * replica that has replayed position P contains everything that was acknowledged before the last
 * asking whose answer was not beyond P. No clock of any server takes part. On an idle primary the
 * lag is 0, for nothing is missing; where the link is cut or replay is paused it grows from the
 * first missing record on; while no primary can be asked it grows too, since nobody knows what was
 * committed there. Only where no primary has ever been seen (a list of replicas alone) the servers'
 * own words are used: caught up and its receiver streaming, the age of the last message; otherwise
 * the age of the last replayed commit.
 *
 * Places. An endpoint keeps its index for as long as it is a member; what is removed keeps its name
 * in the snapshot, down, and its place is given to another only after REUSE_NS. `incarnation` tells
 * two holders of a place apart: what is kept by index (breakers, pools) must begin anew with it.
 *
 * Invariants
 *  1. Total: every event in every state; time that runs backwards is clamped and counted; what
 *     names no member is ignored and counted.
 *  2. At most one endpoint of a filled snapshot takes writes, and it claimed to be the primary on
 *     the snapshot's timeline in its last answer.
 *  3. The cluster's timeline and role generations never fall.
 *  4. A fenced endpoint, a foreign one, and one whose role is not known accept nothing.
 *  5. What has answered every question since `steady_ns_max` and nobody accuses is up.
 *  6. What has proved no life for down_ns, and has left a question unanswered, is down.
 *  7. A filled snapshot passes snapshot_check().
 *
 * One owner; the watcher's thread.
 */
#ifndef HF_CORE_TOPOLOGY_H
#define HF_CORE_TOPOLOGY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ns.h"
#include "core/degrade.h"
#include "core/outcome.h"
#include "core/snapshot.h"

#define TOPOLOGY_NEWS        32          /* news and orders that wait to be taken */
#define TOPOLOGY_REUSE_NS    HF_SEC(300) /* a place stays empty for that long */
#define TOPOLOGY_NO_ENDPOINT SNAPSHOT_NO_ENDPOINT

/* 0 means the default that is named. */
struct topology_config {
    int64_t interval_ns;    /* how often each server is asked: 100 ms */
    int64_t down_ns;        /* without a sign of life for that long: down. 1 s */
    int64_t steady_ns;      /* of answers, from down to up: 200 ms */
    int64_t steady_ns_max;  /* the most that flapping makes of it: 10 s */
    int64_t flap_ns;        /* how long a going down is held against an endpoint: 60 s */
    int64_t distrust_ns;    /* corrupt data keep it suspect for that long: 5 min */
    int64_t warm_up_ns;     /* see snapshot.h. 0: no warm-up */
    int64_t first_round_ns; /* the first snapshot waits that long for everybody: 300 ms */
    uint32_t accusations;   /* failed attempts of callers within down_ns that make it suspect: 2 */
    uint64_t system_identifier;    /* 0: learned */
    struct degrade_config degrade; /* all zero: degrade_config_default() */
};

HF_MUST_USE enum hf_rc topology_config_check(const struct topology_config *config,
                                             struct hf_err *err);

/* A member, as configuration, DNS, Patroni or the primary's list of replicas names it. */
struct topology_member {
    char name[SNAPSHOT_NAME_BYTES]; /* unique: "db1:5432" */
    uint16_t weight;                /* 0: 1 */
    uint8_t tier, zone;
    bool refuses_reads, refuses_writes; /* by configuration */
};

enum topology_receiver {
    TOPOLOGY_RECEIVER_UNKNOWN, /* this user may not see it */
    TOPOLOGY_RECEIVER_STREAMING,
    TOPOLOGY_RECEIVER_ABSENT, /* nobody sends it anything */
};

/* What a server said of itself. 0 for what it could not or may not tell. */
struct topology_answer {
    int64_t asked_at_ns; /* our clock, before the question was sent */
    bool is_in_recovery;
    bool is_read_only; /* a primary that refuses writes: default_transaction_read_only */
    bool is_replay_paused;
    uint32_t timeline;
    uint64_t system_identifier;
    uint64_t instance;     /* changes with each start of the server: its start time */
    uint64_t written_lsn;  /* a primary: a position at or after every record that is there */
    uint64_t received_lsn; /* a replica */
    uint64_t replayed_lsn; /* a replica */
    enum topology_receiver receiver;
    int64_t message_age_ns; /* of the receiver's last message; HF_NEVER: not known */
    int64_t replay_age_ns;  /* of the last replayed commit, server's clocks; HF_NEVER */
    uint32_t
        left_timeline; /* a primary whose promotion the asking connection lived through: what */
    uint64_t left_lsn; /* it left then, and where; see snapshot.h */
};

enum topology_event_kind {
    TOPOLOGY_EV_ADD,      /* .member; ignored if the name is a member already */
    TOPOLOGY_EV_REMOVE,   /* .endpoint */
    TOPOLOGY_EV_ANSWER,   /* .endpoint, .answer */
    TOPOLOGY_EV_SILENCE,  /* .endpoint, .outcome: a question failed, or its time passed */
    TOPOLOGY_EV_EVIDENCE, /* .endpoint, .evidence: what a caller's attempt met there */
    TOPOLOGY_EV_DRAIN,    /* .endpoint, .is_on: by hand */
    TOPOLOGY_EV_PIN,      /* .level, .until_ns: the ladder, by hand */
    TOPOLOGY_EV_UNPIN,
    TOPOLOGY_EV_TICK,
};

struct topology_event {
    enum topology_event_kind kind;
    int64_t now_ns;
    uint32_t endpoint;
    const struct topology_member *member; /* during the feed only */
    const struct topology_answer *answer; /* during the feed only */
    struct outcome outcome;
    enum outcome_endpoint evidence;
    bool is_on;
    enum degrade_level level;
    int64_t until_ns;
};

enum topology_action_kind {
    /* Orders to the driver. */
    TOPOLOGY_ACT_PUBLISH, /* something changed that callers wait for: fill a snapshot now */
    TOPOLOGY_ACT_ASK,     /* .endpoint: now, not at the next interval */

    /* News for people, in the order in which things happened. */
    TOPOLOGY_NEWS_ADDED,
    TOPOLOGY_NEWS_REMOVED,
    TOPOLOGY_NEWS_UP,      /* .was, .health */
    TOPOLOGY_NEWS_SUSPECT, /* .was, .why */
    TOPOLOGY_NEWS_DOWN,    /* .was, .why */
    TOPOLOGY_NEWS_ROLE,    /* .old_role, .role, .timeline, .generation */
    TOPOLOGY_NEWS_FENCED,  /* it claims to be the primary on .timeline; the cluster is further */
    TOPOLOGY_NEWS_RIVALS,  /* .endpoint and .other claim to be the primary on the same timeline */
    TOPOLOGY_NEWS_FOREIGN, /* .identifier is not our cluster's */
    TOPOLOGY_NEWS_ALIAS,   /* .endpoint is the same server as .other */
    TOPOLOGY_NEWS_CORRUPT, /* a caller met corrupt data there: a person is needed */
    TOPOLOGY_NEWS_LEVEL,   /* .change: the ladder has moved */
    TOPOLOGY_NEWS_LOST,    /* news were dropped here: .count of them */
};

/* Why an endpoint is not up, or accepts nothing. */
enum topology_why {
    TOPOLOGY_WHY_NONE,
    TOPOLOGY_WHY_UNASKED,   /* nobody has asked yet */
    TOPOLOGY_WHY_SILENT,    /* .outcome of the last question */
    TOPOLOGY_WHY_REFUSED,   /* nothing listens there, or it says that it is not ready: .outcome */
    TOPOLOGY_WHY_BLIND,     /* alive, but cannot be asked: .outcome */
    TOPOLOGY_WHY_ACCUSED,   /* callers' attempts failed there */
    TOPOLOGY_WHY_CORRUPT,   /* callers met corrupt data there */
    TOPOLOGY_WHY_DAMPED,    /* back, and not yet steady */
    TOPOLOGY_WHY_FENCED,    /* claims to be the primary of an older timeline */
    TOPOLOGY_WHY_RIVAL,     /* claims to be the primary, and so does another */
    TOPOLOGY_WHY_DENIED,    /* has just refused a write as no primary would */
    TOPOLOGY_WHY_FOREIGN,   /* of another cluster */
    TOPOLOGY_WHY_ALIAS,     /* the same server as another endpoint */
    TOPOLOGY_WHY_READ_ONLY, /* a primary that refuses writes by its settings */
    TOPOLOGY_WHY_DRAINED,
    TOPOLOGY_WHY_REMOVED,
    TOPOLOGY_WHYS
};

struct topology_action {
    enum topology_action_kind kind;
    int64_t at_ns;
    uint32_t endpoint; /* TOPOLOGY_NO_ENDPOINT if none is meant */
    uint32_t other;
    enum endpoint_health was, health;
    enum endpoint_role old_role, role;
    enum topology_why why;
    struct outcome outcome;
    uint32_t timeline, cluster_timeline;
    uint64_t generation;
    uint64_t identifier, cluster_identifier;
    uint64_t count;
    struct degrade_change change;
};

/* What is known of an endpoint beyond what the snapshot says; read it, never write it. */
struct topology_endpoint {
    struct topology_member member;
    bool is_member;
    uint32_t incarnation;
    enum endpoint_health health;
    enum endpoint_role role;
    uint64_t role_generation;
    uint32_t role_timeline; /* on which the role was taken */
    enum topology_why why;  /* why it is not up, or accepts less than it could */
    uint32_t other;         /* with RIVAL and ALIAS */
    bool accepts_reads, accepts_writes;

    /* What it said. */
    bool was_asked, has_answer;
    struct topology_answer answer; /* the last one */
    struct outcome outcome;        /* of the last silence */

    /* What follows from the last answers of all. */
    bool is_foreign, is_fenced, is_rival, is_alias;

    /* Signs of life. */
    int64_t alive_at_ns;     /* the last one; 0: none yet */
    uint32_t silences;       /* since */
    bool is_blind;           /* alive, but the last question was refused */
    int64_t steady_since_ns; /* answers without a break since; 0: none */
    bool was_down;           /* and has not been up since */
    uint32_t falls;          /* times it went down, each within flap_ns of the one before */
    int64_t fell_at_ns;      /* the last of them */
    int64_t returned_at_ns;

    /* What others say. */
    bool is_drained;
    bool is_denied; /* it refused a write; until an answer asked for after denied_at_ns */
    int64_t denied_at_ns;
    uint32_t accusations;  /* since the last quiet time */
    int64_t accused_at_ns; /* the latest */
    int64_t distrust_until_ns;

    int64_t removed_at_ns;
    int64_t lag_ns;     /* a replica: as of the last topology_fill(); HF_NEVER: not known */
    uint64_t lag_bytes; /* a replica: UINT64_MAX: not known */
};

struct topology {
    struct topology_config config;
    struct degrade degrade;
    int64_t now_ns, began_at_ns;
    uint64_t time_backwards, ignored;
    uint32_t count; /* places that have ever been taken */
    struct topology_endpoint endpoints[SNAPSHOT_ENDPOINTS_MAX];
    uint32_t timeline; /* of the newest primary */
    uint64_t generations;
    uint64_t system_identifier; /* our cluster's; 0: not known yet */
    bool is_identity_settled;
    bool is_open;          /* the first round is over: snapshots may be published */
    uint32_t primary;      /* who counts as the primary, in any health; or TOPOLOGY_NO_ENDPOINT */
    struct snapshot draft; /* what passes from one snapshot to the next: samples, timeline, epoch */
    uint64_t sampled_generation, sampled_instance; /* whose samples these are */
    bool is_dirty, is_urgent; /* a snapshot would say something new; that callers wait for */
    int64_t filled_at_ns;
    uint32_t to_ask; /* mask of endpoints: ASK */
    uint32_t news_first, news_count;
    struct topology_action news[TOPOLOGY_NEWS];
    uint64_t lost;
    struct topology_action last; /* the last news */
};

/* The configuration has passed its check. No members yet. */
void topology_init(struct topology *t, const struct topology_config *config, int64_t now_ns);

void topology_feed(struct topology *t, const struct topology_event *event);

/* The next order or piece of news. Drain it after each feed; of what nobody takes the oldest news
 * are dropped, orders never. */
bool topology_next(struct topology *t, struct topology_action *action);

/* When to feed a TICK if nothing else happens; HF_NEVER if nothing is due. */
int64_t topology_deadline(const struct topology *t);

/* The last news, of which log line, event and explain are made. */
const struct topology_action *topology_reason(const struct topology *t);

/* A checked and sealed snapshot of what is known at `now_ns`, with the next epoch. */
void topology_fill(struct topology *t, int64_t now_ns, struct snapshot *out);

/* The index of a member; TOPOLOGY_NO_ENDPOINT if the name is none. */
uint32_t topology_find(const struct topology *t, const char *name);

/* One line for a person: "db2:5432 is the primary now, on timeline 2 (was replica)". */
void topology_text(const struct topology *t, const struct topology_action *news, char *out,
                   uint32_t size);

/* The first reason why an endpoint is not up, or accepts less than it could. */
enum topology_why topology_why_not(const struct topology_endpoint *endpoint);
const char *topology_why_text(enum topology_why why);

#endif
