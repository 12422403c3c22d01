"""Ten thousand clients, and those that read slowly, write slowly, say nothing, or never finish
logging in: memory stays bounded, and the others do not notice.

SOAK_MINUTES=30 makes the last test what its name says; without, it is over in seconds.
"""

import contextlib
import os
import resource
import socket
import struct
import subprocess
import threading
import time

import pgwire
import pytest
from demo_process import wait_until
from pgwire import bind, execute, kinds, parse, query, rows, startup, sync
from test_proxy_wrong_row import Weather, checker, stormy, wrong_row  # noqa: F401

MB = 1 << 20
SOAK_SECONDS = float(os.environ.get("SOAK_MINUTES", "0.15")) * 60


@pytest.fixture
def loaded(start_proxy):
    """A proxy in transaction mode with a pool of 20; the memory it had before anything happened."""
    def start(**settings):
        target = start_proxy("transaction", auth_type="trust", pool_size=20, **settings)
        if target.is_direct:
            pytest.skip("PostgreSQL has a process for each client")
        with target.connect() as c:
            c.value("SELECT 1")
        target.rss_before = target.rss_bytes
        return target
    return start


class Probe:
    """A client that does what it does while others misbehave, and remembers its worst wait."""

    def __init__(self, target):
        self.target = target
        self.worst = 0.0
        self.count = 0
        self.failure = None
        self.is_over = threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        return self

    def _run(self):
        try:
            while not self.is_over.wait(0.01):
                begun = time.monotonic()
                if self.count % 10 == 0:
                    self.target.connect().close()
                with self.target.connect() as c:
                    assert c.value("SELECT 42") == "42"
                self.worst = max(self.worst, time.monotonic() - begun)
                self.count += 1
        except Exception as error:  # whatever it is, it is told in the test's own thread
            self.failure = error

    def __exit__(self, kind, *_):
        if kind is None:  # however little of the machine it got, it has seen something
            wait_until(lambda: self.count > 5 or self.failure is not None, 30, "others are served")
        self.is_over.set()
        self.thread.join()
        assert self.failure is None, repr(self.failure)

    def assert_unharmed(self, seconds=20):
        assert self.worst < seconds, f"somebody else waited for {self.worst:.2f} s"


@contextlib.contextmanager
def many(count, make):
    """What make(i) returns, so many times; all closed in the end."""
    opened = []
    try:
        for i in range(count):
            opened.append(make(i))
        yield opened
    finally:
        for each in opened:
            each.close()


def grown(target):
    return target.rss_bytes - target.rss_before


