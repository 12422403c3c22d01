/*
 * Contexts of TLS: files and settings, good and bad.
 */
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "net/tls.h"
#include "net/tls_int.h"
#include "tls_pair.h"

struct rig {
    struct certs certs;
    struct mem mem;
    char crt[CERTS_PATH_SIZE], key[CERTS_PATH_SIZE], ca[CERTS_PATH_SIZE];
    char other_key[CERTS_PATH_SIZE], rubbish[CERTS_PATH_SIZE], absent[CERTS_PATH_SIZE];
    char locked_key[CERTS_PATH_SIZE], open_key[CERTS_PATH_SIZE];
    struct secret password;
};

static void write_key(const struct rig *rig, const char *path, const char *password)
{
    EVP_PKEY *key = certs_load_key(&rig->certs, "db");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(chmod(path, 0600), 0);
    int size = password != NULL ? (int)strlen(password) : 0;
    assert_int_equal(PEM_write_PKCS8PrivateKey(file, key,
                                               password != NULL ? EVP_aes_256_cbc() : NULL,
                                               password, size, NULL, NULL),
                     1);
    fclose(file);
    EVP_PKEY_free(key);
}

static int rig_set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    mem_init(&rig->mem, 0);
    certs_init(&rig->certs);
    certs_add(&rig->certs, "ca", &(struct certs_spec){.name = "Test CA", .is_authority = true});
    certs_add(&rig->certs, "db", &(struct certs_spec){.name = "db.example", .issuer = "ca"});
    certs_add(&rig->certs, "other", &(struct certs_spec){.name = "other", .issuer = "ca"});
    certs_path(&rig->certs, "db.crt", rig->crt);
    certs_path(&rig->certs, "db.key", rig->key);
    certs_path(&rig->certs, "ca.crt", rig->ca);
    certs_path(&rig->certs, "other.key", rig->other_key);
    certs_path(&rig->certs, "absent", rig->absent);
    certs_path(&rig->certs, "rubbish", rig->rubbish);
    certs_path(&rig->certs, "locked.key", rig->locked_key);
    certs_path(&rig->certs, "open.key", rig->open_key);
    assert_int_equal(file_write(rig->rubbish, "no certificate\n", 0600, NULL), HF_OK);
    write_key(rig, rig->locked_key, "sesame");
    write_key(rig, rig->open_key, NULL);
    assert_int_equal(chmod(rig->open_key, 0644), 0);
    *state = rig;
    return 0;
}

static int rig_tear_down(void **state)
{
    struct rig *rig = *state;
    mem_deinit(&rig->mem);
    certs_deinit(&rig->certs);
    secret_wipe(&rig->password);
    free(rig);
    return 0;
}

/* What is wrong with a configuration, and how the message begins; %s: the folder. */
struct refusal {
    struct tls_config config;
    const char *message;
};

static void assert_refused(struct rig *rig, const struct refusal *refusal)
{
    struct tls_context *context;
    struct hf_err err;
    char expected[512];
    const char *folder = strstr(refusal->message, "%s");
    if (folder == NULL)
        snprintf(expected, sizeof expected, "%s", refusal->message);
    else
        snprintf(expected, sizeof expected, "%.*s%s%s", (int)(folder - refusal->message),
                 refusal->message, rig->certs.dir, folder + 2);
    if (tls_context_new(&context, &refusal->config, &rig->mem, &err) == HF_OK)
        fail_msg("no refusal: %s", expected);
    assert_null(context);
    if (strncmp(err.message, expected, strlen(expected)) != 0)
        fail_msg("%s instead of %s", err.message, expected);
    assert_int_equal(mem_stats(&rig->mem).bytes, 0);
}

