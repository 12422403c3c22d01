/*
 * Where PostgreSQL's server programs are. Debian keeps them out of PATH, one folder for each major
 * version, so they have to be looked for.
 *
 * The places, in this order: the folder that the user named (then only that), the folders of Debian
 * and of the PGDG packages from the newest version down, /usr/local/pgsql/bin, PATH. A folder
 * counts if postgres, initdb and pg_basebackup are in it and postgres is version 13 or newer.
 */
#ifndef HF_CLI_PROGRAMS_H
#define HF_CLI_PROGRAMS_H

#include <limits.h>

#include "base/err.h"

#define PROGRAMS_MAJOR_MIN 13

struct programs {
    char folder[PATH_MAX];
    char version[32]; /* "15.20" */
    int major;
};

/* `folder` "" means to look for them. `wanted_major` (0: any) is preferred to newer ones; whether
 * it was found, the caller sees in the result. */
enum hf_rc HF_MUST_USE programs_find(struct programs *programs, const char *folder,
                                     int wanted_major, struct hf_err *err);

/* The path of one of them. Returns out. */
char *programs_path(const struct programs *programs, const char *name, char out[PATH_MAX]);

/* How psql is called: "psql" if PATH leads to it, its path otherwise. Returns out. */
char *programs_psql(const struct programs *programs, char out[PATH_MAX]);

#endif
