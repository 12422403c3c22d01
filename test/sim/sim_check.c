/*
 * The invariants. Each is written from the rules, with what the world knows, and not from the code
 * under test: the table of repeatable endings below is a second, coarser one on purpose.
 *
 * To add one: a name in enum sim_rule with its sentence, the check here, and a mutation in
 * mutations.py that it catches.
 */
#include "sim_int.h"

#include <string.h>

#include "base/bug.h"
#include "base/ns.h"

static uint32_t endpoint_of(const struct sim_client *client)
{
    return client->attempt.server;
}

static bool is_probing(const struct sim *sim, const struct sim_client *client, uint32_t endpoint)
{
    return client->attempt.is_running && endpoint_of(client) == endpoint &&
           breaker_permit_is_probe(&client->call.lease) &&
           client->call.lease.generation == breaker_generation(sim->breakers[endpoint]);
}

/* ---- at every step ---- */

static void check_endpoint(struct sim *sim, uint32_t at)
{
    uint32_t running = 0, probes = 0, in_transit = 0;
    for (uint32_t i = 0; i < sim->plan.clients; i++) {
        const struct sim_client *client = &sim->clients[i];
        running += client->attempt.is_running && endpoint_of(client) == at;
        probes += is_probing(sim, client, at);
        in_transit += timerq_is_linked(&client->side) && client->side_kind == GUARD_EV_GRANTED &&
                      client->call.endpoint == at;
    }
    uint32_t in_use = bulkhead_in_use(sim->bulkheads[at]);
    if (in_use != running + in_transit)
        sim_break(sim, SIM_PERMITS_CONSERVED,
                  "endpoint %u: %u permits in use, %u attempts and %u grants", at, in_use, running,
                  in_transit);
    if (running > sim->plan.bulkhead.limit)
        sim_break(sim, SIM_LIMIT_HELD, "endpoint %u: %u attempts, limit %u", at, running,
                  sim->plan.bulkhead.limit);
    if (probes > sim->plan.breaker.half_open_calls)
        sim_break(sim, SIM_PROBES_BOUNDED, "endpoint %u: %u probes, at most %u allowed", at, probes,
                  sim->plan.breaker.half_open_calls);
}

/* An unreported probe ends half-open when its lease does; the driver looks every SIM_TICK_NS_MAX.
 */
static void check_lease(struct sim *sim, const struct sim_client *client)
{
    if (!client->attempt.is_running || !is_probing(sim, client, endpoint_of(client)))
        return;
    int64_t out_ns = sim->now_ns - client->call.attempt_started_ns;
    if (out_ns > sim->plan.breaker.probe_ns + SIM_TICK_NS_MAX)
        sim_break(sim, SIM_HALF_OPEN_ENDS, "endpoint %u: half-open with a probe out for %lld ms",
                  endpoint_of(client), (long long)(out_ns / HF_MS(1)));
}

static void check_budget(struct sim *sim)
{
    const struct budget_config *budget = &sim->plan.budget;
    double allowed =
        (double)budget->share_ppm / 1e6 * (double)sim->calls_begun +
        (double)budget->reserve_per_second * ((double)(sim->now_ns - SIM_EPOCH_NS) / 1e9) +
        (double)budget->burst + 1;
    if ((double)sim->retries_begun > allowed)
        sim_break(sim, SIM_BUDGET_HELD, "%llu retries, %.1f allowed by %llu calls in %lld ms",
                  (unsigned long long)sim->retries_begun, allowed,
                  (unsigned long long)sim->calls_begun,
                  (long long)((sim->now_ns - SIM_EPOCH_NS) / HF_MS(1)));
}

static void check_client(struct sim *sim, const struct sim_client *client)
{
    check_lease(sim, client);
    if (client->is_busy && !client->is_answered && sim->now_ns > client->deadline_ns)
        sim_break(sim, SIM_ANSWERED_IN_TIME, "client %u in %s: %lld us after its deadline",
                  client->index, guard_state_name(client->call.state),
                  (long long)((sim->now_ns - client->deadline_ns) / HF_US(1)));
    if (guard_deadline(&client->call) < sim->now_ns)
        sim_break(sim, SIM_PROGRESS, "client %u in %s: its alarm lies in the past", client->index,
                  guard_state_name(client->call.state));
}

static void check_level(struct sim *sim)
{
    if (sim->view.level != DEGRADE_FULL)
        sim_break(sim, SIM_LADDER_RETURNS, "level still %s %lld ms after the healing",
                  degrade_level_name((enum degrade_level)sim->view.level),
                  (long long)((sim->now_ns - sim->healed_at_ns) / HF_MS(1)));
}

