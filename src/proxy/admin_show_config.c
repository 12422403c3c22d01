/* SHOW CONFIG, DATABASES, USERS: what the proxy was told, and what there is of it. */
#include "proxy/admin_show.h"

#include <stdio.h>
#include <string.h>

#include "proxy/access.h"
#include "proxy/admin_setting.h"
#include "proxy/gate.h"
#include "proxy/pool.h"
#include "proxy/users.h"
#include "proxy/worker.h"

/* ---- SHOW CONFIG ---- */

static const struct admin_column config_columns[] = {
    {"key", ADMIN_TEXT}, {"value", ADMIN_TEXT}, {"default", ADMIN_TEXT}, {"changeable", ADMIN_TEXT},
    {NULL, 0},
};

static void show_setting(struct gather *gather, struct worker *worker, const char *key,
                         const char *value, const struct opt_row *row)
{
    struct cells cells;
    cells_begin(&cells);
    cell_text(&cells, key);
    cell_text(&cells, value);
    cell_text(&cells, row->default_text);
    cell_text(&cells, row->is_reloadable ? "yes" : "no");
    gather_add(gather, worker, &cells);
}

static void show_table(struct gather *gather, struct worker *worker,
                       const struct proxy_section *section, const struct opt_table *table)
{
    const char *base = (const char *)worker->config + section->offset;
    for (size_t i = 0; i < table->count; i++) {
        const struct opt_row *row = &table->rows[i];
        char key[128], text[PROXY_LIST_SIZE] = "";
        struct buffer value;
        buffer_init(&value, text, sizeof text - 1);
        opt_print(row, base, &value);
        text[value.end] = '\0';
        snprintf(key, sizeof key, "%s.%s", section->path, row->key);
        show_setting(gather, worker, key, text + value.start, row);
    }
}

/* Ours by their full names, then PgBouncer's names for them. */
static bool finish_config(struct gather *gather, struct worker *worker)
{
    struct admin_setting setting;
    const char *name;
    for (size_t i = 0; i < proxy_section_count(); i++) {
        const struct proxy_section *section = proxy_section_at(i);
        for (size_t t = 0; section->kind == PROXY_SECTION_ONE && t < 2; t++)
            show_table(gather, worker, section, &section->tables[t]);
    }
    for (size_t i = 0; admin_setting_alias(i, &name, &setting); i++) {
        char value[PROXY_LIST_SIZE];
        admin_setting_print(&setting, worker->config, value, sizeof value);
        show_setting(gather, worker, name, value, setting.row);
    }
    return true;
}

/* ---- SHOW DATABASES ---- */

static const struct admin_column databases_columns[] = {
    {"name", ADMIN_TEXT},
    {"host", ADMIN_TEXT},
    {"port", ADMIN_INT4},
    {"database", ADMIN_TEXT},
    {"force_user", ADMIN_TEXT},
    {"pool_size", ADMIN_INT4},
    {"min_pool_size", ADMIN_INT4},
    {"reserve_pool_size", ADMIN_INT4},
    {"server_lifetime", ADMIN_INT4},
    {"pool_mode", ADMIN_TEXT},
    {"load_balance_hosts", ADMIN_TEXT},
    {"max_connections", ADMIN_INT4},
    {"current_connections", ADMIN_INT4},
    {"max_client_connections", ADMIN_INT4},
    {"current_client_connections", ADMIN_INT4},
    {"paused", ADMIN_INT4},
    {"disabled", ADMIN_INT4},
    {"hosts", ADMIN_TEXT},
    /* As PgBouncer called reserve_pool_size up to 1.23. */
    {"reserve_pool", ADMIN_INT4},
    {NULL, 0},
};

/* What there is of a database now; looked up under the lock. */
struct database_now {
    uint32_t servers, clients, gates;
};

