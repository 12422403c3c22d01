/*
 * The ring is filled and emptied under a lock that is held for a copy; who empties it holds a flag
 * instead, so that hooks run outside of the lock and one at a time. What only that thread touches
 * (the limits of log lines) needs no lock of its own.
 */
#include "client/events.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "client/errors.h"

#define KINDS     (HF_EVENT_BULKHEAD + 1)
#define LOG_ALONE KINDS /* a line that is no event */
#define LINE_SIZE 512

struct note {
    int64_t at_ns, duration_ms;
    int kind; /* enum hf_event_kind, or LOG_ALONE */
    int level;
    char name[64], from[24], to[24], detail[256];
};

/* Lines of one kind in the running second. */
struct line_limit {
    int64_t begun_ns;
    uint32_t count;
    uint64_t kept_back; /* and not yet told of */
};

struct events {
    struct mem *mem;
    struct hf_hooks hooks;
    pthread_mutex_t lock;
    uint32_t first, count;
    bool is_delivering;
    uint64_t dropped, dropped_told;
    struct line_limit limits[KINDS + 1]; /* of whoever delivers */
    struct note ring[EVENTS_RING];
};

enum hf_rc events_new(struct events **out, const struct hf_hooks *hooks, struct mem *mem,
                      struct hf_err *err)
{
    *out = NULL;
    if (hooks->on_event == NULL && hooks->on_log == NULL)
        return HF_OK;
    struct events *events = mem_alloc(mem, sizeof *events);
    if (events == NULL)
        return mem_refused(mem, sizeof *events, err);
    events->mem = mem;
    events->hooks = *hooks;
    pthread_mutex_init(&events->lock, NULL);
    *out = events;
    return HF_OK;
}

void events_free(struct events *events)
{
    if (events == NULL)
        return;
    pthread_mutex_destroy(&events->lock);
    mem_free(events->mem, events);
}

bool events_wants(const struct events *events)
{
    return events != NULL;
}

/* ---- telling ---- */

/* How loud an event is in the log. */
static int level_of(const struct hf_event *event)
{
    switch (event->kind) {
    case HF_EVENT_BREAKER:
        return strcmp(event->to, "closed") == 0 || strcmp(event->to, "half_open") == 0
                   ? HF_LOG_INFO
                   : HF_LOG_WARNING;
    case HF_EVENT_LEVEL:
        return strcmp(event->to, "full") == 0 ? HF_LOG_INFO : HF_LOG_WARNING;
    case HF_EVENT_ENDPOINT:
        return strcmp(event->to, "up") == 0 ? HF_LOG_INFO : HF_LOG_WARNING;
    case HF_EVENT_SLOW:
    case HF_EVENT_BULKHEAD:
        return HF_LOG_WARNING;
    case HF_EVENT_ROLE:
        return strcmp(event->to, "primary") == 0 || strcmp(event->to, "replica") == 0
                   ? HF_LOG_INFO
                   : HF_LOG_ERROR;
    case HF_EVENT_RETRY:
        return HF_LOG_DEBUG;
    default:
        return HF_LOG_INFO;
    }
}

static void push(struct events *events, const struct note *note)
{
    pthread_mutex_lock(&events->lock);
    if (events->count < EVENTS_RING)
        events->ring[(events->first + events->count++) % EVENTS_RING] = *note;
    else
        ++events->dropped;
    pthread_mutex_unlock(&events->lock);
}

static const char *text_of(const char *text)
{
    return text != NULL ? text : "";
}

void events_tell(struct events *events, int64_t now_ns, const struct hf_event *event)
{
    if (events == NULL)
        return;
    hf_assert(event->kind >= 0 && event->kind < KINDS);
    struct note note = {.at_ns = now_ns, .duration_ms = event->duration_ms, .kind = event->kind};
    error_scrub(note.name, sizeof note.name, text_of(event->name));
    error_scrub(note.from, sizeof note.from, text_of(event->from));
    error_scrub(note.to, sizeof note.to, text_of(event->to));
    error_scrub(note.detail, sizeof note.detail, text_of(event->detail));
    const struct hf_event told = {.kind = event->kind, .to = note.to};
    note.level = level_of(&told);
    push(events, &note);
}

void events_log(struct events *events, int64_t now_ns, int level, const char *format, ...)
{
    if (events == NULL)
        return;
    char raw[256];
    struct note note = {.at_ns = now_ns, .kind = LOG_ALONE, .level = level};
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    error_scrub(note.detail, sizeof note.detail, raw);
    push(events, &note);
}

/* ---- delivering ---- */

const char *events_kind_name(int kind)
{
    static const char *const names[] = {"breaker", "level", "endpoint", "role",
                                        "retry",   "slow",  "resolved", "bulkhead"};
    _Static_assert(sizeof names / sizeof names[0] == KINDS, "a name for each kind");
    return kind >= 0 && kind < KINDS ? names[kind] : "event";
}

