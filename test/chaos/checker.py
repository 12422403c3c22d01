"""Judges a run: what the worker's log claims against what the cluster holds in the end.

    calls = read_log(path)
    verdict = judge(calls, rows, twins, heals, end_ns)
    verdict.violations      [(rule, sentence)]
    verdict.figures         {name: text}, for the table

The rules, each with a name that a violation carries:

    lost        an acknowledged row is there
    twice       no row is there twice
    lied        a row of which a call said that it was not written is not there
    torn        a row of a transaction has its twin, and the other way round
    blind       a read within its promise finds the row that it was owed
    late        a call ends by its deadline, and GRACE_MS for a busy machine
    stuck       once all is well again, writes and reads succeed within RECOVERY_SECONDS

This file knows nothing of servers: test_checker.py plants each lie and sees it found.
"""

from collections import Counter, namedtuple
from dataclasses import dataclass, field

GRACE_MS = 4000
RECOVERY_SECONDS = 30
STALENESS_MS = 2000     # as in store.h
NS = 1_000_000_000

Call = namedtuple("Call", "kind thread how writer number begun ended deadline_ms answer found code "
                          "sqlstate endpoint words")


@dataclass
class Verdict:
    violations: list = field(default_factory=list)
    figures: dict = field(default_factory=dict)
    outages: dict = field(default_factory=dict)

    def broke(self, rule, sentence):
        self.violations.append((rule, sentence))

    def count(self, *rules):
        return sum(rule in rules for rule, _ in self.violations)


def read_log(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return [parse(line) for line in file]


def parse(line):
    words = line.rstrip("\n").split(" ", 13)
    for index in (1, 3, 4, 5, 6, 7):
        words[index] = int(words[index])
    return Call(*words)


def judge(calls, rows, twins, heals, end_ns):
    """rows, twins: {(writer, number): how often}; heals: when, in ns, all was well again after each
    fault; end_ns: when the last calls of the run were over."""
    verdict = Verdict()
    writes = {(call.writer, call.number): call for call in calls if call.kind == "write"}
    reads = [call for call in calls if call.kind == "read"]
    _judge_rows(verdict, writes, rows, twins)
    _judge_reads(verdict, writes, reads)
    _judge_deadlines(verdict, calls)
    for kind, some in (("write", list(writes.values())), ("read", reads)):
        _judge_recovery(verdict, kind, some, heals, end_ns)
    _sum_up(verdict, writes, reads)
    return verdict


def _judge_rows(verdict, writes, rows, twins):
    for key, call in writes.items():
        times, twin_times = rows.get(key, 0), twins.get(key, 0)
        name = f"row {key[1]} of writer {key[0]} ({call.how}, {call.code} {call.words})"
        if call.answer == "done" and times == 0:
            verdict.broke("lost", f"{name} was acknowledged and is not there")
        if call.answer == "not_done" and times > 0:
            verdict.broke("lied", f"{name} was said not to be written and is there")
        if times > 1:
            verdict.broke("twice", f"{name} is there {times} times")
        if call.how == "transaction" and times != twin_times:
            verdict.broke("torn", f"{name} is there {times} times, its twin {twin_times}")
    for key in rows.keys() - writes.keys():
        verdict.broke("lied", f"row {key[1]} of writer {key[0]} was never written")


def _judge_reads(verdict, writes, reads):
    for call in reads:
        owed = writes.get((call.writer, call.number))
        if call.answer != "done" or call.found == "found" or call.how == "any" or owed is None:
            continue
        age = STALENESS_MS * 1_000_000 if call.how == "bounded" else 0
        if owed.answer == "done" and owed.ended + age <= call.begun:
            verdict.broke("blind", f"a read ({call.how}) of row {call.number} of writer "
                          f"{call.writer} at {call.endpoint} did not find it "
                          f"{(call.begun - owed.ended) / 1e6:.0f} ms after it was acknowledged "
                          f"({call.words})")


def _judge_deadlines(verdict, calls):
    for call in calls:
        took_ms = (call.ended - call.begun) / 1e6
        if took_ms > call.deadline_ms + GRACE_MS:
            verdict.broke("late", f"a {call.kind} ({call.how}) took {took_ms:.0f} ms, with "
                          f"{call.deadline_ms} ms to go ({call.answer}, {call.code} {call.words})")


def _judge_recovery(verdict, kind, calls, heals, end_ns):
    good = sorted(call.ended for call in calls if call.answer == "done")
    longest = 0
    for heal in heals:
        until = next((ended for ended in good if ended >= heal), None)
        wait = ((end_ns if until is None else until) - heal) / NS
        longest = max(longest, wait)
        if wait > RECOVERY_SECONDS or (until is None and end_ns > heal):
            verdict.broke("stuck", f"no {kind} succeeded for {wait:.1f} s after all was well again")
    verdict.figures[f"longest wait for a {kind} once all was well"] = f"{longest:.2f} s"


def longest_gap(calls):
    """Seconds in which no call of any thread succeeded."""
    good = sorted(call.ended for call in calls if call.answer == "done")
    return max((b - a for a, b in zip(good, good[1:])), default=0) / NS


def outages(calls, faults):
    """{fault: the longest time in seconds without a good write that began or ended in it}; `faults`
    are (when it began in ns, name), in order."""
    good = sorted(call.ended for call in calls if call.kind == "write" and call.answer == "done")
    ends = [when for when, _ in faults[1:]] + [good[-1] if good else 0]
    found = {}
    for (begun, name), ended in zip(faults, ends):
        gaps = [(b - a) / NS for a, b in zip(good, good[1:]) if b > begun and a < ended]
        found[name] = max(found.get(name, 0), max(gaps, default=0))
    return found


def _sum_up(verdict, writes, reads):
    figures = verdict.figures
    for kind, calls in (("writes", list(writes.values())), ("reads", reads)):
        answers = Counter(call.answer for call in calls)
        figures[f"{kind} that succeeded"] = f"{answers['done']:,}"
        figures[f"{kind} that failed"] = f"{answers['not_done']:,}"
        if kind == "writes":
            figures["writes with unknown outcome"] = f"{answers['unknown']:,}"
        figures[f"longest time without a good {kind[:-1]}"] = f"{longest_gap(calls):.2f} s"
    for what, rules in (("acknowledged rows lost", ["lost"]), ("rows there twice", ["twice"]),
                        ("rows there that were denied", ["lied"]), ("torn transactions", ["torn"]),
                        ("reads outside of their promise", ["blind"]),
                        ("calls past their deadline", ["late"]), ("not served again", ["stuck"])):
        figures[what] = str(verdict.count(*rules))
