#include "unit.h"

#include <string.h>

#include "scram_cases.h"
#include "wire/authenticate.h"
#include "wire/build.h"
#include "wire/login.h"
#include "wire/message.h"
#include "wire/scram_client.h"

/* A client that comes, and what it says. */
static struct rig {
    struct authenticate authenticate;
    struct authenticate_config config;
    struct authenticate_event event;
    struct buffer out;  /* what the client is told */
    struct buffer said; /* what the client says, and was not consumed */
    char out_block[4096];
    char said_block[32768];
} rig;

static char md5_stored[PASSWORD_MD5_SIZE]; /* of pencil, for ann */

static void reset(void)
{
    memset(&rig, 0, sizeof rig);
    buffer_init(&rig.out, rig.out_block, sizeof rig.out_block);
    buffer_init(&rig.said, rig.said_block, sizeof rig.said_block);
    rig.config = (struct authenticate_config){
        .method = AUTHENTICATE_SCRAM,
        .user = SV("ann"),
        .database = SV("shop"),
        .address = SV("10.0.0.7"),
        .secret = SV(CASE_VERIFIER),
        .mock = PASSWORD_SCRAM,
        .mock_seed = SV("seed of this proxy"),
        .iterations = 4096,
        .salt = "0123456789abcde",
        .md5_salt = {'s', 'a', 'l', 't'},
    };
    memcpy(rig.config.random, CASE_SERVER_RANDOM, SCRAM_NONCE_BYTES);
    password_md5_store(SV("pencil"), SV("ann"), md5_stored);
}

static int open_rig(void **state)
{
    (void)state;
    reset();
    return 0;
}

static void begin(void)
{
    authenticate_begin(&rig.authenticate, &rig.config, &rig.out, &rig.event);
    assert_int_equal(rig.event.consumed, 0);
}

static enum authenticate_kind next(void)
{
    authenticate_feed(&rig.authenticate, buffer_view(&rig.said), &rig.out, &rig.event);
    buffer_consume(&rig.said, rig.event.consumed);
    return rig.event.kind;
}

static enum authenticate_kind work(void)
{
    unsigned slices = 0;
    assert_int_equal(next(), AUTHENTICATE_WORK);
    do
        authenticate_work(&rig.authenticate, &rig.out, &rig.event);
    while (rig.event.kind == AUTHENTICATE_WORK && ++slices < 100000);
    return rig.event.kind;
}

static void says(struct sv bytes)
{
    assert_true(buffer_append(&rig.said, bytes));
}

static void says_password(struct sv text)
{
    assert_int_equal(build_password(&rig.said, text), HF_OK);
}

/* A SASLInitialResponse that only chooses. */
static void says_mechanism(struct sv mechanism)
{
    struct build build = build_begin(&rig.said, 'p');
    build_cstr(&build, mechanism);
    build_u32(&build, UINT32_MAX);
    assert_int_equal(build_end(&build), HF_OK);
}

/* The kind of the AuthenticationRequest that the client was told first, which is taken off. */
static uint32_t told(struct sv *data)
{
    struct frame frame;
    struct frame_part part;
    struct message_auth auth;
    frame_init(&frame, FRAME_BACKEND, FRAME_LOGIN);
    assert_int_equal(frame_look(&frame, buffer_view(&rig.out), &part), FRAME_PART);
    assert_true(part.is_last);
    assert_int_equal(message_auth(message_of(&part), &auth), MESSAGE_OK);
    *data = auth.data;
    buffer_consume(&rig.out, part.bytes.size);
    return auth.kind;
}

static void expect_told(uint32_t kind)
{
    struct sv data;
    assert_int_equal(told(&data), kind);
}

static void expect_denied(enum hf_rc rc, const char *sqlstate, const char *message)
{
    assert_int_equal(rig.event.kind, AUTHENTICATE_DENIED);
    assert_int_equal(rig.authenticate.err.rc, rc);
    assert_string_equal(rig.authenticate.err.sqlstate, sqlstate);
    assert_string_equal(rig.authenticate.err.message, message);
}

#define WRONG "password authentication failed for user \"ann\""

/* ---- Rules ---- */

