"""Who a client is by its certificate or its socket; what a database or a role demands of a
connection; certificates that change while everybody stays; and who we are for a server by a
passfile or a service.

With libpq (psycopg), whose words and checks are those of most clients.
"""

import getpass
import os
import shutil
import socket
import ssl
import subprocess
import threading

import proxy_rig
import pytest
from demo_process import wait_until
from proxy_rig import PASSWORD, make_certificate
from test_proxy_auth import connect, database, give_passfile, in_threads, refusal, who

ME = getpass.getuser()

HBA = """
# TYPE   DATABASE  USER      ADDRESS       METHOD
local    mapped    all                     peer map=here
local    peer      all                     peer
local    all       all                     reject
hostssl  named     all       127.0.0.0/8   cert
hostssl  mapped    all       127.0.0.0/8   cert map=staff
hostssl  subject   all       127.0.0.0/8   cert map=subjects clientname=DN
hostssl  second    all       127.0.0.0/8   scram-sha-256 clientcert=verify-ca
hostssl  third     all       127.0.0.0/8   scram-sha-256 clientcert=verify-full map=staff
host     all       all       127.0.0.0/8   scram-sha-256
"""

IDENT = rf"""
# MAPNAME  SYSTEM-USERNAME        PG-USERNAME
here       {ME}                   app
here       nobody                 other
staff      "Ann Smith"            app
staff      /^(.*)@example\.com$   \1
subjects   "/^CN=Ann Smith,O=Example$"  app
"""

INVALID = "connection requires a valid client certificate"
NO_TLS = "TLS is required"


def failed(user, method="certificate"):
    return f'{method} authentication failed for user "{user}"'


# Database, user, certificate, password, what is told (None: let in).
ROWS = [
    ("named", "app", "app", None, None),
    ("named", "other", "app", None, failed("other")),
    ("named", "app", "ann", None, failed("app")),
    ("named", "app", None, PASSWORD, INVALID),
    ("mapped", "app", "ann", None, None),
    ("mapped", "other", "ann", None, failed("other")),
    ("mapped", "app", "app", None, failed("app")),  # a map is all that counts
    ("mapped", "other", "mail", None, None),
    ("mapped", "app", "mail", None, failed("app")),
    ("subject", "app", "ann", None, None),
    ("subject", "app", "app", None, failed("app")),
    ("second", "app", "ann", PASSWORD, None),
    ("second", "app", None, PASSWORD, INVALID),
    ("second", "app", "ann", "wrong", "password authentication failed"),
    ("third", "other", "mail", PASSWORD, None),
    ("third", "other", "ann", PASSWORD, failed("other")),
    ("demands", "app", None, PASSWORD, None),
    ("demands", "app", "plain", PASSWORD, NO_TLS),
    ("shown", "app", None, PASSWORD, "a client certificate is required"),
    ("shown", "app", "plain", PASSWORD, NO_TLS),
    ("shown", "app", "mail", PASSWORD, None),
    ("open", "app", "plain", PASSWORD, None),
    ("open", "walker", "plain", PASSWORD, NO_TLS),  # the role's own demand
    ("open", "walker", None, PASSWORD, None),
    # One that nobody of ours has signed ends the handshake, in words that are OpenSSL's.
    ("open", "app", "stranger", PASSWORD, ""),
]


class Authority:
    """Signs certificates of clients; all in one folder."""

    def __init__(self, folder):
        self.folder = folder
        self.crt, self.key = make_certificate(folder, "authority")

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=self.folder)

    def sign(self, name, subject):
        key, request, crt = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "crt"))
        self._openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", subject,
                      "-keyout", key, "-out", request)
        self._openssl("x509", "-req", "-in", request, "-CA", self.crt, "-CAkey", self.key,
                      "-CAcreateserial", "-days", "30", "-out", crt)
        key.chmod(0o600)


@pytest.fixture(scope="module")
def authority(proxy_place):
    folder = proxy_place.new_folder()
    folder.mkdir(parents=True, exist_ok=True)
    made = Authority(folder)
    made.sign("app", "/CN=app")
    made.sign("ann", "/O=Example/CN=Ann Smith")
    made.sign("mail", "/CN=other@example.com")
    make_certificate(folder, "stranger")
    return made


