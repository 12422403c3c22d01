/*
 * Transactions whose connection is lost, at every point: what became of them is told truly, and
 * what is run again took effect once.
 */
#include "tx_rig.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static struct tx_rig rig;

static const struct rig_server *server(void)
{
    return &rig.servers.servers[0];
}

/* A server that is killed is back after seconds or, on a busy machine, after a minute. */
#define ATTEMPTS_MAX 20
static const struct hf_options patient = {.deadline_ms = 120000,
                                          .resolve_ms = 90000,
                                          .hold_ms = 90000,
                                          .tx_retry = {.attempts_max = ATTEMPTS_MAX}};

struct job {
    int rows;
    uint32_t attempts;
    bool by_text; /* without parameters and by the simple protocol: no probe on the way */
};

static int fill(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    struct job *job = arg;
    job->attempts = hf_tx_attempt(tx);
    for (int i = 1; i <= job->rows; i++) {
        char sql[80];
        snprintf(sql, sizeof sql, "SELECT 1; INSERT INTO t VALUES (%d, 0)", i);
        int code = job->by_text ? hf_tx_exec(tx, sql, NULL, NULL, NULL, err)
                                : hf_tx_exec(tx, "INSERT INTO t VALUES ($1, 0)",
                                             HF_PARAMS(hf_int(i)), NULL, NULL, err);
        if (code != HF_SUCCESS)
            return code;
    }
    return 0;
}

/* A connection that is there, the right to probe known. */
static struct hf_db *open_warm(const struct hf_options *options)
{
    struct hf_error err;
    struct hf_db *db = tx_rig_open(&rig, options);
    struct job job = {.rows = 1};
    assert_ok(hf_tx(db, NULL, fill, &job, &err), &err);
    rig_sql(server(), "DELETE FROM t", NULL, 0);
    return db;
}

/* ---- the line breaks ---- */

static const struct {
    enum cut cut;
    const char *text;
    uint32_t attempts; /* until it is done */
    bool by_text;
} breaks[] = {
    {CUT_REQUEST, "BEGIN", 2, false},
    {CUT_REPLY, "BEGIN", 2, false},
    {CUT_REQUEST, "BEGIN", 2, true},
    {CUT_REPLY, "INSERT INTO t VALUES (2", 2, true},
    {CUT_REQUEST, "COMMIT", 2, false}, /* not begun: found to be aborted */
    {CUT_REPLY, "COMMIT", 1, false},   /* found to be committed */
    {CUT_LAST_REPLY, "COMMIT", 1, false},
    {CUT_AND_KEEP, "COMMIT", 1, false},  /* the backend works on */
    {CUT_LAST_REPLY, "COMMIT", 1, true}, /* the probe went with COMMIT, and was answered */
};

static void loss__each_break_of_the_line_ends_in_the_truth(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof breaks / sizeof breaks[0]; i++) {
        struct hf_error err;
        struct hf_db *db = open_warm(NULL);
        struct job job = {.rows = 2, .by_text = breaks[i].by_text};
        uint32_t cuts = cutter_cuts(rig.cutter);
        cutter_arm(rig.cutter, breaks[i].cut, breaks[i].text);
        int code = hf_tx(db, NULL, fill, &job, &err);
        if (code != HF_SUCCESS || job.attempts != breaks[i].attempts)
            print_error("break %zu: %u attempts\n", i, job.attempts);
        assert_ok(code, &err);
        assert_int_equal(cutter_cuts(rig.cutter), cuts + 1);
        assert_int_equal(job.attempts, breaks[i].attempts);
        assert_int_equal(tx_rig_count(server()), 2);
        hf_close(db);
    }
}

/* Without the answer of the probe nobody can know, and nobody says so. */
static void loss__a_lost_probe_is_an_honest_unknown(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_db *db = open_warm(NULL);
    struct job job = {.rows = 2, .by_text = true};
    cutter_arm(rig.cutter, CUT_REPLY, "COMMIT");
    assert_code(hf_tx(db, NULL, fill, &job, &err), HF_E_UNKNOWN, &err);
    assert_string_equal(err.sqlstate, "08007");
    assert_false(err.may_repeat);
    hf_close(db);
}

