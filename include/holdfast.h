/*
 * libholdfast: PostgreSQL for programs that must go on while their PostgreSQL does not.
 *
 *     struct hf_error err;
 *     struct hf_db *db;
 *     struct hf_rows *rows;
 *     if (hf_open(&db, "postgresql://app@db1,db2,db3/shop", &err) != HF_SUCCESS)
 *         die(err.message);
 *     if (hf_query(db, "SELECT name FROM item WHERE id = $1", HF_PARAMS(hf_int(7)), NULL, &rows,
 *                  &err) == HF_SUCCESS) {
 *         while (hf_rows_next(rows, NULL) > 0)
 *             puts(hf_rows_text(rows, 0));
 *         hf_rows_free(rows);
 *     }
 *     hf_close(db);
 *
 * A query gets a true answer or a clear refusal, not later than its deadline. Behind each call
 * stand a pool of connections to every server, a watcher that knows which of them is the primary
 * and how far the others are behind, a breaker and a bulkhead for each, retries that a budget
 * bounds, and the search for the outcome of a COMMIT whose answer was lost.
 *
 * RULES FOR ALL OF IT
 *  1. Functions that can fail return 0 (HF_SUCCESS) or a code, and fill `err`, which may be NULL;
 *     what they hand out is then NULL. One that succeeds leaves `err` as it was. What frees takes
 *     NULL. Callbacks get an `err` that is never NULL.
 *  2. A struct of options that is all zero means the defaults, and so does NULL. In its fields 0
 *     means "the default"; a negative number, where it makes sense, means "none" or "no limit".
 *     Times are in milliseconds. The table of all defaults is docs/reference/library.md.
 *  3. Nothing waits for ever: every call has a deadline (30 s unless asked otherwise).
 *  4. Strings that are passed in are copied, or used only until the call returns; strings handed
 *     out belong to the object they came from.
 *  5. Passwords appear in no message, log line, metric or event.
 *
 * THREADS, SIGNALS, FORK. A struct hf_db and a struct hf_guard may be used by any number of threads
 * at once. Rows, transactions, sessions, streams and loops belong to one thread at a time.
 * hf_cancel_fire() may be called from any thread and from a signal handler; nothing else may be
 * called from a handler. The library leaves signal dispositions alone, runs its own threads with
 * all signals blocked, and never raises SIGPIPE. After fork() the child may only call hf_close() on
 * what it inherited, which frees the memory and leaves the parent's connections alone; every other
 * call answers HF_E_FORKED. Each function below says where it differs.
 *
 * NOTHING CROSSES THIS HEADER but C: no typedef, no macro is needed to bind it; enumerations are
 * int or int32_t. In C++ write `struct hf_tx`, `struct hf_stats`: functions have these names, too.
 */
#ifndef HF_HOLDFAST_H
#define HF_HOLDFAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HF_API_VERSION 1
#if defined(__GNUC__)
#define HF_API __attribute__((visibility("default")))
#else
#define HF_API
#endif

/* "1.0.0", of the library that is running. */
HF_API const char *hf_version(void);

/* ------------------------------------------------------------------------------------------------
 * Errors
 * --------------------------------------------------------------------------------------------- */

enum hf_code {
    HF_SUCCESS = 0,
    HF_E_USAGE,     /* the call itself is wrong: an argument, or the object's state */
    HF_E_CONFIG,    /* connection string, file or options; `message` names the place */
    HF_E_MEMORY,    /* none left, or over the limit that was set */
    HF_E_SERVER,    /* the server answered with an error: `sqlstate` */
    HF_E_CONNECT,   /* no connection could be made */
    HF_E_LOST,      /* the connection went away; what was asked did not take effect, or only read */
    HF_E_PROTOCOL,  /* the peer does not speak PostgreSQL, or not as it should */
    HF_E_OPEN,      /* refused: the breaker is open */
    HF_E_BUSY,      /* refused: no place in the bulkhead or its queue, or none in time */
    HF_E_NOBODY,    /* refused: no server fits (no primary, replicas too far behind ...) */
    HF_E_LEVEL,     /* refused: the level of degradation does not allow it */
    HF_E_DEADLINE,  /* the call's deadline came first; what was asked did not take effect */
    HF_E_CANCELLED, /* hf_cancel_fire() was called */
    HF_E_UNKNOWN,   /* a write or COMMIT whose outcome could not be found out in time (08007) */
    HF_E_CALLBACK,  /* the caller's own function said no; the transaction was rolled back */
    HF_E_FORKED,    /* used in a child of the process that made it */
    HF_E_CLOSED,    /* hf_close() has been called */
};

/* Filled by the call that failed. It owns nothing: copy it, throw it away. */
struct hf_error {
    int code; /* enum hf_code */
    char sqlstate[6];
    bool may_repeat; /* calling again is safe and can work: nothing took effect, and the reason may
                      * pass */
    uint32_t attempts;   /* that were made */
    char endpoint[64];   /* "host:port" of the last one, or "" */
    char message[512];   /* what failed and why, one line */
    char detail[512];    /* facts and numbers, or "" */
    char hint[256];      /* what to do, or "" */
    char constraint[64]; /* that the statement broke, as the server names it, or "" */
    int32_t position;    /* in the statement, in characters from 1; 0: none */
    int32_t callback;    /* HF_E_CALLBACK: what the caller's function returned */
    uint64_t reserved[4];
};

