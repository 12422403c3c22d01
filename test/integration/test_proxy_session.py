"""Session state by SQL in transaction and statement mode: who sets something finds it again, nobody
else does; and what cannot move to another server connection keeps its client on the one it has.

What is right is not written here: the same statements run on two connections of PostgreSQL's own,
and on two clients that share one server connection, and both must see the same after each step.
"""

import psycopg
import pytest
from demo_process import wait_until
from pgwire import bind, close, execute, kinds, parse, query, rows, sync

LOOK = """SELECT current_setting('search_path'), current_setting('work_mem'),
 current_setting('statement_timeout'), coalesce(current_setting('app.tenant', true), ''),
 coalesce(current_setting('app.other', true), ''), current_user, session_user,
 current_setting('TimeZone'), current_setting('default_transaction_isolation'),
 current_setting('DateStyle'), current_setting('application_name')"""

# Each is a list of what one client says; behind each the other one looks.
ALONE = {
    "set": ["SET search_path TO a, \"B c\"", "SET work_mem = '8MB'", "SET work_mem TO DEFAULT"],
    "set_config": ["SELECT set_config('search_path', 'x', false)", "SELECT 1",
                   "SELECT set_config('work_mem', '9MB', true)", "RESET search_path"],
    "custom": ["SET app.tenant = 'a''b\\c'", "SELECT set_config('app.other', 'x', false)",
               "RESET app.tenant"],
    "reported": ["SET TIME ZONE 'Europe/Prague'", "SET datestyle TO german", "RESET TIME ZONE"],
    "role": ["SET ROLE other", "RESET ROLE", "SET ROLE other", "SET ROLE NONE"],
    "mixed": ["SET work_mem = '7MB'; SET ROLE other; SET app.tenant = 'm'", "RESET ALL",
              "SET ROLE none"],
    "block": ["DO $$ BEGIN PERFORM set_config('app.tenant', 'do', false); SET work_mem = '3MB'; "
              "EXECUTE 'SET search_path TO d'; END $$", "SELECT 1"],
    "characteristics": ["SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
                        "SELECT 1"],
    "discard": ["SET work_mem = '7MB'", "SET ROLE other", "DISCARD ALL", "SET work_mem = '6MB'"],
    "errors": ["SET work_mem = 'much'", "SET nonsense = 1", "SET work_mem = '5MB'; SELECT 1/0",
               "SET ROLE nobody_at_all"],
    "string": ["BEGIN; SET work_mem = '5MB'; COMMIT; SET search_path TO s",
               "BEGIN; SET work_mem = '4MB'; ROLLBACK",
               "BEGIN; SET LOCAL work_mem = '3MB'; COMMIT"],
}
BLOCKS = {
    "commit": ["BEGIN", "SET work_mem = '5MB'", "SET LOCAL search_path TO l", "COMMIT"],
    "rollback": ["SET app.tenant = 'one'", "BEGIN", "SET work_mem = '5MB'", "SET ROLE other",
                 "SET app.tenant = 'two'", "ROLLBACK"],
    "failed": ["BEGIN", "SET work_mem = '5MB'", "SELECT 1/0", "COMMIT"],
    "savepoint": ["BEGIN", "SET work_mem = '5MB'", "SAVEPOINT s", "SET work_mem = '6MB'",
                  "SET app.tenant = 'gone'", "ROLLBACK TO s", "COMMIT"],
    "local": ["SET search_path TO kept", "BEGIN", "SET LOCAL search_path TO l",
              "SET LOCAL ROLE other",
              "SELECT set_config('app.tenant', 'l', true)", "COMMIT"],
    "reset": ["SET work_mem = '5MB'", "BEGIN; RESET work_mem; ROLLBACK",
              "BEGIN; RESET work_mem; COMMIT"],
}


def extended(text):
    """As one message of the extended protocol where it can be: a string of several cannot."""
    if ";" in text.replace("$$", "").rstrip("; ") and "DO" not in text:
        return query(text)
    return parse("", text) + bind("", "") + execute() + sync()


class Named:
    """Each text is prepared once under a name of its own, and only bound from then on."""

    def __init__(self):
        self.names = {}

    def __call__(self, text):
        if ";" in text and "DO" not in text:
            return query(text)
        known = text in self.names
        name = self.names.setdefault(text, f"n{len(self.names)}")
        start = b"" if known else parse(name, text)
        return start + bind("", name) + execute() + sync()


