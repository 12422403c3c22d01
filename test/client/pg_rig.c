#include "pg_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BIN          "/usr/lib/postgresql/15/bin/"
#define TRIES_MAX    6000 /* of 20 ms: a machine may be slow and busy */
#define CHILDREN_MAX 200
#define ARGS_MAX     15

static const char settings[] = "listen_addresses = '127.0.0.1'\n"
                               "max_connections = 60\n"
                               "shared_buffers = 16MB\n"
                               "fsync = off\n"
                               "full_page_writes = off\n"
                               "autovacuum = off\n"
                               "wal_level = replica\n"
                               "max_wal_senders = 8\n"
                               "wal_keep_size = 64MB\n"
                               "hot_standby = on\n"
                               "wal_receiver_timeout = 5s\n"
                               "wal_retrieve_retry_interval = 200ms\n"
                               "deadlock_timeout = 100ms\n"
                               "timezone = 'UTC'\n"
                               "log_min_messages = warning\n";

static void __attribute__((format(printf, 1, 2), noreturn)) fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "pg_rig: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    abort();
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* ---- the keeper: a process that outlives the test if that crashes, and ends what it left ---- */

#define KEPT_MAX 64

/* Ends the servers with their backends, newest first, and removes the folder. */
static void __attribute__((noreturn)) clean_up(const char *folder, const pid_t *pids, size_t count)
{
    while (count-- > 0) {
        /* A number that was given to somebody else meanwhile is not in that folder. */
        char path[64], where[256];
        snprintf(path, sizeof path, "/proc/%d/cwd", (int)pids[count]);
        ssize_t size = readlink(path, where, sizeof where - 1);
        if (size > 0 && strncmp(where, folder, strlen(folder)) == 0)
            kill(pids[count], SIGQUIT);
    }
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    execl("/bin/rm", "rm", "-rf", folder, (char *)NULL);
    _exit(1);
}

static int start_keeper(const char *folder)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        fail("pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        fail("fork: %s", strerror(errno));
    if (pid > 0) {
        close(ends[0]);
        return ends[1];
    }
    close(ends[1]);
    setsid();
    pid_t pids[KEPT_MAX], next;
    size_t count = 0;
    while (read(ends[0], &next, sizeof next) == (ssize_t)sizeof next)
        pids[count++ % KEPT_MAX] = next;
    clean_up(folder, pids, count < KEPT_MAX ? count : KEPT_MAX);
}

static void keep(const struct rig_server *server)
{
    if (write(server->keeper, &server->pid, sizeof server->pid) != (ssize_t)sizeof server->pid)
        fail("the keeper does not listen");
}

/* ---- processes ---- */

/* PostgreSQL refuses to run as root. */
static void become_postgres(void)
{
    if (geteuid() == 0) {
        const struct passwd *user = getpwnam("postgres");
        if (user == NULL || initgroups("postgres", user->pw_gid) != 0 ||
            setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)
            _exit(120);
    }
    if (chdir("/") != 0)
        _exit(121);
}

static pid_t spawn(const char *log, const char *const argv[])
{
    pid_t pid = fork();
    if (pid < 0)
        fail("fork: %s", strerror(errno));
    if (pid > 0)
        return pid;
    become_postgres();
    int in = open("/dev/null", O_RDONLY);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(122);
    char *copy[ARGS_MAX + 1] = {NULL};
    for (size_t i = 0; i < ARGS_MAX && argv[i] != NULL; i++)
        copy[i] = strdup(argv[i]);
    execv(copy[0], copy);
    _exit(123);
}

static void run(const char *log, const char *const argv[])
{
    int status = 0;
    pid_t pid = spawn(log, argv);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            fail("waitpid: %s", strerror(errno));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail("%s failed, see %s", argv[0], log);
}

int rig_free_port(void)
{
    for (int i = 0; i < 1000; i++) {
        int port = 20000 + (int)((unsigned)getpid() * 37U + (unsigned)random()) % 12000;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        bool is_free = bind(fd, (const struct sockaddr *)&address, sizeof address) == 0;
        close(fd);
        if (is_free)
            return port;
    }
    fail("no free port");
}

