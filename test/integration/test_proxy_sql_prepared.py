"""PREPARE, EXECUTE and DEALLOCATE as SQL, over server connections that belong to nobody.

The oracle is PostgreSQL: each script is run by clients with sessions of their own, and by clients
that share one server connection of a pool; what they are told must be the same, down to the names
and the places in error messages.
"""

import pgwire
import pytest
from pgwire import bind, close, describe, execute, flush, parse, query, sync

MODES = ["transaction", "statement"]


def run(text, name="", values=()):
    """What a driver sends that knows the extended protocol only."""
    return parse(name, text) + bind("", name, values) + describe("P", "") + execute() + sync()


def use(name, *values):
    """A statement that is there, by the protocol."""
    return bind("", name, values) + describe("P", "") + execute() + sync()


def told(messages):
    """What a client sees of them; where in the server's code an error was made is not it."""
    found = []
    for each in messages:
        if each.kind in "EN":
            found.append((each.kind, *(each.fields.get(key) for key in "SCMDHP")))
        elif each.kind in "SA":
            continue
        elif each.kind == "T":
            found.append((each.kind, columns(each.body)))
        else:
            found.append((each.kind, bytes(each.body)))
    return found


def columns(body):
    """Names and types of a RowDescription: a table's OID is not the same in two of them."""
    found, at = [], 2
    while at < len(body):
        end = body.index(b"\0", at)
        found.append((body[at:end], body[end + 7:end + 11]))
        at = end + 19
    return found


def replay(target, script):
    """Each step is (client, message, ...): sent, and read up to as many ReadyForQuery as asked."""
    clients, found = {}, []
    try:
        for name, *messages in script:
            if name not in clients:
                clients[name] = target.connect()
            raw = b"".join(query(each) if isinstance(each, str) else each for each in messages)
            clients[name].send(raw)
            found.append((name, messages, told(clients[name].read_until_ready(count_ready(raw)))))
    finally:
        for client in clients.values():
            client.close()
    return found


def count_ready(raw):
    """How many Syncs and Queries stand in a client's bytes."""
    count, at = 0, 0
    while at < len(raw):
        count += raw[at:at + 1] in b"SQ"
        at += 1 + int.from_bytes(raw[at + 1:at + 5], "big")
    return count


def check(direct, target, script):
    wanted, got = replay(direct, script), replay(target, script)
    for one, other in zip(wanted, got):
        assert one == other, f"\nPostgreSQL: {one}\nthe proxy:  {other}"


ONE = "PREPARE one AS SELECT $1::int + 1"
TYPED = "PREPARE typed (int, text) AS SELECT $1, $2"

