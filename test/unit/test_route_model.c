/*
 * route_choose() against its rules told a second time, slowly, from the header alone; and its
 * promise against a world that knows the truth.
 */
#include "unit.h"

#include <stdbool.h>
#include <stdio.h>

#include "base/rng.h"
#include "core/route.h"
#include "route_four.h"

struct model {
    const struct snapshot *view;
    const struct route_request *request;
    struct route_policy policy;
    int64_t now_ns;
    uint32_t primary;
};

static bool model_is_claim(const struct model *model, uint32_t at)
{
    const struct snapshot_endpoint *endpoint = &model->view->endpoints[at];
    return endpoint->role == ENDPOINT_PRIMARY && endpoint->timeline == model->view->timeline;
}

static bool model_beats(const struct snapshot_endpoint *a, const struct snapshot_endpoint *b)
{
    if (a->role_generation != b->role_generation)
        return a->role_generation > b->role_generation;
    return a->health != ENDPOINT_DOWN && b->health == ENDPOINT_DOWN;
}

/* The claim that beats all others. */
static uint32_t model_primary(const struct model *model)
{
    const struct snapshot *view = model->view;
    for (uint32_t i = 0; i < view->count; i++) {
        bool beats_all = model_is_claim(model, i);
        for (uint32_t j = 0; j < view->count; j++)
            if (j != i && model_is_claim(model, j) &&
                !model_beats(&view->endpoints[i], &view->endpoints[j]))
                beats_all = false;
        if (beats_all)
            return i;
    }
    return NONE;
}

static bool model_wants_primary(const struct model *model)
{
    return model->request->intent == ROUTE_WRITE ||
           (model->request->intent == ROUTE_READ && model->request->consistency == ROUTE_PRIMARY);
}

static bool model_is_promise_met(const struct model *model,
                                 const struct snapshot_endpoint *endpoint)
{
    const struct route_promise *promise = &model->request->promise;
    if (promise->lsn == 0 && promise->written_at_ns == 0)
        return true;
    if (promise->timeline > model->view->timeline)
        return false;
    if (promise->lsn != 0 && endpoint->replayed_lsn >= promise->lsn)
        return true;
    if (promise->written_at_ns == 0)
        return false;
    for (uint32_t i = 0; i < model->view->sample_count; i++)
        if (model->view->samples[i].asked_at_ns > promise->written_at_ns &&
            endpoint->replayed_lsn >= model->view->samples[i].lsn)
            return true;
    return false;
}

static enum route_out model_data(const struct model *model,
                                 const struct snapshot_endpoint *endpoint)
{
    const struct route_request *request = model->request;
    if (request->intent != ROUTE_READ)
        return ROUTE_OUT_NOT;
    bool has_promise = request->consistency == ROUTE_SESSION &&
                       (request->promise.lsn != 0 || request->promise.written_at_ns != 0);
    int64_t bound_ns = model->policy.lag_ns_max;
    if (request->consistency == ROUTE_BOUNDED && request->staleness_ns_max < bound_ns)
        bound_ns = request->staleness_ns_max;
    if (!has_promise && bound_ns == HF_NEVER)
        return ROUTE_OUT_NOT;
    int64_t age_ns = model->now_ns - endpoint->sampled_at_ns;
    bool is_young = bound_ns == HF_NEVER ||
                    (endpoint->lag_ns <= bound_ns && endpoint->lag_ns + age_ns <= bound_ns);
    bool is_sampled = age_ns <= model->policy.sample_ns_max;
    bool is_met = !has_promise || model_is_promise_met(model, endpoint);
    if (endpoint->timeline != model->view->timeline)
        return ROUTE_OUT_TIMELINE;
    if (!is_sampled)
        return ROUTE_OUT_UNSAMPLED;
    if (!is_young)
        return ROUTE_OUT_LAG;
    return is_met ? ROUTE_OUT_NOT : ROUTE_OUT_PROMISE;
}

