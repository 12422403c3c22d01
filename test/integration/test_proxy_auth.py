"""Users that auth_file does not name: auth_query, in all its ways to work and to fail.

With real servers and with libpq (psycopg), as what a client is told is what counts.
"""

import re
import threading
import time

import psycopg
import pytest
from demo_process import wait_until
from proxy_rig import PASSWORD

CALLS = "SELECT last_value, is_called FROM auth.calls"

# Role, how it is made, what a client that says PASSWORD is told.
LOOKED_UP = [
    ("q_scram", f"LOGIN PASSWORD '{PASSWORD}'", None),
    ("q_later", f"LOGIN PASSWORD '{PASSWORD}' VALID UNTIL '2099-01-01'", None),
    ("q_forever", f"LOGIN PASSWORD '{PASSWORD}' VALID UNTIL 'infinity'", None),
    ("q Strange\"'; --", f"LOGIN PASSWORD '{PASSWORD}'", None),
    ("q_expired", f"LOGIN PASSWORD '{PASSWORD}' VALID UNTIL '2001-01-01'", "password"),
    ("q_never", f"LOGIN PASSWORD '{PASSWORD}' VALID UNTIL '-infinity'", "password"),
    ("q_other", "LOGIN PASSWORD 'another one'", "password"),
    ("q_none", "LOGIN", "password"),
    ("q_nologin", f"PASSWORD '{PASSWORD}'", "password"),
    ("q_unknown", None, "password"),
    ("q_md5", None, "password"),  # it is known, but cannot do SCRAM
]

FUNCTION = """
CREATE FUNCTION auth.lookup(name text) RETURNS TABLE (usename name, passwd text, seconds float8)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END,
           CASE WHEN isfinite(rolvaliduntil) THEN date_part('epoch', rolvaliduntil - now()) END
    FROM pg_authid, nextval('auth.calls')
    WHERE rolname = name AND rolcanlogin AND NOT rolsuper
$$
"""


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


@pytest.fixture(scope="module")
def users(postgres):
    """Roles that only the server knows, and a function that the role `lookup` may ask."""
    postgres.sql(*[f"CREATE ROLE {quoted(name)} {how}" for name, how, _ in LOOKED_UP if how],
                 "SET password_encryption = 'md5'",
                 f"CREATE ROLE q_md5 LOGIN PASSWORD '{PASSWORD}'",
                 "SET password_encryption = 'scram-sha-256'",
                 f"CREATE ROLE lookup LOGIN PASSWORD '{PASSWORD}'")
    postgres.sql("CREATE SCHEMA auth", "CREATE SEQUENCE auth.calls", FUNCTION,
                 "REVOKE ALL ON FUNCTION auth.lookup FROM public",
                 "GRANT USAGE ON SCHEMA auth TO lookup",
                 "GRANT EXECUTE ON FUNCTION auth.lookup TO lookup",
                 # What a role of theirs could set to make another pg_authid be found first.
                 "ALTER ROLE lookup SET search_path = 'public, auth'")
    return postgres


def give_passfile(path, *keys):
    password = PASSWORD.replace(":", "\\:")
    path.write_text("".join(f"{key}:{password}\n" for key in keys))
    path.chmod(0o600)


def database(server, **more):
    return {"hosts": f"{server.host}:{server.port}", **more}


def connect(proxy, user="app", password=PASSWORD, database="app", **more):
    host, port = proxy.address
    return psycopg.connect(**{"host": host, "port": port, "user": user, "password": password,
                              "dbname": database, "sslmode": "disable", "gssencmode": "disable",
                              "connect_timeout": 20, "autocommit": True, **more})


def refusal(proxy, **more):
    with pytest.raises(psycopg.OperationalError) as caught:
        connect(proxy, **more).close()
    return str(caught.value)


def who(connection):
    with connection:
        return connection.execute("SELECT session_user").fetchone()[0]


def in_threads(count, work):
    """What each of them has returned, or its exception."""
    results = [None] * count

    def run(index):
        try:
            results[index] = work()
        except BaseException as error:  # pytest's own failures are no Exception
            results[index] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# ------------------------------------------------------------------------------------- auth_query

