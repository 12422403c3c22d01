#include "proxy/worker.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "net/keepalive.h"
#include "os/clock.h"
#include "os/entropy.h"
#include "proxy/admin.h"
#include "proxy/admin_gather.h"
#include "proxy/admission.h"
#include "proxy/auth_ask.h"
#include "proxy/auth_query.h"
#include "proxy/cancel.h"
#include "proxy/client.h"
#include "proxy/dial.h"
#include "proxy/limits.h"
#include "proxy/listen.h"
#include "proxy/listen_hub.h"
#include "proxy/peers.h"
#include "proxy/pool.h"
#include "proxy/pool_gate.h"
#include "proxy/reload.h"
#include "proxy/server.h"
#include "proxy/share.h"
#include "proxy/sockets.h"

#define TICK_NS HF_SEC(1)

/* ---- numbers of clients ---- */

/* ours | instance, or more of the place | place: slot times workers, plus worker */
#define PID_OURS        (UINT32_C(1) << 30)
#define PID_INSTANCE_AT 22
#define PID_PLACE_MASK  ((UINT32_C(1) << PID_INSTANCE_AT) - 1)

_Static_assert((PROXY_INSTANCES_MAX & (PROXY_INSTANCES_MAX + 1)) == 0, "a mask");
_Static_assert((uint64_t)PROXY_INSTANCES_MAX << PID_INSTANCE_AT < PID_OURS, "beside each other");

bool worker_pid_is_ours(uint32_t pid)
{
    return (pid & PID_OURS) != 0; /* those of PostgreSQL's processes are below 2^22 */
}

/* Without a number of an instance, its bits are the place's too. */
static uint32_t place_mask(const struct proxy *proxy)
{
    return proxy->instance_id > 0 ? PID_PLACE_MASK : PID_OURS - 1;
}

uint32_t worker_pid_instance(uint32_t pid)
{
    return worker_pid_is_ours(pid) ? pid >> PID_INSTANCE_AT & PROXY_INSTANCES_MAX : 0;
}

uint32_t worker_pid_index(const struct proxy *proxy, uint32_t pid)
{
    return (pid & place_mask(proxy)) % proxy->worker_count;
}

uint32_t worker_pid(const struct client *client)
{
    const struct worker *worker = client->worker;
    const struct proxy *proxy = worker->proxy;
    size_t slot =
        (size_t)((const char *)client - worker->clients.buffers) / worker->clients.buffer_size;
    uint32_t place = (uint32_t)slot * proxy->worker_count + worker->index;
    return PID_OURS | proxy->instance_id << PID_INSTANCE_AT | place;
}

/* Every client's place has to have a number. */
static enum hf_rc check_places(const struct worker *worker, struct hf_err *err)
{
    const struct proxy *proxy = worker->proxy;
    uint64_t places = (uint64_t)worker->clients.count * proxy->worker_count;
    if (places <= (uint64_t)place_mask(proxy) + 1)
        return HF_OK;
    err_set(err, HF_RC_LIMIT, "53400", "too many clients for an instance with a number");
    err_detail(err, "limits.clients_max times proxy.workers must be below %u.", PID_PLACE_MASK);
    return err_hint(err, "Lower one of the two, or set proxy.instance_id to 0.");
}

struct client *worker_client_at(struct worker *worker, uint32_t slot)
{
    if (slot >= worker->clients.count)
        return NULL;
    struct client *client =
        (struct client *)(void *)(worker->clients.buffers + slot * worker->clients.buffer_size);
    return client->sequence != 0 ? client : NULL;
}

struct client *worker_client(struct worker *worker, uint32_t pid)
{
    return worker_client_at(worker,
                            (pid & place_mask(worker->proxy)) / worker->proxy->worker_count);
}

/* ---- time ---- */

void worker_timer(struct worker *worker, struct timer *timer, int64_t at_ns)
{
    if (at_ns == HF_NEVER) {
        if (timerq_is_linked(timer))
            timerq_remove(&worker->timers, timer);
    } else if (timerq_is_linked(timer)) {
        timerq_move(&worker->timers, timer, at_ns);
    } else {
        timerq_add(&worker->timers, timer, at_ns);
    }
}

/* Whose timer it is: in the structs it is a member of, a stream stands in front of it, whose kind
 * tells. */
