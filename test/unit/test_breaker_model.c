/*
 * A breaker against a plain sequential model, with random calls, verdicts, waits and hands. The
 * model knows no words, bits, rings or marks: it remembers outcomes and calls in lists, times in
 * nanoseconds, and judges after every result. Whatever can be seen must be equal after each step.
 */
#include "unit.h"

#include "base/rng.h"
#include "breaker_rig.h"

#define CALLS_MAX    60
#define OUTCOMES_MAX 4000

struct call {
    struct breaker_permit permit; /* as given out by the breaker */
    enum breaker_role role;
    uint32_t generation, lease;
    int64_t begun_ns;
    bool was_counted; /* as slow, in flight */
};

static struct model {
    struct breaker_config config;
    enum breaker_state state;
    enum breaker_cause cause;
    uint32_t generation, reopened, consecutive, successes;
    bool is_out[BREAKER_LEASES];
    int64_t lease_until_ns[BREAKER_LEASES];
    int64_t open_until_ns, changed_at_ns, last_failure_ns;
    bool is_monitor;
    struct {
        int64_t at_ns;
        bool is_failed, is_slow;
    } outcomes[OUTCOMES_MAX];
    size_t count;           /* of outcomes since the window was emptied */
    int64_t latest_ns;      /* of a recorded outcome */
    int64_t swept_until_ns; /* calls that began before are no longer looked for */
    struct window_sum total;
    uint64_t rejected, would_reject, neutral, stale, probes;
    struct call calls[CALLS_MAX];
    size_t call_count;
} m;

/* ---- the window ---- */

/* The smallest power of two of which `parts` cover the span. */
static int64_t width_of(int64_t span_ns, int64_t parts)
{
    int64_t width = 1;
    while (width * parts < span_ns)
        width *= 2;
    return width;
}

static void remember(int64_t now_ns, bool is_failed, bool is_slow)
{
    assert_true(m.count < OUTCOMES_MAX);
    m.latest_ns = now_ns;
    m.outcomes[m.count].at_ns = now_ns;
    m.outcomes[m.count].is_failed = is_failed;
    m.outcomes[m.count].is_slow = is_slow;
    ++m.count;
}

static struct window_sum model_window(int64_t now_ns)
{
    struct window_sum sum = {0};
    int64_t width = width_of(m.config.window_ns, m.config.window_slices);
    int64_t slices = (m.config.window_ns + width - 1) / width;
    for (size_t i = 0; i < m.count; i++) {
        if (m.config.window_kind == WINDOW_COUNT
                ? i + m.config.window_calls < m.count
                : m.outcomes[i].at_ns / width + slices < now_ns / width)
            continue;
        ++sum.calls;
        sum.failures += m.outcomes[i].is_failed;
        sum.slow += m.outcomes[i].is_slow;
    }
    return sum;
}

/* ---- the states ---- */

static void become(enum breaker_state state, enum breaker_cause cause, int64_t now_ns)
{
    m.state = state;
    m.cause = cause;
    m.generation = (m.generation + 1) & BREAKER_GENERATION_MASK;
    m.changed_at_ns = now_ns;
    m.consecutive = m.successes = 0;
    memset(m.is_out, 0, sizeof m.is_out);
    if (state == BREAKER_CLOSED)
        m.count = 0;
    if (state != BREAKER_OPEN && state != BREAKER_HALF_OPEN)
        m.reopened = 0;
}

static void open_until(int64_t until_ns, enum breaker_cause cause, int64_t now_ns)
{
    const int64_t unit = INT64_C(1) << BREAKER_TIME_UNIT_BITS;
    become(BREAKER_OPEN, cause, now_ns);
    m.open_until_ns = (until_ns + unit - 1) / unit * unit;
}

static void open_now(enum breaker_cause cause, int64_t now_ns)
{
    int64_t open_ns = m.config.open_ns;
    for (uint32_t i = 0; i < m.reopened; i++)
        open_ns = ns_min(open_ns * 2, m.config.open_ns_max);
    open_until(now_ns + open_ns, cause, now_ns);
}

static void reopen(enum breaker_cause cause, int64_t now_ns)
{
    m.reopened = m.reopened < 31 ? m.reopened + 1 : 31;
    open_now(cause, now_ns);
}

