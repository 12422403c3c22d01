/*
 * The log: a sink that is passed to whoever has something to say. There is no global one.
 *
 *     log_emit(log, LOG_AT_WARNING, "server does not answer", log_text("endpoint", name),
 *              log_duration("after", waited_ns), log_secret("password", &password));
 *
 * The message is fixed text that can be searched for; what varies goes into fields, which
 * os/log_line.h describes together with the two forms of a line.
 *
 * Invariants
 *   1. One event is one line, written with one write(): lines of several processes that share a
 *      file do not mix.
 *   2. A place in the code logs at most `burst` lines in `interval`; the rest are counted, and the
 *      next line that the place is allowed says how many in its field `suppressed`. log_flush()
 *      tells of those that never came to a next line.
 *   3. Logging cannot fail, waits for nothing but the write, and allocates nothing. A line that
 *      could not be written whole is counted in stats.lost.
 *
 * For tests there is a capturing sink. Each line that it gets must be taken by log_take(); one that
 * is not makes log_deinit() print it and abort: an unexpected line fails the test.
 *
 * Any thread may log; init and deinit belong to one. LOG_SITES places are rate limited at a time: a
 * new one takes the room of the one that has been quiet longest, and tells what that one had still
 * to tell.
 */
#ifndef HF_OS_LOG_H
#define HF_OS_LOG_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ns.h"
#include "os/log_line.h"

#define LOG_SITES 64

struct log_config {
    int fd; /* borrowed; -1: lines are formed and thrown away */
    enum log_form form;
    enum log_level level; /* events below it cost one comparison */
    uint32_t burst;       /* lines for each place in each interval; 0: no limit */
    int64_t interval_ns;
    int64_t (*now)(void); /* NULL: clock_now; or a test's own clock */
};

/* To stderr, key=value, from INFO up, 5 lines a second for each place. */
#define LOG_DEFAULTS                                                                               \
    {                                                                                              \
        .fd = 2, .form = LOG_KEY_VALUE, .level = LOG_AT_INFO, .burst = 5, .interval_ns = HF_SEC(1) \
    }

struct log_stats {
    uint64_t written;
    uint64_t suppressed;
    uint64_t lost; /* write() failed or took only a part, or a capture had no room */
};

/* What is known of one place in the code. */
struct log_site {
    const char *file; /* static; NULL: free */
    int line;
    enum log_level level;
    const char *message; /* static */
    int64_t begun_ns;    /* of the running interval */
    uint32_t count;      /* lines allowed in it */
    uint64_t suppressed; /* and not yet told of */
};

struct log {
    struct log_config config;
    struct log_stats stats;
    char *capture; /* lines one after another, each ended by NUL; the test's memory, or NULL */
    size_t capture_size;
    size_t capture_used;
    pthread_mutex_t lock; /* over stats, capture and sites */
    struct log_site sites[LOG_SITES];
};

void log_init(struct log *log, const struct log_config *config);

/* A sink that keeps its lines in `room` until log_take(); the config's fd is not used. */
void log_init_capture(struct log *log, const struct log_config *config, char *room, size_t size);

/* Tells what is still suppressed. A capturing sink aborts if a line was not taken or had no room.
 */
void log_deinit(struct log *log);

/* One event: log_emit(log, level, "message", field, field ...). The message is a literal. */
#define log_emit(log, level, ...)                                                                  \
    (log_wants(log, level)                                                                         \
         ? log_emit_at(log, level, __FILE__, __LINE__, LOG_FIRST_(__VA_ARGS__, LOG_END_),          \
                       (const struct log_field[]){LOG_REST_(__VA_ARGS__, LOG_END_)})               \
         : (void)0)
/* The same of which every line is wanted: it is not limited in number. */
#define log_emit_each(log, level, ...)                                                             \
    (log_wants(log, level)                                                                         \
         ? log_emit_at(log, level, NULL, 0, LOG_FIRST_(__VA_ARGS__, LOG_END_),                     \
                       (const struct log_field[]){LOG_REST_(__VA_ARGS__, LOG_END_)})               \
         : (void)0)
#define LOG_FIRST_(first, ...) first
#define LOG_REST_(first, ...)  __VA_ARGS__
#define LOG_END_                                                                                   \
    {                                                                                              \
        .key = NULL                                                                                \
    }

/* `fields` ends with a NULL key. `file` NULL: the line is not limited in number. */
void log_emit_at(struct log *log, enum log_level level, const char *file, int line,
                 const char *message, const struct log_field *fields);

/* True if an event of this level would be written: for fields that cost something to make. */
static inline bool log_wants(const struct log *log, enum log_level level)
{
    return level >= log->config.level;
}

/* Writes a line for every place that has suppressed some and whose interval is over. To be called
 * now and then by whoever has a clock tick. */
void log_flush(struct log *log);

/* Takes the oldest captured line that contains `part`: true if there was one. `out` (may be NULL)
 * gets the line without its line break, cut to `size`. */
bool log_take(struct log *log, const char *part, char *out, size_t size);

/* How many captured lines have not been taken. */
size_t log_left(struct log *log);

struct log_stats log_stats(struct log *log);

#endif