static void loss__by_hand_the_truth_is_told_and_nothing_repeated(void **state)
{
    (void)state;
    static const struct {
        enum cut cut;
        bool is_committed;
    } cases[] = {{CUT_REQUEST, false}, {CUT_REPLY, true}};
    for (size_t i = 0; i < 2; i++) {
        struct hf_error err;
        struct hf_tx *tx;
        struct hf_db *db = open_warm(NULL);
        assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
        assert_ok(
            hf_tx_exec(tx, "INSERT INTO t VALUES (1, $1)", HF_PARAMS(hf_int(1)), NULL, NULL, &err),
            &err);
        cutter_arm(rig.cutter, cases[i].cut, "COMMIT");
        int code = hf_tx_commit(tx, &err);
        if (cases[i].is_committed)
            assert_ok(code, &err);
        else
            assert_true(code != HF_SUCCESS && code != HF_E_UNKNOWN && err.may_repeat);
        assert_int_equal(tx_rig_count(server()), cases[i].is_committed);
        hf_close(db);
    }
}

/* Connection open, server healthy, and no answer: it is not waited for until nothing can be found
 * out any more. */
static void loss__a_line_that_falls_silent_leaves_time_to_ask(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_db *db = open_warm(NULL);
    struct job job = {.rows = 2};
    cutter_arm(rig.cutter, CUT_SILENCE, "COMMIT");
    int64_t began = tx_rig_ms();
    assert_ok(hf_tx(db, &(struct hf_tx_options){.deadline_ms = 6000}, fill, &job, &err), &err);
    assert_in_range(tx_rig_ms() - began, 2400, 6000);
    assert_int_equal(job.attempts, 1);
    assert_int_equal(tx_rig_count(server()), 2);
    cutter_resume(rig.cutter);
    hf_close(db);
}

static void loss__a_read_only_one_whose_commit_is_lost_was_good(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_tx *tx;
    struct hf_db *db = open_warm(NULL);
    struct hf_tx_options options = {.is_read_only = true, .isolation = HF_REPEATABLE_READ};
    assert_ok(hf_tx_begin(db, &options, &tx, &err), &err);
    assert_ok(hf_tx_exec(tx, "SELECT * FROM t", NULL, NULL, NULL, &err), &err);
    cutter_arm(rig.cutter, CUT_REQUEST, "COMMIT");
    assert_ok(hf_tx_commit(tx, &err), &err);
    hf_close(db);
}

/* ---- the server ---- */

static int end_own_backend(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    struct job *job = arg;
    int code = fill(tx, arg, err);
    if (code == HF_SUCCESS && job->attempts == 1)
        code =
            hf_tx_exec(tx, "SELECT pg_terminate_backend(pg_backend_pid())", NULL, NULL, NULL, err);
    return code;
}

static void loss__a_backend_that_is_ended_costs_an_attempt(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_db *db = open_warm(NULL);
    struct job job = {.rows = 2};
    assert_ok(hf_tx(db, NULL, end_own_backend, &job, &err), &err);
    assert_int_equal(job.attempts, 2);
    assert_int_equal(tx_rig_count(server()), 2);
    hf_close(db);
}

/* What happens to the servers once the line was cut, on a thread of its own. */
struct accident {
    bool is_failover;
};

static void *happen(void *arg)
{
    const struct accident *accident = arg;
    struct rig_server *servers = rig.servers.servers;
    cutter_wait_cut(rig.cutter);
    cutter_refuse(rig.cutter, true);
    rig_kill(&servers[0]);
    if (accident->is_failover) {
        rig_promote(&servers[1]);
        return NULL;
    }
    rig_start(&servers[0]);
    cutter_refuse(rig.cutter, false);
    return NULL;
}

static void lose_server(enum cut cut, const char *text, uint32_t attempts)
{
    struct hf_error err;
    pthread_t thread;
    struct accident accident = {0};
    struct hf_db *db = open_warm(&patient);
    struct job job = {.rows = 2};
    cutter_arm(rig.cutter, cut, text);
    assert_int_equal(pthread_create(&thread, NULL, happen, &accident), 0);
    assert_ok(hf_tx(db, NULL, fill, &job, &err), &err);
    pthread_join(thread, NULL);
    /* The line is cut a moment before the server dies: attempts more may come in between. */
    assert_in_range(job.attempts, attempts, attempts == 1 ? 1 : ATTEMPTS_MAX);
    assert_int_equal(tx_rig_count(server()), 2);
    hf_close(db);
}

static void loss__a_server_killed_before_the_first_statement(void **state)
{
    (void)state;
    lose_server(CUT_PAUSE, "BEGIN", 2);
}

static void loss__a_server_killed_in_the_middle(void **state)
{
    (void)state;
    lose_server(CUT_REPLY, "BEGIN", 2);
}

static void loss__a_server_killed_before_commit_arrives(void **state)
{
    (void)state;
    lose_server(CUT_PAUSE, "COMMIT", 2);
}

static void loss__a_server_killed_after_commit(void **state)
{
    (void)state;
    lose_server(CUT_REPLY, "COMMIT", 1);
}

