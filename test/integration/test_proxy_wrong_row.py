"""No row ever reaches a client that did not ask for it: test/proof/wrong_row.c in short.

WRONG_ROW_SECONDS is the time for each mode; minutes of it belong to every change of the relay.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from demo_process import find_binary
from proxy_rig import PostgresServer, free_port

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "proof"))

from relay import Relay, SwapsReplies  # noqa: E402

SECONDS = float(os.environ.get("WRONG_ROW_SECONDS", "6"))
SEED = os.environ.get("WRONG_ROW_SEED", str(random.randrange(1 << 30)))


def checker():
    """Beside the binary that is tested: both come from one build."""
    path = find_binary().parents[2] / "test/proof/wrong_row"
    assert path.is_file(), f"{path} is not built"
    return path


def wrong_row(target, *options, clients=200, seconds=SECONDS):
    """Its counts, and what it printed before them."""
    done = subprocess.run(
        [checker(), "--port", str(target.address[1]), "--clients", str(clients), "--seed", SEED,
         "--seconds", str(seconds), *options],
        capture_output=True, text=True, timeout=seconds + 250, check=False)
    assert done.returncode in (0, 1), done.stderr
    *evidence, counts = done.stdout.splitlines()
    return json.loads(counts), "\n".join([f"seed {SEED}", *evidence])


class Weather:
    """Kills backends all the time, and restarts the server in the middle: once as an operator does
    it, once as a crash does."""

    def __init__(self, server, seconds):
        self.server = server
        self.seconds = seconds
        self.rng = random.Random(SEED)
        self.is_over = threading.Event()
        self.kills = self.restarts = 0

    def __enter__(self):
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()

    def _run(self):
        begun = time.monotonic()
        due = [(self.seconds * 0.4, signal.SIGINT), (self.seconds * 0.7, signal.SIGQUIT)]
        while not self.is_over.wait(self.rng.uniform(0.05, 0.3)):
            if due and time.monotonic() - begun > due[0][0]:
                self.server.restart(due.pop(0)[1])
                self.restarts += 1
            else:
                self.kills += len(self.server.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE usename = 'trusted' ORDER BY random() LIMIT 2"))


@pytest.fixture(scope="module")
def stormy(proxy_place):
    """A server of its own: it is restarted."""
    server = PostgresServer(proxy_place.new_folder(), free_port())
    yield server
    server.stop()


MODES = [("session", ["--turns-per-session", "20"]), ("transaction", [])]


@pytest.mark.parametrize("mode, options", MODES, ids=[mode for mode, _ in MODES])
def test_every_row_and_tag_is_its_askers_while_servers_are_killed(start_proxy, stormy, mode,
                                                                  options):
    target = start_proxy(mode, server=stormy, pool_size=12, auth_type="trust")
    if not target.is_direct:
        target.expect_log("server|connect|client")
    clients = 40 if target.is_direct else 300
    with Weather(stormy, SECONDS) as weather:
        counts, evidence = wrong_row(target, *options, "--least", str(int(50 * SECONDS) + 1),
                                     clients=clients)
    assert not counts["wrong"], evidence
    assert weather.kills > 0 and weather.restarts > 0
    for what in ("rows", "drops", "pauses", "holds", "cancels", "timeouts", "expected_errors",
                 "lost"):
        assert counts[what] > 0, f"no {what}: {counts}"
    assert counts["turns"] > 50 * SECONDS, counts


@pytest.mark.parametrize("mode, options", MODES, ids=[mode for mode, _ in MODES])
def test_while_servers_stay_nobody_sees_an_error_that_is_not_its_own(start_proxy, mode, options):
    target = start_proxy(mode, pool_size=12, auth_type="trust")
    counts, evidence = wrong_row(target, "--calm", *options,
                                 clients=40 if target.is_direct else 150, seconds=SECONDS / 2)
    assert not counts["wrong"], evidence
    assert counts["cancelled"] > 0 and counts["timeouts"] > 0, counts


def test_over_tls_to_the_server_nobody_sees_what_is_not_its_own_either(start_proxy):
    """Connections move between workers; those with TLS carry more than a socket."""
    target = start_proxy("transaction", pool_size=5, auth_type="trust",
                         server_tls={"sslmode": "require"})
    counts, evidence = wrong_row(target, "--calm", clients=40 if target.is_direct else 100,
                                 seconds=SECONDS / 2)
    assert not counts["wrong"], evidence


def test_a_relay_that_swaps_two_rows_is_found(postgres):
    with Relay(postgres, SwapsReplies(every=400)) as relay:
        counts, evidence = wrong_row(relay, clients=30, seconds=5)
    assert counts["wrong"]
    assert "WRONG" in evidence
