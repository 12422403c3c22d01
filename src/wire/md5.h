/*
 * MD5 (RFC 1321), for PostgreSQL's md5 authentication and for nothing else: it has been broken for
 * signatures since 2004. All input is short, and given at once in up to three pieces.
 */
#ifndef HF_WIRE_MD5_H
#define HF_WIRE_MD5_H

#include <stddef.h>

#include "base/sv.h"

#define MD5_HEX_SIZE 32

/* The digest of the pieces in a row, as lower-case hexadecimal digits, without a zero byte. */
void md5_hex(const struct sv *pieces, size_t count, char out[MD5_HEX_SIZE]);

#endif
