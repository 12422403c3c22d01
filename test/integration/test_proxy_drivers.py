"""Clients that nobody here wrote, through the proxy in both modes.

psql and pgbench, psycopg 2 and 3, node-postgres and postgres.js: each does prepared statements,
COPY, a cancel, TLS, large values, and pipelines as far as it can.
"""

import concurrent.futures
import contextlib
import io
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import psycopg
import psycopg2
import psycopg2.extras
import pytest
from demo_process import wait_until
from proxy_rig import PASSWORD, Direct

DRIVERS = Path(__file__).resolve().parent / "drivers"
LARGE = "l" * 3_000_000


@pytest.fixture(scope="module", autouse=True)
def tables(postgres):
    postgres.sql("DROP TABLE IF EXISTS driver", "CREATE TABLE driver (id int, v text)",
                 "ALTER TABLE driver OWNER TO app", database="app")


def environment(target):
    host, port = target.address
    return {**os.environ, "PGHOST": host, "PGPORT": str(port), "PGUSER": "app", "PGDATABASE": "app",
            "PGPASSWORD": PASSWORD, "PGSSLMODE": "disable", "PGSSLROOTCERT": str(target.ca)}


# --------------------------------------------------------------------------------- psql and pgbench

def psql(target, script, *options, **more):
    done = subprocess.run(
        ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", *options], input=script, text=True, timeout=60,
        capture_output=True, check=False, env={**environment(target), **more})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_psql_runs_a_script(pooled):
    rows = "".join(f"{i}\tvalue {i}\n" for i in range(1000))
    found = psql(pooled, f"""
        BEGIN;
        \\copy driver FROM STDIN
{rows}\\.
        SELECT count(*), max(length(v)) FROM driver;
        COPY (SELECT * FROM driver WHERE id < 2 ORDER BY id) TO STDOUT;
        \\set FETCH_COUNT 100
        SELECT sum(id) OVER () FROM driver LIMIT 350;
        \\unset FETCH_COUNT
        SAVEPOINT a;
        \\set ON_ERROR_STOP 0
        SELECT 1/0;
        ROLLBACK TO a;
        \\set ON_ERROR_STOP 1
        SELECT 'after' \\; SELECT 'both' ;
        ROLLBACK;
        SELECT 1 AS a, 'x'::text AS b \\gdesc
        DO $$ BEGIN RAISE NOTICE 'seen'; END $$;
        """).splitlines()
    assert found[:3] == ["1000|9", "0\tvalue 0", "1\tvalue 1"]
    assert found[3:353] == ["499500"] * 350
    assert found[353:] == ["after", "both", "a|integer", "b|text"]


def test_psql_over_tls_with_the_certificate_verified(pooled):
    settings = {"PGSSLMODE": "verify-full", "PGHOST": "localhost"}
    found = psql(pooled, f"SELECT length('{LARGE}');\n", **settings)
    assert found == f"{len(LARGE)}\n"


def test_psql_is_cancelled_by_an_interrupt(pooled, postgres):
    running = ("SELECT 1 FROM pg_stat_activity WHERE state = 'active' "
               "AND query = 'SELECT pg_sleep(30)'")
    with subprocess.Popen(["psql", "-XAtq", "-c", "SELECT pg_sleep(30)"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=environment(pooled)) as process:
        wait_until(lambda: postgres.sql(running), 10, "the query runs")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=25)
        assert "canceling statement due to user request" in errors


def test_pg_dump_dumps(session_proxy):
    def dump(target):
        done = subprocess.run(["pg_dump", "-t", "driver"], env=environment(target), text=True,
                              capture_output=True, check=True, timeout=60)
        # Two lines have a random key against text that looks like psql's commands.
        return [line for line in done.stdout.splitlines() if "restrict " not in line]
    assert dump(session_proxy) == dump(Direct(session_proxy.server))


@pytest.fixture(scope="module")
def accounts(postgres):
    subprocess.run(["pgbench", "-i", "-q", "-s", "1", "app"], check=True, capture_output=True,
                   env=environment(Direct(postgres)))


def pgbench(target, *options):
    done = subprocess.run(["pgbench", "-n", "-c", "12", "-j", "2", *options, "app"], text=True,
                          capture_output=True, check=False, timeout=60, env=environment(target))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "number of failed transactions: 0" in done.stdout
    return done.stdout


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
def test_pgbench_runs_and_the_books_balance(pooled, accounts, postgres, protocol):
    pgbench(pooled, "-M", protocol, "-t", "25")
    found = postgres.sql("SELECT sum(abalance) = (SELECT sum(tbalance) FROM pgbench_tellers), "
                         "sum(abalance) = (SELECT sum(delta) FROM pgbench_history) "
                         "FROM pgbench_accounts", database="app")
    assert found == [("t", "t")]


def test_pgbench_pipelines(pooled, accounts, tmp_path):
    script = tmp_path / "pipeline.sql"
    script.write_text("\\startpipeline\n" + "SELECT abalance FROM pgbench_accounts WHERE aid = 7;\n"
                      * 20 + "\\endpipeline\n")
    for protocol in ("extended", "prepared"):
        pgbench(pooled, "-M", protocol, "-t", "20", "-f", str(script))


def test_pgbench_connects_anew_for_each_transaction(pooled, accounts):
    pgbench(pooled, "-S", "-C", "-t", "8")


# ----------------------------------------------------------------------------------------- psycopg

@pytest.fixture(params=["disable", "require"])
def connected(request, pooled):
    with psycopg.connect(pooled.dsn(sslmode=request.param), autocommit=True) as connection:
        yield connection


