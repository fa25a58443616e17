"""What does not fit together in a store: the doctor's eyes. It looks and says; `steps/doctor.py` mends.

Each finding comes with the operations that would mend it, where that is safe: nothing that changes what a name means
to users is ever done without a person asking for it.
"""

import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from conda_concept.model import Event
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
from conda_concept.plan import set_modules, untold, wanted_modulerc, write_modulerc
from conda_concept.record import BUILD_ID, LABEL
from conda_concept.store.core import Store
from conda_concept.store.examining_release import Diagnosis, ReleaseExaminer, said
from conda_concept.store.lease import read_holder
from conda_concept.store.permissions import Fault, kind_of
from conda_concept.store.staging import walk

#: A release's directory that was moved aside (`Layout.replaced`).
_REPLACED = re.compile(r"\.[0-9a-f]{8}\.replaced-[0-9]+")


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
        """What is not part of a release: the folders, `.modulerc`, history, notices, the container's bases."""
        layout = self.store.layout
        for path in self._beside_releases():
            try:
                fault = self.store.permissions.fault(path, kind_of(path.lstat().st_mode))
            except OSError as error:
                fault = Fault(f"cannot be looked at: {error.strerror}", lets_write=False, keeps_out=True)
            if fault is not None:
                yield said(
                    "risk" if fault.lets_write else "broken" if fault.keeps_out else "untidy",
                    path,
                    fault.text,
                    "Others can change what users load."
                    if fault.lets_write
                    else "Users cannot get past it."
                    if fault.keeps_out
                    else "New files in it may get the wrong group or permissions.",
                    "Set them.",
                    SetMode(str(path.relative_to(layout.root))),
                )
        for path in (layout.root, layout.apps.parent, layout.modules.parent):
            mode = path.stat().st_mode if path.is_dir() else 0
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                what = f"has permissions {stat.S_IMODE(mode):04o}: everybody may write"
                yield said("risk", path, what, "Others can change what users load.", "Take that right away.")

    def _beside_releases(self) -> Iterator[Path]:
        layout = self.store.layout
        yield from filter(os.path.lexists, (layout.apps, layout.releases, layout.envs, layout.modules, layout.modulerc))
        yield from filter(os.path.lexists, (layout.history, layout.candidates, layout.candidates / layout.product))
        yield from sorted({layout.releases / one.release.label for one in self.state.releases})
        yield from (layout.prefix(one.release) for one in self.state.releases)
        for folder in (layout.notices, layout.runtime):
            yield from (folder,) if folder.is_dir() else ()
            # What begins with a dot is on its way.
            for top in sorted(folder.glob("[!.]*")):
                yield from (path for path in (top, *walk(top)) if not path.is_symlink())

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
        moves = untold(self.state)
        if moves:
            told = ", ".join(f"{move.alias} moved to {move.after}" for move in moves if move.after)
            gone = ", ".join(f"{move.alias} was taken away" for move in moves if not move.after)
            yield said(
                "untidy",
                self.store.layout.history,
                f"does not say that {' and that '.join(filter(None, (told, gone)))}",
                "A run ended between changing the name and writing it down.",
                "Run the same publish, rollback or prune again.",
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
                if good.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                    continue
                if _REPLACED.fullmatch(path.name):
                    what, meaning = "was replaced by `build --replace`", "Jobs that began before may still run from it."
                    yield said("untidy", path, what, meaning, "Remove it by hand, when they have ended.")
                else:
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


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
