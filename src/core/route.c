/*
 * Choosing goes in three steps: what the request demands of a replica's data, put into three
 * numbers (struct demand); who is left of the hard rules and preferences (narrow); and the draw
 * among these.
 *
 * route_explain() asks the same narrow() and then names, for each one left out, the first rule that
 * it fails, so that it cannot tell another story than the choice. The test has a third telling,
 * written from the header alone.
 */
#include "core/route.h"

#include <string.h>

#include "base/bits.h"
#include "base/bug.h"

#define BIT(endpoint) (UINT32_C(1) << (endpoint))

#define SAMPLE_NS_MAX_DEFAULT HF_SEC(5)

static const struct route_policy policy_default = {
    .balance = ROUTE_LEAST_OF_TWO,
    .primary_reads = ROUTE_PRIMARY_FALLBACK,
    .lag_ns_max = HF_NEVER,
    .sample_ns_max = SAMPLE_NS_MAX_DEFAULT,
};

struct route_policy route_policy_default(void)
{
    return policy_default;
}

enum hf_rc route_policy_check(const struct route_policy *policy, struct hf_err *err)
{
    if ((unsigned)policy->balance >= ROUTE_BALANCES ||
        (unsigned)policy->primary_reads > ROUTE_PRIMARY_NEVER)
        return err_set(err, HF_RC_INVALID, "22023", "unknown way to balance reads");
    if (policy->lag_ns_max <= 0 || policy->sample_ns_max <= 0)
        return err_set(err, HF_RC_INVALID, "22023",
                       "lag limit and age limit of samples must be above zero");
    return HF_OK;
}

void route_state_init(struct route_state *state, uint64_t seed)
{
    memset(state, 0, sizeof *state);
    rng_init(&state->rng, seed);
}

static const struct route_policy *policy_of(const struct route_request *request)
{
    return request->policy != NULL ? request->policy : &policy_default;
}

/* ---- what the request demands of a replica's data ---- */

/* Neutral values admit every replica: no request that demands nothing costs anything. */
struct demand {
    uint64_t position_min; /* UINT64_MAX: no position is known that would do */
    int64_t as_of_ns_min;
    int64_t sampled_ns_min;
};

/* The position that meets the promise: 0 if nothing was promised, UINT64_MAX if none is known. */
static uint64_t promised_position(const struct snapshot *view, const struct route_promise *promise)
{
    if (promise->lsn == 0 && promise->written_at_ns == 0)
        return 0;
    if (promise->timeline > view->timeline)
        return UINT64_MAX; /* this view has not heard of the promise's timeline yet */
    uint64_t needed = promise->lsn != 0 ? promise->lsn : UINT64_MAX;
    if (promise->written_at_ns != 0) {
        /* Each is enough alone. After a failover that lost the end of a timeline, the promised
         * position may not be reached for long, while the new primary has long been asked. */
        uint64_t asked = snapshot_lsn_after(view, promise->written_at_ns);
        if (asked != 0 && asked < needed)
            needed = asked;
    }
    return needed;
}

/* A time before the snapshot's own comes from a clock read earlier, on another thread. */
static int64_t now_in(const struct snapshot *view, const struct route_request *request)
{
    return ns_max(request->now_ns, view->made_at_ns);
}

static struct demand demand_of(const struct snapshot *view, const struct route_request *request)
{
    struct demand demand = {0, INT64_MIN, INT64_MIN};
    if (request->intent != ROUTE_READ)
        return demand;
    const struct route_policy *policy = policy_of(request);
    int64_t stale_ns_max = policy->lag_ns_max;
    if (request->consistency == ROUTE_SESSION)
        demand.position_min = promised_position(view, &request->promise);
    else if (request->consistency == ROUTE_BOUNDED)
        stale_ns_max = ns_min(stale_ns_max, request->staleness_ns_max);
    if (stale_ns_max == HF_NEVER && demand.position_min == 0)
        return demand;
    int64_t now_ns = now_in(view, request);
    if (stale_ns_max != HF_NEVER)
        demand.as_of_ns_min = now_ns - stale_ns_max;
    demand.sampled_ns_min = now_ns - policy->sample_ns_max;
    return demand;
}

