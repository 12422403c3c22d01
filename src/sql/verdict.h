/*
 * A verdict: what is known of a statement before it runs. Plain data, made by classify.h from the
 * grammar and sharpened by catalog.h; kept by verdicts.h; read by whoever routes.
 *
 * The class is one of a ladder; a string of several statements has the strongest of theirs. Traits
 * say more than one thing can be true at once: "COPY t FROM STDIN" writes and takes rows from the
 * client. A verdict is never too weak: what is not understood is a write.
 */
#ifndef HF_SQL_VERDICT_H
#define HF_SQL_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sv.h"
#include "core/route.h"

/* Weakest first. */
enum verdict_class {
    VERDICT_NOTHING,     /* no statement in it */
    VERDICT_UTILITY,     /* asks the server itself and changes nothing: SHOW, EXPLAIN */
    VERDICT_READ,        /* reads data; may run on a replica */
    VERDICT_TRANSACTION, /* BEGIN, COMMIT, SAVEPOINT ...: where the transaction is */
    VERDICT_SESSION,     /* leaves something in the session: SET, PREPARE, LISTEN ... */
    VERDICT_LOCKS,       /* reads and locks: FOR UPDATE, LOCK TABLE; only on the primary */
    VERDICT_WRITE,       /* changes data, or may */
    VERDICT_TEMPORARY,   /* makes temporary objects: the primary, and the session stays there */
    VERDICT_DDL,         /* changes what there is: tables, functions, roles, settings */
    VERDICT_CLASSES
};

/* Bits. */
enum verdict_trait {
    VERDICT_HAS_SEVERAL = 1 << 0,     /* more than one statement */
    VERDICT_HAS_ROW_LOCKS = 1 << 1,   /* FOR UPDATE, SHARE ... */
    VERDICT_HAS_WRITES = 1 << 2,      /* INSERT, UPDATE, DELETE, MERGE ..., also within WITH */
    VERDICT_HAS_TEMPORARY = 1 << 3,   /* makes a temporary object */
    VERDICT_SETS = 1 << 4,            /* SET, RESET, set_config() for the session */
    VERDICT_SETS_LOCAL = 1 << 5,      /* SET LOCAL, SET TRANSACTION: ends with the transaction */
    VERDICT_SETS_ROLE = 1 << 6,       /* SET ROLE, SET SESSION AUTHORIZATION */
    VERDICT_PREPARES = 1 << 7,        /* PREPARE, EXECUTE, DEALLOCATE in SQL */
    VERDICT_LISTENS = 1 << 8,         /* LISTEN, UNLISTEN */
    VERDICT_NOTIFIES = 1 << 9,        /* NOTIFY, pg_notify() */
    VERDICT_ADVISORY = 1 << 10,       /* advisory locks that outlive the transaction */
    VERDICT_HOLDS_CURSOR = 1 << 11,   /* DECLARE ... WITH HOLD */
    VERDICT_USES_CURSOR = 1 << 12,    /* DECLARE, FETCH, MOVE, CLOSE */
    VERDICT_DISCARDS = 1 << 13,       /* DISCARD */
    VERDICT_BEGINS = 1 << 14,         /* BEGIN, START TRANSACTION */
    VERDICT_ENDS = 1 << 15,           /* COMMIT, ROLLBACK, PREPARE TRANSACTION */
    VERDICT_COPIES_IN = 1 << 16,      /* COPY ... FROM STDIN */
    VERDICT_COPIES_OUT = 1 << 17,     /* COPY ... TO STDOUT */
    VERDICT_COMMITS_INSIDE = 1 << 18, /* CALL, DO, VACUUM, COMMIT in a string of several: an error
                                       * does not prove that nothing was done */
    VERDICT_NO_BLOCK = 1 << 19,       /* refuses to run in a transaction block */
    VERDICT_IS_LEARNED = 1 << 20,    /* a server said 25006 to it: catalog and grammar were wrong */
    VERDICT_IS_UNSEEN = 1 << 21,     /* uses a name that the catalogue does not know */
    VERDICT_READS_SESSION = 1 << 22, /* asks for what only this session knows: currval() ... */
    VERDICT_ASKS_SERVER = 1 << 23,   /* reads pg_stat_activity, pg_locks ...: each server's own */
};

