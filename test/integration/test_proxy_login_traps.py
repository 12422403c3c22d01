"""What broke other poolers between the first byte and ReadyForQuery, one test for each.

As in test_proxy_traps.py, PostgreSQL itself passes (PROXY_TARGET=direct) wherever it speaks of the
matter: PostgreSQL 15 knows neither direct TLS nor protocol 3.2.
"""

import ctypes
import random
import socket
import ssl
import struct
import subprocess
import threading
import time

import pgwire
import pytest
from pgwire import CODE_CANCEL, CODE_GSSENC, CODE_SSL, PROTOCOL_3_0, PROTOCOL_3_2, Wire, bind
from pgwire import execute, kinds, open_socket, parse, query, request, rows, startup, sync
from demo_process import wait_until
from proxy_rig import PASSWORD

PROTOCOL_GREASE = 3 << 16 | 9999


@pytest.fixture(autouse=True)
def refusals_are_logged(request):
    """The proxies of this file may warn of those whom they refused."""
    for name in ("session_proxy", "transaction_proxy"):
        if name in request.fixturenames or "pooled" in request.fixturenames:
            target = request.getfixturevalue(name)
            if not target.is_direct:
                target.expect_log('"login refused"|"could not connect to server"')


@pytest.fixture
def raw(session_proxy):
    """A Wire to the proxy on which nothing has been said."""
    with Wire(open_socket(*session_proxy.address)) as wire:
        yield wire


def needs_proxy(target):
    if target.is_direct:
        pytest.skip("PostgreSQL 15 does not know it")


def log_in(wire, user="app", database="app", version=PROTOCOL_3_0, **parameters):
    """The startup of a Wire that connect() did not make."""
    wire.send(startup({"user": user, "database": database, **parameters}, version))
    pgwire.authenticate(wire, user, PASSWORD)
    wire.login += wire.read_until("Z")
    return wire


# --------------------------------------------------------------------------- protocol, negotiation

def test_protocol_3_2_is_spoken_with_a_long_key_that_cancels(pooled, postgres):
    needs_proxy(pooled)
    with pooled.connect(version=PROTOCOL_3_2) as c:
        assert "v" not in kinds(c.login)
        assert 4 <= len(c.key) <= 256
        c.send(query("SELECT pg_sleep(30)"))
        wait_until(lambda: postgres.sql("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND "
                                        "query = 'SELECT pg_sleep(30)'"), 6, "it sleeps")
        pgwire.cancel(c)
        assert c.read_until("E")[-1].sqlstate == "57014"
        c.read_until_ready()


def test_protocol_3_0_gets_the_short_key(pooled):
    with pooled.connect() as c:
        assert len(c.key) == 4


def test_a_version_of_the_future_is_negotiated_once_and_before_all_else(pooled):
    probes = {"_pq_.test_protocol_negotiation": "", "_pq_.other": "1"}
    with pooled.connect(version=PROTOCOL_GREASE, parameters=probes) as c:
        assert kinds(c.login).count("v") == 1 and c.login[0].kind == "v"
        newest, count = struct.unpack_from("!ii", c.login[0].body)
        names = c.login[0].body[8:].rstrip(b"\0").split(b"\0")
        assert newest == (PROTOCOL_3_0 if pooled.is_direct else PROTOCOL_3_2)
        assert count == 2 and sorted(names) == sorted(name.encode() for name in probes)
        assert c.value("SELECT 1") == "1"


def test_a_probe_alone_is_negotiated_too_and_is_no_setting(pooled):
    with pooled.connect(parameters={"_pq_.probe": "x"}) as c:
        assert kinds(c.login).count("v") == 1
        assert c.rows("SELECT name FROM pg_settings WHERE name LIKE '%probe%'") == []


def test_a_client_that_waits_for_its_login_is_negotiated_with_once(start_proxy):
    target = start_proxy("session", pool_size=1)
    needs_proxy(target)
    with target.connect() as first:
        wire = Wire(open_socket(*target.address))
        wire.send(startup({"user": "app", "database": "app", "_pq_.x": ""}, PROTOCOL_GREASE))
        pgwire.authenticate(wire, "app", PASSWORD)
        wire.is_quiet(0.3)
        first.close()
        wire.login += wire.read_until("Z")
        assert kinds(wire.login).count("v") == 1
        wire.close()


