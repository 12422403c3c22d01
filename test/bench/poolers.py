"""What stands between the clients and the server: one class for each thing that is measured.

All have the same setting: pools in transaction mode of POOL server connections, except for the
database `session`, where each client has a server connection of its own; nothing is written to a
log when clients come and go; users in one file, in PgBouncer's format.
"""

import base64
import hashlib
import hmac
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from harness import built, die

POOL = 20
SESSIONS = 100
CLIENTS_MAX = 15000
PASSWORD = "a password of some length"


def scram_secret(password):
    """As PostgreSQL keeps it."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 4096)
    client, server = (hmac.digest(salted, word, "sha256") for word in (b"Client Key",
                                                                      b"Server Key"))
    stored = hashlib.sha256(client).digest()
    salt, stored, server = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256$4096:{salt}${stored}:{server}"


def make_files(scratch, user):
    """users.txt, and a certificate for TLS."""
    scratch.write("users.txt", f'"{user}" "{scram_secret(PASSWORD)}"\n')
    if shutil.which("openssl") is None:
        die("there is no openssl, which makes the certificate", "apt-get install openssl")
    scratch.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                "-subj", "/CN=localhost", "-keyout", scratch.folder / "tls.key",
                "-out", scratch.folder / "tls.crt")


class Pooler:
    """One process in front of a server, from start() to stop(). `auth` is trust or scram-sha-256,
    for all its clients."""

    name = None
    TARGET = None   # of the build, if it is built here
    IO = "auto"     # of those that can choose

    @classmethod
    def targets(cls):
        return [cls.TARGET] if cls.TARGET else []

    @classmethod
    def version(cls):
        """Of the program, as it says itself."""
        said = subprocess.run([cls.program(), "--version"], capture_output=True, text=True).stdout
        return said.split()[1]

    @classmethod
    def program(cls):
        return built(cls.TARGET)

    def __init__(self, scratch, server):
        self._scratch = scratch
        self._server = server
        self.process = None
        self.port = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self, auth="trust", tls=False, workers=1):
        self.port = self._scratch.port()
        command = self._command(auth, tls, workers)
        self.process = self._scratch.start(f"{self.name}-{self.port}", *command)
        self._scratch.await_port(self.process, self.port)
        return self

    def _command(self, auth, tls, workers):
        raise NotImplementedError

    def stop(self):
        if self.process is not None:
            self._scratch.stop(self.process)
            self.process = None

    def database(self, is_pooled=True):
        return self._server.DATABASE if is_pooled else "session"

    def cpu_seconds(self):
        """What all its threads have used so far, in user and kernel mode, to the nanosecond: the
        clock behind utime and stime of /proc/PID/stat (clock_getcpuclockid(3) makes its number the
        same way)."""
        status = self.process.poll()
        if status is not None:
            die(f"{self.name} has ended with {status}", self.said())
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def memory_bytes(self):
        """Its proportional share of the pages it has in memory."""
        text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text(encoding="ascii")
        return int(re.search(r"^Pss: +(\d+) kB", text, re.M)[1]) * 1024

    def said(self):
        """The end of its log, for when a run failed."""
        return self._scratch.log(self.process) if self.process is not None else ""


class Direct(Pooler):
    """Nobody: the server itself."""

    name = "direct"

    def start(self, auth="trust", tls=False, workers=1):
        self.port = self._server.port
        return self

    def cpu_seconds(self):
        return 0.0


class PgBouncer(Pooler):
    name = "pgbouncer"

    @classmethod
    def program(cls):
        path = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:" + os.environ.get("PATH", ""))
        if path is None:
            die("there is no pgbouncer", "apt-get install pgbouncer")
        return path

    def _command(self, auth, tls, _workers):
        folder, server = self._scratch.folder, self._server
        at = f"host=127.0.0.1 port={server.port} dbname={server.DATABASE}"
        encryption = f"""
            client_tls_sslmode = require
            client_tls_key_file = {folder}/tls.key
            client_tls_cert_file = {folder}/tls.crt""" if tls else ""
        text = f"""
            [databases]
            {server.DATABASE} = {at}
            session = {at} pool_mode=session pool_size={SESSIONS}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {self.port}
            unix_socket_dir =
            auth_type = {auth}
            auth_file = {folder}/users.txt
            pool_mode = transaction
            default_pool_size = {POOL}
            max_client_conn = {CLIENTS_MAX}
            log_connections = 0
            log_disconnections = 0
            log_stats = 0{encryption}
            """
        ini = self._scratch.write(f"pgbouncer-{self.port}.ini",
                                  re.sub(r"^ +", "", text, flags=re.M))
        return self.program(), ini


class Holdfast(Pooler):
    name = "holdfast"
    TARGET = "src/cli/holdfast"

    def _command(self, auth, tls, workers):
        folder, server = self._scratch.folder, self._server
        encryption = f"""
  client_tls:
    sslmode: require
    cert_file: {folder}/tls.crt
    key_file: {folder}/tls.key""" if tls else ""
        config = self._scratch.write(f"holdfast-{self.port}.yml", f"""\
proxy:
  listen: 127.0.0.1
  port: {self.port}
  workers: {workers}
  io: {self.IO}
  auth_type: {auth}
  auth_file: {folder}/users.txt
  log_connections: off
  log_disconnections: off{encryption}
limits:
  clients_max: {CLIENTS_MAX}
pools:
  pool_mode: transaction
  pool_size: {POOL}
databases:
  {server.DATABASE}:
    hosts: 127.0.0.1:{server.port}
    dbname: {server.DATABASE}
""")
        return self._scratch.copy(self.program()), "proxy", "--config", config


class Relay(Pooler):
    """relay.c: carries bytes and pools nothing, so each client has a server connection."""

    name = "relay"
    TARGET = "test/bench/relay"

    @classmethod
    def version(cls):
        return "without a version"

    def _command(self, _auth, _tls, _workers):
        return (self._scratch.copy(self.program()), self.port, self._server.port,
                self.IO.removeprefix("io_"))

    def database(self, is_pooled=True):
        return self._server.DATABASE
