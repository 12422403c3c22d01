#include "sql/classify.h"

#include <string.h>

#include "sql/json.h"

#define CURSOR_OPT_HOLD 0x0020 /* parsenodes.h of PostgreSQL 15 */

/* A statement under judgement. */
struct work {
    struct verdict *verdict;
    struct uses *uses;
    enum verdict_reason reason; /* for what is found inside: BY_WITH, or BY_ANALYZE */
    bool is_top_write;          /* the statement itself is an INSERT ...: no news inside */
    bool is_planned_only;       /* by EXPLAIN */
    const char *name;           /* of the kind of statement */
};

struct kind {
    const char *node;
    const char *name;
    enum verdict_class is;
    uint32_t traits;
    /* Looks closer at what the node has; NULL: the row says it all. */
    void (*look)(struct work *work, struct json_at node);
};

static void look_select(struct work *work, struct json_at node);
static void look_create(struct work *work, struct json_at node);
static void look_create_function(struct work *work, struct json_at node);
static void look_index(struct work *work, struct json_at node);
static void look_drop(struct work *work, struct json_at node);
static void look_copy(struct work *work, struct json_at node);
static void look_declare(struct work *work, struct json_at node);
static void look_discard(struct work *work, struct json_at node);
static void look_explain(struct work *work, struct json_at node);
static void look_set(struct work *work, struct json_at node);
static void look_transaction(struct work *work, struct json_at node);

