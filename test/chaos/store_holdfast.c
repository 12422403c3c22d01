/*
 * The store over libholdfast: nothing but calls of its public header. Where libpq needs a loop, a
 * second connection and a list of SQLSTATEs, here each call says what it is owed.
 *
 * Seats of even writers have a session each, and now and then leave its token where readers find
 * it, as processes hand it to one another. Those of odd ones share that of the hf_db. How a seat
 * asks, blocking or in a loop, is asker.h's business.
 */
#include "store.h"

#include "asker.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WRITERS_MAX = 64,
};

struct store {
    struct hf_db *db;
    pthread_mutex_t lock; /* over the tokens */
    char tokens[WRITERS_MAX][HF_TOKEN_BYTES];
};

struct seat {
    struct store *store;
    struct hf_session *session;
    struct asker *asker;
};

static void tell(struct told *told, const struct hf_error *err)
{
    snprintf(told->code, sizeof(told->code), "%s", hf_code_name(err->code));
    snprintf(told->sqlstate, sizeof(told->sqlstate), "%s", err->sqlstate);
    snprintf(told->endpoint, sizeof(told->endpoint), "%s", err->endpoint);
    snprintf(told->words, sizeof(told->words), "%.120s%s%.70s", err->message,
             err->detail[0] == '\0' ? "" : ": ", err->detail);
}

static enum answer answer_of(const struct hf_error *err, struct told *told)
{
    tell(told, err);
    return err->code == HF_E_UNKNOWN ? ANSWER_UNKNOWN : ANSWER_NOT_DONE;
}

struct store *store_open(const char *conninfo, struct told *told)
{
    struct store *store = calloc(1, sizeof(*store));
    struct hf_error err;

    if (store == NULL)
        return NULL;
    pthread_mutex_init(&store->lock, NULL);
    if (hf_open(&store->db, conninfo, &err) == HF_SUCCESS)
        return store;
    tell(told, &err);
    free(store);
    return NULL;
}

void store_close(struct store *store)
{
    hf_close(store->db);
    free(store);
}

struct seat *seat_new(struct store *store)
{
    struct seat *seat = calloc(1, sizeof(*seat));

    if (seat == NULL || hf_session_new(store->db, &seat->session, NULL) != HF_SUCCESS)
        abort();
    seat->store = store;
    seat->asker = asker_new(store->db);
    return seat;
}

void seat_free(struct seat *seat)
{
    asker_free(seat->asker);
    hf_session_free(seat->session);
    free(seat);
}

static _Noreturn void give_up(const char *what, const struct hf_error *err)
{
    fprintf(stderr, "worker: %s: %s\n", what, err->message);
    abort();
}

static struct hf_session *session_of(const struct seat *seat, int writer)
{
    return writer % 2 == 0 ? seat->session : NULL;
}

/* Taking a token waits until the primary has told a position, and fails where there is none. */
bool seat_share(struct seat *seat, int writer)
{
    char token[HF_TOKEN_BYTES];

    if (session_of(seat, writer) == NULL)
        return true; /* all calls without a session share one */
    if (hf_session_token(seat->session, token, NULL) != HF_SUCCESS)
        return false;
    pthread_mutex_lock(&seat->store->lock);
    memcpy(seat->store->tokens[writer], token, sizeof(token));
    pthread_mutex_unlock(&seat->store->lock);
    return true;
}

static void adopt_token(struct seat *seat, int writer)
{
    char token[HF_TOKEN_BYTES];
    struct hf_error err;

    if (session_of(seat, writer) == NULL)
        return;
    pthread_mutex_lock(&seat->store->lock);
    memcpy(token, seat->store->tokens[writer], sizeof(token));
    pthread_mutex_unlock(&seat->store->lock);
    if (hf_session_adopt(seat->session, token, &err) != HF_SUCCESS)
        give_up("hf_session_adopt", &err);
}

enum answer seat_write(struct seat *seat, enum way way, struct row row, int deadline_ms,
                       struct told *told)
{
    struct hf_session *session = session_of(seat, row.writer);
    struct hf_rows *rows = NULL;
    struct hf_error err;
    int failed;

    if (way == WAY_TRANSACTION) {
        struct hf_tx_options options = {.deadline_ms = deadline_ms, .session = session};

        failed = asker_insert_both(seat->asker, row, &options, &err);
    } else {
        failed =
            asker_query(seat->asker, INSERT_ROW, HF_PARAMS(hf_int(row.writer), hf_int(row.number)),
                        HF_WITH(.deadline_ms = deadline_ms, .session = session), &rows, &err);
        hf_rows_free(rows);
    }
    return failed ? answer_of(&err, told) : ANSWER_DONE;
}

enum answer seat_read(struct seat *seat, enum promise promise, struct row row, int deadline_ms,
                      bool *found, struct told *told)
{
    static const int consistencies[] = {
        [PROMISE_OWN] = HF_SESSION,     [PROMISE_SHARED] = HF_SESSION,
        [PROMISE_PRIMARY] = HF_PRIMARY, [PROMISE_BOUNDED] = HF_BOUNDED,
        [PROMISE_ANY] = HF_ANY_AGE,
    };
    struct hf_decision decision = {.endpoint = ""};
    struct hf_call_options options = {
        .consistency = consistencies[promise],
        .staleness_ms = STALENESS_MS,
        .deadline_ms = deadline_ms,
        .session = session_of(seat, row.writer),
        .decision = &decision,
    };
    struct hf_rows *rows;
    struct hf_error err;

    if (promise == PROMISE_SHARED)
        adopt_token(seat, row.writer);
    if (asker_query(seat->asker, "SELECT 1 FROM chaos_row WHERE writer = $1 AND number = $2",
                    HF_PARAMS(hf_int(row.writer), hf_int(row.number)), &options, &rows,
                    &err) != HF_SUCCESS)
        return answer_of(&err, told);
    *found = hf_rows_next(rows, NULL) == 1;
    hf_rows_free(rows);
    snprintf(told->endpoint, sizeof(told->endpoint), "%s", decision.endpoint);
    snprintf(told->words, sizeof(told->words), "%s", decision.reason);
    return ANSWER_DONE;
}
