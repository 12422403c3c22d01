/*
 * The answer is JSON. What is read of it is so little (strings and numbers of the objects in one
 * array) that a scanner which knows strings, nesting and scalars does; it is strict about what it
 * walks over, so that a document that is cut short is an error and not a shorter list.
 */
#include "pg/patroni.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ns.h"
#include "base/sv.h"
#include "os/clock.h"
#include "os/sys.h"

#define ASK_NS_MAX HF_SEC(2)
#define SLICE_MS   50 /* how soon a stop is noticed */
#define DEPTH_MAX  32

/* ---- JSON ---- */

struct scan {
    const char *at, *end;
    bool is_bad;
};

static void skip_space(struct scan *s)
{
    while (s->at < s->end && strchr(" \t\r\n", *s->at) != NULL && *s->at != '\0')
        s->at++;
}

static bool take(struct scan *s, char c)
{
    skip_space(s);
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

static void expect(struct scan *s, char c)
{
    if (!take(s, c))
        s->is_bad = true;
}

/* Cut to `size`, which is 1 at least. Escapes other than of a quote, backslash or slash do not
 * occur in what is wanted: they are kept as they are. */
static void read_string(struct scan *s, char *out, size_t size)
{
    size_t used = 0;
    expect(s, '"');
    while (!s->is_bad && s->at < s->end && *s->at != '"') {
        if (*s->at == '\\' && s->end - s->at > 1)
            s->at++;
        if (used + 1 < size)
            out[used++] = *s->at;
        s->at++;
    }
    out[used] = '\0';
    expect(s, '"');
}

/* A string, number or word, as text; of an object or array nothing, but it is walked over. */
static void read_value(struct scan *s, char *out, size_t size);

static void skip_nested(struct scan *s)
{
    char stack[DEPTH_MAX], unused[1];
    size_t depth = 0;
    do {
        skip_space(s);
        const char c = s->at < s->end ? *s->at : '\0';
        if (c == '{' || c == '[') {
            s->is_bad = depth == DEPTH_MAX;
            if (!s->is_bad)
                stack[depth++] = c == '{' ? '}' : ']';
            s->at++;
        } else if (c == '}' || c == ']') {
            s->is_bad = stack[--depth] != c;
            s->at++;
        } else if (c == '"') {
            read_string(s, unused, sizeof unused);
        } else if (c == '\0') {
            s->is_bad = true;
        } else {
            s->at++;
        }
    } while (depth > 0 && !s->is_bad);
}

static void read_value(struct scan *s, char *out, size_t size)
{
    size_t used = 0;
    skip_space(s);
    out[0] = '\0';
    if (s->at == s->end) {
        s->is_bad = true;
    } else if (*s->at == '"') {
        read_string(s, out, size);
    } else if (*s->at == '{' || *s->at == '[') {
        skip_nested(s);
    } else {
        while (s->at < s->end && strchr(",}] \t\r\n", *s->at) == NULL) {
            if (used + 1 < size)
                out[used++] = *s->at;
            s->at++;
        }
        out[used] = '\0';
        s->is_bad = s->is_bad || s->at == s->end;
    }
}

static void read_member(struct scan *s, struct errand_place *place)
{
    expect(s, '{');
    if (take(s, '}'))
        return;
    do {
        char key[32], port[16], unused[1];
        read_string(s, key, sizeof key);
        expect(s, ':');
        if (strcmp(key, "host") == 0) {
            read_value(s, place->host, sizeof place->host);
        } else if (strcmp(key, "port") == 0) {
            read_value(s, port, sizeof port);
            const unsigned long number = strtoul(port, NULL, 10);
            place->port = number <= UINT16_MAX ? (uint16_t)number : 0;
        } else {
            read_value(s, unused, sizeof unused);
        }
    } while (!s->is_bad && take(s, ','));
    expect(s, '}');
}

static void read_members(struct scan *s, struct errand_answer *answer)
{
    expect(s, '[');
    if (take(s, ']'))
        return;
    do {
        struct errand_place place = {.port = 0};
        read_member(s, &place);
        if (place.host[0] != '\0' && place.port != 0 && answer->count < ERRAND_PLACES_MAX)
            answer->places[answer->count++] = place;
    } while (!s->is_bad && take(s, ','));
    expect(s, ']');
}

enum hf_rc patroni_read(const char *body, size_t size, struct errand_answer *answer)
{
    struct scan scan = {.at = body, .end = body + size};
    bool has_members = false;
    answer->count = 0;
    answer->rc = HF_OK;
    expect(&scan, '{');
    if (!take(&scan, '}')) {
        do {
            char key[32], unused[1];
            read_string(&scan, key, sizeof key);
            expect(&scan, ':');
            if (strcmp(key, "members") == 0 && !scan.is_bad) {
                has_members = true;
                read_members(&scan, answer);
            } else {
                read_value(&scan, unused, sizeof unused);
            }
        } while (!scan.is_bad && take(&scan, ','));
        expect(&scan, '}');
    }
    if (scan.is_bad || !has_members)
        answer->rc = err_set(&answer->err, HF_RC_PEER, "08P01",
                             "the answer is no list of a cluster's members");
    return answer->rc;
}

/* ---- HTTP ---- */

struct url {
    char host[256];
    char port[8];
    char path[256];
};

/* "http://host[:port][/path]"; the path is put in front of /cluster. */
static bool read_url(const char *text, size_t size, struct url *url)
{
    static const char scheme[] = "http://";
    char copy[512];
    if (size >= sizeof copy || size < sizeof scheme ||
        strncmp(text, scheme, sizeof scheme - 1) != 0)
        return false;
    memcpy(copy, text + sizeof scheme - 1, size - (sizeof scheme - 1));
    copy[size - (sizeof scheme - 1)] = '\0';
    char *path = strchr(copy, '/');
    if (path != NULL)
        *path++ = '\0';
    char *host = copy;
    char *rest = copy;
    if (*host == '[') { /* an IPv6 address */
        host++;
        rest = strchr(host, ']');
        if (rest == NULL)
            return false;
        *rest++ = '\0';
    }
    char *port = strchr(rest, ':');
    if (port != NULL)
        *port++ = '\0';
    url->path[0] = '/';
    if (host[0] == '\0' || !sv_copy(sv_from_cstr(host), url->host, sizeof url->host) ||
        !sv_copy(sv_from_cstr(port != NULL ? port : "8008"), url->port, sizeof url->port) ||
        !sv_copy(sv_from_cstr(path != NULL ? path : ""), url->path + 1, sizeof url->path - 1))
        return false;
    while (strlen(url->path) > 0 && url->path[strlen(url->path) - 1] == '/')
        url->path[strlen(url->path) - 1] = '\0';
    return true;
}

static enum hf_rc wait_for(int fd, short events, int64_t deadline_ns,
                           const _Atomic bool *is_stopping, struct hf_err *err)
{
    while (!*is_stopping && clock_now() < deadline_ns) {
        struct pollfd file = {.fd = fd, .events = events};
        if (poll(&file, 1, SLICE_MS) > 0)
            return HF_OK;
    }
    return err_set(err, HF_RC_AGAIN, "57014", "timeout expired");
}

static enum hf_rc connect_to(const struct url *url, int64_t deadline_ns,
                             const _Atomic bool *is_stopping, int *fd, struct hf_err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    const int failed = getaddrinfo(url->host, url->port, &hints, &found);
    if (failed != 0)
        return err_set(err, HF_RC_AGAIN, "08001", "%s", gai_strerror(failed));
    enum hf_rc rc = HF_RC_AGAIN;
    for (const struct addrinfo *a = found; a != NULL && rc != HF_OK; a = a->ai_next) {
        int error = 0;
        socklen_t size = sizeof error;
        *fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (*fd < 0) {
            rc = sys_fail(err, errno, "could not make a socket");
            continue;
        }
        if (connect(*fd, a->ai_addr, a->ai_addrlen) != 0 && errno != EINPROGRESS)
            rc = sys_fail(err, errno, "could not connect");
        else
            rc = wait_for(*fd, POLLOUT, deadline_ns, is_stopping, err);
        if (rc == HF_OK && getsockopt(*fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error != 0)
            rc = sys_fail(err, error, "could not connect");
        if (rc != HF_OK)
            close(*fd);
    }
    freeaddrinfo(found);
    return rc;
}

static enum hf_rc send_request(int fd, const struct url *url, struct hf_err *err)
{
    char request[1024];
    const int size = snprintf(request, sizeof request,
                              "GET %s/cluster HTTP/1.0\r\nHost: %s:%s\r\n"
                              "Accept: application/json\r\nConnection: close\r\n\r\n",
                              url->path, url->host, url->port);
    /* A fresh connection takes a few hundred bytes at once. */
    if (send(fd, request, (size_t)size, MSG_NOSIGNAL) != size)
        return sys_fail(err, errno, "could not send");
    return HF_OK;
}

/* The whole answer, until the server closes. */
static enum hf_rc receive(int fd, int64_t deadline_ns, const _Atomic bool *is_stopping,
                          char *answer, size_t *size, struct hf_err *err)
{
    *size = 0;
    for (;;) {
        if (wait_for(fd, POLLIN, deadline_ns, is_stopping, err) != HF_OK)
            return HF_RC_AGAIN;
        const ssize_t got = recv(fd, answer + *size, PATRONI_BYTES_MAX - *size, 0);
        if (got == 0)
            return HF_OK;
        if (got < 0 && errno != EAGAIN && errno != EINTR)
            return sys_fail(err, errno, "could not receive");
        *size += got > 0 ? (size_t)got : 0;
        if (*size == PATRONI_BYTES_MAX)
            return err_set(err, HF_RC_LIMIT, "54000", "the answer is too long");
    }
}

/* Past the head; NULL if it is none, or its status is not 200. */
static const char *find_body(const char *answer, size_t size)
{
    const char *end = memmem(answer, size, "\r\n\r\n", 4);
    if (end == NULL || size < 12 || strncmp(answer, "HTTP/1.", 7) != 0 ||
        strncmp(answer + 8, " 200", 4) != 0)
        return NULL;
    return end + 4;
}

static enum hf_rc ask_one(const struct url *url, const _Atomic bool *is_stopping, char *room,
                          struct errand_answer *answer)
{
    struct hf_err *err = &answer->err;
    const int64_t deadline_ns = ns_add(clock_now(), ASK_NS_MAX);
    size_t size = 0;
    int fd = -1;
    enum hf_rc rc = connect_to(url, deadline_ns, is_stopping, &fd, err);
    if (rc != HF_OK)
        return rc;
    rc = send_request(fd, url, err);
    if (rc == HF_OK)
        rc = receive(fd, deadline_ns, is_stopping, room, &size, err);
    close(fd);
    if (rc != HF_OK)
        return rc;
    const char *body = find_body(room, size);
    if (body == NULL)
        return err_set(err, HF_RC_PEER, "08P01", "it did not answer with 200 OK");
    return patroni_read(body, (size_t)(room + size - body), answer);
}

void patroni_ask(const char *urls, const _Atomic bool *is_stopping, struct errand_answer *answer)
{
    char *room = malloc(PATRONI_BYTES_MAX);
    struct hf_err *err = &answer->err;
    answer->count = 0;
    answer->rc = HF_RC_INVALID;
    if (room == NULL)
        answer->rc = err_set(err, HF_RC_LIMIT, "53200", "out of memory");
    for (const char *at = urls; room != NULL && *at != '\0' && answer->rc != HF_OK;) {
        const size_t size = strcspn(at, ",");
        struct url url;
        if (!read_url(at, size, &url)) {
            answer->rc = err_set(err, HF_RC_INVALID, "22023", "\"%.*s\" is no URL of Patroni",
                                 (int)size, at);
        } else {
            answer->rc = ask_one(&url, is_stopping, room, answer);
            if (answer->rc != HF_OK)
                err_while(err, "could not ask Patroni at %s:%s", url.host, url.port);
        }
        at += size + (at[size] == ',');
    }
    free(room);
}
