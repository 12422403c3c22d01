"""A COMMIT whose answer was lost, against real servers: is what core/commit says what the table
says? Killed, stopped, promoted, cut off; with synchronous standbys and without; by a role without
privileges. COMMIT_ROUNDS=n repeats the tests of chance n times."""

import os
import random
import signal
import time

import pgwire
import pytest
from commit_rig import Asker, Pair
from demo_process import wait_until

ROUNDS = int(os.environ.get("COMMIT_ROUNDS", "4"))
MARKED, MARKED_ALWAYS, UNMARKED = 0, 1, 2


@pytest.fixture(name="pair")
def make_pair(place):
    pair = Pair(place.new_folder())
    yield pair
    pair.close()


class Writer:
    """A transaction of the role `app` that inserts one row, up to the point where it breaks."""

    numbers = iter(range(1, 1 << 40))

    def __init__(self, pair, asker, mark=MARKED, insert="INSERT INTO t VALUES ({id})"):
        self.server = pair.primary
        self.sql = asker.probe_sql(mark)
        self.id = next(self.numbers)
        self.wire = pair.primary.connect(user="app")
        self.wire.ask(pgwire.query("BEGIN"))
        self.wire.ask(pgwire.query(insert.format(id=self.id)))
        self.pid = int(self.wire.value("SELECT pg_backend_pid()"))
        self.probe = None

    def ask_probe(self):
        """Early, with an answer that is waited for."""
        self.probe = self.wire.rows(self.sql)[0]
        return self

    def send_commit(self):
        self.wire.send(pgwire.query("COMMIT"))
        return self

    def send_both(self):
        """As a driver does: in one packet, two messages."""
        self.wire.send(pgwire.query(self.sql), pgwire.query("COMMIT"))
        return self

    def read_probe(self):
        """What came of it before the line broke."""
        try:
            found = pgwire.rows(self.wire.read_until_ready(seconds=2))
            self.probe = found[0] if found else None
        except (OSError, pgwire.Closed, pgwire.TimedOut, pgwire.ServerError):
            pass
        return self

    def cut(self):
        self.wire.reset()
        return self

    def is_there(self, server):
        return server.value(f"SELECT count(*) FROM t WHERE id = {self.id}") == "1"


def check(writer, resolution, server):
    expected = "committed" if writer.is_there(server) else "aborted"
    assert resolution == expected, (resolution, expected, writer.probe)


def wait_replayed(pair):
    wait_until(lambda: pair.primary.value(
        "SELECT bool_and(replay_lsn >= pg_current_wal_lsn()) FROM pg_stat_replication") == "t",
        20, "the standby has it")


def wait_unconfirmed(pair, writer):
    """Its commit is written here, and waits for the standby."""
    wait_until(lambda: pair.primary.value(
        f"SELECT wait_event FROM pg_stat_activity WHERE pid = {writer.pid}") == "SyncRep",
        20, "it waits for the standby")


# ---- the server lives on ----

@pytest.mark.parametrize("version", [150000, 120000])
def test_commit__an_answer_that_got_lost_is_found(pair, version):
    """The words for servers before 13 mean the same to later ones."""
    with Asker(pair, version=version) as asker:
        for point in ("before", "after", "before", "after"):
            writer = Writer(pair, asker).ask_probe()
            if point == "after":
                writer.send_commit()
                writer.wire.read_until_ready()
            writer.cut()
            resolution, why = asker.lost(pair.primary, writer.probe)
            assert (resolution, why) == ("committed" if point == "after" else "aborted",
                                         "the server has recorded it")
            check(writer, resolution, pair.primary)


def test_commit__a_backend_that_has_not_read_its_commit_yet_is_waited_for(pair):
    with Asker(pair) as asker:
        writer = Writer(pair, asker).ask_probe()
        os.kill(writer.pid, signal.SIGSTOP)
        writer.send_commit().cut()
        asker.begin(pair.primary, writer.probe)
        time.sleep(0.2)  # much less than its patience
        os.kill(writer.pid, signal.SIGCONT)
        resolution, _ = asker.end()
        assert resolution == "committed"
        check(writer, resolution, pair.primary)


def test_commit__a_backend_that_never_gets_its_commit_is_ended(pair):
    """The line is dead both ways: the server keeps the transaction open, and nobody tells it."""
    with Asker(pair) as asker:
        writer = Writer(pair, asker).ask_probe()
        began = time.monotonic()
        resolution, why = asker.lost(pair.primary, writer.probe)
        assert (resolution, why) == ("aborted", "the server has recorded it")
        assert 0.9 < time.monotonic() - began < 50  # of 60
        check(writer, resolution, pair.primary)


