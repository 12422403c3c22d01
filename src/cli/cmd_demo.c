#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ns.h"
#include "cli/args.h"
#include "cli/demo_cluster.h"
#include "cli/demo_proxy.h"
#include "cli/demo_screen.h"
#include "cli/demo_watch.h"
#include "cli/guarded.h"
#include "cli/report.h"
#include "cli/subcommand.h"
#include "cli/version.h"
#include "cli/watch_url.h"
#include "config/connstr.h"
#include "os/clock.h"
#include "os/signals.h"

struct demo_config {
    char dir[PATH_MAX];
    bool fresh;
    int32_t port_base;
    int32_t replicas;
    int64_t restart_ns;
    char bindir[PATH_MAX];
};

static const struct opt_row rows[] = {
    {.key = "dir",
     .type = OPT_STRING,
     OPT_FIELD(struct demo_config, dir),
     .default_text = "",
     .since = "0.1",
     .sentence = "Folder for the data; without it /var/lib/holdfast/demo for root, else "
                 "holdfast/demo in XDG_DATA_HOME or ~/.local/share."},
    {.key = "fresh",
     .type = OPT_BOOL,
     OPT_FIELD(struct demo_config, fresh),
     .default_text = "off",
     .since = "0.1",
     .sentence = "Deletes what an earlier demo left in that folder, and begins anew."},
    {.key = "port_base",
     .type = OPT_INT,
     OPT_FIELD(struct demo_config, port_base),
     .default_text = "17432",
     .min = 1024,
     .max = DEMO_PORT_MAX,
     .unit = "port",
     .since = "0.1",
     .sentence = "Looks for free ports from here on."},
    {.key = "replicas",
     .type = OPT_INT,
     OPT_FIELD(struct demo_config, replicas),
     .default_text = "2",
     .min = 0,
     .max = DEMO_REPLICAS_MAX,
     .unit = "servers",
     .since = "0.1",
     .sentence = "How many replicas follow the primary."},
    {.key = "restart",
     .type = OPT_DURATION,
     OPT_FIELD(struct demo_config, restart_ns),
     .default_text = "10s",
     .min = 0,
     .max = HF_NEVER,
     .since = "0.1",
     .sentence = "How long a server that was killed stays down before it is started again; never "
                 "leaves that to SIGUSR1."},
    {.key = "bindir",
     .type = OPT_STRING,
     OPT_FIELD(struct demo_config, bindir),
     .default_text = "",
     .since = "0.1",
     .sentence = "Folder with PostgreSQL's server programs; without it they are looked for."},
};

struct demo {
    struct demo_config config;
    struct demo_folder folder;
    struct programs programs;
    struct signals stop;  /* INT, TERM, HUP: a terminal that is closed ends the demo too */
    struct signals nudge; /* USR1 */
    struct demo_cluster cluster;
    struct demo_proxy proxy;
    struct secret password;
    int64_t begun_ns;
};

/* What is set for other programs of PostgreSQL must not lead ours astray: PGHOST, PGOPTIONS,
 * PGSERVICE ... And messages are read by us, so they must be in English. */
static void clean_environment(const struct demo_folder *folder)
{
    /* NOLINTBEGIN(concurrency-mt-unsafe): one thread */
    for (char **entry = environ; *entry != NULL;) {
        char name[64];
        const size_t length = strcspn(*entry, "=");
        if (strncmp(*entry, "PG", 2) == 0 && length < sizeof name) {
            snprintf(name, sizeof name, "%.*s", (int)length, *entry);
            unsetenv(name); /* moves the later ones up */
        } else {
            entry++;
        }
    }
    setenv("LC_ALL", "C", 1);
    setenv("HOME", folder->path, 1);
    /* NOLINTEND(concurrency-mt-unsafe) */
}

/* Which PostgreSQL: the one that made the data, or the newest. */
static enum hf_rc choose_programs(struct demo *demo, struct hf_err *err)
{
    const int major = demo_cluster_data_major(&demo->cluster);
    enum hf_rc rc = programs_find(&demo->programs, demo->config.bindir, major, err);
    if (rc != HF_OK || major == 0 || major == demo->programs.major)
        return rc;
    err_set(err, HF_RC_INVALID, "XX001",
            "cannot use the data in \"%s\": PostgreSQL %d made it, and here is %s",
            demo->folder.path, major, demo->programs.version);
    return err_hint(err,
                    "%s --fresh begins anew with %d; or install postgresql-%d to go on with it.",
                    report_called_as(), demo->programs.major, major);
}

