/*
 * Quantities as people write them: durations, sizes, percentages, integers, booleans.
 *
 *     duration     100ms  5s  1.5s  1h30min  2d  0  never    int64 nanoseconds
 *     size         8kB  512MB  1.5GB  100B  100              int64 bytes; kB is 1024, as PostgreSQL
 *     percentage   20%  0.5%  0.2                            int64 millionths: 20% is 200000
 *     integer      42  -1                                    int64
 *     boolean      on off true false yes no 1 0              bool
 *
 * Spelling is PostgreSQL's: us, ms, s, min, h, d and B, kB, MB, GB, TB, case matters, blanks may
 * stand between number and unit; "ns" comes on top because a nanosecond is what Holdfast counts.
 * More than PostgreSQL, several parts may be added up, from long to short (1h30min). A number
 * without its unit is refused rather than guessed, except where nothing else can be meant: 0, and
 * bytes. "20" is no percentage: 20% and 0.2 are.
 *
 * Invariants
 *  1. Nothing is rounded. What cannot be stored exactly (0.1kB, 0.5ns) is refused.
 *  2. Whatever print writes, parse reads back to the same number, for every number >= 0.
 *  3. Overflow, a sign, trailing rubbish, a missing or unknown unit: each is a failure of its own
 *     that names the text, what was expected and an example, and leaves `*out` alone.
 *
 * No locale, no floating point. Ranges narrower than the type are the caller's (base/opt.h).
 */
#ifndef HF_BASE_UNITS_H
#define HF_BASE_UNITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sv.h"

/* Room for anything that the print functions write, NUL included. */
#define UNITS_TEXT_MAX 32

/* 100 % in millionths, and one per cent. */
#define UNITS_WHOLE_PPM   INT64_C(1000000)
#define UNITS_PERCENT_PPM INT64_C(10000)

/* Nanoseconds >= 0; "never" is HF_NEVER. */
enum hf_rc units_parse_duration(struct sv text, int64_t *out_ns, struct hf_err *err) HF_MUST_USE;

/* Bytes >= 0. */
enum hf_rc units_parse_size(struct sv text, int64_t *out_bytes, struct hf_err *err) HF_MUST_USE;

/* Millionths >= 0. A percentage above 100 % is a number like any other here. */
enum hf_rc units_parse_percent(struct sv text, int64_t *out_ppm, struct hf_err *err) HF_MUST_USE;

/* Any int64. */
enum hf_rc units_parse_int(struct sv text, int64_t *out, struct hf_err *err) HF_MUST_USE;

enum hf_rc units_parse_bool(struct sv text, bool *out, struct hf_err *err) HF_MUST_USE;

/* These write the shortest exact form with one unit, the largest that divides the number, as
 * PostgreSQL's SHOW does (90 s is "90s", 120 s is "2min"), and return `out`, so that they can stand
 * among the arguments of a printf. A negative number, which no option can hold, gets a '-'. */
const char *units_print_duration(int64_t ns, char out[UNITS_TEXT_MAX]);
const char *units_print_size(int64_t bytes, char out[UNITS_TEXT_MAX]);
const char *units_print_percent(int64_t ppm, char out[UNITS_TEXT_MAX]);
const char *units_print_int(int64_t value, char out[UNITS_TEXT_MAX]);
const char *units_print_bool(bool value);

#endif
