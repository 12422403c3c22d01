#include "proxy/limits.h"

#include <string.h>

#include "base/bug.h"
#include "base/container_of.h"
#include "base/hash.h"
#include "os/clock.h"
#include "proxy/application_name.h"
#include "proxy/client.h"
#include "proxy/pool.h"
#include "proxy/worker.h"

/* ---- buckets, under proxy->lock ---- */

static uint64_t hash_of(const struct proxy *proxy, const char *group, const char *value)
{
    uint64_t hash = hash_bytes(&proxy->hash_key, sv_from_cstr(group));
    return hash ^
           (hash_bytes(&proxy->hash_key, sv_from_cstr(value)) * UINT64_C(0x9e3779b97f4a7c15));
}

static void free_bucket(struct proxy *proxy, struct limit_bucket *bucket)
{
    pthread_mutex_destroy(&bucket->lock);
    proxy->limits.flows[bucket->flow]--;
    proxy->limits.count--;
    mem_free(proxy->mem, bucket->memory);
    mem_free(proxy->mem, bucket);
}

/* One that nobody has yet, if there is one: two buckets in one flow share their turns. */
static uint32_t choose_flow(const struct proxy *proxy)
{
    uint32_t best = 1;
    for (uint32_t i = 2; i < FAIR_SLOTS; i++)
        if (proxy->limits.flows[i] < proxy->limits.flows[best])
            best = i;
    return best;
}

/* Drops those of a chain that nobody is in and that have nothing to remember. */
static void sweep(struct proxy *proxy, struct limit_bucket **chain, int64_t now_ns)
{
    while (*chain != NULL) {
        struct limit_bucket *bucket = *chain;
        if (bucket->refs > 0 || !rate_is_idle(&bucket->rate, now_ns)) {
            chain = &bucket->next;
            continue;
        }
        *chain = bucket->next;
        free_bucket(proxy, bucket);
    }
}

static struct bulkhead_config bulkhead_of(const struct group *group)
{
    struct bulkhead_config config = bulkhead_config_default();
    config.limit =
        group->concurrency_max > 0 ? (uint32_t)group->concurrency_max : BULKHEAD_LIMIT_MAX;
    config.queue_max = (uint32_t)group->queue_max;
    config.wait_ns_max = group->queue_wait_ns;
    config.exec_ns_max = HF_NEVER;
    config.has_histograms = false;
    return config;
}

static struct rate_config rate_of(const struct group *group)
{
    return (struct rate_config){.per_second = (uint32_t)group->rate,
                                .burst = (uint32_t)group->rate_burst};
}

static void set_numbers(struct limit_bucket *bucket, const struct group *group)
{
    bucket->clients_max = group->clients_max;
    bucket->weight = (uint32_t)group->weight;
    atomic_store_explicit(&bucket->wait_ns_max, group->queue_wait_ns, memory_order_relaxed);
    atomic_store_explicit(&bucket->rate_a_second, group->rate, memory_order_relaxed);
}

static struct limit_bucket *make_bucket(struct proxy *proxy, const struct group *group,
                                        const char *value, uint64_t hash)
{
    const struct bulkhead_config config = bulkhead_of(group);
    const struct rate_config rate = rate_of(group);
    int64_t now_ns = clock_now();
    if (proxy->limits.count == LIMITS_BUCKETS_MAX)
        for (size_t i = 0; i < LIMITS_CHAINS; i++)
            sweep(proxy, &proxy->limits.chains[i], now_ns);
    if (proxy->limits.count == LIMITS_BUCKETS_MAX)
        return NULL;
    struct limit_bucket *bucket = mem_alloc(proxy->mem, sizeof *bucket);
    void *memory = mem_alloc(proxy->mem, bulkhead_size(&config) + BULKHEAD_ALIGN);
    if (bucket == NULL || memory == NULL || pthread_mutex_init(&bucket->lock, NULL) != 0) {
        mem_free(proxy->mem, memory);
        mem_free(proxy->mem, bucket);
        return NULL;
    }
    uintptr_t at = ((uintptr_t)memory + BULKHEAD_ALIGN - 1) / BULKHEAD_ALIGN * BULKHEAD_ALIGN;
    bucket->memory = memory;
    bucket->bulkhead = bulkhead_init((void *)at, &config, now_ns);
    bucket->hash = hash;
    bucket->flow = choose_flow(proxy);
    bool fits = sv_copy(sv_from_cstr(group->name), bucket->group, sizeof bucket->group) &&
                sv_copy(sv_from_cstr(value), bucket->value, sizeof bucket->value);
    hf_assert(fits);
    rate_init(&bucket->rate, &rate, now_ns);
    set_numbers(bucket, group);
    struct limit_bucket **chain = &proxy->limits.chains[hash % LIMITS_CHAINS];
    bucket->next = *chain;
    *chain = bucket;
    proxy->limits.flows[bucket->flow]++;
    proxy->limits.count++;
    return bucket;
}

