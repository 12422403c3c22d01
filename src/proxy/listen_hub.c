#include "proxy/listen_hub.h"

#include <string.h>

#include "base/bits.h"
#include "base/bug.h"
#include "os/clock.h"
#include "os/entropy.h"
#include "proxy/hosts.h"
#include "proxy/listen.h"
#include "proxy/server.h"
#include "proxy/server_login.h"
#include "proxy/worker.h"
#include "wire/build.h"
#include "wire/channels.h"
#include "wire/message.h"

#define BUCKETS_MIN 64
#define RETRY_NS    HF_SEC(1)
#define HELD_NS     HF_MS(50) /* while PAUSE holds */
#define QUERY_SIZE  8192      /* of the statements of one query of ours */
/* While the workers have more than enough to tell, they are looked at again after so long. */
#define HELD_BACK_NS HF_MS(5)
#define NO_MEMORY    "out of memory for notifications"

static struct listens *listens_of(const struct listen_hub *hub)
{
    return hub->proxy->listens;
}

/* ---- channels ---- */

struct listens *listens_new(struct proxy *proxy)
{
    struct listens *listens = mem_alloc(proxy->mem, sizeof *listens);
    if (listens == NULL)
        return NULL;
    listens->buckets = mem_alloc_array(proxy->mem, BUCKETS_MIN, sizeof(struct listen_channel *));
    if (listens->buckets == NULL) {
        mem_free(proxy->mem, listens);
        return NULL;
    }
    listens->proxy = proxy;
    listens->bucket_count = BUCKETS_MIN;
    listens->key = hash_key_from_seed(entropy_seed());
    pthread_mutex_init(&listens->lock, NULL);
    return listens;
}

void listens_free(struct listens *listens)
{
    if (listens == NULL)
        return;
    struct mem *mem = listens->proxy->mem;
    for (uint32_t i = 0; i < listens->bucket_count; i++) {
        while (listens->buckets[i] != NULL) {
            struct listen_channel *channel = listens->buckets[i];
            listens->buckets[i] = channel->next;
            mem_free(mem, channel);
        }
    }
    while (listens->hubs != NULL) {
        struct listen_hub *hub = listens->hubs;
        listens->hubs = hub->next;
        mem_free(mem, hub);
    }
    pthread_mutex_destroy(&listens->lock);
    mem_free(mem, listens->buckets);
    mem_free(mem, listens);
}

static struct listen_channel **bucket_of(struct listens *listens, uint64_t hash)
{
    return &listens->buckets[hash & (listens->bucket_count - 1)];
}

/* Where the pointer to it stands, or to nothing. */
static struct listen_channel **find(struct listen_hub *hub, struct sv name, uint64_t hash)
{
    struct listen_channel **at = bucket_of(listens_of(hub), hash);
    while (*at != NULL &&
           ((*at)->hash != hash || (*at)->hub != hub || !sv_eq(sv_from_cstr((*at)->name), name)))
        at = &(*at)->next;
    return at;
}

/* Twice the buckets; without memory for them, chains grow longer. */
static void grow(struct listens *listens)
{
    uint32_t count = 2 * listens->bucket_count;
    struct listen_channel **old = listens->buckets;
    struct listen_channel **buckets =
        mem_alloc_array(listens->proxy->mem, count, sizeof(struct listen_channel *));
    if (buckets == NULL)
        return;
    uint32_t old_count = listens->bucket_count;
    listens->buckets = buckets;
    listens->bucket_count = count;
    for (uint32_t i = 0; i < old_count; i++) {
        while (old[i] != NULL) {
            struct listen_channel *channel = old[i];
            struct listen_channel **at = bucket_of(listens, channel->hash);
            old[i] = channel->next;
            channel->next = *at;
            *at = channel;
        }
    }
    mem_free(listens->proxy->mem, old);
}

static struct listen_channel *channel_new(struct listen_hub *hub, struct sv name, uint64_t hash)
{
    struct listens *listens = listens_of(hub);
    struct proxy *proxy = hub->proxy;
    const struct proxy_config *config = atomic_load(&proxy->config);
    if (listens->channel_count >= config->limits.listen_channels_max)
        return NULL;
    size_t size = sizeof(struct listen_channel) + proxy->worker_count * sizeof(struct list);
    struct listen_channel *channel = mem_alloc(proxy->mem, size);
    if (channel == NULL)
        return NULL;
    channel->hub = hub;
    channel->hash = hash;
    sv_copy(name, channel->name, sizeof channel->name);
    for (uint32_t i = 0; i < proxy->worker_count; i++)
        list_init(&channel->subscribers[i]);
    if (listens->channel_count >= listens->bucket_count)
        grow(listens);
    struct listen_channel **at = bucket_of(listens, hash);
    channel->next = *at;
    *at = channel;
    listens->channel_count++;
    hub->channels++;
    return channel;
}

