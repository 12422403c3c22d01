/*
 * The command line of a subcommand, read by its option rows.
 *
 *     --port-base 18000   --port-base=18000   --fresh   --fresh=off   -- OPERAND
 *
 * An option is a row's key with '-' for '_'; a boolean alone means on. Options and operands may
 * stand in any order; behind "--" everything is an operand. What is wrong is said with the option's
 * name as it was meant to be written, and with the nearest one if it was misspelt.
 */
#ifndef HF_CLI_ARGS_H
#define HF_CLI_ARGS_H

#include <stddef.h>

#include "base/err.h"
#include "base/opt.h"
#include "cli/subcommand.h"

#define ARGS_OPTION_SIZE 40 /* "--" and a key and a NUL */

struct args {
    const char *operand; /* borrowed from argv; NULL if there was none */
};

/* Sets `config` to the options' defaults and then to what the command line says. */
enum hf_rc HF_MUST_USE args_parse(struct args *args, const struct subcommand *subcommand,
                                  void *config, int argc, char **argv, struct hf_err *err);

/* "--port-base" for "port_base". Returns out. */
char *args_option(const char *key, char out[ARGS_OPTION_SIZE]);

/* What stands for an option's value in help: "N", "DIR"; NULL for a boolean, which has none. */
const char *args_placeholder(const struct opt_row *row, char out[ARGS_OPTION_SIZE]);

#endif
