#include "cli/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int report_failure(const struct hf_err *err)
{
    fflush(stdout); /* what was said before stands before */
    fprintf(stderr, "holdfast: %s\n", err->message);
    if (err->detail[0] != '\0')
        fprintf(stderr, "          %s\n", err->detail);
    if (err->hint[0] != '\0')
        fprintf(stderr, "          %s\n", err->hint);
    return CLI_FAILED;
}

int report_usage(const struct hf_err *err)
{
    report_failure(err);
    return CLI_USAGE;
}

const char *report_called_as(void)
{
    const char *name = getenv("HOLDFAST_CALLED_AS"); // NOLINT(concurrency-mt-unsafe): one thread
    return name != NULL && strcmp(name, "./run") == 0 ? "./run" : "holdfast demo";
}
