"""./run, the first command of a newcomer: here everything is installed, and it must build and
start. What it installs is tried elsewhere (tools/test_setup.py, and on fresh machines)."""

import os
import re
import signal
import subprocess
from pathlib import Path

from demo_process import Demo

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {"HOLDFAST_SETUP": "skip"}


def call(*arguments, cwd="/"):
    return subprocess.run([ROOT / "run", *arguments], capture_output=True, text=True, timeout=300,
                          check=False, cwd=cwd, env={**os.environ, **ENVIRONMENT},
                          stdin=subprocess.DEVNULL)


def test_it_builds_starts_and_stops(place):
    with Demo(place.new_folder(), place.port_base, "--replicas", "1", command=[ROOT / "run"],
              environment=ENVIRONMENT) as demo:
        demo.wait_for(r"building Holdfast: done in \d+ s", 300)
        demo.wait_ready()
        assert "./run --fresh begins anew" in demo.output
        assert demo.psql("replica1", "SELECT count(*) FROM account") == "1000"
        assert demo.stop(signal.SIGINT) == 0


def test_a_relative_folder_is_where_the_user_stands(place):
    place.folder.chmod(0o777)
    done = call("--dir", "here", "--bindir", "/nonexistent", cwd=place.folder)
    assert done.returncode == 1
    assert "Holdfast" in done.stdout
    assert (place.folder / "here/holdfast-demo").exists()


def test_help_says_everything_and_starts_nothing():
    done = call("--help")
    assert done.returncode == 0
    for words in ("./run --fresh", "./run 'postgresql://...'", "--port-base N"):
        assert words in done.stdout
    assert not re.search(r"building", done.stdout)


def test_mistakes_keep_their_exit_status():
    assert call("--no-such-option").returncode == 2
    done = call("postgresql://u@127.0.0.1:1/d")
    assert done.returncode == 1
    assert "Connection refused" in done.stderr
