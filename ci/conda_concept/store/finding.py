"""Which release people mean when they name one."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from conda_concept.errors import InputError, NotFoundError
from conda_concept.layout import Layout
from conda_concept.model import Release
from conda_concept.operations import StoreState
from conda_concept.record import BUILD_ID, LABEL, RELEASE, parse_release

Prefer = Literal["candidate", "current"]


def find_release(state: StoreState, layout: Layout, text: str, *, prefer: Prefer) -> Release:
    """The release that `text` names; `NotFoundError` or `InputError` with the choices.

    Args:
        state: What the store holds.
        layout: Its paths; a path below the releases (relative ones from here) is taken too.
        text: `analysis3-23.04/1a2b3c4d`, a path of it, a build id, a label, or an alias.
        prefer: What a label means: the one candidate that waits to be published, or what it points at now.
    """
    there = tuple(standing.release for standing in state.releases)
    if "/" in text and not RELEASE.fullmatch(text):
        return _by_path(there, layout, text)
    if RELEASE.fullmatch(text):
        return _one(there, lambda release: release == parse_release(text), text)
    if BUILD_ID.fullmatch(text):
        return _one(there, lambda release: release.build_id == text, text)
    current = state.release(text)
    if LABEL.fullmatch(text) and prefer == "candidate":
        waiting = [one for one in there if one.label == text and one != current and state.complete(one)]
        if waiting:
            return _one(tuple(waiting), lambda _: True, text)
    if current is not None:
        return current
    return _one(there, lambda release: release.label == text, text)


def _by_path(there: tuple[Release, ...], layout: Layout, text: str) -> Release:
    path = Path(text).absolute()
    for release in there:
        prefix = layout.prefix(release)
        if path == prefix or path.resolve() == prefix.resolve():
            return release
    raise NotFoundError(f"{text} is not a release directory of the store {layout.releases}.")


def _one(there: tuple[Release, ...], fits: Callable[[Release], bool], text: str) -> Release:
    found = [release for release in there if fits(release)]
    if not found:
        known = ", ".join(str(release) for release in there[-5:]) or "none at all"
        raise NotFoundError(f"There is no release `{text}` in this store.", hint=f"There are: {known}.")
    if len(found) > 1:
        raise InputError(
            f"`{text}` is not one release:", problems=[str(one) for one in found], hint="Name one of these."
        )
    return found[0]
