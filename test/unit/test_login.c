#include "unit.h"

#include <string.h>

#include "login_rig.h"
#include "wire/password.h"
#include "wire/scram_server.h"

static struct login_rig rig;

static int open_rig(void **state)
{
    (void)state;
    rig_init(&rig);
    return 0;
}

/* ---- The first words ---- */

static void login__a_startup_message_says_who_we_are(void **state)
{
    (void)state;
    const struct build_parameter parameters[] = {{SV("application_name"), SV("x")},
                                                 {SV("options"), SV("-c a=1")},
                                                 {SV("replication"), SV("database")}};
    struct startup startup;
    struct startup_packet packet;
    struct startup_parameter parameter;
    struct sv rest;
    rig.config.version = STARTUP_VERSION(3, 2);
    rig.config.parameters = parameters;
    rig.config.parameter_count = 3;
    assert_int_equal(login_begin(&rig.login, &rig.config, &rig.out), HF_OK);
    startup_init(&startup);
    assert_int_equal(startup_read(&startup, buffer_view(&rig.out), &packet), STARTUP_SESSION);
    assert_int_equal(packet.size, buffer_held(&rig.out));
    assert_int_equal(packet.session.version, STARTUP_VERSION(3, 2));
    assert_true(sv_eq(packet.session.user, SV("ann")));
    assert_true(sv_eq(packet.session.database, SV("shop")));
    assert_true(sv_eq(packet.session.options, SV("-c a=1")));
    assert_int_equal(packet.session.replication, STARTUP_REPLICATION_DATABASE);
    rest = packet.session.parameters;
    for (int i = 0; i < 3; i++)
        assert_true(startup_parameter_next(&rest, &parameter));
    assert_true(sv_eq(parameter.name, SV("application_name")));
    /* No database is named where there is none, as for physical replication. */
    rig.config.database = SV("");
    rig.config.parameter_count = 0;
    buffer_clear(&rig.out);
    assert_int_equal(login_begin(&rig.login, &rig.config, &rig.out), HF_OK);
    rig_expect_said(&rig, SV("\0\0\0\x12\0\3\0\2user\0ann\0\0"));
}

