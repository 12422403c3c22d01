"""PREPARE, EXECUTE and DEALLOCATE as SQL, over server connections that belong to nobody.

The oracle is PostgreSQL: each script is run by clients with sessions of their own, and by clients
that share one server connection of a pool; what they are told must be the same, down to the names
and the places in error messages.
"""

import concurrent.futures
import contextlib
import random

import pgwire
import psycopg
import psycopg2
import pytest
from pgwire import bind, close, describe, execute, flush, parse, query, sync
from proxy_rig import PASSWORD

MODES = ["transaction", "statement"]


def run(text, name="", values=()):
    """What a driver sends that knows the extended protocol only."""
    return parse(name, text) + bind("", name, values) + describe("P", "") + execute() + sync()


def use(name, *values):
    """A statement that is there, by the protocol."""
    return bind("", name, values) + describe("P", "") + execute() + sync()


def told(messages):
    """What a client sees of them; where in the server's code an error was made is not it."""
    found = []
    for each in messages:
        if each.kind in "EN":
            found.append((each.kind, *(each.fields.get(key) for key in "SCMDHP")))
        elif each.kind in "SA":
            continue
        elif each.kind == "T":
            found.append((each.kind, columns(each.body)))
        else:
            found.append((each.kind, bytes(each.body)))
    return found


def columns(body):
    """Names and types of a RowDescription: a table's OID is not the same in two of them."""
    found, at = [], 2
    while at < len(body):
        end = body.index(b"\0", at)
        found.append((body[at:end], body[end + 7:end + 11]))
        at = end + 19
    return found


def replay(target, script):
    """Each step is (client, message, ...): sent, and read up to as many ReadyForQuery as asked."""
    clients, found = {}, []
    try:
        for name, *messages in script:
            if name not in clients:
                clients[name] = target.connect()
            raw = b"".join(query(each) if isinstance(each, str) else each for each in messages)
            clients[name].send(raw)
            found.append((name, messages, told(clients[name].read_until_ready(count_ready(raw)))))
    finally:
        for client in clients.values():
            client.close()
    return found


def count_ready(raw):
    """How many Syncs and Queries stand in a client's bytes."""
    count, at = 0, 0
    while at < len(raw):
        count += raw[at:at + 1] in b"SQ"
        at += 1 + int.from_bytes(raw[at + 1:at + 5], "big")
    return count


def check(direct, target, script):
    wanted, got = replay(direct, script), replay(target, script)
    for one, other in zip(wanted, got):
        assert one == other, f"\nPostgreSQL: {one}\nthe proxy:  {other}"


ONE = "PREPARE one AS SELECT $1::int + 1"
TYPED = "PREPARE typed (int, text) AS SELECT $1, $2"

