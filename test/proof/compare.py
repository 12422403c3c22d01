"""When two transcripts are the same, and what may differ between PostgreSQL and a proxy.

Every allowance for a message is a row of ALLOWED with its reason; those for what stands around it,
in pools only, are _in_order(), _are_last_words() and _breaks_copy(). All else is equal to the byte.
"""

import re
import struct
from collections import Counter
from typing import NamedTuple

import pgwire

MODES = ("statement", "transaction", "session")
PLACE_FIELDS = "FLR"  # file, line and routine of an error in PostgreSQL's source


PLAN_CONDITION = re.compile(rb"^.{6}( *(?:Index Cond|Filter): ).*", re.DOTALL)
STATEMENT_NAME = re.compile(rb'(prepared statement )"[^"]*"')


class Allowance(NamedTuple):
    modes: tuple
    kinds: str     # of message
    sqlstates: tuple  # empty: any, and messages that have none
    what: str      # fields that are not compared; or "pid"; "name", of a statement; "plan"
    reason: str


ALLOWED = [
    Allowance(MODES, "A", (), "pid",
              "a NotificationResponse has the pid of whoever notified, another one each time"),
    Allowance(("statement", "transaction"), "E", ("26000", "42P05"), PLACE_FIELDS,
              "names of prepared statements are the proxy's own affair in these modes, so it says "
              "itself that there is none, or already one; it is not a line of PostgreSQL"),
    Allowance(("statement", "transaction"), "E", ("25P02",), PLACE_FIELDS,
              "in a failed transaction a Bind may find its statement to be prepared again first, "
              "which is refused for the same reason on another line"),
    Allowance(("statement", "transaction"), "E", ("08P01", "26000"), "name",
              "a Bind with too many values is refused by the server, and so is one that was sent "
              "before the answer to DEALLOCATE ALL was there; it knows the statement by the name "
              "that it has there"),
    Allowance(("statement", "transaction"), "D", (), "plan",
              "a statement that is there for all clients has been executed before, and PostgreSQL "
              "may have gone over to its generic plan"),
    Allowance(MODES, "E", ("08P01",), PLACE_FIELDS + "DH",
              "a proxy must find a broken message before it can pass it on, so it says so itself, "
              "why, and what to do"),
]


def _without_fields(body, names):
    parts = [part for part in body.split(b"\0") if part and part[:1].decode() not in names]
    return b"\0".join(parts) + b"\0\0"


def _known_tables(body, known):
    """A RowDescription without the identity of tables that the sequence made itself."""
    count, = struct.unpack_from("!h", body)
    data, offset = bytearray(body), 2
    for _ in range(count):
        offset = body.index(b"\0", offset) + 1
        oid, = struct.unpack_from("!I", body, offset)
        if oid >= 16384 and oid not in known:
            struct.pack_into("!I", data, offset, 0)
        offset += 18
    return bytes(data)


def normal(message, mode, known=frozenset()):
    """A message without what may legally differ."""
    body = message.body
    if message.kind == "T":
        body = _known_tables(body, known)
    for row in ALLOWED:
        if message.kind not in row.kinds or mode not in row.modes:
            continue
        if row.sqlstates and message.sqlstate not in row.sqlstates:
            continue
        if row.what == "pid":
            body = b"\0\0\0\0" + body[4:]
        elif row.what == "name":
            body = STATEMENT_NAME.sub(rb'\1""', body)
        elif row.what == "plan":
            body = PLAN_CONDITION.sub(rb"\1", body)
        else:
            body = _without_fields(body, row.what)
    return pgwire.Message(message.kind, body)


def _greeting(transcript):
    """What a login tells, apart from keys: those are secrets of each connection."""
    said = [message for message in transcript.login if message.kind in "SNE"]
    return sorted((message.kind, message.body) for message in said)


def _in_order(items):
    """What RESET ALL changes is reported in the order of a list within the server, which depends on
    what its connection began with."""
    found, reports = [], []
    for item in items:
        if isinstance(item, pgwire.Message) and item.kind == "S":
            reports.append(item)
        else:
            found += [*sorted(reports, key=lambda report: report.body), item]
            reports = []
    return found + reports


def _breaks_copy(item):
    """A client said during a COPY what does not belong there, which is the end of its session with
    PostgreSQL. If it is a message that the proxy answers itself, sent before it was known that this
    is a COPY, the server stumbles over another one, or over nothing: what follows is not compared.
    That it ends the session too if it is known, test_proxy_traps.py sees."""
    return isinstance(item, pgwire.Message) and item.kind == "E" and \
        item.sqlstate == "08P01" and "during COPY" in item.fields.get("M", "")


def _are_last_words(items):
    """A server that cannot follow a client any more says so and ends. A pooled client that has said
    goodbye already is not kept waiting for that."""
    last = items[-2] if len(items) > 1 else None
    return isinstance(last, pgwire.Message) and last.kind == "E" and \
        last.fields.get("S") == "FATAL" and last.sqlstate == "08P01"


def difference(ours, theirs, mode, known=frozenset()):
    """None, or a text that shows the first place where two transcripts part. `ours` is the proxy's,
    `theirs` PostgreSQL's."""
    if _greeting(ours) != _greeting(theirs):
        ours_, theirs_ = Counter(_greeting(ours)), Counter(_greeting(theirs))
        return f"the greeting: missing {theirs_ - ours_}, extra {ours_ - theirs_}"
    left, right = ours.items(), theirs.items()
    if mode != "session":
        left, right = _in_order(left), _in_order(right)
    if mode != "session" and len(left) == len(right) - 1 and _are_last_words(right):
        del right[-2]
    for number in range(max(len(left), len(right))):
        a = left[number] if number < len(left) else None
        b = right[number] if number < len(right) else None
        if isinstance(a, pgwire.Message) and isinstance(b, pgwire.Message):
            if normal(a, mode, known) == normal(b, mode, known):
                continue
        elif a == b:
            continue
        if mode != "session" and _breaks_copy(b):
            return None
        before = "".join(f"    both       {each}\n" for each in right[max(0, number - 6):number])
        return (f"message {number}:\n{before}    PostgreSQL {_show(b)}\n    here       {_show(a)}\n"
                f"    all of PostgreSQL's: {_kinds(right)}\n"
                f"    all of these:        {_kinds(left)}")
    return None


def _show(item):
    if isinstance(item, pgwire.Message) and item.kind in "EN":
        return f"{item.kind} {item.fields}"
    return str(item)


def _kinds(items):
    return "".join(i.kind if isinstance(i, pgwire.Message) else f" ({i})" for i in items)[:300]
