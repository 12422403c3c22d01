#include "os/sys.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* The errors that people meet. The C library's own words begin with a capital and cannot be handed
 * out changed without a buffer; what is not here reads "Like this", which is ugly and not wrong. */
static const struct sys_row {
    int error_number;
    enum hf_rc rc;
    const char *sqlstate;
    const char *text;
    const char *hint; /* or NULL: the caller knows better */
} rows[] = {
    {ENOENT, HF_RC_MISSING, "58P01", "no such file or directory", NULL},
    {ENOTDIR, HF_RC_INVALID, "58P01", "a part of the path is not a directory", NULL},
    {EISDIR, HF_RC_INVALID, "58030", "it is a directory", NULL},
    {EEXIST, HF_RC_INVALID, "58P02", "it exists already", NULL},
    {ENOTEMPTY, HF_RC_INVALID, "58P02", "the directory is not empty", NULL},
    {ELOOP, HF_RC_INVALID, "58030", "there is a symbolic link where none may be", NULL},
    {ENAMETOOLONG, HF_RC_INVALID, "58030", "the name is too long", NULL},
    {EACCES, HF_RC_DENIED, "42501", "permission denied", NULL},
    {EPERM, HF_RC_DENIED, "42501", "operation not permitted", NULL},
    {EROFS, HF_RC_DENIED, "58030", "the file system is read-only", NULL},
    {ENOSPC, HF_RC_AGAIN, "53100", "the disk is full",
     "Free some space there (df -h shows where it went) and try again."},
    {EDQUOT, HF_RC_AGAIN, "53100", "the disk quota is used up",
     "Free some space there (quota -s shows the limit) and try again."},
    {EMFILE, HF_RC_LIMIT, "53000", "too many open files in this program",
     "Raise the limit with ulimit -n, or LimitNOFILE= of its service."},
    {ENFILE, HF_RC_LIMIT, "53000", "too many open files in the system",
     "Raise the kernel's fs.file-max."},
    {ENOMEM, HF_RC_LIMIT, "53200", "out of memory", NULL},
    {EAGAIN, HF_RC_AGAIN, "53000", "a resource is exhausted for the moment", NULL},
    {EADDRINUSE, HF_RC_AGAIN, "55006", "the address is in use", NULL},
    {EIO, HF_RC_IO, "58030", "input/output error", NULL},
};

static const struct sys_row *find_row(int error_number)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].error_number == error_number)
            return &rows[i];
    }
    return NULL;
}

static const char *text_of(int error_number)
{
    const struct sys_row *row = find_row(error_number);
    if (row != NULL)
        return row->text;
    const char *text = strerrordesc_np(error_number);
    return text != NULL ? text : "unknown error";
}

enum hf_rc sys_fail_at(struct hf_err *err, int error_number, const char *file, int line,
                       const char *format, ...)
{
    char what[sizeof err->message];
    va_list args;
    va_start(args, format);
    if (vsnprintf(what, sizeof what, format, args) < 0)
        what[0] = '\0';
    va_end(args);

    const struct sys_row *row = find_row(error_number);
    enum hf_rc rc =
        err_set_at(err, row != NULL ? row->rc : HF_RC_IO, row != NULL ? row->sqlstate : "58030",
                   file, line, "%s: %s", what, text_of(error_number));
    if (row != NULL && row->hint != NULL)
        err_hint(err, "%s", row->hint);
    return rc;
}