@pytest.mark.parametrize("version", [2 << 16, 4 << 16, 1 << 16 | 5])
def test_a_protocol_that_never_was_is_refused(raw, version):
    raw.send(startup({"user": "app", "database": "app"}, version))
    # PostgreSQL answers in the form of its oldest protocol, a text without a length.
    assert raw.read_bytes(1) == b"E"


# --------------------------------------------------------------------------------------------- TLS

def test_gss_encryption_is_declined_and_then_tls_is_offered(session_proxy, raw):
    needs_proxy(session_proxy)
    raw.send(request(CODE_GSSENC))
    assert raw.read_bytes(1) == b"N"
    raw.send(request(CODE_SSL))
    assert raw.read_bytes(1) == b"S"


def test_after_gss_encryption_was_declined_one_can_log_in_in_plain(session_proxy, raw):
    needs_proxy(session_proxy)
    raw.send(request(CODE_GSSENC))
    assert raw.read_bytes(1) == b"N"
    assert log_in(raw).value("SELECT 1") == "1"


@pytest.mark.parametrize("code", [CODE_SSL, CODE_GSSENC])
def test_plain_bytes_behind_a_request_for_encryption_end_the_connection(session_proxy, raw, code):
    """They would be taken for what the client says once it is encrypted (CVE-2021-23222)."""
    if code == CODE_GSSENC:
        needs_proxy(session_proxy)
    raw.send(request(code) + startup({"user": "app", "database": "app"}))
    raw.finish_sending()
    try:
        answer = raw.read_bytes(9, seconds=60)
        assert answer[:1] == b"E" or answer[1:2] == b"E", answer
    except pgwire.Closed:
        pass


def test_tls_by_request_and_the_certificate_is_the_proxys(pooled):
    context = pgwire.tls_context(ca=pooled.ca)
    with pooled.connect(tls="request", context=context) as c:
        assert c.sock.version() in ("TLSv1.2", "TLSv1.3")
        assert c.value("SELECT 1") == "1"


def test_direct_tls_with_alpn(pooled):
    needs_proxy(pooled)
    with pooled.connect(tls="direct") as c:
        assert c.sock.selected_alpn_protocol() == "postgresql"
        assert c.value("SELECT 1") == "1"


@pytest.mark.parametrize("protocols", [[], ["http/1.1"]])
def test_direct_tls_without_the_right_alpn_is_refused(pooled, protocols):
    needs_proxy(pooled)
    context = pgwire.tls_context(alpn=False)
    if protocols:
        context.set_alpn_protocols(protocols)
    with pytest.raises((OSError, pgwire.Closed)):
        with pooled.connect(tls="direct", context=context):
            pass


def test_scram_is_bound_to_the_tls_channel_or_plus_is_never_offered(pooled):
    with pooled.connect(tls="request") as c:
        offered = c.login[0].body[4:].rstrip(b"\0").split(b"\0")
    if b"SCRAM-SHA-256-PLUS" in offered:
        with pooled.connect(tls="request", channel_binding=True) as c:
            assert c.value("SELECT 1") == "1"
    with pooled.connect() as c:
        offered = c.login[0].body[4:].rstrip(b"\0").split(b"\0")
        assert offered == [b"SCRAM-SHA-256"]


def test_a_client_that_was_talked_out_of_channel_binding_is_refused(pooled):
    """It says "y": I could have, but you did not offer. Where PLUS was offered, somebody in between
    has taken it away."""
    context = pgwire.tls_context()
    sock = pgwire.upgrade(open_socket(*pooled.address), "request", context)
    with Wire(sock) as c:
        c.send(startup({"user": "app", "database": "app"}))
        offered = c.read().body[4:].rstrip(b"\0").split(b"\0")
        if b"SCRAM-SHA-256-PLUS" not in offered:
            pytest.skip("not offered")
        scram = pgwire.Scram("", PASSWORD)
        scram.header = "y,,"
        c.send(scram.first())
        try:
            assert c.read().kind == "E"
        except pgwire.Closed:
            pass


