/*
 * Whom TLS lets in: certificates good and bad, on both sides, and the words for those refused.
 */
#include "unit.h"

#include <openssl/ssl.h>
#include <stdlib.h>

#include "net/tls.h"
#include "net/tls_int.h"
#include "tls_pair.h"

struct rig {
    struct certs certs;
    struct mem mem;
    struct tls_pair pair;
};

static int rig_set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    mem_init(&rig->mem, 0);
    certs_init(&rig->certs);
    struct certs *certs = &rig->certs;
    certs_add(certs, "ca", &(struct certs_spec){.name = "Test CA", .is_authority = true});
    certs_add(certs, "other", &(struct certs_spec){.name = "Other CA", .is_authority = true});
    certs_add(certs, "db",
              &(struct certs_spec){.name = "db",
                                   .names = "DNS:db.example,DNS:*.pool.example,IP:192.0.2.7,IP:::1",
                                   .issuer = "ca"});
    certs_add(certs, "plain", &(struct certs_spec){.name = "plain.example", .issuer = "ca"});
    certs_add(certs, "ip", &(struct certs_spec){.name = "192.0.2.9", .issuer = "ca"});
    certs_add(certs, "old",
              &(struct certs_spec){.name = "old.example",
                                   .issuer = "ca",
                                   .from_s = -20 * CERTS_DAY,
                                   .to_s = -10 * CERTS_DAY});
    certs_add(certs, "early",
              &(struct certs_spec){.name = "early.example",
                                   .issuer = "ca",
                                   .from_s = 10 * CERTS_DAY,
                                   .to_s = 20 * CERTS_DAY});
    certs_add(certs, "self", &(struct certs_spec){.name = "self.example"});
    certs_add(certs, "foreign", &(struct certs_spec){.name = "db.example", .issuer = "other"});
    certs_add(certs, "app", &(struct certs_spec){.name = "app", .issuer = "ca"});
    *state = rig;
    return 0;
}

static int rig_tear_down(void **state)
{
    struct rig *rig = *state;
    tls_pair_deinit(&rig->pair);
    mem_deinit(&rig->mem);
    certs_deinit(&rig->certs);
    free(rig);
    return 0;
}

/* Both sides of a handshake, by the names of their certificates. */
struct trial {
    const char *server;    /* its certificate */
    const char *client;    /* its certificate; NULL: none */
    const char *ca;        /* whom the client trusts; NULL: "ca" */
    const char *client_ca; /* whom the server trusts; NULL: "ca" */
    const char *crl_file;  /* the client's */
    const char *host;
    enum tls_verify verify;
    enum tls_clients clients;
    enum tls_version client_max, server_min;
    const char *client_ciphers; /* of TLS 1.2 */
    bool comes_twice;           /* and it is the second time that counts */
};

static const char *path_of(const struct rig *rig, const char *id, const char *suffix,
                           char out[CERTS_PATH_SIZE])
{
    char file[CERTS_PATH_SIZE / 2];
    if (id == NULL)
        return NULL;
    snprintf(file, sizeof file, "%s.%s", id, suffix);
    return certs_path(&rig->certs, file, out);
}

static void run(struct rig *rig, const struct trial *trial)
{
    char crt[2][CERTS_PATH_SIZE], key[2][CERTS_PATH_SIZE], ca[2][CERTS_PATH_SIZE];
    bool asks = trial->clients != TLS_CLIENTS_OFF;
    struct tls_config of_server = {
        .side = TLS_SERVER,
        .cert_file = path_of(rig, trial->server, "crt", crt[0]),
        .key_file = path_of(rig, trial->server, "key", key[0]),
        .ca_file =
            asks ? path_of(rig, trial->client_ca != NULL ? trial->client_ca : "ca", "crt", ca[0])
                 : NULL,
        .clients = trial->clients,
        .min_version = trial->server_min,
    };
    struct tls_config of_client = {
        .side = TLS_CLIENT,
        .ca_file = path_of(rig, trial->ca != NULL ? trial->ca : "ca", "crt", ca[1]),
        .verify = trial->verify,
        .crl_file = trial->crl_file,
        .max_version = trial->client_max,
        .ciphers = trial->client_ciphers,
    };
    if (trial->client != NULL) {
        of_client.cert_file = path_of(rig, trial->client, "crt", crt[1]);
        of_client.key_file = path_of(rig, trial->client, "key", key[1]);
    }
    struct tls_context *server = tls_pair_context(&rig->mem, &of_server);
    struct tls_context *client = tls_pair_context(&rig->mem, &of_client);
    const struct tls_options options = {.host_name = trial->host, .session_key = "db:5432"};
    for (int i = trial->comes_twice ? 0 : 1; i < 2; i++) {
        tls_pair_deinit(&rig->pair);
        tls_pair_init(&rig->pair, client, server, &options);
        tls_pair_shake(&rig->pair, SIZE_MAX);
    }
    tls_context_drop(server);
    tls_context_drop(client);
}

