"""List: what a store holds, what points at it, and what pointed where before."""

from typing import Literal

from conda_concept.errors import ConcError
from conda_concept.model import Event, Listed, Release
from conda_concept.operations import Standing, StoreState
from conda_concept.pruning import last_pointed_at
from conda_concept.store import Store

_ORDER = {"published": 0, "former": 1, "candidate": 2, "incomplete": 3}


def list_releases(store: Store) -> tuple[Listed, ...]:
    """Every release directory: by environment, newest version first, the published build of each first."""
    state = store.reader.state()
    former = set(last_pointed_at(state, store.now()))
    rows = [_row(store, state, standing, former) for standing in state.releases]
    rows.sort(key=lambda row: row.finished or "", reverse=True)
    rows.sort(key=lambda row: _ORDER[row.state])
    rows.sort(key=lambda row: [int(part) for part in row.release.version.split(".")], reverse=True)
    rows.sort(key=lambda row: row.release.environment)
    return tuple(rows)


def list_history(store: Store, name: str = "") -> tuple[Event, ...]:
    """The history, newest first; only what concerns an alias or label, where one is given."""
    events, problems = store.reader.history()
    for problem in problems:
        store.notice(f"{problem} `conda-concept doctor --repair` sets it aside.")
    return tuple(event for event in reversed(events) if not name or _concerns(event, name))


def _concerns(event: Event, name: str) -> bool:
    moved = any(move.alias == name for move in event.moves)
    return moved or (event.release is not None and event.release.label == name)


def _row(store: Store, state: StoreState, standing: Standing, former: set[Release]) -> Listed:
    release = standing.release
    names = (*state.names_of(release), *state.tried_as(release))
    if not standing.complete:
        trouble = f"being built by {standing.builder}" if standing.builder else "left unfinished"
        return Listed(release, "incomplete", names, pinned=standing.pinned, trouble=trouble)
    word: Literal["published", "former", "candidate"] = "candidate"
    if state.names_of(release):
        word = "published"
    elif release in former:
        word = "former"
    finished = standing.finished.isoformat(timespec="seconds") if standing.finished else None
    try:
        record = store.reader.record(release)
        tests = _tests(store, release, record.image.sha256)
    except (ConcError, OSError) as error:
        trouble = error.message if isinstance(error, ConcError) else str(error)
        return Listed(release, word, names, finished, pinned=standing.pinned, trouble=trouble)
    return Listed(
        release=release,
        state=word,
        names=names,
        finished=finished,
        packages=record.packages,
        image_size=record.image.size,
        tests=tests,
        source=record.source,
        pinned=standing.pinned,
    )


def _tests(store: Store, release: Release, sha256: str) -> str:
    """What the tests said, in a word or two."""
    verdict = store.reader.verdict(release)
    if verdict is None:
        return "MISSING" if store.checker.passed_once(release) else "not tested"
    if verdict.image_sha256 != sha256:
        return "of another image"
    return "passed" if verdict.passed else "FAILED"
