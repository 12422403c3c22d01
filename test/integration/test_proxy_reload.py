"""A reload changes what is not marked as for a restart, in pools and for clients that are there.

CASES has what can be seen of each setting of pools, databases and limits; a test holds the
reference page against it, so that none is forgotten.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Callable, NamedTuple

import psycopg2
import pytest
from demo_process import wait_until
from pgwire import SECONDS, Closed, ServerError, parse, query, sync

REFERENCE = Path(__file__).resolve().parents[2] / "docs/reference/config.md"


class Console:
    """Of a proxy; stays connected."""

    def __init__(self, proxy):
        self.connection = psycopg2.connect(proxy.dsn(database="pgbouncer"))
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()

    def reload(self, proxy, settings):
        proxy.write_config(**settings)
        self.cursor.execute("RELOAD")

    def servers(self):
        self.cursor.execute("SHOW SERVERS")
        names = [column.name for column in self.cursor.description]
        return [dict(zip(names, row)) for row in self.cursor.fetchall()]


@contextmanager
def in_transactions(proxy, count):
    """So many clients, each with a server connection."""
    with ExitStack() as stack:
        wires = [stack.enter_context(proxy.connect()) for _ in range(count)]
        for wire in wires:
            wire.rows("BEGIN")
        yield wires


# ---------------------- what is seen, of the proxy and by a client that was there before the change

def mode_of_who_comes_then(proxy, _):
    with proxy.connect() as one, proxy.connect() as other:  # in session mode that is one too many
        assert one.value("SELECT 1") == other.value("SELECT 1")


def two_at_a_time(proxy, _):
    with in_transactions(proxy, 2):
        pass


def two_are_made(proxy, _):
    wait_until(lambda: len(proxy.console.servers()) == 2, SECONDS, "two server connections")


def prepared_is_not_kept(proxy, wire):
    wire.ask(parse("", "SELECT 5"), sync())
    assert [row["prepared_statements"] for row in proxy.console.servers()] == [0]


def fails(sqlstate, *texts):
    """The client's; the last one fails."""
    def see(_, wire):
        for text in texts[:-1]:
            wire.rows(text)
        with pytest.raises(ServerError) as caught:
            wire.rows(texts[-1])
        assert caught.value.sqlstate == sqlstate
    return see


def fails_while_busy(sqlstate):
    def see(proxy, wire):
        with in_transactions(proxy, 1):
            fails(sqlstate, "SELECT 1")(proxy, wire)
    return see


def is_ended(sqlstate, *texts):
    def see(_, wire):
        for text in texts:
            wire.rows(text)
        assert wire.read_to_end()[-1].sqlstate == sqlstate
    return see


def query_is_ended(_, wire):
    wire.send(query("SELECT pg_sleep(60)"))
    assert wire.read_to_end()[-1].sqlstate == "57014"


def server_is_closed(proxy, _):
    wait_until(lambda: not proxy.console.servers(), SECONDS, "it is closed")


def is_not_reset(proxy, _):
    for expected in (None, "left"):
        with proxy.connect() as wire:
            assert wire.value("SELECT current_setting('my.mark', true)") == expected
            wire.rows("SELECT set_config('my.mark', 'left', false)")


def all_are_used(proxy, wire):
    with in_transactions(proxy, 2):
        pass
    wait_until(lambda: len({wire.value("SELECT pg_backend_pid()") for _ in range(4)}) == 2,
               SECONDS, "both have been cleaned up, and are used in turn")


def address_is_added(proxy, _):
    with proxy.connect(parameters={"application_name": "shop"}) as wire:
        assert wire.value("SHOW application_name").startswith("shop - 127.0.0.1:")


def is_logged(pattern):
    def see(proxy, wire):
        seen = len(proxy.lines)
        wire.rows("SELECT 'a'")
        wait_until(lambda: any(re.search(pattern, line) for line in proxy.lines[seen:]), SECONDS,
                   pattern)
    return see


def answers(text, expected):
    def see(_, wire):
        assert wire.value(text) == expected
    return see


def long_text_is_refused(_, wire):
    wire.send(parse("long", "SELECT '" + "x" * 1500000 + "'"), sync())
    assert wire.read_to_end()[-1].sqlstate == "54000"


def next_is_refused(proxy, _):
    with pytest.raises(ServerError) as caught:
        proxy.connect()
    assert caught.value.sqlstate == "53300"


def listens_to_one(_, wire):
    wire.rows("LISTEN one")
    with pytest.raises((ServerError, Closed)):
        wire.rows("LISTEN two")


# ---------------------------------------------------------------------------------------- the cases

class Case(NamedTuple):
    """`after` of pools, unless these are parts of other sections."""
    see: Callable
    after: object
    before: dict = {}
    part: str = "pools"
    is_harsh: bool = False  # to whoever connects


