/*
 * Keyed hashes for hash maps.
 *
 * hash_bytes() is SipHash-1-3 (Aumasson and Bernstein 2012, the reduced-round form that Rust and
 * Python use for their dictionaries): whoever does not know the key cannot find many inputs that
 * fall together, so names sent by clients cannot turn a map into a list. It is not for signatures.
 * Where inputs come from outside, the key comes from the system's randomness at start; where a run
 * must be replayed, from the seed.
 *
 * hash_u64() is for numbers that we chose ourselves (ids, indexes). For one key it is a bijection:
 * equal hashes mean equal numbers, and a map needs no further comparison.
 */
#ifndef HF_BASE_HASH_H
#define HF_BASE_HASH_H

#include <stdint.h>

#include "base/rng.h"
#include "base/sv.h"

struct hash_key {
    uint64_t k0;
    uint64_t k1;
};

static inline struct hash_key hash_key_from_seed(uint64_t seed)
{
    return (struct hash_key){rng_hash(seed, 0), rng_hash(seed, 1)};
}

uint64_t hash_bytes(const struct hash_key *key, struct sv bytes);

static inline uint64_t hash_u64(const struct hash_key *key, uint64_t number)
{
    return rng_mix(rng_mix(number ^ key->k0) + key->k1);
}

#endif
