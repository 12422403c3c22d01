/*
 * The steps of a transaction on its connection: the functions of call_ops. What a step sends, and
 * what its end makes of the transaction.
 */
#include <libpq-fe.h>
#include <string.h>

#include "base/bug.h"
#include "client/attempt.h"
#include "client/db.h"
#include "client/errors.h"
#include "client/record.h"
#include "client/tx.h"
#include "os/clock.h"

#define LOOK_NS HF_MS(100) /* while a server owes an answer: is it still the one to wait for? */

static struct outcome sqlstate(const char *code)
{
    return (struct outcome){.code = OUTCOME_SQLSTATE, .sqlstate = sqlstate_pack(code)};
}

static PGconn *pg_of(const struct hf_tx *tx)
{
    return tx->call->conn->conn.pg;
}

/* ---- what is known of the transaction ---- */

static struct outcome_facts facts_of(const struct hf_tx *tx)
{
    struct outcome_facts facts = tx->call->facts;
    facts.in_transaction = true;
    facts.may_write = tx->may_write;
    return facts;
}

static void tell(struct hf_tx *tx)
{
    tx->call->facts = facts_of(tx);
    call_tell_facts(tx->call);
}

void tx_fail(struct hf_tx *tx, struct outcome outcome, const struct outcome_facts *facts)
{
    tx->has_step_failed = true;
    if (tx->has_failure)
        return;
    tx->has_failure = true;
    tx->failure.outcome = outcome;
    tx->failure.facts = facts_of(tx);
    if (facts != NULL) {
        tx->failure.facts.is_fatal = facts->is_fatal;
        tx->failure.facts.is_stale_statement = facts->is_stale_statement;
        tx->failure.facts.is_read_only = tx->is_read_only;
    }
    tx->failure_error = tx->error;
}

/* The block has gone without a word of ours: the caller's own COMMIT or ROLLBACK. What it did is
 * done, so nothing may be repeated. */
static void lost_block(struct hf_tx *tx)
{
    error_set(&tx->error, HF_E_USAGE,
              "the statement ended the transaction; use hf_tx_commit() or hf_tx_rollback()");
    tx->place = TX_DEAD;
    tx->call->conn->is_broken = true;
    tx_fail(tx, sqlstate("2D000"), NULL);
    tx->failure.facts.commits_inside = true;
}

/* Looks at the connection again after something was done on it. */
static void look(struct hf_tx *tx)
{
    PGTransactionStatusType status = PQtransactionStatus(pg_of(tx));
    if (tx->call->conn->is_broken || status == PQTRANS_UNKNOWN)
        tx->place = TX_DEAD;
    else if (status == PQTRANS_INERROR)
        tx->place = TX_FAILED;
    else if (status == PQTRANS_INTRANS)
        tx->place = TX_OPEN;
    else if (!tx->has_step_failed && tx->place != TX_UNBEGUN)
        lost_block(tx);
    else if (tx->has_step_failed)
        tx->place = TX_DEAD; /* BEGIN itself was refused */
}

/* ---- pending words ---- */

bool tx_push_level(struct hf_tx *tx)
{
    if (tx->pending_count == TX_PENDING_MAX)
        return false;
    ++tx->level;
    tx->pending[tx->pending_count++] = (struct tx_pending){TX_SEND_SAVEPOINT, tx->level};
    return true;
}

/* A savepoint that was never sent needs no release. */
bool tx_drop_unsent(struct hf_tx *tx)
{
    if (tx->pending_count == 0)
        return false;
    const struct tx_pending *last = &tx->pending[tx->pending_count - 1];
    if (last->what != TX_SEND_SAVEPOINT || last->level != tx->level)
        return false;
    --tx->pending_count;
    --tx->level;
    return true;
}

bool tx_pop_level(struct hf_tx *tx)
{
    if (tx_drop_unsent(tx))
        return true;
    if (tx->pending_count == TX_PENDING_MAX)
        return false;
    tx->pending[tx->pending_count++] = (struct tx_pending){TX_SEND_RELEASE, tx->level};
    --tx->level;
    return true;
}

