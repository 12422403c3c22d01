#include "config/pgbouncer_value.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ns.h"
#include "base/units.h"
#include "net/address.h"

#define SECONDS_MAX INT64_C(1000000000) /* 31 years */

struct conversion {
    struct pgbouncer_value *out;
    const struct opt_row *ours;
    struct sv text;
    const char *folder;
    struct hf_err *err;
};

static enum hf_rc refuse(const struct conversion *c, const char *what)
{
    return err_set(c->err, HF_RC_INVALID, "22023", "\"" SV_FMT "\" is no %s", SV_ARG(c->text),
                   what);
}

static enum hf_rc put(const struct conversion *c, struct sv text)
{
    if (sv_copy(text, c->out->text, sizeof c->out->text))
        return HF_OK;
    return err_set(c->err, HF_RC_LIMIT, "22023", "the value has more than %zu bytes",
                   sizeof c->out->text - 1);
}

static bool is_one_of(struct sv text, const char *const *words)
{
    for (; *words != NULL; words++)
        if (sv_eq_nocase(text, sv_from_cstr(*words)))
            return true;
    return false;
}

/* ---- numbers ---- */

/* As strtol does with base 0: 0777 is octal, 0x10 is hexadecimal. */
static bool to_int(struct sv text, int64_t *out)
{
    char digits[32], *end = NULL;
    if (text.size == 0 || !sv_copy(text, digits, sizeof digits))
        return false;
    errno = 0;
    *out = strtoll(digits, &end, 0);
    return errno == 0 && *end == '\0' && end != digits;
}

bool pgbouncer_value_seconds(struct sv text, int64_t *ns)
{
    struct sv whole, fraction = sv_trim(text);
    const bool is_negative = sv_starts_with(fraction, SV("-"));
    int64_t seconds = 0, unit = HF_SEC(1);
    sv_split(&fraction, '.', &whole);
    if (whole.size == 0 && fraction.size == 0)
        return false;
    if (whole.size > 0 && sv_to_int(whole, -SECONDS_MAX, SECONDS_MAX, &seconds) != SV_NUMBER_OK)
        return false;
    *ns = seconds * HF_SEC(1);
    for (size_t i = 0; i < fraction.size; i++) {
        if (fraction.data[i] < '0' || fraction.data[i] > '9')
            return false;
        unit /= 10;
        *ns += (is_negative ? -1 : 1) * unit * (fraction.data[i] - '0');
    }
    return true;
}

/* Into the range of our setting, and a note if that took something. */
static int64_t clamp(const struct conversion *c, int64_t value)
{
    char number[UNITS_TEXT_MAX];
    const int64_t fitting = value < c->ours->min   ? c->ours->min
                            : value > c->ours->max ? c->ours->max
                                                   : value;
    if (fitting == value)
        return value;
    const bool is_time = c->ours->type == OPT_DURATION;
    snprintf(c->out->note, sizeof c->out->note, "PgBouncer has " SV_FMT "; the %s here is %s",
             SV_ARG(c->text), fitting > value ? "least" : "most",
             is_time ? units_print_duration(fitting, number) : units_print_int(fitting, number));
    return fitting;
}

static enum hf_rc convert_count(const struct conversion *c)
{
    int64_t value = 0;
    char number[UNITS_TEXT_MAX];
    if (!to_int(c->text, &value))
        return refuse(c, "number");
    if (value < 0) {
        c->out->is_absent = true; /* a database's -1: as everywhere */
        return HF_OK;
    }
    return put(c, sv_from_cstr(units_print_int(clamp(c, value), number)));
}

static enum hf_rc convert_bool(const struct conversion *c)
{
    int64_t value = 0;
    if (!to_int(c->text, &value))
        return refuse(c, "number");
    return put(c, value != 0 ? SV("on") : SV("off"));
}

static enum hf_rc convert_millis(const struct conversion *c)
{
    int64_t value = 0;
    char number[UNITS_TEXT_MAX];
    if (!to_int(c->text, &value) || value < 0)
        return refuse(c, "number of milliseconds");
    const int64_t value_ns = value < INT32_MAX ? value * HF_MS(1) : HF_MS((int64_t)INT32_MAX);
    return put(c, sv_from_cstr(units_print_duration(clamp(c, value_ns), number)));
}