/* NULL: there are too many. */
static struct limit_bucket *get_bucket(struct proxy *proxy, const struct group *group,
                                       const char *value)
{
    uint64_t hash = hash_of(proxy, group->name, value);
    struct limit_bucket **chain = &proxy->limits.chains[hash % LIMITS_CHAINS];
    sweep(proxy, chain, clock_now());
    for (struct limit_bucket *bucket = *chain; bucket != NULL; bucket = bucket->next)
        if (bucket->hash == hash && strcmp(bucket->group, group->name) == 0 &&
            strcmp(bucket->value, value) == 0)
            return bucket;
    return make_bucket(proxy, group, value, hash);
}

/* ---- permits ---- */

/* With the bucket's lock held: it is its turn. */
static void tell(struct bulkhead_waiter *waiter)
{
    struct limited *limited = container_of(waiter, struct limited, waiter);
    limited->message.kind = WORKER_LIMIT;
    loop_post(limited->worker->loop, &limited->message);
}

static void serve(struct limit_bucket *bucket, int64_t now_ns)
{
    struct bulkhead_waiter *waiter;
    while ((waiter = bulkhead_pop_granted(bucket->bulkhead, now_ns)) != NULL)
        tell(waiter);
}

static void give_back(struct limit_bucket *bucket, struct bulkhead_permit *permit, int64_t now_ns)
{
    permit->ending = BULKHEAD_RAN;
    if (bulkhead_release(bucket->bulkhead, permit, now_ns))
        return;
    pthread_mutex_lock(&bucket->lock);
    struct bulkhead_waiter *first = bulkhead_hand_over(bucket->bulkhead, permit, now_ns);
    if (first != NULL)
        tell(first);
    serve(bucket, now_ns);
    pthread_mutex_unlock(&bucket->lock);
}

static void give_all_back(struct limited *limited, int64_t now_ns)
{
    while (limited->held > 0) {
        limited->held--;
        give_back(limited->buckets[limited->held], &limited->permits[limited->held], now_ns);
    }
}

/* The message that it is its turn is under way and cannot be called back: it gets the old struct,
 * and frees it. False: no memory for another one. */
static bool renew(struct limited *limited)
{
    struct client *client = limited->client;
    struct limited *fresh = mem_alloc(client->worker->proxy->mem, sizeof *fresh);
    limited->client = NULL;
    client->limited = fresh;
    if (fresh == NULL)
        return false;
    *fresh = *limited;
    fresh->client = client;
    fresh->waiter = (struct bulkhead_waiter){0};
    fresh->is_queued = false;
    return true;
}

/* Out of the queue, if it is in one. Its struct may be another one afterwards, or NULL. */
static void unqueue(struct limited *limited, int64_t now_ns)
{
    if (!limited->is_queued)
        return;
    struct limit_bucket *bucket = limited->buckets[limited->held];
    pthread_mutex_lock(&bucket->lock);
    bool holds_nothing = bulkhead_withdraw(bucket->bulkhead, &limited->waiter, now_ns);
    pthread_mutex_unlock(&bucket->lock);
    limited->is_queued = false;
    if (holds_nothing)
        return;
    struct bulkhead_permit permit = limited->waiter.permit;
    give_back(bucket, &permit, now_ns);
    struct limited old = *limited;
    if (!renew(limited)) { /* without its groups' places it cannot go on as their member */
        struct proxy *proxy = old.worker->proxy;
        give_all_back(&old, now_ns);
        pthread_mutex_lock(&proxy->lock);
        for (uint32_t i = 0; i < old.count; i++) {
            old.buckets[i]->clients--;
            old.buckets[i]->refs--;
        }
        pthread_mutex_unlock(&proxy->lock);
    }
}

