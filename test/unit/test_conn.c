#include "unit.h"

#include "pg/conn.h"

#include <libpq-fe.h>

#include "base/ns.h"
#include "fake_server.h"
#include "os/clock.h"

#define BYTES(text) (text), sizeof(text) - 1

/* AuthenticationOk, a parameter, BackendKeyData 4711 and 0x01020304, ReadyForQuery. */
#define WELCOME                                                                                    \
    "R\0\0\0\x08\0\0\0\0"                                                                          \
    "S\0\0\0\x16in_hot_standby\0on\0"                                                              \
    "K\0\0\0\x0c\0\0\x12\x67\x01\x02\x03\x04"                                                      \
    "Z\0\0\0\x05I"

/* ErrorResponse: severity, severity that nobody translates, SQLSTATE, message, file, line, routine.
 * The first severity is another language's, as a server sends it. */
#define STARTING_UP                                                                                \
    "E\0\0\0\x68SFATALE\0VFATAL\0C57P03\0M"                                                        \
    "das Datenbanksystem startet: x: y\0"                                                          \
    "Fpostmaster.c\0L2327\0RProcessStartupPacket\0\0"

static struct conn_param params[8];

static const struct conn_param *to(const char *host, const char *port, const char *sslmode)
{
    const struct conn_param list[] = {
        {"host", host},
        {"port", port},
        {"user", "tester"},
        {"dbname", "none"},
        {"passfile", "/nonexistent"},
        {"sslmode", sslmode},
        {"gssencmode", "disable"},
        {NULL, NULL},
    };
    memcpy(params, list, sizeof list);
    return params;
}

static enum outcome_code attempt(const char *host, const char *port, const char *sslmode,
                                 int64_t wait_ns, struct conn *conn, struct hf_err *err)
{
    if (conn_open(conn, to(host, port, sslmode), clock_now() + wait_ns, -1, err) == HF_OK)
        return OUTCOME_SUCCESS;
    assert_false(conn_is_open(conn));
    return conn->outcome.code;
}