/* Everything between "the folder is ours" and "the servers may start". */
static enum hf_rc prepare(struct demo *demo, bool *is_new_password, struct hf_err *err)
{
    const struct demo_place place = {
        .folder = &demo->folder, .programs = &demo->programs, .stop_fd = demo->stop.fd};
    const struct demo_cluster_config config = {.port_base = demo->config.port_base,
                                               .replicas = (size_t)demo->config.replicas};
    demo_cluster_init(&demo->cluster, &place, &config);
    enum hf_rc rc = demo_cluster_stop_leftovers(&demo->cluster, err);
    if (rc == HF_OK && demo->config.fresh)
        rc = demo_folder_empty(&demo->folder, err);
    if (rc == HF_OK)
        rc = choose_programs(demo, err);
    if (rc == HF_OK)
        rc = demo_folder_password(&demo->folder, &demo->password, is_new_password, err);
    if (rc == HF_OK)
        rc = demo_folder_write_passfile(&demo->folder, &demo->password, err);
    return rc;
}

static void greet(const struct demo *demo)
{
    char owner[128] = "";
    if (demo->folder.is_root_demo)
        snprintf(owner, sizeof owner, "; servers run as user %s", demo->folder.owner.name);
    printf("Holdfast %s demo in %s%s\n", version_number(), demo->folder.path, owner);
    fflush(stdout);
}

static bool is_asked_to_stop(const struct demo *demo)
{
    struct pollfd file = {.fd = demo->stop.fd, .events = POLLIN};
    return poll(&file, 1, 0) > 0;
}

/* True if the user asked to stop; the asking is used up, so that asking again means "faster". */
static bool was_asked_to_stop(struct demo *demo)
{
    bool is_asked = false;
    while (signals_take(&demo->stop) != 0)
        is_asked = true;
    return is_asked;
}

static void stop_all(struct demo *demo)
{
    if (demo_cluster_is_up(&demo->cluster)) {
        printf("\nStopping; Ctrl-C again to hurry\n");
        demo_cluster_stop(&demo->cluster);
    }
    printf("Nothing is left running. The data stays in %s\n", demo->folder.path);
}

static int run_cluster(struct demo *demo)
{
    struct hf_err err;
    bool is_new_password = false;
    enum hf_rc rc = prepare(demo, &is_new_password, &err);
    if (rc == HF_OK)
        rc = demo_cluster_start(&demo->cluster, &demo->password, is_new_password, &err);
    if (rc != HF_OK) {
        const bool is_asked = was_asked_to_stop(demo);
        const int status = is_asked ? CLI_OK : report_failure(&err);
        stop_all(demo);
        return status;
    }
    if (demo_proxy_start(&demo->proxy, &demo->cluster, &err) != HF_OK && !is_asked_to_stop(demo))
        report_failure(&err); /* the servers are there all the same */
    screen_ready(&demo->cluster, demo->config.restart_ns, clock_now() - demo->begun_ns);
    demo_proxy_print(&demo->proxy, &demo->cluster);
    struct guarded *guarded;
    /* The servers are what was asked for: they stay, also without an application. */
    if (guarded_start(&guarded, &demo->cluster, &err) != HF_OK && !is_asked_to_stop(demo))
        report_failure(&err);
    const struct demo_watch_config config = {
        .restart_ns = demo->config.restart_ns, .stop_fd = demo->stop.fd, .nudge = &demo->nudge};
    demo_watch(&demo->cluster, &config);
    guarded_stop(guarded);
    demo_proxy_stop(&demo->proxy);
    was_asked_to_stop(demo);
    stop_all(demo);
    return CLI_OK;
}

