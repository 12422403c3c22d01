#include "proxy/pool.h"

#include <string.h>

#include "base/bug.h"
#include "os/clock.h"
#include "proxy/client.h"
#include "proxy/limits.h"
#include "proxy/listen_hub.h"
#include "proxy/pool_average.h"
#include "proxy/pool_gate.h"
#include "proxy/server.h"
#include "proxy/server_login.h"
#include "proxy/worker.h"

/* ---- pools ---- */

static struct pool *pool_find(struct proxy *proxy, const struct pool_key *key,
                              enum proxy_pool_mode mode)
{
    for (struct pool *pool = proxy->pools; pool != NULL; pool = pool->next) {
        if (sv_eq(sv_from_cstr(pool->name), key->name) &&
            sv_eq(sv_from_cstr(pool->role), key->role) &&
            pool->is_replication == key->is_replication && pool->wish == key->wish &&
            pool->hub == key->hub && pool->mode == mode)
            return pool;
    }
    return NULL;
}

/* The share of a part at first: even, the first ones have what is left over. */
static uint32_t first_share(uint32_t size, uint32_t workers, uint32_t index)
{
    return size / workers + (index < size % workers);
}

const char *pool_mode_name(enum proxy_pool_mode mode)
{
    static const char *const names[] = {"session", "transaction", "statement"};
    return names[mode];
}

struct bulkhead_config pool_bulkhead_config(const struct pool_part *part, uint32_t limit)
{
    struct bulkhead_config config = bulkhead_config_default();
    config.limit = limit;
    config.queue_max = (uint32_t)part->config.queue_max;
    config.wait_ns_max = part->config.query_wait_timeout_ns;
    config.exec_ns_max = HF_NEVER;
    config.has_histograms = false;
    config.waits_at_zero = true;
    /* How long a wait would be can be told only where nobody else moves the limit: a part whose
     * shares have gone to another worker would refuse clients that are served in a moment. While it
     * is held, how long is the operator's affair. */
    config.refuses_hopeless = part->pool->mode != PROXY_POOL_SESSION &&
                              part->pool->proxy->worker_count == 1 && !part->is_held;
    return config;
}

static bool part_init(struct pool *pool, struct pool_part *part, uint32_t index,
                      const struct proxy_pool *limits)
{
    struct proxy *proxy = pool->proxy;
    part->pool = pool;
    part->config = *limits;
    part->size = (uint32_t)limits->pool_size;
    uint32_t share = first_share(part->size, proxy->worker_count, index);
    part->is_held = gates_is_paused(&proxy->gates, sv_from_cstr(pool->name));
    part->held = part->is_held ? share : 0;
    struct bulkhead_config config = pool_bulkhead_config(part, part->is_held ? 0 : share);
    part->memory = mem_alloc(proxy->mem, bulkhead_size(&config) + BULKHEAD_ALIGN);
    if (part->memory == NULL)
        return false;
    uintptr_t at = ((uintptr_t)part->memory + BULKHEAD_ALIGN - 1) / BULKHEAD_ALIGN * BULKHEAD_ALIGN;
    part->bulkhead = bulkhead_init((void *)at, &config, clock_now());
    part->worker = &proxy->workers[index];
    atomic_init(&part->oldest_ns, HF_NEVER);
    list_init(&part->idle);
    list_init(&part->servers);
    list_init(&part->awaiting);
    return true;
}

static void pool_free(struct pool *pool)
{
    struct proxy *proxy = pool->proxy;
    for (uint32_t i = 0; pool->parts != NULL && i < proxy->worker_count; i++)
        mem_free(proxy->mem, pool->parts[i].memory);
    mem_free(proxy->mem, pool->parts);
    mem_free(proxy->mem, pool);
}