def outcome(found):
    return [(m.kind, m.sqlstate if m.kind == "E" else m.body if m.kind in "DCZ" else b"")
            for m in found if m.kind not in "NS"]


@pytest.fixture(scope="module", autouse=True)
def member(postgres):
    postgres.sql("GRANT other TO app", database="app")
    yield
    postgres.sql("REVOKE other FROM app", database="app")


def play(target, direct, cases, manner):
    """Both clients of the proxy see after each step what two connections of their own would see."""
    options = {"options": "-c work_mem=2MB -c search_path=begun", "TimeZone": "Asia/Tokyo"}
    for name, steps in cases.items():
        with target.connect(parameters=options) as a, target.connect() as b, \
                direct.connect(parameters=options) as c, direct.connect() as d:
            say, say_too = manner(), manner()
            for step in steps:
                got, expected = a.ask(say(step)), c.ask(say_too(step))
                assert outcome(got) == outcome(expected), (name, step)
                if expected[-1].status == "I":
                    assert b.rows(LOOK) == d.rows(LOOK), (name, step)
                if expected[-1].status != "E":
                    assert a.rows(LOOK) == c.rows(LOOK), (name, step)


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_what_a_client_sets_it_finds_again_and_nobody_else_does(start_proxy, direct, mode):
    target = start_proxy(mode, pool_size=1)
    for manner in (lambda: query), (lambda: extended), Named:
        play(target, direct, ALONE, manner)
        if mode == "transaction":
            play(target, direct, BLOCKS, manner)


def test_a_superusers_authorization_follows_and_is_taken_back(start_proxy, postgres, direct):
    postgres.sql("ALTER ROLE walker SUPERUSER")
    cases = {"authorization": [
        "SET log_min_duration_statement = 5000", "SET SESSION AUTHORIZATION other",
        "SET work_mem = '8MB'", "RESET SESSION AUTHORIZATION", "SET SESSION AUTHORIZATION app",
        "SET ROLE other", "DISCARD ALL"]}
    target = start_proxy("transaction", pool_size=1)
    try:
        for say in query, extended:
            for name, steps in cases.items():
                with target.connect("walker", "app") as a, target.connect("walker", "app") as b, \
                        direct.connect("walker", "app") as c, direct.connect("walker", "app") as d:
                    for step in steps:
                        assert outcome(a.ask(say(step))) == outcome(c.ask(say(step))), (name, step)
                        assert b.rows(LOOK) == d.rows(LOOK), (name, step)
                        assert a.rows(LOOK) == c.rows(LOOK), (name, step)
    finally:
        postgres.sql("ALTER ROLE walker NOSUPERUSER")


def test_parameters_may_name_what_is_set(start_proxy):
    target = start_proxy("transaction", pool_size=1)
    text = "SELECT set_config($1, $2, false)"
    with target.connect() as a, target.connect() as b:
        for name in "", "s":
            for number, setting in enumerate(["app.one", "app.two", "work_mem"]):
                value = f"{number + 1}MB"
                start = parse(name, text) if name == "" or number == 0 else b""
                a.ask(start, bind("", name, (setting, value)), execute(), sync())
                look = f"SELECT coalesce(current_setting('{setting}', true), '')"
                assert b.value(look) in ("", "4MB")
                assert a.value(look) == value


def test_what_a_prepared_statement_sets_when_it_is_executed_is_followed(start_proxy):
    target = start_proxy("transaction", pool_size=1)
    look = "SELECT coalesce(current_setting('app.one', true), ''), current_setting('work_mem')"
    with target.connect() as a, target.connect() as b:
        a.ask(query("PREPARE p AS SELECT set_config($1, $2, false)"))
        assert b.rows(look) == [("", "4MB")]
        a.ask(query("EXECUTE p('app.one', 'x')"))
        assert b.rows(look) == [("", "4MB")]
        a.ask(query("EXECUTE p('work_mem', '3MB')"))
        assert b.rows(look) == [("", "4MB")] and a.rows(look) == [("x", "3MB")]
        a.ask(query("PREPARE l AS SELECT pg_advisory_lock(8)"))
        a.ask(query("EXECUTE l"))
        b.send(query("SELECT 2"))
        assert b.is_quiet(0.05)
        a.ask(query("SELECT pg_advisory_unlock(8)"))
        assert rows(b.read_until_ready()) == [("2",)]