/* Frozen with COMMIT on its way, and thawed later. */
static void *freeze_for_a_while(void *arg)
{
    (void)arg;
    cutter_wait_cut(rig.cutter);
    rig_freeze(server());
    cutter_resume(rig.cutter); /* COMMIT reaches a server that stands still */
    struct timespec pause = {.tv_sec = 2};
    nanosleep(&pause, NULL);
    rig_thaw(server());
    return NULL;
}

static void loss__a_server_that_stands_still_at_commit(void **state)
{
    (void)state;
    struct hf_error err;
    pthread_t thread;
    struct hf_db *db = open_warm(&patient);
    struct job job = {.rows = 2};
    cutter_arm(rig.cutter, CUT_PAUSE, "COMMIT");
    assert_int_equal(pthread_create(&thread, NULL, freeze_for_a_while, NULL), 0);
    assert_ok(hf_tx(db, NULL, fill, &job, &err), &err);
    pthread_join(thread, NULL);
    assert_int_equal(tx_rig_count(server()), 2);
    hf_close(db);
}

/* ---- failover; the last tests, since the first server does not come back ---- */

/* The walsender tells that it has read the new setting. The checkpointer, which makes commits wait,
 * has too once a checkpoint is done. */
static void wait_synchronous(void)
{
    int64_t began = tx_rig_ms();
    while (rig_number(server(), "SELECT count(*) FROM pg_stat_replication "
                                "WHERE sync_state = 'sync'") == 0)
        assert_in_range(tx_rig_ms() - began, 0, 60000);
    rig_sql(server(), "CHECKPOINT", NULL, 0);
}

static void lose_primary(enum cut cut, uint32_t attempts)
{
    struct tx_rig kept = rig;
    struct hf_error err;
    pthread_t thread;
    struct accident accident = {.is_failover = true};
    tx_rig_begin(&rig, 1);
    struct hf_db *db = open_warm(&patient);
    rig_sql(server(), "ALTER SYSTEM SET synchronous_standby_names = 's1'", NULL, 0);
    rig_sql(server(), "SELECT pg_reload_conf()", NULL, 0);
    wait_synchronous();
    rig_wait_replayed(server(), &rig.servers.servers[1]);
    struct job job = {.rows = 2};
    cutter_arm(rig.cutter, cut, "COMMIT");
    assert_int_equal(pthread_create(&thread, NULL, happen, &accident), 0);
    assert_ok(hf_tx(db, NULL, fill, &job, &err), &err);
    pthread_join(thread, NULL);
    assert_in_range(job.attempts, attempts, attempts == 1 ? 1 : ATTEMPTS_MAX);
    assert_int_equal(tx_rig_count(&rig.servers.servers[1]), 2);
    hf_close(db);
    tx_rig_end(&rig);
    rig = kept;
}

static void loss__a_commit_that_reached_the_standby_is_found_after_its_promotion(void **state)
{
    (void)state;
    lose_primary(CUT_REPLY, 1);
}

static void loss__a_commit_that_did_not_is_run_again_on_the_new_primary(void **state)
{
    (void)state;
    lose_primary(CUT_PAUSE, 2);
}

static int begin_rig(void **state)
{
    (void)state;
    tx_rig_begin(&rig, 0);
    return 0;
}

static int end_rig(void **state)
{
    (void)state;
    tx_rig_end(&rig);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss__each_break_of_the_line_ends_in_the_truth),
        cmocka_unit_test(loss__a_lost_probe_is_an_honest_unknown),
        cmocka_unit_test(loss__by_hand_the_truth_is_told_and_nothing_repeated),
        cmocka_unit_test(loss__a_line_that_falls_silent_leaves_time_to_ask),
        cmocka_unit_test(loss__a_read_only_one_whose_commit_is_lost_was_good),
        cmocka_unit_test(loss__a_backend_that_is_ended_costs_an_attempt),
        cmocka_unit_test(loss__a_server_killed_before_the_first_statement),
        cmocka_unit_test(loss__a_server_killed_in_the_middle),
        cmocka_unit_test(loss__a_server_killed_before_commit_arrives),
        cmocka_unit_test(loss__a_server_killed_after_commit),
        cmocka_unit_test(loss__a_server_that_stands_still_at_commit),
        cmocka_unit_test(loss__a_commit_that_reached_the_standby_is_found_after_its_promotion),
        cmocka_unit_test(loss__a_commit_that_did_not_is_run_again_on_the_new_primary),
    };
    return cmocka_run_group_tests(tests, begin_rig, end_rig);
}
