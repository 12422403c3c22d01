/*
 * The servers as they really are, and what an attempt meets there.
 *
 * An attempt goes through stages, each ending with a timer: connecting, executing, committing,
 * answering. What a fault does depends on the stage it strikes in: that is where the difference
 * between "certainly not done" and "unknown" comes from, and the world remembers the truth of it.
 *
 * A write's transaction is the server's, not the attempt's (sim_wal.c): it goes on when the client
 * has lost it, and the line may break at every point: before COMMIT is sent, while it is on its way
 * (with or without the answer of the probe ahead of it), while the server decides, and while the
 * answer comes back.
 */
#include "sim_int.h"

#include "base/bug.h"
#include "base/ns.h"

static int64_t service_ns(struct sim *sim, const struct sim_server *server)
{
    int64_t base = sim->plan.service_ns;
    return rng_range_ns(&sim->rng, base / 2, base * 2) * server->slow_factor;
}

void world_init(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan.servers; i++)
        sim->servers[i] =
            (struct sim_server){.is_up = true, .is_primary = i == 0, .slow_factor = 1};
    wal_init(sim);
}

uint32_t world_primary(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan.servers; i++)
        if (sim->servers[i].is_primary)
            return i;
    return NO_SERVER;
}

bool world_answers(const struct sim *sim, uint32_t server)
{
    return server != NO_SERVER && sim->servers[server].is_up && !sim->servers[server].is_hung &&
           !sim->servers[server].is_refusing;
}

/* ---- one attempt ---- */

static void fail(struct sim_client *client, enum outcome_code code)
{
    client->attempt.pending = (struct outcome){.code = code};
    client_attempt_ended(client);
}

static void fail_sqlstate(struct sim_client *client, const char *sqlstate)
{
    client->attempt.pending =
        (struct outcome){.code = OUTCOME_SQLSTATE, .sqlstate = sqlstate_pack(sqlstate)};
    client->attempt.stage = SIM_ANSWERING;
    timerq_add(&client->sim->timers, &client->step, client->sim->now_ns + HF_US(50));
}

void world_attempt_begin(struct sim_client *client, uint32_t server)
{
    struct sim *sim = client->sim;
    client->attempt = (struct sim_attempt){
        .is_running = true,
        .stage = SIM_CONNECTING,
        .server = server,
        .incarnation = sim->servers[server].incarnation,
        .wants_primary = sim->view.endpoints[server].role == ENDPOINT_PRIMARY,
        .tx = -1,
    };
    timerq_add(&sim->timers, &client->step,
               sim->now_ns + rng_range_ns(&sim->rng, HF_US(20), HF_MS(1)));
}

static void connected(struct sim_client *client, const struct sim_server *server)
{
    struct sim *sim = client->sim;
    struct sim_attempt *attempt = &client->attempt;
    if (!server->is_up || server->is_refusing) {
        fail(client, OUTCOME_CONNECT_REFUSED);
        return;
    }
    attempt->incarnation = server->incarnation;
    if (attempt->wants_primary && !server->is_primary) {
        fail(client, OUTCOME_WRONG_ROLE); /* as in_hot_standby tells at once */
        return;
    }
    if (rng_below(&sim->rng, 1000) < server->reset_permille / 4) {
        fail(client, OUTCOME_SEND_FAILED);
        return;
    }
    bool is_write = client->request.route.intent == ROUTE_WRITE;
    bool in_transaction = client->request.in_transaction;
    attempt->stage = in_transaction ? SIM_EXECUTING : SIM_COMMITTING;
    attempt->facts = (struct outcome_facts){
        .sent = true,
        .may_write = is_write,
        .in_transaction = in_transaction,
        .commit_sent = is_write && !in_transaction,
    };
    client_progress(client);
    timerq_add(&sim->timers, &client->step, sim->now_ns + service_ns(sim, server));
}

static const char *random_error(struct sim *sim)
{
    static const char *const errors[] = {"40001", "40P01", "53300", "55P03", "57014",
                                         "23505", "42601", "57P01", "53200", "22012"};
    return errors[rng_below(&sim->rng, sizeof errors / sizeof errors[0])];
}

/* The only place where a read sees data. */
static void see(struct sim_client *client, const struct sim_server *server)
{
    struct sim *sim = client->sim;
    uint64_t seen = server->is_primary ? sim->position : server->replayed;
    if (client->request.route.consistency == ROUTE_SESSION && seen < client->session_position)
        sim_break(sim, SIM_PROMISE_KEPT, "client %u read position %llu, had written %llu",
                  client->index, (unsigned long long)seen,
                  (unsigned long long)client->session_position);
    client->attempt.stage = SIM_ANSWERING;
    client->attempt.pending = (struct outcome){.code = OUTCOME_SUCCESS};
    timerq_add(&sim->timers, &client->step,
               sim->now_ns + rng_range_ns(&sim->rng, HF_US(20), HF_MS(1)));
}

