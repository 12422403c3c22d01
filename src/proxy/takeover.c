#include "proxy/takeover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/ns.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/sys.h"
#include "proxy/cancel.h"
#include "proxy/handover.h"
#include "proxy/proxy.h"

#define FILE_NAME "takeover.sock"

#define ANSWER_NS HF_SEC(10) /* an answer to HELLO, and HELLO itself: neither takes any work */
/* From the sockets to READY: a configuration is read, names in it are looked up. */
#define START_NS HF_SEC(60)

/* ---- packets ---- */

/* Descriptors that come with a packet, aligned as the kernel wants it. */
union files {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(HANDOVER_SOCKETS_MAX * sizeof(int))];
};

/* Never waits, but for SO_SNDTIMEO where there is one. */
static bool send_packet(int fd, const struct handover *message, const int *fds, uint32_t fd_count,
                        int flags)
{
    char bytes[HANDOVER_PACKET_MAX];
    struct buffer buffer;
    union files files = {0};
    buffer_init(&buffer, bytes, sizeof bytes);
    if (!handover_write(message, &buffer))
        return false;
    struct sv packet = buffer_view(&buffer);
    struct iovec part = {.iov_base = bytes, .iov_len = packet.size};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd_count > 0) {
        files.header.cmsg_level = SOL_SOCKET;
        files.header.cmsg_type = SCM_RIGHTS;
        files.header.cmsg_len = CMSG_LEN(fd_count * sizeof fds[0]);
        memcpy(CMSG_DATA(&files.header), fds, fd_count * sizeof fds[0]);
        header.msg_control = files.bytes;
        header.msg_controllen = CMSG_SPACE(fd_count * sizeof fds[0]);
    }
    return sendmsg(fd, &header, MSG_NOSIGNAL | flags) == (ssize_t)packet.size;
}

static void close_files(const int *fds, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        close(fds[i]);
}

/* What came with the packet. */
static uint32_t take_files(struct msghdr *header, int fds[HANDOVER_SOCKETS_MAX])
{
    uint32_t count = 0;
    for (struct cmsghdr *at = CMSG_FIRSTHDR(header); at != NULL; at = CMSG_NXTHDR(header, at)) {
        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
            continue;
        size_t size = at->cmsg_len - CMSG_LEN(0);
        if (size / sizeof fds[0] > HANDOVER_SOCKETS_MAX - count)
            continue;
        memcpy(&fds[count], CMSG_DATA(at), size);
        count += (uint32_t)(size / sizeof fds[0]);
    }
    return count;
}

enum received {
    RECEIVED_PACKET,
    RECEIVED_NOTHING, /* none is there; or, waiting, none came in time */
    RECEIVED_END,     /* the other side has closed, or said what nobody understands */
};

/* `fds` are the caller's afterwards. */
static enum received receive_packet(int fd, struct handover *out, int fds[HANDOVER_SOCKETS_MAX],
                                    uint32_t *fd_count, int flags)
{
    char bytes[HANDOVER_PACKET_MAX];
    union files files = {0};
    struct iovec part = {.iov_base = bytes, .iov_len = sizeof bytes};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = files.bytes,
                            .msg_controllen = sizeof files.bytes};
    *fd_count = 0;
    ssize_t size = recvmsg(fd, &header, MSG_CMSG_CLOEXEC | flags);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return RECEIVED_NOTHING;
    if (size <= 0)
        return RECEIVED_END;
    *fd_count = take_files(&header, fds);
    if (!(header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) &&
        handover_read(sv_from(bytes, (size_t)size), out))
        return RECEIVED_PACKET;
    close_files(fds, *fd_count);
    *fd_count = 0;
    return RECEIVED_END;
}

/* ---- who is there ---- */

/* Of our own user, or root. Whoever else can reach the socket gets nothing and is believed nothing.
 */
static bool is_trusted(int fd, uint32_t *pid)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return false;
    *pid = (uint32_t)peer.pid;
    return peer.uid == geteuid() || peer.uid == 0;
}

static bool make_path(const char *run_dir, const char *ending, char out[108], struct hf_err *err)
{
    int size = snprintf(out, 108, "%s/" FILE_NAME "%s", run_dir, ending);
    if (size > 0 && size < 108)
        return true;
    err_set(err, HF_RC_LIMIT, "22023", "run_dir is too long for a unix socket: \"%s\"", run_dir);
    return false;
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    return address;
}

/* ---- the new process ---- */

