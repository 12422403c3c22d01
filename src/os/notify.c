#include "os/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ns.h"
#include "base/sv.h"
#include "os/sys.h"

/* A number from the environment; -1: none, or no number. */
static int64_t read_number(const char *name, int64_t high)
{
    const char *text = getenv(name); /* NOLINT(concurrency-mt-unsafe): before there are threads */
    int64_t value = -1;
    if (text == NULL || sv_to_int(sv_from_cstr(text), 0, high, &value) != SV_NUMBER_OK)
        return -1;
    return value;
}

static int64_t take_number(const char *name, int64_t high)
{
    int64_t value = read_number(name, high);
    unsetenv(name); /* NOLINT(concurrency-mt-unsafe): the same */
    return value;
}

/* A path, or with @ in front a name in Linux' abstract name space. Others (vsock) are for virtual
 * machines and not for services. */
static enum hf_rc take_address(struct notify *notify, struct hf_err *err)
{
    const char *path = getenv("NOTIFY_SOCKET"); /* NOLINT(concurrency-mt-unsafe): the same */
    struct sockaddr_un *address = &notify->address;
    if (path == NULL || path[0] == '\0')
        return HF_OK;
    size_t size = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || size < 2 || size >= sizeof address->sun_path)
        return err_set(err, HF_RC_INVALID, "22023",
                       "NOTIFY_SOCKET is \"%s\", which is no address of a socket", path);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, size);
    if (path[0] == '@')
        address->sun_path[0] = '\0';
    notify->address_size = offsetof(struct sockaddr_un, sun_path) + size;
    return HF_OK;
}

static enum hf_rc take_sockets(struct notify *notify, struct hf_err *err)
{
    int64_t pid = take_number("LISTEN_PID", INT32_MAX);
    int64_t count = take_number("LISTEN_FDS", INT32_MAX);
    /* An address says more than a name. NOLINTNEXTLINE(concurrency-mt-unsafe): the same */
    unsetenv("LISTEN_FDNAMES");
    if (pid != getpid() || count <= 0)
        return HF_OK;
    if (count > NOTIFY_SOCKETS_MAX) {
        err_set(err, HF_RC_LIMIT, "53400", "systemd hands over more sockets than can be taken");
        return err_detail(err, "LISTEN_FDS is %lld, and %d are the most.", (long long)count,
                          NOTIFY_SOCKETS_MAX);
    }
    notify->sockets = (uint32_t)count;
    for (int fd = NOTIFY_FIRST_FD; fd < NOTIFY_FIRST_FD + (int)count; fd++) {
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
            return sys_fail(err, errno, "could not take over descriptor %d", fd);
    }
    return HF_OK;
}

enum hf_rc notify_init(struct notify *notify, struct hf_err *err)
{
    *notify = (struct notify){.watchdog_ns = HF_NEVER};
    int64_t pid = take_number("WATCHDOG_PID", INT32_MAX);
    int64_t watchdog_us = read_number("WATCHDOG_USEC", INT64_MAX / 1000);
    if (watchdog_us > 0 && (pid < 0 || pid == getpid()))
        notify->watchdog_ns = watchdog_us * 1000;
    enum hf_rc rc = take_address(notify, err);
    return rc == HF_OK ? take_sockets(notify, err) : rc;
}

void notify_say(const struct notify *notify, const char *text)
{
    if (notify->address_size == 0)
        return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    ssize_t ignored =
        sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&notify->address,
               (socklen_t)notify->address_size);
    (void)ignored;
    close(fd);
}
