"""The proxy beside pgbouncer, in one run: CPU, throughput, latency, logins, memory.

Both stand in front of the same scratch server and get the same load in turn, in slices of a tenth
of a second that follow each other: what is judged is the ratio of such pairs, and of those the
median.

CPU is what the proxy's process uses, in all its threads, for one transaction of pgbench -S. Pools
are in transaction mode, 20 server connections; pgbouncer 1.18 cannot pool prepared statements, so
in prepared mode it is measured in session mode, and Holdfast still pools. One worker of Holdfast
against pgbouncer's one thread, unless a row says otherwise; both are held on the same core, and
with one client, where never two of client, proxy and server work at the same time, all of them are.
Else chance decides how far each wake-up is: with pgbouncer measured beside itself on a busy
machine, ratios then went from 0.6 to 1.5, and with it from 0.95 to 1.05 (--stand-in pgbouncer).

What no proxy over this loop can go below, on this machine and in this hour, is told beside the CPU:
the ratio that relay.c has, which carries bytes and does nothing else.
"""

import os
import platform
import re
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import load
import report
from harness import build, die, say
from poolers import Direct, Holdfast, PgBouncer, Relay, make_files
from report import Limit, Ratio, Row
from scratch import Postgres, Scratch

MODES = ("simple", "extended", "prepared")
CLIENTS = (1, 16, 64)
CPU_LIMITS = {1: 1.00, 16: 0.80, 64: 0.80}
TPS_CELL = ("simple", 64)
LATENCY_CELL = ("simple", 16)
SLICE_SECONDS = 0.1
BUSY_RAMP_SECONDS = 0.5
SETTLE_SECONDS = 0.2
WARM_UP_SECONDS = 0.1
STATEMENT_BYTES = 1000


@dataclass
class Effort:
    """How long a run may take. Selects come last and share what is left of `seconds`, with at least
    one pair of slices for each load; everything else is counted."""

    seconds: float
    login_rounds: int
    login_seconds: float
    idle_clients: int
    busy_clients: int
    busy_seconds: float
    worker_pairs: int
    statements: int         # with each of ten clients


SMOKE = Effort(0, 1, 0.1, 200, 50, 0.1, 1, 20)
QUICK = Effort(43, 2, 0.3, 10000, 1000, 0.7, 6, 500)
FULL = Effort(300, 7, 1.0, 10000, 1000, 5.0, 50, 500)


def add_options(parser):
    parser.add_argument("--smoke", action="store_true",
                        help="as short as can be: tries out the benchmark, measures nothing")
    parser.add_argument("--stand-in", choices=[one.name for one in STAND_INS],
                        default=Holdfast.name, metavar="NAME",
                        help="in Holdfast's place: pgbouncer, to see the machine's noise, or "
                        "relay, to see the least that a proxy can cost (selects only)")
    parser.add_argument("--io", choices=("auto", "io_uring", "epoll"), default="auto",
                        help="what Holdfast's loops stand on")
    parser.add_argument("--only", choices=PARTS, help="one part of it")
    parser.add_argument("--modes", choices=MODES, nargs="+", default=MODES, metavar="MODE",
                        help="of the selects: simple, extended, prepared")
    parser.add_argument("--clients", choices=CLIENTS, nargs="+", default=CLIENTS, type=int,
                        metavar="N", help="the same: 1, 16, 64")


