"""Fixtures for tests against real PostgreSQL servers.

Each test gets a `place`: a short folder of its own that the servers' user can reach, and a range of
ports. Afterwards no process may be left in it: that is a failure of the test, and is cleaned up.

For tests that need servers and not the demo itself, `servers` is one demo for a whole module:
servers.dsn("primary"), servers.dsn("replica1").
"""

import itertools
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

from demo_process import Demo, find_binary, processes_in  # noqa: E402
from proxy_rig import is_free  # noqa: E402
from proxy_fixtures import (  # noqa: E402, F401
    direct, pooled, postgres, proxy_place, session_proxy, start_proxy, statement_proxy,
    transaction_proxy)

# Below 32768, above which the kernel takes ports for outgoing connections; far from the demo's own
# default, so that a demo beside the tests does not matter; apart from those of free_port(); and by
# process, so that two runs of the tests do not.
_bases = itertools.cycle(range(28000 + os.getpid() % 100 * 20, 32000, 20))


class Place:
    def __init__(self):
        # Not pytest's tmp_path: that is closed to others, and too long for a unix socket.
        self.folder = Path(tempfile.mkdtemp(prefix="hf-", dir="/tmp"))
        self.folder.chmod(0o755)
        self._numbers = itertools.count(1)

    @property
    def port_base(self):
        return next(base for base in _bases if all(map(is_free, range(base, base + 20))))

    def new_folder(self):
        """The path of a folder that does not exist yet."""
        return self.folder / f"d{next(self._numbers)}"

    def close(self):
        left = processes_in(self.folder)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not left, f"processes were left behind: {left}"


@pytest.fixture(scope="session")
def new_place():
    """Makes places for fixtures that live longer than one test."""
    return Place


@pytest.fixture
def place():
    place = Place()
    yield place
    place.close()


@pytest.fixture(scope="module")
def servers():
    place = Place()
    with Demo(place.new_folder(), place.port_base) as demo:
        demo.wait_ready()
        yield demo
        demo.stop()
    place.close()


@pytest.fixture(scope="session")
def holdfast():
    return find_binary()


def pytest_configure(config):
    config.addinivalue_line("markers", "root: needs to be root")


def pytest_collection_modifyitems(items):
    if os.geteuid() == 0:
        return
    for item in items:
        if "root" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs to be root"))
