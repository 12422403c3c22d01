"""LISTEN and NOTIFY in transaction and statement mode: one connection listens for all.

What a test demands of a client's session passes against PostgreSQL itself, too
(PROXY_TARGET=direct); what only a proxy has (gaps, limits) is skipped there.
"""

import contextlib
import itertools
import os
import signal
import struct
import subprocess
from pathlib import Path

import pgwire
import psycopg
import psycopg2
import pytest
from demo_process import wait_until
from pgwire import bind, describe, execute, kinds, parse, query, rows, sync
from proxy_fixtures import KIND
from proxy_rig import free_port, make_target

DRIVERS = Path(__file__).resolve().parent / "drivers"
GAP = "01N01"
proxied = pytest.mark.skipif(KIND != "holdfast", reason="only a proxy has this")
_channels = (f"channel_{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def proxy(proxy_place, postgres):
    """Two workers, and few enough connections that clients share them."""
    with make_target(KIND, proxy_place.new_folder(), free_port(), postgres, "transaction",
                     pool_size=4, listen={"workers": 2}) as target:
        yield target


@pytest.fixture
def channel():
    return next(_channels)


@contextlib.contextmanager
def clients(target, count, **options):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(target.connect(**options)) for _ in range(count)]


class Notification:
    def __init__(self, message):
        self.pid, = struct.unpack_from("!I", message.body)
        self.channel, self.payload = (
            part.decode() for part in message.body[4:].split(b"\0")[:2])

    def __repr__(self):
        return f"{self.channel}: {self.payload}"


def payloads(messages):
    return [Notification(each).payload for each in messages if each.kind == "A"]


def read_news(client, count, seconds=60):
    """The payloads of so many notifications, which must be all that comes; with those that came
    with the answers to ok()."""
    heard = client.__dict__.pop("heard", [])
    found = heard + [client.read(seconds) for _ in range(count - len(heard))]
    assert kinds(found) == "A" * count, [str(each) for each in found]
    return payloads(found)


def ok(client, *sqls):
    for sql in sqls:
        found = client.ask(query(sql))
        assert "E" not in kinds(found), [str(each) for each in found]
        client.__dict__.setdefault("heard", []).extend(m for m in found if m.kind == "A")
    return [each for each in found if each.kind != "A"]


def worker_of(client):
    return client.pid & 1  # of two


def run(text, name="", values=()):
    return parse(name, text) + bind("", name, values) + execute() + sync()


# ----------------------------------------------------------------------------------- who gets what

def test_all_who_listen_get_everything_once_and_in_order(proxy, channel):
    other = next(_channels)
    with clients(proxy, 14) as listeners, proxy.connect() as sender, proxy.connect() as stranger:
        if not proxy.is_direct:
            assert len({worker_of(c) for c in listeners}) == 2
        for each in listeners:
            ok(each, f"LISTEN {channel}")
        ok(listeners[0], f"LISTEN {other}")
        ok(listeners[1], f"LISTEN {channel}")  # once more is nothing more
        ok(stranger, f"LISTEN {other}")
        expected = [str(number) for number in range(40)]
        for number in expected[:20]:
            ok(sender, f"NOTIFY {channel}, '{number}'")
        ok(sender, "BEGIN", *[f"SELECT pg_notify('{channel}', '{n}')" for n in expected[20:]],
           "COMMIT")
        for each in listeners:
            assert read_news(each, 40) == expected
        ok(sender, f"NOTIFY {other}, 'end'")
        assert read_news(stranger, 1) == read_news(listeners[0], 1) == ["end"]
        ok(listeners[1], "SELECT 1")
        assert listeners[1].is_quiet(0.05)


def test_databases_are_apart(proxy, channel):
    with proxy.connect() as here, proxy.connect(database="second") as there:
        ok(here, f"LISTEN {channel}")
        ok(there, f"LISTEN {channel}", f"NOTIFY {channel}, 'there'")
        ok(here, f"NOTIFY {channel}, 'here'")
        assert read_news(there, 1) == ["there"]
        assert read_news(here, 1) == ["here"]


