/*
 * The driver: clients that make calls, guards that decide, and this file, which carries their
 * actions out against the world. It holds no policy. What crosses a thread or a network in life (a
 * grant, a resolution, a cached result) takes a little virtual time here, so that it can meet a
 * deadline, a cancellation or a role change on its way.
 */
#include "sim_int.h"

#include "base/bug.h"
#include "base/ns.h"

static void drain(struct sim_client *client);

/* For those who read the log of a run. */
static const char *const event_names[] = {
    [GUARD_EV_START] = "START",       [GUARD_EV_TICK] = "TICK",
    [GUARD_EV_VIEW] = "VIEW",         [GUARD_EV_ENTERED] = "ENTERED",
    [GUARD_EV_GRANTED] = "GRANTED",   [GUARD_EV_WITHDRAWN] = "WITHDRAWN",
    [GUARD_EV_PROGRESS] = "PROGRESS", [GUARD_EV_ENDED] = "ENDED",
    [GUARD_EV_RESOLVED] = "RESOLVED", [GUARD_EV_CACHED] = "CACHED",
    [GUARD_EV_CANCEL] = "CANCEL",
};

static const char *const action_names[] = {
    [GUARD_ACT_RUN] = "run",
    [GUARD_ACT_STOP] = "stop",
    [GUARD_ACT_ENTER] = "enter",
    [GUARD_ACT_WITHDRAW] = "withdraw",
    [GUARD_ACT_HAND_OVER] = "hand over",
    [GUARD_ACT_TELL] = "tell",
    [GUARD_ACT_RESOLVE] = "resolve",
    [GUARD_ACT_CACHE] = "cache",
    [GUARD_ACT_DONE] = "done",
    [GUARD_ACT_FREE] = "free",
};

static void note_event(struct sim_client *client, const struct guard_event *event)
{
    struct sim *sim = client->sim;
    enum guard_state state = client->call.state;
    sim_note(sim, client->index, (uint32_t)event->kind, (uint32_t)state);
    if (sim->log == NULL)
        return;
    fprintf(sim->log, "%12.6f client %-2u %-9s", sim_seconds(sim), client->index,
            event_names[event->kind]);
    if (event->kind == GUARD_EV_ENDED)
        fprintf(sim->log, " %s", outcome_code_name(event->outcome.code));
    fprintf(sim->log, " -> %s, %s\n", guard_state_name(state),
            guard_why_name(guard_reason(&client->call)->why));
}

static void note_action(struct sim_client *client, const struct guard_action *action)
{
    struct sim *sim = client->sim;
    sim_note(sim, client->index, 100 + (uint32_t)action->kind, action->endpoint);
    if (sim->log != NULL)
        fprintf(sim->log, "%12.6f client %-2u           %s endpoint %d attempt %u\n",
                sim_seconds(sim), client->index, action_names[action->kind], (int)action->endpoint,
                action->attempt);
}

static struct guard_event event_of(struct sim_client *client, enum guard_event_kind kind)
{
    struct sim *sim = client->sim;
    return (struct guard_event){
        .kind = kind,
        .now_ns = sim->now_ns,
        .random = rng_u64(&sim->rng),
        .view = &sim->view,
    };
}

static void feed(struct sim_client *client, const struct guard_event *event)
{
    check_before_feed(client, event);
    guard_feed(&client->call, event);
    check_after_feed(client, event);
    note_event(client, event);
    drain(client);
}

void client_feed(struct sim_client *client, enum guard_event_kind kind)
{
    struct guard_event event = event_of(client, kind);
    feed(client, &event);
}

void client_progress(struct sim_client *client)
{
    struct guard_event event = event_of(client, GUARD_EV_PROGRESS);
    event.facts = client->attempt.facts;
    feed(client, &event);
}