def key_update(sock):
    """Asks the peer to change its key too (TLS 1.3), through OpenSSL itself: Python has no word for
    it. The SSL pointer is the second field of CPython's object, behind its header."""
    library = ctypes.CDLL("libssl.so.3")
    pointer = ctypes.c_void_p.from_address(id(sock._sslobj) + object.__basicsize__ + 8)
    library.SSL_key_update.argtypes = [ctypes.c_void_p, ctypes.c_int]
    assert library.SSL_key_update(pointer, 1) == 1


def test_tls_bears_large_messages_both_ways_at_once_and_new_keys_meanwhile(pooled):
    """Nobody reads before everything is written: whoever stops reading while it cannot write hangs
    for ever."""
    value = "k" * 300_000
    one = parse("", "SELECT $1::text", [25]) + bind("", "", [value]) + execute() + sync()
    with pooled.connect(tls="request") as c:
        for number in range(20):
            if number % 5 == 2:
                key_update(c.sock)
            c.send(one)
        found = c.read_until_ready(20, seconds=60)
        assert [len(row[0]) for row in rows(found)] == [len(value)] * 20


def test_tls_sessions_are_resumed(pooled):
    needs_proxy(pooled)
    context = pgwire.tls_context()
    with pooled.connect(tls="request", context=context) as c:
        c.value("SELECT 1")
        session = c.sock.session
        is_new = not c.sock.session_reused
    sock = open_socket(*pooled.address)
    sock.sendall(request(CODE_SSL))
    assert sock.recv(1) == b"S"
    sock = context.wrap_socket(sock, server_hostname="localhost", session=session)
    assert is_new and sock.session_reused
    sock.close()


def test_somebody_who_speaks_http_is_sent_away(session_proxy, raw):
    raw.send(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    found = raw.read_to_end(5)
    assert kinds(found) in ("", "E")
    with session_proxy.connect() as c:
        assert c.value("SELECT 1") == "1"


# ---------------------------------------------------------------------------------- authentication

def refusal(target, **options):
    with pytest.raises(pgwire.ServerError) as caught:
        target.connect(**options).close()
    return caught.value.fields


@pytest.mark.parametrize("options", [
    {"password": "wrong"},
    {"user": "nobody_at_all"},
    {"database": "nowhere"},
    {"parameters": {"no_such_setting": "1"}},
    {"parameters": {"DateStyle": "nonsense"}},
    {"parameters": {"options": "-c nonsense"}},
    {"parameters": {"options": "-c work_mem=lots"}},
    {"parameters": {"client_encoding": "KLINGON"}},
], ids=str)
def test_a_login_that_fails_is_told_in_postgresqls_own_words(session_proxy, direct, options):
    ours, theirs = refusal(session_proxy, **options), refusal(direct, **options)
    # The proxy itself refuses these.
    named = "password" in options or "user" in options or "-c nonsense" in str(options)
    for field in ("S", "V", "C", "M") if named else sorted(set(theirs) | set(ours)):
        assert ours.get(field) == theirs.get(field), field


def test_a_wrong_password_and_an_unknown_role_look_the_same(pooled):
    wrong, unknown = refusal(pooled, password="wrong"), refusal(pooled, user="nobody_at_all")
    assert wrong["C"] == unknown["C"] == "28P01"
    assert wrong["M"].replace("app", "X") == unknown["M"].replace("nobody_at_all", "X")


def test_the_password_is_in_no_log(session_proxy):
    needs_proxy(session_proxy)
    refusal(session_proxy, password="a wrong secret")
    with session_proxy.connect() as c:
        c.ask(query(f"SELECT '{PASSWORD}' FROM nowhere"))
    assert "wrong secret" not in session_proxy.log
    assert PASSWORD not in session_proxy.log


def test_scram_secrets_alone_are_enough_to_pass_a_login_through(start_proxy, postgres):
    """The users file has what the server has, no password: the client's proof gives the key."""
    target = start_proxy("transaction", users="secrets")
    if not target.is_direct:
        target.expect_log("login refused")
    with target.connect() as c, target.connect() as d:
        for _ in range(3):
            assert c.value("SELECT current_user") == d.value("SELECT current_user") == "app"
        postgres.sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                     "WHERE datname = 'app'")
        if not target.is_direct:
            assert c.value("SELECT current_user") == "app"
    assert refusal(target, password="wrong")["C"] == "28P01"