static void authenticate__rules_speak_as_postgresql_does(void **state)
{
    (void)state;
    static const struct {
        enum authenticate_method method;
        bool is_local, is_encrypted, is_replication;
        const char *message;
    } cases[] = {
        {AUTHENTICATE_NO_RULE, false, false, false,
         "no pg_hba.conf entry for host \"10.0.0.7\", user \"ann\", database \"shop\", no "
         "encryption"},
        {AUTHENTICATE_NO_RULE, false, true, true,
         "no pg_hba.conf entry for replication connection from host \"10.0.0.7\", user \"ann\", "
         "SSL encryption"},
        {AUTHENTICATE_REJECT, false, true, false,
         "pg_hba.conf rejects connection for host \"10.0.0.7\", user \"ann\", database \"shop\", "
         "SSL encryption"},
        {AUTHENTICATE_REJECT, true, false, true,
         "pg_hba.conf rejects replication connection for host \"[local]\", user \"ann\", no "
         "encryption"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        reset();
        rig.config.method = cases[i].method;
        rig.config.is_local = cases[i].is_local;
        rig.config.is_encrypted = cases[i].is_encrypted;
        rig.config.is_replication = cases[i].is_replication;
        begin();
        expect_denied(HF_RC_DENIED, "28000", cases[i].message);
        assert_int_equal(buffer_held(&rig.out), 0);
        assert_string_equal(rig.authenticate.log, "");
    }
}

static void authenticate__trust_asks_nothing(void **state)
{
    (void)state;
    rig.config.method = AUTHENTICATE_TRUST;
    rig.config.secret = SV("");
    begin();
    assert_int_equal(rig.event.kind, AUTHENTICATE_OK);
    expect_told(BUILD_AUTH_OK);
    const struct scram_verifier *verifier;
    assert_null(authenticate_keys(&rig.authenticate, &verifier));
    assert_null(authenticate_made(&rig.authenticate));
    assert_int_equal(authenticate_password(&rig.authenticate).size, 0);
}

#define NO_CERTIFICATE "connection requires a valid client certificate"
#define OTHER_NAME     "certificate authentication failed for user \"ann\""
#define OTHER_PEER     "Peer authentication failed for user \"ann\""

static void authenticate__who_is_known_by_other_means_must_be_the_user(void **state)
{
    (void)state;
    static const struct {
        enum authenticate_method method;
        enum authenticate_clientcert clientcert;
        bool is_encrypted, has_certificate, is_identified;
        const char *name;
        const char *message; /* NULL: it goes on */
    } cases[] = {
        {AUTHENTICATE_CERT, 0, true, true, true, "ann", NULL},
        {AUTHENTICATE_CERT, 0, true, true, true, "A. Smith", NULL}, /* by a name map */
        {AUTHENTICATE_CERT, 0, true, true, false, "bob", OTHER_NAME},
        {AUTHENTICATE_CERT, 0, true, true, true, "", OTHER_NAME},
        {AUTHENTICATE_CERT, 0, true, false, true, "ann", NO_CERTIFICATE},
        {AUTHENTICATE_CERT, 0, false, true, true, "ann", NO_CERTIFICATE},
        {AUTHENTICATE_PEER, 0, false, false, true, "root", NULL},
        {AUTHENTICATE_PEER, 0, false, false, false, "root", OTHER_PEER},
        {AUTHENTICATE_PEER, 0, false, false, true, "", OTHER_PEER},
        {AUTHENTICATE_PASSWORD, AUTHENTICATE_CLIENTCERT_CA, true, true, false, "x", NULL},
        {AUTHENTICATE_PASSWORD, AUTHENTICATE_CLIENTCERT_CA, true, false, false, "x",
         NO_CERTIFICATE},
        {AUTHENTICATE_TRUST, AUTHENTICATE_CLIENTCERT_FULL, true, true, false, "x", OTHER_NAME},
        {AUTHENTICATE_TRUST, AUTHENTICATE_CLIENTCERT_FULL, true, true, true, "x", NULL},
        {AUTHENTICATE_SCRAM, AUTHENTICATE_CLIENTCERT_FULL, true, false, true, "x", NO_CERTIFICATE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        reset();
        rig.config.method = cases[i].method;
        rig.config.clientcert = cases[i].clientcert;
        rig.config.is_encrypted = cases[i].is_encrypted;
        rig.config.has_certificate = cases[i].has_certificate;
        rig.config.is_identified = cases[i].is_identified;
        rig.config.identity = sv_from_cstr(cases[i].name);
        begin();
        if (cases[i].message != NULL)
            expect_denied(HF_RC_DENIED, "28000", cases[i].message);
        else
            assert_int_not_equal(rig.event.kind, AUTHENTICATE_DENIED);
    }
}

/* ---- password ---- */

static void authenticate__a_password_in_plain_is_not_asked_for_where_others_hear_it(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        reset();
        rig.config.method = AUTHENTICATE_PASSWORD;
        rig.config.is_local = (i & 1) != 0;
        rig.config.is_encrypted = (i & 2) != 0;
        begin();
        if (i > 0) {
            assert_int_equal(rig.event.kind, AUTHENTICATE_MORE);
            expect_told(BUILD_AUTH_CLEARTEXT);
        } else {
            expect_denied(HF_RC_DENIED, "28000",
                          "password authentication needs an encrypted connection");
            assert_true(rig.authenticate.err.hint[0] != '\0');
            assert_int_equal(buffer_held(&rig.out), 0);
        }
    }
}

/* The secret, what the client says, and whether it gets in. The empty secret: nobody's. */
static const struct password_case {
    struct sv secret;
    enum password_kind mock;
    struct sv said;
    bool works, is_right;
} password_cases[] = {
    {SV_INIT("pencil"), PASSWORD_SCRAM, SV_INIT("pencil"), false, true},
    {SV_INIT("pencil"), PASSWORD_SCRAM, SV_INIT("pencils"), false, false},
    {SV_INIT("pencil"), PASSWORD_SCRAM, SV_INIT("pen"), false, false},
    {{md5_stored, sizeof md5_stored}, PASSWORD_SCRAM, SV_INIT("pencil"), false, true},
    {{md5_stored, sizeof md5_stored}, PASSWORD_SCRAM, SV_INIT("x"), false, false},
    {SV_INIT(CASE_VERIFIER), PASSWORD_SCRAM, SV_INIT("pencil"), true, true},
    {SV_INIT(CASE_VERIFIER), PASSWORD_SCRAM, SV_INIT("x"), true, false},
    {SV_INIT("SCRAM-SHA-256$rubbish"), PASSWORD_SCRAM, SV_INIT("x"), true, false},
    {SV_INIT(""), PASSWORD_SCRAM, SV_INIT("pencil"), true, false},
    {SV_INIT(""), PASSWORD_MD5, SV_INIT("pencil"), false, false},
    {SV_INIT(""), PASSWORD_PLAIN, SV_INIT("mock"), false, false},
};

static void authenticate__a_password_is_held_against_any_form_of_secret(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof password_cases / sizeof password_cases[0]; i++) {
        const struct password_case *c = &password_cases[i];
        const struct scram_verifier *verifier;
        reset();
        rig.config.method = AUTHENTICATE_PASSWORD;
        rig.config.is_local = true;
        rig.config.secret = c->secret;
        rig.config.mock = c->mock;
        begin();
        expect_told(BUILD_AUTH_CLEARTEXT);
        says_password(c->said);
        assert_int_equal(next() == AUTHENTICATE_WORK, c->works);
        if (c->works)
            work();
        const struct scram_keys *keys = authenticate_keys(&rig.authenticate, &verifier);
        assert_null(authenticate_made(&rig.authenticate));
        if (!c->is_right) {
            expect_denied(HF_RC_DENIED, "28P01", WRONG);
            assert_true(rig.authenticate.log[0] != '\0');
            assert_null(keys);
            assert_int_equal(authenticate_password(&rig.authenticate).size, 0);
            continue;
        }
        assert_int_equal(rig.event.kind, AUTHENTICATE_OK);
        expect_told(BUILD_AUTH_OK);
        assert_true(sv_eq(authenticate_password(&rig.authenticate), SV("pencil")));
        /* With a verifier, the password also gives what a server can be entered with. */
        assert_int_equal(keys != NULL, c->works);
        if (keys != NULL)
            assert_true(scram_verifier_fits(verifier, keys));
    }
}

