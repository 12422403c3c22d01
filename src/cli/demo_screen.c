#include "cli/demo_screen.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/ns.h"
#include "base/sv.h"
#include "base/units.h"
#include "cli/report.h"
#include "config/connstr.h"
#include "os/clock.h"
#include "os/file.h"

/* Of a log line: enough to recognise what happened; the file has the rest. */
#define LOG_COLUMNS 110

struct screen_step screen_step_begin(const char *who, const char *what)
{
    printf("  %-9s %s ...", who, what);
    fflush(stdout);
    return (struct screen_step){.begun_ns = clock_now()};
}

void screen_step_end(const struct screen_step *step)
{
    printf(" %.1f s\n", (double)(clock_now() - step->begun_ns) / 1e9);
    fflush(stdout);
}

void screen_step_fail(const struct screen_step *step)
{
    printf(" gave up after %.1f s\n", (double)(clock_now() - step->begun_ns) / 1e9);
    fflush(stdout);
}

void screen_step_force(const struct screen_step *step)
{
    printf(" by force after %.1f s\n", (double)(clock_now() - step->begun_ns) / 1e9);
    fflush(stdout);
}

void screen_event(const char *format, ...)
{
    char time[CLOCK_TEXT_SIZE];
    va_list args;
    va_start(args, format);
    flockfile(stdout); /* the guarded application tells its story from a thread of its own */
    printf("%s  ", clock_wall_short(clock_wall_now(), time));
    vprintf(format, args);
    printf("\n");
    fflush(stdout);
    funlockfile(stdout);
    va_end(args);
}

void screen_more(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    flockfile(stdout);
    printf("          ");
    vprintf(format, args);
    printf("\n");
    fflush(stdout);
    funlockfile(stdout);
    va_end(args);
}

void screen_log(const struct demo_place *place, const struct demo_server *server, size_t lines)
{
    char path[PATH_MAX];
    char text[4096];
    struct sv line;
    if (file_tail(demo_server_log(place, server, path), server->log_from, lines, text,
                  sizeof text) == 0)
        return;
    struct sv rest = sv_from_cstr(text);
    screen_more("the end of its log:");
    while (sv_split(&rest, '\n', &line)) {
        const bool is_long = line.size > LOG_COLUMNS;
        screen_more("  %.*s%s", (int)(is_long ? LOG_COLUMNS : line.size), line.data,
                    is_long ? "..." : "");
    }
}

static void print_server(const struct demo_cluster *cluster, const struct demo_server *server)
{
    const char *role = "reads; follows the primary";
    if (server->upstream == 0)
        role = "reads and writes";
    else if (!demo_server_is_replica(&cluster->place, server))
        role = "reads and writes of its own; was promoted";
    printf("  %-9s port %-6d process %-8d %s\n", server->name, server->port, (int)server->child.pid,
           role);
}

static void print_psql(const struct demo_cluster *cluster, const struct demo_server *server)
{
    char psql[PATH_MAX];
    char passfile[PATH_MAX];
    char encoded[PATH_MAX];
    demo_folder_path(cluster->place.folder, "passfile", passfile);
    printf("  %-9s %s 'postgresql://" DEMO_USER "@127.0.0.1:%d/" DEMO_DATABASE "?passfile=%s'\n",
           server->name, programs_psql(cluster->place.programs, psql), server->port,
           connstr_encode(passfile, encoded, sizeof encoded));
}

/* Past all passwords, by the socket that only the servers' user and root can reach. With sudo that
 * is not the one who reads this. */
static void print_superuser(const struct demo_cluster *cluster)
{
    char psql[PATH_MAX];
    char sockets[PATH_MAX];
    if (cluster->place.folder->passfile_fd >= 0)
        return;
    printf("  superuser %s 'host=%s port=%d user=" DEMO_SUPERUSER " dbname=" DEMO_DATABASE "'\n",
           programs_psql(cluster->place.programs, psql),
           demo_folder_path(cluster->place.folder, "socket", sockets), cluster->servers[0].port);
}

static void print_things_to_try(const struct demo_cluster *cluster, int64_t restart_ns)
{
    const struct demo_server *first = &cluster->servers[0];
    const struct demo_server *last = &cluster->servers[cluster->count - 1];
    char wait[UNITS_TEXT_MAX];
    printf("\nTry\n");
    printf("  look      SELECT * FROM transfer ORDER BY id DESC LIMIT 5;\n");
    if (cluster->count > 1)
        printf("  write     UPDATE account SET balance = balance + 1 WHERE id = 1;\n"
               "            on the primary, and read it on %s\n"
               "  lag       SELECT application_name, state, replay_lag FROM pg_stat_replication;\n",
               last->name);
    printf("  break it  kill -9 %d\n", (int)first->child.pid);
    printf("            An application writes and reads all the time, each call under the guard:\n"
           "            see here what it sees. ");
    if (restart_ns == HF_NEVER)
        printf("Start %s again with kill -USR1 %d\n", first->name, (int)getpid());
    else
        printf("%s starts again after %s.\n", first->name, units_print_duration(restart_ns, wait));
}

void screen_ready(const struct demo_cluster *cluster, int64_t restart_ns, int64_t took_ns)
{
    const struct demo_folder *folder = cluster->place.folder;
    printf("\nReady after %.1f s: PostgreSQL %s, a primary and %zu replica%s\n\n",
           (double)took_ns / 1e9, cluster->place.programs->version, cluster->count - 1,
           cluster->count == 2 ? "" : "s");
    for (size_t i = 0; i < cluster->count; i++)
        print_server(cluster, &cluster->servers[i]);
    printf("\nConnect\n");
    for (size_t i = 0; i < cluster->count; i++)
        print_psql(cluster, &cluster->servers[i]);
    print_superuser(cluster);
    print_things_to_try(cluster, restart_ns);
    printf("\nData      %s\nLogs      %s/log\n", folder->path, folder->path);
    printf("Stop      Ctrl-C; the data stays, and %s --fresh begins anew\n\n", report_called_as());
    fflush(stdout);
}
