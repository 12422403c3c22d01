#include "proxy/listen.h"

#include <string.h>

#include "base/bug.h"
#include "os/clock.h"
#include "proxy/client.h"
#include "proxy/listen_hub.h"
#include "proxy/pool.h"
#include "proxy/worker.h"
#include "wire/build.h"
#include "wire/channels.h"
#include "wire/frame.h"
#include "wire/question.h"
#include "wire/settings.h"

#define NOTICE_SIZE  1024 /* of a NoticeResponse of ours */
#define NAMES_SIZE   160  /* of the channels that a notice names */
#define TRIES_MAX    3    /* of asking a server what it listens to, as a cancel may hit that */
#define PRIMES_MAX   32   /* channels that a server is asked to listen to at a time */
#define RESERVE_KEPT 512  /* of RELAY_RESERVE: for what others tell a client before it is ready */

/* News in the queue of a client. */
struct listen_told {
    struct list_node link;
    struct listen_news *news;             /* NULL: here stands the gap */
    const struct listen_channel *channel; /* of the news */
};

/* What they take there, which for short ones is most of it. */
static size_t cost_of(const struct listen_news *news)
{
    return sizeof(struct listen_told) + sizeof *news + news->size;
}

static struct mem *mem_of(const struct client *client)
{
    return client->worker->proxy->mem;
}

static struct listens *listens_of(const struct client *client)
{
    return client->worker->proxy->listens;
}

/* ---- what a client listens to ---- */

/* In which encoding the client speaks, which its channels and their news are in. */
static struct listen_hub *hub_of(struct client *client)
{
    struct proxy *proxy = client->worker->proxy;
    char encoding[PROXY_NAME_SIZE] = "";
    pthread_mutex_lock(&proxy->lock);
    sv_copy(settings_find(&proxy->settings, client->told, SV("client_encoding")), encoding,
            sizeof encoding);
    pthread_mutex_unlock(&proxy->lock);
    return listen_hub_get(proxy->listens, sv_from_cstr(client->part->pool->name),
                          sv_from_cstr(encoding));
}

static struct listening *listening_new(struct client *client)
{
    struct listening *listening = mem_alloc(mem_of(client), sizeof *listening);
    if (listening == NULL)
        return NULL;
    listening->client = client;
    listening->hub = hub_of(client);
    if (listening->hub == NULL) {
        mem_free(mem_of(client), listening);
        return NULL;
    }
    list_init(&listening->channels);
    list_init(&listening->queue);
    listening->buckets = listening->few;
    listening->bucket_count = LISTEN_FEW;
    list_push_back(&client->worker->listening, &listening->link);
    client->listening = listening;
    return listening;
}

/* ---- its channels by their names ---- */

static struct listen_place **bucket_of(struct listening *listening, uint64_t hash)
{
    return &listening->buckets[hash & (listening->bucket_count - 1)];
}

static struct listen_place *find_place(struct listening *listening, struct sv name)
{
    uint64_t hash = hash_bytes(&listens_of(listening->client)->key, name);
    struct listen_place *place = *bucket_of(listening, hash);
    while (place != NULL &&
           (place->channel->hash != hash || !sv_eq(sv_from_cstr(place->channel->name), name)))
        place = place->next;
    return place;
}

static void put_place(struct listening *listening, struct listen_place *place)
{
    struct listen_place **at = bucket_of(listening, place->channel->hash);
    place->next = *at;
    *at = place;
}

static void take_place(struct listening *listening, const struct listen_place *place)
{
    struct listen_place **at = bucket_of(listening, place->channel->hash);
    while (*at != place)
        at = &(*at)->next;
    *at = place->next;
}

/* Twice the buckets; without memory for them, chains grow longer. Who listens to thousands has them
 * looked up thousands of times after each LISTEN. */
static void grow(struct listening *listening)
{
    struct mem *mem = mem_of(listening->client);
    uint32_t count = 2 * listening->bucket_count;
    struct listen_place **buckets = mem_alloc_array(mem, count, sizeof(struct listen_place *));
    if (buckets == NULL)
        return;
    if (listening->buckets != listening->few)
        mem_free(mem, listening->buckets);
    listening->buckets = buckets;
    listening->bucket_count = count;
    list_for_each(node, &listening->channels)
        put_place(listening, container_of(node, struct listen_place, of_client));
}

/* ---- joining and leaving ---- */