/* ---- refusals ---- */

static void explain_clients(const struct limit_bucket *bucket, struct hf_err *err)
{
    err_set(err, HF_RC_LIMIT, "53300", "too many connections for group \"%s\"", bucket->group);
    err_detail(err, "It has %u clients%s%s; its clients_max is %lld.", bucket->clients,
               bucket->value[0] != '\0' ? " of " : "", bucket->value,
               (long long)bucket->clients_max);
    err_hint(err, "Close connections that are not needed, or raise groups.%s.clients_max.",
             bucket->group);
}

static void explain_rate(const struct limit_bucket *bucket, int64_t wait_ns, struct hf_err *err)
{
    err_set(err, HF_RC_LIMIT, "53400", "too many transactions a second for group \"%s\"",
            bucket->group);
    err_detail(
        err,
        "Its rate is %lld a second; the wait would be %lld ms, and its queue_wait is "
        "%lld ms.",
        (long long)atomic_load_explicit(&bucket->rate_a_second, memory_order_relaxed),
        (long long)(wait_ns / HF_MS(1)),
        (long long)(atomic_load_explicit(&bucket->wait_ns_max, memory_order_relaxed) / HF_MS(1)));
    err_hint(err, "Try again later, or raise groups.%s.rate.", bucket->group);
}

static void explain_busy(struct limit_bucket *bucket, const struct bulkhead_reason *reason,
                         int64_t waited_ns, struct hf_err *err)
{
    err_set(err, HF_RC_LIMIT, "53300", "group \"%s\" uses all server connections that it may have",
            bucket->group);
    err_detail(err,
               "%u of %u are in use, %u clients wait before this one, which has waited for "
               "%lld ms.",
               reason->in_use, reason->limit, reason->ahead, (long long)(waited_ns / HF_MS(1)));
    err_hint(err, "Try again later, or raise groups.%s.concurrency_max or queue_wait.",
             bucket->group);
}

static void count_refusal(struct limit_bucket *bucket)
{
    atomic_fetch_add_explicit(&bucket->refused, 1, memory_order_relaxed);
}

/* ---- requests ---- */

/* Takes what permits are missing, in order. */
static enum limits_answer gather_permits(struct limited *limited, struct hf_err *err)
{
    int64_t now_ns = worker_now(limited->worker);
    while (limited->held < limited->count) {
        struct limit_bucket *bucket = limited->buckets[limited->held];
        struct bulkhead_permit *permit = &limited->permits[limited->held];
        if (bulkhead_try(bucket->bulkhead, now_ns, permit)) {
            limited->held++;
            continue;
        }
        pthread_mutex_lock(&bucket->lock);
        enum bulkhead_answer answer =
            bulkhead_enter(bucket->bulkhead, &limited->waiter, now_ns, 0, limited->until_ns);
        limited->is_queued = answer == BULKHEAD_QUEUED;
        struct bulkhead_reason reason = *bulkhead_reason(bucket->bulkhead);
        pthread_mutex_unlock(&bucket->lock);
        if (answer == BULKHEAD_QUEUED) {
            limited->since_ns = limited->since_ns != 0 ? limited->since_ns : now_ns;
            atomic_fetch_add_explicit(&bucket->waited, 1, memory_order_relaxed);
            return LIMITS_WAIT;
        }
        if (answer != BULKHEAD_GRANTED) {
            int64_t since_ns = limited->since_ns != 0 ? limited->since_ns : now_ns;
            explain_busy(bucket, &reason, now_ns - since_ns, err);
            count_refusal(bucket);
            give_all_back(limited, now_ns);
            return LIMITS_REFUSED;
        }
        *permit = limited->waiter.permit;
        limited->held++;
    }
    return LIMITS_GO;
}