static enum hf_rc dial(const char *path, int *fd, struct hf_err *err)
{
    struct sockaddr_un address = address_of(path);
    struct timeval limit = {.tv_sec = ANSWER_NS / HF_SEC(1)};
    uint32_t pid;
    *fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return sys_fail(err, errno, "could not make a socket");
    if (connect(*fd, (struct sockaddr *)&address, sizeof address) != 0) {
        if (errno == ENOENT || errno == ECONNREFUSED)
            return err_set(err, HF_RC_MISSING, "58P01", "no proxy waits at %s", path);
        return sys_fail(err, errno, "could not reach the proxy at %s", path);
    }
    if (!is_trusted(*fd, &pid))
        return err_set(err, HF_RC_DENIED, "42501", "the proxy at %s is another user's", path);
    if (setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0)
        return sys_fail(err, errno, "could not set a timeout");
    return HF_OK;
}

static enum hf_rc refused(const struct handover *answer, struct hf_err *err)
{
    err_set(err, HF_RC_AGAIN, "55000", "the running proxy does not hand over its sockets");
    return err_detail(err, "It says: %.*s.", (int)answer->text_size, answer->text);
}

/* All of their packets. */
static enum hf_rc take_sockets(int fd, struct sockets *sockets, struct hf_err *err)
{
    struct handover answer;
    int fds[HANDOVER_SOCKETS_MAX];
    uint32_t count;
    do {
        if (receive_packet(fd, &answer, fds, &count, 0) != RECEIVED_PACKET)
            return err_set(err, HF_RC_AGAIN, "08006",
                           "the running proxy does not answer who takes over");
        enum hf_rc rc = HF_OK;
        if (answer.kind == HANDOVER_REFUSED)
            rc = refused(&answer, err);
        else if (answer.kind != HANDOVER_SOCKETS || answer.version != HANDOVER_VERSION ||
                 answer.count != count)
            rc = err_set(err, HF_RC_INVALID, "08P01", "the running proxy answers something else");
        for (uint32_t i = 0; i < count; i++) {
            bool is_activated = (answer.activated >> i & 1) != 0;
            if (rc == HF_OK)
                rc = sockets_inherit(sockets, fds[i], is_activated, err);
            else
                close(fds[i]);
        }
        if (rc != HF_OK)
            return rc;
    } while (!answer.is_last);
    return HF_OK;
}

enum hf_rc takeover_ask(const char *run_dir, struct sockets *sockets, int *fd, struct hf_err *err)
{
    const struct handover hello = {.kind = HANDOVER_HELLO,
                                   .version_oldest = HANDOVER_VERSION,
                                   .version = HANDOVER_VERSION,
                                   .pid = (uint32_t)getpid()};
    char path[108];
    *fd = -1;
    if (!make_path(run_dir, "", path, err))
        return HF_RC_LIMIT;
    enum hf_rc rc = dial(path, fd, err);
    if (rc == HF_OK && !send_packet(*fd, &hello, NULL, 0, 0))
        rc = sys_fail(err, errno, "could not ask the running proxy");
    if (rc == HF_OK)
        rc = take_sockets(*fd, sockets, err);
    if (rc != HF_OK && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    return rc;
}

enum hf_rc takeover_ready(struct proxy *proxy, struct hf_err *err)
{
    const struct handover ready = {.kind = HANDOVER_READY};
    struct handover answer;
    int fds[HANDOVER_SOCKETS_MAX];
    uint32_t count;
    int fd = proxy->before[0];
    if (!send_packet(fd, &ready, NULL, 0, 0) ||
        receive_packet(fd, &answer, fds, &count, 0) != RECEIVED_PACKET)
        return err_set(err, HF_RC_AGAIN, "08006", "the proxy before this one does not answer");
    for (uint32_t i = 0; i < count; i++) {
        uint32_t place = atomic_load(&proxy->before_count);
        if (place < PROXY_BEFORE_MAX) {
            proxy->before[place] = fds[i];
            atomic_store(&proxy->before_count, place + 1);
        } else { /* so many upgrades ago: its clients cannot be cancelled any more */
            close(fds[i]);
        }
    }
    return HF_OK;
}

/* ---- the running one ---- */

/* Two processes with one folder: a third would not know from which of them to take over. */
static bool is_taken(const char *path)
{
    struct hf_err ignored;
    int fd;
    bool is_there = dial(path, &fd, &ignored) == HF_OK;
    if (fd >= 0)
        close(fd);
    return is_there;
}

enum hf_rc takeover_open(struct takeover *takeover, struct proxy *proxy, const char *run_dir,
                         bool has_taken_over, struct hf_err *err)
{
    char ending[24], path[108];
    *takeover =
        (struct takeover){.proxy = proxy, .waiting_fd = -1, .heir_fd = -1, .until_ns = HF_NEVER};
    if (run_dir[0] == '\0')
        return HF_OK;
    snprintf(ending, sizeof ending, ".%d", (int)getpid());
    if (!make_path(run_dir, "", takeover->path, err) || !make_path(run_dir, ending, path, err))
        return HF_RC_LIMIT;
    if (!has_taken_over && is_taken(takeover->path)) {
        err_set(err, HF_RC_AGAIN, "55006", "a proxy is running with run_dir \"%s\"", run_dir);
        return err_hint(err, "Give each instance a run_dir of its own, or start this one with "
                             "--takeover.");
    }
    enum hf_rc rc = file_make_dirs(run_dir, 0700, err);
    if (rc != HF_OK)
        return rc;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return sys_fail(err, errno, "could not make a socket");
    struct sockaddr_un address = address_of(path);
    (void)unlink(path); /* of a process that had our number, and was killed in between */
    /* Under another name first: nobody finds one that does not listen yet. */
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || chmod(path, 0600) != 0 ||
        listen(fd, 4) != 0 || rename(path, takeover->path) != 0) {
        rc = sys_fail(err, errno, "could not wait for a successor at %s", takeover->path);
        (void)unlink(path);
        close(fd);
        return rc;
    }
    takeover->waiting_fd = fd;
    return HF_OK;
}

