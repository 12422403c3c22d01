"""What the compiler made of the sources: symbols and sections of the objects of a build directory.

Includes say what a file could use; the objects say what it does use. They must come from a plain
release build: sanitizers and coverage add symbols and data of their own.
"""

import json
import re
import subprocess
from collections import namedtuple
from fnmatch import fnmatchcase
from os.path import normpath, relpath

Symbol = namedtuple("Symbol", "object kind name")

UNDEFINED = "Uwv"
LINKERS_OWN = "_GLOBAL_OFFSET_TABLE_"  # no function: position independent code finds its data by it
WRITABLE = re.compile(r"^\.(data|bss|tdata|tbss|ldata|lbss)\b(?!\.rel\.ro)")
SECTION = re.compile(r"^\s*\[\s*\d+\]\s+(\S+)\s+\S+\s+[0-9a-f]+\s+[0-9a-f]+\s+([0-9a-f]+)")

# Files outside cli/ that may hold writable data, each with the reason. The context is passed in
# everywhere else.
WRITABLE_ALLOWED = {
    "src/client/threads.c": "the calling thread's number, asked of the kernel once",
    "src/client/tx_stack.c": "hf_tx() within hf_tx() nests by thread, which no argument names",
}


def objects(tree):
    """{object: source} of everything the build makes, paths of sources relative to the tree. From
    the build's own list: a stale object of a source that nobody builds any more is not in it."""
    with open(tree.build / "compile_commands.json", encoding="utf-8") as file:
        commands = json.load(file)
    return {normpath(f"{command['directory']}/{command['output']}"):
            relpath(f"{command['directory']}/{command['file']}", tree.root)
            for command in commands}


def _in_house(tree):
    return {path: source for path, source in objects(tree).items() if _layer(tree, source)}


def _layer(tree, source):
    parts = source.split("/")
    return tree.layers.get(parts[1]) if parts[0] == "src" and len(parts) > 2 else None


def _symbols(paths):
    if not paths:
        return
    listing = subprocess.run(["nm", "-A", "-P", *paths], check=True, capture_output=True,
                             text=True).stdout
    for line in listing.splitlines():
        place, rest = line.split(": ", 1)
        name, kind = rest.split()[:2]
        yield Symbol(place, kind, name)


def every_source_is_built(tree):
    """The rules below see objects only, so a source that nobody builds would escape them."""
    built = set(_in_house(tree).values())
    for _, path in tree.sources():
        if path.endswith(".c") and path not in built:
            yield f"{path}:1: is part of no target: add it to meson.build, or remove it"


def symbols_of_pure_objects(tree):
    """A pure object refers to functions of its own and lower pure folders, and to those few of the
    C library that src/LAYERS lists: no clock, allocation, socket, thread or stream."""
    sources = {path: source for path, source in _in_house(tree).items()
               if _layer(tree, source).is_pure}
    symbols = list(_symbols(list(sources)))
    defined = {}
    for symbol in symbols:
        if symbol.kind not in UNDEFINED and symbol.kind.isupper():
            defined.setdefault(_layer(tree, sources[symbol.object]).name, set()).add(symbol.name)
    breaches = {}
    for symbol in symbols:
        source = sources[symbol.object]
        layer = _layer(tree, source)
        ours = any(symbol.name in defined.get(name, ()) for name in [layer.name, *layer.includes])
        allowed = any(fnmatchcase(symbol.name, pattern)
                      for pattern in layer.symbols_of(source))
        if symbol.kind in UNDEFINED and not (ours or allowed or symbol.name == LINKERS_OWN):
            plain = symbol.name.removeprefix("__").removesuffix("_chk")
            line = max(tree.line_with(source, symbol.name), tree.line_with(source, plain))
            breaches[f"{source}:{line}: {layer.name} is pure and may not use {symbol.name}"] = None
    yield from breaches


def no_writable_data(tree):
    """State lives in what the caller passes in. Sections are asked, not symbol letters: a table of
    pointers is constant and still not in .rodata."""
    for path, source in _in_house(tree).items():
        if _layer(tree, source).name == "cli" or source in WRITABLE_ALLOWED:
            continue
        listing = subprocess.run(["readelf", "-SW", path], check=True, capture_output=True,
                                 text=True).stdout
        for line in listing.splitlines():
            match = SECTION.match(line)
            if match and WRITABLE.match(match[1]) and int(match[2], 16) > 0:
                name, place = _first_variable(tree, path, source)
                yield f"{source}:{place}: {int(match[2], 16)} bytes of writable data{name}"
    for source in sorted(set(WRITABLE_ALLOWED) - set(tree.files)):
        yield f"{source}:1: has an exception in tools/house/rules_objects.py but does not exist"


def _first_variable(tree, path, source):
    for symbol in _symbols([path]):
        if symbol.kind in "bBdDC":
            name = symbol.name.split(".")[0]
            return f" ({name})", tree.line_with(source, name)
    return "", 1


def what_is_exported_is_used(tree):
    """A function that no other file calls is static, or dead. Data is never exported: a function
    gives it out."""
    sources = _in_house(tree)
    symbols = list(_symbols(list(objects(tree))))
    used = {symbol.name for symbol in symbols if symbol.kind in UNDEFINED}
    breaches = {}
    for symbol in symbols:
        source = sources.get(symbol.object)
        if source is None or not symbol.kind.isupper() or symbol.kind in UNDEFINED:
            continue
        if symbol.name.startswith("DW.ref."):  # the compiler's, of objects that unwind
            continue
        place = f"{source}:{tree.line_with(source, symbol.name)}"
        if symbol.kind != "T":
            breaches[f"{place}: {symbol.name} is data that other files can see"] = None
        elif symbol.name not in used and symbol.name != "main":
            breaches[f"{place}: {symbol.name} is used by no other file: static, or dead"] = None
    yield from breaches
