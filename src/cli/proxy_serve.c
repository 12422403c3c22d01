#include "cli/proxy_serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ns.h"
#include "cli/version.h"
#include "config/config.h"
#include "config/config_diff.h"
#include "config/config_url.h"
#include "os/clock.h"
#include "os/notify.h"
#include "os/signals.h"
#include "os/sys.h"
#include "proxy/proxy.h"
#include "proxy/reload.h"
#include "proxy/sockets.h"
#include "proxy/takeover.h"
#include "proxy/worker.h"

/* A worker turns at least once a second; one that has not for so long hangs. */
#define TURN_NS HF_SEC(3)

#define LOOK_MS     200 /* how often the main thread looks around when nothing happens */
#define LOOK_END_MS 50  /* the same, on the way to the end */

struct serving {
    const struct proxy_run *run;
    struct proxy proxy;
    struct sockets sockets;
    struct proxy_config *config; /* in force; owned */
    struct notify notify;
    struct takeover takeover;
    struct signals signals;
    int64_t until_ns;       /* how long what it is doing on its way to the end may take */
    int64_t watched_ns;     /* when systemd's watchdog was fed */
    bool is_stuck;          /* a worker is, and that was said */
    bool ends_with_servers; /* SHUTDOWN WAIT_FOR_SERVERS was said */
    pid_t successor;        /* started by us; 0: none */
};

/* ---- the configuration ---- */

static enum hf_rc read_file(const char *path, struct mem *mem, struct proxy_config **config,
                            struct hf_err *err)
{
    static struct config_faults faults; /* too large for comfort on a stack */
    faults_init(&faults);
    if (config_read_file(config, path, mem, &faults) == HF_OK)
        return HF_OK;
    config_fault_as_err(&faults, path, err);
    if (faults.total > 1) /* the advice for the first would be the one for all */
        err_hint(err, "holdfast config check %s shows all that is wrong.", path);
    return err->rc;
}

/* From the file, or from a connection string with no file at all. */
static enum hf_rc read_config(const struct proxy_run *run, struct proxy_config **config,
                              struct hf_err *err)
{
    if (run->url != NULL)
        return config_from_url(config, run->url, run->mem, err);
    return read_file(run->file, run->mem, config, err);
}

/* Prints what changes, setting by setting: each of them, however many they are. */
static void print_changes(struct log *log, const struct proxy_config *before,
                          const struct proxy_config *after)
{
    struct config_diff diff;
    struct config_change change;
    config_diff_begin(&diff, before, after);
    while (config_diff_next(&diff, &change))
        log_emit_each(log, LOG_AT_INFO,
                      change.needs_restart ? "setting changes at the next restart"
                                           : "setting changes",
                      log_text("key", change.key), log_text("before", change.before),
                      log_text("after", change.after));
}

static void log_failure(const struct serving *serving, const char *what, const struct hf_err *err)
{
    log_emit(serving->run->log, LOG_AT_ERROR, what, log_text("reason", err->message),
             log_text("detail", err->detail), log_text("hint", err->hint));
}

static void say_reloading(const struct serving *serving)
{
    char text[64];
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)(clock_now() / 1000));
    notify_say(&serving->notify, text);
}

/* SIGHUP, and RELOAD and SET on the console. What is wrong with the new configuration is said, and
 * the old one stays in force. `config`: the new one, whose owner this is now; NULL: it is read. */
static void reload(struct serving *serving, struct proxy_config *config, struct hf_err *err)
{
    const struct proxy_run *run = serving->run;
    say_reloading(serving);
    enum hf_rc rc = config == NULL ? read_config(run, &config, err) : HF_OK;
    if (rc == HF_OK) {
        print_changes(run->log, serving->config, config);
        proxy_config_keep(config, serving->config);
        rc = reload_begin(&serving->proxy, config, err);
    }
    if (rc == HF_OK) {
        while (!reload_is_done(&serving->proxy))
            clock_sleep_until(clock_now() + HF_MS(1));
        proxy_config_free(serving->config);
        serving->config = config;
        err_clear(err);
        log_emit(run->log, LOG_AT_INFO, "configuration reloaded");
    } else {
        log_failure(serving, "the configuration is not reloaded", err);
        proxy_config_free(config);
    }
    notify_say(&serving->notify, "READY=1");
}

/* ---- the end ---- */

