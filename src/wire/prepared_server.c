#include "wire/prepared_server.h"

#include <string.h>

#include "base/bug.h"
#include "wire/prepared_client.h"
#include "wire/statements.h"

/* What was closed to make room may come back before what took its place has gone: each change can
 * bring back one. */
static uint16_t slots_for(uint16_t statements_max)
{
    hf_assert(statements_max > 0 && statements_max <= PREPARED_STATEMENTS_MAX);
    return (uint16_t)(statements_max + PREPARED_CHANGES_MAX);
}

size_t prepared_server_size(uint16_t statements_max)
{
    return sizeof(struct prepared_server) +
           slots_for(statements_max) * (sizeof(struct prepared_slot) + sizeof(uint16_t));
}

static uint16_t *heads_of(struct prepared_server *server)
{
    return (uint16_t *)(server->slot + server->slots);
}

void prepared_server_init(struct prepared_server *server, uint16_t statements_max)
{
    *server = (struct prepared_server){.statements_max = statements_max,
                                       .slots = slots_for(statements_max),
                                       .newest = PREPARED_NO_SLOT,
                                       .oldest = PREPARED_NO_SLOT};
    memset(heads_of(server), 0xff, server->slots * sizeof(uint16_t));
    for (uint16_t i = 0; i < server->slots; i++)
        server->slot[i].next = i + 1 < server->slots ? (uint16_t)(i + 1) : PREPARED_NO_SLOT;
}

/* ---- Statements ---- */

/* Ids are small and given one after the other, so they spread by themselves. */
static uint16_t *head_of(struct prepared_server *server, uint32_t id)
{
    return &heads_of(server)[id % server->slots];
}

uint16_t prepared_server_find(const struct prepared_server *server, uint32_t id)
{
    const uint16_t *heads = (const uint16_t *)(server->slot + server->slots);
    uint16_t slot = heads[id % server->slots];
    while (slot != PREPARED_NO_SLOT && server->slot[slot].id != id)
        slot = server->slot[slot].next;
    return slot;
}

static void push_newest(struct prepared_server *server, uint16_t slot)
{
    server->slot[slot].newer = PREPARED_NO_SLOT;
    server->slot[slot].older = server->newest;
    if (server->newest != PREPARED_NO_SLOT)
        server->slot[server->newest].newer = slot;
    else
        server->oldest = slot;
    server->newest = slot;
}

static void take_out(struct prepared_server *server, uint16_t slot)
{
    uint16_t newer = server->slot[slot].newer, older = server->slot[slot].older;
    if (newer != PREPARED_NO_SLOT)
        server->slot[newer].older = older;
    else
        server->newest = older;
    if (older != PREPARED_NO_SLOT)
        server->slot[older].newer = newer;
    else
        server->oldest = newer;
}

void prepared_server_touch(struct prepared_server *server, uint16_t slot)
{
    if (server->newest == slot)
        return;
    take_out(server, slot);
    push_newest(server, slot);
}

uint16_t prepared_server_add(struct prepared_server *server, uint32_t id)
{
    uint16_t slot = server->free;
    hf_assert(slot != PREPARED_NO_SLOT);
    server->free = server->slot[slot].next;
    uint16_t *head = head_of(server, id);
    server->slot[slot] = (struct prepared_slot){.id = id, .next = *head};
    *head = slot;
    push_newest(server, slot);
    server->count++;
    return slot;
}

void prepared_server_remove(struct prepared_server *server, uint16_t slot)
{
    uint16_t *link = head_of(server, server->slot[slot].id);
    while (*link != slot)
        link = &server->slot[*link].next;
    *link = server->slot[slot].next;
    take_out(server, slot);
    server->slot[slot].next = server->free;
    server->free = slot;
    server->count--;
}

/* ---- Changes ---- */

struct prepared_change *prepared_server_change(struct prepared_server *server, uint32_t place)
{
    hf_assert(place < server->changes_used);
    return &server->changes[(server->changes_first + place) % PREPARED_CHANGES_MAX];
}

struct prepared_change *prepared_server_push(struct prepared_server *server, uint16_t bits)
{
    hf_assert(server->changes_used < PREPARED_CHANGES_MAX);
    /* Never 0, and never with the highest bit, which tells other tags. */
    server->last_tag = server->last_tag < INT32_MAX ? server->last_tag + 1 : 1;
    server->changes_used++;
    struct prepared_change *change = prepared_server_change(server, server->changes_used - 1U);
    *change = (struct prepared_change){.tag = server->last_tag,
                                       .segment = server->segment,
                                       .id = STATEMENTS_NONE,
                                       .before = STATEMENTS_NONE,
                                       .name = PREPARED_NO_NAME,
                                       .bits = bits};
    return change;
}

void prepared_server_pop(struct prepared_server *server)
{
    hf_assert(server->changes_used > 0);
    server->changes_first = (uint16_t)((server->changes_first + 1) % PREPARED_CHANGES_MAX);
    server->changes_used--;
}
