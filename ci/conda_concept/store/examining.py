"""What does not fit together in a store: the doctor's eyes. It looks and says; `steps/doctor.py` mends.

Each finding comes with the operations that would mend it, where that is safe: nothing that changes what a name means
to users is ever done without a person asking for it.
"""

import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from conda_concept.model import Alias, Event, Move, Severity
from conda_concept.operations import (
    AppendEvent,
    DropCandidate,
    DropModule,
    RemoveRelease,
    RemoveTemporary,
    SetMode,
    SplitHistory,
    StoreState,
    candidate_target,
)
from conda_concept.plan import last_recorded, set_modules, wanted_modulerc, write_modulerc
from conda_concept.record import BUILD_ID, LABEL
from conda_concept.store.core import Store
from conda_concept.store.examining_release import Diagnosis, ReleaseExaminer, said
from conda_concept.store.lease import read_holder
from conda_concept.store.permissions import kind_of


@dataclass(frozen=True, slots=True)
class Examiner:
    """Looks at one store. `event` is what the history is told about repairs."""

    store: Store
    state: StoreState
    event: Event

    def diagnoses(self) -> tuple[Diagnosis, ...]:
        """Everything that is found, in no particular order of weight; paths as they are below the root."""
        root = f"{self.store.layout.root}/"
        found = (
            _below(root, diagnosis)
            for look in (
                self._aliases,
                self._modules,
                self._modulerc,
                self._candidates,
                self._releases,
                self._folders,
                self._history,
                self._leftovers,
                self._strangers,
            )
            for diagnosis in look()
        )
        # What keeps users from one release, a folder above it, keeps them from the others too: it is said once.
        return tuple(dict.fromkeys(found))

    def _aliases(self) -> Iterator[Diagnosis]:
        for alias in self.state.aliases:
            meant = self.state.release(alias.name)
            if meant is not None and self.state.complete(meant):
                continue
            what = f"leads to {meant}, which is not complete" if meant else f"leads to {alias.target}, which is nothing"
            yield said(
                "broken",
                f"alias {alias.name}",
                what,
                f"`module load {self.store.layout.product}/{alias.name}` fails, or loads nothing that runs.",
                f"`conda-concept rollback {alias.name}` returns to the release before; or publish one.",
            )

    def _modules(self) -> Iterator[Diagnosis]:
        aliases = {alias.name: alias.target for alias in self.state.aliases}
        layout = self.store.layout
        for operation in set_modules(aliases, self.state.modules, layout.product):
            yield said(
                "broken",
                f"module {operation.name}",
                "is published, and its module is missing or leads elsewhere",
                "Users cannot load it, or load something else.",
                "Publish it again.",
                operation,
            )
        for name, target in self.state.modules.items():
            if name in aliases:
                continue
            if LABEL.fullmatch(name):
                yield said(
                    "broken",
                    f"module {name}",
                    f"leads to {target}, and nothing is published under that name",
                    "It is listed, and loading it fails.",
                    "Publish a release of it, or take it away.",
                    DropModule(name, target),
                )
            else:
                yield said(
                    "risk",
                    layout.module(name),
                    f"is a link to {target} that this program did not make",
                    "Users see it as a module; no publish or rollback changes it.",
                    "Remove it by hand, if nobody needs it.",
                )

    def _modulerc(self) -> Iterator[Diagnosis]:
        aliases = {alias.name: alias.target for alias in self.state.aliases}
        product, default = self.store.layout.product, self.store.site.default_environment
        for operation in write_modulerc(aliases, self.state.modulerc, product=product, default=default):
            present = self.state.modulerc or ""
            named = set(re.findall(rf"^module-version {re.escape(product)}/(\S+)", present, re.MULTILINE))
            nothing = sorted(named - set(aliases))
            yield said(
                "broken" if nothing or not present else "risk",
                self.store.layout.modulerc,
                f"names {', '.join(nothing)}, which is not there" if nothing else "does not say what the site says",
                f"`module load {product}` fails, or loads another environment than the site's default.",
                "Publish or roll back once more.",
                operation,
            )
        if default is not None and default not in aliases and wanted_modulerc(aliases, product=product, default=None):
            yield said(
                "risk",
                "site",
                f"its default environment `{default}` has no stable release",
                f"`module load {product}` loads whatever the module system takes for the newest.",
                f"Publish a stable release of {default}.",
            )

    def _candidates(self) -> Iterator[Diagnosis]:
        good = {candidate_target(one.release) for one in self.state.releases if one.complete}
        for name, target in self.state.candidates.items():
            if target not in good:
                yield said(
                    "untidy",
                    f"candidate module {name}",
                    f"leads to {target}, which is not there or not complete",
                    "Who tries the pull request gets an error.",
                    "Build the candidate again.",
                    DropCandidate(name, target),
                )

    def _releases(self) -> Iterator[Diagnosis]:
        examiner = ReleaseExaminer(self.store, self.state)
        for standing in self.state.releases:
            if standing.complete:
                yield from examiner.diagnoses(standing.release)
            elif not standing.builder and self.state.target(standing.release.label) != standing.release.build_id:
                yield said(
                    "untidy",
                    standing.release,
                    "was left unfinished by a run that ended early",
                    "It takes space; nothing points at it.",
                    "Build it again, or prune.",
                    RemoveRelease(standing.release, "left unfinished"),
                )

    def _folders(self) -> Iterator[Diagnosis]:
        """What is not part of a release: the folders, `.modulerc`, the history."""
        layout = self.store.layout
        rule = self.store.permissions
        labels = sorted({layout.releases / one.release.label for one in self.state.releases})
        fixed = [layout.apps, layout.releases, layout.envs, layout.modules, layout.modulerc, layout.history]
        for path in (*fixed, *labels, *(layout.prefix(one.release) for one in self.state.releases if one.complete)):
            if not path.exists():
                continue
            present = stat.S_IMODE(path.stat().st_mode)
            wanted = rule.mode(kind_of(path.stat().st_mode))
            if present == wanted and rule.group in {None, path.stat().st_gid}:
                continue
            others = present & ~wanted & 0o022
            closed = wanted & ~present & 0o055
            severity: Severity = "risk" if others else "broken" if closed else "untidy"
            meaning = "Others can change what users load." if others else "Users cannot get past it."
            yield said(
                severity,
                path,
                f"has permissions {present:04o} and should have {wanted:04o}",
                meaning if others or closed else "New files in it may get the wrong group.",
                "Set them.",
                SetMode(str(path.relative_to(layout.root))),
            )

    def _history(self) -> Iterator[Diagnosis]:
        for problem in self.store.reader.history()[1]:
            yield said(
                "risk",
                self.store.layout.history,
                problem,
                "`rollback` may not know what was published before.",
                "Set the line aside.",
                SplitHistory(),
            )
        recorded = last_recorded(self.state.history)
        moves = tuple(
            Move(alias.name, recorded.get(alias.name, ""), alias.target)
            for alias in self.state.aliases
            if recorded.get(alias.name, "") != alias.target and _well_formed(alias)
        )
        if moves:
            names = ", ".join(move.alias for move in moves)
            yield said(
                "untidy",
                self.store.layout.history,
                f"does not say that {names} moved to where it is",
                "A run ended between moving the name and writing it down.",
                "Run the same publish or rollback again.",
                AppendEvent(Event(self.event.when, self.event.who, "repair", None, moves)),
            )

    def _leftovers(self) -> Iterator[Diagnosis]:
        for path in self.state.temporaries:
            yield said(
                "untidy",
                path,
                "was left by a run that ended early",
                "Nobody looks at it.",
                "Prune.",
                RemoveTemporary(path),
            )
        lock = self.store.layout.lock
        holder = read_holder(lock)
        if holder is not None and holder.alive(self.store.identity) is not True:
            dead = holder.alive(self.store.identity) is False
            text = "has ended" if dead else "cannot be asked from here"
            meaning = "The next run takes it over." if dead else "Runs wait until it is old enough to be taken over."
            yield said("untidy", lock, f"is held by {holder}, which {text}", meaning, "Nothing has to be done.")
        largest = max((_size(self.store.layout.image(one.release)) for one in self.state.releases), default=0)
        if self.store.layout.apps.is_dir() and (free := shutil.disk_usage(self.store.layout.apps).free) < 2 * largest:
            what = f"has {free / 1e9:.1f} GB left, less than two images of the largest size here"
            yield said("risk", self.store.layout.apps, what, "The next build may not fit.", "Prune, or ask for more.")

    def _strangers(self) -> Iterator[Diagnosis]:
        """What lies where only this program's things belong."""
        layout = self.store.layout
        for folder, good in ((layout.releases, LABEL), *((layout.releases / one, BUILD_ID) for one in self._labels())):
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if not (good.fullmatch(path.name) and path.is_dir() and not path.is_symlink()):
                    yield said("untidy", path, "is not a release", "Nothing looks at it.", "Remove it by hand.")
        for path in sorted(layout.envs.iterdir()) if layout.envs.is_dir() else ():
            if not path.is_symlink() and not path.name.startswith("."):
                meaning = "Users' own conda takes it for an environment; nothing keeps it up to date."
                yield said("risk", path, "is not a link", meaning, "Remove it by hand.")

    def _labels(self) -> list[str]:
        return sorted({one.release.label for one in self.state.releases})


def _below(root: str, diagnosis: Diagnosis) -> Diagnosis:
    found = diagnosis.finding
    short = replace(found, where=found.where.removeprefix(root), what=found.what.replace(root, ""))
    return replace(diagnosis, finding=short)


def _well_formed(alias: Alias) -> bool:
    return bool((BUILD_ID if LABEL.fullmatch(alias.name) else LABEL).fullmatch(alias.target))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
