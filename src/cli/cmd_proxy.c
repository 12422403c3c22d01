#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/ns.h"
#include "cli/args.h"
#include "cli/report.h"
#include "cli/subcommand.h"
#include "cli/version.h"
#include "config/config.h"
#include "config/config_diff.h"
#include "config/config_url.h"
#include "config/connstr.h"
#include "os/clock.h"
#include "os/signals.h"
#include "proxy/proxy.h"
#include "proxy/reload.h"
#include "proxy/sockets.h"

struct proxy_options {
    char config[PATH_MAX];
    enum log_form log_form;
};

static const char *const log_forms[] = {"text", "json", NULL};

/* What the configuration comes from, also again at a reload. */
struct proxy_run {
    struct mem *mem;
    struct log *log;
    const char *file;
    char *url; /* NULL: a file; else owned, and wiped */
};

static const struct opt_row rows[] = {
    {.key = "config",
     .type = OPT_STRING,
     OPT_FIELD(struct proxy_options, config),
     .default_text = "",
     .since = "0.2",
     .sentence = "The configuration file; `holdfast config example` prints one. Without it, and "
                 "without a connection string, holdfast.yml here or in /etc/holdfast."},
    {.key = "log_form",
     .type = OPT_ENUM,
     OPT_FIELD(struct proxy_options, log_form),
     .default_text = "text",
     .names = log_forms,
     .since = "0.2",
     .sentence = "How log lines are written to standard error: key=value, or JSON."},
};

struct serving {
    const struct proxy_run *run;
    struct proxy proxy;
    struct proxy_config *config; /* in force; owned */
};

/* The first of the places where a file is looked for. */
static const char *default_file(void)
{
    static const char *const places[] = {"holdfast.yml", "/etc/holdfast/holdfast.yml"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (access(places[i], R_OK) == 0)
            return places[i];
    }
    return NULL;
}

static enum hf_rc read_file(const char *path, struct mem *mem, struct proxy_config **config,
                            struct hf_err *err)
{
    static struct config_faults faults; /* too large for comfort on a stack */
    faults_init(&faults);
    if (config_read_file(config, path, mem, &faults) == HF_OK)
        return HF_OK;
    config_fault_as_err(&faults, path, err);
    return err_hint(err, "holdfast config check %s shows all that is wrong.", path);
}

/* From the file, or from a connection string with no file at all. */
static enum hf_rc read_config(const struct proxy_run *run, struct proxy_config **config,
                              struct hf_err *err)
{
    if (run->url != NULL)
        return config_from_url(config, run->url, run->mem, err);
    return read_file(run->file, run->mem, config, err);
}

/* Prints what changes, setting by setting. */
static void print_changes(struct log *log, const struct proxy_config *before,
                          const struct proxy_config *after)
{
    struct config_diff diff;
    struct config_change change;
    config_diff_begin(&diff, before, after);
    while (config_diff_next(&diff, &change))
        log_emit(log, LOG_AT_INFO,
                 change.needs_restart ? "setting changes at the next restart" : "setting changes",
                 log_text("key", change.key), log_text("before", change.before),
                 log_text("after", change.after));
}

/* SIGHUP. What is wrong with the new configuration is said, and the old one stays in force. */
static void reload(struct serving *serving)
{
    const struct proxy_run *run = serving->run;
    struct proxy_config *config = NULL;
    struct hf_err err;
    enum hf_rc rc = read_config(run, &config, &err);
    if (rc == HF_OK) {
        print_changes(run->log, serving->config, config);
        proxy_config_keep(config, serving->config);
        rc = reload_begin(&serving->proxy, config, &err);
    }
    if (rc != HF_OK) {
        log_emit(run->log, LOG_AT_ERROR, "the configuration is not reloaded",
                 log_text("reason", err.message), log_text("detail", err.detail),
                 log_text("hint", err.hint));
        proxy_config_free(config);
        return;
    }
    while (!reload_is_done(&serving->proxy))
        clock_sleep_until(clock_now() + HF_MS(1));
    proxy_config_free(serving->config);
    serving->config = config;
    log_emit(run->log, LOG_AT_INFO, "configuration reloaded");
}

static void wait_for_end(struct serving *serving, struct signals *signals)
{
    struct proxy *proxy = &serving->proxy;
    int64_t until_ns = HF_NEVER;
    while (!proxy_is_over(proxy)) {
        struct pollfd file = {.fd = signals->fd, .events = POLLIN};
        poll(&file, 1, until_ns == HF_NEVER ? 200 : 50);
        int number = signals_take(signals);
        uint32_t wish = atomic_exchange(&proxy->wish, PROXY_WISH_NONE);
        if (wish != PROXY_WISH_NONE)
            number = wish == PROXY_WISH_RELOAD ? SIGHUP : SIGTERM;
        if (number == SIGHUP && until_ns == HF_NEVER) {
            reload(serving);
        } else if (number == SIGTERM && until_ns == HF_NEVER) {
            log_emit(serving->run->log, LOG_AT_INFO, "draining: clients finish what they do",
                     log_duration("limit", serving->config->limits.drain_timeout_ns));
            proxy_drain(proxy);
            until_ns = ns_add(clock_now(), serving->config->limits.drain_timeout_ns);
        } else if (number == SIGINT || number == SIGTERM || clock_now() >= until_ns) {
            proxy_stop(proxy);
            until_ns = HF_NEVER - 1;
        }
    }
}

