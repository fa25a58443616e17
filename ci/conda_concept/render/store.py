"""What the store's commands say on a terminal: tables and lines. JSON is `record.jsonable` of the same values."""

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from conda_concept.model import Event, Finding, Judgement, Listed, Move, Problem, Source

_GROUPS = (
    ("broken", "BROKEN: something that users type does not work"),
    ("risk", "RISK: it works, and may stop working or be changed by others"),
    ("untidy", "UNTIDY: nobody notices but you"),
)


#: Columns of the list with their alignment, the most important first, and how many are always shown.
_COLUMNS = (
    ("release", "left"),
    ("build", "left"),
    ("state", "left"),
    ("also known as", "left"),
    ("built", "left"),
    ("tests", "left"),
    ("image", "right"),
    ("packages", "right"),
    ("from", "left"),
)
_ALWAYS = 6


def releases_table(rows: Sequence[Listed], width: int = 1000) -> str:
    """Releases at a glance, one a line; a label is written once. What is special about one is said below.

    `width` is the terminal's: the last columns are left out where they do not fit.
    """
    if not rows:
        return "The store is empty."
    lines = []
    label = ""
    for row in rows:
        first = row.release.label != label
        label = row.release.label
        lines.append(
            (
                label if first else "",
                row.release.build_id,
                row.state,
                " ".join(name for name in row.names if name != label),
                (row.finished or "")[:10],
                row.tests,
                "" if row.image_size is None else size(row.image_size),
                "" if row.packages is None else row.packages,
                source_text(row.source),
            )
        )
    table = next(
        text
        for count in range(len(_COLUMNS), 0, -1)
        if len((text := _columns(lines, count)).splitlines()[1]) <= width or count == _ALWAYS
    )
    return "\n\n".join([table, *(["\n".join(notes)] if (notes := [*_notes(rows)]) else [])])


def _columns(lines: Sequence[tuple[object, ...]], count: int) -> str:
    """The first columns of a list."""
    names, alignments = zip(*_COLUMNS[:count], strict=True)
    return tabulate([line[:count] for line in lines], headers=names, colalign=alignments, disable_numparse=True)


def _notes(rows: Sequence[Listed]) -> Iterator[str]:
    for row in rows:
        if row.trouble:
            yield f"{row.release}: {row.trouble}"
        if row.pinned is not None:
            yield f"{row.release}: kept: {row.pinned or 'no reason given'}"


def history_table(events: Sequence[Event]) -> str:
    """What pointed where, when, by whom: one move a line, newest first as given."""
    if not events:
        return "Nothing has happened yet."
    lines = []
    for event in events:
        told = [_move(move) for move in event.moves] + [f"{name} removed" for name in event.removed]
        note = f"FORCED: {event.forced}" if event.forced else source_text(event.source)
        for number, text in enumerate(told or ["(nothing moved)"]):
            head = (event.when[:16].replace("T", " "), event.action, event.who) if number == 0 else ("", "", "")
            lines.append((*head, text, note if number == 0 else ""))
    return tabulate(lines, headers=("when (UTC)", "what", "who", "moves", "from"), disable_numparse=True)


def event_text(event: Event) -> str:
    """What the history is told about a publish or a rollback: who, when, from which commit, pull request and lock."""
    source = event.source
    facts = (
        ("what", f"{event.action} {event.release}" if event.release else event.action),
        ("who", event.who),
        ("when", event.when),
        ("commit", source.commit),
        ("pull request", f"#{source.pull_request.lstrip('#')}" if source.pull_request else ""),
        ("asked for by", source.author),
        ("lock", event.lock_digest),
        ("FORCED", event.forced),
    )
    return "\n".join(f"     {name:<13}{value}" for name, value in facts if value)


def findings_text(findings: Sequence[Finding]) -> str:
    """What the doctor found, the worst first, each with its meaning and what to do."""
    if not findings:
        return "The store is in order."
    parts = []
    for severity, title in _GROUPS:
        here = [finding for finding in findings if finding.severity == severity]
        if here:
            parts.append("\n".join([title, *(_finding(finding) for finding in here)]))
    mendable = sum(1 for finding in findings if finding.mended)
    counts = ", ".join(
        f"{sum(1 for finding in findings if finding.severity == severity)} {severity}" for severity, _ in _GROUPS
    )
    tail = f"{counts}; `doctor --repair` mends {mendable} of them." if mendable else f"{counts}."
    return "\n\n".join([*parts, tail])


def judgements_table(judgements: Sequence[Judgement]) -> str:
    """What prune makes of each release."""
    if not judgements:
        return "There are no releases."
    ordered = sorted(judgements, key=lambda one: (one.keep, one.release))
    return tabulate(
        [("keep" if one.keep else "REMOVE", str(one.release), one.why) for one in ordered],
        headers=("", "release", "why"),
        disable_numparse=True,
    )


def problems_text(problems: Sequence[Problem], checked: int) -> str:
    """What verify found."""
    head = f"{checked} release{'' if checked == 1 else 's'} read"
    if not problems:
        return f"{head}: every byte is what its record says."
    rows = [(str(one.release), one.path, one.text) for one in problems]
    table = tabulate(rows, headers=("release", "path", "problem"), disable_numparse=True)
    return f"{table}\n\n{head}, {len(problems)} problem{'' if len(problems) == 1 else 's'}."


def operations_text(operations: Sequence[object], *, dry_run: bool) -> str:
    """What is done, or would be, one operation a line in the order in which they happen."""
    if not operations:
        return "Nothing to do: everything is as it should be."
    head = "Would do, in this order:" if dry_run else "Done, in this order:"
    return "\n".join([head, *(f"  {number}. {operation}" for number, operation in enumerate(operations, start=1))])


def size(count: int) -> str:
    """Bytes for people, in powers of ten as file systems count them."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            value = count / factor
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
    return f"{count} B"


def source_text(source: Source) -> str:
    """Where a release comes from, in a few characters."""
    parts = [f"#{source.pull_request.lstrip('#')}" if source.pull_request else "", source.commit[:7], source.author]
    return " ".join(part for part in parts if part)


def _move(move: Move) -> str:
    if not move.after:
        return f"{move.alias} taken away (was {move.before})"
    return f"{move.alias} -> {move.after}" + (f" (was {move.before})" if move.before else "")


def _finding(finding: Finding) -> str:
    advice = f"--repair: {finding.mended}" if finding.mended else finding.advice
    return f"  {finding.where}: {finding.what}\n      {finding.meaning}\n      -> {advice}"
