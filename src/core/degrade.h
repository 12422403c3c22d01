/*
 * Degrade: how much of the service is offered, as a ladder.
 *
 *     FULL          everything                                              by health, or by hand
 *     READ_ONLY     reads; the primary is lost                              by health, or by hand
 *     CACHED_ONLY   the last good results; nobody is left to ask            by health, or by hand
 *     HEALTH_ONLY   health checks; the servers are left alone otherwise     by hand only
 *     MAINTENANCE   a person works on the servers: administration passes    by hand only
 *
 * The first three follow from two facts: is the primary usable, are others usable for reads. The
 * last two say what people want, which no health check can know, so health alone never enters them.
 *
 * Down: a fact must have been bad for hold_down_ns. Up: it must have been good for stable_ns, then
 * the ladder goes at once to the best level that is proved, not step by step. Each rung says what
 * is possible; keeping writes out while the primary is well would be an outage of our own making,
 * and the crowd that comes back is for the bulkheads to slow down, who see the load.
 *
 * A pin holds one level whatever the health is, until its end or for ever. The facts are followed
 * meanwhile: when the pin ends, the ladder stands where it would have stood without it.
 *
 * Invariants
 *  1. Without a pin the level is FULL, READ_ONLY or CACHED_ONLY.
 *  2. All healthy and no pin: FULL not later than stable_ns after the last of both became true,
 *     provided TICK is fed at degrade_deadline().
 *  3. One change at most for each event; each stands in the history.
 *  4. Health checks are allowed on every level, or nothing could ever come back
 *     (degrade_config_check() sees to it).
 *  5. Feeding the same facts again neither shortens nor prolongs any wait.
 *
 * Threads: one owner, who publishes the level in its snapshots. degrade_config_allows() and
 * degrade_config_fallback() read only the configuration, which is constant.
 */
#ifndef HF_CORE_DEGRADE_H
#define HF_CORE_DEGRADE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define DEGRADE_HISTORY 100 /* changes kept */

/* Best first. */
enum degrade_level {
    DEGRADE_FULL,
    DEGRADE_READ_ONLY,
    DEGRADE_CACHED_ONLY,
    DEGRADE_HEALTH_ONLY,
    DEGRADE_MAINTENANCE,
    DEGRADE_LEVELS
};

enum degrade_operation {
    DEGRADE_READ,
    DEGRADE_WRITE,
    DEGRADE_CACHED_READ, /* answering from the last good result, which asks no server */
    DEGRADE_ADMIN,       /* DDL, maintenance commands */
    DEGRADE_HEALTH,
    DEGRADE_OPERATIONS
};

/* What becomes of an operation that the level does not allow. */
enum degrade_fallback {
    DEGRADE_FALLBACK_REFUSE,
    DEGRADE_FALLBACK_CACHE, /* answer from the last good result, if the caller takes one; else
                               refuse */
    DEGRADE_FALLBACK_WAIT,  /* hold the call for a bounded time, the level may rise; then refuse */
    DEGRADE_FALLBACKS
};

#define DEGRADE_BIT(operation) (UINT32_C(1) << (operation))

struct degrade_config {
    uint32_t allowed[DEGRADE_LEVELS]; /* DEGRADE_BIT()s */
    enum degrade_fallback fallback[DEGRADE_LEVELS][DEGRADE_OPERATIONS];
    int64_t hold_down_ns; /* from a bad fact to a lower level; 0: at once */
    int64_t stable_ns;    /* from a good fact to a higher level; 0: at once */
    int64_t pin_ns_max;   /* a pin ends after this long even if nobody unpins; HF_NEVER: it stays */
};

/*
 * Allowed: all; reads; the cache; health checks only; administration. Where the level may rise by
 * itself, writes wait and reads get the cache; where a person decides, everything is refused at
 * once, for nobody knows how long it lasts.
 *
 * Hold-down 1 s: twice a failover, so a planned or a quick one never shows, and the writes
 * meanwhile wait in the guard's hold anyway. Stable 500 ms: five samplings, and an outage of a
 * second gets no longer than that by caution. A pin stays for ever: one that ends by itself lets
 * traffic into a half-done upgrade, which is worse than one that was forgotten and that every
 * health page shows.
 */
