"""What the guides of the proxy say, beside what tools/check_docs.py runs of them.

Every ```yaml block is a configuration that the proxy takes, and every message that
troubleshooting.md quotes is one that the proxy can write.
"""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDES = sorted((ROOT / "docs/guide").glob("*.md"))
YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"^### `([^`]+)`", re.MULTILINE)
STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
FILLED = re.compile(r"NAME|\bN\b|\.\.\.|%\.\*s|%\w*[a-z]|\" SV_FMT \"")

# What an example names and only the reader has.
NOT_HERE = r"could not open|there is no service|environment variable \w+ is not set"

BLOCKS = [(guide.name, number, block) for guide in GUIDES
          for number, block in enumerate(YAML.findall(guide.read_text()), 1)]


@pytest.mark.parametrize(("name", "number", "block"), BLOCKS,
                         ids=[f"{name} {number}" for name, number, _ in BLOCKS])
def test_an_example_is_a_configuration_that_works(holdfast, tmp_path, name, number, block):
    if not re.search(r"^databases:", block, re.MULTILINE):
        block += 'databases: {"*": {hosts: db1}}\n'  # it shows a part
    (tmp_path / "holdfast.yml").write_text(block)
    (tmp_path / "users.txt").write_text('"app" "x"\n"admin" "x"\n')
    done = subprocess.run([holdfast, "config", "check", "holdfast.yml"], cwd=tmp_path,
                          capture_output=True, text=True, timeout=120, check=False)
    faults = [line for line in done.stderr.splitlines()
              if line.startswith("holdfast") and not re.search(NOT_HERE, line)]
    assert not faults, f"{name}, block {number}: {done.stderr}"
    assert done.returncode == 0 or re.search(NOT_HERE, done.stderr), done.stderr


def pieces(text):
    """What stays the same in every message of that form."""
    return tuple(piece.strip('" ') for piece in FILLED.split(text) if piece.strip('" '))


def test_quoted_messages_are_the_proxys():
    written = set()
    for folder in ("proxy", "wire", "config", "net"):
        for source in (ROOT / "src" / folder).glob("*.c"):
            text = re.sub(r'"\s*\n\s*"', "", source.read_text())
            written |= {pieces(string.replace('\\"', '"')) for string in STRING.findall(text)}
    quoted = QUOTED.findall((ROOT / "docs/guide/troubleshooting.md").read_text())
    assert len(quoted) > 10
    unknown = [message for message in quoted
               if "holdfast.yml" not in message and "prepared statement" not in message
               and pieces(message) not in written]
    assert not unknown
