/*
 * Which names from outside may be which users: name maps in pg_ident.conf's own format, for rules
 * of methods that learn a name from elsewhere (cert, peer) and end in map=NAME.
 *
 *     # MAPNAME   SYSTEM-USERNAME            PG-USERNAME
 *     staff       "Ann Smith"                ann
 *     staff       /^(.*)@example\.com$       \1
 *     ops         root                       all
 *
 * What is understood, and what is not:
 *
 *     system names   names; /REGEX, POSIX extended, matched anywhere unless it has ^ and $
 *     users          names; \1 for what the regex's first parentheses have matched; all; /REGEX
 *     refused        groups with +, files with @, include; and in a regex what POSIX and PostgreSQL
 *                    read in two ways or what could take long: back references, counts in braces,
 *                    (?, a backslash before a letter or digit, repeating what repeats, and
 *                    branches that are nothing
 *
 * Quotes, comments and lines are as in rules (hba.h). Without map= a name may be the user that has
 * it, letter by letter, and no other; that is ident_match() without a map.
 *
 * A user that came out of \1 is compared and never used as anything else.
 *
 * Maps are immutable; any thread may match.
 */
#ifndef HF_PROXY_IDENT_H
#define HF_PROXY_IDENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sv.h"
#include "os/mem.h"

#define IDENT_LINES_MAX 10000
#define IDENT_TEXT_MAX  ((size_t)1 << 20) /* bytes of a file */
#define IDENT_NAME_MAX  512               /* of a name from outside; longer ones match nothing */
#define IDENT_REGEX_MAX 256

struct ident;

/* Reads maps; an empty text has none. The message of a failure begins with "line N: ". */
enum hf_rc ident_new(struct ident **ident, struct sv text, struct mem *mem,
                     struct hf_err *err) HF_MUST_USE;

/* There is a line of this map. */
bool ident_has(const struct ident *ident, struct sv map);

/* May `name` be `user`? By the lines of `map`, of which one that says yes is enough; or, where
 * `map` is empty, if they are the same. */
bool ident_match(const struct ident *ident, struct sv map, struct sv name, struct sv user);

/* NULL is allowed. */
void ident_free(struct ident *ident);

#endif
