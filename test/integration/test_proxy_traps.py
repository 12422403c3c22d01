"""What broke other poolers, one test for each row of the list that concerns a running session.

test_proxy_login_traps.py has those of the startup. Every test here passes against PostgreSQL itself
(PROXY_TARGET=direct): what is asked for is never more than what a client had without a proxy. Where
it matters that clients share a server connection, the pool has one.
"""

import contextlib
import random
import threading
import time

import pgwire
import pytest
from demo_process import wait_until
from pgwire import bind, close, copy_data, copy_done, describe, execute, flush, kinds, parse
from pgwire import query, rows, sync

SLOW = "SELECT pg_sleep(30)"


@pytest.fixture
def narrow(start_proxy):
    """Transaction mode, and one server connection for all."""
    return start_proxy("transaction", pool_size=1)


@pytest.fixture
def table(postgres):
    """A fresh table t (id, v) in the database app."""
    postgres.sql("DROP TABLE IF EXISTS t", "CREATE TABLE t (id int PRIMARY KEY, v text)",
                 "ALTER TABLE t OWNER TO app", "INSERT INTO t VALUES (1, 'one'), (2, 'two')",
                 database="app")
    yield "t"
    postgres.sql("DROP TABLE IF EXISTS t", database="app")


@contextlib.contextmanager
def clients(target, count, **options):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(target.connect(**options)) for _ in range(count)]


def run(text, name="", values=(), types=()):
    """Parse, Bind and Execute as a client sends them, with a Sync."""
    return parse(name, text, types) + bind("", name, values) + execute() + sync()


# ----------------------------------------------------------------- owed replies, errors in batches

def test_an_error_skips_a_simple_query_behind_it_up_to_the_sync(pooled):
    with pooled.connect() as c:
        c.send(parse("", "SELECT 1/0"), bind("", ""), execute(), query("SELECT 2"), sync(),
               query("SELECT 3"))
        first, second = c.read_until_ready(), c.read_until_ready()
        assert kinds(first) == "1EZ"
        assert rows(second) == [("3",)]


def test_a_batch_may_end_in_a_simple_query_instead_of_a_sync(pooled):
    with pooled.connect() as c:
        found = c.ask(parse("", "SELECT 1"), bind("", ""), execute(), query("SELECT 2"))
        assert kinds(found) == "12DCTDCZ"
        assert c.value("SELECT 4") == "4"


def test_each_sync_of_a_pipeline_is_answered_once_whatever_failed_before_it(pooled):
    texts = ["SELECT 1", "SELECT 1/0", "SELECT nothing", "SELECT 4", "SELEC", "SELECT 6"]
    with pooled.connect() as c:
        c.send(*(run(text) for text in texts), sync(), sync())
        found = [c.read_until_ready() for _ in range(len(texts) + 2)]
        assert [kinds(each) for each in found] == [
            "12DCZ", "1EZ", "EZ", "12DCZ", "EZ", "12DCZ", "Z", "Z"]
        assert c.is_quiet()


def test_an_error_in_a_pipeline_undoes_what_its_sync_covers_and_no_more(pooled, table):
    with pooled.connect() as c:
        c.send(parse("", "INSERT INTO t VALUES (3, 'lost')"), bind("", ""), execute(),
               parse("", "SELECT 1/0"), bind("", ""), execute(), sync(),
               run("INSERT INTO t VALUES (4, 'kept')"))
        c.read_until_ready(2)
        assert c.rows("SELECT id FROM t WHERE id > 2") == [("4",)]


def test_an_empty_query_is_legal_in_a_failed_transaction(pooled):
    with pooled.connect() as c:
        assert c.ask(query("BEGIN"))[-1].status == "T"
        assert c.ask(query("SELECT 1/0"))[-1].status == "E"
        found = c.ask(query(""))
        assert kinds(found) == "IZ" and found[-1].status == "E"
        assert c.ask(query("SELECT 1"))[0].sqlstate == "25P02"
        assert c.ask(query("ROLLBACK"))[-1].status == "I"


# ----------------------------------------------------------------------------- prepared statements

def test_a_parse_that_failed_leaves_no_statement_behind(pooled):
    with pooled.connect() as c:
        assert kinds(c.ask(parse("s", "SELECT * FROM not_there_yet"), sync())) == "EZ"
        found = c.ask(bind("", "s"), execute(), sync())
        assert kinds(found) == "EZ" and found[0].sqlstate == "26000"
        assert kinds(c.ask(run("SELECT 5", "s"))) == "12DCZ"


