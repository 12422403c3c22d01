#!/usr/bin/python3
"""Makes the reference and the man pages of libholdfast from the comments of its header.

    tools/api_docs.py            writes docs/reference/library-api.md and docs/man/*.3
    tools/api_docs.py --check    writes nothing; says what would change, and fails if anything would

include/holdfast.h is a row of sections, each under a heading between two lines of dashes. In a
section stand items: comments with the declarations that follow them, up to the next comment on a
line of its own or the next empty line. That is all this program knows of C: a declaration is
shown as it stands.
"""

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = ROOT / "include/holdfast.h"
REFERENCE = ROOT / "docs/reference/library-api.md"
MAN = ROOT / "docs/man"

# Which page a section becomes, and what its NAME line says.
PAGES = {
    "Errors": ("hf_error", "how calls of libholdfast fail"),
    "Opening": ("hf_open", "open and close a database, and its options"),
    "Statements": ("hf_query", "run a statement and read its rows"),
    "Transactions": ("hf_tx", "run work in a transaction"),
    "COPY and pipelines": ("hf_copy_start",
                           "COPY both ways, and many statements in one round trip"),
    "Sessions, cancelling, connections on loan":
        ("hf_session_new", "sessions, tokens, cancelling, and connections on loan"),
    "Asynchronous": ("hf_loop_new", "statements and transactions in the caller's own loop"),
    "Guarding anything": ("hf_guard_run", "breaker, bulkhead, retry and fallback for any function"),
    "Degrading with grace": ("hf_level", "levels of degradation, fallbacks, cached results"),
    "Seeing": ("hf_stats", "statistics, metrics, servers; and orders by hand"),
}
OVERVIEW = ("holdfast", "PostgreSQL for programs that must go on while their PostgreSQL does not")
MADE = "made from include/holdfast.h by tools/api_docs.py"
RULE = re.compile(r"^/\* -{20,}\n \* (.*?)\n((?: \*(?! -).*\n)*) \* -{20,} \*/\n", re.MULTILINE)
FUNCTION = re.compile(r"\b(hf_\w+)\(")
COMMENT = re.compile(r"\s*/\*\s?(.*?)\s*\*/\s*\Z", re.DOTALL)


@dataclass
class Item:
    prose: str  # the comment, its stars gone
    code: str   # the declarations, as they stand

    @property
    def names(self):
        """What is declared here, in the order in which it stands."""
        found = []
        plain = re.sub(r"/\*.*?\*/", "", self.code, flags=re.DOTALL)
        for line in plain.splitlines():
            kind = re.match(r"(?:typedef \S+ |HF_API [^(]*?\*?|#define )?(?:(struct|enum) )?"
                            r"(\w+)(\(| \{|;)?", line)
            if kind and line.startswith(("struct", "enum")) and kind[3] in (" {", ";"):
                found.append(f"{kind[1]} {kind[2]}")
            elif line.startswith("#define") and kind:
                found.append(re.match(r"#define (\w+)", line)[1])
            elif line.startswith(("HF_API", "typedef")):
                match = FUNCTION.search(line)
                if match:
                    found.append(match[1] + ("()" if line.startswith("HF_API") else ""))
        return found


@dataclass
class Section:
    title: str
    prose: str
    items: list

    @property
    def functions(self):
        return [name[:-2] for item in self.items for name in item.names if name.endswith("()")]


def unstar(comment):
    """The words of a comment."""
    match = COMMENT.match(comment)
    lines = [re.sub(r"^ ?\* ?", "", line) for line in match[1].split("\n")]
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def blocks_of(text):
    """Pieces between empty lines that stand outside of comments and braces."""
    block, depth, in_comment = [], 0, False
    for line in text.split("\n"):
        if not line.strip() and depth == 0 and not in_comment:
            if block:
                yield block
            block = []
            continue
        block.append(line)
        for mark in re.findall(r"/\*|\*/|[{}]", line):
            if mark in ("/*", "*/"):
                in_comment = mark == "/*"
            elif not in_comment:
                depth += 1 if mark == "{" else -1
    if block:
        yield block


def items_of(text):
    for block in blocks_of(text):
        prose, code = [], []
        lines = iter(block)
        for line in lines:
            if not line.startswith("/*"):
                code.append(line)
                continue
            if code:
                yield Item("\n".join(prose), "\n".join(code))
                prose, code = [], []
            comment = [line]
            while "*/" not in comment[-1]:
                comment.append(next(lines))
            prose.append(unstar("\n".join(comment)))
        item = Item("\n".join(prose), "\n".join(code))
        if item.prose or item.names:
            yield item


def parse(text):
    """(overview, sections)"""
    overview = unstar(text[:text.index("*/") + 2])
    end = text.rindex("#ifdef __cplusplus")
    marks = list(RULE.finditer(text))
    sections = []
    for mark, following in zip(marks, [*marks[1:], None]):
        body = text[mark.end():following.start() if following else end]
        title, _, more = mark[1].partition(":")
        words = [re.sub(r"^ \* ?", "", line) for line in mark[2].split("\n")]
        prose = (more.strip() + "\n" if more else "") + "\n".join(words).strip("\n")
        sections.append(split_title(title, prose.strip("\n"), list(items_of(body))))
    # What is declared before the first heading has no section of its own.
    before = text[text.index("*/") + 2:marks[0].start()]
    sections[0].items[:0] = [item for item in items_of(before)
                             if any(name.endswith("()") for name in item.names)]
    return overview, sections


