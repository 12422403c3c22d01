/*
 * How an attempt ended, and what follows from it: the one table of the product.
 *
 * An attempt (connect, statement, transaction, COMMIT) ends with a code: success, a SQLSTATE that
 * the server sent, or something that happened on this side of the wire. outcome_rule() looks the
 * ending up and says four things: what kind it is, whether it counts against a breaker, what may be
 * repeated, and what it says of the endpoint. Everything that retries, trips, routes or explains
 * reads this table; nothing else in the tree compares SQLSTATEs.
 *
 * A rule is what the code alone proves. What really happened depends on the facts of the attempt as
 * well: was anything sent, was COMMIT sent, did the client already see a row, who cancelled. Three
 * functions put rule and facts together: outcome_repeat() (what may be repeated; errs towards
 * repeating nothing), outcome_verdict_of() (what a breaker hears) and outcome_evidence() (what the
 * watcher of the endpoint hears).
 *
 *     const struct outcome_rule *rule = outcome_rule(outcome);
 *     switch (outcome_repeat(rule, &facts)) ...
 *
 * Invariants
 *  1. Total: every SQLSTATE, known or not, has a rule (exact code, else its class, else "query
 *     error, no repeat").
 *  2. A COMMIT whose answer was lost is never repeated: the answer is OUTCOME_MAY_RESOLVE. So it is
 *     with an autocommit write, unless the caller vouches that twice is harmless.
 *  3. Once a row was shown to the client, nothing is repeated that the client did not ask for
 *     itself.
 *  4. A refusal of our own (breaker, bulkhead, deadline ...) is neutral for every breaker and not
 *     retried here.
 *  5. Inside a transaction block a single statement is never run again: its transaction is gone.
 *  6. A driver that is unsure says true to sent, commit_sent, may_write, commits_inside,
 *     rows_shown, is_fatal and is_read_only: none of these makes repeatable what was not.
 */
#ifndef HF_CORE_OUTCOME_H
#define HF_CORE_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

enum outcome_code {
    OUTCOME_SUCCESS,
    OUTCOME_SQLSTATE, /* the server answered with an error; outcome.sqlstate says which */

    /* This side of the wire: connecting */
    OUTCOME_RESOLVE_FAILED,  /* the name has no address now */
    OUTCOME_CONNECT_REFUSED, /* nothing listens there */
    OUTCOME_UNREACHABLE,     /* no route, network down */
    OUTCOME_CONNECT_TIMEOUT, /* no session within the connect limit */
    OUTCOME_TLS_FAILED,
    OUTCOME_WRONG_ROLE, /* connected, but not what was asked for (primary, replica, cluster) */

    /* This side of the wire: talking */
    OUTCOME_SEND_FAILED, /* failed before a single byte of the request was flushed */
    OUTCOME_CONN_LOST,   /* end of file or reset; the facts say in which phase */
    OUTCOME_TIMEOUT,     /* our own attempt limit passed without a complete answer */
    OUTCOME_CANCELLED,   /* the caller asked for it to stop, and no answer was waited for */
    OUTCOME_PROTOCOL,    /* the peer spoke nonsense */

    /* Our own refusals: nothing was attempted */
    OUTCOME_BREAKER_OPEN,
    OUTCOME_BULKHEAD_FULL,
    OUTCOME_QUEUE_TIMEOUT,
    OUTCOME_DEADLINE,    /* the call's deadline passed before an attempt could start */
    OUTCOME_DEGRADED,    /* the level of degradation does not allow the operation */
    OUTCOME_NO_ENDPOINT, /* nobody fit to serve: no primary, replicas behind the promise ... */

    OUTCOME_CODES
};

enum outcome_kind {
    OUTCOME_KIND_NONE,       /* success */
    OUTCOME_KIND_QUERY,      /* the application's own: syntax, constraint, stale statement ... */
    OUTCOME_KIND_TRANSIENT,  /* goes away by itself */
    OUTCOME_KIND_PERSISTENT, /* stays until somebody changes something: credentials, disk ... */
    OUTCOME_KIND_SYSTEM,     /* the node is ill */
    OUTCOME_KIND_CONTENTION, /* other transactions: serialization, deadlock, locks */
    OUTCOME_KIND_OVERLOAD,   /* too much work asked of a healthy node */
    OUTCOME_KIND_ROLE,       /* healthy, but not the primary it was taken for */
    OUTCOME_KIND_LOCAL,      /* our own refusal, or the caller's cancellation */
    OUTCOME_KINDS
};

enum outcome_verdict {
    OUTCOME_VERDICT_SUCCESS, /* the server answered: proof of life */
    OUTCOME_VERDICT_FAILURE, /* counts against the endpoint's breaker */
    OUTCOME_VERDICT_NEUTRAL, /* says nothing about the endpoint */
};

/* What the table allows; outcome_repeat() narrows it down by the facts. "The transaction" is the
 * explicit block, or outside of one the statement itself. */
enum outcome_rule_repeat {
    OUTCOME_RULE_NEVER,
    OUTCOME_RULE_ATTEMPT,   /* proved not executed, whatever was sent */
    OUTCOME_RULE_UNSENT,    /* only if nothing was sent */
    OUTCOME_RULE_WHOLE_TX,  /* rolled back for certain: the transaction may run again */
    OUTCOME_RULE_LOST,      /* the connection is gone: depends on how far the work had come */
    OUTCOME_RULE_RESOLVE,   /* never repeated; what may have been committed must be found out */
    OUTCOME_RULE_READ,      /* will fail here again, but a read may run elsewhere */
    OUTCOME_RULE_STALE,     /* WHOLE_TX if facts.is_stale_statement, else NEVER */
    OUTCOME_RULE_TIMED_OUT, /* WHOLE_TX if facts.is_timeout and the work is harmless, else NEVER */
    OUTCOME_RULE_NOT_PRIMARY, /* WHOLE_TX, but NEVER if facts.is_read_only */
};

