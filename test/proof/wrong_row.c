/*
 * The wrong-row checker's clients: one thread, one epoll, no library between them and the wire.
 *
 *     wrong_row --port P [--host H] [--user U] [--database D] [--clients N] [--seconds S]
 *               [--seed X] [--turns-per-session N] [--hang S] [--least N] [--calm]
 *
 * They log in without a password: what is tested is whose replies are whose. At the end one line of
 * JSON counts what happened. The exit status is 1 when a reply was wrong, or owed for too long. On
 * a machine where it takes longer, it goes on until there were --least so many logins and turns.
 */
#include "wrong_row.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX    256
#define TICK_MS       1
#define CANCELS_MAX   64
#define CANCEL_CODE   80877102
#define PROTOCOL_3_0  196608
#define RETRY_NS_MAX  HF_MS(50)
#define FINISH_NS_MAX HF_SEC(30)
#define LEAST_NS_MAX  HF_SEC(120) /* beyond the time that was asked for */

/* A connection that carries a CancelRequest. Its client is told for how long it may be hit. */
struct cancel {
    int fd;
    struct client *client;
    uint32_t turn;
    char request[16 + 256];
    size_t size;
};

struct clients_loop {
    struct run run;
    int epoll;
    struct sockaddr_in address;
    struct cancel cancels[CANCELS_MAX];
    int64_t end_ns;
    bool is_ending; /* no new turns */
};

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return HF_SEC(time.tv_sec) + time.tv_nsec;
}

static uint32_t u32_at(const char *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return ntohl(value);
}

static void u32_put(char *at, uint32_t value)
{
    value = htonl(value);
    memcpy(at, &value, sizeof value);
}

/* A socket that is being connected, without waiting; -1 when the machine has none to give. */
static int dial(const struct clients_loop *loop)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (const struct sockaddr *)&loop->address, sizeof loop->address) != 0 &&
        errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Clients and cancels are told apart by where the pointer points. */
static void watch(struct clients_loop *loop, int operation, int fd, uint32_t events, void *whose)
{
    struct epoll_event event = {.events = events, .data.ptr = whose};
    if (epoll_ctl(loop->epoll, operation, fd, &event) != 0) {
        perror("wrong_row: epoll_ctl");
        exit(2);
    }
}

static void want(struct clients_loop *loop, struct client *client, uint32_t events)
{
    if (client->events != events)
        watch(loop, EPOLL_CTL_MOD, client->fd, events, client);
    client->events = events;
}

/* ---- connecting ---- */

static void lose(struct client *client, bool resets)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};
    if (resets)
        setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(client->fd);
    client->fd = -1;
    client->phase = PHASE_AWAY;
    client->wake_ns = now() + rng_range_ns(&client->rng, HF_MS(1), RETRY_NS_MAX);
    client->in_size = 0;
    memset(client->is_prepared, 0, sizeof client->is_prepared);
    client->setting[0] = '\0';
}

static void meet(struct clients_loop *loop, struct client *client)
{
    client->fd = dial(loop);
    if (client->fd < 0) {
        client->wake_ns = now() + RETRY_NS_MAX;
        return;
    }
    client->phase = PHASE_CONNECTING;
    client->turn_ns = now();
    client->events = EPOLLOUT;
    watch(loop, EPOLL_CTL_ADD, client->fd, EPOLLOUT, client);
}

static void put_parameter(struct client *client, const char *name, const char *value)
{
    client->out_size +=
        (size_t)snprintf(client->out + client->out_size, 100, "%s%c%s", name, 0, value) + 1;
}

static void greet(struct clients_loop *loop, struct client *client)
{
    const struct options *options = &loop->run.options;
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
        loop->run.counts.refused_logins++;
        lose(client, false);
        return;
    }
    client->phase = PHASE_LOGIN;
    client->out_size = 8;
    client->out_sent = client->hold_at = 0;
    put_parameter(client, "user", options->user);
    put_parameter(client, "database", options->database);
    put_parameter(client, "application_name", "wrong_row");
    client->out[client->out_size++] = '\0';
    u32_put(client->out, (uint32_t)client->out_size);
    u32_put(client->out + 4, PROTOCOL_3_0);
    client->turns_left = options->turns_per_session;
    want(loop, client, EPOLLIN | EPOLLOUT);
}

