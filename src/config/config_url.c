#include "config/config_url.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "config/connstr.h"
#include "config/url_parts.h"
#include "os/passfile.h"

#define DEFAULT_HOST "/var/run/postgresql" /* libpq's on Debian */

/* ---- what libpq read ---- */

/* Parameters that mean something to a proxy, and those that say no more than is so anyway. */
static bool is_understood(const PQconninfoOption *option)
{
    static const char *const known[] = {"host",
                                        "hostaddr",
                                        "port",
                                        "user",
                                        "password",
                                        "passfile",
                                        "dbname",
                                        "sslmode",
                                        "sslcert",
                                        "sslkey",
                                        "sslrootcert",
                                        "connect_timeout",
                                        "target_session_attrs"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(option->keyword, known[i]) == 0)
            return true;
    return strcmp(option->keyword, "gssencmode") == 0 && strcmp(option->val, "require") != 0;
}

/* Not what the clients say: the servers are to be found by it. */
static enum hf_rc refuse_service(struct hf_err *err)
{
    err_set(err, HF_RC_INVALID, "22023",
            "a service is found for a database of a configuration file, and not here");
    return err_hint(err, "Write hosts, port and user into the connection string, or "
                         "databases.NAME.service into a file.");
}

static enum hf_rc check_parameters(const PQconninfoOption *options, struct hf_err *err)
{
    for (; options->keyword != NULL; options++) {
        if (options->val == NULL || is_understood(options))
            continue;
        if (strcmp(options->keyword, "service") == 0)
            return refuse_service(err);
        err_set(err, HF_RC_INVALID, "22023", "the parameter %s has no meaning for a proxy",
                options->keyword);
        return err_hint(err, "Leave it out; clients say it themselves when they connect.");
    }
    return HF_OK;
}

/* The nth of a list, or its only element. */
static struct sv nth(const char *list, size_t n)
{
    struct sv rest = sv_from_cstr(list), item = SV(""), first = SV("");
    for (size_t i = 0; sv_split(&rest, ',', &item); i++) {
        if (i == n)
            return item;
        first = i == 0 ? item : SV("");
    }
    return first;
}

static size_t count_items(const char *list)
{
    size_t count = list[0] != '\0';
    for (; *list != '\0'; list++)
        count += *list == ',';
    return count;
}

/* A server as the string names it. */
struct server {
    struct sv host;
    struct sv port;
};

static struct server server_at(const PQconninfoOption *options, size_t n)
{
    const char *addresses = connstr_value(options, "hostaddr");
    const char *hosts = addresses[0] != '\0' ? addresses : connstr_value(options, "host");
    const char *ports = connstr_value(options, "port");
    struct server server = {.host = count_items(hosts) > n ? nth(hosts, n) : SV(""),
                            .port = nth(ports, n)};
    if (server.host.size == 0)
        server.host = SV(DEFAULT_HOST);
    if (server.port.size == 0)
        server.port = SV("5432");
    return server;
}

static size_t server_count(const PQconninfoOption *options)
{
    const size_t addresses = count_items(connstr_value(options, "hostaddr"));
    const size_t hosts = count_items(connstr_value(options, "host"));
    const size_t count = addresses > 0 ? addresses : hosts;
    return count > 0 ? count : 1;
}

static bool is_socket(const struct server *server)
{
    return server->host.data[0] == '/' || server->host.data[0] == '@';
}

static enum hf_rc set_hosts(struct proxy_database *database, const PQconninfoOption *options,
                            struct hf_err *err)
{
    struct buffer text;
    buffer_init(&text, database->hosts_text, sizeof database->hosts_text - 1);
    const size_t count = server_count(options);
    if (count_items(connstr_value(options, "port")) > 1 &&
        count_items(connstr_value(options, "port")) != count)
        return err_set(err, HF_RC_INVALID, "22023", "there are not as many ports as hosts");
    for (size_t i = 0; i < count; i++) {
        const struct server server = server_at(options, i);
        const bool is_v6 = !is_socket(&server) && sv_find(server.host, ':') < server.host.size;
        const struct sv pieces[] = {i > 0 ? SV(",") : SV(""), is_v6 ? SV("[") : SV(""), server.host,
                                    is_v6 ? SV("]:") : SV(":"), server.port};
        for (size_t j = 0; j < sizeof pieces / sizeof pieces[0]; j++)
            if (!buffer_append(&text, pieces[j]))
                return err_set(err, HF_RC_LIMIT, "54000", "there are too many hosts");
    }
    database->hosts_text[buffer_held(&text)] = '\0';
    return HF_OK;
}

