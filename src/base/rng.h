/*
 * Seeded random numbers: the only source of chance that pure code knows.
 *
 * The generator is xoshiro256** (Blackman and Vigna), its four words filled from the seed by
 * splitmix64, as its authors advise. It is fast, passes the usual statistical batteries, and is not
 * for secrets: keys and nonces come from os/.
 *
 * Invariants
 *  1. The same seed gives the same sequence, on every machine and in every later version: recorded
 *     failures of the simulator are replayed by seed. A test pins the first numbers.
 *  2. Each call takes the same draws for the same arguments, so a sequence is a function of the
 * seed and of the calls made.
 *
 * One struct rng belongs to one owner; nothing here is shared. Where many threads need chance, or a
 * decision must be a pure function of a counter (backoff jitter, a choice of two endpoints), use
 * rng_hash(), which has no state at all.
 */
#ifndef HF_BASE_RNG_H
#define HF_BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t s[4];
};

/* Every seed is good, 0 too. */
void rng_init(struct rng *rng, uint64_t seed);

/* 64 random bits. */
uint64_t rng_u64(struct rng *rng);

/* Evenly one of 0 .. n - 1; n must not be 0. */
uint64_t rng_below(struct rng *rng, uint64_t n);

/* Evenly in [0, 1), in steps of 2^-53: 1.0 never comes. */
double rng_unit(struct rng *rng);

/* Evenly one of lo .. hi, both included; 0 <= lo <= hi. */
int64_t rng_range_ns(struct rng *rng, int64_t lo, int64_t hi);

/* The splitmix64 finaliser: a bijection that spreads every input bit over all output bits. */
static inline uint64_t rng_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Draw number n (0, 1, 2 ...) of the splitmix64 sequence of a seed, without state: the same (seed,
 * n) always gives the same 64 bits. A few shifts and two multiplications. */
static inline uint64_t rng_hash(uint64_t seed, uint64_t n)
{
    return rng_mix(seed + (n + 1) * UINT64_C(0x9e3779b97f4a7c15));
}

#endif
