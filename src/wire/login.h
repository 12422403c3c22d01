/*
 * Logging into a PostgreSQL server: the proxy's own server side, from the first byte to the
 * server's first ReadyForQuery, for one connection.
 *
 *     login_begin()                     writes the SSLRequest, or at once the StartupMessage
 *         |
 *         v     START_TLS: handshake, then login_encrypted(), which writes the StartupMessage
 *     login_feed() -- event -->  NO_TLS, NEGOTIATED, NOTICE, PARAMETER, KEY: feed on
 *         ^   |
 *         |   v  MORE: send what was written, read more
 *         |   v  WORK: login_work(), a slice of hashing at a time, with other work in between
 *         '---'  READY, FAILED: the end. Before READY config.query is run, if there is one
 *
 * login_feed() is given all bytes that were received and not consumed, and consumes at most one
 * message: the caller drops `event.consumed` bytes and calls again, until MORE. Feed again also
 * when no byte is left over. What is to be sent is appended to `out`, to be sent whenever control
 * comes back. Views in an event borrow the view that was fed.
 *
 * The configuration is borrowed until the end, with everything it points to.
 *
 * Invariants
 *  1. READY comes only from a server that was asked for what the configuration allows: no password
 *     leaves in plain over a connection that others can read, and none is sent or proved by a
 *     method that is not allowed.
 *  2. Where a server was logged into by SCRAM, it has proved that it knows the user's secret.
 *  3. What was received in plain is never taken for something that was encrypted (CVE-2021-23222).
 *  4. A server can make it wait, but not work or hold more than the limits below.
 *  5. READY and FAILED are final, and every later call says the same.
 *
 * login_wipe() at the end, whatever the end was. The limit of time is the caller's.
 */
#ifndef HF_WIRE_LOGIN_H
#define HF_WIRE_LOGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/sv.h"
#include "wire/build.h"
#include "wire/frame.h"
#include "wire/scram.h"
#include "wire/scram_client.h"
#include "wire/startup.h"

/* What a view may have to hold, for a message to be seen whole. A longer NoticeResponse is skipped,
 * of a longer ErrorResponse the beginning is told, and any other longer message is refused. */
#define LOGIN_MESSAGE_MAX 16384

/* What a server may say before it is ready. PostgreSQL 15 says about 20 messages with 500 bytes;
 * notices of login triggers come on top. */
#define LOGIN_MESSAGES_MAX 1000
#define LOGIN_BYTES_MAX    (1 << 20)

/* As libpq's. Whether a certificate is to be verified is for who does the handshake: here the last
 * three are the same. */
enum login_sslmode {
    LOGIN_SSL_DISABLE,
    LOGIN_SSL_ALLOW,  /* in plain; if the server refuses that, again with TLS: login_again() */
    LOGIN_SSL_PREFER, /* with TLS if the server has it; if it refuses us then, again in plain */
    LOGIN_SSL_REQUIRE,
    LOGIN_SSL_VERIFY_CA,
    LOGIN_SSL_VERIFY_FULL,
};

/* What the server may ask for: bits of a set. */
enum login_method {
    LOGIN_METHOD_NONE = 1,      /* nothing: trust, or the certificate shown in the handshake */
    LOGIN_METHOD_CLEARTEXT = 2, /* and then only over TLS or a unix socket */
    LOGIN_METHOD_MD5 = 4,
    LOGIN_METHOD_SCRAM = 8,
    LOGIN_METHODS_ALL = 15,
};

struct login_config {
    struct sv user;
    struct sv database; /* empty: none is named, as for physical replication */
    uint32_t version;   /* to ask for: STARTUP_VERSION(3, 0) to STARTUP_VERSION_NEWEST */

    /* All other parameters of the StartupMessage: settings, options, replication. */
    const struct build_parameter *parameters;
    size_t parameter_count;

    enum login_sslmode sslmode;
    bool is_local;     /* a unix socket: TLS is not asked for, as in libpq */
    bool is_encrypted; /* TLS is on from the first byte (direct TLS): `binding` counts */
    struct scram_binding binding;

    unsigned methods; /* a set of enum login_method */

    /* What proves who we are, in any of the forms of password.h; empty if there is none. With a
     * verifier alone nobody can log in: see `keys`. */
    struct sv secret;

    /* Pass-through, or what login_made() gave earlier: these keys belong to this verifier, and are
     * used if the server asks for its salt and iterations. Both or neither. A plain secret beside
     * them is stretched if they do not fit. */
    const struct scram_keys *keys;
    const struct scram_verifier *verifier;

