"""The console, under its own name and under PgBouncer's: what it shows and does.

PgBouncer's own documentation says which columns each SHOW has; they stand in COLUMNS, and Debian's
pgbouncer is asked the same questions where it is old enough to know them.
"""

import contextlib
import os
import shutil
import subprocess
import threading
import urllib.request
from pathlib import Path

import psycopg
import psycopg2
import pytest
from pgwire import (SECONDS, Closed, ServerError, TimedOut, bind, cancel, close, describe,
                    execute, kinds, parse, query, sync)
from proxy_rig import PASSWORD, PgbouncerProxy, free_port
from demo_process import wait_until

SOCKET = ("type user database replication state addr port local_addr local_port connect_time "
          "request_time wait wait_us close_needed ptr link remote_pid tls application_name "
          "prepared_statements id")
NUMBERS = ("server_assignment_count xact_count query_count {} {} xact_time query_time wait_time "
           "client_parse_count server_parse_count bind_count").split()
TOTALS = " ".join(NUMBERS).format("bytes_received", "bytes_sent")

# PgBouncer 1.25: the columns, in their order.
COLUMNS = {
    "STATS": " ".join(["database"] + [f"total_{n}" for n in NUMBERS] + [f"avg_{n}" for n in NUMBERS]
                      ).format("received", "sent", "recv", "sent"),
    "STATS_TOTALS": f"database {TOTALS}",
    "STATS_AVERAGES": f"database {TOTALS}",
    "TOTALS": "name value",
    "SERVERS": SOCKET,
    "CLIENTS": SOCKET,
    "SOCKETS": f"{SOCKET} recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail",
    "ACTIVE_SOCKETS":
        f"{SOCKET} recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail",
    "POOLS": "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req "
             "sv_active sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login "
             "maxwait maxwait_us pool_mode load_balance_hosts",
    "PEER_POOLS": "peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login",
    "PEERS": "peer_id host port pool_size",
    "LISTS": "list items",
    "USERS": "name pool_size reserve_pool_size pool_mode max_user_connections current_connections "
             "max_user_client_connections current_client_connections",
    "DATABASES": "name host port database force_user pool_size min_pool_size reserve_pool_size "
                 "server_lifetime pool_mode load_balance_hosts max_connections "
                 "current_connections max_client_connections current_client_connections paused "
                 "disabled",
    "FDS": "fd task user database addr port cancel link client_encoding std_strings datestyle "
           "timezone password scram_client_key scram_server_key",
    "CONFIG": "key value default changeable",
    "MEM": "name size used free memtotal",
    "DNS_HOSTS": "hostname ttl addrs",
    "DNS_ZONES": "zonename serial count",
    "VERSION": "version",
    "STATE": "key value",
}
# Wider than PgBouncer's, as there can be more of it than 2 GB.
OTHER_TYPES = {("MEM", "memtotal")}
LISTS = ("databases users peers pools peer_pools free_clients used_clients login_clients "
         "free_servers used_servers dns_names dns_zones dns_queries dns_pending").split()


@contextlib.contextmanager
def console(target, database="pgbouncer", user="app", connect=psycopg2.connect):
    connection = connect(target.dsn(user=user, database=database))
    connection.autocommit = True
    try:
        yield connection.cursor()
    finally:
        connection.close()


def show(cursor, what):
    cursor.execute(f"SHOW {what}")
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row)) for row in cursor.fetchall()]


def refusal(cursor, command):
    with pytest.raises(psycopg2.Error) as caught:
        cursor.execute(command)
    return str(caught.value).splitlines()[0]


@pytest.fixture(name="shared", scope="module")
def fixture_shared(proxy_place, postgres):
    """One for all tests here that leave it as they found it."""
    from proxy_rig import HoldfastProxy  # pylint: disable=import-outside-toplevel
    hosts = {"hosts": f"127.0.0.1:{postgres.port}"}
    with HoldfastProxy(proxy_place.new_folder(), free_port(), postgres, "transaction",
                       databases={"app": hosts, "second": hosts},
                       listen={"stats_users": "other"}) as target:
        yield target


