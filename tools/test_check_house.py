"""Each rule of the house is broken once, in a small house made for it, and must be noticed.

A rule that cannot fail checks nothing. `test_every_rule_has_a_plant` keeps this file complete: a
new rule in check_house.py needs a new row in PLANTS.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import check_house  # noqa: E402
from house import rules_includes, rules_objects, rules_text  # noqa: E402
from house.tree import Tree, functions  # noqa: E402

LAYERS = """\
words bytes = memcpy memset __assert_fail __stack_chk_fail snprintf __snprintf_chk
words plain = stddef.h stdint.h stdio.h stdatomic.h
folder base | pure     |         | bytes | plain
folder core | pure     | base    | bytes | plain
folder os   | platform | base    |       |
folder ha   | driver   | core os |       |
folder dr   | driver   | core os |       |
folder cli  | face     | core ha |       |
"""

HEADER = """\
/* What it is. */
#ifndef HF_{folder}_{name}_H
#define HF_{folder}_{name}_H

int {name_lower}_twice(int n);

#endif
"""

SMALL_HOUSE = {
    "src/LAYERS": LAYERS,
    "src/base/low.h": HEADER.format(folder="BASE", name="LOW", name_lower="low"),
    "src/base/low.c": '#include "base/low.h"\n\nint low_twice(int n)\n{\n    return 2 * n;\n}\n',
    "src/core/mid.h": HEADER.format(folder="CORE", name="MID", name_lower="mid"),
    "src/core/mid.c": '#include "core/mid.h"\n\n#include "base/low.h"\n\n'
                      "int mid_twice(int n)\n{\n    return low_twice(n);\n}\n",
    "src/os/clk.h": HEADER.format(folder="OS", name="CLK", name_lower="clk"),
    "src/os/clk.c": '#include "os/clk.h"\n\n#include <time.h>\n\n'
                    "int clk_twice(int n)\n{\n    return (int)time(NULL) + n;\n}\n",
    "src/ha/agent.h": HEADER.format(folder="HA", name="AGENT", name_lower="agent"),
    "src/ha/agent.c": '#include "ha/agent.h"\n\n#include "os/clk.h"\n\n'
                      "int agent_twice(int n)\n{\n    return clk_twice(n);\n}\n",
    "src/cli/main.c": '#include "core/mid.h"\n#include "ha/agent.h"\n\nstatic int calls;\n\n'
                      "int main(void)\n{\n    return mid_twice(++calls) + agent_twice(1);\n}\n",
    "test/unit/test_low.c": "static void low__doubles(void **state)\n{\n}\n",
    "test/unit/test_low_more.c": "static void low__doubles_again(void **state)\n{\n}\n",
    "test/unit/test_mid.c": "static void mid__doubles(void **state)\n{\n}\n",
    "README.md": "A small house.\n",
}

LONG_FUNCTION = "int low_long(int n)\n{\n" + "    n++;\n" * 70 + "    return n;\n}\n"

# The rule's function, the file that is written or (with a leading +) added to, the text, and words
# of the breach that must name that file.
PLANTS = [
    ("layers_are_in_order", "src/web/page.c", "int x;\n", "src/web has sources"),
    ("layers_are_in_order", "+src/LAYERS", "folder x | pure | later | |\n",
     "LAYERS:9: x may not include later"),
    ("layers_are_in_order", "+src/LAYERS", "folder x | pure | os | |\n", "is pure and may not"),
    ("layers_are_in_order", "+src/LAYERS", "folder x | driver | ha | |\n", "are drivers"),
    ("layers_are_in_order", "+src/LAYERS", "folder x | solid | | |\n", "expected `folder"),
    ("layers_are_in_order", "+src/LAYERS", "file core/gone.c | getpid |\n",
     "gone.c does not exist"),
    ("layers_are_in_order", "+src/LAYERS", "file os/clk.c | getpid |\n", "in no pure folder"),
    ("layers_are_in_order", "+src/LAYERS", "file core/mid.c\n", "expected `file"),
    ("includes_follow_the_layers", "+src/base/low.c", '#include "core/mid.h"\n',
     "low.c:7: base may not include core"),
    ("includes_follow_the_layers", "+src/ha/agent.c", '#include "dr/backup.h"\n', "agent.c:9: "),
    ("includes_follow_the_layers", "+src/core/mid.c", '#  include "../base/low.h"\n',
     'not written as "folder/file.h"'),
    ("includes_follow_the_layers", "+src/core/mid.c", '#include "core/mid.c"\n', "only headers"),
    ("private_headers_stay_home", "+src/core/mid.c", '#include "base/low_int.h"\n',
     "mid.c:9: src/core/mid.c may not include base/low_int.h"),
    ("own_header_comes_first", "src/core/mid.c", '#include "base/low.h"\n#include "core/mid.h"\n',
     "before its own header"),
    ("no_umbrella_headers", "src/core/all.h", '#define A\n#include "core/mid.h"\n'
     '#include "base/low.h"\n', "only includes others"),
    ("no_umbrella_headers", "src/core/all.h", "int f(void);\n" + '#include "base/low.h"\n' * 13,
     "13 of our headers"),
    ("system_headers_of_pure_folders", "+src/core/mid.c", "#include <time.h>\n",
     "core is pure and may not include <time.h>"),
    ("system_headers_of_pure_folders", "+src/core/mid.c", "#include <stdio.h>\n", "calls snprintf"),
    ("system_headers_of_pure_folders", "+src/core/mid.h", "#include <stdatomic.h>\n", "*_mt.h"),
    ("headers_compile_alone", "+src/core/mid.h", "size_t mid_size(void);\n", "alone with gcc"),
    ("headers_compile_alone", "+src/core/mid.h", "size_t mid_size(void);\n", "alone with clang"),
    ("headers_compile_alone", "+src/core/mid.h", "static int mid_unused(void) { return 1; }\n",
     "alone with gcc"),
    ("functions_are_short", "+src/base/low.c", LONG_FUNCTION, "low.c:7: low_long has 74 lines"),
    ("functions_are_short", "+src/base/low.c", "}\n", "closes what none opened"),
    ("files_are_short", "+src/base/low.c", "\n" * 800, "low.c:801: 806 lines"),
    ("lines_are_short", "+src/base/low.c", "/* " + "x" * 95 + " */\n", "low.c:7: 101 columns"),
    ("text_is_plain", "+src/base/low.c", "/* na\u00efve */\n", "low.c:7: '\u00ef' (U+00EF)"),
    ("text_is_plain", "+README.md", "a\tb\n", "README.md:2: has a tab"),
    ("text_is_plain", "+README.md", "a \n", "README.md:2: has blanks"),
    ("text_is_plain", "+README.md", "a", "README.md:2: does not end"),
    ("nothing_is_unfinished", "+src/base/low.c", "/* TO" + "DO: later */\n", "low.c:7: says"),
    ("file_names_are_unique", "src/core/low.h", "", "same name as src/base/low.h"),
    ("guards_name_their_file", "src/core/mid.h", SMALL_HOUSE["src/base/low.h"], "HF_CORE_MID_H"),
    ("guards_name_their_file", "+src/core/mid.h", "int mid_outside(void);\n", "mid.h:1: "),
    ("guards_name_their_file", "test/unit/unit.h", SMALL_HOUSE["src/base/low.h"], "unit.h:1: "),
    ("guards_name_their_file", "src/core/bare.h", "int bare(void);\n", "bare.h:1: "),
    ("banned_functions", "+src/core/mid.c", "int mid_n(char *s) { return atoi (s); }\n",
     "mid.c:9: atoi is banned"),
    ("banned_functions", "+test/unit/test_low.c", "x = strcpy(a, b);\n", "test_low.c:4: strcpy"),
    ("pure_sources_have_their_test", "src/core/lone.c", "", "has no test/unit/test_lone.c"),
    ("pure_sources_have_their_test", "src/core/mid_mt.h", "", "included by no test"),
    ("test_cases_name_their_module", "+test/unit/test_low.c", "static void doubles(void **s)\n",
     "test_low.c:4: doubles is not named low__"),
    ("test_cases_name_their_module", "+test/unit/test_mid.c", "static void low__x(void **s)\n",
     "test_mid.c:4: low__x is not named mid__"),
    ("every_source_is_built", "src/core/lone.c", None, "is part of no target"),
    ("symbols_of_pure_objects", "+src/core/mid.c",
     "#include <stdlib.h>\nvoid *mid_new(void)\n{\n    return malloc(3);\n}\n",
     "mid.c:12: core is pure and may not use malloc"),
    ("symbols_of_pure_objects", "+src/base/low.c",
     '#include "core/mid.h"\nint low_up(int n)\n{\n    return mid_twice(n);\n}\n',
     "base is pure and may not use mid_twice"),
    ("symbols_of_pure_objects", "+src/core/mid.c",
     "#include <time.h>\nint mid_now(void)\n{\n    return (int)time(0);\n}\n", "may not use time"),
    ("no_writable_data", "+src/core/mid.c",
     "int mid_count(void)\n{\n    static int counter;\n    return ++counter;\n}\n",
     "mid.c:11: 4 bytes of writable data (counter)"),
    ("no_writable_data", "+src/core/mid.c",
     "int mid_count(void)\n{\n    static _Thread_local int seen = 3;\n    return ++seen;\n}\n",
     "writable data"),
    ("no_writable_data", "+src/os/clk.c",
     "int clk_count(void)\n{\n    static int counter = 7;\n    return ++counter;\n}\n",
     "(counter)"),
    ("what_is_exported_is_used", "+src/core/mid.c", "int mid_lonely(int n)\n{\n    return n;\n}\n",
     "mid.c:9: mid_lonely is used by no other file"),
    ("what_is_exported_is_used", "+src/core/mid.c", "const int mid_table[2] = {1, 2};\n",
     "mid.c:9: mid_table is data"),
]

ALL_RULES = {rule.__name__: rule for _, rule in check_house.RULES + check_house.OBJECT_RULES}


def write(root, files):
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def build(root):
    """Objects and a compile_commands.json, as meson would leave them."""
    commands = []
    for source in sorted(root.glob("src/*/*.c")):
        name = source.relative_to(root).as_posix()
        output = f"{source.parent.name}.p/{source.name}.o"
        (root / "build" / output).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["gcc", "-O2", "-fPIC", "-Isrc", "-c", name, "-o", f"build/{output}"],
                       cwd=root, check=True)
        commands.append({"directory": str(root / "build"), "file": f"../{name}", "output": output})
    (root / "build/compile_commands.json").write_text(json.dumps(commands))


@pytest.fixture
def small_house(tmp_path, monkeypatch):
    for module, exceptions in ((rules_objects, "WRITABLE_ALLOWED"), (rules_text, "WIDE"),
                               (rules_text, "WITHOUT_OWN_TEST")):
        monkeypatch.setattr(module, exceptions, {})
    write(tmp_path, SMALL_HOUSE)
    build(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ALL_RULES)
def test_the_small_house_keeps_every_rule(small_house, name):
    assert list(ALL_RULES[name](Tree(small_house, small_house / "build"))) == []


@pytest.mark.parametrize("name, path, text, words", PLANTS,
                         ids=[f"{number}-{plant[0]}" for number, plant in enumerate(PLANTS)])
def test_a_planted_breach_is_caught(small_house, name, path, text, words):
    file = path.lstrip("+")
    before = (small_house / file).read_text() if path.startswith("+") else ""
    write(small_house, {file: before + (text or "")})
    if ALL_RULES[name] in dict(check_house.OBJECT_RULES).values() and text is not None:
        build(small_house)
    breaches = list(ALL_RULES[name](Tree(small_house, small_house / "build")))
    assert any(words in breach for breach in breaches), breaches
    assert all(breach.startswith((file + ":", "src/LAYERS:")) for breach in breaches), breaches


def test_a_file_line_grants_to_that_file_only(small_house):
    more = "#include <unistd.h>\nint {0}_pid(void)\n{{\n    return getpid();\n}}\n"
    write(small_house, {"src/LAYERS": LAYERS + "file core/mid.c | getp* | unistd.h\n",
                        "src/core/mid.c": SMALL_HOUSE["src/core/mid.c"] + more.format("mid"),
                        "src/base/low.c": SMALL_HOUSE["src/base/low.c"] + more.format("low")})
    build(small_house)
    tree = Tree(small_house, small_house / "build")
    for rule in (rules_objects.symbols_of_pure_objects,
                 rules_includes.system_headers_of_pure_folders):
        assert [breach.split(":")[0] for breach in rule(tree)] == ["src/base/low.c"]


def test_every_rule_has_a_plant():
    assert {name for name, *_ in PLANTS} == set(ALL_RULES)


def test_an_exception_for_a_missing_file_is_a_breach(small_house, monkeypatch):
    monkeypatch.setattr(rules_objects, "WRITABLE_ALLOWED", {"src/os/gone.c": "a reason"})
    monkeypatch.setattr(rules_text, "WITHOUT_OWN_TEST", {"src/core/gone.c": "a reason"})
    monkeypatch.setattr(rules_text, "WIDE", {"tools/gone.py": "a reason"})
    tree = Tree(small_house, small_house / "build")
    assert any("gone.c" in breach for breach in rules_objects.no_writable_data(tree))
    assert any("gone.c" in breach for breach in rules_text.pure_sources_have_their_test(tree))
    assert any("gone.py" in breach for breach in rules_text.lines_are_short(tree))


def test_an_include_in_a_comment_is_no_include(small_house):
    write(small_house, {"src/base/low.h": "/*\n#include \"core/mid.h\"\n*/\nint x;\n"})
    assert list(rules_includes.includes_follow_the_layers(Tree(small_house))) == []


def test_a_rule_that_breaks_is_a_failure(small_house, capsys):
    tree = Tree(small_house, small_house / "nowhere")
    assert not check_house.run_rule("built", rules_objects.every_source_is_built, tree)
    assert capsys.readouterr().out.startswith("not ok")


FUNCTIONS = [
    ("int f(void)\n{\n}\n", [("f", 1, 3)]),
    ("\n\nstatic struct x *\nf(int a)\n{\n    if (a) {\n    }\n}\n", [("f", 3, 8)]),
    ("static void FORMAT(3, 0) f(char *s)\n{\n}\n", [("f", 1, 3)]),
    ("struct x {\n    int a;\n};\nenum y { A, B };\n", []),
    ("static const int t[] = {\n    F(1),\n};\n", []),
    ("struct __attribute__((packed)) x {\n    int a;\n};\n", []),
    ("#define M(x) {\n/* { */ int f(void) { return '{' + \"{\"[0]; }\n", [("f", 2, 2)]),
    ("int f(int (*g)(int), int b)\n{\n}\nint h(void);\nint i(void) {}\n",
     [("f", 1, 3), ("i", 5, 5)]),
]


@pytest.mark.parametrize("text, expected", FUNCTIONS, ids=range(len(FUNCTIONS)))
def test_functions_are_found(text, expected):
    assert [(f.name, f.first_line, f.last_line) for f in functions(text)] == expected
