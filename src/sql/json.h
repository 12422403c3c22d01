/*
 * Reads JSON that is already in memory, in place: a cursor stands before a value and moves on.
 *
 * For the parse trees of libpg_query and nothing else: it believes that the text is JSON, as far as
 * no mistake in it can lead outside of the text or into an endless loop. Nothing recurses, so depth
 * costs nothing.
 *
 *     struct json_at fields = json_enter(value);             value is an object
 *     while (json_next_field(&fields, &key, &value)) ...
 *     struct json_at items = json_enter(value);              value is an array
 *     while (json_next_item(&items, &value)) ...
 *
 * Looking for a field by its name goes through the object's text; objects are small, and what is
 * looked for stands near the top. json_walk goes through a whole subtree in one pass.
 */
#ifndef HF_SQL_JSON_H
#define HF_SQL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sv.h"

/* A place in the text: before a value, or inside an object or array, before what comes next. */
struct json_at {
    const char *at;  /* NULL: nothing is there */
    const char *end; /* of the whole text */
};

static inline bool json_is_there(struct json_at value)
{
    return value.at != NULL;
}

/* The whole text as a value. */
struct json_at json_text(struct sv text);

/* Into an object or array; nothing if the value is neither. */
struct json_at json_enter(struct json_at value);

/* One after the other; false at the end. A key is what stands between its quotes. */
bool json_next_field(struct json_at *fields, struct sv *key, struct json_at *value);
bool json_next_item(struct json_at *items, struct json_at *value);

/* The field of an object by its name; nothing if it has none. */
struct json_at json_field(struct json_at object, const char *key);

/* How many items an array has. */
size_t json_count(struct json_at array);

/* A string as it stands between its quotes, with its escapes; empty if the value is none. */
struct sv json_raw_string(struct json_at value);

/* The same without escapes (\uXXXX above 0x7f becomes UTF-8), cut to `size`; empty if the value is
 * no string. Returns what was written to `out`. */
struct sv json_string(struct json_at value, char *out, size_t size);

/* false if it is not there, or no number. */
int64_t json_number(struct json_at value);
bool json_is_true(struct json_at value);

/* Every field of every object within a value, from the first byte to the last: the key and the
 * place of its value. `depth` counts the objects and arrays around. */
struct json_walk {
    struct json_at at;
    size_t depth;
};

struct json_walk json_walk(struct json_at value);
bool json_walk_next(struct json_walk *walk, struct sv *key, struct json_at *value);

#endif
