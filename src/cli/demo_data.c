#include "cli/demo_data.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/ns.h"
#include "base/sv.h"
#include "os/clock.h"
#include "os/file.h"

#define INIT_NS_MAX  HF_SEC(120)
#define COPY_NS_MAX  HF_SEC(600)
#define QUERY_NS_MAX HF_SEC(30)

/* ---- Data folders ---- */

/* Of what a program wrote, the line that says why it failed. */
static struct sv find_reason(const char *said)
{
    static const char *const signs[] = {"FATAL:", "PANIC:", "ERROR:", "error:", "fatal:"};
    struct sv rest = sv_from_cstr(said);
    struct sv line;
    struct sv reason = sv_from(NULL, 0);
    bool is_sure = false;
    while (sv_split(&rest, '\n', &line)) {
        char text[512];
        line = sv_trim(line);
        bool has_sign = false;
        if (sv_copy(sv_take(line, sizeof text - 1), text, sizeof text)) {
            for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
                has_sign = has_sign || strstr(text, signs[i]) != NULL;
        }
        if (line.size > 0 && (has_sign || !is_sure)) {
            reason = line;
            is_sure = has_sign;
        }
    }
    return reason;
}

static enum hf_rc explain_run(const struct child_run *run, const char *what, struct hf_err *err)
{
    char how[CHILD_TEXT_SIZE];
    if (run->waited == CHILD_WAIT_INTERRUPTED)
        return err_set(err, HF_RC_AGAIN, "57014", "interrupted while %s", what);
    if (run->waited == CHILD_WAIT_DEADLINE) {
        err_set(err, HF_RC_AGAIN, "57014", "it took too long: %s", what);
        return err_hint(err, "Look for a disk that is much too slow, and try again.");
    }
    const struct sv reason = find_reason(run->out);
    const bool is_disk_full = strstr(run->out, "No space left on device") != NULL;
    err_set(err, is_disk_full ? HF_RC_AGAIN : HF_RC_PEER, is_disk_full ? "53100" : "58000",
            "%s failed: %s", what,
            is_disk_full ? "the disk is full" : child_describe(&run->child, how));
    err_detail(err, "%.*s", (int)reason.size, sv_print_data(reason));
    if (is_disk_full)
        err_hint(err, "Free some space there, or choose another folder with --dir.");
    return err->rc;
}

/* Runs one of PostgreSQL's programs to its end; `what` for messages: "copying the primary". */
static enum hf_rc run_program(const struct demo_place *place, const char *const *argv,
                              int64_t wait_ns, const char *what, struct hf_err *err)
{
    char said[8192];
    struct child_run run = {
        .spec = {.argv = argv, .directory = place->folder->path},
        .deadline_ns = ns_add(clock_now(), wait_ns),
        .interrupt_fd = place->stop_fd,
        .out = said,
        .size = sizeof said,
    };
    enum hf_rc rc = child_run(&run, err);
    if (rc != HF_OK || (run.waited == CHILD_WAIT_ENDED && child_succeeded(&run.child)))
        return rc;
    return explain_run(&run, what, err);
}

/* DIR/NAME.new, with nothing left of an earlier try. */
static enum hf_rc clear_new_folder(const struct demo_place *place, const struct demo_server *server,
                                   char path[PATH_MAX], struct hf_err *err)
{
    char name[sizeof server->name + 4];
    snprintf(name, sizeof name, "%s.new", server->name);
    return file_remove_tree(demo_folder_path(place->folder, name, path), err);
}

static enum hf_rc give_name(const struct demo_place *place, const struct demo_server *server,
                            const char *new_path, struct hf_err *err)
{
    char path[PATH_MAX];
    demo_server_data(place, server, path);
    enum hf_rc rc = file_remove_tree(path, err); /* an incomplete one: it has no PG_VERSION */
    return rc == HF_OK ? file_rename(new_path, path, err) : rc;
}

