#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bug.h"
#include "net/tls_int.h"

#define REASON_SIZE 160

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* ---- what OpenSSL asks while a connection is made ---- */

/* A server's, before anything else of a handshake: direct TLS needs the client to name its
 * protocol. It is refused here, with the alert that says so, and not after the handshake with none.
 */
static int on_client_hello(SSL *ssl, int *alert, void *context)
{
    (void)context;
    struct tls *tls = tls_of(ssl);
    const unsigned char *bytes;
    size_t size;
    if (!tls->demands_alpn ||
        SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &bytes,
                                  &size) == 1)
        return SSL_CLIENT_HELLO_SUCCESS;
    err_set(&tls->err, HF_RC_PEER, "08P01", "client began TLS without naming its protocol (ALPN)");
    err_hint(&tls->err,
             "Direct TLS needs libpq 17 or newer, or a driver that offers \"%s\"; others"
             " send an SSLRequest first.",
             TLS_ALPN_POSTGRESQL);
    *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
    return SSL_CLIENT_HELLO_ERROR;
}

/* A server's: the first of our protocols that the client offers. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_size,
                   const unsigned char *offered, unsigned offered_size, void *argument)
{
    (void)ssl;
    const struct tls_context *context = argument;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_size, context->alpn, (unsigned)context->alpn_size,
                              offered, offered_size) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* A client's: the server has given a session that can be resumed. 1: the reference is ours now. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls *tls = tls_of(ssl);
    if (tls->session_key[0] == '\0' || SSL_SESSION_is_resumable(session) != 1)
        return 0;
    tls_sessions_put(&tls->context->sessions, tls->session_key, session);
    return 1;
}

/* libpq compares a host that is an address also with the names in a certificate (its section on
 * host names says so), and certificates made out to CN=10.0.0.1 are common; OpenSSL does not. */
static bool is_named_by_address(const struct tls *tls, X509_STORE_CTX *store)
{
    X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    return X509_STORE_CTX_get_error(store) == X509_V_ERR_IP_ADDRESS_MISMATCH &&
           certificate != NULL && tls->host_name != NULL &&
           X509_check_host(certificate, tls->host_name, 0, 0, NULL) == 1;
}

static int on_verify(int is_good, X509_STORE_CTX *store)
{
    if (is_good == 1)
        return 1;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls *tls = tls_of(ssl);
    if (is_named_by_address(tls, store)) {
        X509_STORE_CTX_set_error(store, X509_V_OK);
        return 1;
    }
    tls_explain_verify(tls, store);
    return 0;
}

/* A private key's password, while it is read. */
struct unlocking {
    const struct secret *password; /* NULL: there is none */
    bool was_needed;
};

/* Without this OpenSSL would ask whoever sits at the terminal. */
static int on_password(char *out, int size, int is_writing, void *argument)
{
    (void)is_writing;
    struct unlocking *unlocking = argument;
    unlocking->was_needed = true;
    if (unlocking->password == NULL)
        return -1;
    struct sv text = secret_reveal(unlocking->password);
    if (text.size > (size_t)size)
        return -1;
    memcpy(out, text.data, text.size);
    return (int)text.size;
}

/* ---- files ---- */

/* Says in words why a file cannot be used, if that is not for what is in it. */
static enum hf_rc file_check(const char *what, const char *path, bool is_secret, struct hf_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat facts;
    if (fd < 0 || fstat(fd, &facts) != 0) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        char reason[REASON_SIZE];
        enum hf_rc rc = error == ENOENT ? HF_RC_MISSING : HF_RC_DENIED;
        return err_set(err, rc, "F0000", "could not open %s file \"%s\": %s", what, path,
                       strerror_r(error, reason, sizeof reason));
    }
    close(fd);
    /* As PostgreSQL has it: a key of ours is ours alone; one of root's may be read by a group. */
    mode_t open_to = facts.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
    if (is_secret && (facts.st_mode & open_to) != 0) {
        err_set(err, HF_RC_DENIED, "F0000", "%s file \"%s\" can be read or written by others", what,
                path);
        err_detail(err, "Its mode is %04o.", (unsigned)facts.st_mode & 07777U);
        return err_hint(err, "Give it mode 0600, or 0640 if root owns it.");
    }
    return HF_OK;
}

