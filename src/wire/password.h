/*
 * The older ways to show a password: in plain, and hashed with MD5 and a salt; and what a stored
 * secret is.
 *
 * PostgreSQL, PgBouncer's userlist and our own files keep a secret in one of three forms, told
 * apart by their text:
 *
 *     md5 and 32 hexadecimal digits           md5(password + user), for md5 authentication
 *     SCRAM-SHA-256$...                       a verifier, see scram.h
 *     anything else                           the password
 *
 * md5 authentication is a proof by whoever has the stored form, so that form must be kept like the
 * password itself; PostgreSQL 18 calls it deprecated. It is spoken only where it is asked for.
 */
#ifndef HF_WIRE_PASSWORD_H
#define HF_WIRE_PASSWORD_H

#include <stdbool.h>

#include "base/sv.h"
#include "wire/md5.h"

enum password_kind {
    PASSWORD_PLAIN,
    PASSWORD_MD5,
    PASSWORD_SCRAM
};

/* By the text alone: one that looks like a verifier may still be refused by its parser. */
enum password_kind password_kind(struct sv secret);

#define PASSWORD_MD5_SIZE  (3 + MD5_HEX_SIZE)
#define PASSWORD_SALT_SIZE 4

/* The stored form. */
void password_md5_store(struct sv password, struct sv user, char out[PASSWORD_MD5_SIZE]);

/* What a client answers to a salt: the stored form hashed once more. */
void password_md5_answer(const char stored[PASSWORD_MD5_SIZE], const char salt[PASSWORD_SALT_SIZE],
                         char out[PASSWORD_MD5_SIZE]);

/* An empty secret is no secret: nothing matches it, not even an empty password. */

/* Does the answer show that the client has the secret, which is plain or md5? In constant time. */
bool password_md5_check(struct sv secret, struct sv user, const char salt[PASSWORD_SALT_SIZE],
                        struct sv answer);

/* Is the password the secret, which is plain or md5? In constant time, but for its length. A
 * verifier is checked by stretching the password: scram_verifier_fits(). */
bool password_plain_check(struct sv secret, struct sv user, struct sv password);

#endif
