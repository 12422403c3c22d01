/*
 * What outlives what: objects, callers' memory, threads and connections that end in another order
 * than they began. A primary and a standby of it; nearly each case is a crash that could have been.
 */
#include "../unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "holdfast.h"
#include "pg_rig.h"

#define PATIENCE_MS 60000 /* the machine may have other work */

static struct rig rig;
static struct hf_error err;

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void good(int code)
{
    if (code != HF_SUCCESS)
        fail_msg("%s: %s | %s", hf_code_name(code), err.message, err.detail);
}

static struct hf_db *open_on(size_t servers, int pool_size)
{
    char text[200];
    struct hf_db *db;
    snprintf(text, sizeof text, "host=127.0.0.1%s port=%d,%d user=postgres dbname=postgres",
             servers > 1 ? ",127.0.0.1" : "", rig.servers[0].port, rig.servers[1].port);
    if (servers == 1)
        snprintf(text, sizeof text, "host=127.0.0.1 port=%d user=postgres dbname=postgres",
                 rig.servers[0].port);
    struct hf_options options = {
        .conninfo = text, .pool = {.size_max = pool_size}, .deadline_ms = 90000, .start_ms = 60000};
    good(hf_open_with(&db, &options, &err));
    return db;
}

static void run(struct hf_loop *loop)
{
    int64_t deadline = now_ms() + PATIENCE_MS;
    while (hf_loop_pending(loop) > 0) {
        struct pollfd file = {.fd = hf_loop_fd(loop), .events = POLLIN};
        int64_t wait = hf_loop_timeout_ms(loop);
        assert_true(now_ms() < deadline);
        poll(&file, 1, (int)(wait < 0 || wait > 1000 ? 1000 : wait));
        hf_turn(loop);
    }
}

static int begin(void **state)
{
    (void)state;
    rig_begin(&rig, 1);
    rig_sql(&rig.servers[0], "CREATE TABLE t (id int)", NULL, 0);
    rig_wait_replayed(&rig.servers[0], &rig.servers[1]);
    return 0;
}

static int end(void **state)
{
    (void)state;
    rig_end(&rig);
    return 0;
}

/* ---- loops ---- */

static void count_end(struct hf_call *call, int code, struct hf_rows *rows,
                      const struct hf_error *why, void *arg)
{
    (void)call;
    (void)code;
    (void)why;
    hf_rows_free(rows);
    ++*(int *)arg;
}

#define FILES 40

