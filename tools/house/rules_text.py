"""What can be read off the text of a file: sizes, names, characters, guards, banned functions."""

import re
from pathlib import PurePosixPath

from house.tree import functions, line_of

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 800
COLUMNS_MAX = 100

# They write without a bound, hide an error, keep hidden state or jump over clean-up. What to use
# instead stands behind each.
BANNED = {
    "strcpy": "memcpy with a known length, or snprintf",
    "strcat": "snprintf, or a bounded buffer",
    "strncpy": "memcpy with a known length: it may leave no terminator",
    "sprintf": "snprintf",
    "vsprintf": "vsnprintf",
    "strtok": "a string view",
    "atoi": "the parsers of base, which report errors",
    "atol": "the parsers of base, which report errors",
    "atof": "the parsers of base, which report errors",
    "gets": "fgets",
    "alloca": "a fixed array, or an arena",
    "setjmp": "a returned code",
    "longjmp": "a returned code",
}

# Tests of what happens when a caller does it.
USED_BY_CALLERS = {
    "test/unit/test_tx_stack.c": {"setjmp", "longjmp"},
    "test/client/test_tx_ends.c": {"setjmp", "longjmp"},
}

# Pure sources without a unit test of the same name, each with the reason.
WITHOUT_OWN_TEST = {
    # Parts of the guard that nobody reaches but through guard_feed(): the cases of test_guard.c.
    "src/core/guard_answer.c",
    "src/core/guard_place.c",
}

# Code with wider lines, each with the reason.
WIDE = {
    "test/sim/mutations.py": "a table whose rows quote lines of the sources as they stand",
}

TEXT_ENDS = (".c", ".h", ".py", ".sh", ".build", ".txt", ".md", ".yml", ".yaml", ".json", ".conf",
             ".1", ".7")
TEXT_NAMES = ("check", "run", "LAYERS", "packages", "CHANGELOG", "LICENSE", "VERSION")
CODE_ENDS = (".c", ".h", ".py", ".sh", ".build")
CODE_NAMES = ("check", "run")
# Put together from halves, so that this file does not say them.
UNFINISHED = re.compile("|".join(rf"\b{a}{b}\b" for a, b in (("TO", "DO"), ("FIX", "ME"),
                                                            ("X", "XX"), ("HA", "CK"))))


def _is_text(path):
    return path.endswith(TEXT_ENDS) or PurePosixPath(path).name in TEXT_NAMES


def _is_code(path):
    return path.endswith(CODE_ENDS) or PurePosixPath(path).name in CODE_NAMES


def _stale(tree, exceptions):
    for path in sorted(set(exceptions) - set(tree.files)):
        yield f"{path}:1: has an exception in tools/house/rules_text.py but does not exist"


def functions_are_short(tree):
    for path in tree.under("src", "include", "test"):
        try:
            for function in functions(tree.text(path)):
                if function.lines > FUNCTION_LINES_MAX:
                    yield (f"{path}:{function.first_line}: {function.name} has {function.lines} "
                           f"lines, more than {FUNCTION_LINES_MAX}")
        except ValueError as error:
            yield f"{path}:1: cannot be read: {error}"


def files_are_short(tree):
    for path in filter(_is_code, tree.files):
        lines = tree.text(path).count("\n")
        if lines > FILE_LINES_MAX:
            yield f"{path}:{FILE_LINES_MAX + 1}: {lines} lines, more than {FILE_LINES_MAX}"


def lines_are_short(tree):
    for path in filter(_is_code, tree.files):
        if path in WIDE:
            continue
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            if len(line) > COLUMNS_MAX:
                yield f"{path}:{number}: {len(line)} columns, more than {COLUMNS_MAX}"
    yield from _stale(tree, WIDE)


def text_is_plain(tree):
    """7-bit ASCII, no tab, no blank at a line's end, a line end at the end."""
    for path in filter(_is_text, tree.files):
        text = tree.text(path)
        for number, line in enumerate(text.splitlines(), 1):
            if not line.isascii():
                odd = next(c for c in line if not c.isascii())
                yield f"{path}:{number}: {odd!r} (U+{ord(odd):04X}) is not ASCII"
            if "\t" in line:
                yield f"{path}:{number}: has a tab"
            if line != line.rstrip():
                yield f"{path}:{number}: has blanks at its end"
        if text and not text.endswith("\n"):
            yield f"{path}:{text.count(chr(10)) + 1}: does not end with a line end"


def nothing_is_unfinished(tree):
    for path in filter(_is_text, tree.files):
        for match in UNFINISHED.finditer(tree.text(path)):
            yield f"{path}:{line_of(tree.text(path), match.start())}: says {match[0]}"


def file_names_are_unique(tree):
    """So that a name in a log line, an assertion or a talk means one file."""
    seen = {}
    for path in tree.under("src"):
        name = PurePosixPath(path).name
        if name in seen:
            yield f"{path}:1: has the same name as {seen[name]}"
        seen.setdefault(name, path)


def guards_name_their_file(tree):
    """HF_<FOLDER>_<FILE>_H around everything; outside src HF_..._<FILE>_H is enough."""
    for path in tree.under("src", "include", "test", ends=".h"):
        name, folder = PurePosixPath(path).stem, PurePosixPath(path).parent.name
        guard = f"HF_{folder}_{name}_H".upper()
        if not path.startswith("src/"):
            guard = rf"HF_(\w+_)?{name.upper()}_H"
        directives = [line.strip() for line in tree.code(path).splitlines()]
        directives = [line for line in directives if line]
        opened = re.fullmatch(rf"#ifndef ({guard})", directives[0]) if directives else None
        if not opened or directives[1:2] != [f"#define {opened[1]}"] or directives[-1] != "#endif":
            yield f"{path}:1: is not wholly guarded by {guard}"


def banned_functions(tree):
    calls = re.compile(r"\b(" + "|".join(BANNED) + r")\s*\(")
    for path in tree.under("src", "include", "test"):
        code = tree.code(path)
        for match in calls.finditer(code):
            if match[1] in USED_BY_CALLERS.get(path, ()):
                continue
            yield f"{path}:{line_of(code, match.start())}: {match[1]} is banned: {BANNED[match[1]]}"


def pure_sources_have_their_test(tree):
    """test/unit/test_x.c for each x.c of a pure folder; a test that includes it for each x_mt.h."""
    included = {name for path in tree.under("test") for _, _, name in tree.includes(path)}
    for _, path in tree.sources(pure_only=True):
        stem = PurePosixPath(path).stem
        if path.endswith(".c") and path not in WITHOUT_OWN_TEST:
            if f"test/unit/test_{stem}.c" not in tree.files:
                yield f"{path}:1: has no test/unit/test_{stem}.c"
        elif path.endswith("_mt.h") and path[len("src/"):] not in included:
            yield f"{path}:1: is included by no test"
    yield from _stale(tree, WITHOUT_OWN_TEST)


def test_cases_name_their_module(tree):
    """The cases of test_x.c are called x__a_thing_happens. A module whose tests fill several files,
    test_x_y.c beside test_x.c, may name its cases x__ in all of them."""
    case = re.compile(r"^static void (\w+)\(void \*\*", re.MULTILINE)
    for path in tree.under("test/unit", ends=".c"):
        code = tree.code(path)
        stem = PurePosixPath(path).stem.removeprefix("test_")
        for match in case.finditer(code):
            module, mark, _ = match[1].partition("__")
            if not mark or not (stem + "_").startswith(module + "_"):
                line = line_of(code, match.start())
                yield f"{path}:{line}: {match[1]} is not named {stem}__..."
