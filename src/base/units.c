#include "base/units.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#include "base/ns.h"

struct unit {
    char word[4]; /* not a pointer: the tables need no relocation */
    int64_t scale;
};

/* What distinguishes the quantities that are a number with a unit. */
struct kind {
    const char *article_name;
    const struct unit *units; /* from small to large */
    size_t unit_count;
    int64_t bare_scale;  /* of a number without a unit; 0 if only zero may stand alone */
    bool bare_below_one; /* ... which must then be less than 1 */
    const char *inexact;
    const char *too_large;
    const char *hint;
};

static const struct unit duration_units[] = {
    {"ns", 1},
    {"us", HF_US(1)},
    {"ms", HF_MS(1)},
    {"s", HF_SEC(1)},
    {"min", HF_SEC(60)},
    {"h", HF_SEC(60 * 60)},
    {"d", HF_SEC(24 * 60 * 60)},
};

static const struct kind duration_kind = {
    .article_name = "a duration",
    .units = duration_units,
    .unit_count = sizeof duration_units / sizeof duration_units[0],
    .inexact = "it is finer than a nanosecond",
    .too_large = "it is longer than 106751d, use never for no limit",
    .hint = "Write numbers with units, such as 100ms, 5s or 1h30min; "
            "the units are ns, us, ms, s, min, h and d.",
};

static const struct unit size_units[] = {
    {"B", 1},
    {"kB", INT64_C(1) << 10},
    {"MB", INT64_C(1) << 20},
    {"GB", INT64_C(1) << 30},
    {"TB", INT64_C(1) << 40},
};

static const struct kind size_kind = {
    .article_name = "a size",
    .units = size_units,
    .unit_count = sizeof size_units / sizeof size_units[0],
    .bare_scale = 1,
    .inexact = "it is not a whole number of bytes",
    .too_large = "it is more than 8388607TB",
    .hint = "Write a number of bytes or a number with a unit, such as 8kB, 512MB or 1GB; "
            "the units are B, kB, MB, GB and TB.",
};

static const struct unit percent_units[] = {{"%", UNITS_PERCENT_PPM}};

static const struct kind percent_kind = {
    .article_name = "a percentage",
    .units = percent_units,
    .unit_count = sizeof percent_units / sizeof percent_units[0],
    .bare_scale = UNITS_WHOLE_PPM,
    .bare_below_one = true,
    .inexact = "it is finer than 0.0001%",
    .too_large = "it is too large",
    .hint = "Write it as 20% or 0.5%, or as a fraction below 1 such as 0.2.",
};

static enum hf_rc refuse(struct hf_err *err, const struct kind *kind, struct sv text,
                         const char *why)
{
    err_set(err, HF_RC_INVALID, "22023", "\"" SV_FMT "\" is not %s: %s", SV_ARG(text),
            kind->article_name, why);
    err_hint(err, "%s", kind->hint);
    return HF_RC_INVALID;
}

/* The same, for a reason that lies at some place in the text. */
static enum hf_rc refuse_at(struct hf_err *err, const struct kind *kind, struct sv text,
                            const char *why, struct sv place)
{
    char reason[2 * SV_PRINT_MAX];
    snprintf(reason, sizeof reason, "%s \"" SV_FMT "\"", why, SV_ARG(place));
    return refuse(err, kind, text, reason);
}

