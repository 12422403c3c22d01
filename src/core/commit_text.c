/*
 * The words in which a lost commit is asked for, and the reading of what comes back.
 *
 * All names are qualified, so that no search_path of an application can put something else in their
 * place, and numbers are the only thing that is ever put into a text. Positions and times come back
 * in forms that no setting of the session changes.
 */
#include "core/commit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"

/* ---- the probe ---- */

#define SERVER_XID8 130000 /* from here on pg_xact_status() and xid8 */

/*
 * CASE keeps the WAL functions from being called where they would fail (in recovery, where no xid
 * can be assigned either) and keeps a transaction without an xid free of one. `lsn_when` is what
 * stands between.
 */
#define PROBE(xid_function, lsn_when, is_marked)                                                   \
    "SELECT x, CASE WHEN x IS NULL THEN NULL " lsn_when " END, " is_marked                         \
    ", CASE WHEN x IS NOT NULL THEN"                                                               \
    " pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()) END"                      \
    ", pg_catalog.pg_last_wal_replay_lsn()" STARTED_US " FROM pg_catalog." xid_function "() AS x"
#define STARTED_US                                                                                 \
    ", CAST(extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000 AS"                \
    " pg_catalog.int8)"
#define INSERTED "ELSE pg_catalog.pg_current_wal_insert_lsn()"
#define MARKED   "ELSE pg_catalog.pg_logical_emit_message(true, 'holdfast', '')"
#define LOGICAL  "pg_catalog.current_setting('wal_level') = 'logical'"

#define PROBES(xid_function)                                                                       \
    {                                                                                              \
        [COMMIT_MARK_AUTO] = PROBE(                                                                \
            xid_function, "WHEN " LOGICAL " THEN pg_catalog.pg_current_wal_insert_lsn() " MARKED,  \
            "NOT " LOGICAL),                                                                       \
        [COMMIT_MARK_ALWAYS] = PROBE(xid_function, MARKED, "true"),                                \
        [COMMIT_MARK_NEVER] = PROBE(xid_function, INSERTED, "false"),                              \
    }

const char *commit_probe_sql(int server_version, enum commit_mark mark)
{
    static const char *const now[] = PROBES("pg_current_xact_id_if_assigned");
    static const char *const before[] = PROBES("txid_current_if_assigned");
    hf_assert(mark <= COMMIT_MARK_NEVER);
    if (server_version < COMMIT_SERVER_MIN)
        return NULL;
    return server_version >= SERVER_XID8 ? now[mark] : before[mark];
}

#define CHECK(xid_function)                                                                        \
    "SELECT pg_catalog.bool_and(pg_catalog.has_function_privilege(f, 'EXECUTE')) FROM (VALUES"     \
    " ('pg_catalog." xid_function "()')"                                                           \
    ", ('pg_catalog.pg_current_wal_insert_lsn()')"                                                 \
    ", ('pg_catalog.pg_walfile_name(pg_lsn)')"                                                     \
    ", ('pg_catalog.pg_last_wal_replay_lsn()')"                                                    \
    ", ('pg_catalog.pg_postmaster_start_time()')"                                                  \
    ", ('pg_catalog.pg_logical_emit_message(bool,text,text)')) AS v (f)"

const char *commit_probe_check_sql(int server_version)
{
    if (server_version < COMMIT_SERVER_MIN)
        return NULL;
    return server_version >= SERVER_XID8 ? CHECK("pg_current_xact_id_if_assigned")
                                         : CHECK("txid_current_if_assigned");
}

/* ---- values ---- */

/* One to eight hexadecimal digits and nothing else. */
static bool read_hex(struct sv text, uint32_t *out)
{
    uint32_t number = 0;
    if (text.size == 0 || text.size > 8)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        int digit = sv_hex_digit(text.data[i]);
        if (digit < 0)
            return false;
        number = number << 4 | (uint32_t)digit;
    }
    *out = number;
    return true;
}

/* A position as "16/B374D848"; NULL, for which there is a meaning everywhere, gives 0. */
static bool read_lsn(const char *value, uint64_t *out)
{
    struct sv low = sv_from_cstr(value), high;
    uint32_t parts[2];
    *out = 0;
    if (value == NULL)
        return true;
    if (!sv_split(&low, '/', &high) || !read_hex(high, &parts[0]) || !read_hex(low, &parts[1]))
        return false;
    *out = (uint64_t)parts[0] << 32 | parts[1];
    return true;
}