def test_a_password_that_has_expired_opens_nothing(start_proxy, postgres):
    postgres.sql("ALTER ROLE other VALID UNTIL '2001-01-01'")
    try:
        target = start_proxy("session")
        if not target.is_direct:
            target.expect_log("could not connect to server|login refused")
        assert refusal(target, user="other")["C"] == "28P01"
    finally:
        postgres.sql("ALTER ROLE other VALID UNTIL 'infinity'")


def test_servers_that_ask_for_md5_are_answered(pooled):
    with pooled.connect(user="old") as c:
        assert c.value("SELECT current_user") == "old"


def test_servers_that_ask_for_the_password_itself_get_it_over_tls_only(start_proxy):
    with start_proxy("session", server_tls={"sslmode": "require"}).connect(user="plain") as c:
        assert c.value("SELECT current_user") == "plain"
    in_plain = start_proxy("session", server_tls={"sslmode": "disable"})
    if not in_plain.is_direct:
        in_plain.expect_log("could not connect to server")
        assert refusal(in_plain, user="plain")["C"] == "28000"


# ------------------------------------------------------------------------------ startup parameters

@pytest.mark.parametrize("options, name, value", [
    ("-c application_name=plain", "application_name", "plain"),
    ("-capplication_name=glued", "application_name", "glued"),
    ("--application-name=dashed", "application_name", "dashed"),
    (r"-c application_name=two\ words", "application_name", "two words"),
    (r"-c application_name=back\\slash", "application_name", "back\\slash"),
    ("-c application_name=a+b%20c", "application_name", "a+b%20c"),
    ("-c  IntervalStyle=iso_8601   -c application_name=both", "application_name", "both"),
    ("-c search_path=pg_catalog,public", "search_path", "pg_catalog,public"),
    ("-c work_mem=5MB", "work_mem", "5MB"),
])
def test_startup_options_mean_what_they_mean_to_postgresql(pooled, options, name, value):
    with pooled.connect(parameters={"options": options}) as c, pooled.connect() as other:
        for _ in range(2):
            assert c.value(f"SHOW {name}") == value
            assert other.value(f"SHOW {name}") != value


def test_any_setting_may_stand_in_the_startup_message(pooled):
    wanted = {"work_mem": "6MB", "statement_timeout": "12345", "search_path": "pg_catalog",
              "extra_float_digits": "2", "application_name": "with 'quotes' and \\"}
    with pooled.connect(parameters=wanted) as c, pooled.connect() as other:
        for _ in range(2):
            for name, value in wanted.items():
                shown = c.value(f"SHOW {name}")
                assert shown == ("12345ms" if name == "statement_timeout" else value)
            assert other.value("SHOW work_mem") == "4MB"


def test_a_notice_during_the_login_is_passed_on(session_proxy, postgres):
    """The server warns of a role's setting that it does not take."""
    postgres.sql("CREATE SCHEMA IF NOT EXISTS plain", "ALTER ROLE other SET lc_messages = 'C'")
    postgres.sql("UPDATE pg_db_role_setting SET setconfig = '{work_mem=nonsense}' WHERE setrole = "
                 "(SELECT oid FROM pg_roles WHERE rolname = 'other')")
    try:
        with session_proxy.connect(user="other") as c:
            notices = [m.fields for m in c.login if m.kind == "N"]
            assert [n["S"] for n in notices] == ["WARNING"]
            assert "work_mem" in notices[0]["M"]
            assert c.value("SELECT 1") == "1"
    finally:
        postgres.sql("ALTER ROLE other RESET ALL")


