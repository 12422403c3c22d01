/*
 * Roles follow from the last answers of all endpoints together, and are worked out anew after each
 * event: first whose cluster this is, then who claims to be the primary and on which timeline, then
 * who may serve what. What is new against before becomes news. That is a few hundred steps for 32
 * endpoints, a few times each interval, and there is no state that could be forgotten half-way.
 */
#include "core/topology_int.h"

/* What an endpoint is taken for, before it is compared with what it was. */
struct standing {
    enum endpoint_role role;
    bool is_foreign, is_fenced, is_rival, is_alias;
    uint32_t other;
    uint32_t timeline;
};

/* ---- whose cluster ---- */

/* The identifier that most have; among equals that of whom the configuration names first. */
static uint64_t most_common_identifier(const struct topology *t)
{
    uint64_t best = 0;
    uint32_t best_count = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        const struct topology_endpoint *e = &t->endpoints[i];
        uint32_t same = 0;
        if (!e->is_member || !e->has_answer || e->answer.system_identifier == 0)
            continue;
        for (uint32_t k = 0; k < t->count; k++)
            same += t->endpoints[k].is_member && t->endpoints[k].has_answer &&
                    t->endpoints[k].answer.system_identifier == e->answer.system_identifier;
        if (same > best_count) {
            best = e->answer.system_identifier;
            best_count = same;
        }
    }
    return best;
}

static void settle_identity(struct topology *t)
{
    if (t->is_identity_settled)
        return;
    t->system_identifier = most_common_identifier(t);
    t->is_identity_settled = t->system_identifier != 0;
}

static bool is_foreign(const struct topology *t, const struct topology_endpoint *e)
{
    return t->system_identifier != 0 && e->answer.system_identifier != 0 &&
           e->answer.system_identifier != t->system_identifier;
}

/* ---- claims ---- */

/* Claims count for the timeline also while the claimant is down: time does not go back. */
static void raise_timeline(struct topology *t, const struct standing *standings)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (standings[i].role == ENDPOINT_PRIMARY && standings[i].timeline > t->timeline)
            t->timeline = standings[i].timeline;
}

static bool is_live_claim(const struct topology *t, const struct standing *standings, uint32_t at)
{
    return standings[at].role == ENDPOINT_PRIMARY && !standings[at].is_fenced &&
           !standings[at].is_alias && topology_is_live(&t->endpoints[at]);
}

/* One server by two names, say a name and an address: the same start of the same cluster's server.
 * The first name keeps the claim. */
static void find_aliases(const struct topology *t, struct standing *standings)
{
    for (uint32_t i = 0; i < t->count; i++) {
        const struct topology_answer *answer = &t->endpoints[i].answer;
        for (uint32_t k = 0; k < i && !standings[i].is_alias && answer->instance != 0; k++) {
            const struct topology_answer *first = &t->endpoints[k].answer;
            if (is_live_claim(t, standings, i) && is_live_claim(t, standings, k) &&
                first->instance == answer->instance &&
                first->system_identifier == answer->system_identifier) {
                standings[i].is_alias = true;
                standings[i].other = k;
            }
        }
    }
}

/* The one living claim, or none. All of several are rivals. */
static uint32_t only_claim(const struct topology *t, struct standing *standings)
{
    uint32_t only = TOPOLOGY_NO_ENDPOINT, count = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        if (!is_live_claim(t, standings, i))
            continue;
        if (++count == 1) {
            only = i;
            continue;
        }
        standings[i].is_rival = standings[only].is_rival = true;
        standings[i].other = only;
        standings[only].other = i;
    }
    return count == 1 ? only : TOPOLOGY_NO_ENDPOINT;
}

/* Who counts as the primary: the living claim; where nobody lives, the last one for as long as it
 * claims it, on the same timeline; with rivals, nobody. */
static uint32_t choose_primary(const struct topology *t, struct standing *standings)
{
    const uint32_t only = only_claim(t, standings);
    if (only != TOPOLOGY_NO_ENDPOINT)
        return only;
    const uint32_t last = t->primary;
    if (last == TOPOLOGY_NO_ENDPOINT || standings[last].role != ENDPOINT_PRIMARY ||
        standings[last].is_fenced || standings[last].is_rival)
        return TOPOLOGY_NO_ENDPOINT;
    for (uint32_t i = 0; i < t->count; i++)
        if (standings[i].is_rival)
            return TOPOLOGY_NO_ENDPOINT;
    return last;
}

static void find_standings(struct topology *t, struct standing *standings)
{
    for (uint32_t i = 0; i < t->count; i++) {
        const struct topology_endpoint *e = &t->endpoints[i];
        standings[i] = (struct standing){.role = ENDPOINT_UNKNOWN, .other = TOPOLOGY_NO_ENDPOINT};
        if (!e->is_member || !e->has_answer)
            continue;
        standings[i].is_foreign = is_foreign(t, e);
        standings[i].timeline = e->answer.timeline;
        /* A claim that cannot be compared with another is none. */
        if (!standings[i].is_foreign && (e->answer.is_in_recovery || e->answer.timeline != 0))
            standings[i].role = e->answer.is_in_recovery ? ENDPOINT_REPLICA : ENDPOINT_PRIMARY;
    }
    raise_timeline(t, standings);
    for (uint32_t i = 0; i < t->count; i++)
        standings[i].is_fenced =
            standings[i].role == ENDPOINT_PRIMARY && standings[i].timeline < t->timeline;
    find_aliases(t, standings);
}