/* Under the lock, whenever something about it has changed: whether there is something to be asked
 * for, and whether it is still needed. */
static void settle(struct listen_channel *channel)
{
    struct listen_hub *hub = channel->hub;
    struct listens *listens = listens_of(hub);
    bool is_wanted = channel->workers != 0;
    if (channel->is_asked)
        return;
    bool has_change = is_wanted != channel->is_on;
    if (has_change && !list_is_linked(&channel->change))
        list_push_back(&hub->changes, &channel->change);
    else if (!has_change && list_is_linked(&channel->change))
        list_remove(&channel->change);
    if (is_wanted || channel->is_on || channel->news > 0)
        return;
    struct listen_channel **at = find(hub, sv_from_cstr(channel->name), channel->hash);
    *at = channel->next;
    listens->channel_count--;
    hub->channels--;
    mem_free(listens->proxy->mem, channel);
}

/* ---- hubs ---- */

struct listen_hub *listen_hub_get(struct listens *listens, struct sv database, struct sv encoding)
{
    struct proxy *proxy = listens->proxy;
    pthread_mutex_lock(&listens->lock);
    struct listen_hub *hub = listens->hubs;
    while (hub != NULL && (!sv_eq(sv_from_cstr(hub->database), database) ||
                           !sv_eq(sv_from_cstr(hub->encoding), encoding)))
        hub = hub->next;
    if (hub == NULL)
        hub = mem_alloc(proxy->mem, sizeof *hub);
    else
        encoding = sv_from(NULL, 0);
    if (hub != NULL && hub->home == NULL) {
        hub->proxy = proxy;
        hub->home = &proxy->workers[listens->hub_count++ % proxy->worker_count];
        sv_copy(database, hub->database, sizeof hub->database);
        sv_copy(encoding, hub->encoding, sizeof hub->encoding);
        list_init(&hub->changes);
        list_init(&hub->asked);
        hub->wake.kind = WORKER_LISTEN;
        hub->next = listens->hubs;
        listens->hubs = hub;
    }
    pthread_mutex_unlock(&listens->lock);
    return hub;
}

/* Under the lock: the home looks what there is to do. */
static void wake(struct listen_hub *hub)
{
    if (hub->is_woken)
        return;
    hub->is_woken = true;
    loop_post(hub->home->loop, &hub->wake);
}

/* Under the lock: the role may be logged in as. The newest ones are remembered. */
static void remember(struct listen_hub *hub, struct sv role)
{
    for (uint32_t i = 0; i < hub->role_count; i++)
        if (sv_eq(sv_from_cstr(hub->roles[i]), role))
            return;
    if (hub->role_count == LISTEN_ROLES)
        memmove(hub->roles[0], hub->roles[1], sizeof hub->roles - sizeof hub->roles[0]);
    else
        hub->role_count++;
    sv_copy(role, hub->roles[hub->role_count - 1], sizeof hub->roles[0]);
}

/* ---- for workers ---- */

/* Under the lock. */
static uint64_t want_round(struct listen_hub *hub, const struct worker *worker)
{
    hub->waiting |= UINT64_C(1) << worker->index;
    hub->round_wanted = hub->round_sent + 1;
    wake(hub);
    return hub->round_wanted;
}

uint64_t listen_round(struct listen_hub *hub, struct worker *worker)
{
    struct listens *listens = listens_of(hub);
    pthread_mutex_lock(&listens->lock);
    uint64_t round = hub->pid != 0 ? want_round(hub, worker) : 0;
    pthread_mutex_unlock(&listens->lock);
    return round;
}

