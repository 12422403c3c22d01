/* What every setting of the proxy is called, means, and may be: rows, and the sections they form.
 */
#include "base/bug.h"
#include "base/ns.h"
#include "proxy/proxy_config.h"

#include <string.h>

/* A row takes one line or two this way, and its neighbours can be compared. LIVE: a reload changes
 * it; RESTART: it takes a new process. */
#define LIVE    true
#define RESTART false

#define ROW(struct_name, field, name, row_type, reload, text, ...)                                 \
    {                                                                                              \
        .key = (name), .type = (row_type), .is_reloadable = (reload),                              \
        OPT_FIELD(struct struct_name, field), .default_text = (text), .since = "0.2", __VA_ARGS__  \
    }
#define TEXT(s, field, name, reload, text, words)                                                  \
    ROW(s, field, name, OPT_STRING, reload, text, .sentence = (words))
#define SECRET(s, field, name, words) ROW(s, field, name, OPT_SECRET, LIVE, "", .sentence = (words))
#define BOOL(s, field, name, reload, text, words)                                                  \
    ROW(s, field, name, OPT_BOOL, reload, text, .sentence = (words))
#define COUNT(s, field, name, reload, text, low, high, what, words)                                \
    ROW(s, field, name, OPT_INT, reload, text, .min = (low), .max = (high), .unit = (what),        \
        .sentence = (words))
#define TIME(s, field, name, text, low, high, words)                                               \
    ROW(s, field, name, OPT_DURATION, LIVE, text, .min = (low), .max = (high), .sentence = (words))
#define SIZE(s, field, name, reload, text, low, high, words)                                       \
    ROW(s, field, name, OPT_SIZE, reload, text, .min = (low), .max = (high), .sentence = (words))
#define ENUM(s, field, name, reload, text, list, words)                                            \
    ROW(s, field, name, OPT_ENUM, reload, text, .names = (list), .sentence = (words))

#define HOUR HF_SEC(3600)
#define DAY  (24 * HOUR)
#define MB   (INT64_C(1) << 20)
#define TB   (INT64_C(1) << 40)

static const char *const pool_modes[] = {"session", "transaction", "statement", NULL};
static const char *const features[] = {"pin", "refuse", "leave", NULL};
static const char *const ios[] = {"auto", "io_uring", "epoll", NULL};
static const char *const sslmodes[] = {"disable",   "allow",       "prefer", "require",
                                       "verify-ca", "verify-full", NULL};
static const char *const tls_versions[] = {"TLSv1.2", "TLSv1.3", NULL};
static const char *const auths[] = {"trust",         "reject", "password", "md5",
                                    "scram-sha-256", "cert",   "peer",     NULL};
static const char *const demands[] = {"allow", "require", "verify-ca", NULL};
static const char *const targets[] = {"any",     "read-write",     "read-only", "primary",
                                      "standby", "prefer-standby", NULL};
static const char *const listen_gaps[] = {"notice", "disconnect", NULL};
static const char *const balances[] = {"disable", "round-robin", NULL};
static const char *const role_modes[] = {"database", "session", "transaction", "statement", NULL};

const char *proxy_auth_name(enum proxy_auth method)
{
    hf_assert(method <= PROXY_AUTH_PEER);
    return auths[method];
}

/* ---- proxy ---- */

/* Everything by its schema, and the parameter's type by the column it is compared with. pg_authid,
 * as pg_shadow shows nothing that it does not; both are for superusers, and others need a function
 * (docs/guide/authentication.md has one). An expired password is no password, as for PostgreSQL. */
#define AUTH_QUERY                                                                                 \
    "SELECT rolname, CASE WHEN rolvaliduntil < pg_catalog.now() THEN NULL ELSE rolpassword END, "  \
    "CASE WHEN pg_catalog.isfinite(rolvaliduntil) THEN "                                           \
    "pg_catalog.date_part('epoch', rolvaliduntil - pg_catalog.now()) END "                         \
    "FROM pg_catalog.pg_authid WHERE rolname = $1 AND rolcanlogin"

