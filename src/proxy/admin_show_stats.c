/* SHOW STATS and its relatives: what each database has done, over all roles and workers. */
#include "proxy/admin_show.h"

#include <stdio.h>

#include "proxy/pool.h"
#include "proxy/pool_average.h"
#include "proxy/worker.h"

/* A database over all roles and workers. */
struct stats_sum {
    const char *name; /* of one of its pools */
    struct pool_stats total, recent;
    int64_t recent_ns; /* the longest of its parts */
};

/* ---- numbers ---- */

enum kind {
    KIND_COUNT, /* the average is for a second */
    KIND_TIME,  /* microseconds; the average is for one of what it is the time of */
};

struct number {
    const char *name; /* in SHOW TOTALS, without "total_" or "avg_" */
    enum kind kind;
    uint64_t (*get)(const struct pool_stats *stats);
    uint64_t (*share)(const struct pool_stats *stats); /* KIND_TIME: what it is divided by */
};

#define GET(field, expression)                                                                     \
    static uint64_t get_##field(const struct pool_stats *stats)                                    \
    {                                                                                              \
        return expression;                                                                         \
    }

GET(assignments, stats->assignments)
GET(transactions, stats->transactions)
GET(queries, stats->queries)
GET(received, stats->received)
GET(sent, stats->sent)
GET(transaction_us, (uint64_t)(stats->transaction_ns / HF_US(1)))
GET(query_us, (uint64_t)(stats->query_ns / HF_US(1)))
GET(wait_us, (uint64_t)(stats->wait_ns / HF_US(1)))
GET(parses, stats->parses)
GET(server_parses, stats->server_parses)
GET(binds, stats->binds)

/* PgBouncer's order, which is that of every SHOW here. */
static const struct number numbers[] = {
    {"server_assignment_count", KIND_COUNT, get_assignments, NULL},
    {"xact_count", KIND_COUNT, get_transactions, NULL},
    {"query_count", KIND_COUNT, get_queries, NULL},
    {"client_bytes", KIND_COUNT, get_received, NULL},
    {"server_bytes", KIND_COUNT, get_sent, NULL},
    {"xact_time", KIND_TIME, get_transaction_us, get_transactions},
    {"query_time", KIND_TIME, get_query_us, get_queries},
    {"wait_time", KIND_COUNT, get_wait_us, NULL},
    {"client_parse_count", KIND_COUNT, get_parses, NULL},
    {"server_parse_count", KIND_COUNT, get_server_parses, NULL},
    {"bind_count", KIND_COUNT, get_binds, NULL},
};

#define NUMBERS (sizeof numbers / sizeof numbers[0])

#define N(prefix, received, sent)                                                                  \
    {prefix "server_assignment_count", ADMIN_NUMERIC}, {prefix "xact_count", ADMIN_NUMERIC},       \
        {prefix "query_count", ADMIN_NUMERIC}, {received, ADMIN_NUMERIC}, {sent, ADMIN_NUMERIC},   \
        {prefix "xact_time", ADMIN_NUMERIC}, {prefix "query_time", ADMIN_NUMERIC},                 \
        {prefix "wait_time", ADMIN_NUMERIC}, {prefix "client_parse_count", ADMIN_NUMERIC},         \
        {prefix "server_parse_count", ADMIN_NUMERIC},                                              \
    {                                                                                              \
        prefix "bind_count", ADMIN_NUMERIC                                                         \
    }

static const struct admin_column stats_columns[] = {
    {"database", ADMIN_TEXT},
    N("total_", "total_received", "total_sent"),
    N("avg_", "avg_recv", "avg_sent"),
    {"total_login_count", ADMIN_NUMERIC},
    {"total_refused", ADMIN_NUMERIC},
    /* What PgBouncer called queries until 1.7, and exporters of that time still ask for. */
    {"total_requests", ADMIN_NUMERIC},
    {NULL, 0},
};

static const struct admin_column part_columns[] = {
    {"database", ADMIN_TEXT},
    N("", "bytes_received", "bytes_sent"),
    {NULL, 0},
};

static const struct admin_column totals_columns[] = {
    {"name", ADMIN_TEXT},
    {"value", ADMIN_NUMERIC},
    {NULL, 0},
};

static uint64_t average_of(const struct number *number, const struct stats_sum *sum)
{
    uint64_t value = number->get(&sum->recent);
    uint64_t by = number->kind == KIND_TIME ? number->share(&sum->recent)
                                            : (uint64_t)(sum->recent_ns / HF_MS(1));
    if (by == 0)
        return 0;
    return number->kind == KIND_TIME ? value / by : (uint64_t)((double)value * 1000 / (double)by);
}

/* ---- gathering ---- */

/* All databases that there are pools of; a pool's place is noted by number behind the sums. */
static bool begin(struct gather *gather, struct worker *worker)
{
    struct proxy *proxy = worker->proxy;
    pthread_mutex_lock(&proxy->lock);
    struct stats_sum *sums = mem_alloc_array(proxy->mem, proxy->pool_count + 1, sizeof *sums);
    gather->state = sums;
    gather->state_count = sums != NULL ? proxy->pool_count : 0;
    for (struct pool *pool = proxy->pools; sums != NULL && pool != NULL; pool = pool->next)
        sums[pool->number].name = pool->name;
    pthread_mutex_unlock(&proxy->lock);
    return sums != NULL;
}

