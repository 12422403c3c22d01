/*
 * Base64 (RFC 4648, section 4), as SCRAM writes its keys, salts and nonces. Decoding is strict: no
 * blanks, padding complete, unused bits zero; so each sequence of bytes has one text.
 */
#ifndef HF_WIRE_BASE64_H
#define HF_WIRE_BASE64_H

#include <stdbool.h>
#include <stddef.h>

#include "base/sv.h"

/* How long the text of so many bytes is. */
#define BASE64_SIZE(bytes) (((bytes) + 2) / 3 * 4)

/* Writes the text, BASE64_SIZE(bytes.size) characters without a zero byte, to `out`. */
void base64_encode(struct sv bytes, char *out);

/* Writes the bytes to `out` and their number to `size`; false, and both undefined, if the text is
 * not Base64 or says more than `room` bytes. */
bool base64_decode(struct sv text, char *out, size_t room, size_t *size);

#endif
