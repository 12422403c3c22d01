"""PostgreSQL's protocol, byte by byte: for tests that must send what no driver would.

    with connect(port=5432, user="u", password="p", database="d") as c:
        c.send(query("SELECT 1"), query("SELECT 2"))
        for message in c.read_until_ready(2):
            print(message)

Three layers, each usable without the ones above it:

  * builders, query() and parse() and so on, each of which returns the bytes of one message;
  * Wire, a socket that takes such bytes and gives back typed messages;
  * connect(), which logs in (TLS, SCRAM with or without channel binding, md5, password) and returns
    a Wire that knows what it was told on the way.

Nothing in here decides whether an answer is right: that is for the tests.
"""

import base64
import hashlib
import hmac
import os
import select
import socket
import ssl
import struct
import time
from typing import NamedTuple

PROTOCOL_3_0 = 3 << 16
PROTOCOL_3_2 = 3 << 16 | 2
CODE_CANCEL = 1234 << 16 | 5678
CODE_SSL = 1234 << 16 | 5679
CODE_GSSENC = 1234 << 16 | 5680

SECONDS = 60  # that a test waits for anything, unless it says otherwise
RECEIVE_BYTES = 1 << 18


class Closed(Exception):
    """The other side has closed, or reset, the connection."""


class TimedOut(Exception):
    """Nothing came within the time given."""


class ServerError(Exception):
    """An ErrorResponse where none was expected."""

    def __init__(self, fields):
        super().__init__(f"{fields.get('S')} {fields.get('C')}: {fields.get('M')}")
        self.fields = fields

    @property
    def sqlstate(self):
        return self.fields.get("C")


# ---------------------------------------------------------------------------------------- builders

def message(kind, body=b""):
    return kind.encode() + struct.pack("!i", len(body) + 4) + body


def text(value):
    """A string as it stands in a message, with its zero byte."""
    return (value if isinstance(value, bytes) else value.encode()) + b"\0"


def query(sql):
    return message("Q", text(sql))


def parse(name, sql, types=()):
    return message("P", text(name) + text(sql) +
                   struct.pack(f"!h{len(types)}I", len(types), *types))


def bind(portal, name, values=(), formats=(), result_formats=()):
    """Values are str, bytes or None; formats 0 (text) or 1 (binary)."""
    body = text(portal) + text(name) + struct.pack(f"!h{len(formats)}h", len(formats), *formats)
    body += struct.pack("!H", len(values))
    for value in values:
        if value is None:
            body += struct.pack("!i", -1)
        else:
            value = value.encode() if isinstance(value, str) else value
            body += struct.pack("!i", len(value)) + value
    body += struct.pack(f"!h{len(result_formats)}h", len(result_formats), *result_formats)
    return message("B", body)


def describe(kind, name):
    """kind is S for a statement, P for a portal."""
    return message("D", kind.encode() + text(name))


def close(kind, name):
    return message("C", kind.encode() + text(name))


def execute(portal="", rows_max=0):
    return message("E", text(portal) + struct.pack("!i", rows_max))


def sync():
    return message("S")


def flush():
    return message("H")


def terminate():
    return message("X")


def copy_data(data):
    return message("d", data if isinstance(data, bytes) else data.encode())


def copy_done():
    return message("c")


def copy_fail(why):
    return message("f", text(why))


def function_call(oid, values=(), formats=(), result_format=0):
    body = struct.pack(f"!Ih{len(formats)}h", oid, len(formats), *formats)
    body += struct.pack("!h", len(values))
    for value in values:
        if value is None:
            body += struct.pack("!i", -1)
        else:
            value = value.encode() if isinstance(value, str) else value
            body += struct.pack("!i", len(value)) + value
    return message("F", body + struct.pack("!h", result_format))


def prepared(name, sql, values=(), types=()):
    """A statement prepared, bound and run, without a Sync."""
    return parse(name, sql, types) + bind("", name, values) + execute()


def startup(parameters, version=PROTOCOL_3_0):
    body = struct.pack("!i", version)
    for key, value in parameters.items():
        body += text(key) + text(value)
    return struct.pack("!i", len(body) + 5) + body + b"\0"


def request(code):
    """SSLRequest and GSSENCRequest."""
    return struct.pack("!ii", 8, code)


