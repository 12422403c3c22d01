/*
 * TLS as a filter over bytes: it reads no socket. Ciphertext goes in and plaintext comes out, and
 * the other way round; whoever owns the connection moves both.
 *
 *                  tls_receive()
 *     socket --- wire ---> | TLS | ---> plain ---  owner
 *            <-- wire ---- |     | <--- plain ---
 *                   tls_send()
 *
 *     struct tls *tls;
 *     tls_new(&tls, context, &options, err);
 *     while (tls_has_output(tls)) ...                     a client speaks first
 *
 *     on bytes from the socket:
 *         n = tls_receive(tls, &wire, block, room);       n bytes of plaintext, perhaps none
 *         while (tls_has_output(tls))                     the handshake's answer, a ticket, ...
 *             m = tls_send(tls, &nothing, out, room);     m bytes for the socket
 *         look at tls_state(tls)
 *     on bytes for the peer:
 *         m = tls_send(tls, &plain, out, room);           takes what it encrypts off plain's front
 *
 * A connection's life, tls_state():
 *
 *     TLS_HANDSHAKE --done--> TLS_OPEN --the peer's close_notify--> TLS_ENDED   may be sent to
 *          `---------------------+-------- any error -------------> TLS_FAILED  tls_error(): why
 *
 * Both directions are independent: a connection that cannot send for a while still receives, and
 * KeyUpdate messages of TLS 1.3 take effect whatever is on its way. That holds because OpenSSL is
 * never left with a record that it could not write: tls_send() encrypts only what fits.
 *
 * Invariants
 *  1. Bytes of the wire are copied once, into the record that OpenSSL decrypts, and plaintext once.
 *  2. Ciphertext held here is at most one unfinished record received (OpenSSL's own), and for
 *     sending TLS_PENDING_MAX bytes, of the handshake, tickets and alerts only; no plaintext for
 *     sending. Plaintext held is what is left of one record for which there was no room.
 *  3. A connection in TLS_HANDSHAKE gives no plaintext and takes none; TLS_OPEN is reached only
 *     when everything that the context and the options demand of the peer is true.
 *  4. TLS_FAILED is final. What tls_has_output() then has is the alert that tells the peer why; it
 *     should be sent before the connection is closed.
 *
 * A context (certificates, authorities, limits) never changes: a reload makes a new one, and
 * connections keep the one they began with. Any thread may use a context; a connection belongs to
 * one thread at a time. Renegotiation, compression and early data are off, and nothing older than
 * TLS 1.2 is spoken.
 */
#ifndef HF_NET_TLS_H
#define HF_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"
#include "base/sv.h"
#include "os/mem.h"

struct tls;
struct tls_context;

/* What PostgreSQL's protocol is called in a handshake (ALPN), since version 17. */
#define TLS_ALPN_POSTGRESQL "postgresql"

/* ---- contexts ---- */

enum tls_side {
    TLS_SERVER, /* towards clients */
    TLS_CLIENT, /* towards servers */
};

enum tls_version {
    TLS_VERSION_DEFAULT = 0, /* at least 1.2, at most what OpenSSL has */
    TLS_VERSION_1_2,
    TLS_VERSION_1_3,
};

/* What a client demands of the server's certificate. libpq's sslmodes disable, allow, prefer and
 * require demand nothing; but where there is a file of authorities, libpq's require is verify-ca.
 */
enum tls_verify {
    TLS_VERIFY_NONE,
    TLS_VERIFY_CA,   /* verify-ca: an authority has signed it */
    TLS_VERIFY_FULL, /* verify-full: and it is made out to the host's name */
};

/* What a server asks of its clients. A certificate that is shown is always verified. */
enum tls_clients {
    TLS_CLIENTS_OFF,
    TLS_CLIENTS_OPTIONAL, /* PostgreSQL, once it has authorities: its rules look at it later */
    TLS_CLIENTS_REQUIRED,
};

/* Everything is borrowed until tls_context_new() returns. A text that is NULL or empty is not set.
 */
struct tls_config {
    enum tls_side side;

    const char *cert_file; /* PEM: our certificate, and those between it and its authority */
    const char *key_file;  /* PEM; readable for nobody but us (and root's group) */
    const struct secret *key_password; /* NULL: the key is not encrypted */
    const char *ca_file;  /* PEM: authorities for the peer; "system": the system's own */
    const char *crl_file; /* PEM: certificates that were called back */

    enum tls_verify verify;   /* a client's */
    enum tls_clients clients; /* a server's */

    enum tls_version min_version;
    enum tls_version max_version;
    const char *ciphers;       /* of TLS 1.2, in OpenSSL's notation */
    const char *cipher_suites; /* of TLS 1.3 */
    const char *groups;        /* of key exchange, as "X25519:P-256" */

    /* Protocols of ALPN, separated by commas. A client offers them; a server takes the first one
     * that the client offers too, and refuses a client that offers only others. */
    const char *alpn;
};