/* What was in a file was no good. */
static enum hf_rc file_refuse(const char *what, const char *path, struct hf_err *err)
{
    char reason[REASON_SIZE];
    tls_first_reason(reason, sizeof reason);
    err_set(err, HF_RC_INVALID, "F0000", "cannot use %s file \"%s\": %s", what, path, reason);
    return err_hint(err, "It must be in the PEM format, with its BEGIN and END lines.");
}

static enum hf_rc load_key(SSL_CTX *ssl, const struct tls_config *config, struct hf_err *err)
{
    struct unlocking unlocking = {.password = config->key_password};
    SSL_CTX_set_default_passwd_cb(ssl, on_password);
    SSL_CTX_set_default_passwd_cb_userdata(ssl, &unlocking);
    int is_loaded = SSL_CTX_use_PrivateKey_file(ssl, config->key_file, SSL_FILETYPE_PEM);
    SSL_CTX_set_default_passwd_cb_userdata(ssl, NULL);
    if (is_loaded == 1)
        return HF_OK;
    if (unlocking.was_needed && unlocking.password == NULL) {
        ERR_clear_error();
        err_set(err, HF_RC_INVALID, "F0000", "private key file \"%s\" is encrypted",
                config->key_file);
        return err_hint(err, "Give its password, or a key without one.");
    }
    unsigned long error = ERR_peek_last_error();
    if (ERR_GET_LIB(error) != ERR_LIB_X509 || ERR_GET_REASON(error) != X509_R_KEY_VALUES_MISMATCH)
        return file_refuse("private key", config->key_file, err);
    ERR_clear_error();
    err_set(err, HF_RC_INVALID, "F0000", "private key file \"%s\" belongs to another certificate",
            config->key_file);
    return err_detail(err, "The certificate is in file \"%s\".", config->cert_file);
}

static enum hf_rc load_own(struct tls_context *context, const struct tls_config *config,
                           struct hf_err *err)
{
    SSL_CTX *ssl = context->ssl;
    enum hf_rc rc = file_check("certificate", config->cert_file, false, err);
    if (rc == HF_OK)
        rc = file_check("private key", config->key_file, true, err);
    if (rc != HF_OK)
        return rc;
    if (SSL_CTX_use_certificate_chain_file(ssl, config->cert_file) != 1)
        return file_refuse("certificate", config->cert_file, err);
    rc = load_key(ssl, config, err);
    if (rc != HF_OK)
        return rc;
    X509 *own = SSL_CTX_get0_certificate(ssl);
    context->binding_size = tls_binding_of(own, context->binding);
    struct tm end;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(own), &end) == 1)
        context->expires_s = timegm(&end);
    return HF_OK;
}

static enum hf_rc load_authorities(struct tls_context *context, const struct tls_config *config,
                                   struct hf_err *err)
{
    SSL_CTX *ssl = context->ssl;
    if (strcmp(config->ca_file, "system") == 0) {
        if (SSL_CTX_set_default_verify_paths(ssl) != 1)
            return file_refuse("authorities", config->ca_file, err);
    } else {
        enum hf_rc rc = file_check("authorities", config->ca_file, false, err);
        if (rc != HF_OK)
            return rc;
        if (SSL_CTX_load_verify_file(ssl, config->ca_file) != 1)
            return file_refuse("authorities", config->ca_file, err);
        if (context->side == TLS_SERVER)
            SSL_CTX_set_client_CA_list(ssl, SSL_load_client_CA_file(config->ca_file));
    }
    if (!is_set(config->crl_file))
        return HF_OK;
    enum hf_rc rc = file_check("revocation list", config->crl_file, false, err);
    if (rc != HF_OK)
        return rc;
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (lookup == NULL || X509_load_crl_file(lookup, config->crl_file, X509_FILETYPE_PEM) <= 0)
        return file_refuse("revocation list", config->crl_file, err);
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return HF_OK;
}

