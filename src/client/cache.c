/*
 * One table of entries. An entry has a value, or a leader who is fetching one, or both (a stale
 * value that is being renewed). What has a value stands in `used`, the one used last in front.
 *
 * Values are freed by whoever took the last hold, perhaps with much work, so none is dropped under
 * the lock: entries that go are collected in a list of their own and freed after it.
 */
#include "client/cache.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/bug.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "os/clock.h"

#define OPERATION_BYTES 64
#define ENTRY_BYTES     4096 /* what a result is expected to take: so many entries there may be */
#define ENTRIES_MIN     64
#define ENTRIES_MAX     8192
#define FOLLOW_NS       HF_SEC(1)
#define WAITING_ROOMS   16 /* followers of different keys seldom wake each other */

struct entry {
    struct list_node used; /* linked: it has a value */
    uint32_t index;
    uint64_t hash;
    uint64_t lead; /* the leader's number; 0: nobody leads */
    int64_t lead_since_ns;
    struct cache_value value;
    int64_t asked_ns, as_of_ns;
    char operation[OPERATION_BYTES];
    size_t key_size;
    char key[];
};

struct cache {
    struct mem *mem;
    struct cache_config config;
    struct hash_key hash_key;
    pthread_mutex_t lock;
    pthread_cond_t ended[WAITING_ROOMS]; /* a lead, of a key of this room */
    struct map map;                      /* from hash to index */
    uint32_t capacity;
    struct entry **entries; /* by index; NULL: free */
    uint32_t *free;         /* indexes */
    uint32_t free_count;
    struct list used;
    uint64_t clears, leads;
    struct cache_stats stats;
};

/* ---- life ---- */

static enum hf_rc alloc_tables(struct cache *cache, struct hf_err *err)
{
    const size_t wanted = cache->config.bytes_max / ENTRY_BYTES;
    cache->capacity = wanted < ENTRIES_MIN   ? ENTRIES_MIN
                      : wanted > ENTRIES_MAX ? ENTRIES_MAX
                                             : (uint32_t)wanted;
    const size_t map_bytes = map_size(cache->capacity);
    void *map = mem_alloc(cache->mem, map_bytes);
    cache->entries = mem_alloc_array(cache->mem, cache->capacity, sizeof(void *));
    cache->free = mem_alloc_array(cache->mem, cache->capacity, sizeof *cache->free);
    if (map != NULL)
        map_init(&cache->map, map, cache->capacity);
    if (map == NULL || cache->entries == NULL || cache->free == NULL)
        return mem_refused(cache->mem, map_bytes, err);
    for (uint32_t i = 0; i < cache->capacity; i++)
        cache->free[i] = cache->capacity - 1 - i;
    cache->free_count = cache->capacity;
    return HF_OK;
}

