"""A demo under test: `holdfast demo` started, read, stopped, and looked after.

    with Demo(place.new_folder(), place.port_base) as demo:
        demo.wait_ready()
        demo.psql("primary", "SELECT 1")
        demo.stop()

Whatever a test does, leaving the `with` kills the demo and everything that works in its folder,
unless the test wanted it left alone with kill().
"""

import os
import re
import shlex
import signal
import subprocess
import threading
import time
from pathlib import Path

READY_SECONDS = 60
STOP_SECONDS = 120


def find_binary():
    """HOLDFAST says which binary is tested; else it is the one that ./check or ./run built."""
    root = Path(__file__).resolve().parents[2]
    given = os.environ.get("HOLDFAST")
    candidates = [Path(given)] if given else [
        root / "build/check/gcc/src/cli/holdfast", root / "build/release/src/cli/holdfast"]
    for path in candidates:
        if path.is_file():
            return path
    raise FileNotFoundError(f"no holdfast binary: build one, or set HOLDFAST ({candidates})")


def processes_in(folder):
    """{pid: command line} of all processes that work in a folder or name it."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            cwd = os.readlink(entry / "cwd")
        except OSError:
            continue
        if cwd == str(folder) or cwd.startswith(f"{folder}/") or f"{folder}/" in command:
            found[int(entry.name)] = f"{command} (in {cwd})"
    return found


def wait_until(condition, seconds, what):
    """Returns the first true value of condition(). A shared machine gets four times as long: what
    is bounded in time is measured by the test itself."""
    deadline = time.monotonic() + 4 * seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {4 * seconds} s: {what}")
        time.sleep(0.05)


class Demo:
    def __init__(self, folder, port_base, *options, user=None, command=None, environment=None):
        self.folder = folder
        command = command or [find_binary(), "demo"]
        self.command = [*map(str, command), *(["--dir", str(folder)] if folder else []),
                        "--port-base", str(port_base), *options]
        self.user = user
        self.environment = environment or {}
        self.lines = []
        self.process = None
        self.is_abandoned = False

    def __enter__(self):
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
            user=self.user, env={**os.environ, **self.environment},
            **({"group": "nogroup", "extra_groups": []} if self.user else {}))
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
        if self.is_abandoned:
            return
        for pid in processes_in(self.folder):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait_until(lambda: not processes_in(self.folder), 20, "processes of the demo are gone")

    @property
    def output(self):
        return "\n".join(self.lines)

    def wait_for(self, pattern, seconds=READY_SECONDS):
        """The match of a pattern in the output, once it is there."""
        def look():
            match = re.search(pattern, self.output, re.MULTILINE)
            if match is None and self.process.poll() is not None:
                self.reader.join(5)
                match = re.search(pattern, self.output, re.MULTILINE)
                assert match, f"the demo ended without {pattern!r}:\n{self.output}"
            return match
        try:
            return wait_until(look, seconds, pattern)
        except AssertionError as error:
            raise AssertionError(f"{error}; the output:\n{self.output}") from None

    def wait_ready(self):
        self.wait_for(r"^Stop  ")
        self.ready_seconds = time.monotonic() - self.started
        return self

    def end(self, seconds=STOP_SECONDS):
        """Its exit status, once it has ended by itself."""
        status = self.process.wait(seconds)
        self.reader.join(5)
        return status

    def stop(self, number=signal.SIGINT):
        """Stops it as Ctrl-C does; the exit status."""
        self.process.send_signal(number)
        return self.end()

    def kill(self):
        """kill -9, and nothing is cleaned up: that is for the next start to deal with."""
        self.process.kill()
        self.process.wait()
        self.is_abandoned = True

    def pid(self, name):
        """Of a server, the one that it had last."""
        found = re.findall(rf"^ *{name} +port +\d+ +process (\d+)|{name} is back .* process (\d+)$",
                           self.output, re.MULTILINE)
        return int(found[-1][0] or found[-1][1])

    def port(self, name):
        return int(re.search(rf"^ *{name} +port +(\d+)", self.output, re.MULTILINE)[1])

    def psql_line(self, name):
        """The line as it is printed, for a shell."""
        return re.search(rf"^ *{name} +(\S*psql .*)$", self.output, re.MULTILINE)[1]

    def dsn(self, name):
        return shlex.split(self.psql_line(name))[1]

    def psql(self, name, sql, check=True):
        """Runs the printed line in a shell, with a statement; what it prints, stripped."""
        done = subprocess.run(
            ["/bin/sh", "-c", f"{self.psql_line(name)} -XAtqc {shlex.quote(sql)}"],
            capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, user=self.user)
        if check:
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()
        return done
