/*
 * What the server is asked for its catalogue. PostgreSQL 12 to 18 understand all of it.
 *
 * 'i' < 's' < 'v' in the alphabet of bytes, so the most volatile of several is their max().
 */
#include "sql/catalog.h"

/* Volatile because their result changes, not because they change anything; and set_config() and
 * setseed(), whose effect on the session classify.c knows. */
#define HARMLESS(f)                                                                                \
    f("clock_timestamp") f("gen_random_uuid") f("pg_database_size") f("pg_indexes_size")           \
        f("pg_relation_size") f("pg_sleep") f("pg_sleep_for") f("pg_sleep_until")                  \
            f("pg_table_size") f("pg_tablespace_size") f("pg_total_relation_size") f("random")     \
                f("random_normal") f("set_config") f("setseed") f("timeofday") f("uuidv4")         \
                    f("uuidv7")

/* What initdb makes has smaller OIDs (FirstNormalObjectId). */
#define FIRST_OF_USERS "16384"

#define AS_ITEM(name) name,
#define AS_SQL(name)  "," name

const char *const *catalog_harmless(void)
{
    static const char *const names[] = {HARMLESS(AS_ITEM) NULL};
    return names;
}

/* Functions that are volatile and not harmless, and aggregates that are made of a volatile one. */
#define WRITERS                                                                                    \
    "(SELECT f.oid, f.proname::text AS name"                                                       \
    "   FROM pg_catalog.pg_proc f"                                                                 \
    "   JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace"                                  \
    "  WHERE f.provolatile = 'v'"                                                                  \
    "    AND NOT (n.nspname = 'pg_catalog'"                                                        \
    "             AND f.proname = ANY (string_to_array(substr('" HARMLESS(                         \
        AS_SQL) "', 2), ',')))"                                                                    \
                "  UNION"                                                                          \
                " SELECT a.aggfnoid::oid, f.proname::text"                                         \
                "   FROM pg_catalog.pg_aggregate a"                                                \
                "   JOIN pg_catalog.pg_proc f"                                                     \
                "     ON f.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggmtransfn,"     \
                "                  a.aggminvtransfn, a.aggmfinalfn)"                               \
                "  WHERE f.provolatile = 'v')"

/* Who calls them, by OID out of the trees in which the server keeps expressions. */
#define CALLS                                                                                      \
    "(SELECT t.oid, f.name"                                                                        \
    "   FROM trees t,"                                                                             \
    "        LATERAL regexp_matches(t.tree,"                                                       \
    "            ':(?:funcid|opfuncid|aggfnoid|winfnoid) (\\d+)', 'g') m,"                         \
    "        writers f"                                                                            \
    "  WHERE f.oid = m[1]::oid)"

/* A procedure cannot stand in an expression. An aggregate is called immutable by the catalogue,
 * whatever the functions are that it is made of. A function with a body of parsed SQL (BEGIN
 * ATOMIC, RETURN) is as volatile as what that calls, whatever it was declared: the server lets a
 * STABLE one call nextval(). Bodies that are texts tell nothing here. The column of the bodies came
 * with PostgreSQL 14; by way of jsonb it may be missing. */
static const char functions[] =
    "WITH RECURSIVE trees AS ("
    "       SELECT p.oid, to_jsonb(p) ->> 'prosqlbody' AS tree"
    "         FROM pg_catalog.pg_proc p"
    "         JOIN pg_catalog.pg_language l ON l.oid = p.prolang"
    "        WHERE l.lanname = 'sql' AND p.oid >= " FIRST_OF_USERS "),"
    "     writers AS " WRITERS ","
    "     calls AS " CALLS ","
    "     uses AS ("
    "       SELECT DISTINCT t.oid, m[1]::oid AS used"
    "         FROM trees t, LATERAL regexp_matches(t.tree, ':funcid (\\d+)', 'g') m),"
    "     reach AS ("
    "       SELECT DISTINCT c.oid, c.name FROM calls c"
    "        UNION"
    "       SELECT u.oid, r.name FROM uses u JOIN reach r ON r.oid = u.used),"
    "     bodies AS (SELECT oid, min(name) AS name FROM reach GROUP BY oid)"
    "SELECT n.nspname::text, p.proname::text,"
    "       max(greatest(p.provolatile::text, parts.volatility,"
    "                    CASE WHEN b.oid IS NOT NULL THEN 'v' END) COLLATE \"C\"),"
    "       coalesce(min(b.name), '')"
    "  FROM pg_catalog.pg_proc p"
    "  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
    "  LEFT JOIN bodies b ON b.oid = p.oid"
    "  LEFT JOIN LATERAL ("
    "       SELECT max(q.provolatile::text COLLATE \"C\") AS volatility"
    "         FROM pg_catalog.pg_aggregate a, pg_catalog.pg_proc q"
    "        WHERE a.aggfnoid = p.oid"
    "          AND q.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn,"
    "                        a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)"
    "       ) parts ON p.prokind = 'a'"
    " WHERE p.prokind <> 'p'"
    " GROUP BY n.nspname, p.proname"
    " ORDER BY n.nspname, p.proname";

