"""Noisy neighbours: what groups of clients may take of the proxy, and whose turn it is.

Nothing here measures time. Whose turn it is is seen from a queue that is full before it moves: each
client in it asks a sequence for its number.
"""

import contextlib

import pgwire
import pytest
from demo_process import wait_until

SEQUENCE = "turns_of_groups"


@contextlib.contextmanager
def queue_of(proxy, names):
    """Clients of these application_names, all waiting, in this order, for the one connection that
    somebody holds; on leaving their answers are a list of (number, name)."""
    wires, turns = [], []
    with proxy.connect(parameters={"application_name": "holder"}) as holder, \
            proxy.connect(database="holdfast") as console:

        def waiting():
            body = pgwire.rows(console.ask(pgwire.query("SHOW STATEMENTS")))
            return sum("waits" in row[7] for row in body)

        holder.rows(f"CREATE SEQUENCE IF NOT EXISTS {SEQUENCE}")
        holder.rows(f"ALTER SEQUENCE {SEQUENCE} RESTART")
        for name in names:
            wires.append((name, proxy.connect(parameters={"application_name": name})))
        holder.rows("BEGIN")
        for count, (_, wire) in enumerate(wires, 1):
            wire.send(pgwire.query(f"SELECT nextval('{SEQUENCE}')"))
            if count in (len(wires), len(wires) - names[::-1].index(names[0])):
                wait_until(lambda n=count: waiting() == n, 20, "all of them wait")
        yield turns
        holder.rows("COMMIT")
        for name, wire in wires:
            turns.append((int(pgwire.rows(wire.read_until_ready())[0][0]), name))
            wire.close()
        turns.sort()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_calm_group_waits_for_its_share_and_not_for_the_noisy_ones_queue(start_proxy, workers):
    proxy = start_proxy("transaction", pool_size=1, listen={"workers": workers}, groups={
        "calm": {"application_name": "calm", "weight": 100},
        "noisy": {"application_name": "noisy", "weight": 100}})
    with queue_of(proxy, ["noisy"] * 50 + ["calm"] * 2) as turns:
        pass
    # First in, first out would serve them last. Between workers turns are equal within a few.
    last = max(number for number, name in turns if name == "calm")
    assert last <= (4 if workers == 1 else 40), turns


def test_weights_of_three_to_one_give_three_to_one(start_proxy):
    proxy = start_proxy("transaction", pool_size=1, listen={"workers": 1}, groups={
        "gold": {"application_name": "gold", "weight": 300},
        "iron": {"application_name": "iron", "weight": 100}})
    with queue_of(proxy, ["iron"] * 20 + ["gold"] * 20) as turns:
        pass
    first = [name for _, name in turns[:24]]
    assert 17 <= first.count("gold") <= 19, turns


def test_clients_with_settings_of_their_own_get_their_turn(start_proxy):
    """A connection that was made ready for a client was given to the next one before it was heard:
    where many waited and names differed, some were served never."""
    proxy = start_proxy("transaction", pool_size=1, listen={"workers": 1})
    names = [f"name {i}" for i in range(30)]
    with queue_of(proxy, names) as turns:
        pass
    # As they came, but for those who came in the same moment.
    assert all(abs(names.index(name) + 1 - number) <= 5 for number, name in turns), turns


def answer_of(wire, sql="SELECT 1"):
    """Its error's fields, or None."""
    wire.send(pgwire.query(sql))
    found = [m for m in wire.read_until_ready() if m.kind == "E"]
    return found[0].fields if found else None


