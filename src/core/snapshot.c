/*
 * Sealing turns what was learned into masks and small tables, so that a choice is bit operations.
 * It runs a few times a second and is written to be plain, not fast.
 */
#include "core/snapshot.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/bug.h"

#define BIT(endpoint) (UINT32_C(1) << (endpoint))

void snapshot_init(struct snapshot *snapshot)
{
    memset(snapshot, 0, sizeof *snapshot);
    snapshot->primary = SNAPSHOT_NO_ENDPOINT;
    snapshot->writer = SNAPSHOT_NO_ENDPOINT;
}

struct snapshot_endpoint *snapshot_add(struct snapshot *snapshot, const char *name)
{
    if (snapshot->count == SNAPSHOT_ENDPOINTS_MAX)
        return NULL;
    snapshot->is_sealed = false;
    struct snapshot_endpoint *endpoint = &snapshot->endpoints[snapshot->count++];
    *endpoint = (struct snapshot_endpoint){.weight = 1, .lag_ns = HF_NEVER};
    snprintf(endpoint->name, sizeof endpoint->name, "%s", name);
    return endpoint;
}

/* ---- the primary's samples ---- */

/* What is lost if a sample is left out: how many times as old the one before it is as the one after
 * it, in 1/256. Leaving out where this is least keeps the samples evenly spaced on a logarithmic
 * scale of age. Beyond the reach all are as good as one another, and go first. */
static int64_t loss_without(const struct snapshot *snapshot, uint32_t at, int64_t now_ns)
{
    const struct snapshot_sample *sample = &snapshot->samples[at];
    int64_t older_ns = ns_min(now_ns - sample[-1].asked_at_ns, SNAPSHOT_REACH_NS);
    return older_ns * 256 / (now_ns - sample[1].asked_at_ns);
}

static void make_room(struct snapshot *snapshot, int64_t now_ns)
{
    if (snapshot->sample_count < SNAPSHOT_SAMPLES_MAX)
        return;
    uint32_t least = 1;
    for (uint32_t i = 2; i + 1 < snapshot->sample_count; i++)
        if (loss_without(snapshot, i, now_ns) <= loss_without(snapshot, least, now_ns))
            least = i;
    --snapshot->sample_count;
    memmove(&snapshot->samples[least], &snapshot->samples[least + 1],
            (snapshot->sample_count - least) * sizeof snapshot->samples[0]);
}

void snapshot_sample(struct snapshot *snapshot, int64_t asked_at_ns, uint64_t lsn)
{
    if (lsn == 0)
        return;
    if (snapshot->sample_count > 0) {
        const struct snapshot_sample *last = &snapshot->samples[snapshot->sample_count - 1];
        if (asked_at_ns <= last->asked_at_ns || lsn < last->lsn)
            return;
    }
    make_room(snapshot, asked_at_ns);
    snapshot->samples[snapshot->sample_count++] = (struct snapshot_sample){asked_at_ns, lsn};
}

void snapshot_new_primary(struct snapshot *snapshot, uint32_t timeline)
{
    snapshot->is_sealed = false;
    snapshot->timeline = timeline;
    snapshot->sample_count = 0;
}

uint64_t snapshot_lsn_after(const struct snapshot *snapshot, int64_t t_ns)
{
    /* From the newest backwards: most promises are young. */
    uint64_t lsn = 0;
    for (uint32_t i = snapshot->sample_count; i > 0; i--) {
        if (snapshot->samples[i - 1].asked_at_ns <= t_ns)
            break;
        lsn = snapshot->samples[i - 1].lsn;
    }
    return lsn;
}

/* ---- checking ---- */

