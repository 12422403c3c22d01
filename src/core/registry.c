/*
 * Memory and entries. One array of entries for each kind, at whose end stands the overflow entry;
 * one map from names to entries; two lists for each kind, free and unpinned. An entry is in one of
 * the lists unless it is pinned.
 *
 * Least recently used, with a second chance: unpinned entries stand in the order in which they were
 * unpinned, and the first is looked at first. One that is idle but not quiet goes to the back, so
 * that a crowd of open breakers in front is not looked at again and again while quiet ones behind
 * keep their places. REGISTRY_LOOKS bounds what a new name costs while the lock is held.
 */
#include "core/registry.h"

#include <string.h>

#include "base/bug.h"
#include "base/container_of.h"
#include "base/ns.h"
#include "base/rng.h"
#include "core/registry_int.h"

/* ---- configuration and memory ---- */

struct registry_config registry_config_default(void)
{
    struct registry_config config = {
        .entries_max = {[REGISTRY_BREAKER] = 1000, [REGISTRY_BULKHEAD] = 100},
        .profiles_max = 64,
        .changes_max = 1000,
        .idle_ns = HF_SEC(300),
        .breaker = breaker_config_default(),
        .bulkhead = bulkhead_config_default(),
    };
    config.bulkhead.has_histograms = false;
    return config;
}

static size_t round_up(size_t bytes)
{
    return (bytes + REGISTRY_ALIGN - 1) / REGISTRY_ALIGN * REGISTRY_ALIGN;
}

/* What an entry of the configuration for "*" needs. */
static size_t need_of(const struct registry_config *config, enum registry_kind kind)
{
    return kind == REGISTRY_BREAKER ? breaker_size(&config->breaker)
                                    : bulkhead_size(&config->bulkhead);
}

static size_t room_of(const struct registry_config *config, enum registry_kind kind)
{
    size_t need = need_of(config, kind);
    return round_up(config->room[kind] > need ? config->room[kind] : need);
}

enum hf_rc registry_config_check(const struct registry_config *config, struct hf_err *err)
{
    if (breaker_config_check(&config->breaker, err) != HF_OK ||
        bulkhead_config_check(&config->bulkhead, err) != HF_OK)
        return err_while(err, "in the registry's profile for \"*\"");
    for (int kind = 0; kind < REGISTRY_KINDS; kind++) {
        if (config->entries_max[kind] > REGISTRY_ENTRIES_MAX)
            return err_set(err, HF_RC_INVALID, "22023", "a registry holds at most %u entries",
                           (unsigned)REGISTRY_ENTRIES_MAX);
        if (config->room[kind] != 0 &&
            config->room[kind] < need_of(config, (enum registry_kind)kind))
            return err_set(err, HF_RC_INVALID, "22023",
                           "the room of an entry is too small for the profile for \"*\"");
    }
    if (config->profiles_max > REGISTRY_PROFILES_MAX)
        return err_set(err, HF_RC_INVALID, "22023", "a registry has at most %u profiles",
                       (unsigned)REGISTRY_PROFILES_MAX);
    if (config->changes_max < 1 || config->changes_max > REGISTRY_CHANGES_MAX)
        return err_set(err, HF_RC_INVALID, "22023", "a registry remembers 1 to %u changes",
                       (unsigned)REGISTRY_CHANGES_MAX);
    if (config->idle_ns < 0)
        return err_set(err, HF_RC_INVALID, "22023", "an idle time must not be negative");
    return HF_OK;
}

/* Where the parts lie, from the beginning of the memory. */
struct layout {
    size_t entries, slots, names, profiles, changes, end;
};

static uint32_t entries_in(const struct registry_config *config)
{
    return config->entries_max[REGISTRY_BREAKER] + config->entries_max[REGISTRY_BULKHEAD];
}

