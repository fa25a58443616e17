"""Edit `environment.yml` and `config.yml` for people: one value changes, comments and order stay."""

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from conda_concept.errors import InputError
from conda_concept.model import Manager
from conda_concept.spec import match_spec


def add_requests(text: str, conda: Sequence[str] = (), pip: Sequence[str] = ()) -> str:
    """An `environment.yml` that asks for these too, at the end of its lists; what it has already is not added."""
    yaml, document = _load(text)
    dependencies = document.get("dependencies") if isinstance(document, dict) else None
    if not isinstance(dependencies, list):
        raise InputError("environment.yml has no list `dependencies` to add to.")
    sections = [item for item in dependencies if isinstance(item, dict) and isinstance(item.get("pip"), list)]
    # The `pip:` section stays last, where people look for it.
    end = len(dependencies) - 1 if dependencies and sections and dependencies[-1] is sections[-1] else len(dependencies)
    for request in conda:
        if request not in dependencies:
            dependencies.insert(end, request)
            end += 1
    wanted = [request for request in pip if not any(request in section["pip"] for section in sections)]
    if wanted and sections:
        sections[-1]["pip"].extend(wanted)
    elif wanted:
        dependencies.append({"pip": wanted})
    return _dump(yaml, document)


def set_version(text: str, version: str) -> str:
    """A `config.yml` with another version, in quotes: YAML reads 26.10 as 26.1."""
    yaml, document = _load(text)
    if not isinstance(document, dict) or "version" not in document:
        raise InputError("config.yml has no `version` to change.")
    document["version"] = DoubleQuotedScalarString(version)
    return _dump(yaml, document)


def _load(text: str) -> tuple[YAML, Any]:
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 1000
    if re.search(r"(?m)^ +- ", text.partition("- pip:")[0]):
        yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml, yaml.load(text)


def _dump(yaml: YAML, document: Any) -> str:
    out = StringIO()
    yaml.dump(document, out)
    return out.getvalue()


# --- one request, in the right place ------------------------------------------------------------------------------

#: So many names in their order are taken for a list that is kept sorted.
SORTED = 5


@dataclass(frozen=True, slots=True)
class Edit:
    """An `environment.yml` that asks for something too: its text, the entry, and the one that this was before."""

    text: str
    entry: str
    before: str = ""


def ask_for(text: str, manager: Manager, name: str, version: str = "", channel: str = "") -> Edit:
    """An `environment.yml` that asks for a package: one line more, or one line changed.

    Where most of the list is in alphabetical order it goes where it belongs there, so that two people who ask for
    two packages seldom touch the same place; else to the end of its list. Every other byte stays as it is. Of an
    entry that is there only the version changes; `InputError` where something else of it stands against that.
    """
    request = f"{name}{version}" if manager == "pip" else f"{channel}::" * bool(channel) + f"{name} {version}".strip()
    _, document = _load(text)
    dependencies = document.get("dependencies") if isinstance(document, dict) else None
    if not isinstance(dependencies, CommentedSeq) or dependencies.fa.flow_style():
        raise InputError("environment.yml has no list `dependencies` with one package a line to add to.")
    sections = [item["pip"] for item in dependencies if isinstance(item, dict) and item.get("pip")]
    lines = text.split("\n")
    end = "\r" if "\r\n" in text else ""
    if manager == "conda":
        items = _items(dependencies)
    elif sections and isinstance(sections[-1], CommentedSeq) and not sections[-1].fa.flow_style():
        items = _items(sections[-1], canonicalize_name)
    elif sections:
        raise InputError("environment.yml has no `pip:` list with one package a line to add to.")
    else:
        line, column = _end(dependencies)
        indent = " " * (column - 2)
        lines[line:line] = [f"{indent}- pip:{end}", f"{indent}  - {request}{end}"]
        return Edit("\n".join(lines), request)
    for item in items:
        if item.name == name:
            changed = _moved(item.text, manager, version, channel)
            if changed is None:
                raise InputError(
                    f"line {item.line + 1} of environment.yml asks for `{item.text}`, of which more than the version "
                    f"would change: a person has to change line {item.line + 1}."
                )
            start, _, comment = lines[item.line].partition(" #")
            kept = f"{start[: len(start) - len(start.lstrip(' -'))]}{changed}"
            lines[item.line] = f"{kept}{'  #' + comment if comment else end}"
            return Edit("\n".join(lines), changed, item.text)
    after = _before_it(items, name)
    if after is None:
        line, column = (items[0].line, items[0].column) if items else _end(dependencies)
    else:
        line, column = after.line + 1, after.column
    lines.insert(line, f"{' ' * (column - 2)}- {request}{end}")
    return Edit("\n".join(lines), request)