def cancel_request(pid, key):
    return struct.pack("!iiI", 12 + len(key), CODE_CANCEL, pid) + key


# ---------------------------------------------------------------------------------------- messages

def fields_of(body):
    """{'S': 'ERROR', 'C': '42601', ...} of an ErrorResponse or a NoticeResponse."""
    return {part[:1].decode(): part[1:].decode(errors="replace")
            for part in body.split(b"\0") if part}


def values_of(body):
    """The values of a DataRow: bytes or None."""
    count, = struct.unpack_from("!h", body)
    offset, values = 2, []
    for _ in range(count):
        size, = struct.unpack_from("!i", body, offset)
        offset += 4
        values.append(None if size < 0 else body[offset:offset + size])
        offset += max(size, 0)
    return values


class Message(NamedTuple):
    kind: str
    body: bytes

    @property
    def fields(self):
        return fields_of(self.body)

    @property
    def sqlstate(self):
        return self.fields.get("C")

    @property
    def values(self):
        return values_of(self.body)

    @property
    def tag(self):
        """Of a CommandComplete; and the name of a ParameterStatus, if one cares for that only."""
        return self.body.split(b"\0")[0].decode()

    @property
    def pair(self):
        """Of a ParameterStatus."""
        return tuple(part.decode() for part in self.body.split(b"\0")[:2])

    @property
    def status(self):
        """Of a ReadyForQuery: I, T or E."""
        return self.body.decode()

    def __str__(self):
        if self.kind in "EN":
            fields = self.fields
            return f"{self.kind} {fields.get('S')} {fields.get('C')} {fields.get('M')}"
        return f"{self.kind} {self.body[:80]!r}" + ("..." if len(self.body) > 80 else "")


def kinds(messages):
    """The types of messages in one string: what most tests compare first."""
    return "".join(each.kind for each in messages)


def rows(messages):
    """All values of all DataRows, as text."""
    return [tuple(None if v is None else v.decode() for v in each.values)
            for each in messages if each.kind == "D"]


# -------------------------------------------------------------------------------------------- wire

