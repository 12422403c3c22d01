"""What a pool's server connections begin with and how they are used: connect_query, TCP keepalive,
server_round_robin."""

import pytest
from demo_process import wait_until
from pgwire import ServerError


def of_app(postgres, **more):
    return {"app": {"hosts": f"127.0.0.1:{postgres.port}", **more}}


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_connect_query_is_run_before_anybody_has_the_connection(start_proxy, postgres, mode):
    """Whatever rows it has, and once for each connection."""
    proxy = start_proxy(mode, server_reset_query="", databases=of_app(
        postgres, connect_query="CREATE TEMP TABLE IF NOT EXISTS began AS SELECT 7 AS one; "
                                "SET work_mem = '5MB'; SELECT generate_series(1, 500)"))
    with proxy.connect() as one, proxy.connect() as two:
        for wire in (one, two):
            wire.rows("BEGIN")
            assert wire.rows("SELECT one FROM began") == [("7",)]
            assert wire.value("SHOW work_mem") == "5MB"
        assert one.value("SELECT pg_backend_pid()") != two.value("SELECT pg_backend_pid()")


def test_connect_query_that_fails_is_a_failure_to_connect(start_proxy, postgres):
    proxy = start_proxy("transaction", databases=of_app(
        postgres, connect_query="SELECT 1/0"))
    proxy.expect_log("could not connect to server.*connect_query failed: division by zero")
    with pytest.raises(ServerError, match="connect_query failed: division by zero"):
        with proxy.connect() as wire:
            wire.rows("SELECT 1")
    # The next ones do without it, by a reload.
    proxy.reload(databases=of_app(postgres))
    def works():
        try:
            with proxy.connect() as wire:
                return wire.value("SELECT 5") == "5"
        except ServerError:
            return False
    wait_until(works, 15, "it is left out")


def keepalive_timers(port):
    """Seconds until TCP asks, at the ends of connections that have this port on one side."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    return [int(row[5].split(":")[1], 16) / 100 for row in rows
            if any(int(end.split(":")[1], 16) == port for end in row[1:3])
            and row[3] == "01" and row[5].startswith("02:")]


def test_keepalive_is_set_for_clients_and_servers(start_proxy, postgres):
    proxy = start_proxy("transaction", listen={"tcp_keepidle": "300s", "tcp_keepintvl": "20s",
                                               "tcp_keepcnt": 5, "tcp_user_timeout": "90s"})
    with proxy.connect() as wire:
        wire.rows("SELECT 1")
        for port in (proxy.address[1], postgres.port):  # the other end has the system's two hours
            wait_until(lambda port=port: 0 < min(keepalive_timers(port), default=0) <= 300, 15,
                       "one that is the proxy's")


@pytest.mark.parametrize("is_on", [False, True])
def test_round_robin_uses_all_connections_alike(start_proxy, is_on):
    proxy = start_proxy("transaction", server_round_robin="on" if is_on else "off",
                        listen={"workers": 1})
    with proxy.connect() as one, proxy.connect() as two, proxy.connect() as three:
        for wire in (one, two, three):
            wire.rows("BEGIN")
        for wire in (one, two, three):
            wire.rows("COMMIT")
        pids = [one.value("SELECT pg_backend_pid()") for _ in range(6)]
    assert len(set(pids)) == (3 if is_on else 1)
    assert pids[:3] == pids[3:]
