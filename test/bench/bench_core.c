/*
 * What the deciders of core cost a call. One function for each object, called in main(); the
 * script beside it prints the table.
 *
 *     bench_core [--json] [--seconds S] [--only TEXT]
 *
 * Time is passed in and moves by 100 ns with each call, as if ten million calls came in a second:
 * slices turn, and cost what they cost.
 */
#include "bench.h"

#include "core/breaker_mt.h"
#include "core/guard.h"
#include "core/route.h"
#include "core/window_mt.h"

#define STEP_NS 100

static void *memory_for(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory == NULL) {
        fprintf(stderr, "bench: out of memory\n");
        exit(1);
    }
    return memory;
}

/* Where a case has come to in time; each thread has its own, and they run side by side. */
struct clock {
    _Alignas(64) int64_t now_ns;
};

/* ---- the floor: a call that does nothing ---- */

static __attribute__((noinline)) int64_t nothing(int64_t now_ns)
{
    __asm__ volatile("" : "+r"(now_ns));
    return now_ns;
}

static void run_nothing(void *object, uint64_t times, unsigned thread)
{
    (void)thread;
    int64_t now_ns = 0;
    for (uint64_t i = 0; i < times; i++)
        now_ns = nothing(now_ns + STEP_NS);
    bench_keep(object);
}

/* ---- window ---- */

struct windows {
    struct window *window;
    uint32_t bad_every; /* each so many-th call fails; 0: none */
    struct clock clocks[BENCH_THREADS_MAX];
};

static void run_record(void *object, uint64_t times, unsigned thread)
{
    struct windows *state = object;
    int64_t now_ns = state->clocks[thread].now_ns;
    uint32_t until_bad = state->bad_every;
    for (uint64_t i = 0; i < times; i++) {
        now_ns += STEP_NS;
        bool is_failed = --until_bad == 0;
        if (is_failed)
            until_bad = state->bad_every;
        window_record(state->window, is_failed, false, 0, now_ns);
    }
    state->clocks[thread].now_ns = now_ns;
}

static void run_sum(void *object, uint64_t times, unsigned thread)
{
    struct windows *state = object;
    struct window_sum sum;
    for (uint64_t i = 0; i < times; i++) {
        window_sum(state->window, state->clocks[thread].now_ns, &sum);
        bench_keep(&sum);
    }
}

static void bench_window(const struct bench *bench)
{
    const struct window_config time = {.kind = WINDOW_TIME, .span_ns = HF_SEC(10), .slices = 10};
    const struct window_config count = {.kind = WINDOW_COUNT, .calls = 100};
    struct windows *state = memory_for(sizeof *state);
    static const struct {
        const char *name;
        uint32_t bad_every;
        bool is_time;
    } kinds[] = {
        {"window record, 10 s", 0, true},
        {"window record, 10 s, 1 % failures", 100, true},
        {"window record, last 100", 0, false},
        {"window record, last 100, 1 % failures", 100, false},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const struct window_config *config = kinds[i].is_time ? &time : &count;
        size_t bytes = window_size(config);
        void *memory = memory_for(bytes);
        *state = (struct windows){.window = window_init(memory, config, 0),
                                  .bad_every = kinds[i].bad_every};
        bench_run(bench, &(struct bench_case){kinds[i].name, bytes, state, run_record, 2});
        if (kinds[i].is_time && kinds[i].bad_every != 0)
            bench_run(bench, &(struct bench_case){"window sum, 10 s", bytes, state, run_sum, 2});
        free(memory);
    }
    free(state);
}

/* ---- breaker ---- */

struct breakers {
    struct breaker *breaker;
    uint32_t bad_every;
    struct clock clocks[BENCH_THREADS_MAX];
};

