#include "client/rows.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "client/errors.h"
#include "client/query.h"
#include "client/tx.h"
#include "client/values.h"

#define MADE_COLUMNS_MAX 1664 /* as many as PostgreSQL's own results may have */

static void body_fill(struct rows_body *body, struct pg_result *result, const char *endpoint)
{
    body->result = result;
    atomic_init(&body->holders, 1);
    if (endpoint != NULL)
        memcpy(body->endpoint, endpoint, sizeof body->endpoint);
    else
        body->endpoint[0] = '\0';
}

static struct rows_body *body_take(struct pg_result *result, const char *endpoint)
{
    struct rows_body *body = PQresultAlloc(result, sizeof *body);
    if (body == NULL)
        PQclear(result);
    else
        body_fill(body, result, endpoint);
    return body;
}

static void show(struct hf_rows *rows, struct rows_body *body)
{
    rows->body = body;
    rows->row = -1;
    rows->count = PQntuples(body->result);
}

struct hf_rows *rows_take(struct pg_result *result, const char *endpoint)
{
    struct {
        struct hf_rows rows;
        struct rows_body body;
    } *both = PQresultAlloc(result, sizeof *both);
    if (both == NULL) {
        PQclear(result);
        return NULL;
    }
    both->rows = (struct hf_rows){0};
    body_fill(&both->body, result, endpoint);
    show(&both->rows, &both->body);
    return &both->rows;
}

struct hf_rows *rows_share(struct rows_body *body, int64_t age_ms, bool is_stale)
{
    PGresult *home = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    struct hf_rows *rows = home != NULL ? PQresultAlloc(home, sizeof *rows) : NULL;
    if (rows == NULL) {
        PQclear(home);
        return NULL;
    }
    rows_body_hold(body);
    *rows = (struct hf_rows){.home = home, .age_ms = age_ms, .is_stale = is_stale};
    show(rows, body);
    return rows;
}

struct hf_rows *rows_stream(struct pg_result *result, const char *endpoint, struct call *stream)
{
    struct rows_body *body = body_take(result, endpoint);
    if (body == NULL)
        return NULL;
    struct hf_rows *rows = rows_share(body, 0, false);
    rows_body_drop(body); /* the reader's hold is enough */
    if (rows == NULL)
        return NULL;
    rows->stream = stream;
    rows->is_stream = true;
    return rows;
}

bool rows_go_on(struct hf_rows *rows, struct pg_result *result)
{
    struct rows_body *body = body_take(result, rows->body->endpoint);
    if (body == NULL)
        return false;
    rows->gone += (uint64_t)rows->count;
    rows_body_drop(rows->body);
    show(rows, body);
    return true;
}

void rows_body_hold(void *body)
{
    struct rows_body *held = body;
    atomic_fetch_add_explicit(&held->holders, 1, memory_order_relaxed);
}

void rows_body_drop(void *body)
{
    struct rows_body *held = body;
    /* The last holder is alone: only who holds a body can make it another's too. */
    if (atomic_load_explicit(&held->holders, memory_order_acquire) == 1 ||
        atomic_fetch_sub_explicit(&held->holders, 1, memory_order_acq_rel) == 1)
        PQclear(held->result);
}

size_t rows_body_size(const struct rows_body *body)
{
    return PQresultMemorySize(body->result);
}

void hf_rows_free(struct hf_rows *rows)
{
    if (rows == NULL)
        return;
    if (rows->stream != NULL)
        query_abandon(rows->stream);
    if (rows->tx != NULL)
        tx_rows_end(rows);
    PGresult *home = rows->home;
    rows_body_drop(rows->body); /* where the body is its home, `rows` ends here */
    if (home != NULL)
        PQclear(home);
}

int hf_rows_next(struct hf_rows *rows, struct hf_error *err)
{
    if (rows == NULL) {
        error_set(err, HF_E_USAGE, "there are no rows");
        return -1;
    }
    while (rows->row + 1 >= rows->count) {
        if (rows->is_cut) {
            error_set(err, HF_E_USAGE, "the transaction ended before its rows did");
            return -1;
        }
        if (rows->stream == NULL && rows->tx == NULL) {
            rows->row = rows->count;
            return 0;
        }
        int code = rows->tx != NULL ? tx_rows_next(rows, err) : query_next_chunk(rows, err);
        if (code != HF_SUCCESS)
            return -1;
    }
    ++rows->row;
    return 1;
}

/* ---- of the current row ---- */

static bool is_on_value(const struct hf_rows *rows, int column)
{
    return rows != NULL && rows->row >= 0 && rows->row < rows->count && column >= 0 &&
           column < PQnfields(rows->body->result);
}

bool hf_rows_is_null(const struct hf_rows *rows, int column)
{
    return !is_on_value(rows, column) || PQgetisnull(rows->body->result, rows->row, column) != 0;
}

const char *hf_rows_text(const struct hf_rows *rows, int column)
{
    return is_on_value(rows, column) ? PQgetvalue(rows->body->result, rows->row, column) : "";
}

size_t hf_rows_length(const struct hf_rows *rows, int column)
{
    return is_on_value(rows, column) ? (size_t)PQgetlength(rows->body->result, rows->row, column)
                                     : 0;
}

