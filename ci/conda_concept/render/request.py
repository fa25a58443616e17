"""The answer to a request for a package: as a comment, for a terminal, and the pull request that comes of it."""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate

from conda_concept.conversation import IssueFacts, marker, on_behalf
from conda_concept.model import Diff
from conda_concept.render import diff as render_diff
from conda_concept.render import unsolvable as render_unsolvable
from conda_concept.render.diff import Heading
from conda_concept.render.difftable import bytes_text
from conda_concept.render.quote import code, markdown
from conda_concept.render.unsolvable import ticked
from conda_concept.requesting import Asked, Finding
from conda_concept.specedit import Edit

#: The marker of the one answer in an issue.
ANSWER = marker("request", "answer")
_NEXT = (
    "The first comment below says what changes, the second whether it builds, what its tests say and how to try it. "
    "Merging this is the release; CI writes the lock."
)
#: From so many days on people are told that nobody may look after a package any more.
STALE = 2 * 365


@dataclass(frozen=True, slots=True)
class Held:
    """Where a package is already: the version's label, the package's version, and who wants it there."""

    label: str
    version: str
    why: str


@dataclass(frozen=True, slots=True)
class Opened:
    """The pull request about a package: its number, and what is to be said of it.

    new: it asks for what was asked. other: somebody else's issue opened it. changed: it asks for what stood in the
    issue before. closed, merged: it is over. many: none was opened, because so many are open already.
    """

    number: int
    state: str


@dataclass(frozen=True, slots=True)
class Told:
    """Everything that an answer is made from. `label` is the release's name, `same` other issues about the same.

    `edit` is what it makes of the `environment.yml`, where it fits.
    """

    finding: Finding
    label: str
    today: dt.date
    edit: Edit | None = None
    diffs: tuple[Diff, ...] = ()
    held: tuple[Held, ...] = ()
    same: tuple[int, ...] = ()
    opened: Opened | None = None
    run: str = ""


# --- the comment --------------------------------------------------------------------------------------------------


def answer(told: Told) -> str:
    """The answer, verdict first, then what comes next, then what was found out."""
    finding = told.finding
    parts = [ANSWER, f"### {_verdict(told)}", _next(told), _changed(told.edit), _same(told)]
    parts += [_noted(finding.notes), _facts(told), _held(told.held)]
    match finding.outcome:
        case "solved":
            heading = Heading(told.label, notes=finding.part.notes if finding.part else ())
            parts.append(_demoted(render_diff.comment(heading, told.diffs, budget=render_diff.BUDGET - 10_000)))
        case "unsolvable" if finding.part and finding.part.unsolvable:
            parts.append(_demoted(render_unsolvable.comment(Heading(told.label), finding.part.unsolvable.explanation)))
        case "refused" | "failed":
            parts.append("\n".join(f"- {ticked(problem[:500])}" for problem in finding.problems[:20]))
        case _:
            pass
    return "\n\n".join([*(part.strip() for part in parts if part), _footer(told)]) + "\n"