/* ---- the password ---- */

static void passfile_path(const PQconninfoOption *options, char out[PROXY_PATH_SIZE])
{
    const char *given = connstr_value(options, "passfile");
    char buffer[1024];
    struct passwd entry, *found = NULL;
    out[0] = '\0';
    if (given[0] != '\0') {
        snprintf(out, PROXY_PATH_SIZE, "%s", given);
        return;
    }
    const char *home = getenv("HOME"); /* NOLINT(concurrency-mt-unsafe): before there are threads */
    if ((home == NULL || home[0] == '\0') &&
        getpwuid_r(geteuid(), &entry, buffer, sizeof buffer, &found) == 0 && found != NULL)
        home = entry.pw_dir;
    if (home != NULL && home[0] != '\0')
        snprintf(out, PROXY_PATH_SIZE, "%s/.pgpass", home);
}

static enum hf_rc find_password(const PQconninfoOption *options, const char *user,
                                struct secret *password, struct hf_err *err)
{
    char path[PROXY_PATH_SIZE];
    const char *given = connstr_value(options, "password");
    const char *dbname = connstr_value(options, "dbname");
    if (given[0] != '\0')
        return secret_set(password, sv_from_cstr(given), err);
    passfile_path(options, path);
    if (user[0] == '\0' || path[0] == '\0')
        return HF_OK;
    for (size_t i = 0; i < server_count(options) && !secret_is_set(password); i++) {
        const struct server server = server_at(options, i);
        /* libpq calls the server in its own default folder "localhost" here. */
        const struct passfile_key key = {
            .host = sv_eq(server.host, SV(DEFAULT_HOST)) ? SV("localhost") : server.host,
            .port = server.port,
            .database = sv_from_cstr(dbname[0] != '\0' ? dbname : user),
            .user = sv_from_cstr(user),
        };
        const enum hf_rc rc = passfile_find(path, &key, password, err);
        if (rc != HF_OK)
            return rc;
    }
    return HF_OK;
}

/* ---- who may come in: see the header ---- */

static enum hf_rc set_text(char *out, size_t size, const char *what, const char *text,
                           struct hf_err *err)
{
    if (sv_copy(sv_from_cstr(text), out, size))
        return HF_OK;
    return err_set(err, HF_RC_LIMIT, "22001", "the %s in the connection string is too long", what);
}

static enum hf_rc refuse_nobodys_password(struct hf_err *err)
{
    err_set(err, HF_RC_INVALID, "22023", "there is a password, and no user that it is for");
    return err_hint(err, "Write postgresql://USER@HOST/.");
}

static enum hf_rc force_user(struct proxy_database *database, const char *user,
                             const struct secret *password, struct hf_err *err)
{
    if (user[0] == '\0')
        return secret_is_set(password) ? refuse_nobodys_password(err) : HF_OK;
    database->password = *password;
    return set_text(database->user, sizeof database->user, "user", user, err);
}

/* Clients have to know what stands in the string. */
static enum hf_rc ask_for_password(struct proxy_config *config, const char *user,
                                   const struct secret *password, struct hf_err *err)
{
    struct proxy_role *role = NULL;
    if (user[0] == '\0')
        return refuse_nobodys_password(err);
    const enum hf_rc rc = proxy_config_add_role(config, sv_from_cstr(user), &role, err);
    if (rc != HF_OK)
        return rc;
    role->password = *password;
    /* Who started the proxy by that password may look after it. */
    if (config->proxy.admin_users[0] == '\0' && strchr(user, ',') == NULL)
        snprintf(config->proxy.admin_users, sizeof config->proxy.admin_users, "%s", user);
    return HF_OK;
}