size_t tx_take_pending(struct hf_tx *tx, struct script_item *items)
{
    size_t count = tx->pending_count;
    for (size_t i = 0; i < count; i++) {
        const struct tx_pending *pending = &tx->pending[i];
        char *text = tx->texts[i];
        if (pending->what == TX_SEND_BEGIN)
            tx_text_begin(text, tx->isolation, tx->is_read_only, tx->is_deferrable);
        else
            tx_text_savepoint(text, pending->what == TX_SEND_SAVEPOINT ? "SAVEPOINT" : "RELEASE",
                              pending->level);
        items[i] = (struct script_item){.sql = text};
    }
    tx->pending_count = 0;
    return count;
}

/* ---- the probe ---- */

static const char *probe_sql(const struct hf_tx *tx)
{
    return commit_probe_sql(PQserverVersion(pg_of(tx)), COMMIT_MARK_AUTO);
}

static bool wants_probe(const struct hf_tx *tx)
{
    bool is_known = tx->has_probe && tx->probe.xid != 0;
    return tx->may_write && !tx->is_read_only && !is_known && probe_sql(tx) != NULL &&
           atomic_load(&tx->db->txs.may_probe) == TXS_MAY;
}

void tx_take_probe(struct hf_tx *tx, const struct pg_result *answer)
{
    const char *values[COMMIT_PROBE_COLUMNS];
    if (PQresultStatus(answer) != PGRES_TUPLES_OK || PQntuples(answer) != 1 ||
        PQnfields(answer) != COMMIT_PROBE_COLUMNS)
        return;
    for (int i = 0; i < COMMIT_PROBE_COLUMNS; i++)
        values[i] = PQgetisnull(answer, 0, i) != 0 ? NULL : PQgetvalue(answer, 0, i);
    tx->has_probe = commit_probe_read(&tx->probe, values, NULL) == HF_OK;
}

static void take_check(struct hf_tx *tx, const struct pg_result *answer)
{
    if (PQresultStatus(answer) != PGRES_TUPLES_OK || PQntuples(answer) != 1)
        return;
    bool may = strcmp(PQgetvalue(answer, 0, 0), "t") == 0;
    atomic_store(&tx->db->txs.may_probe, may ? TXS_MAY : TXS_MAY_NOT);
}

size_t tx_take_commit(struct hf_tx *tx, struct script_item *items, size_t *probe)
{
    size_t count = 0;
    *probe = SCRIPT_NONE;
    if (wants_probe(tx)) {
        *probe = 0;
        items[count++] =
            (struct script_item){.sql = probe_sql(tx), .is_kept = true, .is_flushed = true};
    }
    items[count++] = (struct script_item){.sql = "COMMIT"};
    tx->call->facts.commit_sent = true;
    tell(tx);
    return count;
}

/* ---- waiting ---- */

/* Another primary has taken over, or the one that owes us COMMIT's answer is down: nothing good can
 * come from there any more. */
static bool is_hopeless(struct hf_tx *tx)
{
    const struct snapshot *view = call_view(tx->call);
    uint32_t here = tx->call->endpoint;
    if (tx->is_read_only)
        return false;
    bool has_successor = view->writer != SNAPSHOT_NO_ENDPOINT && view->writer != here;
    bool is_down = view->endpoints[here].health == ENDPOINT_DOWN;
    return has_successor || (tx->call->facts.commit_sent && is_down);
}

static void say_late(struct hf_tx *tx)
{
    error_set(&tx->error, HF_E_DEADLINE, "the statement's deadline has passed");
}

/* The step will get no answer: the connection is given up. */
static void give_up(struct hf_tx *tx, bool is_late)
{
    tx->call->conn->is_broken = true;
    if (is_late)
        say_late(tx);
    else
        error_set(&tx->error, HF_E_LOST,
                  "the server does not answer, or is not the primary any more");
    tx_fail(tx, (struct outcome){.code = is_late ? OUTCOME_TIMEOUT : OUTCOME_CONN_LOST}, NULL);
    tx->place = TX_DEAD;
}

/* The statement's own deadline: it is cancelled, and the transaction lives, as after any error. The
 * engine carries the request beside the connection. False: that cannot be. */