@pytest.fixture(name="proxy")
def fixture_proxy(shared):
    """That a test fails in the middle is no trouble of the next one."""
    yield shared
    with console(shared) as cursor:
        for command in ("RESUME", "RESUME app", "ENABLE app"):
            with contextlib.suppress(psycopg2.Error):
                cursor.execute(command)


# ------------------------------------------------------------------------------------ what it shows

def described(cursor, what):
    cursor.execute(f"SHOW {what}")
    return [(column.name, column.type_code) for column in cursor.description]


def test_every_show_has_pgbouncers_columns_in_their_order_and_ours_behind(proxy):
    with console(proxy) as ours:
        for what, columns in COLUMNS.items():
            found = [name for name, _ in described(ours, what)]
            assert found[:len(columns.split())] == columns.split(), what
        lists = {row["list"]: row["items"] for row in show(ours, "LISTS")}
        assert list(lists)[:len(LISTS)] == LISTS
        config = {row["key"]: row["value"] for row in show(ours, "CONFIG")}
        assert config["max_client_conn"] == "10000" and config["default_pool_size"] == "20"
        assert config["query_timeout"] == "0" and config["pools.query_timeout"] == "never"


def test_every_column_of_debians_pgbouncer_is_there_with_its_type(proxy, proxy_place, postgres):
    with PgbouncerProxy(proxy_place.new_folder(), free_port(), postgres) as real, \
            console(real) as theirs, console(proxy) as ours:
        for what in COLUMNS:
            if what in ("PEERS", "PEER_POOLS", "STATE"):
                continue  # Debian's is older
            here = dict(described(ours, what))
            for name, kind in described(theirs, what):
                assert name in here, f"{what} has no {name}"
                assert here[name] == kind or (what, name) in OTHER_TYPES, f"{what}.{name}"
        theirs_config = {row["key"] for row in show(theirs, "CONFIG")}
        ours_config = {row["key"] for row in show(ours, "CONFIG")}
        assert len(theirs_config & ours_config) > 30
        said = [(refusal(theirs, command), refusal(ours, command)) for command in (
            "FOO", "SHOW", "SHOW FOO", "RESUME", "DISABLE", "PAUSE pgbouncer", "KILL pgbouncer",
            "RECONNECT pgbouncer", "SHUTDOWN foo", "SHOW POOLS; SHOW STATS")]
        assert all(one == other for one, other in said), said


def test_the_rows_say_what_there_is(proxy):
    with proxy.connect() as client, console(proxy, "holdfast") as cursor:
        client.value("SET application_name TO 'shop'; SELECT 1")
        client.value("BEGIN; SELECT 1")
        mine = [row for row in show(cursor, "CLIENTS") if row["database"] == "app"]
        theirs = [row for row in show(cursor, "SERVERS") if row["state"] == "active"]
        assert len(mine) == len(theirs) == 1
        assert mine[0]["link"] == theirs[0]["ptr"] and theirs[0]["link"] == mine[0]["ptr"]
        assert mine[0]["activity"] == "idle in transaction" and mine[0]["state"] == "active"
        pools = [row for row in show(cursor, "POOLS") if row["database"] == "app"]
        assert pools[0]["cl_active"] == 1 and pools[0]["sv_active"] == 1
        client.value("COMMIT; SELECT 1")
        stats = {row["database"]: row for row in show(cursor, "STATS")}
        assert stats["app"]["total_xact_count"] >= 2 and stats["app"]["total_sent"] > 0
        before = stats["app"]
        for _ in range(2):  # the second one is known to the server already
            client.ask(parse("", "SELECT 1"), bind("", ""), execute(), sync())
            client.ask(parse("named", "SELECT 2"), bind("", "named"), execute(),
                       close("S", "named"), sync())
        after = {row["database"]: row for row in show(cursor, "STATS")}["app"]
        counted = [after[name] - before[name] for name in (
            "total_client_parse_count", "total_server_parse_count", "total_bind_count")]
        assert counted == [4, 3, 4]
        assert show(cursor, "VERSION")[0]["version"].startswith("Holdfast ")
        databases = {row["name"]: row for row in show(cursor, "DATABASES")}
        assert databases["app"]["current_client_connections"] == 1


