"""A primary and its replicas, and the program that watches them (test/tools/watch_servers.c).

    template = Template(folder)               initdb, once
    cluster = Cluster(folder, template, replicas=2)
    with Watching(cluster.dsn()) as watching:
        watching.await_view(lambda view: view["writer"] == cluster.primary.name)

A server is a copy of the template's folder, so all servers of a template are of one cluster, and
making one takes no base backup. All of them end with the test.
"""

import http.server
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pgwire
from demo_process import find_binary, wait_until
from proxy_rig import PG_BIN, as_postgres, free_port

START_SECONDS = 30
VIEW_SECONDS = 60

SETTINGS = """
shared_buffers = 16MB
fsync = off
full_page_writes = off
autovacuum = off
hot_standby = on
wal_level = replica
wal_keep_size = 256MB
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 200ms
log_min_messages = warning
timezone = 'UTC'
"""


class Template:
    def __init__(self, folder):
        self.data = Path(folder) / "data"
        Path(folder).mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        subprocess.run([PG_BIN / "initdb", "-N", "-D", self.data, "-U", "postgres", "-A", "trust",
                        "--locale=C", "-E", "UTF8"],
                       check=True, capture_output=True, cwd="/", **as_postgres())
        with open(self.data / "postgresql.conf", "a", encoding="ascii") as file:
            file.write(SETTINGS)
        (self.data / "pg_hba.conf").write_text(
            "local all all trust\nhost all all 127.0.0.0/8 trust\n"
            "host replication all 127.0.0.0/8 trust\n")


class Server:
    """One server; `upstream` makes it a replica."""

    def __init__(self, folder, template, port, upstream=None, host="127.0.0.1"):
        self.folder = Path(folder)
        self.port = port
        self.host = host
        self.process = None
        self.folder.mkdir(parents=True)
        subprocess.run(["cp", "-a", template.data, self.folder / "data"], check=True)
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        with open(self.folder / "data/postgresql.conf", "a", encoding="ascii") as file:
            file.write(f"port = {port}\nunix_socket_directories = '{self.folder}'\n"
                       f"listen_addresses = '{host}'\n")
        if upstream is not None:
            self.follow(upstream)

    @property
    def name(self):
        return f"{self.host}:{self.port}"

    def follow(self, upstream):
        """From its next start on."""
        with open(self.folder / "data/postgresql.conf", "a", encoding="ascii") as file:
            file.write(f"primary_conninfo = 'host={upstream.host} port={upstream.port} "
                       f"user=postgres application_name=r{self.port}'\n"
                       "recovery_target_timeline = 'latest'\n")
        (self.folder / "data/standby.signal").touch()

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                [PG_BIN / "postgres", "-D", self.folder / "data"], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True, cwd="/", **as_postgres())
        wait_until(self._is_up, START_SECONDS, f"{self.folder.name} answers")
        return self

    def _is_up(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
        try:
            with self.admin():
                return True
        except (OSError, pgwire.ServerError, pgwire.Closed):
            return False

    def pids(self):
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [self.process.pid] + [int(pid) for pid in Path(path).read_text().split()]

    def signal_all(self, number):
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def kill(self):
        """Returns the monotonic nanoseconds just before."""
        pids = self.pids()
        at_ns = time.monotonic_ns()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(60)
        return at_ns

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.signal_all(signal.SIGCONT)
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(60)

    def admin(self):
        return pgwire.connect(str(self.folder), self.port, "postgres", "postgres")

    def sql(self, *statements):
        with self.admin() as wire:
            for statement in statements:
                found = wire.rows(statement)
            return found


class Cluster:
    def __init__(self, folder, template, replicas=0, host="127.0.0.1"):
        self.folder = Path(folder)
        self.template = template
        self.servers = []
        self.primary = self.add(host=host)
        self.primary.start()
        self.primary.sql("CREATE ROLE watch LOGIN IN ROLE pg_monitor", "CREATE ROLE plain LOGIN")
        for _ in range(replicas):
            self.add(self.primary).start()

    @property
    def replicas(self):
        return self.servers[1:]

    def add(self, upstream=None, template=None, host="127.0.0.1", port=None):
        server = Server(self.folder / f"s{len(self.servers)}", template or self.template,
                        port or free_port(), upstream, host)
        self.servers.append(server)
        return server

    def dsn(self, user="watch", servers=None):
        servers = servers or self.servers
        return (f"host={','.join(s.host for s in servers)} "
                f"port={','.join(str(s.port) for s in servers)} user={user} dbname=postgres "
                "sslmode=disable")

    def stop(self):
        for server in self.servers:
            server.stop()


class Watching:
    """The program that watches; its lines as dictionaries, in order."""

    def __init__(self, dsn, *options):
        tool = find_binary().parents[2] / "test/tools/watch_servers"
        self.lines = []
        self.changed = threading.Condition()
        self.process = subprocess.Popen([tool, *options, dsn], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.began_ns = time.monotonic_ns()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(json.loads(line))
                self.changed.notify_all()
        with self.changed:
            self.lines.append({"at": 0, "ended": True})
            self.changed.notify_all()

    def await_line(self, condition, since=0, seconds=VIEW_SECONDS):
        """The first line after number `since` that is so; and its number."""
        deadline = time.monotonic() + seconds
        at = since
        with self.changed:
            while True:
                while at < len(self.lines):
                    if condition(self.lines[at]):
                        return self.lines[at], at
                    at += 1
                left = deadline - time.monotonic()
                assert left > 0, "not seen; the last were:\n" + "\n".join(
                    json.dumps(line) for line in self.lines[-12:])
                self.changed.wait(left)

    def await_view(self, condition, since=0, seconds=VIEW_SECONDS):
        return self.await_line(lambda line: "view" in line and condition(line), since, seconds)

    def await_news(self, words, since=0, seconds=VIEW_SECONDS):
        return self.await_line(lambda line: words in line.get("news", ""), since, seconds)

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def view(self):
        """The newest, figures included."""
        count = len(self.lines)
        self.say("view")
        return self.await_view(lambda _: True, count)[0]

    def stop(self):
        if self.process.poll() is None:
            self.say("stop")
        self.process.wait(60)
        self.reader.join(60)
        return self.lines[-2]["stopped_in"] if len(self.lines) > 1 else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Patroni:
    """What Patroni's REST endpoint says of a cluster, to whoever asks."""

    def __init__(self, servers):
        self.servers = list(servers)
        rest = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # pylint: disable=invalid-name
                members = [{"name": f"m{n}", "role": "replica", "state": "running",
                            "host": s.host, "port": s.port, "tags": {"x": [1]}}
                           for n, s in enumerate(rest.servers)]
                self.send_response(200 if self.path == "/cluster" else 404)
                self.end_headers()
                self.wfile.write(json.dumps({"members": members, "scope": "t"}).encode())

            def log_message(self, *_):  # pylint: disable=arguments-differ
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def endpoint(view, server):
    return next(e for e in view["endpoints"] if e["name"] == server.name)
