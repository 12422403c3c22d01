/*
 * One PostgreSQL server of the demo: its configuration, its start, its end.
 *
 *     DOWN --start--> STARTING --answers a query--> UP --ends by itself--> DOWN
 *                         |                          |
 *                         +------- stop -------------+-----------------> DOWN
 *
 * The postmaster is our direct child, not pg_ctl's: so its end is seen at once, with its exit
 * status, and the kernel tells it to shut down cleanly should this process die, kill -9 included.
 *
 * Configuration files are written anew at each start: ports may have moved, and what the demo needs
 * must hold whatever somebody tried. What ALTER SYSTEM sets is PostgreSQL's own file, read behind
 * ours, and stays.
 */
#ifndef HF_CLI_DEMO_SERVER_H
#define HF_CLI_DEMO_SERVER_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cli/demo_folder.h"
#include "cli/programs.h"
#include "os/child.h"
#include "pg/conn.h"

/* The system role that only the unix socket lets in, and the one of the psql lines. */
#define DEMO_SUPERUSER  "postgres"
#define DEMO_REPLICATOR "replicator"
#define DEMO_USER       "demo"
#define DEMO_DATABASE   "demo"

/* Listening ports stay below the kernel's range for outgoing connections, which would take them
 * away now and then. */
#define DEMO_PORT_MAX 32767

struct demo_server {
    char name[32];
    int port;     /* 0: none chosen yet */
    int upstream; /* whom it follows, a port; 0: it is the primary */
    struct child child;
    int64_t log_from;   /* where this start's lines begin in its log */
    int64_t started_ns; /* of the start that was tried last */
};

/* What all servers share; borrowed. */
struct demo_place {
    const struct demo_folder *folder;
    const struct programs *programs;
    int stop_fd; /* readable once the user wants to stop */
};

/* DIR/NAME. Returns out. */
char *demo_server_data(const struct demo_place *place, const struct demo_server *server,
                       char out[PATH_MAX]);

/* DIR/log/NAME.log. Returns out. */
char *demo_server_log(const struct demo_place *place, const struct demo_server *server,
                      char out[PATH_MAX]);

/* True if it has a data folder: made by initdb or a base backup, whole. */
bool demo_server_exists(const struct demo_place *place, const struct demo_server *server);

/* True if it is made to follow another server. A replica that somebody has promoted is none any
 * longer, and stays so. */
bool demo_server_is_replica(const struct demo_place *place, const struct demo_server *server);

/* Writes the configuration and starts the postmaster; does not wait for it to answer. */
enum hf_rc HF_MUST_USE demo_server_start(const struct demo_place *place, struct demo_server *server,
                                         struct hf_err *err);

/* Waits until it answers. Fails if it ends, if it takes longer than a minute (it is stopped then),
 * or with HF_RC_AGAIN if the user wants to stop. */
enum hf_rc HF_MUST_USE demo_server_await(const struct demo_place *place, struct demo_server *server,
                                         struct hf_err *err);

/* Connects as superuser through the socket. */
enum hf_rc HF_MUST_USE demo_server_connect(const struct demo_place *place,
                                           const struct demo_server *server, const char *database,
                                           int64_t deadline_ns, struct conn *conn,
                                           struct hf_err *err);

/* Asks it to shut down, in fast mode: sessions are ended, and what is committed is on disk. */
void demo_server_ask_to_stop(const struct demo_server *server);

/* Waits for that, and hurries it on: each time the user asks once more or patience ends (20 s, then
 * 5 s), a harder signal follows. After this it does not run. True if the gentle way was enough. */
bool demo_server_await_stop(const struct demo_place *place, struct demo_server *server);

/* Stops a postmaster that an earlier demo left in this server's data folder. `*found` tells if
 * there was one. Fails if it would not go, or is not ours to stop. */
enum hf_rc HF_MUST_USE demo_server_stop_leftover(const struct demo_place *place,
                                                 const struct demo_server *server, bool *found,
                                                 struct hf_err *err);

/* True if its log says, since its last start, that somebody else has its port. */
bool demo_server_lost_its_port(const struct demo_place *place, const struct demo_server *server);

#endif