static enum hf_rc check_endpoint(const struct snapshot *snapshot, uint32_t at, struct hf_err *err)
{
    const struct snapshot_endpoint *endpoint = &snapshot->endpoints[at];
    if (endpoint->name[0] == '\0' || memchr(endpoint->name, '\0', SNAPSHOT_NAME_BYTES) == NULL)
        return err_set(err, HF_RC_INVALID, "22023", "endpoint %u has no proper name", at);
    if (snapshot_find(snapshot, endpoint->name) != at)
        return err_set(err, HF_RC_INVALID, "42710", "there are two endpoints \"%s\"",
                       endpoint->name);
    const char *wrong = NULL;
    if ((unsigned)endpoint->role > ENDPOINT_REPLICA || (unsigned)endpoint->health > ENDPOINT_UP)
        wrong = "role or health";
    else if (endpoint->weight < 1 || endpoint->weight > SNAPSHOT_WEIGHT_MAX)
        wrong = "weight";
    else if (endpoint->zone >= SNAPSHOT_ZONES_MAX)
        wrong = "zone";
    else if (endpoint->lag_ns < 0)
        wrong = "lag";
    else if (endpoint->sampled_at_ns < 0 || endpoint->sampled_at_ns > snapshot->made_at_ns)
        wrong = "time of sampling";
    else if (endpoint->returned_at_ns < 0 || endpoint->returned_at_ns > snapshot->made_at_ns)
        wrong = "time of return";
    else if (endpoint->role == ENDPOINT_PRIMARY && endpoint->timeline > snapshot->timeline)
        wrong = "timeline";
    if (wrong == NULL)
        return HF_OK;
    return err_set(err, HF_RC_INVALID, "22023", "endpoint \"%s\" has an impossible %s",
                   endpoint->name, wrong);
}

enum hf_rc snapshot_check(const struct snapshot *snapshot, struct hf_err *err)
{
    if (snapshot->count > SNAPSHOT_ENDPOINTS_MAX || snapshot->sample_count > SNAPSHOT_SAMPLES_MAX)
        return err_set(err, HF_RC_INVALID, "22023", "a snapshot counts more than it can hold");
    if (snapshot->made_at_ns < 0 || snapshot->interval_ns < 0 || snapshot->warm_up_ns < 0 ||
        snapshot->warm_up_ns > SNAPSHOT_WARM_UP_MAX)
        return err_set(err, HF_RC_INVALID, "22023", "a snapshot has an impossible duration");
    for (uint32_t i = 0; i < snapshot->sample_count; i++) {
        const struct snapshot_sample *sample = &snapshot->samples[i];
        if (sample->asked_at_ns < 0 || sample->asked_at_ns > snapshot->made_at_ns ||
            sample->lsn == 0)
            return err_set(err, HF_RC_INVALID, "22023", "sample %u has no time or position", i);
        if (i > 0 &&
            (sample->asked_at_ns <= sample[-1].asked_at_ns || sample->lsn < sample[-1].lsn))
            return err_set(err, HF_RC_INVALID, "22023", "sample %u contradicts the one before", i);
    }
    for (uint32_t i = 0; i < snapshot->count; i++)
        if (check_endpoint(snapshot, i, err) != HF_OK)
            return err->rc;
    return HF_OK;
}

/* ---- sealing ---- */

/* Positive if the claim of `a` to be the primary beats that of `b`, 0 if nothing tells them apart.
 */
static int compare_claims(const struct snapshot_endpoint *a, const struct snapshot_endpoint *b)
{
    if (a->role_generation != b->role_generation)
        return a->role_generation > b->role_generation ? 1 : -1;
    return (a->health != ENDPOINT_DOWN) - (b->health != ENDPOINT_DOWN);
}

static void find_primary(struct snapshot *snapshot)
{
    uint32_t best = SNAPSHOT_NO_ENDPOINT;
    snapshot->has_rivals = false;
    for (uint32_t i = 0; i < snapshot->count; i++) {
        const struct snapshot_endpoint *endpoint = &snapshot->endpoints[i];
        if (endpoint->role != ENDPOINT_PRIMARY || (snapshot->comparable & BIT(i)) == 0)
            continue;
        int better = 1;
        if (best != SNAPSHOT_NO_ENDPOINT)
            better = compare_claims(endpoint, &snapshot->endpoints[best]);
        if (better == 0)
            snapshot->has_rivals = true;
        if (better > 0) {
            best = i;
            snapshot->has_rivals = false;
        }
    }
    snapshot->primary = snapshot->has_rivals ? SNAPSHOT_NO_ENDPOINT : best;
}