static struct layout layout_of(const struct registry_config *config)
{
    size_t entries = entries_in(config), slots = 0;
    for (int kind = 0; kind < REGISTRY_KINDS; kind++)
        slots +=
            ((size_t)config->entries_max[kind] + 1) * room_of(config, (enum registry_kind)kind);
    struct layout at = {.entries = round_up(sizeof(struct registry))};
    at.slots = at.entries + round_up((entries + REGISTRY_KINDS) * sizeof(struct registry_entry));
    at.names = at.slots + slots;
    at.profiles = at.names + round_up(map_size(entries > 0 ? (uint32_t)entries : 1));
    at.changes = at.profiles + round_up((config->profiles_max + REGISTRY_KINDS) *
                                        sizeof(struct registry_profile));
    at.end = at.changes + round_up(config->changes_max * sizeof(struct registry_change));
    return at;
}

size_t registry_size(const struct registry_config *config)
{
    return layout_of(config).end;
}

/* ---- entries ---- */

static void make(struct registry *r, struct registry_entry *entry, int64_t now_ns)
{
    const struct registry_profile *profile =
        registry_profile_for(r, entry->kind, sv_from_cstr(entry->name));
    entry->version = profile->version;
    entry->is_outdated = false;
    entry->is_full = entry->was_otherwise = false;
    entry->cursor = 0;
    if (entry->kind == REGISTRY_BREAKER)
        entry->breaker = breaker_init(entry->memory, &profile->breaker,
                                      rng_hash(r->config.seed, ++r->made), now_ns);
    else
        entry->bulkhead = bulkhead_init(entry->memory, &profile->bulkhead, now_ns);
}

/* Nothing would be forgotten with it. */
static bool is_quiet(struct registry_entry *entry, int64_t now_ns)
{
    if (entry->kind == REGISTRY_BULKHEAD)
        return bulkhead_in_use(entry->bulkhead) == 0;
    struct breaker_view view;
    breaker_view(entry->breaker, now_ns, &view);
    return view.state == BREAKER_CLOSED && view.window.failures == 0 && view.window.slow == 0 &&
           view.in_flight == 0;
}

static void forget(struct registry *r, struct registry_entry *entry)
{
    struct registry_shelf *shelf = &r->shelves[entry->kind];
    if (entry->kind == REGISTRY_BREAKER)
        registry_gather(r, entry);
    bool was_there = map_remove(&r->names, entry->hash, (uint32_t)(entry - r->shelves[0].entries));
    hf_assert(was_there);
    list_remove(&entry->link);
    list_push_back(&shelf->free, &entry->link);
    --shelf->unpinned_count;
    --shelf->used;
    entry->name[0] = '\0';
    entry->breaker = NULL;
    entry->bulkhead = NULL;
    ++r->stats.evicted;
}

static void evict_one(struct registry *r, struct registry_shelf *shelf, int64_t now_ns)
{
    for (uint32_t looks = 0; looks < REGISTRY_LOOKS; looks++) {
        struct list_node *first = list_first(&shelf->unpinned);
        if (first == NULL)
            return;
        struct registry_entry *entry = container_of(first, struct registry_entry, link);
        if (now_ns - entry->used_at_ns < r->config.idle_ns)
            return;
        if (is_quiet(entry, now_ns)) {
            forget(r, entry);
            return;
        }
        list_remove(&entry->link);
        list_push_back(&shelf->unpinned, &entry->link);
    }
}

static uint64_t hash_of(const struct registry *r, enum registry_kind kind, struct sv name)
{
    return hash_bytes(&r->key, name) + (uint64_t)kind;
}

static struct registry_entry *look_up(struct registry *r, enum registry_kind kind, struct sv name,
                                      uint64_t hash)
{
    for (struct map_find f = map_find(&r->names, hash); map_find_next(&r->names, &f);) {
        struct registry_entry *entry = &r->shelves[0].entries[f.index];
        if (entry->kind == kind && sv_eq(sv_from_cstr(entry->name), name))
            return entry;
    }
    return NULL;
}

