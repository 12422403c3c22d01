/*
 * Connection strings: read by libpq, shown without their secrets, printed so that a shell takes
 * them.
 */
#ifndef HF_CONFIG_CONNSTR_H
#define HF_CONFIG_CONNSTR_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define CONNSTR_SIZE 1024

/* What libpq makes of a connection string, safe to show: no password is in any of these. */
struct connstr {
    char endpoint[256];      /* "db1:5432", "/run/postgresql:5432" */
    char database[128];      /* as given; "" if libpq will choose */
    char user[128];          /* the same */
    char psql[CONNSTR_SIZE]; /* psql 'host=db1 user=bob ...', for a shell */
    bool has_password;       /* it held one */
};

/* libpq's own reading of a URL or a key=value string, to be given back with PQconninfoFree().
 * Errors are as those of connstr_read(). */
enum hf_rc HF_MUST_USE connstr_parse(PQconninfoOption **options, const char *text,
                                     struct hf_err *err);

/* What an option says: its value in the string, or that of its environment variable; "" if there is
 * neither. The keyword is one of libpq's. */
const char *connstr_value(const PQconninfoOption *options, const char *keyword);

/* Reads a URL or a key=value string. Errors say what is wrong without quoting the string, of which
 * any part may be a password put into the wrong place. */
enum hf_rc HF_MUST_USE connstr_read(struct connstr *out, const char *text, struct hf_err *err);

/* True if an argument looks like a connection string. */
bool connstr_is_one(const char *text);

/* Overwrites the argument with its harmless form, as far as there is room, so that ps does not show
 * a password any longer. */
void connstr_hide(char *argument);

/* Percent-encodes what cannot stand in the query of a URL. Returns out, cut if too long. */
char *connstr_encode(const char *text, char *out, size_t size);

#endif
