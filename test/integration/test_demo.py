"""holdfast demo, as a person uses it: started, queried, killed, stopped, started again."""

import os
import re
import signal
import socket
import subprocess
import time

import psycopg
import pytest
from demo_process import Demo, find_binary, processes_in, wait_until

SERVERS = ("primary", "replica1", "replica2")


def password_of(folder):
    return (folder / "password").read_text()


def everything_visible(folder):
    """What others could come to see: logs, and the command lines and environments of processes."""
    for path in folder.glob("log/*"):
        yield path.name, path.read_text()
    for pid in processes_in(folder):
        for name in ("cmdline", "environ"):
            try:
                yield f"{name} of {pid}", open(f"/proc/{pid}/{name}", errors="replace").read()
            except OSError:
                pass


def test_what_is_printed_works_as_printed(place):
    with Demo(place.new_folder(), place.port_base) as demo:
        demo.wait_ready()
        for name in SERVERS:
            assert demo.psql(name, "SELECT sum(balance) FROM account") == "1000000"
            in_recovery = demo.psql(name, "SELECT pg_is_in_recovery()")
            assert in_recovery == ("f" if name == "primary" else "t")
        assert demo.psql("superuser", "SELECT current_user, pg_is_in_recovery()") == "postgres|f"

        # What "Try" suggests.
        tries = re.findall(r"^  \w+ +((?:SELECT|UPDATE) .*;)$", demo.output, re.MULTILINE)
        assert len(tries) == 3
        for sql in tries:
            demo.psql("primary", sql)

        attached = demo.psql("primary", "SELECT string_agg(application_name, ',' ORDER BY 1)"
                                        " FROM pg_stat_replication WHERE state = 'streaming'")
        assert attached == "replica1,replica2"
        assert demo.psql("primary", "SELECT bool_and(active) FROM pg_replication_slots") == "t"
        assert demo.stop() == 0


def test_a_write_on_the_primary_is_read_on_both_replicas(place):
    with Demo(place.new_folder(), place.port_base) as demo:
        demo.wait_ready()
        demo.psql("primary", "UPDATE account SET owner = 'somebody new' WHERE id = 7")
        for name in ("replica1", "replica2"):
            wait_until(lambda name=name: demo.psql(
                name, "SELECT owner FROM account WHERE id = 7") == "somebody new", 10, name)
            refused = demo.psql(name, "UPDATE account SET owner = 'x'", check=False)
            assert "read-only transaction" in refused.stderr
        assert demo.stop() == 0


def test_it_stops_everything_of_its_own_and_nothing_else(place):
    """A PostgreSQL of somebody else, even of the same user and started the same way, survives."""
    with Demo(place.new_folder(), place.port_base, "--replicas", "0") as other, \
            Demo(place.new_folder(), place.port_base) as demo:
        other.wait_ready()
        demo.wait_ready()
        pids = [demo.pid(name) for name in SERVERS]
        assert demo.stop() == 0
        assert not processes_in(demo.folder)
        for pid in pids:
            assert not os.path.exists(f"/proc/{pid}")
        assert "Nothing is left running" in demo.output
        assert demo.output.index("replica2  stopping") < demo.output.index("primary   stopping")
        assert other.psql("primary", "SELECT 1") == "1"
        assert other.stop() == 0


def refused(folder, port_base, *options, **more):
    """A demo that is expected to end at once, with status 1; what it said."""
    done = subprocess.run([find_binary(), "demo", "--dir", folder, "--port-base", str(port_base),
                           *options], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=120, check=False, **more)
    assert done.returncode == 1, done
    assert re.match(r"holdfast: .+\n( {10}.+\n)+$", done.stderr), done.stderr
    return done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_polite_signals_stop_it_too(place, number):
    with Demo(place.new_folder(), place.port_base, "--replicas", "1") as demo:
        demo.wait_ready()
        assert demo.stop(number) == 0
        assert not processes_in(demo.folder)


def test_a_server_that_hangs_is_stopped_by_force_when_asked_twice(place):
    with Demo(place.new_folder(), place.port_base, "--replicas", "1") as demo:
        demo.wait_ready()
        os.kill(demo.pid("replica1"), signal.SIGSTOP)
        demo.process.send_signal(signal.SIGINT)
        demo.wait_for("^Stopping; ", 20)
        time.sleep(0.5)
        assert demo.process.poll() is None
        demo.process.send_signal(signal.SIGINT)
        assert demo.end() == 0
        assert "replica1  stopping ... by force after" in demo.output
        wait_until(lambda: not processes_in(demo.folder), 20, "orphans have noticed")