def split_title(title, prose, items):
    """The title up to the colon; what followed it begins the prose."""
    return Section(title, prose[:1].upper() + prose[1:] if prose else "", items)


def paragraphs(prose):
    """(is_verbatim, text): a paragraph that begins indented is shown as it is, others flow."""
    for part in re.split(r"\n\s*\n", prose):
        lines = part.strip("\n").split("\n")
        if lines[0].startswith("    "):
            yield True, "\n".join(line[4:] for line in lines)
        else:
            yield False, "\n".join(line.strip() for line in lines)


def split_rules(text):
    """Numbered rules, each a paragraph of its own."""
    return re.split(r"\n(?=\d+\. )", text)


def markdown_prose(prose):
    out = []
    for is_verbatim, text in paragraphs(prose):
        if is_verbatim:
            out.append(f"```text\n{text}\n```")
        else:
            out += [escape_markdown(part) for part in split_rules(text)]
    return "\n\n".join(out)


def escape_markdown(text):
    """Names and code between backticks stay; stars and angle brackets would mean something."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*<>])", r"\\\1", part)
                   for part in parts)


def heading(item):
    return ", ".join(item.names[:4]) + (" ..." if len(item.names) > 4 else "")


def shown(item):
    """Its code without the mark of what is exported, with the lines after it moved along, and
    without what only compilers need to see."""
    code = re.sub(r"^#(?:if|else|endif).*\n?", "", item.code, flags=re.MULTILINE).rstrip()
    if "HF_API " not in code:
        return code
    mark = "HF_API "
    return re.sub(rf"^ {{{len(mark)}}}(?= {{4}})", "", code.replace(mark, ""), flags=re.MULTILINE)


def reference(overview, sections):
    out = ["# libholdfast: reference", f"<!-- {MADE}: change the header, not this -->",
           "The [guide](../guide/library.md) is the place to begin; this is what the header says.",
           markdown_prose(overview)]
    for section in sections:
        out.append(f"## {section.title}")
        if section.prose:
            out.append(markdown_prose(section.prose))
        for item in section.items:
            if item.names:
                out.append("### " + heading(item))
            if item.prose:
                out.append(markdown_prose(item.prose))
            if item.code:
                out.append(f"```text\n{shown(item)}\n```")
    return "\n\n".join(out) + "\n"


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(("\\&" + line if line.startswith((".", "'")) else line)
                     for line in text.split("\n"))


def roff_prose(prose):
    out = []
    for is_verbatim, text in paragraphs(prose):
        if is_verbatim:
            out.append(f".PP\n.nf\n.RS 4\n{roff(text)}\n.RE\n.fi")
        else:
            out += [f".PP\n{roff(part)}" for part in split_rules(text)]
    return "\n".join(out)


def man_head(name, about, names):
    listed = ", ".join(names)
    return (f'.\\" {MADE}\n.TH {name.upper()} 3 "" "libholdfast" "Library Functions"\n'
            f".SH NAME\n{listed} \\- {roff(about)}\n.SH SYNOPSIS\n.nf\n"
            f"#include <holdfast.h>\n.PP\ncc ... $(pkg\\-config \\-\\-cflags \\-\\-libs holdfast)\n"
            ".fi\n")


def man_page(section):
    name, about = PAGES[section.title]
    names = [name] + [one for one in section.functions if one != name]
    out = [man_head(name, about, names) + ".SH DESCRIPTION"]
    if section.prose:
        out.append(roff_prose(section.prose))
    for item in section.items:
        if item.names:
            out.append(".SS " + roff(heading(item)))
        if item.prose:
            out.append(roff_prose(item.prose))
        if item.code:
            out.append(f".PP\n.nf\n{roff(shown(item))}\n.fi")
    return "\n".join(out) + "\n" + see_also(name)


def see_also(name):
    others = [OVERVIEW[0], *(page for page, _ in PAGES.values())]
    return (".SH SEE ALSO\n" + ",\n".join(f".BR {other} (3)" for other in others if other != name)
            .replace(",\n", " ,\n") + "\n")


def man_overview(overview):
    name, about = OVERVIEW
    first, _, rest = overview.partition("\n")
    return (man_head(name, about, [name]) + ".SH DESCRIPTION\n" + roff(first) + "\n"
            + roff_prose(rest) + "\n" + see_also(name))


def made():
    """{path: text} of everything."""
    overview, sections = parse(HEADER.read_text(encoding="ascii"))
    unknown = [section.title for section in sections if section.title not in PAGES]
    if unknown:
        sys.exit(f"api_docs: no page for the section {unknown[0]!r}: add it to PAGES")
    files = {REFERENCE: reference(overview, sections),
             MAN / f"{OVERVIEW[0]}.3": man_overview(overview)}
    for section in sections:
        files[MAN / f"{PAGES[section.title][0]}.3"] = man_page(section)
    return files


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    stale = [path for path, text in made().items()
             if not path.exists() or path.read_text(encoding="ascii") != text]
    if options.check:
        for path in stale:
            print(f"{path.relative_to(ROOT)}:1: is not what include/holdfast.h says: "
                  "run tools/api_docs.py")
        sys.exit(1 if stale else 0)
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made()[path], encoding="ascii")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