class Wire:
    """One connection. Writing goes on while reading and the reverse: whoever does only one of the
    two can be blocked by a peer that does only the other."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.setblocking(False)
        self.received = bytearray()
        self.unsent = bytearray()
        self.seen_end = False
        self.parameters = {}
        self.pid = None
        self.key = None
        self.version = None
        self.login = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Drops the connection as a machine that crashed does: the peer receives RST."""
        raw = self.sock
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()

    def send(self, *parts, seconds=SECONDS):
        """Sends everything, or says why not. What arrives meanwhile is kept for reading."""
        self.unsent += b"".join(parts)
        deadline = time.monotonic() + seconds
        while self.unsent:
            self._step(deadline)

    def send_slowly(self, data, pieces):
        """Sends data cut at the given places, each piece in a packet of its own."""
        start = 0
        for end in [*pieces, len(data)]:
            if end > start:
                self.send(data[start:end])
                start = end

    def finish_sending(self):
        """Half-closes: the peer reads an end of file and may still answer."""
        self.sock.shutdown(socket.SHUT_WR)

    def read(self, seconds=SECONDS):
        """The next message."""
        deadline = time.monotonic() + seconds
        while True:
            message_ = self._take()
            if message_ is not None:
                return message_
            if self.seen_end:
                raise Closed(f"with {len(self.received)} bytes of a message")
            self._step(deadline)

    def rest(self):
        """What had come before the peer closed and was not read, as when sending found it out."""
        return list(iter(self._take, None))

    def read_until(self, kind, seconds=SECONDS):
        """All messages up to one of these types (a string of letters), with it."""
        deadline = time.monotonic() + seconds
        found = []
        while True:
            try:
                found.append(self.read(deadline - time.monotonic()))
            except (Closed, TimedOut) as error:
                got = " | ".join(map(str, found[-12:])) or "nothing"
                raise type(error)(f"waiting for {kind}: {error}; got {got}") from None
            if found[-1].kind in kind:
                return found

    def read_until_ready(self, count=1, seconds=SECONDS):
        deadline = time.monotonic() + seconds
        found = []
        for _ in range(count):
            found += self.read_until("Z", deadline - time.monotonic())
        return found

    def read_to_end(self, seconds=SECONDS):
        """All messages until the peer closes."""
        deadline = time.monotonic() + seconds
        found = []
        while True:
            try:
                found.append(self.read(deadline - time.monotonic()))
            except Closed:
                return found

    def read_bytes(self, count, seconds=SECONDS):
        """Raw bytes: the one-letter answers before the startup message."""
        deadline = time.monotonic() + seconds
        while len(self.received) < count:
            if self.seen_end:
                raise Closed(f"with {bytes(self.received)!r}")
            self._step(deadline)
        found = bytes(self.received[:count])
        del self.received[:count]
        return found

    def ask(self, *parts, seconds=SECONDS):
        """Sends, and reads until ready; for what ends in one ReadyForQuery."""
        self.send(*parts, seconds=seconds)
        return self.read_until_ready(seconds=seconds)

    def rows(self, sql, seconds=SECONDS):
        """The rows of a simple query that must not fail."""
        found = self.ask(query(sql), seconds=seconds)
        for each in found:
            if each.kind == "E":
                raise ServerError(each.fields)
        return rows(found)

    def value(self, sql, seconds=SECONDS):
        return self.rows(sql, seconds)[0][0]

    def is_quiet(self, seconds=0.2):
        """Whether nothing at all arrives for a while."""
        try:
            while not self.received and not self.seen_end:
                self._step(time.monotonic() + seconds)
            return False
        except TimedOut:
            return True

    def _take(self):
        if len(self.received) < 5:
            return None
        size, = struct.unpack_from("!i", self.received, 1)
        assert size >= 4, f"a message with a length of {size}: {bytes(self.received[:40])!r}"
        if len(self.received) < size + 1:
            return None
        kind = chr(self.received[0])
        body = bytes(self.received[5:size + 1])
        del self.received[:size + 1]
        found = Message(kind, body)
        if kind == "S":
            name, value = found.pair
            self.parameters[name] = value
        return found

    def _step(self, deadline):
        """Moves bytes in whichever direction they can move, or raises."""
        if self.seen_end and self.unsent:
            raise Closed("with bytes left to send")
        pending = isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()
        if not pending:
            left = max(0.0, deadline - time.monotonic())
            poll = select.poll()  # select() knows no descriptor above 1023
            poll.register(self.sock, (0 if self.seen_end else select.POLLIN) |
                          (select.POLLOUT if self.unsent else 0))
            if not poll.poll(left * 1000):
                raise TimedOut(f"{len(self.received)} bytes of a message are there")
        self._receive()
        if self.unsent:
            self._write()

    def _receive(self):
        try:
            data = self.sock.recv(RECEIVE_BYTES)
            self.received += data
            self.seen_end = self.seen_end or not data
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except (ConnectionError, ssl.SSLError):
            self.seen_end = True

    def _write(self):
        try:
            sent = self.sock.send(memoryview(bytes(self.unsent[:1 << 20])))
            del self.unsent[:sent]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except (ConnectionError, ssl.SSLError):
            # What the peer said before it went is still to be read; the next step tells the rest.
            self._receive()
            self.seen_end = True


# ------------------------------------------------------------------------------------------- login