static bool has_expired(int64_t now_ns)
{
    for (int i = 0; i < BREAKER_LEASES; i++)
        if (m.state == BREAKER_HALF_OPEN && m.is_out[i] && m.lease_until_ns[i] <= now_ns)
            return true;
    return false;
}

static void judge(int64_t now_ns)
{
    if (m.state != BREAKER_CLOSED)
        return;
    struct window_sum sum = model_window(now_ns);
    if (sum.calls < m.config.min_calls)
        return;
    if (sum.failures * 1000000 >= m.config.failure_rate_ppm * sum.calls &&
        m.config.failure_rate_ppm != 0)
        open_now(BREAKER_CAUSE_FAILURE_RATE, now_ns);
    else if (sum.slow * 1000000 >= m.config.slow_rate_ppm * sum.calls &&
             m.config.slow_rate_ppm != 0)
        open_now(BREAKER_CAUSE_SLOW_RATE, now_ns);
}

/* Counts what hangs as slow. True if it was time to look. */
static bool sweep(int64_t now_ns)
{
    if (m.config.slow_rate_ppm == 0 || m.state != BREAKER_CLOSED)
        return false;
    int64_t width = 1; /* the largest power of two that is at most a quarter */
    while (width * 2 <= m.config.slow_ns / 4)
        width *= 2;
    int64_t until_ns = (now_ns - m.config.slow_ns) / width * width;
    if (now_ns < m.config.slow_ns || until_ns <= m.swept_until_ns)
        return false;
    m.swept_until_ns = until_ns;
    for (size_t i = 0; i < m.call_count; i++) {
        struct call *call = &m.calls[i];
        if (call->role != BREAKER_ROLE_NORMAL || call->generation != m.generation ||
            call->was_counted || call->begun_ns >= until_ns)
            continue;
        call->was_counted = true;
        remember(now_ns, false, true);
    }
    return true;
}

/* ---- calls ---- */

static enum breaker_role refuse(void)
{
    ++*(m.is_monitor ? &m.would_reject : &m.rejected);
    return m.is_monitor ? BREAKER_ROLE_OBSERVER : BREAKER_ROLE_NONE;
}

static enum breaker_role model_admit(int64_t now_ns, uint32_t *lease)
{
    if (sweep(now_ns))
        judge(now_ns);
    switch (m.state) {
    case BREAKER_CLOSED:
        return BREAKER_ROLE_NORMAL;
    case BREAKER_DISABLED:
        return BREAKER_ROLE_OBSERVER;
    case BREAKER_OPEN:
        if (now_ns < m.open_until_ns)
            return refuse();
        become(BREAKER_HALF_OPEN, BREAKER_CAUSE_OPEN_TIME_OVER, now_ns);
        break;
    case BREAKER_HALF_OPEN:
        if (!has_expired(now_ns))
            break;
        reopen(BREAKER_CAUSE_PROBE_EXPIRED, now_ns);
        return refuse();
    case BREAKER_FORCED_OPEN:
    case BREAKER_STATES:
        return refuse();
    }
    for (*lease = 0; *lease < m.config.half_open_calls; ++*lease) {
        if (m.is_out[*lease])
            continue;
        m.is_out[*lease] = true;
        m.lease_until_ns[*lease] = now_ns + m.config.probe_ns;
        ++m.probes;
        return BREAKER_ROLE_PROBE;
    }
    return refuse();
}

static void count_total(enum outcome_verdict verdict, bool is_slow)
{
    if (verdict == NEUTRAL)
        return;
    ++m.total.calls;
    m.total.failures += verdict == BAD;
    m.total.slow += is_slow;
}

static void normal_ended(const struct call *call, enum outcome_verdict verdict, bool is_slow,
                         int64_t now_ns)
{
    if (verdict == NEUTRAL)
        return;
    if (!call->was_counted || verdict == BAD)
        remember(now_ns, verdict == BAD, is_slow && !call->was_counted);
    m.consecutive = verdict == BAD && m.config.failure_threshold != 0 ? m.consecutive + 1 : 0;
    if (m.consecutive != 0 && m.consecutive >= m.config.failure_threshold)
        open_now(BREAKER_CAUSE_CONSECUTIVE, now_ns);
    sweep(now_ns);
    judge(now_ns);
}

