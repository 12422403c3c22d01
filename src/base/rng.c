#include "base/rng.h"

#include "base/bug.h"

void rng_init(struct rng *rng, uint64_t seed)
{
    /* Four consecutive splitmix64 outputs cannot all be 0, the one state that xoshiro never leaves:
     * rng_hash() is a bijection of n. */
    for (uint64_t i = 0; i < 4; i++)
        rng->s[i] = rng_hash(seed, i);
}

static uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

uint64_t rng_u64(struct rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *rng, uint64_t n)
{
    hf_assert(n > 0);
    /* 2^64 is rarely a multiple of n: the lowest 2^64 mod n draws are thrown away, so that what is
     * left falls evenly on the n remainders. (0 - n) % n is that number in 64-bit arithmetic. */
    uint64_t uneven = (0 - n) % n;
    uint64_t draw;
    do {
        draw = rng_u64(rng);
    } while (draw < uneven);
    return draw % n;
}

double rng_unit(struct rng *rng)
{
    return (double)(rng_u64(rng) >> 11) * 0x1p-53;
}

int64_t rng_range_ns(struct rng *rng, int64_t lo, int64_t hi)
{
    hf_assert(lo >= 0 && lo <= hi);
    return lo + (int64_t)rng_below(rng, (uint64_t)(hi - lo) + 1);
}