static void run_call(void *object, uint64_t times, unsigned thread)
{
    struct breakers *state = object;
    int64_t now_ns = state->clocks[thread].now_ns;
    uint32_t until_bad = state->bad_every;
    struct breaker_permit permit;
    for (uint64_t i = 0; i < times; i++) {
        now_ns += STEP_NS;
        enum outcome_verdict verdict = OUTCOME_VERDICT_SUCCESS;
        if (--until_bad == 0) {
            until_bad = state->bad_every;
            verdict = OUTCOME_VERDICT_FAILURE;
        }
        if (breaker_admit(state->breaker, now_ns, &permit)) {
            bench_keep(&permit);
            breaker_record(state->breaker, &permit, verdict, now_ns + STEP_NS / 2);
        }
    }
    state->clocks[thread].now_ns = now_ns;
}

static void bench_breaker_as(const struct bench *bench, const char *name,
                             const struct breaker_config *config, uint32_t bad_every,
                             enum breaker_state state_wanted)
{
    struct breakers *state = memory_for(sizeof *state);
    void *memory = memory_for(breaker_size(config));
    *state =
        (struct breakers){.breaker = breaker_init(memory, config, 1, 0), .bad_every = bad_every};
    if (state_wanted != BREAKER_CLOSED)
        breaker_force(state->breaker, state_wanted, 0);
    bench_run(bench, &(struct bench_case){name, BREAKER_STATE_BYTES, state, run_call, 2});
    free(memory);
    free(state);
}

static void bench_breaker(const struct bench *bench)
{
    struct breaker_config config = breaker_config_default();
    bench_breaker_as(bench, "breaker admit+record", &config, 0, BREAKER_CLOSED);
    bench_breaker_as(bench, "breaker admit+record, 1 % failures", &config, 100, BREAKER_CLOSED);
    bench_breaker_as(bench, "breaker refusal", &config, 0, BREAKER_FORCED_OPEN);
    bench_breaker_as(bench, "breaker admit+record, disabled", &config, 0, BREAKER_DISABLED);
    config.slow_rate_ppm = 0;
    bench_breaker_as(bench, "breaker admit+record, no slow rate", &config, 0, BREAKER_CLOSED);
    config = breaker_config_default();
    config.window_kind = WINDOW_COUNT;
    bench_breaker_as(bench, "breaker admit+record, last 100", &config, 0, BREAKER_CLOSED);
}

/* ---- route: a primary and so many replicas, as each thread would have its own state ---- */

struct routes {
    struct snapshot view;
    struct route_request request;
    uint32_t load[SNAPSHOT_ENDPOINTS_MAX];
    struct {
        _Alignas(64) struct route_state route;
    } lanes[BENCH_THREADS_MAX];
};

static void run_choose(void *object, uint64_t times, unsigned thread)
{
    struct routes *state = object;
    struct route_request request = state->request;
    struct route_decision decision;
    for (uint64_t i = 0; i < times; i++) {
        request.now_ns += STEP_NS;
        route_choose(&state->view, &request, &state->lanes[thread].route, &decision);
        bench_keep(&decision);
    }
}

static void run_seal(void *object, uint64_t times, unsigned thread)
{
    struct routes *state = object;
    (void)thread;
    for (uint64_t i = 0; i < times; i++) {
        snapshot_seal(&state->view);
        bench_keep(&state->view);
    }
}

static void make_routes(struct routes *state, uint32_t replicas)
{
    *state = (struct routes){.request.load = state->load};
    snapshot_init(&state->view);
    state->view.made_at_ns = HF_SEC(100);
    for (int64_t asked_ns = HF_SEC(90); asked_ns < HF_SEC(100); asked_ns += SNAPSHOT_INTERVAL_NS)
        snapshot_sample(&state->view, asked_ns, (uint64_t)asked_ns);
    for (uint32_t i = 0; i <= replicas; i++) {
        char name[16];
        snprintf(name, sizeof name, "db%u", i);
        struct snapshot_endpoint *endpoint = snapshot_add(&state->view, name);
        endpoint->role = i == 0 ? ENDPOINT_PRIMARY : ENDPOINT_REPLICA;
        endpoint->health = ENDPOINT_UP;
        endpoint->accepts_reads = true;
        endpoint->accepts_writes = i == 0;
        endpoint->zone = (uint8_t)(1 + i % 2);
        endpoint->lag_ns = HF_MS(10);
        endpoint->sampled_at_ns = HF_SEC(100);
        endpoint->replayed_lsn = HF_SEC(100) - HF_MS(10);
        state->load[i] = i * 7 % 5;
    }
    snapshot_seal(&state->view);
    for (unsigned i = 0; i < BENCH_THREADS_MAX; i++)
        route_state_init(&state->lanes[i].route, i);
}