@pytest.fixture(scope="module")
def asking(users, proxy_place):
    """A proxy whose auth_file is empty: everybody is looked up."""
    # pylint: disable=import-outside-toplevel
    import proxy_rig
    folder = proxy_place.new_folder()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nobody.txt").write_text("")
    give_passfile(folder / "pgpass", f"*:{users.port}:postgres:lookup")
    by_function = {"auth_user": "lookup", "auth_dbname": "postgres",
                   "auth_query": "SELECT * FROM auth.lookup($1)"}
    closed = f"127.0.0.1:{proxy_rig.free_port()}"
    with proxy_rig.make_target(
            "holdfast", folder, proxy_rig.free_port(), users, "transaction",
            listen={"auth_file": folder / "nobody.txt", "auth_user": "postgres",
                    "auth_password": PASSWORD, "auth_query_ttl": "1h", "workers": 2,
                    "passfile": folder / "pgpass"},
            limits={"client_login_timeout": "100s"}, server_down_timeout="90s",
            databases={
                "app": database(users), "session": database(users, dbname="app",
                                                            pool_mode="session"),
                "function": database(users, dbname="app", **by_function),
                # Over TLS, by a name, by a socket.
                "tls": database(users, dbname="app", sslmode="require", **by_function),
                "name": {"hosts": f"localhost:{users.port}", "dbname": "app", "sslmode": "prefer",
                         **by_function},
                "socket": {"hosts": f"{users.folder}:{users.port}", "dbname": "app"},
                "down": database(users, auth_dbname="elsewhere"),
                "elsewhere": {"hosts": closed, "server_down_timeout": "100ms"},
                "broken": database(users, dbname="app", auth_query="SELECT 1 FROM nothing"),
                "denied": database(users, dbname="app", auth_user="lookup",
                                   auth_dbname="postgres"),
                "wide": database(users, dbname="app",
                                 auth_query="SELECT $1::text, 'x', '1', 'more'"),
                "liar": database(users, dbname="app",
                                 auth_query="SELECT rolname, rolpassword FROM pg_authid "
                                            "WHERE rolname = 'q_scram' AND $1 <> ''"),
                # What the role has set for itself does not hold for who asks.
                "path": database(users, dbname="app", **{**by_function, "auth_query":
                    "SELECT usename, CASE WHEN current_setting('search_path') = 'pg_catalog' "
                    "THEN passwd END FROM auth.lookup($1)"}),
                "slow": database(users, dbname="app", server_connect_timeout="2s",
                                 auth_query="SELECT $1::text, 'x' FROM pg_sleep(60)"),
                "many": database(users, dbname="app",
                                 auth_query="SELECT $1::text, 'x' FROM pg_class"),
            }) as proxy:
        yield proxy


@pytest.fixture
def passwords(asking):
    asking.expect_log('"login refused"')
    return asking


@pytest.mark.parametrize("name", ["app", "session"])
def test_users_are_looked_up_and_pass_through(passwords, name):
    for user, _, message in LOOKED_UP:
        if message is None:
            assert who(connect(passwords, user, database=name)) == user
    if name == "session":
        return
    refused = [user for user, _, message in LOOKED_UP if message]
    # Together, as each failure from an address makes the answer to the next one later.
    said = in_threads(len(refused), lambda: refusal(passwords, user=refused.pop()))
    for user, _, message in LOOKED_UP:
        words = f'password authentication failed for user "{user}"'
        assert (message is None) != any(words in text for text in said), said
    assert "no password, or one that has expired" in passwords.log
    assert "auth_query knows no such user" in passwords.log
    assert PASSWORD not in passwords.log and "SCRAM-SHA-256$" not in passwords.log


def test_a_function_does_for_who_is_no_superuser(passwords):
    assert who(connect(passwords, "q_scram", database="function")) == "q_scram"
    assert who(connect(passwords, "q_later", database="function")) == "q_later"
    assert who(connect(passwords, "q_scram", database="path")) == "q_scram"
    assert "password authentication failed" in refusal(passwords, user="q_expired",
                                                       database="function")