static enum route_out model_hard(const struct model *model, uint32_t at)
{
    const struct snapshot_endpoint *endpoint = &model->view->endpoints[at];
    bool is_primary = endpoint->role == ENDPOINT_PRIMARY;
    if (endpoint->role == ENDPOINT_UNKNOWN)
        return ROUTE_OUT_UNKNOWN;
    if (is_primary && at != model->primary)
        return ROUTE_OUT_RIVAL;
    if (!is_primary && model_wants_primary(model))
        return ROUTE_OUT_ROLE;
    if (is_primary && !model_wants_primary(model) && model->request->intent == ROUTE_READ &&
        model->policy.primary_reads == ROUTE_PRIMARY_NEVER)
        return ROUTE_OUT_ROLE;
    if (endpoint->health == ENDPOINT_DOWN)
        return ROUTE_OUT_DOWN;
    if (endpoint->is_drained)
        return ROUTE_OUT_DRAINED;
    if (model->request->intent == ROUTE_WRITE ? !endpoint->accepts_writes
                                              : !endpoint->accepts_reads)
        return ROUTE_OUT_CLOSED;
    return is_primary ? ROUTE_OUT_NOT : model_data(model, endpoint);
}

/* How the preferences rank one who keeps the hard rules: the lower, the better. */
enum preference {
    UNTRIED, /* this call has not failed there */
    HEALTHY,
    KIND, /* replicas before the primary, or the other way round */
    TIER,
    ZONE,
    PREFERENCES
};

static uint32_t model_rank(const struct model *model, uint32_t at, enum preference by)
{
    const struct snapshot_endpoint *endpoint = &model->view->endpoints[at];
    const struct route_request *request = model->request;
    bool is_primary = endpoint->role == ENDPOINT_PRIMARY;
    bool primary_first = request->intent == ROUTE_ANY;
    bool primary_last = model->policy.primary_reads == ROUTE_PRIMARY_FALLBACK;
    const uint32_t ranks[PREFERENCES] = {
        [UNTRIED] = request->avoid >> at & 1,
        [HEALTHY] = endpoint->health != ENDPOINT_UP,
        [KIND] = primary_first ? !is_primary : is_primary && primary_last,
        [TIER] = endpoint->tier,
        [ZONE] = request->zone != 0 && endpoint->zone != request->zone,
    };
    return ranks[by];
}

/* Fills `out` for everybody; returns the candidates. */
static uint32_t model_narrow(struct model *model, enum route_out out[SNAPSHOT_ENDPOINTS_MAX])
{
    static const enum route_out lost_by[PREFERENCES] = {
        ROUTE_OUT_AVOIDED, ROUTE_OUT_SUSPECT, ROUTE_OUT_KIND, ROUTE_OUT_TIER, ROUTE_OUT_ZONE};
    const struct snapshot *view = model->view;
    model->primary = model_primary(model);
    uint32_t left = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        out[i] = model_hard(model, i);
        if (out[i] == ROUTE_OUT_NOT && (model->request->exclude >> i & 1) != 0)
            out[i] = ROUTE_OUT_EXCLUDED;
        if (out[i] == ROUTE_OUT_NOT)
            left |= BIT(i);
    }
    for (enum preference p = UNTRIED; p < PREFERENCES; p++) {
        uint32_t best = UINT32_MAX;
        for (uint32_t i = 0; i < view->count; i++)
            if ((left >> i & 1) != 0 && model_rank(model, i, p) < best)
                best = model_rank(model, i, p);
        for (uint32_t i = 0; i < view->count; i++)
            if ((left >> i & 1) != 0 && model_rank(model, i, p) > best) {
                out[i] = lost_by[p];
                left &= ~BIT(i);
            }
    }
    return left;
}