static enum hf_rc convert_time(const struct conversion *c, bool zero_is_never)
{
    int64_t value = 0;
    char number[UNITS_TEXT_MAX];
    if (!pgbouncer_value_seconds(c->text, &value))
        return refuse(c, "number of seconds");
    if (value < 0) {
        c->out->is_absent = true;
        return HF_OK;
    }
    if (value == 0 && zero_is_never)
        return put(c, SV("never"));
    return put(c, sv_from_cstr(units_print_duration(clamp(c, value), number)));
}

/* Octal if it begins with 0, and a number like others if not. */
static enum hf_rc convert_mode(const struct conversion *c)
{
    int64_t value = 0;
    char mode[8];
    if (!to_int(c->text, &value) || value < 0 || value > 0777)
        return refuse(c, "set of permissions");
    snprintf(mode, sizeof mode, "%04o", (unsigned)value);
    return put(c, sv_from_cstr(mode));
}

/* ---- words ---- */

static enum hf_rc convert_word(const struct conversion *c)
{
    for (const char *const *name = c->ours->names; *name != NULL; name++)
        if (sv_eq_nocase(c->text, sv_from_cstr(*name)))
            return put(c, sv_from_cstr(*name));
    return refuse(c, "word that is known here");
}

static enum hf_rc convert_auth(const struct conversion *c)
{
    static const struct {
        const char *theirs, *ours, *note;
    } ways[] = {
        {"trust", "trust", NULL},
        {"any", "trust", "PgBouncer's any; a client still needs a user who may enter the servers"},
        {"plain", "password", "PgBouncer's plain; asked over TLS and unix sockets only"},
        {"md5", "md5", NULL},
        {"cert", "cert", NULL},
        {"hba", "reject", "what auth_hba_file says decides"},
        {"scram-sha-256", "scram-sha-256", NULL},
        {"ldap", "reject", "LDAP is not spoken: give users secrets in auth_file"},
        {"pam", "reject", "PAM is not spoken: give users secrets in auth_file"},
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (!sv_eq_nocase(c->text, sv_from_cstr(ways[i].theirs)))
            continue;
        if (ways[i].note != NULL)
            snprintf(c->out->note, sizeof c->out->note, "%s", ways[i].note);
        return put(c, sv_from_cstr(ways[i].ours));
    }
    return refuse(c, "way of logging in that PgBouncer knows");
}

/* The oldest version of the list; older ones than ours are not spoken any more. */
static enum hf_rc convert_protocols(const struct conversion *c)
{
    static const char *const old[] = {"all", "legacy", "tlsv1.0", "tlsv1.1", NULL};
    static const char *const fine[] = {"secure", "tlsv1.2", NULL};
    struct sv rest = c->text, word;
    bool is_old = false, is_fine = false;
    while (sv_split(&rest, ',', &word)) {
        word = sv_trim(word);
        is_old = is_old || is_one_of(word, old);
        if (is_one_of(word, fine))
            is_fine = true;
        else if (!is_one_of(word, old) && !sv_eq_nocase(word, SV("tlsv1.3")))
            return refuse(c, "list of TLS versions");
    }
    if (is_old)
        snprintf(c->out->note, sizeof c->out->note, "older versions are not spoken");
    return put(c, is_old || is_fine ? SV("TLSv1.2") : SV("TLSv1.3"));
}

static enum hf_rc convert_ciphers(const struct conversion *c)
{
    static const char *const usual[] = {"default", "secure", "fast", "normal", "", NULL};
    c->out->is_absent = is_one_of(c->text, usual);
    return put(c, sv_eq_nocase(c->text, SV("all")) ? SV("ALL") : c->text);
}

/* ---- places ---- */