/* ---- servers ---- */

static void tls_trust__a_server_is_let_in_by_what_the_mode_demands(void **state)
{
    struct rig *rig = *state;
    static const struct trial trials[] = {
        {.server = "db", .host = "db.example", .verify = TLS_VERIFY_FULL},
        {.server = "db", .host = "DB.Example", .verify = TLS_VERIFY_FULL},
        {.server = "db", .host = "a.pool.example", .verify = TLS_VERIFY_FULL},
        {.server = "db", .host = "192.0.2.7", .verify = TLS_VERIFY_FULL},
        {.server = "db", .host = "::1", .verify = TLS_VERIFY_FULL},
        /* Without other names its common name counts, for addresses too, as in libpq. */
        {.server = "plain", .host = "plain.example", .verify = TLS_VERIFY_FULL},
        {.server = "ip", .host = "192.0.2.9", .verify = TLS_VERIFY_FULL},
        {.server = "db", .host = "elsewhere.example", .verify = TLS_VERIFY_CA},
        {.server = "db", .host = NULL, .verify = TLS_VERIFY_CA},
        {.server = "self", .host = "any.example", .verify = TLS_VERIFY_NONE},
        {.server = "old", .host = "any.example", .verify = TLS_VERIFY_NONE},
    };
    for (size_t i = 0; i < sizeof trials / sizeof trials[0]; i++) {
        run(rig, &trials[i]);
        if (tls_state(rig->pair.client) != TLS_OPEN)
            fail_msg("trial %zu: %s", i, tls_error(rig->pair.client)->message);
        assert_int_equal(tls_state(rig->pair.server), TLS_OPEN);
    }
}

