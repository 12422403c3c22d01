/*
 * Letting a client in: from its first byte to the greeting that ends in ReadyForQuery.
 *
 *     what does it speak (wire/startup.h)
 *         -> who is it, and may it come (access.h, wire/authenticate.h)
 *         -> its pool, and in session mode its own server connection
 *         -> greeting
 *
 * What this needs is lent to the client until it is in. Nothing here waits: hashing is done a slice
 * at a time by the worker, and a login that failed is answered after a while (slow.h), so that who
 * guesses passwords waits and everybody else does not.
 */
#ifndef HF_PROXY_ADMISSION_H
#define HF_PROXY_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "net/address.h"
#include "net/loop.h"
#include "net/tls.h"
#include "proxy/access.h"
#include "proxy/proxy_config.h"
#include "wire/authenticate.h"
#include "wire/startup.h"

struct client;
struct server;

struct admission {
    struct list_node work; /* of worker->working: a slice of hashing is to be done */
    struct client *client;
    struct access *access; /* held */
    struct user *user;     /* NULL: not known */
    const struct hba_rule *rule;
    struct list_node asking;    /* of worker->asking: its user is being looked up */
    int64_t asked_ns;           /* since when; 0: it was not */
    struct auth_secret *secret; /* that `user` is of, held; NULL: of another, or none */
    enum auth_nothing nothing;
    bool was_looked_up;
    struct startup startup;
    struct authenticate_config config;
    struct authenticate authenticate;
    char *packet; /* the parameters of the StartupMessage, for the server in session mode */
    size_t packet_size;
    uint32_t version;
    enum startup_replication replication;
    bool is_authenticating;
    char role[PROXY_NAME_SIZE];
    char database[PROXY_NAME_SIZE];
    char address[PEER_TEXT_SIZE];
    char identity[TLS_NAME_SIZE]; /* by its certificate or socket */
    struct hf_err err;            /* DELAYED: what is to be told */
};

void admission_begin(struct client *client);
void admission_end(struct client *client);
void admission_event(struct client *client, const struct loop_event *event);

/* A slice of hashing. */
void admission_work(struct admission *admission);

/* Its user was looked up, or could not be. */
void admission_asked(struct admission *admission);

/* DELAYED: now it is told. */
void admission_denied(struct client *client);

/* Everything a client is told before its first request; `server` has told it to us. False: the
 * client is gone. */
bool admission_greet(struct client *client, const struct server *server);

#endif
