/*
 * One run: draws the plan from the seed, turns the wheel of virtual time, and ends it.
 */
#include "sim_int.h"

#include <stdarg.h>
#include <string.h>

#include "base/bug.h"
#include "base/ns.h"

static const char *const rule_names[SIM_RULES] = {
    [SIM_PERMITS_CONSERVED] = "PERMITS_CONSERVED",
    [SIM_LIMIT_HELD] = "LIMIT_HELD",
    [SIM_PROBES_BOUNDED] = "PROBES_BOUNDED",
    [SIM_HALF_OPEN_ENDS] = "HALF_OPEN_ENDS",
    [SIM_OPEN_HOLDS] = "OPEN_HOLDS",
    [SIM_STALE_INERT] = "STALE_INERT",
    [SIM_BUDGET_HELD] = "BUDGET_HELD",
    [SIM_WRITE_TO_PRIMARY] = "WRITE_TO_PRIMARY",
    [SIM_NO_FORBIDDEN_REPEAT] = "NO_FORBIDDEN_REPEAT",
    [SIM_APPLIED_ONCE] = "APPLIED_ONCE",
    [SIM_TRUE_COMMIT] = "TRUE_COMMIT",
    [SIM_COMMIT_KEPT] = "COMMIT_KEPT",
    [SIM_RESOLVED] = "RESOLVED",
    [SIM_TRUE_ANSWER] = "TRUE_ANSWER",
    [SIM_PROMISE_KEPT] = "PROMISE_KEPT",
    [SIM_ANSWERED_ONCE] = "ANSWERED_ONCE",
    [SIM_ANSWERED_IN_TIME] = "ANSWERED_IN_TIME",
    [SIM_LEVEL_OBEYED] = "LEVEL_OBEYED",
    [SIM_PROGRESS] = "PROGRESS",
    [SIM_ALL_ENDED] = "ALL_ENDED",
    [SIM_BREAKERS_CLOSE] = "BREAKERS_CLOSE",
    [SIM_LADDER_RETURNS] = "LADDER_RETURNS",
    [SIM_SERVED_AGAIN] = "SERVED_AGAIN",
};

const char *sim_rule_name(enum sim_rule rule)
{
    return rule_names[rule];
}

/* The first broken invariant ends the run; what follows from it would only confuse. */
void sim_break(struct sim *sim, enum sim_rule rule, const char *format, ...)
{
    if (sim->is_broken)
        return;
    sim->is_broken = true;
    sim->broken = rule;
    va_list args;
    va_start(args, format);
    vsnprintf(sim->broken_text, sizeof sim->broken_text, format, args);
    va_end(args);
}

/* What happened, into the hash by which two runs of a seed are compared. */
void sim_note(struct sim *sim, uint32_t who, uint32_t what, uint32_t value)
{
    sim->log_hash = rng_mix(sim->log_hash ^ (uint64_t)sim->now_ns) + ((uint64_t)who << 48) +
                    ((uint64_t)what << 32) + value;
}

double sim_seconds(const struct sim *sim)
{
    return (double)(sim->now_ns - SIM_EPOCH_NS) / 1e9;
}

/* ---- the plan ---- */

/* One of n. */
static uint32_t one_of(struct sim *sim, uint32_t n)
{
    return (uint32_t)rng_below(&sim->rng, n);
}

static bool is_heads(struct sim *sim)
{
    return one_of(sim, 2) == 0;
}

static struct breaker_config draw_breaker(struct sim *sim)
{
    struct breaker_config config = breaker_config_default();
    struct rng *rng = &sim->rng;
    config.failure_threshold = is_heads(sim) ? 0 : 1 + one_of(sim, 8);
    config.failure_rate_ppm = is_heads(sim) ? 0 : 100000 * (1 + one_of(sim, 10));
    config.slow_rate_ppm = is_heads(sim) ? 0 : 100000 * (1 + one_of(sim, 10));
    config.slow_ns = rng_range_ns(rng, HF_MS(5), HF_MS(500));
    config.min_calls = 1 + one_of(sim, 10);
    config.window_kind = is_heads(sim) ? WINDOW_TIME : WINDOW_COUNT;
    config.window_ns = rng_range_ns(rng, HF_MS(500), HF_SEC(10));
    config.window_calls = 10 + one_of(sim, 40);
    config.open_ns = rng_range_ns(rng, HF_MS(50), HF_SEC(3));
    config.open_ns_max = config.open_ns * 4;
    config.open_growth_ppm = 1000000 + one_of(sim, 3) * 500000;
    config.half_open_calls = 1 + one_of(sim, BREAKER_LEASES);
    config.success_threshold = 1 + one_of(sim, 4);
    /* Most leases are short: few attempts outlive a long one before their server is seen down. */
    config.probe_ns = rng_range_ns(rng, HF_MS(10), HF_MS(100)) << one_of(sim, 6);
    config.is_monitor = one_of(sim, 10) == 0;
    return config;
}