/* "HF_E_BUSY". Never NULL. */
HF_API const char *hf_code_name(int code);

/* "SQLSTATE 53300: too many ... (attempt 3, db2:5432)" into `text`, cut to fit; returns `text`. */
HF_API const char *hf_error_text(const struct hf_error *err, char *text, size_t size);

/* ------------------------------------------------------------------------------------------------
 * Opening
 * --------------------------------------------------------------------------------------------- */

struct hf_db;      /* a database: pools, watcher, policies. Thread-safe */
struct hf_session; /* whose writes its reads shall see */
struct hf_cancel;  /* a way to stop calls from outside */

enum hf_profile {
    HF_PROFILE_DEFAULT,
    HF_PROFILE_CONSERVATIVE, /* trips early, repeats little */
    HF_PROFILE_AGGRESSIVE,   /* tolerates much, repeats more and sooner */
    HF_PROFILE_API,          /* short deadlines, for answers that people wait for */
    HF_PROFILE_BATCH,        /* long deadlines, patient retries */
};

enum hf_intent {
    HF_AUTO,  /* by PostgreSQL's own grammar and its catalogue */
    HF_READ,  /* may go to a replica */
    HF_WRITE, /* goes to the primary */
};

enum hf_consistency {
    HF_CONSISTENCY_DEFAULT, /* that of the options, and there HF_SESSION */
    HF_SESSION,             /* sees every write of its session; without one, those of all calls of
                             * this hf_db that bring none either */
    HF_BOUNDED,             /* data not older than `staleness_ms` */
    HF_ANY_AGE,             /* whatever there is */
    HF_PRIMARY,             /* what the primary shows */
};

enum hf_balance {
    HF_LEAST_OF_TWO, /* of two drawn by weight, the one with less outstanding */
    HF_RANDOM,
    HF_ROUND_ROBIN,
};

enum hf_primary_reads {
    HF_PRIMARY_FALLBACK, /* reads go to the primary when no healthy replica fits */
    HF_PRIMARY_ALWAYS,   /* it is one of the readers */
    HF_PRIMARY_NEVER,
};

/* Limits of the connections to each server. */
struct hf_pool_options {
    int32_t size_max;           /* open connections: 25 */
    int32_t size_min;           /* kept open: 0 */
    int32_t idle_max;           /* kept while nobody needs them: 5 */
    int64_t lifetime_ms;        /* 5 minutes, jittered by a tenth */
    int64_t idle_ms;            /* 10 minutes */
    int64_t check_after_ms;     /* idle longer than this, it is looked at before use: 10 ms */
    int64_t connect_timeout_ms; /* of one attempt: 5 s */
    uint64_t reserved[4];
};

enum hf_trip {
    HF_TRIP_EITHER,      /* whichever of the two comes first */
    HF_TRIP_CONSECUTIVE, /* failure_threshold failures in a row */
    HF_TRIP_RATE,        /* failure_percent of at least calls_min calls in the window */
};

struct hf_breaker_options {
    int32_t trip;              /* enum hf_trip */
    int32_t failure_threshold; /* 5 */
    int32_t failure_percent;   /* 50 */
    int32_t calls_min;         /* 20 */
    int64_t window_ms;         /* 10 s */
    int64_t slow_ms;           /* a call is slow from here on: 5 s */
    int32_t slow_percent;      /* of slow calls that trips: 80; negative: never */
    int32_t half_open_calls;   /* probes at a time: 3 */
    int32_t success_threshold; /* probes that close it: 3 */
    int64_t open_ms;           /* 30 s for hf_guard, 1 s for servers, which the watcher looks at */
    int64_t open_ms_max;       /* it doubles up to here: 60 s for hf_guard, 10 s for servers */
    bool is_disabled;
    bool is_monitor; /* decides and reports, refuses nothing */
    uint64_t reserved[4];
};

struct hf_bulkhead_options {
    int32_t concurrent_max; /* 100; for servers the size of the pool */
    int32_t queue_max;      /* 50 */
    int64_t wait_ms;        /* in the queue: 5 s */
    int64_t execution_ms;   /* 30 s */
    bool is_adaptive;       /* finds its limit by the latency it sees */
    uint64_t reserved[4];
};

struct hf_retry_options {
    int32_t attempts_max;   /* 5 for statements, 3 for transactions and hf_guard; 1: no retry */
    int64_t initial_ms;     /* 100; transactions 50 */
    int64_t cap_ms;         /* 10 s; transactions 1 s; hf_guard 30 s */
    int32_t budget_percent; /* retries may add so much to the load: 20; negative: unbounded */
    uint64_t reserved[4];
};

struct hf_cache_options {
    int64_t bytes_max; /* of all results kept: 16 MiB; negative: no cache */
    int64_t ttl_ms;    /* a result is fresh for: 60 s */
    int64_t stale_ms;  /* and may be served, marked stale, while no server answers: 10 minutes */
    uint64_t reserved[4];
};

