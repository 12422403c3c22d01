/*
 * The first bytes of a client's connection, up to and with its StartupMessage or CancelRequest.
 *
 *                  .--------- N ---------.
 *                  v                     |
 *     bytes --> startup_read() --> SSLRequest, GSSENCRequest        each of them at most once
 *                  |    |               | S
 *     0x16 first   |    |               v
 *     (direct TLS) |    |         TLS handshake --> startup_encrypted() --> startup_read()
 *                  v    v
 *        TLS handshake  StartupMessage (login follows), CancelRequest (the connection ends)
 *
 * startup_read() is given all that was received and not consumed, from the first byte of a packet
 * on, as often as more arrives. It copies nothing: a packet's views borrow the view given, and the
 * caller drops `packet.size` bytes when it is done with them.
 *
 * Rules that clients are held to
 *  1. A packet has at most STARTUP_SIZE_MAX bytes, as PostgreSQL has it; a longer one is refused
 *     when its length is in view, so nobody waits for it.
 *  2. Nothing may follow an SSLRequest or a GSSENCRequest before it is answered. What does follow
 *     was put there by somebody in between, who hopes that it is taken for what the client says
 *     once the connection is encrypted (CVE-2021-23222 and its kin); the connection is refused. The
 *     caller must not read from the socket between startup_read() and its answer.
 *  3. Direct TLS (PostgreSQL 17) is recognised by the very first byte only. Whoever does the
 *     handshake must demand ALPN "postgresql": without, a client that was tricked into speaking
 *     another protocol to us would not notice.
 *  4. After the first error every call says STARTUP_BAD.
 *
 * Protocol 3.0 to 3.2 is spoken. A client may ask for more (3.9999 is how libpq 19 looks for
 * servers that cannot negotiate) and for options `_pq_.NAME`, of which none is known. Both is
 * answered by one NegotiateProtocolVersion, before the authentication; startup_must_negotiate()
 * tells. Those options are never settings of the session.
 */
#ifndef HF_WIRE_STARTUP_H
#define HF_WIRE_STARTUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sv.h"

#define STARTUP_SIZE_MAX 10000 /* of a packet, its length word included */

#define STARTUP_CANCEL_KEY_MIN 4
#define STARTUP_CANCEL_KEY_MAX 256

/* Protocol versions as they stand in a StartupMessage. */
#define STARTUP_VERSION(major, minor) ((uint32_t)(major) << 16 | (uint32_t)(minor))
#define STARTUP_VERSION_OLDEST        STARTUP_VERSION(3, 0)
#define STARTUP_VERSION_NEWEST        STARTUP_VERSION(3, 2)

/* What stands in its place for the other requests. */
#define STARTUP_CODE_CANCEL STARTUP_VERSION(1234, 5678)
#define STARTUP_CODE_SSL    STARTUP_VERSION(1234, 5679)
#define STARTUP_CODE_GSSENC STARTUP_VERSION(1234, 5680)

enum startup_kind {
    STARTUP_MORE,       /* not complete */
    STARTUP_BAD,        /* startup_error() says why */
    STARTUP_DIRECT_TLS, /* the bytes in view are a TLS ClientHello: nothing is consumed */
    STARTUP_SSL,        /* to be answered with the byte S or N */
    STARTUP_GSSENC,     /* to be answered with the byte N */
    STARTUP_CANCEL,     /* packet.pid and packet.key; never answered */
    STARTUP_SESSION,    /* packet.session */
};

/* What a client wants of the write-ahead log, by the parameter `replication`. */
enum startup_replication {
    STARTUP_REPLICATION_NONE,
    STARTUP_REPLICATION_PHYSICAL,
    STARTUP_REPLICATION_DATABASE, /* connected to a database: logical */
};

/* A StartupMessage. Of parameters that come twice the last one counts, as in PostgreSQL. */
struct startup_session {
    uint32_t version_asked;
    uint32_t version; /* to be spoken: the lower one of version_asked and our newest */
    enum startup_replication replication;
    uint32_t unknown_options; /* how many `_pq_.NAME` */
    struct sv user;           /* never empty */
    struct sv database;       /* the user's name if none was given */
    struct sv options;        /* raw: startup_option_next() reads it */
    struct sv parameters;     /* all of them, for startup_parameter_next() */
};

struct startup_packet {
    size_t size; /* bytes to consume */
    uint32_t pid;
    struct sv key; /* 4 to 256 bytes */
    struct startup_session session;
};

struct startup {
    bool is_encrypted;
    bool is_ssl_asked;
    bool is_gssenc_asked;
    uint8_t error;   /* enum startup_error, private */
    uint32_t number; /* of the error: the length or version that was refused */
};

void startup_init(struct startup *startup);

enum startup_kind startup_read(struct startup *startup, struct sv view,
                               struct startup_packet *packet);

/* The TLS handshake is done, after an SSLRequest or a direct one: what comes now is decrypted, and
 * is a StartupMessage or a CancelRequest. */
void startup_encrypted(struct startup *startup);

/* Why, as PostgreSQL says it, with its SQLSTATE; HF_OK if nothing was refused. */
enum hf_rc startup_error(const struct startup *startup, struct hf_err *err);

/* A NegotiateProtocolVersion is due: before the authentication, and once. */
static inline bool startup_must_negotiate(const struct startup_session *session)
{
    return session->version != session->version_asked || session->unknown_options > 0;
}

/* What a parameter of a StartupMessage is for. */
enum startup_parameter_kind {
    STARTUP_USER,
    STARTUP_DATABASE,
    STARTUP_OPTIONS,
    STARTUP_REPLICATION,
    STARTUP_PROTOCOL, /* `_pq_.NAME`: of the protocol, not of the session */
    STARTUP_SETTING,  /* application_name, client_encoding and every other one */
};

struct startup_parameter {
    enum startup_parameter_kind kind;
    struct sv name;
    struct sv value;
};

/* The parameters in their order: `rest` starts as session.parameters. */
bool startup_parameter_next(struct sv *rest, struct startup_parameter *parameter);

/* What a word of the parameter `options` asks for. */
enum startup_option_kind {
    STARTUP_OPTION_SETTING, /* -c NAME=VALUE, -cNAME=VALUE or --NAME=VALUE */
    STARTUP_OPTION_SWITCH,  /* any other switch of the server (-S 64, -e): `value` is the word */
    STARTUP_OPTION_BAD,     /* a -c without a NAME=VALUE: `value` is what stands in its place */
};

struct startup_option {
    enum startup_option_kind kind;
    struct sv name; /* of a setting; a dash in it has become an underscore, as in PostgreSQL */
    struct sv value;
};

/* The words of `options`, split and unescaped as PostgreSQL does it: blanks separate, a backslash
 * takes the next character as it is. `rest` starts as session.options. `scratch` has at least
 * `rest->size` bytes, and holds the words' text until the next call. */
bool startup_option_next(struct sv *rest, char *scratch, struct startup_option *option);

#endif
