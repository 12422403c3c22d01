/*
 * Two levels depend on facts, FULL and READ_ONLY. For each the ladder knows whether the facts bear
 * it and since when; everything else follows from that and the time. CACHED_ONLY is always borne.
 */
#include "core/degrade.h"

#include <stddef.h>

#include "base/bug.h"
#include "base/ns.h"

#define DURATION_NS_MAX HF_SEC(3600)

#define EVERYTHING (DEGRADE_BIT(DEGRADE_OPERATIONS) - 1)

/* ---- configuration ---- */

struct degrade_config degrade_config_default(void)
{
    return (struct degrade_config){
        .allowed =
            {
                [DEGRADE_FULL] = EVERYTHING,
                [DEGRADE_READ_ONLY] = DEGRADE_BIT(DEGRADE_READ) | DEGRADE_BIT(DEGRADE_CACHED_READ) |
                                      DEGRADE_BIT(DEGRADE_HEALTH),
                [DEGRADE_CACHED_ONLY] =
                    DEGRADE_BIT(DEGRADE_CACHED_READ) | DEGRADE_BIT(DEGRADE_HEALTH),
                [DEGRADE_HEALTH_ONLY] = DEGRADE_BIT(DEGRADE_HEALTH),
                [DEGRADE_MAINTENANCE] = DEGRADE_BIT(DEGRADE_ADMIN) | DEGRADE_BIT(DEGRADE_HEALTH),
            },
        .fallback =
            {
                [DEGRADE_READ_ONLY] = {[DEGRADE_WRITE] = DEGRADE_FALLBACK_WAIT},
                [DEGRADE_CACHED_ONLY] = {[DEGRADE_READ] = DEGRADE_FALLBACK_CACHE,
                                         [DEGRADE_WRITE] = DEGRADE_FALLBACK_WAIT},
            },
        .hold_down_ns = HF_SEC(1),
        .stable_ns = HF_MS(500),
        .pin_ns_max = HF_NEVER,
    };
}

static enum hf_rc check_fallbacks(const struct degrade_config *config, unsigned level,
                                  struct hf_err *err)
{
    for (unsigned op = 0; op < DEGRADE_OPERATIONS; op++) {
        const char *name = degrade_operation_name((enum degrade_operation)op);
        const char *level_name = degrade_level_name((enum degrade_level)level);
        enum degrade_fallback fallback = config->fallback[level][op];
        if ((unsigned)fallback >= DEGRADE_FALLBACKS)
            return err_set(err, HF_RC_INVALID, "22023",
                           "unknown fallback %d of operation \"%s\" at level \"%s\"", (int)fallback,
                           name, level_name);
        if (fallback != DEGRADE_FALLBACK_CACHE)
            continue;
        if (op != DEGRADE_READ)
            return err_set(err, HF_RC_INVALID, "22023",
                           "operation \"%s\" cannot be answered from a cache, only \"%s\" can",
                           name, degrade_operation_name(DEGRADE_READ));
        if (!degrade_config_allows(config, (enum degrade_level)level, DEGRADE_CACHED_READ))
            return err_set(err, HF_RC_INVALID, "22023",
                           "level \"%s\" answers reads from a cache that it does not allow",
                           level_name);
    }
    return HF_OK;
}

enum hf_rc degrade_config_check(const struct degrade_config *config, struct hf_err *err)
{
    if (config->hold_down_ns < 0 || config->hold_down_ns > DURATION_NS_MAX ||
        config->stable_ns < 0 || config->stable_ns > DURATION_NS_MAX)
        return err_set(err, HF_RC_INVALID, "22023",
                       "hold-down and stable time of the ladder must be between 0 and an hour");
    if (config->pin_ns_max <= 0)
        return err_set(err, HF_RC_INVALID, "22023",
                       "the longest time of a pinned level must be above zero");
    if (config->allowed[DEGRADE_FULL] != EVERYTHING)
        return err_set(err, HF_RC_INVALID, "22023", "level \"%s\" must allow every operation",
                       degrade_level_name(DEGRADE_FULL));
    for (unsigned level = 0; level < DEGRADE_LEVELS; level++) {
        const char *name = degrade_level_name((enum degrade_level)level);
        if ((config->allowed[level] & ~EVERYTHING) != 0)
            return err_set(err, HF_RC_INVALID, "22023", "level \"%s\" allows unknown operations",
                           name);
        if (!degrade_config_allows(config, (enum degrade_level)level, DEGRADE_HEALTH))
            return err_set(err, HF_RC_INVALID, "22023",
                           "level \"%s\" must allow health checks, or nothing could recover", name);
        if (check_fallbacks(config, level, err) != HF_OK)
            return err_while(err, "in the ladder of degradation");
    }
    return HF_OK;
}

