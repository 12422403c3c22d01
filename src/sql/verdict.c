#include "sql/verdict.h"

#include <stddef.h>
#include <string.h>

/* What a replica refuses or has of its own, whatever the class says. */
#define PRIMARY_TRAITS                                                                             \
    (VERDICT_HAS_WRITES | VERDICT_HAS_TEMPORARY | VERDICT_PREPARES | VERDICT_LISTENS |             \
     VERDICT_NOTIFIES | VERDICT_ADVISORY | VERDICT_HOLDS_CURSOR)

enum route_intent verdict_intent(const struct verdict *verdict)
{
    if ((verdict->traits & PRIMARY_TRAITS) != 0)
        return ROUTE_WRITE;
    switch ((enum verdict_class)verdict->is) {
    case VERDICT_NOTHING:
    case VERDICT_UTILITY:
    case VERDICT_TRANSACTION:
    case VERDICT_SESSION:
        return ROUTE_ANY;
    case VERDICT_READ:
        return (verdict->traits & VERDICT_ASKS_SERVER) != 0 ? ROUTE_ANY : ROUTE_READ;
    case VERDICT_LOCKS:
    case VERDICT_WRITE:
    case VERDICT_TEMPORARY:
    case VERDICT_DDL:
    case VERDICT_CLASSES:
        break;
    }
    return ROUTE_WRITE;
}

void verdict_strengthen(struct verdict *verdict, enum verdict_class is, enum verdict_reason reason,
                        struct sv subject)
{
    if (is <= (enum verdict_class)verdict->is)
        return;
    const struct sv kept = sv_take(subject, sizeof verdict->subject - 1);
    verdict->is = (uint8_t)is;
    verdict->reason = (uint8_t)reason;
    memset(verdict->subject, 0, sizeof verdict->subject);
    if (kept.size > 0)
        memcpy(verdict->subject, kept.data, kept.size);
}

const char *verdict_class_name(enum verdict_class is)
{
    static const char *const names[VERDICT_CLASSES] = {
        [VERDICT_NOTHING] = "nothing", [VERDICT_UTILITY] = "utility",
        [VERDICT_READ] = "read",       [VERDICT_TRANSACTION] = "transaction",
        [VERDICT_SESSION] = "session", [VERDICT_LOCKS] = "locks",
        [VERDICT_WRITE] = "write",     [VERDICT_TEMPORARY] = "temporary",
        [VERDICT_DDL] = "ddl",
    };
    return names[is];
}

const char *verdict_reason_name(enum verdict_reason reason)
{
    static const char *const names[VERDICT_REASONS] = {
        [VERDICT_BY_STATEMENT] = "that is what the statement is",
        [VERDICT_BY_WITH] = "a part of it changes data",
        [VERDICT_BY_ROW_LOCKS] = "it locks rows",
        [VERDICT_BY_INTO] = "it makes a table",
        [VERDICT_BY_ANALYZE] = "EXPLAIN ANALYZE runs what it explains",
        [VERDICT_BY_VOLATILE] = "it calls a volatile function",
        [VERDICT_BY_UNKNOWN] = "it calls a function that is not known",
        [VERDICT_BY_OPERATOR] = "it uses an operator that is volatile or not known",
        [VERDICT_BY_VIEW] = "a view or row policy in it calls a volatile function",
        [VERDICT_BY_RELATION] = "it uses a temporary relation",
        [VERDICT_BY_TYPE] = "it casts to a type that calls a volatile function",
        [VERDICT_BY_FUNCTION] = "it calls a function that is known for this",
        [VERDICT_BY_DENY] = "a function in it is on the deny list",
        [VERDICT_BY_LEARNING] = "a server refused it as a write (25006)",
        [VERDICT_BY_PARSER] = "it cannot be parsed",
        [VERDICT_BY_SHAPE] = "its text is not fit to be parsed",
        [VERDICT_BY_NUMBER] = "it uses more names than are looked at",
        [VERDICT_BY_ENCODING] = "its text is in an encoding that is not read",
    };
    return names[reason];
}

const char *verdict_tx_name(enum verdict_tx_verb verb)
{
    static const char *const names[] = {
        [VERDICT_TX_NONE] = "none",
        [VERDICT_TX_BEGIN] = "BEGIN",
        [VERDICT_TX_COMMIT] = "COMMIT",
        [VERDICT_TX_ROLLBACK] = "ROLLBACK",
        [VERDICT_TX_SAVEPOINT] = "SAVEPOINT",
        [VERDICT_TX_RELEASE] = "RELEASE",
        [VERDICT_TX_ROLLBACK_TO] = "ROLLBACK TO",
        [VERDICT_TX_PREPARE] = "PREPARE TRANSACTION",
        [VERDICT_TX_COMMIT_PREPARED] = "COMMIT PREPARED",
        [VERDICT_TX_ROLLBACK_PREPARED] = "ROLLBACK PREPARED",
        [VERDICT_TX_SET] = "SET TRANSACTION",
    };
    return names[verb];
}

const char *verdict_trait_name(uint32_t trait)
{
    static const char *const names[] = {
        "several statements",
        "locks rows",
        "writes",
        "makes temporary objects",
        "sets for the session",
        "sets for the transaction",
        "sets the role",
        "prepares or executes by name",
        "listens",
        "notifies",
        "takes advisory locks",
        "holds a cursor",
        "uses a cursor",
        "discards",
        "begins a transaction",
        "ends a transaction",
        "copies in",
        "copies out",
        "commits inside",
        "runs outside of blocks only",
        "learned from a server",
        "uses an unknown name",
        "reads the session's state",
        "asks about the server itself",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (trait == UINT32_C(1) << i)
            return names[i];
    }
    return NULL;
}
