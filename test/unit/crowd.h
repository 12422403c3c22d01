/*
 * A simulated database server behind a bulkhead, in virtual time, for tests of the adaptive limit.
 *
 * The server works on up to `capacity` operations at full speed; when more run, all of them share
 * it evenly (processor sharing, as backends share CPUs). A virtual work clock runs at the speed
 * min(1, capacity / running); an operation ends when the clock has moved by its work, so the order
 * of endings is a timer queue over the work clock.
 *
 * Clients call, wait for their turn, run, think, and call again.
 */
#ifndef HF_TEST_UNIT_CROWD_H
#define HF_TEST_UNIT_CROWD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/container_of.h"
#include "base/hist.h"
#include "base/ns.h"
#include "base/rng.h"
#include "base/timerq.h"
#include "core/bulkhead_mt.h"

#define CROWD_CLIENTS_MAX 2000

enum crowd_mix {
    CROWD_EVEN,   /* every operation takes `work_ns`, 10 % more or less */
    CROWD_RANDOM, /* exponentially distributed around it */
    CROWD_MIXED,  /* nine of ten take a tenth of it, one takes nine times as much */
};

struct crowd;

struct crowd_client {
    struct crowd *crowd;
    struct timer timer; /* while it thinks: real time; while it runs: the work clock */
    struct bulkhead_waiter waiter;
    struct bulkhead_permit permit;
    bool is_overload;
};

struct crowd {
    /* the plan; may be changed while it runs */
    double capacity;
    int64_t work_ns;
    int64_t think_ns;
    enum crowd_mix mix;
    uint32_t clients;        /* of them, those above `clients` fall silent */
    uint32_t overload_above; /* calls beyond so many running are refused by the server; 0: none */
    double stray_timeouts;   /* share of calls that fail for reasons of their own */
    /* the run */
    struct bulkhead *bulkhead;
    struct rng rng;
    int64_t now_ns;
    double work_clock;
    uint32_t running;
    uint64_t served;
    struct timerq thinking;
    struct timerq serving;
    struct crowd_client client[CROWD_CLIENTS_MAX];
};

/* Exponentially distributed with mean 1. */
static inline double crowd_exponential(struct rng *rng)
{
    uint64_t u = rng_u64(rng) | 1;
    return (double)(64 * 65536 - adapt_log2((int64_t)(u >> 1)) - 65536) / 65536 * 0.6931;
}

static inline double crowd_work(struct crowd *crowd)
{
    double mean = (double)crowd->work_ns;
    switch (crowd->mix) {
    case CROWD_EVEN:
        return mean * (0.9 + 0.2 * rng_unit(&crowd->rng));
    case CROWD_RANDOM:
        return mean * crowd_exponential(&crowd->rng);
    case CROWD_MIXED:
        break;
    }
    return mean * (rng_below(&crowd->rng, 10) == 0 ? 9.1 : 0.1) * crowd_exponential(&crowd->rng);
}

static inline double crowd_speed(const struct crowd *crowd)
{
    return crowd->running > crowd->capacity ? crowd->capacity / crowd->running : 1;
}

static inline void crowd_run(struct crowd_client *client, const struct bulkhead_permit *permit)
{
    struct crowd *crowd = client->crowd;
    client->permit = *permit;
    client->is_overload = (crowd->overload_above != 0 && crowd->running >= crowd->overload_above) ||
                          rng_unit(&crowd->rng) < crowd->stray_timeouts;
    double work = client->is_overload ? 1000.0 : crowd_work(crowd);
    ++crowd->running;
    timerq_add(&crowd->serving, &client->timer, (int64_t)(crowd->work_clock + work));
}

static inline void crowd_think(struct crowd_client *client)
{
    struct crowd *crowd = client->crowd;
    int64_t think = (int64_t)((double)crowd->think_ns * crowd_exponential(&crowd->rng));
    timerq_add(&crowd->thinking, &client->timer, crowd->now_ns + 1 + think);
}

static inline void crowd_call(struct crowd_client *client)
{
    struct crowd *crowd = client->crowd;
    struct bulkhead *b = crowd->bulkhead;
    if ((size_t)(client - crowd->client) >= crowd->clients) {
        timerq_add(&crowd->thinking, &client->timer, crowd->now_ns + HF_MS(100));
        return;
    }
    struct bulkhead_permit permit;
    if (bulkhead_try(b, crowd->now_ns, &permit)) {
        crowd_run(client, &permit);
        return;
    }
    enum bulkhead_answer answer =
        bulkhead_enter(b, &client->waiter, crowd->now_ns, 0, crowd->now_ns + HF_SEC(5));
    if (answer == BULKHEAD_GRANTED)
        crowd_run(client, &client->waiter.permit);
    else if (answer != BULKHEAD_QUEUED)
        crowd_think(client);
}

static inline void crowd_end(struct crowd_client *client)
{
    struct crowd *crowd = client->crowd;
    struct bulkhead *b = crowd->bulkhead;
    --crowd->running;
    crowd->served += !client->is_overload;
    client->permit.ending = client->is_overload ? BULKHEAD_OVERLOADED : BULKHEAD_RAN;
    if (!bulkhead_release(b, &client->permit, crowd->now_ns)) {
        struct bulkhead_waiter *next = bulkhead_hand_over(b, &client->permit, crowd->now_ns);
        while (next != NULL) {
            crowd_run(container_of(next, struct crowd_client, waiter), &next->permit);
            next = bulkhead_pop_granted(b, crowd->now_ns);
        }
    }
    crowd_think(client);
}

/* `bulkhead` is the caller's. */
static inline void crowd_begin(struct crowd *crowd, struct bulkhead *bulkhead, uint64_t seed)
{
    crowd->bulkhead = bulkhead;
    rng_init(&crowd->rng, seed);
    timerq_init(&crowd->thinking);
    timerq_init(&crowd->serving);
    for (size_t i = 0; i < CROWD_CLIENTS_MAX; i++) {
        crowd->client[i].crowd = crowd;
        crowd_think(&crowd->client[i]);
    }
}

static inline void crowd_until(struct crowd *crowd, int64_t until_ns)
{
    struct timer *timer;
    struct bulkhead_waiter *late;
    for (;;) {
        int64_t next = ns_min(until_ns, timerq_deadline(&crowd->thinking));
        next = ns_min(next, bulkhead_deadline(crowd->bulkhead));
        int64_t end = timerq_deadline(&crowd->serving);
        bool is_end = false;
        if (end != HF_NEVER) {
            double left = ((double)end - crowd->work_clock) / crowd_speed(crowd);
            int64_t at = crowd->now_ns + (left > 0 ? (int64_t)left : 0);
            is_end = at <= next;
            next = ns_min(next, at);
        }
        next = ns_max(next, crowd->now_ns);
        crowd->work_clock += (double)(next - crowd->now_ns) * crowd_speed(crowd);
        crowd->now_ns = next;
        if (is_end) {
            timer = timerq_pop_due(&crowd->serving, HF_NEVER);
            crowd->work_clock = (double)ns_max((int64_t)crowd->work_clock, end);
            crowd_end(container_of(timer, struct crowd_client, timer));
            continue;
        }
        while ((late = bulkhead_pop_expired(crowd->bulkhead, next)) != NULL)
            crowd_think(container_of(late, struct crowd_client, waiter));
        timer = timerq_pop_due(&crowd->thinking, next);
        if (timer != NULL)
            crowd_call(container_of(timer, struct crowd_client, timer));
        else if (next >= until_ns)
            return;
    }
}

#endif
