"""Wanted against live: what publish, rollback, prune and repair will do, as plain values in order.

The dry run prints these values and the real run applies the same ones. Nothing here touches a disk.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from conda_concept.errors import InputError, NotFoundError
from conda_concept.model import Alias, Event, Move, Release
from conda_concept.record import BUILD_ID, LABEL
from conda_concept.render.modulerc import modulerc

# --- what there is ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """One release directory as the store sees it.

    `complete`: it has a record and no marker. `finished` is when its record was written, None while it has none.
    `builder` names the live process that works in it, empty otherwise. `pinned` is the text of its keep file.
    """

    release: Release
    complete: bool
    finished: dt.datetime | None = None
    builder: str = ""
    pinned: str | None = None


@dataclass(frozen=True, slots=True)
class StoreState:
    """What is live: releases, aliases (name to label, label to build id), modules, `.modulerc`, history.

    `modules` maps each published modulefile name to the target of its symlink; `temporaries` are paths below the
    root that a run which ended early left behind.
    """

    releases: tuple[Standing, ...] = ()
    aliases: tuple[Alias, ...] = ()
    modules: Mapping[str, str] = field(default_factory=dict)
    modulerc: str | None = None
    history: tuple[Event, ...] = ()
    #: Candidates that can be tried: module name (`analysis3-pr12`) and the target of its symlink.
    candidates: Mapping[str, str] = field(default_factory=dict)
    temporaries: tuple[str, ...] = ()

    def target(self, name: str) -> str:
        """What an alias points at, literally: a label, a build id, or empty where there is no such alias."""
        return next((alias.target for alias in self.aliases if alias.name == name), "")

    def release(self, name: str) -> Release | None:
        """The release that a name means in the end, None where it means nothing."""
        label = name if LABEL.fullmatch(name) else self.target(name)
        build_id = self.target(label)
        if not LABEL.fullmatch(label) or not BUILD_ID.fullmatch(build_id):
            return None
        environment, _, version = label.partition("-")
        return Release(environment, version, build_id)

    def complete(self, release: Release) -> bool:
        """Whether the release is there as a whole."""
        return any(standing.release == release and standing.complete for standing in self.releases)

    def tried_as(self, release: Release) -> tuple[str, ...]:
        """The candidate modules that lead to a release."""
        return tuple(name for name, target in self.candidates.items() if target == candidate_target(release))

    def names_of(self, release: Release) -> tuple[str, ...]:
        """The names that mean this release now, its label first."""
        names = (alias.name for alias in self.aliases if self.release(alias.name) == release)
        return tuple(sorted(names, key=lambda name: (name != release.label, name)))


# --- what can be done ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SetAlias:
    """Point an alias at `after`, in one rename."""

    move: Move

    def __str__(self) -> str:
        before = f" (was {self.move.before})" if self.move.before else " (new)"
        return f"alias {self.move.alias} -> {self.move.after}{before}"


@dataclass(frozen=True, slots=True)
class DropAlias:
    """Take an alias away."""

    move: Move

    def __str__(self) -> str:
        return f"alias {self.move.alias} is taken away (was {self.move.before})"


@dataclass(frozen=True, slots=True)
class SetModule:
    """Make a label loadable: a symlink to the modulefile of whatever its alias points at, made once a label."""

    label: str
    before: str = ""

    def __str__(self) -> str:
        return f"module {self.label} becomes loadable"


@dataclass(frozen=True, slots=True)
class DropModule:
    """Take a published modulefile away."""

    name: str
    before: str

    def __str__(self) -> str:
        return f"module {self.name} is taken away"


@dataclass(frozen=True, slots=True)
class SetCandidate:
    """Let a candidate be tried under a name that `module avail` does not show."""

    name: str
    release: Release
    before: str

    def __str__(self) -> str:
        return f"candidate module {self.name} -> {self.release}"


@dataclass(frozen=True, slots=True)
class DropCandidate:
    """Take the module of a candidate away."""

    name: str
    before: str

    def __str__(self) -> str:
        return f"candidate module {self.name} is taken away"


@dataclass(frozen=True, slots=True)
class WriteModulerc:
    """Replace the `.modulerc`."""

    text: str
    before: str | None

    def __str__(self) -> str:
        names = [" = ".join(line.split()[1:]) for line in self.text.splitlines() if line.startswith("module-version")]
        return f".modulerc: {'; '.join(names) or 'no moving names'}"


@dataclass(frozen=True, slots=True)
class AppendEvent:
    """Add a line to the history."""

    event: Event

    def __str__(self) -> str:
        return f"history: {self.event.action} by {self.event.who}"


@dataclass(frozen=True, slots=True)
class RemoveRelease:
    """Delete a release directory; `event` is recorded first, None where it was never complete."""

    release: Release
    why: str
    event: Event | None = None

    def __str__(self) -> str:
        return f"remove {self.release}: {self.why}"


@dataclass(frozen=True, slots=True)
class RemoveTemporary:
    """Delete what a run that ended early left behind; `path` is relative to the root."""

    path: str

    def __str__(self) -> str:
        return f"remove {self.path}, left by a run that ended early"


@dataclass(frozen=True, slots=True)
class SetMode:
    """Give a path (relative to the root) the site's permissions and group; `program`: it is to be executable."""

    path: str
    program: bool = False

    def __str__(self) -> str:
        return f"set the permissions of {self.path}"


