"""Nobody waits for ever, and nothing is lost for good: what a client cannot keep from others."""

import contextlib
import threading

import pytest
from demo_process import wait_until
from pgwire import (Closed, ServerError, TimedOut, bind, execute, flush, kinds, parse, query, rows,
                    sync)
from proxy_fixtures import KIND
from proxy_rig import free_port, make_target

pytestmark = pytest.mark.skipif(KIND != "holdfast", reason="limits of a proxy")

LONG = parse("long", "SELECT 1 /*" + "x" * 100000 + "*/")


@pytest.fixture(scope="module")
def narrow(proxy_place, postgres):
    """One connection for each pool."""
    here = {"hosts": f"{postgres.host}:{postgres.port}", "dbname": "app", "pool_size": 1}
    databases = {"app": {"idle_transaction_timeout": "200ms"},
                 "idle": {"client_idle_timeout": "200ms", "query_wait_timeout": "100ms"}}
    with make_target(KIND, proxy_place.new_folder(), free_port(), postgres, "transaction",
                     databases={name: here | more for name, more in databases.items()},
                     listen={"workers": 1}) as target:
        yield target


def last_words(wire):
    return [m for m in wire.read_to_end() if m.kind == "E"][-1]


def sleeps(postgres):
    return postgres.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND "
                        "state = 'active' AND pid <> pg_backend_pid()")[0][0] == "1"


def test_half_a_message_keeps_no_connection(narrow):
    with narrow.connect() as client, narrow.connect() as other:
        client.rows("SELECT 1")
        client.send(LONG[:50000])
        other.send(query("SELECT 7"))
        error = last_words(client)
        assert error.sqlstate == "25P03"
        assert error.fields["M"] == "terminating connection due to idle_transaction_timeout"
        assert rows(other.read_until_ready()) == [("7",)]


def test_half_a_message_costs_no_connection(narrow):
    """Nothing of it was sent yet: who leaves in the middle of it leaves the connection as it is."""
    with narrow.connect() as client, narrow.connect() as other:
        pid = other.value("SELECT pg_backend_pid()")
        client.send(LONG[:50000])
        other.send(query("SELECT pg_backend_pid()"))
        client.close()
        assert rows(other.read_until_ready()) == [(pid,)]


def test_who_waits_for_a_connection_is_not_idle_in_a_transaction(narrow, postgres):
    """What it listens to is told to the server first, and its last answer was long ago by then."""
    with narrow.connect() as client, narrow.connect() as busy:
        client.rows("LISTEN something")
        busy.send(query("SELECT pg_sleep(2)"))
        wait_until(lambda: sleeps(postgres), 10, "the connection is in use")
        found = client.ask(parse("", "SELECT 1"), bind("", ""), execute(), sync())
        assert kinds(found) == "12DCZ"


def test_who_is_refused_and_says_nothing_is_idle(narrow):
    with narrow.connect(database="idle") as busy, narrow.connect(database="idle") as client:
        busy.rows("BEGIN")
        client.send(parse("", "SELECT 1"), flush())
        assert client.read().sqlstate == "53300"
        error = last_words(client)
        assert error.fields["M"] == "terminating connection due to client_idle_timeout"


def test_a_share_on_its_way_outlives_a_kill(start_proxy):
    """A pool of one connection, which goes to and fro between two workers, is killed again and
    again. In the end it is still a pool of one."""
    proxy = start_proxy("transaction", pool_size=1, listen={"workers": 2})
    proxy.expect_log(".*")
    is_over = threading.Event()

    def work():
        while not is_over.is_set():
            with contextlib.suppress(Closed, ServerError, TimedOut, OSError), \
                    proxy.connect() as client:
                while not is_over.is_set():
                    client.value("SELECT 1", seconds=1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for each in threads:
        each.start()
    try:
        with proxy.connect(database="holdfast") as console:
            for _ in range(60):
                console.ask(query("KILL app"))
                console.ask(query("RESUME app"))
                is_over.wait(0.03)
    finally:
        is_over.set()
        for each in threads:
            each.join()
    with proxy.connect() as client:
        assert client.value("SELECT 2") == "2"
