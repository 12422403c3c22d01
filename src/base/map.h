/*
 * Hash map of fixed capacity in the caller's memory: from the hash of a key to the index of the
 * entry that has the key.
 *
 * The map knows neither keys nor entries, which stay in an array of the caller's. It stores a
 * 64-bit hash and a 32-bit index, and offers the entries whose hash fits; the caller compares the
 * key. Two keys with one 64-bit hash are rare, but nothing here relies on their being absent.
 *
 *     uint64_t hash = hash_bytes(&key, name);
 *     for (struct map_find f = map_find(&map, hash); map_find_next(&map, &f);)
 *         if (sv_eq(entries[f.index].name, name))
 *             return &entries[f.index];
 *
 * With hash_u64() equal hashes mean equal keys, and the first offer is the entry.
 *
 * Inside: open addressing with linear probing, two to four times as many slots as the capacity, so
 * that a search looks at one or two; removal shifts the followers back instead of leaving
 * tombstones, so a map does not age.
 *
 * Invariants
 *  1. An inserted pair (hash, index) is offered by a search for that hash until it is removed.
 *  2. It never holds more pairs than its capacity: insertion refuses.
 *  3. The same operations lead to the same order of iteration, on every machine: no pointers and
 *     no chance but the key of the hash.
 *
 * One owner, no locking. What is found stays valid until the next insertion or removal.
 */
#ifndef HF_BASE_MAP_H
#define HF_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAP_CAPACITY_MAX (UINT32_C(1) << 28)

struct map_slot {
    uint64_t hash;
    uint32_t index;
    bool is_used;
};

struct map {
    struct map_slot *slots; /* borrowed: the caller's memory */
    uint32_t mask;          /* number of slots - 1; they are a power of two */
    uint32_t capacity;
    uint32_t count;
};

/* Bytes that a map of this capacity (1 .. MAP_CAPACITY_MAX) needs: 32 to 64 for each entry. */
size_t map_size(uint32_t capacity);

/* An empty map in `memory`, which must hold map_size(capacity) bytes, be aligned for a uint64_t
 * and outlive the map. */
void map_init(struct map *map, void *memory, uint32_t capacity);

/* A search in progress; `index` is valid after map_find_next() returned true. */
struct map_find {
    uint64_t hash;
    uint32_t slot;
    uint32_t index;
};

struct map_find map_find(const struct map *map, uint64_t hash);
bool map_find_next(const struct map *map, struct map_find *find);

/* Adds a pair, also if there are others of the same hash: look first where keys must be unique.
 * False, and nothing changed, if the map is full. */
bool map_insert(struct map *map, uint64_t hash, uint32_t index);

/* Removes a pair; false if it is not there. */
bool map_remove(struct map *map, uint64_t hash, uint32_t index);

/* Every pair once, in the order of the slots. `*cursor` starts at 0; false at the end. The map must
 * not change on the way.
 *
 *     uint32_t cursor = 0, index;
 *     while (map_each(&map, &cursor, &index)) ...
 */
bool map_each(const struct map *map, uint32_t *cursor, uint32_t *index);

#endif
