/*
 * How a command tells a person that it failed: on stderr, in the same form everywhere.
 *
 *     holdfast: could not open "/x": permission denied
 *               detail, if there is one
 *               What to do about it.
 */
#ifndef HF_CLI_REPORT_H
#define HF_CLI_REPORT_H

#include "base/err.h"

/* Exit statuses. Whoever calls a command from a script can tell a wrong call from a failed one. */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
};

/* Prints the error and returns CLI_FAILED, so that `return report_failure(&err)` reads well. */
int report_failure(const struct hf_err *err);

/* The same for a wrong call: returns CLI_USAGE. */
int report_usage(const struct hf_err *err);

/* How the user called us and would again: "holdfast demo", or "./run" if that started us and said
 * so in HOLDFAST_CALLED_AS. For hints that people copy. Static text. */
const char *report_called_as(void);

#endif