static void bench_route(const struct bench *bench)
{
    const int64_t now_ns = HF_SEC(100);
    const struct {
        const char *name;
        uint32_t replicas;
        struct route_request request;
    } kinds[] = {
        {"route a write, 8 endpoints", 7, {.intent = ROUTE_WRITE}},
        {"route a read, 3 endpoints", 2, {.intent = ROUTE_READ}},
        {"route a read, 8 endpoints", 7, {.intent = ROUTE_READ}},
        {"route a read, promise met", 7, {.promise.written_at_ns = now_ns - HF_MS(250)}},
        {"route a read, promise not met", 7, {.promise.lsn = (uint64_t)now_ns}},
        {"route a read, bounded", 7, {.consistency = ROUTE_BOUNDED, .staleness_ns_max = HF_SEC(9)}},
        {"route a read, one excluded", 7, {.exclude = 1U << 3}},
        {"route a read, zone", 7, {.zone = 1}},
    };
    struct routes *state = memory_for(sizeof *state);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        make_routes(state, kinds[i].replicas);
        state->request = kinds[i].request;
        state->request.load = state->load;
        state->request.now_ns = now_ns;
        bench_run(bench, &(struct bench_case){kinds[i].name, sizeof(struct route_state), state,
                                              run_choose, 2});
    }
    bench_run(bench, &(struct bench_case){"snapshot seal, 8 endpoints", sizeof(struct snapshot),
                                          state, run_seal, 1});
    free(state);
}

/* ---- bulkhead, budget, retry, outcome, degrade ---- */

struct parts {
    struct bulkhead *bulkhead;
    struct budget budget;
    struct degrade ladder;
    struct retry_config retry;
    struct clock clocks[BENCH_THREADS_MAX];
};

static void run_bulkhead(void *object, uint64_t times, unsigned thread)
{
    struct parts *state = object;
    int64_t now_ns = state->clocks[thread].now_ns;
    struct bulkhead_permit permit;
    for (uint64_t i = 0; i < times; i++) {
        now_ns += STEP_NS;
        if (bulkhead_try(state->bulkhead, now_ns, &permit)) {
            permit.ending = BULKHEAD_RAN;
            bulkhead_release(state->bulkhead, &permit, now_ns + STEP_NS / 2);
        }
    }
    state->clocks[thread].now_ns = now_ns;
}

/* The queue's way round: the one permit goes from call to call, and who has it lines up again. */
static void run_hand_over(void *object, uint64_t times, unsigned thread)
{
    struct parts *state = object;
    int64_t now_ns = state->clocks[thread].now_ns;
    struct bulkhead_waiter waiters[8] = {0};
    struct bulkhead_permit permit = {0};
    if (!bulkhead_try(state->bulkhead, now_ns, &permit))
        return;
    for (unsigned i = 0; i < 8; i++)
        bulkhead_enter(state->bulkhead, &waiters[i], now_ns, 0, HF_NEVER);
    for (uint64_t i = 0; i < times; i++) {
        now_ns += STEP_NS;
        permit.ending = BULKHEAD_RAN;
        struct bulkhead_waiter *next = bulkhead_hand_over(state->bulkhead, &permit, now_ns);
        permit = next->permit;
        bulkhead_enter(state->bulkhead, next, now_ns, 0, HF_NEVER);
    }
    for (unsigned i = 0; i < 8; i++)
        bulkhead_withdraw(state->bulkhead, &waiters[i], now_ns);
    bulkhead_release(state->bulkhead, &permit, now_ns);
    state->clocks[thread].now_ns = now_ns;
}

