/*
 * Metrics in the Prometheus text format (version 0.0.4), written into a block of the caller's.
 *
 *     struct promtext p;
 *     promtext_init(&p, text, size);
 *     promtext_family(&p, "holdfast_calls_total", PROMTEXT_COUNTER, "Calls that were begun.");
 *     promtext_u64(&p, (const struct promtext_label[]){{"result", "served"}, {0}}, served);
 *     needed = promtext_end(&p);
 *
 * As snprintf() does, it counts on where the block is full, so that a second call with more room
 * gets all of it; but it never leaves a part of a line: what does not fit is cut at the end of the
 * last line that does, and everything after it is left out, too.
 *
 * Label values are escaped; names are the caller's constants and must be of the format's alphabet,
 * which is asserted, since a name that is none would spoil the whole page.
 *
 * One owner, no locking; no floating point but for seconds, which are printed exactly.
 */
#ifndef HF_BASE_PROMTEXT_H
#define HF_BASE_PROMTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum promtext_type {
    PROMTEXT_COUNTER,
    PROMTEXT_GAUGE,
    PROMTEXT_SUMMARY,
};

/* A list ends with a NULL name. */
struct promtext_label {
    const char *name;
    const char *value;
};

struct promtext {
    char *text; /* borrowed; always ends in NUL if size > 0 */
    size_t size;
    size_t needed;    /* bytes of all that was written, without the NUL */
    size_t kept;      /* of those that stand in the block: whole lines */
    const char *name; /* of the family: borrowed */
};

void promtext_init(struct promtext *p, char *text, size_t size);

/* Begins a family: its HELP and TYPE lines. Its samples follow. */
void promtext_family(struct promtext *p, const char *name, enum promtext_type type,
                     const char *help);

/* One sample of the family; `labels` may be NULL. */
void promtext_u64(struct promtext *p, const struct promtext_label *labels, uint64_t value);
void promtext_i64(struct promtext *p, const struct promtext_label *labels, int64_t value);
/* A duration, in seconds, as the format wants it: "0.002517000". */
void promtext_seconds(struct promtext *p, const struct promtext_label *labels, int64_t ns);
/* The same with a suffix to the family's name: "_sum" and "_count" of a summary. */
void promtext_part_u64(struct promtext *p, const char *suffix, const struct promtext_label *labels,
                       uint64_t value);
void promtext_part_seconds(struct promtext *p, const char *suffix,
                           const struct promtext_label *labels, int64_t ns);

/* How many bytes the whole needs, without the NUL. */
size_t promtext_end(const struct promtext *p);

#endif