def test_a_text_that_failed_once_is_prepared_again_once_it_is_right(narrow, postgres):
    postgres.sql("DROP TABLE IF EXISTS later", database="app")
    with clients(narrow, 2) as (a, b):
        text = "SELECT count(*) FROM later"
        for each in (a, b, a):
            assert each.ask(run(text, "s"))[0].sqlstate == "42P01"
        a.rows("CREATE TABLE later (i int)")
        for each in (a, b, a):
            assert rows(each.ask(close("S", "s"), run(text, "s"))) == [("0",)]
        a.rows("DROP TABLE later")


def test_what_a_failed_batch_did_not_reach_is_not_taken_for_prepared(narrow):
    """The second Parse is skipped by the server: whoever notes it when it is sent is wrong."""
    with clients(narrow, 2) as (a, b):
        a.send(parse("x", "SELECT 1/0"), bind("", "x"), execute(), parse("y", "SELECT 'y'"), sync())
        assert kinds(a.read_until_ready()) == "1EZ"
        assert a.ask(bind("", "y"), execute(), sync())[0].sqlstate == "26000"
        assert rows(b.ask(run("SELECT 'y'", "y"))) == [("y",)]
        assert rows(a.ask(run("SELECT 'y'", "y"))) == [("y",)]


def test_a_statement_name_is_taken_until_it_is_closed(pooled):
    with pooled.connect() as c:
        assert kinds(c.ask(parse("s", "SELECT 1"), sync())) == "1Z"
        assert c.ask(parse("s", "SELECT 2"), sync())[0].sqlstate == "42P05"
        assert rows(c.ask(bind("", "s"), execute(), sync())) == [("1",)]
        assert kinds(c.ask(close("S", "s"), parse("s", "SELECT 2"), sync())) == "31Z"
        assert rows(c.ask(bind("", "s"), execute(), sync())) == [("2",)]


def test_closing_a_portal_named_like_a_statement_leaves_the_statement(pooled):
    with pooled.connect() as c:
        c.ask(parse("same", "SELECT 7"), sync())
        assert kinds(c.ask(bind("same", "same"), close("P", "same"), sync())) == "23Z"
        assert rows(c.ask(bind("", "same"), execute(), sync())) == [("7",)]
        c.ask(close("S", "same"), sync())
        assert c.ask(bind("", "same"), sync())[0].sqlstate == "26000"


@pytest.mark.parametrize("text", ["DEALLOCATE ALL", "DISCARD ALL", "deallocate  all;",
                                  "/* all of it */ DISCARD ALL"])
def test_after_deallocating_all_names_are_free(narrow, text):
    with clients(narrow, 2) as (a, b):
        for each in (a, b):
            each.ask(parse("s", "SELECT 'old'"), sync())
        a.rows(text)
        assert a.ask(bind("", "s"), sync())[0].sqlstate == "26000"
        assert rows(a.ask(run("SELECT 'new'", "s"))) == [("new",)]
        assert rows(b.ask(bind("", "s"), execute(), sync())) == [("old",)]


def test_deallocating_all_works_by_the_extended_protocol_too(narrow):
    with narrow.connect() as c:
        c.ask(parse("s", "SELECT 'old'"), sync())
        assert c.ask(run("DEALLOCATE ALL"))[2].tag == "DEALLOCATE ALL"
        assert c.ask(bind("", "s"), sync())[0].sqlstate == "26000"
        assert rows(c.ask(run("SELECT 'new'", "s"))) == [("new",)]


def test_deallocating_all_that_was_rolled_back_still_has_happened(pooled):
    """In PostgreSQL too: prepared statements do not belong to transactions."""
    with pooled.connect() as c:
        c.ask(parse("s", "SELECT 1"), sync())
        c.rows("BEGIN")
        c.rows("DEALLOCATE ALL")
        c.rows("ROLLBACK")
        assert c.ask(bind("", "s"), sync())[0].sqlstate == "26000"