/* What the configuration in force says of it. False: the database is not there any more. */
static bool limits_of(struct proxy *proxy, const struct pool_key *key, struct proxy_pool *limits)
{
    const struct proxy_config *config = proxy->config;
    const struct proxy_database *database = proxy_database_find(config, key->name);
    if (database == NULL)
        return false;
    proxy_pool_of(database, proxy_role_get(config, key->role), limits);
    if (key->is_replication || key->hub != NULL)
        limits->pool_mode = PROXY_POOL_SESSION;
    else if (key->wish != PROXY_ROLE_AS_DATABASE)
        limits->pool_mode = (enum proxy_pool_mode)(key->wish - PROXY_ROLE_SESSION);
    return true;
}

static struct pool *pool_new(struct proxy *proxy, const struct pool_key *key,
                             const struct proxy_pool *limits)
{
    struct pool *pool = mem_alloc(proxy->mem, sizeof *pool);
    if (pool == NULL)
        return NULL;
    pool->proxy = proxy;
    pool->is_replication = key->is_replication;
    pool->wish = key->wish;
    pool->hub = key->hub;
    pool->mode = limits->pool_mode;
    pool->parts = mem_alloc_array(proxy->mem, proxy->worker_count, sizeof *pool->parts);
    bool is_good = sv_copy(key->name, pool->name, sizeof pool->name) &&
                   sv_copy(key->role, pool->role, sizeof pool->role) && pool->parts != NULL;
    for (uint32_t i = 0; is_good && i < proxy->worker_count; i++)
        is_good = part_init(pool, &pool->parts[i], i, limits);
    if (!is_good) {
        pool_free(pool);
        return NULL;
    }
    for (const struct pool *other = proxy->pools; other != NULL; other = other->next)
        pool->is_namesake =
            pool->is_namesake || sv_eq(sv_from_cstr(other->name), sv_from_cstr(pool->name));
    pool->next = proxy->pools;
    proxy->pools = pool;
    pool->number = proxy->pool_count++;
    return pool;
}

struct pool *pool_get(struct proxy *proxy, const struct pool_key *key, struct hf_err *err)
{
    struct proxy_pool limits;
    pthread_mutex_lock(&proxy->lock);
    bool is_there = limits_of(proxy, key, &limits);
    struct pool *pool = is_there ? pool_find(proxy, key, limits.pool_mode) : NULL;
    if (pool == NULL && is_there && proxy->pool_count < PROXY_POOLS_MAX)
        pool = pool_new(proxy, key, &limits);
    pthread_mutex_unlock(&proxy->lock);
    if (pool == NULL) {
        err_set(err, HF_RC_LIMIT, "53400", "too many pools");
        err_detail(err, "There are %u, one for each database and role that was used.",
                   proxy->pool_count);
        err_hint(err, "Let databases have a user of their own, so that roles share their pool.");
    }
    return pool;
}

void pool_free_all(struct proxy *proxy)
{
    while (proxy->pools != NULL) {
        struct pool *pool = proxy->pools;
        proxy->pools = pool->next;
        pool_free(pool);
    }
}

/* ---- who waits where ---- */

void pool_touch(struct pool_part *part)
{
    if (!list_is_linked(&part->dirty))
        list_push_back(&part->worker->dirty, &part->dirty);
}

/* Lets other workers know since when the first one here has waited. */
static void publish_hunger(struct pool_part *part)
{
    struct pool *pool = part->pool;
    uint64_t bit = UINT64_C(1) << part->worker->index;
    const struct bulkhead_waiter *first = bulkhead_first(part->bulkhead);
    int64_t since_ns = first != NULL ? first->entered_ns : HF_NEVER;
    atomic_store_explicit(&part->oldest_ns, since_ns, memory_order_relaxed);
    atomic_store_explicit(&part->rank, first != NULL ? first->rank : 0, memory_order_relaxed);
    if (first != NULL)
        atomic_fetch_or_explicit(&pool->hungry, bit, memory_order_release);
    else if (atomic_load_explicit(&pool->hungry, memory_order_relaxed) & bit)
        atomic_fetch_and_explicit(&pool->hungry, ~bit, memory_order_release);
}

