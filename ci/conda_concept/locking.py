"""From a spec and the lock before it to the new lock, moving only what must: for all platforms, conda and pip."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rattler import RepoDataRecord

from conda_concept.channels import missing_channels
from conda_concept.explain import BUDGET, ExplainedError, explain
from conda_concept.lockcheck import unmet
from conda_concept.lockfile import digest, merge
from conda_concept.model import Lock, Package, Spec
from conda_concept.pipsolver import solve_pip
from conda_concept.progress import Reporter
from conda_concept.solver import NoSolutionError, Session, Settings, lock_of


@dataclass(frozen=True, slots=True)
class Wish:
    """How much may move: everything (`refresh`), or the named packages and what must follow; else only what must."""

    refresh: bool = False
    update: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Solved:
    """A new lock, with notes for people; `unchanged`: it installs the same bytes as the one before."""

    lock: Lock
    notes: tuple[str, ...]
    unchanged: bool
    seconds: float


def solve(spec: Spec, previous: Lock | None, wish: Wish, settings: Settings, reporter: Reporter) -> Solved:
    """The lock for every platform of the spec, starting from `previous`. Raises `ConcError`s that people understand."""
    started = time.monotonic()
    locks: list[Lock] = []
    notes: list[str] = []
    for platform in spec.config.platforms:
        with reporter.step(f"solve {spec.name} for {platform}"):
            lock, said = _solve_platform(spec, platform, previous, wish, settings)
        locks.append(lock)
        notes += [f"{platform}: {note}" if len(spec.config.platforms) > 1 else note for note in said]
    lock = merge(locks)
    unchanged = previous is not None and all(
        digest(lock, platform) == digest(previous, platform) for platform in lock.platforms
    )
    return Solved(lock, tuple(notes), unchanged, time.monotonic() - started)


def _solve_platform(
    spec: Spec, platform: str, previous: Lock | None, wish: Wish, settings: Settings
) -> tuple[Lock, list[str]]:
    with Session(spec, platform, settings) as session:
        missing_channels(spec, session.missing)
        before = () if previous is None or wish.refresh else previous.on(platform)
        kept, notes = still_there(session, before)
        free = frozenset(wish.update)
        try:
            records = session.solve(spec.requests, locked=[record for record in kept if _name(record) not in free])
        except NoSolutionError as error:
            found = explain(session, str(error), budget=min(BUDGET, settings.time_limit))
            raise ExplainedError(spec.name, found) from None
        packages = [session.package(record) for record in records]
        wrong = unmet(packages, spec, session.virtual)
        if wrong:  # never seen; a solver that is wrong must not reach a release
            raise AssertionError("\n".join(["the solver's answer does not hold:", *wrong]))
        pip, said = solve_pip(session, packages, [package for package in before if package.manager == "pip"])
        packages += pip
        notes += said
        return lock_of(spec, platform, packages), [*session.notes, *notes]


def still_there(session: Session, before: Sequence[Package]) -> tuple[list[RepoDataRecord], list[str]]:
    """Today's records of the packages locked before, and a sentence for each one that is gone or is another file now.

    The channel's own records are taken, not the lock's: a channel mends the dependencies of a package after its upload.
    """
    wanted = {package.url: package for package in before if package.manager == "conda"}
    specs = [f"{package.name} =={package.version} {package.build}" for package in wanted.values()]
    found = {session.canonical(str(record.url)): record for record in session.find(specs)} if specs else {}
    kept, gone, notes = [], [], []
    for url, package in wanted.items():
        record = found.get(url)
        if record is None:
            gone.append(package)
        elif package.sha256 and record.sha256 and record.sha256.hex() != package.sha256:
            notes.append(f"{package.filename} has other bytes in {package.channel} now than were locked; taken anew.")
        else:
            kept.append(record)
    return kept, notes + _gone(session, gone)


def _gone(session: Session, gone: Sequence[Package]) -> list[str]:
    if not gone:
        return []
    broken = session.broken([package for package in gone if package.name not in session.spec.config.allow_broken])
    return [
        f"{package.filename} was marked broken in {package.channel} and is replaced."
        if package.url in broken
        else f"{package.filename} is no longer in {package.channel} and is replaced."
        for package in gone
        if package.channel.split("/label/")[0] in session.spec.channels
    ]


def _name(record: RepoDataRecord) -> str:
    return str(record.name.normalized)
