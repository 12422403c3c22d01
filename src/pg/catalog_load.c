#include "pg/catalog_load.h"

#include <libpq-fe.h>
#include <stdio.h>

#include "base/bug.h"
#include "os/entropy.h"

enum {
    COLUMN_SCHEMA,
    COLUMN_NAME,
    COLUMN_VOLATILITY,
    COLUMN_NOTE,
    COLUMNS
};

/* The answers to all questions, so that the memory can be measured before it is asked for. */
struct answers {
    PGresult *rows[USES_KINDS]; /* NULL for kinds that are not asked for */
    size_t names;
    size_t text_size;
};

static struct sv value_at(const PGresult *rows, int row, int column)
{
    return sv_from(PQgetvalue(rows, row, column), (size_t)PQgetlength(rows, row, column));
}

static enum hf_rc ask(struct answers *answers, struct conn *conn, enum uses_kind kind,
                      int64_t deadline_ns, struct hf_err *err)
{
    const char *query = catalog_query(kind);
    if (query == NULL)
        return HF_OK;
    PGresult *rows = NULL;
    const enum hf_rc rc = conn_query(conn, query, NULL, deadline_ns, &rows, err);
    if (rc != HF_OK)
        return err_while(err, "asking for the %ss of the catalogue", uses_kind_name(kind));
    hf_assert(PQnfields(rows) == COLUMNS);
    answers->rows[kind] = rows;
    answers->names += (size_t)PQntuples(rows);
    for (int row = 0; row < PQntuples(rows); row++) {
        for (int column = 0; column < COLUMNS; column++)
            answers->text_size += (size_t)PQgetlength(rows, row, column) + 1;
    }
    return HF_OK;
}

static enum hf_rc feed(struct catalog *catalog, const struct answers *answers, struct hf_err *err)
{
    for (int kind = 0; kind < USES_KINDS; kind++) {
        const PGresult *rows = answers->rows[kind];
        for (int row = 0; rows != NULL && row < PQntuples(rows); row++) {
            const struct catalog_row read = {.kind = (enum uses_kind)kind,
                                             .schema = value_at(rows, row, COLUMN_SCHEMA),
                                             .name = value_at(rows, row, COLUMN_NAME),
                                             .volatility = value_at(rows, row, COLUMN_VOLATILITY),
                                             .note = value_at(rows, row, COLUMN_NOTE)};
            const enum hf_rc rc = catalog_feed(catalog, &read, err);
            if (rc != HF_OK)
                return rc;
        }
    }
    catalog_seal(catalog);
    return HF_OK;
}

/* A struct catalog and what it works in are one block. */
static size_t head_size(void)
{
    return (sizeof(struct catalog) + 15) & ~(size_t)15;
}

static enum hf_rc make(struct catalog **catalog, const struct answers *answers, uint32_t generation,
                       struct mem *mem, struct hf_err *err)
{
    struct hash_key key;
    entropy_fill(&key, sizeof key);
    const size_t least = answers->names * sizeof(struct catalog_entry) + answers->text_size;
    if (least > CATALOG_LOAD_SIZE_MAX)
        return err_set(err, HF_RC_LIMIT, "54000", "the catalogue is too large: %zu names",
                       answers->names);
    const uint32_t names = (uint32_t)answers->names + 1;
    const uint32_t text_size = (uint32_t)answers->text_size + 8;
    const size_t size = head_size() + catalog_size(names, text_size);
    char *block = mem_alloc(mem, size);
    if (block == NULL)
        return mem_refused(mem, size, err);
    *catalog = (struct catalog *)(void *)block;
    catalog_init(*catalog, block + head_size(), names, text_size, generation, key);
    const enum hf_rc rc = feed(*catalog, answers, err);
    if (rc != HF_OK) {
        catalog_drop(*catalog, mem);
        *catalog = NULL;
    }
    return rc;
}

enum hf_rc catalog_load(struct catalog **catalog, struct conn *conn, uint32_t generation,
                        int64_t deadline_ns, struct mem *mem, struct hf_err *err)
{
    struct answers answers = {0};
    enum hf_rc rc = HF_OK;
    *catalog = NULL;
    for (int kind = 0; rc == HF_OK && kind < USES_KINDS; kind++)
        rc = ask(&answers, conn, (enum uses_kind)kind, deadline_ns, err);
    if (rc == HF_OK)
        rc = make(catalog, &answers, generation, mem, err);
    for (int kind = 0; kind < USES_KINDS; kind++)
        PQclear(answers.rows[kind]);
    return rc;
}

void catalog_drop(struct catalog *catalog, struct mem *mem)
{
    mem_free(mem, catalog);
}

enum hf_rc catalog_state(char state[CATALOG_STATE_SIZE], struct conn *conn, int64_t deadline_ns,
                         struct hf_err *err)
{
    PGresult *rows = NULL;
    const enum hf_rc rc =
        conn_query(conn, catalog_fingerprint_query(), NULL, deadline_ns, &rows, err);
    if (rc == HF_OK)
        snprintf(state, CATALOG_STATE_SIZE, "%s", PQgetvalue(rows, 0, 0));
    PQclear(rows);
    return rc;
}
