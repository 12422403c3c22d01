/*
 * Profiles: which configuration a name has, and what happens to the entries when that changes. They
 * are few and seldom looked at (when an entry is made, when a profile is set), so they are searched
 * one by one.
 */
#include "core/registry.h"

#include <string.h>

#include "core/registry_int.h"

/* ---- which one a name has ---- */

static bool matches(const struct registry_profile *profile, enum registry_kind kind, struct sv name)
{
    struct sv prefix = sv_from(profile->prefix, profile->size);
    if (profile->kind != kind)
        return false;
    return profile->is_prefix ? sv_starts_with(name, prefix) : sv_eq(name, prefix);
}

static bool is_closer(const struct registry_profile *a, const struct registry_profile *b)
{
    return a->is_prefix != b->is_prefix ? !a->is_prefix : a->size > b->size;
}

struct registry_profile *registry_profile_for(const struct registry *r, enum registry_kind kind,
                                              struct sv name)
{
    struct registry_profile *best = &r->profiles[kind];
    for (uint32_t i = REGISTRY_KINDS; i < r->profile_count; i++)
        if (matches(&r->profiles[i], kind, name) && is_closer(&r->profiles[i], best))
            best = &r->profiles[i];
    return best;
}

const struct breaker_config *registry_breaker_config(const struct registry *r, struct sv name)
{
    return &registry_profile_for(r, REGISTRY_BREAKER, name)->breaker;
}

const struct bulkhead_config *registry_bulkhead_config(const struct registry *r, struct sv name)
{
    return &registry_profile_for(r, REGISTRY_BULKHEAD, name)->bulkhead;
}

/* ---- setting and dropping ---- */

/* Brings an entry to its profile if that can be done now. */
static void follow(struct registry_entry *entry, const struct registry_profile *profile,
                   int64_t now_ns, struct registry_applied *applied)
{
    bool can_follow;
    if (entry->kind == REGISTRY_BREAKER) {
        can_follow = breaker_configure(entry->breaker, &profile->breaker, now_ns, NULL) == HF_OK;
    } else {
        can_follow = entry->pins == 0;
        if (can_follow)
            bulkhead_configure(entry->bulkhead, &profile->bulkhead, now_ns);
    }
    if (can_follow)
        entry->version = profile->version;
    entry->is_outdated = !can_follow;
    ++*(can_follow ? &applied->changed : &applied->outdated);
}

/* Those whose best profile is now this one. */
static struct registry_applied apply_to_all(struct registry *r,
                                            const struct registry_profile *profile, int64_t now_ns)
{
    struct registry_applied applied = {0, 0};
    struct registry_shelf *shelf = &r->shelves[profile->kind];
    for (uint32_t i = 0; i < shelf->entries_max; i++) {
        struct registry_entry *entry = &shelf->entries[i];
        if (entry->name[0] != '\0' &&
            registry_profile_for(r, entry->kind, sv_from_cstr(entry->name)) == profile)
            follow(entry, profile, now_ns, &applied);
    }
    return applied;
}

static void note_configured(struct registry *r, const struct registry_profile *profile,
                            const struct registry_applied *now, int64_t now_ns,
                            struct registry_applied *applied)
{
    struct registry_change *change = registry_append(r, REGISTRY_CONFIGURED, now_ns);
    change->kind = profile->kind;
    memcpy(change->name, profile->prefix, profile->size);
    if (profile->is_prefix)
        change->name[profile->size] = '*';
    change->count = now->changed + now->outdated;
    if (applied != NULL)
        *applied = *now;
}

/* Splits a pattern into a profile's prefix and star. */
static enum hf_rc read_pattern(struct sv pattern, enum registry_kind kind,
                               struct registry_profile *out, struct hf_err *err)
{
    bool is_prefix = pattern.size > 0 && pattern.data[pattern.size - 1] == '*';
    struct sv prefix = sv_take(pattern, pattern.size - is_prefix);
    *out = (struct registry_profile){.kind = kind, .is_prefix = is_prefix, .size = prefix.size};
    if (pattern.size == 0 || pattern.size >= REGISTRY_NAME_BYTES ||
        !sv_copy(prefix, out->prefix, sizeof out->prefix)) {
        err_set(err, HF_RC_INVALID, "22023", "\"" SV_FMT "\" is no pattern", SV_ARG(pattern));
        return err_hint(err, "Give a name of 1 to %d bytes, or a prefix of one and a star.",
                        REGISTRY_NAME_BYTES - 1);
    }
    return HF_OK;
}

