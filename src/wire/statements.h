/*
 * The texts of prepared statements: one copy of each, however many clients and servers have it.
 *
 * A statement is what makes two Parse messages mean the same: the text and the OIDs of the
 * parameters' types. Each has an id and is kept as long as somebody holds it: a client's name for
 * it, or a server connection that has it prepared. So the texts of clients that come, prepare and
 * go are still there, and still prepared, when the next one comes. An id is given to another
 * statement once nobody holds it; then no server has it either, so a name made of the id
 * (prepared.h) never means two things on one connection.
 *
 * Found by a keyed hash, compared in full: two statements with one hash are two statements.
 *
 * Memory. Nothing here allocates; the store says what it wants, the caller gives it, and asks
 * again:
 *
 *     while ((rc = statements_add(store, text, types, &id)) == STATEMENTS_WANT) {
 *         struct statements_want want = statements_want(store);
 *         free(statements_give(store, alloc(want.size), want));
 *     }
 *
 * There are two kinds. An *index*: 12 bytes for each statement, replaced by a larger one when it is
 * full. And *chunks*, in which statements stand one behind the other with 18 bytes of their own,
 * or alone if they are large. Statements that nobody holds leave holes; when room is wanted and a
 * chunk has holes in a quarter of it, what it holds moves together instead. A chunk without
 * statements is offered back (statements_spare). So 5,000 statements cost 32 to 36 bytes each
 * beside their texts, and what is free in the last chunk.
 *
 * Because statements move, what statements_get() shows is valid until the next call that changes
 * the store. That is why clients and servers keep ids and not pointers, and why a Bind, which needs
 * nothing but the id, takes no lock.
 *
 * Invariants
 *  1. An id that is held stands for the same text and types until it is released as often as it
 *     was held.
 *  2. Two ids that are held never stand for the same text and types.
 *  3. bytes <= bytes_max, unless that was lowered: memory that was given and not taken back.
 *
 * One for the process. It has no lock: whoever calls holds the owner's mutex, from a get to the
 * last look at what it showed. Nothing on the path of a Bind to a server that has the statement
 * comes here.
 */
#ifndef HF_WIRE_STATEMENTS_H
#define HF_WIRE_STATEMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/sv.h"

#define STATEMENTS_NONE       UINT32_MAX /* no id */
#define STATEMENTS_MAX        (UINT32_C(1) << 30)
#define STATEMENTS_CHUNK_SIZE 32768

/* Private: a block that holds statements. */
struct statements_chunk {
    char *memory;
    uint32_t size;
    uint32_t used; /* from the front, holes included */
    uint32_t dead; /* of it, in holes */
};

struct statements {
    struct hash_key key;
    size_t bytes;
    size_t bytes_max;
    uint32_t count;    /* that are held */
    uint32_t capacity; /* of the index */
    uint32_t ids;      /* that were ever given: smaller ones are held or free */
    uint32_t free_id;  /* the first of the free ones, linked through places */
    uint32_t chunk_capacity;
    uint32_t chunk_count; /* slots of chunks that were ever used: some may be empty */
    uint32_t current;     /* the chunk that takes what comes; STATEMENTS_NONE */
    uint32_t wanted;      /* size of the chunk that an add lacked; 0: it lacked an index */
    uint32_t *places;     /* of ids: chunk and offset; these four lie in the index */
    uint32_t *heads;      /* of chains of equal hashes */
    uint32_t *nexts;
    struct statements_chunk *chunks;
    void *index; /* what was given */
};

/* An empty one. `key` is made of the system's randomness: texts come from outside. `bytes_max`:
 * of all memory that will be asked for. */
void statements_init(struct statements *store, struct hash_key key, size_t bytes_max);

enum statements_rc {
    STATEMENTS_OK,
    STATEMENTS_WANT, /* nothing changed: statements_want() says what is missing */
    STATEMENTS_FULL, /* nothing changed: bytes_max is reached */
};

/* What it takes for the last add that said STATEMENTS_WANT. */
struct statements_want {
    size_t size;
    bool is_index; /* else a chunk */
    uint32_t capacity;
    uint32_t chunk_capacity;
};

struct statements_want statements_want(const struct statements *store);

/* Memory of that size, aligned for any type, which is the store's until it comes back. Returns what
 * it replaces, to be freed, or NULL. */
void *statements_give(struct statements *store, void *memory, struct statements_want want);

/* A chunk that holds nothing any more, to be freed, or NULL. The one in use is kept. */
void *statements_spare(struct statements *store);

/* Another bytes_max. What is held stays, be it more than that; then nothing new finds room. */
void statements_set_max(struct statements *store, size_t bytes_max);

/* Takes leave of all memory: each call gives one block to be freed, NULL at the end. */
void *statements_deinit(struct statements *store);

/* The id of this statement, which is one more time held. `types`: four bytes each, at most 65535 of
 * them, as message_parse() gives them. The text holds no zero byte. */
enum statements_rc statements_add(struct statements *store, struct sv text, struct sv types,
                                  uint32_t *id);

void statements_hold(struct statements *store, uint32_t id);
void statements_release(struct statements *store, uint32_t id);

/* The text is one that whoever uses it wants to look at: remembered as long as it is held. */
void statements_note(struct statements *store, uint32_t id);

struct statement {
    struct sv text;
    struct sv types;
    bool is_noted;
};

/* Of an id that is held. Valid until the next change of the store. */
struct statement statements_get(const struct statements *store, uint32_t id);

#endif
