/*
 * Bit arithmetic that C11 lacks and every compiler we build with has.
 */
#ifndef HF_BASE_BITS_H
#define HF_BASE_BITS_H

#include <stdint.h>

/* Index of the highest set bit: the logarithm to base 2, rounded down. v must not be 0. */
static inline unsigned bits_log2(uint64_t v)
{
    return 63U - (unsigned)__builtin_clzll(v);
}

/* Index of the lowest set bit. v must not be 0. */
static inline unsigned bits_lowest(uint64_t v)
{
    return (unsigned)__builtin_ctzll(v);
}

#endif
