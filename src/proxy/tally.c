#include "proxy/tally.h"

#include "base/bug.h"

static uint32_t index_of(const struct tally *tally, uint64_t hash)
{
    struct map_find find = map_find(&tally->map, hash);
    return map_find_next(&tally->map, &find) ? find.index : UINT32_MAX;
}

size_t tally_size(uint32_t capacity)
{
    return map_size(capacity) + capacity * sizeof(struct tally_entry);
}

void tally_init(struct tally *tally, void *memory, uint32_t capacity)
{
    map_init(&tally->map, memory, capacity);
    tally->entries = (struct tally_entry *)(void *)((char *)memory + map_size(capacity));
    tally->capacity = capacity;
    tally->free = 0;
    for (uint32_t i = 0; i < capacity; i++)
        tally->entries[i] = (struct tally_entry){.next = i + 1};
}

bool tally_try(struct tally *tally, uint64_t hash, uint32_t limit)
{
    uint32_t index = index_of(tally, hash);
    if (index != UINT32_MAX) {
        if (limit > 0 && tally->entries[index].count >= limit)
            return false;
        tally->entries[index].count++;
        return true;
    }
    index = tally->free;
    if (index == tally->capacity)
        return false;
    tally->free = tally->entries[index].next;
    tally->entries[index].count = 1;
    bool is_new = map_insert(&tally->map, hash, index);
    hf_assert(is_new);
    return true;
}

void tally_return(struct tally *tally, uint64_t hash)
{
    uint32_t index = index_of(tally, hash);
    hf_assert(index != UINT32_MAX && tally->entries[index].count > 0);
    if (--tally->entries[index].count > 0)
        return;
    map_remove(&tally->map, hash, index);
    tally->entries[index].next = tally->free;
    tally->free = index;
}

uint32_t tally_count(const struct tally *tally, uint64_t hash)
{
    uint32_t index = index_of(tally, hash);
    return index != UINT32_MAX ? tally->entries[index].count : 0;
}
