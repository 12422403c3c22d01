/*
 * The table, the search in it, and the argument of outcome_repeat().
 *
 * Where the rules come from: the lists of drivers and poolers (Npgsql, pgjdbc, HikariCP, Rails,
 * SQLAlchemy, PgBouncer, pgdog, Odyssey, pgpool), which contradict each other, and PostgreSQL's
 * sources, which decide. A class has a row for the codes that need none of their own and for those
 * of versions to come, so where its codes differ much the row takes the cautious side.
 */
#include "core/outcome.h"

#include <stddef.h>
#include <string.h>

#include "base/bug.h"

/* The search key: the characters as digits from 1 on, the first one highest, so that keys sort as
 * their texts do and a class ("40") stands before its first code ("40000"). */
#define DIGIT(code, i)  ((uint32_t)((code)[i] - '0' + 1) << (6 * (4 - (i))))
#define CLASS_KEY(code) (DIGIT(code, 0) | DIGIT(code, 1))
#define EXACT_KEY(code) (CLASS_KEY(code) | DIGIT(code, 2) | DIGIT(code, 3) | DIGIT(code, 4))
#define CLASS_MASK      (UINT32_C(0xfff) << 18)

#define ROW(text, search_key, of_kind, counts, again, says, means)                                 \
    {                                                                                              \
        .code = (text), .key = (search_key), .kind = OUTCOME_KIND_##of_kind,                       \
        .verdict = OUTCOME_VERDICT_##counts, .repeat = OUTCOME_RULE_##again,                       \
        .endpoint = OUTCOME_EP_##says, .sentence = (means)                                         \
    }
#define CLASS(code, ...) ROW(code, CLASS_KEY(code), __VA_ARGS__)
#define EXACT(code, ...) ROW(code, EXACT_KEY(code), __VA_ARGS__)

