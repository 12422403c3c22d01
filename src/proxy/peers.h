/*
 * Cancel requests that belong to another instance: behind a load balancer, or on a port that
 * several processes share, a request comes to anybody.
 *
 * Each instance has a number (proxy.instance_id), which is part of the number that its clients
 * know (worker_pid). A request with another instance's number goes to the peer of that number, as a
 * CancelRequest over a connection of its own, with one byte behind its key. That byte is what keeps
 * it from going round: a request that has it is for the one that it has come to, and is passed on
 * to no peer. Keys of clients have 4 or 32 bytes, so which requests have it is plain.
 *
 *     client's key   pid = ours | instance | worker and place      key: 4 or 32 random bytes
 *     request        the same pid                                  key, or key + PEERS_MARK
 *
 * One request leads to one at most, and how many are under way is bounded (half of
 * limits.cancels_max), so that forged ones neither multiply nor keep those of our own clients out.
 */
#ifndef HF_PROXY_PEERS_H
#define HF_PROXY_PEERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/sv.h"
#include "net/loop.h"

struct proxy;
struct worker;

#define PEERS_MARK '\x48'

/* At the start: peers that are configured in vain are told of. */
void peers_begin(const struct proxy *proxy);

/* A key as it was said by a peer: without the mark, which is told by `is_passed`. */
struct sv peers_key(struct sv key, bool *is_passed);

/* True: it is the business of another instance, which is told of it if it is known. */
bool peers_cancel(struct worker *worker, uint32_t pid, struct sv key);

/* The address of a peer, WORKER_PEER. */
void peers_resolved(struct worker *worker, struct loop_message *message);
/* Of one that is being looked up, in worker->errands: the client that it is for. */
uint32_t peers_errand_pid(struct list_node *errand);
/* The worker's thread has ended: what is still being looked up is dropped. */
void peers_end(struct worker *worker);

#endif