@dataclass(frozen=True, slots=True)
class SplitHistory:
    """Move unreadable lines of the history into a file beside it."""

    def __str__(self) -> str:
        return "set the unreadable lines of the history aside"


Switch = SetAlias | DropAlias | SetModule | DropModule | SetCandidate | DropCandidate | WriteModulerc | AppendEvent
"""Operations that are prepared first and then take effect by one rename or unlink each."""

Operation = Switch | RemoveRelease | RemoveTemporary | SetMode | SplitHistory


# --- publish and rollback -----------------------------------------------------------------------------------------


def publish(state: StoreState, event: Event, *, product: str, stable: str, default: str | None) -> tuple[Switch, ...]:
    """The operations that make `event.release` visible; none where everything is as wanted already.

    Args:
        state: What is live.
        event: Who does it and why; its moves are filled in here.
        product: The first half of the module names.
        stable: The label that the plain name is to mean. Where that label has no release, the name stays as it is.
        default: The environment of a bare `module load PRODUCT`.
    """
    release = event.release
    if release is None:
        raise InputError("There is no release to publish.")
    wanted = [Alias(release.label, release.build_id), Alias(f"{release.environment}-unstable", release.label)]
    if stable == release.label or state.target(stable):
        wanted.append(Alias(release.environment, stable))
    return _switch(state, event, wanted, product=product, default=default)


def rollback(
    state: StoreState, event: Event, name: str, to: str, *, product: str, default: str | None
) -> tuple[Switch, ...]:
    """The operations that point `name` at `to` (a build id for a label, a label for other names) again."""
    return _switch(state, event, [Alias(name, to)], product=product, default=default)


def previous(state: StoreState, name: str) -> str:
    """What `name` pointed at before what it points at now, the latest that is still there; `NotFoundError` if none.

    The history is replayed like an editor's undo list: a publish forgets what had been rolled back from and adds
    itself; a rollback only moves down. So two rollbacks in a row go two releases back, and a release that was
    rolled back from is not what the next rollback returns to.
    """
    live = state.target(name)
    if not live:
        raise NotFoundError(f"`{name}` points at nothing in this store.", hint="`conda-concept list` shows the names.")
    stack: list[str] = []
    at = -1
    for event in state.history:
        for move in event.moves:
            if move.alias == name:
                stack, at = _replay(stack, at, move, undo=event.action == "rollback")
    if at >= 0 and stack[at] != live:
        # A run moved it and ended before it wrote its line. If it was a rollback, it is this one, to be finished.
        if _below(state, name, stack[:at]) == live:
            return live
        stack, at = _replay(stack, at, Move(name, stack[at], live), undo=False)
    found = _below(state, name, [target for target in stack[: max(at, 0)] if target != live])
    if found:
        return found
    raise NotFoundError(
        f"There is no earlier release of `{name}` to return to.",
        hint=f"`conda-concept list --history` shows what it pointed at; `rollback {name} --to …` takes any.",
    )