/* The value and how it is written; false: NULL, or there is none. */
static bool value_at(const struct hf_rows *rows, int column, struct value *value)
{
    if (hf_rows_is_null(rows, column))
        return false;
    const PGresult *result = rows->body->result;
    *value = (struct value){
        .bytes = PQgetvalue(result, rows->row, column),
        .size = (size_t)PQgetlength(result, rows->row, column),
        .type = PQftype(result, column),
        .is_binary = PQfformat(result, column) == 1,
    };
    return true;
}

int64_t hf_rows_int(const struct hf_rows *rows, int column)
{
    struct value value;
    return value_at(rows, column, &value) ? value_int(&value) : 0;
}

double hf_rows_double(const struct hf_rows *rows, int column)
{
    struct value value;
    return value_at(rows, column, &value) ? value_double(&value) : 0.0;
}

bool hf_rows_bool(const struct hf_rows *rows, int column)
{
    struct value value;
    return value_at(rows, column, &value) && value_bool(&value);
}

/* ---- of the result ---- */

int64_t hf_rows_count(const struct hf_rows *rows)
{
    if (rows == NULL)
        return 0;
    return rows->stream != NULL || rows->tx != NULL ? -1 : (int64_t)rows->gone + rows->count;
}

int hf_rows_columns(const struct hf_rows *rows)
{
    return rows == NULL ? 0 : PQnfields(rows->body->result);
}

int hf_rows_column(const struct hf_rows *rows, const char *name)
{
    if (rows == NULL || name == NULL)
        return -1;
    const PGresult *result = rows->body->result;
    int columns = PQnfields(result);
    for (int i = 0; i < columns; i++) {
        if (strcmp(PQfname(result, i), name) == 0)
            return i;
    }
    return -1;
}

const char *hf_rows_name(const struct hf_rows *rows, int column)
{
    const char *name = rows != NULL ? PQfname(rows->body->result, column) : NULL;
    return name != NULL ? name : "";
}

uint32_t hf_rows_type(const struct hf_rows *rows, int column)
{
    return rows != NULL ? PQftype(rows->body->result, column) : 0;
}

uint64_t rows_affected_of(const struct pg_result *result)
{
    /* libpq's own function wants to write into the result, which it does not do. */
    const char *text = PQcmdTuples((PGresult *)(uintptr_t)result);
    return strtoull(text, NULL, 10);
}

uint64_t hf_rows_affected(const struct hf_rows *rows)
{
    if (rows == NULL)
        return 0;
    if (rows->is_stream)
        return rows->gone + (uint64_t)rows->count; /* as far as it has come */
    return rows_affected_of(rows->body->result);
}

const char *hf_rows_endpoint(const struct hf_rows *rows)
{
    return rows != NULL ? rows->body->endpoint : "";
}

int64_t hf_rows_age_ms(const struct hf_rows *rows, bool *is_stale)
{
    if (is_stale != NULL)
        *is_stale = rows != NULL && rows->is_stale;
    return rows != NULL ? rows->age_ms : 0;
}

/* ---- made by the caller ---- */

/* Scratch memory comes from the result itself: it goes with it. */
static bool describe(PGresult *result, const char *const *names, int columns)
{
    PGresAttDesc *list = PQresultAlloc(result, (size_t)columns * sizeof *list);
    if (list == NULL)
        return false;
    for (int i = 0; i < columns; i++) {
        size_t size = strlen(names[i]) + 1;
        char *name = PQresultAlloc(result, size); /* libpq's struct wants one it could write to */
        if (name == NULL)
            return false;
        memcpy(name, names[i], size);
        list[i] = (PGresAttDesc){.name = name, .typid = VALUE_TEXT, .typlen = -1, .atttypmod = -1};
    }
    return PQsetResultAttrs(result, columns, list) != 0;
}

static bool set_value(PGresult *result, int row, int column, const char *value)
{
    /* libpq copies the bytes; its parameter is not const by history. */
    char *bytes = (char *)(uintptr_t)value;
    return PQsetvalue(result, row, column, bytes, value != NULL ? (int)strlen(value) : -1) != 0;
}

static bool fill(PGresult *result, int columns, const char *const *values, int count)
{
    for (int row = 0; row < count; row++) {
        for (int column = 0; column < columns; column++) {
            if (!set_value(result, row, column,
                           values[(size_t)row * (size_t)columns + (size_t)column]))
                return false;
        }
    }
    return true;
}

int hf_rows_make(const char *const *names, int columns, const char *const *values, int64_t count,
                 struct hf_rows **rows, struct hf_error *err)
{
    if (rows == NULL)
        return error_set(err, HF_E_USAGE, "hf_rows_make() needs a place for the rows");
    *rows = NULL;
    if (columns < 1 || columns > MADE_COLUMNS_MAX || count < 0 || count > INT32_MAX ||
        names == NULL || (values == NULL && count > 0))
        return error_set(err, HF_E_USAGE,
                         "hf_rows_make() takes 1 to %d columns with names, and a value for each "
                         "of them in each row",
                         MADE_COLUMNS_MAX);
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    if (result == NULL || !describe(result, names, columns) ||
        !fill(result, columns, values, (int)count)) {
        PQclear(result);
        return error_set(err, HF_E_MEMORY, "out of memory for rows");
    }
    *rows = rows_take(result, NULL);
    if (*rows == NULL)
        return error_set(err, HF_E_MEMORY, "out of memory for rows");
    return HF_SUCCESS;
}
