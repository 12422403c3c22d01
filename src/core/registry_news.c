/*
 * The news: gathered from everybody, put in the order of time, kept in one ring. A change has a
 * number, the first is 1; number n stands in place n % changes_max until n + changes_max is written
 * over it.
 */
#include "core/registry.h"

#include <string.h>

#include "base/bug.h"
#include "base/ns.h"
#include "core/registry_int.h"

/* How long no name must have overflowed before that is news. */
#define CALM_NS HF_SEC(10)

static struct registry_change *change_number(const struct registry *r, uint64_t number)
{
    return &r->changes[number % r->config.changes_max];
}

struct registry_change *registry_append(struct registry *r, enum registry_news news, int64_t at_ns)
{
    struct registry_change *change = change_number(r, ++r->stats.changes);
    memset(change, 0, sizeof *change);
    change->number = r->stats.changes;
    change->at_ns = at_ns;
    change->news = news;
    return change;
}

static struct registry_change *append_of(struct registry *r, enum registry_news news, int64_t at_ns,
                                         const struct registry_entry *entry)
{
    struct registry_change *change = registry_append(r, news, at_ns);
    change->kind = entry->kind;
    memcpy(change->name, entry->name, sizeof change->name);
    return change;
}

void registry_gather(struct registry *r, struct registry_entry *entry)
{
    struct breaker_change was;
    if (breaker_generation(entry->breaker) == entry->cursor)
        return;
    while (breaker_changes_next(entry->breaker, &entry->cursor, &was)) {
        struct registry_change *change = append_of(r, REGISTRY_BREAKER_CHANGED, was.at_ns, entry);
        change->missed = was.missed;
        change->breaker = was;
    }
}

static void look_at_bulkhead(struct registry *r, struct registry_entry *entry, int64_t now_ns)
{
    uint32_t in_use = bulkhead_in_use(entry->bulkhead), limit = bulkhead_limit(entry->bulkhead);
    bool is_full = in_use >= limit;
    bool was_otherwise = entry->was_otherwise;
    entry->was_otherwise = is_full != entry->is_full;
    if (!was_otherwise || !entry->was_otherwise)
        return;
    entry->is_full = is_full;
    entry->was_otherwise = false;
    struct registry_change *change =
        append_of(r, is_full ? REGISTRY_BULKHEAD_FULL : REGISTRY_BULKHEAD_FREE, now_ns, entry);
    change->bulkhead.in_use = in_use;
    change->bulkhead.limit = limit;
}

static void look_at_overflow(struct registry *r, struct registry_shelf *shelf, int64_t now_ns)
{
    uint64_t count = shelf->overflowed - shelf->overflowed_before;
    shelf->overflowed_before = shelf->overflowed;
    if (count > 0)
        shelf->overflowed_at_ns = now_ns;
    bool is_over = now_ns - shelf->overflowed_at_ns >= CALM_NS;
    if (shelf->is_overflowing ? !is_over : count == 0)
        return;
    shelf->is_overflowing = !shelf->is_overflowing;
    append_of(r, shelf->is_overflowing ? REGISTRY_OVERFLOWING : REGISTRY_FITTING, now_ns,
              &shelf->entries[shelf->entries_max])
        ->count = count;
}

static bool is_later(const struct registry_change *a, const struct registry_change *b)
{
    return a->at_ns != b->at_ns ? a->at_ns > b->at_ns : a->number > b->number;
}

/* Puts changes first .. last in the order of time; those of one time stay in the order in which
 * they came. Shell's way: they are few, nearly in order, and there is no memory but theirs. */
static void sort_changes(struct registry *r, uint64_t first, uint64_t last)
{
    uint64_t gap = 1;
    while (gap < (last - first) / 3)
        gap = 3 * gap + 1;
    for (; gap > 0; gap /= 3) {
        for (uint64_t i = first + gap; i <= last; i++) {
            struct registry_change moving = *change_number(r, i);
            uint64_t to = i;
            for (; to >= first + gap && is_later(change_number(r, to - gap), &moving); to -= gap)
                *change_number(r, to) = *change_number(r, to - gap);
            *change_number(r, to) = moving;
        }
    }
    for (uint64_t i = first; i <= last; i++)
        change_number(r, i)->number = i;
}

void registry_collect(struct registry *r, int64_t now_ns)
{
    uint64_t before = r->stats.changes;
    for (int kind = 0; kind < REGISTRY_KINDS; kind++) {
        struct registry_shelf *shelf = &r->shelves[kind];
        for (uint32_t i = 0; i < shelf->entries_max; i++) {
            struct registry_entry *entry = &shelf->entries[i];
            if (entry->breaker != NULL)
                registry_gather(r, entry);
            if (entry->bulkhead != NULL)
                look_at_bulkhead(r, entry, now_ns);
        }
        look_at_overflow(r, shelf, now_ns);
    }
    uint64_t last = r->stats.changes, kept = r->config.changes_max;
    uint64_t first = last - before > kept ? last - kept + 1 : before + 1;
    if (first < last)
        sort_changes(r, first, last);
}

void registry_note_degrade(struct registry *r, struct sv name, const struct degrade_change *was)
{
    struct registry_change *change = registry_append(r, REGISTRY_DEGRADED, was->at_ns);
    sv_copy(sv_take(name, REGISTRY_NAME_BYTES - 1), change->name, sizeof change->name);
    change->degrade = *was;
}

bool registry_changes_next(struct registry *r, uint64_t *cursor, struct registry_change *out)
{
    uint64_t last = r->stats.changes, kept = r->config.changes_max;
    if (*cursor >= last)
        return false;
    uint64_t next = *cursor + 1, oldest = last > kept ? last - kept + 1 : 1;
    uint64_t missed = next < oldest ? oldest - next : 0;
    *cursor = next + missed;
    *out = *change_number(r, *cursor);
    out->missed += missed;
    return true;
}

const char *registry_news_name(enum registry_news news)
{
    static const char *const names[REGISTRY_NEWS] = {
        [REGISTRY_BREAKER_CHANGED] = "breaker_changed",
        [REGISTRY_BULKHEAD_FULL] = "bulkhead_full",
        [REGISTRY_BULKHEAD_FREE] = "bulkhead_free",
        [REGISTRY_OVERFLOWING] = "overflowing",
        [REGISTRY_FITTING] = "fitting",
        [REGISTRY_CONFIGURED] = "configured",
        [REGISTRY_DEGRADED] = "degraded",
    };
    hf_assert((unsigned)news < REGISTRY_NEWS);
    return names[news];
}