static void conn__each_way_of_failing_to_connect_has_its_outcome(void **state)
{
    (void)state;
    static const struct fake_line hangs[] = {{.step = FAKE_HANG}};
    static const struct fake_line closes[] = {{.step = FAKE_READ}, {.step = FAKE_END}};
    static const struct fake_line has_no_tls[] = {
        {.step = FAKE_READ}, {FAKE_SEND, BYTES("N")}, {.step = FAKE_READ}, {.step = FAKE_END}};
    static const struct fake_line starts_up[] = {
        {.step = FAKE_READ}, {FAKE_SEND, BYTES(STARTING_UP)}, {.step = FAKE_END}};
    static const struct fake_line wants_password[] = {{.step = FAKE_READ},
                                                      {FAKE_SEND, BYTES("R\0\0\0\x08\0\0\0\x03")},
                                                      {.step = FAKE_READ},
                                                      {.step = FAKE_END}};
    static const struct {
        const struct fake_line *script;
        const char *sslmode;
        enum outcome_code code;
        const char *sqlstate;
    } cases[] = {
        {hangs, "disable", OUTCOME_CONNECT_TIMEOUT, NULL},
        {hangs, "require", OUTCOME_CONNECT_TIMEOUT, NULL},
        {closes, "disable", OUTCOME_CONN_LOST, NULL},
        {has_no_tls, "require", OUTCOME_TLS_FAILED, NULL},
        {starts_up, "disable", OUTCOME_SQLSTATE, "57P03"},
        {wants_password, "disable", OUTCOME_SQLSTATE, "28P01"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_server fake;
        struct conn conn;
        struct hf_err err;
        assert_true(fake_start(&fake, cases[i].script));
        assert_int_equal(attempt("127.0.0.1", fake.port, cases[i].sslmode, HF_MS(200), &conn, &err),
                         cases[i].code);
        if (cases[i].sqlstate != NULL) {
            assert_int_equal(conn.outcome.sqlstate, sqlstate_pack(cases[i].sqlstate));
            assert_string_equal(err.sqlstate, cases[i].sqlstate);
        }
        assert_true(err.message[0] != '\0');
        fake_stop(&fake);
    }
}

static void conn__who_is_not_there_is_told_from_who_has_no_name(void **state)
{
    (void)state;
    struct conn conn;
    struct hf_err err;
    assert_int_equal(attempt("127.0.0.1", "1", "disable", HF_SEC(30), &conn, &err),
                     OUTCOME_CONNECT_REFUSED);
    assert_non_null(strstr(err.hint, "listen_addresses"));
    assert_int_equal(attempt("/nowhere", "5432", "disable", HF_SEC(30), &conn, &err),
                     OUTCOME_CONNECT_REFUSED);
    assert_int_equal(attempt("no such name", "5432", "disable", HF_SEC(30), &conn, &err),
                     OUTCOME_RESOLVE_FAILED);
}

static void conn__a_server_error_is_shown_without_what_only_the_verbose_form_has(void **state)
{
    (void)state;
    static const struct fake_line script[] = {
        {.step = FAKE_READ}, {FAKE_SEND, BYTES(STARTING_UP)}, {.step = FAKE_END}};
    struct fake_server fake;
    struct conn conn;
    struct hf_err err;
    assert_true(fake_start(&fake, script));
    attempt("127.0.0.1", fake.port, "disable", HF_SEC(30), &conn, &err);
    fake_stop(&fake);
    assert_non_null(strstr(err.message, "FATALE:  das Datenbanksystem startet: x: y"));
    assert_null(strstr(err.message, "57P03"));
    assert_string_equal(err.detail, "");
}

static void conn__an_open_connection_knows_role_and_key_and_notices_its_end(void **state)
{
    (void)state;
    static const struct fake_line script[] = {
        {.step = FAKE_READ}, {FAKE_SEND, BYTES(WELCOME)}, {.step = FAKE_HANG}};
    struct fake_server fake;
    struct conn conn;
    struct hf_err err;
    assert_true(fake_start(&fake, script));
    assert_int_equal(attempt("127.0.0.1", fake.port, "disable", HF_SEC(30), &conn, &err),
                     OUTCOME_SUCCESS);
    assert_int_equal(conn_role(&conn), CONN_ROLE_STANDBY);
    assert_true(conn.key.is_known);
    assert_int_equal(conn.key.pid, 4711);
    assert_int_equal(conn.key.secret, 0x01020304);
    assert_true(conn_is_usable(&conn));
    fake_stop(&fake);
    assert_false(conn_is_usable(&conn));
    conn_close(&conn);
    conn_close(&conn);
    assert_int_equal(conn_fd(&conn), -1);
}

static void conn__a_question_without_an_answer_ends_with_its_deadline(void **state)
{
    (void)state;
    static const struct fake_line script[] = {
        {.step = FAKE_READ}, {FAKE_SEND, BYTES(WELCOME)}, {.step = FAKE_HANG}};
    struct fake_server fake;
    struct conn conn;
    struct hf_err err;
    PGresult *rows;
    assert_true(fake_start(&fake, script));
    assert_int_equal(attempt("127.0.0.1", fake.port, "disable", HF_SEC(30), &conn, &err),
                     OUTCOME_SUCCESS);
    const int64_t began_ns = clock_now();
    assert_int_equal(conn_query(&conn, "SELECT 1", NULL, began_ns + HF_MS(100), &rows, &err),
                     HF_RC_AGAIN);
    assert_true(clock_now() - began_ns < HF_SEC(20));
    assert_null(rows);
    assert_int_equal(conn.outcome.code, OUTCOME_TIMEOUT);
    assert_false(conn_is_open(&conn));
    fake_stop(&fake);
}

static void conn__who_waits_can_be_interrupted(void **state)
{
    (void)state;
    static const struct fake_line script[] = {{.step = FAKE_HANG}};
    struct fake_server fake;
    struct conn conn;
    struct hf_err err;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_true(fake_start(&fake, script));
    assert_int_equal(conn_open(&conn, to("127.0.0.1", fake.port, "disable"),
                               clock_now() + HF_SEC(60), ends[0], &err),
                     HF_RC_AGAIN);
    assert_int_equal(conn.outcome.code, OUTCOME_CANCELLED);
    fake_stop(&fake);
    close(ends[0]);
    close(ends[1]);
}

static void conn__a_result_says_what_the_guard_must_know(void **state)
{
    (void)state;
    /* The answer to a statement: an error that ends the session. */
    static const struct fake_line script[] = {{.step = FAKE_READ},
                                              {FAKE_SEND, BYTES(WELCOME)},
                                              {.step = FAKE_READ},
                                              {FAKE_SEND, BYTES(STARTING_UP)},
                                              {.step = FAKE_END}};
    struct fake_server fake;
    struct conn conn;
    struct hf_err err;
    assert_true(fake_start(&fake, script));
    assert_int_equal(attempt("127.0.0.1", fake.port, "disable", HF_SEC(30), &conn, &err),
                     OUTCOME_SUCCESS);
    /* The words that libpq adds about the lost connection do not cover what the server said. */
    assert_int_equal(conn_run(&conn, "SELECT 1", NULL, clock_now() + HF_SEC(30), &err), HF_RC_PEER);
    assert_int_equal(conn.outcome.code, OUTCOME_SQLSTATE);
    assert_int_equal(conn.outcome.sqlstate, sqlstate_pack("57P03"));
    assert_false(conn_is_open(&conn));
    fake_stop(&fake);

    struct outcome_facts facts = {.is_fatal = false};
    assert_int_equal(conn_result_outcome(NULL, &facts).code, OUTCOME_CONN_LOST);
    PGresult *made = PQmakeEmptyPGresult(NULL, PGRES_COMMAND_OK);
    assert_int_equal(conn_result_outcome(made, &facts).code, OUTCOME_SUCCESS);
    assert_false(conn_result_is_stale_statement(made));
    PQclear(made);
    made = PQmakeEmptyPGresult(NULL, PGRES_BAD_RESPONSE);
    assert_int_equal(conn_result_outcome(made, &facts).code, OUTCOME_PROTOCOL);
    PQclear(made);
    made = PQmakeEmptyPGresult(NULL, PGRES_FATAL_ERROR); /* one of libpq's own */
    assert_int_equal(conn_result_outcome(made, &facts).code, OUTCOME_CONN_LOST);
    assert_false(facts.is_fatal);
    PQclear(made);
}

static void conn__a_cancel_request_carries_the_key_to_the_same_address(void **state)
{
    (void)state;
    static const struct fake_line welcome[] = {
        {.step = FAKE_READ}, {FAKE_SEND, BYTES(WELCOME)}, {.step = FAKE_END}};
    struct fake_server fake;
    struct conn conn;
    struct hf_err err;
    assert_true(fake_start(&fake, welcome));
    assert_int_equal(attempt("127.0.0.1", fake.port, "disable", HF_SEC(30), &conn, &err),
                     OUTCOME_SUCCESS);
    const struct cancel_key key = conn.key;
    conn_close(&conn);
    assert_true(cancel_run(&key, clock_now() + HF_SEC(30)));
    fake_stop(&fake);
    static const char request[] = "\0\0\0\x10\x04\xd2\x16\x2e\0\0\x12\x67\x01\x02\x03\x04";
    assert_true(fake.got_size > sizeof request - 1);
    assert_memory_equal(fake.got + fake.got_size - (sizeof request - 1), request,
                        sizeof request - 1);
}

static void conn__a_cancel_request_that_nobody_takes_ends_too(void **state)
{
    (void)state;
    static const struct fake_line script[] = {
        {.step = FAKE_READ}, {FAKE_SEND, BYTES(WELCOME)}, {.step = FAKE_HANG}};
    struct fake_server fake;
    struct conn conn;
    struct hf_err err;
    assert_true(fake_start(&fake, script));
    assert_int_equal(attempt("127.0.0.1", fake.port, "disable", HF_SEC(30), &conn, &err),
                     OUTCOME_SUCCESS);
    const struct cancel_key key = conn.key;
    const int64_t began_ns = clock_now();
    assert_false(cancel_run(&key, began_ns + HF_MS(100)));
    assert_true(clock_now() - began_ns < HF_SEC(20));
    conn_close(&conn);
    fake_stop(&fake);
    assert_false(cancel_run(&key, clock_now() + HF_SEC(1))); /* nobody listens any more */
    struct cancel cancel;
    assert_int_equal(cancel_start(&cancel, &(struct cancel_key){.is_known = false}), CANCEL_FAILED);
    assert_int_equal(cancel_turn(&cancel), CANCEL_FAILED);
    cancel_close(&cancel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conn__each_way_of_failing_to_connect_has_its_outcome),
        cmocka_unit_test(conn__who_is_not_there_is_told_from_who_has_no_name),
        cmocka_unit_test(conn__a_server_error_is_shown_without_what_only_the_verbose_form_has),
        cmocka_unit_test(conn__an_open_connection_knows_role_and_key_and_notices_its_end),
        cmocka_unit_test(conn__a_question_without_an_answer_ends_with_its_deadline),
        cmocka_unit_test(conn__who_waits_can_be_interrupted),
        cmocka_unit_test(conn__a_result_says_what_the_guard_must_know),
        cmocka_unit_test(conn__a_cancel_request_carries_the_key_to_the_same_address),
        cmocka_unit_test(conn__a_cancel_request_that_nobody_takes_ends_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