static void untell(struct listening *listening, struct listen_told *told)
{
    list_remove(&told->link);
    if (told->news == NULL) {
        listening->has_gap = false;
    } else {
        listening->queued -= cost_of(told->news);
        if (--told->news->holders == 0)
            listen_news_drop(listens_of(listening->client), told->news);
    }
    mem_free(mem_of(listening->client), told);
}

static void leave(struct listening *listening, struct listen_place *place)
{
    struct client *client = listening->client;
    list_for_each(node, &listening->queue) {
        struct listen_told *told = container_of(node, struct listen_told, link);
        if (told->news != NULL && told->channel == place->channel)
            untell(listening, told);
    }
    list_remove(&place->of_channel);
    list_remove(&place->of_client);
    take_place(listening, place);
    listening->count--;
    listen_leave(place->channel, client->worker);
    mem_free(mem_of(client), place);
}

static void listening_free(struct listening *listening)
{
    struct client *client = listening->client;
    struct list_node *node;
    while ((node = list_first(&listening->queue)) != NULL)
        untell(listening, container_of(node, struct listen_told, link));
    while ((node = list_first(&listening->channels)) != NULL)
        leave(listening, container_of(node, struct listen_place, of_client));
    list_remove(&listening->link);
    client->listening = NULL;
    if (listening->buckets != listening->few)
        mem_free(mem_of(client), listening->buckets);
    mem_free(mem_of(client), listening);
}

void listen_left(struct client *client)
{
    if (client->listening != NULL)
        listening_free(client->listening);
}

/* The client listens to one more. False: it may not, or there is no memory. */
static bool join(struct listening *listening, struct sv name)
{
    struct client *client = listening->client;
    struct worker *worker = client->worker;
    if (listening->count >= worker->config->limits.listen_channels_per_client_max)
        return false;
    struct listen_place *place = mem_alloc(mem_of(client), sizeof *place);
    if (place == NULL)
        return false;
    if (!listen_join(listening->hub, worker, place, name, sv_from_cstr(client->part->pool->role))) {
        mem_free(mem_of(client), place);
        return false;
    }
    place->listening = listening;
    place->is_seen = true;
    atomic_fetch_add(&place->channel->listeners, 1);
    list_push_back(&place->channel->subscribers[worker->index], &place->of_channel);
    if (listening->count >= listening->bucket_count)
        grow(listening);
    list_push_back(&listening->channels, &place->of_client);
    put_place(listening, place);
    listening->count++;
    return true;
}

/* ---- the server connection listens to what its client listens to ---- */

/* Messages before which it matters. What is executed in the extended protocol may have been parsed
 * long ago, so there all of them are. */
static bool may_matter(const struct frame_part *part)
{
    struct sv text;
    if (part->type == 'Q')
        return message_query(message_of(part), &text) != MESSAGE_OK || channels_may_matter(text);
    return strchr("PBDCE", part->type) != NULL;
}

/* False: no room for it now. */
static bool put_listen(const struct listen_place *place, struct buffer *questions)
{
    char bytes[256];
    struct buffer message;
    buffer_init(&message, bytes, sizeof bytes);
    struct build query = build_begin(&message, 'Q');
    channels_ask(&query, CHANNELS_LISTEN, sv_from_cstr(place->channel->name));
    enum hf_rc rc = build_end(&query);
    hf_assert(rc == HF_OK); /* it has room for the longest name */
    return question_put(questions, sv_drop(buffer_view(&message), FRAME_HEADER_SIZE)) == HF_OK;
}

/* As many as are asked at a time, from the place where the last ones ended. */
static bool prime(struct server *server)
{
    struct listening *listening = server->client->listening;
    char bytes[LOOP_BLOCK_SIZE / 2];
    struct buffer questions;
    struct list_node *node = server->primes;
    uint32_t count = 0;
    buffer_init(&questions, bytes, sizeof bytes);
    for (; node != &listening->channels.head && count < PRIMES_MAX; node = node->next, count++)
        if (!put_listen(container_of(node, struct listen_place, of_client), &questions))
            break;
    if (!server_ask_questions(server, buffer_view(&questions), count))
        return false;
    server->primes = node;
    server->listen = SERVER_LISTEN_PRIMING;
    server->is_listening = true;
    return true;
}