static const struct outcome_rule rows[] = {
    /* ---- this side of the wire, in the order of enum outcome_code ---- */
    ROW("success", 0, NONE, SUCCESS, NEVER, ALIVE, "it worked"),
    ROW("sqlstate", 0, QUERY, SUCCESS, NEVER, ALIVE,
        "an error code that PostgreSQL does not define, so the application's own"),
    ROW("resolve_failed", 0, TRANSIENT, FAILURE, ATTEMPT, SUSPECT,
        "the host name has no address now"),
    ROW("connect_refused", 0, TRANSIENT, FAILURE, ATTEMPT, SUSPECT, "nothing listens on the port"),
    ROW("unreachable", 0, TRANSIENT, FAILURE, ATTEMPT, SUSPECT, "there is no route to the host"),
    ROW("connect_timeout", 0, TRANSIENT, FAILURE, ATTEMPT, SUSPECT,
        "there was no session within the time for connecting"),
    ROW("tls_failed", 0, PERSISTENT, NEUTRAL, ATTEMPT, NOTHING,
        "the TLS handshake failed, which is a matter of certificates and settings"),
    ROW("wrong_role", 0, ROLE, NEUTRAL, ATTEMPT, PROBE,
        "the server is not the primary or replica that was asked for"),
    ROW("send_failed", 0, TRANSIENT, FAILURE, LOST, SUSPECT,
        "the connection was gone before a byte of the request was sent"),
    ROW("conn_lost", 0, TRANSIENT, FAILURE, LOST, SUSPECT,
        "the connection ended without an answer"),
    ROW("timeout", 0, TRANSIENT, FAILURE, LOST, SUSPECT,
        "there was no complete answer within the limit of an attempt"),
    ROW("cancelled", 0, LOCAL, NEUTRAL, RESOLVE, NOTHING, "the caller did not want it any more"),
    ROW("protocol", 0, PERSISTENT, FAILURE, RESOLVE, SUSPECT, "the peer broke the protocol"),
    ROW("breaker_open", 0, LOCAL, NEUTRAL, NEVER, NOTHING, "the circuit breaker is open"),
    ROW("bulkhead_full", 0, LOCAL, NEUTRAL, NEVER, NOTHING,
        "the limit of calls at once and the queue behind it are full"),
    ROW("queue_timeout", 0, LOCAL, NEUTRAL, NEVER, NOTHING,
        "no place became free while the call could wait"),
    ROW("deadline", 0, LOCAL, NEUTRAL, NEVER, NOTHING,
        "the deadline of the call passed before an attempt could start"),
    ROW("degraded", 0, LOCAL, NEUTRAL, NEVER, NOTHING,
        "the present level of degradation does not allow the operation"),
    ROW("no_endpoint", 0, LOCAL, NEUTRAL, NEVER, NOTHING, "no endpoint is fit to serve the call"),

    /* ---- SQLSTATEs in order, each class before its codes ---- */
    /* The warning 01000 of a COMMIT whose wait for a standby was cancelled is no ending: the commit
     * took effect here and may be lost with the primary. It is the driver's to report. */
    CLASS("01", NONE, SUCCESS, NEVER, ALIVE, "a warning"),
    CLASS("02", NONE, SUCCESS, NEVER, ALIVE, "no data"),
    CLASS("03", QUERY, SUCCESS, NEVER, ALIVE, "the SQL statement is not yet complete"),

    CLASS("08", TRANSIENT, FAILURE, LOST, SUSPECT,
          "the connection to the server, or of a pooler to its server, broke"),
    EXACT("08001", TRANSIENT, FAILURE, UNSENT, SUSPECT, "a connection could not be established"),
    EXACT("08004", TRANSIENT, FAILURE, UNSENT, SUSPECT, "the server refused the connection"),
    EXACT("08007", TRANSIENT, FAILURE, RESOLVE, SUSPECT,
          "it is not known whether the transaction took effect"),
    /* PgBouncer's code for every error of its own that has no better one, so a lost server too. */
    EXACT("08P01", PERSISTENT, FAILURE, RESOLVE, SUSPECT,
          "the protocol was broken, or a pooler had an error of its own"),

    CLASS("09", QUERY, SUCCESS, NEVER, ALIVE, "a triggered action failed"),
    CLASS("0A", QUERY, SUCCESS, NEVER, ALIVE, "the feature is not supported"),
    /* Also "cannot set transaction read-write mode during recovery", which is about the server's
     * role: a driver that asked for that mode reports OUTCOME_WRONG_ROLE instead. */
    EXACT("0A000", QUERY, SUCCESS, STALE, ALIVE,
          "the feature is not supported, or a prepared statement's result type has changed"),
    CLASS("0B", QUERY, SUCCESS, NEVER, ALIVE, "the transaction was begun in an invalid way"),
    CLASS("0F", QUERY, SUCCESS, NEVER, ALIVE, "a locator is invalid"),
    CLASS("0L", QUERY, SUCCESS, NEVER, ALIVE, "the grantor is invalid"),
    CLASS("0P", QUERY, SUCCESS, NEVER, ALIVE, "the role is invalid"),
    CLASS("0Z", QUERY, SUCCESS, NEVER, ALIVE, "a diagnostics statement is invalid"),
    CLASS("10", QUERY, SUCCESS, NEVER, ALIVE, "an XQuery argument is invalid"),
    CLASS("20", QUERY, SUCCESS, NEVER, ALIVE, "no branch of a CASE fits"),
    CLASS("21", QUERY, SUCCESS, NEVER, ALIVE, "more or fewer rows or columns than allowed"),
    CLASS("22", QUERY, SUCCESS, NEVER, ALIVE, "a value is wrong"),
    /* A unique violation is sometimes a serialization failure in disguise, and PostgreSQL's manual
     * says to take care: whoever opts in to repeating it does so in the transaction's logic. */
    CLASS("23", QUERY, SUCCESS, NEVER, ALIVE, "a constraint is violated"),
    CLASS("24", QUERY, SUCCESS, NEVER, ALIVE, "the cursor is not in the right state"),

    CLASS("25", QUERY, SUCCESS, NEVER, ALIVE, "the transaction is not in the right state for this"),
    /* Refused before anything was written. A pool that keeps such connections passes "select 1" and
     * fails every write for days (gpustack#6107). */
    EXACT("25006", ROLE, NEUTRAL, NOT_PRIMARY, NOT_PRIMARY,
          "a write was refused because the server or the transaction is read-only"),
    EXACT("25P02", QUERY, NEUTRAL, NEVER, ALIVE,
          "an earlier error has aborted the transaction block"),
    EXACT("25P03", QUERY, NEUTRAL, WHOLE_TX, ALIVE,
          "the session was idle in a transaction for too long"),
    EXACT("25P04", QUERY, NEUTRAL, WHOLE_TX, ALIVE, "the transaction lasted too long"),

    CLASS("26", QUERY, SUCCESS, NEVER, ALIVE, "the name of the statement is invalid"),
    EXACT("26000", QUERY, SUCCESS, STALE, ALIVE,
          "the prepared statement does not exist on this connection"),
    CLASS("27", QUERY, SUCCESS, NEVER, ALIVE,
          "a trigger changed data that the statement had changed already"),
    CLASS("28", PERSISTENT, NEUTRAL, NEVER, ALIVE, "the user was not let in"),
    CLASS("2B", QUERY, SUCCESS, NEVER, ALIVE, "privileges still depend on it"),
    CLASS("2D", QUERY, SUCCESS, NEVER, ALIVE, "a transaction cannot end here"),
    CLASS("2F", QUERY, SUCCESS, NEVER, ALIVE, "a SQL routine failed"),
    CLASS("34", QUERY, SUCCESS, NEVER, ALIVE, "the name of the cursor is invalid"),
    CLASS("38", QUERY, SUCCESS, NEVER, ALIVE, "an external routine failed"),
    CLASS("39", QUERY, SUCCESS, NEVER, ALIVE, "an external routine was called wrongly"),
    CLASS("3B", QUERY, SUCCESS, NEVER, ALIVE, "the savepoint does not exist"),
    CLASS("3D", PERSISTENT, NEUTRAL, NEVER, ALIVE, "the database does not exist"),
    CLASS("3F", PERSISTENT, NEUTRAL, NEVER, ALIVE, "the schema does not exist"),

    CLASS("40", CONTENTION, NEUTRAL, RESOLVE, ALIVE, "the transaction was rolled back"),
    EXACT("40000", CONTENTION, NEUTRAL, WHOLE_TX, ALIVE, "the transaction was rolled back"),
    EXACT("40001", CONTENTION, NEUTRAL, WHOLE_TX, ALIVE,
          "the transaction conflicted with another one, or on a standby with recovery"),
    EXACT("40002", QUERY, SUCCESS, NEVER, ALIVE,
          "a constraint is violated at the end of the transaction"),
    EXACT("40003", TRANSIENT, FAILURE, RESOLVE, SUSPECT,
          "it is not known whether the statement took effect"),
    EXACT("40P01", CONTENTION, NEUTRAL, WHOLE_TX, ALIVE,
          "the transaction was chosen to break a deadlock"),

    CLASS("42", QUERY, SUCCESS, NEVER, ALIVE,
          "the statement is wrong, or names what does not exist"),
    EXACT("42501", PERSISTENT, NEUTRAL, NEVER, ALIVE, "the user lacks the privilege"),
    CLASS("44", QUERY, SUCCESS, NEVER, ALIVE, "the row does not fit the view's check option"),

    CLASS("53", OVERLOAD, FAILURE, NEVER, SUSPECT, "the server is short of something"),
    EXACT("53000", OVERLOAD, FAILURE, WHOLE_TX, SUSPECT, "the server is short of something"),
    EXACT("53100", PERSISTENT, FAILURE, NEVER, SUSPECT, "the server's disk is full"),
    EXACT("53200", OVERLOAD, FAILURE, WHOLE_TX, SUSPECT, "the server is out of memory"),
    /* Neutral: those who have a connection are served well, and a breaker would turn them away.
     * Poolers send it for limits of their own, also in a session, without executing anything. */
    EXACT("53300", OVERLOAD, NEUTRAL, WHOLE_TX, OVERLOADED,
          "the server, or a limit in front of it, takes no more connections"),
    EXACT("53400", QUERY, SUCCESS, NEVER, ALIVE, "a configured limit is exceeded"),
    CLASS("54", QUERY, SUCCESS, NEVER, ALIVE,
          "the statement exceeds a limit of the server program"),

    CLASS("55", QUERY, SUCCESS, NEVER, ALIVE, "the object is not in the right state for this"),
    EXACT("55006", CONTENTION, NEUTRAL, WHOLE_TX, ALIVE, "the object is in use"),
    EXACT("55P03", CONTENTION, NEUTRAL, WHOLE_TX, ALIVE, "a lock was not to be had in time"),

    CLASS("57", TRANSIENT, NEUTRAL, NEVER, PROBE, "an operator intervened"),
    EXACT("57000", TRANSIENT, FAILURE, TIMED_OUT, ALIVE, "an operator intervened"),
    EXACT("57014", TRANSIENT, FAILURE, TIMED_OUT, ALIVE,
          "the statement was cancelled, by a time limit or by a person"),
    /* Neutral: pg_terminate_backend() sends it too. When a server shuts down, the probe and the
     * connects that follow say so within milliseconds. */
    EXACT("57P01", TRANSIENT, NEUTRAL, LOST, PROBE,
          "the session was terminated, by an administrator or a shutdown"),
    EXACT("57P02", SYSTEM, FAILURE, LOST, DOWN,
          "another server process crashed, and all sessions were ended"),
    EXACT("57P03", TRANSIENT, FAILURE, ATTEMPT, DOWN,
          "the server takes no connections now: it starts, stops or recovers"),
    EXACT("57P04", PERSISTENT, NEUTRAL, NEVER, ALIVE, "the database was dropped"),
    /* The limit is checked before a command is executed (PostgresMain, after reading it), so what
     * was sent meanwhile was not. */
    EXACT("57P05", TRANSIENT, NEUTRAL, ATTEMPT, ALIVE, "the session was idle for too long"),

    CLASS("58", SYSTEM, FAILURE, NEVER, SUSPECT, "the server's operating system failed it"),
    EXACT("58030", SYSTEM, FAILURE, READ, SUSPECT, "the server could not read or write a file"),
    EXACT("58P01", SYSTEM, FAILURE, READ, SUSPECT, "a file of the server is missing"),
    EXACT("58P02", SYSTEM, FAILURE, READ, SUSPECT, "a file of the server exists that should not"),
    EXACT("58P03", QUERY, SUCCESS, NEVER, ALIVE, "the name of a file is too long"),
    CLASS("72", TRANSIENT, NEUTRAL, WHOLE_TX, ALIVE, "the snapshot is too old"),

    CLASS("F0", PERSISTENT, FAILURE, NEVER, SUSPECT, "a configuration file of the server is wrong"),
    CLASS("HV", PERSISTENT, NEUTRAL, NEVER, ALIVE, "a foreign data wrapper failed"),
    EXACT("HV00N", TRANSIENT, NEUTRAL, WHOLE_TX, ALIVE, "the foreign server could not be reached"),
    CLASS("P0", QUERY, SUCCESS, NEVER, ALIVE, "a PL/pgSQL function raised it"),
    CLASS("XX", SYSTEM, FAILURE, NEVER, SUSPECT,
          "an internal error of the server, or a pooler's own"),
    EXACT("XX001", SYSTEM, FAILURE, READ, CORRUPT, "data is corrupted"),
    EXACT("XX002", SYSTEM, FAILURE, READ, CORRUPT, "an index is corrupted"),
};

