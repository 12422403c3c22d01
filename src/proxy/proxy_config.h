/*
 * The configuration of the proxy: plain structs, and the option rows that say everything about each
 * setting. Pure data: files, YAML and environment are the affair of config/, and whoever runs by
 * these settings only reads them.
 *
 * Keys are PgBouncer's where it has the same thing, because its users know them; durations and
 * sizes carry their unit. In holdfast.yml the sections are
 *
 *     proxy:        listening, logins, logs            struct proxy_settings      config->proxy
 *       client_tls: TLS between clients and us         struct proxy_tls           ->client_tls
 *       server_tls: TLS between us and servers         struct proxy_tls           ->server_tls
 *     limits:       how many, how long, in all         struct proxy_limits        config->limits
 *     server_budget: one of several processes        struct proxy_budget        ->budget
 *     pools:        defaults of every database         struct proxy_pool          config->pools
 *     databases:    name: {hosts, dbname, ...}         struct proxy_database[]    each with a pool
 *     roles:        name: {password, ...}              struct proxy_role[]
 *     groups:       name: {role, weight, ...}          struct group[], see groups.h
 *     listeners:    name: {address, port, ...}         struct proxy_listener[]   config->places
 *     peers:        name: {id, host, port}             struct proxy_peer[]       config->peers
 *
 * What holds is in one place: a database begins as a copy of `pools` (and of the limits that are
 * for each database) and its own keys are set over it, so a reader looks at database->pool and
 * never at defaults. A role says only what differs; proxy_pool_of() puts database and role
 * together.
 *
 * Names. A client asks for a database by the name of its entry; the entry "*" is for all names that
 * have none of their own. The same goes for roles, where "*" is always there.
 *
 * Limits. A count of 0 means no limit, where a row allows it; a duration without end is "never".
 *
 * Invariants, once proxy_config_finish() has returned HF_OK
 *  1. Every field is in the range of its row; lists are parsed into the arrays beside their text.
 *  2. databases and roles are sorted by name, each name is there once; there is a database; the
 *     last role is "*", which sorts behind all others here, and so does the database "*".
 *  3. Nobody changes a configuration any more: threads may read it without a lock.
 */
#ifndef HF_PROXY_PROXY_CONFIG_H
#define HF_PROXY_PROXY_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/opt.h"
#include "base/secret.h"
#include "base/sv.h"
#include "net/keepalive.h"
#include "os/mem.h"
#include "proxy/groups.h"

#define PROXY_NAME_SIZE         64 /* of a database or role, with the NUL: NAMEDATALEN */
#define PROXY_PATH_SIZE         256
#define PROXY_HOST_SIZE         256
#define PROXY_LIST_SIZE         1024 /* the text of a list */
#define PROXY_LISTENERS_MAX     16
#define PROXY_HOSTS_MAX         16
#define PROXY_WORKERS_MAX       64
#define PROXY_DATABASES_MAX     1000
#define PROXY_ROLES_MAX         10000
#define PROXY_PEERS_MAX         64
#define PROXY_INSTANCES_MAX     255
#define PROXY_CONSOLE           "holdfast"  /* the database that is the admin console ... */
#define PROXY_CONSOLE_PGBOUNCER "pgbouncer" /* ... and so is this one, for who knows PgBouncer */

enum proxy_pool_mode {
    PROXY_POOL_SESSION,
    PROXY_POOL_TRANSACTION,
    PROXY_POOL_STATEMENT,
};

/* What becomes of a text that leaves in the session what cannot move (session_state.h). */
enum proxy_session_features {
    PROXY_SESSION_PIN,
    PROXY_SESSION_REFUSE,
    PROXY_SESSION_LEAVE,
};

/* In the order of enum loop_io (net/loop.h). */
enum proxy_io {
    PROXY_IO_AUTO,
    PROXY_IO_URING,
    PROXY_IO_EPOLL,
};

enum proxy_sslmode {
    PROXY_SSL_DISABLE,
    PROXY_SSL_ALLOW,
    PROXY_SSL_PREFER,
    PROXY_SSL_REQUIRE,
    PROXY_SSL_VERIFY_CA,
    PROXY_SSL_VERIFY_FULL,
};

enum proxy_tls_version {
    PROXY_TLS_1_2,
    PROXY_TLS_1_3,
};

