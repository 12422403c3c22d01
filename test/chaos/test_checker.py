"""The checker must be able to fail: each test plants one lie in a run that was in order."""

import sys
from pathlib import Path

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

import checker  # noqa: E402

MS = 1_000_000


def write(number, answer="done", how="statement", begun=0, took_ms=5):
    return checker.Call("write", 0, how, 0, number, begun, begun + took_ms * MS, 5000, answer, "-",
                        "-", "-", "-", "-")


def read(number, found="found", how="own", begun=100 * MS, answer="done", took_ms=1):
    return checker.Call("read", 0, how, 0, number, begun, begun + took_ms * MS, 5000, answer, found,
                        "-", "-", "-", "-")


def rules(calls, rows, twins=None, heals=(), end_ns=0):
    verdict = checker.judge(calls, rows, twins or {}, list(heals), end_ns)
    return [rule for rule, _ in verdict.violations]


def test_a_run_in_order_breaks_nothing():
    calls = [write(1), write(2, how="transaction"), write(3, "not_done"), write(4, "unknown"),
             read(1), read(1, "missing", "any"), read(1, "missing", "bounded", begun=1000 * MS)]
    assert rules(calls, {(0, 1): 1, (0, 2): 1}, {(0, 2): 1}, [1 * MS], 200 * MS) == []
    assert rules(calls, {(0, 1): 1, (0, 2): 1, (0, 4): 1}, {(0, 2): 1}) == []


@pytest.mark.parametrize("rule, calls, rows, twins", [
    ("lost", [write(1)], {}, {}),
    ("lied", [write(1, "not_done")], {(0, 1): 1}, {}),
    ("lied", [], {(0, 9): 1}, {}),
    ("twice", [write(1)], {(0, 1): 2}, {}),
    ("twice", [write(1, "unknown")], {(0, 1): 2}, {}),
    ("torn", [write(1, how="transaction")], {(0, 1): 1}, {}),
    ("torn", [write(1, "unknown", "transaction")], {}, {(0, 1): 1}),
    ("blind", [write(1), read(1, "missing")], {(0, 1): 1}, {}),
    ("blind", [write(1), read(1, "missing", "shared")], {(0, 1): 1}, {}),
    ("blind", [write(1), read(1, "missing", "primary")], {(0, 1): 1}, {}),
    ("blind", [write(1), read(1, "missing", "bounded", begun=2100 * MS)], {(0, 1): 1}, {}),
    ("late", [write(1, took_ms=12_000)], {(0, 1): 1}, {}),
    ("late", [write(1), read(1, took_ms=12_000)], {(0, 1): 1}, {}),
])
def test_each_lie_is_found(rule, calls, rows, twins):
    assert rules(calls, rows, twins) == [rule]


def test_who_is_not_served_again_is_stuck():
    calls = [write(1), read(1)]
    rows = {(0, 1): 1, (0, 2): 1}
    healed, end = [150 * MS], 40_000 * MS
    assert rules(calls, rows, {}, healed, end).count("stuck") == 2
    late = [write(2, begun=38_000 * MS), read(2, begun=38_100 * MS)]
    assert rules(calls + late, rows, {}, healed, end).count("stuck") == 2
    soon = [write(2, begun=900 * MS), read(2, begun=910 * MS)]
    assert rules(calls + soon, rows, {}, healed, end) == []


def test_outages_belong_to_the_fault_in_which_they_were():
    calls = [write(1), write(2, begun=100 * MS), write(3, begun=2100 * MS),
             write(4, begun=2200 * MS), write(5, "not_done", begun=2300 * MS),
             write(6, begun=2600 * MS)]
    found = checker.outages(calls, [(50 * MS, "kill"), (2150 * MS, "cut")])
    assert found == {"kill": 2.0, "cut": pytest.approx(0.4)}


def test_a_line_of_the_log_is_read_as_it_was_written():
    call = checker.parse("write 3 statement 3 17 1000 2000 5000 not_done - HF_E_LOST 08006 "
                         "10.77.0.11:5432 the connection was lost: why ever\n")
    assert (call.writer, call.number, call.answer) == (3, 17, "not_done")
    assert call.words == "the connection was lost: why ever"