# By what they are about. A letter is a client.
SCRIPTS = {
    "prepared, executed, forgotten": [
        ("a", ONE), ("a", "EXECUTE one(1)"), ("a", "EXECUTE one (2);"), ("a", "DEALLOCATE one"),
        ("a", "EXECUTE one(1)"), ("a", "DEALLOCATE one")],
    "two clients with one name": [
        ("a", ONE), ("b", "PREPARE one AS SELECT 'of b'"), ("a", "EXECUTE one(1)"),
        ("b", "EXECUTE one"), ("a", "DEALLOCATE one"), ("b", "EXECUTE one"), ("a", "EXECUTE one"),
        ("c", "EXECUTE one(1)"), ("c", "DEALLOCATE one"), ("b", "DEALLOCATE ALL"),
        ("b", "EXECUTE one")],
    "types decide": [
        ("a", TYPED), ("a", "EXECUTE typed('1', 2)"), ("a", "EXECUTE typed(1)"),
        ("a", "EXECUTE typed('x', 'y')"), ("b", "PREPARE typed (text, int) AS SELECT $1, $2"),
        ("b", "EXECUTE typed('x', 1)"), ("a", "EXECUTE typed(1, 'x')"),
        ("a", describe("S", "typed") + sync()), ("b", describe("S", "typed") + sync()),
        ("a", "PREPARE u (unknown) AS SELECT $1 || 'x'"), ("a", "EXECUTE u('y')"),
        ("a", "PREPARE wrong (nonsense) AS SELECT $1"), ("a", "EXECUTE wrong(1)")],
    "names": [
        ("a", 'PREPARE "One" AS SELECT 1'), ("a", "PREPARE ONE AS SELECT 2"),
        ("a", 'EXECUTE "One"'), ("a", "execute One"), ("a", 'EXECUTE "one"'),
        ("a", 'PREPARE "a ""b" AS SELECT 3'), ("a", 'EXECUTE "a ""b"'),
        ("a", 'DEALLOCATE PREPARE "a ""b"'), ("a", 'EXECUTE "a ""b"'),
        ("a", f"PREPARE {'x' * 63} AS SELECT 4"), ("a", f"EXECUTE {'x' * 63}"),
        ("a", 'PREPARE "" AS SELECT 1'), ("a", 'EXECUTE ""'),
        ("a", "PREPARE prepare AS SELECT 5"), ("a", "EXECUTE prepare"),
        ("a", "DEALLOCATE prepare"), ("a", "DEALLOCATE prepare prepare"),
        ("a", "EXECUTE prepare"), ("a", 'PREPARE "\u00e4\u00f6" AS SELECT 6'),
        ("a", 'EXECUTE "\u00e4\u00f6"'), ("a", "/* why */ EXECUTE -- not\n one")],
    "names of ours": [
        ("a", ONE), ("a", "EXECUTE one(1)"), ("b", "EXECUTE hf_0(1)"), ("b", "EXECUTE hf__0"),
        ("b", "DEALLOCATE hf_0"), ("b", "EXECUTE hf_(1)"), ("a", "EXECUTE one(1)"),
        ("b", "PREPARE hf_0 AS SELECT 'mine'"), ("b", "EXECUTE hf_0"), ("a", "EXECUTE one(1)")],
    "errors have the client's names and places": [
        ("a", "PREPARE one AS SELEC 1"), ("a", "PREPARE one AS SELECT nothing"),
        ("a", "   PREPARE a_rather_long_name_for_it AS SELECT nothing, $1"), ("a", ONE),
        ("a", "PREPARE one AS SELECT 2"), ("a", "PREPARE one AS SELECT nothing"),
        ("a", "EXECUTE one(1, 2)"), ("a", "EXECUTE one('x')"), ("a", "EXECUTE one(nothing)"),
        ("a", "EXPLAIN (COSTS off) EXECUTE one(nothing)"), ("a", "EXECUTE other(1)"),
        ("a", "SELECT '\u00e4\u00e4'; EXECUTE one(nothing)"), ("a", "EXECUTE one(1) 2"),
        ("a", "DEALLOCATE one one"), ("a", "PREPARE bad AS VACUUM"), ("a", "EXECUTE one(1/0)")],
    "inside of other statements": [
        ("a", ONE), ("a", "EXPLAIN (COSTS off) EXECUTE one(1)"),
        ("a", "EXPLAIN EXECUTE other"), ("a", "CREATE TEMP TABLE ct AS EXECUTE one(4)"),
        ("a", "BEGIN; CREATE TABLE ct2 AS EXECUTE one(4)"), ("a", "SELECT * FROM ct2"),
        ("a", "ROLLBACK")],
    "transactions do not undo it": [
        ("a", "BEGIN"), ("a", ONE), ("a", "EXECUTE one(1)"), ("a", "ROLLBACK"),
        ("a", "EXECUTE one(2)"), ("a", "BEGIN"), ("a", "DEALLOCATE one"), ("a", "ROLLBACK"),
        ("a", "EXECUTE one(2)"), ("a", "BEGIN"), ("a", "SELECT 1/0"), ("a", ONE),
        ("a", "EXECUTE one(1)"), ("a", "DEALLOCATE one"), ("a", "ROLLBACK"),
        ("a", "EXECUTE one(1)"), ("a", ONE), ("a", "BEGIN"), ("a", "SELECT 1/0"),
        ("a", "EXECUTE one(1)"), ("a", "ROLLBACK; EXECUTE one(7)"), ("a", "EXECUTE one(8)")],
    "strings of statements": [
        ("a", ONE + "; EXECUTE one(1)"), ("a", "EXECUTE one(2); EXECUTE one(3)"),
        ("a", "DEALLOCATE one; EXECUTE one(1)"), ("a", "EXECUTE one(1)"),
        ("a", "PREPARE p AS SELECT 1; PREPARE p AS SELECT 2"), ("a", "EXECUTE p"),
        ("a", "DEALLOCATE p; PREPARE p AS SELECT 3; EXECUTE p"), ("a", "EXECUTE p"),
        ("a", "SELECT 1; DEALLOCATE p; SELECT 1/0"), ("a", "EXECUTE p"),
        ("a", "PREPARE q(int) AS SELECT $1; PREPARE r(text) AS SELECT $1; SELECT 1/0"),
        ("a", "EXECUTE q(1)"), ("a", "EXECUTE r('x')"), ("a", "DEALLOCATE ALL; EXECUTE q(1)"),
        ("a", "EXECUTE q(1)"), ("a", "PREPARE s(int) AS SELECT $1; DEALLOCATE s"),
        ("a", "EXECUTE s(1)"), ("a", "BEGIN; PREPARE s(int) AS SELECT $1; COMMIT"),
        ("a", "EXECUTE s(1)"), ("a", "PREPARE s(int) AS SELECT $1; SELECT 2"),
        ("a", "PREPARE t(int) AS SELECT $1; DEALLOCATE ALL"), ("a", "EXECUTE t(1)"),
        ("b", "EXECUTE s(1)")],
    "the protocol's names are the same": [
        ("a", parse("s1", "SELECT $1::int * 2") + sync()), ("a", "EXECUTE s1(4)"),
        ("b", "EXECUTE s1(4)"), ("a", use("s1", "5")), ("a", "PREPARE s1 AS SELECT 1"),
        ("a", "DEALLOCATE s1"), ("a", use("s1", "6")), ("a", "EXECUTE s1(4)"),
        ("a", TYPED), ("a", use("typed", "7", "x")), ("a", parse("typed", "SELECT 1") + sync()),
        ("a", close("S", "typed") + sync()), ("a", "EXECUTE typed(1, 'x')"),
        ("a", parse("s2", "SELECT 2") + bind("", "s2") + execute() + sync(), "DEALLOCATE s2"),
        ("a", use("s2")), ("a", parse("s2", "SELECT 3") + sync(), "EXECUTE s2"),
        ("a", "BEGIN"), ("a", parse("s3", "SELECT 4") + sync()), ("a", "DEALLOCATE s3"),
        ("a", use("s3")), ("a", "ROLLBACK")],
    "by the extended protocol": [
        ("a", run(ONE)), ("a", run("EXECUTE one(1)")), ("a", run("EXECUTE one(1, 2)")),
        ("a", run("EXECUTE one(nothing)")), ("a", run(TYPED)), ("a", run("EXECUTE typed(1, 'a')")),
        ("a", run("EXPLAIN (COSTS off) EXECUTE one(1)")), ("b", run("EXECUTE one(1)")),
        ("a", run("PREPARE one AS SELECT 2")), ("a", run("DEALLOCATE one")),
        ("a", run("EXECUTE one(1)")), ("a", run("DEALLOCATE one")), ("a", use("typed", "1", "b")),
        ("a", run("DEALLOCATE ALL")), ("a", run("EXECUTE typed(1, 'a')")),
        ("a", run("PREPARE bad AS SELECT nothing")), ("a", run("PREPARE bad AS SELEC")),
        ("a", run(ONE)), ("a", "BEGIN"), ("a", run("SELECT 1/0")), ("a", run("EXECUTE one(1)")),
        ("a", run("DEALLOCATE one")), ("a", "ROLLBACK"), ("a", run("EXECUTE one(1)"))],
    "in pipelines": [
        ("a", run(ONE) + run("EXECUTE one(1)") + run("DEALLOCATE one") + run("EXECUTE one(1)")),
        ("a", parse("", ONE) + bind("", "") + execute() + parse("", "EXECUTE one(3)")
         + bind("", "") + execute() + parse("", "DEALLOCATE one") + bind("", "") + execute()
         + parse("", "EXECUTE one(3)") + bind("", "") + execute() + sync()),
        ("a", parse("", TYPED) + bind("", "") + execute() + flush()
         + bind("", "typed", ("1", "x")) + execute() + sync()),
        ("a", query(ONE) + query("EXECUTE one(1)") + query("DEALLOCATE one") + query("SELECT 1")),
        ("a", parse("", "SELECT 1/0") + bind("", "") + execute() + parse("", ONE) + bind("", "")
         + execute() + sync() + run("EXECUTE one(1)")),
        ("a", parse("", "SELECT 1/0") + bind("", "") + execute() + sync()
         + query("EXECUTE one(1)") + query("EXECUTE one(4)"))],
    "prepared by name, to execute": [
        ("a", ONE), ("a", parse("x", "EXECUTE one(1)") + sync()), ("a", use("x")), ("a", use("x")),
        ("b", "SELECT 1"), ("a", use("x")), ("a", describe("S", "x") + sync()),
        ("a", parse("y", "DEALLOCATE one") + sync()), ("a", use("y")), ("a", "EXECUTE one(1)"),
        ("a", parse("z", "PREPARE q AS SELECT 4") + sync()), ("a", use("z")), ("a", "EXECUTE q")],
    "long texts": [
        ("a", f"PREPARE long AS SELECT '{'x' * 100_000}', $1::text"),
        ("a", f"EXECUTE long('{'y' * 50_000}')"), ("a", run(f"EXECUTE long('{'z' * 50_000}')")),
        ("a", f"EXECUTE long('{'y' * 50_000}', nothing)"), ("a", "DEALLOCATE long"),
        ("a", f"EXECUTE long('{'y' * 50_000}')")],
    "copies": [
        ("a", ONE), ("a", "COPY (SELECT 1) TO STDOUT; EXECUTE one(1)"),
        ("a", "PREPARE two(int) AS SELECT $1; COPY (SELECT 1) TO STDOUT"), ("a", "EXECUTE two(2)")],
    "an unnamed statement ends": [
        ("a", ONE), ("a", "BEGIN"), ("a", parse("", "SELECT 1") + sync()), ("a", "EXECUTE one(1)"),
        ("a", use("")), ("a", "ROLLBACK")],
}