static enum hf_rc nobody_comes_in(struct hf_err *err)
{
    err_set(err, HF_RC_INVALID, "22023", "auth_type asks for a password, and nobody has one");
    return err_hint(err, "Give user and password (PGPASSWORD, ~/.pgpass), or an auth_file.");
}

/* Trust would lend what this process is let in for to everybody on the machine. */
static bool lends_identity(const struct proxy_config *config, const PQconninfoOption *options)
{
    for (size_t i = 0; i < server_count(options); i++) {
        const struct server server = server_at(options, i);
        if (is_socket(&server))
            return true;
    }
    return config->server_tls.cert_file[0] != '\0';
}

static enum hf_rc set_access(struct proxy_config *config, struct proxy_database *database,
                             const struct url_parts *parts, const PQconninfoOption *options,
                             const struct secret *password, struct hf_err *err)
{
    const char *user = connstr_value(options, "user");
    const bool has_type = url_parts_has(parts, "auth_type");
    const bool has_files = config->proxy.auth_file[0] != '\0' ||
                           config->proxy.auth_hba_file[0] != '\0' ||
                           config->proxy.lookup.user[0] != '\0';
    const bool is_trust = has_type && config->proxy.auth_type == PROXY_AUTH_TRUST;
    if (has_files)
        return secret_is_set(password) ? force_user(database, user, password, err) : HF_OK;
    if (secret_is_set(password) && !is_trust)
        return ask_for_password(config, user, password, err);
    if (!has_type && lends_identity(config, options)) {
        err_set(err, HF_RC_INVALID, "28000",
                "without a password, everybody on this machine could use what the servers let this "
                "process do");
        return err_hint(err, "Give user and password (PGPASSWORD, ~/.pgpass), which clients then "
                             "have to know; or say auth_type=trust in the connection string.");
    }
    if (!has_type)
        config->proxy.auth_type = PROXY_AUTH_TRUST;
    else if (!is_trust && config->proxy.auth_type != PROXY_AUTH_CERT &&
             config->proxy.auth_type != PROXY_AUTH_PEER)
        return nobody_comes_in(err);
    return force_user(database, user, password, err);
}

/* ---- all of it ---- */

static enum hf_rc set_row(const struct proxy_section *section, void *base, const char *key,
                          struct sv value, struct hf_err *err)
{
    return opt_set_row(opt_find(&section->tables[0], sv_from_cstr(key)), base, value, err);
}

static enum hf_rc set_tls(struct proxy_config *config, const PQconninfoOption *options,
                          struct hf_err *err)
{
    static const struct {
        const char *keyword, *key;
    } rows[] = {
        {"sslmode", "sslmode"},
        {"sslcert", "cert_file"},
        {"sslkey", "key_file"},
        {"sslrootcert", "ca_file"},
    };
    const struct proxy_section *section = proxy_section_find(SV("proxy.server_tls"));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *value = connstr_value(options, rows[i].keyword);
        if (value[0] == '\0' || strcmp(value, "system") == 0)
            continue;
        const enum hf_rc rc =
            set_row(section, &config->server_tls, rows[i].key, sv_from_cstr(value), err);
        if (rc != HF_OK)
            return rc;
    }
    return HF_OK;
}

/* Seconds; 0 and less are no limit for libpq, and the longest one here. */
static enum hf_rc set_timeout(struct proxy_config *config, const PQconninfoOption *options,
                              struct hf_err *err)
{
    const char *value = connstr_value(options, "connect_timeout");
    char text[32];
    int64_t seconds = 0;
    if (value[0] == '\0')
        return HF_OK;
    if (sv_to_int(sv_trim(sv_from_cstr(value)), INT32_MIN, INT32_MAX, &seconds) != SV_NUMBER_OK)
        return err_set(err, HF_RC_INVALID, "22023", "connect_timeout is no number of seconds");
    if (seconds <= 0 || seconds > 3600)
        seconds = 3600;
    const int size = snprintf(text, sizeof text, "%llds", (long long)seconds);
    return set_row(proxy_section_find(SV("pools")), &config->pools, "server_connect_timeout",
                   sv_from(text, (size_t)size), err);
}

