/*
 * Serialisable transactions that collide, and are run again by the library.
 *
 *     serialization_retry CONNINFO
 *
 * Two threads read the sum of all counters and write it into one of them: whatever the order, one
 * of two that overlap must fail with SQLSTATE 40001. hf_tx() runs it again as a whole, with a pause
 * that grows and differs, so the threads see none of it.
 */
#include <holdfast.h>
#include <pthread.h>
#include <stdio.h>

enum {
    THREADS = 2,
    ROUNDS = 20,
};

struct worker {
    pthread_t thread;
    struct hf_db *db;
    int counter;
    uint32_t attempts; /* of all rounds */
    int failed;
};

static int add_one(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    struct worker *worker = arg;
    struct hf_rows *rows;
    int64_t sum;

    worker->attempts++;
    if (hf_tx_query(tx, "SELECT sum(value)::bigint, pg_sleep(0.002) FROM counter", NULL, NULL,
                    &rows, err))
        return -1;
    hf_rows_next(rows, NULL);
    sum = hf_rows_int(rows, 0);
    hf_rows_free(rows);
    /* Each time the sum grows by one, if nobody has changed it in between. */
    return hf_tx_exec(tx, "UPDATE counter SET value = value + 1, seen = $2::bigint WHERE id = $1",
                      HF_PARAMS(hf_int(worker->counter), hf_int(sum)), NULL, NULL, err);
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct hf_tx_options options = {.isolation = HF_SERIALIZABLE, .retry.attempts_max = 20};
    struct hf_error err;

    for (int i = 0; i < ROUNDS; i++) {
        if (hf_tx(worker->db, &options, add_one, worker, &err) != HF_SUCCESS) {
            fprintf(stderr, "%s (%s)\n", err.message, err.sqlstate);
            worker->failed++;
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct worker workers[THREADS] = {{.attempts = 0}};
    struct hf_options options = {.conninfo = argc > 1 ? argv[1] : ""};
    struct hf_error err;
    struct hf_db *db;
    uint32_t attempts = 0;
    int failed = 0;

    /* Here most of the load is repetitions on purpose; a budget would do its work and stop them. */
    options.tx_retry.budget_percent = -1;
    if (hf_open_with(&db, &options, &err) != HF_SUCCESS ||
        hf_exec(db,
                "DROP TABLE IF EXISTS counter;"
                "CREATE TABLE counter (id int PRIMARY KEY, value bigint, seen bigint);"
                "INSERT INTO counter SELECT i, 0, 0 FROM generate_series(0, 1) AS i",
                NULL, NULL, NULL, &err) != HF_SUCCESS) {
        fprintf(stderr, "%s\n", err.message);
        hf_close(db);
        return 1;
    }
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.db = db, .counter = i};
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        attempts += workers[i].attempts;
        failed += workers[i].failed;
    }
    printf("%d transactions, %d failed, %u repeated\n", THREADS * ROUNDS, failed,
           attempts - THREADS * ROUNDS);
    hf_close(db);
    return failed != 0;
}
