/*
 * Events in, and health. Roles, which need all endpoints at once, are worked out in topology_role.c
 * after each event.
 */
#include "core/topology.h"

#include <string.h>

#include "base/bits.h"
#include "base/bug.h"
#include "core/topology_int.h"

#define DURATION_NS_MAX HF_SEC(86400)
#define DOUBLINGS_MAX   8 /* of steady_ns */

#define BIT(endpoint) (UINT32_C(1) << (endpoint))

/* ---- configuration ---- */

static int64_t or_default(int64_t value, int64_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static bool is_unset(const struct degrade_config *ladder)
{
    return ladder->allowed[DEGRADE_FULL] == 0;
}

enum hf_rc topology_config_check(const struct topology_config *config, struct hf_err *err)
{
    const struct {
        const char *name;
        int64_t ns;
    } durations[] = {
        {"interval", config->interval_ns}, {"down", config->down_ns},
        {"steady", config->steady_ns},     {"steady_max", config->steady_ns_max},
        {"flap", config->flap_ns},         {"distrust", config->distrust_ns},
        {"warm_up", config->warm_up_ns},   {"first_round", config->first_round_ns},
    };
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++)
        if (durations[i].ns < 0 || durations[i].ns > DURATION_NS_MAX) {
            err_set(err, HF_RC_INVALID, "22023", "the duration \"%s\" of watching is impossible",
                    durations[i].name);
            return err_detail(err, "It can be 0, for the default, to one day.");
        }
    return is_unset(&config->degrade) ? HF_OK : degrade_config_check(&config->degrade, err);
}

void topology_init(struct topology *t, const struct topology_config *config, int64_t now_ns)
{
    memset(t, 0, sizeof *t);
    t->config = (struct topology_config){
        .interval_ns = or_default(config->interval_ns, SNAPSHOT_INTERVAL_NS),
        .down_ns = or_default(config->down_ns, HF_SEC(1)),
        .steady_ns = or_default(config->steady_ns, HF_MS(200)),
        .steady_ns_max = or_default(config->steady_ns_max, HF_SEC(10)),
        .flap_ns = or_default(config->flap_ns, HF_SEC(60)),
        .distrust_ns = or_default(config->distrust_ns, HF_SEC(300)),
        .warm_up_ns = config->warm_up_ns,
        .first_round_ns = or_default(config->first_round_ns, HF_MS(300)),
        .accusations = config->accusations != 0 ? config->accusations : 2,
        .system_identifier = config->system_identifier,
        .degrade = is_unset(&config->degrade) ? degrade_config_default() : config->degrade,
    };
    t->now_ns = t->began_at_ns = t->filled_at_ns = ns_max(now_ns, 0);
    degrade_init(&t->degrade, &t->config.degrade, t->now_ns);
    snapshot_init(&t->draft);
    t->primary = TOPOLOGY_NO_ENDPOINT;
    t->system_identifier = config->system_identifier;
    t->is_identity_settled = config->system_identifier != 0;
    t->last.endpoint = TOPOLOGY_NO_ENDPOINT;
}

/* ---- news ---- */

struct topology_action *topology_tell(struct topology *t, enum topology_action_kind kind,
                                      uint32_t endpoint)
{
    if (t->news_count == TOPOLOGY_NEWS) {
        t->news_first = (t->news_first + 1) % TOPOLOGY_NEWS;
        --t->news_count;
        ++t->lost;
    }
    struct topology_action *news = &t->news[(t->news_first + t->news_count++) % TOPOLOGY_NEWS];
    *news = (struct topology_action){
        .kind = kind, .at_ns = t->now_ns, .endpoint = endpoint, .other = TOPOLOGY_NO_ENDPOINT};
    if (endpoint != TOPOLOGY_NO_ENDPOINT)
        news->health = t->endpoints[endpoint].health;
    t->is_urgent = true;
    return news;
}

static void tell_health(struct topology *t, uint32_t at, enum endpoint_health was)
{
    static const enum topology_action_kind kinds[] = {
        [ENDPOINT_DOWN] = TOPOLOGY_NEWS_DOWN,
        [ENDPOINT_SUSPECT] = TOPOLOGY_NEWS_SUSPECT,
        [ENDPOINT_UP] = TOPOLOGY_NEWS_UP,
    };
    const struct topology_endpoint *e = &t->endpoints[at];
    struct topology_action *news = topology_tell(t, kinds[e->health], at);
    news->was = was;
    news->role = e->role;
    news->why = e->why;
    news->outcome = e->outcome;
}

/* ---- health ---- */