static void authenticate__what_is_no_password_is_refused(void **state)
{
    (void)state;
    static char text[SECRET_SIZE_MAX + 2];
    memset(text, 'x', sizeof text - 1);
    const struct {
        struct sv bytes;
        enum hf_rc rc;
        const char *sqlstate, *message;
    } cases[] = {
        {SV("p\0\0\0\5\0"), HF_RC_DENIED, "28P01", "empty password returned by client"},
        {SV("p\0\0\0\4"), HF_RC_PEER, "08P01", "invalid password packet size"},
        {SV("p\0\0\0\7a\0b"), HF_RC_PEER, "08P01", "invalid password packet size"},
        {SV("p\0\0\0\5a"), HF_RC_PEER, "08P01", "invalid password packet size"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int is_md5 = 0; is_md5 < 2; is_md5++) {
            reset();
            rig.config.method = is_md5 ? AUTHENTICATE_MD5 : AUTHENTICATE_PASSWORD;
            rig.config.secret = SV("pencil");
            rig.config.is_local = true;
            begin();
            says(cases[i].bytes);
            next();
            expect_denied(cases[i].rc, cases[i].sqlstate, cases[i].message);
        }
    reset();
    rig.config.method = AUTHENTICATE_PASSWORD;
    rig.config.secret = sv_from(text, SECRET_SIZE_MAX + 1);
    rig.config.is_local = true;
    begin();
    says_password(rig.config.secret);
    next();
    expect_denied(HF_RC_DENIED, "28P01", WRONG);
}

/* ---- md5 ---- */

static void authenticate__md5_takes_who_has_the_stored_form(void **state)
{
    (void)state;
    static const struct {
        struct sv secret;
        enum password_kind mock;
        const char *password;
        bool is_right;
    } cases[] = {
        {SV_INIT("pencil"), PASSWORD_MD5, "pencil", true},
        {{md5_stored, sizeof md5_stored}, PASSWORD_SCRAM, "pencil", true},
        {SV_INIT("pencil"), PASSWORD_MD5, "x", false},
        {{md5_stored, sizeof md5_stored}, PASSWORD_MD5, "x", false},
        {SV_INIT(""), PASSWORD_MD5, "pencil", false},
        {SV_INIT(""), PASSWORD_PLAIN, "mock", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char stored[PASSWORD_MD5_SIZE], answer[PASSWORD_MD5_SIZE];
        struct sv salt;
        reset();
        rig.config.method = AUTHENTICATE_MD5;
        rig.config.secret = cases[i].secret;
        rig.config.mock = cases[i].mock;
        begin();
        assert_int_equal(told(&salt), BUILD_AUTH_MD5);
        assert_true(sv_eq(salt, SV("salt")));
        password_md5_store(sv_from_cstr(cases[i].password), SV("ann"), stored);
        password_md5_answer(stored, "salt", answer);
        says_password(sv_from(answer, sizeof answer));
        next();
        if (cases[i].is_right)
            assert_int_equal(rig.event.kind, AUTHENTICATE_OK);
        else
            expect_denied(HF_RC_DENIED, "28P01", WRONG);
    }
}

/* Whoever knows what is compared for an unknown user must not get in by it. */
static void authenticate__nobody_is_let_in_by_the_mock(void **state)
{
    (void)state;
    static const char mock[] = "md500000000000000000000000000000000";
    char answer[PASSWORD_MD5_SIZE];
    rig.config.method = AUTHENTICATE_MD5;
    rig.config.secret = SV("");
    rig.config.mock = PASSWORD_MD5;
    begin();
    password_md5_answer(mock, "salt", answer);
    says_password(sv_from(answer, sizeof answer));
    next();
    expect_denied(HF_RC_DENIED, "28P01", WRONG);
}

/* ---- SCRAM ---- */

struct scram_case_of_user {
    enum authenticate_method method;
    struct sv secret;
    bool has_verifier; /* handed in, of a plain secret */
    bool is_encrypted, is_bound, is_plus;
    bool has_no_data; /* the client chooses first, and speaks then */
    const char *password;
    bool works, is_right;
};

static const struct scram_case_of_user scram_users[] = {
    {AUTHENTICATE_SCRAM, SV_INIT(CASE_VERIFIER), .password = "pencil", .is_right = true},
    {AUTHENTICATE_SCRAM, SV_INIT(CASE_VERIFIER), .password = "pencils"},
    {AUTHENTICATE_MD5, SV_INIT(CASE_VERIFIER), .password = "pencil", .is_right = true},
    {AUTHENTICATE_SCRAM, SV_INIT("pencil"), .password = "pencil", .works = true, .is_right = true},
    {AUTHENTICATE_SCRAM, SV_INIT("pencil"), .password = "x", .works = true},
    {AUTHENTICATE_SCRAM, SV_INIT("pencil"), .has_verifier = true, .password = "pencil",
     .is_right = true},
    {AUTHENTICATE_SCRAM, {md5_stored, sizeof md5_stored}, .password = "pencil"},
    {AUTHENTICATE_SCRAM, SV_INIT("SCRAM-SHA-256$rubbish"), .password = "pencil"},
    {AUTHENTICATE_SCRAM, SV_INIT(""), .password = "pencil"},
    {AUTHENTICATE_MD5, SV_INIT(""), .password = "pencil"},
    {AUTHENTICATE_SCRAM, SV_INIT(CASE_VERIFIER), .is_encrypted = true, .is_bound = true,
     .is_plus = true, .password = "pencil", .is_right = true},
    {AUTHENTICATE_SCRAM, SV_INIT(CASE_VERIFIER), .is_encrypted = true, .is_bound = true,
     .password = "pencil", .is_right = true},
    {AUTHENTICATE_SCRAM, SV_INIT(CASE_VERIFIER), .has_no_data = true, .password = "pencil",
     .is_right = true},
};

/* The client's first message, and its answer to the challenge. */
static void speak_scram(const struct scram_case_of_user *c, struct scram_client *client)
{
    struct scram_binding binding = {0};
    struct scram_stretch stretch;
    struct scram_keys keys;
    struct sv data;
    char block[512];
    struct buffer text;
    if (c->is_plus)
        binding = case_binding();
    buffer_init(&text, block, sizeof block);
    scram_client_init(client, c->is_plus ? SCRAM_CHOICE_PLUS : SCRAM_CHOICE_PLAIN, &binding);
    assert_int_equal(scram_client_first(client, CASE_CLIENT_RANDOM, &text, NULL), HF_OK);
    struct sv mechanism = c->is_plus ? SV(SCRAM_SHA_256_PLUS) : SV(SCRAM_SHA_256);
    if (c->has_no_data) {
        says_mechanism(mechanism);
        assert_int_equal(next(), AUTHENTICATE_MORE);
        assert_int_equal(told(&data), BUILD_AUTH_SASL_CONTINUE);
        assert_int_equal(data.size, 0);
        assert_int_equal(build_sasl_response(&rig.said, buffer_view(&text)), HF_OK);
    } else {
        assert_int_equal(build_sasl_initial(&rig.said, mechanism, buffer_view(&text)), HF_OK);
    }
    assert_int_equal(next(), AUTHENTICATE_MORE);
    assert_int_equal(told(&data), BUILD_AUTH_SASL_CONTINUE);
    assert_int_equal(scram_client_challenge(client, data, NULL), HF_OK);
    scram_stretch_begin(&stretch, sv_from_cstr(c->password), scram_client_salt(client),
                        client->iterations);
    assert_true(scram_stretch_run(&stretch, UINT32_MAX));
    scram_stretch_end(&stretch, &keys);
    buffer_clear(&text);
    assert_int_equal(scram_client_final(client, &keys, &text, NULL), HF_OK);
    assert_int_equal(build_sasl_response(&rig.said, buffer_view(&text)), HF_OK);
}

static void authenticate__scram_takes_who_has_the_secret(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scram_users / sizeof scram_users[0]; i++) {
        const struct scram_case_of_user *c = &scram_users[i];
        const struct scram_verifier *of_keys;
        struct scram_verifier verifier = case_verifier();
        struct scram_client client;
        struct sv data;
        reset();
        rig.config.method = c->method;
        rig.config.secret = c->secret;
        rig.config.verifier = c->has_verifier ? &verifier : NULL;
        rig.config.is_encrypted = c->is_encrypted;
        if (c->is_bound)
            rig.config.binding = case_binding();
        begin();
        assert_int_equal(told(&data), BUILD_AUTH_SASL);
        assert_int_equal(rig.event.kind == AUTHENTICATE_WORK, c->works);
        if (c->works)
            assert_int_equal(work(), AUTHENTICATE_MORE);
        assert_int_equal(authenticate_made(&rig.authenticate) != NULL, c->works);
        speak_scram(c, &client);
        next();
        const struct scram_keys *keys = authenticate_keys(&rig.authenticate, &of_keys);
        assert_int_equal(authenticate_made(&rig.authenticate) != NULL, c->works);
        if (!c->is_right) {
            expect_denied(HF_RC_DENIED, "28P01", WRONG);
            assert_null(keys);
            continue;
        }
        assert_int_equal(rig.event.kind, AUTHENTICATE_OK);
        assert_int_equal(told(&data), BUILD_AUTH_SASL_FINAL);
        assert_int_equal(scram_client_verify(&client, data, NULL), HF_OK);
        expect_told(BUILD_AUTH_OK);
        assert_non_null(keys);
        assert_true(scram_verifier_fits(of_keys, keys));
        assert_int_equal(authenticate_password(&rig.authenticate).size, 0);
    }
}

static void authenticate__plus_is_offered_only_to_who_can_be_bound(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct sv data;
        bool has_plus = i == 3;
        reset();
        rig.config.is_encrypted = (i & 1) != 0;
        if ((i & 2) != 0)
            rig.config.binding = case_binding();
        begin();
        assert_int_equal(told(&data), BUILD_AUTH_SASL);
        assert_true(sv_eq(data, has_plus ? SV("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")
                                         : SV("SCRAM-SHA-256\0\0")));
        assert_int_equal(build_sasl_initial(&rig.said, SV(SCRAM_SHA_256_PLUS),
                                            SV("p=tls-server-end-point,,n=,r=abc")),
                         HF_OK);
        next();
        if (has_plus)
            assert_int_equal(rig.event.kind, AUTHENTICATE_MORE);
        else
            expect_denied(HF_RC_PEER, "08P01",
                          "client selected an invalid SASL authentication mechanism");
    }
}