/* The timeline is the first eight digits of a segment's file name. */
static bool read_timeline(const char *value, uint32_t *out)
{
    struct sv name = sv_from_cstr(value);
    return name.size == 24 && read_hex(sv_take(name, 8), out) && *out != 0;
}

static bool read_number(const char *value, int64_t min, int64_t *out)
{
    return value != NULL && sv_to_int(sv_from_cstr(value), min, INT64_MAX, out) == SV_NUMBER_OK;
}

static bool read_bool(const char *value, bool *out)
{
    *out = value != NULL && strcmp(value, "t") == 0;
    return *out || (value != NULL && strcmp(value, "f") == 0);
}

/* Three columns: segment name, end of the last recovery, start of the postmaster. */
static bool read_incarnation(const char *const *values, struct commit_incarnation *at)
{
    return read_timeline(values[0], &at->timeline) && read_lsn(values[1], &at->recovered_lsn) &&
           read_number(values[2], 1, &at->started_us);
}

enum hf_rc commit_probe_read(struct commit_probe *probe, const char *const *values,
                             struct hf_err *err)
{
    int64_t xid;
    *probe = (struct commit_probe){0};
    if (values[0] == NULL)
        return HF_OK;
    if (!read_number(values[0], 1, &xid) || !read_lsn(values[1], &probe->lsn) || probe->lsn == 0 ||
        !read_bool(values[2], &probe->is_marked) || !read_incarnation(values + 3, &probe->at)) {
        *probe = (struct commit_probe){0};
        err_set(err, HF_RC_PEER, "08P01", "unexpected answer to the probe ahead of COMMIT");
        return err_detail(err, "Asked for a transaction id, got \"%.32s\", \"%.32s\".", values[0],
                          values[1] != NULL ? values[1] : "NULL");
    }
    probe->xid = (uint64_t)xid;
    return HF_OK;
}

static enum commit_status read_status(const char *value)
{
    static const char *const words[COMMIT_STATUSES] = {
        [COMMIT_STATUS_COMMITTED] = "committed",
        [COMMIT_STATUS_ABORTED] = "aborted",
        [COMMIT_STATUS_RUNNING] = "in progress",
        [COMMIT_STATUS_FUTURE] = "future",
    };
    if (value == NULL)
        return COMMIT_STATUS_EXPIRED;
    for (int i = 0; i < COMMIT_STATUSES; i++)
        if (words[i] != NULL && strcmp(words[i], value) == 0)
            return (enum commit_status)i;
    return COMMIT_STATUS_UNASKED;
}

bool commit_answer_read(struct commit_answer *answer, const char *const *values)
{
    int64_t system_id;
    *answer = (struct commit_answer){0};
    if (!read_bool(values[0], &answer->is_in_recovery) ||
        !read_number(values[4], INT64_MIN, &system_id))
        return false;
    answer->system_id = (uint64_t)system_id;
    if (answer->is_in_recovery)
        return true;
    answer->status = read_status(values[6]);
    return answer->status != COMMIT_STATUS_UNASKED && read_incarnation(values + 1, &answer->at) &&
           read_bool(values[5], &answer->is_synchronous);
}

/* ---- history files ---- */

/* Fields stand between blanks; `rest` keeps what follows. */
static struct sv take_field(struct sv *rest)
{
    size_t end = 0;
    *rest = sv_trim(*rest);
    while (end < rest->size && rest->data[end] != ' ' && rest->data[end] != '\t')
        ++end;
    struct sv field = sv_take(*rest, end);
    *rest = sv_drop(*rest, end);
    return field;
}

/* "1<tab>0/3000148<tab>no recovery target specified" */
static bool read_switch(struct sv line, struct commit_switch *out)
{
    int64_t timeline;
    struct sv first = take_field(&line), second = take_field(&line);
    char lsn[20];
    if (sv_to_int(first, 1, UINT32_MAX, &timeline) != SV_NUMBER_OK ||
        !sv_copy(second, lsn, sizeof lsn) || !read_lsn(lsn, &out->lsn))
        return false;
    out->timeline = (uint32_t)timeline;
    return true;
}

/* Of an order that no server writes nothing can be concluded. */
static bool is_after_last(const struct commit_history *history, const struct commit_switch *next)
{
    if (next->timeline >= history->timeline)
        return false;
    if (history->count == 0)
        return true;
    const struct commit_switch *last = &history->switches[history->count - 1];
    return next->timeline > last->timeline && next->lsn >= last->lsn;
}

