/*
 * Commit: what became of a COMMIT whose answer was lost. Committed, aborted, or an honest "nobody
 * could tell in time"; never a guess.
 *
 * A connection that dies between sending COMMIT and its reply leaves a question, and an error that
 * says "failed" may be a lie. Two things answer it: a probe that the driver sends on the
 * transaction's own connection before the COMMIT, and, after the loss, questions to whoever is the
 * primary then. This machine decides what to ask whom and what the answers prove; the driver (the
 * library over libpq, the proxy over raw wire, the simulator) carries the questions.
 *
 *     IDLE --BEGIN--> WAITING for a primary <-- another one takes over, in any state
 *                        |
 *                        v    committed              (only with        (held until a
 *     PAUSING <------> ASKING -----------------> synchronous standbys)  view agrees)
 *        |  running,    |  |        ^                CONFIRMING ------> LOOKING ------> OVER
 *        |  no help     |  '-> READING the history                                      ^
 *        v              |      where the cut is not known                               |
 *     ENDING the        '-- aborted ----------------------------------------------------'
 *     backend
 *
 * 1. The probe
 * ------------
 * commit_probe_sql() is one cheap query. It may ride with any statement of the transaction after
 * which an xid can be there, and must at the latest travel in the same packet as the COMMIT, in
 * front of it. Two rules for the driver:
 *   - It is a message of its own (a Query, or an extended query with its own Sync): only then does
 *     the server send the answer off before it begins the COMMIT. "probe; COMMIT" in one string, or
 *     a pipeline with a single Sync, keeps both answers in one buffer, and one loss takes both.
 *   - The earlier the better: a probe whose answer has come back with the reply of the first
 *     writing statement survives even a cut network. Once an answer names an xid, no more probes
 *     are needed. None of the proofs below asks that the probe stood next to the COMMIT, only that
 *     it came before it.
 * The answer names the transaction (full xid, with its epoch), a position in the WAL that lies
 * before the commit record, the timeline, and two facts which together name one incarnation of a
 * server: when its postmaster started and where its last recovery ended. The position is by
 * default that of a mark: a WAL record of a few dozen bytes that carries the xid. It is written
 * only where wal_level is not "logical", so that no consumer of logical decoding ever sees one
 * (COMMIT_MARK_AUTO); a transaction without an xid stays without one, and on a standby the probe
 * asks nothing that could fail. It uses functions that PUBLIC may call; where an administrator has
 * revoked one, the probe would fail and take the transaction with it, so a driver asks
 * commit_probe_check_sql() once for each role, and sends no probe if that says false.
 *
 * Measured on PostgreSQL 15, CPU of the server: 10 us if it is prepared, 43 us as plain text (where
 * SELECT 1 takes 6 and 8.5), and 88 bytes of WAL. So prepare it.
 *
 * Below PostgreSQL 13 the functions have other names (txid_current_if_assigned, txid_status) and
 * mean the same; below 10 there are none, commit_probe_sql() is NULL, and a lost COMMIT is unknown.
 *
 * 2. What an answer proves
 * ------------------------
 * Let P be the timeline and L the position of the probe, X its xid; T the timeline of the server
 * that answers, R where its last recovery ended (pg_last_wal_replay_lsn: on a promoted server the
 * point of the switch, after a crash the end of what could be replayed, none after a clean start).
 * The cut is where the WAL that holds L ends for that server: R, or the switch that leaves P.
 *
 *  a. The same incarnation (T = P, same start, same R): nothing was lost since. The server's own
 *     record of X is the truth, and "in progress" is one as well: the backend has not noticed that
 *     its client is gone, may not even have read the COMMIT, or waits for a synchronous standby.
 *     It may still commit. So: wait and ask again, and after `patience_ns` end that backend
 *     (pg_terminate_backend, allowed to its own role), which makes it decide.
 *  b. The WAL was cut at or before L: by a crash (T = P, R <= L), or because the history of T
 *     leaves P there (T > P, switch <= L; R is never before the switch, so R <= L is enough).
 *     The commit record lay behind L. It did not survive: ABORTED, whatever the server says of X,
 *     which may be somebody else's xid by now.
 *  c. T > P, or another incarnation: X is "aborted", not assigned yet, or "in progress". A commit
 *     record that survived would say committed, and no backend of ours can run there: ABORTED.
 *     (That somebody else has X now is proof in itself: no record of ours was replayed.)
 *  d. "Committed", but is it ours? Only if a record of X survived; otherwise X was given out again.
 *     The mark is such a record: cut > L proves it. On T = P, R > L is enough, or a clean start,
 *     whose shutdown checkpoint knows X. On T > P the exact switch is needed, from the history file
 *     or from a watcher that saw the promotion (see commit_history): R > L alone could be the end
 *     of a crash recovery after the promotion. Without mark, or without the switch: UNRESOLVED.
 *  e. Any other server with the timeline P, "committed": two standbys that were promoted unaware of
 *     each other have the same number. UNRESOLVED while it is so.
 *  f. No record of X any more (NULL: it is older than the oldest transaction): UNRESOLVED.
 *  g. A server in recovery, of another system identifier, or on a timeline below P or below the
 *     highest that was seen here: no answer. Wait for the right one.
 *
 * 3. What is done before COMMITTED is said
 * ----------------------------------------
 * ABORTED is final as soon as it is found: what a primary has not in its WAL, no successor has.
 *  - Committed on a server with synchronous standbys is first CONFIRMED: a tiny transaction of our
 *    own must be acknowledged by them. A commit that a crashed or interrupted backend left behind
 *    is on the local disk and perhaps nowhere else, though the server calls it committed: the wait
 *    for the standby was cut short. The confirmation lies behind it in the WAL. It is also what a
 *    cut-off former primary can never get.
 *  - Committed is held until a view shows that nobody had taken over when the last answer came: it
 *    still names that endpoint as the primary, in whatever health, and all endpoints were looked at
 *    since, with no higher timeline among them. So a former primary that has not heard of its
 *    successor is not believed, be it one that was frozen when it was asked, nor is an address that
 *    has moved on to another server between two questions. It costs a sampling interval at most.
 *
 * 4. Premises
 * -----------
 *  1. The primary with the highest timeline that the watcher knows is the rightful one, and whoever
 *     is promoted later descends from it. (A cluster that discards its newest primary for a
 *     sibling has changed its past; no answer given before can be true in both.)
 *  2. A commit acknowledged without synchronous standbys can be lost by a later failover, always.
 *     COMMITTED here is as good as the acknowledgement that got lost, not better.
 *  3. Between the loss and the answer, one incarnation of a server does not come and go entirely
 *     unseen while others write through it (two crash recoveries within one search). Any number of
 *     switches is fine.
 *  4. A plain COMMIT. PREPARE TRANSACTION and COMMIT PREPARED have names that outlive the session:
 *     look in pg_prepared_xacts instead, begin no search.
 *
 * 5. Driving it
 * -------------
 *     struct commit_begin begin = {.probe = &tx->probe, .endpoint = tx->endpoint,
 *                                  .system_id = tx->system_id, .deadline_ns = action.deadline_ns};
 *     commit_init(&c, NULL);
 *     commit_feed(&c, &(struct commit_event){.kind = COMMIT_EV_BEGIN, .now_ns = now,
 *                                            .begin = &begin, .view = view});
 *     for (;;) {
 *         while (commit_next(&c, &act)) {
 *             if (act.kind == COMMIT_ACT_DONE)
 *                 return act.resolution;               // feed GUARD_EV_RESOLVED with it
 *             char sql[COMMIT_SQL_BYTES];              // COMMIT_ACT_QUERY
 *             commit_sql(&c, act.query, server_version, sql);
 *             start_query(act.endpoint, sql, act.deadline_ns);  // replaces one still under way
 *         }
 *         wait until there is a result, a new view, or commit_deadline(&c);
 *         result:  COMMIT_EV_RESULT with .number = act.number and .values, the columns of its only
 *                  row as text; or COMMIT_EV_FAILED with .number for any failure
 *         view:    COMMIT_EV_VIEW with .view
 *         time:    COMMIT_EV_TICK with .view
 *     }
 *
 * A query runs on a connection of its own to the endpoint named, outside of a transaction block, as
 * the same role (a backend may be ended by its own role). There is at most one at a time; a new
 * QUERY replaces the one under way, and a late result is inert by its number. After DONE nothing is
 * outstanding.
 *
 * Invariants
 *  1. DONE comes exactly once, not later than the deadline if TICK is fed at commit_deadline().
 *  2. ABORTED is never said while the transaction's own backend may still run.
 *  3. Every event is allowed in every state; what has no meaning there is counted and ignored.
 *
 * One owner, no sharing. No clock, no allocation, no libpq.
 */