def test_roles_share_what_is_notified(proxy, channel):
    with proxy.connect() as one, proxy.connect(user="other") as two:
        ok(one, f"LISTEN {channel}")
        ok(two, f"LISTEN {channel}", f"NOTIFY {channel}, 'x'")
        assert read_news(one, 1) == read_news(two, 1) == ["x"]


def test_the_encoding_is_the_clients(proxy, channel):
    with proxy.connect(parameters={"client_encoding": "LATIN1"}) as latin, proxy.connect() as plain:
        for each in (latin, plain):
            ok(each, f"LISTEN {channel}")
        with proxy.connect() as sender:
            ok(sender, f"NOTIFY {channel}, 'caf\u00e9'")
        assert b"caf\xe9\0" in latin.read().body
        assert "caf\u00e9\0".encode() in plain.read().body


# ------------------------------------------------------------------- what is listened to, and when

# Each: what is said, message by message, and what is listened to afterwards.
SCRIPTS = [
    ("LISTEN a; LISTEN b; SELECT 1", "a b"),
    ("LISTEN a | UNLISTEN a", ""),
    ("LISTEN a | LISTEN b | UNLISTEN a", "b"),
    ("LISTEN a; LISTEN b | UNLISTEN *", ""),
    ("LISTEN a | DISCARD ALL", ""),
    ("LISTEN a | DISCARD ALL | LISTEN b", "b"),
    ('LISTEN "B c" | LISTEN "say ""hi""" | LISTEN Small', 'B c|say "hi"|small'),
    ("BEGIN; LISTEN a; COMMIT", "a"),
    ("BEGIN; LISTEN a; ROLLBACK", ""),
    ("BEGIN | LISTEN a | COMMIT", "a"),
    ("BEGIN | LISTEN a | ROLLBACK", ""),
    ("BEGIN | LISTEN a | SELECT 1/0 | LISTEN b | COMMIT", ""),
    ("LISTEN a; SELECT 1/0", ""),
    ("BEGIN; LISTEN a; COMMIT; SELECT 1/0", "a"),
    ("LISTEN a | BEGIN | UNLISTEN a | ROLLBACK", "a"),
    ("LISTEN a | BEGIN | UNLISTEN a | COMMIT", ""),
    ("LISTEN a | BEGIN | UNLISTEN a | LISTEN a | COMMIT", "a"),
    ("LISTEN a | BEGIN | SAVEPOINT s | UNLISTEN a | ROLLBACK TO s | COMMIT", "a"),
    ("LISTEN a | BEGIN | SAVEPOINT s | UNLISTEN a | RELEASE s | COMMIT", ""),
    ("BEGIN | SAVEPOINT s | LISTEN a | ROLLBACK TO s | LISTEN b | COMMIT", "b"),
    ("LISTEN a | BEGIN; SAVEPOINT s; UNLISTEN a; ROLLBACK TO s; LISTEN b; COMMIT", "a b"),
    ("LISTEN a | SELECT 1; UNLISTEN a; SELECT 2", ""),
    ("LISTEN a | BEGIN | SELECT 1/0 | UNLISTEN a | ROLLBACK", "a"),
    ("LISTEN a | BEGIN; LISTEN b; COMMIT AND CHAIN | UNLISTEN a | ROLLBACK", "a b"),
    ("LISTEN a | START TRANSACTION READ ONLY | UNLISTEN a | COMMIT", ""),
    ("LISTEN a | UNLISTEN b", "a"),
    ("LISTEN", ""),
    ("LISTEN a | LISTEN 1x", "a"),
    ("LISTEN a | SELECT 1 | INSERT INTO nothing VALUES (1) | SELECT 2", "a"),
]


def say_simple(client, statement):
    return client.ask(query(statement))