def test_a_prepared_statement_follows_its_client_to_other_server_connections(start_proxy):
    target = start_proxy("transaction", pool_size=2, listen={"workers": 1})
    with clients(target, 2) as (a, b):
        a.ask(parse("s", "SELECT pg_backend_pid(), $1::text"), sync())
        seen = set()
        for blocks in (False, True, False, True):
            if blocks:  # the connection that was used last is the first to be given away
                b.rows("BEGIN")
            found = rows(a.ask(bind("", "s", ["v"]), execute(), sync()))
            assert found[0][1] == "v"
            seen.add(found[0][0])
            if blocks:
                b.rows("COMMIT")
        assert target.is_direct or len(seen) == 2


def test_the_same_text_with_other_types_is_another_statement(narrow):
    with clients(narrow, 2) as (a, b):
        assert rows(a.ask(run("SELECT $1 || ''", "s", ["1"], [25]))) == [("1",)]
        found = b.ask(parse("s", "SELECT $1", [23]), describe("S", "s"), sync())
        assert found[1].body == b"\0\1" + (23).to_bytes(4, "big")
        found = a.ask(parse("t", "SELECT $1", [25]), describe("S", "t"), sync())
        assert found[1].body == b"\0\1" + (25).to_bytes(4, "big")


def test_a_changed_result_type_is_cured_outside_a_transaction(narrow, table):
    """PostgreSQL refuses once the columns have changed; a pooler's client cannot know that its
    statement was prepared long ago by somebody else."""
    with clients(narrow, 2) as (a, b):
        for each in (a, b):
            assert rows(each.ask(run("SELECT * FROM t WHERE id = 1", "s"))) == [("1", "one")]
        b.rows("ALTER TABLE t ADD more int DEFAULT 3")
        if narrow.is_direct:
            pytest.skip("PostgreSQL itself refuses")
        assert rows(a.ask(bind("", "s"), execute(), sync())) == [("1", "one", "3")]
        found = b.ask(describe("S", "s"), bind("", "s"), execute(), sync())
        assert rows(found) == [("1", "one", "3")]


def test_a_changed_result_type_inside_a_transaction_is_the_clients_to_know(narrow, table):
    with narrow.connect() as c:
        c.ask(parse("s", "SELECT * FROM t"), bind("", "s"), execute(), sync())
        c.rows("BEGIN")
        c.rows("ALTER TABLE t ADD more int")
        found = c.ask(bind("", "s"), execute(), sync())
        assert found[0].sqlstate == "0A000" and found[-1].status == "E"
        c.rows("ROLLBACK")
        assert len(rows(c.ask(bind("", "s"), execute(), sync()))) == 2


def test_more_statements_than_a_server_connection_keeps_all_work(start_proxy):
    target = start_proxy("transaction", pool_size=1, max_prepared_statements=5)
    with target.connect() as c:
        for i in range(40):
            c.ask(parse(f"s{i}", f"SELECT {i}"), sync())
        for i in [*range(40), *range(39, -1, -1)]:
            assert rows(c.ask(bind("", f"s{i}"), execute(), sync())) == [(str(i),)]


def test_statements_evicted_within_one_pipeline_are_still_run(start_proxy):
    """One batch uses more statements than the connection keeps, and one in its middle fails."""
    target = start_proxy("transaction", pool_size=1, max_prepared_statements=3)
    with clients(target, 2) as (a, b):
        for i in range(12):
            a.ask(parse(f"s{i}", f"SELECT {i} / $1::int"), sync())
        for divisor in ("1", "0", "1"):
            a.send(*(bind("", f"s{i}", [divisor if i == 6 else "1"]) + execute()
                     for i in range(12)), sync())
            found = a.read_until_ready()
            assert rows(found) == [(str(i),) for i in range(12 if divisor == "1" else 6)]
            assert rows(b.ask(run("SELECT 'b'", "s1" if divisor == "0" else ""))) == [("b",)]
            b.ask(close("S", "s1"), sync())


def test_the_unnamed_statement_lasts_until_the_next_one(pooled):
    with pooled.connect() as c:
        c.ask(parse("", "SELECT $1::int * 2"), sync())
        for value in ("4", "5"):
            assert rows(c.ask(bind("", "", [value]), execute(), sync())) == [
                (str(int(value) * 2),)]
        c.rows("SELECT 1")
        assert c.ask(bind("", "", ["1"]), sync())[0].sqlstate == "26000"


# ----------------------------------------------------------------------------------------- portals

