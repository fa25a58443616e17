"""The rows of a diff's tables, in Markdown and for a terminal; `render.diff` and `render.refresh` arrange them."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from conda_concept.model import CHANNEL_ALIAS, Change, ChangeKind, Package
from conda_concept.render.quote import code, markdown

#: In the order in which they are counted and listed.
KINDS: dict[ChangeKind, tuple[str, str, str]] = {
    "added": ("+", "added", "➕"),
    "removed": ("-", "removed", "➖"),
    "downgrade": ("v", "downgraded", "⬇️"),
    "upgrade": ("^", "upgraded", "⬆️"),
    "channel": ("~", "moved to another channel", "🔀"),
    "rebuild": ("=", "rebuilt", "🔁"),
}


@dataclass(frozen=True, slots=True)
class Level:
    """How much a comment shows. `cut` says what was given up, for the note at the top."""

    links: bool = True
    rebuilds: bool = True
    pulled: bool = True
    rows: int = 10_000
    cut: str = ""


def folded(title: str, changes: Sequence[Change], level: Level, *, listed: bool) -> list[str]:
    """A folded table with its counts as title, only these where it is not `listed`, nothing for no changes."""
    if not changes:
        return []
    counts = Counter(change.kind for change in changes)
    words = ", ".join(f"{counts[kind]:,} {KINDS[kind][1]}" for kind in KINDS if counts[kind])
    if not listed:
        return [f"{title}: {words}."]
    return [f"<details><summary>{title}: {words}</summary>\n\n{table(changes, level, links=level.links)}\n\n</details>"]


def table(changes: Sequence[Change], level: Level, *, links: bool) -> str:
    """A table of changes, at most as many rows as the level has."""
    lines = ["| | package | before | after | size | why |", "|---|---|---|---|--:|---|"]
    for change in changes[: level.rows]:
        before, after = versions(change)
        cells = (
            KINDS[change.kind][2],
            _name(change, links=links and level.links),
            code(before) if before else "",
            code(after) if after else "",
            bytes_text(change.new.size) if change.new and change.new.size is not None else "",
            _why_markdown(change),
        )
        lines.append(f"| {' | '.join(cells)} |")
    if len(changes) > level.rows:
        lines.append(f"\n… and {len(changes) - level.rows:,} more.")
    return "\n".join(lines)


def _name(change: Change, *, links: bool) -> str:
    package = change.new or change.old
    address = _page(package) if package else None
    return f"[{markdown(change.name)}]({address})" if links and address else markdown(change.name)


def _page(package: Package) -> str | None:
    """The page about a conda package for people, on the host whose `conda.` holds the files; None where unknown."""
    if package.manager != "conda" or not package.url.startswith(CHANNEL_ALIAS + "/"):
        return None
    channel = package.channel.split("/label/")[0]
    if not all(character.isalnum() or character in "._-" for character in channel + package.name):
        return None
    return f"{CHANNEL_ALIAS.replace('//conda.', '//', 1)}/{channel}/{package.name}"


def _why_markdown(change: Change) -> str:
    flags = [f"{'⭐' if flag.kind == 'key' else '⚠️'} {markdown(flag.text)}" for flag in change.flags]
    return "; ".join([*flags, reason(change, markdown)])


def reason(change: Change, quote: Callable[[str], str]) -> str:
    """Why, in a few words: asked for, or the chain that leads to it."""
    if change.kind == "removed":
        if change.requested:
            return "still asked for"
        return "no longer asked for" if change.demanded else "no longer needed"
    if change.requested:
        return "asked for" if change.demanded else "in environment.yml"
    chain = list(change.why[:-1])
    if not chain:
        return ""
    shown = chain if len(chain) <= 3 else [chain[0], "…", chain[-1]]
    return "for " + " → ".join(quote(name) for name in shown)


def versions(change: Change) -> tuple[str, str]:
    """What to show as before and after: versions, with builds where only these differ."""
    old, new = change.old, change.new
    if old and new and old.version == new.version:
        if old.build == new.build:
            return (old.channel, new.channel) if old.channel != new.channel else (old.filename, new.filename)
        return f"{old.version} {old.build}", f"{new.version} {new.build}"
    return old.version if old else "", new.version if new else ""


def bytes_text(size: int | None) -> str:
    """Bytes for people, decimal: `12 MB`, `1.4 GB`; the blank does not break a line."""
    value = float(size or 0)
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.0f}\N{NO-BREAK SPACE}{unit}"
        value /= 1000
    return f"{value:.1f}\N{NO-BREAK SPACE}GB"


def count(number: int, word: str) -> str:
    """`1 package`, `2 packages`."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