static struct bulkhead_config draw_bulkhead(struct sim *sim)
{
    struct bulkhead_config config = bulkhead_config_default();
    config.limit = 1 + one_of(sim, 8);
    config.queue_max = one_of(sim, 9);
    config.wait_ns_max = rng_range_ns(&sim->rng, HF_MS(1), HF_SEC(2));
    config.exec_ns_max = is_heads(sim) ? HF_NEVER : rng_range_ns(&sim->rng, HF_MS(50), HF_SEC(5));
    config.refuses_hopeless = is_heads(sim);
    config.has_histograms = false;
    return config;
}

static struct guard_config draw_guard(struct sim *sim)
{
    struct guard_config config = guard_config_default();
    config.retry.attempts_max = 1 + one_of(sim, 5);
    config.retry.initial_ns = rng_range_ns(&sim->rng, HF_MS(1), HF_MS(100));
    config.attempt_ns_max = is_heads(sim) ? HF_NEVER : rng_range_ns(&sim->rng, HF_MS(5), HF_SEC(1));
    config.queue_ns_max = rng_range_ns(&sim->rng, HF_MS(1), HF_SEC(2));
    config.hold_ns_max = is_heads(sim) ? 0 : rng_range_ns(&sim->rng, HF_MS(1), HF_SEC(3));
    config.open_hold_ns_max = is_heads(sim) ? 0 : rng_range_ns(&sim->rng, HF_MS(1), HF_SEC(1));
    config.resolve_ns_max = rng_range_ns(&sim->rng, HF_MS(10), HF_SEC(5));
    return config;
}

/* How commits are made durable, and what a search may know. */
static void draw_commits(struct sim *sim)
{
    struct sim_plan *plan = &sim->plan;
    plan->commit = commit_config_default();
    plan->commit.ask_ns_max = rng_range_ns(&sim->rng, HF_MS(20), HF_MS(200));
    plan->commit.again_ns = rng_range_ns(&sim->rng, HF_MS(1), HF_MS(50));
    plan->commit.patience_ns = rng_range_ns(&sim->rng, HF_MS(10), HF_MS(300));
    plan->is_synchronous = plan->servers > 1 && is_heads(sim);
    plan->is_lazy = one_of(sim, 4) == 0;
    plan->has_marks = one_of(sim, 3) != 0;
    plan->has_history = is_heads(sim);
    plan->healed_ns_min = one_of(sim, 8) == 0 ? HF_SEC(2) : 0;
}

static void draw_plan(struct sim *sim)
{
    struct sim_plan *plan = &sim->plan;
    struct rng *rng = &sim->rng;
    plan->servers = 1 + one_of(sim, SIM_SERVERS_MAX);
    plan->clients = 1 + one_of(sim, SIM_CLIENTS_MAX);
    plan->breaker = draw_breaker(sim);
    plan->bulkhead = draw_bulkhead(sim);
    plan->budget = budget_config_default();
    plan->budget.share_ppm = 10000 * one_of(sim, 30);
    plan->budget.reserve_per_second = one_of(sim, 4);
    plan->budget.burst = 1 + one_of(sim, 20);
    plan->guard = draw_guard(sim);
    plan->fault_ns_mean = rng_range_ns(rng, HF_MS(50), HF_SEC(2));
    plan->think_ns_max = rng_range_ns(rng, HF_MS(1), HF_MS(50));
    plan->service_ns = rng_range_ns(rng, HF_US(100), HF_MS(5));
    plan->sample_ns = rng_range_ns(rng, HF_MS(10), HF_MS(200));
    /* Most runs are short: many beginnings meet more than long middles do. */
    plan->faulty_ns = rng_range_ns(rng, HF_MS(20), HF_MS(200)) << one_of(sim, 8);
    plan->has_hold = is_heads(sim);
    draw_commits(sim);
}

/* ---- the parts ---- */

/* From the run's own block, so that runs differ in nothing but their seed. */
static void *give(struct sim *sim, size_t size)
{
    size = (size + 63) / 64 * 64;
    hf_assert(sim->memory_used + size <= sizeof sim->memory);
    void *out = &sim->memory[sim->memory_used];
    sim->memory_used += size;
    return out;
}