def test_a_suspended_portal_keeps_its_server_connection(narrow):
    with clients(narrow, 2) as (a, b):
        a.send(parse("", "SELECT generate_series(1, 5)"), bind("p", ""), execute("p", 2), flush())
        assert rows(a.read_until("s")) == [("1",), ("2",)]
        b.send(query("SELECT 'b'"))
        assert narrow.is_direct or b.is_quiet()
        a.send(execute("p", 2), flush())
        assert rows(a.read_until("s")) == [("3",), ("4",)]
        a.send(execute("p"), sync())
        assert rows(a.read_until_ready()) == [("5",)]
        assert rows(b.read_until_ready()) == [("b",)]


def test_portals_live_through_a_transaction_and_end_with_it(pooled):
    with pooled.connect() as c:
        c.rows("BEGIN")
        c.ask(parse("", "SELECT generate_series(1, 4)"), bind("p", ""), execute("p", 1), sync())
        assert rows(c.ask(execute("p", 2), sync())) == [("2",), ("3",)]
        c.rows("COMMIT")
        assert c.ask(execute("p"), sync())[0].sqlstate == "34000"


# -------------------------------------------------------------------------------------------- COPY

def test_a_sync_during_copy_in_is_not_answered(pooled, table):
    with pooled.connect() as c:
        c.send(parse("", "COPY t FROM STDIN"), bind("", ""), execute(), sync())
        assert kinds(c.read_until("G")) == "12G"
        c.send(copy_data("7\tseven\n"), sync(), flush(), copy_data("8\teight\n"), copy_done(),
               sync())
        found = c.read_until_ready()
        assert kinds(found) == "CZ" and found[0].tag == "COPY 2"
        assert c.value("SELECT count(*) FROM t") == "4"


@pytest.mark.parametrize("extended", [False, True])
def test_copy_messages_that_come_after_an_error_disturb_nobody(narrow, table, extended):
    with clients(narrow, 2) as (a, b):
        late = [copy_data("9\tnine\n")] * 50 + [copy_done()]
        bad = copy_data("not a number\tx\n")
        if extended:
            a.send(parse("", "COPY t FROM STDIN"), bind("", ""), execute(), bad, *late, sync())
            assert kinds(a.read_until_ready()) == "12GEZ"
        else:
            a.send(query("COPY t FROM STDIN"), bad)
            assert kinds(a.read_until_ready()) == "GEZ"
            assert b.value("SELECT 'b'") == "b"
            a.send(*late)
        assert b.value("SELECT count(*) FROM t") == "2"
        assert a.value("SELECT 'a'") == "a"
        assert a.is_quiet(0.1) and b.is_quiet(0.1)


def test_a_copy_that_fails_with_a_sync_in_it_frees_its_connection(narrow, table):
    """Whether that Sync is answered cannot be known beforehand, and is found out."""
    with clients(narrow, 2) as (a, b):
        a.send(parse("", "COPY t FROM STDIN"), bind("", ""), execute(), sync())
        assert kinds(a.read_until("G")) == "12G"
        a.send(copy_data("not a number\tx\n"), copy_done(), sync())
        assert kinds(a.read_until_ready()) == "EZ"
        assert b.value("SELECT 'b'") == "b"
        assert a.value("SELECT 'a'") == "a" and a.is_quiet(0.05)


def test_what_does_not_belong_into_a_copy_ends_the_session(pooled, table):
    """Also a message that a pool would answer itself at any other time."""
    with pooled.connect() as c:
        c.ask(parse("s1", "SELECT 1"), sync())
        c.send(parse("", "COPY t FROM STDIN"), bind("", ""), execute())
        assert kinds(c.read_until("G")) == "12G"
        c.send(close("S", "s1"), sync())
        assert [m.sqlstate for m in c.read_to_end() if m.kind == "E"] == ["08P01", "08P01"]


def test_a_sync_is_ignored_in_a_copy_behind_a_prepare(pooled, table):
    with pooled.connect() as c:
        c.send(query("PREPARE p AS SELECT 5; COPY t FROM STDIN"))
        assert kinds(c.read_until("G")) == "CG"
        c.send(sync(), copy_data("7\tseven\n"), copy_done())
        assert kinds(c.read_until_ready()) == "CZ"
        assert c.rows("EXECUTE p") == [("5",)]


