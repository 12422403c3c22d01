"""Each header is complete: a file that includes nothing else compiles without a word."""

import subprocess
from concurrent.futures import ThreadPoolExecutor

COMPILERS = ("gcc", "clang")
OPTIONS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-Isrc",
           "-Iinclude", "-x", "c", "-"]


def _libraries():
    """Where the headers of libpq lie, which is no standard place."""
    found = subprocess.run(["pkg-config", "--cflags", "libpq"], capture_output=True, text=True)
    return found.stdout.split()


def _compile(tree, compiler, path):
    name = path.split("/", 1)[1]
    layer = tree.layers.get(path.split("/")[1]) if path.startswith("src/") else None
    extensions = [] if layer and layer.is_pure else ["-D_GNU_SOURCE", *_libraries()]
    # Twice, so that a header without a guard is noticed too. The typedef keeps the unit from being
    # empty, which -Wpedantic would call a fault.
    unit = f'#include "{name}"\n#include "{name}"\ntypedef int unit_is_not_empty;\n'
    result = subprocess.run([compiler, *extensions, *OPTIONS], input=unit, cwd=tree.root,
                            capture_output=True, text=True)
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if "error" in line]
        return f"{path}:1: does not compile alone with {compiler}: {(lines or ['?'])[0].strip()}"
    return None


def headers_compile_alone(tree):
    headers = tree.under("src", "include", ends=".h")
    jobs = [(tree, compiler, path) for path in headers for compiler in COMPILERS]
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield from filter(None, pool.map(lambda job: _compile(*job), jobs))