/* How a client proves who it is: of auth_type, and of a rule in an hba file. */
enum proxy_auth {
    PROXY_AUTH_TRUST,
    PROXY_AUTH_REJECT,
    PROXY_AUTH_PASSWORD,
    PROXY_AUTH_MD5, /* as PostgreSQL has it: a user whose secret is a SCRAM verifier does SCRAM */
    PROXY_AUTH_SCRAM,
    PROXY_AUTH_CERT,
    PROXY_AUTH_PEER, /* who the kernel says is at the other end of a unix socket */
};

/* What a database or role demands of a connection; one over a unix socket is never asked for it. */
enum proxy_demand {
    PROXY_DEMAND_NONE,
    PROXY_DEMAND_TLS,
    PROXY_DEMAND_CERTIFICATE, /* TLS, with a certificate that an authority of ours has signed */
};

/* Which requests the query log has, beside those that are slow or chosen by chance. */
enum proxy_query_log {
    PROXY_QUERY_LOG_OFF,
    PROXY_QUERY_LOG_ERRORS,
    PROXY_QUERY_LOG_ALL,
};

/* What it says of their texts. */
enum proxy_query_text {
    PROXY_QUERY_TEXT_NONE,
    PROXY_QUERY_TEXT_SHAPE,
    PROXY_QUERY_TEXT_FULL,
};

/* As libpq has it. */
enum proxy_target {
    PROXY_TARGET_ANY,
    PROXY_TARGET_READ_WRITE,
    PROXY_TARGET_READ_ONLY,
    PROXY_TARGET_PRIMARY,
    PROXY_TARGET_STANDBY,
    PROXY_TARGET_PREFER_STANDBY,
};

enum proxy_balance {
    PROXY_BALANCE_DISABLE,     /* the first host that works, in their order */
    PROXY_BALANCE_ROUND_ROBIN, /* each new connection begins at the next one */
};

/* Where users are looked up that auth_file does not name: see auth_query.h. A database begins with
 * those of section proxy. */
struct proxy_lookup {
    char user[PROXY_NAME_SIZE];   /* who asks; "": nobody is asked */
    char dbname[PROXY_NAME_SIZE]; /* an entry of databases, or a database at the same servers */
    char query[PROXY_LIST_SIZE];  /* with $1 for the name */
};

/* What a client gets when notifications may be lost. */
enum proxy_listen_gap {
    PROXY_LISTEN_NOTICE,
    PROXY_LISTEN_DISCONNECT,
};

/* Where to listen, or where a server is. */
struct proxy_host {
    char name[PROXY_HOST_SIZE]; /* a host name, an address, or the folder of a unix socket; when
                                 * listening, "*" is every address of this machine, IPv4 and IPv6 */
    uint16_t port;
    bool is_unix;
};

/* ---- section proxy ---- */

struct proxy_settings {
    char listen_text[PROXY_LIST_SIZE];
    int64_t port;
    char unix_socket_dir[PROXY_PATH_SIZE]; /* "": none */
    char unix_socket_mode_text[8];
    char run_dir[PROXY_PATH_SIZE]; /* "": none */
    int64_t instance_id;           /* 0: none */
    int64_t workers;               /* 0: one for each core */
    enum proxy_io io;
    int64_t memory; /* bytes for buffers of all workers */

    enum proxy_auth auth_type;           /* where no hba file is given */
    char auth_hba_file[PROXY_PATH_SIZE]; /* "": none */
    char auth_file[PROXY_PATH_SIZE];     /* the same */
    char auth_ident_file[PROXY_PATH_SIZE];
    char passfile[PROXY_PATH_SIZE]; /* of the server side */
    struct proxy_lookup lookup;
    struct secret lookup_password; /* of lookup.user; unset: as other users' */
    int64_t lookup_ttl_ns;
    int64_t lookup_stale_ns;           /* for so long after that, while nobody can be asked */
    char admin_users[PROXY_LIST_SIZE]; /* see proxy_list_has() */
    char stats_users[PROXY_LIST_SIZE];

    bool log_connections;
    bool log_disconnections;
    int64_t log_slow_ns; /* HF_NEVER: off */
    bool track_statements;
    struct keepalive keepalive; /* of clients and servers */

