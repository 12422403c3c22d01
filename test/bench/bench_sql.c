/*
 * What knowing a statement costs: its shape, its verdict from the cache, and its verdict by the
 * parser when it was never seen before. The script beside it prints the table.
 *
 *     bench_sql [--json] [--seconds S] [--only TEXT]
 */
#include "bench.h"

#include "sql/judge.h"

#define SHAPES 1024

static const struct lex_rules standard = {0};

struct statement {
    struct judge *judge;
    struct sv sql;
    char *buffer;
};

static void run_shape(void *object, uint64_t times, unsigned thread)
{
    const struct statement *statement = object;
    (void)thread;
    for (uint64_t i = 0; i < times; i++) {
        struct shape shape;
        shape_make(&shape, statement->sql, &standard, &statement->judge->key, statement->buffer);
        bench_keep(&shape);
    }
}

static void run_cached(void *object, uint64_t times, unsigned thread)
{
    const struct statement *statement = object;
    (void)thread;
    for (uint64_t i = 0; i < times; i++) {
        const struct verdict *verdict =
            judge_statement(statement->judge, statement->sql, &standard);
        __asm__ volatile("" : : "r"(verdict));
    }
}

static void run_afresh(void *object, uint64_t times, unsigned thread)
{
    const struct statement *statement = object;
    (void)thread;
    for (uint64_t i = 0; i < times; i++) {
        const struct verdict *verdict = judge_afresh(statement->judge, statement->sql, &standard);
        __asm__ volatile("" : : "r"(verdict));
    }
}

static void *memory_for(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL) {
        fprintf(stderr, "bench: out of memory\n");
        exit(1);
    }
    return memory;
}

/* "INSERT ... VALUES (1, 'x'), ..." */
static const char *insert_of(int rows, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "INSERT INTO items (id, name, price) VALUES ");
    for (int i = 0; i < rows; i++)
        used += (size_t)snprintf(out + used, size - used, "%s(%d, 'item number %d', %d.50)",
                                 i > 0 ? ", " : "", i, i, i);
    return out;
}

int main(int argc, char **argv)
{
    static char insert[8192];
    const struct {
        const char *name;
        const char *sql;
    } statements[] = {
        {"a lookup, 54 bytes", "SELECT abalance FROM pgbench_accounts WHERE aid = 4711"},
        {"a join, 184 bytes",
         "SELECT u.id, u.name, u.email, o.total FROM users u JOIN orders o ON o.user_id = u.id "
         "WHERE u.created_at > '2024-01-01' AND o.status IN ('paid', 'shipped') "
         "ORDER BY o.total DESC LIMIT 20"},
        {"an insert of 100 rows", insert_of(100, insert, sizeof insert)},
    };
    static const struct {
        const char *what;
        void (*run)(void *object, uint64_t times, unsigned thread);
    } works[] = {
        {"shape", run_shape}, {"verdict, seen before", run_cached}, {"verdict, new", run_afresh}};
    struct bench bench;
    if (!bench_arguments(&bench, argc, argv))
        return 2;
    void *room = memory_for(judge_size(SHAPES));
    struct statement statement = {.buffer = memory_for(SHAPE_SIZE_MAX + 1)};
    statement.judge = judge_init(room, SHAPES, 1, NULL, NULL);
    for (size_t i = 0; i < sizeof works / sizeof works[0]; i++) {
        for (size_t k = 0; k < sizeof statements / sizeof statements[0]; k++) {
            char name[64];
            snprintf(name, sizeof name, "%s: %s", works[i].what, statements[k].name);
            statement.sql = sv_from_cstr(statements[k].sql);
            bench_run(&bench, &(struct bench_case){
                                  name, works[i].run == run_cached ? judge_size(SHAPES) : 0,
                                  &statement, works[i].run, 1});
        }
    }
    free(statement.buffer);
    free(room);
    return 0;
}