bool listen_join(struct listen_hub *hub, struct worker *worker, struct listen_place *place,
                 struct sv name, struct sv role)
{
    struct listens *listens = listens_of(hub);
    uint64_t hash = hash_bytes(&listens->key, name);
    pthread_mutex_lock(&listens->lock);
    struct listen_channel *channel = *find(hub, name, hash);
    if (channel == NULL)
        channel = channel_new(hub, name, hash);
    if (channel != NULL) {
        remember(hub, role);
        channel->workers |= UINT64_C(1) << worker->index;
        settle(channel);
        place->round = want_round(hub, worker);
    }
    pthread_mutex_unlock(&listens->lock);
    place->channel = channel;
    return channel != NULL;
}

void listen_leave(struct listen_channel *channel, struct worker *worker)
{
    struct listen_hub *hub = channel->hub;
    struct listens *listens = listens_of(hub);
    atomic_fetch_sub(&channel->listeners, 1);
    if (!list_is_empty(&channel->subscribers[worker->index]))
        return;
    pthread_mutex_lock(&listens->lock);
    channel->workers &= ~(UINT64_C(1) << worker->index);
    if (channel->workers == 0)
        wake(hub);
    settle(channel);
    pthread_mutex_unlock(&listens->lock);
}

bool listen_begin(struct listening *listening, uint64_t round)
{
    struct listens *listens = listens_of(listening->hub);
    bool is_all = true;
    pthread_mutex_lock(&listens->lock);
    list_for_each(node, &listening->channels) {
        struct listen_place *place = container_of(node, struct listen_place, of_client);
        if (place->round <= round && place->channel->is_on)
            place->is_live = true;
        is_all = is_all && (place->is_live || place->is_leaving);
    }
    pthread_mutex_unlock(&listens->lock);
    return is_all;
}

void listen_news_came(struct listens *listens, struct listen_news *news)
{
    atomic_fetch_sub(&listens->news, 1);
    if (news->channel == NULL)
        return;
    pthread_mutex_lock(&listens->lock);
    news->channel->news--;
    settle(news->channel);
    pthread_mutex_unlock(&listens->lock);
    news->channel = NULL;
}

void listen_news_drop(struct listens *listens, struct listen_news *news)
{
    mem_free(listens->proxy->mem, news);
}

/* ---- the home: what came ---- */

static struct listen_news *news_new(struct listen_hub *hub, enum listen_news_kind kind,
                                    struct sv bytes)
{
    struct listen_news *news = mem_alloc(hub->proxy->mem, sizeof *news + bytes.size);
    if (news == NULL)
        return NULL;
    news->message.kind = WORKER_NEWS;
    news->kind = kind;
    news->hub = hub;
    news->size = (uint32_t)bytes.size;
    if (bytes.size > 0)
        memcpy(news->bytes, bytes.data, bytes.size);
    atomic_fetch_add(&listens_of(hub)->news, 1);
    return news;
}

/* Nothing is left out without a word: the gap that follows tells it. */
static void give_up(struct listen_hub *hub, const char *reason)
{
    struct hf_err err;
    err_set(&err, HF_RC_LIMIT, "53200", "%s", reason);
    server_close(hub->server, &err);
}

/* To each worker of the set. False: no memory. */
static bool tell(struct listen_hub *hub, uint64_t workers, const struct listen_news *what)
{
    for (uint64_t left = workers; left != 0; left &= left - 1) {
        struct worker *worker = &hub->proxy->workers[bits_lowest(left)];
        struct listen_news *news = news_new(hub, what->kind, sv_from(NULL, 0));
        if (news == NULL)
            return false;
        news->round = what->round;
        news->from_ns = what->from_ns;
        news->to_ns = what->to_ns;
        loop_post(worker->loop, &news->message);
    }
    return true;
}

/* A notification, to the workers that have somebody who listens. False: the connection is being
 * closed. */
static bool came(struct listen_hub *hub, const struct frame_part *part)
{
    struct listens *listens = listens_of(hub);
    struct message_notification notification;
    enum message_rc rc = message_notification(message_of(part), &notification);
    if (rc == MESSAGE_MORE) /* in the clients' encoding it is far longer than in the server's */
        give_up(hub, "a notification is longer than there is room for");
    if (rc != MESSAGE_OK)
        return rc != MESSAGE_MORE;
    uint64_t hash = hash_bytes(&listens->key, notification.channel);
    pthread_mutex_lock(&listens->lock);
    struct listen_channel *channel = *find(hub, notification.channel, hash);
    uint64_t workers = channel != NULL ? channel->workers : 0;
    if (workers != 0)
        channel->news += (uint32_t)__builtin_popcountll(workers);
    pthread_mutex_unlock(&listens->lock);
    for (; workers != 0; workers &= workers - 1) {
        struct listen_news *news = news_new(hub, LISTEN_NEWS_CAME, part->bytes);
        if (news == NULL)
            break;
        news->channel = channel;
        loop_post(hub->proxy->workers[bits_lowest(workers)].loop, &news->message);
    }
    if (workers == 0)
        return true;
    pthread_mutex_lock(&listens->lock);
    channel->news -= (uint32_t)__builtin_popcountll(workers);
    settle(channel);
    pthread_mutex_unlock(&listens->lock);
    give_up(hub, NO_MEMORY);
    return false;
}

