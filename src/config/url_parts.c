#include "config/url_parts.h"

#include <libpq-fe.h>
#include <string.h>

#include "base/buffer.h"

/* ---- settings of ours ---- */

static const char *const settings_paths[] = {"proxy", "pools"};

/* libpq has a port, too, and it is the servers'. Balancing is ours: libpq 15 does not know it, and
 * later ones know it in another way. */
static bool find_setting(struct sv key, struct url_setting *out)
{
    if (sv_eq(key, SV("port")))
        return false;
    if (sv_eq(key, SV("load_balance_hosts"))) {
        out->section = proxy_section_find(SV("databases"));
        out->row = opt_find(&out->section->tables[0], key);
        return true;
    }
    for (size_t i = 0; i < sizeof settings_paths / sizeof settings_paths[0]; i++) {
        out->section = proxy_section_find(sv_from_cstr(settings_paths[i]));
        out->row = opt_find(&out->section->tables[0], key);
        if (out->row != NULL)
            return true;
    }
    return false;
}

static bool is_of_libpq(struct sv key)
{
    bool is_found = false;
    PQconninfoOption *options = PQconninfoParse("", NULL);
    for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL && !is_found; o++)
        is_found = sv_eq(key, sv_from_cstr(o->keyword));
    PQconninfoFree(options);
    return is_found;
}

/* A key that is not ours: if it is not libpq's either, it was perhaps meant to be ours. */
static void consider(struct url_parts *parts, struct sv key)
{
    if (is_of_libpq(key))
        return;
    suggest_begin(&parts->suggest, key);
    for (size_t i = 0; i < sizeof settings_paths / sizeof settings_paths[0]; i++) {
        const struct proxy_section *section = proxy_section_find(sv_from_cstr(settings_paths[i]));
        for (size_t j = 0; j < section->tables[0].count; j++)
            suggest_consider(&parts->suggest, section->tables[0].rows[j].key);
    }
}

/* Adds one, and returns room for a value of at most `size` bytes; NULL: there are too many. */
static char *add_setting(struct url_parts *parts, const struct url_setting *setting, size_t size,
                         struct hf_err *err)
{
    if (parts->count == URL_PARTS_MAX || parts->used + size > sizeof parts->values) {
        err_set(err, HF_RC_LIMIT, "54000", "the connection string has too many settings");
        return NULL;
    }
    char *value = parts->values + parts->used;
    parts->settings[parts->count] = *setting;
    parts->settings[parts->count].value = sv_from(value, 0);
    parts->count++;
    parts->used += size;
    return value;
}

/* ---- URLs ---- */

/* As libpq does it: %XX, and a plus is a plus. */
static enum hf_rc decode(struct sv text, char *out, size_t *size, struct hf_err *err)
{
    *size = 0;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (c == '%') {
            const int high = i + 2 < text.size ? sv_hex_digit(text.data[i + 1]) : -1;
            const int low = i + 2 < text.size ? sv_hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0 || high + low == 0)
                return err_set(err, HF_RC_INVALID, "22023",
                               "a %% in the connection string is not followed by two digits");
            c = (char)(high * 16 + low);
            i += 2;
        }
        out[(*size)++] = c;
    }
    return HF_OK;
}

/* Where the parameters begin, behind the question mark: a password may hold one, too, so user and
 * password are passed over first, as libpq does. */
static size_t find_parameters(struct sv text)
{
    const size_t scheme =
        sv_starts_with(text, SV("postgres://")) ? strlen("postgres://") : strlen("postgresql://");
    const struct sv rest = sv_drop(text, scheme);
    const size_t at = sv_find(rest, '@'), slash = sv_find(rest, '/');
    const size_t start = scheme + (at < slash ? at : 0);
    return start + sv_find(sv_drop(text, start), '?');
}

static bool keep(struct buffer *rest, struct sv bytes)
{
    return buffer_append(rest, bytes);
}