/* ---- settings ---- */

static int version_number(enum tls_version version, int otherwise)
{
    switch (version) {
    case TLS_VERSION_DEFAULT:
        return otherwise;
    case TLS_VERSION_1_2:
        return TLS1_2_VERSION;
    case TLS_VERSION_1_3:
        return TLS1_3_VERSION;
    }
    return otherwise;
}

static enum hf_rc refuse_list(const char *what, const char *list, struct hf_err *err)
{
    ERR_clear_error();
    err_set(err, HF_RC_INVALID, "22023", "cannot use \"%s\" as a list of %s", list, what);
    return err_hint(err, "OpenSSL knows none of them, or does not read it as a list.");
}

static enum hf_rc set_limits(SSL_CTX *ssl, const struct tls_config *config, struct hf_err *err)
{
    /* 0: the newest that OpenSSL has. */
    int newest = version_number(config->max_version, 0);
    int oldest = version_number(config->min_version, TLS1_2_VERSION);
    if (newest != 0 && newest < oldest)
        return err_set(err, HF_RC_INVALID, "22023",
                       "the newest version of TLS that is allowed is older than the oldest");
    if (SSL_CTX_set_min_proto_version(ssl, oldest) != 1 ||
        SSL_CTX_set_max_proto_version(ssl, newest) != 1)
        return err_set(err, HF_RC_INVALID, "22023",
                       "OpenSSL was built without a version of TLS"
                       " that is asked for");
    if (is_set(config->ciphers) && SSL_CTX_set_cipher_list(ssl, config->ciphers) != 1)
        return refuse_list("ciphers", config->ciphers, err);
    if (is_set(config->cipher_suites) && SSL_CTX_set_ciphersuites(ssl, config->cipher_suites) != 1)
        return refuse_list("cipher suites of TLS 1.3", config->cipher_suites, err);
    if (is_set(config->groups) &&
        SSL_CTX_set1_groups_list(ssl, (char *)(uintptr_t)config->groups) != 1)
        return refuse_list("groups for the key exchange", config->groups, err);
    return HF_OK;
}

static enum hf_rc set_alpn(struct tls_context *context, const char *list, struct hf_err *err)
{
    struct sv rest = sv_from_cstr(list), name;
    while (is_set(list) && sv_split(&rest, ',', &name)) {
        name = sv_trim(name);
        if (name.size == 0 || name.size >= sizeof context->alpn - context->alpn_size)
            return err_set(err, HF_RC_INVALID, "22023", "cannot use \"%s\" as a list of protocols",
                           list);
        context->alpn[context->alpn_size] = (unsigned char)name.size;
        memcpy(context->alpn + context->alpn_size + 1, name.data, name.size);
        context->alpn_size += 1 + name.size;
    }
    if (context->alpn_size == 0)
        return HF_OK;
    if (context->side == TLS_SERVER)
        SSL_CTX_set_alpn_select_cb(context->ssl, on_alpn, context);
    /* This one returns 0 when it worked. */
    else if (SSL_CTX_set_alpn_protos(context->ssl, context->alpn, (unsigned)context->alpn_size) !=
             0)
        return err_set(err, HF_RC_LIMIT, "53200", "out of memory");
    return HF_OK;
}

static enum hf_rc set_up_server(struct tls_context *context, const struct tls_config *config,
                                struct hf_err *err)
{
    SSL_CTX *ssl = context->ssl;
    if (!is_set(config->cert_file))
        return err_set(err, HF_RC_INVALID, "F0000", "TLS for clients needs a certificate");
    if (config->clients != TLS_CLIENTS_OFF && !is_set(config->ca_file)) {
        err_set(err, HF_RC_INVALID, "F0000",
                "cannot verify clients' certificates without a file of"
                " authorities");
        return err_hint(err, "Name the certificate of the authority that signs them.");
    }
    int mode = SSL_VERIFY_NONE;
    if (config->clients != TLS_CLIENTS_OFF)
        mode = SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE;
    if (config->clients == TLS_CLIENTS_REQUIRED)
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(ssl, mode, on_verify);
    SSL_CTX_set_client_hello_cb(ssl, on_client_hello, NULL);
    /* Clients resume by tickets, which cost us no memory. Their key lives as long as the context; a
     * reload thus also ends what was verified under the old one. One ticket is enough for one
     * connection that comes back, and libpq asks for none at all. */
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ssl, 1);
    SSL_CTX_set_session_id_context(ssl, (const unsigned char *)"holdfast", 8);
    SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_dh_auto(ssl, 1);
    return HF_OK;
}

