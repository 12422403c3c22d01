"""Several processes of the proxy, and several listeners of one: cancel requests that find their way
between instances, a budget of server connections that processes share, listeners with rules of
their own."""

import signal
import socket
import ssl
import threading

import pgwire
import proxy_rig
import pytest
from demo_process import wait_until


@pytest.fixture
def start_instances(proxy_place, postgres):
    """start(count, ports=None, **settings): so many processes, each with a folder of its own."""
    started = []

    def start(count, mode="transaction", ports=None, settings=lambda number: {}, **more):
        for number in range(1, count + 1):
            folder = proxy_place.new_folder()
            folder.mkdir(exist_ok=True)
            port = ports[number - 1] if ports else proxy_rig.free_port()
            target = proxy_rig.HoldfastProxy(folder, port, postgres, mode, **more,
                                             **settings(number))
            started.append(target)
            target.start()
        return started

    yield start
    for target in started:
        if target.process.poll() is None:
            assert target.stop() == 0, target.log
        target.reader.join(5)
        target.assert_quiet_log()


def with_sections(monkeypatch, **sections_of):
    """Adds sections to every configuration that is written in this test."""
    plain = proxy_rig.holdfast_config
    text = "".join(proxy_rig._yaml(name, value, 0)  # pylint: disable=protected-access
                   for name, value in sections_of.items())
    monkeypatch.setattr(proxy_rig, "holdfast_config",
                        lambda *args, **kwargs: plain(*args, **kwargs) + text)


# ------------------------------------------------------------------------------------------- peers

class Sleeper:
    """A client with a query that takes long; told is what it was told at last."""

    def __init__(self, target, version=pgwire.PROTOCOL_3_0, **options):
        self.client = target.connect(version=version, **options)
        self.told = None
        self.client.send(pgwire.query("SELECT pg_sleep(600)"))
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        try:
            self.told = self.client.read_until("EC", 300)[-1].sqlstate
        except (pgwire.Closed, OSError) as error:
            self.told = error

    def cancel_at(self, target, key=None):
        with pgwire.open_socket(*target.address) as sock:
            sock.sendall(pgwire.cancel_request(self.client.pid, key or self.client.key))
            try:
                assert sock.recv(1) == b""
            except ConnectionResetError:
                pass

    def end(self, target):
        wait_until(lambda: self.told or self.cancel_at(target), 15, "its query was cancelled")
        assert self.told == "57014"
        self.client.close()


def asleep(server):
    return len(server.sql("SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' "
                          "AND state = 'active'"))


def test_requests_on_their_way_to_a_peer_and_its_name_are_shown(start_instances, monkeypatch):
    """To one that takes them, and does not answer for a while."""
    family, _, _, _, address = socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family) as peer:
        peer.bind(address)
        peer.listen()
        with_sections(monkeypatch, peers={
            "two": {"id": 2, "host": "localhost", "port": peer.getsockname()[1]}})
        one, = start_instances(1, settings=lambda _: {"listen": {"instance_id": 1}})
        with one.connect(database="holdfast") as console:
            def show(what):
                return pgwire.rows(console.ask(pgwire.query(f"SHOW {what}")))
            assert show("PEER_POOLS") == [("2", "0", "0", "0", "0")] and not show("DNS_HOSTS")
            with pgwire.open_socket(*one.address) as sock:
                sock.sendall(pgwire.cancel_request(1 << 30 | 2 << 22, b"keys"))
                there, _ = peer.accept()
                with there:
                    assert there.recv(100)[12:] == b"keys\x48"
                    assert show("PEER_POOLS") == [("2", "1", "0", "1", "0")]
                    (name, ttl, addresses), = show("DNS_HOSTS")
                    assert name == "localhost" and 0 <= int(ttl) <= 15
                    assert address[0] in addresses.split(",")
                    assert dict(show("LISTS"))["dns_names"] == "1"
            wait_until(lambda: show("PEER_POOLS") == [("2", "0", "0", "0", "0")], 15, "it is over")


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_cancel_requests_find_the_right_instance(start_instances, postgres, monkeypatch, mode):
    """Through any of them, by a name and by an address, with short keys and long ones; and with a
    port that two instances share."""
    ports = [proxy_rig.free_port() for _ in range(2)]
    with_sections(monkeypatch, peers={
        "one": {"id": 1, "host": "127.0.0.1", "port": ports[0]},
        "two": {"id": 2, "host": "localhost", "port": ports[1]}})
    shared = proxy_rig.free_port()
    instances = start_instances(
        2, mode, ports, settings=lambda number: {
            "listen": {"instance_id": number, "listen": f"127.0.0.1,127.0.0.1:{shared}"}})
    one, two = instances
    for owner, other in ((one, two), (two, one)):
        for version in (pgwire.PROTOCOL_3_0, pgwire.PROTOCOL_3_2):
            sleeper = Sleeper(owner, version)
            wait_until(lambda: asleep(postgres) == 1, 10, "it sleeps")
            # Not with another key, nor with what only peers say.
            sleeper.cancel_at(other, bytes(len(sleeper.client.key)))
            sleeper.cancel_at(other, sleeper.client.key + b"\x48")
            sleeper.cancel_at(other, bytes(200))
            with owner.connect() as client:
                assert client.value("SELECT 1") == "1"
            assert sleeper.told is None
            sleeper.cancel_at(other)
            wait_until(lambda s=sleeper: s.told, 10, "its query was cancelled")
            assert sleeper.told == "57014"
            sleeper.client.close()
    # The kernel gives a connection to one of the two processes: here is what a load balancer does.
    for _ in range(4):
        sleeper = Sleeper(one, host="127.0.0.1")
        wait_until(lambda: asleep(postgres) == 1, 10, "it sleeps")
        with pgwire.open_socket("127.0.0.1", shared) as sock:
            sock.sendall(pgwire.cancel_request(sleeper.client.pid, sleeper.client.key))
        wait_until(lambda s=sleeper: s.told, 10, "its query was cancelled")
        assert sleeper.told == "57014"
        sleeper.client.close()


