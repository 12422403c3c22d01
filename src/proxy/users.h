/*
 * Users: who may log in with which secret, from a file in PgBouncer's userlist format and from the
 * roles of the configuration; and what is learned of them on the way.
 *
 *     ; a comment
 *     "bob"   "his password"
 *     "eve"   "md56d3de1bfc0e1e4ba2e3d1c1d9f4b3dc2"
 *     "ann"   "SCRAM-SHA-256$4096:...$...:..."
 *
 * Two words in double quotes a line, a quote inside them doubled; what follows them on the line is
 * ignored, as PgBouncer does. A name that comes twice is refused: one of the two is not meant.
 *
 * A user's secret never changes: users are read anew, as a whole, at a reload. What is learned is
 *
 *     the verifier   of a secret: parsed if it is one, made once from a password in plain
 *     the pass       keys with which a server can be entered, and the verifier they belong to:
 *                    those that a client has shown when it logged in (pass-through), or those that
 *                    were made from a plain secret for a server's salt
 *
 * and users_adopt() takes it over from the users before, for secrets that are the same: a reload
 * does not send everybody to log in again.
 *
 * Any thread may find, ask and teach: names and secrets are immutable, a verifier is published once
 * and then stays, and passes are copied under a lock. Everything secret is wiped at the end.
 */
#ifndef HF_PROXY_USERS_H
#define HF_PROXY_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sv.h"
#include "os/mem.h"
#include "proxy/proxy_config.h"
#include "wire/scram.h"

#define USERS_MAX      100000
#define USERS_TEXT_MAX ((size_t)32 << 20) /* bytes of a file */

struct users;
struct user;

/* Keys, and the verifier whose salt and iterations they are for. */
struct user_pass {
    struct scram_keys keys;
    struct scram_verifier verifier;
};

/* From the text of a users file (empty: none), and the roles of `config` that have a password. A
 * role that is in both is refused. `seed` is for hashing, from the system's randomness. The message
 * of a failure about the text begins with "line N: " and never quotes a secret. */
enum hf_rc users_new(struct users **users, struct sv text, const struct proxy_config *config,
                     uint64_t seed, struct mem *mem, struct hf_err *err) HF_MUST_USE;

/* A single one, whose secret came from elsewhere. */
enum hf_rc users_new_one(struct users **users, struct sv name, struct sv secret, uint64_t seed,
                         struct mem *mem, struct hf_err *err) HF_MUST_USE;

/* NULL: there is no such user. Lives as long as the users. */
struct user *users_find(struct users *users, struct sv name);

uint32_t users_count(const struct users *users);
const char *users_name(const struct users *users, uint32_t index);

/* Takes over what `before` has learned. */
void users_adopt(struct users *users, struct users *before);

/* Wipes and gives back everything; NULL is allowed. */
void users_free(struct users *users);

/* As it stands in the file. Empty: this user cannot log in by a secret. Borrowed. */
struct sv user_secret(const struct user *user);

/* Compared in constant time. */
bool user_has_secret(const struct user *user, struct sv secret);

/* NULL if there is none (yet). Borrowed, and stays. */
const struct scram_verifier *user_verifier(const struct user *user);

/* A verifier was made of the plain secret. The first one stays, as clients may be in the middle of
 * an exchange with it. For a user whose secret is not plain: nothing happens. */
void user_set_verifier(struct user *user, const struct scram_verifier *verifier);

/* Copies the pass; false: there is none. The caller wipes its copy: user_pass_wipe(). */
bool user_get_pass(struct user *user, struct user_pass *pass);

/* Keys that a server may be entered with. Those that do not fit the verifier beside them are not
 * taken, nor are, for a secret that is a verifier, those of another one. */
void user_set_pass(struct user *user, const struct scram_keys *keys,
                   const struct scram_verifier *verifier);

void user_pass_wipe(struct user_pass *pass);

#endif
