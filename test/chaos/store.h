/*
 * What the worker of the chaos test does its work through: over libholdfast, or over plain libpq as
 * a careful application uses it. One of store_holdfast.c and store_libpq.c is linked.
 *
 * A store belongs to the process, a seat to one thread. What a call answers is a claim that the
 * checker holds it to: DONE, the row is there for good; NOT_DONE, it is not and never will be;
 * UNKNOWN, no claim.
 */
#ifndef HF_CHAOS_STORE_H
#define HF_CHAOS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum answer {
    ANSWER_DONE,
    ANSWER_NOT_DONE,
    ANSWER_UNKNOWN,
};

enum way {
    WAY_STATEMENT,   /* one INSERT by itself */
    WAY_TRANSACTION, /* the row and its twin, in a transaction */
};

/* What a read must see. */
enum promise {
    PROMISE_OWN,     /* what this seat has written */
    PROMISE_SHARED,  /* what the writer's seat had written when it shared that last */
    PROMISE_PRIMARY, /* what the primary has */
    PROMISE_BOUNDED, /* what is older than STALENESS_MS */
    PROMISE_ANY,     /* nothing in particular */
};

enum {
    STALENESS_MS = 2000,
};

struct row {
    int writer;
    int64_t number;
};

/* How a call ended, for the log. `words` is one line. */
struct told {
    char code[24];
    char sqlstate[6];
    char endpoint[64];
    char words[200];
};

struct store;
struct seat;

/* Waits until there is a server. NULL, and `told->words` says why not. */
struct store *store_open(const char *conninfo, struct told *told);
void store_close(struct store *store);

struct seat *seat_new(struct store *store);
void seat_free(struct seat *seat);

enum answer seat_write(struct seat *seat, enum way way, struct row row, int deadline_ms,
                       struct told *told);
/* Lets other seats see what this one, the writer's, has written; false: it cannot just now. */
bool seat_share(struct seat *seat, int writer);
/* `found` is whether the row is there; it counts only if the answer is DONE. */
enum answer seat_read(struct seat *seat, enum promise promise, struct row row, int deadline_ms,
                      bool *found, struct told *told);

#endif
