#!/usr/bin/python3
"""Checks that what the documents say is so.

    tools/check_docs.py [--programs DIR] [--only WORD]

For every *.md of the tree: links lead somewhere, files named in `backticks` exist (NAME in a path
stands for any name), options shown of ./check and ./run exist, ```c blocks compile, and ```console
blocks do what they show: each line `$ COMMAND` is run in an empty folder with DIR (default
build/check/gcc/src/cli) first in PATH, and what it prints must be the lines that follow, where a
line `...` stands for any number of lines and ... within a line for any text. Commands that cannot
run so are shown in ```sh blocks.

Prints a line for each check as tools/check_house.py does.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import api_docs  # noqa: E402
import refusals  # noqa: E402
from check_house import run_rule  # noqa: E402
from house.tree import Tree, line_of  # noqa: E402

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
OUR_PATH = re.compile(r"^(?:src|test|tools|docs|include|deploy|\.ci)/[\w./*-]+$")
OPTION = re.compile(r"\./(check|run)\s+(--[a-z-]+)")
SECONDS_MAX = 60
COMPILE = ["gcc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
           "-Isrc", "-Iinclude", "-x", "c", "-"]


def documents(tree):
    return [path for path in tree.files if path.endswith(".md")]


def fences(tree, path, language):
    """(line of the first line inside, text) of each block of that language."""
    text = tree.text(path)
    for match in FENCE.finditer(text):
        if match[1] == language:
            yield line_of(text, match.start(2)), match[2]


def prose(tree, path):
    """The document without its blocks, every line in its place."""
    return FENCE.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), tree.text(path))


def _anchors(text):
    """What GitHub makes of the headings."""
    for line in text.splitlines():
        if line.startswith("#"):
            words = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            yield words.replace(" ", "-")


def links_lead_somewhere(tree):
    for path in documents(tree):
        text = prose(tree, path)
        for match in LINK.finditer(text):
            target, _, anchor = match[1].partition("#")
            place = f"{path}:{line_of(text, match.start())}"
            if re.match(r"[a-z]+:", target):
                continue
            file = (tree.root / path).parent / target if target else tree.root / path
            if not file.exists():
                yield f"{place}: links to {target}, which does not exist"
            elif anchor and file.suffix == ".md" and anchor not in _anchors(file.read_text()):
                yield f"{place}: links to {match[1]}, which has no such heading"


def named_files_exist(tree):
    for path in documents(tree):
        text = prose(tree, path)
        for match in SPAN.finditer(text):
            named = match[1].rstrip("/").replace("NAME", "*")
            if OUR_PATH.match(named) and not any(tree.root.glob(named)):
                yield f"{path}:{line_of(text, match.start())}: names {named}, which does not exist"


def options_exist(tree):
    for path in documents(tree):
        for match in OPTION.finditer(tree.text(path)):
            program, option = match[1], match[2]
            if program not in tree.files or option not in tree.text(program):
                line = line_of(tree.text(path), match.start())
                yield f"{path}:{line}: shows ./{program} {option}, which does not exist"


def c_blocks_compile(tree):
    for path in documents(tree):
        for line, block in fences(tree, path, "c"):
            result = subprocess.run(COMPILE, input=block, cwd=tree.root, capture_output=True,
                                    text=True)
            if result.returncode != 0:
                words = next((w for w in result.stderr.splitlines() if "error" in w), "?")
                yield f"{path}:{line}: does not compile: {words}"


def matches(expected, printed):
    """Whether these lines are those, where ... stands for anything."""
    pattern = ""
    for line in expected:
        if line == "...":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += re.escape(line).replace(r"\.\.\.", r"[^\n]*") + r"\n"
    return re.fullmatch(pattern, "".join(line + "\n" for line in printed)) is not None


def _sessions(first_line, block):
    """(line, command, expected output) of each command of a console block."""
    command = None
    for number, line in enumerate(block.splitlines(), first_line):
        if line.startswith("$ "):
            if command:
                yield command
            command = (number, line[2:], [])
        elif command:
            command[2].append(line.rstrip())
    if command:
        yield command


def console_blocks_are_true(tree):
    environment = dict(os.environ, PATH=f"{tree.programs}:{os.environ['PATH']}", LC_ALL="C.UTF-8",
                       COLUMNS="80")
    for path in documents(tree):
        for first_line, block in fences(tree, path, "console"):
            with tempfile.TemporaryDirectory() as folder:
                for line, command, expected in _sessions(first_line, block):
                    result = subprocess.run(["bash", "-c", command], cwd=folder, env=environment,
                                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=subprocess.STDOUT, text=True,
                                            timeout=SECONDS_MAX)
                    printed = [text.rstrip() for text in result.stdout.splitlines()]
                    if not matches(expected, printed):
                        said = "\n        ".join(printed[:20]) or "nothing"
                        yield f"{path}:{line}: `{command}` printed otherwise:\n        {said}"


def the_header_is_documented(_tree):
    for path, text in api_docs.made().items():
        if not path.exists() or path.read_text(encoding="ascii") != text:
            yield (f"{path.relative_to(api_docs.ROOT)}:1: is not what include/holdfast.h says: "
                   "run tools/api_docs.py")


def refusals_are_listed(_tree):
    yield from refusals.problems()
    if (refusals.ROOT / refusals.PAGE).read_text(encoding="ascii") != refusals.page():
        yield f"{refusals.PAGE}:1: is not what the sources say: run tools/refusals.py --write"


RULES = [
    ("documents: links lead somewhere", links_lead_somewhere),
    ("documents: files they name exist", named_files_exist),
    ("documents: options they show exist", options_exist),
    ("documents: C examples compile", c_blocks_compile),
    ("documents: console examples print what they show", console_blocks_are_true),
    ("documents: the library's reference says what its header says", the_header_is_documented),
    ("documents: every refusal of the proxy is listed, with a way out and a test",
     refusals_are_listed),
]


def main():
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--programs", default=root / "build/check/gcc/src/cli")
    parser.add_argument("--only", default="", help="only the checks whose sentence has this word")
    options = parser.parse_args()
    tree = Tree(root)
    tree.programs = Path(options.programs).resolve()
    results = [run_rule(sentence, rule, tree) for sentence, rule in RULES
               if options.only in sentence]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
