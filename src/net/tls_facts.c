#include <limits.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <string.h>

#include "base/bug.h"
#include "net/tls_int.h"

_Static_assert(EVP_MAX_MD_SIZE <= TLS_BINDING_MAX, "every hash fits");

void tls_info(const struct tls *tls, struct tls_info *info)
{
    const unsigned char *protocol;
    unsigned size;
    SSL_get0_alpn_selected(tls->ssl, &protocol, &size);
    *info = (struct tls_info){
        .version = SSL_get_version(tls->ssl),
        .cipher = SSL_get_cipher_name(tls->ssl),
        .bits = SSL_get_cipher_bits(tls->ssl, NULL),
        .is_resumed = SSL_session_reused(tls->ssl) == 1,
        .alpn = sv_from((const char *)protocol, size),
    };
}

size_t tls_binding_of(X509 *certificate, char out[TLS_BINDING_MAX])
{
    /* RFC 5929 4.1: the hash function of the certificate's signature, or SHA-256 where that is MD5
     * or SHA-1. Without one (Ed25519) the type of binding is not defined. */
    int nid;
    if (X509_get_signature_info(certificate, &nid, NULL, NULL, NULL) != 1)
        return 0;
    if (nid == NID_md5 || nid == NID_sha1)
        nid = NID_sha256;
    const EVP_MD *hash = EVP_get_digestbynid(nid);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (hash == NULL || X509_digest(certificate, hash, digest, &size) != 1)
        return 0;
    memcpy(out, digest, size);
    return size;
}

size_t tls_binding(const struct tls *tls, char out[TLS_BINDING_MAX])
{
    const struct tls_context *context = tls->context;
    if (context->side == TLS_SERVER) {
        memcpy(out, context->binding, context->binding_size);
        return context->binding_size;
    }
    X509 *peer = SSL_get0_peer_certificate(tls->ssl);
    return peer != NULL ? tls_binding_of(peer, out) : 0;
}

bool tls_common_name(const X509 *certificate, char *out, size_t size)
{
    out[0] = '\0';
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (index < 0)
        return false;
    const X509_NAME_ENTRY *entry = X509_NAME_get_entry(subject, index);
    unsigned char *text;
    int length = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry));
    if (length < 0)
        return false;
    /* A zero byte would make "admin\0.example" the name admin (CVE-2009-4034): refused. */
    bool is_good = sv_copy(sv_from((const char *)text, (size_t)length), out, size);
    OPENSSL_free(text);
    return is_good && length > 0;
}

bool tls_peer_common_name(const struct tls *tls, char out[TLS_NAME_SIZE])
{
    out[0] = '\0';
    const X509 *peer = SSL_get0_peer_certificate(tls->ssl);
    return peer != NULL && tls_common_name(peer, out, TLS_NAME_SIZE);
}

bool tls_peer_subject(const struct tls *tls, char out[TLS_NAME_SIZE])
{
    out[0] = '\0';
    const X509 *peer = SSL_get0_peer_certificate(tls->ssl);
    BIO *text = peer != NULL ? BIO_new(BIO_s_mem()) : NULL;
    if (text == NULL)
        return false;
    bool is_good = false;
    char *data;
    if (X509_NAME_print_ex(text, X509_get_subject_name(peer), 0, XN_FLAG_RFC2253) >= 0) {
        long size = BIO_get_mem_data(text, &data);
        is_good = size > 0 && sv_copy(sv_from(data, (size_t)size), out, TLS_NAME_SIZE);
    }
    BIO_free(text);
    return is_good;
}
