/*
 * The servers' WAL and their transactions.
 *
 * A record is nothing but the position where it ends, on the timeline of the server that wrote it.
 * Who holds a record follows from where timelines were left: server S holds what ends at `lsn` on
 * timeline t if t is its own and lsn <= S.end, or t is an earlier one and lsn <= cut[t]. So nothing
 * is copied, and losing a tail is a smaller number.
 *
 * A transaction lives here from its first statement on and does not care whether its client is
 * still there: that is where unknown commits come from. Its commit record is written, then flushed,
 * then (with synchronous standbys) waited for, then shown; a crash, a promotion, or a backend that
 * is ended strikes between any two of these. Ids are given out by each server for itself, and after
 * a recovery again from the highest that a surviving record bears: so they are used twice, as in
 * life.
 */
#include "sim_int.h"

#include "base/bug.h"
#include "base/ns.h"

#define FIRST_XID      UINT64_C(1000)
#define FIRST_POSITION UINT64_C(0x1000000)
#define POLL_NS        HF_MS(2)  /* a waiting commit looks for its standby */
#define IDLE_POLL_NS   HF_MS(20) /* nobody waits for it any more */

static int64_t within(struct sim *sim, int64_t ns_max)
{
    return sim->now_ns + rng_range_ns(&sim->rng, HF_US(10), ns_max);
}

void wal_init(struct sim *sim)
{
    sim->position = FIRST_POSITION;
    sim->timeline = 1;
    for (uint32_t i = 0; i < sim->plan.servers; i++) {
        struct sim_server *server = &sim->servers[i];
        server->timeline = 1;
        server->end = server->flushed = server->replayed = FIRST_POSITION;
        server->next_xid = FIRST_XID;
        server->started_us = 1;
    }
}

/* ---- who holds what ---- */

static bool holds(const struct sim *sim, const struct sim_server *server, uint32_t timeline,
                  uint64_t lsn)
{
    if (lsn == 0)
        return false;
    return timeline == server->timeline ? lsn <= server->end
                                        : timeline < server->timeline && lsn <= sim->cut[timeline];
}

/* Whether its commit is part of the surviving history. */
bool wal_is_kept(const struct sim *sim, const struct sim_tx *tx)
{
    return holds(sim, &sim->servers[world_primary(sim)], tx->timeline, tx->commit_lsn);
}

uint32_t wal_applied(const struct sim *sim, int32_t write)
{
    uint32_t applied = 0;
    for (int32_t at = sim->write[write].newest; at >= 0; at = sim->tx[at].older)
        applied += wal_is_kept(sim, &sim->tx[at]);
    return applied;
}

static bool is_alive(const struct sim *sim, const struct sim_tx *tx)
{
    return tx->state < SIM_TX_DONE && tx->boot == sim->servers[tx->server].boot;
}

/* As pg_xact_status() of that server has it. */
enum commit_status wal_status(const struct sim *sim, uint32_t at, uint64_t xid)
{
    const struct sim_server *server = &sim->servers[at];
    enum commit_status status = COMMIT_STATUS_ABORTED;
    if (xid >= server->next_xid)
        return COMMIT_STATUS_FUTURE;
    for (uint32_t i = 0; i < sim->txs; i++) {
        const struct sim_tx *tx = &sim->tx[i];
        if (tx->xid != xid)
            continue;
        if (tx->server == at && is_alive(sim, tx))
            return COMMIT_STATUS_RUNNING;
        if (holds(sim, server, tx->timeline, tx->commit_lsn))
            status = COMMIT_STATUS_COMMITTED;
    }
    return status;
}

/* After a recovery: beyond the highest id that any record bears. */
static void count_ids(const struct sim *sim, struct sim_server *server)
{
    server->next_xid = FIRST_XID;
    for (uint32_t i = 0; i < sim->txs; i++) {
        const struct sim_tx *tx = &sim->tx[i];
        bool is_known = holds(sim, server, tx->timeline, tx->record_lsn) ||
                        holds(sim, server, tx->timeline, tx->commit_lsn);
        if (is_known && tx->xid >= server->next_xid)
            server->next_xid = tx->xid + 1;
    }
}

/* ---- writing ---- */

static uint64_t insert(struct sim *sim, struct sim_server *server)
{
    server->end += 24 + rng_below(&sim->rng, 200);
    if (server->is_primary)
        sim->position = server->end;
    return server->end;
}

static void flush(struct sim_server *server, uint64_t lsn)
{
    if (server->flushed < lsn)
        server->flushed = lsn;
}

