/*
 * Which databases the console has closed: paused ones, whose clients wait for RESUME, and disabled
 * ones, which let nobody in.
 *
 * A gate belongs to a name, as clients call the database, and outlives reloads: what an operator
 * has closed stays closed until he opens it. All databases together have one more gate, for PAUSE
 * and SUSPEND without a name.
 *
 * Read at logins and where a pool is made; never on the path of a query, where a paused pool is one
 * whose limit is 0 (pool_gate.h). Not locked: proxy->lock is held.
 */
#ifndef HF_PROXY_GATE_H
#define HF_PROXY_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sv.h"
#include "proxy/proxy_config.h"

#define GATES_MAX 256 /* databases that are closed at a time */

enum gate_bit {
    GATE_PAUSED = 1,
    GATE_DISABLED = 2,
};

/* Of all databases together. */
enum gate_all {
    GATE_ALL_OPEN,
    GATE_ALL_PAUSED,
    GATE_ALL_SUSPENDED,
};

struct gates {
    enum gate_all all;
    uint32_t count; /* of entries; each has a bit set */
    struct gate_entry {
        char name[PROXY_NAME_SIZE];
        uint32_t bits;
    } entries[GATES_MAX];
};

/* What was set for the name; 0: nothing. */
uint32_t gates_find(const struct gates *gates, struct sv name);

/* Clients of the database wait: it is paused, or all are. */
bool gates_is_paused(const struct gates *gates, struct sv name);

/* False: too many are closed already, or the name is too long. */
bool gates_set(struct gates *gates, struct sv name, enum gate_bit bit);
void gates_clear(struct gates *gates, struct sv name, enum gate_bit bit);

/* How many databases have the bit. */
uint32_t gates_count(const struct gates *gates, enum gate_bit bit);

#endif
