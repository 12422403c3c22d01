#include "wire/prepared_client.h"

#include <string.h>

#include "base/bug.h"
#include "wire/message.h"
#include "wire/statements.h"

/* NAMEDATALEN - 1: how much of a name PostgreSQL's hash table compares. */
#define NAME_COMPARED 63

/* The id of an index that is free. */
#define FREE (STATEMENTS_NONE - 1)

/* ---- Where things lie ---- */

static uint16_t *heads_of(struct prepared_client *client)
{
    return (uint16_t *)(client->names + client->capacity);
}

static uint16_t *nexts_of(struct prepared_client *client)
{
    return heads_of(client) + client->capacity;
}

static const uint16_t *heads_in(const struct prepared_client *client)
{
    return (const uint16_t *)(client->names + client->capacity);
}

static const uint16_t *nexts_in(const struct prepared_client *client)
{
    return heads_in(client) + client->capacity;
}

static char *bytes_of(struct prepared_client *client)
{
    return (char *)(nexts_of(client) + client->capacity);
}

static const char *bytes_in(const struct prepared_client *client)
{
    return (const char *)(nexts_in(client) + client->capacity);
}

size_t prepared_client_size(struct prepared_room room)
{
    return sizeof(struct prepared_client) +
           room.names * (sizeof(struct prepared_name) + 2 * sizeof(uint16_t)) + room.bytes;
}

struct sv prepared_client_name(const struct prepared_client *client, uint16_t index)
{
    const char *at = bytes_in(client) + client->names[index].at;
    return sv_from(at + 1, (unsigned char)at[0]);
}

/* ---- Room ---- */

bool prepared_client_fits(const struct prepared_client *client, struct sv name)
{
    return client != NULL && client->count < client->capacity &&
           name.size + 1 <= client->bytes_capacity - client->bytes_used;
}

struct prepared_room prepared_client_want(const struct prepared_client *client, struct sv name)
{
    static const struct prepared_client empty;
    if (client == NULL)
        client = &empty;
    /* An eighth more than there is: moving is rare, and little lies idle. */
    uint32_t names = client->count + client->count / 8U + 2;
    uint32_t bytes = client->bytes_used - client->bytes_dead + (uint32_t)name.size + 1;
    if (names > PREPARED_NAMES_MAX)
        names = PREPARED_NAMES_MAX;
    /* More names like those that are there. */
    bytes += (names - client->count - 1) * (bytes / (client->count + 1U));
    /* Free indexes are kept, as those behind them must stay what they are. */
    if (names < client->ever)
        names = client->ever;
    return (struct prepared_room){(uint16_t)names, bytes};
}

/* ---- Chains ---- */

static uint16_t *head_of(struct prepared_client *client, const struct hash_key *key, struct sv name)
{
    uint64_t hash = hash_bytes(key, sv_take(name, NAME_COMPARED));
    return &heads_of(client)[(hash >> 32) * client->capacity >> 32];
}

static void link_name(struct prepared_client *client, const struct hash_key *key, uint16_t index)
{
    uint16_t *head = head_of(client, key, prepared_client_name(client, index));
    nexts_of(client)[index] = *head;
    *head = index;
}

static void unlink_name(struct prepared_client *client, const struct hash_key *key, uint16_t index)
{
    uint16_t *link = head_of(client, key, prepared_client_name(client, index));
    while (*link != index)
        link = &nexts_of(client)[*link];
    *link = nexts_of(client)[index];
}

/* ---- Names ---- */

/* Writes a name into the free bytes. */
static void put_name(struct prepared_client *client, uint16_t index, struct sv name)
{
    char *at = bytes_of(client) + client->bytes_used;
    at[0] = (char)(unsigned char)name.size;
    memcpy(at + 1, name.data, name.size);
    client->names[index].at = client->bytes_used;
    client->bytes_used += (uint32_t)name.size + 1;
}

void prepared_client_init(struct prepared_client *client, struct prepared_room room,
                          const struct hash_key *key, const struct prepared_client *from)
{
    *client = (struct prepared_client){
        .bytes_capacity = room.bytes, .capacity = room.names, .free = PREPARED_NO_NAME};
    memset(heads_of(client), 0xff, room.names * sizeof(uint16_t));
    if (from == NULL)
        return;
    hf_assert(from->ever <= room.names);
    client->count = from->count;
    client->ever = from->ever;
    client->free = from->free;
    memcpy(client->names, from->names, from->ever * sizeof from->names[0]);
    for (uint16_t i = 0; i < from->ever; i++) {
        if (from->names[i].id == FREE)
            continue;
        put_name(client, i, prepared_client_name(from, i));
        link_name(client, key, i);
    }
}

uint16_t prepared_client_find(const struct prepared_client *client, const struct hash_key *key,
                              struct sv name)
{
    if (client == NULL)
        return PREPARED_NO_NAME;
    struct sv compared = sv_take(name, NAME_COMPARED);
    uint64_t hash = hash_bytes(key, compared);
    uint16_t index = heads_in(client)[(hash >> 32) * client->capacity >> 32];
    for (; index != PREPARED_NO_NAME; index = nexts_in(client)[index])
        if (sv_eq(sv_take(prepared_client_name(client, index), NAME_COMPARED), compared))
            break;
    return index;
}

uint16_t prepared_client_add(struct prepared_client *client, const struct hash_key *key,
                             struct sv name, uint32_t id)
{
    hf_assert(prepared_client_fits(client, name) && name.size <= MESSAGE_NAME_MAX);
    uint16_t index = client->free;
    if (index == PREPARED_NO_NAME)
        index = client->ever++;
    else
        client->free = (uint16_t)client->names[index].at;
    client->names[index].id = id;
    put_name(client, index, name);
    link_name(client, key, index);
    client->count++;
    return index;
}

void prepared_client_remove(struct prepared_client *client, const struct hash_key *key,
                            uint16_t index)
{
    unlink_name(client, key, index);
    client->bytes_dead += (uint32_t)prepared_client_name(client, index).size + 1;
    client->names[index] = (struct prepared_name){FREE, client->free};
    client->free = index;
    client->count--;
    if (client->count == 0)
        client->bytes_used = client->bytes_dead = 0;
}

uint16_t prepared_client_next(const struct prepared_client *client, uint16_t index)
{
    uint16_t next = index == PREPARED_NO_NAME ? 0 : (uint16_t)(index + 1);
    while (next < client->ever && client->names[next].id == FREE)
        next++;
    return next < client->ever ? next : PREPARED_NO_NAME;
}