static void login__what_cannot_be_said_in_a_startup_message_fails(void **state)
{
    (void)state;
    static char text[STARTUP_SIZE_MAX];
    memset(text, 'x', sizeof text);
    const struct {
        struct sv user;
        struct build_parameter parameter;
        enum hf_rc rc;
    } cases[] = {
        {SV("ann"), {SV("a"), SV("b\0c")}, HF_RC_INVALID},
        {SV("ann"), {SV(""), SV("b")}, HF_RC_INVALID},
        {SV(""), {SV("a"), SV("b")}, HF_RC_INVALID},
        {SV("a\0b"), {SV("a"), SV("b")}, HF_RC_INVALID},
        {SV("ann"), {SV("a"), sv_from(text, sizeof text)}, HF_RC_LIMIT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig.config.user = cases[i].user;
        rig.config.parameters = &cases[i].parameter;
        rig.config.parameter_count = 1;
        assert_int_equal(login_begin(&rig.login, &rig.config, &rig.out), cases[i].rc);
        assert_int_equal(rig.login.err.rc, cases[i].rc);
        assert_int_equal(buffer_held(&rig.out), 0);
        assert_int_equal(rig_next(&rig), LOGIN_FAILED);
    }
}

static void login__tls_is_asked_for_as_the_mode_says(void **state)
{
    (void)state;
    static const struct {
        enum login_sslmode mode;
        bool is_local, is_encrypted, asks;
    } cases[] = {
        {LOGIN_SSL_DISABLE, false, false, false},    {LOGIN_SSL_ALLOW, false, false, false},
        {LOGIN_SSL_PREFER, false, false, true},      {LOGIN_SSL_REQUIRE, false, false, true},
        {LOGIN_SSL_VERIFY_CA, false, false, true},   {LOGIN_SSL_VERIFY_FULL, false, false, true},
        {LOGIN_SSL_REQUIRE, true, false, false},     {LOGIN_SSL_PREFER, true, false, false},
        {LOGIN_SSL_VERIFY_FULL, false, true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig.config.sslmode = cases[i].mode;
        rig.config.is_local = cases[i].is_local;
        rig.config.is_encrypted = cases[i].is_encrypted;
        buffer_clear(&rig.out);
        assert_int_equal(login_begin(&rig.login, &rig.config, &rig.out), HF_OK);
        assert_int_equal(sv_eq(buffer_view(&rig.out), SV("\0\0\0\x8\x4\xd2\x16\x2f")),
                         cases[i].asks);
    }
}

static void login__the_answer_about_tls_is_one_byte(void **state)
{
    (void)state;
    static const struct {
        enum login_sslmode mode;
        struct sv answer;
        enum login_kind kind;
        enum hf_rc rc;
        const char *sqlstate;
    } cases[] = {
        {LOGIN_SSL_PREFER, SV_INIT(""), LOGIN_MORE, HF_OK, ""},
        {LOGIN_SSL_PREFER, SV_INIT("S"), LOGIN_START_TLS, HF_OK, ""},
        {LOGIN_SSL_REQUIRE, SV_INIT("S"), LOGIN_START_TLS, HF_OK, ""},
        {LOGIN_SSL_PREFER, SV_INIT("N"), LOGIN_NO_TLS, HF_OK, ""},
        {LOGIN_SSL_REQUIRE, SV_INIT("N"), LOGIN_FAILED, HF_RC_DENIED, "08004"},
        {LOGIN_SSL_VERIFY_FULL, SV_INIT("N"), LOGIN_FAILED, HF_RC_DENIED, "08004"},
        {LOGIN_SSL_REQUIRE, SV_INIT("SR"), LOGIN_FAILED, HF_RC_PEER, "08P01"},
        {LOGIN_SSL_PREFER, SV_INIT("NR"), LOGIN_FAILED, HF_RC_PEER, "08P01"},
        {LOGIN_SSL_PREFER, SV_INIT("Efork failed"), LOGIN_FAILED, HF_RC_AGAIN, "08006"},
        {LOGIN_SSL_PREFER, SV_INIT("H"), LOGIN_FAILED, HF_RC_PEER, "08P01"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig_init(&rig);
        rig.config.sslmode = cases[i].mode;
        rig_begin(&rig);
        rig_says(&rig, cases[i].answer);
        assert_int_equal(rig_next(&rig), cases[i].kind);
        assert_int_equal(rig.login.err.rc, cases[i].rc);
        assert_string_equal(rig.login.err.sqlstate, cases[i].sqlstate);
        /* Who goes on in plain says so at once; who waits for TLS says nothing. */
        assert_int_equal(buffer_held(&rig.out) > 0, cases[i].kind == LOGIN_NO_TLS);
    }
}

static void login__goes_on_when_tls_is_on(void **state)
{
    (void)state;
    struct scram_binding binding = case_binding();
    rig.config.sslmode = LOGIN_SSL_REQUIRE;
    rig_begin(&rig);
    rig_says(&rig, SV("S"));
    assert_int_equal(rig_next(&rig), LOGIN_START_TLS);
    assert_int_equal(rig_next(&rig), LOGIN_START_TLS);
    assert_int_equal(login_encrypted(&rig.login, &binding, &rig.out), HF_OK);
    assert_true(buffer_held(&rig.out) > 0);
    rig_accepts(&rig);
    rig_expect_ready(&rig);
    /* Once is enough. */
    assert_int_equal(login_encrypted(&rig.login, &binding, &rig.out), HF_RC_INVALID);
}

/* ---- Methods ---- */

#define MD5_STORED "md5c3bef4c2e9ae15b3ba7a2dfb7f2ad9f4"

static void login__a_password_in_plain_is_for_who_cannot_be_overheard(void **state)
{
    (void)state;
    static const struct {
        bool is_local, is_encrypted;
        unsigned methods;
        struct sv secret;
        bool is_said;
    } cases[] = {
        {true, false, LOGIN_METHODS_ALL, SV_INIT("pencil"), true},
        {false, true, LOGIN_METHODS_ALL, SV_INIT("pencil"), true},
        {false, false, LOGIN_METHODS_ALL, SV_INIT("pencil"), false},
        {true, false, LOGIN_METHODS_ALL & ~LOGIN_METHOD_CLEARTEXT, SV_INIT("pencil"), false},
        {true, false, LOGIN_METHODS_ALL, SV_INIT(""), false},
        {true, false, LOGIN_METHODS_ALL, SV_INIT(MD5_STORED), false},
        {true, false, LOGIN_METHODS_ALL, SV_INIT(CASE_VERIFIER), false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig_init(&rig);
        rig.config.is_local = cases[i].is_local;
        rig.config.is_encrypted = cases[i].is_encrypted;
        rig.config.methods = cases[i].methods;
        rig.config.secret = cases[i].secret;
        rig_begin(&rig);
        rig_auth(&rig, BUILD_AUTH_CLEARTEXT, SV(""));
        assert_int_equal(rig_next(&rig), cases[i].is_said ? LOGIN_MORE : LOGIN_FAILED);
        if (!cases[i].is_said) {
            rig_expect_failure(&rig, HF_RC_DENIED, "28000");
            assert_int_equal(buffer_held(&rig.out), 0);
            continue;
        }
        rig_expect_said(&rig, SV("p\0\0\0\x0bpencil\0"));
        rig_accepts(&rig);
        rig_expect_ready(&rig);
    }
}

static void login__md5_takes_the_password_or_its_stored_form(void **state)
{
    (void)state;
    char stored[PASSWORD_MD5_SIZE], answer[PASSWORD_MD5_SIZE];
    password_md5_store(SV("pencil"), SV("ann"), stored);
    password_md5_answer(stored, "salt", answer);
    const struct {
        struct sv secret, salt;
        unsigned methods;
        const char *sqlstate; /* NULL: said */
    } cases[] = {
        {SV("pencil"), SV("salt"), LOGIN_METHODS_ALL, NULL},
        {sv_from(stored, sizeof stored), SV("salt"), LOGIN_METHOD_MD5, NULL},
        {SV("pencil"), SV("salt"), LOGIN_METHODS_ALL & ~LOGIN_METHOD_MD5, "28000"},
        {SV(""), SV("salt"), LOGIN_METHODS_ALL, "28000"},
        {SV(CASE_VERIFIER), SV("salt"), LOGIN_METHODS_ALL, "28000"},
        {SV("pencil"), SV("sal"), LOGIN_METHODS_ALL, "08P01"},
        {SV("pencil"), SV("salty"), LOGIN_METHODS_ALL, "08P01"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig_init(&rig);
        rig.config.secret = cases[i].secret;
        rig.config.methods = cases[i].methods;
        rig_begin(&rig);
        rig_auth(&rig, BUILD_AUTH_MD5, cases[i].salt);
        if (cases[i].sqlstate != NULL) {
            assert_int_equal(rig_next(&rig), LOGIN_FAILED);
            assert_string_equal(rig.login.err.sqlstate, cases[i].sqlstate);
            continue;
        }
        assert_int_equal(rig_next(&rig), LOGIN_MORE);
        struct sv said = buffer_view(&rig.out);
        assert_int_equal(said.size, 5 + PASSWORD_MD5_SIZE + 1);
        assert_true(
            sv_eq(sv_take(sv_drop(said, 5), PASSWORD_MD5_SIZE), sv_from(answer, sizeof answer)));
        rig_accepts(&rig);
        rig_expect_ready(&rig);
    }
}

/* What the login said last, as a message of SCRAM. */
static struct sv said_scram(bool is_first)
{
    struct sv body = sv_drop(buffer_view(&rig.out), FRAME_HEADER_SIZE);
    struct message_sasl sasl;
    if (!is_first)
        return body;
    assert_int_equal(message_sasl((struct message){body, true}, &sasl), MESSAGE_OK);
    return sasl.data;
}

/* How a SCRAM login is tried, and what comes of it. */
struct scram_login {
    bool is_encrypted, is_bound, has_plus;
    bool has_keys;     /* of CASE_VERIFIER */
    bool other_secret; /* the server has another salt */
    struct sv secret;
    const char *mechanism; /* NULL: the login fails before it says any */
    bool works;            /* something is stretched */
    bool is_entered;
};

static const struct scram_login scram_logins[] = {
    {.secret = SV_INIT(CASE_PASSWORD),
     .mechanism = SCRAM_SHA_256,
     .works = true,
     .is_entered = true},
    {.secret = SV_INIT(CASE_PASSWORD),
     .is_encrypted = true,
     .is_bound = true,
     .has_plus = true,
     .mechanism = SCRAM_SHA_256_PLUS,
     .works = true,
     .is_entered = true},
    /* A server that has no -PLUS, or a connection that cannot be bound. */
    {.secret = SV_INIT(CASE_PASSWORD),
     .is_encrypted = true,
     .is_bound = true,
     .mechanism = SCRAM_SHA_256,
     .works = true,
     .is_entered = true},
    {.secret = SV_INIT(CASE_PASSWORD),
     .is_encrypted = true,
     .has_plus = true,
     .mechanism = SCRAM_SHA_256,
     .works = true,
     .is_entered = true},
    {.secret = SV_INIT(CASE_PASSWORD),
     .is_bound = true,
     .mechanism = SCRAM_SHA_256,
     .works = true,
     .is_entered = true},
    {.secret = SV_INIT(CASE_PASSWORD),
     .is_bound = true,
     .has_plus = true,
     .mechanism = SCRAM_SHA_256,
     .works = true,
     .is_entered = true},
    /* Pass-through, with and without a binding, and with nothing else known or a verifier. */
    {.secret = SV_INIT(""), .has_keys = true, .mechanism = SCRAM_SHA_256, .is_entered = true},
    {.secret = SV_INIT(CASE_VERIFIER),
     .has_keys = true,
     .is_encrypted = true,
     .is_bound = true,
     .has_plus = true,
     .mechanism = SCRAM_SHA_256_PLUS,
     .is_entered = true},
    /* Keys that do not fit are not tried: the password is, if there is one. */
    {.secret = SV_INIT(""), .has_keys = true, .other_secret = true, .mechanism = SCRAM_SHA_256},
    {.secret = SV_INIT(CASE_PASSWORD),
     .has_keys = true,
     .other_secret = true,
     .mechanism = SCRAM_SHA_256,
     .works = true,
     .is_entered = true},
    {.secret = SV_INIT(CASE_PASSWORD),
     .has_keys = true,
     .mechanism = SCRAM_SHA_256,
     .is_entered = true},
    /* Nothing that could be proved with. */
    {.secret = SV_INIT("")},
    {.secret = SV_INIT(CASE_VERIFIER)},
    {.secret = SV_INIT(MD5_STORED)},
};

/* The server's own verifier: the one of scram_cases.h, or one of the same password with another
 * salt. */
static struct scram_verifier server_verifier(bool is_other)
{
    struct scram_stretch stretch;
    struct scram_keys keys;
    struct scram_verifier verifier = case_verifier();
    if (!is_other)
        return verifier;
    scram_stretch_begin(&stretch, SV(CASE_PASSWORD), SV("other salt"), 1000);
    assert_true(scram_stretch_run(&stretch, UINT32_MAX));
    scram_stretch_end(&stretch, &keys);
    scram_verifier_init(&verifier, &keys, SV("other salt"), 1000);
    return verifier;
}

/* Up to the proof, or the failure. */
static void exchange(const struct scram_login *c, struct scram_server *server)
{
    struct scram_binding binding = {0};
    char block[512];
    struct buffer text;
    struct scram_verifier verifier = server_verifier(c->other_secret);
    assert_int_equal(build_auth_sasl(&rig.said, c->has_plus), HF_OK);
    if (rig_next(&rig) == LOGIN_FAILED)
        return;
    struct sv mechanism = sv_drop(buffer_view(&rig.out), FRAME_HEADER_SIZE);
    mechanism = sv_take(mechanism, sv_find(mechanism, '\0'));
    assert_true(sv_eq(mechanism, sv_from_cstr(c->mechanism)));
    bool is_plus = sv_eq(mechanism, SV(SCRAM_SHA_256_PLUS));
    if (c->is_encrypted && c->has_plus && c->is_bound)
        binding = case_binding();
    scram_server_init(server, &verifier, &binding, is_plus);
    buffer_init(&text, block, sizeof block);
    assert_int_equal(scram_server_first(server, said_scram(true), CASE_SERVER_RANDOM, &text, NULL),
                     HF_OK);
    buffer_clear(&rig.out);
    rig_auth(&rig, BUILD_AUTH_SASL_CONTINUE, buffer_view(&text));
    rig_next(&rig);
    assert_int_equal(rig.event.kind == LOGIN_WORK, c->works);
    if (c->works) {
        assert_int_equal(rig_next(&rig), LOGIN_WORK);
        assert_int_equal(rig_work(&rig), LOGIN_MORE);
    }
}

static void login__scram_enters_with_a_password_or_with_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scram_logins / sizeof scram_logins[0]; i++) {
        const struct scram_login *c = &scram_logins[i];
        struct scram_server server;
        struct scram_keys keys = case_keys(), shown;
        struct scram_verifier verifier = case_verifier();
        char block[512];
        struct buffer text;
        rig_init(&rig);
        rig.config.secret = c->secret;
        rig.config.is_encrypted = c->is_encrypted;
        if (c->is_bound)
            rig.config.binding = case_binding();
        if (c->has_keys) {
            rig.config.keys = &keys;
            rig.config.verifier = &verifier;
        }
        rig_begin(&rig);
        exchange(c, &server);
        assert_int_equal(rig.event.kind == LOGIN_FAILED, !c->is_entered);
        if (!c->is_entered) {
            rig_expect_failure(&rig, HF_RC_DENIED, "28000");
            assert_false(login_made(&rig.login, &shown, &verifier));
            continue;
        }
        buffer_init(&text, block, sizeof block);
        assert_int_equal(scram_server_final(&server, said_scram(false), &text, &shown, NULL),
                         HF_OK);
        assert_false(login_made(&rig.login, &shown, &verifier));
        rig_auth(&rig, BUILD_AUTH_SASL_FINAL, buffer_view(&text));
        rig_accepts(&rig);
        rig_expect_ready(&rig);
        /* What was stretched serves for the next time. */
        assert_int_equal(login_made(&rig.login, &shown, &verifier), c->works);
        struct scram_verifier of_server = server_verifier(c->other_secret);
        if (c->works)
            assert_true(scram_verifier_fits(&of_server, &shown) &&
                        scram_verifier_fits(&verifier, &shown) &&
                        sv_eq(scram_verifier_salt(&verifier), scram_verifier_salt(&of_server)) &&
                        verifier.iterations == of_server.iterations);
    }
}

static void login__the_mechanism_is_said_by_its_name(void **state)
{
    (void)state;
    rig_begin(&rig);
    rig_auth(&rig, BUILD_AUTH_SASL, SV("SCRAM-SHA-1\0SCRAM-SHA-256\0\0"));
    assert_int_equal(rig_next(&rig), LOGIN_MORE);
    assert_true(
        sv_starts_with(buffer_view(&rig.out), SV("p\0\0\0\x36SCRAM-SHA-256\0\0\0\0\x20n,,n=,r=")));
    rig_init(&rig);
    rig_begin(&rig);
    rig_auth(&rig, BUILD_AUTH_SASL, SV("SCRAM-SHA-1\0\0"));
    rig_next(&rig);
    rig_expect_failure(&rig, HF_RC_PEER, "0A000");
    rig_init(&rig);
    rig.config.methods = LOGIN_METHODS_ALL & ~LOGIN_METHOD_SCRAM;
    rig_begin(&rig);
    rig_auth(&rig, BUILD_AUTH_SASL, SV("SCRAM-SHA-256\0\0"));
    rig_next(&rig);
    rig_expect_failure(&rig, HF_RC_DENIED, "28000");
}

static void login__a_challenge_that_is_none_is_refused(void **state)
{
    (void)state;
    rig_begin(&rig);
    assert_int_equal(build_auth_sasl(&rig.said, false), HF_OK);
    assert_int_equal(rig_next(&rig), LOGIN_MORE);
    rig_auth(&rig, BUILD_AUTH_SASL_CONTINUE, SV("r=another nonce,s=AAAA,i=1"));
    assert_int_equal(rig_next(&rig), LOGIN_FAILED);
    rig_expect_failure(&rig, HF_RC_PEER, "08P01");
}

static void login__keys_alone_are_no_password(void **state)
{
    (void)state;
    struct scram_keys keys = case_keys();
    struct scram_verifier verifier = case_verifier();
    rig.config.secret = SV("");
    rig.config.keys = &keys;
    rig.config.verifier = &verifier;
    rig_begin(&rig);
    rig_auth(&rig, BUILD_AUTH_MD5, SV("salt"));
    assert_int_equal(rig_next(&rig), LOGIN_FAILED);
    rig_expect_failure(&rig, HF_RC_DENIED, "28000");
    assert_string_equal(rig.login.err.detail, "Only a client's SCRAM keys are known here.");
}

/* ---- Impostors ---- */

/* The steps of SCRAM after which a server tries to be believed without proof. */
static void go_to(int step)
{
    struct scram_server server;
    struct scram_login c = {.secret = SV(CASE_PASSWORD), .mechanism = SCRAM_SHA_256, .works = true};
    rig_init(&rig);
    rig_begin(&rig);
    if (step >= 2)
        exchange(&c, &server);
    if (step == 1) {
        assert_int_equal(build_auth_sasl(&rig.said, false), HF_OK);
        assert_int_equal(rig_next(&rig), LOGIN_MORE);
    }
}

static void login__a_server_without_the_secret_is_not_believed(void **state)
{
    (void)state;
    for (int step = 1; step <= 2; step++) {
        go_to(step);
        rig_accepts(&rig);
        assert_int_equal(rig_next(&rig), LOGIN_FAILED);
        rig_expect_failure(&rig, HF_RC_PEER, "28000");
    }
    go_to(2);
    rig_auth(&rig, BUILD_AUTH_SASL_FINAL, SV("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="));
    rig_accepts(&rig);
    assert_int_equal(rig_next(&rig), LOGIN_FAILED);
    rig_expect_failure(&rig, HF_RC_PEER, "28000");
    assert_int_equal(rig_next(&rig), LOGIN_FAILED);
}

static void login__an_open_door_is_entered_only_where_that_is_allowed(void **state)
{
    (void)state;
    rig_begin(&rig);
    rig_accepts(&rig);
    rig_expect_ready(&rig);
    rig_init(&rig);
    rig.config.methods = LOGIN_METHODS_ALL & ~LOGIN_METHOD_NONE;
    rig_begin(&rig);
    rig_accepts(&rig);
    assert_int_equal(rig_next(&rig), LOGIN_FAILED);
    rig_expect_failure(&rig, HF_RC_DENIED, "28000");
}

static void login__nobody_is_asked_twice(void **state)
{
    (void)state;
    static const enum build_auth kinds[] = {BUILD_AUTH_CLEARTEXT, BUILD_AUTH_MD5, BUILD_AUTH_SASL,
                                            BUILD_AUTH_SASL_CONTINUE, BUILD_AUTH_SASL_FINAL};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        rig_init(&rig);
        rig.config.is_local = true;
        rig_begin(&rig);
        rig_auth(&rig, BUILD_AUTH_CLEARTEXT, SV(""));
        rig_next(&rig);
        rig_auth(&rig, kinds[i], SV("salt"));
        rig_next(&rig);
        rig_expect_failure(&rig, HF_RC_PEER, "08P01");
    }
}

static void login__a_way_that_is_not_known_is_named(void **state)
{
    (void)state;
    rig_begin(&rig);
    rig_says(&rig, SV("R\0\0\0\x8\0\0\0\x7"));
    rig_next(&rig);
    rig_expect_failure(&rig, HF_RC_PEER, "0A000");
    assert_non_null(strstr(rig.login.err.message, "number 7"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(login__a_startup_message_says_who_we_are, open_rig),
        cmocka_unit_test_setup(login__what_cannot_be_said_in_a_startup_message_fails, open_rig),
        cmocka_unit_test_setup(login__tls_is_asked_for_as_the_mode_says, open_rig),
        cmocka_unit_test_setup(login__the_answer_about_tls_is_one_byte, open_rig),
        cmocka_unit_test_setup(login__goes_on_when_tls_is_on, open_rig),
        cmocka_unit_test_setup(login__a_password_in_plain_is_for_who_cannot_be_overheard, open_rig),
        cmocka_unit_test_setup(login__md5_takes_the_password_or_its_stored_form, open_rig),
        cmocka_unit_test_setup(login__scram_enters_with_a_password_or_with_keys, open_rig),
        cmocka_unit_test_setup(login__the_mechanism_is_said_by_its_name, open_rig),
        cmocka_unit_test_setup(login__a_challenge_that_is_none_is_refused, open_rig),
        cmocka_unit_test_setup(login__keys_alone_are_no_password, open_rig),
        cmocka_unit_test_setup(login__a_server_without_the_secret_is_not_believed, open_rig),
        cmocka_unit_test_setup(login__an_open_door_is_entered_only_where_that_is_allowed, open_rig),
        cmocka_unit_test_setup(login__nobody_is_asked_twice, open_rig),
        cmocka_unit_test_setup(login__a_way_that_is_not_known_is_named, open_rig),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
