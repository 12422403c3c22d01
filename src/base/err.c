#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"

void err_clear(struct hf_err *err)
{
    memset(err, 0, sizeof *err);
}

/* vsnprintf with a bound and without a result that anybody could need: cut text is the documented
 * behaviour. */
static void HF_PRINTF(3, 0) fill(char *out, size_t size, const char *format, va_list args)
{
    int length = vsnprintf(out, size, format, args);
    if (length < 0)
        out[0] = '\0';
}

enum hf_rc err_set_at(struct hf_err *err, enum hf_rc rc, const char *sqlstate, const char *file,
                      int line, const char *format, ...)
{
    hf_assert(rc != HF_OK);
    if (err == NULL)
        return rc;
    err_clear(err);
    err->rc = rc;
    snprintf(err->sqlstate, sizeof err->sqlstate, "%s", sqlstate != NULL ? sqlstate : "XX000");
    err->file = file;
    err->line = line;
    va_list args;
    va_start(args, format);
    fill(err->message, sizeof err->message, format, args);
    va_end(args);
    return rc;
}

enum hf_rc err_detail(struct hf_err *err, const char *format, ...)
{
    if (err == NULL)
        return HF_RC_INVALID;
    va_list args;
    va_start(args, format);
    fill(err->detail, sizeof err->detail, format, args);
    va_end(args);
    return err->rc;
}

enum hf_rc err_hint(struct hf_err *err, const char *format, ...)
{
    if (err == NULL)
        return HF_RC_INVALID;
    va_list args;
    va_start(args, format);
    fill(err->hint, sizeof err->hint, format, args);
    va_end(args);
    return err->rc;
}

enum hf_rc err_while(struct hf_err *err, const char *format, ...)
{
    if (err == NULL)
        return HF_RC_INVALID;
    char inner[sizeof err->message];
    memcpy(inner, err->message, sizeof inner);
    va_list args;
    va_start(args, format);
    fill(err->message, sizeof err->message, format, args);
    va_end(args);
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof err->message - used, ": %s", inner);
    return err->rc;
}