def test_copy_in_to_what_does_not_exist_leaves_the_session_usable(pooled):
    with pooled.connect() as c:
        c.send(query("COPY nowhere FROM STDIN"), copy_data("1\n"), copy_done(), query("SELECT 1"))
        assert kinds(c.read_until_ready(2)) == "EZTDCZ"


def test_a_copy_that_the_client_gives_up_costs_no_connection(narrow, table):
    for _ in range(3):
        with narrow.connect() as c:
            c.send(query("COPY t FROM STDIN"), copy_data("5\tfi"))
            c.read_until("G")
            c.reset()
    with narrow.connect() as c:
        assert c.value("SELECT count(*) FROM t") == "2"


def test_function_calls_are_answered(pooled, postgres):
    oid = int(postgres.sql("SELECT oid FROM pg_proc WHERE proname = 'int4abs'")[0][0])
    with pooled.connect() as c:
        found = c.ask(pgwire.function_call(oid, ["-5"]))
        assert kinds(found) == "VZ" and found[0].body == b"\0\0\0\x015"
        assert kinds(c.ask(pgwire.function_call(4_000_000, []))) == "EZ"
        c.send(pgwire.function_call(oid, ["-6"]), query("SELECT 1"))
        assert kinds(c.read_until_ready(2)) == "VZTDCZ"


# ------------------------------------------------------------------------------------------ cancel

def test_a_cancel_ends_the_query_it_is_meant_for(pooled, postgres):
    with pooled.connect() as c:
        c.send(query(SLOW))
        wait_until(lambda: postgres.sql("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND "
                                        f"query = '{SLOW}'"), 6, "it sleeps")
        started = time.monotonic()
        pgwire.cancel(c)
        found = c.read_until_ready()
        assert kinds(found) == "TEZ" and found[1].sqlstate == "57014"
        assert time.monotonic() - started < 20
        assert c.value("SELECT 1") == "1"


def test_a_cancel_that_comes_late_hits_nobody(narrow):
    """Cancels are sent at chance moments around the end of a short query; the next client on the
    same server connection, whose query is long enough to be hit, must never be."""
    rng = random.Random(4)
    with clients(narrow, 2) as (a, b):
        for _ in range(40):
            a.send(query("SELECT pg_sleep(0.01)"))
            time.sleep(rng.random() * 0.02)
            canceller = threading.Thread(target=pgwire.cancel, args=(a,))
            canceller.start()
            a.read_until_ready()
            assert b.rows("SELECT pg_sleep(0.02), 1") == [("", "1")]
            canceller.join()
        assert a.value("SELECT 2") == "2"


def test_the_cancel_of_an_idle_client_hits_nobody(narrow):
    with clients(narrow, 2) as (a, b):
        a.value("SELECT 1")
        b.send(query("SELECT pg_sleep(0.3), 1"))
        for _ in range(5):
            pgwire.cancel(a)
        assert rows(b.read_until_ready()) == [("", "1")]


def test_a_cancel_with_a_wrong_key_does_nothing(pooled):
    with pooled.connect() as c:
        c.send(query("SELECT pg_sleep(0.5), 1"))
        right = c.key
        for wrong in (bytes(len(right)), right[:-1] + bytes([right[-1] ^ 1]), right + b"\0"):
            c.key = wrong
            pgwire.cancel(c)
        c.key = right
        assert rows(c.read_until_ready()) == [("", "1")]


def test_a_client_that_waits_in_the_queue_can_be_cancelled(narrow):
    if narrow.is_direct:
        pytest.skip("nobody waits")
    with clients(narrow, 2) as (a, b):
        a.rows("BEGIN")
        b.send(query("SELECT 'b'"))
        assert b.is_quiet()
        pgwire.cancel(b)
        found = b.read_until_ready()
        assert kinds(found) == "EZ" and found[0].sqlstate == "57014"
        assert a.value("SELECT 'a'") == "a"
        a.rows("COMMIT")
        assert b.value("SELECT 'again'") == "again"


def test_a_flood_of_cancels_harms_nobody(narrow):
    with clients(narrow, 2) as (a, b):
        a.send(query("SELECT pg_sleep(0.5)"))
        threads = [threading.Thread(target=pgwire.cancel, args=(b,)) for _ in range(200)]
        for thread in threads:
            thread.start()
        assert kinds(a.read_until_ready()) == "TDCZ"
        for thread in threads:
            thread.join()
        assert b.value("SELECT 1") == "1"


