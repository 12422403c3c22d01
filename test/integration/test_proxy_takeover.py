"""A restart that nobody notices: a new process takes the listening sockets over from the old one.

What is looked at: nobody is refused and nobody meets an error, with TLS and without; a new process
that fails leaves the old one unharmed; cancel requests reach clients of the old one; what systemd
is told; sockets that systemd has opened.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import pgwire
import proxy_rig
import psycopg
import pytest
from demo_process import find_binary, wait_until

PSQL = {**os.environ, "PGPASSWORD": proxy_rig.PASSWORD}


class Instance(proxy_rig.HoldfastProxy):
    """One process of several that live in one folder, with one configuration."""

    arguments = ()
    environment = None

    def command(self):
        return [*super().command(), *self.arguments]

    def start(self, user=None):
        with _environment(self.environment or {}):
            return super().start(user)

    def wait_end(self, seconds=20):
        """Until it has ended by itself, in order."""
        assert self.process.wait(seconds) == 0, self.log
        self.reader.join(5)
        self.assert_quiet_log()


@contextlib.contextmanager
def _environment(values):
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


@pytest.fixture
def family(proxy_place, postgres):
    """family(**settings): the first process of a folder; .next() takes over from the last one."""

    class Family:
        def __init__(self):
            self.folder = proxy_place.new_folder()
            self.port = proxy_rig.free_port()
            self.members = []
            self.settings = {}

        def begin(self, mode="transaction", environment=None, **settings):
            settings["listen"] = {"run_dir": self.folder / "run", **settings.get("listen", {})}
            self.settings = dict(mode=mode, **settings)
            return self._add((), environment)

        def next(self, environment=None, **changes):
            self.settings.update(changes)
            return self._add(("--takeover",), environment)

        def _add(self, arguments, environment):
            member = Instance(self.folder, self.port, postgres, **self.settings)
            member.arguments = arguments
            member.environment = environment
            self.members.append(member)
            return member.start()

        def last(self):
            return self.members[-1]

    family = Family()
    yield family
    for member in family.members:
        if member.process is not None and member.process.poll() is None:
            member.stop()
        if member.reader is not None:
            member.reader.join(5)
    for member in family.members:
        member.assert_quiet_log()


class Load:
    """pgbench beside the test: one that connects for each transaction, one that stays."""

    def __init__(self, target, *arguments, sslmode="disable"):
        self.process = subprocess.Popen(
            ["pgbench", "-n", "-f", "-", "-T", "120", *arguments, target.dsn(sslmode=sslmode)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=PSQL)
        self.process.stdin.write("SELECT 1;\n")
        self.process.stdin.close()
        self.output = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        self.output = self.process.stdout.read()

    def end(self):
        """It must have gone through without an error."""
        assert self.process.poll() is None, f"pgbench has ended early:\n{self.output}"
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        self.reader.join(5)
        assert "error" not in self.output.lower(), self.output
        assert "failed" not in self.output.lower().replace("number of failed", ""), self.output


def test_smoke(family):
    first = family.begin()
    with psycopg.connect(first.dsn()) as one:
        one.execute("select 1")
        second = family.next()
        first.wait_log("leaving: clients stay")
        assert one.execute("select 2").fetchone() == (2,)
        with psycopg.connect(first.dsn()) as two:
            assert two.execute("select 3").fetchone() == (3,)
    first.wait_end()
    assert "taken_over=0" not in second.log