static void authenticate__an_unknown_user_has_the_same_salt_each_time(void **state)
{
    (void)state;
    char first[256] = "", other[256] = "";
    size_t sizes[2] = {0};
    static const char *const users[] = {"ann", "ann", "bob"};
    for (int i = 0; i < 3; i++) {
        struct sv data;
        reset();
        rig.config.user = sv_from_cstr(users[i]);
        rig.config.secret = SV("");
        begin();
        expect_told(BUILD_AUTH_SASL);
        assert_int_equal(build_sasl_initial(&rig.said, SV(SCRAM_SHA_256), SV("n,,n=,r=abc")),
                         HF_OK);
        assert_int_equal(next(), AUTHENTICATE_MORE);
        assert_int_equal(told(&data), BUILD_AUTH_SASL_CONTINUE);
        char *to = i == 0 ? first : other;
        sizes[i > 0] = data.size;
        memcpy(to, data.data, data.size);
        if (i > 0)
            assert_int_equal(sizes[0] == sizes[1] && memcmp(first, other, sizes[0]) == 0, i == 1);
    }
}

static void authenticate__what_is_no_scram_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct sv mechanism, first, final;
        const char *sqlstate, *message;
    } cases[] = {
        {SV_INIT("SCRAM-SHA-1"), SV_INIT("n,,n=,r=abc"), SV_INIT(""), "08P01",
         "client selected an invalid SASL authentication mechanism"},
        {SV_INIT(SCRAM_SHA_256), SV_INIT("rubbish"), SV_INIT(""), "08P01",
         "malformed SCRAM message"},
        {SV_INIT(SCRAM_SHA_256), SV_INIT("n,,n=,r=abc"), SV_INIT("rubbish"), "08P01",
         "malformed SCRAM message"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        reset();
        begin();
        assert_int_equal(build_sasl_initial(&rig.said, cases[i].mechanism, cases[i].first), HF_OK);
        assert_int_equal(build_sasl_response(&rig.said, cases[i].final), HF_OK);
        next();
        expect_denied(HF_RC_PEER, cases[i].sqlstate, cases[i].message);
    }
    reset();
    begin();
    says(SV("p\0\0\0\6ab"));
    next();
    assert_string_equal(rig.authenticate.err.sqlstate, "08P01");
    assert_int_equal(rig.event.kind, AUTHENTICATE_DENIED);
}

