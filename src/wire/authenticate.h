/*
 * Authenticating a client: the proxy as a server, between the StartupMessage (and the
 * NegotiateProtocolVersion that may be due) and AuthenticationOk.
 *
 *     authenticate_begin()         writes the request, or at once AuthenticationOk (trust, cert)
 *         |
 *         v     MORE: send what was written, read more
 *     authenticate_feed() ---->  WORK: authenticate_work(), a slice of hashing at a time
 *                                OK, DENIED, GONE: the end
 *
 * authenticate_feed() is given all bytes that were received and not consumed; the caller drops
 * `event.consumed` bytes. With OK the AuthenticationOk is written. With DENIED nothing is:
 * authenticate.err is what the client is to be told, as FATAL by build_error(), whenever the caller
 * finds it time (failed logins are slowed), and authenticate.log what only the log may tell.
 *
 * What is asked of a client follows the rule's method and the form of the user's secret, see
 * password.h, as in PostgreSQL:
 *
 *     method          plain                 md5...                SCRAM-SHA-256$...
 *     password        compared              hashed, compared      stretched, compared
 *     md5             md5                   md5                   SCRAM
 *     scram-sha-256   SCRAM (stretched)     SCRAM, always wrong   SCRAM
 *
 * A user who does not exist, or has no secret, is given as an empty secret and takes the way of one
 * whose secret has the form config.mock: SCRAM with a salt that is always the same for that name,
 * and an answer that is always wrong, told in the same words and time.
 *
 * A plain secret needs a verifier for SCRAM, which takes thousands of hashes: it is made here once
 * (WORK), authenticate_made() gives it, and the caller hands it in from then on. Who does not want
 * that first login to be told from one of an unknown user by its 2 ms makes all of them at start.
 *
 * Invariants
 *  1. OK only for: trust; an identity that may be the user; a client that has the user's secret.
 *     And never without the certificate that the rule demands.
 *  2. No client is asked for its password in plain on a connection that others can read.
 *  3. What an answer is compared with is compared in constant time, and no text that is sent
 *     depends on why it was wrong.
 *  4. OK, DENIED and GONE are final, and every later call says the same.
 *
 * The configuration is borrowed until the end, with everything it points to. authenticate_wipe() at
 * the end, whatever the end was. The limit of time is the caller's.
 */
#ifndef HF_WIRE_AUTHENTICATE_H
#define HF_WIRE_AUTHENTICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/sv.h"
#include "wire/frame.h"
#include "wire/password.h"
#include "wire/scram.h"
#include "wire/scram_server.h"

/* By the rule of pg_hba.conf that fits. */
enum authenticate_method {
    AUTHENTICATE_NO_RULE, /* none fits: refused */
    AUTHENTICATE_REJECT,
    AUTHENTICATE_TRUST,
    AUTHENTICATE_PASSWORD,
    AUTHENTICATE_MD5,
    AUTHENTICATE_SCRAM,
    AUTHENTICATE_CERT,
    AUTHENTICATE_PEER,
};

/* What a rule demands of the client's certificate beside its method. */
enum authenticate_clientcert {
    AUTHENTICATE_CLIENTCERT_NO,
    AUTHENTICATE_CLIENTCERT_CA,   /* that there is one, which was verified */
    AUTHENTICATE_CLIENTCERT_FULL, /* and that `is_identified` */
};

#define AUTHENTICATE_SALT_SIZE 16

struct authenticate_config {
    enum authenticate_method method;

    /* Who comes, and from where: for the texts that PostgreSQL uses. */
    struct sv user;
    struct sv database;
    struct sv address;   /* empty for a unix socket */
    bool is_replication; /* physical: no database is named */
    bool is_local;       /* a unix socket */
    bool is_encrypted;

    struct sv secret;                      /* empty: no such user, or none that could log in */
    const struct scram_verifier *verifier; /* of a plain secret, made earlier; or NULL */
    struct scram_binding binding;          /* hash of our certificate; empty: no -PLUS is offered */

    /* For cert, peer and clientcert: who the client is by its certificate, or by the kernel; empty
     * if neither says. Whether that may be this user is for the caller, who has the name maps. */
    struct sv identity;
    bool is_identified;
    bool has_certificate; /* one that was verified */
    enum authenticate_clientcert clientcert;

    enum password_kind mock; /* what an unknown user is taken for */
    struct sv mock_seed;     /* a secret of this proxy that stays the same */
    uint32_t iterations;     /* of mocks, and of verifiers that are made; not 0 */

    /* All three fresh for each client. */
    char random[SCRAM_NONCE_BYTES];
    char salt[AUTHENTICATE_SALT_SIZE]; /* of a verifier that is made */
    char md5_salt[PASSWORD_SALT_SIZE];
};

enum authenticate_kind {
    AUTHENTICATE_MORE,
    AUTHENTICATE_WORK,   /* call authenticate_work() */
    AUTHENTICATE_OK,     /* AuthenticationOk is written */
    AUTHENTICATE_DENIED, /* authenticate.err, and for the log authenticate.log */
    AUTHENTICATE_GONE,   /* the client said Terminate, as psql does before it asks for a password */
};

struct authenticate_event {
    enum authenticate_kind kind;
    size_t consumed; /* bytes at the front of the view that are done with */
};

/* What the log may tell and the client may not: that a user is unknown, that a secret cannot do
 * what a rule asks for. Never a secret. */
#define AUTHENTICATE_LOG_SIZE 192

struct authenticate {
    const struct authenticate_config *config; /* borrowed */
    struct hf_err err;
    char log[AUTHENTICATE_LOG_SIZE]; /* empty if there is nothing to add */

    /* private */
    uint8_t state;
    uint8_t end;  /* enum authenticate_kind, or 0 */
    bool is_mock; /* the user is unknown: whatever the client says is wrong */
    bool is_made;
    bool has_keys;
    struct frame frame;
    struct scram_verifier verifier;
    struct scram_server scram;
    struct scram_stretch stretch;
    struct scram_keys keys;
    struct secret password;
};

/* `out` should have 512 bytes of room, here and below; too little is a failure: DENIED. */
void authenticate_begin(struct authenticate *authenticate, const struct authenticate_config *config,
                        struct buffer *out, struct authenticate_event *event);

void authenticate_feed(struct authenticate *authenticate, struct sv view, struct buffer *out,
                       struct authenticate_event *event);

/* A slice of SCRAM's hashing, about 0.3 ms; nothing is consumed. */
void authenticate_work(struct authenticate *authenticate, struct buffer *out,
                       struct authenticate_event *event);

/* For pass-through, after OK: the keys that the client has shown to have, with the verifier they
 * belong to (also after `password` with a SCRAM secret); NULL if there are none. Valid until
 * authenticate_wipe(). */
const struct scram_keys *authenticate_keys(const struct authenticate *authenticate,
                                           const struct scram_verifier **verifier);

/* For pass-through, after OK by `password`: what the client said; else empty. */
struct sv authenticate_password(const struct authenticate *authenticate);

/* The verifier that was made of a plain secret, to be handed in from now on; NULL if none was. It
 * is good whether or not the client was let in. */
const struct scram_verifier *authenticate_made(const struct authenticate *authenticate);

/* Overwrites everything secret, and all the rest. */
void authenticate_wipe(struct authenticate *authenticate);

#endif
