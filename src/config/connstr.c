#include "config/connstr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sv.h"

bool connstr_is_one(const char *text)
{
    const struct sv view = sv_from_cstr(text);
    return sv_starts_with(view, SV("postgresql://")) || sv_starts_with(view, SV("postgres://")) ||
           strchr(text, '=') != NULL;
}

void connstr_hide(char *argument)
{
    static const char shown[] = "(connection string)";
    const size_t size = strlen(argument);
    for (size_t i = 0; i < size; i++)
        argument[i] = i < sizeof shown - 1 ? shown[i] : '\0';
}

char *connstr_encode(const char *text, char *out, size_t size)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "-._~/";
    size_t used = 0;
    for (; *text != '\0' && used + 4 <= size; text++) {
        const unsigned byte = (unsigned char)*text;
        if (strchr(plain, *text) != NULL)
            out[used++] = *text;
        else
            used += (size_t)snprintf(out + used, size - used, "%%%02X", byte);
    }
    out[used] = '\0';
    return out;
}

/* libpq's words with everything between the first and the last quote taken out. */
static void fail_without_quotes(struct hf_err *err, const char *text)
{
    const char *first = strchr(text, '"');
    const char *last = strrchr(text, '"');
    const size_t length = strcspn(text, "\n");
    if (first == NULL || last == first)
        err_set(err, HF_RC_INVALID, "22023", "this is no connection string: %.*s", (int)length,
                text);
    else
        err_set(err, HF_RC_INVALID, "22023", "this is no connection string: %.*s\"...\"%.*s",
                (int)(first - text), text, (int)strcspn(last + 1, "\n"), last + 1);
    err_hint(err, "Write postgresql://USER@HOST:PORT/DATABASE, with special characters of a "
                  "password as %%XX, or better without the password: PGPASSWORD or ~/.pgpass.");
}

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword != NULL; options++) {
        if (strcmp(options->keyword, keyword) == 0)
            return options->val != NULL ? options->val : "";
    }
    return "";
}

static void append(char *out, size_t size, const char *text)
{
    const size_t used = strlen(out);
    snprintf(out + used, size - used, "%s", text);
}

/* One value of a key=value string, inside single quotes of a shell: libpq's quotes are single ones
 * too, and so come out as '\'' there. */
static void append_value(char *out, size_t size, const char *value)
{
    const bool is_plain = value[0] != '\0' && strpbrk(value, " '\\\t\n") == NULL;
    if (is_plain) {
        append(out, size, value);
        return;
    }
    append(out, size, "'\\''");
    for (; *value != '\0'; value++) {
        const char letter[2] = {*value, '\0'};
        if (*value == '\\')
            append(out, size, "\\\\");
        else if (*value == '\'')
            append(out, size, "\\'\\''");
        else
            append(out, size, letter);
    }
    append(out, size, "'\\''");
}

/* libpq marks what must not be shown. */
static bool is_secret(const PQconninfoOption *option)
{
    return strchr(option->dispchar, '*') != NULL;
}

static bool is_empty(const PQconninfoOption *option)
{
    return option->val == NULL || option->val[0] == '\0';
}

static void append_option(struct connstr *out, const PQconninfoOption *option)
{
    const bool is_first = out->psql[strlen(out->psql) - 1] == '\'';
    append(out->psql, sizeof out->psql, is_first ? "" : " ");
    append(out->psql, sizeof out->psql, option->keyword);
    append(out->psql, sizeof out->psql, "=");
    append_value(out->psql, sizeof out->psql, option->val);
}

/* What everybody looks for comes first. */
static bool is_prominent(const PQconninfoOption *option)
{
    return strcmp(option->keyword, "host") == 0 || strcmp(option->keyword, "port") == 0 ||
           strcmp(option->keyword, "user") == 0 || strcmp(option->keyword, "dbname") == 0;
}

static void describe_psql(struct connstr *out, const PQconninfoOption *options)
{
    static const char *const order[] = {"host", "port", "user", "dbname"};
    snprintf(out->psql, sizeof out->psql, "psql '");
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        for (const PQconninfoOption *option = options; option->keyword != NULL; option++) {
            if (strcmp(option->keyword, order[i]) == 0 && !is_empty(option))
                append_option(out, option);
        }
    }
    for (const PQconninfoOption *option = options; option->keyword != NULL; option++) {
        if (is_empty(option) || is_prominent(option))
            continue;
        if (is_secret(option))
            out->has_password = true;
        else
            append_option(out, option);
    }
    append(out->psql, sizeof out->psql, "'");
}

static void describe(struct connstr *out, const PQconninfoOption *options)
{
    const char *host = value_of(options, "host");
    const char *address = value_of(options, "hostaddr");
    const char *port = value_of(options, "port");
    if (host[0] == '\0')
        host = address[0] != '\0' ? address : "the default host";
    snprintf(out->endpoint, sizeof out->endpoint, "%s%s%s", host, port[0] != '\0' ? ":" : "", port);
    snprintf(out->database, sizeof out->database, "%s", value_of(options, "dbname"));
    snprintf(out->user, sizeof out->user, "%s", value_of(options, "user"));
    describe_psql(out, options);
}

/* A port that is no number is often a password behind a forgotten '@': libpq would say it aloud. */
static bool is_port_list(const char *text)
{
    return text[strspn(text, "0123456789,")] == '\0';
}

enum hf_rc connstr_parse(PQconninfoOption **options, const char *text, struct hf_err *err)
{
    char *problem = NULL;
    *options = PQconninfoParse(text, &problem);
    if (*options == NULL) {
        fail_without_quotes(err, problem != NULL ? problem : "out of memory");
        PQfreemem(problem);
        return HF_RC_INVALID;
    }
    if (is_port_list(value_of(*options, "port")))
        return HF_OK;
    PQconninfoFree(*options);
    *options = NULL;
    fail_without_quotes(err, "its port is not a number");
    return HF_RC_INVALID;
}

const char *connstr_value(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword != NULL; options++) {
        if (strcmp(options->keyword, keyword) != 0)
            continue;
        if (options->val != NULL)
            return options->val;
        /* Connection strings are read before there are threads that could change it. */
        const char *name = options->envvar;
        const char *value = name != NULL ? getenv(name) : NULL; /* NOLINT(concurrency-mt-unsafe) */
        return value != NULL ? value : "";
    }
    return "";
}

enum hf_rc connstr_read(struct connstr *out, const char *text, struct hf_err *err)
{
    PQconninfoOption *options = NULL;
    *out = (struct connstr){.has_password = false};
    const enum hf_rc rc = connstr_parse(&options, text, err);
    if (rc != HF_OK)
        return rc;
    describe(out, options);
    PQconninfoFree(options);
    return HF_OK;
}
