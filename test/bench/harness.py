"""What the benchmarks share: where things are, the build they measure, how they give up."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "bench"


def die(what, how):
    sys.exit(f"bench: {what}\n{how}")


def say(text):
    """Progress, for who waits: the table alone goes to standard output."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def build(*targets):
    """An optimised build of its own, so that no other's options get in."""
    if not (BUILD / "build.ninja").exists():
        setup = ["meson", "setup", str(BUILD), "--buildtype=release"]
        done = subprocess.run(setup, cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            die("meson setup failed", done.stdout[-2000:])
    done = subprocess.run(["ninja", "-C", str(BUILD), *targets], capture_output=True, text=True)
    if done.returncode != 0:
        die("the build failed", done.stdout[-4000:])


def rows_of(command):
    """The JSON objects that a program prints, one a line."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        die(f"{Path(command[0]).name} failed", done.stderr[-2000:])
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
