/*
 * Learning the catalogue: which functions of this database write (pg/catalog_load.h), so that
 * HF_AUTO can send a read that calls one of the application's own functions to a replica.
 *
 * Nothing is asked before a statement uses a name that PostgreSQL itself does not bring along. Then
 * a thread connects, loads, hands the catalogue to intents and ends; from then on it is looked for
 * changes every LEARNING_AGAIN_NS, and sooner when another unknown name comes. Until then, and
 * whenever it fails, what is unknown is taken for a write.
 *
 * Of the reaper's thread; the thread that loads has all signals blocked and is interrupted at the
 * end.
 */
#ifndef HF_CLIENT_LEARNING_H
#define HF_CLIENT_LEARNING_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/ns.h"
#include "core/snapshot.h"
#include "pg/catalog_load.h"

#define LEARNING_AGAIN_NS HF_SEC(60)
#define LEARNING_SOON_NS  HF_SEC(5) /* between two, however many unknown names come */

struct hf_db;

struct learning {
    struct hf_db *db;
    int interrupt_fd; /* an eventfd; -1: nothing was ever learned */
    pthread_t thread;
    bool is_running; /* the thread is to be joined */
    _Atomic bool has_ended;
    uint32_t endpoint, generation;
    int64_t next_ns, soon_ns;
    struct catalog *catalog; /* that intents have */
    char state[CATALOG_STATE_SIZE];
};

void learning_init(struct learning *learning, struct hf_db *db);
/* Begins to learn if it is time to, and takes what was learned. */
void learning_turn(struct learning *learning, const struct snapshot *view, int64_t now_ns);
/* In a child after fork(). */
void learning_forget(struct learning *learning);
/* Interrupts and joins the thread; intents have no catalogue afterwards. */
void learning_end(struct learning *learning);

#endif