/* Some transactions write nothing to the WAL before their commit. */
int32_t wal_begin(struct sim *sim, uint32_t at, int32_t write, int32_t client)
{
    struct sim_server *server = &sim->servers[at];
    hf_assert(sim->txs < SIM_TXS_MAX);
    int32_t index = (int32_t)sim->txs++;
    struct sim_tx *tx = &sim->tx[index];
    *tx = (struct sim_tx){
        .server = at,
        .boot = server->boot,
        .timeline = server->timeline,
        .xid = server->next_xid++,
        .write = write,
        .client = client,
        .older = write >= 0 ? sim->write[write].newest : -1,
    };
    if (write >= 0)
        sim->write[write].newest = index;
    if (rng_below(&sim->rng, sim->plan.has_marks ? 4 : 2) != 0)
        tx->record_lsn = insert(sim, server);
    return index;
}

/* The probe's answer; false if the transaction is none of this server's any more. */
bool wal_probe(struct sim *sim, int32_t index, struct commit_probe *probe)
{
    struct sim_tx *tx = &sim->tx[index];
    struct sim_server *server = &sim->servers[tx->server];
    if (!is_alive(sim, tx))
        return false;
    if (sim->plan.has_marks) {
        uint64_t mark = insert(sim, server);
        if (tx->record_lsn == 0)
            tx->record_lsn = mark;
    }
    *probe = (struct commit_probe){
        .xid = tx->xid,
        .lsn = server->end,
        .is_marked = sim->plan.has_marks,
        .at = {server->timeline, server->recovered_lsn, server->started_us},
    };
    return true;
}

static void again(struct sim *sim, struct sim_tx *tx, int64_t at_ns)
{
    if (timerq_is_linked(&tx->timer))
        timerq_move(&sim->timers, &tx->timer, at_ns);
    else
        timerq_add(&sim->timers, &tx->timer, at_ns);
}

static void end(struct sim *sim, struct sim_tx *tx, enum sim_tx_state state)
{
    tx->state = state;
    if (timerq_is_linked(&tx->timer))
        timerq_remove(&sim->timers, &tx->timer);
}

void wal_abort(struct sim *sim, int32_t index)
{
    if (is_alive(sim, &sim->tx[index]))
        end(sim, &sim->tx[index], SIM_TX_ABORTED);
}

/* The backend has read COMMIT. */
void wal_commit(struct sim *sim, int32_t index)
{
    struct sim_tx *tx = &sim->tx[index];
    struct sim_server *server = &sim->servers[tx->server];
    hf_assert(is_alive(sim, tx) && tx->state == SIM_TX_OPEN);
    tx->commit_lsn = insert(sim, server);
    tx->state = SIM_TX_FLUSHING;
    if (tx->write >= 0 && server->is_primary)
        sim->write[tx->write].position = tx->commit_lsn;
    check_commit(sim, tx);
    again(sim, tx, within(sim, HF_MS(2)));
}

/* ---- from the commit record to the client ---- */

static bool is_confirmed(const struct sim *sim, const struct sim_tx *tx)
{
    for (uint32_t i = 0; i < sim->plan.servers; i++) {
        const struct sim_server *server = &sim->servers[i];
        if (i != tx->server && server->is_up && !server->is_hung && !server->is_cut &&
            !server->is_primary && !server->is_stale &&
            holds(sim, server, tx->timeline, tx->commit_lsn))
            return true;
    }
    return false;
}

/* Everybody can see it, and the client is told. */
static void show(struct sim *sim, struct sim_tx *tx, bool is_acknowledged)
{
    end(sim, tx, SIM_TX_DONE);
    if (is_acknowledged && sim->plan.is_synchronous && tx->commit_lsn > sim->confirmed)
        sim->confirmed = tx->commit_lsn;
    if (tx->client < 0)
        return;
    struct sim_client *client = &sim->clients[tx->client];
    client->attempt.stage = SIM_ANSWERING;
    client->attempt.pending = (struct outcome){.code = OUTCOME_SUCCESS};
    if (is_acknowledged)
        world_wake(client, rng_range_ns(&sim->rng, HF_US(20), HF_MS(1)));
}

static void step(struct sim *sim, struct sim_tx *tx)
{
    struct sim_server *server = &sim->servers[tx->server];
    if (tx->state == SIM_TX_OPEN) {
        /* Lost by its client: the COMMIT that was on its way arrives, or the backend notices. */
        if (tx->has_commit)
            wal_commit(sim, (int32_t)(tx - sim->tx));
        else
            end(sim, tx, SIM_TX_ABORTED);
        return;
    }
    if (tx->state == SIM_TX_FLUSHING && !sim->plan.is_lazy) {
        flush(server, tx->commit_lsn);
        tx->state = SIM_TX_WAITING;
    }
    if (sim->plan.is_synchronous && !is_confirmed(sim, tx))
        again(sim, tx, sim->now_ns + (tx->client >= 0 ? POLL_NS : IDLE_POLL_NS));
    else
        show(sim, tx, true);
}

