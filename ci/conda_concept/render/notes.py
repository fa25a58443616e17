"""Release notes for users: what is new, what is gone, what to look out for, how to load it, how to stay."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from conda_concept.model import Change, Diff, ReleaseRecord
from conda_concept.render.quote import code, markdown, templates
from conda_concept.results import TestReport
from conda_concept.settings import Config

#: A list with more lines than this is not read; the changelog and the lock have all of it.
MOST = 60


@dataclass(frozen=True, slots=True)
class Noted:
    """What the notes are about.

    `before` is the label of the version before this one, empty for the first; `diffs` are against its lock. `stable`
    is the label of what the plain name means by now, empty where it means nothing; `newest`: no later version is out.
    `module_path` is what `module use` takes, `product` the first half of a module's name.
    """

    record: ReleaseRecord
    config: Config
    diffs: tuple[Diff, ...]
    before: str
    stable: str
    tests: TestReport | None
    module_path: str
    product: str
    newest: bool = True


def release_notes(noted: Noted) -> str:
    """The notes as Markdown."""
    record, config = noted.record, noted.config
    release = record.release
    plain = code(f"{noted.product}/{release.environment}")
    unstable, module = (f"{noted.product}/{one}" for one in (f"{release.environment}-unstable", release.label))
    changes = [change for diff in noted.diffs for change in diff.changes]
    return (
        templates()
        .get_template("release-notes.md")
        .render(
            label=release.label,
            description=config.description,
            packages=_packages(noted),
            module_path=noted.module_path,
            load=unstable if noted.newest else module,
            unstable=unstable,
            module=module,
            stable=f" The plain name {plain} means {code(noted.stable)} now." if noted.stable else "",
            before=f"{noted.product}/{noted.before}" if noted.before else "",
            new=_listed([one for one in changes if one.kind == "added"], _new),
            gone=_listed([one for one in changes if one.kind == "removed"], _gone),
            major=_listed([one for one in changes if _is_major(one)], _moved),
            key="\n".join(f"- {_moved(one)}" for one in changes if _is_key(one)),
            problems=_problems(noted),
            contact=config.contact,
            build_id=release.build_id,
            sha256=record.image.sha256,
            lock_digest=record.lock_digest[:12],
        )
        .strip()
        + "\n"
    )


def _packages(noted: Noted) -> str:
    before = sum(diff.packages_before for diff in noted.diffs)
    compared = f"; {before:,} in {markdown(noted.before)}" if noted.before else ""
    return f"{noted.record.packages:,} packages{compared}."


def _listed(changes: Sequence[Change], line: Callable[[Change], str]) -> str:
    """What was asked for by name, one a line; the others as a number."""
    named = [
        one for one in changes if one.requested or one.demanded or any(flag.kind == "needed" for flag in one.flags)
    ]
    lines = [f"- {line(one)}" for one in named[:MOST]]
    if len(named) > MOST:
        lines.append(f"- and {len(named) - MOST:,} more that are asked for by name")
    rest = len(changes) - len(named)
    if rest:
        lines.append(f"- {rest:,} {'others that nobody' if named else 'that nobody'} asks for by name")
    return "\n".join(lines) or "Nothing."


def _new(change: Change) -> str:
    return f"{markdown(change.name)} {code(change.new.version) if change.new else ''}".rstrip()


def _gone(change: Change) -> str:
    was = f"{markdown(change.name)} {code(change.old.version) if change.old else ''}".rstrip()
    needed = [flag.text for flag in change.flags if flag.kind == "needed"]
    return was + (f": {markdown(needed[0])}" if needed else "")


def _moved(change: Change) -> str:
    old, new = (package.version if package else "" for package in (change.old, change.new))
    if not old or not new:
        return f"{markdown(change.name)} {code(new) if new else 'is gone'}"
    return f"{markdown(change.name)} {code(old)} → {code(new)}"


def _is_major(change: Change) -> bool:
    return any(flag.kind == "major" for flag in change.flags)


def _is_key(change: Change) -> bool:
    return any(flag.kind == "key" for flag in change.flags) and change.kind != "rebuild"


def _problems(noted: Noted) -> str:
    """What people said is known, and what the tests found that the version before had too."""
    lines = [
        f"- {code(one.test)}: {markdown(one.reason)}" + (f" ({one.issue})" if one.issue else "")
        for one in noted.config.tests.expect_fail
    ]
    known = [one for one in noted.tests.results if one.standing == "known failure"] if noted.tests else []
    lines += [f"- {code(one.title)} fails, as it did before: {markdown(one.message[:200])}" for one in known[:MOST]]
    return "\n".join(lines) or "None that we know of."