/* ---- the home: asking ---- */

static bool is_live(const struct listen_hub *hub)
{
    return hub->server != NULL && hub->server->state == SERVER_ACTIVE;
}

static void sent(struct listen_hub *hub)
{
    struct listens *listens = listens_of(hub);
    pthread_mutex_lock(&listens->lock);
    hub->round_sent++;
    hub->waiting_sent = hub->waiting;
    hub->waiting = 0;
    pthread_mutex_unlock(&listens->lock);
    hub->is_busy = true;
    hub->has_failed = false;
    hub->asked_ns = worker_now(hub->home);
    worker_wake(hub->home, ns_add(hub->asked_ns, LISTEN_CHECK_NS));
}

/* Asks for what has changed, as much as one query takes. For nothing at all, too, where somebody
 * waits for a round. */
static void ask_changes(struct listen_hub *hub)
{
    struct listens *listens = listens_of(hub);
    struct loop *loop = hub->home->loop;
    char bytes[QUERY_SIZE];
    struct buffer text;
    struct list_node *node;
    buffer_init(&text, bytes, sizeof bytes);
    struct build query = build_begin(&text, 'Q');
    if (stream_room(loop, &hub->server->stream) < sizeof bytes)
        return; /* LOOP_DRAINED follows */
    pthread_mutex_lock(&listens->lock);
    while (channels_fit(&query) && (node = list_pop_front(&hub->changes)) != NULL) {
        struct listen_channel *channel = container_of(node, struct listen_channel, change);
        channel->is_asked = true;
        list_push_back(&hub->asked, &channel->change);
        channels_ask(&query, channel->is_on ? CHANNELS_UNLISTEN : CHANNELS_LISTEN,
                     sv_from_cstr(channel->name));
    }
    pthread_mutex_unlock(&listens->lock);
    enum hf_rc rc = channels_end(&query);
    size_t size = stream_send(loop, &hub->server->stream, buffer_view(&text));
    hf_assert(rc == HF_OK && size == buffer_held(&text));
    sent(hub);
}

/* Under the lock: those of the query under way are so no more. `is_done`: they are as asked for. */
static void end_asked(struct listen_hub *hub, bool is_done)
{
    struct list_node *node;
    while ((node = list_pop_front(&hub->asked)) != NULL) {
        struct listen_channel *channel = container_of(node, struct listen_channel, change);
        channel->is_asked = false;
        if (is_done)
            channel->is_on = !channel->is_on;
        settle(channel);
    }
}

/* All workers who want a channel of the hub. Under the lock. */
static uint64_t workers_of(struct listen_hub *hub)
{
    struct listens *listens = listens_of(hub);
    uint64_t workers = 0;
    for (uint32_t i = 0; i < listens->bucket_count; i++)
        for (const struct listen_channel *at = listens->buckets[i]; at != NULL; at = at->next)
            workers |= at->hub == hub ? at->workers : 0;
    return workers;
}

/* Everything is listened to again. */
static bool end_gap(struct listen_hub *hub, uint64_t workers)
{
    char from[CLOCK_TEXT_SIZE], to[CLOCK_TEXT_SIZE];
    struct listen_news gap = {
        .kind = LISTEN_NEWS_GAP, .from_ns = hub->gap_from_ns, .to_ns = clock_wall_now()};
    hub->has_gap = false;
    if (workers == 0)
        return true;
    log_emit(hub->proxy->log, LOG_AT_WARNING, "notifications may have been lost",
             log_text("database", hub->database),
             log_text("from", clock_wall_text(gap.from_ns, from)),
             log_text("to", clock_wall_text(gap.to_ns, to)));
    return tell(hub, workers, &gap);
}