/* What is not here is DDL. */
static const struct kind kinds[] = {
    {"SelectStmt", "SELECT", VERDICT_READ, 0, look_select},
    {"InsertStmt", "INSERT", VERDICT_WRITE, VERDICT_HAS_WRITES, NULL},
    {"UpdateStmt", "UPDATE", VERDICT_WRITE, VERDICT_HAS_WRITES, NULL},
    {"DeleteStmt", "DELETE", VERDICT_WRITE, VERDICT_HAS_WRITES, NULL},
    {"MergeStmt", "MERGE", VERDICT_WRITE, VERDICT_HAS_WRITES, NULL},
    {"TruncateStmt", "TRUNCATE", VERDICT_WRITE, VERDICT_HAS_WRITES, NULL},
    {"CopyStmt", "COPY", VERDICT_NOTHING, 0, look_copy},

    {"TransactionStmt", "", VERDICT_TRANSACTION, 0, look_transaction},
    {"ConstraintsSetStmt", "SET CONSTRAINTS", VERDICT_TRANSACTION, VERDICT_SETS_LOCAL, NULL},
    {"DeclareCursorStmt", "DECLARE", VERDICT_TRANSACTION, VERDICT_USES_CURSOR, look_declare},
    {"FetchStmt", "FETCH", VERDICT_TRANSACTION, VERDICT_USES_CURSOR, NULL},
    {"ClosePortalStmt", "CLOSE", VERDICT_TRANSACTION, VERDICT_USES_CURSOR, NULL},

    {"VariableSetStmt", "SET", VERDICT_NOTHING, 0, look_set},
    {"DiscardStmt", "DISCARD", VERDICT_SESSION, VERDICT_DISCARDS, look_discard},
    {"PrepareStmt", "PREPARE", VERDICT_SESSION, VERDICT_PREPARES, NULL},
    {"ExecuteStmt", "EXECUTE", VERDICT_WRITE, VERDICT_PREPARES, NULL},
    {"DeallocateStmt", "DEALLOCATE", VERDICT_SESSION, VERDICT_PREPARES, NULL},
    {"ListenStmt", "LISTEN", VERDICT_SESSION, VERDICT_LISTENS, NULL},
    {"UnlistenStmt", "UNLISTEN", VERDICT_SESSION, VERDICT_LISTENS, NULL},
    {"LoadStmt", "LOAD", VERDICT_SESSION, VERDICT_SETS, NULL},
    {"NotifyStmt", "NOTIFY", VERDICT_WRITE, VERDICT_NOTIFIES, NULL},

    {"VariableShowStmt", "SHOW", VERDICT_UTILITY, 0, NULL},
    {"ExplainStmt", "EXPLAIN", VERDICT_UTILITY, 0, look_explain},

    {"LockStmt", "LOCK TABLE", VERDICT_LOCKS, 0, NULL},
    {"CallStmt", "CALL", VERDICT_WRITE, VERDICT_COMMITS_INSIDE, NULL},
    {"DoStmt", "DO", VERDICT_WRITE, VERDICT_COMMITS_INSIDE, NULL},
    {"VacuumStmt", "VACUUM", VERDICT_WRITE, VERDICT_COMMITS_INSIDE | VERDICT_NO_BLOCK, NULL},
    {"CheckPointStmt", "CHECKPOINT", VERDICT_WRITE, 0, NULL},
    {"RefreshMatViewStmt", "REFRESH MATERIALIZED VIEW", VERDICT_WRITE, 0, NULL},

    {"CreateStmt", "CREATE TABLE", VERDICT_DDL, 0, look_create},
    {"CreateTableAsStmt", "CREATE TABLE AS", VERDICT_DDL, 0, look_create},
    {"ViewStmt", "CREATE VIEW", VERDICT_DDL, 0, look_create},
    {"CreateSeqStmt", "CREATE SEQUENCE", VERDICT_DDL, 0, look_create},
    {"CreateFunctionStmt", "CREATE FUNCTION", VERDICT_DDL, 0, look_create_function},
    {"IndexStmt", "CREATE INDEX", VERDICT_DDL, 0, look_index},
    {"DropStmt", "DROP", VERDICT_DDL, 0, look_drop},
    {"AlterTableStmt", "ALTER TABLE", VERDICT_DDL, 0, NULL},
    {"GrantStmt", "GRANT", VERDICT_DDL, 0, NULL},
    {"CommentStmt", "COMMENT", VERDICT_DDL, 0, NULL},
    {"ReindexStmt", "REINDEX", VERDICT_DDL, VERDICT_COMMITS_INSIDE | VERDICT_NO_BLOCK, NULL},
    {"ClusterStmt", "CLUSTER", VERDICT_DDL, VERDICT_COMMITS_INSIDE | VERDICT_NO_BLOCK, NULL},
    {"CreatedbStmt", "CREATE DATABASE", VERDICT_DDL, VERDICT_NO_BLOCK, NULL},
    {"DropdbStmt", "DROP DATABASE", VERDICT_DDL, VERDICT_NO_BLOCK, NULL},
    {"AlterDatabaseStmt", "ALTER DATABASE", VERDICT_DDL, VERDICT_NO_BLOCK, NULL},
    {"CreateTableSpaceStmt", "CREATE TABLESPACE", VERDICT_DDL, VERDICT_NO_BLOCK, NULL},
    {"DropTableSpaceStmt", "DROP TABLESPACE", VERDICT_DDL, VERDICT_NO_BLOCK, NULL},
    {"AlterSystemStmt", "ALTER SYSTEM", VERDICT_DDL, VERDICT_NO_BLOCK, NULL},
    {"CreateSubscriptionStmt", "CREATE SUBSCRIPTION", VERDICT_DDL, VERDICT_NO_BLOCK, NULL},
    {"AlterSubscriptionStmt", "ALTER SUBSCRIPTION", VERDICT_DDL, VERDICT_NO_BLOCK, NULL},
    {"DropSubscriptionStmt", "DROP SUBSCRIPTION", VERDICT_DDL, VERDICT_NO_BLOCK, NULL},
};

static const struct kind *kind_of(struct sv node)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (sv_eq(node, sv_from_cstr(kinds[i].node)))
            return &kinds[i];
    }
    return NULL;
}

static void add_trait(struct work *work, uint32_t traits)
{
    work->verdict->traits |= traits;
}

static void strengthen(struct work *work, enum verdict_class is, enum verdict_reason reason,
                       struct sv subject)
{
    verdict_strengthen(work->verdict, is, reason, subject);
}

static void strengthen_statement(struct work *work, enum verdict_class is, const char *name)
{
    strengthen(work, is, VERDICT_BY_STATEMENT, sv_from_cstr(name));
}

static bool has_name(struct json_at object, const char *key, const char *value)
{
    return sv_eq(json_raw_string(json_field(object, key)), sv_from_cstr(value));
}

/* ---- statements ---- */

static bool is_temporary(struct json_at range_var)
{
    return has_name(range_var, "relpersistence", "t") ||
           has_name(range_var, "schemaname", "pg_temp");
}

/* SELECT ... INTO makes a table. The clause hangs on the first SELECT of a UNION, so the walk is
 * what finds it. */
