#include "wire/settings.h"

#include <string.h>

#include "base/bug.h"
#include "base/rng.h"
#include "wire/bytes.h"

/*
 * The block of texts is a row of blocks, each the content of one entry:
 *
 *     entry (0: garbage) | kind and size | content, filled up to a multiple of four bytes
 *
 *     a name:  its text                     entries refer to each other by their numbers, so
 *     a pair:  number of the name, value    blocks can move
 *     a set:   numbers of the pairs
 *
 * An entry lives as long as somebody refers to it: pairs to names, sets and edits to pairs, callers
 * to sets. All are found by their content through one map.
 */
enum kind {
    KIND_NAME,
    KIND_PAIR,
    KIND_SET,
};

#define HEAD_SIZE  8
#define KIND_SHIFT 30
#define SIZE_MASK  ((UINT32_C(1) << KIND_SHIFT) - 1)

/* This share of the memory stays free or garbage, so that each time it is closed up it serves for
 * many changes. */
#define SLACK 8

static uint32_t word_at(const struct settings *store, uint32_t at)
{
    uint32_t word;
    memcpy(&word, store->bytes + at, sizeof word);
    return word;
}

static void put_word(struct settings *store, uint32_t at, uint32_t word)
{
    memcpy(store->bytes + at, &word, sizeof word);
}

/* What a block takes that has so much content. */
static uint32_t block_size(size_t content)
{
    return HEAD_SIZE + (((uint32_t)content + 3) & ~UINT32_C(3));
}

static enum kind kind_of(const struct settings *store, uint32_t id)
{
    return (enum kind)(word_at(store, store->entries[id].at + 4) >> KIND_SHIFT);
}

static struct sv content_of(const struct settings *store, uint32_t id)
{
    uint32_t at = store->entries[id].at;
    return sv_from(store->bytes + at + HEAD_SIZE, word_at(store, at + 4) & SIZE_MASK);
}

static uint32_t name_of(const struct settings *store, uint32_t pair)
{
    return word_at(store, store->entries[pair].at + HEAD_SIZE);
}

static struct sv value_of(const struct settings *store, uint32_t pair)
{
    return sv_drop(content_of(store, pair), 4);
}

static uint32_t count_of(const struct settings *store, uint32_t set)
{
    return set == 0 ? 0 : (uint32_t)content_of(store, set).size / 4;
}

static uint32_t pair_of(const struct settings *store, uint32_t set, uint32_t index)
{
    return word_at(store, store->entries[set].at + HEAD_SIZE + 4 * index);
}

/* ---- The store ---- */

static size_t entries_size(const struct settings_config *config)
{
    return sizeof(struct settings_entry) * config->entries_max;
}

size_t settings_size(const struct settings_config *config)
{
    return entries_size(config) + map_size(config->entries_max) + config->bytes_max;
}

void settings_init(struct settings *store, void *memory, const struct settings_config *config)
{
    char *at = memory;
    hf_assert(config->bytes_max >= SETTINGS_BYTES_MIN && config->bytes_max <= SIZE_MASK);
    hf_assert(config->entries_max >= SETTINGS_ENTRIES_MIN);
    *store = (struct settings){
        .key = config->key,
        .entries = memory,
        .entries_max = config->entries_max,
        .entries_used = 1,
        .bytes_max = config->bytes_max,
    };
    at += entries_size(config);
    map_init(&store->map, at, config->entries_max);
    store->bytes = at + map_size(config->entries_max);
}

/* Moves all blocks that are in use to the front, and with them the views that point into them. */
static void close_up(struct settings *store, struct sv *views, size_t count)
{
    uint32_t to = 0;
    for (uint32_t at = 0, size; at < store->bytes_end; at += size) {
        uint32_t id = word_at(store, at);
        size = block_size(word_at(store, at + 4) & SIZE_MASK);
        if (id == 0)
            continue;
        for (size_t i = 0; i < count; i++) {
            uintptr_t offset = (uintptr_t)views[i].data - (uintptr_t)(store->bytes + at);
            if (offset < size)
                views[i].data = store->bytes + to + offset;
        }
        memmove(store->bytes + to, store->bytes + at, size);
        store->entries[id].at = to;
        to += size;
    }
    store->bytes_end = to;
}

/* Is there room for so many entries more, whose blocks take so many bytes? Then they fit, one after
 * the other. */
static bool make_room(struct settings *store, uint32_t entries, uint32_t bytes, struct sv *views,
                      size_t count)
{
    uint32_t limit = store->bytes_max - store->bytes_max / SLACK;
    if (store->map.count + entries >= store->entries_max || bytes > limit - store->bytes_live)
        return false;
    if (bytes > store->bytes_max - store->bytes_end)
        close_up(store, views, count);
    return true;
}