def test_many_clients_come_in_pieces_that_lack_none(proxy):
    many = [proxy.connect() for _ in range(300)]
    try:
        with console(proxy) as cursor:
            def found():
                return [row["id"] for row in show(cursor, "CLIENTS") if row["database"] == "app"]
            wait_until(lambda: len(found()) == len(set(found())) == 300, SECONDS, "all of them")
    finally:
        for client in many:
            client.close()


# ------------------------------------------------------------------------------------ the reference

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/console.md"
HEAD = """# The console

<!-- Made from the tables that SHOW HELP is made of: CONSOLE_PAGE=write in the environment of
     test/integration/test_proxy_console.py writes it anew. -->

The databases `holdfast` and `pgbouncer` of the proxy are its console, for the users in
`proxy.admin_users` (everything) and `proxy.stats_users` (`SHOW`, and nothing sensitive):

```sh
psql -h 127.0.0.1 -p 6432 -U admin pgbouncer -c 'SHOW POOLS'
```

Both names show and do the same; only `SHOW VERSION` differs, which begins with `PgBouncer 1.25.0`
under that name, because exporters look for it. What PgBouncer has comes with its columns, in its
order, its messages and its command tags; columns of ours stand behind them, in *italics* below.
Beyond PgBouncer, the extended protocol is spoken (commands take no parameters), rows come in
binary form to who asks for it, and `BEGIN`, `COMMIT` and what drivers set when they connect is
accepted. Under a unix socket, the user `pgbouncer` needs no password if it is the user of this
machine that runs the proxy. A few places beyond `limits.clients_max` are kept for the console.

What differs from PgBouncer: `SHOW HELP` answers with rows instead of a notice; `SHOW FDS` shows
neither keys of cancel requests nor secrets; `SHOW DNS_ZONES` has no rows; SQLSTATEs tell what is
wrong, where PgBouncer has 08P01 for everything; `SHUTDOWN DRAIN` is ours.

What is the same, and may surprise: a `SET` holds until the next `RELOAD`, which brings back what
the file says. A client that waits because of a `PAUSE` is refused after `query_wait_timeout`, as
any other; raise that first where a pause may take longer.

"""


def page_of(cursor):
    lines = [HEAD]
    rows = show(cursor, "HELP")
    lines.append("## Commands\n\n| Command | What it does | For |\n|---|---|---|\n")
    for row in rows:
        if not row["command"].startswith("SHOW "):
            command = row["command"].replace("|", "\\|")
            lines.append(f"| `{command}` | {row['meaning']} | {row['for']} |\n")
    lines.append("\n`SET` takes the names of [the settings](config.md), with or without their "
                 "section, and PgBouncer's.\n\n## SHOW\n\n")
    for row in rows:
        if row["command"].startswith("SHOW "):
            what = row["command"][5:]
            theirs = COLUMNS.get(what, "").split()
            names = [f"`{name}`" if name in theirs else f"*`{name}`*"
                     for name, _ in described(cursor, what)]
            only = " For admin_users only." if row["for"] == "admin_users" else ""
            lines.append(f"### SHOW {what}\n\n{row['meaning']}{only}\n\n{', '.join(names)}\n\n")
    return "".join(lines).rstrip("\n") + "\n"


def test_the_reference_is_what_the_console_says_of_itself(proxy):
    with console(proxy) as cursor:
        page = page_of(cursor)
    if os.environ.get("CONSOLE_PAGE") == "write":
        PAGE.write_text(page)
    assert PAGE.read_text() == page, "it is old; CONSOLE_PAGE=write writes it anew"