    /* From listen_text, port and unix_socket_*, by proxy_config_finish(). */
    struct proxy_host listeners[PROXY_LISTENERS_MAX]; /* the unix socket is the last one */
    uint32_t listener_count;
    char places[PROXY_LISTENERS_MAX][PROXY_NAME_SIZE]; /* of which entry of listeners; "": none */
    uint32_t unix_socket_mode;
};

/* ---- sections proxy.client_tls and proxy.server_tls ---- */

struct proxy_tls {
    enum proxy_sslmode sslmode;
    char cert_file[PROXY_PATH_SIZE]; /* "": none, in all three */
    char key_file[PROXY_PATH_SIZE];
    char ca_file[PROXY_PATH_SIZE];
    enum proxy_tls_version min_protocol;
    char ciphers[PROXY_LIST_SIZE]; /* of TLS 1.2, in OpenSSL's notation; "": its default */
};

/* ---- section limits ---- */

struct proxy_limits {
    int64_t clients_max;              /* logged in or logging in */
    int64_t clients_per_database_max; /* 0: no limit; the same below */
    int64_t clients_per_role_max;     /* copied to proxy_role.clients_max */
    int64_t clients_per_address_max;  /* one IP address, not a unix socket */
    int64_t server_connections_max;   /* over all pools, workers, databases and roles */
    int64_t server_connections_per_database_max;
    int64_t server_connections_per_role_max;
    int64_t server_connects_max; /* to one host, being made at a time */
    int64_t cancels_max;         /* cancel requests on their way to servers */
    int64_t prepared_memory;     /* bytes of all statements' texts */
    int64_t listen_channels_max; /* that are listened to at a time, over all databases */
    int64_t listen_channels_per_client_max;

    int64_t client_login_timeout_ns; /* from accept to the end of authentication */
    int64_t cancel_wait_timeout_ns;  /* a cancel request's whole way */
    int64_t drain_timeout_ns;        /* after SIGTERM; then what is left is cut off */
    int64_t leave_timeout_ns;        /* after a takeover; then it drains */
};

/* ---- section server_budget, see share.h ---- */

struct proxy_budget {
    char file[PROXY_PATH_SIZE]; /* "": none */
    int64_t connections;
};

/* ---- section pools: what a database begins with ---- */

struct proxy_pool {
    enum proxy_pool_mode pool_mode;
    int64_t pool_size;               /* server connections of one database and role */
    int64_t min_pool_size;           /* kept open once there were so many clients */
    int64_t reserve_pool_size;       /* on top of pool_size ... */
    int64_t reserve_pool_timeout_ns; /* ... for a client that has waited so long */
    int64_t queue_max;               /* clients that wait, in each pool */
    int64_t max_prepared_statements; /* on a server connection; 0: they are passed on untracked */

    int64_t query_wait_timeout_ns;  /* database busy: for a connection, in the queue */
    int64_t server_down_timeout_ns; /* database down: while no server can be connected to */
    int64_t query_timeout_ns;       /* a query runs; HF_NEVER: off, here and below */
    int64_t transaction_timeout_ns;
    int64_t idle_transaction_timeout_ns;
    int64_t client_idle_timeout_ns;
    int64_t pinned_idle_timeout_ns;
    enum proxy_session_features session_features;

    int64_t server_connect_timeout_ns; /* from connect to ReadyForQuery */
    int64_t server_login_retry_ns;     /* the longest pause before connecting is tried again */
    int64_t server_idle_timeout_ns;
    int64_t server_lifetime_ns;
    uint32_t server_lifetime_jitter_ppm; /* of the lifetime, taken off at random */
    int64_t server_clean_timeout_ns;     /* what a client left behind is cancelled and drained */
    char server_reset_query[256];        /* after a session; "": none */
    bool server_round_robin;             /* the connection that rests longest is used first */

    bool application_name_add_host;
    enum proxy_query_log query_log;
    int64_t query_log_slow_ns;     /* HF_NEVER: off */
    uint32_t query_log_sample_ppm; /* 0: off */
    enum proxy_query_text query_log_text;
    enum proxy_listen_gap listen_gap;
    int64_t listen_queue; /* bytes of notifications that wait for one client */
};

/* ---- section databases ---- */