class Bench:
    def __init__(self, scratch, effort, ours, cells):
        self.effort = effort
        self.cells = cells  # (mode, clients) of the selects, all modes of one number together
        self.end = time.monotonic() + effort.seconds
        self.scratch = scratch
        make_files(scratch, Postgres.USER)
        self.server = Postgres(scratch, scale=2)
        self.ours = ours(scratch, self.server)
        self.theirs = PgBouncer(scratch, self.server)
        self.direct = Direct(scratch, self.server)
        self.relay = Relay(scratch, self.server) if ours is Holdfast else None
        self.pair = (self.ours, self.theirs)

    # ---- CPU, throughput and latency of selects ----

    def selects(self):
        """All loads share the time alike."""
        slices = {}
        relay = [self.relay] if self.relay is not None else []
        with ExitStack() as stack:
            for pooler in (*self.pair, self.direct, *relay):
                stack.enter_context(pooler.start())
            for number, cell in enumerate(self.cells):
                left = len(self.cells) - number
                until = time.monotonic() + (self.end - time.monotonic()) / left
                direct = [self.direct] if cell[0] == "simple" else []
                slices[cell] = self._take_turns(
                    *cell, (*self.pair, *direct, *relay),
                    lambda pairs, until=until: pairs > 0 and time.monotonic() > until)
                say(f"selects, {name_of(cell)}: {len(slices[cell][self.ours])} pairs")
        return [self._cost_rows(slices), self._tps_rows(slices), self._latency_rows(slices)]

    def _take_turns(self, mode, clients, poolers, is_done, is_free=False):
        """{pooler: slices}: the first two in turn, each of them first in every other pair, until
        is_done(pairs); the others now and then, only to be seen beside them. Unless `is_free`, each
        pooler is held on one core: it is one thread, and where it wakes is chance."""
        with ExitStack() as stack:
            loads = [stack.enter_context(self._load(pooler, mode, clients)) for pooler in poolers]
            held = None if clients == 1 else [pooler.process for pooler in poolers
                                              if pooler.process is not None]
            if not is_free:
                stack.enter_context(self.scratch.on_one_core(held))
            pairs = 0
            while not is_done(pairs):
                for one in loads[:2] if pairs % 2 == 0 else loads[1::-1]:
                    one.slice(SLICE_SECONDS)
                for one in loads[2:] if pairs % 4 == 0 else ():
                    one.slice(SLICE_SECONDS)
                pairs += 1
            return self._whole_pairs({pooler: one.finish()
                                      for pooler, one in zip(poolers, loads)})

    @staticmethod
    def _whole_pairs(slices):
        """Without the pairs of which one was starved by what else the machine does."""
        ours, theirs, *others = list(slices)
        for one in others:
            slices[one] = [sample for sample in slices[one] if sample.transactions]
        whole = [pair for pair in zip(slices[ours], slices[theirs])
                 if all(one.transactions for one in pair)]
        if not whole:
            die("nothing was answered", ours.said() + theirs.said())
        slices[ours], slices[theirs] = zip(*whole)
        return slices

    def _load(self, pooler, mode, clients):
        is_pooled = mode != "prepared" or not isinstance(pooler, PgBouncer)
        return load.Selects(self.scratch, self.server, pooler, mode, clients, is_pooled)

    def _cost_rows(self, slices):
        rows = {cell: self._row(f"CPU of a select, {name_of(cell)}", "us", lambda one: one.cost_us,
                                slices[cell], limit=Limit(CPU_LIMITS[cell[1]]),
                                note=self._relay_beside(slices[cell]))
                for cell in self.cells}
        for clients in {clients for _, clients in self.cells}:
            worst = max((rows[cell] for cell in self.cells if cell[1] == clients),
                        key=lambda row: row.figure)
            worst.key = f"proxy_cpu_over_pgbouncer_c{clients}"
        return list(rows.values())

    def _relay_beside(self, samples):
        relay = [one.cost_us for one in samples.get(self.relay, [])]
        if not relay:
            return ""
        theirs = statistics.median(one.cost_us for one in samples[self.theirs])
        return f"bare relay {statistics.median(relay) / theirs:.2f}"

    def _tps_rows(self, slices):
        rows = {cell: self._row(f"selects a second, {name_of(cell)}", "", lambda one: one.tps,
                                slices[cell]) for cell in self.cells}
        if TPS_CELL in rows:
            rows[TPS_CELL].limit = Limit(1.10, is_floor=True)
            rows[TPS_CELL].key = "proxy_tps_over_pgbouncer_c64"
        return list(rows.values())

    def _latency_rows(self, slices):
        if LATENCY_CELL not in slices:
            return []
        of_cell, name = slices[LATENCY_CELL], name_of(LATENCY_CELL)
        return [self._row(f"latency p50, {name}", "us", lambda one: one.percentile_us(0.50),
                          of_cell),
                self._row(f"latency p99, {name}", "us", lambda one: one.percentile_us(0.99),
                          of_cell, limit=Limit(1.00), key="proxy_p99_over_pgbouncer_c16")]

    def _row(self, what, unit, value_of, samples, **more):
        """Of {pooler: samples}."""
        ours, theirs, direct = ([value_of(sample) for sample in samples.get(pooler, [])]
                                for pooler in (*self.pair, self.direct))
        return Row(what, unit, statistics.median(ours), statistics.median(theirs),
                   statistics.median(direct) if any(direct) else None,
                   Ratio.of_pairs(ours, theirs), **more)

    # ---- A thousand clients that are all busy ----

    def busy(self):
        clients = self.effort.busy_clients
        spreads = []
        for pooler in self.pair:
            with pooler.start(), self._load(pooler, "simple", clients) as running:
                running.slice(self.effort.busy_seconds, BUSY_RAMP_SECONDS)
                one, = running.finish()
            spreads.append(one.percentile_us(0.99) / one.percentile_us(0.50))
            say(f"{clients} busy clients of {pooler.name}")
        return [[Row(f"latency p99 / p50, {clients:,} busy clients", "", *spreads,
                     limit=Limit(3.0), key="proxy_p99_over_p50_busy")]]

    # ---- Logins ----

    def logins(self):
        rows = []
        for name, how, client in (("trust", {}, {}),
                                  ("SCRAM", {"auth": "scram-sha-256"}, {"password": True}),
                                  ("TLS", {"tls": True}, {"tls": True})):
            with self.ours.start(**how), self.theirs.start(**how), \
                    self.scratch.on_one_core([pooler.process for pooler in self.pair]):
                samples = self._log_in_in_turn(self.pair, client)
            say(f"logins by {name}")
            key = "proxy_connects_over_pgbouncer"
            rows += [self._row(f"logins a second, {name}", "", lambda one: one.rate, samples,
                               limit=Limit(1.00, is_floor=True),
                               key=key if name == "SCRAM" else f"{key}_{name.lower()}"),
                     self._row(f"CPU of a login, {name}", "us", lambda one: one.cpu_seconds * 1e6,
                               samples)]
        return [rows]

    def _log_in_in_turn(self, poolers, client):
        samples = {pooler: [] for pooler in poolers}
        for pooler in poolers:
            load.logins(self.server, pooler, WARM_UP_SECONDS, **client)
        for number in range(self.effort.login_rounds):
            for pooler in poolers if number % 2 == 0 else poolers[::-1]:
                samples[pooler].append(load.logins(self.server, pooler, self.effort.login_seconds,
                                                   **client))
        return samples

    # ---- Two workers ----

    def workers(self):
        """What a second worker is worth, where clients, proxy and server share the machine."""
        poolers = two, one = self.ours, Holdfast(self.scratch, self.server)
        with two.start(workers=2), one.start(workers=1):
            slices = self._take_turns("simple", 64, poolers,
                                      lambda pairs: pairs == self.effort.worker_pairs,
                                      is_free=True)
        with two.start(tls=True, workers=2), one.start(tls=True, workers=1):
            logins = self._log_in_in_turn(poolers, {"tls": True})
        say("two workers")

        def row(what, value_of, samples, **more):
            values = [[value_of(sample) for sample in samples[pooler]] for pooler in poolers]
            return Row(f"two workers over one: {what}", ours=statistics.median(values[0]),
                       ratio=Ratio.of_pairs(*values), **more)

        return [[row("selects a second, 64 clients", lambda one: one.tps, slices,
                     key="proxy_two_workers_tps"),
                 row("CPU of a select, 64 clients", lambda one: one.cost_us, slices,
                     key="proxy_two_workers_cpu"),
                 row("logins a second, TLS", lambda one: one.rate, logins,
                     limit=Limit(1.30, is_floor=True), key="proxy_two_workers_connects_tls")]]

    # ---- Memory ----

    def memory(self):
        wanted = self.effort.idle_clients
        clients = load.clients_possible(wanted)
        bytes_each = []
        for pooler in self.pair:
            bytes_each.append(self._growth(pooler, clients) / clients)
            say(f"{clients} idle clients of {pooler.name}")
        note = "" if clients == wanted else f"not {wanted:,}: ulimit -n is too low"
        return [[Row(f"memory of an idle client, of {clients:,}", "bytes", *bytes_each,
                     limit=Limit(512), note=note, key="proxy_idle_client_bytes"),
                 *self._statements()]]

    def _statements(self):
        """What prepared statements take, over their texts."""
        if not isinstance(self.ours, Holdfast):
            return []
        each, count = self.effort.statements, 10 * self.effort.statements
        growth = self._growth(self.ours, 10, each, STATEMENT_BYTES)
        say(f"{count} prepared statements")
        return [Row(f"memory of {count:,} prepared statements, over their texts", "",
                    growth / (count * STATEMENT_BYTES), limit=Limit(1.10),
                    note=f"texts of {STATEMENT_BYTES:,} bytes", key="proxy_prepared_over_texts")]

    def _growth(self, pooler, *clients):
        """By how many bytes a fresh pooler, which has served a few, grows for these clients."""
        with pooler.start():
            with self._load(pooler, "simple", 4) as running:
                running.finish()
            time.sleep(SETTLE_SECONDS)
            before = pooler.memory_bytes()
            with load.idle_clients(self.server, pooler, *clients):
                time.sleep(SETTLE_SECONDS)
                return pooler.memory_bytes() - before


