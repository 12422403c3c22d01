#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/proxy_serve.h"
#include "cli/report.h"
#include "cli/subcommand.h"
#include "config/connstr.h"

struct proxy_options {
    char config[PATH_MAX];
    enum log_form log_form;
    bool takeover;
};

static const char *const log_forms[] = {"text", "json", NULL};

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
    {.key = "takeover",
     .type = OPT_BOOL,
     OPT_FIELD(struct proxy_options, takeover),
     .default_text = "off",
     .since = "0.2",
     .sentence = "Takes the listening sockets over from the process that runs with the same "
                 "proxy.run_dir, which then accepts no more and ends with its last client; if none "
                 "runs, it starts as usual."},
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
        return err_hint(err, "holdfast proxy 'postgresql://HOST/DATABASE' does without a file; "
                             "holdfast config example > holdfast.yml writes one.");
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

static int run(const struct subcommand *self, int argc, char **argv)
{
    static struct mem mem;
    struct log log;
    struct log_config log_config = LOG_DEFAULTS;
    struct proxy_run run = {.mem = &mem, .log = &log, .program = program_invocation_name};
    struct proxy_options options;
    struct args args;
    struct hf_err err;
    if (args_parse(&args, self, &options, argc, argv, &err) != HF_OK)
        return report_usage(&err);
    mem_init(&mem, 0);
    log_config.form = options.log_form;
    log_init(&log, &log_config);
    int status = CLI_FAILED;
    run.takes_over = options.takeover;
    run.log_form = log_forms[options.log_form];
    if (choose(&run, &options, args.operand, argc, argv, &err) == HF_OK &&
        proxy_serve(&run, &err) == HF_OK)
        status = CLI_OK;
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
            "or SIGINT, ends at once. SIGHUP reloads the configuration. SIGUSR2 starts the "
            "program, as its file is now, to take over: nobody is refused meanwhile, and clients "
            "that are there stay until they go (proxy.run_dir, limits.leave_timeout).",
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