def test_it_can_be_interrupted_as_a_job_of_a_script(place):
    """A shell starts its background jobs with SIGINT ignored."""
    folder = place.new_folder()
    with Demo(folder, place.port_base, "--replicas", "0",
              command=["/bin/sh", "-c", f'trap "" INT; exec {find_binary()} demo "$@"',
                       "sh"]) as demo:
        demo.wait_ready()
        assert demo.stop(signal.SIGINT) == 0


def test_a_second_start_goes_on_with_the_data_and_is_fast(place):
    folder, base = place.new_folder(), place.port_base
    with Demo(folder, base) as demo:
        demo.wait_ready()
        demo.psql("primary", "INSERT INTO account VALUES (5000, 'kept', 1)")
        ports = [demo.port(name) for name in SERVERS]
        password = password_of(folder)
        assert demo.stop() == 0
    took = []
    for _ in range(3):  # the best of them: other programs may be busy here
        with Demo(folder, base) as demo:
            demo.wait_ready()
            took.append(demo.ready_seconds)
            assert [demo.port(name) for name in SERVERS] == ports
            assert password_of(folder) == password
            for name in SERVERS:
                assert demo.psql(name, "SELECT owner FROM account WHERE id = 5000") == "kept"
            assert demo.stop() == 0
    assert min(took) < 30


def test_fresh_begins_anew(place):
    folder, base = place.new_folder(), place.port_base
    with Demo(folder, base, "--replicas", "1") as demo:
        demo.wait_ready()
        demo.psql("primary", "INSERT INTO account VALUES (5000, 'gone', 1)")
        password = password_of(folder)
        assert demo.stop() == 0
    with Demo(folder, base, "--replicas", "1", "--fresh") as demo:
        demo.wait_ready()
        assert demo.psql("primary", "SELECT count(*) FROM account WHERE id = 5000") == "0"
        assert demo.psql("replica1", "SELECT count(*) FROM account") == "1000"
        assert password_of(folder) != password
        assert demo.stop() == 0


def test_fresh_deletes_only_a_folder_of_the_demo(place):
    folder = place.new_folder()
    folder.mkdir(mode=0o777)
    (folder / "precious").write_text("mine")
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "postgres", folder], check=True)
    for options in ([], ["--fresh"]):
        assert "is not empty and is not a folder of the demo: nothing was touched" \
            in refused(folder, place.port_base, *options)
    assert [path.name for path in folder.iterdir()] == ["precious"]


@pytest.mark.parametrize("wait", [0, 1])
def test_after_kill_9_the_servers_go_too_and_a_new_start_works(place, wait):
    folder, base = place.new_folder(), place.port_base
    with Demo(folder, base) as demo:
        demo.wait_ready()
        demo.psql("primary", "INSERT INTO account VALUES (5000, 'kept', 1)")
        demo.kill()
        if wait:
            # PostgreSQL shuts down cleanly when its parent dies.
            wait_until(lambda: not processes_in(folder), 20, "servers are gone")
            assert "database system is shut down" in (folder / "log/primary.log").read_text()
    with Demo(folder, base) as demo:
        demo.wait_ready()
        for name in SERVERS:
            assert demo.psql(name, "SELECT owner FROM account WHERE id = 5000") == "kept"
        assert demo.stop() == 0


def test_a_leftover_postmaster_is_stopped_first(place):
    """One that does not die with its demo: as after a move to another kernel's idea of that."""
    folder, base = place.new_folder(), place.port_base
    with Demo(folder, base, "--replicas", "1") as demo:
        demo.wait_ready()
        port = demo.port("primary")
        assert demo.stop() == 0
    options = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    bindir = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True,
                            check=False).stdout.strip() or "/usr/lib/postgresql/15/bin"
    left = subprocess.Popen([f"{bindir}/postgres", "-D", folder / "primary"], cwd=folder,
                            stderr=subprocess.DEVNULL, **options)
    wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, 20, "it listens")
    with Demo(folder, base, "--replicas", "1") as demo:
        demo.wait_ready()
        assert "primary   of an earlier demo was still there: stopped" in demo.output
        assert left.wait(60) == 0
        assert demo.port("primary") == port
        assert demo.stop() == 0


def test_a_stale_postmaster_pid_is_no_reason_to_kill_its_new_owner(place):
    folder, base = place.new_folder(), place.port_base
    with Demo(folder, base, "--replicas", "0") as demo:
        demo.wait_ready()
        assert demo.stop() == 0
    options = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    innocent = subprocess.Popen(["sleep", "60"], cwd="/", **options)
    try:
        (folder / "primary/postmaster.pid").write_text(f"{innocent.pid}\n{folder}/primary\n")
        with Demo(folder, base, "--replicas", "0") as demo:
            demo.wait_ready()
            assert innocent.poll() is None
            assert demo.stop() == 0
    finally:
        innocent.kill()
        innocent.wait()


