"""What befalls the cluster, drawn from a seed.

A fault is a generator: it does something, yields how long that should last (in seconds) as often as
it likes, and ends; what it leaves undone Cluster.make_whole() puts right afterwards. So the same
seed does the same to whatever stands in the test.

    for fault in schedule(seed, cluster): fault.name, fault.run(cluster, dice)
"""

import random
from dataclasses import dataclass
from typing import Callable

FAULTS = []


@dataclass
class Fault:
    name: str
    needs_cuts: bool
    run: Callable  # (cluster, dice) -> generator of seconds
    weight: int


def fault(name, needs_cuts=False, weight=1):
    def keep(function):
        FAULTS.append(Fault(name, needs_cuts, function, weight))
        return function
    return keep


def schedule(seed, network):
    """Without end. All kinds once in a random order, then again: a short run meets many kinds."""
    dice = random.Random(seed)
    kinds = [one for one in FAULTS if network.can_cut or not one.needs_cuts]
    while True:
        batch = [one for one in kinds for _ in range(one.weight)]
        dice.shuffle(batch)
        for one in batch:
            # A generator of chance of its own: how much of it a fault uses changes no other.
            yield one, random.Random(dice.random())


def _any_replica(cluster, dice):
    return dice.choice(cluster.replicas)


@fault("the primary is killed and comes back")
def primary_killed(cluster, dice):
    cluster.primary.kill()
    yield dice.uniform(0.3, 2.5)
    cluster.primary.start(wait=False)
    yield 1


@fault("a replica is killed")
def replica_killed(cluster, dice):
    _any_replica(cluster, dice).kill()
    yield dice.uniform(1, 3)


@fault("the primary freezes, and goes on")
def primary_frozen(cluster, dice):
    cluster.primary.freeze()
    yield dice.uniform(0.5, 4)
    cluster.primary.thaw()
    yield 1


@fault("a replica freezes")
def replica_frozen(cluster, dice):
    server = _any_replica(cluster, dice)
    server.freeze()
    yield dice.uniform(1, 4)
    server.thaw()


@fault("the primary is restarted")
def primary_restarted(cluster, dice):
    cluster.primary.stop()
    yield dice.uniform(0, 1)
    cluster.primary.start(wait=False)
    yield 1


@fault("the primary is killed, a replica promoted", weight=2)
def failed_over(cluster, dice):
    cluster.primary.kill()
    yield dice.uniform(0.2, 1.5)
    cluster.promote()
    yield 1.5


@fault("the primary is stopped, a replica promoted")
def switched_over(cluster, dice):
    cluster.primary.stop()
    cluster.promote()
    yield dice.uniform(1, 2)


@fault("the primary freezes, a replica is promoted, the old one wakes up", weight=2)
def stale_primary(cluster, dice):
    old = cluster.primary
    old.freeze()
    yield dice.uniform(0.5, 1.5)
    cluster.promote()
    yield dice.uniform(0.5, 1.5)
    old.thaw()
    yield dice.uniform(1.5, 8)  # the longer ones outlast deadlines and statement_timeout


@fault("replay is paused on a replica")
def replay_paused(cluster, dice):
    _any_replica(cluster, dice).sql("SELECT pg_wal_replay_pause()")
    yield dice.uniform(2, 4)


@fault("nothing passes between the application and the primary", needs_cuts=True)
def primary_cut(cluster, dice):
    name = cluster.primary.name
    cluster.network.cut("app", name)
    cluster.network.cut(name, "app")
    yield dice.uniform(1, 4)


@fault("what the primary answers is lost on its way", needs_cuts=True)
def answers_lost(cluster, dice):
    cluster.network.cut(cluster.primary.name, "app")
    yield dice.uniform(1, 4)


@fault("what is asked of the primary is lost on its way", needs_cuts=True)
def questions_lost(cluster, dice):
    cluster.network.cut("app", cluster.primary.name)
    yield dice.uniform(1, 4)


@fault("the primary is alone, a replica is promoted, the old one is back", needs_cuts=True,
       weight=2)
def primary_isolated(cluster, dice):
    old = cluster.primary
    for name in ["app", *cluster.servers]:
        if name != old.name:
            cluster.network.cut(old.name, name)
            cluster.network.cut(name, old.name)
    yield dice.uniform(0.5, 1.5)
    cluster.promote()
    yield dice.uniform(0.5, 1.5)
    cluster.network.heal()
    yield dice.uniform(1.5, 8)


@fault("a replica cannot be reached", needs_cuts=True)
def replica_cut(cluster, dice):
    name = _any_replica(cluster, dice).name
    cluster.network.cut("app", name)
    cluster.network.cut(name, "app")
    yield dice.uniform(1, 4)


@fault("the way to one server is slow", needs_cuts=True)
def slow_way(cluster, dice):
    name = dice.choice(list(cluster.servers))
    ms = dice.choice([20, 80, 200])
    cluster.network.delay("app", name, ms)
    cluster.network.delay(name, "app", ms)
    yield dice.uniform(2, 4)