/* The server has answered our query. */
static void answered(struct listen_hub *hub)
{
    struct listens *listens = listens_of(hub);
    struct listen_news on = {.kind = LISTEN_NEWS_ON};
    hub->is_busy = false;
    pthread_mutex_lock(&listens->lock);
    end_asked(hub, true);
    bool is_all = list_is_empty(&hub->changes);
    uint64_t workers = hub->waiting_sent;
    on.round = hub->round_sent;
    hub->waiting |= is_all ? 0 : workers;
    hub->waiting_sent = 0;
    uint64_t all = hub->has_gap && is_all ? workers_of(hub) : 0;
    pthread_mutex_unlock(&listens->lock);
    bool is_told = tell(hub, workers, &on);
    if (is_told && hub->has_gap && is_all)
        is_told = end_gap(hub, all);
    if (!is_told)
        give_up(hub, NO_MEMORY);
}

/* It does not let us listen. A standby does not, whoever asks, but another host may be the primary:
 * the next attempt goes there. */
static void refused(struct listen_hub *hub, const struct hf_err *err)
{
    struct pool_part *part = hub->part;
    const struct proxy_database *database = part->database;
    const struct endpoint *endpoint = hub->server->endpoint;
    for (uint32_t i = 0; database != NULL && i < database->host_count; i++)
        if (database->hosts[i].port == endpoint->port &&
            sv_eq(sv_from_cstr(database->hosts[i].name), sv_from_cstr(endpoint->host)))
            hosts_failed(&part->hosts, database, i);
    hub->retry_ns = ns_add(worker_now(hub->home), RETRY_NS);
    log_emit(hub->proxy->log, LOG_AT_WARNING, "could not listen",
             log_text("database", hub->database), log_text("host", endpoint->host),
             log_text("reason", err->message), log_text("sqlstate", err->sqlstate));
    server_close(hub->server, err);
}

/* A message of the server; false: the connection is being closed. */
static bool heard(struct listen_hub *hub, const struct frame_part *part)
{
    struct message_error error;
    struct hf_err *err = &hub->server->last_error;
    switch (part->type) {
    case 'A':
        return came(hub, part);
    case 'E':
        if (message_error_fields(message_of(part), &error) == MESSAGE_BAD)
            error = (struct message_error){0};
        server_note_error(hub->server, &error);
        hub->has_failed = true;
        return true;
    case 'Z':
        if (hub->has_failed) {
            refused(hub, err);
            return false;
        }
        answered(hub);
        return is_live(hub);
    default:
        return true;
    }
}

/* It is looked into, and comes whole: all of them are short, but an error may be longer than a
 * view, and then what is in view must do. */
static bool is_waited_for(const struct frame_part *part)
{
    return (part->type == 'A' || part->type == 'E' || part->type == 'Z') &&
           part->bytes.size < LOOP_BLOCK_SIZE / 2;
}

/* Looks at what the server has said. */
static void feed(struct listen_hub *hub)
{
    struct server *server = hub->server;
    struct loop *loop = hub->home->loop;
    struct frame_part part;
    struct hf_err err;
    if (stream_view(&server->stream).size == 0)
        return;
    hub->heard_wall_ns = clock_wall_now();
    hub->heard_ns = worker_now(hub->home);
    for (;;) {
        if (atomic_load(&listens_of(hub)->news) >= LISTEN_NEWS_MAX) {
            worker_wake(hub->home, ns_add(hub->heard_ns, HELD_BACK_NS));
            return;
        }
        enum frame_status status = frame_look(&server->frame, stream_view(&server->stream), &part);
        if (status == FRAME_BAD) {
            frame_error(&server->frame, &err);
            server_close(hub->server, &err);
            return;
        }
        if (status == FRAME_MORE || (part.is_first && !part.is_last && is_waited_for(&part)))
            return;
        if (part.is_first && !heard(hub, &part))
            return;
        frame_take(&server->frame, part.bytes.size);
        stream_consume(loop, &server->stream, part.bytes.size);
    }
}

/* ---- the home: the connection ---- */