static bool is_running(struct serving *serving)
{
    return atomic_load(&serving->proxy.state) == PROXY_RUNNING;
}

static void drain(struct serving *serving)
{
    int64_t limit_ns = serving->config->limits.drain_timeout_ns;
    if (serving->takeover.state != TAKEOVER_YIELDED) {
        takeover_close(&serving->takeover); /* there is nothing to take over any more */
        notify_say(&serving->notify, "STOPPING=1\nSTATUS=draining: clients finish what they do");
    }
    log_emit(serving->run->log, LOG_AT_INFO, "draining: clients finish what they do",
             log_duration("limit", limit_ns));
    proxy_drain(&serving->proxy);
    serving->until_ns = ns_add(clock_now(), limit_ns);
}

static void stop(struct serving *serving)
{
    if (serving->takeover.state != TAKEOVER_YIELDED)
        notify_say(&serving->notify, "STOPPING=1\nSTATUS=stopping");
    proxy_stop(&serving->proxy);
    serving->until_ns = HF_NEVER;
}

/* No new clients; those that are there may stay for so long. */
static void leave(struct serving *serving, int64_t limit_ns)
{
    proxy_leave(&serving->proxy);
    serving->until_ns = ns_add(clock_now(), limit_ns);
    log_emit(serving->run->log, LOG_AT_INFO, "leaving: clients stay until they go",
             log_int("clients", atomic_load(&serving->proxy.client_count)),
             log_duration("limit", limit_ns));
}

/* What it was doing has taken long enough. */
static void give_up_waiting(struct serving *serving)
{
    if (atomic_load(&serving->proxy.state) == PROXY_LEAVING)
        drain(serving);
    else
        stop(serving);
}

/* ---- a successor ---- */

/* SIGUSR2: our own program once more, as it is in its file now. It is no child that we look after:
 * it goes on when we are gone. */
static void start_successor(struct serving *serving)
{
    const struct proxy_run *run = serving->run;
    char *argv[10];
    int count = 0;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    if (serving->config->proxy.run_dir[0] == '\0' || serving->successor != 0) {
        log_emit(run->log, LOG_AT_ERROR, "no new process is started to take over",
                 log_text("reason", serving->successor != 0 ? "one is being started already"
                                                            : "proxy.run_dir is not set"));
        return;
    }
    const char *const words[] = {run->program, "proxy", "--takeover", "--log-form", run->log_form};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        argv[count++] = (char *)(uintptr_t)words[i]; /* for the sake of old programs */
    if (run->url == NULL)
        argv[count++] = (char *)(uintptr_t) "--config";
    argv[count++] = run->url != NULL ? run->url : (char *)(uintptr_t)run->file;
    argv[count] = NULL;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int error = posix_spawnp(&serving->successor, run->program, NULL, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    if (error != 0) {
        struct hf_err err;
        serving->successor = 0;
        sys_fail(&err, error, "could not start \"%s\"", run->program);
        log_failure(serving, "no new process is started to take over", &err);
        return;
    }
    log_emit(run->log, LOG_AT_INFO, "a new process was started to take over",
             log_int("pid", serving->successor));
}

/* It has ended: before it took over, or even after that. */
static void bury_successor(struct serving *serving)
{
    int status = 0;
    if (serving->successor == 0 || waitpid(serving->successor, &status, WNOHANG) <= 0)
        return;
    log_emit(serving->run->log, LOG_AT_ERROR, "the new process has ended",
             log_int("pid", serving->successor),
             log_int("status", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status)));
    serving->successor = 0;
}

/* It accepts. systemd hears of it first, as it would take our end for the end of the service. */
static void yield(struct serving *serving)
{
    char text[96];
    snprintf(text, sizeof text, "MAINPID=%u\nSTATUS=handed over to process %u",
             serving->takeover.heir_pid, serving->takeover.heir_pid);
    notify_say(&serving->notify, text);
    takeover_yield(&serving->takeover);
    leave(serving, serving->config->limits.leave_timeout_ns);
}

/* ---- systemd ---- */