static void bench_bulkhead(const struct bench *bench)
{
    const struct {
        const char *name;
        bool has_histograms, is_adaptive;
        uint32_t limit;
        void (*run)(void *object, uint64_t times, unsigned thread);
        unsigned threads_max;
    } kinds[] = {
        {"bulkhead try+release, no histograms", false, false, 100, run_bulkhead, 2},
        {"bulkhead try+release, adaptive", true, true, 100, run_bulkhead, 2},
        {"bulkhead enter+hand over, 8 wait", true, false, 1, run_hand_over, 1},
    };
    struct parts *state = memory_for(sizeof *state);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct bulkhead_config config = bulkhead_config_default();
        config.has_histograms = kinds[i].has_histograms;
        config.is_adaptive = kinds[i].is_adaptive;
        config.limit = kinds[i].limit;
        size_t bytes = bulkhead_size(&config);
        void *memory = memory_for(bytes);
        *state = (struct parts){.bulkhead = bulkhead_init(memory, &config, 0)};
        bench_run(bench, &(struct bench_case){kinds[i].name, bytes, state, kinds[i].run,
                                              kinds[i].threads_max});
        free(memory);
    }
    free(state);
}

static void run_deposit(void *object, uint64_t times, unsigned thread)
{
    struct parts *state = object;
    (void)thread;
    for (uint64_t i = 0; i < times; i++) {
        budget_deposit(&state->budget, HF_SEC(1));
        bench_keep(&state->budget);
    }
}

static void run_withdraw(void *object, uint64_t times, unsigned thread)
{
    struct parts *state = object;
    (void)thread;
    for (uint64_t i = 0; i < times; i++) {
        budget_try_withdraw(&state->budget, HF_SEC(1));
        budget_deposit(&state->budget, HF_SEC(1));
    }
}

static void run_retry(void *object, uint64_t times, unsigned thread)
{
    struct parts *state = object;
    (void)thread;
    struct retry_ask ask = {
        .deadline_ns = HF_NEVER, .kind = OUTCOME_KIND_TRANSIENT, .may = OUTCOME_MAY_ATTEMPT};
    int64_t at_ns;
    for (uint64_t i = 0; i < times; i++) {
        struct retry retry = {0};
        ask.random += UINT64_C(0x9e3779b97f4a7c15);
        retry_next(&state->retry, &retry, &ask, &at_ns);
        bench_keep(&at_ns);
    }
}

static void run_outcome(void *object, uint64_t times, unsigned thread)
{
    static const char *const codes[] = {"40001", "23505", "57P01", "42P01"};
    struct outcome outcomes[4];
    (void)thread;
    for (unsigned i = 0; i < 4; i++)
        outcomes[i] =
            (struct outcome){.code = OUTCOME_SQLSTATE, .sqlstate = sqlstate_pack(codes[i])};
    for (uint64_t i = 0; i < times; i++) {
        const struct outcome_rule *rule = outcome_rule(outcomes[i % 4]);
        __asm__ volatile("" : : "r"(rule));
    }
    bench_keep(object);
}

static void run_degrade(void *object, uint64_t times, unsigned thread)
{
    struct parts *state = object;
    (void)thread;
    struct degrade_event event = {
        .kind = DEGRADE_EV_HEALTH, .primary_usable = true, .readers_usable = true};
    for (uint64_t i = 0; i < times; i++) {
        event.now_ns += STEP_NS;
        degrade_feed(&state->ladder, &event);
    }
}