def _moved(entry: str, manager: Manager, version: str, channel: str) -> str | None:
    """An entry with another version: channel, build, extras and marker stay. None where something else is in it."""
    try:
        if manager == "pip":
            requirement = Requirement(entry)
            head = re.match(r"[^\s\[<>=!~;@(]+\s*(\[[^\]]*\])?", entry)
            marker = f"; {entry.partition(';')[2].strip()}" if requirement.marker else ""
            return f"{head[0].strip()}{version}{marker}" if head and requirement.url is None else None
        spec = match_spec(entry)
    except ValueError:  # InvalidRequirement is one
        return None
    there = entry.split("::", 1)[0].strip() if "::" in entry else ""
    if "[" in entry or (channel and there not in ("", channel)):
        return None
    build = str(spec.build) if spec.build is not None else ""
    words = [spec.name.normalized, version or ("*" if build else ""), build]
    return f"{there or channel}::" * bool(there or channel) + " ".join(word for word in words if word)


@dataclass(frozen=True, slots=True)
class _Item:
    name: str
    text: str
    line: int
    column: int
    #: Those that name their channel are often kept together, whatever their names.
    channel: bool


def _items(listed: CommentedSeq, normal: Callable[[str], str] = str.lower) -> list[_Item]:
    """The packages of a list, each with the line that it stands in and the column that its text starts in.

    Names are as they are compared, by `normal`: conda's in lower case, pip's as PEP 503 writes them.
    """
    found = []
    for index, item in enumerate(listed):
        if isinstance(item, str):
            line, column = listed.lc.item(index)
            start = item.rpartition("::")[2].strip()
            match = re.match(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", start)
            name = normal(match[0]) if match else start
            found.append(_Item(name, " ".join(item.split()), line, column, "::" in item))
    return found


def _end(dependencies: CommentedSeq) -> tuple[int, int]:
    """The line below the last entry that is a package, and the column of its text."""
    items = _items(dependencies)
    if not items:
        raise InputError("environment.yml has no list `dependencies` with one package a line to add to.")
    return items[-1].line + 1, items[-1].column


def _before_it(items: Sequence[_Item], name: str) -> _Item | None:
    """The entry that a new one comes behind; None: it comes first of all."""
    blocks = [[item for item in block if not item.channel] for block in _blocks(items)]
    if name.startswith("r-"):
        same = [[item for item in block if item.name.startswith("r-")] for block in blocks]
        blocks = same if max(map(len, same), default=0) >= SORTED else blocks
    ordered = max((_in_order(block) for block in blocks), key=len, default=[])
    if len(ordered) < SORTED:
        return items[-1] if items else None
    smaller = [item for item in ordered if item.name <= name]
    if smaller:
        return smaller[-1]
    position = items.index(ordered[0])
    return items[position - 1] if position else None


def _blocks(items: Sequence[_Item]) -> list[list[_Item]]:
    """The entries, cut where another line stands between two of them: a heading or a gap that somebody put there."""
    found: list[list[_Item]] = []
    for item in items:
        if found and item.line == found[-1][-1].line + 1:
            found[-1].append(item)
        else:
            found.append([item])
    return found


def _in_order(items: Sequence[_Item]) -> list[_Item]:
    """The most entries that are in alphabetical order, others between them left out: real lists have outliers.

    The longest non-decreasing subsequence, by patience sorting (Fredman 1975).
    """
    tops: list[str] = []
    last: list[int] = []
    before: list[int] = []
    for index, item in enumerate(items):
        pile = bisect_right(tops, item.name)
        before.append(last[pile - 1] if pile else -1)
        tops[pile : pile + 1] = [item.name]
        last[pile : pile + 1] = [index]
    found: list[_Item] = []
    index = last[-1] if last else -1
    while index >= 0:
        found.append(items[index])
        index = before[index]
    return found[::-1]