enum limits_answer limits_begin(struct client *client, struct hf_err *err)
{
    struct limited *limited = client->limited;
    int64_t now_ns = worker_now(client->worker), longest_ns = 0, patience_ns = HF_NEVER;
    limited->since_ns = 0;
    for (uint32_t i = 0; i < limited->count; i++) {
        struct limit_bucket *bucket = limited->buckets[i];
        int64_t most_ns = atomic_load_explicit(&bucket->wait_ns_max, memory_order_relaxed), wait_ns;
        if (!rate_try_take(&bucket->rate, now_ns, most_ns, &wait_ns)) {
            while (i > 0)
                rate_refund(&limited->buckets[--i]->rate);
            explain_rate(bucket, wait_ns, err);
            count_refusal(bucket);
            return LIMITS_REFUSED;
        }
        if (wait_ns > 0)
            atomic_fetch_add_explicit(&bucket->waited, 1, memory_order_relaxed);
        longest_ns = ns_max(longest_ns, wait_ns);
        patience_ns = ns_min(patience_ns, most_ns);
    }
    limited->until_ns = ns_add(now_ns, patience_ns);
    if (longest_ns == 0)
        return gather_permits(limited, err);
    limited->since_ns = now_ns;
    limited->ready_ns = now_ns + longest_ns;
    limited->until_ns = ns_max(limited->until_ns, limited->ready_ns + 1);
    return LIMITS_WAIT;
}

/* Goes on with what came of it. */
static void proceed(struct client *client, enum limits_answer answer, const struct hf_err *err)
{
    if (answer == LIMITS_GO)
        client_admitted(client);
    else if (answer == LIMITS_REFUSED)
        client_not_served(client, err, sv_from(NULL, 0));
    else
        client_enter(client, CLIENT_WAITING); /* for its timer */
}

void limits_granted(struct loop_message *message)
{
    struct limited *limited = container_of(message, struct limited, message);
    struct client *client = limited->client;
    struct hf_err err;
    if (client == NULL) {
        mem_free(limited->worker->proxy->mem, limited);
        return;
    }
    limited->is_queued = false;
    limited->permits[limited->held++] = limited->waiter.permit;
    proceed(client, gather_permits(limited, &err), &err);
}

int64_t limits_deadline(const struct client *client)
{
    const struct limited *limited = client->limited;
    if (limited == NULL)
        return HF_NEVER;
    if (limited->ready_ns != 0)
        return limited->ready_ns;
    return limited->is_queued ? limited->until_ns : HF_NEVER;
}

void limits_timeout(struct client *client)
{
    struct limited *limited = client->limited;
    int64_t now_ns = worker_now(client->worker);
    struct hf_err err;
    if (limited == NULL || limits_deadline(client) > now_ns)
        return;
    if (limited->ready_ns != 0) {
        limited->ready_ns = 0;
        proceed(client, gather_permits(limited, &err), &err);
        return;
    }
    struct limit_bucket *bucket = limited->buckets[limited->held];
    pthread_mutex_lock(&bucket->lock);
    bool is_granted = limited->waiter.state == BULKHEAD_WAITER_GRANTED;
    struct bulkhead_reason reason = limited->waiter.reason;
    pthread_mutex_unlock(&bucket->lock);
    if (is_granted) /* its message is about to come */
        return;
    explain_busy(bucket, &reason, now_ns - limited->since_ns, &err);
    count_refusal(bucket);
    limits_end(client);
    client_not_served(client, &err, sv_from(NULL, 0));
}

uint64_t limits_rank(const struct client *client)
{
    const struct limited *limited = client->limited;
    struct fair *fair = &client->part->pool->fair;
    if (client->worker->config->group_count == 0)
        return 0;
    if (limited == NULL)
        return fair_join(fair, 0, GROUPS_WEIGHT_DEFAULT);
    return fair_join(fair, limited->flow, limited->weight);
}

/* ---- who is in which groups ---- */