static void look_into(struct work *work, struct json_at clause)
{
    const struct json_at relation = json_field(clause, "rel");
    const struct sv name = json_raw_string(json_field(relation, "relname"));
    if (is_temporary(relation))
        add_trait(work, VERDICT_HAS_TEMPORARY);
    strengthen(work, is_temporary(relation) ? VERDICT_TEMPORARY : VERDICT_DDL, VERDICT_BY_INTO,
               name);
}

static void look_select(struct work *work, struct json_at node)
{
    strengthen_statement(work, VERDICT_READ,
                         json_is_there(json_field(node, "valuesLists")) ? "VALUES" : "SELECT");
}

/* A temporary one is weaker than DDL: nothing that others see is changed. */
static void look_create(struct work *work, struct json_at node)
{
    static const char *const places[] = {"relation", "view", "sequence"};
    struct json_at relation = json_field(json_field(node, "into"), "rel");
    for (size_t i = 0; i < sizeof places / sizeof places[0] && !json_is_there(relation); i++)
        relation = json_field(node, places[i]);
    if (is_temporary(relation))
        add_trait(work, VERDICT_HAS_TEMPORARY);
    strengthen_statement(work, is_temporary(relation) ? VERDICT_TEMPORARY : VERDICT_DDL,
                         work->name);
}

/* CREATE FUNCTION pg_temp.f() */
static void look_create_function(struct work *work, struct json_at node)
{
    struct json_at names = json_enter(json_field(node, "funcname")), schema;
    const bool is_temporary = json_next_item(&names, &schema) &&
                              has_name(json_field(schema, "String"), "sval", "pg_temp");
    if (is_temporary)
        add_trait(work, VERDICT_HAS_TEMPORARY);
    strengthen_statement(work, is_temporary ? VERDICT_TEMPORARY : VERDICT_DDL, work->name);
}

static void look_concurrent(struct work *work, struct json_at node)
{
    if (json_is_true(json_field(node, "concurrent")))
        add_trait(work, VERDICT_COMMITS_INSIDE | VERDICT_NO_BLOCK);
}

static void look_index(struct work *work, struct json_at node)
{
    strengthen_statement(work, VERDICT_DDL, work->name);
    look_concurrent(work, node);
}

static void look_drop(struct work *work, struct json_at node)
{
    strengthen_statement(work, VERDICT_DDL, work->name);
    look_concurrent(work, node);
}

/* A file or program of the server is outside of what a transaction can take back, in both
 * directions: it is the primary's. */
static void look_copy(struct work *work, struct json_at node)
{
    const bool is_from = json_is_true(json_field(node, "is_from"));
    const bool is_outside =
        json_is_there(json_field(node, "filename")) || json_is_true(json_field(node, "is_program"));
    if (is_from) {
        add_trait(work, VERDICT_HAS_WRITES | (is_outside ? 0 : (uint32_t)VERDICT_COPIES_IN));
        work->is_top_write = true;
        strengthen_statement(work, VERDICT_WRITE, "COPY FROM");
    } else if (is_outside) {
        strengthen_statement(work, VERDICT_WRITE, "COPY TO a file or program");
    } else {
        add_trait(work, VERDICT_COPIES_OUT);
        strengthen_statement(work, VERDICT_READ, "COPY TO STDOUT");
    }
}

static void look_declare(struct work *work, struct json_at node)
{
    strengthen_statement(work, VERDICT_TRANSACTION, "DECLARE");
    if ((json_number(json_field(node, "options")) & CURSOR_OPT_HOLD) == 0)
        return;
    add_trait(work, VERDICT_HOLDS_CURSOR);
    strengthen_statement(work, VERDICT_SESSION, "DECLARE WITH HOLD");
}

static void look_discard(struct work *work, struct json_at node)
{
    strengthen_statement(work, VERDICT_SESSION, "DISCARD");
    if (has_name(node, "target", "DISCARD_ALL"))
        add_trait(work, VERDICT_NO_BLOCK);
}

static bool is_off(struct json_at value)
{
    const struct sv word = json_raw_string(json_field(json_field(value, "String"), "sval"));
    return sv_eq_nocase(word, SV("off")) || sv_eq_nocase(word, SV("false"));
}

/* EXPLAIN (ANALYZE off) is the one that does not run it; a literal does not count. Of an option
 * that is there twice the last one counts. */
static bool is_analyze(struct json_at explain)
{
    struct json_at options = json_enter(json_field(explain, "options")), item;
    bool is_on = false;
    while (json_next_item(&options, &item)) {
        const struct json_at option = json_field(item, "DefElem");
        if (has_name(option, "defname", "analyze"))
            is_on = !is_off(json_field(option, "arg"));
    }
    return is_on;
}