/* ---- Bytes ---- */

static void authenticate__other_messages_are_refused_or_the_end(void **state)
{
    (void)state;
    begin();
    says(SV("Q\0\0\0\x0dSELECT 1\0"));
    assert_int_equal(next(), AUTHENTICATE_DENIED);
    assert_string_equal(rig.authenticate.err.sqlstate, "08P01");
    reset();
    begin();
    says(SV("p\0\0\x27\x11"));
    assert_int_equal(next(), AUTHENTICATE_DENIED);
    assert_string_equal(rig.authenticate.err.sqlstate, "08P01");
    reset();
    begin();
    says(SV("X\0\0\0\4"));
    assert_int_equal(next(), AUTHENTICATE_GONE);
    assert_int_equal(next(), AUTHENTICATE_GONE);
}

static void authenticate__bytes_may_come_one_by_one(void **state)
{
    (void)state;
    rig.config.method = AUTHENTICATE_PASSWORD;
    rig.config.is_local = true;
    rig.config.secret = SV("pencil");
    begin();
    static const char bytes[] = "p\0\0\0\x0bpencil\0Q and what follows";
    for (size_t i = 0; i < 11; i++) {
        assert_int_equal(next(), AUTHENTICATE_MORE);
        assert_int_equal(rig.event.consumed, 0);
        says(sv_from(bytes + i, 1));
    }
    says(sv_from(bytes + 11, sizeof bytes - 12));
    assert_int_equal(next(), AUTHENTICATE_OK);
    assert_int_equal(rig.event.consumed, 12);
    assert_int_equal(buffer_held(&rig.said), 18);
    assert_int_equal(next(), AUTHENTICATE_OK);
    assert_int_equal(rig.event.consumed, 0);
}

