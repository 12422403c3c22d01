/*
 * A line is put together in a small buffer of its own and then kept whole or not at all. Once one
 * did not fit, nothing after it is kept: a page that has later lines but lacks earlier ones would
 * look complete.
 */
#include "base/promtext.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"

#define LINE_MAX_BYTES 1536 /* holds the longest line that the limits below allow */

struct line {
    size_t used;
    char text[LINE_MAX_BYTES];
};

static void put_char(struct line *line, char c)
{
    hf_assert(line->used < sizeof line->text);
    line->text[line->used++] = c;
}

static void put_text(struct line *line, const char *text)
{
    for (; *text != '\0'; text++)
        put_char(line, *text);
}

/* A value in quotes, or a HELP text: backslash and line break are escaped in both. One that is too
 * long is cut, so that a line never is. */
static void put_escaped(struct line *line, const char *text, size_t size_max, bool is_quoted)
{
    for (size_t n = 0; n < size_max && text[n] != '\0'; n++) {
        if (text[n] == '\n') {
            put_text(line, "\\n");
        } else {
            if (text[n] == '\\' || (is_quoted && text[n] == '"'))
                put_char(line, '\\');
            put_char(line, text[n]);
        }
    }
}

static void keep(struct promtext *p, const struct line *line)
{
    if (p->needed == p->kept && p->kept + line->used < p->size) {
        memcpy(p->text + p->kept, line->text, line->used);
        p->kept += line->used;
        p->text[p->kept] = '\0';
    }
    p->needed += line->used;
}

/* [a-zA-Z_:][a-zA-Z0-9_:]* */
static bool is_name(const char *name)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:0123456789";
    const size_t size = strlen(name);
    return size > 0 && size <= 100 && !(name[0] >= '0' && name[0] <= '9') &&
           strspn(name, letters) == size;
}

void promtext_init(struct promtext *p, char *text, size_t size)
{
    *p = (struct promtext){.text = text, .size = size};
    if (size > 0)
        text[0] = '\0';
}

void promtext_family(struct promtext *p, const char *name, enum promtext_type type,
                     const char *help)
{
    static const char *const types[] = {"counter", "gauge", "summary"};
    struct line line = {0};
    hf_assert(is_name(name) && (size_t)type < sizeof types / sizeof types[0]);
    p->name = name;
    put_text(&line, "# HELP ");
    put_text(&line, name);
    put_char(&line, ' ');
    put_escaped(&line, help, 400, false);
    put_char(&line, '\n');
    keep(p, &line);
    line.used = 0;
    put_text(&line, "# TYPE ");
    put_text(&line, name);
    put_char(&line, ' ');
    put_text(&line, types[type]);
    put_char(&line, '\n');
    keep(p, &line);
}

/* A sample with its value as text. */
static void put_sample(struct promtext *p, const char *suffix, const struct promtext_label *labels,
                       const char *value)
{
    struct line line = {0};
    hf_assert(p->name != NULL);
    put_text(&line, p->name);
    put_text(&line, suffix);
    for (const struct promtext_label *label = labels; label != NULL && label->name != NULL;
         label++) {
        hf_assert(is_name(label->name) && label - labels < 4);
        put_char(&line, label == labels ? '{' : ',');
        put_text(&line, label->name);
        put_text(&line, "=\"");
        put_escaped(&line, label->value, 64, true);
        put_char(&line, '"');
    }
    if (labels != NULL && labels->name != NULL)
        put_char(&line, '}');
    put_char(&line, ' ');
    put_text(&line, value);
    put_char(&line, '\n');
    keep(p, &line);
}

void promtext_u64(struct promtext *p, const struct promtext_label *labels, uint64_t value)
{
    promtext_part_u64(p, "", labels, value);
}

void promtext_i64(struct promtext *p, const struct promtext_label *labels, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    put_sample(p, "", labels, text);
}

void promtext_seconds(struct promtext *p, const struct promtext_label *labels, int64_t ns)
{
    promtext_part_seconds(p, "", labels, ns);
}

void promtext_part_u64(struct promtext *p, const char *suffix, const struct promtext_label *labels,
                       uint64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    put_sample(p, suffix, labels, text);
}

void promtext_part_seconds(struct promtext *p, const char *suffix,
                           const struct promtext_label *labels, int64_t ns)
{
    char text[48];
    const uint64_t size = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    snprintf(text, sizeof text, "%s%llu.%09llu", ns < 0 ? "-" : "",
             (unsigned long long)(size / 1000000000), (unsigned long long)(size % 1000000000));
    put_sample(p, suffix, labels, text);
}

size_t promtext_end(const struct promtext *p)
{
    return p->needed;
}
