/*
 * Users that auth_file does not name: where they are asked for, and logins that wait for it.
 *
 * A client's database says where: its auth_user asks its auth_query in auth_dbname. That is an
 * entry of databases, or else a database at the client's database's own servers; none at all means
 * the database itself. For the console it has to be an entry.
 *
 * Logins that wait are in worker->asking, in CLIENT_AUTHENTICATING and under its limit of time.
 */
#ifndef HF_PROXY_AUTH_QUERY_H
#define HF_PROXY_AUTH_QUERY_H

#include <stdbool.h>

#include "proxy/auth_cache.h"
#include "proxy/proxy_config.h"

struct access;
struct admission;
struct worker;

enum auth_query_state {
    AUTH_QUERY_DONE, /* admission->user and admission->secret are what there is */
    AUTH_QUERY_WAITS,
    AUTH_QUERY_FAILED, /* err */
};

/* For a login, which has its access; WAITS: admission_asked() will be called. */
enum auth_query_state auth_query_begin(struct admission *admission, struct hf_err *err);

/* The login ends, in whatever way. */
void auth_query_end(struct admission *admission);

/* Its secret did not fit. */
void auth_query_doubt(struct admission *admission);

/* WORKER_ANSWERED: those who wait look again. */
void auth_query_answered(struct worker *worker);

/* For entering a server of `database` as `role`: held, or NULL. */
struct auth_secret *auth_query_secret(struct worker *worker, struct access *access,
                                      struct sv database, struct sv role);

/* A server has refused the secret. */
void auth_query_refused(struct worker *worker, struct access *access, struct sv database,
                        struct sv role);

#endif
