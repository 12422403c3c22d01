/*
 * Bulkhead: at most `limit` operations at once, a bounded queue for the rest, a refusal for what
 * does not fit. This file is the pure part: configuration, the word and its steps, the queue. What
 * callers use is in bulkhead_mt.h, the shell that puts the parts together for threads.
 *
 *              bulkhead_try                                bulkhead_release
 *   newcomer -------------------> holds a permit ------------------------------> gone
 *      |       room, nobody                ^      (or bulkhead_hand_over, if
 *      |       waits                       |       others wait)
 *      |                                   | GRANTED
 *      | bulkhead_enter        hand_over,  |
 *      +------------------> WAITING -------+
 *      |                      |  |   pop_granted
 *      | refused              |  +--> EXPIRED --> popped: gone       its wait limit passed
 *      v                      v
 *     gone                   gone   bulkhead_withdraw                its caller changed its mind
 *
 * THE FAST PATH is one compare-and-swap on one 64-bit word, without a lock: while nobody waits,
 * taking and giving back a permit touches nothing else that decides.
 *
 * THE SLOW PATH starts when a permit is not to be had. The queue is plain data: callers serialise
 * everything that touches it with ONE lock of their own for each bulkhead. Core has no locks, and a
 * single-threaded driver or the simulator needs none.
 *
 * Invariants, and why they hold
 *  1. No permit is granted while in_use >= limit. Granting is a compare-and-swap that compares
 *     both. After the limit was lowered in_use may exceed it: a debt, paid by releases that grant
 *     to nobody. Nothing ever blocks to collect it (R4j's changeConfig did: #981).
 *  2. Permits are conserved: in_use is the number of permits out. Each is given back exactly once,
 *     by the operation that holds it and after it has ended; a second time is an assertion.
 *  3. No hand-over is lost: while somebody waits, in_use >= limit (between a rise of the limit and
 *     the pop_granted calls that must follow it under the same lock, pop_granted restores this).
 *     Proof:
 *       a. The flag WAITERS is set exactly while the queue is not empty. Both change only under the
 *          lock.
 *       b. It is set by a compare-and-swap that also sees in_use >= limit. So when the first waiter
 *          lines up, some operation still holds a permit, whose release comes later in the word's
 *          order of changes; or the limit is 0 (waits_at_zero), and the rise of it serves.
 *       c. While the flag is set, no step of the fast path changes in_use: try refuses and release
 *          returns false with the permit still held. So in_use changes only under the lock, where
 *          hand_over passes the permit on to the first waiter instead of freeing it.
 *       d. A step of the fast path that read the word before the flag was set fails its
 *          compare-and-swap and reads again.
 *       e. The limit may be lowered by any thread, which cannot break in_use >= limit. It is raised
 *          by a step that refuses while the flag is set, or under the lock.
 *     Every operation that releases thus either finds nobody waiting or goes through the lock.
 *  4. First in, first out within a priority; strictly lower numbers first between priorities.
 *     Nobody who waits is overtaken by a newcomer of the same or a higher number. Waiters that
 *     bring a rank (core/fair_mt.h) stand behind those of their priority without one, and among
 *     themselves in the order of ranks, equal ones first in, first out: then who may overtake
 *     whom is for whoever gives the ranks.
 *  5. Every waiter leaves: granted, expired or withdrawn. No wait is longer than wait_ns_max, so
 *     strict priorities cannot starve anybody for ever: they decide who gets a permit and who gets
 *     an answer. (Ageing would let a flood of unimportant calls delay important ones, which is what
 *     priorities are there to prevent.)
 *  6. A permit is never handed to a waiter whose wait limit has passed (failsafe#400 does).
 *  7. Nothing grows: waiters are in their operations' memory, at most queue_max of them.
 *
 * Cost: try and release are O(1). Entering is O(1); leaving the queue is O(1) but for the wait
 * limit's timer, O(log n) amortised (base/timerq.h), and the same once more for the place of one
 * with a rank.
 *
 * REFUSED AT ONCE. Waiting for what will not come in time only delays the answer. The n-th in line
 * gets the n-th release from now; with `limit` operations of `mean` duration releases come every
 * mean/limit, so its wait is n * mean/limit on average. If they come at random, its deviation is
 * sqrt(n) * mean/limit. A newcomer is refused when its wait limit is shorter even than the average
 * minus two deviations: fewer than one in forty of those refused would have been served, and of
 * the first five in line nobody is refused. The mean follows every operation that ends (1/16 of the
 * difference), and a refusal happens only while operations run, so an estimate that was too high
 * corrects itself within a few dozen of them. Nothing is refused before the first one has ended.
 *
 * THE EXECUTION LIMIT does not take the permit away: work that still runs still burdens the server
 * (Hystrix#1867 freed it, and the limit meant nothing any more). It gives each permit a deadline
 * for the driver to cancel at, and counts those that came back later.
 */
