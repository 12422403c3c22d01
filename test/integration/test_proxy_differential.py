"""What PostgreSQL answers, the proxy answers too: test/proof/differential.py in short.

DIFFERENTIAL_SECONDS is the time for each mode, DIFFERENTIAL_SEED where the seeds begin. Without the
latter half of them are the same each time and half are new.
"""

import os
import random
import sys
from pathlib import Path

import pytest
from proxy_rig import Direct

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "proof"))

import compare  # noqa: E402
import exchange  # noqa: E402
import generate  # noqa: E402
from differential import Campaign, Oracle  # noqa: E402
from relay import FAULTS, Relay  # noqa: E402
from world import World  # noqa: E402

SECONDS = float(os.environ.get("DIFFERENTIAL_SECONDS", "7"))
SEED = int(os.environ.get("DIFFERENTIAL_SEED", "1"))
NEW_SEED = random.randrange(1000, 1 << 30) if SEED == 1 else SEED + 500_000


@pytest.fixture(scope="module")
def world(postgres):
    world = World(postgres)
    yield world
    world.close()


def assert_same(oracle, mode, seconds):
    work = Campaign(oracle, mode, SEED).replay().run(seconds / 2)
    work.seed = NEW_SEED
    work.run(seconds / 2)
    assert not work.failures, f"{work.count} sequences\n{work.report()}"
    assert work.count > seconds, "hardly any sequence was run"


@pytest.mark.parametrize("mode", compare.MODES)
def test_through_the_proxy_every_message_is_the_one_postgresql_sends(start_proxy, world, direct,
                                                                     mode):
    """In pools with one server connection: there an unnamed statement is where its client comes
    next, also if the connection is cleaned in between."""
    target = start_proxy(mode, **({} if mode == "session" else {"pool_size": 1}))
    assert_same(Oracle(world, direct, target), mode, SECONDS)


def test_postgresql_agrees_with_itself(world, direct):
    assert_same(Oracle(world, direct, direct), "session", 3)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_relay_that_is_wrong_is_found(monkeypatch, world, postgres, direct, fault):
    """Each planted fault within so many sequences; those that make clients wait, soon."""
    monkeypatch.setattr(exchange, "SECONDS", 1.0)
    with Relay(postgres, FAULTS[fault]) as relay:
        oracle = Oracle(world, direct, relay)
        for seed in range(150):
            sequence = generate.generate(seed, "session", world.functions)
            if oracle.differs(sequence):
                return
    pytest.fail("150 sequences, and nothing was noticed")


def test_a_difference_is_shrunk_to_what_makes_it(world, postgres, direct):
    with Relay(postgres, FAULTS["a notice is lost"]) as relay:
        oracle = Oracle(world, direct, relay)
        found = oracle.shrink({"mode": "session", "delivery": "burst", "parameters": {}, "chunks": [
            [["Q", "SELECT 1"]],
            [["P", "s1", "SELECT 2", []], ["B", "", "s1", [], [], []], ["E", "", 0], ["S"]],
            [["Q", "SELECT 3"], ["Q", "SELECT notices(1)"], ["Q", "SELECT 4"]]]})
        assert found["chunks"] == [[["Q", "SELECT notices(1)"]]]
