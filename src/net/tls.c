#include "net/tls.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/bug.h"
#include "net/address.h"
#include "net/tls_int.h"

#define RECORD_MAX 16384 /* plaintext in one record, RFC 8446 5.1 */

/* Records smaller than this are made only for what is left at the end: each costs a MAC and some
 * 30 bytes. */
#define RECORD_MIN 1024

#define PENDING_MIN 1024

_Static_assert(TLS_ROOM_MIN >= RECORD_MIN + TLS_OVERHEAD, "the least room takes a record");

/* ---- what is pending ---- */

bool tls_has_output(const struct tls *tls)
{
    return tls->pending != NULL;
}

static void pending_drop(struct tls *tls)
{
    mem_free(tls->context->mem, tls->pending);
    tls->pending = NULL;
    tls->pending_room = tls->pending_start = tls->pending_end = 0;
}

/* Room for `size` bytes more. */
static bool pending_grow(struct tls *tls, size_t size)
{
    size_t held = tls->pending_end - tls->pending_start;
    if (size > TLS_PENDING_MAX - held) {
        err_set(&tls->err, HF_RC_LIMIT, "54000", "TLS would send too much that is no data");
        err_detail(&tls->err, "A handshake may take %d bytes.", TLS_PENDING_MAX);
        err_hint(&tls->err, "Look for a chain of certificates that is too long.");
        return false;
    }
    size_t room = tls->pending_room > 0 ? tls->pending_room : PENDING_MIN;
    while (room < held + size)
        room *= 2;
    char *block = mem_alloc(tls->context->mem, room);
    if (block == NULL) {
        mem_refused(tls->context->mem, room, &tls->err);
        return false;
    }
    if (tls->pending != NULL)
        memcpy(block, tls->pending + tls->pending_start, held);
    mem_free(tls->context->mem, tls->pending);
    tls->pending = block;
    tls->pending_room = room;
    tls->pending_start = 0;
    tls->pending_end = held;
    return true;
}

static bool pending_add(struct tls *tls, const char *bytes, size_t size)
{
    bool fits = tls->pending != NULL && size <= tls->pending_room - tls->pending_end;
    if (!fits && !pending_grow(tls, size))
        return false;
    memcpy(tls->pending + tls->pending_end, bytes, size);
    tls->pending_end += size;
    return true;
}

/* Moves what is pending to where the caller wants it, as much as fits. */
static void pending_flush(struct tls *tls)
{
    size_t held = tls->pending_end - tls->pending_start;
    size_t room = tls->out_room - tls->out_size;
    size_t size = held < room ? held : room;
    if (size == 0)
        return;
    memcpy(tls->out + tls->out_size, tls->pending + tls->pending_start, size);
    tls->out_size += size;
    tls->pending_start += size;
    if (tls->pending_start == tls->pending_end)
        pending_drop(tls);
}

/* ---- the BIO: OpenSSL's side of the wire ---- */

static int bio_read(BIO *bio, char *out, int size)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    size_t count = tls->in.size < (size_t)size ? tls->in.size : (size_t)size;
    if (count == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(out, tls->in.data, count);
    tls->in = sv_drop(tls->in, count);
    return (int)count;
}

/* Takes all, always, and so OpenSSL never has a record on its hands that must be written before
 * anything else can be done. */
static int bio_write(BIO *bio, const char *bytes, int size)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    size_t count = (size_t)size;
    if (tls->pending == NULL && count <= tls->out_room - tls->out_size) {
        memcpy(tls->out + tls->out_size, bytes, count);
        tls->out_size += count;
        return size;
    }
    return pending_add(tls, bytes, count) ? size : -1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD *tls_bio_method(void)
{
    /* A number of its own (BIO_get_new_index) would be one of 128 that are never given back, and
     * serves only BIO_find_type(). */
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "holdfast");
    if (method != NULL) {
        BIO_meth_set_read(method, bio_read);
        BIO_meth_set_write(method, bio_write);
        BIO_meth_set_ctrl(method, bio_ctrl);
    }
    return method;
}

/* ---- steps ---- */

static void fail(struct tls *tls)
{
    tls_explain(tls);
    tls->state = TLS_FAILED;
}

/* What a call of OpenSSL that did not succeed means for the connection; true: only that it waits
 * for more from the wire. */
static bool is_waiting(struct tls *tls, int result)
{
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return true;
    case SSL_ERROR_ZERO_RETURN:
        tls->state = TLS_ENDED;
        return false;
    default:
        fail(tls);
        return false;
    }
}

static struct sv alpn_of(const struct tls *tls)
{
    const unsigned char *protocol;
    unsigned size;
    SSL_get0_alpn_selected(tls->ssl, &protocol, &size);
    return sv_from((const char *)protocol, size);
}