def invalid(problems: Sequence[str], run: str = "") -> str:
    """The answer to a form that cannot be read."""
    rows = "\n".join(f"- {ticked(_line(problem)[:300])}" for problem in problems[:20])
    more = f"- … and {len(problems) - 20:,} more" if len(problems) > 20 else ""
    parts = [
        ANSWER,
        "### ✏️ This form cannot be read as it is",
        "**Next:** edit the text at the top (⋯ → Edit); it is looked at again at once.",
        "\n".join(part for part in (rows, more) if part),
        f"<sub>[run]({run})</sub>" if run else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _line(problem: str) -> str:
    """A problem as whoever edits the text needs it: `issue #7:9: …` is about its line 9."""
    return re.sub(r"^issue #\d+(?::(\d+))?: ", lambda found: f"line {found[1]}: " if found[1] else "", problem)


def _verdict(told: Told) -> str:
    wanted = told.finding.asked
    name, label = code(wanted.text), markdown(told.label)
    where = "on PyPI" if wanted.manager == "pip" else f"in the channels of {markdown(wanted.environment)}"
    return {
        "solved": f"✅ {name} fits into {label}",
        "present": f"✅ {name} is in {label} already",
        "unknown": f"❓ No package is called {code(wanted.name)} {where}",
        "unsolvable": f"❌ {name} does not fit into {label} as it is",
        "refused": f"⛔ {name} cannot be taken into {markdown(wanted.environment)}",
        "failed": f"⏸️ {name} was not looked into, because something failed on our side",
    }[told.finding.outcome]


def _next(told: Told) -> str:
    opened = told.opened
    if opened is not None:
        return {
            "new": f"**Next:** pull request #{opened.number} asks for it in your name. What it changes, whether its "
            "tests pass and how to try it is said there; a maintainer decides.",
            "other": f"**Next:** pull request #{opened.number} asks for this package already, so there is no second "
            "one: follow that.",
            "changed": f"**Next:** pull request #{opened.number} was opened for what stood here before, and still "
            "asks for that. Close it and comment `/retry`, or open another issue for this.",
            "closed": f"**Next:** pull request #{opened.number} asked for it and was closed; what was said there "
            "still holds. A maintainer can reopen it.",
            "many": f"**Next:** {opened.number} requests of yours are open, so no further pull request is opened for "
            "you now. When one of them is done, a comment `/retry` opens it.",
            "merged": f"**Next:** pull request #{opened.number} asked for it and is merged; the release follows.",
        }[opened.state]
    return {
        "present": "There is nothing to add; it is there when the module is loaded.",
        "unknown": "**Next:** edit the name at the top of this issue (⋯ → Edit); it is looked at again at once.",
        "unsolvable": _room(told),
        "refused": "**Next:** a maintainer can change that rule, or not; `/retry` looks again.",
        "failed": "**Nothing is wrong with your request.** A comment `/retry` tries again.",
    }.get(told.finding.outcome, "")


def _room(told: Told) -> str:
    part = told.finding.part
    ways = part.unsolvable.remedies if part and part.unsolvable else ()
    room = "One of the changes below would make room. " if ways else ""
    return (
        f"{room}**Next:** to ask for another version, edit the text at the top (⋯ → Edit); else talk to the "
        "maintainers here. `/retry` looks again."
    )


def _changed(edit: Edit | None) -> str:
    """What becomes of an entry that is there already: whoever merges it should not have to look for it."""
    if edit is None or not edit.before:
        return ""
    return f"It is asked for already, as {code(edit.before)}; that line becomes {code(edit.entry)}."


def _same(told: Told) -> str:
    if not told.same:
        return ""
    return f"The same package is asked for in {', '.join(f'#{number}' for number in told.same)}."


def _noted(notes: Sequence[str]) -> str:
    return "> [!NOTE]\n" + "\n".join(f"> - {ticked(note)}" for note in notes) if notes else ""


def _facts(told: Told) -> str:
    finding, facts = told.finding, told.finding.facts
    if facts is not None:
        words = [f"**{markdown(finding.name)}**: the newest in {markdown(facts.origin)} is {code(facts.newest)}"]
        words += [_uploaded(facts.uploaded, told.today)]
        words += [f"licence {markdown(facts.license)}"] if facts.license else []
        words += [bytes_text(facts.size)] if facts.size else []
        words += [f"{facts.versions:,} version{'s' if facts.versions > 1 else ''}"] if facts.versions else []
        return "; ".join(word for word in words if word) + "."
    if finding.nearest:
        rows = [f"- {code(one.name)} ({markdown(', '.join(one.channels))})" for one in finding.nearest]
        return "**The nearest names**\n\n" + "\n".join(rows)
    return "Nothing with a similar name is there." if finding.outcome == "unknown" else ""


def _uploaded(day: str, today: dt.date) -> str:
    if not day:
        return "the day of its last upload is not known"
    try:
        days = (today - dt.date.fromisoformat(day)).days
    except ValueError:
        return "the day of its last upload is not known"
    words = f"last upload {day}, {_ago(days)}"
    return f"{words} (⚠️ perhaps nobody looks after it any more)" if days > STALE else words


def _ago(days: int) -> str:
    for size, word in ((365, "year"), (30, "month"), (7, "week"), (1, "day")):
        if days >= 2 * size or (word == "day" and days == 1):
            return f"{days // size} {word}{'s' if days // size > 1 else ''} ago"
    return "today"


def _held(held: Sequence[Held]) -> str:
    if not held:
        return ""
    rows = [f"| {markdown(one.label)} | {code(one.version)} | {ticked(one.why)} |" for one in held[:40]]
    return "\n".join(["**Where it is already**", "", "| release | version | why |", "|---|---|---|", *rows])


def _demoted(text: str) -> str:
    return f"#{text}"


def _footer(told: Told) -> str:
    facts = [f"tried on {code(told.finding.base[:12])}"] if told.finding.base else []
    facts += [f"[run]({told.run})"] if told.run else []
    facts += [f"from a terminal: {code(told.finding.asked.command)}"]
    return f"<sub>{' · '.join(facts)}</sub>"


# --- the pull request ---------------------------------------------------------------------------------------------


def pull_marker(wanted: Asked) -> str:
    """The line by which a pull request about a package is found."""
    return marker("request", wanted.key)


def pull_title(wanted: Asked) -> str:
    """One line for the list of pull requests, and for the changelog."""
    return f"Add {wanted.text} to {wanted.environment}"


def pull_body(told: Told, issue: IssueFacts) -> str:
    """What the pull request says: for whom, about what; the issue is closed by its merge."""
    wanted, changed = told.finding.asked, _changed(told.edit)
    who = f"@{issue.author}" if on_behalf(issue.author) else "somebody"
    file = f"environments/{wanted.environment}/environment.yml"
    lines = [
        *(one for one in (on_behalf(issue.author),) if one),
        pull_marker(wanted),
        f"Asked for by {who} in #{issue.number}: {code(wanted.text)} in {code(file)}.",
        *(("", changed) if changed else ()),
        "",
        _NEXT,
        "",
        f"Closes #{issue.number}",
    ]
    return "\n".join(lines) + "\n"


def joined(body: str, issue: IssueFacts) -> str:
    """The text of a pull request, with one more person who asked for the same; as it is, if they are in it."""
    if f"Closes #{issue.number}" in body.split("\n"):
        return body
    who = f"@{issue.author}" if on_behalf(issue.author) else "somebody"
    return f"{body.rstrip()}\n\nAlso asked for by {who} in #{issue.number}.\n\nCloses #{issue.number}\n"


def commit_message(wanted: Asked, issue: IssueFacts) -> str:
    """The commit's message; GitHub shows whoever asked beside our account, by the address that it gives to all."""
    lines = [pull_title(wanted), "", f"Asked for in #{issue.number}."]
    if on_behalf(issue.author) and issue.author_id:
        address = f"{issue.author_id}+{issue.author}@users.noreply.github.com"
        lines += ["", f"Co-authored-by: {issue.author} <{address}>"]
    return "\n".join(lines) + "\n"


# --- a terminal ---------------------------------------------------------------------------------------------------


def text(told: Told) -> str:
    """The answer for a terminal."""
    finding, facts = told.finding, told.finding.facts
    parts = [_verdict(told).replace("`", "").replace("\\", "")]
    parts += [_changed(told.edit).replace("`", "")] if _changed(told.edit) else []
    parts += [f"note: {note}" for note in finding.notes]
    if facts is not None:
        upload = _uploaded(facts.uploaded, told.today)
        parts.append(f"{finding.name}: the newest in {facts.origin} is {facts.newest}; {upload}")
    if finding.nearest:
        rows = [f"  {one.name} ({', '.join(one.channels)})" for one in finding.nearest]
        parts.append("\n".join(["nearest names:", *rows]))
    if told.held:
        rows_held = [(one.label, one.version, one.why.replace("`", "")) for one in told.held]
        parts.append(tabulate(rows_held, headers=("release", "version", "why"), disable_numparse=True))
    if finding.outcome == "solved":
        notes = finding.part.notes if finding.part else ()
        parts.append(render_diff.text(Heading(told.label, notes=notes), told.diffs).rstrip())
    if finding.part and finding.part.unsolvable:
        why = finding.part.unsolvable.explanation
        parts += [why.cause, *(f"  - {one.place}: {one.text}" for one in why.culprits)]
        parts += ["what would work (each was tried by itself):"] if why.remedies else []
        parts += [f"  - {remedy}" for remedy in why.remedies]
    parts += [f"  - {problem}" for problem in finding.problems]
    return "\n".join(parts) + "\n"
