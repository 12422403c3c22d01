/*
 * application_name with the client's address behind it, "till - 10.0.0.7:40222", so that servers
 * know who is behind the proxy: pg_stat_activity and their logs show it. As PgBouncer writes it,
 * cut to PostgreSQL's 63 bytes in front of the address. A client without a name is "app".
 *
 * Each such client has settings of its own, so a connection that it gets is told its name first
 * unless it served the same client last; in session mode its connection serves nobody else later.
 */
#ifndef HF_PROXY_APPLICATION_NAME_H
#define HF_PROXY_APPLICATION_NAME_H

#include "base/sv.h"
#include "net/address.h"

struct client;

#define APPLICATION_NAME_SIZE 64 /* PostgreSQL's NAMEDATALEN */

/* The name with the address; returns what was written to `out`. */
struct sv application_name_with(struct sv name, const struct peer *peer,
                                char out[APPLICATION_NAME_SIZE]);
/* Without it, if it is there. */
struct sv application_name_plain(struct sv name, const struct peer *peer);

/* What the client's is now, copied and cut; returns out. */
const char *application_name_of(const struct client *client, char out[APPLICATION_NAME_SIZE]);

/* A client that is logging in gets it. Without room for it in the store it keeps its own. */
void application_name_add_host(struct client *client);

#endif