#ifndef HF_CORE_COMMIT_H
#define HF_CORE_COMMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sv.h"
#include "core/guard.h"
#include "core/snapshot.h"

#define COMMIT_SQL_BYTES     640
#define COMMIT_SWITCHES_MAX  64
#define COMMIT_PROBE_COLUMNS 6
#define COMMIT_COLUMNS_MAX   7
#define COMMIT_SERVER_MIN    100000 /* server_version_num from which a probe exists */

/* ---- the probe ---- */

enum commit_mark {
    COMMIT_MARK_AUTO,   /* a record with the xid, where nobody can decode it */
    COMMIT_MARK_ALWAYS, /* also with wal_level = logical: consumers see a message "holdfast" */
    COMMIT_MARK_NEVER, /* a commit after a failover is then often UNRESOLVED instead of COMMITTED */
};

/* Which incarnation of a server this is. Equal values: no restart, no crash, no promotion between
 * the two looks. */
struct commit_incarnation {
    uint32_t timeline;
    uint64_t recovered_lsn; /* where its last recovery ended; 0: started clean */
    int64_t started_us; /* its postmaster's start, by the server's clock: compared, never judged */
};

struct commit_probe {
    uint64_t xid;   /* with its epoch; 0: none was assigned */
    uint64_t lsn;   /* L: the end of the mark, or the insert position; never behind the commit */
    bool is_marked; /* a record of the xid ends at `lsn` */
    struct commit_incarnation at;
};