static struct registry_profile *find_profile(struct registry *r,
                                             const struct registry_profile *wanted)
{
    struct sv prefix = sv_from(wanted->prefix, wanted->size);
    for (uint32_t i = 0; i < r->profile_count; i++) {
        struct registry_profile *profile = &r->profiles[i];
        if (profile->kind == wanted->kind && profile->is_prefix == wanted->is_prefix &&
            sv_eq(sv_from(profile->prefix, profile->size), prefix))
            return profile;
    }
    return NULL;
}

static enum hf_rc set_profile(struct registry *r, struct registry_profile *wanted, size_t need,
                              int64_t now_ns, struct registry_applied *applied, struct hf_err *err)
{
    if (need > r->shelves[wanted->kind].room) {
        err_set(err, HF_RC_LIMIT, "54000", "the profile needs more memory than an entry has");
        return err_detail(err, "It needs %zu bytes, each entry has %zu.", need,
                          r->shelves[wanted->kind].room);
    }
    struct registry_profile *profile = find_profile(r, wanted);
    if (profile == NULL) {
        if (r->profile_count == r->config.profiles_max + REGISTRY_KINDS)
            return err_set(err, HF_RC_LIMIT, "54000", "there are %u profiles already",
                           r->config.profiles_max);
        profile = &r->profiles[r->profile_count++];
    }
    wanted->version = ++r->versions;
    *profile = *wanted;
    struct registry_applied now = apply_to_all(r, profile, now_ns);
    note_configured(r, profile, &now, now_ns, applied);
    return HF_OK;
}

enum hf_rc registry_set_breaker(struct registry *r, struct sv pattern,
                                const struct breaker_config *config, int64_t now_ns,
                                struct registry_applied *applied, struct hf_err *err)
{
    struct registry_profile wanted;
    if (read_pattern(pattern, REGISTRY_BREAKER, &wanted, err) != HF_OK ||
        breaker_config_check(config, err) != HF_OK)
        return err_while(err, "setting a profile for breakers");
    wanted.breaker = *config;
    return set_profile(r, &wanted, breaker_size(config), now_ns, applied, err);
}

enum hf_rc registry_set_bulkhead(struct registry *r, struct sv pattern,
                                 const struct bulkhead_config *config, int64_t now_ns,
                                 struct registry_applied *applied, struct hf_err *err)
{
    struct registry_profile wanted;
    if (read_pattern(pattern, REGISTRY_BULKHEAD, &wanted, err) != HF_OK ||
        bulkhead_config_check(config, err) != HF_OK)
        return err_while(err, "setting a profile for bulkheads");
    wanted.bulkhead = *config;
    return set_profile(r, &wanted, bulkhead_size(config), now_ns, applied, err);
}

enum hf_rc registry_drop(struct registry *r, enum registry_kind kind, struct sv pattern,
                         int64_t now_ns, struct registry_applied *applied, struct hf_err *err)
{
    struct registry_profile wanted;
    if (read_pattern(pattern, kind, &wanted, err) != HF_OK)
        return err_while(err, "dropping a profile");
    struct registry_profile *profile = find_profile(r, &wanted);
    if (profile == NULL)
        return err_set(err, HF_RC_MISSING, "42704", "there is no profile \"" SV_FMT "\"",
                       SV_ARG(pattern));
    if (profile < &r->profiles[REGISTRY_KINDS])
        return err_set(err, HF_RC_INVALID, "22023", "the profile for \"*\" cannot be dropped");
    *profile = r->profiles[--r->profile_count];
    struct registry_applied now = {0, 0};
    struct registry_shelf *shelf = &r->shelves[kind];
    for (uint32_t i = 0; i < shelf->entries_max; i++) {
        struct registry_entry *entry = &shelf->entries[i];
        struct sv name = sv_from_cstr(entry->name);
        if (entry->name[0] == '\0' || !matches(&wanted, kind, name))
            continue;
        const struct registry_profile *next = registry_profile_for(r, kind, name);
        if (next->version == entry->version)
            entry->is_outdated = false; /* it never followed the one that goes */
        else
            follow(entry, next, now_ns, &now);
    }
    note_configured(r, &wanted, &now, now_ns, applied);
    return HF_OK;
}

struct registry_entry *registry_outdated(struct registry *r, uint32_t *cursor)
{
    struct registry_shelf *shelf = &r->shelves[REGISTRY_BULKHEAD];
    while (*cursor < shelf->entries_max) {
        struct registry_entry *entry = &shelf->entries[(*cursor)++];
        if (entry->is_outdated && entry->pins > 0)
            return entry;
    }
    return NULL;
}

void registry_configured(struct registry *r, struct registry_entry *entry)
{
    entry->version = registry_profile_for(r, entry->kind, sv_from_cstr(entry->name))->version;
    entry->is_outdated = false;
}
