/*
 * Which of a database's hosts the next connection goes to, and whether a server has the role that
 * was asked for.
 *
 *     load_balance_hosts = disable         the first one that works: who fails is passed over, and
 *                                          tried first again after HOSTS_HOME_NS
 *     load_balance_hosts = round-robin     each connection begins at the next one
 *
 * A round is one try at each host. As long as a round is not over the next host is tried at once,
 * and a host is given little time only: so one that is dead delays nobody for long. Who is slow
 * gets the whole of server_connect_timeout in the rounds after.
 *
 * Plain data; one part of a pool's own.
 */
#ifndef HF_PROXY_HOSTS_H
#define HF_PROXY_HOSTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ns.h"
#include "base/sv.h"
#include "proxy/proxy_config.h"

#define HOSTS_HOME_NS    HF_SEC(30)
#define HOSTS_CONNECT_NS HF_MS(500) /* in the first round: until it has accepted */
#define HOSTS_LOGIN_NS   HF_SEC(2)  /* in the first round: until it has let us in */

struct hosts {
    uint32_t next;   /* where the next connection is tried */
    uint32_t failed; /* hosts passed over since one has worked */
    int64_t home_ns; /* when the first one is tried again; 0: it is the one in use */
};

/* The index of the host to try now. */
uint32_t hosts_turn(struct hosts *hosts, const struct proxy_database *database, int64_t now_ns);

/* It did not work. True: there are others left in this round. */
bool hosts_failed(struct hosts *hosts, const struct proxy_database *database, uint32_t index);

void hosts_worked(struct hosts *hosts, const struct proxy_database *database, uint32_t index,
                  int64_t now_ns);

/* How long an attempt may take: to be accepted, or in all. */
int64_t hosts_patience(const struct hosts *hosts, const struct proxy_database *database,
                       bool is_accepted, int64_t timeout_ns);

/* Has the server the role that target_session_attrs asks for? By what it reports of itself at
 * login; empty where it does not, as before PostgreSQL 14. False: `err` says why not. */
bool hosts_fits(const struct hosts *hosts, const struct proxy_database *database,
                struct sv in_hot_standby, struct sv read_only, struct hf_err *err);

#endif