struct hf_route_options {
    int32_t consistency;   /* enum hf_consistency */
    int64_t staleness_ms;  /* for HF_BOUNDED: 5 s */
    int64_t lag_ms_max;    /* a replica further behind serves no read: no limit */
    int32_t balance;       /* enum hf_balance */
    int32_t primary_reads; /* enum hf_primary_reads */
    int64_t interval_ms;   /* how often each server is asked how it is: 100, jittered */
    const char *zone;      /* the caller's; endpoints of the same one are preferred */
    const char *patroni;   /* "http://host:8008": learn the servers there */
    bool follow_replicas;  /* learn replicas from the primary's own list */
    uint64_t reserved[4];
};

/* What is said of one host of the connection string. */
struct hf_endpoint_options {
    const char *name; /* "host:port" as in the connection string */
    const char *zone;
    int32_t priority;       /* lower is used first: 0 */
    int32_t weight;         /* among equals: 1 */
    int32_t concurrent_max; /* its own bulkhead: the size of the pool */
    uint64_t reserved[2];
};

enum hf_log_level {
    HF_LOG_DEBUG,
    HF_LOG_INFO,
    HF_LOG_WARNING,
    HF_LOG_ERROR,
};

enum hf_event_kind {
    HF_EVENT_BREAKER,  /* state changed: `name`, `from`, `to` */
    HF_EVENT_LEVEL,    /* degradation moved: `from`, `to` */
    HF_EVENT_ENDPOINT, /* down, up, suspect: `name`, `from`, `to` */
    HF_EVENT_ROLE,     /* became primary or replica, was fenced or refused: `name`, `to` */
    HF_EVENT_RETRY,    /* a call is tried again: `name`, `detail` */
    HF_EVENT_SLOW,     /* a call took longer than hooks.slow_ms */
    HF_EVENT_RESOLVED, /* the outcome of a lost COMMIT was found: `to` committed or aborted */
    HF_EVENT_BULKHEAD, /* full, or free again */
};

/* Strings live until the hook returns. */
struct hf_event {
    int32_t kind; /* enum hf_event_kind */
    const char *name;
    const char *from;
    const char *to;
    const char *detail; /* a sentence */
    int64_t duration_ms;
    uint64_t reserved[4];
};

/* Called one at a time, in the order in which things happened, without a lock, on the thread of a
 * caller or one of the library's own. They must not call into the library for the same hf_db, and
 * should return soon: at most 128 events wait; of log lines of a kind 5 a second are written. */
struct hf_hooks {
    void (*on_log)(int level, const char *line, void *arg); /* NULL: nothing is logged */
    void (*on_event)(const struct hf_event *event, void *arg);
    /* While hf_open() waits for a database that is still coming up: what it waits for, and since
     * when. Anything but 0 gives up. */
    int (*on_start)(const char *why, int64_t waited_ms, void *arg);
    int64_t slow_ms; /* 1 s; negative: never */
    void *arg;
    uint64_t reserved[4];
};

struct hf_options {
    const char *conninfo; /* as libpq takes it, with any number of hosts */
    const char *file;     /* holdfast.yml; what stands here goes before what stands there */
    const char *database; /* whose section of the file; the only one if NULL */
    int32_t profile;      /* enum hf_profile; single fields go before it */
    int64_t deadline_ms;  /* of a call that brings none: 30 s */
    int64_t start_ms;     /* hf_open() waits so long for a server to answer: 10 s; negative: not at
                           * all, the first call finds out */
    int64_t resolve_ms;   /* the search for a lost COMMIT's outcome: 10 s, within the deadline */
    int64_t hold_ms;      /* a call waits for a primary during a failover: 10 s */
    int64_t memory_max;   /* bytes, of all the library keeps for this database: no limit */
    struct hf_pool_options pool;
    struct hf_breaker_options breaker; /* of each server */
    struct hf_bulkhead_options bulkhead;
    struct hf_retry_options retry;    /* of single statements */
    struct hf_retry_options tx_retry; /* of whole transactions */
    struct hf_cache_options cache;
    struct hf_route_options route;
    const struct hf_endpoint_options *endpoints;
    size_t endpoint_count;
    struct hf_hooks hooks;
    uint64_t reserved[8];
};

/* Opens a database. `where` is a connection string as libpq takes it, or the path of a holdfast.yml
 * (anything that ends in .yml or .yaml). Returns when the first server has let it in, at once when
 * what is wrong will stay wrong (password, database name, an option), else after start_ms. */
HF_API int hf_open(struct hf_db **db, const char *where, struct hf_error *err);
HF_API int hf_open_with(struct hf_db **db, const struct hf_options *options, struct hf_error *err);

/* Ends everything: calls under way in other threads are cancelled and waited for. NULL is allowed.
 * What came from `db` (sessions, loops, leases, rows that stream) must have been freed before;
 * complete rows may live on. */
HF_API void hf_close(struct hf_db *db);

/* ------------------------------------------------------------------------------------------------
 * Statements
 * --------------------------------------------------------------------------------------------- */

enum hf_format {
    HF_TEXT,
    HF_BINARY,
};

