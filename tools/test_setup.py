"""tools/setup.sh on machines that lack something: what it does, and what it says in one sentence.

The programs it calls (apt-get, dpkg-query, sudo, df, id) are played by scripts; the real machine is
not touched.
"""

import os
import pwd
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent

# dpkg-query that knows what the file $installed lists; apt-get that fails with the text of $trouble
# or installs, and records how it was called; id of a plain user when $user is set.
PLAYED = {
    "dpkg-query": 'shift 3\nfor p; do grep -qx "$p" $dir/installed && echo "installed $p"; done\n'
                  "exit 0\n",
    "apt-get": 'echo "apt-get $*" >>$dir/calls\n'
               'ls $dir/createcluster.d >>$dir/calls 2>/dev/null\n'
               'case "$*" in *" update") exit 0 ;; esac\n'
               '[ ! -e $dir/trouble ] || { cat $dir/trouble; exit 100; }\n'
               'for p; do echo "$p" >>$dir/installed; done\n',
    "id": '[ ! -e $dir/user ] || { echo 1000; exit; }\necho 0\n',
    "df": 'echo header\necho "/dev/x 9 9 $(cat $dir/free 2>/dev/null || echo 99999999) 9% /"\n',
    "sudo": 'echo "sudo $*" >>$dir/calls\n[ ! -e $dir/no-sudo ] || exit 1\n'
            '[ "$1" != -n ] || shift\nexec "$@"\n',
}


class Machine:
    def __init__(self, folder, installed=()):
        self.dir = folder
        for name, script in PLAYED.items():
            program = folder / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f"#!/bin/bash\ndir={folder}\n{script}")
            program.chmod(0o755)
        self.put("installed", "\n".join(installed) + "\n")
        self.put("calls", "")

    def put(self, name, text=""):
        (self.dir / name).write_text(text)

    def calls(self):
        return (self.dir / "calls").read_text()

    def run(self, commands, **environment):
        script = f"set -uo pipefail\n. tools/setup.sh\nPATH={self.dir}/bin:$PATH\n" \
                 f"setup_packages={self.dir}/packages\n" \
                 f"setup_cluster_dropin={self.dir}/createcluster.d/x.conf\n" \
                 f"{commands}\necho reached\n"
        self.put("packages", "# a comment\nbuild gcc  why\nbuild meson  why\n"
                             "run postgresql-15  why\nbench npm /bin/sh  why\n")
        return subprocess.run(["bash", "-c", script], cwd=TOP, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, env=dict(os.environ, **environment))


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path, installed=["gcc"])


def test_nothing_missing_asks_nobody(machine):
    machine.put("installed", "gcc\nmeson\n")
    result = machine.run("setup_need build")
    assert result.stdout == "reached\n" and result.stderr == "" and machine.calls() == ""


def test_what_is_missing_is_installed_once(machine):
    result = machine.run("setup_need build\nsetup_need build")
    assert result.stdout.endswith("reached\n")
    assert "Installing 1 packages: meson" in result.stdout
    assert machine.calls().count("install --no-install-recommends meson") == 1


def test_a_package_whose_file_is_there_is_not_missing(machine):
    assert machine.run("setup_need bench").stdout == "reached\n"
    assert machine.calls() == ""


def test_no_main_cluster_is_made_and_no_trace_stays(machine):
    machine.run("setup_need run")
    calls = machine.calls().splitlines()
    install = next(n for n, call in enumerate(calls) if "postgresql-15" in call)
    assert calls[install + 1] == "x.conf"
    assert not (machine.dir / "createcluster.d").exists()


def test_the_cluster_setting_goes_when_apt_fails(machine):
    machine.put("trouble", "E: No space left on device\n")
    machine.run("setup_need run")
    assert not (machine.dir / "createcluster.d").exists()


def test_a_plain_user_goes_through_sudo(machine):
    machine.put("user")
    result = machine.run("setup_need build")
    assert result.stdout.endswith("reached\n")
    assert "sudo env DEBIAN_FRONTEND=noninteractive" in machine.calls()


TROUBLES = {
    "no network": ("E: Failed to fetch http://x  Temporary failure resolving 'x'",
                   "the Debian mirror cannot be reached", "Check the network"),
    "proxy is down": ("E: Could not connect to proxy:3128 (1.2.3.4).",
                      "the Debian mirror cannot be reached", "http_proxy"),
    "disk full": ("E: You don't have enough free space in /var/cache/apt/archives/.",
                  "the disk is full", "Free some space"),
    "apt is busy": ("E: Could not get lock /var/lib/dpkg/lock-frontend.",
                    "another package manager is running", "Wait"),
    "another system": ("E: Unable to locate package meson", "lack some of them", "Debian 12"),
    "something else": ("E: odd", "its last words are above", "apt-get -f install"),
}


@pytest.mark.parametrize("words, reason, advice", TROUBLES.values(), ids=TROUBLES.keys())
def test_each_trouble_is_said_in_a_sentence(machine, words, reason, advice):
    machine.put("trouble", words + "\n")
    result = machine.run("setup_need build")
    assert result.returncode == 1 and "reached" not in result.stdout
    assert reason in result.stderr and advice in result.stderr


def test_no_sudo_names_the_command_for_root(machine):
    machine.put("user")
    machine.put("no-sudo")
    result = machine.run("setup_need build")
    assert result.returncode == 1
    assert "As root run: apt-get install --no-install-recommends meson" in result.stderr


def test_too_little_room_is_said_before_anything_is_done(machine):
    machine.put("free", "10240")
    result = machine.run("setup_need build")
    assert "disk is too full: installing packages needs" in result.stderr
    assert "10 MB are free" in result.stderr and machine.calls() == ""
    assert machine.run('setup_space 9 . "x"').stdout == "reached\n"


def test_without_apt_it_says_what_to_install(machine):
    result = machine.run("command() { [ \"$2\" != apt-get ] && builtin command \"$@\"; }\n"
                         "setup_need build")
    assert result.returncode == 1 and "not a Debian system" in result.stderr
    assert "HOLDFAST_SETUP=skip: meson" in result.stderr


def test_skip_leaves_packages_alone(machine):
    assert machine.run("setup_need build run", HOLDFAST_SETUP="skip").stdout == "reached\n"


def test_a_build_that_fails_shows_the_reason(machine, tmp_path):
    result = machine.run(f"meson() {{ echo 'Dependency libpq not found'; return 1; }}\n"
                         f"build_optimised {tmp_path}/b")
    assert result.returncode == 1 and "Dependency libpq not found" in result.stderr


def test_a_folder_of_somebody_else_is_named(machine, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/made").write_text("")
    # Root may write everywhere, so the question itself is played.
    result = machine.run("[() { case $1 in -w) return 1 ;; esac; builtin [ \"$@\"; }\n"
                         f"setup_writable {tmp_path}/b")
    assert result.returncode == 1
    assert f"cannot write to {tmp_path}/b: it belongs to {pwd.getpwuid(os.getuid())[0]}" \
        in result.stderr
    assert machine.run(f"setup_writable {tmp_path}/new").stdout == "reached\n"


def test_every_package_named_is_in_a_known_group():
    lines = [line.split() for line in (TOP / "tools/packages").read_text().splitlines()
             if line and not line.startswith("#")]
    assert {line[0] for line in lines} == {"build", "run", "check"}
    names = [line[1] for line in lines]
    assert len(names) == len(set(names))