/* The query, or NULL where the server has none. Constant text. */
const char *commit_probe_sql(int server_version, enum commit_mark mark);

/* One boolean: may this role run the probe? NULL where there is none. */
const char *commit_probe_check_sql(int server_version);

/* Reads the probe's row: COMMIT_PROBE_COLUMNS values as text, NULL for SQL's NULL. The system
 * identifier is not among them, as reading it costs the server a file; a watcher knows it. */
HF_MUST_USE enum hf_rc commit_probe_read(struct commit_probe *probe, const char *const *values,
                                         struct hf_err *err);

/* ---- what servers know ---- */

enum commit_status {
    COMMIT_STATUS_UNASKED,
    COMMIT_STATUS_COMMITTED,
    COMMIT_STATUS_ABORTED,
    COMMIT_STATUS_RUNNING, /* "in progress" */
    COMMIT_STATUS_FUTURE,  /* not assigned yet */
    COMMIT_STATUS_EXPIRED, /* too old: no record any more */
    COMMIT_STATUSES
};

struct commit_answer {
    bool is_in_recovery;
    bool is_synchronous; /* synchronous_standby_names is not empty */
    uint64_t system_id;
    struct commit_incarnation at;
    enum commit_status status;
};

/* Reads the row of COMMIT_QUERY_STATUS. False: it is not one. */
bool commit_answer_read(struct commit_answer *answer, const char *const *values);

/* Where a history left a timeline. */
struct commit_switch {
    uint32_t timeline;
    uint64_t lsn; /* the first byte of the next timeline */
};

/*
 * How the timeline `timeline` came about. Whole: read from its history file. Or what a watcher has
 * seen (snapshot_endpoint.left_timeline): a connection on which pg_is_in_recovery() was true and
 * later is false has lived through the promotion, so nothing restarted in between, and
 * pg_last_wal_replay_lsn() is exactly where the timeline that the standby had followed was left.
 * That is one switch, is_whole is false, and no privilege was needed to read files. It is believed
 * where the numbers of the two timelines follow each other, since the one that a standby follows is
 * known from its control file alone, which may be late.
 */
struct commit_history {
    uint32_t timeline;
    bool is_whole;
    uint32_t count;
    struct commit_switch switches[COMMIT_SWITCHES_MAX]; /* ascending */
};

/*
 * Reading history files takes a privilege that an application's role should not have. This function
 * gives away nothing else; a superuser may create it in the databases concerned. Where it is
 * missing, pg_read_file() is tried; where that is denied too, what a watcher saw must do.
 */
