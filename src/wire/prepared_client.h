/*
 * The names that one client has given to prepared statements, and the statements' ids.
 *
 * A client that has prepared nothing has no map at all: a NULL pointer, which every call that looks
 * takes for an empty one. A map lies in one block of the caller's, as tightly as names of any
 * length can: 12 bytes for each name, and the name. When it is full the caller gives a larger
 * block, to which everything moves:
 *
 *     struct prepared_room room = prepared_client_want(client, name);
 *     struct prepared_client *larger = alloc(prepared_client_size(room));
 *     prepared_client_init(larger, room, client);
 *     free(client);
 *
 * Like PostgreSQL, it tells names apart by their first 63 bytes, and remembers all of them.
 *
 * A name may be there without a statement: the client has closed it, and it is not certain yet that
 * the server read so far. Such a name is undefined for all that come behind.
 *
 * Indexes stay what they are while their names are there, also when the map moves.
 *
 * One owner, no locking, no allocation. It does not touch the store: who puts an id in or takes one
 * out holds and releases it (prepared.c).
 */
#ifndef HF_WIRE_PREPARED_CLIENT_H
#define HF_WIRE_PREPARED_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/sv.h"

#define PREPARED_NAMES_MAX 65534 /* for one client */
#define PREPARED_NO_NAME   UINT16_MAX

/* Private. */
struct prepared_name {
    uint32_t id; /* STATEMENTS_NONE: undefined */
    uint32_t at; /* where the name stands; of a free entry: the next one */
};

struct prepared_client {
    uint32_t bytes_capacity; /* for names, each with a byte for its length in front */
    uint32_t bytes_used;
    uint32_t bytes_dead;
    uint16_t capacity;
    uint16_t count; /* names that are there */
    uint16_t ever;  /* indexes that were ever used */
    uint16_t free;  /* the first that is free again */
    struct prepared_name names[];
    /* and then, for each name, the head of a chain and the next in a chain; and the bytes */
};

/* How large a map is. */
struct prepared_room {
    uint16_t names;
    uint32_t bytes;
};

/* One more name of this length fits. */
bool prepared_client_fits(const struct prepared_client *client, struct sv name);

/* What the map should have so that it does: some more than is needed now. */
struct prepared_room prepared_client_want(const struct prepared_client *client, struct sv name);

size_t prepared_client_size(struct prepared_room room);

/* A map in memory of that size, aligned for a uint32_t. What `from` holds (NULL: nothing) is in it
 * afterwards, and must fit. */
void prepared_client_init(struct prepared_client *client, struct prepared_room room,
                          const struct hash_key *key, const struct prepared_client *from);

/* The index of a name, or PREPARED_NO_NAME. It may be undefined. */
uint16_t prepared_client_find(const struct prepared_client *client, const struct hash_key *key,
                              struct sv name);

/* A name that is not there, and fits. */
uint16_t prepared_client_add(struct prepared_client *client, const struct hash_key *key,
                             struct sv name, uint32_t id);

void prepared_client_remove(struct prepared_client *client, const struct hash_key *key,
                            uint16_t index);

/* From one to the next: starts with PREPARED_NO_NAME, and ends with it. The one that was given last
 * may be removed. */
uint16_t prepared_client_next(const struct prepared_client *client, uint16_t index);

/* Borrowed until the map changes. */
struct sv prepared_client_name(const struct prepared_client *client, uint16_t index);

#endif
