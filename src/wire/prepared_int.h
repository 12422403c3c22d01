/*
 * What the two halves of prepared.h share: how to look at what is there and at what is changing.
 * prepared.c decides about messages of the client, prepared_settle.c takes what became of them.
 */
#ifndef HF_WIRE_PREPARED_INT_H
#define HF_WIRE_PREPARED_INT_H

#include "wire/prepared.h"

/* The two halves of a change. */
#define PREPARED_NAME_BITS   (PREPARED_DEFINES | PREPARED_UNDEFINES)
#define PREPARED_SERVER_BITS (PREPARED_ADDS | PREPARED_EVICTS)

static inline uint32_t prepared_id_of_name(const struct prepared *prepared, uint16_t name)
{
    return name != PREPARED_NO_NAME ? prepared->client->names[name].id : STATEMENTS_NONE;
}

static inline bool prepared_changes_name(const struct prepared_change *change, uint16_t name)
{
    return (change->bits & PREPARED_NAME_BITS) != 0 && change->name == name &&
           name != PREPARED_NO_NAME;
}

static inline bool prepared_changes_id(const struct prepared_change *change, uint32_t id)
{
    return (change->bits & PREPARED_SERVER_BITS) != 0 && change->id == id && id != STATEMENTS_NONE;
}

/* It has a change that is not confirmed. */
static inline bool prepared_is_changing(struct prepared_server *server, uint32_t id)
{
    for (uint32_t place = 0; place < server->changes_used; place++)
        if (prepared_changes_id(prepared_server_change(server, place), id))
            return true;
    return false;
}

#endif