def test_two_demos_on_one_folder_are_refused(place):
    folder = place.new_folder()
    with Demo(folder, place.port_base, "--replicas", "1") as demo:
        demo.wait_ready()
        for options in ([], ["--fresh"]):
            said = refused(folder, place.port_base, *options)
            assert f'a demo is running already in "{folder}": process {demo.process.pid}' in said
        assert demo.psql("replica1", "SELECT 1") == "1"
        assert demo.stop() == 0


def test_a_taken_port_moves_on(place):
    folder, base = place.new_folder(), place.port_base
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base))
        taken.listen()
        with Demo(folder, base, "--replicas", "1") as demo:
            demo.wait_ready()
            assert demo.port("primary") == base + 1
            assert demo.port("replica1") == base + 2
            assert demo.stop() == 0
    # A remembered port that is taken now moves too, and the replica follows it.
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # of connections just closed
        taken.bind(("127.0.0.1", base + 1))
        taken.listen()
        with Demo(folder, base, "--replicas", "1") as demo:
            demo.wait_ready()
            assert f"port {base + 1} is taken by another program; {base} it is" in demo.output
            demo.psql("primary", "INSERT INTO account VALUES (5000, 'moved', 1)")
            wait_until(lambda: demo.psql(
                "replica1", "SELECT owner FROM account WHERE id = 5000") == "moved", 10, "replay")
            assert demo.stop() == 0


def test_servers_listen_on_this_machine_only(place):
    with Demo(place.new_folder(), place.port_base, "--replicas", "0") as demo:
        demo.wait_ready()
        listening = []
        for table in ("tcp", "tcp6"):
            with open(f"/proc/net/{table}", encoding="ascii") as file:
                # local address as hexadecimal host:port; state 0A is listening
                rows = [line.split() for line in file.readlines()[1:]]
            listening += [row[1] for row in rows
                          if row[3] == "0A" and row[1].endswith(f":{demo.port('primary'):04X}")]
        assert listening == [f"0100007F:{demo.port('primary'):04X}"]  # 127.0.0.1, and nothing else
        assert demo.stop() == 0


@pytest.mark.parametrize("name", ["replica2", "primary"])
def test_a_killed_server_is_reported_and_started_again(place, name):
    with Demo(place.new_folder(), place.port_base, "--restart", "1s") as demo:
        demo.wait_ready()
        pid = demo.pid(name)
        demo.psql("primary", "INSERT INTO account VALUES (5000, 'kept', 1)")
        os.kill(pid, signal.SIGKILL)
        demo.wait_for(rf"^\d\d:\d\d:\d\d  {name} is down: process {pid}, killed by SIGKILL$", 20)
        for other in SERVERS:
            if other != name:
                assert demo.psql(other, "SELECT 1") == "1"
        demo.wait_for(rf"{name} is back after \d+\.\d s: port {demo.port(name)}", 30)
        assert demo.psql(name, "SELECT owner FROM account WHERE id = 5000") == "kept"
        demo.psql("primary", "UPDATE account SET owner = 'later' WHERE id = 5000")
        wait_until(lambda: demo.psql(
            "replica2", "SELECT owner FROM account WHERE id = 5000") == "later", 20, "replay")
        assert demo.stop() == 0


def test_a_server_may_stay_down_until_it_is_asked_for(place):
    with Demo(place.new_folder(), place.port_base, "--replicas", "1", "--restart", "never") as demo:
        demo.wait_ready()
        os.kill(demo.pid("replica1"), signal.SIGINT)
        demo.wait_for(r"replica1 is down: process \d+, exit status 0", 10)
        assert "database system is shut down" in demo.output  # the end of its log
        asked = demo.wait_for(r"it stays down; start it again with: kill -USR1 (\d+)", 5)
        assert int(asked[1]) == demo.process.pid
        time.sleep(0.5)
        assert "is back" not in demo.output
        demo.process.send_signal(signal.SIGUSR1)
        demo.wait_for(r"replica1 is back", 30)
        # And with servers down it stops as well.
        os.kill(demo.pid("primary"), signal.SIGKILL)
        demo.wait_for(r"primary is down", 10)
        assert demo.stop() == 0