/* out = a * b + c for numbers >= 0 and b > 0; false if that is more than an int64 holds. */
static bool multiply_add(int64_t a, int64_t b, int64_t c, int64_t *out)
{
    if (a > (INT64_MAX - c) / b)
        return false;
    *out = a * b + c;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static struct sv take_digits(struct sv *rest)
{
    size_t count = 0;
    while (count < rest->size && is_digit(rest->data[count]))
        count++;
    struct sv digits = sv_take(*rest, count);
    *rest = sv_drop(*rest, count);
    return digits;
}

/* Everything up to a digit, a blank or the end: also what no unit looks like, so that the message
 * can show it. */
static struct sv take_word(struct sv *rest)
{
    size_t count = 0;
    while (count < rest->size && !is_digit(rest->data[count]) && rest->data[count] != ' ')
        count++;
    struct sv word = sv_take(*rest, count);
    *rest = sv_drop(*rest, count);
    return word;
}

/* A decimal number as it was written; fraction is empty if there was no point. */
struct decimal {
    struct sv whole;
    struct sv fraction;
};

static bool take_decimal(struct sv *rest, struct decimal *number)
{
    number->whole = take_digits(rest);
    number->fraction = sv_from(NULL, 0);
    if (number->whole.size == 0)
        return false;
    if (rest->size == 0 || rest->data[0] != '.')
        return true;
    *rest = sv_drop(*rest, 1);
    number->fraction = take_digits(rest);
    return number->fraction.size > 0;
}

static bool all_zero(struct sv digits)
{
    for (size_t i = 0; i < digits.size; i++)
        if (digits.data[i] != '0')
            return false;
    return true;
}

/* Adds number * scale to the total; NULL, or the reason why that cannot be done.
 *
 * The fraction is worked from its last digit: x = (digit * scale + x) / 10. Where one of these
 * divisions leaves a remainder, the end result cannot be whole either, so exactness is checked on
 * the way, for any count of digits and without a number larger than ten times the scale. */
static const char *add_scaled(const struct kind *kind, const struct decimal *number, int64_t scale,
                              int64_t *total)
{
    int64_t part = 0;
    for (size_t i = number->fraction.size; i > 0; i--) {
        part += (number->fraction.data[i - 1] - '0') * scale;
        if (part % 10 != 0)
            return kind->inexact;
        part /= 10;
    }
    int64_t whole = 0;
    for (size_t i = 0; i < number->whole.size; i++)
        if (!multiply_add(whole, 10, number->whole.data[i] - '0', &whole))
            return kind->too_large;
    if (!multiply_add(whole, scale, part, &part) || !multiply_add(part, 1, *total, total))
        return kind->too_large;
    return NULL;
}

/* A number that stands alone: NULL, or why it may not. */
static const char *add_bare(const struct kind *kind, const struct decimal *number, int64_t *total)
{
    if (all_zero(number->whole) && all_zero(number->fraction))
        return NULL;
    bool is_allowed = kind->bare_scale != 0 && (!kind->bare_below_one || all_zero(number->whole));
    return is_allowed ? add_scaled(kind, number, kind->bare_scale, total) : "the unit is missing";
}

/* Index of the unit, or unit_count. */
static size_t find_unit(const struct kind *kind, struct sv word)
{
    size_t i = 0;
    while (i < kind->unit_count && !sv_eq(word, sv_from_cstr(kind->units[i].word)))
        i++;
    return i;
}

static enum hf_rc parse_quantity(const struct kind *kind, struct sv given, int64_t *out,
                                 struct hf_err *err)
{
    struct sv text = sv_trim(given), rest = text;
    if (text.size == 0)
        return refuse(err, kind, text, "it is empty");
    if (text.data[0] == '-')
        return refuse(err, kind, text, "it is negative");

    int64_t total = 0;
    size_t smallest = kind->unit_count; /* of the units so far */
    while (rest.size > 0) {
        struct decimal number;
        struct sv place = rest;
        if (!take_decimal(&rest, &number))
            return refuse_at(err, kind, text, "there is no number at", place);
        rest = sv_trim(rest);
        struct sv word = take_word(&rest);
        const char *trouble;
        if (word.size == 0) {
            bool is_alone = rest.size == 0 && smallest == kind->unit_count;
            trouble = is_alone ? add_bare(kind, &number, &total) : "a unit is missing";
        } else {
            size_t unit = find_unit(kind, word);
            if (unit == kind->unit_count)
                return refuse_at(err, kind, text, "there is no unit", word);
            if (unit >= smallest)
                return refuse_at(err, kind, text, "units must go from large to small, not to",
                                 word);
            smallest = unit;
            trouble = add_scaled(kind, &number, kind->units[unit].scale, &total);
        }
        if (trouble != NULL)
            return refuse(err, kind, text, trouble);
        rest = sv_trim(rest);
    }
    *out = total;
    return HF_OK;
}

enum hf_rc units_parse_duration(struct sv text, int64_t *out_ns, struct hf_err *err)
{
    if (sv_eq(sv_trim(text), SV("never"))) {
        *out_ns = HF_NEVER;
        return HF_OK;
    }
    return parse_quantity(&duration_kind, text, out_ns, err);
}

enum hf_rc units_parse_size(struct sv text, int64_t *out_bytes, struct hf_err *err)
{
    return parse_quantity(&size_kind, text, out_bytes, err);
}

enum hf_rc units_parse_percent(struct sv text, int64_t *out_ppm, struct hf_err *err)
{
    return parse_quantity(&percent_kind, text, out_ppm, err);
}

enum hf_rc units_parse_int(struct sv text, int64_t *out, struct hf_err *err)
{
    text = sv_trim(text);
    switch (sv_to_int(text, INT64_MIN, INT64_MAX, out)) {
    case SV_NUMBER_OK:
        return HF_OK;
    case SV_NUMBER_RANGE:
        return err_set(err, HF_RC_INVALID, "22023", "\"" SV_FMT "\" does not fit into 64 bits",
                       SV_ARG(text));
    case SV_NUMBER_NONE:
        break;
    }
    err_set(err, HF_RC_INVALID, "22023", "\"" SV_FMT "\" is not an integer", SV_ARG(text));
    return err_hint(err, "Write a whole number in digits, such as 42.");
}

enum hf_rc units_parse_bool(struct sv text, bool *out, struct hf_err *err)
{
    /* Pairs: even places are true. */
    static const char words[][8] = {"on", "off", "true", "false", "yes", "no", "1", "0"};
    text = sv_trim(text);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (sv_eq_nocase(text, sv_from_cstr(words[i]))) {
            *out = i % 2 == 0;
            return HF_OK;
        }
    }
    err_set(err, HF_RC_INVALID, "22023", "\"" SV_FMT "\" is not a boolean", SV_ARG(text));
    return err_hint(err, "Write on or off (true, false, yes, no, 1 and 0 are understood too).");
}

