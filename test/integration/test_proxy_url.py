"""holdfast proxy with a connection string and no file: who may come in, and as whom.

The promises are those of src/config/config_url.h.
"""

import subprocess

import pgwire
import proxy_rig
import pytest
from demo_process import find_binary
from proxy_rig import PASSWORD, HoldfastProxy

QUOTED = PASSWORD.replace(" ", "%20").replace(":", "%3A")


class UrlProxy(HoldfastProxy):
    """A proxy that has nothing but a string."""

    def __init__(self, folder, port, server, string):
        super().__init__(folder, port, server)
        self.string = string

    def write_config(self, **_):
        pass

    def command(self):
        return [find_binary(), "proxy", self.string]


@pytest.fixture
def proxy_of(proxy_place, postgres, monkeypatch):
    """proxy_of(string): {server} in it is host and port of the server, {listen} where to listen."""
    monkeypatch.setenv("HOME", "/nonexistent")  # and no ~/.pgpass in it

    def make(string):
        port = proxy_rig.free_port()
        filled = string.format(server=f"127.0.0.1:{postgres.port}", listen=f"127.0.0.1:{port}",
                               folder=postgres.folder, port=postgres.port)
        return UrlProxy(proxy_place.new_folder(), port, postgres, filled)

    return make


def ask(target, sql="SELECT current_user", **options):
    """The one value, as text."""
    with target.connect(**options) as client:
        return client.value(sql)


def refusal(target, **options):
    with pytest.raises(Exception) as caught:
        target.connect(**options)
    return str(caught.value)


def test_with_a_password_clients_log_in_as_that_user_with_it(proxy_of):
    string = "postgresql://app:" + QUOTED + "@{server}/app?listen={listen}&sslmode=disable"
    with proxy_of(string) as target:
        target.expect_log("login refused")
        assert ask(target) == "app"
        assert ask(target, database="second", sql="SELECT current_database()") == "second"
        assert "password authentication failed" in refusal(target, password="wrong")
        assert "password authentication failed" in refusal(target, user="other")


def test_the_environment_may_have_the_password(proxy_of, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with proxy_of("host=127.0.0.1 port={port} user=app listen={listen}") as target:
        target.expect_log("login refused")
        assert ask(target) == "app"
        assert "password authentication failed" in refusal(target, password="wrong")


def test_the_list_of_processes_does_not_show_it(proxy_of):
    string = "postgresql://app:" + QUOTED + "@{server}/app?listen={listen}"
    with proxy_of(string) as target:
        with open(f"/proc/{target.process.pid}/cmdline", "rb") as file:
            shown = file.read()
        assert b"horse" not in shown and b"(connection string)" in shown
        assert "horse" not in target.log


def test_without_a_password_clients_are_trusted_and_are_who_they_say(proxy_of):
    with proxy_of("postgresql://{server}/app?listen={listen}") as target:
        assert ask(target, user="trusted", password=None) == "trusted"


def test_without_a_password_a_user_in_the_string_is_who_all_are(proxy_of):
    with proxy_of("postgresql://trusted@{server}/app?listen={listen}") as target:
        assert ask(target, user="anybody", password=None) == "trusted"


def test_a_server_that_asks_for_a_password_is_told_with_where_to_give_it(proxy_of):
    """The first thing that goes wrong for a newcomer."""
    with proxy_of("postgresql://app@{server}/app?listen={listen}") as target:
        target.expect_log("could not connect to server")
        with pytest.raises(pgwire.ServerError) as caught:
            target.connect(password=None)
        assert caught.value.sqlstate == "28000" and 'no secret of user "app"' in str(caught.value)
        assert "PGPASSWORD or ~/.pgpass" in caught.value.fields["H"]


def test_a_password_and_trust_enter_as_the_user(proxy_of):
    string = "postgresql://app:" + QUOTED + "@{server}/app?listen={listen}&auth_type=trust"
    with proxy_of(string) as target:
        assert ask(target, user="anybody", password=None) == "app"


def test_settings_of_pools_may_stand_in_it(proxy_of):
    string = ("postgresql://app:" + QUOTED +
              "@{server}/app?listen={listen}&pool_mode=transaction&pool_size=1")
    with proxy_of(string) as target:
        with target.connect() as one, target.connect() as two:
            pids = [client.value("SELECT pg_backend_pid()") for client in (one, two)]
            assert pids[0] == pids[1]


@pytest.mark.parametrize(("string", "message", "advice"), [
    ("host={folder} port={port}", "without a password, everybody on this machine",
     "auth_type=trust"),
    ("postgresql://{server}/?listen=0.0.0.0", "trust would let in whoever reaches", "127.0.0.1"),
    ("postgresql://app:hunter2@{server}/?pool_mod=session", "this is no connection string",
     'Did you mean "pool_mode"?'),
    ("postgresql://app:hunter2@{server}/?options=-cx", "options has no meaning", "Leave it out"),
    ("service=mine", "a service is found for a database", "databases.NAME.service"),
])
def test_what_it_refuses(proxy_of, string, message, advice):
    done = subprocess.run(proxy_of(string).command(), capture_output=True, text=True, timeout=100,
                          stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert message in done.stderr and advice in done.stderr
    assert "hunter2" not in done.stderr
