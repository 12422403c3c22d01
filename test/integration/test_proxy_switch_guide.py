"""docs/guide/switching-from-pgbouncer.md, step by step.

Every ```sh block is run in order, by one who has a PgBouncer that runs with the ```ini block; what
it prints must be the ```text block behind it. Files of /etc and the ports are moved to a folder and
to free ports; `sudo` is nobody, and `systemctl` starts and stops the two proxies.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import proxy_rig
import pytest
from demo_process import find_binary
from proxy_rig import PASSWORD

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import check_docs  # noqa: E402

GUIDE = ROOT / "docs/guide/switching-from-pgbouncer.md"
FENCE = re.compile(r"^```(sh|text|ini)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PRELUDE = """
sudo() { "$@"; }
systemctl() {
    if [ "$1" = stop ]; then
        kill "$(cat "$2.run")"
        while kill -0 "$(cat "$2.run")" 2>/dev/null; do sleep 0.05; done
    elif [ "$2" = pgbouncer ]; then
        %(as_user)s pgbouncer %(folder)s/pgbouncer/pgbouncer.ini >/dev/null 2>&1 & echo $! >$2.run
    else
        holdfast proxy --config %(folder)s/holdfast/holdfast.yml >holdfast.log 2>&1 &
        echo $! >$2.run
    fi
}
"""


class Machine:
    """Where the guide is followed."""

    def __init__(self, folder, server):
        self.folder = folder
        self.ports = {"6432": proxy_rig.free_port(), "6433": proxy_rig.free_port()}
        self.server = server
        (folder / "pgbouncer").mkdir(parents=True)
        folder.chmod(0o777)
        (folder / "bin").mkdir()
        (folder / "bin/holdfast").symlink_to(find_binary())

    def moved(self, text):
        """The guide's places as they are here."""
        for here, there in [("/etc/", f"{self.folder}/"), ("/var/log/", f"{self.folder}/"),
                            *((port, str(moved)) for port, moved in self.ports.items())]:
            text = text.replace(here, there)
        return text

    def write_pgbouncer(self, ini):
        ini = self.moved(ini).replace("host=db1", f"host=127.0.0.1 port={self.server.port}")
        (self.folder / "pgbouncer/pgbouncer.ini").write_text(ini)
        (self.folder / "pgbouncer/userlist.txt").write_text(
            "".join(f'"{role}" "{PASSWORD}"\n' for role in ("app", "other")))
        if os.geteuid() == 0:
            for path in [self.folder / "pgbouncer", *(self.folder / "pgbouncer").iterdir()]:
                shutil.chown(path, "postgres", "postgres")

    def run(self, block):
        as_user = "setpriv --reuid postgres --regid postgres --clear-groups" \
            if os.geteuid() == 0 else ""
        prelude = PRELUDE % {"folder": self.folder, "as_user": as_user}
        done = subprocess.run(
            ["bash", "-c", prelude + self.moved(block)], cwd=self.folder, text=True, timeout=200,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            env={**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
                 "PGPASSWORD": PASSWORD})
        assert done.returncode == 0, f"{block}\n{done.stdout}"
        return done.stdout.splitlines()

    def wait_listening(self, port):
        target = proxy_rig.Target()
        target.address = ("127.0.0.1", self.ports[port])

        def answers():
            try:
                target.connect(database="shop").close()
                return True
            except OSError:
                return False
        assert proxy_rig.sleep_until(answers, 80), f"nobody listens on {port}"

    def pids(self):
        return [*self.folder.glob("*.run"), *self.folder.glob("*.pid")]

    def end(self):
        for pid in self.pids():
            try:
                os.kill(int(pid.read_text()), 15)
            except ProcessLookupError:
                pass


@pytest.fixture
def machine(place, postgres):
    postgres.sql("DROP DATABASE IF EXISTS shop")
    postgres.sql("CREATE DATABASE shop OWNER app")
    machine = Machine(place.new_folder(), postgres)
    yield machine
    machine.end()
    proxy_rig.sleep_until(lambda: not processes_left(machine), 40)
    postgres.sql("DROP DATABASE shop WITH (FORCE)")


def processes_left(machine):
    return [pid for pid in machine.pids()
            if Path(f"/proc/{pid.read_text().strip()}").exists()]


def printed_as_here(machine, expected):
    """What differs by the place, besides what moved() changes."""
    return machine.moved(expected).replace(
        "hosts: db1", f'hosts: "127.0.0.1:{machine.server.port}"')


def test_every_step_works(machine):
    blocks = FENCE.findall(GUIDE.read_text())
    machine.write_pgbouncer(blocks[0][1])
    machine.run("systemctl start pgbouncer")
    machine.wait_listening("6432")
    printed, steps = [], 0
    for language, block in blocks[1:]:
        if language == "sh":
            printed = machine.run(block)
            steps += 1
            if "trial.pid" in block and "kill" not in block:
                machine.wait_listening("6433")
            if "systemctl start" in block.splitlines()[-1]:
                machine.wait_listening("6432")
        else:
            expected = printed_as_here(machine, block).splitlines()
            found = [line.rstrip() for line in printed]
            assert check_docs.matches(expected, found), "\n".join(found)
    assert steps == 8