/* A new entry, pinned by nobody and in no list; NULL if there is no place. */
static struct registry_entry *add(struct registry *r, struct registry_shelf *shelf, struct sv name,
                                  uint64_t hash, int64_t now_ns)
{
    if (list_is_empty(&shelf->free))
        evict_one(r, shelf, now_ns);
    struct list_node *node = list_pop_front(&shelf->free);
    if (node == NULL)
        return NULL;
    struct registry_entry *entry = container_of(node, struct registry_entry, link);
    sv_copy(name, entry->name, sizeof entry->name);
    entry->hash = hash;
    make(r, entry, now_ns);
    bool has_room = map_insert(&r->names, hash, (uint32_t)(entry - r->shelves[0].entries));
    hf_assert(has_room);
    ++shelf->used;
    ++r->stats.added;
    return entry;
}

/* An outdated entry that nobody has can follow its profile at last. */
static void renew(struct registry *r, struct registry_entry *entry, int64_t now_ns)
{
    if (entry->kind == REGISTRY_BULKHEAD) {
        const struct registry_profile *profile =
            registry_profile_for(r, entry->kind, sv_from_cstr(entry->name));
        bulkhead_configure(entry->bulkhead, &profile->bulkhead, now_ns);
        entry->version = profile->version;
        entry->is_outdated = false;
    } else if (is_quiet(entry, now_ns)) {
        registry_gather(r, entry);
        make(r, entry, now_ns);
        ++r->stats.remade;
    }
}

static struct registry_entry *overflow(struct registry_shelf *shelf, uint64_t *counter)
{
    ++*counter;
    return &shelf->entries[shelf->entries_max];
}

static struct registry_entry *entry_for(struct registry *r, enum registry_kind kind, struct sv name,
                                        int64_t now_ns)
{
    struct registry_shelf *shelf = &r->shelves[kind];
    if (name.size == 0 || name.size >= REGISTRY_NAME_BYTES || sv_find(name, '\0') < name.size)
        return overflow(shelf, &r->stats.misnamed);
    uint64_t hash = hash_of(r, kind, name);
    struct registry_entry *entry = look_up(r, kind, name, hash);
    if (entry == NULL)
        entry = add(r, shelf, name, hash, now_ns);
    return entry != NULL ? entry : overflow(shelf, &shelf->overflowed);
}

struct registry_entry *registry_pin(struct registry *r, enum registry_kind kind, struct sv name,
                                    int64_t now_ns)
{
    hf_assert((unsigned)kind < REGISTRY_KINDS);
    struct registry_entry *entry = entry_for(r, kind, name, now_ns);
    if (list_is_linked(&entry->link)) {
        list_remove(&entry->link);
        --r->shelves[kind].unpinned_count;
        if (entry->is_outdated)
            renew(r, entry, now_ns);
    }
    ++entry->pins;
    entry->used_at_ns = now_ns;
    return entry;
}

void registry_unpin(struct registry *r, struct registry_entry *entry, int64_t now_ns)
{
    hf_assert(entry->pins > 0);
    entry->used_at_ns = now_ns;
    if (--entry->pins > 0 || entry->is_overflow)
        return;
    list_push_back(&r->shelves[entry->kind].unpinned, &entry->link);
    ++r->shelves[entry->kind].unpinned_count;
}

struct registry_entry *registry_find(struct registry *r, enum registry_kind kind, struct sv name)
{
    hf_assert((unsigned)kind < REGISTRY_KINDS);
    return look_up(r, kind, name, hash_of(r, kind, name));
}

struct registry_entry *registry_each(struct registry *r, enum registry_kind kind, uint32_t *cursor)
{
    hf_assert((unsigned)kind < REGISTRY_KINDS);
    struct registry_shelf *shelf = &r->shelves[kind];
    while (*cursor <= shelf->entries_max) {
        struct registry_entry *entry = &shelf->entries[(*cursor)++];
        if (entry->name[0] != '\0')
            return entry;
    }
    return NULL;
}