static void begin_write(struct sim_client *client)
{
    struct sim_attempt *attempt = &client->attempt;
    attempt->tx = wal_begin(client->sim, attempt->server, client->write, (int32_t)client->index);
}

/* The statement of a transaction is done. A careful driver has sent the probe along with it. */
static void wrote(struct sim_client *client, const struct sim_server *server)
{
    struct sim *sim = client->sim;
    struct sim_attempt *attempt = &client->attempt;
    if (client->write >= 0) {
        begin_write(client);
        if (rng_below(&sim->rng, 4) != 0)
            attempt->has_probe = attempt->is_probe_early =
                wal_probe(sim, attempt->tx, &attempt->probe);
    }
    attempt->stage = SIM_COMMITTING;
    attempt->facts.commit_sent = attempt->facts.may_write;
    client_progress(client);
    timerq_add(&sim->timers, &client->step, sim->now_ns + service_ns(sim, server));
}

/* The line breaks while COMMIT is on its way: it arrives later, or never; and the answer of a probe
 * ahead of it may have come back first. */
static void lose_line(struct sim_client *client)
{
    struct sim *sim = client->sim;
    struct sim_attempt *attempt = &client->attempt;
    bool arrives = rng_below(&sim->rng, 2) == 0;
    if (arrives && client->request.in_transaction && !attempt->has_probe &&
        rng_below(&sim->rng, 2) == 0)
        attempt->has_probe = wal_probe(sim, attempt->tx, &attempt->probe);
    wal_detach(sim, attempt->tx, arrives);
    fail(client, OUTCOME_CONN_LOST);
}

static void commit(struct sim_client *client, const struct sim_server *server)
{
    struct sim *sim = client->sim;
    struct sim_attempt *attempt = &client->attempt;
    if (attempt->tx < 0)
        begin_write(client);
    /* Lines break in good times too. */
    if (rng_below(&sim->rng, 1000) < 15 + server->reset_permille / 2) {
        lose_line(client);
        return;
    }
    if (client->request.in_transaction && !attempt->has_probe)
        attempt->has_probe = wal_probe(sim, attempt->tx, &attempt->probe);
    attempt->stage = SIM_DECIDING;
    wal_commit(sim, attempt->tx);
}

static void executed(struct sim_client *client, const struct sim_server *server)
{
    struct sim *sim = client->sim;
    struct sim_attempt *attempt = &client->attempt;
    if (client->write >= 0 && !server->is_primary) {
        fail_sqlstate(client, "25006");
        return;
    }
    if (rng_below(&sim->rng, 1000) < server->error_permille) {
        if (attempt->tx >= 0)
            wal_abort(sim, attempt->tx);
        fail_sqlstate(client, random_error(sim));
        return;
    }
    if (attempt->stage == SIM_EXECUTING)
        wrote(client, server);
    else if (client->write < 0)
        see(client, server);
    else
        commit(client, server);
}

/* The answer comes in: whole, or, for some reads, in two parts with a row shown in between. */
static void answered(struct sim_client *client, const struct sim_server *server)
{
    struct sim *sim = client->sim;
    struct sim_attempt *attempt = &client->attempt;
    if (rng_below(&sim->rng, 1000) < server->reset_permille) {
        fail(client, OUTCOME_CONN_LOST);
        return;
    }
    if (attempt->pending.code == OUTCOME_SUCCESS && client->write < 0 &&
        !attempt->facts.rows_shown && rng_below(&sim->rng, 3) == 0) {
        attempt->facts.rows_shown = true;
        client_progress(client);
        timerq_add(&sim->timers, &client->step, sim->now_ns + service_ns(sim, server));
        return;
    }
    client_attempt_ended(client);
}

/* The timer of an attempt's stage. */
void world_attempt_step(struct sim_client *client)
{
    struct sim_attempt *attempt = &client->attempt;
    const struct sim_server *server = &client->sim->servers[attempt->server];
    if (attempt->was_stopped) {
        fail(client, attempt->facts.sent ? OUTCOME_TIMEOUT : OUTCOME_CONNECT_TIMEOUT);
        return;
    }
    if (attempt->stage != SIM_CONNECTING && attempt->incarnation != server->incarnation) {
        fail(client, OUTCOME_CONN_LOST);
        return;
    }
    if (server->is_hung && server->is_up) {
        attempt->is_stalled = true; /* goes on in world_resume(), or is stopped */
        return;
    }
    switch (attempt->stage) {
    case SIM_CONNECTING:
        connected(client, server);
        return;
    case SIM_EXECUTING:
    case SIM_COMMITTING:
        executed(client, server);
        return;
    case SIM_DECIDING: /* woken for nothing: the transaction's own timer goes on */
        return;
    case SIM_ANSWERING:
        answered(client, server);
    }
}