/* A parameter. Made by the helpers below, which keep small values inside; `value` must live until
 * the call returns (asynchronous calls copy it). */
struct hf_param {
    uint32_t type;     /* its OID; 0: the server finds out */
    int32_t format;    /* enum hf_format */
    int32_t length;    /* of binary ones; -1: NULL */
    const void *value; /* NULL: it is in `small` */
    char small[32];
};

struct hf_params {
    const struct hf_param *list;
    size_t count;
};

HF_API struct hf_param hf_null(void);
HF_API struct hf_param hf_text(const char *value); /* NULL is SQL's NULL */
/* Numbers go as text without a type: the server takes them for what the place wants. */
HF_API struct hf_param hf_int(int64_t value);
HF_API struct hf_param hf_double(double value);
HF_API struct hf_param hf_bool(bool value);
HF_API struct hf_param hf_bytes(const void *value, size_t length);

enum hf_cache_use {
    HF_CACHE_OFF,
    HF_CACHE_FALLBACK, /* only when no server answers: the last good result, marked stale */
    HF_CACHE_FIRST,    /* a fresh result is served without asking */
};

/* Why a call went where it went. Filled at its end, whatever that was. */
struct hf_decision {
    char endpoint[64];   /* of the last attempt, or "" */
    char class_name[24]; /* what the statement was taken for: "read", "write" ... */
    char reason[160];    /* one sentence */
    uint32_t attempts;
    int32_t level;                                                    /* enum hf_level at the end */
    int64_t queued_ns, connected_ns, server_ns, backoff_ns, total_ns; /* where the time went */
    bool was_cached, was_resolved, was_held;
    uint64_t reserved[4];
};

struct hf_call_options {
    int32_t intent;      /* enum hf_intent */
    int32_t consistency; /* enum hf_consistency */
    int64_t staleness_ms;
    int64_t deadline_ms;
    struct hf_session *session; /* NULL: all calls of this hf_db that bring none share one */
    struct hf_cancel *cancel;
    const char *operation; /* a name for metrics and fallbacks; "" and NULL: none */
    int32_t cache;         /* enum hf_cache_use */
    int64_t cache_ttl_ms, cache_stale_ms;
    bool is_idempotent;  /* running it twice is harmless: a lost write may be repeated */
    bool finds_outcome;  /* a write whose answer is lost: what became of it is found out, as of a
                          * COMMIT, and it is run again if it certainly had no effect. BEGIN, a
                          * question and COMMIT go in its packet: no round trip more, some 0.1 ms of
                          * the server. One statement, of a kind that may run in a transaction
                          * block; not for hf_loop_query() */
    bool no_prepare;     /* do not keep it prepared on the connection */
    int32_t priority;    /* in queues: 0 is served first; up to 3 */
    int32_t format;      /* of results: enum hf_format */
    uint32_t chunk_rows; /* 0: the whole result at once; n: n rows at a time, bounded memory */
    struct hf_decision *decision; /* filled if not NULL */
    uint64_t reserved[8];
};

#ifndef __cplusplus
/* hf_query(db, "... $1 ... $2", HF_PARAMS(hf_int(1), hf_text("x")), HF_WITH(.intent = HF_READ),
 * ...). Of at least one parameter; with none, NULL. In C++ make a struct hf_params of an array. */
#define HF_PARAMS(...)                                                                             \
    (&(const struct hf_params){(const struct hf_param[]){__VA_ARGS__},                             \
                               sizeof((const struct hf_param[]){__VA_ARGS__}) /                    \
                                   sizeof(struct hf_param)})
#define HF_WITH(...) (&(const struct hf_call_options){__VA_ARGS__})
#endif

struct hf_rows;

/* Runs one statement (without parameters: also several, separated by semicolons; the last result
 * counts) and gives its rows. Blocks until they are there, or with chunk_rows until the first
 * are. */
HF_API int hf_query(struct hf_db *db, const char *sql, const struct hf_params *params,
                    const struct hf_call_options *options, struct hf_rows **rows,
                    struct hf_error *err);

/* The same for statements whose rows do not matter; `affected` may be NULL. */
HF_API int hf_exec(struct hf_db *db, const char *sql, const struct hf_params *params,
                   const struct hf_call_options *options, uint64_t *affected, struct hf_error *err);

/* Moves to the next row: 1 there is one, 0 that was the last, -1 the stream broke (err says how).
 * Before the first call no row is current. */
HF_API int hf_rows_next(struct hf_rows *rows, struct hf_error *err);
HF_API void hf_rows_free(struct hf_rows *rows); /* what still streams is cancelled and drained */

/* Of the current row. Text is NUL-terminated and lives until the rows are freed, or with chunk_rows
 * until hf_rows_next(). Of NULL: "", 0, false. Numbers are read from text and binary alike, and are
 * 0 if the value is none. */
HF_API bool hf_rows_is_null(const struct hf_rows *rows, int column);
HF_API const char *hf_rows_text(const struct hf_rows *rows, int column);
HF_API size_t hf_rows_length(const struct hf_rows *rows, int column);
HF_API int64_t hf_rows_int(const struct hf_rows *rows, int column);
HF_API double hf_rows_double(const struct hf_rows *rows, int column);
HF_API bool hf_rows_bool(const struct hf_rows *rows, int column);

