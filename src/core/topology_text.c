#include <inttypes.h>
#include <stdio.h>

#include "base/bug.h"
#include "core/topology_int.h"

const char *topology_why_text(enum topology_why why)
{
    static const char *const texts[] = {
        [TOPOLOGY_WHY_NONE] = "all is well",
        [TOPOLOGY_WHY_UNASKED] = "it was not asked yet",
        [TOPOLOGY_WHY_SILENT] = "it does not answer",
        [TOPOLOGY_WHY_REFUSED] = "it takes no connections",
        [TOPOLOGY_WHY_BLIND] = "it is alive, but lets the watcher not ask",
        [TOPOLOGY_WHY_ACCUSED] = "calls have failed there",
        [TOPOLOGY_WHY_CORRUPT] = "a call met corrupt data there",
        [TOPOLOGY_WHY_DAMPED] = "it is back, and watched for a while before it is trusted",
        [TOPOLOGY_WHY_FENCED] =
            "it claims to be the primary on a timeline that the cluster has left",
        [TOPOLOGY_WHY_RIVAL] = "another one claims to be the primary on the same timeline",
        [TOPOLOGY_WHY_DENIED] = "it has just refused a write",
        [TOPOLOGY_WHY_FOREIGN] = "it belongs to another cluster",
        [TOPOLOGY_WHY_ALIAS] = "it is the same server as another endpoint",
        [TOPOLOGY_WHY_READ_ONLY] = "its settings make transactions read-only",
        [TOPOLOGY_WHY_DRAINED] = "it was drained by hand",
        [TOPOLOGY_WHY_REMOVED] = "it is no member any more",
    };
    hf_assert((unsigned)why < TOPOLOGY_WHYS);
    return texts[why];
}

enum topology_why topology_why_not(const struct topology_endpoint *e)
{
    if (!e->is_member)
        return TOPOLOGY_WHY_REMOVED;
    if (e->is_foreign)
        return TOPOLOGY_WHY_FOREIGN;
    if (e->health == ENDPOINT_DOWN)
        return e->why;
    if (e->is_fenced)
        return TOPOLOGY_WHY_FENCED;
    if (e->is_rival)
        return TOPOLOGY_WHY_RIVAL;
    if (e->is_alias)
        return TOPOLOGY_WHY_ALIAS;
    if (e->is_drained)
        return TOPOLOGY_WHY_DRAINED;
    if (e->is_denied)
        return TOPOLOGY_WHY_DENIED;
    if (e->role == ENDPOINT_PRIMARY && e->answer.is_read_only)
        return TOPOLOGY_WHY_READ_ONLY;
    return e->why;
}

static const char *name_of(const struct topology *t, uint32_t endpoint)
{
    return endpoint < t->count ? t->endpoints[endpoint].member.name : "somebody";
}

/* What the last question met, where that says more than "it does not answer". */
static void text_of_health(const struct topology *t, const struct topology_action *news, char *out,
                           uint32_t size)
{
    const char *name = name_of(t, news->endpoint);
    const char *is = endpoint_health_name(news->health);
    const bool has_outcome = news->why == TOPOLOGY_WHY_SILENT ||
                             news->why == TOPOLOGY_WHY_REFUSED || news->why == TOPOLOGY_WHY_BLIND;
    if (news->why == TOPOLOGY_WHY_NONE)
        snprintf(out, size, "%s is up (%s)", name, endpoint_role_name(news->role));
    else if (has_outcome && news->outcome.code != OUTCOME_SUCCESS)
        snprintf(out, size, "%s is %s: %s: %s", name, is, topology_why_text(news->why),
                 outcome_rule(news->outcome)->sentence);
    else
        snprintf(out, size, "%s is %s: %s", name, is, topology_why_text(news->why));
}

static void text_of_role(const struct topology *t, const struct topology_action *news, char *out,
                         uint32_t size)
{
    const char *name = name_of(t, news->endpoint);
    char was[32] = "";
    if (news->old_role != ENDPOINT_UNKNOWN && news->old_role != news->role)
        snprintf(was, sizeof was, ", was %s", endpoint_role_name(news->old_role));
    snprintf(out, size, "%s is %s %s, on timeline %" PRIu32 "%s", name,
             news->role == ENDPOINT_PRIMARY ? "the" : "a", endpoint_role_name(news->role),
             news->timeline, was);
}

void topology_text(const struct topology *t, const struct topology_action *news, char *out,
                   uint32_t size)
{
    const char *name = name_of(t, news->endpoint);
    const char *other = name_of(t, news->other);
    switch (news->kind) {
    case TOPOLOGY_ACT_PUBLISH:
        snprintf(out, size, "a snapshot is due");
        return;
    case TOPOLOGY_ACT_ASK:
        snprintf(out, size, "%s is asked now", name);
        return;
    case TOPOLOGY_NEWS_ADDED:
        snprintf(out, size, "%s is a member now", name);
        return;
    case TOPOLOGY_NEWS_REMOVED:
        snprintf(out, size, "%s is no member any more", name);
        return;
    case TOPOLOGY_NEWS_UP:
    case TOPOLOGY_NEWS_SUSPECT:
    case TOPOLOGY_NEWS_DOWN:
        text_of_health(t, news, out, size);
        return;
    case TOPOLOGY_NEWS_ROLE:
        text_of_role(t, news, out, size);
        return;
    case TOPOLOGY_NEWS_FENCED:
        snprintf(out, size,
                 "%s is fenced: it claims to be the primary on timeline %" PRIu32
                 ", the cluster is on %" PRIu32,
                 name, news->timeline, news->cluster_timeline);
        return;
    case TOPOLOGY_NEWS_RIVALS:
        snprintf(out, size,
                 "%s and %s both claim to be the primary on timeline %" PRIu32
                 ": neither is written to until one is gone",
                 name, other, news->timeline);
        return;
    case TOPOLOGY_NEWS_FOREIGN:
        snprintf(out, size,
                 "%s is refused: its system identifier is %" PRIu64 ", the cluster's is %" PRIu64,
                 name, news->identifier, news->cluster_identifier);
        return;
    case TOPOLOGY_NEWS_ALIAS:
        snprintf(out, size, "%s is the same server as %s, and is not used", name, other);
        return;
    case TOPOLOGY_NEWS_CORRUPT:
        snprintf(out, size, "%s has corrupt data: look at its log, and replace it", name);
        return;
    case TOPOLOGY_NEWS_LEVEL:
        snprintf(out, size, "the level is %s, was %s: %s", degrade_level_name(news->change.to),
                 degrade_level_name(news->change.from), degrade_cause_name(news->change.cause));
        return;
    case TOPOLOGY_NEWS_LOST:
        snprintf(out, size, "%" PRIu64 " pieces of news were lost", news->count);
        return;
    }
}
