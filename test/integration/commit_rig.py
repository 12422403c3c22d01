"""A primary and a standby that are killed, stopped and promoted, and a search for what became of a
COMMIT: what test_commit_truth.py stands on.

    pair = Pair(folder)               a running pair; pair.primary, pair.standby, pair.promote()
    asker = Asker(pair, role="app")   test/tools/commit_ask, which watches both from then on
    asker.lost(0, probe)              ("committed", "the server has recorded it", ...)

A server is killed with all its children at once (its process group), as a machine that loses its
power would be but for the page cache, which survives.
"""

import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pgwire
from demo_process import processes_in, wait_until
from proxy_rig import PG_BIN, as_postgres, free_port

SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = '{folder}'
max_connections = 40
shared_buffers = 32MB
fsync = off
autovacuum = off
wal_level = replica
max_wal_senders = 8
hot_standby = on
wal_retrieve_retry_interval = 100ms
wal_receiver_status_interval = 1s
log_min_messages = warning
timezone = 'UTC'
log_timezone = 'UTC'
restart_after_crash = on
"""


def find_asker():
    """Beside the binary under test, or in the build directory that COMMIT_ASK names."""
    root = Path(__file__).resolve().parents[2]
    given = os.environ.get("COMMIT_ASK")
    binary = os.environ.get("HOLDFAST")
    builds = [root / "build/check/gcc", root / "build/release"]
    if binary:
        builds.insert(0, Path(binary).parents[2])
    candidates = [Path(given)] if given else [at / "test/tools/commit_ask" for at in builds]
    for path in candidates:
        if path.is_file():
            return path
    raise FileNotFoundError(f"no commit_ask: build it, or set COMMIT_ASK ({candidates})")


def send(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


class Server:
    """One of the pair, in a folder of its own."""

    def __init__(self, folder, name):
        self.folder = Path(folder)
        self.name = name
        self.port = free_port()
        self.data = self.folder / name
        self.log_path = self.folder / f"{name}.log"
        self.process = None

    def _run(self, *command):
        subprocess.run([str(part) for part in command], check=True, capture_output=True, cwd="/",
                       **as_postgres())

    def create(self):
        self._run(PG_BIN / "initdb", "-N", "-D", self.data, "-U", "postgres", "-A", "trust",
                  "--locale=C", "-E", "UTF8")
        with open(self.data / "postgresql.conf", "a", encoding="ascii") as file:
            file.write(SETTINGS.format(folder=self.folder))
        with open(self.data / "pg_hba.conf", "w", encoding="ascii") as file:
            file.write("local all all trust\nhost all all 127.0.0.1/32 trust\n"
                       "host replication all 127.0.0.1/32 trust\nlocal replication all trust\n")

    def copy_of(self, other):
        shutil.rmtree(self.data, ignore_errors=True)
        self._run(PG_BIN / "pg_basebackup", "-D", self.data, "-h", self.folder, "-p", other.port,
                  "-U", "postgres", "-X", "stream", "-c", "fast", "-R", "--no-sync")
        with open(self.data / "postgresql.auto.conf", "a", encoding="ascii") as file:
            file.write(f"primary_conninfo = 'host=127.0.0.1 port={other.port} user=postgres"
                       f" application_name={self.name}'\nsynchronous_standby_names = ''\n")

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                [str(PG_BIN / "postgres"), "-D", str(self.data), "-c", f"port={self.port}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
                **as_postgres())
        wait_until(self.is_up, 30, f"{self.name} answers; see {self.log_path}")
        return self

    def is_up(self):
        assert self.process.poll() is None, self.log_path.read_text()[-2000:]
        try:
            with self.connect():
                return True
        except (OSError, pgwire.ServerError, pgwire.Closed):
            return False

    def connect(self, user="postgres", database="postgres"):
        return pgwire.connect(str(self.folder), self.port, user, database)

    def rows(self, sql, **who):
        with self.connect(**who) as wire:
            return wire.rows(sql)

    def value(self, sql, **who):
        return self.rows(sql, **who)[0][0]

    def pids(self):
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [self.process.pid, *map(int, Path(path).read_text().split())]

    def kill(self):
        """The postmaster first, so that nobody tidies up."""
        send(self.pids(), signal.SIGKILL)
        self.process.wait(60)

        def is_gone():
            left = processes_in(self.data)
            send(left, signal.SIGKILL)
            return not left
        wait_until(is_gone, 10, "its children are gone")

    def stop(self, how=signal.SIGINT):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)

    def pause(self, is_paused=True):
        send(self.pids(), signal.SIGSTOP if is_paused else signal.SIGCONT)

    def promote(self):
        self.rows("SELECT pg_promote(true, 20)")


class Pair:
    """`primary` and `standby`: the roles they have now."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self.servers = [Server(folder, "one"), Server(folder, "two")]
        self.primary, self.standby = self.servers
        self.primary.create()
        self.primary.start()
        self.primary.rows("CREATE ROLE app LOGIN")
        self.primary.rows("CREATE TABLE t (id bigint PRIMARY KEY)")
        self.primary.rows("GRANT ALL ON t TO app")
        self.rebuild()

    def rebuild(self):
        """A fresh standby of the present primary."""
        self.standby.stop(signal.SIGQUIT)
        self.standby.copy_of(self.primary)
        self.standby.start()
        self.wait_streaming()

    def wait_streaming(self):
        wait_until(lambda: self.primary.value(
            "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "1",
            20, "the standby streams")

    def synchronous(self, is_on):
        names = self.standby.name if is_on else ""
        self.primary.rows(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        self.primary.rows("SELECT pg_reload_conf()")
        wait_until(lambda: self.primary.value("SHOW synchronous_standby_names") == names, 5,
                   "the setting is in force")
        if is_on:
            wait_until(lambda: self.primary.value(
                "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1",
                10, "the standby is synchronous")
            # The walsender knows; the checkpointer, which makes commits wait, does after this.
            self.primary.rows("CHECKPOINT")

    def cut_link(self):
        """Nothing is streamed any more; returns what takes that back. The standby's receiver and
        the primary's sender stop, so that neither notices."""
        senders = [int(row[0]) for row in self.primary.rows("SELECT pid FROM pg_stat_replication")]
        send(senders, signal.SIGSTOP)
        return lambda: send(senders, signal.SIGCONT)

    def promote(self):
        """The standby takes over; the former primary is whatever it is."""
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    def close(self):
        for server in self.servers:
            if server.process is not None and server.process.poll() is None:
                server.pause(False)
                server.kill()


class Asker:
    """The tool, from its start on a watcher of both servers."""

    def __init__(self, pair, role="app", version=150000):
        self.servers = pair.servers
        hosts = ",".join(str(server.folder) for server in pair.servers)
        ports = ",".join(str(server.port) for server in pair.servers)
        place = f"host={hosts} port={ports} user={role} dbname=postgres connect_timeout=2"
        self.process = subprocess.Popen([str(find_asker()), place], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, start_new_session=True,
                                        env={**os.environ, "COMMIT_ASK_VERSION": str(version)})

    def __enter__(self):
        self.probe_sql()  # its first words come when every server was asked once
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def send(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def receive(self, seconds=90):
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        assert ready, "the search has not ended"
        return self.process.stdout.readline().rstrip("\n")

    def probe_sql(self, mark=0):
        self.send(f"probe {mark}")
        return self.receive()

    def check_sql(self):
        self.send("check")
        return self.receive()

    def setup_sql(self):
        self.send("setup")
        return self.receive()

    def begin(self, server, probe, seconds=60):
        """Says that a COMMIT sent there was lost; `probe` is the row that its probe returned."""
        columns = "|".join("-" if value is None else value for value in probe or ())
        self.send(f"lost {self.servers.index(server)} {int(seconds * 1000)} {columns}")

    def end(self, seconds=90):
        """(resolution, why)."""
        resolution, why, *_ = self.receive(seconds).split("; ")
        return resolution, why

    def lost(self, server, probe, seconds=60):
        self.begin(server, probe, seconds)
        return self.end(seconds + 30)