static bool meets(const struct snapshot *view, const struct demand *demand, uint32_t at)
{
    return view->position[at] >= demand->position_min &&
           view->as_of_ns[at] >= demand->as_of_ns_min &&
           view->sampled_ns[at] >= demand->sampled_ns_min;
}

static uint32_t those_that_meet(const struct snapshot *view, const struct demand *demand,
                                uint32_t mask)
{
    uint32_t met = 0;
    for (uint32_t left = mask; left != 0; left &= left - 1) {
        uint32_t at = bits_lowest(left);
        met |= (uint32_t)meets(view, demand, at) << at;
    }
    return met;
}

/* ---- who is left ---- */

/* The best of `mask` by tier and zone that meet the demand; 0 if none does. */
static uint32_t best_of(const struct snapshot *view, const struct demand *demand, uint32_t mask,
                        uint32_t zone)
{
    for (uint32_t t = 0; t < view->tier_count && mask != 0; t++) {
        const struct snapshot_tier *tier = &view->tiers[t];
        uint32_t fit = mask & tier->all;
        mask &= ~tier->all;
        bool all_meet = (fit & ~tier->ready) == 0 && tier->position_min >= demand->position_min &&
                        tier->as_of_ns_min >= demand->as_of_ns_min &&
                        tier->sampled_ns_min >= demand->sampled_ns_min;
        if (!all_meet)
            fit = those_that_meet(view, demand, fit);
        if (fit == 0)
            continue;
        uint32_t near = fit & zone;
        return near != 0 ? near : fit;
    }
    return 0;
}

/* A write has one place to go, or none. */
static uint32_t writer_of(const struct snapshot *view, const struct route_request *request)
{
    return view->writer == SNAPSHOT_NO_ENDPOINT ? 0 : BIT(view->writer) & ~request->exclude;
}

/* Who of the role and state that is asked for has not refused, and which of them go first. */
struct pool {
    uint32_t usable;
    uint32_t last; /* of these, the kind that waits for the other one */
    uint32_t zone;
};

static struct pool pool_of(const struct snapshot *view, const struct route_request *request)
{
    struct pool pool = {.zone = 0};
    uint32_t primary = view->reading_primary;
    if (request->zone != 0 && request->zone < SNAPSHOT_ZONES_MAX)
        pool.zone = view->in_zone[request->zone];
    if (request->intent == ROUTE_ANY) {
        pool.usable = view->replicas | primary;
        pool.last = view->replicas;
    } else if (request->consistency == ROUTE_PRIMARY) {
        pool.usable = primary;
    } else {
        enum route_primary_reads may_read = policy_of(request)->primary_reads;
        pool.usable = view->replicas | (may_read == ROUTE_PRIMARY_NEVER ? 0 : primary);
        pool.last = may_read == ROUTE_PRIMARY_FALLBACK ? primary : 0;
    }
    pool.usable &= ~request->exclude;
    return pool;
}

/* The other kinds, from better to worse, and then all of them among those who failed this call. */
static uint32_t second_best(const struct snapshot *view, const struct route_request *request,
                            const struct demand *demand, const struct pool *pool)
{
    for (int round = 0; round < 2; round++) {
        uint32_t mask = pool->usable & (round == 0 ? ~request->avoid : request->avoid);
        const uint32_t kinds[] = {
            mask & view->up & ~pool->last,
            mask & view->up & pool->last,
            mask & ~view->up & ~pool->last,
            mask & ~view->up & pool->last,
        };
        for (uint32_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
            uint32_t best = kinds[k] != 0 ? best_of(view, demand, kinds[k], pool->zone) : 0;
            if (best != 0)
                return best;
        }
    }
    return 0;
}

