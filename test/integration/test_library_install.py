"""The library as it is installed: its symbols, its header in C and C++, pkg-config."""

import platform
import re
import subprocess
import sys

import pytest
from library_rig import ROOT, build_folder, conninfo, run

sys.path.insert(0, str(ROOT / "tools"))

import library_symbols  # noqa: E402

HEADER = ROOT / "include/holdfast.h"
LAYOUT = ROOT / "test/integration/library_layout.txt"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A prefix with nothing in it but what is installed."""
    folder = tmp_path_factory.mktemp("prefix")
    subprocess.run(["meson", "install", "-C", build_folder(), "--no-rebuild", "--quiet",
                    "--destdir", folder], check=True, capture_output=True)
    return folder


def pkg_config(prefix, *options):
    """As on a machine whose root this prefix is."""
    found = next(prefix.rglob("holdfast.pc"))
    done = subprocess.run(["pkgconf", *options, "holdfast"], check=True, text=True,
                          capture_output=True,
                          env={"PKG_CONFIG_PATH": f"{found.parent}:/usr/lib/x86_64-linux-gnu/"
                               "pkgconfig", "PATH": "/usr/bin:/bin",
                               "PKG_CONFIG_SYSROOT_DIR": str(prefix)})
    return done.stdout.split()


def test_the_library_exports_what_the_header_declares_and_nothing_else():
    wrong = subprocess.run([sys.executable, ROOT / "tools/library_symbols.py", "--library",
                            build_folder() / "include/libholdfast.so.1"],
                           capture_output=True, text=True)
    assert wrong.returncode == 0, wrong.stdout


def test_the_record_notices_what_is_missing_and_what_is_new():
    text = "HF_API int hf_one(void);\nHF_API const char *hf_two(int a,\n    int b);\n/* hf_no( */\n"
    assert library_symbols.declared(text) == ["hf_one", "hf_two"]
    record = library_symbols.map_of(["hf_one", "hf_old"])
    assert library_symbols.recorded(record) == ["hf_old", "hf_one"]
    found = library_symbols.differences(["hf_one", "hf_two"], ["hf_old", "hf_one"], "header",
                                        "record")
    assert len(list(found)) == 2


def test_the_static_library_has_no_other_names_either(installed):
    archive = next(installed.rglob("libholdfast.a"))
    done = subprocess.run(["nm", "-g", "--defined-only", archive], capture_output=True, text=True,
                          check=True)
    names = sorted(line.split()[-1] for line in done.stdout.splitlines() if " " in line)
    assert names == library_symbols.declared(HEADER.read_text())


def layout(folder):
    """A line for each struct that programs allocate: its name and its size."""
    names = re.findall(r"^struct (hf_\w+) \{", HEADER.read_text(), re.MULTILINE)
    lines = "".join(f'printf("{name} %zu\\n", sizeof(struct {name}));' for name in names)
    (folder / "layout.c").write_text(f"#include <holdfast.h>\n#include <stdio.h>\n"
                                     f"int main(void) {{ {lines} return 0; }}\n")
    subprocess.run(["gcc", "-I", HEADER.parent, folder / "layout.c", "-o", folder / "layout"],
                   check=True)
    return run(folder / "layout")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the record is of x86_64")
def test_no_struct_has_changed_its_size(tmp_path):
    """New fields come out of `reserved`: a program and the library it meets must agree."""
    assert layout(tmp_path) == LAYOUT.read_text(), f"if this is meant to be, record it in {LAYOUT}"


@pytest.mark.parametrize("compiler, standard, language", [
    ("gcc", "c11", "c"), ("gcc", "c17", "c"), ("clang", "c11", "c"), ("clang", "c2x", "c"),
    ("g++", "c++11", "c++"), ("g++", "c++20", "c++"), ("clang++", "c++11", "c++"),
    ("clang++", "c++20", "c++")])
def test_the_header_stands_alone(compiler, standard, language):
    subprocess.run([compiler, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                    "-Wno-pragma-once-outside-header", "-fsyntax-only", "-x", language, HEADER],
                   check=True)


@pytest.mark.parametrize("kind", ["shared", "static"])
def test_a_program_is_built_by_pkg_config_alone(installed, kind, tmp_path, postgres):
    flags = pkg_config(installed, "--cflags", "--libs", *(["--static"] if kind == "static" else []))
    if kind == "static":
        flags = ["-l:libholdfast.a" if flag == "-lholdfast" else flag for flag in flags]
    subprocess.run(["gcc", "-std=c11", ROOT / "examples/quickstart.c", *flags, "-o",
                    tmp_path / "quickstart"], check=True)
    found = next(installed.rglob("libholdfast.so.1")).parent
    out = run(tmp_path / "quickstart", conninfo(postgres), env={"LD_LIBRARY_PATH": str(found)}
              if kind == "shared" else {})
    assert out.endswith("3 squared is 9\n")
    needed = subprocess.run(["ldd", tmp_path / "quickstart"], capture_output=True, text=True)
    assert ("libholdfast" in needed.stdout) == (kind == "shared")


def test_null_is_told_and_kills_nobody(tmp_path):
    folder = build_folder() / "include"
    subprocess.run(["gcc", "-std=c11", "-Wall", ROOT / "test/integration/library_nulls.c", "-I",
                    HEADER.parent, "-L", folder, "-lholdfast", f"-Wl,-rpath,{folder}", "-o",
                    tmp_path / "nulls"], check=True)
    run(tmp_path / "nulls")


def test_man_pages_are_installed(installed):
    assert {path.name.removesuffix(".gz") for path in installed.rglob("hf_*.3*")} == \
        {path.name for path in (ROOT / "docs/man").glob("hf_*.3")}


def test_only_what_belongs_there_is_installed(installed):
    headers = [path.name for path in installed.rglob("*.h")]
    assert headers == ["holdfast.h"]