/* Of the result. */
HF_API int64_t hf_rows_count(const struct hf_rows *rows); /* -1 while it streams */
HF_API int hf_rows_columns(const struct hf_rows *rows);
HF_API int hf_rows_column(const struct hf_rows *rows, const char *name); /* -1: none */
HF_API const char *hf_rows_name(const struct hf_rows *rows, int column);
HF_API uint32_t hf_rows_type(const struct hf_rows *rows, int column);
HF_API uint64_t hf_rows_affected(const struct hf_rows *rows);
HF_API const char *hf_rows_endpoint(const struct hf_rows *rows);
/* How old it is: 0 from a server, else milliseconds since a server was asked for it. `is_stale`
 * (may be NULL) is set where it is shown only because no server could be asked. */
HF_API int64_t hf_rows_age_ms(const struct hf_rows *rows, bool *is_stale);

/* ------------------------------------------------------------------------------------------------
 * Transactions
 * --------------------------------------------------------------------------------------------- */

struct hf_tx;

enum hf_isolation {
    HF_ISOLATION_DEFAULT, /* the server's */
    HF_READ_COMMITTED,
    HF_REPEATABLE_READ,
    HF_SERIALIZABLE,
};

struct hf_tx_options {
    int32_t isolation; /* enum hf_isolation */
    bool is_read_only; /* may go to a replica */
    bool is_deferrable;
    bool is_independent;  /* inside of another one: a transaction of its own, no savepoint */
    bool retry_savepoint; /* nested: run it again from its savepoint, where that can help: a lock
                           * that was not to be had (55P03), a deadlock (40P01). Not against 40001,
                           * which only the whole transaction can be rid of */
    int32_t consistency;
    int64_t staleness_ms;
    int64_t deadline_ms; /* of all its attempts together */
    struct hf_session *session;
    struct hf_cancel *cancel;
    const char *operation;
    struct hf_retry_options retry; /* 0: options.tx_retry */
    struct hf_decision *decision;  /* filled when it ends */
    uint64_t reserved[8];
};

/* The work. It may be called several times: each time in a new transaction, what the last one did
 * is undone. Returns 0 to commit; anything else rolls back, and hf_tx() returns HF_E_CALLBACK with
 * it in err->callback, or the failure of the statement that `err` was filled with: hand `err` on to
 * the calls in it, since what they failed of decides whether the whole is run again. */
typedef int hf_tx_work(struct hf_tx *tx, void *arg, struct hf_error *err);

/*
 * Runs `work` in a transaction: begins, commits when it returns 0, else rolls back. Inside of
 * another transaction of the same hf_db on the same thread it becomes a savepoint. What belongs to
 * the transaction goes through `tx`: an hf_query() within `work` runs beside it, on a connection of
 * its own.
 *
 * Run again as a whole, within attempts, budget and deadline: after 40001 and 40P01, after a lost
 * connection while COMMIT had not been sent, and whatever else proves that nothing happened.
 *
 * BEGIN goes with the first statement, savepoints with the next one: a work of one statement costs
 * two round trips, nesting none. The transaction's time, now(), is that of its first statement.
 *
 * An error within `work` leaves the transaction to be rolled back, or to its savepoint: statements
 * before that are refused with 25P02. If the work returns 0 all the same, it is rolled back and the
 * error is told. Do not send COMMIT or ROLLBACK by hf_tx_exec().
 *
 * A COMMIT whose answer is lost is resolved: HF_SUCCESS if it took effect, a repetition or an error
 * with may_repeat if it certainly did not, HF_E_UNKNOWN only if no server could say before the
 * deadline.
 *
 * C++ exceptions that leave `work` roll back and go on; so does pthread_exit(). A longjmp() out of
 * it cannot be seen when it happens: the transaction is rolled back by the next call of this thread
 * (that it was left is found by walking the stack), when the thread ends, by hf_close(), or within
 * a second of its deadline, whichever comes first. Where the stack cannot be walked (within code
 * made at run time, or on a coroutine's stack), an hf_tx() that might be nested is refused with
 * HF_E_USAGE: say hf_tx_nested() or is_independent there.
 */
HF_API int hf_tx(struct hf_db *db, const struct hf_tx_options *options, hf_tx_work *work, void *arg,
                 struct hf_error *err);

/* The same, nested in `tx`, said openly. Of the options retry_savepoint and retry are looked at. */
HF_API int hf_tx_nested(struct hf_tx *tx, const struct hf_tx_options *options, hf_tx_work *work,
                        void *arg, struct hf_error *err);

/* For languages with their own ways of scope: by hand. No repetition, all the rest. Commit and
 * rollback free `tx` whatever they return. If it was ended by its deadline or by hf_close(), each
 * call says so until then. */
HF_API int hf_tx_begin(struct hf_db *db, const struct hf_tx_options *options, struct hf_tx **tx,
                       struct hf_error *err);