static int64_t needed_steadiness(const struct topology *t, const struct topology_endpoint *e)
{
    int64_t needed_ns = t->config.steady_ns;
    for (uint32_t fall = 1; fall < e->falls && fall <= DOUBLINGS_MAX; fall++)
        needed_ns = ns_add(needed_ns, needed_ns);
    return ns_min(needed_ns, t->config.steady_ns_max);
}

static void set_health(struct topology *t, uint32_t at, enum endpoint_health health,
                       enum topology_why why)
{
    struct topology_endpoint *e = &t->endpoints[at];
    const enum endpoint_health was = e->health;
    e->why = why;
    if (was == health)
        return;
    e->health = health;
    if (health == ENDPOINT_DOWN) {
        /* A fall from suspicion that it came back with is the same fall, or a quick next one. */
        const bool is_close = e->falls > 0 && t->now_ns - e->fell_at_ns < t->config.flap_ns;
        e->falls = is_close ? e->falls + 1 : 1;
        e->fell_at_ns = t->now_ns;
        e->was_down = true;
        e->steady_since_ns = 0;
    } else if (was == ENDPOINT_DOWN && e->was_down) {
        e->returned_at_ns = t->now_ns;
    }
    if (health == ENDPOINT_UP)
        e->was_down = false;
    tell_health(t, at, was);
}

/* What an endpoint that answers is: up, or why not yet. */
static void judge_answering(struct topology *t, uint32_t at)
{
    struct topology_endpoint *e = &t->endpoints[at];
    enum topology_why why = TOPOLOGY_WHY_NONE;
    if (t->now_ns < e->distrust_until_ns)
        why = TOPOLOGY_WHY_CORRUPT;
    else if (e->accusations >= t->config.accusations)
        why = TOPOLOGY_WHY_ACCUSED;
    else if (e->was_down && t->now_ns - e->steady_since_ns < needed_steadiness(t, e))
        why = TOPOLOGY_WHY_DAMPED;
    set_health(t, at, why == TOPOLOGY_WHY_NONE ? ENDPOINT_UP : ENDPOINT_SUSPECT, why);
}

/* What an endpoint that is silent is: suspect, or down for certain. */
static void judge_silent(struct topology *t, uint32_t at)
{
    struct topology_endpoint *e = &t->endpoints[at];
    const bool is_dead = e->silences > 0 && t->now_ns - e->alive_at_ns >= t->config.down_ns;
    if (e->health == ENDPOINT_DOWN)
        return;
    if (is_dead)
        set_health(t, at, ENDPOINT_DOWN, TOPOLOGY_WHY_SILENT);
    else
        set_health(t, at, ENDPOINT_SUSPECT, e->is_blind ? TOPOLOGY_WHY_BLIND : TOPOLOGY_WHY_SILENT);
}

/* ---- events ---- */

/* What was once seen of a promotion stays true of its timeline, though the connection that saw it
 * is gone. */
static void keep_promotion(struct topology_answer *answer, const struct topology_answer *before)
{
    if (answer->left_timeline != 0 || answer->is_in_recovery ||
        answer->timeline != before->timeline)
        return;
    answer->left_timeline = before->left_timeline;
    answer->left_lsn = before->left_lsn;
}

static void feed_answer(struct topology *t, uint32_t at, const struct topology_answer *answer)
{
    struct topology_endpoint *e = &t->endpoints[at];
    const int64_t asked_ns = ns_min(ns_max(answer->asked_at_ns, 0), t->now_ns);
    if (e->has_answer && asked_ns < e->answer.asked_at_ns) {
        ++t->ignored;
        return;
    }
    const bool is_first = !e->has_answer;
    const struct topology_answer before = e->answer;
    e->answer = *answer;
    keep_promotion(&e->answer, &before);
    e->answer.asked_at_ns = asked_ns;
    e->was_asked = e->has_answer = true;
    e->alive_at_ns = t->now_ns;
    e->silences = 0;
    e->is_blind = false;
    if (e->steady_since_ns == 0)
        e->steady_since_ns = t->now_ns;
    if (is_first && t->is_open)
        e->was_down = true; /* a newcomer, or not there when the others were */
    if (e->is_denied && asked_ns > e->denied_at_ns)
        e->is_denied = false;
    if (e->accusations > 0 && asked_ns > ns_add(e->accused_at_ns, t->config.interval_ns))
        e->accusations = 0;
    judge_answering(t, at);
    t->is_dirty = true;
}

/* Alive or not, by what the failed question met. Nothing listening, and a server that says itself
 * that it is starting or stopping, are certain; all else may be a matter of the moment. */
