/*
 * PgBouncer's configuration, written as holdfast.yml.
 *
 * The result does what PgBouncer does with its file: what is set there is carried over, and where
 * PgBouncer's default is another than ours, PgBouncer's is written, with a comment that says so.
 * What has no equivalent becomes a comment that names it, its place, and what happens instead; for
 * a setting of one database or user that comment stands inside of its entry.
 *
 * Three things come out stricter, each with its comment: trust for clients of other machines
 * (which has to stand in an hba file), TLS older than 1.2, and passwords asked in plain over
 * connections that others can read.
 */
#ifndef HF_CONFIG_PGBOUNCER_IMPORT_H
#define HF_CONFIG_PGBOUNCER_IMPORT_H

#include <stdio.h>

#include "base/err.h"
#include "config/pgbouncer_ini.h"

struct pgbouncer_import {
    unsigned carried;  /* settings of the file that have one of ours */
    unsigned needless; /* that need none */
    unsigned lost;     /* that have none: all of them are in comments */
    unsigned unknown;  /* that PgBouncer does not know, as far as we do */
    bool has_secrets;  /* there are passwords in the output */
};

/* Writes the file. A failure is about a value that PgBouncer refuses, too; its message begins with
 * FILE:LINE. What was written until then is of no use. */
enum hf_rc pgbouncer_import_write(struct pgbouncer_import *import, const struct pgbouncer_ini *ini,
                                  FILE *out, struct hf_err *err) HF_MUST_USE;

#endif
