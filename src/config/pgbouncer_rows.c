#include "config/pgbouncer_rows.h"

#include "base/bug.h"
#include "proxy/proxy_config.h"

/* Carried, with what it becomes; _AS with PgBouncer's default where ours is another. */
#define CARRY(pgbouncer, what, where, ours) CARRY_AS(pgbouncer, what, where, ours, NULL, NULL)
#define CARRY_AS(pgbouncer, what, where, ours, without, words)                                     \
    {                                                                                              \
        .name = (pgbouncer), .fate = PGBOUNCER_CARRIED, .kind = PGBOUNCER_##what,                  \
        .section = (where), .key = (ours), .unset = (without), .note = (words)                     \
    }
#define NEEDLESS(pgbouncer, without, words)                                                        \
    {                                                                                              \
        .name = (pgbouncer), .fate = PGBOUNCER_NEEDLESS, .unset = (without), .note = (words)       \
    }
#define LOST(pgbouncer, without, words)                                                            \
    {                                                                                              \
        .name = (pgbouncer), .fate = PGBOUNCER_LOST, .unset = (without), .note = (words)           \
    }

#define SYSLOG                                                                                     \
    "Logs go to stderr, one line of key=value each; under systemd they are in the journal, which " \
    "can hand them to syslog."
#define TLS13      "For TLS 1.3, OpenSSL's own ciphers are in force."
#define EXCHANGES  "OpenSSL's own key exchanges are in force."
#define AUTH_QUERY "asked in auth_dbname, else in postgres; search_path is pg_catalog"
#define DNS        "Names are looked up for each new connection, by the system's resolver."