/*
 * The ladder owes FULL as soon as the facts have been good for its stable time. It hears them when
 * a picture is published. Each sample is published before the next is taken, so the first sample of
 * the healed world is out within two samplings, and there are never more than two between one
 * picture and the next, which is the first that can carry a level whose time has come.
 */
static void check_ladder(struct sim *sim)
{
    int64_t due_ns = sim->healed_at_ns + 4 * sim->plan.sample_ns + sim->ladder_config.stable_ns;
    if (sim->phase != SIM_FAULTY && sim->now_ns > due_ns)
        check_level(sim);
}

/* Nothing waits by asking all the time: a call lives for at most 5 s, and a tick a millisecond is
 * plenty. */
void check_tick(struct sim_client *client)
{
    if (++client->ticks > 6000)
        sim_break(client->sim, SIM_PROGRESS, "client %u in %s: ticked 6000 times in one call",
                  client->index, guard_state_name(client->call.state));
}

void check_step(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan.servers; i++)
        check_endpoint(sim, i);
    for (uint32_t i = 0; i < sim->plan.clients; i++)
        check_client(sim, &sim->clients[i]);
    check_budget(sim);
    check_ladder(sim);
    if (sim->steps_at_instant > 10000)
        sim_break(sim, SIM_PROGRESS, "10000 steps at one instant");
}

/* ---- around one event ---- */

/* From the rules alone: may anything be attempted again after this ending? */
static bool forbids_more(const struct sim_client *client, const struct guard_event *event)
{
    const struct outcome_facts *facts = &event->facts;
    if (event->outcome.code == OUTCOME_SUCCESS || facts->rows_shown)
        return true;
    if (event->outcome.code == OUTCOME_SQLSTATE) {
        char code[6];
        sqlstate_unpack(event->outcome.sqlstate, code);
        /* What the server answered to the statement itself and will answer again. */
        return strncmp(code, "23", 2) == 0 || strncmp(code, "42", 2) == 0 ||
               strncmp(code, "22", 2) == 0;
    }
    if (!facts->sent)
        return false;
    if (facts->commit_sent && facts->may_write)
        return !client->request.idempotent; /* until it is resolved */
    return facts->in_transaction && facts->may_write && !client->request.can_replay &&
           !client->request.idempotent;
}

/* A result whose permit is of an earlier generation must leave the breaker as it was. */
static bool is_stale_end(const struct sim_client *client, const struct guard_event *event)
{
    return event->kind == GUARD_EV_ENDED &&
           client->call.lease.generation !=
               breaker_generation(client->sim->breakers[endpoint_of(client)]);
}

void check_before_feed(struct sim_client *client, const struct guard_event *event)
{
    struct sim *sim = client->sim;
    client->is_stale = is_stale_end(client, event);
    if (client->is_stale) {
        struct breaker *breaker = sim->breakers[endpoint_of(client)];
        client->generation_before = breaker_generation(breaker);
        breaker_view(breaker, sim->now_ns, &client->before);
    }
    if (event->kind == GUARD_EV_ENDED)
        client->is_forbidden = forbids_more(client, event);
    if (event->kind == GUARD_EV_RESOLVED)
        client->is_forbidden = event->resolution != GUARD_ABORTED ||
                               client->call.facts.rows_shown ||
                               (client->call.facts.in_transaction && !client->request.can_replay);
}

void check_after_feed(struct sim_client *client, const struct guard_event *event)
{
    (void)event;
    if (!client->is_stale)
        return;
    struct sim *sim = client->sim;
    struct breaker *breaker = sim->breakers[endpoint_of(client)];
    struct breaker_view after;
    breaker_view(breaker, sim->now_ns, &after);
    const struct breaker_view *before = &client->before;
    if (breaker_generation(breaker) != client->generation_before || after.state != before->state ||
        after.window.calls != before->window.calls ||
        after.window.failures != before->window.failures)
        sim_break(sim, SIM_STALE_INERT,
                  "endpoint %u: a result of generation %u changed generation %u",
                  endpoint_of(client), client->call.lease.generation, client->generation_before);
}

