#include "cli/demo_server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ns.h"
#include "base/sv.h"
#include "cli/demo_config.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/sys.h"

#define START_NS_MAX      HF_SEC(60) /* crash recovery included */
#define FAST_STOP_NS      HF_SEC(20)
#define IMMEDIATE_STOP_NS HF_SEC(5)
#define LOG_SIZE_MAX      (INT64_C(16) * 1024 * 1024) /* before a log is put aside */

char *demo_server_data(const struct demo_place *place, const struct demo_server *server,
                       char out[PATH_MAX])
{
    return demo_folder_path(place->folder, server->name, out);
}

/* A file in its data folder. */
static char *data_file(const struct demo_place *place, const struct demo_server *server,
                       const char *name, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/%s/%s", place->folder->path, server->name, name);
    return out;
}

char *demo_server_log(const struct demo_place *place, const struct demo_server *server,
                      char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/log/%s.log", place->folder->path, server->name);
    return out;
}

bool demo_server_exists(const struct demo_place *place, const struct demo_server *server)
{
    char path[PATH_MAX];
    return access(data_file(place, server, "PG_VERSION", path), F_OK) == 0;
}

bool demo_server_is_replica(const struct demo_place *place, const struct demo_server *server)
{
    char path[PATH_MAX];
    return access(data_file(place, server, "standby.signal", path), F_OK) == 0;
}

/* ---- Start ---- */

static enum hf_rc write_config(const struct demo_place *place, const struct demo_server *server,
                               struct hf_err *err)
{
    char path[PATH_MAX];
    char sockets[PATH_MAX];
    char text[DEMO_CONFIG_SIZE];
    const struct demo_config_values values = {
        .name = server->name,
        .port = server->port,
        .upstream_port = server->upstream,
        .socket_path = demo_folder_path(place->folder, "socket", sockets),
    };
    enum hf_rc rc = file_write(data_file(place, server, "postgresql.conf", path),
                               demo_config_server(&values, text), 0600, err);
    if (rc == HF_OK)
        rc = file_write(data_file(place, server, "pg_hba.conf", path), demo_config_access(), 0600,
                        err);
    return rc;
}

static enum hf_rc open_log(const struct demo_place *place, struct demo_server *server, int *fd,
                           struct hf_err *err)
{
    char path[PATH_MAX];
    char aside[PATH_MAX + 4];
    demo_server_log(place, server, path);
    if (file_size(path) > LOG_SIZE_MAX) {
        snprintf(aside, sizeof aside, "%s.old", path);
        rename(path, aside); /* if it fails, the log goes on growing: nothing else is lost */
    }
    server->log_from = file_size(path);
    *fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    return *fd >= 0 ? HF_OK : sys_fail(err, errno, "could not open \"%s\"", path);
}

enum hf_rc demo_server_start(const struct demo_place *place, struct demo_server *server,
                             struct hf_err *err)
{
    char program[PATH_MAX];
    char data[PATH_MAX];
    int log_fd;
    server->started_ns = clock_now();
    enum hf_rc rc = write_config(place, server, err);
    if (rc != HF_OK)
        return rc;
    rc = open_log(place, server, &log_fd, err);
    if (rc != HF_OK)
        return rc;
    const char *const argv[] = {programs_path(place->programs, "postgres", program), "-D",
                                demo_server_data(place, server, data), NULL};
    const struct child_spec spec = {
        .argv = argv,
        .directory = data,
        .output = log_fd,
        .signal_at_our_end = SIGINT, /* to a postmaster: shut down fast, and cleanly */
    };
    rc = child_start(&server->child, &spec, err);
    close(log_fd);
    return rc;
}

enum hf_rc demo_server_connect(const struct demo_place *place, const struct demo_server *server,
                               const char *database, int64_t deadline_ns, struct conn *conn,
                               struct hf_err *err)
{
    char sockets[PATH_MAX];
    char port[16];
    snprintf(port, sizeof port, "%d", server->port);
    const struct conn_param params[] = {
        {"host", demo_folder_path(place->folder, "socket", sockets)},
        {"port", port},
        {"user", DEMO_SUPERUSER},
        {"dbname", database},
        {"application_name", "holdfast demo"},
        {NULL, NULL},
    };
    return conn_open(conn, params, deadline_ns, place->stop_fd, err);
}

static enum hf_rc stopped_while_starting(const struct demo_server *server, struct hf_err *err)
{
    return err_set(err, HF_RC_AGAIN, "57014", "interrupted while starting %s", server->name);
}

static enum hf_rc explain_end(const struct demo_server *server, struct hf_err *err)
{
    char how[CHILD_TEXT_SIZE];
    return err_set(err, HF_RC_PEER, "57P01", "could not start %s: PostgreSQL ended, %s",
                   server->name, child_describe(&server->child, how));
}