/* ---- what is new ---- */

static void tell_role(struct topology *t, uint32_t at, enum topology_action_kind kind,
                      enum endpoint_role was)
{
    const struct topology_endpoint *e = &t->endpoints[at];
    struct topology_action *news = topology_tell(t, kind, at);
    news->old_role = was;
    news->role = e->role;
    news->timeline = e->answer.timeline;
    news->cluster_timeline = t->timeline;
    news->generation = e->role_generation;
    news->other = e->other;
    news->identifier = e->answer.system_identifier;
    news->cluster_identifier = t->system_identifier;
}

/* A role is taken anew also where a primary has another timeline, or stops or begins to count: no
 * connection from before may be written to. A role that is not known is none that was taken. */
static bool is_taken(const struct topology_endpoint *e, const struct standing *s)
{
    if (s->role == ENDPOINT_UNKNOWN)
        return false;
    return s->role != e->role || s->is_fenced != e->is_fenced || s->is_rival != e->is_rival ||
           (s->role == ENDPOINT_PRIMARY && s->timeline != e->role_timeline);
}

static void take_standing(struct topology *t, uint32_t at, const struct standing *s,
                          uint64_t *rivals_generation)
{
    struct topology_endpoint *e = &t->endpoints[at];
    const struct topology_endpoint was = *e;
    const bool is_new = is_taken(e, s);
    e->role = s->role;
    e->is_foreign = s->is_foreign;
    e->is_fenced = s->is_fenced;
    e->is_rival = s->is_rival;
    e->is_alias = s->is_alias;
    e->other = s->other;
    if (is_new) {
        e->role_generation = ++t->generations;
        if (s->is_rival)
            *rivals_generation = e->role_generation;
        e->role_timeline = s->timeline;
    }
    if (s->is_fenced && !was.is_fenced)
        tell_role(t, at, TOPOLOGY_NEWS_FENCED, was.role);
    else if (s->is_rival && !was.is_rival)
        tell_role(t, at, TOPOLOGY_NEWS_RIVALS, was.role);
    else if (s->is_foreign && !was.is_foreign)
        tell_role(t, at, TOPOLOGY_NEWS_FOREIGN, was.role);
    else if (s->is_alias && !was.is_alias)
        tell_role(t, at, TOPOLOGY_NEWS_ALIAS, was.role);
    else if (is_new)
        tell_role(t, at, TOPOLOGY_NEWS_ROLE, was.role);
    else if (s->role != was.role || s->is_alias != was.is_alias)
        t->is_urgent = true;
}

/* Rivals share a number, so that whoever compares them finds nothing to choose by. */
static void join_rivals(struct topology *t, const struct standing *standings, uint64_t generation)
{
    for (uint32_t i = 0; i < t->count && generation != 0; i++)
        if (standings[i].is_rival)
            t->endpoints[i].role_generation = generation;
}

/* A snapshot settles claims on one timeline by the generation; the primary's must be the highest,
 * also against a claimant that is down and had taken its role later. */
static void crown(struct topology *t, uint32_t primary)
{
    bool is_highest = true;
    if (t->primary == primary && primary == TOPOLOGY_NO_ENDPOINT)
        return;
    for (uint32_t i = 0; i < t->count && primary != TOPOLOGY_NO_ENDPOINT; i++)
        if (i != primary && t->endpoints[i].role == ENDPOINT_PRIMARY &&
            t->endpoints[i].role_generation >= t->endpoints[primary].role_generation)
            is_highest = false;
    if (!is_highest)
        t->endpoints[primary].role_generation = ++t->generations;
    if (t->primary != primary || !is_highest)
        t->is_urgent = true;
    t->primary = primary;
}

static void judge_service(struct topology *t, uint32_t at)
{
    struct topology_endpoint *e = &t->endpoints[at];
    const bool could_read = e->accepts_reads, could_write = e->accepts_writes;
    const bool is_primary = at == t->primary && !e->is_denied;
    e->accepts_writes = is_primary && !e->answer.is_read_only && !e->member.refuses_writes;
    e->accepts_reads = (is_primary || e->role == ENDPOINT_REPLICA) && !e->member.refuses_reads;
    if (could_read != e->accepts_reads || could_write != e->accepts_writes)
        t->is_urgent = true;
}

void topology_judge_roles(struct topology *t)
{
    struct standing standings[SNAPSHOT_ENDPOINTS_MAX] = {{.role = ENDPOINT_UNKNOWN}};
    uint64_t rivals_generation = 0;
    /* Before all were asked a stranger could be taken for one of us, or for all of us. */
    if (!t->is_open)
        return;
    settle_identity(t);
    find_standings(t, standings);
    const uint32_t primary = choose_primary(t, standings);
    for (uint32_t i = 0; i < t->count; i++)
        take_standing(t, i, &standings[i], &rivals_generation);
    join_rivals(t, standings, rivals_generation);
    crown(t, primary);
    for (uint32_t i = 0; i < t->count; i++)
        judge_service(t, i);
}
