#include "cli/args.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

char *args_option(const char *key, char out[ARGS_OPTION_SIZE])
{
    snprintf(out, ARGS_OPTION_SIZE, "--%s", key);
    for (char *at = out; *at != '\0'; at++) {
        if (*at == '_')
            *at = '-';
    }
    return out;
}

/* A text takes the last word of its key: archive_dir DIR. */
static const char *last_word(const char *key, char out[ARGS_OPTION_SIZE])
{
    const char *word = strrchr(key, '_');
    snprintf(out, ARGS_OPTION_SIZE, "%s", word != NULL ? word + 1 : key);
    for (char *at = out; *at != '\0'; at++)
        *at = (char)toupper((unsigned char)*at);
    return out;
}

const char *args_placeholder(const struct opt_row *row, char out[ARGS_OPTION_SIZE])
{
    switch (row->type) {
    case OPT_BOOL:
        return NULL;
    case OPT_INT:
        return "N";
    case OPT_DURATION:
        return "TIME";
    case OPT_SIZE:
        return "SIZE";
    case OPT_PERCENT:
        return "PERCENT";
    case OPT_ENUM:
    case OPT_STRING:
    case OPT_SECRET:
        break;
    }
    return last_word(row->key, out);
}

/* The row of "port-base". */
static const struct opt_row *find_option(const struct opt_table *options, struct sv name)
{
    char key[ARGS_OPTION_SIZE];
    if (!sv_copy(name, key, sizeof key))
        return NULL;
    for (char *at = key; *at != '\0'; at++) {
        if (*at == '-')
            *at = '_';
    }
    return opt_find(options, sv_from_cstr(key));
}

static enum hf_rc unknown_option(const struct opt_table *options, struct sv name,
                                 struct hf_err *err)
{
    const unsigned far = 3;
    unsigned nearest = far + 1;
    char guess[ARGS_OPTION_SIZE] = "";
    for (size_t i = 0; i < options->count; i++) {
        char option[ARGS_OPTION_SIZE];
        args_option(options->rows[i].key, option);
        const unsigned distance = sv_distance(name, sv_from_cstr(option + 2), far);
        if (distance < nearest) {
            nearest = distance;
            memcpy(guess, option, sizeof guess);
        }
    }
    err_set(err, HF_RC_INVALID, "42704", "unknown option \"--" SV_FMT "\"", SV_ARG(name));
    if (guess[0] != '\0')
        return err_hint(err, "Did you mean \"%s\"?", guess);
    return err_hint(err, "--help lists the options.");
}

/* opt_set_row() names the option as a configuration file does; here it is named as it is typed. */
static enum hf_rc set_option(const struct opt_row *row, void *config, struct sv text,
                             struct hf_err *err)
{
    char option[ARGS_OPTION_SIZE];
    char prefix[ARGS_OPTION_SIZE + 16];
    if (opt_set_row(row, config, text, err) == HF_OK)
        return HF_OK;
    const size_t length = (size_t)snprintf(prefix, sizeof prefix, "option \"%s\": ", row->key);
    if (strncmp(err->message, prefix, length) == 0)
        memmove(err->message, err->message + length, sizeof err->message - length);
    return err_while(err, "%s", args_option(row->key, option));
}

/* One option; `*next` is the argument behind it, and how many of those were used is added to
 * `*used`. */
static enum hf_rc parse_option(const struct opt_table *options, void *config, const char *argument,
                               const char *next, int *used, struct hf_err *err)
{
    struct sv value = sv_from_cstr(argument + 2);
    struct sv name;
    sv_split(&value, '=', &name);
    const bool has_value = value.data != NULL;
    const struct opt_row *row = find_option(options, name);
    if (row == NULL)
        return unknown_option(options, name, err);
    if (has_value)
        return set_option(row, config, value, err);
    if (row->type == OPT_BOOL)
        return set_option(row, config, SV("on"), err);
    if (next == NULL) {
        char option[ARGS_OPTION_SIZE];
        char placeholder[ARGS_OPTION_SIZE];
        err_set(err, HF_RC_INVALID, "42601", "%s needs a value", args_option(row->key, option));
        return err_hint(err, "Write %s %s.", option, args_placeholder(row, placeholder));
    }
    *used += 1;
    return set_option(row, config, sv_from_cstr(next), err);
}

static enum hf_rc take_operand(struct args *args, const char *operand, const char *argument,
                               struct hf_err *err)
{
    /* The argument is not quoted in full: it may be a connection string with a password. */
    if (operand == NULL)
        return err_set(err, HF_RC_INVALID, "42601", "\"%.16s\" is one argument too many", argument);
    if (args->operand != NULL) {
        err_set(err, HF_RC_INVALID, "42601", "there is more than one %s",
                strchr(operand, ' ') == NULL ? operand : "operand");
        return err_hint(err, "Options begin with --; quote what contains blanks.");
    }
    args->operand = argument;
    return HF_OK;
}

enum hf_rc args_parse(struct args *args, const struct subcommand *subcommand, void *config,
                      int argc, char **argv, struct hf_err *err)
{
    const struct opt_table *options = &subcommand->options;
    bool is_all_operands = false;
    *args = (struct args){.operand = NULL};
    opt_defaults(options, config);
    for (int i = 0; i < argc; i++) {
        const char *argument = argv[i];
        enum hf_rc rc = HF_OK;
        if (is_all_operands || argument[0] != '-') {
            rc = take_operand(args, subcommand->operand, argument, err);
        } else if (strcmp(argument, "--") == 0) {
            is_all_operands = true;
        } else if (argument[1] != '-') {
            err_set(err, HF_RC_INVALID, "42704", "unknown option \"%.16s\"", argument);
            rc = err_hint(err, "Options have two dashes; --help lists them.");
        } else {
            const char *next = i + 1 < argc ? argv[i + 1] : NULL;
            rc = parse_option(options, config, argument, next, &i, err);
        }
        if (rc != HF_OK)
            return rc;
    }
    return HF_OK;
}
