"""holdfast demo URL: looks at a server, watches it, and never shows its password."""

import os
import re
import signal
import socket
import subprocess
import threading
import time

import psycopg
import pytest
from demo_process import Demo, find_binary, wait_until

SECRET = "s3cret%20Word"  # as it stands in a URL
SECRETS = (SECRET, "s3cret Word", "s3cret", "Word")


class Watch:
    """A `holdfast demo URL` that runs."""

    def __init__(self, url, **environment):
        self.process = subprocess.Popen(
            [find_binary(), "demo", url], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env={**os.environ, **environment})
        self.output = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.output += line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def wait_for(self, pattern, seconds=20):
        try:
            return wait_until(lambda: re.search(pattern, self.output, re.MULTILINE), seconds,
                              pattern)
        except AssertionError as error:
            raise AssertionError(f"{error}; the output:\n{self.output}") from None

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(60)
        self.reader.join(5)
        return status


def refused(url, **environment):
    done = subprocess.run([find_binary(), "demo", url], capture_output=True, text=True,
                          env={**os.environ, **environment}, timeout=120, check=False)
    for secret in SECRETS:
        assert secret not in done.stdout + done.stderr
    return done


def url_of(servers, name="primary"):
    return (f"postgresql://demo@127.0.0.1:{servers.port(name)}/demo"
            f"?passfile={servers.folder}/passfile")


def test_it_says_what_a_primary_is(servers):
    with Watch(url_of(servers)) as watch:
        watch.wait_for(r"^\d\d:\d\d:\d\d  up: primary$")
        for expected in (r"PostgreSQL 1\d\.\d+, primary, up for \d+ \w+",
                         r"database    demo \(\d+ kB\), as user demo",
                         r"replicas    replica1: streaming, async, (\d+ bytes behind|has not)",
                         r"              replica2: streaming, async, ",
                         r"synchronous_commit on, no synchronous standby",
                         r"fsync on, full_page_writes on$",
                         r"archive_mode off, wal_level replica: no point-in-time recovery"):
            assert re.search(expected, watch.output, re.MULTILINE), watch.output
        line = re.search(r"^  (psql '.*')$", watch.output, re.MULTILINE)[1]
        done = subprocess.run(["/bin/sh", "-c", f"{line} -XAtc 'SELECT 1'"], capture_output=True,
                              text=True, timeout=120, check=False)
        assert done.stdout == "1\n", done.stderr
        assert watch.stop() == 0
        assert watch.output.endswith("No longer watching.\n")


def test_a_proxy_stands_in_front_of_the_server(servers):
    """It keeps its clients when the server's connections are lost, and ends with the watching."""
    with Watch(url_of(servers)) as watch:
        found = watch.wait_for(r"^  psql '(postgresql://demo@127\.0\.0\.1:(\d+)/demo)'\n"
                               r"  goes through the proxy, process (\d+): ")
        url, port, pid = found[1], int(found[2]), int(found[3])
        assert port != servers.port("primary")
        with open(servers.folder / "passfile", encoding="utf-8") as file:
            password = file.readline().rstrip("\n").rpartition(":")[2]
        with psycopg.connect(url, password=password, autocommit=True) as client:
            row = client.execute("SELECT inet_server_port(), current_user").fetchone()
            assert row == (servers.port("primary"), "demo")
        watch.wait_for(r"up: primary$")
        os.kill(pid, signal.SIGKILL)
        watch.wait_for(r"the proxy has ended")
        assert watch.stop() == 0
    with Watch(url_of(servers)) as watch:
        pid = int(watch.wait_for(r"through the proxy, process (\d+): ")[1])
        watch.wait_for(r"up: primary$")
        assert watch.stop() == 0
        assert not os.path.exists(f"/proc/{pid}"), "the proxy is left"


def test_what_a_proxy_has_no_use_for_leaves_the_watching(servers):
    with Watch(url_of(servers) + "&application_name=mine") as watch:
        watch.wait_for(r"application_name has no meaning for a proxy")
        watch.wait_for(r"^No proxy stands in front of it: ")
        watch.wait_for(r"up: primary$")
        assert watch.stop() == 0


def test_it_says_what_a_replica_is(servers):
    with Watch(url_of(servers, "replica1")) as watch:
        watch.wait_for(r"up: replica$")
        assert re.search(r"PostgreSQL 1\d\.\d+, replica", watch.output)
        assert re.search(r"follows     .*, \d+ bytes received and not yet replayed", watch.output)
        assert watch.stop() == 0


def test_what_a_user_may_not_see_is_said(servers):
    with psycopg.connect(servers.dsn("superuser"), autocommit=True) as connection:
        connection.execute("CREATE ROLE modest LOGIN")
        connection.execute(f"ALTER ROLE modest PASSWORD 's3cret Word'")
    url = f"postgresql://modest:{SECRET}@127.0.0.1:{servers.port('primary')}/demo"
    with Watch(url) as watch:
        watch.wait_for(r"up: primary$")
        assert "replica1 (its state is hidden from this user: GRANT pg_monitor shows it)" \
            in watch.output
        # The password was in the URL: it is shown nowhere, and not in the list of processes.
        assert "password of your connection string is not shown" in watch.output
        with open(f"/proc/{watch.process.pid}/cmdline", encoding="utf-8") as file:
            command = file.read()
        assert "(connection string)" in command
        proxy = re.search(r"through the proxy, process (\d+)", watch.output)[1]
        with open(f"/proc/{proxy}/cmdline", encoding="utf-8") as file:
            command += file.read()
        assert watch.stop() == 0
        for secret in SECRETS:
            assert secret not in watch.output
            assert secret not in command


