/*
 * Hints: what a statement's author knows better, in a comment at its very beginning.
 *
 *     / * holdfast: intent=write, consistency=bounded:5s * / SELECT ...     (without the blanks)
 *
 *     intent=read | write | auto               auto: as if it were not there
 *     consistency=session | bounded:TIME | any | primary
 *
 * Only the first thing in the text counts, and only a comment that begins with "holdfast:"; one
 * further on could come from a string that an application pasted together out of foreign parts.
 * Commas or blanks stand between the pairs. A hint with a mistake in it counts as none at all and
 * says so (`is_wrong`): half of a wish is not what was wished for. At most HINT_SIZE_MAX bytes.
 *
 * A hint is no part of the shape: the same statement has one shape with and without it.
 */
#ifndef HF_SQL_HINT_H
#define HF_SQL_HINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sv.h"
#include "core/route.h"

#define HINT_SIZE_MAX 256

struct hint {
    bool is_there; /* the comment is ours; without mistakes unless is_wrong */
    bool is_wrong;
    bool has_intent;
    bool has_consistency;
    enum route_intent intent;
    enum route_consistency consistency;
    int64_t staleness_ns_max; /* of consistency=bounded */
};

/* All zero if the text does not begin with a hint. */
struct hint hint_read(struct sv text);

#endif