@pytest.fixture(scope="module")
def careful(postgres, proxy_place, authority):
    """A proxy with rules, maps and demands; servers are entered as the forced user `app`, whose
    password is in a passfile or comes from a service."""
    folder = proxy_place.new_folder()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hba.conf").write_text(HBA)
    (folder / "ident.conf").write_text(IDENT)
    give_passfile(folder / "pgpass", f"{postgres.host}:{postgres.port}:app:app")
    service = folder / "service.conf"
    service.write_text(f"[shop]\nhost={postgres.host}\nport={postgres.port}\ndbname=second\n"
                       f"user=other\npassword={PASSWORD}\napplication_name=x\n")
    forced = {"dbname": "app", "user": "app"}
    os.environ["PGSERVICEFILE"] = str(service)
    with proxy_rig.make_target(
            "holdfast", folder, proxy_rig.free_port(), postgres, "transaction",
            listen={"auth_hba_file": folder / "hba.conf", "auth_ident_file": folder / "ident.conf",
                    "passfile": folder / "pgpass"},
            client_tls={"ca_file": authority.crt},
            databases={
                "named": database(postgres, **forced), "mapped": database(postgres, **forced),
                "subject": database(postgres, **forced), "second": database(postgres, **forced),
                "third": database(postgres, **forced), "peer": database(postgres, **forced),
                "demands": database(postgres, dbname="app", client_sslmode="require"),
                "shown": database(postgres, dbname="app", client_sslmode="verify-ca"),
                "open": database(postgres, dbname="app"),
                "shop": {"service": "shop"},
            },
            roles={"walker": {"client_sslmode": "require"}}) as proxy:
        proxy.expect_log('"login refused"')
        yield proxy
    del os.environ["PGSERVICEFILE"]


def tls(authority, certificate):
    """What libpq is told."""
    if certificate == "plain":
        return {"sslmode": "disable"}
    if certificate is None:
        return {"sslmode": "require", "sslcert": authority.folder / "none"}
    return {"sslmode": "require", "sslcert": authority.folder / f"{certificate}.crt",
            "sslkey": authority.folder / f"{certificate}.key"}


def test_each_row_is_let_in_or_told_why_not(careful, authority):
    rows = list(ROWS)

    def ask():
        name, user, certificate, password, message = rows.pop()
        more = {"user": user, "database": name, "password": password,
                **tls(authority, certificate)}
        if message is None:
            with connect(careful, **more) as c:
                assert c.execute("SELECT current_database()").fetchone() == ("app",), more
        else:
            said = refusal(careful, **more)
            assert message in said, (more, said)

    # Together, as each failure from an address makes the answer to the next one later.
    assert in_threads(len(rows), ask) == [None] * len(ROWS)


def test_a_socket_says_who_its_user_is(careful):
    here = {"host": str(careful.folder), "password": None}
    assert who(connect(careful, "app", database="mapped", **here)) == "app"
    assert failed("other", "Peer") in refusal(careful, user="other", database="mapped", **here)
    if ME != "app":
        assert failed("app", "Peer") in refusal(careful, user="app", database="peer", **here)
    assert who(connect(careful, ME, database="peer", **here)) == "app"
    assert "pg_hba.conf rejects" in refusal(careful, user="app", database="open", **here)
    # A demand for TLS is not for sockets: the rule speaks first, and says no more than it did.
    assert NO_TLS not in refusal(careful, user="app", database="demands", **here)


def test_a_service_says_where_a_database_is(careful):
    with connect(careful, database="shop") as c:
        assert c.execute("SELECT current_database(), session_user").fetchone() == (
            "second", "other")


# ------------------------------------------------------------------------------------- certificates

def certificate_of(proxy):
    """What a new connection is shown."""
    with socket.create_connection(proxy.address, 10) as plain:
        plain.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")
        assert plain.recv(1) == b"S"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with context.wrap_socket(plain) as encrypted:
            return encrypted.getpeercert(binary_form=True)


def change(proxy, work, expected):
    """Does something to files, and reloads; until the log says what has come of it."""
    seen = proxy.log.count(expected)
    work()
    proxy.process.send_signal(proxy_rig.signal.SIGHUP)
    wait_until(lambda: proxy.log.count(expected) > seen, 20, expected)


def test_certificates_change_and_nobody_is_dropped(start_proxy):
    proxy = start_proxy("transaction")
    proxy.expect_log("the configuration is not reloaded")
    stop = threading.Event()

    def work():
        """A session for the whole time, with new ones beside it."""
        count = 0
        with connect(proxy, sslmode="require") as c:
            pid = c.info.backend_pid
            while not stop.is_set() or count == 0:
                assert c.execute("SELECT 1").fetchone() == (1,)
                assert who(connect(proxy, sslmode="require")) == "app"
                count += 1
            assert c.info.backend_pid == pid
        return count

    def swap():
        shown = [certificate_of(proxy)]
        for i in range(3):
            def renew(i=i):
                crt, key = make_certificate(proxy.folder, f"new{i}")
                shutil.copy(key, proxy.folder / "proxy.key")
                shutil.copy(crt, proxy.folder / "proxy.crt")
            change(proxy, renew, "configuration reloaded")
            shown.append(certificate_of(proxy))
        for broken in ("not a certificate\n", (proxy.folder / "new0.crt").read_text()):
            # The second one is good, and of another key.
            change(proxy, lambda text=broken: (proxy.folder / "proxy.crt").write_text(text),
                   "the configuration is not reloaded")
            shown.append(certificate_of(proxy))
        return shown

    results = []
    swapping = threading.Thread(target=lambda: (results.extend(in_threads(1, swap)), stop.set()))
    swapping.start()
    counts = in_threads(3, work)
    swapping.join()
    assert all(isinstance(count, int) for count in counts), counts
    shown = results[0]
    assert isinstance(shown, list), shown
    assert len(set(shown)) == 4 and shown[3] == shown[4] == shown[5]