def tls_context(ca=None, alpn=True, certificate=None):
    """Verifies the server against a CA file where one is given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if ca else ssl.CERT_NONE
    if ca:
        context.load_verify_locations(ca)
    if certificate:
        context.load_cert_chain(*certificate)
    if alpn:
        context.set_alpn_protocols(["postgresql"])
    return context


def open_socket(host="127.0.0.1", port=5432, receive_buffer=None, seconds=SECONDS):
    """host may be the folder of a unix socket."""
    if host.startswith("/"):
        sock = socket.socket(socket.AF_UNIX)
        address = f"{host}/.s.PGSQL.{port}"
    else:
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = (host, port)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(seconds)
    sock.connect(address)
    return sock


def upgrade(sock, how, context):
    """TLS by SSLRequest ("request") or at once ("direct"); the socket to go on with."""
    if how == "request":
        sock.sendall(request(CODE_SSL))
        answer = sock.recv(1)
        if answer != b"S":
            raise Closed(f"TLS was refused with {answer!r}")
    return context.wrap_socket(sock, server_hostname="localhost")


class Scram:
    """The client's side of SCRAM-SHA-256; with the certificate of the server, of -PLUS."""

    def __init__(self, user, password, certificate=None):
        self.password = password.encode()
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.bare = f"n={user},r={self.nonce}"
        self.header = "p=tls-server-end-point,," if certificate else "n,,"
        self.binding = hashlib.sha256(certificate).digest() if certificate else b""
        self.mechanism = "SCRAM-SHA-256-PLUS" if certificate else "SCRAM-SHA-256"

    def first(self):
        data = (self.header + self.bare).encode()
        return message("p", text(self.mechanism) + struct.pack("!i", len(data)) + data)

    def final(self, server_first):
        parts = dict(part.split("=", 1) for part in server_first.split(","))
        assert parts["r"].startswith(self.nonce), "the server's nonce does not extend ours"
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(parts["s"]),
                                     int(parts["i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        binding = base64.b64encode(self.header.encode() + self.binding).decode()
        without_proof = f"c={binding},r={parts['r']}"
        signed = f"{self.bare},{server_first},{without_proof}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        self.expected = base64.b64encode(hmac.digest(server_key, signed, "sha256")).decode()
        return message("p", f"{without_proof},p={base64.b64encode(proof).decode()}".encode())

    def check(self, server_final):
        assert server_final == f"v={self.expected}", "the server does not know the password either"


def md5_password(user, password, salt):
    inner = hashlib.md5((password + user).encode()).hexdigest()
    return "md5" + hashlib.md5(inner.encode() + salt).hexdigest()


def authenticate(wire, user, password, channel_binding=False):
    """Answers what the server asks, until AuthenticationOk. Raises ServerError."""
    scram = None
    while True:
        reply = wire.read()
        wire.login.append(reply)
        if reply.kind == "E":
            raise ServerError(reply.fields)
        if reply.kind == "v":
            wire.version = struct.unpack_from("!i", reply.body)[0]
        if reply.kind != "R":
            continue
        code, = struct.unpack_from("!i", reply.body)
        data = reply.body[4:]
        if code == 0:
            return
        if code == 3:
            wire.send(message("p", text(password)))
        elif code == 5:
            wire.send(message("p", text(md5_password(user, password, data))))
        elif code == 10:
            certificate = wire.sock.getpeercert(binary_form=True) if channel_binding else None
            scram = Scram("", password, certificate)
            offered = data.rstrip(b"\0").split(b"\0")
            assert scram.mechanism.encode() in offered, f"{scram.mechanism} is not in {offered}"
            wire.send(scram.first())
        elif code == 11:
            wire.send(scram.final(data.decode()))
        elif code == 12:
            scram.check(data.decode())
        else:
            raise AssertionError(f"authentication request {code}")


def connect(host="127.0.0.1", port=5432, user="postgres", database=None, password="", *,
            version=PROTOCOL_3_0, parameters=None, tls=None, context=None, channel_binding=False,
            receive_buffer=None, seconds=SECONDS):
    """A Wire that is logged in and ready. tls is None, "request" or "direct"."""
    sock = open_socket(host, port, receive_buffer, seconds)
    try:
        if tls:
            sock = upgrade(sock, tls, context or tls_context())
        wire = Wire(sock)
        wire.version = version
        wire.address = (host, port)
        wire.send(startup({"user": user, "database": database or user, **(parameters or {})},
                          version))
        authenticate(wire, user, password, channel_binding)
        for reply in wire.read_until("ZE", seconds):
            wire.login.append(reply)
            if reply.kind == "E":
                raise ServerError(reply.fields)
            if reply.kind == "v":
                wire.version = struct.unpack_from("!i", reply.body)[0]
            if reply.kind == "K":
                wire.pid, = struct.unpack_from("!I", reply.body)
                wire.key = reply.body[4:]
        return wire
    except BaseException:
        sock.close()
        raise


def cancel(wire, seconds=SECONDS):
    """Sends the CancelRequest of a connection, and waits for the other side to close."""
    with open_socket(*wire.address) as sock:
        sock.sendall(cancel_request(wire.pid, wire.key))
        sock.settimeout(seconds)
        try:
            assert sock.recv(1) == b"", "a CancelRequest is never answered"
        except ConnectionResetError:
            pass
