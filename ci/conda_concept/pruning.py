"""What prune keeps and what it removes, and why: pure decisions about a store's state."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from conda_concept.model import Event, Judgement, Release
from conda_concept.operations import (
    DropCandidate,
    Operation,
    RemoveBase,
    RemoveRelease,
    RemoveTemporary,
    Standing,
    StoreState,
)
from conda_concept.plan import untold
from conda_concept.record import LABEL
from conda_concept.settings import Retention


@dataclass(frozen=True, slots=True)
class Pruning:
    """What a decision rests on: the state, the site's policy, the time (with its zone), and who uses what.

    `in_use` names the releases that a process has open and says what is known about it; `closed` are the candidates
    whose pull request is closed.
    """

    state: StoreState
    retention: Retention
    now: dt.datetime
    in_use: Mapping[Release, str]
    closed: frozenset[Release] = frozenset()
    #: Labels that were retired: none of their builds stays to be rolled back to.
    retired: frozenset[str] = frozenset()

    def judgements(self) -> tuple[Judgement, ...]:
        """Keep or remove, for every release directory, in the order of the state."""
        left = last_pointed_at(self.state, self.now)
        ranks = _ranks(self.state, left)
        return tuple(self._judge(standing, left, ranks) for standing in self.state.releases)

    def _judge(
        self, standing: Standing, left: Mapping[Release, dt.datetime], ranks: Mapping[Release, int]
    ) -> Judgement:
        release = standing.release
        reason = self._why_keep(standing)
        if reason:
            return Judgement(release, keep=True, why=reason)
        if not standing.complete:
            return Judgement(release, keep=False, why="left unfinished by a run that ended early")
        if release in left:
            return self._former(release, left[release], ranks.get(release, 0))
        return self._candidate(standing)

    def _why_keep(self, standing: Standing) -> str:
        """The reasons that no policy overrules; empty where there is none."""
        release = standing.release
        names = self.state.names_of(release)
        if names or self.state.target(release.label) == release.build_id:
            return f"published as {', '.join(names) or release.label}"
        if standing.pinned is not None:
            return f"pinned: {standing.pinned or 'no reason given'}"
        if standing.builder:
            return f"being built by {standing.builder}"
        if release in self.in_use:
            return f"in use: {self.in_use[release]}"
        return ""

    def _former(self, release: Release, left: dt.datetime, rank: int) -> Judgement:
        """A release that was published once: grace first, then the number that the policy keeps."""
        days = (self.now - left) / dt.timedelta(days=1)
        if days < self.retention.grace_days:
            why = f"was published until {days:.1f} days ago; stays {self.retention.grace_days:g} days"
            return Judgement(release, keep=True, why=why)
        if release.label in self.retired:
            return Judgement(release, keep=False, why=f"retired; its names went {days:.0f} days ago")
        if rank < self.retention.keep_builds:
            return Judgement(release, keep=True, why=f"one of the last {self.retention.keep_builds} of {release.label}")
        return Judgement(release, keep=False, why=f"replaced {days:.0f} days ago")

    def _candidate(self, standing: Standing) -> Judgement:
        """A release that nothing ever pointed at."""
        release = standing.release
        if release in self.closed:
            return Judgement(release, keep=False, why="candidate of a closed pull request")
        days = (self.now - standing.finished) / dt.timedelta(days=1) if standing.finished else 0.0
        if days < self.retention.candidate_days:
            why = f"candidate, {days:.1f} days old; stays {self.retention.candidate_days:g} days"
            return Judgement(release, keep=True, why=why)
        return Judgement(release, keep=False, why=f"candidate, {days:.0f} days old, never published")


def removals(judgements: Iterable[Judgement], state: StoreState, event: Event) -> tuple[Operation, ...]:
    """The operations for what is judged to go, and for the leftovers of runs that ended early.

    A release that is half removed has lost its completeness already, and its line in the history is written.
    """
    operations: list[Operation] = [RemoveTemporary(path) for path in state.temporaries]
    for judgement in judgements:
        if not judgement.keep:
            release = judgement.release
            operations += [DropCandidate(name, state.candidates[name]) for name in state.tried_as(release)]
            told = replace(event, release=release, removed=(str(release),)) if state.complete(release) else None
            operations.append(RemoveRelease(release, judgement.why, told))
    return tuple(operations)


def unused_bases(state: StoreState, judgements: Iterable[Judgement], current: str) -> tuple[RemoveBase, ...]:
    """The container bases that no release needs which stays, nor the site file as it is now (`current`).

    While anything is being built all of them stay: a build takes a base before its launcher names it.
    """
    if any(standing.builder for standing in state.releases):
        return ()
    staying = {judgement.release for judgement in judgements if judgement.keep}
    return tuple(RemoveBase(name) for name, users in state.bases.items() if name != current and not users & staying)


def last_pointed_at(state: StoreState, now: dt.datetime) -> dict[Release, dt.datetime]:
    """When each release was last known to be what its label points at, from the history.

    A move that the history does not tell may have been made this very moment.
    """
    moves = [(move, dt.datetime.fromisoformat(event.when)) for event in state.history for move in event.moves]
    moves += [(move, now) for move in untold(state)]
    seen: dict[Release, dt.datetime] = {}
    for move, when in moves:
        if LABEL.fullmatch(move.alias):
            environment, _, version = move.alias.partition("-")
            for build_id in filter(None, (move.before, move.after)):
                seen[Release(environment, version, build_id)] = when
    return seen


def _ranks(state: StoreState, left: Mapping[Release, dt.datetime]) -> dict[Release, int]:
    """Place of each former release among those of its label, 0 for the one that was left last."""
    former = [
        release for release in left if state.target(release.label) != release.build_id and state.complete(release)
    ]
    ranks: dict[Release, int] = {}
    for label in {release.label for release in former}:
        same = sorted((one for one in former if one.label == label), key=lambda one: (left[one], one), reverse=True)
        ranks.update({release: place for place, release in enumerate(same)})
    return ranks