static void look_statement(struct work *work, struct json_at wrapped);

static void look_explain(struct work *work, struct json_at node)
{
    strengthen_statement(work, VERDICT_UTILITY, "EXPLAIN");
    if (is_analyze(node)) {
        work->reason = VERDICT_BY_ANALYZE;
        look_statement(work, json_field(node, "query"));
    } else {
        work->is_planned_only = true;
    }
}

/* The number or word of a transaction option, which the grammar itself made: no literal. */
static struct json_at option_value(struct json_at option)
{
    return json_field(json_field(option, "arg"), "A_Const");
}

static enum verdict_wish wish_of(struct json_at value)
{
    return json_number(json_field(json_field(value, "ival"), "ival")) != 0 ? VERDICT_YES
                                                                           : VERDICT_NO;
}

static enum verdict_isolation isolation_of(struct json_at value)
{
    static const struct {
        const char *name;
        enum verdict_isolation isolation;
    } names[] = {
        {"read uncommitted", VERDICT_READ_UNCOMMITTED},
        {"read committed", VERDICT_READ_COMMITTED},
        {"repeatable read", VERDICT_REPEATABLE_READ},
        {"serializable", VERDICT_SERIALIZABLE},
    };
    const struct sv word = json_raw_string(json_field(json_field(value, "sval"), "sval"));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (sv_eq(word, sv_from_cstr(names[i].name)))
            return names[i].isolation;
    }
    return VERDICT_ISOLATION_UNSAID;
}

static void look_modes(struct verdict_tx *tx, struct json_at options)
{
    struct json_at items = json_enter(options), item;
    while (json_next_item(&items, &item)) {
        const struct json_at option = json_field(item, "DefElem");
        const struct json_at value = option_value(option);
        if (has_name(option, "defname", "transaction_isolation"))
            tx->isolation = (uint8_t)isolation_of(value);
        else if (has_name(option, "defname", "transaction_read_only"))
            tx->read_only = (uint8_t)wish_of(value);
        else if (has_name(option, "defname", "transaction_deferrable"))
            tx->deferrable = (uint8_t)wish_of(value);
    }
}

static void look_transaction(struct work *work, struct json_at node)
{
    static const struct {
        const char *kind;
        enum verdict_tx_verb verb;
        enum verdict_class is;
        uint32_t traits;
    } rows[] = {
        {"TRANS_STMT_BEGIN", VERDICT_TX_BEGIN, VERDICT_TRANSACTION, VERDICT_BEGINS},
        {"TRANS_STMT_START", VERDICT_TX_BEGIN, VERDICT_TRANSACTION, VERDICT_BEGINS},
        {"TRANS_STMT_COMMIT", VERDICT_TX_COMMIT, VERDICT_TRANSACTION, VERDICT_ENDS},
        {"TRANS_STMT_ROLLBACK", VERDICT_TX_ROLLBACK, VERDICT_TRANSACTION, VERDICT_ENDS},
        {"TRANS_STMT_SAVEPOINT", VERDICT_TX_SAVEPOINT, VERDICT_TRANSACTION, 0},
        {"TRANS_STMT_RELEASE", VERDICT_TX_RELEASE, VERDICT_TRANSACTION, 0},
        {"TRANS_STMT_ROLLBACK_TO", VERDICT_TX_ROLLBACK_TO, VERDICT_TRANSACTION, 0},
        {"TRANS_STMT_PREPARE", VERDICT_TX_PREPARE, VERDICT_WRITE, VERDICT_ENDS},
        {"TRANS_STMT_COMMIT_PREPARED", VERDICT_TX_COMMIT_PREPARED, VERDICT_WRITE, VERDICT_NO_BLOCK},
        {"TRANS_STMT_ROLLBACK_PREPARED", VERDICT_TX_ROLLBACK_PREPARED, VERDICT_WRITE,
         VERDICT_NO_BLOCK},
    };
    const struct sv kind = json_raw_string(json_field(node, "kind"));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!sv_eq(kind, sv_from_cstr(rows[i].kind)))
            continue;
        struct verdict_tx tx = {.verb = (uint8_t)rows[i].verb,
                                .chain = json_is_true(json_field(node, "chain"))};
        look_modes(&tx, json_field(node, "options"));
        work->verdict->tx = tx;
        add_trait(work, rows[i].traits);
        strengthen_statement(work, rows[i].is, verdict_tx_name(rows[i].verb));
        return;
    }
    strengthen_statement(work, VERDICT_WRITE, "TRANSACTION");
}

