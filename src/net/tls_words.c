#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "net/tls_int.h"

#define NAME_SIZE   128
#define REASON_SIZE 128

const char *tls_peer_word(const struct tls *tls)
{
    return tls->context->side == TLS_SERVER ? "client" : "server";
}

const char *tls_first_reason(char *out, size_t size)
{
    /* The first one is the cause, the others say who passed it on ("PEM lib"). */
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_reason_error_string(code);
    if (code == 0)
        snprintf(out, size, "OpenSSL gives no reason");
    else if (ERR_SYSTEM_ERROR(code))
        snprintf(out, size, "%s",
                 strerror_r(ERR_GET_REASON(code), (char[REASON_SIZE]){""}, REASON_SIZE));
    else if (reason == NULL)
        snprintf(out, size, "OpenSSL's error %08lX", code);
    else
        snprintf(out, size, "%s", reason);
    ERR_clear_error();
    return out;
}

/* ---- handshakes ---- */

/* What the peer does, behind "client" or "server"; and what helps. */
static const struct {
    int reason;
    const char *says;
    const char *hint;
} words[] = {
    {SSL_R_WRONG_VERSION_NUMBER, "does not speak TLS, or a version of another age", ""},
    {SSL_R_HTTP_REQUEST, "speaks HTTP and not TLS", ""},
    {SSL_R_HTTPS_PROXY_REQUEST, "speaks HTTP and not TLS", ""},
    {SSL_R_UNSUPPORTED_PROTOCOL, "speaks only versions of TLS that are not allowed here",
     "It should be renewed; until then min_protocol may allow an older one."},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "allows none of the versions of TLS that are spoken here",
     "Compare min_protocol here with what it allows."},
    {SSL_R_NO_SHARED_CIPHER, "offers no cipher that is allowed here",
     "Compare its list of ciphers with the one here."},
    {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "cannot agree with us on how to encrypt",
     "Compare its ciphers and versions with ours, and whether it demands a certificate."},
    {SSL_R_TLSV1_ALERT_INSUFFICIENT_SECURITY, "wants stronger ciphers than those allowed here", ""},
    {SSL_R_NO_SUITABLE_KEY_SHARE, "offers no group for the key exchange that is allowed here", ""},
    {SSL_R_NO_SHARED_GROUPS, "offers no group for the key exchange that is allowed here", ""},
    {SSL_R_DH_KEY_TOO_SMALL, "uses a key that is too short", ""},
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA, "does not know the authority that signed our certificate",
     "Give it that authority's certificate, and send those in between with ours."},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "says that our certificate has expired",
     "Renew the certificate here, or set its clock."},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, "says that our certificate was called back", ""},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "does not accept our certificate",
     "Its log says why; a name that does not match is the usual reason."},
    {SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, "does not accept our kind of certificate", ""},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "does not accept our certificate", "Its log says why."},
    {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, "demands a certificate of us",
     "Give one, with its key, that it accepts."},
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "has shown no certificate, and must",
     "With libpq these are sslcert and sslkey."},
    {SSL_R_NO_APPLICATION_PROTOCOL, "offers only protocols (ALPN) that are not spoken here",
     "Perhaps it wants to speak to another service."},
    {SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL, "speaks none of our protocols (ALPN)",
     "Perhaps another service than PostgreSQL listens there."},
    {SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, "sent a record that was changed on its way", ""},
    {SSL_R_SSLV3_ALERT_BAD_RECORD_MAC, "got a record that was changed on its way", ""},
    {SSL_R_UNSAFE_LEGACY_RENEGOTIATION_DISABLED, "lacks the safe renegotiation of RFC 5746",
     "It should be renewed."},
};

#define WORD_COUNT (sizeof words / sizeof words[0])

/* Types of TLS records, of which the first one received is a handshake's or an alert. */
#define RECORD_ALERT     0x15U
#define RECORD_HANDSHAKE 0x16U

/* The peer sent something, and it never was TLS. */
static bool is_other_protocol(const struct tls *tls)
{
    return tls->state == TLS_HANDSHAKE && tls->is_heard && tls->first != RECORD_HANDSHAKE &&
           tls->first != RECORD_ALERT;
}

static void explain_other_protocol(struct tls *tls)
{
    err_set(&tls->err, HF_RC_PEER, "08P01", "%s does not speak TLS", tls_peer_word(tls));
    err_detail(&tls->err, "The first byte it sent is 0x%02X, where a handshake begins with 0x%02X.",
               tls->first, RECORD_HANDSHAKE);
    if (tls->context->side == TLS_CLIENT && tls->first == 'E')
        err_hint(&tls->err, "It looks like an error in PostgreSQL's own protocol; its log says"
                            " more.");
}

