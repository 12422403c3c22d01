"""libholdfast beside plain libpq, in one run: CPU and throughput of queries; its pieces; memory.

Both ask the same scratch server the same thing, one row by its key, in slices of a tenth of a
second that follow each other, each first in every other pair. What is judged is the median of the
ratios of such pairs. The library is given a text, as always, and runs with all its protection on,
as it does without any options. It is held to the most that can be got out of libpq by hand,
statements prepared for each connection (PQexecPrepared); the second table has the same call of
libpq beside it, with the text (PQexecParams), which prepares nothing; and last the library told to
prepare nothing either, so that both say the same to the server.

CPU is what a query costs in all: the program that asks and the server that answers. What the
library adds to it is client CPU alone, which is shown by itself, in us. Everything is held on one
core while CPU is measured, so that it is not chance how far each wake-up is.
"""

import json
import statistics
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import report
from harness import build, built, die, rows_of, say
from report import Limit, Ratio, Row
from scratch import Postgres, Scratch

PROGRAM = "test/bench/bench_library"
SLICE_SECONDS = 0.1
WARM_UP_SLICES = 3
BUSY_THREADS = 4
MICRO_LIMIT_NS = 1000
CPU_LIMIT, TPS_LIMIT, ADDED_LIMIT_US = 1.02, 0.98, 1.0


def add_options(parser):
    parser.add_argument("--smoke", action="store_true",
                        help="as short as can be: tries out the benchmark, measures nothing")
    parser.add_argument("--stand-in", choices=("library", "libpq"), default="library",
                        help="in the library's place: libpq, to see the machine's noise")


class Asker:
    """A program that asks, in slices."""

    def __init__(self, server, who, threads):
        self.server = server
        conninfo = (f"host=127.0.0.1 port={server.port} user={server.USER} "
                    f"dbname={server.DATABASE} sslmode=disable")
        self.process = subprocess.Popen([built(PROGRAM), "serve", who, conninfo, str(threads)],
                                        text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        if self.process.stdout.readline() != "ready\n":
            die(f"bench_library {who} did not start", "Its words are above.")

    def slice(self):
        before = _children_cpu_ns(self.server.process.pid)
        self.process.stdin.write(f"{SLICE_SECONDS}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            die("bench_library ended", "Its words are above.")
        found = json.loads(line)
        server_ns = _children_cpu_ns(self.server.process.pid) - before
        return {"client_us": found["cpu_ns"] / found["queries"] / 1000,
                "all_us": (found["cpu_ns"] + server_ns) / found["queries"] / 1000,
                "tps": found["queries"] / found["seconds"]}

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


def _children_cpu_ns(pid):
    """What the server's processes have used, to the nanosecond."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return sum(int(Path(f"/proc/{child}/schedstat").read_text(encoding="ascii").split()[0])
               for child in children)


@contextmanager
def asker(*arguments):
    one = Asker(*arguments)
    try:
        yield one
    finally:
        one.close()


def take_turns(scratch, server, two, threads, seconds, on_one_core):
    """[(ours, theirs)]: slices of the two in turn."""
    pairs = []
    says = f"{' and '.join(two)}, {threads} threads"
    with ExitStack() as stack:
        two = [stack.enter_context(asker(server, who, threads)) for who in two]
        if on_one_core:
            stack.enter_context(scratch.on_one_core([server.process, *(a.process for a in two)]))
        for _ in range(WARM_UP_SLICES):
            for one in two:
                one.slice()
        until = time.monotonic() + seconds
        while not pairs or time.monotonic() < until:
            order = two if len(pairs) % 2 == 0 else two[::-1]
            found = {one: one.slice() for one in order}
            pairs.append((found[two[0]], found[two[1]]))
    say(f"{says}: {len(pairs)} pairs")
    return pairs


def row(what, unit, pairs, key, limit=None, name=None):
    ours, theirs = [a[key] for a, _ in pairs], [b[key] for _, b in pairs]
    return Row(what, unit, statistics.median(ours), statistics.median(theirs),
               ratio=Ratio.of_pairs(ours, theirs), limit=limit, key=name)


def query_rows(scratch, server, two, seconds):
    one = take_turns(scratch, server, two, 1, seconds / 2, True)
    many = take_turns(scratch, server, two, BUSY_THREADS, seconds / 2, False)
    added = statistics.median(a["client_us"] - b["client_us"] for a, b in one)
    return [
        row("CPU of a query, client and server", "us", one, "all_us", Limit(CPU_LIMIT),
            "library_cpu_over_libpq"),
        row("  of it the client's", "us", one, "client_us"),
        Row("  what the library adds", "us", added, limit=Limit(ADDED_LIMIT_US),
            key="library_added_us"),
        row(f"queries a second, {BUSY_THREADS} threads", "/s", many, "tps",
            Limit(TPS_LIMIT, is_floor=True), "library_tps_over_libpq"),
        row("queries a second, 1 thread, one core", "/s", one, "tps"),
    ]


def text_rows(scratch, server, two, seconds, name):
    one = take_turns(scratch, server, two, 1, seconds / 2, True)
    many = take_turns(scratch, server, two, BUSY_THREADS, seconds / 2, False)
    return [
        row("CPU of a query, client and server", "us", one, "all_us",
            name=f"library_cpu_over_{name}"),
        row(f"queries a second, {BUSY_THREADS} threads", "/s", many, "tps",
            name=f"library_tps_over_{name}"),
    ]


def piece_rows(seconds):
    rows = []
    for found in rows_of([str(built(PROGRAM)), "micro", str(seconds)]):
        key = found["name"].replace(" ", "_") + f"_ns_{found['threads']}"
        threads = "1 thread" if found["threads"] == 1 else f"{found['threads']} threads"
        rows.append(Row(f"{found['name']}, {threads}", "ns", found["ns"], key="library_" + key))
    return rows


def memory_rows(server):
    conninfo = f"host=127.0.0.1 port={server.port} user={server.USER} dbname={server.DATABASE}"
    return [Row(found["name"], "bytes", found["bytes"],
                key="library_bytes_" + "_".join(found["name"].replace(",", "").split()))
            for found in rows_of([str(built(PROGRAM)), "memory", conninfo])]


def run(options):
    queries, pieces = ((0, 0.02) if options.smoke else (24, 0.4) if options.quick else (120, 2))
    build(PROGRAM)
    with Scratch() as scratch:
        server = Postgres(scratch, scale=1)
        ours = options.stand_in
        groups = [query_rows(scratch, server, (ours, "libpq"), queries), piece_rows(pieces),
                  memory_rows(server)]
        texts = text_rows(scratch, server, (ours, "libpq-text"), queries / 4, "libpq_text")
        same = text_rows(scratch, server, (ours + "-text", "libpq-text"), queries / 2,
                         "libpq_text_unprepared")
    print(report.table(ours, "libpq", groups))
    print("\n" + report.table(ours, "libpq, texts", [texts]))
    print("\n" + report.table(f"{ours}, unprepared", "libpq, texts", [same]))
    rows = [one for group in [*groups, texts, same] for one in group]
    print("\n" + report.verdict(rows))
    return report.figures(rows)
