#include "base/opt.h"

#include <string.h>

#include "base/bug.h"
#include "base/secret.h"

/* What text means to a row: a number, or the text itself for strings and secrets. */
struct value {
    int64_t number;
    struct sv text;
};

const struct opt_row *opt_find(const struct opt_table *table, struct sv key)
{
    for (size_t i = 0; i < table->count; i++)
        if (sv_eq(key, sv_from_cstr(table->rows[i].key)))
            return &table->rows[i];
    return NULL;
}

const char *opt_type_name(enum opt_type type)
{
    static const char names[][12] = {
        [OPT_BOOL] = "boolean", [OPT_INT] = "integer",        [OPT_DURATION] = "duration",
        [OPT_SIZE] = "size",    [OPT_PERCENT] = "percentage", [OPT_ENUM] = "name",
        [OPT_STRING] = "text",  [OPT_SECRET] = "secret",
    };
    return names[type];
}

/* ---- Misspelt names ---- */

/* Gathers, over the names that would have been right, the one nearest to what was written, and a
 * list of them all. */
struct guess {
    struct sv written;
    const char *nearest;
    unsigned distance; /* of the nearest so far; at first, one more than may be guessed */
    struct buffer list;
    char list_block[160];
    bool is_cut; /* the list has no room for all */
};

static void guess_begin(struct guess *guess, struct sv written)
{
    /* One mistake may be guessed in a short word and up to three in a long one: a wilder guess
     * confuses more than it helps. */
    unsigned limit = written.size >= 8 ? 3 : written.size >= 4 ? 2 : 1;
    *guess = (struct guess){.written = written, .distance = limit + 1};
    buffer_init(&guess->list, guess->list_block, sizeof guess->list_block);
}

static void guess_consider(struct guess *guess, const char *name)
{
    struct sv word = sv_from_cstr(name);
    unsigned distance = sv_distance(guess->written, word, guess->distance);
    if (distance < guess->distance) {
        guess->distance = distance;
        guess->nearest = name;
    }
    struct sv separator = buffer_held(&guess->list) > 0 ? SV(", ") : SV("");
    if (separator.size + word.size > buffer_free(&guess->list))
        guess->is_cut = true;
    if (guess->is_cut)
        return;
    buffer_append(&guess->list, separator);
    buffer_append(&guess->list, word);
}

/* Ends a failure with the hint that fits. */
static enum hf_rc guess_hint(const struct guess *guess, const char *what, struct hf_err *err)
{
    if (guess->nearest != NULL)
        return err_hint(err, "Did you mean \"%s\"?", guess->nearest);
    return err_hint(err, "%s %.*s%s", what, (int)buffer_held(&guess->list), guess->list_block,
                    guess->is_cut ? ", ..." : ".");
}

/* ---- From text ---- */

static enum hf_rc parse_enum(const struct opt_row *row, struct sv text, int64_t *out,
                             struct hf_err *err)
{
    text = sv_trim(text);
    struct guess guess;
    guess_begin(&guess, text);
    for (int i = 0; row->names[i] != NULL; i++) {
        if (sv_eq(text, sv_from_cstr(row->names[i]))) {
            *out = i;
            return HF_OK;
        }
        guess_consider(&guess, row->names[i]);
    }
    err_set(err, HF_RC_INVALID, "22023", "\"" SV_FMT "\" is not known here", SV_ARG(text));
    return guess_hint(&guess, "Choose one of", err);
}

static enum hf_rc check_string(const struct opt_row *row, struct sv text, struct hf_err *err)
{
    /* One byte of the field is the NUL's. */
    if (text.size >= row->size)
        return err_set(err, HF_RC_LIMIT, "22001", "it has %zu bytes, at most %zu are allowed",
                       text.size, row->size - 1);
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c < ' ' || c == 0x7f)
            return err_set(err, HF_RC_INVALID, "22023", "byte %zu is a control character (0x%02x)",
                           i + 1, c);
    }
    return HF_OK;
}

static enum hf_rc check_secret(struct sv text, struct hf_err *err)
{
    struct secret trial = {0};
    enum hf_rc rc = secret_set(&trial, text, err);
    secret_wipe(&trial);
    return rc;
}

static enum hf_rc parse_text(const struct opt_row *row, struct sv text, struct value *out,
                             struct hf_err *err)
{
    bool flag = false;
    enum hf_rc rc = HF_OK;
    out->text = text;
    out->number = row->min;
    switch (row->type) {
    case OPT_BOOL:
        rc = units_parse_bool(text, &flag, err);
        out->number = flag;
        break;
    case OPT_INT:
        rc = units_parse_int(text, &out->number, err);
        break;
    case OPT_DURATION:
        rc = units_parse_duration(text, &out->number, err);
        break;
    case OPT_SIZE:
        rc = units_parse_size(text, &out->number, err);
        break;
    case OPT_PERCENT:
        rc = units_parse_percent(text, &out->number, err);
        break;
    case OPT_ENUM:
        rc = parse_enum(row, text, &out->number, err);
        break;
    case OPT_STRING:
        rc = check_string(row, text, err);
        break;
    case OPT_SECRET:
        rc = check_secret(text, err);
        break;
    }
    return rc;
}

const char *opt_print_number(enum opt_type type, int64_t number, char out[UNITS_TEXT_MAX])
{
    if (type == OPT_DURATION)
        return units_print_duration(number, out);
    if (type == OPT_SIZE)
        return units_print_size(number, out);
    if (type == OPT_PERCENT)
        return units_print_percent(number, out);
    return units_print_int(number, out);
}