def needs_files(count):
    """So many clients in one process, and the proxy's in another."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < count + 1000:
        pytest.skip("a process may not open so many files here (ulimit -Hn)")


def test_ten_thousand_clients_share_twenty_connections(loaded):
    needs_files(10_000)
    target = loaded(limits={"clients_max": 12000}, query_wait_timeout="60s")
    watched = []
    is_over = threading.Event()

    def watch():
        while not is_over.wait(0.2):
            watched.append(target.rss_bytes)
    thread = threading.Thread(target=watch)
    thread.start()
    counts, evidence = wrong_row(target, "--calm", "--hang", "55", "--least", "10000",
                                 clients=10_000, seconds=6)
    is_over.set()
    thread.join()
    assert not counts["wrong"], evidence
    assert counts["logins"] >= 10_000 and counts["turns"] >= 10_000, counts
    assert max(watched) < 400 * MB, f"{max(watched) // MB} MB"


def test_ten_thousand_clients_are_shown_in_bounded_memory(loaded):
    """All of them, each once, a piece at a time."""
    count = 10_000
    needs_files(count)
    resource.setrlimit(resource.RLIMIT_NOFILE, (
        max(resource.getrlimit(resource.RLIMIT_NOFILE)[0], count + 500),
        resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    target = loaded(limits={"clients_max": 12000}, listen={"log_connections": "off",
                                                           "log_disconnections": "off"})
    hello = startup({"user": "app", "database": "app"})

    def start(_):
        sock = pgwire.open_socket(*target.address)
        sock.sendall(hello)
        return sock
    with many(count, start) as socks:
        for sock in socks:
            said = b""
            while not said.endswith(b"Z\0\0\0\5I"):
                said += sock.recv(4096)
        with target.connect(database="pgbouncer", seconds=60) as console:
            before = target.rss_bytes
            console.send(query("SHOW CLIENTS"))
            shown = rows(console.read_until_ready(seconds=60))
            assert len({row[14] for row in shown}) == len(shown)  # ptr
            assert sum(row[2] == "app" for row in shown) == count
            assert target.rss_bytes - before < 8 * MB


def test_slow_readers_cost_bounded_memory_and_harm_nobody(loaded):
    target = loaded()

    def slow_reader(_):
        c = target.connect(receive_buffer=4096)
        c.send(query("SELECT repeat('s', 1000) FROM generate_series(1, 1000000)"))
        return c
    with many(12, slow_reader), Probe(target) as probe:
        time.sleep(3)
        assert grown(target) < 32 * MB
    probe.assert_unharmed()


def test_a_client_that_sends_and_never_reads_is_not_read_from_for_ever(loaded):
    target = loaded()
    with target.connect(receive_buffer=4096) as c, Probe(target) as probe:
        one = query("SELECT repeat('s', 100000)") * 100
        c.sock.setblocking(False)
        sent = 0
        deadline = time.monotonic() + 2.5
        while time.monotonic() < deadline:
            try:
                sent += c.sock.send(one)
            except BlockingIOError:
                time.sleep(0.01)
        assert sent < 32 * MB, "all of it was taken in"
        assert grown(target) < 32 * MB
    probe.assert_unharmed()


def test_slow_writers_cost_bounded_memory_and_harm_nobody(loaded):
    """Each has said that it sends a gigabyte, has sent a megabyte, and goes on by the byte."""
    target = loaded()

    def slow_writer(_):
        c = target.connect()
        c.send(b"Q" + struct.pack("!i", (1 << 30) - 2) + b"SELECT '" + b"w" * MB)
        return c
    with many(12, slow_writer) as writers, Probe(target) as probe:
        for _ in range(20):
            for each in writers:
                each.send(b"w")
            time.sleep(0.1)
        assert grown(target) < 48 * MB
    probe.assert_unharmed()


def test_clients_that_have_sent_half_a_message_hold_no_connection(loaded):
    target = loaded()

    def half(i):
        c = target.connect()
        data = parse("", "SELECT $1::text") + bind("", "", ["half a message"]) + execute() + sync()
        c.send(data[:1 + i % 22])  # within the Parse
        return c
    with many(200, half), Probe(target) as probe:
        time.sleep(2)
    probe.assert_unharmed()


def test_sockets_that_say_nothing_are_closed_in_the_end_and_harm_nobody(loaded):
    target = loaded(limits={"client_login_timeout": "3s"})
    target.expect_log("login took too long")
    before = target.descriptors
    with many(2000, lambda _: pgwire.open_socket(*target.address)), Probe(target) as probe:
        time.sleep(2)
        assert grown(target) < 32 * MB
        wait_until(lambda: target.descriptors < before + 60, 10, "the silent ones are closed")
    probe.assert_unharmed()


def test_a_flood_of_half_finished_logins_harms_nobody(start_proxy):
    """Each takes a nonce and a place in what is kept for logins, and is never heard of again."""
    target = start_proxy("transaction", limits={"client_login_timeout": "3s"})
    if target.is_direct:
        pytest.skip("PostgreSQL has a process for each client")
    target.expect_log("login took too long")
    target.connect().close()
    target.rss_before, before = target.rss_bytes, target.descriptors
    hello = startup({"user": "app", "database": "app", "application_name": "f" * 5000})

    def half_login(i):
        sock = pgwire.open_socket(*target.address)
        sock.sendall(hello if i % 3 else hello[:50])
        if i % 3 == 2:
            sock.sendall(pgwire.Scram("", "wrong").first())
        return sock
    with many(1500, half_login), Probe(target) as probe:
        time.sleep(1)
        assert grown(target) < 64 * MB
        wait_until(lambda: target.descriptors < before + 60, 10, "they are closed")
    probe.assert_unharmed()


def test_clients_that_reset_at_once_leave_nothing_behind(loaded):
    target = loaded()
    before = target.descriptors
    with Probe(target) as probe:
        for i in range(1500):
            sock = pgwire.open_socket(*target.address)
            if i % 2:
                sock.sendall(startup({"user": "trusted", "database": "app"})[:i % 40])
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
    probe.assert_unharmed()
    wait_until(lambda: target.descriptors < before + 10, 15, "descriptors are given back")
    assert grown(target) < 16 * MB


def test_a_message_far_larger_than_the_memory_for_it_passes(loaded):
    """100 MB each way, while the proxy is allowed 16 MB for everything under way."""
    target = loaded(listen={"memory": "16MB"})
    size = 100 * MB
    with target.connect() as c:
        chunk = b"g" * MB
        head = text_bind_head(size)
        c.send(parse("", "SELECT length($1::text)", [25]), head, seconds=60)
        for _ in range(size // MB):
            c.send(chunk, seconds=60)
        c.send(struct.pack("!h", 0), execute(), sync())
        assert rows(c.read_until_ready(seconds=60)) == [(str(size),)]
        c.send(query(f"SELECT repeat('g', {size})"))
        received = 0
        while received < size:
            c.received.clear()
            c._step(time.monotonic() + 30)
            received += len(c.received)
        assert grown(target) < 32 * MB


def text_bind_head(size):
    """A Bind of one value of that size up to where the value begins."""
    body = b"\0\0" + struct.pack("!hHi", 0, 1, size)
    return b"B" + struct.pack("!i", 4 + len(body) + size + 2) + body


def test_login_storms_are_served_and_leave_nothing_behind(start_proxy):
    target = start_proxy("transaction", limits={"clients_max": 100})
    if target.is_direct:
        pytest.skip("PostgreSQL refuses them")
    with many(100, lambda _: target.connect()) as everybody:
        with pytest.raises(pgwire.ServerError) as refused:
            target.connect()
        assert refused.value.sqlstate == "53300"
        assert all(each.value("SELECT 1") == "1" for each in everybody)
    wait_until(lambda: can_connect(target), 15, "there is room again")


def can_connect(target):
    try:
        target.connect().close()
        return True
    except pgwire.ServerError:
        return False


def waiting(console):
    return sum("waits" in row[7] for row in console.rows("SHOW STATEMENTS"))


def test_a_client_in_the_queue_is_served_in_its_turn(loaded):
    """First come, first served, whichever worker took the connection."""
    target = loaded()
    with many(20, lambda _: target.connect()) as holders, \
            many(30, lambda _: target.connect()) as q, \
            target.connect(database="holdfast") as console:
        for each in holders:
            each.rows("BEGIN")
        for count, each in enumerate(q, 1):
            each.send(query("SELECT pg_sleep(0.02), clock_timestamp()"))
            wait_until(lambda n=count: waiting(console) == n, 10, "it is in the queue")
            time.sleep(0.02)  # more than what workers take for the same time
        holders[0].rows("COMMIT")  # one connection serves them all, one after another
        done = [rows(each.read_until_ready())[0][1] for each in q]
        late = sum(1 for i, moment in enumerate(done) if sorted(done).index(moment) != i)
        assert late <= 4, f"{late} of {len(done)} were served out of their turn"


def test_soak_memory_and_descriptors_are_flat(start_proxy, stormy):  # noqa: F811
    target = start_proxy("transaction", server=stormy, pool_size=12, auth_type="trust")
    if target.is_direct:
        pytest.skip("there is no proxy")
    target.expect_log("server|connect|client")
    with Weather(stormy, SOAK_SECONDS):
        process = subprocess.Popen([checker(), "--port", str(target.address[1]), "--clients", "300",
                                    "--seconds", str(SOAK_SECONDS)], stdout=subprocess.PIPE)
        samples = []
        while process.poll() is None:
            time.sleep(SOAK_SECONDS / 60)
            samples.append((target.rss_bytes, target.descriptors))
        output = process.stdout.read().decode()
    assert process.returncode == 0, output
    third = len(samples) // 3
    early, late = max(samples[third:2 * third]), max(samples[2 * third:])
    assert late[0] < early[0] * 1.1 + 8 * MB, f"from {early[0] // MB} to {late[0] // MB} MB"
    assert max(s[1] for s in samples[-third:]) < 300 + 100
    wait_until(lambda: target.descriptors < 120, 15, "descriptors are given back")
    assert kinds(target.connect().login).endswith("KZ")
