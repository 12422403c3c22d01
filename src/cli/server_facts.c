#include "cli/server_facts.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ns.h"
#include "base/units.h"
#include "os/clock.h"

#define QUERY_NS_MAX HF_SEC(5)

static enum hf_rc query(struct conn *conn, const char *sql, PGresult **rows, struct hf_err *err)
{
    return conn_query(conn, sql, NULL, ns_add(clock_now(), QUERY_NS_MAX), rows, err);
}

static const char *cell(const PGresult *rows, int row, int column)
{
    return PQgetisnull(rows, row, column) ? "" : PQgetvalue(rows, row, column);
}

/* Bytes as a person counts them: "0 bytes", "24 MB". */
static const char *print_bytes(const char *text, char *out, size_t size)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    double number = strtod(text, NULL);
    size_t unit = 0;
    while (number >= 10240 && unit < sizeof units / sizeof units[0] - 1) {
        number /= 1024;
        unit++;
    }
    snprintf(out, size, "%.0f %s", number, units[unit]);
    return out;
}

/* Two units are enough for a person: "3 d 4 h", "12 min 5 s". */
static const char *print_age(const char *seconds, char *out, size_t size)
{
    static const struct {
        long long seconds;
        const char *name;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    long long left = strtoll(seconds, NULL, 10);
    size_t unit = 0;
    while (unit < 3 && left < units[unit].seconds)
        unit++;
    const long long whole = left / units[unit].seconds;
    left %= units[unit].seconds;
    if (unit < 3)
        snprintf(out, size, "%lld %s %lld %s", whole, units[unit].name,
                 left / units[unit + 1].seconds, units[unit + 1].name);
    else
        snprintf(out, size, "%lld s", whole);
    return out;
}

static enum hf_rc print_server(struct conn *conn, bool *is_replica, struct hf_err *err)
{
    PGresult *rows;
    char age[64];
    enum hf_rc rc =
        query(conn,
              "SELECT split_part(current_setting('server_version'), ' ', 1), pg_is_in_recovery(),"
              " extract(epoch FROM now() - pg_postmaster_start_time())::bigint,"
              " current_database(), current_user, pg_size_pretty(pg_database_size("
              "current_database()))",
              &rows, err);
    if (rc != HF_OK)
        return rc;
    *is_replica = cell(rows, 0, 1)[0] == 't';
    printf("\n  server      PostgreSQL %s, %s, up for %s\n", cell(rows, 0, 0),
           *is_replica ? "replica" : "primary", print_age(cell(rows, 0, 2), age, sizeof age));
    printf("  database    %s (%s), as user %s\n", cell(rows, 0, 3), cell(rows, 0, 5),
           cell(rows, 0, 4));
    PQclear(rows);
    return HF_OK;
}

static void print_replica(const PGresult *rows, int row)
{
    char bytes[32];
    const char *state = cell(rows, row, 1);
    const char *behind = cell(rows, row, 3);
    if (state[0] == '\0')
        printf("%s (its state is hidden from this user: GRANT pg_monitor shows it)\n",
               cell(rows, row, 0));
    else if (behind[0] == '\0')
        printf("%s: %s, %s, has not said how far it is\n", cell(rows, row, 0), state,
               cell(rows, row, 2));
    else
        printf("%s: %s, %s, %s behind\n", cell(rows, row, 0), state, cell(rows, row, 2),
               print_bytes(behind, bytes, sizeof bytes));
}

static enum hf_rc print_replicas(struct conn *conn, struct hf_err *err)
{
    PGresult *rows;
    enum hf_rc rc = query(conn,
                          "SELECT coalesce(nullif(application_name, ''), 'unnamed'), state,"
                          " sync_state, pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)"
                          " FROM pg_stat_replication ORDER BY 1",
                          &rows, err);
    if (rc != HF_OK)
        return rc;
    const int count = PQntuples(rows);
    printf("  replicas    ");
    if (count == 0)
        printf("none is attached\n");
    for (int i = 0; i < count; i++) {
        printf("%s", i == 0 ? "" : "              ");
        print_replica(rows, i);
    }
    PQclear(rows);
    return HF_OK;
}

/* Of a replica: whom it follows, and how much it has received but not replayed. Its lag in seconds
 * is not shown: on an idle primary the usual formula grows without end. */
static enum hf_rc print_upstream(struct conn *conn, struct hf_err *err)
{
    PGresult *rows;
    char bytes[32];
    enum hf_rc rc = query(conn,
                          "SELECT (SELECT coalesce(sender_host || ':' || sender_port, '')"
                          " FROM pg_stat_wal_receiver WHERE status = 'streaming'),"
                          " pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())",
                          &rows, err);
    if (rc != HF_OK)
        return rc;
    if (PQgetisnull(rows, 0, 0))
        printf("  follows     nobody at the moment: no WAL receiver is streaming\n");
    else
        printf("  follows     %s, %s received and not yet replayed\n",
               cell(rows, 0, 0)[0] != '\0' ? cell(rows, 0, 0) : "a primary",
               print_bytes(cell(rows, 0, 1), bytes, sizeof bytes));
    PQclear(rows);
    return HF_OK;
}

/* What decides whether a commit survives: each setting with what is wrong with it, if anything. */
static enum hf_rc print_durability(struct conn *conn, struct hf_err *err)
{
    PGresult *rows;
    enum hf_rc rc = query(conn,
                          "SELECT current_setting('synchronous_commit'),"
                          " current_setting('synchronous_standby_names'),"
                          " current_setting('fsync'), current_setting('full_page_writes'),"
                          " current_setting('archive_mode'), current_setting('wal_level')",
                          &rows, err);
    if (rc != HF_OK)
        return rc;
    const char *standbys = cell(rows, 0, 1);
    printf("  commits     synchronous_commit %s, %s%s\n", cell(rows, 0, 0),
           standbys[0] != '\0' ? "synchronous standbys: " : "no synchronous standby", standbys);
    printf("  crash       fsync %s, full_page_writes %s%s\n", cell(rows, 0, 2), cell(rows, 0, 3),
           strcmp(cell(rows, 0, 2), "on") == 0 && strcmp(cell(rows, 0, 3), "on") == 0
               ? ""
               : ": a crash of the machine may destroy the data");
    printf("  archive     archive_mode %s, wal_level %s%s\n", cell(rows, 0, 4), cell(rows, 0, 5),
           strcmp(cell(rows, 0, 4), "off") == 0 ? ": no point-in-time recovery" : "");
    PQclear(rows);
    return HF_OK;
}

enum hf_rc server_facts_print(struct conn *conn, struct hf_err *err)
{
    bool is_replica = false;
    enum hf_rc rc = print_server(conn, &is_replica, err);
    if (rc == HF_OK && is_replica)
        rc = print_upstream(conn, err);
    if (rc == HF_OK && !is_replica)
        rc = print_replicas(conn, err);
    if (rc == HF_OK)
        rc = print_durability(conn, err);
    return rc == HF_OK ? rc : err_while(err, "could not ask what the server is");
}