static void authenticate__no_room_for_an_answer_is_a_denial(void **state)
{
    (void)state;
    static const struct {
        enum authenticate_method method;
        bool is_local;
    } cases[] = {
        {AUTHENTICATE_TRUST, true}, {AUTHENTICATE_PASSWORD, true}, {AUTHENTICATE_SCRAM, true}};
    char block[8];
    struct buffer small;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig.config.method = cases[i].method;
        rig.config.is_local = cases[i].is_local;
        buffer_init(&small, block, sizeof block);
        authenticate_begin(&rig.authenticate, &rig.config, &small, &rig.event);
        expect_denied(HF_RC_LIMIT, "54000", "no room for a message of the authentication");
    }
    rig.config.method = AUTHENTICATE_MD5;
    rig.config.secret = SV("pencil");
    buffer_init(&small, block, sizeof block);
    authenticate_begin(&rig.authenticate, &rig.config, &small, &rig.event);
    expect_denied(HF_RC_LIMIT, "54000", "no room for a message of the authentication");
    for (int no_data = 0; no_data < 2; no_data++) {
        reset();
        begin();
        if (no_data)
            says_mechanism(SV(SCRAM_SHA_256));
        else
            assert_int_equal(build_sasl_initial(&rig.said, SV(SCRAM_SHA_256), SV("n,,n=,r=abc")),
                             HF_OK);
        buffer_init(&small, block, sizeof block);
        authenticate_feed(&rig.authenticate, buffer_view(&rig.said), &small, &rig.event);
        expect_denied(HF_RC_LIMIT, "54000", "no room for a message of the authentication");
    }
}