enum {
    ROWS = sizeof rows / sizeof rows[0],
    FIRST_SQLSTATE = OUTCOME_CODES, /* the local rows are indexed by their code */
};

/* ---- packing ---- */

static bool is_sqlstate_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
}

uint32_t sqlstate_pack(const char *code)
{
    uint32_t packed = 0;
    for (unsigned i = 0; i < 5; i++) {
        if (!is_sqlstate_char(code[i]))
            return 0;
        packed |= (uint32_t)(code[i] - '0') << (6 * i);
    }
    return code[5] == '\0' ? packed : 0;
}

void sqlstate_unpack(uint32_t packed, char out[6])
{
    for (unsigned i = 0; i < 5; i++)
        out[i] = (char)('0' + ((packed >> (6 * i)) & 0x3f));
    out[5] = '\0';
}

/* ---- looking up ---- */

static uint32_t search_key(uint32_t packed)
{
    uint32_t key = 0;
    for (unsigned i = 0; i < 5; i++)
        key |= (((packed >> (6 * i)) & 0x3f) + 1) << (6 * (4 - i));
    return key;
}

const struct outcome_rule *outcome_rule_of_sqlstate(uint32_t packed)
{
    if (packed == 0)
        return &rows[OUTCOME_SQLSTATE]; /* a peer's garbage, or the 00000 that is no error */
    const uint32_t key = search_key(packed);
    /* The last row whose key is not above: the code itself, or one before it in its class. */
    size_t at = FIRST_SQLSTATE;
    size_t count = ROWS - FIRST_SQLSTATE;
    while (count > 1) {
        size_t half = count / 2;
        if (rows[at + half].key <= key)
            at += half;
        count -= half;
    }
    if (rows[at].key == key)
        return &rows[at];
    const uint32_t class_key = key & CLASS_MASK;
    while (rows[at].key > class_key)
        --at; /* past the codes of one class; the local rows, whose key is 0, end it in any case */
    return rows[at].key == class_key ? &rows[at] : &rows[OUTCOME_SQLSTATE];
}

