/*
 * Session settings that follow a client in transaction pooling: what it asked for in its
 * StartupMessage, and what the server has reported since, brought to whatever server connection the
 * client gets next, as a difference.
 *
 * A set of settings is immutable, and is kept once in its store however many clients have it: it is
 * named by a 32-bit handle, and two sets of one store are equal exactly if their handles are. So a
 * client or a server connection holds four bytes, a checkout compares two numbers, and 10,000
 * clients that say the same cost one set. What is different is small: a set holds references to
 * (name, value) pairs, which are kept once too.
 *
 *     store:   names   application_name  TimeZone
 *                           ^    ^           ^
 *              pairs   ...=psql ...=app7   ...=UTC         each: a name, a value
 *                           ^      ^         ^   ^
 *              sets    #7 {.}----- | --------'   |         each: pairs, one for a name
 *                      #9 {........'.............}
 *
 * Handles are counted: a call that gives one gives it to the caller, who ends it by
 * settings_drop(); settings_keep() makes one more. The empty set is 0 and needs neither.
 *
 * Names are those of PostgreSQL's settings: upper and lower case of ASCII letters are one. What is
 * shown is the spelling of the server, once settings_told() has heard it (TimeZone), else the first
 * one that came.
 *
 * Values are bytes without a zero byte. They mean what they would mean in a StartupMessage.
 *
 * Invariants
 *  1. No set has a name twice, and equal sets have equal handles: whatever the order, the way and
 *     the case of the names they were made with.
 *  2. What settings_diff() writes is one statement whose only effect is to set the names of the
 *     difference: no name or value, however hostile, ends a literal, under any standard_conforming_
 *     strings, backslash_quote or client_encoding of the session.
 *  3. The store never holds more than it was made for; a call that finds no room changes nothing.
 *
 * Memory is one block of texts, filled from the front, and closed up when it is full: so nothing is
 * lost to fragments, and views into the store are valid until the next call that adds to it. They
 * may be given to that call, though.
 * One owner, no locking: each worker has a store of its own.
 */
#ifndef HF_WIRE_SETTINGS_H
#define HF_WIRE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/sv.h"
#include "wire/startup.h"

#define SETTINGS_NAME_MAX  127   /* bytes of a name */
#define SETTINGS_VALUE_MAX 16384 /* bytes of a value */
#define SETTINGS_COUNT_MAX 128   /* settings in a set */

struct settings_config {
    uint32_t entries_max; /* sets, pairs and names, together */
    uint32_t bytes_max;   /* for their texts; at least SETTINGS_BYTES_MIN */
    struct hash_key key;  /* secret and random: names and values come from clients */
};

#define SETTINGS_BYTES_MIN   32768
#define SETTINGS_ENTRIES_MIN 256

struct settings_entry {
    uint64_t hash;
    uint32_t at;   /* where its block is; of a free entry: the next free one */
    uint32_t refs; /* 0: free */
};

/* The store. Numbers may be read, for SHOW. */
struct settings {
    struct hash_key key;
    struct map map;
    struct settings_entry *entries; /* [0] is never used: it is the empty set */
    char *bytes;
    uint32_t entries_max;
    uint32_t entries_used;
    uint32_t entry_free; /* the first free one; 0: none */
    uint32_t bytes_max;
    uint32_t bytes_end;  /* what was filled */
    uint32_t bytes_live; /* of it, what is not garbage */
    uint32_t sets;       /* how many different ones */
};

size_t settings_size(const struct settings_config *config);

/* `memory` has settings_size() bytes, is aligned for a uint64_t, and outlives the store. */
void settings_init(struct settings *store, void *memory, const struct settings_config *config);

/* One handle more to the same set, and one less. */
void settings_keep(struct settings *store, uint32_t set);
void settings_drop(struct settings *store, uint32_t set);

/* ---- Making sets ---- */

/*
 * Several changes at once. Sticky like a struct build: only the end says whether all went well.
 *
 *     struct settings_edit edit = settings_edit_begin(store, set);
 *     settings_edit_put(&edit, name, value);
 *     settings_edit_put(&edit, other, value);
 *     rc = settings_edit_end(&edit, &changed);
 *
 * HF_RC_LIMIT: no room in the store, or beyond a limit above. HF_RC_INVALID: an empty name, or a
 * zero byte. Then `*out` is 0 and nothing has changed. An edit that was begun must be ended.
 */
struct settings_edit {
    struct settings *store;
    enum hf_rc failure;
    uint32_t count;
    uint32_t pairs[SETTINGS_COUNT_MAX]; /* by their names' numbers, ascending */
};