#ifndef HF_CORE_BULKHEAD_H
#define HF_CORE_BULKHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/timerq.h"
#include "core/adapt.h"

#define BULKHEAD_PRIORITIES 4
#define BULKHEAD_LIMIT_MAX  ADAPT_LIMIT_MAX
#define BULKHEAD_QUEUE_MAX  1000000

struct bulkhead_config {
    uint32_t limit;        /* permits; where an adaptive limit starts; 0: see waits_at_zero */
    uint32_t queue_max;    /* waiters; 0: nobody waits */
    int64_t wait_ns_max;   /* longest wait, whatever a caller asks for */
    int64_t exec_ns_max;   /* sets permit.exec_deadline_ns; HF_NEVER for none */
    bool refuses_hopeless; /* see above */
    bool has_histograms;   /* of waits and executions, 38 kB; fixed when made */
    bool waits_at_zero;    /* a limit of 0 is no refusal: it will be raised while calls wait */
    bool is_adaptive;
    struct adapt_config adapt;
};

/* Limit 100, queue 50, wait 5 s, execution 30 s, hopeless waits refused, histograms on, not
 * adaptive.
 *
 * 100 is max_connections of a PostgreSQL nobody has touched: more cannot run anyway. A queue of
 * half the limit is served within half a mean execution, so it absorbs bursts and no backlog. 5 s
 * and 30 s are longer than a healthy OLTP call by far and shorter than a person's patience.
 * Adaptive is off because its limit follows the load: a first look at a new system should show what
 * was configured. */
struct bulkhead_config bulkhead_config_default(void);
enum hf_rc bulkhead_config_check(const struct bulkhead_config *config,
                                 struct hf_err *err) HF_MUST_USE;

enum bulkhead_answer {
    BULKHEAD_GRANTED,
    BULKHEAD_QUEUED,
    BULKHEAD_REFUSED_FULL,     /* queue_max others wait */
    BULKHEAD_REFUSED_HOPELESS, /* the wait it would need is longer than the one it has */
    BULKHEAD_REFUSED_LIMIT,    /* the limit is 0: closed */
    BULKHEAD_ANSWERS
};

/* What the holder of a permit says about the operation before giving it back. */
enum bulkhead_ending {
    BULKHEAD_UNUSED,     /* nothing ran: counts neither as an execution nor as a sample */
    BULKHEAD_RAN,        /* it ran to an end, good or bad, that took its time */
    BULKHEAD_OVERLOADED, /* it failed by the server's overload: 53300, a timeout */
};

/* The right to run one operation. Plain data, may be copied; only one copy is given back. */
struct bulkhead_permit {
    int64_t granted_ns;
    int64_t exec_deadline_ns;    /* HF_NEVER for none */
    enum bulkhead_ending ending; /* set by the holder; BULKHEAD_UNUSED when granted */
    bool is_held;
};