/* Asks one worker that has room for a share. One request at a time; the answer may be none. */
static void beg(struct pool_part *part)
{
    struct pool *pool = part->pool;
    if (part->has_begged)
        return;
    for (uint32_t i = 0; i < pool->proxy->worker_count; i++) {
        struct pool_part *other = &pool->parts[i];
        if (other == part || bulkhead_in_use(other->bulkhead) >= bulkhead_limit(other->bulkhead))
            continue;
        part->has_begged = true;
        part->beg = (struct pool_message){
            .message.kind = WORKER_BEG, .part = other, .from = part->worker->index};
        loop_post(other->worker->loop, &part->beg.message);
        return;
    }
}

static void end_wait(struct pool_part *part, struct client *client)
{
    struct wait *wait = client->wait;
    client->wait = NULL;
    if (list_is_linked(&wait->link))
        list_remove(&wait->link);
    part->stats.wait_ns += worker_now(part->worker) - wait->since_ns;
    bufpool_return(&part->worker->waits, wait);
}

static struct wait *begin_wait(struct pool_part *part, struct client *client)
{
    struct wait *wait = bufpool_lend(&part->worker->waits);
    if (wait == NULL)
        return NULL;
    memset(wait, 0, sizeof *wait);
    wait->client = client;
    wait->since_ns = worker_now(part->worker);
    client->wait = wait;
    return wait;
}

/* One that was in the queue has a permit. */
static void granted(struct pool_part *part, struct bulkhead_waiter *waiter)
{
    fair_served(&part->pool->fair, waiter->rank);
    list_push_back(&part->awaiting, &container_of(waiter, struct wait, waiter)->link);
}

/* ---- connections for those that have a permit ---- */

/* The idle connection that the client can use. In session mode that is one that was started with
 * the same parameters: only so its session begins as if the client had opened it. */
static struct server *find_idle(struct pool_part *part, const struct client *client)
{
    if (part->pool->mode != PROXY_POOL_SESSION) {
        struct list_node *node = list_first(&part->idle);
        return node != NULL ? container_of(node, struct server, link) : NULL;
    }
    list_for_each(node, &part->idle) {
        struct server *server = container_of(node, struct server, link);
        bool fits = client->is_special ? server->opener == client->sequence
                                       : server->startup == client->settings;
        if (fits && server->is_special == client->is_special)
            return server;
    }
    return NULL;
}

/* `since_ns`: when it began to wait; 0: it has not. */
static void attach(struct server *server, struct client *client,
                   const struct bulkhead_permit *permit, int64_t since_ns)
{
    server->permit = *permit;
    server->wanted_ns = since_ns;
    server->part->stats.assignments++;
    server_attach(server, client);
}

/* Opens connections for those that wait for one. */
static void open_more(struct pool_part *part)
{
    uint32_t wanted = 0;
    if (part->retry_at_ns > worker_now(part->worker))
        return;
    list_for_each(node, &part->awaiting) {
        if (part->connecting >= ++wanted)
            continue;
        if (part->server_count >= bulkhead_limit(part->bulkhead)) {
            /* What is not in use here is idle and does not fit. */
            struct list_node *coldest = list_last(&part->idle);
            if (coldest == NULL)
                return;
            server_close(container_of(coldest, struct server, link), NULL);
        }
        if (!server_open(part, container_of(node, struct wait, link)->client))
            return;
    }
}

void pool_serve(struct pool_part *part)
{
    struct bulkhead_waiter *waiter;
    list_remove(&part->dirty);
    while ((waiter = bulkhead_pop_granted(part->bulkhead, worker_now(part->worker))) != NULL)
        granted(part, waiter);
    publish_hunger(part);
    list_for_each(node, &part->awaiting) {
        struct wait *wait = container_of(node, struct wait, link);
        struct client *client = wait->client;
        struct server *server = find_idle(part, client);
        if (server == NULL)
            continue;
        struct bulkhead_permit permit = wait->waiter.permit;
        int64_t since_ns = client->state == CLIENT_WAITING ? wait->since_ns : 0;
        end_wait(part, client);
        attach(server, client, &permit, since_ns);
        client_attached(client);
    }
    if (!list_is_empty(&part->awaiting))
        open_more(part);
}

