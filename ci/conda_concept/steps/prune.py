"""Prune: remove what nobody needs any more, and say for every release why it stays or goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conda_concept.errors import ConcError
from conda_concept.model import Event, Judgement, Release
from conda_concept.operations import DropCandidate, Operation, RemoveBase, RemoveRelease, RemoveTemporary, StoreState
from conda_concept.pruning import Pruning, removals, unused_bases
from conda_concept.retiring import Retiring
from conda_concept.runtime import base_image, base_name
from conda_concept.settings import Config
from conda_concept.site import zone
from conda_concept.steps.publish import Asked
from conda_concept.store import Store
from conda_concept.store.applying import Applier
from conda_concept.store.usage import limits


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, or would be: a judgement for every release, the operations, what stayed at the last look.

    `limits` says what could not be seen of who uses what.
    """

    judgements: tuple[Judgement, ...]
    operations: tuple[Operation, ...]
    stayed: tuple[str, ...] = ()
    dry_run: bool = False
    limits: tuple[str, ...] = ()


def prune(
    store: Store, asked: Asked, closed_pull_requests: Sequence[str] = (), configs: Mapping[str, Config] | None = None
) -> Pruned:
    """Remove candidates of closed pull requests, releases beyond the site's policy, unused bases, and leftovers.

    What an alias points at, what has a keep file, what is in use as far as can be seen from here, and what was
    published within the grace period stays. `configs` are those of the main branch: a version that they retire warns
    until its day, and loses its names after it. Just before each removal this is looked at again.

    Raises:
        BusyError: Somebody else holds the store's lock.
    """
    if asked.dry_run:
        retiring = _retiring(store, configs)
        first = retiring.operations(_event(store, asked))
        judgements, operations = _decide(store, asked, closed_pull_requests, retiring)
        return Pruned(
            judgements, (*first, *operations), stayed=retiring.held, dry_run=True, limits=limits(store.layout)
        )
    stayed: list[str] = []
    with store.locked("prune", wait=asked.wait) as applier:
        retiring = _retiring(store, configs)
        first = retiring.operations(_event(store, asked))
        applier.switch(first)
        judgements, operations = _decide(store, asked, closed_pull_requests, retiring)
        for operation in operations:
            if isinstance(operation, RemoveBase) and stayed:
                continue  # it may be that release's; the next prune knows
            reason = _carry_out(store, applier, operation)
            if reason:
                stayed.append(reason)
    return Pruned(judgements, (*first, *operations), (*retiring.held, *stayed), limits=limits(store.layout))


def _retiring(store: Store, configs: Mapping[str, Config] | None) -> Retiring:
    return Retiring(
        state=store.reader.state(),
        configs=configs or {},
        today=store.now().astimezone(zone(store.site.time_zone)).date(),
        product=store.layout.product,
    )


def _event(store: Store, asked: Asked) -> Event:
    return Event(when=store.now().isoformat(timespec="seconds"), who=asked.who, action="prune", release=None)


def _decide(
    store: Store, asked: Asked, closed: Sequence[str], retiring: Retiring
) -> tuple[tuple[Judgement, ...], tuple[Operation, ...]]:
    state, event = store.reader.state(), _event(store, asked)
    pruning = Pruning(
        state=state,
        retention=store.site.retention,
        now=store.now(),
        in_use=store.in_use([standing.release for standing in state.releases]),
        closed=_of_closed(store, state, frozenset(closed)),
        retired=retiring.over,
    )
    judgements = pruning.judgements()
    bases = unused_bases(state, judgements, base_name(base_image(store.site)))
    return judgements, (*removals(judgements, state, event), *bases)


def _carry_out(store: Store, applier: Applier, operation: Operation) -> str:
    """Do one operation; why it was not done, if so."""
    match operation:
        case RemoveTemporary():
            applier.remove_temporary(operation)
        case DropCandidate():
            applier.switch([operation])
        case RemoveBase():
            applier.remove_base(operation)
        case RemoveRelease():
            return applier.remove_release(operation, store.taker, lambda release: _still_needed(store, release))
        case _:
            raise TypeError(f"prune does not decide on {operation}")
    return ""


def _still_needed(store: Store, release: Release) -> str:
    """Why a release has to stay after all, as things are at this moment; empty if nothing keeps it."""
    state = store.reader.state()
    if state.target(release.label) == release.build_id:
        return f"{release} is published"
    if store.layout.keep(release).exists():
        return f"{release} has a keep file"
    used = store.in_use([release])
    return f"{release} is in use: {used[release]}" if used else ""


def _of_closed(store: Store, state: StoreState, closed: frozenset[str]) -> frozenset[Release]:
    """The candidates whose pull request is among the closed ones, and that no other candidate name leads to."""
    found = set()
    for standing in state.releases if closed else ():
        names = state.tried_as(standing.release)
        of_pulls = [name for name in names if "-rc" not in name]
        if standing.complete and all(name.rpartition("-pr")[2] in closed for name in of_pulls):
            try:
                asked_by = store.reader.record(standing.release).source.pull_request
            except (ConcError, OSError):
                continue  # damaged: doctor and verify say so; its age decides
            if asked_by.lstrip("#").rpartition("/")[2] in closed:
                found.add(standing.release)
    return frozenset(found)
