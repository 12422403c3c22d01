#include "unit.h"

#include <string.h>

#include "scram_cases.h"
#include "wire/bytes.h"
#include "wire/scram_server.h"

static struct scram_server begun(char flag)
{
    struct scram_server server;
    struct scram_verifier verifier = case_verifier();
    struct scram_binding binding = {0};
    if (flag == 'p')
        binding = case_binding();
    scram_server_init(&server, &verifier, &binding, flag == 'p');
    return server;
}

static struct scram_server challenged(const struct scram_case *which)
{
    char block[512];
    struct buffer out;
    struct scram_server server = begun(which->flag);
    buffer_init(&out, block, sizeof block);
    assert_int_equal(
        scram_server_first(&server, sv_from_cstr(which->first), CASE_SERVER_RANDOM, &out, NULL),
        HF_OK);
    assert_true(sv_eq(buffer_view(&out), SV(CASE_CHALLENGE)));
    return server;
}

static void scram_server__a_proof_opens_and_leaves_the_keys(void **state)
{
    (void)state;
    struct scram_keys expected = case_keys();
    for (size_t i = 0; i < SCRAM_CASES; i++) {
        char block[512];
        struct buffer out;
        struct scram_keys keys;
        struct scram_server server = challenged(&scram_cases[i]);
        buffer_init(&out, block, sizeof block);
        assert_int_equal(
            scram_server_final(&server, sv_from_cstr(scram_cases[i].final), &out, &keys, NULL),
            HF_OK);
        assert_true(sv_eq(buffer_view(&out), sv_from_cstr(scram_cases[i].verify)));
        assert_memory_equal(&keys, &expected, sizeof keys);
    }
}

/* The example of RFC 7677, whose nonces we would not make: they are put where ours would be. */
static void scram_server__the_example_of_the_rfc(void **state)
{
    (void)state;
    static const char nonce[] = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    static const char said[] =
        "n=user,r=rOprNGfwEbeRWgbNEkqO,"
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,";
    char block[512];
    struct buffer out;
    struct hmac_key key;
    struct scram_keys keys;
    struct scram_server server = challenged(&scram_cases[0]);
    server.nonce_size = sizeof nonce - 1;
    memcpy(server.nonce, nonce, sizeof nonce - 1);
    hmac_key_init(&key, sv_from(server.verifier.stored_key, SCRAM_KEY_SIZE));
    server.proof = hmac_begin(&key);
    hmac_add(&server.proof, sv_from_cstr(said));
    hmac_key_init(&key, sv_from(server.verifier.server_key, SCRAM_KEY_SIZE));
    server.signature = hmac_begin(&key);
    hmac_add(&server.signature, sv_from_cstr(said));
    buffer_init(&out, block, sizeof block);
    assert_int_equal(
        scram_server_final(&server,
                           SV("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                              "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="),
                           &out, &keys, NULL),
        HF_OK);
    assert_true(sv_eq(buffer_view(&out), SV("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")));
}

static enum hf_rc first_of(bool is_plus, bool can_bind, struct sv data, struct hf_err *err)
{
    char block[512];
    struct buffer out;
    struct scram_server server;
    struct scram_verifier verifier = case_verifier();
    struct scram_binding binding = {0};
    if (can_bind)
        binding = case_binding();
    buffer_init(&out, block, sizeof block);
    scram_server_init(&server, &verifier, &binding, is_plus);
    enum hf_rc rc = scram_server_first(&server, data, CASE_SERVER_RANDOM, &out, err);
    assert_int_equal(buffer_held(&out) > 0, rc == HF_OK);
    /* A refused exchange is over. */
    if (rc != HF_OK)
        assert_int_equal(
            scram_server_first(&server, SV("n,,n=,r=x"), CASE_SERVER_RANDOM, &out, NULL),
            HF_RC_PEER);
    return rc;
}

static const struct {
    const char *data;
    bool is_plus, can_bind;
    const char *sqlstate; /* NULL: accepted */
} firsts[] = {
    {"n,,n=,r=x", false, false, NULL},
    {"n,,n=,r=x", false, true, NULL},
    {"n,,n=a=2Cb,r=!~", false, false, NULL},
    {"n,,n=,r=x,ext=1,more", false, false, NULL},
    {"y,,n=,r=x", false, false, NULL},
    {"y,,n=,r=x", false, true, "28000"}, /* somebody took the offer away */
    {"p=tls-server-end-point,,n=,r=x", true, true, NULL},
    {"p=tls-server-end-point,,n=,r=x", false, true, "08P01"},
    {"p=tls-unique,,n=,r=x", true, true, "08P01"},
    {"p=,,n=,r=x", true, true, "08P01"},
    {"n,,n=,r=x", true, true, "08P01"},
    {"y,,n=,r=x", true, true, "08P01"},
    {"n,a=admin,n=,r=x", false, false, "0A000"},
    {"n,,m=ext,n=,r=x", false, false, "0A000"},
    {"", false, false, "08P01"},
    {"n", false, false, "08P01"},
    {"n,", false, false, "08P01"},
    {"n,,", false, false, "08P01"},
    {"q,,n=,r=x", false, false, "08P01"},
    {"nn,,n=,r=x", false, false, "08P01"},
    {"n,,r=x", false, false, "08P01"},
    {"n,,n=", false, false, "08P01"},
    {"n,,n=,s=x", false, false, "08P01"},
    {"n,,n=,r=", false, false, "08P01"},
    {"n,,n=,r=a b", false, false, "08P01"},
    {"n,,n=,r=\x80", false, false, "08P01"},
};

static void scram_server__first_messages(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof firsts / sizeof firsts[0]; i++) {
        struct hf_err err = {0};
        enum hf_rc rc =
            first_of(firsts[i].is_plus, firsts[i].can_bind, sv_from_cstr(firsts[i].data), &err);
        assert_int_equal(rc, firsts[i].sqlstate == NULL ? HF_OK : HF_RC_PEER);
        assert_string_equal(err.sqlstate, firsts[i].sqlstate == NULL ? "" : firsts[i].sqlstate);
    }
}