static void tls_trust__a_server_that_is_not_the_right_one_is_refused_in_words(void **state)
{
    struct rig *rig = *state;
    static const struct {
        struct trial trial;
        const char *message;
        const char *of_server; /* what the other side says of it */
    } cases[] = {
        {{.server = "db", .host = "db.exampl", .verify = TLS_VERIFY_FULL},
         "server certificate for \"db\" does not match host name \"db.exampl\"",
         "client does not accept our certificate"},
        {{.server = "db", .host = "a.b.pool.example", .verify = TLS_VERIFY_FULL},
         "server certificate for \"db\" does not match host name \"a.b.pool.example\"",
         "client does not accept our certificate"},
        /* Where there are other names, the common name is none. */
        {{.server = "db", .host = "db", .verify = TLS_VERIFY_FULL},
         "server certificate for \"db\" does not match host name \"db\"",
         "client does not accept our certificate"},
        {{.server = "db", .host = "192.0.2.8", .verify = TLS_VERIFY_FULL},
         "server certificate for \"db\" does not match host name \"192.0.2.8\"",
         "client does not accept our certificate"},
        {{.server = "old", .host = "old.example", .verify = TLS_VERIFY_CA},
         "certificate of the server has expired",
         "client says that our certificate has expired"},
        {{.server = "early", .host = "early.example", .verify = TLS_VERIFY_CA},
         "certificate of the server is not valid yet",
         "client does not accept our certificate"},
        {{.server = "foreign", .host = "db.example", .verify = TLS_VERIFY_FULL},
         "certificate of the server is signed by an authority that is not known here",
         "client does not know the authority that signed our certificate"},
        {{.server = "self", .host = "self.example", .verify = TLS_VERIFY_CA},
         "certificate of the server is signed by an authority that is not known here",
         "client does not know the authority that signed our certificate"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run(rig, &cases[i].trial);
        const struct hf_err *err = tls_error(rig->pair.client);
        if (err == NULL)
            fail_msg("case %zu was let in", i);
        else
            assert_string_equal(err->message, cases[i].message);
        assert_string_not_equal(err->hint, "");
        assert_int_equal(tls_state(rig->pair.server), TLS_FAILED);
        assert_string_equal(tls_error(rig->pair.server)->message, cases[i].of_server);
    }
}

static void tls_trust__an_expired_certificate_is_told_with_its_day(void **state)
{
    struct rig *rig = *state;
    run(rig, &(struct trial){.server = "old", .host = "old.example", .verify = TLS_VERIFY_FULL});
    char expected[128], day[32];
    struct tm tm;
    X509 *old = certs_load(&rig->certs, "old"); /* it was made before midnight, perhaps */
    assert_int_equal(ASN1_TIME_to_tm(X509_get0_notAfter(old), &tm), 1);
    X509_free(old);
    strftime(day, sizeof day, "%F", &tm);
    snprintf(expected, sizeof expected, "The certificate for \"old.example\" is valid until %s",
             day);
    assert_memory_equal(tls_error(rig->pair.client)->detail, expected, strlen(expected));
}

static void tls_trust__a_server_without_a_name_cannot_be_verified_in_full(void **state)
{
    struct rig *rig = *state;
    char ca[CERTS_PATH_SIZE];
    struct tls_config config = {
        .side = TLS_CLIENT, .ca_file = path_of(rig, "ca", "crt", ca), .verify = TLS_VERIFY_FULL};
    struct tls_context *context = tls_pair_context(&rig->mem, &config);
    struct tls *tls;
    struct hf_err err;
    assert_int_equal(tls_new(&tls, context, NULL, &err), HF_RC_INVALID);
    assert_null(tls);
    assert_string_equal(err.message, "cannot verify a server that has no host name");
    tls_context_drop(context);
}

/* A list that calls back the certificate with this serial number. */
static void add_crl(const struct rig *rig, const char *authority, long serial, const char *path)
{
    X509 *issuer = certs_load(&rig->certs, authority);
    EVP_PKEY *key = certs_load_key(&rig->certs, authority);
    X509_CRL *crl = X509_CRL_new();
    X509_CRL_set_version(crl, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer));
    ASN1_TIME *time = X509_gmtime_adj(NULL, -CERTS_DAY);
    X509_CRL_set1_lastUpdate(crl, time);
    X509_REVOKED *revoked = X509_REVOKED_new();
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    ASN1_INTEGER_set(number, serial);
    X509_REVOKED_set_serialNumber(revoked, number);
    X509_REVOKED_set_revocationDate(revoked, time);
    X509_CRL_add0_revoked(crl, revoked);
    X509_gmtime_adj(time, CERTS_DAY);
    X509_CRL_set1_nextUpdate(crl, time);
    assert_true(X509_CRL_sign(crl, key, EVP_sha256()) > 0);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509_CRL(file, crl), 1);
    fclose(file);
    ASN1_INTEGER_free(number);
    ASN1_TIME_free(time);
    X509_CRL_free(crl);
    EVP_PKEY_free(key);
    X509_free(issuer);
}

static void tls_trust__a_certificate_that_was_called_back_is_refused(void **state)
{
    struct rig *rig = *state;
    char crl[CERTS_PATH_SIZE];
    certs_path(&rig->certs, "ca.crl", crl);
    X509 *db = certs_load(&rig->certs, "db");
    add_crl(rig, "ca", ASN1_INTEGER_get(X509_get0_serialNumber(db)), crl);
    X509_free(db);
    struct trial trial = {
        .server = "db", .host = "db.example", .verify = TLS_VERIFY_FULL, .crl_file = crl};
    run(rig, &trial);
    assert_int_equal(tls_state(rig->pair.client), TLS_FAILED);
    assert_string_equal(tls_error(rig->pair.client)->message,
                        "certificate of the server was called back");
    assert_string_equal(tls_error(rig->pair.server)->message,
                        "client says that our certificate was called back");
    trial.server = "plain";
    trial.host = "plain.example";
    run(rig, &trial);
    assert_int_equal(tls_state(rig->pair.client), TLS_OPEN);
}

/* ---- clients ---- */

static void tls_trust__a_client_is_known_by_its_certificate(void **state)
{
    struct rig *rig = *state;
    static const enum tls_version versions[] = {TLS_VERSION_1_2, TLS_VERSION_1_3};
    static const enum tls_clients modes[] = {TLS_CLIENTS_OPTIONAL, TLS_CLIENTS_REQUIRED};
    char name[TLS_NAME_SIZE];
    for (size_t i = 0; i < 4; i++) {
        run(rig, &(struct trial){.server = "db",
                                 .client = "app",
                                 .clients = modes[i / 2],
                                 .client_max = versions[i % 2]});
        assert_int_equal(tls_state(rig->pair.server), TLS_OPEN);
        assert_true(tls_peer_common_name(rig->pair.server, name));
        assert_string_equal(name, "app");
        assert_true(tls_peer_subject(rig->pair.server, name));
        assert_string_equal(name, "CN=app,O=Holdfast");
        assert_true(tls_peer_common_name(rig->pair.client, name));
        assert_string_equal(name, "db");
    }
}