enum hf_rc cache_new(struct cache **out, const struct cache_config *config, struct mem *mem,
                     struct hf_err *err)
{
    struct cache *cache = mem_alloc(mem, sizeof *cache);
    *out = NULL;
    if (cache == NULL)
        return mem_refused(mem, sizeof *cache, err);
    cache->mem = mem;
    cache->config = *config;
    cache->hash_key = hash_key_from_seed(config->seed);
    list_init(&cache->used);
    pthread_mutex_init(&cache->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    for (size_t i = 0; i < WAITING_ROOMS; i++)
        pthread_cond_init(&cache->ended[i], &attr);
    pthread_condattr_destroy(&attr);
    const enum hf_rc rc = alloc_tables(cache, err);
    if (rc != HF_OK) {
        cache_free(cache);
        return rc;
    }
    *out = cache;
    return HF_OK;
}

static void free_entry(struct cache *cache, struct entry *entry)
{
    if (entry->value.what != NULL)
        entry->value.drop(entry->value.what);
    mem_free(cache->mem, entry);
}

void cache_forget(struct cache *cache)
{
    if (cache == NULL)
        return;
    for (uint32_t i = 0; cache->entries != NULL && i < cache->capacity; i++)
        if (cache->entries[i] != NULL)
            free_entry(cache, cache->entries[i]);
    mem_free(cache->mem, cache->map.slots);
    mem_free(cache->mem, cache->entries);
    mem_free(cache->mem, cache->free);
    mem_free(cache->mem, cache);
}

void cache_free(struct cache *cache)
{
    if (cache == NULL)
        return;
    for (size_t i = 0; i < WAITING_ROOMS; i++)
        pthread_cond_destroy(&cache->ended[i]);
    pthread_mutex_destroy(&cache->lock);
    cache_forget(cache);
}

/* ---- entries, under the lock ---- */

static size_t bytes_of(const struct entry *entry)
{
    return sizeof *entry + entry->key_size + entry->value.size;
}

static struct entry *find(struct cache *cache, const struct cache_ask *ask)
{
    for (struct map_find f = map_find(&cache->map, ask->hash); map_find_next(&cache->map, &f);) {
        struct entry *entry = cache->entries[f.index];
        if (sv_eq(sv_from(entry->key, entry->key_size), ask->key))
            return entry;
    }
    return NULL;
}

/* Out of the table, into `gone`: the caller frees it after the lock. */
static void take_out(struct cache *cache, struct entry *entry, struct list *gone)
{
    const bool was_there = map_remove(&cache->map, entry->hash, entry->index);
    hf_assert(was_there);
    cache->entries[entry->index] = NULL;
    cache->free[cache->free_count++] = entry->index;
    cache->stats.bytes -= bytes_of(entry);
    if (list_is_linked(&entry->used)) {
        list_remove(&entry->used);
        --cache->stats.entries;
    }
    list_push_back(gone, &entry->used);
}

/* Its value goes into an entry of `gone` only if nobody leads: a leader's followers need the entry.
 */
static void forget(struct cache *cache, struct entry *entry, struct list *gone)
{
    if (entry->lead == 0)
        take_out(cache, entry, gone);
    else
        entry->asked_ns = INT64_MIN / 2; /* older than anybody takes */
}

/* Makes room for so many bytes, and without `spared` for one more entry; false: it cannot be. */
static bool make_room(struct cache *cache, size_t bytes, const struct entry *spared,
                      struct list *gone)
{
    struct list_node *node = list_last(&cache->used);
    while (node != NULL && (cache->stats.bytes + bytes > cache->config.bytes_max ||
                            (spared == NULL && cache->free_count == 0))) {
        struct entry *entry = container_of(node, struct entry, used);
        node = node->prev != &cache->used.head ? node->prev : NULL;
        if (entry != spared && entry->lead == 0) {
            take_out(cache, entry, gone);
            ++cache->stats.evicted;
        }
    }
    return cache->stats.bytes + bytes <= cache->config.bytes_max;
}

static struct entry *add(struct cache *cache, const struct cache_ask *ask, struct list *gone)
{
    const size_t bytes = sizeof(struct entry) + ask->key.size;
    if (!make_room(cache, bytes, NULL, gone) || cache->free_count == 0)
        return NULL;
    struct entry *entry = mem_alloc(cache->mem, bytes);
    if (entry == NULL)
        return NULL;
    entry->index = cache->free[--cache->free_count];
    entry->hash = ask->hash;
    entry->key_size = ask->key.size;
    memcpy(entry->key, ask->key.data, ask->key.size);
    sv_copy(sv_take(ask->operation, OPERATION_BYTES - 1), entry->operation,
            sizeof entry->operation);
    cache->entries[entry->index] = entry;
    const bool is_in = map_insert(&cache->map, entry->hash, entry->index);
    hf_assert(is_in);
    cache->stats.bytes += bytes;
    return entry;
}

static void free_gone(struct cache *cache, struct list *gone)
{
    struct list_node *node;
    while ((node = list_pop_front(gone)) != NULL)
        free_entry(cache, container_of(node, struct entry, used));
}

static pthread_cond_t *room_of(struct cache *cache, const struct cache_ask *ask)
{
    return &cache->ended[ask->hash % WAITING_ROOMS];
}

/* ---- asking ---- */

static bool is_kept(const struct entry *entry, int64_t age_ns_max, int64_t now_ns)
{
    return entry->value.what != NULL && now_ns - entry->asked_ns <= age_ns_max;
}

static void hand_out(struct cache *cache, struct entry *entry, const struct cache_ask *ask,
                     int64_t now_ns, struct cache_found *found)
{
    list_remove(&entry->used);
    list_push_front(&cache->used, &entry->used);
    entry->value.hold(entry->value.what);
    found->value = entry->value;
    found->age_ns = ns_max(0, now_ns - entry->asked_ns);
    found->is_stale = found->age_ns > ask->ttl_ns;
}

/* What the asker is told now; CACHE_FOLLOW also where nobody can lead for want of room. */
static enum cache_answer look(struct cache *cache, struct cache_ask *ask, int64_t now_ns,
                              struct cache_found *found, struct list *gone)
{
    struct entry *entry = find(cache, ask);
    if (entry != NULL && is_kept(entry, ask->ttl_ns, now_ns) && entry->as_of_ns >= ask->newer_ns) {
        hand_out(cache, entry, ask, now_ns, found);
        return CACHE_HIT;
    }
    if (entry == NULL)
        entry = add(cache, ask, gone);
    if (entry == NULL)
        return CACHE_LEAD; /* on his own: nobody can follow */
    if (entry->lead != 0 && now_ns - entry->lead_since_ns < CACHE_LEAD_NS)
        return CACHE_FOLLOW;
    entry->lead = ask->lead = ++cache->leads;
    entry->lead_since_ns = now_ns;
    return CACHE_LEAD;
}

void cache_begin(struct cache *cache, struct cache_ask *ask)
{
    ask->hash = hash_bytes(&cache->hash_key, ask->key);
    ask->lead = 0;
    pthread_mutex_lock(&cache->lock);
    ask->clears = cache->clears;
    pthread_mutex_unlock(&cache->lock);
}

enum cache_answer cache_ask(struct cache *cache, struct cache_ask *ask, struct cache_found *found)
{
    struct list gone;
    list_init(&gone);
    ask->hash = hash_bytes(&cache->hash_key, ask->key);
    ask->lead = 0;
    pthread_mutex_lock(&cache->lock);
    ask->clears = cache->clears;
    const enum cache_answer answer = look(cache, ask, ask->asked_ns, found, &gone);
    ++*(answer == CACHE_HIT ? &cache->stats.hits : &cache->stats.misses);
    pthread_mutex_unlock(&cache->lock);
    free_gone(cache, &gone);
    return answer;
}

enum cache_answer cache_follow(struct cache *cache, struct cache_ask *ask, int64_t deadline_ns,
                               struct cache_found *found)
{
    struct list gone;
    enum cache_answer answer;
    list_init(&gone);
    pthread_mutex_lock(&cache->lock);
    ++cache->stats.followed;
    for (;;) {
        const int64_t now_ns = clock_now();
        answer = look(cache, ask, now_ns, found, &gone);
        if (answer != CACHE_FOLLOW || now_ns >= deadline_ns)
            break;
        /* Looking again now and then finds a leader that is overdue. */
        const int64_t until_ns = ns_min(deadline_ns, now_ns + FOLLOW_NS);
        const struct timespec until = {.tv_sec = until_ns / HF_SEC(1),
                                       .tv_nsec = until_ns % HF_SEC(1)};
        pthread_cond_timedwait(room_of(cache, ask), &cache->lock, &until);
    }
    ask->clears = cache->clears;
    pthread_mutex_unlock(&cache->lock);
    free_gone(cache, &gone);
    return answer;
}

bool cache_fallback(struct cache *cache, const struct cache_ask *ask, int64_t now_ns,
                    struct cache_found *found)
{
    pthread_mutex_lock(&cache->lock);
    struct entry *entry = find(cache, ask);
    const bool is_there =
        entry != NULL && is_kept(entry, ns_add(ask->ttl_ns, ask->stale_ns), now_ns);
    if (is_there) {
        hand_out(cache, entry, ask, now_ns, found);
        ++cache->stats.stale;
    }
    pthread_mutex_unlock(&cache->lock);
    return is_there;
}

/* ---- keeping ---- */

/* The lead is over, whatever came of it: followers look again. */
static void end_lead(struct cache *cache, struct cache_ask *ask, struct entry *entry,
                     struct list *gone)
{
    if (entry == NULL || ask->lead == 0 || entry->lead != ask->lead)
        return;
    entry->lead = 0;
    if (entry->value.what == NULL)
        take_out(cache, entry, gone);
    pthread_cond_broadcast(room_of(cache, ask));
}

/* Of two results the one that was asked for later stays. Gives back what was there before. */
static struct cache_value keep(struct cache *cache, struct entry *entry,
                               const struct cache_ask *ask, const struct cache_value *value,
                               int64_t as_of_ns, struct list *gone)
{
    const struct cache_value none = {0};
    if (entry->value.what != NULL && entry->asked_ns > ask->asked_ns)
        return none;
    cache->stats.bytes -= entry->value.size;
    if (!make_room(cache, value->size, entry, gone)) {
        cache->stats.bytes += entry->value.size;
        return none;
    }
    const struct cache_value old = entry->value;
    value->hold(value->what);
    entry->value = *value;
    entry->asked_ns = ask->asked_ns;
    entry->as_of_ns = as_of_ns;
    cache->stats.bytes += value->size;
    if (list_is_linked(&entry->used))
        list_remove(&entry->used);
    else
        ++cache->stats.entries;
    list_push_front(&cache->used, &entry->used);
    return old;
}

void cache_put(struct cache *cache, struct cache_ask *ask, const struct cache_value *value,
               int64_t as_of_ns)
{
    struct list gone;
    struct cache_value old = {0};
    list_init(&gone);
    pthread_mutex_lock(&cache->lock);
    struct entry *entry = find(cache, ask);
    const bool is_wanted =
        ask->clears == cache->clears && value->size <= cache->config.bytes_max / 8;
    if (entry == NULL && is_wanted)
        entry = add(cache, ask, &gone);
    if (entry != NULL && is_wanted)
        old = keep(cache, entry, ask, value, as_of_ns, &gone);
    if (entry != NULL && entry->value.what == NULL && entry->lead == 0)
        take_out(cache, entry, &gone); /* made for nothing */
    else
        end_lead(cache, ask, entry, &gone);
    ask->lead = 0;
    pthread_mutex_unlock(&cache->lock);
    if (old.what != NULL)
        old.drop(old.what);
    free_gone(cache, &gone);
}

void cache_leave(struct cache *cache, struct cache_ask *ask)
{
    struct list gone;
    if (ask->lead == 0)
        return;
    list_init(&gone);
    pthread_mutex_lock(&cache->lock);
    end_lead(cache, ask, find(cache, ask), &gone);
    ask->lead = 0;
    pthread_mutex_unlock(&cache->lock);
    free_gone(cache, &gone);
}

/* ---- the rest ---- */

void cache_clear(struct cache *cache, struct sv operation)
{
    struct list gone;
    const struct sv cut = sv_take(operation, OPERATION_BYTES - 1);
    list_init(&gone);
    pthread_mutex_lock(&cache->lock);
    ++cache->clears;
    for (uint32_t i = 0; i < cache->capacity; i++) {
        struct entry *entry = cache->entries[i];
        if (entry != NULL && entry->value.what != NULL &&
            (cut.size == 0 || sv_eq(cut, sv_from_cstr(entry->operation))))
            forget(cache, entry, &gone);
    }
    pthread_mutex_unlock(&cache->lock);
    free_gone(cache, &gone);
}

void cache_stats(struct cache *cache, struct cache_stats *out)
{
    pthread_mutex_lock(&cache->lock);
    *out = cache->stats;
    pthread_mutex_unlock(&cache->lock);
}