/* A new entry with one reference to it. There is room. */
static uint32_t add_entry(struct settings *store, enum kind kind, uint64_t hash, struct sv head,
                          struct sv tail)
{
    uint32_t id = store->entry_free;
    if (id != 0)
        store->entry_free = store->entries[id].at;
    else
        id = store->entries_used++;
    hf_assert(id < store->entries_max);
    uint32_t at = store->bytes_end;
    uint32_t content = (uint32_t)(head.size + tail.size);
    uint32_t size = block_size(content);
    hf_assert(size <= store->bytes_max - at);
    store->entries[id] = (struct settings_entry){.hash = hash, .at = at, .refs = 1};
    put_word(store, at, id);
    put_word(store, at + 4, (uint32_t)kind << KIND_SHIFT | content);
    memcpy(store->bytes + at + HEAD_SIZE, head.data, head.size);
    if (tail.size > 0)
        memcpy(store->bytes + at + HEAD_SIZE + head.size, tail.data, tail.size);
    store->bytes_end += size;
    store->bytes_live += size;
    bool is_in = map_insert(&store->map, hash, id);
    hf_assert(is_in);
    return id;
}

static void keep_entry(struct settings *store, uint32_t id)
{
    hf_assert(store->entries[id].refs > 0 && store->entries[id].refs < UINT32_MAX);
    store->entries[id].refs++;
}

/* One reference less. True if that was the last one: then what the entry itself refers to is to be
 * dropped too, and the entry to be removed. */
static bool is_last_drop(struct settings *store, uint32_t id)
{
    hf_assert(id < store->entries_used && store->entries[id].refs > 0);
    return --store->entries[id].refs == 0;
}

static void remove_entry(struct settings *store, uint32_t id)
{
    struct settings_entry *entry = &store->entries[id];
    bool was_in = map_remove(&store->map, entry->hash, id);
    hf_assert(was_in);
    store->bytes_live -= block_size(content_of(store, id).size);
    put_word(store, entry->at, 0);
    entry->at = store->entry_free;
    store->entry_free = id;
}

static void drop_name(struct settings *store, uint32_t name)
{
    if (is_last_drop(store, name))
        remove_entry(store, name);
}

static void drop_pair(struct settings *store, uint32_t pair)
{
    if (!is_last_drop(store, pair))
        return;
    drop_name(store, name_of(store, pair));
    remove_entry(store, pair);
}

void settings_keep(struct settings *store, uint32_t set)
{
    if (set != 0)
        keep_entry(store, set);
}

void settings_drop(struct settings *store, uint32_t set)
{
    if (set == 0 || !is_last_drop(store, set))
        return;
    hf_assert(kind_of(store, set) == KIND_SET);
    for (uint32_t i = 0; i < count_of(store, set); i++)
        drop_pair(store, pair_of(store, set, i));
    remove_entry(store, set);
    store->sets--;
}

/* ---- Finding by content ---- */

/* The kinds have hashes of their own, so that one map serves them all. */
static uint64_t hash_of(const struct settings *store, enum kind kind, uint32_t number,
                        struct sv text)
{
    return rng_mix(hash_bytes(&store->key, text) + ((uint64_t)number << 2 | (uint64_t)kind));
}

