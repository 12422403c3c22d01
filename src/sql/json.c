#include "sql/json.h"

#include <string.h>

static const struct json_at nothing = {NULL, NULL};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct json_at skip_blanks(struct json_at at)
{
    while (at.at < at.end && is_blank(*at.at))
        at.at++;
    return at;
}

/* `at` is at a quote: behind the quote that closes it, or the end. */
static struct json_at skip_string(struct json_at at)
{
    for (at.at++; at.at < at.end && *at.at != '"'; at.at++) {
        if (*at.at == '\\' && at.end - at.at > 1)
            at.at++;
    }
    if (at.at < at.end)
        at.at++;
    return at;
}

static bool is_separator(char c)
{
    return c == ',' || c == ':' || c == ']' || c == '}' || is_blank(c);
}

/* Behind the value. Brackets are counted and not called for, so depth costs no stack. */
static struct json_at skip_value(struct json_at at)
{
    size_t depth = 0;
    at = skip_blanks(at);
    while (at.at < at.end) {
        const char c = *at.at;
        if (c == '"') {
            at = skip_string(at);
        } else if (c == '{' || c == '[') {
            depth++;
            at.at++;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return at;
            depth--;
            at.at++;
        } else if (is_separator(c)) {
            if (depth == 0)
                return at;
            at.at++;
            continue;
        } else {
            while (at.at < at.end && !is_separator(*at.at))
                at.at++;
        }
        if (depth == 0)
            return at;
    }
    return at;
}

struct json_at json_text(struct sv text)
{
    const struct json_at at = {text.data, text.data + text.size};
    return text.size > 0 ? at : nothing;
}

struct json_at json_enter(struct json_at value)
{
    if (value.at == NULL)
        return nothing;
    value = skip_blanks(value);
    if (value.at == value.end || (*value.at != '{' && *value.at != '['))
        return nothing;
    value.at++;
    return value;
}

/* To the next field or item; false at the closing bracket. */
static bool find_next(struct json_at *at)
{
    if (at->at == NULL)
        return false;
    *at = skip_blanks(*at);
    if (at->at < at->end && *at->at == ',') {
        at->at++;
        *at = skip_blanks(*at);
    }
    return at->at < at->end && *at->at != '}' && *at->at != ']' && *at->at != ',';
}

/* `at` is at a key: the text of the key, and *at before its value. */
static bool take_key(struct json_at *at, struct sv *key)
{
    if (*at->at != '"')
        return false;
    const char *begin = at->at + 1;
    *at = skip_string(*at);
    *key = sv_from(begin, (size_t)(at->at - begin));
    if (key->size > 0)
        key->size--;
    *at = skip_blanks(*at);
    if (at->at == at->end || *at->at != ':')
        return false;
    at->at++;
    *at = skip_blanks(*at);
    return at->at < at->end;
}

bool json_next_field(struct json_at *fields, struct sv *key, struct json_at *value)
{
    if (!find_next(fields) || !take_key(fields, key))
        return false;
    *value = *fields;
    *fields = skip_value(*fields);
    return true;
}

bool json_next_item(struct json_at *items, struct json_at *value)
{
    if (!find_next(items))
        return false;
    *value = *items;
    *items = skip_value(*items);
    return items->at > value->at;
}

struct json_at json_field(struct json_at object, const char *key)
{
    struct json_at fields = json_enter(object), value;
    struct sv name;
    while (json_next_field(&fields, &name, &value)) {
        if (sv_eq(name, sv_from_cstr(key)))
            return value;
    }
    return nothing;
}

size_t json_count(struct json_at array)
{
    struct json_at items = json_enter(array), value;
    size_t count = 0;
    while (json_next_item(&items, &value))
        count++;
    return count;
}

