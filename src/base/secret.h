/*
 * A secret (password, token, key) in a type of its own, so that it cannot reach a log, an error, a
 * metric or a page by mistake: whatever prints a struct secret prints SECRET_MASK, and the only way
 * to the text is secret_reveal(), a name that a reviewer can search for.
 *
 * The bytes live in the struct, at most SECRET_SIZE_MAX of them, followed by a NUL. Whoever owns
 * the struct wipes it when it ends: secret_wipe() is not optimised away. Copying a secret makes one
 * more place to wipe. A secret full of zero bytes is the empty one.
 */
#ifndef HF_BASE_SECRET_H
#define HF_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/sv.h"

#define SECRET_SIZE_MAX 255
#define SECRET_MASK     "***"

struct secret {
    size_t size;
    char data[SECRET_SIZE_MAX + 1];
};

/* Replaces the secret. Fails, with the old one kept, if the text is too long or holds a NUL; the
 * error says nothing about the text but its length. */
enum hf_rc secret_set(struct secret *secret, struct sv text, struct hf_err *err) HF_MUST_USE;

/* Overwrites every byte; the secret is empty afterwards. */
void secret_wipe(struct secret *secret);

static inline bool secret_is_set(const struct secret *secret)
{
    return secret->size > 0;
}

/* The text itself, for the one place that must hand it on; borrowed, and its data ends in NUL. */
static inline struct sv secret_reveal(const struct secret *secret)
{
    return sv_from(secret->data, secret->size);
}

/* What may be printed: SECRET_MASK, or "" if no secret is set. */
const char *secret_print(const struct secret *secret);

/* Takes the same time wherever the two differ, so that an answer's delay tells nothing. */
bool secret_eq(const struct secret *a, const struct secret *b);

#endif
