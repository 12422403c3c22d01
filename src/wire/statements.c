#include "wire/statements.h"

#include <string.h>

#include "base/bug.h"

/* Places are counted in these, so that chunk and offset fit into 32 bits: 13 for the offset. */
#define UNIT       4
#define PLACE_BITS 13
#define CHUNKS_MAX (1 << (32 - PLACE_BITS))

/* A larger statement gets a chunk of its own, or one that is free. */
#define LARGE (STATEMENTS_CHUNK_SIZE / 4)

/* What stands in a chunk; behind it the text, the number of types in two bytes, and the types. */
struct entry {
    uint32_t held; /* 0: a hole */
    uint32_t hash;
    uint32_t id;
    uint32_t text_size : 31;
    uint32_t is_noted : 1;
};

_Static_assert(STATEMENTS_CHUNK_SIZE / UNIT <= 1 << PLACE_BITS, "an offset fits a place");
_Static_assert(sizeof(struct entry) % UNIT == 0, "entries are aligned");

void statements_init(struct statements *store, struct hash_key key, size_t bytes_max)
{
    *store = (struct statements){
        .key = key, .bytes_max = bytes_max, .free_id = STATEMENTS_NONE, .current = STATEMENTS_NONE};
}

/* ---- Where things are ---- */

static struct entry *entry_in(const struct statements_chunk *chunk, uint32_t offset)
{
    return (struct entry *)(void *)(chunk->memory + offset);
}

static uint32_t place_of(uint32_t chunk, uint32_t offset)
{
    return chunk << PLACE_BITS | offset / UNIT;
}

static struct statements_chunk *chunk_of(const struct statements *store, uint32_t id)
{
    return &store->chunks[store->places[id] >> PLACE_BITS];
}

static struct entry *entry_of(const struct statements *store, uint32_t id)
{
    uint32_t offset = (store->places[id] & ((1U << PLACE_BITS) - 1)) * UNIT;
    return entry_in(chunk_of(store, id), offset);
}

static struct statement statement_in(const struct entry *entry)
{
    const char *text = (const char *)(entry + 1);
    const char *types = text + entry->text_size;
    uint16_t count;
    memcpy(&count, types, sizeof count);
    return (struct statement){sv_from(text, entry->text_size),
                              sv_from(types + sizeof count, (size_t)count * 4),
                              entry->is_noted != 0};
}

static size_t size_for(struct sv text, struct sv types)
{
    size_t size = sizeof(struct entry) + text.size + sizeof(uint16_t) + types.size;
    return (size + UNIT - 1) / UNIT * UNIT;
}

static uint32_t size_of(const struct entry *entry)
{
    struct statement statement = statement_in(entry);
    return (uint32_t)size_for(statement.text, statement.types);
}

/* ---- By text ---- */

/* SipHash spreads all of its bits; half of them tell enough texts apart to compare few. */
static uint32_t hash_of(const struct statements *store, struct sv text, struct sv types)
{
    uint64_t hash = hash_bytes(&store->key, text);
    if (types.size > 0)
        hash = rng_mix(hash ^ hash_bytes(&store->key, types));
    return (uint32_t)hash;
}

static uint32_t *head_of(const struct statements *store, uint32_t hash)
{
    return &store->heads[(uint64_t)hash * store->capacity >> 32];
}

static void link_id(struct statements *store, uint32_t hash, uint32_t id)
{
    uint32_t *head = head_of(store, hash);
    store->nexts[id] = *head;
    *head = id;
}

static void unlink_id(struct statements *store, uint32_t hash, uint32_t id)
{
    uint32_t *link = head_of(store, hash);
    while (*link != id)
        link = &store->nexts[*link];
    *link = store->nexts[id];
}

static uint32_t find(const struct statements *store, uint32_t hash, struct sv text, struct sv types)
{
    uint32_t id = store->capacity > 0 ? *head_of(store, hash) : STATEMENTS_NONE;
    for (; id != STATEMENTS_NONE; id = store->nexts[id]) {
        const struct entry *entry = entry_of(store, id);
        if (entry->hash != hash)
            continue;
        struct statement statement = statement_in(entry);
        if (sv_eq(statement.text, text) && sv_eq(statement.types, types))
            break;
    }
    return id;
}

/* ---- Memory ---- */