# By what they are about. A letter is a client.
SCRIPTS = {
    "prepared, executed, forgotten": [
        ("a", ONE), ("a", "EXECUTE one(1)"), ("a", "EXECUTE one (2);"), ("a", "DEALLOCATE one"),
        ("a", "EXECUTE one(1)"), ("a", "DEALLOCATE one")],
    "two clients with one name": [
        ("a", ONE), ("b", "PREPARE one AS SELECT 'of b'"), ("a", "EXECUTE one(1)"),
        ("b", "EXECUTE one"), ("a", "DEALLOCATE one"), ("b", "EXECUTE one"), ("a", "EXECUTE one"),
        ("c", "EXECUTE one(1)"), ("c", "DEALLOCATE one"), ("b", "DEALLOCATE ALL"),
        ("b", "EXECUTE one")],
    "types decide": [
        ("a", TYPED), ("a", "EXECUTE typed('1', 2)"), ("a", "EXECUTE typed(1)"),
        ("a", "EXECUTE typed('x', 'y')"), ("b", "PREPARE typed (text, int) AS SELECT $1, $2"),
        ("b", "EXECUTE typed('x', 1)"), ("a", "EXECUTE typed(1, 'x')"),
        ("a", describe("S", "typed") + sync()), ("b", describe("S", "typed") + sync()),
        ("a", "PREPARE u (unknown) AS SELECT $1 || 'x'"), ("a", "EXECUTE u('y')"),
        ("a", "PREPARE wrong (nonsense) AS SELECT $1"), ("a", "EXECUTE wrong(1)")],
    "names": [
        ("a", 'PREPARE "One" AS SELECT 1'), ("a", "PREPARE ONE AS SELECT 2"),
        ("a", 'EXECUTE "One"'), ("a", "execute One"), ("a", 'EXECUTE "one"'),
        ("a", 'PREPARE "a ""b" AS SELECT 3'), ("a", 'EXECUTE "a ""b"'),
        ("a", 'DEALLOCATE PREPARE "a ""b"'), ("a", 'EXECUTE "a ""b"'),
        ("a", f"PREPARE {'x' * 63} AS SELECT 4"), ("a", f"EXECUTE {'x' * 63}"),
        ("a", 'PREPARE "" AS SELECT 1'), ("a", 'EXECUTE ""'),
        ("a", "PREPARE prepare AS SELECT 5"), ("a", "EXECUTE prepare"),
        ("a", "DEALLOCATE prepare"), ("a", "DEALLOCATE prepare prepare"),
        ("a", "EXECUTE prepare"), ("a", 'PREPARE "\u00e4\u00f6" AS SELECT 6'),
        ("a", 'EXECUTE "\u00e4\u00f6"'), ("a", "/* why */ EXECUTE -- not\n one")],
    "names of ours": [
        ("a", ONE), ("a", "EXECUTE one(1)"), ("b", "EXECUTE hf_0(1)"), ("b", "EXECUTE hf__0"),
        ("b", "DEALLOCATE hf_0"), ("b", "EXECUTE hf_(1)"), ("a", "EXECUTE one(1)"),
        ("b", "PREPARE hf_0 AS SELECT 'mine'"), ("b", "EXECUTE hf_0"), ("a", "EXECUTE one(1)")],
    "errors have the client's names and places": [
        ("a", "PREPARE one AS SELEC 1"), ("a", "PREPARE one AS SELECT nothing"),
        ("a", "   PREPARE a_rather_long_name_for_it AS SELECT nothing, $1"), ("a", ONE),
        ("a", "PREPARE one AS SELECT 2"), ("a", "PREPARE one AS SELECT nothing"),
        ("a", "EXECUTE one(1, 2)"), ("a", "EXECUTE one('x')"), ("a", "EXECUTE one(nothing)"),
        ("a", "EXPLAIN (COSTS off) EXECUTE one(nothing)"), ("a", "EXECUTE other(1)"),
        ("a", "SELECT '\u00e4\u00e4'; EXECUTE one(nothing)"), ("a", "EXECUTE one(1) 2"),
        ("a", "DEALLOCATE one one"), ("a", "PREPARE bad AS VACUUM"), ("a", "EXECUTE one(1/0)")],
    "inside of other statements": [
        ("a", ONE), ("a", "EXPLAIN (COSTS off) EXECUTE one(1)"),
        ("a", "EXPLAIN EXECUTE other"), ("a", "CREATE TEMP TABLE ct AS EXECUTE one(4)"),
        ("a", "BEGIN; CREATE TABLE ct2 AS EXECUTE one(4)"), ("a", "SELECT * FROM ct2"),
        ("a", "ROLLBACK")],
    "transactions do not undo it": [
        ("a", "BEGIN"), ("a", ONE), ("a", "EXECUTE one(1)"), ("a", "ROLLBACK"),
        ("a", "EXECUTE one(2)"), ("a", "BEGIN"), ("a", "DEALLOCATE one"), ("a", "ROLLBACK"),
        ("a", "EXECUTE one(2)"), ("a", "BEGIN"), ("a", "SELECT 1/0"), ("a", ONE),
        ("a", "EXECUTE one(1)"), ("a", "DEALLOCATE one"), ("a", "ROLLBACK"),
        ("a", "EXECUTE one(1)"), ("a", ONE), ("a", "BEGIN"), ("a", "SELECT 1/0"),
        ("a", "EXECUTE one(1)"), ("a", "ROLLBACK; EXECUTE one(7)"), ("a", "EXECUTE one(8)")],
    "strings of statements": [
        ("a", ONE + "; EXECUTE one(1)"), ("a", "EXECUTE one(2); EXECUTE one(3)"),
        ("a", "DEALLOCATE one; EXECUTE one(1)"), ("a", "EXECUTE one(1)"),
        ("a", "PREPARE p AS SELECT 1; PREPARE p AS SELECT 2"), ("a", "EXECUTE p"),
        ("a", "DEALLOCATE p; PREPARE p AS SELECT 3; EXECUTE p"), ("a", "EXECUTE p"),
        ("a", "SELECT 1; DEALLOCATE p; SELECT 1/0"), ("a", "EXECUTE p"),
        ("a", "PREPARE q(int) AS SELECT $1; PREPARE r(text) AS SELECT $1; SELECT 1/0"),
        ("a", "EXECUTE q(1)"), ("a", "EXECUTE r('x')"), ("a", "DEALLOCATE ALL; EXECUTE q(1)"),
        ("a", "EXECUTE q(1)"), ("a", "PREPARE s(int) AS SELECT $1; DEALLOCATE s"),
        ("a", "EXECUTE s(1)"), ("a", "BEGIN; PREPARE s(int) AS SELECT $1; COMMIT"),
        ("a", "EXECUTE s(1)"), ("a", "PREPARE s(int) AS SELECT $1; SELECT 2"),
        ("a", "PREPARE t(int) AS SELECT $1; DEALLOCATE ALL"), ("a", "EXECUTE t(1)"),
        ("b", "EXECUTE s(1)")],
    "the protocol's names are the same": [
        ("a", parse("s1", "SELECT $1::int * 2") + sync()), ("a", "EXECUTE s1(4)"),
        ("b", "EXECUTE s1(4)"), ("a", use("s1", "5")), ("a", "PREPARE s1 AS SELECT 1"),
        ("a", "DEALLOCATE s1"), ("a", use("s1", "6")), ("a", "EXECUTE s1(4)"),
        ("a", TYPED), ("a", use("typed", "7", "x")), ("a", parse("typed", "SELECT 1") + sync()),
        ("a", close("S", "typed") + sync()), ("a", "EXECUTE typed(1, 'x')"),
        ("a", parse("s2", "SELECT 2") + bind("", "s2") + execute() + sync(), "DEALLOCATE s2"),
        ("a", use("s2")), ("a", parse("s2", "SELECT 3") + sync(), "EXECUTE s2"),
        ("a", "BEGIN"), ("a", parse("s3", "SELECT 4") + sync()), ("a", "DEALLOCATE s3"),
        ("a", use("s3")), ("a", "ROLLBACK")],
    "by the extended protocol": [
        ("a", run(ONE)), ("a", run("EXECUTE one(1)")), ("a", run("EXECUTE one(1, 2)")),
        ("a", run("EXECUTE one(nothing)")), ("a", run(TYPED)), ("a", run("EXECUTE typed(1, 'a')")),
        ("a", run("EXPLAIN (COSTS off) EXECUTE one(1)")), ("b", run("EXECUTE one(1)")),
        ("a", run("PREPARE one AS SELECT 2")), ("a", run("DEALLOCATE one")),
        ("a", run("EXECUTE one(1)")), ("a", run("DEALLOCATE one")), ("a", use("typed", "1", "b")),
        ("a", run("DEALLOCATE ALL")), ("a", run("EXECUTE typed(1, 'a')")),
        ("a", run("PREPARE bad AS SELECT nothing")), ("a", run("PREPARE bad AS SELEC")),
        ("a", run(ONE)), ("a", "BEGIN"), ("a", run("SELECT 1/0")), ("a", run("EXECUTE one(1)")),
        ("a", run("DEALLOCATE one")), ("a", "ROLLBACK"), ("a", run("EXECUTE one(1)"))],
    "in pipelines": [
        ("a", run(ONE) + run("EXECUTE one(1)") + run("DEALLOCATE one") + run("EXECUTE one(1)")),
        ("a", parse("", ONE) + bind("", "") + execute() + parse("", "EXECUTE one(3)")
         + bind("", "") + execute() + parse("", "DEALLOCATE one") + bind("", "") + execute()
         + parse("", "EXECUTE one(3)") + bind("", "") + execute() + sync()),
        ("a", parse("", TYPED) + bind("", "") + execute() + flush()
         + bind("", "typed", ("1", "x")) + execute() + sync()),
        ("a", query(ONE) + query("EXECUTE one(1)") + query("DEALLOCATE one") + query("SELECT 1")),
        ("a", parse("", "SELECT 1/0") + bind("", "") + execute() + parse("", ONE) + bind("", "")
         + execute() + sync() + run("EXECUTE one(1)")),
        ("a", parse("", "SELECT 1/0") + bind("", "") + execute() + sync()
         + query("EXECUTE one(1)") + query("EXECUTE one(4)"))],
    "prepared by name, to execute": [
        ("a", ONE), ("a", parse("x", "EXECUTE one(1)") + sync()), ("a", use("x")), ("a", use("x")),
        ("b", "SELECT 1"), ("a", use("x")), ("a", describe("S", "x") + sync()),
        ("a", parse("y", "DEALLOCATE one") + sync()), ("a", use("y")), ("a", "EXECUTE one(1)"),
        ("a", parse("z", "PREPARE q AS SELECT 4") + sync()), ("a", use("z")), ("a", "EXECUTE q")],
    "long texts": [
        ("a", f"PREPARE long AS SELECT '{'x' * 100_000}', $1::text"),
        ("a", f"EXECUTE long('{'y' * 50_000}')"), ("a", run(f"EXECUTE long('{'z' * 50_000}')")),
        ("a", f"EXECUTE long('{'y' * 50_000}', nothing)"), ("a", "DEALLOCATE long"),
        ("a", f"EXECUTE long('{'y' * 50_000}')")],
    "copies": [
        ("a", ONE), ("a", "COPY (SELECT 1) TO STDOUT; EXECUTE one(1)"),
        ("a", "PREPARE two(int) AS SELECT $1; COPY (SELECT 1) TO STDOUT"), ("a", "EXECUTE two(2)")],
    "an unnamed statement ends": [
        ("a", ONE), ("a", "BEGIN"), ("a", parse("", "SELECT 1") + sync()), ("a", "EXECUTE one(1)"),
        ("a", use("")), ("a", "ROLLBACK")],
}


@pytest.mark.parametrize("mode", MODES)
def test_what_clients_are_told_is_what_postgresql_says(start_proxy, direct, mode):
    target = start_proxy(mode, pool_size=1)
    failures = []
    for name, script in SCRIPTS.items():
        if mode == "statement" and any("BEGIN" in str(step) for step in script):
            continue
        try:
            check(direct, target, script)
        except (AssertionError, pgwire.TimedOut, pgwire.Closed) as error:
            failures.append(f"{name}: {error}")
    assert not failures, "\n".join(failures)
