/* SHOW CHANNELS. */
#include "proxy/admin_show.h"

#include "proxy/listen_hub.h"
#include "proxy/worker.h"

static const struct admin_column channels_columns[] = {
    {"database", ADMIN_TEXT},   {"channel", ADMIN_TEXT},
    {"listeners", ADMIN_INT4},  {"delivered", ADMIN_INT8},
    {"lost", ADMIN_INT8},       {"is_listened_to", ADMIN_INT4},
    {"server_pid", ADMIN_INT4}, {NULL, 0}};

static bool finish(struct gather *gather, struct worker *worker)
{
    struct listen_row row;
    while (!gather_is_full(gather)) {
        struct cells cells;
        if (!listen_each(worker->proxy->listens, &gather->cursor, &row))
            return true;
        cells_begin(&cells);
        cell_text(&cells, row.database);
        cell_text(&cells, row.channel);
        cell_number(&cells, row.listeners);
        cell_number(&cells, (int64_t)row.delivered);
        cell_number(&cells, (int64_t)row.lost);
        cell_number(&cells, row.is_on);
        cell_number(&cells, row.server_pid);
        gather_add(gather, worker, &cells);
    }
    return false;
}

ADMIN_SHOW(admin_show_channels, .name = "CHANNELS",
           .sentence = "What clients in transaction and statement mode listen to.",
           .columns = channels_columns, .is_ours = true, .finish = finish)
