"""A restart that nobody notices: a new process takes the listening sockets over from the old one.

What is looked at: nobody is refused and nobody meets an error, with TLS and without; a new process
that fails leaves the old one unharmed; cancel requests reach clients of the old one; what systemd
is told; sockets that systemd has opened.
"""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pgwire
import proxy_rig
import pytest
from demo_process import find_binary, wait_until

class Instance(proxy_rig.HoldfastProxy):
    """One process of several that live in one folder, with one configuration."""

    arguments = ()
    environment = None
    sockets = ()  # that systemd would hand over

    def command(self):
        command = [*super().command(), *self.arguments]
        if not self.sockets:
            return command
        # As systemd does: descriptors from 3 on, and the number of the process that they are for.
        files = " ".join(f"{3 + i}<&{sock.fileno()}" for i, sock in enumerate(self.sockets))
        script = f"LISTEN_FDS={len(self.sockets)} LISTEN_PID=$$ exec \"$@\" {files}"
        return ["bash", "-c", script, "bash", *command]

    def start(self, user=None):
        kept = dict(os.environ)
        os.environ.update(self.environment or {})
        for sock in self.sockets:
            os.set_inheritable(sock.fileno(), True)
        popen = subprocess.Popen
        try:
            if self.sockets:
                subprocess.Popen = lambda *args, **kwargs: popen(*args, close_fds=False, **kwargs)
            return super().start(user)
        finally:
            subprocess.Popen = popen
            os.environ.clear()
            os.environ.update(kept)

    def wait_end(self):
        """Until it has ended by itself, in order."""
        wait_until(lambda: self.process.poll() is not None, 10, lambda: f"an end:\n{self.log}")
        assert self.process.returncode == 0, self.log
        self.reader.join(5)


class Family:
    """The processes of one folder: each takes over from the one before."""

    def __init__(self, folder, server):
        self.folder = folder
        self.server = server
        self.port = proxy_rig.free_port()
        self.members = []
        self.settings = {}

    def begin(self, mode="transaction", **settings):
        settings["listen"] = {"run_dir": self.folder / "run", **settings.get("listen", {})}
        self.settings = {"mode": mode, **settings}
        return self.make().start()

    def next(self, **changes):
        self.settings.update(changes)
        return self.make("--takeover").start()

    def make(self, *arguments, **attributes):
        member = Instance(self.folder, self.port, self.server, **self.settings)
        member.arguments = arguments
        for name, value in attributes.items():
            setattr(member, name, value)
        self.members.append(member)
        return member

    def end(self):
        for member in self.members:
            if member.process is not None and member.process.poll() is None:
                assert member.stop() == 0, member.log
            if member.reader is not None:
                member.reader.join(5)
        for member in self.members:
            member.assert_quiet_log()


@pytest.fixture
def family(proxy_place, postgres):
    folder = proxy_place.new_folder()
    folder.mkdir()
    family = Family(folder, postgres)
    yield family
    family.end()


