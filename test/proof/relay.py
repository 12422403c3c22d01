"""A relay that is wrong on purpose: what the proof must find, or it proves nothing.

    with Relay(server, fault) as target: ...

A fault is a function of (message, state) that returns the messages to be sent on in its place; the
state is a dict for each connection, which also has "ready" once the login is over. FAULTS has those
that the differential oracle must find. swaps_replies is for the wrong-row checker: it gives one
client's reply to another, as a pooler does that lost count.
"""

import select
import socket
import struct
import threading

import pgwire
from proxy_rig import Target


def _changed(kind, change):
    """A fault that changes each message of a type once the login is over."""
    def fault(message, state):
        if message.kind != kind or not state.get("ready"):
            return [message]
        return change(message, state)
    return fault


def _every(number, change):
    """Only each so-manieth time."""
    def sometimes(message, state):
        state["count"] = state.get("count", 0) + 1
        return change(message, state) if state["count"] % number == 0 else [message]
    return sometimes


def _body(change):
    return lambda message, state: [pgwire.Message(message.kind, change(message.body))]


def _one_too_many(message, _):
    return [message, message]


def _lost(_message, _state):
    return []


def _late(message, state):
    """A BindComplete comes after whatever comes next."""
    if message.kind == "2":
        state["held"] = message
        return []
    held = state.pop("held", None)
    return [message, held] if held else [message]


FAULTS = {
    "the last byte of a row is another": _changed(
        "D", _body(lambda body: body[:-1] + bytes([body[-1] ^ 1]))),
    "a notice is lost": _changed("N", _lost),
    "the transaction status is always idle": _changed("Z", _body(lambda body: b"I")),
    "a tag has lost its count": _changed("C", _body(lambda body: body[:-2] + b"\0")),
    "a suspended portal is said to be complete": _changed(
        "s", lambda message, state: [pgwire.Message("C", b"SELECT 3\0")]),
    "an error has lost its hint": _changed(
        "E", _body(lambda body: b"".join(part + b"\0" for part in body.split(b"\0")
                                         if part[:1] not in (b"H", b"")) + b"\0")),
    "a change of a parameter is not told": _changed("S", _lost),
    "ReadyForQuery comes twice": _changed("Z", _every(3, _one_too_many)),
    "CloseComplete is forgotten": _changed("3", _lost),
    "a reply overtakes another": _late,
    "a greeting lacks a parameter": lambda message, state: (
        [] if message.kind == "S" and message.pair[0] == "TimeZone" and not state.get("ready")
        else [message]),
    "a row's table is not named": _changed(
        "T", _body(lambda body: body.replace(b"\0\0\0\0\0\x17", b"\0\0\0\x01\0\x17"))),
}


class Relay(Target):
    """Listens on a free port; each connection has a thread."""

    name = "relay"

    def __init__(self, server, fault, mode="session"):
        self.server = server
        self.fault = fault
        self.mode = mode
        self.listener = None
        self.address = None

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = self.listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        server = pgwire.open_socket(*self.server.address)
        server.settimeout(None)
        state, received = {"client": client}, bytearray()
        try:
            while True:
                readable, _, _ = select.select([client, server], [], [])
                if client in readable:
                    data = client.recv(65536)
                    if not data:
                        return
                    server.sendall(data)
                if server in readable:
                    data = server.recv(65536)
                    if not data:
                        return
                    received += data
                    client.sendall(self._pass_on(received, state))
        except OSError:
            pass
        finally:
            client.close()
            server.close()

    def _pass_on(self, received, state):
        """What becomes of all complete messages in `received`."""
        out, start = [], 0
        while len(received) - start >= 5:
            size, = struct.unpack_from("!i", received, start + 1)
            if len(received) - start < size + 1:
                break
            message = pgwire.Message(chr(received[start]),
                                     bytes(received[start + 5:start + size + 1]))
            start += size + 1
            out += [pgwire.message(*each) for each in self.fault(message, state)]
            if message.kind == "Z":
                state["ready"] = True
        del received[:start]
        return b"".join(out)


class SwapsReplies:
    """Once in so many rows, one client is given the row that another one asked for."""

    def __init__(self, every=500):
        self.every = every
        self.count = 0
        self.held = None
        self.lock = threading.Lock()

    def __call__(self, message, state):
        if message.kind != "D" or not state.get("ready"):
            return [message]
        with self.lock:
            self.count += 1
            if self.count % self.every == 0 and self.held is not None:
                message, self.held = self.held, None
            elif self.count % self.every == self.every // 2:
                self.held = message
        return [message]