static void fire(struct timer *timer)
{
    _Static_assert(offsetof(struct client, timer) == sizeof(struct stream), "see below");
    _Static_assert(offsetof(struct server, timer) == sizeof(struct stream), "see below");
    _Static_assert(offsetof(struct cancel, timer) == sizeof(struct stream), "see below");
    struct stream *stream = (struct stream *)(void *)((char *)timer - sizeof(struct stream));
    switch ((enum worker_stream)stream->kind) {
    case STREAM_CLIENT:
        client_timeout(container_of(stream, struct client, stream));
        break;
    case STREAM_SERVER:
        server_timeout(container_of(stream, struct server, stream));
        break;
    case STREAM_CANCEL:
        cancel_timeout(container_of(stream, struct cancel, stream));
        break;
    case STREAM_ASKER:
        auth_ask_timeout(stream);
        break;
    default:
        hf_assert(false);
    }
}

/* A reset that came together with a client's last bytes may not have been told (stream_recheck). So
 * who has said nothing for a second is looked at once or twice; what comes later is told. */
static void look_after_quiet(struct worker *worker, int64_t now_ns)
{
    list_for_each(node, &worker->sessions) {
        struct client *client = container_of(node, struct client, link);
        int64_t quiet_ns = now_ns - client->since_ns;
        if (client->state != CLIENT_CLOSING && quiet_ns >= TICK_NS && quiet_ns < 3 * TICK_NS)
            stream_recheck(worker->loop, &client->stream);
    }
}

/* What is due for a part of a pool, and when the next is. */
static void turn_part(struct worker *worker, struct pool_part *part, int64_t now_ns)
{
    if (part->pool->hub != NULL)
        listen_hub_turn(part->pool->hub, now_ns);
    if (bulkhead_deadline(part->bulkhead) <= now_ns)
        pool_expire(part);
    pool_seek(part, now_ns);
    if (pool_borrow_at(part) <= now_ns)
        pool_borrow(part, now_ns);
    if (now_ns >= worker->tick_ns)
        pool_tick(part, now_ns);
    if (!list_is_empty(&part->awaiting)) {
        if (part->retry_at_ns <= now_ns)
            pool_touch(part);
        else
            worker_wake(worker, part->retry_at_ns);
    }
    worker_wake(worker, bulkhead_deadline(part->bulkhead));
    if (pool_borrow_at(part) > now_ns) /* else the reserve is used up, until a tick */
        worker_wake(worker, pool_borrow_at(part));
}

static void run_timers(struct worker *worker)
{
    struct timer *timer;
    int64_t now_ns = worker_now(worker);
    while ((timer = timerq_pop_due(&worker->timers, now_ns)) != NULL)
        fire(timer);
    if (atomic_load_explicit(&worker->proxy->wanted, memory_order_relaxed) != 0 &&
        atomic_exchange(&worker->proxy->wanted, 0) != 0)
        pool_make_room(worker);
    if (worker->proxy->share != NULL && share_is_wanted(worker->proxy->share, &worker->share_seen))
        pool_make_room(worker);
    if (now_ns < worker->wake_ns && now_ns < worker->tick_ns)
        return;
    worker->wake_ns = HF_NEVER;
    list_for_each(node, &worker->parts)
        turn_part(worker, container_of(node, struct pool_part, link), now_ns);
    if (now_ns >= worker->tick_ns) {
        look_after_quiet(worker, now_ns);
        listen_tick(worker, now_ns);
        worker->tick_ns = ns_add(now_ns, TICK_NS);
    }
}

/* When there is something to do without an event. */
static int64_t deadline(struct worker *worker)
{
    if (!list_is_empty(&worker->working) || !list_is_empty(&worker->working_servers))
        return 0;
    return ns_min(timerq_deadline(&worker->timers), ns_min(worker->tick_ns, worker->wake_ns));
}

int64_t worker_lifetime(struct worker *worker, const struct proxy_pool *config, int64_t since_ns)
{
    int64_t life_ns = config->server_lifetime_ns;
    if (life_ns == HF_NEVER)
        return HF_NEVER;
    int64_t jitter_ns = (int64_t)((double)life_ns * config->server_lifetime_jitter_ppm / 1e6);
    return ns_add(since_ns, life_ns - rng_range_ns(&worker->rng, 0, jitter_ns));
}

/* ---- events ---- */

static void accepted(struct worker *worker, const struct loop_event *event)
{
    struct peer peer = peer_from_address(&event->peer);
    atomic_fetch_add(&worker->proxy->client_count, 1);
    keepalive_apply(event->fd, &worker->config->proxy.keepalive);
    client_accept(worker, event->fd, &peer, event->listener->kind);
}

