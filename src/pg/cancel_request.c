#include "pg/cancel_request.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/ns.h"
#include "os/clock.h"

/* CancelRequest of the protocol: its own size, a number that no version has, process, secret. */
#define CANCEL_CODE UINT32_C(80877102)

static void put_u32(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)(value >> 24);
    out[1] = (uint8_t)(value >> 16);
    out[2] = (uint8_t)(value >> 8);
    out[3] = (uint8_t)value;
}

static enum cancel_step fail(struct cancel *cancel, int error)
{
    cancel_close(cancel);
    cancel->error = error;
    return CANCEL_FAILED;
}

enum cancel_step cancel_start(struct cancel *cancel, const struct cancel_key *key)
{
    *cancel = (struct cancel){.fd = -1, .wants = POLLOUT};
    if (!key->is_known)
        return fail(cancel, EOPNOTSUPP);
    put_u32(cancel->request, sizeof cancel->request);
    put_u32(cancel->request + 4, CANCEL_CODE);
    put_u32(cancel->request + 8, key->pid);
    put_u32(cancel->request + 12, key->secret);
    cancel->fd = socket(key->peer.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (cancel->fd < 0)
        return fail(cancel, errno);
    /* EAGAIN: a unix socket whose queue is full, which no poll would tell of. */
    if (connect(cancel->fd, (const struct sockaddr *)&key->peer, key->peer_size) != 0 &&
        errno != EINPROGRESS)
        return fail(cancel, errno);
    return CANCEL_WAITS;
}

/* The server closes when it has sent the signal; it answers nothing. */
static enum cancel_step await_close(struct cancel *cancel)
{
    uint8_t unexpected;
    const ssize_t got = recv(cancel->fd, &unexpected, 1, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return CANCEL_WAITS;
    /* A reset is an end too: it may come where the server closes with our bytes unread. */
    if (got < 0 && errno != ECONNRESET)
        return fail(cancel, errno);
    cancel_close(cancel);
    return CANCEL_DONE;
}

enum cancel_step cancel_turn(struct cancel *cancel)
{
    if (cancel->fd < 0)
        return cancel->error != 0 ? CANCEL_FAILED : CANCEL_DONE;
    while (cancel->sent < sizeof cancel->request) {
        const ssize_t sent = send(cancel->fd, cancel->request + cancel->sent,
                                  sizeof cancel->request - cancel->sent, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            return CANCEL_WAITS;
        if (sent < 0)
            return fail(cancel, errno);
        cancel->sent = (uint8_t)(cancel->sent + sent);
    }
    cancel->wants = POLLIN;
    return await_close(cancel);
}

void cancel_close(struct cancel *cancel)
{
    if (cancel->fd >= 0)
        close(cancel->fd);
    cancel->fd = -1;
}

bool cancel_run(const struct cancel_key *key, int64_t deadline_ns)
{
    struct cancel cancel;
    enum cancel_step step = cancel_start(&cancel, key);
    while (step == CANCEL_WAITS) {
        const int64_t left_ns = deadline_ns - clock_now();
        if (left_ns <= 0)
            break;
        struct pollfd file = {.fd = cancel.fd, .events = cancel.wants};
        poll(&file, 1, (int)ns_min(left_ns / HF_MS(1) + 1, 60000));
        step = cancel_turn(&cancel);
    }
    cancel_close(&cancel);
    return step == CANCEL_DONE;
}