static void authenticate__the_end_of_scram_needs_room_too(void **state)
{
    (void)state;
    const struct scram_case_of_user c = {.secret = SV(CASE_VERIFIER), .password = "pencil"};
    struct scram_client client;
    for (size_t room = 0; room < 64; room += 56) {
        char block[64];
        struct buffer small;
        reset();
        begin();
        expect_told(BUILD_AUTH_SASL);
        speak_scram(&c, &client);
        buffer_init(&small, block, room);
        authenticate_feed(&rig.authenticate, buffer_view(&rig.said), &small, &rig.event);
        expect_denied(HF_RC_LIMIT, "54000", "no room for a message of the authentication");
        const struct scram_verifier *verifier;
        assert_null(authenticate_keys(&rig.authenticate, &verifier));
    }
}

static void authenticate__nothing_is_left_when_it_is_wiped(void **state)
{
    (void)state;
    static const struct authenticate wiped;
    rig.config.method = AUTHENTICATE_PASSWORD;
    rig.config.is_local = true;
    begin();
    says_password(SV("pencil"));
    assert_int_equal(next(), AUTHENTICATE_WORK);
    assert_int_equal(work(), AUTHENTICATE_OK);
    authenticate_work(&rig.authenticate, &rig.out, &rig.event);
    assert_int_equal(rig.event.kind, AUTHENTICATE_OK);
    authenticate_wipe(&rig.authenticate);
    assert_memory_equal(&rig.authenticate, &wiped, sizeof wiped);
    assert_int_equal(next(), AUTHENTICATE_DENIED);
}