/* SET TRANSACTION, SET SESSION CHARACTERISTICS, SET TRANSACTION SNAPSHOT. */
static void look_set_several(struct work *work, struct json_at node)
{
    struct verdict_tx tx = {.verb = VERDICT_TX_SET};
    look_modes(&tx, json_field(node, "args"));
    work->verdict->tx = tx;
    if (has_name(node, "name", "SESSION CHARACTERISTICS")) {
        add_trait(work, VERDICT_SETS);
        strengthen_statement(work, VERDICT_SESSION, "SET SESSION CHARACTERISTICS");
    } else {
        add_trait(work, VERDICT_SETS_LOCAL);
        strengthen_statement(work, VERDICT_TRANSACTION, "SET TRANSACTION");
    }
}

static void look_set(struct work *work, struct json_at node)
{
    if (has_name(node, "kind", "VAR_SET_MULTI")) {
        look_set_several(work, node);
        return;
    }
    if (has_name(node, "name", "role") || has_name(node, "name", "session_authorization"))
        add_trait(work, VERDICT_SETS_ROLE);
    /* These three speak of the transaction that is open, LOCAL or not. */
    const bool is_local = json_is_true(json_field(node, "is_local")) ||
                          has_name(node, "name", "transaction_isolation") ||
                          has_name(node, "name", "transaction_read_only") ||
                          has_name(node, "name", "transaction_deferrable");
    add_trait(work, is_local ? VERDICT_SETS_LOCAL : VERDICT_SETS);
    strengthen_statement(work, is_local ? VERDICT_TRANSACTION : VERDICT_SESSION,
                         is_local ? "SET LOCAL" : "SET");
}

/* ---- what is inside ---- */

/* Functions that matter for more than their volatility. */
static const struct {
    const char *name;
    enum verdict_class is;
    uint32_t traits;
    bool is_stable; /* a planner calls it to see what comes out, also for EXPLAIN */
} known[] = {
    {"set_config", VERDICT_SESSION, VERDICT_SETS, false},
    {"setseed", VERDICT_SESSION, VERDICT_SETS, false},
    {"pg_advisory_lock", VERDICT_WRITE, VERDICT_ADVISORY, false},
    {"pg_advisory_lock_shared", VERDICT_WRITE, VERDICT_ADVISORY, false},
    {"pg_try_advisory_lock", VERDICT_WRITE, VERDICT_ADVISORY, false},
    {"pg_try_advisory_lock_shared", VERDICT_WRITE, VERDICT_ADVISORY, false},
    {"pg_advisory_unlock", VERDICT_WRITE, VERDICT_ADVISORY, false},
    {"pg_advisory_unlock_shared", VERDICT_WRITE, VERDICT_ADVISORY, false},
    {"pg_advisory_unlock_all", VERDICT_WRITE, VERDICT_ADVISORY, false},
    {"pg_notify", VERDICT_WRITE, VERDICT_NOTIFIES, false},
    {"currval", VERDICT_WRITE, VERDICT_READS_SESSION, false},
    {"lastval", VERDICT_WRITE, VERDICT_READS_SESSION, false},
    {"pg_export_snapshot", VERDICT_WRITE, VERDICT_READS_SESSION, false},
    /* Stable or immutable by the catalogue, and refused by a server in recovery all the same. */
    {"txid_current", VERDICT_WRITE, VERDICT_HAS_WRITES, true},
    {"pg_current_xact_id", VERDICT_WRITE, VERDICT_HAS_WRITES, true},
    {"pg_walfile_name", VERDICT_WRITE, 0, true},
    {"database_to_xml", VERDICT_WRITE, 0, true},
    {"database_to_xml_and_xmlschema", VERDICT_WRITE, 0, true},
    {"pg_replication_origin_oid", VERDICT_WRITE, 0, true},
    {"pg_walfile_name_offset", VERDICT_WRITE, 0, true},
};

/* A list of String nodes, "schema" and "name": the last two of it. */
struct path {
    char schema[USES_NAME_SIZE];
    char name[USES_NAME_SIZE];
    size_t schema_size;
    size_t name_size;
};

