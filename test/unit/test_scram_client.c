#include "unit.h"

#include <string.h>

#include "scram_cases.h"
#include "wire/scram_client.h"
#include "wire/scram_server.h"

static struct scram_client begun(char flag)
{
    struct scram_client client;
    struct scram_binding binding = {0};
    if (flag != 'n')
        binding = case_binding();
    scram_client_init(&client, flag == 'p' ? SCRAM_CHOICE_PLUS : SCRAM_CHOICE_PLAIN, &binding);
    return client;
}

static struct scram_client asked(char flag)
{
    char block[128];
    struct buffer out;
    struct scram_client client = begun(flag);
    buffer_init(&out, block, sizeof block);
    assert_int_equal(scram_client_first(&client, CASE_CLIENT_RANDOM, &out, NULL), HF_OK);
    return client;
}

static void scram_client__the_better_mechanism_is_chosen(void **state)
{
    (void)state;
    struct sv both = SV("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
    struct sv turned = SV("OTHER\0SCRAM-SHA-256\0SCRAM-SHA-256-PLUS\0\0");
    assert_int_equal(scram_choose(both, true), SCRAM_CHOICE_PLUS);
    assert_int_equal(scram_choose(turned, true), SCRAM_CHOICE_PLUS);
    assert_int_equal(scram_choose(both, false), SCRAM_CHOICE_PLAIN);
    assert_int_equal(scram_choose(SV("SCRAM-SHA-256-PLUS\0\0"), false), SCRAM_CHOICE_NONE);
    assert_int_equal(scram_choose(SV("GSSAPI\0\0SCRAM-SHA-256\0"), true), SCRAM_CHOICE_NONE);
    assert_int_equal(scram_choose(SV(""), true), SCRAM_CHOICE_NONE);
}

static void scram_client__says_what_the_rfc_says(void **state)
{
    (void)state;
    struct scram_keys keys = case_keys();
    struct scram_verifier verifier = case_verifier();
    for (size_t i = 0; i < SCRAM_CASES; i++) {
        char block[512];
        struct buffer out;
        struct scram_client client = begun(scram_cases[i].flag);
        buffer_init(&out, block, sizeof block);
        assert_int_equal(scram_client_first(&client, CASE_CLIENT_RANDOM, &out, NULL), HF_OK);
        assert_true(sv_eq(buffer_view(&out), sv_from_cstr(scram_cases[i].first)));
        assert_int_equal(scram_client_challenge(&client, SV(CASE_CHALLENGE), NULL), HF_OK);
        assert_int_equal(client.iterations, 4096);
        assert_int_equal(scram_client_salt(&client).size, 16);
        assert_true(scram_client_fits(&client, &verifier));
        buffer_clear(&out);
        assert_int_equal(scram_client_final(&client, &keys, &out, NULL), HF_OK);
        assert_true(sv_eq(buffer_view(&out), sv_from_cstr(scram_cases[i].final)));
        assert_false(scram_client_is_done(&client));
        struct sv verify = sv_from_cstr(scram_cases[i].verify);
        assert_int_equal(scram_client_verify(&client, verify, NULL), HF_OK);
        assert_true(scram_client_is_done(&client));
    }
}

/* The example of RFC 7677, with its nonce and its name put where ours would be. */
static void scram_client__the_example_of_the_rfc(void **state)
{
    (void)state;
    static const char said[] = "n=user,r=rOprNGfwEbeRWgbNEkqO";
    char block[512];
    struct buffer out;
    struct scram_keys keys = case_keys();
    struct scram_client client = asked('n');
    client.nonce_size = 20;
    memcpy(client.nonce, said + 9, 20);
    client.said_size = sizeof said - 1;
    memcpy(client.said, said, sizeof said - 1);
    assert_int_equal(
        scram_client_challenge(&client,
                               SV("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                                  "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
                               NULL),
        HF_OK);
    buffer_init(&out, block, sizeof block);
    assert_int_equal(scram_client_final(&client, &keys, &out, NULL), HF_OK);
    assert_true(
        sv_eq(buffer_view(&out), SV("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                                    "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")));
    assert_int_equal(
        scram_client_verify(&client, SV("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), NULL),
        HF_OK);
}

#define OURS "YWJjZGVmZ2hpamtsbW5vcHFy"
#define SALT_66                                                                                    \
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static void scram_client__challenges_that_are_refused(void **state)
{
    (void)state;
    static const char *const challenges[] = {
        "",
        "r=" OURS "x",
        "r=" OURS "x,s=AAAA",
        "r=" OURS ",s=AAAA,i=1",                  /* nothing of the server's */
        "r=" OURS " x,s=AAAA,i=1",                /* a blank */
        "r=ZWJjZGVmZ2hpamtsbW5vcHFyx,s=AAAA,i=1", /* not ours */
        "r=" OURS "x,s=,i=1",
        "r=" OURS "x,s=A,i=1",
        "r=" OURS "x,s=" SALT_66 ",i=1",
        "r=" OURS "x,s=AAAA,i=0",
        "r=" OURS "x,s=AAAA,i=-1",
        "r=" OURS "x,s=AAAA,i=1000001",
        "r=" OURS "x,s=AAAA,i=99999999999999999999",
        "r=" OURS "x,s=AAAA,i=x",
        "m=ext,r=" OURS "x,s=AAAA,i=1",
        "e=other-error",
    };
    struct scram_keys keys = case_keys();
    for (size_t i = 0; i < sizeof challenges / sizeof challenges[0]; i++) {
        char block[512];
        struct buffer out;
        struct scram_client client = asked('n');
        struct hf_err err;
        enum hf_rc rc = scram_client_challenge(&client, sv_from_cstr(challenges[i]), &err);
        assert_int_equal(rc, HF_RC_PEER);
        assert_string_equal(err.sqlstate, "08P01");
        buffer_init(&out, block, sizeof block);
        assert_int_equal(scram_client_final(&client, &keys, &out, NULL), HF_RC_PEER);
        assert_int_equal(scram_client_challenge(&client, SV(CASE_CHALLENGE), NULL), HF_RC_PEER);
    }
}

static void scram_client__a_challenge_has_a_limit(void **state)
{
    (void)state;
    char data[SCRAM_CHALLENGE_MAX + 1] = "r=" OURS "x,s=AAAA,i=1,x=";
    for (size_t i = strlen(data); i < sizeof data; i++)
        data[i] = 'x';
    struct scram_client client = asked('n');
    struct sv whole = sv_from(data, SCRAM_CHALLENGE_MAX);
    assert_int_equal(scram_client_challenge(&client, whole, NULL), HF_OK);
    client = asked('n');
    whole.size++;
    assert_int_equal(scram_client_challenge(&client, whole, NULL), HF_RC_PEER);
}

static struct scram_client proved(void)
{
    char block[512];
    struct buffer out;
    struct scram_keys keys = case_keys();
    struct scram_client client = asked('n');
    assert_int_equal(scram_client_challenge(&client, SV(CASE_CHALLENGE), NULL), HF_OK);
    buffer_init(&out, block, sizeof block);
    assert_int_equal(scram_client_final(&client, &keys, &out, NULL), HF_OK);
    return client;
}

static void scram_client__an_impostor_is_not_believed(void **state)
{
    (void)state;
    static const struct {
        const char *data, *sqlstate;
    } cases[] = {
        {"v=f6zOHJ/TT649ts1it6qOb52kaZzQe7bk5O7qgRrkRyk=", "28000"},
        {"v=AAAA", "08P01"},
        {"v=", "08P01"},
        {"", "08P01"},
        {"e=invalid-proof", "28P01"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hf_err err;
        struct scram_client client = proved();
        struct sv data = sv_from_cstr(cases[i].data);
        assert_int_equal(scram_client_verify(&client, data, &err), HF_RC_PEER);
        assert_string_equal(err.sqlstate, cases[i].sqlstate);
        assert_false(scram_client_is_done(&client));
        struct sv good = sv_from_cstr(scram_cases[0].verify);
        assert_int_equal(scram_client_verify(&client, good, &err), HF_RC_PEER);
    }
}

static void scram_client__other_salts_and_costs_do_not_fit(void **state)
{
    (void)state;
    struct scram_verifier verifier = case_verifier();
    struct scram_client client = proved();
    assert_true(scram_client_fits(&client, &verifier));
    verifier.iterations++;
    assert_false(scram_client_fits(&client, &verifier));
    verifier.iterations--;
    verifier.salt[15] ^= 1;
    assert_false(scram_client_fits(&client, &verifier));
    verifier.salt[15] ^= 1;
    verifier.salt_size--;
    assert_false(scram_client_fits(&client, &verifier));
}

/* What a client proved to us opens the server behind us: nobody had the password. */
static void scram_client__what_a_client_proved_opens_the_next_server(void **state)
{
    (void)state;
    char block[512];
    struct buffer out;
    struct scram_verifier verifier = case_verifier();
    struct scram_binding none = {0};
    struct scram_keys keys = case_keys(), passed = {0}, behind = {0};
    for (int turn = 0; turn < 2; turn++) {
        struct scram_server server;
        struct scram_client client = asked('n');
        scram_server_init(&server, &verifier, &none, false);
        buffer_init(&out, block, sizeof block);
        assert_int_equal(scram_server_first(&server, sv_from_cstr(scram_cases[0].first),
                                            CASE_SERVER_RANDOM, &out, NULL),
                         HF_OK);
        assert_int_equal(scram_client_challenge(&client, buffer_view(&out), NULL), HF_OK);
        buffer_clear(&out);
        assert_int_equal(scram_client_final(&client, turn == 0 ? &keys : &passed, &out, NULL),
                         HF_OK);
        struct sv final = sv_from(block, buffer_held(&out));
        struct scram_keys *got = turn == 0 ? &passed : &behind;
        char answer[64];
        struct buffer verify;
        buffer_init(&verify, answer, sizeof answer);
        assert_int_equal(scram_server_final(&server, final, &verify, got, NULL), HF_OK);
        assert_int_equal(scram_client_verify(&client, buffer_view(&verify), NULL), HF_OK);
    }
    assert_memory_equal(&behind, &keys, sizeof keys);
}

static void scram_client__an_answer_that_does_not_fit_ends_the_exchange(void **state)
{
    (void)state;
    char block[512];
    struct buffer out;
    struct scram_keys keys = case_keys();
    struct scram_client client = begun('n');
    buffer_init(&out, block, 31);
    assert_int_equal(scram_client_first(&client, CASE_CLIENT_RANDOM, &out, NULL), HF_RC_LIMIT);
    assert_int_equal(scram_client_first(&client, CASE_CLIENT_RANDOM, &out, NULL), HF_RC_PEER);
    client = asked('n');
    assert_int_equal(scram_client_challenge(&client, SV(CASE_CHALLENGE), NULL), HF_OK);
    buffer_init(&out, block, strlen(scram_cases[0].final) - 1);
    assert_int_equal(scram_client_final(&client, &keys, &out, NULL), HF_RC_LIMIT);
    assert_int_equal(buffer_held(&out), 0);
    scram_client_wipe(&client);
    assert_int_equal(scram_client_final(&client, &keys, &out, NULL), HF_RC_PEER);
    assert_int_equal(client.salt_size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scram_client__the_better_mechanism_is_chosen),
        cmocka_unit_test(scram_client__says_what_the_rfc_says),
        cmocka_unit_test(scram_client__the_example_of_the_rfc),
        cmocka_unit_test(scram_client__challenges_that_are_refused),
        cmocka_unit_test(scram_client__a_challenge_has_a_limit),
        cmocka_unit_test(scram_client__an_impostor_is_not_believed),
        cmocka_unit_test(scram_client__other_salts_and_costs_do_not_fit),
        cmocka_unit_test(scram_client__what_a_client_proved_opens_the_next_server),
        cmocka_unit_test(scram_client__an_answer_that_does_not_fit_ends_the_exchange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