static void feed_silence(struct topology *t, uint32_t at, struct outcome outcome)
{
    struct topology_endpoint *e = &t->endpoints[at];
    const enum outcome_endpoint says = outcome_rule(outcome)->endpoint;
    e->was_asked = true;
    e->outcome = outcome;
    e->steady_since_ns = 0;
    if (outcome.code == OUTCOME_CONNECT_REFUSED || says == OUTCOME_EP_DOWN) {
        ++e->silences;
        e->is_blind = false;
        set_health(t, at, ENDPOINT_DOWN, TOPOLOGY_WHY_REFUSED);
        return;
    }
    e->is_blind =
        says == OUTCOME_EP_ALIVE || says == OUTCOME_EP_OVERLOADED || says == OUTCOME_EP_NOTHING;
    if (says == OUTCOME_EP_ALIVE || says == OUTCOME_EP_OVERLOADED) {
        e->alive_at_ns = t->now_ns;
        e->silences = 0;
        /* It keeps what was known of it; if that is nothing, it may as well be down. */
        set_health(t, at, e->has_answer ? ENDPOINT_SUSPECT : ENDPOINT_DOWN, TOPOLOGY_WHY_BLIND);
        return;
    }
    ++e->silences;
    if (!e->has_answer)
        e->why = e->is_blind ? TOPOLOGY_WHY_BLIND : TOPOLOGY_WHY_SILENT;
    judge_silent(t, at);
}

static void accuse(struct topology *t, uint32_t at)
{
    struct topology_endpoint *e = &t->endpoints[at];
    if (e->accusations > 0 && t->now_ns - e->accused_at_ns > t->config.down_ns)
        e->accusations = 0;
    ++e->accusations;
    e->accused_at_ns = t->now_ns;
    if (e->accusations >= t->config.accusations && e->health == ENDPOINT_UP)
        set_health(t, at, ENDPOINT_SUSPECT, TOPOLOGY_WHY_ACCUSED);
}

static void distrust(struct topology *t, uint32_t at)
{
    struct topology_endpoint *e = &t->endpoints[at];
    if (t->now_ns >= e->distrust_until_ns)
        topology_tell(t, TOPOLOGY_NEWS_CORRUPT, at);
    e->distrust_until_ns = ns_add(t->now_ns, t->config.distrust_ns);
    if (e->health == ENDPOINT_UP)
        set_health(t, at, ENDPOINT_SUSPECT, TOPOLOGY_WHY_CORRUPT);
}

static void feed_evidence(struct topology *t, uint32_t at, enum outcome_endpoint evidence)
{
    struct topology_endpoint *e = &t->endpoints[at];
    switch (evidence) {
    case OUTCOME_EP_NOTHING:
        return;
    case OUTCOME_EP_ALIVE:
        /* Life is proved; that the watcher may ask again is not. */
        if (e->health != ENDPOINT_DOWN)
            e->alive_at_ns = t->now_ns;
        return;
    case OUTCOME_EP_PROBE:
        break;
    case OUTCOME_EP_SUSPECT:
        accuse(t, at);
        break;
    case OUTCOME_EP_OVERLOADED:
        /* "Give it less": the same slow growth of its share as after a return. */
        e->returned_at_ns = t->now_ns;
        return;
    case OUTCOME_EP_NOT_PRIMARY:
        if (e->role == ENDPOINT_PRIMARY) {
            e->is_denied = true;
            e->denied_at_ns = t->now_ns;
        }
        break;
    case OUTCOME_EP_DOWN:
        set_health(t, at, ENDPOINT_DOWN, TOPOLOGY_WHY_REFUSED);
        break;
    case OUTCOME_EP_CORRUPT:
        distrust(t, at);
        return;
    }
    t->to_ask |= BIT(at);
}

/* The place of a name that was here before, a new one, or one that has been empty for long. */
static uint32_t find_place(const struct topology *t, const char *name)
{
    uint32_t oldest = TOPOLOGY_NO_ENDPOINT;
    for (uint32_t i = 0; i < t->count; i++)
        if (strncmp(t->endpoints[i].member.name, name, SNAPSHOT_NAME_BYTES) == 0)
            return i;
    if (t->count < SNAPSHOT_ENDPOINTS_MAX)
        return t->count;
    for (uint32_t i = 0; i < t->count; i++) {
        const struct topology_endpoint *e = &t->endpoints[i];
        if (!e->is_member && t->now_ns - e->removed_at_ns >= TOPOLOGY_REUSE_NS &&
            (oldest == TOPOLOGY_NO_ENDPOINT ||
             e->removed_at_ns < t->endpoints[oldest].removed_at_ns))
            oldest = i;
    }
    return oldest;
}