/* The handshake has succeeded, as far as OpenSSL can tell. A server looked at this earlier, in
 * on_client_hello(). */
static void open_up(struct tls *tls)
{
    if (tls->demands_alpn && alpn_of(tls).size == 0) {
        err_set(&tls->err, HF_RC_PEER, "08P01", "%s agreed to none of our protocols (ALPN)",
                tls_peer_word(tls));
        err_hint(&tls->err, "Direct TLS needs PostgreSQL 17 or newer; ask for it without.");
        SSL_shutdown(tls->ssl);
        fail(tls);
        return;
    }
    tls->state = TLS_OPEN;
}

static void shake(struct tls *tls)
{
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    if (result == 1)
        open_up(tls);
    else
        is_waiting(tls, result);
}

/* Notes the first byte of all, from which can be told what a peer speaks that does not speak TLS.
 */
static void hear(struct tls *tls, struct sv wire)
{
    if (tls->is_heard || wire.size == 0)
        return;
    tls->is_heard = true;
    tls->first = (uint8_t)wire.data[0];
}

size_t tls_receive(struct tls *tls, struct sv *wire, char *plain, size_t room)
{
    hear(tls, *wire);
    tls->in = *wire;
    size_t count = 0;
    if (tls->state == TLS_HANDSHAKE)
        shake(tls);
    while (tls->state == TLS_OPEN && count < room) {
        size_t wanted = room - count < INT_MAX ? room - count : INT_MAX;
        ERR_clear_error();
        int result = SSL_read(tls->ssl, plain + count, (int)wanted);
        if (result > 0)
            count += (size_t)result;
        else if (is_waiting(tls, result))
            break;
    }
    /* Behind the end nothing counts; the owner should not have to carry it. */
    bool is_over = tls->state == TLS_ENDED || tls->state == TLS_FAILED;
    *wire = is_over ? sv_drop(*wire, wire->size) : tls->in;
    tls->in = sv_from(NULL, 0);
    return count;
}

bool tls_has_input(const struct tls *tls)
{
    return tls->state == TLS_OPEN && SSL_pending(tls->ssl) > 0;
}

/* How much plaintext the next record takes, so that what it becomes fits; 0: none now. */
static size_t record_size(const struct tls *tls, size_t plain)
{
    size_t room = tls->out_room - tls->out_size;
    size_t wanted = plain < RECORD_MAX ? plain : RECORD_MAX;
    size_t fits = room > TLS_OVERHEAD ? room - TLS_OVERHEAD : 0;
    if (fits >= wanted)
        return wanted;
    return fits >= RECORD_MIN ? fits : 0;
}

size_t tls_send(struct tls *tls, struct sv *plain, char *wire, size_t room)
{
    tls->out = wire;
    tls->out_room = room;
    tls->out_size = 0;
    pending_flush(tls);
    while ((tls->state == TLS_OPEN || tls->state == TLS_ENDED) && !tls->is_closing &&
           !tls_has_output(tls)) {
        size_t size = record_size(tls, plain->size);
        if (size == 0)
            break;
        ERR_clear_error();
        int result = SSL_write(tls->ssl, plain->data, (int)size);
        if (result <= 0) {
            fail(tls);
            break;
        }
        *plain = sv_drop(*plain, (size_t)result);
        pending_flush(tls);
    }
    size_t count = tls->out_size;
    tls->out = NULL;
    tls->out_room = tls->out_size = 0;
    return count;
}

enum tls_state tls_state(const struct tls *tls)
{
    return (enum tls_state)tls->state;
}

const struct hf_err *tls_error(const struct tls *tls)
{
    return tls->state == TLS_FAILED ? &tls->err : NULL;
}

void tls_close(struct tls *tls)
{
    if (tls->is_closing || (tls->state != TLS_OPEN && tls->state != TLS_ENDED))
        return;
    tls->is_closing = true;
    ERR_clear_error();
    SSL_shutdown(tls->ssl);
}

void tls_cut(struct tls *tls)
{
    if (tls->state != TLS_HANDSHAKE)
        return;
    err_set(&tls->err, HF_RC_PEER, "08006", "%s closed the connection during the TLS handshake",
            tls_peer_word(tls));
    if (tls->context->side == TLS_CLIENT && !tls->is_heard)
        err_hint(&tls->err, "Perhaps it does not speak TLS on this port; its log says more.");
    fail(tls);
}

/* ---- making ---- */