/* The candidates: those among whom only the balance is left to decide; 0 if there are none. */
static uint32_t narrow(const struct snapshot *view, const struct route_request *request,
                       const struct demand *demand)
{
    if (request->intent == ROUTE_WRITE)
        return writer_of(view, request);
    struct pool pool = pool_of(view, request);
    uint32_t first_kind = pool.usable & view->up & ~pool.last & ~request->avoid;
    uint32_t best = first_kind != 0 ? best_of(view, demand, first_kind, pool.zone) : 0;
    return best != 0 ? best : second_best(view, request, demand, &pool);
}

/* ---- the draw ---- */

/* Of the two halves of a random number, one decides the first endpoint and one the second. */
static uint32_t scale(uint32_t random, uint32_t n)
{
    return (uint32_t)(((uint64_t)random * n) >> 32);
}

struct drawn {
    uint32_t first, second; /* never the same */
};

/* From the alias table of a whole tier of two or more: the first by weight, the second evenly among
 * the others. Were the second drawn by weight as well, it would often be the first again, and of
 * two replicas a stuck one would go on getting a quarter of the calls. */
static struct drawn draw_from_tier(const struct snapshot *view, const struct snapshot_tier *tier,
                                   uint64_t random)
{
    const struct snapshot_pick *pick = &view->pick[tier->first];
    uint64_t spread = (random >> 32) * tier->count;
    uint32_t place = (uint32_t)(spread >> 32);
    place = (uint32_t)spread < pick[place].below ? place : pick[place].other;
    uint32_t other = place + 1 + scale((uint32_t)random, tier->count - 1);
    other = other < tier->count ? other : other - tier->count;
    return (struct drawn){pick[place].endpoint, pick[other].endpoint};
}

/* The same from any set of two or more, in two walks over its bits. */
static struct drawn draw_from_mask(const struct snapshot *view, uint32_t mask, uint64_t random)
{
    uint32_t total = 0, others = 0, left;
    for (left = mask; left != 0; left &= left - 1)
        total += view->share[bits_lowest(left)];
    uint32_t target = scale((uint32_t)(random >> 32), total);
    for (left = mask; target >= view->share[bits_lowest(left)]; left &= left - 1)
        target -= view->share[bits_lowest(left)];
    struct drawn drawn = {bits_lowest(left), 0};
    mask &= ~BIT(drawn.first);
    for (left = mask; left != 0; left &= left - 1)
        ++others;
    left = mask;
    for (uint32_t skip = scale((uint32_t)random, others); skip > 0; skip--)
        left &= left - 1;
    drawn.second = bits_lowest(left);
    return drawn;
}

static struct drawn draw(const struct snapshot *view, uint32_t mask, uint64_t random)
{
    for (uint32_t t = 0; t < view->tier_count; t++)
        if (view->tiers[t].ready == mask)
            return draw_from_tier(view, &view->tiers[t], random);
    return draw_from_mask(view, mask, random);
}

/* Smooth weighted round robin, as nginx does it: everybody is credited with its share, the richest
 * serves and pays for all. Indexed by endpoint, so that it goes on over a change of the snapshot.
 */
static uint32_t next_in_round(const struct snapshot *view, uint32_t mask, struct route_state *state)
{
    uint32_t best = bits_lowest(mask);
    int64_t total = 0;
    for (uint32_t left = mask; left != 0; left &= left - 1) {
        uint32_t at = bits_lowest(left);
        state->round[at] += view->share[at];
        total += view->share[at];
        if (state->round[at] > state->round[best])
            best = at;
    }
    state->round[best] -= total;
    return best;
}

static uint32_t pick_one(const struct snapshot *view, const struct route_request *request,
                         struct route_state *state, uint32_t mask)
{
    if ((mask & (mask - 1)) == 0)
        return bits_lowest(mask);
    enum route_balance balance = policy_of(request)->balance;
    if (balance == ROUTE_ROUND_ROBIN)
        return next_in_round(view, mask, state);
    struct drawn drawn = draw(view, mask, rng_u64(&state->rng));
    if (balance == ROUTE_RANDOM || request->load == NULL)
        return drawn.first;
    /* load / share, compared without dividing. At rest both are 0 and the weights decide. */
    uint64_t first = (uint64_t)request->load[drawn.first] * view->share[drawn.second];
    uint64_t second = (uint64_t)request->load[drawn.second] * view->share[drawn.first];
    return second < first ? drawn.second : drawn.first;
}

