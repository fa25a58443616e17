"""What does not fit together in one release, for the doctor."""

import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from conda_concept.errors import ConcError
from conda_concept.model import Finding, Release, ReleaseRecord, Severity
from conda_concept.operations import Operation, SetMode, StoreState
from conda_concept.store.checking import rebuild
from conda_concept.store.core import Store
from conda_concept.store.permissions import Fault, Kind, kind_of, obstacles
from conda_concept.store.staging import walk

_RELEASE_PATH = re.compile(r"releases/([a-z][a-z0-9_]*-[0-9.]+/[0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A finding and what mends it, nothing where people have to decide."""

    finding: Finding
    operations: tuple[Operation, ...] = ()


def said(severity: Severity, where: object, what: str, meaning: str, advice: str, *operations: Operation) -> Diagnosis:
    """A diagnosis in words; `severity` and the texts are a `Finding`'s, `operations` are what mends it."""
    mended = "; ".join(str(operation) for operation in operations[:3])
    more = f"; and {len(operations) - 3} more" if len(operations) > 3 else ""
    return Diagnosis(Finding(severity, str(where), what, meaning, advice, mended + more), operations)


@dataclass(frozen=True, slots=True)
class ReleaseExaminer:
    """Looks at complete releases of one store."""

    store: Store
    state: StoreState

    def diagnoses(self, release: Release) -> Iterator[Diagnosis]:
        """A complete release: record, paths at a glance, modulefile, tests, and whether users get there."""
        published = self.state.names_of(release)
        severity: Severity = "broken" if published else "risk"
        effect = "What users load is not what was tested." if published else "It cannot be published."
        try:
            record = self.store.reader.record(release)
            why = self.store.checker.gate(release, record)
        except ConcError as error:
            yield said(severity, release, error.message, effect, _advice(release))
            return
        modes = {fact.path: fact.mode for fact in record.files}
        image = modes.get(self.store.layout.image(release).name)
        modes |= {name: image for name in ("release.json", "tests.json", "tests.xml") if image is not None}
        for problem in self.store.checker.verify(release, read=False):
            mend = self._mode(self.store.layout.prefix(release) / problem.path, modes.get(problem.path))
            advice = _advice(release)
            yield said(severity, f"{release}/{problem.path}", problem.text, effect, advice, *mend)
        yield from self._groups(release)
        if published:
            yield from self._published(release, record, why)

    def _published(self, release: Release, record: ReleaseRecord, why: str) -> Iterator[Diagnosis]:
        layout = self.store.layout
        forced = [event for event in self.state.history if event.release == release and event.forced]
        if why and not forced:
            yield said("risk", release, why, "It is published all the same.", f"`conda-concept test {release}`")
        try:
            text = layout.modulefile(release).read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
        others = {name for name in _RELEASE_PATH.findall(text) if name != str(release)}
        if others or str(layout.prefix(release)) not in text:
            yield said(
                "broken",
                layout.modulefile(release),
                f"names {', '.join(sorted(others))}" if others else "does not name its own release",
                "Who loads it gets other files than those of this release.",
                _advice(release),
            )
        commands = (layout.bin(release) / name for name in record.commands[:1])
        for path in (layout.image(release), *commands, layout.module(release.label), layout.modulerc):
            for text in obstacles(path, self.store.permissions):
                place, _, what = text.partition(": ")
                yield said("broken", place, what, "Users cannot run what is there.", "Set its permissions.")

    def _groups(self, release: Release) -> Iterator[Diagnosis]:
        """Group and access control list of every path; its bits are compared with the record."""
        rule, prefix = self.store.permissions, self.store.layout.prefix(release)
        faults: dict[Path, Fault] = {}
        for path in walk(prefix):
            with suppress(OSError):  # said already: it cannot be read
                present = path.lstat()
                kind = kind_of(present.st_mode)
                if path.is_symlink() or stat.S_IMODE(present.st_mode) != rule.mode(kind):
                    continue
                fault = rule.fault(path, kind)
                faults |= {path: fault} if fault is not None else {}
        if faults:
            path, first = next(iter(faults.items()))
            what = f"{path.relative_to(prefix)} {first.text}" + (f"; and {len(faults) - 1} more" * (len(faults) > 1))
            writes = any(fault.lets_write for fault in faults.values())
            meaning = "Others can change what users load." if writes else "Members of the users' group cannot read it."
            mend = [SetMode(str(path.relative_to(self.store.layout.root))) for path in faults]
            yield said("risk" if writes else "broken", release, what, meaning, "Set them.", *mend)

    def _mode(self, path: Path, recorded: int | None) -> tuple[Operation, ...]:
        """What gives a path its recorded permissions back, if the site's rule is still the one of the record."""
        try:
            present = path.lstat().st_mode
        except OSError:
            return ()
        if recorded is None or stat.S_ISLNK(present) or stat.S_IMODE(present) == recorded:
            return ()
        kind: Kind = "directory" if stat.S_ISDIR(present) else "program" if recorded & stat.S_IXUSR else "file"
        if self.store.permissions.mode(kind) != recorded:
            return ()
        return (SetMode(str(path.relative_to(self.store.layout.root)), program=kind == "program"),)


def _advice(release: Release) -> str:
    return f"Roll back from it; {rebuild(release)}"
