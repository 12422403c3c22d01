#include "config/service.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "os/file.h"

#define SQLSTATE_CONFIG_FILE "F0000"
#define PASSWD_SIZE          4096                     /* of what the system says of a user */
#define SYSTEM_FOLDER        "/etc/postgresql-common" /* libpq's on Debian */

/* ---- a text ---- */

/* Settings of libpq that say nothing of where and as whom a server is entered. */
static bool is_harmless(struct sv key)
{
    static const char *const keys[] = {"application_name",    "fallback_application_name",
                                       "connect_timeout",     "client_encoding",
                                       "keepalives",          "keepalives_idle",
                                       "keepalives_interval", "keepalives_count",
                                       "tcp_user_timeout",    "gssencmode"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (sv_eq(key, sv_from_cstr(keys[i])))
            return true;
    return false;
}

static enum hf_rc set(struct service *service, struct sv key, struct sv value, struct hf_err *err)
{
    const struct {
        struct sv key;
        char *out;
        size_t size;
    } texts[] = {
        {SV("host"), service->host, sizeof service->host},
        {SV("hostaddr"), service->hostaddr, sizeof service->hostaddr},
        {SV("port"), service->port, sizeof service->port},
        {SV("dbname"), service->dbname, sizeof service->dbname},
        {SV("user"), service->user, sizeof service->user},
        {SV("sslmode"), service->sslmode, sizeof service->sslmode},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (!sv_eq(key, texts[i].key))
            continue;
        if (sv_copy(value, texts[i].out, texts[i].size))
            return HF_OK;
        return err_set(err, HF_RC_LIMIT, SQLSTATE_CONFIG_FILE, "%.*s is too long", (int)key.size,
                       key.data);
    }
    if (sv_eq(key, SV("password")))
        return secret_set(&service->password, value, err);
    if (is_harmless(key))
        return HF_OK;
    err_set(err, HF_RC_INVALID, SQLSTATE_CONFIG_FILE, "\"" SV_FMT "\" is not supported here",
            SV_ARG(key));
    return err_hint(err, "Supported are host, hostaddr, port, dbname, user, password and sslmode; "
                         "server_tls has files of TLS.");
}

static enum hf_rc read_line(struct service *service, struct sv line, struct hf_err *err)
{
    struct sv value = line, key;
    if (sv_find(line, '=') == line.size || !sv_split(&value, '=', &key))
        return err_set(err, HF_RC_INVALID, SQLSTATE_CONFIG_FILE,
                       "this is neither [NAME] nor key=value");
    return set(service, key, value, err);
}

enum hf_rc service_search(struct sv text, struct sv name, struct service *service,
                          struct hf_err *err)
{
    struct sv line;
    uint32_t number = 0;
    bool is_inside = false;
    while (sv_split(&text, '\n', &line)) {
        number++;
        line = sv_trim(line);
        if (line.size == 0 || line.data[0] == '#')
            continue;
        if (line.data[0] == '[') {
            if (is_inside)
                return HF_OK; /* the next service: the first one of the name is the one */
            is_inside = line.data[line.size - 1] == ']' && line.size == name.size + 2 &&
                        sv_starts_with(sv_drop(line, 1), name);
        } else if (is_inside && read_line(service, line, err) != HF_OK) {
            return err_while(err, "line %u", (unsigned)number);
        }
    }
    if (is_inside)
        return HF_OK;
    return err_set(err, HF_RC_MISSING, SQLSTATE_CONFIG_FILE, "there is no service \"" SV_FMT "\"",
                   SV_ARG(name));
}

void service_wipe(struct service *service)
{
    explicit_bzero(service, sizeof *service);
}

/* ---- files ---- */

static enum hf_rc search_file(const char *path, struct sv name, struct service *service,
                              struct hf_err *err)
{
    char *text = malloc(SERVICE_SIZE_MAX);
    if (text == NULL)
        return err_set(err, HF_RC_AGAIN, "53200", "out of memory");
    enum hf_rc rc = file_read(path, text, SERVICE_SIZE_MAX, err);
    if (rc == HF_OK) {
        rc = service_search(sv_from_cstr(text), name, service, err);
        if (rc != HF_OK && rc != HF_RC_MISSING)
            err_while(err, "%s", path);
    }
    explicit_bzero(text, SERVICE_SIZE_MAX);
    free(text);
    return rc;
}

/* Nobody in this process changes what is there. */
static const char *variable(const char *name)
{
    return getenv(name); /* NOLINT(concurrency-mt-unsafe) */
}

static void home_path(char out[PROXY_PATH_SIZE])
{
    char buffer[PASSWD_SIZE];
    struct passwd entry, *found = NULL;
    const char *home = variable("HOME");
    if (home == NULL && getpwuid_r(geteuid(), &entry, buffer, sizeof buffer, &found) == 0 &&
        found != NULL)
        home = entry.pw_dir;
    snprintf(out, PROXY_PATH_SIZE, "%s/.pg_service.conf", home != NULL ? home : "");
}

static enum hf_rc find_service(struct sv name, struct service *service, struct hf_err *err)
{
    char path[PROXY_PATH_SIZE];
    const char *given = variable("PGSERVICEFILE");
    const char *folder = variable("PGSYSCONFDIR");
    if (given != NULL)
        return search_file(given, name, service, err);
    home_path(path);
    const enum hf_rc rc = search_file(path, name, service, err);
    if (rc != HF_RC_MISSING)
        return rc;
    snprintf(path, sizeof path, "%s/pg_service.conf", folder != NULL ? folder : SYSTEM_FOLDER);
    if (search_file(path, name, service, err) != HF_RC_MISSING)
        return err->rc;
    err_set(err, HF_RC_MISSING, SQLSTATE_CONFIG_FILE, "there is no service \"" SV_FMT "\"",
            SV_ARG(name));
    return err_hint(err, "Services are in PGSERVICEFILE, ~/.pg_service.conf, or %s.", path);
}

/* ---- a database ---- */

/* Hosts and ports of libpq, lists both, as one list of ours: one port may stand for all hosts. */
static enum hf_rc join_hosts(const struct service *service, char out[PROXY_LIST_SIZE],
                             struct hf_err *err)
{
    struct buffer text;
    struct sv hosts =
        sv_from_cstr(service->hostaddr[0] != '\0' ? service->hostaddr : service->host);
    struct sv ports = sv_from_cstr(service->port), host, port = SV("");
    const bool is_one_port = sv_find(ports, ',') == ports.size;
    buffer_init(&text, out, PROXY_LIST_SIZE - 1);
    bool fits = true;
    while (hosts.size > 0 && sv_split(&hosts, ',', &host)) {
        const bool is_v6 = sv_find(host, ':') < host.size;
        if (is_one_port)
            port = ports;
        else if (!sv_split(&ports, ',', &port))
            return err_set(err, HF_RC_INVALID, "22023", "the service has more hosts than ports");
        fits = fits && (buffer_held(&text) == 0 || buffer_append(&text, SV(","))) &&
               (!is_v6 || buffer_append(&text, SV("["))) && buffer_append(&text, host) &&
               (!is_v6 || buffer_append(&text, SV("]"))) &&
               (port.size == 0 || (buffer_append(&text, SV(":")) && buffer_append(&text, port)));
    }
    out[buffer_held(&text)] = '\0';
    return fits ? HF_OK : err_set(err, HF_RC_LIMIT, "54000", "the service has too many hosts");
}

static enum hf_rc give(struct proxy_database *database, const struct service *service,
                       bool has_sslmode, struct hf_err *err)
{
    const struct opt_table *rows = &proxy_section_find(SV("databases"))->tables[0];
    const bool is_same_user =
        database->user[0] == '\0' || strcmp(database->user, service->user) == 0;
    enum hf_rc rc = HF_OK;
    if (database->hosts_text[0] == '\0')
        rc = join_hosts(service, database->hosts_text, err);
    if (database->dbname[0] == '\0')
        memcpy(database->dbname, service->dbname, sizeof database->dbname);
    if (database->user[0] == '\0')
        memcpy(database->user, service->user, sizeof database->user);
    /* A password belongs to its user. */
    if (is_same_user && !secret_is_set(&database->password))
        database->password = service->password;
    if (rc == HF_OK && !has_sslmode && service->sslmode[0] != '\0')
        rc = opt_set(rows, database, SV("sslmode"), sv_from_cstr(service->sslmode), err);
    return rc;
}

enum hf_rc service_apply(struct proxy_database *database, bool has_sslmode, struct hf_err *err)
{
    struct service service = {0};
    enum hf_rc rc = find_service(sv_from_cstr(database->service), &service, err);
    if (rc == HF_OK)
        rc = give(database, &service, has_sslmode, err);
    service_wipe(&service);
    return rc;
}
