"""From PgBouncer to Holdfast: the same file, the same behaviour.

One pgbouncer.ini with what people have in theirs. A real PgBouncer runs with it, and a proxy with
what `holdfast import` made of it; each question of a table is put to both, and the answers must be
the same. The answer is what an application can tell: a value, or that it was refused.
"""

import shutil
import subprocess

import pgwire
import proxy_rig
import pytest
from demo_process import find_binary
from proxy_rig import PASSWORD, HoldfastProxy, PgbouncerProxy

REFUSED = (pgwire.ServerError, pgwire.Closed, OSError)

INI = """
;; what stands in front of everything
[databases]
app = host={host} port={port}
alias = host={host} port={port} dbname=second
forced = host={host} port={port} dbname=app user=other password='{password}'
narrow = host={host} port={port} dbname=app pool_size=1
kept = host={host} port={port} dbname=app pool_mode=session pool_size=1
single = host={host} port={port} dbname=app pool_mode=statement
nowhere = host=127.0.0.1 port=1 dbname=app
[users]
old = pool_mode=session
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = {auth}
auth_file = {folder}/users.txt
auth_user = postgres
auth_query = SELECT rolname, rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1
admin_users = app
pool_mode = transaction
max_client_conn = 8
query_wait_timeout = 1
idle_transaction_timeout = 1
server_login_retry = 1
client_tls_sslmode = allow
client_tls_cert_file = {folder}/proxy.crt
client_tls_key_file = {folder}/proxy.key
ignore_startup_parameters = extra_float_digits
logfile =
"""


def ini(folder, listen, server, auth):
    return INI.format(host=server.host, port=server.port, listen=listen, folder=folder,
                      password=PASSWORD, auth=auth)


class Before(PgbouncerProxy):
    """PgBouncer with that file."""

    def start(self, user=None):
        self.ca, _ = proxy_rig.make_certificate(self.folder, "proxy")
        self.write_files()
        if self.user:
            for path in [self.folder, *self.folder.iterdir()]:
                shutil.chown(path, self.user, self.user)
        return proxy_rig.Process.start(self, self.user)

    def write_files(self):
        (self.folder / "users.txt").write_text("".join(
            f'"{role}" "{PASSWORD}"\n' for role in ("app", "other", "old", "postgres")))
        (self.folder / "pgbouncer.ini").write_text(
            ini(self.folder, self.address[1], self.server, self.auth_type))


class After(HoldfastProxy):
    """A proxy with what becomes of it."""

    def write_config(self, auth_type, **_):
        self.auth_type = auth_type
        Before.write_files(self)
        done = subprocess.run([find_binary(), "import", "--output=holdfast.yml", "pgbouncer.ini"],
                              cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "There are passwords in holdfast.yml" in done.stderr
        assert (self.folder / "holdfast.yml").stat().st_mode & 0o777 == 0o600


def _both(auth_type):
    @pytest.fixture(scope="module")
    def fixture(proxy_place, postgres):
        targets = [kind(proxy_place.new_folder(), proxy_rig.free_port(), postgres,
                        mode="transaction", auth_type=auth_type) for kind in (Before, After)]
        with targets[0], targets[1]:
            targets[1].expect_log("login refused|could not connect|idle in a transaction|waited")
            yield targets
    return fixture


both_md5 = _both("md5")
both_scram = _both("scram-sha-256")


def refused(call):
    try:
        call()
    except REFUSED:
        return "refused"
    return "not refused"


def one(target, sql, **options):
    with target.connect(**options) as client:
        return client.value(sql)


def share(target, **options):
    """Whether two clients get the same connection, one after the other."""
    with target.connect(**options) as a, target.connect(**options) as b:
        return a.value("SELECT pg_backend_pid()") == b.value("SELECT pg_backend_pid()")


def session_is_reset(target):
    options = {"database": "kept"}
    with target.connect(**options) as client:
        client.rows("SET work_mem = '7MB'")
        before = client.value("SELECT pg_backend_pid()")
    with target.connect(**options) as client:
        return (client.value("SHOW work_mem"),
                client.value("SELECT pg_backend_pid()") == before)


def waits_and_is_refused(target):
    with target.connect(database="narrow") as a, target.connect(database="narrow") as b:
        a.rows("BEGIN")  # it has the connection, and not only a query on its way to it
        a.send(pgwire.query("SELECT pg_sleep(20)"))
        found = refused(lambda: b.value("SELECT 1"))
        pgwire.cancel(a)
        a.read_until_ready()
        a.rows("ROLLBACK")
        return found, a.value("SELECT 2")


def idles_in_a_transaction(target):
    with target.connect() as client:
        client.rows("BEGIN")
        proxy_rig.sleep_until(lambda: not client.is_quiet(0.1), 10)
        return refused(lambda: client.value("SELECT 1"))


def too_many(target):
    clients = []
    try:
        for _ in range(8):
            clients.append(target.connect())
        return refused(target.connect)
    finally:
        for client in clients:
            client.close()


QUESTIONS = {
    "who comes in": lambda t: one(t, "SELECT current_user"),
    "a user whose password the server keeps as md5": lambda t: one(t, "SELECT 1", user="old"),
    "a wrong password": lambda t: refused(lambda: t.connect(password="wrong")),
    "a user who is not in the file": lambda t: refused(lambda: t.connect(user="nobody")),
    "a user who is looked up": lambda t: one(t, "SELECT current_user", user="trusted"),
    "a database that is not in the file": lambda t: refused(lambda: t.connect(database="second")),
    "a database that is not there": lambda t: refused(lambda: one(t, "SELECT 1",
                                                                  database="nowhere")),
    "a database by another name": lambda t: one(t, "SELECT current_database()", database="alias"),
    "a user who is set for all": lambda t: one(t, "SELECT current_user", database="forced"),
    "transactions share": lambda t: share(t, database="narrow"),
    "a user's own mode": lambda t: share(t, user="old", database="app"),
    "a statement at a time": lambda t: refused(lambda: one(t, "BEGIN", database="single")),
    "a session is reset": session_is_reset,
    "a queue has an end": waits_and_is_refused,
    "a transaction that idles": idles_in_a_transaction,
    "over TLS": lambda t: one(t, "SELECT 1", tls="request"),
    "clients have a limit": too_many,
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_answer_is_that_of_pgbouncer(both_md5, question):
    before, after = (QUESTIONS[question](target) for target in both_md5)
    assert before == after


@pytest.mark.parametrize("question", list(QUESTIONS)[:4])
def test_the_answer_is_that_of_pgbouncer_with_scram(both_scram, question):
    before, after = (QUESTIONS[question](target) for target in both_scram)
    assert before == after
