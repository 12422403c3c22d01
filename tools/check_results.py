#!/usr/bin/python3
"""Turns the result file of a test runner into the lines ./check counts.

    check_results.py meson LABEL testlog.json
    check_results.py junit LABEL report.xml

Prints for each test `ok SECONDS LABEL: NAME`, `skip SECONDS LABEL: NAME` or `not ok SECONDS LABEL:
NAME`, the last followed by what the test said, indented. A file that is missing, broken or without
a test is one failure: silence must never read as success. So is a cmocka program that ran no case.
"""

import json
import re
import sys
import xml.etree.ElementTree as ElementTree

WORDS_MAX = 60  # lines of a failing test's output that are worth a person's screen
CASES = re.compile(r"^\[=+\] (?:\S+: )?(\d+) test\(s\) run\.", re.MULTILINE)


def report(verdict, seconds, name, words=""):
    print(f"{verdict} {seconds:.2f} {name}")
    if verdict != "ok":
        for line in words.rstrip().splitlines()[-WORDS_MAX:]:
            print("    " + line)


def meson_one(label, test):
    """One line of meson's testlog.json."""
    output = (test.get("stdout") or "") + (test.get("stderr") or "")
    name = f"{label}: {test['name'].split(':')[-1]}"
    cases = [int(count) for count in CASES.findall(output)]
    if cases:
        name += f" ({sum(cases)} cases)"
    result = test["result"]
    if result == "OK" and cases and sum(cases) == 0:
        report("not ok", test["duration"], name, "the program ran, but not one case in it did")
    elif result == "OK":
        report("ok", test["duration"], name)
    elif result == "SKIP":
        report("skip", test["duration"], name, output)
    else:
        words = f"{output}\n{result}, exit status {test.get('returncode')}"
        report("not ok", test["duration"], name, words)


def meson(label, path):
    with open(path, encoding="utf-8", errors="replace") as file:
        tests = [json.loads(line) for line in file if line.strip()]
    for test in tests:
        meson_one(label, test)
    return len(tests)


def junit(label, path):
    """pytest's --junitxml. An error in a fixture counts as its test's failure."""
    count = 0
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        count += 1
        module = case.get("classname", "").split(".")[-1]
        name = f"{label}: {module}: {case.get('name')}".replace("\n", " ")
        seconds = float(case.get("time", 0))
        bad = [child for child in case if child.tag in ("failure", "error")]
        skipped = case.find("skipped")
        if bad:
            report("not ok", seconds, name, "\n".join(child.text or "" for child in bad))
        elif skipped is not None:
            report("skip", seconds, name, skipped.get("message", ""))
        else:
            report("ok", seconds, name)
    return count


def main(arguments):
    if len(arguments) != 3 or arguments[0] not in ("meson", "junit"):
        print(__doc__, file=sys.stderr)
        return 2
    kind, label, path = arguments
    try:
        count = (meson if kind == "meson" else junit)(label, path)
    except (OSError, ValueError, KeyError, ElementTree.ParseError) as error:
        report("not ok", 0, f"{label}: results", f"could not read {path}: {error}")
        return 0
    if count == 0:
        report("not ok", 0, f"{label}: results", f"no test at all in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
