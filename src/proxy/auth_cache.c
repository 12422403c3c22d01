#include "proxy/auth_cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/bug.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "base/ns.h"

/* "There is none" lives a third as long as a secret: somebody may just be making the user. */
#define NOTHING_SHARE 3

struct auth_secret {
    struct users *users; /* of one */
    struct user *user;
    struct mem *mem;
    _Atomic uint32_t holders;
};

enum entry_state {
    ENTRY_UNUSED,
    ENTRY_ASKED, /* waits for an answer: its first one, or a newer one */
    ENTRY_SECRET,
    ENTRY_NOTHING,
};

struct entry {
    struct list_node link;    /* of asked, secrets or nothings */
    struct list_node waiting; /* of questions, until auth_cache_next() */
    uint64_t hash;
    const struct auth_place *place;
    char user[PROXY_NAME_SIZE];
    enum entry_state state;
    enum auth_nothing nothing;
    bool has_answer;
    bool has_failed;            /* since the last answer; `err` */
    struct auth_secret *secret; /* held; NULL: nothing */
    int64_t answered_ns;
    int64_t fresh_ns; /* until then it counts */
    int64_t valid_ns; /* VALID UNTIL */
    int64_t failed_ns;
    uint64_t workers; /* where somebody waits: a bit for each */
    struct hf_err err;
};

struct place {
    struct place *next;
    struct auth_place place;
};

struct auth_cache {
    struct mem *mem;
    struct auth_times times;
    struct hash_key key;
    uint64_t seed;
    struct entry *entries; /* owned */
    uint32_t used;
    struct map map;
    void *slots; /* owned */
    struct place *places;
    uint32_t place_count;
    struct list asked, secrets, nothings; /* entries; the one unused for longest first */
    struct list questions;
    uint32_t question_count;
    pthread_mutex_t lock;
};

/* ---- secrets ---- */

static struct auth_secret *secret_new(struct auth_cache *cache, const char *name, struct sv text,
                                      struct hf_err *err)
{
    struct auth_secret *secret = mem_alloc(cache->mem, sizeof *secret);
    if (secret == NULL) {
        mem_refused(cache->mem, sizeof *secret, err);
        return NULL;
    }
    secret->mem = cache->mem;
    atomic_init(&secret->holders, 1);
    if (users_new_one(&secret->users, sv_from_cstr(name), text, cache->seed, cache->mem, err) !=
        HF_OK) {
        mem_free(cache->mem, secret);
        return NULL;
    }
    secret->user = users_find(secret->users, sv_from_cstr(name));
    hf_assert(secret->user != NULL);
    return secret;
}

struct user *auth_secret_user(struct auth_secret *secret)
{
    return secret->user;
}

static struct auth_secret *auth_secret_hold(struct auth_secret *secret)
{
    /* Whoever calls has it from somebody who holds it, so it cannot end meanwhile. */
    const uint32_t holders = atomic_fetch_add_explicit(&secret->holders, 1, memory_order_relaxed);
    hf_assert(holders > 0);
    return secret;
}

void auth_secret_drop(struct auth_secret *secret)
{
    if (secret == NULL)
        return;
    /* The last one must see what the others have learned before it wipes it. */
    if (atomic_fetch_sub_explicit(&secret->holders, 1, memory_order_acq_rel) != 1)
        return;
    users_free(secret->users);
    mem_free(secret->mem, secret);
}

/* ---- entries ---- */

static bool place_eq(const struct auth_place *a, const struct auth_place *b)
{
    return strcmp(a->entry, b->entry) == 0 && strcmp(a->dbname, b->dbname) == 0 &&
           strcmp(a->user, b->user) == 0 && strcmp(a->query, b->query) == 0;
}

/* Ours of the same content, made if there is none; NULL: too many, or no memory. */
static const struct auth_place *intern(struct auth_cache *cache, const struct auth_place *place)
{
    for (const struct place *at = cache->places; at != NULL; at = at->next)
        if (place_eq(&at->place, place))
            return &at->place;
    struct place *made =
        cache->place_count < AUTH_PLACES_MAX ? mem_alloc(cache->mem, sizeof *made) : NULL;
    if (made == NULL)
        return NULL;
    made->place = *place;
    made->next = cache->places;
    cache->places = made;
    cache->place_count++;
    return &made->place;
}