enum hf_rc demo_data_init(const struct demo_place *place, const struct demo_server *primary,
                          struct hf_err *err)
{
    char program[PATH_MAX];
    char path[PATH_MAX];
    enum hf_rc rc = clear_new_folder(place, primary, path, err);
    if (rc != HF_OK)
        return rc;
    /* The C locale exists everywhere, sorts the same everywhere, and UTF-8 works with it. */
    const char *const argv[] = {programs_path(place->programs, "initdb", program),
                                "--pgdata",
                                path,
                                "--username",
                                DEMO_SUPERUSER,
                                "--auth=trust",
                                "--encoding=UTF8",
                                "--locale=C",
                                "--data-checksums",
                                NULL};
    rc = run_program(place, argv, INIT_NS_MAX, "making the primary's data folder", err);
    return rc == HF_OK ? give_name(place, primary, path, err) : rc;
}

enum hf_rc demo_data_copy(const struct demo_place *place, const struct demo_server *primary,
                          const struct demo_server *replica, struct hf_err *err)
{
    char program[PATH_MAX];
    char path[PATH_MAX];
    char sockets[PATH_MAX];
    char signal_file[PATH_MAX + 20];
    char port[16];
    enum hf_rc rc = clear_new_folder(place, replica, path, err);
    if (rc != HF_OK)
        return rc;
    snprintf(port, sizeof port, "%d", primary->port);
    const char *const argv[] = {programs_path(place->programs, "pg_basebackup", program),
                                "--pgdata",
                                path,
                                "--host",
                                demo_folder_path(place->folder, "socket", sockets),
                                "--port",
                                port,
                                "--username",
                                DEMO_REPLICATOR,
                                "--no-password",
                                "--checkpoint=fast",
                                "--wal-method=stream",
                                "--slot",
                                replica->name,
                                NULL};
    rc = run_program(place, argv, COPY_NS_MAX, "copying the primary", err);
    snprintf(signal_file, sizeof signal_file, "%s/standby.signal", path);
    if (rc == HF_OK)
        rc = file_write(signal_file, "", 0600, err);
    return rc == HF_OK ? give_name(place, replica, path, err) : rc;
}

/* ---- Contents ---- */

static const char *const statements_roles[] = {
    "DO $$ BEGIN"
    " IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '" DEMO_REPLICATOR "') THEN"
    "  CREATE ROLE " DEMO_REPLICATOR " LOGIN REPLICATION; END IF;"
    " IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '" DEMO_USER "') THEN"
    "  CREATE ROLE " DEMO_USER " LOGIN; END IF; END $$",
    "GRANT pg_monitor TO " DEMO_USER, /* so that pg_stat_replication shows all there is */
    NULL,
};

/* A bank, because everybody can tell when money is lost: the balances add up to 1000000, and every
 * transfer leaves that sum as it is. */
static const char *const statements_tables[] = {
    "BEGIN",
    "SET LOCAL ROLE " DEMO_USER,
    "CREATE TABLE IF NOT EXISTS account ("
    " id integer PRIMARY KEY,"
    " owner text NOT NULL,"
    " balance bigint NOT NULL CHECK (balance >= 0))",
    "CREATE TABLE IF NOT EXISTS transfer ("
    " id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " from_account integer NOT NULL REFERENCES account,"
    " to_account integer NOT NULL REFERENCES account,"
    " amount bigint NOT NULL CHECK (amount > 0),"
    " made_at timestamptz NOT NULL DEFAULT now())",
    "INSERT INTO account"
    " SELECT i, (ARRAY['Ada', 'Edsger', 'Grace', 'Barbara', 'Dennis', 'Radia', 'Leslie', 'Frances',"
    "  'Ken', 'Mary'])[1 + i % 10] || ' ' || i, 1000"
    " FROM generate_series(1, 1000) i"
    " WHERE NOT EXISTS (SELECT FROM account)",
    "INSERT INTO transfer (from_account, to_account, amount, made_at)"
    " SELECT 1 + i * 7 % 1000, 1 + i * 7 % 1000 + CASE WHEN i * 7 % 1000 < 999 THEN 1 ELSE -1 END,"
    "  1 + i % 50, now() - (2000 - i) * interval '1 minute'"
    " FROM generate_series(1, 2000) i"
    " WHERE NOT EXISTS (SELECT FROM transfer)",
    "COMMIT",
    NULL,
};

