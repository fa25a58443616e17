"""`CHANGELOG.md`, written by the release job alone, for users: Keep a Changelog's form, one section a release."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from conda_concept.model import Change, Diff
from conda_concept.render.quote import markdown

CHANGELOG = "CHANGELOG.md"
#: Bytes. A section that has everything of a quarter has some kilobytes; this is for years of them.
MAX_CHANGELOG = 16_000_000
HEADER = """\
# Changelog

What changed in each environment, newest first, in the form of [Keep a Changelog](https://keepachangelog.com/en/1.1.0/).
The release job writes this file: there is nothing to edit here.
"""
#: More lines than this about packages that nobody asked for say less than their number.
MOST = 40


@dataclass(frozen=True, slots=True)
class Cause:
    """Why there is a release: a pull request (`number`, its title and author), or a commit of somebody's."""

    number: int
    title: str
    author: str
    commit: str = ""
    #: The package that a request was about (as PEP 503 writes names), where the pull request came of one.
    package: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One release: `label` and `build_id`, the day (ISO 8601), the repository's address for links, why, and what."""

    label: str
    build_id: str
    day: str
    home: str
    causes: tuple[Cause, ...]
    diffs: tuple[Diff, ...]

    @property
    def heading(self) -> str:
        """The line that says that it is there already."""
        return f"## {self.label}, build {self.build_id}"


def with_section(text: str, section: Section) -> str:
    """The changelog with the section above all other releases; as it is, if it has it already."""
    text = text.replace("\r\n", "\n").strip() + "\n" if text.strip() else HEADER
    if any(line.startswith(section.heading) for line in text.split("\n")):
        return text
    # What is not released yet stays at the top; people may write there.
    first = re.search(r"^## (?!\[Unreleased\])", text, re.MULTILINE)
    before, after = (text[: first.start()], text[first.start() :]) if first else (text, "")
    return f"{before.rstrip()}\n\n{render(section)}" + (f"\n{after}" if after else "")


def render(section: Section) -> str:
    """The section as Markdown."""
    parts = [f"{section.heading} - {section.day}"]
    changes = [change for diff in section.diffs for change in diff.changes if change.kind != "rebuild"]
    names = {canonicalize_name(change.name) for change in changes if change.kind != "removed"}
    requests = {cause.package: cause for cause in section.causes if cause.package in names}
    others = [cause for cause in section.causes if requests.get(cause.package) != cause]
    parts += ["\n".join(f"- {_cause(cause, section.home)}" for cause in others)] if others else []
    for title, kinds in (("Added", ("added",)), ("Removed", ("removed",)), ("Changed", ())):
        some = [one for one in changes if (one.kind in kinds if kinds else one.kind not in ("added", "removed"))]
        if some:
            parts.append(f"### {title}\n\n{_listed(some, requests, section.home)}")
    rebuilt = sum(change.kind == "rebuild" for diff in section.diffs for change in diff.changes)
    if rebuilt:
        parts.append(f"{rebuilt:,} package{'s' if rebuilt > 1 else ''} only rebuilt.")
    return "\n\n".join(parts) + "\n"


def _link(cause: Cause, home: str) -> str:
    return f"[#{cause.number}]({home}/pull/{cause.number})" if cause.number else f"`{cause.commit[:12]}`"


def _cause(cause: Cause, home: str) -> str:
    link = _link(cause, home)
    by = f" by {markdown(cause.author)}" if cause.author and not cause.author.endswith("[bot]") else ""
    return f"{markdown(cause.title)} ({link}{by})"


def _listed(changes: Sequence[Change], requests: Mapping[str, Cause], home: str) -> str:
    """Asked for and flagged ones first and all of them; then others, up to a number."""
    first = [change for change in changes if change.demanded or change.requested or change.flags]
    rest = [change for change in changes if change not in first]
    shown = [*first, *(rest if len(first) + len(rest) <= MOST else [])]
    left = len(changes) - len(shown)
    lines = [f"- {_line(change)}{_asked(requests.get(canonicalize_name(change.name)), home)}" for change in shown]
    return "\n".join([*lines, *([f"- {left:,} more that nobody asked for by name"] if left else [])])


def _asked(cause: Cause | None, home: str) -> str:
    if cause is None:
        return ""
    return f", asked for by {markdown(cause.author) or 'somebody'} ({_link(cause, home)})"


def _line(change: Change) -> str:
    # Quoted as a whole: a version by itself would look like the start of a numbered list.
    if change.kind == "added" and change.new:
        return markdown(f"{change.name} {change.new.version}")
    if change.kind == "removed" and change.old:
        return markdown(f"{change.name} {change.old.version}")
    old, new = (package.version if package else "" for package in (change.old, change.new))
    what = f" ({change.kind})" if change.kind in ("downgrade", "channel") else ""
    return markdown(f"{change.name} {old} → {new}{what}")
