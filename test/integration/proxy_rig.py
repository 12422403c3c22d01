"""What the proxy's tests stand on: a PostgreSQL server of their own, and something to reach it by.

    server = PostgresServer(folder, port)     initdb, start, stop, restart; roles and databases
    with HoldfastProxy(folder, port, server, mode="transaction") as target: ...
    with PgbouncerProxy(folder, port, server, mode="session") as target: ...
    Direct(server)                            the server itself, behind the same face

A target has an `address` and connect(); a test written against it runs against any of the three,
which is how a test is itself tested: it must pass directly before it may say anything of a proxy.

The log of a proxy is read while it runs. A line of level warning or above that no test said it
expects, and anything that is not a log line at all (a sanitizer's report, say), fails the test that
had the proxy last.
"""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pgwire
from demo_process import find_binary, wait_until

PG_BIN = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "correct horse: battery"
START_SECONDS = 30
STOP_SECONDS = 60

# Name, how its password is kept, what its lines in pg_hba.conf ask for.
ROLES = [
    ("app", "scram-sha-256", "scram-sha-256"),
    ("other", "scram-sha-256", "scram-sha-256"),
    ("old", "md5", "md5"),
    ("plain", "scram-sha-256", "password"),
    ("walker", "scram-sha-256", "scram-sha-256"),
    ("trusted", "scram-sha-256", "trust"),
]
DATABASES = ["app", "second"]

SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
max_connections = {connections}
superuser_reserved_connections = 3
shared_buffers = 32MB
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
wal_level = replica
max_wal_senders = 4
ssl = on
ssl_cert_file = '{folder}/server.crt'
ssl_key_file = '{folder}/server.key'
log_min_messages = warning
timezone = 'UTC'
log_timezone = 'UTC'
"""


def as_postgres():
    """PostgreSQL refuses to run as root; for anybody else there is nothing to change."""
    if os.geteuid() != 0:
        return {}
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


def is_free(port):
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


_given = set()


def free_port():
    """Below 32768, above which the kernel takes ports for outgoing connections. By chance, so that
    two runs of the tests at a time do not mind each other; and none twice, since whom it was given
    to may listen there only later."""
    while True:
        port = random.randrange(20000, 28000)
        if port not in _given and is_free(port):
            _given.add(port)
            return port


def make_certificate(folder, name="server"):
    """A self-signed one, for both ends; returns (certificate, key)."""
    crt, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
                    "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", key, "-out", crt], check=True, capture_output=True)
    key.chmod(0o600)
    return crt, key


class PostgresServer:
    """One server in a folder, all of it gone with the folder."""

    def __init__(self, folder, port, connections=60):
        self.folder = Path(folder)
        self.port = port
        self.host = "127.0.0.1"
        self.connections = connections
        self.log_path = self.folder / "postgresql.log"
        self.process = None
        self._create()
        self.start()
        self._fill()

    def _create(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        make_certificate(self.folder)
        if os.geteuid() == 0:
            for path in [self.folder, *self.folder.iterdir()]:
                shutil.chown(path, "postgres", "postgres")
        # initdb knows "-N", without which most of its time goes into syncing an empty database.
        subprocess.run([PG_BIN / "initdb", "-N", "-D", self.folder / "data", "-U", "postgres",
                        "-A", "trust", "--locale=C", "-E", "UTF8"],
                       check=True, capture_output=True, cwd="/", **as_postgres())
        with open(self.folder / "data/postgresql.conf", "a", encoding="ascii") as file:
            file.write(SETTINGS.format(port=self.port, folder=self.folder,
                                       connections=self.connections))
        lines = ["local all all trust"]
        for role, _, method in ROLES:
            lines += [f"host {databases} {role} 127.0.0.1/32 {method}"
                      for databases in ("all", "replication")]
        lines.append("host all all 127.0.0.1/32 scram-sha-256")
        (self.folder / "data/pg_hba.conf").write_text("\n".join(lines) + "\n")

    def _fill(self):
        sql = [f"ALTER ROLE postgres PASSWORD '{PASSWORD}'"]
        for role, kept, _ in ROLES:
            sql.append(f"SET password_encryption = '{kept}'")
            more = "REPLICATION" if role == "walker" else ""
            sql.append(f"CREATE ROLE {role} LOGIN {more} PASSWORD '{PASSWORD}'")
        for database in DATABASES:
            sql.append(f"CREATE DATABASE {database} OWNER app")
        self.sql(*sql)

    @property
    def address(self):
        return self.host, self.port

    def start(self):
        log = open(self.log_path, "ab")  # pylint: disable=consider-using-with
        self.process = subprocess.Popen([PG_BIN / "postgres", "-D", self.folder / "data"],
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                        start_new_session=True, cwd="/", **as_postgres())
        log.close()
        wait_until(self._is_up, START_SECONDS, f"PostgreSQL answers; see {self.log_path}")

    def _is_up(self):
        assert self.process.poll() is None, self.log_path.read_text()[-2000:]
        try:
            with self.admin():
                return True
        except (OSError, pgwire.ServerError, pgwire.Closed):
            return False

    def stop(self, how=signal.SIGINT):
        """SIGINT is a fast shutdown, SIGQUIT an immediate one."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(STOP_SECONDS)

    def kill(self):
        """Not even its children are told."""
        pids = self.backends() + [self.process.pid]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(STOP_SECONDS)

    def backends(self):
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [int(pid) for pid in Path(path).read_text().split()]

    def restart(self, how=signal.SIGINT):
        self.stop(how)
        self.start()

    def admin(self, database="postgres"):
        """A superuser's connection by the unix socket: it does not depend on what is tested."""
        return pgwire.connect(str(self.folder), self.port, "postgres", database)

    def sql(self, *statements, database="postgres"):
        """Runs each; the rows of the last."""
        with self.admin(database) as wire:
            for statement in statements:
                found = wire.rows(statement)
            return found

    def wait_idle(self, seconds=10, database="app"):
        """Until no backend of a client's role is in a transaction or at work."""
        question = ("SELECT pid, state, query FROM pg_stat_activity WHERE datname = "
                    f"'{database}' AND pid <> pg_backend_pid() AND state <> 'idle'")
        wait_until(lambda: not self.sql(question), seconds, "all backends are idle")


