#include "cli/demo_watch.h"

#include <poll.h>
#include <unistd.h>

#include "base/ns.h"
#include "base/units.h"
#include "cli/demo_screen.h"
#include "os/clock.h"

#define RESTART_NS_MAX HF_SEC(60)

/* What is known of a server that does not run. */
struct outage {
    int64_t since_ns; /* 0: it runs */
    int64_t again_ns; /* when to start it */
    int64_t wait_ns;  /* what was waited last; doubles with each failure */
};

struct watch {
    struct demo_cluster *cluster;
    const struct demo_watch_config *config;
    struct outage outages[1 + DEMO_REPLICAS_MAX];
};

static bool wants_to_stop(const struct watch *watch)
{
    struct pollfd file = {.fd = watch->config->stop_fd, .events = POLLIN};
    return poll(&file, 1, 0) > 0;
}

static void schedule(const struct watch *watch, struct outage *outage, int64_t wait_ns)
{
    char text[UNITS_TEXT_MAX];
    outage->wait_ns = wait_ns;
    outage->again_ns = ns_add(clock_now(), wait_ns);
    if (watch->config->restart_ns == HF_NEVER)
        screen_more("it stays down; start it again with: kill -USR1 %d", (int)getpid());
    else
        screen_more("it starts again in %s; at once with: kill -USR1 %d",
                    units_print_duration(wait_ns, text), (int)getpid());
}

static void on_end(struct watch *watch, size_t index)
{
    const struct demo_server *server = &watch->cluster->servers[index];
    struct outage *outage = &watch->outages[index];
    char how[CHILD_TEXT_SIZE];
    screen_event("%s is down: process %d, %s", server->name, (int)server->child.pid,
                 child_describe(&server->child, how));
    screen_log(&watch->cluster->place, server, 3);
    if (index == 0 && demo_cluster_is_up(watch->cluster))
        screen_more("nothing can be written now; the replicas still answer reads");
    outage->since_ns = clock_now();
    schedule(watch, outage, watch->config->restart_ns);
}

static void start_again(struct watch *watch, size_t index)
{
    struct demo_server *server = &watch->cluster->servers[index];
    struct outage *outage = &watch->outages[index];
    struct hf_err err;
    if (demo_cluster_restart(watch->cluster, server, &err) == HF_OK) {
        screen_event("%s is back after %.1f s: port %d, process %d", server->name,
                     (double)(clock_now() - outage->since_ns) / 1e9, server->port,
                     (int)server->child.pid);
        *outage = (struct outage){0};
        return;
    }
    if (wants_to_stop(watch))
        return;
    screen_event("%s", err.message);
    screen_log(&watch->cluster->place, server, 3);
    /* A minute at most, but not less than was asked for. */
    schedule(watch, outage,
             ns_max(ns_min(outage->wait_ns * 2, RESTART_NS_MAX), watch->config->restart_ns));
}

/* When the next server is due; HF_NEVER if none is. */
static int64_t next_start(const struct watch *watch)
{
    int64_t next_ns = HF_NEVER;
    for (size_t i = 0; i < watch->cluster->count; i++) {
        if (watch->outages[i].since_ns != 0)
            next_ns = ns_min(next_ns, watch->outages[i].again_ns);
    }
    return next_ns;
}

static int poll_timeout(int64_t until_ns)
{
    if (until_ns == HF_NEVER)
        return -1;
    const int64_t left_ns = until_ns - clock_now();
    return left_ns <= 0 ? 0 : (int)ns_min(left_ns / HF_MS(1) + 1, 60000);
}

/* Sleeps until a server ends, one is due, or a signal comes. */
static void wait_for_something(const struct watch *watch)
{
    struct pollfd files[3 + DEMO_REPLICAS_MAX];
    const size_t count = watch->cluster->count;
    for (size_t i = 0; i < count; i++) /* one that is down has -1 here, which poll overlooks */
        files[i] = (struct pollfd){.fd = watch->cluster->servers[i].child.watch, .events = POLLIN};
    files[count] = (struct pollfd){.fd = watch->config->stop_fd, .events = POLLIN};
    files[count + 1] = (struct pollfd){.fd = watch->config->nudge->fd, .events = POLLIN};
    poll(files, count + 2, poll_timeout(next_start(watch)));
}

void demo_watch(struct demo_cluster *cluster, const struct demo_watch_config *config)
{
    struct watch watch = {.cluster = cluster, .config = config};
    while (!wants_to_stop(&watch)) {
        wait_for_something(&watch);
        bool is_nudged = false;
        while (signals_take(config->nudge) != 0)
            is_nudged = true;
        for (size_t i = 0; i < cluster->count && !wants_to_stop(&watch); i++) {
            struct outage *outage = &watch.outages[i];
            if (outage->since_ns == 0 && child_poll(&cluster->servers[i].child))
                on_end(&watch, i);
            else if (outage->since_ns != 0 && (is_nudged || clock_now() >= outage->again_ns))
                start_again(&watch, i);
        }
    }
}
