#include "net/keepalive.h"

#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/ns.h"

static void set(int fd, int option, int64_t value, int64_t unit)
{
    if (value <= 0)
        return;
    const int64_t units = value / unit + (value % unit != 0);
    const int number = units < INT_MAX ? (int)units : INT_MAX;
    (void)setsockopt(fd, IPPROTO_TCP, option, &number, sizeof number);
}

void keepalive_apply(int fd, const struct keepalive *keepalive)
{
    set(fd, TCP_KEEPIDLE, keepalive->idle_ns, HF_SEC(1));
    set(fd, TCP_KEEPINTVL, keepalive->interval_ns, HF_SEC(1));
    set(fd, TCP_KEEPCNT, keepalive->count, 1);
    set(fd, TCP_USER_TIMEOUT, keepalive->user_ns, HF_MS(1));
}