struct proxy_database {
    struct proxy_pool pool;     /* first: its rows are rows of a database too */
    char name[PROXY_NAME_SIZE]; /* of the entry, "*" the fallback */
    char hosts_text[PROXY_LIST_SIZE];
    char dbname[PROXY_NAME_SIZE];  /* at the server; "": as the client calls it */
    char user[PROXY_NAME_SIZE];    /* forced, whoever the client is; "": the client's own role */
    struct secret password;        /* of `user` */
    char service[PROXY_NAME_SIZE]; /* entry of a service file that config/ has read; "": none */
    struct proxy_lookup lookup;    /* begins as proxy.lookup */
    char connect_query[PROXY_LIST_SIZE];
    enum proxy_demand demand; /* of its clients */
    enum proxy_target target_session_attrs;
    enum proxy_balance load_balance_hosts;
    enum proxy_sslmode sslmode;     /* begins as server_tls.sslmode */
    int64_t clients_max;            /* begins as limits.clients_per_database_max */
    int64_t server_connections_max; /* begins as limits.server_connections_per_database_max */

    struct proxy_host hosts[PROXY_HOSTS_MAX]; /* from hosts_text, by proxy_config_finish() */
    uint32_t host_count;                      /* at least 1 */
};

/* ---- section roles ---- */

enum proxy_role_mode {
    PROXY_ROLE_AS_DATABASE,
    PROXY_ROLE_SESSION,
    PROXY_ROLE_TRANSACTION,
    PROXY_ROLE_STATEMENT,
};

struct proxy_role {
    char name[PROXY_NAME_SIZE];
    struct secret password; /* plain, md5... or SCRAM-SHA-256$..., as in the users file */
    enum proxy_demand demand;
    enum proxy_role_mode pool_mode;
    int64_t pool_size;              /* 0: the database's */
    int64_t clients_max;            /* begins as limits.clients_per_role_max; 0: no limit */
    int64_t server_connections_max; /* the same */
    int64_t query_timeout_ns;       /* the shorter one of role and database holds, here and below */
    int64_t transaction_timeout_ns;
    int64_t idle_transaction_timeout_ns;
    int64_t client_idle_timeout_ns;
    uint32_t query_log; /* 0: as the database; else enum proxy_query_log, plus one */
};

/* ---- section listeners: more places to listen, with rules of their own ---- */

enum proxy_listener_tls {
    PROXY_LISTENER_TLS_DEFAULT, /* as client_tls.sslmode */
    PROXY_LISTENER_TLS_DISABLE,
    PROXY_LISTENER_TLS_ALLOW,
    PROXY_LISTENER_TLS_REQUIRE,
};

struct proxy_listener {
    char name[PROXY_NAME_SIZE];
    char address_text[PROXY_HOST_SIZE]; /* as one of `listen`, or the folder of a unix socket */
    int64_t port;
    enum proxy_role_mode pool_mode; /* of all who come this way */
    enum proxy_listener_tls tls;
    uint32_t auth;                   /* 0: as everywhere; else enum proxy_auth, plus one */
    char databases[PROXY_LIST_SIZE]; /* "": all */
    char users[PROXY_LIST_SIZE];     /* "": all */
};

/* ---- section peers: other instances, see peers.h ---- */

struct proxy_peer {
    char name[PROXY_NAME_SIZE];
    int64_t id; /* their instance_id */
    char host_text[PROXY_HOST_SIZE];
    int64_t port;
    struct proxy_host host; /* from both, by proxy_config_finish() */
};

/* ---- all of it ---- */

struct proxy_config {
    struct proxy_settings proxy;
    struct proxy_tls client_tls;
    struct proxy_tls server_tls;
    struct proxy_limits limits;
    struct proxy_budget budget;
    struct proxy_pool pools;
    struct proxy_database *databases; /* owned, in memory of `mem` */
    uint32_t database_count;
    struct proxy_role *roles; /* owned, the same */
    uint32_t role_count;
    struct group *groups; /* owned, the same, sorted by name; those that limit something */
    uint32_t group_count;
    struct proxy_listener *places; /* section listeners; owned, the same; NULL: there are none */
    uint32_t place_count;
    struct proxy_peer *peers; /* the same */
    uint32_t peer_count;
    struct mem *mem; /* borrowed */
};

/* The entry for a name: its own, or "*"; NULL if there is neither. */
const struct proxy_database *proxy_database_find(const struct proxy_config *config, struct sv name);
/* The same; "*" is always there. */
const struct proxy_role *proxy_role_get(const struct proxy_config *config, struct sv name);