void check_run(struct sim_client *client, const struct guard_action *action)
{
    struct sim *sim = client->sim;
    const struct snapshot *view = &sim->view;
    uint32_t at = action->endpoint;
    hf_assert(at < sim->plan.servers);
    if (action->attempt > 1)
        ++sim->retries_begun;
    if (client->write >= 0 && view->endpoints[at].role != ENDPOINT_PRIMARY)
        sim_break(sim, SIM_WRITE_TO_PRIMARY,
                  "client %u: a write to endpoint %u, which the view calls %s", client->index, at,
                  endpoint_role_name(view->endpoints[at].role));
    enum breaker_state state = breaker_state(sim->breakers[at]);
    if ((state == BREAKER_OPEN || state == BREAKER_FORCED_OPEN) && !sim->plan.breaker.is_monitor)
        sim_break(sim, SIM_OPEN_HOLDS,
                  "client %u: an attempt on endpoint %u, whose breaker is open", client->index, at);
    if (client->is_forbidden)
        sim_break(sim, SIM_NO_FORBIDDEN_REPEAT, "client %u: attempt %u after %s", client->index,
                  action->attempt, outcome_code_name(client->attempt.pending.code));
    if (client->is_answered)
        sim_break(sim, SIM_ANSWERED_ONCE, "client %u: an attempt after its answer", client->index);
    bool is_read_only = view->level != DEGRADE_FULL && client->write >= 0;
    bool is_cached_only = view->level > DEGRADE_READ_ONLY;
    if (is_read_only || is_cached_only)
        sim_break(sim, SIM_LEVEL_OBEYED, "client %u: an attempt at level %s", client->index,
                  degrade_level_name((enum degrade_level)view->level));
}

/* ---- the answer ---- */

static void check_truth(struct sim_client *client, const struct guard_action *action)
{
    struct sim *sim = client->sim;
    if (client->write < 0)
        return;
    uint32_t applied = wal_applied(sim, client->write);
    bool is_lie = false;
    switch (action->result) {
    case GUARD_SERVED:
        is_lie = applied == 0 && !client->is_excused;
        break;
    case GUARD_REFUSED:
    case GUARD_FAILED:
        /* An idempotent write may have been repeated after an unknown ending, and failed then. */
        is_lie = applied > 0 && !client->request.idempotent;
        sim->write[client->write].is_denied = true;
        break;
    case GUARD_SERVED_CACHED:
        is_lie = true;
        break;
    case GUARD_UNKNOWN:
    case GUARD_RESULTS:
        break;
    }
    if (is_lie)
        sim_break(sim, SIM_TRUE_ANSWER,
                  "client %u: told %u (%s), but the write took effect %u times", client->index,
                  (unsigned)action->result, guard_why_name(guard_reason(&client->call)->why),
                  applied);
}

/* ---- commits ---- */

/* A commit record was written. On a former primary that nobody has stopped it is in vain. */
void check_commit(struct sim *sim, const struct sim_tx *tx)
{
    if (tx->write < 0 || !sim->servers[tx->server].is_primary)
        return;
    const struct sim_write *write = &sim->write[tx->write];
    uint32_t applied = wal_applied(sim, tx->write);
    if (tx->is_called_aborted)
        sim_break(sim, SIM_TRUE_COMMIT, "transaction %llu: found aborted, and committed later",
                  (unsigned long long)tx->xid);
    if (applied > 1 && !write->idempotent)
        sim_break(sim, SIM_APPLIED_ONCE, "write %d took effect %u times", tx->write, applied);
    if (write->is_denied && !write->idempotent)
        sim_break(sim, SIM_TRUE_ANSWER, "write %d: told that it failed, and committed later",
                  tx->write);
}

/* A commit record has left the surviving history. */
void check_lost(struct sim *sim, const struct sim_tx *tx)
{
    if (tx->is_called_committed && sim->plan.is_synchronous)
        sim_break(sim, SIM_COMMIT_KEPT, "transaction %llu: found committed, and lost",
                  (unsigned long long)tx->xid);
}

/* A search that begins after the healing, with all it may know and time for a backend that has to
 * be ended, a watcher that is late, and a question that is lost. */
static bool must_find(const struct sim_client *client)
{
    const struct sim *sim = client->sim;
    const struct commit *machine = &client->search->machine;
    const struct sim_plan *plan = &sim->plan;
    int64_t needed_ns =
        2 * plan->commit.patience_ns + 4 * plan->commit.ask_ns_max + 6 * plan->sample_ns;
    return sim->phase != SIM_FAULTY &&
           machine->began_ns > sim->healed_at_ns + 3 * plan->sample_ns &&
           machine->deadline_ns - machine->began_ns >= needed_ns && plan->has_marks &&
           plan->has_history && client->attempt.has_probe;
}

static void check_resolved(struct sim_client *client, enum guard_resolution resolution)
{
    if (resolution == GUARD_UNRESOLVED && must_find(client))
        sim_break(client->sim, SIM_RESOLVED, "client %u: not found out: %s", client->index,
                  commit_why_name(commit_reason(&client->search->machine)->why));
}

