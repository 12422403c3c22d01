/*
 * Asks on the caller's own thread.
 */
#include "asker.h"

#include <stdlib.h>

struct asker {
    struct hf_db *db;
};

struct asker *asker_new(struct hf_db *db)
{
    struct asker *asker = malloc(sizeof(*asker));

    if (asker == NULL)
        abort();
    asker->db = db;
    return asker;
}

void asker_free(struct asker *asker)
{
    free(asker);
}

int asker_query(struct asker *asker, const char *sql, const struct hf_params *params,
                const struct hf_call_options *options, struct hf_rows **rows, struct hf_error *err)
{
    return hf_query(asker->db, sql, params, options, rows, err);
}

static int insert_both(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    const struct row *row = arg;
    const struct hf_params *params = HF_PARAMS(hf_int(row->writer), hf_int(row->number));
    int failed = hf_tx_exec(tx, INSERT_ROW, params, NULL, NULL, err);

    return failed ? failed : hf_tx_exec(tx, INSERT_TWIN, params, NULL, NULL, err);
}

int asker_insert_both(struct asker *asker, struct row row, const struct hf_tx_options *options,
                      struct hf_error *err)
{
    return hf_tx(asker->db, options, insert_both, &row, err);
}