/* What the arguments say. The string is copied and then hidden, so that a password in it is in the
 * list of processes for a moment only. */
static enum hf_rc choose(struct proxy_run *run, const struct proxy_options *options,
                         const char *operand, int argc, char **argv, struct hf_err *err)
{
    if (operand != NULL && options->config[0] != '\0') {
        err_set(err, HF_RC_INVALID, "42601", "a connection string and --config exclude each other");
        return err_hint(err, "A configuration file says where the servers are by itself.");
    }
    run->file = options->config[0] != '\0' ? options->config : default_file();
    if (operand == NULL && run->file == NULL) {
        err_set(err, HF_RC_MISSING, "58P01", "no configuration: where are the servers?");
        return err_hint(err,
                        "%s proxy 'postgresql://HOST/DATABASE' does without a file; "
                        "holdfast config example > holdfast.yml writes one.",
                        report_called_as());
    }
    if (operand == NULL)
        return HF_OK;
    run->url = mem_copy_text(run->mem, operand);
    for (int i = 0; i < argc; i++) {
        if (argv[i] == operand)
            connstr_hide(argv[i]);
    }
    return run->url != NULL ? HF_OK : mem_refused(run->mem, strlen(operand), err);
}

static int serve(struct proxy_run *run)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    static struct serving serving; /* workers point into it */
    static struct sockets sockets;
    struct hf_err err;
    struct signals signals;
    signal(SIGHUP, SIG_DFL); /* means a reload here: nohup, which ignores it, would forbid that */
    if (signals_open(&signals, numbers, 3, &err) != HF_OK)
        return report_failure(&err);
    serving.run = run;
    enum hf_rc rc = read_config(run, &serving.config, &err);
    const struct proxy_given given = {.mem = run->mem,
                                      .log = run->log,
                                      .version = version_number(),
                                      .sockets = &sockets,
                                      .before_fd = -1};
    if (rc == HF_OK)
        rc = proxy_start(&serving.proxy, serving.config, &given, &err);
    if (rc == HF_OK) {
        log_emit(run->log, LOG_AT_INFO, "ready to accept connections",
                 log_text("version", version_number()),
                 log_int("workers", serving.proxy.worker_count),
                 log_int("port", serving.config->proxy.port));
        wait_for_end(&serving, &signals);
        proxy_join(&serving.proxy);
        log_emit(run->log, LOG_AT_INFO, "shut down");
    }
    proxy_config_free(serving.config);
    serving.run = NULL;
    signals_close(&signals);
    return rc == HF_OK ? CLI_OK : report_failure(&err);
}

static int run(const struct subcommand *self, int argc, char **argv)
{
    static struct mem mem;
    struct log log;
    struct log_config log_config = LOG_DEFAULTS;
    struct proxy_run run = {.mem = &mem, .log = &log};
    struct proxy_options options;
    struct args args;
    struct hf_err err;
    if (args_parse(&args, self, &options, argc, argv, &err) != HF_OK)
        return report_usage(&err);
    mem_init(&mem, 0);
    log_config.form = options.log_form;
    log_init(&log, &log_config);
    int status = CLI_FAILED;
    if (choose(&run, &options, args.operand, argc, argv, &err) == HF_OK)
        status = serve(&run);
    else
        report_failure(&err);
    if (run.url != NULL)
        explicit_bzero(run.url, strlen(run.url));
    mem_free(&mem, run.url);
    log_deinit(&log);
    mem_deinit(&mem);
    return status;
}

const struct subcommand *cmd_proxy(void)
{
    static const struct subcommand subcommand = {
        .name = "proxy",
        .summary = "stand between clients and their PostgreSQL servers",
        .operand = "URL",
        .operand_sentence = "Servers as libpq writes them, with any setting of the sections proxy "
                            "and pools among the parameters: no file is needed then.",
        .description =
            "Pools connections: many clients share few connections to servers, in session, "
            "transaction or statement mode, over all cores. Clients change host and port, and "
            "nothing else.\n\n"
            "With a connection string alone it listens on 127.0.0.1:6432. With a password in it "
            "(or in PGPASSWORD or ~/.pgpass) clients log in as that user with that password; "
            "without one only this machine's clients are let in, as the server would do.\n\n"
            "SIGTERM lets clients finish what they do, up to limits.drain_timeout; a second one, "
            "or SIGINT, ends at once.",
        .options = OPT_TABLE(rows),
        .config_size = sizeof(struct proxy_options),
        .examples =
            {
                {"holdfast proxy 'postgresql://app@db1,db2/shop'", "Uses the first of two "
                                                                   "servers that works."},
                {"holdfast proxy --config /etc/holdfast/holdfast.yml", "Does what the file says."},
            },
        .run = run,
    };
    return &subcommand;
}