def passed_request(peer):
    """The cancel request that a proxy has passed on to this listening socket."""
    passed, _ = peer.accept()
    with passed:
        passed.settimeout(30)
        told = b""
        while len(told) < 17:
            told += passed.recv(64)
    return told


def test_requests_do_not_go_round(start_instances, monkeypatch):
    """Two instances that each think that the other one is number 3: a request is passed on once."""
    ports = [proxy_rig.free_port() for _ in range(2)]
    with_sections(monkeypatch, peers={
        "one": {"id": 1, "host": "127.0.0.1", "port": ports[0]},
        "two": {"id": 3, "host": "127.0.0.1", "port": ports[1]}})
    one, = start_instances(1, ports=ports[:1], settings=lambda number: {
        "listen": {"instance_id": 1}})
    with socket.socket() as peer:
        peer.bind(("127.0.0.1", ports[1]))
        peer.listen(8)
        peer.settimeout(30)
        pid = 1 << 30 | 3 << 22 | 5
        with pgwire.open_socket(*one.address) as sock:
            sock.sendall(pgwire.cancel_request(pid, b"abcd"))
            told = passed_request(peer)
        assert told == pgwire.cancel_request(pid, b"abcd\x48")
        # It comes back: this is where it ends. What comes next is the next request.
        with pgwire.open_socket(*one.address) as sock:
            sock.sendall(told)
            assert sock.recv(1) == b""
        with pgwire.open_socket(*one.address) as sock:
            sock.sendall(pgwire.cancel_request(pid, b"next"))
            told = passed_request(peer)
        assert told == pgwire.cancel_request(pid, b"next\x48")


# ------------------------------------------------------------------------------------ shared budget

def backends(server):
    return int(server.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'")[0][0])


def test_processes_share_a_budget(start_instances, postgres, monkeypatch, proxy_place):
    """Both have no more together; idle ones make room; who is killed gives his share back."""
    folder = proxy_place.new_folder()
    folder.mkdir()
    wait_until(lambda: backends(postgres) == 0, 10, "earlier tests are gone")
    with_sections(monkeypatch, server_budget={"file": folder / "budget", "connections": 4})
    # One worker each: a login then needs no connection of its own once there was one.
    one, two = start_instances(2, pool_size=10, listen={"workers": 1},
                               query_wait_timeout="10min", server_down_timeout="10min")
    busy = [Sleeper(one, parameters={"application_name": "first"}) for _ in range(3)]
    wait_until(lambda: asleep(postgres) == 3, 10, "three sleep")
    last = Sleeper(two)
    wait_until(lambda: asleep(postgres) == 4, 10, "four sleep")
    late = Sleeper(two)  # waits
    with pytest.raises(pgwire.TimedOut):
        one.connect(seconds=1, parameters={"DateStyle": "German"})
    assert backends(postgres) == 4 and late.told is None
    # One ends, and its connection rests at the first process; the other one gets it.
    busy.pop().end(one)
    wait_until(lambda: asleep(postgres) == 4, 15, "the one that waited sleeps")
    assert backends(postgres) == 4
    # The first one is killed, with two. (A server that sleeps does not notice by itself.)
    one.process.send_signal(signal.SIGKILL)
    one.process.wait()
    postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                 "WHERE application_name = 'first'")
    wait_until(lambda: backends(postgres) == 2, 15, "its connections are gone")
    more = [Sleeper(two) for _ in range(3)]
    wait_until(lambda: asleep(postgres) == 4, 15, "the share of who was killed is free")
    assert backends(postgres) == 4
    last.end(two)
    late.end(two)
    for sleeper in more:
        sleeper.end(two)