def test_it_tells_when_the_server_goes_and_comes_back(place):
    with Demo(place.new_folder(), place.port_base, "--replicas", "0", "--restart", "2s") as demo:
        demo.wait_ready()
        with Watch(url_of(demo)) as watch:
            watch.wait_for(r"up: primary$")
            os.kill(demo.pid("primary"), signal.SIGKILL)
            watch.wait_for(r"^\d\d:\d\d:\d\d  down: \w")
            watch.wait_for(r"up again after \d+\.\d s: primary$", 30)
            time.sleep(1.2)
            # Changes only: three lines, whatever the number of looks.
            assert len(re.findall(r"^\d\d:\d\d:\d\d ", watch.output, re.MULTILINE)) == 3
            assert watch.stop() == 0
        assert demo.stop() == 0


def test_it_tells_when_a_replica_is_promoted(place):
    with Demo(place.new_folder(), place.port_base, "--replicas", "1") as demo:
        demo.wait_ready()
        with Watch(url_of(demo, "replica1")) as watch:
            watch.wait_for(r"up: replica$")
            dsn = demo.dsn("superuser").replace(str(demo.port("primary")),
                                                str(demo.port("replica1")))
            with psycopg.connect(dsn) as connection:
                connection.execute("SELECT pg_promote()")
            watch.wait_for(r"changed its role: primary, was replica$")
            assert watch.stop() == 0
        assert demo.stop() == 0


def test_a_server_that_hangs_is_down_and_does_not_hang_us(place):
    with Demo(place.new_folder(), place.port_base, "--replicas", "0") as demo:
        demo.wait_ready()
        with Watch(url_of(demo)) as watch:
            watch.wait_for(r"up: primary$")
            backends = demo.psql("superuser", "SELECT pid FROM pg_stat_activity"
                                              " WHERE application_name = 'holdfast'").split()
            stopped = [demo.pid("primary"), *map(int, backends)]
            try:
                for pid in stopped:
                    os.kill(pid, signal.SIGSTOP)
                watch.wait_for(r"down: timeout expired while waiting for an answer$", 10)
                begun = time.monotonic()
                assert watch.stop() == 0
                assert time.monotonic() - begun < 4
            finally:
                for pid in stopped:
                    os.kill(pid, signal.SIGCONT)
        assert demo.stop() == 0


def test_a_listener_that_never_answers_is_given_up():
    """A black hole: it accepts, and says nothing."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen()
        begun = time.monotonic()
        done = refused(f"postgresql://u:{SECRET}@127.0.0.1:{hole.getsockname()[1]}/d")
        assert done.returncode == 1
        assert 4 < time.monotonic() - begun < 60
        assert "timeout expired while connecting" in done.stderr
        with Watch(f"postgresql://u@127.0.0.1:{hole.getsockname()[1]}/d") as watch:
            watch.wait_for("Looking at")
            time.sleep(0.3)
            begun = time.monotonic()
            assert watch.stop() == 0
            assert time.monotonic() - begun < 4


@pytest.mark.parametrize(("url", "status", "words"), [
    (f"postgresql://u:{SECRET}@127.0.0.1:1/d", 1, ["Connection refused", "Is PostgreSQL running"]),
    (f"host=/nowhere password={SECRETS[2]}", 1, ["No such file or directory", "unix_socket"]),
    (f"postgresql://u:{SECRET}@no-such-host.invalid/d", 1, ["could not translate host name"]),
    (f"postgresql://u:{SECRET}@h:port:port/d", 2, ["this is no connection string"]),
    (f"postgresql://u:%zz{SECRET}@h/d", 2, ["this is no connection string", "%XX"]),
    (f"postgresql://u:{SECRET}@h/d?nonsense=1", 2, ["this is no connection string"]),
    (f"password={SECRETS[1]}", 2, ["this is no connection string"]),
    (f"passwrd='{SECRETS[1]}'", 2, ["this is no connection string"]),
])
def test_what_cannot_work_is_said_with_advice(url, status, words):
    done = refused(url)
    assert done.returncode == status, done
    for word in words:
        assert word in done.stderr
    lines = done.stderr.splitlines()
    assert lines[0].startswith("holdfast: ") and len(lines) >= 2, lines


def test_refusals_of_the_server_come_with_advice(servers):
    port = servers.port("primary")
    cases = {
        f"postgresql://demo:{SECRET}@127.0.0.1:{port}/demo":
            ["password authentication failed for user", "Check user and password"],
        f"postgresql://demo@127.0.0.1:{port}/demo?passfile=/nowhere":
            ["no password supplied", "PGPASSWORD"],
        f"postgresql://demo@127.0.0.1:{port}/nothing?passfile={servers.folder}/passfile":
            ['database "nothing" does not exist', "Check the database"],
    }
    for url, words in cases.items():
        done = refused(url)
        assert done.returncode == 1
        for word in words:
            assert word in done.stderr, done.stderr