/* What holds for a database and a role together. */
void proxy_pool_of(const struct proxy_database *database, const struct proxy_role *role,
                   struct proxy_pool *out);

/* The rules of who came by proxy.listeners[index]; NULL: it has none of its own. `is_gone`: it had
 * some, and the configuration does not know them any more. */
const struct proxy_listener *proxy_listener_of(const struct proxy_config *config, uint32_t index,
                                               bool *is_gone);
/* The instance of that number; NULL: there is none. */
const struct proxy_peer *proxy_peer_find(const struct proxy_config *config, uint32_t id);

/* Is the name in a comma-separated list such as admin_users? */
bool proxy_list_has(const char *list, struct sv name);

/* "scram-sha-256", as in a rule. */
const char *proxy_auth_name(enum proxy_auth method);

/* Only this machine can reach it: a unix socket, localhost, 127.0.0.0/8, ::1. */
bool proxy_host_is_local(const struct proxy_host *host);

/* ---- for config/ ---- */

/* A section: where its rows put things. */
struct proxy_section {
    const char *path; /* "proxy.client_tls" */
    const char *sentence;
    struct opt_table tables[2]; /* the second one may be empty */
    enum proxy_section_kind {
        PROXY_SECTION_ONE,       /* fields of the struct at `offset` of struct proxy_config */
        PROXY_SECTION_DATABASES, /* a map of names to such structs */
        PROXY_SECTION_ROLES,
        PROXY_SECTION_GROUPS,
        PROXY_SECTION_LISTENERS,
        PROXY_SECTION_PEERS,
    } kind;
    size_t offset;
};

/* All of them; a database or role can be made when those before it have been read. */
size_t proxy_section_count(void);
const struct proxy_section *proxy_section_at(size_t index);
const struct proxy_section *proxy_section_find(struct sv path);

/* The defaults, without a database or role; in memory of `mem`, with room for so many of them.
 * NULL: no memory. To be given to proxy_config_free(), at any time. */
struct proxy_config *proxy_config_new(struct mem *mem, size_t databases, size_t roles);

/* Adds one, which begins as it should; there is room for it. The name must not be there yet: see
 * proxy_config_finish(). Longer names are refused. */
enum hf_rc proxy_config_add_database(struct proxy_config *config, struct sv name,
                                     struct proxy_database **out, struct hf_err *err) HF_MUST_USE;
enum hf_rc proxy_config_add_role(struct proxy_config *config, struct sv name,
                                 struct proxy_role **out, struct hf_err *err) HF_MUST_USE;
/* There may be GROUPS_MAX of them. */
enum hf_rc proxy_config_add_group(struct proxy_config *config, struct sv name, struct group **out,
                                  struct hf_err *err) HF_MUST_USE;

/* The same, of sections listeners and peers: proxy_places.c. */
enum hf_rc proxy_config_add_listener(struct proxy_config *config, struct sv name,
                                     struct proxy_listener **out, struct hf_err *err) HF_MUST_USE;
enum hf_rc proxy_config_add_peer(struct proxy_config *config, struct sv name,
                                 struct proxy_peer **out, struct hf_err *err) HF_MUST_USE;

/* What is wrong, and with which setting. */
struct proxy_fault {
    const char *section;         /* static: its path */
    char entry[PROXY_NAME_SIZE]; /* of databases or roles; else "" */
    const char *key;             /* static; NULL: the entry or section itself */
};

/* Parses the lists, adds the role "*" if it is missing, sorts, and looks at settings that only
 * together can be wrong. */
enum hf_rc proxy_config_finish(struct proxy_config *config, struct proxy_fault *fault,
                               struct hf_err *err) HF_MUST_USE;

/* A reload: settings that take a restart stay as they were `before`, so that what a configuration
 * says is what holds. Before anybody else sees it, and after it was compared. */
void proxy_config_keep(struct proxy_config *config, const struct proxy_config *before);

/* Another one of the same content, to be changed and finished again. NULL: no memory. */
struct proxy_config *proxy_config_copy(const struct proxy_config *from);

/* Wipes its secrets; NULL is allowed. */
void proxy_config_free(struct proxy_config *config);

#endif
