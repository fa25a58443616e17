"""A `Diff` as a comment (Markdown), as text for a terminal, and as JSON.

Order of a comment: the verdict; what was asked for; what deserves a second look; everything else folded. A comment has
at most 65,536 characters, or GitHub answers 422; the ladder of `comment` gives up the least useful things first.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from conda_concept.changes import risk
from conda_concept.model import Change, Diff, Package
from conda_concept.render.difftable import KINDS, Level, bytes_text, count, folded, reason, table, versions
from conda_concept.render.quote import code, markdown
from conda_concept.render.refresh import arranged, is_refresh

#: Characters, measured after rendering; the rest up to GitHub's 65,536 is for what a report adds.
BUDGET = 60_000


@dataclass(frozen=True, slots=True)
class Heading:
    """What a comment says around the changes: whose lock it is, what to do next, and where things come from.

    `notes` are sentences about the lock; `links` are (text, address) for the footer.
    """

    label: str
    next_step: str = ""
    notes: tuple[str, ...] = ()
    commit: str = ""
    base: str = ""
    links: tuple[tuple[str, str], ...] = ()


def comment(heading: Heading, diffs: Sequence[Diff], *, budget: int = BUDGET) -> str:
    """The comment for a solved lock, one part a platform, at most `budget` characters long."""
    text = ""
    for level in _LADDER:
        text = _comment(heading, diffs, level)
        if len(text) <= budget:
            return text
    rows = _LADDER[-1].rows
    while len(text) > budget and rows > 1:
        rows = rows // 2
        text = _comment(
            heading, diffs, Level(links=False, rebuilds=False, pulled=False, rows=rows, cut=_LADDER[-1].cut)
        )
    return text[:budget]


_LADDER = (
    Level(),
    Level(links=False),
    Level(links=False, rebuilds=False, cut="packages that were only rebuilt are counted, not listed"),
    Level(links=False, rebuilds=False, pulled=False, cut="packages that nobody asked for are counted, not listed"),
    Level(links=False, rebuilds=False, pulled=False, rows=300, cut="only the first rows of each table are shown"),
)


# --- Markdown ---------------------------------------------------------------------------------------------------------


def _comment(heading: Heading, diffs: Sequence[Diff], level: Level) -> str:
    parts = [f"### {markdown(heading.label)}: {verdict(diffs)}"]
    if level.cut:
        parts.append(f"> Shortened to fit: {level.cut}. The full table is in the job summary and the artifact.")
    if heading.next_step:
        parts.append(heading.next_step)
    notes = [*heading.notes, *(note for diff in diffs for note in diff.notes)]
    parts.append(noted(notes))
    for diff in diffs:
        if len(diffs) > 1:
            parts.append(f"#### {markdown(diff.platform)}")
        parts += _platform(diff, level)
    parts.append(_footer(heading))
    return "\n\n".join(part for part in parts if part) + "\n"


def verdict(diffs: Sequence[Diff]) -> str:
    """Half a sentence: how much changes, and how much of it the spec itself asks for."""
    if not any(diff.changes for diff in diffs):
        return "no package changes"
    return "; ".join(
        f"{count(len(diff.changes), 'package')} {'changes' if len(diff.changes) == 1 else 'change'}, "
        f"{sum(change.demanded for change in diff.changes):,} asked for"
        + (f" ({diff.platform})" if len(diffs) > 1 else "")
        for diff in diffs
    )


def _platform(diff: Diff, level: Level) -> list[str]:
    if not diff.changes:
        return [f"The lock already has everything that is asked for ({diff.packages_after:,} packages)."]
    asked = [change for change in diff.changes if change.demanded]
    risky = sorted((change for change in diff.changes if change.flags and not change.demanded), key=risk)
    rest = [change for change in diff.changes if not change.flags and not change.demanded]
    parts = [_totals(diff)]
    if is_refresh(diff):
        return [*parts, *arranged(diff, level)]
    if asked:
        parts.append("**Asked for**\n\n" + table(asked, level, links=True))
    if risky:
        parts.append("**Look twice**\n\n" + table(risky, level, links=True))
    named = [change for change in rest if change.requested and change.kind != "rebuild"]
    pulled = [change for change in rest if not change.requested and change.kind != "rebuild"]
    rebuilt = [change for change in rest if change.kind == "rebuild"]
    parts += folded("Also in environment.yml, moved along", named, level, listed=level.pulled)
    parts += folded("Pulled in by others", pulled, level, listed=level.pulled)
    parts += folded("Only rebuilt", rebuilt, level, listed=level.rebuilds)
    return parts


def _totals(diff: Diff) -> str:
    counts = Counter(change.kind for change in diff.changes)
    words = ", ".join(f"{counts[kind]:,} {KINDS[kind][1]}" for kind in KINDS if counts[kind])
    size = f"**{bytes_text(diff.bytes_new)}** to download"
    total = f"{diff.packages_before:,} → **{diff.packages_after:,}** packages, {bytes_text(diff.bytes_after)} in all"
    unknown = f" (of {count(diff.unsized, 'package')} the size is not known)" if diff.unsized else ""
    return f"{words}. {total}; {size}{unknown}."


def _footer(heading: Heading) -> str:
    facts = []
    if heading.commit:
        facts.append(f"commit {code(heading.commit[:12])}")
    if heading.base:
        facts.append(f"compared with {markdown(heading.base)}")
    facts += [f"[{markdown(text)}]({address})" for text, address in heading.links]
    return f"<sub>{' · '.join(facts)}</sub>" if facts else ""


def noted(lines: Sequence[str]) -> str:
    """Sentences in a box of their own; empty where there are none."""
    return "\n".join(["> [!NOTE]", *(f"> - {markdown(line)}" for line in lines)]) if lines else ""


# --- a terminal -------------------------------------------------------------------------------------------------------


def text(heading: Heading, diffs: Sequence[Diff]) -> str:
    """The diff for a terminal: the same order as the comment, nothing folded."""
    parts = [f"{heading.label}: {verdict(diffs)}"]
    parts += [f"note: {note}" for note in [*heading.notes, *(note for diff in diffs for note in diff.notes)]]
    for diff in diffs:
        if not diff.changes:
            continue
        asked = [change for change in diff.changes if change.demanded]
        risky = sorted((change for change in diff.changes if change.flags and not change.demanded), key=risk)
        order = {kind: number for number, kind in enumerate(KINDS)}
        rest = [change for change in diff.changes if not change.flags and not change.demanded]
        rest.sort(key=lambda change: (not change.requested, order[change.kind], change.name))
        rows = [_row(change) for change in [*asked, *risky, *rest]]
        parts.append(tabulate(rows, headers=("", "package", "before", "after", "size", "why"), disable_numparse=True))
        parts.append(_totals(diff).replace("**", ""))
    return "\n\n".join(parts) + "\n"


def _row(change: Change) -> tuple[str, ...]:
    before, after = versions(change)
    size = bytes_text(change.new.size) if change.new and change.new.size is not None else ""
    why = "; ".join([*(f"! {flag.text}" for flag in change.flags), reason(change, str)])
    return KINDS[change.kind][0], change.name, before, after, size, why


# --- JSON -------------------------------------------------------------------------------------------------------------


def as_json(heading: Heading, diffs: Sequence[Diff]) -> str:
    """The diff for programs."""
    return json.dumps(as_data(heading, diffs), indent=2, ensure_ascii=False)


def as_data(heading: Heading, diffs: Sequence[Diff]) -> dict[str, Any]:
    """The diff as plain data; keys are only ever added."""
    return {
        "label": heading.label,
        "notes": list(heading.notes),
        "platforms": [_diff_json(diff) for diff in diffs],
    }


def _diff_json(diff: Diff) -> dict[str, Any]:
    return {
        "platform": diff.platform,
        "packages": {"before": diff.packages_before, "after": diff.packages_after},
        "bytes": {"before": diff.bytes_before, "after": diff.bytes_after, "download": diff.bytes_new},
        "unsized": diff.unsized,
        "notes": list(diff.notes),
        "changes": [
            {
                "kind": change.kind,
                "name": change.name,
                "manager": change.manager,
                "requested": change.requested,
                "demanded": change.demanded,
                "why": list(change.why),
                "flags": [{"kind": flag.kind, "text": flag.text} for flag in change.flags],
                "old": _package_json(change.old),
                "new": _package_json(change.new),
            }
            for change in diff.changes
        ],
    }


def _package_json(package: Package | None) -> dict[str, Any] | None:
    if package is None:
        return None
    return {
        "version": package.version,
        "build": package.build,
        "channel": package.channel,
        "url": package.url,
        "sha256": package.sha256,
        "size": package.size,
        "license": package.license,
        "timestamp": package.timestamp,
    }
