/*
 * The admin console: the databases `holdfast` and `pgbouncer`, for the users in admin_users and
 * stats_users. The second name is there so that exporters, scripts and habits of PgBouncer work.
 *
 *     SHOW ...                                  admin_show.h: a row for each
 *     PAUSE, RESUME, KILL, SET, RELOAD ...      admin_command.h: the same
 *
 * Columns, tags and messages are PgBouncer's where it has the same thing; ours stand behind them.
 * Beyond PgBouncer, the extended protocol is answered too, as not every driver speaks the simple
 * one; commands take no parameters. BEGIN, COMMIT and what drivers say when they connect is
 * accepted, and does nothing.
 *
 * A few places beyond limits.clients_max are kept for the console, so that it can be reached when
 * everybody else cannot (ADMIN_PLACES): who comes to one of them and wants another database is
 * turned away as soon as that is known.
 *
 * Belongs to the worker of its client.
 */
#ifndef HF_PROXY_ADMIN_H
#define HF_PROXY_ADMIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sv.h"

struct client;
struct gather;

#define ADMIN_PLACES 8

/* The name is one of the console's two. */
bool admin_is_console(struct sv database);

/* Its client is PgBouncer's special user: `pgbouncer` on a unix socket, of the same user of this
 * machine as the proxy itself. Such a one needs no password. */
bool admin_is_owner(const struct client *client, struct sv role);

/* False: all places but those for the console are taken, and it wants another database. */
bool admin_has_place(const struct client *client, struct sv database, struct hf_err *err);

/* A client that has logged in to the console; refused if it is none of the users for it. */
void admin_enter(struct client *client);
void admin_event(struct client *client);
/* What was gathered for it has come back. */
void admin_gathered(struct client *client, struct gather *gather);
/* It waits for something and looks again; HF_NEVER: it does not. */
int64_t admin_deadline(const struct client *client);
void admin_timeout(struct client *client);
/* A cancel request for it: what it waits for is given up. */
void admin_cancel(struct client *client);
/* It is in the middle of an answer; waiting for something is none. */
bool admin_is_busy(const struct client *client);
/* The client is gone. */
void admin_end(struct client *client);

/* Where a client is, for rows: "" if that is not known yet. */
struct admin_place {
    const char *role;
    const char *database;
};
void admin_place_of(const struct client *client, struct admin_place *place);

/* The number by which KILL_CLIENT names a client, from what tells it from all others: its count at
 * the worker that has accepted it, and which worker that was. */
static inline uint64_t admin_id(uint64_t sequence)
{
    return (sequence & ((UINT64_C(1) << 48) - 1)) << 6 | sequence >> 48;
}

#endif
