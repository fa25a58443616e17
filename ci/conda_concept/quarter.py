"""A new version of an environment, as values: what is asked for, how far it has come, and what comes next.

How far it has come is never counted: it is read from what is there (branch, pull request, status, release), so a run
that ended early is gone on with, and running again when all is done does nothing.
"""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from conda_concept.conversation import PullFacts, release_branch
from conda_concept.errors import InputError
from conda_concept.forms import Filled
from conda_concept.settings import Config

#: The form, and the label that it gives to its issues: only those are looked at.
FORM = ".github/ISSUE_TEMPLATE/release.yml"
ISSUES = "release"
#: The choices of the form's field `packages`.
REFRESH, KEEP = "Refresh everything", "Keep the packages that are there"
_VERSION = re.compile(r"[0-9]{2}\.(0[1-9]|1[0-2])")
_FIXED = re.compile(rf"{_VERSION.pattern}\.[0-9]{{1,3}}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A new version that somebody asks for. `stable` is empty for the one before, which main's config.yml names."""

    environment: str
    version: str
    refresh: bool
    stable: str = ""

    @property
    def label(self) -> str:
        """The public name: of the release, of its tag, and of the branch for fixes."""
        return f"{self.environment}-{self.version}"

    @property
    def branch(self) -> str:
        """The branch that the pull request comes from."""
        return release_branch(self.label)


def wanted(filled: Filled) -> Wanted:
    """What a form asks for, or `InputError` with every answer that is no version."""
    found = {name: filled.text(name) for name in ("version", "stable")}
    problems = [
        f"`{name}`: {problem}"
        for name, value in found.items()
        if (value or name == "version") and (problem := _not_a_version(value, fixed=name == "stable"))
    ]
    if problems:
        raise InputError("the form asks for a version that cannot be:", problems=problems)
    return Wanted(
        environment=filled.text("environment"),
        version=found["version"],
        refresh=filled.text("packages") == REFRESH,
        stable=found["stable"],
    )


def _not_a_version(text: str, *, fixed: bool) -> str:
    """Why a text is no version; `fixed`: it may have a fix level, as a version that is there may."""
    if _VERSION.fullmatch(text) or (fixed and _FIXED.fullmatch(text)):
        return ""
    shown = text[:20]
    if re.fullmatch(r"[0-9]{2}\.[0-9]", text):
        return f"{shown} is the number; write {text}0 for October, {text[:3]}0{text[3:]} for the month {text[3:]}"
    return f"{shown!r} has to be a year and a month of two digits each, 26.10"


def refuse_older(asked: Wanted, config: Config) -> None:
    """`InputError` where the version is not newer than the main branch's, or a later one would be stable."""
    problems = []
    if not order(config.version) < order(asked.version):
        problems.append(f"{asked.label} is not newer than {asked.environment}-{config.version}, which is there")
    if asked.stable and order(asked.version) < order(asked.stable):
        problems.append(f"{asked.stable} cannot become stable: it comes after {asked.version}")
    if problems:
        raise InputError("the form asks for what cannot be:", problems=problems)


def order(version: str) -> tuple[int, ...]:
    """What versions are compared by."""
    return tuple(int(part) for part in version.split("."))


def configured(text: str, asked: Wanted, before: Config) -> str:
    """The `config.yml` of a new version: two or three lines change, comments and order stay.

    The values are in quotes always: YAML reads 26.10 as 26.1.
    """
    values = {"version": asked.version, "stable": asked.stable or before.version}
    if asked.refresh:
        values["refresh"] = asked.version
    lines, end = text.split("\n"), "\r" if "\r\n" in text else ""
    missing = []
    for key, value in values.items():
        place = _line_of(lines, key)
        if place is None:
            missing.append(f'{key}: "{value}"{end}')
        else:
            comment = re.search(r"\s+#.*$", lines[place])
            lines[place] = f'{key}: "{value}"' + (comment[0] if comment else end)
    at = _line_of(lines, "version")
    if at is None:
        raise InputError("config.yml has no line `version: …` of its own to change.")
    lines[at + 1 : at + 1] = missing
    return "\n".join(lines)


def _line_of(lines: list[str], key: str) -> int | None:
    return next((number for number, line in enumerate(lines) if re.match(rf"{key}:(\s|$)", line)), None)


# --- the calendar -------------------------------------------------------------------------------------------------


def quarter(now: dt.datetime) -> str:
    """The version of the quarter that a moment is in, by its own zone: 26.10 from the first of October there."""
    return f"{now.year % 100:02d}.{(now.month - 1) // 3 * 3 + 1:02d}"


def due(configs: Mapping[str, Config], now: dt.datetime) -> tuple[Wanted, ...]:
    """What the quarter asks for: every environment that is released quarterly and is not that far yet."""
    version = quarter(now)
    return tuple(
        Wanted(name, version, refresh=True, stable=config.version)
        for name, config in sorted(configs.items())
        if config.quarterly and order(config.version) < order(version)
    )


def title(asked: Wanted) -> str:
    """The title of the issue; one that is there is known by it."""
    return f"Release {asked.label}"


def answers(asked: Wanted) -> dict[str, str]:
    """The form, filled in."""
    return {
        "environment": asked.environment,
        "version": asked.version,
        "packages": REFRESH if asked.refresh else KEEP,
        "stable": asked.stable,
    }


# --- how far it has come ------------------------------------------------------------------------------------------

Building = Literal["", "pending", "success", "failure", "error"]


@dataclass(frozen=True, slots=True)
class Trial:
    """How the candidate is loaded: what `module use` takes, and the module."""

    module_path: str
    module: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What is there by now, as GitHub says it.

    `building` is the pull request's one status, `said` its words; `diff`, `build` and `release` are links to the
    comments; `published` is what the last of them says; `page` is that of the release notes.
    """

    asked: Wanted
    issue: int
    opener: str
    home: str
    pull: PullFacts | None = None
    building: Building = ""
    said: str = ""
    diff: str = ""
    build: str = ""
    release: str = ""
    published: bool = False
    trial: Trial | None = None
    page: str = ""
    is_open: bool = True

    @property
    def merged(self) -> bool:
        """Whether the pull request is."""
        return self.pull is not None and bool(self.pull.merged)

    @property
    def dropped(self) -> bool:
        """Whether the pull request was closed without being merged."""
        return self.pull is not None and not self.pull.is_open and not self.pull.merged


#: What the next step is. `wait` is for others: the build, people who try and merge, the release job.
Next = Literal["begin", "solve", "release", "close", "wait", "done"]


def following(there: Progress, *, retry: bool) -> Next:
    """What is to be done next. `retry`: somebody asks for it, so what has failed, or is silent, is started again."""
    if not there.is_open:
        return "done"
    if there.page:
        return "close"
    if there.merged:
        return "release" if retry else "wait"
    if there.pull is None:
        return "begin"
    if there.dropped or not there.pull.is_open:
        return "wait"
    if not there.building or (retry and there.building != "success"):
        return "solve"
    return "wait"