# ------------------------------------------------------------------------------------- who may what

def test_stats_users_look_and_change_nothing_and_others_stay_out(proxy):
    with console(proxy, user="other") as cursor:
        assert show(cursor, "POOLS") is not None
        for command in ("SHOW FDS", "PAUSE", "RELOAD", "SET query_timeout = 1", "SHUTDOWN"):
            assert refusal(cursor, command) == "admin access needed"
        cursor.execute("SET application_name = 'x'")
    with pytest.raises(psycopg2.Error, match="not allowed"):
        psycopg2.connect(proxy.dsn(user="plain", database="pgbouncer"))


def test_the_console_has_places_when_everybody_elses_are_taken(start_proxy):
    target = start_proxy("transaction", limits={"clients_max": 2})
    with target.connect(), target.connect(), console(target) as cursor:
        assert len([row for row in show(cursor, "CLIENTS") if row["database"] == "app"]) == 2
        with pytest.raises(ServerError, match="too many clients"):
            target.connect()


# ------------------------------------------------------------------------- what drivers make of it

def test_drivers_of_the_extended_protocol_are_served(proxy):
    with console(proxy, connect=psycopg.connect) as cursor:
        for binary in (False, True):
            for prepare in (False, True):
                cursor.execute("SHOW LISTS", prepare=prepare, binary=binary)
                rows = dict(cursor.fetchall())
                assert rows["databases"] == 2, (binary, prepare)
        cursor.execute("SHOW STATS", prepare=True, binary=True)
        assert len(cursor.fetchone()) == len(cursor.description)
        with pytest.raises(psycopg.Error, match="use SHOW HELP"):
            cursor.execute("PAUSE %s", ["app"])
    connection = psycopg2.connect(proxy.dsn(database="pgbouncer"))  # says BEGIN and COMMIT
    with connection, connection.cursor() as cursor:
        cursor.execute("SHOW POOLS")
    connection.close()


def test_messages_are_answered_as_a_server_does(proxy):
    with proxy.connect(database="pgbouncer") as wire:
        def kinds(*messages):
            return "".join(message.kind for message in wire.ask(*messages))
        statement = parse("s", "SHOW VERSION;")
        assert kinds(statement, describe("S", "s"), bind("", "s"), execute(), sync()) == "1tT2DCZ"
        assert kinds(bind("", "s"), execute(), sync()) == "2DCZ"
        assert kinds(parse("", "RESUME app"), bind("", ""), execute(), sync()) == "12EZ"
        assert kinds(bind("", "nothing"), execute(), sync()) == "EZ"
        assert kinds(bind("", "s", ["1"]), execute(), sync()) == "EZ"
        for text in ("", " ; ", "/* nothing */"):
            assert kinds(query(text)) == "IZ"
        for text in ("SHOW", "PAUSE 'a", 'PAUSE "' + "x" * 200 + '"', "SET a", "SET = 1",
                     "\xff\xfe", "SHOW POOLS POOLS", "PAUSE a b", "x" * 5000):
            assert kinds(query(text)) == "EZ", text
        assert kinds(query("SHOW transaction isolation level")) == "TDCZ"
        assert kinds(query("show\n\tpools ;")).endswith("CZ")


# ------------------------------------------------------------------------------- PAUSE and RESUME

def begin(function, *arguments):
    """In a thread of its own; done() says whether it has ended, result() waits for it."""
    found = []

    def run():
        try:
            found.append(function(*arguments))
        except Exception as error:  # pylint: disable=broad-except
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result():
        thread.join(SECONDS)
        assert not thread.is_alive(), "it has not ended"
        return found[0]

    return (lambda: not thread.is_alive()), result


