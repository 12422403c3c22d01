#include "proxy/slow.h"

#include <string.h>

#include "base/ns.h"

static struct slow_place *place_of(struct slow *slow, const struct peer *peer)
{
    struct peer source = peer_source(peer);
    return &slow->places[peer_hash(&slow->key, &source) % SLOW_PLACES];
}

void slow_init(struct slow *slow, struct hash_key key)
{
    memset(slow, 0, sizeof *slow);
    slow->key = key;
}

int64_t slow_failed(struct slow *slow, const struct peer *peer, int64_t now_ns)
{
    struct slow_place *place = place_of(slow, peer);
    if (ns_add(place->at_ns, SLOW_FORGET_NS) <= now_ns)
        place->wait_ns = 0;
    place->at_ns = now_ns;
    place->wait_ns = ns_min(ns_max(2 * place->wait_ns, SLOW_FIRST_NS), SLOW_MOST_NS);
    return place->wait_ns;
}

void slow_succeeded(struct slow *slow, const struct peer *peer)
{
    place_of(slow, peer)->wait_ns = 0;
}
