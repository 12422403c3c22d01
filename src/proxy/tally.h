/*
 * How many there are of each: clients of a database, of a role, from an address. For limits that
 * are looked at when a client comes and when it goes.
 *
 * Names are known by a keyed hash of 64 bits: whoever does not know the key cannot make two names
 * meet, and by chance they never do. The table has room for as many different names as there can be
 * clients, and forgets a name when its count is 0.
 *
 * Not locked: proxy->lock is held.
 */
#ifndef HF_PROXY_TALLY_H
#define HF_PROXY_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"

struct tally_entry {
    uint32_t count;
    uint32_t next; /* of a free entry */
};

struct tally {
    struct map map;
    struct tally_entry *entries;
    uint32_t capacity;
    uint32_t free;
};

size_t tally_size(uint32_t capacity);
/* In memory of that size, aligned for a uint64_t. */
void tally_init(struct tally *tally, void *memory, uint32_t capacity);

/* One more of this hash, unless there are `limit` already (0: no limit). */
bool tally_try(struct tally *tally, uint64_t hash, uint32_t limit);
/* One less. */
void tally_return(struct tally *tally, uint64_t hash);

uint32_t tally_count(const struct tally *tally, uint64_t hash);

#endif