static struct database_now look_at(struct proxy *proxy, struct sv name)
{
    struct database_now now = {0};
    pthread_mutex_lock(&proxy->lock);
    for (const struct pool *pool = proxy->pools; pool != NULL; pool = pool->next) {
        if (sv_eq(sv_from_cstr(pool->name), name))
            now.servers += pool->server_count;
    }
    now.gates = gates_find(&proxy->gates, name);
    pthread_mutex_unlock(&proxy->lock);
    now.clients = proxy_tally_count(proxy, PROXY_TALLY_DATABASE, name);
    return now;
}

/* PgBouncer has one host there, or a list of them with commas. */
static const char *host_names(const struct proxy_database *database, char out[PROXY_LIST_SIZE])
{
    size_t size = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < database->host_count && size < PROXY_LIST_SIZE; i++)
        size += (size_t)snprintf(out + size, PROXY_LIST_SIZE - size, "%s%s", i > 0 ? "," : "",
                                 database->hosts[i].name);
    return out;
}

static void show_database(struct gather *gather, struct worker *worker, const char *name,
                          const struct proxy_database *database)
{
    struct cells cells;
    char hosts[PROXY_LIST_SIZE];
    struct database_now now = look_at(worker->proxy, sv_from_cstr(name));
    const struct proxy_pool *pool = &database->pool;
    int64_t lifetime_ns = pool->server_lifetime_ns == HF_NEVER ? 0 : pool->server_lifetime_ns;
    bool is_balanced = database->load_balance_hosts == PROXY_BALANCE_ROUND_ROBIN;
    cells_begin(&cells);
    cell_text(&cells, name);
    cell_text(&cells, host_names(database, hosts));
    cell_number(&cells, database->hosts[0].port);
    cell_text(&cells, database->dbname[0] != '\0' ? database->dbname : name);
    cell_text(&cells, database->user[0] != '\0' ? database->user : NULL);
    cell_number(&cells, pool->pool_size);
    cell_number(&cells, pool->min_pool_size);
    cell_number(&cells, pool->reserve_pool_size);
    cell_number(&cells, lifetime_ns / HF_SEC(1));
    cell_text(&cells, pool_mode_name(pool->pool_mode));
    cell_text(&cells, database->host_count < 2 ? NULL : is_balanced ? "round-robin" : "disable");
    cell_number(&cells, database->server_connections_max);
    cell_number(&cells, now.servers);
    cell_number(&cells, database->clients_max);
    cell_number(&cells, now.clients);
    cell_number(&cells, (now.gates & GATE_PAUSED) != 0);
    cell_number(&cells, (now.gates & GATE_DISABLED) != 0);
    cell_text(&cells, database->hosts_text);
    cell_number(&cells, pool->reserve_pool_size);
    gather_add(gather, worker, &cells);
}

/* The next pool, by number, that is the first one of a database without an entry of its own: such
 * databases come in by the entry "*". The name is copied, as the lock is given back. */
static bool next_guest(struct worker *worker, uint64_t *number, char out[PROXY_NAME_SIZE])
{
    struct proxy *proxy = worker->proxy;
    const struct pool *found = NULL;
    pthread_mutex_lock(&proxy->lock);
    for (const struct pool *pool = proxy->pools; pool != NULL; pool = pool->next) {
        const struct proxy_database *database =
            proxy_database_find(worker->config, sv_from_cstr(pool->name));
        bool is_guest = database != NULL && strcmp(database->name, "*") == 0;
        if (is_guest && pool->number >= *number && !pool->is_namesake &&
            (found == NULL || pool->number < found->number))
            found = pool;
    }
    if (found != NULL) {
        sv_copy(sv_from_cstr(found->name), out, PROXY_NAME_SIZE);
        *number = found->number + 1;
    }
    pthread_mutex_unlock(&proxy->lock);
    return found != NULL;
}

/* The cursor: entries of the configuration first, then, behind the most that there can be, the
 * numbers of pools. */
