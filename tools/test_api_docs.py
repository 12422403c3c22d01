"""What tools/api_docs.py makes of a header."""

import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import api_docs  # noqa: E402

LINE = "-" * 96
SMALL = f"""\
/*
 * A library: what it is for.
 *
 *     x_open();
 *
 *  1. A rule that goes
 *     on in the next line.
 */
#define HF_API

/* {LINE}
 * Opening: and closing
 * {LINE} */

struct x; /* a thing */

/* Opens `it`. */
HF_API int hf_open(struct x **it,
                   int how);
/* Closes it. */
HF_API void hf_close(struct x *it);

enum hf_how {{
    HF_FAST, /* and

              * loose */
}};

#ifdef __cplusplus
}}
#endif
"""


def parsed():
    return api_docs.parse(SMALL)


def test_items_are_comments_with_what_follows_them():
    _, (section,) = parsed()
    assert (section.title, section.prose) == ("Opening", "And closing")
    assert [item.names for item in section.items] == [
        ["struct x"], ["hf_open()"], ["hf_close()"], ["enum hf_how"]]
    assert section.items[1].prose == "Opens `it`."
    assert section.functions == ["hf_open", "hf_close"]


def test_rules_flow_and_code_stands_as_it_is():
    overview, sections = parsed()
    text = api_docs.reference(overview, sections)
    assert "```text\nx_open();\n```" in text
    assert "1. A rule that goes\non in the next line." in text
    assert "int hf_open(struct x **it,\n            int how);" in text


def test_a_man_page_has_its_names_and_hides_what_roff_would_read():
    _, (section,) = parsed()
    page = api_docs.man_page(section)
    assert ".SH NAME\nhf_open, hf_close \\- open and close" in page
    assert api_docs.roff(".x\n-1 \\n") == "\\&.x\n\\-1 \\en"


def test_every_function_of_the_header_has_its_place():
    import library_symbols
    _, sections = api_docs.parse(api_docs.HEADER.read_text(encoding="ascii"))
    found = sorted(name for section in sections for name in section.functions)
    assert found == library_symbols.declared(api_docs.HEADER.read_text(encoding="ascii"))
