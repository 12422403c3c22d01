"""Errors with a way out: what the proxy refuses has an SQLSTATE, a message, a DETAIL with the
numbers and a HINT. src/proxy/REFUSALS says which test reaches which; most are reached here."""

import signal
import socket
import struct
import threading

import pgwire
import pytest
from proxy_rig import PASSWORD, free_port
from test_proxy_limits import answer_of


class FickleServer:
    """Lets everybody in and closes the connection at the first query; or, mute, says nothing."""

    def __init__(self, is_mute):
        self.is_mute = is_mute
        self.port = free_port()
        self.sock = socket.create_server(("127.0.0.1", self.port))
        self.kept = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            self.kept.append(conn)
            if not self.is_mute:
                threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    @staticmethod
    def _serve(conn):
        with conn:
            conn.recv(4096)
            parameters = [("server_version", "15.0"), ("client_encoding", "UTF8"),
                          ("standard_conforming_strings", "on"), ("in_hot_standby", "off")]
            conn.sendall(pgwire.message("R", struct.pack("!i", 0)) +
                         b"".join(pgwire.message("S", pgwire.text(name) + pgwire.text(value))
                                  for name, value in parameters) +
                         pgwire.message("K", struct.pack("!ii", 1, 2)) +
                         pgwire.message("Z", b"I"))
            conn.recv(4096)

    def close(self):
        self.sock.close()
        for conn in self.kept:
            conn.close()


def test_what_cannot_be_told_apart_behind_a_failed_copy_ends_the_session(transaction_proxy,
                                                                          postgres):
    """A server that has read the Sync before the copy failed runs the query, another one skips it.
    The client is told, and does not wait for what may never come."""
    postgres.sql("CREATE TABLE IF NOT EXISTS copied (id int)", "GRANT ALL ON copied TO app",
                 database="app")
    with transaction_proxy.connect() as c:
        c.send(pgwire.parse("", "COPY copied FROM STDIN"), pgwire.bind("", ""), pgwire.execute(),
               pgwire.sync())
        c.read_until("G")
        c.send(pgwire.copy_data("not a number\n"))
        assert c.read_until("E")[-1].sqlstate == "22P02"
        c.send(pgwire.query("SELECT 1"))
        last, = c.read_to_end()
        assert (last.fields["S"], last.sqlstate) == ("FATAL", "08P01")
        assert "COPY" in last.fields["D"] and "session mode" in last.fields["H"]


@pytest.fixture(name="strange")
def _strange():
    servers = {"mute": FickleServer(True), "fickle": FickleServer(False)}
    yield servers
    for server in servers.values():
        server.close()


def check(fields, sqlstate, message, detail="", hint=""):
    """`detail` and `hint` are parts; both must be there in any case."""
    assert fields is not None, f"nothing was refused with {message!r}"
    assert (fields["C"], message in fields["M"]) == (sqlstate, True), fields
    assert fields.get("D") and detail in fields["D"], fields
    assert fields.get("H") and hint in fields["H"], fields


def refused_login(proxy, **options):
    with pytest.raises(pgwire.ServerError) as refused:
        proxy.connect(**options)
    return refused.value.fields


def last_words(wire):
    return [m for m in wire.read_to_end() if m.kind == "E"][-1].fields


def settings_of(postgres, strange):
    here = f"127.0.0.1:{postgres.port}"
    return {
        "databases": {
            "*": {"hosts": here},
            "narrow": {"hosts": here, "dbname": "app", "pool_size": 1, "queue_max": 0},
            "lazy": {"hosts": here, "dbname": "app", "idle_transaction_timeout": "100ms"},
            "second": {"hosts": here, "pinned_idle_timeout": "50ms"},
            "sealed": {"hosts": here, "client_sslmode": "require"},
            "signed": {"hosts": here, "client_sslmode": "verify-ca"},
            "standby": {"hosts": here, "dbname": "app", "target_session_attrs": "standby"},
            "nowhere": {"hosts": "127.0.0.1:1", "dbname": "app"},
            "mute": {"hosts": f"127.0.0.1:{strange['mute'].port}", "server_connect_timeout": "1h"},
            "late": {"hosts": f"127.0.0.1:{strange['mute'].port}",
                     "server_connect_timeout": "50ms"},
            "fickle": {"hosts": f"127.0.0.1:{strange['fickle'].port}"},
        },
        "roles": {
            "trusted": {"client_idle_timeout": "1s"},
            "other": {"query_timeout": "100ms"},
            "old": {"transaction_timeout": "100ms"},
            "walker": {"server_connections_max": 1, "clients_max": 2},
        },
        "limits": {"prepared_memory": "1MB", "client_login_timeout": "3s"},
        "server_down_timeout": "1500ms",
        "listen": {"workers": 1},
    }


