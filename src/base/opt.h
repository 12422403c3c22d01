/*
 * Option rows: everything there is to say about a setting, declared once, beside the module that
 * uses it.
 *
 * A module has a plain struct for its configuration and one row for each field. Help, man page,
 * sample file, reference, validation, reload, SHOW and completion are made from the rows, so adding
 * a setting means touching one file. config/ reads files and knows only this header.
 *
 *     struct breaker_config { int64_t open_for_ns; uint32_t failures; enum breaker_mode mode; };
 *
 *     static const struct opt_row rows[] = {
 *         {.key = "open_for", .type = OPT_DURATION, OPT_FIELD(struct breaker_config, open_for_ns),
 *          .default_text = "5s", .min = HF_MS(10), .max = HF_SEC(3600), .is_reloadable = true,
 *          .since = "0.1", .sentence = "How long an open breaker refuses before it probes."},
 *         ...
 *     };
 *     static const struct opt_table table = OPT_TABLE(rows);
 *
 *     opt_defaults(&table, &config);
 *     if (opt_set(&table, &config, SV("open_for"), SV("10s"), err) != HF_OK) ...
 *
 * What a type means, in text and in the struct:
 *
 *     OPT_BOOL      on, off ...                 bool
 *     OPT_INT       42                          int64_t, or int32_t / uint32_t
 *     OPT_DURATION  1h30min (base/units.h)      int64_t nanoseconds
 *     OPT_SIZE      8kB                         int64_t bytes, or 32 bits
 *     OPT_PERCENT   20%                         int64_t millionths, or 32 bits
 *     OPT_ENUM      one of names[]              an enum whose enumerators count up from 0
 *     OPT_STRING    printable text              char[n], at most n - 1 bytes and a NUL
 *     OPT_SECRET    anything without NUL        struct secret
 *
 * Invariants
 *  1. A setting is inside its range at any time: defaults are (opt_check() in a test of the module
 *     proves it), and a refused value leaves the old one.
 *  2. opt_set() of what opt_print() wrote changes nothing, secrets apart: those print as a mask.
 *  3. A failure names the option, the value, what was expected, and where a name is misspelt the
 *     one that was probably meant. It never quotes a secret.
 */
#ifndef HF_BASE_OPT_H
#define HF_BASE_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/sv.h"
#include "base/units.h"

enum opt_type {
    OPT_BOOL,
    OPT_INT,
    OPT_DURATION,
    OPT_SIZE,
    OPT_PERCENT,
    OPT_ENUM,
    OPT_STRING,
    OPT_SECRET,
};

struct opt_row {
    const char *key; /* snake_case, unique in its table */
    enum opt_type type;
    bool is_reloadable; /* takes effect without a restart */
    size_t offset;      /* of the field in the struct, and its size: OPT_FIELD sets both */
    size_t size;
    const char *default_text;
    int64_t min;              /* of a number; a string or secret with min 1 must not be empty */
    int64_t max;              /* of a number only; HF_NEVER lets a duration be "never" */
    const char *const *names; /* OPT_ENUM only: the enumerators' names in order, then NULL */
    const char *unit;         /* OPT_INT only, may be NULL: what is counted, "connections" */
    const char *since;        /* the version that brought it, "0.1" */
    const char *sentence;     /* what it does, for help and reference */
};

#define OPT_FIELD(type, field) .offset = offsetof(type, field), .size = sizeof(((type *)0)->field)

struct opt_table {
    const struct opt_row *rows;
    size_t count;
};

#define OPT_TABLE(array)                                                                           \
    {                                                                                              \
        .rows = (array), .count = sizeof(array) / sizeof(array)[0]                                 \
    }

/* The row of a key, or NULL. */
const struct opt_row *opt_find(const struct opt_table *table, struct sv key);

/* Sets every field that has a row to its default. A default that its own row refuses is a bug. */
void opt_defaults(const struct opt_table *table, void *config);

/* Sets one option from text. */
enum hf_rc opt_set(const struct opt_table *table, void *config, struct sv key, struct sv text,
                   struct hf_err *err) HF_MUST_USE;

/* The same for a row that was found before; with `config` NULL the text is only judged. */
enum hf_rc opt_set_row(const struct opt_row *row, void *config, struct sv text,
                       struct hf_err *err) HF_MUST_USE;

/* Appends the value as text; false, and nothing appended, if it does not fit. */
bool opt_print(const struct opt_row *row, const void *config, struct buffer *out);

/* A number of such a type, as opt_set() takes it: "10s", "64kB", "5%", "20". */
const char *opt_print_number(enum opt_type type, int64_t number, char out[UNITS_TEXT_MAX]);

/* The next row whose value differs between two configurations, or NULL at the end; `*cursor` starts
 * at 0.
 *
 *     size_t cursor = 0;
 *     while ((row = opt_diff(&table, &old, &new, &cursor)) != NULL) ...
 */
const struct opt_row *opt_diff(const struct opt_table *table, const void *before, const void *after,
                               size_t *cursor);

/* The word used in documentation: "duration", "size" ... */
const char *opt_type_name(enum opt_type type);

#endif