static const struct opt_row settings_rows[] = {
    TEXT(proxy_settings, listen_text, "listen", RESTART, "127.0.0.1",
         "Addresses to listen on, separated by commas, such as 127.0.0.1 or [::1]:6433; * is every "
         "address of this machine, and empty is none."),
    COUNT(proxy_settings, port, "port", RESTART, "6432", 1, 65535, NULL,
          "Port to listen on, at every address that has none of its own."),
    TEXT(proxy_settings, unix_socket_dir, "unix_socket_dir", RESTART, "",
         "Folder for a unix socket, named as PostgreSQL does; empty is none."),
    TEXT(proxy_settings, unix_socket_mode_text, "unix_socket_mode", RESTART, "0777",
         "Permissions of the unix socket, in octal."),
    TEXT(proxy_settings, run_dir, "run_dir", RESTART, "",
         "Folder of this process's own for the socket by which a new process takes over from it, "
         "such as /run/holdfast; empty is no takeover."),
    COUNT(proxy_settings, instance_id, "instance_id", RESTART, "0", 0, PROXY_INSTANCES_MAX, NULL,
          "Number of this instance among its peers, to which cancel requests find their way by it, "
          "and which may share its port; 0 is none."),
    COUNT(proxy_settings, workers, "workers", RESTART, "0", 0, PROXY_WORKERS_MAX, "threads",
          "Threads that share the work; 0 is one for each core."),
    ENUM(proxy_settings, io, "io", RESTART, "auto", ios,
         "How sockets are driven; auto takes io_uring where the kernel allows it, else epoll."),
    SIZE(proxy_settings, memory, "memory", RESTART, "256MB", 8 * MB, TB,
         "Most memory for bytes on their way, over all clients and servers."),
    ENUM(proxy_settings, auth_type, "auth_type", LIVE, "scram-sha-256", auths,
         "How clients prove who they are where no auth_hba_file says so; trust is for clients of "
         "this machine only."),
    TEXT(proxy_settings, auth_hba_file, "auth_hba_file", LIVE, "",
         "File of rules in pg_hba.conf's format, which then decide instead of auth_type."),
    TEXT(proxy_settings, auth_file, "auth_file", LIVE, "",
         "File of users and their secrets, in the format of PgBouncer's userlist.txt."),
    TEXT(proxy_settings, auth_ident_file, "auth_ident_file", LIVE, "",
         "File of name maps in pg_ident.conf's format, for rules with map=: which names of "
         "certificates or of the system's users may be which users."),
    TEXT(proxy_settings, lookup.user, "auth_user", LIVE, "",
         "User who looks up those that are not in auth_file, by auth_query; empty is not at all. A "
         "database may have its own."),
    SECRET(proxy_settings, lookup_password, "auth_password",
           "Password of auth_user; without it, the one in auth_file or passfile."),
    TEXT(proxy_settings, lookup.dbname, "auth_dbname", LIVE, "",
         "Where auth_query is asked: an entry of databases, or else a database at the servers of "
         "the one that the client wants; empty is that one itself, or postgres where it is one of "
         "all names."),
    TEXT(proxy_settings, lookup.query, "auth_query", LIVE, AUTH_QUERY,
         "What is asked; $1 is the user's name. Name and secret are its first two columns, and for "
         "how many seconds from now they are valid may be a third; no row is no such user. "
         "search_path is pg_catalog, so anything else needs its schema."),
    TIME(proxy_settings, lookup_ttl_ns, "auth_query_ttl", "15s", 0, DAY,
         "How long an answer of auth_query counts: how long a password that was changed still "
         "works, at most."),
    TIME(proxy_settings, lookup_stale_ns, "auth_query_stale", "5min", 0, DAY,
         "How much longer it counts while no server can be asked."),
    TEXT(proxy_settings, passfile, "passfile", LIVE, "",
         "File of passwords for servers, in the format of .pgpass, for users whose password is "
         "nowhere else."),
    TEXT(proxy_settings, admin_users, "admin_users", LIVE, "",
         "Users who may give every command on the console, separated by commas."),
    TEXT(proxy_settings, stats_users, "stats_users", LIVE, "",
         "Users who may look at the console with SHOW, separated by commas."),
    BOOL(proxy_settings, log_connections, "log_connections", LIVE, "on",
         "Logs every client that has logged in, the console's apart: of those each command is "
         "logged."),
    BOOL(proxy_settings, log_disconnections, "log_disconnections", LIVE, "on",
         "Logs every client that is gone, and why."),
    TIME(proxy_settings, log_slow_ns, "log_slow", "never", 0, HF_NEVER,
         "Logs queries that took longer, with what they waited for."),
    BOOL(proxy_settings, track_statements, "track_statements", LIVE, "on",
         "Remembers the beginning of each running statement, for SHOW STATEMENTS; it shows none "
         "of their literals."),
    TIME(proxy_settings, keepalive.idle_ns, "tcp_keepidle", "0s", 0, HF_SEC(32767),
         "How long a client or server may say nothing until TCP asks whether it is there; 0 is as "
         "the system has it, here and below. A reload changes it for new connections."),
    TIME(proxy_settings, keepalive.interval_ns, "tcp_keepintvl", "0s", 0, HF_SEC(32767),
         "How long after that it asks again."),
    COUNT(proxy_settings, keepalive.count, "tcp_keepcnt", LIVE, "0", 0, 127, "probes",
          "How often it asks in vain, until the connection is over."),
    TIME(proxy_settings, keepalive.user_ns, "tcp_user_timeout", "0s", 0, 24 * DAY,
         "How long what was sent may stay without an acknowledgement, until the connection is "
         "over."),
};