static bool begin_cancel(struct hf_tx *tx)
{
    struct call *call = tx->call;
    if (tx->is_overdue || call->is_cancelling ||
        cancel_start(&call->cancel, &call->conn->conn.key) == CANCEL_FAILED)
        return false;
    call->is_cancelling = true;
    tx->is_overdue = true;
    tx->step_deadline_ns = ns_add(clock_now(), CALL_STOP_NS_MAX);
    return true;
}

static enum call_step wait_on(struct hf_tx *tx)
{
    struct call_wait *wait = &tx->call->wait;
    int64_t look_ns = ns_add(clock_now(), LOOK_NS);
    wait->deadline_ns = ns_min(ns_min(wait->deadline_ns, look_ns), tx->step_deadline_ns);
    return CALL_WAITS;
}

/* ---- steps ---- */

static struct script_item *add_item(struct hf_tx *tx, const char *sql)
{
    hf_assert(tx->item_count < TX_ITEMS_MAX);
    struct script_item *item = &tx->items[tx->item_count++];
    *item = (struct script_item){.sql = sql};
    return item;
}

static void begin_script(struct hf_tx *tx)
{
    tx->stage = TX_STAGE_SCRIPT;
    tx->call->wait.ready = 0;
    script_init(&tx->script, tx->call->conn, tx->items, tx->item_count, &tx->error);
}

/* In one packet: what is pending, the statement, the probe if there is something to ask for. */
static void begin_statement(struct hf_tx *tx)
{
    const struct exec_statement *statement = &tx->statement;
    bool is_change = statement->sql != NULL && tx_text_is_change(statement->sql);
    bool by_script = statement->sql != NULL && statement->chunk_rows == 0 &&
                     (statement->params != NULL || tx_text_is_single(statement->sql));
    tx->item_count = tx_take_pending(tx, tx->items);
    tx->own_item = tx->probe_item = tx->check_item = SCRIPT_NONE;
    tx->may_write = tx->may_write || statement->may_write;
    tx->call->facts.sent = true;
    tell(tx);
    if (tx->item_count > 0 && !tx->is_read_only &&
        atomic_load(&tx->db->txs.may_probe) == TXS_UNKNOWN) {
        const char *check = commit_probe_check_sql(PQserverVersion(pg_of(tx)));
        if (check != NULL) {
            tx->check_item = tx->item_count;
            add_item(tx, check);
        }
    }
    if (by_script) {
        tx->own_item = tx->item_count;
        struct script_item *own = add_item(tx, statement->sql);
        own->params = statement->params;
        own->format = statement->format;
        own->is_kept = statement->params != NULL && !statement->no_prepare;
    }
    if (by_script && is_change && wants_probe(tx)) {
        tx->probe_item = tx->item_count;
        add_item(tx, probe_sql(tx))->is_kept = true;
    }
    begin_script(tx);
}

static void begin_rollback_to(struct hf_tx *tx)
{
    tx->item_count = 0;
    tx->own_item = tx->probe_item = tx->check_item = SCRIPT_NONE;
    tx->pending_count = 0; /* releases of what is undone now */
    add_item(tx, tx_text_savepoint(tx->texts[0], "ROLLBACK TO SAVEPOINT", tx->level));
    add_item(tx, tx_text_savepoint(tx->texts[1], "RELEASE", tx->level));
    begin_script(tx);
}

/* COMMIT is waited for as long as leaves time to find out what became of it. */
static int64_t commit_deadline_ns(const struct hf_tx *tx)
{
    int64_t now_ns = clock_now();
    int64_t left_ns = ns_max(tx->deadline_ns - now_ns, 0);
    return tx->deadline_ns - ns_min(tx->db->config.resolve_ns, left_ns / 2);
}

static void begin_commit(struct hf_tx *tx)
{
    size_t probe;
    tx->step_deadline_ns = commit_deadline_ns(tx);
    tx->own_item = tx->probe_item = tx->check_item = SCRIPT_NONE;
    tx->pending_count = 0; /* releases: COMMIT does as much */
    tx->item_count = tx_take_commit(tx, tx->items, &probe);
    tx->probe_item = probe;
    tx->own_item = tx->item_count - 1;
    begin_script(tx);
}

