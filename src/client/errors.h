/*
 * struct hf_error, filled in one place.
 *
 * Whatever fails inside tells it by its own kind: an hf_err of a lower layer, the guard's reason, a
 * server's error in a PGresult, libpq's last words. Here each becomes the one struct that callers
 * see: code, SQLSTATE, message, detail, hint, and whether calling again makes sense. All functions
 * take an `err` that may be NULL, fill all of it, and return the code, so that
 *
 *     return error_set(err, HF_E_USAGE, "rows are not on a row");
 *
 * reads well. Every text passes error_scrub(): bytes that are no printable text, and line breaks in
 * the message, do not reach a log.
 *
 * Which code a failure gets, and which of them may be repeated, is one table in errors.c.
 */
#ifndef HF_CLIENT_ERRORS_H
#define HF_CLIENT_ERRORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/guard.h"
#include "core/outcome.h"
#include "core/snapshot.h"
#include "holdfast.h"

struct pg_result;

/* Empties it. */
void error_clear(struct hf_error *err);

/* A failure of our own, in words; SQLSTATE and may_repeat follow from the code. */
HF_COLD int error_set(struct hf_error *err, int code, const char *format, ...) HF_PRINTF(3, 4);
HF_COLD void error_detail(struct hf_error *err, const char *format, ...) HF_PRINTF(2, 3);
HF_COLD void error_hint(struct hf_error *err, const char *format, ...) HF_PRINTF(2, 3);

/* What a lower layer said. */
HF_COLD int error_from_err(struct hf_error *err, int code, const struct hf_err *from);

/* The server's own words: SQLSTATE, message, detail, hint, constraint, position. NULL fields of a
 * result that is none of an error give an empty text. */
HF_COLD int error_from_result(struct hf_error *err, const struct pg_result *result);

/* How a call of the guard ended. `last` is what the last attempt left (error_from_result(),
 * error_from_err()), or empty: where an attempt's own error says more, it stands in the message and
 * the guard's numbers in the detail. `view` names the endpoint and may be NULL. */
HF_COLD int error_from_guard(struct hf_error *err, enum guard_result result,
                             const struct guard_reason *reason, const struct snapshot *view,
                             const struct hf_error *last);

/* Which code an outcome of an attempt is, where no guard's reason goes before. */
int error_code_of(struct outcome outcome);

/* Copies what is printable, as far as it fits; a line break and what else is none becomes a blank.
 */
void error_scrub(char *out, size_t size, const char *text);

#endif
