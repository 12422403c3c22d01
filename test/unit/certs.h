/*
 * Certificates for tests, made while they run, in a folder of their own.
 *
 *     struct certs certs;
 *     certs_init(&certs);
 *     certs_add(&certs, "ca", &(struct certs_spec){.name = "Test CA", .is_authority = true});
 *     certs_add(&certs, "server", &(struct certs_spec){.name = "db", .names = "DNS:db.example",
 *                                                      .issuer = "ca"});
 *     certs_path(&certs, "server.crt", path);          also "server.key"
 *     certs_deinit(&certs);
 */
#ifndef HF_TEST_UNIT_CERTS_H
#define HF_TEST_UNIT_CERTS_H

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "os/file.h"
#include "unit.h"

#define CERTS_PATH_SIZE 256

#define CERTS_DAY (24L * 3600)

struct certs {
    char dir[64];
    long serial;
};

enum certs_key {
    CERTS_P256,
    CERTS_RSA,
    CERTS_ED25519,
};

struct certs_spec {
    const char *name;   /* CN */
    const char *names;  /* subjectAltName, in OpenSSL's notation; NULL: none */
    const char *issuer; /* an earlier one; NULL: signs itself */
    bool is_authority;
    long from_s;      /* relative to now; 0: a day ago */
    long to_s;        /* relative to now; 0: in a year */
    const char *hash; /* of the signature; NULL: SHA256 */
    enum certs_key key;
};

static inline char *certs_path(const struct certs *certs, const char *file,
                               char out[CERTS_PATH_SIZE])
{
    snprintf(out, CERTS_PATH_SIZE, "%s/%s", certs->dir, file);
    return out;
}

static inline void certs_init(struct certs *certs)
{
    memset(certs, 0, sizeof *certs);
    snprintf(certs->dir, sizeof certs->dir, "/tmp/holdfast-certs-XXXXXX");
    assert_non_null(mkdtemp(certs->dir));
}

static inline void certs_deinit(struct certs *certs)
{
    assert_int_equal(file_remove_tree(certs->dir, NULL), HF_OK);
}

static inline FILE *certs_open(const struct certs *certs, const char *name, const char *suffix,
                               const char *how)
{
    char file[CERTS_PATH_SIZE / 2], path[CERTS_PATH_SIZE];
    snprintf(file, sizeof file, "%s.%s", name, suffix);
    FILE *stream = fopen(certs_path(certs, file, path), how);
    assert_non_null(stream);
    assert_int_equal(chmod(path, 0600), 0);
    return stream;
}

static inline X509 *certs_load(const struct certs *certs, const char *name)
{
    FILE *file = certs_open(certs, name, "crt", "r");
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    assert_non_null(certificate);
    return certificate;
}

static inline EVP_PKEY *certs_load_key(const struct certs *certs, const char *name)
{
    FILE *file = certs_open(certs, name, "key", "r");
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    assert_non_null(key);
    return key;
}

static inline void certs_extend(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static inline EVP_PKEY *certs_make_key(enum certs_key kind)
{
    switch (kind) {
    case CERTS_P256:
        return EVP_EC_gen("P-256");
    case CERTS_RSA:
        return EVP_RSA_gen(2048);
    case CERTS_ED25519:
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    }
    return NULL;
}

static inline void certs_add(struct certs *certs, const char *id, const struct certs_spec *spec)
{
    EVP_PKEY *key = certs_make_key(spec->key);
    assert_non_null(key);
    X509 *certificate = X509_new();
    X509 *issuer = spec->issuer != NULL ? certs_load(certs, spec->issuer) : certificate;
    EVP_PKEY *signer = spec->issuer != NULL ? certs_load_key(certs, spec->issuer) : key;
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++certs->serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate),
                    spec->from_s != 0 ? spec->from_s : -CERTS_DAY);
    X509_gmtime_adj(X509_getm_notAfter(certificate),
                    spec->to_s != 0 ? spec->to_s : 365 * CERTS_DAY);
    X509_set_pubkey(certificate, key);
    X509_NAME *subject = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, (const unsigned char *)"Holdfast", -1,
                               -1, 0);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)spec->name, -1,
                               -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
    certs_extend(certificate, issuer, NID_basic_constraints,
                 spec->is_authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (spec->names != NULL)
        certs_extend(certificate, issuer, NID_subject_alt_name, spec->names);
    const EVP_MD *hash = EVP_get_digestbyname(spec->hash != NULL ? spec->hash : "SHA256");
    assert_true(X509_sign(certificate, signer, spec->key == CERTS_ED25519 ? NULL : hash) > 0);

    FILE *file = certs_open(certs, id, "crt", "w");
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    fclose(file);
    file = certs_open(certs, id, "key", "w");
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
    if (spec->issuer != NULL) {
        X509_free(issuer);
        EVP_PKEY_free(signer);
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
}

#endif
