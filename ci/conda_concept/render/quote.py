"""Quoting: the only way that a value gets into Tcl, shell or Markdown. Templates use these as filters.

Templates are files with `if` and `for` only; an undefined name is an error; nothing is escaped by guesswork, because
each language has its own filter here and each filter has its tests.
"""

import re
import shlex
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"

#: What has a meaning wherever it stands in a line. Underscores inside a word have none.
_MARKDOWN = re.compile(r"[\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
#: What has a meaning at the start of a line only.
_LINE_START = re.compile(r"^(?:[-+=#>]|\d+(?=[.)]))")
#: What GitHub turns into a link, a mention or a picture: broken by a zero-width joiner, which a backslash is not.
_LINKED = re.compile(r"@|#(?=\d)|\bGH-(?=\d)|:(?=//)|:(?=[a-z0-9_+-]+:)|\bwww(?=\.)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


def tcl(value: str) -> str:
    r"""One Tcl word that is exactly `value`: every character that Tcl gives a meaning is escaped with a backslash."""
    if "\x00" in value:
        raise ValueError("a Tcl word cannot hold a NUL character")
    escaped = re.sub(r'([\\{}\[\]$"; #])', r"\\\1", value)
    # Everything outside printable ASCII by its number: a modulefile is read in whatever encoding its reader has.
    escaped = re.sub(r"[^\x20-\x7e]", lambda match: _tcl_number(match.group()), escaped)
    return escaped or "{}"


def _tcl_number(letter: str) -> str:
    """Tcl 8.6 knows numbers of up to four digits; what lies beyond stays as it is."""
    return f"\\u{ord(letter):04x}" if ord(letter) <= 0xFFFF else letter


def shell(value: str) -> str:
    """One POSIX shell word that is exactly `value`."""
    if "\x00" in value:
        raise ValueError("a shell word cannot hold a NUL character")
    return shlex.quote(value)


def markdown(value: str) -> str:
    """Text that GitHub shows as it is: no markup, no HTML, no mention, no link, in one line."""
    flat = " ".join(_CONTROL.sub("�", value).split())
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    flat = _MARKDOWN.sub(r"\\\g<0>", flat)
    flat = _LINKED.sub("\\g<0>\u200d", flat)
    return _LINE_START.sub(lambda match: f"\\{match[0]}" if not match[0].isdigit() else f"{match[0]}\u200d", flat)


def code(value: str) -> str:
    """An inline code span that shows exactly `value`, safe in a table cell."""
    flat = " ".join(_CONTROL.sub("�", value).split()).replace("|", "\\|")
    longest = max((len(run) for run in re.findall(r"`+", flat)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if flat.startswith("`") or flat.endswith("`") or not flat else ""
    return f"{fence}{pad}{flat}{pad}{fence}"


def fenced(value: str) -> str:
    """A block that shows exactly `value`, line by line: nothing in it can end the block early."""
    flat = _CONTROL.sub("�", value)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", flat)), default=0))
    return f"{fence}text\n{flat}\n{fence}"


@cache
def templates() -> "Environment":
    """The project's templates with these filters."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - not HTML: each language has its own filter
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(tcl=tcl, sh=shell, md=markdown, code=code)
    return environment