static void give_to_postgres(const char *path)
{
    const struct passwd *user = getpwnam("postgres");
    if (geteuid() == 0 && (user == NULL || chown(path, user->pw_uid, user->pw_gid) != 0))
        fail("chown %s: %s", path, strerror(errno));
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[160];
    snprintf(path, sizeof path, "%s/data/%s", folder, name);
    FILE *file = fopen(path, "ae");
    if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0)
        fail("%s: %s", path, strerror(errno));
    give_to_postgres(path);
}

static void log_path(const struct rig_server *server, char *path, size_t size)
{
    snprintf(path, size, "%s/log", server->folder);
}

static void make_folder(struct rig *rig, struct rig_server *server)
{
    snprintf(server->folder, sizeof server->folder, "%s/s%zu", rig->folder,
             (size_t)(server - rig->servers));
    server->port = rig_free_port();
    server->keeper = rig->keeper;
    if (mkdir(server->folder, 0755) != 0)
        fail("%s: %s", server->folder, strerror(errno));
    give_to_postgres(server->folder);
}

static void configure(const struct rig_server *server)
{
    char text[256];
    snprintf(text, sizeof text, "port = %d\nunix_socket_directories = '%s'\n", server->port,
             server->folder);
    write_file(server->folder, "postgresql.conf", text);
}

static void make_primary(struct rig *rig)
{
    struct rig_server *server = &rig->servers[0];
    char log[96], data[96];
    make_folder(rig, server);
    log_path(server, log, sizeof log);
    snprintf(data, sizeof data, "%s/data", server->folder);
    static const char initdb[] = BIN "initdb";
    run(log, (const char *const[]){initdb, "-N", "-D", data, "-U", "postgres", "-A", "trust",
                                   "--locale=C", "-E", "UTF8", NULL});
    write_file(server->folder, "postgresql.conf", settings);
    configure(server);
    rig_start(server);
}

static void make_standby(struct rig *rig, struct rig_server *server)
{
    static const char basebackup[] = BIN "pg_basebackup";
    char log[96], data[96], port[16], text[160];
    make_folder(rig, server);
    log_path(server, log, sizeof log);
    snprintf(data, sizeof data, "%s/data", server->folder);
    snprintf(port, sizeof port, "%d", rig->servers[0].port);
    run(log, (const char *const[]){basebackup, "-D", data, "-h", rig->servers[0].folder, "-p", port,
                                   "-U", "postgres", "-c", "fast", "-X", "stream", NULL});
    snprintf(text, sizeof text,
             "primary_conninfo = 'host=127.0.0.1 port=%d user=postgres application_name=s%zu'\n",
             rig->servers[0].port, (size_t)(server - rig->servers));
    write_file(server->folder, "postgresql.conf", text);
    write_file(server->folder, "standby.signal", "");
    configure(server);
    rig_start(server);
}

void rig_begin(struct rig *rig, size_t standbys)
{
    *rig = (struct rig){.count = 1 + standbys};
    snprintf(rig->folder, sizeof rig->folder, "/tmp/hf-rig-XXXXXX");
    srandom((unsigned)time(NULL) ^ (unsigned)getpid());
    if (rig->count > RIG_SERVERS_MAX || mkdtemp(rig->folder) == NULL ||
        chmod(rig->folder, 0755) != 0)
        fail("%s: %s", rig->folder, strerror(errno));
    give_to_postgres(rig->folder);
    rig->keeper = start_keeper(rig->folder);
    make_primary(rig);
    for (size_t i = 1; i < rig->count; i++)
        make_standby(rig, &rig->servers[i]);
}

void rig_end(struct rig *rig)
{
    for (size_t i = rig->count; i-- > 0;)
        if (rig->servers[i].pid != 0)
            rig_kill(&rig->servers[i]);
    close(rig->keeper); /* it removes the folder */
}

static PGconn *connect_admin(const struct rig_server *server)
{
    char text[160];
    snprintf(text, sizeof text, "host=%s port=%d user=postgres dbname=postgres connect_timeout=60",
             server->folder, server->port);
    return PQconnectdb(text);
}

