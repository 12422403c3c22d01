/*
 * The simulator: one more driver of the guard, on a virtual clock, in a world made of faults.
 *
 * A run is a pure function of its seed. The seed draws a cluster (servers, a primary, limits,
 * policies), clients, and a schedule of faults; virtual time jumps from one event to the next. Two
 * phases: in the first, faults come and go and only safety is demanded; then the world is healed
 * and liveness is demanded as well: every call ends, every breaker closes, the ladder returns to
 * full, nothing is left held. Without the second phase a system that refuses everything would pass.
 *
 * The files, in the order in which a run uses them:
 *     sim_world.c   servers as they really are: alive, hung, slow, who is primary, and what an
 *                   attempt meets there
 *     sim_wal.c     their WAL: positions, transaction ids, timelines, what is flushed, sent,
 *                   replayed, lost
 *     sim_view.c    what a watcher sees of them, late and sampled: makes the snapshots and climbs
 *                   the ladder
 *     sim_client.c  clients and their calls: feeds guards, carries out their actions against the
 *                   world
 *     sim_search.c  what became of a lost COMMIT: feeds core/commit, and is the servers it asks
 *     sim_fault.c   the schedule of faults, and the healing
 *     sim_check.c   the invariants; each has a name, and test/sim/mutations.py shows that each can
 *                   fail
 *     sim_main.c    seeds, reports, replay
 *
 * What is checked is written here a second time on purpose, from the rules and not from the code:
 * the world knows what was really executed, where and how often, and compares it with what the
 * guard made of it.
 */
#ifndef HF_SIM_H
#define HF_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/ns.h"
#include "base/rng.h"
#include "base/timerq.h"
#include "core/commit.h"
#include "core/guard.h"

#define SIM_SERVERS_MAX    5
#define SIM_CLIENTS_MAX    24
#define SIM_EPOCH_NS       HF_SEC(1000) /* where virtual time begins: not at 0, as in life */
#define SIM_MEMORY_BYTES   (1 << 20)    /* breakers and bulkheads */
#define SIM_TICK_NS_MAX    HF_MS(50)    /* breakers are ticked at least so often */
#define SIM_HEALING_NS_MAX HF_SEC(120)  /* after which everything must be well */
#define SIM_CLOSING_NS_MAX HF_SEC(30)   /* the longest call, and whatever a driver still owes */
#define SIM_WRITES_MAX     4096 /* write calls in a run; clients only read after that many */
#define SIM_TXS_MAX        8192 /* transactions in a run: their attempts, and confirmations */
#define SIM_TIMELINES_MAX  1024 /* nobody is promoted after that many */

/* The invariants. The names are what a broken run prints and what mutations.py expects. */
enum sim_rule {
    SIM_PERMITS_CONSERVED, /* permits in use = attempts that hold one, at every endpoint, at every
                              step */
    SIM_LIMIT_HELD,        /* never more attempts on an endpoint than its bulkhead's limit */
    SIM_PROBES_BOUNDED,    /* never more probes out than the breaker's half-open calls */
    SIM_HALF_OPEN_ENDS,    /* half-open with probes out lasts no longer than their lease */
    SIM_OPEN_HOLDS,        /* no attempt begins on an endpoint whose breaker is open */
    SIM_STALE_INERT,       /* a result of an earlier generation changes neither state nor window */
    SIM_BUDGET_HELD,       /* retries <= share of calls + reserve * time + burst */
    SIM_WRITE_TO_PRIMARY,  /* no write begins where the view sees no primary */
    SIM_NO_FORBIDDEN_REPEAT, /* no attempt follows an ending that forbids it */
    SIM_APPLIED_ONCE,  /* no write takes effect twice, unless its caller called that harmless */
    SIM_TRUE_COMMIT,   /* found committed: it was part of the surviving history when that was asked
                             for. Found aborted: it is not, and never will be */
    SIM_COMMIT_KEPT,   /* with synchronous standbys, what was found committed is never lost */
    SIM_RESOLVED,      /* healed: a search that has the time finds out */
    SIM_TRUE_ANSWER,   /* served means applied; refused and failed mean what the world says */
    SIM_PROMISE_KEPT,  /* no read older than its session's last write */
    SIM_ANSWERED_ONCE, /* one answer for each call */
    SIM_ANSWERED_IN_TIME, /* not after its deadline */
    SIM_LEVEL_OBEYED,     /* no attempt that the level of degradation does not allow */
    SIM_PROGRESS,       /* time goes on: no endless loop at one instant, no deadline left behind */
    SIM_ALL_ENDED,      /* healed: every call ends and gives everything back */
    SIM_BREAKERS_CLOSE, /* healed: every breaker closes */
    SIM_LADDER_RETURNS, /* healed: the ladder is at full as soon as its configuration allows, and
                           stays there */
    SIM_SERVED_AGAIN,   /* healed: calls are served, not refused */
    SIM_RULES
};