static void make_parts(struct sim *sim)
{
    struct sim_plan *plan = &sim->plan;
    sim->ladder_config = degrade_config_default();
    sim->ladder_config.hold_down_ns = rng_range_ns(&sim->rng, 0, HF_SEC(1));
    sim->ladder_config.stable_ns = rng_range_ns(&sim->rng, 0, HF_SEC(1));
    degrade_init(&sim->ladder, &sim->ladder_config, sim->now_ns);
    plan->guard.ladder = &sim->ladder_config;
    guard_init(&sim->guard, &plan->guard);
    budget_init(&sim->budget, &plan->budget, sim->now_ns);
    sim->guard.budget = &sim->budget;
    if (plan->has_hold) {
        struct bulkhead_config hold = plan->bulkhead;
        sim->hold = bulkhead_init(give(sim, bulkhead_size(&hold)), &hold, sim->now_ns);
        sim->guard.hold = sim->hold;
    }
    for (uint32_t i = 0; i < plan->servers; i++) {
        sim->breakers[i] = breaker_init(give(sim, breaker_size(&plan->breaker)), &plan->breaker,
                                        rng_hash(sim->seed, i), sim->now_ns);
        sim->bulkheads[i] =
            bulkhead_init(give(sim, bulkhead_size(&plan->bulkhead)), &plan->bulkhead, sim->now_ns);
        sim->guard.endpoints[i] = (struct guard_endpoint){
            .breaker = sim->breakers[i],
            .bulkhead = sim->bulkheads[i],
        };
    }
    route_state_init(&sim->lane.route, rng_u64(&sim->rng));
}

static void begin(struct sim *sim, uint64_t seed, FILE *log)
{
    memset(sim, 0, sizeof *sim);
    sim->seed = seed;
    sim->log = log;
    sim->now_ns = SIM_EPOCH_NS;
    rng_init(&sim->rng, seed);
    timerq_init(&sim->timers);
    draw_plan(sim);
    make_parts(sim);
    world_init(sim);
    view_init(sim);
    fault_init(sim);
    timerq_add(&sim->timers, &sim->replay, sim->now_ns + HF_MS(5));
    timerq_add(&sim->timers, &sim->breaker_tick, sim->now_ns + HF_MS(10));
    timerq_add(&sim->timers, &sim->phase_end, sim->now_ns + sim->plan.faulty_ns);
    for (uint32_t i = 0; i < sim->plan.clients; i++)
        client_init(&sim->clients[i], sim, i);
}

/* ---- the wheel ---- */

/* Drivers tick breakers now and then; exactly when is not theirs to matter. */
static void tick_breakers(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan.servers; i++)
        breaker_tick(sim->breakers[i], sim->now_ns);
    timerq_add(&sim->timers, &sim->breaker_tick,
               sim->now_ns + rng_range_ns(&sim->rng, HF_MS(1), SIM_TICK_NS_MAX));
}

static bool is_anybody_busy(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan.clients; i++)
        if (sim->clients[i].is_busy)
            return true;
    return false;
}

static void next_phase(struct sim *sim)
{
    int64_t since_ns = sim->now_ns - sim->healed_at_ns;
    if (sim->phase == SIM_FAULTY) {
        sim->phase = SIM_HEALED;
        sim->healed_at_ns = sim->now_ns;
        fault_heal(sim);
    } else if (sim->phase == SIM_HEALED && since_ns >= sim->plan.healed_ns_min &&
               (check_is_well(sim) || since_ns > SIM_HEALING_NS_MAX)) {
        sim->phase = SIM_CLOSING;
        sim->closing_at_ns = sim->now_ns;
    } else if (sim->phase == SIM_CLOSING &&
               (!is_anybody_busy(sim) || sim->now_ns - sim->closing_at_ns > SIM_CLOSING_NS_MAX)) {
        sim->is_over = true;
        return;
    }
    timerq_add(&sim->timers, &sim->phase_end, sim->now_ns + HF_MS(100));
}

static bool own_timer(struct sim *sim, const struct timer *timer)
{
    if (timer == &sim->fault)
        fault_strike(sim);
    else if (timer == &sim->pin)
        fault_pin(sim);
    else if (timer == &sim->sampler)
        view_sample(sim);
    else if (timer == &sim->publish)
        view_publish(sim);
    else if (timer == &sim->election)
        fault_election(sim);
    else if (timer == &sim->replay) {
        wal_send(sim);
        timerq_add(&sim->timers, &sim->replay, sim->now_ns + HF_MS(5));
    } else if (timer == &sim->breaker_tick)
        tick_breakers(sim);
    else if (timer == &sim->phase_end)
        next_phase(sim);
    else
        return false;
    return true;
}

/* Whose timer it is follows from where it lies: the clients stand in one array. */
static void fire(struct sim *sim, struct timer *timer)
{
    if (own_timer(sim, timer) || wal_timer(sim, timer) || search_timer(sim, timer))
        return;
    uintptr_t offset = (uintptr_t)timer - (uintptr_t)sim->clients;
    struct sim_client *client = &sim->clients[offset / sizeof sim->clients[0]];
    bool is_known = client_timer(client, timer);
    hf_assert(is_known);
}

void sim_run(struct sim *sim, uint64_t seed, FILE *log)
{
    begin(sim, seed, log);
    while (!sim->is_broken && !sim->is_over) {
        int64_t at_ns = timerq_deadline(&sim->timers);
        sim->steps_at_instant = at_ns == sim->now_ns ? sim->steps_at_instant + 1 : 0;
        sim->now_ns = at_ns;
        fire(sim, timerq_pop_due(&sim->timers, at_ns));
        sim->steps++;
        check_step(sim);
    }
    if (!sim->is_broken)
        check_healed(sim);
}
