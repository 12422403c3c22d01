#include "wire_cutter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "pg_rig.h"

#define LINES_MAX 64
#define TEXT_MAX  64
#define CHUNK     65536

enum line_state {
    LINE_PASSES,
    LINE_SWALLOWS, /* answers are read and dropped until the last has come */
    LINE_TRIMS,    /* answers pass until the one that must not */
    LINE_ORPHANED, /* the client is gone, the server is listened to */
    LINE_SILENT,
};

/* One client and its connection to the server. */
struct line {
    int client, server; /* -1: closed */
    enum line_state state;
    char tail[8]; /* of what the server sent: ReadyForQuery may come in pieces */
    size_t held;  /* of a paused request */
    char *request;
};

struct cutter {
    int server_port, port, listener, wake;
    pthread_t thread;
    pthread_mutex_t lock;
    bool is_ending;
    bool is_swallowing; /* the rule has struck, the answer is still to come */
    enum cut armed;
    char text[TEXT_MAX];
    uint32_t cuts;
    uint64_t connections, packets;
    struct line lines[LINES_MAX];
};

static void die(const char *what)
{
    fprintf(stderr, "wire_cutter: %s: %s\n", what, strerror(errno));
    abort();
}

static int listen_on(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 64) == 0)
        return fd;
    close(fd);
    return -1;
}