def say_extended(client, statement):
    return client.ask(run(statement))


def say_named(client, statement):
    """Prepared beforehand, as some drivers do with everything."""
    client.ask(parse("s", statement), sync())
    found = client.ask(bind("", "s"), execute(), sync())
    client.ask(pgwire.close("S", "s"), sync())
    return found


@pytest.mark.parametrize("say", [say_simple, say_extended, say_named])
def test_what_is_listened_to_is_what_postgresql_would_listen_to(proxy, say):
    with clients(proxy, len(SCRIPTS)) as listeners, proxy.connect() as sender:
        for client, (script, expected) in zip(listeners, SCRIPTS):
            if say is not say_simple and ";" in script:
                continue  # one statement in each message there
            for statement in script.split(" | "):
                say(client, statement)
            names = expected.split("|") if "|" in expected else expected.split()
            found = rows(say(client, "SELECT pg_listening_channels() ORDER BY 1"))
            assert [name for name, in found] == sorted(names), script
            for name in ("a", "b"):
                ok(sender, f"NOTIFY {name}, '{name} {client.pid}'")
            wanted = [f"{name} {client.pid}" for name in ("a", "b") if name in names]
            assert read_news(client, len(wanted)) == wanted, script
            ok(client, "UNLISTEN *")
        for client in listeners:
            ok(client, "SELECT 1")
            assert not client.heard


def test_the_answers_are_those_of_postgresql(proxy, direct):
    """To the same messages, in the same order, with the same states."""
    sent = [
        (query("LISTEN a"), 1), (query("LISTEN a; LISTEN b; SELECT 1"), 1),
        (query("BEGIN"), 1), (query("LISTEN c"), 1), (query("UNLISTEN a"), 1), (query("COMMIT"), 1),
        (run("LISTEN d"), 1), (run("UNLISTEN *"), 1),
        (query("BEGIN; SELECT 1/0"), 1), (query("LISTEN a"), 1), (query("ROLLBACK"), 1),
        (query("LISTEN a") + query("SELECT 1") + run("LISTEN b") + query("UNLISTEN *"), 4),
        (parse("n", "LISTEN a") + sync() + bind("", "n") + execute() + sync() +
         query("SELECT 2"), 3),
        (parse("", "LISTEN a") + describe("S", "") + bind("", "") + describe("P", "") + execute() +
         sync(), 1),
        (query("LISTEN"), 1), (query("UNLISTEN *; DISCARD ALL"), 1), (query("DISCARD ALL"), 1),
        (query("SELECT 1"), 1),
    ]
    with proxy.connect() as through, direct.connect() as plain:
        for messages, count in sent:
            found = []
            for client in (through, plain):
                client.send(messages)
                found.append([(m.kind, m.sqlstate if m.kind == "E" else m.body)
                              for m in client.read_until_ready(count) if m.kind not in "NS"])
            assert found[0] == found[1], messages


def test_what_is_notified_after_the_acknowledgement_arrives(proxy):
    with proxy.connect() as listener, proxy.connect() as sender:
        for _ in range(25):
            name = next(_channels)
            ok(listener, f"LISTEN {name}")
            ok(sender, f"NOTIFY {name}, '{name}'")
            assert read_news(listener, 1) == [name]


def test_who_pipelines_listen_and_notify_gets_it(proxy, channel):
    with proxy.connect() as client:
        client.send(query(f"LISTEN {channel}"), query(f"NOTIFY {channel}, 'simple'"),
                    run(f"UNLISTEN {channel}"), run(f"NOTIFY {channel}, 'nobody'"),
                    run(f"LISTEN {channel}"), run(f"NOTIFY {channel}, 'extended'"))
        found = client.read_until_ready(6)
        while len(payloads(found)) < 2:
            found.append(client.read())
        assert payloads(found) == ["simple", "extended"]
        assert "E" not in kinds(found)


