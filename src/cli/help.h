/*
 * Help for people, made from the subcommands' rows: the overview, one subcommand, the man page, the
 * shell completion. All of it goes to stdout.
 */
#ifndef HF_CLI_HELP_H
#define HF_CLI_HELP_H

#include "cli/subcommand.h"

/* holdfast --help */
void help_overview(void);

/* holdfast help NAME */
void help_subcommand(const struct subcommand *subcommand);

/* holdfast --version */
void help_version(void);

/* holdfast help --man: holdfast.1 in the man macros of groff and mandoc. */
void help_manual(void);

/* holdfast help --completion: for bash. */
void help_completion(void);

#endif