@pytest.mark.parametrize("mode", MODES)
def test_what_clients_are_told_is_what_postgresql_says(start_proxy, direct, mode):
    target = start_proxy(mode, pool_size=1)
    failures = []
    for name, script in SCRIPTS.items():
        if mode == "statement" and any("BEGIN" in str(step) for step in script):
            continue
        try:
            check(direct, target, script)
        except (AssertionError, pgwire.TimedOut, pgwire.Closed) as error:
            failures.append(f"{name}: {error}")
    assert not failures, "\n".join(failures)


# ------------------------------------------------------------- connections that lack what it takes

@contextlib.contextmanager
def clients(target, count):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(target.connect()) for _ in range(count)]


@pytest.fixture
def table(postgres):
    postgres.sql("DROP TABLE IF EXISTS changing", "CREATE TABLE changing AS SELECT 1 AS a",
                 "ALTER TABLE changing OWNER TO app", database="app")
    yield
    postgres.sql("DROP TABLE IF EXISTS changing", database="app")


@pytest.fixture
def narrow(start_proxy):
    return start_proxy("transaction", pool_size=1)


def lose_connections(postgres, target):
    """Those of the proxy end while nobody uses them."""
    postgres.sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                 "WHERE datname = 'app' AND usename = 'app'")
    with target.connect() as other:
        other.rows("SELECT 1")