static size_t index_size(uint32_t capacity, uint32_t chunk_capacity)
{
    return chunk_capacity * sizeof(struct statements_chunk) + (size_t)capacity * 3 * 4;
}

struct statements_want statements_want(const struct statements *store)
{
    bool lacks_chunks = store->chunk_count == store->chunk_capacity;
    struct statements_want want = {.size = store->wanted,
                                   .capacity = store->capacity,
                                   .chunk_capacity = store->chunk_capacity};
    if (store->wanted > 0 && !lacks_chunks)
        return want;
    /* An eighth more: copying stays cheap, and little lies idle. */
    want.is_index = true;
    if (store->wanted == 0)
        want.capacity += want.capacity / 8 + 64;
    if (lacks_chunks)
        want.chunk_capacity += want.chunk_capacity / 2 + 8;
    want.size = index_size(want.capacity, want.chunk_capacity);
    return want;
}

/* All that is held, by hash again. */
static void link_all(struct statements *store)
{
    memset(store->heads, 0xff, (size_t)store->capacity * sizeof *store->heads);
    for (uint32_t i = 0; i < store->chunk_count; i++) {
        const struct statements_chunk *chunk = &store->chunks[i];
        for (uint32_t at = 0; at < chunk->used; at += size_of(entry_in(chunk, at))) {
            const struct entry *entry = entry_in(chunk, at);
            if (entry->held > 0)
                link_id(store, entry->hash, entry->id);
        }
    }
}

static void *give_index(struct statements *store, void *memory, struct statements_want want)
{
    void *old = store->index;
    struct statements_chunk *chunks = memory;
    uint32_t *places = (uint32_t *)(void *)(chunks + want.chunk_capacity);
    if (old != NULL) {
        memcpy(chunks, store->chunks, store->chunk_count * sizeof *chunks);
        memcpy(places, store->places, store->ids * sizeof *places);
    }
    store->bytes += want.size - index_size(store->capacity, store->chunk_capacity);
    store->index = memory;
    store->chunks = chunks;
    store->places = places;
    store->heads = places + want.capacity;
    store->nexts = store->heads + want.capacity;
    store->capacity = want.capacity;
    store->chunk_capacity = want.chunk_capacity;
    link_all(store);
    return old;
}

void *statements_give(struct statements *store, void *memory, struct statements_want want)
{
    if (want.is_index)
        return give_index(store, memory, want);
    uint32_t place = 0;
    while (place < store->chunk_count && store->chunks[place].memory != NULL)
        place++;
    hf_assert(place < store->chunk_capacity);
    if (place == store->chunk_count)
        store->chunk_count++;
    store->chunks[place] = (struct statements_chunk){.memory = memory, .size = (uint32_t)want.size};
    store->bytes += want.size;
    if (want.size == STATEMENTS_CHUNK_SIZE)
        store->current = place;
    return NULL;
}

void *statements_spare(struct statements *store)
{
    for (uint32_t i = 0; i < store->chunk_count; i++) {
        struct statements_chunk *chunk = &store->chunks[i];
        if (chunk->memory == NULL || chunk->used > chunk->dead || i == store->current)
            continue;
        void *memory = chunk->memory;
        store->bytes -= chunk->size;
        *chunk = (struct statements_chunk){0};
        return memory;
    }
    return NULL;
}

void *statements_deinit(struct statements *store)
{
    while (store->chunk_count > 0) {
        void *memory = store->chunks[--store->chunk_count].memory;
        if (memory != NULL)
            return memory;
    }
    void *index = store->index;
    store->index = NULL;
    return index;
}

/* What is held moves to the front, and all holes become room at the end. */
static void close_holes(struct statements *store, uint32_t place)
{
    struct statements_chunk *chunk = &store->chunks[place];
    uint32_t to = 0;
    if (chunk->dead == 0)
        return;
    for (uint32_t from = 0; from < chunk->used;) {
        struct entry *entry = entry_in(chunk, from);
        uint32_t size = size_of(entry);
        from += size;
        if (entry->held == 0)
            continue;
        store->places[entry->id] = place_of(place, to);
        memmove(chunk->memory + to, entry, size);
        to += size;
    }
    chunk->used = to;
    chunk->dead = 0;
}

/* A chunk with room for so much at its end, or STATEMENTS_NONE. What is too long for the end of the
 * one in use may find room at that of another: looking at all of them costs less than a new text
 * does anyway. */