static void loop__nobody_is_woken_by_a_number_that_is_another_file_now(void **state)
{
    (void)state;
    int files[FILES], ends = 0;
    struct hf_loop *loop;
    struct hf_db *db = open_on(1, 4);
    good(hf_loop_new(db, &loop, &err));
    for (int i = 0; i < 4; i++)
        good(hf_loop_query(loop, "SELECT 1", NULL, NULL, count_end, &ends, NULL, &err));
    run(loop);
    assert_int_equal(ends, 4);
    hf_loop_free(loop);
    /* The lowest numbers that are free: those of the loop among them. */
    for (int i = 0; i < FILES; i++)
        files[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    hf_close(db);
    for (int i = 0; i < FILES; i++) {
        eventfd_t count = 0;
        assert_true(eventfd_read(files[i], &count) < 0 && errno == EAGAIN);
        close(files[i]);
    }
}

/* What callbacks do whose program knows nothing of an end. */
struct restless {
    struct hf_loop *loop;
    const struct hf_call_options *options;
    struct hf_tx *tx;
    int ends, refused;
    int more; /* how often it may begin again */
};

static void begin_again(struct hf_call *call, int code, struct hf_rows *rows,
                        const struct hf_error *why, void *arg)
{
    (void)call;
    (void)code;
    (void)why;
    struct restless *restless = arg;
    hf_rows_free(rows);
    ++restless->ends;
    if (restless->more-- > 0 &&
        hf_loop_query(restless->loop, "SELECT 'again'", NULL, restless->options, begin_again,
                      restless, NULL, NULL) != HF_SUCCESS)
        ++restless->refused;
}

static void loop__is_freed_though_each_callback_begins_again(void **state)
{
    (void)state;
    struct hf_db *db = open_on(1, 4);
    struct restless restless = {.more = 1000000};
    good(hf_loop_new(db, &restless.loop, &err));
    for (int i = 0; i < 3; i++)
        good(hf_loop_query(restless.loop, "SELECT pg_sleep(60)", NULL, NULL, begin_again, &restless,
                           NULL, &err));
    hf_loop_free(restless.loop);
    assert_int_equal(restless.ends, 3);
    assert_int_equal(restless.refused, 3);
    hf_close(db);
}

static void loop__a_turn_ends_though_each_callback_begins_what_ends_at_once(void **state)
{
    (void)state;
    struct hf_db *db = open_on(1, 4);
    struct restless restless = {.more = 1000,
                                .options = HF_WITH(.intent = HF_READ, .cache = HF_CACHE_FIRST)};
    good(hf_loop_new(db, &restless.loop, &err));
    good(hf_loop_query(restless.loop, "SELECT 'again'", NULL, restless.options, begin_again,
                       &restless, NULL, &err));
    int most = 0;
    while (hf_loop_pending(restless.loop) > 0) {
        struct pollfd file = {.fd = hf_loop_fd(restless.loop), .events = POLLIN};
        assert_true(poll(&file, 1, PATIENCE_MS) > 0); /* it says so when there is more */
        int told = hf_turn(restless.loop);
        most = told > most ? told : most;
    }
    assert_int_equal(restless.ends, 1001);
    assert_int_equal(most, 1);
    hf_loop_free(restless.loop);
    hf_close(db);
}

static void roll_back(struct hf_call *call, int code, struct hf_rows *rows,
                      const struct hf_error *why, void *arg)
{
    (void)call;
    (void)why;
    struct restless *restless = arg;
    hf_rows_free(rows);
    ++restless->ends;
    if (code != HF_SUCCESS &&
        hf_loop_rollback(restless->tx, roll_back, restless, NULL) != HF_SUCCESS)
        ++restless->refused;
}

static void take_tx(struct hf_call *call, int code, struct hf_rows *rows,
                    const struct hf_error *why, void *arg)
{
    (void)rows;
    (void)why;
    struct restless *restless = arg;
    assert_int_equal(code, HF_SUCCESS);
    restless->tx = hf_call_tx(call);
}

static void loop__is_freed_though_callbacks_roll_back(void **state)
{
    (void)state;
    struct hf_db *db = open_on(1, 4);
    struct restless list[3] = {{0}};
    struct hf_loop *loop;
    good(hf_loop_new(db, &loop, &err));
    for (int i = 0; i < 3; i++)
        good(hf_loop_begin(loop, NULL, take_tx, &list[i], &err));
    run(loop);
    for (int i = 0; i < 2; i++)
        good(hf_loop_tx_query(list[i].tx, "SELECT pg_sleep(60)", NULL, NULL, roll_back, &list[i],
                              &err));
    hf_loop_free(loop);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(list[i].ends, 1);
        assert_int_equal(list[i].refused, 1);
    }
    hf_close(db);
}

/* ---- names that were the caller's ---- */

static void names__of_operations_are_copied(void **state)
{
    (void)state;
    char name[32] = "orders", page[60000];
    int ends = 0;
    struct hf_loop *loop;
    struct hf_pipeline *pipeline;
    struct hf_stats stats;
    struct hf_db *db = open_on(1, 4);
    good(hf_loop_new(db, &loop, &err));
    good(hf_loop_query(loop, "SELECT 1", NULL,
                       HF_WITH(.intent = HF_READ, .cache = HF_CACHE_FALLBACK, .operation = name),
                       count_end, &ends, NULL, &err));
    memset(name, 'x', sizeof name - 1);
    run(loop);
    hf_stats(db, &stats);
    assert_int_equal(stats.cache_entries, 1);
    hf_cache_clear(db, "orders");
    hf_stats(db, &stats);
    assert_int_equal(stats.cache_entries, 0);
    hf_loop_free(loop);

    snprintf(name, sizeof name, "in_a_pipeline");
    good(hf_pipeline_new(db, NULL, HF_WITH(.operation = name), &pipeline, &err));
    memset(name, 'x', sizeof name - 1);
    good(hf_pipeline_add(pipeline, "SELECT 1", NULL, &err));
    good(hf_pipeline_run(pipeline, &err));
    hf_pipeline_free(pipeline);
    hf_metrics(db, page, sizeof page);
    assert_non_null(strstr(page, "operation=\"in_a_pipeline\""));
    assert_null(strstr(page, "operation=\"xxx"));
    hf_close(db);
}

/* ---- servers that are learnt later ---- */