def test_on_another_connection_the_statement_is_there(postgres, narrow):
    with clients(narrow, 1) as (a,):
        a.rows(ONE)
        a.rows(TYPED)
        a.ask(parse("s1", "SELECT $1::int * 2") + sync())
        for text, wanted in [("EXECUTE one(1)", [("2",)]), ("EXECUTE typed(1, 'x')", [("1", "x")]),
                             ("EXECUTE s1(2)", [("4",)])]:
            lose_connections(postgres, narrow)
            assert a.rows(text) == wanted
        lose_connections(postgres, narrow)
        assert pgwire.rows(a.ask(use("typed", "3", "y"))) == [("3", "y")]
        lose_connections(postgres, narrow)
        assert a.rows("SELECT 1; EXECUTE one(2); EXECUTE s1(3)") == [("1",), ("3",), ("6",)]
        a.ask(parse("x", "EXECUTE one(8)") + sync())
        lose_connections(postgres, narrow)
        assert pgwire.rows(a.ask(use("x"))) == [("9",)]
        lose_connections(postgres, narrow)
        assert a.ask(query("DEALLOCATE one"))[0].tag == "DEALLOCATE"
        assert a.ask(query("EXECUTE one(1)"))[0].sqlstate == "26000"


@pytest.mark.usefixtures("table")
def test_a_statement_that_cannot_be_prepared_any_more_fails_and_no_more_than_that(postgres, narrow):
    with clients(narrow, 1) as (a,):
        a.rows("PREPARE p (int) AS SELECT a FROM changing WHERE a = $1")
        a.rows("PREPARE one AS SELECT 'one'")
        postgres.sql("ALTER TABLE changing RENAME TO changed", database="app")
        for text in ["EXECUTE p(1)", "EXECUTE one; EXECUTE p(1)", "EXPLAIN EXECUTE p(1)",
                     "PREPARE q AS SELECT 1; EXECUTE p(1)"]:
            lose_connections(postgres, narrow)
            error, ready = a.ask(query(text))
            assert (error.kind, error.sqlstate, ready.status) == ("E", "42P01", "I"), text
            assert a.rows("EXECUTE one") == [("one",)]
        lose_connections(postgres, narrow)
        assert a.ask(query("BEGIN"))[-1].status == "T"
        error, ready = a.ask(query("EXECUTE p(1)"))
        assert (error.sqlstate, ready.status) == ("42P01", "E")
        assert a.ask(query("EXECUTE one"))[0].sqlstate == "25P02"
        a.rows("ROLLBACK")
        found = a.ask(run("EXECUTE p(1)"))
        assert (pgwire.kinds(found), found[0].sqlstate) == ("EZ", "42P01")
        postgres.sql("ALTER TABLE changed RENAME TO changing", database="app")
        assert a.rows("EXECUTE p(1)") == [("1",)]