static enum hf_rc set_up_client(struct tls_context *context, const struct tls_config *config,
                                struct hf_err *err)
{
    SSL_CTX *ssl = context->ssl;
    if (config->verify != TLS_VERIFY_NONE && !is_set(config->ca_file)) {
        err_set(err, HF_RC_INVALID, "F0000", "cannot verify servers without a file of authorities");
        return err_hint(err,
                        "Name the certificate of the authority that signs theirs, or \"system\""
                        " for those that this machine trusts.");
    }
    if (config->verify == TLS_VERIFY_NONE)
        SSL_CTX_set_verify(ssl, SSL_VERIFY_NONE, NULL);
    else
        SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, on_verify);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ssl, on_session);
    return HF_OK;
}

static enum hf_rc set_up(struct tls_context *context, const struct tls_config *config,
                         struct hf_err *err)
{
    SSL_CTX *ssl = context->ssl;
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    /* Buffers only while a record is under way: 34 kB for each connection otherwise. */
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    enum hf_rc rc = set_limits(ssl, config, err);
    if (rc == HF_OK && is_set(config->cert_file) != is_set(config->key_file))
        rc = err_set(err, HF_RC_INVALID, "F0000",
                     "a certificate and its private key are both needed, and one is missing");
    if (rc == HF_OK && is_set(config->cert_file))
        rc = load_own(context, config, err);
    if (rc == HF_OK && is_set(config->ca_file))
        rc = load_authorities(context, config, err);
    if (rc == HF_OK)
        rc = set_alpn(context, config->alpn, err);
    if (rc != HF_OK)
        return rc;
    return context->side == TLS_SERVER ? set_up_server(context, config, err)
                                       : set_up_client(context, config, err);
}

/* ---- life ---- */

enum hf_rc tls_context_new(struct tls_context **out, const struct tls_config *config,
                           struct mem *mem, struct hf_err *err)
{
    *out = NULL;
    struct tls_context *context = mem_alloc(mem, sizeof *context);
    if (context == NULL)
        return mem_refused(mem, sizeof *context, err);
    if (!tls_sessions_init(&context->sessions)) {
        mem_free(mem, context);
        return err_set(err, HF_RC_AGAIN, "53000", "could not make a lock");
    }
    atomic_init(&context->references, 1);
    context->mem = mem;
    context->side = config->side;
    context->verify = config->verify;
    context->expires_s = INT64_MAX;
    ERR_clear_error();
    context->bio = tls_bio_method();
    bool is_server = config->side == TLS_SERVER;
    context->ssl = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    enum hf_rc rc;
    if (context->bio == NULL || context->ssl == NULL) {
        char reason[REASON_SIZE];
        rc = err_set(err, HF_RC_AGAIN, "53200", "could not set up OpenSSL: %s",
                     tls_first_reason(reason, sizeof reason));
    } else {
        rc = set_up(context, config, err);
    }
    if (rc != HF_OK)
        tls_context_drop(context);
    else
        *out = context;
    return rc;
}

struct tls_context *tls_context_hold(struct tls_context *context)
{
    atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
    return context;
}

void tls_context_drop(struct tls_context *context)
{
    if (context == NULL ||
        atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) > 1)
        return;
    tls_sessions_deinit(&context->sessions);
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->bio);
    mem_free(context->mem, context);
}

int64_t tls_context_expires_s(const struct tls_context *context)
{
    return context->expires_s;
}