static void bench_parts(const struct bench *bench)
{
    struct parts *state = memory_for(sizeof *state);
    *state = (struct parts){.retry = retry_config_default()};
    struct bulkhead_config bulkhead = bulkhead_config_default();
    void *memory = memory_for(bulkhead_size(&bulkhead));
    state->bulkhead = bulkhead_init(memory, &bulkhead, 0);
    struct budget_config budget = budget_config_default();
    budget_init(&state->budget, &budget, 0);
    struct degrade_config ladder = degrade_config_default();
    degrade_init(&state->ladder, &ladder, 0);
    const struct bench_case cases[] = {
        {"bulkhead try+release", sizeof(struct bulkhead), state, run_bulkhead, 2},
        {"budget deposit, full", sizeof state->budget, state, run_deposit, 2},
        {"retry decision", sizeof(struct retry), state, run_retry, 1},
        {"outcome lookup", 0, state, run_outcome, 1},
        {"degrade event", sizeof state->ladder, state, run_degrade, 1},
        {"budget withdraw+deposit", sizeof state->budget, state, run_withdraw, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        bench_run(bench, &cases[i]);
    free(memory);
    free(state);
}

/* ---- guard: a whole call, from START to DONE, with everything on ---- */

struct guards {
    struct routes routes;
    struct guard guard;
    struct budget budget;
    struct degrade_config ladder;
    struct guard_request request;
    struct {
        _Alignas(64) struct guard_lane lane;
        struct guard_call call;
        int64_t now_ns;
    } threads[BENCH_THREADS_MAX];
};

static void run_guard(void *object, uint64_t times, unsigned thread)
{
    struct guards *state = object;
    struct guard_call *call = &state->threads[thread].call;
    int64_t now_ns = state->threads[thread].now_ns;
    struct guard_action action;
    struct guard_event start = {
        .kind = GUARD_EV_START, .view = &state->routes.view, .request = &state->request};
    struct guard_event end = {.kind = GUARD_EV_ENDED, .view = &state->routes.view};
    for (uint64_t i = 0; i < times; i++) {
        now_ns += STEP_NS;
        start.now_ns = now_ns;
        guard_feed(call, &start);
        while (guard_next(call, &action))
            bench_keep(&action);
        end.now_ns = now_ns + STEP_NS / 2;
        guard_feed(call, &end);
        while (guard_next(call, &action))
            bench_keep(&action);
    }
    state->threads[thread].now_ns = now_ns;
}

static void make_guard(struct guards *state, uint32_t endpoints)
{
    make_routes(&state->routes, endpoints - 1);
    struct guard_config config = guard_config_default();
    state->ladder = degrade_config_default();
    config.ladder = &state->ladder;
    guard_init(&state->guard, &config);
    struct budget_config budget = budget_config_default();
    budget_init(&state->budget, &budget, 0);
    state->guard.budget = &state->budget;
    struct breaker_config breaker = breaker_config_default();
    struct bulkhead_config bulkhead = bulkhead_config_default();
    for (uint32_t i = 0; i < endpoints; i++)
        state->guard.endpoints[i] = (struct guard_endpoint){
            breaker_init(memory_for(breaker_size(&breaker)), &breaker, i, 0),
            bulkhead_init(memory_for(bulkhead_size(&bulkhead)), &bulkhead, 0)};
    for (unsigned i = 0; i < BENCH_THREADS_MAX; i++) {
        route_state_init(&state->threads[i].lane.route, i);
        guard_call_init(&state->threads[i].call, &state->guard, &state->threads[i].lane);
        state->threads[i].now_ns = HF_SEC(100);
    }
}

static void bench_guard(const struct bench *bench)
{
    const struct {
        const char *name;
        uint32_t endpoints;
        struct guard_request request;
    } kinds[] = {
        {"guard admit+record", 3, {.route.intent = ROUTE_WRITE, .operation = DEGRADE_WRITE}},
        {"guard admit+record, a read", 3, {.route.intent = ROUTE_READ, .operation = DEGRADE_READ}},
        {"guard admit+record, 8 endpoints", 8, {.route.intent = ROUTE_READ}},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct guards *state = memory_for(sizeof *state);
        *state = (struct guards){.request = kinds[i].request};
        make_guard(state, kinds[i].endpoints);
        bench_run(bench, &(struct bench_case){kinds[i].name, sizeof(struct guard_call), state,
                                              run_guard, 2});
        for (uint32_t k = 0; k < kinds[i].endpoints; k++) {
            free(state->guard.endpoints[k].breaker);
            free(state->guard.endpoints[k].bulkhead);
        }
        free(state);
    }
}

/* ---- */

int main(int argc, char **argv)
{
    struct bench bench;
    if (!bench_arguments(&bench, argc, argv))
        return 2;
    bench_run(&bench,
              &(struct bench_case){.name = "empty call", .run = run_nothing, .threads_max = 2});
    bench_window(&bench);
    bench_breaker(&bench);
    bench_bulkhead(&bench);
    bench_parts(&bench);
    bench_route(&bench);
    bench_guard(&bench);
    return 0;
}
