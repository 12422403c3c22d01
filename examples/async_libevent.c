/*
 * A large result in pieces of bounded memory, in a libevent base, and a call that is cancelled.
 *
 *     async_libevent CONNINFO [ROWS]
 */
#include "holdfast_event.h"

#include <stdio.h>
#include <stdlib.h>

struct program {
    struct event_base *base;
    struct hf_loop *loop;
    struct hf_call *slow;
    int64_t rows;
    int open; /* calls that have not ended */
    int failed;
};

static void ended(struct program *program)
{
    if (--program->open == 0)
        event_base_loopbreak(program->base);
}

/* With chunk_rows: called for each chunk, and at the end without rows. */
static void on_chunk(struct hf_call *call, int code, struct hf_rows *rows,
                     const struct hf_error *err, void *arg)
{
    struct program *program = arg;

    (void)call;
    if (code != HF_SUCCESS) {
        fprintf(stderr, "%s\n", err->message);
        program->failed = 1;
    } else if (rows != NULL) {
        while (hf_rows_next(rows, NULL) > 0)
            program->rows++;
        hf_rows_free(rows);
        return;
    }
    /* The big one is done, so nobody waits for the slow one any more. */
    if (program->slow != NULL)
        hf_call_cancel(program->slow);
    ended(program);
}

static void on_slow(struct hf_call *call, int code, struct hf_rows *rows,
                    const struct hf_error *err, void *arg)
{
    struct program *program = arg;

    (void)call;
    (void)err;
    hf_rows_free(rows);
    program->slow = NULL;
    printf("the slow one: %s\n", hf_code_name(code));
    ended(program);
}

int main(int argc, char **argv)
{
    int64_t wanted = argc > 2 ? strtol(argv[2], NULL, 10) : 10000;
    struct program program = {.base = event_base_new()};
    struct hf_event_bridge bridge;
    struct hf_error err;
    struct hf_db *db;

    if (hf_open(&db, argc > 1 ? argv[1] : "", &err) != HF_SUCCESS ||
        hf_loop_new(db, &program.loop, &err) != HF_SUCCESS ||
        hf_loop_query(program.loop, "SELECT pg_sleep(20)", NULL, NULL, on_slow, &program,
                      &program.slow, &err) != HF_SUCCESS ||
        hf_loop_query(program.loop, "SELECT * FROM generate_series(1, $1::bigint)",
                      HF_PARAMS(hf_int(wanted)), HF_WITH(.chunk_rows = 1000), on_chunk, &program,
                      NULL, &err) != HF_SUCCESS ||
        hf_event_start(&bridge, program.base, program.loop) != 0) {
        fprintf(stderr, "%s\n", err.message);
        hf_loop_free(program.loop);
        hf_close(db);
        return 1;
    }
    program.open = 2;
    event_base_dispatch(program.base);
    printf("%lld rows\n", (long long)program.rows);
    hf_event_stop(&bridge);
    hf_loop_free(program.loop);
    hf_close(db);
    event_base_free(program.base);
    return program.failed;
}