HF_API int hf_tx_commit(struct hf_tx *tx, struct hf_error *err);
HF_API void hf_tx_rollback(struct hf_tx *tx);
HF_API int hf_tx_savepoint(struct hf_tx *tx, struct hf_error *err);   /* one level deeper */
HF_API int hf_tx_release(struct hf_tx *tx, struct hf_error *err);     /* one level up, kept */
HF_API int hf_tx_rollback_to(struct hf_tx *tx, struct hf_error *err); /* one level up, undone */

/* Of the options: intent (what the statement is), deadline (then it is cancelled, and the
 * transaction waits for its rollback, or that to a savepoint), cancel (ends the whole transaction),
 * format, chunk_rows, no_prepare and decision. While rows stream (chunk_rows) the transaction is
 * busy with them; freed early, the rest is read away. */
HF_API int hf_tx_query(struct hf_tx *tx, const char *sql, const struct hf_params *params,
                       const struct hf_call_options *options, struct hf_rows **rows,
                       struct hf_error *err);
HF_API int hf_tx_exec(struct hf_tx *tx, const char *sql, const struct hf_params *params,
                      const struct hf_call_options *options, uint64_t *affected,
                      struct hf_error *err);
/* 1 in the first run of the work, 2 in its first repetition ... */
HF_API uint32_t hf_tx_attempt(const struct hf_tx *tx);

/* ------------------------------------------------------------------------------------------------
 * COPY and pipelines: on a transaction, or on a connection of their own (tx NULL)
 * --------------------------------------------------------------------------------------------- */

struct hf_copy;
struct hf_pipeline;

/* COPY ... FROM STDIN: put, put, ..., end. COPY ... TO STDOUT: get until 0, end. Pieces may end
 * anywhere; those that come out are whole rows. Memory is bounded whatever the size, and a slow
 * side slows the other. Without a tx it is a transaction of its own, whose commit is resolved like
 * any. A single attempt: the data are not kept. The deadline holds for all of it together. */
HF_API int hf_copy_start(struct hf_db *db, struct hf_tx *tx, const char *sql,
                         const struct hf_call_options *options, struct hf_copy **copy,
                         struct hf_error *err);
HF_API int hf_copy_put(struct hf_copy *copy, const void *data, size_t size, struct hf_error *err);
/* 1: `*data`, `*size` is the next piece, good until the next call; 0: that was all; -1: broken. */
HF_API int hf_copy_get(struct hf_copy *copy, const void **data, size_t *size, struct hf_error *err);
/* Frees it, and says how it went: rows that the server refused are told of here. `give_up` not
 * NULL: the server is told so, and nothing of it is kept; a `tx` then waits for its rollback, or
 * that to a savepoint. */
HF_API int hf_copy_end(struct hf_copy *copy, const char *give_up, uint64_t *rows,
                       struct hf_error *err);

/* Many statements, one round trip. What was added runs in order as one transaction (or as part of
 * `tx`); after an error the rest is skipped. Add, add, ..., run, take the rows of each in order,
 * free. Without a tx it is run again as a whole whenever it is proved that nothing of it took
 * effect, and its commit is resolved, as by hf_tx(). Results are kept in memory until they are
 * taken. */
HF_API int hf_pipeline_new(struct hf_db *db, struct hf_tx *tx,
                           const struct hf_call_options *options, struct hf_pipeline **pipeline,
                           struct hf_error *err);
HF_API int hf_pipeline_add(struct hf_pipeline *pipeline, const char *sql,
                           const struct hf_params *params, struct hf_error *err);
HF_API int hf_pipeline_run(struct hf_pipeline *pipeline, struct hf_error *err);
/* The next result, the caller's to free; 1 there was one, 0 no more, -1 that statement failed. */
HF_API int hf_pipeline_next(struct hf_pipeline *pipeline, struct hf_rows **rows,
                            struct hf_error *err);
HF_API void hf_pipeline_free(struct hf_pipeline *pipeline);

/* ------------------------------------------------------------------------------------------------
 * Sessions, cancelling, connections on loan
 * --------------------------------------------------------------------------------------------- */

#define HF_TOKEN_BYTES 96 /* with the NUL */

/* A session sees its own writes on every server. Without one all calls of an hf_db see each
 * other's. */
HF_API int hf_session_new(struct hf_db *db, struct hf_session **session, struct hf_error *err);
HF_API void hf_session_free(struct hf_session *session);
/* What it must see, as a short text that another process may go on with. After a write it waits
 * until the primary has told its position: for an interval, and 2 s at most (HF_E_NOBODY). */
HF_API int hf_session_token(struct hf_session *session, char token[HF_TOKEN_BYTES],
                            struct hf_error *err);
/* From now on it also sees what that session had written. */
HF_API int hf_session_adopt(struct hf_session *session, const char *token, struct hf_error *err);

/* Stops every call that it was given to, now and later, until it is reset. fire may be called from
 * any thread and from a signal handler. */
HF_API int hf_cancel_new(struct hf_cancel **cancel, struct hf_error *err);
HF_API void hf_cancel_fire(struct hf_cancel *cancel);
HF_API void hf_cancel_reset(struct hf_cancel *cancel);
HF_API void hf_cancel_free(struct hf_cancel *cancel);

struct hf_lease;
struct pg_conn; /* libpq's PGconn */