const struct outcome_rule *outcome_rule(struct outcome outcome)
{
    hf_assert((unsigned)outcome.code < OUTCOME_CODES);
    if (outcome.code == OUTCOME_SQLSTATE)
        return outcome_rule_of_sqlstate(outcome.sqlstate);
    return &rows[outcome.code];
}

const struct outcome_rule *outcome_table(uint32_t *count)
{
    *count = ROWS;
    return rows;
}

/* ---- what may be repeated ---- */

/*
 * The argument. Repeating is safe when the work is proved undone, or harmless to do twice. "Undone"
 * is proved in three ways:
 *
 *   never begun     nothing was sent, or the ending says that it was not executed
 *   rolled back     the server answered with an error and lives to keep its word: whatever ran
 *                   outside of a block is its own transaction, a block is aborted
 *   not committed   the connection is gone, and nothing that commits had been sent: PostgreSQL
 *                   rolls back what a lost session leaves open. The old backend may still run for
 *                   a while and hold its locks; the repetition waits for those, it cannot overtake
 *
 * The second proof has two holes. An error that ends the session (FATAL, PANIC) while a commit is
 * under way may come from after the commit record was written: a PANIC of the WAL's flush does, and
 * so may a transaction_timeout that ran out during the commit, whose interrupts are held back. It
 * is judged as a lost connection. And work that commits inside has done a part for good.
 *
 * What is undone may be repeated by whoever can do all of it: outside of a block the attempt is all
 * of it; inside, the statement that failed is not, since those before it are undone as well, and
 * only the holder of the logic can repeat them. Nothing of that holds once somebody who will not be
 * asked again has seen rows: the repetition would show others, or the same ones twice.
 *
 * What is not proved undone is never repeated. If it may have been committed, that can be found
 * out; otherwise the error is the answer.
 */