static void seal_primary(struct snapshot *snapshot)
{
    find_primary(snapshot);
    snapshot->writer = SNAPSHOT_NO_ENDPOINT;
    snapshot->reading_primary = 0;
    uint32_t at = snapshot->primary;
    if (at == SNAPSHOT_NO_ENDPOINT)
        return;
    snapshot->position[at] = UINT64_MAX;
    snapshot->as_of_ns[at] = INT64_MAX;
    snapshot->sampled_ns[at] = INT64_MAX;
    const struct snapshot_endpoint *primary = &snapshot->endpoints[at];
    if (primary->health == ENDPOINT_DOWN || primary->is_drained)
        return;
    if (primary->accepts_writes)
        snapshot->writer = at;
    if (primary->accepts_reads)
        snapshot->reading_primary = BIT(at);
}

static uint32_t warmed_share(const struct snapshot *snapshot,
                             const struct snapshot_endpoint *endpoint)
{
    int64_t share = SNAPSHOT_SHARE;
    int64_t since_ns = snapshot->made_at_ns - endpoint->returned_at_ns;
    if (endpoint->returned_at_ns > 0 && since_ns < snapshot->warm_up_ns) {
        share = since_ns * SNAPSHOT_SHARE / snapshot->warm_up_ns;
        share = share < SNAPSHOT_SHARE / 10 ? SNAPSHOT_SHARE / 10 : share;
    }
    return (uint32_t)share * endpoint->weight;
}

static void seal_endpoint(struct snapshot *snapshot, uint32_t at)
{
    const struct snapshot_endpoint *endpoint = &snapshot->endpoints[at];
    bool is_comparable = endpoint->timeline == snapshot->timeline;
    bool is_dated = is_comparable && endpoint->lag_ns != HF_NEVER;
    snapshot->position[at] = is_comparable ? endpoint->replayed_lsn : 0;
    snapshot->as_of_ns[at] = is_dated ? endpoint->sampled_at_ns - endpoint->lag_ns : INT64_MIN;
    snapshot->sampled_ns[at] = endpoint->sampled_at_ns;
    snapshot->share[at] = warmed_share(snapshot, endpoint);
    snapshot->in_zone[endpoint->zone] |= BIT(at);
    if (is_comparable)
        snapshot->comparable |= BIT(at);
    if (endpoint->health == ENDPOINT_UP)
        snapshot->up |= BIT(at);
    if (endpoint->role == ENDPOINT_REPLICA && endpoint->health != ENDPOINT_DOWN &&
        endpoint->accepts_reads && !endpoint->is_drained)
        snapshot->replicas |= BIT(at);
}

/* Vose's way to an alias table: places with too little are filled up from places with too much,
 * each of which has had its remainder reduced by what it gave. All in whole numbers, in which a
 * full place is the sum of the shares: nothing is lost to rounding but the last of 32 bits of
 * `below`. */
static void seal_pick(struct snapshot *snapshot, const struct snapshot_tier *tier)
{
    struct snapshot_pick *pick = &snapshot->pick[tier->first];
    uint64_t filling[SNAPSHOT_ENDPOINTS_MAX], full = 0;
    uint32_t poor[SNAPSHOT_ENDPOINTS_MAX] = {0}, rich[SNAPSHOT_ENDPOINTS_MAX] = {0};
    uint32_t poor_count = 0, rich_count = 0;
    for (uint32_t k = 0; k < tier->count; k++)
        full += snapshot->share[pick[k].endpoint];
    for (uint32_t k = 0; k < tier->count; k++) {
        filling[k] = (uint64_t)snapshot->share[pick[k].endpoint] * tier->count;
        pick[k].below = UINT32_MAX;
        pick[k].other = (uint8_t)k;
        if (filling[k] < full)
            poor[poor_count++] = k;
        else
            rich[rich_count++] = k;
    }
    while (poor_count > 0) {
        hf_assert(rich_count > 0); /* the average is a full place */
        uint32_t needy = poor[--poor_count], giver = rich[rich_count - 1];
        pick[needy].below = (uint32_t)((filling[needy] << 32) / full);
        pick[needy].other = (uint8_t)giver;
        filling[giver] -= full - filling[needy];
        if (filling[giver] < full) {
            --rich_count;
            poor[poor_count++] = giver;
        }
    }
}