/* May a line of this kind be written now? `*kept_back` tells how many before it were not. */
static bool may_log(struct line_limit *limit, int64_t now_ns, uint64_t *kept_back)
{
    if (limit->count == 0 || now_ns - limit->begun_ns >= HF_SEC(1)) {
        limit->begun_ns = now_ns;
        limit->count = 0;
    }
    if (limit->count >= EVENTS_LINES_MAX) {
        ++limit->kept_back;
        return false;
    }
    ++limit->count;
    *kept_back = limit->kept_back;
    limit->kept_back = 0;
    return true;
}

/* "breaker db1:5432: closed -> open: too many calls failed in a row" */
static void print_line(const struct note *note, char line[LINE_SIZE])
{
    const char *separator = note->detail[0] != '\0' ? ": " : "";
    if (note->kind == LOG_ALONE) {
        snprintf(line, LINE_SIZE, "%s", note->detail);
        return;
    }
    char change[64] = "", took[32] = "";
    if (note->from[0] != '\0')
        snprintf(change, sizeof change, ": %s -> %s", note->from, note->to);
    else if (note->to[0] != '\0')
        snprintf(change, sizeof change, ": %s", note->to);
    if (note->duration_ms > 0)
        snprintf(took, sizeof took, " (%lld ms)", (long long)note->duration_ms);
    snprintf(line, LINE_SIZE, "%s%s%s%s%s%s%s", events_kind_name(note->kind),
             note->name[0] != '\0' ? " " : "", note->name, change, separator, note->detail, took);
}

static void log_note(struct events *events, const struct note *note)
{
    uint64_t kept_back = 0;
    char line[LINE_SIZE];
    if (events->hooks.on_log == NULL ||
        !may_log(&events->limits[note->kind], note->at_ns, &kept_back))
        return;
    print_line(note, line);
    if (kept_back > 0) {
        const size_t used = strlen(line);
        snprintf(line + used, sizeof line - used, " [%llu more like it]",
                 (unsigned long long)kept_back);
    }
    events->hooks.on_log(note->level, line, events->hooks.arg);
}

static void call_hooks(struct events *events, const struct note *note)
{
    if (note->kind != LOG_ALONE && events->hooks.on_event != NULL) {
        const struct hf_event event = {.kind = note->kind,
                                       .name = note->name,
                                       .from = note->from,
                                       .to = note->to,
                                       .detail = note->detail,
                                       .duration_ms = note->duration_ms};
        events->hooks.on_event(&event, events->hooks.arg);
    }
    log_note(events, note);
}

/* The oldest note, or a line about what was lost before it. False: nothing waits. */
static bool pop(struct events *events, struct note *note)
{
    if (events->count == 0)
        return false;
    const uint64_t lost = events->dropped - events->dropped_told;
    *note = events->ring[events->first];
    if (lost > 0) {
        note->kind = LOG_ALONE;
        note->level = HF_LOG_WARNING;
        snprintf(note->detail, sizeof note->detail,
                 "%llu events were lost, because the hooks are slower than the news",
                 (unsigned long long)lost);
        events->dropped_told = events->dropped;
        return true;
    }
    events->first = (events->first + 1) % EVENTS_RING;
    --events->count;
    return true;
}

void events_deliver(struct events *events)
{
    struct note note;
    if (events == NULL)
        return;
    pthread_mutex_lock(&events->lock);
    if (events->is_delivering) {
        pthread_mutex_unlock(&events->lock);
        return;
    }
    events->is_delivering = true;
    while (pop(events, &note)) {
        pthread_mutex_unlock(&events->lock);
        call_hooks(events, &note);
        pthread_mutex_lock(&events->lock);
    }
    events->is_delivering = false;
    pthread_mutex_unlock(&events->lock);
}

uint64_t events_dropped(struct events *events)
{
    if (events == NULL)
        return 0;
    pthread_mutex_lock(&events->lock);
    const uint64_t dropped = events->dropped;
    pthread_mutex_unlock(&events->lock);
    return dropped;
}

/* ---- connection strings ---- */

char *events_redact(const char *conninfo, char *out, size_t size)
{
    /* libpq knows its own forms best, and marks what is not to be shown. What it cannot read may
     * have the password anywhere. */
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
    size_t used = 0;
    hf_assert(size > 0);
    out[0] = '\0';
    if (options == NULL) {
        snprintf(out, size, "(not a connection string)");
        return out;
    }
    for (const PQconninfoOption *option = options; option->keyword != NULL && used < size;
         option++) {
        if (option->val == NULL || option->val[0] == '\0')
            continue;
        const bool is_secret = strchr(option->dispchar, '*') != NULL;
        used += (size_t)snprintf(out + used, size - used, "%s%s=%s", used > 0 ? " " : "",
                                 option->keyword, is_secret ? "***" : option->val);
    }
    PQconninfoFree(options);
    return out;
}