static void begin_rollback(struct hf_tx *tx)
{
    tx->own_item = tx->probe_item = tx->check_item = SCRIPT_NONE;
    tx->item_count = 0;
    add_item(tx, "ROLLBACK");
    begin_script(tx);
}

/* ---- ends of steps ---- */

/* The attempt is over: what the guard hears is the first failure, or that all went well. */
static enum call_step end_attempt(struct hf_tx *tx)
{
    struct call *call = tx->call;
    call->ended = (struct call_ending){.outcome = {.code = OUTCOME_SUCCESS}, .facts = facts_of(tx)};
    if (tx->has_failure) {
        call->ended = tx->failure;
        call->error = tx->failure_error;
    }
    return CALL_ENDED;
}

/* The step is over, the owner goes on; unless the whole is being stopped. A cancel request that is
 * still out must not meet the next statement. */
static enum call_step end_step(struct hf_tx *tx)
{
    struct call *call = tx->call;
    if (tx->is_overdue && call->is_cancelling && !call->is_stopping && tx->place != TX_DEAD) {
        tx->stage = TX_STAGE_CANCELLING;
        call->wait = (struct call_wait){.fd = -1, .deadline_ns = tx->step_deadline_ns};
        return CALL_WAITS;
    }
    if (tx->is_overdue && call->is_cancelling && !call->is_stopping) {
        cancel_close(&call->cancel);
        call->is_cancelling = false;
    }
    tx->is_overdue = false;
    tx->stage = TX_STAGE_NEW;
    tx->todo = TX_NOTHING;
    return tx->call->is_stopping ? end_attempt(tx) : CALL_PARKED;
}

/* A statement has failed; that we cancelled it ourselves is told as what it was. */
static void fail_step(struct hf_tx *tx, struct outcome outcome, const struct outcome_facts *facts)
{
    bool was_cancelled = tx->is_overdue && outcome.code == OUTCOME_SQLSTATE &&
                         outcome.sqlstate == sqlstate_pack("57014");
    bool is_first = !tx->has_failure;
    if (was_cancelled)
        say_late(tx);
    tx_fail(tx, outcome, facts);
    if (was_cancelled && is_first)
        tx->failure.facts.is_timeout = true;
}

static void take_answers(struct hf_tx *tx)
{
    if (tx->probe_item != SCRIPT_NONE && tx->items[tx->probe_item].result != NULL)
        tx_take_probe(tx, tx->items[tx->probe_item].result);
    if (tx->check_item != SCRIPT_NONE && tx->items[tx->check_item].result != NULL)
        take_check(tx, tx->items[tx->check_item].result);
    if (tx->own_item != SCRIPT_NONE) {
        tx->result = tx->items[tx->own_item].result;
        tx->items[tx->own_item].result = NULL;
    }
}

static enum call_step committed(struct hf_tx *tx)
{
    bool is_kept = tx->result != NULL && strcmp(PQcmdStatus(tx->result), "COMMIT") == 0;
    PQclear(tx->result);
    tx->result = NULL;
    if (!tx->has_step_failed && !is_kept) {
        error_set(&tx->error, HF_E_SERVER, "the server rolled the transaction back at COMMIT");
        tx_fail(tx, sqlstate("25P02"), NULL);
    }
    return end_attempt(tx);
}

static enum call_step turn_exec(struct hf_tx *tx)
{
    enum exec_step step = exec_turn(&tx->exec, &tx->call->wait);
    if (step == EXEC_WAITS)
        return wait_on(tx);
    tx->result = tx->exec.result;
    tx->exec.result = NULL;
    if (step == EXEC_ROWS && !tx->call->is_stopping && !tx->is_discarding)
        return CALL_PARKED;
    if (step == EXEC_DONE) {
        const struct call_ending *ended = &tx->exec.ended;
        if (ended->outcome.code != OUTCOME_SUCCESS)
            fail_step(tx, ended->outcome, &ended->facts);
        exec_end(&tx->exec);
        tx->stage = TX_STAGE_NEW;
        look(tx);
        return end_step(tx);
    }
    PQclear(tx->result); /* nobody wants the rows any more: on to the end */
    tx->result = NULL;
    tx->call->wait.ready = 0;
    return turn_exec(tx);
}

