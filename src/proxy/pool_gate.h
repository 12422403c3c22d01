/*
 * A part of a pool that is held: its limit is 0, so that whoever wants a connection waits in the
 * queue as at any other time, and whoever gives one back has it closed. What its limit was, and
 * what shares come or go meanwhile, is kept in part->held until it is let go.
 *
 *     hold:     limit 12, held 0   -->  limit 0, held 12;  idle connections are closed
 *     let go:   limit 0, held 12   -->  limit 12;          who waits is served, in order
 *
 * So a pause costs the path of a query nothing. In the part's worker's thread, all of it.
 */
#ifndef HF_PROXY_POOL_GATE_H
#define HF_PROXY_POOL_GATE_H

#include <stdbool.h>
#include <stdint.h>

struct hf_err;
struct pool_part;
struct proxy_database;
struct worker;

void pool_hold(struct pool_part *part);
void pool_let_go(struct pool_part *part);

/* The part's share: of a held one, what it will have. */
uint32_t pool_share(const struct pool_part *part);
void pool_set_share(struct pool_part *part, uint32_t share);

/* Every server connection is closed as soon as no client has it. */
void pool_reconnect(struct pool_part *part);

/* Clients and server connections go, at once. */
void pool_kill(struct pool_part *part, const struct hf_err *reason);

/* Connections to hosts that `database` does not name (NULL: all) serve no other client, and idle
 * ones are closed. */
void pool_taint(struct pool_part *part, const struct proxy_database *database);
/* Connections that are to be replaced, and are still there. */
uint32_t pool_tainted(const struct pool_part *part);

/* The budget is wanted by others: the coldest idle connection of this worker makes room. */
void pool_make_room(struct worker *worker);

#endif