static bool is_proper(const struct topology_member *member)
{
    return member->name[0] != '\0' && memchr(member->name, '\0', sizeof member->name) != NULL &&
           member->weight <= SNAPSHOT_WEIGHT_MAX && member->zone < SNAPSHOT_ZONES_MAX;
}

static void feed_add(struct topology *t, const struct topology_member *member)
{
    const uint32_t at = is_proper(member) ? find_place(t, member->name) : TOPOLOGY_NO_ENDPOINT;
    if (at == TOPOLOGY_NO_ENDPOINT || (at < t->count && t->endpoints[at].is_member)) {
        ++t->ignored;
        return;
    }
    struct topology_endpoint *e = &t->endpoints[at];
    const uint32_t incarnation = at < t->count ? e->incarnation + 1 : 1;
    *e = (struct topology_endpoint){
        .member = *member,
        .is_member = true,
        .incarnation = incarnation,
        .why = TOPOLOGY_WHY_UNASKED,
        .other = TOPOLOGY_NO_ENDPOINT,
        .lag_ns = HF_NEVER,
        .lag_bytes = UINT64_MAX,
    };
    if (e->member.weight == 0)
        e->member.weight = 1;
    if (at == t->count)
        ++t->count;
    topology_tell(t, TOPOLOGY_NEWS_ADDED, at);
}

static void feed_remove(struct topology *t, uint32_t at)
{
    struct topology_endpoint *e = &t->endpoints[at];
    const struct topology_member member = e->member;
    const uint32_t incarnation = e->incarnation;
    topology_tell(t, TOPOLOGY_NEWS_REMOVED, at)->role = e->role;
    *e = (struct topology_endpoint){
        .member = member,
        .incarnation = incarnation,
        .why = TOPOLOGY_WHY_REMOVED,
        .other = TOPOLOGY_NO_ENDPOINT,
        .removed_at_ns = t->now_ns,
        .lag_ns = HF_NEVER,
        .lag_bytes = UINT64_MAX,
    };
    t->to_ask &= ~BIT(at);
}

static void feed_drain(struct topology *t, uint32_t at, bool is_on)
{
    struct topology_endpoint *e = &t->endpoints[at];
    if (e->is_drained == is_on)
        return;
    e->is_drained = is_on;
    if (!is_on)
        e->returned_at_ns = t->now_ns;
    t->is_urgent = true;
}

static void feed_member_event(struct topology *t, const struct topology_event *event)
{
    const uint32_t at = event->endpoint;
    if (at >= t->count || !t->endpoints[at].is_member) {
        ++t->ignored;
        return;
    }
    if (event->kind == TOPOLOGY_EV_REMOVE)
        feed_remove(t, at);
    else if (event->kind == TOPOLOGY_EV_ANSWER)
        feed_answer(t, at, event->answer);
    else if (event->kind == TOPOLOGY_EV_SILENCE)
        feed_silence(t, at, event->outcome);
    else if (event->kind == TOPOLOGY_EV_EVIDENCE)
        feed_evidence(t, at, event->evidence);
    else
        feed_drain(t, at, event->is_on);
}

/* ---- what follows from all of it ---- */

/* The first snapshot waits for everybody, but not long: a server that is dead answers nobody, and
 * one that answers late may turn out to be the primary of a newer timeline. */
static void open_when_known(struct topology *t)
{
    bool is_complete = t->count > 0, is_any = false;
    if (t->is_open)
        return;
    for (uint32_t i = 0; i < t->count; i++) {
        is_complete = is_complete && (!t->endpoints[i].is_member || t->endpoints[i].was_asked);
        is_any = is_any || t->endpoints[i].has_answer;
    }
    const bool is_late = t->now_ns - t->began_at_ns >= t->config.first_round_ns;
    t->is_open = is_complete || (is_any && is_late);
}

static void judge_over_time(struct topology *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (t->endpoints[i].is_member && t->endpoints[i].silences > 0)
            judge_silent(t, i);
}