/* What the ending says of the endpoint, mildest first. */
enum outcome_endpoint {
    OUTCOME_EP_NOTHING,
    OUTCOME_EP_ALIVE,       /* it answered */
    OUTCOME_EP_PROBE,       /* ask it again now, it may be going away */
    OUTCOME_EP_SUSPECT,     /* one more piece of evidence against it */
    OUTCOME_EP_OVERLOADED,  /* alive, give it less */
    OUTCOME_EP_NOT_PRIMARY, /* drop it from the writers until its role is known again */
    OUTCOME_EP_DOWN,        /* take nothing there until a probe succeeds */
    OUTCOME_EP_CORRUPT,     /* down, and wake a person: data corruption */
};

struct outcome_rule {
    const char *code; /* five characters, a class as "08", or the name of a local code */
    uint32_t key;     /* for the search only; 0 for a local code */
    enum outcome_kind kind;
    enum outcome_verdict verdict;
    enum outcome_rule_repeat repeat;
    enum outcome_endpoint endpoint;
    const char *sentence; /* what it means, for explain and the reference */
};

struct outcome {
    enum outcome_code code;
    uint32_t sqlstate; /* packed, valid with OUTCOME_SQLSTATE */
};

/*
 * What is known of an attempt when it ends. All false describes an attempt that never sent a byte.
 *
 * The attempt is what would be run again: a statement, or a transaction from its BEGIN on. A driver
 * that carries single statements of an open block (the proxy) sets in_transaction for each of them.
 */
struct outcome_facts {
    bool sent;           /* some byte of the request may have reached the server */
    bool commit_sent;    /* COMMIT, or outside a block any write, was sent */
    bool in_transaction; /* BEGIN was sent; stays true while COMMIT is under way */
    bool may_write;      /* the work so far may have changed something */
    bool commits_inside; /* the work may commit parts of itself: CALL, DO, VACUUM, a string of
                          * statements with COMMIT among them. Then an error does not prove that
                          * nothing was done */
    bool rows_shown; /* somebody who will not be asked again has seen part of the answer. Rows that
                      * only went to the logic of a transaction which can_replay are no such case:
                      * the logic runs again and sees new ones */
    bool idempotent; /* the caller vouches that running it twice is harmless */
    bool can_replay; /* the caller can run the whole transaction again, logic included */

    /* About an error that the server sent. */
    bool is_fatal;           /* it ended the session: severity FATAL or PANIC */
    bool is_stale_statement; /* it is about a prepared statement that this driver now prepares anew:
                              * 26000, or 0A000 from the routine RevalidateCachedQuery. The driver
                              * sets it once in a call, which is what makes the repetition end */
    bool is_timeout;         /* 57014 came because a time limit passed (ours or statement_timeout),
                              * not because the caller or an administrator cancelled */
    bool is_read_only;       /* 25006 is the application's own: it asked for READ ONLY */
};

/* What may be repeated, now that rule and facts are known. */
enum outcome_may {
    OUTCOME_MAY_NOTHING,
    OUTCOME_MAY_ATTEMPT,     /* this attempt again, on any fitting endpoint */
    OUTCOME_MAY_TRANSACTION, /* the whole transaction again, by whoever holds its logic */
    OUTCOME_MAY_RESOLVE,     /* first find out whether it was committed. Of work that commits_inside
                              * only a proof that all of it took effect is an answer; nothing proves
                              * that none of it did */
};

/* Packs five characters [0-9A-Z] into 30 bits as PostgreSQL's MAKE_SQLSTATE does. 0 if they are
 * none; that is "00000" (successful completion) too, which is no error. */
uint32_t sqlstate_pack(const char *code);
/* Writes five characters and a NUL. */
void sqlstate_unpack(uint32_t packed, char out[6]);

/* Never NULL. `outcome_rule_of_sqlstate` takes a packed code, also one that nobody has defined. */
const struct outcome_rule *outcome_rule(struct outcome outcome);
const struct outcome_rule *outcome_rule_of_sqlstate(uint32_t packed);

enum outcome_may outcome_repeat(const struct outcome_rule *rule, const struct outcome_facts *facts);

/* The rule's verdict, but a cancelled statement (57014) counts only if a time limit cancelled it:
 * people who press Ctrl-C must not open a breaker. */
enum outcome_verdict outcome_verdict_of(const struct outcome_rule *rule,
                                        const struct outcome_facts *facts);

/* The rule's evidence, but a write that was refused because the application itself had asked for
 * READ ONLY (25006) does not cost the primary its role. */
enum outcome_endpoint outcome_evidence(const struct outcome_rule *rule,
                                       const struct outcome_facts *facts);

/* The SQLSTATE that Holdfast itself answers with when this outcome is what the client gets. Where
 * the client must find out whether a commit took effect, the answer is 08007 instead. */
const char *outcome_sqlstate(struct outcome outcome, char out[6]);

const char *outcome_code_name(enum outcome_code code);
const char *outcome_kind_name(enum outcome_kind kind);
const char *outcome_verdict_name(enum outcome_verdict verdict);
const char *outcome_rule_repeat_name(enum outcome_rule_repeat repeat);
const char *outcome_endpoint_name(enum outcome_endpoint endpoint);
const char *outcome_may_name(enum outcome_may may);

/* The table itself, for the reference page, for explain and for tests: first the local codes in the
 * order of enum outcome_code (in the place of OUTCOME_SQLSTATE the rule of SQLSTATEs that nobody
 * has defined), then SQLSTATEs in order, each class before its codes. */
const struct outcome_rule *outcome_table(uint32_t *count);

#endif