# -------------------------------------------------------------------------------- between messages

def test_nothing_is_told_inside_of_a_transaction_block(proxy, channel):
    with proxy.connect() as client, proxy.connect() as sender, proxy.connect() as witness:
        for each in (client, witness):
            ok(each, f"LISTEN {channel}")
        ok(client, "BEGIN", f"NOTIFY {channel}, 'own'")
        ok(sender, f"NOTIFY {channel}, 'before'")
        assert read_news(witness, 1) == ["before"]
        inside = ok(client, "SELECT 1")
        assert kinds(inside) == "TDCZ"
        client.send(query("COMMIT"))
        found = client.read_until("Z")
        while len(payloads(found)) < 2:
            found.append(client.read())
        assert payloads(found) == ["before", "own"]
        assert read_news(witness, 1) == ["own"]


def test_rows_are_not_interrupted(proxy, channel):
    """Notifications come while a client's rows do: before its ReadyForQuery, or behind it."""
    with proxy.connect() as client, proxy.connect() as sender, proxy.connect() as witness:
        for each in (client, witness):
            ok(each, f"LISTEN {channel}")
        client.send(query("SELECT repeat('x', 1000), pg_sleep(0.0005) "
                          "FROM generate_series(1, 400)"))
        for number in range(50):
            ok(sender, f"NOTIFY {channel}, '{number}'")
        assert len(read_news(witness, 50)) == 50
        found = client.read_until_ready()
        before = kinds(found)
        assert before.lstrip("A").startswith("T" + "D" * 400 + "C")
        while len(payloads(found)) < 50:
            found.append(client.read())
        assert payloads(found) == [str(number) for number in range(50)]


def test_who_waits_for_a_connection_is_told_meanwhile(start_proxy, channel):
    proxy = start_proxy("transaction", pool_size=1)
    with proxy.connect() as client, proxy.connect() as holder, proxy.server.admin("app") as sender:
        ok(client, f"LISTEN {channel}")
        ok(holder, "BEGIN")
        client.send(query("SELECT 'at last'"))
        sender.rows(f"NOTIFY {channel}, 'waiting'")
        if KIND == "holdfast":
            assert read_news(client, 1) == ["waiting"]
        ok(holder, "COMMIT")
        assert rows(client.read_until_ready()) == [("at last",)]


def test_statement_mode_listens_too(statement_proxy, channel):
    with statement_proxy.connect() as client, statement_proxy.connect() as sender:
        ok(client, f"LISTEN {channel}")
        ok(sender, f"NOTIFY {channel}, 'x'")
        assert read_news(client, 1) == ["x"]
        ok(client, f"UNLISTEN {channel}")
        ok(sender, f"NOTIFY {channel}, 'x'")
        ok(client, "SELECT 1")
        assert client.is_quiet(0.05)


# ----------------------------------------------------------------- clients that share a connection

def test_channels_leave_nothing_on_the_connection(start_proxy, channel):
    proxy = start_proxy("transaction", pool_size=1)
    if proxy.is_direct:
        return
    with proxy.connect() as one, proxy.connect() as two:
        ok(one, f"LISTEN {channel}")
        ok(two, f"LISTEN {channel}_two")
        assert two.rows("SELECT pg_listening_channels()") == [(f"{channel}_two",)]
        assert one.rows("SELECT pg_listening_channels()") == [(channel,)]
        ok(one, "BEGIN", "LISTEN unfinished")
        one.close()
        assert two.rows("SELECT pg_listening_channels()") == [(f"{channel}_two",)]
        ok(two, "UNLISTEN *")
        assert two.rows("SELECT pg_listening_channels()") == []
        # What no text tells, but that anything may happen in it.
        ok(two, f"DO $$BEGIN EXECUTE 'LISTEN {channel}'; END$$", f"NOTIFY {channel}, 'found out'")
        assert read_news(two, 1) == ["found out"]
        assert two.rows("SELECT pg_listening_channels()") == [(channel,)]


