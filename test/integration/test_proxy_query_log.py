"""Who ran what: the query log, and application_name with the client's address behind it."""

import re
import shlex

import pgwire
from demo_process import wait_until
from test_proxy_limits import answer_of


def lines_of(proxy, message="query"):
    """The log's lines of this message, as dicts."""
    found = []
    for line in proxy.lines:
        if f" msg={message} " in line:
            found.append(dict(part.split("=", 1) for part in shlex.split(line)))
    return found


def last_line(proxy, count):
    wait_until(lambda: len(lines_of(proxy)) >= count, 10,
               lambda: f"{count} lines of queries in:\n{proxy.log}")
    found = lines_of(proxy)
    assert len(found) == count, found
    return found[-1]


def test_every_request_is_logged_with_who_where_and_what(start_proxy):
    proxy = start_proxy("transaction", query_log="all")
    with proxy.connect(parameters={"application_name": "till"}) as wire:
        host, port = wire.sock.getsockname()
        server_pid = wire.value("SELECT pg_backend_pid()")
        line = last_line(proxy, 1)
        assert line["database"] == "app" and line["role"] == "app"
        assert line["application"] == "till"
        assert (line["address"], line["port"]) == (host, str(port))
        assert (line["pid"], line["server_pid"]) == (str(wire.pid), server_pid)
        assert line["host"] == f"127.0.0.1:{proxy.server.port}"
        assert line["text"] == "select pg_backend_pid()"
        assert (line["rows"], line["statements"], line["sqlstate"]) == ("1", "1", "")
        assert re.fullmatch("[0-9a-f]{32}", line["shape"])

        # Literals are no part of the shape, and not of the log.
        wire.rows("SELECT 'secret', 17")
        first = last_line(proxy, 2)
        wire.rows("SELECT  'other', 18 -- and a comment")
        second = last_line(proxy, 3)
        assert first["shape"] == second["shape"] != line["shape"]
        assert "secret" not in proxy.log and "17" not in first["text"]

        # An error; and a transaction, whose requests belong together.
        assert answer_of(wire, "SELECT 1/0")["C"] == "22012"
        assert last_line(proxy, 4)["sqlstate"] == "22012"
        for number, sql in enumerate(["BEGIN", "SELECT 1", "COMMIT", "SELECT 1"]):
            wire.rows(sql)
            last_line(proxy, 5 + number)
        ids = [line["transaction"] for line in lines_of(proxy)[4:]]
        assert ids[0] == ids[1] == ids[2] != ids[3]

        # The extended protocol; a statement that was prepared before has its text still.
        wire.ask(pgwire.parse("mine", "SELECT generate_series(1, $1)", [23]), pgwire.sync())
        last_line(proxy, 9)
        wire.ask(pgwire.bind("", "mine", [b"5"]), pgwire.execute(), pgwire.sync())
        line = last_line(proxy, 10)
        assert line["text"] == "select generate_series(1, $1)"
        assert (line["rows"], line["statements"]) == ("5", "1")

        # A text that is longer than what is kept, cut where it would be uncertain.
        wire.rows("SELECT 1 AS one, '" + "x" * 3000 + "'")
        line = last_line(proxy, 11)
        assert line["cut"] == "true" and line["text"].startswith("select 1 as one")
        assert "xxx" not in proxy.log


def test_what_is_logged_is_chosen_and_where_its_time_went(start_proxy):
    """Slow ones and errors only, by role and database; another choice while it runs."""
    proxy = start_proxy("transaction", query_log="errors", query_log_slow="1s",
                        query_log_text="none", pool_size=1,
                        roles={"other": {"query_log": "all"}})
    with proxy.connect() as wire, proxy.connect() as second, proxy.connect("other") as other:
        wire.rows("SELECT 1")
        other.rows("SELECT 2")
        line = last_line(proxy, 1)
        assert line["role"] == "other" and line["text"] == ""
        # One holds the only connection, so the wait of the other one is what took the time.
        wire.rows("BEGIN")
        second.send(pgwire.query("SELECT 3"))
        assert second.is_quiet(1.5)
        wire.rows("COMMIT")
        second.read_until_ready()
        line = last_line(proxy, 2)
        assert line["pid"] == str(second.pid)
        assert milliseconds(line["wait"]) > 1000
        assert milliseconds(line["wait"]) > milliseconds(line["server"])
        proxy.reload(query_log="all", query_log_text="full", pool_size=1)
        wait_until(lambda: wire.rows("SELECT 'in full'") and len(lines_of(proxy)) > 2, 10,
                   "the new configuration is in force")
        assert lines_of(proxy)[-1]["text"] == "SELECT 'in full'"


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|min)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "min": 60000}[unit]


def test_a_share_is_chosen_by_chance(start_proxy):
    proxy = start_proxy("transaction", query_log_sample="50%")
    with proxy.connect() as wire:
        for _ in range(200):
            wire.rows("SELECT 1")
        wait_until(lambda: len(lines_of(proxy)) > 50, 10, "some are logged")
        assert len(lines_of(proxy)) < 150