/* The text that a group tells its clients apart by. */
static void value_of(const struct group *group, const struct group_member *member,
                     char out[GROUPS_NAME_SIZE])
{
    char address[PEER_TEXT_SIZE];
    struct peer source = peer_source(member->peer);
    struct sv value = {0};
    switch (group->per) {
    case GROUP_PER_ROLE:
        value = member->role;
        break;
    case GROUP_PER_DATABASE:
        value = member->database;
        break;
    case GROUP_PER_APPLICATION_NAME:
        value = member->application_name;
        break;
    case GROUP_PER_ADDRESS:
        value = sv_from_cstr(peer_text(&source, address));
        break;
    case GROUP_PER_GROUP:
    default:
        break;
    }
    value = sv_take(value, GROUPS_NAME_SIZE - 1);
    if (value.size > 0)
        memcpy(out, value.data, value.size);
    out[value.size] = '\0';
}

/* Under proxy->lock: the buckets of all groups that the client is in. False: no place for one. */
static bool find_buckets(const struct client *client, struct limited *limited)
{
    struct proxy *proxy = client->worker->proxy;
    const struct proxy_config *config = atomic_load(&proxy->config);
    const struct group_member member = {
        .role = sv_from_cstr(client->part->pool->role),
        .database = sv_from_cstr(client->part->pool->name),
        .application_name = application_name_plain(
            settings_find(&proxy->settings, client->settings, SV("application_name")),
            &client->peer),
        .peer = &client->peer,
    };
    limited->weight = 0;
    for (uint32_t i = 0; i < config->group_count && limited->count < LIMITS_EACH_MAX; i++) {
        char value[GROUPS_NAME_SIZE];
        if (!group_has(&config->groups[i], &member))
            continue;
        value_of(&config->groups[i], &member, value);
        struct limit_bucket *bucket = get_bucket(proxy, &config->groups[i], value);
        if (bucket == NULL)
            return false;
        bucket->refs++;
        limited->buckets[limited->count++] = bucket;
        if (limited->weight == 0 && bucket->weight > 0) {
            limited->weight = bucket->weight;
            limited->flow = bucket->flow;
        }
    }
    if (limited->weight > 0)
        return true;
    limited->weight = GROUPS_WEIGHT_DEFAULT;
    limited->flow = limited->count > 0 ? limited->buckets[0]->flow : 0;
    return true;
}

static void leave_buckets(struct limited *limited, bool is_counted)
{
    for (uint32_t i = 0; i < limited->count; i++) {
        limited->buckets[i]->refs--;
        limited->buckets[i]->clients -= is_counted;
    }
    limited->count = 0;
}

/* Under proxy->lock. NULL: it is in no group, or `err` says why it may not be. */
static struct limited *join(struct client *client, bool may_refuse, struct hf_err *err)
{
    struct proxy *proxy = client->worker->proxy;
    struct limited found = {
        .worker = client->worker, .client = client, .reloads = client->worker->reload_count};
    err_clear(err);
    bool has_place = find_buckets(client, &found);
    if (has_place && found.count == 0)
        return NULL;
    for (uint32_t i = 0; has_place && may_refuse && i < found.count; i++) {
        struct limit_bucket *bucket = found.buckets[i];
        if (bucket->clients_max == 0 || bucket->clients < bucket->clients_max)
            continue;
        explain_clients(bucket, err);
        count_refusal(bucket);
        leave_buckets(&found, false);
        return NULL;
    }
    struct limited *limited = has_place ? mem_alloc(proxy->mem, sizeof *limited) : NULL;
    if (limited == NULL) {
        leave_buckets(&found, false);
        err_set(err, HF_RC_LIMIT, "53200", "too many groups of clients");
        err_detail(err, "There are %u, counted by what groups count per; %d are possible.",
                   proxy->limits.count, LIMITS_BUCKETS_MAX);
        err_hint(err, "Let groups count per something that has fewer values.");
        return NULL;
    }
    *limited = found;
    for (uint32_t i = 0; i < limited->count; i++)
        limited->buckets[i]->clients++;
    return limited;
}

bool limits_login(struct client *client, struct hf_err *err)
{
    struct proxy *proxy = client->worker->proxy;
    const struct proxy_config *config = atomic_load(&proxy->config);
    if (config->group_count == 0)
        return true;
    pthread_mutex_lock(&proxy->lock);
    client->limited = join(client, true, err);
    pthread_mutex_unlock(&proxy->lock);
    if (client->limited == NULL)
        return err->rc == HF_OK;
    if (client->part->pool->mode != PROXY_POOL_SESSION)
        return true;
    client->limited->until_ns = worker_now(client->worker); /* waits for nothing */
    return gather_permits(client->limited, err) == LIMITS_GO;
}