/* What a search has found, against what the servers really hold. */
void check_found(struct sim_client *client, enum guard_resolution resolution)
{
    struct sim *sim = client->sim;
    const struct commit *machine = &client->search->machine;
    check_resolved(client, resolution);
    if (resolution == GUARD_UNRESOLVED)
        return;
    struct sim_tx *tx = &sim->tx[client->search->tx];
    bool is_kept = wal_is_kept(sim, tx);
    const char *why = commit_why_name(commit_reason(machine)->why);
    if (resolution == GUARD_ABORTED) {
        tx->is_called_aborted = true;
        if (is_kept)
            sim_break(sim, SIM_TRUE_COMMIT, "transaction %llu: found aborted (%s), is committed",
                      (unsigned long long)tx->xid, why);
        return;
    }
    tx->is_called_committed = true;
    client->is_excused = !sim->plan.is_synchronous && tx->lost_at_ns > machine->answered_ns;
    if (!is_kept && !client->is_excused)
        sim_break(sim, SIM_TRUE_COMMIT, "transaction %llu: found committed (%s), is not",
                  (unsigned long long)tx->xid, why);
}

/* ---- the answer, and when it comes ---- */

void check_answer(struct sim_client *client, const struct guard_action *action)
{
    struct sim *sim = client->sim;
    if (client->is_answered || !client->is_busy)
        sim_break(sim, SIM_ANSWERED_ONCE, "client %u: a second answer", client->index);
    if (sim->now_ns > client->deadline_ns)
        sim_break(sim, SIM_ANSWERED_IN_TIME, "client %u: answered %lld us after its deadline",
                  client->index, (long long)((sim->now_ns - client->deadline_ns) / HF_US(1)));
    check_truth(client, action);
}

void check_finished(struct sim_client *client)
{
    if (!client->is_answered)
        sim_break(client->sim, SIM_ANSWERED_ONCE, "client %u: over without an answer",
                  client->index);
    if (client->attempt.is_running)
        sim_break(client->sim, SIM_PERMITS_CONSERVED, "client %u: over with an attempt running",
                  client->index);
}

/* ---- after the healing ---- */

/* Closed, or waiting for nothing but a call: nobody asks a replica of a tier that is not needed. */
static bool is_breaker_well(const struct sim *sim, uint32_t at)
{
    return breaker_state(sim->breakers[at]) == BREAKER_CLOSED ||
           breaker_would_admit(sim->breakers[at], sim->now_ns);
}

/* What was sampled before the healing proves nothing of the time after it. Its level may be one
 * that was pinned by hand: the healing takes the pin back, and the ladder then stands where health
 * had left it, but the picture goes on saying FULL until the next one is published. */
static bool is_view_of_healed(const struct sim *sim)
{
    return sim->view.endpoints[world_primary(sim)].sampled_at_ns > sim->healed_at_ns;
}

/* Well: nothing of the faults is left. Asked while clients still work. */
bool check_is_well(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan.servers; i++)
        if (!is_breaker_well(sim, i))
            return false;
    return is_view_of_healed(sim) && sim->view.level == DEGRADE_FULL && sim->served_since_heal > 50;
}

/* A breaker that nobody has asked since, or that the last calls of the faulty time have opened
 * late, must close as soon as its open time is over and calls come and succeed. */
static void check_closes(struct sim *sim, uint32_t at)
{
    struct breaker *breaker = sim->breakers[at];
    uint32_t calls = sim->plan.breaker.success_threshold;
    int64_t at_ns = sim->now_ns + 2 * sim->plan.breaker.open_ns_max; /* jitter is below that */
    for (uint32_t i = 0; i < calls && breaker_state(breaker) != BREAKER_CLOSED; i++) {
        struct breaker_permit permit;
        if (breaker_admit(breaker, at_ns, &permit))
            breaker_record(breaker, &permit, OUTCOME_VERDICT_SUCCESS, at_ns);
    }
    if (breaker_state(breaker) != BREAKER_CLOSED)
        sim_break(sim, SIM_BREAKERS_CLOSE, "endpoint %u: breaker still %s", at,
                  breaker_state_name(breaker_state(breaker)));
}

void check_healed(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan.servers; i++) {
        check_closes(sim, i);
        if (bulkhead_in_use(sim->bulkheads[i]) != 0 || bulkhead_waiting(sim->bulkheads[i]) != 0)
            sim_break(sim, SIM_ALL_ENDED, "endpoint %u: %u permits and %u waiters left", i,
                      bulkhead_in_use(sim->bulkheads[i]), bulkhead_waiting(sim->bulkheads[i]));
    }
    if (sim->hold != NULL && bulkhead_in_use(sim->hold) != 0)
        sim_break(sim, SIM_ALL_ENDED, "%u places in the hold left", bulkhead_in_use(sim->hold));
    for (uint32_t i = 0; i < sim->plan.clients; i++)
        if (sim->clients[i].is_busy)
            sim_break(sim, SIM_ALL_ENDED, "client %u still in %s", i,
                      guard_state_name(sim->clients[i].call.state));
    check_level(sim);
    if (sim->served_since_heal == 0)
        sim_break(sim, SIM_SERVED_AGAIN, "no call was served after the healing");
}
