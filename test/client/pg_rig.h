/*
 * Real PostgreSQL servers for the tests of the library: a primary, standbys of it, all in a scratch
 * folder and gone with the test, even if it crashes.
 *
 *     struct rig rig;
 *     rig_begin(&rig, 1);                            a primary and one standby
 *     ... rig.servers[0].port ...
 *     rig_kill(&rig.servers[0]);                     kill -9 of it and of all its backends
 *     rig_promote(&rig.servers[1]);
 *     rig_end(&rig);
 *
 * What goes wrong here is no failure of what is tested: it prints why and aborts.
 *
 * Servers listen on 127.0.0.1 and on a unix socket in their folder; the superuser is "postgres" and
 * everybody is trusted. One thread at a time.
 */
#ifndef HF_TEST_CLIENT_PG_RIG_H
#define HF_TEST_CLIENT_PG_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define RIG_SERVERS_MAX 3

struct rig_server {
    char folder[64]; /* of the socket, the log and, as "data", the cluster */
    int port;
    pid_t pid; /* 0: not running */
    int keeper;
};

struct rig {
    char folder[48];
    int keeper; /* of the process that cleans up, also after a crash */
    size_t count;
    struct rig_server servers[RIG_SERVERS_MAX];
};

/* Makes and starts a primary (servers[0]) and so many streaming standbys of it. */
void rig_begin(struct rig *rig, size_t standbys);
void rig_end(struct rig *rig);

void rig_start(struct rig_server *server);
void rig_stop(struct rig_server *server); /* fast shutdown */
void rig_kill(struct rig_server *server); /* SIGKILL, backends first */

/* SIGSTOP or SIGCONT to the server and each of its processes. */
void rig_freeze(const struct rig_server *server);
void rig_thaw(const struct rig_server *server);

/* Returns when it takes writes. */
void rig_promote(const struct rig_server *server);

/* Runs sql as superuser over the unix socket. The first value of the last result is written to
 * `text` (may be NULL). */
void rig_sql(const struct rig_server *server, const char *sql, char *text, size_t size);
long rig_number(const struct rig_server *server, const char *sql);

/* Until the standby has replayed what the primary had written when this was called. */
void rig_wait_replayed(const struct rig_server *primary, const struct rig_server *standby);

/* A port below 32768 that nobody listens on. */
int rig_free_port(void);

#endif