static bool was_sent(const struct outcome_facts *facts)
{
    return facts->sent || facts->commit_sent || facts->rows_shown;
}

static bool is_read(const struct outcome_facts *facts)
{
    return !facts->may_write && !facts->commit_sent && !facts->commits_inside;
}

/* Could the server have committed it by now? A write outside of a block commits by itself: there
 * the driver need not have said commit_sent, and one that forgot to does no harm. */
static bool may_be_committed(const struct outcome_facts *facts)
{
    return was_sent(facts) && (facts->commit_sent || facts->commits_inside ||
                               (facts->may_write && !facts->in_transaction));
}

/* For work that is undone, or harmless to do twice. */
static enum outcome_may again(const struct outcome_facts *facts)
{
    if (facts->rows_shown)
        return OUTCOME_MAY_NOTHING;
    if (facts->in_transaction)
        return facts->can_replay ? OUTCOME_MAY_TRANSACTION : OUTCOME_MAY_NOTHING;
    return OUTCOME_MAY_ATTEMPT;
}

/* The connection is gone. A COMMIT of its own is resolved even if the transaction is idempotent or
 * wrote nothing: sending it again would find no transaction and report success. */
static enum outcome_may lost(const struct outcome_facts *facts)
{
    bool is_commit = facts->in_transaction && facts->commit_sent;
    bool is_vouched_for = facts->idempotent && !facts->rows_shown;
    if (is_commit || (may_be_committed(facts) && !is_vouched_for))
        return OUTCOME_MAY_RESOLVE;
    return again(facts);
}