def test_a_group_has_its_limits_and_says_what_they_are(start_proxy):
    """One proxy, as each limit has a group of its own; then other limits, while it runs."""
    groups = {
        "few": {"application_name": "few*", "clients_max": 2},
        "narrow": {"application_name": "narrow", "concurrency_max": 1, "queue_max": 1,
                   "queue_wait": "60s"},
        "hasty": {"application_name": "hasty", "concurrency_max": 1, "queue_wait": "500ms"},
        "slow": {"application_name": "slow", "rate": 1, "rate_burst": 2, "queue_wait": "0s"},
        "each": {"application_name": "each*", "per": "application_name", "clients_max": 1},
    }
    proxy = start_proxy("transaction", groups=groups)

    def connect(name):
        return proxy.connect(parameters={"application_name": name})

    # How many clients.
    wires = [connect("few1"), connect("few2")]
    with pytest.raises(pgwire.ServerError) as refused:
        connect("few3")
    fields = refused.value.fields
    assert fields["C"] == "53300"
    assert fields["M"] == 'too many connections for group "few"'
    assert fields["D"] == "It has 2 clients; its clients_max is 2."
    assert "groups.few.clients_max" in fields["H"]

    # Each for itself.
    wires += [connect("each1"), connect("each2")]
    with pytest.raises(pgwire.ServerError) as refused:
        connect("each2")
    assert "each2" in refused.value.fields["D"]

    # How many at once: one runs, one waits, the next one is refused.
    first, second, third = connect("narrow"), connect("narrow"), connect("narrow")
    first.rows("BEGIN")
    second.send(pgwire.query("SELECT 2"))
    wait_until(lambda: answer_of(third) is not None, 10, "the queue is full")
    fields = answer_of(third)
    assert fields["C"] == "53300"
    assert fields["M"] == 'group "narrow" uses all server connections that it may have'
    assert fields["D"].startswith("1 of 1 are in use, 1 clients wait")
    assert second.is_quiet()
    first.rows("COMMIT")
    assert pgwire.rows(second.read_until_ready()) == [("2",)]

    # And how long it waits: answered, and can go on.
    hasty, other = connect("hasty"), connect("hasty")
    hasty.rows("BEGIN")
    assert answer_of(other)["C"] == "53300"
    hasty.rows("COMMIT")
    assert answer_of(other) is None

    # How many a second.
    slow = connect("slow")
    answers = [answer_of(slow) for _ in range(6)]
    assert answers[0] is None and answers[1] is None
    fields = next(fields for fields in answers if fields)
    assert fields["C"] == "53400"
    assert fields["M"] == 'too many transactions a second for group "slow"'
    assert "Its rate is 1 a second" in fields["D"]
    assert "groups.slow.rate" in fields["H"]

    # Another limit, for those who are there and those who come; what runs stays counted.
    first.rows("BEGIN")
    second.send(pgwire.query("SELECT 3"))
    assert second.is_quiet()
    groups["narrow"]["concurrency_max"] = 2
    groups["few"]["clients_max"] = 3
    del groups["slow"]
    seen = proxy.log.count("configuration reloaded")
    proxy.reload(groups=groups)
    wait_until(lambda: proxy.log.count("configuration reloaded") > seen, 10, "reloaded")
    assert pgwire.rows(second.read_until_ready()) == [("3",)]
    first.rows("COMMIT")
    wires.append(connect("few3"))
    with pytest.raises(pgwire.ServerError):
        connect("few4")
    assert not [fields for fields in (answer_of(slow) for _ in range(6)) if fields]

    # Who leaves makes room.
    wires[0].close()
    wait_until(lambda: _comes_in(connect, "few4", wires), 10, "there is room again")
    for wire in [*wires, first, second, third, hasty, other, slow]:
        wire.close()


def _comes_in(connect, name, wires):
    try:
        wires.append(connect(name))
    except pgwire.ServerError:
        return False
    return True


def test_who_waits_in_a_group_may_cancel_leave_or_be_drained(start_proxy):
    proxy = start_proxy("transaction", groups={
        "one": {"application_name": "one", "concurrency_max": 1, "queue_wait": "60s"}})
    holder = proxy.connect(parameters={"application_name": "one"})
    waiting = [proxy.connect(parameters={"application_name": "one"}) for _ in range(3)]
    holder.rows("BEGIN")
    for wire in waiting:
        wire.send(pgwire.query("SELECT 1"))
    assert waiting[0].is_quiet()
    pgwire.cancel(waiting[0])
    words = [m.fields for m in waiting[0].read_until_ready() if m.kind == "E"][0]
    assert words["C"] == "57014"
    assert words["M"] == "canceling statement due to user request"
    waiting[1].reset()
    holder.rows("COMMIT")
    assert pgwire.rows(waiting[2].read_until_ready()) == [("1",)]
    assert waiting[0].value("SELECT 5") == "5"
    for wire in [holder, waiting[0], waiting[2]]:
        wire.close()


def test_in_session_mode_a_place_is_held_from_login_to_end(start_proxy):
    proxy = start_proxy("session", groups={
        "one": {"application_name": "one", "concurrency_max": 1}})
    first = proxy.connect(parameters={"application_name": "one"})
    with pytest.raises(pgwire.ServerError) as refused:
        proxy.connect(parameters={"application_name": "one"})
    assert refused.value.sqlstate == "53300"
    first.close()
    wires = []
    wait_until(lambda: _comes_in(
        lambda name: proxy.connect(parameters={"application_name": name}), "one", wires), 10,
        "there is room again")
    assert wires[0].value("SELECT 1") == "1"
    wires[0].close()