/* Answers each connection with the same list of members, until the listener is shut down. */
static void *be_patroni(void *arg)
{
    int fd, listener = *(int *)arg;
    char body[300], answer[500], unused[1000];
    snprintf(body, sizeof body,
             "{\"members\": [{\"name\": \"a\", \"host\": \"127.0.0.1\", \"port\": %d}, "
             "{\"name\": \"b\", \"host\": \"127.0.0.1\", \"port\": %d}]}",
             rig.servers[0].port, rig.servers[1].port);
    int size = snprintf(answer, sizeof answer,
                        "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n"
                        "Content-Length: %zu\r\n\r\n%s",
                        strlen(body), body);
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        if (read(fd, unused, sizeof unused) > 0)
            send(fd, answer, (size_t)size, MSG_NOSIGNAL);
        close(fd);
    }
    return NULL;
}

static void names__of_servers_that_are_learnt_later_are_told_too(void **state)
{
    (void)state;
    char text[100], url[64], wanted[64];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 10), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    pthread_t thread;
    pthread_create(&thread, NULL, be_patroni, &listener);
    snprintf(text, sizeof text, "host=127.0.0.1 port=%d user=postgres dbname=postgres",
             rig.servers[0].port);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    snprintf(wanted, sizeof wanted, "127.0.0.1:%d", rig.servers[1].port);
    struct hf_options options = {.conninfo = text,
                                 .deadline_ms = 90000,
                                 .start_ms = 60000,
                                 .route = {.patroni = url, .consistency = HF_ANY_AGE}};
    struct hf_db *db;
    struct hf_rows *rows;
    struct hf_decision decision;
    good(hf_open_with(&db, &options, &err));
    int64_t deadline = now_ms() + PATIENCE_MS;
    bool is_learnt = false;
    while (!is_learnt) {
        assert_true(now_ms() < deadline);
        good(hf_query(db, "SELECT 1", NULL, HF_WITH(.intent = HF_READ, .decision = &decision),
                      &rows, &err));
        assert_string_equal(hf_rows_endpoint(rows), decision.endpoint);
        is_learnt = strcmp(decision.endpoint, wanted) == 0;
        assert_true(is_learnt || decision.endpoint[0] != '\0');
        hf_rows_free(rows);
    }
    hf_close(db);
    shutdown(listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(listener);
}

/* ---- COPY in a transaction that ends first ---- */

static void copy__may_be_ended_after_its_transaction_was_taken_away(void **state)
{
    (void)state;
    struct hf_tx *tx;
    struct hf_copy *copy;
    struct hf_db *db = open_on(1, 4);
    /* As much as the machine needs to begin it, and no more. */
    for (int64_t deadline_ms = 2000;; deadline_ms *= 2) {
        const struct hf_tx_options options = {.deadline_ms = deadline_ms};
        if (hf_tx_begin(db, &options, &tx, &err) == HF_SUCCESS &&
            hf_copy_start(db, tx, "COPY t FROM STDIN", NULL, &copy, &err) == HF_SUCCESS)
            break;
        assert_int_equal(err.code, HF_E_DEADLINE);
        hf_tx_rollback(tx);
    }
    int code;
    int64_t deadline = now_ms() + PATIENCE_MS;
    while ((code = hf_copy_put(copy, "1\n", 2, &err)) == HF_SUCCESS) {
        assert_true(now_ms() < deadline);
        usleep(1500000); /* in code of its own, longer than who looks for such ones takes */
    }
    assert_int_equal(code, HF_E_DEADLINE);
    assert_int_not_equal(hf_copy_end(copy, NULL, NULL, &err), HF_SUCCESS);
    hf_tx_rollback(tx);
    assert_int_equal(rig_number(&rig.servers[0], "SELECT count(*) FROM t"), 0);
    hf_close(db);
}

static void copy__that_never_began_leaves_its_transaction_nothing(void **state)
{
    (void)state;
    struct hf_tx *tx;
    struct hf_copy *copy;
    struct hf_db *db = open_on(1, 4);
    good(hf_tx_begin(db, NULL, &tx, &err));
    /* Nothing was sent yet: BEGIN goes out with the COPY, and finds nobody there. */
    rig_sql(&rig.servers[0],
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'holdfast'",
            NULL, 0);
    int64_t deadline = now_ms() + PATIENCE_MS;
    while (rig_number(&rig.servers[0], "SELECT count(*) FROM pg_stat_activity "
                                       "WHERE application_name = 'holdfast'") > 0)
        assert_true(now_ms() < deadline);
    assert_int_not_equal(hf_copy_start(db, tx, "COPY t FROM STDIN", NULL, &copy, &err), HF_SUCCESS);
    assert_null(copy);
    hf_tx_rollback(tx);
    hf_close(db);
}

/* ---- old results ---- */

