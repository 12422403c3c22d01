#!/usr/bin/python3
"""Prints what the unit tests of the pure folders do not reach.

    tools/coverage.py BUILD     a build directory made with -Db_coverage=true, its tests run

For each pure source: the share of lines and of branches that ran, then each gap, `file:line: what`.
Branches into hf_assert are left out: they are taken by bugs only. It judges nothing; a gap is a
question: a missing test, or code that nobody needs?
"""

import json
import subprocess
import sys
from collections import defaultdict
from os.path import normpath, relpath
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from house.tree import Tree  # noqa: E402


class Line:
    """How often a line ran and, for each of its branches, how often that was taken; summed over all
    programs that contain it."""

    def __init__(self):
        self.count = 0
        self.branches = defaultdict(int)


def read_counts(tree, build):
    """{source: {line number: Line}} of the pure sources, inline functions of headers included."""
    wanted = {path for _, path in tree.sources(pure_only=True)}
    counts = defaultdict(lambda: defaultdict(Line))
    for data in sorted(build.rglob("*.gcda")):
        output = subprocess.run(["gcov", "--json-format", "--branch-probabilities", "--stdout",
                                 str(data)], cwd=build, check=True, capture_output=True).stdout
        for document in output.splitlines():
            for file in json.loads(document)["files"]:
                source = relpath(normpath(build / file["file"]), tree.root)
                if source not in wanted:
                    continue
                for entry in file["lines"]:
                    line = counts[source][entry["line_number"]]
                    line.count += entry["count"]
                    for number, branch in enumerate(entry["branches"]):
                        line.branches[entry.get("function_name", ""), number] += branch["count"]
    return counts


def gaps(tree, source, lines):
    """(number of branches, number taken, [(line, what is missing)])."""
    text = tree.text(source).splitlines()
    branches, taken, missing = 0, 0, []
    for number, line in sorted(lines.items()):
        words = text[number - 1].strip()
        if "hf_assert" in words:
            continue
        never = sum(count == 0 for count in line.branches.values())
        branches += len(line.branches)
        taken += len(line.branches) - never
        if line.count == 0:
            missing.append((number, f"never runs: {words}"))
        elif never:
            missing.append((number, f"{never} of {len(line.branches)} branches never taken: "
                                    f"{words}"))
    return branches, taken, missing


def share(part, whole):
    return f"{100 * part / whole:.1f} %" if whole else "-"


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    root = Path(__file__).resolve().parent.parent
    tree = Tree(root)
    counts = read_counts(tree, Path(arguments[0]).resolve())
    print(f"{'source':<32}{'lines':>7}{'ran':>9}{'branches':>10}{'taken':>9}")
    details = []
    for source in sorted(counts):
        lines = counts[source]
        branches, taken, missing = gaps(tree, source, lines)
        ran = sum(line.count > 0 for line in lines.values())
        print(f"{source:<32}{len(lines):>7}{share(ran, len(lines)):>9}{branches:>10}"
              f"{share(taken, branches):>9}")
        details += [f"{source}:{number}: {what}" for number, what in missing]
    print("\n".join(["", *details]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