static void tls_trust__a_client_that_resumes_is_known_by_its_certificate(void **state)
{
    struct rig *rig = *state;
    static const enum tls_version versions[] = {TLS_VERSION_1_2, TLS_VERSION_1_3};
    for (size_t i = 0; i < 2; i++) {
        struct tls_info info;
        char name[TLS_NAME_SIZE], binding[2][TLS_BINDING_MAX];
        run(rig, &(struct trial){.server = "db",
                                 .host = "db.example",
                                 .verify = TLS_VERIFY_FULL,
                                 .client = "app",
                                 .clients = TLS_CLIENTS_REQUIRED,
                                 .client_max = versions[i],
                                 .comes_twice = true});
        assert_int_equal(tls_state(rig->pair.server), TLS_OPEN);
        tls_info(rig->pair.server, &info);
        assert_true(info.is_resumed);
        assert_true(tls_peer_common_name(rig->pair.server, name));
        assert_string_equal(name, "app");
        assert_true(tls_peer_common_name(rig->pair.client, name));
        assert_string_equal(name, "db");
        assert_int_equal(tls_binding(rig->pair.client, binding[0]), 32);
        assert_int_equal(tls_binding(rig->pair.server, binding[1]), 32);
        assert_memory_equal(binding[0], binding[1], 32);
    }
}

static void tls_trust__a_client_without_a_certificate_has_no_name(void **state)
{
    struct rig *rig = *state;
    char name[TLS_NAME_SIZE] = "x";
    run(rig, &(struct trial){.server = "db", .clients = TLS_CLIENTS_OPTIONAL});
    assert_int_equal(tls_state(rig->pair.server), TLS_OPEN);
    assert_false(tls_peer_common_name(rig->pair.server, name));
    assert_string_equal(name, "");
    name[0] = 'x';
    assert_false(tls_peer_subject(rig->pair.server, name));
    assert_string_equal(name, "");
    /* A certificate that nobody asked for is not shown. */
    run(rig, &(struct trial){.server = "db", .client = "app"});
    assert_int_equal(tls_state(rig->pair.server), TLS_OPEN);
    assert_false(tls_peer_common_name(rig->pair.server, name));
}

