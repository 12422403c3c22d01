/*
 * What the console asks of the main thread, which alone owns the configuration and the end of the
 * program: one thing at a time, and its answer.
 *
 *     console's worker                             main thread
 *     order_give() --- number ---> [ asked ] ---> order_take()
 *     order_answer(number)?  <---- [ done  ] <--- order_done()
 *
 * Who asked comes back now and then and looks whether it is done; nobody waits. The answer is kept
 * beyond the next orders, which others may give before that.
 */
#ifndef HF_PROXY_ORDER_H
#define HF_PROXY_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct proxy;
struct proxy_config;

enum order_kind {
    ORDER_NONE,
    ORDER_RELOAD, /* the configuration, from where it came */
    ORDER_CONFIG, /* this configuration */
};

enum order_state {
    ORDER_FREE,
    ORDER_ASKED,
    ORDER_TAKEN,
    ORDER_DONE,
};

#define ORDER_ENDS 8 /* that are kept: far more than there are between two looks */

/* How one has ended. */
struct order_end {
    uint64_t number;
    struct hf_err err; /* HF_OK, or why not */
};

struct order {
    enum order_kind kind;
    enum order_state state;
    uint64_t number;
    struct proxy_config *config;       /* of ORDER_CONFIG; whoever takes the order has it */
    struct order_end ends[ORDER_ENDS]; /* the last ones */
    int fd; /* an eventfd, readable while there is an order to be taken */
};

enum hf_rc order_init(struct order *order, struct hf_err *err) HF_MUST_USE;
/* Frees the configuration of an order that nobody has taken. */
void order_deinit(struct order *order);

/* 0: another one is under way; `config` stays the caller's then. */
uint64_t order_give(struct proxy *proxy, enum order_kind kind, struct proxy_config *config);
/* The main thread is to look around now: proxy->wish has changed. */
void order_wake(struct proxy *proxy);
/* False: not yet. */
bool order_answer(struct proxy *proxy, uint64_t number, struct hf_err *err);

/* The main thread. ORDER_NONE: there is nothing to do. */
enum order_kind order_take(struct proxy *proxy, struct proxy_config **config);
void order_done(struct proxy *proxy, const struct hf_err *err);

#endif