static void explain_refusal(const struct pool_part *part, const struct bulkhead_reason *reason,
                            struct hf_err *err)
{
    err_set(err, HF_RC_LIMIT, "53300", "no server connection for database \"%s\", role \"%s\"",
            part->pool->name, part->pool->role);
    err_detail(err, "%u of %u are in use in this worker, %u clients wait; it would take %lld ms.",
               reason->in_use, reason->limit, reason->ahead,
               (long long)(reason->expected_ns / HF_MS(1)));
    err_hint(err, "The database is busy: a larger pool_size or queue_max helps only if the server "
                  "can do more at once.");
}

enum pool_answer pool_want(struct client *client, int64_t until_ns, struct hf_err *err)
{
    struct pool_part *part = client->part;
    int64_t now_ns = worker_now(part->worker);
    struct bulkhead_permit permit;
    bool has_permit = bulkhead_try(part->bulkhead, now_ns, &permit);
    if (has_permit && list_is_empty(&part->awaiting)) {
        struct server *server = find_idle(part, client);
        if (server != NULL) {
            attach(server, client, &permit, 0);
            return POOL_ATTACHED;
        }
    }
    struct wait *wait = begin_wait(part, client);
    if (wait == NULL) {
        if (has_permit && !bulkhead_release(part->bulkhead, &permit, now_ns))
            bulkhead_hand_over(part->bulkhead, &permit, now_ns);
        err_set(err, HF_RC_LIMIT, "53300", "too many clients wait");
        return POOL_REFUSED;
    }
    pool_touch(part);
    if (has_permit) {
        wait->waiter.permit = permit;
        wait->waiter.state = BULKHEAD_WAITER_GRANTED;
        list_push_back(&part->awaiting, &wait->link);
        return POOL_QUEUED;
    }
    wait->waiter.rank = limits_rank(client);
    switch (bulkhead_enter(part->bulkhead, &wait->waiter, now_ns, 0, until_ns)) {
    case BULKHEAD_QUEUED:
        beg(part);
        worker_wake(part->worker, ns_add(now_ns, POOL_FAIR_NS));
        if (pool_borrow_at(part) > now_ns)
            worker_wake(part->worker, pool_borrow_at(part));
        return POOL_QUEUED;
    case BULKHEAD_GRANTED:
        list_push_back(&part->awaiting, &wait->link);
        return POOL_QUEUED;
    case BULKHEAD_REFUSED_FULL:
    case BULKHEAD_REFUSED_HOPELESS:
    case BULKHEAD_REFUSED_LIMIT:
    case BULKHEAD_ANSWERS:
    default:
        break;
    }
    explain_refusal(part, &wait->waiter.reason, err);
    part->stats.refused++;
    end_wait(part, client);
    return POOL_REFUSED;
}

/* Gives a permit back that no connection goes with. */
static void give_back(struct pool_part *part, struct bulkhead_permit *permit)
{
    int64_t now_ns = worker_now(part->worker);
    if (bulkhead_release(part->bulkhead, permit, now_ns))
        return;
    struct bulkhead_waiter *next = bulkhead_hand_over(part->bulkhead, permit, now_ns);
    if (next != NULL)
        granted(part, next);
    pool_touch(part);
}

void pool_withdraw(struct client *client)
{
    struct pool_part *part = client->part;
    struct wait *wait = client->wait;
    if (wait == NULL)
        return;
    struct bulkhead_permit permit = wait->waiter.permit;
    bool is_granted = wait->waiter.state == BULKHEAD_WAITER_GRANTED;
    if (!is_granted)
        bulkhead_withdraw(part->bulkhead, &wait->waiter, worker_now(part->worker));
    end_wait(part, client);
    if (is_granted)
        give_back(part, &permit);
    pool_touch(part);
}

