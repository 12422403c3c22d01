/*
 * Integers as PostgreSQL's protocol writes them (most significant byte first), what secret bytes
 * need, and a bounded cursor over bytes that somebody else sent.
 *
 * A reader never looks outside its view. When something is missing it says so once and for all:
 * `is_short` is set and stays set, and every later value is 0 or empty. So a parser reads all its
 * fields in a row and asks once at the end:
 *
 *     struct reader r = reader_of(body);
 *     parse->name = reader_cstr(&r);
 *     parse->count = reader_u16(&r);
 *     return !r.is_short && r.left == 0;
 *
 * Views that it gives borrow the bytes it was made of.
 */
#ifndef HF_WIRE_BYTES_H
#define HF_WIRE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sv.h"

static inline uint16_t bytes_u16(const char *at)
{
    const unsigned char *b = (const unsigned char *)at;
    return (uint16_t)(b[0] << 8 | b[1]);
}

static inline uint32_t bytes_u32(const char *at)
{
    const unsigned char *b = (const unsigned char *)at;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static inline void bytes_put_u16(char *at, uint16_t value)
{
    at[0] = (char)(value >> 8);
    at[1] = (char)value;
}

static inline void bytes_put_u32(char *at, uint32_t value)
{
    at[0] = (char)(value >> 24);
    at[1] = (char)(value >> 16);
    at[2] = (char)(value >> 8);
    at[3] = (char)value;
}

/* The same the other way round, as MD5 wants it. */
static inline uint32_t bytes_u32_little(const char *at)
{
    const unsigned char *b = (const unsigned char *)at;
    return (uint32_t)b[3] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[1] << 8 | b[0];
}

static inline void bytes_put_u32_little(char *at, uint32_t value)
{
    at[0] = (char)value;
    at[1] = (char)(value >> 8);
    at[2] = (char)(value >> 16);
    at[3] = (char)(value >> 24);
}

/* Overwrites, and is not optimised away as a memset() before the end of a life is: writes through a
 * volatile pointer must happen. */
static inline void bytes_wipe(void *memory, size_t size)
{
    volatile char *at = memory;
    for (size_t i = 0; i < size; i++)
        at[i] = 0;
}

/* Takes the same time wherever the two differ. Volatile, so that the loop does not become a
 * memcmp(), which stops at the first difference. */
static inline bool bytes_eq_secret(const char *a, const char *b, size_t size)
{
    const volatile char *x = a, *y = b;
    unsigned difference = 0;
    for (size_t i = 0; i < size; i++)
        difference |= (unsigned char)(x[i] ^ y[i]);
    return difference == 0;
}

struct reader {
    const char *at;
    size_t left;
    bool is_short;
};

static inline struct reader reader_of(struct sv view)
{
    return (struct reader){.at = view.data, .left = view.size};
}

/* The next `count` bytes; empty if fewer are left. */
static inline struct sv reader_bytes(struct reader *reader, size_t count)
{
    if (reader->is_short || count > reader->left) {
        reader->is_short = true;
        reader->left = 0;
        return sv_from(NULL, 0);
    }
    if (count == 0)
        return sv_from(reader->at, 0); /* NULL + 0 is undefined in C11 */
    struct sv bytes = sv_from(reader->at, count);
    reader->at += count;
    reader->left -= count;
    return bytes;
}

static inline uint8_t reader_u8(struct reader *reader)
{
    struct sv bytes = reader_bytes(reader, 1);
    return bytes.size == 1 ? (uint8_t)bytes.data[0] : 0;
}

static inline uint16_t reader_u16(struct reader *reader)
{
    struct sv bytes = reader_bytes(reader, 2);
    return bytes.size == 2 ? bytes_u16(bytes.data) : 0;
}

static inline uint32_t reader_u32(struct reader *reader)
{
    struct sv bytes = reader_bytes(reader, 4);
    return bytes.size == 4 ? bytes_u32(bytes.data) : 0;
}

/* The text up to the next zero byte, which is passed over. */
static inline struct sv reader_cstr(struct reader *reader)
{
    size_t size = sv_find(sv_from(reader->at, reader->left), '\0');
    if (size == reader->left) {
        reader->is_short = true;
        reader->left = 0;
        return sv_from(NULL, 0);
    }
    struct sv text = sv_from(reader->at, size);
    reader->at += size + 1;
    reader->left -= size + 1;
    return text;
}

#endif
