"""What the tests of libholdfast's examples and installation stand on.

    program("quickstart")           where the build put an example
    run(program, *arguments)        its output, once it has ended well
    with Running(program, ...) as it:
        it.wait_for("ready"); it.lines; it.end()
"""

import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import proxy_rig
from demo_process import find_binary, wait_until

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 180


def build_folder():
    return find_binary().resolve().parents[2]


def program(name):
    return build_folder() / "examples" / name


def conninfo(*servers, user="app", database="app"):
    """All of them in one connection string."""
    return (f"host={','.join(server.host for server in servers)} "
            f"port={','.join(str(server.port) for server in servers)} "
            f"user={user} dbname={database} password='{proxy_rig.PASSWORD}'")


class Replica(proxy_rig.PostgresServer):
    """Of another server; it streams from it."""

    def __init__(self, folder, port, primary):
        self.primary = primary
        super().__init__(folder, port)

    def _create(self):
        self.folder.mkdir(parents=True)
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        source = (f"host={self.primary.host} port={self.primary.port} user=walker "
                  f"password='{proxy_rig.PASSWORD}'")
        subprocess.run([proxy_rig.PG_BIN / "pg_basebackup", "-d", source, "-R", "-N", "-c", "fast",
                        "-D", self.folder / "data"], check=True, capture_output=True, cwd="/",
                       **proxy_rig.as_postgres())
        with open(self.folder / "data/postgresql.conf", "a", encoding="ascii") as file:
            file.write(f"port = {self.port}\nunix_socket_directories = '{self.folder}'\n")

    def _fill(self):
        """It has what the primary has."""


def run(command, *arguments, status=0, seconds=SECONDS, **options):
    done = subprocess.run([str(command), *map(str, arguments)], capture_output=True, text=True,
                          timeout=seconds, stdin=subprocess.DEVNULL, **options)
    assert done.returncode == status, f"ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


class Running:
    """A program while it runs; gone when the `with` is left."""

    def __init__(self, command, *arguments):
        self.command = [str(command), *map(str, arguments)]
        self.lines = []

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        env={**os.environ, "LC_ALL": "C.UTF-8"})
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        return self

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join(5)

    @property
    def output(self):
        return "\n".join(self.lines)

    def wait_for(self, pattern, seconds=SECONDS, since=0):
        """The number of the first line from `since` on that has the pattern."""
        def look():
            for number in range(since, len(self.lines)):
                if re.search(pattern, self.lines[number]):
                    return number + 1
            return 0
        try:
            return wait_until(look, seconds, f"{pattern!r} in the output") - 1
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.output[-3000:]}") from None

    def end(self, number=None, seconds=SECONDS):
        """Its status, after a signal if one is given."""
        if number is not None:
            self.process.send_signal(number)
        status = self.process.wait(seconds)
        self.reader.join(5)
        return status

    def stop(self):
        return self.end(signal.SIGTERM)
