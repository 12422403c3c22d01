"""A primary and two replicas, each on a machine of its own, and what an operator does to them.

    cluster = Cluster(folder, network)
    cluster.create()
    cluster.servers["s1"].kill()
    cluster.promote()            the best replica; the old primary can acknowledge nothing any more
    cluster.make_whole()         whoever is down or astray is a replica of the primary again

A write is acknowledged once one replica has it on disk (synchronous_commit = on, ANY 1). The
operator works by unix sockets, which do not depend on the network that the test cuts. Promotion
is what a correct script does: first no replica follows the old primary any more, so that nothing
can be acknowledged there; then the one that has received most is promoted; then the rest follow
it. Done in another order, it would be the script that loses rows, and the library would be blamed.
"""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psycopg

PG_BIN = Path("/usr/lib/postgresql/15/bin")
NAMES = ["s1", "s2", "s3"]
WAIT_SECONDS = 90
SETTINGS = """
listen_addresses = '{address}'
port = {port}
unix_socket_directories = '{folder}'
cluster_name = '{name}'
max_connections = 100
shared_buffers = 32MB
fsync = off
full_page_writes = off
autovacuum = off
wal_level = replica
hot_standby = on
max_wal_senders = 10
wal_keep_size = 512MB
max_wal_size = 2GB
synchronous_commit = on
synchronous_standby_names = 'ANY 1 (s1, s2, s3)'
wal_sender_timeout = 2s
wal_receiver_timeout = 2s
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 200ms
max_standby_streaming_delay = 1s
authentication_timeout = 10s
log_min_messages = warning
log_line_prefix = '%m [%p] '
"""
TABLES = ["CREATE TABLE chaos_row (writer int NOT NULL, number bigint NOT NULL)",
          "CREATE INDEX ON chaos_row (writer, number)",
          "CREATE TABLE chaos_twin (writer int NOT NULL, number bigint NOT NULL)"]


def as_postgres(command):
    """PostgreSQL refuses to run as root. Whoever started it gone, it ends too."""
    if os.geteuid() != 0:
        return ["setpriv", "--pdeathsig", "KILL", *command]
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig",
            "KILL", *command]


def wait_until(condition, what, seconds=WAIT_SECONDS):
    deadline = time.monotonic() + seconds
    while True:
        with suppress(psycopg.Error):
            if condition():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds} s it was still not so that {what}")
        time.sleep(0.03)