/* The part of the pool that the next connection is of: as the role whose turn it is. */
static bool choose_part(struct listen_hub *hub)
{
    struct listens *listens = listens_of(hub);
    char role[PROXY_NAME_SIZE] = "";
    struct hf_err err;
    pthread_mutex_lock(&listens->lock);
    if (hub->role_count > 0)
        memcpy(role, hub->roles[hub->role % hub->role_count], sizeof role);
    pthread_mutex_unlock(&listens->lock);
    struct pool_key key = {
        .name = sv_from_cstr(hub->database), .role = sv_from_cstr(role), .hub = hub};
    struct pool *pool = role[0] != '\0' ? pool_get(hub->proxy, &key, &err) : NULL;
    if (pool == NULL)
        return false;
    hub->part = &pool->parts[hub->home->index];
    worker_use(hub->home, hub->part);
    return true;
}

static void open_connection(struct listen_hub *hub, int64_t now_ns)
{
    if (hub->retry_ns > now_ns || !choose_part(hub) || hub->part->is_held) {
        hub->retry_ns = ns_max(hub->retry_ns, ns_add(now_ns, HELD_NS));
    } else if (hub->part->retry_at_ns > now_ns) {
        hub->retry_ns = hub->part->retry_at_ns;
    } else {
        hub->is_opening = server_open(hub->part, NULL);
        if (hub->is_opening)
            return;
        hub->retry_ns = ns_max(hub->part->retry_at_ns, ns_add(now_ns, HF_MS(10)));
    }
    worker_wake(hub->home, hub->retry_ns);
}

/* Nobody has wanted a channel for a while. */
static void close_unwanted(struct listen_hub *hub, int64_t now_ns)
{
    if (hub->unwanted_ns == 0)
        hub->unwanted_ns = now_ns;
    if (is_live(hub) && ns_add(hub->unwanted_ns, LISTEN_KEEP_NS) <= now_ns)
        server_close(hub->server, NULL);
}

/* Whatever there is to do now. */
static void work(struct listen_hub *hub)
{
    struct listens *listens = listens_of(hub);
    int64_t now_ns = worker_now(hub->home);
    pthread_mutex_lock(&listens->lock);
    bool is_wanted = hub->channels > 0;
    bool has_changes = !list_is_empty(&hub->changes) || hub->round_wanted > hub->round_sent;
    pthread_mutex_unlock(&listens->lock);
    if (!is_wanted) {
        hub->has_gap = false; /* nobody has missed anything */
        close_unwanted(hub, now_ns);
        return;
    }
    hub->unwanted_ns = 0;
    if (hub->server == NULL && !hub->is_opening && !hub->home->is_draining)
        open_connection(hub, now_ns);
    else if (is_live(hub) && !hub->is_busy && has_changes)
        ask_changes(hub);
}

void listen_hub_woken(struct loop_message *message)
{
    struct listen_hub *hub = container_of(message, struct listen_hub, wake);
    struct listens *listens = listens_of(hub);
    pthread_mutex_lock(&listens->lock);
    hub->is_woken = false;
    pthread_mutex_unlock(&listens->lock);
    work(hub);
}

static void set_pid(struct listen_hub *hub, uint32_t pid)
{
    struct listens *listens = listens_of(hub);
    pthread_mutex_lock(&listens->lock);
    hub->pid = pid;
    pthread_mutex_unlock(&listens->lock);
}

/* The connection says what it is for, and speaks in the encoding of those who will hear it. */
static bool introduce(struct listen_hub *hub)
{
    char text[3 * PROXY_NAME_SIZE];
    struct sv encoding = sv_from_cstr(hub->encoding);
    struct buffer words;
    struct buffer *out = stream_out(hub->home->loop, &hub->server->stream, 2 * sizeof text);
    buffer_init(&words, text, sizeof text);
    bool has_room = buffer_append(&words, SV("SET application_name = '" LISTEN_NAME "'"));
    if (encoding.size > 0)
        has_room = has_room && buffer_append(&words, SV("; SET client_encoding = '")) &&
                   buffer_append(&words, encoding) && buffer_append(&words, SV("'"));
    hf_assert(has_room);
    if (out == NULL || build_query(out, buffer_view(&words)) != HF_OK)
        return false;
    sent(hub);
    return true;
}

void listen_hub_ready(struct listen_hub *hub, struct server *server)
{
    hub->is_opening = false;
    hub->server = server;
    hub->is_busy = false;
    hub->heard_ns = worker_now(hub->home);
    hub->heard_wall_ns = clock_wall_now();
    server_enter(server, SERVER_ACTIVE);
    set_pid(hub, server->pid);
    worker_wake(hub->home, ns_add(hub->heard_ns, LISTEN_CHECK_NS));
    if (!introduce(hub))
        give_up(hub, NO_MEMORY);
}

