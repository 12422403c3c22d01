/*
 * Asks in an hf_loop of its own, step by step, and turns that until the step has called back.
 */
#include "asker.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

struct asker {
    struct hf_loop *loop;
    bool is_done; /* the step under way */
    int code;
    struct hf_rows *rows;
    struct hf_tx *tx;
    struct hf_error err;
};

struct asker *asker_new(struct hf_db *db)
{
    struct asker *asker = calloc(1, sizeof(*asker));

    if (asker == NULL || hf_loop_new(db, &asker->loop, NULL) != HF_SUCCESS)
        abort();
    return asker;
}

void asker_free(struct asker *asker)
{
    hf_loop_free(asker->loop);
    free(asker);
}

static void on_done(struct hf_call *call, int code, struct hf_rows *rows,
                    const struct hf_error *err, void *arg)
{
    struct asker *asker = arg;

    asker->is_done = true;
    asker->code = code;
    asker->rows = rows;
    asker->tx = hf_call_tx(call);
    if (code != HF_SUCCESS)
        asker->err = *err;
}

/* The end of a step: `started` is what starting it returned. */
static int finish(struct asker *asker, int started, struct hf_rows **rows, struct hf_error *err)
{
    if (started != HF_SUCCESS)
        return started;
    while (!asker->is_done) {
        struct pollfd file = {.fd = hf_loop_fd(asker->loop), .events = POLLIN};

        poll(&file, 1, (int)hf_loop_timeout_ms(asker->loop));
        hf_turn(asker->loop);
    }
    if (asker->code != HF_SUCCESS)
        *err = asker->err;
    if (rows != NULL)
        *rows = asker->rows;
    else
        hf_rows_free(asker->rows);
    return asker->code;
}

int asker_query(struct asker *asker, const char *sql, const struct hf_params *params,
                const struct hf_call_options *options, struct hf_rows **rows, struct hf_error *err)
{
    asker->is_done = false;
    return finish(asker,
                  hf_loop_query(asker->loop, sql, params, options, on_done, asker, NULL, err), rows,
                  err);
}

static int insert(struct asker *asker, struct hf_tx *tx, const char *sql, struct row row,
                  struct hf_error *err)
{
    const struct hf_params *params = HF_PARAMS(hf_int(row.writer), hf_int(row.number));

    asker->is_done = false;
    return finish(asker, hf_loop_tx_query(tx, sql, params, NULL, on_done, asker, err), NULL, err);
}

int asker_insert_both(struct asker *asker, struct row row, const struct hf_tx_options *options,
                      struct hf_error *err)
{
    struct hf_error ignored;
    struct hf_tx *tx;
    int failed;

    asker->is_done = false;
    failed = finish(asker, hf_loop_begin(asker->loop, options, on_done, asker, err), NULL, err);
    if (failed)
        return failed;
    tx = asker->tx;
    failed = insert(asker, tx, INSERT_ROW, row, err);
    if (!failed)
        failed = insert(asker, tx, INSERT_TWIN, row, err);
    asker->is_done = false;
    if (failed)
        finish(asker, hf_loop_rollback(tx, on_done, asker, &ignored), NULL, &ignored);
    else
        failed = finish(asker, hf_loop_commit(tx, on_done, asker, err), NULL, err);
    return failed;
}