/* Reads the files and makes a context with one reference. Blocking: not for a worker's thread. The
 * memory of the context and of its connections comes from `mem`, which therefore must not be sealed
 * and must outlive them; what OpenSSL allocates itself is not counted there. */
enum hf_rc tls_context_new(struct tls_context **context, const struct tls_config *config,
                           struct mem *mem, struct hf_err *err) HF_MUST_USE;

/* One more reference; returns context. Every connection has one. */
struct tls_context *tls_context_hold(struct tls_context *context);
/* One less; NULL is allowed. */
void tls_context_drop(struct tls_context *context);

/* When our certificate expires, in seconds since 1970; INT64_MAX if there is none. */
int64_t tls_context_expires_s(const struct tls_context *context);

/* ---- connections ---- */

struct tls_options {
    /* A client's: the server's name as the user wrote it, or its address if that is what was
     * written. It is told to the server (SNI, names only), and verified by TLS_VERIFY_FULL. */
    const char *host_name;

    /* A client's: connections of one context with the same key resume each other's sessions, which
     * saves the certificate. It must name the server: "host:port". NULL: no resumption. */
    const char *session_key;

    /* The peer must agree to one of our protocols: direct TLS, where no SSLRequest came before. */
    bool demands_alpn;
};

/* Most that is held for sending: a handshake's flight with a long chain of certificates. */
#define TLS_PENDING_MAX 65536

/* Room with which tls_send() always does something. A record costs TLS_OVERHEAD bytes at the most.
 */
#define TLS_ROOM_MIN 2048
#define TLS_OVERHEAD 160

enum tls_state {
    TLS_HANDSHAKE,
    TLS_OPEN,
    TLS_ENDED,  /* the peer has closed its side in order; nothing more will be received */
    TLS_FAILED, /* see tls_error() */
};

/* `options` may be NULL for a server's; it is borrowed during the call. */
enum hf_rc tls_new(struct tls **tls, struct tls_context *context, const struct tls_options *options,
                   struct hf_err *err) HF_MUST_USE;

/* Wipes its keys. NULL is allowed. */
void tls_free(struct tls *tls);

/* Takes ciphertext off the front of `wire` and puts plaintext to `plain`; returns how many bytes of
 * that. Stops when `wire` is empty, when there is no more room, or at the end. `wire` may be empty,
 * to get what is left over; `room` may be 0, which is enough for a handshake. */
size_t tls_receive(struct tls *tls, struct sv *wire, char *plain, size_t room);

/* Plaintext is there already, for which the last tls_receive() had no room. */
bool tls_has_input(const struct tls *tls);

/* Puts to `wire` what is pending (tls_has_output()), and then takes plaintext off the front of
 * `plain`, encrypted. Returns how many bytes of ciphertext. `room` should be TLS_ROOM_MIN at the
 * least, and is used well from a full record (16 kB) on. Plaintext is left alone outside TLS_OPEN
 * and TLS_ENDED, and after tls_close(). */
size_t tls_send(struct tls *tls, struct sv *plain, char *wire, size_t room);

/* There are bytes to send that are no plaintext's: part of the handshake, a ticket, an alert. */
bool tls_has_output(const struct tls *tls);

enum tls_state tls_state(const struct tls *tls);

/* Why it has FAILED, in words, with a hint if one can be given; NULL otherwise. */
const struct hf_err *tls_error(const struct tls *tls);

/* We send no more: close_notify is pending. */
void tls_close(struct tls *tls);

/* The connection below has ended. Fails a handshake, in words; an open connection stays as it is,
 * as PostgreSQL's protocol itself says where it ends. */
void tls_cut(struct tls *tls);

/* ---- what was agreed ---- */

struct tls_info {
    const char *version; /* "TLSv1.3"; static */
    const char *cipher;  /* "TLS_AES_256_GCM_SHA384"; static */
    int bits;            /* of the cipher's key */
    bool is_resumed;
    struct sv alpn; /* the protocol that was agreed on, or empty; lives as long as the tls */
};

/* Only when the handshake is done. */
void tls_info(const struct tls *tls, struct tls_info *info);

/* Channel binding of type tls-server-end-point (RFC 5929): the hash of the server's certificate,
 * ours or the peer's. Writes it to `out` and returns its size; 0 if there is none, as for
 * certificates signed with Ed25519. Only when the handshake is done. */
#define TLS_BINDING_MAX 64
size_t tls_binding(const struct tls *tls, char out[TLS_BINDING_MAX]);

/* Names of the certificate that the peer has shown, and that was verified if the context demands
 * it: its common name, or its whole subject ("CN=app,O=Example", RFC 2253). False, and `out` empty,
 * if it has shown none, there is no such name, it does not fit, or it holds a zero byte. */
#define TLS_NAME_SIZE 512
bool tls_peer_common_name(const struct tls *tls, char out[TLS_NAME_SIZE]);
bool tls_peer_subject(const struct tls *tls, char out[TLS_NAME_SIZE]);

#endif
