/*
 * What the console can show: one row for each SHOW, and what makes its rows.
 *
 * To add a SHOW, write a file with a row like this, declare its function at the end of this header,
 * and name it in the list of admin_show.c. SHOW HELP, the reference and the parser follow from it:
 *
 *     static const struct admin_column columns[] = {
 *         {"database", ADMIN_TEXT}, {"pins", ADMIN_INT4}, {NULL}};
 *
 *     static bool visit(struct gather *gather, struct worker *worker)
 *     {
 *         list_for_each(node, &worker->sessions) {
 *             struct cells cells;
 *             cells_begin(&cells);
 *             cell_text(&cells, ...);
 *             cell_number(&cells, ...);
 *             gather_add(gather, worker, &cells);
 *         }
 *         return true;
 *     }
 *
 *     ADMIN_SHOW(admin_show_pins, .name = "PINS", .sentence = "...", .columns = columns,
 *                .visit = visit)
 *
 * The request goes from worker to worker (admin_gather.h). visit() is called in each worker's own
 * thread and may look at whatever is that worker's; finish() after the last visit, in the thread of
 * who asked: for what all workers share (under proxy->lock, for a moment), and for sums that visits
 * have put into gather->sums or gather->state. Either may be NULL; both tell whether they are
 * through.
 *
 * Many rows. A visit that may have thousands looks at gather_is_full() between them, notes in
 * gather->cursor where it is (0 at first, in each worker anew), and returns false: its rows are
 * sent to the client, and it is called again when they have gone. So a console costs bounded
 * memory, and a worker a bounded time at once.
 *
 * docs/reference/console.md follows from these rows, and is written anew by its test
 * (test_proxy_console.py).
 *
 * Columns that PgBouncer has come first, with its names and types and in its order (those of 1.25);
 * ours stand behind them.
 */
#ifndef HF_PROXY_ADMIN_SHOW_H
#define HF_PROXY_ADMIN_SHOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sv.h"
#include "proxy/admin_gather.h"

struct worker;

/* PostgreSQL's types that columns have. */
enum admin_type {
    ADMIN_TEXT = 25,
    ADMIN_INT4 = 23,
    ADMIN_INT8 = 20,
    ADMIN_NUMERIC = 1700,
    ADMIN_BYTEA = 17,
};

struct admin_column {
    const char *name; /* NULL behind the last one */
    enum admin_type type;
};

struct admin_show {
    const char *name; /* behind SHOW, in capitals */
    const char *sentence;
    const struct admin_column *columns;
    bool is_sensitive; /* for admin_users only */
    bool is_ours;      /* PgBouncer has none of it */
    bool (*visit)(struct gather *gather, struct worker *worker);
    bool (*finish)(struct gather *gather, struct worker *worker);
    /* NULL, or allocates gather->state; false: no memory. In the asker's thread. */
    bool (*begin)(struct gather *gather, struct worker *worker);
};

/* The function that gives such a row. */
#define ADMIN_SHOW(function, ...)                                                                  \
    const struct admin_show *function(void)                                                        \
    {                                                                                              \
        static const struct admin_show show = {__VA_ARGS__};                                       \
        return &show;                                                                              \
    }

/* By its number, in the order of SHOW HELP; NULL behind the last one. */
const struct admin_show *admin_show_at(size_t index);
/* By its name in any case; NULL: there is none. */
const struct admin_show *admin_show_find(struct sv name);

/* ---- cells of a row ---- */

#define CELLS_MAX 40
#define CELL_SIZE 64

struct cells {
    const char *values[CELLS_MAX]; /* NULL: null */
    char text[CELLS_MAX][CELL_SIZE];
    size_t count;
};

static inline void cells_begin(struct cells *cells)
{
    cells->count = 0;
}

/* The text is borrowed until the row is added; NULL is null. */
void cell_text(struct cells *cells, const char *text);
void cell_number(struct cells *cells, int64_t number);
void cell_null(struct cells *cells);
/* A wait as two cells: whole seconds, and the microseconds beyond them. */
void cell_wait(struct cells *cells, int64_t wait_ns);
/* A moment, as "2026-07-01 12:00:00 UTC"; null for 0. `at_ns` is of the monotonic clock. */
void cell_time(struct cells *cells, const struct worker *worker, int64_t at_ns);

/* The row: as many cells as there are columns. */
void gather_add(struct gather *gather, struct worker *worker, const struct cells *cells);

/* ---- all of them ---- */

const struct admin_show *admin_show_help(void);
const struct admin_show *admin_show_config(void);
const struct admin_show *admin_show_databases(void);
const struct admin_show *admin_show_pools(void);
const struct admin_show *admin_show_peer_pools(void);
const struct admin_show *admin_show_clients(void);
const struct admin_show *admin_show_servers(void);
const struct admin_show *admin_show_users(void);
const struct admin_show *admin_show_peers(void);
const struct admin_show *admin_show_version(void);
const struct admin_show *admin_show_state(void);
const struct admin_show *admin_show_fds(void);
const struct admin_show *admin_show_sockets(void);
const struct admin_show *admin_show_active_sockets(void);
const struct admin_show *admin_show_lists(void);
const struct admin_show *admin_show_mem(void);
const struct admin_show *admin_show_dns_hosts(void);
const struct admin_show *admin_show_dns_zones(void);
const struct admin_show *admin_show_stats(void);
const struct admin_show *admin_show_stats_totals(void);
const struct admin_show *admin_show_stats_averages(void);
const struct admin_show *admin_show_totals(void);
const struct admin_show *admin_show_channels(void);
const struct admin_show *admin_show_statements(void);
const struct admin_show *admin_show_groups(void);

#endif
