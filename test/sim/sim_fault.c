/*
 * The schedule of faults. Each seed switches some kinds off (plan.faults_mask), so that rare
 * combinations are not drowned by common ones. A fault hits one server, or clogs a random subset
 * one after the other; repairs come by the same timer, in random order. healing() takes everything
 * back.
 */
#include "sim_int.h"

#include "base/ns.h"

enum fault {
    FAULT_CRASH,
    FAULT_BOUNCE, /* a crash, and up again at once */
    FAULT_HANG,
    FAULT_SLOW,
    FAULT_REFUSE,
    FAULT_ERRORS,
    FAULT_RESETS,
    FAULT_LAG,
    FAULT_SWITCHOVER,
    FAULT_REPAIR_ONE,
    FAULT_REPAIR_ALL,
    FAULT_CRASH_ALL,
    FAULTS
};

static void repair(struct sim *sim, uint32_t at)
{
    struct sim_server *server = &sim->servers[at];
    if (!server->is_up)
        world_start(sim, at);
    if (server->is_hung)
        world_resume(sim, at);
    server->is_refusing = false;
    server->slow_factor = 1;
    server->error_permille = 0;
    server->reset_permille = 0;
    server->is_replay_paused = false;
    server->is_cut = false;
}

static void repair_all(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan.servers; i++)
        repair(sim, i);
}

/* A primary that is gone or hung for long is replaced, as a failover manager would do. */
static void plan_election(struct sim *sim)
{
    if (timerq_is_linked(&sim->election))
        return;
    int64_t ns_max = rng_below(&sim->rng, 2) == 0 ? HF_MS(500) : HF_SEC(5);
    timerq_add(&sim->timers, &sim->election,
               sim->now_ns + rng_range_ns(&sim->rng, HF_MS(20), ns_max));
}

void fault_election(struct sim *sim)
{
    if (!world_answers(sim, world_primary(sim)))
        world_promote(sim);
    if (!world_answers(sim, world_primary(sim)))
        plan_election(sim);
}

static const char *const fault_names[FAULTS] = {
    [FAULT_CRASH] = "crash",
    [FAULT_BOUNCE] = "bounce",
    [FAULT_HANG] = "hang",
    [FAULT_SLOW] = "slow",
    [FAULT_REFUSE] = "refuse",
    [FAULT_ERRORS] = "errors",
    [FAULT_RESETS] = "resets",
    [FAULT_LAG] = "lag",
    [FAULT_SWITCHOVER] = "switchover",
    [FAULT_REPAIR_ONE] = "repair",
    [FAULT_REPAIR_ALL] = "repair all",
    [FAULT_CRASH_ALL] = "crash all",
};

/* Replay stops, or the line from the primary is cut, for one replica or for all. */
static void lag(struct sim *sim, uint32_t at)
{
    if (rng_below(&sim->rng, 2) == 0) {
        sim->servers[at].is_replay_paused = true;
        return;
    }
    sim->servers[at].is_cut = true;
    if (rng_below(&sim->rng, 2) == 0)
        for (uint32_t i = 0; i < sim->plan.servers; i++)
            sim->servers[i].is_cut = true;
}

static void strike(struct sim *sim, enum fault kind, uint32_t at)
{
    sim_note(sim, at, 200, (uint32_t)kind);
    if (sim->log != NULL)
        fprintf(sim->log, "%12.6f server %-2u %s\n", sim_seconds(sim), at, fault_names[kind]);
    struct sim_server *server = &sim->servers[at];
    uint32_t permille = 1 + (uint32_t)rng_below(&sim->rng, 1000);
    switch (kind) {
    case FAULT_CRASH:
        world_crash(sim, at);
        plan_election(sim);
        return;
    case FAULT_BOUNCE:
        world_crash(sim, at);
        world_start(sim, at);
        return;
    case FAULT_HANG:
        server->is_hung = true;
        plan_election(sim);
        return;
    case FAULT_SLOW:
        server->slow_factor = 1 + (uint32_t)rng_below(&sim->rng, 200);
        return;
    case FAULT_REFUSE:
        server->is_refusing = true;
        plan_election(sim);
        return;
    case FAULT_ERRORS:
        server->error_permille = permille;
        return;
    case FAULT_RESETS:
        server->reset_permille = permille;
        return;
    case FAULT_LAG:
        lag(sim, at);
        return;
    case FAULT_SWITCHOVER:
        world_promote(sim);
        return;
    case FAULT_REPAIR_ONE:
        repair(sim, at);
        return;
    case FAULT_REPAIR_ALL:
        repair_all(sim);
        return;
    case FAULT_CRASH_ALL:
        for (uint32_t i = 0; i < sim->plan.servers; i++)
            world_crash(sim, i);
        plan_election(sim);
        return;
    case FAULTS:
        return;
    }
}

/* Somebody pins a level by hand now and then, some for a time, some until it is taken back. */
void fault_pin(struct sim *sim)
{
    if (sim->phase != SIM_FAULTY)
        return;
    struct degrade_event event = {
        .kind = rng_below(&sim->rng, 2) == 0 ? DEGRADE_EV_PIN : DEGRADE_EV_UNPIN,
        .now_ns = sim->now_ns,
        .level = (enum degrade_level)rng_below(&sim->rng, DEGRADE_LEVELS),
        .until_ns = rng_below(&sim->rng, 2) == 0
                        ? HF_NEVER
                        : sim->now_ns + rng_range_ns(&sim->rng, HF_MS(1), HF_SEC(1)),
    };
    degrade_feed(&sim->ladder, &event);
    timerq_add(&sim->timers, &sim->pin,
               sim->now_ns + rng_range_ns(&sim->rng, HF_MS(100), HF_SEC(5)));
}

static void plan_next(struct sim *sim)
{
    timerq_add(&sim->timers, &sim->fault,
               sim->now_ns + rng_range_ns(&sim->rng, 1, 2 * sim->plan.fault_ns_mean));
}

void fault_init(struct sim *sim)
{
    sim->plan.faults_mask = (uint32_t)rng_u64(&sim->rng) | 1u << FAULT_REPAIR_ONE;
    plan_next(sim);
    if (rng_below(&sim->rng, 3) == 0)
        timerq_add(&sim->timers, &sim->pin, sim->now_ns + HF_SEC(1));
}

void fault_strike(struct sim *sim)
{
    if (sim->phase != SIM_FAULTY)
        return;
    enum fault kind = (enum fault)rng_below(&sim->rng, FAULTS);
    if (kind == FAULT_CRASH_ALL && rng_below(&sim->rng, 4) != 0)
        kind = FAULT_REPAIR_ALL;
    uint32_t at = (uint32_t)rng_below(&sim->rng, sim->plan.servers);
    if (rng_below(&sim->rng, 3) == 0)
        at = world_primary(sim); /* where it hurts most */
    if (sim->plan.faults_mask & 1u << kind)
        strike(sim, kind, at);
    plan_next(sim);
}

/* Without its standbys a synchronous primary confirms nothing, and is not well. */
static void hurry_standbys(struct sim *sim)
{
    if (!sim->plan.is_synchronous)
        return;
    for (uint32_t i = 0; i < sim->plan.servers; i++)
        sim->servers[i].fenced_at_ns = ns_min(sim->servers[i].fenced_at_ns, sim->now_ns);
}

/* From here on nothing goes wrong any more. */
void fault_heal(struct sim *sim)
{
    repair_all(sim);
    hurry_standbys(sim);
    fault_election(sim);
    degrade_feed(&sim->ladder,
                 &(struct degrade_event){.kind = DEGRADE_EV_UNPIN, .now_ns = sim->now_ns});
}
