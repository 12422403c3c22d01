#!/usr/bin/python3
"""The symbols of libholdfast: what include/holdfast.h declares, what is recorded, what is there.

    tools/library_symbols.py                  writes include/holdfast.map from the header
    tools/library_symbols.py --check          says where the two differ, and fails if they do
    tools/library_symbols.py --library FILE   the same for what a shared library exports

include/holdfast.map is the version script that the library is linked by, and the record of its ABI:
a symbol that it has lost is a program that no longer starts, so whoever takes a line out of it sees
that in the review.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = ROOT / "include/holdfast.h"
RECORD = ROOT / "include/holdfast.map"
VERSION = "HOLDFAST_1"


def declared(text):
    """What a header exports, sorted."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return sorted(re.findall(r"^HF_API[^;]*?\b(hf_\w+)\(", text, re.MULTILINE))


def recorded(text):
    return sorted(re.findall(r"^    (hf_\w+);$", text, re.MULTILINE))


def exported(path):
    """[(name, version)] of a shared library."""
    done = subprocess.run(["nm", "-D", "--defined-only", path], capture_output=True, text=True,
                          check=True)
    words = [line.split()[-1] for line in done.stdout.splitlines()]
    return sorted(tuple((word.split("@@") + [""])[:2]) for word in words
                  if not word.startswith(VERSION))


def map_of(names):
    listed = "".join(f"    {name};\n" for name in names)
    return f"{VERSION} {{\nglobal:\n{listed}local:\n    *;\n}};\n"


def differences(one, other, what_one, what_other):
    for name in sorted(set(one) - set(other)):
        yield f"{name} is in {what_one}, and not in {what_other}"
    for name in sorted(set(other) - set(one)):
        yield f"{name} is in {what_other}, and not in {what_one}"


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--library")
    options = parser.parse_args()
    names = declared(HEADER.read_text(encoding="ascii"))
    if not options.check and not options.library:
        RECORD.write_text(map_of(names), encoding="ascii")
        return 0
    found = recorded(RECORD.read_text(encoding="ascii"))
    wrong = list(differences(names, found, "include/holdfast.h", "include/holdfast.map"))
    if options.library:
        there = exported(options.library)
        wrong += differences(found, [name for name, _ in there], "include/holdfast.map",
                             options.library)
        wrong += [f"{name} has no version {VERSION}" for name, version in there
                  if version != VERSION]
    print("\n".join(wrong) or f"{len(names)} symbols")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
