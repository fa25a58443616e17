"""What a store holds and what can be done to it, as plain values. Nothing here touches a disk."""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from conda_concept.model import Alias, Event, Move, Release
from conda_concept.record import BUILD_ID, LABEL

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
    #: What loading a label says about its end: label and text.
    notices: Mapping[str, str] = field(default_factory=dict)
    #: Container bases by folder name, each with the releases whose launchers name it.
    bases: Mapping[str, frozenset[Release]] = field(default_factory=dict)

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
    """Make an alias loadable: a symlink to the modulefile of whatever it points at, made once a name."""

    name: str
    before: str = ""

    def __str__(self) -> str:
        return f"module {self.name} becomes loadable"


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
        return f".modulerc: {'; '.join(names) or 'no default'}"


@dataclass(frozen=True, slots=True)
class SetNotice:
    """Let loading a label say that it goes away."""

    label: str
    text: str
    before: str | None

    def __str__(self) -> str:
        return f"loading {self.label} says: {self.text.strip()}"


@dataclass(frozen=True, slots=True)
class DropNotice:
    """Let loading a label say nothing more about its end."""

    label: str
    before: str

    def __str__(self) -> str:
        return f"loading {self.label} says nothing about its end any more"


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
class RemoveBase:
    """Delete a container's base that no release names any more; `name` is its folder's in `runtime/`."""

    name: str

    def __str__(self) -> str:
        return f"remove the container base {self.name}, which no release uses"


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


Switch = (
    SetAlias
    | DropAlias
    | SetModule
    | DropModule
    | SetCandidate
    | DropCandidate
    | WriteModulerc
    | SetNotice
    | DropNotice
    | AppendEvent
)
"""Operations that are prepared first and then take effect by one rename or unlink each."""

Operation = Switch | RemoveRelease | RemoveTemporary | RemoveBase | SetMode | SplitHistory


# --- where links lead ----------------------------------------------------------------------------------------------


def module_target(name: str, product: str) -> str:
    """Where a published modulefile's symlink leads: through the alias of that name, so that one rename moves both."""
    return f"../../apps/{product}/envs/{name}/modulefile"


def release_candidates(state: StoreState, label: str) -> tuple[str, ...]:
    """The names under which a version that is not published yet can be tried, the oldest first."""
    found = [name for name in state.candidates if re.fullmatch(rf"{re.escape(label)}-rc\d{{1,3}}", name)]
    return tuple(sorted(found, key=lambda name: int(name.rpartition("-rc")[2])))


def release_candidate(state: StoreState, release: Release) -> str:
    """The name that a build of a new version is tried under: its own, or the next one (`analysis3-23.07-rc2`)."""
    names = release_candidates(state, release.label)
    own = [name for name in names if state.candidates[name] == candidate_target(release)]
    last = int(names[-1].rpartition("-rc")[2]) if names else 0
    return own[0] if own else f"{release.label}-rc{last + 1}"


def candidate_target(release: Release) -> str:
    """Where a candidate module's symlink leads: straight to its release, which no publish changes."""
    return f"../../releases/{release}/modulefile"