static enum call_step begin_exec(struct hf_tx *tx)
{
    tx->stage = TX_STAGE_EXEC;
    tx->call->wait.ready = 0;
    exec_begin(&tx->exec, tx->call->conn, &tx->statement, &tx->error);
    return turn_exec(tx);
}

/* The level is gone, and with it what went wrong in it. */
static void undone(struct hf_tx *tx)
{
    if (tx->has_step_failed)
        return;
    --tx->level;
    tx->has_failure = false;
}

static enum call_step turn_task(struct hf_tx *tx)
{
    tx->stage = TX_STAGE_TASK;
    switch (tx->task->turn(tx->task, tx)) {
    case TX_TASK_WAITS:
        return wait_on(tx);
    case TX_TASK_PARKED:
        return CALL_PARKED;
    case TX_TASK_DONE:
        break;
    }
    bool ends_tx = tx->task->ends_tx && !tx->has_step_failed;
    tx->task = NULL;
    tx->stage = TX_STAGE_NEW;
    if (ends_tx)
        return end_attempt(tx);
    look(tx);
    return end_step(tx);
}

/* What follows once all that goes by the script is done. */
static enum call_step after_script(struct hf_tx *tx)
{
    if (tx->has_step_failed || tx->call->is_stopping)
        return end_step(tx);
    if (tx->todo == TX_TASK)
        return turn_task(tx);
    if (tx->todo == TX_STATEMENT && tx->own_item == SCRIPT_NONE && tx->statement.sql != NULL)
        return begin_exec(tx);
    return end_step(tx);
}

static enum call_step script_ended(struct hf_tx *tx)
{
    struct script *script = &tx->script;
    take_answers(tx);
    if (script->failed != SCRIPT_NONE)
        fail_step(tx, script->outcome, &script->facts);
    script_end(script);
    tx->stage = TX_STAGE_NEW;
    if (tx->todo == TX_COMMIT)
        return committed(tx);
    if (tx->todo == TX_ROLLBACK)
        return end_attempt(tx);
    look(tx);
    if (tx->todo == TX_ROLLBACK_TO)
        undone(tx);
    return after_script(tx);
}

static enum call_step turn_script(struct hf_tx *tx)
{
    if (script_turn(&tx->script, &tx->call->wait) == SCRIPT_WAITS)
        return wait_on(tx);
    return script_ended(tx);
}

/* ---- beginning a step ---- */

static enum call_step begin_step(struct hf_tx *tx)
{
    bool is_there = tx->place == TX_OPEN || tx->place == TX_FAILED;
    switch (tx->todo) {
    case TX_NOTHING:
        return CALL_PARKED;
    case TX_STATEMENT:
        begin_statement(tx);
        return tx->item_count > 0 ? turn_script(tx) : after_script(tx);
    case TX_TASK:
        if (tx->task->is_script)
            return turn_task(tx);
        begin_statement(tx);
        return tx->item_count > 0 ? turn_script(tx) : after_script(tx);
    case TX_ROLLBACK_TO:
        begin_rollback_to(tx);
        return turn_script(tx);
    case TX_COMMIT:
        if (tx->place == TX_OPEN && !tx->has_failure) {
            begin_commit(tx);
            return turn_script(tx);
        }
        break;
    case TX_ROLLBACK:
    case TX_NEXT_ROWS:
        break;
    }
    if (!is_there)
        return end_attempt(tx);
    tx->todo = TX_ROLLBACK;
    begin_rollback(tx);
    return turn_script(tx);
}

/* Frees what the step holds. */
static void drop_step(struct hf_tx *tx)
{
    if (tx->stage == TX_STAGE_SCRIPT)
        script_end(&tx->script);
    else if (tx->stage == TX_STAGE_EXEC)
        exec_end(&tx->exec);
    if (tx->task != NULL)
        tx->task->cut(tx->task);
    tx->task = NULL;
    tx->stage = TX_STAGE_NEW;
}

/* Nothing of the caller's is needed any more. */
static bool is_all_sent(const struct hf_tx *tx)
{
    if (tx->stage == TX_STAGE_SCRIPT)
        return tx->script.is_closed;
    return tx->stage != TX_STAGE_EXEC || tx->exec.is_sent;
}

