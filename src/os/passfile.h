/*
 * The password file of libpq (~/.pgpass): host:port:database:user:password, a line each, where * is
 * anything and a backslash takes the next character as it is. The first line that fits is the one.
 *
 * libpq ignores a file that others may read, with a warning. Here that is a failure: whether there
 * is a password decides who may come in, and that must not depend on a mode that somebody forgot.
 */
#ifndef HF_OS_PASSFILE_H
#define HF_OS_PASSFILE_H

#include "base/err.h"
#include "base/secret.h"
#include "base/sv.h"

#define PASSFILE_SIZE_MAX ((size_t)1 << 20)

struct passfile_key {
    struct sv host; /* a name, an address, or the folder of a unix socket */
    struct sv port;
    struct sv database;
    struct sv user;
};

/* Looks in a text; `password` stays as it is if no line fits. */
enum hf_rc passfile_search(struct sv text, const struct passfile_key *key, struct secret *password,
                           struct hf_err *err) HF_MUST_USE;

/* Fails if others may read it; one that is not there is for who reads it to find out. */
enum hf_rc passfile_check(const char *path, struct hf_err *err) HF_MUST_USE;

/* Looks in a file; one that is not there fits nothing. */
enum hf_rc passfile_find(const char *path, const struct passfile_key *key, struct secret *password,
                         struct hf_err *err) HF_MUST_USE;

#endif