static void tls_trust__a_client_that_shows_nothing_good_is_refused(void **state)
{
    struct rig *rig = *state;
    static const struct {
        struct trial trial;
        const char *message;
        const char *of_client;
    } cases[] = {
        {{.server = "db", .clients = TLS_CLIENTS_REQUIRED},
         "client has shown no certificate, and must",
         "server demands a certificate of us"},
        {{.server = "db", .client = "foreign", .clients = TLS_CLIENTS_OPTIONAL},
         "certificate of the client is signed by an authority that is not known here",
         "server does not know the authority that signed our certificate"},
        {{.server = "db", .client = "old", .clients = TLS_CLIENTS_REQUIRED},
         "certificate of the client has expired",
         "server says that our certificate has expired"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run(rig, &cases[i].trial);
        assert_int_equal(tls_state(rig->pair.server), TLS_FAILED);
        assert_string_equal(tls_error(rig->pair.server)->message, cases[i].message);
        assert_int_equal(tls_state(rig->pair.client), TLS_FAILED);
        assert_string_equal(tls_error(rig->pair.client)->message, cases[i].of_client);
    }
}

/* ---- versions and ciphers ---- */

static void tls_trust__sides_that_cannot_agree_say_why(void **state)
{
    struct rig *rig = *state;
    static const struct {
        struct trial trial;
        const char *of_server, *of_client;
    } cases[] = {
        {{.server = "db", .client_max = TLS_VERSION_1_2, .server_min = TLS_VERSION_1_3},
         "client speaks only versions of TLS that are not allowed here",
         "server allows none of the versions of TLS that are spoken here"},
        {{.server = "db",
          .client_max = TLS_VERSION_1_2,
          .client_ciphers = "ECDHE-RSA-AES256-GCM-SHA384"}, /* the certificate's key is no RSA's */
         "client offers no cipher that is allowed here",
         "server cannot agree with us on how to encrypt"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run(rig, &cases[i].trial);
        assert_int_equal(tls_state(rig->pair.server), TLS_FAILED);
        assert_string_equal(tls_error(rig->pair.server)->message, cases[i].of_server);
        assert_int_equal(tls_state(rig->pair.client), TLS_FAILED);
        assert_string_equal(tls_error(rig->pair.client)->message, cases[i].of_client);
    }
}

/* ---- channel binding ---- */

static void tls_trust__both_sides_are_bound_to_the_servers_certificate(void **state)
{
    struct rig *rig = *state;
    run(rig, &(struct trial){.server = "db", .client = "app", .clients = TLS_CLIENTS_REQUIRED});
    char of_client[TLS_BINDING_MAX], of_server[TLS_BINDING_MAX];
    unsigned char expected[EVP_MAX_MD_SIZE];
    X509 *db = certs_load(&rig->certs, "db");
    assert_int_equal(X509_digest(db, EVP_sha256(), expected, NULL), 1);
    X509_free(db);
    assert_int_equal(tls_binding(rig->pair.client, of_client), 32);
    assert_int_equal(tls_binding(rig->pair.server, of_server), 32);
    assert_memory_equal(of_client, expected, 32);
    assert_memory_equal(of_server, expected, 32);
}

static void tls_trust__the_binding_takes_the_hash_of_the_signature(void **state)
{
    struct rig *rig = *state;
    static const struct {
        struct certs_spec spec;
        size_t size;
    } cases[] = {
        {{.name = "x", .hash = "MD5", .key = CERTS_RSA}, 32},
        {{.name = "x", .hash = "SHA1"}, 32},
        {{.name = "x", .hash = "SHA224"}, 28},
        {{.name = "x", .hash = "SHA256"}, 32},
        {{.name = "x", .hash = "SHA384"}, 48},
        {{.name = "x", .hash = "SHA512"}, 64},
        {{.name = "x", .key = CERTS_ED25519}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        certs_add(&rig->certs, "x", &cases[i].spec);
        X509 *certificate = certs_load(&rig->certs, "x");
        char binding[TLS_BINDING_MAX];
        unsigned char expected[EVP_MAX_MD_SIZE];
        assert_int_equal(tls_binding_of(certificate, binding), cases[i].size);
        if (cases[i].size == 32) {
            assert_int_equal(X509_digest(certificate, EVP_sha256(), expected, NULL), 1);
            assert_memory_equal(binding, expected, 32);
        }
        X509_free(certificate);
    }
}

/* ---- names ---- */

static void tls_trust__a_name_with_a_zero_byte_is_no_name(void **state)
{
    (void)state;
    static const struct {
        struct sv name;
        bool is_good;
    } cases[] = {
        {SV_INIT("admin"), true},
        {SV_INIT("admin\0.example"), false},
        {SV_INIT("0123456789abcdef"), false}, /* does not fit */
        {SV_INIT("0123456789abcde"), true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        X509 *certificate = X509_new();
        X509_NAME *subject = X509_get_subject_name(certificate);
        char name[16];
        assert_false(tls_common_name(certificate, name, sizeof name));
        assert_int_equal(X509_NAME_add_entry_by_NID(subject, NID_commonName, V_ASN1_UTF8STRING,
                                                    (const unsigned char *)cases[i].name.data,
                                                    (int)cases[i].name.size, -1, 0),
                         1);
        assert_int_equal(tls_common_name(certificate, name, sizeof name), cases[i].is_good);
        assert_string_equal(name, cases[i].is_good ? cases[i].name.data : "");
        X509_free(certificate);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        CASE(tls_trust__a_server_is_let_in_by_what_the_mode_demands),
        CASE(tls_trust__a_server_that_is_not_the_right_one_is_refused_in_words),
        CASE(tls_trust__an_expired_certificate_is_told_with_its_day),
        CASE(tls_trust__a_server_without_a_name_cannot_be_verified_in_full),
        CASE(tls_trust__a_certificate_that_was_called_back_is_refused),
        CASE(tls_trust__a_client_is_known_by_its_certificate),
        CASE(tls_trust__a_client_that_resumes_is_known_by_its_certificate),
        CASE(tls_trust__a_client_without_a_certificate_has_no_name),
        CASE(tls_trust__a_client_that_shows_nothing_good_is_refused),
        CASE(tls_trust__sides_that_cannot_agree_say_why),
        CASE(tls_trust__both_sides_are_bound_to_the_servers_certificate),
        CASE(tls_trust__the_binding_takes_the_hash_of_the_signature),
        CASE(tls_trust__a_name_with_a_zero_byte_is_no_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