def test_a_server_that_cannot_start_again_is_tried_again(place):
    folder = place.new_folder()
    with Demo(folder, place.port_base, "--replicas", "0", "--restart", "1s") as demo:
        demo.wait_ready()
        control = folder / "primary/global/pg_control"
        control.rename(folder / "pg_control")
        os.kill(demo.pid("primary"), signal.SIGKILL)
        demo.wait_for(r"could not start primary: PostgreSQL ended, exit status \d", 20)
        assert "could not find the database system" in demo.output
        (folder / "pg_control").rename(control)
        demo.wait_for(r"it starts again in 2s", 5)
        demo.wait_for(r"primary is back", 30)
        assert demo.stop() == 0


def test_ctrl_c_while_it_starts_leaves_nothing_behind(place):
    folder, base = place.new_folder(), place.port_base
    for sign in ("making its data folder", "replica1  copying", "replica1  starting"):
        with Demo(folder, base) as demo:
            demo.wait_for(sign)
            time.sleep(0.05)
            assert demo.stop() == 0, demo.output
            assert "could not" not in demo.output
            assert not processes_in(folder)
    # What was half done is done again.
    with Demo(folder, base) as demo:
        demo.wait_ready()
        assert demo.psql("replica2", "SELECT count(*) FROM transfer") == "2000"
        assert demo.stop() == 0


def test_kill_9_while_it_starts_is_repaired_by_the_next_start(place):
    folder, base = place.new_folder(), place.port_base
    for sign in ("making its data folder", "filling the database", "replica1  copying"):
        with Demo(folder, base) as demo:
            demo.wait_for(sign)
            demo.kill()
    with Demo(folder, base) as demo:
        demo.wait_ready()
        assert demo.psql("replica2", "SELECT count(*) FROM transfer") == "2000"
        assert demo.stop() == 0


def test_a_promoted_replica_is_left_as_it_is(place):
    folder, base = place.new_folder(), place.port_base
    with Demo(folder, base, "--replicas", "1") as demo:
        demo.wait_ready()
        superuser = demo.dsn("superuser").replace(f"port={base}", f"port={demo.port('replica1')}")
        with psycopg.connect(superuser) as connection:
            assert connection.execute("SELECT pg_promote()").fetchone() == (True,)
        assert demo.psql("replica1", "SELECT pg_is_in_recovery()") == "f"
        assert demo.stop() == 0
    with Demo(folder, base, "--replicas", "1") as demo:
        demo.wait_ready()
        assert "replica1  was promoted and follows nobody" in demo.output
        assert demo.ready_seconds < 40
        assert demo.stop() == 0


def test_passwords_appear_nowhere(place):
    folder = place.new_folder()
    with Demo(folder, place.port_base) as demo:
        demo.wait_ready()
        password = password_of(folder)
        assert len(password) == 24
        with psycopg.connect(demo.dsn("primary")) as connection:
            connection.execute("SELECT 1")
        wrong = demo.dsn("primary").replace("passfile=", "passfile=/nowhere")
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(wrong)
        for what, text in everything_visible(folder):
            assert password not in text, what
            assert "SCRAM-SHA-256$" not in text, what
        assert demo.stop() == 0
        assert password not in demo.output
    for secret in ("password", "passfile"):
        assert (folder / secret).stat().st_mode & 0o077 == 0


def test_root_is_nobody_here(place):
    """Servers and demo run without root's rights, and the socket is closed to others."""
    folder = place.new_folder()
    with Demo(folder, place.port_base, "--replicas", "1") as demo:
        demo.wait_ready()
        for pid in processes_in(folder):
            with open(f"/proc/{pid}/status", encoding="ascii") as status:
                text = status.read()
            for kind in ("Uid", "Gid"):
                assert "0" not in re.search(rf"^{kind}:\t(.*)$", text, re.MULTILINE)[1].split()
            groups = re.search(r"^Groups:\t(.*)$", text, re.MULTILINE)[1].split()
            assert os.geteuid() != 0 or "0" not in groups
        for closed in ("socket", "primary", "log"):
            assert (folder / closed).stat().st_mode & 0o077 == 0
        assert demo.stop() == 0


@pytest.mark.root
def test_an_ordinary_user_can_run_it(place):
    """With the default folder, and no rights at all."""
    home = place.folder / "home"
    home.mkdir()
    subprocess.run(["chown", "nobody", home], check=True)
    folder = home / ".local/share/holdfast/demo"
    environment = {"HOME": str(home)}
    with Demo("", place.port_base, user="nobody", environment=environment) as demo:
        demo.folder = folder
        demo.wait_ready()
        assert f"Data      {folder}" in demo.output
        for name in SERVERS:
            assert demo.psql(name, "SELECT sum(balance) FROM account") == "1000000"
        assert demo.psql("superuser", "SELECT current_user") == "postgres"
        assert folder.stat().st_mode & 0o077 == 0
        assert demo.stop() == 0
    assert "belongs to the user nobody" in refused(folder, place.port_base)


