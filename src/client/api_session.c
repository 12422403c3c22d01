/*
 * hf_session_*: promises that travel between processes as tokens.
 */
#include <stdio.h>
#include <string.h>

#include "base/ns.h"
#include "client/db.h"
#include "client/errors.h"
#include "core/token.h"
#include "os/clock.h"
#include "pg/watcher.h"

/* A promise that is only a time becomes a position with the next sample of the primary, which is an
 * interval away; while there is no primary there is none. */
#define SETTLE_NS_MAX HF_SEC(2)

_Static_assert(HF_TOKEN_BYTES >= TOKEN_BYTES, "a token must fit where the header says");

int hf_session_new(struct hf_db *db, struct hf_session **session, struct hf_error *err)
{
    if (session == NULL)
        return error_set(err, HF_E_USAGE, "hf_session_new() needs a place for the session");
    *session = NULL;
    int code = db_enter(db, err);
    if (code != HF_SUCCESS)
        return code;
    struct hf_session *made = mem_alloc(&db->mem, sizeof *made);
    if (made == NULL) {
        code = error_set(err, HF_E_MEMORY, "out of memory for a session");
    } else {
        session_init(made, db);
        *session = made;
    }
    db_leave(db);
    return code;
}

void hf_session_free(struct hf_session *session)
{
    if (session == NULL || db_is_forked(session->db))
        return;
    struct mem *mem = &session->db->mem;
    session_deinit(session);
    mem_free(mem, session);
}

/* Which cluster positions are of, as far as a server has told; 0: none has. */
static uint64_t system_of(struct hf_db *db)
{
    struct topology_endpoint endpoint;
    for (uint32_t i = 0; i < db->endpoint_count; i++) {
        if (watcher_describe(db->watcher, i, &endpoint) && endpoint.has_answer &&
            !endpoint.is_foreign)
            return endpoint.answer.system_identifier;
    }
    return 0;
}

static int settle(struct hf_db *db, struct route_promise *promise, struct hf_error *err)
{
    int64_t deadline_ns = clock_now() + SETTLE_NS_MAX;
    struct call_view view;
    call_view_init(&view);
    watcher_refresh(db->watcher, &view.seen, &view.snapshot);
    while (!token_settle(promise, &view.snapshot)) {
        if (!watcher_wait(db->watcher, view.seen, deadline_ns) || db_is_closing(db))
            return error_set(err, HF_E_NOBODY,
                             "no primary has told its position since the session's last write");
        watcher_refresh(db->watcher, &view.seen, &view.snapshot);
    }
    return HF_SUCCESS;
}

int hf_session_token(struct hf_session *session, char token[HF_TOKEN_BYTES], struct hf_error *err)
{
    struct hf_err why;
    if (session == NULL || token == NULL)
        return error_set(err, HF_E_USAGE, "hf_session_token() needs a session and a place");
    token[0] = '\0';
    struct hf_db *db = session->db;
    int code = db_enter(db, err);
    if (code != HF_SUCCESS)
        return code;
    struct route_promise promise = session_promise(session);
    code = settle(db, &promise, err);
    if (code == HF_SUCCESS && token_write(&promise, system_of(db), token, &why) != HF_OK)
        code = error_from_err(err, HF_E_NOBODY, &why);
    db_leave(db);
    return code;
}

int hf_session_adopt(struct hf_session *session, const char *token, struct hf_error *err)
{
    struct hf_err why;
    struct route_promise promise;
    if (session == NULL || token == NULL)
        return error_set(err, HF_E_USAGE, "hf_session_adopt() needs a session and a token");
    struct hf_db *db = session->db;
    int code = db_enter(db, err);
    if (code != HF_SUCCESS)
        return code;
    int64_t now_ns = clock_now();
    if (token_read(sv_from(token, strlen(token)), system_of(db), now_ns, &promise, &why) != HF_OK)
        code = error_from_err(err, HF_E_USAGE, &why);
    else
        session_join(session, &promise, now_ns);
    db_leave(db);
    return code;
}
