#include "base/opt_check.h"

#include <string.h>

#include "base/secret.h"

/* Every check below answers with NULL if all is well, else with what is wrong. */

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *check_key(const struct opt_row *row)
{
    const char *key = row->key;
    bool is_snake = is_lower(key[0]) && key[strlen(key) - 1] != '_' && strstr(key, "__") == NULL;
    for (size_t i = 0; key[i] != '\0'; i++)
        is_snake = is_snake && (is_lower(key[i]) || is_digit(key[i]) || key[i] == '_');
    return is_snake ? NULL : "the key is not snake_case";
}

static bool is_number(enum opt_type type)
{
    return type == OPT_INT || type == OPT_DURATION || type == OPT_SIZE || type == OPT_PERCENT;
}

static bool has_size_of_type(const struct opt_row *row)
{
    switch (row->type) {
    case OPT_BOOL:
        return row->size == sizeof(bool);
    case OPT_ENUM:
        return row->size == sizeof(int32_t);
    case OPT_DURATION:
        return row->size == sizeof(int64_t);
    case OPT_INT:
    case OPT_SIZE:
    case OPT_PERCENT:
        return row->size == sizeof(int64_t) || row->size == sizeof(int32_t);
    case OPT_STRING:
        return row->size >= 2;
    case OPT_SECRET:
        break;
    }
    return row->size == sizeof(struct secret);
}

static const char *check_field(const struct opt_row *row, size_t config_size)
{
    if (!has_size_of_type(row))
        return "the field has not the size of its type";
    if (row->size > config_size || row->offset > config_size - row->size)
        return "the field lies outside the struct";
    return NULL;
}

static const char *check_range(const struct opt_row *row)
{
    if (!is_number(row->type)) {
        bool may_be_required = row->type == OPT_STRING || row->type == OPT_SECRET;
        bool is_plain = row->max == 0 && (row->min == 0 || (row->min == 1 && may_be_required));
        return is_plain ? NULL : "the type has no range";
    }
    if (row->min >= row->max)
        return "min is not below max";
    if (row->min < 0 && row->type != OPT_INT)
        return "min is negative";
    /* Up to INT32_MAX also for unsigned fields, because a row does not know its field's sign. */
    if (row->size == sizeof(int32_t) && (row->min < INT32_MIN || row->max > INT32_MAX))
        return "the range does not fit the field";
    return NULL;
}

static const char *check_names(const struct opt_row *row)
{
    if (row->unit != NULL && row->type != OPT_INT)
        return "only integers have a unit of their own";
    if ((row->names != NULL) != (row->type == OPT_ENUM))
        return "names belong to enums, and enums need them";
    for (size_t i = 0; row->names != NULL && row->names[i] != NULL; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(row->names[i], row->names[j]) == 0)
                return "a name occurs twice";
    return NULL;
}

static const char *check_since(const struct opt_row *row)
{
    struct sv rest = sv_from_cstr(row->since), part;
    size_t parts = 0;
    int64_t number;
    for (; sv_split(&rest, '.', &part); parts++)
        if (sv_to_int(part, 0, 9999, &number) != SV_NUMBER_OK)
            parts = 9;
    return parts == 2 || parts == 3 ? NULL : "since is not a version such as 0.1";
}

static const char *check_sentence(const struct opt_row *row)
{
    struct sv sentence = sv_from_cstr(row->sentence);
    bool is_sentence = sentence.size >= 10 && sentence.data[0] >= 'A' && sentence.data[0] <= 'Z' &&
                       sv_ends_with(sentence, SV("."));
    for (size_t i = 0; i < sentence.size; i++)
        is_sentence = is_sentence && sentence.data[i] >= ' ' && sentence.data[i] <= '~';
    return is_sentence ? NULL : "the sentence is none: a capital, some words, a full stop";
}

static const char *check_against(const struct opt_row *row, const struct opt_row *other)
{
    if (strcmp(row->key, other->key) == 0)
        return "the key occurs twice";
    if (row->offset < other->offset + other->size && other->offset < row->offset + row->size)
        return "the field is another row's too";
    return NULL;
}

enum hf_rc opt_check(const struct opt_table *table, size_t config_size, struct hf_err *err)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct opt_row *row = &table->rows[i];
        const char *troubles[] = {check_key(row),   check_field(row, config_size),
                                  check_range(row), check_names(row),
                                  check_since(row), check_sentence(row)};
        const char *trouble = NULL;
        for (size_t n = 0; n < sizeof troubles / sizeof troubles[0] && trouble == NULL; n++)
            trouble = troubles[n];
        for (size_t j = 0; j < i && trouble == NULL; j++)
            trouble = check_against(row, &table->rows[j]);
        if (trouble != NULL)
            return err_set(err, HF_RC_INVALID, NULL, "row \"%s\": %s", row->key, trouble);
        enum hf_rc rc = opt_set_row(row, NULL, sv_from_cstr(row->default_text), err);
        if (rc != HF_OK) {
            err_while(err, "default of row \"%s\"", row->key);
            return rc;
        }
    }
    return HF_OK;
}