static void drop(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void takeover_close(struct takeover *takeover)
{
    if (takeover->waiting_fd >= 0)
        (void)unlink(takeover->path);
    drop(&takeover->waiting_fd);
    drop(&takeover->heir_fd);
}

void takeover_files(const struct takeover *takeover, struct pollfd files[TAKEOVER_FILES])
{
    files[0] = (struct pollfd){.fd = takeover->waiting_fd, .events = POLLIN};
    files[1] = (struct pollfd){.fd = takeover->heir_fd, .events = POLLIN};
}

static void refuse(int fd, const char *reason)
{
    struct handover message = {.kind = HANDOVER_REFUSED};
    message.text_size = (uint16_t)snprintf(message.text, HANDOVER_REASON_MAX, "%s", reason);
    (void)send_packet(fd, &message, NULL, 0, MSG_DONTWAIT);
}

/* Somebody has come. One at a time is talked to. */
static void welcome(struct takeover *takeover)
{
    struct log *log = takeover->proxy->log;
    uint32_t pid = 0;
    int fd = accept4(takeover->waiting_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (!is_trusted(fd, &pid)) {
        log_emit(log, LOG_AT_WARNING, "takeover refused: it is another user's process",
                 log_int("pid", pid));
        close(fd);
    } else if (takeover->heir_fd >= 0) {
        refuse(fd, "another process is taking over");
        close(fd);
    } else {
        takeover->heir_fd = fd;
        takeover->heir_pid = pid;
        takeover->until_ns = ns_add(clock_now(), ANSWER_NS);
    }
}

/* Every socket that is open, some in each packet. */
static bool offer(struct takeover *takeover)
{
    const struct sockets *sockets = takeover->proxy->sockets;
    struct handover message = {.kind = HANDOVER_SOCKETS, .version = HANDOVER_VERSION};
    int fds[HANDOVER_SOCKETS_MAX];
    for (uint32_t i = 0; i < sockets->count; i++) {
        const struct sockets_entry *entry = &sockets->entries[i];
        if (entry->listener.fd < 0)
            continue;
        if (message.count == HANDOVER_SOCKETS_MAX) {
            if (!send_packet(takeover->heir_fd, &message, fds, message.count, MSG_DONTWAIT))
                return false;
            message.count = 0;
            message.activated = 0;
        }
        fds[message.count] = entry->listener.fd;
        message.activated |= (uint64_t)entry->is_activated << message.count;
        message.count++;
    }
    message.is_last = true;
    return send_packet(takeover->heir_fd, &message, fds, message.count, MSG_DONTWAIT);
}

static void answer_hello(struct takeover *takeover, const struct handover *hello)
{
    char reason[128];
    takeover->heir_pid = hello->pid;
    if (hello->version_oldest > HANDOVER_VERSION || hello->version < HANDOVER_VERSION) {
        snprintf(reason, sizeof reason, "it speaks version %d of the handover, and not %u to %u",
                 HANDOVER_VERSION, hello->version_oldest, hello->version);
        refuse(takeover->heir_fd, reason);
        drop(&takeover->heir_fd);
        return;
    }
    if (!offer(takeover)) {
        drop(&takeover->heir_fd);
        return;
    }
    takeover->state = TAKEOVER_OFFERED;
    takeover->until_ns = ns_add(clock_now(), START_NS);
    log_emit(takeover->proxy->log, LOG_AT_INFO, "another process takes over the sockets",
             log_int("pid", takeover->heir_pid));
}

/* Connections to processes before us that are there yet. */
static uint16_t living(const struct proxy *proxy, int fds[PROXY_BEFORE_MAX])
{
    uint16_t count = 0;
    for (uint32_t i = 0; i < atomic_load(&proxy->before_count); i++) {
        struct pollfd file = {.fd = proxy->before[i]};
        if (poll(&file, 1, 0) == 0) /* else its end is told */
            fds[count++] = proxy->before[i];
    }
    return count;
}

/* What waits in the queues is the new one's from now on. */
void takeover_yield(struct takeover *takeover)
{
    int fds[PROXY_BEFORE_MAX];
    const struct handover yielded = {.kind = HANDOVER_YIELDED,
                                     .count = living(takeover->proxy, fds)};
    takeover->state = TAKEOVER_YIELDED;
    takeover->until_ns = HF_NEVER;
    sockets_keep(takeover->proxy->sockets);
    drop(&takeover->waiting_fd); /* its file is the new one's, or will be */
    (void)send_packet(takeover->heir_fd, &yielded, fds, yielded.count, MSG_DONTWAIT);
}

/* The new one is gone, or says nothing that is understood. */
static void lose(struct takeover *takeover, const char *why)
{
    if (takeover->state == TAKEOVER_OFFERED)
        log_emit(takeover->proxy->log, LOG_AT_WARNING,
                 "takeover failed; this process goes on as before",
                 log_int("pid", takeover->heir_pid), log_text("reason", why));
    if (takeover->state == TAKEOVER_OFFERED)
        takeover->state = TAKEOVER_NONE;
    takeover->until_ns = HF_NEVER;
    drop(&takeover->heir_fd);
}

/* True: it is ready. */
static bool hear(struct takeover *takeover)
{
    struct handover message;
    int fds[HANDOVER_SOCKETS_MAX];
    uint32_t count;
    switch (receive_packet(takeover->heir_fd, &message, fds, &count, MSG_DONTWAIT)) {
    case RECEIVED_NOTHING:
        return false;
    case RECEIVED_PACKET:
        close_files(fds, count);
        break;
    case RECEIVED_END:
    default:
        lose(takeover, "the new process has ended before it was ready");
        return false;
    }
    if (message.kind == HANDOVER_HELLO && takeover->state == TAKEOVER_NONE) {
        answer_hello(takeover, &message);
        return false;
    }
    if (message.kind == HANDOVER_READY && takeover->state == TAKEOVER_OFFERED)
        return true;
    if (message.kind == HANDOVER_CANCEL && takeover->state == TAKEOVER_YIELDED)
        cancel_handed(takeover->proxy, message.pid, sv_from(message.text, message.text_size));
    else
        lose(takeover, "the new process says what is not understood");
    return false;
}

bool takeover_step(struct takeover *takeover)
{
    bool is_ready = false;
    struct pollfd files[TAKEOVER_FILES];
    takeover_files(takeover, files);
    if (poll(files, TAKEOVER_FILES, 0) > 0) {
        if (files[1].revents != 0)
            is_ready = hear(takeover);
        if (files[0].revents != 0 && takeover->waiting_fd >= 0)
            welcome(takeover);
    }
    if (clock_now() >= takeover->until_ns && takeover->heir_fd >= 0)
        lose(takeover, "the new process takes too long to start");
    return is_ready;
}

/* ---- any thread of the new one ---- */

void takeover_cancel(struct proxy *proxy, uint32_t pid, struct sv key)
{
    struct handover message = {.kind = HANDOVER_CANCEL, .pid = pid};
    uint32_t count = atomic_load_explicit(&proxy->before_count, memory_order_acquire);
    if (key.size > sizeof message.text)
        return;
    memcpy(message.text, key.data, key.size);
    message.text_size = (uint16_t)key.size;
    for (uint32_t i = 0; i < count; i++)
        (void)send_packet(proxy->before[i], &message, NULL, 0, MSG_DONTWAIT);
}