def _replay(stack: Sequence[str], at: int, move: Move, *, undo: bool) -> tuple[list[str], int]:
    """The undo list and the position in it after one more move."""
    kept = list(stack[: at + 1])
    if move.before and (not kept or kept[-1] != move.before):
        kept.append(move.before)
    if undo and move.after in kept:
        index = len(kept) - 1 - kept[::-1].index(move.after)
        return kept, index
    if move.after:
        kept.append(move.after)
    return kept, len(kept) - 1


def _below(state: StoreState, name: str, stack: Sequence[str]) -> str:
    """The topmost target that is still there, empty if none is."""
    return next((target for target in reversed(stack) if _usable(state, name, target)), "")


def _usable(state: StoreState, name: str, target: str) -> bool:
    if LABEL.fullmatch(name):
        environment, _, version = name.partition("-")
        return state.complete(Release(environment, version, target))
    release = state.release(target)
    return release is not None and state.complete(release)


def _switch(
    state: StoreState, event: Event, wanted: Sequence[Alias], *, product: str, default: str | None
) -> tuple[Switch, ...]:
    """From live to wanted: what a label means first, then its module, then the moving names, `.modulerc`, history."""
    moves = tuple(
        Move(alias.name, state.target(alias.name), alias.target)
        for alias in wanted
        if state.target(alias.name) != alias.target
    )
    after = {alias.name: alias.target for alias in state.aliases} | {move.alias: move.after for move in moves}
    operations: list[Switch] = [SetAlias(move) for move in moves if LABEL.fullmatch(move.alias)]
    operations += set_modules(after, state.modules, product)
    operations += [SetAlias(move) for move in moves if not LABEL.fullmatch(move.alias)]
    operations += write_modulerc(after, state.modulerc, product=product, default=default)
    # A run that ended between its last rename and its line in the history left a move that nobody wrote down.
    recorded = last_recorded(state.history)
    told = {
        alias.name: Move(alias.name, recorded.get(alias.name, ""), alias.target)
        for alias in wanted
        if recorded.get(alias.name) != alias.target
    }
    moved = tuple(sorted({**told, **{move.alias: move for move in moves}}.values()))
    if moved:
        operations.append(AppendEvent(replace(event, moves=moved)))
    return tuple(operations)


def last_recorded(history: Iterable[Event]) -> dict[str, str]:
    """What each alias points at by the history's last word."""
    return {move.alias: move.after for event in history for move in event.moves}


def set_modules(aliases: Mapping[str, str], modules: Mapping[str, str], product: str) -> list[SetModule]:
    """Modules for the labels that have none, or one that leads elsewhere."""
    labels = sorted(name for name in aliases if LABEL.fullmatch(name))
    return [
        SetModule(label, modules.get(label, ""))
        for label in labels
        if modules.get(label) != module_target(label, product)
    ]


def module_target(label: str, product: str) -> str:
    """Where a published modulefile's symlink leads: through the label's alias, so that one rename moves both."""
    return f"../../apps/{product}/envs/{label}/modulefile"


def candidate_target(release: Release) -> str:
    """Where a candidate module's symlink leads: straight to its release, which no publish changes."""
    return f"../../releases/{release}/modulefile"


def wanted_modulerc(aliases: Mapping[str, str], *, product: str, default: str | None) -> str:
    """The `.modulerc` for these aliases; a name whose label has no release is left out."""
    moving = {name: label for name, label in aliases.items() if not LABEL.fullmatch(name) and label in aliases}
    environments = [name for name in moving if not name.endswith("-unstable")]
    first = default if default is not None else environments[0] if len(environments) == 1 else None
    return modulerc(product, moving, moving.get(first) if first is not None else None)


def write_modulerc(
    aliases: Mapping[str, str], present: str | None, *, product: str, default: str | None
) -> list[Switch]:
    """Replace the `.modulerc` where it is not what the aliases ask for."""
    text = wanted_modulerc(aliases, product=product, default=default)
    return [] if text == present or (present is None and not aliases) else [WriteModulerc(text, present)]
