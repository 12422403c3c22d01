/*
 * Acts: what a text does to the session that runs it, as far as the text says.
 *
 * A proxy that lends server connections for one transaction must know of everything that outlives
 * the transaction: settings, prepared statements, channels, temporary tables, locks. This reads
 * tokens (lex.h), not grammar: it is cheap, needs no parser, and knows statements that a server
 * newer than us has. There are two depths.
 *
 *     mask = acts_mask(text, &rules)       a bit for each sort of act; 0: nothing is to be done
 *
 *     acts_begin(&walk, text, &rules);     each statement of the text: what it is, and its parts
 *     while (acts_next(&walk, &statement)) ...
 *
 * Most texts are a SELECT, INSERT, UPDATE or DELETE of their own in which no suspicious word
 * stands; they are told by one pass over their bytes, of about a nanosecond for each, and nothing
 * is lexed.
 *
 * What it cannot know. What a function does that a statement calls, unless it is a function that
 * is known by name (set_config, pg_advisory_lock ...). DO and CALL are ACTS_UNKNOWN. It errs on
 * the safe side: a bit says that a statement may do so, no bit says that its text does not.
 *
 * Invariants
 *  1. acts_mask() is the union of the masks that acts_next() gives for the same text, with
 *     ACTS_MANY where there is more than one statement.
 *  2. Total: any bytes have a mask and a walk, which ends. A text in an encoding that cannot be
 *     read (lex.h) is one statement of which ACTS_UNKNOWN is all that is said.
 *  3. The slices are parts of the text (or constants, where a name is not written there), and lie
 *     in `statement.text`.
 *  4. Linear in the size of the text, in constant memory.
 */
#ifndef HF_SQL_ACTS_H
#define HF_SQL_ACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sv.h"
#include "sql/lex.h"

enum acts {
    /* SET [SESSION], SET ROLE, set_config(): a setting for the session. Of a setting whose changes
     * every server reports by itself (TimeZone, application_name ...) it is the second bit. */
    ACTS_SET = 1u << 0,
    ACTS_SET_REPORTED = 1u << 1,
    ACTS_SET_LOCAL = 1u << 2, /* SET LOCAL, SET TRANSACTION, set_config(,, true): nothing is left */
    ACTS_RESET = 1u << 3,     /* RESET, SET ... TO DEFAULT: back to what the session began with */
    ACTS_DISCARD = 1u << 4,
    ACTS_PREPARED = 1u << 5, /* PREPARE, EXECUTE, DEALLOCATE, in any guise */
    ACTS_LISTEN = 1u << 6,   /* LISTEN, UNLISTEN */
    ACTS_NOTIFY = 1u << 7,
    ACTS_TRANSACTION = 1u << 8, /* BEGIN ... ROLLBACK TO, PREPARE TRANSACTION */
    ACTS_CURSOR = 1u << 9,      /* DECLARE ... WITH HOLD */
    ACTS_TEMPORARY = 1u << 10,  /* a temporary table, view, sequence; anything of pg_temp */
    ACTS_ADVISORY = 1u << 11,   /* an advisory lock of the session is taken or given back */
    ACTS_LOAD = 1u << 12,
    ACTS_DROP = 1u << 13,    /* what is temporary may have ended by it; also CLOSE */
    ACTS_UNKNOWN = 1u << 14, /* DO, CALL: anything */
    ACTS_MANY = 1u << 15,    /* more than one statement */
};

/* After these a session's state may be another one than before. */
#define ACTS_CHANGE                                                                                \
    (ACTS_SET | ACTS_RESET | ACTS_DISCARD | ACTS_CURSOR | ACTS_TEMPORARY | ACTS_ADVISORY |         \
     ACTS_LOAD | ACTS_UNKNOWN)

/* All acts of the text. */
uint32_t acts_mask(struct sv text, const struct lex_rules *rules);

enum acts_kind {
    ACTS_OTHER, /* may have acts in it all the same: its mask says */

