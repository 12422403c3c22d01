/*
 * holdfast: one binary. This file finds the subcommand and hands over; what there is to know of a
 * subcommand is in its row (cli/subcommand.h).
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/help.h"
#include "cli/report.h"
#include "cli/subcommand.h"

/* A program started without stdin, stdout or stderr would give their numbers to the next files it
 * opens, and then print into a database connection. */
static void open_standard_files(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

/* --help counts anywhere in front of "--", also beside options that are wrong: whoever asks for
 * help gets it. */
static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    }
    return false;
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        help_overview();
        return CLI_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        help_overview();
        return CLI_OK;
    }
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        help_version();
        return CLI_OK;
    }
    const struct sv name = sv_from_cstr(word);
    const struct subcommand *subcommand = subcommand_find(name);
    if (subcommand == NULL) {
        struct hf_err err;
        if (word[0] == '-') {
            err_set(&err, HF_RC_INVALID, "42704", "unknown option \"" SV_FMT "\"", SV_ARG(name));
            err_hint(&err, "Options stand behind a subcommand; holdfast --help lists those.");
        } else {
            subcommand_unknown(name, &err);
        }
        return report_usage(&err);
    }
    if (wants_help(argc - 2, argv + 2)) {
        help_subcommand(subcommand);
        return CLI_OK;
    }
    return subcommand->run(subcommand, argc - 2, argv + 2);
}

/* Output that did not arrive is a failure: `holdfast help --man >/full/disk` must not look like
 * success. */
int main(int argc, char **argv)
{
    open_standard_files();
    int status = dispatch(argc, argv);
    bool is_lost = fflush(stdout) != 0 || ferror(stdout) != 0; /* now, or on the way here */
    if (is_lost && status == CLI_OK) {
        struct hf_err err;
        err_set(&err, HF_RC_IO, NULL, "could not write to stdout");
        return report_failure(&err);
    }
    return status;
}
