/*
 * A connection on loan: a call whose work does nothing but hold it, parked until it is given back.
 *
 * Its guard has no breakers: a loan of minutes says nothing of how fast the server answers. What
 * was done on the connection nobody knows, so it is cleaned before anybody else has it (DISCARD
 * ALL, in attempt.c), and closed if it comes back inside of a transaction.
 */
#include <libpq-fe.h>

#include "base/ns.h"
#include "client/cancel_token.h"
#include "client/db.h"
#include "client/drive.h"
#include "client/errors.h"
#include "client/options.h"

struct hf_lease {
    struct call *call;
    bool is_back;
    bool is_broken;
};

static struct hf_lease *lease_of(struct call *call)
{
    return call->work;
}

static enum call_step begin(struct call *call)
{
    struct hf_lease *lease = lease_of(call);
    lease->is_back = false;
    call->conn->is_dirty = true;
    PQsetnonblocking(call->conn->conn.pg, 0);
    return CALL_PARKED;
}

static enum call_step turn(struct call *call)
{
    struct hf_lease *lease = lease_of(call);
    if (!lease->is_back)
        return CALL_PARKED;
    if (!conn_take_back(&call->conn->conn) || lease->is_broken)
        call->conn->is_broken = true;
    call->ended = (struct call_ending){.outcome = {.code = OUTCOME_SUCCESS}};
    return CALL_ENDED;
}

static const struct call_ops lease_ops = {.begin = begin, .turn = turn};

static int start(struct hf_db *db, struct call *call, const struct hf_call_options *options,
                 struct hf_error *err)
{
    static const struct hf_call_options none;
    struct hf_err why;
    struct guard_request request;
    if (options_check_call(options, &why) != HF_OK)
        return error_from_err(err, HF_E_USAGE, &why);
    if (options == NULL)
        options = &none;
    if (cancel_token_refuses(options->cancel, err))
        return HF_E_CANCELLED;
    db_request(db, options->intent == HF_READ ? ROUTE_READ : ROUTE_WRITE, options, &request);
    call->user_cancel = options->cancel;
    _Static_assert(sizeof(struct hf_lease) <= CALL_ROOM, "the room of a call must hold a lease");
    struct hf_lease *lease = (void *)call->room;
    *lease = (struct hf_lease){.call = call};
    call_start(call, &db->lease_guard, &lease_ops, lease, &request);
    call_drive(call);
    call->user_cancel = NULL; /* it is for the taking only */
    if (options->decision != NULL)
        db_decision(call, options->decision);
    return call->state == CALL_IS_PARKED ? HF_SUCCESS : call_answer(call, err);
}

int hf_lease_take(struct hf_db *db, const struct hf_call_options *options, struct hf_lease **lease,
                  struct hf_error *err)
{
    if (lease == NULL)
        return error_set(err, HF_E_USAGE, "hf_lease_take() needs a place for the lease");
    *lease = NULL;
    int code = db_enter(db, err);
    if (code != HF_SUCCESS)
        return code;
    struct call *call = db_call_new(db);
    if (call == NULL) {
        code = error_set(err, HF_E_MEMORY, "out of memory for a lease");
    } else {
        code = start(db, call, options, err);
        if (code == HF_SUCCESS)
            *lease = lease_of(call);
        else if (call->ops == NULL)
            db_call_free(call);
        else
            drive_release(call);
    }
    db_leave(db);
    return code;
}

struct pg_conn *hf_lease_pg(struct hf_lease *lease)
{
    return lease != NULL ? lease->call->conn->conn.pg : NULL;
}

void hf_lease_give(struct hf_lease *lease, bool is_broken)
{
    if (lease == NULL || db_is_forked(lease->call->db))
        return;
    struct call *call = lease->call;
    lease->is_back = true;
    lease->is_broken = is_broken;
    call_resume(call);
    drive_release(call);
}
