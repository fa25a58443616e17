"""Look into a request for a package: does it exist, is it there already, does it fit. Nothing is written here.

A package of PyPI that comes as source may run code of its own to say what it needs. So on GitHub this runs in a job
that has no secret and no right to write, and what it finds is data for the job that answers (`steps/answer.py`).
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from conda_concept.errors import ConcError, InputError, UnsolvableError
from conda_concept.explain import ExplainedError, Explanation
from conda_concept.lockcheck import check_lock, meets
from conda_concept.lockfile import dumps, loads
from conda_concept.locking import Wish, solve
from conda_concept.model import Lock, Package, Place, Request
from conda_concept.pipsolver import pypi_name
from conda_concept.progress import Reporter
from conda_concept.proposal import Part, Reasons
from conda_concept.pypi import look_up
from conda_concept.repository import Repository
from conda_concept.requesting import PYPI, Asked, Facts, Finding, Nearest, as_conda, edited
from conda_concept.solver import Session, Settings

#: How many names are offered for one that is not there, and how like they have to be (difflib's ratio).
NEAREST, LIKE = 5, 0.55


@dataclass(frozen=True, slots=True)
class Looker:
    """Where a request is tried: the checkout, the channels, the index."""

    repository: Repository
    settings: Settings
    reporter: Reporter
    #: Of the issue that asks, if there is one.
    digest: str = ""

    def look(self, wanted: Asked) -> Finding:
        """What becomes of a request; a failure of the network or of ours is a finding too, never an exception."""
        try:
            return self._look(wanted)
        except InputError as error:
            problems = error.problems or (error.message,)
            return self._finding(wanted, "refused", problems=tuple(one[:1000] for one in problems[:50]))
        except ConcError as error:
            self.reporter.warn(str(error))
            return self._finding(wanted, "failed", problems=(str(error)[:1000],))

    def _finding(self, wanted: Asked, outcome: str, **more: Any) -> Finding:
        base = self.repository.head().removesuffix("-dirty")
        about = {name: getattr(wanted, name) for name in ("environment", "name", "manager", "version", "channel")}
        facts = {"schema": 1, "digest": self.digest, "base": base, **about, "outcome": outcome, **more}
        return Finding.model_validate(facts)

    def _look(self, wanted: Asked) -> Finding:
        spec = self.repository.spec(wanted.environment)
        if wanted.channel and wanted.channel not in spec.channels:
            raise InputError(
                f"`{wanted.environment}` takes packages from {', '.join(spec.channels)}, and not from {wanted.channel}."
            )
        platform = spec.config.platforms[0]
        notes: list[str] = []
        with Session(spec, platform, self.settings) as session:
            channels = _Channels(session)
            if wanted.manager == "pip":
                wanted, notes = channels.preferred(wanted)
            facts = channels.facts(wanted) if wanted.manager == "conda" else self._indexed(wanted.name)
            if facts is None:
                return self._unknown(wanted, channels)
        text = self.repository.lock_text(wanted.environment)
        lock = loads(text) if text is not None else None
        if lock is not None and there(lock, wanted, platform) is not None:
            return self._finding(wanted, "present", facts=facts, notes=tuple(notes))
        return self._tried(wanted, lock, facts, notes)

    def _unknown(self, wanted: Asked, channels: "_Channels") -> Finding:
        notes = []
        if wanted.manager == "conda":
            indexed = self._known_to_pip(wanted.name)
            if indexed is not None:
                notes = [f"PyPI has a `{pypi_name(wanted.name)}` {indexed.newest}; it can be asked for from there."]
        return self._finding(wanted, "unknown", nearest=channels.nearest(wanted.name), notes=tuple(notes))

    def _known_to_pip(self, name: str) -> Facts | None:
        """What PyPI says, for a hint only: without it there is none."""
        try:
            return self._indexed(pypi_name(name))
        except ConcError as error:
            self.reporter.warn(str(error))
            return None

    def _indexed(self, name: str) -> Facts | None:
        found = look_up(name, self.settings.pip_index)
        if found is None:
            return None
        facts = {"newest": found.newest, "origin": PYPI, "uploaded": found.uploaded, "size": found.size}
        return Facts.model_validate(facts | {"versions": found.versions})

    def _tried(self, wanted: Asked, lock: Lock | None, facts: Facts, notes: Sequence[str]) -> Finding:
        """Whether everything together with it has a solution, and which."""
        asks = edited(wanted, *self.repository.sources(wanted.environment))
        spec = asks.spec
        name = wanted.environment
        try:
            solved = solve(spec, lock, Wish(), self.settings, self.reporter)
        except (ExplainedError, UnsolvableError) as error:
            why = error.explanation if isinstance(error, ExplainedError) else _in_short(error, wanted)
            # That it fits where it is left out is no news to whoever asked.
            others = [one for one in why.remedies if not one.startswith(f"leave out `{asks.edit.entry}` ")]
            why = replace(why, remedies=tuple(others))
            part = Part(name=name, outcome="unsolvable", unsolvable=Reasons.of(why))
            return self._finding(wanted, "unsolvable", facts=facts, part=part, notes=tuple(notes))
        wrong = [
            problem
            for platform in spec.config.platforms
            for problem in check_lock(solved.lock, spec, platform, spec.config.virtual_packages)
        ]
        if wrong:
            raise InputError("a rule of the environment is against it:", problems=wrong)
        said = tuple(note[:1000] for note in solved.notes[:200])
        part = Part(name=name, outcome="solved", lock=dumps(solved.lock), notes=said)
        return self._finding(wanted, "solved", facts=facts, part=part, notes=tuple(notes))


def there(lock: Lock, wanted: Asked, platform: str) -> Package | None:
    """The package of a lock that is what is wanted already."""
    request = Request(wanted.text, wanted.name, wanted.manager, Place("the request"), wanted.channel or None)
    for package in lock.on(platform):
        if (package.manager, package.name) == (wanted.manager, wanted.name) and meets(request, package):
            return package
        same = wanted.manager == "pip" and package.manager == "conda" and pypi_name(package.name) == wanted.name
        if same and meets(Request(as_conda(wanted, package.name).text, package.name, "conda", request.place), package):
            return package
    return None


def _in_short(error: UnsolvableError, wanted: Asked) -> Explanation:
    """Pip's solver says why in its own words, and nothing was tried."""
    place = Place(f"environments/{wanted.environment}/environment.yml")
    request = Request(wanted.text, wanted.name, wanted.manager, place)
    return Explanation(error.message, (request,), (), error.solver_text, complete=False)