@proxied
def test_a_client_that_keeps_its_connection_listens_like_others(proxy, channel):
    with proxy.connect() as pinned, proxy.connect() as sender:
        ok(pinned, f"LISTEN {channel}", f"CREATE TEMP TABLE {channel} (id int)",
           f"LISTEN {channel}_two")
        ok(sender, f"NOTIFY {channel}, 'one'", f"NOTIFY {channel}_two, 'two'")
        assert read_news(pinned, 2) == ["one", "two"]
        ok(pinned, f"UNLISTEN {channel}", f"NOTIFY {channel}, 'no'", f"NOTIFY {channel}_two, 'yes'")
        assert read_news(pinned, 1) == ["yes"]
        assert pinned.rows("SELECT pg_listening_channels()") == [(f"{channel}_two",)]
        ok(pinned, f"DROP TABLE {channel}", f"NOTIFY {channel}_two, 'free'")
        assert read_news(pinned, 1) == ["free"]


# -------------------------------------------------------------------------------------------- gaps

def backend_of(proxy, channel):
    """The process at the other end of the connection that listens to a channel."""
    with proxy.connect(database="holdfast") as console:
        pids = {row[6] for row in console.rows("SHOW CHANNELS") if row[1] == channel}
    assert len(pids) == 1 and pids != {"0"}
    return int(pids.pop())


def cut(proxy, channel):
    """Ends the connection that listens to a channel."""
    proxy.server.sql(f"SELECT pg_terminate_backend({backend_of(proxy, channel)})")


@proxied
def test_a_gap_is_told_with_its_times_and_channels(start_proxy, channel):
    proxy = start_proxy("transaction", listen={"workers": 2})
    proxy.expect_log("notifications may have been lost")
    with clients(proxy, 6) as listeners, proxy.connect() as busy, proxy.connect() as sender:
        for each in [*listeners, busy]:
            ok(each, f"LISTEN {channel}")
        ok(listeners[0], f"LISTEN {channel}_more")
        ok(sender, f"NOTIFY {channel}, 'before'")
        ok(busy, "BEGIN")
        cut(proxy, f"{channel}_more")
        for each in listeners:
            first, second = each.read(), each.read()
            assert payloads([first]) == ["before"]
            assert second.kind == "N" and second.sqlstate == GAP
            assert "may be lost" in second.fields["M"]
            fields = second.fields
            assert fields["S"] == fields["V"] == "WARNING"
            assert fields["M"].count("T") == fields["M"].count("Z") == 2, fields["M"]
            assert channel in fields["D"]
        assert f"{channel}, {channel}_more." in fields["D"] or each is not listeners[0]
        ok(sender, f"NOTIFY {channel}, 'after'")
        for each in listeners:
            assert read_news(each, 1) == ["after"]
        assert kinds(ok(busy, "SELECT 1")) == "TDCZ"  # it is in a transaction
        busy.send(query("COMMIT"))
        found = busy.heard + busy.read_until("Z")
        while len(payloads(found)) < 2 or "N" not in kinds(found):
            found.append(busy.read())
        assert [m.kind for m in found if m.kind in "AN"] == ["A", "N", "A"]
        assert payloads(found) == ["before", "after"]


@proxied
def test_a_restart_of_the_server_is_a_gap(start_proxy, postgres, channel):
    proxy = start_proxy("transaction")
    proxy.expect_log("notifications may have been lost|could not connect|server closed")
    with proxy.connect() as listener, proxy.connect() as late:
        ok(listener, f"LISTEN {channel}")
        postgres.restart()
        warning = listener.read(30)
        assert (warning.kind, warning.sqlstate) == ("N", GAP)
        ok(late, f"LISTEN {channel}", f"NOTIFY {channel}, 'again'")
        assert read_news(late, 1) == read_news(listener, 1) == ["again"]
        assert late.is_quiet(0.05)  # who came later has missed nothing