/* ---- shares go where clients have waited longest ---- */

/* The part whose first client has waited notably longer than anybody here; NULL if there is none.
 */
static struct pool_part *hungrier(struct pool_part *part)
{
    struct pool *pool = part->pool;
    uint64_t others = atomic_load_explicit(&pool->hungry, memory_order_acquire) &
                      ~(UINT64_C(1) << part->worker->index);
    if (others == 0)
        return NULL;
    int64_t oldest_ns = ns_min(atomic_load_explicit(&part->oldest_ns, memory_order_relaxed),
                               worker_now(part->worker));
    uint64_t rank = atomic_load_explicit(&part->rank, memory_order_relaxed);
    struct pool_part *found = NULL;
    for (uint32_t i = 0; i < pool->proxy->worker_count; i++) {
        struct pool_part *other = &pool->parts[i];
        int64_t since_ns = atomic_load_explicit(&other->oldest_ns, memory_order_relaxed);
        uint64_t others_rank = atomic_load_explicit(&other->rank, memory_order_relaxed);
        bool is_first = rank != 0 && others_rank != 0 ? others_rank + POOL_FAIR_RANK < rank
                                                      : ns_add(since_ns, POOL_FAIR_NS) < oldest_ns;
        if ((others & UINT64_C(1) << i) != 0 && since_ns != HF_NEVER && is_first) {
            rank = others_rank;
            oldest_ns = since_ns;
            found = other;
        }
    }
    return found;
}

static void lower_limit(struct pool_part *part)
{
    uint32_t limit = bulkhead_limit(part->bulkhead);
    hf_assert(limit > 0);
    bulkhead_resize(part->bulkhead, limit - 1, worker_now(part->worker));
}

/* What a share travels in. Who has begged has a message of his own, which comes back with the
 * answer: so an answer never fails, and nobody waits for one in vain. */
static struct pool_message *give_message(struct mem *mem, struct pool_part *to, bool is_answer)
{
    hf_assert(to != NULL);
    return is_answer ? &to->beg : mem_alloc(mem, sizeof(struct pool_message));
}

/* The share is on its way: without a connection. */
static void send_share(struct pool_part *part, struct pool_part *to, uint32_t shares,
                       bool is_answer)
{
    struct pool_message *message = give_message(part->pool->proxy->mem, to, is_answer);
    if (message == NULL) { /* then it stays here */
        pool_set_share(part, pool_share(part) + shares);
        pool_touch(part);
        return;
    }
    *message = (struct pool_message){
        .message.kind = WORKER_GIVE, .part = to, .shares = shares, .is_answer = is_answer};
    loop_post(to->worker->loop, &message->message);
}

void pool_begged(struct pool_part *part, uint32_t from)
{
    struct pool_part *to = &part->pool->parts[from];
    bool has_spare = bulkhead_in_use(part->bulkhead) < bulkhead_limit(part->bulkhead) &&
                     bulkhead_waiting(part->bulkhead) == 0;
    if (!has_spare) {
        send_share(part, to, 0, true);
        return;
    }
    lower_limit(part);
    struct list_node *coldest = list_last(&part->idle);
    if (coldest != NULL)
        server_leave(container_of(coldest, struct server, link), to, true);
    else
        send_share(part, to, 1, true);
}

void pool_left(struct server *server, struct pool_part *to, int fd)
{
    struct pool_part *part = server->part;
    part->leaving--;
    struct mem *mem = part->pool->proxy->mem;
    struct pool_message *message = fd < 0 ? NULL : give_message(mem, to, server->leaves_for_beg);
    if (message == NULL) {
        if (fd >= 0)
            server_adopt(server, part, fd); /* it stays here */
        send_share(part, to, 1, server->leaves_for_beg);
        return;
    }
    list_remove(&server->link);
    part->server_count--;
    part->worker->server_count--;
    *message = (struct pool_message){.message.kind = WORKER_GIVE,
                                     .part = to,
                                     .shares = 1,
                                     .is_answer = server->leaves_for_beg,
                                     .server = server,
                                     .fd = fd};
    loop_post(to->worker->loop, &message->message);
}