# Each gives groups of rows. In the order of the table; and which takes what time is left.
PARTS = {"selects": Bench.selects, "busy": Bench.busy, "workers": Bench.workers,
         "logins": Bench.logins, "memory": Bench.memory}
LAST = "selects"

# Who can be measured as ours is, and in what.
STAND_INS = {Holdfast: tuple(PARTS), PgBouncer: ("selects", "busy", "logins", "memory"),
             Relay: ("selects",)}


def name_of(cell):
    mode, clients = cell
    return f"{mode}, {clients} client{'' if clients == 1 else 's'}"


def machine():
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    model = re.search(r"^model name\s*: (.*)", text, re.M)
    return (f"{os.cpu_count()} cores, {model[1] if model else platform.machine()}, "
            f"Linux {platform.release()}, load {os.getloadavg()[0]:.1f} at the start")


def go_before_others():
    """If we may: what else the machine does then disturbs less what is started from here on."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    except PermissionError:
        pass


def run(options):
    effort = SMOKE if options.smoke else QUICK if options.quick else FULL
    ours = next(one for one in STAND_INS if one.name == options.stand_in)
    ours.IO = Relay.IO = options.io
    build(load.CLIENTS, *ours.targets(), *Relay.targets())
    go_before_others()
    where = machine()
    with Scratch() as scratch:
        cells = [(mode, clients) for clients in options.clients for mode in options.modes]
        bench = Bench(scratch, effort, ours, cells)
        say(f"PostgreSQL {bench.server.version} is up")
        found = {name: PARTS[name](bench) for name in sorted(PARTS, key=LAST.__eq__)
                 if options.only in (None, name) and name in STAND_INS[ours]}
        versions = (f"{ours.name} {ours.version()}, pgbouncer {PgBouncer.version()}, "
                    f"PostgreSQL {bench.server.version}")
    groups = [group for name in PARTS for group in found.get(name, [])]
    rows = [row for group in groups for row in group]
    print(f"{where}\n{versions}\n")
    print(report.table(ours.name, PgBouncer.name, groups))
    print(f"\n{report.verdict(rows)}")
    return {**report.figures(rows), "machine": where, "versions": versions}
