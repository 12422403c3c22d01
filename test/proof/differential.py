#!/usr/bin/python3
"""The differential oracle: what PostgreSQL answers, the proxy must answer too.

    differential.py --target holdfast --mode transaction --seconds 600
    differential.py --target direct --mode session --count 1000     the oracle against itself
    differential.py --seed 4711 --mode session                      one sequence, told in full
    differential.py --case test/proof/cases/NAME.json

Each sequence (exchange.py) is sent to PostgreSQL and to the target, and the two transcripts are
compared message by message (compare.py). One that differs is shrunk to the fewest messages that
still differ; --keep NAME stores it among the cases, which are replayed first by every run.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

import compare  # noqa: E402
import exchange  # noqa: E402
import generate  # noqa: E402
import proxy_rig  # noqa: E402
from world import ServerCrashed, World  # noqa: E402

CASES = HERE / "cases"
SHRINK_SECONDS = 40


class Oracle:
    """PostgreSQL and a target, side by side."""

    def __init__(self, world, reference, target):
        self.world = world
        self.reference = reference
        self.target = target

    def difference(self, sequence):
        """None, or where they part. Raises ValueError for a sequence that PostgreSQL itself leaves
        hanging: that is a fault of the sequence, or of exchange.Owed.

        PostgreSQL 15 reads memory that it has freed when the unnamed portal is executed in a block
        that failed in a Query: its stmts lay in MessageContext. Mostly it is an error all the same,
        and now and then a crash: then there is nothing to compare."""
        try:
            return self._difference(sequence)
        except ServerCrashed:
            return None

    def _difference(self, sequence):
        self.world.reset()
        theirs = exchange.run(self.reference, sequence)
        if theirs.end == "hangs":
            raise ValueError("PostgreSQL itself does not answer as foreseen")
        self.world.reset()
        ours = exchange.run(self.target, sequence)
        found = compare.difference(ours, theirs, sequence["mode"], self.world.tables)
        if found is not None:
            self.world.reset()
        return found

    def differs(self, sequence):
        try:
            return self.difference(sequence) is not None
        except ValueError:
            return False

    def shrink(self, sequence, seconds=SHRINK_SECONDS):
        """The smallest sequence found that still differs: every step leaves out, joins or shortens
        something, and is kept when the difference stays."""
        deadline = time.monotonic() + seconds
        is_smaller = True
        while is_smaller and time.monotonic() < deadline:
            is_smaller = False
            for candidate in smaller(sequence):
                if time.monotonic() > deadline:
                    break
                if self.differs(candidate):
                    sequence, is_smaller = candidate, True
                    break
        return sequence


def smaller(sequence):
    """Sequences that are simpler by one step, the boldest steps first."""
    chunks = sequence["chunks"]
    for half in (chunks[:len(chunks) // 2], chunks[len(chunks) // 2:]):
        if half and len(half) < len(chunks):
            yield {**sequence, "chunks": half}
    for number in range(len(chunks)):
        if len(chunks) > 1:
            yield {**sequence, "chunks": chunks[:number] + chunks[number + 1:]}
    for number, chunk in enumerate(chunks):
        for at in range(len(chunk)):
            if len(chunk) > 1:
                yield {**sequence, "chunks": [*chunks[:number], chunk[:at] + chunk[at + 1:],
                                              *chunks[number + 1:]]}
    if sequence.get("parameters"):
        yield {**sequence, "parameters": {}}
    if sequence["delivery"] != "steps":
        yield {**sequence, "delivery": "steps"}
    for number, chunk in enumerate(chunks):
        for at, item in enumerate(chunk):
            for simpler in _simpler(item, sequence["mode"]):
                yield {**sequence, "chunks": [*chunks[:number],
                                              [*chunk[:at], simpler, *chunk[at + 1:]],
                                              *chunks[number + 1:]]}


def _simpler(item, mode):
    """The same message with less in it."""
    if item[0] == "Q" and item[1] not in ("SELECT 1", "BEGIN"):
        yield ["Q", "SELECT 1"]
        if mode != "statement":
            yield ["Q", "BEGIN"]
    if item[0] == "P" and item[2] != "SELECT 1":
        yield ["P", item[1], "SELECT 1", []]
    if item[0] == "B" and (item[4] or item[5]):
        yield [*item[:4], [], []]
    if item[0] == "E" and item[2]:
        yield ["E", item[1], 0]
    if item[0] in "PBDCE" and "s1" in item[1:3]:
        yield [item[0], *("" if part == "s1" else part for part in item[1:])]


def one_line_each(sequence):
    """A case file that can be read: one message a line."""
    chunks = ",\n".join("  [" + ",\n   ".join(json.dumps(item) for item in chunk) + "]"
                        for chunk in sequence["chunks"])
    head = {key: value for key, value in sequence.items() if key != "chunks"}
    return json.dumps(head)[:-1] + f', "chunks": [\n{chunks}\n]}}\n'


def kept_cases(mode):
    """(name, sequence) of all cases that a mode allows: what is legal in statement mode is legal in
    session mode too."""
    for path in sorted(CASES.glob("*.json")):
        sequence = json.loads(path.read_text())
        if compare.MODES.index(sequence["mode"]) <= compare.MODES.index(mode):
            yield path.stem, {**sequence, "mode": mode}


class Campaign:
    """Many sequences, until the time or the count is up."""

    def __init__(self, oracle, mode, first_seed, deliveries=generate.DELIVERIES):
        self.oracle = oracle
        self.deliveries = deliveries
        self.mode = mode
        self.seed = first_seed
        self.shrinks = True
        self.count = 0
        self.failures = []

    def run(self, seconds, count=None, failures_max=3):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and (count is None or self.count < count):
            sequence = generate.generate(self.seed, self.mode, self.oracle.world.functions)
            self.seed += 1
            if sequence["delivery"] not in self.deliveries:
                continue
            self.count += 1
            if not self.one(f"seed {sequence['seed']}", sequence):
                if len(self.failures) >= failures_max:
                    break
        return self

    def replay(self):
        for name, sequence in kept_cases(self.mode):
            self.count += 1
            self.one(f"case {name}", sequence, shrinks=False)
        return self

    def one(self, name, sequence, shrinks=True):
        try:
            found = self.oracle.difference(sequence)
        except ValueError as error:
            found, shrinks = str(error), False
        if found is None:
            return True
        if shrinks and self.shrinks:
            sequence = self.oracle.shrink(sequence)
            found = self.oracle.difference(sequence) or f"only at first: {found}"
        self.failures.append((name, sequence, found))
        return False

    def report(self):
        return "\n".join(f"{name}, {self.mode} mode: {found}\n{one_line_each(sequence)}"
                         for name, sequence, found in self.failures)


def tell(world, target, sequence):
    """Prints a sequence and what came."""
    print(one_line_each(sequence))
    world.reset()
    transcript = exchange.run(target, sequence)
    for item in transcript.items():
        print("   ", item)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--target", choices=sorted(proxy_rig.KINDS), default="holdfast")
    parser.add_argument("--mode", choices=compare.MODES, default="session")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--count", type=int)
    parser.add_argument("--failures", type=int, default=3, help="stop after so many")
    parser.add_argument("--from", type=int, dest="first", default=random.randrange(1 << 30))
    parser.add_argument("--seed", type=int)
    parser.add_argument("--case", type=Path)
    parser.add_argument("--no-shrink", action="store_true")
    parser.add_argument("--deliveries", default=",".join(generate.DELIVERIES))
    parser.add_argument("--keep", help="a name for the first failure, to be stored as a case")
    parser.add_argument("--port", type=int, default=19400)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hf-", dir="/tmp"))
    folder.chmod(0o755)
    server = proxy_rig.PostgresServer(folder / "pg", options.port)
    try:
        return campaign(options, folder, server)
    finally:
        server.stop()


def campaign(options, folder, server):
    world = World(server)
    # With one server connection an unnamed statement is always where its client comes next.
    pool = {} if options.mode == "session" else {"pool_size": 1}
    with proxy_rig.make_target(options.target, folder / "proxy", options.port + 1, server,
                               options.mode, **pool) as target:
        work = Campaign(Oracle(world, proxy_rig.Direct(server), target), options.mode,
                        options.first, options.deliveries.split(","))
        work.shrinks = not options.no_shrink
        print(f"first seed {options.first}")
        if options.case or options.seed is not None:
            sequence = (json.loads(options.case.read_text()) if options.case else
                        generate.generate(options.seed, options.mode, world.functions))
            tell(world, target, sequence)
            work.one("this one", sequence)
        else:
            work.replay().run(options.seconds, options.count, options.failures)
    print(work.report())
    print(f"{work.count} sequences, {len(work.failures)} differ")
    if options.keep and work.failures:
        (CASES / f"{options.keep}.json").write_text(one_line_each(work.failures[0][1]))
    return 1 if work.failures else 0


if __name__ == "__main__":
    sys.exit(main())