/* ---- proxy.client_tls, proxy.server_tls ---- */

#define TLS_FILES(cert_words, key_words, ca_words)                                                 \
    TEXT(proxy_tls, cert_file, "cert_file", LIVE, "", cert_words),                                 \
        TEXT(proxy_tls, key_file, "key_file", LIVE, "", key_words),                                \
        TEXT(proxy_tls, ca_file, "ca_file", LIVE, "", ca_words)
#define TLS_PROTOCOL                                                                               \
    ENUM(proxy_tls, min_protocol, "min_protocol", LIVE, "TLSv1.2", tls_versions,                   \
         "Oldest version of TLS that is spoken."),                                                 \
        TEXT(proxy_tls, ciphers, "ciphers", LIVE, "",                                              \
             "Ciphers of TLS 1.2 that are allowed, in OpenSSL's notation; empty is its default.")

static const struct opt_row client_tls_rows[] = {
    ENUM(proxy_tls, sslmode, "sslmode", LIVE, "disable", sslmodes,
         "Whether clients may (allow, prefer) or must (require) use TLS, and must show a "
         "certificate (verify-ca, verify-full)."),
    TLS_FILES("Certificate of the proxy, with its chain.", "Private key of that certificate.",
              "Authorities whose client certificates are believed."),
    TLS_PROTOCOL,
};

static const struct opt_row server_tls_rows[] = {
    ENUM(proxy_tls, sslmode, "sslmode", LIVE, "prefer", sslmodes,
         "Whether servers are spoken to over TLS, and their certificates verified, as libpq's "
         "sslmode; a database may have its own."),
    TLS_FILES("Certificate to show to servers that ask for one.",
              "Private key of that certificate.",
              "Authorities whose server certificates are believed; empty is the system's."),
    TLS_PROTOCOL,
};

/* ---- limits ---- */