static void scram_server__a_nonce_has_a_limit(void **state)
{
    (void)state;
    char data[8 + SCRAM_NONCE_MAX + 1] = "n,,n=,r=";
    memset(data + 8, 'x', SCRAM_NONCE_MAX + 1);
    assert_int_equal(first_of(false, false, sv_from(data, 8 + SCRAM_NONCE_MAX), NULL), HF_OK);
    assert_int_equal(first_of(false, false, sv_from(data, sizeof data), NULL), HF_RC_PEER);
}

#define PROOF ",p=jM5I0Irtyx3rOsmPpTmliBoOyusz5UU51y6q4x8hNHo="

static const struct {
    const char *data;
    enum hf_rc rc;
    const char *sqlstate;
} finals[] = {
    {"c=biws,r=" CASE_NONCE ",p=kM5I0Irtyx3rOsmPpTmliBoOyusz5UU51y6q4x8hNHo=", HF_RC_DENIED,
     "28P01"},
    {"c=biws,r=" CASE_NONCE ",x=unknown" PROOF, HF_RC_DENIED, "28P01"}, /* said, but not signed */
    {"c=eSws,r=" CASE_NONCE PROOF, HF_RC_PEER, "28000"},
    {"c=,r=" CASE_NONCE PROOF, HF_RC_PEER, "28000"},
    {"c=biws,r=" CASE_NONCE "x" PROOF, HF_RC_PEER, "08P01"},
    {"c=biws,r=YWJjZGVmZ2hpamtsbW5vcHFy" PROOF, HF_RC_PEER, "08P01"},
    {"c=biws,r=" PROOF, HF_RC_PEER, "08P01"},
    {"r=" CASE_NONCE ",c=biws" PROOF, HF_RC_PEER, "08P01"},
    {"c=biws,r=" CASE_NONCE, HF_RC_PEER, "08P01"},
    {"c=biws,r=" CASE_NONCE ",p=", HF_RC_PEER, "08P01"},
    {"c=biws,r=" CASE_NONCE ",p=AAAA", HF_RC_PEER, "08P01"},
    {"c=biws,r=" CASE_NONCE PROOF "AAAA", HF_RC_PEER, "08P01"},
    {"c=biws,r=" CASE_NONCE PROOF ",x=behind", HF_RC_PEER, "08P01"},
    {"c=biws,r=" CASE_NONCE ",x" PROOF PROOF, HF_RC_PEER, "08P01"},
    {"", HF_RC_PEER, "08P01"},
    {",", HF_RC_PEER, "08P01"},
    {"p=AAAA", HF_RC_PEER, "08P01"},
};

static void scram_server__final_messages(void **state)
{
    (void)state;
    static const struct scram_keys zeros;
    for (size_t i = 0; i < sizeof finals / sizeof finals[0]; i++) {
        char block[512];
        struct buffer out;
        struct scram_keys keys;
        struct hf_err err = {0};
        struct scram_server server = challenged(&scram_cases[0]);
        struct sv data = sv_from_cstr(finals[i].data);
        buffer_init(&out, block, sizeof block);
        memset(&keys, 'k', sizeof keys);
        assert_int_equal(scram_server_final(&server, data, &out, &keys, &err), finals[i].rc);
        assert_string_equal(err.sqlstate, finals[i].sqlstate);
        assert_int_equal(buffer_held(&out), 0);
        assert_memory_equal(&keys, &zeros, sizeof keys);
        /* One try only. */
        data = sv_from_cstr(scram_cases[0].final);
        assert_int_equal(scram_server_final(&server, data, &out, &keys, &err), HF_RC_PEER);
    }
}