def test_a_pipeline_sees_what_stands_before_in_it(start_proxy):
    target = start_proxy("transaction", pool_size=1)
    with target.connect(parameters={"options": "-c work_mem=2MB"}) as a, target.connect() as b:
        a.send(query("SET work_mem = '3MB'"), query("SHOW work_mem"), query("RESET work_mem"),
               query("SHOW work_mem"), query("BEGIN"), query("SET work_mem = '5MB'"),
               query("ROLLBACK"), query("SHOW work_mem"))
        assert rows(a.read_until_ready(8)) == [("3MB",), ("2MB",), ("2MB",)]
        assert b.value("SHOW work_mem") == "4MB"
        a.send(*(parse("", text) + bind("", "") + execute() for text in
                 ["SET work_mem = '6MB'", "SHOW work_mem", "SELECT 1/0"]), sync(),
               query("SHOW work_mem"))
        assert rows(a.read_until_ready(2)) == [("6MB",), ("2MB",)]


def test_who_leaves_in_the_middle_leaves_nothing_behind(start_proxy):
    target = start_proxy("transaction", pool_size=1)
    for text in ["SET work_mem = '9MB'; SET ROLE other", "CREATE TEMP TABLE left_behind (a int)",
                 "SELECT pg_advisory_lock(77)", "DECLARE c CURSOR WITH HOLD FOR SELECT 1"]:
        for is_open in True, False:
            with target.connect() as a:
                a.ask(query("BEGIN" if is_open else "SELECT 1"))
                a.ask(query(text))
            with target.connect() as b:
                assert b.rows(LOOK)[0][1] == "4MB"
                assert b.value("SELECT current_user") == "app"
                assert b.value("SELECT to_regclass('pg_temp.left_behind')") is None
                assert b.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0"
                assert b.value("SELECT count(*) FROM pg_cursors") == "0"


BOTH = ("DO $$ BEGIN CREATE TEMP TABLE pinned (a int); PERFORM pg_advisory_lock(6); END $$",
        "DROP TABLE pinned; SELECT pg_advisory_unlock(6)")
PINS = [
    # what pins, and what frees it
    ("CREATE TEMP TABLE pinned (a int)", "DROP TABLE pinned"),
    ("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DISCARD TEMP"),
    ("SELECT 1 AS a INTO TEMP pinned", "DISCARD ALL"),
    ("SELECT pg_advisory_lock(5)", "SELECT pg_advisory_unlock(5)"),
    ("SELECT pg_try_advisory_lock_shared(5)", "SELECT pg_advisory_unlock_all()"),
    ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "CLOSE c"),
]
FREE = [
    "BEGIN; CREATE TEMP TABLE t (a int) ON COMMIT DROP; COMMIT",
    "BEGIN; CREATE TEMP TABLE t (a int); ROLLBACK",
    "BEGIN; SELECT pg_advisory_xact_lock(5); COMMIT",
    "SELECT pg_advisory_lock(5); SELECT pg_advisory_unlock(5)",
    "BEGIN; DECLARE c CURSOR FOR SELECT 1; COMMIT",
    "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; ROLLBACK",
    "SELECT 'CREATE TEMP TABLE'",
]


def test_what_was_set_in_a_block_that_its_client_left_is_not_taken_for_set(start_proxy):
    target = start_proxy("transaction", pool_size=1)
    with target.connect() as leaver:
        leaver.value("BEGIN; SET LOCAL TimeZone = 'Asia/Tokyo'; SELECT 1")
    with target.connect(parameters={"TimeZone": "Asia/Tokyo"}) as next_one:
        assert next_one.value("SHOW TimeZone") == "Asia/Tokyo"


def test_a_pin_lasts_as_long_as_its_cause(start_proxy):
    target = start_proxy("transaction", pool_size=1)
    with target.connect() as a, target.connect() as b:
        for say in query, extended:
            for begin, end in [BOTH, *PINS]:
                a.ask(say(begin))
                a.value("SELECT 1")
                b.send(query("SELECT 2"))
                assert b.is_quiet(0.05), begin
                a.ask(query(end))
                assert rows(b.read_until_ready()) == [("2",)], end
        for text in FREE:
            a.ask(query(text))
            assert b.value("SELECT 1") == "1", text
    wait_until(lambda: any('keeps its server connection" reason="temporary objects, advisory locks"'
                           in line for line in target.lines), 10, "the log says why")


