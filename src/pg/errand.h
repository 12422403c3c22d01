/*
 * Errands: what the watcher needs and what may block it. A thread of its own looks names up and
 * asks Patroni; the watcher takes the answers when it comes by.
 *
 *     watcher                                       errand thread
 *     errand_ask(e, id, ERRAND_RESOLVE, "db1") ---> getaddrinfo()
 *     errand_take(e, &answer) <---- wake_fd --------'
 *
 * Stopping does not wait for the name service: getaddrinfo() cannot be interrupted and may take as
 * long as resolv.conf allows. A thread that is inside it is left to itself; it owns what it touches
 * and frees it at its end. That is why this memory is malloc's and not a struct mem's: nobody is
 * left to account for it.
 *
 * Any thread may ask and take.
 */
#ifndef HF_PG_ERRAND_H
#define HF_PG_ERRAND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define ERRAND_JOBS_MAX   48
#define ERRAND_PLACES_MAX 32
#define ERRAND_TEXT_SIZE  256

struct errands;

enum errand_kind {
    ERRAND_RESOLVE, /* a host name: its addresses */
    ERRAND_PATRONI, /* the URL of a REST endpoint: the members of its cluster */
};

struct errand_place {
    char host[ERRAND_TEXT_SIZE]; /* an address in numbers; of Patroni also a name */
    uint16_t port;               /* of Patroni; else 0 */
};

struct errand_answer {
    uint32_t id;
    enum errand_kind kind;
    enum hf_rc rc;
    struct hf_err err; /* if it failed */
    uint32_t count;
    struct errand_place places[ERRAND_PLACES_MAX];
};

/* Starts the thread. An answer makes `wake_fd`, an eventfd that stays the caller's, readable. */
enum hf_rc HF_MUST_USE errands_new(struct errands **errands, int wake_fd, struct hf_err *err);

/* Prompt; what is under way is given up. NULL is fine. */
void errands_free(struct errands *errands);

/* False: one of this id is under way or not taken yet, or there are too many. */
bool errand_ask(struct errands *errands, uint32_t id, enum errand_kind kind, const char *text);

/* The next answer, if there is one. */
bool errand_take(struct errands *errands, struct errand_answer *answer);

#endif
