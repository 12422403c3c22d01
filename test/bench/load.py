"""Load on a pooler, and what is seen of it: by pgbench, and by the clients of bench_clients.c."""

import itertools
import json
import resource
import signal
import subprocess
import time
from bisect import bisect
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import built, die
from poolers import PASSWORD

CLIENTS = "test/bench/bench_clients"
PATIENCE_SECONDS = 30
LONG_SECONDS = 36000    # what pgbench would run for if nobody stopped it
THREADS = 2             # of pgbench
RAMP_SECONDS = 0.02     # after a stand-still, before what happens is measured


@dataclass
class Slice:
    """What happened while the load ran, from `begin` to `end`."""

    went: float         # time() when the load was let go, a little before `begin`
    begin: float
    end: float = None
    cpu_seconds: float = None           # the pooler's
    transactions: int = None            # that were answered
    latencies_us: list = None           # of those that were begun in it, sorted

    @property
    def tps(self):
        return self.transactions / (self.end - self.begin)

    @property
    def cost_us(self):
        return self.cpu_seconds / self.transactions * 1e6

    def percentile_us(self, share):
        last = len(self.latencies_us) - 1
        return self.latencies_us[min(int(len(self.latencies_us) * share), last)]


class Selects:
    """pgbench -S on one pooler: each client looks up one account after the other, one in each
    transaction. Between its slices it stands still, by SIGSTOP, so that several of them can take
    turns of a tenth of a second: what else the machine does then meets all of them alike, and
    logging in is not measured. What was answered when is in pgbench's log.

        with Selects(...) as load:
            load.slice(0.1)
            ...
            slices = load.finish()
    """

    _count = itertools.count()

    def __init__(self, scratch, server, pooler, mode, clients, is_pooled):
        self._scratch = scratch
        self._pooler = pooler
        self._prefix = f"selects-{next(self._count)}"
        self._slices = []
        command = [server.bin / "pgbench", "-n", "-S", "-M", mode, "-c", clients,
                   "-j", min(clients, THREADS), "-T", LONG_SECONDS, "--log",
                   "--log-prefix", self._prefix, "-h", "127.0.0.1", "-p", pooler.port,
                   "-U", server.USER, pooler.database(is_pooled)]
        self._process = scratch.start(self._prefix, *command, stop=signal.SIGKILL)
        self._await_first()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._scratch.stop(self._process)

    def _logs(self):
        return list(self._scratch.folder.glob(f"{self._prefix}.[0-9]*"))

    def _await_first(self):
        """Until it has run for a moment: all have logged in, servers are connected, pages read."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not any(path.stat().st_size for path in self._logs()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._fail()
            time.sleep(0.005)
        self._process.send_signal(signal.SIGSTOP)

    def _fail(self):
        die(f"pgbench did not get through {self._pooler.name}",
            self._scratch.log(self._process) + self._pooler.said())

    def slice(self, seconds, ramp=RAMP_SECONDS):
        went = time.time()
        self._process.send_signal(signal.SIGCONT)
        time.sleep(ramp)
        one = Slice(went, time.time())
        before = self._pooler.cpu_seconds()
        time.sleep(seconds)
        one.cpu_seconds = self._pooler.cpu_seconds() - before
        one.end = time.time()
        self._process.send_signal(signal.SIGSTOP)
        if self._process.poll() is not None:
            self._fail()
        self._slices.append(one)

    def finish(self):
        """The slices, now that the logs are complete. If the machine had no time for us, there may
        be one in which nothing was answered."""
        self._process.send_signal(signal.SIGALRM)  # as if its time, -T, were over
        self._process.send_signal(signal.SIGCONT)
        try:
            if self._process.wait(PATIENCE_SECONDS) != 0:
                self._fail()
        except subprocess.TimeoutExpired:
            self._fail()
        answers = sorted(self._answers())
        times = [when for when, _ in answers]
        for one in self._slices:
            within = answers[bisect(times, one.begin):bisect(times, one.end)]
            one.transactions = len(within)
            one.latencies_us = sorted(took for when, took in within
                                      if when - took / 1e6 >= one.went)
        return self._slices

    def _answers(self):
        """When each was answered, and after how many us. A line of the log is: client, its number,
        us, script, and when, in seconds and us."""
        for path in self._logs():
            for line in path.read_text(encoding="ascii").splitlines():
                words = line.split()
                yield int(words[4]) + int(words[5]) / 1e6, int(words[2])
            path.unlink()


def _run(pooler, command):
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=PATIENCE_SECONDS, start_new_session=True)
    except subprocess.TimeoutExpired:
        die(f"{Path(words[0]).name} hangs on {pooler.name}", pooler.said())
    if done.returncode != 0:
        die(f"{Path(words[0]).name} failed on {pooler.name}", done.stderr[-2000:] + pooler.said())
    return done.stdout


def _clients(server, pooler, *options, tls=False, password=False):
    words = [built(CLIENTS), options[0], "--port", pooler.port, "--user", server.USER, "--database",
             pooler.database(), *options[1:]]
    words += ["--tls"] if tls else []
    words += ["--password", PASSWORD] if password else []
    return [str(word) for word in words]


@dataclass
class Logins:
    rate: float          # a second
    cpu_seconds: float   # the pooler's, for each


def logins(server, pooler, seconds, tls=False, password=False):
    """Eight clients log in and out again as often as they can."""
    command = _clients(server, pooler, "login", "--threads", 8, "--seconds", seconds, tls=tls,
                       password=password)
    before = pooler.cpu_seconds()
    said = json.loads(_run(pooler, command))
    used = pooler.cpu_seconds() - before
    if said["logins"] == 0:
        die(f"nobody could log in to {pooler.name} within {seconds} s", pooler.said())
    return Logins(said["logins"] / said["seconds"], used / said["logins"])


@contextmanager
def idle_clients(server, pooler, clients, statements=0, text_bytes=0):
    """So many clients that have logged in (and prepared statements) and are idle."""
    command = _clients(server, pooler, "idle", "--clients", clients, "--statements", statements,
                       "--bytes", text_bytes)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, start_new_session=True, text=True)
    try:
        if process.stdout.readline() != "ready\n":
            die(f"{clients} clients could not log in to {pooler.name}",
                process.stderr.read()[-2000:] + pooler.said())
        yield
    finally:
        process.stdin.close()
        process.wait()


def clients_possible(wanted):
    """As many as files can be opened by one process, on either side."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return wanted
    return min(wanted, hard - 300)
