"""Programs of a benchmark's own: a folder, the processes that work in it, and their end.

    with Scratch() as scratch:
        server = Postgres(scratch)
        ...

Leaving the `with`, for whatever reason, ends every process that was started and removes the folder;
should this process be killed, the kernel ends them. PostgreSQL and pgbouncer refuse to run as root,
so root starts all of them as an unprivileged user.
"""

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from harness import die

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 10
START_SECONDS = 30

_libc = ctypes.CDLL(None)


def _end_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def unprivileged():
    """The user that programs run as, or None for the one who runs this."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return die("there is no user postgres or nobody", "Run this as a user who is not root.")


class Scratch:
    def __init__(self):
        self.user = unprivileged()
        # Not in a user's temporary folder: that may be closed to the programs' user, and its path
        # too long for a unix socket.
        self.folder = Path(tempfile.mkdtemp(prefix="hf-bench-", dir="/tmp"))
        self._processes = []
        self._next_port = 20000 + os.getpid() % 110 * 100
        self.give(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            for process in reversed(self._processes):
                self.stop(process)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def give(self, path):
        """Makes it the programs' user's."""
        if self.user is not None:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="ascii")
        path.chmod(0o600)
        self.give(path)
        return path

    def copy(self, program):
        """A program from the build, where its user can reach it."""
        path = self.folder / program.name
        if not path.exists():
            shutil.copy(program, path)
            path.chmod(0o755)
        return path

    def port(self):
        """A free one below 32768, above which the kernel takes those of outgoing connections."""
        while True:
            self._next_port = self._next_port + 1 if self._next_port < 32000 else 20000
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", self._next_port))
                    return self._next_port
                except OSError:
                    continue

    def _as_user(self):
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def run(self, *command):
        """A program that ends by itself."""
        done = subprocess.run([str(word) for word in command], cwd=self.folder, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, **self._as_user())
        if done.returncode != 0:
            die(f"{Path(command[0]).name} ended with {done.returncode}",
                (done.stderr or done.stdout)[-2000:])
        return done.stdout

    def start(self, name, *command, stop=signal.SIGTERM):
        """A program that stays, until it is sent `stop`. What it says goes to NAME.log."""
        with open(self.folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen([str(word) for word in command], cwd=self.folder,
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       start_new_session=True, preexec_fn=_end_with_parent,
                                       **self._as_user())
        process.name = name
        process.stop_signal = stop
        self._processes.append(process)
        return process

    def await_port(self, process, port):
        """Until somebody listens there."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            if process.poll() is not None:
                die(f"{process.name} ended at its start", self.log(process))
            if time.monotonic() > deadline:
                die(f"{process.name} does not listen on port {port}", self.log(process))
            time.sleep(0.01)

    @contextmanager
    def on_one_core(self, processes=None):
        """These processes and their children stay on one core, all the same one, until the `with`
        is left; without an argument all that run."""
        every = os.sched_getaffinity(0)
        processes = list(self._processes) if processes is None else processes
        self._run_on({max(every)}, processes)
        try:
            yield
        finally:
            self._run_on(every, processes)

    @staticmethod
    def _run_on(cores, processes):
        def run_on(pid):
            with suppress(FileNotFoundError, ProcessLookupError):  # it may just have ended
                for task in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setaffinity(int(task), cores)

        for process in (one for one in processes if one.poll() is None):
            run_on(process.pid)  # first: what it starts from now on is there by itself
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            for pid in children.read_text(encoding="ascii").split():
                run_on(pid)

    def log(self, process):
        path = self.folder / f"{process.name}.log"
        return path.read_text(encoding="utf-8", errors="replace")[-2000:]

    def stop(self, process):
        """In order; by force if that takes long."""
        if process.poll() is None:
            process.send_signal(process.stop_signal)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process in self._processes:
            self._processes.remove(process)


def find_postgres():
    """The folder of PostgreSQL 15's programs, which is what the figures are made with; or of the
    newest that there is."""
    found = {int(path.parent.parent.name): path.parent
             for path in Path("/usr/lib/postgresql").glob("[0-9]*/bin/postgres")}
    if not found:
        die("there is no PostgreSQL", "apt-get install postgresql-15")
    return found.get(15, found[max(found)])


class Postgres:
    """A server with a database for pgbench. Speed is what counts here, not its data."""

    USER = "bench"
    DATABASE = "bench"
    SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off",
                "max_connections=300", "shared_buffers=256MB", "listen_addresses=127.0.0.1",
                "max_wal_senders=0", "wal_level=minimal", "log_checkpoints=off")

    def __init__(self, scratch, scale):
        self.bin = find_postgres()
        self.port = scratch.port()
        data = scratch.folder / "data"
        scratch.run(self.bin / "initdb", "-D", data, "-U", self.USER, "-A", "trust", "--no-sync",
                    "-E", "UTF8", "--locale=C")
        settings = [word for setting in self.SETTINGS for word in ("-c", setting)]
        self.process = scratch.start("postgres", self.bin / "postgres", "-D", data,
                                     "-c", f"port={self.port}",
                                     "-c", f"unix_socket_directories={scratch.folder}", *settings,
                                     stop=signal.SIGINT)
        scratch.await_port(self.process, self.port)
        at = ("-h", "127.0.0.1", "-p", self.port, "-U", self.USER)
        self._await_answer(scratch, at)
        scratch.run(self.bin / "psql", *at, "-d", "postgres", "-c",
                    f"CREATE DATABASE {self.DATABASE}")
        scratch.run(self.bin / "pgbench", *at, "-i", "-q", "-s", scale, self.DATABASE)
        self.version = scratch.run(self.bin / "postgres", "--version").split()[2]

    def _await_answer(self, scratch, at):
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run([self.bin / "pg_isready", "-q", *map(str, at)]).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                die("the scratch server does not answer", scratch.log(self.process))
            time.sleep(0.02)
