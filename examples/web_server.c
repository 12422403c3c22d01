/*
 * A threaded program like a web server: one hf_db for all threads, a deadline for each request, and
 * answers that tell a client whether to come again.
 *
 *     web_server CONNINFO PORT
 *
 *     GET /visit      counts a visit and says how many there were
 *     GET /health     200 at full service, 503 otherwise, with the level
 *     GET /metrics    for Prometheus
 */
#include <arpa/inet.h>
#include <holdfast.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    THREADS = 8,
    DEADLINE_MS = 3000,
    METRICS_BYTES = 65536,
};

struct server {
    struct hf_db *db;
    int listener;
};

static void answer(int fd, int status, const char *more, const char *body)
{
    char head[256];

    snprintf(head, sizeof(head), "HTTP/1.0 %d .\r\nContent-Length: %zu\r\n%s\r\n", status,
             strlen(body), more);
    if (send(fd, head, strlen(head), MSG_NOSIGNAL) > 0)
        send(fd, body, strlen(body), MSG_NOSIGNAL);
}

static int count_visit(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    struct hf_rows *rows;
    int failed = hf_tx_query(tx, "UPDATE visits SET n = n + 1 RETURNING n", NULL, NULL, &rows, err);

    if (failed)
        return failed;
    hf_rows_next(rows, NULL);
    *(int64_t *)arg = hf_rows_int(rows, 0);
    hf_rows_free(rows);
    return 0;
}

static void serve_visit(struct server *server, int fd)
{
    struct hf_tx_options options = {.deadline_ms = DEADLINE_MS, .operation = "visit"};
    struct hf_error err;
    int64_t visits = 0;
    char body[600];

    if (hf_tx(server->db, &options, count_visit, &visits, &err) == HF_SUCCESS) {
        snprintf(body, sizeof(body), "visit %lld\n", (long long)visits);
        answer(fd, 200, "", body);
        return;
    }
    /* may_repeat: nothing was counted. HF_E_UNKNOWN: it may have been, and the client is told so
     * rather than asked to come again. */
    snprintf(body, sizeof(body), "%s: %s\n", hf_code_name(err.code), err.message);
    answer(fd, err.may_repeat ? 503 : 500, err.may_repeat ? "Retry-After: 1\r\n" : "", body);
}

static void serve(struct server *server, int fd)
{
    static _Thread_local char metrics[METRICS_BYTES];
    char request[1024];
    ssize_t size = recv(fd, request, sizeof(request) - 1, 0);

    if (size <= 0)
        return;
    request[size] = '\0';
    if (strncmp(request, "GET /visit ", 11) == 0) {
        serve_visit(server, fd);
    } else if (strncmp(request, "GET /health ", 12) == 0) {
        int level = hf_level(server->db);

        answer(fd, level == HF_LEVEL_FULL ? 200 : 503, "", hf_level_name(level));
    } else if (strncmp(request, "GET /metrics ", 13) == 0) {
        hf_metrics(server->db, metrics, sizeof(metrics));
        answer(fd, 200, "Content-Type: text/plain; version=0.0.4\r\n", metrics);
    } else {
        answer(fd, 404, "", "no such page\n");
    }
}

static void *work(void *arg)
{
    struct server *server = arg;
    int fd;

    while ((fd = accept(server->listener, NULL, NULL)) >= 0) {
        serve(server, fd);
        close(fd);
    }
    return NULL;
}

static int listen_at(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)strtol(port, NULL, 10)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int yes = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 128) != 0) {
        perror("listen");
        return -1;
    }
    return fd;
}

int main(int argc, char **argv)
{
    struct server server = {.listener = listen_at(argc > 2 ? argv[2] : "8080")};
    pthread_t threads[THREADS];
    sigset_t signals;
    struct hf_error err;
    int caught;

    if (server.listener < 0)
        return 1;
    /* Before any thread starts, so that the signal reaches sigwait() below and nobody else. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    if (hf_open(&server.db, argc > 1 ? argv[1] : "", &err) != HF_SUCCESS ||
        hf_exec(server.db,
                "CREATE TABLE IF NOT EXISTS visits (n bigint);"
                "INSERT INTO visits SELECT 0 WHERE NOT EXISTS (SELECT FROM visits)",
                NULL, NULL, NULL, &err) != HF_SUCCESS) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, &server);
    printf("ready\n");
    fflush(stdout);
    sigwait(&signals, &caught);
    shutdown(server.listener, SHUT_RDWR); /* wakes every accept() */
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    hf_close(server.db);
    return 0;
}
