"""The programs of docs/guide/library.md do what the guide shows."""

import re
import subprocess

import pytest
from library_rig import ROOT, build_folder, conninfo, run

GUIDE = ROOT / "docs/guide/library.md"
BLOCK = re.compile(r"^```c\n(.*?)^```\n(?:\s*^```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def programs():
    """[(source, what it prints)]"""
    return BLOCK.findall(GUIDE.read_text())


def test_the_guide_has_programs_and_shows_what_each_prints():
    assert len(programs()) >= 4
    assert all(printed for _, printed in programs())


@pytest.mark.parametrize("number", range(len(programs())))
def test_a_program_of_the_guide_prints_what_it_shows(number, postgres, tmp_path):
    source, printed = programs()[number]
    (tmp_path / "guide.c").write_text(source)
    folder = build_folder() / "include"
    subprocess.run(["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", tmp_path / "guide.c",
                    "-I", ROOT / "include", "-L", folder, "-lholdfast", f"-Wl,-rpath,{folder}",
                    "-o", tmp_path / "guide"], check=True)
    assert run(tmp_path / "guide", conninfo(postgres)) == printed


def test_what_the_guide_lets_a_role_do_is_what_the_library_asks_for():
    header = (ROOT / "src/core/commit.h").read_text()
    macro = re.search(r"#define COMMIT_SETUP_SQL(.*?)\n\n", header, re.DOTALL)[1]
    wanted = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', macro))
    shown = re.search(r"^```sql\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)[1]
    assert "".join(wanted.split()) + ";" in "".join(shown.split())