/* ---- what the breaker hears ---- */

/*
 * A breaker judges the server by how its calls end and how long they take. The time that the owner
 * spends in code of its own says nothing of the server, and a transaction that waits for its owner
 * until the deadline is no failure of it. So to the breaker each step is a call: its permit is
 * recorded when the transaction is parked, and asked for anew with the next step. That one is not
 * refused, as the transaction is under way: a breaker that would have done so just hears nothing.
 */
static void record_permit(struct hf_tx *tx)
{
    struct guard_call *guard = &tx->call->guard;
    struct breaker *breaker = guard->guard->endpoints[tx->call->endpoint].breaker;
    enum outcome_verdict verdict = OUTCOME_VERDICT_SUCCESS;
    if (tx->place == TX_UNBEGUN)
        verdict = OUTCOME_VERDICT_NEUTRAL;
    else if (tx->has_step_failed)
        verdict = outcome_verdict_of(outcome_rule(tx->failure.outcome), &tx->failure.facts);
    if (breaker != NULL)
        breaker_record(breaker, &guard->lease, verdict, clock_now());
    guard->lease = (struct breaker_permit){.role = BREAKER_ROLE_NONE};
    tx->is_recorded = true;
}

static void renew_permit(struct hf_tx *tx)
{
    struct guard_call *guard = &tx->call->guard;
    struct breaker *breaker = guard->guard->endpoints[tx->call->endpoint].breaker;
    tx->is_recorded = false;
    if (breaker != NULL && !breaker_admit(breaker, clock_now(), &guard->lease))
        guard->lease = (struct breaker_permit){.role = BREAKER_ROLE_NONE};
}

static enum call_step park(struct hf_tx *tx, enum call_step step)
{
    if (step == CALL_PARKED && !tx->is_recorded)
        record_permit(tx);
    return step;
}

/* ---- one turn ---- */

static enum call_step turn_step(struct hf_tx *tx)
{
    struct call *call = tx->call;
    if (call->is_answered && !is_all_sent(tx)) {
        /* The rest of it is not there any more. */
        call->conn->is_broken = true;
        drop_step(tx);
        return end_attempt(tx);
    }
    if (tx->stage == TX_STAGE_NEW)
        return call->is_answered ? end_attempt(tx) : begin_step(tx);
    bool is_late = clock_now() >= tx->step_deadline_ns;
    if (tx->stage == TX_STAGE_CANCELLING && !call->is_cancelling)
        return end_step(tx);
    bool is_end = tx->todo == TX_COMMIT || tx->todo == TX_ROLLBACK;
    if (call->wait.ready == 0 && is_late && !is_end && begin_cancel(tx))
        return wait_on(tx);
    if (call->wait.ready == 0 && (is_late || is_hopeless(tx))) {
        give_up(tx, is_late && !is_end);
        drop_step(tx);
        return is_end ? end_attempt(tx) : end_step(tx);
    }
    if (tx->stage == TX_STAGE_SCRIPT)
        return turn_script(tx);
    if (tx->stage == TX_STAGE_CANCELLING)
        return CALL_WAITS;
    return tx->stage == TX_STAGE_EXEC ? turn_exec(tx) : turn_task(tx);
}

/* ---- attempts ---- */

static enum call_step begin(struct call *call)
{
    struct hf_tx *tx = tx_of(call);
    if (tx == NULL) { /* its owner has gone */
        call->ended = (struct call_ending){.outcome = {.code = OUTCOME_CANCELLED}};
        return CALL_ENDED;
    }
    tx->attempt = call->guard.attempts;
    tx->place = TX_UNBEGUN;
    tx->level = 0;
    tx->pending[0] = (struct tx_pending){TX_SEND_BEGIN, 0};
    tx->pending_count = 1;
    tx->may_write = tx->has_failure = tx->has_probe = false;
    tx->todo = TX_NOTHING;
    tx->stage = TX_STAGE_NEW;
    tx->is_overdue = false;
    tx->step_deadline_ns = HF_NEVER;
    tx->is_recorded = false;
    call->facts = (struct outcome_facts){0};
    tell(tx);
    return park(tx, CALL_PARKED);
}