enum bulkhead_waiter_state {
    BULKHEAD_WAITER_IDLE, /* never queued, withdrawn, refused or popped as expired */
    BULKHEAD_WAITER_WAITING,
    BULKHEAD_WAITER_EXPIRED, /* its limit passed; to be popped or withdrawn */
    BULKHEAD_WAITER_GRANTED, /* `permit` is its own */
};

/* The last decision, in numbers. */
struct bulkhead_reason {
    enum bulkhead_answer answer;
    uint8_t priority;
    uint32_t in_use;
    uint32_t limit;
    uint32_t ahead; /* waiters that would be or are served before */
    int64_t at_ns;
    int64_t wait_left_ns; /* how long it could wait */
    int64_t expected_ns;  /* how long it would wait on average; 0 if unknown */
};

/* In the operation's memory, zeroed before its first use; not moved while WAITING or EXPIRED. Under
 * the lock, but for `permit` once granted and `reason` once entered: those are the operation's. */
struct bulkhead_waiter {
    struct list_node link; /* without a rank */
    struct timer place;    /* with a rank, which is its at_ns */
    struct timer timer;    /* at_ns: its wait limit */
    uint64_t rank;         /* set by the caller before it enters; 0: none, first in, first out */
    int64_t entered_ns;
    struct bulkhead_permit permit;
    struct bulkhead_reason reason;
    enum bulkhead_waiter_state state;
    uint8_t priority;
};

/* ---- the word ---- */

/* 20 bits in_use | 20 limit | 20 high-water mark of in_use | 1 WAITERS */
#define BULKHEAD_FIELD_BITS 20
#define BULKHEAD_FIELD      ((UINT64_C(1) << BULKHEAD_FIELD_BITS) - 1)
#define BULKHEAD_LIMIT_AT   BULKHEAD_FIELD_BITS
#define BULKHEAD_HIGH_AT    (2 * BULKHEAD_FIELD_BITS)
#define BULKHEAD_WAITERS    (UINT64_C(1) << (3 * BULKHEAD_FIELD_BITS))

static inline uint32_t bulkhead_word_in_use(uint64_t word)
{
    return (uint32_t)(word & BULKHEAD_FIELD);
}

static inline uint32_t bulkhead_word_limit(uint64_t word)
{
    return (uint32_t)(word >> BULKHEAD_LIMIT_AT & BULKHEAD_FIELD);
}

static inline uint32_t bulkhead_word_high(uint64_t word)
{
    return (uint32_t)(word >> BULKHEAD_HIGH_AT & BULKHEAD_FIELD);
}

static inline bool bulkhead_word_has_waiters(uint64_t word)
{
    return (word & BULKHEAD_WAITERS) != 0;
}

/* The steps: each gives the next word, or false if it is not allowed from this one. Those of the
 * fast path are inline, for its sake. */

/* One permit more, whoever waits: for those that the queue has chosen. */
static inline bool bulkhead_step_grant(uint64_t word, uint64_t *next)
{
    uint32_t in_use = bulkhead_word_in_use(word);
    if (in_use >= bulkhead_word_limit(word))
        return false;
    *next = word + 1;
    if (in_use >= bulkhead_word_high(word))
        *next += UINT64_C(1) << BULKHEAD_HIGH_AT;
    return true;
}

/* One permit more for a newcomer. */
static inline bool bulkhead_step_try(uint64_t word, uint64_t *next)
{
    return !bulkhead_word_has_waiters(word) && bulkhead_step_grant(word, next);
}

/* One permit less, if nobody waits for it. */
static inline bool bulkhead_step_release(uint64_t word, uint64_t *next)
{
    *next = word - 1;
    return !bulkhead_word_has_waiters(word);
}

/* One permit less, under the lock: only if it would not make room that a waiter should have. */
bool bulkhead_step_free(uint64_t word, uint64_t *next);