/* A worker that hangs hangs for all of its clients: better a restart than that. */
static bool is_alive(struct serving *serving)
{
    int64_t now_ns = clock_now();
    for (uint32_t i = 0; i < serving->proxy.worker_count; i++) {
        struct worker *worker = &serving->proxy.workers[i];
        int64_t turned_ns = atomic_load_explicit(&worker->turned_ns, memory_order_relaxed);
        if (now_ns - turned_ns < ns_max(serving->notify.watchdog_ns / 2, TURN_NS))
            continue;
        if (!serving->is_stuck)
            log_emit(serving->run->log, LOG_AT_ERROR, "a worker hangs; the watchdog is not fed",
                     log_int("worker", i), log_duration("since", now_ns - turned_ns));
        serving->is_stuck = true;
        return false;
    }
    serving->is_stuck = false;
    return true;
}

static void feed_watchdog(struct serving *serving)
{
    int64_t now_ns = clock_now();
    if (serving->notify.watchdog_ns == HF_NEVER ||
        now_ns - serving->watched_ns < serving->notify.watchdog_ns / 4)
        return;
    serving->watched_ns = now_ns;
    if (is_alive(serving))
        notify_say(&serving->notify, "WATCHDOG=1");
}

/* ---- the middle ---- */

static enum proxy_wish wish_of(int number)
{
    switch (number) {
    case SIGHUP:
        return PROXY_WISH_RELOAD;
    case SIGTERM:
        return PROXY_WISH_SHUTDOWN;
    case SIGUSR2:
        return PROXY_WISH_UPGRADE;
    case SIGINT:
        return PROXY_WISH_STOP;
    default:
        return PROXY_WISH_NONE;
    }
}

/* What the console has asked for, and waits for the answer of. */
static void obey(struct serving *serving)
{
    struct proxy_config *config = NULL;
    struct hf_err err;
    if (order_take(&serving->proxy, &config) == ORDER_NONE)
        return;
    if (atomic_load(&serving->proxy.state) <= PROXY_LEAVING) {
        reload(serving, config, &err);
    } else {
        proxy_config_free(config);
        err_set(&err, HF_RC_AGAIN, "57P01", "the proxy shuts down");
    }
    order_done(&serving->proxy, &err);
}

static void carry_out(struct serving *serving, enum proxy_wish wish)
{
    struct hf_err err;
    switch (wish) {
    case PROXY_WISH_RELOAD:
        if (atomic_load(&serving->proxy.state) <= PROXY_LEAVING)
            reload(serving, NULL, &err);
        break;
    case PROXY_WISH_END_WITH_SERVERS:
        serving->ends_with_servers = true;
        takeover_close(&serving->takeover);
        if (is_running(serving))
            leave(serving, HF_NEVER);
        break;
    case PROXY_WISH_SHUTDOWN:
        if (atomic_load(&serving->proxy.state) <= PROXY_LEAVING)
            drain(serving);
        else
            stop(serving);
        break;
    case PROXY_WISH_LEAVE:
        if (is_running(serving)) {
            takeover_close(&serving->takeover);
            leave(serving, HF_NEVER);
        }
        break;
    case PROXY_WISH_UPGRADE:
        if (is_running(serving))
            start_successor(serving);
        break;
    case PROXY_WISH_STOP:
        stop(serving);
        break;
    case PROXY_WISH_NONE:
    default:
        break;
    }
}

static void look_around(struct serving *serving)
{
    struct pollfd files[2 + TAKEOVER_FILES];
    int wait_ms = is_running(serving) ? LOOK_MS : LOOK_END_MS;
    files[0] = (struct pollfd){.fd = serving->signals.fd, .events = POLLIN};
    files[1] = (struct pollfd){.fd = serving->proxy.order.fd, .events = POLLIN};
    takeover_files(&serving->takeover, &files[2]);
    if (serving->notify.watchdog_ns != HF_NEVER)
        wait_ms = (int)ns_min(wait_ms, serving->notify.watchdog_ns / 8 / HF_MS(1) + 1);
    poll(files, 2 + TAKEOVER_FILES, wait_ms);
}

static void wait_for_end(struct serving *serving)
{
    struct proxy *proxy = &serving->proxy;
    serving->until_ns = HF_NEVER;
    while (!proxy_is_over(proxy)) {
        look_around(serving);
        carry_out(serving, wish_of(signals_take(&serving->signals)));
        carry_out(serving, (enum proxy_wish)atomic_exchange(&proxy->wish, PROXY_WISH_NONE));
        obey(serving);
        if (serving->ends_with_servers && atomic_load(&proxy->server_count) == 0)
            stop(serving);
        if (takeover_step(&serving->takeover) && is_running(serving))
            yield(serving);
        bury_successor(serving);
        feed_watchdog(serving);
        if (clock_now() >= serving->until_ns)
            give_up_waiting(serving);
    }
}