def test_servers_are_asked_in_every_way_they_can_be_entered(passwords):
    passwords.expect_log("could not connect")  # localhost may have an address that nobody is at
    for name in ("tls", "name", "socket"):
        assert who(connect(passwords, "q_later", database=name)) == "q_later", name


def test_a_burst_of_logins_asks_once(passwords, users):
    before = users.sql(CALLS)[0]
    found = in_threads(16, lambda: who(connect(passwords, "q_forever", database="function")))
    assert found == ["q_forever"] * 16
    after = users.sql(CALLS)[0]
    assert int(after[0]) - int(before[0]) <= 1, (before, after)


def test_a_changed_password_works_after_the_first_wrong_one(passwords, users):
    users.sql(f"CREATE ROLE q_changes LOGIN PASSWORD '{PASSWORD}'")
    assert who(connect(passwords, "q_changes")) == "q_changes"
    users.sql("ALTER ROLE q_changes PASSWORD 'changed'")

    def works():
        try:
            return who(connect(passwords, "q_changes", password="changed")) == "q_changes"
        except psycopg.OperationalError as error:
            assert "password authentication failed" in str(error)
            return False

    wait_until(works, 20, "the new password works, long before auth_query_ttl is over")
    assert "password authentication failed" in refusal(passwords, user="q_changes")


# What cannot be asked, and what the log says of it.
TROUBLES = {
    "down": "could not connect for auth_query",
    "broken": "relation .*nothing.* does not exist",
    "denied": "permission denied for table pg_authid",
    "wide": "has to give two or three columns",
    "liar": "has answered with another user's name",
    "many": "has given more than one row",
    "slow": "canceling statement due to statement timeout",
}


def test_what_cannot_be_asked_is_told_apart_from_a_wrong_password(asking):
    asking.expect_log("auth_query failed|could not connect for auth_query")
    for name, reason in TROUBLES.items():
        def is_told(name=name, reason=reason):
            said = refusal(asking, user="q_zz_one", database=name, connect_timeout=80)
            assert 'could not look up user "q_zz_one"' in said, name
            assert "nothing" not in said and "pg_authid" not in said
            return re.search(reason, asking.log)

        # Lines that come too often are held back by the log, and come the next time.
        wait_until(is_told, 20, reason)
    # Those in trouble are in nobody's way.
    assert who(connect(asking, "q_scram")) == "q_scram"


def test_reloads_and_restarts_of_the_server_lose_nobody(passwords, users):
    passwords.expect_log("auth_query|could not connect")
    for user in ("q_scram", "q_later"):
        assert who(connect(passwords, user)) == user
    stop = threading.Event()

    def log_in():
        count = 0
        while not stop.is_set() or count == 0:
            assert who(connect(passwords, "q_scram", database="function")) == "q_scram"
            count += 1
        return count

    def reload():
        try:
            for _ in range(5):
                seen = passwords.log.count("configuration reloaded")
                passwords.reload(**passwords.settings)
                wait_until(lambda n=seen: passwords.log.count("configuration reloaded") > n, 10,
                           "reloaded")
                time.sleep(0.25)  # more than five lines a second of one kind are not logged
        finally:
            stop.set()

    reloaded = []
    reloading = threading.Thread(target=lambda: reloaded.extend(in_threads(1, reload)))
    reloading.start()
    counts = in_threads(4, log_in)
    reloading.join()
    assert reloaded == [None] and all(isinstance(count, int) for count in counts), counts
    users.sql(f"CREATE ROLE q_new LOGIN PASSWORD '{PASSWORD}'")
    users.stop()
    waiting = []
    login = threading.Thread(target=lambda: waiting.extend(
        in_threads(3, lambda: who(connect(passwords, "q_new", connect_timeout=90)))))
    login.start()
    passwords.wait_log("could not connect for auth_query.* servers_of=app ", 30)
    users.start()
    login.join()
    assert waiting == ["q_new"] * 3