/* ---- reasons ---- */

/* Which demand kept replicas out that could be used otherwise. */
static enum route_reason unmet(const struct snapshot *view, const struct demand *demand,
                               uint32_t replicas, enum route_reason promise,
                               enum route_reason stale, enum route_reason other)
{
    if (replicas == 0 || those_that_meet(view, demand, replicas) != 0)
        return other;
    struct demand without_promise = *demand;
    without_promise.position_min = 0;
    if (demand->as_of_ns_min == INT64_MIN)
        return promise;
    bool is_young = those_that_meet(view, &without_promise, replicas) != 0;
    return is_young ? promise : stale;
}

static enum route_reason reason_for(const struct snapshot *view,
                                    const struct route_request *request,
                                    const struct demand *demand, uint32_t endpoint)
{
    if (endpoint == view->primary &&
        (request->intent == ROUTE_ANY || request->consistency == ROUTE_PRIMARY))
        return ROUTE_TO_PRIMARY_ASKED;
    if ((request->avoid & BIT(endpoint)) != 0)
        return ROUTE_TO_AVOIDED;
    if ((view->up & BIT(endpoint)) == 0)
        return ROUTE_TO_SUSPECT;
    enum route_primary_reads primary_reads = policy_of(request)->primary_reads;
    if (primary_reads == ROUTE_PRIMARY_ALWAYS && request->intent == ROUTE_READ)
        return ROUTE_TO_READER;
    if (endpoint != view->primary)
        return ROUTE_TO_REPLICA;
    return unmet(view, demand, view->replicas & view->up & ~request->exclude & ~request->avoid,
                 ROUTE_TO_PRIMARY_PROMISE, ROUTE_TO_PRIMARY_STALE, ROUTE_TO_PRIMARY_ALONE);
}

static bool is_open_to(const struct snapshot_endpoint *endpoint,
                       const struct route_request *request)
{
    return request->intent == ROUTE_WRITE ? endpoint->accepts_writes : endpoint->accepts_reads;
}

/* Why the primary cannot take what only the primary may. */
HF_COLD static enum route_reason reason_against_primary(const struct snapshot *view,
                                                        const struct route_request *request)
{
    if (view->primary == SNAPSHOT_NO_ENDPOINT)
        return view->has_rivals ? ROUTE_RIVAL_PRIMARIES : ROUTE_NO_PRIMARY;
    const struct snapshot_endpoint *primary = &view->endpoints[view->primary];
    if (primary->health == ENDPOINT_DOWN)
        return ROUTE_PRIMARY_DOWN;
    if (primary->is_drained)
        return ROUTE_PRIMARY_DRAINED;
    return is_open_to(primary, request) ? ROUTE_PRIMARY_EXCLUDED : ROUTE_PRIMARY_CLOSED;
}

HF_COLD static enum route_reason reason_against(const struct snapshot *view,
                                                const struct route_request *request,
                                                const struct demand *demand)
{
    if (request->intent == ROUTE_WRITE ||
        (request->intent == ROUTE_READ && request->consistency == ROUTE_PRIMARY))
        return reason_against_primary(view, request);
    struct route_request round_begin = *request;
    round_begin.exclude = 0;
    if (pool_of(view, &round_begin).usable == 0)
        return ROUTE_NO_READER;
    /* Had someone met the demand, it was excluded; the primary always would have. */
    return unmet(view, demand, view->replicas, ROUTE_PROMISE_UNMET, ROUTE_TOO_STALE,
                 ROUTE_READERS_EXCLUDED);
}

/* A replica that lags L shows at t + L what was written at t, if it goes on as it does; and we hear
 * of it with the snapshot after that. */