static const struct pgbouncer_row global_rows[] = {
    /* where clients come in */
    CARRY_AS("listen_addr", LISTEN, "proxy", "listen", "", NULL),
    CARRY("listen_port", COUNT, "proxy", "port"),
    CARRY_AS("unix_socket_dir", DIR, "proxy", "unix_socket_dir", "/tmp", NULL),
    CARRY("unix_socket_mode", MODE, "proxy", "unix_socket_mode"),
    CARRY_AS("peer_id", COUNT, "proxy", "instance_id", NULL, "its peers must be Holdfast's, too"),
    CARRY_AS("auth_type", AUTH, "proxy", "auth_type", "md5", NULL),
    CARRY("auth_hba_file", PATH, "proxy", "auth_hba_file"),
    CARRY("auth_file", PATH, "proxy", "auth_file"),
    CARRY("auth_ident_file", PATH, "proxy", "auth_ident_file"),
    CARRY("auth_user", TEXT, "proxy", "auth_user"),
    CARRY("auth_dbname", TEXT, "proxy", "auth_dbname"),
    CARRY_AS("auth_query", TEXT, "proxy", "auth_query", NULL, AUTH_QUERY),
    CARRY("admin_users", NAMES, "proxy", "admin_users"),
    CARRY("stats_users", NAMES, "proxy", "stats_users"),
    CARRY("log_connections", BOOL, "proxy", "log_connections"),
    CARRY("log_disconnections", BOOL, "proxy", "log_disconnections"),
    CARRY("tcp_keepidle", TIME, "proxy", "tcp_keepidle"),
    CARRY("tcp_keepintvl", TIME, "proxy", "tcp_keepintvl"),
    CARRY("tcp_keepcnt", COUNT, "proxy", "tcp_keepcnt"),
    CARRY("tcp_user_timeout", MILLIS, "proxy", "tcp_user_timeout"),

    CARRY("client_tls_sslmode", WORD, "proxy.client_tls", "sslmode"),
    CARRY("client_tls_cert_file", PATH, "proxy.client_tls", "cert_file"),
    CARRY("client_tls_key_file", PATH, "proxy.client_tls", "key_file"),
    CARRY("client_tls_ca_file", PATH, "proxy.client_tls", "ca_file"),
    CARRY("client_tls_protocols", PROTOCOLS, "proxy.client_tls", "min_protocol"),
    CARRY("client_tls_ciphers", CIPHERS, "proxy.client_tls", "ciphers"),

    CARRY("server_tls_sslmode", WORD, "proxy.server_tls", "sslmode"),
    CARRY("server_tls_cert_file", PATH, "proxy.server_tls", "cert_file"),
    CARRY("server_tls_key_file", PATH, "proxy.server_tls", "key_file"),
    CARRY("server_tls_ca_file", PATH, "proxy.server_tls", "ca_file"),
    CARRY("server_tls_protocols", PROTOCOLS, "proxy.server_tls", "min_protocol"),
    CARRY("server_tls_ciphers", CIPHERS, "proxy.server_tls", "ciphers"),

    CARRY_AS("max_client_conn", COUNT, "limits", "clients_max", "100", NULL),
    CARRY("max_db_client_connections", COUNT, "limits", "clients_per_database_max"),
    CARRY("max_user_client_connections", COUNT, "limits", "clients_per_role_max"),
    CARRY("max_db_connections", COUNT, "limits", "server_connections_per_database_max"),
    CARRY("max_user_connections", COUNT, "limits", "server_connections_per_role_max"),
    CARRY_AS("client_login_timeout", TIME, "limits", "client_login_timeout", "60", NULL),
    CARRY("cancel_wait_timeout", TIME, "limits", "cancel_wait_timeout"),

    CARRY("pool_mode", WORD, "pools", "pool_mode"),
    CARRY("default_pool_size", COUNT, "pools", "pool_size"),
    CARRY("min_pool_size", COUNT, "pools", "min_pool_size"),
    CARRY("reserve_pool_size", COUNT, "pools", "reserve_pool_size"),
    CARRY("reserve_pool_timeout", TIME, "pools", "reserve_pool_timeout"),
    CARRY("max_prepared_statements", COUNT, "pools", "max_prepared_statements"),
    CARRY_AS("query_wait_timeout", LIMIT, "pools", "query_wait_timeout", "120", NULL),
    CARRY("query_timeout", LIMIT, "pools", "query_timeout"),
    CARRY("transaction_timeout", LIMIT, "pools", "transaction_timeout"),
    CARRY("idle_transaction_timeout", LIMIT, "pools", "idle_transaction_timeout"),
    CARRY("client_idle_timeout", LIMIT, "pools", "client_idle_timeout"),
    CARRY_AS("server_connect_timeout", TIME, "pools", "server_connect_timeout", "15", NULL),
    CARRY_AS("server_login_retry", TIME, "pools", "server_login_retry", "15",
             "pauses begin short, and this is the longest"),
    CARRY("server_idle_timeout", LIMIT, "pools", "server_idle_timeout"),
    CARRY("server_lifetime", TIME, "pools", "server_lifetime"),
    CARRY("server_reset_query", TEXT, "pools", "server_reset_query"),
    CARRY("server_round_robin", BOOL, "pools", "server_round_robin"),
    CARRY("application_name_add_host", BOOL, "pools", "application_name_add_host"),

    NEEDLESS("autodb_idle_timeout", "3600", "What is not used is given back by itself."),
    NEEDLESS("conffile", NULL, "The file is named when the proxy is started."),
    NEEDLESS("ignore_startup_parameters", "",
             "Every parameter that a client starts with is understood, and follows it."),
    NEEDLESS("job_name", "pgbouncer", "A unit of systemd has a name of its own."),
    NEEDLESS("listen_backlog", "128", "The queue is as long as the kernel allows."),
    NEEDLESS("log_pooler_errors", "1", "Every refusal is logged."),
    NEEDLESS("pidfile", "", "systemd, or whoever starts the proxy, knows its process."),
    NEEDLESS("pkt_buf", "4096", "Buffers are lent from proxy.memory while bytes are on their way."),
    NEEDLESS("pool_idle_timeout", "0", "What is not used is given back by itself."),
    NEEDLESS("sbuf_loopcnt", "5", "A long result gives way to others by itself."),
    NEEDLESS("scram_iterations", "4096", "Secrets keep the count that they were made with."),
    NEEDLESS("server_check_delay", "30",
             "A connection that has ended is noticed when it ends, and not by asking."),
    NEEDLESS("server_check_query", "<empty>",
             "A connection that has ended is noticed when it ends, and not by asking."),
    NEEDLESS("service_name", "pgbouncer", "A unit of systemd has a name of its own."),
    NEEDLESS("so_reuseport", "0",
             "One process uses every core (proxy.workers); the other processes are not needed."),
    NEEDLESS("stats_period", "60", "Figures are counted all the time; SHOW STATS has them."),
    NEEDLESS("suspend_timeout", "10", "Sockets are handed over without suspending clients."),
    NEEDLESS("tcp_defer_accept", "1", "A client that says nothing costs a few bytes."),
    NEEDLESS("tcp_socket_buffer", "0", "The kernel chooses, as it does by default."),
    NEEDLESS("track_extra_parameters", "IntervalStyle",
             "Every parameter that a client starts with is understood, and follows it."),

    LOST("auth_ldap_options", "", "LDAP is not spoken."),
    LOST("client_tls13_ciphers", "", TLS13),
    LOST("client_tls_dheparams", "auto", EXCHANGES),
    LOST("client_tls_ecdhcurve", "auto", EXCHANGES),
    LOST("disable_pqexec", "0", "Simple queries cannot be refused."),
    LOST("dns_max_ttl", "15", DNS),
    LOST("dns_nxdomain_ttl", "15", DNS),
    LOST("dns_zone_check_period", "0", DNS),
    LOST("log_stats", "1", "Figures are on the console (SHOW STATS), not in the log."),
    LOST("logfile", "", SYSLOG),
    LOST("login_notify_message", "", "Clients get no message of welcome."),
    LOST("max_packet_size", "2147483647", "Messages of any size pass through, a piece at a time."),
    LOST("query_wait_notify", "5", "Clients that wait are not sent a notice."),
    LOST("resolv_conf", "", DNS),
    LOST("server_fast_close", "0", "A session keeps its server connection until it ends."),
    NEEDLESS(
        "server_reset_query_always", "0",
        "In transaction mode what a client sets follows it, and what else it leaves (temporary "
        "objects, locks of the session) keeps the connection to it until that has ended, or is "
        "refused: see pools.session_features. So nobody finds anything of somebody else's."),
    LOST("server_tls13_ciphers", "", TLS13),
    LOST("syslog", "0", SYSLOG),
    LOST("syslog_facility", "daemon", SYSLOG),
    LOST("syslog_ident", "pgbouncer", SYSLOG),
    NEEDLESS("tcp_keepalive", "1", "TCP keepalive is on for every connection."),
    LOST("unix_socket_group", "", "Set the group of the socket's folder instead."),
    LOST("user", "", "The proxy runs as who starts it: User= in a unit of systemd."),
    LOST("verbose", "0", "The log has one level of detail."),
};

