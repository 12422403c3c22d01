"""What we call a read is one: judged by src/sql with the server's catalogue, run on a hot standby.

The property, for thousands of statements (data/statements.txt, every built-in function, generated
ones): a statement of the class read, utility or nothing does on a standby, inside BEGIN READ ONLY,
what it does on the primary: the same success, or the same mistake of its own. So none of them ends
with 25006. And what the catalogue's queries say is tried out: a view that calls nextval() is no
read, through another view, an operator, a domain, a row policy, an aggregate.

SQL_CLASS_ROUNDS=n generates n times as many statements.
"""

import os
import random
import subprocess
from pathlib import Path

import psycopg
import pytest
from commit_rig import Pair
from demo_process import find_binary, wait_until

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = int(os.environ.get("SQL_CLASS_ROUNDS", "1"))
HARMLESS = ("nothing", "utility", "read")

SCHEMA = """
DROP TABLE t;
CREATE TABLE t (a int, b text, j jsonb);
INSERT INTO t SELECT i, 'b' || i, '{"k": 1}' FROM generate_series(1, 20) i;
CREATE TABLE u (a int, b text);
CREATE SEQUENCE s;
CREATE MATERIALIZED VIEW m AS SELECT a FROM t;
CREATE SCHEMA app;
CREATE FUNCTION f_stable(int) RETURNS int STABLE LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION f_write(int) RETURNS int LANGUAGE plpgsql
    AS 'BEGIN INSERT INTO u VALUES ($1, NULL); RETURN $1; END';
CREATE FUNCTION f_unsaid(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION app.f_stable(text) RETURNS int LANGUAGE plpgsql
    AS 'BEGIN INSERT INTO u VALUES (1, NULL); RETURN 1; END';
CREATE FUNCTION f_sum(int, int) RETURNS int LANGUAGE plpgsql
    AS 'BEGIN INSERT INTO u VALUES (1, NULL); RETURN $1 + $2; END';
CREATE AGGREGATE sum_write(int) (SFUNC = f_sum, STYPE = int, INITCOND = '0');
CREATE AGGREGATE sum_plain(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE OPERATOR ### (LEFTARG = int, RIGHTARG = int, FUNCTION = f_sum);
CREATE OPERATOR #+# (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl);
CREATE FUNCTION f_check(int) RETURNS bool LANGUAGE sql AS 'SELECT f_write($1) > 0';
CREATE DOMAIN d_write AS int CHECK (f_check(VALUE));
CREATE DOMAIN d_plain AS int CHECK (VALUE > 0);
CREATE VIEW v AS SELECT a, lower(b) AS b, random() AS r FROM t;
CREATE VIEW w AS SELECT nextval('s') AS n;
CREATE VIEW w_over AS SELECT * FROM (SELECT n FROM w) x;
CREATE VIEW w_agg AS SELECT sum_write(a) FROM t;
CREATE VIEW w_operator AS SELECT a FROM t WHERE a ### 1 > 0;
CREATE TABLE p (a int);
INSERT INTO p VALUES (1);
ALTER TABLE p ENABLE ROW LEVEL SECURITY;
CREATE POLICY p_write ON p TO app USING (f_write(a) > 0);
GRANT ALL ON ALL TABLES IN SCHEMA public TO app;
CREATE FUNCTION f_body() RETURNS bigint STABLE LANGUAGE sql RETURN nextval('s');
CREATE FUNCTION f_body_over() RETURNS bigint STABLE LANGUAGE sql BEGIN ATOMIC SELECT f_body(); END;
CREATE FUNCTION f_body_plain() RETURNS int STABLE LANGUAGE sql RETURN (SELECT max(a) FROM t);
CREATE PROCEDURE proc(int) LANGUAGE sql AS 'SELECT 1';
"""


def find_tool():
    """Beside the binary under test."""
    return find_binary().parents[2] / "test/proof/sql_class"


