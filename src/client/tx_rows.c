/*
 * Rows of a transaction that come in chunks. While they do, the transaction is busy with them.
 */
#include <libpq-fe.h>

#include "client/db.h"
#include "client/errors.h"
#include "client/rows.h"
#include "client/tx.h"

/* The rows know the transaction and it knows them, so that whoever ends first can say so. */
static void part(struct hf_tx *tx)
{
    if (tx->rows != NULL)
        tx->rows->tx = NULL;
    tx->rows = NULL;
}

struct hf_rows *tx_rows_begin(struct hf_tx *tx)
{
    struct pg_result *result = tx->result;
    const char *endpoint = call_endpoint_name(tx->call);
    tx->result = NULL;
    if (tx->stage != TX_STAGE_EXEC)
        return rows_take(result, endpoint);
    struct hf_rows *rows = rows_stream(result, endpoint, NULL);
    if (rows != NULL) {
        rows->tx = tx;
        tx->rows = rows;
    }
    return rows;
}

/* Between enter and leave. */
static int next_chunk(struct hf_tx *tx, struct hf_rows *rows, struct hf_error *err)
{
    int code = tx_do(tx, TX_NEXT_ROWS, err);
    struct pg_result *result = tx->result;
    tx->result = NULL;
    if (code != HF_SUCCESS) {
        part(tx);
        rows->is_cut = true;
        PQclear(result);
        return code;
    }
    if (tx->stage != TX_STAGE_EXEC)
        part(tx);
    if (result != NULL && !rows_go_on(rows, result))
        return error_set(err, HF_E_MEMORY, "out of memory for the rows of the result");
    return HF_SUCCESS;
}

int tx_rows_next(struct hf_rows *rows, struct hf_error *err)
{
    struct hf_tx *tx = rows->tx;
    int code = tx_enter(tx, err);
    if (code != HF_SUCCESS)
        return code;
    code = next_chunk(tx, rows, err);
    tx_leave(tx);
    return code;
}

void tx_rows_end(struct hf_rows *rows)
{
    struct hf_tx *tx = rows->tx;
    if (tx_enter(tx, NULL) != HF_SUCCESS) {
        part(tx);
        return;
    }
    part(tx);
    tx->is_discarding = true;
    tx_do(tx, TX_NEXT_ROWS, NULL);
    tx->is_discarding = false;
    PQclear(tx->result);
    tx->result = NULL;
    tx_leave(tx);
}

void tx_rows_cut(struct hf_tx *tx)
{
    if (tx->rows != NULL)
        tx->rows->is_cut = true;
    part(tx);
}