enum relay_step listen_prime(struct client *client, struct relay_run *run,
                             const struct frame_part *part)
{
    struct server *server = client->server;
    enum replies_rest rest = replies_rest(&server->replies);
    if (server->primed != SERVER_PRIMED_NO || !may_matter(part))
        return RELAY_PASS;
    if (rest == REPLIES_BUSY)
        return RELAY_STOP; /* what it has pipelined before may end a transaction, or begin one */
    if (!replies_is_clean(&server->replies))
        return RELAY_PASS;
    relay_run_put(run);
    server->primes = client->listening->channels.head.next;
    prime(server); /* or there is no room: LOOP_DRAINED follows */
    return RELAY_STOP;
}

/* Our query was answered. A server that does not let us (a standby, say) will not let the client
 * either; what it listens to stays as it is. */
static void primed(struct server *server)
{
    struct client *client = server->client;
    bool has_more = server->primes != &client->listening->channels.head;
    if (!server->is_failed && has_more && prime(server))
        return;
    bool is_done = !server->is_failed && !has_more;
    server->listen = SERVER_LISTEN_REST;
    server->primed = is_done ? SERVER_PRIMED : SERVER_PRIMED_FAILED;
    relay_from_client(client);
}

/* ---- what comes behind waits ---- */

void listen_expect(struct server *server, char type)
{
    server->expects = type == 'Q' ? SERVER_EXPECTS : SERVER_EXPECTS_SYNC;
}

bool listen_waits(struct server *server, char type)
{
    if (server->expects == SERVER_EXPECTS_SYNC && type == 'S')
        server->expects = SERVER_EXPECTS;
    if (server->expects != SERVER_EXPECTS || strchr("PBEDCQF", type) == NULL)
        return false;
    return replies_rest(&server->replies) == REPLIES_BUSY;
}

/* ---- telling ---- */

/* It is in no transaction, and nothing is being said to it that news could fall into. */
static bool can_be_told(const struct client *client)
{
    const struct server *server = client->server;
    if (client->state == CLIENT_ACTIVE && server != NULL) /* and keeps it: see session_state.h */
        return client->request_ns == 0 && replies_is_clean(&server->replies) &&
               !server_is_speaking(server) && server->listen == SERVER_LISTEN_REST;
    return client->state == CLIENT_IDLE ||
           (client->state == CLIENT_WAITING && client->is_logged_in);
}

/* Some of the names, for people. */
static void name_channels(const struct listening *listening, char out[NAMES_SIZE + 1])
{
    struct buffer text;
    bool has_room = true;
    buffer_init(&text, out, NAMES_SIZE);
    list_for_each(node, &listening->channels) {
        struct sv name =
            sv_from_cstr(container_of(node, struct listen_place, of_client)->channel->name);
        has_room = buffer_free(&text) >= name.size + sizeof ", , ...";
        if (!has_room)
            break;
        (void)!buffer_append(&text, buffer_held(&text) > 0 ? SV(", ") : SV(""));
        (void)!buffer_append(&text, name);
    }
    if (!has_room)
        (void)!buffer_append(&text, SV(", ..."));
    out[buffer_held(&text)] = '\0';
}

static void explain_gap(const struct listening *listening, struct hf_err *err)
{
    char from[CLOCK_TEXT_SIZE], to[CLOCK_TEXT_SIZE], names[NAMES_SIZE + 1];
    name_channels(listening, names);
    err_set(err, HF_RC_AGAIN, LISTEN_GAP_SQLSTATE, "notifications between %s and %s may be lost",
            clock_wall_text(listening->gap_from_ns, from),
            clock_wall_text(listening->gap_to_ns, to));
    if (listening->gap_lost > 0)
        err_detail(err, "%llu did not find room in listen_queue. Channels: %s.",
                   (unsigned long long)listening->gap_lost, names);
    else
        err_detail(err, "The proxy was not connected to the server. Channels: %s.", names);
    err_hint(err, "Look again at what the notifications are about.");
}

/* False: there is no room, or the client is gone. */
static bool tell_gap(struct listening *listening, struct listen_told *told)
{
    struct client *client = listening->client;
    struct hf_err err;
    explain_gap(listening, &err);
    if (client->part->config.listen_gap == PROXY_LISTEN_DISCONNECT) {
        memcpy(err.sqlstate, "57P01", sizeof "57P01");
        client_fail(client, &err);
        return false;
    }
    struct buffer *out = stream_out(client->worker->loop, &client->stream, NOTICE_SIZE);
    if (out == NULL || build_error(out, BUILD_WARNING, &err) != HF_OK)
        return false;
    listening->is_lossy = false;
    listening->gap_lost = 0;
    untell(listening, told);
    return true;
}