/* A message during the login. False: the connection is no good. */
static bool logged_in(struct clients_loop *loop, struct client *client, char type, const char *body,
                      size_t size)
{
    if (type == 'R' && u32_at(body) != 0) {
        fprintf(stderr, "wrong_row: a password is asked for\n");
        exit(2);
    }
    if (type == 'E') {
        loop->run.counts.refused_logins++;
        return false;
    }
    if (type == 'K' && size >= 8 && size - 4 <= sizeof client->key) {
        client->pid = u32_at(body);
        client->key_size = size - 4;
        memcpy(client->key, body + 4, client->key_size);
    }
    if (type == 'Z') {
        loop->run.counts.logins++;
        client->phase = PHASE_READY;
        client->wake_ns = 0;
    }
    return true;
}

/* ---- cancels ---- */

static void cancel_open(struct clients_loop *loop, struct client *client)
{
    client->cancel_ns = HF_NEVER;
    for (size_t i = 0; i < CANCELS_MAX; i++) {
        struct cancel *cancel = &loop->cancels[i];
        if (cancel->fd >= 0)
            continue;
        cancel->fd = dial(loop);
        if (cancel->fd < 0)
            return;
        cancel->client = client;
        cancel->size = 12 + client->key_size;
        u32_put(cancel->request, (uint32_t)cancel->size);
        u32_put(cancel->request + 4, CANCEL_CODE);
        u32_put(cancel->request + 8, client->pid);
        memcpy(cancel->request + 12, client->key, client->key_size);
        client->cancelled_ns = HF_NEVER;
        watch(loop, EPOLL_CTL_ADD, cancel->fd, EPOLLOUT, cancel);
        loop->run.counts.cancels++;
        return;
    }
}

static void cancel_event(struct clients_loop *loop, struct cancel *cancel, uint32_t events)
{
    char byte;
    if (cancel->size > 0 && (events & (EPOLLERR | EPOLLHUP)) == 0) {
        /* So few bytes go at once, or the connection is no good. */
        if (send(cancel->fd, cancel->request, cancel->size, MSG_NOSIGNAL) > 0) {
            cancel->size = 0;
            watch(loop, EPOLL_CTL_MOD, cancel->fd, EPOLLIN, cancel);
            return;
        }
    } else if (cancel->size == 0 && recv(cancel->fd, &byte, 1, 0) < 0 && errno == EAGAIN) {
        return;
    }
    close(cancel->fd);
    cancel->fd = -1;
    cancel->client->cancelled_ns = now() + CANCEL_LATE_NS;
}

/* ---- moving bytes ---- */

