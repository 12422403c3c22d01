/*
 * Subcommands, declared once: from their rows come dispatch, --help, the man page, the shell
 * completion and the suggestion for a misspelt name. A subcommand is a file cmd_NAME.c with one
 * `struct subcommand` and its line in subcommands.c; nothing else knows of it, and a subcommand
 * that does not work yet has no row.
 */
#ifndef HF_CLI_SUBCOMMAND_H
#define HF_CLI_SUBCOMMAND_H

#include <stddef.h>

#include "base/opt.h"
#include "base/sv.h"

struct subcommand_example {
    const char *line;
    const char *sentence;
};

struct subcommand {
    const char *name;
    const char *summary;          /* what it does: "start ...", no capital, no full stop */
    const char *operand;          /* what may stand beside options, such as "URL"; NULL: nothing */
    const char *operand_sentence; /* what it means; NULL without operand */
    const char *description;      /* paragraphs, separated by an empty line */
    struct opt_table options;     /* key port_base is the option --port-base */
    size_t config_size;           /* of the struct that they fill */
    struct subcommand_example examples[4]; /* up to the first without a line */

    /* Does it; gets the arguments behind the name and returns the exit status. --help never gets
     * this far. */
    int (*run)(const struct subcommand *self, int argc, char **argv);
};

/* All of them, in the order of --help. */
size_t subcommand_count(void);
const struct subcommand *subcommand_at(size_t index);

/* By name; NULL if there is none. */
const struct subcommand *subcommand_find(struct sv name);

/* Fills err for a name that subcommand_find() does not know, with the one that was probably meant;
 * returns its code. */
enum hf_rc subcommand_unknown(struct sv name, struct hf_err *err);

/* The rows. */
const struct subcommand *cmd_config(void);
const struct subcommand *cmd_demo(void);
const struct subcommand *cmd_explain(void);
const struct subcommand *cmd_help(void);
const struct subcommand *cmd_import(void);
const struct subcommand *cmd_proxy(void);

#endif