/* False: it has ended. */
static bool wait_up(struct rig_server *server)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        PGconn *pg = connect_admin(server);
        bool is_up = PQstatus(pg) == CONNECTION_OK;
        PQfinish(pg);
        if (is_up)
            return true;
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid)
            return false;
        pause_ms(20);
    }
    return false;
}

/* After kill -9 the kernel may need a moment to let go of the memory that the backends shared, and
 * until then a new server refuses to start. */
void rig_start(struct rig_server *server)
{
    char log[96], data[96];
    log_path(server, log, sizeof log);
    snprintf(data, sizeof data, "%s/data", server->folder);
    for (int i = 0; i < 50; i++) {
        server->pid = spawn(log, (const char *const[]){BIN "postgres", "-D", data, NULL});
        keep(server);
        if (wait_up(server))
            return;
        pause_ms(50);
    }
    fail("the server does not come up, see %s", log);
}

static void wait_end(struct rig_server *server)
{
    while (waitpid(server->pid, NULL, 0) < 0)
        if (errno != EINTR)
            fail("waitpid: %s", strerror(errno));
    server->pid = 0;
}

void rig_stop(struct rig_server *server)
{
    rig_thaw(server);
    kill(server->pid, SIGINT);
    wait_end(server);
}

/* The processes of a server: its own and what it has forked. */
static size_t processes(const struct rig_server *server, pid_t pids[CHILDREN_MAX])
{
    char path[80], line[16 * CHILDREN_MAX] = "";
    size_t count = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)server->pid, (int)server->pid);
    FILE *file = fopen(path, "re");
    char *rest = file != NULL ? fgets(line, sizeof line, file) : NULL;
    while (rest != NULL && count < CHILDREN_MAX - 1) {
        char *end;
        long pid = strtol(rest, &end, 10);
        if (end == rest)
            break;
        pids[count++] = (pid_t)pid;
        rest = end;
    }
    if (file != NULL)
        fclose(file);
    pids[count++] = server->pid;
    return count;
}

static void signal_all(const struct rig_server *server, int signo)
{
    pid_t pids[CHILDREN_MAX];
    size_t count = processes(server, pids);
    for (size_t i = 0; i < count; i++)
        kill(pids[i], signo);
}

/* The postmaster is stopped first, or it would start anew, or tell, what is killed next. */
void rig_kill(struct rig_server *server)
{
    kill(server->pid, SIGSTOP);
    signal_all(server, SIGKILL);
    wait_end(server);
}

void rig_freeze(const struct rig_server *server)
{
    kill(server->pid, SIGSTOP);
    signal_all(server, SIGSTOP);
}

void rig_thaw(const struct rig_server *server)
{
    signal_all(server, SIGCONT);
}

void rig_promote(const struct rig_server *server)
{
    char answer[8];
    rig_sql(server, "SELECT pg_promote(true, 30)", answer, sizeof answer);
    if (answer[0] != 't')
        fail("promotion failed, see %s/log", server->folder);
}

void rig_sql(const struct rig_server *server, const char *sql, char *text, size_t size)
{
    PGconn *pg = connect_admin(server);
    PGresult *result = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail("%s: %s", sql, PQerrorMessage(pg));
    if (text != NULL)
        snprintf(text, size, "%s", PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    PQfinish(pg);
}

long rig_number(const struct rig_server *server, const char *sql)
{
    char text[32];
    rig_sql(server, sql, text, sizeof text);
    return strtol(text, NULL, 10);
}

void rig_wait_replayed(const struct rig_server *primary, const struct rig_server *standby)
{
    char lsn[32], sql[160], answer[8];
    rig_sql(primary, "SELECT pg_current_wal_lsn()", lsn, sizeof lsn);
    snprintf(sql, sizeof sql, "SELECT pg_last_wal_replay_lsn() >= '%s'", lsn);
    for (int i = 0; i < TRIES_MAX; i++) {
        rig_sql(standby, sql, answer, sizeof answer);
        if (answer[0] == 't')
            return;
        pause_ms(20);
    }
    fail("the standby does not follow");
}
