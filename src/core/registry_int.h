/*
 * The registry's parts, for the files that make it up: registry.c (memory, entries),
 * registry_profile.c (configurations), registry_news.c (the ring of changes).
 */
#ifndef HF_CORE_REGISTRY_INT_H
#define HF_CORE_REGISTRY_INT_H

#include "core/registry.h"

struct registry_profile {
    enum registry_kind kind;
    char prefix[REGISTRY_NAME_BYTES]; /* the pattern without its star */
    size_t size;
    bool is_prefix;
    uint64_t version; /* never used twice */
    union {
        struct breaker_config breaker;
        struct bulkhead_config bulkhead;
    };
};

/* Entries of one kind. */
struct registry_shelf {
    struct registry_entry *entries; /* entries_max, and the overflow entry */
    uint32_t entries_max;
    size_t room;
    struct list free;
    struct list unpinned;
    uint32_t used, unpinned_count;
    uint64_t overflowed, overflowed_before; /* now, and at the last collection */
    int64_t overflowed_at_ns;
    bool is_overflowing; /* as last told */
};

struct registry {
    struct registry_config config;
    struct hash_key key;
    struct map names;
    uint64_t made; /* breakers, ever: each has a seed of its own */
    struct registry_shelf shelves[REGISTRY_KINDS];
    struct registry_profile *profiles; /* the first two are those for "*" */
    uint32_t profile_count;
    uint64_t versions;
    struct registry_change *changes; /* number n stands in place n % changes_max */
    struct registry_stats stats;
};

/* The profile that a name has: never NULL. */
struct registry_profile *registry_profile_for(const struct registry *r, enum registry_kind kind,
                                              struct sv name);

/* Puts something at the end of the news, to be filled in. */
struct registry_change *registry_append(struct registry *r, enum registry_news news, int64_t at_ns);

/* What the entry's breaker remembers and was not gathered yet. */
void registry_gather(struct registry *r, struct registry_entry *entry);

#endif