static enum hf_rc split_url(struct url_parts *parts, struct sv text, struct hf_err *err)
{
    struct buffer rest;
    const size_t parameters = find_parameters(text);
    struct sv query = sv_drop(text, parameters + 1), parameter;
    bool is_first = true;
    buffer_init(&rest, parts->rest, sizeof parts->rest - 1);
    keep(&rest, sv_take(text, parameters));
    while (parameters < text.size && sv_split(&query, '&', &parameter)) {
        const size_t equals = sv_find(parameter, '=');
        const struct sv key = sv_take(parameter, equals);
        struct url_setting setting;
        if (!find_setting(key, &setting)) {
            consider(parts, key);
            keep(&rest, is_first ? SV("?") : SV("&"));
            keep(&rest, parameter);
            is_first = false;
            continue;
        }
        const struct sv encoded = sv_drop(parameter, equals + 1);
        char *value = add_setting(parts, &setting, encoded.size, err);
        if (value == NULL)
            return HF_RC_LIMIT;
        const enum hf_rc rc =
            decode(encoded, value, &parts->settings[parts->count - 1].value.size, err);
        if (rc != HF_OK)
            return rc;
    }
    parts->rest[buffer_held(&rest)] = '\0';
    return HF_OK;
}

/* ---- key=value ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static size_t skip_blanks(struct sv text, size_t at)
{
    while (at < text.size && is_blank(text.data[at]))
        at++;
    return at;
}

/* A value, quoted or not, from `at` on; returns where it ends. What is behind a backslash stands
 * for itself. */
static size_t read_value(struct sv text, size_t at, char *out, size_t *size)
{
    const bool is_quoted = at < text.size && text.data[at] == '\'';
    *size = 0;
    for (at += is_quoted; at < text.size; at++) {
        if (is_quoted ? text.data[at] == '\'' : is_blank(text.data[at]))
            break;
        if (text.data[at] == '\\' && at + 1 < text.size)
            at++;
        out[(*size)++] = text.data[at];
    }
    return at < text.size && is_quoted ? at + 1 : at;
}

/* Whatever does not look like KEY = VALUE is left to libpq, which says what is wrong with it. */
static enum hf_rc split_pairs(struct url_parts *parts, struct sv text, struct hf_err *err)
{
    struct buffer rest;
    char scratch[URL_PARTS_SIZE];
    enum hf_rc rc = HF_OK;
    buffer_init(&rest, parts->rest, sizeof parts->rest - 1);
    for (size_t at = skip_blanks(text, 0); at < text.size; at = skip_blanks(text, at)) {
        const size_t start = at;
        while (at < text.size && text.data[at] != '=' && !is_blank(text.data[at]))
            at++;
        const struct sv key = sv_from(text.data + start, at - start);
        struct url_setting setting;
        size_t size = 0;
        at = skip_blanks(text, at);
        const bool has_value = at < text.size && text.data[at] == '=';
        if (has_value)
            at = read_value(text, skip_blanks(text, at + 1), scratch, &size);
        if (!has_value || !find_setting(key, &setting)) {
            consider(parts, key);
            keep(&rest, sv_from(text.data + start, at - start));
            keep(&rest, SV(" "));
            continue;
        }
        char *value = add_setting(parts, &setting, size, err);
        if (value == NULL) {
            rc = HF_RC_LIMIT;
            break;
        }
        memcpy(value, scratch, size);
        parts->settings[parts->count - 1].value.size = size;
    }
    parts->rest[buffer_held(&rest)] = '\0';
    explicit_bzero(scratch, sizeof scratch);
    return rc;
}

/* ---- both ---- */

enum hf_rc url_parts_split(struct url_parts *parts, const char *string, struct hf_err *err)
{
    const struct sv text = sv_from_cstr(string);
    const bool is_url =
        sv_starts_with(text, SV("postgresql://")) || sv_starts_with(text, SV("postgres://"));
    memset(parts, 0, sizeof *parts);
    if (text.size >= URL_PARTS_SIZE - 1)
        return err_set(err, HF_RC_LIMIT, "54000", "the connection string has more than %d bytes",
                       URL_PARTS_SIZE - 2);
    return is_url ? split_url(parts, text, err) : split_pairs(parts, text, err);
}

bool url_parts_has(const struct url_parts *parts, const char *key)
{
    for (size_t i = 0; i < parts->count; i++)
        if (strcmp(parts->settings[i].row->key, key) == 0)
            return true;
    return false;
}

void url_parts_wipe(struct url_parts *parts)
{
    explicit_bzero(parts, sizeof *parts);
}
