/*
 * One value of PgBouncer's, as ours: seconds become durations, numbers become on and off, lists of
 * TLS versions become the oldest one.
 */
#ifndef HF_CONFIG_PGBOUNCER_VALUE_H
#define HF_CONFIG_PGBOUNCER_VALUE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/sv.h"
#include "config/pgbouncer_rows.h"

#define PGBOUNCER_NOTE_SIZE 200

struct pgbouncer_value {
    bool is_absent;                 /* it says nothing: nothing is to be written */
    char text[INI_VALUE_SIZE];      /* not yet quoted for YAML; may be a password */
    char note[PGBOUNCER_NOTE_SIZE]; /* how it differs from what PgBouncer does with it; "": not */
};

/* `folder` is where relative paths begin if not in the current folder. What PgBouncer takes and our
 * setting has no room for becomes the nearest that it has, with a note. A failure is about a value
 * that PgBouncer refuses as well; its message quotes it only where the setting is no secret. */
enum hf_rc pgbouncer_value_convert(struct pgbouncer_value *out, const struct pgbouncer_row *row,
                                   struct sv text, const char *folder,
                                   struct hf_err *err) HF_MUST_USE;

/* Seconds, with a fraction, as nanoseconds; a negative number is one. */
bool pgbouncer_value_seconds(struct sv text, int64_t *ns);

#endif