static void seal_tier(struct snapshot *snapshot, uint32_t all, uint32_t first)
{
    struct snapshot_tier *tier = &snapshot->tiers[snapshot->tier_count++];
    *tier = (struct snapshot_tier){
        .all = all,
        .ready = all & snapshot->replicas & snapshot->up,
        .first = first,
        .position_min = UINT64_MAX,
        .as_of_ns_min = INT64_MAX,
        .sampled_ns_min = INT64_MAX,
    };
    for (uint32_t left = tier->ready; left != 0; left &= left - 1) {
        uint32_t at = bits_lowest(left);
        snapshot->pick[first + tier->count++].endpoint = (uint8_t)at;
        if (snapshot->position[at] < tier->position_min)
            tier->position_min = snapshot->position[at];
        tier->as_of_ns_min = ns_min(tier->as_of_ns_min, snapshot->as_of_ns[at]);
        tier->sampled_ns_min = ns_min(tier->sampled_ns_min, snapshot->sampled_ns[at]);
    }
    seal_pick(snapshot, tier);
}

static void seal_tiers(struct snapshot *snapshot)
{
    uint32_t first = 0;
    uint32_t left = (uint32_t)((UINT64_C(1) << snapshot->count) - 1);
    snapshot->tier_count = 0;
    while (left != 0) {
        uint32_t lowest = UINT8_MAX, all = 0;
        for (uint32_t rest = left; rest != 0; rest &= rest - 1) {
            uint32_t at = bits_lowest(rest), tier = snapshot->endpoints[at].tier;
            if (tier < lowest) {
                lowest = tier;
                all = 0;
            }
            if (tier == lowest)
                all |= BIT(at);
        }
        seal_tier(snapshot, all, first);
        first += snapshot->tiers[snapshot->tier_count - 1].count;
        left &= ~all;
    }
}

void snapshot_seal(struct snapshot *snapshot)
{
    hf_assert(snapshot->count <= SNAPSHOT_ENDPOINTS_MAX);
    snapshot->replicas = snapshot->up = snapshot->comparable = 0;
    memset(snapshot->in_zone, 0, sizeof snapshot->in_zone);
    for (uint32_t i = 0; i < snapshot->count; i++)
        seal_endpoint(snapshot, i);
    seal_primary(snapshot);
    seal_tiers(snapshot);
    snapshot->is_sealed = true;
}

/* ---- looking ---- */

int64_t snapshot_next_ns(const struct snapshot *snapshot, int64_t now_ns)
{
    int64_t interval_ns = snapshot->interval_ns > 0 ? snapshot->interval_ns : SNAPSHOT_INTERVAL_NS;
    int64_t due_ns = ns_add(snapshot->made_at_ns, interval_ns);
    return due_ns > now_ns ? due_ns : ns_add(ns_max(now_ns, 0), interval_ns);
}

uint32_t snapshot_find(const struct snapshot *snapshot, const char *name)
{
    for (uint32_t i = 0; i < snapshot->count; i++)
        if (strncmp(snapshot->endpoints[i].name, name, SNAPSHOT_NAME_BYTES) == 0)
            return i;
    return SNAPSHOT_NO_ENDPOINT;
}

const char *endpoint_role_name(enum endpoint_role role)
{
    static const char *const names[] = {
        [ENDPOINT_UNKNOWN] = "unknown",
        [ENDPOINT_PRIMARY] = "primary",
        [ENDPOINT_REPLICA] = "replica",
    };
    hf_assert((unsigned)role < sizeof names / sizeof names[0]);
    return names[role];
}

const char *endpoint_health_name(enum endpoint_health health)
{
    static const char *const names[] = {
        [ENDPOINT_DOWN] = "down",
        [ENDPOINT_SUSPECT] = "suspect",
        [ENDPOINT_UP] = "up",
    };
    hf_assert((unsigned)health < sizeof names / sizeof names[0]);
    return names[health];
}