/* One of few values each, so that they meet. */
static void draw_view(struct rng *rng, struct snapshot *view)
{
    snapshot_init(view);
    view->made_at_ns = NOW_NS;
    view->timeline = (uint32_t)rng_below(rng, 3);
    uint64_t lsn = 1;
    int64_t asked_ns = NOW_NS - HF_MS(50);
    while (rng_below(rng, 6) != 0 && asked_ns < NOW_NS - HF_MS(5)) {
        lsn += rng_below(rng, 4);
        asked_ns += HF_MS(1 + rng_below(rng, 8));
        snapshot_sample(view, asked_ns, lsn);
    }
    uint32_t count = (uint32_t)rng_below(rng, rng_below(rng, 4) ? 9 : SNAPSHOT_ENDPOINTS_MAX + 1);
    bool is_calm = rng_below(rng, 2) == 0;
    for (uint32_t i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u", i);
        struct snapshot_endpoint *endpoint = snapshot_add(view, name);
        uint64_t role = rng_below(rng, is_calm ? 40 : 8);
        endpoint->role = role == 0   ? ENDPOINT_UNKNOWN
                         : role == 1 ? ENDPOINT_PRIMARY
                                     : ENDPOINT_REPLICA;
        endpoint->health = (enum endpoint_health)(2 - rng_below(rng, 3) * !is_calm);
        endpoint->accepts_reads = rng_below(rng, 8) != 0;
        endpoint->accepts_writes = rng_below(rng, 8) != 0;
        endpoint->is_drained = rng_below(rng, 8) == 0;
        endpoint->tier = (uint8_t)rng_below(rng, 3);
        endpoint->zone = (uint8_t)rng_below(rng, 3);
        endpoint->weight = (uint16_t)(1 + rng_below(rng, SNAPSHOT_WEIGHT_MAX));
        endpoint->timeline = rng_below(rng, 4) != 0 ? view->timeline : 0;
        endpoint->lag_ns = rng_below(rng, 8) ? HF_MS(rng_below(rng, 10)) : HF_NEVER;
        endpoint->replayed_lsn = rng_below(rng, 12);
        endpoint->sampled_at_ns = NOW_NS - HF_MS(rng_below(rng, 12));
        endpoint->role_generation = rng_below(rng, 3);
    }
    snapshot_seal(view);
}

/* One bit in eight. */
static uint32_t few_bits(struct rng *rng)
{
    uint64_t bits = rng_u64(rng);
    return (uint32_t)(bits & bits >> 11 & bits >> 23);
}

static void draw_request(struct rng *rng, struct route_request *request,
                         struct route_policy *policy, uint32_t *load)
{
    *policy = (struct route_policy){
        .balance = (enum route_balance)rng_below(rng, ROUTE_BALANCES),
        .primary_reads = (enum route_primary_reads)rng_below(rng, 3),
        .lag_ns_max = rng_below(rng, 2) ? HF_NEVER : HF_MS(1 + rng_below(rng, 15)),
        .sample_ns_max = HF_MS(1 + rng_below(rng, 15)),
    };
    for (uint32_t i = 0; i < SNAPSHOT_ENDPOINTS_MAX; i++)
        load[i] = (uint32_t)rng_below(rng, 3);
    *request = (struct route_request){
        .intent = (enum route_intent)rng_below(rng, 3),
        .consistency = (enum route_consistency)rng_below(rng, ROUTE_CONSISTENCIES),
        .now_ns = NOW_NS + HF_MS(rng_below(rng, 4)) - HF_MS(1),
        .staleness_ns_max = HF_MS(rng_below(rng, 20)),
        .promise.lsn = rng_below(rng, 2) * rng_below(rng, 12),
        .promise.written_at_ns = rng_below(rng, 2) ? NOW_NS - HF_MS(rng_below(rng, 60)) : 0,
        .promise.timeline = (uint32_t)rng_below(rng, 3),
        .zone = (uint8_t)rng_below(rng, 4),
        .exclude = few_bits(rng),
        .avoid = few_bits(rng),
        .load = rng_below(rng, 2) ? load : NULL,
        .policy = rng_below(rng, 4) ? policy : NULL,
    };
}

