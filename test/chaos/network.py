"""Machines that are network namespaces, and the wire between them.

    with Wired(["app", "s1", "s2"], wire_program) as network:
        network.inside("s1", command)       the command line that runs there
        network.address("s1")               how the others reach it
        network.cut("app", "s1")            packets from app to s1 vanish, others do not
        network.delay("s1", "app", 80)      they take 80 ms
        network.heal()

Wired needs root and /dev/net/tun; why_not_wired() says what is missing. Without them, Loopback
gives each machine an address in 127.0.0.0/8: processes can be killed and stopped there, cuts cannot
be made.
"""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

NETNS = Path("/run/netns")
PREFIX = "hfchaos"


def why_not_wired():
    """One sentence, or None."""
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "there is no /dev/net/tun"
    name = f"{PREFIX}-{os.getpid()}-try"
    tried = _ip("netns", "add", name)
    if tried.returncode == 0:  # in a chroot they can be made and not be entered
        tried = _ip("-n", name, "link", "set", "lo", "up")
    _ip("netns", "del", name)
    return None if tried.returncode == 0 else f"no network namespaces: {tried.stderr.strip()}"


def _ip(*words):
    try:
        return subprocess.run(["ip", *words], capture_output=True, text=True)
    except FileNotFoundError:
        return subprocess.CompletedProcess(words, 127, "", "there is no program ip (iproute2)")


def _remove_stale():
    """Namespaces of runs that were killed."""
    for path in NETNS.glob(f"{PREFIX}-*"):
        pid = path.name.split("-")[1]
        if not Path(f"/proc/{pid}").exists():
            _ip("netns", "del", path.name)


class Wired:
    can_cut = True
    port = 5432  # the same on each machine: it is alone there

    def __init__(self, names, program):
        self.names = names
        self.program = program
        self.wire = None

    def __enter__(self):
        _remove_stale()
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _build(self):
        for name in self.names:
            self._must("netns", "add", self._netns(name))
        words = [f"{name}={self._netns(name)}={self.address(name)}" for name in self.names]
        self.wire = subprocess.Popen([self.program, *words], stdin=subprocess.PIPE, text=True,
                                     stdout=subprocess.PIPE)
        if self.wire.stdout.readline() != "ready\n":
            raise RuntimeError("the wire did not come up; it has said why above")
        for name in self.names:
            here = ("-n", self._netns(name))
            self._must(*here, "link", "set", "lo", "up")
            self._must(*here, "addr", "add", f"{self.address(name)}/24", "dev", "hf0")
            self._must(*here, "link", "set", "hf0", "up")

    def __exit__(self, *_):
        if self.wire is not None:
            with suppress(BrokenPipeError):
                self.wire.stdin.close()
            self.wire.wait(5)
        for name in self.names:
            _ip("netns", "del", self._netns(name))

    @staticmethod
    def _must(*words):
        done = _ip(*words)
        if done.returncode != 0:
            raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")

    @staticmethod
    def _netns(name):
        return f"{PREFIX}-{os.getpid()}-{name}"

    def address(self, name):
        return f"10.77.0.{10 + self.names.index(name)}"

    def inside(self, name, command):
        return ["nsenter", f"--net={NETNS / self._netns(name)}", *command]

    def cut(self, source, target):
        self._order(f"cut {source} {target}")

    def delay(self, source, target, ms):
        self._order(f"delay {source} {target} {ms}")

    def heal(self):
        self._order("heal")

    def _order(self, line):
        self.wire.stdin.write(line + "\n")
        self.wire.stdin.flush()
        if self.wire.stdout.readline() != "ok\n":
            raise RuntimeError(f"the wire did not obey {line!r}")


class Loopback:
    can_cut = False

    def __init__(self, names, port):
        self.names = names
        self.port = port

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def address(self, name):
        return f"127.0.77.{10 + self.names.index(name)}"

    @staticmethod
    def inside(_name, command):
        return command

    def heal(self):
        pass
