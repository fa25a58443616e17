"""A diff in which nearly everything moved, arranged so that it can be read: what is gone first, then by area.

Every change stands in one place only: in one of the open tables on top, or folded in its area.
"""

from collections import Counter
from collections.abc import Callable

from conda_concept.areas import area, in_order
from conda_concept.changes import risk
from conda_concept.model import Change, Diff
from conda_concept.render.difftable import KINDS, Level, folded, table
from conda_concept.render.quote import markdown

#: From so many changes on a list by kind is not read any more: a package or two moves up to 259 (zarr did).
LARGE = 300
#: An open table is read to its end if it has no more rows than these; the rest stands in its area.
OPEN = 60


def is_refresh(diff: Diff) -> bool:
    """Whether so much changes that it has to be arranged by area."""
    return len(diff.changes) >= LARGE


def arranged(diff: Diff, level: Level) -> list[str]:
    """The parts of the comment behind its totals."""
    left = list(diff.changes)

    def take(fits: Callable[[Change], bool], most: int = OPEN) -> list[Change]:
        found = sorted((one for one in left if fits(one)), key=lambda one: (risk(one), not one.requested, one.name))
        for one in found[:most]:
            left.remove(one)
        return found[:most]

    removed = take(lambda one: one.kind == "removed" and (one.demanded or one.requested or _has(one, "needed")))
    asked = take(lambda one: one.demanded)
    key = take(lambda one: _has(one, "key"))
    downgraded = take(lambda one: one.kind == "downgrade" and one.requested)
    major = take(lambda one: one.requested and (_has(one, "major") or _has(one, "channel")))
    open_tables = (
        ("Gone, and asked for before or still used", removed),
        ("Asked for", asked),
        ("Packages that many use", key),
        ("Downgraded", downgraded),
        ("Another major version or channel, and in environment.yml", major),
    )
    parts = [_glance(diff)]
    parts += [f"**{title}**\n\n{table(some, level, links=True)}" for title, some in open_tables if some]
    rebuilt = [one for one in left if one.kind == "rebuild" and not one.flags]
    for name in in_order(_area(one) for one in left):
        some = [one for one in left if _area(one) == name and one not in rebuilt]
        parts += folded(name, sorted(some, key=_order), level, listed=level.pulled)
    parts += folded("Only rebuilt", rebuilt, level, listed=level.rebuilds)
    return parts


def _glance(diff: Diff) -> str:
    """How much changes in each area."""
    columns = ("removed", "downgraded", "major", "upgraded", "added", "rebuilt")
    lines = [f"| area | {' | '.join(columns)} |", f"|---{'|--:' * len(columns)}|"]
    for name in in_order(_area(one) for one in diff.changes):
        some = [one for one in diff.changes if _area(one) == name]
        counts = Counter(_column(one) for one in some)
        lines.append(f"| {markdown(name)} | {' | '.join(str(counts[one] or '') for one in columns)} |")
    return "\n".join(lines)


def _column(change: Change) -> str:
    return "major" if change.kind == "upgrade" and _has(change, "major") else _COLUMNS.get(change.kind, "rebuilt")


_COLUMNS = {"removed": "removed", "downgrade": "downgraded", "upgrade": "upgraded", "added": "added"}
_RANK = {kind: number for number, kind in enumerate(("removed", *(kind for kind in KINDS if kind != "removed")))}


def _order(change: Change) -> tuple[object, ...]:
    """Inside an area: what is gone, what has a flag, what is asked for, then by kind and name."""
    return change.kind != "removed", risk(change), not change.requested, _RANK[change.kind], change.name


def _area(change: Change) -> str:
    package = change.new or change.old
    assert package is not None, "a change has a side"  # noqa: S101 - a rule of `changes`
    return area(package)


def _has(change: Change, kind: str) -> bool:
    return any(flag.kind == kind for flag in change.flags)
