#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/loop.h"
#include "os/sys.h"

/* Connections that the kernel completes while the loop is busy. The kernel cuts it down to
 * net.core.somaxconn. */
#define BACKLOG 4096

/* What a listening socket is set to, its accepted sockets inherit: no system call for each. */
static int set_options(int fd, int family, bool shares_port)
{
    int on = 1;
    if (family == AF_UNIX)
        return 0;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        return -1;
    if (shares_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0)
        return -1;
    /* "::" is IPv6's; whoever wants both families opens both, as PostgreSQL does. */
    if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0)
        return -1;
    return 0;
}

/* A unix socket's file outlives a process that was killed. It may go if nobody answers there. */
static void remove_stale_socket(const struct address *address)
{
    const struct sockaddr_un *where = &address->sa.path;
    struct stat status;
    if (where->sun_path[0] != '/' || lstat(where->sun_path, &status) != 0 ||
        !S_ISSOCK(status.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, address_sockaddr(address), address->size) != 0 && errno == ECONNREFUSED)
        (void)unlink(where->sun_path);
    close(fd);
}

/* Port 0 means any: which one the kernel took is what people connect to. */
static void learn_address(struct listener *listener)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    if (getsockname(listener->fd, (struct sockaddr *)&name, &size) == 0)
        address_from_sockaddr(&listener->address, (struct sockaddr *)&name, size);
}

enum hf_rc listener_open(struct listener *listener, const struct address *address, bool shares_port,
                         struct hf_err *err)
{
    int family = address_family(address);
    listener->address = *address;
    listener->keeps_path = false;
    listener->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0)
        return sys_fail(err, errno, "could not make a socket");
    if (family == AF_UNIX)
        remove_stale_socket(address);
    if (set_options(listener->fd, family, shares_port) != 0 ||
        bind(listener->fd, address_sockaddr(address), address->size) != 0 ||
        listen(listener->fd, BACKLOG) != 0) {
        int error = errno;
        char text[ADDRESS_TEXT_SIZE];
        close(listener->fd);
        listener->fd = -1;
        return sys_fail(err, error, "could not listen on %s", address_text(address, text));
    }
    learn_address(listener);
    return HF_OK;
}

enum hf_rc listener_find_free(const struct address *address, struct hf_err *err)
{
    const int family = address_family(address);
    const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error = 0;
    if (fd < 0)
        return sys_fail(err, errno, "could not make a socket");
    /* A socket that listens refuses this; what is left of closed connections does not. */
    if (set_options(fd, family, false) != 0 ||
        bind(fd, address_sockaddr(address), address->size) != 0)
        error = errno;
    close(fd);
    if (error == 0)
        return HF_OK;
    char text[ADDRESS_TEXT_SIZE];
    return sys_fail(err, error, "could not listen on %s", address_text(address, text));
}

enum hf_rc listener_adopt(struct listener *listener, int fd, struct hf_err *err)
{
    int is_listening = 0;
    socklen_t size = sizeof is_listening;
    *listener = (struct listener){.fd = fd};
    learn_address(listener);
    if (!address_is_set(&listener->address) ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) != 0 || !is_listening) {
        err_set(err, HF_RC_INVALID, "58000", "descriptor %d is no socket that listens", fd);
        return err_detail(err, "It was handed to this process to accept clients from.");
    }
    int on = 1;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return sys_fail(err, errno, "could not take over a socket");
    if (!address_is_unix(&listener->address) &&
        (setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) != 0 ||
         setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0))
        return sys_fail(err, errno, "could not take over a socket");
    return HF_OK;
}

void listener_close(struct listener *listener)
{
    if (listener->fd < 0)
        return;
    close(listener->fd);
    listener->fd = -1;
    if (address_is_unix(&listener->address) && !listener->keeps_path &&
        listener->address.sa.path.sun_path[0] == '/')
        (void)unlink(listener->address.sa.path.sun_path);
}
