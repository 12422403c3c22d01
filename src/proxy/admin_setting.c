#include "proxy/admin_setting.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/ns.h"

/* Names that PgBouncer has for what has another one here. Those that are the same are found by the
 * key alone, and stand here to be shown as PgBouncer shows them. */
static const struct alias {
    const char *name;
    const char *section;
    const char *key;
} aliases[] = {
    {"admin_users", "proxy", "admin_users"},
    {"auth_file", "proxy", "auth_file"},
    {"auth_hba_file", "proxy", "auth_hba_file"},
    {"auth_type", "proxy", "auth_type"},
    {"cancel_wait_timeout", "limits", "cancel_wait_timeout"},
    {"client_idle_timeout", "pools", "client_idle_timeout"},
    {"client_login_timeout", "limits", "client_login_timeout"},
    {"client_tls_ca_file", "proxy.client_tls", "ca_file"},
    {"client_tls_cert_file", "proxy.client_tls", "cert_file"},
    {"client_tls_ciphers", "proxy.client_tls", "ciphers"},
    {"client_tls_key_file", "proxy.client_tls", "key_file"},
    {"client_tls_sslmode", "proxy.client_tls", "sslmode"},
    {"default_pool_size", "pools", "pool_size"},
    {"idle_transaction_timeout", "pools", "idle_transaction_timeout"},
    {"listen_addr", "proxy", "listen"},
    {"listen_port", "proxy", "port"},
    {"log_connections", "proxy", "log_connections"},
    {"log_disconnections", "proxy", "log_disconnections"},
    {"max_client_conn", "limits", "clients_max"},
    {"max_db_client_connections", "limits", "clients_per_database_max"},
    {"max_db_connections", "limits", "server_connections_per_database_max"},
    {"max_prepared_statements", "pools", "max_prepared_statements"},
    {"max_user_client_connections", "limits", "clients_per_role_max"},
    {"max_user_connections", "limits", "server_connections_per_role_max"},
    {"min_pool_size", "pools", "min_pool_size"},
    {"pool_mode", "pools", "pool_mode"},
    {"query_timeout", "pools", "query_timeout"},
    {"query_wait_timeout", "pools", "query_wait_timeout"},
    {"reserve_pool_size", "pools", "reserve_pool_size"},
    {"reserve_pool_timeout", "pools", "reserve_pool_timeout"},
    {"server_connect_timeout", "pools", "server_connect_timeout"},
    {"server_idle_timeout", "pools", "server_idle_timeout"},
    {"server_lifetime", "pools", "server_lifetime"},
    {"server_login_retry", "pools", "server_login_retry"},
    {"server_reset_query", "pools", "server_reset_query"},
    {"server_tls_ca_file", "proxy.server_tls", "ca_file"},
    {"server_tls_cert_file", "proxy.server_tls", "cert_file"},
    {"server_tls_ciphers", "proxy.server_tls", "ciphers"},
    {"server_tls_key_file", "proxy.server_tls", "key_file"},
    {"server_tls_sslmode", "proxy.server_tls", "sslmode"},
    {"stats_users", "proxy", "stats_users"},
    {"transaction_timeout", "pools", "transaction_timeout"},
    {"unix_socket_dir", "proxy", "unix_socket_dir"},
    {"unix_socket_mode", "proxy", "unix_socket_mode"},
};

#define ALIASES (sizeof aliases / sizeof aliases[0])

/* ---- finding ---- */

static bool find_in(const struct proxy_section *section, struct sv key, struct admin_setting *out)
{
    if (section == NULL || section->kind != PROXY_SECTION_ONE)
        return false;
    *out = (struct admin_setting){section, NULL};
    for (size_t i = 0; i < 2 && out->row == NULL; i++) {
        for (size_t r = 0; r < section->tables[i].count && out->row == NULL; r++) {
            const struct opt_row *row = &section->tables[i].rows[r];
            if (sv_eq_nocase(sv_from_cstr(row->key), key))
                out->row = row;
        }
    }
    return out->row != NULL;
}

bool admin_setting_alias(size_t index, const char **name, struct admin_setting *out)
{
    if (index >= ALIASES)
        return false;
    *name = aliases[index].name;
    bool is_there = find_in(proxy_section_find(sv_from_cstr(aliases[index].section)),
                            sv_from_cstr(aliases[index].key), out);
    hf_assert(is_there);
    return true;
}

/* "pools.pool_size", "proxy.client_tls.sslmode". */
static bool find_by_path(struct sv name, struct admin_setting *out)
{
    for (size_t i = 0; i < proxy_section_count(); i++) {
        const struct proxy_section *section = proxy_section_at(i);
        struct sv path = sv_from_cstr(section->path);
        if (name.size > path.size && name.data[path.size] == '.' &&
            sv_eq_nocase(sv_take(name, path.size), path) &&
            find_in(section, sv_drop(name, path.size + 1), out))
            return true;
    }
    return false;
}