/* Where PgBouncer finds it when it is started here, else beside its configuration. */
static enum hf_rc convert_path(const struct conversion *c)
{
    char here[PATH_MAX];
    const enum hf_rc rc = put(c, c->text);
    if (rc != HF_OK || c->text.size == 0 || c->text.data[0] == '/')
        return rc;
    char *whole = c->out->text;
    const char *folder = c->folder;
    if (access(whole, F_OK) == 0 && getcwd(here, sizeof here) != NULL)
        folder = here;
    const int size =
        snprintf(whole, sizeof c->out->text, "%s/%.*s", folder, (int)c->text.size, c->text.data);
    if (size < 0 || (size_t)size >= sizeof c->out->text)
        return err_set(c->err, HF_RC_LIMIT, "22023", "the path is too long");
    snprintf(c->out->note, sizeof c->out->note, "relative in PgBouncer's file");
    return HF_OK;
}

static enum hf_rc convert_host(const struct conversion *c)
{
    if (sv_find(c->text, ':') == c->text.size)
        return put(c, c->text);
    const int size =
        snprintf(c->out->text, sizeof c->out->text, "[%.*s]", (int)c->text.size, c->text.data);
    if (size < 0 || (size_t)size >= sizeof c->out->text)
        return err_set(c->err, HF_RC_LIMIT, "22023", "the host is too long");
    return HF_OK;
}

/* Addresses as ours has them: IPv6 in brackets. */
static enum hf_rc convert_listen(const struct conversion *c)
{
    struct sv rest = c->text, item;
    struct address address;
    size_t used = 0;
    c->out->text[0] = '\0';
    while (sv_split(&rest, ',', &item)) {
        item = sv_trim(item);
        if (item.size == 0)
            continue;
        const bool is_v6 = sv_find(item, ':') < item.size;
        if (!address_literal(&address, item, 0) && !sv_eq(item, SV("*")) &&
            !sv_eq(item, SV("localhost")))
            snprintf(c->out->note, sizeof c->out->note,
                     "names cannot be listened on: write the address of " SV_FMT, SV_ARG(item));
        const int size = snprintf(c->out->text + used, sizeof c->out->text - used, "%s%s%.*s%s",
                                  used > 0 ? ", " : "", is_v6 ? "[" : "", (int)item.size, item.data,
                                  is_v6 ? "]" : "");
        if (size < 0 || (size_t)size >= sizeof c->out->text - used)
            return err_set(c->err, HF_RC_LIMIT, "22023", "there are too many addresses");
        used += (size_t)size;
    }
    return HF_OK;
}

/* ---- all of them ---- */

static enum hf_rc convert(const struct conversion *c, enum pgbouncer_kind kind)
{
    switch (kind) {
    case PGBOUNCER_TEXT:
    case PGBOUNCER_NAMES:
    case PGBOUNCER_DIR:
        return put(c, c->text);
    case PGBOUNCER_HOST:
        return convert_host(c);
    case PGBOUNCER_PATH:
        return convert_path(c);
    case PGBOUNCER_COUNT:
        return convert_count(c);
    case PGBOUNCER_BOOL:
        return convert_bool(c);
    case PGBOUNCER_TIME:
        return convert_time(c, false);
    case PGBOUNCER_LIMIT:
        return convert_time(c, true);
    case PGBOUNCER_MILLIS:
        return convert_millis(c);
    case PGBOUNCER_WORD:
        return convert_word(c);
    case PGBOUNCER_AUTH:
        return convert_auth(c);
    case PGBOUNCER_LISTEN:
        return convert_listen(c);
    case PGBOUNCER_MODE:
        return convert_mode(c);
    case PGBOUNCER_PROTOCOLS:
        return convert_protocols(c);
    case PGBOUNCER_CIPHERS:
        return convert_ciphers(c);
    }
    return refuse(c, "value");
}

enum hf_rc pgbouncer_value_convert(struct pgbouncer_value *out, const struct pgbouncer_row *row,
                                   struct sv text, const char *folder, struct hf_err *err)
{
    const struct conversion conversion = {
        .out = out,
        .ours = pgbouncer_row_ours(row),
        .text = text,
        .folder = folder,
        .err = err,
    };
    out->is_absent = false;
    out->text[0] = '\0';
    out->note[0] = '\0';
    return convert(&conversion, row->kind);
}