/* Puts what waits, as much as `room` bytes take. */
static void tell(struct listening *listening, size_t room, bool with_gap)
{
    struct client *client = listening->client;
    struct list_node *node;
    while ((node = list_first(&listening->queue)) != NULL) {
        struct listen_told *told = container_of(node, struct listen_told, link);
        if (told->news == NULL) {
            if (!with_gap || !tell_gap(listening, told))
                return;
            room = stream_room(client->worker->loop, &client->stream);
            continue;
        }
        struct sv bytes = sv_from(told->news->bytes, told->news->size);
        if (bytes.size > room)
            return;
        room -= bytes.size;
        size_t sent = stream_send(client->worker->loop, &client->stream, bytes);
        hf_assert(sent == bytes.size);
        untell(listening, told);
    }
}

void listen_flush(struct client *client)
{
    struct listening *listening = client->listening;
    if (listening == NULL || list_is_empty(&listening->queue) || !can_be_told(client))
        return;
    tell(listening, stream_room(client->worker->loop, &client->stream), true);
}

void listen_tell_before(struct client *client, const struct relay_run *run)
{
    struct listening *listening = client->listening;
    hf_assert(run->size == 0);
    size_t room = stream_room(client->worker->loop, &client->stream);
    size_t kept = run->view.size + RESERVE_KEPT;
    if (room > kept)
        tell(listening, room - kept, false);
}

/* ---- what it has come to ---- */

void listen_completed(struct server *server, const struct frame_part *part)
{
    struct sv tag;
    if (message_text(message_of(part), &tag) != MESSAGE_OK)
        return;
    if (sv_eq(tag, SV("DISCARD ALL"))) {
        server->is_listening = false;
        server->has_listened = false;
        server->primed = SERVER_PRIMED_NO;
        listen_left(server->client);
    } else if (sv_eq(tag, SV("LISTEN")) || sv_eq(tag, SV("UNLISTEN"))) {
        server->has_listened = true;
        server->is_listening = true;
    }
}

bool listen_holds(struct server *server)
{
    if (replies_rest(&server->replies) == REPLIES_IDLE)
        server->expects = SERVER_EXPECTS_NOT;
    if (!server->has_listened || !replies_is_clean(&server->replies))
        return false;
    listen_found(server);
    server->is_held = true;
    return true;
}

void listen_found(struct server *server)
{
    server->has_listened = false;
    server->is_listening = true;
    server->listen = SERVER_LISTEN_DUE;
    server->tries = 0;
}

/* Begins to find out: nothing of what the client listens to is seen yet. */
static bool ask_channels(struct server *server)
{
    struct listening *listening = server->client->listening;
    if (!server_ask_question(server, SV("SELECT pg_catalog.pg_listening_channels()")))
        return false;
    server->listen = SERVER_LISTEN_ASKED;
    server->tries++;
    if (listening == NULL) {
        server->primed = SERVER_PRIMED; /* with nothing */
        return true;
    }
    list_for_each(node, &listening->channels)
        container_of(node, struct listen_place, of_client)->is_seen = false;
    return true;
}

void listen_row(struct server *server, const struct frame_part *part)
{
    struct sv name;
    struct client *client = server->client;
    if (client == NULL || message_row(message_of(part), &name, 1) != MESSAGE_OK)
        return;
    if (client->listening == NULL && listening_new(client) == NULL) {
        err_set(&server->last_error, HF_RC_LIMIT, "53200", "out of memory for channels");
        server->is_failed = true;
        return;
    }
    struct listening *listening = client->listening;
    struct listen_place *place = find_place(listening, name);
    if (place != NULL)
        place->is_seen = true;
    else if (!join(listening, name))
        listening->is_over = true;
}

static void refuse_more(struct client *client)
{
    struct hf_err err;
    const struct proxy_limits *limits = &client->worker->config->limits;
    err_set(&err, HF_RC_LIMIT, "53400", "too many channels are listened to");
    err_detail(&err,
               "This session listens to %u; limits.listen_channels_per_client_max is %lld, "
               "limits.listen_channels_max is %lld.",
               client->listening->count, (long long)limits->listen_channels_per_client_max,
               (long long)limits->listen_channels_max);
    err_hint(&err, "Use fewer channels and say more in the payload, or raise the limit.");
    client_fail(client, &err);
}

/* All channels are listened to: the client may know. */
static void acknowledge(struct client *client)
{
    struct listening *listening = client->listening;
    if (listening != NULL && listening->waits_ns != 0) {
        listening->waits_ns = 0;
        list_remove(&listening->link);
        list_push_back(&client->worker->listening, &listening->link);
    }
    client->server->listen = SERVER_LISTEN_REST;
    relay_release(client->server);
}