/* ---- life ---- */

static void make_overflow(struct registry *r, enum registry_kind kind, int64_t now_ns)
{
    static const char *const names[] = {"(other breakers)", "(other bulkheads)"};
    struct registry_entry *entry = &r->shelves[kind].entries[r->shelves[kind].entries_max];
    entry->is_overflow = true;
    sv_copy(sv_from_cstr(names[kind]), entry->name, sizeof entry->name);
    if (kind == REGISTRY_BREAKER) {
        entry->breaker = breaker_init(entry->memory, &r->config.breaker, r->config.seed, now_ns);
        breaker_force(entry->breaker, BREAKER_DISABLED, now_ns);
        return;
    }
    struct bulkhead_config config = r->config.bulkhead;
    config.limit = BULKHEAD_LIMIT_MAX;
    config.is_adaptive = false;
    entry->bulkhead = bulkhead_init(entry->memory, &config, now_ns);
}

static void init_shelf(struct registry *r, enum registry_kind kind, struct registry_entry *entries,
                       unsigned char *slots)
{
    struct registry_shelf *shelf = &r->shelves[kind];
    shelf->entries = entries;
    shelf->entries_max = r->config.entries_max[kind];
    shelf->room = room_of(&r->config, kind);
    list_init(&shelf->free);
    list_init(&shelf->unpinned);
    for (uint32_t i = 0; i <= shelf->entries_max; i++) {
        entries[i].kind = kind;
        entries[i].memory = slots + i * shelf->room;
        if (i < shelf->entries_max)
            list_push_back(&shelf->free, &entries[i].link);
    }
}

struct registry *registry_init(void *memory, const struct registry_config *config, int64_t now_ns)
{
    hf_assert((uintptr_t)memory % REGISTRY_ALIGN == 0);
    hf_assert(registry_config_check(config, NULL) == HF_OK);
    struct layout at = layout_of(config);
    unsigned char *bytes = memory;
    memset(memory, 0, at.slots); /* the registry and the entries; the rest is made when used */
    struct registry *r = memory;
    r->config = *config;
    r->key = hash_key_from_seed(config->seed);
    r->profiles = (void *)(bytes + at.profiles);
    r->changes = (void *)(bytes + at.changes);
    uint32_t entries = entries_in(config);
    map_init(&r->names, bytes + at.names, entries > 0 ? entries : 1);
    r->profiles[r->profile_count++] = (struct registry_profile){
        .kind = REGISTRY_BREAKER, .is_prefix = true, .version = 1, .breaker = config->breaker};
    r->profiles[r->profile_count++] = (struct registry_profile){
        .kind = REGISTRY_BULKHEAD, .is_prefix = true, .version = 2, .bulkhead = config->bulkhead};
    r->versions = 2;
    struct registry_entry *first = (void *)(bytes + at.entries);
    unsigned char *slots = bytes + at.slots;
    for (int i = 0; i < REGISTRY_KINDS; i++) {
        enum registry_kind kind = (enum registry_kind)i;
        init_shelf(r, kind, first, slots);
        make_overflow(r, kind, now_ns);
        first += config->entries_max[kind] + 1;
        slots += (config->entries_max[kind] + 1) * r->shelves[kind].room;
    }
    return r;
}

void registry_stats(const struct registry *r, struct registry_stats *out)
{
    *out = r->stats;
    for (int kind = 0; kind < REGISTRY_KINDS; kind++) {
        out->entries[kind] = r->shelves[kind].used;
        out->unpinned[kind] = r->shelves[kind].unpinned_count;
        out->overflowed += r->shelves[kind].overflowed;
    }
}

const char *registry_kind_name(enum registry_kind kind)
{
    static const char *const names[REGISTRY_KINDS] = {"breaker", "bulkhead"};
    hf_assert((unsigned)kind < REGISTRY_KINDS);
    return names[kind];
}
