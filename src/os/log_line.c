#include "os/log_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/ns.h"
#include "base/units.h"
#include "os/clock.h"

/* Room that fields may not use: ` left_out=18446744073709551615`, a brace, the line break. */
#define LINE_RESERVE 40

struct line {
    char *out;
    size_t used;
    size_t limit;
    enum log_form form;
    bool is_full; /* something did not fit since this was last cleared */
};

static void put(struct line *line, const char *bytes, size_t size)
{
    if (size > line->limit - line->used) {
        line->is_full = true;
        return;
    }
    memcpy(line->out + line->used, bytes, size);
    line->used += size;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* The length of the well-formed UTF-8 character at the front of `at`, or 0: RFC 3629's table, with
 * no overlong form, no surrogate, nothing beyond U+10FFFF. */
static size_t utf8_size(const unsigned char *at, size_t left)
{
    static const struct {
        unsigned char first_min, first_max, second_min, second_max;
        size_t size;
    } rows[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (at[0] < rows[i].first_min || at[0] > rows[i].first_max)
            continue;
        if (rows[i].size > left)
            return 0;
        if (rows[i].size > 1 && (at[1] < rows[i].second_min || at[1] > rows[i].second_max))
            return 0;
        for (size_t k = 2; k < rows[i].size; k++) {
            if (at[k] < 0x80 || at[k] > 0xbf)
                return 0;
        }
        return rows[i].size;
    }
    return 0;
}

/* C1 control characters are two bytes in UTF-8, and some terminals obey them like ESC sequences. */
static bool is_control(const unsigned char *at, size_t size)
{
    return (size == 1 && (at[0] < 0x20 || at[0] == 0x7f)) ||
           (size == 2 && at[0] == 0xc2 && at[1] < 0xa0);
}

/* Writes one character, escaped where needed, and returns how many bytes of the value it took. Both
 * forms use JSON's escapes; only for a byte that is no UTF-8 JSON has none that keeps its value. */
static size_t put_character(struct line *line, const unsigned char *at, size_t left)
{
    static const char short_escapes[][3] = {"\"\"", "\\\\", "\nn", "\tt", "\rr"};
    char escape[8];
    size_t size = utf8_size(at, left);
    if (size == 0) {
        const unsigned byte = at[0];
        snprintf(escape, sizeof escape, "\\x%02x", byte);
        put_text(line, line->form == LOG_JSON ? "\\ufffd" : escape);
        return 1;
    }
    for (size_t i = 0; i < sizeof short_escapes / sizeof short_escapes[0]; i++) {
        if (at[0] == (unsigned char)short_escapes[i][0]) {
            snprintf(escape, sizeof escape, "\\%c", short_escapes[i][1]);
            put_text(line, escape);
            return 1;
        }
    }
    if (is_control(at, size)) {
        const unsigned code = at[size - 1]; /* of C1, the second byte is the code point */
        snprintf(escape, sizeof escape, "\\u%04x", code);
        put_text(line, escape);
        return size;
    }
    put(line, (const char *)at, size);
    return size;
}

/* Key=value leaves plain words unquoted, for the eye. */
static bool is_plain(struct sv value)
{
    for (size_t i = 0; i < value.size; i++) {
        char c = value.data[i];
        bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       strchr("._:/+-@%*,", c) != NULL;
        if (!is_word || c == '\0')
            return false;
    }
    return value.size > 0;
}

static void put_value(struct line *line, struct sv value)
{
    bool is_quoted = line->form == LOG_JSON || !is_plain(value);
    if (is_quoted)
        put_text(line, "\"");
    const size_t start = line->used;
    size_t at = 0;
    while (at < value.size && !line->is_full) {
        if (line->used - start >= LOG_VALUE_MAX) {
            put_text(line, "...");
            break;
        }
        at += put_character(line, (const unsigned char *)value.data + at, value.size - at);
    }
    if (is_quoted)
        put_text(line, "\"");
}

static void put_key(struct line *line, const char *key)
{
    bool is_first = line->used == 0;
    if (line->form == LOG_JSON) {
        put_text(line, is_first ? "{\"" : ",\"");
        put_text(line, key);
        put_text(line, "\":");
    } else {
        put_text(line, is_first ? "" : " ");
        put_text(line, key);
        put_text(line, "=");
    }
}

/* Seconds with as many of the nine decimals as are needed. */
static void put_seconds(struct line *line, int64_t ns)
{
    char text[40];
    int length = snprintf(text, sizeof text, "%s%" PRIu64 ".%09" PRIu64, ns < 0 ? "-" : "",
                          (ns < 0 ? -(uint64_t)ns : (uint64_t)ns) / (uint64_t)HF_SEC(1),
                          (ns < 0 ? -(uint64_t)ns : (uint64_t)ns) % (uint64_t)HF_SEC(1));
    while (text[length - 1] == '0')
        length--;
    if (text[length - 1] == '.')
        length--;
    put(line, text, (size_t)length);
}

static void put_duration(struct line *line, int64_t ns)
{
    char text[UNITS_TEXT_MAX];
    if (line->form == LOG_KEY_VALUE)
        put_text(line, units_print_duration(ns, text));
    else if (ns == HF_NEVER)
        put_text(line, "null");
    else
        put_seconds(line, ns);
}

static void put_int(struct line *line, int64_t number)
{
    char text[UNITS_TEXT_MAX];
    put_text(line, units_print_int(number, text));
}

/* One field whole, or not at all: false. */
static bool put_field(struct line *line, const struct log_field *field)
{
    const size_t before = line->used;
    line->is_full = false;
    put_key(line, field->key);
    switch (field->kind) {
    case LOG_KIND_TEXT:
        put_value(line, field->text);
        break;
    case LOG_KIND_INT:
        put_int(line, field->number);
        break;
    case LOG_KIND_BOOL:
        put_text(line, field->number != 0 ? "true" : "false");
        break;
    case LOG_KIND_DURATION:
        put_duration(line, field->number);
        break;
    case LOG_KIND_SECRET:
        put_value(line, sv_from_cstr(secret_print(field->secret)));
        break;
    }
    if (line->is_full)
        line->used = before;
    return !line->is_full;
}

const char *log_level_name(enum log_level level)
{
    switch (level) {
    case LOG_AT_DEBUG:
        return "debug";
    case LOG_AT_INFO:
        return "info";
    case LOG_AT_WARNING:
        return "warning";
    case LOG_AT_ERROR:
        break;
    }
    return "error";
}

size_t log_line_write(char out[LOG_LINE_MAX + 1], enum log_form form, const struct log_event *event)
{
    struct line line = {.out = out, .limit = LOG_LINE_MAX - LINE_RESERVE, .form = form};
    char ts[CLOCK_TEXT_SIZE];
    const uint64_t suppressed = event->suppressed;
    const struct log_field head[] = {
        log_text("ts", clock_wall_text(event->wall_ns, ts)),
        log_text("level", log_level_name(event->level)),
        log_text("msg", event->message),
        log_int("suppressed", suppressed > INT64_MAX ? INT64_MAX : (int64_t)suppressed),
    };
    /* These always fit: a cut message and three short ones are far below the limit. */
    for (size_t i = 0; i < (suppressed > 0 ? 4 : 3); i++) {
        bool is_in = put_field(&line, &head[i]);
        hf_assert(is_in);
    }
    int64_t left_out = 0;
    for (const struct log_field *field = event->fields; field->key != NULL; field++) {
        if (!put_field(&line, field))
            left_out++;
    }
    line.limit = LOG_LINE_MAX;
    const struct log_field last = log_int("left_out", left_out);
    if (left_out > 0)
        put_field(&line, &last);
    put_text(&line, form == LOG_JSON ? "}\n" : "\n");
    out[line.used] = '\0';
    return line.used;
}
