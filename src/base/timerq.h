/*
 * Timer queue: what is due when, driven by a time that the caller passes in.
 *
 * A pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986) through nodes that are members of what
 * waits, so a queue has no capacity and setting a timer allocates nothing. It fits timeouts, most
 * of which are taken back before they fire: adding costs a comparison, removing a node without
 * children next to nothing. Taking the first one out is O(log n) amortised; a single pop may cost
 * O(n) after n additions, once.
 *
 * Invariants
 *  1. Timers come out by time, and those of equal time in the order in which they were added or
 *     last moved: a run is replayed exactly.
 *  2. A node is in at most one queue; a node full of zero bytes is in none.
 *
 * The queue owns nothing: what holds the nodes must outlive their being in it, and neither may be
 * moved or copied meanwhile. One owner, no locking.
 *
 *     struct call { struct timer timeout; ... };
 *     timerq_add(&queue, &call->timeout, ns_add(now_ns, HF_MS(100)));
 *     while ((timer = timerq_pop_due(&queue, now_ns)) != NULL)
 *         give_up(container_of(timer, struct call, timeout));
 *     sleep_until(timerq_deadline(&queue));
 */
#ifndef HF_BASE_TIMERQ_H
#define HF_BASE_TIMERQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/container_of.h"
#include "base/ns.h"

struct timer {
    int64_t at_ns;
    uint64_t sequence;   /* 0 while in no queue */
    struct timer *child; /* the first of those that this one precedes */
    struct timer *next;  /* its sibling */
    struct timer *prev;  /* the sibling before it, or the parent of a first child */
};

struct timerq {
    struct timer *first; /* NULL when empty */
    uint64_t sequence;   /* of the timer added last */
    size_t count;
};

void timerq_init(struct timerq *queue);

static inline bool timerq_is_linked(const struct timer *timer)
{
    return timer->sequence != 0;
}

/* HF_NEVER is a time like any other: such a timer is kept and stands last. */
void timerq_add(struct timerq *queue, struct timer *timer, int64_t at_ns);

/* Gives a timer of this queue another time. Among equal times it then comes last. */
void timerq_move(struct timerq *queue, struct timer *timer, int64_t at_ns);

/* Takes a timer out of the queue that it is in. */
void timerq_remove(struct timerq *queue, struct timer *timer);

/* When the first timer is due; HF_NEVER if there is none. */
static inline int64_t timerq_deadline(const struct timerq *queue)
{
    return queue->first != NULL ? queue->first->at_ns : HF_NEVER;
}

/* Takes out the first timer if it is due at `now_ns` or before, else NULL. With HF_NEVER for the
 * time the queue is emptied in order. */
struct timer *timerq_pop_due(struct timerq *queue, int64_t now_ns);

#endif