/* A connection for what this header has no words for (LISTEN, large objects). Blocking; it counts
 * in the pool until given back, which resets it. `is_broken` closes it instead. */
HF_API int hf_lease_take(struct hf_db *db, const struct hf_call_options *options,
                         struct hf_lease **lease, struct hf_error *err);
HF_API struct pg_conn *hf_lease_pg(struct hf_lease *lease);
HF_API void hf_lease_give(struct hf_lease *lease, bool is_broken);

/* ------------------------------------------------------------------------------------------------
 * Asynchronous: in the caller's own loop, nothing here blocks
 *
 *     watch hf_loop_fd(loop) for reading; when it is readable, or hf_loop_timeout_ms() has passed,
 *     call hf_turn(loop): it does what can be done and calls back what has ended.
 * --------------------------------------------------------------------------------------------- */

struct hf_loop;
struct hf_call;

/* Called by hf_turn() once for each call that was started. `rows` are the receiver's to free (NULL
 * where there are none), `err` lives until it returns. It may start calls, and free nothing of the
 * loop. */
typedef void hf_done(struct hf_call *call, int code, struct hf_rows *rows,
                     const struct hf_error *err, void *arg);

HF_API int hf_loop_new(struct hf_db *db, struct hf_loop **loop, struct hf_error *err);
/* Calls under way are cancelled and called back with HF_E_CANCELLED first. */
HF_API void hf_loop_free(struct hf_loop *loop);
HF_API int hf_loop_fd(const struct hf_loop *loop); /* the same for as long as the loop lives */
/* Milliseconds until hf_turn() is due without anything readable; -1: never. To be asked again after
 * each hf_turn() and after calls were started. */
HF_API int64_t hf_loop_timeout_ms(const struct hf_loop *loop);
HF_API int hf_turn(struct hf_loop *loop);                  /* how many calls ended */
HF_API size_t hf_loop_pending(const struct hf_loop *loop); /* calls that have not */

/* Starts a statement; `call` (may be NULL) is valid until `done` returns. Statement, parameters and
 * options are copied; the session, cancel and decision that options name must live until then. With
 * chunk_rows `done` is called for each chunk with HF_SUCCESS and rows, and at the end without rows.
 */
HF_API int hf_loop_query(struct hf_loop *loop, const char *sql, const struct hf_params *params,
                         const struct hf_call_options *options, hf_done *done, void *arg,
                         struct hf_call **call, struct hf_error *err);
/* Ends it as soon as possible; `done` is still called. On the loop's thread. */
HF_API void hf_call_cancel(struct hf_call *call);

/* Transactions step by step: `done` of begin gets the transaction by hf_call_tx(). One statement at
 * a time, in whole results; of the options intent, deadline, format, no_prepare and decision are
 * looked at. Commit and rollback free it; where they fail at once because it has ended already (its
 * deadline), `done` is not called and it is freed, too. hf_loop_free() ends and frees the
 * transactions that are open. The blocking functions refuse them. */
HF_API int hf_loop_begin(struct hf_loop *loop, const struct hf_tx_options *options, hf_done *done,
                         void *arg, struct hf_error *err);
HF_API struct hf_tx *hf_call_tx(struct hf_call *call);
HF_API int hf_loop_tx_query(struct hf_tx *tx, const char *sql, const struct hf_params *params,
                            const struct hf_call_options *options, hf_done *done, void *arg,
                            struct hf_error *err);
HF_API int hf_loop_commit(struct hf_tx *tx, hf_done *done, void *arg, struct hf_error *err);
HF_API int hf_loop_rollback(struct hf_tx *tx, hf_done *done, void *arg, struct hf_error *err);

/* ------------------------------------------------------------------------------------------------
 * Guarding anything
 * --------------------------------------------------------------------------------------------- */

struct hf_guard;

enum hf_work_result {
    HF_WORK_DONE = 0,
    HF_WORK_FAILED,  /* counts against the breaker; may be repeated */
    HF_WORK_REFUSED, /* the caller's own mistake: neither counted nor repeated */
};

struct hf_work {
    uint32_t attempt;     /* 1 for the first */
    int64_t remaining_ms; /* until the deadline */
    uint64_t reserved[2];
};

/* Returns an hf_work_result; may fill err->message. */
typedef int hf_guard_work(const struct hf_work *work, void *arg, struct hf_error *err);
/* Called with what went wrong instead of giving it to the caller; 0: it has an answer after all. */
typedef int hf_fallback(const struct hf_error *why, void *arg, struct hf_error *err);

struct hf_guard_options {
    const char *name; /* for events and metrics */
    int32_t profile;
    int64_t deadline_ms; /* 30 s */
    struct hf_breaker_options breaker;
    struct hf_bulkhead_options bulkhead;
    struct hf_retry_options retry;
    hf_fallback *fallback;
    struct hf_hooks hooks;
    uint64_t reserved[8];
};

HF_API int hf_guard_new(struct hf_guard **guard, const struct hf_guard_options *options,
                        struct hf_error *err);
HF_API void hf_guard_free(struct hf_guard *guard);
/* Runs `work` on this thread behind breaker, bulkhead, retry, deadline and fallback. A deadline
 * cannot stop a function: it keeps it from being started again, and counts it as slow. */
