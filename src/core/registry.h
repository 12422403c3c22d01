/*
 * Registry: breakers and bulkheads by name, in a fixed amount of memory. For keys that come and go
 * and that nobody can list beforehand: databases, roles, statement shapes, tenants.
 *
 *     entry = registry_pin(r, REGISTRY_BREAKER, SV("shape.9f3a"), now_ns);     under the lock
 *     ... breaker_admit(entry->breaker, ...) for as long as it is pinned ...   no lock, no look-up
 *     registry_unpin(r, entry, now_ns);                                        under the lock
 *
 * LIFE OF AN ENTRY
 *
 *      pin of a new name                 unpin, the last
 *   free -----------------> pinned ------------------------> unpinned, in order of last use
 *    ^                        ^                                 |   |
 *    |                        +---------- pin of its name ------+   |
 *    +----- its place is needed, it is quiet and long unused -------+
 *
 * Quiet: a breaker is CLOSED and its window holds nothing bad; a bulkhead has nobody inside. So
 * what is open, forced, disabled, probing or has just failed is never forgotten: else a key under
 * trouble could be made to look healthy by touching other keys. An entry is taken out only when
 * another needs its place; nothing is swept in the background.
 *
 * WHEN IT IS FULL and nothing may be evicted, a new name gets the OVERFLOW entry of its kind, which
 * is shared and never refuses: a breaker that is DISABLED, a bulkhead with the highest limit there
 * is. One bad key among those who share it must not close it for the others, and there is no
 * telling them apart; what protects them still is of a coarser grain (the endpoint's own breaker
 * and bulkhead). Disabled and not in monitor mode, because an opening of "all those that did not
 * fit" would be an event about nobody. What lands there is counted, and told as news when it begins
 * and when it ends. `is_overflow` says so to the holder, who may unpin and pin again later.
 *
 * PROFILES say how entries are made: a configuration for each pattern, which is a name, or a prefix
 * and a star ("db.*"). A name's own profile comes before any prefix, a longer prefix before a
 * shorter one; "*" is always there. Setting a profile reconfigures the entries it is for, which
 * keep state, counters and history; it is how a single entry is reconfigured, too, and survives the
 * entry's eviction.
 *  - Breakers are changed at once, pinned or not. One whose memory does not fit the change (another
 *    kind of window, a longer history) goes on as it is, marked `is_outdated`, until it is pinned
 *    while nobody else has it and it is quiet: then it is made anew.
 *  - Bulkheads that nobody has pinned are changed at once. Others have waiters that only their
 *    driver may wake: registry_outdated() names them, the driver calls bulkhead_configure() and
 *    bulkhead_pop_granted() under the bulkhead's lock, and says registry_configured().
 *
 * NEWS. registry_collect() gathers what has changed since the last time, from the histories of the
 * breakers and by looking at the bulkheads, puts it in the order of time, and appends it to one
 * ring. Any number of consumers read the ring, each with a cursor; whoever is too slow is told how
 * much it missed. Nothing is ever called back: the driver copies news out under its lock and
 * delivers them afterwards. Order is exact within one collection and for each entry; a change
 * that was still being written during a collection comes with the next one.
 *
 * Invariants
 *  1. A pinned entry keeps its address, name, breaker and bulkhead.
 *  2. An entry that is evicted was unpinned, quiet, and unused for idle_ns; its history was
 *     collected before.
 *  3. registry_pin() never fails and never returns NULL.
 *  4. At most one entry for each kind and name. Memory is fixed when the registry is made.
 *  5. A consumer sees every change once, in the order of the ring, or is told of it in `missed`.
 *
 * Threads: one lock of the caller's around every function here. Breakers and bulkheads of pinned
 * entries need it no more: they are the affair of core/breaker_mt.h and core/bulkhead_mt.h. A pin
 * must last until every permit and waiter of the entry has come back.
 */
