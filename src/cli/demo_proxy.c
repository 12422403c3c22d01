#include "cli/demo_proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ns.h"
#include "cli/demo_screen.h"
#include "cli/ports.h"
#include "config/connstr.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/sys.h"

#define START_NS_MAX   HF_SEC(10)
#define MEASURE_S      "2"
#define MEASURE_NS_MAX HF_SEC(15)

/* Clients log in as the demo's user with its password, by SCRAM; the proxy enters the primary with
 * the same. */
static enum hf_rc write_files(const struct demo_proxy *proxy, const struct demo_cluster *cluster,
                              struct hf_err *err)
{
    const struct demo_folder *folder = cluster->place.folder;
    char path[PATH_MAX], text[1024];
    snprintf(text, sizeof text,
             "# Written by holdfast demo.\n"
             "proxy:\n"
             "  port: %d\n"
             "databases:\n"
             "  " DEMO_DATABASE
             ": {hosts: \"127.0.0.1:%d\", pool_mode: transaction, pool_size: 8}\n"
             "roles:\n"
             "  " DEMO_USER ": {password_file: password}\n",
             proxy->port, cluster->servers[0].port);
    enum hf_rc rc = file_write(demo_folder_path(folder, "proxy.yml", path), text, 0600, err);
    if (rc == HF_OK)
        rc = file_write(demo_folder_path(folder, "pgbench.sql", path),
                        "\\set id random(1, 100)\n"
                        "SELECT balance FROM account WHERE id = :id;\n",
                        0600, err);
    return rc;
}

static int choose_port(const struct demo_cluster *cluster)
{
    int taken[1 + DEMO_REPLICAS_MAX];
    for (size_t i = 0; i < cluster->count; i++)
        taken[i] = cluster->servers[i].port;
    return ports_find(cluster->port_base, DEMO_PORT_MAX, taken, cluster->count);
}

static enum hf_rc start_child(struct demo_proxy *proxy, const struct demo_cluster *cluster,
                              struct hf_err *err)
{
    char config[PATH_MAX], log[PATH_MAX];
    const struct demo_folder *folder = cluster->place.folder;
    const char *const argv[] = {"/proc/self/exe", "proxy", "--config",
                                demo_folder_path(folder, "proxy.yml", config), NULL};
    demo_folder_path(folder, "log/proxy.log", log);
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return sys_fail(err, errno, "could not open \"%s\"", log);
    const struct child_spec spec = {.argv = argv, .output = fd, .signal_at_our_end = SIGTERM};
    enum hf_rc rc = child_start(&proxy->child, &spec, err);
    close(fd);
    return rc;
}

static enum hf_rc wait_until_ready(struct demo_proxy *proxy, const struct demo_cluster *cluster,
                                   struct hf_err *err)
{
    const int64_t until_ns = clock_now() + START_NS_MAX;
    while (!child_poll(&proxy->child) && clock_now() < until_ns) {
        if (ports_answers(proxy->port))
            return HF_OK;
        clock_sleep_until(clock_now() + HF_MS(20));
    }
    demo_proxy_stop(proxy);
    err_set(err, HF_RC_IO, "58000", "the proxy of the demo did not start");
    return err_hint(err, "%s/log/proxy.log says why.", cluster->place.folder->path);
}

/* The number behind a word in pgbench's report. */
static bool find_number(const char *report, const char *word, double *number)
{
    const char *at = strstr(report, word);
    if (at == NULL)
        return false;
    char *end;
    *number = strtod(at + strlen(word), &end);
    return end != at + strlen(word);
}

static void measure(struct demo_proxy *proxy, const struct demo_cluster *cluster)
{
    char program[PATH_MAX], script[PATH_MAX], url[3 * PATH_MAX], passfile[PATH_MAX];
    char encoded[PATH_MAX], report[4096];
    struct hf_err err;
    demo_folder_path(cluster->place.folder, "passfile", passfile);
    snprintf(url, sizeof url,
             "postgresql://" DEMO_USER "@127.0.0.1:%d/" DEMO_DATABASE "?passfile=%s", proxy->port,
             connstr_encode(passfile, encoded, sizeof encoded));
    const char *const argv[] = {programs_path(cluster->place.programs, "pgbench", program),
                                "-n",
                                "-M",
                                "prepared",
                                "-c",
                                "16",
                                "-T",
                                MEASURE_S,
                                "-f",
                                demo_folder_path(cluster->place.folder, "pgbench.sql", script),
                                url,
                                NULL};
    struct child_run run = {.spec = {.argv = argv},
                            .deadline_ns = clock_now() + MEASURE_NS_MAX,
                            .interrupt_fd = cluster->place.stop_fd,
                            .out = report,
                            .size = sizeof report};
    proxy->is_measured = access(program, X_OK) == 0 && child_run(&run, &err) == HF_OK &&
                         run.waited == CHILD_WAIT_ENDED && child_succeeded(&run.child) &&
                         find_number(report, "latency average =", &proxy->latency_ms) &&
                         find_number(report, "tps =", &proxy->tps);
}

enum hf_rc demo_proxy_start(struct demo_proxy *proxy, const struct demo_cluster *cluster,
                            struct hf_err *err)
{
    *proxy = (struct demo_proxy){.port = choose_port(cluster)};
    if (proxy->port == 0)
        return err_set(err, HF_RC_AGAIN, "55006", "no free port for the proxy");
    struct screen_step step = screen_step_begin("proxy", "pooling connections to the primary");
    enum hf_rc rc = write_files(proxy, cluster, err);
    if (rc == HF_OK)
        rc = start_child(proxy, cluster, err);
    if (rc == HF_OK)
        rc = wait_until_ready(proxy, cluster, err);
    if (rc != HF_OK) {
        screen_step_fail(&step);
        return rc;
    }
    screen_step_end(&step);
    step = screen_step_begin("pgbench", "16 clients through the proxy");
    measure(proxy, cluster);
    if (proxy->is_measured)
        screen_step_end(&step);
    else
        screen_step_fail(&step);
    return HF_OK;
}

void demo_proxy_print(const struct demo_proxy *proxy, const struct demo_cluster *cluster)
{
    char psql[PATH_MAX], passfile[PATH_MAX], encoded[PATH_MAX];
    if (!proxy->child.is_running)
        return;
    demo_folder_path(cluster->place.folder, "passfile", passfile);
    printf("Proxy     port %d, process %d: many clients on 8 connections to the primary\n",
           proxy->port, (int)proxy->child.pid);
    printf("  psql    %s 'postgresql://" DEMO_USER "@127.0.0.1:%d/" DEMO_DATABASE "?passfile=%s'\n",
           programs_psql(cluster->place.programs, psql), proxy->port,
           connstr_encode(passfile, encoded, sizeof encoded));
    if (proxy->is_measured)
        printf("  pgbench 16 clients, prepared statements, " MEASURE_S
               " s: %.0f transactions a second, %.2f ms each\n",
               proxy->tps, proxy->latency_ms);
    printf("\n");
    fflush(stdout);
}

void demo_proxy_stop(struct demo_proxy *proxy)
{
    static const struct child_step steps[] = {{SIGINT, HF_SEC(3), false}};
    child_stop(&proxy->child, steps, 1);
}