class Target:
    """Whatever speaks PostgreSQL to a test."""

    name = "direct"
    mode = "session"  # how much of a session is kept from one transaction to the next
    is_direct = False
    ca = None

    def connect(self, user="app", database="app", password=PASSWORD, **options):
        host, port = self.address
        return pgwire.connect(options.pop("host", host), port, user, database, password, **options)

    def dsn(self, user="app", database="app", **more):
        host, port = self.address
        parts = {"host": host, "port": port, "user": user, "dbname": database,
                 "password": PASSWORD, **more}
        return " ".join(f"{key}='{value}'" for key, value in parts.items())

    def url(self, user="app", database="app"):
        host, port = self.address
        return f"postgresql://{user}:{PASSWORD.replace(' ', '%20')}@{host}:{port}/{database}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Direct(Target):
    is_direct = True

    def __init__(self, server, mode="session"):
        self.server = server
        self.address = server.address
        self.mode = mode
        self.ca = server.folder / "server.crt"


class Process(Target):
    """A proxy in a process of its own."""

    READY = ""     # a line; without one, that it listens is enough
    HARMLESS = ""  # how every line of its log begins
    BAD = ""       # what no line may have
    ENDS_WITH = 0  # after SIGTERM

    def __init__(self, folder, port, server, mode="session"):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.address = ("127.0.0.1", port)
        self.server = server
        self.mode = mode
        self.lines = []
        self.expected = []
        self.process = None
        self.reader = None

    def command(self):
        raise NotImplementedError

    def start(self, user=None):
        self.process = subprocess.Popen(
            [str(part) for part in self.command()], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True, cwd=self.folder,
            **({"user": user, "group": user, "extra_groups": []} if user else {}))
        self.reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self.reader.start()
        wait_until(self._is_ready, START_SECONDS, lambda: f"ready; its log:\n{self.log}")
        return self

    def _read(self, process):
        with open(self.folder / f"{self.name}.log", "a", encoding="utf-8") as file:
            for line in process.stdout:
                self.lines.append(line.rstrip("\n"))
                file.write(line)
                file.flush()

    def _is_ready(self):
        if self.process.poll() is not None:
            self.reader.join(5)
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.log}")
        if self.READY:
            return re.search(self.READY, self.log)
        with socket.socket() as sock:
            return sock.connect_ex(self.address) == 0

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        assert self.process.poll() is None, (
            f"{self.name} has ended with {self.process.returncode}:\n{self.log[-5000:]}")
        status = self.stop()
        if kind is None:
            assert status == self.ENDS_WITH, f"{self.name} ended with {status}:\n{self.log}"
            self.assert_quiet_log()

    def stop(self):
        """As an operator does it; by force if that does not help, which is a failure."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.name} does not end on SIGTERM:\n{self.log}") from None
        finally:
            self.reader.join(5)
        return self.process.returncode

    @property
    def log(self):
        return "\n".join(self.lines)

    def expect_log(self, pattern):
        """Lines like this are no failure of the test."""
        self.expected.append(re.compile(pattern))

    def wait_log(self, pattern, seconds=10):
        return wait_until(lambda: re.search(pattern, self.log), seconds,
                          f"{pattern!r} in the log:\n{self.log}")

    def unexpected(self):
        return [line for line in self.lines
                if (re.search(self.BAD, line) or not re.match(self.HARMLESS, line))
                and not any(pattern.search(line) for pattern in self.expected)]

    def assert_quiet_log(self):
        found = self.unexpected()
        assert not found, "unexpected lines in the log:\n" + "\n".join(found[:20])

    @property
    def rss_bytes(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    @property
    def cpu_seconds(self):
        parts = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class PgbouncerProxy(Process):
    """Debian's pgbouncer: to see whether a test asks for what any pooler can do."""

    name = "pgbouncer"
    HARMLESS = r"^\d{4}-"
    BAD = r" FATAL "
    ENDS_WITH = 1
    user = "postgres" if os.geteuid() == 0 else None

    def __init__(self, folder, port, server, mode="session", pool_size=20, auth_type="", **_):
        super().__init__(folder, port, server, mode)
        self.pool_size = pool_size
        self.auth_type = auth_type or "scram-sha-256"

    def start(self, user=None):
        crt, key = make_certificate(self.folder, "proxy")
        self.ca = crt
        (self.folder / "users.txt").write_text("".join(
            f'"{role}" "{PASSWORD}"\n' for role in [*(role for role, _, _ in ROLES), "postgres"]))
        (self.folder / "pgbouncer.ini").write_text(f"""
[databases]
* = host={self.server.host} port={self.server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.address[1]}
unix_socket_dir =
auth_type = {self.auth_type}
auth_file = {self.folder}/users.txt
admin_users = app
stats_users = other
pool_mode = {self.mode}
default_pool_size = {self.pool_size}
max_client_conn = 12000
ignore_startup_parameters = extra_float_digits,options
client_tls_sslmode = allow
client_tls_cert_file = {crt}
client_tls_key_file = {key}
""")
        if self.user:
            for path in [self.folder, *self.folder.iterdir()]:
                shutil.chown(path, self.user, self.user)
        return super().start(self.user)

    def command(self):
        return ["pgbouncer", self.folder / "pgbouncer.ini"]