static uint64_t hash_of(const struct auth_cache *cache, const struct auth_place *place,
                        struct sv user)
{
    const uint64_t where = hash_bytes(&cache->key, sv_from_cstr(place->entry)) ^
                           rng_mix(hash_bytes(&cache->key, sv_from_cstr(place->dbname)));
    return rng_mix(where + hash_bytes(&cache->key, user));
}

static struct entry *find(struct auth_cache *cache, const struct auth_place *place, struct sv user)
{
    struct map_find at = map_find(&cache->map, hash_of(cache, place, user));
    while (map_find_next(&cache->map, &at)) {
        struct entry *entry = &cache->entries[at.index];
        if (sv_eq(sv_from_cstr(entry->user), user) && place_eq(entry->place, place))
            return entry;
    }
    return NULL;
}

/* Another state, and the end of the list that belongs to it. */
static void enter(struct auth_cache *cache, struct entry *entry, enum entry_state state)
{
    struct list *const lists[] = {
        [ENTRY_ASKED] = &cache->asked,
        [ENTRY_SECRET] = &cache->secrets,
        [ENTRY_NOTHING] = &cache->nothings,
    };
    hf_assert(state != ENTRY_UNUSED);
    entry->state = state;
    if (list_is_linked(&entry->link))
        list_remove(&entry->link);
    list_push_back(lists[state], &entry->link);
}

/* A place for a user more: unused, or that of who can be missed most. NULL: all are asked for. */
static struct entry *make_room(struct auth_cache *cache)
{
    if (cache->used < AUTH_USERS_MAX)
        return &cache->entries[cache->used++];
    struct list_node *node = list_first(&cache->nothings);
    node = node != NULL ? node : list_first(&cache->secrets);
    if (node == NULL)
        return NULL;
    struct entry *entry = container_of(node, struct entry, link);
    list_remove(&entry->link);
    map_remove(&cache->map, entry->hash, (uint32_t)(entry - cache->entries));
    auth_secret_drop(entry->secret);
    explicit_bzero(entry, sizeof *entry);
    return entry;
}

static struct entry *add(struct auth_cache *cache, const struct auth_place *place, struct sv user)
{
    const struct auth_place *ours = intern(cache, place);
    struct entry *entry = ours != NULL && user.size < PROXY_NAME_SIZE ? make_room(cache) : NULL;
    if (entry == NULL)
        return NULL;
    sv_copy(user, entry->user, sizeof entry->user);
    entry->place = ours;
    entry->hash = hash_of(cache, place, user);
    const bool fits = map_insert(&cache->map, entry->hash, (uint32_t)(entry - cache->entries));
    hf_assert(fits);
    return entry;
}

/* ---- asking ---- */

static bool may_be_stale(const struct auth_cache *cache, const struct entry *entry, int64_t now_ns)
{
    return entry->secret != NULL && now_ns < entry->valid_ns &&
           now_ns < ns_add(entry->fresh_ns, cache->times.stale_ns);
}

static enum auth_answer known(struct auth_cache *cache, struct entry *entry, bool is_stale,
                              struct auth_found *found)
{
    found->secret = entry->secret != NULL ? auth_secret_hold(entry->secret) : NULL;
    found->nothing = entry->nothing;
    found->is_stale = is_stale;
    if (entry->state != ENTRY_ASKED)
        enter(cache, entry, entry->state); /* it was used just now */
    return AUTH_KNOWN;
}

static enum auth_answer ask(struct auth_cache *cache, struct entry *entry, uint64_t worker,
                            struct auth_found *found, struct hf_err *err)
{
    if (entry->state != ENTRY_ASKED && cache->question_count >= AUTH_ASKED_MAX) {
        err_set(err, HF_RC_LIMIT, "53300", "too many users are being looked up");
        return AUTH_FAILED;
    }
    if (entry->state != ENTRY_ASKED) {
        enter(cache, entry, ENTRY_ASKED);
        list_push_back(&cache->questions, &entry->waiting);
        cache->question_count++;
        found->must_ask = true;
    }
    entry->workers |= worker;
    return AUTH_WAIT;
}

static enum auth_answer get(struct auth_cache *cache, struct entry *entry,
                            const struct auth_wish *wish, int64_t now_ns, struct auth_found *found,
                            struct hf_err *err)
{
    const bool has_waited = wish->asked_ns != 0;
    if (entry->has_answer &&
        (now_ns < entry->fresh_ns || (has_waited && entry->answered_ns >= wish->asked_ns)))
        return known(cache, entry, false, found);
    const bool is_news = has_waited && entry->failed_ns >= wish->asked_ns;
    if (entry->state != ENTRY_ASKED && entry->has_failed &&
        (is_news || now_ns < ns_add(entry->failed_ns, AUTH_PAUSE_NS))) {
        if (may_be_stale(cache, entry, now_ns))
            return known(cache, entry, true, found);
        *err = entry->err;
        return AUTH_FAILED;
    }
    return ask(cache, entry, UINT64_C(1) << wish->worker, found, err);
}