static int run_local(struct demo *demo)
{
    static const int stop_signals[] = {SIGINT, SIGTERM, SIGHUP};
    static const int nudge_signals[] = {SIGUSR1};
    struct hf_err err;
    demo->begun_ns = clock_now();
    if (demo_folder_open(&demo->folder, demo->config.dir, &err) != HF_OK)
        return report_failure(&err);
    clean_environment(&demo->folder);
    greet(demo);
    int status = CLI_FAILED;
    if (signals_open(&demo->stop, stop_signals, 3, &err) != HF_OK) {
        report_failure(&err);
    } else {
        if (signals_open(&demo->nudge, nudge_signals, 1, &err) != HF_OK) {
            report_failure(&err);
        } else {
            status = run_cluster(demo);
            signals_close(&demo->nudge);
        }
        signals_close(&demo->stop);
    }
    secret_wipe(&demo->password);
    demo_folder_close(&demo->folder);
    return status;
}

/* Options that say something about servers of our own make no sense beside one that exists. */
static enum hf_rc check_url_options(const struct demo_config *config, struct hf_err *err)
{
    struct demo_config defaults;
    static const struct opt_table table = OPT_TABLE(rows);
    size_t cursor = 0;
    opt_defaults(&table, &defaults);
    const struct opt_row *row = opt_diff(&table, &defaults, config, &cursor);
    if (row == NULL)
        return HF_OK;
    char option[ARGS_OPTION_SIZE];
    err_set(err, HF_RC_INVALID, "42601", "%s is for servers that the demo starts itself",
            args_option(row->key, option));
    return err_hint(err, "Leave it out, or leave the URL out.");
}

/* The argument is copied and then hidden, so that a password in it is in ps for a moment only. */
static int run_url(const struct demo_config *config, const char *argument, int argc, char **argv)
{
    struct hf_err err;
    if (!connstr_is_one(argument)) {
        err_set(&err, HF_RC_INVALID, "42601", "\"%.32s\" is no connection string", argument);
        err_hint(&err, "Write postgresql://USER@HOST:PORT/DATABASE, or nothing for servers of the "
                       "demo's own.");
        return report_usage(&err);
    }
    if (check_url_options(config, &err) != HF_OK)
        return report_usage(&err);
    char *url = strdup(argument);
    if (url == NULL) {
        err_set(&err, HF_RC_LIMIT, "53200", "out of memory");
        return report_failure(&err);
    }
    for (int i = 0; i < argc; i++) {
        if (argv[i] == argument)
            connstr_hide(argv[i]);
    }
    const int status = watch_url(url);
    explicit_bzero(url, strlen(url));
    free(url);
    return status;
}

static int run(const struct subcommand *self, int argc, char **argv)
{
    static struct demo demo; /* only main's thread uses it; too large for comfort on a stack */
    struct args args;
    struct hf_err err;
    if (args_parse(&args, self, &demo.config, argc, argv, &err) != HF_OK)
        return report_usage(&err);
    if (args.operand != NULL)
        return run_url(&demo.config, args.operand, argc, argv);
    return run_local(&demo);
}

const struct subcommand *cmd_demo(void)
{
    static const struct subcommand subcommand = {
        .name = "demo",
        .summary = "start a private PostgreSQL primary with two replicas, or watch a server that "
                   "you have",
        .operand = "URL",
        .operand_sentence = "A server that you have: a proxy is put in front of it, it is "
                            "watched, and no other is started.",
        .description =
            "Starts a PostgreSQL primary and two streaming replicas of its own, in a folder of "
            "their own, and prints how to connect and what to try. They listen on 127.0.0.1 only, "
            "never run as root, and end with the demo, whatever ends it. Ctrl-C stops what was "
            "started and nothing else; the next start goes on with the same data.\n\n"
            "Kill a server to see what happens: the demo says so and starts it again after a "
            "while, or at once when it gets SIGUSR1.\n\n"
            "With a URL it starts no server. It says what that server is and how safe its commits "
            "are, puts a proxy in front of it, at 127.0.0.1:6432 or the next free port, and then "
            "prints a line whenever it goes down, comes back or changes its role. "
            "Give the password by PGPASSWORD or ~/.pgpass rather than in the URL, which other "
            "users can see for a moment.",
        .options = OPT_TABLE(rows),
        .config_size = sizeof(struct demo_config),
        .examples =
            {
                {"holdfast demo", "Starts the servers, or goes on with those of last time."},
                {"holdfast demo --fresh --replicas 1", "Begins anew, with one replica."},
                {"holdfast demo 'postgresql://app@db1/shop'", "Watches a server of yours."},
            },
        .run = run,
    };
    return &subcommand;
}