static const struct opt_row limits_rows[] = {
    COUNT(proxy_limits, clients_max, "clients_max", RESTART, "10000", 1, 1000000, "clients",
          "Most clients at a time; the next one is refused."),
    COUNT(proxy_limits, clients_per_database_max, "clients_per_database_max", LIVE, "0", 0, 1000000,
          "clients", "Most clients of one database, unless it has its own clients_max; 0 is any."),
    COUNT(proxy_limits, clients_per_role_max, "clients_per_role_max", LIVE, "0", 0, 1000000,
          "clients", "Most clients of one role, unless it has its own clients_max; 0 is any."),
    COUNT(proxy_limits, clients_per_address_max, "clients_per_address_max", LIVE, "0", 0, 1000000,
          "clients", "Most clients of one IP address; 0 is any."),
    /* A PostgreSQL that nobody has configured has max_connections = 100 and keeps three of them. */
    COUNT(proxy_limits, server_connections_max, "server_connections_max", LIVE, "90", 0, 100000,
          "connections",
          "Most connections to servers, over all databases and roles; 0 is any. 90 leaves some of "
          "PostgreSQL's own default of 100 to others."),
    COUNT(proxy_limits, server_connections_per_database_max, "server_connections_per_database_max",
          LIVE, "0", 0, 100000, "connections",
          "Most connections for one database, unless it has its own server_connections_max; 0 is "
          "any."),
    COUNT(proxy_limits, server_connections_per_role_max, "server_connections_per_role_max", LIVE,
          "0", 0, 100000, "connections",
          "Most connections for one role, unless it has its own server_connections_max; 0 is any."),
    COUNT(proxy_limits, server_connects_max, "server_connects_max", LIVE, "8", 1, 1000,
          "connections",
          "Most connections that are being made to one server at a time, so that one that comes "
          "back is not stormed."),
    COUNT(proxy_limits, cancels_max, "cancels_max", RESTART, "32", 1, 1000, "requests",
          "Most cancel requests on their way to servers at a time."),
    SIZE(proxy_limits, prepared_memory, "prepared_memory", LIVE, "64MB", MB, TB,
         "Most memory for the texts of prepared statements; every text is kept once."),
    COUNT(proxy_limits, listen_channels_max, "listen_channels_max", LIVE, "100000", 1, 10000000,
          "channels",
          "Most channels that clients in transaction and statement mode listen to at a time."),
    COUNT(proxy_limits, listen_channels_per_client_max, "listen_channels_per_client_max", LIVE,
          "1000", 1, 100000, "channels", "Most channels that one of them listens to."),
    /* psql asks its user for a password without holding a connection meanwhile, so what takes this
     * long is no person. PostgreSQL and PgBouncer wait for 60 s. */
    TIME(proxy_limits, client_login_timeout_ns, "client_login_timeout", "15s", HF_MS(100), HOUR,
         "How long a client may take to log in."),
    TIME(proxy_limits, cancel_wait_timeout_ns, "cancel_wait_timeout", "10s", HF_MS(100), HOUR,
         "How long a cancel request may take to get to its server."),
    /* Kubernetes kills after 30 s, systemd after 90. */
    TIME(proxy_limits, drain_timeout_ns, "drain_timeout", "25s", 0, HF_NEVER,
         "How long clients may go on after SIGTERM, before they are disconnected."),
    TIME(proxy_limits, leave_timeout_ns, "leave_timeout", "never", 0, HF_NEVER,
         "How long clients may stay after a new process has taken over, before those that are idle "
         "are disconnected, and the others within drain_timeout."),
};

/* ---- server_budget ---- */

static const struct opt_row budget_rows[] = {
    TEXT(proxy_budget, file, "file", RESTART, "",
         "File in memory that the processes have in common, such as /run/holdfast/budget; it is "
         "made if it is missing. Empty is no common budget."),
    COUNT(proxy_budget, connections, "connections", LIVE, "90", 1, 100000, "connections",
          "Most connections to servers of all these processes together; the same number in each."),
};

/* ---- pools ---- */

static const char *const query_logs[] = {"off", "errors", "all", NULL};
static const char *const query_texts[] = {"none", "shape", "full", NULL};

