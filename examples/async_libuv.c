/*
 * A transaction, step by step, in a libuv loop.
 *
 *     async_libuv CONNINFO
 *
 * Nothing blocks: begin, insert, count and commit each call back. With holdfast_uv.h it is a
 * handle of libuv's like others.
 */
#include "holdfast_uv.h"

#include <stdio.h>

struct program {
    struct hf_uv bridge;
    struct hf_loop *loop;
    struct hf_tx *tx;
    int steps;
    int failed;
};

static void fail(struct program *program, const char *step, const struct hf_error *err)
{
    fprintf(stderr, "%s: %s\n", step, err->message);
    program->failed = 1;
}

static void on_committed(struct hf_call *call, int code, struct hf_rows *rows,
                         const struct hf_error *err, void *arg)
{
    struct program *program = arg;

    (void)call;
    (void)rows;
    if (code != HF_SUCCESS)
        fail(program, "commit", err);
    else
        printf("committed\n");
    hf_uv_stop(&program->bridge); /* nothing left to do: uv_run() returns */
}

static void on_inserted(struct hf_call *call, int code, struct hf_rows *rows,
                        const struct hf_error *err, void *arg)
{
    struct program *program = arg;
    struct hf_error why;

    (void)call;
    hf_rows_free(rows);
    if (code != HF_SUCCESS) {
        fail(program, "insert", err);
        if (hf_loop_rollback(program->tx, on_committed, program, &why) != HF_SUCCESS)
            fail(program, "rollback", &why);
        return;
    }
    printf("step %d\n", ++program->steps);
    if (program->steps < 3)
        code =
            hf_loop_tx_query(program->tx, "INSERT INTO step VALUES ($1)",
                             HF_PARAMS(hf_int(program->steps)), NULL, on_inserted, program, &why);
    else
        code = hf_loop_commit(program->tx, on_committed, program, &why);
    if (code != HF_SUCCESS)
        fail(program, "next step", &why);
}

static void on_begun(struct hf_call *call, int code, struct hf_rows *rows,
                     const struct hf_error *err, void *arg)
{
    struct program *program = arg;
    struct hf_error why;

    (void)rows;
    if (code != HF_SUCCESS) {
        fail(program, "begin", err);
        hf_uv_stop(&program->bridge);
        return;
    }
    program->tx = hf_call_tx(call);
    if (hf_loop_tx_query(program->tx, "INSERT INTO step VALUES (0)", NULL, NULL, on_inserted,
                         program, &why) != HF_SUCCESS)
        fail(program, "insert", &why);
}

int main(int argc, char **argv)
{
    struct program program = {.steps = 0};
    struct hf_error err;
    struct hf_db *db;

    if (hf_open(&db, argc > 1 ? argv[1] : "", &err) != HF_SUCCESS ||
        hf_exec(db, "DROP TABLE IF EXISTS step; CREATE TABLE step (n int)", NULL, NULL, NULL,
                &err) != HF_SUCCESS ||
        hf_loop_new(db, &program.loop, &err) != HF_SUCCESS) {
        fprintf(stderr, "%s\n", err.message);
        hf_close(db);
        return 1;
    }
    if (hf_loop_begin(program.loop, NULL, on_begun, &program, &err) != HF_SUCCESS ||
        hf_uv_start(&program.bridge, uv_default_loop(), program.loop) != 0)
        fail(&program, "start", &err);
    else
        uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    hf_loop_free(program.loop);
    hf_close(db);
    uv_loop_close(uv_default_loop());
    return program.failed;
}
