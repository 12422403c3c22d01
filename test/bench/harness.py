"""What the benchmarks share: where things are, the build they measure, how they give up."""

import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


_begun = time.monotonic()


class Build:
    """Where the programs are that are measured: a build of its own with the options that the
    product is shipped with (tools/setup.sh), so that no other's get in; or one that somebody else
    has made, and answers for."""

    folder = ROOT / "build" / "bench"
    is_ours = True
    OPTIONS = ("--buildtype=release", "-Db_lto=true")


def die(what, how):
    sys.exit(f"bench: {what}\n{how}")


def say(text):
    """Progress, for who waits: the table alone goes to standard output."""
    print(f"bench: {time.monotonic() - _begun:5.1f} s: {text}", file=sys.stderr, flush=True)


def use_build(folder):
    Build.folder = Path(folder).resolve()
    Build.is_ours = False


def built(target):
    return Build.folder / target


def build(*targets):
    if not Build.is_ours:
        for target in targets:
            if not built(target).is_file():
                die(f"there is no {built(target)}", "Leave --build out, or build that first.")
        return
    verb = "configure" if built("build.ninja").exists() else "setup"
    done = subprocess.run(["meson", verb, str(Build.folder), *Build.OPTIONS], cwd=ROOT,
                          capture_output=True, text=True)
    if done.returncode != 0:
        die(f"meson {verb} failed", done.stdout[-2000:])
    done = subprocess.run(["ninja", "-C", str(Build.folder), *targets], capture_output=True,
                          text=True)
    if done.returncode != 0:
        die("the build failed", done.stdout[-4000:])


def rows_of(command):
    """The JSON objects that a program prints, one a line."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        die(f"{Path(command[0]).name} failed", done.stderr[-2000:])
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