HF_API int hf_guard_run(struct hf_guard *guard, hf_guard_work *work, void *arg,
                        struct hf_error *err);

/* By hand, for code that a callback does not suit: ask for a permit, do it, say how it ended. */
struct hf_permit {
    uint64_t opaque[8];
};
HF_API int hf_guard_enter(struct hf_guard *guard, struct hf_permit *permit, struct hf_error *err);
HF_API void hf_guard_leave(struct hf_guard *guard, struct hf_permit *permit, int work_result);

/* if (HF_GUARDED(guard, &permit, &err, fetch(url) == 0)) ... else complain(err.message);
 * True: it was let in and the expression was true; the expression runs only if it was let in. */
#define HF_GUARDED(guard, permit, err, expression)                                                 \
    (hf_guard_enter((guard), (permit), (err)) == HF_SUCCESS &&                                     \
     hf_guard_left((guard), (permit), (expression)))
/* hf_guard_leave() for the macro: returns `is_good`. */
HF_API bool hf_guard_left(struct hf_guard *guard, struct hf_permit *permit, bool is_good);

/* ------------------------------------------------------------------------------------------------
 * Degrading with grace
 * --------------------------------------------------------------------------------------------- */

enum hf_level {
    HF_LEVEL_FULL,
    HF_LEVEL_READ_ONLY,   /* the primary is lost */
    HF_LEVEL_CACHED_ONLY, /* nobody is left: cached results and fallbacks */
    HF_LEVEL_HEALTH_ONLY, /* by hand */
    HF_LEVEL_MAINTENANCE, /* by hand */
};

HF_API int hf_level(struct hf_db *db);
HF_API const char *hf_level_name(int level);
/* By hand, for `for_ms` (0: until hf_level_release()). */
HF_API int hf_level_force(struct hf_db *db, int level, int64_t for_ms, struct hf_error *err);
HF_API void hf_level_release(struct hf_db *db);

/* For hf_query(): gives rows instead of the refusal, built with hf_rows_make(). 0: it did. */
typedef int hf_rows_fallback(const char *sql, const struct hf_error *why, void *arg,
                             struct hf_rows **rows, struct hf_error *err);
/* For calls whose `operation` is this one ("*": all that have none of their own). Before the first
 * call that needs it; NULL removes it. */
HF_API int hf_fallback_set(struct hf_db *db, const char *operation, hf_rows_fallback *fallback,
                           void *arg, struct hf_error *err);
/* Text rows from `values`, row by row; NULL in it is SQL's NULL. */
HF_API int hf_rows_make(const char *const *names, int columns, const char *const *values,
                        int64_t count, struct hf_rows **rows, struct hf_error *err);

/* Forgets cached results: of one operation, or with NULL all. */
HF_API void hf_cache_clear(struct hf_db *db, const char *operation);

/* ------------------------------------------------------------------------------------------------
 * Seeing
 * --------------------------------------------------------------------------------------------- */

struct hf_endpoint {
    char name[64];
    const char *role;    /* "primary", "replica", "unknown" */
    const char *health;  /* "up", "suspect", "down" */
    const char *breaker; /* "closed", "open", "half_open", "forced_open", "disabled", "monitor" */
    uint32_t timeline;
    uint64_t lsn;
    int64_t lag_bytes; /* -1: not known, as below */
    int64_t lag_ms;
    int32_t open, busy, idle; /* connections */
    int32_t waiting;          /* calls in its queue */
    bool is_drained;
    uint64_t reserved[4];
};

struct hf_stats {
    uint64_t calls, succeeded, failed, refused, unknown, from_cache, fallbacks;
    uint64_t attempts, retries, held, queued, cancelled;
    uint64_t transactions, committed, rolled_back, tx_retries, resolved_committed, resolved_aborted;
    uint64_t connects, connects_failed, connections_recycled;
    uint64_t cache_hits, cache_misses, cache_stale, cache_entries, cache_bytes;
    int64_t latency_p50_us, latency_p95_us, latency_p99_us, latency_max_us;
    uint64_t memory_bytes;
    int32_t level;
    uint64_t reserved[8];
};

HF_API void hf_stats(struct hf_db *db, struct hf_stats *stats);
/* Fills up to `max` and returns how many there are. */
HF_API size_t hf_endpoints(struct hf_db *db, struct hf_endpoint *list, size_t max);
/* Prometheus text of everything above, NUL-terminated and cut at a line if it does not fit; returns
 * the bytes that the whole needs, without the NUL. */
HF_API size_t hf_metrics(struct hf_db *db, char *text, size_t size);
HF_API size_t hf_guard_metrics(struct hf_guard *guard, char *text, size_t size);

/* By hand: of one server, by its name. */
HF_API int hf_breaker_force(struct hf_db *db, const char *endpoint, bool open,
                            struct hf_error *err);
HF_API int hf_breaker_reset(struct hf_db *db, const char *endpoint, struct hf_error *err);
HF_API int hf_endpoint_drain(struct hf_db *db, const char *endpoint, bool drain,
                             struct hf_error *err);

#ifdef __cplusplus
}
#endif

#endif