static void stream_event(const struct loop_event *event)
{
    struct stream *stream = event->stream;
    switch ((enum worker_stream)stream->kind) {
    case STREAM_CLIENT:
        client_event(container_of(stream, struct client, stream), event);
        break;
    case STREAM_SERVER:
        server_event(container_of(stream, struct server, stream), event);
        break;
    case STREAM_CANCEL:
        cancel_event(container_of(stream, struct cancel, stream), event);
        break;
    case STREAM_ASKER:
        auth_ask_event(stream, event);
        break;
    default:
        hf_assert(false);
    }
}

/* Nobody is accepted any more; clients that are there go when they like. Who is in the queue of a
 * socket is for the process that has it now. */
static void leave(struct worker *worker)
{
    if (worker->is_leaving)
        return;
    worker->is_leaving = true;
    sockets_leave(worker->proxy->sockets, worker, true);
}

/* Who comes now is refused by the kernel, at once, and may go elsewhere; in the queue of a socket
 * that nobody looks at he would wait. */
static void drain(struct worker *worker)
{
    if (worker->is_draining)
        return;
    worker->is_leaving = true;
    worker->is_draining = true;
    sockets_leave(worker->proxy->sockets, worker, false);
}

/* Clients that have nothing under way are told to go; the others when they are done. */
static void drain_idle(struct worker *worker)
{
    struct hf_err err;
    err_set(&err, HF_RC_AGAIN, "57P01", "terminating connection due to administrator command");
    err_detail(&err,
               "The proxy is being stopped, or gives its place to another one; clients have "
               "limits.drain_timeout = %lld ms.",
               (long long)(worker->config->limits.drain_timeout_ns / HF_MS(1)));
    list_for_each(node, &worker->sessions) {
        struct client *client = container_of(node, struct client, link);
        bool is_idle = client->state == CLIENT_IDLE || client->state == CLIENT_REFUSED ||
                       client->state <= CLIENT_ENTERING ||
                       (client->state == CLIENT_ACTIVE && client->transaction_ns == 0) ||
                       (client->state == CLIENT_ADMIN && !admin_is_busy(client));
        if (worker->is_stopping || is_idle)
            client_fail(client, &err);
    }
}

static void posted(struct worker *worker, struct loop_message *message)
{
    struct pool_message *of_pool = container_of(message, struct pool_message, message);
    switch ((enum worker_message)message->kind) {
    case WORKER_STOP:
        drain(worker);
        worker->is_stopping = true;
        break;
    case WORKER_DRAIN:
        drain(worker);
        break;
    case WORKER_LEAVE:
        leave(worker);
        break;
    case WORKER_RELOAD:
        reload_worker(worker);
        break;
    case WORKER_BEG:
        pool_begged(of_pool->part, of_pool->from);
        break;
    case WORKER_GIVE:
        pool_given(of_pool->part, of_pool);
        break;
    case WORKER_CANCEL:
        cancel_passed(worker, container_of(message, struct cancel_message, message));
        break;
    case WORKER_GATHER:
        gather_visit(worker, container_of(message, struct gather, message));
        break;
    case WORKER_GATHERED:
        gather_back(worker, container_of(message, struct gather, message));
        break;
    case WORKER_LIMIT:
        limits_granted(message);
        break;
    case WORKER_RESOLVED:
        dial_resolved(message);
        break;
    case WORKER_ASK:
        auth_ask(worker, message);
        break;
    case WORKER_ANSWERED:
        auth_query_answered(worker);
        break;
    case WORKER_PEER:
        peers_resolved(worker, message);
        break;
    case WORKER_LISTEN:
        listen_hub_woken(message);
        break;
    case WORKER_NEWS:
        listen_news(worker, container_of(message, struct listen_news, message));
        break;
    case WORKER_OVER:
        break;
    default:
        hf_assert(false);
    }
}

/* Parts of pools in which something has changed. Those who wait there for a next attempt to connect
 * may be all that is going on: it does not wait for the next tick. */
static void serve_dirty(struct worker *worker)
{
    struct list_node *node;
    while ((node = list_first(&worker->dirty)) != NULL) {
        struct pool_part *part = container_of(node, struct pool_part, dirty);
        pool_serve(part);
        if (!list_is_empty(&part->awaiting) && part->retry_at_ns > worker_now(worker))
            worker_wake(worker, part->retry_at_ns);
    }
}

