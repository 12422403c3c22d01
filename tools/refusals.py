#!/usr/bin/python3
"""What the proxy may refuse, as the sources say it: src/proxy/REFUSALS and the page made of both.

    tools/refusals.py           lists what is missing
    tools/refusals.py --write   makes docs/reference/errors.md

Every err_set() of the files that REFUSALS names is a refusal with an SQLSTATE and a message; the
err_detail() and err_hint() that follow it are its DETAIL and HINT. REFUSALS says, for each message,
when it comes and which test reaches it; that test must look for words of the message.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LIST = "src/proxy/REFUSALS"
PAGE = "docs/reference/errors.md"
CALL = re.compile(r"\b(err_set|err_detail|err_hint)\s*\(")
MACROS = {"SV_FMT": "%.*s", "PROXY_CONSOLE": "holdfast"}
FORMAT = re.compile(r"%[-+ #0]*(?:\*|\d+)?(?:\.(?:\*|\d+))?(?:hh|h|ll|l|z|j|t)?[diouxXscp%]")


class Refusal(NamedTuple):
    path: str
    line: int
    sqlstate: str
    message: str
    detail: str
    hint: str


class Entry(NamedTuple):
    line: int
    sqlstate: str
    message: str
    when: str
    test: str


NOBODY = Entry(0, "", "", "", "")


def _blank(text):
    """Comments as blanks, so that what is found is code and stands where it stood."""
    keep = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*.*?\*/|//[^\n]*', re.DOTALL)
    return keep.sub(lambda m: m[0] if m[0][0] in "\"'" else re.sub(r"[^\n]", " ", m[0]), text)


def _arguments(text, start):
    """The arguments of a call whose bracket opens before `start`, and where it ends."""
    depth, at, begin, found = 1, start, start, []
    while depth:
        char = text[at]
        if char in "\"'":
            at = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'').match(text, at).end()
            continue
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        if depth == 0 or (depth == 1 and char == ","):
            found.append(text[begin:at].strip())
            begin = at + 1
        at += 1
    return found, at


def _string(expression):
    """The text of a C string expression; of a choice, both."""
    parts = re.findall(r'"((?:\\.|[^"\\])*)"|\b([A-Z][A-Z_]+)\b|([?:])', expression)
    text = ""
    for literal, macro, mark in parts:
        if mark:
            text += " / " if mark == ":" and text else ""
        else:
            text += MACROS.get(macro, "") if macro else literal
    return text.replace('\\"', '"').replace("\\\\", "\\")


def shown(message):
    """A format as a person reads it."""
    return FORMAT.sub(lambda m: "%" if m[0] == "%%" else "...", message)


def _functions(text):
    """(begin, end) of each function's body: from a { in the first column to a } there."""
    for match in re.finditer(r"^\{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
        yield match.start(1), match.end(1)


def _skip_else(text, at):
    """Behind the branches that do not follow the one that ends here."""
    word = re.compile(r"\s*else\b")
    while (found := word.match(text, at)) is not None:
        at = found.end()
        condition = re.compile(r"\s*if\s*\(").match(text, at)
        if condition is not None:
            _, at = _arguments(text, condition.end())
        at = _skip_statement(text, at)
    return at


def _skip_statement(text, at):
    while text[at].isspace():
        at += 1
    if text[at] == "{":
        return _arguments(text, at + 1)[1]
    while text[at] != ";":
        if text[at] == "(":
            at = _arguments(text, at + 1)[1]
        elif text[at] == '"':
            at = re.compile(r'"(?:\\.|[^"\\])*"').match(text, at).end()
        else:
            at += 1
    return at + 1


def _follows(text, at, end, word):
    """The string of the first call of `word` that runs after what ends at `at`, before another
    err_set."""
    depth = 0
    while at < end:
        if text[at] == "}":
            depth -= 1
            at = _skip_else(text, at + 1)
            continue
        if text[at] == "{":
            depth += 1
        elif text[at] == '"':
            at = re.compile(r'"(?:\\.|[^"\\])*"').match(text, at).end()
            continue
        elif text[at] == ";":
            at = _skip_else(text, at + 1)
            continue
        else:
            call = CALL.match(text, at)
            if call is not None and not text[at - 1].isalnum() and text[at - 1] != "_":
                arguments, after = _arguments(text, call.end())
                if call[1] == "err_set" and depth <= 0:
                    return ""
                if call[1] == word:
                    return _string(arguments[1])
                at = after
                continue
            if depth <= 0 and re.compile(r"(?:return;|break;|continue;)").match(text, at):
                return ""
        at += 1
    return ""


def _defined(name):
    """What a header of the proxy defines a name as."""
    define = re.compile(rf'^#define {re.escape(name)} "(\w{{5}})"', re.MULTILINE)
    return [found[1] for path in (ROOT / "src/proxy").glob("*.h")
            for found in define.finditer(path.read_text(encoding="ascii"))]


def refusals_of(path, source):
    text = _blank(source)
    for begin, end in _functions(text):
        for call in CALL.finditer(text, begin, end):
            if call[1] != "err_set":
                continue
            arguments, after = _arguments(text, call.end())
            if len(arguments) < 4:
                continue
            message = _string(arguments[3])
            if not FORMAT.sub("", message).strip(' "'):
                continue  # somebody else's words
            sqlstate = re.findall(r'"(\w{5})"', arguments[2]) or _defined(arguments[2])
            after = text.index(";", after)
            yield Refusal(path, text.count("\n", 0, call.start()) + 1,
                          "/".join(sqlstate) or "?????", message,
                          _follows(text, after, end, "err_detail"),
                          _follows(text, after, end, "err_hint"))


def read_list(root):
    """(files, entries) of REFUSALS."""
    files, entries = [], []
    for number, line in enumerate((root / LIST).read_text(encoding="ascii").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("told "):
            continue
        if line.startswith("file "):
            files.append(line.split()[1])
            continue
        parts = [part.strip() for part in line.split(" | ")]
        entries.append(Entry(number, *parts) if len(parts) == 4
                       else Entry(number, "", line, "", ""))
    return files, entries


def hints_by_code(root):
    """What refusals.c says of an SQLSTATE whose refusals have no hint of their own."""
    text = _blank((root / "src/proxy/refusals.c").read_text(encoding="ascii"))
    found = {}
    for row in re.finditer(r'\{"(\w{5})",', text):
        arguments, _ = _arguments(text, row.start() + 1)
        found[arguments[0].strip('"')] = _string(arguments[1])
    return found


def refusals(root):
    files, entries = read_list(root)
    found = [one for path in files
             for one in refusals_of(path, (root / path).read_text(encoding="ascii"))]
    return found, entries


def words_of(message):
    """The longest piece of a message that does not vary."""
    return max(FORMAT.split(message), key=len).strip()


def problems(root=ROOT):
    """What the list and the sources do not agree about."""
    found, entries = refusals(root)
    hints = hints_by_code(root)
    known = {(entry.sqlstate, entry.message): entry for entry in entries}
    listed = set(read_list(root)[0])
    for path in sorted((root / "src/proxy").glob("*.c")):
        name = str(path.relative_to(root))
        if name not in listed and f"told {name}" not in told_elsewhere(root) and \
                "err_set(" in path.read_text(encoding="ascii"):
            yield f"{name}:1: is neither a `file` nor `told` to operators in {LIST}"
    for one in found:
        key = (one.sqlstate, shown(one.message))
        if key not in known:
            yield (f"{one.path}:{one.line}: this refusal is not in {LIST}: add "
                   f"`{key[0]} | {key[1]} | when it comes | file of the test that reaches it`")
        is_told = known.get(key, NOBODY).test != "log"
        if is_told and not one.hint and one.sqlstate not in hints:
            yield (f"{one.path}:{one.line}: has no HINT: add err_hint(), or a row for "
                   f"{one.sqlstate} in src/proxy/refusals.c")
    said = {(one.sqlstate, shown(one.message)) for one in found}
    for entry in entries:
        if (entry.sqlstate, entry.message) not in said:
            yield f"{LIST}:{entry.line}: nothing in the sources says this: {entry.message}"
    for one in found:
        entry = known.get((one.sqlstate, shown(one.message)))
        if entry is None:
            continue
        if entry.test.startswith("not reached: ") or entry.test == "log":
            continue
        name, _, words = entry.test.partition(": ")
        words = words or words_of(one.message)
        if not one.path.startswith("src/proxy/"):
            words = ""  # that every branch of these is reached is the affair of tools/coverage.py
        test = root / name
        if words not in one.message:
            yield f"{LIST}:{entry.line}: \"{words}\" are no words of the message"
        elif not test.is_file():
            yield f"{LIST}:{entry.line}: there is no test {name}"
        elif words not in _joined(test.read_text(encoding="utf-8")):
            yield f"{LIST}:{entry.line}: {name} does not look for \"{words}\""


def _joined(text):
    """Strings that go on in the next line as one, and without the marks of C and Python."""
    text = re.sub(r'"\s*\n?\s*"', "", text)
    return text.replace('\\"', '"')


def told_elsewhere(root):
    """Lines of files whose errors are for who starts or reloads the proxy, and not for clients."""
    return [line.strip() for line in (root / LIST).read_text(encoding="ascii").splitlines()
            if line.startswith("told ")]


def _cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


def page(root=ROOT):
    found, entries = refusals(root)
    hints = hints_by_code(root)
    known = {(entry.sqlstate, entry.message): entry for entry in entries}
    lines = ["# Errors of the proxy", "",
             "Made by `tools/refusals.py` from the sources and `src/proxy/REFUSALS`. `...` stands",
             "for what varies.", "",
             "Every refusal has a SQLSTATE, which programs may rely on, a message, a DETAIL with",
             "the numbers, and a HINT that says what to do. Where the DETAIL column is empty it",
             "names the client: its address, its number in `SHOW CLIENTS`, and since when it is",
             "connected. What a server says itself is passed on as it is.", ""]
    done = set()
    for sqlstate in sorted({one.sqlstate for one in found}):
        lines += [f"## {sqlstate}", "", "| message | DETAIL | HINT | when |", "|---|---|---|---|"]
        for one in sorted(found, key=lambda one: shown(one.message)):
            key = (one.sqlstate, shown(one.message))
            if one.sqlstate != sqlstate or key in done or known.get(key, NOBODY).test == "log":
                continue
            done.add(key)
            hint = shown(one.hint) or hints.get(sqlstate, "")
            when = known[key].when if key in known else ""
            lines.append(f"| {_cell(key[1])} | {_cell(shown(one.detail))} | {_cell(hint)} | "
                         f"{_cell(when)} |")
        lines.append("")
    return "\n".join(lines)


def main():
    if sys.argv[1:] == ["--write"]:
        (ROOT / PAGE).write_text(page(), encoding="ascii")
    found = list(problems())
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
