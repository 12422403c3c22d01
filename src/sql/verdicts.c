#include "sql/verdicts.h"

#include <string.h>

#include "base/bug.h"

#define NO_BLOCK UINT32_MAX

static size_t aligned(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

size_t verdicts_size(uint32_t capacity)
{
    return aligned(capacity * sizeof(struct verdicts_entry)) + map_size(capacity) +
           (size_t)capacity * VERDICTS_BLOCKS_EACH * sizeof(struct verdicts_block);
}

void verdicts_init(struct verdicts *verdicts, void *memory, uint32_t capacity)
{
    hf_assert(capacity > 0 && capacity <= VERDICTS_CAPACITY_MAX);
    char *at = memory;
    *verdicts = (struct verdicts){.capacity = capacity, .entries = memory};
    at += aligned(capacity * sizeof(struct verdicts_entry));
    map_init(&verdicts->map, at, capacity);
    at += map_size(capacity);
    verdicts->blocks = (void *)at;
    verdicts->free_blocks = capacity * VERDICTS_BLOCKS_EACH;
    for (uint32_t i = 0; i < capacity; i++)
        verdicts->entries[i].is_used = false;
    for (uint32_t i = 0; i < verdicts->free_blocks; i++)
        verdicts->blocks[i].next = i + 1 < verdicts->free_blocks ? i + 1 : NO_BLOCK;
}

static uint32_t blocks_for(size_t size)
{
    return (uint32_t)((size + VERDICTS_BLOCK_TEXT - 1) / VERDICTS_BLOCK_TEXT);
}

static bool has_text(const struct verdicts *verdicts, const struct verdicts_entry *entry,
                     struct sv text)
{
    if (entry->text_size != text.size)
        return false;
    for (uint32_t at = entry->first_block; text.size > 0; at = verdicts->blocks[at].next) {
        const struct sv part = sv_take(text, VERDICTS_BLOCK_TEXT);
        if (memcmp(verdicts->blocks[at].text, part.data, part.size) != 0)
            return false;
        text = sv_drop(text, part.size);
    }
    return true;
}

/* NULL if the shape is not there, of whichever generation. */
static struct verdicts_entry *find_any(struct verdicts *verdicts, const struct shape *shape)
{
    for (struct map_find f = map_find(&verdicts->map, shape->hash[0]);
         map_find_next(&verdicts->map, &f);) {
        struct verdicts_entry *entry = &verdicts->entries[f.index];
        if (entry->hash == shape->hash[0] && has_text(verdicts, entry, shape->text))
            return entry;
    }
    return NULL;
}

static bool is_valid(const struct verdicts *verdicts, const struct verdicts_entry *entry)
{
    return entry->is_learned || entry->generation == verdicts->generation;
}

const struct verdict *verdicts_find(struct verdicts *verdicts, const struct shape *shape)
{
    struct verdicts_entry *entry = find_any(verdicts, shape);
    if (entry == NULL || !is_valid(verdicts, entry)) {
        verdicts->counts.misses++;
        return NULL;
    }
    entry->is_recent = true;
    verdicts->counts.hits++;
    return &entry->verdict;
}

static void evict(struct verdicts *verdicts, uint32_t index)
{
    struct verdicts_entry *entry = &verdicts->entries[index];
    const bool was_in = map_remove(&verdicts->map, entry->hash, index);
    hf_assert(was_in);
    for (uint32_t left = blocks_for(entry->text_size), at = entry->first_block; left > 0; left--) {
        const uint32_t next = verdicts->blocks[at].next;
        verdicts->blocks[at].next = verdicts->free_block;
        verdicts->free_block = at;
        verdicts->free_blocks++;
        at = next;
    }
    entry->is_used = false;
    verdicts->count--;
    verdicts->counts.evicted++;
}

/* The clock's hand: who was found since it passed stays once more, unless what it says is out of
 * date. Ends, since it finds nobody recent the second time. */
static void evict_one(struct verdicts *verdicts)
{
    for (;;) {
        const uint32_t index = verdicts->hand;
        struct verdicts_entry *entry = &verdicts->entries[index];
        verdicts->hand = index + 1 < verdicts->capacity ? index + 1 : 0;
        if (!entry->is_used)
            continue;
        if (!entry->is_recent || !is_valid(verdicts, entry)) {
            evict(verdicts, index);
            return;
        }
        entry->is_recent = false;
    }
}

static uint32_t free_entry(struct verdicts *verdicts)
{
    for (;;) {
        const uint32_t index = verdicts->hand;
        verdicts->hand = index + 1 < verdicts->capacity ? index + 1 : 0;
        if (!verdicts->entries[index].is_used)
            return index;
    }
}

static void store_text(struct verdicts *verdicts, struct verdicts_entry *entry, struct sv text)
{
    uint32_t *link = &entry->first_block;
    entry->text_size = (uint32_t)text.size;
    entry->first_block = NO_BLOCK;
    while (text.size > 0) {
        const uint32_t at = verdicts->free_block;
        struct verdicts_block *block = &verdicts->blocks[at];
        const struct sv part = sv_take(text, VERDICTS_BLOCK_TEXT);
        verdicts->free_block = block->next;
        verdicts->free_blocks--;
        memcpy(block->text, part.data, part.size);
        *link = at;
        link = &block->next;
        text = sv_drop(text, part.size);
    }
    *link = NO_BLOCK;
}

/* An entry for a shape that has none; NULL if its text is too long to be kept. */
static struct verdicts_entry *make(struct verdicts *verdicts, const struct shape *shape)
{
    const uint32_t blocks = blocks_for(shape->text.size);
    if (shape->text.size > VERDICTS_TEXT_MAX ||
        blocks > verdicts->capacity * VERDICTS_BLOCKS_EACH) {
        verdicts->counts.too_long++;
        return NULL;
    }
    while (verdicts->count == verdicts->capacity || verdicts->free_blocks < blocks)
        evict_one(verdicts);
    const uint32_t index = free_entry(verdicts);
    struct verdicts_entry *entry = &verdicts->entries[index];
    *entry = (struct verdicts_entry){.hash = shape->hash[0], .is_used = true};
    store_text(verdicts, entry, shape->text);
    const bool is_in = map_insert(&verdicts->map, entry->hash, index);
    hf_assert(is_in);
    verdicts->count++;
    return entry;
}

void verdicts_put(struct verdicts *verdicts, const struct shape *shape,
                  const struct verdict *verdict)
{
    struct verdicts_entry *entry = find_any(verdicts, shape);
    if (entry == NULL)
        entry = make(verdicts, shape);
    if (entry == NULL || entry->is_learned)
        return;
    entry->verdict = *verdict;
    entry->generation = verdicts->generation;
}

void verdicts_learn(struct verdicts *verdicts, const struct shape *shape)
{
    struct verdicts_entry *entry = find_any(verdicts, shape);
    if (entry == NULL)
        entry = make(verdicts, shape);
    if (entry == NULL || entry->is_learned)
        return;
    verdict_strengthen(&entry->verdict, VERDICT_WRITE, VERDICT_BY_LEARNING, SV("25006"));
    entry->verdict.traits |= VERDICT_IS_LEARNED;
    entry->is_learned = true;
    entry->is_recent = true;
    verdicts->counts.learned++;
}

void verdicts_renew(struct verdicts *verdicts, uint32_t generation)
{
    verdicts->generation = generation;
}

static void copy_text(const struct verdicts *verdicts, const struct verdicts_entry *entry,
                      char *text, size_t size)
{
    size_t left = entry->text_size < size - 1 ? entry->text_size : size - 1;
    for (uint32_t at = entry->first_block; left > 0; at = verdicts->blocks[at].next) {
        const size_t part = left < VERDICTS_BLOCK_TEXT ? left : VERDICTS_BLOCK_TEXT;
        memcpy(text, verdicts->blocks[at].text, part);
        text += part;
        left -= part;
    }
    *text = '\0';
}

bool verdicts_each(const struct verdicts *verdicts, uint32_t *cursor,
                   const struct verdict **verdict, char *text, size_t size)
{
    while (*cursor < verdicts->capacity) {
        const struct verdicts_entry *entry = &verdicts->entries[(*cursor)++];
        if (!entry->is_used || !is_valid(verdicts, entry))
            continue;
        *verdict = &entry->verdict;
        copy_text(verdicts, entry, text, size);
        return true;
    }
    return false;
}