/* The distance from zero; INT64_MIN has one too. */
static uint64_t magnitude(int64_t value)
{
    return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

static const char *print_quantity(const struct kind *kind, int64_t value, char out[UNITS_TEXT_MAX])
{
    uint64_t size = magnitude(value);
    size_t unit = kind->unit_count - 1;
    while (size % (uint64_t)kind->units[unit].scale != 0)
        unit--;
    snprintf(out, UNITS_TEXT_MAX, "%s%" PRIu64 "%s", value < 0 ? "-" : "",
             size / (uint64_t)kind->units[unit].scale, value == 0 ? "" : kind->units[unit].word);
    return out;
}

const char *units_print_duration(int64_t ns, char out[UNITS_TEXT_MAX])
{
    if (ns != HF_NEVER)
        return print_quantity(&duration_kind, ns, out);
    snprintf(out, UNITS_TEXT_MAX, "never");
    return out;
}

const char *units_print_size(int64_t bytes, char out[UNITS_TEXT_MAX])
{
    return print_quantity(&size_kind, bytes, out);
}

const char *units_print_percent(int64_t ppm, char out[UNITS_TEXT_MAX])
{
    uint64_t size = magnitude(ppm);
    uint64_t whole = size / (uint64_t)UNITS_PERCENT_PPM;
    /* Four digits after the point, without the zeros at their end and then without the point. */
    char fraction[12];
    snprintf(fraction, sizeof fraction, ".%04u", (unsigned)(size % (uint64_t)UNITS_PERCENT_PPM));
    int kept = 5;
    while (kept > 1 && fraction[kept - 1] == '0')
        kept--;
    kept = kept > 1 ? kept : 0;
    snprintf(out, UNITS_TEXT_MAX, "%s%" PRIu64 "%.*s%%", ppm < 0 ? "-" : "", whole, kept, fraction);
    return out;
}

const char *units_print_int(int64_t value, char out[UNITS_TEXT_MAX])
{
    snprintf(out, UNITS_TEXT_MAX, "%" PRId64, value);
    return out;
}

const char *units_print_bool(bool value)
{
    return value ? "on" : "off";
}
