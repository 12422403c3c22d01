/*
 * Failures of the system in our own terms: errno becomes an hf_err, in one place.
 *
 *     int fd = open(path, O_RDONLY | O_CLOEXEC);
 *     if (fd < 0)
 *         return sys_fail(err, errno, "could not open \"%s\"", path);
 *
 * gives the message `could not open "/x": permission denied`, the code that says what a caller can
 * do about it (DENIED here), a fitting SQLSTATE, and a hint where the same hint is right wherever
 * the error happens: a full disk, no more open files.
 */
#ifndef HF_OS_SYS_H
#define HF_OS_SYS_H

#include "base/err.h"

/* Fills err from an errno and a message without the reason; returns its code, never HF_OK. */
#define sys_fail(err, error_number, ...)                                                           \
    sys_fail_at(err, error_number, __FILE__, __LINE__, __VA_ARGS__)
enum hf_rc sys_fail_at(struct hf_err *err, int error_number, const char *file, int line,
                       const char *format, ...) HF_PRINTF(5, 6);

#endif