def test_the_time_in_which_a_client_does_not_read_is_its_own(start_proxy):
    proxy = start_proxy("transaction", query_log="all")
    with proxy.connect(receive_buffer=4096) as wire:
        wire.sock.setblocking(True)
        wire.sock.sendall(pgwire.query("SELECT repeat('x', 1000) FROM generate_series(1, 20000)"))
        wire.sock.setblocking(False)
        # The proxy cannot know that it will not read before it has had the time not to.
        wait_until(lambda: proxy.server.sql(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'ClientWrite'"), 10,
            "the server is held up")
        wire.read_until_ready()
        line = last_line(proxy, 1)
        assert milliseconds(line["client"]) > 0
        assert line["rows"] == "20000" and int(line["sent"]) > 20_000_000


def test_servers_know_who_is_behind_the_proxy(start_proxy):
    for mode in ("transaction", "session"):
        proxy = start_proxy(mode, application_name_add_host="on")
        with proxy.connect(parameters={"application_name": "till"}) as wire, \
                proxy.connect() as nameless:
            host, port = wire.sock.getsockname()
            assert wire.value("SHOW application_name") == f"till - {host}:{port}"
            host, port = nameless.sock.getsockname()
            assert nameless.value("SHOW application_name") == f"app - {host}:{port}"
            wire.rows("SET application_name = 'mine'")
            assert wire.value("SHOW application_name") == "mine"


def shown(console, what):
    """Rows of a SHOW as dicts."""
    answer = console.ask(pgwire.query(f"SHOW {what}"))
    body = next(m for m in answer if m.kind == "T").body[2:]
    names = []
    while body:
        name, _, rest = body.partition(b"\0")
        names.append(name.decode())
        body = rest[18:]  # table, column, type, size, modifier, format
    return [dict(zip(names, row)) for row in pgwire.rows(answer)]


def test_the_console_shows_what_runs_and_what_waits_and_traces_a_client(start_proxy):
    groups = {"one": {"application_name": "one", "concurrency_max": 1, "queue_wait": "60s"}}
    proxy = start_proxy("transaction", pool_size=1, groups=groups)

    def connect(name):
        return proxy.connect(parameters={"application_name": name})

    with proxy.connect(database="holdfast") as console, connect("holds") as holds, \
            connect("one") as first, connect("one") as second:
        holds.rows("BEGIN")
        holds.ask(pgwire.parse("mine", "SELECT $1::int, 'in it'"), pgwire.sync())
        holds.ask(pgwire.bind("", "mine", [b"5"]), pgwire.execute(), pgwire.sync())
        first.send(pgwire.query("SELECT 'secret', pg_sleep(60)"))
        wait_until(lambda: len(shown(console, "STATEMENTS")) == 2, 10, "two are shown")
        second.send(pgwire.query("SELECT 2"))
        wait_until(lambda: len(shown(console, "STATEMENTS")) == 3, 10, "all three are shown")
        found = {row["application_name"] + " " + row["state"]: row
                 for row in shown(console, "STATEMENTS")}
        assert set(found) == {"holds idle in transaction", "one waits for a connection",
                              "one waits for its group"}, found
        assert found["holds idle in transaction"]["query"] == "select $1::int, ''"
        waits = found["one waits for a connection"]
        assert waits["query"] == "select '', pg_sleep(1)"
        assert waits["pid"] == str(first.pid) and waits["database"] == "app"
        assert int(waits["wait_us"]) > 0 and len(waits["shape"]) == 32
        group, = shown(console, "GROUPS")
        assert (group["group"], group["clients"], group["in_use"], group["waiting"]) == (
            "one", "2", "1", "1")
        holds.rows("COMMIT")
        wait_until(lambda: [row for row in shown(console, "STATEMENTS")
                            if row["state"] == "running"], 10, "it runs")
        running, = [row for row in shown(console, "STATEMENTS") if row["state"] == "running"]
        assert running["query"] == waits["query"] and int(running["remote_pid"]) > 0
        pgwire.cancel(first)
        first.read_until_ready()
        second.read_until_ready()

        # A trace of one client, and of no other.
        number = waits["id"]
        assert console.ask(pgwire.query(f"TRACE {number}"))[0].tag == "TRACE"
        first.rows("SELECT 1")
        second.rows("SELECT 1")
        wait_until(lambda: len(lines_of(proxy, "trace")) >= 5, 10, "its messages are logged")
        traced = lines_of(proxy, "trace")
        assert {line["pid"] for line in traced} == {str(first.pid)}
        assert [line["from"][0] + line["type"] for line in traced] == ["cQ", "sT", "sD", "sC", "sZ"]
        assert traced[0]["bytes"] == str(len(pgwire.query("SELECT 1")))
        assert console.ask(pgwire.query(f"UNTRACE {number}"))[0].tag == "UNTRACE"
        first.rows("SELECT 1")
        assert len(lines_of(proxy, "trace")) == 5
        refused = console.ask(pgwire.query("TRACE 123456789"))[0].fields
        assert refused["M"] == "client not found" and refused["H"]
