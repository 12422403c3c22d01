#include "proxy/proxy_config.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/ns.h"
#include "proxy/proxy_places.h"
#include "wire/password.h"

#define SERVER_PORT 5432

/* A unix socket's path is "<folder>/.s.PGSQL.<port>" and the kernel's room for it 108 bytes. */
#define SOCKET_DIR_MAX (108 - sizeof "/.s.PGSQL.65535")

/* ---- reading ---- */

/* "*" stands behind every other name: it is looked at last. */
static int compare_names(const char *a, const char *b)
{
    const bool is_a_any = strcmp(a, "*") == 0;
    const bool is_b_any = strcmp(b, "*") == 0;
    return is_a_any || is_b_any ? (int)is_a_any - (int)is_b_any : strcmp(a, b);
}

/* Entries begin with a `name` at some offset; NULL if none has this one. */
static const void *find_entry(const void *entries, size_t count, size_t size, size_t name_offset,
                              struct sv name)
{
    char text[PROXY_NAME_SIZE];
    if (!sv_copy(name, text, sizeof text))
        return NULL;
    size_t low = 0, high = count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const char *entry = (const char *)entries + middle * size;
        const int order = compare_names(text, entry + name_offset);
        if (order == 0)
            return entry;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct proxy_database *proxy_database_find(const struct proxy_config *config, struct sv name)
{
    const struct proxy_database *found =
        find_entry(config->databases, config->database_count, sizeof *found,
                   offsetof(struct proxy_database, name), name);
    if (found != NULL || config->database_count == 0)
        return found;
    const struct proxy_database *last = &config->databases[config->database_count - 1];
    return strcmp(last->name, "*") == 0 ? last : NULL;
}

const struct proxy_role *proxy_role_get(const struct proxy_config *config, struct sv name)
{
    const struct proxy_role *found = find_entry(config->roles, config->role_count, sizeof *found,
                                                offsetof(struct proxy_role, name), name);
    return found != NULL ? found : &config->roles[config->role_count - 1];
}

void proxy_pool_of(const struct proxy_database *database, const struct proxy_role *role,
                   struct proxy_pool *out)
{
    *out = database->pool;
    if (role->pool_mode != PROXY_ROLE_AS_DATABASE)
        out->pool_mode = (enum proxy_pool_mode)(role->pool_mode - PROXY_ROLE_SESSION);
    if (role->pool_size > 0)
        out->pool_size = role->pool_size;
    if (out->min_pool_size > out->pool_size)
        out->min_pool_size = out->pool_size;
    out->query_timeout_ns = ns_min(out->query_timeout_ns, role->query_timeout_ns);
    out->transaction_timeout_ns = ns_min(out->transaction_timeout_ns, role->transaction_timeout_ns);
    out->idle_transaction_timeout_ns =
        ns_min(out->idle_transaction_timeout_ns, role->idle_transaction_timeout_ns);
    out->client_idle_timeout_ns = ns_min(out->client_idle_timeout_ns, role->client_idle_timeout_ns);
    if (role->query_log != 0)
        out->query_log = (enum proxy_query_log)(role->query_log - 1);
}

bool proxy_list_has(const char *list, struct sv name)
{
    struct sv rest = sv_from_cstr(list), item;
    while (sv_split(&rest, ',', &item)) {
        item = sv_trim(item);
        if (item.size > 0 && sv_eq(item, name))
            return true;
    }
    return false;
}

bool proxy_host_is_local(const struct proxy_host *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (host->is_unix || strcmp(host->name, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host->name, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host->name, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* ---- making ---- */

struct proxy_config *proxy_config_new(struct mem *mem, size_t databases, size_t roles)
{
    hf_assert(databases <= PROXY_DATABASES_MAX && roles <= PROXY_ROLES_MAX);
    struct proxy_config *config = mem_alloc(mem, sizeof *config);
    if (config == NULL)
        return NULL;
    config->mem = mem;
    config->databases = mem_alloc_array(mem, databases, sizeof config->databases[0]);
    config->roles = mem_alloc_array(mem, roles + 1, sizeof config->roles[0]);
    if (config->databases == NULL || config->roles == NULL) {
        proxy_config_free(config);
        return NULL;
    }
    for (size_t i = 0; i < proxy_section_count(); i++) {
        const struct proxy_section *section = proxy_section_at(i);
        if (section->kind == PROXY_SECTION_ONE)
            opt_defaults(&section->tables[0], (char *)config + section->offset);
    }
    return config;
}

enum hf_rc proxy_name_set(char out[PROXY_NAME_SIZE], struct sv name, struct hf_err *err)
{
    if (name.size == 0)
        return err_set(err, HF_RC_INVALID, "42602", "a name must not be empty");
    if (name.size >= PROXY_NAME_SIZE)
        return err_set(err, HF_RC_LIMIT, "42622", "the name has %zu bytes, at most %d are allowed",
                       name.size, PROXY_NAME_SIZE - 1);
    if (!sv_copy(name, out, PROXY_NAME_SIZE))
        return err_set(err, HF_RC_INVALID, "42602", "the name has a zero byte");
    return HF_OK;
}

enum hf_rc proxy_config_add_database(struct proxy_config *config, struct sv name,
                                     struct proxy_database **out, struct hf_err *err)
{
    struct proxy_database *database = &config->databases[config->database_count];
    const enum hf_rc rc = proxy_name_set(database->name, name, err);
    if (rc != HF_OK)
        return rc;
    opt_defaults(&proxy_section_find(SV("databases"))->tables[0], database);
    database->pool = config->pools;
    database->lookup = config->proxy.lookup;
    database->sslmode = config->server_tls.sslmode;
    database->clients_max = config->limits.clients_per_database_max;
    database->server_connections_max = config->limits.server_connections_per_database_max;
    config->database_count++;
    *out = database;
    return HF_OK;
}

enum hf_rc proxy_config_add_role(struct proxy_config *config, struct sv name,
                                 struct proxy_role **out, struct hf_err *err)
{
    struct proxy_role *role = &config->roles[config->role_count];
    const enum hf_rc rc = proxy_name_set(role->name, name, err);
    if (rc != HF_OK)
        return rc;
    opt_defaults(&proxy_section_find(SV("roles"))->tables[0], role);
    role->clients_max = config->limits.clients_per_role_max;
    role->server_connections_max = config->limits.server_connections_per_role_max;
    config->role_count++;
    *out = role;
    return HF_OK;
}

enum hf_rc proxy_config_add_group(struct proxy_config *config, struct sv name, struct group **out,
                                  struct hf_err *err)
{
    if (config->groups == NULL)
        config->groups = mem_alloc_array(config->mem, GROUPS_MAX, sizeof config->groups[0]);
    if (config->groups == NULL)
        return mem_refused(config->mem, GROUPS_MAX * sizeof config->groups[0], err);
    if (config->group_count == GROUPS_MAX) {
        err_set(err, HF_RC_LIMIT, "54000", "there are more than %d groups", GROUPS_MAX);
        return err_hint(err, "One group with per: role limits each role for itself.");
    }
    struct group *group = &config->groups[config->group_count];
    const enum hf_rc rc = proxy_name_set(group->name, name, err);
    if (rc != HF_OK)
        return rc;
    opt_defaults(&proxy_section_find(SV("groups"))->tables[0], group);
    config->group_count++;
    *out = group;
    return HF_OK;
}

/* ---- lists of hosts ---- */

static enum hf_rc parse_port(struct sv text, uint16_t *out, struct hf_err *err)
{
    int64_t port = 0;
    if (sv_to_int(text, 1, UINT16_MAX, &port) != SV_NUMBER_OK)
        return err_set(err, HF_RC_INVALID, "22023", "\"" SV_FMT "\" is no port", SV_ARG(text));
    *out = (uint16_t)port;
    return HF_OK;
}

/* NAME, NAME:PORT, [IPV6], [IPV6]:PORT, IPV6, /FOLDER, /FOLDER:PORT. */
enum hf_rc proxy_host_parse(struct sv text, uint16_t port, struct proxy_host *out,
                            struct hf_err *err)
{
    struct sv name = text, rest = {0};
    *out = (struct proxy_host){.port = port};
    out->is_unix = sv_starts_with(text, SV("/")) || sv_starts_with(text, SV("@"));
    if (sv_starts_with(text, SV("["))) {
        const size_t end = sv_find(text, ']');
        if (end == text.size)
            return err_set(err, HF_RC_INVALID, "22023", "\"" SV_FMT "\" has no ]", SV_ARG(text));
        name = sv_from(text.data + 1, end - 1);
        rest = sv_drop(text, end + 1);
        if (rest.size > 0 && rest.data[0] != ':')
            return err_set(err, HF_RC_INVALID, "22023",
                           "\"" SV_FMT "\" has something other than a port behind ]", SV_ARG(text));
    } else {
        const size_t colon = sv_find(text, ':');
        const bool is_v6 =
            colon < text.size && sv_find(sv_drop(text, colon + 1), ':') < text.size - colon - 1;
        if (!is_v6) {
            name = sv_take(text, colon);
            rest = sv_drop(text, colon);
        }
    }
    if (name.size == 0 || name.size >= sizeof out->name || sv_find(name, ' ') < name.size)
        return err_set(err, HF_RC_INVALID, "22023", "\"" SV_FMT "\" is no host", SV_ARG(text));
    if (out->is_unix && name.size > SOCKET_DIR_MAX)
        return err_set(err, HF_RC_LIMIT, "22023",
                       "\"" SV_FMT "\" is too long for the folder of a unix socket", SV_ARG(name));
    const bool fits = sv_copy(name, out->name, sizeof out->name);
    hf_assert(fits);
    return rest.size > 0 ? parse_port(sv_drop(rest, 1), &out->port, err) : HF_OK;
}

static enum hf_rc parse_hosts(const char *text, uint16_t port, struct proxy_host *hosts,
                              uint32_t hosts_max, uint32_t *count, struct hf_err *err)
{
    struct sv rest = sv_trim(sv_from_cstr(text)), item;
    *count = 0;
    if (rest.size == 0)
        return HF_OK;
    while (sv_split(&rest, ',', &item)) {
        if (*count == hosts_max)
            return err_set(err, HF_RC_LIMIT, "54000", "there are more than %u",
                           (unsigned)hosts_max);
        const enum hf_rc rc = proxy_host_parse(sv_trim(item), port, &hosts[*count], err);
        if (rc != HF_OK)
            return rc;
        ++*count;
    }
    return HF_OK;
}

/* ---- what only together can be wrong ---- */

enum hf_rc proxy_fault_set(struct proxy_fault *fault, const char *section, const char *entry,
                           const char *key, const struct hf_err *err)
{
    *fault = (struct proxy_fault){.section = section, .key = key};
    const bool fits = sv_copy(sv_from_cstr(entry), fault->entry, sizeof fault->entry);
    hf_assert(fits);
    return err->rc;
}

static enum hf_rc finish_mode(struct proxy_settings *proxy, struct hf_err *err)
{
    uint32_t mode = 0;
    const char *text = proxy->unix_socket_mode_text;
    const size_t size = strlen(text);
    for (size_t i = 0; i < size && text[i] >= '0' && text[i] <= '7'; i++)
        mode = mode * 8 + (uint32_t)(text[i] - '0');
    if (size < 3 || size > 4 || strspn(text, "01234567") != size || mode > 0777) {
        err_set(err, HF_RC_INVALID, "22023", "\"%s\" is no mode", text);
        return err_hint(err, "Write permissions in octal, such as 0770.");
    }
    proxy->unix_socket_mode = mode;
    return HF_OK;
}

static enum hf_rc finish_listeners(struct proxy_config *config, struct proxy_fault *fault,
                                   struct hf_err *err)
{
    struct proxy_settings *proxy = &config->proxy;
    const uint16_t port = (uint16_t)proxy->port;
    if (parse_hosts(proxy->listen_text, port, proxy->listeners, PROXY_LISTENERS_MAX - 1,
                    &proxy->listener_count, err) != HF_OK)
        return proxy_fault_set(fault, "proxy", "", "listen", err);
    for (uint32_t i = 0; i < proxy->listener_count; i++) {
        if (!proxy->listeners[i].is_unix)
            continue;
        err_set(err, HF_RC_INVALID, "22023", "\"%s\" is a folder", proxy->listeners[i].name);
        err_hint(err, "A unix socket's folder belongs into unix_socket_dir.");
        return proxy_fault_set(fault, "proxy", "", "listen", err);
    }
    if (finish_mode(proxy, err) != HF_OK)
        return proxy_fault_set(fault, "proxy", "", "unix_socket_mode", err);
    if (proxy->unix_socket_dir[0] != '\0') {
        struct proxy_host *host = &proxy->listeners[proxy->listener_count++];
        *host = (struct proxy_host){.port = port, .is_unix = true};
        const struct sv dir = sv_from_cstr(proxy->unix_socket_dir);
        if ((dir.data[0] != '/' && dir.data[0] != '@') || dir.size > SOCKET_DIR_MAX) {
            err_set(err, HF_RC_INVALID, "22023", "\"" SV_FMT "\" cannot be the folder of a socket",
                    SV_ARG(dir));
            err_hint(err, "It begins with / and has at most %zu bytes.", SOCKET_DIR_MAX);
            return proxy_fault_set(fault, "proxy", "", "unix_socket_dir", err);
        }
        const bool fits = sv_copy(dir, host->name, sizeof host->name);
        hf_assert(fits);
    }
    if (proxy_places_finish(config, fault, err) != HF_OK)
        return err->rc;
    if (proxy->listener_count > 0)
        return HF_OK;
    err_set(err, HF_RC_INVALID, "22023", "there is nothing to listen on");
    err_hint(err, "Give an address to listen, or a folder to unix_socket_dir.");
    return proxy_fault_set(fault, "proxy", "", "listen", err);
}

static enum hf_rc finish_auth(struct proxy_config *config, struct proxy_fault *fault,
                              struct hf_err *err)
{
    const struct proxy_settings *proxy = &config->proxy;
    if (proxy->auth_hba_file[0] != '\0')
        return HF_OK;
    for (uint32_t i = 0; i < proxy->listener_count && proxy->auth_type == PROXY_AUTH_TRUST; i++) {
        bool is_gone;
        const struct proxy_listener *place = proxy_listener_of(config, i, &is_gone);
        if (proxy_host_is_local(&proxy->listeners[i]) || (place != NULL && place->auth != 0))
            continue;
        err_set(err, HF_RC_INVALID, "22023", "trust would let in whoever reaches \"%s\"",
                proxy->listeners[i].name);
        err_hint(err, "Listen on 127.0.0.1, or say in an auth_hba_file whom you trust.");
        return proxy_fault_set(fault, "proxy", "", "auth_type", err);
    }
    if (proxy->auth_type == PROXY_AUTH_PEER && proxy->unix_socket_dir[0] == '\0') {
        err_set(err, HF_RC_INVALID, "22023", "peer is for unix sockets, and there is none");
        err_hint(err, "Set unix_socket_dir.");
        return proxy_fault_set(fault, "proxy", "", "auth_type", err);
    }
    if (proxy->auth_type == PROXY_AUTH_CERT && config->client_tls.sslmode < PROXY_SSL_VERIFY_CA) {
        err_set(err, HF_RC_INVALID, "22023", "cert needs clients that show a certificate");
        err_hint(err, "Set proxy.client_tls.sslmode to verify-full.");
        return proxy_fault_set(fault, "proxy", "", "auth_type", err);
    }
    return HF_OK;
}

static enum hf_rc finish_tls(const struct proxy_tls *tls, bool is_client, struct proxy_fault *fault,
                             struct hf_err *err)
{
    const char *section = is_client ? "proxy.client_tls" : "proxy.server_tls";
    const bool has_cert = tls->cert_file[0] != '\0', has_key = tls->key_file[0] != '\0';
    if (has_cert != has_key) {
        err_set(err, HF_RC_INVALID, "22023", "there is a %s and no %s",
                has_cert ? "certificate" : "key", has_cert ? "key" : "certificate");
        return proxy_fault_set(fault, section, "", has_cert ? "key_file" : "cert_file", err);
    }
    if (!is_client || tls->sslmode == PROXY_SSL_DISABLE)
        return HF_OK;
    if (!has_cert) {
        err_set(err, HF_RC_INVALID, "22023", "TLS needs a certificate of the proxy");
        err_hint(err, "Set cert_file and key_file, or sslmode to disable.");
        return proxy_fault_set(fault, section, "", "cert_file", err);
    }
    if (tls->sslmode >= PROXY_SSL_VERIFY_CA && tls->ca_file[0] == '\0') {
        err_set(err, HF_RC_INVALID, "22023", "certificates of clients need an authority");
        err_hint(err, "Set ca_file to the certificate of who signs those of your clients.");
        return proxy_fault_set(fault, section, "", "ca_file", err);
    }
    return HF_OK;
}

static enum hf_rc finish_pool(const struct proxy_pool *pool, const char *section, const char *entry,
                              struct proxy_fault *fault, struct hf_err *err)
{
    if (pool->min_pool_size <= pool->pool_size)
        return HF_OK;
    err_set(err, HF_RC_INVALID, "22023", "it is more than pool_size, which is %lld",
            (long long)pool->pool_size);
    return proxy_fault_set(fault, section, entry, "min_pool_size", err);
}

static enum hf_rc finish_password(const struct proxy_database *database, struct proxy_fault *fault,
                                  struct hf_err *err)
{
    if (!secret_is_set(&database->password))
        return HF_OK;
    if (database->user[0] == '\0') {
        err_set(err, HF_RC_INVALID, "22023", "a password needs the user it is for");
        err_hint(err, "Set user, or give passwords of clients in auth_file or roles.");
        return proxy_fault_set(fault, "databases", database->name, "password", err);
    }
    if (password_kind(secret_reveal(&database->password)) != PASSWORD_SCRAM)
        return HF_OK;
    err_set(err, HF_RC_INVALID, "22023", "nobody can log in to a server with a SCRAM verifier");
    err_hint(err, "Give the password itself.");
    return proxy_fault_set(fault, "databases", database->name, "password", err);
}

static enum hf_rc finish_database(struct proxy_database *database, struct proxy_fault *fault,
                                  struct hf_err *err)
{
    const char *name = database->name;
    if (strcmp(name, PROXY_CONSOLE) == 0 || strcmp(name, PROXY_CONSOLE_PGBOUNCER) == 0) {
        err_set(err, HF_RC_INVALID, "42939", "this name belongs to the admin console");
        err_hint(err, "Use another name here, and dbname: %s.", name);
        return proxy_fault_set(fault, "databases", name, NULL, err);
    }
    if (parse_hosts(database->hosts_text, SERVER_PORT, database->hosts, PROXY_HOSTS_MAX,
                    &database->host_count, err) != HF_OK)
        return proxy_fault_set(fault, "databases", name, "hosts", err);
    if (database->host_count == 0) {
        err_set(err, HF_RC_INVALID, "22023", "the database has no servers");
        err_hint(err, "Give it hosts: db1:5432.");
        return proxy_fault_set(fault, "databases", name, "hosts", err);
    }
    if (finish_password(database, fault, err) != HF_OK)
        return err->rc;
    return finish_pool(&database->pool, "databases", name, fault, err);
}

static int order_databases(const void *a, const void *b)
{
    return compare_names(((const struct proxy_database *)a)->name,
                         ((const struct proxy_database *)b)->name);
}

static int order_roles(const void *a, const void *b)
{
    return compare_names(((const struct proxy_role *)a)->name,
                         ((const struct proxy_role *)b)->name);
}

static enum hf_rc finish_databases(struct proxy_config *config, struct proxy_fault *fault,
                                   struct hf_err *err)
{
    if (config->database_count == 0) {
        err_set(err, HF_RC_INVALID, "22023", "there is no database");
        err_hint(err, "Name one, or * for all: databases: {\"*\": {hosts: db1:5432}}.");
        return proxy_fault_set(fault, "databases", "", NULL, err);
    }
    qsort(config->databases, config->database_count, sizeof config->databases[0], order_databases);
    for (uint32_t i = 0; i < config->database_count; i++) {
        struct proxy_database *database = &config->databases[i];
        hf_assert(i == 0 || strcmp(database[-1].name, database->name) != 0);
        if (finish_database(database, fault, err) != HF_OK)
            return err->rc;
    }
    return HF_OK;
}

static enum hf_rc finish_roles(struct proxy_config *config, struct proxy_fault *fault,
                               struct hf_err *err)
{
    qsort(config->roles, config->role_count, sizeof config->roles[0], order_roles);
    for (uint32_t i = 1; i < config->role_count; i++)
        hf_assert(strcmp(config->roles[i - 1].name, config->roles[i].name) != 0);
    const struct proxy_role *last =
        config->role_count > 0 ? &config->roles[config->role_count - 1] : NULL;
    if (last == NULL || strcmp(last->name, "*") != 0) {
        struct proxy_role *any = NULL;
        return proxy_config_add_role(config, SV("*"), &any, err);
    }
    if (!secret_is_set(&last->password))
        return HF_OK;
    err_set(err, HF_RC_INVALID, "22023", "a password belongs to one role, not to all of them");
    return proxy_fault_set(fault, "roles", "*", "password", err);
}

static int order_groups(const void *a, const void *b)
{
    return compare_names(((const struct group *)a)->name, ((const struct group *)b)->name);
}

static enum hf_rc finish_groups(struct proxy_config *config, struct proxy_fault *fault,
                                struct hf_err *err)
{
    const char *key;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < config->group_count; i++) {
        if (group_finish(&config->groups[i], &key, err) != HF_OK)
            return proxy_fault_set(fault, "groups", config->groups[i].name, key, err);
        if (group_limits(&config->groups[i])) /* others would only be looked at */
            config->groups[kept++] = config->groups[i];
    }
    config->group_count = kept;
    if (kept > 0)
        qsort(config->groups, kept, sizeof config->groups[0], order_groups);
    return HF_OK;
}

enum hf_rc proxy_config_finish(struct proxy_config *config, struct proxy_fault *fault,
                               struct hf_err *err)
{
    enum hf_rc rc = finish_listeners(config, fault, err);
    if (rc == HF_OK)
        rc = finish_auth(config, fault, err);
    if (rc == HF_OK)
        rc = finish_tls(&config->client_tls, true, fault, err);
    if (rc == HF_OK)
        rc = finish_tls(&config->server_tls, false, fault, err);
    if (rc == HF_OK)
        rc = finish_pool(&config->pools, "pools", "", fault, err);
    if (rc == HF_OK)
        rc = finish_databases(config, fault, err);
    if (rc == HF_OK)
        rc = finish_roles(config, fault, err);
    if (rc == HF_OK)
        rc = finish_groups(config, fault, err);
    return rc;
}

void proxy_config_keep(struct proxy_config *config, const struct proxy_config *before)
{
    for (size_t i = 0; i < proxy_section_count(); i++) {
        const struct proxy_section *section = proxy_section_at(i);
        const struct opt_table *table = &section->tables[0];
        for (size_t j = 0; section->kind == PROXY_SECTION_ONE && j < table->count; j++) {
            const struct opt_row *row = &table->rows[j];
            if (!row->is_reloadable)
                memcpy((char *)config + section->offset + row->offset,
                       (const char *)before + section->offset + row->offset, row->size);
        }
    }
    /* What was made of them. */
    memcpy(config->proxy.listeners, before->proxy.listeners, sizeof config->proxy.listeners);
    memcpy(config->proxy.places, before->proxy.places, sizeof config->proxy.places);
    config->proxy.listener_count = before->proxy.listener_count;
    config->proxy.unix_socket_mode = before->proxy.unix_socket_mode;
}

/* The array in memory of its own, with as much room; NULL stays NULL. False: no memory. */
static bool copy_array(struct mem *mem, void *array, size_t count, size_t size)
{
    void *from, *copy;
    memcpy(&from, array, sizeof from);
    if (from == NULL)
        return true;
    copy = mem_alloc_array(mem, count + 1, size);
    if (copy != NULL)
        memcpy(copy, from, count * size);
    memcpy(array, &copy, sizeof copy);
    return copy != NULL;
}

struct proxy_config *proxy_config_copy(const struct proxy_config *from)
{
    struct mem *mem = from->mem;
    struct proxy_config *copy = mem_alloc(mem, sizeof *copy);
    if (copy == NULL)
        return NULL;
    *copy = *from;
    /* All of them, before anything is given up: what is not copied must not be freed twice. */
    bool is_good = copy_array(mem, &copy->databases, copy->database_count, sizeof *copy->databases);
    is_good &= copy_array(mem, &copy->roles, copy->role_count, sizeof *copy->roles);
    is_good &= copy_array(mem, &copy->groups, copy->group_count, sizeof *copy->groups);
    is_good &= copy_array(mem, &copy->places, copy->place_count, sizeof *copy->places);
    is_good &= copy_array(mem, &copy->peers, copy->peer_count, sizeof *copy->peers);
    if (is_good)
        return copy;
    if (copy->databases == NULL)
        copy->database_count = 0;
    if (copy->roles == NULL)
        copy->role_count = 0;
    proxy_config_free(copy);
    return NULL;
}

void proxy_config_free(struct proxy_config *config)
{
    if (config == NULL)
        return;
    secret_wipe(&config->proxy.lookup_password);
    for (uint32_t i = 0; i < config->database_count; i++)
        secret_wipe(&config->databases[i].password);
    for (uint32_t i = 0; i < config->role_count; i++)
        secret_wipe(&config->roles[i].password);
    mem_free(config->mem, config->databases);
    mem_free(config->mem, config->roles);
    mem_free(config->mem, config->groups);
    mem_free(config->mem, config->places);
    mem_free(config->mem, config->peers);
    mem_free(config->mem, config);
}