/* ---- the level by health ---- */

static void set_bears(struct degrade *d, enum degrade_level level, bool bears)
{
    if (d->bears[level] == bears)
        return;
    d->bears[level] = bears;
    d->since_ns[level] = d->now_ns;
}

/* When the facts, if they stay, will have lasted long enough to leave this level downwards, or to
 * climb to it. */
static int64_t fall_ns(const struct degrade *d, enum degrade_level level)
{
    if (level >= DEGRADE_CACHED_ONLY || d->bears[level])
        return HF_NEVER;
    return ns_add(d->since_ns[level], d->config.hold_down_ns);
}

static int64_t rise_ns(const struct degrade *d, enum degrade_level level)
{
    if (!d->bears[level])
        return HF_NEVER;
    return ns_add(d->since_ns[level], d->config.stable_ns);
}

static enum degrade_level level_by_health(const struct degrade *d)
{
    enum degrade_level level = d->by_health;
    while (fall_ns(d, level) <= d->now_ns)
        ++level;
    for (enum degrade_level better = DEGRADE_FULL; better < level; better++)
        if (rise_ns(d, better) <= d->now_ns)
            return better;
    return level;
}

static int64_t due_by_health(const struct degrade *d)
{
    int64_t due = fall_ns(d, d->by_health);
    for (enum degrade_level better = DEGRADE_FULL; better < d->by_health; better++)
        due = ns_min(due, rise_ns(d, better));
    return due;
}

/* ---- feeding ---- */

void degrade_init(struct degrade *d, const struct degrade_config *config, int64_t now_ns)
{
    *d = (struct degrade){
        .config = *config,
        .now_ns = now_ns,
        .pinned_until_ns = HF_NEVER,
        .primary_usable = true,
        .readers_usable = true,
        .bears = {true, true},
        .since_ns = {now_ns, now_ns},
        .reason = {.last = {.at_ns = now_ns},
                   .due_ns = HF_NEVER,
                   .pinned_until_ns = HF_NEVER,
                   .primary_usable = true,
                   .readers_usable = true},
    };
}

/* Takes the event in; returns the cause that a change would have because of it. */
static enum degrade_cause take_in(struct degrade *d, const struct degrade_event *event)
{
    switch (event->kind) {
    case DEGRADE_EV_HEALTH:
        d->primary_usable = event->primary_usable;
        d->readers_usable = event->readers_usable;
        set_bears(d, DEGRADE_FULL, event->primary_usable);
        set_bears(d, DEGRADE_READ_ONLY, event->primary_usable || event->readers_usable);
        return DEGRADE_CAUSE_NONE;
    case DEGRADE_EV_PIN:
        hf_assert((unsigned)event->level < DEGRADE_LEVELS);
        d->is_pinned = true;
        d->pinned = event->level;
        d->pinned_until_ns = ns_min(event->until_ns, ns_add(d->now_ns, d->config.pin_ns_max));
        return DEGRADE_CAUSE_PINNED;
    case DEGRADE_EV_UNPIN:
        d->is_pinned = false;
        d->pinned_until_ns = HF_NEVER;
        return DEGRADE_CAUSE_UNPINNED;
    case DEGRADE_EV_TICK:
        break;
    }
    return DEGRADE_CAUSE_NONE;
}

