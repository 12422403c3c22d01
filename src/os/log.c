#include "os/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "os/clock.h"

void log_init(struct log *log, const struct log_config *config)
{
    memset(log, 0, sizeof *log);
    log->config = *config;
    if (log->config.now == NULL)
        log->config.now = clock_now;
    int rc = pthread_mutex_init(&log->lock, NULL);
    hf_assert(rc == 0);
}

void log_init_capture(struct log *log, const struct log_config *config, char *room, size_t size)
{
    log_init(log, config);
    log->capture = room;
    log->capture_size = size;
}

/* Keeps the line without its line break. */
static bool capture(struct log *log, const char *line, size_t length)
{
    if (length > log->capture_size - log->capture_used)
        return false;
    memcpy(log->capture + log->capture_used, line, length);
    log->capture_used += length;
    log->capture[log->capture_used - 1] = '\0';
    return true;
}

/* Forms the line and hands it over. Called with the lock held, which keeps the lines of one place
 * in order; the write of 2 kB that others may wait for is the cost. */
static void write_line(struct log *log, const struct log_event *event)
{
    char line[LOG_LINE_MAX + 1];
    const size_t length = log_line_write(line, log->config.form, event);
    bool is_written;
    if (log->capture != NULL)
        is_written = capture(log, line, length);
    else
        is_written = log->config.fd < 0 || write(log->config.fd, line, length) == (ssize_t)length;
    if (is_written)
        log->stats.written++;
    else
        log->stats.lost++;
}

/* Tells what a place has suppressed in a line of its own. */
static void tell_suppressed(struct log *log, struct log_site *site)
{
    const struct log_field none = {.key = NULL};
    const struct log_event event = {
        .wall_ns = clock_wall_now(),
        .level = site->level,
        .message = site->message,
        .fields = &none,
        .suppressed = site->suppressed,
    };
    if (site->suppressed > 0)
        write_line(log, &event);
    site->suppressed = 0;
}

/* The entry of a place; a new one takes a free entry, or else the quietest. 64 entries are scanned
 * in less time than the write takes. */
static struct log_site *get_site(struct log *log, const char *file, int line, int64_t now_ns)
{
    struct log_site *oldest = &log->sites[0];
    for (size_t i = 0; i < LOG_SITES; i++) {
        struct log_site *site = &log->sites[i];
        if (site->file == file && site->line == line)
            return site;
        if (oldest->file != NULL && (site->file == NULL || site->begun_ns < oldest->begun_ns))
            oldest = site;
    }
    tell_suppressed(log, oldest);
    *oldest = (struct log_site){.file = file, .line = line, .begun_ns = now_ns};
    return oldest;
}

/* True if the place may log now; then `*suppressed` is what it must tell of. */
static bool is_allowed(struct log *log, struct log_site *site, int64_t now_ns, uint64_t *suppressed)
{
    if (now_ns - site->begun_ns >= log->config.interval_ns) {
        site->begun_ns = now_ns;
        site->count = 0;
    }
    if (site->count >= log->config.burst) {
        site->suppressed++;
        log->stats.suppressed++;
        return false;
    }
    site->count++;
    *suppressed = site->suppressed;
    site->suppressed = 0;
    return true;
}

void log_emit_at(struct log *log, enum log_level level, const char *file, int line,
                 const char *message, const struct log_field *fields)
{
    if (!log_wants(log, level))
        return;
    struct log_event event = {.level = level, .message = message, .fields = fields};
    bool is_written = true;
    pthread_mutex_lock(&log->lock);
    if (log->config.burst > 0 && file != NULL) {
        int64_t now_ns = log->config.now();
        struct log_site *site = get_site(log, file, line, now_ns);
        site->level = level;
        site->message = message;
        is_written = is_allowed(log, site, now_ns, &event.suppressed);
    }
    if (is_written) {
        event.wall_ns = clock_wall_now();
        write_line(log, &event);
    }
    pthread_mutex_unlock(&log->lock);
}

static void flush_since(struct log *log, int64_t begun_before_ns)
{
    pthread_mutex_lock(&log->lock);
    for (size_t i = 0; i < LOG_SITES; i++) {
        if (log->sites[i].file != NULL && log->sites[i].begun_ns <= begun_before_ns)
            tell_suppressed(log, &log->sites[i]);
    }
    pthread_mutex_unlock(&log->lock);
}

void log_flush(struct log *log)
{
    flush_since(log, log->config.now() - log->config.interval_ns);
}

void log_deinit(struct log *log)
{
    flush_since(log, INT64_MAX);
    if (log->capture != NULL && (log->capture_used > 0 || log->stats.lost > 0)) {
        for (size_t at = 0; at < log->capture_used; at += strlen(log->capture + at) + 1)
            fprintf(stderr, "unexpected log line: %s\n", log->capture + at);
        fprintf(stderr, "%llu log lines had no room\n", (unsigned long long)log->stats.lost);
        abort();
    }
    pthread_mutex_destroy(&log->lock);
}

bool log_take(struct log *log, const char *part, char *out, size_t size)
{
    hf_assert(log->capture != NULL);
    bool is_found = false;
    pthread_mutex_lock(&log->lock);
    for (size_t at = 0; at < log->capture_used && !is_found;) {
        char *line = log->capture + at;
        const size_t length = strlen(line) + 1;
        is_found = strstr(line, part) != NULL;
        if (!is_found) {
            at += length;
            continue;
        }
        if (out != NULL)
            snprintf(out, size, "%s", line);
        memmove(line, line + length, log->capture_used - at - length);
        log->capture_used -= length;
    }
    pthread_mutex_unlock(&log->lock);
    return is_found;
}

size_t log_left(struct log *log)
{
    size_t count = 0;
    pthread_mutex_lock(&log->lock);
    for (size_t at = 0; at < log->capture_used; at += strlen(log->capture + at) + 1)
        count++;
    pthread_mutex_unlock(&log->lock);
    return count;
}

struct log_stats log_stats(struct log *log)
{
    pthread_mutex_lock(&log->lock);
    struct log_stats stats = log->stats;
    pthread_mutex_unlock(&log->lock);
    return stats;
}
