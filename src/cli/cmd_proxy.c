#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/ns.h"
#include "cli/args.h"
#include "cli/report.h"
#include "cli/subcommand.h"
#include "cli/version.h"
#include "os/clock.h"
#include "os/signals.h"
#include "proxy/proxy.h"

struct proxy_options {
    char config[PATH_MAX];
};

static const struct opt_row rows[] = {
    {.key = "config",
     .type = OPT_STRING,
     OPT_FIELD(struct proxy_options, config),
     .default_text = "",
     .since = "0.2",
     .sentence = "The configuration file; `holdfast config example` prints one."},
};

static struct proxy_config *dev_config(struct mem *mem, const char *operand, struct hf_err *err)
{
    struct proxy_config *config = proxy_config_new(mem, 4, 4);
    struct proxy_database *database;
    struct proxy_role *role;
    struct proxy_fault fault;
    char mode = operand[0];
    if (proxy_config_add_database(config, SV("*"), &database, err) != HF_OK)
        return NULL;
    snprintf(database->hosts_text, sizeof database->hosts_text, "%s", operand + 1);
    database->pool.pool_mode = mode == 's' ? PROXY_POOL_SESSION : PROXY_POOL_TRANSACTION;
    config->proxy.auth_type = PROXY_AUTH_TRUST;
    (void)role;
    if (proxy_config_finish(config, &fault, err) != HF_OK) {
        printf("%s %s\n", fault.section, fault.key);
        return NULL;
    }
    return config;
}

static void wait_for_end(struct proxy *proxy, struct signals *signals)
{
    int64_t until_ns = HF_NEVER;
    while (!proxy_is_over(proxy)) {
        struct pollfd file = {.fd = signals->fd, .events = POLLIN};
        poll(&file, 1, 100);
        int number = signals_take(signals);
        if (number == SIGTERM && until_ns == HF_NEVER) {
            proxy_drain(proxy);
            until_ns = ns_add(clock_now(), proxy->config->limits.drain_timeout_ns);
        } else if (number == SIGINT || number == SIGTERM || clock_now() >= until_ns) {
            proxy_stop(proxy);
        }
    }
}

static int run(const struct subcommand *self, int argc, char **argv)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    static struct proxy proxy;
    static struct mem mem;
    struct log log;
    struct proxy_options options;
    struct args args;
    struct hf_err err;
    struct signals signals;
    if (args_parse(&args, self, &options, argc, argv, &err) != HF_OK)
        return report_usage(&err);
    mem_init(&mem, 0);
    const struct log_config log_config = LOG_DEFAULTS;
    log_init(&log, &log_config);
    struct proxy_config *config = dev_config(&mem, args.operand, &err);
    if (config == NULL || signals_open(&signals, numbers, 3, &err) != HF_OK)
        return report_failure(&err);
    if (proxy_start(&proxy, config, &mem, &log, &err) != HF_OK)
        return report_failure(&err);
    log_emit(&log, LOG_AT_INFO, "ready to accept connections",
             log_int("workers", proxy.worker_count));
    wait_for_end(&proxy, &signals);
    proxy_join(&proxy);
    proxy_config_free(config);
    mem_deinit(&mem);
    return CLI_OK;
}

const struct subcommand *cmd_proxy(void)
{
    static const struct subcommand subcommand = {
        .name = "proxy",
        .summary = "stand between clients and their PostgreSQL servers",
        .operand = "URL",
        .operand_sentence = "Servers.",
        .description = "Proxy.",
        .options = OPT_TABLE(rows),
        .config_size = sizeof(struct proxy_options),
        .run = run,
    };
    return &subcommand;
}
