/*
 * What people see of the demo: steps while it starts, one block when it is ready, a line when
 * something happens. All of it goes to stdout, line by line, and is as good in a file as on a
 * terminal.
 */
#ifndef HF_CLI_DEMO_SCREEN_H
#define HF_CLI_DEMO_SCREEN_H

#include "cli/demo_cluster.h"

/* A step that takes time: "  primary   making its data folder ... 1.6 s". Begin, then one of the
 * others; time is counted in between. */
struct screen_step {
    int64_t begun_ns;
};
struct screen_step screen_step_begin(const char *who, const char *what);
void screen_step_end(const struct screen_step *step);
void screen_step_fail(const struct screen_step *step);
void screen_step_force(const struct screen_step *step); /* done, but not the gentle way */

/* "11:20:31  text": something happened just now. */
void screen_event(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A line under an event. */
void screen_more(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The last lines of a server's log since its start, indented; nothing if there are none. */
void screen_log(const struct demo_place *place, const struct demo_server *server, size_t lines);

/* What runs where, how to connect, what to try, how to stop. */
void screen_ready(const struct demo_cluster *cluster, int64_t restart_ns, int64_t took_ns);

#endif