#ifndef HF_CORE_REGISTRY_H
#define HF_CORE_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "base/sv.h"
#include "core/breaker_mt.h"
#include "core/bulkhead_mt.h"
#include "core/degrade.h"

#define REGISTRY_ALIGN        64 /* of the memory */
#define REGISTRY_NAME_BYTES   64 /* with the NUL */
#define REGISTRY_ENTRIES_MAX  1000000
#define REGISTRY_PROFILES_MAX 1000
#define REGISTRY_CHANGES_MAX  100000
#define REGISTRY_LOOKS        16 /* entries looked at, at most, to find one to evict */

enum registry_kind {
    REGISTRY_BREAKER,
    REGISTRY_BULKHEAD,
    REGISTRY_KINDS
};

struct registry_config {
    uint32_t entries_max[REGISTRY_KINDS]; /* 0: all names of the kind share the overflow entry */
    uint32_t profiles_max;                /* of both kinds, besides the two for "*" */
    uint32_t changes_max;                 /* news that are remembered */
    int64_t idle_ns;                      /* unused for so long, an entry may make room */
    uint64_t seed;                        /* of hashing and of jitter; from the system's chance */
    struct breaker_config breaker;        /* for "*" */
    struct bulkhead_config bulkhead;      /* for "*" */

    /* Room for each entry; 0: as much as the configuration for "*" needs. A profile that needs more
     * is refused. */
    size_t room[REGISTRY_KINDS];
};

/* 1000 breakers (5 MB) and 100 bulkheads without histograms, 64 profiles, 1000 news, 5 minutes. */
struct registry_config registry_config_default(void);
enum hf_rc registry_config_check(const struct registry_config *config,
                                 struct hf_err *err) HF_MUST_USE;

/* Held by its pins. Read only for callers. */
struct registry_entry {
    char name[REGISTRY_NAME_BYTES]; /* empty: free */
    enum registry_kind kind;
    struct breaker *breaker;   /* REGISTRY_BREAKER, else NULL */
    struct bulkhead *bulkhead; /* REGISTRY_BULKHEAD, else NULL */
    bool is_overflow;
    bool is_outdated; /* runs on an older configuration than its profile's */
    uint32_t pins;
    int64_t used_at_ns; /* last pinned or unpinned */

    /* The registry's own. */
    struct list_node link; /* among the free or the unpinned of its kind */
    void *memory;
    uint64_t hash;
    uint64_t version;   /* of the profile it runs on */
    uint32_t cursor;    /* in the breaker's history */
    bool is_full;       /* as last told */
    bool was_otherwise; /* the last look at the bulkhead showed the opposite */
};

enum registry_news {
    REGISTRY_BREAKER_CHANGED, /* .breaker */
    REGISTRY_BULKHEAD_FULL,   /* .in_use, .limit: at its limit in two collections in a row */
    REGISTRY_BULKHEAD_FREE,   /* .in_use, .limit: below it in two in a row */
    REGISTRY_OVERFLOWING,     /* .count names found no place since the last collection */
    REGISTRY_FITTING,         /* none did for ten seconds */
    REGISTRY_CONFIGURED,      /* .name is a pattern, .count the entries it is for now */
    REGISTRY_DEGRADED,        /* .degrade: the ladder moved */
    REGISTRY_NEWS
};

struct registry_change {
    uint64_t number; /* 1, 2, 3 ...: its place in the stream */
    int64_t at_ns;
    enum registry_news news;
    enum registry_kind kind; /* but for DEGRADED */
    char name[REGISTRY_NAME_BYTES];
    uint64_t missed; /* changes between the last one that this consumer saw and this one */
    union {
        struct breaker_change breaker;
        struct degrade_change degrade;
        struct {
            uint32_t in_use, limit;
        } bulkhead;
        uint64_t count;
    };
};

