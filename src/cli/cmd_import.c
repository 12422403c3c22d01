#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/args.h"
#include "cli/report.h"
#include "cli/subcommand.h"
#include "config/config.h"
#include "config/pgbouncer_import.h"
#include "config/pgbouncer_ini.h"
#include "os/file.h"
#include "os/mem.h"

struct import_config {
    char output[1024];
};

static const struct opt_row rows[] = {
    {.key = "output",
     .type = OPT_STRING,
     OPT_FIELD(struct import_config, output),
     .default_text = "",
     .since = "0.2",
     .sentence = "File to write, made or replaced; without it, what is made is printed."},
};

static const char *plural(unsigned count)
{
    return count == 1 ? "" : "s";
}

/* On stderr, beside the file on stdout. */
static void tell(const struct pgbouncer_import *import, const char *output)
{
    fprintf(stderr, "%u setting%s carried over, %u %s none here, %u %s no equivalent",
            import->carried, plural(import->carried), import->needless,
            import->needless == 1 ? "needs" : "need", import->lost,
            import->lost == 1 ? "has" : "have");
    if (import->unknown > 0)
        fprintf(stderr, ", %u unknown to PgBouncer itself", import->unknown);
    fprintf(stderr, "%s\n", import->lost + import->unknown > 0 ? ": see its comments" : "");
    if (output[0] != '\0' && import->has_secrets)
        fprintf(stderr, "There are passwords in %s: only you may read it.\n", output);
}

/* What was made has to be what the proxy takes. */
static enum hf_rc check(struct sv text, struct mem *mem, struct hf_err *err)
{
    struct config_faults faults;
    struct proxy_config *config = NULL;
    const enum hf_rc rc = config_read_text(&config, text, NULL, mem, &faults);
    proxy_config_free(config);
    if (rc == HF_OK)
        return HF_OK;
    config_fault_as_err(&faults, "what was made", err);
    return err->rc;
}

/* The result takes the place of what has its name: that must not be a device (/dev/stdout), a link,
 * or what was read. */
static enum hf_rc judge_output(const char *output, const char *input, struct hf_err *err)
{
    struct stat out, in;
    if (output[0] == '\0' || lstat(output, &out) != 0 || S_ISDIR(out.st_mode))
        return HF_OK; /* a folder is told as such by who writes */
    if (!S_ISREG(out.st_mode)) {
        err_set(err, HF_RC_INVALID, "42809", "cannot write \"%s\": it is no plain file", output);
        return err_hint(err, "Without --output the result is printed.");
    }
    if (stat(input, &in) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino) {
        err_set(err, HF_RC_INVALID, "42809", "\"%s\" is read, and cannot be the output too",
                output);
        return err_hint(err, "Choose another name, such as --output=holdfast.yml.");
    }
    return HF_OK;
}

static enum hf_rc deliver(const struct pgbouncer_import *import, const char *text,
                          const char *output, struct hf_err *err)
{
    if (output[0] != '\0')
        return file_write(output, text, import->has_secrets ? 0600 : 0644, err);
    fputs(text, stdout);
    fflush(stdout); /* in front of what is told on stderr; main() looks whether it arrived */
    return HF_OK;
}

/* The text is wiped: it may hold passwords. */
static enum hf_rc make(const struct pgbouncer_ini *ini, const char *output, struct mem *mem,
                       struct hf_err *err)
{
    struct pgbouncer_import import;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return err_set(err, HF_RC_AGAIN, "53200", "could not get memory: %s",
                       strerrordesc_np(errno));
    enum hf_rc rc = pgbouncer_import_write(&import, ini, out, err);
    if (fclose(out) != 0 && rc == HF_OK)
        rc = err_set(err, HF_RC_AGAIN, "53200", "out of memory");
    if (rc == HF_OK) {
        rc = deliver(&import, text, output, err);
        if (rc == HF_OK)
            tell(&import, output);
    }
    if (rc == HF_OK) {
        rc = check(sv_from(text, size), mem, err);
        if (rc != HF_OK)
            err_hint(err,
                     "It was written all the same: mend it there, with holdfast config check.");
    }
    if (text != NULL)
        explicit_bzero(text, size);
    free(text);
    return rc;
}

static int run(const struct subcommand *self, int argc, char **argv)
{
    struct import_config config;
    struct pgbouncer_ini *ini = NULL;
    struct args args;
    struct hf_err err;
    struct mem mem;
    if (args_parse(&args, self, &config, argc, argv, &err) != HF_OK)
        return report_usage(&err);
    if (args.operand == NULL) {
        err_set(&err, HF_RC_INVALID, "42601", "import needs a file");
        err_hint(&err, "Write holdfast import /etc/pgbouncer/pgbouncer.ini.");
        return report_usage(&err);
    }
    mem_init(&mem, 0);
    ini = mem_alloc(&mem, sizeof *ini);
    enum hf_rc rc = ini != NULL ? HF_OK : mem_refused(&mem, sizeof *ini, &err);
    if (rc == HF_OK) {
        pgbouncer_ini_init(ini, &mem);
        rc = judge_output(config.output, args.operand, &err);
        if (rc == HF_OK)
            rc = pgbouncer_ini_read(ini, args.operand, &err);
        if (rc == HF_OK)
            rc = make(ini, config.output, &mem, &err);
        pgbouncer_ini_free(ini);
    }
    mem_free(&mem, ini);
    mem_deinit(&mem);
    return rc == HF_OK ? CLI_OK : report_failure(&err);
}

const struct subcommand *cmd_import(void)
{
    static const struct subcommand subcommand = {
        .name = "import",
        .summary = "make holdfast.yml of PgBouncer's configuration",
        .operand = "pgbouncer.ini",
        .operand_sentence = "PgBouncer's configuration; files that it includes are read, too.",
        .description =
            "What the file sets is carried over, and where PgBouncer's default is another than "
            "ours, PgBouncer's is written, so that applications find what they had. What has no "
            "equivalent becomes a comment that says what happens instead. The users file stays as "
            "it is: it is read in PgBouncer's format.\n\n"
            "The result is checked as holdfast config check does, without the files that it names. "
            "Nothing is connected to, and PgBouncer is not touched. The guide for switching is "
            "docs/guide/switching-from-pgbouncer.md.",
        .options = OPT_TABLE(rows),
        .config_size = sizeof(struct import_config),
        .examples = {{"holdfast import /etc/pgbouncer/pgbouncer.ini", "Shows what comes out."},
                     {"holdfast import --output=holdfast.yml /etc/pgbouncer/pgbouncer.ini",
                      "Writes it to a file."}},
        .run = run,
    };
    return &subcommand;
}
