"""Verify: read every byte of releases again and compare every path with its record."""

from collections.abc import Sequence
from dataclasses import dataclass

from conda_concept.model import Problem, Release
from conda_concept.progress import Reporter
from conda_concept.store import Store


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` found: the releases that it read, and every difference, none where all is well."""

    releases: tuple[Release, ...]
    problems: tuple[Problem, ...]


def verify(store: Store, releases: Sequence[Release], reporter: Reporter) -> Verified:
    """Check these releases; all complete ones of the store, where none is given."""
    wanted = tuple(releases) or tuple(one.release for one in store.reader.state().releases if one.complete)
    problems: list[Problem] = []
    for release in wanted:
        problems += _read(store, release, reporter)
    return Verified(wanted, tuple(problems))


def _read(store: Store, release: Release, reporter: Reporter) -> tuple[Problem, ...]:
    with reporter.bar(f"reading {release}") as bar:
        return store.checker.verify(release, lambda done, total: bar.update(done=done, total=total))
