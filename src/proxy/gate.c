#include "proxy/gate.h"

static uint32_t index_of(const struct gates *gates, struct sv name)
{
    uint32_t i = 0;
    while (i < gates->count && !sv_eq(sv_from_cstr(gates->entries[i].name), name))
        i++;
    return i;
}

uint32_t gates_find(const struct gates *gates, struct sv name)
{
    uint32_t i = index_of(gates, name);
    return i < gates->count ? gates->entries[i].bits : 0;
}

bool gates_is_paused(const struct gates *gates, struct sv name)
{
    return gates->all == GATE_ALL_PAUSED || (gates_find(gates, name) & GATE_PAUSED) != 0;
}

bool gates_set(struct gates *gates, struct sv name, enum gate_bit bit)
{
    uint32_t i = index_of(gates, name);
    if (i == gates->count) {
        if (i == GATES_MAX || !sv_copy(name, gates->entries[i].name, PROXY_NAME_SIZE))
            return false;
        gates->entries[i].bits = 0;
        gates->count++;
    }
    gates->entries[i].bits |= (uint32_t)bit;
    return true;
}

void gates_clear(struct gates *gates, struct sv name, enum gate_bit bit)
{
    uint32_t i = index_of(gates, name);
    if (i == gates->count)
        return;
    gates->entries[i].bits &= ~(uint32_t)bit;
    if (gates->entries[i].bits == 0)
        gates->entries[i] = gates->entries[--gates->count];
}

uint32_t gates_count(const struct gates *gates, enum gate_bit bit)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < gates->count; i++)
        count += (gates->entries[i].bits & (uint32_t)bit) != 0;
    return count;
}