void limits_logout(struct client *client)
{
    struct proxy *proxy = client->worker->proxy;
    limits_end(client);
    struct limited *limited = client->limited;
    if (limited == NULL)
        return;
    pthread_mutex_lock(&proxy->lock);
    leave_buckets(limited, true);
    pthread_mutex_unlock(&proxy->lock);
    client->limited = NULL;
    mem_free(proxy->mem, limited);
}

/* Into the groups that there are now. It holds nothing. */
static void rejoin(struct client *client)
{
    struct proxy *proxy = client->worker->proxy;
    struct limited *before = client->limited;
    struct hf_err err;
    pthread_mutex_lock(&proxy->lock);
    struct limited *after = join(client, false, &err);
    if (before != NULL)
        leave_buckets(before, true);
    pthread_mutex_unlock(&proxy->lock);
    client->limited = after;
    mem_free(proxy->mem, before);
}

void limits_end(struct client *client)
{
    struct limited *limited = client->limited;
    int64_t now_ns = worker_now(client->worker);
    if (limited == NULL)
        return;
    unqueue(limited, now_ns);
    limited = client->limited;
    if (limited == NULL)
        return;
    if (limited->ready_ns != 0) { /* what it was given a time for does not begin */
        for (uint32_t i = 0; i < limited->count; i++)
            rate_refund(&limited->buckets[i]->rate);
        limited->ready_ns = 0;
    }
    give_all_back(limited, now_ns);
    if (limited->reloads != client->worker->reload_count && client->state != CLIENT_CLOSING)
        rejoin(client);
}

/* ---- reloads ---- */

static const struct group *find_group(const struct proxy_config *config, const char *name)
{
    for (uint32_t i = 0; i < config->group_count; i++)
        if (strcmp(config->groups[i].name, name) == 0)
            return &config->groups[i];
    return NULL;
}

/* `group` NULL: it is not there any more, and limits nobody. */
static void change_bucket(struct limit_bucket *bucket, const struct group *group)
{
    static const struct group none = {.queue_max = 1, .queue_wait_ns = HF_SEC(1), .rate_burst = 1};
    const struct group *now = group != NULL ? group : &none;
    const struct bulkhead_config config = bulkhead_of(now);
    const struct rate_config rate = rate_of(now);
    int64_t now_ns = clock_now();
    set_numbers(bucket, now);
    rate_configure(&bucket->rate, &rate);
    pthread_mutex_lock(&bucket->lock);
    bulkhead_configure(bucket->bulkhead, &config, now_ns);
    serve(bucket, now_ns);
    pthread_mutex_unlock(&bucket->lock);
}

void limits_configure(struct proxy *proxy)
{
    const struct proxy_config *config = atomic_load(&proxy->config);
    pthread_mutex_lock(&proxy->lock);
    for (size_t i = 0; i < LIMITS_CHAINS; i++)
        for (struct limit_bucket *b = proxy->limits.chains[i]; b != NULL; b = b->next)
            change_bucket(b, find_group(config, b->group));
    pthread_mutex_unlock(&proxy->lock);
}

void limits_reload(struct worker *worker)
{
    worker->reload_count++;
    list_for_each(node, &worker->sessions) {
        struct client *client = container_of(node, struct client, link);
        bool is_in = client->part != NULL && client->is_tallied && client->state != CLIENT_CLOSING;
        const struct limited *limited = client->limited;
        bool is_free = limited == NULL ||
                       (limited->held == 0 && !limited->is_queued && limited->ready_ns == 0);
        if (is_in && is_free && (limited != NULL || worker->config->group_count > 0))
            rejoin(client);
    }
}

void limits_free_all(struct proxy *proxy)
{
    for (size_t i = 0; i < LIMITS_CHAINS; i++) {
        while (proxy->limits.chains[i] != NULL) {
            struct limit_bucket *bucket = proxy->limits.chains[i];
            proxy->limits.chains[i] = bucket->next;
            free_bucket(proxy, bucket);
        }
    }
}