def test_pause_waits_for_transactions_and_clients_wait_for_resume(proxy, postgres):
    with proxy.connect() as busy, proxy.connect() as other, console(proxy) as cursor, \
            console(proxy) as second:
        busy.value("BEGIN; SELECT 1")
        done, result = begin(cursor.execute, "PAUSE app")
        wait_until(lambda: [row for row in show(second, "DATABASES")
                            if row["name"] == "app" and row["paused"] == 1], SECONDS, "paused")
        other.send(query("SELECT 2"))
        wait_until(lambda: [row for row in show(second, "CLIENTS") if row["state"] == "waiting"],
                   SECONDS, "a client waits")
        assert not done(), "PAUSE does not wait for a transaction"
        assert busy.value("SELECT 3") == "3"
        busy.value("COMMIT; SELECT 1")
        assert result() is None
        left = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'app'"
        wait_until(lambda: postgres.sql(left) == [("0",)], SECONDS, "no backend is left")
        late_done, late = begin(proxy.connect)  # comes in; what it asks waits
        newcomer = late()
        newcomer.send(query("SELECT 4"))
        assert other.is_quiet(0.1) and newcomer.is_quiet(0.1) and late_done()
        second.execute("RESUME app")
        assert other.read_until_ready()[1].values == [b"2"]
        assert newcomer.read_until_ready()[1].values == [b"4"]
        newcomer.close()


def test_a_pause_that_waits_can_be_cancelled_and_outlives_its_console(proxy):
    with proxy.connect() as busy, console(proxy) as second:
        busy.value("BEGIN; SELECT 1")
        with proxy.connect(database="pgbouncer") as wire:
            wire.send(query("PAUSE"))
            wait_until(lambda: show(second, "STATE")[1]["value"] == "yes", SECONDS, "paused")
            cancel(wire)
            assert "".join(m.kind for m in wire.read_until_ready()) == "EZ"
            assert show(second, "STATE")[1]["value"] == "no"
            wire.send(query("PAUSE app"))
            wait_until(lambda: show(second, "DATABASES")[0]["paused"] == 1, SECONDS, "paused")
        assert show(second, "DATABASES")[0]["paused"] == 1
        second.execute("RESUME app")
        assert busy.value("SELECT 5") == "5"