enum hf_rc demo_server_await(const struct demo_place *place, struct demo_server *server,
                             struct hf_err *err)
{
    const int64_t deadline_ns = server->started_ns + START_NS_MAX;
    for (;;) {
        struct conn conn;
        const int64_t now_ns = clock_now();
        if (demo_server_connect(place, server, "postgres", ns_add(now_ns, HF_SEC(2)), &conn, err) ==
            HF_OK) {
            conn_close(&conn);
            return HF_OK;
        }
        if (now_ns >= deadline_ns) {
            demo_server_ask_to_stop(server);
            demo_server_await_stop(place, server);
            return err_set(err, HF_RC_AGAIN, "57P03",
                           "could not start %s: it does not answer "
                           "after %d s",
                           server->name, (int)(START_NS_MAX / HF_SEC(1)));
        }
        /* The pause between two tries ends at once when the server does. */
        switch (child_wait(&server->child, ns_add(now_ns, HF_MS(20)), place->stop_fd)) {
        case CHILD_WAIT_ENDED:
            return explain_end(server, err);
        case CHILD_WAIT_INTERRUPTED:
            return stopped_while_starting(server, err);
        case CHILD_WAIT_DEADLINE:
            break;
        }
    }
}

bool demo_server_lost_its_port(const struct demo_place *place, const struct demo_server *server)
{
    char path[PATH_MAX];
    char tail[2048];
    file_tail(demo_server_log(place, server, path), server->log_from, 8, tail, sizeof tail);
    return strstr(tail, "could not create any TCP/IP sockets") != NULL;
}

/* ---- Stop ---- */

void demo_server_ask_to_stop(const struct demo_server *server)
{
    child_signal(&server->child, SIGINT);
}

bool demo_server_await_stop(const struct demo_place *place, struct demo_server *server)
{
    if (child_wait(&server->child, ns_add(clock_now(), FAST_STOP_NS), place->stop_fd) ==
        CHILD_WAIT_ENDED)
        return true;
    const struct child_step immediate = {.signal = SIGQUIT, .wait_ns = IMMEDIATE_STOP_NS};
    child_stop(&server->child, &immediate, 1);
    return false;
}

/* ---- What an earlier demo left ---- */

/* The number in postmaster.pid, 0 if there is none. */
static pid_t read_postmaster_pid(const char *path)
{
    char text[1024];
    if (file_read(path, text, sizeof text, NULL) != HF_OK)
        return 0;
    const long number = strtol(text, NULL, 10);
    return number > 1 && number <= INT_MAX ? (pid_t)number : 0;
}

/* A postmaster works in its data folder, which tells it from whatever got its number since. */
static bool works_in(pid_t pid, const char *folder)
{
    char link[64];
    char at[PATH_MAX];
    char real[PATH_MAX];
    snprintf(link, sizeof link, "/proc/%d/cwd", (int)pid);
    const ssize_t length = readlink(link, at, sizeof at - 1);
    if (length <= 0 || realpath(folder, real) == NULL)
        return false;
    at[length] = '\0';
    return strcmp(at, real) == 0;
}

/* Waits until a process that is no child of ours is gone. */
static bool await_end(int watch, int64_t wait_ns, int stop_fd)
{
    struct pollfd files[2] = {
        {.fd = watch, .events = POLLIN},
        {.fd = stop_fd, .events = POLLIN},
    };
    poll(files, 2, (int)(wait_ns / HF_MS(1)));
    return files[0].revents != 0;
}

enum hf_rc demo_server_stop_leftover(const struct demo_place *place,
                                     const struct demo_server *server, bool *found,
                                     struct hf_err *err)
{
    char path[PATH_MAX];
    char data[PATH_MAX];
    *found = false;
    data_file(place, server, "postmaster.pid", path);
    demo_server_data(place, server, data);
    const pid_t pid = read_postmaster_pid(path);
    if (pid == 0)
        return HF_OK;
    /* Opened before it is looked at: from here on the number cannot pass to somebody else. */
    const int watch = pidfd_open(pid, 0);
    if (watch < 0 || !works_in(pid, data)) {
        if (watch >= 0)
            close(watch);
        unlink(path); /* stale; PostgreSQL would refuse to start if the number lives on elsewhere */
        return HF_OK;
    }
    *found = true;
    pidfd_send_signal(watch, SIGINT, NULL, 0);
    bool is_gone = await_end(watch, FAST_STOP_NS, place->stop_fd);
    if (!is_gone) {
        pidfd_send_signal(watch, SIGQUIT, NULL, 0);
        is_gone = await_end(watch, IMMEDIATE_STOP_NS, -1);
    }
    close(watch);
    if (is_gone)
        return HF_OK;
    err_set(err, HF_RC_AGAIN, "55006", "could not stop %s of an earlier demo, process %d",
            server->name, (int)pid);
    return err_hint(err, "Look at it with ps -fp %d, and end it with kill -9 %d.", (int)pid,
                    (int)pid);
}
