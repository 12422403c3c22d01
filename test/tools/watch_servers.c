/*
 * Watches servers for the integration tests and tells what it sees, one JSON object a line:
 *
 *     watch_servers [--patroni URL] [--follow] [--expand] [--free-at-once] CONNINFO
 *
 *     {"at": NS, "news": "...", "kind": N, "endpoint": "..."}           a piece of news
 *     {"at": NS, "view": EPOCH, "writer": "...", "level": "...", "endpoints": [...]}
 *                                                                       a snapshot that differs
 * `at` is the monotonic clock, which is Python's time.monotonic_ns() as well. Commands by standard
 * input: "tell ENDPOINT EVIDENCE", "drain ENDPOINT 0|1", "view" (prints one whether it differs or
 * not), "fork" (a child looks at the watcher, lets it go, and says how it went), "stop" (ends; the
 * last line tells how long stopping took).
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ns.h"
#include "os/clock.h"
#include "pg/watcher.h"

struct tool {
    struct mem mem;
    struct watcher *watcher;
    struct watcher_ear ear;
    uint64_t seen, cursor;
    struct snapshot view;
    char last[8192];
};

static const char *name_of(const struct snapshot *view, uint32_t endpoint)
{
    return endpoint < view->count ? view->endpoints[endpoint].name : "";
}

/* What of a snapshot is worth a line; the lag and positions alone are not. */
static void describe(const struct snapshot *view, bool with_figures, char *out, size_t size)
{
    size_t used = (size_t)snprintf(
        out, size,
        "\"primary\": \"%s\", \"writer\": \"%s\", \"timeline\": %u, \"rivals\": %s, "
        "\"level\": \"%s\", \"endpoints\": [",
        name_of(view, view->primary), name_of(view, view->writer), view->timeline,
        view->has_rivals ? "true" : "false", degrade_level_name((enum degrade_level)view->level));
    for (uint32_t i = 0; i < view->count && used < size; i++) {
        const struct snapshot_endpoint *e = &view->endpoints[i];
        used += (size_t)snprintf(
            out + used, size - used,
            "%s{\"name\": \"%s\", \"role\": \"%s\", \"health\": \"%s\", \"reads\": %s, "
            "\"writes\": %s, \"drained\": %s, \"timeline\": %u, \"generation\": %" PRIu64,
            i > 0 ? ", " : "", e->name, endpoint_role_name(e->role),
            endpoint_health_name(e->health), e->accepts_reads ? "true" : "false",
            e->accepts_writes ? "true" : "false", e->is_drained ? "true" : "false", e->timeline,
            e->role_generation);
        if (used < size && with_figures)
            used += (size_t)snprintf(out + used, size - used,
                                     ", \"lag\": %" PRId64 ", \"replayed\": %" PRIu64
                                     ", \"sampled_at\": %" PRId64,
                                     e->lag_ns, e->replayed_lsn, e->sampled_at_ns);
        if (used < size)
            used += (size_t)snprintf(out + used, size - used, "}");
    }
    if (used < size)
        snprintf(out + used, size - used, "]");
}

static void print_view(const struct snapshot *view)
{
    char text[8192];
    describe(view, true, text, sizeof text);
    printf("{\"at\": %" PRId64 ", \"made_at\": %" PRId64 ", \"view\": %" PRIu64 ", %s}\n",
           clock_now(), view->made_at_ns, view->epoch, text);
    fflush(stdout);
}

static void look(struct tool *tool)
{
    struct watcher_news news;
    char text[sizeof tool->last];
    watcher_listen(&tool->ear);
    if (watcher_refresh(tool->watcher, &tool->seen, &tool->view)) {
        describe(&tool->view, false, text, sizeof text);
        if (strcmp(text, tool->last) != 0)
            print_view(&tool->view);
        memcpy(tool->last, text, sizeof text);
    }
    while (watcher_news(tool->watcher, &tool->cursor, &news, NULL)) {
        printf("{\"at\": %" PRId64 ", \"news\": \"%s\", \"kind\": %d, \"endpoint\": \"%s\"}\n",
               news.what.at_ns, news.text, (int)news.what.kind, news.name);
        fflush(stdout);
    }
}

/* In the child nothing moves any more, and letting go must not disturb the parent's sessions. */
static void try_fork(struct tool *tool)
{
    const pid_t child = fork();
    if (child == 0) {
        uint64_t seen = tool->seen;
        const bool is_well = !watcher_is_alive(tool->watcher) &&
                             !watcher_wait(tool->watcher, seen, clock_now() + HF_SEC(5)) &&
                             tool->view.count > 0;
        watcher_ear_close(tool->watcher, &tool->ear);
        watcher_free(tool->watcher);
        _exit(is_well ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    printf("{\"at\": %" PRId64 ", \"fork\": %d}\n", clock_now(), status);
    fflush(stdout);
}

/* False to end. */
static bool obey(struct tool *tool, const char *line)
{
    char *rest = NULL;
    const size_t word = strcspn(line, " \n");
    const uint32_t endpoint = (uint32_t)strtoul(line + word, &rest, 10);
    const int number = (int)strtol(rest, NULL, 10);
    if (strncmp(line, "stop", 4) == 0)
        return false;
    if (strncmp(line, "fork", 4) == 0)
        try_fork(tool);
    else if (strncmp(line, "view", 4) == 0)
        print_view(&tool->view);
    else if (strncmp(line, "tell", 4) == 0)
        watcher_tell(tool->watcher, endpoint, (enum outcome_endpoint)number);
    else if (strncmp(line, "drain", 5) == 0)
        watcher_drain(tool->watcher, endpoint, number != 0);
    return true;
}

static void serve(struct tool *tool)
{
    char line[256];
    for (;;) {
        look(tool);
        struct pollfd files[2] = {{.fd = tool->ear.fd, .events = POLLIN},
                                  {.fd = 0, .events = POLLIN}};
        poll(files, 2, 1000);
        if (files[1].revents == 0)
            continue;
        const ssize_t got = read(0, line, sizeof line - 1);
        if (got <= 0)
            return;
        line[got] = '\0';
        if (!obey(tool, line))
            return;
    }
}

int main(int argc, char **argv)
{
    static struct tool tool;
    struct watcher_config config = {.conninfo = argv[argc - 1]};
    struct hf_err err;
    bool is_impatient = false;
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--patroni") == 0)
            config.patroni_url = argv[++i];
        else if (strcmp(argv[i], "--follow") == 0)
            config.follow_replicas = true;
        else if (strcmp(argv[i], "--expand") == 0)
            config.expand_names = true;
        else if (strcmp(argv[i], "--free-at-once") == 0)
            is_impatient = true;
    }
    mem_init(&tool.mem, 0);
    if (watcher_new(&tool.watcher, &config, &tool.mem, &err) != HF_OK ||
        watcher_ear_open(tool.watcher, &tool.ear, &err) != HF_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    if (!is_impatient)
        serve(&tool);
    const int64_t began_ns = clock_now();
    watcher_ear_close(tool.watcher, &tool.ear);
    watcher_free(tool.watcher);
    printf("{\"at\": %" PRId64 ", \"stopped_in\": %" PRId64 "}\n", clock_now(),
           clock_now() - began_ns);
    mem_deinit(&tool.mem);
    return 0;
}