struct degrade_config degrade_config_default(void);
enum hf_rc degrade_config_check(const struct degrade_config *config,
                                struct hf_err *err) HF_MUST_USE;

static inline bool degrade_config_allows(const struct degrade_config *config,
                                         enum degrade_level level, enum degrade_operation operation)
{
    return (config->allowed[level] & DEGRADE_BIT(operation)) != 0;
}

/* For an operation that is not allowed. */
static inline enum degrade_fallback degrade_config_fallback(const struct degrade_config *config,
                                                            enum degrade_level level,
                                                            enum degrade_operation operation)
{
    return config->fallback[level][operation];
}

enum degrade_cause {
    DEGRADE_CAUSE_NONE,      /* nothing has changed yet */
    DEGRADE_CAUSE_LOST,      /* what the level needs is gone */
    DEGRADE_CAUSE_RECOVERED, /* what a better level needs is back */
    DEGRADE_CAUSE_PINNED,
    DEGRADE_CAUSE_UNPINNED,
    DEGRADE_CAUSE_PIN_ENDED, /* its time was over */
    DEGRADE_CAUSES
};

enum degrade_event_kind {
    DEGRADE_EV_HEALTH, /* .primary_usable, .readers_usable */
    DEGRADE_EV_PIN,    /* .level, .until_ns */
    DEGRADE_EV_UNPIN,
    DEGRADE_EV_TICK,
};

struct degrade_event {
    enum degrade_event_kind kind;
    int64_t now_ns;
    bool primary_usable; /* somebody takes writes */
    bool readers_usable; /* somebody else takes reads */
    enum degrade_level level;
    int64_t until_ns; /* HF_NEVER: no end but pin_ns_max */
};

struct degrade_change {
    int64_t at_ns;
    enum degrade_level from, to;
    enum degrade_cause cause;
};

/* Where the ladder stands and why. */
struct degrade_reason {
    enum degrade_level level;
    enum degrade_level by_health; /* where it would stand without the pin */
    struct degrade_change last;   /* the change that led here */
    int64_t due_ns;               /* next change if the facts stay as they are, else HF_NEVER */
    bool is_pinned;
    int64_t pinned_until_ns; /* HF_NEVER: no end, or no pin */
    bool primary_usable;
    bool readers_usable;
};

/* In the caller's memory; its fields are the ladder's. */
struct degrade {
    struct degrade_config config;
    int64_t now_ns; /* latest time seen, never goes back */
    uint64_t time_backwards;
    enum degrade_level level;
    enum degrade_level by_health;
    bool is_pinned;
    enum degrade_level pinned;
    int64_t pinned_until_ns;
    bool primary_usable, readers_usable;
    /* For FULL and READ_ONLY: do the facts bear the level, and since when. */
    bool bears[DEGRADE_CACHED_ONLY];
    int64_t since_ns[DEGRADE_CACHED_ONLY];
    struct degrade_reason reason;
    uint64_t changes; /* made; number n stands in history[n % DEGRADE_HISTORY] */
    uint64_t taken;   /* given out by degrade_next() */
    struct degrade_change history[DEGRADE_HISTORY];
};

/* Starts at FULL: until a watcher says otherwise, all is taken to be well. The configuration has
 * passed its check. */
void degrade_init(struct degrade *d, const struct degrade_config *config, int64_t now_ns);

void degrade_feed(struct degrade *d, const struct degrade_event *event);

/* The next change that was not given out yet. Whoever falls more than DEGRADE_HISTORY changes
 * behind misses the oldest. */
bool degrade_next(struct degrade *d, struct degrade_change *change);

/* When to feed a TICK if nothing else happens; HF_NEVER if nothing is due. */
int64_t degrade_deadline(const struct degrade *d);

const struct degrade_reason *degrade_reason(const struct degrade *d);

static inline enum degrade_level degrade_level(const struct degrade *d)
{
    return d->level;
}

/* The last change, the one before it ...: `back` counts from 0. NULL beyond what is kept. */
const struct degrade_change *degrade_history(const struct degrade *d, uint32_t back);

const char *degrade_level_name(enum degrade_level level);
const char *degrade_operation_name(enum degrade_operation operation);
const char *degrade_fallback_name(enum degrade_fallback fallback);
const char *degrade_cause_name(enum degrade_cause cause);

#endif