/* False: the connection is lost. */
static bool write_out(struct clients_loop *loop, struct client *client, int64_t now_ns)
{
    size_t limit = client->out_size;
    if (client->hold_at > 0 && client->phase == PHASE_TURN) {
        if (now_ns >= client->hold_ns) {
            client->hold_at = 0;
            loop->run.counts.holds++;
        } else if (client->hold_at < limit) {
            limit = client->hold_at;
        }
    }
    if (limit > client->out_sent) {
        const ssize_t sent = send(client->fd, client->out + client->out_sent,
                                  limit - client->out_sent, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return false;
        client->out_sent += sent > 0 ? (size_t)sent : 0;
    }
    return true;
}

/* All whole messages that are there. False: the connection is to be given up. */
static bool take_messages(struct clients_loop *loop, struct client *client, int64_t now_ns)
{
    struct run *run = &loop->run;
    size_t start = 0;
    bool is_good = true;
    while (is_good && client->in_size - start >= 5) {
        const char *message = client->in + start;
        const uint32_t length = u32_at(message + 1);
        if (length < 4 || length >= IN_SIZE)
            return check_evidence(run, client, "a message of an impossible length");
        if (client->in_size - start < length + 1)
            break;
        start += length + 1;
        if (client->phase == PHASE_LOGIN)
            is_good = logged_in(loop, client, message[0], message + 5, length - 4);
        else if (client->phase == PHASE_TURN)
            is_good = check_message(run, client, message[0], message + 5, length - 4, now_ns);
        else if (message[0] != 'S' && message[0] != 'N' && message[0] != 'E')
            is_good = check_evidence(run, client, "a message to a client that waits for none");
        if (is_good && client->phase == PHASE_TURN && check_is_done(client)) {
            run->counts.turns++;
            client->phase = PHASE_READY;
            client->wake_ns = rng_below(&client->rng, 20) == 0
                                  ? now_ns + rng_range_ns(&client->rng, 0, HF_MS(30))
                                  : 0;
        }
    }
    memmove(client->in, client->in + start, client->in_size - start);
    client->in_size -= start;
    return is_good;
}

/* How much to read now: a client that is to pause within an answer reads up to there, else it would
 * find the whole of it on a slow machine. */
static size_t room_of(const struct client *client)
{
    size_t room = IN_SIZE - client->in_size;
    if (client->phase == PHASE_TURN && client->pause_after > client->received &&
        client->pause_after - client->received < room)
        room = client->pause_after - client->received;
    return room;
}

/* Between turns nothing may come but news of parameters, notices, and last words. */
static bool read_in(struct clients_loop *loop, struct client *client, int64_t now_ns)
{
    const ssize_t got = recv(client->fd, client->in + client->in_size, room_of(client), 0);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    client->in_size += (size_t)got;
    client->received += (size_t)got;
    if (client->phase == PHASE_TURN && client->drop_after > 0 &&
        client->received >= client->drop_after) {
        loop->run.counts.drops++;
        lose(client, true);
        return true;
    }
    if (!take_messages(loop, client, now_ns))
        return false;
    if (client->phase != PHASE_TURN)
        return true;
    if (client->pause_after > 0 && client->received >= client->pause_after) {
        client->pause_after = 0;
        client->pause_ns = now_ns + rng_range_ns(&client->rng, HF_MS(5), HF_MS(200));
        loop->run.counts.pauses++;
    }
    return true;
}

static void client_event(struct clients_loop *loop, struct client *client, uint32_t events)
{
    const int64_t now_ns = now();
    if (client->phase == PHASE_CONNECTING) {
        greet(loop, client);
        return;
    }
    bool is_good = true;
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        is_good = read_in(loop, client, now_ns);
    if (is_good && client->fd >= 0 && (events & EPOLLOUT))
        is_good = write_out(loop, client, now_ns);
    if (is_good)
        return;
    if (client->phase == PHASE_TURN) {
        loop->run.counts.lost++;
        if (loop->run.options.is_calm && !loop->run.has_found)
            check_evidence(&loop->run, client, "the connection was closed in the middle");
    }
    lose(client, false);
}

/* ---- time ---- */

static void begin_turn(struct clients_loop *loop, struct client *client, int64_t now_ns)
{
    if (client->turns_left == 1) {
        lose(client, false);
        return;
    }
    client->turns_left -= client->turns_left > 0;
    turn_make(&loop->run, client, now_ns);
    client->phase = PHASE_TURN;
    if (!write_out(loop, client, now_ns))
        lose(client, false);
}

/* What a client does because time has passed. */
static void client_tick(struct clients_loop *loop, struct client *client, int64_t now_ns)
{
    const int64_t hang_ns = (int64_t)(loop->run.options.hang_seconds * 1e9);
    if (client->phase == PHASE_AWAY && now_ns >= client->wake_ns && !loop->is_ending)
        meet(loop, client);
    else if (client->phase == PHASE_READY && now_ns >= client->wake_ns && !loop->is_ending)
        begin_turn(loop, client, now_ns);
    if (client->phase == PHASE_TURN && now_ns >= client->cancel_ns)
        cancel_open(loop, client);
    if (client->phase == PHASE_TURN && now_ns - client->turn_ns > hang_ns)
        check_evidence(&loop->run, client, "what is owed does not come");
    if (client->phase != PHASE_TURN && client->phase != PHASE_READY && client->phase != PHASE_LOGIN)
        return;
    const bool holds = client->phase == PHASE_TURN && client->hold_at > 0 &&
                       client->out_sent >= client->hold_at && now_ns < client->hold_ns;
    want(loop, client,
         (now_ns >= client->pause_ns ? (uint32_t)EPOLLIN : 0) |
             (client->out_sent < client->out_size && !holds ? (uint32_t)EPOLLOUT : 0));
}

static bool is_all_done(const struct clients_loop *loop)
{
    for (uint32_t i = 0; i < loop->run.options.clients; i++)
        if (loop->run.clients[i].phase == PHASE_TURN)
            return false;
    return true;
}

static bool is_time_to_end(const struct clients_loop *loop, int64_t now_ns)
{
    const struct run *run = &loop->run;
    const bool is_enough =
        run->counts.logins >= run->options.least && run->counts.turns >= run->options.least;
    return now_ns >= loop->end_ns && (is_enough || now_ns >= loop->end_ns + LEAST_NS_MAX);
}

static void turn_round(struct clients_loop *loop)
{
    struct epoll_event events[EVENTS_MAX];
    const int count = epoll_wait(loop->epoll, events, EVENTS_MAX, TICK_MS);
    for (int i = 0; i < count && !loop->run.has_found; i++) {
        void *whose = events[i].data.ptr;
        const char *first = (const char *)loop->cancels;
        const char *last = (const char *)(loop->cancels + CANCELS_MAX);
        if ((const char *)whose >= first && (const char *)whose < last) {
            cancel_event(loop, whose, events[i].events);
        } else if (((struct client *)whose)->fd >= 0) {
            client_event(loop, whose, events[i].events);
        }
    }
    const int64_t now_ns = now();
    for (uint32_t i = 0; i < loop->run.options.clients && !loop->run.has_found; i++)
        client_tick(loop, &loop->run.clients[i], now_ns);
    if (!loop->is_ending && is_time_to_end(loop, now_ns)) {
        loop->is_ending = true;
        loop->end_ns = now_ns;
    }
}

/* ---- the run ---- */

static void report(const struct run *run)
{
    const struct counts *counts = &run->counts;
    printf("{\"turns\": %" PRIu64 ", \"rows\": %" PRIu64 ", \"logins\": %" PRIu64
           ", \"refused_logins\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"drops\": %" PRIu64
           ", \"pauses\": %" PRIu64 ", \"holds\": %" PRIu64 ", \"cancels\": %" PRIu64
           ", \"cancelled\": %" PRIu64 ", \"timeouts\": %" PRIu64 ", \"server_errors\": %" PRIu64
           ", \"expected_errors\": %" PRIu64 ", \"wrong\": %s}\n",
           counts->turns, counts->rows, counts->logins, counts->refused_logins, counts->lost,
           counts->drops, counts->pauses, counts->holds, counts->cancels, counts->cancelled,
           counts->timeouts, counts->server_errors, counts->expected_errors,
           run->has_found ? "true" : "false");
}

static void read_options(struct options *options, int argc, char **argv)
{
    static const struct option names[] = {
        {"host", 1, NULL, 'h'},     {"port", 1, NULL, 'p'},    {"user", 1, NULL, 'u'},
        {"database", 1, NULL, 'd'}, {"clients", 1, NULL, 'c'}, {"seconds", 1, NULL, 's'},
        {"seed", 1, NULL, 'x'},     {"hang", 1, NULL, 'g'},    {"turns-per-session", 1, NULL, 't'},
        {"least", 1, NULL, 'l'},    {"calm", 0, NULL, 'q'},    {NULL, 0, NULL, 0}};
    *options = (struct options){.host = "127.0.0.1",
                                .user = "trusted",
                                .database = "app",
                                .clients = 200,
                                .seconds = 10,
                                .hang_seconds = 40,
                                .seed = 1};
    for (int name; (name = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (name) {
        case 'h':
            options->host = optarg;
            break;
        case 'p':
            options->port = (uint16_t)strtoul(optarg, NULL, 10);
            break;
        case 'u':
            options->user = optarg;
            break;
        case 'd':
            options->database = optarg;
            break;
        case 'c':
            options->clients = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 's':
            options->seconds = strtod(optarg, NULL);
            break;
        case 'x':
            options->seed = strtoull(optarg, NULL, 10);
            break;
        case 'g':
            options->hang_seconds = strtod(optarg, NULL);
            break;
        case 't':
            options->turns_per_session = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'l':
            options->least = strtoull(optarg, NULL, 10);
            break;
        case 'q':
            options->is_calm = true;
            break;
        default:
            exit(2);
        }
    }
}

static void prepare(struct clients_loop *loop)
{
    const struct options *options = &loop->run.options;
    loop->address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(options->port)};
    inet_pton(AF_INET, options->host, &loop->address.sin_addr);
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->run.clients = calloc(options->clients, sizeof *loop->run.clients);
    if (loop->epoll < 0 || loop->run.clients == NULL) {
        perror("wrong_row");
        exit(2);
    }
    for (size_t i = 0; i < CANCELS_MAX; i++)
        loop->cancels[i].fd = -1;
    for (uint32_t i = 0; i < options->clients; i++) {
        struct client *client = &loop->run.clients[i];
        client->id = i;
        client->fd = -1;
        client->cancel_ns = HF_NEVER;
        client->cancelled_ns = INT64_MIN;
        rng_init(&client->rng, rng_hash(options->seed, i));
    }
}

int main(int argc, char **argv)
{
    static struct clients_loop loop;
    read_options(&loop.run.options, argc, argv);
    prepare(&loop);
    loop.end_ns = now() + (int64_t)(loop.run.options.seconds * 1e9);
    while (!loop.run.has_found && !(loop.is_ending && is_all_done(&loop))) {
        turn_round(&loop);
        if (loop.is_ending && now() > loop.end_ns + FINISH_NS_MAX)
            break;
    }
    for (uint32_t i = 0; i < loop.run.options.clients && !loop.run.has_found; i++)
        if (loop.run.clients[i].phase == PHASE_TURN)
            check_evidence(&loop.run, &loop.run.clients[i], "it was left without an answer");
    report(&loop.run);
    return loop.run.has_found ? 1 : 0;
}