static bool take_path(struct path *path, struct json_at list)
{
    struct json_at items = json_enter(list), item;
    path->schema_size = path->name_size = 0;
    while (json_next_item(&items, &item)) {
        memcpy(path->schema, path->name, path->name_size);
        path->schema_size = path->name_size;
        const struct json_at text = json_field(json_field(item, "String"), "sval");
        path->name_size = json_string(text, path->name, sizeof path->name).size;
    }
    return path->name_size > 0;
}

static void look_function(struct work *work, struct json_at list)
{
    struct path path;
    if (!take_path(&path, list))
        return;
    const struct sv schema = sv_from(path.schema, path.schema_size);
    const struct sv name = sv_from(path.name, path.name_size);
    if (!work->is_planned_only)
        uses_add(work->uses, USES_FUNCTION, schema, name);
    if (sv_starts_with(schema, SV("pg_temp")))
        add_trait(work, VERDICT_READS_SESSION);
    if (schema.size > 0 && !sv_eq(schema, SV("pg_catalog")))
        return;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (!sv_eq(name, sv_from_cstr(known[i].name)) ||
            (work->is_planned_only && !known[i].is_stable))
            continue;
        add_trait(work, known[i].traits);
        strengthen(work, known[i].is, VERDICT_BY_FUNCTION, name);
    }
}

/* The grammar calls BETWEEN an operator; it means two comparisons. */
static void look_operator(struct work *work, struct json_at list)
{
    struct path path;
    if (!take_path(&path, list))
        return;
    const struct sv name = sv_from(path.name, path.name_size);
    if (sv_ends_with(name, SV("BETWEEN")) || sv_ends_with(name, SV("SYMMETRIC"))) {
        uses_add(work->uses, USES_OPERATOR, SV(""), SV(">="));
        uses_add(work->uses, USES_OPERATOR, SV(""), SV("<="));
        return;
    }
    uses_add(work->uses, USES_OPERATOR, sv_from(path.schema, path.schema_size), name);
}

static void look_type(struct work *work, struct json_at type)
{
    struct path path;
    if (take_path(&path, json_field(type, "names")))
        uses_add(work->uses, USES_TYPE, sv_from(path.schema, path.schema_size),
                 sv_from(path.name, path.name_size));
}

/* Views of what only the server that is asked knows of itself. Not pg_stats and pg_statistic: those
 * are about data, and replicated. */
static bool is_about_server(struct sv schema, struct sv name)
{
    static const char *const names[] = {
        "pg_locks",          "pg_settings",          "pg_file_settings",
        "pg_hba_file_rules", "pg_prepared_xacts",    "pg_replication_slots",
        "pg_cursors",        "pg_shmem_allocations", "pg_prepared_statements",
    };
    if (schema.size > 0 && !sv_eq(schema, SV("pg_catalog")))
        return false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (sv_eq(name, sv_from_cstr(names[i])))
            return true;
    }
    return sv_starts_with(name, SV("pg_stat_")) || sv_starts_with(name, SV("pg_statio_"));
}

static void look_relation(struct work *work, struct sv schema, struct json_at value)
{
    char text[USES_NAME_SIZE];
    const struct sv name = json_string(value, text, sizeof text);
    uses_add(work->uses, USES_RELATION, schema, name);
    if (is_about_server(schema, name))
        add_trait(work, VERDICT_ASKS_SERVER);
    if (sv_starts_with(schema, SV("pg_temp"))) {
        add_trait(work, VERDICT_READS_SESSION);
        strengthen(work, VERDICT_WRITE, VERDICT_BY_RELATION, name);
    }
}

static void look_row_locks(struct work *work, struct json_at clauses)
{
    static const struct {
        const char *strength;
        const char *name;
    } names[] = {
        {"LCS_FORUPDATE", "FOR UPDATE"},
        {"LCS_FORNOKEYUPDATE", "FOR NO KEY UPDATE"},
        {"LCS_FORSHARE", "FOR SHARE"},
        {"LCS_FORKEYSHARE", "FOR KEY SHARE"},
    };
    struct json_at items = json_enter(clauses), item;
    if (!json_next_item(&items, &item))
        return;
    const char *name = "FOR UPDATE";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (has_name(json_field(item, "LockingClause"), "strength", names[i].strength))
            name = names[i].name;
    }
    add_trait(work, VERDICT_HAS_ROW_LOCKS);
    strengthen(work, VERDICT_LOCKS, VERDICT_BY_ROW_LOCKS, sv_from_cstr(name));
}

