/*
 * The statements that one server connection has prepared, least recently used ones first to go, and
 * the changes that its server has not confirmed yet.
 *
 * A connection holds at most `statements_max` of them; for one more, the one that was used longest
 * ago is closed. What stands here is what will be when all that was sent is done: changes are made
 * when they are sent, kept in order in a ring until they are settled, and taken back if the server
 * skipped them. prepared.h says how; this file is the memory for it.
 *
 * Two kinds of change meet in one record, since one request can make both (a Parse that is
 * forwarded gives a name to the client, and the statement to the server):
 *
 *     of a name       its client defines or undefines it
 *     of a statement  the server gets it or loses it
 *
 * One owner, no locking, no allocation. 14 bytes for each statement and 20 for each change.
 */
#ifndef HF_WIRE_PREPARED_SERVER_H
#define HF_WIRE_PREPARED_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PREPARED_STATEMENTS_MAX 60000 /* on one connection */
#define PREPARED_CHANGES_MAX    32    /* unconfirmed, on one connection */
#define PREPARED_NO_SLOT        UINT16_MAX

/* What a change does, and how it stands: bits of a set. */
enum prepared_change_bits {
    PREPARED_DEFINES = 1,        /* the client's name gets a statement */
    PREPARED_UNDEFINES = 2,      /* loses it */
    PREPARED_ADDS = 4,           /* the server gets a statement */
    PREPARED_EVICTS = 8,         /* loses it */
    PREPARED_WAS_STALE = 16,     /* which was to be prepared anew */
    PREPARED_DUPLICATES = 32,    /* a Parse of a name that the client has: must fail */
    PREPARED_REFUSES_NAME = 64,  /* a Parse of one name too many: must fail */
    PREPARED_REFUSES_TEXT = 128, /* a Parse for which the store has no room: must fail */
    PREPARED_IS_LOCAL = 256,     /* answered here: no reply comes if the client goes */
};

struct prepared_change {
    uint32_t tag;     /* of the request that makes it */
    uint32_t segment; /* of the pipeline: how many Syncs were sent before */
    uint32_t id;      /* that the name or the server gets, or the server loses */
    uint32_t before;  /* what the name had before, still held; STATEMENTS_NONE */
    uint16_t name;    /* of the client; PREPARED_NO_NAME */
    uint16_t bits;    /* enum prepared_change_bits */
};

/* Private. */
struct prepared_slot {
    uint32_t id;
    uint16_t newer; /* in the order of use; the ends are PREPARED_NO_SLOT */
    uint16_t older;
    uint16_t next; /* in a chain, or of the free ones */
    bool is_stale;
    bool is_noted; /* of its text: statements_note() */
};

struct prepared_server {
    uint16_t statements_max;
    uint16_t slots;  /* there are: more than statements_max, for what is taken back */
    uint16_t count;  /* statements */
    uint16_t free;   /* the first free slot */
    uint16_t newest; /* used last */
    uint16_t oldest;
    uint16_t changes_first; /* in the ring */
    uint16_t changes_used;
    uint32_t segment;  /* how many Syncs and Queries were sent, modulo 2^32 */
    uint32_t behind;   /* of them, how many are not answered */
    uint32_t last_tag; /* of changes */
    struct prepared_change changes[PREPARED_CHANGES_MAX];
    struct prepared_slot slot[];
    /* and then, for each slot, the head of a chain */
};

/* `statements_max`: 1 .. PREPARED_STATEMENTS_MAX. */
size_t prepared_server_size(uint16_t statements_max);

/* Of a connection that has just logged in. Memory of that size, aligned for a uint32_t. */
void prepared_server_init(struct prepared_server *server, uint16_t statements_max);

/* Where a statement is, or PREPARED_NO_SLOT. */
uint16_t prepared_server_find(const struct prepared_server *server, uint32_t id);

/* Used now: the last to go. */
void prepared_server_touch(struct prepared_server *server, uint16_t slot);

/* One that is not there, as used now. There must be a free slot: there are statements_max and
 * PREPARED_CHANGES_MAX in all. */
uint16_t prepared_server_add(struct prepared_server *server, uint32_t id);

void prepared_server_remove(struct prepared_server *server, uint16_t slot);

/* How many more changes fit. */
static inline uint32_t prepared_server_room(const struct prepared_server *server)
{
    return PREPARED_CHANGES_MAX - (uint32_t)server->changes_used;
}

/* The change at a place, 0 being the oldest. */
struct prepared_change *prepared_server_change(struct prepared_server *server, uint32_t place);

/* A new one behind the others, of the segment of now, and with a tag of its own. There is room. */
struct prepared_change *prepared_server_push(struct prepared_server *server, uint16_t bits);

/* The oldest one is done with. */
void prepared_server_pop(struct prepared_server *server);

#endif
