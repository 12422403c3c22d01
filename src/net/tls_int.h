/*
 * What the parts of TLS share; nobody outside of src/net includes it.
 *
 *     tls_context.c   files -> struct tls_context
 *     tls.c           a connection: bytes in, bytes out
 *     tls_facts.c     what was agreed, and who the peer is
 *     tls_session.c   the sessions that a client keeps, to resume them
 *     tls_words.c     what went wrong, for people
 */
#ifndef HF_NET_TLS_INT_H
#define HF_NET_TLS_INT_H

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdatomic.h>

#include "net/tls.h"

#define TLS_ALPN_MAX 255

/* Sessions kept by a context, over all servers, and of one server: TLS 1.3 has a ticket used once,
 * so a pool that reconnects wants several. */
#define TLS_SESSIONS_MAX         64
#define TLS_SESSIONS_PER_KEY_MAX 8
#define TLS_SESSION_KEY_SIZE     192 /* longer ones are not kept */

struct tls_session {
    SSL_SESSION *session; /* owned; NULL: the slot is free */
    uint64_t sequence;    /* when it came */
    char key[TLS_SESSION_KEY_SIZE];
};

struct tls_sessions {
    pthread_mutex_t lock;
    uint64_t sequence;
    struct tls_session slots[TLS_SESSIONS_MAX];
};

struct tls_context {
    _Atomic(uint32_t) references;
    enum tls_side side;
    enum tls_verify verify;
    struct mem *mem; /* borrowed */
    SSL_CTX *ssl;
    BIO_METHOD *bio; /* outlives every connection's BIO, as each holds the context */
    int64_t expires_s;
    size_t binding_size;
    size_t alpn_size;
    char binding[TLS_BINDING_MAX];    /* of our certificate */
    unsigned char alpn[TLS_ALPN_MAX]; /* as the handshake has it: each protocol behind its length */
    struct tls_sessions sessions;
};

struct tls {
    SSL *ssl;
    struct tls_context *context; /* one reference */
    uint8_t state;               /* enum tls_state */
    bool demands_alpn;
    bool is_closing;                        /* close_notify was said */
    bool is_heard;                          /* `first` was */
    uint8_t first;                          /* byte that the peer has sent */
    char *host_name;                        /* owned; NULL if there is none */
    char session_key[TLS_SESSION_KEY_SIZE]; /* empty: no resumption */

    /* What the BIO reads from and writes to; set while a call lasts. */
    struct sv in;
    char *out;
    size_t out_room;
    size_t out_size;

    /* What was written while there was no place in `out`, in the order of the wire: nothing goes to
     * `out` past it. Owned; NULL when empty. */
    char *pending;
    size_t pending_room;
    size_t pending_start;
    size_t pending_end;

    struct hf_err err; /* rc HF_OK until it fails */
};

/* Of a connection's SSL object. */
static inline struct tls *tls_of(const SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

/* ---- tls.c: what a context hands to OpenSSL ---- */

/* Makes the BIO's table; NULL: no memory. */
BIO_METHOD *tls_bio_method(void);

/* ---- tls_facts.c ---- */

/* tls-server-end-point of this certificate; 0 if there is none. */
size_t tls_binding_of(X509 *certificate, char out[TLS_BINDING_MAX]);

/* The common name in a subject; false, and `out` empty, as tls_peer_common_name() has it. */
bool tls_common_name(const X509 *certificate, char *out, size_t size);

/* ---- tls_session.c ---- */

bool tls_sessions_init(struct tls_sessions *sessions);
void tls_sessions_deinit(struct tls_sessions *sessions);

/* Keeps a session for connections with this key; takes over the reference. */
void tls_sessions_put(struct tls_sessions *sessions, const char *key, SSL_SESSION *session);
/* The newest one for this key, or NULL; the reference is the caller's. One of TLS 1.3 is not kept:
 * a ticket that is used twice lets whoever watches see that both connections are the same client's.
 */
SSL_SESSION *tls_sessions_take(struct tls_sessions *sessions, const char *key);

/* ---- tls_words.c ---- */

/* Fills tls->err, if that was not done yet, from this thread's queue of OpenSSL's errors; empties
 * the queue. */
void tls_explain(struct tls *tls);

/* Fills tls->err for a certificate of the peer that was refused. */
void tls_explain_verify(struct tls *tls, X509_STORE_CTX *store);

/* "client" or "server". */
const char *tls_peer_word(const struct tls *tls);

/* What OpenSSL says about what went wrong first, in its own words; empties the queue. */
const char *tls_first_reason(char *out, size_t size);

#endif