static enum outcome_may never(const struct outcome_facts *facts)
{
    return facts->is_fatal && may_be_committed(facts) ? OUTCOME_MAY_RESOLVE : OUTCOME_MAY_NOTHING;
}

static enum outcome_may rolled_back(const struct outcome_facts *facts)
{
    if (facts->is_fatal)
        return lost(facts);
    if (was_sent(facts) && facts->commits_inside && !facts->idempotent)
        return OUTCOME_MAY_NOTHING;
    return again(facts);
}

enum outcome_may outcome_repeat(const struct outcome_rule *rule, const struct outcome_facts *facts)
{
    switch (rule->repeat) {
    case OUTCOME_RULE_NEVER:
        return never(facts);
    case OUTCOME_RULE_ATTEMPT:
        /* These endings belong to connecting and to idle sessions. In the place of a COMMIT's
         * answer they could only come from a pooler that lost its server. */
        return facts->in_transaction && facts->commit_sent ? OUTCOME_MAY_RESOLVE : again(facts);
    case OUTCOME_RULE_UNSENT:
        return was_sent(facts) ? never(facts) : again(facts);
    case OUTCOME_RULE_WHOLE_TX:
        return rolled_back(facts);
    case OUTCOME_RULE_LOST:
        return lost(facts);
    case OUTCOME_RULE_RESOLVE:
        return may_be_committed(facts) ? OUTCOME_MAY_RESOLVE : OUTCOME_MAY_NOTHING;
    case OUTCOME_RULE_READ:
        return is_read(facts) ? again(facts) : never(facts);
    case OUTCOME_RULE_STALE:
        return facts->is_stale_statement ? rolled_back(facts) : never(facts);
    case OUTCOME_RULE_TIMED_OUT:
        /* Rolled back for certain, so any of it would be safe to repeat. But it took too long once
         * and will again: only what the caller calls repeatable is worth the double load. */
        return facts->is_timeout && (facts->idempotent || is_read(facts)) ? rolled_back(facts)
                                                                          : never(facts);
    case OUTCOME_RULE_NOT_PRIMARY:
        return facts->is_read_only ? never(facts) : rolled_back(facts);
    }
    return OUTCOME_MAY_NOTHING; /* no row says anything else: the test of all rows knows */
}

enum outcome_verdict outcome_verdict_of(const struct outcome_rule *rule,
                                        const struct outcome_facts *facts)
{
    if (rule->repeat == OUTCOME_RULE_TIMED_OUT && !facts->is_timeout)
        return OUTCOME_VERDICT_NEUTRAL;
    return rule->verdict;
}

enum outcome_endpoint outcome_evidence(const struct outcome_rule *rule,
                                       const struct outcome_facts *facts)
{
    if (rule->repeat == OUTCOME_RULE_NOT_PRIMARY && facts->is_read_only)
        return OUTCOME_EP_ALIVE;
    return rule->endpoint;
}

/* ---- what the client is told ---- */

