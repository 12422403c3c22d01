"""holdfast itself: help, versions, mistakes, and the manual page made from the same rows."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def call(holdfast, *arguments, **more):
    return subprocess.run([holdfast, *arguments], capture_output=True, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, check=False, **more)


def subcommands(holdfast):
    listed = re.findall(r"^  (\w+)  +\w", call(holdfast, "--help").stdout, re.MULTILINE)
    assert "demo" in listed and "help" in listed
    return listed


def test_help_is_on_stdout_and_every_subcommand_in_it_exists(holdfast):
    done = call(holdfast, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert "keeps applications working while their PostgreSQL is not" in done.stdout
    for name in subcommands(holdfast):
        texts = {call(holdfast, *words).stdout
                 for words in ([name, "--help"], [name, "-h"], ["help", name],
                               [name, "--no-such-option", "--help"])}
        assert len(texts) == 1
        assert texts.pop().startswith(f"Usage: holdfast {name}")


def test_lines_of_help_fit_a_terminal(holdfast):
    for words in (["--help"], *(["help", name] for name in subcommands(holdfast))):
        for line in call(holdfast, *words).stdout.splitlines():
            assert len(line) <= 84, line


def test_without_arguments_it_helps_and_says_that_it_was_called_wrongly(holdfast):
    done = call(holdfast)
    assert done.returncode == 2
    assert done.stdout == call(holdfast, "--help").stdout


def test_version(holdfast):
    done = call(holdfast, "--version")
    version = (ROOT / "VERSION").read_text().strip()
    assert done.returncode == 0
    assert re.fullmatch(rf"holdfast {re.escape(version)} \((\w+(-dirty)?, )?(gcc|clang) [\d.]+, "
                        r"libpq [\d.]+\)\n", done.stdout)
    assert call(holdfast, "-V").stdout == done.stdout


def test_a_tree_without_git_has_no_commit(tmp_path):
    # An unpacked release, or a machine without git: `git describe` fails, as it does here.
    env = {**os.environ, "GIT_DIR": str(tmp_path / "nowhere")}
    probe = tmp_path / "probe.c"
    probe.write_text('#include <stdio.h>\n#include "cli/version.h"\n'
                     'int main(void) { printf("(%s)", version_commit()); }\n')
    for command in (["meson", "setup", tmp_path / "build", ROOT],
                    ["ninja", "-C", tmp_path / "build", "src/cli/version.c"],
                    ["cc", "-DHF_VERSION=\"\"", f"-I{ROOT / 'src'}", probe,
                     tmp_path / "build/src/cli/version.c", "-o", tmp_path / "probe"],
                    [tmp_path / "probe"]):
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "()"


@pytest.mark.parametrize(("arguments", "message", "advice"), [
    (["dmo"], 'unknown subcommand "dmo"', 'Did you mean "demo"?'),
    (["hepl"], 'unknown subcommand "hepl"', 'Did you mean "help"?'),
    (["prxy"], 'unknown subcommand "prxy"', 'Did you mean "proxy"?'),
    (["xyzzy"], 'unknown subcommand "xyzzy"', "holdfast --help lists them."),
    (["help", "dmo"], 'unknown subcommand "dmo"', 'Did you mean "demo"?'),
    (["--demo"], 'unknown option "--demo"', "Options stand behind a subcommand"),
    (["demo", "--frsh"], 'unknown option "--frsh"', 'Did you mean "--fresh"?'),
    (["demo", "--port_bse=1"], 'unknown option "--port_bse"', 'Did you mean "--port-base"?'),
    (["demo", "--xyzzy"], 'unknown option "--xyzzy"', "--help lists the options."),
    (["demo", "-f"], 'unknown option "-f"', "Options have two dashes"),
    (["demo", "--port-base"], "--port-base needs a value", "Write --port-base N."),
    (["demo", "--port-base", "99"], "--port-base: 99 is too small", "from 1024 to 32767"),
    (["demo", "--port-base=many"], "--port-base: ", ""),
    (["demo", "--replicas", "9"], "--replicas: 9 is too large", "from 0 to 8"),
    (["demo", "--restart", "10"], "--restart: ", "5s"),
    (["demo", "--fresh=perhaps"], "--fresh: ", ""),
    (["demo", "elsewhere"], '"elsewhere" is no connection string', "postgresql://"),
    (["demo", "a=b", "c=d"], "there is more than one URL", "quote"),
    (["demo", "--fresh", "postgresql://h/d"], "--fresh is for servers that the demo starts", "URL"),
    (["help", "demo", "demo"], "there is more than one SUBCOMMAND", ""),
    (["config"], "config needs to know what to do", "config check FILE"),
    (["config", "exmple"], 'config cannot "exmple"', "config check FILE"),
    (["config", "check", "a", "b"], "there is more than one operand", "quote"),
])
def test_mistakes_are_named_with_advice(holdfast, arguments, message, advice):
    done = call(holdfast, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0].startswith(f"holdfast: {message}")
    assert advice in "\n".join(lines[1:])
    assert all(line.startswith(" " * 10) for line in lines[1:])


INI = "[databases]\napp = host=db1\n"


@pytest.mark.parametrize("arguments, message", [
    (["config", "check", "pipe"], 'cannot read "pipe": it is a pipe'),
    (["import", "pipe"], 'cannot read "pipe": it is a pipe'),
    (["import", "--output=pipe", "bouncer.ini"], 'cannot write "pipe": it is no plain file'),
    (["import", "--output=link", "bouncer.ini"], 'cannot write "link": it is no plain file'),
    (["import", "--output=bouncer.ini", "bouncer.ini"], '"bouncer.ini" is read, and cannot be'),
    (["import", "--output=folder", "bouncer.ini"], 'could not write "folder": it is a directory'),
    (["import", "many.ini"], "many.ini:8194: there are too many settings"),
])
def test_files_that_are_none_are_neither_read_nor_replaced(holdfast, tmp_path, arguments, message):
    """A pipe was an empty file once, and --output took the place of a device."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("bouncer.ini")
    (tmp_path / "bouncer.ini").write_text(INI)
    (tmp_path / "many.ini").write_text("[databases]\n" + "a = host=b\n" * 8200)
    done = subprocess.run([holdfast, *arguments], capture_output=True, text=True, timeout=120,
                          cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert (tmp_path / "bouncer.ini").read_text() == INI
    assert (tmp_path / "link").is_symlink() and (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("arguments", [
    ["help", "--man"], ["--version"], ["config", "library"], ["config", "reference"],
    ["import", "bouncer.ini"], ["explain", "SELECT 1"],
])
def test_output_that_does_not_arrive_is_a_failure(holdfast, tmp_path, arguments):
    """Also where the buffer was tried in vain before the end, and is empty then."""
    (tmp_path / "bouncer.ini").write_text(INI)
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([holdfast, *arguments], stdout=full, stderr=subprocess.PIPE,
                              text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "could not write to stdout" in done.stderr


def test_it_works_without_standard_files(holdfast):
    done = subprocess.run(["/bin/sh", "-c", f"{holdfast} demo dmo <&- >&- 2>&-"], timeout=120,
                          check=False)
    assert done.returncode == 2


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_the_manual_has_no_warnings_and_names_everything(holdfast):
    page = call(holdfast, "help", "--man").stdout
    done = subprocess.run(["groff", "-man", "-ww", "-Tascii", "-P-cbou"], input=page,
                          capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr == ""
    text = re.sub(r"\s+", " ", done.stdout)
    for name in subcommands(holdfast):
        assert f"holdfast {name}" in text
        for option in re.findall(r"^  (--[\w-]+)", call(holdfast, name, "--help").stdout,
                                 re.MULTILINE):
            assert option in text


def test_completion_completes(holdfast):
    script = call(holdfast, "help", "--completion").stdout

    def complete(*words):
        line = (f"{script}\nCOMP_WORDS=(holdfast {' '.join(words)}); COMP_CWORD={len(words)}\n"
                '_holdfast; printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120,
                              check=True)
        assert done.stderr == ""
        return done.stdout.split()

    assert complete("de") == ["demo"]
    assert complete("demo", "--port") == ["--port-base"]
    assert complete("help", "d") == ["demo"]
    assert sorted(complete("--")) == ["--help", "--version"]
