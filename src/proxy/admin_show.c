#include "proxy/admin_show.h"

#include <stdio.h>

#include "base/bug.h"
#include "base/ns.h"
#include "os/clock.h"
#include "proxy/worker.h"

typedef const struct admin_show *show_row(void);

/* In the order of SHOW HELP: PgBouncer's first. */
static show_row *const rows[] = {
    admin_show_help,           admin_show_config,       admin_show_databases,
    admin_show_pools,          admin_show_clients,      admin_show_servers,
    admin_show_users,          admin_show_version,      admin_show_peers,
    admin_show_peer_pools,     admin_show_fds,          admin_show_sockets,
    admin_show_active_sockets, admin_show_lists,        admin_show_mem,
    admin_show_state,          admin_show_dns_hosts,    admin_show_dns_zones,
    admin_show_stats,          admin_show_stats_totals, admin_show_stats_averages,
    admin_show_totals,         admin_show_statements,   admin_show_groups,
    admin_show_channels,
};

const struct admin_show *admin_show_at(size_t index)
{
    return index < sizeof rows / sizeof rows[0] ? rows[index]() : NULL;
}

const struct admin_show *admin_show_find(struct sv name)
{
    const struct admin_show *show;
    for (size_t i = 0; (show = admin_show_at(i)) != NULL; i++) {
        if (sv_eq_nocase(sv_from_cstr(show->name), name))
            return show;
    }
    return NULL;
}

/* ---- cells ---- */

void cell_text(struct cells *cells, const char *text)
{
    hf_assert(cells->count < CELLS_MAX);
    cells->values[cells->count++] = text;
}

void cell_number(struct cells *cells, int64_t number)
{
    hf_assert(cells->count < CELLS_MAX);
    char *text = cells->text[cells->count];
    snprintf(text, CELL_SIZE, "%lld", (long long)number);
    cell_text(cells, text);
}

void cell_null(struct cells *cells)
{
    cell_text(cells, NULL);
}

void cell_wait(struct cells *cells, int64_t wait_ns)
{
    wait_ns = ns_max(wait_ns, 0);
    cell_number(cells, wait_ns / HF_SEC(1));
    cell_number(cells, wait_ns % HF_SEC(1) / HF_US(1));
}

void cell_time(struct cells *cells, const struct worker *worker, int64_t at_ns)
{
    if (at_ns == 0 || at_ns == HF_NEVER) {
        cell_null(cells);
        return;
    }
    hf_assert(cells->count < CELLS_MAX);
    char *text = cells->text[cells->count], wall[CLOCK_TEXT_SIZE];
    clock_wall_text(clock_wall_now() - (worker_now(worker) - at_ns), wall);
    /* "2026-07-01T12:00:00.123456Z", of which PgBouncer shows the seconds, and a zone. */
    snprintf(text, CELL_SIZE, "%.10s %.8s UTC", wall, wall + 11);
    cell_text(cells, text);
}

void gather_add(struct gather *gather, struct worker *worker, const struct cells *cells)
{
    gather_row(gather, worker->proxy->mem, cells->values, cells->count);
}
