"""The deciders of core beside the circuit breakers that npm carries."""

import shutil
import subprocess

from harness import ROOT, build, built, rows_of

PEERS = ROOT / "test" / "bench" / "peers"


def add_options(_parser):
    pass


def run(options):
    programs = ("test/bench/bench_core", "test/bench/bench_sql")
    seconds = 0.25 if options.quick else 1.0
    ours = []
    for program in programs:
        build(program)
        ours += rows_of([str(built(program)), "--json", "--seconds", str(seconds)])
    theirs, why_not = peers(seconds)
    print(f"{'Holdfast':44} {'1 thread':>10} {'2 threads':>10} {'memory':>12}")
    for name in dict.fromkeys(row["name"] for row in ours):
        by_threads = {row["threads"]: row for row in ours if row["name"] == name}
        two = f"{by_threads[2]['ns']:7.1f} ns" if 2 in by_threads else ""
        memory = by_threads[1].get("bytes", 0)
        print(f"{name:44} {by_threads[1]['ns']:7.1f} ns {two:>10} "
              f"{f'{memory} bytes' if memory else '':>12}")
    print()
    if theirs is None:
        print(f"No peers beside it: {why_not}")
    else:
        print(f"{'npm, same machine, same run':44} {'1 thread':>10}")
        for row in theirs:
            print(f"{row['name']:44} {row['ns']:7.1f} ns")
    return figures(ours, theirs)


def peers(seconds):
    """The breakers of npm; none if there is no node or no network, which the table says."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return None, "node and npm are not installed (apt-get install nodejs npm)"
    if not (PEERS / "node_modules").is_dir():
        done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=PEERS,
                              capture_output=True, text=True)
        if done.returncode != 0:
            return None, "npm ci failed: " + done.stderr.strip().splitlines()[-1]
    return rows_of(["node", str(PEERS / "peers.js"), str(seconds)]), None


def figures(ours, theirs):
    one = {row["name"]: row for row in ours if row["threads"] == 1}
    out = {
        "guard_ns": one["guard admit+record"]["ns"],
        "breaker_ns": one["breaker admit+record"]["ns"],
        "breaker_bytes": one["breaker admit+record"]["bytes"],
        "shape_ns": one["shape: a join, 184 bytes"]["ns"],
        "verdict_ns": one["verdict, seen before: a join, 184 bytes"]["ns"],
        "verdict_new_ns": one["verdict, new: a join, 184 bytes"]["ns"],
    }
    for row in theirs or []:
        out["npm_" + row["name"].replace(", ", "_").replace(" ", "_") + "_ns"] = row["ns"]
    return out
