"""Every program of examples/, run against real servers; and what becomes of it when they die."""

import http.server
import re
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import proxy_rig
import pytest
from demo_process import wait_until
from library_rig import ROOT, Replica, Running, build_folder, conninfo, program, run

EXAMPLES = ["quickstart", "transactions", "serialization_retry", "read_write_routing",
            "cache_fallback", "startup_wait", "async_epoll", "async_libuv", "async_libevent",
            "guard_http", "web_server", "cxx"]


@pytest.fixture(scope="module")
def server(new_place):
    place = new_place()
    server = proxy_rig.PostgresServer(place.new_folder(), proxy_rig.free_port())
    # What is acknowledged is written; that the machine itself stays up is assumed (fsync is off).
    server.sql("ALTER SYSTEM SET synchronous_commit = on", "SELECT pg_reload_conf()")
    yield server
    server.stop()
    place.close()


@pytest.fixture
def where(server):
    return conninfo(server)


def test_every_example_is_here():
    sources = {path.stem for path in (ROOT / "examples").glob("*.c*")}
    assert sources == set(EXAMPLES)
    for name in EXAMPLES:
        assert program(name).is_file(), f"{name} was not built"


def test_the_quick_start_is_quick(where):
    assert run(program("quickstart"), where) == "1 squared is 1\n2 squared is 4\n3 squared is 9\n"
    assert len((ROOT / "examples/quickstart.c").read_text().splitlines()) < 30


def test_the_quick_start_says_what_is_wrong(server):
    begun = time.monotonic()
    wrong = conninfo(server, database="nowhere")
    with Running(program("quickstart"), wrong) as it:
        assert it.end() == 1
    assert "nowhere" in it.output
    assert proxy_rig.PASSWORD not in it.output
    assert time.monotonic() - begun < 10, "what stays wrong is not waited for"


def test_transactions_and_savepoints(where):
    assert run(program("transactions"), where).splitlines() == [
        "  voucher of customer 100: used", "customer 100: ordered",
        "  voucher of customer 100: spent before", "customer 100: ordered",
        "customer 200: sold out"]


def test_serialisation_failures_are_repeated(where, server):
    def repeated():
        out = run(program("serialization_retry"), where)
        found = re.fullmatch(r"40 transactions, 0 failed, (\d+) repeated\n", out)
        assert found, out
        assert int(server.sql("SELECT sum(value) FROM counter", database="app")[0][0]) == 40
        return int(found[1])
    wait_until(repeated, 20, "its two threads have met")


@pytest.fixture(scope="module")
def replica(new_place, server):
    place = new_place()
    replica = Replica(place.new_folder(), proxy_rig.free_port(), server)
    yield replica
    replica.stop()
    place.close()


def routed(where):
    return run(program("read_write_routing"), where).splitlines()


def test_reads_and_writes_find_their_way(server, replica):
    where = conninfo(replica, server)
    is_known = re.compile(rf"127.0.0.1:{replica.port} is replica and up, \d+ ms behind")

    def lines_with_both():
        lines = routed(where)
        return lines if is_known.fullmatch(lines[4]) else None

    lines = wait_until(lines_with_both, 20, "the replica is known in time")
    assert lines[0].startswith("what this program wrote: 1 rows, from 127.0.0.1:")
    assert lines[1].startswith("at most 5 s old: 1 rows, from 127.0.0.1:")
    assert lines[2].startswith(f"what the primary has: 1 rows, from 127.0.0.1:{server.port} ")
    assert lines[3].startswith("in the next process: 2 rows, from 127.0.0.1:")
    assert re.fullmatch(rf"127.0.0.1:{server.port} is primary and up, 0 ms behind", lines[5])


def test_reads_reach_the_replica(server, replica):
    """Data of 5 s ago is there, so what may be that old is read there."""
    where = conninfo(server, replica)
    routed(where)
    wait_until(lambda: f"from 127.0.0.1:{replica.port} " in routed(where)[1], 20,
               "it is read there, as soon as that one is known")


def test_an_outage_is_bridged_by_the_cache(where, server):
    with Running(program("cache_fallback"), where, 1000) as it:
        it.wait_for(r"^menu: soup, fish, cake \[level full\]$")
        it.wait_for(r"^weather: sun")
        server.kill()
        try:
            dead = len(it.lines)
            it.wait_for(r"^menu: soup, fish, cake \(stale, \d+ ms old\)", since=dead)
            it.wait_for(r"^weather: look out of the window", since=dead)
        finally:
            server.start()
        back = len(it.lines)
        it.wait_for(r"^menu: soup, fish, cake \[level full\]$", since=back)
        it.wait_for(r"^weather: sun", since=back)
    assert not [line for line in it.lines if re.search("menu: (?!soup)", line)], it.output