struct sv json_raw_string(struct json_at value)
{
    if (value.at == NULL)
        return SV("");
    value = skip_blanks(value);
    if (value.at == value.end || *value.at != '"')
        return SV("");
    const char *begin = value.at + 1;
    const struct json_at behind = skip_string(value);
    const size_t size = (size_t)(behind.at - begin);
    return sv_from(begin, size > 0 ? size - 1 : 0);
}

/* Four hexadecimal digits, or -1. */
static int code_unit(struct sv text)
{
    int unit = 0;
    for (size_t i = 0; i < 4; i++) {
        const int digit = i < text.size ? sv_hex_digit(text.data[i]) : -1;
        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

/* libpg_query writes only control characters and a few of ASCII so; what is above is written as
 * UTF-8 of two or three bytes, without looking for pairs of surrogates. */
static size_t put_unit(int unit, char out[3])
{
    if (unit < 0x80) {
        out[0] = (char)unit;
        return 1;
    }
    if (unit < 0x800) {
        out[0] = (char)(0xc0 | (unit >> 6));
        out[1] = (char)(0x80 | (unit & 0x3f));
        return 2;
    }
    out[0] = (char)(0xe0 | (unit >> 12));
    out[1] = (char)(0x80 | ((unit >> 6) & 0x3f));
    out[2] = (char)(0x80 | (unit & 0x3f));
    return 3;
}

/* What an escape stands for; *raw moves behind it. */
static size_t take_escape(struct sv *raw, char out[3])
{
    static const char names[] = "bfnrt", marks[] = "\b\f\n\r\t";
    const char c = raw->size > 1 ? raw->data[1] : '\\';
    if (c == 'u') {
        const int unit = code_unit(sv_drop(*raw, 2));
        if (unit >= 0) {
            *raw = sv_drop(*raw, 6);
            return put_unit(unit, out);
        }
    }
    const char *name = c != '\0' ? strchr(names, c) : NULL;
    out[0] = name != NULL ? marks[name - names] : c;
    *raw = sv_drop(*raw, 2);
    return 1;
}

struct sv json_string(struct json_at value, char *out, size_t size)
{
    struct sv raw = json_raw_string(value);
    size_t used = 0;
    while (raw.size > 0) {
        char bytes[3] = {raw.data[0]};
        size_t count = 1;
        if (raw.data[0] == '\\')
            count = take_escape(&raw, bytes);
        else
            raw = sv_drop(raw, 1);
        if (count > size - used)
            break;
        memcpy(out + used, bytes, count);
        used += count;
    }
    return sv_from(out, used);
}

int64_t json_number(struct json_at value)
{
    int64_t number = 0;
    if (value.at == NULL)
        return 0;
    value = skip_blanks(value);
    const struct json_at behind = skip_value(value);
    const struct sv text = sv_from(value.at, (size_t)(behind.at - value.at));
    return sv_to_int(text, INT64_MIN, INT64_MAX, &number) == SV_NUMBER_OK ? number : 0;
}

bool json_is_true(struct json_at value)
{
    if (value.at == NULL)
        return false;
    value = skip_blanks(value);
    return sv_starts_with(sv_from(value.at, (size_t)(value.end - value.at)), SV("true"));
}

struct json_walk json_walk(struct json_at value)
{
    return (struct json_walk){.at = value, .depth = 0};
}

/* A key is a string with a colon behind it. */
bool json_walk_next(struct json_walk *walk, struct sv *key, struct json_at *value)
{
    struct json_at *at = &walk->at;
    while (at->at != NULL && at->at < at->end) {
        const char c = *at->at;
        if (c == '"') {
            const bool is_key = take_key(at, key);
            if (is_key) {
                *value = *at;
                return true;
            }
            continue;
        }
        at->at++;
        if (c == '{' || c == '[')
            walk->depth++;
        else if ((c == '}' || c == ']') && walk->depth > 0 && --walk->depth == 0)
            return false;
        if (walk->depth == 0 && !is_blank(c) && c != '{' && c != '[')
            return false;
    }
    return false;
}