# ---------------------------------------------------------------------------------------- listeners

def test_listeners_have_rules_of_their_own(start_instances, monkeypatch):
    ports = {name: proxy_rig.free_port() for name in ("reports", "open", "strict", "console")}
    with_sections(monkeypatch, listeners={
        "reports": {"address": "127.0.0.1", "port": ports["reports"], "pool_mode": "session",
                    "databases": "second", "users": "app, other"},
        "open": {"address": "localhost", "port": ports["open"], "auth_type": "trust",
                 "sslmode": "disable"},
        "strict": {"address": "127.0.0.1", "port": ports["strict"], "sslmode": "require"},
        "console": {"address": "127.0.0.1", "port": ports["console"], "databases": "holdfast"}})
    target, = start_instances(1)
    target.expect_log("login refused")

    def connect(name, **options):
        target.address = ("127.0.0.1", ports[name])
        return target.connect(**options)

    def refused(name, **options):
        with pytest.raises(pgwire.ServerError) as caught:
            connect(name, **options)
        return caught.value.fields

    plain = target.address
    with connect("reports", database="second") as client, target.connect(database="second") as twin:
        # Session mode: a temporary table stays; beside it the same database in transaction mode.
        client.rows("CREATE TEMP TABLE kept (x int)")
        assert client.rows("SELECT * FROM kept") == []
        assert twin.value("SELECT 1") == "1"
    target.address = plain
    with target.connect(database="second") as client:
        assert client.value("SELECT 1") == "1"
    fields = refused("reports", database="app")
    assert fields["C"] == "28000" and "listeners.reports.databases" in fields["H"]
    assert "cannot be reached by this listener" in fields["M"]
    fields = refused("reports", database="second", user="plain")
    assert "may not come in by this listener" in fields["M"] and "other users" in fields["D"]
    # Whoever comes by the one is believed, and is offered no TLS.
    with connect("open", password="wrong") as client:
        assert client.value("SELECT 1") == "1"
    with pgwire.open_socket("127.0.0.1", ports["open"]) as sock:
        sock.sendall(pgwire.request(pgwire.CODE_SSL))
        assert sock.recv(1) == b"N"
    with pytest.raises((ssl.SSLError, OSError, pgwire.Closed)):
        connect("open", tls="direct")
    assert refused("strict")["M"] == "TLS is required"
    with connect("strict", tls="request") as client:
        assert client.value("SELECT 1") == "1"
    with connect("console", database="holdfast") as client:
        assert client.rows("SHOW VERSION")
    assert refused("console")["C"] == "28000"


def test_a_listener_follows_a_reload(start_instances, monkeypatch):
    """Its rules do; its socket does not, and one that is gone lets nobody in."""
    port = proxy_rig.free_port()
    rules = {"address": "127.0.0.1", "port": port}
    plain = proxy_rig.holdfast_config
    with_sections(monkeypatch, listeners={"more": rules})
    target, = start_instances(1)
    home = target.address
    target.address = ("127.0.0.1", port)
    with target.connect() as client:
        assert client.value("SELECT 1") == "1"

    def code():
        try:
            with target.connect():
                return None
        except pgwire.ServerError as error:
            return error.sqlstate

    for sections_now, expected in (({"more": {**rules, "users": "other"}}, "28000"),
                                   ({"more": {**rules, "port": proxy_rig.free_port()}}, None),
                                   ({}, "57P03")):
        monkeypatch.setattr(proxy_rig, "holdfast_config", plain)
        with_sections(monkeypatch, listeners=sections_now)
        target.address = home
        target.reload(**target.settings)
        target.address = ("127.0.0.1", port)
        wait_until(lambda e=expected: code() == e, 10, lambda e=expected: f"{e}\n{target.log}")
    target.address = home
