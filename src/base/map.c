#include "base/map.h"

#include <string.h>

#include "base/bits.h"
#include "base/bug.h"

/* A power of two above 2 * capacity - 1: the load never exceeds one half, and a search for what is
 * not there always ends at an empty slot. */
static uint32_t slot_count(uint32_t capacity)
{
    hf_assert(capacity > 0 && capacity <= MAP_CAPACITY_MAX);
    return UINT32_C(2) << bits_log2(2 * (uint64_t)capacity - 1);
}

size_t map_size(uint32_t capacity)
{
    return slot_count(capacity) * sizeof(struct map_slot);
}

void map_init(struct map *map, void *memory, uint32_t capacity)
{
    *map = (struct map){.slots = memory, .mask = slot_count(capacity) - 1, .capacity = capacity};
    memset(memory, 0, map_size(capacity));
}

/* Where a hash would stand if nothing were in its way. */
static uint32_t home(const struct map *map, uint64_t hash)
{
    return (uint32_t)hash & map->mask;
}

struct map_find map_find(const struct map *map, uint64_t hash)
{
    /* One before the home, because map_find_next() steps first. */
    return (struct map_find){.hash = hash, .slot = home(map, hash) - 1};
}

bool map_find_next(const struct map *map, struct map_find *find)
{
    for (;;) {
        find->slot = (find->slot + 1) & map->mask;
        const struct map_slot *slot = &map->slots[find->slot];
        if (!slot->is_used)
            return false;
        if (slot->hash == find->hash) {
            find->index = slot->index;
            return true;
        }
    }
}

bool map_insert(struct map *map, uint64_t hash, uint32_t index)
{
    if (map->count == map->capacity)
        return false;
    uint32_t at = home(map, hash);
    while (map->slots[at].is_used)
        at = (at + 1) & map->mask;
    map->slots[at] = (struct map_slot){hash, index, true};
    map->count++;
    return true;
}

/* Fills the hole with the next follower that may stand there, then the hole which that one left,
 * until the run of used slots ends. A follower may move back only if the hole is not in front of
 * its home, distances being counted backwards around the ring. */
static void close_hole(struct map *map, uint32_t hole)
{
    uint32_t at = hole;
    for (;;) {
        at = (at + 1) & map->mask;
        const struct map_slot *slot = &map->slots[at];
        if (!slot->is_used)
            break;
        uint32_t from_home = (at - home(map, slot->hash)) & map->mask;
        uint32_t from_hole = (at - hole) & map->mask;
        if (from_home >= from_hole) {
            map->slots[hole] = *slot;
            hole = at;
        }
    }
    map->slots[hole] = (struct map_slot){0};
}

bool map_remove(struct map *map, uint64_t hash, uint32_t index)
{
    for (struct map_find find = map_find(map, hash); map_find_next(map, &find);) {
        if (find.index == index) {
            close_hole(map, find.slot);
            map->count--;
            return true;
        }
    }
    return false;
}

bool map_each(const struct map *map, uint32_t *cursor, uint32_t *index)
{
    while (*cursor <= map->mask) {
        const struct map_slot *slot = &map->slots[(*cursor)++];
        if (slot->is_used) {
            *index = slot->index;
            return true;
        }
    }
    return false;
}