/* More shares for this part, less what it owes. */
static void gain(struct pool_part *part, uint32_t shares)
{
    uint32_t paid = part->debt < shares ? part->debt : shares;
    part->debt -= paid;
    if (shares > paid)
        pool_set_share(part, pool_share(part) + shares - paid);
}

void pool_resize(struct pool_part *part)
{
    uint32_t workers = part->pool->proxy->worker_count, index = part->worker->index;
    uint32_t before = first_share(part->size, workers, index);
    uint32_t after = first_share((uint32_t)part->config.pool_size, workers, index);
    uint32_t limit = pool_share(part);
    struct bulkhead_config config =
        pool_bulkhead_config(part, bulkhead_limit(part->bulkhead)); /* and its queue's numbers */
    bulkhead_configure(part->bulkhead, &config, worker_now(part->worker));
    part->size = (uint32_t)part->config.pool_size;
    if (after >= before) {
        gain(part, after - before);
    } else {
        uint32_t taken = before - after < limit ? before - after : limit;
        part->debt += before - after - taken;
        pool_set_share(part, limit - taken);
    }
    if (part->debt > 0) {
        worker_use(part->worker, part); /* so that it is asked for until it is paid */
        beg(part);
    }
    pool_touch(part);
}

/* The limit was lowered while this connection was being made, in use or on its way: it is
 * closed, and its place is not taken again. */
static bool is_surplus(struct server *server)
{
    struct pool_part *part = server->part;
    uint32_t staying = part->server_count - part->leaving;
    if (staying <= bulkhead_limit(part->bulkhead) && !server->is_tainted)
        return false;
    server_close(server, NULL);
    return true;
}

void pool_given(struct pool_part *part, struct pool_message *message)
{
    uint32_t shares = message->shares;
    if (message->is_answer)
        part->has_begged = false;
    gain(part, shares);
    if (message->server != NULL) {
        part->server_count++;
        part->worker->server_count++;
        server_adopt(message->server, part, message->fd);
        is_surplus(message->server); /* if the share that came with it has paid a debt */
    }
    if (message != &part->beg)
        mem_free(part->pool->proxy->mem, message);
    if (shares > 0 && (bulkhead_waiting(part->bulkhead) > 0 || part->debt > 0))
        beg(part);
    pool_touch(part);
}

void pool_seek(struct pool_part *part, int64_t now_ns)
{
    const struct bulkhead_waiter *first = bulkhead_first(part->bulkhead);
    bool is_hungry = first != NULL && ns_add(first->entered_ns, POOL_FAIR_NS) <= now_ns;
    if (is_hungry || part->debt > 0)
        beg(part);
}

/* ---- the reserve ---- */

int64_t pool_borrow_at(const struct pool_part *part)
{
    const struct bulkhead_waiter *first = bulkhead_first(part->bulkhead);
    if (first == NULL || part->config.reserve_pool_size == 0)
        return HF_NEVER;
    return ns_add(first->entered_ns, part->config.reserve_pool_timeout_ns);
}