@pytest.mark.usefixtures("table")
def test_a_changed_table_is_an_error_once(postgres, narrow):
    with clients(narrow, 1) as (a,):
        a.rows("PREPARE p AS SELECT * FROM changing")
        assert a.rows("EXECUTE p") == [("1",)]
        postgres.sql("ALTER TABLE changing ADD b int DEFAULT 2", database="app")
        assert a.ask(query("EXECUTE p"))[0].sqlstate == "0A000"
        assert a.rows("EXECUTE p") == [("1", "2")]


def test_a_connection_has_room_for_fewer_than_there_are(start_proxy):
    target = start_proxy("transaction", pool_size=1, max_prepared_statements=2)
    with clients(target, 2) as (a, b):
        for i in range(6):
            a.rows(f"PREPARE p{i} (int) AS SELECT $1 + {i}")
            b.rows(f"PREPARE p{i} AS SELECT 'b{i}'")
        for i in random.sample(range(6), 6):
            assert a.rows(f"EXECUTE p{i}(10)") == [(str(10 + i),)]
            assert b.rows(f"EXECUTE p{i}") == [(f"b{i}",)]
        assert a.rows("EXECUTE p1(1); EXECUTE p2(1)") == [("2",), ("3",)]
        assert a.ask(query("EXECUTE p1(1); EXECUTE p2(1); EXECUTE p3(1)"))[0].sqlstate == "53400"
        assert a.rows("EXECUTE p3(1)") == [("4",)]