@dataclass(slots=True)
class _Channels:
    """What the channels of an environment have, in few questions."""

    session: Session

    def preferred(self, wanted: Asked) -> tuple[Asked, list[str]]:
        """Conda's package of the project that is asked for from PyPI, where a channel has one that is wanted."""
        same = [name for name in self.session.names() if pypi_name(name) == wanted.name]
        for name in sorted(same, key=lambda one: (one != wanted.name, one)):
            other = as_conda(wanted, name)
            request = Request(other.text, name, "conda", Place("the request"))
            channel = self._channel(name)
            if self.session.satisfiable([request]):
                return other, [f"{channel} has it as `{name}`, so it would come from there and not from PyPI."]
            if channel:
                return wanted, [f"{channel} has `{name}` too, but not in that version, so it would come from PyPI."]
        return wanted, []

    def _channel(self, name: str) -> str:
        found = self.session.versions(name)
        return found[-1][2] if found else ""

    def facts(self, wanted: Asked) -> Facts | None:
        """The newest package of a name, and the day of the last upload of any; None where there is none."""
        records = sorted(self.session.find([wanted.name]), key=lambda record: record.version)
        packages = [self.session.package(record) for record in records]
        own = [one for one in packages if wanted.channel in ("", one.channel)]
        if not own:
            return None
        newest = own[-1]
        days = sorted(one.day.isoformat() for one in own if one.day is not None)
        return Facts(
            newest=newest.version[:200],
            origin=newest.channel[:200],
            uploaded=days[-1] if days else "",
            license=(newest.license or "")[:200],
            size=newest.size,
            versions=len({one.version for one in own}),
        )

    def nearest(self, name: str) -> tuple[Nearest, ...]:
        """Names that are like one that no channel has, and the channels of each; one that is only elsewhere first."""
        names = self.session.names()
        close = difflib.get_close_matches(name, names, n=NEAREST, cutoff=LIKE)
        found = [Nearest(name=one, channels=self._channels(one)) for one in close]
        return tuple(found)

    def _channels(self, name: str) -> tuple[str, ...]:
        return tuple(sorted({channel for _, _, channel in self.session.versions(name)}))
