/*
 * A million calls of every kind, from several threads: afterwards there is no more memory in use,
 * and no more descriptors, than after the first few thousand.
 */
#include "../unit/unit.h"

#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "holdfast.h"
#include "pg_rig.h"

/* All of them in the build that is released. The sanitizers, which are clang's, see a leak at
 * once. */
#ifdef __clang__
#define CALLS 16000
#else
#define CALLS 1000000
#endif
#define FIRST_CALLS 16000
#define THREADS     4
#define KINDS       16
#define GROWTH_MAX  262144 /* bytes: of connections and lists; a byte lost with each call is more */
/* A thousand calls leave their rows in the middle: those would be a thousand descriptors. */
#define DESCRIPTORS_MAX 64

static struct rig rig;
static struct hf_db *db;
static struct hf_guard *guard;
static struct hf_error err;

static int begin(void **state)
{
    (void)state;
    char text[200];
    rig_begin(&rig, 0);
    rig_sql(&rig.servers[0], "CREATE TABLE counts (id int PRIMARY KEY, n int)", NULL, 0);
    rig_sql(&rig.servers[0], "INSERT INTO counts SELECT i, 0 FROM generate_series(0, 3) i", NULL,
            0);
    snprintf(text, sizeof text,
             "host=127.0.0.1 port=%d user=postgres dbname=postgres "
             "options='-c synchronous_commit=off -c log_min_error_statement=panic'",
             rig.servers[0].port);
    struct hf_options options = {.conninfo = text, .deadline_ms = 90000, .start_ms = 60000};
    assert_int_equal(hf_open_with(&db, &options, &err), HF_SUCCESS);
    assert_int_equal(hf_guard_new(&guard, NULL, &err), HF_SUCCESS);
    return 0;
}

static int end(void **state)
{
    (void)state;
    hf_guard_free(guard);
    hf_close(db);
    rig_end(&rig);
    return 0;
}

static int add_one(struct hf_tx *tx, void *arg, struct hf_error *why)
{
    return hf_tx_exec(tx, "UPDATE counts SET n = n + 1 WHERE id = $1::int",
                      HF_PARAMS(hf_int((int)(intptr_t)arg)), NULL, NULL, why);
}

static int nothing(const struct hf_work *work, void *arg, struct hf_error *why)
{
    (void)work;
    (void)arg;
    (void)why;
    return HF_WORK_DONE;
}

static bool ask(int number, const struct hf_call_options *options, int rows_wanted)
{
    struct hf_rows *rows;
    struct hf_error why;
    if (hf_query(db, "SELECT i FROM generate_series(1, $1::int) i", HF_PARAMS(hf_int(number)),
                 options, &rows, &why) != HF_SUCCESS)
        return false;
    int found = 0;
    while (found < rows_wanted && hf_rows_next(rows, &why) == 1)
        ++found;
    hf_rows_free(rows);
    return found == rows_wanted;
}

/* One call in sixteen of each rare kind. */
static bool call(int thread, int number)
{
    struct hf_error why;
    switch (number % KINDS) {
    case 0:
        return hf_exec(db, "SELECT 1 / $1::int", HF_PARAMS(hf_int(0)), NULL, NULL, &why) ==
               HF_E_SERVER;
    case 1:
        return hf_tx(db, NULL, add_one, (void *)(intptr_t)thread, &why) == HF_SUCCESS;
    case 2: /* some are left in the middle, which costs a cancel request */
        return ask(5, HF_WITH(.chunk_rows = 2), number % 1024 == 2 ? 3 : 5);
    case 3:
        return ask(2, HF_WITH(.cache = HF_CACHE_FIRST), 2);
    case 4:
        return ask(1, HF_WITH(.no_prepare = true), 1);
    case 5:
        return hf_guard_run(guard, nothing, NULL, &why) == HF_SUCCESS;
    default:
        return ask(number % 3, NULL, number % 3);
    }
}

struct caller {
    int thread, calls, failures;
};

static void *keep_calling(void *arg)
{
    struct caller *caller = arg;
    for (int i = 0; i < caller->calls; i++)
        caller->failures += !call(caller->thread, i);
    return NULL;
}

static void run(int calls)
{
    pthread_t threads[THREADS];
    struct caller callers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){.thread = i, .calls = calls / THREADS};
        assert_int_equal(pthread_create(&threads[i], NULL, keep_calling, &callers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].failures, 0);
    }
}

static int count_descriptors(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder) != NULL)
        ++count;
    closedir(folder);
    return count;
}

static void million__calls_leave_nothing(void **state)
{
    (void)state;
    struct hf_stats stats;
    run(FIRST_CALLS);
    hf_stats(db, &stats);
    uint64_t counted = stats.memory_bytes;
    size_t heap = mallinfo2().uordblks;
    int descriptors = count_descriptors();

    run(CALLS);
    hf_stats(db, &stats);
    if (stats.memory_bytes > counted + GROWTH_MAX)
        fail_msg("the library counts %llu bytes after %d calls, where it had %llu",
                 (unsigned long long)stats.memory_bytes, CALLS, (unsigned long long)counted);
    if (mallinfo2().uordblks > heap + GROWTH_MAX)
        fail_msg("%zu bytes in use after %d calls, where there were %zu", mallinfo2().uordblks,
                 CALLS, heap);
    int more = count_descriptors() - descriptors; /* a few connections and calls at the same time */
    if (more > DESCRIPTORS_MAX)
        fail_msg("%d descriptors more than there were", more);
    assert_int_equal(rig_number(&rig.servers[0], "SELECT sum(n) FROM counts"),
                     (FIRST_CALLS + CALLS) / KINDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(million__calls_leave_nothing)};
    return cmocka_run_group_tests(tests, begin, end);
}
