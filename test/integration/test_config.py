"""holdfast config: what it says about a file, the sample, and the page in docs."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def call(holdfast, *arguments, **more):
    return subprocess.run([holdfast, "config", *arguments], capture_output=True, text=True,
                          timeout=120, stdin=subprocess.DEVNULL, check=False, **more)


def test_the_sample_is_fine(holdfast, tmp_path):
    file = tmp_path / "holdfast.yml"
    file.write_text(call(holdfast, "example").stdout)
    done = call(holdfast, "check", file)
    assert done.returncode == 0 and done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first == f"{file} is fine: databases 1, roles 1, users 0, rules 2"
    assert "nobody can log in" in second


def test_the_page_in_docs_is_what_the_rows_say(holdfast):
    page = ROOT / "docs/reference/config.md"
    assert page.read_text() == call(holdfast, "reference").stdout, (
        "docs/reference/config.md is old: holdfast config reference > docs/reference/config.md")


def test_the_page_of_the_librarys_options_is_what_their_rows_say(holdfast):
    page = ROOT / "docs/reference/library.md"
    assert page.read_text() == call(holdfast, "library").stdout, (
        "docs/reference/library.md is old: holdfast config library > docs/reference/library.md")


def test_all_faults_are_told_with_place_key_and_advice(holdfast, tmp_path):
    file = tmp_path / "holdfast.yml"
    file.write_text("proxy:\n"
                    "  prot: 6432\n"
                    "pools: {pool_mode: transactions, query_timeout: 5}\n"
                    "databases:\n"
                    "  app: {hosts: db1, password: hunter2}\n")
    done = call(holdfast, "check", file)
    assert done.returncode == 1 and done.stdout == ""
    assert "hunter2" not in done.stderr
    assert done.stderr.splitlines() == [
        f"{file}:2:3: proxy.prot: there is no such setting here",
        '    Did you mean "port"?',
        f'{file}:3:20: pools.pool_mode: "transactions" is not known here',
        '    Did you mean "transaction"?',
        f'{file}:3:49: pools.query_timeout: "5" is not a duration: the unit is missing',
        "    Write numbers with units, such as 100ms, 5s or 1h30min; the units are ns, us, ms, s, "
        "min, h and d.",
    ]


def test_files_that_it_names_are_looked_at(holdfast, tmp_path):
    file = tmp_path / "holdfast.yml"
    file.write_text("proxy: {auth_file: users.txt, auth_hba_file: hba.conf}\n"
                    "databases: {'*': {hosts: db1}}\n")
    (tmp_path / "users.txt").write_text('"bob" "hunter2"\n"eve" hunter2\n')
    (tmp_path / "hba.conf").write_text("host all all all md5\n")
    done = call(holdfast, "check", file)
    assert done.returncode == 1
    assert f"{tmp_path}/users.txt: line 2: this is not a name and a secret" in done.stderr
    assert "hunter2" not in done.stderr
    (tmp_path / "users.txt").write_text('"bob" "hunter2"\n')
    (tmp_path / "hba.conf").write_text("host all all all md5\nhost all +group all md5\n")
    done = call(holdfast, "check", file)
    assert done.returncode == 1
    assert f'{tmp_path}/hba.conf: line 2: "+group" is a group' in done.stderr
    (tmp_path / "hba.conf").write_text("host all all all md5\n")
    done = call(holdfast, "check", file)
    assert done.returncode == 0
    assert done.stdout.endswith("users 1, rules 1\n")


def test_certificates_that_it_names_are_read(holdfast, tmp_path):
    file = tmp_path / "holdfast.yml"
    file.write_text("proxy: {client_tls: {sslmode: require, cert_file: c.pem, key_file: k.pem}}\n"
                    "databases: {'*': {hosts: db1}}\n")
    done = call(holdfast, "check", file)
    assert done.returncode == 1
    assert f"{tmp_path}/c.pem" in done.stderr
    (tmp_path / "c.pem").write_text("no certificate")
    (tmp_path / "k.pem").write_text("no key")
    (tmp_path / "k.pem").chmod(0o600)
    done = call(holdfast, "check", file)
    assert done.returncode == 1 and "c.pem" in done.stderr


def test_the_proxy_gives_the_advice_for_a_setting_too(holdfast, tmp_path):
    """One mistake is told with its own advice, more of them with how to see them all."""
    (tmp_path / "one.yml").write_text("databases: {a: {hosts: b}}\npools: {log_slow: 1s}\n")
    (tmp_path / "two.yml").write_text("databases: {a: {hosts: b}}\npools: {log_slow: 1s, x: 1}\n")
    for name, advice in ("one.yml", 'It belongs into the section "proxy".'), (
            "two.yml", "holdfast config check two.yml shows all that is wrong."):
        done = subprocess.run([holdfast, "proxy", "--config", name], cwd=tmp_path, timeout=120,
                              capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert f"{name}:2:9: pools.log_slow: there is no such setting here" in done.stderr
        assert advice in done.stderr


def test_a_wrong_call_is_told_from_a_wrong_file(holdfast, tmp_path):
    for words in ([], ["chekc"], ["check"], ["example", "x"], ["reference", "x"],
                  ["check", "a", "b"]):
        assert call(holdfast, *words).returncode == 2, words
    done = call(holdfast, "check", tmp_path / "none.yml")
    assert done.returncode == 1
    assert "no such file or directory" in done.stderr