/* What it does not listen to any more is left after a round: what was notified before its UNLISTEN
 * comes before the answer to that. */
static void begin_to_leave(struct listening *listening)
{
    bool leaves = false;
    list_for_each(node, &listening->channels) {
        struct listen_place *place = container_of(node, struct listen_place, of_client);
        place->is_leaving = place->is_leaving || !place->is_seen;
        leaves = leaves || place->is_leaving;
    }
    if (leaves)
        listening->leave_round = listen_round(listening->hub, listening->client->worker);
}

/* Leaves what is to be left. The client is told what waits for it; what finds no room now is of a
 * channel that it has left. May be the end of `listening`. */
static void end_to_leave(struct listening *listening)
{
    struct client *client = listening->client;
    size_t room = stream_room(client->worker->loop, &client->stream);
    if (room > RELAY_RESERVE)
        tell(listening, room - RELAY_RESERVE, false);
    listening->leave_round = 0;
    list_for_each(node, &listening->channels) {
        struct listen_place *place = container_of(node, struct listen_place, of_client);
        if (place->is_leaving)
            leave(listening, place);
    }
    if (listening->count == 0)
        listening_free(listening);
}

/* A round is done: whether the client may know then that it listens, or does not any more. */
static bool round_is_enough(struct listening *listening, uint64_t round)
{
    if (!listen_begin(listening, round) || listening->leave_round > round)
        return false;
    end_to_leave(listening);
    return true;
}

/* The server has told all of its channels. Those of the client that it did not tell are left, if it
 * could have told them. */
static void found_out(struct server *server)
{
    struct client *client = server->client;
    struct listening *listening = client->listening;
    if (listening != NULL && listening->is_over) {
        refuse_more(client);
        return;
    }
    if (listening != NULL && server->primed == SERVER_PRIMED)
        begin_to_leave(listening);
    if (listening == NULL || round_is_enough(listening, 0)) {
        acknowledge(client);
        return;
    }
    server->listen = SERVER_LISTEN_WAITING;
    listening->waits_ns = worker_now(client->worker);
    list_remove(&listening->link);
    list_push_front(&client->worker->listening, &listening->link);
}

/* The answer to our question was an error: a cancel of the client may have hit it. */
static void not_found_out(struct server *server)
{
    struct client *client = server->client;
    struct hf_err err = server->last_error;
    server->listen = SERVER_LISTEN_DUE;
    if (server->tries >= TRIES_MAX) {
        client_fail(client, &err);
        return;
    }
    ask_channels(server);
}

bool listen_settle(struct server *server)
{
    switch ((enum server_listen)server->listen) {
    case SERVER_LISTEN_REST:
        return true;
    case SERVER_LISTEN_DUE:
        ask_channels(server); /* or there is no room: LOOP_DRAINED follows */
        return false;
    case SERVER_LISTEN_PRIMING:
        if (server->is_answered)
            primed(server);
        return false;
    case SERVER_LISTEN_ASKED:
        if (server->is_answered && server->is_failed)
            not_found_out(server);
        else if (server->is_answered)
            found_out(server);
        return false;
    case SERVER_LISTEN_WAITING:
    default:
        return false;
    }
}

/* ---- news ---- */

/* Into the queue; NULL for the gap. False: no memory. */
static bool enqueue(struct listening *listening, struct listen_news *news,
                    const struct listen_channel *channel)
{
    struct listen_told *told = mem_alloc(mem_of(listening->client), sizeof *told);
    if (told == NULL)
        return false;
    told->news = news;
    told->channel = channel;
    if (news == NULL) {
        listening->has_gap = true;
    } else {
        news->holders++;
        listening->queued += cost_of(news);
    }
    list_push_back(&listening->queue, &told->link);
    return true;
}

/* A gap is to be told behind what waits already; one that waits itself grows. Whoever cannot be
 * told is disconnected: no gap goes unnoticed. */
static void note_gap(struct listening *listening, int64_t from_ns, int64_t to_ns)
{
    struct client *client = listening->client;
    if (listening->has_gap) {
        listening->gap_to_ns = to_ns;
        return;
    }
    listening->gap_from_ns = from_ns;
    listening->gap_to_ns = to_ns;
    if (enqueue(listening, NULL, NULL))
        return;
    struct hf_err err;
    err_set(&err, HF_RC_LIMIT, "53200", "out of memory for notifications");
    client_fail(client, &err);
}