def test_psycopg_prepares(connected):
    connected.prepare_threshold = 0
    for text in ("SELECT %s::int + 1", "SELECT %s::text || 'x'"):
        for value in range(15):
            found = connected.execute(text, [str(value) if "text" in text else value]).fetchone()[0]
            assert found == (f"{value}x" if "text" in text else value + 1)
    assert connected.execute("SELECT %s::int", [5], binary=True).fetchone() == (5,)


def test_psycopg_copies(connected):
    with connected.transaction(force_rollback=True), connected.cursor() as cursor:
        with cursor.copy("COPY driver FROM STDIN") as copy:
            for i in range(5000):
                copy.write_row((i, f"value {i}"))
        with cursor.copy("COPY driver TO STDOUT") as copy:
            assert sum(1 for _ in copy.rows()) == 5000
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        with connected.cursor().copy("COPY driver FROM STDIN") as copy:
            copy.write("nonsense\tx\n")
    with pytest.raises(psycopg.errors.QueryCanceled), connected.cursor() as cursor:
        with cursor.copy("COPY driver FROM STDIN") as copy:
            copy.write_row((1, "a"))
            raise ValueError("the client changed its mind")
    assert connected.execute("SELECT count(*) FROM driver").fetchone() == (0,)


@contextlib.contextmanager
def cancelled_once_it_sleeps(postgres, connection):
    def cancel():
        wait_until(lambda: postgres.sql("SELECT 1 FROM pg_stat_activity WHERE state = 'active' "
                                        "AND query = 'SELECT pg_sleep(30)'"), 6, "it sleeps")
        connection.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    yield
    thread.join()


def test_psycopg_cancels(connected, postgres):
    with cancelled_once_it_sleeps(postgres, connected), \
            pytest.raises(psycopg.errors.QueryCanceled):
        connected.execute("SELECT pg_sleep(30)")
    assert connected.execute("SELECT 1").fetchone() == (1,)


def test_psycopg_sends_and_gets_large_values(connected):
    assert connected.execute("SELECT %s::text", [LARGE]).fetchone() == (LARGE,)
    blob = bytes(range(256)) * 8000
    assert connected.execute("SELECT %b::bytea", [blob], binary=True).fetchone() == (blob,)


def test_psycopg_pipelines(connected):
    with connected.pipeline():
        cursors = [connected.execute("SELECT %s::int, repeat('p', %s)", [i, i * 10])
                   for i in range(300)]
        for i, cursor in enumerate(cursors):
            assert cursor.fetchone() == (i, "p" * (i * 10))
    with pytest.raises(psycopg.errors.DivisionByZero):
        with connected.pipeline():
            connected.execute("SELECT 1")
            connected.execute("SELECT 1 / %s", [0])
            connected.execute("SELECT 2")
    assert connected.execute("SELECT 3").fetchone() == (3,)


def test_psycopg_reads_a_server_side_cursor(connected):
    with connected.transaction():
        with connected.cursor(name="slow") as cursor:
            cursor.itersize = 50
            cursor.execute("SELECT generate_series(1, 1000)")
            assert [row[0] for row in cursor] == list(range(1, 1001))


def test_psycopg_in_many_threads(pooled):
    def work(number):
        with psycopg.connect(pooled.dsn(), prepare_threshold=2) as connection:
            for i in range(30):
                found = connection.execute("SELECT %s::int, %s::int", [number, i]).fetchone()
                assert found == (number, i)
                connection.commit()
    with concurrent.futures.ThreadPoolExecutor(15) as threads:
        list(threads.map(work, range(30)))


# ----------------------------------------------------------------------------------------- psycopg2

@pytest.fixture(params=["disable", "require"])
def connected2(request, pooled):
    connection = psycopg2.connect(pooled.dsn(sslmode=request.param))
    yield connection
    connection.close()


def test_psycopg2_queries_copies_and_reads_cursors(connected2):
    with connected2.cursor() as cursor:
        cursor.copy_from(io.StringIO("".join(f"{i}\tv\n" for i in range(5000))), "driver")
        out = io.StringIO()
        cursor.copy_expert("COPY driver TO STDOUT", out)
        assert out.getvalue().count("\n") == 5000
        psycopg2.extras.execute_values(cursor, "INSERT INTO driver VALUES %s",
                                       [(i, LARGE[:1000]) for i in range(500)])
        cursor.execute("SELECT %s", [LARGE])
        assert cursor.fetchone() == (LARGE,)
    with connected2.cursor("named") as cursor:
        cursor.itersize = 700
        cursor.execute("SELECT id FROM driver")
        assert sum(1 for _ in cursor) == 5500
    connected2.rollback()
    with connected2, connected2.cursor() as cursor:
        with pytest.raises(psycopg2.errors.DivisionByZero):
            cursor.execute("SELECT 1/0")
        connected2.rollback()
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_psycopg2_cancels(connected2, postgres):
    with cancelled_once_it_sleeps(postgres, connected2), connected2.cursor() as cursor, \
            pytest.raises(psycopg2.errors.QueryCanceled):
        cursor.execute("SELECT pg_sleep(30)")


# --------------------------------------------------------------------------------------------- node

@pytest.fixture(scope="session")
def node():
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.fail("node and npm are not installed: tools/setup.sh")
    done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=DRIVERS, text=True,
                          capture_output=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return ["node", str(DRIVERS / "drivers.js")]


def test_node_postgres_and_postgres_js(pooled, node):
    done = subprocess.run([*node, pooled.url(), str(pooled.ca)], text=True, capture_output=True,
                          timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") >= 13