static uint64_t hash_name(const struct settings *store, struct sv name)
{
    char lower[SETTINGS_NAME_MAX];
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        lower[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    return hash_of(store, KIND_NAME, 0, sv_from(lower, name.size));
}

/* 0 if there is no such entry, here and below. */
static uint32_t find_name(const struct settings *store, uint64_t hash, struct sv name)
{
    for (struct map_find f = map_find(&store->map, hash); map_find_next(&store->map, &f);)
        if (kind_of(store, f.index) == KIND_NAME && sv_eq_nocase(content_of(store, f.index), name))
            return f.index;
    return 0;
}

static uint32_t find_pair(const struct settings *store, uint64_t hash, uint32_t name,
                          struct sv value)
{
    for (struct map_find f = map_find(&store->map, hash); map_find_next(&store->map, &f);)
        if (kind_of(store, f.index) == KIND_PAIR && name_of(store, f.index) == name &&
            sv_eq(value_of(store, f.index), value))
            return f.index;
    return 0;
}

static uint32_t find_set(const struct settings *store, uint64_t hash, struct sv pairs)
{
    for (struct map_find f = map_find(&store->map, hash); map_find_next(&store->map, &f);)
        if (kind_of(store, f.index) == KIND_SET && sv_eq(content_of(store, f.index), pairs))
            return f.index;
    return 0;
}

/* The pair, with a reference for the caller; it is made if it is not there. There is room. */
static uint32_t take_pair(struct settings *store, struct sv name, struct sv value)
{
    uint64_t hash = hash_name(store, name);
    uint32_t name_id = find_name(store, hash, name);
    if (name_id == 0)
        name_id = add_entry(store, KIND_NAME, hash, name, SV(""));
    else
        keep_entry(store, name_id);
    hash = hash_of(store, KIND_PAIR, name_id, value);
    uint32_t pair = find_pair(store, hash, name_id, value);
    if (pair == 0) {
        struct sv head = sv_from((const char *)&name_id, sizeof name_id);
        return add_entry(store, KIND_PAIR, hash, head, value); /* which has the name's reference */
    }
    keep_entry(store, pair);
    drop_name(store, name_id);
    return pair;
}

/* ---- Edits ---- */

struct settings_edit settings_edit_begin(struct settings *store, uint32_t set)
{
    struct settings_edit edit = {.store = store, .count = count_of(store, set)};
    for (uint32_t i = 0; i < edit.count; i++) {
        edit.pairs[i] = pair_of(store, set, i);
        keep_entry(store, edit.pairs[i]);
    }
    return edit;
}

/* Where the pair of this name stands in the edit, or would stand. */
static uint32_t place_of(const struct settings_edit *edit, uint32_t name)
{
    uint32_t i = 0;
    while (i < edit->count && name_of(edit->store, edit->pairs[i]) < name)
        i++;
    return i;
}

static bool is_at(const struct settings_edit *edit, uint32_t place, uint32_t name)
{
    return place < edit->count && name_of(edit->store, edit->pairs[place]) == name;
}

static bool has_zero(struct sv text)
{
    return sv_find(text, '\0') < text.size;
}

void settings_edit_put(struct settings_edit *edit, struct sv name, struct sv value)
{
    struct settings *store = edit->store;
    struct sv views[2] = {name, value};
    if (edit->failure != HF_OK)
        return;
    if (name.size == 0 || has_zero(name) || has_zero(value)) {
        edit->failure = HF_RC_INVALID;
        return;
    }
    if (name.size > SETTINGS_NAME_MAX || value.size > SETTINGS_VALUE_MAX ||
        !make_room(store, 2, block_size(name.size) + block_size(4 + value.size), views, 2)) {
        edit->failure = HF_RC_LIMIT;
        return;
    }
    uint32_t pair = take_pair(store, views[0], views[1]);
    uint32_t place = place_of(edit, name_of(store, pair));
    if (is_at(edit, place, name_of(store, pair))) {
        drop_pair(store, edit->pairs[place]);
        edit->pairs[place] = pair;
        return;
    }
    if (edit->count == SETTINGS_COUNT_MAX) {
        drop_pair(store, pair);
        edit->failure = HF_RC_LIMIT;
        return;
    }
    memmove(&edit->pairs[place + 1], &edit->pairs[place],
            (edit->count - place) * sizeof edit->pairs[0]);
    edit->pairs[place] = pair;
    edit->count++;
}

void settings_edit_remove(struct settings_edit *edit, struct sv name)
{
    struct settings *store = edit->store;
    if (edit->failure != HF_OK || name.size > SETTINGS_NAME_MAX)
        return;
    uint32_t name_id = find_name(store, hash_name(store, name), name);
    uint32_t place = place_of(edit, name_id);
    if (name_id == 0 || !is_at(edit, place, name_id))
        return;
    drop_pair(store, edit->pairs[place]);
    edit->count--;
    memmove(&edit->pairs[place], &edit->pairs[place + 1],
            (edit->count - place) * sizeof edit->pairs[0]);
}

static void drop_pairs(struct settings_edit *edit)
{
    for (uint32_t i = 0; i < edit->count; i++)
        drop_pair(edit->store, edit->pairs[i]);
    edit->count = 0;
}

enum hf_rc settings_edit_end(struct settings_edit *edit, uint32_t *out)
{
    struct settings *store = edit->store;
    struct sv pairs = sv_from((const char *)edit->pairs, edit->count * sizeof edit->pairs[0]);
    *out = 0;
    if (edit->failure == HF_OK && edit->count > 0) {
        uint64_t hash = hash_of(store, KIND_SET, 0, pairs);
        *out = find_set(store, hash, pairs);
        if (*out != 0) {
            keep_entry(store, *out);
        } else if (make_room(store, 1, block_size(pairs.size), NULL, 0)) {
            *out = add_entry(store, KIND_SET, hash, pairs, SV(""));
            store->sets++;
            edit->count = 0; /* the pairs' references are the set's now */
        } else {
            edit->failure = HF_RC_LIMIT;
        }
    }
    drop_pairs(edit);
    return edit->failure;
}

enum hf_rc settings_with(struct settings *store, uint32_t set, struct sv name, struct sv value,
                         uint32_t *out)
{
    struct settings_edit edit = settings_edit_begin(store, set);
    settings_edit_put(&edit, name, value);
    return settings_edit_end(&edit, out);
}

enum hf_rc settings_without(struct settings *store, uint32_t set, struct sv name, uint32_t *out)
{
    struct settings_edit edit = settings_edit_begin(store, set);
    settings_edit_remove(&edit, name);
    return settings_edit_end(&edit, out);
}

enum hf_rc settings_told(struct settings *store, uint32_t set, struct sv name, struct sv value,
                         uint32_t *out)
{
    enum hf_rc rc = settings_with(store, set, name, value, out);
    if (rc != HF_OK)
        return rc;
    /* Spellings differ by the case of letters only, so the new one takes the old one's place. */
    uint32_t name_id = find_name(store, hash_name(store, name), name);
    memcpy(store->bytes + store->entries[name_id].at + HEAD_SIZE, name.data, name.size);
    return HF_OK;
}

/* ---- Looking ---- */

struct sv settings_find(const struct settings *store, uint32_t set, struct sv name)
{
    uint32_t count = count_of(store, set);
    if (count == 0 || name.size > SETTINGS_NAME_MAX)
        return sv_from(NULL, 0);
    uint32_t name_id = find_name(store, hash_name(store, name), name);
    for (uint32_t i = 0; name_id != 0 && i < count; i++) {
        uint32_t pair = pair_of(store, set, i);
        if (name_of(store, pair) == name_id)
            return value_of(store, pair);
    }
    return sv_from(NULL, 0);
}

bool settings_each(const struct settings *store, uint32_t set, uint32_t *cursor, struct sv *name,
                   struct sv *value)
{
    if (*cursor >= count_of(store, set))
        return false;
    uint32_t pair = pair_of(store, set, *cursor);
    *name = content_of(store, name_of(store, pair));
    *value = value_of(store, pair);
    ++*cursor;
    return true;
}

/* The name and value at a place of a set; past its end a name behind all others. */
static uint32_t place_in(const struct settings *store, uint32_t set, uint32_t index,
                         struct sv *value, uint32_t *pair)
{
    if (index >= count_of(store, set)) {
        *pair = 0;
        return UINT32_MAX;
    }
    *pair = pair_of(store, set, index);
    *value = value_of(store, *pair);
    return name_of(store, *pair);
}

/* Both sets have their pairs in the order of the names' numbers, so they are walked side by side.
 */
bool settings_change_next(const struct settings *store, uint32_t have, uint32_t want,
                          struct settings_walk *walk, struct settings_change *change)
{
    for (;;) {
        struct sv had = {0}, wanted = {0};
        uint32_t had_pair, wanted_pair;
        uint32_t had_name = place_in(store, have, walk->have, &had, &had_pair);
        uint32_t wanted_name = place_in(store, want, walk->want, &wanted, &wanted_pair);
        if (had_name == UINT32_MAX && wanted_name == UINT32_MAX)
            return false;
        bool has_it = had_name <= wanted_name, wants_it = wanted_name <= had_name;
        walk->have += has_it;
        walk->want += wants_it;
        if (had_pair == wanted_pair)
            continue;
        change->name = content_of(store, has_it ? had_name : wanted_name);
        change->had = has_it ? had : sv_from(NULL, 0);
        change->want = wants_it ? wanted : sv_from(NULL, 0);
        return true;
    }
}

/* ---- To other stores ---- */

enum hf_rc settings_copy(const struct settings *from, uint32_t set, struct settings *to,
                         uint32_t *out)
{
    struct settings_edit edit = settings_edit_begin(to, 0);
    struct sv name, value;
    for (uint32_t cursor = 0; settings_each(from, set, &cursor, &name, &value);)
        settings_edit_put(&edit, name, value);
    return settings_edit_end(&edit, out);
}

enum hf_rc settings_pack(const struct settings *store, uint32_t set, struct buffer *out)
{
    struct sv name, value;
    size_t size = 0;
    for (uint32_t cursor = 0; settings_each(store, set, &cursor, &name, &value);)
        size += name.size + value.size + 2;
    if (size > buffer_free(out))
        return HF_RC_LIMIT;
    for (uint32_t cursor = 0; settings_each(store, set, &cursor, &name, &value);) {
        const struct sv pieces[] = {name, sv_from("", 1), value, sv_from("", 1)};
        for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
            bool fits = buffer_append(out, pieces[i]);
            hf_assert(fits);
        }
    }
    return HF_OK;
}

enum hf_rc settings_unpack(struct settings *store, struct sv bytes, uint32_t *out)
{
    struct settings_edit edit = settings_edit_begin(store, 0);
    struct reader reader = reader_of(bytes);
    while (reader.left > 0) {
        struct sv name = reader_cstr(&reader);
        struct sv value = reader_cstr(&reader);
        if (reader.is_short)
            edit.failure = HF_RC_INVALID;
        else
            settings_edit_put(&edit, name, value);
    }
    return settings_edit_end(&edit, out);
}