void listen_hub_failed(struct listen_hub *hub, const struct pool_failure *failure)
{
    hub->is_opening = false;
    if (failure->is_final)
        hub->role++; /* another one of those who listen may be let in */
    hub->retry_ns = hub->part->retry_at_ns;
    worker_wake(hub->home, hub->retry_ns);
}

/* Nothing is listened to. What was is a gap from when the server was heard last. */
void listen_hub_gone(struct listen_hub *hub, struct server *server)
{
    struct listens *listens = listens_of(hub);
    bool was_on = false;
    if (hub->server != server)
        return;
    hub->server = NULL;
    hub->is_busy = false;
    pthread_mutex_lock(&listens->lock);
    hub->pid = 0;
    hub->waiting |= hub->waiting_sent;
    hub->waiting_sent = 0;
    if (hub->waiting != 0)
        hub->round_wanted = hub->round_sent + 1;
    end_asked(hub, false);
    for (uint32_t i = 0; i < listens->bucket_count; i++) {
        for (struct listen_channel *at = listens->buckets[i], *next; at != NULL; at = next) {
            next = at->next;
            if (at->hub != hub || !at->is_on)
                continue;
            was_on = was_on || at->workers != 0;
            at->is_on = false;
            settle(at);
        }
    }
    pthread_mutex_unlock(&listens->lock);
    if (was_on && !hub->has_gap) {
        hub->has_gap = true;
        hub->gap_from_ns = hub->heard_wall_ns;
    }
    worker_wake(hub->home, worker_now(hub->home));
}

void listen_hub_event(struct listen_hub *hub)
{
    if (!is_live(hub))
        return;
    feed(hub);
    if (is_live(hub))
        work(hub);
}

/* It has said nothing for a while: asks whether it is there. */
static void check(struct listen_hub *hub, int64_t now_ns)
{
    struct hf_err err;
    if (hub->is_busy && ns_add(hub->asked_ns, LISTEN_CHECK_NS) <= now_ns) {
        err_set(&err, HF_RC_PEER, "08006", "the connection that listens does not answer");
        server_close(hub->server, &err);
        return;
    }
    if (hub->is_busy || ns_add(hub->heard_ns, LISTEN_CHECK_NS) > now_ns)
        return;
    struct buffer *out = stream_out(hub->home->loop, &hub->server->stream, 16);
    if (out != NULL && build_query(out, sv_from(NULL, 0)) == HF_OK)
        sent(hub);
}

void listen_hub_turn(struct listen_hub *hub, int64_t now_ns)
{
    struct hf_err err;
    if (is_live(hub) && hub->server->is_tainted) {
        err_set(&err, HF_RC_AGAIN, "57P01", "its host is no longer the one to listen to");
        server_close(hub->server, &err);
    }
    if (is_live(hub) && hub->part->is_held) {
        err_set(&err, HF_RC_AGAIN, "57P01", "the database is paused");
        server_close(hub->server, &err);
    }
    if (is_live(hub))
        check(hub, now_ns);
    if (is_live(hub) && stream_view(&hub->server->stream).size > 0)
        feed(hub); /* what was held back */
    work(hub);
}

/* ---- the console ---- */

bool listen_each(struct listens *listens, uint64_t *cursor, struct listen_row *row)
{
    uint64_t bucket = *cursor >> 32, place = *cursor & UINT32_MAX;
    const struct listen_channel *channel = NULL;
    pthread_mutex_lock(&listens->lock);
    for (; channel == NULL && bucket < listens->bucket_count; bucket++, place = 0) {
        channel = listens->buckets[bucket];
        for (uint64_t i = 0; i < place && channel != NULL; i++)
            channel = channel->next;
        if (channel != NULL)
            break;
    }
    if (channel != NULL) {
        *row = (struct listen_row){.listeners = atomic_load(&channel->listeners),
                                   .delivered = atomic_load(&channel->delivered),
                                   .lost = atomic_load(&channel->lost),
                                   .is_on = channel->is_on,
                                   .server_pid = channel->hub->pid};
        memcpy(row->database, channel->hub->database, sizeof row->database);
        memcpy(row->channel, channel->name, sizeof row->channel);
        *cursor = bucket << 32 | (place + 1);
    }
    pthread_mutex_unlock(&listens->lock);
    return channel != NULL;
}