static const char relations[] =
    "WITH RECURSIVE trees AS ("
    "       SELECT r.ev_class AS oid, r.ev_action::text AS tree"
    "         FROM pg_catalog.pg_rewrite r WHERE r.ev_type = '1'"
    "        UNION ALL"
    "       SELECT p.polrelid, concat(p.polqual::text, p.polwithcheck::text)"
    "         FROM pg_catalog.pg_policy p),"
    "     writers AS " WRITERS ","
    "     calls AS " CALLS ","
    "     uses AS ("
    "       SELECT DISTINCT t.oid, m[1]::oid AS used"
    "         FROM trees t, LATERAL regexp_matches(t.tree, ':relid (\\d+)', 'g') m),"
    "     reach AS ("
    "       SELECT DISTINCT c.oid, c.name FROM calls c"
    "        UNION"
    "       SELECT u.oid, r.name FROM uses u JOIN reach r ON r.oid = u.used)"
    "SELECT n.nspname::text, c.relname::text, 'v', min(r.name)"
    "  FROM reach r"
    "  JOIN pg_catalog.pg_class c ON c.oid = r.oid"
    "  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " GROUP BY n.nspname, c.relname"
    " ORDER BY n.nspname, c.relname";

static const char operators[] = "SELECT n.nspname::text, o.oprname::text, 'v', min(f.proname::text)"
                                "  FROM pg_catalog.pg_operator o"
                                "  JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace"
                                "  JOIN pg_catalog.pg_proc f ON f.oid = o.oprcode"
                                " WHERE f.provolatile = 'v'"
                                " GROUP BY n.nspname, o.oprname"
                                " ORDER BY n.nspname, o.oprname";

static const char types[] =
    "WITH trees AS ("
    "       SELECT c.contypid AS oid, c.conbin::text AS tree"
    "         FROM pg_catalog.pg_constraint c WHERE c.contypid <> 0 AND c.contype = 'c'),"
    "     writers AS " WRITERS ","
    "     calls AS " CALLS ","
    "     found AS ("
    "       SELECT c.oid, c.name FROM calls c"
    "        UNION ALL"
    "       SELECT t.oid, f.proname::text"
    "         FROM pg_catalog.pg_type t"
    "         JOIN pg_catalog.pg_proc f ON f.oid IN (t.typinput, t.typmodin)"
    "        WHERE f.provolatile = 'v'"
    "        UNION ALL"
    "       SELECT c.casttarget, f.proname::text"
    "         FROM pg_catalog.pg_cast c"
    "         JOIN pg_catalog.pg_proc f ON f.oid = c.castfunc"
    "        WHERE f.provolatile = 'v')"
    "SELECT n.nspname::text, t.typname::text, 'v', min(f.name)"
    "  FROM found f"
    "  JOIN pg_catalog.pg_type t ON t.oid = f.oid"
    "  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
    " GROUP BY n.nspname, t.typname"
    " ORDER BY n.nspname, t.typname";

const char *catalog_query(enum uses_kind kind)
{
    static const char *const queries[USES_KINDS] = {
        [USES_FUNCTION] = functions,
        [USES_RELATION] = relations,
        [USES_OPERATOR] = operators,
        [USES_TYPE] = types,
    };
    return queries[kind];
}

/* A row that was created, replaced or altered has another xmin; one that was dropped is missing in
 * the count. */
#define STATE "concat(count(*), '/', sum(xmin::text::bigint))"

const char *catalog_fingerprint_query(void)
{
    return "SELECT concat_ws(' ',"
           "  (SELECT " STATE " FROM pg_catalog.pg_proc),"
           "  (SELECT " STATE " FROM pg_catalog.pg_aggregate),"
           "  (SELECT " STATE " FROM pg_catalog.pg_rewrite),"
           "  (SELECT " STATE " FROM pg_catalog.pg_policy),"
           "  (SELECT " STATE " FROM pg_catalog.pg_operator),"
           "  (SELECT " STATE " FROM pg_catalog.pg_cast),"
           "  (SELECT " STATE " FROM pg_catalog.pg_type"
           "    WHERE typtype IN ('b', 'd') AND typcategory <> 'A'),"
           "  (SELECT " STATE " FROM pg_catalog.pg_constraint WHERE contypid <> 0),"
           "  (SELECT " STATE " FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_'))";
}