#define COMMIT_SETUP_SQL                                                                           \
    "CREATE SCHEMA IF NOT EXISTS holdfast;"                                                        \
    " GRANT USAGE ON SCHEMA holdfast TO PUBLIC;"                                                   \
    " CREATE OR REPLACE FUNCTION holdfast.timeline_history(timeline integer) RETURNS text"         \
    " LANGUAGE sql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog AS"               \
    " $$SELECT pg_read_file('pg_wal/' || lpad(upper(to_hex(timeline)), 8, '0') || '.history',"     \
    " 0, 65536, true)$$"

/* Reads the text of a history file. A server on timeline 1 has none: the empty text is whole. */
HF_MUST_USE enum hf_rc commit_history_read(struct commit_history *history, uint32_t timeline,
                                           struct sv text, struct hf_err *err);

/* ---- the judgement alone ---- */

/* Why it is so, or why it is not known. */
enum commit_why {
    COMMIT_WHY_NONE,

    COMMIT_WHY_RECORDED,     /* the server's own record of the transaction */
    COMMIT_WHY_CUT_OFF,      /* the WAL was cut before the commit record */
    COMMIT_WHY_NEVER_SEEN,   /* the surviving history has not assigned this xid, or not to us */
    COMMIT_WHY_OTHER_BRANCH, /* the surviving history never was on the probe's timeline */
    COMMIT_WHY_NO_XID,       /* the transaction had written nothing */

    COMMIT_WHY_NO_PROBE,       /* no answer of a probe: nothing to ask for */
    COMMIT_WHY_NO_PRIMARY,     /* nobody to ask */
    COMMIT_WHY_NO_ANSWER,      /* asked, and no answer came */
    COMMIT_WHY_NOT_PRIMARY,    /* whom we asked is in recovery */
    COMMIT_WHY_FOREIGN,        /* ... is of another cluster */
    COMMIT_WHY_STALE,          /* ... is on a timeline that was left */
    COMMIT_WHY_STILL_RUNNING,  /* its backend still has it open */
    COMMIT_WHY_EXPIRED,        /* the server has forgotten that xid */
    COMMIT_WHY_SWITCH_UNKNOWN, /* where the timeline was left cannot be read and was not seen */
    COMMIT_WHY_UNMARKED,       /* somebody else's commit may bear the same xid */
    COMMIT_WHY_FORKED,         /* another server with the same timeline number */
    COMMIT_WHY_UNCONFIRMED,    /* committed there, but its synchronous standbys do not confirm */
    COMMIT_WHY_UNWATCHED,      /* found, but no view since shows that nobody has taken over */
    COMMIT_WHYS
};

enum commit_verdict {
    COMMIT_VERDICT_COMMITTED,
    COMMIT_VERDICT_ABORTED,
    COMMIT_VERDICT_AGAIN,   /* not now: ask again later, `why` says what for */
    COMMIT_VERDICT_HISTORY, /* the history of the answer's timeline would tell */
    COMMIT_VERDICT_NEVER,   /* asking again will not help */
};

struct commit_finding {
    enum commit_verdict verdict;
    enum commit_why why;
};

/* Section 2, for one answer. `is_same_endpoint`: the server asked is where COMMIT was sent.
 * `history` may be NULL. */
struct commit_finding commit_judge(const struct commit_probe *probe,
                                   const struct commit_answer *answer, bool is_same_endpoint,
                                   const struct commit_history *history);

/* ---- the machine ---- */

struct commit_config {
    int64_t ask_ns_max;  /* one question's own limit */
    int64_t again_ns;    /* between a question that did not help and the next */
    int64_t patience_ns; /* how long a backend may go on before it is ended; HF_NEVER: for ever */
};

/* 2 s, 50 ms, 1 s. */
struct commit_config commit_config_default(void);

struct commit_begin {
    const struct commit_probe *probe; /* copied; NULL: no answer of a probe came in */
    uint32_t endpoint;                /* where COMMIT was sent */
    uint64_t system_id;               /* of the cluster; 0: not known */
    int64_t deadline_ns;              /* absolute: when an honest "unknown" is due */
    /* COMMIT itself has effects of its own that need no xid before it: NOTIFY. Then "no xid" proves
     * nothing. */
    bool may_notify;
};