@proxied
def test_another_role_listens_where_the_first_may_not_log_in(start_proxy, postgres, channel):
    proxy = start_proxy("transaction")
    proxy.expect_log("notifications may have been lost|could not connect.*role=other")
    with proxy.connect(user="other") as first, proxy.connect() as second:
        ok(first, f"LISTEN {channel}")  # whose role the connection is opened with
        ok(second, f"LISTEN {channel}")
        try:
            postgres.sql("ALTER ROLE other NOLOGIN")
            cut(proxy, channel)
            for each in (first, second):
                assert each.read(30).sqlstate == GAP
            ok(second, f"NOTIFY {channel}, 'on'")
            assert read_news(first, 1) == read_news(second, 1) == ["on"]
            role = postgres.sql("SELECT usename FROM pg_stat_activity WHERE pid = "
                                f"{backend_of(proxy, channel)}")
            assert role == [("app",)]
        finally:
            postgres.sql("ALTER ROLE other LOGIN")


@proxied
def test_a_connection_that_does_not_answer_is_replaced(start_proxy, channel):
    """After LISTEN_CHECK_NS, which is 10 s. A round that a LISTEN waits for is a probe like any."""
    proxy = start_proxy("transaction", server_down_timeout="60s")
    proxy.expect_log("notifications may have been lost|does not answer")
    with proxy.connect() as listener, proxy.connect() as late:
        ok(listener, f"LISTEN {channel}")
        mute = backend_of(proxy, channel)
        os.kill(mute, signal.SIGSTOP)
        try:
            late.send(query(f"LISTEN {channel}_more"))
            warning = listener.read(60)
            assert (warning.kind, warning.sqlstate) == ("N", GAP)
            late.read_until_ready(seconds=60)
            assert backend_of(proxy, channel) != mute
            ok(late, f"NOTIFY {channel}, 'on'", f"NOTIFY {channel}_more, 'too'")
            assert read_news(listener, 1) == ["on"] and read_news(late, 1) == ["too"]
        finally:
            os.kill(mute, signal.SIGCONT)


@proxied
def test_who_wants_it_is_disconnected_after_a_gap(start_proxy, channel):
    proxy = start_proxy("transaction", listen_gap="disconnect")
    proxy.expect_log("notifications may have been lost")
    with proxy.connect() as listener, proxy.connect() as stranger:
        ok(listener, f"LISTEN {channel}")
        ok(stranger, "SELECT 1")
        cut(proxy, channel)
        found = listener.read_to_end()
        assert [m.kind for m in found] == ["E"] and found[0].fields["S"] == "FATAL"
        assert found[0].sqlstate == "57P01"
        ok(stranger, "SELECT 1")


@proxied
def test_a_listen_that_cannot_be_kept_is_not_acknowledged(start_proxy, channel):
    """No connection is left for listening."""
    proxy = start_proxy("transaction", pool_size=1, server_down_timeout="1500ms",
                        limits={"server_connections_max": 1})
    proxy.expect_log("too many|could not")
    with proxy.connect() as client:
        client.send(query(f"LISTEN {channel}"))
        found = client.read_to_end()
        assert kinds(found) == "CE" and found[1].sqlstate == "08006"
        assert found[1].fields["S"] == "FATAL"
        assert found[1].fields["M"] == "could not listen: no connection to the server"
    with proxy.connect() as client:
        assert client.rows("SELECT pg_listening_channels()") == []