CASES = {
    "pool_mode": Case(mode_of_who_comes_then, "transaction", {"pool_mode": "session"}),
    "pool_size": Case(two_at_a_time, 2),
    "min_pool_size": Case(two_are_made, 2, {"pool_size": 2}),
    "queue_max": Case(fails_while_busy("53300"), 0),
    "max_prepared_statements": Case(prepared_is_not_kept, 0),
    "session_features": Case(fails("0A000", "CREATE TEMP TABLE t (a int)"), "refuse"),
    "query_wait_timeout": Case(fails_while_busy("53300"), "500ms"),
    "query_timeout": Case(query_is_ended, "500ms"),
    "transaction_timeout": Case(is_ended("25P04", "BEGIN"), "500ms"),
    "idle_transaction_timeout": Case(is_ended("25P03", "BEGIN"), "500ms"),
    "client_idle_timeout": Case(is_ended("57P05"), "500ms", is_harsh=True),
    "pinned_idle_timeout": Case(is_ended("57P05", "CREATE TEMP TABLE t (a int)"), "500ms"),
    "server_idle_timeout": Case(server_is_closed, "100ms"),
    "server_lifetime": Case(server_is_closed, "1s"),
    "server_reset_query": Case(is_not_reset, "", {"pool_mode": "session", "pool_size": 2}),
    "server_round_robin": Case(all_are_used, "on", {"pool_size": 2}),
    "application_name_add_host": Case(address_is_added, "on"),
    "query_log": Case(is_logged("msg=query .*select"), "all"),
    "query_log_slow": Case(is_logged("msg=query .*select"), 0),
    "query_log_sample": Case(is_logged("msg=query .*select"), "100%"),
    "query_log_text": Case(is_logged("msg=query .*'a'"), "full", {"query_log": "all"}),
    "dbname": Case(answers("SELECT current_database()", "second"), "second", part="databases"),
    "connect_query": Case(answers("SHOW work_mem", "5MB"), "SET work_mem TO '5MB'",
                          part="databases"),
    "user": Case(answers("SELECT current_user", "other"), "other", part="databases"),
    "clients_max": Case(next_is_refused, 1, part="databases"),
    "server_connections_max": Case(fails_while_busy("53300"), 1,
                                   {"pool_size": 2, "server_down_timeout": 0}, part="databases"),
    "clients_per_database_max": Case(next_is_refused, 1, part="limits"),
    "clients_per_role_max": Case(next_is_refused, 1, part="limits"),
    "clients_per_address_max": Case(next_is_refused, 1, part="limits"),
    "prepared_memory": Case(long_text_is_refused, "1MB", part="limits"),
    "listen_channels_max": Case(listens_to_one, 1, part="limits"),
    "listen_channels_per_client_max": Case(listens_to_one, 1, part="limits"),
    # What was borrowed is given back a while later.
    "reserve_pool_size": Case(two_at_a_time, 1, {"reserve_pool_timeout": 0}),
    "reserve_pool_timeout": Case(two_at_a_time, "1ms", {"reserve_pool_size": 1,
                                                        "reserve_pool_timeout": "1h"}),
}

# Each is looked at where it is used, in the configuration of the worker or of the part that a
# reload replaces as a whole; tests of their own show what they do.
LOOKED_UP = set("""server_down_timeout server_connect_timeout server_login_retry
    server_lifetime_jitter server_clean_timeout listen_gap listen_queue hosts password service
    auth_user auth_dbname auth_query client_sslmode target_session_attrs load_balance_hosts sslmode
    server_connections_per_database_max server_connections_per_role_max server_connects_max
    client_login_timeout cancel_wait_timeout drain_timeout leave_timeout""".split())


def reloadable(section):
    page = re.split(rf"\n## {section}.*\n", REFERENCE.read_text())[1].split("\n## ")[0]
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    return {row.split("`")[1] for row in rows if "*Restart.*" not in row}


def test_every_reloadable_setting_is_in_the_cases_or_looked_up_where_it_is_used():
    there = reloadable("pools") | reloadable("databases") | reloadable("limits")
    assert there == set(CASES) | LOOKED_UP


def settings_of(name, case, postgres, is_after):
    app = {"hosts": f"127.0.0.1:{postgres.port}"}
    sections = {"pools": {"pool_mode": "transaction", "pool_size": 1, "query_log_text": "shape",
                          "query_wait_timeout": "30s", **case.before},
                "databases": app, "limits": {}}
    if is_after:
        sections[case.part][name] = case.after
    return {"databases": {"app": app, "second": {**app}}, "limits": sections["limits"],
            "listen": {"workers": 1}, **sections["pools"]}


def test_each_setting_is_changed_by_a_reload_for_pools_and_clients_that_are_there(
        start_proxy, postgres):
    proxy = start_proxy("transaction", **settings_of("", CASES["queue_max"], postgres, False))
    proxy.expect_log("terminating connection due to|level=warning")
    proxy.console = console = Console(proxy)
    last = None
    for name, case in CASES.items():
        # From one to the next in one step, where nothing of the last is in the way of this one.
        if case.before or last is None or last.before or last.part != "pools" or last.is_harsh:
            console.reload(proxy, settings_of(name, case, postgres, False))
        last = case
        with proxy.connect() as wire:
            wire.rows("SELECT 1")
            if case.before.get("pool_mode") == "session":
                wire.close()  # it would keep its connection
            console.reload(proxy, settings_of(name, case, postgres, True))
            case.see(proxy, wire)


def test_servers_that_reloads_have_removed_take_no_place_for_ever(start_proxy):
    """Twice nearly as many as there may be at a time."""
    settings = {"server_down_timeout": "100ms", "server_login_retry": "10ms",
                "listen": {"workers": 1}}
    proxy = start_proxy("transaction", **settings)
    proxy.expect_log("could not connect to server")
    console = Console(proxy)

    def is_refused(database):
        with pytest.raises(ServerError):
            proxy.connect(database=database)
    for first in (0, 15):
        databases = {f"d{number}": {"hosts": ",".join(f"127.0.{number}.{host}:1"
                                                      for host in range(1, 17))}
                     for number in range(first, first + 15)}
        console.reload(proxy, {**settings, "databases": databases})
        with ThreadPoolExecutor(15) as pool:
            list(pool.map(is_refused, databases))
    console.reload(proxy, {"listen": settings["listen"]})
    with proxy.connect() as client:
        assert client.value("SELECT 1") == "1"
