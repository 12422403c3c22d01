"""Fixtures of the proxy's tests; conftest.py takes them over.

PROXY_TARGET=direct or pgbouncer points the same tests at PostgreSQL itself or at Debian's
pgbouncer, for finding out whether it is the test that is wrong.
"""

import os
import signal

import proxy_rig
import pytest

KIND = os.environ.get("PROXY_TARGET", "holdfast")


@pytest.fixture(scope="session")
def proxy_place(new_place):
    """A folder and ports for everything of the session."""
    # Whoever ends the tests early wants the servers to end with them.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    place = new_place()
    yield place
    place.close()


@pytest.fixture(scope="session")
def postgres(proxy_place):
    """A PostgreSQL server that all tests share: whoever stops it starts it again."""
    server = proxy_rig.PostgresServer(proxy_place.new_folder(), proxy_rig.free_port())
    yield server
    server.stop()


@pytest.fixture
def start_proxy(proxy_place, postgres):
    """start_proxy(mode, **settings): a proxy of the test's own. Its log must be quiet."""
    started = []

    def start(mode="session", server=postgres, **settings):
        target = proxy_rig.make_target(KIND, proxy_place.new_folder(), proxy_rig.free_port(),
                                       server, mode, **settings)
        started.append(target)
        return target.__enter__()

    yield start
    failures = []
    for target in started:
        print(f"the end of its log, {target.mode} mode:\n{getattr(target, 'log', '')[-3000:]}")
        try:
            target.__exit__(None, None, None)
        except AssertionError as error:
            failures.append(str(error))
    assert not failures, "\n".join(failures)


def _shared(mode):
    @pytest.fixture(scope="module")
    def fixture(proxy_place, postgres):
        with proxy_rig.make_target(KIND, proxy_place.new_folder(), proxy_rig.free_port(), postgres,
                                   mode) as target:
            yield target
    return fixture


# One proxy for all tests of a file; those that need settings of their own start theirs.
session_proxy = _shared("session")
transaction_proxy = _shared("transaction")
statement_proxy = _shared("statement")


@pytest.fixture(params=["session", "transaction"])
def pooled(request):
    """Each of the two modes that most clients use."""
    return request.getfixturevalue(f"{request.param}_proxy")


@pytest.fixture
def direct(postgres):
    return proxy_rig.Direct(postgres)
