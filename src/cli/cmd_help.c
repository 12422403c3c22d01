#include "cli/help.h"

#include "cli/args.h"
#include "cli/report.h"

struct help_config {
    bool man;
    bool completion;
};

static const struct opt_row rows[] = {
    {.key = "man",
     .type = OPT_BOOL,
     OPT_FIELD(struct help_config, man),
     .default_text = "off",
     .since = "0.1",
     .sentence = "Prints the manual page holdfast.1 in the language of man."},
    {.key = "completion",
     .type = OPT_BOOL,
     OPT_FIELD(struct help_config, completion),
     .default_text = "off",
     .since = "0.1",
     .sentence = "Prints a completion script for bash, to be sourced by ~/.bashrc."},
};

static int run(const struct subcommand *self, int argc, char **argv)
{
    struct help_config config;
    struct args args;
    struct hf_err err;
    if (args_parse(&args, self, &config, argc, argv, &err) != HF_OK)
        return report_usage(&err);
    if (config.man) {
        help_manual();
    } else if (config.completion) {
        help_completion();
    } else if (args.operand == NULL) {
        help_overview();
    } else {
        const struct sv name = sv_from_cstr(args.operand);
        const struct subcommand *subcommand = subcommand_find(name);
        if (subcommand == NULL) {
            subcommand_unknown(name, &err);
            return report_usage(&err);
        }
        help_subcommand(subcommand);
    }
    return CLI_OK;
}

const struct subcommand *cmd_help(void)
{
    static const struct subcommand subcommand = {
        .name = "help",
        .summary = "explain a subcommand, or print the manual page",
        .operand = "SUBCOMMAND",
        .operand_sentence = "Whose options, operand and examples to show.",
        .description = "Shows what Holdfast can do, or everything about one subcommand. Help, "
                       "manual page and completion are made from the same rows as the command "
                       "line is read by, so they cannot say different things.",
        .options = OPT_TABLE(rows),
        .config_size = sizeof(struct help_config),
        .examples = {{"holdfast help --man | man -l -", "Reads the manual without installing it."}},
        .run = run,
    };
    return &subcommand;
}