@pytest.fixture(name="pair", scope="module")
def make_pair(new_place):
    place = new_place()
    pair = Pair(place.new_folder())
    with connect(pair.primary) as conn:
        for statement in SCHEMA.split(";\n"):
            conn.execute(statement)
    wait_until(lambda: caught_up(pair), 20, "the standby has replayed the schema")
    yield pair
    pair.close()
    place.close()


def caught_up(pair):
    return (pair.standby.value("SELECT pg_last_wal_replay_lsn()") >=
            pair.primary.value("SELECT pg_current_wal_lsn()"))


def connect(server, **options):
    return psycopg.connect(host="127.0.0.1", port=server.port, user="postgres", dbname="postgres",
                           autocommit=True, **options)


@pytest.fixture(name="judge", scope="module")
def make_judge(pair, new_place):
    """A function from statements to (class, reason, subject, traits)."""
    tool = find_tool()
    listed = subprocess.run([tool, "--queries"], capture_output=True, check=True, text=True).stdout
    place = new_place()
    path = place.folder / "catalogue"
    with connect(pair.primary, options="-c search_path=pg_catalog") as conn, \
            open(path, "w", encoding="utf-8") as file:
        for entry in listed.split("\0")[:-2]:
            kind, query = entry.split("\t")
            for row in conn.execute(query).fetchall():
                file.write("\t".join((kind, *row)) + "\n")

    def judge(statements):
        text = "".join(statement + "\0" for statement in statements)
        done = subprocess.run([tool, path], input=text, capture_output=True, check=True, text=True)
        return [tuple(line.split("\t")) for line in done.stdout.splitlines()]
    yield judge
    place.close()


class Runner:
    """Statements on one server, each in a transaction of its own that is rolled back."""

    def __init__(self, server):
        self.conn = connect(server, options="-c statement_timeout=5s -c lock_timeout=1s")
        self.wire = self.conn.pgconn

    def close(self):
        self.conn.close()

    def _one(self, sql):
        """The SQLSTATE of the first error in a string of statements, or None."""
        self.wire.send_query(sql.encode())
        state = None
        while (result := self.wire.get_result()) is not None:
            status = psycopg.pq.ExecStatus(result.status)
            if status == psycopg.pq.ExecStatus.COPY_OUT:
                while self.wire.get_copy_data(0)[0] > 0:
                    pass
            elif status == psycopg.pq.ExecStatus.COPY_IN:
                self.wire.put_copy_end(b"enough")
            elif status == psycopg.pq.ExecStatus.FATAL_ERROR and state is None:
                found = result.error_field(psycopg.pq.DiagnosticField.SQLSTATE)
                state = found.decode() if found else "lost"
        return state

    def run(self, sql, begin="BEGIN READ ONLY"):
        self._one(begin)
        state = self._one(sql)
        self._one("ROLLBACK")
        return state


@pytest.fixture(name="both", scope="module")
def make_both(pair):
    runners = Runner(pair.primary), Runner(pair.standby)
    yield runners
    for runner in runners:
        runner.close()


def check(judge, both, statements):
    """Returns how many were called harmless, and how many of these succeeded."""
    primary, standby = both
    count = fine = 0
    wrong = []
    for sql, verdict in zip(statements, judge(statements), strict=True):
        if verdict[0] not in HARMLESS:
            continue
        there, here = primary.run(sql), standby.run(sql)
        if here == "25006" or here != there:
            wrong.append(f"{sql}: {verdict[0]}; {there} on the primary, {here} on the standby")
        count += 1
        fine += here is None
    assert not wrong, "\n".join(wrong)
    return count, fine


