/*
 * One event as one line of text: the fields of a log line, and how each is written.
 *
 *     ts=2026-11-21T11:10:29.123Z level=warning msg="server does not answer" endpoint=db1 after=2s
 *     {"ts":"2026-11-21T11:10:29.123Z","level":"warning","msg":"server does not answer", ...}
 *
 * A field has a type, and the type decides how it is written: a secret prints as SECRET_MASK
 * whatever its place, so a password cannot slip into a log by way of a format string, because there
 * is none.
 *
 * Invariants
 *   1. A line has at most LOG_LINE_MAX bytes with its line break. Values that are too long are cut
 *      and end in "..."; fields that find no room are left out and counted in the field `left_out`.
 *      A JSON line is valid JSON in any case.
 *   2. No byte of a value can break out of its line, end its quotes, or reach a terminal as a
 *      command: control characters, C1 ones too, and what is no UTF-8 are written as escapes.
 *
 * This file only forms text; os/log.h has the sink.
 */
#ifndef HF_OS_LOG_LINE_H
#define HF_OS_LOG_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/secret.h"
#include "base/sv.h"

#define LOG_LINE_MAX  2048
#define LOG_VALUE_MAX 512 /* bytes of one text value as written, before it is cut */

enum log_level {
    LOG_AT_DEBUG,
    LOG_AT_INFO,
    LOG_AT_WARNING,
    LOG_AT_ERROR,
};

enum log_form {
    LOG_KEY_VALUE,
    LOG_JSON,
};

enum log_kind {
    LOG_KIND_TEXT,
    LOG_KIND_INT,
    LOG_KIND_BOOL,
    LOG_KIND_DURATION,
    LOG_KIND_SECRET,
};

/* Made by the functions below; lives as long as the call that it is handed to. The key is a
 * literal in snake_case, or NULL behind the last field of a list. */
struct log_field {
    const char *key;
    enum log_kind kind;
    struct sv text;
    int64_t number;
    const struct secret *secret;
};

static inline struct log_field log_view(const char *key, struct sv value)
{
    return (struct log_field){.key = key, .kind = LOG_KIND_TEXT, .text = value};
}

static inline struct log_field log_text(const char *key, const char *value)
{
    return log_view(key, sv_from_cstr(value));
}

static inline struct log_field log_int(const char *key, int64_t value)
{
    return (struct log_field){.key = key, .kind = LOG_KIND_INT, .number = value};
}

static inline struct log_field log_bool(const char *key, bool value)
{
    return (struct log_field){.key = key, .kind = LOG_KIND_BOOL, .number = value};
}

/* Nanoseconds. Key=value lines show 1500ms, as every setting is written; JSON has seconds as a
 * number, which programs can add up, and null for HF_NEVER. */
static inline struct log_field log_duration(const char *key, int64_t value_ns)
{
    return (struct log_field){.key = key, .kind = LOG_KIND_DURATION, .number = value_ns};
}

static inline struct log_field log_secret(const char *key, const struct secret *value)
{
    return (struct log_field){.key = key, .kind = LOG_KIND_SECRET, .secret = value};
}

/* "debug", "info", "warning", "error". */
const char *log_level_name(enum log_level level);

struct log_event {
    int64_t wall_ns;
    enum log_level level;
    const char *message;
    const struct log_field *fields; /* ends with a NULL key */
    uint64_t suppressed;            /* like events that were not written; 0: no such field */
};

/* Writes the line with its line break and a NUL; returns its length without the NUL. */
size_t log_line_write(char out[LOG_LINE_MAX + 1], enum log_form form,
                      const struct log_event *event);

#endif
