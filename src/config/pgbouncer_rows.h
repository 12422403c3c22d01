/*
 * Every setting of PgBouncer (1.25 and older), and what becomes of it: one row each.
 *
 * Three fates. CARRIED: it has a setting of ours, which takes its value, converted. NEEDLESS: what
 * it is for is so without a setting. LOST: nothing of ours does it; `note` says what happens
 * instead. The rows of one table that are carried stand in the order of our own sections, which is
 * the order they are written in.
 */
#ifndef HF_CONFIG_PGBOUNCER_ROWS_H
#define HF_CONFIG_PGBOUNCER_ROWS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/opt.h"
#include "base/sv.h"
#include "config/pgbouncer_ini.h"

enum pgbouncer_fate {
    PGBOUNCER_CARRIED,
    PGBOUNCER_NEEDLESS,
    PGBOUNCER_LOST,
};

/* What a value is for PgBouncer, and so how it is converted: pgbouncer_value.h. */
enum pgbouncer_kind {
    PGBOUNCER_TEXT,
    PGBOUNCER_HOST,      /* one host: IPv6 gets its brackets */
    PGBOUNCER_NAMES,     /* with commas */
    PGBOUNCER_PATH,      /* relative to where PgBouncer was started */
    PGBOUNCER_COUNT,     /* as C writes numbers */
    PGBOUNCER_BOOL,      /* 0 or another number */
    PGBOUNCER_TIME,      /* seconds, with a fraction */
    PGBOUNCER_LIMIT,     /* the same, and 0 is never */
    PGBOUNCER_MILLIS,    /* milliseconds */
    PGBOUNCER_WORD,      /* one of a list, in any case of letters */
    PGBOUNCER_AUTH,      /* a way of logging in */
    PGBOUNCER_LISTEN,    /* addresses to listen on */
    PGBOUNCER_DIR,       /* the folder of a unix socket */
    PGBOUNCER_MODE,      /* permissions: octal if they begin with 0 */
    PGBOUNCER_PROTOCOLS, /* of TLS */
    PGBOUNCER_CIPHERS,
};

struct pgbouncer_row {
    const char *name; /* as PgBouncer calls it */
    enum pgbouncer_fate fate;
    enum pgbouncer_kind kind; /* of what is carried */
    const char *section;      /* of ours: "pools"; NULL unless it is carried */
    const char *key;          /* of ours */
    const char *unset;        /* CARRIED: what PgBouncer does without it, where we do otherwise;
                                 else the value with which it does nothing. May be NULL. */
    const char *note;         /* what to tell about it; NULL: nothing */
};

struct pgbouncer_table {
    const struct pgbouncer_row *rows;
    size_t count;
};

/* Of the section's keys; for databases, users and peers, of the keys in the values. */
const struct pgbouncer_table *pgbouncer_table(enum ini_section section);

/* NULL: PgBouncer has no such setting. */
const struct pgbouncer_row *pgbouncer_row_find(enum ini_section section, struct sv name);

/* The row of ours that a carried one goes to. */
const struct opt_row *pgbouncer_row_ours(const struct pgbouncer_row *row);

#endif