def test_commit__a_transaction_that_wrote_nothing_has_nothing_to_lose(pair):
    with Asker(pair) as asker:
        writer = Writer(pair, asker, insert="SELECT {id}").ask_probe().cut()
        assert writer.probe[0] is None
        assert asker.lost(pair.primary, writer.probe)[0] == "committed"
        assert asker.lost(pair.primary, None)[0] == "unresolved"


def test_commit__a_probe_leaves_no_id_where_none_was(pair):
    with Asker(pair) as asker, pair.primary.connect(user="app") as wire:
        for mark in (MARKED, MARKED_ALWAYS, UNMARKED):
            wire.ask(pgwire.query("BEGIN"))
            assert wire.rows(asker.probe_sql(mark))[0][0] is None
            assert wire.value("SELECT pg_current_xact_id_if_assigned()") is None
            wire.ask(pgwire.query("ROLLBACK"))


def test_commit__a_role_that_may_not_probe_is_told_before_it_does_harm(pair):
    for version in (150000, 120000):
        with Asker(pair, version=version) as asker:
            check = asker.check_sql()
            assert pair.primary.value(check, user="app") == "t"
            pair.primary.rows("REVOKE EXECUTE ON FUNCTION pg_logical_emit_message(bool, text, text)"
                              " FROM PUBLIC")
            assert pair.primary.value(check, user="app") == "f"
            assert pair.primary.value(check) == "t"
            pair.primary.rows("GRANT EXECUTE ON FUNCTION pg_logical_emit_message(bool, text, text)"
                              " TO PUBLIC")


def test_commit__a_probe_does_no_harm_anywhere(pair):
    """Read only, in recovery, in a savepoint, in a block that has failed, with odd settings."""
    with Asker(pair) as asker:
        sql = asker.probe_sql()
        with pair.standby.connect(user="app") as wire:
            assert wire.rows(sql)[0][0] is None
        with pair.primary.connect(user="app") as wire:
            wire.ask(pgwire.query("BEGIN READ ONLY"))
            assert wire.rows(sql)[0][0] is None
            wire.ask(pgwire.query("CREATE TEMP TABLE x (i int)"))
            wire.ask(pgwire.query("ROLLBACK"))
            wire.ask(pgwire.query("SET search_path = x, pg_temp; SET datestyle = 'sql, dmy';"
                                  " SET timezone = 'Asia/Kathmandu'; SET intervalstyle = iso_8601"))
            wire.ask(pgwire.query("BEGIN; SAVEPOINT a; INSERT INTO public.t VALUES (-1)"))
            row = wire.rows(sql)[0]
            assert row[0] is not None and row[2] == "t"
            assert len(row[3]) == 24 and row[5].isdigit()
            wire.ask(pgwire.query("SELECT 1/0"))
            assert "25P02" in [m.sqlstate for m in wire.ask(pgwire.query(sql)) if m.kind == "E"]
            wire.ask(pgwire.query("ROLLBACK"))


# ---- the server dies, and comes back ----

def test_commit__after_a_crash_the_server_tells(pair):
    chance = random.Random(1)
    seen = set()
    with Asker(pair) as asker:
        for _ in range(ROUNDS):
            writer = Writer(pair, asker)
            if chance.random() < 0.5:
                writer.ask_probe().send_commit()
            else:
                writer.send_both()
            time.sleep(chance.random() * 0.004)
            pair.primary.kill()
            if writer.probe is None:
                writer.read_probe()
            pair.primary.start()
            resolution, _ = asker.lost(pair.primary, writer.probe)
            if writer.probe is None:
                assert resolution == "unresolved"
            else:
                check(writer, resolution, pair.primary)
            seen.add(resolution)
    assert seen


