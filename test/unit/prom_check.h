/*
 * Is this a page as Prometheus takes it? What `promtool check metrics` would say, as far as the
 * library's pages go: every line parses, each family has its HELP and TYPE once and before its
 * samples, samples stand with their family, and no series comes twice.
 *
 *     prom_check(text);            fails the cmocka test with the line that is wrong
 *     prom_value(text, "holdfast_calls_total{result=\"served\"}", &value)
 */
#ifndef HF_TEST_UNIT_PROM_CHECK_H
#define HF_TEST_UNIT_PROM_CHECK_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROM_SERIES_MAX 1000
#define PROM_LINE_MAX   1600

struct prom_page {
    char family[128], type[16];
    size_t families_count, series_count;
    char families[200][128];
    char series[PROM_SERIES_MAX][256];
};

static inline size_t prom_name_size(const char *at)
{
    return strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:");
}

/* {a="x",b="y"}; gives where it ends, or NULL. */
static inline const char *prom_labels(const char *at)
{
    if (*at != '{')
        return at;
    do {
        at++;
        const size_t name = prom_name_size(at);
        if (name == 0 || at[name] != '=' || at[name + 1] != '"')
            return NULL;
        for (at += name + 2; *at != '"'; at++) {
            if (*at == '\0' || (*at == '\\' && strchr("\\\"n", *++at) == NULL))
                return NULL;
        }
        at++;
    } while (*at == ',');
    return *at == '}' ? at + 1 : NULL;
}

static inline const char *prom_comment(struct prom_page *page, const char *line)
{
    char name[128], rest[PROM_LINE_MAX];
    if (sscanf(line, "# HELP %127s %1599[^\n]", name, rest) == 2) {
        for (size_t i = 0; i < page->families_count; i++)
            if (strcmp(page->families[i], name) == 0)
                return "a family comes twice";
        if (prom_name_size(name) != strlen(name) || page->families_count == 200)
            return "no name";
        snprintf(page->families[page->families_count++], 128, "%s", name);
        snprintf(page->family, sizeof page->family, "%s", name);
        page->type[0] = '\0';
        return NULL;
    }
    if (sscanf(line, "# TYPE %127s %15s", name, page->type) != 2 || strcmp(name, page->family) != 0)
        return "a comment that is neither HELP nor the TYPE of the family";
    return strstr("counter gauge summary", page->type) != NULL ? NULL : "an unknown type";
}

static inline bool prom_is_of_family(const struct prom_page *page, const char *name)
{
    const size_t size = strlen(page->family);
    if (strncmp(name, page->family, size) != 0)
        return false;
    return name[size] == '\0' ||
           (strcmp(page->type, "summary") == 0 &&
            (strcmp(name + size, "_sum") == 0 || strcmp(name + size, "_count") == 0));
}

static inline const char *prom_sample(struct prom_page *page, const char *line)
{
    char name[128];
    const size_t size = prom_name_size(line);
    snprintf(name, sizeof name, "%.*s", (int)size, line);
    if (size == 0 || page->type[0] == '\0' || !prom_is_of_family(page, name))
        return "a sample outside of its family";
    const char *end = prom_labels(line + size);
    if (end == NULL || *end != ' ')
        return "labels that do not parse";
    char *after;
    const double value = strtod(end + 1, &after);
    if (after == end + 1 || *after != '\0')
        return "a value that is no number";
    if (strcmp(page->type, "counter") == 0 && value < 0)
        return "a counter below 0";
    for (size_t i = 0; i < page->series_count; i++)
        if (strncmp(page->series[i], line, (size_t)(end - line)) == 0 &&
            page->series[i][end - line] == '\0')
            return "a series comes twice";
    if (page->series_count == PROM_SERIES_MAX)
        return "more series than the test has room for";
    snprintf(page->series[page->series_count++], 256, "%.*s", (int)(end - line), line);
    return NULL;
}

static inline void prom_check(const char *text)
{
    struct prom_page *page = calloc(1, sizeof *page);
    char line[PROM_LINE_MAX];
    if (*text == '\0' || page == NULL)
        fail_msg("the page is empty");
    while (*text != '\0') {
        const size_t size = strcspn(text, "\n");
        if (text[size] != '\n' || size >= sizeof line)
            fail_msg("a line without an end: %.80s", text);
        snprintf(line, sizeof line, "%.*s", (int)size, text);
        const char *wrong = line[0] == '#' ? prom_comment(page, line) : prom_sample(page, line);
        if (wrong != NULL)
            fail_msg("%s: %s", wrong, line);
        text += size + 1;
    }
    free(page);
}

/* The value of a series by its whole text; false: it is not there. */
static inline bool prom_value(const char *text, const char *series, double *value)
{
    const size_t size = strlen(series);
    for (const char *at = text; (at = strstr(at, series)) != NULL; at += size) {
        if ((at == text || at[-1] == '\n') && at[size] == ' ') {
            *value = strtod(at + size, NULL);
            return true;
        }
    }
    return false;
}

#endif
