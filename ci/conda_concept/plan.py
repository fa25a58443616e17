"""Wanted against live: what publish and rollback will do, as plain values in order.

The dry run prints these values and the real run applies the same ones. Nothing here touches a disk.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from conda_concept.errors import InputError, NotFoundError
from conda_concept.model import Alias, Event, Move, Release
from conda_concept.operations import AppendEvent, SetAlias, SetModule, StoreState, Switch, WriteModulerc, module_target
from conda_concept.record import BUILD_ID, LABEL
from conda_concept.render.modulerc import modulerc


def publish(
    state: StoreState, event: Event, *, product: str, stable: str | None, default: str | None
) -> tuple[Switch, ...]:
    """The operations that make `event.release` visible; none where everything is as wanted already.

    Args:
        state: What is live.
        event: Who does it and why; its moves are filled in here.
        product: The first half of the module names.
        stable: The label that the plain name is to mean. Where that label has no release, the name stays as it is.
            None: a fix of an older version, which moves nothing but its own label.
        default: The environment of a bare `module load PRODUCT`.
    """
    release = event.release
    if release is None:
        raise InputError("There is no release to publish.")
    wanted = [Alias(release.label, release.build_id)]
    if stable is not None:
        wanted.append(Alias(f"{release.environment}-unstable", release.label))
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
    """From live to wanted: what a label means first, then the moving names, modules, `.modulerc`, history."""
    moves = tuple(
        Move(alias.name, state.target(alias.name), alias.target)
        for alias in wanted
        if state.target(alias.name) != alias.target
    )
    after = {alias.name: alias.target for alias in state.aliases} | {move.alias: move.after for move in moves}
    operations: list[Switch] = [SetAlias(move) for move in moves if LABEL.fullmatch(move.alias)]
    operations += [SetAlias(move) for move in moves if not LABEL.fullmatch(move.alias)]
    operations += set_modules(after, state.modules, product)
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


def untold(state: StoreState) -> tuple[Move, ...]:
    """The moves that are live and that nobody wrote down: a run ended between a rename and its line in the history.

    Names that were taken away have no target after; links that this program did not make are left out.
    """
    recorded = last_recorded(state.history)
    live = {alias.name: alias.target for alias in state.aliases}
    foreign = {name for name, to in live.items() if not (BUILD_ID if LABEL.fullmatch(name) else LABEL).fullmatch(to)}
    return tuple(
        Move(name, recorded.get(name, ""), live.get(name, ""))
        for name in sorted({*recorded, *live} - foreign)
        if recorded.get(name, "") != live.get(name, "")
    )


def last_recorded(history: Iterable[Event]) -> dict[str, str]:
    """What each alias points at by the history's last word."""
    return {move.alias: move.after for event in history for move in event.moves}


def set_modules(aliases: Mapping[str, str], modules: Mapping[str, str], product: str) -> list[SetModule]:
    """Modules for the names that have none, or one that leads elsewhere; a name that means nothing gets none."""
    names = sorted(name for name, target in aliases.items() if LABEL.fullmatch(name) or target in aliases)
    return [
        SetModule(name, modules.get(name, "")) for name in names if modules.get(name) != module_target(name, product)
    ]


def wanted_modulerc(aliases: Mapping[str, str], *, product: str, default: str | None) -> str:
    """The `.modulerc` for these aliases: what a bare product loads, if there is such a choice."""
    moving = [name for name, label in aliases.items() if not LABEL.fullmatch(name) and label in aliases]
    environments = [name for name in moving if not name.endswith("-unstable")]
    first = default if default is not None else environments[0] if len(environments) == 1 else None
    return modulerc(product, first if first in moving else None)


def write_modulerc(
    aliases: Mapping[str, str], present: str | None, *, product: str, default: str | None
) -> list[Switch]:
    """Replace the `.modulerc` where it is not what the aliases and the site ask for."""
    text = wanted_modulerc(aliases, product=product, default=default)
    return [] if text == present or (present is None and not aliases) else [WriteModulerc(text, present)]
