/*
 * The transactions of a database that are open: for those who must end what an owner left, and what
 * was found out for all of them.
 */
#ifndef HF_CLIENT_TXS_H
#define HF_CLIENT_TXS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct hf_db;

/* May this role ask the probe in front of COMMIT? */
enum txs_may {
    TXS_UNKNOWN,
    TXS_MAY,
    TXS_MAY_NOT, /* an administrator has revoked one of its functions */
};

struct txs {
    pthread_mutex_t lock;  /* over `open` */
    struct list open;      /* of struct hf_tx */
    _Atomic int may_probe; /* enum txs_may */
};

void txs_init(struct txs *txs);
void txs_deinit(struct txs *txs); /* none is open */

/* Ends the calls of those whose deadline has passed while their owners were in code of their own,
 * or of `all` whose owners are. Any thread; called once a second by the reaper, and with `all` by
 * hf_close(), after DB_CLOSING was set. */
void txs_reap(struct hf_db *db, int64_t now_ns, bool all);

#endif