void tls_explain(struct tls *tls)
{
    if (tls->err.rc != HF_OK) {
        ERR_clear_error();
        return;
    }
    if (is_other_protocol(tls)) {
        ERR_clear_error();
        explain_other_protocol(tls);
        return;
    }
    /* The first error is the cause and those behind it are who passed it on, but not in every place
     * of OpenSSL: any that we know is better than the first. */
    unsigned long first = ERR_peek_error();
    for (unsigned long code = first; code != 0; code = ERR_get_error()) {
        for (size_t i = 0; ERR_GET_LIB(code) == ERR_LIB_SSL && i < WORD_COUNT; i++) {
            if (words[i].reason != ERR_GET_REASON(code))
                continue;
            err_set(&tls->err, HF_RC_PEER, "08006", "%s %s", tls_peer_word(tls), words[i].says);
            err_hint(&tls->err, "%s", words[i].hint);
            ERR_clear_error();
            return;
        }
    }
    const char *reason = ERR_reason_error_string(first);
    err_set(&tls->err, HF_RC_PEER, "08006", "TLS with the %s failed: %s", tls_peer_word(tls),
            reason != NULL ? reason : "OpenSSL gives no reason");
}

/* ---- certificates that were refused ---- */

/* Whom a certificate is made out to: its common name, or all of its subject. */
static void name_of(const X509 *certificate, char out[NAME_SIZE])
{
    out[0] = '\0';
    if (certificate == NULL || tls_common_name(certificate, out, NAME_SIZE))
        return;
    X509_NAME_oneline(X509_get_subject_name(certificate), out, NAME_SIZE);
}

/* "2026-11-21 15:04 UTC" */
static void time_text(const ASN1_TIME *time, char out[NAME_SIZE])
{
    struct tm tm;
    if (ASN1_TIME_to_tm(time, &tm) != 1 || strftime(out, NAME_SIZE, "%F %R UTC", &tm) == 0)
        out[0] = '\0';
}

static void explain_name(struct tls *tls, const char *name)
{
    err_set(&tls->err, HF_RC_PEER, "08006",
            "server certificate for \"%s\" does not match host name \"%s\"", name,
            tls->host_name != NULL ? tls->host_name : "");
    err_hint(&tls->err, "Name the host as its certificate does, or use sslmode verify-ca if its"
                        " authority signs for nobody else.");
}

static void explain_time(struct tls *tls, const char *name, const X509 *certificate, bool is_over)
{
    char time[NAME_SIZE];
    time_text(is_over ? X509_get0_notAfter(certificate) : X509_get0_notBefore(certificate), time);
    err_set(&tls->err, HF_RC_PEER, "08006", "certificate of the %s %s", tls_peer_word(tls),
            is_over ? "has expired" : "is not valid yet");
    err_detail(&tls->err, "The certificate for \"%s\" is valid %s %s.", name,
               is_over ? "until" : "from", time);
    err_hint(&tls->err, "%s or set this machine's clock.",
             is_over ? "Renew it," : "Wait until it is,");
}

static void explain_authority(struct tls *tls, const char *name, const X509 *certificate)
{
    char issuer[NAME_SIZE] = "";
    if (certificate != NULL)
        X509_NAME_oneline(X509_get_issuer_name(certificate), issuer, sizeof issuer);
    err_set(&tls->err, HF_RC_PEER, "08006",
            "certificate of the %s is signed by an authority that is not known here",
            tls_peer_word(tls));
    err_detail(&tls->err, "The certificate for \"%s\" is signed by \"%s\".", name, issuer);
    err_hint(&tls->err,
             "Put that authority's certificate into the file of authorities; and the %s"
             " must send those in between.",
             tls_peer_word(tls));
}

void tls_explain_verify(struct tls *tls, X509_STORE_CTX *store)
{
    const X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    int code = X509_STORE_CTX_get_error(store);
    char name[NAME_SIZE];
    name_of(certificate, name);
    switch (code) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        explain_name(tls, name);
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        explain_time(tls, name, certificate, code == X509_V_ERR_CERT_HAS_EXPIRED);
        break;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
        explain_authority(tls, name, certificate);
        break;
    case X509_V_ERR_CERT_REVOKED:
        err_set(&tls->err, HF_RC_PEER, "08006", "certificate of the %s was called back",
                tls_peer_word(tls));
        err_detail(&tls->err, "The certificate is for \"%s\".", name);
        break;
    default:
        err_set(&tls->err, HF_RC_PEER, "08006", "certificate of the %s was refused: %s",
                tls_peer_word(tls), X509_verify_cert_error_string(code));
        err_detail(&tls->err, "The certificate is for \"%s\".", name);
        break;
    }
}