/* The timers of transactions stand in one array, as those of clients do. */
bool wal_timer(struct sim *sim, struct timer *timer)
{
    uintptr_t offset = (uintptr_t)timer - (uintptr_t)sim->tx;
    if ((uintptr_t)timer < (uintptr_t)sim->tx || offset >= sizeof sim->tx)
        return false;
    struct sim_tx *tx = &sim->tx[offset / sizeof sim->tx[0]];
    if (!is_alive(sim, tx))
        return true;
    if (sim->servers[tx->server].is_hung)
        tx->is_stalled = true; /* goes on in wal_resume() */
    else
        step(sim, tx);
    return true;
}

/* Its client is gone. What was not told to commit is found out about some time, or never told. */
void wal_detach(struct sim *sim, int32_t index, bool has_commit)
{
    struct sim_tx *tx = &sim->tx[index];
    if (tx->client < 0)
        return; /* it is gone already */
    tx->client = -1;
    if (!is_alive(sim, tx) || tx->state != SIM_TX_OPEN)
        return;
    tx->has_commit = has_commit;
    again(sim, tx, within(sim, has_commit ? HF_SEC(1) : HF_SEC(3)));
}

/* pg_terminate_backend(): a wait for standbys is cut short, the commit stands. */
void wal_end_backend(struct sim *sim, uint32_t at, uint64_t xid)
{
    for (uint32_t i = 0; i < sim->txs; i++) {
        struct sim_tx *tx = &sim->tx[i];
        if (tx->xid != xid || tx->server != at || !is_alive(sim, tx))
            continue;
        if (tx->state == SIM_TX_OPEN)
            end(sim, tx, SIM_TX_ABORTED);
        else if (tx->state == SIM_TX_WAITING)
            show(sim, tx, false);
    }
}

void wal_resume(struct sim *sim, uint32_t at)
{
    for (uint32_t i = 0; i < sim->txs; i++) {
        struct sim_tx *tx = &sim->tx[i];
        if (tx->server != at || !tx->is_stalled)
            continue;
        tx->is_stalled = false;
        if (is_alive(sim, tx))
            again(sim, tx, within(sim, HF_MS(5)));
    }
}

/* ---- losing ---- */

/* What ends beyond `limit` on the timeline is gone from the surviving history. */
static void lose(struct sim *sim, uint32_t timeline, uint64_t limit)
{
    for (uint32_t i = 0; i < sim->txs; i++) {
        struct sim_tx *tx = &sim->tx[i];
        if (tx->timeline != timeline || tx->commit_lsn <= limit || tx->lost_at_ns != 0)
            continue;
        tx->lost_at_ns = sim->now_ns;
        check_lost(sim, tx);
    }
    for (uint32_t i = 0; i < sim->plan.clients; i++)
        if (sim->clients[i].session_position > limit)
            sim->clients[i].session_position = limit;
    if (sim->confirmed > limit)
        sim->confirmed = limit;
}

/* What was never on disk is nowhere: its id and its positions are free again. */
static void forget(struct sim *sim, uint32_t at)
{
    struct sim_server *server = &sim->servers[at];
    for (uint32_t i = 0; i < sim->txs; i++) {
        struct sim_tx *tx = &sim->tx[i];
        if (tx->server != at || tx->timeline != server->timeline)
            continue;
        if (tx->record_lsn > server->flushed)
            tx->record_lsn = 0;
        if (tx->commit_lsn > server->flushed)
            tx->commit_lsn = 0;
    }
    server->end = server->flushed;
}

/* All its backends are gone at once: a crash, or a stop in good order, which loses nothing. */
void wal_stop(struct sim *sim, uint32_t at, bool is_clean)
{
    struct sim_server *server = &sim->servers[at];
    server->is_watched = false;
    if (!server->is_primary && !server->is_stale)
        return;
    for (uint32_t i = 0; i < sim->txs; i++) {
        struct sim_tx *tx = &sim->tx[i];
        if (tx->server == at && is_alive(sim, tx))
            end(sim, tx, tx->state == SIM_TX_OPEN ? SIM_TX_ABORTED : SIM_TX_DONE);
    }
    ++server->boot;
    server->is_clean = is_clean;
    if (is_clean)
        server->flushed = server->end;
    else if (server->is_primary)
        lose(sim, server->timeline, server->flushed);
    forget(sim, at);
    if (server->is_primary)
        sim->position = server->end;
}

/* Only a server that was a primary recovers by itself; what it finds on disk, it shows. */
void wal_start(struct sim *sim, uint32_t at)
{
    struct sim_server *server = &sim->servers[at];
    if (!server->is_primary && !server->is_stale)
        return;
    server->started_us += (int64_t)rng_below(&sim->rng, 2); /* crashes need no new postmaster */
    server->recovered_lsn = server->end;
    if (server->is_clean) {
        ++server->started_us;
        server->recovered_lsn = 0;
    } else {
        count_ids(sim, server);
    }
    flush(server, insert(sim, server));
}