@proxied
def test_the_console_shows_and_pauses_what_is_listened_to(start_proxy, channel):
    proxy = start_proxy("transaction")
    proxy.expect_log("notifications may have been lost")
    with clients(proxy, 2) as (one, two), proxy.connect(database="holdfast") as console:
        for each in (one, two):
            ok(each, f"LISTEN {channel}")
        ok(one, f"LISTEN {channel}_more", f"NOTIFY {channel}, 'x'")
        assert read_news(one, 1) == read_news(two, 1) == ["x"]
        shown = sorted(console.rows("SHOW CHANNELS"))
        assert [row[:6] for row in shown] == [("app", channel, "2", "2", "0", "1"),
                                              ("app", f"{channel}_more", "1", "0", "0", "1")]
        assert [row[0] for row in console.rows("SHOW POOLS")] == ["app"]
        console.rows("PAUSE")  # ends when no server connection is left
        assert [row[5] for row in console.rows("SHOW CHANNELS")] == ["0", "0"]
        console.rows("RESUME")
        assert one.read().sqlstate == two.read().sqlstate == GAP
        ok(two, f"NOTIFY {channel}, 'y'")
        assert read_news(one, 1) == read_news(two, 1) == ["y"]


# ------------------------------------------------------------------------------------------ limits

@proxied
def test_a_slow_listener_has_a_limit_and_is_told(start_proxy, channel):
    proxy = start_proxy("transaction", listen_queue="64kB")
    count, size = 1500, 7000
    with proxy.connect(receive_buffer=8192) as slow, clients(proxy, 2) as (sender, witness):
        ok(witness, f"LISTEN {channel}_end")
        ok(slow, f"LISTEN {channel}")
        for first in range(0, count, 100):
            ok(sender, f"SELECT pg_notify('{channel}', i || repeat('x', {size})) FROM "
                       f"generate_series({first}, {first + 99}) i")
        ok(sender, f"NOTIFY {channel}_end, 'sent'")
        assert read_news(witness, 1) == ["sent"]
        numbers, warnings = [], []
        while not warnings:
            message = slow.read()
            if message.kind == "A":
                numbers.append(int(Notification(message).payload.strip("x")))
            else:
                warnings.append(message)
        assert numbers == list(range(len(numbers))) and 0 < len(numbers) < count
        assert warnings[0].kind == "N" and warnings[0].sqlstate == GAP
        assert f"{count - len(numbers)} did not find room" in warnings[0].fields["D"]
        ok(sender, f"NOTIFY {channel}, 'again'")
        assert read_news(slow, 1) == ["again"]


@proxied
def test_a_listener_in_a_transaction_holds_nobody_back(proxy, channel):
    """More news wait for it than may be on their way to workers; others are told theirs."""
    with clients(proxy, 3) as (held, quick, sender):
        ok(held, f"LISTEN {channel}", "BEGIN", "SELECT 1")
        ok(quick, f"LISTEN {channel}_quick")
        ok(sender, f"SELECT count(pg_notify('{channel}', n::text)) FROM "
                   "generate_series(1, 12000) n")
        ok(sender, f"NOTIFY {channel}_quick, 'one'")
        assert read_news(quick, 1) == ["one"]


@proxied
def test_channels_have_a_limit(start_proxy, channel):
    proxy = start_proxy("transaction", limits={"listen_channels_per_client_max": 3,
                                               "listen_channels_max": 5})
    with proxy.connect() as one, proxy.connect() as two:
        ok(one, *[f"LISTEN {channel}_{i}" for i in range(3)], "UNLISTEN *",
           *[f"LISTEN {channel}_{i}" for i in range(3)])
        one.send(query(f"LISTEN {channel}_3"))
        last = one.read_to_end()[-1]
        assert (last.sqlstate, last.fields["M"]) == ("53400", "too many channels are listened to")
        with proxy.connect() as three:
            ok(two, *[f"LISTEN {channel}_{i}" for i in range(3)])
            ok(three, *[f"LISTEN {channel}_{i}" for i in range(3, 5)])
            three.send(query(f"LISTEN {channel}_5"))
            last = three.read_to_end()[-1]
            assert last.sqlstate == "53400" and "listen_channels_max is 5" in last.fields["D"]
            assert last.fields["M"] == "too many channels are listened to"
        ok(two, "SELECT 1")