def test_what_is_not_done_is_refused(narrow):
    with clients(narrow, 1) as (a,):
        many = "; ".join(f"PREPARE p{i} AS SELECT {i}" for i in range(9))
        for each in (query(many), query('PREPARE U&"p" AS SELECT 1'), run('EXECUTE U&"p"')):
            error, = [m for m in a.ask(each) if m.kind == "E"]
            assert error.sqlstate in ("54000", "0A000") and error.fields["H"]
        assert a.ask(query("EXECUTE p0"))[0].sqlstate == "26000"
        assert a.rows("SELECT 1") == [("1",)]


def test_a_client_that_leaves_in_the_middle_leaves_nothing(narrow):
    with clients(narrow, 1) as (b,):
        for text in (ONE, TYPED, "SELECT pg_sleep(0.05); PREPARE x (int) AS SELECT $1"):
            gone = narrow.connect()
            gone.send(query(text))
            gone.reset()
            assert b.ask(query("EXECUTE one(1)"))[0].sqlstate == "26000"
            assert b.ask(query("EXECUTE x(1)"))[0].sqlstate == "26000"
        assert b.rows("SELECT 1") == [("1",)]


# -------------------------------------------------------------------------------- many, and drivers

def work(target, number):
    """A client that gives the names that all give, and finds what it has given."""
    rng = random.Random(number)
    has = {}
    with target.connect() as c:
        for turn in range(60):
            name = rng.choice("abc")
            in_block = rng.random() < 0.3
            if in_block:
                c.rows("BEGIN")
            if name not in has:
                has[name] = f"{number} {turn}"
                c.rows(f"PREPARE {name} (int) AS SELECT '{has[name]}', $1")
            found = (c.rows(f"EXECUTE {name}({turn})") if rng.random() < 0.5 else
                     pgwire.rows(c.ask(use(name, str(turn)))))
            assert found == [(has[name], str(turn))]
            if rng.random() < 0.4:
                by_sql = rng.random() < 0.6
                c.ask(query(f"DEALLOCATE {name}") if by_sql else close("S", name) + sync())
                del has[name]
            if in_block:
                c.rows("ROLLBACK")


def test_many_clients_with_the_same_names_get_their_own(start_proxy):
    target = start_proxy("transaction", pool_size=3, max_prepared_statements=5)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        for done in [pool.submit(work, target, number) for number in range(12)]:
            done.result()


def test_drivers_may_mix_both_levels(narrow):
    host, port = narrow.address
    where = {"host": host, "port": port, "user": "app", "dbname": "app", "password": PASSWORD,
             "sslmode": "disable"}
    with psycopg.connect(**where, autocommit=True, prepare_threshold=0) as one, \
            contextlib.closing(psycopg2.connect(**where)) as two:
        two.autocommit = True
        other = two.cursor()
        one.execute("PREPARE p AS SELECT $1::int + 1")
        other.execute("PREPARE p AS SELECT 'other', $1::text")
        for i in range(12):  # prepared by name: EXECUTE by the protocol, too
            assert one.execute("EXECUTE p(1)").fetchone() == (2,)
            assert one.execute("SELECT %s::int", (i,)).fetchone() == (i,)
            other.execute("EXECUTE p(%s)", (str(i),))
            assert other.fetchone() == ("other", str(i))
        one.execute("DEALLOCATE p")
        one.execute("PREPARE p AS SELECT 'new'")
        assert one.execute("SELECT 1", prepare=False).fetchone() == (1,)
        other.execute("DEALLOCATE ALL")
        with pytest.raises(psycopg2.errors.InvalidSqlStatementName):
            other.execute("EXECUTE p(1)")