static void feed_ladder(struct topology *t, const struct topology_event *event)
{
    struct degrade_event step = {.kind = DEGRADE_EV_TICK, .now_ns = t->now_ns};
    struct degrade_change change;
    if (event->kind == TOPOLOGY_EV_PIN || event->kind == TOPOLOGY_EV_UNPIN) {
        step.kind = event->kind == TOPOLOGY_EV_PIN ? DEGRADE_EV_PIN : DEGRADE_EV_UNPIN;
        step.level = event->level;
        step.until_ns = event->until_ns;
    } else if (t->is_open) {
        step.kind = DEGRADE_EV_HEALTH;
        for (uint32_t i = 0; i < t->count; i++) {
            const struct topology_endpoint *e = &t->endpoints[i];
            const bool is_usable = topology_is_live(e) && !e->is_drained;
            step.primary_usable = step.primary_usable || (is_usable && e->accepts_writes);
            step.readers_usable = step.readers_usable ||
                                  (is_usable && e->accepts_reads && e->role == ENDPOINT_REPLICA);
        }
    }
    degrade_feed(&t->degrade, &step);
    while (degrade_next(&t->degrade, &change))
        topology_tell(t, TOPOLOGY_NEWS_LEVEL, TOPOLOGY_NO_ENDPOINT)->change = change;
}

void topology_feed(struct topology *t, const struct topology_event *event)
{
    if (event->now_ns < t->now_ns)
        ++t->time_backwards;
    t->now_ns = ns_max(t->now_ns, event->now_ns);
    switch (event->kind) {
    case TOPOLOGY_EV_ADD:
        feed_add(t, event->member);
        break;
    case TOPOLOGY_EV_REMOVE:
    case TOPOLOGY_EV_ANSWER:
    case TOPOLOGY_EV_SILENCE:
    case TOPOLOGY_EV_EVIDENCE:
    case TOPOLOGY_EV_DRAIN:
        feed_member_event(t, event);
        break;
    case TOPOLOGY_EV_PIN:
    case TOPOLOGY_EV_UNPIN:
    case TOPOLOGY_EV_TICK:
        break;
    }
    open_when_known(t);
    judge_over_time(t);
    topology_judge_roles(t);
    if (event->kind == TOPOLOGY_EV_ANSWER && event->endpoint == t->primary)
        topology_sample(t, event->endpoint);
    feed_ladder(t, event);
}

/* ---- actions ---- */

/* News of positions alone need not reach callers at once. */
static int64_t publish_due(const struct topology *t)
{
    if (!t->is_open)
        return HF_NEVER;
    if (t->is_urgent)
        return t->now_ns;
    return t->is_dirty ? ns_add(t->filled_at_ns, t->config.interval_ns / 4) : HF_NEVER;
}

bool topology_next(struct topology *t, struct topology_action *action)
{
    if (publish_due(t) <= t->now_ns) {
        /* Until the next change it is ordered once, whether the driver fills or not. */
        t->is_urgent = t->is_dirty = false;
        t->filled_at_ns = t->now_ns;
        *action = (struct topology_action){
            .kind = TOPOLOGY_ACT_PUBLISH, .at_ns = t->now_ns, .endpoint = TOPOLOGY_NO_ENDPOINT};
        return true;
    }
    if (t->to_ask != 0) {
        const uint32_t at = bits_lowest(t->to_ask);
        t->to_ask &= ~BIT(at);
        *action =
            (struct topology_action){.kind = TOPOLOGY_ACT_ASK, .at_ns = t->now_ns, .endpoint = at};
        return true;
    }
    if (t->lost > 0) {
        *action = (struct topology_action){.kind = TOPOLOGY_NEWS_LOST,
                                           .at_ns = t->now_ns,
                                           .endpoint = TOPOLOGY_NO_ENDPOINT,
                                           .count = t->lost};
        t->lost = 0;
        return true;
    }
    if (t->news_count == 0)
        return false;
    *action = t->news[t->news_first];
    t->news_first = (t->news_first + 1) % TOPOLOGY_NEWS;
    --t->news_count;
    t->last = *action;
    return true;
}

int64_t topology_deadline(const struct topology *t)
{
    int64_t due_ns = ns_min(degrade_deadline(&t->degrade), publish_due(t));
    if (!t->is_open && t->count > 0)
        due_ns = ns_min(due_ns, ns_add(t->began_at_ns, t->config.first_round_ns));
    for (uint32_t i = 0; i < t->count; i++) {
        const struct topology_endpoint *e = &t->endpoints[i];
        if (e->is_member && e->health != ENDPOINT_DOWN && e->silences > 0)
            due_ns = ns_min(due_ns, ns_add(e->alive_at_ns, t->config.down_ns));
    }
    return due_ns;
}

const struct topology_action *topology_reason(const struct topology *t)
{
    return &t->last;
}

uint32_t topology_find(const struct topology *t, const char *name)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (t->endpoints[i].is_member &&
            strncmp(t->endpoints[i].member.name, name, SNAPSHOT_NAME_BYTES) == 0)
            return i;
    return TOPOLOGY_NO_ENDPOINT;
}