static const struct opt_row pool_rows[] = {
    ENUM(proxy_pool, pool_mode, "pool_mode", LIVE, "session", pool_modes,
         "When a server connection goes to the next client: when the client leaves, or after each "
         "transaction, or each statement. A reload changes it for clients that connect from then "
         "on."),
    COUNT(proxy_pool, pool_size, "pool_size", LIVE, "20", 1, 10000, "connections",
          "Most server connections of one database and role."),
    COUNT(proxy_pool, min_pool_size, "min_pool_size", LIVE, "0", 0, 10000, "connections",
          "Server connections that are kept open, once the database and role are in use."),
    COUNT(
        proxy_pool, reserve_pool_size, "reserve_pool_size", LIVE, "0", 0, 10000, "connections",
        "Server connections beyond pool_size, for clients that have waited reserve_pool_timeout."),
    TIME(proxy_pool, reserve_pool_timeout_ns, "reserve_pool_timeout", "5s", 0, HOUR,
         "How long a client waits before the reserve is used."),
    COUNT(proxy_pool, queue_max, "queue_max", LIVE, "10000", 0, 1000000, "clients",
          "Most clients that wait for a connection of one database and role; the next one is "
          "refused."),
    COUNT(proxy_pool, max_prepared_statements, "max_prepared_statements", LIVE, "200", 0, 10000,
          "statements",
          "Prepared statements kept on a server connection in transaction and statement mode; 0 "
          "passes them on as they come. A reload that changes it replaces the connections."),
    ENUM(proxy_pool, session_features, "session_features", LIVE, "pin", features,
         "In transaction and statement mode, what becomes of statements that leave something on "
         "their server connection (temporary objects, advisory locks of the session, cursors WITH "
         "HOLD, LOAD): the client keeps the connection until that has ended, or the statement is "
         "refused, or nothing is done."),
    /* Nobody waits for two minutes (PgBouncer's default): connection pools of applications give up
     * after 30 s and most HTTP gateways after 60, and the query would run for nobody. */
    TIME(proxy_pool, query_wait_timeout_ns, "query_wait_timeout", "30s", HF_MS(1), HF_NEVER,
         "How long a client waits for a connection while all are busy."),
    /* Long enough for a restart or a quick failover. */
    TIME(proxy_pool, server_down_timeout_ns, "server_down_timeout", "10s", 0, HF_NEVER,
         "How long a client waits for a connection while no server can be connected to."),
    TIME(proxy_pool, query_timeout_ns, "query_timeout", "never", HF_MS(1), HF_NEVER,
         "How long a query may run before it is cancelled."),
    TIME(proxy_pool, transaction_timeout_ns, "transaction_timeout", "never", HF_MS(1), HF_NEVER,
         "How long a transaction may last before its client is disconnected."),
    TIME(proxy_pool, idle_transaction_timeout_ns, "idle_transaction_timeout", "never", HF_MS(1),
         HF_NEVER, "How long a client may be idle in a transaction before it is disconnected."),
    TIME(proxy_pool, client_idle_timeout_ns, "client_idle_timeout", "never", HF_MS(1), HF_NEVER,
         "How long a client may be idle before it is disconnected."),
    TIME(proxy_pool, pinned_idle_timeout_ns, "pinned_idle_timeout", "never", HF_MS(1), HF_NEVER,
         "How long a client that keeps its server connection for what its session holds there may "
         "be idle before it is disconnected."),
    TIME(proxy_pool, server_connect_timeout_ns, "server_connect_timeout", "5s", HF_MS(10), HOUR,
         "How long connecting and logging in to a server may take."),
    TIME(proxy_pool, server_login_retry_ns, "server_login_retry", "5s", HF_MS(10), HOUR,
         "Longest pause before a server that could not be connected to is tried again; pauses "
         "begin short and double."),
    TIME(proxy_pool, server_idle_timeout_ns, "server_idle_timeout", "10min", HF_MS(100), HF_NEVER,
         "How long a server connection is kept without being used."),
    TIME(proxy_pool, server_lifetime_ns, "server_lifetime", "1h", HF_SEC(1), HF_NEVER,
         "How old a server connection may become before it is replaced, once it is unused."),
    ROW(proxy_pool, server_lifetime_jitter_ppm, "server_lifetime_jitter", OPT_PERCENT, LIVE, "10%",
        .min = 0, .max = 1000000,
        .sentence = "How much of the lifetime is taken off by chance, so that connections made "
                    "together do not end together."),
    TIME(proxy_pool, server_clean_timeout_ns, "server_clean_timeout", "5s", HF_MS(10), HOUR,
         "How long it may take to cancel, drain and roll back what a client left behind, before "
         "the connection is closed."),
    TEXT(proxy_pool, server_reset_query, "server_reset_query", LIVE, "DISCARD ALL",
         "What a server connection is reset with, in session mode, before another client has it; "
         "empty is not at all."),
    BOOL(proxy_pool, server_round_robin, "server_round_robin", LIVE, "off",
         "Gives a client the server connection that has rested longest, and not the one that was "
         "used last, so that all have the same share of the work; then more are kept open than "
         "are needed."),
    BOOL(proxy_pool, application_name_add_host, "application_name_add_host", LIVE, "off",
         "Adds the client's address and port to the application_name that it logs in with, so "
         "that servers know who is behind the proxy."),
    ENUM(proxy_pool, query_log, "query_log", LIVE, "off", query_logs,
         "Which requests are logged, each with who, where, and what it waited for."),
    TIME(proxy_pool, query_log_slow_ns, "query_log_slow", "never", 0, HF_NEVER,
         "Requests that took longer are logged, too."),
    ROW(proxy_pool, query_log_sample_ppm, "query_log_sample", OPT_PERCENT, LIVE, "0%", .min = 0,
        .max = 1000000, .sentence = "A share of all requests, chosen by chance, is logged, too."),
    ENUM(proxy_pool, query_log_text, "query_log_text", LIVE, "shape", query_texts,
         "What is logged of their text: nothing, the text without its literals, or all of it with "
         "whatever secrets it has."),
    ENUM(proxy_pool, listen_gap, "listen_gap", LIVE, "notice", listen_gaps,
         "What a client that listens in transaction or statement mode gets after notifications may "
         "have been lost: a warning (notice), or the end of its connection (disconnect), for those "
         "who look at everything again when they connect."),
    /* 8 kB is the longest payload. */
    SIZE(proxy_pool, listen_queue, "listen_queue", LIVE, "256kB", 16384, MB * 1024,
         "Most bytes of notifications that wait for one client which is busy or slow; those that "
         "find no room are lost, and the client is told as listen_gap says."),
};