def test_the_unnamed_statement_outlives_what_is_asked_about_the_session(start_proxy):
    """A Query would end it, and so what the proxy asks in its own name is none."""
    target = start_proxy("transaction", pool_size=1)
    texts = ["SET work_mem = '5MB'", "SELECT set_config('app.tenant', 'x', false)",
             "RESET work_mem", "LISTEN here", "SELECT 1", "CREATE TEMP TABLE t (a int)",
             "DROP TABLE t", "SELECT pg_advisory_lock(5)", "SELECT pg_advisory_unlock_all()"]
    with target.connect() as a:
        a.ask(parse("", "SELECT 42"), sync())
        for text in texts:
            found = a.ask(parse("n", text), bind("", "n"), execute(), close("S", "n"), sync())
            assert "E" not in kinds(found), text
            assert rows(a.ask(bind("", ""), execute(), sync())) == [("42",)], text
        assert a.rows("SELECT 1 FROM pg_prepared_statements WHERE name ~ '^hf__'") == []


def test_settings_follow_while_pinned(start_proxy):
    target = start_proxy("transaction", pool_size=1)
    with target.connect(parameters={"options": "-c work_mem=2MB"}) as a, \
            target.connect(database="holdfast") as console:
        a.ask(query("CREATE TEMP TABLE t (a int); SET work_mem = '5MB'"))
        wait_until(lambda: any("temporary objects" in row for row in console.rows("SHOW CLIENTS")),
                   10, "the console tells of the pin")
        a.ask(query("RESET work_mem"))
        assert a.value("SHOW work_mem") == "2MB"
        a.ask(query("SET app.tenant = 'x'; DROP TABLE t"))
        with target.connect() as b:
            assert b.value("SELECT coalesce(current_setting('app.tenant', true), '')") == ""
        assert a.value("SELECT current_setting('app.tenant')") == "x"


def test_what_cannot_move_is_refused_where_the_file_says_so(start_proxy):
    target = start_proxy("transaction", pool_size=1, session_features="refuse")
    with target.connect() as a, target.connect() as b:
        for say in query, extended:
            for text in [begin for begin, _ in PINS]:
                found = a.ask(say(text))
                assert kinds(found) == "EZ" and found[0].sqlstate == "0A000", text
                assert "session_features" in found[0].fields["D"]
                assert b.value("SELECT 1") == "1"
            assert a.ask(query("BEGIN"))[-1].status == "T"
            assert a.ask(say("SELECT pg_advisory_lock(5)"))[-1].status == "E"
            assert a.ask(say("SELECT pg_advisory_lock(5)"))[0].sqlstate == "25P02"
            assert a.ask(query("ROLLBACK"))[-1].status == "I"
            found = a.ask(parse("", "SELECT 7") + bind("", "") + execute() +
                          parse("", "SELECT pg_advisory_lock(5)") + bind("", "") + execute() +
                          sync())
            assert kinds(found) == "12DCEZ" and found[4].sqlstate == "0A000"
        a.ask(query("SET work_mem = '5MB'"))
        assert b.value("SHOW work_mem") == "4MB" and a.value("SHOW work_mem") == "5MB"


def test_a_pinned_client_that_is_idle_too_long_is_disconnected(start_proxy):
    target = start_proxy("transaction", pool_size=1, pinned_idle_timeout="150ms")
    with target.connect() as a, target.connect() as b:
        a.ask(query("SELECT pg_advisory_lock(5)"))
        found = a.read_to_end()
        assert found[-1].sqlstate == "57P05"
        assert "pinned_idle_timeout" in found[-1].fields["M"]
        assert b.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0"


def test_a_driver_sees_a_session_of_its_own(start_proxy):
    target = start_proxy("transaction", pool_size=1)
    host, port = target.address
    place = f"host={host} port={port} user=app dbname=app password='correct horse: battery'"
    with psycopg.connect(place, autocommit=True) as a, psycopg.connect(place, autocommit=True) as b:
        a.prepare_threshold = 0
        for i in range(4):
            a.execute("SELECT set_config('app.tenant', %s, false)", (f"t{i}",))
            b.execute("SELECT set_config('app.tenant', %s, false)", (f"u{i}",))
            with a.transaction():
                assert a.execute("SELECT current_setting('app.tenant')").fetchone() == (f"t{i}",)
            assert b.execute("SELECT current_setting('app.tenant')").fetchone() == (f"u{i}",)
