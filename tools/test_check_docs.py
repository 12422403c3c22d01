"""Documents that are wrong in each way that tools/check_docs.py looks for."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import check_docs  # noqa: E402
import refusals  # noqa: E402
from house.tree import Tree  # noqa: E402

GOOD = """\
# A title, with words

See [below](#the-second-part), [the note](docs/note.md#a-note) and [outside](https://example.org).
The file `src/base/low.h` and the folder `src/base/`; all of `src/base/*.h`; `src/NAME/low.h`;
`other/thing` is not ours. Run `./check --quick`.

## The second part

```c
#include "base/low.h"
int n = LOW;
```

```console
$ hello you
hello you
$ printf 'a\\nb 17 c\\nd\\n'
...
b ... c
d
```

```sh
$ this is not run
```
"""

FILES = {
    "README.md": GOOD,
    "docs/note.md": "# A note\n",
    "src/base/low.h": "#define LOW 1\n",
    "src/LAYERS": "",
    "check": "# ./check --quick\n",
    "bin/hello": "#!/bin/sh\necho hello $1\n",
}

BREACHES = [
    ("links_lead_somewhere", "[x](docs/none.md)", "README.md:27: links to docs/none.md"),
    ("links_lead_somewhere", "[x](#no-such-part)", "no such heading"),
    ("links_lead_somewhere", "[x](docs/note.md#nothing)", "no such heading"),
    ("named_files_exist", "`src/base/none.c`", "README.md:27: names src/base/none.c"),
    ("named_files_exist", "`src/none/*.c`", "names src/none/*.c"),
    ("options_exist", "`./check --slow`", "README.md:27: shows ./check --slow"),
    ("options_exist", "`./run --fresh`", "shows ./run --fresh"),
    ("c_blocks_compile", "```c\nint x = \"text\";\n```", "README.md:28: does not compile"),
    ("console_blocks_are_true", "```console\n$ hello me\nhello you\n```",
     "README.md:28: `hello me`"),
    ("console_blocks_are_true", "```console\n$ hello me\n```", "printed otherwise"),
    ("console_blocks_are_true", "```console\n$ missing-program\nhello\n```", "not found"),
    ("console_blocks_are_true", "```console\n$ true\n$ true\nx\n```", "README.md:29"),
]

RULES = {rule.__name__: rule for _, rule in check_docs.RULES}


@pytest.fixture
def tree_with(tmp_path):
    def make(addition=""):
        for path, text in FILES.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        (tmp_path / "bin/hello").chmod(0o755)
        (tmp_path / "README.md").write_text(GOOD + "\n" + addition + "\n")
        tree = Tree(tmp_path)
        tree.programs = tmp_path / "bin"
        return tree
    return make


@pytest.mark.parametrize("name", RULES)
def test_true_documents_pass(tree_with, name):
    assert list(RULES[name](tree_with())) == []


@pytest.mark.parametrize("name, addition, words", BREACHES,
                         ids=[f"{number}-{row[0]}" for number, row in enumerate(BREACHES)])
def test_wrong_documents_are_caught(tree_with, name, addition, words):
    breaches = list(RULES[name](tree_with(addition)))
    assert len(breaches) == 1 and words in breaches[0], breaches


def test_a_reference_that_has_drifted_is_caught(monkeypatch, tree_with):
    drifted = {path: text + "more" for path, text in check_docs.api_docs.made().items()}
    monkeypatch.setattr(check_docs.api_docs, "made", lambda: drifted)
    assert len(list(RULES["the_header_is_documented"](tree_with()))) == len(drifted) > 0


@pytest.fixture
def proxy_of(tmp_path):
    """A copy of what the list of refusals is compared with, one of its sources changed."""
    def make(path, found, put):
        no_packages = shutil.ignore_patterns("node_modules")
        for folder in ("src", "test/unit", "test/integration", "docs/reference"):
            shutil.copytree(refusals.ROOT / folder, tmp_path / folder, ignore=no_packages)
        text = (tmp_path / path).read_text()
        assert found in text
        (tmp_path / path).write_text(text.replace(found, put, 1))
        return list(refusals.problems(tmp_path))
    return make


@pytest.mark.parametrize("path, found, put, words", [
    ("client.c", '"canceling st', '"stopping st', "is not in src/proxy/REFUSALS"),
    ("client.c", '"canceling st', '"stopping st', "nothing in the sources says this"),
    ("refusals.c", '{"57014",', '{"00000",', "has no HINT"),
])
def test_a_refusal_that_is_not_as_the_list_says_is_caught(proxy_of, path, found, put, words):
    assert any(words in problem for problem in proxy_of("src/proxy/" + path, found, put))


def test_every_rule_has_a_breach():
    elsewhere = {"the_header_is_documented", "refusals_are_listed"}
    assert {name for name, *_ in BREACHES} | elsewhere == set(RULES)
