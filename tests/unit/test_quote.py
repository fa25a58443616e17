"""The quoting filters: whatever goes in comes out as itself in the language it was quoted for."""

import html
import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from markdown_it import MarkdownIt

from conda_concept.render.quote import code, markdown, shell, tcl, templates

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)
NASTY = (
    "@everyone see #1 and GH-2",
    "[click](https://evil.example) ![x](y) <img src=x onerror=alert(1)>",
    "a|b|c",
    "`code` ``more`` *b* _i_ ~~s~~",
    "line\nbreak\r\n# heading\n- item",
    "https://evil.example/path www.evil.example me@evil.example",
    "\u202etxt.exe",
    "&lt;script&gt; &amp;",
    "\\",
    "$(id) `id` ${HOME}",
)


def rendered(text: str) -> str:
    """As GitHub does, which makes no link of a bare name with a dot, as the library would."""
    reader = MarkdownIt("gfm-like")
    assert reader.linkify is not None
    reader.linkify.set({"fuzzy_link": False})
    return str(reader.render(text)).strip()


def visible(text: str) -> str:
    """What a reader sees: without tags, entities decoded, joiners out."""
    return html.unescape(re.sub(r"<[^>]*>", "", text)).replace("\u200d", "")


@pytest.mark.parametrize("value", NASTY)
def test_markdown_shows_text_and_nothing_else(value: str) -> None:
    assert "www." not in markdown(value)
    out = rendered(f"x {markdown(value)} y")
    assert set(re.findall(r"<(/?[a-z0-9]+)", out)) == {"p", "/p"}, out
    expected = " ".join(value.replace("\u202e", "�").split())
    assert visible(out) == f"x {expected} y"


def test_a_mention_and_an_issue_number_are_broken_by_a_joiner() -> None:
    assert "@everyone" not in markdown("@everyone")
    assert "#1" not in markdown("#1")


@given(TEXT)
def test_markdown_never_makes_a_tag_or_a_second_line(value: str) -> None:
    quoted = markdown(value)
    assert "\n" not in quoted
    assert "<" not in quoted
    assert not re.search(r"(?i)\bwww\.", quoted)  # a link on GitHub, but not for the library as it is set here
    out = rendered(f"x {quoted} y")
    assert set(re.findall(r"<(/?[a-z0-9]+)", out)) == {"p", "/p"}, out


@pytest.mark.parametrize("value", [*NASTY, "", "`", "``", " `x` ", "a`b``c"])
def test_code_spans_hold_anything_even_in_a_table(value: str) -> None:
    out = rendered(f"| a | b |\n|---|---|\n| {code(value)} | second |\n")
    assert out.count("<td>") == 2, out
    assert "<td>second</td>" in out
    assert re.findall(r"<(?!/?(?:table|thead|tbody|tr|th|td|code)\b)", out) == []


@given(TEXT)
def test_shell_words_come_back(value: str) -> None:
    assert shlex.split(shell(value)) == [value]


def test_a_nul_character_fits_nowhere() -> None:
    for quote in (tcl, shell):
        with pytest.raises(ValueError, match="NUL"):
            quote("a\x00b")


def test_an_undefined_name_in_a_template_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        templates().from_string("{{ nothing | sh }}").render()
