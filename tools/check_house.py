#!/usr/bin/python3
"""Checks that the tree keeps the rules of the house, or prints its shape.

    tools/check_house.py [--build DIR] [--only WORD]   runs the rules; DIR is a plain release build
    tools/check_house.py --shape                       prints folders, arrows and sizes

For each rule one line `ok SECONDS RULE` or `not ok SECONDS RULE`, the last followed by its
breaches, `file:line: what`. The exit status is 1 when there was one. Without --build the rules that
look into objects are left out, and it says so.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from house import rules_headers, rules_includes, rules_objects, rules_text  # noqa: E402
from house.shape import print_shape  # noqa: E402
from house.tree import Tree  # noqa: E402

BREACHES_SHOWN = 40

# What a rule demands, in words, and the function that looks. The second list needs objects.
RULES = [
    ("src/LAYERS lists every folder, in order", rules_includes.layers_are_in_order),
    ("includes follow src/LAYERS", rules_includes.includes_follow_the_layers),
    ("private headers (_int.h) stay in their folder", rules_includes.private_headers_stay_home),
    ("a source includes its own header first", rules_includes.own_header_comes_first),
    ("no umbrella headers", rules_includes.no_umbrella_headers),
    ("pure folders include only harmless system headers",
     rules_includes.system_headers_of_pure_folders),
    ("each header compiles alone, with gcc and clang", rules_headers.headers_compile_alone),
    (f"no function over {rules_text.FUNCTION_LINES_MAX} lines", rules_text.functions_are_short),
    (f"no file over {rules_text.FILE_LINES_MAX} lines", rules_text.files_are_short),
    (f"no line over {rules_text.COLUMNS_MAX} columns", rules_text.lines_are_short),
    ("text is plain ASCII without tabs and trailing blanks", rules_text.text_is_plain),
    ("nothing is marked as unfinished", rules_text.nothing_is_unfinished),
    ("file names are unique in src", rules_text.file_names_are_unique),
    ("include guards name their file", rules_text.guards_name_their_file),
    ("no banned function", rules_text.banned_functions),
    ("each pure source has its unit test", rules_text.pure_sources_have_their_test),
    ("unit test cases name their module", rules_text.test_cases_name_their_module),
]
OBJECT_RULES = [
    ("every source is built", rules_objects.every_source_is_built),
    ("pure objects use no clock, memory, socket, thread or stream",
     rules_objects.symbols_of_pure_objects),
    ("no writable data outside cli", rules_objects.no_writable_data),
    ("what a source exports is used elsewhere, and is no data",
     rules_objects.what_is_exported_is_used),
]


def run_rule(sentence, rule, tree):
    """Prints the verdict; true when there was no breach."""
    start = time.monotonic()
    try:
        breaches = list(rule(tree))
    except (OSError, ValueError, KeyError, subprocess.CalledProcessError) as error:
        breaches = [f"the rule itself failed: {error!r}"]
    verdict = "not ok" if breaches else "ok"
    print(f"{verdict} {time.monotonic() - start:.2f} {sentence}", flush=True)
    for breach in breaches[:BREACHES_SHOWN]:
        print("    " + breach)
    if len(breaches) > BREACHES_SHOWN:
        print(f"    ... and {len(breaches) - BREACHES_SHOWN} more")
    return not breaches


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--build", help="a build directory, for the rules about objects")
    parser.add_argument("--only", default="", help="only the rules whose sentence has this word")
    parser.add_argument("--root", default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--shape", action="store_true")
    options = parser.parse_args()
    tree = Tree(options.root, options.build)
    if options.shape:
        print_shape(tree)
        return 0
    rules = RULES + (OBJECT_RULES if options.build else [])
    if not options.build:
        print("(no --build: the rules about objects are left out)")
    results = [run_rule(sentence, rule, tree) for sentence, rule in rules
               if options.only in sentence]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