/* A former primary, or a replica of one, becomes a replica of the present primary. */
static void rejoin(struct sim *sim, struct sim_server *server)
{
    if (server->timeline < sim->timeline) {
        if (server->end > sim->cut[server->timeline])
            server->end = sim->cut[server->timeline];
        server->timeline = sim->timeline;
    }
    server->flushed = server->end;
    if (server->replayed > server->end || server->is_stale)
        server->replayed = server->end;
    server->is_stale = false;
}

static void fence(struct sim *sim, uint32_t at)
{
    struct sim_server *server = &sim->servers[at];
    wal_stop(sim, at, false);
    ++server->incarnation;
    server->is_stale = true; /* until it has rejoined */
    rejoin(sim, server);
}

/* ---- promotion ---- */

/* What becomes of the primary before. Frozen, it does not know yet; else it is stopped. */
static void depose(struct sim *sim, uint32_t old, uint32_t chosen)
{
    struct sim_server *server = &sim->servers[old];
    bool is_frozen = server->is_up && server->is_hung;
    if (server->is_up && !is_frozen) {
        bool is_planned = rng_below(&sim->rng, 2) == 0;
        wal_stop(sim, old, is_planned);
        if (is_planned) /* the successor has received all of it first */
            sim->servers[chosen].end = sim->servers[chosen].flushed = server->end;
    }
    server->is_primary = false;
    server->is_stale = is_frozen;
    server->fenced_at_ns = sim->now_ns + rng_range_ns(&sim->rng, 0, HF_SEC(3));
}

/* The timeline that a replica has followed last: of newer ones it may never have received a thing.
 */
static uint32_t followed(const struct sim *sim, const struct sim_server *server)
{
    uint32_t timeline = server->timeline;
    while (timeline > 1 && server->end <= sim->start[timeline])
        --timeline;
    return timeline;
}

/* The surviving history ends at `end` and goes on elsewhere. Timelines that begin beyond it are no
 * ancestors any more. */
static void leave(struct sim *sim, uint64_t end)
{
    sim->cut[sim->timeline] = UINT64_MAX;
    for (uint32_t timeline = sim->timeline; timeline >= 1 && sim->cut[timeline] > end; timeline--) {
        sim->cut[timeline] = end;
        lose(sim, timeline, end);
    }
    sim->start[++sim->timeline] = end;
}

void wal_promote(struct sim *sim, uint32_t old, uint32_t chosen)
{
    struct sim_server *next = &sim->servers[chosen];
    if (old != NO_SERVER)
        depose(sim, old, chosen);
    next->left_timeline = next->is_watched ? followed(sim, next) : 0;
    next->left_lsn = next->end;
    leave(sim, next->end);
    next->is_watched = false;
    next->is_primary = true;
    next->timeline = sim->timeline;
    next->recovered_lsn = next->end;
    next->replayed = next->end;
    count_ids(sim, next);
    flush(next, insert(sim, next));
    for (uint32_t i = 0; i < sim->plan.servers; i++)
        if (i != chosen && !sim->servers[i].is_stale)
            rejoin(sim, &sim->servers[i]);
}

/* ---- sending ---- */

static void receive(struct sim *sim, struct sim_server *server, uint64_t sent)
{
    uint64_t behind = sent > server->end ? sent - server->end : 0;
    server->end += behind - behind / (1 + rng_below(&sim->rng, 4));
    server->flushed = server->end;
    if (server->is_replay_paused)
        return;
    behind = server->end - server->replayed;
    server->replayed += behind - behind / (1 + rng_below(&sim->rng, 4));
}

/* Every few milliseconds. Only what is on the primary's disk is sent. */
void wal_send(struct sim *sim)
{
    struct sim_server *primary = &sim->servers[world_primary(sim)];
    bool is_sending = primary->is_up && !primary->is_hung;
    if (is_sending && rng_below(&sim->rng, 2) == 0)
        insert(sim, primary); /* without an xid: checkpoints, pruning, hint bits */
    if (is_sending && rng_below(&sim->rng, 8) == 0)
        flush(primary, primary->end); /* the WAL writer */
    for (uint32_t i = 0; i < sim->plan.servers; i++) {
        struct sim_server *server = &sim->servers[i];
        if (server->is_stale && !server->is_hung && sim->now_ns >= server->fenced_at_ns)
            fence(sim, i);
        if (server->is_primary || server->is_stale || !server->is_up || server->is_hung)
            continue;
        receive(sim, server, is_sending && !server->is_cut ? primary->flushed : 0);
    }
}