# ------------------------------------------------------------------------- settings of the session

def test_settings_that_the_server_reports_follow_their_client(narrow):
    with clients(narrow, 3) as all_three:
        zones = ["Asia/Tokyo", "Europe/Berlin", "UTC"]
        for each, zone in zip(all_three, zones):
            found = each.ask(query(f"SET TimeZone = '{zone}'"))
            assert each.parameters["TimeZone"] == zone
            assert [m.tag for m in found if m.kind == "C"] == ["SET"]
        for _ in range(3):
            for each, zone in zip(all_three, zones):
                assert each.value("SHOW TimeZone") == zone
                assert rows(each.ask(run("SHOW TimeZone"))) == [(zone,)]
                assert each.parameters["TimeZone"] == zone


def test_nobody_is_told_of_parameters_that_did_not_change_for_them(narrow):
    with clients(narrow, 2) as (a, b):
        a.rows("SET DateStyle = 'German'")
        for _ in range(3):
            assert "S" not in kinds(b.ask(query("SELECT 1")))
            assert "S" not in kinds(a.ask(query("SELECT 1")))
        assert a.value("SELECT '2020-02-03'::date") == "03.02.2020"
        assert b.value("SELECT '2020-02-03'::date") == "2020-02-03"


def test_startup_parameters_follow_their_client(narrow):
    with narrow.connect(parameters={"application_name": "first", "DateStyle": "SQL, DMY"}) as a, \
            narrow.connect(parameters={"options": "-c application_name=second"}) as b:
        assert a.parameters["DateStyle"] == "SQL, DMY"
        for _ in range(3):
            assert a.value("SHOW application_name") == "first"
            assert b.value("SHOW application_name") == "second"
            assert a.value("SELECT '2020-02-03'::date") == "03/02/2020"


def test_a_setting_made_in_a_transaction_goes_with_its_rollback(narrow):
    with clients(narrow, 2) as (a, b):
        a.rows("SET application_name = 'before'")
        a.rows("BEGIN")
        a.rows("SET application_name = 'inside'")
        assert a.parameters["application_name"] == "inside"
        a.rows("ROLLBACK")
        assert a.parameters["application_name"] == "before"
        b.rows("SELECT 1")
        assert a.value("SHOW application_name") == "before"


def test_a_setting_that_is_refused_is_refused_then_and_not_later(narrow):
    with clients(narrow, 2) as (a, b):
        assert a.ask(query("SET TimeZone = 'No/Where'"))[0].sqlstate == "22023"
        assert b.value("SELECT 1") == "1"
        assert a.value("SELECT 1") == "1"


def test_a_parameter_that_changes_while_connections_are_idle_disturbs_nobody(pooled, postgres):
    with clients(pooled, 2) as (a, b):
        a.value("SELECT 1")
        postgres.sql("ALTER SYSTEM SET intervalstyle = 'iso_8601'", "SELECT pg_reload_conf()")
        try:
            wait_until(lambda: a.value("SHOW IntervalStyle") == "iso_8601", 5, "it has changed")
            assert a.value("SELECT '1 day'::interval") == "P1D"
            assert a.parameters["IntervalStyle"] == "iso_8601"
            assert b.value("SELECT 1") == "1"
        finally:
            postgres.sql("ALTER SYSTEM RESET intervalstyle", "SELECT pg_reload_conf()")
        wait_until(lambda: b.value("SHOW IntervalStyle") == "postgres", 5, "it is as it was")


# ------------------------------------------------------------------------------------ lost servers

def kill_idle(postgres, database="app"):
    postgres.sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                 f"WHERE datname = '{database}' AND pid <> pg_backend_pid()")


def test_an_idle_server_connection_that_died_is_not_given_to_anybody(narrow, postgres):
    if narrow.is_direct:
        pytest.skip("its client is told")
    with narrow.connect() as c:
        for _ in range(3):
            c.value("SELECT 1")
            kill_idle(postgres)
            assert c.value("SELECT 2") == "2"


def test_a_session_hears_the_last_words_of_its_server(session_proxy, postgres):
    with session_proxy.connect() as c:
        c.value("SELECT 1")
        kill_idle(postgres)
        found = c.read_to_end()
        assert kinds(found) == "E"
        fields = found[0].fields
        assert (fields["S"], fields["C"]) == ("FATAL", "57P01")
        assert fields["M"] == "terminating connection due to administrator command"