def test_commit__asynchronous_commits_that_a_crash_lost_are_told_as_lost(pair):
    """Acknowledged or not: what the server has forgotten was aborted, also if its id is in use
    again."""
    pair.primary.rows("ALTER SYSTEM SET wal_writer_delay = '10s'")
    pair.primary.rows("ALTER SYSTEM SET synchronous_commit = off")
    pair.primary.rows("SELECT pg_reload_conf()")
    wait_until(lambda: pair.primary.value("SHOW synchronous_commit") == "off", 20, "it is off")
    with Asker(pair) as asker:
        for number in range(8):  # who writes the WAL may have been awake
            pair.primary.rows("CHECKPOINT")
            pair.primary.rows(f"SET synchronous_commit = on; INSERT INTO t VALUES (-9{number})")
            writer = Writer(pair, asker).ask_probe().send_commit()
            writer.wire.read_until_ready()
            pair.primary.kill()
            pair.primary.start()
            lost = not writer.is_there(pair.primary)
            if lost:
                break
        xid = int(writer.probe[0])
        while lost and int(pair.primary.value("SELECT pg_current_xact_id()")) <= xid:
            pass  # somebody else gets the id, and commits
        resolution, why = asker.lost(pair.primary, writer.probe)
        check(writer, resolution, pair.primary)
        assert lost, "the server had flushed it: nothing was tested"
        assert why == "the WAL was cut before the commit record"


def test_commit__a_clean_restart_loses_nothing(pair):
    with Asker(pair) as asker:
        writer = Writer(pair, asker, mark=UNMARKED).ask_probe().send_commit()
        writer.wire.read_until_ready()
        writer.cut()
        pair.primary.stop()
        pair.primary.start()
        assert asker.lost(pair.primary, writer.probe)[0] == "committed"


# ---- somebody else takes over ----

