/*
 * The same protection for what is not SQL: an HTTP call behind breaker, bulkhead, retry, deadline
 * and fallback.
 *
 *     guard_http HOST PORT [CALLS]
 *
 * Makes a call every tenth of a second. Stop the server in between: after a few failures the
 * breaker opens, and until it lets probes through again calls are answered by the fallback without
 * the server being asked.
 */
#include <holdfast.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    ROUND_US = 100000,
};

struct request {
    const char *host;
    const char *port;
    char answer[256];
};

static int connect_to(const struct request *request, int64_t wait_ms)
{
    struct timeval wait = {wait_ms / 1000, wait_ms % 1000 * 1000};
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int fd = -1;

    if (getaddrinfo(request->host, request->port, &hints, &found) != 0)
        return -1;
    fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    if (connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

/* One attempt. What can pass is FAILED; what asking again cannot change is REFUSED. */
static int get(const struct hf_work *work, void *arg, struct hf_error *err)
{
    static const char question[] = "GET /greeting HTTP/1.0\r\n\r\n";
    struct request *request = arg;
    char bytes[1024] = "";
    size_t have = 0;
    int fd = connect_to(request, work->remaining_ms);
    ssize_t size = fd < 0 ? -1 : send(fd, question, strlen(question), MSG_NOSIGNAL);
    const char *body;

    while (size > 0 && have < sizeof(bytes) - 1) {
        size = recv(fd, bytes + have, sizeof(bytes) - 1 - have, 0);
        have += size > 0 ? (size_t)size : 0;
    }
    if (fd >= 0)
        close(fd);
    bytes[have] = '\0';
    body = strstr(bytes, "\r\n\r\n");
    if (size < 0 || body == NULL || strstr(bytes, " 50") != NULL) {
        snprintf(err->message, sizeof(err->message), "no answer from %s", request->host);
        return HF_WORK_FAILED;
    }
    if (strstr(bytes, " 200 ") == NULL)
        return HF_WORK_REFUSED;
    snprintf(request->answer, sizeof(request->answer), "%s", body + 4);
    return HF_WORK_DONE;
}

static int greet_anyway(const struct hf_error *why, void *arg, struct hf_error *err)
{
    struct request *request = arg;

    (void)err;
    snprintf(request->answer, sizeof(request->answer), "hello, from the fallback (%s)",
             hf_code_name(why->code));
    return 0;
}

int main(int argc, char **argv)
{
    struct hf_guard_options options = {
        .name = "greeting",
        .deadline_ms = 1000,
        .breaker = {.failure_threshold = 3, .open_ms = 500},
        .retry = {.attempts_max = 2, .initial_ms = 20},
        .fallback = greet_anyway,
    };
    struct request request = {argc > 1 ? argv[1] : "127.0.0.1", argc > 2 ? argv[2] : "80", ""};
    long calls = argc > 3 ? strtol(argv[3], NULL, 10) : 5;
    struct hf_guard *guard;
    struct hf_error err;

    if (hf_guard_new(&guard, &options, &err) != HF_SUCCESS) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    for (long i = 0; i < calls; i++) {
        if (hf_guard_run(guard, get, &request, &err) == HF_SUCCESS)
            printf("%s\n", request.answer);
        else
            printf("%s: %s\n", hf_code_name(err.code), err.message);
        fflush(stdout);
        usleep(ROUND_US);
    }
    hf_guard_free(guard);
    return 0;
}
