"""The metrics of libholdfast as docs/reference/library-metrics.md lists them, made from real pages.

    python3 test/integration/test_library_metrics.py LIBRARY CONNINFO \\
        > docs/reference/library-metrics.md
"""

import ctypes
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reference/library-metrics.md"

HEAD = """# libholdfast: metrics

What `hf_metrics()` and `hf_guard_metrics()` write, in Prometheus' text format. The names are
stable. `endpoint` is a server as "host:port", `guard` the name of a guarded function, `operation`
what a call's options say; at most 256 operations are told apart, and the others are counted as
`(others)`. What is not known (the lag of a replica that was never asked) has no sample. Let the
pages of several databases or guards be scraped one by one: each of them begins every family anew.

This page is made by `test/integration/test_library_metrics.py` from the pages themselves, and a
test compares them.
"""


def pages(library, conninfo):
    """The text of both."""
    lib = ctypes.CDLL(str(library))
    lib.hf_metrics.restype = lib.hf_guard_metrics.restype = ctypes.c_size_t
    found = []
    db, guard = ctypes.c_void_p(), ctypes.c_void_p()
    err = ctypes.create_string_buffer(4096)
    assert lib.hf_open(ctypes.byref(db), conninfo.encode(), err) == 0, err.raw[80:300]
    rows = ctypes.c_void_p()
    # struct hf_call_options: all zero but for `operation`, behind five words of eight bytes.
    options = (ctypes.c_void_p * 32)()
    name = ctypes.c_char_p(b"x")
    options[5] = ctypes.cast(name, ctypes.c_void_p)
    code = lib.hf_query(db, b"SELECT 1", None, options, ctypes.byref(rows), err)
    assert code == 0, err.raw[80:300]
    lib.hf_rows_free(rows)
    assert lib.hf_guard_new(ctypes.byref(guard), None, err) == 0
    for write, what in (lib.hf_metrics, db), (lib.hf_guard_metrics, guard):
        text = ctypes.create_string_buffer(1 << 20)
        assert 0 < write(what, text, ctypes.c_size_t(1 << 20)) < 1 << 20
        found.append(text.value.decode())
    lib.hf_guard_free(guard)
    lib.hf_close(db)
    return found


def table(page):
    lines = ["", "| metric | type | labels | |", "|---|---|---|---|"]
    for name, words in re.findall(r"^# HELP (\S+) (.*)$", page, re.M):
        kind = re.search(rf"^# TYPE {name} (\S+)$", page, re.M)[1]
        labels = sorted(set(re.findall(r'[{,](\w+)="', "\n".join(
            re.findall(rf"^{name}(?:{{.*}})? .*$", page, re.M)))))
        shown = ", ".join(f"`{label}`" for label in labels)
        lines.append(f"| `{name}` | {kind} | {shown} | {words} |")
    return "\n".join(lines) + "\n"


def document(library, conninfo):
    database, guard = pages(library, conninfo)
    return (HEAD + "\n## Of a database\n" + table(database) + "\n## Of a guarded function\n" +
            table(guard))


def test_the_page_lists_every_metric(new_place):
    import proxy_rig
    from library_rig import build_folder, conninfo
    place = new_place()
    server = proxy_rig.PostgresServer(place.new_folder(), proxy_rig.free_port())
    try:
        made = document(build_folder() / "include/libholdfast.so.1", conninfo(server))
    finally:
        server.stop()
        place.close()
    assert PAGE.read_text() == made, f"{PAGE} is old: see the head of this file"


if __name__ == "__main__":
    sys.stdout.write(document(sys.argv[1], sys.argv[2]))