/* Settings of a kind are set when what they are set in is there. */
static enum hf_rc set_settings(const struct url_parts *parts, const char *path, void *base,
                               struct hf_err *err)
{
    for (size_t i = 0; i < parts->count; i++) {
        const struct url_setting *setting = &parts->settings[i];
        if (strcmp(setting->section->path, path) != 0)
            continue;
        const enum hf_rc rc = opt_set_row(setting->row, base, setting->value, err);
        if (rc != HF_OK)
            return rc;
    }
    return HF_OK;
}

static enum hf_rc fill(struct proxy_config *config, const struct url_parts *parts,
                       const PQconninfoOption *options, struct hf_err *err)
{
    struct proxy_database *database = NULL;
    struct secret password = {0};
    enum hf_rc rc = check_parameters(options, err);
    if (rc == HF_OK)
        rc = set_settings(parts, "proxy", &config->proxy, err);
    if (rc == HF_OK)
        rc = set_timeout(config, options, err);
    if (rc == HF_OK)
        rc = set_settings(parts, "pools", &config->pools, err);
    if (rc == HF_OK)
        rc = set_tls(config, options, err);
    if (rc == HF_OK)
        rc = proxy_config_add_database(config, SV("*"), &database, err);
    if (rc == HF_OK)
        rc = set_settings(parts, "databases", database, err);
    if (rc == HF_OK)
        rc = set_hosts(database, options, err);
    const char *target = connstr_value(options, "target_session_attrs");
    if (rc == HF_OK && target[0] != '\0')
        rc = set_row(proxy_section_find(SV("databases")), database, "target_session_attrs",
                     sv_from_cstr(target), err);
    if (rc == HF_OK)
        rc = find_password(options, connstr_value(options, "user"), &password, err);
    if (rc == HF_OK)
        rc = set_access(config, database, parts, options, &password, err);
    secret_wipe(&password);
    return rc;
}

static enum hf_rc finish(struct proxy_config *config, struct hf_err *err)
{
    struct proxy_fault fault;
    const enum hf_rc rc = proxy_config_finish(config, &fault, err);
    if (rc == HF_OK || fault.key == NULL)
        return rc;
    return err_while(err, "%s", fault.key);
}

static enum hf_rc make(struct proxy_config **out, const struct url_parts *parts,
                       const PQconninfoOption *options, struct mem *mem, struct hf_err *err)
{
    struct proxy_config *config = proxy_config_new(mem, 1, 1);
    if (config == NULL)
        return mem_refused(mem, sizeof *config, err);
    enum hf_rc rc = fill(config, parts, options, err);
    if (rc == HF_OK)
        rc = finish(config, err);
    if (rc == HF_OK)
        *out = config;
    else
        proxy_config_free(config);
    return rc;
}

/* Where libpq keeps the password while it is not needed any more. */
static void free_options(PQconninfoOption *options)
{
    for (PQconninfoOption *option = options; option->keyword != NULL; option++)
        if (option->val != NULL)
            explicit_bzero(option->val, strlen(option->val));
    PQconninfoFree(options);
}

enum hf_rc config_from_url(struct proxy_config **out, const char *text, struct mem *mem,
                           struct hf_err *err)
{
    struct url_parts parts;
    PQconninfoOption *options = NULL;
    *out = NULL;
    enum hf_rc rc = url_parts_split(&parts, text, err);
    if (rc == HF_OK) {
        rc = connstr_parse(&options, parts.rest, err);
        if (rc != HF_OK)
            suggest_hint(&parts.suggest, err);
    }
    if (options != NULL) {
        rc = make(out, &parts, options, mem, err);
        free_options(options);
    }
    url_parts_wipe(&parts);
    return rc;
}
