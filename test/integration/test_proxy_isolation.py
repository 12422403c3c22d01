"""Two clients share one server connection, and neither finds anything of the other.

Transaction mode with a pool of one connection, so that every transaction of the one client follows
on one of the other's in the same session of the server. A case has what the first client does to
its session, and what is then looked at. What each must see is what PostgreSQL itself says: the
first one as a session of its own that did the same, the second one as a session that did nothing.

What cannot follow a client, such as a temporary table, keeps the connection: the second client
waits meanwhile, and what ends the cause ends that.
"""

import pgwire
import proxy_rig
import pytest

CASES = {
    "a setting that the server reports": (
        ["SET TimeZone = 'Asia/Tokyo'", "SET application_name = 'first'"],
        ["SHOW TimeZone", "SHOW application_name"]),
    "a setting of a transaction": (
        ["BEGIN", "SET LOCAL work_mem = '9MB'", "SELECT set_config('app.it', 'x', true)", "COMMIT"],
        ["SHOW work_mem", "SELECT coalesce(current_setting('app.it', true), '')"]),
    "a setting that was rolled back": (
        ["BEGIN", "SET TimeZone = 'Asia/Tokyo'", "ROLLBACK"],
        ["SHOW TimeZone"]),
    "a cursor of a transaction": (
        ["BEGIN", "DECLARE c CURSOR FOR SELECT 1", "COMMIT"],
        ["FETCH c", "SELECT count(*) FROM pg_cursors"]),
    "a temporary table of a transaction": (
        ["BEGIN", "CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1 AS x", "COMMIT"],
        ["SELECT * FROM t"]),
    "an advisory lock of a transaction": (
        ["BEGIN", "SELECT pg_advisory_xact_lock(7)", "COMMIT"],
        ["SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"]),
    "a transaction that failed": (
        ["BEGIN", "SELECT 1/0", "ROLLBACK"],
        ["SELECT 1"]),
    "a channel that was left": (
        ["LISTEN news", "UNLISTEN *"],
        ["SELECT count(*) FROM pg_listening_channels()"]),
    "everything discarded": (
        ["SET TimeZone = 'Asia/Tokyo'", "DISCARD ALL"],
        ["SHOW TimeZone"]),
    "the mode of transactions": (
        ["SET default_transaction_read_only = on"],
        ["SHOW transaction_read_only"]),
    "settings that the server does not report": (
        ["SET work_mem = '7MB'", "SET statement_timeout = '1h'", "SET app.tenant = 'first'"],
        ["SHOW work_mem", "SHOW statement_timeout",
         "SELECT coalesce(current_setting('app.tenant', true), '')"]),
    "a setting by a function": (
        ["SELECT set_config('work_mem', '6MB', false)"],
        ["SHOW work_mem"]),
    "search_path": (
        ["SET search_path = pg_catalog"],
        ["SHOW search_path", "SELECT current_schemas(false)"]),
    "a setting that was reset": (
        ["SET work_mem = '7MB'", "RESET work_mem", "SET lock_timeout = 5", "RESET ALL"],
        ["SHOW work_mem", "SHOW lock_timeout"]),
    "a setting of a part that was rolled back": (
        ["BEGIN", "SET work_mem = '7MB'", "SAVEPOINT s", "SET work_mem = '8MB'", "ROLLBACK TO s",
         "COMMIT"],
        ["SHOW work_mem"]),
    "a setting that was set to its default": (
        ["SET work_mem = '7MB'", "SET work_mem TO DEFAULT"],
        ["SHOW work_mem"]),
    "characteristics of transactions": (
        ["SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE"],
        ["SHOW transaction_isolation"]),
    "a role": (
        ["SET ROLE pg_monitor"],
        ["SELECT current_user"]),
    "statements prepared in SQL": (
        ["PREPARE mine AS SELECT 'first'"],
        ["EXECUTE mine"]),
}

# What is done, what is looked at, and what ends it.
PINS = {
    "a temporary table": (
        ["CREATE TEMP TABLE t AS SELECT 1 AS x"], ["SELECT * FROM t"], ["DROP TABLE t"]),
    "an advisory lock": (
        ["SELECT pg_advisory_lock(7)"],
        ["SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"],
        ["SELECT pg_advisory_unlock(7)"]),
    "a cursor that is held": (
        ["BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT 'it'", "COMMIT"],
        ["SELECT name FROM pg_cursors"], ["CLOSE c"]),
}


@pytest.fixture(scope="module")
def target(proxy_place, postgres):
    """Made by hand, as it is for all cases."""
    postgres.sql("GRANT pg_monitor TO app")
    folder = proxy_place.new_folder()
    with proxy_rig.make_target("holdfast", folder, proxy_rig.free_port(), postgres, "transaction",
                               pool_size=1, query_wait_timeout="20s") as target:
        yield target


def does(client, statements):
    """Each as a query of its own; errors belong to it."""
    for statement in statements:
        try:
            client.rows(statement)
        except pgwire.ServerError:
            pass


def sees(client, questions):
    found = []
    for question in questions:
        try:
            found.append(client.rows(question))
        except pgwire.ServerError as error:
            found.append(error.sqlstate)
    return found


def expected(direct, statements, questions):
    with direct.connect() as client:
        does(client, statements)
        return sees(client, questions)


def backend(client):
    return client.value("SELECT pg_backend_pid()")


@pytest.mark.parametrize("case", CASES)
def test_nothing_of_a_client_is_found_by_the_next(target, direct, case):
    statements, questions = CASES[case]
    own, others = expected(direct, statements, questions), expected(direct, [], questions)
    with target.connect() as first, target.connect() as second:
        does(first, statements)
        assert backend(first) == backend(second)
        for _ in range(2):
            assert sees(second, questions) == others
            assert sees(first, questions) == own
    with target.connect() as third:
        assert sees(third, questions) == others


@pytest.mark.parametrize("case", PINS)
def test_what_cannot_follow_keeps_the_connection_until_it_ends(target, direct, case):
    statements, questions, end = PINS[case]
    own, others = expected(direct, statements, questions), expected(direct, [], questions)
    with target.connect() as first, target.connect() as second:
        does(first, statements)
        second.send(pgwire.query(questions[0]))
        assert second.is_quiet(0.3)
        assert sees(first, questions) == own
        does(first, end)
        replies = second.read_until_ready()
        assert [pgwire.rows(replies) or next((r.sqlstate for r in replies if r.kind == "E"), [])
                ] == others[:1]
        assert sees(first, questions) == expected(direct, [*statements, *end], questions)


def test_statements_of_one_name_are_two(target):
    with target.connect() as first, target.connect() as second:
        for client, text in ((first, "SELECT 'first'"), (second, "SELECT 'second'")):
            client.ask(pgwire.parse("s", text), pgwire.sync())
        for _ in range(2):
            for client, value in ((first, "first"), (second, "second")):
                found = client.ask(pgwire.bind("", "s"), pgwire.execute(), pgwire.sync())
                assert pgwire.rows(found) == [(value,)]


def test_a_channel_of_one_is_not_the_others(target):
    with target.connect() as first, target.connect() as second:
        first.rows("LISTEN news")
        for _ in range(2):
            second.rows("NOTIFY news, 'heard'")
            heard = first.read_until("A")[-1]
            assert heard.body[4:] == b"news\0heard\0"
            assert [r.kind for r in second.ask(pgwire.query("SELECT 1"))] == list("TDCZ")
        first.rows("UNLISTEN news")
        second.rows("NOTIFY news, 'not heard'")
        assert first.is_quiet()