    ACTS_IS_SET,             /* name, value; also SET ROLE, SET TIME ZONE, SET NAMES, SET SCHEMA,
                               * SET SESSION AUTHORIZATION: by the name of their setting */
    ACTS_IS_SET_DEFAULT,     /* name; SET x TO DEFAULT, SET SESSION AUTHORIZATION DEFAULT ... */
    ACTS_IS_SET_LOCAL,       /* name, value; SET LOCAL of any of these */
    ACTS_IS_SET_TRANSACTION, /* SET TRANSACTION, SET CONSTRAINTS */
    ACTS_IS_CHARACTERISTICS, /* SET SESSION CHARACTERISTICS AS TRANSACTION: value */
    ACTS_IS_RESET,           /* name */
    ACTS_IS_RESET_ALL,
    ACTS_IS_DISCARD_ALL,
    ACTS_IS_DISCARD_PLANS,
    ACTS_IS_DISCARD_SEQUENCES,
    ACTS_IS_DISCARD_TEMP,
    ACTS_IS_PREPARE,        /* name, value: (types), inner: what stands behind AS */
    ACTS_IS_EXECUTE,        /* name, value: (arguments) */
    ACTS_IS_EXECUTE_INSIDE, /* EXPLAIN ... EXECUTE, CREATE TABLE ... AS EXECUTE: name, value;
                               * inner: from EXECUTE on */
    ACTS_IS_DEALLOCATE,     /* name */
    ACTS_IS_DEALLOCATE_ALL,
    ACTS_IS_LISTEN,              /* name */
    ACTS_IS_UNLISTEN,            /* name */
    ACTS_IS_UNLISTEN_ALL,        /* UNLISTEN * */
    ACTS_IS_NOTIFY,              /* name, value: the payload's literal, or empty */
    ACTS_IS_BEGIN,               /* BEGIN, START TRANSACTION; value: what stands behind */
    ACTS_IS_COMMIT,              /* COMMIT, END; has_chain: AND CHAIN */
    ACTS_IS_ROLLBACK,            /* ROLLBACK, ABORT; has_chain */
    ACTS_IS_SAVEPOINT,           /* name */
    ACTS_IS_RELEASE,             /* name */
    ACTS_IS_ROLLBACK_TO,         /* name */
    ACTS_IS_PREPARE_TRANSACTION, /* name: a literal; as of the next two */
    ACTS_IS_COMMIT_PREPARED,
    ACTS_IS_ROLLBACK_PREPARED,
    ACTS_IS_DECLARE, /* name; ACTS_CURSOR in the mask: it has WITH HOLD */
    ACTS_IS_CLOSE,   /* name; CLOSE ALL has none */
    ACTS_IS_LOAD,    /* value */
    ACTS_IS_DO,      /* value: what stands behind DO */
    ACTS_IS_CALL,
};

struct acts_statement {
    enum acts_kind kind;
    uint32_t mask;
    struct sv text;  /* without its semicolon, and what stands around it */
    struct sv name;  /* as it is written, with its quotes: acts_name() */
    struct sv value; /* up to the end of the statement */
    struct sv inner;
    bool has_chain;
};

struct acts_walk {
    struct lex lex;
    bool is_over;
};

void acts_begin(struct acts_walk *walk, struct sv text, const struct lex_rules *rules);

/* The next statement; empty ones are passed over. */
bool acts_next(struct acts_walk *walk, struct acts_statement *statement);

/* A name as the server understands what is written: without quotes, in small letters if it has
 * none, cut to 63 bytes. Returns its size, 0 if it does not fit, is empty, or has escapes (U&) that
 * are not read here. */
size_t acts_name(struct sv written, char *out, size_t out_size);

/*
 * The dotted names (app.tenant) that stand in a text, as names or as literals: what may be a
 * setting of the application's own. PostgreSQL does not list such settings; whoever wants to know
 * what is set has to ask for them by their names. Strings that are code (DO) are looked into too.
 * `*at` starts at 0. False: there are no more.
 */
#define ACTS_CUSTOM_NAME_MAX 127
bool acts_custom_name(struct sv text, size_t *at, struct sv *name);

#endif