def test_the_greeting_has_the_servers_own_pid_in_session_mode(session_proxy):
    with session_proxy.connect() as c:
        assert str(c.pid) == c.value("SELECT pg_backend_pid()")


def test_a_replication_connection_works_in_session_mode(session_proxy):
    with session_proxy.connect("walker", parameters={"replication": "database"}) as c:
        found = c.rows("IDENTIFY_SYSTEM")
        assert found[0][3] == "app"
        c.rows("CREATE_REPLICATION_SLOT trap TEMPORARY PHYSICAL RESERVE_WAL")
        c.send(query(f"START_REPLICATION SLOT trap PHYSICAL {found[0][2]}"))
        assert c.read_until("WE")[-1].kind == "W"
        c.send(pgwire.copy_data(b"r" + bytes(33)))
        c.send(pgwire.copy_done())
        c.read_until("Z")


def test_a_physical_replication_connection_needs_no_database(session_proxy):
    with session_proxy.connect("walker", parameters={"replication": "true"}) as c:
        assert len(c.rows("IDENTIFY_SYSTEM")) == 1


# ----------------------------------------------------------------------------------- hostile bytes

def startup_lengths():
    for size in (-2147483648, -1, 0, 3, 4, 7, 10005, 65536, 2147483647):
        yield pytest.param(struct.pack("!ii", size, PROTOCOL_3_0) + b"user\0app\0\0", id=str(size))


@pytest.mark.parametrize("data", startup_lengths())
def test_a_startup_packet_of_an_impossible_length_is_refused_at_once(session_proxy, raw, data):
    raw.send(data)
    found = raw.read_to_end(5)
    assert kinds(found) in ("", "E")
    with session_proxy.connect() as c:
        assert c.value("SELECT 1") == "1"


@pytest.mark.parametrize("body", [b"", b"\0", b"user", b"user\0app", b"user\0app\0", b"\0\0",
                                  b"user\0\0\0", b"database\0app\0\0", b"user\0app\0x\0",
                                  b"user\0" + b"a" * 9000 + b"\0\0"],
                         ids=lambda body: body[:12].hex() or "nothing")
def test_a_startup_packet_that_makes_no_sense_is_refused(session_proxy, raw, body):
    raw.send(struct.pack("!ii", 8 + len(body), PROTOCOL_3_0) + body)
    raw.finish_sending()
    found = raw.read_to_end(5)
    assert "Z" not in kinds(found)
    with session_proxy.connect() as c:
        assert c.value("SELECT 1") == "1"


@pytest.mark.parametrize("answer", [
    pgwire.message("p", b""), pgwire.message("p", b"SCRAM-SHA-256\0"),
    pgwire.message("p", b"SCRAM-SHA-256\0\xff\xff\xff\xff"),
    pgwire.message("p", b"SCRAM-SHA-256\0\x7f\xff\xff\xffn,,n=,r=x"),
    pgwire.message("p", b"UNKNOWN\0\0\0\0\1x"), pgwire.message("p", b"x" * 5000),
    b"p\x00\x00\x00\x03", b"p\xff\xff\xff\xff", b"p\x7f\xff\xff\xff", query("SELECT 1"),
    pgwire.message("p", b"SCRAM-SHA-256\0\0\0\0\x12p=tls-unique,,n=,r=x"),
    pgwire.message("p", b"SCRAM-SHA-256\0\0\0\0\x09n,,n=,r=\xff")],
    ids=lambda answer: answer[:24].hex())
def test_an_answer_to_the_password_question_that_makes_no_sense_is_refused(session_proxy, raw,
                                                                          answer):
    raw.send(startup({"user": "app", "database": "app"}))
    assert raw.read().kind == "R"
    raw.send(answer)
    raw.finish_sending()
    assert "Z" not in kinds(raw.read_to_end(5))
    with session_proxy.connect() as c:
        assert c.value("SELECT 1") == "1"


@pytest.mark.parametrize("data", [
    b"Q\x00\x00\x00\x03", b"Q\xff\xff\xff\xff", b"Q\x80\x00\x00\x00", b"\x00\x00\x00\x00\x08abcd",
    b"z\x00\x00\x00\x04", b"E\x00\x10\x00\x00", b"p\x00\x00\x00\x05x"],
    ids=bytes.hex)