enum hf_rc commit_history_read(struct commit_history *history, uint32_t timeline, struct sv text,
                               struct hf_err *err)
{
    struct sv line;
    *history = (struct commit_history){.timeline = timeline};
    while (sv_split(&text, '\n', &line)) {
        struct commit_switch next;
        line = sv_trim(line);
        if (line.size == 0 || line.data[0] == '#')
            continue;
        if (!read_switch(line, &next) || !is_after_last(history, &next))
            return err_set(err, HF_RC_PEER, "08P01",
                           "unexpected line in the history of timeline %" PRIu32 ": \"" SV_FMT "\"",
                           timeline, SV_ARG(line));
        if (history->count == COMMIT_SWITCHES_MAX) {
            /* The oldest are the ones that nobody asks for; without them it is not whole. */
            memmove(history->switches, history->switches + 1,
                    (COMMIT_SWITCHES_MAX - 1) * sizeof history->switches[0]);
            --history->count;
        }
        history->switches[history->count++] = next;
    }
    /* Each timeline but the first began somewhere. */
    history->is_whole =
        timeline == 1 || (history->count > 0 && history->count < COMMIT_SWITCHES_MAX);
    return HF_OK;
}

/* ---- questions ---- */

/*
 * pg_xact_status() fails for an xid that was never assigned, and with it the whole row. age()
 * counts from the next xid to be assigned, in a transaction that has none of its own, and says
 * first whether this one lies ahead. Both numbers only grow: what has an age has a status.
 */
static void print_status(const struct commit *commit, int server_version,
                         char out[COMMIT_SQL_BYTES])
{
    char status[80];
    uint64_t xid = commit->probe.xid;
    if (server_version >= SERVER_XID8)
        snprintf(status, sizeof status, "pg_xact_status(CAST('%" PRIu64 "' AS pg_catalog.xid8))",
                 xid);
    else
        snprintf(status, sizeof status, "txid_status(%" PRIu64 ")", xid);
    snprintf(out, COMMIT_SQL_BYTES,
             "SELECT r, CASE WHEN NOT r THEN"
             " pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()) END"
             ", pg_catalog.pg_last_wal_replay_lsn()" STARTED_US
             ", (SELECT system_identifier FROM pg_catalog.pg_control_system())"
             ", pg_catalog.current_setting('synchronous_standby_names') <> ''"
             ", CASE WHEN r THEN NULL WHEN pg_catalog.age(CAST('%" PRIu32
             "' AS pg_catalog.xid)) <= 0 THEN 'future' ELSE pg_catalog.%s END"
             " FROM pg_catalog.pg_is_in_recovery() AS r",
             (uint32_t)xid, status);
}

static void print_history(const struct commit *commit, char out[COMMIT_SQL_BYTES])
{
    uint32_t timeline = commit->history_of;
    if (commit->history_tries <= 1)
        snprintf(out, COMMIT_SQL_BYTES, "SELECT holdfast.timeline_history(%" PRIu32 ")", timeline);
    else
        snprintf(out, COMMIT_SQL_BYTES,
                 "SELECT pg_catalog.pg_read_file('pg_wal/%08" PRIX32 ".history', 0, 65536, true)",
                 timeline);
}

void commit_sql(const struct commit *commit, enum commit_query query, int server_version,
                char out[COMMIT_SQL_BYTES])
{
    switch (query) {
    case COMMIT_QUERY_STATUS:
        print_status(commit, server_version, out);
        return;
    case COMMIT_QUERY_HISTORY:
        print_history(commit, out);
        return;
    case COMMIT_QUERY_CONFIRM:
        /* A message inside a transaction gives it an xid and a record, so that its commit is
         * flushed and waits for the synchronous standbys as any other does: also where this role
         * does not wait by default, since the lost transaction may have. */
        snprintf(out, COMMIT_SQL_BYTES, "%s",
                 "SELECT pg_catalog.set_config('synchronous_commit',"
                 " CASE pg_catalog.current_setting('synchronous_commit')"
                 " WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true),"
                 " pg_catalog.pg_logical_emit_message(true, 'holdfast', '')");
        return;
    case COMMIT_QUERY_END:
        snprintf(out, COMMIT_SQL_BYTES,
                 "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity"
                 " WHERE backend_xid = CAST('%" PRIu32 "' AS pg_catalog.xid)",
                 (uint32_t)commit->probe.xid);
        return;
    case COMMIT_QUERIES:
        break;
    }
    hf_assert(false);
}
