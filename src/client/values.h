/*
 * Values of a result as C's own types, from PostgreSQL's text and binary forms. A number that the
 * value is not, or that does not fit, reads as 0: who must know asks for the text.
 *
 * Pure functions of bytes.
 */
#ifndef HF_CLIENT_VALUES_H
#define HF_CLIENT_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* OIDs of PostgreSQL's types, as pg_type.dat has them: they never change. */
enum value_type {
    VALUE_BOOL = 16,
    VALUE_BYTEA = 17,
    VALUE_INT8 = 20,
    VALUE_INT2 = 21,
    VALUE_INT4 = 23,
    VALUE_TEXT = 25,
    VALUE_OID = 26,
    VALUE_FLOAT4 = 700,
    VALUE_FLOAT8 = 701,
};

struct value {
    const char *bytes; /* text ends with a NUL, too */
    size_t size;
    uint32_t type;
    bool is_binary;
};

int64_t value_int(const struct value *value);   /* a fraction is cut off */
double value_double(const struct value *value); /* also of integers */
bool value_bool(const struct value *value);     /* "t", or a number that is not 0 */

#endif