bool admin_setting_find(struct sv name, struct admin_setting *out, struct hf_err *err)
{
    const char *alias;
    if (find_by_path(name, out))
        return true;
    for (size_t i = 0; i < ALIASES; i++) {
        if (sv_eq_nocase(sv_from_cstr(aliases[i].name), name))
            return admin_setting_alias(i, &alias, out);
    }
    for (size_t i = 0; i < proxy_section_count(); i++) {
        if (find_in(proxy_section_at(i), name, out))
            return true;
    }
    err_set(err, HF_RC_INVALID, "42704", "unknown setting \"" SV_FMT "\"", SV_ARG(name));
    err_hint(err, "SHOW CONFIG lists the settings.");
    return false;
}

/* ---- printing ---- */

void admin_setting_print(const struct admin_setting *setting, const struct proxy_config *config,
                         char *out, size_t size)
{
    const struct opt_row *row = setting->row;
    const char *field = (const char *)config + setting->section->offset + row->offset;
    struct buffer text;
    if (row->type == OPT_DURATION) {
        int64_t value = *(const int64_t *)(const void *)field;
        snprintf(out, size, "%lld", value == HF_NEVER ? 0 : (long long)(value / HF_SEC(1)));
        return;
    }
    if (row->type == OPT_BOOL) {
        snprintf(out, size, "%d", *(const bool *)(const void *)field);
        return;
    }
    buffer_init(&text, out, size - 1);
    opt_print(row, (const char *)config + setting->section->offset, &text);
    out[text.end] = '\0';
}

/* ---- changing ---- */

/* A field in each entry that is a copy of what is changed. */
struct follower {
    size_t offset; /* in the database or the role */
    bool is_role;
    bool is_there;
};

/* Databases begin as copies of `pools`, and of some limits; so do roles. */
static struct follower follower_of(const struct admin_setting *setting)
{
    static const struct {
        size_t from, to;
        bool is_role;
    } limits[] = {
        {offsetof(struct proxy_limits, clients_per_database_max),
         offsetof(struct proxy_database, clients_max), false},
        {offsetof(struct proxy_limits, server_connections_per_database_max),
         offsetof(struct proxy_database, server_connections_max), false},
        {offsetof(struct proxy_limits, clients_per_role_max),
         offsetof(struct proxy_role, clients_max), true},
        {offsetof(struct proxy_limits, server_connections_per_role_max),
         offsetof(struct proxy_role, server_connections_max), true},
    };
    const char *path = setting->section->path;
    const struct opt_row *row = setting->row;
    if (strcmp(path, "pools") == 0)
        return (struct follower){offsetof(struct proxy_database, pool) + row->offset, false, true};
    if (strcmp(path, "proxy.server_tls") == 0 && strcmp(row->key, "sslmode") == 0)
        return (struct follower){offsetof(struct proxy_database, sslmode), false, true};
    for (size_t i = 0; strcmp(path, "limits") == 0 && i < sizeof limits / sizeof limits[0]; i++) {
        if (limits[i].from == row->offset)
            return (struct follower){limits[i].to, limits[i].is_role, true};
    }
    return (struct follower){0};
}

static void follow(struct proxy_config *config, const struct proxy_config *before,
                   const struct admin_setting *setting)
{
    struct follower follower = follower_of(setting);
    size_t at = setting->section->offset + setting->row->offset, size = setting->row->size;
    const char *was = (const char *)before + at, *is = (const char *)config + at;
    uint32_t count = follower.is_role ? config->role_count : config->database_count;
    for (uint32_t i = 0; follower.is_there && i < count; i++) {
        char *entry = follower.is_role ? (char *)&config->roles[i] : (char *)&config->databases[i];
        if (memcmp(entry + follower.offset, was, size) == 0)
            memcpy(entry + follower.offset, is, size);
    }
}

/* PgBouncer's times are seconds, and 0 is none; so is a number alone here. */
static struct sv with_unit(const struct opt_row *row, struct sv value, char out[40])
{
    int64_t seconds;
    if (row->type != OPT_DURATION || sv_to_int(value, 0, INT32_MAX, &seconds) != SV_NUMBER_OK)
        return value;
    if (seconds == 0 && row->max == HF_NEVER && row->min > 0)
        return SV("never");
    snprintf(out, 40, "%llds", (long long)seconds);
    return sv_from_cstr(out);
}

struct proxy_config *admin_setting_change(const struct proxy_config *config,
                                          const struct admin_setting *setting, struct sv value,
                                          struct hf_err *err)
{
    char text[40];
    struct proxy_fault fault;
    const struct opt_row *row = setting->row;
    if (!row->is_reloadable) {
        err_set(err, HF_RC_INVALID, "55P02", "setting \"%s.%s\" cannot be changed now",
                setting->section->path, row->key);
        err_hint(err, "Change it in the configuration file and restart the proxy.");
        return NULL;
    }
    struct proxy_config *copy = proxy_config_copy(config);
    if (copy == NULL) {
        err_set(err, HF_RC_LIMIT, "53200", "out of memory");
        return NULL;
    }
    enum hf_rc rc =
        opt_set_row(row, (char *)copy + setting->section->offset, with_unit(row, value, text), err);
    if (rc == HF_OK) {
        follow(copy, config, setting);
        rc = proxy_config_finish(copy, &fault, err);
    }
    if (rc == HF_OK)
        return copy;
    proxy_config_free(copy);
    return NULL;
}