void client_attempt_ended(struct sim_client *client)
{
    struct guard_event event = event_of(client, GUARD_EV_ENDED);
    event.facts = client->attempt.facts;
    event.outcome = client->attempt.pending;
    if (rng_below(&client->sim->rng, 50) == 0)
        event.server_delay_ns = rng_range_ns(&client->sim->rng, 0, HF_MS(300));
    if (timerq_is_linked(&client->step))
        timerq_remove(&client->sim->timers, &client->step);
    client->attempt.is_running = false;
    if (client->attempt.tx >= 0)
        wal_detach(client->sim, client->attempt.tx, client->attempt.facts.commit_sent);
    feed(client, &event);
}

/* ---- actions ---- */

static void later(struct sim_client *client, enum guard_event_kind kind, int64_t ns_max)
{
    struct sim *sim = client->sim;
    hf_assert(!timerq_is_linked(&client->side));
    client->side_kind = kind;
    timerq_add(&sim->timers, &client->side, sim->now_ns + rng_range_ns(&sim->rng, 0, ns_max));
}

/* The bulkhead's queue: one thread here, so no lock; the grant reaches the other call a moment
 * later. */
static void apply(struct sim_client *client, const struct guard_action *action)
{
    struct guard_event event = event_of(client, GUARD_EV_TICK);
    struct guard_call *granted = guard_apply_locked(&client->call, action, &event);
    if (granted == NULL)
        granted = guard_next_granted(&client->sim->guard, action->endpoint, client->sim->now_ns);
    for (; granted != NULL;
         granted = guard_next_granted(&client->sim->guard, action->endpoint, client->sim->now_ns))
        later(container_of(granted, struct sim_client, call), GUARD_EV_GRANTED, HF_US(200));
}

static void answer(struct sim_client *client, const struct guard_action *action)
{
    check_answer(client, action);
    client->is_answered = true;
    struct sim *sim = client->sim;
    ++sim->answered;
    if (action->result == GUARD_SERVED && sim->phase != SIM_FAULTY)
        ++sim->served_since_heal;
    if (action->result == GUARD_SERVED && client->write >= 0 && !client->is_excused) {
        /* Half of the sessions know the position, half only the time. */
        client->session = (struct route_promise){
            .lsn = client->index % 2 ? sim->write[client->write].position : 0,
            .written_at_ns = sim->now_ns,
            .timeline = sim->timeline,
        };
        client->session_position = sim->write[client->write].position;
    }
}

static void finished(struct sim_client *client)
{
    struct sim *sim = client->sim;
    check_finished(client);
    client->is_busy = false;
    if (timerq_is_linked(&client->cancel))
        timerq_remove(&sim->timers, &client->cancel);
    if (sim->phase != SIM_CLOSING)
        timerq_add(&sim->timers, &client->turn,
                   sim->now_ns + rng_range_ns(&sim->rng, 0, sim->plan.think_ns_max));
}

static void carry_out(struct sim_client *client, const struct guard_action *action)
{
    note_action(client, action);
    switch (action->kind) {
    case GUARD_ACT_RUN:
        check_run(client, action);
        world_attempt_begin(client, action->endpoint);
        break;
    case GUARD_ACT_STOP:
        world_attempt_stop(client);
        break;
    case GUARD_ACT_ENTER:
    case GUARD_ACT_WITHDRAW:
    case GUARD_ACT_HAND_OVER:
        apply(client, action);
        break;
    case GUARD_ACT_TELL:
        view_told(client->sim, action->endpoint, action->evidence);
        break;
    case GUARD_ACT_RESOLVE:
        search_begin(client, action->deadline_ns);
        break;
    case GUARD_ACT_CACHE:
        later(client, GUARD_EV_CACHED, HF_US(100));
        break;
    case GUARD_ACT_DONE:
        answer(client, action);
        break;
    case GUARD_ACT_FREE:
        break;
    }
    if (action->last)
        finished(client);
}