class Load:
    """pgbench beside the test, which must go through without an error."""

    def __init__(self, folder, target, *arguments, sslmode="disable"):
        script = folder / "load.sql"
        script.write_text("SELECT 1;\n")
        self.output = []
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            ["pgbench", "-n", "-f", script, "-T", "600", "-R", "60", *arguments,
             target.dsn(sslmode=sslmode)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        self.reader = threading.Thread(
            target=lambda: self.output.append(self.process.stdout.read()), daemon=True)
        self.reader.start()

    def end(self):
        """Whoever had an error has told of it; a client that is aborted ends the program."""
        is_early = self.process.poll() is not None
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        self.reader.join(5)
        assert not is_early and "error" not in self.output[0], self.output[0]


def sleeper(target, done, **options):
    """A client whose query takes long, in a thread; what it is told goes into `done`."""
    client = target.connect(**options)
    client.send(pgwire.query("SELECT pg_sleep(600)"))
    client.receiver = threading.Thread(
        target=lambda: done.append(client.read_until("EC", 120)[-1]), daemon=True)
    client.receiver.start()
    return client


# ----------------------------------------------------------------------------------- without notice

@pytest.mark.parametrize("io, workers", [("auto", (3, 1, 2)), ("epoll", (1,))])
def test_nobody_notices_takeovers(family, io, workers):
    """With other numbers of workers: more sockets than workers, and fewer."""
    listen = {"io": io, "workers": 2, "log_disconnections": "off"}
    target = family.begin(listen=listen, pool_size=10, auth_type="trust")
    loads = [Load(family.folder, target, *arguments, sslmode=sslmode)
             for sslmode in ("disable", "require")
             for arguments in (("-C", "-c", "2"), ("-c", "2"))]
    try:
        wait_until(lambda: target.log.count("client connected") >= 10, 20, "clients at first")
        for count in workers:
            before = target
            target = family.next(listen={**family.settings["listen"], "workers": count})
            before.wait_log("leaving: clients stay")
            wait_until(lambda t=target: t.log.count("client connected") >= 20, 20,
                       "clients of the new one")
        assert family.members[0].process.poll() is None  # it has those that do not reconnect
    finally:
        for load in loads:
            load.end()
    for member in family.members[:-1]:
        member.wait_end()


def test_who_is_there_stays_until_he_goes(family):
    first = family.begin(auth_type="scram-sha-256")
    socket_file = family.folder / f".s.PGSQL.{family.port}"
    with first.connect(parameters={"application_name": "old"}) as old:
        second = family.next()
        first.wait_log("leaving: clients stay")
        assert old.value("SELECT current_setting('application_name')") == "old"
        with first.connect() as new, first.connect(host=str(family.folder)) as local:
            assert new.value("SELECT 1") == "1" and local.value("SELECT 1") == "1"
            assert first.process.poll() is None
        old.send(pgwire.terminate())
    first.wait_end()
    # The unix socket's file is the new one's now.
    with second.connect(host=str(family.folder)) as local:
        assert local.value("SELECT 2") == "2"
    assert second.stop() == 0
    assert not socket_file.exists() and not (family.folder / "run" / "takeover.sock").exists()


def test_who_does_not_go_is_sent_after_leave_timeout(family):
    first = family.begin(limits={"leave_timeout": "100ms"})
    with first.connect() as idle:
        family.next()
        assert idle.read(60).sqlstate == "57P01"
    first.wait_end()


def test_clients_of_the_old_process_can_be_cancelled(family):
    """Their requests come to whoever has the port, and go back from process to process."""
    done = []
    first = family.begin()
    with sleeper(first, done) as client:
        wait_until(lambda: family.server.sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE "
                                             "'%pg_sleep(600)%' AND state = 'active' AND "
                                             "pid <> pg_backend_pid()"), 10, "it sleeps")
        second = family.next()
        first.wait_log("leaving: clients stay")
        family.next()
        second.wait_log("leaving: clients stay")
        pgwire.cancel(client)
        wait_until(lambda: done, 10, "the query is cancelled")
    assert done[0].sqlstate == "57014"
    first.wait_end()
    second.wait_end()


# ------------------------------------------------------------------------- new processes that fail

def control(family):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.settimeout(30)
    sock.connect(str(family.folder / "run" / "takeover.sock"))
    return sock


def hello(oldest=1, newest=1):
    return b"HFTO" + struct.pack("!BHHI", 1, oldest, newest, os.getpid())