HF_COLD static int64_t ask_again_ns(const struct snapshot *view,
                                    const struct route_request *request, enum route_reason reason)
{
    if (reason != ROUTE_PROMISE_UNMET && reason != ROUTE_TOO_STALE)
        return HF_NEVER;
    int64_t next_ns = snapshot_next_ns(view, now_in(view, request));
    if (reason == ROUTE_TOO_STALE)
        return next_ns;
    int64_t shown_ns = HF_NEVER;
    for (uint32_t left = view->replicas; left != 0; left &= left - 1) {
        const struct snapshot_endpoint *replica = &view->endpoints[bits_lowest(left)];
        shown_ns = ns_min(shown_ns, ns_add(request->promise.written_at_ns, replica->lag_ns));
    }
    return shown_ns == HF_NEVER ? next_ns : ns_max(next_ns, shown_ns);
}

/* ---- choosing ---- */

HF_COLD static bool choose_none(const struct snapshot *view, const struct route_request *request,
                                const struct demand *demand, struct route_decision *decision)
{
    decision->endpoint = SNAPSHOT_NO_ENDPOINT;
    decision->reason = reason_against(view, request, demand);
    decision->ask_again_ns = ask_again_ns(view, request, decision->reason);
    return false;
}

static bool choose_reader(const struct snapshot *view, const struct route_request *request,
                          struct route_state *state, struct route_decision *decision)
{
    struct demand demand = demand_of(view, request);
    bool is_known = demand.position_min != UINT64_MAX;
    decision->promise_lsn = is_known ? demand.position_min : 0;
    decision->candidates = narrow(view, request, &demand);
    if (decision->candidates == 0)
        return choose_none(view, request, &demand, decision);
    decision->endpoint = pick_one(view, request, state, decision->candidates);
    decision->reason = reason_for(view, request, &demand, decision->endpoint);
    decision->ask_again_ns = HF_NEVER;
    return true;
}

static bool choose_writer(const struct snapshot *view, const struct route_request *request,
                          struct route_decision *decision)
{
    static const struct demand nothing = {0, INT64_MIN, INT64_MIN};
    decision->promise_lsn = 0;
    decision->candidates = writer_of(view, request);
    if (decision->candidates == 0)
        return choose_none(view, request, &nothing, decision);
    hf_assert(view->endpoints[view->writer].role == ENDPOINT_PRIMARY);
    decision->endpoint = view->writer;
    decision->reason = ROUTE_TO_WRITER;
    decision->ask_again_ns = HF_NEVER;
    return true;
}

bool route_choose(const struct snapshot *view, const struct route_request *request,
                  struct route_state *state, struct route_decision *decision)
{
    hf_assert(view->is_sealed);
    if (request->intent == ROUTE_WRITE)
        return choose_writer(view, request, decision);
    return choose_reader(view, request, state, decision);
}

/* ---- explaining ---- */

static enum route_out hard_role(const struct snapshot *view, const struct route_request *request,
                                uint32_t at)
{
    bool is_read = request->intent == ROUTE_READ;
    bool is_asked = request->consistency == ROUTE_PRIMARY;
    switch (view->endpoints[at].role) {
    case ENDPOINT_UNKNOWN:
        break;
    case ENDPOINT_PRIMARY:
        if (at != view->primary)
            return ROUTE_OUT_RIVAL;
        if (is_read && !is_asked && policy_of(request)->primary_reads == ROUTE_PRIMARY_NEVER)
            return ROUTE_OUT_ROLE;
        return ROUTE_OUT_NOT;
    case ENDPOINT_REPLICA:
        if (request->intent == ROUTE_WRITE || (is_read && is_asked))
            return ROUTE_OUT_ROLE;
        return ROUTE_OUT_NOT;
    }
    return ROUTE_OUT_UNKNOWN;
}