struct registry_stats {
    uint32_t entries[REGISTRY_KINDS];  /* in use now, pinned or not */
    uint32_t unpinned[REGISTRY_KINDS]; /* of those */
    uint64_t added;
    uint64_t evicted;
    uint64_t remade;     /* outdated ones that got a new breaker */
    uint64_t overflowed; /* pins that got an overflow entry since there was no place */
    uint64_t misnamed;   /* pins that got one since the name is empty or too long */
    uint64_t changes;    /* news, ever */
};

struct registry;

/* Bytes for a checked configuration. */
size_t registry_size(const struct registry_config *config);

/* In memory of that size, aligned to REGISTRY_ALIGN, which stays the caller's. */
struct registry *registry_init(void *memory, const struct registry_config *config, int64_t now_ns);

/* The entry of this name, made if there is none; or the overflow entry of its kind. To be unpinned
 * once for each pin. */
struct registry_entry *registry_pin(struct registry *r, enum registry_kind kind, struct sv name,
                                    int64_t now_ns);
void registry_unpin(struct registry *r, struct registry_entry *entry, int64_t now_ns);

/* The entry of this name, or NULL; not pinned, so only good while the lock is held. For people who
 * force, reset or look. */
struct registry_entry *registry_find(struct registry *r, enum registry_kind kind, struct sv name);

/* All entries of a kind, the overflow entry last; `*cursor` starts at 0, NULL at the end. The lock
 * may be given up in between: an entry that lives all the while is seen once, and always in the
 * same order. */
struct registry_entry *registry_each(struct registry *r, enum registry_kind kind, uint32_t *cursor);

/* ---- profiles ---- */

/* What setting or dropping a profile did to the entries it is or was for. */
struct registry_applied {
    uint32_t changed;  /* run on the new configuration */
    uint32_t outdated; /* do not yet: see above */
};

/* Adds or replaces a profile. Fails, and changes nothing, if the pattern or the configuration is
 * not valid, does not fit into the room of an entry, or there are profiles_max already. `applied`
 * may be NULL. */
enum hf_rc registry_set_breaker(struct registry *r, struct sv pattern,
                                const struct breaker_config *config, int64_t now_ns,
                                struct registry_applied *applied, struct hf_err *err) HF_MUST_USE;
enum hf_rc registry_set_bulkhead(struct registry *r, struct sv pattern,
                                 const struct bulkhead_config *config, int64_t now_ns,
                                 struct registry_applied *applied, struct hf_err *err) HF_MUST_USE;

/* Drops a profile: its entries follow the next best one. Fails for "*" and for what is not there.
 */
enum hf_rc registry_drop(struct registry *r, enum registry_kind kind, struct sv pattern,
                         int64_t now_ns, struct registry_applied *applied,
                         struct hf_err *err) HF_MUST_USE;

/* The configuration that this name has or would have. */
const struct breaker_config *registry_breaker_config(const struct registry *r, struct sv name);
const struct bulkhead_config *registry_bulkhead_config(const struct registry *r, struct sv name);

/* The next pinned bulkhead whose driver has to configure it; `*cursor` starts at 0, NULL at the
 * end. */
struct registry_entry *registry_outdated(struct registry *r, uint32_t *cursor);
/* It has, with registry_bulkhead_config() as it is now: the lock is held since that was asked for.
 */
void registry_configured(struct registry *r, struct registry_entry *entry);

/* ---- news ---- */

/* Gathers the news. Call it regularly, some times a second, and before reading them. */
void registry_collect(struct registry *r, int64_t now_ns);

/* The ladder has moved: puts that among the news. `name` tells ladders apart. */
void registry_note_degrade(struct registry *r, struct sv name, const struct degrade_change *change);

/* The next change after the one `*cursor` stands for, and moves the cursor to it. A cursor starts
 * at 0: everything that is remembered. False: no more until something new was collected. */
bool registry_changes_next(struct registry *r, uint64_t *cursor, struct registry_change *out);

void registry_stats(const struct registry *r, struct registry_stats *out);

const char *registry_kind_name(enum registry_kind kind);
const char *registry_news_name(enum registry_news news);

#endif