/*
 * Codes that clients and their pools know how to take:
 *
 *   57P03  "not now", for whatever passes by itself and was never begun: an open breaker, no
 *          fitting endpoint, a level that refuses. libpq tries its next host on it and pools
 *          replace the connection, perhaps with one to another instance; both are right here. Not
 *          25006 for a write at the level read_only: that means "you talk to a standby", and
 *          clients that follow the primary would leave a proxy that will serve them again in a
 *          second. Not 08xxx for it either: the connection to the client is sound.
 *   53300  the limit of calls or its queue is full: poolers say it so.
 *   57014  time is up, or the caller cancelled: what statement_timeout and a cancel request give.
 *   08001  no connection to a server, 08006 it broke, 08P01 it spoke nonsense.
 */
static const char *local_sqlstate(enum outcome_code code)
{
    switch (code) {
    case OUTCOME_SUCCESS:
        return "00000";
    case OUTCOME_RESOLVE_FAILED:
    case OUTCOME_CONNECT_REFUSED:
    case OUTCOME_UNREACHABLE:
    case OUTCOME_CONNECT_TIMEOUT:
    case OUTCOME_TLS_FAILED:
        return "08001";
    case OUTCOME_SEND_FAILED:
    case OUTCOME_CONN_LOST:
        return "08006";
    case OUTCOME_PROTOCOL:
        return "08P01";
    case OUTCOME_TIMEOUT:
    case OUTCOME_CANCELLED:
    case OUTCOME_DEADLINE:
        return "57014";
    case OUTCOME_BULKHEAD_FULL:
    case OUTCOME_QUEUE_TIMEOUT:
        return "53300";
    case OUTCOME_WRONG_ROLE:
    case OUTCOME_BREAKER_OPEN:
    case OUTCOME_DEGRADED:
    case OUTCOME_NO_ENDPOINT:
        return "57P03";
    case OUTCOME_SQLSTATE:
    case OUTCOME_CODES:
        break;
    }
    return "XX000";
}

const char *outcome_sqlstate(struct outcome outcome, char out[6])
{
    if (outcome.code == OUTCOME_SQLSTATE && outcome.sqlstate != 0)
        sqlstate_unpack(outcome.sqlstate, out);
    else
        memcpy(out, local_sqlstate(outcome.code), 6);
    return out;
}

/* ---- names ---- */

const char *outcome_code_name(enum outcome_code code)
{
    hf_assert((unsigned)code < OUTCOME_CODES);
    return rows[code].code;
}

const char *outcome_kind_name(enum outcome_kind kind)
{
    static const char *const names[] = {"none",       "query",  "transient",
                                        "persistent", "system", "contention",
                                        "overload",   "role",   "local"};
    _Static_assert(sizeof names / sizeof names[0] == OUTCOME_KINDS, "a name for each kind");
    hf_assert((unsigned)kind < OUTCOME_KINDS);
    return names[kind];
}

const char *outcome_verdict_name(enum outcome_verdict verdict)
{
    static const char *const names[] = {"success", "failure", "neutral"};
    hf_assert((unsigned)verdict < sizeof names / sizeof names[0]);
    return names[verdict];
}

const char *outcome_rule_repeat_name(enum outcome_rule_repeat repeat)
{
    static const char *const names[] = {"never",   "attempt", "unsent", "whole_tx",  "lost",
                                        "resolve", "read",    "stale",  "timed_out", "not_primary"};
    hf_assert((unsigned)repeat < sizeof names / sizeof names[0]);
    return names[repeat];
}

const char *outcome_endpoint_name(enum outcome_endpoint endpoint)
{
    static const char *const names[] = {"nothing",    "alive",       "probe", "suspect",
                                        "overloaded", "not_primary", "down",  "corrupt"};
    hf_assert((unsigned)endpoint < sizeof names / sizeof names[0]);
    return names[endpoint];
}

const char *outcome_may_name(enum outcome_may may)
{
    static const char *const names[] = {"nothing", "attempt", "transaction", "resolve"};
    hf_assert((unsigned)may < sizeof names / sizeof names[0]);
    return names[may];
}