static int connect_to(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

/* With a reset, so that the other side learns it at once and loses what was on its way. */
static void cut_off(int *fd)
{
    if (*fd < 0)
        return;
    setsockopt(*fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    close(*fd);
    *fd = -1;
}

static void end_line(struct line *line)
{
    cut_off(&line->client);
    cut_off(&line->server);
    free(line->request);
    *line = (struct line){.client = -1, .server = -1};
}

/* Blocks while the receiver is slow, as a line does. A receiver that is gone ends it. */
static void forward(struct line *line, int to, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = send(to, data, size, MSG_NOSIGNAL);
        if (n < 0) {
            end_line(line);
            return;
        }
        data += n;
        size -= (size_t)n;
    }
}

static void strike(struct cutter *cutter, struct line *line, const char *data, size_t size)
{
    enum cut what = cutter->armed;
    cutter->armed = CUT_NOTHING;
    ++cutter->cuts;
    if (what == CUT_REQUEST) {
        end_line(line);
        return;
    }
    if (what == CUT_PAUSE) {
        line->request = malloc(size);
        if (line->request == NULL)
            die("malloc");
        memcpy(line->request, data, size);
        line->held = size;
        return;
    }
    forward(line, line->server, data, size);
    memset(line->tail, 0, sizeof line->tail);
    line->state = what == CUT_REPLY        ? LINE_SWALLOWS
                  : what == CUT_LAST_REPLY ? LINE_TRIMS
                  : what == CUT_AND_KEEP   ? LINE_ORPHANED
                                           : LINE_SILENT;
    cutter->is_swallowing = what == CUT_REPLY || what == CUT_LAST_REPLY;
    if (what == CUT_AND_KEEP)
        cut_off(&line->client);
}

static void from_client(struct cutter *cutter, struct line *line)
{
    char data[CHUNK];
    ssize_t n = recv(line->client, data, sizeof data, 0);
    if (n <= 0) {
        end_line(line);
        return;
    }
    ++cutter->packets;
    if (cutter->armed != CUT_NOTHING &&
        memmem(data, (size_t)n, cutter->text, strlen(cutter->text)) != NULL)
        strike(cutter, line, data, (size_t)n);
    else
        forward(line, line->server, data, (size_t)n);
}

/* ReadyForQuery is 'Z', its length of 5, and the state. */
static bool is_answered(struct line *line, const char *data, size_t size)
{
    static const char ready[] = {'Z', 0, 0, 0, 5};
    char last[2 * sizeof line->tail];
    size_t keep = size < sizeof line->tail ? size : sizeof line->tail;
    memcpy(last, line->tail, sizeof line->tail);
    memcpy(last + sizeof line->tail, data + size - keep, keep);
    memcpy(line->tail, last + keep, sizeof line->tail);
    return memcmp(line->tail + sizeof line->tail - 6, ready, sizeof ready) == 0;
}

static void from_server(struct cutter *cutter, struct line *line)
{
    static const char committed[] = {'C', 0, 0, 0, 11, 'C', 'O', 'M', 'M', 'I', 'T', 0};
    char data[CHUNK];
    ssize_t n = recv(line->server, data, sizeof data, 0);
    if (n <= 0) {
        end_line(line);
        return;
    }
    if (line->state == LINE_PASSES) {
        forward(line, line->client, data, (size_t)n);
        return;
    }
    const char *at = memmem(data, (size_t)n, committed, sizeof committed);
    if (line->state == LINE_TRIMS)
        forward(line, line->client, data, at != NULL ? (size_t)(at - data) : (size_t)n);
    if ((line->state == LINE_TRIMS && at != NULL) ||
        (line->state == LINE_SWALLOWS && is_answered(line, data, (size_t)n))) {
        end_line(line);
        cutter->is_swallowing = false;
    }
}

static void accept_one(struct cutter *cutter)
{
    int client = accept4(cutter->listener, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0)
        return;
    int server = connect_to(cutter->server_port);
    size_t i = 0;
    while (i < LINES_MAX && (cutter->lines[i].client >= 0 || cutter->lines[i].server >= 0))
        ++i;
    if (server < 0 || i == LINES_MAX) {
        cut_off(&client);
        cut_off(&server);
        return;
    }
    int on = 1;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ++cutter->connections;
    cutter->lines[i] = (struct line){.client = client, .server = server};
}

static nfds_t gather(const struct cutter *cutter, struct pollfd *polls)
{
    nfds_t count = 0;
    polls[count++] = (struct pollfd){.fd = cutter->wake, .events = POLLIN};
    polls[count++] = (struct pollfd){.fd = cutter->listener, .events = POLLIN};
    for (size_t i = 0; i < LINES_MAX; i++) {
        const struct line *line = &cutter->lines[i];
        bool is_held = line->state == LINE_SILENT || line->request != NULL;
        polls[count++] = (struct pollfd){.fd = is_held ? -1 : line->client, .events = POLLIN};
        polls[count++] = (struct pollfd){.fd = is_held ? -1 : line->server, .events = POLLIN};
    }
    return count;
}

static void turn(struct cutter *cutter, const struct pollfd *polls)
{
    if (polls[0].revents != 0) {
        uint64_t count;
        if (read(cutter->wake, &count, sizeof count) < 0)
            die("read");
    }
    for (size_t i = 0; i < LINES_MAX; i++) {
        struct line *line = &cutter->lines[i];
        if (polls[2 + 2 * i].revents != 0 && polls[2 + 2 * i].fd == line->client)
            from_client(cutter, line);
        if (polls[3 + 2 * i].revents != 0 && polls[3 + 2 * i].fd == line->server)
            from_server(cutter, line);
    }
    if (polls[1].revents != 0 && polls[1].fd == cutter->listener)
        accept_one(cutter);
}

static void *run(void *argument)
{
    struct cutter *cutter = argument;
    struct pollfd polls[2 + 2 * LINES_MAX];
    pthread_mutex_lock(&cutter->lock);
    while (!cutter->is_ending) {
        nfds_t count = gather(cutter, polls);
        pthread_mutex_unlock(&cutter->lock);
        int rc = poll(polls, count, -1);
        pthread_mutex_lock(&cutter->lock);
        if (rc > 0)
            turn(cutter, polls);
    }
    pthread_mutex_unlock(&cutter->lock);
    return NULL;
}

static void wake(const struct cutter *cutter)
{
    uint64_t one = 1;
    if (write(cutter->wake, &one, sizeof one) < 0)
        die("write");
}

struct cutter *cutter_new(int server_port)
{
    struct cutter *cutter = calloc(1, sizeof *cutter);
    if (cutter == NULL)
        die("calloc");
    cutter->server_port = server_port;
    cutter->listener = -1;
    for (int i = 0; i < 100 && cutter->listener < 0; i++) {
        cutter->port = rig_free_port();
        cutter->listener = listen_on(cutter->port);
    }
    if (cutter->listener < 0)
        die("listen");
    cutter->wake = eventfd(0, EFD_CLOEXEC);
    for (size_t i = 0; i < LINES_MAX; i++)
        cutter->lines[i] = (struct line){.client = -1, .server = -1};
    if (pthread_mutex_init(&cutter->lock, NULL) != 0 ||
        pthread_create(&cutter->thread, NULL, run, cutter) != 0)
        die("thread");
    return cutter;
}

void cutter_free(struct cutter *cutter)
{
    pthread_mutex_lock(&cutter->lock);
    cutter->is_ending = true;
    pthread_mutex_unlock(&cutter->lock);
    wake(cutter);
    pthread_join(cutter->thread, NULL);
    for (size_t i = 0; i < LINES_MAX; i++)
        end_line(&cutter->lines[i]);
    cut_off(&cutter->listener);
    close(cutter->wake);
    pthread_mutex_destroy(&cutter->lock);
    free(cutter);
}

int cutter_port(const struct cutter *cutter)
{
    return cutter->port;
}

void cutter_arm(struct cutter *cutter, enum cut what, const char *text)
{
    pthread_mutex_lock(&cutter->lock);
    cutter->armed = what;
    snprintf(cutter->text, sizeof cutter->text, "%s", text);
    pthread_mutex_unlock(&cutter->lock);
}

uint32_t cutter_cuts(struct cutter *cutter)
{
    pthread_mutex_lock(&cutter->lock);
    uint32_t cuts = cutter->cuts;
    pthread_mutex_unlock(&cutter->lock);
    return cuts;
}

void cutter_wait_cut(struct cutter *cutter)
{
    for (int i = 0; i < 24000; i++) {
        pthread_mutex_lock(&cutter->lock);
        bool is_armed = cutter->armed != CUT_NOTHING || cutter->is_swallowing;
        pthread_mutex_unlock(&cutter->lock);
        if (!is_armed)
            return;
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    die("nothing was cut");
}

void cutter_resume(struct cutter *cutter)
{
    pthread_mutex_lock(&cutter->lock);
    for (size_t i = 0; i < LINES_MAX; i++) {
        struct line *line = &cutter->lines[i];
        if (line->state == LINE_SILENT)
            line->state = LINE_PASSES;
        if (line->request != NULL) {
            char *request = line->request;
            line->request = NULL;
            forward(line, line->server, request, line->held);
            free(request);
        }
    }
    pthread_mutex_unlock(&cutter->lock);
    wake(cutter);
}

void cutter_refuse(struct cutter *cutter, bool is_refusing)
{
    pthread_mutex_lock(&cutter->lock);
    if (is_refusing) {
        cut_off(&cutter->listener);
        for (size_t i = 0; i < LINES_MAX; i++)
            end_line(&cutter->lines[i]);
    } else if (cutter->listener < 0) {
        cutter->listener = listen_on(cutter->port);
        if (cutter->listener < 0)
            die("listen");
    }
    pthread_mutex_unlock(&cutter->lock);
    wake(cutter);
}

uint64_t cutter_connections(struct cutter *cutter)
{
    pthread_mutex_lock(&cutter->lock);
    uint64_t connections = cutter->connections;
    pthread_mutex_unlock(&cutter->lock);
    return connections;
}

uint64_t cutter_packets(struct cutter *cutter)
{
    pthread_mutex_lock(&cutter->lock);
    uint64_t packets = cutter->packets;
    pthread_mutex_unlock(&cutter->lock);
    return packets;
}