#define SLOW "SELECT (SELECT count(*) FROM t) FROM pg_sleep(2)"

struct asker {
    struct hf_db *db;
    int64_t found;
    char endpoint[64];
};

static void *ask_slow(void *arg)
{
    struct asker *asker = arg;
    struct hf_error error;
    struct hf_rows *rows;
    asker->found = -1;
    if (hf_query(asker->db, SLOW, NULL, HF_WITH(.intent = HF_READ, .cache = HF_CACHE_FIRST), &rows,
                 &error) != HF_SUCCESS)
        return NULL;
    if (hf_rows_next(rows, NULL) == 1)
        asker->found = hf_rows_int(rows, 0);
    snprintf(asker->endpoint, sizeof asker->endpoint, "%s", hf_rows_endpoint(rows));
    hf_rows_free(rows);
    return NULL;
}

static bool reads_go_to_the_replica(struct hf_db *db)
{
    struct hf_endpoint list[2];
    memset(list, 0, sizeof list);
    return hf_endpoints(db, list, 2) == 2 && list[1].role != NULL && list[1].health != NULL &&
           strcmp(list[1].role, "replica") == 0 && strcmp(list[1].health, "up") == 0;
}

static void cache__what_a_replica_replayed_while_it_answered_is_not_in_its_answer(void **state)
{
    (void)state;
    pthread_t thread;
    struct hf_db *db = open_on(2, 4);
    struct asker first = {.db = db}, second = {.db = db};
    int64_t deadline = now_ms() + PATIENCE_MS;
    while (!reads_go_to_the_replica(db))
        assert_true(now_ms() < deadline);
    pthread_create(&thread, NULL, ask_slow, &first);
    while (rig_number(&rig.servers[1], "SELECT count(*) FROM pg_stat_activity WHERE state = "
                                       "'active' AND query LIKE '%FROM pg_sleep(2)' "
                                       "AND pid <> pg_backend_pid()") == 0)
        assert_true(now_ms() < deadline);
    good(hf_exec(db, "INSERT INTO t VALUES (1)", NULL, NULL, NULL, &err));
    pthread_join(thread, NULL);
    assert_int_equal(first.found, 0); /* its snapshot is from before */
    ask_slow(&second);
    assert_int_equal(second.found, 1); /* and we have written since */
    good(hf_exec(db, "DELETE FROM t", NULL, NULL, NULL, &err));
    hf_close(db);
}

/* ---- fork ---- */

#define FOLLOWERS 8

static void fork__a_child_closes_though_threads_of_the_parent_wait(void **state)
{
    (void)state;
    pthread_t threads[FOLLOWERS];
    struct asker askers[FOLLOWERS];
    struct hf_stats stats;
    struct hf_db *db = open_on(1, 4);
    int64_t deadline = now_ms() + PATIENCE_MS;
    for (int i = 0; i < FOLLOWERS; i++) {
        askers[i] = (struct asker){.db = db};
        pthread_create(&threads[i], NULL, ask_slow, &askers[i]);
    }
    do {
        usleep(1000);
        hf_stats(db, &stats);
        assert_true(now_ms() < deadline);
    } while (stats.cache_hits + stats.cache_misses < FOLLOWERS);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        hf_close(db);
        _exit(0);
    }
    int status = -1;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (now_ms() >= deadline)
            kill(pid, SIGKILL);
        usleep(10000);
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (int i = 0; i < FOLLOWERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(askers[i].found, 0);
    }
    hf_close(db);
}

/* ---- loans and cancelling ---- */

static void hear_notice(void *arg, const PGresult *result)
{
    (void)result;
    ++*(int *)arg;
}

static void lease__leaves_nothing_in_libpq_behind(void **state)
{
    (void)state;
    int heard = 0;
    struct hf_lease *lease;
    struct hf_db *db = open_on(1, 1); /* all have the same connection */
    good(hf_lease_take(db, NULL, &lease, &err));
    PGconn *pg = (PGconn *)hf_lease_pg(lease);
    PQsetNoticeReceiver(pg, hear_notice, &heard);
    PQclear(PQexec(pg, "LISTEN news"));
    PQclear(PQexec(pg, "NOTIFY news")); /* it is heard, and not taken */
    PQclear(PQexec(pg, "DO $$BEGIN RAISE NOTICE 'ours'; END$$"));
    assert_int_equal(heard, 1);
    int backend = PQbackendPID(pg);
    hf_lease_give(lease, false);
    good(hf_exec(db, "DO $$BEGIN RAISE NOTICE 'not ours any more'; END$$", NULL, NULL, NULL, &err));
    assert_int_equal(heard, 1);
    good(hf_lease_take(db, NULL, &lease, &err));
    pg = (PGconn *)hf_lease_pg(lease);
    assert_int_equal(PQbackendPID(pg), backend);
    assert_null(PQnotifies(pg));
    hf_lease_give(lease, false);
    hf_close(db);
}