static uint32_t find_chunk(struct statements *store, size_t size)
{
    uint32_t holey = STATEMENTS_NONE;
    if (store->current != STATEMENTS_NONE) {
        const struct statements_chunk *chunk = &store->chunks[store->current];
        if (chunk->size - chunk->used >= size)
            return store->current;
    }
    for (uint32_t i = 0; i < store->chunk_count; i++) {
        const struct statements_chunk *chunk = &store->chunks[i];
        uint32_t end = chunk->size - chunk->used, room = end + chunk->dead;
        if (end >= size)
            return i;
        if (room >= size && room >= chunk->size / 4 && holey == STATEMENTS_NONE)
            holey = i;
    }
    if (holey == STATEMENTS_NONE)
        return STATEMENTS_NONE;
    close_holes(store, holey);
    if (size <= LARGE)
        store->current = holey;
    return holey;
}

/* ---- Statements ---- */

static uint32_t new_id(struct statements *store)
{
    uint32_t id = store->free_id;
    if (id == STATEMENTS_NONE)
        return store->ids++;
    store->free_id = store->places[id];
    return id;
}

static bool has_id(const struct statements *store)
{
    return store->free_id != STATEMENTS_NONE || store->ids < store->capacity;
}

/* What is missing, if it may be asked for. */
static enum statements_rc ask_for(struct statements *store, size_t chunk_size)
{
    store->wanted = (uint32_t)chunk_size;
    struct statements_want want = statements_want(store);
    size_t more = want.size;
    if (want.is_index)
        more -= index_size(store->capacity, store->chunk_capacity);
    bool is_over = want.capacity > STATEMENTS_MAX || want.chunk_capacity > CHUNKS_MAX ||
                   store->bytes > store->bytes_max || more > store->bytes_max - store->bytes;
    return is_over ? STATEMENTS_FULL : STATEMENTS_WANT;
}

void statements_set_max(struct statements *store, size_t bytes_max)
{
    store->bytes_max = bytes_max;
}

enum statements_rc statements_add(struct statements *store, struct sv text, struct sv types,
                                  uint32_t *id)
{
    uint32_t hash = hash_of(store, text, types);
    *id = find(store, hash, text, types);
    if (*id != STATEMENTS_NONE) {
        statements_hold(store, *id);
        return STATEMENTS_OK;
    }
    size_t size = size_for(text, types);
    if (size > store->bytes_max)
        return STATEMENTS_FULL;
    if (!has_id(store))
        return ask_for(store, 0);
    uint32_t place = find_chunk(store, size);
    if (place == STATEMENTS_NONE)
        return ask_for(store, size <= LARGE ? STATEMENTS_CHUNK_SIZE : size);

    struct statements_chunk *chunk = &store->chunks[place];
    struct entry *entry = entry_in(chunk, chunk->used);
    uint16_t count = (uint16_t)(types.size / 4);
    *id = new_id(store);
    *entry = (struct entry){
        .held = 1, .hash = hash, .id = *id, .text_size = (uint32_t)text.size & INT32_MAX};
    char *at = (char *)(entry + 1);
    if (text.size > 0)
        memcpy(at, text.data, text.size);
    memcpy(at + text.size, &count, sizeof count);
    if (types.size > 0)
        memcpy(at + text.size + sizeof count, types.data, types.size);
    store->places[*id] = place_of(place, chunk->used);
    chunk->used += (uint32_t)size;
    store->count++;
    link_id(store, hash, *id);
    return STATEMENTS_OK;
}

void statements_hold(struct statements *store, uint32_t id)
{
    entry_of(store, id)->held++;
}

void statements_release(struct statements *store, uint32_t id)
{
    struct entry *entry = entry_of(store, id);
    hf_assert(entry->held > 0 && entry->id == id);
    if (--entry->held > 0)
        return;
    unlink_id(store, entry->hash, id);
    chunk_of(store, id)->dead += size_of(entry);
    store->places[id] = store->free_id;
    store->free_id = id;
    store->count--;
}

void statements_note(struct statements *store, uint32_t id)
{
    entry_of(store, id)->is_noted = 1;
}

struct statement statements_get(const struct statements *store, uint32_t id)
{
    const struct entry *entry = entry_of(store, id);
    hf_assert(entry->held > 0 && entry->id == id);
    return statement_in(entry);
}