static void handle(struct worker *worker, const struct loop_event *event)
{
    switch (event->kind) {
    case LOOP_ACCEPTED:
        accepted(worker, event);
        break;
    case LOOP_POSTED:
        posted(worker, event->message);
        break;
    case LOOP_CONNECTED:
    case LOOP_SECURED:
    case LOOP_RECEIVED:
    case LOOP_DRAINED:
    case LOOP_ENDED:
    case LOOP_LEFT:
    case LOOP_GONE:
    default:
        stream_event(event);
        break;
    }
    serve_dirty(worker);
}

/* A slice of hashing for one client and one server: the rest goes on in between. */
static void work(struct worker *worker)
{
    struct list_node *node = list_first(&worker->working);
    if (node != NULL)
        admission_work(container_of(node, struct admission, work));
    node = list_first(&worker->working_servers);
    if (node != NULL)
        dial_work(node);
}

/* Nothing is left: the streams of servers have been closed too. */
static bool is_over(struct worker *worker)
{
    if (!worker->is_leaving || !list_is_empty(&worker->sessions) || loop_is_listening(worker->loop))
        return false;
    list_for_each(part_node, &worker->parts) {
        struct pool_part *part = container_of(part_node, struct pool_part, link);
        list_for_each(node, &part->idle)
            server_close(container_of(node, struct server, link), NULL);
        list_for_each(node, &part->servers) {
            struct server *server = container_of(node, struct server, link);
            struct hf_err err;
            err_set(&err, HF_RC_AGAIN, "57P01", "the proxy shuts down");
            server_close(server, &err);
        }
    }
    const bool is_asked = auth_ask_end(worker);
    return is_asked && worker->server_count == 0 && list_is_empty(&worker->cancelling);
}

/* Nothing is left here. The last one to say so tells the others. */
static void say_empty(struct worker *worker)
{
    struct proxy *proxy = worker->proxy;
    if (worker->is_empty)
        return;
    worker->is_empty = true;
    if (atomic_fetch_add(&proxy->workers_empty, 1) + 1 < proxy->worker_count)
        return;
    for (uint32_t i = 0; i < proxy->worker_count; i++) {
        struct worker *other = &proxy->workers[i];
        other->over.kind = WORKER_OVER;
        if (other != worker && other->is_running)
            loop_post(other->loop, &other->over);
    }
}

/* Nothing is left anywhere. Until then a worker is there for the others: connections and questions
 * may be on their way to it. */
static bool is_over_for_all(struct worker *worker)
{
    if (!is_over(worker))
        return false;
    say_empty(worker);
    return atomic_load(&worker->proxy->workers_empty) == worker->proxy->worker_count;
}

static void *run(void *argument)
{
    struct worker *worker = argument;
    struct loop_event event;
    struct hf_err err;
    bool was_over = false, is_over = false;
    /* One more turn is for what was posted before the last one was done. */
    while (!(is_over = is_over_for_all(worker)) || !was_over) {
        was_over = is_over;
        if (loop_wait(worker->loop, is_over ? 0 : deadline(worker), &err) != HF_OK) {
            log_emit(worker->proxy->log, LOG_AT_ERROR, "a worker cannot go on",
                     log_text("reason", err.message));
            say_empty(worker);
            break;
        }
        atomic_store_explicit(&worker->turned_ns, worker_now(worker), memory_order_relaxed);
        while (loop_next(worker->loop, &event))
            handle(worker, &event);
        work(worker);
        run_timers(worker);
        if (worker->is_draining)
            drain_idle(worker);
        serve_dirty(worker);
    }
    atomic_fetch_add(&worker->proxy->workers_ended, 1);
    return NULL;
}

/* ---- life ---- */

void worker_use(struct worker *worker, struct pool_part *part)
{
    if (list_is_linked(&part->link))
        return;
    list_push_back(&worker->parts, &part->link);
    part->database = proxy_database_find(worker->config, sv_from_cstr(part->pool->name));
}

static enum hf_rc make_pool(struct bufpool *pool, struct mem *mem, size_t count, size_t size,
                            struct hf_err *err)
{
    size = (size + BUFPOOL_ALIGN - 1) / BUFPOOL_ALIGN * BUFPOOL_ALIGN;
    void *memory = mem_alloc(mem, bufpool_size((uint32_t)count, size));
    if (memory == NULL)
        return mem_refused(mem, bufpool_size((uint32_t)count, size), err);
    bufpool_init(pool, memory, (uint32_t)count, size);
    return HF_OK;
}

