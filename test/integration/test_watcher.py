"""What the watcher tells of real servers: who is who, how late, and how soon it knows."""

import signal
import time

import pytest

from watch_rig import Cluster, Patroni, Template, Watching, endpoint

MS = 1_000_000


@pytest.fixture(scope="module", name="template")
def _template(new_place):
    place = new_place()
    yield Template(place.new_folder())
    place.close()


@pytest.fixture(name="make")
def _make(place, template):
    clusters = []

    def make(replicas, **options):
        clusters.append(Cluster(place.new_folder(), template, replicas, **options))
        return clusters[-1]

    yield make
    for cluster in clusters:
        cluster.stop()


def is_whole(cluster, count=None):
    """Everybody up, the primary the only writer, replicas known to be close."""
    count = count or len(cluster.servers)

    def check(view):
        return (view["writer"] == cluster.primary.name and
                sum(e["health"] == "up" for e in view["endpoints"]) == count and
                sum(e["role"] == "replica" for e in view["endpoints"]) == count - 1)
    return check


def await_lag(watching, server, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while True:
        lag = endpoint(watching.view(), server)["lag"]
        if condition(lag):
            return lag
        assert time.monotonic() < deadline, f"the lag is {lag}"
        time.sleep(0.05)


NEVER = 2**63 - 1


def test_a_primary_and_two_replicas_are_known_at_once(make):
    cluster = make(2)
    with Watching(cluster.dsn()) as watching:
        view, _ = watching.await_view(is_whole(cluster))
        assert (view["at"] - watching.began_ns) < 15000 * MS
        assert view["level"] == "full" and view["timeline"] == 1
        for replica in cluster.replicas:
            assert await_lag(watching, replica, lambda lag: lag < 300 * MS) >= 0
        stopped_in = watching.stop()
        print(f"\nfirst whole view after {(view['at'] - watching.began_ns) / MS:.0f} ms; "
              f"stopped in {stopped_in / MS:.1f} ms")
        assert stopped_in < 5000 * MS


def test_a_killed_primary_is_down_within_moments(make):
    cluster = make(2)
    with Watching(cluster.dsn()) as watching:
        _, seen = watching.await_view(is_whole(cluster))
        killed_ns = cluster.primary.kill()
        view, _ = watching.await_view(
            lambda v: endpoint(v, cluster.primary)["health"] == "down", seen)
        print(f"\nkill -9 to publication: {(view['at'] - killed_ns) / MS:.1f} ms")
        assert view["writer"] == "" and view["at"] - killed_ns < 10000 * MS
        watching.await_view(lambda v: v["level"] == "read_only", seen)
        cluster.primary.start()
        watching.await_view(is_whole(cluster), seen)
        watching.await_news("the level is full", seen)


def test_a_hung_server_is_suspect_then_down_and_comes_back(make):
    cluster = make(1)
    replica = cluster.replicas[0]
    with Watching(cluster.dsn()) as watching:
        _, seen = watching.await_view(is_whole(cluster))
        stopped_ns = time.monotonic_ns()
        replica.signal_all(signal.SIGSTOP)
        view, _ = watching.await_view(
            lambda v: endpoint(v, replica)["health"] == "suspect", seen)
        print(f"\nSIGSTOP to suspect: {(view['at'] - stopped_ns) / MS:.0f} ms", end="")
        view, seen = watching.await_view(
            lambda v: endpoint(v, replica)["health"] == "down", seen)
        print(f", to down: {(view['at'] - stopped_ns) / MS:.0f} ms")
        assert view["at"] - stopped_ns < 20000 * MS
        replica.signal_all(signal.SIGCONT)
        watching.await_view(is_whole(cluster), seen)


def test_a_promoted_replica_is_the_primary_and_the_old_one_is_fenced(make):
    cluster = make(2)
    old, new, other = cluster.servers
    with Watching(cluster.dsn()) as watching:
        _, seen = watching.await_view(is_whole(cluster))
        before = endpoint(watching.view(), old)["generation"]
        promoted_ns = time.monotonic_ns()
        new.sql("SELECT pg_promote()")
        view, seen = watching.await_view(lambda v: v["writer"] == new.name, seen)
        print(f"\npromotion to publication: {(view['at'] - promoted_ns) / MS:.0f} ms")
        assert view["timeline"] == 2
        assert endpoint(view, new)["generation"] > before
        # The old one still runs, and takes writes from whoever asks it.
        fenced = endpoint(view, old)
        assert fenced["role"] == "primary" and not fenced["writes"] and not fenced["reads"]
        watching.await_news(f"{old.name} is fenced")
        # What follows the old one is on another branch; its positions count no more.
        assert endpoint(watching.view(), other)["lag"] == NEVER
        other.stop()
        other.follow(new)
        other.start()
        await_lag(watching, other, lambda lag: lag < 500 * MS)


def test_paused_replay_shows_as_lag_and_an_idle_primary_does_not(make):
    cluster = make(1)
    replica = cluster.replicas[0]
    with Watching(cluster.dsn()) as watching:
        watching.await_view(is_whole(cluster))
        cluster.primary.sql("CREATE TABLE t (n int)")
        await_lag(watching, replica, lambda lag: lag < 300 * MS)
        time.sleep(2)  # nothing is written: the usual formula would say 2 s by now, and ever more
        await_lag(watching, replica, lambda lag: lag < 1000 * MS)
        replica.sql("SELECT pg_wal_replay_pause()")
        cluster.primary.sql("INSERT INTO t VALUES (1)")
        written_ns = time.monotonic_ns()
        time.sleep(1.5)
        view = watching.view()
        lag = endpoint(view, replica)["lag"]
        true_ns = endpoint(view, replica)["sampled_at"] - written_ns
        print(f"\n{true_ns / MS:.0f} ms after the write the lag is {lag / MS:.0f} ms")
        assert true_ns <= lag <= true_ns + 5000 * MS
        replica.sql("SELECT pg_wal_replay_resume()")
        await_lag(watching, replica, lambda lag: lag < 300 * MS)


def test_a_replica_whose_sender_is_gone_grows_late_although_it_has_all_it_received(make):
    cluster = make(1)
    replica = cluster.replicas[0]
    with Watching(cluster.dsn()) as watching:
        watching.await_view(is_whole(cluster))
        replica.sql("ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
        time.sleep(0.5)
        cluster.primary.sql("CREATE TABLE t (n int)")
        # Receive and replay position are equal, which some monitors take for "no lag".
        await_lag(watching, replica, lambda lag: lag > 1000 * MS and lag != NEVER)


def test_a_user_without_privileges_is_told_roles_and_lag_too(make):
    cluster = make(1)
    with Watching(cluster.dsn(user="plain")) as watching:
        watching.await_view(is_whole(cluster))
        await_lag(watching, cluster.replicas[0], lambda lag: lag < 300 * MS)


def test_a_server_of_another_cluster_is_refused(make, place):
    cluster = make(1)
    foreign = cluster.add(template=Template(place.new_folder())).start()
    foreign.sql("CREATE ROLE watch LOGIN IN ROLE pg_monitor")
    with Watching(cluster.dsn()) as watching:
        watching.await_news(f"{foreign.name} is refused")
        view, _ = watching.await_view(is_whole(cluster, 2))
        shown = endpoint(view, foreign)
        assert shown["health"] == "down" and shown["role"] == "unknown" and not shown["writes"]


def test_two_primaries_on_one_timeline_are_both_left_alone(make):
    cluster = make(1)
    first, second = cluster.servers
    with Watching(cluster.dsn()) as watching:
        _, seen = watching.await_view(is_whole(cluster))
        # Started without the signal file a replica is a primary that was never promoted.
        second.stop()
        (second.folder / "data/standby.signal").unlink()
        second.start()
        view, seen = watching.await_view(lambda v: v["rivals"], seen)
        assert view["writer"] == "" and view["primary"] == ""
        watching.await_news("both claim to be the primary on timeline 1")
        second.stop()
        watching.await_view(lambda v: v["writer"] == first.name, seen)


def test_a_read_only_primary_takes_no_writes(make):
    cluster = make(0)
    with Watching(cluster.dsn()) as watching:
        _, seen = watching.await_view(is_whole(cluster))
        cluster.primary.sql("ALTER SYSTEM SET default_transaction_read_only = on",
                            "SELECT pg_reload_conf()")
        _, seen = watching.await_view(lambda v: v["writer"] == "", seen)
        with cluster.primary.admin() as wire:
            wire.rows("SET default_transaction_read_only = off")
            wire.rows("ALTER SYSTEM RESET default_transaction_read_only")
            wire.rows("SELECT pg_reload_conf()")
        watching.await_view(lambda v: v["writer"] == cluster.primary.name, seen)


def test_a_restart_is_down_and_up_again(make):
    cluster = make(0)
    with Watching(cluster.dsn()) as watching:
        _, seen = watching.await_view(is_whole(cluster))
        cluster.primary.stop()
        _, seen = watching.await_view(lambda v: v["writer"] == "", seen)
        cluster.primary.start()
        watching.await_view(is_whole(cluster), seen)


def test_draining_by_hand_and_evidence_of_callers(make):
    cluster = make(1)
    with Watching(cluster.dsn()) as watching:
        _, seen = watching.await_view(is_whole(cluster))
        watching.say("drain 1 1")
        _, seen = watching.await_view(
            lambda v: endpoint(v, cluster.replicas[0])["drained"], seen)
        watching.say("drain 1 0")
        _, seen = watching.await_view(
            lambda v: not endpoint(v, cluster.replicas[0])["drained"], seen)
        # A caller's write was refused as no primary would: nothing is written there until it has
        # said again what it is, which takes a moment and not an interval.
        watching.say("tell 0 5")
        denied, seen = watching.await_view(lambda v: v["writer"] == "", seen)
        again, _ = watching.await_view(lambda v: v["writer"] == cluster.primary.name, seen)
        print(f"\ndenied for {(again['at'] - denied['at']) / MS:.1f} ms")
        assert again["at"] - denied["at"] < 5000 * MS


def test_a_child_lets_the_watcher_go_and_the_parent_notices_nothing(make):
    cluster = make(1)
    with Watching(cluster.dsn()) as watching:
        _, seen = watching.await_view(is_whole(cluster))
        sessions = "SELECT pid FROM pg_stat_activity WHERE application_name = 'holdfast sampler'"
        before = cluster.primary.sql(sessions)
        watching.say("fork")
        told, _ = watching.await_line(lambda line: "fork" in line, seen)
        assert told["fork"] == 0
        time.sleep(0.5)
        assert cluster.primary.sql(sessions) == before and len(before) == 1
        assert is_whole(cluster)(watching.view())


def test_the_members_that_patroni_names_come_and_go(make):
    cluster = make(1)
    with Patroni(cluster.servers) as patroni:
        with Watching(cluster.dsn(servers=[cluster.primary]), "--patroni", patroni.url) as watching:
            _, seen = watching.await_view(is_whole(cluster))
            # What the connection string names stays, whatever Patroni says.
            patroni.servers = [cluster.replicas[0]]
            time.sleep(2.5)
            assert is_whole(cluster)(watching.view())
            patroni.servers = [cluster.primary]
            _, seen = watching.await_news(f"{cluster.replicas[0].name} is no member any more", seen)
            patroni.servers = cluster.servers
            watching.await_view(is_whole(cluster), seen)
        # It is gone: who was known stays known.
        patroni.server.shutdown()


def test_the_replicas_that_the_primary_names_are_found(make):
    # The kernel connects from 127.0.0.1 to any address of the machine, so that is where the primary
    # sees its replica.
    cluster = make(0, host="127.0.0.2")
    replica = cluster.add(cluster.primary, port=cluster.primary.port).start()
    with Watching(cluster.dsn(servers=[cluster.primary]), "--follow") as watching:
        watching.await_news(f"{replica.name} is a member now")
        watching.await_view(is_whole(cluster))


def test_each_address_of_a_name_can_be_an_endpoint(make):
    cluster = make(0)
    dsn = cluster.dsn().replace("host=127.0.0.1", "host=localhost")
    with Watching(dsn) as watching:
        view, _ = watching.await_view(lambda v: v["writer"] != "")
        assert view["writer"] == f"localhost:{cluster.primary.port}"
    with Watching(dsn, "--expand") as watching:
        watching.await_view(lambda v: v["writer"] == cluster.primary.name)


def test_stopping_is_prompt_also_where_nobody_answers():
    # 127.0.0.0/8 answers everywhere; a name that does not exist and a port where nobody listens.
    dsn = "host=name.invalid,127.0.0.1 port=5432,1 user=nobody"
    with Watching(dsn, "--free-at-once") as watching:
        watching.process.wait(60)
        watching.reader.join(60)
        assert watching.lines[0]["stopped_in"] < 5000 * MS


def test_the_first_snapshot_comes_although_a_name_and_a_server_do_not_answer(make):
    cluster = make(0)
    dsn = (f"host=127.0.0.1,name.invalid,127.0.0.1 port={cluster.primary.port},5432,1 user=watch "
           "dbname=postgres sslmode=disable")
    with Watching(dsn) as watching:
        view, _ = watching.await_view(lambda v: v["writer"] == cluster.primary.name)
        assert (view["at"] - watching.began_ns) < 15000 * MS
        assert [e["health"] for e in view["endpoints"]] == ["up", "down", "down"]