static void probe_ended(const struct call *call, enum outcome_verdict verdict, bool is_slow,
                        int64_t now_ns)
{
    if (has_expired(now_ns)) {
        reopen(BREAKER_CAUSE_PROBE_EXPIRED, now_ns);
        return;
    }
    m.is_out[call->lease] = false;
    if (verdict == BAD)
        reopen(BREAKER_CAUSE_PROBE_FAILED, now_ns);
    else if (verdict == GOOD && is_slow)
        reopen(BREAKER_CAUSE_PROBE_SLOW, now_ns);
    else if (verdict == GOOD && ++m.successes == m.config.success_threshold)
        become(BREAKER_CLOSED, BREAKER_CAUSE_PROBES_SUCCEEDED, now_ns);
}

static void model_record(size_t i, enum outcome_verdict verdict, int64_t now_ns)
{
    struct call call = m.calls[i];
    m.calls[i] = m.calls[--m.call_count];
    bool is_slow = m.config.slow_rate_ppm != 0 && now_ns - call.begun_ns >= m.config.slow_ns;
    count_total(verdict, is_slow);
    m.neutral += verdict == NEUTRAL;
    if (verdict == BAD)
        m.last_failure_ns = now_ns;
    if (call.role == BREAKER_ROLE_OBSERVER)
        return;
    if (call.generation != m.generation)
        ++m.stale;
    else if (call.role == BREAKER_ROLE_NORMAL)
        normal_ended(&call, verdict, is_slow, now_ns);
    else
        probe_ended(&call, verdict, is_slow, now_ns);
}

static void model_tick(int64_t now_ns)
{
    sweep(now_ns);
    judge(now_ns);
    if (has_expired(now_ns))
        reopen(BREAKER_CAUSE_PROBE_EXPIRED, now_ns);
}

/* ---- both side by side ---- */

static void compare(int64_t now_ns)
{
    struct breaker_view view = view_at(now_ns);
    struct window_sum sum = model_window(now_ns);
    uint32_t leases = 0;
    for (int i = 0; i < BREAKER_LEASES; i++)
        leases += m.is_out[i];
    assert_int_equal(view.state, m.state);
    assert_int_equal(view.generation, m.generation);
    assert_int_equal(view.cause, m.cause);
    assert_int_equal(view.changed_at_ns, m.changed_at_ns);
    assert_int_equal(view.reopened, m.reopened);
    assert_int_equal(view.consecutive, m.consecutive);
    assert_int_equal(view.leases, leases);
    assert_int_equal(view.successes, m.successes);
    assert_memory_equal(&view.window, &sum, sizeof sum);
    assert_memory_equal(&view.total, &m.total, sizeof m.total);
    assert_int_equal(view.rejected, m.rejected);
    assert_int_equal(view.would_reject, m.would_reject);
    assert_int_equal(view.neutral, m.neutral);
    assert_int_equal(view.stale, m.stale);
    assert_int_equal(view.probes, m.probes);
    assert_true(view.last_failure_ns == m.last_failure_ns);
    if (m.state == BREAKER_OPEN && !m.is_monitor)
        assert_int_equal(view.retry_at_ns, m.open_until_ns);
}

static void admit_both(int64_t now_ns)
{
    struct call call = {.begun_ns = now_ns};
    bool would = breaker_would_admit(b, now_ns);
    enum breaker_state before = m.state;
    call.role = model_admit(now_ns, &call.lease);
    call.generation = m.generation;
    bool is_in = breaker_admit(b, now_ns, &call.permit);
    assert_int_equal(is_in, call.role != BREAKER_ROLE_NONE);
    assert_int_equal(call.permit.role, call.role);
    assert_int_equal(call.permit.generation, call.generation);
    /* The look does not sweep: only there may it have promised too much. */
    if (before == m.state || before != BREAKER_CLOSED)
        assert_int_equal(would, is_in);
    if (call.role == BREAKER_ROLE_PROBE)
        assert_int_equal(call.permit.lease, call.lease);
    if (is_in)
        m.calls[m.call_count++] = call;
}