/* ---- databases ---- */

static const struct opt_row database_rows[] = {
    TEXT(proxy_database, hosts_text, "hosts", LIVE, "",
         "Servers of the database, separated by commas: db1:5432, [2001:db8::1]:5432, or the "
         "folder of a unix socket; without a port, 5432."),
    TEXT(proxy_database, dbname, "dbname", LIVE, "",
         "Its name at the servers; empty is as clients call it."),
    TEXT(proxy_database, user, "user", LIVE, "",
         "Role that servers are entered as, whoever the client is; empty is the client's own."),
    SECRET(proxy_database, password, "password",
           "Password of user; without it, the one in auth_file or roles."),
    TEXT(proxy_database, service, "service", LIVE, "",
         "Entry of a connection service file (PGSERVICEFILE, ~/.pg_service.conf, or "
         "pg_service.conf in PGSYSCONFDIR) that gives hosts, dbname, user, password and sslmode "
         "where they do not stand here."),
    TEXT(proxy_database, lookup.user, "auth_user", LIVE, "",
         "User who looks up others by auth_query; without it, the one of proxy."),
    TEXT(proxy_database, lookup.dbname, "auth_dbname", LIVE, "",
         "Where auth_query is asked; without it, as proxy has it."),
    TEXT(proxy_database, lookup.query, "auth_query", LIVE, "",
         "What is asked; without it, as proxy has it."),
    ENUM(proxy_database, demand, "client_sslmode", LIVE, "allow", demands,
         "What its clients must come with, beside what client_tls.sslmode and rules demand: TLS "
         "(require), or TLS and a certificate (verify-ca). Unix sockets are not asked for it."),
    ENUM(proxy_database, target_session_attrs, "target_session_attrs", LIVE, "any", targets,
         "Which of the servers will do, as libpq's setting of that name; for all but any, "
         "PostgreSQL 14 or newer."),
    ENUM(proxy_database, load_balance_hosts, "load_balance_hosts", LIVE, "disable", balances,
         "Whether new connections begin at the next server each time, or at the first that works."),
    TEXT(proxy_database, connect_query, "connect_query", LIVE, "",
         "What is run on each new connection to its servers before anybody has it; an error is one "
         "of connecting. What it sets with SET does not outlive a client's RESET or DISCARD ALL: "
         "for that there is ALTER ROLE ... SET."),
    ENUM(proxy_database, sslmode, "sslmode", LIVE, "prefer", sslmodes,
         "TLS to its servers; without it, as server_tls has it."),
    COUNT(proxy_database, clients_max, "clients_max", LIVE, "0", 0, 1000000, "clients",
          "Most clients of the database; without it, as clients_per_database_max; 0 is any."),
    COUNT(proxy_database, server_connections_max, "server_connections_max", LIVE, "0", 0, 100000,
          "connections",
          "Most connections to its servers; without it, as server_connections_per_database_max; 0 "
          "is any."),
};

/* ---- roles ---- */

static const char *const role_query_logs[] = {"database", "off", "errors", "all", NULL};

#define SHORTER " The shorter one of this and the database's holds."

static const struct opt_row role_rows[] = {
    SECRET(proxy_role, password, "password",
           "What clients of the role must know: a password, md5... or SCRAM-SHA-256$..., as in "
           "auth_file."),
    ENUM(proxy_role, demand, "client_sslmode", LIVE, "allow", demands,
         "What clients of the role must come with, as a database's client_sslmode; what demands "
         "more holds."),
    ENUM(proxy_role, pool_mode, "pool_mode", LIVE, "database", role_modes,
         "Its pool mode in every database; database is what that one says."),
    COUNT(proxy_role, pool_size, "pool_size", LIVE, "0", 0, 10000, "connections",
          "Most server connections of the role in one database; 0 is what that one says."),
    COUNT(proxy_role, clients_max, "clients_max", LIVE, "0", 0, 1000000, "clients",
          "Most clients of the role; without it, as clients_per_role_max; 0 is any."),
    COUNT(proxy_role, server_connections_max, "server_connections_max", LIVE, "0", 0, 100000,
          "connections",
          "Most connections for the role; without it, as server_connections_per_role_max; 0 is "
          "any."),
    TIME(proxy_role, query_timeout_ns, "query_timeout", "never", HF_MS(1), HF_NEVER,
         "How long its queries may run." SHORTER),
    TIME(proxy_role, transaction_timeout_ns, "transaction_timeout", "never", HF_MS(1), HF_NEVER,
         "How long its transactions may last." SHORTER),
    TIME(proxy_role, idle_transaction_timeout_ns, "idle_transaction_timeout", "never", HF_MS(1),
         HF_NEVER, "How long its clients may be idle in a transaction." SHORTER),
    TIME(proxy_role, client_idle_timeout_ns, "client_idle_timeout", "never", HF_MS(1), HF_NEVER,
         "How long its clients may be idle." SHORTER),
    ENUM(proxy_role, query_log, "query_log", LIVE, "database", role_query_logs,
         "Which of its requests are logged; database is what that one says."),
};