def test_a_new_process_that_fails_changes_nothing(family):
    first = family.begin()
    client = first.connect()
    # Its configuration is wrong.
    bad = family.make("--takeover")
    bad.write_config(**{**bad.settings, "auth_type": "nonsense"})
    run = subprocess.run([*map(str, bad.command())], capture_output=True, text=True, timeout=60,
                         check=False)
    assert run.returncode == 1 and "auth_type" in run.stderr
    # So is a file that it names, which it finds out with the sockets in its hands.
    bad.write_config(**{**bad.settings, "listen": {**bad.settings["listen"],
                                                   "auth_hba_file": "missing.conf"}})
    run = subprocess.run([*map(str, bad.command())], capture_output=True, text=True, timeout=60,
                         check=False)
    assert run.returncode == 1 and "missing.conf" in run.stderr
    first.expect_log("takeover failed; this process goes on")
    first.wait_log("takeover failed; this process goes on")
    # It dies between the sockets and being ready.
    with control(family) as sock:
        sock.send(hello())
        packet, files, _, _ = socket.recv_fds(sock, 512, 64)
        assert packet[:5] == b"HFTO\x02" and len(files) >= 2
        for file in files:
            os.close(file)
        # Meanwhile another one is told to wait.
        with control(family) as other:
            assert b"another process is taking over" in other.recv(512)
    # It speaks a version that nobody knows; something else; nothing.
    with control(family) as sock:
        sock.send(hello(2, 9))
        assert b"it speaks version 1" in sock.recv(512)
    for packet in (b"HFTO\x03", b"HFTO", b"\0" * 512, b"x" * 4000):
        with control(family) as sock:
            sock.send(packet)
            assert sock.recv(512) == b""
    control(family).close()
    # A second one by mistake; then one with a number, by which it could share the port.
    for listen, message in (({}, "the address is in use"),
                            ({"instance_id": 1}, "a proxy is running with run_dir")):
        first.write_config(**{**first.settings, "listen": {**first.settings["listen"], **listen}})
        run = subprocess.run([*map(str, first.command())], capture_output=True, text=True,
                             timeout=60, check=False)
        assert run.returncode == 1 and message in run.stderr, run.stderr
    assert client.value("SELECT 1") == "1"
    with first.connect() as new:
        assert new.value("SELECT 2") == "2"
    client.close()
    # After all this a new process that does not fail takes over.
    family.members.remove(bad)
    family.next()
    first.wait_end()


# ---------------------------------------------------------------------------------------- systemd