def test_a_program_waits_for_its_database(new_place):
    place = new_place()
    server = proxy_rig.PostgresServer(place.new_folder(), proxy_rig.free_port())
    server.stop()
    with Running(program("startup_wait"), conninfo(server), 60) as it:
        it.wait_for(r"^after \d+ ms: .*")
        server.start()
        it.wait_for("^up: PostgreSQL")
        assert it.end() == 0
    server.stop()
    place.close()


@pytest.mark.parametrize("name, says", [
    ("async_epoll", "200 succeeded, 0 failed, the timer ticked: yes"),
    ("async_libuv", "step 1\nstep 2\nstep 3\ncommitted"),
    ("async_libevent", "the slow one: HF_E_CANCELLED\n10000 rows"),
])
def test_nothing_blocks_in_an_event_loop(where, name, says):
    assert run(program(name), where) == says + "\n"


def test_calls_under_way_survive_their_server(where, server):
    """Reads: what was under way is run again. While nobody listens some are refused: at once, in so
    many words, and by nothing but an open breaker."""
    with Running(program("async_epoll"), where, 3000) as it:
        time.sleep(0.4)
        server.kill()
        time.sleep(0.5)
        server.start()
        status = it.end()
    refused = sum(line.startswith("HF_E_OPEN: ") for line in it.lines)
    assert refused < 1500 and len(it.lines) == refused + 1, it.output[-2000:]
    assert it.lines[-1] == f"{3000 - refused} succeeded, {refused} failed, the timer ticked: yes"
    assert status == (refused > 0)


class Greeter(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_):
        pass


def serve_http(port):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Greeter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_what_is_not_sql_is_guarded_too():
    port = proxy_rig.free_port()
    server = serve_http(port)
    with Running(program("guard_http"), "127.0.0.1", port, 200) as it:
        it.wait_for("^hello$")
        server.shutdown()
        server.server_close()
        it.wait_for(r"^hello, from the fallback \(HF_E_\w+\)$")
        opened = it.wait_for(r"^hello, from the fallback \(HF_E_OPEN\)$")
        server = serve_http(port)
        it.wait_for("^hello$", since=opened)
    server.shutdown()
    server.server_close()


def fetch(port, path):
    """(status, body); status 0: no answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def visit(port):
    return fetch(port, "/visit")


def test_a_threaded_server_counts_every_visit_once(where, server):
    """While its database is killed and comes back. What was answered with 200 is counted, what
    was answered with 503 is not, and only a 500 may be either."""
    port = proxy_rig.free_port()
    server.sql("DROP TABLE IF EXISTS visits", database="app")
    with Running(program("web_server"), where, port) as it:
        it.wait_for("^ready$")
        assert fetch(port, "/health") == (200, "full")
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(visit, port) for _ in range(400)]
            time.sleep(0.2)
            server.kill()
            time.sleep(0.5)
            server.start()
            answers = [one.result() for one in asked]
        assert "\nholdfast_" in fetch(port, "/metrics")[1]
        assert fetch(port, "/nowhere")[0] == 404
        assert it.stop() == 0, it.output
    counts = {status: sum(one == status for one, _ in answers) for status in (200, 500, 503)}
    rows = int(server.sql("SELECT n FROM visits", database="app")[0][0])
    assert counts[200] <= rows <= counts[200] + counts[500], (counts, rows)
    assert counts[200] >= 300, [body for status, body in answers if status != 200][:3]
    bodies = [body for status, body in answers if status == 200]
    assert len(set(bodies)) == len(bodies), "two visitors were given the same number"


def test_exceptions_roll_back(where):
    assert run(program("cxx"), where).splitlines() == [
        "after a commit: 1", "changed my mind", "after an exception: 1"]


def test_another_language_binds_it_from_the_header_alone(where):
    library = build_folder() / "include/libholdfast.so.1"
    out = run(sys.executable, ROOT / "examples/binding.py", library, where)
    assert out.splitlines() == ["[('42', 'x', None, 't')]", "'changed my mind'", "[('1',)]"]