def test_pausing_under_load_makes_no_errors(proxy, tmp_path):
    script = tmp_path / "script.sql"
    script.write_text("BEGIN;\nSELECT 1;\nSELECT 2;\nCOMMIT;\n")
    load = subprocess.Popen(
        ["pgbench", "-n", "-f", script, "-c", "6", "-j", "2", "-t", "400", proxy.dsn()],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with console(proxy) as cursor:
        for command in ("PAUSE", "RESUME", "RECONNECT", "PAUSE app", "RESUME app", "SUSPEND",
                        "RESUME", "WAIT_CLOSE"):
            cursor.execute(command)
    said, _ = load.communicate(timeout=200)
    assert load.returncode == 0 and "processed: 2400/2400" in said, said


# ------------------------------------------------------------------------------ KILL and the others

def test_kill_client_drops_the_one_that_is_meant(proxy):
    with proxy.connect() as one, proxy.connect() as two, console(proxy) as cursor:
        ids = {row["port"]: row["id"] for row in show(cursor, "CLIENTS")}
        cursor.execute(f"KILL_CLIENT {ids[one.sock.getsockname()[1]]}")
        assert one.read_to_end()[-1].fields["M"] == "admin forced disconnect"
        assert two.value("SELECT 1") == "1"
        assert refusal(cursor, "KILL_CLIENT 1") == "client not found"
        assert refusal(cursor, "KILL_CLIENT me") == "invalid client pointer supplied"


def test_kill_drops_all_of_a_database_until_resume(proxy):
    with proxy.connect() as one, proxy.connect(database="second") as two, console(proxy) as cursor:
        one.value("BEGIN; SELECT 1")
        cursor.execute("KILL app")
        assert one.read_to_end()[-1].sqlstate == "57P01"
        assert two.value("SELECT 1") == "1"
        with proxy.connect() as three:
            three.send(query("SELECT 6"))
            assert three.is_quiet(0.1)
            cursor.execute("RESUME app")
            assert three.read_until_ready()[1].values == [b"6"]


def test_disable_keeps_new_clients_out_and_enable_lets_them_in(proxy):
    with proxy.connect() as before, console(proxy) as cursor:
        cursor.execute("DISABLE app")
        with pytest.raises(ServerError, match='database "app" is disabled'):
            proxy.connect()
        assert before.value("SELECT 1") == "1"
        cursor.execute("ENABLE app")
        proxy.connect().close()


def test_reconnect_replaces_connections_and_wait_close_tells_when(proxy):
    with proxy.connect() as client, console(proxy) as cursor:
        before = client.value("BEGIN; SELECT pg_backend_pid()")
        cursor.execute("RECONNECT")
        wait_until(lambda: [row["close_needed"] for row in show(cursor, "SERVERS")] == [1],
                   SECONDS, "only the one in use is left")
        done, result = begin(cursor.execute, "WAIT_CLOSE app")
        assert client.value("SELECT pg_backend_pid()") == before
        assert not done()
        client.value("COMMIT; SELECT 1")
        assert result() is None
        assert client.value("SELECT pg_backend_pid()") != before


# ---------------------------------------------------------------------------------- SET and RELOAD

def test_an_order_that_fails_is_told_even_if_another_one_follows_at_once(start_proxy):
    """Whoever gave the next one before that was seen, took the answer away: it was called good."""
    target = start_proxy("transaction")
    target.expect_log("could not open")
    with target.connect(database="pgbouncer") as one, target.connect(database="pgbouncer") as other:
        for _ in range(5):
            one.send(query("SET auth_file = '/nowhere'"))
            while kinds(other.ask(query("SET query_timeout = 1"))) != "CZ":
                pass
            assert "E" in kinds(one.read_until_ready())


def test_set_changes_what_holds_until_the_next_reload(start_proxy):
    target = start_proxy("transaction")
    target.expect_log("not reloaded")
    with target.connect() as client, console(target) as cursor:
        cursor.execute("SET query_timeout = 1")
        assert cursor.statusmessage == "SET query_timeout=1"
        with pytest.raises((ServerError, Closed), match="query_timeout"):
            client.value("SELECT pg_sleep(30)")
        cursor.execute("SET pools.pool_size TO '7'")
        assert show(cursor, "DATABASES")[0]["pool_size"] == 7
        assert "cannot be changed now" in refusal(cursor, "SET max_client_conn = 5")
        assert "too small" in refusal(cursor, "SET default_pool_size = 0")
        assert 'unknown setting "nonsense"' in refusal(cursor, "SET nonsense = 1")
        timeouts = ("transaction_timeout", "client_idle_timeout", "idle_transaction_timeout",
                    "server_idle_timeout", "server_lifetime")
        for name in timeouts:
            cursor.execute(f"SET {name} = 7")
        cursor.execute("RELOAD")
        for name in timeouts:  # all of them, though they are more than five in a second
            target.wait_log(f"command=SET argument={name} role=app ")
            target.wait_log(f"key=pools.{name} before=7s ")
        config = {row["key"]: row["value"] for row in show(cursor, "CONFIG")}
        assert config["query_timeout"] == "0" and config["default_pool_size"] == "20"
        (target.folder / "holdfast.yml").write_text("pools: {pool_size: none}\n")
        assert "pool_size" in refusal(cursor, "RELOAD")
        assert show(cursor, "DATABASES")[0]["pool_size"] == 20


# ---------------------------------------------------------------------------------------- SHUTDOWN

def ends(target):
    status = target.process.wait(SECONDS)
    target.reader.join(5)
    assert status == 0
    assert not target.unexpected()


@pytest.fixture(name="mortal")
def fixture_mortal(proxy_place, postgres):
    """mortal(mode): a proxy that is expected to end by itself."""
    from proxy_rig import HoldfastProxy  # pylint: disable=import-outside-toplevel
    started = []

    def start(mode):
        target = HoldfastProxy(proxy_place.new_folder(), free_port(), postgres, mode)
        started.append(target)
        return target.start()

    yield start
    for target in started:
        if target.process.poll() is None:
            target.process.kill()
            target.process.wait()


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_shutdown_ends_at_once(mortal, mode):
    target = mortal(mode)
    with target.connect() as client, target.connect(database="pgbouncer") as wire:
        client.value("BEGIN; SELECT 1")
        wire.send(query("SHUTDOWN"))
        ends(target)


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_shutdown_waits_for_servers(mortal, mode):
    target = mortal(mode)
    with target.connect() as busy, target.connect() as idle, \
            target.connect(database="pgbouncer") as wire:
        busy.value("BEGIN; SELECT 1")
        idle.value("SELECT 1")
        wire.ask(query("SHUTDOWN WAIT_FOR_SERVERS"))
        wait_until(lambda: refuses(target), SECONDS, "nobody listens")
        assert target.process.poll() is None
        busy.value("COMMIT; SELECT 1")
        if mode == "session":  # each keeps its connection until it leaves, be it idle or not
            busy.close()
            assert idle.value("SELECT 2") == "2"
            idle.close()
        ends(target)


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_shutdown_waits_for_clients(mortal, mode):
    target = mortal(mode)
    with target.connect() as client:
        with target.connect(database="pgbouncer") as wire:
            wire.ask(query("SHUTDOWN WAIT_FOR_CLIENTS"))
        wait_until(lambda: refuses(target), SECONDS, "nobody listens")
        assert client.value("SELECT 7") == "7"
    ends(target)


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_shutdown_drains(mortal, mode):
    """Who is idle goes at once, in session mode too; who is in a transaction when it is over."""
    target = mortal(mode)
    with target.connect() as busy, target.connect() as idle, \
            target.connect(database="pgbouncer") as wire:
        busy.value("BEGIN; SELECT 1")
        idle.value("SELECT 1")
        wire.send(query("SHUTDOWN DRAIN"))
        assert idle.read_to_end()[-1].sqlstate == "57P01"
        assert target.process.poll() is None
        assert busy.value("SELECT 3") == "3"
        busy.send(query("COMMIT"))
        assert [m.kind for m in busy.read_to_end()][:2] == ["C", "Z"]
    ends(target)


def refuses(target):
    """Who comes in just before nobody listens any more is let in, and waits with everybody else."""
    try:
        target.connect(seconds=1).close()
    except TimedOut:
        return False
    except (OSError, Closed, ServerError):
        return True
    return False


# ---------------------------------------------------------------------------------------- exporters

@pytest.mark.skipif(not shutil.which("prometheus-pgbouncer-exporter"), reason="no exporter")
def test_an_exporter_of_pgbouncers_figures_reads_ours(proxy):
    port = free_port()
    with proxy.connect() as client:
        client.value("SELECT 1")
        exporter = subprocess.Popen(
            ["prometheus-pgbouncer-exporter", "--port", str(port), "--host", "127.0.0.1",
             "--pgbouncer-host", proxy.address[0], "--pgbouncer-port", str(proxy.address[1]),
             "--pgbouncer-user", "app"],
            env={"PGPASSWORD": PASSWORD, "PATH": "/usr/bin"}, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        try:
            def scrape():
                with contextlib.suppress(OSError):
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics",
                                                timeout=30) as answer:
                        return answer.read().decode()
                return ""
            text = wait_until(scrape, SECONDS, "the exporter answers")
        finally:
            exporter.terminate()
            exporter.wait(10)
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("pgb"))
    assert float(figures['pgbouncer_requests_total{database="app"}']) >= 1
    assert float(figures['pgbouncer_active_clients{database="app",user="app"}']) == 1
    assert float(figures['pgbouncer_pool_size{database="app"}']) == 20
    assert float(figures["pgbouncer_used_servers"]) >= 1