/* An INSERT, UPDATE, DELETE or MERGE below. */
static void look_inner_write(struct work *work, const struct kind *kind)
{
    add_trait(work, VERDICT_HAS_WRITES);
    if (!work->is_top_write)
        strengthen(work, VERDICT_WRITE, work->reason, sv_from_cstr(kind->name));
}

static bool is_array(struct json_at value)
{
    return value.at < value.end && *value.at == '[';
}

/* What a field says wherever it stands. The names are those of libpg_query's nodes; `schema` is
 * what the walk remembers from the field before. */
static void look_field(struct work *work, struct sv key, struct json_at value, struct sv schema)
{
    char text[USES_NAME_SIZE];
    const struct kind *kind;
    if (sv_eq(key, SV("funcname"))) {
        look_function(work, value);
    } else if (work->is_planned_only) {
        return;
    } else if (sv_ends_with(key, SV("Stmt"))) {
        kind = kind_of(key);
        if (kind != NULL && (kind->traits & VERDICT_HAS_WRITES) != 0)
            look_inner_write(work, kind);
    } else if (sv_eq(key, SV("relname"))) {
        look_relation(work, schema, value);
    } else if (sv_eq(key, SV("ctename"))) {
        uses_add(work->uses, USES_WITH, SV(""), json_string(value, text, sizeof text));
    } else if (sv_eq(key, SV("operName")) || sv_eq(key, SV("useOp")) ||
               (sv_eq(key, SV("name")) && is_array(value))) {
        look_operator(work, value);
    } else if (sv_eq(key, SV("subLinkType")) || sv_eq(key, SV("usingClause")) ||
               sv_eq(key, SV("isNatural")) || sv_eq(key, SV("CaseExpr"))) {
        uses_add(work->uses, USES_OPERATOR, SV(""), SV("=")); /* said by nobody, and meant */
    } else if (sv_eq(key, SV("typeName"))) {
        look_type(work, value);
    } else if (sv_eq(key, SV("lockingClause"))) {
        look_row_locks(work, value);
    } else if (sv_eq(key, SV("intoClause"))) {
        look_into(work, value);
    }
}

static void look_inside(struct work *work, struct json_at node)
{
    struct json_walk walk = json_walk(node);
    struct json_at value;
    struct sv key;
    char text[USES_NAME_SIZE];
    struct sv schema = SV("");
    while (json_walk_next(&walk, &key, &value)) {
        look_field(work, key, value, schema);
        schema = SV("");
        if (sv_eq(key, SV("schemaname")))
            schema = json_string(value, text, sizeof text);
    }
}

/* `wrapped` is an object with one field: the node's name, and the node. */
static void look_statement(struct work *work, struct json_at wrapped)
{
    struct json_at fields = json_enter(wrapped), node;
    struct sv name;
    if (!json_next_field(&fields, &name, &node)) {
        strengthen_statement(work, VERDICT_WRITE, "a statement without a name");
        return;
    }
    const struct kind *kind = kind_of(name);
    if (kind == NULL) {
        strengthen(work, VERDICT_DDL, VERDICT_BY_STATEMENT, name);
        return;
    }
    work->name = kind->name;
    add_trait(work, kind->traits);
    if (kind->look != NULL)
        kind->look(work, node);
    else
        strengthen(work, kind->is,
                   work->reason == VERDICT_BY_ANALYZE ? work->reason : VERDICT_BY_STATEMENT,
                   sv_from_cstr(kind->name));
    work->is_top_write = work->is_top_write || (kind->traits & VERDICT_HAS_WRITES) != 0;
    look_inside(work, node);
}

void classify_tree(struct verdict *verdict, struct uses *uses, struct sv tree)
{
    struct json_at statements = json_enter(json_field(json_text(tree), "stmts")), item;
    size_t count = 0;
    *verdict = (struct verdict){.is = VERDICT_NOTHING};
    uses_init(uses);
    while (json_next_item(&statements, &item)) {
        struct work work = {.verdict = verdict, .uses = uses, .reason = VERDICT_BY_WITH};
        look_statement(&work, json_field(item, "stmt"));
        count++;
    }
    if (count < 2)
        return;
    verdict->traits |= VERDICT_HAS_SEVERAL;
    if ((verdict->traits & VERDICT_ENDS) != 0)
        verdict->traits |= VERDICT_COMMITS_INSIDE;
}
