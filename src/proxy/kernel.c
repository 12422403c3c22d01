#include "proxy/kernel.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proxy/worker.h"

#define FILES_OF_PROCESS 64 /* standard streams, logs, lookups of names, files that are read */
#define FILES_OF_WORKER  8  /* its loop, and what wakes it */
#define SOMAXCONN_ENOUGH 1024

/* Files that may be open at a time when every limit of the configuration is used up. Where server
 * connections have no limit in all, one for each client is the most that are in use. */
static uint64_t files_needed(const struct proxy_config *config)
{
    const struct proxy_limits *limits = &config->limits;
    int64_t servers =
        limits->server_connections_max > 0 ? limits->server_connections_max : limits->clients_max;
    int64_t per_worker = FILES_OF_WORKER + PROXY_LISTENERS_MAX;
    return (uint64_t)(limits->clients_max + servers + limits->cancels_max + FILES_OF_PROCESS +
                      per_worker * (config->proxy.workers > 0 ? config->proxy.workers
                                                              : sysconf(_SC_NPROCESSORS_ONLN)));
}

static void prepare_files(struct proxy *proxy)
{
    uint64_t needed = files_needed(atomic_load(&proxy->config));
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= needed)
        return;
    log_emit(proxy->log, LOG_AT_WARNING, "too few open files are allowed for all clients",
             log_int("limit", (int64_t)limit.rlim_cur), log_int("needed", (int64_t)needed),
             log_int("clients_max", atomic_load(&proxy->config)->limits.clients_max),
             log_text("hint", "Raise the hard limit (ulimit -Hn, or LimitNOFILE= in the systemd "
                              "unit), or lower limits.clients_max."));
}

/* A small number from a file of the kernel; 0: it cannot be read. */
static int64_t read_number(const char *path)
{
    char text[32];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (size <= 0)
        return 0;
    text[size] = '\0';
    return strtoll(text, NULL, 10);
}

static void check_backlog(const struct proxy *proxy)
{
    int64_t most = read_number("/proc/sys/net/core/somaxconn");
    if (most == 0 || most >= SOMAXCONN_ENOUGH)
        return;
    log_emit(proxy->log, LOG_AT_WARNING, "bursts of new connections may have to wait",
             log_int("net.core.somaxconn", most),
             log_text("hint", "sysctl -w net.core.somaxconn=4096 lets more of them queue."));
}

void kernel_prepare(struct proxy *proxy)
{
    prepare_files(proxy);
    check_backlog(proxy);
}

void kernel_tell(const struct proxy *proxy)
{
    const struct loop *loop = proxy->workers[0].loop;
    if (loop_io(loop) == LOOP_IO_URING)
        log_emit(proxy->log, LOG_AT_INFO, "sockets are driven", log_text("io", "io_uring"));
    else if (loop_io_reason(loop)[0] == '\0')
        log_emit(proxy->log, LOG_AT_INFO, "sockets are driven", log_text("io", "epoll"));
    else
        log_emit(proxy->log, LOG_AT_INFO, "sockets are driven", log_text("io", "epoll"),
                 log_text("no_io_uring", loop_io_reason(loop)));
}