/* ---- Our own other side ---- */

/* The proxy's two faces, put before each other: whom authenticate.h lets in, login.h can be. */
static void authenticate__our_own_login_is_let_in(void **state)
{
    (void)state;
    static const struct {
        enum authenticate_method method;
        struct sv secret;
    } cases[] = {
        {AUTHENTICATE_TRUST, SV_INIT("")},
        {AUTHENTICATE_PASSWORD, SV_INIT("pencil")},
        {AUTHENTICATE_PASSWORD, SV_INIT(CASE_VERIFIER)},
        {AUTHENTICATE_MD5, {md5_stored, sizeof md5_stored}},
        {AUTHENTICATE_MD5, SV_INIT(CASE_VERIFIER)},
        {AUTHENTICATE_SCRAM, SV_INIT("pencil")},
        {AUTHENTICATE_SCRAM, SV_INIT(CASE_VERIFIER)},
    };
    static struct login login;
    struct login_config config = {
        .user = SV("ann"),
        .version = STARTUP_VERSION(3, 0),
        .methods = LOGIN_METHODS_ALL,
        .is_encrypted = true,
        .binding = case_binding(),
        .secret = SV("pencil"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct login_event event;
        reset();
        rig.config.method = cases[i].method;
        rig.config.secret = cases[i].secret;
        rig.config.is_encrypted = true;
        rig.config.binding = case_binding();
        assert_int_equal(login_begin(&login, &config, &rig.said), HF_OK);
        buffer_clear(&rig.said);
        begin();
        for (int turn = 0; turn < 10000; turn++) {
            login_feed(&login, buffer_view(&rig.out), &rig.said, &event);
            buffer_consume(&rig.out, event.consumed);
            if (event.kind == LOGIN_WORK)
                login_work(&login, &rig.said, &event);
            assert_int_not_equal(event.kind, LOGIN_FAILED);
            if (next() == AUTHENTICATE_WORK)
                authenticate_work(&rig.authenticate, &rig.out, &rig.event);
            if (rig.event.kind == AUTHENTICATE_OK && buffer_held(&rig.out) == 0)
                break;
        }
        assert_int_equal(rig.event.kind, AUTHENTICATE_OK);
        assert_int_equal(build_ready(&rig.out, 'I'), HF_OK);
        login_feed(&login, buffer_view(&rig.out), &rig.said, &event);
        assert_int_equal(event.kind, LOGIN_READY);
        login_wipe(&login);
    }
}

#define TEST(name) cmocka_unit_test_setup(name, open_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(authenticate__rules_speak_as_postgresql_does),
        TEST(authenticate__trust_asks_nothing),
        TEST(authenticate__who_is_known_by_other_means_must_be_the_user),
        TEST(authenticate__a_password_in_plain_is_not_asked_for_where_others_hear_it),
        TEST(authenticate__a_password_is_held_against_any_form_of_secret),
        TEST(authenticate__what_is_no_password_is_refused),
        TEST(authenticate__md5_takes_who_has_the_stored_form),
        TEST(authenticate__nobody_is_let_in_by_the_mock),
        TEST(authenticate__scram_takes_who_has_the_secret),
        TEST(authenticate__plus_is_offered_only_to_who_can_be_bound),
        TEST(authenticate__an_unknown_user_has_the_same_salt_each_time),
        TEST(authenticate__what_is_no_scram_is_refused),
        TEST(authenticate__other_messages_are_refused_or_the_end),
        TEST(authenticate__bytes_may_come_one_by_one),
        TEST(authenticate__no_room_for_an_answer_is_a_denial),
        TEST(authenticate__the_end_of_scram_needs_room_too),
        TEST(authenticate__nothing_is_left_when_it_is_wiped),
        TEST(authenticate__our_own_login_is_let_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