static bool has_range(enum opt_type type)
{
    return type == OPT_INT || type == OPT_DURATION || type == OPT_SIZE || type == OPT_PERCENT;
}

static enum hf_rc check_range(const struct opt_row *row, const struct value *value,
                              struct hf_err *err)
{
    bool may_be_empty = row->min == 0;
    if ((row->type == OPT_STRING || row->type == OPT_SECRET) && value->text.size == 0)
        return may_be_empty ? HF_OK : err_set(err, HF_RC_INVALID, "22023", "it must not be empty");
    if (!has_range(row->type) || (value->number >= row->min && value->number <= row->max))
        return HF_OK;
    char given[UNITS_TEXT_MAX], low[UNITS_TEXT_MAX], high[UNITS_TEXT_MAX];
    err_set(err, HF_RC_INVALID, "22023", "%s is %s",
            opt_print_number(row->type, value->number, given),
            value->number < row->min ? "too small" : "too large");
    return err_hint(err, "Choose a value from %s to %s.",
                    opt_print_number(row->type, row->min, low),
                    opt_print_number(row->type, row->max, high));
}

/* ---- In the struct ---- */

/* Fields are copied, not cast to: the struct is the module's and its fields have its types. */
static void store_number(const struct opt_row *row, void *field, int64_t number)
{
    bool flag = number != 0;
    int32_t narrow = (int32_t)number;
    if (row->type == OPT_BOOL)
        memcpy(field, &flag, sizeof flag);
    else if (row->size == sizeof narrow)
        memcpy(field, &narrow, sizeof narrow);
    else
        memcpy(field, &number, sizeof number);
}

static int64_t load_number(const struct opt_row *row, const void *field)
{
    bool flag;
    int32_t narrow;
    int64_t number;
    if (row->type == OPT_BOOL) {
        memcpy(&flag, field, sizeof flag);
        return flag;
    }
    if (row->size == sizeof narrow) {
        memcpy(&narrow, field, sizeof narrow);
        return narrow;
    }
    memcpy(&number, field, sizeof number);
    return number;
}

static void store(const struct opt_row *row, void *config, const struct value *value)
{
    void *field = (char *)config + row->offset;
    if (row->type == OPT_STRING) {
        memset(field, 0, row->size); /* nothing of a longer old value stays behind */
        bool fits = sv_copy(value->text, field, row->size);
        hf_assert(fits);
    } else if (row->type == OPT_SECRET) {
        enum hf_rc rc = secret_set(field, value->text, NULL);
        hf_assert(rc == HF_OK);
    } else {
        store_number(row, field, value->number);
    }
}

enum hf_rc opt_set_row(const struct opt_row *row, void *config, struct sv text, struct hf_err *err)
{
    struct value value;
    enum hf_rc rc = parse_text(row, text, &value, err);
    if (rc == HF_OK)
        rc = check_range(row, &value, err);
    if (rc != HF_OK) {
        err_while(err, "option \"%s\"", row->key);
        return rc;
    }
    if (config != NULL)
        store(row, config, &value);
    return HF_OK;
}

enum hf_rc opt_set(const struct opt_table *table, void *config, struct sv key, struct sv text,
                   struct hf_err *err)
{
    const struct opt_row *row = opt_find(table, key);
    if (row != NULL)
        return opt_set_row(row, config, text, err);
    struct guess guess;
    guess_begin(&guess, key);
    for (size_t i = 0; i < table->count; i++)
        guess_consider(&guess, table->rows[i].key);
    err_set(err, HF_RC_INVALID, "42704", "unknown option \"" SV_FMT "\"", SV_ARG(key));
    return guess_hint(&guess, "The options here are", err);
}

void opt_defaults(const struct opt_table *table, void *config)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct opt_row *row = &table->rows[i];
        enum hf_rc rc = opt_set_row(row, config, sv_from_cstr(row->default_text), NULL);
        hf_assert(rc == HF_OK);
    }
}

bool opt_print(const struct opt_row *row, const void *config, struct buffer *out)
{
    const void *field = (const char *)config + row->offset;
    char number[UNITS_TEXT_MAX];
    const char *text = NULL;
    switch (row->type) {
    case OPT_BOOL:
        text = units_print_bool(load_number(row, field) != 0);
        break;
    case OPT_INT:
    case OPT_DURATION:
    case OPT_SIZE:
    case OPT_PERCENT:
        text = opt_print_number(row->type, load_number(row, field), number);
        break;
    case OPT_ENUM:
        text = row->names[load_number(row, field)];
        break;
    case OPT_STRING:
        text = field;
        break;
    case OPT_SECRET:
        text = secret_print(field);
        break;
    }
    return buffer_append(out, sv_from_cstr(text));
}

static bool is_equal(const struct opt_row *row, const void *before, const void *after)
{
    before = (const char *)before + row->offset;
    after = (const char *)after + row->offset;
    if (row->type == OPT_STRING)
        return strcmp(before, after) == 0;
    if (row->type == OPT_SECRET)
        return secret_eq(before, after);
    return load_number(row, before) == load_number(row, after);
}

const struct opt_row *opt_diff(const struct opt_table *table, const void *before, const void *after,
                               size_t *cursor)
{
    while (*cursor < table->count) {
        const struct opt_row *row = &table->rows[(*cursor)++];
        if (!is_equal(row, before, after))
            return row;
    }
    return NULL;
}