/* Why this class and no weaker one. `subject` names what it speaks of. */
enum verdict_reason {
    VERDICT_BY_STATEMENT, /* what the statement is; subject: "SELECT", "INSERT" ... */
    VERDICT_BY_WITH,      /* a part of a SELECT writes; subject: "INSERT" ... */
    VERDICT_BY_ROW_LOCKS, /* subject: "FOR UPDATE" ... */
    VERDICT_BY_INTO,      /* SELECT INTO; subject: the new table */
    VERDICT_BY_ANALYZE,   /* EXPLAIN ANALYZE runs what it explains; subject: that */
    VERDICT_BY_VOLATILE,  /* a function that is volatile; subject: its name */
    VERDICT_BY_UNKNOWN,   /* a function nobody knows; subject: its name */
    VERDICT_BY_OPERATOR,  /* an operator that is volatile or unknown; subject: it */
    VERDICT_BY_VIEW,      /* a relation whose view or policy calls such; subject: the relation */
    VERDICT_BY_RELATION,  /* a temporary relation, which only the session has; subject: its name */
    VERDICT_BY_TYPE,      /* a cast to a type whose input may do anything; subject: the type */
    VERDICT_BY_FUNCTION,  /* a function known by name: set_config(), advisory locks ... */
    VERDICT_BY_DENY,      /* on the deny list; subject: the name */
    VERDICT_BY_LEARNING,  /* a server refused it as read-only (25006) */
    VERDICT_BY_PARSER,    /* cannot be parsed, taken for a write; subject: the parser's words */
    VERDICT_BY_SHAPE,     /* too long, too deep or unfinished; subject: which */
    VERDICT_BY_NUMBER,    /* uses more names than are looked at; subject: which */
    VERDICT_BY_ENCODING,  /* in an encoding that is not read */
    VERDICT_REASONS
};

enum verdict_tx_verb {
    VERDICT_TX_NONE,
    VERDICT_TX_BEGIN,
    VERDICT_TX_COMMIT,
    VERDICT_TX_ROLLBACK,
    VERDICT_TX_SAVEPOINT,
    VERDICT_TX_RELEASE,
    VERDICT_TX_ROLLBACK_TO,
    VERDICT_TX_PREPARE,
    VERDICT_TX_COMMIT_PREPARED,
    VERDICT_TX_ROLLBACK_PREPARED,
    VERDICT_TX_SET, /* SET TRANSACTION, SET SESSION CHARACTERISTICS (trait VERDICT_SETS too) */
};

enum verdict_isolation {
    VERDICT_ISOLATION_UNSAID,
    VERDICT_READ_UNCOMMITTED,
    VERDICT_READ_COMMITTED,
    VERDICT_REPEATABLE_READ,
    VERDICT_SERIALIZABLE,
};

enum verdict_wish {
    VERDICT_UNSAID,
    VERDICT_YES,
    VERDICT_NO,
};

/* Of the last transaction statement in the text. */
struct verdict_tx {
    uint8_t verb;       /* enum verdict_tx_verb */
    uint8_t isolation;  /* enum verdict_isolation */
    uint8_t read_only;  /* enum verdict_wish */
    uint8_t deferrable; /* enum verdict_wish */
    bool chain;         /* AND CHAIN */
};

#define VERDICT_SUBJECT_SIZE 64

struct verdict {
    uint8_t is;     /* enum verdict_class */
    uint8_t reason; /* enum verdict_reason */
    struct verdict_tx tx;
    uint32_t traits;                    /* of enum verdict_trait */
    uint32_t catalog;                   /* generation of the catalogue that was asked; 0: none */
    char subject[VERDICT_SUBJECT_SIZE]; /* cut, not lost, if it is longer */
};

/* What a route asks for, outside of a transaction block. ROUTE_ANY: it goes to where the session
 * already is, or it does not matter, or it asks about "the server", which to most is the primary.
 * */
enum route_intent verdict_intent(const struct verdict *verdict);

/* Makes `verdict` a write that says why; the traits stay. */
void verdict_strengthen(struct verdict *verdict, enum verdict_class is, enum verdict_reason reason,
                        struct sv subject);

const char *verdict_class_name(enum verdict_class is);
/* A sentence without its subject: "calls a volatile function". */
const char *verdict_reason_name(enum verdict_reason reason);
const char *verdict_tx_name(enum verdict_tx_verb verb);
/* Of one bit; NULL if there is no such trait. */
const char *verdict_trait_name(uint32_t trait);

#endif