static void tls_context__a_certificate_that_cannot_be_used_is_refused_by_name(void **state)
{
    struct rig *rig = *state;
    struct secret wrong = {.size = 0};
    assert_int_equal(secret_set(&wrong, SV("open"), NULL), HF_OK);
    const struct refusal cases[] = {
        {{.side = TLS_SERVER}, "TLS for clients needs a certificate"},
        {{.side = TLS_SERVER, .cert_file = "", .key_file = ""},
         "TLS for clients needs a certificate"},
        {{.side = TLS_SERVER, .cert_file = rig->crt},
         "a certificate and its private key are both needed"},
        {{.side = TLS_CLIENT, .key_file = rig->key},
         "a certificate and its private key are both needed"},
        {{.side = TLS_SERVER, .cert_file = rig->absent, .key_file = rig->key},
         "could not open certificate file \"%s/absent\": No such file or directory"},
        {{.side = TLS_SERVER, .cert_file = rig->crt, .key_file = rig->absent},
         "could not open private key file \"%s/absent\": No such file or directory"},
        {{.side = TLS_SERVER, .cert_file = rig->rubbish, .key_file = rig->key},
         "cannot use certificate file \"%s/rubbish\": no start line"},
        {{.side = TLS_SERVER, .cert_file = rig->crt, .key_file = rig->rubbish},
         "cannot use private key file \"%s/rubbish\": "},
        {{.side = TLS_SERVER, .cert_file = rig->crt, .key_file = rig->other_key},
         "private key file \"%s/other.key\" belongs to another certificate"},
        {{.side = TLS_SERVER, .cert_file = rig->crt, .key_file = rig->open_key},
         "private key file \"%s/open.key\" can be read or written by others"},
        {{.side = TLS_SERVER, .cert_file = rig->crt, .key_file = rig->locked_key},
         "private key file \"%s/locked.key\" is encrypted"},
        {{.side = TLS_SERVER,
          .cert_file = rig->crt,
          .key_file = rig->locked_key,
          .key_password = &wrong},
         "cannot use private key file \"%s/locked.key\": "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_refused(rig, &cases[i]);
    secret_wipe(&wrong);
}

static void tls_context__what_cannot_be_verified_or_agreed_is_refused_by_name(void **state)
{
    struct rig *rig = *state;
    const struct refusal cases[] = {
        {{.side = TLS_CLIENT, .verify = TLS_VERIFY_CA},
         "cannot verify servers without a file of authorities"},
        {{.side = TLS_CLIENT, .verify = TLS_VERIFY_CA, .ca_file = rig->absent},
         "could not open authorities file \"%s/absent\": No such file or directory"},
        {{.side = TLS_CLIENT, .verify = TLS_VERIFY_CA, .ca_file = rig->rubbish},
         "cannot use authorities file \"%s/rubbish\": "},
        {{.side = TLS_CLIENT, .ca_file = rig->ca, .crl_file = rig->absent},
         "could not open revocation list file \"%s/absent\": No such file or directory"},
        {{.side = TLS_CLIENT, .ca_file = rig->ca, .crl_file = rig->rubbish},
         "cannot use revocation list file \"%s/rubbish\": "},
        {{.side = TLS_SERVER,
          .cert_file = rig->crt,
          .key_file = rig->key,
          .clients = TLS_CLIENTS_OPTIONAL},
         "cannot verify clients' certificates without a file of authorities"},
        {{.side = TLS_CLIENT, .ciphers = "NOSUCH"}, "cannot use \"NOSUCH\" as a list of ciphers"},
        {{.side = TLS_CLIENT, .cipher_suites = "NOSUCH"},
         "cannot use \"NOSUCH\" as a list of cipher suites of TLS 1.3"},
        {{.side = TLS_CLIENT, .groups = "NOSUCH"},
         "cannot use \"NOSUCH\" as a list of groups for the key exchange"},
        {{.side = TLS_CLIENT, .alpn = "a,,b"}, "cannot use \"a,,b\" as a list of protocols"},
        {{.side = TLS_CLIENT, .min_version = TLS_VERSION_1_3, .max_version = TLS_VERSION_1_2},
         "the newest version of TLS that is allowed is older than the oldest"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_refused(rig, &cases[i]);
}

static void tls_context__no_more_protocols_are_taken_than_a_handshake_has_room_for(void **state)
{
    struct rig *rig = *state;
    char list[300];
    memset(list, 'p', sizeof list);
    struct tls_config config = {.side = TLS_CLIENT, .alpn = list};
    struct tls_context *context;
    list[TLS_ALPN_MAX - 1] = '\0';
    assert_int_equal(tls_context_new(&context, &config, &rig->mem, NULL), HF_OK);
    tls_context_drop(context);
    list[TLS_ALPN_MAX - 1] = 'p';
    list[TLS_ALPN_MAX] = '\0';
    assert_int_equal(tls_context_new(&context, &config, &rig->mem, NULL), HF_RC_INVALID);
}

static void tls_context__a_key_with_a_password_is_opened_by_it(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(secret_set(&rig->password, SV("sesame"), NULL), HF_OK);
    struct tls_config config = {.side = TLS_SERVER,
                                .cert_file = rig->crt,
                                .key_file = rig->locked_key,
                                .key_password = &rig->password};
    tls_context_drop(tls_pair_context(&rig->mem, &config));
}

static void tls_context__the_systems_authorities_do_not_know_ours(void **state)
{
    struct rig *rig = *state;
    struct tls_config of_client = {
        .side = TLS_CLIENT, .ca_file = "system", .verify = TLS_VERIFY_FULL};
    struct tls_config of_server = {.side = TLS_SERVER, .cert_file = rig->crt, .key_file = rig->key};
    struct tls_context *client = tls_pair_context(&rig->mem, &of_client);
    struct tls_context *server = tls_pair_context(&rig->mem, &of_server);
    static struct tls_pair pair;
    tls_pair_init(&pair, client, server, &(struct tls_options){.host_name = "db.example"});
    tls_pair_shake(&pair, SIZE_MAX);
    assert_int_equal(tls_state(pair.client), TLS_FAILED);
    tls_pair_deinit(&pair);
    tls_context_drop(client);
    tls_context_drop(server);
}

static void tls_context__settings_reach_the_handshake(void **state)
{
    struct rig *rig = *state;
    struct tls_config of_client = {.side = TLS_CLIENT};
    struct tls_config of_server = {.side = TLS_SERVER,
                                   .cert_file = rig->crt,
                                   .key_file = rig->key,
                                   .cipher_suites = "TLS_CHACHA20_POLY1305_SHA256",
                                   .min_version = TLS_VERSION_1_3,
                                   .groups = "P-384"};
    struct tls_context *client = tls_pair_context(&rig->mem, &of_client);
    struct tls_context *server = tls_pair_context(&rig->mem, &of_server);
    static struct tls_pair pair;
    tls_pair_init(&pair, client, server, &(struct tls_options){.host_name = "any"});
    tls_pair_shake(&pair, SIZE_MAX);
    assert_int_equal(tls_state(pair.client), TLS_OPEN);
    struct tls_info info;
    tls_info(pair.client, &info);
    assert_string_equal(info.cipher, "TLS_CHACHA20_POLY1305_SHA256");
    assert_int_equal(SSL_get_negotiated_group(pair.client->ssl), NID_secp384r1);
    tls_pair_deinit(&pair);
    tls_context_drop(client);
    tls_context_drop(server);
}

static void tls_context__it_tells_when_its_certificate_expires(void **state)
{
    struct rig *rig = *state;
    struct tls_config config = {.side = TLS_SERVER, .cert_file = rig->crt, .key_file = rig->key};
    struct tls_context *context = tls_pair_context(&rig->mem, &config);
    int64_t in_a_year = (int64_t)time(NULL) + 365 * CERTS_DAY;
    assert_in_range(tls_context_expires_s(context), in_a_year - 3600, in_a_year);
    tls_context_drop(context);
    config = (struct tls_config){.side = TLS_CLIENT};
    context = tls_pair_context(&rig->mem, &config);
    assert_true(tls_context_expires_s(context) == INT64_MAX);
    tls_context_drop(context);
    tls_context_drop(NULL);
}

static void tls_context__it_lives_as_long_as_its_last_reference(void **state)
{
    struct rig *rig = *state;
    struct tls_config config = {.side = TLS_CLIENT};
    struct tls_context *context = tls_pair_context(&rig->mem, &config);
    assert_ptr_equal(tls_context_hold(context), context);
    tls_context_drop(context);
    assert_int_not_equal(mem_stats(&rig->mem).bytes, 0);
    struct tls *tls;
    assert_int_equal(tls_new(&tls, context, NULL, NULL), HF_OK);
    tls_context_drop(context);
    assert_int_not_equal(mem_stats(&rig->mem).bytes, 0);
    tls_free(tls);
    assert_int_equal(mem_stats(&rig->mem).bytes, 0);
}

#define THREADS    3
#define HANDSHAKES 20

struct visitor {
    pthread_t thread;
    struct tls_context *client, *server;
    struct tls_pair *pair;
    unsigned opened, resumed;
};

/* No assertion of cmocka's: those jump, and only the test's own thread may. */
static void *visit(void *argument)
{
    struct visitor *visitor = argument;
    struct tls_pair *pair = visitor->pair;
    const struct tls_options options = {.host_name = "db.example", .session_key = "db:5432"};
    for (unsigned i = 0; i < HANDSHAKES; i++) {
        struct tls_info info;
        tls_pair_init(pair, visitor->client, visitor->server, &options);
        tls_pair_shake(pair, SIZE_MAX);
        if (tls_state(pair->client) == TLS_OPEN && tls_state(pair->server) == TLS_OPEN) {
            visitor->opened++;
            tls_info(pair->client, &info);
            visitor->resumed += info.is_resumed ? 1 : 0;
        }
        tls_pair_deinit(pair);
    }
    return NULL;
}

static void tls_context__threads_share_it_and_its_sessions(void **state)
{
    struct rig *rig = *state;
    static const enum tls_version versions[] = {TLS_VERSION_1_2, TLS_VERSION_1_3};
    for (size_t v = 0; v < 2; v++) {
        struct tls_config of_client = {.side = TLS_CLIENT,
                                       .ca_file = rig->ca,
                                       .verify = TLS_VERIFY_FULL,
                                       .max_version = versions[v]};
        struct tls_config of_server = {
            .side = TLS_SERVER, .cert_file = rig->crt, .key_file = rig->key};
        struct tls_context *client = tls_pair_context(&rig->mem, &of_client);
        struct tls_context *server = tls_pair_context(&rig->mem, &of_server);
        struct visitor visitors[THREADS] = {{.opened = 0}};
        unsigned resumed = 0;
        for (size_t i = 0; i < THREADS; i++) {
            visitors[i].client = client;
            visitors[i].server = server;
            visitors[i].pair = calloc(1, sizeof *visitors[i].pair);
            assert_non_null(visitors[i].pair);
            assert_int_equal(pthread_create(&visitors[i].thread, NULL, visit, &visitors[i]), 0);
        }
        for (size_t i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_join(visitors[i].thread, NULL), 0);
            assert_int_equal(visitors[i].opened, HANDSHAKES);
            resumed += visitors[i].resumed;
            free(visitors[i].pair);
        }
        /* Each thread's first one, at the most, had nothing to resume. */
        assert_in_range(resumed, THREADS * (HANDSHAKES - 1), THREADS * HANDSHAKES - 1);
        tls_context_drop(client);
        tls_context_drop(server);
    }
}

static void tls_context__without_memory_there_is_none(void **state)
{
    struct rig *rig = *state;
    struct tls_config config = {.side = TLS_CLIENT};
    struct tls_context *context;
    mem_fail_nth(&rig->mem, 1);
    assert_int_equal(tls_context_new(&context, &config, &rig->mem, NULL), HF_RC_LIMIT);
    assert_null(context);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        CASE(tls_context__a_certificate_that_cannot_be_used_is_refused_by_name),
        CASE(tls_context__what_cannot_be_verified_or_agreed_is_refused_by_name),
        CASE(tls_context__no_more_protocols_are_taken_than_a_handshake_has_room_for),
        CASE(tls_context__a_key_with_a_password_is_opened_by_it),
        CASE(tls_context__the_systems_authorities_do_not_know_ours),
        CASE(tls_context__settings_reach_the_handshake),
        CASE(tls_context__it_tells_when_its_certificate_expires),
        CASE(tls_context__it_lives_as_long_as_its_last_reference),
        CASE(tls_context__threads_share_it_and_its_sessions),
        CASE(tls_context__without_memory_there_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