enum commit_query {
    COMMIT_QUERY_STATUS,  /* one row, 7 columns */
    COMMIT_QUERY_HISTORY, /* one row, one column: text; may be denied: see COMMIT_SETUP_SQL */
    COMMIT_QUERY_CONFIRM, /* one row, two columns; an autocommit write */
    COMMIT_QUERY_END,     /* one row, one column: whether a backend was signalled */
    COMMIT_QUERIES
};

enum commit_event_kind {
    COMMIT_EV_BEGIN,  /* .begin, .view */
    COMMIT_EV_VIEW,   /* .view */
    COMMIT_EV_TICK,   /* .view; time has passed */
    COMMIT_EV_RESULT, /* .number, .values, .view: the row of the query of that number */
    COMMIT_EV_FAILED, /* .number, .view: it could not be had: connection, error, no row */
};

struct commit_event {
    enum commit_event_kind kind;
    int64_t now_ns;
    const struct snapshot *view;          /* sealed; valid during the feed only */
    const struct commit_history *history; /* what a watcher saw, with any event; NULL: nothing */
    const struct commit_begin *begin;
    uint32_t number;
    const char *const *values; /* COMMIT_COLUMNS_MAX at most; NULL for SQL's NULL */
};

enum commit_action_kind {
    COMMIT_ACT_QUERY, /* .query, .endpoint, .number, .deadline_ns: answer with RESULT or FAILED */
    COMMIT_ACT_DONE,  /* .resolution */
};

struct commit_action {
    enum commit_action_kind kind;
    enum commit_query query;
    uint32_t endpoint;
    uint32_t number;
    int64_t deadline_ns;
    enum guard_resolution resolution;
};

enum commit_state {
    COMMIT_IDLE,
    COMMIT_WAITING,    /* for a primary */
    COMMIT_ASKING,     /* STATUS is out */
    COMMIT_READING,    /* HISTORY is out */
    COMMIT_CONFIRMING, /* CONFIRM is out */
    COMMIT_ENDING,     /* END is out */
    COMMIT_PAUSING,    /* until the next question */
    COMMIT_LOOKING,    /* found; a view that was looked for later must not contradict it */
    COMMIT_OVER,
};

struct commit_reason {
    enum guard_resolution resolution; /* meaningful once the state is COMMIT_OVER */
    enum commit_why why;
    uint32_t endpoint; /* asked last; GUARD_NO_ENDPOINT: nobody was */
    uint32_t timeline; /* of its last answer; 0: none came */
    uint32_t queries;  /* sent so far */
    int64_t at_ns;
    int64_t searched_ns; /* since BEGIN */
};

/* In the caller's memory; the fields are the machine's. */
struct commit {
    struct commit_config config;
    enum commit_state state;
    int64_t now_ns, began_ns, deadline_ns;
    int64_t answered_ns;  /* when the answer that counts came */
    int64_t until_ns;     /* the present state's own limit */
    int64_t ran_since_ns; /* since when its backend is known to go on; HF_NEVER: it is not */
    struct commit_probe probe;
    struct commit_answer answer;
    struct commit_history history;
    struct commit_finding found;
    uint64_t system_id;
    uint32_t sent_to;       /* where COMMIT was sent */
    uint32_t endpoint;      /* who is asked */
    uint32_t number;        /* of the last query */
    uint32_t timeline_max;  /* highest seen in a view or an answer */
    uint32_t history_tries; /* for the timeline `history_of` */
    uint32_t history_of;
    struct commit_reason reason;
    bool has_action;
    struct commit_action action;
    uint64_t ignored; /* events that had no meaning in their state */
};

/* NULL: the default. */
void commit_init(struct commit *commit, const struct commit_config *config);
void commit_feed(struct commit *commit, const struct commit_event *event);
bool commit_next(struct commit *commit, struct commit_action *action);
int64_t commit_deadline(const struct commit *commit);
const struct commit_reason *commit_reason(const struct commit *commit);

/* The text of a query for this search. `server_version` as in server_version_num. */
void commit_sql(const struct commit *commit, enum commit_query query, int server_version,
                char out[COMMIT_SQL_BYTES]);

/* The reason as message, detail and hint; SQLSTATE 08007 unless it is resolved. */
void commit_reason_error(const struct commit_reason *reason, const struct snapshot *view,
                         struct hf_err *err);

const char *commit_why_name(enum commit_why why); /* in whole words */
const char *commit_state_name(enum commit_state state);
const char *commit_query_name(enum commit_query query);

#endif