    char random[SCRAM_NONCE_BYTES]; /* fresh for each login */

    /* To be run before READY, as a simple Query; empty: none. What it answers is passed over, an
     * error is a failure of the login. */
    struct sv query;
};

enum login_kind {
    LOGIN_MORE,
    LOGIN_START_TLS,  /* do the handshake, then login_encrypted() */
    LOGIN_NO_TLS,     /* the server has no TLS; going on in plain, as `prefer` allows */
    LOGIN_NEGOTIATED, /* login.version is lower than asked for */
    LOGIN_NOTICE,     /* `message` */
    LOGIN_PARAMETER,  /* `name` and `value`: a ParameterStatus */
    LOGIN_KEY,        /* login.pid and login_key() */
    LOGIN_WORK,       /* call login_work() */
    LOGIN_READY,      /* outside of a transaction; a server that says otherwise has FAILED */
    LOGIN_FAILED,     /* login.err, and `message` if the server itself said it */
};

struct login_event {
    enum login_kind kind;
    size_t consumed; /* bytes at the front of the view that are done with */
    struct sv name;
    struct sv value;
    struct sv message; /* a whole NoticeResponse or ErrorResponse, with its header */
};

struct login {
    const struct login_config *config; /* borrowed */
    uint32_t version;                  /* that is spoken */
    uint32_t pid;                      /* of the server's process; 0 until it is told */

    /* Why it failed. In the server's own words, with its SQLSTATE, if it said why: what may be well
     * the next time (57P03 while it starts up, 53300 when it is full, and their classes) is
     * HF_RC_AGAIN, class 28 is HF_RC_DENIED, anything else HF_RC_PEER. */
    struct hf_err err;

    /* private */
    uint8_t state;
    uint8_t end;   /* enum login_kind READY or FAILED, or 0 */
    uint8_t again; /* enum login_again */
    bool is_encrypted;
    bool is_negotiated;
    bool is_asked;    /* for a proof of who we are */
    bool is_accepted; /* AuthenticationOk was said */
    bool is_made;     /* `keys` were stretched here */
    bool is_in_query; /* config.query was sent: what fails now is that */
    uint16_t key_size;
    uint16_t messages;
    uint32_t bytes;
    struct frame frame;
    struct scram_binding binding;
    struct scram_client scram;
    struct scram_stretch stretch;
    struct scram_keys keys;
    char key[STARTUP_CANCEL_KEY_MAX];
};

/* `out` should have room for a StartupMessage, STARTUP_SIZE_MAX at the most; what does not fit is a
 * failure of the login. Not HF_OK: the login has FAILED, login.err says why. */
enum hf_rc login_begin(struct login *login, const struct login_config *config,
                       struct buffer *out) HF_MUST_USE;

void login_feed(struct login *login, struct sv view, struct buffer *out, struct login_event *event);

/* The handshake asked for by START_TLS is done; `binding` is the hash of the server's certificate,
 * or empty. Fails like login_begin(). */
enum hf_rc login_encrypted(struct login *login, const struct scram_binding *binding,
                           struct buffer *out) HF_MUST_USE;

/* A slice of SCRAM's hashing, about 0.3 ms. Gives WORK if there is more to do, MORE when the proof
 * has been written, or FAILED; nothing is consumed. */
void login_work(struct login *login, struct buffer *out, struct login_event *event);

/* The cancel key that belongs to login.pid: 4 to 256 bytes, or none if the server gave none. */
static inline struct sv login_key(const struct login *login)
{
    return sv_from(login->key, login->key_size);
}

/* What was stretched from a plain secret, to be kept for the next login: true if something was, and
 * the server has accepted it. */
bool login_made(const struct login *login, struct scram_keys *keys,
                struct scram_verifier *verifier);

/* After a failure: what else the sslmode allows to be tried, on a new connection and with this
 * sslmode in the configuration. PLAIN is said also of a handshake that failed, before
 * login_encrypted(). */
enum login_again {
    LOGIN_AGAIN_NO,
    LOGIN_AGAIN_PLAIN, /* LOGIN_SSL_DISABLE */
    LOGIN_AGAIN_TLS,   /* LOGIN_SSL_REQUIRE */
};

enum login_again login_again(const struct login *login);

/* Overwrites everything secret, and all the rest. */
void login_wipe(struct login *login);

#endif