static struct route_left_out hard_data(const struct snapshot *view,
                                       const struct route_request *request,
                                       const struct demand *demand, uint32_t at)
{
    const struct snapshot_endpoint *endpoint = &view->endpoints[at];
    int64_t now_ns = now_in(view, request), as_of_ns = view->as_of_ns[at];
    if (meets(view, demand, at))
        return (struct route_left_out){ROUTE_OUT_NOT, 0};
    if ((view->comparable & BIT(at)) == 0)
        return (struct route_left_out){ROUTE_OUT_TIMELINE, endpoint->timeline};
    if (view->sampled_ns[at] < demand->sampled_ns_min)
        return (struct route_left_out){ROUTE_OUT_UNSAMPLED, now_ns - endpoint->sampled_at_ns};
    if (as_of_ns < demand->as_of_ns_min)
        return (struct route_left_out){ROUTE_OUT_LAG,
                                       as_of_ns == INT64_MIN ? HF_NEVER : now_ns - as_of_ns};
    uint64_t missing = demand->position_min - view->position[at];
    bool is_known = demand->position_min != UINT64_MAX && missing < (uint64_t)HF_NEVER;
    return (struct route_left_out){ROUTE_OUT_PROMISE, is_known ? (int64_t)missing : HF_NEVER};
}

/* The first hard rule but `exclude` that the endpoint breaks. */
static struct route_left_out hard(const struct snapshot *view, const struct route_request *request,
                                  const struct demand *demand, uint32_t at)
{
    const struct snapshot_endpoint *endpoint = &view->endpoints[at];
    enum route_out why = hard_role(view, request, at);
    if (why == ROUTE_OUT_NOT && endpoint->health == ENDPOINT_DOWN)
        why = ROUTE_OUT_DOWN;
    if (why == ROUTE_OUT_NOT && endpoint->is_drained)
        why = ROUTE_OUT_DRAINED;
    if (why == ROUTE_OUT_NOT && !is_open_to(endpoint, request))
        why = ROUTE_OUT_CLOSED;
    if (why != ROUTE_OUT_NOT)
        return (struct route_left_out){why, 0};
    return hard_data(view, request, demand, at);
}

bool route_allows(const struct snapshot *view, const struct route_request *request,
                  uint32_t endpoint)
{
    hf_assert(view->is_sealed);
    if (endpoint >= view->count)
        return false; /* it was there when the call began to wait */
    struct demand demand = demand_of(view, request);
    return hard(view, request, &demand, endpoint).why == ROUTE_OUT_NOT;
}

/* The first preference by which it lost to the candidates, of which there is at least one. */
static struct route_left_out soft(const struct snapshot *view, const struct route_request *request,
                                  uint32_t candidates, uint32_t at)
{
    struct pool pool = pool_of(view, request);
    uint32_t bit = BIT(at), all = 0;
    if ((request->avoid & bit) != 0 && (candidates & ~request->avoid) != 0)
        return (struct route_left_out){ROUTE_OUT_AVOIDED, 0};
    if ((view->up & bit) == 0 && (candidates & view->up) != 0)
        return (struct route_left_out){ROUTE_OUT_SUSPECT, 0};
    if ((pool.last & bit) != 0 && (candidates & ~pool.last) != 0)
        return (struct route_left_out){ROUTE_OUT_KIND, 0};
    for (uint32_t t = 0; t < view->tier_count; t++)
        if ((view->tiers[t].all & candidates) != 0)
            all = view->tiers[t].all;
    if ((all & bit) == 0)
        return (struct route_left_out){ROUTE_OUT_TIER, view->endpoints[at].tier};
    hf_assert((pool.zone & candidates) != 0 && (pool.zone & bit) == 0);
    return (struct route_left_out){ROUTE_OUT_ZONE, 0};
}

void route_explain(const struct snapshot *view, const struct route_request *request,
                   struct route_left_out out[SNAPSHOT_ENDPOINTS_MAX])
{
    hf_assert(view->is_sealed);
    struct demand demand = demand_of(view, request);
    uint32_t candidates = narrow(view, request, &demand);
    for (uint32_t at = 0; at < view->count; at++) {
        out[at] = (struct route_left_out){ROUTE_OUT_NOT, 0};
        if ((candidates & BIT(at)) != 0)
            continue;
        out[at] = hard(view, request, &demand, at);
        if (out[at].why == ROUTE_OUT_NOT && (request->exclude & BIT(at)) != 0)
            out[at].why = ROUTE_OUT_EXCLUDED;
        if (out[at].why == ROUTE_OUT_NOT)
            out[at] = soft(view, request, candidates, at);
    }
}