/* A worker must be able to hold everybody, as nobody says who connects where. What is never used is
 * never touched, and costs address space only. */
static enum hf_rc make_memory(struct worker *worker, struct hf_err *err)
{
    struct mem *mem = worker->proxy->mem;
    const struct proxy_limits *limits = &worker->config->limits;
    size_t clients = (size_t)limits->clients_max + ADMIN_PLACES + 1;
    enum hf_rc rc = make_pool(&worker->clients, mem, clients, sizeof(struct client), err);
    if (rc == HF_OK)
        rc = check_places(worker, err);
    if (rc == HF_OK)
        rc = make_pool(&worker->admissions, mem, clients, sizeof(struct admission), err);
    if (rc == HF_OK)
        rc = make_pool(&worker->waits, mem, clients, sizeof(struct wait), err);
    if (rc == HF_OK)
        rc = make_pool(&worker->cancels, mem, (size_t)limits->cancels_max, sizeof(struct cancel),
                       err);
    void *ahead = mem_alloc(mem, LOOP_BLOCK_SIZE);
    if (rc == HF_OK && ahead == NULL)
        rc = mem_refused(mem, LOOP_BLOCK_SIZE, err);
    if (ahead != NULL)
        buffer_init(&worker->ahead, ahead, LOOP_BLOCK_SIZE);
    return rc;
}

enum hf_rc worker_make(struct worker *worker, struct proxy *proxy, uint32_t index,
                       struct hf_err *err)
{
    const struct proxy_config *config = atomic_load(&proxy->config);
    struct loop_config loop = {
        .io = (enum loop_io)config->proxy.io,
        .blocks = (uint32_t)(config->proxy.memory / LOOP_BLOCK_SIZE / proxy->worker_count),
    };
    worker->proxy = proxy;
    worker->index = index;
    /* A client's sequence says who it is wherever its server connection goes: no two workers'
     * clients may have the same. */
    worker->client_sequence = (uint64_t)index << 48;
    worker->config = config;
    worker->wake_ns = HF_NEVER;
    atomic_init(&worker->turned_ns, clock_now());
    timerq_init(&worker->timers);
    rng_init(&worker->rng, entropy_seed());
    slow_init(&worker->slow, hash_key_from_seed(entropy_seed()));
    list_init(&worker->parts);
    list_init(&worker->dirty);
    list_init(&worker->sessions);
    list_init(&worker->listening);
    list_init(&worker->cancelling);
    list_init(&worker->asking);
    list_init(&worker->askers);
    list_init(&worker->errands);
    list_init(&worker->working);
    list_init(&worker->working_servers);
    enum hf_rc rc = make_memory(worker, err);
    if (rc == HF_OK)
        rc = loop_new(&worker->loop, &loop, proxy->mem, err);
    if (rc == HF_OK)
        rc = sockets_share(proxy->sockets, worker, proxy->worker_count, err);
    return rc;
}

enum hf_rc worker_start(struct worker *worker, struct hf_err *err)
{
    char name[16];
    if (pthread_create(&worker->thread, NULL, run, worker) != 0)
        return err_set(err, HF_RC_AGAIN, "53000", "could not start a thread");
    snprintf(name, sizeof name, "worker %u", worker->index);
    pthread_setname_np(worker->thread, name); /* for top -H */
    worker->is_running = true;
    return HF_OK;
}

void worker_end(struct worker *worker)
{
    struct mem *mem = worker->proxy->mem;
    struct loop_message *message;
    if (worker->is_running)
        pthread_join(worker->thread, NULL);
    if (worker->loop != NULL) {
        sockets_leave(worker->proxy->sockets, worker, false); /* if it has never run */
        peers_end(worker);
        while ((message = loop_unheard(worker->loop)) != NULL) {
            if (message->kind == WORKER_CANCEL) /* from the main thread, after the last turn */
                cancel_drop(worker, message);
        }
        loop_free(worker->loop);
    }
    mem_free(mem, worker->clients.buffers);
    mem_free(mem, worker->admissions.buffers);
    mem_free(mem, worker->waits.buffers);
    mem_free(mem, worker->cancels.buffers);
    mem_free(mem, worker->ahead.block);
}