class HoldfastProxy(Process):
    """What all this is about."""

    name = "holdfast"
    READY = "ready to accept connections"
    HARMLESS = r"^ts=\S+ level="
    BAD = r"level=(warning|error|fatal)"

    def __init__(self, folder, port, server, mode="session", **settings):
        """settings: keys of the configuration, those of holdfast_config() below."""
        super().__init__(folder, port, server, mode)
        self.settings = settings

    def start(self, user=None):
        crt, key = make_certificate(self.folder, "proxy")
        self.ca = crt
        self.write_config(**self.settings)
        return super().start(user)

    def write_config(self, users="passwords", **settings):
        """users: "passwords", or "secrets" for what the server keeps."""
        known = [(role, PASSWORD) for role, _, _ in ROLES]
        if users == "secrets":
            known = self.server.sql("SELECT rolname, rolpassword FROM pg_authid "
                                    "WHERE rolpassword IS NOT NULL")
        (self.folder / "users.txt").write_text(
            "".join('"{}" "{}"\n'.format(role.replace('"', '""'), secret)
                    for role, secret in known))
        (self.folder / "holdfast.yml").write_text(holdfast_config(self, **settings))

    def command(self):
        return [find_binary(), "proxy", "--config", self.folder / "holdfast.yml"]

    def reload(self, **settings):
        self.write_config(**settings)
        self.process.send_signal(signal.SIGHUP)


def holdfast_config(proxy, databases=None, roles=None, groups=None, limits=None, client_tls=None,
                    server_tls=None, listen=None, auth_type="scram-sha-256", **pools):
    """The file of a proxy. Keywords are settings of the pools; those of other sections come as
    dicts."""
    sections = {
        "proxy": {"listen": "127.0.0.1", "port": proxy.address[1], "unix_socket_dir": proxy.folder,
                  "auth_file": proxy.folder / "users.txt", "admin_users": "app",
                  "auth_type": auth_type, **(listen or {}),
                  "client_tls": {"sslmode": "allow", "cert_file": proxy.folder / "proxy.crt",
                                 "key_file": proxy.folder / "proxy.key", **(client_tls or {})},
                  "server_tls": {"sslmode": "disable", **(server_tls or {})}},
        "limits": {"server_connections_max": 40, **(limits or {})},
        "pools": {"pool_mode": proxy.mode, **pools},
        "databases": databases or {"*": {"hosts": f"{proxy.server.host}:{proxy.server.port}"}},
        "roles": roles or {},
        "groups": groups or {},
    }
    return "".join(_yaml(name, values, 0) for name, values in sections.items() if values)


def _yaml(name, value, depth):
    """Nested dicts as YAML; JSON's strings are YAML's too."""
    head = "  " * depth + (name if name.replace("_", "").isalnum() else json.dumps(name)) + ":"
    if isinstance(value, dict):
        return head + "\n" + "".join(_yaml(k, v, depth + 1) for k, v in value.items())
    return f"{head} {value if isinstance(value, int) else json.dumps(str(value))}\n"


KINDS = {"direct": Direct, "pgbouncer": PgbouncerProxy, "holdfast": HoldfastProxy}


def make_target(kind, folder, port, server, mode="session", **settings):
    if kind == "direct":
        return Direct(server, mode)
    return KINDS[kind](folder, port, server, mode, **settings)


def sleep_until(condition, seconds):
    """True once condition() is; False when it never was."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False