/* A server as it really is. */
struct sim_server {
    bool is_up, is_hung, is_refusing, is_primary;
    uint32_t slow_factor; /* service times are multiplied by this */
    uint32_t error_permille, reset_permille;
    uint32_t incarnation; /* grows when it crashes: connections of an earlier one are gone */
    uint64_t replayed;    /* position up to which its data is visible */
    bool is_replay_paused, is_cut; /* cut: receives nothing */

    /* Its WAL. Everybody's history is the same line of timelines, each left for the next one at
     * sim.cut; a former primary that nobody has stopped yet (stale) goes on beyond the cut. */
    bool is_stale;
    int64_t fenced_at_ns; /* when somebody stops a stale one */
    uint32_t timeline;
    uint64_t end, flushed; /* a replica has flushed all that it has */
    uint64_t next_xid;
    uint64_t recovered_lsn; /* where its last recovery ended; 0: started clean */
    int64_t started_us;
    bool is_clean;          /* down, and it was stopped in good order */
    uint32_t boot;          /* grows whenever its backends are gone */
    bool is_watched;        /* the watcher's connection has seen it as a replica */
    uint32_t left_timeline; /* and lived through its promotion: see snapshot.h */
    uint64_t left_lsn;
};

enum sim_tx_state {
    SIM_TX_OPEN,
    SIM_TX_FLUSHING, /* its commit record is in the WAL */
    SIM_TX_WAITING,  /* ... on disk, and not yet on a standby */
    SIM_TX_DONE,     /* visible */
    SIM_TX_ABORTED,
};

/* A transaction at the server's side of things: it goes on after its client has lost it. */
struct sim_tx {
    struct timer timer;
    enum sim_tx_state state;
    uint32_t server, boot, timeline;
    uint64_t xid;
    uint64_t record_lsn, commit_lsn; /* the ends of its first record and of its commit; 0: none */
    int64_t lost_at_ns;              /* when its commit left the surviving history; 0: it has not */
    int32_t write;                   /* -1: a confirmation */
    int32_t client;                  /* -1: nobody waits for it any more */
    int32_t older;                   /* the write's transaction before this one, -1 for none */
    bool has_commit;                 /* lost by its client, but COMMIT is on its way */
    bool is_stalled;
    bool is_called_aborted, is_called_committed; /* by a search */
};

/* What became of a write, as the servers know it. */
struct sim_write {
    int32_t newest; /* of its transactions */
    uint64_t position;
    bool idempotent;
    bool is_denied; /* its caller was told that it did not take effect */
};

enum sim_stage {
    SIM_CONNECTING,
    SIM_EXECUTING,  /* statements sent, not committed */
    SIM_COMMITTING, /* COMMIT or the autocommit statement sent */
    SIM_DECIDING,   /* and at the server: its transaction's timer goes on */
    SIM_ANSWERING,  /* done at the server, the answer is on its way */
};

/* One running attempt, at the server's side of things. */
struct sim_attempt {
    bool is_running, is_stalled, was_stopped;
    bool wants_primary; /* the view called the server that */
    enum sim_stage stage;
    uint32_t server, incarnation;
    struct outcome pending; /* what the answer will say */
    struct outcome_facts facts;
    int32_t tx; /* -1: none yet */
    bool has_probe, is_probe_early;
    struct commit_probe probe;
};

struct sim_client;

/* One search for a lost COMMIT, with the one question that is under way. */
struct sim_search {
    struct sim_client *client;
    struct commit machine;
    bool is_on;
    int32_t tx;
    struct timer alarm, step;
    bool is_answered, is_good; /* the question was answered, and well: the answer is on its way */
    enum commit_query query;
    uint32_t number, server;
    int32_t confirmation; /* its transaction; -1: not begun */
    char text[COMMIT_COLUMNS_MAX][48];
    const char *values[COMMIT_COLUMNS_MAX];
    char history[4096];
};