static bool finish_databases(struct gather *gather, struct worker *worker)
{
    const struct proxy_config *config = worker->config;
    char name[PROXY_NAME_SIZE];
    for (; gather->cursor < config->database_count; gather->cursor++) {
        if (gather_is_full(gather))
            return false;
        const struct proxy_database *database = &config->databases[gather->cursor];
        show_database(gather, worker, database->name, database);
    }
    uint64_t number =
        gather->cursor < PROXY_DATABASES_MAX ? 0 : gather->cursor - PROXY_DATABASES_MAX;
    while (!gather_is_full(gather)) {
        if (!next_guest(worker, &number, name))
            return true;
        const struct proxy_database *database = proxy_database_find(config, sv_from_cstr(name));
        if (database != NULL)
            show_database(gather, worker, name, database);
        gather->cursor = PROXY_DATABASES_MAX + number;
    }
    return false;
}

/* ---- SHOW USERS ---- */

static const struct admin_column users_columns[] = {
    {"name", ADMIN_TEXT},
    {"pool_size", ADMIN_TEXT},
    {"reserve_pool_size", ADMIN_TEXT},
    {"pool_mode", ADMIN_TEXT},
    {"max_user_connections", ADMIN_INT4},
    {"current_connections", ADMIN_INT4},
    {"max_user_client_connections", ADMIN_INT4},
    {"current_client_connections", ADMIN_INT4},
    {NULL, 0},
};

static uint32_t count_servers(struct proxy *proxy, struct sv role)
{
    uint32_t count = 0;
    pthread_mutex_lock(&proxy->lock);
    for (const struct pool *pool = proxy->pools; pool != NULL; pool = pool->next) {
        if (sv_eq(sv_from_cstr(pool->role), role))
            count += pool->server_count;
    }
    pthread_mutex_unlock(&proxy->lock);
    return count;
}

static void show_user(struct gather *gather, struct worker *worker, const char *name)
{
    struct cells cells;
    char size[24] = "";
    struct proxy *proxy = worker->proxy;
    const struct proxy_role *role = proxy_role_get(worker->config, sv_from_cstr(name));
    bool has_mode = role->pool_mode != PROXY_ROLE_AS_DATABASE;
    if (role->pool_size > 0)
        snprintf(size, sizeof size, "%lld", (long long)role->pool_size);
    cells_begin(&cells);
    cell_text(&cells, name);
    cell_text(&cells, size);
    cell_text(&cells, "");
    cell_text(&cells, has_mode ? pool_mode_name(
                                     (enum proxy_pool_mode)(role->pool_mode - PROXY_ROLE_SESSION))
                               : NULL);
    cell_number(&cells, role->server_connections_max);
    cell_number(&cells, count_servers(proxy, sv_from_cstr(name)));
    cell_number(&cells, role->clients_max);
    cell_number(&cells, proxy_tally_count(proxy, PROXY_TALLY_ROLE, sv_from_cstr(name)));
    gather_add(gather, worker, &cells);
}

/* Users with a secret, by the users file or the configuration; then roles of the configuration
 * without one. */
static bool finish_users(struct gather *gather, struct worker *worker)
{
    const struct proxy_config *config = worker->config;
    struct access *access = proxy_access(worker->proxy);
    uint32_t known = users_count(access->users);
    bool is_over = false;
    while (!is_over && !gather_is_full(gather)) {
        uint64_t at = gather->cursor++;
        is_over = at >= known + config->role_count;
        if (at < known) {
            show_user(gather, worker, users_name(access->users, (uint32_t)at));
        } else if (!is_over) {
            const char *name = config->roles[at - known].name;
            if (users_find(access->users, sv_from_cstr(name)) == NULL)
                show_user(gather, worker, name);
        }
    }
    access_drop(access);
    return is_over;
}

/* ---- rows ---- */

ADMIN_SHOW(
    admin_show_config, .name = "CONFIG",
    .sentence = "Every setting with its value and default; below, PgBouncer's names for them.",
    .columns = config_columns, .finish = finish_config)

ADMIN_SHOW(admin_show_databases, .name = "DATABASES",
           .sentence = "Where each database's servers are, its limits, and whether it is paused.",
           .columns = databases_columns, .finish = finish_databases)

ADMIN_SHOW(admin_show_users, .name = "USERS",
           .sentence = "Roles that are known by name, with their limits.", .columns = users_columns,
           .finish = finish_users)
