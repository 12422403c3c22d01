/*
 * What libholdfast costs: its own pieces by themselves, and whole queries beside plain libpq.
 *
 *     bench_library micro SECONDS
 *         pool checkout and return, a guard that runs nothing: an object a line, as bench_core
 *     bench_library memory CONNINFO
 *         bytes of each object, an object a line
 *     bench_library serve libpq|libpq-text|library|library-text CONNINFO THREADS
 *         prints "ready"; for each line "SECONDS" it reads, runs queries for so long and prints
 *         {"queries": .., "seconds": .., "cpu_ns": ..}, with the CPU time of the whole process
 *
 * A query is the one that pooling is about: one row by its key, a parameter that is a number, the
 * value read as a number. The library is given the text each time, and prepares it by itself, with
 * all its protection on, as it is without any options. Plain libpq has a connection for each
 * thread; `libpq` is a program that has prepared the statement there by hand and calls
 * PQexecPrepared, `libpq-text` one that gives the text each time, to PQexecParams. `library-text`
 * is the library told to prepare nothing: what goes over the wire is what `libpq-text` sends.
 */
#include <holdfast.h>
#include <libpq-fe.h>
#include <malloc.h>
#include <stdatomic.h>

#include "base/ns.h"
#include "bench.h"
#include "client/client_pool.h"

enum {
    THREADS_MAX = 32,
    ROWS_MAX = 100000, /* of pgbench at scale 1 */
    CHECK_EVERY = 16,  /* queries between two looks at the clock */
    OBJECTS = 64,      /* of each kind, to weigh one */
};

static const char question[] = "SELECT abalance FROM pgbench_accounts WHERE aid = $1";

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_library: %s: %s\n", what, why);
    exit(1);
}

/* ---- the pieces ---- */

static void run_pool(void *object, uint64_t times, unsigned thread)
{
    struct pool *pool = object;

    (void)thread;
    for (uint64_t i = 0; i < times; i++) {
        struct pconn *conn = pool_take(pool, 1, HF_SEC(1));

        bench_keep(conn);
        pool_give(pool, conn, HF_SEC(1));
    }
}

static void bench_pool(const struct bench *bench)
{
    static const struct client_pool_config config = {
        .size_max = 8,
        .idle_max = 8,
        .lifetime_ns = HF_NEVER,
        .idle_ns = HF_NEVER,
        .check_after_ns = HF_NEVER,
    };
    struct pool pool;
    struct mem mem;

    mem_init(&mem, 0);
    pool_init(&pool, &config, &mem, 1);
    for (int i = 0; i < BENCH_THREADS_MAX; i++)
        pool_give(&pool, pool_make(&pool, 1, HF_SEC(1)), HF_SEC(1));
    bench_run(bench, &(struct bench_case){"pool checkout and return", sizeof(struct pconn), &pool,
                                          run_pool, BENCH_THREADS_MAX});
    pool_deinit(&pool);
    mem_deinit(&mem);
}

static int nothing(const struct hf_work *work, void *arg, struct hf_error *err)
{
    (void)arg;
    (void)err;
    bench_keep((void *)(uintptr_t)work);
    return HF_WORK_DONE;
}

static void run_guard(void *object, uint64_t times, unsigned thread)
{
    (void)thread;
    for (uint64_t i = 0; i < times; i++)
        hf_guard_run(object, nothing, NULL, NULL);
}

static void run_permit(void *object, uint64_t times, unsigned thread)
{
    (void)thread;
    for (uint64_t i = 0; i < times; i++) {
        struct hf_permit permit;

        if (hf_guard_enter(object, &permit, NULL) == HF_SUCCESS)
            hf_guard_leave(object, &permit, HF_WORK_DONE);
    }
}

