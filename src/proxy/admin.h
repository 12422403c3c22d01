/*
 * The admin console: the database `holdfast`, for the users in admin_users and stats_users.
 *
 *     SHOW POOLS | CLIENTS | SERVERS | STATS | DATABASES | CONFIG | VERSION | HELP
 *     RELOAD, SHUTDOWN                                            admin_users only
 *
 * Columns are PgBouncer's where it has the same thing. Both query protocols are answered, as not
 * every driver speaks the simple one.
 *
 * What a command shows is with all workers. A request goes from one to the next, each adds what it
 * has, and the last one brings it back (admin_gather.h): nobody's memory is read by another thread,
 * and nobody waits.
 */
#ifndef HF_PROXY_ADMIN_H
#define HF_PROXY_ADMIN_H

#include <stdbool.h>

#include "net/loop.h"

struct client;
struct gather;

#define ADMIN_DATABASE "holdfast"

/* A client that has logged in to the console; refused if it is none of the users for it. */
void admin_enter(struct client *client);
void admin_event(struct client *client);
/* What was gathered for it is here. */
void admin_gathered(struct client *client, struct gather *gather);
/* The client is gone. */
void admin_end(struct client *client);

#endif