def test_a_query_whose_server_dies_is_not_run_again(pooled, postgres, table):
    pooled_log = getattr(pooled, "expect_log", None)
    if pooled_log:
        pooled_log("server")
    with pooled.connect() as c:
        c.send(query("INSERT INTO t VALUES (50, 'once'); COMMIT; SELECT pg_sleep(30)"))
        wait_until(lambda: postgres.sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'INSERT%' "
                                        "AND wait_event = 'PgSleep'"), 20, "it sleeps")
        kill_idle(postgres)
        found = c.read_to_end()
        assert [m.tag for m in found if m.kind == "C"] == ["INSERT 0 1", "COMMIT"]
        assert found[-1].kind == "E" and found[-1].fields["C"] in ("57P01", "08006")
    assert postgres.sql("SELECT count(*) FROM t", database="app") == [("3",)]


def test_rows_that_a_client_has_seen_are_not_sent_again(pooled, postgres):
    with pooled.connect() as c:
        c.send(query("SELECT i, CASE WHEN i = 3000 THEN pg_sleep(30) END "
                     "FROM generate_series(1, 6000) i"))
        first = [c.read() for _ in range(1000)]
        kill_idle(postgres)
        found = first + c.read_to_end()
        numbers = [int(row[0]) for row in rows(found)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert found[-1].kind == "E"


# ------------------------------------------------------------------------------------ lost clients

def abandon_in_transaction(c):
    c.rows("BEGIN")
    c.rows("UPDATE t SET v = 'never' WHERE id = 1")


def abandon_in_failed_transaction(c):
    c.rows("BEGIN")
    c.ask(query("SELECT 1/0"))


def abandon_in_query(c):
    c.send(query(SLOW))
    time.sleep(0.1)


def abandon_in_result(c):
    c.send(query("SELECT i, repeat('x', 500) FROM generate_series(1, 10000000) i"))
    c.read()


def abandon_in_message(c):
    c.send(query("SELECT " + "1 + " * 100 + "1")[:100])


def abandon_in_batch(c):
    c.send(parse("s", "SELECT 1"), bind("", "s"), execute(), flush())
    c.read_until("C")


def abandon_in_copy_out(c):
    c.send(query("COPY (SELECT generate_series(1, 10000000)) TO STDOUT"))
    c.read()


def abandon_in_pipeline(c):
    c.send(*[query("SELECT 1; SELECT pg_sleep(0.01)")] * 500)


@pytest.mark.parametrize("how", ["reset", "close", "terminate"])
@pytest.mark.parametrize("abandon", [
    abandon_in_transaction, abandon_in_failed_transaction, abandon_in_query, abandon_in_result,
    abandon_in_message, abandon_in_batch, abandon_in_copy_out, abandon_in_pipeline],
    ids=lambda abandon: abandon.__name__)
def test_a_client_that_vanishes_leaves_the_pool_as_it_was(transaction_proxy_of_one, table, abandon,
                                                          how):
    gone, next_one = transaction_proxy_of_one.connect(), transaction_proxy_of_one.connect()
    abandon(gone)
    if how == "terminate":
        gone.send(pgwire.terminate())
    if how == "reset":
        gone.reset()
    else:
        gone.close()
    with next_one as c:
        started = time.monotonic()
        assert c.rows("SELECT v FROM t WHERE id = 1") == [("one",)]
        assert c.ask(query("SELECT 1"))[-1].status == "I"
        assert time.monotonic() - started < 20, "the pool was without its connection too long"


@pytest.fixture(scope="module")
def transaction_proxy_of_one(proxy_place, postgres):
    import proxy_fixtures
    import proxy_rig
    with proxy_rig.make_target(proxy_fixtures.KIND, proxy_place.new_folder(), proxy_rig.free_port(),
                               postgres, "transaction", pool_size=1) as target:
        yield target


# -------------------------------------------------------------------------------- a saturated pool

def test_who_waited_too_long_is_told_and_stays_in_step(start_proxy):
    target = start_proxy("transaction", pool_size=1, query_wait_timeout="1s")
    if target.is_direct:
        pytest.skip("nobody waits")
    with clients(target, 2) as (a, b):
        a.rows("BEGIN")
        b.send(run("SELECT 1"), run("SELECT 2"), query("SELECT 3"))
        a_answers = a.value("SELECT 'a'")
        try:
            found = b.read_until_ready(3, seconds=30)
            assert all(m.kind in "EZ" for m in found), kinds(found)
            assert {m.sqlstate for m in found if m.kind == "E"} <= {"53300", "57014", "08006"}
            assert b.is_quiet()
            a.rows("COMMIT")
            assert b.value("SELECT 'b'") == "b"
        except pgwire.Closed:
            a.rows("COMMIT")  # to close the connection is allowed too
        assert a_answers == "a"


def test_a_pipeline_is_answered_in_order_while_others_want_the_connection(narrow):
    with clients(narrow, 6) as everybody:
        for number, each in enumerate(everybody):
            each.send(*(run(f"SELECT {number * 1000 + i}, repeat('x', {i * 40})")
                        for i in range(100)))
        for number, each in enumerate(everybody):
            found = rows(each.read_until_ready(100))
            assert found == [(str(number * 1000 + i), "x" * (i * 40)) for i in range(100)]


# ------------------------------------------------------------------------------------------- sizes

@pytest.mark.parametrize("size", [100, 4080, 8192, 65536, 20_000_000])
def test_a_message_of_any_size_passes(pooled, size):
    value = "y" * size
    with pooled.connect() as c:
        assert c.value(f"SELECT length('{value}')") == str(size)
        found = c.ask(run("SELECT $1::text", "", [value]), seconds=30)
        assert rows(found) == [(value,)]
        found = c.ask(parse("big", f"SELECT $1::text || '{value}'"), describe("S", "big"),
                      bind("", "big", [value]), execute(), sync(), seconds=30)
        assert rows(found) == [(value + value,)]
        c.ask(close("S", "big"), sync())


def test_results_larger_than_any_buffer_arrive_to_their_end_in_pipelines_too(pooled):
    """Sizes about those of buffers, so that they end on and beside every boundary."""
    rng = random.Random(14)
    with pooled.connect() as c:
        for _ in range(150):
            size, count = rng.choice([10, 4000, 8190, 16384, 20000, 60000]), rng.choice([1, 3])
            again = rng.choice([1, 1, 5])
            text = f"SELECT repeat('z', {size}) FROM generate_series(1, {count})"
            c.send(*[query(text) if rng.random() < 0.5 else run(text)] * again)
            found = rows(c.read_until_ready(again))
            assert [len(row[0]) for row in found] == [size] * count * again


def test_a_statement_name_of_any_length_works(pooled):
    name = "n" * 60_000
    with pooled.connect() as c:
        assert rows(c.ask(run("SELECT 1", name))) == [("1",)]
        # PostgreSQL takes no Execute longer than 10,000 bytes.
        assert rows(c.ask(bind("p" * 9000, name), execute("p" * 9000), sync())) == [("1",)]


def test_bytes_that_come_one_by_one_make_the_same_messages(pooled):
    with pooled.connect() as c:
        data = run("SELECT $1::text", "drop by drop", ["value"]) + query("SELECT 2")
        c.send_slowly(data, range(1, len(data)))
        assert kinds(c.read_until_ready(2)) == "12DCZTDCZ"


def test_a_notice_arrives_while_the_query_still_runs(pooled):
    with pooled.connect() as c:
        c.send(query("DO $$ BEGIN RAISE NOTICE 'early'; PERFORM pg_sleep(300); END $$"))
        assert c.read().fields["M"] == "early"
        pgwire.cancel(c)
        assert kinds(c.read_until_ready()) == "EZ"


def test_a_notification_reaches_an_idle_session(session_proxy):
    with clients(session_proxy, 2) as (a, b):
        a.rows("LISTEN news")
        b.rows("NOTIFY news, 'hot'")
        found = a.read()
        assert found.kind == "A" and found.body[4:] == b"news\0hot\0"


def test_a_notification_puts_no_transaction_client_out_of_step(narrow):
    with clients(narrow, 2) as (a, b):
        a.rows("LISTEN news")
        for number in range(5):
            b.rows("NOTIFY news")
            assert a.value(f"SELECT {number}") == str(number)
            assert b.value(f"SELECT {number}") == str(number)