static void move_to(struct degrade *d, enum degrade_level level, enum degrade_cause cause)
{
    if (level == d->level)
        return;
    if (cause == DEGRADE_CAUSE_NONE)
        cause = level > d->level ? DEGRADE_CAUSE_LOST : DEGRADE_CAUSE_RECOVERED;
    struct degrade_change *change = &d->history[d->changes++ % DEGRADE_HISTORY];
    *change =
        (struct degrade_change){.at_ns = d->now_ns, .from = d->level, .to = level, .cause = cause};
    d->level = level;
    d->reason.last = *change;
}

static void explain(struct degrade *d)
{
    struct degrade_reason *reason = &d->reason;
    reason->level = d->level;
    reason->by_health = d->by_health;
    reason->due_ns = degrade_deadline(d);
    reason->is_pinned = d->is_pinned;
    reason->pinned_until_ns = d->pinned_until_ns;
    reason->primary_usable = d->primary_usable;
    reason->readers_usable = d->readers_usable;
}

void degrade_feed(struct degrade *d, const struct degrade_event *event)
{
    if (event->now_ns >= d->now_ns)
        d->now_ns = event->now_ns;
    else
        ++d->time_backwards;
    enum degrade_cause cause = take_in(d, event);
    if (d->is_pinned && d->now_ns >= d->pinned_until_ns) {
        d->is_pinned = false;
        d->pinned_until_ns = HF_NEVER;
        cause = DEGRADE_CAUSE_PIN_ENDED;
    }
    d->by_health = level_by_health(d);
    move_to(d, d->is_pinned ? d->pinned : d->by_health, cause);
    explain(d);
}

/* ---- asking ---- */

bool degrade_next(struct degrade *d, struct degrade_change *change)
{
    if (d->taken == d->changes)
        return false;
    if (d->changes - d->taken > DEGRADE_HISTORY)
        d->taken = d->changes - DEGRADE_HISTORY;
    *change = d->history[d->taken++ % DEGRADE_HISTORY];
    return true;
}

int64_t degrade_deadline(const struct degrade *d)
{
    return ns_min(due_by_health(d), d->pinned_until_ns);
}

const struct degrade_reason *degrade_reason(const struct degrade *d)
{
    return &d->reason;
}

const struct degrade_change *degrade_history(const struct degrade *d, uint32_t back)
{
    if (back >= d->changes || back >= DEGRADE_HISTORY)
        return NULL;
    return &d->history[(d->changes - 1 - back) % DEGRADE_HISTORY];
}

/* ---- names ---- */

const char *degrade_level_name(enum degrade_level level)
{
    static const char *const names[] = {"full", "read_only", "cached_only", "health_only",
                                        "maintenance"};
    _Static_assert(sizeof names / sizeof names[0] == DEGRADE_LEVELS, "a name for each level");
    hf_assert((unsigned)level < DEGRADE_LEVELS);
    return names[level];
}

const char *degrade_operation_name(enum degrade_operation operation)
{
    static const char *const names[] = {"read", "write", "cached_read", "admin", "health"};
    _Static_assert(sizeof names / sizeof names[0] == DEGRADE_OPERATIONS, "a name for each one");
    hf_assert((unsigned)operation < DEGRADE_OPERATIONS);
    return names[operation];
}

const char *degrade_fallback_name(enum degrade_fallback fallback)
{
    static const char *const names[] = {"refuse", "cache", "wait"};
    _Static_assert(sizeof names / sizeof names[0] == DEGRADE_FALLBACKS, "a name for each one");
    hf_assert((unsigned)fallback < DEGRADE_FALLBACKS);
    return names[fallback];
}

const char *degrade_cause_name(enum degrade_cause cause)
{
    static const char *const names[] = {"none",   "lost",     "recovered",
                                        "pinned", "unpinned", "pin_ended"};
    _Static_assert(sizeof names / sizeof names[0] == DEGRADE_CAUSES, "a name for each cause");
    hf_assert((unsigned)cause < DEGRADE_CAUSES);
    return names[cause];
}