enum auth_answer auth_cache_get(struct auth_cache *cache, const struct auth_wish *wish,
                                int64_t now_ns, struct auth_found *found, struct hf_err *err)
{
    enum auth_answer answer = AUTH_FAILED;
    *found = (struct auth_found){0};
    pthread_mutex_lock(&cache->lock);
    struct entry *entry = find(cache, wish->place, wish->user);
    /* Before an entry is made: one that could not be asked for would be in no list. */
    const bool is_full = entry == NULL && cache->question_count >= AUTH_ASKED_MAX;
    if (entry == NULL && !is_full)
        entry = add(cache, wish->place, wish->user);
    if (entry != NULL)
        answer = get(cache, entry, wish, now_ns, found, err);
    else
        err_set(err, HF_RC_LIMIT, "53300", "too many users are being looked up");
    pthread_mutex_unlock(&cache->lock);
    return answer;
}

struct auth_secret *auth_cache_peek(struct auth_cache *cache, const struct auth_place *place,
                                    struct sv user)
{
    pthread_mutex_lock(&cache->lock);
    const struct entry *entry = find(cache, place, user);
    struct auth_secret *secret =
        entry != NULL && entry->secret != NULL ? auth_secret_hold(entry->secret) : NULL;
    pthread_mutex_unlock(&cache->lock);
    return secret;
}

void auth_cache_doubt(struct auth_cache *cache, const struct auth_place *place, struct sv user,
                      int64_t now_ns)
{
    pthread_mutex_lock(&cache->lock);
    struct entry *entry = find(cache, place, user);
    if (entry != NULL && entry->state == ENTRY_SECRET &&
        ns_add(entry->answered_ns, AUTH_DOUBT_NS) <= now_ns)
        entry->fresh_ns = ns_min(entry->fresh_ns, now_ns);
    pthread_mutex_unlock(&cache->lock);
}

/* ---- for who asks ---- */

bool auth_cache_next(struct auth_cache *cache, struct auth_question *question)
{
    pthread_mutex_lock(&cache->lock);
    struct list_node *node = list_pop_front(&cache->questions);
    if (node != NULL) {
        const struct entry *entry = container_of(node, struct entry, waiting);
        question->place = entry->place;
        memcpy(question->user, entry->user, sizeof question->user);
        question->index = (uint32_t)(entry - cache->entries);
    }
    pthread_mutex_unlock(&cache->lock);
    return node != NULL;
}

bool auth_cache_has_stale(struct auth_cache *cache, const struct auth_question *question,
                          int64_t now_ns)
{
    pthread_mutex_lock(&cache->lock);
    const bool has = may_be_stale(cache, &cache->entries[question->index], now_ns);
    pthread_mutex_unlock(&cache->lock);
    return has;
}

/* It is no longer asked for; under the lock. */
static uint64_t settle(struct auth_cache *cache, struct entry *entry)
{
    const uint64_t workers = entry->workers;
    hf_assert(entry->state == ENTRY_ASKED);
    entry->workers = 0;
    cache->question_count--;
    enter(cache, entry, entry->secret != NULL ? ENTRY_SECRET : ENTRY_NOTHING);
    return workers;
}

static uint64_t fail(struct auth_cache *cache, struct entry *entry, const struct hf_err *err,
                     int64_t now_ns)
{
    entry->err = *err;
    entry->has_failed = true;
    entry->failed_ns = now_ns;
    return settle(cache, entry);
}

/* The same secret stays, with what was learned of it. */
static enum hf_rc take_secret(struct auth_cache *cache, struct entry *entry, struct sv text,
                              struct hf_err *err)
{
    if (entry->secret != NULL && user_has_secret(entry->secret->user, text))
        return HF_OK;
    struct auth_secret *made = secret_new(cache, entry->user, text, err);
    if (made == NULL)
        return err->rc;
    auth_secret_drop(entry->secret);
    entry->secret = made;
    return HF_OK;
}