#define STARTUP "Set it for the role or the database instead: ALTER ROLE ... SET ..."

static const struct pgbouncer_row database_rows[] = {
    CARRY("dbname", TEXT, "databases", "dbname"),
    CARRY("user", TEXT, "databases", "user"),
    CARRY("password", TEXT, "databases", "password"),
    CARRY("auth_user", TEXT, "databases", "auth_user"),
    CARRY("auth_dbname", TEXT, "databases", "auth_dbname"),
    CARRY_AS("auth_query", TEXT, "databases", "auth_query", NULL, AUTH_QUERY),
    CARRY("target_session_attrs", WORD, "databases", "target_session_attrs"),
    CARRY("load_balance_hosts", WORD, "databases", "load_balance_hosts"),
    CARRY("connect_query", TEXT, "databases", "connect_query"),
    CARRY("max_db_client_connections", COUNT, "databases", "clients_max"),
    CARRY("max_db_connections", COUNT, "databases", "server_connections_max"),
    CARRY("pool_mode", WORD, "pools", "pool_mode"),
    CARRY("pool_size", COUNT, "pools", "pool_size"),
    CARRY("min_pool_size", COUNT, "pools", "min_pool_size"),
    CARRY("reserve_pool_size", COUNT, "pools", "reserve_pool_size"),
    CARRY("reserve_pool", COUNT, "pools", "reserve_pool_size"),
    CARRY("query_wait_timeout", LIMIT, "pools", "query_wait_timeout"),
    CARRY("server_lifetime", TIME, "pools", "server_lifetime"),
    /* These two become hosts, together. */
    NEEDLESS("host", NULL, NULL),
    NEEDLESS("port", NULL, NULL),
    LOST("application_name", NULL, STARTUP),
    LOST("client_encoding", NULL, STARTUP),
    LOST("datestyle", NULL, STARTUP),
    LOST("timezone", NULL, STARTUP),
};