/* Whom the server has to be. */
static bool set_host(struct tls *tls, const char *host)
{
    struct address unused;
    bool is_literal = address_literal(&unused, sv_from_cstr(host), 0);
    /* Server names are names: RFC 6066 has no literals in them. */
    if (!is_literal && SSL_set_tlsext_host_name(tls->ssl, tls->host_name) != 1)
        return false;
    if (tls->context->verify != TLS_VERIFY_FULL)
        return true;
    X509_VERIFY_PARAM *verify = SSL_get0_param(tls->ssl);
    X509_VERIFY_PARAM_set_hostflags(verify, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (is_literal)
        return X509_VERIFY_PARAM_set1_ip_asc(verify, host) == 1;
    return X509_VERIFY_PARAM_set1_host(verify, host, 0) == 1;
}

/* Continues an earlier connection's session if there is one. What was verified then is not verified
 * again, so the name that was verified is part of the key. */
static bool set_session(struct tls *tls, const char *key, const char *host)
{
    struct sv parts[] = {sv_from_cstr(key), SV("\n"), sv_from_cstr(host)};
    size_t size = parts[0].size + parts[1].size + parts[2].size;
    if (parts[0].size == 0 || size >= sizeof tls->session_key)
        return true;
    char *at = tls->session_key;
    for (size_t i = 0; i < 3; i++) {
        if (parts[i].size > 0)
            memcpy(at, parts[i].data, parts[i].size);
        at += parts[i].size;
    }
    SSL_SESSION *session = tls_sessions_take(&tls->context->sessions, tls->session_key);
    if (session == NULL)
        return true;
    bool is_set = SSL_set_session(tls->ssl, session) == 1;
    SSL_SESSION_free(session);
    return is_set;
}

static bool set_bio(struct tls *tls)
{
    BIO *bio = BIO_new(tls->context->bio);
    if (bio == NULL)
        return false;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    return true;
}

static bool set_up_client(struct tls *tls, const struct tls_options *options)
{
    const struct tls_context *context = tls->context;
    const char *host = options->host_name != NULL ? options->host_name : "";
    if (host[0] != '\0') {
        tls->host_name = mem_copy_text(context->mem, host);
        if (tls->host_name == NULL) {
            mem_refused(context->mem, strlen(host) + 1, &tls->err);
            return false;
        }
        if (!set_host(tls, host))
            return false;
    }
    SSL_set_connect_state(tls->ssl);
    return set_session(tls, options->session_key, host);
}

/* Fills err for what is OpenSSL's failure, where it has not been filled yet. */
static enum hf_rc refuse(struct tls *tls, struct hf_err *err)
{
    tls_explain(tls);
    enum hf_rc rc = tls->err.rc;
    if (err != NULL)
        *err = tls->err;
    tls_free(tls);
    return rc;
}

enum hf_rc tls_new(struct tls **out, struct tls_context *context, const struct tls_options *options,
                   struct hf_err *err)
{
    static const struct tls_options none = {.host_name = NULL};
    options = options != NULL ? options : &none;
    *out = NULL;
    bool is_client = context->side == TLS_CLIENT;
    bool is_named = options->host_name != NULL && options->host_name[0] != '\0';
    if (is_client && context->verify == TLS_VERIFY_FULL && !is_named) {
        err_set(err, HF_RC_INVALID, "08001", "cannot verify a server that has no host name");
        return err_hint(err, "Name the host, or use sslmode verify-ca.");
    }
    struct tls *tls = mem_alloc(context->mem, sizeof *tls);
    if (tls == NULL)
        return mem_refused(context->mem, sizeof *tls, err);
    tls->context = tls_context_hold(context);
    tls->demands_alpn = options->demands_alpn;
    ERR_clear_error();
    tls->ssl = SSL_new(context->ssl);
    if (tls->ssl == NULL || SSL_set_app_data(tls->ssl, tls) != 1 || !set_bio(tls))
        return refuse(tls, err);
    if (!is_client) {
        SSL_set_accept_state(tls->ssl);
    } else if (!set_up_client(tls, options)) {
        return refuse(tls, err);
    } else {
        /* A client speaks first. */
        shake(tls);
        if (tls->state == TLS_FAILED)
            return refuse(tls, err);
    }
    *out = tls;
    return HF_OK;
}

void tls_free(struct tls *tls)
{
    if (tls == NULL)
        return;
    /* OpenSSL holds a session for bad whose connection was not shut down, and would spoil the
     * ticket that is kept for the next one. PostgreSQL's own end of a connection is good enough. */
    if (tls->ssl != NULL && (tls->state == TLS_OPEN || tls->state == TLS_ENDED))
        SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(tls->ssl);
    struct tls_context *context = tls->context;
    mem_free(context->mem, tls->pending);
    mem_free(context->mem, tls->host_name);
    mem_free(context->mem, tls);
    tls_context_drop(context);
}