/* ---- groups ---- */

static const char *const pers[] = {"group",   "role", "database", "application_name",
                                   "address", NULL};

static const struct opt_row group_rows[] = {
    TEXT(group, role, "role", LIVE, "",
         "Roles that are meant, separated by commas; * stands for any characters and ? for one. "
         "Empty is every role."),
    TEXT(group, database, "database", LIVE, "",
         "Databases that are meant, by the names that clients call them."),
    TEXT(group, application_name, "application_name", LIVE, "",
         "Values of application_name that are meant, as clients bring them when they log in."),
    TEXT(group, address, "address", LIVE, "",
         "Addresses and networks of clients that are meant, such as 10.1.0.0/16; a client of the "
         "unix socket has none."),
    ENUM(group, per, "per", LIVE, "group", pers,
         "Who counts together: all that are meant, or those of one role, database, "
         "application_name or address each for themselves."),
    COUNT(group, clients_max, "clients_max", LIVE, "0", 0, 1000000, "clients",
          "Most clients of the group at a time; the next one is refused. 0 is any."),
    COUNT(group, concurrency_max, "concurrency_max", LIVE, "0", 0, 100000, "connections",
          "Most server connections that the group uses at a time; who comes then waits. 0 is any."),
    COUNT(group, queue_max, "queue_max", LIVE, "1000", 0, 1000000, "clients",
          "Most clients that wait because of concurrency_max; the next one is refused."),
    TIME(group, queue_wait_ns, "queue_wait", "30s", 0, HOUR,
         "How long a client waits because of concurrency_max or rate, before what it asked is "
         "refused."),
    COUNT(group, rate, "rate", LIVE, "0", 0, 1000000, "transactions a second",
          "Most transactions that the group begins in a second, a statement outside of one counted "
          "like one, in transaction and statement mode; who comes earlier waits. 0 is any."),
    COUNT(group, rate_burst, "rate_burst", LIVE, "10", 1, 1000000, "transactions",
          "How many may begin at once after a quiet time."),
    COUNT(group, weight, "weight", LIVE, "0", 0, 10000, NULL,
          "Its share where clients of several groups wait for one pool: one of weight 300 gets "
          "three connections for each one that a group of 100 gets. 0 is none of its own; who is "
          "in no group with a weight has 100."),
};

/* ---- listeners ---- */

static const char *const listener_tls[] = {"default", "disable", "allow", "require", NULL};
/* "default", and then as `auths`. */
static const char *const listener_auths[] = {"default",       "trust", "reject", "password", "md5",
                                             "scram-sha-256", "cert",  "peer",   NULL};

static const struct opt_row listener_rows[] = {
    TEXT(proxy_listener, address_text, "address", RESTART, "127.0.0.1",
         "Address to listen on: one, as in listen, or the folder of a unix socket."),
    COUNT(proxy_listener, port, "port", RESTART, "6433", 1, 65535, NULL, "Port to listen on."),
    ENUM(proxy_listener, pool_mode, "pool_mode", LIVE, "database", role_modes,
         "Pool mode of all who come here, in pools of their own; database is what the database or "
         "role says."),
    ENUM(proxy_listener, tls, "sslmode", LIVE, "default", listener_tls,
         "Whether who comes here may or must use TLS; default is as client_tls says."),
    ENUM(proxy_listener, auth, "auth_type", LIVE, "default", listener_auths,
         "How who comes here proves who he is, whatever auth_hba_file says; default is as "
         "everywhere."),
    TEXT(proxy_listener, databases, "databases", LIVE, "",
         "Databases that can be reached from here, separated by commas, by the names that clients "
         "call them; the console is one. Empty is all."),
    TEXT(proxy_listener, users, "users", LIVE, "",
         "Users who may come in here, separated by commas; empty is all."),
};