/* The queue is full, or there is no memory for it: from now on until the gap is told, none. */
static void lose(struct listening *listening, struct listen_channel *channel)
{
    int64_t now_ns = clock_wall_now();
    atomic_fetch_add(&channel->lost, 1);
    listening->gap_lost++;
    listening->is_lossy = true;
    note_gap(listening, now_ns, now_ns);
}

static void came_to(struct listen_place *place, struct listen_news *news)
{
    struct listening *listening = place->listening;
    struct client *client = listening->client;
    struct listen_channel *channel = place->channel;
    struct sv bytes = sv_from(news->bytes, news->size);
    struct loop *loop = client->worker->loop;
    if (!place->is_live)
        return;
    bool is_free = list_is_empty(&listening->queue) && can_be_told(client);
    if (is_free && stream_room(loop, &client->stream) >= bytes.size) {
        size_t sent = stream_send(loop, &client->stream, bytes);
        hf_assert(sent == bytes.size);
        atomic_fetch_add(&channel->delivered, 1);
        return;
    }
    size_t most = (size_t)client->part->config.listen_queue;
    if (listening->is_lossy || listening->queued + cost_of(news) > most ||
        !enqueue(listening, news, channel))
        lose(listening, channel);
    else
        atomic_fetch_add(&channel->delivered, 1);
}

/* A round is done: clients whose ReadyForQuery is held back may know. */
static void round_done(struct worker *worker, const struct listen_news *news)
{
    list_for_each(node, &worker->listening) {
        struct listening *listening = container_of(node, struct listening, link);
        if (listening->waits_ns == 0)
            return; /* those that wait come first */
        struct client *client = listening->client;
        if (listening->hub == news->hub && round_is_enough(listening, news->round))
            acknowledge(client);
    }
}

/* Who listens to something has missed it; who has only begun to, has not. */
static void gap_for(struct listening *listening, const struct listen_news *news)
{
    struct client *client = listening->client;
    bool has_missed = false;
    list_for_each(node, &listening->channels)
        has_missed = has_missed || container_of(node, struct listen_place, of_client)->is_live;
    if (!has_missed)
        return;
    note_gap(listening, news->from_ns, news->to_ns); /* without memory, the end of `listening` */
    listen_flush(client);
}

void listen_news(struct worker *worker, struct listen_news *news)
{
    struct listens *listens = worker->proxy->listens;
    if (news->kind == LISTEN_NEWS_CAME) {
        news->holders = 1;
        list_for_each(node, &news->channel->subscribers[worker->index])
            came_to(container_of(node, struct listen_place, of_channel), news);
        listen_news_came(listens, news);
        if (--news->holders == 0)
            listen_news_drop(listens, news);
        return;
    }
    if (news->kind == LISTEN_NEWS_ON) {
        round_done(worker, news);
        listen_news_came(listens, news);
        listen_news_drop(listens, news);
        return;
    }
    list_for_each(node, &worker->listening) {
        struct listening *listening = container_of(node, struct listening, link);
        if (listening->hub == news->hub)
            gap_for(listening, news);
    }
    listen_news_came(listens, news);
    listen_news_drop(listens, news);
}

/* What it listens to cannot be listened to. It has been told that its transaction is committed, if
 * it is one, and not that it listens. Who only leaves needs no server for that. */
static void end_waiting(struct listening *listening)
{
    struct hf_err err;
    struct client *client = listening->client;
    listening->leave_round = 0;
    if (round_is_enough(listening, 0)) {
        acknowledge(client);
        return;
    }
    err_set(&err, HF_RC_AGAIN, "08006", "could not listen: no connection to the server");
    err_detail(&err,
               "It was waited for as long as server_down_timeout = %lld ms. The transaction "
               "that has listened is committed.",
               (long long)(client->part->config.server_down_timeout_ns / HF_MS(1)));
    err_hint(&err, "Connect and listen again.");
    client_fail(client, &err);
}

void listen_tick(struct worker *worker, int64_t now_ns)
{
    list_for_each(node, &worker->listening) {
        struct listening *listening = container_of(node, struct listening, link);
        struct client *client = listening->client;
        int64_t limit_ns = client->part->config.server_down_timeout_ns;
        if (listening->waits_ns == 0)
            listen_flush(client);
        else if (ns_add(listening->waits_ns, limit_ns) <= now_ns)
            end_waiting(listening);
    }
}