struct settings_edit settings_edit_begin(struct settings *store, uint32_t set);
void settings_edit_put(struct settings_edit *edit, struct sv name, struct sv value);
void settings_edit_remove(struct settings_edit *edit, struct sv name);
enum hf_rc settings_edit_end(struct settings_edit *edit, uint32_t *out) HF_MUST_USE;

/* The set with one setting more or changed; without one. `set` stays the caller's. */
enum hf_rc settings_with(struct settings *store, uint32_t set, struct sv name, struct sv value,
                         uint32_t *out) HF_MUST_USE;
enum hf_rc settings_without(struct settings *store, uint32_t set, struct sv name,
                            uint32_t *out) HF_MUST_USE;

/* settings_with() for a ParameterStatus: the server has the last word on how a name is spelled. */
enum hf_rc settings_told(struct settings *store, uint32_t set, struct sv name, struct sv value,
                         uint32_t *out) HF_MUST_USE;

/* The same set in another store. Both are the caller's for the time of the call. */
enum hf_rc settings_copy(const struct settings *from, uint32_t set, struct settings *to,
                         uint32_t *out) HF_MUST_USE;

/* For a client that moves to another worker, whose store may not be touched from here: the set as
 * bytes (HF_RC_LIMIT, and nothing written, if they do not fit), and a set from such bytes. */
enum hf_rc settings_pack(const struct settings *store, uint32_t set,
                         struct buffer *out) HF_MUST_USE;
enum hf_rc settings_unpack(struct settings *store, struct sv bytes, uint32_t *out) HF_MUST_USE;

/* Could the setting be changed in a session at all? False for those that only report
 * (server_version and its like), and for those that PostgreSQL takes in a StartupMessage only. True
 * for names that are unknown here: the server will judge. */
bool settings_can_follow(struct sv name);

/* What a StartupMessage sets: the words of `options`, and over them the parameters, as PostgreSQL
 * has it. */
struct settings_startup {
    uint32_t set; /* to be dropped by the caller */

    /* Of `options` and parameters, what cannot follow a client: switches of the server that are no
     * settings, and settings of which settings_can_follow() says no. The first one, cut. */
    uint32_t fixed;
    char fixed_first[64];
};

/* HF_RC_INVALID with 42601 for a -c or -- without a NAME=VALUE, in PostgreSQL's words; HF_RC_LIMIT
 * with 53200 when there is no room. */
enum hf_rc settings_startup(struct settings *store, const struct startup_session *session,
                            struct settings_startup *out, struct hf_err *err) HF_MUST_USE;

/* ---- Looking into sets ---- */

/* NULL data if it is not there; a value that is empty has data. */
struct sv settings_find(const struct settings *store, uint32_t set, struct sv name);

/* Each setting, in an order that is the same for a set as long as it lives. `*cursor` starts at 0.
 */
bool settings_each(const struct settings *store, uint32_t set, uint32_t *cursor, struct sv *name,
                   struct sv *value);

/* ---- What comes of the difference of two sets ---- */

struct settings_change {
    struct sv name;
    struct sv had;  /* NULL data: it is in `want` only */
    struct sv want; /* NULL data: it is in `have` only */
};

/* Where a walk over the differences is; begins as {0}. */
struct settings_walk {
    uint32_t have;
    uint32_t want;
};

/* The next setting that is not the same in both. */
bool settings_change_next(const struct settings *store, uint32_t have, uint32_t want,
                          struct settings_walk *walk, struct settings_change *change);

/*
 * Writes the Query message that turns a session whose settings are `have` into one with `want`; or
 * nothing if they are equal. Settings that are in `have` only are reset to what the session began
 * with: so nothing that is in a set may stand in the StartupMessage of a pooled connection.
 *
 * It is for a session outside of a transaction. All of its answer is to be swallowed, up to
 * ReadyForQuery, but for the ParameterStatus in it. An error (22023: a bad value, 42704: an unknown
 * name) means that nothing was changed: the session still has `have`.
 *
 * HF_RC_LIMIT, and nothing written, if it does not fit.
 */
enum hf_rc settings_diff(const struct settings *store, uint32_t have, uint32_t want,
                         struct buffer *out) HF_MUST_USE;

/* Writes a ParameterStatus for each setting of `now` that is not the same in `was`: what a client
 * must be told that knew of `was`. All of them, or HF_RC_LIMIT and nothing. */
enum hf_rc settings_status(const struct settings *store, uint32_t was, uint32_t now,
                           struct buffer *out) HF_MUST_USE;

#endif