static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static void bench_guard(const struct bench *bench)
{
    size_t before = heap_bytes();
    struct hf_guard *guard;
    struct hf_error err;
    size_t bytes;

    if (hf_guard_new(&guard, &(struct hf_guard_options){.name = "bench"}, &err) != HF_SUCCESS)
        die("hf_guard_new", err.message);
    bytes = heap_bytes() - before;
    bench_run(bench,
              &(struct bench_case){"guard run alone", bytes, guard, run_guard, BENCH_THREADS_MAX});
    bench_run(bench, &(struct bench_case){"guard enter and leave", bytes, guard, run_permit,
                                          BENCH_THREADS_MAX});
    hf_guard_free(guard);
}

static int micro(const char *seconds)
{
    struct bench bench = {.seconds = strtod(seconds, NULL), .is_json = true};

    bench_pool(&bench);
    bench_guard(&bench);
    return 0;
}

/* ---- memory ---- */

static void weigh(const char *name, size_t bytes)
{
    printf("{\"name\": \"%s\", \"bytes\": %zu}\n", name, bytes);
}

static void weigh_sessions(struct hf_db *db)
{
    struct hf_session *sessions[OBJECTS];
    size_t before = heap_bytes();

    for (int i = 0; i < OBJECTS; i++) {
        if (hf_session_new(db, &sessions[i], NULL) != HF_SUCCESS)
            die("hf_session_new", "failed");
    }
    weigh("a session", (heap_bytes() - before) / OBJECTS);
    for (int i = 0; i < OBJECTS; i++)
        hf_session_free(sessions[i]);
}

static void weigh_rows(struct hf_db *db)
{
    struct hf_rows *rows[OBJECTS];
    size_t before;

    if (hf_query(db, "SELECT 1", NULL, NULL, &rows[0], NULL) == HF_SUCCESS)
        hf_rows_free(rows[0]);
    before = heap_bytes();
    for (int i = 0; i < OBJECTS; i++) {
        if (hf_query(db, "SELECT 1", NULL, NULL, &rows[i], NULL) != HF_SUCCESS)
            die("hf_query", "failed");
    }
    weigh("a result of one row", (heap_bytes() - before) / OBJECTS);
    for (int i = 0; i < OBJECTS; i++)
        hf_rows_free(rows[i]);
}

static int memory(const char *conninfo)
{
    size_t before = heap_bytes();
    struct hf_stats stats;
    struct hf_error err;
    struct hf_db *db;

    if (hf_open(&db, conninfo, &err) != HF_SUCCESS)
        die("hf_open", err.message);
    weigh("a database, just opened", heap_bytes() - before);
    weigh_sessions(db);
    weigh_rows(db);
    hf_stats(db, &stats);
    weigh("the library's own count", stats.memory_bytes);
    hf_close(db);
    return 0;
}

/* ---- whole queries ---- */

struct load {
    const char *conninfo;
    struct hf_db *db; /* NULL: plain libpq */
    bool has_text;    /* PQexecParams; or nothing is to be kept prepared */
    int threads;
    pthread_barrier_t begin, end;
    _Atomic int64_t until_ns;
    atomic_bool is_over;
    _Atomic uint64_t queries;
};

static PGconn *connect_plain(const struct load *load)
{
    PGconn *conn = PQconnectdb(load->conninfo);
    PGresult *result;

    if (PQstatus(conn) != CONNECTION_OK)
        die("libpq", PQerrorMessage(conn));
    result = PQprepare(conn, "q", question, 0, NULL);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        die("libpq", PQerrorMessage(conn));
    PQclear(result);
    return conn;
}

static void ask_plain(PGconn *conn, bool has_text, int64_t number)
{
    char text[24];
    const char *value = text;
    PGresult *result;

    snprintf(text, sizeof(text), "%lld", (long long)number);
    result = has_text ? PQexecParams(conn, question, 1, NULL, &value, NULL, NULL, 0)
                      : PQexecPrepared(conn, "q", 1, &value, NULL, NULL, 0);
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
        die("libpq", PQerrorMessage(conn));
    bench_keep((void *)(uintptr_t)strtoll(PQgetvalue(result, 0, 0), NULL, 10));
    PQclear(result);
}