static void cut(struct call *call)
{
    struct hf_tx *tx = tx_of(call);
    if (tx == NULL)
        return;
    if (tx->is_recorded) {
        /* Its owner was at work, not the server, whose watcher shall not hear of a timeout. */
        call->guard.was_limit = false;
        call->guard.was_cut = true;
    }
    drop_step(tx);
    tx->place = TX_DEAD;
}

static void answered(struct call *call)
{
    struct hf_tx *tx = tx_of(call);
    record_transaction(call, tx != NULL && (tx->todo == TX_COMMIT || call->facts.commit_sent));
    if (tx == NULL)
        return;
    if (tx->stage == TX_STAGE_TASK) { /* the task is its owner's */
        if (call->conn != NULL)
            call->conn->is_broken = true;
        drop_step(tx);
    }
    if (tx->may_write && call->facts.commit_sent && call->result != GUARD_REFUSED &&
        !call->is_abandoned)
        session_wrote(tx->session, clock_now());
}

/* ---- the outcome of a COMMIT that was not answered ---- */

static enum call_step resolve_begin_tx(struct call *call, int64_t deadline_ns)
{
    struct hf_tx *tx = tx_of(call);
    if (tx == NULL)
        return CALL_ENDED;
    if (!tx->may_write) {
        /* Nothing to keep. What it read is good, unless its isolation has the last word at COMMIT,
         * which SERIALIZABLE has, and the server's default may be that. */
        bool was_good = tx->isolation == HF_READ_COMMITTED || tx->isolation == HF_REPEATABLE_READ;
        call->resolution = was_good ? GUARD_COMMITTED : GUARD_ABORTED;
        return CALL_ENDED;
    }
    struct commit_begin begin = {
        .probe = tx->has_probe ? &tx->probe : NULL,
        .endpoint = call->endpoint,
        .deadline_ns = deadline_ns,
        .may_notify = true, /* NOTIFY in a trigger, say: it takes its xid as late as in COMMIT */
    };
    return commit_search_begin(&tx->search, call, &begin);
}

static enum call_step resolve_turn(struct call *call)
{
    struct hf_tx *tx = tx_of(call);
    return commit_search_turn(&tx->search);
}

static void resolve_stop(struct call *call)
{
    struct hf_tx *tx = tx_of(call);
    commit_search_stop(&tx->search);
}

static void over(struct call *call)
{
    struct tx_seat *seat = call->work;
    mem_free(&call->db->mem, seat->own_guard);
    seat->own_guard = NULL;
    struct hf_tx *tx = seat->tx;
    if (tx == NULL)
        return;
    mem_free(&call->db->mem, tx->copy);
    tx->copy = NULL;
    if (seat->owns_tx) {
        tx_free(tx);
        return;
    }
    /* In a loop; perhaps its owner has not spoken yet. */
    if (atomic_load(&tx->owner) != TX_GONE) {
        int why = call_answer(call, NULL);
        atomic_store(&tx->gone, why != HF_SUCCESS ? why : HF_E_CANCELLED);
        atomic_store(&tx->owner, TX_GONE);
    }
    tx_drop(tx);
    db_leave(call->db);
}

static enum call_step turn(struct call *call)
{
    struct hf_tx *tx = tx_of(call);
    if (tx->is_recorded)
        renew_permit(tx);
    return park(tx, turn_step(tx));
}

static const struct call_ops ops = {
    .begin = begin,
    .turn = turn,
    .cut = cut,
    .resolve_begin = resolve_begin_tx,
    .resolve_turn = resolve_turn,
    .resolve_stop = resolve_stop,
    .answered = answered,
    .over = over,
};

void tx_begin_step(struct hf_tx *tx, enum tx_todo todo)
{
    hf_assert(tx->stage == TX_STAGE_NEW || todo == TX_NEXT_ROWS || tx->todo == TX_TASK);
    tx->todo = todo;
    tx->has_step_failed = false;
    error_clear(&tx->error);
}

const struct call_ops *tx_ops(void)
{
    return &ops;
}