def cases():
    for line in (ROOT / "test/unit/data/statements.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            yield tuple(line.split(" | ", 1))


def test_class__listed_statements_do_on_a_standby_what_they_are_called(judge, both):
    count, fine = check(judge, both, [sql for _, sql in cases()])
    assert count > 60 and fine > 50


def test_class__what_a_standby_refuses_is_never_called_a_read(judge, both):
    """The other way round: everything is run, whatever it is called."""
    outside = ("'/tmp", "PROGRAM", "CHECKPOINT")
    statements = [sql for _, sql in cases() if not any(word in sql for word in outside)]
    refused = 0
    for sql, verdict in zip(statements, judge(statements), strict=True):
        if both[1].run(sql) == "25006":
            refused += 1
            assert verdict[0] not in HARMLESS, sql
    assert refused > 40


BY_CATALOGUE = [
    ("read", "SELECT f_stable(1)"),  # see below: by the name alone it is a write
    ("write", "SELECT f_write(1)"),
    ("write", "SELECT f_unsaid(1)"),
    ("write", "SELECT app.f_stable('x')"),
    ("read", "SELECT public.f_stable(1)"),
    ("write", "SELECT f_body()"),
    ("write", "SELECT public.f_body_over()"),
    ("read", "SELECT f_body_plain()"),
    ("write", "SELECT sum_write(a) FROM t"),
    ("read", "SELECT sum_plain(a) FROM t"),
    ("write", "SELECT 1 ### 2"),
    ("read", "SELECT 1 #+# 2"),
    ("write", "SELECT 1::d_write"),
    ("read", "SELECT 1::d_plain"),
    ("read", "SELECT * FROM v"),
    ("write", "SELECT * FROM w"),
    ("write", "SELECT * FROM public.w_over"),
    ("write", "SELECT * FROM w_agg"),
    ("write", "SELECT * FROM w_operator"),
    ("write", "SELECT * FROM p"),
    ("read", "SELECT * FROM not_there"),
    ("read", "WITH w AS (SELECT 1 AS n) SELECT n FROM t, w"),
    ("write", "SELECT not_there()"),
]


def test_class__the_catalogue_tells_what_grammar_cannot(judge, both):
    expected = [("write", sql) if "SELECT f_stable" in sql or "WITH w" in sql else (name, sql)
                for name, sql in BY_CATALOGUE]  # app has another f_stable, and w is a view too
    found = judge([sql for _, sql in expected])
    called = [(verdict[0], sql) for verdict, (_, sql) in zip(found, expected, strict=True)]
    assert called == expected
    check(judge, both, [sql for _, sql in expected])


def test_class__what_is_called_a_write_here_is_refused_by_the_standby(judge, both):
    """So that the table above is about something."""
    for sql in ("SELECT f_write(1)", "SELECT f_body()", "SELECT f_body_over()",
                "SELECT sum_write(a) FROM t", "SELECT 1 ### 2", "SELECT 1::d_write",
                "SELECT * FROM w", "SELECT * FROM w_over", "SELECT * FROM w_agg",
                "SELECT * FROM w_operator", "SELECT app.f_stable('x')"):
        assert both[1].run(sql) == "25006", sql


# ---- every built-in function ----

LITERALS = {
    "int4": "1", "int8": "1", "int2": "1::int2", "float8": "1.5", "float4": "1.5::float4",
    "numeric": "2.5", "text": "'a'", "varchar": "'a'", "bpchar": "'a'", "name": "'t'",
    "bool": "true", "oid": "'t'::regclass::oid", "regclass": "'t'::regclass",
    "regproc": "'now'::regproc", "timestamptz": "now()", "timestamp": "now()::timestamp",
    "date": "current_date", "interval": "'1 day'::interval", "time": "'10:00'::time",
    "timetz": "'10:00+00'::timetz", "jsonb": "'{\"k\": 1}'::jsonb", "json": "'{\"k\": 1}'::json",
    "_text": "ARRAY['a']", "_int4": "ARRAY[1]", "anyarray": "ARRAY[1]", "anyelement": "1",
    "anycompatible": "1", "anycompatiblearray": "ARRAY[1]", "any": "1", "bytea": "'a'::bytea",
    "inet": "'10.0.0.1'::inet", "uuid": "'00000000-0000-0000-0000-000000000000'::uuid",
    "point": "'(1,2)'::point", "box": "'(1,2),(3,4)'::box", "bit": "B'1'", "varbit": "B'1'",
    "tsvector": "'a'::tsvector", "tsquery": "'a'::tsquery", "regconfig": "'simple'::regconfig",
    "xml": "'<a/>'::xml", "pg_lsn": "'0/1'::pg_lsn", "char": "'a'::\"char\"", "xid": "'1'::xid",
    "int4range": "'[1,2)'::int4range", "anyrange": "'[1,2)'::int4range", "record": "ROW(1, 2)",
    "money": "1::money", "macaddr": "'08:00:2b:01:02:03'::macaddr", "cidr": "'10.0.0.0/8'::cidr",
}

SIGNATURES = """
SELECT p.proname::text,
       ARRAY(SELECT t.typname::text FROM unnest(p.proargtypes) WITH ORDINALITY AS x(o, n)
               JOIN pg_type t ON t.oid = x.o ORDER BY x.n)
  FROM pg_proc p
 WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind IN ('f', 'a')
   AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype, 'internal'::regtype)
 ORDER BY 1, 2
"""


def test_class__every_built_in_function_that_may_be_a_read_is_one(judge, both, pair):
    with connect(pair.primary) as conn:
        signatures = conn.execute(SIGNATURES).fetchall()
    statements = [f"SELECT pg_catalog.{name}({', '.join(LITERALS[kind] for kind in arguments)})"
                  for name, arguments in signatures
                  if all(kind in LITERALS for kind in arguments)]
    assert len(statements) > 1500
    count, fine = check(judge, both, statements)
    assert count > 1200 and fine > 900


# ---- generated statements ----

class Generator:
    """Statements from a seed: mostly valid, some not."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, *choices):
        found = self.random.choice(choices)
        return found() if callable(found) else found

    def value(self):
        return self.pick("1", "-2", "a", "NULL", "3", "(SELECT 4)", "length('x')", "a + 1",
                         "public.f_stable(a)", "public.f_stable(2)", "(SELECT max(u.a) FROM u)",
                         self.rare)

    def rare(self):
        return self.pick("f_write(1)", "nextval('s')::int", "f_unsaid(a)", "1 ### a", "a #+# 1",
                         "2::d_write", "sum_write(a)", "sum_plain(a)", "random()::int",
                         "(SELECT n FROM w)::int", "pg_sleep(0) IS NULL", "txid_current()::int",
                         "(WITH x AS (DELETE FROM u RETURNING a) SELECT a FROM x)")

    def condition(self):
        return self.pick(lambda: f"{self.value()} = {self.value()}",
                         lambda: f"a IN ({self.value()}, {self.value()})",
                         lambda: f"NOT ({self.condition()})",
                         lambda: f"a BETWEEN {self.value()} AND {self.value()}",
                         lambda: f"EXISTS ({self.select()})", "b LIKE 'b%'", "j ? 'k'", "true")

    def source(self):
        return self.pick("t", "t", "t", "v AS t", "(SELECT a, b, NULL::jsonb AS j FROM t) t",
                         "w, t", "w_over, t", "p, t AS t(x, b, j)", "not_there",
                         "t TABLESAMPLE SYSTEM (50)", "generate_series(1, 3) t(a)",
                         "(VALUES (1, 'b')) t(a, b)")

    def select(self):
        tail = self.pick("", "", "", " LIMIT 1", " FOR UPDATE", " ORDER BY 1", " OFFSET 1")
        where = self.pick("", lambda: f" WHERE {self.condition()}")
        return f"SELECT {self.value()} FROM {self.source()}{where}{tail}"

    def statement(self):
        head = self.pick("", "", "", "EXPLAIN ", "EXPLAIN ANALYZE ", "EXPLAIN (ANALYZE off) ",
                         "WITH c AS (SELECT 1) ",
                         "WITH c AS (INSERT INTO u VALUES (1) RETURNING a) ",
                         "SELECT 1; ", "DECLARE c CURSOR FOR ", "SET LOCAL work_mem = '1MB'; ",
                         "PREPARE q AS ", "CREATE TEMP TABLE y AS ", "COPY (")
        body = self.select() + self.pick("", "", "", lambda: " UNION ALL " + self.select())
        return head + body + (") TO STDOUT" if head == "COPY (" else "")


def test_class__generated_statements(judge, both):
    generator = Generator(2026)
    statements = [generator.statement() for _ in range(4000 * ROUNDS)]
    count, fine = check(judge, both, statements)
    assert count > 1000 * ROUNDS and fine > 400 * ROUNDS


def test_class__a_change_of_the_catalogue_can_be_noticed(pair):
    query = subprocess.run([find_tool(), "--queries"], capture_output=True, check=True,
                           text=True).stdout.split("\0")[-2].split("\t")[1]
    with connect(pair.primary) as conn:
        def state():
            return conn.execute(query).fetchone()[0]
        before = state()
        conn.execute("INSERT INTO u VALUES (1); CREATE TABLE z (a int)")
        assert state() == before
        for change in ("CREATE FUNCTION z(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
                       "ALTER FUNCTION z(int) STABLE", "CREATE VIEW z_view AS SELECT 1 AS a",
                       "CREATE OR REPLACE VIEW z_view AS SELECT 2 AS a", "DROP FUNCTION z(int)",
                       "CREATE POLICY z_policy ON z USING (true)"):
            conn.execute(change)
            after = state()
            assert after != before, change
            before = after


# ---- the command ----

def explain(*arguments):
    done = subprocess.run([find_binary(), "explain", *arguments], capture_output=True, text=True,
                          timeout=60, stdin=subprocess.DEVNULL, check=False)
    return done.returncode, done.stdout, done.stderr


def test_explain__shows_class_reason_functions_and_who_would_answer(pair):
    hosts = f"127.0.0.1:{pair.primary.port},127.0.0.1:{pair.standby.port}"
    url = f"postgresql://postgres@{hosts}/postgres"
    status, out, err = explain("--url", url, "--consistency", "any", "SELECT a FROM v WHERE a = 7")
    assert status == 0 and err == ""
    assert "Class        read:" in out and "Shape        select a from v where a = 1\n" in out
    assert f"Route        127.0.0.1:{pair.standby.port}: " in out
    lines = [line for line in out.splitlines() if line.startswith("  127.0.0.1:")]
    assert len(lines) == 2
    assert "primary" in lines[0] and "endpoints of the other role go first" in lines[0]
    assert "replica" in lines[1] and "chosen" in lines[1]
    status, out, err = explain("--url", url, "SELECT * FROM w_over, t")
    assert status == 0 and "Class        write: a view or row policy" in out
    assert "w_over                   calls nextval" in out
    assert f"Route        127.0.0.1:{pair.primary.port}: a write goes to the primary" in out


def test_explain__needs_no_server(tmp_path):
    status, out, err = explain("/* holdfast: intent=read */ SELECT nextval('s')")
    assert status == 0 and err == ""
    assert "Class        write: it calls a volatile function (nextval)" in out
    assert "Intent       read" in out
    assert "secret" not in explain("SELECT 'secret'")[1]
    assert explain("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE")[1].count(
        "BEGIN, serializable, read only, deferrable") == 1


def test_explain__mistakes_are_told():
    status, out, err = explain()
    assert (status, out) == (2, "") and "explain needs a statement" in err
    status, out, err = explain("--url", "nonsense", "SELECT 1")
    assert (status, out) == (2, "") and "--url is no connection string" in err
    status, out, err = explain("--url", "postgresql://a:secret@127.0.0.1:1/x", "SELECT 1")
    assert (status, out) == (1, "") and "secret" not in err