static void ask_library(struct hf_db *db, bool has_text, int64_t number)
{
    static const struct hf_call_options text_only = {.no_prepare = true};
    const struct hf_call_options *options = has_text ? &text_only : NULL;
    struct hf_rows *rows;
    struct hf_error err;

    if (hf_query(db, question, HF_PARAMS(hf_int(number)), options, &rows, &err) != HF_SUCCESS)
        die("hf_query", err.message);
    if (hf_rows_next(rows, NULL) != 1)
        die("hf_query", "no row");
    bench_keep((void *)(uintptr_t)hf_rows_int(rows, 0));
    hf_rows_free(rows);
}

static void *keep_asking(void *arg)
{
    struct load *load = arg;
    PGconn *conn = load->db == NULL ? connect_plain(load) : NULL;
    uint64_t number = (uint64_t)bench_now_ns();

    for (;;) {
        uint64_t queries = 0;

        pthread_barrier_wait(&load->begin);
        if (atomic_load(&load->is_over))
            break;
        do {
            for (int i = 0; i < CHECK_EVERY; i++, queries++) {
                number = number * 6364136223846793005u + 1442695040888963407u;
                if (conn != NULL)
                    ask_plain(conn, load->has_text, (int64_t)(number >> 33) % ROWS_MAX + 1);
                else
                    ask_library(load->db, load->has_text, (int64_t)(number >> 33) % ROWS_MAX + 1);
            }
        } while (bench_now_ns() < atomic_load(&load->until_ns));
        atomic_fetch_add(&load->queries, queries);
        pthread_barrier_wait(&load->end);
    }
    PQfinish(conn);
    return NULL;
}

static int64_t process_cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void run_slice(struct load *load, double seconds)
{
    int64_t begun_ns = bench_now_ns();
    int64_t cpu_ns = process_cpu_ns();

    atomic_store(&load->queries, 0);
    atomic_store(&load->until_ns, begun_ns + (int64_t)(seconds * 1e9));
    pthread_barrier_wait(&load->begin);
    pthread_barrier_wait(&load->end);
    printf("{\"queries\": %llu, \"seconds\": %.6f, \"cpu_ns\": %lld}\n",
           (unsigned long long)atomic_load(&load->queries),
           (double)(bench_now_ns() - begun_ns) / 1e9, (long long)(process_cpu_ns() - cpu_ns));
    fflush(stdout);
}

static int serve(const char *who, const char *conninfo, const char *threads)
{
    static struct load load;
    pthread_t ids[THREADS_MAX];
    struct hf_error err;
    char line[64];

    load.conninfo = conninfo;
    load.has_text = strcmp(who, "libpq-text") == 0 || strcmp(who, "library-text") == 0;
    load.threads = (int)strtol(threads, NULL, 10);
    if (load.threads < 1 || load.threads > THREADS_MAX)
        die("threads", threads);
    if (strncmp(who, "library", 7) == 0 && hf_open(&load.db, conninfo, &err) != HF_SUCCESS)
        die("hf_open", err.message);
    pthread_barrier_init(&load.begin, NULL, (unsigned)load.threads + 1);
    pthread_barrier_init(&load.end, NULL, (unsigned)load.threads + 1);
    for (int i = 0; i < load.threads; i++) {
        if (pthread_create(&ids[i], NULL, keep_asking, &load) != 0)
            die("pthread_create", "failed");
    }
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL)
        run_slice(&load, strtod(line, NULL));
    atomic_store(&load.is_over, true);
    pthread_barrier_wait(&load.begin);
    for (int i = 0; i < load.threads; i++)
        pthread_join(ids[i], NULL);
    hf_close(load.db);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "micro") == 0)
        return micro(argv[2]);
    if (argc == 3 && strcmp(argv[1], "memory") == 0)
        return memory(argv[2]);
    if (argc == 5 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2], argv[3], argv[4]);
    fprintf(stderr, "usage: bench_library micro SECONDS | memory CONNINFO |\n"
                    "       bench_library serve libpq|libpq-text|library|library-text "
                    "CONNINFO THREADS\n");
    return 2;
}
