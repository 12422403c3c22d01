"""A sequence of messages as plain data, and what a server answers to it.

A sequence is what a case file holds, so that it can be read, shrunk and kept:

    {"mode": "transaction",          the least of statement, transaction, session that allows it
     "delivery": "steps",            or burst, all, cut: see run()
     "parameters": {"DateStyle": "ISO"},           of the startup message
     "chunks": [[["Q", "BEGIN"]], [["P", "s1", "SELECT $1::int", []], ["S"]]]}

Each message is a list whose first item is its type on the wire; build() has the rest. A value may
be {"fill": "x", "size": 100000} or {"hex": "00ff"}, and ["raw", "z", "00"] is any type with any
body.
"""

import random
import time
from collections import deque

import pgwire

END = [["f", "the end"], ["S"]]
SECONDS = 5.0  # that an answer may take before a run counts as hanging
EXTENDED = set("PBDCE")
READY = set("QFS")


def value_of(value):
    if isinstance(value, dict):
        if "hex" in value:
            return bytes.fromhex(value["hex"])
        return value["fill"] * value["size"]
    return value


def build(item):
    """The bytes of one message."""
    kind, *rest = item
    if kind == "B":
        portal, name, values, formats, results = rest
        return pgwire.bind(portal, name, [value_of(v) for v in values], formats, results)
    if kind == "F":
        return pgwire.function_call(rest[0], [value_of(v) for v in rest[1]])
    if kind == "d":
        return pgwire.copy_data(value_of(rest[0]))
    if kind == "raw":
        return pgwire.message(rest[0], bytes.fromhex(rest[1]))
    makers = {"Q": pgwire.query, "P": pgwire.parse, "D": pgwire.describe, "C": pgwire.close,
              "E": pgwire.execute, "S": pgwire.sync, "H": pgwire.flush, "c": pgwire.copy_done,
              "f": pgwire.copy_fail, "X": pgwire.terminate}
    return makers[kind](*rest)


class Owed:
    """What is still to come, so that a run knows when to send its next chunk.

    It follows PostgreSQL's main loop: after an error in the extended protocol everything up to the
    next Sync is skipped, and during COPY FROM STDIN Sync and Flush mean nothing. Where it cannot
    know (did the error come before that Sync or after it?) it takes the side that waits for less:
    the transcript is the same, only sent earlier.
    """

    def __init__(self):
        self.pending = deque()
        self.current = None
        self.copy_in = False
        self.ended_copy = None  # by what does not belong there, unless an error was quicker
        self.skips = False
        self.is_over = False

    def sent(self, kind):
        self.pending.append(kind)
        self._advance()

    def _advance(self):
        while self.pending and (self.current is None or self.copy_in):
            kind = self.pending.popleft()
            if self.copy_in:
                # CopyDone and CopyFail end it; so does, with an error, what does not belong there.
                self.copy_in = kind in "dSH"
                self.ended_copy = None if kind in "dSHcf" else kind
            elif self.skips:
                if kind == "S":
                    self.skips = False
                    self.current = kind
            elif kind in EXTENDED or kind in READY:
                self.current = kind
            elif kind not in "dcfH":
                self.is_over = True  # a message that ends the session

    def received(self, message):
        kind = message.kind
        if kind == "E":
            self.copy_in = False
            if self.ended_copy is not None and message.fields.get("C") != "08P01":
                self.pending.appendleft(self.ended_copy)
            self.ended_copy = None
            self.is_over = self.is_over or message.fields.get("S") in ("FATAL", "PANIC")
            if self.current in EXTENDED:
                self.skips = True
                self.current = None
        elif kind == "Z":
            self.current = None
        elif kind == "G":
            self.copy_in = True
        elif self.current in EXTENDED and kind in {"P": "1", "B": "2", "C": "3", "D": "Tn",
                                                   "E": "CsI"}[self.current]:
            self.current = None
        self._advance()

    @property
    def is_settled(self):
        """Whether nothing more comes until more is sent. Without a Flush or Sync behind it, what an
        extended message is answered stays in the server's buffer."""
        if self.is_over or self.current is None or self.copy_in:
            return True
        return self.current in EXTENDED and not any(kind in "SHQF" for kind in self.pending)


class Transcript:
    """What a run brought: messages, and how it ended (closed, hangs, refused)."""

    def __init__(self):
        self.login = []
        self.messages = []
        self.end = ""

    def items(self):
        return [*self.messages, self.end]


def _wait(wire, owed, transcript):
    deadline = time.monotonic() + SECONDS
    while not owed.is_settled:
        message = wire.read(deadline - time.monotonic())
        transcript.messages.append(message)
        owed.received(message)


def _send(wire, data, cuts):
    if cuts is None:
        wire.send(data, seconds=SECONDS)
        return
    places = sorted(cuts.randrange(len(data)) for _ in range(min(6, len(data)))) if data else []
    wire.send_slowly(data, places)


def run(target, sequence):
    """Sends a sequence and returns its Transcript. The deliveries:

    steps  chunk after chunk, each when what the last one is owed has come
    cut    the same, the bytes cut at chance places into packets of their own
    burst  all chunks at once, Terminate when everything is answered
    all    all chunks at once, and Terminate with them

    All end with a CopyFail, which means nothing where there is no COPY, and a Sync, so that nothing
    is left in anybody's buffer.
    """
    transcript = Transcript()
    delivery = sequence.get("delivery", "steps")
    cuts = random.Random(len(str(sequence))) if delivery == "cut" else None
    try:
        wire = target.connect(parameters=sequence.get("parameters"), seconds=SECONDS)
    except (pgwire.ServerError, pgwire.Closed, pgwire.TimedOut, ConnectionError) as error:
        transcript.end = f"refused: {error}"
        return transcript
    with wire:
        transcript.login = wire.login
        owed = Owed()
        try:
            chunks = [*sequence["chunks"], [*END, ["X"]] if delivery == "all" else END]
            if delivery in ("burst", "all"):
                chunks = [[item for chunk in chunks for item in chunk]]
            for chunk in chunks:
                for item in chunk:
                    owed.sent(item[1] if item[0] == "raw" else item[0])
                _send(wire, b"".join(map(build, chunk)), cuts)
                _wait(wire, owed, transcript)
            if delivery != "all":
                wire.send(pgwire.terminate(), seconds=SECONDS)
            _read_to_end(wire, transcript)
        except pgwire.Closed:
            transcript.messages += wire.rest()
            transcript.end = "closed"
        except pgwire.TimedOut:
            transcript.end = "hangs"
    return transcript


def _read_to_end(wire, transcript):
    deadline = time.monotonic() + SECONDS
    while True:
        transcript.messages.append(wire.read(deadline - time.monotonic()))
