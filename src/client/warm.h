/*
 * Keeps the smallest number of connections to one server open: makes those that are missing, one
 * after the other, without waiting. Of the reaper's thread.
 *
 *     warm_keep(warm, loop, endpoint, how many are missing, generation)     now and then
 *       '--> connects; when it is there it goes to the pool, and the next is begun
 *
 * A connection that cannot be made is tried again when warm_keep() is called next. Its role is
 * proved by whoever takes it first.
 */
#ifndef HF_CLIENT_WARM_H
#define HF_CLIENT_WARM_H

#include "client/call_loop.h"
#include "client/client_pool.h"

struct warm {
    struct loop_extra extra;
    struct pconn *conn; /* being connected; NULL: none */
    uint32_t endpoint;
    uint32_t wanted; /* besides it */
    uint64_t role_generation;
};

void warm_keep(struct warm *warm, struct loop *loop, uint32_t endpoint, uint32_t wanted,
               uint64_t role_generation);
void warm_end(struct warm *warm, struct loop *loop);

#endif