/* What the reason claims must be so. */
static void check_reason(const struct model *model, const struct route_decision *decision,
                         const enum route_out out[SNAPSHOT_ENDPOINTS_MAX])
{
    const struct snapshot *view = model->view;
    uint32_t at = decision->endpoint;
    uint32_t seen[ROUTE_OUTS] = {0};
    for (uint32_t i = 0; i < view->count; i++)
        ++seen[out[i]];
    enum route_reason reason = decision->reason;
    if (at != NONE) {
        assert_in_range(reason, ROUTE_TO_WRITER, ROUTE_TO_AVOIDED);
        bool is_primary = at == model->primary;
        assert_true(is_primary ||
                    (reason != ROUTE_TO_WRITER && reason != ROUTE_TO_PRIMARY_ASKED &&
                     reason != ROUTE_TO_PRIMARY_PROMISE && reason != ROUTE_TO_PRIMARY_STALE &&
                     reason != ROUTE_TO_PRIMARY_ALONE));
        assert_true(reason != ROUTE_TO_REPLICA || !is_primary);
        assert_true(reason != ROUTE_TO_PRIMARY_PROMISE ||
                    seen[ROUTE_OUT_PROMISE] + seen[ROUTE_OUT_TIMELINE] + seen[ROUTE_OUT_UNSAMPLED] >
                        0);
        assert_true(reason != ROUTE_TO_PRIMARY_STALE ||
                    seen[ROUTE_OUT_LAG] + seen[ROUTE_OUT_TIMELINE] + seen[ROUTE_OUT_UNSAMPLED] > 0);
        assert_true(reason != ROUTE_TO_SUSPECT || view->endpoints[at].health == ENDPOINT_SUSPECT);
        assert_true(reason != ROUTE_TO_AVOIDED || (model->request->avoid >> at & 1) != 0);
        return;
    }
    assert_in_range(reason, ROUTE_NO_PRIMARY, ROUTE_READERS_EXCLUDED);
    bool is_about_primary = reason <= ROUTE_PRIMARY_EXCLUDED;
    assert_int_equal(is_about_primary, model_wants_primary(model));
    assert_true(reason != ROUTE_READERS_EXCLUDED || seen[ROUTE_OUT_EXCLUDED] > 0);
    assert_true(reason != ROUTE_PRIMARY_EXCLUDED || out[model->primary] == ROUTE_OUT_EXCLUDED);
    if (reason == ROUTE_PROMISE_UNMET || reason == ROUTE_TOO_STALE)
        assert_true(decision->ask_again_ns > model->now_ns);
    else
        assert_true(decision->ask_again_ns == HF_NEVER);
}

static void route__choices_and_explanations_agree_with_the_slow_model(void **state)
{
    (void)state;
    struct rng rng;
    struct route_state lane;
    uint32_t chosen_reasons[ROUTE_REASONS] = {0}, left_out[ROUTE_OUTS] = {0};
    rng_init(&rng, 20261121);
    route_state_init(&lane, 5);
    for (int run = 0; run < 60000; run++) {
        struct snapshot view;
        struct route_request request;
        struct route_policy policy;
        struct route_decision decision;
        struct route_left_out explained[SNAPSHOT_ENDPOINTS_MAX];
        enum route_out out[SNAPSHOT_ENDPOINTS_MAX];
        uint32_t load[SNAPSHOT_ENDPOINTS_MAX];
        draw_view(&rng, &view);
        draw_request(&rng, &request, &policy, load);
        struct model model = {
            .view = &view,
            .request = &request,
            .policy = request.policy ? policy : route_policy_default(),
            .now_ns = request.now_ns < NOW_NS ? NOW_NS : request.now_ns,
        };
        uint32_t candidates = model_narrow(&model, out);
        bool is_chosen = route_choose(&view, &request, &lane, &decision);
        assert_int_equal(decision.candidates, candidates);
        assert_int_equal(is_chosen, candidates != 0);
        assert_true(is_chosen ? (candidates >> decision.endpoint & 1) != 0
                              : decision.endpoint == NONE);
        assert_true(request.intent != ROUTE_WRITE || !is_chosen ||
                    view.endpoints[decision.endpoint].role == ENDPOINT_PRIMARY);
        check_reason(&model, &decision, out);
        ++chosen_reasons[decision.reason];
        route_explain(&view, &request, explained);
        for (uint32_t i = 0; i < view.count; i++) {
            assert_int_equal(explained[i].why, out[i]);
            ++left_out[out[i]];
            assert_int_equal(route_allows(&view, &request, i),
                             model_hard(&model, i) == ROUTE_OUT_NOT);
        }
    }
    /* Every reason there is was met, so that each was put to the test. */
    for (int i = ROUTE_UNDECIDED + 1; i < ROUTE_REASONS; i++)
        assert_true(chosen_reasons[i] > 0);
    for (int i = 0; i < ROUTE_OUTS; i++)
        assert_true(left_out[i] > 0);
}

