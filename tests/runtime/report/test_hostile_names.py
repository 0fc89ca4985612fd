"""Names of images and classes are text in report.md and on the terminal, whatever they say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.report import markdown
from runtime.report.cells import Table
from runtime.text import inert, printable, without_markup

markdown_it = pytest.importorskip("markdown_it")

NAMES = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "![x](http://evil.example/x.png)",
    "[click](javascript:alert(1))", "[a]: http://evil.example", "`code` <b>", "a | b", "**bold**",
    "\\<b>", "&lt;b&gt;", "<http://evil.example>", "a\n# heading", "a\r\n<b>", "<!-- hidden",
    "\x1b[2J\x1b]0;title\x07", "\u202egpj.exe", "~~gone~~", "a\\", "|", "```", "<a@b.example>",
]  # fmt: skip
PROBE = {
    "kind": "prototypes", "why": "the least log-loss", "labelled": 20, "classes_without_label": [],
    "candidates": [], "temperature": 0.5, "calibrated": True,
}  # fmt: skip


def parts(text):
    """The kinds of parts that a viewer finds in a Markdown text, in depth, and all its words."""
    viewer = markdown_it.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    found, words = [], []
    for token in viewer.parse(text):
        for each in [token, *(token.children or ())]:
            found.append(each.type)
            words.append(each.content if each.type in ("text", "code_inline") else "")
    return found, "".join(words)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_in_the_report(document, read, name):
    usual = [kind for kind in parts(page(document, read, "cat"))[0] if kind != "text"]
    kinds, _ = parts(page(document, read, name))
    assert [kind for kind in kinds if kind != "text"] == usual
    shown = markdown.text(read(document))
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def page(document, read, name):
    document["probe"], document["classes_without_label"] = PROBE, [name, "dog"]
    document["golden"]["set_apart_as_seen_in_training"] = [f"{name}.png"]
    document["data"] = {"images": 9, "classes": {name: {"train": 5, "holdout": 4}}}
    document["target"]["name"] = name
    return markdown.markdown(read(document))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_name_is_text_in_a_sentence_and_in_a_cell(name):
    for text in (f"It names {inert(name)}.", Table.of(["image"], [[name]]).markdown):
        kinds, words = parts(text)
        assert not {"html_inline", "html_block", "link_open", "image", "code_inline"} & set(kinds)
        assert not {"em_open", "strong_open", "s_open", "fence", "softbreak"} & set(kinds) - {
            "em_open", "strong_open"  # of underscores: letters in italics harm nobody
        }  # fmt: skip
        if name.isalnum():
            assert name in words


@given(st.text(max_size=20).filter(lambda name: printable(name, lines=False) == name))
def test_what_is_escaped_for_markdown_stands_on_the_page_as_it_was(name):
    assert without_markup(f"**Lost: {inert(name)}.** See `x`") == f"Lost: {name}. See x"


@pytest.mark.parametrize("name", ["https://evil.example/a", "www.evil.example", "a@evil.example"])
def test_no_viewer_makes_a_link_of_an_address(name):
    """GitHub does, of addresses without brackets: https://, www. and mail."""
    assert name not in inert(name)