static enum hf_rc run_all(struct conn *conn, const char *const *statements, struct hf_err *err)
{
    for (; *statements != NULL; statements++) {
        enum hf_rc rc = conn_run(conn, *statements, NULL, ns_add(clock_now(), QUERY_NS_MAX), err);
        if (rc != HF_OK)
            return rc;
    }
    return HF_OK;
}

/* Only the SCRAM verifier goes to the server: the password itself is in no statement, so in no log,
 * whatever fails. */
static enum hf_rc set_password(struct conn *conn, const struct secret *password, struct hf_err *err)
{
    char statement[512];
    char *verifier =
        PQencryptPasswordConn(conn->pg, secret_reveal(password).data, DEMO_USER, "scram-sha-256");
    if (verifier == NULL)
        return err_set(err, HF_RC_PEER, "58000", "could not make a password verifier");
    char *quoted = PQescapeLiteral(conn->pg, verifier, strlen(verifier));
    int length = quoted == NULL ? -1
                                : snprintf(statement, sizeof statement,
                                           "ALTER ROLE " DEMO_USER " PASSWORD %s", quoted);
    PQfreemem(verifier);
    PQfreemem(quoted);
    if (length < 0 || length >= (int)sizeof statement)
        return err_set(err, HF_RC_PEER, "58000", "could not quote a password verifier");
    return conn_run(conn, statement, NULL, ns_add(clock_now(), QUERY_NS_MAX), err);
}

static enum hf_rc make_database(struct conn *conn, struct hf_err *err)
{
    PGresult *rows;
    enum hf_rc rc = conn_query(conn, "SELECT FROM pg_database WHERE datname = '" DEMO_DATABASE "'",
                               NULL, ns_add(clock_now(), QUERY_NS_MAX), &rows, err);
    const bool is_there = rc == HF_OK && PQntuples(rows) > 0;
    PQclear(rows);
    if (rc != HF_OK || is_there)
        return rc;
    return conn_run(conn, "CREATE DATABASE " DEMO_DATABASE " OWNER " DEMO_USER, NULL,
                    ns_add(clock_now(), QUERY_NS_MAX), err);
}

static enum hf_rc fill_common(const struct demo_place *place, const struct demo_server *primary,
                              const struct secret *password, bool is_bare, struct hf_err *err)
{
    struct conn conn;
    enum hf_rc rc = demo_server_connect(place, primary, "postgres",
                                        ns_add(clock_now(), QUERY_NS_MAX), &conn, err);
    if (rc == HF_OK && is_bare)
        rc = run_all(&conn, statements_roles, err);
    if (rc == HF_OK)
        rc = set_password(&conn, password, err);
    if (rc == HF_OK && is_bare)
        rc = make_database(&conn, err);
    conn_close(&conn);
    return rc;
}

bool demo_data_is_bare(const struct demo_place *place)
{
    char path[PATH_MAX];
    return access(demo_folder_path(place->folder, "primary/holdfast_made", path), F_OK) != 0;
}

enum hf_rc demo_data_fill(const struct demo_place *place, const struct demo_server *primary,
                          const struct secret *password, bool is_new_password, struct hf_err *err)
{
    char path[PATH_MAX];
    struct conn conn;
    const bool is_bare = demo_data_is_bare(place);
    if (!is_bare && !is_new_password)
        return HF_OK;
    enum hf_rc rc = fill_common(place, primary, password, is_bare, err);
    if (rc == HF_OK && is_bare) {
        rc = demo_server_connect(place, primary, DEMO_DATABASE, ns_add(clock_now(), QUERY_NS_MAX),
                                 &conn, err);
        if (rc == HF_OK)
            rc = run_all(&conn, statements_tables, err);
        conn_close(&conn);
    }
    if (rc != HF_OK)
        return rc == HF_RC_AGAIN ? rc : err_while(err, "could not fill the database");
    return is_bare ? file_write(demo_folder_path(place->folder, "primary/holdfast_made", path), "",
                                0600, err)
                   : HF_OK;
}

enum hf_rc demo_data_make_slot(struct conn *primary, const char *name, struct hf_err *err)
{
    const char *const values[] = {name, NULL};
    return conn_run(primary,
                    "SELECT pg_create_physical_replication_slot($1, true)"
                    " WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)",
                    values, ns_add(clock_now(), QUERY_NS_MAX), err);
}
