/*
 * Looking up host names without making a worker wait: getaddrinfo() blocks, for seconds when a name
 * server is down, so one thread of its own calls it.
 *
 *     worker                           resolver                             thread
 *     resolve_ask(request) --> known? RESOLVE_DONE, at once
 *                              else   RESOLVE_WAITS  --- name, queued -->   getaddrinfo()
 *     LOOP_POSTED <------- request->message, by loop_post() <---------------'
 *
 * What was found is kept, by name:
 *
 *     asked     fresh                                            expired
 *       |--------------------------------------|-----------------|------------------------> time
 *       0                            3/4 of ttl                ttl             + stale_ns_max
 *          answered at once                    answered at once;  looked up again, the asker waits
 *                                              looked up again
 *
 * A lookup that fails where an older answer is known gives that one, with is_stale set and `err`
 * saying why: a server is likelier to be where it was than to be gone with its name. From then on,
 * until stale_ns_max after the expiry, askers get it at once while it is looked up again every
 * failure_ttl_ns; after that, or if there never was an answer, the failure itself is the answer,
 * and is kept for failure_ttl_ns so that a storm of connects is not one of lookups.
 *
 * So a name in steady use costs nobody a wait, and a change of the DNS is seen within ttl. The
 * system does not tell the time to live of its answers; ttl stands for it.
 *
 * Invariants
 *  1. A request is answered once: by what resolve_ask() returned, or by one message; or it was
 *     cancelled in time, and never is.
 *  2. However many ask for a name, it is looked up once at a time.
 *  3. No more than names_max names are known or waiting; the one unused for longest makes room.
 *
 * Any thread may ask and cancel. One name that is slow to fail makes others wait that are not known
 * yet; resolv.conf says how slow that can be.
 */
#ifndef HF_NET_RESOLVE_H
#define HF_NET_RESOLVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ns.h"
#include "base/sv.h"
#include "net/address.h"
#include "net/loop.h"
#include "os/mem.h"

#define RESOLVE_HOST_SIZE 256 /* a DNS name has at most 253 characters */
#define RESOLVE_ADDRESSES 16  /* of one name; what is beyond is not used */

struct resolver;

/* 0 means the default. */
struct resolver_config {
    int64_t ttl_ns;         /* 15 s */
    int64_t failure_ttl_ns; /* 1 s */
    int64_t stale_ns_max;   /* 10 min */
    uint32_t names_max;     /* 128 */
};

/* The asker's memory, until it is answered or cancelled. */
struct resolve_request {
    /* What is asked; set by resolve_request_init(). */
    struct loop_message message; /* comes back by it; its kind is the asker's */
    struct loop *loop;           /* the asker's */
    uint16_t port;
    char host[RESOLVE_HOST_SIZE];

    /* The answer, in the order in which the system wants them tried. */
    enum hf_rc rc; /* HF_OK: there is an address at least */
    uint32_t count;
    bool is_stale;     /* of an earlier lookup; `err` says why there is no newer one */
    struct hf_err err; /* if it failed, or is stale */
    struct address addresses[RESOLVE_ADDRESSES];

    /* private */
    struct resolve_request *next;
};

enum resolve_now {
    RESOLVE_DONE,  /* the answer is in the request */
    RESOLVE_WAITS, /* the message will come */
};

/* Starts the thread. */
enum hf_rc resolver_new(struct resolver **resolver, const struct resolver_config *config,
                        struct mem *mem, struct hf_err *err) HF_MUST_USE;

/* Nobody waits for an answer any more. Waits for the thread, and so for a lookup that is under way.
 * NULL is allowed. */
void resolver_free(struct resolver *resolver);

/* False: the name is too long to be one, or has a zero byte in it. */
bool resolve_request_init(struct resolve_request *request, struct loop *loop, uint32_t kind,
                          struct sv host, uint16_t port);

enum resolve_now resolve_ask(struct resolver *resolver,
                             struct resolve_request *request) HF_MUST_USE;

/* For a request that WAITS. True: it is the asker's again and no message comes. False: the message
 * was posted already, and the memory is needed until it is taken. */
bool resolve_cancel(struct resolver *resolver, struct resolve_request *request) HF_MUST_USE;

/* What is known of a name, for who wants to look. */
struct resolve_seen {
    char host[RESOLVE_HOST_SIZE];
    int64_t ttl_ns;  /* that the answer is fresh; 0: it is none any more, or there never was one */
    bool is_pending; /* it is being looked up, or about to be */
    uint32_t count;
    struct address addresses[RESOLVE_ADDRESSES]; /* ports are nobody's */
};

/* The names from 0 up; false behind the last one. */
bool resolve_look(struct resolver *resolver, uint32_t index, struct resolve_seen *seen);

#endif