uint64_t auth_cache_answer(struct auth_cache *cache, const struct auth_question *question,
                           struct sv secret, enum auth_nothing nothing, int64_t valid_ns,
                           int64_t now_ns)
{
    struct hf_err err;
    enum hf_rc rc = HF_OK;
    uint64_t workers;
    pthread_mutex_lock(&cache->lock);
    struct entry *entry = &cache->entries[question->index];
    if (secret.data != NULL && valid_ns > now_ns) {
        rc = take_secret(cache, entry, secret, &err);
    } else {
        auth_secret_drop(entry->secret);
        entry->secret = NULL;
    }
    const int64_t ttl_ns = cache->times.ttl_ns / (entry->secret != NULL ? 1 : NOTHING_SHARE);
    if (rc == HF_OK) {
        entry->has_answer = true;
        entry->has_failed = false;
        entry->nothing = nothing;
        entry->answered_ns = now_ns;
        entry->valid_ns = valid_ns;
        entry->fresh_ns = ns_add(now_ns, ttl_ns);
        if (entry->secret != NULL)
            entry->fresh_ns = ns_min(entry->fresh_ns, valid_ns);
        workers = settle(cache, entry);
    } else {
        workers = fail(cache, entry, &err, now_ns);
    }
    pthread_mutex_unlock(&cache->lock);
    return workers;
}

uint64_t auth_cache_fail(struct auth_cache *cache, const struct auth_question *question,
                         const struct hf_err *err, int64_t now_ns)
{
    pthread_mutex_lock(&cache->lock);
    const uint64_t workers = fail(cache, &cache->entries[question->index], err, now_ns);
    pthread_mutex_unlock(&cache->lock);
    return workers;
}

/* ---- life ---- */

enum hf_rc auth_cache_new(struct auth_cache **out, const struct auth_times *times, uint64_t seed,
                          struct mem *mem, struct hf_err *err)
{
    const size_t size = map_size(AUTH_USERS_MAX) + AUTH_USERS_MAX * sizeof(struct entry);
    struct auth_cache *cache = mem_alloc(mem, sizeof *cache);
    if (cache == NULL)
        return mem_refused(mem, sizeof *cache, err);
    cache->mem = mem;
    cache->times = *times;
    cache->seed = seed;
    cache->key = hash_key_from_seed(seed);
    pthread_mutex_init(&cache->lock, NULL);
    list_init(&cache->asked);
    list_init(&cache->secrets);
    list_init(&cache->nothings);
    list_init(&cache->questions);
    /* What is never used is never touched, and costs address space only. */
    cache->entries = mem_alloc_array(mem, AUTH_USERS_MAX, sizeof cache->entries[0]);
    cache->slots = mem_alloc(mem, map_size(AUTH_USERS_MAX));
    if (cache->entries == NULL || cache->slots == NULL) {
        auth_cache_free(cache);
        return mem_refused(mem, size, err);
    }
    map_init(&cache->map, cache->slots, AUTH_USERS_MAX);
    *out = cache;
    return HF_OK;
}

void auth_cache_free(struct auth_cache *cache)
{
    if (cache == NULL)
        return;
    for (uint32_t i = 0; i < cache->used; i++)
        auth_secret_drop(cache->entries[i].secret);
    for (struct place *place = cache->places; place != NULL;) {
        struct place *next = place->next;
        mem_free(cache->mem, place);
        place = next;
    }
    pthread_mutex_destroy(&cache->lock);
    mem_free(cache->mem, cache->entries);
    mem_free(cache->mem, cache->slots);
    mem_free(cache->mem, cache);
}

void auth_cache_adopt(struct auth_cache *cache, struct auth_cache *before, int64_t now_ns)
{
    pthread_mutex_lock(&before->lock);
    /* The one unused for longest first, so that the order stays. */
    list_for_each(node, &before->secrets) {
        const struct entry *old = container_of(node, struct entry, link);
        struct entry *entry = add(cache, old->place, sv_from_cstr(old->user));
        if (entry == NULL)
            break;
        entry->secret = auth_secret_hold(old->secret);
        entry->has_answer = true;
        entry->answered_ns = old->answered_ns;
        entry->valid_ns = old->valid_ns;
        /* The times may be others now. */
        entry->fresh_ns =
            ns_min(ns_min(old->fresh_ns, ns_add(now_ns, cache->times.ttl_ns)), old->valid_ns);
        enter(cache, entry, ENTRY_SECRET);
    }
    pthread_mutex_unlock(&before->lock);
}