@pytest.mark.root
def test_with_sudo_the_psql_line_is_for_the_user_behind_it(place):
    with Demo(place.new_folder(), place.port_base, "--replicas", "1",
              environment={"SUDO_UID": "65534"}) as demo:
        demo.wait_ready()
        assert "superuser" not in demo.output
        demo.user = "nobody"
        for name in ("primary", "replica1"):
            assert demo.psql(name, "SELECT current_user") == "demo"
        assert demo.stop() == 0


def test_missing_programs_are_said(place):
    said = refused(place.new_folder(), place.port_base, "--bindir", "/nonexistent")
    assert 'there is no program postgres in "/nonexistent"' in said
    assert "--bindir" in said


def test_programs_that_do_not_work_are_said(place):
    bindir = place.folder / "bin"
    bindir.mkdir()
    for name in ("postgres", "initdb", "pg_basebackup"):
        (bindir / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 12.3'\n")
        (bindir / name).chmod(0o755)
    said = refused(place.new_folder(), place.port_base, "--bindir", bindir)
    assert "holds PostgreSQL 12.3, which is too old" in said
    (bindir / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 99beta1'\n")
    (bindir / "initdb").write_text("#!/bin/sh\necho 'initdb: error: it is Monday' >&2; exit 3\n")
    said = refused(place.new_folder(), place.port_base, "--bindir", bindir)
    assert "making the primary's data folder failed: exit status 3" in said
    assert "initdb: error: it is Monday" in said


def test_data_of_another_major_version_is_said(place):
    folder, base = place.new_folder(), place.port_base
    with Demo(folder, base, "--replicas", "0") as demo:
        demo.wait_ready()
        assert demo.stop() == 0
    (folder / "primary/PG_VERSION").write_text("13\n")
    said = refused(folder, base)
    assert "PostgreSQL 13 made it, and here is " in said
    assert "--fresh begins anew" in said


def test_unusable_folders_are_said(place):
    base = place.port_base
    file = place.folder / "file"
    file.write_text("")
    cases = {
        file: "exists and is not a folder",
        place.folder / ("x" * 90): "bytes: at most 85 leave room",
        place.folder / "it's": "cannot use the folder",
    }
    for folder, words in cases.items():
        assert words in refused(folder, base)


@pytest.mark.root
def test_a_folder_that_the_servers_cannot_reach_is_said(place):
    closed = place.folder / "closed"
    closed.mkdir(mode=0o700)
    said = refused(closed / "demo", place.port_base)
    assert f'"{closed}" is closed to the user postgres' in said
    said = refused(closed / "other", place.port_base, user="nobody")
    assert "permission denied" in said


@pytest.fixture
def small_disk(place, request):
    mount = place.folder / "disk"
    mount.mkdir()
    options = f"mode=777,{request.param}"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", mount],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)


@pytest.mark.root
@pytest.mark.parametrize("small_disk", ["size=50m"], indirect=True)
def test_a_full_disk_is_seen_before(place, small_disk):
    said = refused(small_disk / "demo", place.port_base)
    assert re.search(r"the disk is too full: the demo needs \d+ MB, (49|50) MB are free", said)


@pytest.mark.root
@pytest.mark.parametrize("small_disk", ["size=1g,nr_inodes=500"], indirect=True)
def test_a_full_disk_is_said_when_it_happens(place, small_disk):
    said = refused(small_disk / "demo", place.port_base)
    assert "making the primary's data folder failed: the disk is full" in said
    assert "No space left on device" in said


def test_no_free_port_is_said(place):
    said = refused(place.new_folder(), 32767, "--replicas", "2")
    assert "could not find a free port for replica" in said


def test_without_replicas_there_is_only_a_primary(place):
    with Demo(place.new_folder(), place.port_base, "--replicas", "0") as demo:
        demo.wait_ready()
        assert "replica1" not in demo.output
        assert demo.stop() == 0


def test_the_environment_of_other_programs_does_not_matter(place):
    environment = {"PGHOST": "/nowhere", "PGPORT": "1", "PGUSER": "x", "PGOPTIONS": "-c x=y",
                   "PGSSLMODE": "require", "PGDATA": "/nowhere", "LC_ALL": "xx_YY"}
    with Demo(place.new_folder(), place.port_base, environment=environment) as demo:
        demo.wait_ready()
        assert demo.stop() == 0