/* Somebody waits from now on: only if there is no room. */
bool bulkhead_step_wait(uint64_t word, uint64_t *next);

/* Nobody waits any more. */
uint64_t bulkhead_step_empty(uint64_t word);

/* The high-water mark begins anew from in_use. */
uint64_t bulkhead_step_low(uint64_t word);

/* Another limit. `is_locked`: the caller holds the lock and will serve waiters if there is room;
 * without it the limit is not raised past waiters. */
bool bulkhead_step_limit(uint64_t word, uint32_t limit, bool is_locked, uint64_t *next);

/* ---- the queue, under the lock ---- */

struct bulkhead_queue {
    struct list waiting[BULKHEAD_PRIORITIES];  /* without a rank */
    struct timerq ranked[BULKHEAD_PRIORITIES]; /* with one */
    uint32_t waiting_count[BULKHEAD_PRIORITIES];
    uint32_t count; /* all of them */
    struct list expired;
    struct timerq timers; /* of those waiting */
    uint64_t timed_out;
    uint64_t cancelled;
};

void bulkhead_queue_init(struct bulkhead_queue *queue);

/* How many would be served before a newcomer of this priority. */
uint32_t bulkhead_queue_ahead(const struct bulkhead_queue *queue, uint8_t priority);

void bulkhead_queue_push(struct bulkhead_queue *queue, struct bulkhead_waiter *waiter,
                         int64_t until_ns);

/* The one to be served first; NULL if nobody waits. */
struct bulkhead_waiter *bulkhead_queue_first(const struct bulkhead_queue *queue);

/* Takes out the one to be served first; NULL if nobody waits. It is IDLE then. */
struct bulkhead_waiter *bulkhead_queue_pop(struct bulkhead_queue *queue);

/* Moves those whose limit has passed from WAITING to EXPIRED. */
void bulkhead_queue_expire(struct bulkhead_queue *queue, int64_t now_ns);

/* Takes out one that is EXPIRED; NULL if none is. */
struct bulkhead_waiter *bulkhead_queue_pop_expired(struct bulkhead_queue *queue);

/* Takes a waiter out wherever it is. False if it had been granted. */
bool bulkhead_queue_withdraw(struct bulkhead_queue *queue, struct bulkhead_waiter *waiter);

/* The average wait of the n-th in line, and whether a wait of `left_ns` is hopeless. */
int64_t bulkhead_expected_ns(uint32_t nth, uint32_t limit, int64_t mean_ns);
bool bulkhead_is_hopeless(uint32_t nth, uint32_t limit, int64_t mean_ns, int64_t left_ns);

/* ---- what can be seen from outside ---- */

struct bulkhead_view {
    int64_t at_ns;
    uint32_t in_use;
    uint32_t limit;
    uint32_t high_water; /* of in_use, ever */
    uint32_t waiting;
    uint64_t accepted;                  /* permits granted, at once or after waiting */
    uint64_t completed;                 /* executions that ended */
    uint64_t unused;                    /* permits given back without an execution */
    uint64_t overloaded;                /* executions that ended so */
    uint64_t overruns;                  /* executions that ended after their deadline */
    uint64_t queued;                    /* ever */
    uint64_t granted_late;              /* of those: got a permit */
    uint64_t timed_out;                 /* of those: waited in vain */
    uint64_t cancelled;                 /* of those: withdrawn before their limit */
    uint64_t refused[BULKHEAD_ANSWERS]; /* by answer; 0 for what is no refusal */
    uint64_t time_backwards;            /* times that lay before an earlier one; clamped */
    int64_t mean_exec_ns;               /* recent; 0 if unknown */
    bool is_adaptive;
    enum adapt_verdict verdict; /* of the adaptive limit's last window */
    uint32_t crowd;   /* its estimate of operations that stand in line inside the server */
    uint64_t windows; /* judged so far */
};

const char *bulkhead_answer_name(enum bulkhead_answer answer);

#endif