struct sim_client {
    struct sim *sim;
    uint32_t index;
    struct guard_call call;
    struct guard_request request;
    struct sim_attempt attempt;
    struct timer turn, step, tick, cancel, side; /* side: grants and cache answers on their way */
    enum guard_event_kind side_kind;
    int64_t deadline_ns;
    int32_t write;             /* index of the write in the world, -1 for reads */
    struct sim_search *search; /* sim.searches, by index: out of the way of those who look at all */
    bool is_excused;           /* found committed, and lost since as asynchronous commits can be */
    struct route_promise session;
    uint64_t session_position; /* the truth behind the promise */
    uint32_t ticks;            /* fed during this call */
    bool is_busy, is_answered;
    bool is_forbidden; /* an ending has forbidden any further attempt */
    bool is_stale;     /* the event being fed ends an attempt of an earlier generation */
    uint32_t generation_before;
    struct breaker_view before;
};

enum sim_phase {
    SIM_FAULTY,
    SIM_HEALED,
    SIM_CLOSING, /* clients start nothing new */
};

/* What the seed decided. */
struct sim_plan {
    uint32_t servers, clients;
    struct breaker_config breaker;
    struct bulkhead_config bulkhead;
    struct budget_config budget;
    struct guard_config guard;
    uint32_t faults_mask; /* kinds that this seed switches on */
    int64_t fault_ns_mean, think_ns_max, service_ns, sample_ns, faulty_ns;
    bool has_hold;
    struct commit_config commit;
    bool is_synchronous;   /* a commit is acknowledged when a standby has it */
    bool is_lazy;          /* ... before it is on disk (synchronous_commit = off) */
    bool has_marks;        /* probes leave a mark */
    bool has_history;      /* the role may read timeline histories */
    int64_t healed_ns_min; /* the healed world goes on at least so long */
};

struct sim {
    uint64_t seed;
    struct rng rng;
    struct sim_plan plan;
    int64_t now_ns;
    int64_t healed_at_ns, closing_at_ns;
    enum sim_phase phase;
    bool is_over;
    struct timerq timers;
    struct timer phase_end, breaker_tick;

    struct sim_server servers[SIM_SERVERS_MAX];
    uint64_t position;  /* the end of the rightful primary's WAL */
    uint64_t confirmed; /* with synchronous standbys: the end of what was acknowledged */
    uint64_t start[SIM_TIMELINES_MAX]; /* where each timeline began */
    uint64_t cut[SIM_TIMELINES_MAX]; /* and was left; before its start if nobody descends from it */
    uint32_t timeline;               /* of the primary */
    uint32_t writes;
    struct sim_write write[SIM_WRITES_MAX];
    uint32_t txs;
    struct sim_tx tx[SIM_TXS_MAX];
    uint64_t found[3], sought[COMMIT_WHYS]; /* how searches ended, and why */
    struct timer fault, pin, sampler, publish, election, replay;

    struct snapshot view, next_view; /* published; on its way */
    uint64_t roles_taken;
    uint32_t misses[SIM_SERVERS_MAX];
    int64_t caught_up_ns[SIM_SERVERS_MAX];
    struct degrade ladder;
    struct degrade_config ladder_config;

    struct guard guard;
    struct guard_lane lane;
    struct budget budget;
    struct breaker *breakers[SIM_SERVERS_MAX];
    struct bulkhead *bulkheads[SIM_SERVERS_MAX];
    struct bulkhead *hold;
    uint64_t calls_begun, retries_begun, served_since_heal, answered;

    struct sim_client clients[SIM_CLIENTS_MAX];
    struct sim_search searches[SIM_CLIENTS_MAX];
    uint64_t steps, steps_at_instant, log_hash;
    FILE *log;
    bool is_broken;
    enum sim_rule broken;
    char broken_text[256];
    size_t memory_used;
    _Alignas(64) unsigned char memory[SIM_MEMORY_BYTES];
};

void sim_run(struct sim *sim, uint64_t seed, FILE *log);
const char *sim_rule_name(enum sim_rule rule);

#endif
