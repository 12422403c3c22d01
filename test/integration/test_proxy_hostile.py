"""Peers that do what no client and no server should: the proxy stays up, and says nothing false.

FakeServer stands where PostgreSQL would, and says what a test lets it say.
"""

import contextlib
import os
import random
import signal
import socket
import ssl
import struct
import threading
import time

import pgwire
import pytest
from demo_process import wait_until
from pgwire import Wire, bind, close, execute, kinds, message, open_socket, parse, query, sync
from proxy_rig import PASSWORD, free_port, make_target

PARAMETERS = [("server_version", "15.1"), ("client_encoding", "UTF8"), ("DateStyle", "ISO, MDY"),
              ("TimeZone", "UTC"), ("application_name", "")]
SSL_OR_GSS = (pgwire.CODE_SSL, pgwire.CODE_GSSENC)


def ready(status):
    return message("Z", status)


def one_column():
    return message("T", struct.pack("!h", 1) + b"v\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0))


def one_row(value):
    return message("D", struct.pack("!hi", 1, len(value)) + value)


def well(sock, *_):
    """To each message, an answer of one row."""
    sock.sendall(one_column() + one_row(b"well") + message("C", b"SELECT 1\0") + ready(b"I"))


def login(status=b"I", key=struct.pack("!ii", 4242, 99), more=b""):
    return message("R", struct.pack("!i", 0)) + b"".join(
        message("S", f"{name}\0{value}\0".encode()) for name, value in PARAMETERS) \
        + more + message("K", key) + ready(status)


class FakeServer:
    """Lets everybody in, and then gives each message to answer(sock, kind, body)."""

    host = "127.0.0.1"
    greeting = login()

    def __init__(self, answer):
        self.answer = answer
        self.listener = socket.create_server((self.host, 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def sql(self, *_, **__):
        return []

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    @staticmethod
    def _read(sock, count):
        data = b""
        while len(data) < count:
            more = sock.recv(count - len(data))
            if not more:
                raise OSError("the end")
            data += more
        return data

    def _greet(self, sock):
        while True:
            size, = struct.unpack("!i", self._read(sock, 4))
            packet = self._read(sock, size - 4)
            if struct.unpack("!i", packet[:4])[0] not in SSL_OR_GSS:
                break
            sock.sendall(b"N")
        sock.sendall(self.greeting(packet) if callable(self.greeting) else self.greeting)

    def _serve(self, sock):
        with contextlib.suppress(OSError, struct.error), sock:
            sock = self._greet(sock) or sock
            while True:
                head = self._read(sock, 5)
                size, = struct.unpack("!i", head[1:])
                self.answer(sock, chr(head[0]), self._read(sock, size - 4))


class TlsOnly(FakeServer):
    """Refuses who comes in plain, and closes at once: `proxy`, a process, hears both together."""

    proxy = context = None

    def _greet(self, sock):
        size, = struct.unpack("!i", self._read(sock, 4))
        if struct.unpack("!i", self._read(sock, size - 4)[:4])[0] != pgwire.CODE_SSL:
            os.kill(self.proxy, signal.SIGSTOP)
            try:
                sock.sendall(message("E", b"SFATAL\0VFATAL\0C28000\0Mno encryption\0\0"))
                sock.close()
            finally:
                os.kill(self.proxy, signal.SIGCONT)
        sock.sendall(b"S")
        sock = self.context.wrap_socket(sock, server_side=True)
        super()._greet(sock)
        return sock


@pytest.fixture
def proxy_before(proxy_place):
    """proxy_before(answer, mode, **settings): a proxy before such a server."""
    with contextlib.ExitStack() as stack:
        def start(answer, mode="transaction", kind=FakeServer, **settings):
            server = kind(answer)
            stack.callback(server.close)
            target = make_target("holdfast", proxy_place.new_folder(), free_port(), server,
                                 mode, **settings)
            return stack.enter_context(target)
        yield start


def all_bytes(wire, seconds=60):
    """What comes until the other side closes."""
    wire.sock.settimeout(seconds)
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while more := wire.sock.recv(1 << 16):
            data += more
    return bytes(data)


# ------------------------------------------------------------------------------------- servers

def test_a_status_that_comes_late_is_waited_for(proxy_before):
    """The last byte of a ReadyForQuery comes by itself, behind so many that those go on before it.
    Whoever judged by the rest would keep the connection from others, or give it away too early."""
    def answer(sock, kind, body):
        if kind != "Q":
            return
        size, status = body[:-1].split()
        sock.sendall(one_column() + one_row(b"x" * int(size)) + message("C", b"SELECT 1\0")
                     + ready(status)[:-1])
        time.sleep(0.05)
        sock.sendall(status)
    target = proxy_before(answer, pool_size=1, listen={"io": "epoll"})
    with target.connect() as a, target.connect() as b:
        for size in range(8100, 16300, 500):
            assert kinds(a.ask(query(f"{size} T"))) == "TDCZ"
            b.send(query("1 I"))
            assert b.is_quiet(0.02), "it was given a connection in another client's transaction"
            assert kinds(a.ask(query(f"{size} I"))) == "TDCZ"
            assert kinds(b.read_until_ready()) == "TDCZ"


def test_no_error_lands_inside_a_row_whose_server_is_lost(proxy_before):
    def answer(sock, kind, _):
        if kind == "Q":
            sock.sendall((one_column() + one_row(b"x" * 20000))[:-60])
            time.sleep(0.2)
            sock.close()
    target = proxy_before(answer)
    with target.connect() as c:
        c.send(query("SELECT"))
        data = all_bytes(c)
        assert data == (one_column() + one_row(b"x" * 20000))[:len(data)]


def test_a_server_that_speaks_nonsense_harms_nobody_but_its_client(proxy_before):
    rng = random.Random(5)
    said = [
        lambda: rng.randbytes(rng.randrange(1, 3000)),
        lambda: message("D", b"\xff\xff" + rng.randbytes(50)) + ready(b"I"),
        lambda: b"D\x7f\xff\xff\xff" + rng.randbytes(100),
        lambda: message("E", rng.randbytes(rng.randrange(1, 40000))),
        lambda: message("S", rng.randbytes(30000)) + message("C", b"X\0") + ready(b"I"),
        lambda: message("G", b"\0\0\1\0\0"),
        lambda: message("C", b"A" * 9000 + b"\0") + ready(rng.randbytes(1)),
    ]

    def answer(sock, _, body):
        if body.startswith(b"SELECT 'well'"):
            sock.sendall(one_column() + one_row(b"well") + message("C", b"SELECT 1\0")
                         + ready(b"I"))
        else:
            sock.sendall(rng.choice(said)())
    target = proxy_before(answer)
    asked = [query("X"), parse("a", "X") + bind("", "a") + execute() + sync(),
             parse("", "X") + sync(), close("S", "a") + sync()]
    for _ in range(150):
        with contextlib.suppress(pgwire.Closed, pgwire.TimedOut, pgwire.ServerError, OSError,
                                 ValueError), target.connect() as c:
            c.send(rng.choice(asked))
            c.sock.settimeout(0.02)
            c.sock.recv(1 << 16)
    wait_until(lambda: target.descriptors < 40, 10, "what was lost is given back")
    assert target.process.poll() is None


def test_a_connection_that_has_begun_to_speak_stays_with_its_worker(proxy_before):
    """The other worker wants it at each end of an answer, and behind each the first bytes of a
    notice have come along already: this ended the proxy. The share goes without the connection."""
    notice = message("N", b"SNOTICE\0VNOTICE\0C00000\0Mno news\0\0")
    begun = set()

    def answer(sock, *_):
        rest = notice[3:] if sock in begun else b""
        begun.add(sock)
        sock.sendall(rest + one_column() + one_row(b"well") + message("C", b"SELECT 1\0")
                     + ready(b"I") + notice[:3])
    target = proxy_before(answer, pool_size=1, listen={"workers": 2})
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(target.connect()) for _ in range(16)]
        for _ in range(20):
            for c in clients:
                c.send(query("SELECT"))
            for c in clients:
                assert [m.body[6:] for m in c.read_until_ready() if m.kind == "D"] == [b"well"]
    assert target.process.poll() is None


def test_what_a_server_said_to_one_client_is_nobody_elses(proxy_before):
    """One client waits for a server that does not let it in, while another is refused for what it
    has asked for. The first is told of the time in the end, where it was told the other's words."""
    def greeting(packet):
        return message("E", b"SFATAL\0VFATAL\0C22023\0Mthe secret of one\0\0") \
            if b"one's own" in packet else b""
    target = proxy_before(lambda *_: None, "session", server_down_timeout="3s",
                          listen={"workers": 1})
    target.expect_log("could not connect to server")
    target.server.greeting = greeting
    answers = []

    def wait():
        try:
            target.connect()
        except pgwire.ServerError as error:
            answers.append(error)
    waiting = threading.Thread(target=wait)
    waiting.start()
    with pytest.raises(pgwire.ServerError, match="the secret of one"):
        target.connect(parameters={"x.y": "one's own"})
    waiting.join(60)
    assert [a.sqlstate for a in answers] == ["08001"] and "secret" not in str(answers), answers


def test_a_server_that_refuses_and_closes_at_once_is_tried_again_with_tls(proxy_before):
    """What it says and its end are heard together, and are one refusal."""
    target = proxy_before(well, kind=TlsOnly, server_tls={"sslmode": "allow"})
    target.server.proxy = target.process.pid
    target.server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    target.server.context.load_cert_chain(target.folder / "proxy.crt", target.folder / "proxy.key")
    with target.connect() as c:
        assert c.value("SELECT") == "well"


def test_logins_that_the_proxy_itself_gives_up_say_nothing_of_the_server(proxy_before):
    """They opened the breaker before it."""
    target = proxy_before(well, server_login_retry="10ms", server_down_timeout="2s",
                          listen={"workers": 1})
    target.expect_log("could not connect to server")
    target.server.greeting = b""
    with target.connect(database="holdfast") as console:
        for _ in range(25):
            with Wire(open_socket(*target.address)) as client:
                client.send(pgwire.startup({"user": "app", "database": "app"}))
                pgwire.authenticate(client, "app", PASSWORD)
                wait_until(lambda: "new" in [row[4] for row in console.rows("SHOW SERVERS")], 10,
                           "a login is under way")
                console.rows("KILL")
                console.rows("RESUME")
        target.server.greeting = login()
        with target.connect() as c:
            assert c.value("SELECT") == "well"


def test_a_server_that_starts_is_tried_again_after_the_pause_and_no_later(proxy_before):
    """Each attempt but the first waited for the second to be over."""
    starting = message("E", b"SFATAL\0VFATAL\0C57P03\0Mstarting up\0\0")
    left = [starting] * 6
    target = proxy_before(well, server_login_retry="10ms", server_down_timeout="3s",
                          listen={"workers": 1})
    target.expect_log("could not connect to server")
    target.server.greeting = lambda _: left.pop() if left else login()
    with target.connect() as c:
        assert c.value("SELECT") == "well"


def test_a_cancel_that_comes_too_late_is_no_answer_to_a_question_of_ours(proxy_before):
    """It hits what the proxy asks of the session behind a SET: the client was disconnected."""
    asked, canceled = [], []

    def answer(sock, kind, _):
        if kind == "Q":
            sock.sendall(message("C", b"SET\0") + ready(b"I"))
        elif kind != "S":
            asked.append(kind)
        elif len(canceled) < 2:
            canceled.append(asked.copy())
            asked.clear()
            sock.sendall(message("E", b"SERROR\0VERROR\0C57014\0Mcanceled\0\0") + ready(b"I"))
        else:
            answers = {"C": message("3", b""), "P": message("1", b""), "B": message("2", b""),
                       "E": message("C", b"SELECT 0\0")}
            sock.sendall(b"".join(answers[kind] for kind in asked) + ready(b"I"))
            asked.clear()
    target = proxy_before(answer)
    with target.connect() as c:
        assert kinds(c.ask(query("SET x.y = 1"))) == "CZ"
        assert kinds(c.ask(query("SET x.z = 1"))) == "CZ"
    assert len(canceled) == 2 and all(canceled)


STRANGE_LOGINS = {
    "in a transaction": (login(b"T"), "08P01", "inside a transaction"),
    "a key of 300 bytes": (login(key=bytes(304)), "08P01", "invalid length"),
    "names without end": (login(more=message("S", b"a\0b\0") * 5000), "54000", "too much"),
}


def test_a_server_that_logs_in_strangely_is_refused_by_name(proxy_before):
    """The first of these ended the proxy."""
    target = proxy_before(lambda *_: None, server_login_retry="10ms", server_down_timeout="100ms")
    target.expect_log("could not connect to server")

    def is_refused(sqlstate, words):
        with pytest.raises(pgwire.ServerError) as error:
            target.connect()
        return error.value.sqlstate == sqlstate and words in str(error.value)  # else: no time
    for name, (greeting, sqlstate, words) in STRANGE_LOGINS.items():
        target.server.greeting = greeting
        wait_until(lambda s=sqlstate, w=words: is_refused(s, w), 20, name)


# ------------------------------------------------------------------------------------- clients

def test_any_number_of_answers_of_our_own_waits_for_room(transaction_proxy):
    """Parse of a text that the server knows, and Close, are answered without it: here thousands at
    a time, all of them due at once."""
    count = 5000
    pair = close("S", "a") + parse("a", "SELECT 1")
    with transaction_proxy.connect() as c:
        c.ask(parse("a", "SELECT 1"), sync())
        c.send(parse("", "SELECT pg_sleep(0.5)"), bind("", ""), execute(), pair * count, sync())
        assert kinds(c.read_until_ready()) == "12DC" + "31" * count + "Z"


def test_who_never_reads_our_own_answers_is_not_read_from_for_ever(transaction_proxy):
    pair = close("S", "a") + parse("a", "SELECT 1")
    with transaction_proxy.connect(receive_buffer=4096) as c:
        c.ask(parse("a", "SELECT 1"), sync())
        c.sock.settimeout(1)
        with pytest.raises(TimeoutError):
            for _ in range(3000):
                c.sock.sendall(pair * 1000)
    with transaction_proxy.connect() as c:
        assert c.value("SELECT 42") == "42"


# --------------------------------------------------------------------------- pools and their ends

def count_sleepers(postgres):
    return int(postgres.sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND "
                            "query LIKE 'SELECT pg_sleep%'")[0][0])


def test_a_pool_is_as_large_as_it_says_however_often_that_was_changed(start_proxy, postgres):
    """Shares of it have gone to and fro between workers all the time."""
    target = start_proxy("transaction", pool_size=20, listen={"workers": 2})
    rng = random.Random(3)
    is_over = threading.Event()

    def ask():
        while not is_over.is_set():
            with target.connect() as c:
                for _ in range(20):
                    c.value("SELECT 1")
    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for size in [*(rng.choice([1, 2, 3, 5, 20]) for _ in range(15)), 7]:
        done = target.log.count("configuration reloaded")
        target.reload(pool_size=size, listen={"workers": 2})
        wait_until(lambda done=done: target.log.count("configuration reloaded") > done, 20,
                   "reloaded")
        time.sleep(0.25)  # more than five lines a second of one kind are not logged
    is_over.set()
    for thread in threads:
        thread.join()
    with contextlib.ExitStack() as stack:
        sleepers = [stack.enter_context(target.connect()) for _ in range(12)]
        for each in sleepers:
            each.send(query("SELECT pg_sleep(60)"))
        wait_until(lambda: count_sleepers(postgres) >= 7, 20, "all of the pool is used")
        time.sleep(0.3)
        assert count_sleepers(postgres) == 7
    wait_until(lambda: count_sleepers(postgres) == 0, 20, "what nobody waits for is cancelled")


def test_who_comes_while_the_proxy_drains_is_refused_at_once(proxy_place, postgres):
    target = make_target("holdfast", proxy_place.new_folder(), free_port(), postgres, "transaction",
                         listen={"workers": 2})
    target.start()

    def is_refused():
        with socket.socket() as sock:
            return sock.connect_ex(target.address) != 0
    try:
        with target.connect() as c, target.connect(database="holdfast") as console:
            c.ask(query("BEGIN"))
            console.rows("SHOW POOLS")
            target.process.send_signal(signal.SIGTERM)
            wait_until(is_refused, 20, "nobody is let in")
            assert all(is_refused() for _ in range(8)), "a worker's socket is still open"
            assert kinds(c.ask(query("COMMIT"))) == "CZ"
            assert target.process.wait(60) == 0, "an open console keeps it"
    finally:
        target.stop()