/* ---- names ---- */

const char *route_intent_name(enum route_intent intent)
{
    static const char *const names[] = {"read", "write", "any"};
    hf_assert((unsigned)intent < sizeof names / sizeof names[0]);
    return names[intent];
}

const char *route_consistency_name(enum route_consistency consistency)
{
    static const char *const names[] = {"session", "bounded", "any", "primary"};
    hf_assert((unsigned)consistency < sizeof names / sizeof names[0]);
    return names[consistency];
}

const char *route_balance_name(enum route_balance balance)
{
    static const char *const names[] = {"least_of_two", "random", "round_robin"};
    hf_assert((unsigned)balance < sizeof names / sizeof names[0]);
    return names[balance];
}

const char *route_reason_name(enum route_reason reason)
{
    static const char *const names[ROUTE_REASONS] = {
        [ROUTE_UNDECIDED] = "not decided",
        [ROUTE_TO_WRITER] = "a write goes to the primary",
        [ROUTE_TO_PRIMARY_ASKED] = "the primary was asked for",
        [ROUTE_TO_REPLICA] = "a replica that fits",
        [ROUTE_TO_READER] = "a reader that fits",
        [ROUTE_TO_PRIMARY_PROMISE] = "no healthy replica has replayed the session's last write",
        [ROUTE_TO_PRIMARY_STALE] = "no healthy replica is within the bound of staleness",
        [ROUTE_TO_PRIMARY_ALONE] = "no healthy replica can be used",
        [ROUTE_TO_SUSPECT] = "a suspect endpoint, as no healthy one fits",
        [ROUTE_TO_AVOIDED] = "an endpoint that failed this call before, as no other fits",
        [ROUTE_NO_PRIMARY] = "no primary is known",
        [ROUTE_RIVAL_PRIMARIES] = "two endpoints claim to be the primary",
        [ROUTE_PRIMARY_DOWN] = "the primary is down",
        [ROUTE_PRIMARY_DRAINED] = "the primary is drained",
        [ROUTE_PRIMARY_CLOSED] = "the primary does not accept this kind of call",
        [ROUTE_PRIMARY_EXCLUDED] = "the primary's breaker or bulkhead refused",
        [ROUTE_PROMISE_UNMET] = "no replica has replayed the session's last write",
        [ROUTE_TOO_STALE] = "no replica is within the bound of staleness",
        [ROUTE_NO_READER] = "no endpoint takes reads",
        [ROUTE_READERS_EXCLUDED] = "the breakers or bulkheads of all fitting endpoints refused",
    };
    hf_assert((unsigned)reason < ROUTE_REASONS);
    return names[reason];
}

const char *route_out_name(enum route_out out)
{
    static const char *const names[ROUTE_OUTS] = {
        [ROUTE_OUT_NOT] = "fits",
        [ROUTE_OUT_UNKNOWN] = "role not known",
        [ROUTE_OUT_RIVAL] = "outdated claim to be the primary",
        [ROUTE_OUT_ROLE] = "wrong role",
        [ROUTE_OUT_DOWN] = "down",
        [ROUTE_OUT_DRAINED] = "drained",
        [ROUTE_OUT_CLOSED] = "does not accept this kind of call",
        [ROUTE_OUT_TIMELINE] = "on another timeline",
        [ROUTE_OUT_UNSAMPLED] = "not heard of lately",
        [ROUTE_OUT_LAG] = "too far behind",
        [ROUTE_OUT_PROMISE] = "has not replayed the session's last write",
        [ROUTE_OUT_EXCLUDED] = "its breaker or bulkhead refused",
        [ROUTE_OUT_AVOIDED] = "failed this call before",
        [ROUTE_OUT_SUSPECT] = "suspect",
        [ROUTE_OUT_KIND] = "endpoints of the other role go first",
        [ROUTE_OUT_TIER] = "in a later tier",
        [ROUTE_OUT_ZONE] = "in another zone",
    };
    hf_assert((unsigned)out < ROUTE_OUTS);
    return names[out];
}
