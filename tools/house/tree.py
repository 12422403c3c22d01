"""What the rules look at: the files of a tree, its layers, and C code as far as a rule needs it."""

import os
import re
from pathlib import Path

SKIPPED_FOLDERS = re.compile(r"^(build.*|\..+|node_modules|__pycache__)$")
KEPT_FOLDERS = {".ci"}
KINDS = ("pure", "platform", "driver", "face")

LITERALS = re.compile(
    r"(?P<comment>//[^\n]*|/\*.*?\*/)"
    r"|(?P<text>\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')",
    re.DOTALL,
)
INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*([<\"])([^>\"]+)[>\"]", re.MULTILINE)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", re.MULTILINE)


class Grant:
    """A `file` line of src/LAYERS: what one file of a pure folder may use besides."""

    def __init__(self, line, symbols, headers):
        self.line = line
        self.symbols = symbols
        self.headers = headers


class Layer:
    """A `folder` line of src/LAYERS."""

    def __init__(self, line, name, kind, includes, symbols, headers):
        self.line = line
        self.name = name
        self.kind = kind
        self.includes = includes
        self.symbols = set(symbols)
        self.headers = set(headers)
        self.grants = {}

    def symbols_of(self, path):
        grant = self.grants.get(path)
        return self.symbols | grant.symbols if grant else self.symbols

    def headers_of(self, path):
        grant = self.grants.get(path)
        return self.headers | grant.headers if grant else self.headers

    @property
    def is_pure(self):
        return self.kind == "pure"


class Function:
    """A function's definition: where its head starts and its closing brace stands."""

    def __init__(self, name, first_line, last_line):
        self.name = name
        self.first_line = first_line
        self.last_line = last_line

    @property
    def lines(self):
        return self.last_line - self.first_line + 1


def _blank(text):
    """Spaces in place of everything but line ends, so that places stay where they were."""
    return re.sub(r"[^\n]", " ", text)


def without_comments(text):
    return LITERALS.sub(lambda m: _blank(m[0]) if m["comment"] else m[0], text)


def without_literals(text):
    """Neither comments nor the insides of strings: what a rule about code may search."""
    return LITERALS.sub(lambda m: _blank(m[0]) if m["comment"] else m[0][0] + _blank(m[0][1:-1])
                        + m[0][-1], text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def _function_name(head):
    """The name in the text before a brace that opens at the outermost level, or None when that
    brace opens a struct, an enum or an initialiser."""
    depth = 0
    name = None
    for match in re.finditer(r"[A-Za-z_]\w*(?=\s*\()|[()=]", head):
        word = match[0]
        if word == "(":
            depth += 1
        elif word == ")":
            depth -= 1
        elif word == "=" and depth == 0:
            return None
        elif word not in ("=", "__attribute__", "_Alignas") and depth == 0:
            name = word
    return name


def functions(text):
    """All function definitions of a C text, in order. Reads braces, so the branches of an #if must
    each be balanced; raises ValueError where they are not."""
    code = DIRECTIVE.sub(lambda m: _blank(m[0]), without_literals(text))
    found = []
    depth, head_start, open_function = 0, 0, None
    for match in re.finditer(r"[{};]", code):
        at, mark = match.start(), match[0]
        if mark == "{":
            if depth == 0:
                head = code[head_start:at]
                name = _function_name(head)
                first = head_start + len(head) - len(head.lstrip())
                open_function = (name, line_of(code, first)) if name else None
            depth += 1
        elif mark == "}":
            depth -= 1
            if depth < 0:
                raise ValueError(f"line {line_of(code, at)}: a brace closes what none opened")
            if depth == 0 and open_function:
                found.append(Function(*open_function, line_of(code, at)))
                open_function = None
                head_start = at + 1
        if mark == ";" and depth == 0:
            head_start = at + 1
    if depth != 0:
        raise ValueError("a brace is never closed")
    return found


def read_layers(text):
    """The layers in their order. Raises ValueError that names the line."""
    words, layers = {}, {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        kind, _, rest = line.partition(" ")
        if kind == "words":
            name, equals, members = rest.partition("=")
            if not equals:
                raise ValueError(f"line {number}: expected `words NAME = ...`")
            words[name.strip()] = members.split()
        elif kind == "folder":
            columns = [column.strip() for column in rest.split("|")]
            if len(columns) != 5 or columns[1] not in KINDS:
                raise ValueError(f"line {number}: expected `folder NAME | {'/'.join(KINDS)} | "
                                 "folders | symbols | headers`")
            members = [[member for word in column.split() for member in words.get(word, [word])]
                       for column in columns[3:]]
            layers[columns[0]] = Layer(number, *columns[:2], columns[2].split(), *members)
        elif kind == "file":
            path, symbols, headers = _read_file_line(number, rest)
            folder = path.split("/")[0]
            if folder not in layers or not layers[folder].is_pure:
                raise ValueError(f"line {number}: {path} is in no pure folder named above")
            layers[folder].grants[f"src/{path}"] = Grant(number, symbols, headers)
        else:
            raise ValueError(f"line {number}: neither `words` nor `folder` nor `file`")
    return layers


def _read_file_line(number, rest):
    columns = [column.strip() for column in rest.split("|")]
    if len(columns) != 3 or "/" not in columns[0]:
        raise ValueError(f"line {number}: expected `file FOLDER/FILE | symbols | headers`")
    return columns[0], set(columns[1].split()), set(columns[2].split())


class Tree:
    """A checked-out tree, and the build directory that the rules about objects look into."""

    def __init__(self, root, build=None):
        self.root = Path(root)
        self.build = Path(build) if build else None
        self.files = sorted(self._walk())
        self._texts = {}
        try:
            self.layers = read_layers(self.text("src/LAYERS"))
            self.layers_error = None
        except (OSError, ValueError) as error:
            self.layers = {}
            self.layers_error = str(error)

    def _walk(self):
        for folder, folders, names in os.walk(self.root):
            folders[:] = [name for name in folders
                          if name in KEPT_FOLDERS or not SKIPPED_FOLDERS.match(name)]
            for name in names:
                path = Path(folder, name)
                if not path.is_symlink():
                    yield path.relative_to(self.root).as_posix()

    def text(self, path):
        if path not in self._texts:
            data = (self.root / path).read_bytes()
            self._texts[path] = data.decode("utf-8", errors="replace")
        return self._texts[path]

    def code(self, path):
        return without_literals(self.text(path))

    def under(self, *folders, ends=(".c", ".h")):
        """The files below these folders whose names end so."""
        starts = tuple(folder + "/" for folder in folders)
        return [path for path in self.files if path.startswith(starts) and path.endswith(ends)]

    def sources(self, pure_only=False):
        """(layer, path) of each C file of a folder that src/LAYERS knows."""
        for path in self.under("src"):
            layer = self.layers.get(path.split("/")[1])
            if layer and (layer.is_pure or not pure_only):
                yield layer, path

    def includes(self, path):
        """(line, is_system, name) of each #include."""
        text = without_comments(self.text(path))
        for match in INCLUDE.finditer(text):
            yield line_of(text, match.start()), match[1] == "<", match[2]

    def line_with(self, path, word):
        """The first line of a file's code that has this word, or 1."""
        match = re.search(rf"\b{re.escape(word)}\b", self.code(path))
        return line_of(self.code(path), match.start()) if match else 1
