#include "base/sv.h"

#include <string.h>

struct sv sv_from_cstr(const char *text)
{
    return text != NULL ? sv_from(text, strlen(text)) : sv_from(NULL, 0);
}

bool sv_eq(struct sv a, struct sv b)
{
    /* memcmp must not see the NULL of an empty view. */
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool sv_eq_nocase(struct sv a, struct sv b)
{
    if (a.size != b.size)
        return false;
    for (size_t i = 0; i < a.size; i++)
        if (lower(a.data[i]) != lower(b.data[i]))
            return false;
    return true;
}

bool sv_starts_with(struct sv view, struct sv prefix)
{
    return view.size >= prefix.size && sv_eq(sv_take(view, prefix.size), prefix);
}

bool sv_ends_with(struct sv view, struct sv suffix)
{
    return view.size >= suffix.size && sv_eq(sv_drop(view, view.size - suffix.size), suffix);
}

size_t sv_find(struct sv view, char c)
{
    if (view.size == 0)
        return 0;
    const char *found = memchr(view.data, c, view.size);
    return found != NULL ? (size_t)(found - view.data) : view.size;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

struct sv sv_trim(struct sv view)
{
    while (view.size > 0 && is_blank(view.data[0]))
        view = sv_drop(view, 1);
    while (view.size > 0 && is_blank(view.data[view.size - 1]))
        view.size--;
    return view;
}

bool sv_split(struct sv *rest, char separator, struct sv *field)
{
    if (rest->data == NULL)
        return false;
    size_t at = sv_find(*rest, separator);
    *field = sv_take(*rest, at);
    *rest = at < rest->size ? sv_drop(*rest, at + 1) : sv_from(NULL, 0);
    return true;
}

int sv_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool sv_take_quoted(struct sv *rest, char *out, struct sv *text)
{
    size_t used = 0;
    if (!sv_starts_with(*rest, SV("\"")))
        return false;
    for (size_t i = 1; i < rest->size; i++) {
        if (rest->data[i] == '"') {
            if (i + 1 == rest->size || rest->data[i + 1] != '"') {
                *rest = sv_drop(*rest, i + 1);
                *text = sv_from(out, used);
                return true;
            }
            i++;
        }
        out[used++] = rest->data[i];
    }
    return false;
}

enum sv_number sv_to_int(struct sv view, int64_t min, int64_t max, int64_t *out)
{
    bool is_negative = view.size > 0 && view.data[0] == '-';
    if (is_negative || (view.size > 0 && view.data[0] == '+'))
        view = sv_drop(view, 1);
    if (view.size == 0)
        return SV_NUMBER_NONE;
    /* Counted downwards, because only there does INT64_MIN have room. Digits after an overflow are
     * still looked at: "99999999999999999999x" is no number rather than a large one. */
    int64_t value = 0;
    bool overflows = false;
    for (size_t i = 0; i < view.size; i++) {
        if (view.data[i] < '0' || view.data[i] > '9')
            return SV_NUMBER_NONE;
        int digit = view.data[i] - '0';
        if (overflows || value < (INT64_MIN + digit) / 10)
            overflows = true;
        else
            value = value * 10 - digit;
    }
    if (overflows || (!is_negative && value == INT64_MIN))
        return SV_NUMBER_RANGE;
    value = is_negative ? value : -value;
    if (value < min || value > max)
        return SV_NUMBER_RANGE;
    *out = value;
    return SV_NUMBER_OK;
}

bool sv_copy(struct sv view, char *out, size_t out_size)
{
    if (out_size == 0)
        return false;
    out[0] = '\0';
    if (view.size >= out_size || sv_find(view, '\0') < view.size)
        return false;
    if (view.size > 0)
        memcpy(out, view.data, view.size);
    out[view.size] = '\0';
    return true;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* The usual table of distances between all prefixes, of which three rows are enough: this one, the
 * one above, and for the swap of two neighbours the one above that. */
unsigned sv_distance(struct sv a, struct sv b, unsigned max)
{
    if (a.size > SV_DISTANCE_SIZE_MAX || b.size > SV_DISTANCE_SIZE_MAX)
        return max + 1;
    /* Words of different size are at least that far apart: most of a long list ends here. */
    if ((a.size > b.size ? a.size - b.size : b.size - a.size) > max)
        return max + 1;
    unsigned rows[3][SV_DISTANCE_SIZE_MAX + 1];
    for (unsigned j = 0; j <= b.size; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= a.size; i++) {
        unsigned *row = rows[i % 3];
        const unsigned *above = rows[(i + 2) % 3];
        const unsigned *above_that = rows[(i + 1) % 3];
        row[0] = i;
        for (unsigned j = 1; j <= b.size; j++) {
            char x = lower(a.data[i - 1]), y = lower(b.data[j - 1]);
            row[j] = least(above[j - 1] + (x != y), least(above[j], row[j - 1]) + 1);
            bool swapped = i > 1 && j > 1 && x == lower(b.data[j - 2]) && y == lower(a.data[i - 2]);
            if (swapped)
                row[j] = least(row[j], above_that[j - 2] + 1);
        }
    }
    return least(rows[a.size % 3][b.size], max + 1);
}