/* ---- the beginning ---- */

/* Sockets that listen already: of the process that we take over from, or else of systemd. */
static enum hf_rc inherit(struct serving *serving, int *before_fd, struct hf_err *err)
{
    const struct proxy_run *run = serving->run;
    const char *run_dir = serving->config->proxy.run_dir;
    enum hf_rc rc = HF_RC_MISSING;
    *before_fd = -1;
    if (run->takes_over && run_dir[0] == '\0') {
        err_set(err, HF_RC_INVALID, "22023", "--takeover needs a place to find the other process");
        return err_hint(err, "Set proxy.run_dir in its configuration and in this one.");
    }
    if (run->takes_over)
        rc = takeover_ask(run_dir, &serving->sockets, before_fd, err);
    if (run->takes_over && rc == HF_RC_MISSING)
        log_emit(run->log, LOG_AT_INFO, "there is nobody to take over from",
                 log_text("run_dir", run_dir));
    if (rc != HF_OK && rc != HF_RC_MISSING)
        return rc;
    bool is_needed = rc == HF_RC_MISSING;
    rc = HF_OK;
    for (uint32_t i = 0; rc == HF_OK && i < serving->notify.sockets; i++) {
        if (is_needed)
            rc = sockets_inherit(&serving->sockets, NOTIFY_FIRST_FD + (int)i, true, err);
        else
            close(NOTIFY_FIRST_FD + (int)i);
    }
    return rc;
}

/* It listens: whoever waits for that is told, the process before us first. */
static void announce(struct serving *serving, bool has_before)
{
    struct log *log = serving->run->log;
    struct hf_err err;
    if (has_before && takeover_ready(&serving->proxy, &err) != HF_OK)
        log_emit(log, LOG_AT_WARNING, "the process before this one was not told",
                 log_text("reason", err.message));
    log_emit(log, LOG_AT_INFO, "ready to accept connections", log_text("version", version_number()),
             log_int("workers", serving->proxy.worker_count),
             log_int("port", serving->config->proxy.port),
             log_int("taken_over", serving->sockets.inherited));
    notify_say(&serving->notify, "READY=1\nSTATUS=accepting connections");
}

static enum hf_rc serve(struct serving *serving, struct hf_err *err)
{
    const struct proxy_run *run = serving->run;
    int before_fd = -1;
    enum hf_rc rc = inherit(serving, &before_fd, err);
    struct proxy_given given = {.mem = run->mem,
                                .log = run->log,
                                .version = version_number(),
                                .sockets = &serving->sockets,
                                .before_fd = before_fd};
    if (rc != HF_OK) {
        sockets_close(&serving->sockets);
        return rc;
    }
    rc = proxy_start(&serving->proxy, serving->config, &given, err);
    if (rc != HF_OK)
        return rc;
    rc = takeover_open(&serving->takeover, &serving->proxy, serving->config->proxy.run_dir,
                       before_fd >= 0, err);
    if (rc == HF_OK)
        announce(serving, before_fd >= 0);
    else
        proxy_stop(&serving->proxy);
    if (rc == HF_OK)
        wait_for_end(serving);
    takeover_close(&serving->takeover);
    proxy_join(&serving->proxy);
    if (rc == HF_OK)
        log_emit(run->log, LOG_AT_INFO, "shut down");
    return rc;
}

enum hf_rc proxy_serve(const struct proxy_run *run, struct hf_err *err)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR2};
    static struct serving serving; /* workers point into it */
    signal(SIGHUP, SIG_DFL); /* means a reload here: nohup, which ignores it, would forbid that */
    serving.run = run;
    enum hf_rc rc = notify_init(&serving.notify, err);
    if (rc == HF_OK)
        rc = signals_open(&serving.signals, numbers, sizeof numbers / sizeof numbers[0], err);
    if (rc != HF_OK)
        return rc;
    rc = read_config(run, &serving.config, err);
    if (rc == HF_OK)
        rc = serve(&serving, err);
    proxy_config_free(serving.config);
    signals_close(&serving.signals);
    return rc;
}
