"""holdfast proxy as it is run: several servers, the reserve, what it logs and warns of."""

import os
import re
import resource
import subprocess
import time

import pgwire
import proxy_rig
import pytest
from demo_process import wait_until
from pgwire import bind, execute, kinds, parse, query, sync

BLOCK_REFUSED = "transaction blocks not allowed in statement pooling mode"


@pytest.fixture(scope="module")
def standby(proxy_place, postgres):
    """A standby of the tests' server, at a port of its own."""
    folder = proxy_place.new_folder()
    folder.mkdir()
    data = folder / "data"
    port = proxy_rig.free_port()
    if proxy_rig.as_postgres():
        proxy_rig.shutil.chown(folder, "postgres", "postgres")
    subprocess.run([proxy_rig.PG_BIN / "pg_basebackup", "-D", data, "-R", "-c", "fast", "-X",
                    "stream", "-h", postgres.host, "-p", str(postgres.port), "-U", "walker"],
                   check=True, capture_output=True, cwd="/",
                   env={**os.environ, "PGPASSWORD": proxy_rig.PASSWORD}, **proxy_rig.as_postgres())
    log = open(folder / "standby.log", "ab")  # pylint: disable=consider-using-with
    process = subprocess.Popen(
        [proxy_rig.PG_BIN / "postgres", "-D", data, "-c", f"port={port}",
         "-c", f"unix_socket_directories={folder}"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
        **proxy_rig.as_postgres())
    log.close()

    def is_up():
        try:
            with pgwire.connect(str(folder), port, "postgres", "postgres"):
                return True
        except (OSError, pgwire.ServerError, pgwire.Closed):
            return False

    wait_until(is_up, 20, "the standby answers")
    yield port
    process.send_signal(proxy_rig.signal.SIGINT)
    process.wait(60)


def hosts(*ports, **settings):
    return {"*": {"hosts": ", ".join(f"127.0.0.1:{port}" for port in ports), **settings}}


def is_standby(target, database="app"):
    with target.connect(database=database) as client:
        return client.value("SELECT pg_is_in_recovery()") == "t"


# ------------------------------------------------------------------------------------ several hosts

@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_dead_first_host_delays_nobody_for_long(start_proxy, postgres, mode):
    dead = proxy_rig.free_port()
    target = start_proxy(mode, databases=hosts(dead, postgres.port), pool_size=5)
    target.expect_log("could not connect to server")
    for _ in range(5):
        begun = time.monotonic()
        with target.connect() as client:
            assert client.value("SELECT 1") == "1"
        assert time.monotonic() - begun < 12


def test_a_first_host_that_says_nothing_delays_nobody_for_long(start_proxy, postgres):
    with proxy_rig.socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(64)
        target = start_proxy("transaction", databases=hosts(mute.getsockname()[1], postgres.port))
        target.expect_log("could not connect to server")
        begun = time.monotonic()
        with target.connect() as client:
            assert client.value("SELECT 1") == "1"
        assert time.monotonic() - begun < 10


WANTS_STANDBY = {"any": None, "read-write": False, "primary": False, "read-only": True,
                 "standby": True, "prefer-standby": True}


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_the_host_with_the_role_asked_for_is_found(start_proxy, postgres, standby, mode):
    orders = {"first": (postgres.port, standby), "last": (standby, postgres.port)}
    databases = {}
    for attrs in WANTS_STANDBY:
        for order, ports in orders.items():
            databases[f"{attrs} {order}"] = hosts(*ports, dbname="app",
                                                  target_session_attrs=attrs)["*"]
    target = start_proxy(mode, databases=databases, min_pool_size=0)
    for attrs, wants in WANTS_STANDBY.items():
        for order, ports in orders.items():
            expected = ports[0] == standby if wants is None else wants
            assert is_standby(target, f"{attrs} {order}") == expected, (attrs, order)


def test_connections_take_turns_where_hosts_do(start_proxy, postgres, standby):
    target = start_proxy("session", databases=hosts(
        postgres.port, standby, load_balance_hosts="round-robin"), listen={"workers": 1})
    with target.connect() as one, target.connect() as two:
        found = {client.value("SELECT pg_is_in_recovery()") for client in (one, two)}
    assert found == {"t", "f"}


def test_a_role_that_no_host_has_is_said(start_proxy, postgres):
    target = start_proxy("transaction", server_down_timeout="1500ms", databases=hosts(
        postgres.port, target_session_attrs="standby"))
    with pytest.raises(pgwire.ServerError) as caught:
        target.connect()
    assert caught.value.sqlstate == "57P03"
    assert "target_session_attrs = standby" in str(caught.value)


def test_a_primary_does_where_there_is_no_standby(start_proxy, postgres):
    target = start_proxy("transaction", databases=hosts(
        postgres.port, target_session_attrs="prefer-standby"))
    assert not is_standby(target)


# ---------------------------------------------------------------------- sslmode, and the last words

@pytest.fixture
def tls_rule(postgres):
    """tls_rule(kind): the server takes the role app over hostssl or hostnossl connections only."""
    path = postgres.folder / "data/pg_hba.conf"
    before = path.read_text()

    def reload():
        """Who comes then is let in by the new rules: who forks for him has read them."""
        loaded = "SELECT pg_conf_load_time()"
        was = postgres.sql(loaded)
        postgres.sql("SELECT pg_reload_conf()")
        wait_until(lambda: postgres.sql(loaded) != was, 10, "the server has reloaded")

    def set_rule(kind):
        lines = [line.replace("host ", kind + " ", 1) if " app " in line else line
                 for line in before.splitlines() if not line.startswith("host all all ")]
        path.write_text("\n".join(lines) + "\n")
        reload()

    yield set_rule
    path.write_text(before)
    reload()


@pytest.mark.parametrize(("sslmode", "kind", "is_encrypted"), [
    ("allow", "hostssl", "t"), ("allow", "host", "f"),
    ("prefer", "hostnossl", "f"), ("prefer", "host", "t")])
def test_what_a_server_refuses_is_tried_the_other_way(start_proxy, tls_rule, sslmode, kind,
                                                      is_encrypted):
    tls_rule(kind)
    target = start_proxy("transaction", server_tls={"sslmode": sslmode})
    with target.connect() as client:
        assert client.value(
            "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == is_encrypted


def test_both_ways_refused_is_the_servers_own_error(start_proxy, tls_rule):
    tls_rule("hostssl")
    target = start_proxy("session", server_tls={"sslmode": "disable"})
    target.expect_log("could not connect to server")
    with pytest.raises(pgwire.ServerError) as caught:
        target.connect()
    assert caught.value.sqlstate == "28000"
    assert "no pg_hba.conf entry" in str(caught.value)


def test_an_error_of_many_kilobytes_at_login_comes_whole(start_proxy, direct):
    value = "x" * 5000
    said = []
    for target in (direct, start_proxy("session")):
        with pytest.raises(pgwire.ServerError) as caught:
            target.connect(parameters={"options": f"-c client_min_messages={value}"})
        said.append((caught.value.sqlstate, caught.value.fields.get("M")))
        if target is not direct:
            target.expect_log("could not connect to server")
    assert len(said[0][1]) > 4000
    assert said[0] == said[1]


# ----------------------------------------------------------------------------------- statement mode

BEGIN = {
    "simple": [query("BEGIN")],
    "in a string": [query("SELECT 1; BEGIN; SELECT 2")],
    "extended": [parse("", "BEGIN"), bind("", ""), execute(), sync()],
    "failed": [query("BEGIN; SELECT 1 / 0")],
    "pipelined": [query("BEGIN"), query("CREATE TABLE never (id int)"), query("COMMIT")],
}


@pytest.mark.parametrize("how", BEGIN)
def test_statement_mode_refuses_a_block_that_spans_statements(start_proxy, postgres, how):
    target = start_proxy("statement", pool_size=1)
    with target.connect() as client, target.connect() as other:
        client.send(*BEGIN[how])
        messages = client.read_to_end()
        error = messages[-1]
        assert error.kind == "E" and error.fields["S"] == "FATAL"
        assert error.fields["M"] == BLOCK_REFUSED and error.sqlstate == "0A000"
        assert "Z" not in kinds(messages)
        assert other.value("SELECT now() = statement_timestamp()") == "t"
    target.wait_log(f'client disconnected.*reason="{BLOCK_REFUSED}"')
    assert postgres.sql("SELECT to_regclass('never')", database="app") == [(None,)]


def test_statement_mode_lets_a_block_within_a_string_pass(start_proxy):
    target = start_proxy("statement", pool_size=1)
    with target.connect() as client:
        assert client.value("BEGIN; SELECT 1; COMMIT") == "1"
        assert client.value("SELECT 2") == "2"


# ---------------------------------------------------------------------------------------------- log

def test_slow_queries_are_logged_with_their_waits_and_without_their_text(start_proxy):
    target = start_proxy("transaction", pool_size=1, listen={"log_slow": "1s"})
    with target.connect() as one, target.connect() as two:
        one.value("SELECT 'quick'")
        one.send(query("SELECT pg_sleep(2.2), 'hidden'"))
        time.sleep(0.1)
        two.send(query("SELECT pg_sleep(0.01)"))
        one.read_until_ready()
        two.read_until_ready()
        target.wait_log("slow query.*\n.*slow query")
        lines = [line for line in target.lines if "slow query" in line]
    assert len(lines) == 2 and "hidden" not in target.log and "pg_sleep" not in target.log
    waits = [{key: milliseconds(value)
              for key, value in (part.split("=") for part in line.split() if "=" in part)
              if key in ("took", "queue", "server")} for line in lines]
    assert waits[0]["queue"] < waits[0]["server"] >= 2190
    assert waits[1]["queue"] >= 990 and waits[1]["server"] < waits[1]["queue"]
    assert all("database=app" in line and "role=app" in line and " pid=" in line for line in lines)


def milliseconds(text):
    number, unit = re.fullmatch(r"(\d+)(us|ms|s)?", text).groups()
    return int(number) * {"us": 0.001, "ms": 1, "s": 1000, None: 1}[unit]


def test_a_pipeline_is_measured_query_by_query(start_proxy):
    target = start_proxy("session", pool_size=1, listen={"log_slow": "1s"})
    with target.connect() as client:
        client.send(query("SELECT 1"), query("SELECT pg_sleep(1.5)"), query("SELECT 1"))
        client.read_until_ready(3)
        target.wait_log("slow query")
    assert target.log.count("slow query") == 1


# ------------------------------------------------------------------------------------------ reserve

def test_the_reserve_is_used_after_its_timeout_and_given_back(start_proxy, postgres):
    target = start_proxy("transaction", pool_size=1, reserve_pool_size=1,
                         reserve_pool_timeout="500ms", listen={"workers": 1})
    with target.connect() as one, target.connect() as two, target.connect() as three:
        one.value("BEGIN; SELECT 1")
        begun = time.monotonic()
        assert two.value("BEGIN; SELECT 2") == "2"
        assert 0.4 < time.monotonic() - begun < 10
        three.send(query("SELECT 3"))
        assert three.is_quiet(1.2)  # there is one of it only
        two.value("COMMIT; SELECT 2")
        three.read_until_ready()
        one.value("COMMIT; SELECT 1")

    def connections():
        rows = postgres.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'app'")
        return int(rows[0][0])

    wait_until(lambda: connections() == 1, 20, "the connection of the reserve is closed")


# -------------------------------------------------------------------------------------------- reset

@pytest.mark.parametrize(("reset", "left"), [
    ("DISCARD ALL", ""), ("", "mine"), ("SET my.setting TO 'reset'", "reset")])
def test_the_reset_query_is_the_one_that_was_set(start_proxy, reset, left):
    target = start_proxy("session", pool_size=1, server_reset_query=reset)
    with target.connect() as one:
        one.value("SET my.setting TO 'mine'; SELECT 1")
    with target.connect() as two:
        assert (two.value("SELECT current_setting('my.setting', true)") or "") == left


# -------------------------------------------------------------------------------------------- start

def limited(soft, hard):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_limit_of_open_files_is_raised_and_io_is_said(start_proxy):
    target = start_proxy("session")
    target.wait_log("sockets.*io=(io_uring|epoll)")
    with open(f"/proc/{target.process.pid}/limits", encoding="ascii") as file:
        soft, hard = next(line for line in file if line.startswith("Max open files")).split()[3:5]
    assert int(soft) >= 10000 or soft == hard


def test_too_few_open_files_are_warned_of_with_numbers(start_proxy, monkeypatch):
    popen = subprocess.Popen
    monkeypatch.setattr(proxy_rig.subprocess, "Popen",
                        lambda *args, **more: popen(*args, preexec_fn=limited(256, 512), **more))
    target = start_proxy("session", listen={"io": "epoll"})
    target.expect_log("too few open files")
    target.wait_log(r"too few open files.*limit=512 .*needed=1\d{4}.*LimitNOFILE")
