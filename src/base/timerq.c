#include "base/timerq.h"

#include "base/bug.h"

void timerq_init(struct timerq *queue)
{
    *queue = (struct timerq){0};
}

static bool precedes(const struct timer *a, const struct timer *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->sequence < b->sequence);
}

/* Joins two trees: the later root becomes the first child of the other. */
static struct timer *meld(struct timer *a, struct timer *b)
{
    if (precedes(b, a)) {
        struct timer *swap = a;
        a = b;
        b = swap;
    }
    b->prev = a;
    b->next = a->child;
    if (a->child != NULL)
        a->child->prev = b;
    a->child = b;
    return a;
}

/* Makes one tree of a row of siblings, or NULL of none: first neighbours in pairs from left to
 * right, then the pairs from right to left. The two passes are what makes a pop O(log n) amortised,
 * and loops rather than recursion, because a row may be as long as the queue. */
static struct timer *meld_siblings(struct timer *row)
{
    struct timer *pairs = NULL; /* the rightmost first, linked by next */
    while (row != NULL) {
        struct timer *a = row, *b = row->next;
        row = b != NULL ? b->next : NULL;
        if (b != NULL)
            a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    struct timer *tree = pairs;
    if (tree == NULL)
        return NULL;
    pairs = tree->next;
    while (pairs != NULL) {
        struct timer *pair = pairs;
        pairs = pairs->next;
        tree = meld(tree, pair);
    }
    tree->prev = NULL; /* its next is read only once it has a parent, which sets it */
    return tree;
}

void timerq_add(struct timerq *queue, struct timer *timer, int64_t at_ns)
{
    hf_assert(!timerq_is_linked(timer));
    *timer = (struct timer){.at_ns = at_ns, .sequence = ++queue->sequence};
    queue->first = queue->first != NULL ? meld(queue->first, timer) : timer;
    queue->count++;
}

void timerq_remove(struct timerq *queue, struct timer *timer)
{
    hf_assert(timerq_is_linked(timer));
    struct timer *below = meld_siblings(timer->child);
    if (timer->prev == NULL) {
        hf_assert(timer == queue->first);
        queue->first = below;
    } else {
        if (timer->prev->child == timer)
            timer->prev->child = timer->next;
        else
            timer->prev->next = timer->next;
        if (timer->next != NULL)
            timer->next->prev = timer->prev;
        if (below != NULL)
            queue->first = meld(queue->first, below);
    }
    *timer = (struct timer){0};
    queue->count--;
}

void timerq_move(struct timerq *queue, struct timer *timer, int64_t at_ns)
{
    timerq_remove(queue, timer);
    timerq_add(queue, timer, at_ns);
}

struct timer *timerq_pop_due(struct timerq *queue, int64_t now_ns)
{
    struct timer *first = queue->first;
    if (first == NULL || first->at_ns > now_ns)
        return NULL;
    timerq_remove(queue, first);
    return first;
}