@pytest.mark.parametrize("role", ["postgres", "app"])
def test_commit__after_a_failover_the_new_primary_tells(pair, role):
    """Without privileges too: the watcher has seen where the timeline was left."""
    chance = random.Random(2)
    seen = set()
    with Asker(pair, role) as asker:
        for number in range(max(2, ROUNDS // 2)):
            writer = Writer(pair, asker).ask_probe()
            mend = pair.cut_link() if number % 2 else lambda: None
            writer.send_commit()
            if number < 2 or chance.random() < 0.5:
                writer.wire.read_until_ready()
            if number == 0:
                wait_replayed(pair)
            pair.primary.kill()
            mend()
            lost_at = pair.primary
            pair.promote()
            resolution, _ = asker.lost(lost_at, writer.probe)
            check(writer, resolution, pair.primary)
            seen.add(resolution)
            pair.rebuild()
            wait_until(lambda: pair.primary.value("SELECT pg_is_in_recovery()") == "f", 20, "is it")
    assert seen == {"committed", "aborted"}


def test_commit__without_history_and_witness_it_stays_unknown_and_with_our_function_it_does_not(
        pair):
    with Asker(pair) as before:
        setup = before.setup_sql()
        writer = Writer(pair, before).ask_probe().send_commit()
        writer.wire.read_until_ready()
        wait_replayed(pair)
        pair.primary.kill()
        lost_at = pair.primary
        pair.promote()
    with Asker(pair) as asker:  # one that has seen nothing
        assert asker.lost(lost_at, writer.probe, 3) == (
            "unresolved", "where the transaction's timeline was left is not known")
        pair.primary.rows(setup)
        assert asker.lost(lost_at, writer.probe)[0] == "committed"
        check(writer, "committed", pair.primary)
    with Asker(pair, "postgres") as asker:
        pair.primary.rows("DROP SCHEMA holdfast CASCADE")
        assert asker.lost(lost_at, writer.probe)[0] == "committed"


def test_commit__two_promotions_in_a_row_are_followed(pair):
    with Asker(pair, "postgres") as asker:
        kept = Writer(pair, asker).ask_probe().send_commit()
        kept.wire.read_until_ready()
        wait_replayed(pair)
        mend = pair.cut_link()
        lost = Writer(pair, asker).ask_probe().send_commit()
        lost.wire.read_until_ready()
        pair.primary.kill()
        mend()
        first = pair.primary
        pair.promote()
        pair.rebuild()
        pair.primary.rows("INSERT INTO t SELECT -g FROM generate_series(100, 2000) g")
        wait_replayed(pair)
        pair.primary.kill()
        pair.promote()
        assert asker.lost(first, kept.probe)[0] == "committed"
        assert asker.lost(first, lost.probe) == (
            "aborted", "the WAL was cut before the commit record")
        check(kept, "committed", pair.primary)
        check(lost, "aborted", pair.primary)


def test_commit__an_id_that_was_given_out_again_is_not_taken_for_ours(pair):
    """A transaction that wrote nothing to the WAL but, in the end, its commit: the new primary has
    never heard of its id and gives it to the next. Without a mark nothing tells them apart."""
    with Asker(pair, "postgres") as asker:
        for mark, expected in ((UNMARKED, "unresolved"), (MARKED, "aborted")):
            pair.primary.rows("CHECKPOINT")
            writer = Writer(pair, asker, mark, insert="SELECT pg_current_xact_id(), {id}")
            writer.ask_probe()
            # Records without an id, behind the probe's position, so that the cut lies behind it.
            with pair.primary.connect() as wire:
                wire.rows("SELECT pg_logical_emit_message(false, 'x', repeat('x', 5000))")
                wire.rows("SELECT pg_current_wal_flush_lsn()")
            pair.primary.rows("SELECT pg_switch_wal()")
            wait_replayed(pair)
            mend = pair.cut_link()
            writer.send_commit()
            writer.wire.read_until_ready()
            pair.primary.kill()
            mend()
            lost_at = pair.primary
            pair.promote()
            xid = int(writer.probe[0])
            mine = [int(pair.primary.value("SELECT pg_current_xact_id()")) for _ in range(3)]
            assert (xid in mine) == (mark == UNMARKED), (xid, mine)
            resolution, _ = asker.lost(lost_at, writer.probe)
            assert resolution == expected
            pair.rebuild()


# ---- synchronous standbys ----

def test_commit__what_the_standby_has_not_confirmed_is_not_called_committed(pair):
    """The backend waits for its standby; the server crashes and recovers the commit, which it then
    shows to everybody. Then the standby takes over without it."""
    pair.synchronous(True)
    with Asker(pair) as asker:
        writer = Writer(pair, asker).ask_probe()
        mend = pair.cut_link()
        writer.send_commit()
        wait_unconfirmed(pair, writer)
        assert not writer.is_there(pair.primary)  # it waits, and nobody sees it
        pair.primary.kill()
        mend()
        pair.standby.stop(signal.SIGQUIT)
        pair.primary.start()
        assert writer.is_there(pair.primary)
        # Whoever asks might not wait for standbys; the transaction did.
        pair.primary.rows("SET synchronous_commit = local;"
                          " ALTER ROLE app SET synchronous_commit = local")
        assert asker.lost(pair.primary, writer.probe, 4) == (
            "unresolved", "committed on the primary, but its synchronous standbys did not confirm")
        asker.begin(pair.primary, writer.probe)
        time.sleep(0.5)
        lost_at = pair.primary
        pair.primary.kill()
        pair.standby.start()
        pair.promote()
        assert asker.end() == ("aborted", "the WAL was cut before the commit record")
        check(writer, "aborted", pair.primary)
        assert lost_at is not pair.primary


def test_commit__once_the_standby_has_confirmed_it_is(pair):
    pair.synchronous(True)
    with Asker(pair) as asker:
        writer = Writer(pair, asker).ask_probe()
        mend = pair.cut_link()
        writer.send_commit()
        wait_unconfirmed(pair, writer)
        pair.primary.kill()
        mend()
        pair.primary.start()
        asker.begin(pair.primary, writer.probe)
        assert asker.end()[0] == "committed"
        wait_until(lambda: writer.is_there(pair.standby), 20, "the standby has it too")


def test_commit__a_wait_for_the_standby_that_is_cut_short_is_no_answer(pair):
    """pg_terminate_backend during the wait: the server says at once that it was committed, and the
    client gets an error. It is confirmed only when the standby is back."""
    pair.synchronous(True)
    with Asker(pair) as asker:
        writer = Writer(pair, asker).ask_probe()
        mend = pair.cut_link()
        writer.send_commit()
        wait_unconfirmed(pair, writer)
        status = f"SELECT pg_xact_status('{writer.probe[0]}')"
        assert pair.primary.value(status) == "in progress"
        pair.primary.rows(f"SELECT pg_terminate_backend({writer.pid})")
        wait_until(lambda: pair.primary.value(status) == "committed", 20, "the wait is over")
        asker.begin(pair.primary, writer.probe)
        time.sleep(1)
        mend()
        assert asker.end()[0] == "committed"
        wait_until(lambda: writer.is_there(pair.standby), 20, "the standby has it too")


# ---- whom not to believe ----

def test_commit__a_former_primary_is_not_believed(pair):
    """It is frozen with the commit in its hands, replaced, and thaws while it is being asked."""
    with Asker(pair, "postgres") as asker:
        writer = Writer(pair, asker).ask_probe()
        mend = pair.cut_link()
        writer.send_commit()
        writer.wire.read_until_ready()
        former = pair.primary
        former.pause()
        asker.begin(former, writer.probe)
        pair.promote()
        former.pause(False)
        mend()
        assert writer.is_there(former)
        assert asker.end() == ("aborted", "the WAL was cut before the commit record")
        check(writer, "aborted", pair.primary)