class Server:
    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name
        self.folder = cluster.folder / name
        self.data = self.folder / "data"
        self.process = None
        self.is_frozen = False

    @property
    def address(self):
        return self.cluster.network.address(self.name)

    @property
    def port(self):
        return self.cluster.network.port

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def run(self, *command):
        done = subprocess.run([str(word) for word in as_postgres(command)], cwd="/",
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]}: {done.stderr[-1000:]}")

    def configure(self, primary=None):
        """Its settings; as a replica of `primary` if there is one."""
        text = SETTINGS.format(address=self.address, port=self.port, folder=self.folder,
                               name=self.name)
        # What pg_basebackup brought is the other's.
        (self.data / "postgresql.auto.conf").write_text(self._following(primary))
        (self.data / "postgresql.conf").write_text(text)
        (self.data / "pg_hba.conf").write_text("local all all trust\nlocal replication all trust\n"
                                               "host all all all trust\n"
                                               "host replication all all trust\n")
        if primary is not None:
            (self.data / "standby.signal").touch()
        for path in self.data.glob("*.*"):
            if os.geteuid() == 0:
                shutil.chown(path, "postgres", "postgres")

    def _following(self, primary):
        if primary is None:
            return ""
        return (f"primary_conninfo = 'host={primary.address} port={primary.port} user=postgres "
                f"application_name={self.name} connect_timeout=2 tcp_user_timeout=3000'\n")

    def follow(self, primary):
        """Of a replica that runs; None: nobody."""
        path = self.data / "postgresql.auto.conf"
        path.write_text(self._following(primary) or "primary_conninfo = ''\n")
        self.sql("SELECT pg_reload_conf()")

    def start(self, wait=True):
        log = open(self.folder / "log", "ab")  # pylint: disable=consider-using-with
        command = self.cluster.network.inside(
            self.name, as_postgres([PG_BIN / "postgres", "-D", self.data]))
        self.process = subprocess.Popen([str(word) for word in command], cwd="/", stdout=log,
                                        stderr=log, stdin=subprocess.DEVNULL,
                                        start_new_session=True)
        log.close()
        self.is_frozen = False
        if wait:
            wait_until(lambda: self.sql("SELECT 1"), f"{self.name} answers")

    def _pids(self):
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        with suppress(FileNotFoundError):
            return [self.process.pid, *map(int, children.read_text().split())]
        return []

    def _signal_all(self, number):
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self):
        """Not even its children are told. The postmaster first, so that it makes no new ones."""
        if self.is_running:
            self._signal_all(signal.SIGKILL)
            self.process.wait(60)
            self.is_frozen = False

    def freeze(self):
        self._signal_all(signal.SIGSTOP)
        self.is_frozen = True

    def thaw(self):
        self._signal_all(signal.SIGCONT)
        self.is_frozen = False

    def stop(self):
        """A fast shutdown."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()

    def sql(self, statement):
        with psycopg.connect(host=str(self.folder), port=self.port, user="postgres",
                             dbname="postgres", connect_timeout=3, autocommit=True,
                             options="-c synchronous_commit=local -c statement_timeout=10s"
                             ) as wire:
            cursor = wire.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def value(self, statement):
        return self.sql(statement)[0][0]


class Cluster:
    def __init__(self, folder, network):
        self.folder = folder
        self.network = network
        self.servers = {name: Server(self, name) for name in NAMES}
        self.primary = self.servers["s1"]

    @property
    def replicas(self):
        return [server for server in self.servers.values() if server is not self.primary]

    @property
    def hosts(self):
        """As a connection string has them."""
        servers = self.servers.values()
        return (f"host={','.join(server.address for server in servers)} "
                f"port={','.join(str(server.port) for server in servers)} "
                f"user=postgres dbname=postgres")

    def create(self):
        for server in self.servers.values():
            server.folder.mkdir(parents=True)
            if os.geteuid() == 0:
                shutil.chown(server.folder, "postgres", "postgres")
        first = self.primary
        first.run(PG_BIN / "initdb", "-N", "-D", first.data, "-U", "postgres", "-A", "trust",
                  "--locale=C", "-E", "UTF8")
        first.configure()
        first.start()
        for statement in TABLES:
            first.sql(statement)
        self.make_whole()

    def _rebuild(self, server):
        server.kill()
        shutil.rmtree(server.data, ignore_errors=True)
        server.run(PG_BIN / "pg_basebackup", "-h", self.primary.folder, "-p", self.primary.port,
                   "-U", "postgres", "-D", server.data, "-c", "fast", "-X", "stream", "-N")
        server.configure(self.primary)
        server.start()

    def make_whole(self):
        """Everybody up, connected, a replica of the primary, and caught up with it."""
        self.network.heal()
        for server in self.servers.values():
            if server.is_frozen:
                server.thaw()
        if not self.primary.is_running:
            self.primary.start()
        for server in self.replicas:
            if not self._is_ours(server):
                self._rebuild(server)
            elif server.value("SELECT pg_is_wal_replay_paused()"):
                server.sql("SELECT pg_wal_replay_resume()")
        for server in self.replicas:
            self._await_caught_up(server)

    def _is_ours(self, server):
        """Whether it runs as a replica and could follow the primary."""
        if not server.data.exists():
            return False
        if not server.is_running:
            if not (server.data / "standby.signal").exists():
                return False
            server.start()
        return server.value("SELECT pg_is_in_recovery()")

    def _await_caught_up(self, server):
        here = self.primary.value("SELECT pg_current_wal_lsn()::text")
        wait_until(lambda: server.value(f"SELECT pg_last_wal_replay_lsn() >= '{here}'::pg_lsn"),
                   f"{server.name} has replayed what {self.primary.name} had written")

    def promote(self):
        """Makes the best of the running replicas the primary; returns it."""
        candidates = [server for server in self.replicas if server.is_running]
        for server in candidates:
            server.follow(None)
        for server in candidates:
            wait_until(lambda: not server.sql("SELECT 1 FROM pg_stat_wal_receiver"),
                       f"{server.name} follows nobody")
        best = max(candidates, key=lambda server: server.value(
            "SELECT coalesce(greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), '0/0')"
            " - '0/0'::pg_lsn"))
        if not best.value("SELECT pg_promote(true, 20)"):
            raise RuntimeError(f"{best.name} was not promoted")
        self.primary = best
        for server in candidates:
            if server is not best:
                server.follow(best)
        return best

    def rows(self, table):
        """{(writer, number): how often it is there}"""
        found = self.primary.sql(f"SELECT writer, number, count(*) FROM {table} GROUP BY 1, 2")
        return {(writer, number): count for writer, number, count in found}

    def kill(self):
        for server in self.servers.values():
            server.kill()
