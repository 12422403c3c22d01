"""./check must never take silence, a crash or a leftover process for success: its engine and the
reading of test results, each fed with what goes wrong."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parent


def run_rows(functions, rows):
    """Runs ./check's engine over these rows; gives its output's lines and its exit status."""
    quoted = " ".join(f"'{row}'" for row in rows)
    script = f"set -uo pipefail\n. {TOOLS}/check_engine.sh\n{functions}\n" \
             f"engine_run full {quoted}\nengine_verdict\n"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30)
    return result.stdout.splitlines() + result.stderr.splitlines(), result.returncode


GOOD = "good() { echo 'ok 0.01 fine'; }\n"


CRASH = "crash() { echo 'ok 0.01 begun'; kill -SEGV $BASHPID; }\n"
VERDICTS = {
    "one alone": (GOOD, ["full | alone | good | A"], "1 passed, 0 failed"),
    "two beside": (GOOD, ["full | beside | good | A", "full | beside | good | B"],
                   "2 passed, 0 failed"),
    "rows of other modes": (GOOD, ["quick | alone | good | A", "quick full | alone | good | B"],
                            "1 passed, 0 failed"),
    "a failing command": (GOOD + "bad() { one 'says no' false; }\n",
                          ["full | alone | good | A", "full | alone | bad | B"],
                          "1 passed, 1 failed"),
    "silence": (GOOD + "silent() { :; }\n",
                ["full | beside | good | A", "full | beside | silent | B"], "1 passed, 1 failed"),
    "a crash alone": (CRASH, ["full | alone | crash | A"], "1 passed, 1 failed"),
    "a crash beside": (CRASH, ["full | beside | crash | A"], "1 passed, 1 failed"),
    "a reported failure counts once": (
        "two() { echo 'not ok 0.01 a'; echo 'not ok 0.01 b'; return 1; }\n",
        ["full | alone | two | A"], "0 passed, 2 failed"),
    "a missing function": (GOOD, ["full | alone | missing | A", "full | alone | good | B"],
                           "1 passed, 1 failed"),
    "only skipped": ("skips() { echo 'skip 0.01 not here'; }\n", ["full | alone | skips | A"],
                     "0 passed, 1 failed"),
    "nothing at all": (GOOD, [], "0 passed, 0 failed"),
}


@pytest.mark.parametrize("functions, rows, verdict", VERDICTS.values(), ids=VERDICTS.keys())
def test_the_verdict_counts(functions, rows, verdict):
    lines, status = run_rows(functions, rows)
    assert verdict in lines
    assert (status == 0) == (verdict.endswith(" 0 failed") and not verdict.startswith("0 "))


def test_a_failing_command_shows_its_output_and_status():
    lines, _ = run_rows("bad() { one 'it works' sh -c 'echo reason; exit 7'; }\n",
                        ["full | alone | bad | A"])
    text = "\n".join(lines)
    assert "reason" in text and "exit status 7" in text and "failed: it works" in text


def has_ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_a_process_left_behind_is_found_and_stopped():
    lines, status = run_rows("leave() { setsid sleep 1234 & echo 'ok 0.01 left'; }\n",
                             ["full | alone | leave | A",
                              "full | alone | check_leftovers | Afterwards"])
    assert status != 0
    left = [line for line in lines if "still running" in line]
    assert len(left) == 1 and left[0].endswith("sleep 1234 ")
    pid = left[0].split("still running: ")[1].split()[0]
    for _ in range(100):  # a process that was killed still has to be run once, to end
        if has_ended(pid):
            break
        time.sleep(0.1)
    assert has_ended(pid)


def test_rows_beside_each_other_run_at_the_same_time():
    meet = "left() { : >$d/l; wait_for $d/r; }\nright() { : >$d/r; wait_for $d/l; }\n" \
           "wait_for() { for i in $(seq 100); do [ -e $1 ] && { echo 'ok 0.01 met'; return; }; " \
           "sleep 0.05; done; return 1; }\nd=$(mktemp -d)\n"
    lines, _ = run_rows(meet, ["full | beside | left | A", "full | beside | right | B"])
    assert "2 passed, 0 failed" in lines


def test_pairs_run_at_the_same_time_and_each_is_counted():
    meet = "d=$(mktemp -d)\nmeet() { : >$d/$1; for i in $(seq 100); do " \
           "[ $1 = c ] || [ -e $d/a -a -e $d/b ] && { echo \"ok 0.01 $1\"; return; }; " \
           "sleep 0.05; done; return 1; }\nall() { pairwise meet a b c; }\n"
    lines, _ = run_rows(meet, ["full | alone | all | A"])
    assert "3 passed, 0 failed" in lines


def test_a_command_that_tells_shows_its_last_line():
    lines, _ = run_rows("tells() { tell='^n=' one name printf 'x\\nn=1\\nn=2\\ny\\n'; }\n",
                        ["full | alone | tells | A"])
    assert any(line.strip() == "n=2" for line in lines)
    assert not any("n=1" in line or line.strip() in "xy" and line.strip() for line in lines)


def results(kind, path):
    command = [sys.executable, TOOLS / "check_results.py", kind, "label", path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def meson_test(result, stdout="", status=0):
    return json.dumps({"name": "suite:test_x", "stdout": stdout, "result": result, "duration": 0.5,
                       "returncode": status}) + "\n"


MESON = [
    (meson_test("OK", "[==========] 3 test(s) run.\n"), "ok 0.50 label: test_x (3 cases)\n"),
    (meson_test("OK"), "ok 0.50 label: test_x\n"),
    (meson_test("OK", "[==========] 0 test(s) run.\n"), "not ok 0.50 label: test_x"),
    (meson_test("FAIL", "the reason", 1), "not ok 0.50 label: test_x\n    the reason\n"),
    (meson_test("TIMEOUT"), "not ok 0.50"),
    (meson_test("ERROR", "", -11), "not ok 0.50"),
    (meson_test("SKIP", "no such kernel", 77), "skip 0.50 label: test_x\n    no such kernel\n"),
    ("", "not ok 0.00 label: results\n    no test at all"),
    ("{broken", "not ok 0.00 label: results\n    could not read"),
]


@pytest.mark.parametrize("text, expected", MESON, ids=range(len(MESON)))
def test_results_of_meson(tmp_path, text, expected):
    path = tmp_path / "testlog.json"
    path.write_text(text)
    assert results("meson", path).startswith(expected)


JUNIT = [
    ("<t><s><testcase classname='a.b' name='t' time='1'/></s></t>", "ok 1.00 label: b: t\n"),
    ("<t><testcase classname='b' name='t' time='1'><failure>why</failure></testcase></t>",
     "not ok 1.00 label: b: t\n    why\n"),
    ("<t><testcase classname='b' name='t' time='1'><error>why</error></testcase></t>", "not ok"),
    ("<t><testcase classname='b' name='t' time='1'><skipped message='not root'/></testcase></t>",
     "skip 1.00 label: b: t\n    not root\n"),
    ("<t></t>", "not ok 0.00 label: results"),
    ("<t>", "not ok 0.00 label: results"),
]


@pytest.mark.parametrize("text, expected", JUNIT, ids=range(len(JUNIT)))
def test_results_of_pytest(tmp_path, text, expected):
    path = tmp_path / "report.xml"
    path.write_text(text)
    assert results("junit", path).startswith(expected)


def test_results_that_are_missing_are_a_failure(tmp_path):
    assert results("meson", tmp_path / "none").startswith("not ok")
