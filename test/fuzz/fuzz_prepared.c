/*
 * Prepared statements over pooled connections, the bytes being the chance by which clients, servers
 * and mishaps act: the first one chooses the mishaps. What is checked stands in
 * test/unit/prepared_rig.h: each client gets what a server of its own would say, maps and servers
 * agree, nothing waits for ever, and nothing is held in the end.
 */
#include "base/rng.h"
#include "fuzz.h"

#define RIG_CHECK FUZZ_CHECK
#include "../unit/prepared_walk.h"

struct bytes_left {
    const uint8_t *data;
    size_t size;
    uint64_t drawn;
};

/* A byte as long as there are any, then numbers that follow from how many there were. */
static uint32_t draw(void *context, uint32_t n)
{
    struct bytes_left *left = context;
    if (left->size == 0)
        return (uint32_t)(rng_hash(7, left->drawn++) % n);
    left->size--;
    return *left->data++ % n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct walk walk;
    if (size == 0)
        return 0;
    struct bytes_left left = {data + 1, size - 1, size};
    struct walk_weather weather = {.timeouts = (data[0] & 1) != 0,
                                   .losses = (data[0] & 2) != 0,
                                   .departures = (data[0] & 4) != 0,
                                   .alters = (data[0] & 8) != 0};
    walk.chance = draw;
    walk.context = &left;
    walk_through(&walk, weather, 1);
    return 0;
}