static bool visit(struct gather *gather, struct worker *worker)
{
    struct stats_sum *sums = gather->state;
    list_for_each(node, &worker->parts) {
        const struct pool_part *part = container_of(node, struct pool_part, link);
        struct pool_stats recent;
        if (part->pool->number >= gather->state_count)
            continue;
        struct stats_sum *sum = &sums[part->pool->number];
        int64_t recent_ns = pool_average_since(part, worker_now(worker), &recent);
        pool_stats_add(&sum->total, &part->stats);
        pool_stats_add(&sum->recent, &recent);
        sum->recent_ns = ns_max(sum->recent_ns, recent_ns);
    }
    return true;
}

static void join_sums(struct stats_sum *to, const struct stats_sum *from)
{
    pool_stats_add(&to->total, &from->total);
    pool_stats_add(&to->recent, &from->recent);
    to->recent_ns = ns_max(to->recent_ns, from->recent_ns);
}

/* What is left of the sums of pools, from `first` on, becomes one of a database: the others of the
 * same name are put into it and lose theirs. */
static struct stats_sum *next_database(struct gather *gather)
{
    struct stats_sum *sums = gather->state;
    while (gather->cursor < gather->state_count && sums[gather->cursor].name == NULL)
        gather->cursor++;
    if (gather->cursor >= gather->state_count)
        return NULL;
    struct stats_sum *sum = &sums[gather->cursor++];
    for (uint64_t i = gather->cursor; i < gather->state_count; i++) {
        if (sums[i].name == NULL || !sv_eq(sv_from_cstr(sums[i].name), sv_from_cstr(sum->name)))
            continue;
        join_sums(sum, &sums[i]);
        sums[i].name = NULL;
    }
    return sum;
}

static void cells_totals(struct cells *cells, const struct stats_sum *sum)
{
    for (size_t i = 0; i < NUMBERS; i++)
        cell_number(cells, (int64_t)numbers[i].get(&sum->total));
}

static void cells_averages(struct cells *cells, const struct stats_sum *sum)
{
    for (size_t i = 0; i < NUMBERS; i++)
        cell_number(cells, (int64_t)average_of(&numbers[i], sum));
}

static void cells_stats(struct cells *cells, const struct stats_sum *sum)
{
    cells_totals(cells, sum);
    cells_averages(cells, sum);
    cell_number(cells, (int64_t)sum->total.logins);
    cell_number(cells, (int64_t)sum->total.refused);
    cell_number(cells, (int64_t)sum->total.queries);
}

static bool finish_by(struct gather *gather, struct worker *worker,
                      void (*fill)(struct cells *cells, const struct stats_sum *sum))
{
    const struct stats_sum *sum;
    while (!gather_is_full(gather)) {
        struct cells cells;
        if ((sum = next_database(gather)) == NULL)
            return true;
        cells_begin(&cells);
        cell_text(&cells, sum->name);
        fill(&cells, sum);
        gather_add(gather, worker, &cells);
    }
    return false;
}

static bool finish_stats(struct gather *gather, struct worker *worker)
{
    return finish_by(gather, worker, cells_stats);
}

static bool finish_totals(struct gather *gather, struct worker *worker)
{
    return finish_by(gather, worker, cells_totals);
}

static bool finish_averages(struct gather *gather, struct worker *worker)
{
    return finish_by(gather, worker, cells_averages);
}

static void show_number(struct gather *gather, struct worker *worker, const char *prefix,
                        const char *name, uint64_t value)
{
    struct cells cells;
    char text[64];
    snprintf(text, sizeof text, "%s%s", prefix, name);
    cells_begin(&cells);
    cell_text(&cells, text);
    cell_number(&cells, (int64_t)value);
    gather_add(gather, worker, &cells);
}

static bool finish_all(struct gather *gather, struct worker *worker)
{
    const struct stats_sum *sums = gather->state;
    struct stats_sum all = {0};
    for (uint32_t i = 0; i < gather->state_count; i++)
        join_sums(&all, &sums[i]);
    for (size_t i = 0; i < NUMBERS; i++)
        show_number(gather, worker, "total_", numbers[i].name, numbers[i].get(&all.total));
    for (size_t i = 0; i < NUMBERS; i++)
        show_number(gather, worker, "avg_", numbers[i].name, average_of(&numbers[i], &all));
    return true;
}

/* ---- rows ---- */

ADMIN_SHOW(admin_show_stats, .name = "STATS",
           .sentence =
               "What each database has done, in all and on average of the last minutes; times "
               "in microseconds.",
           .columns = stats_columns, .begin = begin, .visit = visit, .finish = finish_stats)

ADMIN_SHOW(admin_show_stats_totals, .name = "STATS_TOTALS", .sentence = "The same, in all only.",
           .columns = part_columns, .begin = begin, .visit = visit, .finish = finish_totals)

ADMIN_SHOW(admin_show_stats_averages, .name = "STATS_AVERAGES",
           .sentence = "The same, averages only.", .columns = part_columns, .begin = begin,
           .visit = visit, .finish = finish_averages)

ADMIN_SHOW(admin_show_totals, .name = "TOTALS",
           .sentence = "What all databases together have done, a row for each number.",
           .columns = totals_columns, .begin = begin, .visit = visit, .finish = finish_all)
