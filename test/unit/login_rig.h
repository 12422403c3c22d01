/*
 * A login and a server whose words are put together by the test: what the tests of login share.
 */
#ifndef HF_TEST_UNIT_LOGIN_RIG_H
#define HF_TEST_UNIT_LOGIN_RIG_H

#include <string.h>

#include "scram_cases.h"
#include "wire/bytes.h"
#include "wire/login.h"
#include "wire/message.h"

struct login_rig {
    struct login login;
    struct login_config config;
    struct login_event event; /* the last one */
    struct buffer out;        /* what the login says */
    struct buffer said;       /* what the server says, and was not consumed */
    char out_block[32768];
    char said_block[65536];
};

static inline void rig_init(struct login_rig *rig)
{
    memset(rig, 0, sizeof *rig);
    buffer_init(&rig->out, rig->out_block, sizeof rig->out_block);
    buffer_init(&rig->said, rig->said_block, sizeof rig->said_block);
    rig->config = (struct login_config){
        .user = SV("ann"),
        .database = SV("shop"),
        .version = STARTUP_VERSION(3, 0),
        .methods = LOGIN_METHODS_ALL,
        .sslmode = LOGIN_SSL_DISABLE,
        .secret = SV(CASE_PASSWORD),
    };
    memcpy(rig->config.random, CASE_CLIENT_RANDOM, SCRAM_NONCE_BYTES);
}

/* Begun, and what it said forgotten. */
static inline void rig_begin(struct login_rig *rig)
{
    assert_int_equal(login_begin(&rig->login, &rig->config, &rig->out), HF_OK);
    buffer_clear(&rig->out);
}

static inline void rig_take(struct login_rig *rig)
{
    assert_in_range(rig->event.consumed, 0, buffer_held(&rig->said));
    buffer_consume(&rig->said, rig->event.consumed);
}

/* The next event of what the server has said. */
static inline enum login_kind rig_next(struct login_rig *rig)
{
    login_feed(&rig->login, buffer_view(&rig->said), &rig->out, &rig->event);
    rig_take(rig);
    return rig->event.kind;
}

/* The first event that is not one more slice of work. */
static inline enum login_kind rig_work(struct login_rig *rig)
{
    do {
        login_work(&rig->login, &rig->out, &rig->event);
        rig_take(rig);
    } while (rig->event.kind == LOGIN_WORK);
    return rig->event.kind;
}

static inline void rig_says(struct login_rig *rig, struct sv bytes)
{
    assert_true(buffer_append(&rig->said, bytes));
}

static inline void rig_auth(struct login_rig *rig, enum build_auth kind, struct sv data)
{
    assert_int_equal(build_auth(&rig->said, kind, data), HF_OK);
}

/* AuthenticationOk and all that PostgreSQL says behind it. */
static inline void rig_accepts(struct login_rig *rig)
{
    rig_auth(rig, BUILD_AUTH_OK, SV(""));
    assert_int_equal(build_parameter_status(&rig->said, SV("TimeZone"), SV("UTC")), HF_OK);
    assert_int_equal(build_backend_key(&rig->said, 4711, SV("\1\2\3\4")), HF_OK);
    assert_int_equal(build_ready(&rig->said, 'I'), HF_OK);
}

static inline void rig_expect_ready(struct login_rig *rig)
{
    assert_int_equal(rig_next(rig), LOGIN_PARAMETER);
    assert_true(sv_eq(rig->event.name, SV("TimeZone")));
    assert_true(sv_eq(rig->event.value, SV("UTC")));
    assert_int_equal(rig_next(rig), LOGIN_KEY);
    assert_int_equal(rig->login.pid, 4711);
    assert_true(sv_eq(login_key(&rig->login), SV("\1\2\3\4")));
    assert_int_equal(rig_next(rig), LOGIN_READY);
    assert_int_equal(buffer_held(&rig->said), 0);
}

static inline void rig_expect_failure(struct login_rig *rig, enum hf_rc rc, const char *sqlstate)
{
    assert_int_equal(rig->event.kind, LOGIN_FAILED);
    assert_int_equal(rig->login.err.rc, rc);
    assert_string_equal(rig->login.err.sqlstate, sqlstate);
}

static inline void rig_expect_said(struct login_rig *rig, struct sv bytes)
{
    assert_true(sv_eq(buffer_view(&rig->out), bytes));
    buffer_clear(&rig->out);
}

#endif