def check_timeouts(proxy):
    with proxy.connect("trusted") as wire:
        check(last_words(wire), "57P05", "terminating connection due to client_idle_timeout",
              "1000 ms are allowed", "raise this timeout")
    with proxy.connect("trusted", database="second") as wire:
        wire.rows("CREATE TEMPORARY TABLE pins_it (a int)")
        check(last_words(wire), "57P05", "terminating connection due to pinned_idle_timeout",
              "50 ms are allowed")
    with proxy.connect("other") as wire:
        wire.send(pgwire.query("SELECT pg_sleep(60)"))
        check(last_words(wire), "57014", "terminating connection due to query_timeout",
              "100 ms are allowed")
    with proxy.connect("old") as wire:
        wire.send(pgwire.query("BEGIN"))
        check(last_words(wire), "25P04", "terminating connection due to transaction_timeout",
              "100 ms are allowed")
    with proxy.connect(database="lazy") as wire:
        wire.send(pgwire.query("BEGIN"))
        check(last_words(wire), "25P03", "terminating connection due to idle_transaction_timeout",
              "100 ms are allowed")


def check_servers(proxy):
    check(refused_login(proxy, database="standby"), "57P03",
          "the server is not what target_session_attrs = standby asks for", "in_hot_standby")
    check(refused_login(proxy, database="mute"), "08001",
          "no connection to the server within 1500 ms")
    check(refused_login(proxy, database="late"), "08001", ": timeout")
    check(refused_login(proxy, database="nowhere"), "08001",
          "could not connect to server \"127.0.0.1\" port 1: ")
    with proxy.connect(database="fickle") as wire:
        wire.send(pgwire.query("SELECT 1"))
        check(last_words(wire), "08006", "server closed the connection unexpectedly")


def check_limits(proxy):
    with proxy.connect(database="narrow") as first, proxy.connect(database="narrow") as second:
        first.rows("BEGIN")
        check(answer_of(second), "53300",
              'no server connection for database "narrow", role "app"', "are in use", "pool_size")
        first.rows("COMMIT")
    with proxy.connect("walker") as first:
        first.rows("BEGIN")
        check(refused_login(proxy, user="walker", database="second"), "53300",
              "too many server connections", "server_connections_max of the role")
        with proxy.connect("walker"):
            check(refused_login(proxy, user="walker"), "53300",
                  'too many connections for role "walker"', "clients_max is 2")
    with proxy.connect() as wire:
        wire.rows("BEGIN")  # so that it is looked at before it is all there
        wire.send(pgwire.parse("long", "SELECT '" + "x" * 2_000_000 + "'")[:12000])
        check(last_words(wire), "54000", "prepared statement is too long", "prepared_memory")


def test_what_is_refused_is_refused_with_a_way_out(start_proxy, postgres, strange):
    proxy = start_proxy("transaction", **settings_of(postgres, strange))
    proxy.expect_log("login took too long|could not connect|cannot be reached|login refused|server")
    slow = pgwire.Wire(pgwire.open_socket(*proxy.address))
    slow.send(pgwire.startup({"user": "app", "database": "app"}))
    check_timeouts(proxy)
    check_servers(proxy)
    check_limits(proxy)
    with proxy.connect(database="holdfast") as console:
        console.ask(pgwire.query("DISABLE lazy"))
    check(refused_login(proxy, database="lazy"), "57P03", 'database "lazy" is disabled',
          hint="ENABLE")
    check(refused_login(proxy, database="sealed"), "28000", "TLS is required",
          'database "sealed"', "sslmode=require")
    check(refused_login(proxy, database="signed", tls="request"), "28000",
          "a client certificate is required", 'database "signed"', "sslcert")
    check(refused_login(proxy, password=PASSWORD + "x"), "28P01",
          'password authentication failed for user "app"', hint="auth_file")
    check(last_words(slow), "57014", "canceling authentication due to timeout",
          "client_login_timeout = 3000 ms")

    # What ends while it is used.
    narrow = proxy.connect(database="narrow")
    idle = proxy.connect()
    settings = settings_of(postgres, strange)
    del settings["databases"]["narrow"]
    del settings["databases"]["*"]
    settings["databases"]["app"] = {"hosts": f"127.0.0.1:{postgres.port}"}
    proxy.reload(**settings)
    check(last_words(narrow), "3D000", 'database "narrow" was removed from the configuration')
    check(refused_login(proxy, database="narrow"), "3D000", 'database "narrow" does not exist')
    proxy.process.send_signal(signal.SIGTERM)
    check(last_words(idle), "57P01", "terminating connection due to administrator command",
          "drain_timeout = ")


def test_who_is_one_too_many_is_told_the_limit(start_proxy):
    proxy = start_proxy("session", limits={"clients_max": 1})
    with proxy.connect():
        check(refused_login(proxy), "53300", "sorry, too many clients already",
              "limits.clients_max = 1", "raise the limit")
    proxy.wait_log('msg="login refused" .* database=app role=app '
                   'reason="sorry, too many clients already" detail=.*clients_max')