static void record_both(struct rng *rng, uint64_t bad_share, int64_t now_ns)
{
    size_t i = (size_t)rng_below(rng, m.call_count);
    uint64_t draw = rng_below(rng, 100);
    enum outcome_verdict verdict = draw < bad_share ? BAD : draw < 92 ? GOOD : NEUTRAL;
    struct breaker_permit permit = m.calls[i].permit;
    model_record(i, verdict, now_ns);
    breaker_record(b, &permit, verdict, now_ns);
}

static void hands_on_both(struct rng *rng, int64_t now_ns)
{
    switch (rng_below(rng, 8)) {
    case 0:
        if (m.state != BREAKER_FORCED_OPEN)
            become(BREAKER_FORCED_OPEN, BREAKER_CAUSE_FORCED_OPEN, now_ns);
        breaker_force(b, BREAKER_FORCED_OPEN, now_ns);
        return;
    case 1:
        if (m.state != BREAKER_DISABLED)
            become(BREAKER_DISABLED, BREAKER_CAUSE_DISABLED, now_ns);
        breaker_force(b, BREAKER_DISABLED, now_ns);
        return;
    case 2:
        m.is_monitor = !m.is_monitor;
        breaker_set_mode(b, m.is_monitor);
        return;
    case 3: {
        int64_t open_ns = rng_range_ns(rng, HF_MS(2), HF_SEC(20));
        bool is_open = m.state == BREAKER_OPEN && m.open_until_ns >= now_ns + open_ns;
        bool is_done = m.state < BREAKER_FORCED_OPEN && !is_open;
        if (is_done)
            open_until(now_ns + open_ns, BREAKER_CAUSE_ORDER, now_ns);
        assert_int_equal(breaker_trip(b, open_ns, now_ns), is_done);
        return;
    }
    default:
        become(BREAKER_CLOSED, BREAKER_CAUSE_RESET, now_ns);
        breaker_reset(b, now_ns);
    }
}

static void random_run(uint64_t seed, const struct breaker_config *config)
{
    struct rng rng;
    rng_init(&rng, seed);
    int64_t now_ns = rng_range_ns(&rng, HF_SEC(10), HF_SEC(1000));
    memset(&m, 0, sizeof m);
    m.config = *config;
    m.changed_at_ns = now_ns;
    m.last_failure_ns = HF_NEVER;
    rig_make(config, now_ns);
    uint64_t bad_share = 0;
    for (int i = 0; i < 3000; i++) {
        uint64_t pace = rng_below(&rng, 100);
        now_ns += rng_range_ns(&rng, 0, pace < 2 ? HF_SEC(20) : pace < 10 ? HF_SEC(2) : HF_MS(40));
        if (i % 50 == 0)
            bad_share = rng_below(&rng, 80);
        uint64_t act = rng_below(&rng, 1000);
        if (act < 3) {
            hands_on_both(&rng, now_ns);
        } else if (act < 60) {
            model_tick(now_ns);
            breaker_tick(b, now_ns);
        } else if (act < 500 && m.call_count < CALLS_MAX) {
            admit_both(now_ns);
        } else if (m.call_count > 0) {
            record_both(&rng, bad_share, now_ns);
        }
        compare(now_ns);
    }
}

static void breaker_model__random_lives_are_the_same_in_both(void **state)
{
    (void)state;
    struct breaker_config configs[6];
    for (int i = 0; i < 6; i++)
        configs[i] = rig_config();
    configs[1].window_kind = WINDOW_COUNT;
    configs[1].window_calls = 7;
    configs[2].failure_threshold = 3;
    configs[2].slow_rate_ppm = 0;
    configs[3].failure_rate_ppm = 0;
    configs[3].slow_ns = HF_MS(300);
    configs[3].half_open_calls = 8;
    configs[3].success_threshold = 5;
    configs[4].window_kind = WINDOW_COUNT;
    configs[4].window_calls = 30;
    configs[4].min_calls = 30;
    configs[4].failure_threshold = 6;
    configs[5].min_calls = 12;
    configs[5].window_slices = 3;
    configs[5].failure_rate_ppm = 400000;
    for (uint64_t i = 0; i < 6; i++)
        for (uint64_t seed = 0; seed < 25; seed++)
            random_run(1000 * i + seed, &configs[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(breaker_model__random_lives_are_the_same_in_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