/* The driver closes the connection. The server notices when it next looks. */
void world_attempt_stop(struct sim_client *client)
{
    struct sim *sim = client->sim;
    struct sim_attempt *attempt = &client->attempt;
    hf_assert(attempt->is_running);
    attempt->was_stopped = true;
    attempt->is_stalled = false;
    int64_t at_ns = sim->now_ns + rng_range_ns(&sim->rng, 0, HF_MS(2));
    if (timerq_is_linked(&client->step))
        timerq_move(&sim->timers, &client->step, at_ns);
    else
        timerq_add(&sim->timers, &client->step, at_ns);
}

/* ---- what faults do to servers ---- */

static bool is_running_on(const struct sim_client *client, uint32_t server)
{
    return client->attempt.is_running && client->attempt.server == server;
}

/* One in four is a stop in good order. */
void world_crash(struct sim *sim, uint32_t at)
{
    struct sim_server *server = &sim->servers[at];
    if (!server->is_up)
        return;
    wal_stop(sim, at, rng_below(&sim->rng, 4) == 0);
    server->is_up = false;
    server->is_hung = false;
    ++server->incarnation;
    for (uint32_t i = 0; i < sim->plan.clients; i++) {
        struct sim_client *client = &sim->clients[i];
        struct sim_attempt *attempt = &client->attempt;
        if (!is_running_on(client, at))
            continue;
        /* A probe that went with the COMMIT: its answer may still have been on the way. */
        if (attempt->stage == SIM_DECIDING && !attempt->is_probe_early &&
            rng_below(&sim->rng, 2) == 0)
            attempt->has_probe = false;
        if (attempt->is_stalled || attempt->stage != SIM_CONNECTING)
            world_wake(client, rng_range_ns(&sim->rng, 0, HF_MS(5)));
    }
}

/* Lets a stalled or waiting attempt look again after `delay_ns`. */
void world_wake(struct sim_client *client, int64_t delay_ns)
{
    struct sim *sim = client->sim;
    client->attempt.is_stalled = false;
    if (timerq_is_linked(&client->step))
        timerq_move(&sim->timers, &client->step, sim->now_ns + delay_ns);
    else
        timerq_add(&sim->timers, &client->step, sim->now_ns + delay_ns);
}

void world_resume(struct sim *sim, uint32_t at)
{
    sim->servers[at].is_hung = false;
    wal_resume(sim, at);
    for (uint32_t i = 0; i < sim->plan.clients; i++)
        if (is_running_on(&sim->clients[i], at) && sim->clients[i].attempt.is_stalled)
            world_wake(&sim->clients[i], rng_range_ns(&sim->rng, 0, HF_MS(1)));
}

void world_start(struct sim *sim, uint32_t at)
{
    struct sim_server *server = &sim->servers[at];
    wal_start(sim, at);
    server->is_up = true;
    server->is_refusing = false;
}

/* With synchronous standbys nobody who misses an acknowledged commit may take over. */
static bool may_lead(const struct sim *sim, uint32_t at)
{
    const struct sim_server *server = &sim->servers[at];
    return world_answers(sim, at) && !server->is_primary && !server->is_stale &&
           (!sim->plan.is_synchronous || server->end >= sim->confirmed);
}

/* Some replica becomes the primary. The old one is demoted; if it is frozen, it will hear of that
 * later. */
void world_promote(struct sim *sim)
{
    uint32_t old = world_primary(sim);
    uint32_t chosen = NO_SERVER, seen = 0;
    for (uint32_t i = 0; i < sim->plan.servers; i++)
        if (may_lead(sim, i) && rng_below(&sim->rng, ++seen) == 0)
            chosen = i;
    if (chosen == NO_SERVER || sim->timeline + 1 >= SIM_TIMELINES_MAX)
        return;
    wal_promote(sim, old, chosen);
    ++sim->servers[old].incarnation; /* demotion closes its sessions */
    ++sim->servers[chosen].incarnation;
    if (sim->servers[old].is_stale && rng_below(&sim->rng, 2) == 0)
        world_resume(sim, old); /* it thaws just now, and has not heard of it */
}