static int never(struct hf_tx *tx, void *arg, struct hf_error *why)
{
    (void)tx;
    (void)why;
    ++*(int *)arg;
    return 0;
}

static void cancel__what_was_fired_before_stops_all_that_begins(void **state)
{
    (void)state;
    int called = 0;
    struct hf_cancel *cancel;
    struct hf_lease *lease;
    struct hf_tx *tx;
    struct hf_db *db = open_on(1, 4);
    good(hf_cancel_new(&cancel, &err));
    good(hf_exec(db, "SELECT 1", NULL, NULL, NULL, &err)); /* a connection is there, no wait */
    hf_cancel_fire(cancel);
    struct hf_tx_options options = {.cancel = cancel};
    for (int round = 0; round < 2; round++) {
        int wanted = round == 0 ? HF_E_CANCELLED : HF_SUCCESS;
        assert_int_equal(hf_exec(db, "SELECT 1", NULL, HF_WITH(.cancel = cancel), NULL, &err),
                         wanted);
        assert_int_equal(hf_lease_take(db, HF_WITH(.cancel = cancel), &lease, &err), wanted);
        hf_lease_give(lease, false);
        assert_int_equal(hf_tx_begin(db, &options, &tx, &err), wanted);
        hf_tx_rollback(tx);
        assert_int_equal(hf_tx(db, &options, never, &called, &err), wanted);
        assert_int_equal(called, round);
        hf_cancel_reset(cancel);
    }
    hf_close(db);
    hf_cancel_free(cancel);
}

static void cancel__is_heard_by_a_copy_whose_line_never_fills(void **state)
{
    (void)state;
    struct hf_cancel *cancel;
    struct hf_copy *copy;
    const void *data;
    size_t size;
    struct hf_db *db = open_on(1, 4);
    good(hf_cancel_new(&cancel, &err));
    good(hf_copy_start(db, NULL, "COPY t FROM STDIN", HF_WITH(.cancel = cancel), &copy, &err));
    good(hf_copy_put(copy, "1\n", 2, &err));
    hf_cancel_fire(cancel);
    assert_int_equal(hf_copy_put(copy, "2\n", 2, &err), HF_E_CANCELLED);
    assert_int_equal(hf_copy_end(copy, NULL, NULL, &err), HF_E_CANCELLED);
    hf_cancel_reset(cancel);
    good(hf_copy_start(db, NULL, "COPY (SELECT generate_series(1, 100)) TO STDOUT",
                       HF_WITH(.cancel = cancel), &copy, &err));
    assert_int_equal(hf_copy_get(copy, &data, &size, &err), 1);
    hf_cancel_fire(cancel);
    assert_int_equal(hf_copy_get(copy, &data, &size, &err), -1);
    assert_int_equal(hf_copy_end(copy, NULL, NULL, &err), HF_E_CANCELLED);
    assert_int_equal(rig_number(&rig.servers[0], "SELECT count(*) FROM t"), 0);
    hf_close(db);
    hf_cancel_free(cancel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loop__nobody_is_woken_by_a_number_that_is_another_file_now),
        cmocka_unit_test(loop__is_freed_though_each_callback_begins_again),
        cmocka_unit_test(loop__a_turn_ends_though_each_callback_begins_what_ends_at_once),
        cmocka_unit_test(loop__is_freed_though_callbacks_roll_back),
        cmocka_unit_test(names__of_operations_are_copied),
        cmocka_unit_test(names__of_servers_that_are_learnt_later_are_told_too),
        cmocka_unit_test(copy__may_be_ended_after_its_transaction_was_taken_away),
        cmocka_unit_test(copy__that_never_began_leaves_its_transaction_nothing),
        cmocka_unit_test(cache__what_a_replica_replayed_while_it_answered_is_not_in_its_answer),
        cmocka_unit_test(fork__a_child_closes_though_threads_of_the_parent_wait),
        cmocka_unit_test(lease__leaves_nothing_in_libpq_behind),
        cmocka_unit_test(cancel__is_heard_by_a_copy_whose_line_never_fills),
        cmocka_unit_test(cancel__what_was_fired_before_stops_all_that_begins),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