/* ---- the promise against a world that knows the truth ---- */

#define WORLD_MS 4000

/* A primary that writes now and then, and replicas that replay at their own pace; everybody is
 * asked every 20 ms or so and answers up to 15 ms later with what is so at some time in between. */
struct world {
    uint64_t written[WORLD_MS];     /* the primary's position at the end of each millisecond */
    uint64_t replayed[3][WORLD_MS]; /* and those of the replicas */
};

static void draw_world(struct rng *rng, struct world *world)
{
    uint64_t written = 1000, replayed[3] = {1000, 1000, 1000};
    for (int t = 0; t < WORLD_MS; t++) {
        written += rng_below(rng, 3) == 0 ? rng_below(rng, 50) : 0;
        world->written[t] = written;
        for (int r = 0; r < 3; r++) {
            uint64_t behind = written - replayed[r];
            bool is_stalled = (t / 400 + r) % 3 == 0;
            replayed[r] += is_stalled ? 0 : rng_below(rng, behind + 1);
            world->replayed[r][t] = replayed[r];
        }
    }
}

/* One look at all of them, which began at `t`. */
static void look(struct rng *rng, const struct world *world, struct snapshot *view, int t)
{
    int delay = (int)rng_below(rng, 16);
    int meant = t + (int)rng_below(rng, (uint64_t)delay + 1);
    snapshot_sample(view, HF_MS(t), world->written[meant]);
    for (int r = 0; r < 3; r++) {
        struct snapshot_endpoint *replica = &view->endpoints[1 + r];
        replica->sampled_at_ns = HF_MS(t);
        replica->replayed_lsn = world->replayed[r][meant];
    }
    view->made_at_ns = HF_MS(t + delay);
    snapshot_seal(view);
}

static void route__a_session_never_reads_before_its_own_write(void **state)
{
    (void)state;
    static struct world world;
    struct rng rng;
    struct route_state lane;
    uint32_t from_replica = 0, from_primary = 0;
    rng_init(&rng, 9);
    route_state_init(&lane, 2);
    for (int run = 0; run < 40; run++) {
        draw_world(&rng, &world);
        struct snapshot view;
        four(&view);
        snapshot_new_primary(&view, 0);
        struct route_promise promise = {0};
        uint64_t truth = 0;
        int next_look = 10;
        for (int t = 10; t < WORLD_MS - 50; t++) {
            if (t == next_look) {
                look(&rng, &world, &view, t);
                t = (int)(view.made_at_ns / HF_MS(1));
                next_look = t + 1 + (int)rng_below(&rng, 30);
            }
            if (rng_below(&rng, 100) == 0) {
                truth = world.written[t];
                promise = (struct route_promise){
                    .written_at_ns = HF_MS(t) + 1,
                    .lsn = rng_below(&rng, 3) == 0 ? truth : 0,
                };
            }
            struct route_request request = {.now_ns = HF_MS(t) + 2, .promise = promise};
            struct route_decision decision;
            assert_true(route_choose(&view, &request, &lane, &decision));
            if (rng_below(&rng, 2) == 0 && decision.promise_lsn != 0)
                promise.lsn = decision.promise_lsn;
            if (decision.endpoint == 0) {
                ++from_primary;
                continue;
            }
            ++from_replica;
            assert_true(world.replayed[decision.endpoint - 1][t] >= truth);
        }
    }
    assert_true(from_replica > 10000 && from_primary > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(route__choices_and_explanations_agree_with_the_slow_model),
        cmocka_unit_test(route__a_session_never_reads_before_its_own_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