/* Carries out everything, then sets the alarm for what the guard waits for. */
static void drain(struct sim_client *client)
{
    struct sim *sim = client->sim;
    struct guard_action action;
    while (guard_next(&client->call, &action))
        carry_out(client, &action);
    int64_t at_ns = guard_deadline(&client->call);
    if (at_ns == HF_NEVER) {
        if (timerq_is_linked(&client->tick))
            timerq_remove(&sim->timers, &client->tick);
    } else if (!timerq_is_linked(&client->tick)) {
        timerq_add(&sim->timers, &client->tick, ns_max(at_ns, sim->now_ns));
    } else if (client->tick.at_ns != at_ns) {
        timerq_move(&sim->timers, &client->tick, ns_max(at_ns, sim->now_ns));
    }
}

/* ---- what comes back a moment later ---- */

void client_resolved(struct sim_client *client, enum guard_resolution resolution)
{
    struct guard_event event = event_of(client, GUARD_EV_RESOLVED);
    event.resolution = resolution;
    feed(client, &event);
}

static void side(struct sim_client *client)
{
    struct guard_event event = event_of(client, client->side_kind);
    event.was_hit = rng_below(&client->sim->rng, 2) == 0;
    feed(client, &event);
}

/* ---- a new call ---- */

static void draw_request(struct sim_client *client)
{
    struct sim *sim = client->sim;
    struct rng *rng = &sim->rng;
    uint64_t dice = rng_below(rng, 100);
    bool is_write = dice < 40 && sim->writes < SIM_WRITES_MAX && sim->txs < SIM_TXS_MAX - 512;
    client->request = (struct guard_request){
        .route = {.intent = is_write ? ROUTE_WRITE : ROUTE_READ,
                  .consistency = (enum route_consistency)rng_below(rng, ROUTE_CONSISTENCIES),
                  .staleness_ns_max = rng_range_ns(rng, HF_MS(1), HF_SEC(2)),
                  .promise = client->session},
        .operation = is_write ? DEGRADE_WRITE : DEGRADE_READ,
        .deadline_ns = sim->now_ns + rng_range_ns(rng, HF_MS(1), HF_SEC(5)),
        .priority = (uint8_t)rng_below(rng, 4),
        .idempotent = rng_below(rng, 5) == 0,
        .can_replay = rng_below(rng, 2) == 0,
        .in_transaction = rng_below(rng, 8) < (is_write ? 7 : 2),
        .cache_ok = !is_write && rng_below(rng, 4) == 0,
    };
    client->write = -1;
    if (is_write) {
        client->write = (int32_t)sim->writes++;
        sim->write[client->write] =
            (struct sim_write){.newest = -1, .idempotent = client->request.idempotent};
    }
}

static void turn(struct sim_client *client)
{
    struct sim *sim = client->sim;
    draw_request(client);
    client->deadline_ns = client->request.deadline_ns;
    client->is_busy = true;
    client->ticks = 0;
    client->is_answered = false;
    client->is_forbidden = false;
    client->is_excused = false;
    ++sim->calls_begun;
    if (rng_below(&sim->rng, 20) == 0)
        timerq_add(&sim->timers, &client->cancel,
                   sim->now_ns + rng_range_ns(&sim->rng, 0, HF_MS(500)));
    struct guard_event event = event_of(client, GUARD_EV_START);
    event.request = &client->request;
    feed(client, &event);
}

void client_init(struct sim_client *client, struct sim *sim, uint32_t index)
{
    client->sim = sim;
    client->index = index;
    client->write = -1;
    client->search = &sim->searches[index];
    client->search->client = client;
    guard_call_init(&client->call, &sim->guard, &sim->lane);
    timerq_add(&sim->timers, &client->turn, sim->now_ns + rng_range_ns(&sim->rng, 0, HF_MS(50)));
}

bool client_timer(struct sim_client *client, const struct timer *timer)
{
    if (timer == &client->turn) {
        if (client->sim->phase != SIM_CLOSING)
            turn(client);
    } else if (timer == &client->step)
        world_attempt_step(client);
    else if (timer == &client->tick) {
        check_tick(client);
        client_feed(client, GUARD_EV_TICK);
    } else if (timer == &client->cancel)
        client_feed(client, GUARD_EV_CANCEL);
    else if (timer == &client->side)
        side(client);
    else
        return false;
    return true;
}
