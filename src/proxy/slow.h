/*
 * Failed logins are answered slowly: each failure from one address doubles the wait for the next,
 * from 250 ms to 8 s; a minute without one forgets it, and so does a login that succeeds. Who
 * guesses passwords is slowed to a few a minute; a person who has mistyped one does not notice.
 *
 * A table of fixed size, in which an address is known by a hash: addresses that fall on one place
 * slow each other, never anybody whose login succeeds. Of IPv6 the first 64 bits count.
 *
 * Plain data; one worker's own.
 */
#ifndef HF_PROXY_SLOW_H
#define HF_PROXY_SLOW_H

#include <stdint.h>

#include "base/hash.h"
#include "net/address.h"

#define SLOW_PLACES    1024
#define SLOW_FIRST_NS  HF_MS(250)
#define SLOW_MOST_NS   HF_SEC(8)
#define SLOW_FORGET_NS HF_SEC(60)

struct slow {
    struct hash_key key;
    struct slow_place {
        int64_t at_ns; /* of the last failure */
        int64_t wait_ns;
    } places[SLOW_PLACES];
};

void slow_init(struct slow *slow, struct hash_key key);

/* A login has failed: how long its answer is to wait. */
int64_t slow_failed(struct slow *slow, const struct peer *peer, int64_t now_ns);

void slow_succeeded(struct slow *slow, const struct peer *peer);

#endif