@proxied
def test_many_channels_are_kept_through_primings_and_gaps(start_proxy, channel):
    proxy = start_proxy("transaction", listen_queue="1MB")
    proxy.expect_log("notifications may have been lost")
    names = [f"{channel}_{i}_{'n' * 40}" for i in range(600)]
    with proxy.connect() as client, proxy.connect() as sender:
        ok(client, "; ".join(f"LISTEN {name}" for name in names))
        ok(client, f"UNLISTEN {names[0]}")
        assert len(client.rows("SELECT pg_listening_channels()")) == 599
        cut(proxy, names[1])
        warning = client.read()
        assert warning.sqlstate == GAP and ", ..." in warning.fields["D"]
        ok(sender, "; ".join(f"NOTIFY {name}, '{i}'" for i, name in enumerate(names)))
        assert read_news(client, 599) == [str(i) for i in range(1, 600)]


@proxied
def test_the_connection_is_shared(start_proxy, postgres, channel):
    proxy = start_proxy("transaction", listen={"workers": 2}, pool_size=2)
    with clients(proxy, 8) as listeners:
        for number, each in enumerate(listeners):
            ok(each, f"LISTEN {channel}_{number}")
        with proxy.connect(database="holdfast") as console:
            shown = console.rows("SHOW CHANNELS")
        assert len(shown) == 8 and len({row[6] for row in shown}) == 1
        assert postgres.sql("SELECT application_name FROM pg_stat_activity WHERE "
                            f"pid = {shown[0][6]}") == [("holdfast listen",)]


@proxied
def test_a_notification_that_is_too_long_in_the_clients_encoding_is_a_gap(start_proxy, postgres,
                                                                         channel):
    """One byte for the server is three for the client: it was left out without a word."""
    postgres.sql("CREATE DATABASE latin ENCODING 'LATIN9' LOCALE 'C' TEMPLATE template0")
    proxy = start_proxy("transaction")
    proxy.expect_log("notifications may have been lost")
    options = {"database": "latin", "parameters": {"client_encoding": "UTF8"}}
    with clients(proxy, 2, **options) as (listener, sender):
        ok(listener, f"LISTEN {channel}")
        ok(sender, f"SELECT pg_notify('{channel}', repeat(chr(164), 7900))")
        assert listener.read().sqlstate == GAP
        ok(sender, f"SELECT pg_notify('{channel}', repeat(chr(164), 10))")
        assert read_news(listener, 1) == [10 * "\u20ac"]


# ----------------------------------------------------------------------------------------- drivers

def test_psycopg(proxy, channel):
    with psycopg.connect(proxy.dsn(), autocommit=True) as listener, \
            psycopg.connect(proxy.dsn()) as sender:
        listener.execute(f"LISTEN {channel}")
        for number in range(5):
            sender.execute("SELECT pg_notify(%s, %s)", (channel, str(number)))
        sender.commit()
        found = []
        for notify in listener.notifies():
            found.append(notify.payload)
            if len(found) == 5:
                break
        assert found == ["0", "1", "2", "3", "4"]
        with listener.transaction():
            listener.execute(f"UNLISTEN {channel}")


def test_psycopg2(proxy, channel):
    listener, sender = psycopg2.connect(proxy.dsn()), psycopg2.connect(proxy.dsn())
    try:
        cursor = listener.cursor()
        cursor.execute(f"LISTEN {channel}")
        listener.commit()
        sender.autocommit = True
        sender.cursor().execute(f"NOTIFY {channel}, 'hello'")

        def has_come():
            listener.poll()
            return listener.notifies
        wait_until(has_come, 15, "a notification")
        assert [each.payload for each in listener.notifies] == ["hello"]
    finally:
        listener.close()
        sender.close()


def test_node_postgres_and_postgres_js(proxy, channel):
    done = subprocess.run(["node", DRIVERS / "listen.js", proxy.url(), channel], timeout=200,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["pg", "postgres"]