/* Every bit of a good message matters. */
static void scram_server__a_flipped_bit_opens_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < SCRAM_CASES; i++) {
        struct sv good = sv_from_cstr(scram_cases[i].final);
        for (size_t bit = 0; bit < 8 * good.size; bit++) {
            char data[256], block[512];
            struct buffer out;
            struct scram_keys keys;
            struct scram_server server = challenged(&scram_cases[i]);
            buffer_init(&out, block, sizeof block);
            memcpy(data, good.data, good.size);
            data[bit / 8] = (char)(data[bit / 8] ^ 1 << bit % 8);
            assert_int_not_equal(
                scram_server_final(&server, sv_from(data, good.size), &out, &keys, NULL), HF_OK);
        }
    }
}

static void scram_server__a_mock_asks_the_same_and_refuses_the_same(void **state)
{
    (void)state;
    char block[512];
    struct buffer out;
    struct scram_keys keys;
    struct scram_server server;
    struct scram_verifier mock;
    struct scram_binding none = {0};
    struct hf_err err;
    scram_verifier_mock(&mock, SV("seed"), SV("nobody"), 4096);
    /* Even if the mock happened to have a real verifier's keys. */
    struct scram_verifier real = case_verifier();
    real.is_mock = true;
    buffer_init(&out, block, sizeof block);
    scram_server_init(&server, &mock, &none, false);
    struct sv first = sv_from_cstr(scram_cases[0].first);
    assert_int_equal(scram_server_first(&server, first, CASE_SERVER_RANDOM, &out, &err), HF_OK);
    assert_int_equal(buffer_held(&out), sizeof CASE_CHALLENGE - 1);
    struct sv final = sv_from_cstr(scram_cases[0].final);
    assert_int_equal(scram_server_final(&server, final, &out, &keys, &err), HF_RC_DENIED);
    assert_string_equal(err.message, "password authentication failed");
    scram_server_init(&server, &real, &none, false);
    assert_int_equal(scram_server_first(&server, first, CASE_SERVER_RANDOM, &out, &err), HF_OK);
    assert_int_equal(scram_server_final(&server, final, &out, &keys, &err), HF_RC_DENIED);
}

static void scram_server__an_answer_that_does_not_fit_ends_the_exchange(void **state)
{
    (void)state;
    char block[512];
    struct buffer out;
    struct scram_keys keys;
    struct hf_err err;
    struct scram_server server = begun('n');
    struct sv first = sv_from_cstr(scram_cases[0].first);
    buffer_init(&out, block, sizeof CASE_CHALLENGE - 2);
    assert_int_equal(scram_server_first(&server, first, CASE_SERVER_RANDOM, &out, &err),
                     HF_RC_LIMIT);
    assert_int_equal(buffer_held(&out), 0);
    server = challenged(&scram_cases[0]);
    buffer_init(&out, block, 45);
    struct sv final = sv_from_cstr(scram_cases[0].final);
    assert_int_equal(scram_server_final(&server, final, &out, &keys, &err), HF_RC_LIMIT);
    assert_int_equal(buffer_held(&out), 0);
}

static void scram_server__a_wiped_exchange_is_over_and_empty(void **state)
{
    (void)state;
    char block[512];
    struct buffer out;
    struct scram_keys keys;
    struct scram_server server = challenged(&scram_cases[0]);
    scram_server_wipe(&server);
    for (size_t i = 0; i < sizeof server.verifier; i++)
        assert_int_equal(((const char *)&server.verifier)[i], 0);
    buffer_init(&out, block, sizeof block);
    struct sv data = sv_from_cstr(scram_cases[0].final);
    assert_int_equal(scram_server_final(&server, data, &out, &keys, NULL), HF_RC_PEER);
    data = sv_from_cstr(scram_cases[0].first);
    assert_int_equal(scram_server_first(&server, data, CASE_SERVER_RANDOM, &out, NULL), HF_RC_PEER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scram_server__a_proof_opens_and_leaves_the_keys),
        cmocka_unit_test(scram_server__the_example_of_the_rfc),
        cmocka_unit_test(scram_server__first_messages),
        cmocka_unit_test(scram_server__a_nonce_has_a_limit),
        cmocka_unit_test(scram_server__final_messages),
        cmocka_unit_test(scram_server__a_flipped_bit_opens_nothing),
        cmocka_unit_test(scram_server__a_mock_asks_the_same_and_refuses_the_same),
        cmocka_unit_test(scram_server__an_answer_that_does_not_fit_ends_the_exchange),
        cmocka_unit_test(scram_server__a_wiped_exchange_is_over_and_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