class Manager:
    """What a service manager hears."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(0.05)
        self.heard = []

    def has_heard(self, pattern):
        try:
            while True:
                self.heard += self.socket.recv(4096).decode().split("\n")
        except TimeoutError:
            pass
        return next((match for line in self.heard if (match := re.fullmatch(pattern, line))), None)

    def wait(self, *patterns):
        """For each of them, in this order; what was heard before is forgotten."""
        found = []
        for pattern in patterns:
            match = wait_until(lambda p=pattern: self.has_heard(p), 10,
                               lambda p=pattern: f"{p} to be heard: {self.heard}")
            found.append(match)
            del self.heard[:self.heard.index(match.string) + 1]
        return found


def test_systemd_is_told(family):
    """READY, RELOADING, WATCHDOG, MAINPID, STOPPING; and SIGUSR2 starts the successor."""
    manager = Manager(family.folder)
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"}
    family.settings = {"mode": "transaction", "listen": {"run_dir": family.folder / "run"}}
    first = family.make(environment=environment).start()
    first.expect_log("a worker hangs")  # as it might look where many tests run
    manager.wait("READY=1", "STATUS=accepting connections", "WATCHDOG=1", "WATCHDOG=1")
    first.process.send_signal(signal.SIGHUP)
    manager.wait("RELOADING=1", r"MONOTONIC_USEC=\d+", "READY=1")
    with first.connect() as client:
        first.process.send_signal(signal.SIGUSR2)
        pid, *_ = manager.wait(r"MAINPID=(\d+)", r"STATUS=handed over to process \d+", "READY=1",
                               "WATCHDOG=1")
        first.wait_log("leaving: clients stay")
        with first.connect() as new:
            assert client.value("SELECT 1") == new.value("SELECT 1") == "1"
    os.kill(int(pid[1]), signal.SIGTERM)
    manager.wait("STOPPING=1", "STATUS=draining: .*")
    first.wait_end()
    wait_until(lambda: len(re.findall("shut down", first.log)) == 2, 10, "both are down")


@contextlib.contextmanager
def stopped(tid):
    """One thread of another process stands still: SIGSTOP would stop all of them."""
    seize, interrupt, detach = 0x4206, 0x4207, 17
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(seize, tid, None, None) != 0:
        pytest.skip(f"ptrace is not allowed here: {os.strerror(ctypes.get_errno())}")
    try:
        assert libc.ptrace(interrupt, tid, None, None) == 0
        assert os.waitpid(tid, 0x40000000)[0] == tid  # __WALL
        yield
    finally:
        libc.ptrace(detach, tid, None, None)


def test_the_watchdog_starves_while_a_worker_hangs(family):
    manager = Manager(family.folder)
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"}
    family.settings = {"mode": "transaction", "listen": {"workers": 2}}
    target = family.make(environment=environment).start()
    target.expect_log("a worker hangs")
    manager.wait("READY=1", "STATUS=accepting connections", "WATCHDOG=1")
    tids = [int(task.name) for task in Path(f"/proc/{target.process.pid}/task").iterdir()
            if (task / "comm").read_text().startswith("worker")]
    assert len(tids) == 2
    with stopped(tids[0]):
        target.wait_log("a worker hangs; the watchdog is not fed")
        manager.has_heard("nothing")  # what was said until then
        manager.heard.clear()
        time.sleep(1)  # more than twice the time that systemd would have waited
        assert manager.has_heard("WATCHDOG=1") is None
    manager.wait("WATCHDOG=1")


def test_without_a_run_dir_nobody_takes_over(start_proxy):
    target = start_proxy("transaction")
    target.expect_log("no new process is started to take over")
    target.process.send_signal(signal.SIGUSR2)
    target.wait_log("proxy.run_dir is not set")
    run = subprocess.run([*map(str, target.command()), "--takeover"], capture_output=True,
                         text=True, timeout=60, check=False)
    assert run.returncode == 1 and "needs a place to find the other process" in run.stderr


def listening(family, port=None):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port or family.port))
    sock.listen(64)
    return sock


def test_sockets_of_systemd_outlive_the_process(family):
    """Who connects while no process runs is served by the next one; takeovers work beside it."""
    path = family.folder / f".s.PGSQL.{family.port}"
    with listening(family) as tcp, socket.socket(socket.AF_UNIX) as local:
        local.bind(str(path))
        local.listen(64)
        family.settings = {"mode": "transaction",
                           "listen": {"run_dir": family.folder / "run", "workers": 2}}
        first = family.make(sockets=(tcp, local)).start()
        with first.connect() as one, first.connect(host=str(family.folder)) as two:
            assert one.value("SELECT 1") == two.value("SELECT 1") == "1"
        second = family.next()
        first.wait_end()
        with second.connect() as one, second.connect(host=str(family.folder)) as two:
            assert one.value("SELECT 1") == two.value("SELECT 1") == "1"
        assert second.stop() == 0
        assert path.exists()
        early = socket.create_connection(("127.0.0.1", family.port))
        third = family.make(sockets=(tcp, local)).start()
        early.settimeout(30)
        early.sendall(pgwire.request(pgwire.CODE_SSL))
        assert early.recv(1) == b"S"
        early.close()
        assert third.stop() == 0


def test_sockets_of_systemd_that_are_not_configured_are_a_mistake(family):
    with listening(family, proxy_rig.free_port()) as other:
        family.settings = {"mode": "transaction"}
        member = family.make(sockets=(other,))
        with pytest.raises(AssertionError, match="systemd listens on 127.0.0.1"):
            member.start()
        member.expect_log("")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_the_units_are_what_systemd_takes(tmp_path):
    units = Path(__file__).parents[2] / "deploy" / "systemd"
    for unit in ("holdfast.service", "holdfast.socket"):
        text = (units / unit).read_text().replace("/usr/bin/holdfast", str(find_binary()))
        (tmp_path / unit).write_text(text)

    def analyze(*arguments):
        run = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True,
                             timeout=60, check=False, cwd=tmp_path)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stderr

    assert not analyze("verify", "--man=no", "./holdfast.service", "./holdfast.socket")
    analyze("security", "--offline=yes", "--threshold=20", "--no-pager", "./holdfast.service")
