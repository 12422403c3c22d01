/*
 * Many statements at a time on one thread, in the program's own epoll loop.
 *
 *     async_epoll CONNINFO [STATEMENTS]
 *
 * IN_FLIGHT statements are under way at any time: each that ends starts the next. Beside them the
 * loop serves something else, here a ticking timer.
 */
#include "holdfast_epoll.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    IN_FLIGHT = 16,
};

struct program {
    struct hf_loop *loop;
    long wanted;
    long started;
    long succeeded;
    long failed;
};

static void start_next(struct program *program);

static void on_done(struct hf_call *call, int code, struct hf_rows *rows,
                    const struct hf_error *err, void *arg)
{
    struct program *program = arg;

    (void)call;
    if (code == HF_SUCCESS && hf_rows_next(rows, NULL) == 1) {
        program->succeeded++;
    } else {
        fprintf(stderr, "%s: %s\n", hf_code_name(code), err != NULL ? err->message : "no row");
        program->failed++;
    }
    hf_rows_free(rows);
    start_next(program);
}

static void start_next(struct program *program)
{
    struct hf_error err;

    while (program->started < program->wanted) {
        program->started++;
        if (hf_loop_query(program->loop, "SELECT $1::int, pg_sleep(0.001)",
                          HF_PARAMS(hf_int(program->started)), HF_WITH(.intent = HF_READ), on_done,
                          program, NULL, &err) == HF_SUCCESS)
            return;
        fprintf(stderr, "%s\n", err.message);
        program->failed++;
    }
}

static long run(struct program *program, int epoll, int ticker)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    long ticks = 0;

    epoll_ctl(epoll, EPOLL_CTL_ADD, ticker, &event);
    for (int i = 0; i < IN_FLIGHT; i++)
        start_next(program);
    while (hf_loop_pending(program->loop) > 0) {
        uint64_t expired;
        int count = epoll_wait(epoll, &event, 1, hf_epoll_timeout(program->loop, -1));

        if (count == 1 && event.data.ptr == NULL &&
            read(ticker, &expired, sizeof(expired)) == sizeof(expired))
            ticks++;
        hf_turn(program->loop);
    }
    return ticks;
}

int main(int argc, char **argv)
{
    struct program program = {.wanted = argc > 2 ? strtol(argv[2], NULL, 10) : 200};
    struct itimerspec tenth = {{0, 10000000}, {0, 10000000}};
    int ticker = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    int epoll = epoll_create1(0);
    struct hf_error err;
    struct hf_db *db;
    long ticks;

    if (hf_open(&db, argc > 1 ? argv[1] : "", &err) != HF_SUCCESS ||
        hf_loop_new(db, &program.loop, &err) != HF_SUCCESS) {
        fprintf(stderr, "%s\n", err.message);
        hf_close(db);
        return 1;
    }
    timerfd_settime(ticker, 0, &tenth, NULL);
    hf_epoll_add(epoll, program.loop);
    ticks = run(&program, epoll, ticker);
    printf("%ld succeeded, %ld failed, the timer ticked: %s\n", program.succeeded, program.failed,
           ticks > 0 ? "yes" : "no");
    hf_loop_free(program.loop);
    hf_close(db);
    return program.failed != 0;
}