/* ---- peers ---- */

static const struct opt_row peer_rows[] = {
    COUNT(proxy_peer, id, "id", LIVE, "1", 1, PROXY_INSTANCES_MAX, NULL,
          "The peer's proxy.instance_id. One that is this instance's own may stand here, so that "
          "all of them can have the same list."),
    TEXT(proxy_peer, host_text, "host", LIVE, "127.0.0.1",
         "Where the peer can be reached: an address, a name, or the folder of a unix socket."),
    COUNT(proxy_peer, port, "port", LIVE, "6432", 1, 65535, NULL, "Port of the peer."),
};

/* ---- sections ---- */

static const struct proxy_section sections[] = {
    {.path = "proxy",
     .sentence = "Where clients come in, how they prove who they are, and what is logged.",
     .tables = {OPT_TABLE(settings_rows)},
     .kind = PROXY_SECTION_ONE,
     .offset = offsetof(struct proxy_config, proxy)},
    {.path = "proxy.client_tls",
     .sentence = "TLS between clients and the proxy.",
     .tables = {OPT_TABLE(client_tls_rows)},
     .kind = PROXY_SECTION_ONE,
     .offset = offsetof(struct proxy_config, client_tls)},
    {.path = "proxy.server_tls",
     .sentence = "TLS between the proxy and servers.",
     .tables = {OPT_TABLE(server_tls_rows)},
     .kind = PROXY_SECTION_ONE,
     .offset = offsetof(struct proxy_config, server_tls)},
    {.path = "limits",
     .sentence = "What the proxy bears and asks of servers, over all databases and roles.",
     .tables = {OPT_TABLE(limits_rows)},
     .kind = PROXY_SECTION_ONE,
     .offset = offsetof(struct proxy_config, limits)},
    {.path = "server_budget",
     .sentence = "A budget of server connections that several processes of one machine share, the "
                 "old and the new one of an upgrade among them; limits hold for each of them "
                 "beside it.",
     .tables = {OPT_TABLE(budget_rows)},
     .kind = PROXY_SECTION_ONE,
     .offset = offsetof(struct proxy_config, budget)},
    {.path = "pools",
     .sentence = "What holds for every database that does not say otherwise.",
     .tables = {OPT_TABLE(pool_rows)},
     .kind = PROXY_SECTION_ONE,
     .offset = offsetof(struct proxy_config, pools)},
    {.path = "databases",
     .sentence = "Databases by the names that clients call them; * is every name that is not here. "
                 "Every key of pools may stand here, too.",
     .tables = {OPT_TABLE(database_rows), OPT_TABLE(pool_rows)},
     .kind = PROXY_SECTION_DATABASES},
    {.path = "roles",
     .sentence = "What holds for single roles, by their names; * is every role that is not here.",
     .tables = {OPT_TABLE(role_rows)},
     .kind = PROXY_SECTION_ROLES},
    {.path = "groups",
     .sentence = "Groups of clients, by names of your choice, and what each may take, so that no "
                 "one is a noisy neighbour to the others.",
     .tables = {OPT_TABLE(group_rows)},
     .kind = PROXY_SECTION_GROUPS},
    {.path = "listeners",
     .sentence = "More places to listen beside those of proxy.listen, by names of your choice, "
                 "each with a pool mode, TLS, authentication and databases of its own.",
     .tables = {OPT_TABLE(listener_rows)},
     .kind = PROXY_SECTION_LISTENERS},
    {.path = "peers",
     .sentence = "Other instances that clients may be connected to, so that cancel requests that "
                 "come here by a load balancer find them; proxy.instance_id must be set.",
     .tables = {OPT_TABLE(peer_rows)},
     .kind = PROXY_SECTION_PEERS},
};

size_t proxy_section_count(void)
{
    return sizeof sections / sizeof sections[0];
}

const struct proxy_section *proxy_section_at(size_t index)
{
    hf_assert(index < proxy_section_count());
    return &sections[index];
}

const struct proxy_section *proxy_section_find(struct sv path)
{
    for (size_t i = 0; i < proxy_section_count(); i++)
        if (sv_eq(path, sv_from_cstr(sections[i].path)))
            return &sections[i];
    return NULL;
}