static const struct pgbouncer_row user_rows[] = {
    CARRY("pool_mode", WORD, "roles", "pool_mode"),
    CARRY("pool_size", COUNT, "roles", "pool_size"),
    CARRY("max_user_client_connections", COUNT, "roles", "clients_max"),
    CARRY("max_user_connections", COUNT, "roles", "server_connections_max"),
    CARRY("query_timeout", LIMIT, "roles", "query_timeout"),
    CARRY("transaction_timeout", LIMIT, "roles", "transaction_timeout"),
    CARRY("idle_transaction_timeout", LIMIT, "roles", "idle_transaction_timeout"),
    CARRY("client_idle_timeout", LIMIT, "roles", "client_idle_timeout"),
    LOST("query_wait_timeout", NULL, "It is for databases, not for roles."),
    LOST("reserve_pool_size", NULL, "It is for databases, not for roles."),
};

/* Numbers of the peers are the keys. */
static const struct pgbouncer_row peer_rows[] = {
    CARRY("host", HOST, "peers", "host"),
    CARRY("port", COUNT, "peers", "port"),
    NEEDLESS("pool_size", NULL, "limits.cancels_max is for all requests to cancel together."),
};

#define TABLE(array)                                                                               \
    {                                                                                              \
        .rows = (array), .count = sizeof(array) / sizeof(array)[0]                                 \
    }

const struct pgbouncer_table *pgbouncer_table(enum ini_section section)
{
    static const struct pgbouncer_table tables[INI_SECTION_COUNT] = {
        [INI_PGBOUNCER] = TABLE(global_rows),
        [INI_DATABASES] = TABLE(database_rows),
        [INI_USERS] = TABLE(user_rows),
        [INI_PEERS] = TABLE(peer_rows),
    };
    return &tables[section];
}

const struct pgbouncer_row *pgbouncer_row_find(enum ini_section section, struct sv name)
{
    const struct pgbouncer_table *table = pgbouncer_table(section);
    for (size_t i = 0; i < table->count; i++)
        if (sv_eq(name, sv_from_cstr(table->rows[i].name)))
            return &table->rows[i];
    return NULL;
}

const struct opt_row *pgbouncer_row_ours(const struct pgbouncer_row *row)
{
    hf_assert(row->fate == PGBOUNCER_CARRIED);
    const struct proxy_section *section = proxy_section_find(sv_from_cstr(row->section));
    const struct opt_row *found = NULL;
    hf_assert(section != NULL);
    for (size_t i = 0; found == NULL && i < (sizeof section->tables / sizeof section->tables[0]);
         i++)
        found = opt_find(&section->tables[i], sv_from_cstr(row->key));
    hf_assert(found != NULL);
    return found;
}