def test_a_message_that_cannot_be_ends_the_session_as_postgresql_ends_it(pooled, direct, data):
    def last_words(target):
        with target.connect() as c:
            c.send(data)
            found = c.read_to_end(5)
            return [(m.fields["S"], m.fields["C"]) for m in found if m.kind == "E"]
    # Of a wrong length PostgreSQL tells only its own log.
    assert last_words(direct) in ([], [("FATAL", "08P01")])
    assert last_words(pooled) in (last_words(direct), [("FATAL", "08P01")])


def test_random_bytes_never_hurt_anybody_else(session_proxy):
    rng = random.Random(8)
    for _ in range(60):
        with open_socket(*session_proxy.address) as sock:
            data = rng.randbytes(rng.randint(1, 200))
            if rng.random() < 0.5:
                data = struct.pack("!i", len(data) + 4) + data
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                sock.settimeout(30)
                sock.recv(1000)
            except OSError:
                pass
    with session_proxy.connect() as c:
        assert c.value("SELECT 1") == "1"


def test_a_cancel_request_that_makes_no_sense_is_dropped(session_proxy):
    for body in (b"", b"\0\0\0\1", b"\0\0\0\1" + b"k" * 3, b"\0\0\0\1" + b"k" * 5000):
        with open_socket(*session_proxy.address) as sock:
            sock.sendall(struct.pack("!ii", 8 + len(body), CODE_CANCEL) + body)
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(30)
            try:
                sock.recv(100)
            except ConnectionResetError:
                pass
    with session_proxy.connect() as c:
        assert c.value("SELECT 1") == "1"


# ------------------------------------------------------------------------------------- the console

def test_the_console_speaks_the_simple_and_the_extended_protocol(session_proxy):
    needs_proxy(session_proxy)
    with session_proxy.connect(database=session_proxy.name) as c:
        by_query = c.rows("SHOW VERSION")
        assert len(by_query) == 1
        found = c.ask(parse("", "SHOW VERSION"), pgwire.describe("S", ""), bind("", ""),
                      pgwire.describe("P", ""), execute(), sync())
        assert rows(found) == by_query
        assert kinds(c.ask(query("SHOW NOTHING AT ALL"))) == "EZ"
        assert kinds(c.ask(query(""))) == "IZ"
        c.send(query("SHOW POOLS"), query("SHOW CLIENTS"))
        assert "E" not in kinds(c.read_until_ready(2))


def test_a_health_check_that_leaves_in_the_middle_of_the_login_is_no_trouble(session_proxy):
    """HAProxy's pgsql-check sends a startup packet with a user, reads a byte and goes."""
    for _ in range(20):
        with open_socket(*session_proxy.address) as sock:
            sock.sendall(startup({"user": "app"}))
            assert sock.recv(1) in (b"R", b"E")
    with session_proxy.connect() as c:
        assert c.value("SELECT 1") == "1"


def test_logins_that_stop_half_way_keep_nobody_out(session_proxy):
    stuck = []
    for number in range(100):
        wire = Wire(open_socket(*session_proxy.address))
        if number % 2:
            wire.send(startup({"user": "app", "database": "app"}))
        elif number % 3:
            wire.send(b"\0\0\0")
        stuck.append(wire)
    threads = [threading.Thread(target=lambda: session_proxy.connect().close()) for _ in range(10)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started < 30
    for wire in stuck:
        wire.close()


def test_openssl_itself_is_content_with_the_handshake(session_proxy):
    done = subprocess.run(
        ["openssl", "s_client", "-starttls", "postgres", "-connect",
         "{}:{}".format(*session_proxy.address), "-CAfile", session_proxy.ca,
         "-verify_return_error"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False)
    assert "Verify return code: 0 (ok)" in done.stdout, done.stdout + done.stderr


def test_old_tls_is_refused(session_proxy):
    context = pgwire.tls_context()
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, OSError, pgwire.Closed)):
        session_proxy.connect(tls="request", context=context).close()