static bool take_from_reserve(struct pool *pool, int64_t size)
{
    uint32_t lent = atomic_load_explicit(&pool->lent, memory_order_relaxed);
    do {
        if (lent >= size)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&pool->lent, &lent, lent + 1,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

void pool_borrow(struct pool_part *part, int64_t now_ns)
{
    struct bulkhead_waiter *waiter;
    while (pool_borrow_at(part) <= now_ns &&
           take_from_reserve(part->pool, part->config.reserve_pool_size)) {
        part->borrowed++;
        gain(part, 1);
        while ((waiter = bulkhead_pop_granted(part->bulkhead, now_ns)) != NULL)
            granted(part, waiter);
        pool_touch(part);
    }
}

/* Gives back what is not in use here while nobody waits anywhere, with its connection. */
static void repay(struct pool_part *part)
{
    struct pool *pool = part->pool;
    while (part->borrowed > 0 && bulkhead_in_use(part->bulkhead) < bulkhead_limit(part->bulkhead) &&
           atomic_load_explicit(&pool->hungry, memory_order_relaxed) == 0) {
        lower_limit(part);
        part->borrowed--;
        atomic_fetch_sub_explicit(&pool->lent, 1, memory_order_relaxed);
        struct list_node *coldest = list_last(&part->idle);
        if (coldest != NULL && part->server_count - part->leaving > bulkhead_limit(part->bulkhead))
            server_close(container_of(coldest, struct server, link), NULL);
    }
}

/* ---- connections come and go ---- */

void pool_release(struct server *server)
{
    struct pool_part *part = server->part;
    /* What is in use beyond a limit that was lowered is not this part's to give. */
    bool is_ours = bulkhead_in_use(part->bulkhead) <= bulkhead_limit(part->bulkhead);
    struct pool_part *to = is_ours ? hungrier(part) : NULL;
    if (to != NULL)
        lower_limit(part);
    if (server->permit.is_held)
        give_back(part, &server->permit);
    if (to == NULL && is_surplus(server))
        return;
    server_enter(server, SERVER_IDLE);
    if (to != NULL)
        server_leave(server, to, false);
    if (!list_is_empty(&part->awaiting))
        pool_touch(part);
}

void pool_forget(struct server *server)
{
    struct pool_part *part = server->part;
    list_remove(&server->link);
    part->server_count--;
    part->worker->server_count--;
    if (server->permit.is_held)
        give_back(part, &server->permit);
    if (part->pool->hub != NULL)
        listen_hub_gone(part->pool->hub, server);
    pool_touch(part);
}

void pool_ready(struct server *server)
{
    struct pool_part *part = server->part;
    part->connecting--;
    part->retry_at_ns = 0;
    part->pause_ns = 0;
    err_clear(&part->failure);
    if (part->pool->hub != NULL) {
        listen_hub_ready(part->pool->hub, server);
        return;
    }
    if (!is_surplus(server))
        server_enter(server, SERVER_IDLE);
    pool_touch(part);
}

/* What a server has said to one client of what that one has asked for is nobody else's business. */
static bool concerns(const struct pool_failure *failure, const struct client *client)
{
    return !failure->is_final || failure->opener == 0 ||
           (client != NULL && failure->opener == client->sequence);
}

/* The first of those that have waited for a connection long enough, or whom it cannot help. */
static struct client *next_hopeless(struct pool_part *part, const struct pool_failure *failure)
{
    int64_t now_ns = worker_now(part->worker);
    list_for_each(node, &part->awaiting) {
        struct wait *wait = container_of(node, struct wait, link);
        int64_t limit_ns = part->is_held ? part->config.query_wait_timeout_ns
                                         : part->config.server_down_timeout_ns;
        if (ns_add(wait->since_ns, limit_ns) <= now_ns)
            return wait->client;
        if (failure != NULL && failure->is_final && concerns(failure, wait->client))
            return wait->client;
    }
    return NULL;
}

/* Those that wait for a connection are told when waiting on would not help, or was long enough. */
static void refuse_hopeless(struct pool_part *part, const struct pool_failure *failure)
{
    struct client *client;
    while ((client = next_hopeless(part, failure)) != NULL) {
        const struct pool_failure *told =
            failure != NULL && concerns(failure, client) ? failure : NULL;
        struct hf_err err = told != NULL ? told->err : part->failure;
        if (err.rc == HF_OK)
            err_set(&err, HF_RC_AGAIN, "08001", "no connection to the server within %lld ms",
                    (long long)(part->config.server_down_timeout_ns / HF_MS(1)));
        pool_withdraw(client);
        part->stats.refused++;
        client_not_served(client, &err, told != NULL ? told->words : sv_from(NULL, 0));
    }
}

void pool_connect_failed(struct pool_part *part, const struct pool_failure *failure)
{
    int64_t now_ns = worker_now(part->worker);
    part->connecting--;
    if (concerns(failure, NULL))
        part->failure = failure->err;
    if (failure->has_others) {
        part->retry_at_ns = now_ns;
    } else if (concerns(failure, NULL)) {
        /* Twice the pause each time, up to the limit; others may come in between. */
        part->pause_ns =
            ns_min(ns_max(2 * part->pause_ns, HF_MS(10)), part->config.server_login_retry_ns);
        part->retry_at_ns = ns_add(
            now_ns, part->pause_ns / 2 + rng_range_ns(&part->worker->rng, 0, part->pause_ns / 2));
    }
    pool_touch(part);
    refuse_hopeless(part, failure);
    if (part->pool->hub != NULL)
        listen_hub_failed(part->pool->hub, failure);
}

/* ---- time ---- */

/* Clients whose wait in the queue has been long enough. */
void pool_expire(struct pool_part *part)
{
    struct bulkhead_waiter *waiter;
    int64_t now_ns = worker_now(part->worker);
    while ((waiter = bulkhead_pop_expired(part->bulkhead, now_ns)) != NULL) {
        struct hf_err err;
        struct client *client = container_of(waiter, struct wait, waiter)->client;
        explain_refusal(part, &waiter->reason, &err);
        if (part->is_held)
            err_hint(&err, "The database is paused: RESUME on the console ends that.");
        err_detail(&err, "It has waited for %lld ms; the limit is query_wait_timeout.",
                   (long long)((now_ns - waiter->entered_ns) / HF_MS(1)));
        part->stats.refused++;
        end_wait(part, client);
        client_not_served(client, &err, sv_from(NULL, 0));
    }
    publish_hunger(part);
}

/* Idle for too long, or older than its lifetime. The coldest go first, and not below the minimum.
 */
static void retire_idle(struct pool_part *part, int64_t now_ns)
{
    const struct proxy_pool *config = &part->config;
    uint32_t least = first_share((uint32_t)config->min_pool_size, part->pool->proxy->worker_count,
                                 part->worker->index);
    list_for_each(node, &part->idle) {
        struct server *server = container_of(node, struct server, link);
        bool is_old = server->is_tainted || now_ns >= server->expires_ns;
        bool is_cold = part->server_count > least &&
                       ns_add(server->since_ns, config->server_idle_timeout_ns) <= now_ns;
        if (is_old || is_cold)
            server_close(server, NULL);
    }
    uint32_t room = bulkhead_limit(part->bulkhead);
    if (part->server_count < least && part->server_count < room && part->connecting == 0 &&
        part->retry_at_ns <= now_ns && part->pool->mode != PROXY_POOL_SESSION)
        server_open(part, NULL);
}

/* A client waits for a server that has said nothing for a while: perhaps it is gone. */
static void look_after_busy(struct pool_part *part, int64_t now_ns)
{
    list_for_each(node, &part->servers) {
        struct server *server = container_of(node, struct server, link);
        bool is_ours = server->state == SERVER_ACTIVE || server->state == SERVER_CLEANING;
        if (is_ours && ns_add(server->since_ns, HF_SEC(1)) < now_ns &&
            !replies_is_clean(&server->replies))
            stream_recheck(part->worker->loop, &server->stream);
    }
}

void pool_tick(struct pool_part *part, int64_t now_ns)
{
    repay(part);
    pool_average_tick(part, now_ns);
    look_after_busy(part, now_ns);
    retire_idle(part, now_ns);
    refuse_hopeless(part, NULL);
    if (!list_is_empty(&part->awaiting) || bulkhead_waiting(part->bulkhead) > 0) {
        part->has_begged = part->has_begged && part->pool->proxy->worker_count > 1;
        if (bulkhead_waiting(part->bulkhead) > 0)
            beg(part);
        pool_touch(part);
    }
}
